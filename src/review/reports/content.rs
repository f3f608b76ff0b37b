//! What was taken, and by whom.

use std::collections::HashMap;
use std::time::Duration;

use super::{Everybody, ROWS, time, title, visitor};
use crate::review::report::{ArticleRow, Content, CoverageRow, LatencyRow};

/// An article is new if nobody asked for it in this part of the period.
const NEW_AFTER: u32 = 10;

/// The section, and how many articles suspects took.
pub(super) struct Taken {
    pub(super) section: Content,
    pub(super) taken: usize,
}

#[derive(Default)]
struct Merged<'c> {
    name: &'c str,
    suspects: u64,
    visitors: u64,
    first: Option<Duration>,
    robot: Option<(Duration, &'c str)>,
}

pub(super) fn content(everybody: &Everybody<'_>) -> Taken {
    let articles = merged(everybody);
    let (total, period) = (articles.len() as u64, everybody.period());
    let mut top: Vec<&Merged<'_>> = articles.values().filter(|article| article.suspects > 0).collect();
    let taken = top.len();
    top.sort_by(|a, b| (b.suspects, b.visitors, a.name).cmp(&(a.suspects, a.visitors, b.name)));
    let top = top.into_iter().take(ROWS).map(|article| ArticleRow {
        path: article.name.to_owned(),
        suspects: article.suspects,
        visitors: article.visitors,
    });
    Taken {
        section: Content {
            articles: total,
            coverage: coverage(everybody, total),
            top: top.collect(),
            never_taken: total - taken as u64,
            latency: latency(&articles, period),
        },
        taken,
    }
}

fn merged<'c>(everybody: &Everybody<'c>) -> HashMap<u64, Merged<'c>> {
    let mut articles: HashMap<u64, Merged<'c>> = HashMap::new();
    for (at, shard) in everybody.counts.shards.iter().enumerate() {
        for (hash, facts) in &shard.articles.all {
            let merged = articles.entry(*hash).or_default();
            merged.name = &facts.name;
            merged.visitors += facts.readers.len() as u64 + facts.more;
            merged.suspects += facts.readers.iter().filter(|reader| everybody.is_suspect(at, **reader)).count() as u64;
            merged.first = Some(merged.first.map_or(facts.first, |first| first.min(facts.first)));
            if let Some((time, name)) = &facts.robot
                && merged.robot.is_none_or(|(first, _)| *time < first)
            {
                merged.robot = Some((*time, name));
            }
        }
    }
    articles
}

fn coverage(everybody: &Everybody<'_>, total: u64) -> Vec<CoverageRow> {
    let mut rows: Vec<CoverageRow> = everybody
        .ranked
        .iter()
        .map(|one| (one.facts, one.facts.articles.count()))
        .filter(|(_, articles)| *articles > 0)
        .map(|(facts, articles)| CoverageRow {
            visitor: visitor(facts),
            name: title(facts),
            articles,
            share: articles as f64 / total.max(1) as f64,
        })
        .collect();
    rows.sort_by(|a, b| (b.articles, &a.visitor).cmp(&(a.articles, &b.visitor)));
    rows.truncate(ROWS);
    rows
}

/// Articles that came up within the period: the time from the first request for them to the first robot.
fn latency(articles: &HashMap<u64, Merged<'_>>, (first, last): (Duration, Duration)) -> Vec<LatencyRow> {
    let new_from = first + last.saturating_sub(first) / NEW_AFTER;
    let mut rows: Vec<LatencyRow> = articles
        .values()
        .filter_map(|article| {
            let (published, (at, agent)) = (article.first.filter(|first| *first > new_from)?, article.robot?);
            Some(LatencyRow {
                path: article.name.to_owned(),
                first: time(published),
                seconds: at.saturating_sub(published).as_secs(),
                agent: agent.to_owned(),
            })
        })
        .collect();
    rows.sort_by(|a, b| (a.seconds, &a.path).cmp(&(b.seconds, &b.path)));
    rows.truncate(ROWS);
    rows
}
