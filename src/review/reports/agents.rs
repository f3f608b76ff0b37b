//! Agents by category and verification, and names that nobody knows or that do not fit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::survey::{Program, Sums};
use super::{Everybody, ROWS, time};
use crate::review::engine::{BuildReady, Facts, Requests};
use crate::review::report::{AgentRow, GroupRow, NewAgentRow, NewAgents, RotationRow};
use crate::visitor::{Category, Ranges, Verification};

/// Addresses of fakes that are named.
const ADDRESSES: usize = 5;
/// User agents of one address that are too many for a household.
const ROTATION: u64 = 8;
/// Places in which visitors are counted by address, at most.
const PLACES: usize = 1 << 24;
/// Networks of one program that make a group.
const NETWORKS: usize = 20;
/// How much alike they must be.
const ALIKE: f64 = 0.6;
/// Values of a `MinHash`; the error of a similarity is about 1 ÷ √32.
const MIN_HASHES: usize = 32;
/// Networks of one program that are compared, about.
const LOOKED_AT: usize = 512;
/// Days between a log and the list by which it was checked that must be told.
const FAR: u64 = 180;

/// The section.
pub(super) fn agents(everybody: &Everybody<'_>) -> Vec<AgentRow> {
    let mut rows: BTreeMap<(bool, Category, Verification, Option<&str>), (AgentRow, Sums)> = BTreeMap::new();
    let is_fake = |program: &&Program<'_>| program.facts.verification == Verification::Failed;
    let sums = everybody.programs().filter(|program| !is_fake(program)).map(|program| (program.facts, program.sums));
    // Of fakes the addresses count, too.
    let fakes = everybody.surveys.iter().flat_map(|survey| &survey.fakes).map(|facts| (*facts, Sums::of(facts)));
    for (facts, sums) in sums.chain(fakes) {
        let fake = facts.verification == Verification::Failed;
        let name = facts.agent.agent.name.as_deref().filter(|_| facts.category != Category::Browser);
        let new = || AgentRow {
            agent: name.map(str::to_owned),
            category: facts.category.code(),
            verification: facts.verification.code(),
            visitors: 0,
            hits: 0,
            pages: 0,
            bytes: 0,
            note: fake.then(|| note(facts)),
            addresses: Vec::new(),
        };
        let key = (!fake, facts.category, facts.verification, name);
        let (row, total) = rows.entry(key).or_insert_with(|| (new(), Sums::default()));
        sums.add_to(total);
        if fake && row.addresses.len() < ADDRESSES && !row.addresses.iter().any(|a| **a == *facts.address) {
            row.addresses.push(facts.address.to_string());
        }
    }
    let whole = |(key, (row, sums)): (_, (AgentRow, Sums))| {
        let Sums { visitors, hits, pages, bytes } = sums;
        (key, AgentRow { visitors, hits: hits.count(), pages, bytes: bytes.count(), ..row })
    };
    let mut rows: Vec<((bool, Category, Verification, Option<&str>), AgentRow)> = rows.into_iter().map(whole).collect();
    rows.sort_by(|(a, x), (b, y)| (a.0, std::cmp::Reverse(x.hits), a.3).cmp(&(b.0, std::cmp::Reverse(y.hits), b.3)));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// A list of another time proves less.
fn note(facts: &Facts) -> String {
    let shipped = Ranges::shipped();
    let apart = shipped.made().map(|made| made.abs_diff(facts.last().as_secs()) / 86_400);
    match (facts.deckle.is_some(), shipped.date(), apart) {
        (false, Some(date), Some(days)) if days > FAR => format!("fake (list of {date})"),
        _ => "fake".to_owned(),
    }
}

/// The section.
pub(super) fn new_agents(everybody: &Everybody<'_>) -> NewAgents {
    NewAgents { unknown: unknown(everybody), rotation: rotation(everybody), groups: groups(everybody) }
}

fn unknown(everybody: &Everybody<'_>) -> Vec<NewAgentRow> {
    let mut rows: HashMap<&str, (Requests, u64, Duration)> = HashMap::new();
    for program in everybody.programs().filter(|program| program.facts.category == Category::UnknownBot) {
        let Some(name) = program.facts.agent.user_agent.as_deref() else { continue };
        let (hits, visitors, first) = rows.entry(name).or_insert((Requests::default(), 0, program.first));
        *hits += program.sums.hits;
        *visitors += program.sums.visitors;
        *first = program.first.min(*first);
    }
    let mut rows: Vec<NewAgentRow> = rows
        .into_iter()
        .map(|(name, (hits, visitors, first))| NewAgentRow {
            user_agent: name.to_owned(),
            hits: hits.count(),
            visitors,
            first: time(first),
        })
        .collect();
    rows.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.user_agent.cmp(&b.user_agent)));
    rows.truncate(ROWS);
    rows
}

/// One address under many names. Where addresses are cut, many people share one, and nothing follows.
fn rotation(everybody: &Everybody<'_>) -> Vec<RotationRow> {
    let whole = |facts: &Facts| !facts.address.contains('/') && !facts.address.is_empty() && facts.address != "-";
    let shards = || everybody.surveys.iter().zip(&everybody.counts.shards);
    // Most addresses have few names, which needs no table of all of them to see: several may share a place in this one.
    let visitors: usize = shards().map(|(survey, _)| survey.addresses.len()).sum();
    let mut times = vec![0u8; visitors.clamp(1, PLACES).next_power_of_two()];
    let place = |address: u32, places: usize| address as usize & (places - 1);
    for address in shards().flat_map(|(survey, _)| &survey.addresses) {
        let at = place(*address, times.len());
        if let Some(times) = times.get_mut(at) {
            *times = times.saturating_add(1);
        }
    }
    let mut rows: HashMap<&str, (u64, Requests)> = HashMap::new();
    for (address, facts) in shards().flat_map(|(survey, shard)| survey.addresses.iter().zip(&shard.visitors)) {
        let times = times.get(place(*address, times.len())).copied().unwrap_or(u8::MAX);
        if u64::from(times) >= ROTATION && whole(facts) {
            let (agents, hits) = rows.entry(&facts.address).or_default();
            *agents += 1;
            *hits += facts.hits;
        }
    }
    let mut rows: Vec<RotationRow> = rows
        .into_iter()
        .filter(|(_, (agents, _))| *agents >= ROTATION)
        .map(|(address, (user_agents, hits))| {
            let (address, hits) = (address.to_owned(), hits.count());
            RotationRow { address, user_agents, hits }
        })
        .collect();
    rows.sort_by(|a, b| (b.user_agents, b.hits, &a.address).cmp(&(a.user_agents, a.hits, &b.address)));
    rows.truncate(ROWS);
    rows
}

/// Many networks with the same program that asked for much the same.
fn groups(everybody: &Everybody<'_>) -> Vec<GroupRow> {
    let mut by_name: HashMap<&str, Vec<(u64, &Facts)>> = HashMap::new();
    for program in everybody.programs().filter(|program| !program.readers.is_empty()) {
        let name = program.facts.agent.user_agent.as_deref().unwrap_or_default();
        by_name.entry(name).or_default().extend(&program.readers);
    }
    let mut rows: Vec<GroupRow> = by_name.iter().filter_map(|(name, members)| group(name, members)).collect();
    rows.sort_by(|a, b| (b.networks, b.hits, &a.user_agent).cmp(&(a.networks, a.hits, &b.user_agent)));
    rows.truncate(ROWS);
    rows
}

/// The visitors of one program, with their networks.
fn group(name: &str, members: &[(u64, &Facts)]) -> Option<GroupRow> {
    let networks: HashSet<u64, BuildReady> = members.iter().map(|(network, _)| *network).collect();
    if networks.len() < NETWORKS {
        return None;
    }
    // Of very many networks some say as much as all; which ones, their hashes tell.
    let bound = u64::MAX / (networks.len() / LOOKED_AT).max(1) as u64;
    let mut asked: HashMap<u64, [u64; MIN_HASHES], BuildReady> = HashMap::default();
    for (network, facts) in members.iter().filter(|(network, _)| *network <= bound) {
        let hashes = asked.entry(*network).or_insert([u64::MAX; MIN_HASHES]);
        facts.articles.each(|article| add_to_min_hash(hashes, article));
    }
    let similarity = similarity(&asked);
    (similarity >= ALIKE).then(|| GroupRow {
        user_agent: name.to_owned(),
        networks: networks.len() as u64,
        hits: members.iter().map(|(_, facts)| facts.hits).sum::<Requests>().count(),
        similarity,
    })
}

/// Sets with the same least values hold much the same (Broder 1997).
fn add_to_min_hash(hashes: &mut [u64; MIN_HASHES], article: u64) {
    for (at, least) in hashes.iter_mut().enumerate() {
        let mixed = (article ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        *least = (*least).min(mixed ^ (mixed >> 32));
    }
}

/// The mean similarity of each network with the next one.
fn similarity(networks: &HashMap<u64, [u64; MIN_HASHES], BuildReady>) -> f64 {
    let mut all: Vec<(&u64, &[u64; MIN_HASHES])> = networks.iter().collect();
    all.sort_unstable();
    let pairs = all.iter().zip(all.iter().cycle().skip(1));
    let same: usize = pairs.map(|((_, a), (_, b))| a.iter().zip(b.iter()).filter(|(a, b)| a == b).count()).sum();
    same as f64 / (all.len() * MIN_HASHES) as f64
}

#[cfg(test)]
mod tests {
    use crate::review::{Review, Source};

    #[test]
    fn an_address_of_many_names_is_told_with_any_number_of_threads() {
        let names = |address: &str, number: u32| -> String {
            let stamp = "20/Nov/2026:10:00:00 +0000";
            let of =
                |i: u32| format!("{address} - - [{stamp}] \"GET /a-b-c HTTP/1.1\" 200 9 \"-\" \"Made-up/{i}.0\"\n");
            (0..number).map(of).collect()
        };
        let crowd: String = (0..1_000).map(|i| names(&format!("10.0.{}.{}", i / 250, i % 250), 1 + i % 2)).collect();
        let text = crowd + &names("192.0.2.9", 8) + &names("192.0.2.8", 7) + &names("-", 20) + &names("192.0.2.7", 12);
        let path = std::env::temp_dir().join(format!("deckle-rotation-{}.log", std::process::id()));
        std::fs::write(&path, text).unwrap();
        for jobs in [1, 3] {
            let report = Review::default().jobs(jobs).read(&[Source::Path(path.clone())]).report;
            let rotation = report.new_agents.rotation.iter();
            let rows: Vec<_> = rotation.map(|row| (row.address.as_str(), row.user_agents, row.hits)).collect();
            assert_eq!(rows, [("192.0.2.7", 12, 12), ("192.0.2.9", 8, 8)], "{jobs} threads");
        }
        std::fs::remove_file(path).unwrap();
    }
}
