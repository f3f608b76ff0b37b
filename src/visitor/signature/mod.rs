//! **Who signs**: HTTP Message Signatures (RFC 9421) in the profile of Web Bot Auth
//! (draft-ietf-webbotauth-httpsig-protocol-01).
//!
//! A robot signs its requests with a key that its operator publishes in a *directory*, and names that directory in
//! `Signature-Agent`. A signature that holds is the strongest proof of who asks: the operator's host is the identity,
//! whatever the `User-Agent` says. It proves no good intent; the policy decides about that.
//!
//! Each signature of a request is judged alone, in this order. A request that bears none with the tag of the profile
//! has no claim ([`Verifier::check`] gives `None`), which is no fault.
//!
//! 1. Its tag is `web-bot-auth`.
//! 2. `Signature-Agent` has a member of the signature's own label; as a bare string only with
//!    `visitor.botauth.legacy_agent`.
//! 3. The member is an origin of https with its usual port, or the well-known address there.
//! 4. That origin is in `visitor.botauth.directories`, and its keys are loaded. What is not on the list is never looked
//!    up anywhere.
//! 5. The algorithm is `ed25519`.
//! 6. The signature covers that member.
//! 7. It is not from the future (a minute is allowed), at most a day old, not expired, and made for a day at most.
//! 8. It covers `@authority` or `@target-uri`, and the host is one of the site's own.
//! 9. `keyid` is the thumbprint (RFC 7638) of a key *of that directory* that is in use.
//! 10. It verifies, strictly, over what has arrived ([`base`]), and no other network has shown the same one before.
//!
//! # Deployment caveat
//! What the client signed must be what is checked. A proxy in front that changes the path, the host or a covered field
//! breaks signatures; one that ends TLS must say so (`X-Forwarded-Proto`), else `@target-uri` has the wrong scheme.
//!
//! The draft is moving; nothing outside of this folder knows its details.

mod base;
mod check;
mod directory;
mod replays;

use serde::{Deserialize, Serialize};

use base::{BaseError, Fault};

pub(crate) use base::Target;
pub(crate) use check::{Incoming, Verifier};
pub use directory::{Directories, Directory, DirectoryError};
#[cfg(feature = "proxy")]
pub(crate) use directory::{MAX_BYTES as KEYS_MAX_BYTES, WELL_KNOWN as KEYS_PATH};

/// Section `[visitor.botauth]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BotAuthSettings {
    /// Origins whose key directories are believed, such as `https://crawler.example`; nothing else is ever fetched.
    pub directories: Vec<String>,
    /// Read a `Signature-Agent` that is a bare string, as drafts of 2025 had it.
    pub legacy_agent: bool,
}

impl BotAuthSettings {
    /// Do they hold?
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        Directories::check(&self.directories).map_err(|message| format!("`visitor.botauth.directories`: {message}"))
    }
}

/// What a signature that does not hold says about who asks. Later ones weigh more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Nothing: it could not be judged.
    Unverifiable,
    /// Somebody claims what is not so.
    Failed,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// A field does not parse, or a signature has no value.
    #[error("`{field}` cannot be read")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// A field is longer, or there are more signatures, than is looked at.
    #[error("`{field}` is too long")]
    TooLong {
        /// The field.
        field: &'static str,
    },
    /// An agent is named, and no signature has the tag of the profile.
    #[error("no signature has the tag `web-bot-auth`")]
    Tag,
    /// No member of `Signature-Agent` has the label of the signature.
    #[error("`Signature-Agent` says nothing for this signature")]
    AgentMissing,
    /// `Signature-Agent` is a bare string, which is not read.
    #[error("`Signature-Agent` is in the form of an old draft")]
    AgentLegacy,
    /// The keys would be found in a way that is not known here.
    #[error("`Signature-Agent` has a type that is not known")]
    AgentType,
    /// The directory's address is one of http.
    #[error("`Signature-Agent` is not https")]
    AgentPlain,
    /// The keys are in the field itself: no identity.
    #[error("`Signature-Agent` holds keys")]
    AgentInline,
    /// Not the address of a directory.
    #[error("`Signature-Agent` is not an origin")]
    AgentAddress,
    /// The signature does not cover who is named.
    #[error("the signature does not cover `Signature-Agent`")]
    AgentNotCovered,
    /// A directory that is not on the list.
    #[error("the directory is not on the list")]
    Unlisted,
    /// A listed directory whose keys are not loaded yet.
    #[error("the keys of the directory are not loaded yet")]
    Pending,
    /// Not `ed25519`.
    #[error("the algorithm is not `ed25519`")]
    Algorithm,
    /// `created` or `expires` is not there.
    #[error("the signature has no time")]
    NoTime,
    /// Made in the future.
    #[error("the signature is from the future")]
    NotYet,
    /// Made more than a day ago.
    #[error("the signature is too old")]
    TooOld,
    /// Its time is over.
    #[error("the signature has expired")]
    Expired,
    /// Made for longer than a day.
    #[error("the signature is made for too long a time")]
    Lifetime,
    /// It holds for any site.
    #[error("the signature does not cover the host")]
    HostNotCovered,
    /// It may be meant for another site.
    #[error("the host is not one of this site")]
    HostUnknown,
    /// The directory has no such key.
    #[error("the directory has no such key")]
    KeyUnknown,
    /// The directory has no such key; another one has.
    #[error("the key is that of another directory")]
    KeyForeign,
    /// The key is not in use now.
    #[error("the key is not in use")]
    KeyTime,
    /// What is covered cannot be rebuilt.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The signature is not that of this key over this request.
    #[error("the signature does not verify")]
    Invalid,
    /// Shown before, from elsewhere.
    #[error("the signature was shown by another network before")]
    Replayed,
}

impl SignatureError {
    /// The stable spelling.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLong { .. } => "too_long",
            Self::Tag => "tag",
            Self::AgentMissing => "agent_missing",
            Self::AgentLegacy => "agent_legacy",
            Self::AgentType => "agent_type",
            Self::AgentPlain => "agent_plain",
            Self::AgentInline => "agent_inline",
            Self::AgentAddress => "agent_address",
            Self::AgentNotCovered => "agent_not_covered",
            Self::Unlisted => "unlisted",
            Self::Pending => "pending",
            Self::Algorithm => "algorithm",
            Self::NoTime => "no_time",
            Self::NotYet => "not_yet",
            Self::TooOld => "too_old",
            Self::Expired => "expired",
            Self::Lifetime => "lifetime",
            Self::HostNotCovered => "host_not_covered",
            Self::HostUnknown => "host_unknown",
            Self::KeyUnknown => "key_unknown",
            Self::KeyForeign => "key_foreign",
            Self::KeyTime => "key_time",
            Self::Base(_) => "base",
            Self::Invalid => "invalid",
            Self::Replayed => "replayed",
        }
    }

    /// What follows from it. A time that does not fit may be a clock that is wrong, here or there, and what the profile asks
    /// for and is not there an old draft: neither is a lie, and neither proves anything.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::KeyForeign | Self::Invalid | Self::Replayed => Outcome::Failed,
            // What is not known here may be right; what was signed and is gone is not.
            Self::Base(error) if !matches!(error.fault, Fault::Unsupported | Fault::TooLong) => Outcome::Failed,
            _ => Outcome::Unverifiable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the vectors. `None`: they are not here.
    pub(super) fn vectors(file: &str) -> Option<serde_json::Value> {
        let dir = std::env::var("DECKLE_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
        let Ok(text) = std::fs::read(format!("{dir}/web-bot-auth/{file}")) else {
            eprintln!("skipped: no vectors (set DECKLE_VECTORS)");
            return None;
        };
        Some(serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn settings_name_the_key_and_the_fault() {
        let with = |list: &[&str]| BotAuthSettings {
            directories: list.iter().map(|&text| text.to_owned()).collect(),
            ..BotAuthSettings::default()
        };
        assert_eq!(BotAuthSettings::default().check(), Ok(()));
        assert_eq!(with(&["https://a.example", "https://b.example"]).check(), Ok(()));
        for (list, says) in [
            (vec!["http://a.example"], "http://a.example"),
            (vec!["https://a.example/keys"], "https://a.example/keys"),
            (vec!["https://a.example", "https://A.example:443/"], "twice"),
            (vec![""], "``"),
            (vec!["https://a.example"; 257], "257"),
        ] {
            let error = with(&list).check().unwrap_err();
            assert!(error.starts_with("`visitor.botauth.directories`: ") && error.contains(says), "{error}");
        }
        let read = |text: &str| toml::from_str::<BotAuthSettings>(text);
        assert_eq!(read("").unwrap(), BotAuthSettings::default());
        assert!(read("legacy_agent = true").unwrap().legacy_agent);
        assert!(read("directory = []").is_err());
    }
}
