//! Counting different things: exactly while they are few, then by `HyperLogLog` (Flajolet et al. 2007).

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Kept one by one up to this number.
const EXACT: usize = 4_096;
/// Looked through one by one up to this number.
const FEW: usize = 24;
/// Registers of a sketch: an error of 1.04 ÷ √4096 = 1.6 %.
const BITS: u32 = 12;
/// The same for sketches that there are few of: 0.8 %.
const WIDE_BITS: u32 = 14;

/// What is hashed already is not hashed again.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// For tables whose keys are hashes.
pub(crate) type BuildReady = BuildHasherDefault<Ready>;

/// Kept out of line: most visitors have few of anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Set(HashSet<u64, BuildReady>);

/// The number of different hashes.
#[derive(Debug, Clone, Default)]
pub(crate) enum Distinct {
    #[default]
    None,
    /// Most visitors have one of anything, and that takes no memory of its own.
    One(u64),
    Few(Vec<u64>),
    Many(Box<Set>),
    Sketch(Box<Sketch>),
}

impl Distinct {
    /// Is it new? A sketch says yes where it learns something.
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        match self {
            Self::None => {
                *self = Self::One(hash);
                true
            }
            Self::One(one) if *one == hash => false,
            Self::One(one) => {
                *self = Self::Few(vec![*one, hash]);
                true
            }
            Self::Few(few) => {
                if few.contains(&hash) {
                    return false;
                }
                if few.len() < FEW {
                    few.push(hash);
                    return true;
                }
                let many = few.drain(..).chain([hash]).collect();
                *self = Self::Many(Box::new(Set(many)));
                true
            }
            Self::Many(many) => {
                let new = many.0.insert(hash);
                if many.0.len() > EXACT {
                    let mut sketch = Box::<Sketch>::default();
                    for hash in &many.0 {
                        sketch.insert(*hash);
                    }
                    *self = Self::Sketch(sketch);
                }
                new
            }
            Self::Sketch(sketch) => sketch.insert(hash),
        }
    }

    /// Each one, while they are kept one by one.
    pub(crate) fn each(&self, mut take: impl FnMut(u64)) {
        match self {
            Self::One(hash) => take(*hash),
            Self::Few(few) => few.iter().for_each(|hash| take(*hash)),
            Self::Many(many) => many.0.iter().for_each(|hash| take(*hash)),
            Self::None | Self::Sketch(_) => {}
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(few) => few.len() as u64,
            Self::Many(many) => many.0.len() as u64,
            Self::Sketch(sketch) => sketch.estimate(),
        }
    }

    /// Bytes on the heap, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(few) => few.capacity() * 8,
            Self::Many(many) => many.0.capacity() * 10 + 64,
            Self::Sketch(_) => 1 << BITS,
        }
    }
}

/// A sketch of the number of different hashes.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    registers: Vec<u8>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { registers: vec![0; 1 << BITS] }
    }
}

impl Sketch {
    /// One that is closer, and takes four times as much.
    pub(crate) fn wide() -> Self {
        Self { registers: vec![0; 1 << WIDE_BITS] }
    }

    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        // Hashes may be poor in their high bits.
        let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (hash >> 29);
        let mixed = mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = self.registers.len().trailing_zeros();
        let rank = ((mixed << bits) | (1 << (bits - 1))).leading_zeros() as u8 + 1;
        match self.registers.get_mut((mixed >> (64 - bits)) as usize) {
            Some(register) if *register < rank => {
                *register = rank;
                true
            }
            _ => false,
        }
    }

    /// What the other one has seen, too; both are of one width.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, other) in self.registers.iter_mut().zip(&other.registers) {
            *own = (*own).max(*other);
        }
    }

    pub(crate) fn estimate(&self) -> u64 {
        let m = self.registers.len() as f64;
        let sum: f64 = self.registers.iter().map(|rank| 2f64.powi(-i32::from(*rank))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.registers.iter().map(|rank| u64::from(*rank == 0)).sum::<u64>() as f64;
        let estimate = if raw <= 2.5 * m && empty > 0.0 { m * (m / empty).ln() } else { raw };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u64) -> u64 {
        twox_hash::XxHash3_64::oneshot(&i.to_le_bytes())
    }

    #[test]
    fn few_are_exact_and_many_are_close() {
        for count in [0u64, 1, 24, 25, 4_096] {
            let mut distinct = Distinct::default();
            for i in (0..count).chain(0..count) {
                distinct.insert(hash(i));
            }
            assert_eq!(distinct.count(), count);
        }
        for count in [5_000u64, 60_000, 1_000_000] {
            let mut distinct = Distinct::default();
            (0..count).for_each(|i| {
                distinct.insert(hash(i));
            });
            let error = distinct.count().abs_diff(count) as f64 / count as f64;
            assert!(error < 0.05, "{count}: {}", distinct.count());
            assert!(distinct.bytes() <= 4_096);
        }
    }

    #[test]
    fn a_wide_sketch_is_closer_and_two_are_one() {
        let (mut odd, mut even) = (Sketch::wide(), Sketch::wide());
        for i in 0..1_000_000 {
            let half = if i % 2 == 0 { &mut even } else { &mut odd };
            half.insert(hash(i));
        }
        odd.merge(&even);
        for (sketch, count) in [(&odd, 1_000_000_u64), (&even, 500_000)] {
            let error = sketch.estimate().abs_diff(count) as f64 / count as f64;
            assert!(error < 0.02, "{count}: {}", sketch.estimate());
        }
    }
}
