//! Section `[visitor]` of the configuration, and what is wrong with it.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

#[cfg(feature = "web-bot-auth")]
use super::BotAuthSettings;
use super::RangeSettings;
#[cfg(feature = "verify-dns")]
use super::VerifySettings;
use super::route::ASSET_EXTENSIONS;

/// Section `[visitor]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Prefixes, or `preset:` and one of `cloudflare fastly cloudfront bunny akamai loopback private`.
    pub trusted_proxies: Vec<String>,
    /// `x-forwarded-for`, `forwarded` or `single:<header>`; unset = what a preset asks for, else `x-forwarded-for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<String>,
    /// A field in which a trusted proxy says how the client has greeted TLS (JA4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4_header: Option<String>,
    /// A database of autonomous systems (MMDB), read whole at a start and at a reload; needs feature `asn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn_db: Option<String>,
    /// `on` or `off`: refuse to enforce while the addresses look like an unknown proxy's.
    pub proxy_check: Switch,
    /// Prefixes that are always let through.
    pub allow: Vec<IpNet>,
    /// Prefixes that are always blocked; `allow` is stronger.
    pub deny: Vec<IpNet>,
    /// What counts as what.
    pub routes: RouteSettings,
    /// Address ranges that operators of robots publish.
    pub ranges: RangeSettings,
    /// Robots whose operators ask to check them by DNS.
    #[cfg(feature = "verify-dns")]
    pub verify: VerifySettings,
    /// Needs feature `verify-dns`.
    #[cfg(not(feature = "verify-dns"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<toml::Table>,
    /// Robots that sign their requests.
    #[cfg(feature = "web-bot-auth")]
    pub botauth: BotAuthSettings,
    /// Needs feature `web-bot-auth`.
    #[cfg(not(feature = "web-bot-auth"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub botauth: Option<toml::Table>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded: None,
            ja4_header: None,
            asn_db: None,
            proxy_check: Switch::On,
            allow: Vec::new(),
            deny: Vec::new(),
            routes: RouteSettings::default(),
            ranges: RangeSettings::default(),
            #[cfg(feature = "verify-dns")]
            verify: VerifySettings::default(),
            #[cfg(not(feature = "verify-dns"))]
            verify: None,
            #[cfg(feature = "web-bot-auth")]
            botauth: BotAuthSettings::default(),
            #[cfg(not(feature = "web-bot-auth"))]
            botauth: None,
        }
    }
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Switched on.
    On,
    /// Switched off.
    Off,
}

/// Section `[visitor.routes]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// Where deckle's own paths are.
    pub mount: String,
    /// Globs of feeds, beside those that are recognised anyway.
    pub feed: Vec<String>,
    /// Globs of data for programs.
    pub api: Vec<String>,
    /// Globs of pages that look like something else.
    pub page: Vec<String>,
    /// Extensions or globs of files that are no pages: `Range` passes for these, and for media by `Sec-Fetch-Dest`.
    pub asset: Vec<String>,
    /// Globs that are always let through; still logged.
    pub never: Vec<String>,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            mount: "/.deckle".to_owned(),
            feed: Vec::new(),
            api: Vec::new(),
            page: Vec::new(),
            asset: ASSET_EXTENSIONS.map(str::to_owned).to_vec(),
            never: Vec::new(),
        }
    }
}

/// Why the settings of `[visitor]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitorError {
    /// A prefix or preset that does not exist.
    #[error(
        "`visitor.trusted_proxies`: `{value}` is neither a prefix nor one of preset:cloudflare, preset:fastly, preset:cloudfront, preset:bunny, preset:akamai, preset:loopback, preset:private"
    )]
    Proxy {
        /// The entry.
        value: String,
    },
    /// A preset whose prefixes do not ship with deckle stands alone.
    #[error("`visitor.trusted_proxies`: `{preset}` ships no prefixes; add those that the provider publishes")]
    PresetNeedsPrefixes {
        /// The preset.
        preset: String,
    },
    /// Two presets ask for different headers.
    #[error("`visitor.trusted_proxies`: the presets ask for different headers; set `visitor.forwarded`")]
    PresetsDisagree,
    /// Not one of the three forms.
    #[error("`visitor.forwarded`: `{value}` is not `x-forwarded-for`, `forwarded` or `single:<header>`")]
    Forwarded {
        /// The value.
        value: String,
    },
    /// Not a name of a field.
    #[error("`visitor.ja4_header`: `{value}` is no name of a field")]
    Ja4 {
        /// The value.
        value: String,
    },
    /// The database of autonomous systems.
    #[error("`visitor.asn_db`: {message}")]
    Systems {
        /// File, and what is wrong.
        message: String,
    },
    /// The ranges of operators.
    #[error("{message}")]
    Ranges {
        /// Key or file, and what is wrong.
        message: String,
    },
    /// Section `[visitor.verify]`.
    #[error("{message}")]
    Verify {
        /// Key, value, and what is allowed.
        message: String,
    },
    /// Section `[visitor.botauth]`.
    #[error("{message}")]
    BotAuth {
        /// Key, value, and what is allowed.
        message: String,
    },
    /// A path or pattern.
    #[error("`{key}`: {message}")]
    Route {
        /// The key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}
