//! [`Report`]: the answer, the same for every renderer. Its keys and their order are those of `--json`
//! (`docs/reference/review.md`).

mod difference;
mod sections;
mod simulation;

use std::collections::BTreeMap;

use serde::Serialize;

pub use difference::{Difference, DifferenceRow, Side};
pub use sections::{
    ActionRow, Actions, ArticleRow, BandwidthRow, CandidateRow, Content, CoverageRow, GroupRow, LatencyRow, MarkRow,
    Marks, NewAgentRow, NewAgents, PaceRow, ProbeRow, Quality, ReferrerRow, RotationRow, SeriesRow, ShapeRow,
    StatusRow, StatusTable, Times,
};
pub use simulation::{AffectedClass, AffectedRow, AffectedVisitors, MatrixCell, Simulation, UnavailableRow};

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of this document.
    pub schema_version: u32,
    /// What was read, and how.
    pub source: SourceInfo,
    /// The answer in three sentences, and its numbers.
    pub verdict: Verdict,
    /// What is different from another part of the log, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Suspected scrapers, the worst first.
    pub suspects: Vec<Suspect>,
    /// Agents by category and verification; the fakes first.
    pub agents: Vec<AgentRow>,
    /// Who obeyed robots.txt.
    pub robots: Robots,
    /// What was taken.
    pub content: Content,
    /// Bytes and time by category, the most first.
    pub bandwidth: Vec<BandwidthRow>,
    /// When.
    pub time: Times,
    /// How suspects went through the site.
    pub shape: Vec<ShapeRow>,
    /// Names that nobody knows, or that do not fit.
    pub new_agents: NewAgents,
    /// Answers, errors, probes.
    pub status: StatusTable,
    /// Where requests say that they come from, other sites only, the most first.
    pub referrers: Vec<ReferrerRow>,
    /// Marks that copies carry.
    pub marks: Marks,
    /// What deckle did, and whom it may have done wrong.
    pub actions: Actions,
    /// What another policy would have done, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Simulation>,
    /// How good the data is.
    pub quality: Quality,
}

/// What was read, and how.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct SourceInfo {
    /// Files.
    pub files: Vec<String>,
    /// Formats that were found, with the lines of each.
    pub formats: BTreeMap<&'static str, u64>,
    /// What a visitor is: `visitor.id`, `address+user_agent` or `network+user_agent`.
    pub visitor_key: &'static str,
    /// Minutes of silence after which a session is over.
    pub session_gap_min: u64,
    /// The filters that were given, in words; empty: everything.
    pub filters: Vec<String>,
    /// Dates of the lists by which robots were checked offline.
    pub ranges_date: Option<String>,
    /// Reading was interrupted.
    pub partial: bool,
    /// Visitors that were given up for memory; the most that any count may be over by.
    pub approximate: Option<Approximate>,
}

/// What memory did not reach for.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Approximate {
    /// Visitors that were let go, as an estimate.
    pub visitors: u64,
    /// Their requests: exact, and in every total.
    pub hits: u64,
    /// The most by which a count of the visitors that stayed may be short.
    pub short_by: u64,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// How much is automated; the worst visitor and what it took; robots.txt.
    pub sentences: [String; 3],
    /// Requests.
    pub hits: u64,
    /// Visitors.
    pub visitors: u64,
    /// Requests of robots, declared or suspected.
    pub automated_hits: u64,
    /// Of all requests, 0–1.
    pub automated_share: f64,
    /// Suspected scrapers.
    pub suspects: usize,
    /// Requests of these, 0–1.
    pub suspect_share: f64,
    /// Different articles that these took.
    pub articles_taken: usize,
    /// Different articles that anybody read.
    pub articles_seen: usize,
    /// First hit, RFC 3339.
    pub first: String,
    /// Last hit, RFC 3339.
    pub last: String,
}

/// A suspected scraper.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Suspect {
    /// Pseudonym, or address and user agent in foreign logs.
    pub visitor: String,
    /// Name in the table of agents.
    pub agent: Option<String>,
    /// Category.
    pub category: &'static str,
    /// Verification state; `failed` is shown to people as "fake".
    pub verification: String,
    /// As sent.
    pub user_agent: Option<String>,
    /// As the log has it.
    pub address: String,
    /// Number of the autonomous system of the address, if the log or a database ([`Review::systems`]) says it.
    ///
    /// [`Review::systems`]: crate::review::Review::systems
    pub asn: Option<u32>,
    /// Who runs that system, if a database says it.
    pub organisation: Option<String>,
    /// Requests.
    pub hits: u64,
    /// Pages.
    pub pages: u64,
    /// Different articles that were answered with 200.
    pub articles: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// deckle's highest score; in foreign logs the points of the findings.
    pub score: u8,
    /// Why, in words with numbers, the weightiest first.
    pub reasons: Vec<String>,
    /// The strongest action that was carried out.
    pub action: Option<String>,
    /// The strongest one that would have been.
    pub would_action: Option<String>,
    /// First hit, RFC 3339.
    pub first: String,
    /// Last hit, RFC 3339.
    pub last: String,
    /// Sessions.
    pub sessions: u32,
    /// Marks of the copies it got.
    pub marks: u64,
    /// Requests over time: the period in 24 equal parts.
    pub sparkline: Vec<u32>,
}

/// Agents of one category and verification state.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct AgentRow {
    /// Name in the table of agents; none for browsers and the unnamed.
    pub agent: Option<String>,
    /// Category.
    pub category: &'static str,
    /// Verification state.
    pub verification: &'static str,
    /// Visitors.
    pub visitors: u64,
    /// Requests.
    pub hits: u64,
    /// Pages.
    pub pages: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// What has to be known about it: "fake (list of 2026-11-01)" and the like.
    pub note: Option<String>,
    /// Addresses of fakes, five at most.
    pub addresses: Vec<String>,
}

/// Who obeyed robots.txt.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Robots {
    /// False: nobody knows what it said then. Nothing is "obeyed" in that case.
    pub evaluated: bool,
    /// Why not.
    pub reason: Option<&'static str>,
    /// Versions that were in force in the period.
    pub versions: usize,
    /// Declared robots, those with violations first.
    pub rows: Vec<RobotsRow>,
}

/// One family of robots.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct RobotsRow {
    /// Name in the table of agents.
    pub agent: String,
    /// `verified`, `failed`, or what else is known: by this its violations are charged.
    pub verification: &'static str,
    /// Title for people: "GPTBot", "claiming to be GPTBot", "fake GPTBot".
    pub title: String,
    /// Requests.
    pub requests: u64,
    /// Counts of each verdict.
    pub obeyed: u64,
    /// Forbidden now, allowed by a copy that it may still hold: no violation.
    pub stale: u64,
    /// A violation.
    pub read_then_ignored: u64,
    /// A violation.
    pub never_asked: u64,
    /// Nobody can tell.
    pub unknown: u64,
    /// Asked for one person; operators say that it may ignore robots.txt.
    pub user_triggered: u64,
    /// Control names without a user agent of their own.
    pub not_observable: u64,
    /// Times that it fetched robots.txt.
    pub fetches: u64,
    /// `Crawl-delay` of its group, in seconds. No verdict follows from it.
    pub crawl_delay: Option<u32>,
    /// Paths that it should not have asked for, three at most.
    pub examples: Vec<String>,
}
