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
//!
//! At the head of a set stands once more what a search reads and what decides who makes room: two lines of memory in
//! place of one of each record.

use std::sync::{Mutex, MutexGuard, TryLockError};

use super::Tick;
use super::marks::{Aligned, Marks};
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

/// The arrays before the records say of each of them what it says itself.
#[derive(Default)]
#[repr(C)]
struct Set {
    marks: Marks<WAYS>,
    last_score: [u8; WAYS],
    /// A lock takes eight bytes on Linux: with these, it and the above fill a line of memory, and the times the next one.
    spare: [u8; 8],
    last_seen: [Tick; WAYS],
    records: [Record; WAYS],
}

/// The table.
pub(super) struct Records {
    sets: Box<[Aligned<Set>]>,
}

impl Records {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Aligned::default()).collect() }
    }

    /// Bytes of the sets; the locks come on top.
    pub(super) fn bytes(&self) -> usize {
        self.sets.len() * size_of::<Set>()
    }

    /// Reads and changes one record under its lock. `None`: the set is busy.
    pub(super) fn with<T>(&self, key: CellKey, now: Tick, f: impl FnOnce(&mut Record, bool) -> T) -> Option<T> {
        let mut set = self.lock(key)?;
        let tag = key.0.max(1);
        let found = set.find(tag);
        let way = found.unwrap_or_else(|| set.victim(PROBATION));
        if found.is_none() {
            set.begin(way, tag, now);
        }
        let record = set.records.get_mut(way)?;
        record.age(now);
        let out = f(record, found.is_some());
        record.last_seen = now;
        let ways = record.ways();
        set.note(way);
        if !ways.contains(&way) {
            set.promote(way, ways, now);
        }
        Some(out)
    }

    /// The set of a key. `None`: it is busy.
    fn lock(&self, key: CellKey) -> Option<MutexGuard<'_, Set>> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let Aligned(lock) = self.sets.get(index)?;
        (0..ATTEMPTS).find_map(|_| try_lock(lock))
    }
}

#[cfg(feature = "redis")]
impl Records {
    /// Changes a record that is there; it does not count as seen. `None`: there is none, or its set is busy.
    pub(super) fn amend<T>(&self, key: CellKey, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let mut set = self.lock(key)?;
        let way = set.find(key.0.max(1))?;
        let out = f(set.records.get_mut(way)?);
        set.note(way);
        Some(out)
    }
}

impl Set {
    fn find(&self, tag: u64) -> Option<usize> {
        self.marks.alike(tag).find(|way| self.records.get(*way).is_some_and(|record| record.tag == tag))
    }

    /// Somebody is seen for the first time.
    fn begin(&mut self, way: usize, tag: u64, now: Tick) {
        if let Some(record) = self.records.get_mut(way) {
            *record = Record { tag, first_seen: now, last_seen: now, decay_at: now, rate_at: now, ..Record::default() };
        }
        self.marks.take(way, tag);
        self.note(way);
    }

    /// The head says what the record says.
    fn note(&mut self, way: usize) {
        let head = (self.last_score.get_mut(way), self.last_seen.get_mut(way));
        if let (Some(record), (Some(score), Some(seen))) = (self.records.get(way), head) {
            (*score, *seen) = (record.last_score, record.last_seen);
        }
    }

    /// Who makes room: nobody, then the lowest score, then the one silent longest.
    fn victim(&self, ways: std::ops::Range<usize>) -> usize {
        let score = |way: usize| self.last_score.get(way).copied().unwrap_or(u8::MAX);
        ways.clone().min_by_key(|way| (self.marks.is_taken(*way), score(*way), self.seen(*way))).unwrap_or(ways.start)
    }

    fn seen(&self, way: usize) -> Tick {
        self.last_seen.get(way).copied().unwrap_or_default()
    }

    /// Moves a record to the ways of its kind, if there is room for it; whoever stood there takes its place.
    fn promote(&mut self, from: usize, ways: std::ops::Range<usize>, now: Tick) {
        let to = if ways == PROTECTED {
            ways.clone().min_by_key(|way| (self.marks.is_taken(*way), self.seen(*way))).unwrap_or(ways.start)
        } else {
            self.victim(ways.clone())
        };
        let Some(there) = self.records.get(to) else { return };
        let yields = match () {
            () if there.tag == 0 || !there.ways().contains(&to) => true,
            () if ways == PROTECTED => now.seconds_since(there.last_seen) >= IDLE,
            () if ways == OFFENDERS => self.records.get(from).is_some_and(|r| r.last_score >= there.last_score),
            () => false,
        };
        if yields {
            self.records.swap(from, to);
            self.marks.swap(from, to);
            self.last_score.swap(from, to);
            self.last_seen.swap(from, to);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A set without a head.
    #[derive(Default)]
    struct Plain {
        records: [Record; WAYS],
    }

    impl Plain {
        fn victim(&self, ways: std::ops::Range<usize>, by_score: bool) -> usize {
            let score = |record: &Record| if by_score { record.last_score } else { 0 };
            let of = |record: &Record| (record.tag != 0, score(record), record.last_seen);
            ways.min_by_key(|way| of(&self.records[*way])).unwrap()
        }

        /// `true`: it was known.
        fn with(&mut self, tag: u64, now: Tick, change: impl FnOnce(&mut Record)) -> bool {
            let found = self.records.iter().position(|record| record.tag == tag);
            let way = found.unwrap_or_else(|| self.victim(PROBATION, true));
            let record = &mut self.records[way];
            if found.is_none() {
                *record =
                    Record { tag, first_seen: now, last_seen: now, decay_at: now, rate_at: now, ..Record::default() };
            }
            record.age(now);
            change(record);
            record.last_seen = now;
            let (score, ways) = (record.last_score, record.ways());
            if !ways.contains(&way) {
                let to = self.victim(ways.clone(), ways != PROTECTED);
                let there = self.records[to];
                let yields = there.tag == 0
                    || !there.ways().contains(&to)
                    || (ways == PROTECTED && now.seconds_since(there.last_seen) >= IDLE)
                    || (ways == OFFENDERS && score >= there.last_score);
                if yields {
                    self.records.swap(way, to);
                }
            }
            found.is_some()
        }
    }

    #[test]
    fn the_head_of_a_set_changes_nothing_about_who_stays() {
        let (records, mut plain) = (Records::new(1), Plain::default());
        let mut random = fastrand::Rng::with_seed(7);
        let (mut now, mut newcomers) = (Tick(0), 0);
        for step in 0..20_000 {
            now.0 += random.u32(0..16 * 300);
            // Four of each ten have the same low bits.
            let key = random.u64(1..40);
            let key = CellKey(((key / 10) << 20) | (key % 10));
            let (what, score) = (random.u8(0..8), random.u8(0..100));
            let change = |record: &mut Record| match what {
                0 | 1 => record.last_score = score,
                2 => record.flags |= flag::PROTECTED,
                3 => record.flags &= !flag::PROTECTED,
                _ => {}
            };
            let known = records.with(key, now, |record, known| {
                change(record);
                known
            });
            assert_eq!(known, Some(plain.with(key.0.max(1), now, change)), "step {step}");
            newcomers += u32::from(known == Some(false));
            let set = records.sets[0].0.lock().unwrap();
            for (way, (record, expected)) in set.records.iter().zip(&plain.records).enumerate() {
                let of = |record: &Record| (record.tag, record.last_score, record.last_seen, record.flags);
                assert_eq!(of(record), of(expected), "step {step}, way {way}");
                let head = (set.marks.is_taken(way), set.last_score[way], set.last_seen[way]);
                assert_eq!(head, (record.tag != 0, record.last_score, record.last_seen), "step {step}, way {way}");
            }
        }
        assert!((1_000..19_000).contains(&newcomers), "{newcomers} of 20,000");
    }

    #[test]
    fn a_record_begins_where_a_line_of_memory_does() {
        assert_eq!((size_of::<Record>(), size_of::<Set>(), align_of::<Aligned<Set>>()), (128, 2_168, 64));
        if cfg!(target_os = "linux") {
            assert_eq!(size_of::<Aligned<Set>>(), 17 * 128, "with the lock");
        }
    }
}
