//! The head of a page that is packed, for answers that the site confirms by its validator (RFC 9111 §3, §4.3).

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::has_directive;
use crate::page::connection::{OF_THE_CONNECTION, is_claim, named, nominated};
use crate::page::etag::EntityTag;
use crate::page::policy::PagePolicy;

/// Of the connection of an answer, too (RFC 9110 §11.7.3, §6.6.2).
static OF_AN_ANSWER: [HeaderName; 2] = [HeaderName::from_static("proxy-authentication-info"), header::TRAILER];
/// Fields of one message, what a signature said of them, and names that servers give to one request. A 304 says `Expires` anew
/// (RFC 9110 §15.4.5).
const OF_ONE_MESSAGE: [&str; 17] = [
    "age",
    "authentication-info",
    "cf-ray",
    "content-length",
    "content-range",
    "date",
    "expires",
    "server-timing",
    "set-cookie",
    "signature",
    "signature-input",
    "traceparent",
    "traceresponse",
    "x-amz-cf-id",
    "x-request-id",
    "x-runtime",
    "x-varnish",
];
/// What the packed page depends on, and its validators; a 304 changes none of it (RFC 9111 §3.2).
const OF_THE_BODY: [&str; 6] =
    ["content-encoding", "content-length", "content-range", "content-type", "etag", "last-modified"];
/// By what a site tells whether a page is the same one still: two with one strong tag are equal byte by byte (RFC 9110 §8.8.1).
/// A date would say when a page was changed, and nothing of whom it is for or in which form.
pub(crate) fn strong_tag(headers: &HeaderMap) -> Option<EntityTag> {
    let mut tags = headers.get_all(header::ETAG).iter();
    let tag = EntityTag::parse(tags.next()?.as_bytes())?;
    (!tag.weak && tags.next().is_none()).then_some(tag)
}

/// What tells the representations of a page apart: the fields that `Vary` names, as the site got them.
type Vary = Box<[(HeaderName, Box<[HeaderValue]>)]>;

/// Where the values of those fields are found.
pub(crate) enum Sent<'a> {
    /// In the request.
    Request(&'a HeaderMap),
    /// The request had those of a head that is stored.
    Like(&'a Head),
}

/// The head of a page as the site has sent it, without what belongs to one message. Equal ones are for the same requests.
#[derive(Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) tag: EntityTag,
    pub(crate) fields: HeaderMap,
    /// What the site has said in the extensions of the answer.
    pub(crate) policy: Option<PagePolicy>,
    vary: Vary,
}

impl Head {
    /// `None`: it may not be stored, or its page cannot be confirmed.
    pub(crate) fn of(answer: &Parts, sent: &Sent<'_>) -> Option<Self> {
        if answer.status != StatusCode::OK || !is_storable(&answer.headers) {
            return None;
        }
        let tag = strong_tag(&answer.headers)?;
        let names = varying(&answer.headers)?.into_iter();
        let vary = names.map(|name| sent.values(&name).map(|values| (name, values))).collect::<Option<Vary>>()?;
        let policy = answer.extensions.get::<PagePolicy>().copied();
        Some(Self { tag, fields: lasting(&answer.headers), policy, vary })
    }

    /// May an answer to this request be made of it, if the site confirms it?
    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        // RFC 9111 §3.5.
        let proves = request.contains_key(header::AUTHORIZATION) && !has_directive(&self.fields, "public");
        let same = self.vary.iter().all(|(name, values)| request.get_all(name).iter().eq(values.iter()));
        !proves && same
    }

    /// Has an answer the same fields that last, and does the site wish the same?
    pub(crate) fn is_that_of(&self, answer: &Parts) -> bool {
        lasting(&answer.headers) == self.fields && answer.extensions.get::<PagePolicy>().copied() == self.policy
    }

    /// The same of an answer whose head is made.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        self.fields == other.fields && self.policy == other.policy
    }

    /// With the fields of the 304 that confirms it (RFC 9111 §3.2).
    pub(crate) fn updated(&self, confirmed: &HeaderMap) -> HeaderMap {
        let mut fields = self.fields.clone();
        let own = of_the_connection(confirmed);
        let is_kept = |name: &HeaderName| OF_THE_BODY.contains(&name.as_str()) || own.contains(name);
        for name in confirmed.keys().filter(|name| !is_kept(name)) {
            fields.remove(name);
            for value in confirmed.get_all(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        fields
    }

    /// Bytes in memory, about.
    pub(super) fn size(&self) -> usize {
        let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + FIELD_BYTES;
        let vary = self.vary.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        size_of::<Self>() + self.fields.iter().chain(vary).map(field).sum::<usize>()
    }
}

/// Of a field, besides its name and value.
const FIELD_BYTES: usize = 104;

impl Sent<'_> {
    fn values(&self, name: &HeaderName) -> Option<Box<[HeaderValue]>> {
        match self {
            Self::Request(fields) => Some(fields.get_all(name).iter().map(own).collect()),
            Self::Like(head) => head.vary.iter().find(|(other, _)| other == name).map(|(_, values)| values.clone()),
        }
    }
}

/// May deckle store an answer with these fields for others (RFC 9111 §3)?
fn is_storable(headers: &HeaderMap) -> bool {
    may_be_kept(headers) && !has_directive(headers, "private") && !headers.contains_key(header::SET_COOKIE)
}

/// May anything be kept of an answer with these fields? A line of `Cache-Control` that is no text may say that it must not.
pub(crate) fn may_be_kept(headers: &HeaderMap) -> bool {
    let readable = headers.get_all(header::CACHE_CONTROL).iter().all(|line| line.to_str().is_ok());
    readable && !has_directive(headers, "no-store")
}

/// The names in `Vary`. `None`: nobody can tell by what the answer varies.
fn varying(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in headers.get_all(header::VARY) {
        for text in line.to_str().ok()?.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            // `*` is a token, too.
            let name = text.parse::<HeaderName>().ok().filter(|name| name.as_str() != "*")?;
            // A proxy writes these itself: what the client has sent in them is not what the site gets.
            if is_claim(name.as_str()) || name == header::HOST || name == header::VIA {
                return None;
            }
            names.push(name);
        }
    }
    Some(names)
}

/// In memory of its own: as it came, it would keep alive all that was read of the connection together with it.
fn own(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}

fn lasting(headers: &HeaderMap) -> HeaderMap {
    let mut fields: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), own(value))).collect();
    for name in &of_the_connection(headers) {
        fields.remove(name);
    }
    for name in OF_ONE_MESSAGE {
        fields.remove(name);
    }
    fields
}

/// Does `Connection` name fields that are not of the connection? A proxy takes them away, and what the site gets is something else
/// than what the client has sent.
pub(crate) fn nominates(headers: &HeaderMap) -> bool {
    // Browsers name `keep-alive`, and nothing else.
    let is_own = |name: &str| always_of_the_connection().any(|own| name.eq_ignore_ascii_case(own.as_str()));
    named(headers).any(|name| !is_own(name) && headers.contains_key(name))
}

/// The fields that go no further than one connection.
fn of_the_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    nominated(headers).chain(always_of_the_connection().cloned()).collect()
}

fn always_of_the_connection() -> impl Iterator<Item = &'static HeaderName> {
    OF_THE_CONNECTION.iter().chain(&OF_AN_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn head(lines: &[(&'static str, &str)], request: &HeaderMap) -> Option<Head> {
        let mut parts = http::Response::new(()).into_parts().0;
        parts.headers = map(lines);
        Head::of(&parts, &Sent::Request(request))
    }

    const TAG: (&str, &str) = ("etag", "\"v1\"");

    #[test]
    fn a_request_nominates_what_is_there_and_not_always_of_the_connection() {
        for (connection, nominated) in [
            ("keep-alive", false),
            ("Keep-Alive, TE", false),
            ("close, X-Own", true),
            ("x-absent, trailer", false),
            ("not a name,,x-own;", false),
        ] {
            let lines = [("connection", connection), ("keep-alive", "5"), ("te", "trailers"), ("trailer", "x")];
            let mut headers = map(&lines);
            headers.insert("x-own", "1".parse().unwrap());
            assert_eq!(nominates(&headers), nominated, "{connection}");
        }
    }

    #[test]
    fn only_a_strong_tag_stands_for_a_page() {
        let date = ("last-modified", "Sun, 01 Feb 2026 00:00:00 GMT");
        for (lines, holds) in [
            (vec![TAG], true),
            (vec![TAG, date], true),
            (vec![("etag", "W/\"v1\""), date], false),
            (vec![("etag", "v1")], false),
            (vec![TAG, TAG], false),
            (vec![date], false),
            (vec![], false),
        ] {
            assert_eq!(strong_tag(&map(&lines)), EntityTag::parse(b"\"v1\"").filter(|_| holds), "{lines:?}");
        }
    }

    #[test]
    fn a_head_keeps_nothing_alive_but_itself() {
        let read = bytes::Bytes::from(vec![b'a'; 400_000]);
        let part = || HeaderValue::from_maybe_shared(read.slice(7..12)).unwrap();
        let mut request = HeaderMap::new();
        request.insert("accept-language", part());
        let mut parts = http::Response::new(()).into_parts().0;
        parts.headers = map(&[TAG, ("vary", "accept-language")]);
        parts.headers.append("x-own", part());
        parts.headers.append("x-own", part());
        let head = Head::of(&parts, &Sent::Request(&request)).unwrap();
        assert!(head.fits(&request) && head.fields.get_all("x-own").iter().count() == 2);
        drop((parts, request));
        assert!(read.is_unique());
    }

    #[test]
    fn what_may_not_be_stored_is_not() {
        let request = HeaderMap::new();
        assert!(head(&[TAG, ("cache-control", "public, max-age=60")], &request).is_some());
        for line in [
            ("set-cookie", "a=b"),
            ("cache-control", "max-age=0, private"),
            ("cache-control", "no-store"),
            ("vary", "*"),
            ("vary", "accept, x-forwarded-proto"),
            ("vary", "Forwarded"),
            ("vary", "not a name"),
        ] {
            assert!(head(&[TAG, line], &request).is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_line_on_caches_that_is_no_text_forbids_to_store() {
        let mut fields = map(&[("cache-control", "max-age=60")]);
        assert!(is_storable(&fields) && may_be_kept(&fields));
        fields.append("cache-control", HeaderValue::from_bytes(b"no-store, x=\xe9").unwrap());
        assert!(!is_storable(&fields) && !may_be_kept(&fields));
    }

    #[test]
    fn a_head_is_that_of_answers_with_the_same_fields_that_last_and_the_same_policy() {
        let head = head(&[TAG, ("x-own", "1"), ("age", "7")], &HeaderMap::new()).unwrap();
        let mut parts = http::Response::new(()).into_parts().0;
        for (lines, same) in [
            (vec![TAG, ("x-own", "1"), ("date", "Sun, 01 Feb 2026 00:00:00 GMT"), ("set-cookie", "a=b")], true),
            (vec![TAG, ("x-own", "2")], false),
            (vec![TAG, ("x-own", "1"), ("x-own", "1")], false),
            (vec![TAG], false),
            (vec![TAG, ("x-own", "1")], true),
        ] {
            parts.headers = map(&lines);
            assert_eq!(head.is_that_of(&parts), same, "{lines:?}");
        }
        parts.extensions.insert(PagePolicy::default());
        assert!(!head.is_that_of(&parts));
    }

    #[test]
    fn a_head_is_for_requests_with_the_same_fields_that_it_varies_by() {
        let request = map(&[("accept-language", "en"), ("accept-encoding", "gzip")]);
        let head = head(&[TAG, ("vary", "Accept-Language, accept-encoding"), ("vary", "Origin")], &request).unwrap();
        assert!(head.fits(&request));
        let with = |name: &'static str, value: &str| {
            let mut other = request.clone();
            other.insert(name, value.parse().unwrap());
            head.fits(&other)
        };
        assert!(with("user-agent", "x") && with("cookie", "a=b"));
        assert!(!with("accept-language", "de") && !with("origin", "https://a.example"));
        assert!(!with("authorization", "Basic eDp5"));
        // Another answer to the same request knows its fields by this one.
        let mut parts = http::Response::new(()).into_parts().0;
        for (vary, known) in [("origin", true), ("Accept-Encoding", true), ("accept", false)] {
            parts.headers = map(&[("etag", "\"v2\""), ("vary", vary)]);
            assert_eq!(Head::of(&parts, &Sent::Like(&head)).is_some(), known, "{vary}");
        }
    }

    #[test]
    fn who_proves_who_they_are_gets_what_is_public() {
        let request = HeaderMap::new();
        let proof = map(&[("authorization", "Basic eDp5")]);
        let public = head(&[TAG, ("cache-control", "public")], &request).unwrap();
        assert!(public.fits(&proof));
    }

    #[test]
    fn a_304_replaces_fields_but_those_of_the_body_and_of_its_connection() {
        let lines = [
            TAG,
            ("content-type", "text/html"),
            ("content-length", "9"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("age", "7"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("cache-control", "max-age=60"),
        ];
        let head = head(&lines, &HeaderMap::new()).unwrap();
        let confirmed = map(&[
            ("cache-control", "max-age=5, private"),
            ("date", "Sun, 01 Feb 2026 00:00:00 GMT"),
            ("age", "9"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("etag", "W/\"v2\""),
            ("last-modified", "Sun, 01 Feb 2026 00:00:00 GMT"),
            ("connection", "keep-alive, x-once"),
            ("keep-alive", "timeout=5"),
            ("x-once", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("content-length", "0"),
        ]);
        let fields = head.updated(&confirmed);
        let expect = map(&[
            TAG,
            ("content-type", "text/html"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("cache-control", "max-age=5, private"),
            ("date", "Sun, 01 Feb 2026 00:00:00 GMT"),
            ("age", "9"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ]);
        assert_eq!(fields, expect);
    }
}
