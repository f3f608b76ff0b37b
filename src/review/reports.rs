//! Findings to a report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::findings::findings;
use super::sessions::{VisitorFacts, Visitors};

/// Suspects of a report.
const MAX_SUSPECTS: usize = 100;
/// Points from which a visitor is a suspect.
const SUSPECT: u32 = 40;
const TOP_ARTICLES: usize = 20;

/// A report. `schema_version` changes when a key does.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// 1.
    pub schema_version: u32,
    /// In three numbers.
    pub verdict: Verdict,
    /// Suspected scrapers by rank.
    pub suspects: Vec<Suspect>,
    /// Visitors by category.
    pub agents: Vec<AgentRow>,
    /// What suspects took most.
    pub content: Vec<ArticleRow>,
    /// How good the data is.
    pub quality: Quality,
}

/// The summary.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Visitors.
    pub visitors: usize,
    /// Suspects among them.
    pub suspects: usize,
    /// Share of all hits that came from suspects, 0–1.
    pub suspect_share: f64,
    /// Articles that suspects took, each counted once.
    pub articles_taken: usize,
    /// Articles that anybody read.
    pub articles_seen: usize,
    /// First and last hit, RFC 3339.
    pub first: String,
    /// The last one.
    pub last: String,
}

/// A suspected scraper.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Suspect {
    /// Pseudonym, or address and user agent in foreign logs.
    pub visitor: String,
    /// Name in the table of agents.
    pub agent: Option<String>,
    /// Category.
    pub category: &'static str,
    /// Verification state.
    pub verification: String,
    /// As sent.
    pub user_agent: Option<String>,
    /// As the log has it.
    pub address: String,
    /// Requests.
    pub hits: u64,
    /// Different articles that were answered with 200.
    pub articles: usize,
    /// Bytes sent.
    pub bytes: u64,
    /// deckle's highest score; in foreign logs the points of the findings.
    pub score: u8,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// The strongest action that was carried out.
    pub action: Option<String>,
    /// The strongest one that would have been.
    pub would_action: Option<String>,
    /// First hit, RFC 3339.
    pub first: String,
    /// Last hit, RFC 3339.
    pub last: String,
    /// Sessions, half an hour of silence apart.
    pub sessions: u32,
    /// Marks of the copies it got.
    pub marks: usize,
}

/// One category.
#[derive(Debug, Serialize)]
pub struct AgentRow {
    /// The category.
    pub category: &'static str,
    /// Visitors.
    pub visitors: usize,
    /// Requests.
    pub hits: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// One article.
#[derive(Debug, Serialize)]
pub struct ArticleRow {
    /// Its path.
    pub path: String,
    /// Suspects that took it.
    pub suspects: usize,
    /// Visitors that read it, suspects included.
    pub visitors: usize,
}

/// How good the data is. `lines = hits + other + empty + Σ skipped`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Quality {
    /// Lines read.
    pub lines: u64,
    /// Responses.
    pub hits: u64,
    /// Lines of deckle's log that are no responses.
    pub other: u64,
    /// Empty lines.
    pub empty: u64,
    /// Skipped lines by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Records that the writer says it dropped.
    pub dropped: u64,
    /// Hits of visitors beyond the most that are kept apart.
    pub not_kept: u64,
}

pub(super) fn report(visitors: &Visitors, quality: &Quality) -> Report {
    let mut ranked: Vec<(u32, &String, &VisitorFacts, Vec<String>)> = visitors
        .all
        .iter()
        .filter_map(|(key, facts)| {
            let found = findings(facts);
            let points: u32 = found.iter().map(|f| f.points).sum();
            let points = points.max(facts.score.into());
            (points >= SUSPECT && !found.is_empty())
                .then(|| (points, key, facts, found.into_iter().map(|f| f.text).collect()))
        })
        .collect();
    ranked.sort_by(|a, b| (b.0.min(100), b.2.pages, a.1).cmp(&(a.0.min(100), a.2.pages, b.1)));
    let suspects: Vec<u32> = ranked.iter().map(|(_, _, facts, _)| facts.number).collect();
    let hits: u64 = visitors.categories.values().map(|(hits, _)| hits).sum();
    let suspect_hits: u64 = ranked.iter().map(|(_, _, facts, _)| facts.hits).sum();
    let (content, articles_taken) = content(visitors, &suspects);
    let first = visitors.all.values().map(|f| f.first).min().unwrap_or_default();
    let last = visitors.all.values().map(|f| f.last).max().unwrap_or_default();
    Report {
        schema_version: 1,
        verdict: Verdict {
            visitors: visitors.all.len(),
            suspects: ranked.len(),
            suspect_share: if hits == 0 { 0.0 } else { suspect_hits as f64 / hits as f64 },
            articles_taken,
            articles_seen: visitors.articles.len(),
            first: time(first),
            last: time(last),
        },
        suspects: ranked
            .into_iter()
            .take(MAX_SUSPECTS)
            .map(|(points, key, facts, reasons)| suspect(points, key, facts, reasons))
            .collect(),
        agents: agents(visitors),
        content,
        quality: Quality { not_kept: visitors.not_kept, ..quality.clone() },
    }
}

fn suspect(points: u32, key: &str, facts: &VisitorFacts, reasons: Vec<String>) -> Suspect {
    let strongest = |actions: &BTreeMap<String, u64>| {
        ["block", "decoy", "challenge", "license", "limit", "card", "slow", "tag", "allow"]
            .into_iter()
            .find(|a| actions.contains_key(*a))
            .map(str::to_owned)
    };
    Suspect {
        visitor: key.replace('\u{1F}', " "),
        agent: facts.agent.as_deref().map(str::to_owned),
        category: facts.category.code(),
        verification: facts.verification.clone(),
        user_agent: facts.user_agent.clone(),
        address: facts.address.clone(),
        hits: facts.hits,
        articles: facts.articles.len(),
        bytes: facts.bytes,
        score: if facts.score > 0 { facts.score } else { points.min(100) as u8 },
        reasons,
        action: strongest(&facts.actions),
        would_action: strongest(&facts.would),
        first: time(facts.first),
        last: time(facts.last),
        sessions: facts.sessions,
        marks: facts.marks.len(),
    }
}

fn agents(visitors: &Visitors) -> Vec<AgentRow> {
    let mut rows: Vec<AgentRow> = visitors
        .categories
        .iter()
        .map(|(category, (hits, bytes))| AgentRow {
            category: category.code(),
            visitors: visitors.all.values().filter(|f| f.category == *category).count(),
            hits: *hits,
            bytes: *bytes,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.hits));
    rows
}

fn content(visitors: &Visitors, suspects: &[u32]) -> (Vec<ArticleRow>, usize) {
    let suspects: std::collections::HashSet<u32> = suspects.iter().copied().collect();
    let mut rows: Vec<ArticleRow> = visitors
        .articles
        .iter()
        .map(|(path, readers)| ArticleRow {
            path: path.clone(),
            suspects: readers.iter().filter(|r| suspects.contains(r)).count(),
            visitors: readers.len(),
        })
        .filter(|row| row.suspects > 0)
        .collect();
    rows.sort_by(|a, b| (b.suspects, b.visitors, &a.path).cmp(&(a.suspects, a.visitors, &b.path)));
    let taken = rows.len();
    rows.truncate(TOP_ARTICLES);
    (rows, taken)
}

fn time(unix: Duration) -> String {
    jiff::Timestamp::from_second(unix.as_secs() as i64).map(|t| t.to_string()).unwrap_or_default()
}
