//! One text node as text, with the way back to its source bytes.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::charset::TextKind;

/// A decoded text node.
#[derive(Debug)]
pub(crate) struct Decoded<'s> {
    pub(crate) text: Cow<'s, str>,
    source: &'s [u8],
    /// Source offset of each byte of `text`, and of its end; absent where they are the same.
    map: Option<Vec<u32>>,
    /// Source bytes that belong to character references.
    references: Vec<(u32, u32)>,
    /// A reference that is not in the table: the words around it are not certain.
    pub(crate) has_unknown_entity: bool,
}

impl<'s> Decoded<'s> {
    /// Decodes a node. Invalid UTF-8 is an error.
    pub(crate) fn new(source: &'s [u8], kind: TextKind, encoding: &'static Encoding) -> Result<Self, ()> {
        let utf8 = kind == TextKind::Utf8;
        let ascii = source.is_ascii();
        let plain = if utf8 || ascii { Some(std::str::from_utf8(source).map_err(drop)?) } else { None };
        if let (Some(text), None) = (plain, memchr::memchr(b'&', source)) {
            return Ok(Self {
                text: Cow::Borrowed(text),
                source,
                map: None,
                references: Vec::new(),
                has_unknown_entity: false,
            });
        }
        Ok(Self::with_map(source, plain, encoding))
    }

    fn with_map(source: &'s [u8], plain: Option<&str>, encoding: &'static Encoding) -> Self {
        let mut out = Self {
            text: Cow::Owned(String::with_capacity(source.len())),
            source,
            map: None,
            references: Vec::new(),
            has_unknown_entity: false,
        };
        let mut text = String::with_capacity(source.len());
        let mut map: Vec<u32> = Vec::with_capacity(source.len() + 1);
        let mut at = 0;
        while at < source.len() {
            let rest = source.get(at..).unwrap_or_default();
            let (length, c) = match reference(rest) {
                Some((length, Some(c))) => {
                    out.references.push((at as u32, (at + length) as u32));
                    (length, c)
                }
                Some((length, None)) => {
                    out.has_unknown_entity = true;
                    out.references.push((at as u32, (at + length) as u32));
                    (length, '\u{FFFD}')
                }
                None => match plain.and_then(|t| t.get(at..)).and_then(|t| t.chars().next()) {
                    Some(c) => (c.len_utf8(), c),
                    None => (1, single_byte(rest.first().copied().unwrap_or(b' '), encoding)),
                },
            };
            map.resize(map.len() + c.len_utf8(), at as u32);
            text.push(c);
            at += length;
        }
        map.push(source.len() as u32);
        out.text = Cow::Owned(text);
        out.map = Some(map);
        out
    }

    /// The source offset of an offset in `text`.
    pub(crate) fn source(&self, at: usize) -> u64 {
        match &self.map {
            None => at as u64,
            Some(map) => map.get(at).or(map.last()).copied().unwrap_or_default().into(),
        }
    }

    /// Source bytes by source offsets.
    pub(crate) fn source_bytes(&self, from: u64, to: u64) -> Option<&'s [u8]> {
        self.source.get(from as usize..to as usize)
    }

    /// Does the source byte at this offset stand for itself?
    pub(crate) fn is_literal(&self, at: u64) -> bool {
        let at = at as u32;
        let behind = self.references.partition_point(|(from, _)| *from <= at);
        behind.checked_sub(1).and_then(|index| self.references.get(index)).is_none_or(|(_, to)| at >= *to)
    }
}

/// A text with its character references resolved; unknown ones stay as they are.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let (length, c) = reference(tail.as_bytes()).unwrap_or((1, None));
        match c {
            Some(c) => out.push(c),
            None => out.push_str(tail.get(..length).unwrap_or("&")),
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn single_byte(byte: u8, encoding: &'static Encoding) -> char {
    if byte.is_ascii() {
        return char::from(byte);
    }
    let bytes = [byte];
    let (text, _) = encoding.decode_without_bom_handling(&bytes);
    text.chars().next().unwrap_or('\u{FFFD}')
}

/// A character reference at the start of `rest`: its length, and the character if it is known (WHATWG HTML §13.5).
fn reference(rest: &[u8]) -> Option<(usize, Option<char>)> {
    let body = rest.strip_prefix(b"&")?;
    let length = body.iter().take(32).position(|b| !b.is_ascii_alphanumeric() && *b != b'#')?;
    let name = std::str::from_utf8(body.get(..length)?).ok()?;
    let closed = body.get(length) == Some(&b';');
    let first = name.bytes().next()?;
    if first != b'#' && !first.is_ascii_alphabetic() {
        return None;
    }
    // `&` followed by a word without `;` is text in practice (AT&T, a & b), except for a few old names.
    if !closed {
        return if first == b'#' { Some((1 + length, None)) } else { None };
    }
    Some((length + 2, numeric(name).or_else(|| named(name))))
}

fn numeric(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let value = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    // References to C1 controls mean windows-1252 (WHATWG HTML §13.2.5.80).
    match value {
        0x80..=0x9F => Some(single_byte(value as u8, encoding_rs::WINDOWS_1252)),
        other => char::from_u32(other),
    }
}

/// The names that news pages use; the Latin-1 ones stand in the order of their code points, from U+00A0.
const LATIN1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 \
    acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig \
    Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave \
    Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave \
    iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

fn named(name: &str) -> Option<char> {
    Some(match name {
        "amp" | "AMP" => '&',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "rsquo" => '\u{2019}',
        "lsquo" => '\u{2018}',
        "rdquo" => '\u{201D}',
        "ldquo" => '\u{201C}',
        "sbquo" => '\u{201A}',
        "bdquo" => '\u{201E}',
        "ndash" => '\u{2013}',
        "mdash" => '\u{2014}',
        "hellip" => '\u{2026}',
        "lsaquo" => '\u{2039}',
        "rsaquo" => '\u{203A}',
        "euro" => '\u{20AC}',
        "trade" => '\u{2122}',
        "bull" => '\u{2022}',
        "OElig" => '\u{152}',
        "oelig" => '\u{153}',
        "Scaron" => '\u{160}',
        "scaron" => '\u{161}',
        "zwnj" => '\u{200C}',
        "zwj" => '\u{200D}',
        "thinsp" => '\u{2009}',
        "ensp" => '\u{2002}',
        "emsp" => '\u{2003}',
        other => {
            let index = LATIN1.split_ascii_whitespace().position(|n| n == other)?;
            char::from_u32(0xA0 + index as u32)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{UTF_8, WINDOWS_1252};

    fn text(source: &[u8]) -> String {
        Decoded::new(source, TextKind::Utf8, UTF_8).unwrap().text.into_owned()
    }

    #[test]
    fn references_become_characters_with_their_places() {
        assert_eq!(text(b"don&rsquo;t &amp; caf&eacute;"), "don’t & café");
        assert_eq!(text(b"&#8217;&#x2019;&#146;&yuml;&nbsp;"), "’’’ÿ\u{A0}");
        assert_eq!(text(b"AT&T a & b &c"), "AT&T a & b &c");
        let decoded = Decoded::new(b"a&amp;b c", TextKind::Utf8, UTF_8).unwrap();
        assert_eq!(decoded.source(2), 6);
        assert_eq!(decoded.source(5), 9);
        assert!(decoded.is_literal(0) && !decoded.is_literal(3) && decoded.is_literal(6));
    }

    #[test]
    fn an_unknown_name_is_noted() {
        assert!(Decoded::new(b"a &zeetrf; b", TextKind::Utf8, UTF_8).unwrap().has_unknown_entity);
        assert!(!Decoded::new(b"a &amp; b", TextKind::Utf8, UTF_8).unwrap().has_unknown_entity);
    }

    #[test]
    fn single_bytes_and_bad_utf8() {
        let decoded = Decoded::new(b"caf\xE9 au", TextKind::SingleByte, WINDOWS_1252).unwrap();
        assert_eq!(decoded.text, "café au");
        assert_eq!(decoded.source(6), 5);
        assert!(Decoded::new(b"caf\xE9 au", TextKind::Utf8, UTF_8).is_err());
    }
}
