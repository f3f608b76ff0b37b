//! The way back in: what a browser brings from the page of a challenge.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use super::page::Wait;
use super::{ChallengeStep, Challenger};
use crate::suspicion::{Assessment, State};
use crate::visitor::Visitor;
use crate::visitor::pass::{Challenge, Pass, cookie_name};

/// Seconds after which the wait counts, and after which a challenge is too old.
const GOOD: std::ops::RangeInclusive<u64> = 4..=300;
/// Seconds by which clocks may differ.
const SKEW: u64 = 600;
/// Seconds in which somebody who has passed is waved through.
const FRESH: u64 = 600;
/// Challenges in a row after which they end.
pub(in crate::action) const TRIES: u8 = 3;
/// The parameter by which a browser shows that it came from a challenge, and for how many seconds.
const RETURN: (&str, u32) = ("__dk", 60);
/// Longest path that is returned to, in bytes.
const LONGEST: usize = 2_048;

/// What a request with the parameter of a return is.
#[derive(Debug)]
pub(in crate::action) enum Return {
    /// The browser keeps cookies, or the link is an old one: on to the address without the parameter.
    Clean(Box<Response<Full<Bytes>>>),
    /// It keeps none. The address without the parameter.
    NoCookies(Uri),
}

impl Challenger {
    /// Is this one of the two addresses of the page?
    pub(in crate::action) fn is_entry(&self, visitor: &Visitor) -> bool {
        self.way(visitor).is_some()
    }

    fn way<'v>(&self, visitor: &'v Visitor) -> Option<&'v str> {
        visitor.path.strip_prefix(&self.mount)?.strip_prefix("/c/").filter(|way| matches!(*way, "w" | "p"))
    }

    /// The way on, where nothing is asked of anybody.
    pub(in crate::action) fn wave_through(uri: &Uri) -> Response<Full<Bytes>> {
        see_other(&target(uri.query().unwrap_or_default()))
    }

    /// Answers one of the two addresses of the page. `may_issue`: another challenge is within the quota.
    pub(in crate::action) fn enter(
        &self,
        state: &State,
        assessment: &Assessment,
        visitor: &Visitor,
        (uri, language): (&Uri, Option<&str>),
        may_issue: impl Fn() -> bool,
    ) -> (Response<Full<Bytes>>, ChallengeStep) {
        let query = uri.query().unwrap_or_default();
        let target = target(query);
        let age = |issued: u32| visitor.arrived.as_secs().saturating_sub(u64::from(issued));
        // A second tab, or a click while the page was already on its way.
        if assessment.vouched && visitor.pass.is_some_and(|pass| age(pass.issued) < FRESH) {
            return (see_other(&target), ChallengeStep::Passed);
        }
        let text = parameter(query, "t").unwrap_or_default();
        // What is none of ours has not been through a challenge; the page says what comes.
        let Some(token) = self.tokens.read_challenge(&text, &visitor.host) else {
            return (see_other(&target), ChallengeStep::Refused);
        };
        let own = assessment.keys.map(|keys| keys.own);
        let again = || {
            let tries = token.tries.saturating_add(1).max(assessment.issued);
            if tries >= TRIES || !may_issue() {
                if let Some(own) = own {
                    state.spare(own);
                }
                return (see_other(&target), ChallengeStep::Spared);
            }
            if let Some(own) = own {
                state.note_challenge(own);
            }
            (self.issue(visitor, &target, language, tries), ChallengeStep::Refused)
        };
        // A clock that was set back, or another process: what a little of that takes is no wait, and much of it is not believed.
        let ahead = u64::from(token.issued).saturating_sub(visitor.arrived.as_secs());
        let age = if ahead > 0 { *GOOD.start() } else { age(token.issued) };
        if age > *GOOD.end() || ahead > SKEW {
            return again();
        }
        let waits = self.way(visitor) == Some("w");
        if waits && age < *GOOD.start() {
            let left = *GOOD.start() - age;
            // One more for clocks that differ.
            let wait = Wait { token: text, seconds: left + 1, left };
            return (self.page(visitor, &target, language, &wait), ChallengeStep::Early);
        }
        let done = waits || parameter(query, "n").is_some_and(|nonce| is_work(&text, &nonce, token));
        if !done || !state.spend(&token.nonce) {
            return again();
        }
        if let Some(own) = own {
            state.forget_challenges(own);
        }
        (self.admit(visitor, &target), ChallengeStep::Passed)
    }

    /// The pass, and the way on, with a mark by which it shows whether the cookie was taken.
    fn admit(&self, visitor: &Visitor, target: &str) -> Response<Full<Bytes>> {
        let issued = visitor.arrived.as_secs() as u32;
        let life = self.settings.pass_ttl.0.as_secs() as u32;
        let mut id = [0; 8];
        fastrand::fill(&mut id);
        let pass = Pass { id, issued, expires: issued.saturating_add(life) };
        let mark = self.tokens.mark(Pass { expires: issued.saturating_add(RETURN.1), ..pass }, &visitor.host);
        let sign = if target.contains('?') { '&' } else { '?' };
        let mut response = see_other(&format!("{target}{sign}{}={mark}", RETURN.0));
        let secure = if visitor.secure { "Secure; " } else { "" };
        // `SameSite` is last: Lynx takes it for a second cookie, and gives what follows to that one.
        let cookie = format!(
            "{}={}; Path=/; Max-Age={life}; {secure}HttpOnly; SameSite=Lax",
            cookie_name(visitor.secure),
            self.tokens.pass(pass, &visitor.host)
        );
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// What follows from the parameter of a return, if it is one of ours.
    pub(in crate::action) fn returning(&self, state: &State, visitor: &Visitor, uri: &Uri) -> Option<Return> {
        let query = uri.query()?;
        let of = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("__dk="))
            .find_map(|mark| self.tokens.read_mark(mark, &visitor.host))?;
        let others = without_mark(query);
        let clean = if others.is_empty() { uri.path().to_owned() } else { format!("{}?{others}", uri.path()) };
        let mut id = [0; 12];
        let (name, time) = id.split_at_mut(8);
        name.copy_from_slice(&of.id);
        time.copy_from_slice(&of.issued.to_be_bytes());
        let fresh = u64::from(of.expires) > visitor.arrived.as_secs();
        if visitor.pass.is_some() || !fresh || !state.spend(&id) {
            return Some(Return::Clean(Box::new(see_other(&local(&clean)))));
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(clean.parse().ok()?);
        Some(Return::NoCookies(Uri::from_parts(parts).ok()?))
    }
}

/// Does SHA-256 of the token and the number (64 bits, little-endian) begin with as many zero bits as were asked for?
fn is_work(token: &str, nonce: &str, of: Challenge) -> bool {
    let Ok(nonce) = nonce.parse::<u64>() else { return false };
    let digest: [u8; 32] = Sha256::new().chain_update(token).chain_update(nonce.to_le_bytes()).finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d]).leading_zeros() >= u32::from(of.bits)
}

/// Where to go on, from parameter `u`: a path of this host, else the front page.
fn target(query: &str) -> String {
    let wished = parameter(query, "u").unwrap_or_default();
    match wished.split_once('?') {
        Some((path, query)) => {
            let others = without_mark(query);
            local(&if others.is_empty() { path.to_owned() } else { format!("{path}?{others}") })
        }
        None => local(&wished),
    }
}

/// A path of this host and nothing else.
fn local(wished: &str) -> String {
    let own = wished.starts_with('/') && !wished.starts_with("//") && wished.len() <= LONGEST;
    let plain = wished.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>'));
    // Read and written anew: what is not a path and a query is not sent back.
    let parsed = wished.parse::<http::uri::PathAndQuery>().ok().filter(|_| own && plain);
    parsed.map_or_else(|| "/".to_owned(), |path| path.to_string())
}

/// A query without the parameter of a return.
fn without_mark(query: &str) -> String {
    query.split('&').filter(|pair| !pair.starts_with("__dk=")).collect::<Vec<_>>().join("&")
}

/// The value of a parameter, percent-decoded. Not UTF-8: none.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex =
            after.get(..2).filter(|_| *byte == b'%').and_then(|hex| HEXLOWER.decode(&hex.to_ascii_lowercase()).ok());
        match hex.as_deref() {
            Some([decoded]) => {
                bytes.push(*decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn see_other(location: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_host_are_returned_to() {
        for (wished, to) in [
            ("u=%2Fnews%2Fa%3Fpage%3D2%26x%3D%25C3%25A9", "/news/a?page=2&x=%C3%A9"),
            ("u=/plain", "/plain"),
            ("u=//evil.example", "/"),
            ("u=%2F%2Fevil.example", "/"),
            ("u=/%5Cevil.example", "/"),
            ("u=/%5c/evil.example", "/"),
            ("u=/%0d%0aSet-Cookie:x", "/"),
            ("u=https://evil.example/", "/"),
            ("u=javascript:alert(1)", "/"),
            ("u=/\"><script>", "/"),
            ("u=", "/"),
            ("", "/"),
        ] {
            assert_eq!(target(wished), to, "{wished}");
        }
        assert_eq!(target(&format!("u=/{}", "a".repeat(2_100))), "/");
        assert_eq!(target("u=/a%3F__dk=x%26b=1"), "/a?b=1");
        assert_eq!(local("//evil.example/"), "/");
    }

    #[test]
    fn work_is_counted_in_bits() {
        let of = |bits| Challenge { bits, tries: 0, issued: 0, nonce: [0; 12] };
        assert!(is_work("deckle-test-vector-1", "12268", of(16)));
        assert!(!is_work("deckle-test-vector-1", "12268", of(17)));
        assert!(!is_work("deckle-test-vector-1", "12267", of(16)));
        assert!(!is_work("deckle-test-vector-1", "0x2fec", of(16)) && !is_work("", "", of(8)));
        let smallest = (0..20_000u64).find(|n| is_work("deckle-test-vector-1", &n.to_string(), of(16)));
        assert_eq!(smallest, Some(12_268));
    }
}
