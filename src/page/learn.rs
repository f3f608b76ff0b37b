//! What only the end of a page can tell, remembered per host and kind of path.
//!
//! Whether a page is hydrated by a script that compares its text, and whether it has an article element at all, is known
//! too late for the page itself. Until one page of a host has been read to its end its pages carry no marks; afterwards
//! the last finding of the kind holds, and for a kind not seen yet that of the host.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::RwLock;

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
    hosts: RwLock<BTreeMap<String, Host>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Host {
    last: Option<Finding>,
    kinds: BTreeMap<String, Finding>,
}

impl Findings {
    /// What is known about pages like this one.
    pub fn lookup(&self, host: &str, path: &str) -> Option<Finding> {
        let kind = kind(path);
        let hosts = self.hosts.read().ok()?;
        let known = |host: &Host| host.kinds.get(&kind).copied().or(host.last);
        // A name that nobody has seen yet is most likely another name of the same site.
        hosts.get(bare(host)).and_then(known).or_else(|| hosts.get(ANY_HOST).and_then(known))
    }

    /// Is anything known about any host?
    pub fn knows_any(&self) -> bool {
        self.hosts.read().is_ok_and(|hosts| !hosts.is_empty())
    }

    /// Reads a page that is here as a whole, and remembers what it shows for every host that is not known better.
    pub fn learn_page(&self, page: &[u8]) {
        if let Some(finding) = super::splice::survey(page, &MarkRules::default()) {
            self.learn(ANY_HOST, "/", finding);
        }
    }

    /// Remembers what a page showed.
    pub fn learn(&self, host: &str, path: &str, finding: Finding) {
        let (host, kind) = (bare(host), kind(path));
        // Most pages show nothing new, and hold nobody up.
        let knows = |host: &Host| host.knows(&kind, finding);
        if self.hosts.read().is_ok_and(|hosts| names(&hosts, host).all(|name| hosts.get(name).is_some_and(knows))) {
            return;
        }
        let Ok(mut hosts) = self.hosts.write() else { return };
        for name in names(&hosts, host) {
            hosts.entry(name.to_owned()).or_default().learn(&kind, finding);
        }
    }

    /// The findings as JSON, for a file that outlives a restart.
    pub fn to_json(&self) -> String {
        // Whoever ends a page waits for the lock: it is held for no more than a copy.
        let hosts = self.hosts.read().ok().map(|hosts| hosts.clone());
        hosts.and_then(|hosts| serde_json::to_string(&hosts).ok()).unwrap_or_else(|| "{}".to_owned())
    }

    /// Reads [`Findings::to_json`]; what does not parse is nothing.
    pub fn load_json(&self, text: &str) {
        if let (Ok(read), Ok(mut hosts)) = (serde_json::from_str(text), self.hosts.write()) {
            *hosts = read;
        }
    }
}

impl Host {
    /// Would it learn nothing new?
    fn knows(&self, kind: &str, finding: Finding) -> bool {
        let known = self.kinds.get(kind).map_or(self.kinds.len() >= MAX_KINDS, |known| *known == finding);
        known && self.last == Some(finding)
    }

    fn learn(&mut self, kind: &str, finding: Finding) {
        self.last = Some(finding);
        if self.kinds.contains_key(kind) || self.kinds.len() < MAX_KINDS {
            self.kinds.insert(kind.to_owned(), finding);
        }
    }
}

/// For whom is remembered what a page of this host showed? A client can send any name: beyond the most that are kept, what is
/// learned is learned for all others.
fn names<'a>(hosts: &BTreeMap<String, Host>, host: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
    let full = !hosts.contains_key(host) && hosts.len() >= MAX_HOSTS;
    [ANY_HOST, host].into_iter().take(if full { 1 } else { 2 })
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
    let first = segments.next().unwrap_or_default();
    let end = first.char_indices().nth(32).map_or(first.len(), |(at, _)| at);
    let mut kind = String::with_capacity(end + 8);
    // Writing to a text cannot fail.
    let _ = write!(kind, "{}/{}", 1 + segments.count(), first.get(..end).unwrap_or_default());
    kind
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
    fn the_last_page_counts_whatever_was_known_before() {
        let findings = Findings::default();
        let other = Finding { hydrated: true, ..PLAIN };
        for finding in [PLAIN, PLAIN, other, other, PLAIN] {
            findings.learn("a", "/x/1", finding);
            assert_eq!(findings.lookup("a", "/x/2"), Some(finding));
            assert_eq!(findings.lookup("b", "/x/2"), Some(finding), "of any host");
        }
        findings.learn("b", "/x/1", PLAIN);
        findings.learn("a", "/x/1", other);
        assert_eq!(findings.lookup("b", "/x/1"), Some(PLAIN), "a name that is known by itself");
        let long = "\u{fc}".repeat(40);
        assert_eq!(kind(&format!("//{long}/1/")), format!("2/{}", "\u{fc}".repeat(32)));
        assert_eq!((kind("/"), kind("/a")), ("1/".to_owned(), "1/a".to_owned()));
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
