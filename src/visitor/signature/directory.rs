//! Key directories: the keys that an operator publishes for its robots, and the list of operators that are believed.
//!
//! The list is fixed when it is made, and the keys of each entry are replaced as a whole. Nothing is fetched here: a
//! name that a client sends is only ever looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::replays::Replays;

/// Where an origin publishes its keys.
pub(crate) const WELL_KNOWN: &str = "/.well-known/http-message-signatures-directory";
/// Longest text of a directory, in bytes, when no coding is on it.
pub(crate) const MAX_BYTES: usize = 64 << 10;
/// Most keys in a directory, those that are skipped included.
pub(crate) const MAX_KEYS: usize = 32;
/// Most directories on a list.
const MAX_DIRECTORIES: usize = 256;

/// Thumbprints of keys whose private half is printed in RFC 9421 B.1.4 and RFC 8037 A.1: anybody can sign with them.
const PRINTED: [&str; 2] =
    ["poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"];

/// The keys of one directory.
///
/// ```
/// # use deckle::visitor::Directory;
/// let text = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"rR3iT-FVuAZKKW-MuCW-hjEuDHguS3btQVa0bRZS9YM"}]}"#;
/// assert_eq!(Directory::parse(text.as_bytes()).unwrap().keyids().count(), 1);
/// assert!(Directory::parse(b"<html>").is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Directory {
    keys: Vec<Key>,
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: Arc<str>,
    verifying: VerifyingKey,
    not_before: Option<f64>,
    expires: Option<f64>,
}

/// Why a text is no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Longer than is read.
    #[error("{bytes} bytes are more than {most}", most = MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a JSON object with a list `keys` (RFC 7517 §5).
    #[error("no key set: {message}")]
    Json {
        /// Line, column and what is wrong.
        message: String,
    },
    /// More keys than are read.
    #[error("{keys} keys are more than {most}", most = MAX_KEYS)]
    TooManyKeys {
        /// How many there are.
        keys: usize,
    },
    /// An Ed25519 key that is none.
    #[error("key {index}: {message}")]
    Key {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// What is read of a key (RFC 7517 §4, RFC 8037 §2). Not `kid`: the thumbprint names a key, its publisher does not.
#[derive(Deserialize)]
struct Jwk {
    x: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    exp: Option<f64>,
}

impl Directory {
    /// Reads a JWK set (RFC 7517 §5).
    ///
    /// Keys of other kinds or uses are skipped, and so are those that prove nothing: with their private half beside
    /// them, or known from a standard.
    ///
    /// # Errors
    /// [`DirectoryError`] for a text that is no key set, or an Ed25519 key that is none.
    pub fn parse(text: &[u8]) -> Result<Self, DirectoryError> {
        Self::read(text, &PRINTED)
    }

    pub(super) fn read(text: &[u8], refused: &[&str]) -> Result<Self, DirectoryError> {
        if text.len() > MAX_BYTES {
            return Err(DirectoryError::TooLong { bytes: text.len() });
        }
        let set: KeySet =
            serde_json::from_slice(text).map_err(|error| DirectoryError::Json { message: error.to_string() })?;
        if set.keys.len() > MAX_KEYS {
            return Err(DirectoryError::TooManyKeys { keys: set.keys.len() });
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, value) in set.keys.into_iter().enumerate() {
            let key = Key::read(value).map_err(|message| DirectoryError::Key { index, message })?;
            keys.extend(key.filter(|key| !refused.contains(&&*key.id)));
        }
        Ok(Self { keys })
    }

    /// The thumbprints of the keys.
    pub fn keyids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| *key.id == *id)
    }
}

impl Key {
    /// `None`: not for us.
    fn read(value: Value) -> Result<Option<Self>, String> {
        let is = |name: &str, text: &str| value.get(name).and_then(Value::as_str) == Some(text);
        if !is("kty", "OKP") || !is("crv", "Ed25519") || value.get("d").is_some() {
            return Ok(None);
        }
        let jwk: Jwk = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let signs = jwk.usage.is_none_or(|usage| usage == "sig");
        let algorithm = jwk.alg.is_none_or(|alg| ["ed25519", "Ed25519", "EdDSA"].contains(&&*alg));
        if !signs || !algorithm {
            return Ok(None);
        }
        let bytes = BASE64URL_NOPAD.decode(jwk.x.as_bytes()).map_err(|_| "`x` is not in base64url".to_owned())?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| "`x` has not 32 bytes".to_owned())?;
        let verifying = VerifyingKey::from_bytes(&bytes).map_err(|_| "`x` is no point of the curve".to_owned())?;
        if verifying.is_weak() {
            return Err("`x` is a key that signs anything".to_owned());
        }
        Ok(Some(Self { id: thumbprint(&bytes).into(), verifying, not_before: jwk.nbf, expires: jwk.exp }))
    }

    /// In use at `now`, since 1970?
    pub(super) fn is_current(&self, now: Duration) -> bool {
        let now = now.as_secs_f64();
        self.not_before.is_none_or(|from| from <= now) && self.expires.is_none_or(|end| now < end)
    }

    /// Strictly: signatures of which there can be more than one for a message are none (RFC 8032 §8.4).
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.verifying.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// The JWK thumbprint of a key (RFC 7638 §3, RFC 8037 A.3): SHA-256 over the members that make it, sorted.
fn thumbprint(key: &[u8; 32]) -> String {
    hash(&format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", BASE64URL_NOPAD.encode(key)))
}

fn hash(members: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(members.as_bytes()))
}

/// The directories that are believed, and the keys of those that were loaded.
///
/// ```
/// # use deckle::visitor::{Directories, Directory};
/// let directories = Directories::new(&["https://crawler.example".to_owned()]).unwrap();
/// assert!(directories.replace("https://crawler.example", Directory::default()));
/// assert!(!directories.replace("https://elsewhere.example", Directory::default()), "it is not on the list");
/// assert!(Directories::new(&["http://crawler.example".to_owned()]).is_err());
/// ```
#[derive(Debug)]
pub struct Directories {
    /// By origin.
    listed: BTreeMap<String, Arc<Listed>>,
    replays: Arc<Replays>,
}

#[derive(Debug)]
pub(crate) struct Listed {
    host: Arc<str>,
    keys: ArcSwapOption<Directory>,
}

impl Directories {
    /// A list without keys.
    ///
    /// # Errors
    /// The entry that does not hold, and why.
    pub fn new(origins: &[String]) -> Result<Self, String> {
        let listed = normal(origins)?.into_iter().map(|origin| {
            let host: Arc<str> = origin.strip_prefix("https://").unwrap_or(&origin).into();
            (origin, Arc::new(Listed { host, keys: ArcSwapOption::empty() }))
        });
        Ok(Self { listed: listed.collect(), replays: Arc::new(Replays::new()) })
    }

    /// The same list, where what both have in common keeps its keys, now and later; and what was shown stays shown.
    #[must_use]
    pub fn continuing(mut self, old: &Self) -> Self {
        for (origin, listed) in &mut self.listed {
            if let Some(known) = old.listed.get(origin) {
                *listed = Arc::clone(known);
            }
        }
        self.replays = Arc::clone(&old.replays);
        self
    }

    pub(super) fn check(origins: &[String]) -> Result<(), String> {
        normal(origins).map(drop)
    }

    pub(super) fn replays(&self) -> &Replays {
        &self.replays
    }

    /// Nothing is on the list.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The origins on the list.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.listed.keys().map(String::as_str)
    }

    /// The thumbprints of the keys that were put in for an origin; `None`: none were yet, or it is not on the list.
    pub fn keyids(&self, origin: &str) -> Option<Vec<String>> {
        let directory = self.listed.get(origin)?.keys()?;
        Some(directory.keyids().map(str::to_owned).collect())
    }

    /// Replaces all keys of an origin, as it is spelt in [`Directories::origins`]. False: it is not on the list.
    pub fn replace(&self, origin: &str, directory: Directory) -> bool {
        let listed = self.listed.get(origin);
        if let Some(listed) = listed {
            listed.keys.store(Some(Arc::new(directory)));
        }
        listed.is_some()
    }

    pub(super) fn find(&self, origin: &str) -> Option<&Listed> {
        self.listed.get(origin).map(|listed| &**listed)
    }

    /// Does any directory hold this key?
    pub(super) fn hold(&self, keyid: &str) -> bool {
        self.listed.values().any(|listed| listed.keys.load().as_ref().is_some_and(|keys| keys.key(keyid).is_some()))
    }
}

impl Listed {
    pub(super) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// `None`: not loaded yet.
    pub(super) fn keys(&self) -> Option<Arc<Directory>> {
        self.keys.load_full()
    }
}

/// The origins of a list in their normal form.
fn normal(origins: &[String]) -> Result<BTreeSet<String>, String> {
    if origins.len() > MAX_DIRECTORIES {
        return Err(format!("{} entries are more than {MAX_DIRECTORIES}", origins.len()));
    }
    let mut all = BTreeSet::new();
    for text in origins {
        let origin = origin(text)
            .map_err(|_| format!("`{text}` is not the origin of a directory such as `https://crawler.example`"))?;
        if !all.insert(origin) {
            return Err(format!("`{text}` is there twice"));
        }
    }
    Ok(all)
}

/// What is wrong with the address of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressFault {
    /// Anybody on the way could have changed it.
    Plain,
    /// The keys themselves, which only prove that somebody has them.
    Inline,
    /// Not an origin of https with its usual port.
    NotOrigin,
}

/// The normal form of an origin (RFC 6454 §6.2, RFC 3986 §6.2.2).
pub(super) fn origin(text: &str) -> Result<String, AddressFault> {
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://") else {
        return Err(match lower.split(':').next() {
            Some("http") => AddressFault::Plain,
            Some("data") => AddressFault::Inline,
            _ => AddressFault::NotOrigin,
        });
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let host = host.strip_suffix(":443").unwrap_or(host);
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && plain
    };
    // A name that ends in a number is an address (WHATWG URL, "ends in a number").
    let number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if number || host.len() > 253 || !host.split('.').all(label) {
        return Err(AddressFault::NotOrigin);
    }
    Ok(format!("https://{host}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::vectors;
    use super::*;

    /// RFC 8037 A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn set(keys: &str) -> String {
        format!("{{\"keys\":[{keys}]}}")
    }

    fn ed25519(more: &str) -> String {
        format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{X}\"{more}}}")
    }

    fn read(text: &str) -> Result<Vec<String>, DirectoryError> {
        Directory::read(text.as_bytes(), &[]).map(|keys| keys.keyids().map(str::to_owned).collect())
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let expect = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(read(&set(&ed25519(""))).unwrap(), [expect]);
        assert_eq!(read(&set(&ed25519(",\"kid\":\"somebody\""))).unwrap(), [expect], "not by its publisher");
    }

    #[test]
    fn only_keys_that_are_for_us_are_read() {
        for (more, count) in [
            ("", 1),
            (",\"use\":\"sig\",\"alg\":\"EdDSA\"", 1),
            (",\"alg\":\"ed25519\",\"nbf\":1,\"exp\":2.5", 1),
            (",\"use\":\"enc\"", 0),
            (",\"alg\":\"ES256\"", 0),
            (",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"", 0),
        ] {
            assert_eq!(read(&set(&ed25519(more))).unwrap().len(), count, "{more}");
        }
        for other in [
            "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
            "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAA\"}",
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"a\",\"y\":\"b\"}",
            "{}",
            "null",
            "[1]",
            "\"OKP\"",
        ] {
            assert_eq!(read(&set(&format!("{other},{}", ed25519("")))).unwrap().len(), 1, "{other}");
        }
        assert_eq!(read(&set("")).unwrap().len(), 0);
    }

    #[test]
    fn keys_that_anybody_has_are_none() {
        for x in [X, "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"] {
            let text = set(&format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}"));
            assert_eq!(Directory::read(text.as_bytes(), &[]).unwrap().keyids().count(), 1);
            assert_eq!(Directory::parse(text.as_bytes()).unwrap().keyids().count(), 0);
        }
    }

    #[test]
    fn what_is_no_directory_says_why() {
        let point = |x: &str| set(&format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":{x}}}"));
        // y = 1 is the neutral element, and for y = 2 there is no x.
        let [neutral, off] = ["AQ", "Ag"].map(|start| point(&format!("\"{start}{}\"", "A".repeat(41))));
        for (text, says) in [
            (String::new(), "EOF"),
            ("<html>".to_owned(), "line 1"),
            ("{}".to_owned(), "keys"),
            ("{\"keys\":{}}".to_owned(), "sequence"),
            (" ".repeat(MAX_BYTES + 1), "65537 bytes"),
            (set(&vec!["1"; 33].join(",")), "33 keys"),
            (point("\"AAAA\""), "32 bytes"),
            (point("\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\""), "base64url"),
            (point("\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo\""), "base64url"),
            (point("1"), "key 0"),
            (set(&ed25519(",\"nbf\":\"today\"")), "key 0"),
            (format!("{{\"keys\":[1,{}]}}", ed25519("").replace(X, "AAAA")), "key 1"),
            (neutral, "signs anything"),
            (off, "point of the curve"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_has_its_time() {
        let key = |more: &str| {
            let directory = Directory::read(set(&ed25519(more)).as_bytes(), &[]).unwrap();
            directory.keys.first().unwrap().clone()
        };
        let now = |key: &Key| [99, 100, 199, 200].map(|at| key.is_current(Duration::from_secs(at)));
        assert_eq!(now(&key("")), [true; 4]);
        assert_eq!(now(&key(",\"nbf\":100")), [false, true, true, true]);
        assert_eq!(now(&key(",\"exp\":200")), [true, true, true, false]);
        assert_eq!(now(&key(",\"nbf\":100,\"exp\":200")), [false, true, true, false]);
    }

    #[test]
    fn an_origin_has_one_form() {
        use AddressFault::{Inline, NotOrigin, Plain};
        for (text, expect) in [
            ("https://crawler.example", Ok("https://crawler.example")),
            ("https://crawler.example/", Ok("https://crawler.example")),
            ("HTTPS://Crawler.Example:443", Ok("https://crawler.example")),
            ("https://crawler.example:443/", Ok("https://crawler.example")),
            ("https://xn--bcher-kva.example", Ok("https://xn--bcher-kva.example")),
            ("http://crawler.example", Err(Plain)),
            ("HTTP://crawler.example", Err(Plain)),
            ("data:application/json,{}", Err(Inline)),
            ("ftp://crawler.example", Err(NotOrigin)),
            ("crawler.example", Err(NotOrigin)),
            ("", Err(NotOrigin)),
            ("https://", Err(NotOrigin)),
            ("https:///", Err(NotOrigin)),
            ("https://crawler.example:8443", Err(NotOrigin)),
            ("https://crawler.example:", Err(NotOrigin)),
            ("https://crawler.example:443:443", Err(NotOrigin)),
            ("https://user@crawler.example", Err(NotOrigin)),
            ("https://user:443@crawler.example", Err(NotOrigin)),
            ("https://crawler.example/bot", Err(NotOrigin)),
            ("https://crawler.example//", Err(NotOrigin)),
            ("https://crawler.example?", Err(NotOrigin)),
            ("https://crawler.example#a", Err(NotOrigin)),
            ("https://crawler.example.", Err(NotOrigin)),
            ("https://.example", Err(NotOrigin)),
            ("https://b\u{fc}cher.example", Err(NotOrigin)),
            ("https://crawler.example\\@evil.test", Err(NotOrigin)),
            ("https://[::1]", Err(NotOrigin)),
            ("https://127.0.0.1", Err(NotOrigin)),
            ("https://2130706433", Err(NotOrigin)),
            (" https://crawler.example", Err(NotOrigin)),
        ] {
            assert_eq!(origin(text), expect.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_list_is_fixed_and_its_keys_are_replaced_as_a_whole() {
        let list = ["https://a.example", "https://B.example/"].map(str::to_owned);
        let directories = Directories::new(&list).unwrap();
        assert_eq!(directories.origins().collect::<Vec<_>>(), ["https://a.example", "https://b.example"]);
        let keys = Directory::read(set(&ed25519("")).as_bytes(), &[]).unwrap();
        let id = keys.keyids().next().unwrap().to_owned();
        assert!(directories.find("https://b.example").unwrap().keys().is_none());
        assert!(directories.replace("https://b.example", keys.clone()));
        assert!(!directories.replace("https://c.example", keys));
        assert!(directories.hold(&id));
        assert!(directories.find("https://a.example").unwrap().keys().is_none());
        assert_eq!(&**directories.find("https://b.example").unwrap().host(), "b.example");
        let list = ["https://b.example", "https://d.example"].map(str::to_owned);
        let next = Directories::new(&list).unwrap().continuing(&directories);
        assert!(next.hold(&id), "a reload keeps keys");
        assert!(next.find("https://d.example").unwrap().keys().is_none());
        assert!(next.replace("https://b.example", Directory::default()));
        assert!(!next.hold(&id) && !directories.hold(&id), "a key that is taken out is out, in the old list, too");
    }

    #[test]
    fn the_vectors_of_thumbprints() {
        let Some(cases) = vectors("vectors.json") else { return };
        let cases = cases.as_array().unwrap();
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap();
            let members = data_encoding::HEXLOWER.decode(text("precompute").as_bytes()).unwrap();
            let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&members));
            assert_eq!(digest, text("sha256"), "{}", text("name"));
            assert_eq!(hash(std::str::from_utf8(&members).unwrap()), text("thumbprint"), "{}", text("name"));
            let expect = if text("name") == "ed25519" { vec![text("thumbprint")] } else { vec![] };
            assert_eq!(read(&set(text("jwk"))).unwrap(), expect, "{}", text("name"));
        }
        assert_eq!(cases.len(), 2);
    }

    /// Cards and registries are not read; what they name is a directory or it is not.
    #[test]
    fn the_vectors_of_cards_and_registries() {
        if let Some(cards) = vectors("web_bot_auth_signature_agent_card_v1.json") {
            let first = |name: &str| cards.as_array().unwrap().iter().find_map(|card| card["card"].get(name)).unwrap();
            let uri = first("jwks_uri").as_str().unwrap();
            assert_eq!(origin(uri.strip_suffix(WELL_KNOWN).unwrap()).unwrap(), "https://example.com");
            let keys = read(&first("jwks").to_string()).unwrap();
            assert_eq!(keys, ["poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"]);
        }
        let Some(registries) = vectors("web_bot_auth_registry_v1.json") else { return };
        for registry in registries.as_array().unwrap() {
            for card in registry["signature_agent_cards"].as_array().unwrap() {
                assert_eq!(origin(card.as_str().unwrap()), Err(AddressFault::NotOrigin), "{card}");
            }
        }
    }
}
