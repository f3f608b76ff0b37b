//! Sampled logs: one line may stand for several requests, and not always for a whole number of them.
//!
//! Weights and their sums are whole numbers of small parts. So a sum is the same in any order, and with any number of
//! threads; it is rounded once, where it is read.

use std::iter::Sum;
use std::ops::{AddAssign, SubAssign};

/// A request has 2²⁰ parts.
const BITS: u32 = 20;

/// How many requests stand behind a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight(u64);

impl Weight {
    /// The line stands for itself.
    pub(crate) const ONE: Self = Self(1 << BITS);

    /// One line in so many was written (`deckle.sample`); a writer goes down to one in a thousand.
    pub(super) fn of_sample(share: f32) -> Self {
        let whole = Self::ONE.0 as f64;
        Self((whole / f64::from(share.clamp(0.001, 1.0))).round() as u64)
    }

    /// A quantity of one request times this, in parts of 2⁻ᴾ.
    fn times<const P: u32>(self, value: u64) -> u64 {
        if self == Self::ONE {
            return value.saturating_mul(1 << P);
        }
        let exact = (u128::from(value) * u128::from(self.0)) >> (BITS - P);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

/// Weighed things, added up in parts of 2⁻ᴾ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Total<const P: u32>(u64);

/// Requests; 17 billion at most.
pub(crate) type Requests = Total<BITS>;
/// Bytes, or microseconds.
pub(crate) type Amount = Total<10>;

impl<const P: u32> Total<P> {
    /// The nearest whole number.
    pub(crate) fn count(self) -> u64 {
        self.0.saturating_add(1 << (P - 1)) >> P
    }

    /// So much of each request that the line stands for.
    pub(crate) fn note(&mut self, weight: Weight, value: u64) {
        self.0 = self.0.saturating_add(weight.times::<P>(value));
    }
}

impl AddAssign<Weight> for Requests {
    fn add_assign(&mut self, weight: Weight) {
        self.0 = self.0.saturating_add(weight.0);
    }
}

impl<const P: u32> AddAssign for Total<P> {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl<const P: u32> SubAssign for Total<P> {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_sub(other.0);
    }
}

impl<const P: u32> Sum for Total<P> {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_what_was_there() {
        for (share, lines, requests) in [(0.1, 1_000, 10_000), (0.3, 3_000, 10_000), (0.7, 7_000, 10_000)] {
            let weight = Weight::of_sample(share);
            let (mut hits, mut bytes) = (Requests::default(), Amount::default());
            for _ in 0..lines {
                hits += weight;
                bytes.note(weight, 70);
            }
            assert_eq!(hits.count(), requests, "{share}");
            assert!(bytes.count().abs_diff(requests * 70) < 10, "{share}: {}", bytes.count());
        }
        assert_eq!(Weight::of_sample(1.0), Weight::ONE);
        assert_eq!(Weight::of_sample(0.0), Weight::of_sample(0.001));
    }

    #[test]
    fn what_cannot_be_is_a_lot_and_no_panic() {
        let mut bytes = Amount::default();
        bytes.note(Weight::ONE, u64::MAX);
        bytes.note(Weight::of_sample(0.5), u64::MAX);
        assert_eq!(bytes.count(), u64::MAX >> 10);
    }
}
