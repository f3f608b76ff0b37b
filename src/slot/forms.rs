//! Characters that are spelled in two ways.

use super::PlaceKind;

/// One of the characters that are spelled in two ways. The two of a pair of quotes have one context and one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `'` or `’` within a word.
    Apostrophe,
    /// `"` or `“` before what is quoted.
    QuoteOpen,
    /// `"` or `”` behind it.
    QuoteClose,
    /// `...` or `…`.
    Ellipsis,
    /// `—` or ` – ` between words.
    Dash,
}

impl Form {
    /// What it is.
    pub fn kind(self) -> PlaceKind {
        match self {
            Self::Apostrophe => PlaceKind::Apostrophe,
            Self::QuoteOpen | Self::QuoteClose => PlaceKind::Quotes,
            Self::Ellipsis => PlaceKind::Ellipsis,
            Self::Dash => PlaceKind::Dash,
        }
    }

    /// The spelling that stands for a bit, in characters: for pages proven to be UTF-8. Some converters write a straight quote
    /// for any reference to a quote, and leave the character itself alone.
    pub fn characters(self, bit: bool) -> &'static str {
        match (self, bit) {
            (Self::Apostrophe, false) => "'",
            (Self::Apostrophe, true) => "\u{2019}",
            (Self::QuoteOpen | Self::QuoteClose, false) => "\"",
            (Self::QuoteOpen, true) => "\u{201C}",
            (Self::QuoteClose, true) => "\u{201D}",
            (Self::Ellipsis, false) => "...",
            (Self::Ellipsis, true) => "\u{2026}",
            (Self::Dash, false) => "\u{2014}",
            (Self::Dash, true) => " \u{2013} ",
        }
    }

    /// The same in ASCII, with numeric references: right in every charset. The two of an apostrophe or a quote are equally long.
    pub fn references(self, bit: bool) -> &'static str {
        match (self, bit) {
            (Self::Apostrophe, false) => "&#0039;",
            (Self::Apostrophe, true) => "&#8217;",
            (Self::QuoteOpen | Self::QuoteClose, false) => "&#0034;",
            (Self::QuoteOpen, true) => "&#8220;",
            (Self::QuoteClose, true) => "&#8221;",
            (Self::Ellipsis, false) => "...",
            (Self::Ellipsis, true) => "&#8230;",
            (Self::Dash, false) => "&#8212;",
            (Self::Dash, true) => " &#8211; ",
        }
    }
}

/// Some of the kinds `a` (apostrophes), `q` (quotes), `e` (ellipses), `d` (dashes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FormKinds(u8);

impl FormKinds {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All four.
    pub const ALL: Self = Self(0b1111);

    /// Those whose letters are in `kinds`; other letters mean nothing.
    pub fn of(kinds: &str) -> Self {
        Self(kinds.bytes().fold(0, |all, letter| all | Self::bit(letter)))
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Is this one among them?
    pub fn has(self, kind: PlaceKind) -> bool {
        self.0 & Self::bit(kind.byte()) != 0
    }

    fn bit(letter: u8) -> u8 {
        match letter {
            b'a' => 0b0001,
            b'q' => 0b0010,
            b'e' => 0b0100,
            b'd' => 0b1000,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 5] = [Form::Apostrophe, Form::QuoteOpen, Form::QuoteClose, Form::Ellipsis, Form::Dash];

    #[test]
    fn references_are_ascii_and_those_of_quotes_and_apostrophes_equally_long() {
        for form in FORMS {
            let (zero, one) = (form.references(false), form.references(true));
            assert!(zero.is_ascii() && one.is_ascii() && zero != one, "{form:?}");
            let same = matches!(form.kind(), PlaceKind::Apostrophe | PlaceKind::Quotes);
            assert_eq!(zero.len() == one.len(), same, "{form:?}");
        }
    }

    #[test]
    fn references_mean_the_characters() {
        for (form, bit) in FORMS.into_iter().flat_map(|form| [(form, false), (form, true)]) {
            let mut meant = String::new();
            let mut rest = form.references(bit);
            while let Some((before, (code, behind))) =
                rest.split_once("&#").and_then(|(before, tail)| Some((before, tail.split_once(';')?)))
            {
                meant.push_str(before);
                meant.extend(code.parse().ok().and_then(char::from_u32));
                rest = behind;
            }
            meant.push_str(rest);
            assert_eq!(meant, form.characters(bit), "{form:?}");
        }
    }

    #[test]
    fn kinds_are_sets_of_letters() {
        assert_eq!(FormKinds::of("aqed"), FormKinds::ALL);
        assert_eq!(FormKinds::of("sv "), FormKinds::NONE);
        let some = FormKinds::of("ad");
        let has = |kinds: FormKinds| FORMS.map(|form| kinds.has(form.kind()));
        assert_eq!(has(some), [true, false, false, false, true]);
        assert_eq!(has(some.and(FormKinds::of("qd"))), [false, false, false, false, true]);
        assert!(!FormKinds::ALL.has(PlaceKind::Space) && !FormKinds::ALL.has(PlaceKind::Variant));
    }
}
