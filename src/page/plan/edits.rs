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

/// All about one page but the page.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Full chunks.
    pub(super) chunks: Box<[Chunk]>,
    /// Hash of what follows them.
    pub(super) tail: u64,
    pub(super) len: usize,
    pub(super) edits: Edits,
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
    /// Edits from the start of the page, short gaps not counted.
    pub(super) edits: u32,
}

/// Edits of a page, in the order of their places.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits {
    /// All but short gaps: a copy is made from one to the next.
    pub(super) others: Vec<PlanEdit>,
    /// Nearly all edits of a page are gaps, so they are kept short.
    pub(super) gaps: Vec<ShortGap>,
}

/// A gap of one byte, which has that length in each copy: its place, and its column in the lowest 12 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortGap(u32);

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

impl ShortGap {
    const COLUMN: u32 = 12;

    /// `None`: it is another edit, or does not fit.
    fn of(edit: &PlanEdit) -> Option<Self> {
        let Kind::Gap(column) = edit.kind else { return None };
        let fits = edit.len == 1 && (edit.at as usize) < MAX_PAGE && column >> Self::COLUMN == 0;
        fits.then_some(Self(edit.at << Self::COLUMN | u32::from(column)))
    }

    pub(super) fn at(self) -> usize {
        (self.0 >> Self::COLUMN) as usize
    }

    fn column(self) -> u16 {
        (self.0 & ((1 << Self::COLUMN) - 1)) as u16
    }

    /// Those before a place, and the others.
    pub(super) fn split(gaps: &[Self], at: usize) -> (&[Self], &[Self]) {
        gaps.split_at(gaps.partition_point(|gap| gap.at() < at))
    }

    /// Puts what stands in gaps into a copy of the source from `at` on.
    pub(super) fn fill(gaps: &[Self], copy: &mut [u8], at: usize, row: &GapRow) {
        for gap in gaps {
            if let Some(place) = copy.get_mut(gap.at().wrapping_sub(at)) {
                *place = row.byte(gap.column());
            }
        }
    }
}

impl Edits {
    pub(super) fn push(&mut self, edit: PlanEdit) {
        match ShortGap::of(&edit) {
            Some(gap) => self.gaps.push(gap),
            None => self.others.push(edit),
        }
    }

    /// All of them in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = PlanEdit> {
        let mut gaps =
            self.gaps.iter().map(|gap| PlanEdit { at: gap.at() as u32, len: 1, kind: Kind::Gap(gap.column()) });
        let (mut gap, mut others) = (gaps.next(), self.others.iter().copied().peekable());
        std::iter::from_fn(move || {
            // What is put in at the place of a gap stands before it.
            if gap.is_some_and(|gap| others.peek().is_none_or(|other| gap.at < other.at)) {
                return std::mem::replace(&mut gap, gaps.next());
            }
            others.next()
        })
    }

    /// May a page shut out the channel of one of them?
    pub(super) fn have_gated(&self) -> bool {
        !self.gaps.is_empty() || self.others.iter().any(|edit| edit.kind.is_gated())
    }

    /// The first ones, so many gaps beside so many others. `None`: there are fewer, or one more before `left`.
    pub(super) fn first(&self, others: usize, gaps: usize, left: usize) -> Option<Self> {
        let (first, more) = (self.others.split_at_checked(others)?, self.gaps.split_at_checked(gaps)?);
        let is_over = |at: Option<usize>| at.is_none_or(|at| at >= left);
        let all = is_over(first.1.first().map(|edit| edit.at as usize)) && is_over(more.1.first().map(|gap| gap.at()));
        all.then(|| Self { others: first.0.to_vec(), gaps: more.0.to_vec() })
    }

    fn size(&self) -> usize {
        size_of_val(&*self.others) + size_of_val(&*self.gaps)
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
            + self.edits.size()
            + texts.map(|bytes| bytes.len() + size_of::<Bytes>()).sum::<usize>()
    }

    /// The same source?
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.len == other.len
            && self.tail == other.tail
            && self.volatile == other.volatile
            && self.chunks.iter().map(|c| c.hash).eq(other.chunks.iter().map(|c| c.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_takes_16_bytes() {
        assert_eq!(size_of::<PlanEdit>(), 16);
    }

    #[test]
    fn short_gaps_take_4_bytes_and_all_edits_keep_their_order() {
        assert_eq!(size_of::<ShortGap>(), 4);
        let gap = |at, len, column| PlanEdit { at, len, kind: Kind::Gap(column) };
        let put = |at| PlanEdit { at, len: 0, kind: Kind::Seal };
        let last = MAX_PAGE as u32 - 1;
        // The second has two bytes, the column of the last but one and the place of the last one are too high.
        let all = [
            put(0),
            gap(3, 1, 0),
            gap(5, 2, 7),
            put(9),
            gap(9, 1, 4_095),
            put(10),
            gap(last, 1, 1),
            gap(last, 1, 4_096),
            gap(last + 1, 1, 2),
        ];
        let mut edits = Edits::default();
        for edit in all {
            edits.push(edit);
        }
        assert_eq!((edits.gaps.len(), edits.others.len()), (3, 6));
        assert!(edits.iter().take(6).eq(all.into_iter().take(6)), "what is put in stands before the gap at its place");
        let mut left: Vec<PlanEdit> = edits.iter().skip(6).collect();
        left.sort_by_key(|edit| (edit.at, if let Kind::Gap(column) = edit.kind { column } else { 0 }));
        assert_eq!(left, all[6..]);
        let first = |others, gaps, left| edits.first(others, gaps, left);
        assert!(first(6, 3, usize::MAX).is_some_and(|all| all == edits) && first(6, 4, 0).is_none());
        let two = first(2, 1, 9).unwrap();
        assert!(two.iter().eq(all[..3].iter().copied()), "what stands at `left` comes later");
        assert!(first(2, 0, 9).is_none() && first(1, 1, 9).is_none(), "one is left out");
    }

    #[test]
    fn gaps_are_filled_where_they_are() {
        let gaps = [2, 5, 9].map(|at| ShortGap::of(&PlanEdit { at, len: 1, kind: Kind::Gap(at as u16) }).unwrap());
        let mut bits = [0; 64];
        bits[0] = 1 << 5;
        let (before, behind) = ShortGap::split(&gaps, 5);
        assert_eq!((before, behind), (&gaps[..1], &gaps[1..]));
        let mut copy = *b"cd_fgh_j";
        ShortGap::fill(&gaps[1..], &mut copy, 3, &GapRow::new(bits));
        assert_eq!(&copy, b"cd\nfgh j");
    }
}
