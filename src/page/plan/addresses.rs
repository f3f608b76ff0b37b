//! Addresses whose page leaves in packed form.
//!
//! In which coding a page leaves is said in its head, when nothing is here of its source: so what happened the last time is
//! remembered. It is a guess and nothing more. A page that is not packed after all leaves in gzip all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::PlanCache;

/// Addresses that are remembered, at 8 bytes each; one of the same place pushes out the one before.
const CELLS: usize = 16_384;
/// So many answers in a row that were not packed end it.
const MISSES: u64 = 3;

/// Fixed size, no lock. A cell holds a part of a hash, and in its two lowest bits how many answers in a row were not packed.
pub(crate) struct PackedAddresses(Box<[AtomicU64]>);

/// An address, to be told how its page has left.
pub(crate) struct PackedAddress {
    cache: Arc<PlanCache>,
    address: u128,
}

impl PackedAddress {
    pub(crate) fn new(cache: &Arc<PlanCache>, address: u128) -> Self {
        Self { cache: Arc::clone(cache), address }
    }

    /// It has left in packed form, or could have; or not.
    pub(crate) fn note(&self, packed: bool) {
        self.cache.addresses().note(self.address, packed);
    }
}

impl PackedAddresses {
    pub(super) fn new() -> Self {
        Self((0..CELLS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Does the page of this address, by a keyed hash, leave in packed form?
    pub(crate) fn hold(&self, address: u128) -> bool {
        let (cell, mark) = self.cell(address);
        cell.is_some_and(|cell| cell.load(Ordering::Relaxed) & !MISSES == mark)
    }

    pub(crate) fn note(&self, address: u128, packed: bool) {
        let (Some(cell), mark) = self.cell(address) else { return };
        if packed {
            return cell.store(mark, Ordering::Relaxed);
        }
        let miss = |word: u64| {
            let misses = (word & MISSES) + 1;
            (word & !MISSES == mark).then_some(if misses == MISSES { 0 } else { mark | misses })
        };
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, miss);
    }

    fn cell(&self, address: u128) -> (Option<&AtomicU64>, u64) {
        let (high, low) = ((address >> 64) as u64, address as u64);
        // Never that of an empty cell.
        (self.0.get(low as usize % CELLS), (high | 4) & !MISSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_holds_until_three_answers_in_a_row_were_not_packed() {
        let addresses = PackedAddresses::new();
        let (one, beside, same_cell) = (16 << 64 | 5, 16 << 64 | 6, 32 << 64 | 5);
        assert!(!addresses.hold(one) && !addresses.hold(0), "an empty cell holds nothing");
        for _ in 0..2 {
            addresses.note(one, true);
            assert!(addresses.hold(one) && !addresses.hold(beside) && !addresses.hold(same_cell));
            for _ in 0..2 {
                addresses.note(one, false);
                (0..5).for_each(|_| addresses.note(same_cell, false));
                assert!(addresses.hold(one), "two are not enough, nor are those of another address");
            }
        }
        addresses.note(one, false);
        assert!(!addresses.hold(one));
        addresses.note(one, true);
        addresses.note(same_cell, true);
        assert!(addresses.hold(same_cell) && !addresses.hold(one));
    }
}
