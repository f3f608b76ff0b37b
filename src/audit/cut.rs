//! Values that are cut to what a line may hold, and what was cut.
//!
//! Records wait in queues while a disk stands still, and clients choose how long their paths and header fields are. So a record
//! holds no more of them than its line shows, and [`Overlong`] knows what the line says of the rest.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Settings;
use super::record::AuditRecord;
use crate::suspicion::looks_like_article;

/// Longest path, query, header values in bytes.
const MAX_PATH: usize = 2_048;
const MAX_QUERY: usize = 1_024;
const MAX_HEADER: usize = 512;
/// Bytes of a longer header value that a record keeps: a character that stands across the end of what is written is whole.
const KEPT_HEADER: usize = MAX_HEADER + 4;
/// Longest method in bytes.
pub(super) const MAX_METHOD: usize = 32;
/// Bytes kept of what names an article: the dashboard shows 160 characters of it, a line 64 bytes.
const MAX_ARTICLE: usize = 640;
/// Longest `traceparent` that is kept as it was sent; those of version 00 have 55 bytes.
const MAX_TRACE: usize = 64;

/// What was cut or replaced on the way.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) truncated: Vec<String>,
    pub(super) lossy: Vec<&'static str>,
}

impl Notes {
    fn text<'t>(&mut self, key: &'static str, text: Cow<'t, str>, max: usize) -> Cow<'t, str> {
        let length = text.len();
        self.part(key, text, length, max)
    }

    /// A text of which `kept` is the beginning, and that had `length` bytes.
    fn part<'t>(&mut self, key: &'static str, kept: Cow<'t, str>, length: usize, max: usize) -> Cow<'t, str> {
        if length > max {
            self.truncated.push(format!("{key}:{length}"));
        }
        match kept {
            Cow::Borrowed(kept) => Cow::Borrowed(cut(kept, max)),
            Cow::Owned(mut kept) => {
                kept.truncate(cut(&kept, max).len());
                Cow::Owned(kept)
            }
        }
    }

    /// `long`: what is known of the whole, where `kept` is only its beginning.
    fn header<'t>(&mut self, key: &'static str, kept: &'t [u8], long: Option<&LongHeader>) -> Cow<'t, str> {
        let text = std::str::from_utf8(kept).map_or_else(|_| String::from_utf8_lossy(kept), Cow::Borrowed);
        let is_lossy = matches!(text, Cow::Owned(_));
        if long.map_or(is_lossy, |long| long.is_lossy) {
            self.lossy.push(key);
        }
        let length = long.map_or(text.len(), |long| long.length);
        self.part(key, text, length, MAX_HEADER)
    }
}

/// What is known of values that a record does not hold as they were sent, because they are too long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlong {
    path: Option<LongPath>,
    /// Length of the query, redacted.
    query: Option<usize>,
    user_agent: Option<LongHeader>,
    referer: Option<LongHeader>,
}

/// The record holds it redacted and cut.
#[derive(Debug, Clone)]
struct LongPath {
    /// Its length, redacted.
    length: usize,
    article: String,
    is_like_article: bool,
    is_like_sitemap: bool,
}

/// The record holds its first [`KEPT_HEADER`] bytes.
#[derive(Debug, Clone)]
struct LongHeader {
    /// Its length as text, whatever is no UTF-8 replaced.
    length: usize,
    is_lossy: bool,
    /// SHA-256 of what the record does not hold.
    rest: [u8; 32],
}

impl Overlong {
    /// A path that is too long to be kept as it was sent. It is redacted first: half a token would not be known for one.
    pub(super) fn path(&mut self, sent: &str, settings: &Settings) -> Option<Arc<str>> {
        if sent.len() <= MAX_PATH {
            return None;
        }
        let redacted = settings.redact_path(sent);
        let named = settings.article.as_ref().and_then(|pattern| pattern.find(sent));
        self.path = Some(LongPath {
            length: redacted.len(),
            article: cut(named.unwrap_or(&redacted), MAX_ARTICLE).to_owned(),
            is_like_article: looks_like_article(sent),
            is_like_sitemap: is_sitemap(sent),
        });
        Some(cut(&redacted, MAX_PATH).into())
    }

    /// What the record holds of a query.
    pub(super) fn query(&mut self, sent: &str, settings: &Settings) -> String {
        if sent.len() <= MAX_QUERY {
            return sent.to_owned();
        }
        let redacted = settings.redact_query(sent);
        self.query = Some(redacted.len());
        cut(&redacted, MAX_QUERY).to_owned()
    }

    /// What the record holds of a `User-Agent`.
    pub(super) fn user_agent(&mut self, sent: &[u8]) -> Vec<u8> {
        self.user_agent = LongHeader::of(sent);
        kept(sent)
    }

    /// What the record holds of a `Referer`.
    pub(super) fn referer(&mut self, sent: &[u8]) -> Vec<u8> {
        self.referer = LongHeader::of(sent);
        kept(sent)
    }

    /// `None`: nothing was too long.
    pub(super) fn if_any(self) -> Option<Box<Self>> {
        let is_any = self.path.is_some() || self.query.is_some() || self.user_agent.is_some() || self.referer.is_some();
        is_any.then(|| Box::new(self))
    }
}

impl LongHeader {
    /// `None`: it is kept whole.
    fn of(sent: &[u8]) -> Option<Self> {
        let rest = sent.get(KEPT_HEADER..).filter(|rest| !rest.is_empty())?;
        let replaced = |invalid: &[u8]| if invalid.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
        Some(Self {
            length: sent.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum(),
            is_lossy: std::str::from_utf8(sent).is_err(),
            rest: Sha256::digest(rest).into(),
        })
    }
}

fn kept(sent: &[u8]) -> Vec<u8> {
    sent.get(..KEPT_HEADER).unwrap_or(sent).to_vec()
}

/// What of a `traceparent` a record holds: nothing of one that names no trace, and of one that is longer than any of today its
/// ids alone.
pub(super) fn trace_parent(sent: &str) -> Option<String> {
    let (trace, span) = trace_context(sent)?;
    Some(if sent.len() <= MAX_TRACE { sent.to_owned() } else { format!("00-{trace}-{span}-00") })
}

impl AuditRecord {
    /// The path, redacted and cut.
    pub(super) fn path_text(&self, notes: &mut Notes, settings: &Settings) -> Cow<'_, str> {
        match self.long_path() {
            Some(long) => notes.part("url.path", Cow::Borrowed(&*self.path), long.length, MAX_PATH),
            None => notes.text("url.path", settings.redact_path(&self.path), MAX_PATH),
        }
    }

    /// The query, redacted and cut; `None`: there is none, or nothing in it.
    pub(super) fn query_text(&self, notes: &mut Notes, settings: &Settings) -> Option<Cow<'_, str>> {
        let query = self.query.as_deref().filter(|query| !query.is_empty())?;
        Some(match self.overlong.as_ref().and_then(|overlong| overlong.query) {
            Some(length) => notes.part("url.query", Cow::Borrowed(query), length, MAX_QUERY),
            None => notes.text("url.query", Cow::Owned(settings.redact_query(query)), MAX_QUERY),
        })
    }

    /// `User-Agent`, cut.
    pub(super) fn user_agent_text(&self, notes: &mut Notes) -> Option<Cow<'_, str>> {
        Some(notes.header("user_agent.original", self.user_agent.as_deref()?, self.long_user_agent()))
    }

    /// `Referer`, cut and redacted.
    pub(super) fn referer_text(&self, notes: &mut Notes, settings: &Settings) -> Option<String> {
        let long = self.overlong.as_ref().and_then(|overlong| overlong.referer.as_ref());
        let text = notes.header("http.request.header.referer", self.referer.as_deref()?, long);
        Some(settings.redact_path(&cut_referer(&text, &self.host)).into_owned())
    }

    /// What of the `User-Agent` tells visitors apart: what the record holds of it, and a hash of the rest, if there is more. No
    /// shorter one has the bytes of both.
    pub(super) fn user_agent_parts(&self) -> [&[u8]; 2] {
        let rest = self.long_user_agent().map(|long| &long.rest[..]);
        [self.user_agent.as_deref().unwrap_or_default(), rest.unwrap_or_default()]
    }

    /// What `audit.article` finds in the path, else the path.
    pub(super) fn article(&self, settings: &Settings) -> Cow<'_, str> {
        if let Some(long) = self.long_path() {
            return Cow::Borrowed(long.article.as_str());
        }
        let found = settings.article.as_ref().and_then(|pattern| pattern.find(&self.path));
        found.map_or_else(|| settings.redact_path(&self.path), Cow::Borrowed)
    }

    /// Does the path look like that of an article?
    pub(super) fn is_like_article(&self) -> bool {
        self.long_path().map_or_else(|| looks_like_article(&self.path), |long| long.is_like_article)
    }

    /// Does it look like that of a sitemap?
    pub(super) fn is_like_sitemap(&self) -> bool {
        self.long_path().map_or_else(|| is_sitemap(&self.path), |long| long.is_like_sitemap)
    }

    fn long_path(&self) -> Option<&LongPath> {
        self.overlong.as_ref()?.path.as_ref()
    }

    fn long_user_agent(&self) -> Option<&LongHeader> {
        self.overlong.as_ref()?.user_agent.as_ref()
    }
}

fn is_sitemap(path: &str) -> bool {
    path.starts_with("/sitemap")
}

/// The text up to `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Same site: with its path; another one: its origin only. Never a query.
fn cut_referer<'r>(referer: &'r str, host: &str) -> Cow<'r, str> {
    let bare = referer.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return Cow::Borrowed(bare) };
    let (sent, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A name and a password may stand before the host.
    let authority = sent.rsplit('@').next().unwrap_or_default();
    let is_same = authority.eq_ignore_ascii_case(host);
    if is_same && authority.len() == sent.len() {
        return Cow::Borrowed(bare);
    }
    let path = if is_same { path } else { "/" };
    Cow::Owned(format!("{scheme}://{authority}{path}"))
}

/// Trace and span id of a `traceparent`.
pub(super) fn trace_context(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    (hex(trace, 32) && hex(span, 16)).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::privacy::Pseudonyms;
    use crate::audit::record::blank;
    use crate::visitor::{self, Visitor};

    /// What a request sent: path, query, `User-Agent`, `Referer`.
    type Sent = (String, String, Vec<u8>, Vec<u8>);

    fn page() -> AuditRecord {
        let (head, ()) = http::Request::new(()).into_parts();
        let visitor = Visitor::from_head(&head, &visitor::Settings::default(), std::time::Duration::ZERO).unwrap();
        AuditRecord { visitor: Some(visitor), ..blank() }
    }

    fn whole((path, query, user_agent, referer): &Sent) -> AuditRecord {
        AuditRecord {
            path: path.as_str().into(),
            query: Some(query.clone()),
            user_agent: Some(user_agent.clone()),
            referer: Some(referer.clone()),
            ..page()
        }
    }

    fn made((path, query, user_agent, referer): &Sent, settings: &Settings) -> AuditRecord {
        let mut overlong = Overlong::default();
        AuditRecord {
            path: overlong.path(path, settings).unwrap_or_else(|| path.as_str().into()),
            query: Some(overlong.query(query, settings)),
            user_agent: Some(overlong.user_agent(user_agent)),
            referer: Some(overlong.referer(referer)),
            overlong: overlong.if_any(),
            ..page()
        }
    }

    fn lines(record: &AuditRecord, settings: &Settings) -> String {
        let (mut out, mut pseudonyms) = (Vec::new(), Pseudonyms::in_memory());
        record.write(&mut out, 7, settings, 1.0, &mut pseudonyms);
        record.write_combined(&mut out, true, settings, &mut pseudonyms);
        String::from_utf8(out).unwrap()
    }

    fn settings() -> [Settings; 2] {
        let plain = Settings {
            path_redact: false,
            search_terms: true,
            query_allow: vec!["a*".to_owned()],
            article: Some(r"/id/([^/]+)".parse().unwrap()),
            ..Settings::default()
        };
        [Settings::default(), plain]
    }

    fn check(sent: &Sent) {
        for settings in settings() {
            let (whole, made) = (whole(sent), made(sent, &settings));
            assert_eq!(lines(&made, &settings), lines(&whole, &settings), "{sent:?}");
            assert!(made.path.len() <= MAX_PATH && made.query.as_ref().unwrap().len() <= MAX_QUERY);
            assert!([&made.user_agent, &made.referer].iter().all(|kept| kept.as_ref().unwrap().len() <= KEPT_HEADER));
        }
    }

    #[test]
    fn a_line_says_of_what_is_not_kept_what_it_says_of_the_whole() {
        let token = "9f2c4e1ab07d33569f2c4e1ab07d3356";
        let words = |n: usize| "/a-word".repeat(n);
        let sent = |path: String, query: String, agent: Vec<u8>| {
            let referer = [b"https://other.example/?".to_vec(), agent.clone()].concat();
            (path, query, agent, referer)
        };
        // Longer than 2,048 bytes until it is redacted.
        check(&sent(
            format!("/{}{}", token.repeat(100), words(9)),
            format!("p={}", "x".repeat(400)),
            vec![b'a'; 300_000],
        ));
        check(&sent(format!("{}/{token}", words(400)), "token=x&".repeat(4_000), "\u{e9}".repeat(4_000).into_bytes()));
        // A token stands across the border.
        check(&sent(
            format!("{}/{token}/1-2-3", words(290)),
            format!("{}{token}{token}", "&".repeat(1_000)),
            vec![0xFF; 700],
        ));
        check(&sent(format!("/id/42{}", words(400)), "a1=1&s=2&q=3;b=4&".repeat(100), vec![0xF0; 515]));
        let map = sent(format!("/sitemap{}", words(400)), String::new(), Vec::new());
        check(&map);
        let map = made(&map, &Settings::default());
        assert!(map.is_like_sitemap() && !map.is_like_article());
        let short = sent("/a".into(), "p=1".into(), b"curl/8.5.0".to_vec());
        check(&short);
        assert!(made(&short, &Settings::default()).overlong.is_none());
        let json: serde_json::Value = serde_json::from_str(
            lines(&made(&sent(words(400), "x".into(), vec![0xFF; 600]), &Settings::default()), &Settings::default())
                .lines()
                .next()
                .unwrap(),
        )
        .unwrap();
        let expect = ["url.path:2800", "user_agent.original:1800", "http.request.header.referer:1823"];
        assert_eq!(json["deckle.truncated"], serde_json::json!(expect));
        let lossy = ["user_agent.original", "http.request.header.referer"];
        assert_eq!(json["deckle.lossy"], serde_json::json!(lossy));
    }

    /// Beginnings and ends of characters, and what is neither.
    const BYTES: [u8; 11] = [b'a', 0x80, 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0xFF];

    proptest! {
        #[test]
        fn characters_across_the_border_and_bytes_that_are_none_change_nothing(
            before in 500_usize..520,
            bytes in proptest::collection::vec(proptest::sample::select(BYTES.to_vec()), 0..40),
            path in r"(/[a-z0-9@.-]{1,40}){0,120}",
            query in r"([a-z]{1,3}=?[a-z0-9]{0,40}[&;]){0,60}",
        ) {
            let long = [vec![b'x'; before], bytes.clone()].concat();
            check(&(format!("/{path}"), query, long.clone(), [b"/".to_vec(), long].concat()));
        }
    }

    #[test]
    fn of_a_referrer_the_origin_is_kept_and_the_path_on_the_same_site() {
        for (sent, expect) in [
            ("https://news.example/a?x=1#f", "https://news.example/a"),
            ("https://News.Example", "https://News.Example"),
            ("https://ann:secret@news.example/a#f", "https://news.example/a"),
            ("https://ann@other.example/a", "https://other.example/"),
            ("https://other.example", "https://other.example/"),
            ("/a?x", "/a"),
            ("", ""),
        ] {
            assert_eq!(cut_referer(sent, "news.example"), expect, "{sent}");
        }
    }

    #[test]
    fn long_names_that_differ_behind_what_is_kept_are_two() {
        let id = |agent: &[u8]| {
            let mut overlong = Overlong::default();
            let user_agent = Some(overlong.user_agent(agent));
            let record = AuditRecord { user_agent, overlong: overlong.if_any(), ..blank() };
            record.user_agent_parts().concat()
        };
        let long = vec![b'a'; KEPT_HEADER];
        let names = [long.clone(), [&long[..], b"b"].concat(), [&long[..], b"c"].concat()];
        let ids = names.each_ref().map(|name| id(name));
        assert_eq!(ids[0], long, "one that is kept whole is its own bytes");
        assert!(ids[1] != ids[2] && ids[0] != ids[1] && ids[1].len() == KEPT_HEADER + 32);
        assert_eq!(id(&names[1]), ids[1]);
    }

    #[test]
    fn of_a_long_trace_the_ids_are_kept() {
        let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (sent, expect) in [
            (format!("00-{ids}-01"), Some(format!("00-{ids}-01"))),
            (format!("cc-{ids}-01-{}", "x".repeat(300_000)), Some(format!("00-{ids}-00"))),
            (format!("{}-{ids}", "x".repeat(300)), Some(format!("00-{ids}-00"))),
            (format!("00-{ids}{}", "0".repeat(300)), None),
            ("x".repeat(300_000), None),
        ] {
            assert_eq!(trace_parent(&sent), expect);
        }
    }
}
