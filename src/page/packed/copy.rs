//! The body of one copy: section by section, with a text between two of them, and the trailer.

use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::passage::Cut;
use super::patch::REACH;
use super::section::{Fork, Section, Way};
use super::trailer::{self, times};
use super::{Marks, Packed};

/// Most bytes of a piece: with what is made around it no more than 32 KiB, which allocators have a size for.
const PIECE: usize = 32 * 1024 - 64;
/// A body of so many bytes, or fewer, is one piece: it leaves in one write.
const WHOLE: usize = 64 * 1024;
/// Bytes of checksum and length.
const TRAILER: usize = 8;

/// The body of one copy, in pieces that are made when they are asked for.
pub(crate) struct PackedBody {
    packed: Arc<Packed>,
    marks: Marks,
    trailer: [u8; TRAILER],
    /// Bytes of the page.
    page: u64,
    /// Bytes that are to come.
    remaining: u64,
    /// The part that is next, and how much of it has been taken.
    part: usize,
    at: usize,
}

/// A part of a body.
enum Part<'p> {
    Section(&'p Section),
    /// A text between two sections, or the trailer.
    Bytes(&'p [u8]),
}

impl PackedBody {
    pub(super) fn new(packed: Arc<Packed>, marks: Marks) -> Self {
        let (trailer, page, remaining) = (packed.trailer(&marks), packed.page(&marks), packed.length(&marks));
        Self { packed, marks, trailer, page, remaining, part: 0, at: 0 }
    }

    /// Bytes that are to come, exactly.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Bytes of the copy before it is compressed.
    pub(crate) fn page(&self) -> u64 {
        self.page
    }
}

impl fmt::Debug for PackedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Iterator for PackedBody {
    type Item = Bytes;

    /// At most 32 KiB, of a body that is longer than 64 KiB.
    fn next(&mut self) -> Option<Bytes> {
        let remaining = self.remaining as usize;
        let most = if self.part == 0 && self.at == 0 && remaining <= WHOLE { remaining } else { PIECE.min(remaining) };
        let mut piece = Vec::with_capacity(most + 2 * REACH);
        // What has left before, and stands before the piece: only where it begins within a section.
        let mut before = 0;
        while piece.len() - before < most {
            let Some(part) = self.packed.part(self.part, &self.marks, &self.trailer) else { break };
            let (length, room) = (part.len(), most - (piece.len() - before));
            let range = self.at..length.min(self.at + room);
            let is_over = range.end == length;
            (self.part, self.at) = if is_over { (self.part + 1, 0) } else { (self.part, range.end) };
            before += part.append(range, &self.marks, &mut piece);
        }
        self.remaining = self.remaining.saturating_sub((piece.len() - before) as u64);
        let mut piece = Bytes::from(piece);
        piece.advance(before);
        (!piece.is_empty()).then_some(piece)
    }
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Section(section) => section.bytes.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Appends a range, and perhaps what stands before it; the answer is how many bytes of that there are.
    fn append(&self, range: Range<usize>, marks: &Marks, out: &mut Vec<u8>) -> usize {
        match self {
            Self::Section(section) => section.append(range, marks, out),
            Self::Bytes(bytes) => {
                out.extend_from_slice(&bytes[range]);
                0
            }
        }
    }
}

impl Packed {
    /// One cut less than sections.
    pub(super) fn new(sections: Vec<Section>, cuts: Vec<Cut>) -> Self {
        let forks = cuts.into_iter().zip(sections.iter().skip(1)).map(|(cut, next)| Fork::new(cut, next));
        Self { forks: forks.collect(), sections: sections.into() }
    }

    /// Checksum and length of a copy.
    fn trailer(&self, marks: &Marks) -> [u8; TRAILER] {
        let before = once(None).chain(self.ways(marks).map(Some));
        let crc = self.sections.iter().zip(before).fold(0, |crc, (section, way)| {
            let zero = way.map_or(section.sum, |way| times(crc, way.power) ^ way.sum);
            zero ^ section.change(marks)
        });
        trailer::of(crc, self.page(marks) as u32)
    }

    /// What a copy has between its sections.
    fn ways(&self, marks: &Marks) -> impl Iterator<Item = &Way> {
        self.forks.iter().map(move |fork| fork.way(marks))
    }

    /// Bytes of a copy before it is compressed.
    fn page(&self, marks: &Marks) -> u64 {
        let sections = self.sections.iter().map(|section| u64::from(section.length));
        sections.chain(self.ways(marks).map(|way| u64::from(way.length))).sum()
    }

    /// Bytes of the body of a copy.
    fn length(&self, marks: &Marks) -> u64 {
        let sections = self.sections.iter().map(|section| section.bytes.len() as u64);
        let between = self.ways(marks).map(|way| way.block.len() as u64);
        sections.chain(between).sum::<u64>() + TRAILER as u64
    }

    /// Sections and what follows each take turns; behind the last one that is the trailer.
    fn part<'p>(&'p self, number: usize, marks: &Marks, trailer: &'p [u8]) -> Option<Part<'p>> {
        let section = self.sections.get(number / 2)?;
        if number.is_multiple_of(2) {
            return Some(Part::Section(section));
        }
        Some(match self.forks.get(number / 2) {
            Some(fork) => Part::Bytes(&fork.way(marks).block),
            None => Part::Bytes(trailer),
        })
    }

    /// The body of a copy.
    pub(super) fn whole(&self, marks: &Marks) -> Vec<u8> {
        let (trailer, mut body) = (self.trailer(marks), Vec::new());
        for part in (0..).map_while(|number| self.part(number, marks, &trailer)) {
            part.append(0..part.len(), marks, &mut body);
        }
        body
    }

    /// Bytes in memory.
    pub(crate) fn size(&self) -> usize {
        let sections = self.sections.iter().map(Section::size);
        size_of::<Self>() + sections.chain(self.forks.iter().map(Fork::size)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{choose, marks, random_template};
    use super::super::{Effort, Template, pack};
    use super::*;

    /// Nothing in it is compressed much.
    fn noise(template: &mut Template) {
        let mut random = fastrand::Rng::with_seed(1);
        let mut places = template.places.iter().map(|(at, _)| *at as usize).peekable();
        for (at, byte) in template.bytes.iter_mut().enumerate() {
            if places.next_if_eq(&at).is_none() {
                *byte = random.u8(..);
            }
        }
    }

    #[test]
    fn a_short_body_is_one_piece() {
        let mut template = random_template(1, 50_000);
        choose(&mut template, [b"short", b"a longer text"]);
        noise(&mut template);
        let packed = Arc::new(pack(&template, Effort::Quick).unwrap());
        let marks = marks(1);
        let mut body = PackedBody::new(Arc::clone(&packed), marks.clone());
        assert!((PIECE as u64..WHOLE as u64).contains(&body.remaining()), "{}", body.remaining());
        let piece = body.next().unwrap();
        assert!(piece == packed.whole(&marks) && body.remaining() == 0 && body.next().is_none());
    }

    #[test]
    fn a_body_comes_in_pieces_and_its_length_is_known_before() {
        for cuts in [0, 1, 12] {
            let mut template = random_template(1, 400_000);
            for cut in 0..cuts {
                choose(&mut template, [b"short", b"a longer text"]);
                // Some follow each other at once, and some are about a piece apart.
                template.bytes.resize(template.bytes.len() + cut % 3 * 31_000, 0);
            }
            noise(&mut template);
            let packed = Arc::new(pack(&template, Effort::Quick).unwrap());
            assert_eq!(packed.sections.len(), 1 + cuts);
            let marks = marks(1);
            let mut body = PackedBody::new(Arc::clone(&packed), marks.clone());
            let (mut whole, length) = (Vec::new(), body.remaining());
            while body.remaining() > 0 {
                assert_eq!(body.remaining(), length - whole.len() as u64);
                let piece = body.next().unwrap();
                assert!(piece.len() == PIECE || body.remaining() == 0, "{}", piece.len());
                assert!(piece.len() <= PIECE);
                whole.extend_from_slice(&piece);
            }
            assert!(whole.len() as u64 == length && whole.len() > 4 * PIECE && body.next().is_none());
            assert!(whole == packed.whole(&marks));
            assert!(packed.check(&template, &marks));
            assert_eq!(body.page(), template.splice(&marks).len() as u64);
        }
    }

    #[test]
    fn a_text_between_sections_changes_the_length_and_one_within_does_not() {
        let mut template = random_template(2, 300);
        choose(&mut template, [b"abc", b"xyz"]);
        let length = |template: &Template, choice: u8| {
            let mut marks = marks(1);
            marks.choices = Arc::new([choice; 2]);
            Arc::new(pack(template, Effort::Full).unwrap()).body(marks).remaining()
        };
        assert_eq!(length(&template, 0), length(&template, 1));
        template.bytes.push(b'-');
        choose(&mut template, [b"", b"seven--"]);
        assert_eq!(length(&template, 0) + 7, length(&template, 1));
    }
}
