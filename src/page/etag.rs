//! Entity tags (RFC 9110 §8.8.3) that can be mapped to deckle's and back.
//!
//! `"abc"` of the upstream becomes `"abc~dk3.g"`: version of everything that shapes the page, `s` if a strong tag was
//! weakened, a part that stands for the visitor's mark where copies differ, and a letter for the content coding. Only a
//! tag that this visitor would get now is passed on; all others are dropped, so nobody keeps an old or foreign copy.

use http::HeaderValue;

use super::encoding::Coding;

/// An entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag {
    pub(crate) weak: bool,
    /// Without quotes.
    pub(crate) opaque: Vec<u8>,
}

/// What deckle adds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suffix<'t> {
    version: u32,
    weakened: bool,
    visitor: Option<&'t str>,
}

impl EntityTag {
    /// One tag.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (tag, rest) = take(text)?;
        rest.iter().all(|b| matches!(b, b' ' | b'\t')).then_some(tag)
    }

    /// A comma-separated list; `None` when it does not parse.
    pub(crate) fn parse_list(text: &[u8]) -> Option<Vec<Self>> {
        let mut rest = text;
        let mut tags = Vec::new();
        loop {
            rest = trim_start(rest);
            if rest.is_empty() {
                return Some(tags);
            }
            let (tag, after) = take(rest)?;
            tags.push(tag);
            rest = trim_start(after);
            match rest.split_first() {
                None => return Some(tags),
                Some((b',', tail)) => rest = tail,
                Some(_) => return None,
            }
        }
    }

    /// Is it the tag of a page that deckle has rewritten?
    pub(crate) fn is_of_a_copy(&self) -> bool {
        self.split().1.is_some()
    }

    fn split(&self) -> (&[u8], Option<Suffix<'_>>) {
        let plain = (self.opaque.as_slice(), None);
        let Some(at) = memchr::memmem::rfind(&self.opaque, b"~dk") else { return plain };
        let (opaque, suffix) = self.opaque.split_at(at);
        match std::str::from_utf8(suffix).ok().and_then(Suffix::parse) {
            Some(suffix) => (opaque, Some(suffix)),
            None => plain,
        }
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        let mut text = Vec::with_capacity(self.opaque.len() + 4);
        if self.weak {
            text.extend_from_slice(b"W/");
        }
        text.push(b'"');
        text.extend_from_slice(&self.opaque);
        text.push(b'"');
        HeaderValue::from_bytes(&text).ok()
    }
}

impl<'t> Suffix<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let body = text.strip_prefix("~dk")?;
        let (body, coding) = body.rsplit_once('.')?;
        if !matches!(coding, "i" | "g" | "b" | "z" | "d") {
            return None;
        }
        let (head, visitor) = match body.split_once('-') {
            Some((head, visitor)) => (head, Some(visitor)),
            None => (body, None),
        };
        let is_hex = |v: &str| v.len() == 8 && v.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if visitor.is_some_and(|v| !is_hex(v)) {
            return None;
        }
        let (digits, weakened) = match head.strip_suffix('s') {
            Some(digits) => (digits, true),
            None => (head, false),
        };
        let version = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        Some(Self { version, weakened, visitor })
    }
}

/// Maps tags for one request.
pub(crate) struct TagMap<'m> {
    pub(crate) version: u32,
    /// The visitor's part for an upstream tag; `None`: copies do not differ by visitor.
    pub(crate) visitor: Option<&'m dyn Fn(&[u8]) -> String>,
    /// Two copies of one source may differ, for a nonce.
    pub(crate) volatile: bool,
}

impl TagMap<'_> {
    /// The tag of the rewritten page.
    pub(crate) fn outgoing(&self, tag: &EntityTag, coding: Coding) -> EntityTag {
        let (opaque, suffix) = tag.split();
        // Another deckle has been here: its suffix is replaced, never stacked.
        let was_strong = suffix.map_or(!tag.weak, |s| s.weakened || !tag.weak);
        let weak = tag.weak || self.volatile || self.visitor.is_some();
        let mark = if weak && was_strong { "s" } else { "" };
        let version = self.version.to_string();
        let visitor = self.visitor.map(|v| v(opaque));
        let (dash, visitor) = visitor.as_deref().map_or(("", ""), |visitor| ("-", visitor));
        let mut text = opaque.to_vec();
        for part in ["~dk", &version, mark, dash, visitor, ".", coding.letter()] {
            text.extend_from_slice(part.as_bytes());
        }
        EntityTag { weak, opaque: text }
    }

    /// `If-None-Match`: the upstream's tag, if this visitor would get this very copy now. `foreign`: a tag that deckle has
    /// not given belongs to what is no page, and passes.
    pub(crate) fn none_match(&self, tag: &EntityTag, foreign: bool) -> Option<EntityTag> {
        let (opaque, suffix) = tag.split();
        let Some(suffix) = suffix else { return foreign.then(|| tag.clone()) };
        let expected = self.visitor.map(|v| v(opaque));
        let current = suffix.version == self.version && suffix.visitor == expected.as_deref();
        current.then(|| EntityTag { weak: tag.weak && !suffix.weakened, opaque: opaque.to_vec() })
    }
}

/// `If-Match` and the like: the upstream's tag whatever the version, or every optimistic lock would fail.
pub(crate) fn original(tag: &EntityTag) -> EntityTag {
    match tag.split() {
        (opaque, Some(suffix)) => EntityTag { weak: tag.weak && !suffix.weakened, opaque: opaque.to_vec() },
        _ => tag.clone(),
    }
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    text.get(blanks..).unwrap_or_default()
}

/// etagc = 0x21 / 0x23–0x7E / 0x80–0xFF; commas are legal inside the quotes.
fn take(text: &[u8]) -> Option<(EntityTag, &[u8])> {
    let (weak, rest) = match text.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let rest = rest.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let opaque = rest.get(..end)?;
    let legal = opaque.iter().all(|b| *b >= 0x21 && *b != 0x7F);
    legal.then(|| (EntityTag { weak, opaque: opaque.to_vec() }, rest.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    fn out(map: &TagMap<'_>, text: &str, coding: Coding) -> String {
        map.outgoing(&tag(text), coding).to_header().unwrap().to_str().unwrap().to_owned()
    }

    const SHARED: TagMap<'static> = TagMap { version: 3, visitor: None, volatile: false };

    fn visitor(opaque: &[u8]) -> String {
        // HMAC of the reference vectors stands in `page::protect`; here any function of the tag does.
        format!("{:08x}", opaque.iter().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(*b))))
    }

    #[test]
    fn tags_without_a_visitor_stay_as_strong_as_they_were() {
        assert_eq!(out(&SHARED, "\"abc\"", Coding::Identity), "\"abc~dk3.i\"");
        assert_eq!(out(&SHARED, "\"abc\"", Coding::Gzip), "\"abc~dk3.g\"");
        assert_eq!(out(&SHARED, "W/\"abc\"", Coding::Identity), "W/\"abc~dk3.i\"");
        assert_eq!(out(&SHARED, "\"abc~dk3.i\"", Coding::Identity), "\"abc~dk3.i\"");
        assert_eq!(out(&SHARED, "W/\"a,b\"", Coding::Identity), "W/\"a,b~dk3.i\"");
    }

    #[test]
    fn a_visitor_weakens_and_comes_back() {
        let map = TagMap { version: 3, visitor: Some(&visitor), volatile: false };
        let sent = out(&map, "\"v1\"", Coding::Identity);
        assert_eq!(sent, format!("W/\"v1~dk3s-{}.i\"", visitor(b"v1")));
        assert_eq!(map.none_match(&tag(&sent), false), Some(tag("\"v1\"")));
        assert_eq!(SHARED.none_match(&tag(&sent), false), None, "another visitor's copy");
        assert_eq!(map.none_match(&tag("\"v1~dk3.i\""), false), None, "a copy without a mark");
        assert_eq!(map.none_match(&tag("W/\"v1~dk3s-00000000.i\""), false), None);
        let weak = out(&map, "W/\"a,b\"", Coding::Gzip);
        assert_eq!(map.none_match(&tag(&weak), false), Some(tag("W/\"a,b\"")));
    }

    #[test]
    fn lists_with_commas_inside_tags() {
        let list = EntityTag::parse_list(b"\"x~dk2.i\", W/\"a,b~dk3s.g\"").unwrap();
        let kept: Vec<EntityTag> = list.iter().filter_map(|t| SHARED.none_match(t, false)).collect();
        assert_eq!(kept, [tag("\"a,b\"")]);
        assert_eq!(EntityTag::parse_list(b"\"a\" \"b\""), None);
        assert_eq!(EntityTag::parse_list(b"*"), None);
        assert_eq!(EntityTag::parse_list(b" "), Some(vec![]));
        assert_eq!(SHARED.none_match(&tag("\"plain\""), true), Some(tag("\"plain\"")));
        assert_eq!(SHARED.none_match(&tag("\"plain\""), false), None);
        assert_eq!(original(&tag("W/\"abc~dk2s-00000000.g\"")), tag("\"abc\""));
    }

    proptest! {
        #[test]
        fn every_tag_maps_back(opaque in proptest::collection::vec(prop_oneof![Just(0x21u8), 0x23u8..0x7F, 0x80u8..=0xFF], 0..30), weak: bool, marked: bool) {
            let before = EntityTag { weak, opaque };
            // A tag that ends like one of ours cannot be told from one.
            prop_assume!(before.split().1.is_none());
            let map = TagMap { version: 77, visitor: if marked { Some(&visitor) } else { None }, volatile: false };
            let sent = map.outgoing(&before, Coding::Br);
            let header = sent.to_header().unwrap();
            let read = EntityTag::parse(header.as_bytes()).unwrap();
            prop_assert_eq!(map.none_match(&read, false), Some(before.clone()));
            prop_assert_eq!(original(&read), before);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = EntityTag::parse_list(&bytes);
        }
    }
}
