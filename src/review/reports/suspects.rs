//! Suspected scrapers, by what they did.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Everybody, SUSPECTS, time, visitor};
use crate::action::Action;
use crate::review::engine::Facts;
use crate::review::findings::{findings, points};
use crate::review::report::Suspect;
use crate::visitor::Systems;

/// Points from which somebody is a suspect.
const SUSPECT: u32 = 40;
/// Parts of a sparkline.
const PARTS: usize = 24;

/// A suspect.
#[derive(Debug)]
pub(super) struct Ranked<'c> {
    pub(super) shard: usize,
    pub(super) number: u32,
    pub(super) facts: &'c Facts,
    points: u32,
}

/// The worst first.
pub(super) fn sort(ranked: &mut [Ranked<'_>]) {
    // Who took most, of those that are equally suspect.
    let order = |one: &Ranked<'_>| (one.points / 10, one.facts.articles.count(), one.facts.pages, one.facts.hits);
    ranked.sort_by(|a, b| {
        order(b).cmp(&order(a)).then_with(|| a.facts.address.cmp(&b.facts.address)).then(a.facts.key.cmp(&b.facts.key))
    });
}

/// The visitor of this number in a shard, if it is a suspect.
pub(super) fn ranked(shard: usize, number: u32, facts: &Facts) -> Option<Ranked<'_>> {
    let points = points(facts)?.max(facts.score.into());
    (points >= SUSPECT).then(|| Ranked { shard, number, facts, points: points.min(100) })
}

/// The section.
pub(super) fn rows(everybody: &Everybody<'_>, systems: &Systems) -> Vec<Suspect> {
    let period = everybody.period();
    everybody.ranked.iter().take(SUSPECTS).map(|one| row(one, period, systems)).collect()
}

fn row(one: &Ranked<'_>, period: (Duration, Duration), systems: &Systems) -> Suspect {
    let facts = one.facts;
    let strongest = |counts: &[u32]| {
        let done = Action::ALL.iter().zip(counts).filter(|(_, times)| **times > 0);
        done.map(|(action, _)| *action).max().map(|action| action.code().to_owned())
    };
    let deckle = facts.deckle.as_ref();
    let (asn, organisation) = system(&facts.address, deckle.and_then(|deckle| deckle.asn), systems);
    Suspect {
        visitor: visitor(facts),
        agent: facts.agent.agent.name.as_deref().map(str::to_owned),
        category: facts.category.code(),
        verification: facts.verification.code().to_owned(),
        user_agent: facts.agent.user_agent.as_deref().map(str::to_owned),
        address: facts.address.to_string(),
        asn,
        organisation,
        hits: facts.hits.count(),
        pages: facts.pages.into(),
        articles: facts.articles.count(),
        bytes: facts.bytes.count(),
        score: if facts.score > 0 { facts.score } else { one.points as u8 },
        reasons: findings(facts).into_iter().map(|finding| finding.text).collect(),
        action: deckle.and_then(|deckle| strongest(&deckle.done)),
        would_action: deckle.and_then(|deckle| strongest(&deckle.would)),
        first: time(facts.first()),
        last: time(facts.last()),
        sessions: facts.sessions,
        marks: deckle.map_or(0, |deckle| deckle.marks.count()),
        sparkline: sparkline(facts, period),
    }
}

/// Number and organisation. The log is right about the number: the database may be one of another day, and is then not
/// asked for the name.
fn system(address: &str, logged: Option<u32>, systems: &Systems) -> (Option<u32>, Option<String>) {
    let one = || address.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
    let net = address.parse::<IpNet>().ok().or_else(one);
    let found = net.and_then(|net| systems.of(net));
    match found.filter(|found| logged.is_none_or(|number| number == found.number)) {
        Some(found) => (Some(found.number), found.organisation),
        None => (logged, None),
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
