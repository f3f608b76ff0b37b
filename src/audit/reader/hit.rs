//! [`Hit`]: one response out of any log, borrowed from its line wherever nothing had to be unescaped.

use std::borrow::Cow;
use std::time::Duration;

/// Text of a line.
pub type Text<'l> = Cow<'l, str>;

/// One response, from any log.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Hit<'l> {
    /// Since 1970.
    pub time: Duration,
    /// Address, prefix or host name, as the log has it; empty if it has none.
    pub address: Text<'l>,
    /// `User-Agent`.
    pub user_agent: Option<Text<'l>>,
    /// Method; empty where the request was none.
    pub method: Text<'l>,
    /// Host that was asked; empty where the log does not say.
    pub host: Text<'l>,
    /// Path, without query; empty where the request was none.
    pub path: Text<'l>,
    /// Query, without its question mark.
    pub query: Option<Text<'l>>,
    /// Status, if anything was answered.
    pub status: Option<u16>,
    /// Bytes sent.
    pub bytes: u64,
    /// `Referer`.
    pub referer: Option<Text<'l>>,
    /// Media type; most foreign logs have none.
    pub content_type: Option<Text<'l>>,
    /// What somebody's bot product said, as `name=value`; Cloudflare's `BotScore`.
    pub foreign_signal: Option<Text<'l>>,
    /// Microseconds that the answer took.
    pub duration_us: Option<u64>,
    /// Microseconds that the site behind took of that.
    pub upstream_us: Option<u64>,
    /// The line has no offset: the time is that of the reader's zone, or UTC.
    pub local_time: bool,
    /// The clock showed this local time twice that day.
    pub ambiguous_time: bool,
    /// What deckle knew and did; absent in the logs of other programs.
    pub deckle: Option<Box<DeckleFields<'l>>>,
}

/// Fields that only deckle's own logs have.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DeckleFields<'l> {
    /// Number of the line.
    pub seq: u64,
    /// The writer.
    pub instance: Text<'l>,
    /// The site.
    pub site: Text<'l>,
    /// Id of the request.
    pub request_id: Text<'l>,
    /// Pseudonym of the visitor.
    pub visitor: Text<'l>,
    /// Category of the visitor.
    pub category: Text<'l>,
    /// Name in the table of agents.
    pub agent: Option<Text<'l>>,
    /// Verification state.
    pub verification: Text<'l>,
    /// What decided about it: `range`, `dns` or `signature`.
    pub verification_method: Option<Text<'l>>,
    /// Age of the list of addresses that was asked, in days.
    pub ranges_age_d: Option<u32>,
    /// Number of the autonomous system of the address, where the log says so.
    pub asn: Option<u32>,
    /// 0–100.
    pub score: u8,
    /// Signals, `id:weight`.
    pub signals: Vec<Text<'l>>,
    /// What was done.
    pub action: Text<'l>,
    /// What would have been done.
    pub would_action: Option<Text<'l>>,
    /// A challenge, and how it went.
    pub challenge: Option<Text<'l>>,
    /// A pass that was shown: `valid`, `expired` …
    pub token: Option<Text<'l>>,
    /// Kind of page.
    pub page_kind: Text<'l>,
    /// Stable id of the article.
    pub article: Option<Text<'l>>,
    /// What robots.txt said about it, where the log says so.
    pub robots: Option<Text<'l>>,
    /// Version of robots.txt that left with this answer or was in force.
    pub robots_version: Option<Text<'l>>,
    /// Mark of the copy.
    pub mark: Option<Text<'l>>,
    /// Names the source of the page, the same for all its copies.
    pub mark_plan: Option<Text<'l>>,
    /// The mark of another copy, which the request brought along.
    pub mark_seen: Option<Text<'l>>,
    /// Why the page was left alone.
    pub rewrite_skip: Option<Text<'l>>,
    /// Microseconds that rewriting took, where the log says so.
    pub rewrite_us: Option<u64>,
    /// The whole body went out.
    pub complete: bool,
    /// One in so many was written: the share that was.
    pub sample: Option<f32>,
    /// The line is one of `access.log` (sink `combined+deckle`): category, verification, score, action and mark are all that
    /// is known.
    pub brief: bool,
}

/// What deckle's log says about a decision beyond [`DeckleFields`]: only whoever makes it again needs that.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence<'l> {
    /// `group:points`.
    pub(crate) points: Vec<Text<'l>>,
    pub(crate) rule: Text<'l>,
    pub(crate) clamps: Vec<Text<'l>>,
    /// `None`: a version that did not write them.
    pub(crate) circumstances: Option<Vec<Text<'l>>>,
    pub(crate) limit: Option<Text<'l>>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) route: Text<'l>,
    pub(crate) navigation: bool,
}

/// Why a line gave no hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Skipped {
    /// Longer than [`MAX_LINE`](super::MAX_LINE).
    TooLong,
    /// Mostly control bytes.
    Binary,
    /// No known format, or not the one that was named.
    Malformed,
    /// A time that cannot be.
    BadTime,
    /// The last line of a segment, cut off by a crash.
    Torn,
}

impl Skipped {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::TooLong, Self::Binary, Self::Malformed, Self::BadTime, Self::Torn];

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Binary => "binary",
            Self::Malformed => "malformed",
            Self::BadTime => "bad_time",
            Self::Torn => "torn",
        }
    }
}
