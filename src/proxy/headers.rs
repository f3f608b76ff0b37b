//! Header fields that belong to one hop, and those that tell the next hop about the last (RFC 9110 §7.6, RFC 7239).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use smallvec::SmallVec;

use crate::page::{OF_THE_CONNECTION, is_claim, nominated};
use crate::visitor::{AddressSource, ClientAddress};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields of one connection that only requests have: they are for the first proxy (RFC 9110 §11.7.2, RFC 7540 §3.2.1).
static OF_REQUESTS: [HeaderName; 2] = [header::PROXY_AUTHORIZATION, HeaderName::from_static("http2-settings")];

/// Fields of one connection, besides those that `Connection` names. `Trailer` is no such: it stays as far as it holds.
fn hop_by_hop() -> impl Iterator<Item = &'static HeaderName> {
    OF_THE_CONNECTION.iter().chain(&OF_REQUESTS)
}

/// Fields that nobody may have removed by naming them in `Connection`: they are for more than one hop, and some protect
/// the site's readers.
const PROTECTED: [&str; 19] = [
    "host",
    "content-length",
    "cookie",
    "authorization",
    "forwarded",
    "via",
    "accept-encoding",
    "content-encoding",
    "content-type",
    "cache-control",
    "etag",
    "vary",
    "set-cookie",
    "content-security-policy",
    "content-security-policy-report-only",
    "strict-transport-security",
    "x-frame-options",
    "x-content-type-options",
    "referrer-policy",
];

/// Takes out what belongs to the hop that the message came over. `TE: trailers` stays.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Many messages have none of them.
    let is_of_hop = |name: &HeaderName| *name == header::TRAILER || hop_by_hop().any(|field| field == name);
    if !headers.keys().any(is_of_hop) {
        return;
    }
    let is_protected = |name: &str| PROTECTED.contains(&name) || name.starts_with("x-forwarded-");
    let nominated: SmallVec<[HeaderName; 2]> = nominated(headers).filter(|name| !is_protected(name.as_str())).collect();
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|v| v.to_str().is_ok_and(|l| l.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers"))));
    for name in nominated {
        headers.remove(name);
    }
    for name in hop_by_hop() {
        headers.remove(name);
    }
    strip_announced(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Fields that may not stand behind a body, besides those of one hop, the protected ones and the claims: framing, routing,
/// how to read it, who asks (RFC 9110 §6.5.1).
static NO_TRAILERS: [HeaderName; 22] = [
    header::CONTENT_RANGE,
    header::TRAILER,
    header::WWW_AUTHENTICATE,
    header::PROXY_AUTHENTICATE,
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::LOCATION,
    header::RETRY_AFTER,
    header::PRAGMA,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::LAST_MODIFIED,
    header::ACCEPT_RANGES,
    header::WARNING,
    header::REFRESH,
];

fn is_trailer(name: &str) -> bool {
    let stray = hop_by_hop().chain(&NO_TRAILERS).any(|field| field == name);
    !stray && !PROTECTED.contains(&name) && !is_claim(name)
}

/// Takes out of trailers what is none.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    let strays: Vec<HeaderName> = trailers.keys().filter(|name| !is_trailer(name.as_str())).cloned().collect();
    for name in strays {
        trailers.remove(name);
    }
}

/// Announces what will come.
fn strip_announced(headers: &mut HeaderMap) {
    if !headers.contains_key(header::TRAILER) {
        return;
    }
    let lines = headers.get_all(header::TRAILER).iter().filter_map(|v| v.to_str().ok());
    let names: Vec<&str> = lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty() && is_trailer(&name.to_ascii_lowercase()))
        .collect();
    let value = HeaderValue::from_str(&names.join(", ")).ok().filter(|value| !value.is_empty());
    headers.remove(header::TRAILER);
    headers.extend(value.map(|value| (header::TRAILER, value)));
}

/// Tells the upstream who the client is. What the client itself claims goes, unless a trusted hop said it.
pub(super) fn set_forwarded(headers: &mut HeaderMap, from: &ClientAddress, secure: bool, host: Option<&HeaderValue>) {
    let told = |name: HeaderName| from.trusted.then(|| headers.get(name).cloned()).flatten();
    let (proto, told_host) = (told(X_FORWARDED_PROTO), told(X_FORWARDED_HOST));
    let chain = chain(headers, from);
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    if let Ok(value) = HeaderValue::try_from(chain)
        && !value.is_empty()
    {
        headers.insert(X_FORWARDED_FOR, value);
    }
    let scheme = HeaderValue::from_static(if secure { "https" } else { "http" });
    headers.insert(X_FORWARDED_PROTO, proto.unwrap_or(scheme));
    if let Some(host) = told_host.or_else(|| host.cloned()) {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// The hops so far: the list that was believed, or the client that was found another way, and the peer.
fn chain(headers: &HeaderMap, from: &ClientAddress) -> String {
    match (from.source, from.ip, from.peer) {
        (AddressSource::XForwardedFor, ip, peer) => {
            let mut hops: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
            let peer = peer.or(ip).map(|peer| peer.to_string());
            hops.extend(peer.as_deref());
            hops.join(", ")
        }
        (_, Some(ip), Some(peer)) => format!("{ip}, {peer}"),
        (_, Some(one), None) | (_, None, Some(one)) => one.to_string(),
        (_, None, None) => String::new(),
    }
}

/// What this hop says of itself, by the protocol over which a message came (RFC 9110 §7.6.3).
#[derive(Debug)]
pub(super) struct Via(Vec<(Version, HeaderValue)>);

impl Via {
    /// `pseudonym`: its name.
    pub(super) fn new(pseudonym: &str) -> Self {
        let of = |version, number| Some((version, format!("{number} {pseudonym}").parse().ok()?));
        let all = [of(Version::HTTP_10, "1.0"), of(Version::HTTP_11, "1.1"), of(Version::HTTP_2, "2.0")];
        Self(all.into_iter().flatten().collect())
    }

    /// Appends this hop.
    pub(super) fn append(&self, headers: &mut HeaderMap, version: Version) {
        if let Some((_, via)) = self.0.iter().find(|(of, _)| *of == version) {
            headers.append(header::VIA, via.clone());
        }
    }
}

/// One length, however often the site has named it (RFC 9110 §8.6); none, where it has named two.
pub(super) fn join_lengths(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let Some(first) = lengths.next() else { return };
    let Some(second) = lengths.next() else { return };
    let one = (first == second && lengths.all(|length| length == first)).then(|| HeaderValue::from_bytes(first));
    match one {
        Some(Ok(one)) => _ = headers.insert(header::CONTENT_LENGTH, one),
        _ => _ = headers.remove(header::CONTENT_LENGTH),
    }
}

/// How many more hops a question about the way may take (RFC 9110 §7.6.2).
pub(super) fn max_forwards(method: &Method, headers: &HeaderMap) -> Option<u64> {
    if *method != Method::OPTIONS {
        return None;
    }
    headers.get(header::MAX_FORWARDS)?.to_str().ok()?.parse().ok()
}

/// The request has been here before, or over too many hops.
pub(super) fn is_loop(headers: &HeaderMap, pseudonym: &str) -> bool {
    const MAX_HOPS: usize = 10;
    let lines = headers.get_all(header::VIA).iter().filter_map(|v| v.to_str().ok());
    let mut hops = lines.flat_map(|line| line.split(',')).zip(1..);
    hops.any(|(hop, number)| number > MAX_HOPS || hop.trim().split(' ').nth(1) == Some(pseudonym))
}

/// HTTP/2 may split cookies over several fields; HTTP/1.1 wants one (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(value) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, value);
    }
}

/// The name that the client asked by, and whether over TLS.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) secure: bool,
}

/// A site that is asked by its own name speaks of itself by that name: addresses in its answer become the client's, and
/// cookies that of the host that set them.
pub(super) fn rename(headers: &mut HeaderMap, site: &str, asked: &Asked) {
    for name in [header::LOCATION, header::CONTENT_LOCATION, header::REFRESH] {
        let Some(text) = headers.get(&name).and_then(|v| v.to_str().ok()) else { continue };
        let renamed = ["http://", "https://"].iter().find_map(|scheme| {
            let own = format!("{scheme}{site}");
            let at = text.to_ascii_lowercase().find(&own.to_ascii_lowercase())?;
            let rest = text.get(at + own.len()..)?;
            // Another host may begin with the same letters.
            let ends = rest.is_empty() || rest.starts_with(['/', '?', '#', '"', '\'', ';', ' ']);
            let before = text.get(..at).filter(|_| ends)?;
            let scheme = if asked.secure { "https" } else { "http" };
            Some(format!("{before}{scheme}://{}{rest}", asked.host))
        });
        if let Some(value) = renamed.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    let host = site.rsplit_once(':').map_or(site, |(host, _)| host);
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, without_domain(&cookie, host).unwrap_or(cookie));
    }
}

/// The cookie without a `Domain` that is this host; `None`: it stays.
fn without_domain(cookie: &HeaderValue, host: &str) -> Option<HeaderValue> {
    let text = cookie.to_str().ok()?;
    let is_own = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        name.trim().eq_ignore_ascii_case("domain") && value.trim().trim_start_matches('.').eq_ignore_ascii_case(host)
    };
    let kept: Vec<&str> = text.split(';').filter(|part| !is_own(part)).collect();
    let renamed = kept.join(";");
    (renamed != text).then(|| HeaderValue::from_str(&renamed).ok()).flatten()
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

    #[test]
    fn nobody_names_a_field_of_protection_in_connection() {
        let mut headers = map(&[
            ("connection", "close, Content-Security-Policy, strict-transport-security, x-forwarded-for, X-Private"),
            ("content-security-policy", "default-src 'self'"),
            ("strict-transport-security", "max-age=1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-private", "1"),
        ]);
        strip_hop_by_hop(&mut headers);
        let left: std::collections::BTreeSet<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-security-policy", "strict-transport-security", "x-forwarded-for"].into());
    }

    #[test]
    fn each_field_of_one_connection_goes_alone_too() {
        let kept = map(&[("host", "news.example"), ("x-private", "1"), ("cookie", "a=1"), ("cookie", "b=2")]);
        let mut same = kept.clone();
        strip_hop_by_hop(&mut same);
        assert_eq!(same, kept);
        for name in hop_by_hop().cloned().chain([header::TRAILER]) {
            let mut headers = kept.clone();
            headers.insert(name.clone(), HeaderValue::from_static("host"));
            strip_hop_by_hop(&mut headers);
            assert_eq!(headers, kept, "{name}");
        }
        let mut headers = map(&[("connection", "x-private"), ("x-private", "1"), ("host", "news.example")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("host", "news.example")]));
        let mut headers = map(&[("trailer", "x-sum, host")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("trailer", "x-sum")]));
    }

    #[test]
    fn a_site_by_its_own_name_is_renamed() {
        let asked = Asked { host: "news.example".to_owned(), secure: true };
        for (name, before, after) in [
            ("location", "http://127.0.0.1:8080/a?b", "https://news.example/a?b"),
            ("location", "HTTPS://127.0.0.1:8080", "https://news.example"),
            ("location", "http://127.0.0.1:80801/", "http://127.0.0.1:80801/"),
            ("location", "/a", "/a"),
            ("content-location", "http://127.0.0.1:8080/x", "https://news.example/x"),
            ("refresh", "5; url=http://127.0.0.1:8080/x", "5; url=https://news.example/x"),
            ("set-cookie", "a=b; Domain=127.0.0.1; Path=/", "a=b; Path=/"),
            ("set-cookie", "a=b; domain=.127.0.0.1", "a=b"),
            ("set-cookie", "a=domain; Domain=other.example", "a=domain; Domain=other.example"),
        ] {
            let mut headers = map(&[(name, before)]);
            rename(&mut headers, "127.0.0.1:8080", &asked);
            assert_eq!(headers[name], after, "{before}");
        }
        let mut two = map(&[("set-cookie", "a=1"), ("set-cookie", "b=2; Domain=127.0.0.1")]);
        rename(&mut two, "127.0.0.1:8080", &asked);
        assert_eq!(two.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    }

    #[test]
    fn nominated_fields_go_and_protected_ones_stay() {
        let mut headers = map(&[
            ("connection", "close, X-Forwarded-For, Foo, Cookie"),
            ("x-forwarded-for", "1.2.3.4"),
            ("foo", "bar"),
            ("cookie", "a=b"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMA"),
        ]);
        strip_hop_by_hop(&mut headers);
        set_forwarded(&mut headers, &address("203.0.113.9", None, AddressSource::Peer), false, None);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cookie", "te", "x-forwarded-for", "x-forwarded-proto"]);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
        assert_eq!(headers["te"], "trailers");
    }

    fn address(ip: &str, peer: Option<&str>, source: AddressSource) -> ClientAddress {
        ClientAddress {
            ip: ip.parse().ok(),
            peer: peer.and_then(|p| p.parse().ok()),
            source,
            hops: 0,
            spoof: false,
            trusted: source != AddressSource::Peer,
        }
    }

    #[test]
    fn a_trusted_hop_is_continued() {
        let said = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "198.51.100.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "news.example"),
            ("x-forwarded-port", "443"),
            ("fastly-client-ip", "6.6.6.6"),
        ];
        let mut headers = map(&said);
        let from = address("203.0.113.9", Some("10.0.0.1"), AddressSource::XForwardedFor);
        set_forwarded(&mut headers, &from, false, Some(&HeaderValue::from_static("inner")));
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9, 198.51.100.2, 10.0.0.1");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-host"]),
            (&"https".parse().unwrap(), &"news.example".parse().unwrap())
        );
        assert!(!headers.contains_key("x-forwarded-port") && !headers.contains_key("fastly-client-ip"));
        // Another field was asked: what X-Forwarded-For holds was never checked.
        let mut headers = map(&said);
        set_forwarded(&mut headers, &address("192.0.2.7", Some("10.0.0.1"), AddressSource::Single), false, None);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7, 10.0.0.1");
        // Whatever was believed is passed on as it came.
        let mut headers = map(&[("x-forwarded-for", ""), ("x-forwarded-for", "203.0.113.9 , 2001:db8::1")]);
        set_forwarded(&mut headers, &address("203.0.113.9", None, AddressSource::XForwardedFor), false, None);
        assert_eq!(headers["x-forwarded-for"], ", 203.0.113.9 , 2001:db8::1, 203.0.113.9");
        let mut headers = map(&[]);
        set_forwarded(&mut headers, &address("", None, AddressSource::Peer), false, None);
        assert!(!headers.contains_key("x-forwarded-for"));
        set_forwarded(&mut headers, &address("2001:db8::1", None, AddressSource::Peer), true, None);
        assert_eq!(
            (&headers["x-forwarded-for"], &headers["x-forwarded-proto"]),
            (&"2001:db8::1".parse().unwrap(), &"https".parse().unwrap())
        );
    }

    #[test]
    fn loops_are_seen() {
        assert!(is_loop(&map(&[("via", "1.1 a, 1.1 0a0b0c0d")]), "0a0b0c0d"));
        assert!(!is_loop(&map(&[("via", "1.1 a")]), "0a0b0c0d"));
        assert!(is_loop(&map(&[("via", &"1.1 x,".repeat(12))]), "0a0b0c0d"));
        assert!(is_loop(&map(&[("via", &"1.1 x,".repeat(10))]), "0a0b0c0d"), "the last one has no name");
        assert!(!is_loop(&map(&[("via", &"1.1 x,".repeat(9))]), "0a0b0c0d"));
        assert!(!is_loop(&map(&[]), "0a0b0c0d"));
        let mut cookies = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut cookies);
        assert_eq!(cookies["cookie"], "a=1; b=2");
        assert_eq!(cookies.get_all("cookie").iter().count(), 1);
        for few in [map(&[]), map(&[("cookie", "a=1")])] {
            let mut joined = few.clone();
            join_cookies(&mut joined);
            assert_eq!(joined, few);
        }
    }
}
