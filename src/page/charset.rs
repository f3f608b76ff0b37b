//! Which charset a page is in, and whether its text may carry marks.
//!
//! Order (WHATWG HTML §13.2.3.2): byte-order mark, `charset` of `Content-Type`, the prescan of the first 1,024 bytes for
//! a `<meta>`, then `page.fallback_charset`. Only a *declared* UTF-8 or single-byte charset lets text be marked: elsewhere
//! words would be read wrongly.

use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use http::{HeaderMap, header};

use super::prescan::prescan;

/// How many bytes the prescan looks at (WHATWG HTML §4.2.5.4).
pub(crate) const PRESCAN: usize = 1_024;

/// What most pages say of themselves: its label need not be looked for.
const USUAL: &str = "text/html; charset=utf-8";

/// What the start of a page says about its charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charset {
    pub(crate) encoding: &'static Encoding,
    /// Said by the page or its header, not guessed.
    pub(crate) declared: bool,
}

/// What text slots are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    Utf8,
    SingleByte,
    /// No slots, and why.
    None(&'static str),
}

impl Charset {
    pub(crate) fn text_kind(self) -> TextKind {
        match (self.declared, self.encoding) {
            (false, _) => TextKind::None("charset_late"),
            (true, e) if e == UTF_8 => TextKind::Utf8,
            (true, e) if e.is_single_byte() => TextKind::SingleByte,
            _ => TextKind::None("encoding"),
        }
    }
}

/// Encodings in which `<` is not one byte 0x3C; nothing can be inserted there.
pub(crate) fn is_refused(encoding: &'static Encoding) -> bool {
    [UTF_16LE, UTF_16BE, ISO_2022_JP, REPLACEMENT].contains(&encoding)
}

/// The `charset` parameter of `Content-Type`, with the label it holds, if any.
pub(crate) fn from_header(headers: &HeaderMap) -> Option<&'static Encoding> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if value.eq_ignore_ascii_case(USUAL) {
        return Some(UTF_8);
    }
    let parameter = value.split(';').skip(1).find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
    })?;
    Encoding::for_label(parameter.as_bytes())
}

/// Decides from the header and the first bytes.
pub(crate) fn decide(header: Option<&'static Encoding>, start: &[u8], fallback: &'static Encoding) -> Charset {
    let declared = |encoding| Charset { encoding, declared: true };
    if let Some((encoding, _)) = Encoding::for_bom(start) {
        return declared(encoding);
    }
    header
        .or_else(|| prescan(looked_at(start)).map(|(encoding, _)| encoding))
        .map_or(Charset { encoding: fallback, declared: false }, declared)
}

/// What browsers look at.
fn looked_at(start: &[u8]) -> &[u8] {
    start.get(..PRESCAN).unwrap_or(start)
}

/// May bytes that have not come yet say the charset? Browsers wait for them, too (WHATWG HTML §13.2.3.2).
pub(crate) fn is_open(header: Option<&'static Encoding>, start: &[u8]) -> bool {
    start.len() < PRESCAN && header.is_none() && Encoding::for_bom(start).is_none() && prescan(start).is_none()
}

/// How many bytes may be put before the first element of the head that is no `<meta>`, so that a `<meta>` behind it which
/// declares the charset stays within the bytes that browsers look at. Nobody knows what has not come yet.
pub(crate) fn room(header: Option<&'static Encoding>, start: &[u8]) -> usize {
    /// A short page, or one that does not come on.
    const CAUTIOUS: usize = 256;
    if header.is_some() || Encoding::for_bom(start).is_some() {
        return usize::MAX;
    }
    match prescan(looked_at(start)) {
        Some((_, end)) => PRESCAN - end.min(PRESCAN),
        None if start.len() >= PRESCAN => usize::MAX,
        None => CAUTIOUS,
    }
}

/// The first bytes of a byte-order mark that is cut by a chunk border.
pub(crate) fn may_become_bom(start: &[u8]) -> bool {
    [&b"\xEF\xBB\xBF"[..], b"\xFE\xFF", b"\xFF\xFE"].iter().any(|bom| bom.len() > start.len() && bom.starts_with(start))
}

/// A label of the configuration; windows-1252 for one that does not exist or cannot be a fallback.
pub(crate) fn fallback(label: &str) -> &'static Encoding {
    Encoding::for_label(label.as_bytes()).filter(|e| !is_refused(e)).unwrap_or(WINDOWS_1252)
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{SHIFT_JIS, WINDOWS_1251};

    fn of(start: &str) -> (&'static str, bool) {
        let c = decide(None, start.as_bytes(), WINDOWS_1252);
        (c.encoding.name(), c.declared)
    }

    #[test]
    fn the_page_says_its_charset() {
        assert_eq!(of("\u{FEFF}<html>"), ("UTF-8", true));
        assert_eq!(of("<!doctype html><meta charset=utf-8>"), ("UTF-8", true));
        assert_eq!(of("<META CHARSET=\"windows-1251\">"), ("windows-1251", true));
        assert_eq!(
            of("<meta http-equiv=content-type content=\"text/html; charset=iso-8859-1\">"),
            ("windows-1252", true)
        );
        assert_eq!(of("<meta content=\"text/html; charset=utf-8\">"), ("windows-1252", false));
        assert_eq!(of("<!-- <meta charset=utf-8> --><meta charset=koi8-r>"), ("KOI8-R", true));
        assert_eq!(of("<meta charset=bogus><meta charset=utf-8>"), ("UTF-8", true));
        assert_eq!(of("<meta charset=utf-16le>"), ("UTF-8", true));
        assert_eq!(of(&format!("{}<meta charset=utf-8>", " ".repeat(1_100))), ("windows-1252", false));
        assert_eq!(of("<meta charset=utf-8"), ("windows-1252", false));
    }

    #[test]
    fn the_header_beats_the_meta_and_the_mark_beats_both() {
        let page = b"<meta charset=utf-8>";
        assert_eq!(decide(Some(WINDOWS_1251), page, WINDOWS_1252).encoding, WINDOWS_1251);
        assert_eq!(decide(Some(UTF_8), b"\xFF\xFE<\0", WINDOWS_1252).encoding, UTF_16LE);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "text/html; Charset=\"Shift_JIS\"".parse().unwrap());
        assert_eq!(from_header(&headers), Some(SHIFT_JIS));
        for usual in ["Text/HTML; charset=UTF-8", "text/html;charset=\"utf8\""] {
            headers.insert(header::CONTENT_TYPE, usual.parse().unwrap());
            assert_eq!(from_header(&headers), Some(UTF_8), "{usual}");
        }
    }

    #[test]
    fn a_meta_stays_within_the_bytes_that_browsers_look_at() {
        let page = format!("<!doctype html><title>{}</title><meta charset=utf-8>", "t".repeat(600));
        assert_eq!(room(None, page.as_bytes()), 1_024 - page.len());
        assert_eq!(room(Some(UTF_8), page.as_bytes()), usize::MAX);
        assert_eq!(room(None, b"\xEF\xBB\xBF<title>"), usize::MAX);
        assert_eq!(room(None, b"<title>"), 256, "it may still come");
        assert_eq!(room(None, &[b' '; 2_000]), usize::MAX, "it comes too late anyhow");
    }

    #[test]
    fn the_charset_is_open_until_it_is_said_or_comes_too_late() {
        let page = format!("<!doctype html><title>{}</title><meta charset=utf-8>", "t".repeat(600));
        for end in 0..page.len() {
            assert!(is_open(None, &page.as_bytes()[..end]), "{end}");
        }
        assert!(!is_open(None, page.as_bytes()));
        assert!(!is_open(Some(UTF_8), b"<") && !is_open(None, b"\xEF\xBB\xBF<"));
        assert!(is_open(None, &[b' '; PRESCAN - 1]) && !is_open(None, &[b' '; PRESCAN]));
    }

    #[test]
    fn a_mark_that_is_cut_is_waited_for() {
        assert!(
            may_become_bom(b"") && may_become_bom(b"\xEF") && may_become_bom(b"\xEF\xBB") && may_become_bom(b"\xFF")
        );
        assert!(!may_become_bom(b"\xEF\xBB\xBF") && !may_become_bom(b"<") && !may_become_bom(b"\xEF<"));
    }

    #[test]
    fn only_declared_simple_charsets_carry_marks() {
        let kind = |encoding, declared| Charset { encoding, declared }.text_kind();
        assert_eq!(kind(UTF_8, true), TextKind::Utf8);
        assert_eq!(kind(WINDOWS_1251, true), TextKind::SingleByte);
        assert_eq!(kind(SHIFT_JIS, true), TextKind::None("encoding"));
        assert_eq!(kind(UTF_8, false), TextKind::None("charset_late"));
        assert!(is_refused(UTF_16LE) && is_refused(ISO_2022_JP) && !is_refused(SHIFT_JIS));
    }
}
