//! Signatures over heads (Ed25519, RFC 8032).
//!
//! The key is random and belongs to the log alone: who can mark pages must not be able to sign, and whoever checks needs
//! only the public half.

use std::io::ErrorKind;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::chain::{Digest, HEAD_CONTEXT};
use super::privacy::write_private;

/// In front of the 32 bytes of a public key in SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a key file is, and is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system says so.
    #[error("cannot use the signing key `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Others could read it.
    #[error("others may read the signing key `{path}`: `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: String,
    },
    /// Something else stands in it.
    #[error("`{path}` holds no signing key (64 hexadecimal digits)")]
    Malformed {
        /// The file.
        path: String,
    },
    /// The system gives no random bytes.
    #[error("no random bytes for a signing key")]
    Random,
}

/// The half that signs.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// Reads the key of a file, or makes one, with its public half beside it (`<file>.pub`).
    ///
    /// # Errors
    /// [`KeyError`] if the file cannot be had, is readable for others, or holds something else.
    pub fn in_file(path: &Path) -> Result<Self, KeyError> {
        match Self::read(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Self::make(path),
            other => other,
        }
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let name = || path.display().to_string();
        let io = |source| KeyError::Io { path: name(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
                return Err(KeyError::Exposed { path: name() });
            }
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok().map(Zeroizing::new);
        let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.as_slice().try_into().ok());
        let seed = Zeroizing::new(seed.ok_or_else(|| KeyError::Malformed { path: name() })?);
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Makes a key and writes it.
    ///
    /// # Errors
    /// [`KeyError`] if it cannot be written.
    pub fn make(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.display().to_string(), source };
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&seed));
        let text = Zeroizing::new(HEXLOWER.encode(seed.as_ref()) + "\n");
        write_private(path, text.as_bytes()).map_err(io)?;
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        std::fs::write(&public, key.public().to_pem()).map_err(io)?;
        Ok(key)
    }

    /// The half that checks.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over a head, base64.
    pub fn sign(&self, head: &Digest) -> String {
        BASE64.encode(&self.0.sign(&[HEAD_CONTEXT, head].concat()).to_bytes())
    }
}

/// The half that checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?.try_into().ok()?;
        VerifyingKey::from_bytes(&bytes).ok().map(Self)
    }

    /// Reads a PEM file of type `PUBLIC KEY`, as openssl writes it.
    pub fn from_pem(text: &str) -> Option<Self> {
        let inside = text.split("-----BEGIN PUBLIC KEY-----").nth(1)?.split("-----END PUBLIC KEY-----").next()?;
        let inside: String = inside.split_whitespace().collect();
        let der = BASE64.decode(inside.as_bytes()).ok()?;
        let bytes: [u8; 32] = der.strip_prefix(&SPKI)?.try_into().ok()?;
        VerifyingKey::from_bytes(&bytes).ok().map(Self)
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(self.0.as_bytes())
    }

    /// For openssl.
    pub fn to_pem(&self) -> String {
        let der = [SPKI.as_slice(), self.0.as_bytes()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der))
    }

    /// A short name: the first eight digits of the SHA-256 of the key.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        HEXLOWER.encode(digest.get(..4).unwrap_or_default())
    }

    /// Is this the signature over that head? Weak keys and signatures that can be changed are refused.
    pub fn verify(&self, head: &Digest, signature_base64: &str) -> bool {
        let signature = BASE64.decode(signature_base64.as_bytes()).ok();
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
        signature.is_some_and(|signature| self.0.verify_strict(&[HEAD_CONTEXT, head].concat(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_must_be_private() {
        let dir = std::env::temp_dir().join(format!("deckle-signing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("audit.ed25519");
        let key = SigningKey::in_file(&path).unwrap();
        assert_eq!(SigningKey::in_file(&path).unwrap().public(), key.public());
        let head = [7; 32];
        let signature = key.sign(&head);
        assert!(key.public().verify(&head, &signature));
        assert!(!key.public().verify(&[8; 32], &signature));
        assert!(!key.public().verify(&head, "AAAA"));
        let pem = std::fs::read_to_string(dir.join("audit.ed25519.pub")).unwrap();
        assert_eq!(PublicKey::from_pem(&pem), Some(key.public()));
        assert_eq!(PublicKey::from_hex(&key.public().to_hex()), Some(key.public()));
        assert_eq!(key.public().id().len(), 8);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(SigningKey::in_file(&path), Err(KeyError::Exposed { .. })));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(SigningKey::in_file(&path), Err(KeyError::Malformed { .. })));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
