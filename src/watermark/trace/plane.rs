//! Columns that can be compared, and how many of them agree with a row.
//!
//! Agreements are counted in bit slices, so that most of the work is logic on whole words whatever the processor.

use super::tail::Mix;
use crate::slot::Class;
use crate::watermark::code::Keys;

/// Columns in eight words.
const EIGHT: usize = 512;

/// Eight words of columns.
#[derive(Debug, Clone, Copy, Default)]
struct Eight {
    live: [u64; 8],
    bits: [u64; 8],
    /// Columns with which an innocent mark agrees with chance 1/4.
    rare: [u64; 8],
    used: bool,
}

impl Eight {
    /// Live columns in which a row agrees.
    fn same(&self, row: &[u64; 8]) -> [u64; 8] {
        let mut same = self.live;
        for ((same, bits), row) in same.iter_mut().zip(&self.bits).zip(row) {
            *same &= !(bits ^ row);
        }
        same
    }

    fn rare_of(&self, same: &[u64; 8]) -> [u64; 8] {
        let mut rare = self.rare;
        rare.iter_mut().zip(same).for_each(|(rare, same)| *rare &= same);
        rare
    }
}

fn ones(words: &[u64; 8]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

/// Counts bits in slices: of each sixteen words one population count is left (Harley and Seal).
#[derive(Debug, Default)]
struct Slices {
    ones: u64,
    twos: u64,
    fours: u64,
    eights: u64,
    sixteens: u32,
}

/// Sum of three bits in each place: the carry and what stays.
fn add_bits(a: u64, b: u64, c: u64) -> (u64, u64) {
    let two = a ^ b;
    ((a & b) | (two & c), two ^ c)
}

impl Slices {
    /// Adds eight words; the carry is worth eight.
    fn add_eight(&mut self, [a, b, c, d, e, f, g, h]: [u64; 8]) -> u64 {
        let (twos_1, ones) = add_bits(self.ones, a, b);
        let (twos_2, ones) = add_bits(ones, c, d);
        let (fours_1, twos) = add_bits(self.twos, twos_1, twos_2);
        let (twos_1, ones) = add_bits(ones, e, f);
        let (twos_2, ones) = add_bits(ones, g, h);
        let (fours_2, twos) = add_bits(twos, twos_1, twos_2);
        let (eights, fours) = add_bits(self.fours, fours_1, fours_2);
        (self.ones, self.twos, self.fours) = (ones, twos, fours);
        eights
    }

    fn add(&mut self, words: [u64; 8], more: [u64; 8]) {
        let (first, second) = (self.add_eight(words), self.add_eight(more));
        let (sixteens, eights) = add_bits(self.eights, first, second);
        self.eights = eights;
        self.sixteens += sixteens.count_ones();
    }

    fn total(&self) -> u32 {
        16 * self.sixteens
            + 8 * self.eights.count_ones()
            + 4 * self.fours.count_ones()
            + 2 * self.twos.count_ones()
            + self.ones.count_ones()
    }
}

/// The live columns of one class.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    pub(super) class: Class,
    eights: Vec<Eight>,
    pub(super) mix: Mix,
}

impl Plane {
    /// Columns by their votes: ones less zeros. A tie says nothing.
    pub(super) fn new(class: Class, votes: &[i32]) -> Self {
        let mut plane = Self { class, eights: vec![Eight::default(); class.columns() / EIGHT], mix: Mix::default() };
        for (column, vote) in votes.iter().enumerate().filter(|(_, vote)| **vote != 0) {
            plane.set(column, *vote > 0);
        }
        plane.count();
        plane
    }

    fn set(&mut self, column: usize, bit: bool) {
        let Some(eight) = self.eights.get_mut(column / EIGHT) else { return };
        let (word, mask) = (column % EIGHT / 64, 1u64 << (column % 64));
        // Columns of white space are 1 with chance 1/4 where they are even, with 3/4 where they are odd.
        let rare = self.class == Class::White && bit == column.is_multiple_of(2);
        for (words, on) in [(&mut eight.live, true), (&mut eight.bits, bit), (&mut eight.rare, rare)] {
            if let (Some(word), true) = (words.get_mut(word), on) {
                *word |= mask;
            }
        }
    }

    /// Live columns and their bits: column n is bit n % 8 of byte n / 8, the lowest bit first.
    pub(super) fn bitmaps(&self) -> [Vec<u8>; 2] {
        let bytes = |words: fn(&Eight) -> &[u64; 8]| {
            self.eights.iter().flat_map(words).flat_map(|word| word.to_le_bytes()).collect()
        };
        [bytes(|eight| &eight.live), bytes(|eight| &eight.bits)]
    }

    /// Brings what follows from the columns up to date.
    fn count(&mut self) {
        let (mut live, mut rare) = (0, 0);
        for eight in &mut self.eights {
            eight.used = eight.live.iter().any(|word| *word != 0);
            live += ones(&eight.live);
            rare += ones(&eight.rare);
        }
        self.mix = match self.class {
            Class::White => Mix { rare, even: 0, common: live - rare },
            Class::Typographic | Class::Variant => Mix { rare: 0, even: live, common: 0 },
        };
    }

    /// Agreements weigh 4 where an innocent mark agrees with chance 1/4, 3 with 1/2, and 2 with 3/4.
    pub(super) fn score(&self, row: &[[u64; 8]]) -> u32 {
        let mut slices = Slices::default();
        for (eight, row) in self.eights.iter().zip(row).filter(|(eight, _)| eight.used) {
            let same = eight.same(row);
            slices.add(same, eight.rare_of(&same));
        }
        match self.class {
            Class::White => 2 * slices.total(),
            Class::Typographic | Class::Variant => 3 * slices.total(),
        }
    }

    pub(super) fn agree(&self, row: &[[u64; 8]]) -> u32 {
        self.eights.iter().zip(row).map(|(eight, row)| ones(&eight.same(row))).sum()
    }

    /// Leaves only columns in which a row does not agree.
    pub(super) fn drop_agreeing(&mut self, row: &[[u64; 8]]) {
        for (eight, row) in self.eights.iter_mut().zip(row) {
            let same = eight.same(row);
            for ((live, rare), same) in eight.live.iter_mut().zip(&mut eight.rare).zip(&same) {
                *live &= !same;
                *rare &= !same;
            }
        }
        self.count();
    }
}

/// Where rows are made.
#[derive(Debug)]
pub(super) struct Rows {
    white: [u64; 64],
    short: [u64; 8],
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { white: [0; 64], short: [0; 8] }
    }

    pub(super) fn of(&mut self, keys: &Keys, class: Class, id: u64) -> &[[u64; 8]] {
        match class {
            Class::White => {
                keys.white_row(id, &mut self.white);
                self.white.as_chunks().0
            }
            Class::Typographic | Class::Variant => {
                keys.short_row(class, id, &mut self.short);
                std::slice::from_ref(&self.short)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bits_of, keys, marks};
    use super::*;

    fn plane(class: Class, seed: u64) -> (Plane, Vec<i32>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let votes: Vec<i32> = (0..class.columns()).map(|_| random.i32(-1..=1)).collect();
        (Plane::new(class, &votes), votes)
    }

    #[test]
    fn slices_count_as_one_by_one() {
        for class in Class::ALL {
            let (plane, votes) = plane(class, 7);
            for mark in marks(50) {
                let bits = bits_of(&keys(), class, mark.id);
                let (mut score, mut agree, mut mix) = (0, 0, Mix::default());
                for (column, vote) in votes.iter().enumerate().filter(|(_, vote)| **vote != 0) {
                    let rare = (*vote > 0) == column.is_multiple_of(2);
                    let (weight, count) = match class {
                        Class::White if rare => (4, &mut mix.rare),
                        Class::White => (2, &mut mix.common),
                        _ => (3, &mut mix.even),
                    };
                    *count += 1;
                    if bits[column] == (*vote > 0) {
                        (score, agree) = (score + weight, agree + 1);
                    }
                }
                let mut rows = Rows::new();
                let row = rows.of(&keys(), class, mark.id);
                assert_eq!((plane.score(row), plane.agree(row), plane.mix), (score, agree, mix), "{class:?}");
            }
        }
    }

    #[test]
    fn columns_that_a_mark_explains_can_be_dropped() {
        let (mut plane, votes) = plane(Class::White, 8);
        let [a, b] = [marks(2)[0], marks(2)[1]];
        let (of_a, of_b) = (bits_of(&keys(), Class::White, a.id), bits_of(&keys(), Class::White, b.id));
        let mut rows = Rows::new();
        plane.drop_agreeing(rows.of(&keys(), Class::White, a.id));
        assert_eq!(plane.score(rows.of(&keys(), Class::White, a.id)), 0);
        let left: Vec<usize> = (0..4_096).filter(|i| votes[*i] != 0 && of_a[*i] != (votes[*i] > 0)).collect();
        assert_eq!(plane.mix.live() as usize, left.len());
        let agree = left.iter().filter(|i| of_b[**i] == (votes[**i] > 0)).count();
        assert_eq!(plane.agree(rows.of(&keys(), Class::White, b.id)) as usize, agree);
    }
}
