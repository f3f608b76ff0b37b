//! What robots.txt said, and when: each version is kept, so that a robot can be judged by the rules that it was told.
//!
//! `robots/<version>.txt` in the log directory holds the bytes, `robots/history.ndjson` one line a change. No address
//! stands in either.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::ObjectWriter;
use super::record::render_time;

/// Names under which a site is known; whoever asks by another is not remembered.
const MAX_HOSTS: usize = 64;

/// A robots.txt as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotsText {
    /// The first 12 hex digits of the SHA-256 of the bytes.
    pub version: String,
    /// The bytes.
    pub text: Bytes,
}

impl RobotsText {
    /// Names a text.
    pub fn new(text: Bytes) -> Self {
        let version = HEXLOWER.encode(Sha256::digest(&text).get(..6).unwrap_or_default());
        Self { version, text }
    }
}

/// The versions of one log directory.
#[derive(Debug)]
pub(super) struct RobotsHistory {
    dir: PathBuf,
    /// The version that each host was served last.
    current: BTreeMap<String, String>,
}

impl RobotsHistory {
    pub(super) fn open(log_dir: &Path) -> Self {
        let dir = log_dir.join("robots");
        let mut current = BTreeMap::new();
        for line in lines(&dir) {
            if let (Some(host), Some(version)) = (line["host"].as_str(), line["version"].as_str()) {
                current.insert(host.to_owned(), version.to_owned());
            }
        }
        Self { dir, current }
    }

    /// Keeps a text if it is another than the last; says whether it was.
    pub(super) fn served(&mut self, time: Duration, host: &str, robots: &RobotsText) -> bool {
        let known = self.current.get(host);
        if known == Some(&robots.version) || (known.is_none() && self.current.len() >= MAX_HOSTS) {
            return false;
        }
        if let Err(error) = self.keep(time, host, robots) {
            tracing::warn!(target: "deckle::audit", %error, dir = %self.dir.display(), "A version of robots.txt was not kept.");
        }
        self.current.insert(host.to_owned(), robots.version.clone());
        true
    }

    fn keep(&self, time: Duration, host: &str, robots: &RobotsText) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(format!("{}.txt", robots.version));
        if !path.exists() {
            std::fs::write(&path, &robots.text)?;
        }
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        object.text("time", &render_time(time));
        object.text("host", host);
        object.text("version", &robots.version);
        object.text("sha256", &HEXLOWER.encode(&Sha256::digest(&robots.text)));
        object.number("bytes", robots.text.len() as u64);
        object.end();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("history.ndjson"))?;
        file.write_all(&line)
    }
}

fn lines(dir: &Path) -> impl Iterator<Item = Value> {
    let text = std::fs::read_to_string(dir.join("history.ndjson")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>().into_iter()
}

/// Forgets versions that nobody was served within `max_age`.
pub(super) fn retain(log_dir: &Path, max_age: Duration, now: Duration) {
    let dir = log_dir.join("robots");
    let time = |line: &Value| line["time"].as_str().and_then(|t| t.parse::<Timestamp>().ok()).map(Timestamp::as_second);
    let oldest = now.saturating_sub(max_age).as_secs() as i64;
    let all: Vec<Value> = lines(&dir).collect();
    // A version ends when the next one of its host begins.
    let mut ends: BTreeMap<&str, i64> = BTreeMap::new();
    let mut kept: Vec<&Value> = Vec::new();
    for line in all.iter().rev() {
        let (Some(host), Some(begin)) = (line["host"].as_str(), time(line)) else { continue };
        if ends.insert(host, begin).is_none_or(|end| end >= oldest) {
            kept.push(line);
        }
    }
    if kept.len() == all.len() {
        return;
    }
    let text: String = kept.iter().rev().map(|line| format!("{line}\n")).collect();
    let temporary = dir.join("history.ndjson.tmp");
    let replaced =
        std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, dir.join("history.ndjson")));
    if replaced.is_err() {
        return;
    }
    let used: BTreeSet<String> = kept.iter().filter_map(|l| Some(format!("{}.txt", l["version"].as_str()?))).collect();
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".txt") && !used.contains(&name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_kept_and_forgotten_in_time() {
        let dir = std::env::temp_dir().join(format!("deckle-robots-{}", std::process::id()));
        let text = |t: &'static str| RobotsText::new(Bytes::from_static(t.as_bytes()));
        let (a, b) = (text("User-agent: *\nDisallow: /a\n"), text("User-agent: *\nDisallow: /b\n"));
        let day = |d: u64| Duration::from_secs(d * 86_400);
        let mut history = RobotsHistory::open(&dir);
        let served: Vec<bool> =
            [(1, &a), (2, &a), (3, &b), (9, &b)].map(|(d, t)| history.served(day(d), "news.example", t)).to_vec();
        assert_eq!(served, [true, false, true, false]);
        // Whoever starts anew knows what was said last.
        let mut history = RobotsHistory::open(&dir);
        assert!(!history.served(day(10), "news.example", &b));
        assert!(history.served(day(20), "news.example", &a), "back to an older one is a change, too");
        let versions =
            || lines(&dir.join("robots")).map(|l| l["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(versions(), [a.version.as_str(), &b.version, &a.version]);
        let kept = |t: &RobotsText| std::fs::read(dir.join(format!("robots/{}.txt", t.version))).ok();
        assert_eq!(kept(&a).as_deref(), Some(&a.text[..]));
        // The first ended on day 3, the second on day 20; the last holds still.
        retain(&dir, day(10), day(25));
        assert_eq!((versions().len(), kept(&b).is_some()), (2, true));
        retain(&dir, day(2), day(25));
        assert_eq!((versions(), kept(&a).is_some(), kept(&b).is_some()), (vec![a.version.clone()], true, false));
        for i in 0..200 {
            history.served(day(25), &format!("h{i}.example"), &b);
        }
        assert_eq!(history.current.len(), MAX_HOSTS);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
