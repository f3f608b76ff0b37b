//! What only the end of a page can tell, remembered per host and kind of path.
//!
//! Whether a page is hydrated by a script that compares its text, and whether it has an article element at all, is known
//! too late for the page itself. Until one page of a host has been read to its end its pages carry no marks; afterwards
//! the last finding of the kind holds, and for a kind not seen yet that of the host. A kind is the number of segments of a
//! path and the first of them, without its digits: the year in it makes no other one.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

use super::marks::MarkRules;
use crate::hosts::{HostNames, bare_host};

/// Stands for hosts of which nothing is known.
const ANY_HOST: &str = "*";
/// Hosts that are remembered.
const MAX_HOSTS: usize = 64;
/// Kinds of paths of one host.
const MAX_KINDS: usize = 64;
/// Characters of a first segment that tell kinds apart.
const MAX_SEGMENT: usize = 32;

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

/// Findings of a site. Fixed bounds: hosts that many networks ask for, and kinds that are asked for, stay longest.
#[derive(Debug, Default)]
pub struct Findings {
    hosts: RwLock<BTreeMap<String, Host>>,
    names: Arc<HostNames>,
    /// Counts the kinds that were taken in: the time by which others were asked for.
    clock: AtomicU32,
}

#[derive(Debug, Default)]
struct Host {
    last: Option<Finding>,
    kinds: BTreeMap<String, Kind>,
}

/// What pages of a kind show.
#[derive(Debug)]
struct Kind {
    finding: Finding,
    /// When it was asked for last.
    used: AtomicU32,
}

/// A host in the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    last: Option<Finding>,
    kinds: BTreeMap<String, Finding>,
}

impl Findings {
    /// Those that keep the hosts that most networks ask for; give the same names to
    /// [`IdentifyLayer::host_names`](crate::visitor::IdentifyLayer::host_names). Without, the first hosts stay.
    pub fn among(names: Arc<HostNames>) -> Self {
        Self { names, ..Self::default() }
    }

    /// What is known about pages like this one.
    pub fn lookup(&self, host: &str, path: &str) -> Option<Finding> {
        self.lookup_kind(host, &PageKind::of(path))
    }

    /// The same by the kind of the page.
    pub(crate) fn lookup_kind(&self, host: &str, PageKind(kind): &PageKind) -> Option<Finding> {
        let now = self.clock.load(Ordering::Relaxed).wrapping_add(1);
        let hosts = self.hosts.read().ok()?;
        let known = |host: &Host| host.kinds.get(kind).map(|kind| kind.ask(now)).or(host.last);
        // A name that nobody has seen yet is most likely another name of the same site.
        hosts.get(bare_host(host)).and_then(known).or_else(|| hosts.get(ANY_HOST).and_then(known))
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
        self.learn_kind(host, &PageKind::of(path), finding);
    }

    /// The same by the kind of the page.
    pub(crate) fn learn_kind(&self, host: &str, PageKind(kind): &PageKind, finding: Finding) {
        let host = bare_host(host);
        // Most pages show nothing new, and hold nobody up.
        let knows = |hosts: &BTreeMap<String, Host>| {
            let known = |name: &str| hosts.get(name).map(|host| host.knows(kind, finding));
            known(ANY_HOST) == Some(true) && known(host).unwrap_or_else(|| !self.has_room(hosts, host))
        };
        if self.hosts.read().is_ok_and(|hosts| knows(&hosts)) {
            return;
        }
        let Ok(mut hosts) = self.hosts.write() else { return };
        let learn = |hosts: &mut BTreeMap<String, Host>, name: &str| {
            let now = self.clock.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            hosts.entry(name.to_owned()).or_default().learn(kind, finding, now);
        };
        learn(&mut hosts, ANY_HOST);
        if !self.has_room(&hosts, host) {
            return;
        }
        if !hosts.contains_key(host) && hosts.len() >= MAX_HOSTS {
            let least = self.least(&hosts, host).map(str::to_owned);
            least.and_then(|name| hosts.remove(&name));
        }
        learn(&mut hosts, host);
    }

    /// Is this host one of those that are remembered, or to be? A client can send any name: beyond the most that are kept, what is
    /// learned is learned for all others.
    fn has_room(&self, hosts: &BTreeMap<String, Host>, host: &str) -> bool {
        hosts.contains_key(host) || hosts.len() < MAX_HOSTS || self.least(hosts, host).is_some()
    }

    /// The host that gives way to a new one.
    fn least<'h>(&self, hosts: &'h BTreeMap<String, Host>, new: &str) -> Option<&'h str> {
        let known = hosts.keys().map(String::as_str).filter(|name| *name != ANY_HOST);
        self.names.gives_way(new, known.map(|name| (name, ())))
    }

    /// The findings as JSON, for a file that outlives a restart.
    pub fn to_json(&self) -> String {
        // Whoever ends a page waits for the lock: it is held for no more than a copy.
        let saved = self.hosts.read().ok().map(|hosts| {
            let of = |host: &Host| {
                let kinds = host.kinds.iter().map(|(name, kind)| (name.clone(), kind.finding)).collect();
                Saved { last: host.last, kinds }
            };
            hosts.iter().map(|(name, host)| (name.clone(), of(host))).collect::<BTreeMap<String, Saved>>()
        });
        saved.and_then(|hosts| serde_json::to_string(&hosts).ok()).unwrap_or_else(|| "{}".to_owned())
    }

    /// Reads [`Findings::to_json`]; what does not parse is nothing. Kinds of before digits were left out become what they are now.
    pub fn load_json(&self, text: &str) {
        let Ok(saved) = serde_json::from_str::<BTreeMap<String, Saved>>(text) else { return };
        let Ok(mut hosts) = self.hosts.write() else { return };
        let of = |saved: Saved| {
            let kinds = saved.kinds.into_iter().map(|(name, finding)| {
                let kind = name.split_once('/').map_or_else(|| name.clone(), |(count, first)| named(count, first));
                (kind, Kind { finding, used: AtomicU32::new(0) })
            });
            Host { last: saved.last, kinds: kinds.collect() }
        };
        *hosts = saved.into_iter().map(|(name, saved)| (name, of(saved))).collect();
    }
}

impl Host {
    /// Would it learn nothing new? Where there is no place left, a kind that is as the last page needs none.
    fn knows(&self, kind: &str, finding: Finding) -> bool {
        let known = self.kinds.get(kind).map_or(self.kinds.len() >= MAX_KINDS, |known| known.finding == finding);
        known && self.last == Some(finding)
    }

    fn learn(&mut self, kind: &str, finding: Finding, now: u32) {
        if self.knows(kind, finding) {
            return;
        }
        self.last = Some(finding);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(kind) {
            let least = self.kinds.iter().min_by_key(|(_, kind)| kind.used.load(Ordering::Relaxed));
            let least = least.map(|(name, _)| name.clone());
            least.and_then(|name| self.kinds.remove(&name));
        }
        self.kinds.insert(kind.to_owned(), Kind { finding, used: AtomicU32::new(now) });
    }
}

impl Kind {
    /// What is known of it, for a page that is asked for now.
    fn ask(&self, now: u32) -> Finding {
        // Written once between two kinds that are taken in: many read it at once.
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
        self.finding
    }
}

/// The kind of a page, by its path: made once a request, and asked for several times.
#[derive(Debug)]
pub(crate) struct PageKind(String);

impl PageKind {
    pub(crate) fn of(path: &str) -> Self {
        Self(kind(path))
    }
}

/// First path segment and number of segments.
fn kind(path: &str) -> String {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    let first = segments.next().unwrap_or_default();
    named(1 + segments.count(), first)
}

/// A kind by the number of its segments and the first one. Years, days and numbers of articles are all one: `#`.
fn named(count: impl Display, first: &str) -> String {
    let mut kind = String::with_capacity(first.len().min(MAX_SEGMENT) + 8);
    // Writing to a text cannot fail.
    let _ = write!(kind, "{count}/");
    let mut rest = first.chars().take(MAX_SEGMENT).peekable();
    while let Some(c) = rest.next() {
        let digit = c.is_ascii_digit();
        kind.push(if digit { '#' } else { c });
        while digit && rest.next_if(char::is_ascii_digit).is_some() {}
    }
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
        assert_eq!(["/", "/a", "/2027/05/a", "/a12b-3/x"].map(kind), ["1/", "1/a", "3/#", "2/a#b-#"]);
    }

    #[test]
    fn the_years_of_a_site_are_one_kind_and_files_of_before_are_read() {
        let findings = Findings::default();
        let hydrated = Finding { hydrated: true, ..PLAIN };
        // What a version wrote that told digits apart; the newest year counts.
        findings.load_json(
            r#"{"a":{"last":{"has_root":true,"hydrated":true,"amp":false},"kinds":{
                "3/2025":{"has_root":true,"hydrated":true,"amp":false},
                "3/2026":{"has_root":true,"hydrated":false,"amp":false},
                "1/app":{"has_root":true,"hydrated":true,"amp":false}}}}"#,
        );
        let of = |path: &str| findings.lookup("a", path);
        assert_eq!(
            ["/2027/01/story", "/2026/12/story", "/app", "/else"].map(of),
            [Some(PLAIN), Some(PLAIN), Some(hydrated), Some(hydrated)]
        );
        let copy = Findings::default();
        copy.load_json(&findings.to_json());
        assert_eq!(copy.to_json(), findings.to_json());
    }

    #[test]
    fn the_kind_that_nobody_asks_for_gives_way() {
        let findings = Findings::default();
        let other = Finding { hydrated: true, ..PLAIN };
        let word = |i: usize| ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][i % 10];
        let made_up = |i: usize| format!("/{}{}{}/x", word(i), word(i / 10), word(i / 100));
        findings.learn("site", "/news/x", PLAIN);
        findings.learn("site", "/quiet/x", PLAIN);
        let amp = Finding { amp: true, ..PLAIN };
        for i in 0..500 {
            findings.learn("site", &made_up(i), if i % 2 == 0 { amp } else { other });
            // Whoever reads the news says so.
            assert_eq!(findings.lookup("site", "/news/y"), Some(PLAIN), "{i}");
        }
        assert_eq!(findings.lookup("site", "/quiet/y"), Some(other), "the last one of the host");
        assert_eq!(findings.lookup("site", "/new/y"), Some(other));
        findings.learn("site", "/new/x", PLAIN);
        findings.learn("site", &made_up(1), other);
        assert_eq!(["/new/y", "/news/y"].map(|path| findings.lookup("site", path)), [Some(PLAIN); 2]);
        let hosts = findings.hosts.read().unwrap();
        assert!(hosts.values().all(|host| host.kinds.len() == MAX_KINDS));
    }

    #[test]
    fn hosts_that_one_client_makes_up_have_no_place_of_the_site() {
        let names = Arc::new(HostNames::default());
        let findings = Findings::among(Arc::clone(&names));
        let other = Finding { hydrated: true, ..PLAIN };
        let ask = |host: &str, networks: u32| (0..networks).for_each(|network| _ = names.asked(host, &network));
        ask("early", 20);
        findings.learn("early", "/x", PLAIN);
        for i in 0..500 {
            ask(&format!("h{i}"), 1);
            findings.learn(&format!("h{i}"), "/x", other);
        }
        assert_eq!(["early", "late"].map(|host| findings.lookup(host, "/x")), [Some(PLAIN), Some(other)]);
        ask("late", 20);
        findings.learn("late", "/x", PLAIN);
        findings.learn("h0", "/x", other);
        assert_eq!(["early", "late"].map(|host| findings.lookup(host, "/x")), [Some(PLAIN); 2]);
        assert_eq!(findings.hosts.read().unwrap().len(), MAX_HOSTS);
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
