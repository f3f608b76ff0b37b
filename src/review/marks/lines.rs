//! Keys and values in the bytes of lines.

use std::borrow::Cow;

use memchr::memmem::Finder;

use crate::watermark::Mark;

const MARK: &[u8] = b"\"deckle.mark.id\":\"";
const PAGE: &[u8] = b"\"deckle.kind\":\"page\"";
const VARIANTS: &[u8] = b"\"deckle.kind\":\"variants\"";
/// `k1-0123456789ab`
const MARK_LENGTH: usize = 15;

/// Searchers for the keys of marks and pages.
pub(super) struct Finders {
    mark: Finder<'static>,
    page: Finder<'static>,
    variants: Finder<'static>,
}

impl Finders {
    pub(super) fn new() -> Self {
        Self { mark: Finder::new(MARK), page: Finder::new(PAGE), variants: Finder::new(VARIANTS) }
    }

    /// Where a key of a mark stands, and the mark.
    pub(super) fn marks(&self, bytes: &[u8]) -> impl Iterator<Item = (usize, Mark)> {
        self.mark.find_iter(bytes).filter_map(move |at| {
            let start = at + MARK.len();
            let text = bytes.get(start..start + MARK_LENGTH)?;
            // What comes after it must be its end.
            bytes.get(start + MARK_LENGTH).filter(|byte| **byte == b'"')?;
            Some((at, std::str::from_utf8(text).ok()?.parse().ok()?))
        })
    }

    /// Where lines about pages have their kind.
    pub(super) fn pages(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        self.page.find_iter(bytes).chain(self.variants.find_iter(bytes))
    }
}

/// The line around a place, without its line feed.
pub(super) fn line_at(bytes: &[u8], at: usize) -> &[u8] {
    let (before, behind) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let start = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
    let end = memchr::memchr(b'\n', behind).map_or(bytes.len(), |feed| at + feed);
    bytes.get(start..end).unwrap_or_default()
}

/// The value behind a key that ends in its opening quote, as it is written.
pub(super) fn raw_value<'l>(line: &'l [u8], key: &[u8]) -> Option<&'l [u8]> {
    let text = line.get(memchr::memmem::find(line, key)? + key.len()..)?;
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
pub(super) fn value<'l>(line: &'l [u8], key: &[u8]) -> Option<Cow<'l, str>> {
    let raw = raw_value(line, key)?;
    if memchr::memchr(b'\\', raw).is_none() {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let quoted = [&b"\""[..], raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_quote_is_not_escaped() {
        let line = br#"{"url.path":"/a\"b\\","user_agent.original":"x\u00e9","deckle.score":1}"#;
        assert_eq!(raw_value(line, b"\"url.path\":\""), Some(&br#"/a\"b\\"#[..]));
        assert_eq!(value(line, b"\"url.path\":\"").as_deref(), Some("/a\"b\\"));
        assert_eq!(value(line, b"\"user_agent.original\":\"").as_deref(), Some("xé"));
        assert_eq!(value(line, b"\"client.address\":\""), None);
        assert_eq!(raw_value(b"{\"url.path\":\"/a\\", b"\"url.path\":\""), None);
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
}
