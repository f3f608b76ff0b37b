//! **What we declare**: holder, licence, and what may be done with the texts; stated once, written everywhere.
//!
//! [`Settings`] become a [`Policy`]; from it come the response fields ([`fields`]), robots.txt ([`statement`]) and the
//! documents of TDMRep and RSL ([`documents`]). What the site says itself is never loosened: of two statements the
//! stricter one goes out. What is not stated is not said anywhere. What an image says of itself is only read ([`image`]).
//!
//! ```
//! use deckle::rights::{Policy, Pref, Settings};
//! let rights: Settings = toml::from_str("holder = \"The Post\"\nuses = { ai_train = \"deny\" }")?;
//! let policy = Policy::new(&rights)?;
//! assert_eq!(policy.resolve("/a-story").ai_train, Pref::Deny);
//! assert_eq!(policy.resolve("/a-story").search, Pref::Unstated);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod compliance;
pub mod documents;
pub mod fields;
pub mod image;
pub mod lint;
mod memory;
mod policy;
pub mod robots;
mod signal;
pub mod statement;
mod uses;

use serde::{Deserialize, Serialize};

pub use memory::RobotsMemory;
pub use policy::Policy;
pub use uses::{Pref, Use, Uses};

/// Section `[rights]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who holds the rights.
    pub holder: String,
    /// The notice for programs; unset: the text of `page.notice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// How a quotation names its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
    /// Refusing search, or everybody the whole site, takes a news site out of every search engine; only with this it is believed.
    pub i_mean_it: bool,
    /// The policy for text and data mining (TDMRep); https. deckle answers it where the site does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tdm_policy: Option<String>,
    /// TDMRep in a `<meta>`, too.
    pub tdm_meta: bool,
    /// Content-Signal as a response field, too.
    pub content_signal_header: bool,
    /// Answer `/ai.txt` (Spawning) where the site has none.
    pub ai_txt: bool,
    /// Sitemaps for robots.txt; https.
    pub sitemaps: Vec<String>,
    /// The licence.
    pub license: LicenseSettings,
    /// What is said about the whole site.
    pub uses: Uses,
    /// What search results may show.
    pub snippet: SnippetSettings,
    /// What is said about parts of the site, or to some agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<ScopeSettings>,
}

/// Section `[rights.license]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenseSettings {
    /// Its name, as people read it.
    pub name: String,
    /// The page for people; https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The document for programs (RSL 1.0); https. deckle answers it where the site does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Section `[rights.snippet]`: `X-Robots-Tag`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnippetSettings {
    /// Most characters; −1: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_snippet: Option<i32>,
    /// Most seconds of a video; −1: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_video: Option<i32>,
    /// Largest preview of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_image: Option<ImagePreview>,
    /// No translation is offered.
    pub notranslate: bool,
}

/// How large a preview of an image may be. Ordered by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImagePreview {
    /// None at all.
    None,
    /// Small.
    Standard,
    /// As large as the screen.
    Large,
}

/// One `[[rights.scope]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeSettings {
    /// Pattern in the language of robots.txt (RFC 9309 §2.2.2): `*` for anything, `$` for the end.
    pub path: String,
    /// Product tokens of agents; empty: everybody. Only robots.txt can speak to one agent.
    pub agents: Vec<String>,
    /// What is said.
    pub uses: Uses,
}

impl Default for ScopeSettings {
    fn default() -> Self {
        Self { path: "/".to_owned(), agents: Vec::new(), uses: Uses::default() }
    }
}

/// Why the settings of `[rights]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RightsError {
    /// Not an absolute https address.
    #[error("`{key}` holds `{value}`; it must be an absolute https address of its own, without fragment")]
    Address {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// Not a pattern.
    #[error("`rights.scope.path` is `{value}`; a pattern starts with `/` and holds no space and no `#`")]
    Pattern {
        /// The value.
        value: String,
    },
    /// Not a product token.
    #[error("`rights.scope.agents` holds `{value}`; a product token is made of letters, `-` and `_` (RFC 9309 §2.2.1)")]
    Agent {
        /// The value.
        value: String,
    },
    /// A preference about what nobody may fetch.
    #[error("`rights` allows a use of `{path}`, which may not be fetched")]
    AllowedButNotFetched {
        /// The pattern.
        path: String,
    },
    /// Search engines are refused, or everybody.
    #[error("`rights` keeps search engines from `{path}`; if that is meant, set `rights.i_mean_it = true`")]
    SearchDenied {
        /// The pattern.
        path: String,
    },
}
