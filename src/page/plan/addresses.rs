//! Addresses whose page leaves in packed form.
//!
//! In which coding a page leaves is said in its head, when nothing is here of its source: so what happened the last time is
//! remembered. It is a guess and nothing more. A page that is not packed after all leaves in gzip all the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// Addresses that are remembered, at 8 bytes each; one of the same place pushes out the one before.
const CELLS: usize = 16_384;

/// Fixed size, no lock.
pub(crate) struct PackedAddresses(Box<[AtomicU64]>);

impl PackedAddresses {
    pub(super) fn new() -> Self {
        Self((0..CELLS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Did the page of this address, by a keyed hash, leave in packed form, or could it have?
    pub(crate) fn holds(&self, address: u128) -> bool {
        let (cell, mark) = self.cell(address);
        cell.is_some_and(|cell| cell.load(Ordering::Relaxed) == mark)
    }

    pub(crate) fn note(&self, address: u128, packed: bool) {
        let (Some(cell), mark) = self.cell(address) else { return };
        if packed {
            cell.store(mark, Ordering::Relaxed);
        } else {
            let _ = cell.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn cell(&self, address: u128) -> (Option<&AtomicU64>, u64) {
        let (high, low) = ((address >> 64) as u64, address as u64);
        (self.0.get(low as usize % CELLS), high | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_holds_until_it_is_taken_back_or_pushed_out() {
        let addresses = PackedAddresses::new();
        let (one, beside, same_cell) = (7 << 64 | 5, 7 << 64 | 6, 9 << 64 | 5);
        assert!(!addresses.holds(one));
        addresses.note(one, true);
        assert!(addresses.holds(one) && !addresses.holds(beside) && !addresses.holds(same_cell));
        addresses.note(same_cell, false);
        assert!(addresses.holds(one), "another one is taken back");
        addresses.note(same_cell, true);
        assert!(addresses.holds(same_cell) && !addresses.holds(one));
        addresses.note(same_cell, false);
        assert!(!addresses.holds(same_cell));
        assert!(!addresses.holds(0), "an empty cell holds nothing");
    }
}
