//! Header fields of the request that goes in and of the response that comes out, so that a rewritten page stays a
//! correct HTTP response (RFC 9110, RFC 9111).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::accept::accept_encoding;
use super::encoding::Coding;
use super::etag::{EntityTag, TagMap, original};
use super::signature;

/// Fields that a rewritten body makes wrong (RFC 9530 §2–3, RFC 3230, RFC 1864).
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// What a path answers with, by all that is known before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Page,
    /// Feeds and what is for programs: their entity tags are the site's.
    Data,
    /// A file that is no page, by its path or by what the browser wants it for: so are its ranges.
    Asset,
}

/// Does the answer say that it is HTML (RFC 9110 §8.3)?
pub(crate) fn is_html(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html")
}

/// Changes a request so that the answer can be rewritten.
pub(crate) fn prepare_request(
    method: &Method,
    headers: &mut HeaderMap,
    expected: Expected,
    tags: &TagMap<'_>,
    activated: u64,
) {
    if matches!(*method, Method::GET | Method::HEAD) {
        // A part of a page would be a part without marks (RFC 9110 §14.2: a server may ignore Range). Of several at once
        // nothing shows what they are parts of.
        let several = headers.get(header::RANGE).is_some_and(|v| v.as_bytes().contains(&b','));
        if expected != Expected::Asset || several {
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        let page = expected == Expected::Page;
        map_none_match(headers, !page, tags);
        if page && let Some(since) = headers.get(header::IF_MODIFIED_SINCE) {
            let older = since.to_str().ok().and_then(parse_date).is_none_or(|date| date < activated);
            if older {
                headers.remove(header::IF_MODIFIED_SINCE);
            }
        }
    } else {
        map_match(headers, header::IF_NONE_MATCH);
    }
    map_match(headers, header::IF_MATCH);
    narrow_codings(headers);
}

/// Asks for no coding that deckle cannot read.
fn narrow_codings(headers: &mut HeaderMap) {
    let narrower = joined_text(headers, &header::ACCEPT_ENCODING).and_then(|accepted| {
        let wanted = accept_encoding(&accepted);
        let same = matches!(accepted, Cow::Borrowed(line) if line == wanted);
        if same { None } else { HeaderValue::from_str(&wanted).ok() }
    });
    if let Some(value) = narrower {
        headers.insert(header::ACCEPT_ENCODING, value);
    }
}

fn map_none_match(headers: &mut HeaderMap, foreign: bool, tags: &TagMap<'_>) {
    let Some(list) = joined(headers, &header::IF_NONE_MATCH).filter(|list| **list != *b"*") else { return };
    let kept: Vec<HeaderValue> = EntityTag::parse_list(&list)
        .unwrap_or_default()
        .iter()
        .filter_map(|tag| tags.none_match(tag, foreign))
        .filter_map(|tag| tag.to_header())
        .collect();
    headers.remove(header::IF_NONE_MATCH);
    if kept.is_empty() {
        // It is only ignored while If-None-Match is there (RFC 9110 §13.1.3).
        headers.remove(header::IF_MODIFIED_SINCE);
    }
    if let Some(line) = join(&kept) {
        headers.insert(header::IF_NONE_MATCH, line);
    }
}

/// The tags of `If-None-Match`; `None`: it says `*`, or cannot be read.
pub(crate) fn none_match(headers: &HeaderMap) -> Option<Vec<EntityTag>> {
    EntityTag::parse_list(&joined(headers, &header::IF_NONE_MATCH).unwrap_or_default())
}

/// Asks with these tags and no others.
pub(crate) fn set_none_match(headers: &mut HeaderMap, tags: &[EntityTag]) {
    let values: Vec<HeaderValue> = tags.iter().filter_map(EntityTag::to_header).collect();
    if let Some(line) = join(&values) {
        headers.insert(header::IF_NONE_MATCH, line);
    }
}

fn map_match(headers: &mut HeaderMap, name: HeaderName) {
    let tags = joined(headers, &name).and_then(|list| EntityTag::parse_list(&list));
    let Some(tags) = tags.filter(|tags| !tags.is_empty()) else { return };
    let mapped: Vec<HeaderValue> = tags.iter().filter_map(|t| original(t).to_header()).collect();
    if let Some(line) = join(&mapped) {
        headers.insert(name, line);
    }
}

/// All lines of a field as one list. `None`: there is no such field.
pub(super) fn joined<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let mut list = Cow::Borrowed(lines.next()?.as_bytes());
    for line in lines {
        let list = list.to_mut();
        list.extend_from_slice(b", ");
        list.extend_from_slice(line.as_bytes());
    }
    Some(list)
}

/// The same as text; of a line that is none nothing is read.
fn joined_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, str>> {
    let mut lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let mut list = Cow::Borrowed(lines.next()?);
    for line in lines {
        let list = list.to_mut();
        list.push(',');
        list.push_str(line);
    }
    Some(list)
}

fn join(values: &[HeaderValue]) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() { None } else { HeaderValue::from_bytes(&lines.join(&b", "[..])).ok() }
}

/// How the answer was made.
pub(crate) struct Made<'m> {
    pub(crate) coding: Coding,
    pub(crate) tags: &'m TagMap<'m>,
    /// Copies differ by visitor.
    pub(crate) per_visitor: bool,
    /// The page may look different the next time without its source having changed.
    pub(crate) provisional: bool,
    /// When the present way of rewriting began, in seconds since 1970.
    pub(crate) activated: u64,
}

/// Changes the header of a page that is rewritten, or of its `HEAD` or 304.
pub(crate) fn rewrite_response(headers: &mut HeaderMap, made: &Made<'_>, not_modified: bool) {
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    if !not_modified {
        set_coding(headers, made.coding);
    }
    map_etag(headers, made);
    if let Some(date) = headers.get(header::LAST_MODIFIED).and_then(|v| v.to_str().ok()).and_then(parse_date)
        && date < made.activated
        && let Ok(value) = HeaderValue::from_str(&format_date(made.activated))
    {
        headers.insert(header::LAST_MODIFIED, value);
    }
    if made.provisional {
        headers.remove(header::ETAG);
        headers.remove(header::LAST_MODIFIED);
    }
    if made.per_visitor {
        make_private(headers);
    }
    add_vary(headers);
    for name in &DIGESTS {
        headers.remove(name);
    }
    strip_trailer_names(headers);
    signature::remove_broken(headers);
}

/// Changes the header of a text that gets something behind it.
pub(crate) fn text_changes(headers: &mut HeaderMap) {
    for name in [header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in &DIGESTS {
        headers.remove(name);
    }
    strip_trailer_names(headers);
    signature::remove_broken(headers);
}

fn set_coding(headers: &mut HeaderMap, coding: Coding) {
    match coding {
        Coding::Identity => {
            headers.remove(header::CONTENT_ENCODING);
        }
        coding => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.code()));
        }
    }
}

fn map_etag(headers: &mut HeaderMap, made: &Made<'_>) {
    let Some(value) = headers.get(header::ETAG) else { return };
    let mapped = EntityTag::parse(value.as_bytes()).and_then(|tag| made.tags.outgoing(&tag, made.coding).to_header());
    match mapped {
        Some(value) => {
            headers.insert(header::ETAG, value);
        }
        // Not a tag: it must not stand for bytes that it does not describe.
        None => {
            headers.remove(header::ETAG);
        }
    }
}

/// No shared cache may hand one visitor's copy to another (RFC 9111 §5.2.2.7, RFC 9213 §2).
fn make_private(headers: &mut HeaderMap) {
    let strict = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .any(|v| v.to_str().is_ok_and(|line| line.split(',').any(|d| d.trim().eq_ignore_ascii_case("no-store"))));
    let value = if strict { "private, no-store" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    let targeted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| matches!(name.as_str(), "expires" | "pragma") || is_for_shared_caches(name))
        .cloned()
        .collect();
    for name in targeted {
        headers.remove(name);
    }
}

/// What some shared caches obey in place of `Cache-Control` (RFC 9213 §2).
pub(crate) fn is_for_shared_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    let own = matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control");
    own || (name.ends_with("cache-control") && name != "cache-control")
}

fn add_vary(headers: &mut HeaderMap) {
    let present = headers.get_all(header::VARY).iter().filter_map(|v| v.to_str().ok()).any(|line| {
        line.split(',').any(|token| token.trim() == "*" || token.trim().eq_ignore_ascii_case("accept-encoding"))
    });
    if !present {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn strip_trailer_names(headers: &mut HeaderMap) {
    let Some(list) = joined_text(headers, &header::TRAILER) else { return };
    let names = list.split(',').map(str::trim);
    let kept: Vec<&str> =
        names.filter(|n| !n.is_empty() && !DIGESTS.iter().any(|d| n.eq_ignore_ascii_case(d.as_str()))).collect();
    let line = HeaderValue::from_str(&kept.join(", "));
    match line {
        Ok(value) if !kept.is_empty() => {
            headers.insert(header::TRAILER, value);
        }
        _ => {
            headers.remove(header::TRAILER);
        }
    }
}

/// Takes the digests out of trailers.
pub(crate) fn strip_digests(trailers: &mut HeaderMap) {
    for name in &DIGESTS {
        trailers.remove(name);
    }
}

/// Seconds since 1970 of an HTTP date (RFC 9110 §5.6.7).
pub(crate) fn parse_date(text: &str) -> Option<u64> {
    let time = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?.to_datetime().ok()?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    u64::try_from(time.as_second()).ok()
}

fn format_date(seconds: u64) -> String {
    jiff::Timestamp::from_second(seconds as i64)
        .map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: TagMap<'static> = TagMap { version: 3, visitor: None, volatile: false };

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn made(per_visitor: bool) -> Made<'static> {
        Made { coding: Coding::Gzip, tags: &TAGS, per_visitor, provisional: false, activated: 1_769_904_000 }
    }

    #[test]
    fn ranges_pass_for_assets_only() {
        let lines = [("range", "bytes=0-99"), ("if-range", "\"v1~dk3.g\"")];
        let mut page = map(&lines);
        prepare_request(&Method::GET, &mut page, Expected::Page, &TAGS, 0);
        assert!(page.is_empty());
        let mut asset = map(&lines);
        prepare_request(&Method::GET, &mut asset, Expected::Asset, &TAGS, 0);
        assert_eq!(asset.len(), 2);
    }

    #[test]
    fn validators_of_other_versions_are_dropped() {
        let date = "Sun, 01 Feb 2026 00:00:00 GMT";
        let with = |tag: &str| {
            let mut headers = map(&[("if-none-match", tag), ("if-modified-since", date)]);
            prepare_request(&Method::GET, &mut headers, Expected::Page, &TAGS, 1_769_904_000);
            headers
        };
        let current = with("\"x~dk2.i\", W/\"a,b~dk3s.g\"");
        assert_eq!(current["if-none-match"], "\"a,b\"");
        assert_eq!(current["if-modified-since"], date);
        assert!(with("\"x~dk2.i\"").is_empty());
        let mut put = map(&[("if-match", "W/\"abc~dk2s-00000000.g\"")]);
        prepare_request(&Method::PUT, &mut put, Expected::Page, &TAGS, 0);
        assert_eq!(put["if-match"], "\"abc\"");
    }

    #[test]
    fn dates_before_the_present_way_of_rewriting_are_dropped() {
        for (since, kept) in
            [("Thu, 15 Jan 2026 00:00:00 GMT", false), ("Sun, 01 Feb 2026 00:00:00 GMT", true), ("rubbish", false)]
        {
            let mut headers = map(&[("if-modified-since", since)]);
            prepare_request(&Method::GET, &mut headers, Expected::Page, &TAGS, 1_769_904_000);
            assert_eq!(headers.contains_key("if-modified-since"), kept, "{since}");
        }
        let mut response = map(&[("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")]);
        rewrite_response(&mut response, &made(false), false);
        assert_eq!(response["last-modified"], "Sun, 01 Feb 2026 00:00:00 GMT");
    }

    #[test]
    fn a_page_loses_what_its_body_makes_wrong() {
        let mut headers = map(&[
            ("content-encoding", "gzip"),
            ("etag", "\"v1\""),
            ("content-length", "812"),
            ("accept-ranges", "bytes"),
            ("repr-digest", "sha-256=:AA==:"),
            ("trailer", "Content-MD5, x-sum"),
        ]);
        rewrite_response(&mut headers, &made(false), false);
        assert_eq!(headers["etag"], "\"v1~dk3.g\"");
        assert_eq!(headers["accept-ranges"], "none");
        assert_eq!(headers["vary"], "Accept-Encoding");
        assert_eq!(headers["trailer"], "x-sum");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("repr-digest"));
    }

    #[test]
    fn codings_of_several_lines_are_asked_for_in_one() {
        for (lines, passed) in [
            (&["gzip, br"][..], "gzip, br"),
            (&["gzip,br"][..], "gzip, br"),
            (&["gzip", "br;q=0.5, compress", "zstd"][..], "gzip, br;q=0.5, zstd"),
            (&["gzip", " br"][..], "gzip, br"),
            (&["gzip", "br\u{e9}"][..], "gzip"),
            (&["", "compress"][..], "identity"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            prepare_request(&Method::GET, &mut headers, Expected::Page, &TAGS, 0);
            let got: Vec<&HeaderValue> = headers.get_all(header::ACCEPT_ENCODING).iter().collect();
            assert_eq!(got, [passed], "{lines:?}");
        }
        let mut none = HeaderMap::new();
        prepare_request(&Method::GET, &mut none, Expected::Page, &TAGS, 0);
        assert!(none.is_empty());
    }

    #[test]
    fn what_is_no_tag_does_not_leave() {
        for value in ["", "abc", "\"abc", "abc\"", "W/abc", "w/\"abc\"", "\"a\" \"b\"", "\"a\", \"b\"", "\"a b\"", "*"]
        {
            for not_modified in [false, true] {
                let mut headers = map(&[("etag", value)]);
                rewrite_response(&mut headers, &made(false), not_modified);
                assert!(!headers.contains_key("etag"), "{value}: {headers:?}");
            }
        }
    }

    #[test]
    fn a_marked_page_is_private() {
        let mut headers = map(&[
            ("cache-control", "public, s-maxage=600"),
            ("cdn-cache-control", "max-age=600"),
            ("surrogate-control", "max-age=1"),
            ("x-accel-expires", "600"),
            ("x-litespeed-cache-control", "public"),
            ("expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ]);
        rewrite_response(&mut headers, &made(true), false);
        assert_eq!(headers["cache-control"], "private, no-cache");
        for gone in
            ["cdn-cache-control", "surrogate-control", "expires", "x-accel-expires", "x-litespeed-cache-control"]
        {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        let mut strict = map(&[("cache-control", "no-store")]);
        rewrite_response(&mut strict, &made(true), false);
        assert_eq!(strict["cache-control"], "private, no-store");
    }

    #[test]
    fn vary_is_not_said_twice() {
        for vary in ["accept-encoding, Cookie", "*"] {
            let mut headers = map(&[("vary", vary)]);
            rewrite_response(&mut headers, &made(false), false);
            assert_eq!(headers.get_all("vary").iter().count(), 1, "{vary}");
        }
    }

    #[test]
    fn a_304_gets_the_tag_of_the_200() {
        let mut headers = map(&[("etag", "\"v1\"")]);
        rewrite_response(&mut headers, &made(false), true);
        assert_eq!(headers["etag"], "\"v1~dk3.g\"");
        assert_eq!(headers["accept-ranges"], "none");
    }
}
