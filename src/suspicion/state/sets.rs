//! [`Sets`]: records of 64 bytes in sets of eight, each set with a lock of its own. The one silent longest makes room.

use std::sync::{Mutex, TryLockError};

use super::Tick;
use super::marks::{Aligned, Marks};
use crate::suspicion::cells::CellKey;

const WAYS: usize = 8;

/// What stands in such a table.
pub(super) trait Entry: Copy + Default {
    /// Whose it is; 0: nobody's.
    fn tag(&self) -> u64;
    fn last_seen(&self) -> Tick;
    /// Of somebody who is seen for the first time.
    fn begin(tag: u64, now: Tick) -> Self;
}

/// The arrays before the records say of each of them what it says itself: a search reads them and not the records.
#[repr(C)]
struct Set<R> {
    marks: Marks<WAYS>,
    /// A lock takes eight bytes on Linux: with these, it and the arrays fill a line of memory.
    spare: [u8; 8],
    last_seen: [Tick; WAYS],
    records: [R; WAYS],
}

impl<R: Entry> Set<R> {
    fn new() -> Self {
        Self {
            marks: Marks::default(),
            spare: [0; 8],
            last_seen: [Tick::default(); WAYS],
            records: [R::default(); WAYS],
        }
    }

    fn find(&self, tag: u64) -> Option<usize> {
        self.marks.alike(tag).find(|way| self.records.get(*way).is_some_and(|record| record.tag() == tag))
    }

    /// Nobody, or the one silent longest.
    fn victim(&self) -> usize {
        let seen = self.last_seen.iter().enumerate();
        seen.min_by_key(|(way, seen)| (self.marks.is_taken(*way), **seen)).map_or(0, |(way, _)| way)
    }
}

pub(super) struct Sets<R> {
    sets: Box<[Aligned<Set<R>>]>,
}

impl<R: Entry> Sets<R> {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Aligned(Mutex::new(Set::new()))).collect() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.sets.len() * size_of::<Set<R>>()
    }

    /// Reads and changes one record. `None`: the set is busy.
    pub(super) fn with<T>(&self, key: CellKey, now: Tick, f: impl FnOnce(&mut R) -> T) -> Option<T> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let Aligned(lock) = self.sets.get(index)?;
        let mut set = match lock.try_lock() {
            Ok(set) => set,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let tag = key.0.max(1);
        let found = set.find(tag);
        let way = found.unwrap_or_else(|| set.victim());
        let Set { marks, last_seen, records, .. } = &mut *set;
        let (record, seen) = (records.get_mut(way)?, last_seen.get_mut(way)?);
        if found.is_none() {
            *record = R::begin(tag, now);
            marks.take(way, tag);
        }
        let out = f(record);
        *seen = record.last_seen();
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, Default)]
    #[repr(C)]
    struct Seen {
        tag: u64,
        at: Tick,
        times: u32,
        rest: [u64; 6],
    }

    impl Entry for Seen {
        fn tag(&self) -> u64 {
            self.tag
        }

        fn last_seen(&self) -> Tick {
            self.at
        }

        fn begin(tag: u64, now: Tick) -> Self {
            Self { tag, at: now, ..Self::default() }
        }
    }

    #[test]
    fn who_is_silent_longest_makes_room() {
        assert_eq!((size_of::<Seen>(), size_of::<Set<Seen>>()), (64, 568));
        let sets = Sets::<Seen>::new(1);
        // How often it was seen, as far as is remembered. Some change nothing about when that was.
        let mut plain: Vec<(u64, Tick, u32)> = Vec::new();
        let mut random = fastrand::Rng::with_seed(3);
        for step in 1..20_000 {
            let (key, now, quiet) = (random.u64(1..20), Tick(step / 3), random.bool());
            // Some have the same low bits.
            let key = ((key / 5) << 20) | (key % 5);
            let times = sets.with(CellKey(key), now, |record| {
                record.times += 1;
                record.at = if quiet { record.at } else { now };
                record.times
            });
            let found = plain.iter().position(|(tag, ..)| *tag == key);
            let at = found.unwrap_or_else(|| {
                if plain.len() < WAYS {
                    plain.push((0, Tick(0), 0));
                    return plain.len() - 1;
                }
                plain.iter().enumerate().min_by_key(|(_, (_, seen, _))| *seen).unwrap().0
            });
            if found.is_none() {
                plain[at] = (key, now, 0);
            }
            let (_, seen, count) = &mut plain[at];
            (*seen, *count) = (if quiet { *seen } else { now }, *count + 1);
            assert_eq!(times, Some(*count), "step {step}");
        }
    }
}
