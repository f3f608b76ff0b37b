//! What robots.txt said, and from when on: told beforehand, kept beside a log of deckle, or written in its lines; and
//! whether it was there at all, by the answers that visitors got.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;

use super::row::{Kind, Row};
use crate::audit::reader::{Note, rfc3339};
use crate::rights::compliance::Served;
use crate::visitor::bare_host;

/// Hosts of which answers are kept. Clients may make names up.
const MAX_HOSTS: usize = 64;
/// Changes between a file, none and errors that are kept of one host.
const MAX_CHANGES: usize = 256;

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

/// Is the file there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    There,
    /// 404 or 410. Any other 4xx may be meant for one visitor alone.
    Absent,
    Failing,
}

/// What somebody got who asked for robots.txt.
#[derive(Debug, Clone)]
pub(super) struct Told {
    host: String,
    time: Duration,
    file: File,
}

impl Told {
    pub(super) fn of(row: &Row<'_>) -> Option<Self> {
        if row.kind != Kind::Robots || !matches!(row.hit.method.as_ref(), "GET" | "HEAD" | "") {
            return None;
        }
        let file = match row.hit.status? {
            200..=299 | 304 => File::There,
            404 | 410 => File::Absent,
            500.. => File::Failing,
            _ => return None,
        };
        Some(Self { host: bare_host(&row.hit.host).to_owned(), time: row.hit.time, file })
    }
}

/// Host by host. The host without a name stands for all that are not named.
#[derive(Debug, Clone, Default)]
pub(crate) struct RobotsVersions {
    hosts: BTreeMap<String, BTreeMap<Duration, Said>>,
    /// By version.
    texts: HashMap<String, Served>,
    /// Whether the file was there, where it once was not.
    files: BTreeMap<String, BTreeMap<Duration, File>>,
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

    /// An answer counts from its time on, until there is another one, or rules that begin later.
    pub(super) fn add_answer(&mut self, told: &Told) {
        let host = if told.host.is_empty() { self.only_host().unwrap_or("") } else { told.host.as_str() };
        let known = self.files.get(host);
        let last = known.and_then(|of| of.range(..=told.time).next_back());
        let is_news = match last {
            None | Some((_, File::There)) => told.file != File::There,
            Some((since, file)) => *file != told.file || self.has_begun(host, *since, told.time),
        };
        let is_room = known.map_or(self.files.len() < MAX_HOSTS, |of| of.len() < MAX_CHANGES);
        if is_news && is_room {
            let host = host.to_owned();
            self.files.entry(host).or_default().insert(told.time, told.file);
            self.number += 1;
        }
    }

    /// Have rules come into force after one moment, up to another?
    fn has_begun(&self, host: &str, after: Duration, until: Duration) -> bool {
        self.said(host).is_some_and(|said| said.range(after..=until).any(|(since, _)| *since > after))
    }

    /// The rules of a host, else those of all that are not named.
    fn said(&self, host: &str) -> Option<&BTreeMap<Duration, Said>> {
        self.hosts.get(host).or_else(|| self.hosts.get(""))
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

    /// The hosts of which anything is known; some twice.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().chain(self.files.keys()).map(String::as_str)
    }

    /// Has it rules of its own?
    pub(super) fn is_named(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// What one host said, and from when on.
    pub(super) fn of(&self, host: &str) -> BTreeMap<Duration, Served> {
        let said = self.said(host);
        let resolved = |said: &Said| self.served(said).cloned().unwrap_or(Served::Unknown);
        let rules = said.into_iter().flatten().map(|(since, said)| (*since, resolved(said)));
        let mut all: BTreeMap<Duration, Served> = rules.collect();
        for (time, file) in self.files.get(host).into_iter().flatten() {
            let again = || said.and_then(|said| said.range(..=*time).next_back()).map(|(_, said)| resolved(said));
            let served = match file {
                File::There => again().unwrap_or(Served::Unknown),
                File::Absent => Served::Absent,
                File::Failing => Served::Unavailable,
            };
            all.insert(*time, served);
        }
        all
    }

    /// `None`: its text is nowhere.
    fn served<'v>(&'v self, said: &'v Said) -> Option<&'v Served> {
        match said {
            Said::Rules(rules) => Some(rules),
            Said::Version(name) => self.texts.get(name),
        }
    }

    /// Times from which on there was no file.
    pub(crate) fn absences(&self) -> usize {
        self.files.values().flat_map(BTreeMap::values).filter(|file| **file == File::Absent).count()
    }

    /// Some of the answers were no file.
    pub(crate) fn is_answered(&self) -> bool {
        !self.files.is_empty()
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
