//! Agents by category and verification, and names that nobody knows or that do not fit.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Everybody, ROWS, time};
use crate::review::engine::{Amount, BuildReady, Facts, KnownAgent, Requests};
use crate::review::report::{AgentRow, GroupRow, NewAgentRow, NewAgents, RotationRow};
use crate::visitor::{Category, Ranges, Verification};

/// Addresses of fakes that are named.
const ADDRESSES: usize = 5;
/// User agents of one address that are too many for a household.
const ROTATION: u64 = 8;
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

/// Sums over visitors, not rounded yet.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    visitors: u64,
    hits: Requests,
    pages: u64,
    bytes: Amount,
}

impl Sums {
    fn add(&mut self, facts: &Facts) {
        self.visitors += 1;
        self.hits += facts.hits;
        self.pages += u64::from(facts.pages);
        self.bytes += facts.bytes;
    }

    fn of(facts: &Facts) -> Self {
        let mut sums = Self::default();
        sums.add(facts);
        sums
    }

    fn add_to(self, total: &mut Self) {
        total.visitors += self.visitors;
        total.hits += self.hits;
        total.pages += self.pages;
        total.bytes += self.bytes;
    }
}

/// The section.
pub(super) fn agents(everybody: &Everybody<'_>) -> Vec<AgentRow> {
    let mut rows: BTreeMap<(bool, Category, Verification, Option<&str>), (AgentRow, Sums)> = BTreeMap::new();
    // Visitors are many, user agents are few.
    let mut sums: HashMap<(*const KnownAgent, Category, Verification), (&Facts, Sums)> = HashMap::new();
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| facts.verification != Verification::Failed) {
        let key = (std::sync::Arc::as_ptr(&facts.agent), facts.category, facts.verification);
        sums.entry(key).or_insert((facts, Sums::default())).1.add(facts);
    }
    // Of fakes the addresses count, too.
    let fakes = everybody.all().filter(|(_, _, facts)| facts.verification == Verification::Failed);
    let fakes = fakes.map(|(_, _, facts)| (facts, Sums::of(facts)));
    for (facts, sums) in sums.into_values().chain(fakes) {
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
    let mut rows: HashMap<&str, (Requests, u64, std::time::Duration)> = HashMap::new();
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| facts.category == Category::UnknownBot) {
        let Some(name) = facts.agent.user_agent.as_deref() else { continue };
        let row = rows.entry(name).or_insert((Requests::default(), 0, facts.first()));
        row.0 += facts.hits;
        *row = (row.0, row.1 + 1, row.2.min(facts.first()));
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
    let mut rows: HashMap<u64, (u64, Requests, &str), BuildReady> = HashMap::default();
    let whole = |facts: &Facts| !facts.address.contains('/') && !facts.address.is_empty() && facts.address != "-";
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| whole(facts)) {
        let hash = twox_hash::XxHash3_64::oneshot(facts.address.as_bytes());
        let row = rows.entry(hash).or_insert((0, Requests::default(), &facts.address));
        row.0 += 1;
        row.1 += facts.hits;
    }
    let mut rows: Vec<RotationRow> = rows
        .into_values()
        .filter(|(agents, ..)| *agents >= ROTATION)
        .map(|(user_agents, hits, address)| {
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
    let robot = |facts: &Facts| facts.agent.category().is_declared_bot();
    let enough = |facts: &Facts| facts.articles.count() >= 3 && facts.agent.user_agent.is_some() && !robot(facts);
    let mut members: HashMap<*const KnownAgent, Vec<(u64, &Facts)>> = HashMap::new();
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| enough(facts)) {
        let Some(network) = network(&facts.address) else { continue };
        members.entry(std::sync::Arc::as_ptr(&facts.agent)).or_default().push((network, facts));
    }
    // Where memory did not reach, visitors have copies of the same name.
    let mut by_name: HashMap<&str, Vec<(u64, &Facts)>> = HashMap::new();
    for mut some in members.into_values() {
        let name = some.first().and_then(|(_, facts)| facts.agent.user_agent.as_deref()).unwrap_or_default();
        by_name.entry(name).or_default().append(&mut some);
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

/// /24 or /48.
fn network(address: &str) -> Option<u64> {
    let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
    let bytes = match bare.parse::<std::net::IpAddr>().ok()?.to_canonical() {
        std::net::IpAddr::V4(v4) => v4.octets().get(..3)?.to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().get(..6)?.to_vec(),
    };
    Some(twox_hash::XxHash3_64::oneshot(&bytes))
}
