//! Who obeyed robots.txt: judged hit by hit, by the versions that were in force.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::distinct::BuildReady;
use super::row::{Kind, Row};
use super::versions::RobotsVersions;
use super::weight::Requests;
use crate::rights::compliance::{Answer, Family, History, Verdict};
use crate::visitor::{Category, Verification, bare_host};

/// Families that are told apart.
const MAX_FAMILIES: usize = 4_096;
/// Paths that are given as examples.
const EXAMPLES: usize = 3;

/// One family of robots, at one degree of certainty.
#[derive(Debug)]
pub(crate) struct FamilyFacts {
    pub(crate) name: Box<str>,
    pub(crate) proof: Verification,
    pub(crate) requests: Requests,
    pub(crate) fetches: u64,
    pub(crate) verdicts: BTreeMap<Verdict, Requests>,
    pub(crate) crawl_delay: Option<u32>,
    pub(crate) examples: Vec<Box<str>>,
    family: Family,
}

impl FamilyFacts {
    fn new(name: &str, category: Category, proof: Verification) -> Self {
        Self {
            name: name.into(),
            proof,
            requests: Requests::default(),
            fetches: 0,
            verdicts: BTreeMap::new(),
            crawl_delay: None,
            examples: Vec::new(),
            family: family(name, category, proof),
        }
    }
}

/// All families of a shard.
#[derive(Debug)]
pub(crate) struct Obedience {
    pub(crate) versions: RobotsVersions,
    pub(crate) families: HashMap<u64, FamilyFacts, BuildReady>,
    histories: BTreeMap<String, History>,
    /// Which versions `histories` hold.
    number: usize,
}

impl Obedience {
    pub(super) fn new(versions: RobotsVersions) -> Self {
        Self { versions, families: HashMap::default(), histories: BTreeMap::new(), number: 0 }
    }

    pub(super) fn add(&mut self, row: &Row<'_>, verification: Verification) {
        if !row.category.is_declared_bot() {
            return;
        }
        let Some(name) = row.name() else { return };
        self.follow();
        let proof = match verification {
            Verification::Verified | Verification::Failed => verification,
            // What is not proven is of one kind: somebody who says so.
            _ => Verification::Unverifiable,
        };
        let key = twox_hash::XxHash3_64::oneshot_with_seed(proof as u64, name.as_bytes());
        let known = self.families.len();
        let facts = match self.families.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if known >= MAX_FAMILIES => return,
            Entry::Vacant(entry) => entry.insert(FamilyFacts::new(name, row.category, proof)),
        };
        if !row.unseen {
            facts.requests += row.weight;
        }
        let host = bare_host(&row.hit.host);
        // A log without hosts is of one site.
        let host = if host.is_empty() { self.versions.only_host().unwrap_or("") } else { host };
        let key = if self.histories.contains_key(host) { host } else { "" };
        let history = self.histories.get_mut(key);
        if row.kind == Kind::Robots && !row.unseen {
            facts.fetches += 1;
        }
        let Some(history) = history else { return };
        let family = &facts.family;
        facts.crawl_delay = facts.crawl_delay.or_else(|| history.crawl_delay(family, row.hit.time));
        if row.kind == Kind::Robots
            && let Some(answer) = row.hit.status.and_then(Answer::of)
        {
            history.fetch(family, row.hit.time, answer);
        }
        if row.unseen {
            return;
        }
        let target = match &row.hit.query {
            Some(query) => Cow::Owned(format!("{}?{query}", row.hit.path)),
            None => Cow::Borrowed(row.hit.path.as_ref()),
        };
        let verdict = history.judge(family, &target, row.hit.time);
        *facts.verdicts.entry(verdict).or_default() += row.weight;
        let is_new = facts.examples.len() < EXAMPLES && !facts.examples.iter().any(|path| **path == *row.hit.path);
        if verdict.is_violation() && is_new {
            facts.examples.push(row.hit.path.as_ref().into());
        }
    }

    fn follow(&mut self) {
        let versions = &self.versions;
        if self.number == versions.number {
            return;
        }
        self.number = versions.number;
        for host in versions.hosts() {
            // Until now it was one of those that are not named; who has asked there has asked.
            let is_new = !versions.is_named(host) && !self.histories.contains_key(host);
            let before = self.histories.get("").filter(|_| is_new).cloned();
            let history = self.histories.entry(host.to_owned()).or_insert_with(|| before.unwrap_or_default());
            for (since, served) in versions.of(host) {
                history.serve(since, served);
            }
        }
    }
}

fn family(name: &str, category: Category, proof: Verification) -> Family {
    let family = match proof {
        Verification::Verified => Family::verified(name, name),
        Verification::Failed => Family::fake(name),
        _ => Family::claiming(name),
    };
    if category == Category::AiUser { family.acting_for_people() } else { family }
}
