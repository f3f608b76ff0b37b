//! What only the end of a page can tell, remembered per host and kind of path.
//!
//! Whether a page is hydrated by a script that compares its text, and whether it has an article element at all, is known
//! too late for the page itself. Until one page of a host has been read to its end its pages carry no marks; afterwards
//! the last finding of the kind holds, and for a kind not seen yet that of the host.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::marks::MarkRules;

/// Stands for hosts of which nothing is known.
const ANY_HOST: &str = "*";
/// Hosts that are remembered.
const MAX_HOSTS: usize = 64;
/// Kinds of paths of one host.
const MAX_KINDS: usize = 64;

/// What a page showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// It has an `article`, `main` or the like.
    pub has_root: bool,
    /// A script compares its text with its own.
    pub hydrated: bool,
    /// It is AMP.
    pub amp: bool,
}

/// Findings of a site. Fixed bounds; the oldest kinds stay.
#[derive(Debug, Default)]
pub struct Findings {
    hosts: Mutex<BTreeMap<String, Host>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Host {
    last: Option<Finding>,
    kinds: BTreeMap<String, Finding>,
}

impl Findings {
    /// What is known about pages like this one.
    pub fn lookup(&self, host: &str, path: &str) -> Option<Finding> {
        let hosts = self.hosts.lock().ok()?;
        let known = |host: &Host| host.kinds.get(&kind(path)).copied().or(host.last);
        // A name that nobody has seen yet is most likely another name of the same site.
        hosts.get(bare(host)).and_then(known).or_else(|| hosts.get(ANY_HOST).and_then(known))
    }

    /// Is anything known about any host?
    pub fn knows_any(&self) -> bool {
        self.hosts.lock().is_ok_and(|hosts| !hosts.is_empty())
    }

    /// Reads a page that is here as a whole, and remembers what it shows for every host that is not known better.
    pub fn learn_page(&self, page: &[u8]) {
        if let Some(finding) = super::splice::survey(page, &MarkRules::default()) {
            self.learn(ANY_HOST, "/", finding);
        }
    }

    /// Remembers what a page showed.
    pub fn learn(&self, host: &str, path: &str, finding: Finding) {
        let Ok(mut hosts) = self.hosts.lock() else { return };
        // A client can send any name: beyond the most that are kept, what is learned is learned for all others.
        let host = bare(host);
        let full = !hosts.contains_key(host) && hosts.len() >= MAX_HOSTS;
        let kind = kind(path);
        for name in [ANY_HOST, host].into_iter().take(if full { 1 } else { 2 }) {
            let entry = hosts.entry(name.to_owned()).or_default();
            entry.last = Some(finding);
            if entry.kinds.contains_key(&kind) || entry.kinds.len() < MAX_KINDS {
                entry.kinds.insert(kind.clone(), finding);
            }
        }
    }

    /// The findings as JSON, for a file that outlives a restart.
    pub fn to_json(&self) -> String {
        // Whoever ends a page waits for the lock: it is held for no more than a copy.
        let hosts = self.hosts.lock().ok().map(|hosts| hosts.clone());
        hosts.and_then(|hosts| serde_json::to_string(&hosts).ok()).unwrap_or_else(|| "{}".to_owned())
    }

    /// Reads [`Findings::to_json`]; what does not parse is nothing.
    pub fn load_json(&self, text: &str) {
        if let (Ok(read), Ok(mut hosts)) = (serde_json::from_str(text), self.hosts.lock()) {
            *hosts = read;
        }
    }
}

/// A host without port and final dot.
fn bare(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

/// First path segment and number of segments.
fn kind(path: &str) -> String {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    let first: String = segments.next().unwrap_or_default().chars().take(32).collect();
    format!("{}/{first}", 1 + segments.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Finding = Finding { has_root: true, hydrated: false, amp: false };

    #[test]
    fn kinds_are_remembered_apart_and_the_host_fills_in() {
        let findings = Findings::default();
        assert_eq!(findings.lookup("a", "/x/1"), None);
        findings.learn("a", "/x/1", PLAIN);
        findings.learn("a", "/app/1", Finding { hydrated: true, ..PLAIN });
        assert_eq!(findings.lookup("a", "/x/2"), Some(PLAIN));
        assert!(findings.lookup("a", "/app/9").unwrap().hydrated);
        assert!(findings.lookup("a", "/new/1/2").unwrap().hydrated, "the last one of the host");
        assert_eq!(findings.lookup("b:8080", "/x/2"), Some(PLAIN), "another name of the same site");
        findings.learn_page(b"<!doctype html><title>t</title><article><p>x</p></article>");
        assert_eq!(findings.lookup("b", "/x/1"), Some(PLAIN));
        let copy = Findings::default();
        assert!(!copy.knows_any());
        copy.load_json(&findings.to_json());
        assert_eq!(copy.lookup("a", "/x/2"), Some(PLAIN));
        copy.load_json("not json");
        assert_eq!(copy.lookup("a", "/x/2"), Some(PLAIN));
    }

    #[test]
    fn memory_is_bounded() {
        let findings = Findings::default();
        for i in 0..10_000 {
            findings.learn(&format!("h{}", i % 200), &format!("/k{i}/x"), PLAIN);
        }
        assert!(findings.to_json().len() < 2 << 20);
    }
}
