//! Whose signatures count.

use std::fmt;
use std::path::Path;

use crate::audit::integrity::Opening;
use crate::audit::signing::PublicKey;

/// The public half beside a log.
const PUBLIC: &str = "audit.ed25519.pub";

/// Where a key comes from, from the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// Named by who asks.
    Given,
    /// The file beside the log.
    Directory,
    /// The log itself: whoever wrote the log anew could have named another.
    Log,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "the key that was given",
            Self::Directory => PUBLIC,
            Self::Log => "key from the log itself, which proves less",
        })
    }
}

/// The keys for one segment.
pub(in crate::review) struct Keyring<'k> {
    given: &'k [PublicKey],
    directory: Option<PublicKey>,
}

/// What is known of a key id.
pub(in crate::review) enum Found {
    Key(PublicKey, KeySource),
    /// Nobody has this key.
    Unknown,
    /// Keys were given, and this is none of them.
    Foreign,
}

impl<'k> Keyring<'k> {
    pub(in crate::review) fn beside(file: &Path, given: &'k [PublicKey]) -> Self {
        let text = file.parent().and_then(|dir| std::fs::read_to_string(dir.join(PUBLIC)).ok());
        let directory = text.and_then(|text| PublicKey::from_pem(&text).or_else(|| PublicKey::from_hex(&text)));
        Self { given, directory }
    }

    /// Only some keys count.
    pub(super) fn is_strict(&self) -> bool {
        !self.given.is_empty()
    }

    pub(in crate::review) fn find(&self, id: &str, opening: Option<&Opening>) -> Found {
        if self.is_strict() {
            let given = self.given.iter().find(|key| key.id() == id);
            return given.map_or(Found::Foreign, |key| Found::Key(key.clone(), KeySource::Given));
        }
        if let Some(key) = self.directory.as_ref().filter(|key| key.id() == id) {
            return Found::Key(key.clone(), KeySource::Directory);
        }
        let named = opening.and_then(|opening| PublicKey::from_hex(opening.key_public.as_deref()?));
        named.filter(|key| key.id() == id).map_or(Found::Unknown, |key| Found::Key(key, KeySource::Log))
    }
}
