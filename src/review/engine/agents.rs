//! User agents, each classified once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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

/// Agents that lie in one piece of memory.
const PART: usize = 512;

/// All of them, for all threads. What is kept stays where it is, so threads refer to it and need not count who does: a
/// counter that many of them write would go from core to core with each line.
#[derive(Debug)]
pub(crate) struct AgentTable {
    /// Their numbers, by their hashes.
    numbers: Mutex<HashMap<u64, u32, BuildReady>>,
    parts: Box<[OnceLock<Part>]>,
    /// Bytes that they take, about.
    bytes: AtomicUsize,
    bound: usize,
}

type Part = Box<[OnceLock<Arc<KnownAgent>>]>;

impl AgentTable {
    /// `bound`: bytes that they may take.
    pub(crate) fn new(bound: usize) -> Self {
        let parts = (0..MAX_AGENTS.div_ceil(PART)).map(|_| OnceLock::new()).collect();
        Self { numbers: Mutex::default(), parts, bytes: AtomicUsize::new(0), bound }
    }

    /// `None`: it is new, and there is no room.
    fn get(&self, hash: u64, user_agent: Option<&str>) -> Option<&Arc<KnownAgent>> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(&hash) {
            return self.place(*number as usize)?.get();
        }
        let number = numbers.len();
        if number >= MAX_AGENTS || self.bytes.load(Ordering::Relaxed) >= self.bound {
            return None;
        }
        let known = self.place(number)?.get_or_init(|| Arc::new(KnownAgent::new(user_agent, true)));
        self.bytes.fetch_add(known.bytes(), Ordering::Relaxed);
        numbers.insert(hash, number as u32);
        Some(known)
    }

    fn place(&self, number: usize) -> Option<&OnceLock<Arc<KnownAgent>>> {
        let part = self.parts.get(number / PART)?.get_or_init(|| (0..PART).map(|_| OnceLock::new()).collect());
        part.get(number % PART)
    }
}

/// What one thread has seen of a table, so that it need not wait for the others.
#[derive(Debug)]
pub(crate) struct AgentCache<'t> {
    table: &'t AgentTable,
    known: HashMap<u64, &'t Arc<KnownAgent>, BuildReady>,
    /// Who loads a page loads its files: the next line is often of the same program.
    last: Option<(u64, &'t Arc<KnownAgent>)>,
}

impl<'t> AgentCache<'t> {
    pub(crate) fn new(table: &'t AgentTable) -> Self {
        Self { table, known: HashMap::default(), last: None }
    }

    /// With its hash. Who is not in the table, because that is full, has a copy of their own.
    pub(crate) fn get(&mut self, user_agent: Option<&str>) -> (u64, Cow<'t, Arc<KnownAgent>>) {
        if let Some((hash, known)) = self.last.filter(|(_, last)| last.user_agent.as_deref() == user_agent) {
            return (hash, Cow::Borrowed(known));
        }
        let hash = user_agent.map_or(0, |text| twox_hash::XxHash3_64::oneshot(text.as_bytes()));
        let known = if let Some(known) = self.known.get(&hash) {
            *known
        } else {
            let Some(known) = self.table.get(hash, user_agent) else {
                return (hash, Cow::Owned(Arc::new(KnownAgent::new(user_agent, false))));
            };
            self.known.insert(hash, known);
            known
        };
        // What was cut is not known by what is left of it. An empty header and none are two things.
        if user_agent.is_some_and(|text| !text.is_empty() && text.len() <= MAX_LENGTH) {
            self.last = Some((hash, known));
        }
        (hash, Cow::Borrowed(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_anybody_makes_up_take_no_more_than_they_may() {
        let table = AgentTable::new(50_000);
        let mut cache = AgentCache::new(&table);
        for i in 0..1_000 {
            let name = format!("Made-up/{i} ({})", "x".repeat(400));
            let (_, known) = cache.get(Some(&name));
            assert_eq!(known.user_agent.as_deref(), Some(name.as_str()), "each has its name all the same");
            let (_, again) = cache.get(Some(&name));
            assert_eq!(
                known.own_bytes() == 0,
                Arc::ptr_eq(&known, &again),
                "what is not shared counts for each visitor"
            );
        }
        let (kept, bytes) = (table.numbers.lock().unwrap().len(), table.bytes.load(Ordering::Relaxed));
        assert!((50..125).contains(&kept) && bytes < 51_000, "{kept} in {bytes} bytes");
        assert_eq!(cache.known.len(), kept);
    }

    #[test]
    fn threads_have_the_same_ones_and_count_nothing() {
        let table = AgentTable::new(usize::MAX);
        let names: Vec<String> = (0..3 * PART).map(|i| format!("Made-up/{}", i % (2 * PART))).collect();
        let all = || {
            let mut cache = AgentCache::new(&table);
            names.iter().map(|name| cache.get(Some(name)).1).collect::<Vec<_>>()
        };
        let (one, other) = std::thread::scope(|scope| {
            let thread = scope.spawn(all);
            (all(), thread.join().unwrap())
        });
        assert!(one.iter().zip(&other).all(|(one, other)| Arc::ptr_eq(one, other)));
        let is_of =
            |(known, name): (&Cow<'_, Arc<KnownAgent>>, &String)| known.user_agent.as_deref() == Some(name.as_str());
        assert!(one.iter().zip(&names).all(is_of));
        assert!(one.iter().all(|known| Arc::strong_count(known) == 1), "a line of a log writes nothing here");
        assert_eq!(table.numbers.lock().unwrap().len(), 2 * PART);
    }

    #[test]
    fn names_that_are_cut_are_told_apart() {
        let table = AgentTable::new(usize::MAX);
        let mut cache = AgentCache::new(&table);
        let long = |end: &str| "x".repeat(MAX_LENGTH) + end;
        let mut hash = |agent: Option<&str>| cache.get(agent).0;
        let hashes =
            [hash(None), hash(Some("")), hash(Some(&long("a"))), hash(Some(&long(""))), hash(Some(&long("b")))];
        assert!(hashes.iter().enumerate().all(|(at, one)| !hashes[..at].contains(one)), "{hashes:?}");
        assert_eq!((hash(Some("")), hash(None), hash(Some(&long("a")))), (hashes[1], hashes[0], hashes[2]));
    }
}
