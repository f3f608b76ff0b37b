//! **Write down**: one record a response, off the request path, at the end of the body.
//!
//! [`AuditLayer`] puts an [`AuditRecord`] together and hands it to a [`Sink`]: [`FileSink`] writes NDJSON segments on a
//! thread of its own, [`TracingSink`] (the library's default) makes one event of each; `audit.sinks` names these and others
//! (`docs/sinks.md`).
//!
//! 1. The request path never waits: a full queue drops the new record and counts it, and the count goes into the log.
//! 2. A record is written when the body has ended, broken off, or was dropped; then `deckle.complete` is false.
//! 3. Addresses are cut to /24 and /48; only declared robots, impostors and whoever was challenged or refused are named in
//!    full.
//! 4. Lines are covered by Merkle trees, a chain of heads and, with feature `proxy`, signatures: what was changed later
//!    shows, and a line can be proved without showing any other.
//!
//! # Deployment caveat
//! A killed process loses what is in the queue and at most `audit.flush` (50 ms) of lines; a power cut costs a second
//! (`audit.checkpoint_every`). Whoever holds the log *and* its key can write both anew; `audit.anchor` sends heads away.

mod anchor;
pub mod chain;
mod choice;
pub mod clickhouse;
mod combined;
mod cut;
mod draft;
mod file;
#[cfg(feature = "proxy")]
pub mod forget;
mod index;
#[cfg(feature = "proxy")]
pub(crate) mod integrity;
mod json;
mod lines;
mod live;
pub mod log;
#[cfg(feature = "otlp")]
mod otlp;
mod plans;
mod policy;
mod privacy;
mod queue;
pub mod reader;
pub mod record;
mod resume;
mod robots;
#[cfg(all(test, feature = "proxy"))]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "for tests")]
pub(crate) mod sample_log;
mod secrets;
#[cfg(feature = "proxy")]
pub(crate) mod segment_file;
mod segments;
#[cfg(feature = "proxy")]
pub mod signing;
mod sink;
mod sinks;
mod storage;
mod writer;

use serde::{Deserialize, Serialize};

pub use anchor::Anchor;
pub use choice::{ArticlePattern, Compress, Escalate, Fsync, OnFailure, OtlpSettings};
pub use file::FileSink;
pub use json::is_hidden;
pub use live::{ACTIONS, ActionRow, Article, CategoryRow, Count, Histogram, Live, Reason, Snapshot, Step, Suspect};
pub use log::{Audit, AuditLayer, LogBody};
pub use policy::PolicyText;
pub use record::{AuditRecord, PageSummary};
pub use sink::{Drops, Sink, SinkError, Stats, TracingSink};

use crate::unit::{Size, Span};
pub(crate) use privacy::redact_path;
#[cfg(feature = "proxy")]
pub(crate) use privacy::write_private;
#[cfg(feature = "proxy")]
pub(crate) use secrets::free_key_id;
pub(crate) use sinks::Sinks;

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SinkKind {
    /// NDJSON segments in `audit.dir`.
    File,
    /// Events of target `deckle::hit`.
    Tracing,
    /// The same lines as in segments, on standard output.
    Stdout,
    /// `access.log` in `audit.dir`, in the Combined format.
    Combined,
    /// The same, with category, verification, score, action and mark in one more field.
    #[serde(rename = "combined+deckle")]
    CombinedDeckle,
    /// Log records for a receiver of OpenTelemetry's protocol; needs feature `otlp`.
    Otlp,
    /// A table of ClickHouse, out of the segments of `file`; needs feature `clickhouse`.
    Clickhouse,
}

/// How addresses are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressMode {
    /// Cut to `audit.ipv4_prefix` and `audit.ipv6_prefix`.
    #[default]
    Truncate,
    /// In full.
    Full,
    /// Only as part of the visitor's pseudonym.
    Pseudonym,
    /// Not at all.
    None,
}

impl AddressMode {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::Full => "full",
            Self::Pseudonym => "pseudonym",
            Self::None => "none",
        }
    }
}

/// Section `[audit]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Write records at all.
    pub enabled: bool,
    /// Where to, each at most once; unset: `file` in the proxy, `tracing` in the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<SinkKind>>,
    /// Directory of the segments.
    pub dir: String,
    /// Names this writer among several; unset: the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Names the site.
    pub site: String,
    /// Hosts that are written by their names; empty: all.
    pub hosts: Vec<String>,
    /// Records that may wait; 64–1,048,576.
    pub queue: usize,
    /// The same for records of which the action is not `allow`.
    pub queue_priority: usize,
    /// Longest time that a line waits to be written.
    pub flush: Span,
    /// Longest time until lines are covered by a checkpoint; 100 ms–60 s.
    pub checkpoint_every: Span,
    /// Most lines that one checkpoint covers; 1–65,536.
    pub checkpoint_lines: usize,
    /// When what was written must have reached the disk.
    pub fsync: Fsync,
    /// What happens to requests while segments cannot be written.
    pub on_failure: OnFailure,
    /// Nothing is written while less than this is free on the disk.
    pub min_free: Size,
    /// A segment is closed from this size on.
    pub rotate_size: Size,
    /// A segment is closed whenever such a time has passed since 1970: with a day, at midnight UTC.
    pub rotate_every: Span,
    /// What closed segments become.
    pub compress: Compress,
    /// Closed segments older than this are deleted.
    pub max_age: Span,
    /// How long versions of robots.txt are kept after they ended; at least two days.
    pub max_age_robots: Span,
    /// The oldest closed segments are deleted beyond this size.
    pub max_total: Size,
    /// How addresses are written.
    pub address: AddressMode,
    /// Bits kept of an IPv4 address; 8–32.
    pub ipv4_prefix: u8,
    /// Bits kept of an IPv6 address; 16–64.
    pub ipv6_prefix: u8,
    /// From which action on addresses are written in full.
    pub address_escalate: Escalate,
    /// File of the keys of the day, in `audit.dir`.
    pub keys: String,
    /// Names of query parameters whose values are kept; a final `*` makes a prefix.
    pub query_allow: Vec<String>,
    /// Keep the values of `s` and `q`: what people searched for.
    pub search_terms: bool,
    /// Replace mail addresses and tokens in paths.
    pub path_redact: bool,
    /// Share of files of pages that is written, where nothing was done to a browser; 0.001–1.
    pub sample_assets: f32,
    /// Finds the id of an article in a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub article: Option<ArticlePattern>,
    /// File of the signing key, in `audit.dir`; needs feature `proxy`.
    pub sign_key: String,
    /// Where signed heads go.
    pub anchor: Anchor,
    /// Sink `otlp`.
    pub otlp: OtlpSettings,
    /// Where the sink `clickhouse` sends to.
    pub clickhouse: clickhouse::ClickHouseSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            sinks: None,
            dir: "deckle-log".to_owned(),
            instance: None,
            site: "default".to_owned(),
            hosts: Vec::new(),
            queue: 8_192,
            queue_priority: 1_024,
            flush: Span(std::time::Duration::from_millis(50)),
            checkpoint_every: Span::seconds(1),
            checkpoint_lines: 1_024,
            fsync: Fsync::Checkpoint,
            on_failure: OnFailure::Continue,
            min_free: Size(256 << 20),
            rotate_size: Size(256 << 20),
            rotate_every: Span::seconds(86_400),
            compress: Compress::Zstd(3),
            max_age: Span::seconds(30 * 86_400),
            max_age_robots: Span::seconds(400 * 86_400),
            max_total: Size(10 << 30),
            address: AddressMode::Truncate,
            ipv4_prefix: 24,
            ipv6_prefix: 48,
            address_escalate: Escalate::From(crate::action::Action::Challenge),
            keys: "audit.keys".to_owned(),
            query_allow: ["p", "page", "paged", "cat", "tag", "id", "feed", "m", "year", "monthnum", "utm_*"]
                .map(str::to_owned)
                .to_vec(),
            search_terms: false,
            path_redact: true,
            sample_assets: 1.0,
            article: None,
            sign_key: "audit.ed25519".to_owned(),
            anchor: Anchor::None,
            otlp: OtlpSettings::default(),
            clickhouse: clickhouse::ClickHouseSettings::default(),
        }
    }
}

impl Settings {
    /// The instance, or the host's name in the letters that a file name may hold.
    pub(crate) fn instance(&self) -> std::borrow::Cow<'_, str> {
        match &self.instance {
            Some(name) => name.as_str().into(),
            None => {
                static HOST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
                    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
                    let clean: String = name
                        .trim()
                        .to_ascii_lowercase()
                        .chars()
                        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                        .take(32)
                        .collect();
                    if clean.is_empty() { "local".to_owned() } else { clean }
                });
                HOST.as_str().into()
            }
        }
    }

    /// # Errors
    /// [`SinkError`] naming the first key that does not hold.
    pub fn check(&self) -> Result<(), SinkError> {
        let refuse = |key: &'static str, message: &str| Err(SinkError::Setting { key, message: message.to_owned() });
        let named = |text: &str| {
            (1..=32).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !named(&self.site) {
            return refuse("audit.site", "1 to 32 letters out of a-z, 0-9 and `-`");
        }
        if self.instance.as_deref().is_some_and(|name| !named(name)) {
            return refuse("audit.instance", "1 to 32 letters out of a-z, 0-9 and `-`");
        }
        for (key, queue) in [("audit.queue", self.queue), ("audit.queue_priority", self.queue_priority)] {
            if !(64..=1_048_576).contains(&queue) {
                return refuse(key, "between 64 and 1048576");
            }
        }
        if !(8..=32).contains(&self.ipv4_prefix) {
            return refuse("audit.ipv4_prefix", "between 8 and 32");
        }
        if !(16..=64).contains(&self.ipv6_prefix) {
            return refuse("audit.ipv6_prefix", "between 16 and 64");
        }
        if self.max_age_robots < Span::seconds(2 * 86_400) {
            return refuse("audit.max_age_robots", "at least two days: a crawler may act on a copy that is a day old");
        }
        if !(100..=60_000).contains(&self.checkpoint_every.0.as_millis()) {
            return refuse("audit.checkpoint_every", "between 100ms and 60s");
        }
        if !(1..=65_536).contains(&self.checkpoint_lines) {
            return refuse("audit.checkpoint_lines", "between 1 and 65536");
        }
        if !(0.001..=1.0).contains(&self.sample_assets) {
            return refuse("audit.sample_assets", "between 0.001 and 1");
        }
        for (key, file) in [("audit.keys", &self.keys), ("audit.sign_key", &self.sign_key)] {
            if file.is_empty() {
                return refuse(key, "the name of a file");
            }
        }
        if self.flush.0.is_zero() || self.rotate_every.0.is_zero() {
            return refuse("audit.flush", "`flush` and `rotate_every` must be longer than 0");
        }
        self.clickhouse.check(self.sinks.as_deref())?;
        self.check_sinks()
    }
}
