//! Counts by name, to be held against those of another part of the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Everybody, obedience, title};
use crate::review::difference::{Kind, Profile};
use crate::review::engine::{Counts, Facts, Requests, name};
use crate::review::input::Source;
use crate::visitor::{Category, Verification};

/// What is compared; nothing was kept from outside of these bounds. `None`: the log does not tell of that time.
pub(in crate::review) fn profile(
    counts: &Counts,
    sources: &[Source],
    (since, until): (Option<Duration>, Option<Duration>),
) -> Option<Profile> {
    let (first, last) = counts.span?;
    let (first, last) = (since.map_or(first, |at| at.max(first)), until.map_or(last, |at| at.min(last)));
    if last < first {
        return None;
    }
    let everybody = Everybody::of(counts);
    let robots = obedience::robots(counts);
    let mut profile = Profile {
        files: sources.iter().map(name).collect(),
        first,
        last,
        hits: counts.shards.iter().map(|shard| shard.tally.hits).sum::<Requests>().count(),
        visitors: counts.shards.iter().map(|shard| shard.visitors.len() as u64 + shard.let_go.keys.estimate()).sum(),
        evaluated: robots.evaluated,
        ..Profile::default()
    };
    add_agents(&everybody, &mut profile);
    add_suspects(&everybody, &mut profile);
    add_articles(&everybody, &mut profile);
    let mut statuses: BTreeMap<u16, Requests> = BTreeMap::new();
    for (status, hits) in counts.shards.iter().flat_map(|shard| shard.tally.statuses()) {
        *statuses.entry(status).or_default() += hits;
    }
    for (status, hits) in statuses {
        let name = if status == 0 { "no answer".to_owned() } else { status.to_string() };
        profile.add(Kind::Status, name, hits.count());
    }
    for row in &robots.rows {
        profile.add(Kind::Violations, row.title.clone(), row.read_then_ignored + row.never_asked);
    }
    Some(profile)
}

fn add_agents(everybody: &Everybody<'_>, profile: &mut Profile) {
    let mut by_name: BTreeMap<String, Requests> = BTreeMap::new();
    for program in everybody.programs() {
        *by_name.entry(agent(program.facts)).or_default() += program.sums.hits;
    }
    for (name, hits) in by_name {
        profile.add(Kind::Agent, name, hits.count());
    }
}

/// Name, category and verification in one, for people.
fn agent(facts: &Facts) -> String {
    let category = facts.category.code();
    let name = match (facts.agent.agent.name.as_deref(), facts.agent.user_agent.as_deref()) {
        _ if facts.category == Category::Browser => return category.to_owned(),
        (Some(name), _) => name,
        (None, Some(agent)) if facts.category == Category::UnknownBot => agent,
        _ => return category.to_owned(),
    };
    match facts.verification {
        Verification::Failed => format!("fake {name} ({category})"),
        Verification::None => format!("{name} ({category})"),
        other => format!("{name} ({category}, {})", other.code()),
    }
}

fn add_suspects(everybody: &Everybody<'_>, profile: &mut Profile) {
    for one in &everybody.ranked {
        // A pseudonym is new each day; by name and address somebody is known again.
        profile.add(Kind::Suspect, title(one.facts), one.facts.hits.count());
        if let Some(network) = network(&one.facts.address) {
            profile.add(Kind::Network, network, one.facts.hits.count());
        }
    }
}

fn add_articles(everybody: &Everybody<'_>, profile: &mut Profile) {
    for (at, shard) in everybody.counts.shards.iter().enumerate() {
        let is_robot = |reader: &&u32| {
            let declared = shard.visitors.get(**reader as usize).is_some_and(|f| f.category.is_declared_bot());
            declared || everybody.is_suspect(at, **reader)
        };
        for article in shard.articles.all.values() {
            let robots = article.readers.iter().filter(is_robot).count() as u64;
            if robots > 0 {
                profile.add(Kind::Article, article.name.to_string(), robots);
            }
        }
    }
}

/// The /24 or /48 of an address; a cut one is a network already.
fn network(address: &str) -> Option<String> {
    if address.parse::<IpNet>().is_ok() {
        return Some(address.to_owned());
    }
    let ip = address.parse::<IpAddr>().ok()?.to_canonical();
    let net = IpNet::new(ip, if ip.is_ipv4() { 24 } else { 48 }).ok()?;
    Some(net.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_networks() {
        let rows = [
            ("203.0.113.9", Some("203.0.113.0/24")),
            ("::ffff:203.0.113.9", Some("203.0.113.0/24")),
            ("203.0.113.0/24", Some("203.0.113.0/24")),
            ("2001:db8:1:2::9", Some("2001:db8:1::/48")),
            ("pc7.example", None),
            ("", None),
        ];
        for (address, expected) in rows {
            assert_eq!(network(address).as_deref(), expected, "{address}");
        }
    }
}
