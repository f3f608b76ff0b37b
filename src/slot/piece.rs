//! What a scan of a text is given, and what it finds.

use std::fmt;
use std::ops::Range;

use super::Form;

/// A part of the text of one block.
#[derive(Clone, Copy)]
pub enum Piece<'t> {
    /// Text, and the function that gives the caller's own offset for an offset in it.
    Text(&'t str, &'t dyn Fn(usize) -> u64),
    /// A tag that ends no word.
    Inline,
    /// What ends a word; the words before and behind it stand side by side.
    Break,
    /// Text that is not known: no place has it among the words around it.
    Opaque,
    /// Alternatives of the author, by the caller's name for them. Nobody knows which one a copy shows, so they are opaque, too.
    Variant(u64),
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text, _) => f.debug_tuple("Text").field(text).finish(),
            Self::Inline => f.write_str("Inline"),
            Self::Break => f.write_str("Break"),
            Self::Opaque => f.write_str("Opaque"),
            Self::Variant(name) => f.debug_tuple("Variant").field(name).finish(),
        }
    }
}

/// A place, once the words behind it are known. A *context* is four folded words joined by [`SEPARATOR`](super::SEPARATOR): two before, two
/// behind; where there is none it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A character that may be spelled in two ways.
    Form {
        /// Which; a pair of quotes is named by the first one.
        form: Form,
        /// Where it stands, in the caller's offsets.
        at: Range<u64>,
        /// The other one of a pair of quotes.
        close: Option<Range<u64>>,
        /// The spelling that stands there.
        bit: bool,
        /// The context.
        context: Vec<u8>,
    },
    /// Alternatives of the author.
    Variant {
        /// The caller's name for them.
        name: u64,
        /// The context; `None`: it is not certain.
        context: Option<Vec<u8>>,
    },
}
