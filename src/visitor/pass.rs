//! Challenges and passes: what a visitor carries to show that it passed a challenge. Stateless, and bound to the host
//! alone: neither to an address nor to a `User-Agent`, since both change under one reader.
//!
//! | | bytes before the MAC |
//! |---|---|
//! | challenge | version, key id, kind, bits, tries, 0, issued (u32, big-endian), host (4), nonce (12) |
//! | pass | version, key id, kind, flags, id (8), issued, expires (u32), host (4) |
//!
//! The MAC is the first half of HMAC-SHA-256 over a label and those bytes; all of it is base64url (RFC 4648 §5) without
//! padding. `host` is the start of SHA-256 of the host's name.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::secret::{HmacKey, Secret, Secrets};

const VERSION: u8 = 1;
const DOMAIN: &str = "deckle-challenge-1";
const CHALLENGE: &[u8] = b"deckle/challenge/v1\0";
const PASS: &[u8] = b"deckle/pass/v1\0";
const MARK: &[u8] = b"deckle/return/v1\0";
/// Most cookies of the name that are looked at.
const MOST_COOKIES: usize = 4;
/// The one kind so far: a wait, or work instead.
const KIND: u8 = 1;
/// How far clocks of several machines may be apart.
const SKEW: u32 = 600;

/// Name of the cookie: over HTTPS browsers take it from this very host only (RFC 6265bis §4.1.3.2).
pub(crate) fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-dk" } else { "dk" }
}

/// A challenge that a visitor brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Zero bits that the work has to find.
    pub(crate) bits: u8,
    /// How many came before it.
    pub(crate) tries: u8,
    /// Seconds since 1970.
    pub(crate) issued: u32,
    pub(crate) nonce: [u8; 12],
}

/// A proof that its holder passed a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pass {
    /// Names the pass; its holder's limits are counted by it.
    pub id: [u8; 8],
    /// Seconds since 1970.
    pub issued: u32,
    /// Seconds since 1970.
    pub expires: u32,
}

/// The keys of challenges and passes.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// The first one signs; all verify.
    keys: Arc<[(u8, HmacKey)]>,
}

impl Tokens {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let active = secrets.active();
        let others = secrets.iter().filter(|secret| secret.kid() != active.kid());
        let key = |secret: &Secret| (secret.kid(), HmacKey::new(&secret.derive(DOMAIN, "mac")));
        Self { keys: std::iter::once(active).chain(others).map(key).collect() }
    }

    pub(crate) fn challenge(&self, challenge: Challenge, host: &str) -> String {
        let mut body = vec![VERSION, self.kid(), KIND, challenge.bits, challenge.tries, 0];
        body.extend_from_slice(&challenge.issued.to_be_bytes());
        body.extend_from_slice(&host_tag(host));
        body.extend_from_slice(&challenge.nonce);
        self.sign(CHALLENGE, body)
    }

    /// `None`: not ours, or for another host.
    pub(crate) fn read_challenge(&self, text: &str, host: &str) -> Option<Challenge> {
        let body: [u8; 26] = self.verify(CHALLENGE, text)?;
        let [VERSION, _, KIND, bits, tries, 0, i0, i1, i2, i3, h0, h1, h2, h3, nonce @ ..] = body else { return None };
        let issued = u32::from_be_bytes([i0, i1, i2, i3]);
        ([h0, h1, h2, h3] == host_tag(host)).then_some(Challenge { bits, tries, issued, nonce })
    }

    pub(crate) fn pass(&self, pass: Pass, host: &str) -> String {
        self.sign(PASS, self.body(pass, host))
    }

    /// By which a browser shows that it has just passed: in the form of a pass, and none.
    pub(crate) fn mark(&self, pass: Pass, host: &str) -> String {
        self.sign(MARK, self.body(pass, host))
    }

    fn body(&self, pass: Pass, host: &str) -> Vec<u8> {
        let mut body = vec![VERSION, self.kid(), KIND, 0];
        body.extend_from_slice(&pass.id);
        body.extend_from_slice(&pass.issued.to_be_bytes());
        body.extend_from_slice(&pass.expires.to_be_bytes());
        body.extend_from_slice(&host_tag(host));
        body
    }

    fn read_pass(&self, text: &str, host: &str) -> Option<Pass> {
        self.read(PASS, text, host)
    }

    pub(crate) fn read_mark(&self, text: &str, host: &str) -> Option<Pass> {
        self.read(MARK, text, host)
    }

    fn read(&self, label: &[u8], text: &str, host: &str) -> Option<Pass> {
        let body: [u8; 24] = self.verify(label, text)?;
        let [VERSION, _, KIND, _, rest @ ..] = body else { return None };
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (issued, rest) = rest.split_first_chunk::<4>()?;
        let (expires, of_host) = rest.split_first_chunk::<4>()?;
        let pass = Pass { id: *id, issued: u32::from_be_bytes(*issued), expires: u32::from_be_bytes(*expires) };
        (of_host == host_tag(host)).then_some(pass)
    }

    /// The valid pass of a request, whichever of several cookies of the name holds it.
    pub(crate) fn pass_of(&self, headers: &HeaderMap, secure: bool, host: &str, now: Duration) -> Option<Pass> {
        let now = now.as_secs();
        let good = |pass: &Pass| u64::from(pass.expires) > now && u64::from(pass.issued) <= now + u64::from(SKEW);
        let texts = cookies(headers, cookie_name(secure)).take(MOST_COOKIES);
        texts.filter_map(|text| self.read_pass(text, host)).find(good)
    }

    fn kid(&self) -> u8 {
        self.keys.first().map_or(0, |(kid, _)| *kid)
    }

    fn sign(&self, label: &[u8], mut body: Vec<u8>) -> String {
        // There is always a key; without one nothing would be believed.
        let mac = self.keys.first().map_or([0; 32], |(_, key)| key.tag(&[label, &body]));
        body.extend_from_slice(&mac[..16]);
        BASE64URL_NOPAD.encode(&body)
    }

    /// The bytes before the MAC. The length is looked at first: whoever sends rubbish shall not make us count.
    fn verify<const N: usize>(&self, label: &[u8], text: &str) -> Option<[u8; N]> {
        if text.len() != BASE64URL_NOPAD.encode_len(N + 16) {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, mac) = bytes.split_first_chunk::<N>()?;
        let kid = *body.get(1)?;
        let (_, key) = self.keys.iter().find(|(own, _)| *own == kid)?;
        let ours = key.tag(&[label, body]);
        // In constant time: every byte is looked at.
        let differs = ours.iter().zip(mac).fold(0, |acc, (a, b)| acc | (a ^ b));
        (mac.len() == 16 && differs == 0).then_some(*body)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.kid())
    }
}

/// The start of SHA-256 of a host's name.
fn host_tag(host: &str) -> [u8; 4] {
    let digest = Sha256::digest(host.to_ascii_lowercase().as_bytes());
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The values of a cookie (RFC 6265 §5.4).
pub(crate) fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    // Beside it may stand cookies of the site in any bytes.
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair.trim_ascii()).ok());
    pairs.filter_map(move |pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys whose purpose key is known.
    fn tokens() -> Tokens {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        Tokens { keys: vec![(0, HmacKey::new(&key))].into() }
    }

    const TOKEN: &str = "AQABEAAAaOd4ACgYCL8AAQIDBAUGBwgJCgsF8HBLmNnHtT7rG-CMuTUY";
    const PASSED: &str = "AQABAAABAgMEBQYHaOd4BWjwsoUoGAi_kd_XaIPLko_OLTSN5yGs8g";

    fn challenge() -> Challenge {
        Challenge { bits: 16, tries: 0, issued: 1_760_000_000, nonce: std::array::from_fn(|i| i as u8) }
    }

    fn pass() -> Pass {
        Pass { id: std::array::from_fn(|i| i as u8), issued: 1_760_000_005, expires: 1_760_604_805 }
    }

    #[test]
    fn the_forms_are_fixed() {
        assert_eq!(tokens().challenge(challenge(), "news.example"), TOKEN);
        assert_eq!(tokens().read_challenge(TOKEN, "News.Example"), Some(challenge()));
        assert_eq!(tokens().pass(pass(), "news.example"), PASSED);
        assert_eq!(tokens().read_pass(PASSED, "news.example"), Some(pass()));
    }

    #[test]
    fn nothing_else_is_believed() {
        assert_eq!(tokens().read_challenge(TOKEN, "other.example"), None);
        assert_eq!(tokens().read_pass(PASSED, "other.example"), None);
        assert_eq!(tokens().read_mark(PASSED, "news.example"), None);
        assert_eq!(tokens().read_pass(&tokens().mark(pass(), "news.example"), "news.example"), None);
        assert_eq!(tokens().read_challenge(PASSED, "news.example"), None);
        for at in 0..TOKEN.len() {
            let mut text = TOKEN.as_bytes().to_vec();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens().read_challenge(std::str::from_utf8(&text).unwrap(), "news.example"), None, "{at}");
        }
    }

    #[test]
    fn retired_secrets_still_verify() {
        let old = Secrets::parse(&format!("1 {}", "01".repeat(31) + "02")).unwrap();
        let both = format!("1 {} retired=2026-01-01T00:00:00Z\n2 {}", "01".repeat(31) + "02", "03".repeat(31) + "04");
        let both = Secrets::parse(&both).unwrap();
        let token = Tokens::new(&old).challenge(challenge(), "news.example");
        assert_eq!(Tokens::new(&both).read_challenge(&token, "news.example"), Some(challenge()));
        let newer = Tokens::new(&both).challenge(challenge(), "news.example");
        assert_eq!(Tokens::new(&old).read_challenge(&newer, "news.example"), None);
    }

    #[test]
    fn any_of_several_cookies_may_hold_the_pass() {
        let at = |seconds| Duration::from_secs(seconds);
        let cookie = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, line.parse().unwrap());
            headers
        };
        let several = cookie(&format!("a=1; __Host-dk=rubbish; __Host-dk={PASSED}; xdk={PASSED}"));
        assert_eq!(tokens().pass_of(&several, true, "news.example", at(1_760_000_006)), Some(pass()));
        let site = [b"city=M\xc3\xbcnchen\xff; __Host-dk=".as_slice(), PASSED.as_bytes()].concat();
        let mut odd = HeaderMap::new();
        odd.insert(header::COOKIE, http::HeaderValue::from_bytes(&site).unwrap());
        assert_eq!(tokens().pass_of(&odd, true, "news.example", at(1_760_000_006)), Some(pass()), "the site's own");
        assert_eq!(tokens().pass_of(&several, false, "news.example", at(1_760_000_006)), None, "the other name");
        assert_eq!(tokens().pass_of(&several, true, "news.example", at(1_760_604_805)), None, "too old");
        assert_eq!(tokens().pass_of(&several, true, "news.example", at(1_759_990_000)), None, "of the future");
    }

    proptest! {
        #[test]
        fn rubbish_is_refused(text in "[A-Za-z0-9_-]{0,80}") {
            prop_assert_eq!(tokens().read_challenge(&text, "news.example"), None);
            prop_assert_eq!(tokens().read_pass(&text, "news.example"), None);
        }
    }
}
