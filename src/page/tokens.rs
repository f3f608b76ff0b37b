//! Tags that hold the mark: an attribute of the first block, and the addresses of links and images of the site itself.

use std::ops::Range;
use std::sync::Arc;

use super::article::Shared;
use super::marks::MarkRules;
use crate::slot::{Edit, Slot, Token, What};

/// Tags of one page; an index of the archive is no article.
const MAX_TAGS: u32 = 200;

/// The attribute that the first block gets.
const ATTRIBUTE: &str = "data-k";

/// Where tokens go in one page.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// The site's own host, and where deckle's own paths are; `None`: no tag holds a mark.
    site: Option<(Arc<str>, Arc<str>)>,
    /// A block has its attribute.
    placed: bool,
    /// Addresses without a host are not the site's: the page has said where they lead.
    based: bool,
    tags: u32,
}

impl Tokens {
    pub(crate) fn new(rules: &MarkRules) -> Self {
        let site = rules.tokens.then(|| (Arc::clone(&rules.host), Arc::clone(&rules.mount)));
        Self { site, ..Self::default() }
    }

    /// The attribute that matters in an element of this name; `None`: none does.
    pub(super) fn attribute_of(&self, name: &str, is_block: bool) -> Option<&'static str> {
        self.site.as_ref()?;
        match name {
            "base" | "a" => Some("href"),
            "img" => Some("src"),
            _ => (is_block && !self.placed).then_some(ATTRIBUTE),
        }
    }

    /// The first block, whose tag starts at `tag`.
    fn block(&mut self, tag: u64, name: &str) -> Edit {
        self.placed = true;
        // Behind `<` and the name.
        let at = tag + 1 + name.len() as u64;
        Edit { range: at..at, what: What::Choice(Slot::Token(Token::Attribute)) }
    }

    /// An address, if it is the site's own and can take a query. `place`: without its quotes.
    fn address(&mut self, value: &[u8], place: Range<u64>) -> Option<Edit> {
        let (host, mount) = self.site.as_ref().filter(|_| self.tags < MAX_TAGS)?;
        let at = place.start + query_place(value, host, mount, self.based)? as u64;
        self.tags += 1;
        Some(Edit { range: at..at, what: What::Choice(Slot::Token(Token::Query)) })
    }
}

impl Shared {
    /// Puts the mark into the tag that starts at `tag`, if it may hold it. `present`: it has the attribute that matters; the
    /// value without its quotes.
    pub(super) fn put_token(&mut self, key: &str, name: &str, tag: u64, present: bool, value: Option<Range<u64>>) {
        let Self { window, edits, tokens, .. } = self;
        match value {
            _ if key == ATTRIBUTE => edits.extend((!present).then(|| tokens.block(tag, name))),
            _ if name == "base" => tokens.based |= present,
            Some(place) => {
                let quote = window.get(place.start.saturating_sub(1)..place.start);
                let value = window.get(place.clone()).filter(|_| matches!(quote, Some(b"\"" | b"'")));
                edits.extend(value.and_then(|value| tokens.address(value, place)));
            }
            None => {}
        }
    }
}

/// Where a query begins in an address without one; `None`: it is not the site's, or no address of a document.
fn query_place(value: &[u8], host: &str, mount: &str, based: bool) -> Option<usize> {
    let leading = value.len() - value.trim_ascii_start().len();
    let value = std::str::from_utf8(value.trim_ascii()).ok()?;
    // A reference could stand for any of the signs that are looked for.
    if value.contains(['?', '&', '\\']) || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let address = value.split('#').next().filter(|address| !address.is_empty())?;
    let path = match rest_of_own(address, host) {
        Some(path) => path,
        None if based || address.starts_with("//") || has_scheme(address) => return None,
        None => address,
    };
    let own = path.strip_prefix(mount).filter(|_| !mount.is_empty());
    let is_ours = own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (!is_ours).then_some(leading + address.len())
}

/// The path of an address that names this host.
fn rest_of_own<'a>(address: &'a str, host: &str) -> Option<&'a str> {
    let after = ["https:", "http:"].into_iter().find_map(|scheme| {
        let (start, rest) = address.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = after.unwrap_or(address).strip_prefix("//")?;
    let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!host.is_empty() && name.eq_ignore_ascii_case(host)).then_some(path)
}

/// RFC 3986 §3.1.
fn has_scheme(address: &str) -> bool {
    let start = address.split(['/', '?', '#']).next().unwrap_or_default();
    start.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_query(value: &str, based: bool) -> Option<String> {
        let at = query_place(value.as_bytes(), "news.example:8080", "/.deckle", based)?;
        let mut out = value.to_owned();
        out.insert_str(at, "?k");
        Some(out)
    }

    #[test]
    fn addresses_of_the_site_without_a_query_take_one() {
        for (value, expect) in [
            ("/a", Some("/a?k")),
            ("a/b.jpg", Some("a/b.jpg?k")),
            ("../x#part", Some("../x?k#part")),
            (" /a\n", Some(" /a?k\n")),
            ("/a:b", Some("/a:b?k")),
            ("/", Some("/?k")),
            ("https://news.example:8080/a#b", Some("https://news.example:8080/a?k#b")),
            ("HTTP://NEWS.example:8080", Some("HTTP://NEWS.example:8080?k")),
            ("//news.example:8080/a", Some("//news.example:8080/a?k")),
            ("/.decklesque", Some("/.decklesque?k")),
            ("/é", Some("/é?k")),
        ] {
            assert_eq!(with_query(value, false).as_deref(), expect, "{value}");
        }
        for value in [
            "",
            " ",
            "#top",
            "/a?b=1",
            "/a?",
            "?b",
            "/a&amp;b",
            "https://other.example/a",
            "https://news.example/a",
            "https://x@news.example:8080/a",
            "//cdn.example/a",
            "data:image/png;base64,AA",
            "mailto:desk@news.example",
            "javascript:void(0)",
            "/.deckle",
            "/.deckle/guard.js",
            "https://news.example:8080/.deckle/x",
            "/a b",
            "\\\\other.example\\a",
        ] {
            assert_eq!(with_query(value, false), None, "{value}");
        }
        assert_eq!(with_query("/a", true), None);
        assert!(with_query("https://news.example:8080/a", true).is_some());
    }

    #[test]
    fn tags_are_counted_and_off_there_are_none() {
        let rules =
            MarkRules { tokens: true, host: "news.example".into(), mount: "/.deckle".into(), ..Default::default() };
        let mut tokens = Tokens::new(&rules);
        assert_eq!(tokens.attribute_of("p", true), Some(ATTRIBUTE));
        assert_eq!(tokens.block(100, "p").range, 102..102);
        assert_eq!((tokens.attribute_of("p", true), tokens.attribute_of("em", false)), (None, None));
        assert_eq!((tokens.attribute_of("a", false), tokens.attribute_of("img", false)), (Some("href"), Some("src")));
        let edits = (0..1_000).filter_map(|i| tokens.address(b"/a", i..i + 2)).count();
        assert_eq!(edits, MAX_TAGS as usize);
        assert_eq!(Tokens::new(&MarkRules::default()).attribute_of("a", false), None);
        assert_eq!(Tokens::default().address(b"/a", 0..2), None);
    }
}
