//! Agents by category and verification, and names that nobody knows or that do not fit.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Everybody, ROWS, time};
use crate::review::engine::{BuildReady, Facts, KnownAgent};
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

/// The section.
pub(super) fn agents(everybody: &Everybody<'_>) -> Vec<AgentRow> {
    let mut rows: BTreeMap<(bool, Category, Verification, Option<&str>), AgentRow> = BTreeMap::new();
    // Visitors are many, user agents are few.
    let mut sums: HashMap<(*const KnownAgent, Category, Verification), (&Facts, [u64; 4])> = HashMap::new();
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| facts.verification != Verification::Failed) {
        let key = (std::sync::Arc::as_ptr(&facts.agent), facts.category, facts.verification);
        let (_, sum) = sums.entry(key).or_insert((facts, [0; 4]));
        let counts = [1, facts.hits, facts.pages.into(), facts.bytes];
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }
    // Of fakes the addresses count, too.
    let fakes = everybody.all().filter(|(_, _, facts)| facts.verification == Verification::Failed);
    let fakes = fakes.map(|(_, _, facts)| (facts, [1, facts.hits, facts.pages.into(), facts.bytes]));
    for (facts, [visitors, hits, pages, bytes]) in sums.into_values().chain(fakes) {
        let fake = facts.verification == Verification::Failed;
        let name = facts.agent.agent.name.as_deref().filter(|_| facts.category != Category::Browser);
        let row = rows.entry((!fake, facts.category, facts.verification, name)).or_insert_with(|| AgentRow {
            agent: name.map(str::to_owned),
            category: facts.category.code(),
            verification: facts.verification.code(),
            visitors: 0,
            hits: 0,
            pages: 0,
            bytes: 0,
            note: fake.then(|| note(facts)),
            addresses: Vec::new(),
        });
        row.visitors += visitors;
        row.hits += hits;
        row.pages += pages;
        row.bytes = row.bytes.saturating_add(bytes);
        if fake && row.addresses.len() < ADDRESSES && !row.addresses.iter().any(|a| **a == *facts.address) {
            row.addresses.push(facts.address.to_string());
        }
    }
    let mut rows: Vec<((bool, Category, Verification, Option<&str>), AgentRow)> = rows.into_iter().collect();
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
    let mut rows: HashMap<&str, (u64, u64, std::time::Duration)> = HashMap::new();
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| facts.category == Category::UnknownBot) {
        let Some(name) = facts.agent.user_agent.as_deref() else { continue };
        let row = rows.entry(name).or_insert((0, 0, facts.first()));
        *row = (row.0 + facts.hits, row.1 + 1, row.2.min(facts.first()));
    }
    let mut rows: Vec<NewAgentRow> = rows
        .into_iter()
        .map(|(name, (hits, visitors, first))| NewAgentRow {
            user_agent: name.to_owned(),
            hits,
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
    let mut rows: HashMap<u64, (u64, u64, &str), BuildReady> = HashMap::default();
    let whole = |facts: &Facts| !facts.address.contains('/') && !facts.address.is_empty() && facts.address != "-";
    for (_, _, facts) in everybody.all().filter(|(_, _, facts)| whole(facts)) {
        let hash = twox_hash::XxHash3_64::oneshot(facts.address.as_bytes());
        let row = rows.entry(hash).or_insert((0, 0, &facts.address));
        *row = (row.0 + 1, row.1 + facts.hits, row.2);
    }
    let mut rows: Vec<RotationRow> = rows
        .into_values()
        .filter(|(agents, ..)| *agents >= ROTATION)
        .map(|(user_agents, hits, address)| RotationRow { address: address.to_owned(), user_agents, hits })
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
    let mut rows: Vec<GroupRow> = members.into_values().filter_map(|members| group(&members)).collect();
    rows.sort_by(|a, b| (b.networks, b.hits, &a.user_agent).cmp(&(a.networks, a.hits, &b.user_agent)));
    rows.truncate(ROWS);
    rows
}

/// The visitors of one program, with their networks.
fn group(members: &[(u64, &Facts)]) -> Option<GroupRow> {
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
        user_agent: members
            .first()
            .and_then(|(_, facts)| facts.agent.user_agent.as_deref())
            .unwrap_or_default()
            .to_owned(),
        networks: networks.len() as u64,
        hits: members.iter().map(|(_, facts)| facts.hits).sum(),
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
