//! The hinge between page and watermark: what may change in a page, and who chooses.
//!
//! `page` finds [`Edit`]s; `watermark` implements [`Choose`]. Neither knows the other. [`fold`] and [`Words`] are used
//! by the marker and by the tracer, so that both see the same words.

use std::ops::Range;

use bytes::Bytes;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

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

/// A place that may carry a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// White space between two words. The context is four folded words joined by [`SEPARATOR`]: two before, two after.
    Gap {
        /// The context.
        context: Bytes,
    },
    /// White space at the end of a block that goes away where the block is sealed.
    Trim,
    /// The end of a block, where a seal may stand.
    Seal,
    /// What stands in this copy of the page alone.
    Fill(Fill),
}

/// Where something may be put into one copy of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Behind what is inserted in the head.
    Head,
    /// Before the explicit end of the body.
    Foot,
}

/// Chooses alternatives for one visitor.
pub trait Choose: Send {
    /// The column of a gap: the same for all visitors, and all that [`Choose::gap`] needs. `None`: gaps are not marked, the
    /// source stays.
    fn column(&self, context: &[u8]) -> Option<u16>;
    /// The byte that stands between two words whose gap is in this column.
    fn gap(&mut self, column: u16) -> u8;
    /// The bytes at the end of a block; `None` leaves the block as it is.
    fn seal(&mut self) -> Option<Bytes>;
    /// What stands in this copy alone; `None`: nothing.
    fn fill(&mut self, _: Fill) -> Option<Bytes> {
        None
    }
}

/// Leaves everything as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmarked;

impl Choose for Unmarked {
    fn column(&self, _: &[u8]) -> Option<u16> {
        None
    }

    fn gap(&mut self, _: u16) -> u8 {
        b' '
    }

    fn seal(&mut self) -> Option<Bytes> {
        None
    }
}

/// Does this character belong to a word?
pub fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_alphanumeric() || is_mark_or_format(c)
}

fn is_mark_or_format(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, Format, NonspacingMark, SpacingMark};
    matches!(c.general_category(), NonspacingMark | SpacingMark | EnclosingMark | Format)
}

/// Apostrophes do not end a word when word characters stand on both sides.
pub fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{B4}' | '\u{2B9}' | '\u{2BC}' | '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{2032}' | '\u{FF07}'
    )
}

/// Appends the folded form of a word: compatibility decomposition, marks and format characters dropped, lower case,
/// Latin letters without decomposition spelled out, letters and digits only (the results of Unidecode for Latin).
///
/// Copies that were normalised, lower-cased, stripped of accents or curly quotes fold to the same bytes.
pub fn fold(word: &str, out: &mut Vec<u8>) {
    if word.is_ascii() {
        out.extend(word.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()));
        return;
    }
    let mut buffer = [0u8; 4];
    for c in word.nfkd().filter(|c| !is_combining_mark(*c) && !is_mark_or_format(*c)) {
        for lower in c.to_lowercase().filter(|c| !is_mark_or_format(*c)) {
            match spelled_out(lower) {
                Some(letters) => out.extend_from_slice(letters.as_bytes()),
                None if lower.is_alphanumeric() => out.extend_from_slice(lower.encode_utf8(&mut buffer).as_bytes()),
                None => {}
            }
        }
    }
}

fn spelled_out(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        'ħ' => "h",
        'ŋ' => "ng",
        'ſ' => "s",
        _ => return None,
    })
}

/// A word with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// The words of a text, by maximal runs of word characters.
#[derive(Debug, Clone)]
pub struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Words<'t> {
    /// Walks over `text`.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        let rest = self.text.get(self.at..)?;
        let start = self.at + rest.find(is_word_char)?;
        let mut end = start;
        let mut chars = self.text.get(start..)?.char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            let inside = is_word_char(c) || (is_apostrophe(c) && chars.peek().is_some_and(|(_, n)| is_word_char(*n)));
            if !inside {
                break;
            }
            end = start + offset + c.len_utf8();
        }
        self.at = end;
        Some(Word { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(word: &str) -> String {
        let mut out = Vec::new();
        fold(word, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn folds() {
        #[rustfmt::skip]
        let table = [
            ("Don’t", "dont"), ("DON´T", "dont"), ("café", "cafe"), ("cafe\u{301}", "cafe"), ("ﬁnance", "finance"),
            ("Straße", "strasse"), ("co\u{AD}operate", "cooperate"), ("Œuvre", "oeuvre"), ("İstanbul", "istanbul"),
            ("می‌خواهند", "میخواهند"), ("１２", "12"), ("naïve", "naive"), ("com\u{200B}mittee", "committee"),
        ];
        for (word, expect) in table {
            assert_eq!(folded(word), expect, "{word}");
        }
    }

    #[test]
    fn words_keep_apostrophes_inside() {
        let words = |t: &str| Words::new(t).map(|w| t[w.start..w.end].to_owned()).collect::<Vec<_>>();
        assert_eq!(words("it won’t, 'quoted' U.S."), ["it", "won’t", "quoted", "U", "S"]);
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(words("می‌خواهند و"), ["می‌خواهند", "و"]);
    }
}
