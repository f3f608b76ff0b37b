//! **Rewrite**: outgoing HTML, the same for every visitor but for the alternatives of its slots.
//!
//! [`ProtectLayer`] decides once, when the head of a response is here ([`plan`]), and then changes the page in a stream:
//! the copy guard ([`guard`]), the notice ([`notice`]), and the marks that [`watermark`](crate::watermark) chooses.
//!
//! 1. *Scan and splice*: lol_html only looks; deckle copies the source and puts its edits in by byte range. Nothing
//!    outside an edit can change or get lost.
//! 2. Everything inserted is ASCII but the marks; it goes before the first element of the head that is not `meta`, and
//!    before an explicit `</body>` or `</html>`. Fragments, AMP and frames get no script.
//! 3. Whatever goes wrong ends the list of edits; the rest of the page goes through byte for byte, and the
//!    [`PageReport`] says why.
//! 4. A marked page is `private`, has no ranges and no digests, and an entity tag that only its visitor can use.
//!
//! # Deployment caveat
//! Client code stops no bot: a scraper takes the page before any script runs. The guard informs readers; what helps
//! against scrapers are limits, marks and the log.

mod accept;
mod ambiguity;
mod appended;
mod article;
mod block;
mod body;
mod card;
mod charset;
mod chunks;
mod connection;
mod csp;
mod declaration;
mod decode;
mod deletion;
mod element;
pub mod encoding;
mod ending;
mod etag;
mod forms;
pub mod guard;
mod head;
mod headers;
mod hydration;
mod learn;
mod marks;
mod markup;
mod note;
pub mod notice;
mod opening;
mod outcome;
mod output;
pub(crate) mod packed;
mod patience;
mod pipeline;
mod plain;
pub mod plan;
mod policy;
mod prescan;
mod protect;
mod regions;
mod replace;
mod report;
mod rewrite;
mod scan;
mod signature;
mod sniff;
mod splice;
mod style;
mod tail;
mod tee;
mod text;
mod tokens;
mod variants;
mod window;

use serde::{Deserialize, Serialize};

use crate::unit::Size;

pub use body::{BodyError, PageBody};
#[cfg(feature = "proxy")]
pub(crate) use connection::{OF_THE_CONNECTION, is_claim, nominated};
pub use csp::{Amend, CspSettings};
#[cfg(feature = "proxy")]
pub(crate) use encoding::NearSite;
pub use guard::{GuardMode, GuardSettings};
#[cfg(feature = "proxy")]
pub(crate) use headers::is_html;
pub(crate) use learn::PageKind;
pub use learn::{Finding, Findings};
pub use notice::NoticeSettings;
pub use plain::plain_text;
pub use plan::{PlanCounters, PlanCounts, Skip};
pub use policy::PagePolicy;
pub use protect::{KnownPages, Marking, Protect, ProtectLayer, ResponseFuture};
pub use replace::Replace;
pub use report::{PageFacts, PageReport, Rewrite};
pub use style::Styles;
#[cfg(feature = "proxy")]
pub(crate) use style::{ANY_HOST, MAX_SHEET, name as sheet_name};
#[cfg(feature = "cli")]
pub(crate) use style::{imports as sheet_imports, join};

/// Section `[page]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `false`: every body leaves byte for byte.
    pub enabled: bool,
    /// What is left alone.
    pub skip: SkipSettings,
    /// Obey `Cache-Control: no-transform` of the site (RFC 9110 §7.7).
    pub respect_no_transform: bool,
    /// Rewrite pages that are signed (RFC 9421), and take the signatures out that a rewritten page makes wrong.
    pub break_signatures: bool,
    /// A shared cache stands in front of deckle. With marks that is an error: it would hand one visitor's copy to all.
    pub shared_cache: bool,
    /// What becomes of an article in a form that deckle cannot mark, such as Markdown for programs.
    pub alternate: Alternate,
    /// Compress pages that come uncompressed, in what the client likes best. `false`: a page leaves in the coding it came in.
    pub compress: bool,
    /// Add a comment of random length, so that the length of a compressed page tells nothing of its text (BREACH).
    pub length_jitter: bool,
    /// Take an answer without `Content-Type` for a page if browsers would. `false`: it is left alone.
    pub sniff: bool,
    /// Rewrite `application/xhtml+xml`, too: guard, notice and rights, no marks. `false`: it is left alone.
    pub xhtml: bool,
    /// `Server-Timing` in each answer: what judging took, and the id of the line in the log. The only field that names deckle.
    pub server_timing: bool,
    /// Pages hold `<esi:…>` tags, that a cache in front of deckle fills in.
    pub esi: bool,
    /// Charset of pages that name none.
    pub fallback_charset: String,
    /// Most bytes of a decoded page; at least 1 MiB.
    pub max_decoded: Size,
    /// Most memory of one scan; 64 KiB to 64 MiB.
    pub max_memory: Size,
    /// Most bytes that are held back; 16 KiB to 1 MiB.
    pub window: Size,
    /// Memory for the plans of pages that were seen before; 0: every page is parsed.
    pub plan_cache: Size,
    /// A page that several visitors get in gzip is compressed once, and marked in compressed form. `false`: each answer is
    /// compressed.
    pub packed: bool,
    /// Of so many answers in that form one is inflated and compared with the page; 0: none.
    pub packed_check: u32,
    /// Where a client likes no coding better than gzip, a page that is packed leaves in gzip, even if it came in Brotli or Zstandard:
    /// that costs a fraction.
    pub prefer_packed: bool,
    /// The copy guard.
    pub guard: GuardSettings,
    /// The notice.
    pub notice: NoticeSettings,
    /// Content Security Policy.
    pub csp: CspSettings,
    /// Public origin of the site, as in `https://news.example`; never taken from `Host`. With it a policy that refuses the
    /// guard can be given the guard's address, which is the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            skip: SkipSettings::default(),
            respect_no_transform: true,
            break_signatures: false,
            shared_cache: false,
            alternate: Alternate::Pass,
            compress: false,
            length_jitter: false,
            sniff: false,
            xhtml: false,
            server_timing: false,
            esi: false,
            fallback_charset: "windows-1252".to_owned(),
            max_decoded: Size(64 << 20),
            max_memory: Size(2 << 20),
            window: Size(64 << 10),
            plan_cache: Size(64 << 20),
            packed: true,
            packed_check: 4_096,
            prefer_packed: true,
            guard: GuardSettings::default(),
            notice: NoticeSettings::default(),
            csp: CspSettings::default(),
            origin: None,
        }
    }
}

/// What becomes of articles in Markdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alternate {
    /// They pass as they are; the log says so.
    Pass,
    /// 406 (RFC 9110 §15.5.7).
    Refuse,
}

/// Section `[page.skip]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SkipSettings {
    /// Globs of paths.
    pub paths: Vec<String>,
}

/// Why the settings of `[page]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// A key whose value does not hold.
    #[error("`{key}`: {message}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
    /// An entry of a list that does not hold.
    #[error("`{key}[{at}]`: {message}")]
    Entry {
        /// The key of the list.
        key: &'static str,
        /// Which entry, from 0.
        at: usize,
        /// What is wrong.
        message: String,
    },
    /// The statement of rights does not hold.
    #[error(transparent)]
    Rights(#[from] crate::rights::RightsError),
}

impl Settings {
    fn check(&self) -> Result<(), PageError> {
        let size = |key, value: Size, range: std::ops::RangeInclusive<u64>| {
            if range.contains(&value.0) {
                Ok(())
            } else {
                let message = format!("`{value}` is not between {} and {}", Size(*range.start()), Size(*range.end()));
                Err(PageError::Value { key, message })
            }
        };
        size("page.max_decoded", self.max_decoded, 1 << 20..=1 << 40)?;
        size("page.max_memory", self.max_memory, 64 << 10..=64 << 20)?;
        size("page.window", self.window, 16 << 10..=1 << 20)?;
        let label = encoding_rs::Encoding::for_label(self.fallback_charset.as_bytes());
        if label.is_none_or(charset::is_refused) {
            let message = format!("`{}` is no ASCII-compatible charset", self.fallback_charset);
            return Err(PageError::Value { key: "page.fallback_charset", message });
        }
        if let Some(origin) = self.origin.as_ref().filter(|origin| !is_origin(origin)) {
            let message = format!("`{origin}` is no origin such as `https://news.example`");
            return Err(PageError::Value { key: "page.origin", message });
        }
        self.guard.check().map_err(|(key, message)| PageError::Value { key, message })
    }
}

/// Scheme, host and port, nothing else.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'/' | b'[' | b']'));
    let names = plain && matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    names && uri.path_and_query().is_none_or(|p| p == "/") && !text.ends_with('/')
}
