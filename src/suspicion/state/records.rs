//! Records of visitors: 8,192 sets of 16, each set with a lock of its own.
//!
//! The ways of a set are set apart, so that a flood of newcomers recycles ten of them and can neither push out those who
//! have proven themselves nor free those who have offended:
//!
//! | ways | whose | who makes room |
//! |---|---|---|
//! | 0–3 | protected: passed a challenge, a proven robot, or three pages with assets over ten minutes | the one silent longest, if that is an hour or more |
//! | 4–5 | offenders, from score 70 | the one with the lowest score, then the one silent longest |
//! | 6–15 | everybody else | the lowest score, then the one silent longest |

use std::sync::{Mutex, MutexGuard, TryLockError};

use super::Tick;
use crate::suspicion::cells::CellKey;

const WAYS: usize = 16;
const PROTECTED: std::ops::Range<usize> = 0..4;
const OFFENDERS: std::ops::Range<usize> = 4..6;
const PROBATION: std::ops::Range<usize> = 6..WAYS;
/// Score of an offender.
pub(crate) const OFFENDER: u8 = 70;
/// Silence in seconds after which a protected record may make room.
const IDLE: u32 = 3_600;
/// Seconds of silence after which challenges are counted anew.
const SILENCE: u32 = 600;
/// Attempts at a busy set's lock before the request goes on without history.
const ATTEMPTS: usize = 3;

/// Bits of [`Record::flags`].
pub(crate) mod flag {
    /// Ignoring `Retry-After` was charged for the running wait.
    pub(crate) const CHARGED: u16 = 2;
    /// In good standing: floods do not push it out.
    pub(crate) const PROTECTED: u16 = 4;
    /// Counted among those in good standing.
    pub(crate) const STANDING: u16 = 8;
    /// The record of an address.
    pub(crate) const ADDRESS: u16 = 16;
    /// One page that looked like a file, and another one.
    pub(crate) const LATE: u16 = 32;
    pub(crate) const LATE_AGAIN: u16 = 64;
    /// The other processes were told of it.
    pub(crate) const SHARED: u16 = 128;
}

/// What is remembered about one key: an address, a sub-identity or a pass. 128 bytes.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Record {
    tag: u64,
    /// Of a sub-identity, bits of the pages of this hour. Of an address, bits of its sub-identities of ten minutes, and
    /// of those that are proven. Of a pass, bits of the networks of this hour.
    pub(crate) distinct: [u64; 2],
    pub(crate) first_seen: Tick,
    pub(crate) last_seen: Tick,
    /// When the points but `rate` were last brought up to date.
    pub(crate) decay_at: Tick,
    /// When `rate` was.
    pub(crate) rate_at: Tick,
    /// A refusal asked the visitor to wait until then.
    pub(crate) wait_until: Tick,
    /// The first page of the visit.
    pub(crate) first_page: Tick,
    /// Challenges are over until then: they led nowhere. Where that is past, the last challenge went out then.
    pub(crate) spared_until: Tick,
    /// Milliseconds of the last page; comes round in 49 days.
    pub(crate) last_page_ms: u32,
    /// The last number in a path; of an address, when its ten minutes began.
    pub(crate) last_number: u32,
    /// Signals that were counted for this session, by bit.
    pub(crate) fired: u32,
    pub(crate) network: f32,
    pub(crate) rate: f32,
    pub(crate) behaviour: f32,
    pub(crate) trap: f32,
    pub(crate) credit: f32,
    /// Gaps between pages in 2 ms. Of an address, the first eight sub-identities that were proven.
    pub(crate) gaps: [u16; 8],
    pub(crate) pages: u16,
    pub(crate) assets: u16,
    pub(crate) not_found: u16,
    pub(crate) last_path: u16,
    pub(crate) last_query: u16,
    pub(crate) flags: u16,
    /// Hour, from 1, of the last request for robots.txt; 0: none.
    pub(crate) robots_hour: u16,
    pub(crate) gap_at: u8,
    pub(crate) number_run: i8,
    pub(crate) article_run: u8,
    pub(crate) revisits: u8,
    pub(crate) conditional: u8,
    pub(crate) busting: u8,
    /// Kinds of traps that were walked into, by bit.
    pub(crate) traps: u8,
    pub(crate) refused_in_wait: u8,
    /// Whole fetches of the guard script: one browser makes one.
    pub(crate) cold: u8,
    pub(crate) deep_direct: u8,
    pub(crate) offered: u8,
    pub(crate) beacons: u8,
    /// Challenges issued and not passed.
    pub(crate) issued: u8,
    pub(crate) last_score: u8,
}

impl Record {
    /// Counters are halved with each hour that has begun, so that long sessions are judged by recent conduct.
    pub(super) fn age(&mut self, now: Tick) {
        if now.seconds_since(self.last_seen) >= SILENCE {
            self.issued = 0;
        }
        let hours = now.hour().saturating_sub(self.last_seen.hour()).min(15);
        if hours == 0 {
            return;
        }
        for counter in [&mut self.pages, &mut self.not_found] {
            *counter >>= hours;
        }
        for counter in [&mut self.revisits, &mut self.busting, &mut self.deep_direct, &mut self.offered] {
            *counter = counter.checked_shr(hours).unwrap_or(0);
        }
        // An address counts its sub-identities in windows of its own.
        if !self.is(flag::ADDRESS) {
            self.distinct = [0; 2];
            (self.article_run, self.number_run, self.gap_at) = (0, 0, 0);
        }
        // One asset or style sheet is enough for a browser whose cache is warm.
        self.assets = self.assets.div_ceil(1 << hours.min(15));
        self.beacons = self.beacons.div_ceil(1 << hours.min(7));
    }

    fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The ways in which it may stand.
    fn ways(&self) -> std::ops::Range<usize> {
        if self.last_score >= OFFENDER {
            OFFENDERS
        } else if self.is(flag::PROTECTED) {
            PROTECTED
        } else {
            PROBATION
        }
    }
}

#[derive(Default)]
struct Set {
    records: [Record; WAYS],
}

/// The table.
pub(super) struct Records {
    sets: Box<[Mutex<Set>]>,
}

impl Records {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    /// Bytes of the records; the locks come on top.
    pub(super) fn bytes(&self) -> usize {
        self.sets.len() * size_of::<Set>()
    }

    /// Reads and changes one record under its lock. `None`: the set is busy.
    pub(super) fn with<T>(&self, key: CellKey, now: Tick, f: impl FnOnce(&mut Record, bool) -> T) -> Option<T> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let lock = self.sets.get(index)?;
        let mut set = (0..ATTEMPTS).find_map(|_| try_lock(lock))?;
        let tag = key.0.max(1);
        let found = set.records.iter().position(|r| r.tag == tag);
        let way = found.unwrap_or_else(|| set.victim(PROBATION));
        let record = set.records.get_mut(way)?;
        if found.is_none() {
            *record = Record { tag, first_seen: now, last_seen: now, decay_at: now, rate_at: now, ..Record::default() };
        }
        record.age(now);
        let out = f(record, found.is_some());
        record.last_seen = now;
        let ways = record.ways();
        if !ways.contains(&way) {
            set.promote(way, ways, now);
        }
        Some(out)
    }
}

#[cfg(feature = "redis")]
impl Records {
    /// Changes a record that is there; it does not count as seen. `None`: there is none, or its set is busy.
    pub(super) fn amend<T>(&self, key: CellKey, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let lock = self.sets.get(index)?;
        let mut set = (0..ATTEMPTS).find_map(|_| try_lock(lock))?;
        let tag = key.0.max(1);
        set.records.iter_mut().find(|record| record.tag == tag).map(f)
    }
}

impl Set {
    /// Who makes room: nobody, then the lowest score, then the one silent longest.
    fn victim(&self, ways: std::ops::Range<usize>) -> usize {
        let of = |way: &usize| self.records.get(*way).map(|r| (r.tag != 0, r.last_score, r.last_seen));
        ways.clone().min_by_key(of).unwrap_or(ways.start)
    }

    /// Moves a record to the ways of its kind, if there is room for it; whoever stood there takes its place.
    fn promote(&mut self, from: usize, ways: std::ops::Range<usize>, now: Tick) {
        let to = if ways == PROTECTED {
            let of = |way: &usize| self.records.get(*way).map(|r| (r.tag != 0, r.last_seen));
            ways.clone().min_by_key(of).unwrap_or(ways.start)
        } else {
            self.victim(ways.clone())
        };
        let Some(there) = self.records.get(to).copied() else { return };
        let yields = match () {
            () if there.tag == 0 || !there.ways().contains(&to) => true,
            () if ways == PROTECTED => now.seconds_since(there.last_seen) >= IDLE,
            () if ways == OFFENDERS => self.records.get(from).is_some_and(|r| r.last_score >= there.last_score),
            () => false,
        };
        if yields {
            self.records.swap(from, to);
        }
    }
}

/// `None`: somebody else has it. A set whose last user panicked is as good as before: records are plain numbers.
fn try_lock(lock: &Mutex<Set>) -> Option<MutexGuard<'_, Set>> {
    match lock.try_lock() {
        Ok(set) => Some(set),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
