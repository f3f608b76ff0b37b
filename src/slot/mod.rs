//! The hinge between page and watermark: what may change in a page, and who chooses.
//!
//! `page` finds [`Edit`]s; `watermark` implements [`Choose`]. Neither knows the other. [`fold`], [`Words`] and [`FormScan`]
//! are used by the marker and by the tracer, so that both see the same words at the same places.

mod alternatives;
mod forms;
mod pending;
mod piece;
mod scan;
mod sign;
mod words;

use std::ops::Range;

use bytes::Bytes;

pub use alternatives::Alternatives;
pub use forms::{Form, FormKinds};
pub use piece::{Found, Piece};
pub use scan::FormScan;
pub use words::{Word, Words, fold, is_apostrophe, is_word_char};

/// Separates the folded words of a context.
pub const SEPARATOR: u8 = 0x1F;

/// One change to a page, by its place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the decoded source that are replaced; empty = an insertion.
    pub range: Range<u64>,
    /// With what.
    pub what: What,
}

/// What an edit puts in the place of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The same bytes for everybody.
    Fixed(Bytes),
    /// Chosen for the visitor; unmarked, the source's own bytes stay.
    Choice(Slot),
}

/// A place that may carry a mark. A *context* is four folded words joined by [`SEPARATOR`]: two before, two behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// White space between two words.
    Gap {
        /// The context.
        context: Bytes,
    },
    /// White space at the end of a block that goes away where the block is sealed.
    Trim,
    /// The end of a block, where a seal may stand.
    Seal,
    /// A character that may be spelled in two ways.
    Form {
        /// Which.
        form: Form,
        /// What its context is hashed as: its own kind, or that of the place that it follows.
        kind: PlaceKind,
        /// The context.
        context: Bytes,
    },
    /// An element in which the author has written two alternatives; all of it is replaced by one of them.
    Variant {
        /// The context; `None`: it carries no bit, the first alternative stands in all copies.
        context: Option<Bytes>,
        /// As they stand in a page. The first one is what unmarked copies show. They are rare, and edits are moved about.
        alternatives: Box<[Bytes; 2]>,
    },
    /// A place in a tag where the whole mark may stand.
    Token(Token),
    /// What stands in this copy of the page alone.
    Fill(Fill),
}

/// How a mark stands in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// An attribute: ` data-k="…"`.
    Attribute,
    /// The query of an address: `?k=…`.
    Query,
}

impl Token {
    /// What stands before and behind the letters of the mark.
    pub fn frame(self) -> (&'static str, &'static str) {
        match self {
            Self::Attribute => (" data-k=\"", "\""),
            Self::Query => ("?k=", ""),
        }
    }
}

/// Where something may be put into one copy of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Behind what is inserted in the head.
    Head,
    /// Before the explicit end of the body.
    Foot,
}

/// A family of places with one row of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// White space between words.
    White,
    /// Characters that are spelled in two ways.
    Typographic,
    /// Alternatives of the author.
    Variant,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::White, Self::Typographic, Self::Variant];

    /// Tells the rows of a mark apart; the first byte of what is hashed.
    pub fn byte(self) -> u8 {
        match self {
            Self::White => b'W',
            Self::Typographic => b'T',
            Self::Variant => b'V',
        }
    }

    /// As it stands in the log.
    pub fn letter(self) -> char {
        match self {
            Self::White => 'w',
            Self::Typographic => 't',
            Self::Variant => 'v',
        }
    }

    /// Bits of its row.
    pub fn columns(self) -> usize {
        match self {
            Self::White => 4_096,
            Self::Typographic | Self::Variant => 512,
        }
    }
}

/// What stands at a place; the second byte of what is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaceKind {
    /// White space between words.
    Space,
    /// An apostrophe within a word.
    Apostrophe,
    /// A pair of double quotes.
    Quotes,
    /// Three dots.
    Ellipsis,
    /// A dash between words.
    Dash,
    /// Alternatives of the author.
    Variant,
}

impl PlaceKind {
    /// Its letter.
    pub fn byte(self) -> u8 {
        match self {
            Self::Space => b's',
            Self::Apostrophe => b'a',
            Self::Quotes => b'q',
            Self::Ellipsis => b'e',
            Self::Dash => b'd',
            Self::Variant => b'v',
        }
    }

    /// Whose row has its bit.
    pub fn class(self) -> Class {
        match self {
            Self::Space => Class::White,
            Self::Apostrophe | Self::Quotes | Self::Ellipsis | Self::Dash => Class::Typographic,
            Self::Variant => Class::Variant,
        }
    }
}

/// The keyed hash of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceHash(pub u64);

impl PlaceHash {
    /// Where its bit stands in the row of this class.
    pub fn column(self, class: Class) -> u16 {
        (self.0 % class.columns() as u64) as u16
    }

    /// What the sketch of a page is made of.
    pub fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Chooses alternatives for one visitor: the same ones whenever it is asked, for a page may be read a second time from its start.
pub trait Choose: Send {
    /// The hash of a context: the same for all visitors, and all that is kept of a place. `None`: there is no key, and
    /// no mark.
    fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash>;
    /// The byte that stands between two words whose gap is in this column, a space or a line feed; `None`: the source stays, in
    /// all columns.
    fn gap(&mut self, column: u16) -> Option<u8>;
    /// The same for all columns at once.
    fn gaps(&mut self) -> Option<GapRow> {
        let mut bits = [0; 64];
        for (word, columns) in bits.iter_mut().zip(0u16..) {
            for bit in 0..64 {
                *word |= u64::from(self.gap(columns * 64 + bit)? == b'\n') << bit;
            }
        }
        Some(GapRow(bits))
    }
    /// How a character in this column is spelled, as [`Form::characters`] or [`Form::references`] has it; `None`: the source
    /// stays, in all columns.
    fn form(&mut self, form: Form, column: u16) -> Option<&'static str>;
    /// Which of two alternatives stands in this column, 0 or 1.
    fn variant(&mut self, column: u16) -> usize;
    /// The bytes at the end of a block; `None` leaves the block as it is.
    fn seal(&mut self) -> Option<Bytes>;
    /// The mark in 15 letters; `None`: the tag stays as it is.
    fn token(&mut self) -> Option<Bytes> {
        None
    }
    /// What stands in this copy alone; `None`: nothing.
    fn fill(&mut self, _: Fill) -> Option<Bytes> {
        None
    }
    /// May something stand in this copy alone? Asking is not placing it.
    fn has_fills(&self) -> bool {
        false
    }
}

/// What stands between two words in each column of gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRow([u64; 64]);

impl GapRow {
    /// One bit a column, from the lowest one of the first word on: a set one is a line feed, else it is a space.
    pub fn new(bits: [u64; 64]) -> Self {
        Self(bits)
    }

    /// The bits that it was made of.
    pub fn bits(&self) -> &[u64; 64] {
        &self.0
    }

    /// The byte of a column; there are 4,096, and higher numbers begin anew.
    pub fn byte(&self, column: u16) -> u8 {
        // Nobody can foresee the bit, and a compiler makes a branch of a choice between two bytes: it is a shift.
        let bit = self.0[usize::from(column / 64) % 64] >> (column % 64) & 1;
        (u16::from_le_bytes([b' ', b'\n']) >> (8 * bit)) as u8
    }
}

/// Leaves everything as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmarked;

impl Choose for Unmarked {
    fn hash(&self, _: PlaceKind, _: &[u8]) -> Option<PlaceHash> {
        None
    }

    fn gap(&mut self, _: u16) -> Option<u8> {
        None
    }

    fn form(&mut self, _: Form, _: u16) -> Option<&'static str> {
        None
    }

    fn variant(&mut self, _: u16) -> usize {
        0
    }

    fn seal(&mut self) -> Option<Bytes> {
        None
    }
}

/// What the log says once about a page: found by the scan, written by the audit stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanNote {
    /// Names the source and the configuration: the same after a restart and in each process.
    pub id: [u8; 8],
    /// Words of the blocks that may carry a mark.
    pub words: u32,
    /// The smallest [`PlaceHash::upper`] of its gaps, ascending, each once: tells of a fragment which page it is from.
    pub sketch: Box<[u32]>,
    /// The alternatives of its author.
    pub variants: Box<[VariantNote]>,
}

/// Two alternatives of the author, and where they stand; without them nobody could look for the mark in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantNote {
    /// The context.
    pub context: Bytes,
    /// As they stand in a page.
    pub alternatives: [Bytes; 2],
}

/// Places of one copy that really carry its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carriers {
    /// Seals.
    pub seals: u32,
    /// Gaps between words.
    pub white: u32,
    /// Characters with two spellings; a pair of quotes is one.
    pub forms: u32,
    /// Alternatives of the author.
    pub variants: u32,
    /// Tags that hold the mark.
    pub tokens: u32,
}

impl Carriers {
    /// As they stand in the log: letter and number, such as `s:13`, in alphabetical order, of channels with a place.
    pub fn codes(self) -> Vec<String> {
        let Self { seals, white, forms, variants, tokens } = self;
        let all = [
            ('m', tokens),
            ('s', seals),
            (Class::Typographic.letter(), forms),
            (Class::Variant.letter(), variants),
            (Class::White.letter(), white),
        ];
        all.into_iter().filter(|(_, places)| *places > 0).map(|(letter, places)| format!("{letter}:{places}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_are_sorted_and_only_those_with_places_are_named() {
        let all = Carriers { seals: 13, white: 488, forms: 9, variants: 2, tokens: 1 };
        assert_eq!(all.codes(), ["m:1", "s:13", "t:9", "v:2", "w:488"]);
        assert_eq!(Carriers { seals: 1, ..Carriers::default() }.codes(), ["s:1"]);
        assert!(Carriers::default().codes().is_empty());
    }

    #[test]
    fn a_hash_gives_column_and_sketch() {
        let hash = PlaceHash(0xAA84_DFA4_50A4_E0E7);
        assert_eq!((hash.column(Class::White), hash.column(Class::Typographic)), (231, 231));
        assert_eq!(PlaceHash(0x1_0000_0FFF).column(Class::White), 4_095);
        assert_eq!(PlaceHash(0x1_0000_0FFF).column(Class::Variant), 511);
        assert_eq!(hash.upper(), 0xAA84_DFA4);
    }
}
