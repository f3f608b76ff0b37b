//! The plainer sections.

use std::collections::{BTreeMap, HashMap};

use super::survey::is_marked;
use super::{Everybody, ROWS, title, visitor};
use crate::action::Action;
use crate::review::engine::{Amount, Counts, Facts, Requests};
use crate::review::findings::human_evidence;
use crate::review::report::{
    ActionRow, Actions, BandwidthRow, CandidateRow, MarkRow, Marks, ProbeRow, ReferrerRow, ShapeRow, StatusRow,
    StatusTable,
};
use crate::visitor::Category;

/// Evidence that makes somebody a reader who may have been disturbed.
const EVIDENCE: usize = 2;

pub(super) fn bandwidth(everybody: &Everybody<'_>, cost_per_gb: Option<f64>) -> Vec<BandwidthRow> {
    let mut sums: BTreeMap<Category, (Requests, Amount, Option<Amount>)> = BTreeMap::new();
    for (category, of) in everybody.counts.shards.iter().flat_map(|shard| shard.tally.categories()) {
        let (hits, bytes, upstream_us) = sums.entry(category).or_default();
        *hits += of.hits;
        *bytes += of.bytes;
        if of.knows_upstream {
            *upstream_us.get_or_insert_default() += of.upstream_us;
        }
    }
    let row = |(category, (hits, bytes, upstream_us)): (Category, (Requests, Amount, Option<Amount>))| {
        let row = BandwidthRow {
            category: category.code(),
            visitors: 0,
            hits: hits.count(),
            bytes: bytes.count(),
            share: 0.0,
            cost: None,
            upstream_s: upstream_us.map(|micros| micros.count() as f64 / 1e6),
        };
        (category, row)
    };
    let mut rows: BTreeMap<Category, BandwidthRow> = sums.into_iter().map(row).collect();
    for (category, row) in &mut rows {
        let visitors = everybody.surveys.iter().filter_map(|survey| survey.categories.get(*category as usize));
        row.visitors = visitors.sum();
    }
    let all: u64 = rows.values().map(|row| row.bytes).sum();
    let mut rows: Vec<BandwidthRow> = rows.into_values().collect();
    for row in &mut rows {
        row.share = row.bytes as f64 / all.max(1) as f64;
        row.cost = cost_per_gb.map(|cost| row.bytes as f64 / 1e9 * cost);
    }
    rows.sort_by(|a, b| (b.bytes, b.hits, a.category).cmp(&(a.bytes, a.hits, b.category)));
    rows
}

pub(super) fn shape(everybody: &Everybody<'_>) -> Vec<ShapeRow> {
    let rows = everybody.ranked.iter().filter(|one| one.facts.pages > 0).take(ROWS).map(|one| {
        let facts = one.facts;
        let (sequential, steps) = facts.steps;
        ShapeRow {
            visitor: visitor(facts),
            name: title(facts),
            pages: facts.pages.into(),
            breadth: (facts.directories() / f64::from(facts.pages.max(1))).min(1.0),
            sequential: f64::from(sequential) / f64::from(steps.max(1)),
            not_found: facts.not_found.count() as f64 / facts.hits.count().max(1) as f64,
            ways: ways(facts),
        }
    });
    rows.collect()
}

fn ways(facts: &Facts) -> Vec<&'static str> {
    let (sequential, steps) = facts.steps;
    let (queries, of_lists) = facts.queries;
    let all = [
        (facts.sitemaps > 0, "sitemap-driven"),
        (facts.feeds > 0, "feed-driven"),
        (steps >= 8 && sequential * 2 >= steps, "numbers one by one"),
        (of_lists >= 8 && of_lists * 2 >= facts.pages, "pagination and lists"),
        (queries >= 8 && queries * 2 >= facts.pages, "query permutations"),
        (facts.from_site * 2 >= facts.pages && facts.pages >= 4, "follows links"),
        (facts.not_modified * 10 >= facts.pages && facts.not_modified > 0, "asks whether pages have changed"),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, way)| way).collect()
}

pub(super) fn status(counts: &Counts) -> StatusTable {
    let mut codes: BTreeMap<u16, Requests> = BTreeMap::new();
    let (mut probes, mut missing): (HashMap<&str, u64>, HashMap<&str, u64>) = (HashMap::new(), HashMap::new());
    for tally in counts.shards.iter().map(|shard| &shard.tally) {
        for (status, hits) in tally.statuses() {
            *codes.entry(status).or_default() += hits;
        }
        for (sum, of) in [(&mut probes, &tally.probes), (&mut missing, &tally.not_found)] {
            for (path, hits) in of {
                *sum.entry(path).or_default() += hits;
            }
        }
    }
    StatusTable {
        codes: codes.into_iter().map(|(status, hits)| StatusRow { status, hits: hits.count() }).collect(),
        probes: most(probes),
        not_found: most(missing),
    }
}

fn most(counts: HashMap<&str, u64>) -> Vec<ProbeRow> {
    let mut rows: Vec<ProbeRow> =
        counts.into_iter().map(|(path, hits)| ProbeRow { path: path.to_owned(), hits }).collect();
    rows.sort_by(|a, b| (b.hits, &a.path).cmp(&(a.hits, &b.path)));
    rows.truncate(ROWS);
    rows
}

pub(super) fn referrers(everybody: &Everybody<'_>) -> Vec<ReferrerRow> {
    let mut rows: HashMap<&str, (Requests, bool)> = HashMap::new();
    for (at, shard) in everybody.counts.shards.iter().enumerate() {
        for counts in shard.tally.referrers.values() {
            let automated = |number: &u32| {
                let robot =
                    shard.visitors.get(*number as usize).is_some_and(|facts| facts.category != Category::Browser);
                robot || everybody.is_suspect(at, *number)
            };
            let row = rows.entry(&counts.name).or_insert((Requests::default(), true));
            row.0 += counts.hits;
            row.1 = row.1 && counts.visitors.iter().all(automated);
        }
    }
    let mut rows: Vec<ReferrerRow> = rows
        .into_iter()
        .map(|(name, (hits, automated))| (name.to_owned(), hits.count(), automated))
        .map(|(referrer, hits, automated)| ReferrerRow { referrer, hits, spam: automated && hits >= 3 })
        .collect();
    rows.sort_by(|a, b| (b.hits, &a.referrer).cmp(&(a.hits, &b.referrer)));
    rows.truncate(ROWS);
    rows
}

pub(super) fn marks(everybody: &Everybody<'_>) -> Marks {
    let mut rows: Vec<MarkRow> = everybody
        .ranked
        .iter()
        .map(|one| one.facts)
        .filter(|facts| is_marked(facts))
        .map(|facts| MarkRow {
            visitor: visitor(facts),
            name: title(facts),
            marks: facts.deckle.as_ref().map_or(0, |deckle| deckle.marks.count()),
            articles: facts.articles.count(),
        })
        .collect();
    rows.sort_by(|a, b| (b.marks, &a.visitor).cmp(&(a.marks, &b.visitor)));
    rows.truncate(ROWS);
    Marks {
        issued: everybody.counts.shards.iter().map(|shard| shard.tally.marks).sum(),
        visitors: everybody.surveys.iter().map(|survey| survey.marked).sum(),
        rows,
    }
}

pub(super) fn actions(everybody: &Everybody<'_>) -> Actions {
    let tallies = || everybody.counts.shards.iter().map(|shard| &shard.tally);
    let rows = Action::ALL.iter().enumerate().map(|(at, action)| ActionRow {
        action: action.code(),
        done: tallies().filter_map(|tally| tally.done.get(at).copied()).sum::<Requests>().count(),
        would: tallies().filter_map(|tally| tally.would.get(at).copied()).sum::<Requests>().count(),
    });
    Actions { candidates: candidates(everybody), rows: rows.filter(|row| row.done + row.would > 0).collect() }
}

/// Whom deckle, or the server, may have done wrong.
fn candidates(everybody: &Everybody<'_>) -> Vec<CandidateRow> {
    let mut rows: Vec<&CandidateRow> = everybody.surveys.iter().flat_map(|survey| &survey.candidates).collect();
    rows.sort_by(|a, b| (b.evidence.len(), b.disturbed, &a.visitor).cmp(&(a.evidence.len(), a.disturbed, &b.visitor)));
    rows.into_iter().take(ROWS).cloned().collect()
}

/// A reader who was disturbed, by all that can be told.
pub(super) fn candidate(facts: &Facts) -> Option<CandidateRow> {
    let disturbed = facts.deckle.as_ref()?.disturbed;
    let may_be = disturbed > 0 && matches!(facts.category, Category::Browser | Category::Reader);
    let evidence = may_be.then(|| human_evidence(facts)).filter(|found| found.len() >= EVIDENCE)?;
    Some(CandidateRow {
        visitor: visitor(facts),
        name: title(facts),
        hits: facts.hits.count(),
        disturbed: disturbed.into(),
        evidence,
    })
}
