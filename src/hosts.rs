//! Names of hosts that a site is asked by, and how many networks ask for each.
//!
//! Where `proxy.hosts` is empty, a client may send any name in `Host`, and a site that answers to all names fills what is
//! remembered by host with it. So those memories (`rights::RobotsMemory`, `page::Findings`, `page::Styles`, the history of
//! robots.txt in the log directory) ask here which name gives way:
//!
//! 1. A full memory lets go of the name that the fewest networks (IPv4 /24, IPv6 /48) have asked for, and only for one that more
//!    of them have asked for, or as many where that is three or more. Of other equals, whoever is there stays.
//! 2. Here, a name that fewer than three networks have asked for gives way before all others; of those the newest one, and first
//!    one of those that the same networks as most others have asked for. So one client takes the places of its own names.
//!
//! # Deployment caveat
//! Who asks from many networks, such as a botnet, can make up names that count as much as those of the site: for that there is
//! `proxy.hosts`. Behind a proxy that is not in `visitor.trusted_proxies` all clients are of one network, and names that came
//! first stay. Up to 64 networks are told apart, by a keyed hash; two in 64 may count as one.
//!
//! ```
//! let names = deckle::hosts::HostNames::default();
//! for network in ["192.0.2.0/24", "198.51.100.0/24", "192.0.2.0/24"] {
//!     names.asked("News.example:8080", &network);
//! }
//! assert!(names.networks("news.example") <= 2);
//! assert_eq!(names.networks("made-up.example"), 0);
//! ```

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Names that are remembered.
const MAX_NAMES: usize = 128;
/// So many networks have to ask for a name before it is more than what some client has made up.
const ENOUGH: u32 = 3;
/// Longest name that is one: 253 characters (RFC 1035 §2.3.4) and a port.
const MAX_LENGTH: usize = 259;

/// Names of hosts, and how many networks have asked for each. Fixed bounds; see the [module](self).
#[derive(Debug, Default)]
pub struct HostNames {
    names: RwLock<Names>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Names {
    by_name: BTreeMap<Arc<str>, Name>,
    /// Names that ever came.
    count: u64,
}

#[derive(Debug)]
struct Name {
    /// A bit each, by a keyed hash.
    networks: AtomicU64,
    /// When it came, as the count of names.
    number: u64,
}

impl HostNames {
    /// A client of this network has asked for a host, named as in `Host`. It counts with its port and without. The answer is
    /// how many networks have asked for the name without it: 1 to 64, and 0 for what cannot be a name.
    pub fn asked(&self, host: &str, network: &impl Hash) -> u32 {
        self.known(host, network).map_or(0, |(networks, _)| networks)
    }

    /// The same with the name as it is kept here, so that whoever holds on to it need not make its own. `None`: it cannot be one.
    pub(crate) fn known(&self, host: &str, network: &impl Hash) -> Option<(u32, Arc<str>)> {
        let is_lower = !host.bytes().any(|b| b.is_ascii_uppercase());
        let host = if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
        let bit = 1_u64 << (self.hasher.hash_one(network) % 64);
        let name = bare_host(&host);
        let with_port = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(&host);
        if with_port.trim_end_matches('.') != name {
            self.mark(with_port, bit);
        }
        self.mark(name, bit)
    }

    fn mark(&self, name: &str, bit: u64) -> Option<(u32, Arc<str>)> {
        if name.is_empty() || name.len() > MAX_LENGTH {
            return None;
        }
        // Hardly any request tells something new: it writes nothing.
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, known)) = names.by_name.get_key_value(name) {
            let networks = known.networks.load(Ordering::Relaxed);
            let before = if networks & bit == 0 { known.networks.fetch_or(bit, Ordering::Relaxed) } else { networks };
            return Some(((before | bit).count_ones(), Arc::clone(name)));
        }
        drop(names);
        Some(self.names.write().unwrap_or_else(PoisonError::into_inner).insert(name, bit))
    }

    /// How many networks have asked for this host, as far as is known: up to 64. `host` is in lower case, without a port that
    /// goes without saying (80, 443) and without a final dot.
    pub fn networks(&self, host: &str) -> u32 {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.by_name.get(host).map_or(0, Name::count)
    }

    /// Which name of a full memory gives way to a new one? Of `known`, each with its rank, the one that the fewest networks have
    /// asked for, and of those the one with the least rank. `None`: the new one finds no place.
    pub(crate) fn gives_way<'k, K: Ord>(
        &self,
        new: &str,
        known: impl Iterator<Item = (&'k str, K)>,
    ) -> Option<&'k str> {
        least(self.networks(new), known.map(|(name, rank)| (name, self.networks(name), rank)))
    }
}

/// The same for a memory that has been told how many networks have asked for the `new` name, and for each of its own.
pub(crate) fn least<T, K: Ord>(new: u32, known: impl Iterator<Item = (T, u32, K)>) -> Option<T> {
    let least = known.min_by(|(_, a, first), (_, b, second)| (a, first).cmp(&(b, second)));
    // What many ask for was made up by nobody: hosts of a site that has more than there is room for take turns.
    let gives_way = |networks: u32| networks < new || (networks == new && new >= ENOUGH);
    least.filter(|(_, networks, _)| gives_way(*networks)).map(|(name, ..)| name)
}

/// The name in a `Host`: without port and final dot, which anybody may add.
pub(crate) fn bare_host(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.')
}

impl Names {
    fn insert(&mut self, name: &str, bit: u64) -> (u32, Arc<str>) {
        if self.by_name.len() >= MAX_NAMES && !self.by_name.contains_key(name) {
            let least = self.least().cloned();
            least.and_then(|name| self.by_name.remove(&name));
        }
        self.count += 1;
        let new = Name { networks: AtomicU64::new(0), number: self.count };
        let name: Arc<str> = name.into();
        let networks = self.by_name.entry(Arc::clone(&name)).or_insert(new).networks.get_mut();
        *networks |= bit;
        (networks.count_ones(), name)
    }

    fn least(&self) -> Option<&Arc<str>> {
        let mut alike: BTreeMap<u64, usize> = BTreeMap::new();
        for name in self.by_name.values() {
            *alike.entry(name.bits()).or_default() += 1;
        }
        let rank = |name: &Name| {
            let count = name.count();
            let others = alike.get(&name.bits()).filter(|_| count < ENOUGH).copied().unwrap_or_default();
            (count >= ENOUGH, Reverse(others), count, Reverse(name.number))
        };
        self.by_name.iter().min_by_key(|(_, name)| rank(name)).map(|(name, _)| name)
    }
}

impl Name {
    fn bits(&self) -> u64 {
        self.networks.load(Ordering::Relaxed)
    }

    fn count(&self) -> u32 {
        self.bits().count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Networks that are told apart.
    fn networks(names: &HostNames, count: usize) -> Vec<u32> {
        let mut bits = 0_u64;
        let new = |network: &u32| {
            let bit = 1_u64 << (names.hasher.hash_one(network) % 64);
            let is_new = bits & bit == 0;
            bits |= bit;
            is_new
        };
        (0..).filter(new).take(count).collect()
    }

    #[test]
    fn networks_are_counted_once_a_name() {
        let names = HostNames::default();
        let networks = networks(&names, 3);
        for host in ["news.example", "News.Example.", "news.example:443", "news.example:8080"] {
            assert_eq!(names.asked(host, &networks[0]), 1, "{host}");
        }
        assert_eq!([1, 2].map(|at| names.asked("news.example:8080", &networks[at])), [2, 3]);
        assert_eq!(
            ["news.example", "news.example:8080", "news.example:443"].map(|name| names.networks(name)),
            [3, 3, 0]
        );
        for odd in ["", ".", ":80", &"a".repeat(300)] {
            assert_eq!(names.asked(odd, &networks[0]), 0, "{odd}");
        }
    }

    #[test]
    fn a_name_is_kept_once_for_all_who_ask() {
        let names = HostNames::default();
        let networks = networks(&names, 2);
        let ask = |host: &str, at: usize| names.known(host, &networks[at]).unwrap();
        let (first, second) = (ask("News.example:8080", 0), ask("news.example.", 1));
        assert_eq!(((first.0, &*first.1), (second.0, &*second.1)), ((1, "news.example"), (2, "news.example")));
        assert!(Arc::ptr_eq(&first.1, &second.1));
        assert!(names.known(":80", &networks[0]).is_none());
    }

    #[test]
    fn a_client_takes_the_places_of_its_own_names() {
        let names = HostNames::default();
        let networks = networks(&names, 5);
        names.asked("quiet.example", &networks[0]);
        networks[..3].iter().for_each(|network| _ = names.asked("news.example", network));
        for i in 0..1_000 {
            names.asked(&format!("h{i}.example"), &networks[3]);
            // Whoever has two networks can do no more.
            names.asked(&format!("h{}.example", i / 2), &networks[4]);
        }
        assert_eq!(["news.example", "quiet.example", "h0.example"].map(|name| names.networks(name)), [3, 1, 2]);
        assert_eq!(names.names.read().unwrap().by_name.len(), MAX_NAMES);
        // A new name of the site finds its place while that goes on.
        for (i, network) in networks[..3].iter().enumerate() {
            names.asked("new.example", network);
            names.asked(&format!("more{i}.example"), &networks[3]);
        }
        assert_eq!(names.networks("new.example"), 3);
    }

    #[test]
    fn a_full_memory_lets_go_of_what_the_fewest_have_asked_for() {
        let names = HostNames::default();
        let networks = networks(&names, 3);
        for (name, count) in [("one", 1), ("two", 2), ("other", 1), ("three", 3), ("also", 1)] {
            networks[..count].iter().for_each(|network| _ = names.asked(name, network));
        }
        let gives_way = |new: &str, known: &[(&'static str, u32)]| names.gives_way(new, known.iter().copied());
        let known = [("three", 0), ("one", 2), ("other", 1)];
        assert_eq!(gives_way("two", &known), Some("other"), "of equals the one with the least rank");
        assert_eq!(gives_way("also", &known), None, "of equals who is there stays");
        assert_eq!(gives_way("unknown", &known), None);
        assert_eq!(gives_way("also", &[("unknown", 9), ("one", 0)]), Some("unknown"));
        for network in &networks {
            names.asked("sister", network);
        }
        assert_eq!(gives_way("sister", &[("three", 0)]), Some("three"), "hosts of one site take turns");
    }
}
