//! The first bytes of a body: is it a page, and in which charset?

use encoding_rs::Encoding;

use super::charset::{self, Charset};
use super::plan::Skip;
use super::sniff;

/// Bytes that are held until the first one that is not white space tells markup from something else.
const MAX_BLANK: usize = 1_024;

/// How the first bytes are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    /// The charset that the header names.
    header: Option<&'static Encoding>,
    fallback: &'static Encoding,
    /// Only what looks like a page is one.
    pub(crate) sniff: bool,
    /// Bytes that may say the charset are waited for.
    pub(crate) patient: bool,
}

impl Opening {
    pub(crate) fn new(header: Option<&'static Encoding>, fallback: &'static Encoding) -> Self {
        Self { header, fallback, sniff: false, patient: true }
    }

    /// The charset of the page, or why it is none; `None`: more bytes are needed. `last`: no more will come.
    pub(crate) fn read(&self, held: &[u8], last: bool) -> Option<Result<Charset, Skip>> {
        if !last && charset::may_become_bom(held) {
            return None;
        }
        let charset = charset::decide(self.header, held, self.fallback);
        if charset::is_refused(charset.encoding) {
            return Some(Err(Skip::CharsetUnsafe));
        }
        let bom = if held.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let first = held.iter().copied().enumerate().skip(bom).find(|(_, b)| !b.is_ascii_whitespace());
        let looks = if self.sniff { sniff::is_page(held) } else { Some(true) };
        match first {
            None if !last && held.len() <= MAX_BLANK => None,
            _ if looks.is_none() && !last => None,
            _ if looks != Some(true) => Some(Err(Skip::TypeMissing)),
            Some((blanks, b'<')) if blanks <= MAX_BLANK => {
                let open = self.patient && !last && charset::is_open(self.header, held);
                (!open).then_some(Ok(charset))
            }
            None | Some(_) => Some(Err(Skip::NotMarkup)),
        }
    }

    /// Are only bytes waited for that may say the charset?
    pub(crate) fn waits(&self, held: &[u8]) -> bool {
        let hasty = Self { patient: false, ..*self };
        self.read(held, false).is_none() && hasty.read(held, false).is_some()
    }

    /// Bytes that may be put before a charset that the page says further on.
    pub(crate) fn room(&self, held: &[u8]) -> usize {
        charset::room(self.header, held)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_8, WINDOWS_1252};

    use super::*;

    #[test]
    fn a_page_waits_for_its_charset_and_what_is_none_waits_for_nothing() {
        let opening = Opening::new(None, WINDOWS_1252);
        let named = Opening::new(Some(UTF_8), WINDOWS_1252);
        let hasty = Opening { patient: false, ..opening };
        let guessed = Charset { encoding: WINDOWS_1252, declared: false };
        let declared = Charset { encoding: UTF_8, declared: true };
        let start = b"<!doctype html><title>t</title>";
        assert_eq!((opening.read(start, false), opening.waits(start)), (None, true));
        assert_eq!((hasty.read(start, false), hasty.waits(start)), (Some(Ok(guessed)), false));
        assert_eq!((named.read(start, false), named.waits(start)), (Some(Ok(declared)), false));
        assert_eq!(opening.read(start, true), Some(Ok(guessed)), "no more will come");
        let said = [&start[..], b"<meta charset=utf-8>"].concat();
        assert_eq!((opening.read(&said, false), opening.waits(&said)), (Some(Ok(declared)), false));
        let long = [&start[..], &[b' '; 1_024]].concat();
        assert_eq!(opening.read(&long, false), Some(Ok(guessed)), "browsers look no further");
        for (held, skip) in [(&b"{}"[..], Skip::NotMarkup), (&b"\xFF\xFE<\0"[..], Skip::CharsetUnsafe)] {
            assert_eq!((opening.read(held, false), opening.waits(held)), (Some(Err(skip)), false));
        }
        // These wait for something else, and a charset is not all that is missing.
        for held in [&b""[..], b"\n\n", b"\xEF\xBB"] {
            assert_eq!((opening.read(held, false), opening.waits(held)), (None, false), "{held:?}");
        }
        let sniffing = Opening { sniff: true, ..opening };
        assert_eq!((sniffing.read(b"<!doc", false), sniffing.waits(b"<!doc")), (None, false));
        assert_eq!(sniffing.read(b"<rss>", false), Some(Err(Skip::TypeMissing)));
    }
}
