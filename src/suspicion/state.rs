//! [`State`]: what is remembered about visitors, in tables of fixed size.
//!
//! A record belongs to an address or to a sub-identity (address, `User-Agent`, `Accept-Language`, `Sec-CH-UA`).
//! Sixteen records make a set with a lock of its own, held for one read-modify-write, never across an await. A set that
//! is busy is skipped: the request is judged without history (`degraded`). In a full set the record that was
//! silent longest makes room; a few recent offenders keep their places.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use super::cells::{CellKey, CellStore};
use crate::clock::SharedClock;
use crate::visitor::Visitor;

const WAYS: usize = 16;
const SETS: usize = 8_192;
const PATHS: usize = 65_536;
const VOTES: usize = 4_096;
/// Records of offenders that newcomers cannot push out of a set.
const KEPT_OFFENDERS: usize = 4;
/// Score of an offender, and how long it keeps its place.
const OFFENDER: (u8, u64) = (55, 3_600_000);
/// Attempts at a busy set's lock before the request goes on without history.
const ATTEMPTS: usize = 3;

/// What is remembered about one key. 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Record {
    tag: u64,
    /// Milliseconds on the clock's `elapsed`.
    pub(crate) last_seen: u64,
    /// When `rate` was last brought up to date.
    pub(crate) decay_at: u64,
    /// A refusal asked the visitor to wait until then.
    pub(crate) wait_until: u64,
    /// When the running minute began.
    pub(crate) minute_start: u64,
    /// Points of the rate group.
    pub(crate) rate: f32,
    pub(crate) pages: u16,
    pub(crate) assets: u16,
    pub(crate) minute_pages: u16,
    pub(crate) article_run: u8,
    pub(crate) refused_in_wait: u8,
    pub(crate) last_score: u8,
    pub(crate) flags: u8,
    /// When the first page was asked for: the low bits of `last_seen`'s clock, which come round in 49 days.
    pub(crate) first_page: u32,
    /// Hour, from 1, on the clock's `elapsed`, of the last request for robots.txt; 0: none. Comes round in 7 years.
    pub(crate) robots_hour: u16,
}

/// This record was counted for or against the visibility of assets.
pub(crate) const FLAG_COUNTED: u8 = 1;
/// Ignoring `Retry-After` was charged for the running wait.
pub(crate) const FLAG_CHARGED: u8 = 2;

#[derive(Default)]
struct Set {
    records: [Record; WAYS],
}

/// The tables of one site.
pub struct State {
    cells: Arc<CellStore>,
    sets: Box<[Mutex<Set>]>,
    /// 48 bits of hash and one bit of "answered HTML" for each path seen.
    paths: Box<[AtomicU64]>,
    hasher: RandomState,
    clock: SharedClock,
    started: Duration,
    with_assets: AtomicU32,
    without_assets: AtomicU32,
    /// Networks that have voted on the visibility of assets, by hash.
    votes: Box<[AtomicU64]>,
}

impl State {
    /// Empty tables; all memory is taken here.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            cells: Arc::new(CellStore::new(CellStore::DEFAULT_SETS)),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            paths: (0..PATHS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            started: clock.elapsed(),
            clock,
            with_assets: AtomicU32::new(0),
            without_assets: AtomicU32::new(0),
            votes: (0..VOTES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> usize {
        self.cells.bytes() + size_of_val(&*self.sets) + size_of_val(&*self.paths) + size_of_val(&*self.votes)
    }

    /// The cells that all quotas share.
    pub(crate) fn cells(&self) -> &Arc<CellStore> {
        &self.cells
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Time since the tables were made.
    pub(crate) fn uptime(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.started)
    }

    /// The keys of a visitor: the address, and the sub-identity. No address, no keys.
    pub(crate) fn keys(&self, visitor: &Visitor) -> Option<(CellKey, CellKey)> {
        let client = visitor.address.client()?;
        let address = CellKey(self.hasher.hash_one((0u8, client)));
        Some((address, CellKey(self.hasher.hash_one((1u8, &*visitor.key.0)))))
    }

    /// The key of a robot that is what it says.
    pub(crate) fn agent_key(&self, name: &str) -> CellKey {
        CellKey(self.hasher.hash_one((2u8, name)))
    }

    /// Reads and changes one record under its lock. `None`: the set is busy.
    pub(crate) fn with_record<T>(&self, key: CellKey, f: impl FnOnce(&mut Record, bool) -> T) -> Option<T> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let lock = self.sets.get(index)?;
        let mut set = (0..ATTEMPTS).find_map(|_| try_lock(lock))?;
        let now = self.now_ms();
        let tag = key.0.max(1);
        let found = set.records.iter().position(|r| r.tag == tag);
        let way = found.unwrap_or_else(|| victim(&set.records, now));
        let record = set.records.get_mut(way)?;
        if found.is_none() {
            *record = Record { tag, decay_at: now, ..Record::default() };
        }
        let out = f(record, found.is_some());
        record.last_seen = now;
        Some(out)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// A refusal was carried out: requests before `wait` is over are noted.
    pub(crate) fn note_refusal(&self, client: CellKey, wait: Duration) {
        let now = self.now_ms();
        let until = now + wait.as_millis() as u64;
        self.with_record(client, |record, _| {
            if record.wait_until < now {
                record.refused_in_wait = 0;
                record.flags &= !FLAG_CHARGED;
            }
            record.wait_until = record.wait_until.max(until);
        });
    }

    /// Learns what a path answers. Once it was HTML it stays a page, whatever it answers to other headers.
    pub(crate) fn learn_path(&self, path: &str, html: bool) {
        let (slot, tag) = self.path_slot(path);
        if let Some(cell) = slot
            && cell.load(Ordering::Relaxed) != (tag << 1 | 1)
        {
            cell.store(tag << 1 | u64::from(html), Ordering::Relaxed);
        }
    }

    /// Has this path answered HTML? `None`: it has not been asked for yet, as far as is remembered.
    pub(crate) fn answers_html(&self, path: &str) -> Option<bool> {
        let (slot, tag) = self.path_slot(path);
        let word = slot?.load(Ordering::Relaxed);
        (word >> 1 == tag).then_some(word & 1 == 1)
    }

    fn path_slot(&self, path: &str) -> (Option<&AtomicU64>, u64) {
        let hash = self.hasher.hash_one((2u8, path));
        (self.paths.get((hash % PATHS as u64) as usize), (hash >> 16).max(1))
    }

    /// Counts one visitor who has read enough pages to tell whether assets pass through here. One vote a network.
    pub(crate) fn count_assets(&self, visitor: &Visitor, seen: bool) {
        let Some(net) = visitor.address.net() else { return };
        let hash = self.hasher.hash_one((3u8, net, seen)).max(1);
        let Some(vote) = self.votes.get((hash % VOTES as u64) as usize) else { return };
        if vote.swap(hash, Ordering::Relaxed) != hash {
            if seen { &self.with_assets } else { &self.without_assets }.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An asset went out to this sub-identity.
    pub(crate) fn note_asset(&self, sub: CellKey) {
        self.with_record(sub, |record, _| {
            record.assets = record.assets.saturating_add(1);
            // Halved together, so that long sessions are judged on recent conduct.
            if record.assets >= 32_768 {
                record.pages /= 2;
                record.assets /= 2;
            }
        });
    }

    /// Are assets visible? With 20 visitors or more, only while 60 % of them fetched some: else the site keeps its
    /// assets elsewhere, and their absence says nothing.
    pub(crate) fn assets_visible(&self) -> bool {
        let with = self.with_assets.load(Ordering::Relaxed);
        let all = with + self.without_assets.load(Ordering::Relaxed);
        all < 20 || with * 10 >= all * 6
    }
}

/// Empty records first, then the one that was silent longest; but a few recent offenders keep their places.
fn victim(records: &[Record; WAYS], now: u64) -> usize {
    let mut offenders: Vec<(u64, usize)> = records
        .iter()
        .enumerate()
        .filter(|(_, r)| r.tag != 0 && r.last_score >= OFFENDER.0 && now.saturating_sub(r.last_seen) <= OFFENDER.1)
        .map(|(index, r)| (r.last_seen, index))
        .collect();
    offenders.sort_unstable_by_key(|offender| std::cmp::Reverse(*offender));
    offenders.truncate(KEPT_OFFENDERS);
    let kept = |index: usize| offenders.iter().any(|(_, kept)| *kept == index);
    let candidates = records.iter().enumerate().filter(|(index, _)| !kept(*index));
    candidates.min_by_key(|(_, r)| (r.tag != 0, r.last_seen)).map_or(0, |(index, _)| index)
}

/// `None`: somebody else has it. A set whose last user panicked is as good as before: records are plain numbers.
fn try_lock(lock: &Mutex<Set>) -> Option<MutexGuard<'_, Set>> {
    match lock.try_lock() {
        Ok(set) => Some(set),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("bytes", &self.bytes()).field("cells", &self.cells).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_tables_have_a_fixed_size() {
        assert_eq!(size_of::<Record>(), 64);
        let state = State::new(ManualClock::at(0));
        let before = state.bytes();
        for i in 0..400_000u64 {
            state.with_record(CellKey(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)), |r, _| r.pages = 1);
        }
        assert_eq!(state.bytes(), before);
        assert!(before < 16 << 20, "{before}");
    }

    #[test]
    fn a_flood_of_newcomers_forgets_no_offender() {
        let state = State::new(ManualClock::at(0));
        let offenders: Vec<CellKey> = (1..=100u64).map(|i| CellKey(i.wrapping_mul(0xD6E8_FEB8_6659_FD93))).collect();
        for key in &offenders {
            state.with_record(*key, |r, _| r.last_score = 80);
        }
        for i in 0..400_000u64 {
            state.with_record(CellKey(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)), |r, _| r.pages = 1);
        }
        let kept = offenders.iter().filter(|k| state.with_record(**k, |r, _| r.last_score) == Some(80)).count();
        assert!(kept >= 99, "{kept}");
    }

    #[test]
    fn a_path_is_what_it_answered() {
        let state = State::new(ManualClock::at(0));
        assert_eq!(state.answers_html("/a"), None);
        state.learn_path("/a", false);
        assert_eq!(state.answers_html("/a"), Some(false));
        state.learn_path("/a", true);
        assert_eq!((state.answers_html("/a"), state.answers_html("/b")), (Some(true), None));
        state.learn_path("/a", false);
        assert_eq!(state.answers_html("/a"), Some(true), "once a page, always a page");
    }

    #[test]
    fn a_busy_set_is_skipped() {
        let state = State::new(ManualClock::at(0));
        let inside = state.with_record(CellKey(5), |_, _| state.with_record(CellKey(5), |_, _| ()));
        assert_eq!(inside, Some(None));
    }
}
