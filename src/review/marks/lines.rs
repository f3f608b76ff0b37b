//! Keys and values in the bytes of lines.
//!
//! Nearly all of a log is passed over here, so what is searched for has to be rare. Each of our keys begins with a quote and
//! `deckle.`, and a search that looked for these would stop at every one of them. Without the quote the rarest letters of
//! a key are its `k` and its last quote, which stand so far apart in few others; the first quote is looked at afterwards.

use std::borrow::Cow;

use memchr::memmem::Finder;

use crate::watermark::Mark;

/// Keys without their first quote.
const MARK: &[u8] = b"deckle.mark.id\":\"";
const KIND: &[u8] = b"deckle.kind\":\"";
/// `k1-0123456789ab`
const MARK_LENGTH: usize = 15;
/// Kinds of lines about pages, with the quote at their end.
const PAGE_KINDS: [&[u8]; 2] = [b"page\"", b"variants\""];

/// Searchers for the keys that are asked for.
pub(super) struct Finders {
    mark: Finder<'static>,
    kind: Finder<'static>,
    pub(super) time: Key,
    pub(super) path: Key,
    pub(super) address: Key,
    pub(super) agent: Key,
    pub(super) visitor: Key,
}

impl Finders {
    pub(super) fn new() -> Self {
        Self {
            mark: Finder::new(MARK),
            kind: Finder::new(KIND),
            time: Key::new(b"\"time\":\""),
            path: Key::new(b"\"url.path\":\""),
            address: Key::new(b"\"client.address\":\""),
            agent: Key::new(b"\"user_agent.original\":\""),
            visitor: Key::new(b"\"deckle.visitor.id\":\""),
        }
    }

    /// Where a key of a mark stands, and the mark.
    pub(super) fn marks(&self, bytes: &[u8]) -> impl Iterator<Item = (usize, Mark)> {
        keys(&self.mark, bytes).filter_map(move |at| {
            let start = at + MARK.len();
            let text = bytes.get(start..start + MARK_LENGTH)?;
            // What comes after it must be its end.
            bytes.get(start + MARK_LENGTH).filter(|byte| **byte == b'"')?;
            Some((at, std::str::from_utf8(text).ok()?.parse().ok()?))
        })
    }

    /// Where lines about pages have their kind.
    pub(super) fn pages(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        keys(&self.kind, bytes).filter(move |at| {
            let kind = bytes.get(at + KIND.len()..).unwrap_or_default();
            PAGE_KINDS.iter().any(|page| kind.starts_with(page))
        })
    }
}

/// Where this stands behind a quote.
fn keys(finder: &Finder<'static>, bytes: &[u8]) -> impl Iterator<Item = usize> {
    finder.find_iter(bytes).filter(move |at| at.checked_sub(1).and_then(|quote| bytes.get(quote)) == Some(&b'"'))
}

/// The line around a place, without its line feed.
pub(super) fn line_at(bytes: &[u8], at: usize) -> &[u8] {
    let (before, behind) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let start = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
    let end = memchr::memchr(b'\n', behind).map_or(bytes.len(), |feed| at + feed);
    bytes.get(start..end).unwrap_or_default()
}

/// A key up to the quote that opens its value.
pub(super) struct Key(Finder<'static>);

impl Key {
    fn new(key: &'static [u8]) -> Self {
        Self(Finder::new(key))
    }

    /// Its value, as it is written.
    pub(super) fn raw<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let text = line.get(self.0.find(line)? + self.0.needle().len()..)?;
        let mut at = 0;
        loop {
            at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
            if text.get(at) == Some(&b'"') {
                return text.get(..at);
            }
            at += 2;
        }
    }

    /// The same, as it is meant.
    pub(super) fn value<'l>(&self, line: &'l [u8]) -> Option<Cow<'l, str>> {
        let raw = self.raw(line)?;
        if memchr::memchr(b'\\', raw).is_none() {
            return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
        }
        let quoted = [&b"\""[..], raw, b"\""].concat();
        serde_json::from_slice::<String>(&quoted).ok().map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_quote_is_not_escaped() {
        let line = br#"{"url.path":"/a\"b\\","user_agent.original":"x\u00e9","deckle.score":1}"#;
        let finders = Finders::new();
        assert_eq!(finders.path.raw(line), Some(&br#"/a\"b\\"#[..]));
        assert_eq!(finders.path.value(line).as_deref(), Some("/a\"b\\"));
        assert_eq!(finders.agent.value(line).as_deref(), Some("xé"));
        assert_eq!(finders.address.value(line), None);
        assert_eq!(finders.path.raw(b"{\"url.path\":\"/a\\"), None);
    }

    #[test]
    fn marks_are_found_with_their_lines() {
        let bytes = b"{\"a\":\"\\\"deckle.mark.id\\\":\\\"k1-000000000001\"}\n{\"deckle.mark.id\":\"k2-00000000000f\",\"b\":1}\n\
            {\"deckle.mark.id\":\"k2-00000000000f0\"}\n{\"deckle.mark.id\":\"k2-";
        let finders = Finders::new();
        let found: Vec<(usize, Mark)> = finders.marks(bytes).collect();
        assert_eq!(found.iter().map(|(_, mark)| *mark).collect::<Vec<_>>(), [Mark { kid: 2, id: 15 }]);
        assert_eq!(line_at(bytes, found[0].0), &b"{\"deckle.mark.id\":\"k2-00000000000f\",\"b\":1}"[..]);
        assert_eq!(line_at(b"one", 1), b"one");
    }

    #[test]
    fn a_key_stands_behind_a_quote_and_pages_are_told_by_their_kind() {
        let bytes = b"deckle.mark.id\":\"k1-000000000001\",\"x.deckle.mark.id\":\"k1-000000000002\"}\n\
            {\"deckle.kind\":\"pages\"}\n{\"deckle.page.kind\":\"page\"}\n{\"xdeckle.kind\":\"page\"}\n{\"deckle.kind\":\"gap\"}";
        let finders = Finders::new();
        assert_eq!((finders.marks(bytes).count(), finders.pages(bytes).count()), (0, 0));
        let bytes = b"{\"deckle.kind\":\"page\"}\n{\"deckle.kind\":\"variants\"}\n{\"deckle.kind\":\"page";
        let lines: Vec<&[u8]> = finders.pages(bytes).map(|at| line_at(bytes, at)).collect();
        assert_eq!(lines, [&b"{\"deckle.kind\":\"page\"}"[..], b"{\"deckle.kind\":\"variants\"}"]);
    }
}
