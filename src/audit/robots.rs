//! What robots.txt said, and when: each version is kept, so that a robot can be judged by the rules that it was told.
//!
//! `robots/<version>.txt` in the log directory holds the bytes, `robots/history-<instance>.ndjson` one line a change. No
//! address stands in either.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::ObjectWriter;
use super::record::render_time;
use crate::hosts;
use crate::rights::robots::RobotsText;
use crate::visitor::bare_host;

/// Names under which a site is known. Of more of them those are remembered that most networks ask for.
const MAX_HOSTS: usize = 64;
/// Changes a day that are kept. A file that changes more often is made for each request.
const MAX_CHANGES: u32 = 24;
const DAY: Duration = Duration::from_secs(86_400);

/// The versions that one instance has served.
#[derive(Debug)]
pub(super) struct RobotsHistory {
    dir: PathBuf,
    history: PathBuf,
    hosts: BTreeMap<String, Host>,
}

#[derive(Debug, Default)]
struct Host {
    /// Served last.
    version: String,
    last: Duration,
    /// How many networks have asked for it, as far as this process knows.
    networks: u32,
    /// Changes since the beginning of a day.
    day: Duration,
    changes: u32,
}

/// What a text was to the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// What was served before, or too much.
    Known,
    /// Another one than before, which was served at some time.
    Changed,
    /// Never seen.
    New,
}

impl RobotsHistory {
    pub(super) fn open(log_dir: &Path, instance: &str) -> Self {
        let dir = log_dir.join("robots");
        let history = dir.join(format!("history-{instance}.ndjson"));
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for line in lines(&history) {
            if let (Some(host), Some(version)) = (line["host"].as_str(), line["version"].as_str()) {
                let last = begin(&line).unwrap_or_default();
                hosts.insert(host.to_owned(), Host { version: version.to_owned(), last, ..Host::default() });
            }
        }
        Self { dir, history, hosts }
    }

    /// Keeps a text if it is another than the last. So many `networks` have asked for the host so far.
    pub(super) fn served(&mut self, time: Duration, host: &str, networks: u32, robots: &RobotsText) -> Served {
        let name = bare_host(host);
        if !self.has_room(name, networks) {
            return Served::Known;
        }
        let known = self.hosts.get_mut(name);
        if let Some(known) = known {
            known.last = time;
            known.networks = known.networks.max(networks);
            if known.version == robots.version {
                return Served::Known;
            }
            if time.saturating_sub(known.day) >= DAY {
                (known.day, known.changes) = (time, 0);
            }
            if known.changes >= MAX_CHANGES {
                if known.changes == MAX_CHANGES {
                    known.changes += 1;
                    tracing::warn!(target: "deckle::audit", host = name, "robots.txt changes all the time; its versions are not kept today.");
                }
                return Served::Known;
            }
        }
        match self.keep(time, name, robots) {
            Ok(served) => {
                let host = self.hosts.entry(name.to_owned()).or_default();
                (host.last, host.changes) = (time, host.changes + 1);
                host.networks = host.networks.max(networks);
                host.version.clone_from(&robots.version);
                served
            }
            Err(error) => {
                // The next answer is the next try.
                tracing::warn!(target: "deckle::audit", %error, dir = %self.dir.display(), "A version of robots.txt was not kept.");
                Served::Known
            }
        }
    }

    /// Makes room for a host that is new. `false`: there is none for it. Each one that takes a place adds a line to the file, so
    /// it must be asked for by more networks than the one that goes.
    fn has_room(&mut self, name: &str, networks: u32) -> bool {
        // The file may name more of them.
        while self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(name) {
            let known = self.hosts.iter().map(|(name, host)| (name, host.networks, host.last));
            let Some(least) = hosts::least(networks, known).cloned() else { return false };
            self.hosts.remove(&least);
        }
        true
    }

    fn keep(&self, time: Duration, host: &str, robots: &RobotsText) -> std::io::Result<Served> {
        std::fs::create_dir_all(&self.dir)?;
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        object.text("time", &render_time(time));
        object.text("host", host);
        object.text("version", &robots.version);
        object.text("sha256", &HEXLOWER.encode(&Sha256::digest(&robots.text)));
        object.number("bytes", robots.text.len() as u64);
        object.end();
        // First the line: another instance deletes texts that no line names.
        std::fs::OpenOptions::new().create(true).append(true).open(&self.history)?.write_all(&line)?;
        let path = self.dir.join(format!("{}.txt", robots.version));
        if path.exists() {
            return Ok(Served::Changed);
        }
        let temporary = self.history.with_extension("tmp");
        std::fs::write(&temporary, &robots.text)?;
        std::fs::rename(&temporary, &path)?;
        Ok(Served::New)
    }

    /// Forgets versions that nobody was served within `max_age`.
    pub(super) fn retain(&mut self, max_age: Duration, now: Duration) {
        let oldest = now.saturating_sub(max_age);
        let all: Vec<Value> = lines(&self.history).collect();
        // A version ends when the next one of its host begins; the last one when it was last served.
        let mut ends: BTreeMap<&str, Duration> = BTreeMap::new();
        let mut kept: Vec<&Value> = Vec::new();
        for line in all.iter().rev() {
            let (Some(host), Some(begin)) = (line["host"].as_str(), begin(line)) else { continue };
            let end = ends.insert(host, begin).or_else(|| Some(self.hosts.get(host).map_or(begin, |h| h.last)));
            if end.is_some_and(|end| end >= oldest) {
                kept.push(line);
            }
        }
        self.hosts.retain(|_, host| host.last >= oldest);
        if kept.len() < all.len() {
            let text: String = kept.iter().rev().map(|line| format!("{line}\n")).collect();
            let temporary = self.history.with_extension("tmp");
            let replaced = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &self.history));
            if replaced.is_ok() {
                self.delete_unnamed();
            }
        }
    }

    /// Texts that no instance's history names.
    fn delete_unnamed(&self) {
        let files: Vec<PathBuf> =
            std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let of_kind = |kind: &'static str| files.iter().filter(move |p| p.extension().is_some_and(|e| e == kind));
        let named: BTreeSet<String> = of_kind("ndjson")
            .flat_map(|path| lines(path))
            .filter_map(|line| Some(line["version"].as_str()?.to_owned()))
            .collect();
        for path in of_kind("txt") {
            if path.file_stem().is_some_and(|stem| !named.contains(&*stem.to_string_lossy())) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn lines(path: &Path) -> impl Iterator<Item = Value> + use<> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>().into_iter()
}

/// Since 1970.
fn begin(line: &Value) -> Option<Duration> {
    let time = line["time"].as_str()?.parse::<Timestamp>().ok()?;
    u64::try_from(time.as_second()).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn text(text: &str) -> RobotsText {
        RobotsText::new(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn day(d: u64) -> Duration {
        DAY * d as u32
    }

    fn versions(dir: &Path) -> Vec<String> {
        lines(&dir.join("robots/history-a.ndjson")).map(|l| l["version"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_change_is_kept_and_forgotten_in_time() {
        let dir = std::env::temp_dir().join(format!("deckle-robots-{}", std::process::id()));
        let (a, b) = (text("User-agent: *\nDisallow: /a\n"), text("User-agent: *\nDisallow: /b\n"));
        let mut history = RobotsHistory::open(&dir, "a");
        let served = [(1, &a), (2, &a), (3, &b), (9, &b)].map(|(d, t)| history.served(day(d), "news.example:80", 0, t));
        assert_eq!(served, [Served::New, Served::Known, Served::New, Served::Known]);
        // Whoever starts anew knows what was said last.
        let mut history = RobotsHistory::open(&dir, "a");
        assert_eq!(history.served(day(10), "news.example", 0, &b), Served::Known);
        assert_eq!(history.served(day(20), "news.example.", 0, &a), Served::Changed, "back to an older one");
        assert_eq!(versions(&dir), [a.version.as_str(), &b.version, &a.version]);
        let kept = |t: &RobotsText| std::fs::read(dir.join(format!("robots/{}.txt", t.version))).ok();
        assert_eq!(kept(&a).as_deref(), Some(&a.text[..]));
        // Another instance needs the second one, too.
        let mut other = RobotsHistory::open(&dir, "b");
        other.served(day(24), "news.example", 0, &b);
        // The first ended on day 3, the second on day 20; the last was served on day 20.
        history.retain(day(10), day(25));
        assert_eq!((versions(&dir).len(), kept(&b).is_some()), (2, true));
        history.retain(day(2), day(25));
        assert_eq!((versions(&dir).len(), kept(&a).is_some(), kept(&b).is_some()), (0, false, true));
        assert_eq!(history.served(day(26), "news.example", 0, &a), Served::New, "what is forgotten is new again");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_changes_for_each_request_takes_no_room() {
        let dir = std::env::temp_dir().join(format!("deckle-robots-flood-{}", std::process::id()));
        let mut history = RobotsHistory::open(&dir, "a");
        for i in 0..200 {
            history.served(day(1), "news.example", 0, &text(&format!("# {i}")));
        }
        assert_eq!(versions(&dir).len(), MAX_CHANGES as usize + 1);
        assert_eq!(history.served(day(3), "news.example", 20, &text("# next day")), Served::New);
        for i in 0..200 {
            history.served(day(3), &format!("h{i}.example"), 1, &text("# x"));
        }
        assert_eq!(history.hosts.len(), MAX_HOSTS);
        let lines = |host: &str| {
            let all = lines(&dir.join("robots/history-a.ndjson"));
            all.filter(|line| host.is_empty() || line["host"] == host).count()
        };
        assert_eq!(
            (lines("news.example"), lines("")),
            (MAX_CHANGES as usize + 2, MAX_CHANGES as usize + MAX_HOSTS + 1)
        );
        assert_eq!(history.served(day(4), "news.example", 20, &text("# and on")), Served::New, "who was there stays");
        assert_eq!(history.served(day(4), "new.example", 3, &text("# new")), Served::New, "a new host of the site");
        assert_eq!(history.served(day(4), "made-up.example", 1, &text("# x")), Served::Known);
        assert_eq!((history.hosts.len(), lines("new.example"), lines("made-up.example")), (MAX_HOSTS, 1, 0));
        // The next process knows nothing of networks yet.
        let mut history = RobotsHistory::open(&dir, "a");
        assert_eq!(history.served(day(5), "news.example", 21, &text("# and on")), Served::Known);
        assert_eq!(history.served(day(5), "newer.example", 3, &text("# newer")), Served::New);
        assert!(history.hosts.contains_key("news.example") && history.hosts.len() == MAX_HOSTS);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
