//! What robots.txt said, and from when on: told beforehand, kept beside a log of deckle, or written in its lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;

use crate::audit::reader::{Note, rfc3339};
use crate::rights::compliance::Served;
use crate::visitor::bare_host;

/// A line of `robots/history-*.ndjson`.
#[derive(serde::Deserialize)]
struct Change {
    time: String,
    host: String,
    version: String,
}

/// What came into force at one moment.
#[derive(Debug, Clone)]
enum Said {
    Rules(Served),
    /// A version by its name; its text may stand elsewhere, or nowhere.
    Version(String),
}

/// Host by host. The host without a name stands for all that are not named.
#[derive(Debug, Clone, Default)]
pub(crate) struct RobotsVersions {
    hosts: BTreeMap<String, BTreeMap<Duration, Said>>,
    /// By version.
    texts: HashMap<String, Served>,
    /// Changes with everything that is learned.
    pub(super) number: usize,
}

impl RobotsVersions {
    /// `--robots FILE@TIME`: of every host.
    pub(crate) fn add(&mut self, text: &[u8], since: Duration) {
        self.insert(String::new(), since, Said::Rules(Served::of(200, text)));
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
                let Some(time) = rfc3339(&line.time).filter(|_| is_name) else { continue };
                if let Ok(text) = std::fs::read(dir.join(format!("{}.txt", line.version))) {
                    self.texts.insert(line.version.clone(), Served::of(200, &text));
                }
                self.insert(bare_host(&line.host).to_owned(), time, Said::Version(line.version));
            }
        }
    }

    /// A `robots` line of deckle's log; it holds the text only where that is new.
    pub(super) fn add_note(&mut self, note: &Note) {
        let Some(version) = note.robots_version.as_ref().filter(|_| note.kind == "robots") else { return };
        if let Some(text) = note.text.as_ref().and_then(|text| BASE64.decode(text.as_bytes()).ok()) {
            self.texts.insert(version.clone(), Served::of(200, &text));
        }
        self.insert(bare_host(&note.host).to_owned(), note.time, Said::Version(version.clone()));
    }

    fn insert(&mut self, host: String, since: Duration, said: Said) {
        self.hosts.entry(host).or_default().insert(since, said);
        self.number += 1;
    }

    /// The only host of which anything is said.
    pub(super) fn only_host(&self) -> Option<&str> {
        let mut hosts = self.hosts.keys();
        hosts.next().filter(|_| hosts.next().is_none()).map(String::as_str)
    }

    /// The hosts of which anything is known.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// What one host said, and from when on.
    pub(super) fn of(&self, host: &str) -> BTreeMap<Duration, Served> {
        let said = self.hosts.get(host).into_iter().flatten();
        said.map(|(since, said)| (*since, self.served(said).cloned().unwrap_or(Served::Unknown))).collect()
    }

    /// `None`: its text is nowhere.
    fn served<'v>(&'v self, said: &'v Said) -> Option<&'v Served> {
        match said {
            Said::Rules(rules) => Some(rules),
            Said::Version(name) => self.texts.get(name),
        }
    }

    /// Changes of which the text is known.
    pub(crate) fn count(&self) -> usize {
        self.hosts.values().flat_map(BTreeMap::values).filter(|said| self.served(said).is_some()).count()
    }

    /// Versions that are named, and whose text is nowhere.
    pub(crate) fn missing(&self) -> usize {
        let named = self.hosts.values().flat_map(BTreeMap::values).filter_map(|said| match said {
            Said::Version(name) if !self.texts.contains_key(name) => Some(name.as_str()),
            _ => None,
        });
        named.collect::<BTreeSet<&str>>().len()
    }
}
