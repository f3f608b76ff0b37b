//! What is known about each pair of address and agent, in a table of fixed size.
//!
//! 32,768 entries of 32 bytes in sets of eight, 1 MiB. Each set has a lock of its own, held for one read-modify-write,
//! never across an await; a request that finds it taken goes on without an answer. An entry is named by a keyed hash of
//! the exact address and the agent, so that nobody can choose collisions, and a neighbour cannot spoil an answer.
//!
//! An answer holds for a day (verified), an hour (failed), or five minutes, doubled with each further error up to an
//! hour. In a full set, what no longer holds makes room first, then the oldest; but not a question that is under way,
//! so that it is not asked twice.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::confirm::Verdict;

const WAYS: usize = 8;
const SETS: usize = 4_096;
/// Attempts at a busy set's lock before the request goes on without an answer.
const ATTEMPTS: usize = 3;

// Milliseconds.
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const VERIFIED: u64 = 24 * HOUR;
const FAILED: u64 = HOUR;
const ERROR: (u64, u64) = (5 * MINUTE, HOUR);
/// How long a question counts as under way. The answer comes within seconds, or its worker is gone.
const UNDER_WAY: u64 = 5 * MINUTE;

/// A wait is held against nobody for so long, and for so many requests.
const GRACE: u64 = 5_000;
const GRACE_REQUESTS: u8 = 5;

/// What the table says about a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// An answer that holds.
    Answer(Verdict),
    /// None now. `grace`: the wait has only begun.
    Waiting { grace: bool },
}

/// 32 bytes.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    /// 0: empty.
    tag: u64,
    /// When the answer came, or the wait began.
    since: u64,
    /// Until when the answer holds, or the question counts as under way.
    until: u64,
    verdict: Option<Verdict>,
    /// Requests since the wait began.
    asked: u8,
    /// Errors in a row.
    errors: u8,
}

impl Entry {
    fn new(tag: u64, now: u64) -> Self {
        Self { tag, since: now, ..Self::default() }
    }

    fn answer(&self, now: u64) -> Option<Verdict> {
        self.verdict.filter(|_| now < self.until)
    }

    fn under_way(&self, now: u64) -> bool {
        self.verdict.is_none() && now < self.until
    }

    fn in_grace(&self, now: u64) -> bool {
        self.verdict.is_none() && now.saturating_sub(self.since) < GRACE
    }

    /// Nothing is lost with it but a number of errors.
    fn spent(&self, now: u64) -> bool {
        now >= self.until && !self.in_grace(now)
    }

    /// Counts a request that finds no answer, and sees to it that the question is under way. Is it within the grace?
    fn wait(&mut self, now: u64, queue: impl FnOnce() -> bool) -> bool {
        if self.verdict.is_some() {
            *self = Self { errors: self.errors, ..Self::new(self.tag, now) };
        }
        if !self.under_way(now) && queue() {
            self.until = now + UNDER_WAY;
        }
        self.asked = self.asked.saturating_add(1);
        self.asked <= GRACE_REQUESTS && self.in_grace(now)
    }

    fn settle(&mut self, verdict: Verdict, now: u64) {
        let errors = if verdict == Verdict::Error { self.errors.saturating_add(1) } else { 0 };
        let holds = match verdict {
            Verdict::Verified => VERIFIED,
            Verdict::Failed => FAILED,
            Verdict::Error => (ERROR.0 << (errors - 1).min(8)).min(ERROR.1),
        };
        *self = Self { verdict: Some(verdict), until: now + holds, errors, ..Self::new(self.tag, now) };
    }
}

#[derive(Default)]
struct Set([Entry; WAYS]);

impl Set {
    /// The entry of `key`, made if there is room.
    fn entry(&mut self, key: u64, now: u64, evictions: &AtomicU64) -> Option<&mut Entry> {
        // Never zero, so that an empty entry never matches.
        let tag = key.max(1);
        let found = self.0.iter().position(|entry| entry.tag == tag);
        let way = found.or_else(|| self.victim(now))?;
        let entry = self.0.get_mut(way)?;
        if found.is_none() {
            if entry.tag != 0 && !entry.spent(now) {
                evictions.fetch_add(1, Ordering::Relaxed);
            }
            *entry = Entry::new(tag, now);
        }
        Some(entry)
    }

    /// Empty entries first, then those that hold no longer, then the oldest; never a question that is under way.
    fn victim(&self, now: u64) -> Option<usize> {
        let movable = self.0.iter().enumerate().filter(|(_, entry)| !entry.under_way(now));
        movable.min_by_key(|(_, entry)| (entry.tag != 0, !entry.spent(now), entry.since)).map(|(way, _)| way)
    }
}

/// The table.
pub(super) struct Table {
    sets: Box<[Mutex<Set>]>,
    evictions: AtomicU64,
}

impl Table {
    /// An empty table; all memory is taken here.
    pub(super) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect(), evictions: AtomicU64::new(0) }
    }

    /// What is known at `now`, in milliseconds. Where there is no answer and none is under way, `queue` is called, and
    /// says whether it is now; that and the mark of it are one step.
    pub(super) fn look(&self, key: u64, now: u64, queue: impl FnOnce() -> bool) -> Known {
        // No place or no lock: whoever crowds the table wins no grace by it.
        let unknown = Known::Waiting { grace: false };
        let Some(mut set) = (0..ATTEMPTS).find_map(|_| try_lock(self.set(key))) else { return unknown };
        let Some(entry) = set.entry(key, now, &self.evictions) else { return unknown };
        match entry.answer(now) {
            Some(verdict) => Known::Answer(verdict),
            None => Known::Waiting { grace: entry.wait(now, queue) },
        }
    }

    /// Writes an answer down. Waits for the set's lock, so it is not for requests.
    pub(super) fn settle(&self, key: u64, verdict: Verdict, now: u64) {
        let mut set = self.set(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = set.entry(key, now, &self.evictions) {
            entry.settle(verdict, now);
        }
    }

    /// Bytes of the table with its locks; never changes.
    fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    fn set(&self, key: u64) -> &Mutex<Set> {
        // Multiply-shift over the high bits of the hash; always below the number of sets.
        &self.sets[((u128::from(key) * self.sets.len() as u128) >> 64) as usize]
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("bytes", &self.bytes()).field("evictions", &self.evictions).finish()
    }
}

/// `None`: somebody else has it. A set whose last user panicked is as good as before: entries are plain numbers.
fn try_lock(lock: &Mutex<Set>) -> Option<MutexGuard<'_, Set>> {
    match lock.try_lock() {
        Ok(set) => Some(set),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Error, Failed, Verified};
    use super::*;

    const DAY: u64 = 24 * HOUR;
    /// All of these are in the first set.
    const FIRST: std::ops::RangeInclusive<u64> = 1..=8;

    fn answer(table: &Table, key: u64, now: u64) -> Option<Verdict> {
        match table.look(key, now, || false) {
            Known::Answer(verdict) => Some(verdict),
            Known::Waiting { .. } => None,
        }
    }

    /// Asks, and says whether the question was put into the queue.
    fn queued(table: &Table, key: u64, now: u64) -> bool {
        let mut queued = false;
        table.look(key, now, || {
            queued = true;
            true
        });
        queued
    }

    #[test]
    fn the_table_has_a_fixed_size() {
        assert_eq!(size_of::<Entry>(), 32);
        assert_eq!(SETS * WAYS, 32_768);
        assert_eq!(SETS * WAYS * size_of::<Entry>(), 1_048_576);
        let table = Table::new();
        let before = table.bytes();
        // The locks come on top.
        assert!((1_048_576..=1_048_576 + SETS * 16).contains(&before), "{before}");
        for n in 0..400_000u64 {
            queued(&table, n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n / 1_000);
        }
        assert_eq!(table.bytes(), before);
    }

    #[test]
    fn answers_hold_for_their_time() {
        for (verdict, holds) in [(Verified, DAY), (Failed, HOUR), (Error, 5 * MINUTE)] {
            let table = Table::new();
            assert!(queued(&table, 7, 1_000));
            table.settle(7, verdict, 2_000);
            assert_eq!(answer(&table, 7, 2_000), Some(verdict));
            assert_eq!(answer(&table, 7, 2_000 + holds - 1), Some(verdict), "{verdict:?}");
            assert_eq!(answer(&table, 7, 2_000 + holds), None, "{verdict:?}");
            assert!(queued(&table, 7, 2_000 + holds), "{verdict:?} is asked for anew");
        }
    }

    #[test]
    fn errors_in_a_row_are_asked_again_ever_later() {
        let table = Table::new();
        let mut now = 0;
        for minutes in [5, 10, 20, 40, 60, 60, 60] {
            assert!(queued(&table, 7, now));
            table.settle(7, Error, now);
            assert_eq!(answer(&table, 7, now + minutes * MINUTE - 1), Some(Error), "{minutes}");
            now += minutes * MINUTE;
            assert_eq!(answer(&table, 7, now), None, "{minutes}");
        }
        for _ in 0..300 {
            table.settle(7, Error, now);
        }
        table.settle(7, Failed, now);
        table.settle(7, Error, now);
        assert_eq!(answer(&table, 7, now + 5 * MINUTE), None, "an answer ends the row");
    }

    #[test]
    fn a_question_under_way_is_not_asked_twice() {
        let table = Table::new();
        assert!(queued(&table, 7, 0));
        assert!(!queued(&table, 7, 0) && !queued(&table, 7, UNDER_WAY - 1));
        assert!(queued(&table, 7, UNDER_WAY), "its worker is gone");
    }

    #[test]
    fn a_question_that_found_no_place_is_asked_again() {
        let table = Table::new();
        for _ in 0..3 {
            assert_eq!(table.look(7, 0, || false), Known::Waiting { grace: true });
        }
        assert!(queued(&table, 7, 1));
        assert!(!queued(&table, 7, 2));
    }

    #[test]
    fn the_grace_ends_with_the_fifth_request_or_second() {
        let table = Table::new();
        let grace = |key, now| table.look(key, now, || true) == Known::Waiting { grace: true };
        assert!((0..5).all(|_| grace(7, 1_000)));
        assert!(!grace(7, 1_000), "the sixth request");
        assert!(grace(8, 1_000) && grace(8, 5_999));
        assert!(!grace(8, 6_000), "after five seconds");
        // A new wait has a new grace.
        table.settle(8, Verified, 6_000);
        assert!(grace(8, 6_000 + DAY));
    }

    #[test]
    fn the_oldest_makes_room() {
        let table = Table::new();
        for key in FIRST {
            table.settle(key, Verified, key);
        }
        table.settle(9, Verified, 100);
        assert_eq!(answer(&table, 9, 100), Some(Verified));
        for key in 2..=8 {
            assert_eq!(answer(&table, key, 100), Some(Verified), "{key}");
        }
        assert_eq!(table.evictions.load(Ordering::Relaxed), 1);
        assert_eq!(answer(&table, 1, 100), None);
    }

    #[test]
    fn what_holds_no_longer_makes_room_before_what_does() {
        let table = Table::new();
        for key in 1..=7 {
            table.settle(key, Verified, key);
        }
        table.settle(8, Error, 10);
        table.settle(9, Verified, 10 + 5 * MINUTE);
        assert!((1..=7).all(|key| answer(&table, key, 10 + 5 * MINUTE) == Some(Verified)));
        assert_eq!(table.evictions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_question_under_way_keeps_its_place() {
        let table = Table::new();
        assert!(FIRST.into_iter().all(|key| queued(&table, key, 0)));
        // No room: the ninth waits, without a place in the queue and without grace.
        let mut called = false;
        let ninth = table.look(9, 1, || {
            called = true;
            true
        });
        assert_eq!((ninth, called), (Known::Waiting { grace: false }, false));
        table.settle(3, Verified, 2);
        assert!(queued(&table, 9, 3), "an answer may go, a question may not");
        assert!((4..=8).all(|key| !queued(&table, key, 4)), "these are still under way");
        assert!(queued(&table, 3, UNDER_WAY), "and fresh no longer");
    }

    #[test]
    fn an_answer_whose_question_is_gone_is_kept_as_well() {
        let table = Table::new();
        table.settle(7, Verified, 0);
        assert_eq!(answer(&table, 7, 1), Some(Verified));
    }

    #[test]
    fn a_busy_set_is_no_answer() {
        let table = Table::new();
        table.settle(7, Verified, 0);
        let held = table.set(7).lock().unwrap();
        assert_eq!(table.look(7, 1, || true), Known::Waiting { grace: false });
        // Another set is free.
        assert!(queued(&table, u64::MAX, 1));
        drop(held);
        assert_eq!(answer(&table, 7, 1), Some(Verified));
    }

    #[test]
    fn all_sets_are_used() {
        let table = Table::new();
        for (key, index) in [(0, 0), (1, 0), (1 << 52, 1), (u64::MAX, SETS - 1)] {
            assert!(std::ptr::eq(table.set(key), &raw const table.sets[index]), "{key:#x}");
        }
    }
}
