//! Alternatives that an author has written: `<span data-variant="although|though">although</span>`.
//!
//! The element goes, and one of the two stands in its place. It is plain text: where it is not, or where the element is too
//! long or has no end tag of its own, it stays as it is written.

use std::ops::Range;

use bytes::Bytes;
use encoding_rs::UTF_8;

use super::article::Shared;
use super::charset::Charset;
use super::decode::unescape;
use super::marks::Variants;
use crate::slot::{Edit, Slot, What};

/// Longest element, in bytes: so much of the source is held at most.
const MAX_ELEMENT: u64 = 512;
/// Longest alternative, in bytes of UTF-8.
const MAX_TEXT: usize = 64;

/// An element that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) range: Range<u64>,
    pub(super) alternatives: [Bytes; 2],
}

impl Variant {
    /// Without a context the first alternative stands in every copy.
    pub(super) fn edit(self, context: Option<Vec<u8>>) -> Edit {
        let Self { range, alternatives } = self;
        let what = match context {
            Some(context) => {
                What::Choice(Slot::Variant { context: Some(context.into()), alternatives: Box::new(alternatives) })
            }
            None => {
                let [first, _] = alternatives;
                What::Fixed(first)
            }
        };
        Edit { range, what }
    }

    /// Words stand at both ends of both alternatives.
    pub(super) fn is_tight(&self) -> bool {
        self.alternatives.iter().all(|text| !text.is_empty() && text.trim_ascii().len() == text.len())
    }
}

/// The element that is open.
#[derive(Debug)]
struct Open {
    from: u64,
    alternatives: [Bytes; 2],
    given_up: bool,
}

/// The alternatives of one page.
#[derive(Debug)]
pub(crate) struct OpenVariants {
    mode: Variants,
    charset: Charset,
    open: Option<Open>,
    /// An element had more than two.
    pub(crate) too_many: bool,
}

impl OpenVariants {
    pub(crate) fn new(mode: Variants, charset: Charset) -> Self {
        Self { mode, charset, open: None, too_many: false }
    }

    /// A `span` with these alternatives starts at `from`, which names it. False: it stays as it is.
    pub(super) fn start_tag(&mut self, from: u64, value: &[u8]) -> bool {
        if self.mode == Variants::Ignore || self.open.is_some() {
            return false;
        }
        let Some((alternatives, too_many)) = read(value, self.charset) else { return false };
        self.too_many |= too_many;
        self.open = Some(Open { from, alternatives, given_up: false });
        true
    }

    /// Something begins in it that is no plain text.
    pub(super) fn give_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.given_up = true;
        }
    }

    /// It has no end.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    /// An end tag before `end` ends it; `own`: it is its own, not an ancestor's that takes it along.
    pub(super) fn end_tag(&mut self, name: u64, end: u64, own: bool) -> Option<Variant> {
        let Open { from, alternatives, given_up } = self.open.take_if(|open| open.from == name)?;
        let goes = own && !given_up && end - from <= MAX_ELEMENT;
        goes.then_some(Variant { range: from..end, alternatives })
    }

    /// The source from here on must stay.
    pub(super) fn hold(&self, settled: u64) -> Option<u64> {
        let open = self.open.as_ref().filter(|open| !open.given_up)?;
        (settled.saturating_sub(open.from) <= MAX_ELEMENT).then_some(open.from)
    }
}

impl Shared {
    /// The element that is open starts at `at`.
    pub(super) fn variant_start(&mut self, at: u64) {
        let Self { window, text, edits, .. } = self;
        text.variant_start(at, window, edits);
    }

    /// An end tag before `end` ends the element of this name; `own`: it is its own.
    pub(super) fn variant_end(&mut self, name: u64, end: u64, own: bool) {
        let Self { text, edits, variants, .. } = self;
        text.variant_end(variants.end_tag(name, end, own), edits);
    }
}

/// Two alternatives as they will stand in the page, and whether there were more.
fn read(value: &[u8], charset: Charset) -> Option<([Bytes; 2], bool)> {
    // What is only guessed could be read wrongly.
    if !charset.declared && !value.is_ascii() {
        return None;
    }
    let (text, damaged) = charset.encoding.decode_without_bom_handling(value);
    let text = unescape(&text);
    if damaged || text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let mut parts = split(&text).into_iter();
    let first = parts.next().unwrap_or_default();
    let second = parts.next().unwrap_or_else(|| first.clone());
    let fits = first.len() <= MAX_TEXT && second.len() <= MAX_TEXT && !(first.is_empty() && second.is_empty());
    let literal = charset.encoding == UTF_8;
    fits.then(|| ([first, second].map(|text| written(&text, literal)), parts.next().is_some()))
}

/// Cut at each `|`; `\|` is one that stands for itself.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let c = match c {
            '|' => {
                parts.push(String::new());
                continue;
            }
            '\\' => rest.next_if_eq(&'|').unwrap_or('\\'),
            c => c,
        };
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// As the text of a page. `literal`: every character may stand for itself.
fn written(text: &str, literal: bool) -> Bytes {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if literal || c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1252};

    use super::*;

    const UTF8: Charset = Charset { encoding: UTF_8, declared: true };

    fn two(value: &[u8], charset: Charset) -> Option<[String; 2]> {
        let (alternatives, _) = read(value, charset)?;
        Some(alternatives.map(|text| String::from_utf8(text.to_vec()).unwrap()))
    }

    #[test]
    fn values_are_two_plain_texts() {
        let long = "x".repeat(65);
        for (value, expect) in [
            ("although|though", Some(["although", "though"])),
            ("a|b|c", Some(["a", "b"])),
            ("one", Some(["one", "one"])),
            ("very |", Some(["very ", ""])),
            (r"a\|b|c\d\", Some(["a|b", r"c\d\"])),
            ("R&amp;D|AT&T <b>", Some(["R&amp;D", "AT&amp;T &lt;b&gt;"])),
            ("caf&eacute;|café", Some(["café", "café"])),
            ("&quot;x&quot;|&zeetrf;", Some(["\"x\"", "&amp;zeetrf;"])),
            ("", None),
            ("|", None),
            (long.as_str(), None),
            ("a|\u{7}", None),
        ] {
            let expect = expect.map(|texts| texts.map(str::to_owned));
            assert_eq!(two(value.as_bytes(), UTF8), expect, "{value}");
        }
        let too_many = |value| read(value, UTF8).unwrap().1;
        assert!(too_many(&b"a|b|c"[..]) && !too_many(&b"a|b"[..]));
    }

    #[test]
    fn other_charsets_get_references() {
        let latin = Charset { encoding: WINDOWS_1252, declared: true };
        let refs = |first: &str, second: &str| Some([first.to_owned(), second.to_owned()]);
        assert_eq!(two(b"caf\xE9|\x93pub\x94", latin), refs("caf&#233;", "&#8220;pub&#8221;"));
        // The second byte of this character is a `|`.
        let japanese = Charset { encoding: SHIFT_JIS, declared: true };
        assert_eq!(two(b"\x83\x7C|x", japanese), refs("&#12509;", "x"));
        assert_eq!(two(b"\xFF\xFE|x", UTF8), None);
        let guessed = Charset { encoding: WINDOWS_1252, declared: false };
        assert_eq!((two(b"a|b", guessed), two(b"caf\xE9|b", guessed)), (refs("a", "b"), None));
    }

    #[test]
    fn an_element_has_an_end_of_its_own_and_a_bound() {
        let open = |mode| OpenVariants::new(mode, UTF8);
        let mut variants = open(Variants::Choose);
        assert!(variants.start_tag(10, b"a|b") && !variants.start_tag(20, b"c|d"), "one at a time");
        assert_eq!((variants.hold(10), variants.hold(522), variants.hold(523)), (Some(10), Some(10), None));
        assert_eq!(variants.end_tag(20, 60, true), None);
        assert_eq!(variants.end_tag(10, 522, true).map(|v| v.range), Some(10..522));
        for (end, own, given_up) in [(523, true, false), (60, false, false), (60, true, true)] {
            assert!(variants.start_tag(10, b"a|b"));
            if given_up {
                variants.give_up();
                assert_eq!(variants.hold(10), None);
            }
            assert_eq!(variants.end_tag(10, end, own), None);
            assert_eq!(variants.hold(60), None);
        }
        assert!(!open(Variants::Ignore).start_tag(10, b"a|b"));
    }

    #[test]
    fn without_a_context_the_first_stands_in_every_copy() {
        let variant = Variant { range: 3..9, alternatives: ["a", "b"].map(Bytes::from) };
        assert!(variant.is_tight());
        assert_eq!(variant.clone().edit(None), Edit { range: 3..9, what: What::Fixed(Bytes::from("a")) });
        let slot = variant.edit(Some(b"x".to_vec())).what;
        assert!(matches!(slot, What::Choice(Slot::Variant { context: Some(_), .. })), "{slot:?}");
        assert!(!Variant { range: 3..9, alternatives: ["very ", ""].map(Bytes::from) }.is_tight());
    }
}
