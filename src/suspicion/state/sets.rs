//! [`Sets`]: records of 64 bytes in sets of eight, each set with a lock of its own. The one silent longest makes room.

use std::sync::{Mutex, TryLockError};

use super::Tick;
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

pub(super) struct Sets<R> {
    sets: Box<[Mutex<[R; WAYS]>]>,
}

impl<R: Entry> Sets<R> {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Mutex::new([R::default(); WAYS])).collect() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.sets.len() * WAYS * size_of::<R>()
    }

    /// Reads and changes one record. `None`: the set is busy.
    pub(super) fn with<T>(&self, key: CellKey, now: Tick, f: impl FnOnce(&mut R) -> T) -> Option<T> {
        let index = ((u128::from(key.0) * self.sets.len() as u128) >> 64) as usize;
        let lock = self.sets.get(index)?;
        let mut set = match lock.try_lock() {
            Ok(set) => set,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let tag = key.0.max(1);
        let way = set.iter().position(|record| record.tag() == tag).unwrap_or_else(|| {
            let oldest = set.iter().enumerate().min_by_key(|(_, record)| (record.tag() != 0, record.last_seen()));
            oldest.map_or(0, |(way, _)| way)
        });
        let record = set.get_mut(way)?;
        if record.tag() != tag {
            *record = R::begin(tag, now);
        }
        Some(f(record))
    }
}
