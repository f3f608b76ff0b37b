//! The copy beacon: what the guard tells of a copy, where the site has asked for it (`page.guard.beacon`).
//!
//! A `POST` without body to `copied` under the mount, with four parameters: `v` = 1, `k` = `credit`, `quote` or `block`,
//! `b` = how long in four steps (up to 30, 100, 500 words, or more), `p` = path of the page. Never the text, and nothing
//! that names a reader: the event holds no address and no agent. A reader who asks not to be tracked is not counted.

use governor::{DefaultKeyedRateLimiter, Quota};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use bytes::Bytes;
use http_body_util::Full;

use crate::visitor::{Visitor, percent_decoded};

/// Longest path, in bytes.
const MAX_PATH: usize = 256;
/// Visitors that are told apart for their limit; beyond, those who have been silent are forgotten.
const MAX_VISITORS: usize = 4_096;
const BURST: u32 = 5;
const PER_MINUTE: u32 = 10;

/// Takes beacons.
#[derive(Debug)]
pub(super) struct Beacon {
    path: String,
    limiter: DefaultKeyedRateLimiter<u64>,
}

/// What a beacon says.
#[derive(Debug, PartialEq, Eq)]
struct Copied {
    kind: &'static str,
    bucket: u8,
    path: String,
}

impl Beacon {
    pub(super) fn new(mount: &str) -> Option<Self> {
        let quota = Quota::per_minute(PER_MINUTE.try_into().ok()?).allow_burst(BURST.try_into().ok()?);
        Some(Self { path: format!("{mount}/copied"), limiter: DefaultKeyedRateLimiter::keyed(quota) })
    }

    /// Answers a beacon; `None`: it is none.
    pub(super) fn answer(&self, request: &Parts) -> Option<Response<Full<Bytes>>> {
        if request.uri.path() != self.path {
            return None;
        }
        let mut response = Response::new(Full::default());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if request.method != Method::POST {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return Some(response);
        }
        *response.status_mut() = StatusCode::NO_CONTENT;
        if is_welcome(&request.headers) && self.has_room(request) {
            match read(request.uri.query().unwrap_or_default()) {
                Some(Copied { kind, bucket, path }) => {
                    tracing::info!(target: "deckle::copied", kind, bucket, path = ?path, "A reader copied from a page.");
                }
                None => tracing::debug!(target: "deckle::copied", "A copy beacon does not parse."),
            }
        }
        Some(response)
    }

    fn has_room(&self, request: &Parts) -> bool {
        if self.limiter.len() > MAX_VISITORS {
            self.limiter.retain_recent();
        }
        // Whoever stands behind no identifying layer shares one limit.
        let visitor = request.extensions.get::<Visitor>().map(|v| v.key.0.iter());
        let key = visitor.into_iter().flatten().take(8).fold(0u64, |key, byte| key << 8 | u64::from(*byte));
        self.limiter.len() <= 2 * MAX_VISITORS && self.limiter.check_key(&key).is_ok()
    }
}

/// From the site's own pages, and from nobody who asks not to be tracked (Global Privacy Control, DNT).
fn is_welcome(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|v| v.as_bytes() == value.as_bytes());
    let foreign = headers.contains_key("sec-fetch-site") && !says("sec-fetch-site", "same-origin");
    !says("sec-gpc", "1") && !says("dnt", "1") && !foreign
}

/// Exactly the four parameters, each once.
fn read(query: &str) -> Option<Copied> {
    let (mut version, mut kind, mut bucket, mut path) = (None, None, None, None);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=')?;
        let known = match name {
            "v" => &mut version,
            "k" => &mut kind,
            "b" => &mut bucket,
            "p" => &mut path,
            _ => return None,
        };
        if known.replace(value).is_some() {
            return None;
        }
    }
    let kind = ["credit", "quote", "block"].into_iter().find(|k| Some(*k) == kind)?;
    let bucket = ["0", "1", "2", "3"].into_iter().position(|b| Some(b) == bucket)? as u8;
    let path = percent_decoded(path?)?;
    let sound = path.starts_with('/') && path.len() <= MAX_PATH && !path.chars().any(char::is_control);
    (version == Some("1") && sound).then_some(Copied { kind, bucket, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_says_four_things_and_nothing_else() {
        let copied = read("v=1&k=quote&b=2&p=%2Fa%20b").unwrap();
        assert_eq!(copied, Copied { kind: "quote", bucket: 2, path: "/a b".into() });
        let long = format!("v=1&k=quote&b=2&p=/{}", "x".repeat(MAX_PATH));
        for bad in [
            "",
            "v=1&k=quote&b=2",
            "v=2&k=quote&b=2&p=/",
            "v=1&k=all&b=2&p=/",
            "v=1&k=quote&b=4&p=/",
            "v=1&k=quote&b=&p=/",
            "v=1&k=quote&b=2&p=a",
            "v=1&k=quote&b=2&p=/&x=1",
            "v=1&k=quote&b=2&b=2&p=/",
            "v=1&k=quote&b=2&p=/%0A",
            "v=1&k=quote&b=2&p=/%F",
            "v=1&k=quote&b=2&p=/%FF",
            "v",
            &long,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_method_and_the_path_decide() {
        let beacon = Beacon::new("/.deckle").unwrap();
        let ask = |method: Method, uri: &str| {
            beacon.answer(&http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0)
        };
        assert_eq!(ask(Method::POST, "/.deckle/copied?v=1&k=credit&b=0&p=/").unwrap().status(), 204);
        assert_eq!(ask(Method::POST, "/.deckle/copied?rubbish").unwrap().status(), 204);
        let wrong = ask(Method::GET, "/.deckle/copied").unwrap();
        assert_eq!(
            (wrong.status(), &wrong.headers()[header::ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
        assert!(ask(Method::POST, "/copied").is_none());
    }

    #[test]
    fn whoever_asks_not_to_be_tracked_is_not_counted() {
        let welcome = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            is_welcome(&headers)
        };
        assert!(is_welcome(&HeaderMap::new()) && welcome("sec-fetch-site", "same-origin") && welcome("dnt", "0"));
        assert!(!welcome("sec-gpc", "1") && !welcome("dnt", "1") && !welcome("sec-fetch-site", "cross-site"));
    }

    #[test]
    fn a_flood_is_dropped_and_takes_no_memory() {
        let beacon = Beacon::new("/.deckle").unwrap();
        let (head, ()) = http::Request::new(()).into_parts();
        assert_eq!((0..20).filter(|_| beacon.has_room(&head)).count(), BURST as usize);
        for key in 0..50_000u64 {
            if beacon.limiter.len() > 2 * MAX_VISITORS {
                break;
            }
            let _ = beacon.limiter.check_key(&key);
        }
        assert!(!beacon.has_room(&head) && beacon.limiter.len() <= 2 * MAX_VISITORS + 1);
    }
}
