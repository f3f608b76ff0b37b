//! Which challenges were used: two Bloom filters (Bloom, 1970), one filled and one remembered for ten minutes each.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Tick;

const HASHES: u32 = 7;
/// Seconds of one generation; a challenge is good for less.
const GENERATION: u32 = 600;

pub(super) struct Spent {
    generations: [Box<[AtomicU64]>; 2],
    turn: AtomicU32,
}

impl Spent {
    /// Two filters of so many words.
    pub(super) fn new(words: usize) -> Self {
        let filter = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { generations: [filter(), filter()], turn: AtomicU32::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.generations.iter().map(|filter| size_of_val(&**filter)).sum()
    }

    /// Marks a thing as used, by 128 random bits. `false`: it was used before (or, rarely, looks so).
    pub(super) fn spend(&self, id: [u64; 2], now: Tick) -> bool {
        let turn = now.seconds() / GENERATION;
        let seen = self.turn.load(Ordering::Relaxed);
        if seen != turn && self.turn.compare_exchange(seen, turn, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let skipped = turn.wrapping_sub(seen) > 1;
            let stale = |index: u32| skipped || index == turn % 2;
            for (_, filter) in (0u32..).zip(&self.generations).filter(|(index, _)| stale(*index)) {
                filter.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
        let [current, before] = match turn % 2 {
            0 => [&self.generations[0], &self.generations[1]],
            _ => [&self.generations[1], &self.generations[0]],
        };
        let bits = |filter: &[AtomicU64]| {
            let size = filter.len() as u64 * 64;
            (0..u64::from(HASHES)).map(move |n| id[0].wrapping_add(n.wrapping_mul(id[1] | 1)) % size.max(1))
        };
        let has = |filter: &[AtomicU64], bit: u64| {
            filter.get((bit / 64) as usize).is_some_and(|w| w.load(Ordering::Relaxed) & (1 << (bit % 64)) != 0)
        };
        if bits(before).all(|bit| has(before, bit)) {
            return false;
        }
        let mut known = true;
        for bit in bits(current) {
            if let Some(word) = current.get((bit / 64) as usize) {
                known &= word.fetch_or(1 << (bit % 64), Ordering::Relaxed) & (1 << (bit % 64)) != 0;
            }
        }
        !known
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn a_challenge_is_good_once() {
        let spent = Spent::new(1_024);
        let id = [0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321];
        let at = |seconds: u32| Tick(seconds * 16);
        assert!(spent.spend(id, at(10)));
        assert!(!spent.spend(id, at(11)));
        assert!(!spent.spend(id, at(610)), "the generation before is remembered");
        assert!(spent.spend(id, at(1_900)), "and then forgotten");
    }

    #[test]
    fn a_hundred_thousand_are_told_apart() {
        let spent = Spent::new(262_144 / 8);
        let hasher = RandomState::new();
        let ids = (0..100_000u64).map(|i| [hasher.hash_one(i), hasher.hash_one((i, 1))]);
        let taken_for_used = ids.filter(|id| !spent.spend(*id, Tick(0))).count();
        // By the formula 1.5e-4 of the last ones, less of the first.
        assert!(taken_for_used <= 40, "{taken_for_used}");
    }
}
