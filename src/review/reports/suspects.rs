//! Suspected scrapers, by what they did.

use std::time::Duration;

use super::{Everybody, SUSPECTS, time, visitor};
use crate::action::Action;
use crate::review::engine::{Counts, Facts, Shard};
use crate::review::findings::{Finding, findings};
use crate::review::report::Suspect;

/// Points from which somebody is a suspect.
const SUSPECT: u32 = 40;
/// Parts of a sparkline.
const PARTS: usize = 24;

/// A suspect.
pub(super) struct Ranked<'c> {
    pub(super) shard: usize,
    pub(super) number: u32,
    pub(super) facts: &'c Facts,
    points: u32,
    findings: Vec<Finding>,
}

/// All suspects, the worst first.
pub(super) fn rank(counts: &Counts) -> Vec<Ranked<'_>> {
    let mut ranked: Vec<Ranked<'_>> = std::thread::scope(|scope| {
        // Where no thread can be had, the calling one does it.
        let start = |(at, shard)| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || suspects_of(at, shard));
            thread.map_err(|_| suspects_of(at, shard))
        };
        let threads: Vec<_> = counts.shards.iter().enumerate().map(start).collect();
        let done = threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure)),
            Err(ranked) => ranked,
        });
        done.flatten().collect()
    });
    // Who took most, of those that are equally suspect.
    let order = |one: &Ranked<'_>| (one.points / 10, one.facts.articles.count(), one.facts.pages, one.facts.hits);
    ranked.sort_by(|a, b| {
        order(b).cmp(&order(a)).then_with(|| a.facts.address.cmp(&b.facts.address)).then(a.facts.key.cmp(&b.facts.key))
    });
    ranked
}

fn suspects_of(shard: usize, of: &Shard) -> Vec<Ranked<'_>> {
    let mut ranked = Vec::new();
    for (number, facts) in of.visitors.iter().enumerate() {
        let findings = findings(facts);
        let points = findings.iter().map(|f| f.points).sum::<u32>().max(facts.score.into());
        if points >= SUSPECT && !findings.is_empty() {
            ranked.push(Ranked { shard, number: number as u32, facts, points: points.min(100), findings });
        }
    }
    ranked
}

/// The section.
pub(super) fn rows(everybody: &Everybody<'_>) -> Vec<Suspect> {
    let period = everybody.period();
    everybody.ranked.iter().take(SUSPECTS).map(|one| row(one, period)).collect()
}

fn row(one: &Ranked<'_>, period: (Duration, Duration)) -> Suspect {
    let facts = one.facts;
    let strongest = |counts: &[u32]| {
        let done = Action::ALL.iter().zip(counts).filter(|(_, times)| **times > 0);
        done.map(|(action, _)| *action).max().map(|action| action.code().to_owned())
    };
    let deckle = facts.deckle.as_ref();
    Suspect {
        visitor: visitor(facts),
        agent: facts.agent.agent.name.as_deref().map(str::to_owned),
        category: facts.category.code(),
        verification: facts.verification.code().to_owned(),
        user_agent: facts.agent.user_agent.as_deref().map(str::to_owned),
        address: facts.address.to_string(),
        hits: facts.hits.count(),
        pages: facts.pages.into(),
        articles: facts.articles.count(),
        bytes: facts.bytes.count(),
        score: if facts.score > 0 { facts.score } else { one.points as u8 },
        reasons: one.findings.iter().map(|finding| finding.text.clone()).collect(),
        action: deckle.and_then(|deckle| strongest(&deckle.done)),
        would_action: deckle.and_then(|deckle| strongest(&deckle.would)),
        first: time(facts.first()),
        last: time(facts.last()),
        sessions: facts.sessions,
        marks: deckle.map_or(0, |deckle| deckle.marks.count()),
        sparkline: sparkline(facts, period),
    }
}

/// The period in equal parts; hours are the smallest that is known.
fn sparkline(facts: &Facts, (first, last): (Duration, Duration)) -> Vec<u32> {
    let mut parts = vec![0u32; PARTS];
    let (first, last) = (first.as_secs() / 3_600, last.as_secs() / 3_600);
    let length = (last - first + 1).max(1);
    for (hour, hits) in facts.hours() {
        let at = u64::from(hour).saturating_sub(first) * PARTS as u64 / length;
        if let Some(part) = parts.get_mut(at as usize) {
            *part = part.saturating_add(hits);
        }
    }
    parts
}
