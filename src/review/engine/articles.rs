//! What was taken, by whom, and how soon.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::distinct::{BuildReady, Sketch};
use super::row::Row;
use super::shard::article;

/// Articles that are told apart.
const MAX_ARTICLES: usize = 1 << 18;
/// Readers of one article that are told apart.
const MAX_READERS: usize = 65_536;

/// One article, as far as one shard has seen it.
#[derive(Debug)]
pub(crate) struct ArticleFacts {
    pub(crate) name: Box<str>,
    /// Places of its visitors in the shard.
    pub(crate) readers: Vec<u32>,
    /// Readers beyond those.
    pub(crate) more: u64,
    pub(crate) first: Duration,
    /// First robot, and its name.
    pub(crate) robot: Option<(Duration, Box<str>)>,
}

/// Bytes of an article without its name, with its place in the table, about.
const ONE: usize = 2 * size_of::<(u64, ArticleFacts)>() + 32;
/// Bytes of one reader, about: the list of them grows by doubling.
const READER: usize = 8;

/// The articles of a shard.
#[derive(Debug)]
pub(crate) struct Articles {
    pub(crate) all: HashMap<u64, ArticleFacts, BuildReady>,
    /// Those that memory did not reach for.
    pub(crate) left_out: Option<Box<Sketch>>,
    /// Bytes that they take, about, and may take.
    bytes: usize,
    bound: usize,
}

impl Articles {
    /// `bound`: bytes that they may take.
    pub(super) fn new(bound: usize) -> Self {
        Self { all: HashMap::default(), left_out: None, bytes: 0, bound }
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, hash: u64, row: &Row<'_>, reader: u32, new: bool) {
        let time = row.hit.time;
        let is_full = self.all.len() >= MAX_ARTICLES || self.bytes >= self.bound;
        let facts = match self.all.entry(hash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.left_out.get_or_insert_with(|| Box::new(Sketch::wide())).insert(hash);
                return;
            }
            Entry::Vacant(entry) => {
                let name: Box<str> = article(row).into();
                self.bytes += ONE + name.len();
                entry.insert(ArticleFacts { name, readers: Vec::new(), more: 0, first: time, robot: None })
            }
        };
        facts.first = facts.first.min(time);
        if row.category.is_declared_bot() && facts.robot.as_ref().is_none_or(|(at, _)| time < *at) {
            let name = row.name().unwrap_or(row.category.code());
            facts.robot = Some((time, name.into()));
        }
        if !new {
            return;
        }
        if facts.readers.len() < MAX_READERS && self.bytes < self.bound {
            facts.readers.push(reader);
            self.bytes += READER;
        } else {
            facts.more += 1;
        }
    }

    /// Visitors have moved; those that are gone have `u32::MAX`.
    pub(super) fn renumber(&mut self, moved: &[u32]) {
        for facts in self.all.values_mut() {
            let before = facts.readers.len();
            for reader in &mut facts.readers {
                *reader = moved.get(*reader as usize).copied().unwrap_or(u32::MAX);
            }
            facts.readers.retain(|reader| *reader != u32::MAX);
            let gone = before - facts.readers.len();
            facts.more += gone as u64;
            self.bytes = self.bytes.saturating_sub(gone * READER);
        }
    }
}
