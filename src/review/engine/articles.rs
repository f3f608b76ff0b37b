//! What was taken, by whom, and how soon.

use std::collections::HashMap;
use std::time::Duration;

use super::distinct::BuildReady;
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

/// The articles of a shard.
#[derive(Debug, Default)]
pub(crate) struct Articles {
    pub(crate) all: HashMap<u64, ArticleFacts, BuildReady>,
}

impl Articles {
    pub(super) fn add(&mut self, hash: u64, row: &Row<'_>, reader: u32, new: bool) {
        let time = row.hit.time;
        let known = self.all.len();
        let facts = match self.all.entry(hash) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(_) if known >= MAX_ARTICLES => return,
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(ArticleFacts {
                name: article(row).into(),
                readers: Vec::new(),
                more: 0,
                first: time,
                robot: None,
            }),
        };
        facts.first = facts.first.min(time);
        if row.category.is_declared_bot() && facts.robot.as_ref().is_none_or(|(at, _)| time < *at) {
            let name = row.name().unwrap_or(row.category.code());
            facts.robot = Some((time, name.into()));
        }
        if !new {
            return;
        }
        if facts.readers.len() < MAX_READERS {
            facts.readers.push(reader);
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
            facts.more += (before - facts.readers.len()) as u64;
        }
    }
}
