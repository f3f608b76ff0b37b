//! What a search of a set reads: sixteen bits of each tag, at the head of the set, and not a line of memory of each record.

use std::sync::Mutex;

/// A lock and what it guards, from the start of a cache line.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Aligned<T>(pub(super) Mutex<T>);

/// Bits of the tags of a set, by way; 0: nobody's.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Marks<const WAYS: usize>([u16; WAYS]);

impl<const WAYS: usize> Default for Marks<WAYS> {
    fn default() -> Self {
        Self([0; WAYS])
    }
}

impl<const WAYS: usize> Marks<WAYS> {
    /// The ways in which this tag may stand, in their order. Different tags may have the same bits.
    pub(super) fn alike(&self, tag: u64) -> impl Iterator<Item = usize> {
        let sought = bits_of(tag);
        let mut ways = self.0.iter().rev().fold(0u32, |ways, mark| ways << 1 | u32::from(*mark == sought));
        std::iter::from_fn(move || {
            let way = ways.trailing_zeros() as usize;
            ways &= ways.wrapping_sub(1);
            (way < WAYS).then_some(way)
        })
    }

    pub(super) fn is_taken(&self, way: usize) -> bool {
        self.0.get(way).is_some_and(|mark| *mark != 0)
    }

    pub(super) fn take(&mut self, way: usize, tag: u64) {
        if let Some(mark) = self.0.get_mut(way) {
            *mark = bits_of(tag);
        }
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.0.swap(a, b);
    }
}

/// The low ones: by the high ones the set was chosen.
fn bits_of(tag: u64) -> u16 {
    (tag as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_look_alike_are_all_found_and_others_are_not() {
        let mut marks = Marks::<8>::default();
        let find = |marks: &Marks<8>, tag| marks.alike(tag).collect::<Vec<_>>();
        assert_eq!((find(&marks, 0), find(&marks, 7)), (vec![], vec![]), "a place that is free is nobody's");
        for (way, tag) in [(0, 0x1_0007), (3, 7), (5, 8), (6, 0xAB_0000), (7, 0x2_0007)] {
            marks.take(way, tag);
        }
        assert_eq!((find(&marks, 7), find(&marks, 8), find(&marks, 9)), (vec![0, 3, 7], vec![5], vec![]));
        assert_eq!(find(&marks, 0xCD_0000), [6]);
        marks.swap(3, 4);
        assert_eq!((find(&marks, 7), marks.is_taken(3), marks.is_taken(4)), (vec![0, 4, 7], false, true));
    }
}
