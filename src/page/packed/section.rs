//! A passage in compressed form: its bytes in state 0, and what a mark changes in them.

use std::ops::Range;

use super::Marks;
use super::passage::{Cut, Instead, Passage, Swap};
use super::patch::{Flip, Places, REACH, bit, within};
use super::symbols::{NONCE_STATES, SEAL_STATES};
use super::trailer::{Effects, shift, sum, times};
use super::write::{Flips, stored};

/// A passage. Its body has the same length in all copies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) bytes: Box<[u8]>,
    /// Sorted.
    pub(super) white: Box<[Flip]>,
    seal: Places<SEAL_STATES>,
    nonce: Places<NONCE_STATES>,
    pub(super) swaps: Box<[Swapped]>,
    /// The checksum of the passage in state 0.
    pub(super) sum: u32,
    /// Bytes of the passage.
    pub(super) length: u32,
}

/// A text that stands in the place of another one of the same length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Swapped {
    at: u32,
    instead: Instead,
    /// What goes from the checksum with the text of state 0. If the other one is known, what comes with that is in it.
    pub(super) crc: u32,
    /// What the checksum of the text is multiplied by: that of the whole passage has so much of it.
    power: u32,
}

/// What stands between two sections.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fork {
    /// Of the choice.
    number: u16,
    ways: [Way; 2],
}

/// A text and the section behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The text in a stored block, behind its head.
    pub(super) block: Box<[u8]>,
    /// Bytes of the text.
    pub(super) length: u32,
    /// What the checksum of what stands before both is multiplied by.
    pub(super) power: u32,
    /// That of both in state 0.
    pub(super) sum: u32,
}

impl Section {
    /// `bytes`: the passage in state 0.
    pub(super) fn new(bytes: Vec<u8>, mut flips: Flips, passage: Passage) -> Self {
        let Passage { page, swaps } = passage;
        let mut effects = Effects::of(&page);
        for flip in &mut flips.white {
            flip.crc = std::mem::take(&mut effects.white[usize::from(flip.column)]);
        }
        debug_assert!(effects.white.iter().all(|effect| *effect == 0), "the first place of a column is a literal");
        debug_assert_eq!(swaps.len(), flips.swaps.len());
        let length = page.bytes.len();
        let swaps = swaps.into_iter().zip(flips.swaps).map(|(swap, at)| Swapped::new(swap, at, length));
        Self {
            bytes: bytes.into(),
            white: flips.white.into(),
            seal: Places::new(flips.seal, effects.seal),
            nonce: Places::new(flips.nonce, effects.nonce),
            swaps: swaps.collect(),
            sum: sum(&page.bytes),
            length: length as u32,
        }
    }

    /// What a mark does to the checksum.
    pub(super) fn change(&self, marks: &Marks) -> u32 {
        let white = self.white.iter().fold(0_u32, |crc, flip| {
            let on = 0_u32.wrapping_sub(bit(&marks.row, flip.column).into());
            crc ^ (flip.crc & on)
        });
        let texts = self.swaps.iter().fold(0_u32, |crc, swapped| crc ^ swapped.change(marks));
        white ^ texts ^ self.seal.crc(&marks.seal) ^ self.nonce.crc(marks.nonce())
    }

    /// Appends a range of a copy, and before it what stands there, three bytes at most; the answer is how many those are.
    pub(super) fn append(&self, range: Range<usize>, marks: &Marks, out: &mut Vec<u8>) -> usize {
        // A flip that begins before the range may reach into it, and one that begins in it beyond its end, or that of the
        // section.
        let start = range.start.saturating_sub(REACH);
        let (base, end) = (out.len(), range.end + REACH);
        out.extend_from_slice(&self.bytes[start..self.bytes.len().min(end)]);
        out.resize(base + end - start, 0);
        let piece = &mut out[base..];
        let reached = start..range.end;
        for flip in within(&self.white, &reached, |flip| flip.at) {
            let on = 0_u16.wrapping_sub(bit(&marks.row, flip.column));
            if let Some(pair) = piece.get_mut(flip.at as usize - start..).and_then(<[u8]>::first_chunk_mut::<2>) {
                *pair = (u16::from_le_bytes(*pair) ^ (flip.bits & on)).to_le_bytes();
            }
        }
        self.seal.flip(piece, &reached, &marks.seal);
        self.nonce.flip(piece, &reached, marks.nonce());
        for swapped in &self.swaps {
            swapped.write(piece, &reached, marks);
        }
        out.truncate(base + range.end - start);
        range.start - start
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let texts = self.swaps.iter().map(|swapped| size_of::<Swapped>() + swapped.size());
        let places = size_of_val(&*self.white) + self.seal.size() + self.nonce.size();
        size_of::<Self>() + self.bytes.len() + places + texts.sum::<usize>()
    }
}

impl Swapped {
    /// `at`: where the text begins in the section. `length`: bytes of the passage.
    fn new(swap: Swap, at: u32, length: usize) -> Self {
        let power = shift(length - swap.range().end);
        let Swap { text: first, instead, .. } = swap;
        // The texts are equally long: their checksums differ as those of the passage do, but for what follows them.
        let other = match &instead {
            Instead::Text { text, .. } => sum(text),
            Instead::Volatile(_) => 0,
        };
        Self { at, instead, crc: times(sum(&first) ^ other, power), power }
    }

    /// What stands in a copy. `None`: that of state 0.
    fn text<'c>(&'c self, marks: &'c Marks) -> Option<&'c [u8]> {
        match &self.instead {
            Instead::Text { number, text } => (marks.chosen(*number) == 1).then_some(&**text),
            Instead::Volatile(part) => marks.volatile_part(part),
        }
    }

    /// What it does to the checksum of a copy.
    fn change(&self, marks: &Marks) -> u32 {
        match (self.text(marks), &self.instead) {
            (None, _) => 0,
            (Some(_), Instead::Text { .. }) => self.crc,
            (Some(own), Instead::Volatile(_)) => self.crc ^ times(sum(own), self.power),
        }
    }

    /// Writes what of the text lies in a range of the section.
    fn write(&self, piece: &mut [u8], range: &Range<usize>, marks: &Marks) {
        let (at, Some(text)) = (self.at as usize, self.text(marks)) else { return };
        let (from, to) = (range.start.max(at), range.end.min(at + text.len()));
        if from < to {
            piece[from - range.start..to - range.start].copy_from_slice(&text[from - at..to - at]);
        }
    }

    /// Bytes in memory, its own size not counted.
    fn size(&self) -> usize {
        match &self.instead {
            Instead::Text { text, .. } => text.len(),
            Instead::Volatile(_) => 0,
        }
    }
}

impl Fork {
    /// `next`: the section behind it.
    pub(super) fn new(cut: Cut, next: &Section) -> Self {
        let ways = cut.texts.map(|text| Way {
            block: stored(&text).into(),
            length: text.len() as u32,
            power: shift(text.len() + next.length as usize),
            sum: times(sum(&text), shift(next.length as usize)) ^ next.sum,
        });
        Self { number: cut.number, ways }
    }

    pub(super) fn way(&self, marks: &Marks) -> &Way {
        &self.ways[marks.chosen(self.number)]
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.ways.iter().map(|way| way.block.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{choose, fill, marks, random_template};
    use super::super::{Effort, pack};
    use super::*;

    #[test]
    fn ranges_of_any_length_are_the_section() {
        for seed in 0..6 {
            let mut template = random_template(seed, 3_000);
            choose(
                &mut template,
                [b"a text that is longer than three bytes", b"A TEXT THAT IS LONGER THAN THREE BYTES"],
            );
            fill(&mut template, 40);
            let packed = pack(&template, Effort::Quick).unwrap();
            let section = &packed.sections[0];
            let (mut marks, len) = (marks(seed), section.bytes.len());
            marks.choices = [1].into();
            let append = |range: Range<usize>| {
                let mut out = b"before".to_vec();
                let more = section.append(range, &marks, &mut out);
                out.split_off(b"before".len() + more)
            };
            let whole = append(0..len);
            assert!(whole != *section.bytes && whole.len() == len);
            for size in [1, 2, 3, 4, 5, 7, 64, 999, len - 1] {
                let cuts = (0..len).step_by(size).map(|at| at..len.min(at + size));
                assert!(cuts.map(append).collect::<Vec<_>>().concat() == whole, "{seed} {size}");
            }
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_copy() {
        for seed in 0..6 {
            let mut template = random_template(seed, 500);
            choose(&mut template, [b"abc", b"xyz"]);
            fill(&mut template, 7);
            template.bytes.extend_from_slice(&random_template(seed + 100, 90).bytes);
            fill(&mut template, 1);
            let packed = pack(&template, Effort::Quick).unwrap();
            let section = &packed.sections[0];
            for choice in [0_u8, 1] {
                let mut marks = marks(seed);
                marks.choices = Arc::new([choice]);
                assert_eq!(section.sum ^ section.change(&marks), sum(&template.splice(&marks)), "{seed} {choice}");
            }
        }
    }
}
