//! The sections behind the first ones.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was taken.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Content {
    /// Different articles.
    pub articles: u64,
    /// Suspects by the share of the articles that they took.
    pub coverage: Vec<CoverageRow>,
    /// Articles by the number of suspects that took them.
    pub top: Vec<ArticleRow>,
    /// Articles that no suspect took.
    pub never_taken: u64,
    /// From the first request for a new article to the first robot that fetched it, the quickest first.
    pub latency: Vec<LatencyRow>,
}

/// How much one suspect took.
#[derive(Debug, Clone, Serialize)]
pub struct CoverageRow {
    /// As in the suspects.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Articles.
    pub articles: u64,
    /// Of all, 0–1.
    pub share: f64,
}

/// One article.
#[derive(Debug, Clone, Serialize)]
pub struct ArticleRow {
    /// Its path, or its id where the log has one.
    pub path: String,
    /// Suspects that took it.
    pub suspects: u64,
    /// Visitors that read it, suspects included.
    pub visitors: u64,
}

/// A new article and its first robot.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyRow {
    /// Its path.
    pub path: String,
    /// First request by anybody, RFC 3339.
    pub first: String,
    /// Seconds until a robot fetched it.
    pub seconds: u64,
    /// Which.
    pub agent: String,
}

/// What a category costs.
#[derive(Debug, Clone, Serialize)]
pub struct BandwidthRow {
    /// Category.
    pub category: &'static str,
    /// Visitors.
    pub visitors: u64,
    /// Requests.
    pub hits: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Of all bytes, 0–1.
    pub share: f64,
    /// `--cost-per-gb` × 10⁹ bytes.
    pub cost: Option<f64>,
    /// Seconds that the site behind worked for it, where the log says so.
    pub upstream_s: Option<f64>,
}

/// When.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Times {
    /// Requests by weekday (Monday first) and hour, UTC.
    pub heat: Vec<[u64; 24]>,
    /// The same of robots and suspects alone.
    pub heat_automated: Vec<[u64; 24]>,
    /// Seconds of one step of `series`.
    pub step_s: u64,
    /// Requests over time by category.
    pub series: Vec<SeriesRow>,
    /// Requests a minute of each suspect.
    pub pace: Vec<PaceRow>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct SeriesRow {
    /// Its start, RFC 3339.
    pub start: String,
    /// Requests of people: browsers and readers that are no suspects.
    pub people: u64,
    /// Requests of declared robots.
    pub robots: u64,
    /// Requests of suspects.
    pub suspects: u64,
}

/// Requests a minute, of the minutes in which there were any.
#[derive(Debug, Clone, Serialize)]
pub struct PaceRow {
    /// As in the suspects.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Median.
    pub p50: u32,
    /// 99th percentile.
    pub p99: u32,
    /// The most.
    pub max: u32,
}

/// How a suspect went through the site.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShapeRow {
    /// As in the suspects.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Pages.
    pub pages: u64,
    /// Different directories ÷ pages: near 1 is broad, near 0 is deep.
    pub breadth: f64,
    /// Share of steps from one number in a path to the next, 0–1.
    pub sequential: f64,
    /// Share of requests that were answered with an error 4xx.
    pub not_found: f64,
    /// In words: "sitemap-driven", "feed-driven", "follows the calendar", "pagination", "query permutations".
    pub ways: Vec<&'static str>,
}

/// Names that nobody knows, or that do not fit.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct NewAgents {
    /// User agents that are in no table and are no browser, the most requests first.
    pub unknown: Vec<NewAgentRow>,
    /// Addresses with many user agents.
    pub rotation: Vec<RotationRow>,
    /// Many networks with the same user agent that asked for much the same.
    pub groups: Vec<GroupRow>,
}

/// One name.
#[derive(Debug, Clone, Serialize)]
pub struct NewAgentRow {
    /// As sent.
    pub user_agent: String,
    /// Requests.
    pub hits: u64,
    /// Visitors.
    pub visitors: u64,
    /// First hit, RFC 3339.
    pub first: String,
}

/// One address under many names.
#[derive(Debug, Clone, Serialize)]
pub struct RotationRow {
    /// Address or prefix.
    pub address: String,
    /// Different user agents.
    pub user_agents: u64,
    /// Requests.
    pub hits: u64,
}

/// Many networks, one program.
#[derive(Debug, Clone, Serialize)]
pub struct GroupRow {
    /// As sent.
    pub user_agent: String,
    /// Networks (/24, /48).
    pub networks: u64,
    /// Requests.
    pub hits: u64,
    /// Similarity of the pages that they asked for (Jaccard by `MinHash`), 0–1.
    pub similarity: f64,
}

/// Answers, errors, probes.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct StatusTable {
    /// Requests by status, lowest first.
    pub codes: Vec<StatusRow>,
    /// Paths that scanners ask for, the most first.
    pub probes: Vec<ProbeRow>,
    /// Paths that were not found most often.
    pub not_found: Vec<ProbeRow>,
}

/// One status.
#[derive(Debug, Clone, Serialize)]
pub struct StatusRow {
    /// Status; 0: nothing was answered.
    pub status: u16,
    /// Requests.
    pub hits: u64,
}

/// One path.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeRow {
    /// The path.
    pub path: String,
    /// Requests.
    pub hits: u64,
}

/// One site.
#[derive(Debug, Clone, Serialize)]
pub struct ReferrerRow {
    /// Its origin.
    pub referrer: String,
    /// Requests.
    pub hits: u64,
    /// Only robots and suspects come from there: advertising in logs.
    pub spam: bool,
}

/// Marks that copies carry.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Marks {
    /// Copies that carry one.
    pub issued: u64,
    /// Visitors that got one.
    pub visitors: u64,
    /// Suspects by the number of marked copies.
    pub rows: Vec<MarkRow>,
}

/// Marked copies of one suspect.
#[derive(Debug, Clone, Serialize)]
pub struct MarkRow {
    /// As in the suspects.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Copies.
    pub marks: u64,
    /// Different articles.
    pub articles: u64,
}

/// What deckle did, and whom it may have done wrong.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Actions {
    /// Visitors that were challenged or refused and look like people. They stand first: these are the faults.
    pub candidates: Vec<CandidateRow>,
    /// Requests by action, the mildest first.
    pub rows: Vec<ActionRow>,
}

/// Somebody who may be a reader.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateRow {
    /// Pseudonym, or address and user agent.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Requests.
    pub hits: u64,
    /// How many of them met a challenge or a refusal.
    pub disturbed: u64,
    /// What speaks for a person.
    pub evidence: Vec<String>,
}

/// One action.
#[derive(Debug, Clone, Serialize)]
pub struct ActionRow {
    /// The action.
    pub action: &'static str,
    /// Requests to which it was done.
    pub done: u64,
    /// Requests to which it would have been.
    pub would: u64,
}

/// How good the data is. `lines = hits + other + empty + filtered + Σ skipped`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Quality {
    /// Lines read.
    pub lines: u64,
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Those of lines that were too long.
    pub too_long_bytes: u64,
    /// Responses that are in this report.
    pub hits: u64,
    /// Responses that the filters left out.
    pub filtered: u64,
    /// Lines of deckle's log, or directives of a format, that are no responses.
    pub other: u64,
    /// Empty lines and comments.
    pub empty: u64,
    /// Skipped lines by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Changes from one format to another.
    pub format_switch: u64,
    /// Lines more than five minutes older than one before them.
    pub out_of_order: u64,
    /// Local times that a clock showed twice.
    pub ambiguous_time: u64,
    /// Records that the writer says it dropped.
    pub dropped: u64,
    /// Times that the writer's clock went back.
    pub clock_steps: u64,
    /// Lines of deckle's log whose content was erased.
    pub erased: u64,
    /// Numbers that are missing in deckle's log.
    pub holes: u64,
    /// Heads of deckle's log that were sent away (`audit.anchor`), by destination.
    pub anchored: BTreeMap<String, u64>,
    /// Versions of robots.txt that deckle's log names, and whose text is nowhere.
    pub robots_missing: u64,
    /// Writers of deckle's logs.
    pub instances: Vec<String>,
    /// Some of the records were written for many (`deckle.sample`), and were weighed accordingly.
    pub sampled: bool,
    /// What went wrong with the input: damaged files and the like, in words.
    pub notes: Vec<String>,
}
