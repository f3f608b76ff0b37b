//! Who obeyed robots.txt: judged hit by hit, by the versions that were in force.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;

use super::distinct::BuildReady;
use super::row::{Kind, Row};
use super::weight::Requests;
use crate::audit::reader::{Note, rfc3339};
use crate::rights::compliance::{Answer, Family, History, Served, Verdict};
use crate::visitor::{Category, Verification, bare_host};

/// Families that are told apart.
const MAX_FAMILIES: usize = 4_096;
/// Paths that are given as examples.
const EXAMPLES: usize = 3;

/// A line of `robots/history-*.ndjson`.
#[derive(serde::Deserialize)]
struct Change {
    time: String,
    host: String,
    version: String,
}

/// What robots.txt said, host by host, and from when on. The host without a name stands for all that are not named.
#[derive(Debug, Clone, Default)]
pub(crate) struct RobotsVersions {
    hosts: BTreeMap<String, BTreeMap<Duration, Served>>,
    texts: HashMap<String, Vec<u8>>,
    /// Changes with each version.
    number: usize,
}

impl RobotsVersions {
    /// `--robots FILE@TIME`: of every host.
    pub(crate) fn add(&mut self, text: &[u8], since: Duration) {
        self.insert(String::new(), since, text);
    }

    /// What stands beside a log of deckle: it outlives the segments.
    pub(crate) fn add_history(&mut self, log_dir: &Path) {
        let dir = log_dir.join("robots");
        for path in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "ndjson") {
                continue;
            }
            let lines = std::fs::read_to_string(&path).unwrap_or_default();
            for line in lines.lines().filter_map(|line| serde_json::from_str::<Change>(line).ok()) {
                let is_name = line.version.bytes().all(|byte| byte.is_ascii_hexdigit());
                let text = is_name.then(|| std::fs::read(dir.join(format!("{}.txt", line.version))).ok()).flatten();
                if let (Some(text), Some(time)) = (text, rfc3339(&line.time)) {
                    self.insert(bare_host(&line.host).to_owned(), time, &text);
                    self.texts.insert(line.version, text);
                }
            }
        }
    }

    /// A `robots` line of deckle's log; it holds the text only where that is new.
    pub(super) fn add_note(&mut self, note: &Note) {
        let Some(version) = note.robots_version.as_ref().filter(|_| note.kind == "robots") else { return };
        if let Some(text) = note.text.as_ref().and_then(|text| BASE64.decode(text.as_bytes()).ok()) {
            self.texts.insert(version.clone(), text);
        }
        if let Some(text) = self.texts.get(version).cloned() {
            self.insert(bare_host(&note.host).to_owned(), note.time, &text);
        }
    }

    fn insert(&mut self, host: String, since: Duration, text: &[u8]) {
        self.hosts.entry(host).or_default().insert(since, Served::of(200, text));
        self.number += 1;
    }

    /// Different versions.
    pub(crate) fn count(&self) -> usize {
        self.hosts.values().map(BTreeMap::len).sum()
    }
}

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
        let Some(name) = row.name().filter(|_| row.category.is_declared_bot()) else { return };
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
        let history = if host.is_empty() && self.histories.len() == 1 {
            self.histories.values_mut().next()
        } else if self.histories.contains_key(host) {
            self.histories.get_mut(host)
        } else {
            self.histories.get_mut("")
        };
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
        for (host, served) in &versions.hosts {
            let history = self.histories.entry(host.clone()).or_default();
            for (since, served) in served {
                history.serve(*since, served.clone());
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
