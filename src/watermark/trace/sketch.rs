//! Which page a text is from: the smallest hashes of its gaps, beside those that the log keeps of each page.

use std::borrow::Cow;

/// Hashes that are kept of a copy: an article has some hundreds.
const KEPT: usize = 1 << 16;
/// Hashes in the sketch of a page; a page with fewer has all of them there.
const FULL: usize = 128;
/// Gaps in common below which two texts may share a phrase and nothing else.
const FEW: u32 = 4;

/// What a copy and the sketch of a page have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Hashes of the sketch that are in the copy.
    pub found: u32,
    /// Hashes of the sketch that could be.
    pub of: u32,
    /// Hashes of the copy that could be in the sketch.
    pub copy: u32,
}

impl Overlap {
    /// Is at least half of the copy from this page?
    pub fn is_ours(self) -> bool {
        self.found >= FEW && 2 * self.found >= self.copy
    }
}

/// The smallest distinct hashes of a copy, at most [`KEPT`].
#[derive(Debug, Clone)]
pub(super) struct Smallest {
    hashes: Vec<u32>,
    /// What is greater is not kept.
    ceiling: u32,
    sorted: bool,
}

impl Default for Smallest {
    fn default() -> Self {
        Self { hashes: Vec::new(), ceiling: u32::MAX, sorted: true }
    }
}

impl Smallest {
    pub(super) fn add(&mut self, hash: u32) {
        if hash > self.ceiling {
            return;
        }
        self.hashes.push(hash);
        self.sorted = false;
        if self.hashes.len() >= 2 * KEPT {
            self.sort();
        }
    }

    pub(super) fn sort(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self.hashes.truncate(KEPT);
        if self.hashes.len() == KEPT {
            self.ceiling = self.hashes.last().copied().unwrap_or(u32::MAX);
        }
        self.sorted = true;
    }

    pub(super) fn overlap(&self, sketch: &[u32]) -> Overlap {
        let mut own = Cow::Borrowed(self);
        if !self.sorted {
            own.to_mut().sort();
        }
        let highest = if sketch.len() < FULL { u32::MAX } else { sketch.iter().copied().max().unwrap_or(0) };
        let comparable = || sketch.iter().filter(|hash| **hash <= own.ceiling);
        Overlap {
            found: comparable().filter(|hash| own.hashes.binary_search(hash).is_ok()).count() as u32,
            of: comparable().count() as u32,
            copy: own.hashes.partition_point(|hash| *hash <= highest) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u32) -> u32 {
        i.wrapping_mul(0x9E37_79B9) ^ 0x5555
    }

    fn copy(range: std::ops::Range<u32>) -> Smallest {
        let mut copy = Smallest::default();
        range.for_each(|i| copy.add(hash(i)));
        copy
    }

    fn sketch(range: std::ops::Range<u32>) -> Vec<u32> {
        let mut all: Vec<u32> = range.map(hash).collect();
        all.sort_unstable();
        all.truncate(FULL);
        all
    }

    #[test]
    fn a_part_of_a_page_is_told_from_another_page() {
        let page = sketch(0..600);
        let whole = copy(0..600).overlap(&page);
        assert_eq!((whole.found, whole.of, whole.copy), (128, 128, 128));
        assert!(whole.is_ours());
        let part = copy(100..250).overlap(&page);
        assert!((10..60).contains(&part.found) && part.found == part.copy && part.is_ours(), "{part:?}");
        // Half of it is something else, then nearly all.
        assert!(copy(300..900).overlap(&page).copy > copy(300..600).overlap(&page).copy);
        assert!(!copy(580..3_000).overlap(&page).is_ours());
        assert_eq!(copy(1_000..2_000).overlap(&page).found, 0);
    }

    #[test]
    fn a_short_page_stands_whole_in_its_sketch() {
        let page = sketch(0..50);
        let overlap = copy(0..50).overlap(&page);
        assert_eq!((overlap.found, overlap.of, overlap.copy), (50, 50, 50));
        assert!(!copy(0..200).overlap(&page).is_ours(), "a quarter of the copy is from the page");
        assert_eq!(copy(0..0).overlap(&[]), Overlap::default());
    }

    #[test]
    fn a_long_copy_keeps_the_smallest() {
        let long = copy(0..400_000);
        assert!(long.hashes.len() < 2 * KEPT);
        let page = sketch(1_000..1_600);
        let overlap = long.overlap(&page);
        assert!(overlap.found == overlap.of && overlap.of > 20, "{overlap:?}");
    }
}
