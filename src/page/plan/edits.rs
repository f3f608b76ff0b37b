//! The plan of a page: its edits, and hashes by which its source is known again. Nothing of the source is in it until it is packed.

use bytes::Bytes;

use super::shelf::Shelf;
use super::volatile::Volatile;
use crate::page::rewrite::Outcome;
use crate::slot::{Fill, Form, GapRow, PlanNote, Token};

/// Bytes of source that are compared at once.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Longest page with a plan: its source is kept until its end, for the scanner to take over.
pub(super) const MAX_PAGE: usize = 1 << 20;

/// From so many bytes of source between two edits on it is passed on as a frame of its own; else it is copied with them.
const APART: u32 = 32 * 1024;

/// All about one page but the page.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Full chunks.
    pub(super) chunks: Box<[Chunk]>,
    /// Hash of what follows them.
    pub(super) tail: u64,
    pub(super) len: usize,
    pub(super) edits: Box<[PlanEdit]>,
    /// Those of them that are no short gaps, by their number: a copy is made from one to the next.
    pub(super) others: Box<[u32]>,
    /// What is the same for everybody.
    pub(super) fixed: Box<[Bytes]>,
    /// Alternatives of the author.
    pub(super) variants: Box<[[Bytes; 2]]>,
    /// What of it is different each time: taken from the source of each answer.
    pub(super) volatile: Volatile,
    /// What the scan said of the page.
    pub(super) outcome: Outcome,
    /// Its packed form, and who has seen it.
    pub(super) shelf: Shelf,
}

/// A chunk of the source, and what may leave once it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) hash: u64,
    /// Bytes of source from the start of the page.
    pub(super) left: u32,
    /// Edits from the start of the page.
    pub(super) edits: u32,
}

/// An edit in 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanEdit {
    pub(super) at: u32,
    pub(super) len: u32,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An index into [`Plan::fixed`].
    Fixed(u16),
    /// A gap in this column.
    Gap(u16),
    Trim,
    Seal,
    Form {
        form: Form,
        column: u16,
    },
    /// One of the two at an index of [`Plan::variants`].
    Variant {
        column: u16,
        index: u16,
    },
    Token(Token),
    Fill(Fill),
}

impl PlanEdit {
    /// A gap that has the length of what stands in it in each copy.
    pub(super) fn is_short_gap(&self) -> bool {
        self.len == 1 && matches!(self.kind, Kind::Gap(_))
    }

    /// Is there less between them than is worth frames of its own, one for this and one for what follows?
    pub(super) fn is_near(&self, next: &Self) -> bool {
        next.at.saturating_sub(self.at) < APART
    }
}

impl Kind {
    /// May a page shut the channel of this edit out?
    pub(super) fn is_gated(self) -> bool {
        matches!(self, Self::Gap(_) | Self::Trim | Self::Seal)
    }
}

impl Plan {
    /// The reader, by a keyed hash, to whom it was given first; before it is shared.
    pub(crate) fn first_seen_by(&mut self, reader: Option<u64>) {
        self.shelf.first_seen_by(reader);
    }

    /// Has each answer bytes of its own?
    pub(super) fn is_different_each_time(&self) -> bool {
        !self.volatile.is_empty()
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let note = self.outcome.note.as_deref();
        let noted = note.map(|note| &*note.variants).unwrap_or_default();
        let noted = noted.iter().flat_map(|variant| variant.alternatives.iter().chain([&variant.context]));
        let texts = self.fixed.iter().chain(self.variants.as_flattened()).chain(noted);
        size_of::<Self>()
            + note.map_or(0, |note| size_of::<PlanNote>() + size_of_val(&*note.sketch))
            + self.outcome.sheets.size()
            + self.shelf.size()
            + self.volatile.size()
            + size_of_val(&*self.chunks)
            + size_of_val(&*self.edits)
            + size_of_val(&*self.others)
            + texts.map(|bytes| bytes.len() + size_of::<Bytes>()).sum::<usize>()
    }

    /// The same source?
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.len == other.len
            && self.tail == other.tail
            && self.volatile == other.volatile
            && self.chunks.iter().map(|c| c.hash).eq(other.chunks.iter().map(|c| c.hash))
    }

    /// Are the first `count` edits the same ones?
    pub(super) fn agrees(&self, other: &Self, count: usize) -> bool {
        let (own, others) = (self.edits.get(..count), other.edits.get(..count));
        own.is_some() && own == others
    }
}

/// Puts the bytes of gaps into a copy of the source from `at` on; the answer is how many there are.
pub(super) fn fill(copy: &mut [u8], at: usize, edits: &[PlanEdit], gaps: &GapRow) -> u32 {
    let mut filled = 0;
    for edit in edits {
        if let Kind::Gap(column) = edit.kind
            && edit.len == 1
            && let Some(place) = copy.get_mut((edit.at as usize).wrapping_sub(at))
        {
            *place = gaps.byte(column);
            filled += 1;
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_takes_16_bytes() {
        assert_eq!(size_of::<PlanEdit>(), 16);
    }
}
