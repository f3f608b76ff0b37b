//! User agents, each classified once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::distinct::BuildReady;
use crate::visitor::{Agent, Agents, Category};

/// User agents that are kept once for all visitors; beyond, and beyond the bytes that they may take, each visitor has its
/// own copy, which counts among what is kept of that visitor.
const MAX_AGENTS: usize = 262_144;
/// Longest user agent that is kept, in bytes; deckle's own log holds no more.
const MAX_LENGTH: usize = 512;
/// Bytes that one takes besides itself: its places in the tables of all threads, about.
const AROUND: usize = 96;

/// A user agent and what it claims to be.
#[derive(Debug)]
pub(crate) struct KnownAgent {
    pub(crate) user_agent: Option<Box<str>>,
    pub(crate) agent: Agent,
    /// Kept once for all visitors that have it.
    is_shared: bool,
}

impl KnownAgent {
    fn new(user_agent: Option<&str>, is_shared: bool) -> Self {
        let kept = user_agent.map(|text| text.get(..text.floor_char_boundary(MAX_LENGTH)).unwrap_or_default());
        Self { user_agent: kept.map(Into::into), agent: Agents::builtin().classify(user_agent), is_shared }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.user_agent.as_ref().map_or(0, |text| text.len()) + AROUND
    }

    /// Bytes that one more visitor with it takes, about.
    pub(super) fn own_bytes(&self) -> usize {
        if self.is_shared { 0 } else { self.bytes() }
    }

    pub(crate) fn category(&self) -> Category {
        self.agent.category
    }
}

/// All of them, for all threads.
#[derive(Debug)]
pub(crate) struct AgentTable {
    known: Mutex<Known>,
    /// Bytes that they take, about.
    bytes: AtomicUsize,
    bound: usize,
}

impl AgentTable {
    /// `bound`: bytes that they may take.
    pub(crate) fn new(bound: usize) -> Self {
        Self { known: Mutex::default(), bytes: AtomicUsize::new(0), bound }
    }
}

type Known = HashMap<u64, Arc<KnownAgent>, BuildReady>;

/// What one thread has seen of the table, so that it need not wait for the others.
#[derive(Debug, Default)]
pub(crate) struct AgentCache {
    known: Known,
    /// Who loads a page loads its files: the next line is often of the same program.
    last: Option<(String, u64, Arc<KnownAgent>)>,
}

impl AgentCache {
    pub(crate) fn get(&mut self, table: &AgentTable, user_agent: Option<&str>) -> (u64, Arc<KnownAgent>) {
        let text = user_agent.unwrap_or_default();
        if let Some((_, hash, known)) = self.last.as_ref().filter(|(last, ..)| last == text) {
            return (*hash, Arc::clone(known));
        }
        let hash = user_agent.map_or(0, |text| twox_hash::XxHash3_64::oneshot(text.as_bytes()));
        if let Some(known) = self.known.get(&hash) {
            return self.remember(text, hash, Arc::clone(known));
        }
        let mut all = table.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = all.len() >= MAX_AGENTS || table.bytes.load(Ordering::Relaxed) >= table.bound;
        if is_full && !all.contains_key(&hash) {
            drop(all);
            return (hash, Arc::new(KnownAgent::new(user_agent, false)));
        }
        let known = all.entry(hash).or_insert_with(|| {
            let new = KnownAgent::new(user_agent, true);
            table.bytes.fetch_add(new.bytes(), Ordering::Relaxed);
            Arc::new(new)
        });
        let known = Arc::clone(known);
        drop(all);
        self.known.insert(hash, Arc::clone(&known));
        self.remember(text, hash, known)
    }

    fn remember(&mut self, text: &str, hash: u64, known: Arc<KnownAgent>) -> (u64, Arc<KnownAgent>) {
        // An empty header and none are two things.
        if !text.is_empty() && text.len() <= MAX_LENGTH {
            let mut last = self.last.take().map(|(last, ..)| last).unwrap_or_default();
            last.clear();
            last.push_str(text);
            self.last = Some((last, hash, Arc::clone(&known)));
        }
        (hash, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_anybody_makes_up_take_no_more_than_they_may() {
        let (table, mut cache) = (AgentTable::new(50_000), AgentCache::default());
        for i in 0..1_000 {
            let name = format!("Made-up/{i} ({})", "x".repeat(400));
            let (_, known) = cache.get(&table, Some(&name));
            assert_eq!(known.user_agent.as_deref(), Some(name.as_str()), "each has its name all the same");
            let (_, again) = cache.get(&table, Some(&name));
            assert_eq!(
                known.own_bytes() == 0,
                Arc::ptr_eq(&known, &again),
                "what is not shared counts for each visitor"
            );
        }
        let (kept, bytes) = (table.known.lock().unwrap().len(), table.bytes.load(Ordering::Relaxed));
        assert!((50..125).contains(&kept) && bytes < 51_000, "{kept} in {bytes} bytes");
        assert_eq!(cache.known.len(), kept);
    }
}
