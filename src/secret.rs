//! The one secret of a site, and the keys derived from it.
//!
//! Every purpose has a domain of its own, so that no key serves two purposes:
//! `derive(domain, label) = HMAC-SHA-256(secret, domain ‖ 0x00 ‖ label)` (RFC 2104).
//!
//! A secret file has one line per key: `kid value [retired=RFC3339]`. `kid` is 0–7, `value` is hex or base64 of at
//! least 32 bytes, `#` starts a comment. A lone value is kid 0. Exactly one line is not retired: it marks new copies;
//! the retired ones still trace old ones.
//!
//! ```
//! use deckle::secret::Secrets;
//! let secrets = Secrets::parse("1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")?;
//! assert_eq!(secrets.active().kid(), 1);
//! assert!(Secrets::parse("0 abcd").is_err());
//! # Ok::<(), deckle::secret::SecretError>(())
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Shortest secret accepted, in bytes.
const MIN_BYTES: usize = 32;
/// Highest key id: three bits of a seal carry it.
pub(crate) const MAX_KID: u8 = 7;

/// HMAC-SHA-256 of the concatenated parts.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length (RFC 2104 §2), so the error cannot happen; an all-zero tag verifies nothing.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    tag(mac, parts)
}

fn tag(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A key of HMAC-SHA-256 for many messages. What depends on it alone is worked out once (RFC 2104 §4), which is half of the work for
/// a short message.
#[derive(Clone)]
pub(crate) struct HmacKey(Hmac<Sha256>);

impl HmacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // A key is filled up with zeros to a block (RFC 2104 §2).
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        Self(<Hmac<Sha256> as KeyInit>::new(&block.into()))
    }

    /// [`hmac_sha256`] under this key.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        tag(self.0.clone(), parts)
    }
}

/// One secret with its key id. `Debug` never shows the bytes; they are wiped when dropped.
#[derive(Clone)]
pub struct Secret {
    kid: u8,
    retired: Option<Timestamp>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A secret from raw bytes.
    ///
    /// # Errors
    /// [`SecretError`] when `kid` is over 7, or when the bytes are fewer than 32 or all equal.
    pub fn new(kid: u8, bytes: &[u8]) -> Result<Self, SecretError> {
        if kid > MAX_KID {
            return Err(SecretError::KeyId { kid: kid.to_string() });
        }
        if bytes.len() < MIN_BYTES {
            return Err(SecretError::TooShort { bytes: bytes.len() });
        }
        if bytes.iter().all(|b| Some(b) == bytes.first()) {
            return Err(SecretError::AllEqual);
        }
        Ok(Self { kid, retired: None, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// The key id, 0–7.
    pub fn kid(&self) -> u8 {
        self.kid
    }

    /// When it was taken out of use; `None`: it marks new copies.
    pub fn retired(&self) -> Option<Timestamp> {
        self.retired
    }

    /// Eight hex digits that tell it from other secrets and say nothing about it.
    pub fn fingerprint(&self) -> String {
        let [a, b, c, d, ..] = self.derive("deckle-secret-1", "id");
        HEXLOWER.encode(&[a, b, c, d])
    }

    /// The 32-byte key of one purpose.
    pub fn derive(&self, domain: &str, label: &str) -> [u8; 32] {
        hmac_sha256(&self.bytes, &[domain.as_bytes(), &[0], label.as_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.kid)
    }
}

/// The active secret and the retired ones.
#[derive(Clone, Debug)]
pub struct Secrets {
    all: Arc<[Secret]>,
    active: usize,
}

impl Secrets {
    /// Reads the text of a secret file.
    ///
    /// # Errors
    /// [`SecretError`] for a line that is not `kid value [retired=TIME]`, a repeated kid, or not exactly one active key.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut all: Vec<Secret> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let secret = parse_line(line, index + 1)?;
            if all.iter().any(|other| other.kid == secret.kid) {
                return Err(SecretError::Duplicate { kid: secret.kid });
            }
            all.push(secret);
        }
        let mut active = all.iter().enumerate().filter(|(_, s)| s.retired.is_none()).map(|(i, _)| i);
        match (active.next(), active.next()) {
            (Some(first), None) => Ok(Self { active: first, all: all.into() }),
            (None, _) => Err(SecretError::NoActive),
            _ => Err(SecretError::ManyActive),
        }
    }

    /// Reads a secret file.
    ///
    /// # Errors
    /// [`SecretError`] when the file cannot be read, can be read by others (mode 0600 is asked for), or does not parse.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        let io = |source| SecretError::Io { path: path.display().to_string(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(SecretError::Mode { path: path.display().to_string(), mode });
            }
        }
        Self::parse(&text)
    }

    /// A fresh random secret from the operating system, kid 0.
    ///
    /// # Errors
    /// [`SecretError::Random`] when the system has no randomness to give.
    pub fn random() -> Result<Self, SecretError> {
        Self::random_with(0)
    }

    /// The same with this key id.
    pub(crate) fn random_with(kid: u8) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0u8; MIN_BYTES]);
        getrandom::fill(bytes.as_mut()).map_err(|_| SecretError::Random)?;
        Ok(Self { all: vec![Secret::new(kid, bytes.as_ref())?].into(), active: 0 })
    }

    /// The text of a secret file that holds the active secret.
    pub fn to_line(&self) -> Zeroizing<String> {
        let secret = self.active();
        Zeroizing::new(format!("{} {}\n", secret.kid, HEXLOWER.encode(&secret.bytes)))
    }

    /// The secret that marks new copies.
    pub fn active(&self) -> &Secret {
        &self.all[self.active]
    }

    /// All secrets, retired ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.all.iter()
    }

    /// The secret with this key id.
    pub fn by_kid(&self, kid: u8) -> Option<&Secret> {
        self.all.iter().find(|s| s.kid == kid)
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self { all: vec![secret].into(), active: 0 }
    }
}

fn parse_line(line: &str, number: usize) -> Result<Secret, SecretError> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (kid, value) = match words.next() {
        None => ("0", first),
        Some(second) => (first, second),
    };
    let retired = match words.next() {
        None => None,
        Some(word) => {
            let time = word.strip_prefix("retired=").ok_or(SecretError::Line { number })?;
            Some(time.parse::<Timestamp>().map_err(|_| SecretError::Retired { number })?)
        }
    };
    if words.next().is_some() {
        return Err(SecretError::Line { number });
    }
    let kid: u8 = kid.parse().map_err(|_| SecretError::KeyId { kid: kid.to_owned() })?;
    let bytes = Zeroizing::new(decode(value).ok_or(SecretError::Line { number })?);
    let mut secret = Secret::new(kid, &bytes)?;
    secret.retired = retired;
    Ok(secret)
}

fn decode(value: &str) -> Option<Vec<u8>> {
    let value = value.as_bytes();
    [&HEXLOWER_PERMISSIVE, &BASE64, &BASE64_NOPAD, &BASE64URL, &BASE64URL_NOPAD]
        .iter()
        .find_map(|encoding| encoding.decode(value).ok())
}

/// Why a secret was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Fewer than 32 bytes.
    #[error("the secret has {bytes} bytes, at least {MIN_BYTES} are needed (make one with: openssl rand -hex 32)")]
    TooShort {
        /// Bytes found.
        bytes: usize,
    },
    /// Every byte is the same.
    #[error("all bytes of the secret are equal (make one with: openssl rand -hex 32)")]
    AllEqual,
    /// Not a number from 0 to 7.
    #[error("key id `{kid}` is not a number from 0 to {MAX_KID}")]
    KeyId {
        /// The id found.
        kid: String,
    },
    /// Two lines with one key id.
    #[error("key id {kid} stands twice")]
    Duplicate {
        /// The id found.
        kid: u8,
    },
    /// Not `kid value [retired=TIME]`.
    #[error("line {number} is not `kid value [retired=TIME]` with a value in hex or base64")]
    Line {
        /// Line number from 1.
        number: usize,
    },
    /// `retired=` without a time behind it.
    #[error("line {number}: `retired=` wants a time such as 2026-01-31T12:00:00Z")]
    Retired {
        /// Line number from 1.
        number: usize,
    },
    /// A log was written with another secret of this id: what it says of marks would be read wrongly.
    #[error(
        "key id {kid} stood for another secret when `{file}` was written: give the new secret another id, or keep that \
         log elsewhere"
    )]
    Reused {
        /// The id.
        kid: u8,
        /// The segment.
        file: String,
    },
    /// Every key is retired, or there is none.
    #[error("no active key: exactly one line must stand without `retired=`")]
    NoActive,
    /// More than one key is active.
    #[error("more than one active key: exactly one line must stand without `retired=`")]
    ManyActive,
    /// The file can be read by others.
    #[error("`{path}` has mode {mode:o}; it must not be readable by others (chmod 600)")]
    Mode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bytes(domain: &str, label: &str) -> String {
        let bytes: Vec<u8> = (0..32).collect();
        HEXLOWER.encode(&Secret::new(1, &bytes).unwrap().derive(domain, label)[..8])
    }

    #[test]
    fn derivation_matches_the_independent_reference() {
        // Computed with Python's hmac module.
        assert_eq!(first_bytes("deckle-etag-1", "mark"), "f5d4becd0bc8c31a");
        assert_eq!(first_bytes("deckle-challenge-1", "mac"), "cc054aa79ce96574");
        assert_eq!(first_bytes("deckle-trap-1", "mac"), "d8a3ac64b1761e14");
        assert_eq!(first_bytes("deckle-decoy-1", "seed"), "b6e8b0f7f28fb047");
        assert_eq!(first_bytes("deckle-shared-1", "key"), "92e7677265b7735a");
        assert_eq!(first_bytes("deckle-limit-1", "pk"), "56ae6148114f3182");
        assert_eq!(first_bytes("deckle-proxy-1", "via"), "220254cdaa51d2c5");
        assert_eq!(first_bytes("deckle-secret-1", "id"), "aabfa0dbb39a59e6");
        assert_eq!(first_bytes("deckle-watermark-1", "row"), "246a71f1276a1b88");
    }

    #[test]
    fn a_key_for_many_messages_gives_the_same_tags() {
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
        let key = HmacKey::new(&bytes);
        for length in [0, 1, 55, 56, 64, 200] {
            let message = vec![7; length];
            for _ in 0..2 {
                assert_eq!(key.tag(&[b"a", &message]), hmac_sha256(&bytes, &[b"a", &message]), "{length}");
            }
        }
    }

    #[test]
    fn a_file_may_hold_retired_keys() {
        let a = "11".repeat(31) + "22";
        let b = "33".repeat(31) + "44";
        let text = format!("# keys\n2 {a}\n1 {b} retired=2026-01-01T00:00:00Z # old\n");
        let secrets = Secrets::parse(&text).unwrap();
        assert_eq!(secrets.active().kid(), 2);
        assert!(secrets.by_kid(1).is_some());
        assert!(matches!(Secrets::parse(&format!("2 {a}\n1 {b}")), Err(SecretError::ManyActive)));
        assert!(matches!(Secrets::parse(&format!("2 {a}\n2 {b}")), Err(SecretError::Duplicate { kid: 2 })));
        assert!(matches!(Secrets::parse(&format!("8 {a}")), Err(SecretError::KeyId { .. })));
        assert!(matches!(Secrets::parse("1 zz"), Err(SecretError::Line { number: 1 })));
        assert!(matches!(Secrets::parse(""), Err(SecretError::NoActive)));
        assert!(matches!(Secrets::parse(&"00".repeat(32)), Err(SecretError::AllEqual)));
    }

    #[test]
    fn retired_is_a_time() {
        let (a, b) = ("11".repeat(31) + "22", "33".repeat(31) + "44");
        let parse = |line: &str| Secrets::parse(&format!("2 {a}\n1 {b} {line}"));
        let retired = |line| parse(line).unwrap().by_kid(1).unwrap().retired().unwrap().to_string();
        assert_eq!(retired("retired=2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        assert_eq!(retired("retired=2026-01-01T01:30:00.5+01:30 # old"), "2026-01-01T00:00:00.5Z");
        assert_eq!(parse("retired=2026-01-01T00:00:00Z").unwrap().active().retired(), None);
        for bad in ["retired=", "retired=yes", "retired=2026-13-01T00:00:00Z", "retired=2026-01-01T00:00:00"] {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, SecretError::Retired { number: 2 }), "{bad}: {error}");
        }
        for bad in ["old", "retired", "retired=2026-01-01T00:00:00Z and=more"] {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, SecretError::Line { number: 2 }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_same_under_every_id() {
        let bytes: Vec<u8> = (0..32).collect();
        for kid in [0, 1, 7] {
            assert_eq!(Secret::new(kid, &bytes).unwrap().fingerprint(), "aabfa0db");
        }
        assert_ne!(Secret::new(0, &bytes[..31].repeat(2)).unwrap().fingerprint(), "aabfa0db");
    }

    #[test]
    fn debug_never_shows_the_bytes() {
        let secret = Secret::new(3, &(0..32).collect::<Vec<u8>>()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(3)");
    }
}
