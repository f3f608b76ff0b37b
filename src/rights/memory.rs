//! [`RobotsMemory`]: what robots.txt said lately.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::robots::{Robots, RobotsText};
use crate::hosts::{HostNames, bare_host};

/// Hosts of which a copy is kept, 500 KiB at most each.
const MAX_HOSTS: usize = 16;
/// Versions of one day that are remembered; whoever changes more often holds nobody to any.
const MAX_VERSIONS: usize = 4;
/// How long a copy stands in: a crawler may keep its own for as long (RFC 9309 §2.4).
const DAY: u64 = 86_400;

/// The last good robots.txt of each host, and the versions of the last day.
///
/// The copy stands in for a site that fails, because to a crawler a fault there means "fetch nothing" (RFC 9309
/// §2.3.1.4). The versions say what a crawler may go by. Shared by all layers of a process, and kept over reloads.
#[derive(Debug, Default)]
pub struct RobotsMemory {
    hosts: Mutex<BTreeMap<String, Kept>>,
    names: Arc<HostNames>,
}

#[derive(Debug)]
struct Kept {
    /// Seconds since 1970.
    at: u64,
    robots: RobotsText,
    /// The newest last. None: there were too many, or the site has one for everybody.
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    /// Seconds since 1970.
    since: u64,
    robots: Arc<Robots>,
}

impl RobotsMemory {
    /// One that keeps the names that most networks ask for; give the same names to
    /// [`IdentifyLayer::host_names`](crate::visitor::IdentifyLayer::host_names). Without, the first names stay, for a day after
    /// they were asked for.
    pub fn among(names: Arc<HostNames>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Names a text that was served at `now`, in seconds since 1970, and keeps it if it may stand in for later ones.
    pub fn served(&self, host: &str, now: u64, text: &[u8], may_stand_in: bool) -> RobotsText {
        let host = bare_host(host).to_owned();
        if let Some(known) = self.again(&host, now, text, may_stand_in) {
            return known;
        }
        let robots = self.known(text).unwrap_or_else(|| RobotsText::new(Bytes::copy_from_slice(text)));
        let parsed = Arc::new(Robots::parse(text));
        let mut all = self.lock();
        if !may_stand_in {
            // Nobody knows who got which.
            if let Some(kept) = all.get_mut(&host) {
                kept.versions.clear();
            }
            return robots;
        }
        if !self.has_room(&mut all, &host, now) {
            return robots;
        }
        let mut versions = all.remove(&host).map(|kept| kept.versions).unwrap_or_default();
        versions.push(Version { since: now, robots: parsed });
        // The version that was current a day ago is still one to go by.
        while versions.get(1).is_some_and(|next| next.since + DAY <= now) {
            versions.remove(0);
        }
        if versions.len() > MAX_VERSIONS {
            versions.clear();
        }
        all.insert(host, Kept { at: now, robots: robots.clone(), versions });
        robots
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a host that is new. `false`: there is none for it.
    fn has_room(&self, all: &mut BTreeMap<String, Kept>, host: &str, now: u64) -> bool {
        if all.len() < MAX_HOSTS || all.contains_key(host) {
            return true;
        }
        let before = all.len();
        // Nobody goes by these any more.
        all.retain(|_, kept| now.saturating_sub(kept.at) < DAY);
        if all.len() == before {
            let known = all.iter().map(|(name, kept)| (name.as_str(), kept.at));
            let least = self.names.gives_way(host, known).map(str::to_owned);
            least.and_then(|name| all.remove(&name));
        }
        all.len() < before
    }

    /// The text that was served last time, once more.
    fn again(&self, host: &str, now: u64, text: &[u8], may_stand_in: bool) -> Option<RobotsText> {
        let mut all = self.lock();
        let kept = all.get_mut(host).filter(|kept| *kept.robots.text == *text)?;
        kept.at = now;
        if kept.versions.is_empty() && may_stand_in {
            // What was unclear has settled.
            kept.versions.push(Version { since: now, robots: Arc::new(Robots::parse(text)) });
        }
        Some(kept.robots.clone())
    }

    /// The same text of another host: under names that somebody makes up, a site says what it always says. What holds it shares it.
    fn known(&self, text: &[u8]) -> Option<RobotsText> {
        self.lock().values().map(|kept| &kept.robots).find(|robots| *robots.text == *text).cloned()
    }

    /// Something was served that is no text of rules, such as a redirect. Nobody knows what a crawler makes of it.
    pub fn blur(&self, host: &str) {
        if let Some(kept) = self.lock().get_mut(bare_host(host)) {
            kept.versions.clear();
        }
    }

    /// The copy that stands in.
    pub fn get(&self, host: &str, now: u64) -> Option<RobotsText> {
        let all = self.lock();
        all.get(bare_host(host)).filter(|kept| now.saturating_sub(kept.at) < DAY).map(|kept| kept.robots.clone())
    }

    /// The site has none any more.
    pub fn forget(&self, host: &str) {
        self.lock().remove(bare_host(host));
    }

    /// Did every version forbid this path (with its query) to the agent, by which a crawler may go at `now`? What was
    /// served a day ago must be known, and the file must have been served since. A lock that is held means no.
    pub fn forbids(&self, host: &str, agent: &str, path: &str, now: u64) -> bool {
        let Ok(all) = self.hosts.try_lock() else { return false };
        let kept = all.get(bare_host(host)).filter(|kept| now.saturating_sub(kept.at) < DAY);
        let Some(versions) = kept.map(|kept| &kept.versions) else { return false };
        // Those before the one that was current a day ago are nobody's any more.
        let Some(first) = versions.iter().rposition(|version| version.since + DAY <= now) else { return false };
        let rest: Vec<Arc<Robots>> = versions.iter().skip(first).map(|version| Arc::clone(&version.robots)).collect();
        drop(all);
        rest.iter().all(|robots| robots.plainly_forbids(agent, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_one_client_makes_up_do_not_push_out_the_site_nor_keep_it_out() {
        let names = Arc::new(HostNames::default());
        let memory = RobotsMemory::among(Arc::clone(&names));
        let served = |host: &str, now: u64, text: &[u8]| drop(memory.served(host, now, text, true));
        served("news.example", 1, b"a");
        for i in 0..100u64 {
            let host = format!("h{i}.example");
            names.asked(&host, &0);
            // As often as it likes.
            (0..9).for_each(|_| served(&host, 10 + i, b"b"));
            (0..20).for_each(|network| _ = names.asked("news.example", &network));
            served(&format!("news.example:{i}"), 10 + i, b"a");
        }
        assert_eq!(memory.lock().len(), MAX_HOSTS);
        (0..20).for_each(|network| _ = names.asked("other.example", &network));
        served("other.example", 109, b"c");
        let [one, other] = [1, 2].map(|i| memory.served(&format!("h{i}.example"), 109, b"b", true).text);
        assert_eq!(one.as_ptr(), other.as_ptr(), "one text is there once");
        assert_eq!(memory.get("other.example", 109).unwrap().text, "c");
        assert_eq!(memory.lock().len(), MAX_HOSTS);
        // What is a day old takes no place.
        served("new.example", 109 + DAY, b"d");
        assert_eq!(memory.lock().keys().collect::<Vec<_>>(), ["new.example"]);
    }

    #[test]
    fn a_copy_stands_in_for_a_day_and_by_every_form_of_its_name() {
        let memory = RobotsMemory::default();
        memory.served("news.example", 109, b"a", true);
        assert_eq!(memory.get("news.example.:8080", 200).unwrap().text, "a");
        assert_eq!(memory.get("news.example", 109 + DAY), None, "a day at most");
        let version = memory.served("news.example", 300, b"other", false).version;
        assert_ne!(version, memory.get("news.example", 300).unwrap().version, "it was not to stand in");
        memory.forget("news.example");
        assert_eq!(memory.get("news.example", 200), None);
    }

    const OPEN: &[u8] = b"User-agent: *\nAllow: /\n";
    const CLOSED: &[u8] = b"User-agent: GPTBot\nDisallow: /a\n";

    #[test]
    fn only_what_every_copy_of_the_day_forbids_is_held_against_anybody() {
        let hour = 3_600;
        let forbids = |memory: &RobotsMemory, at: u64| memory.forbids("news.example:80", "GPTBot", "/a", at);
        let again = |memory: &RobotsMemory, at: u64| memory.served("news.example", at, CLOSED, true);
        let memory = RobotsMemory::default();
        memory.served("news.example", 0, OPEN, true);
        memory.served("news.example", 30 * hour, CLOSED, true);
        assert!(!forbids(&memory, 31 * hour) && !forbids(&memory, 53 * hour), "a copy of the open one may be in use");
        assert!(!forbids(&memory, 54 * hour), "a file that nobody has asked for since may be another one");
        again(&memory, 53 * hour);
        assert!(forbids(&memory, 54 * hour));
        memory.blur("news.example");
        assert!(!forbids(&memory, 55 * hour), "a redirect went out");
        again(&memory, 56 * hour);
        again(&memory, 80 * hour);
        assert!(!forbids(&memory, 79 * hour) && forbids(&memory, 81 * hour), "a day later it is known again");
        let memory = RobotsMemory::default();
        memory.served("news.example", 0, OPEN, true);
        memory.served("news.example", 30 * hour, CLOSED, true);
        memory.served("news.example", 60 * hour, OPEN, true);
        assert!(!forbids(&memory, 61 * hour));
        memory.served("news.example", 62 * hour, CLOSED, true);
        again(&memory, 85 * hour);
        assert!(!forbids(&memory, 63 * hour) && forbids(&memory, 86 * hour));
        assert!(!memory.forbids("other.example", "GPTBot", "/a", 86 * hour));
    }

    #[test]
    fn who_began_to_watch_today_knows_nothing_of_yesterday() {
        let memory = RobotsMemory::default();
        memory.served("news.example", 100, CLOSED, true);
        memory.served("news.example", 50 + DAY, CLOSED, true);
        assert!(!memory.forbids("news.example", "GPTBot", "/a", 99 + DAY));
        assert!(memory.forbids("news.example", "GPTBot", "/a", 100 + DAY));
    }

    #[test]
    fn a_file_that_flaps_or_differs_by_visitor_holds_nobody_to_anything() {
        let memory = RobotsMemory::default();
        memory.served("news.example", 0, CLOSED, true);
        memory.served("news.example", DAY, b"User-agent: *\nDisallow: /a\n", false);
        assert!(!memory.forbids("news.example", "GPTBot", "/a", DAY + 1));
        let memory = RobotsMemory::default();
        for version in 0..9u64 {
            let text = format!("User-agent: *\nDisallow: /a\n# {version}\n");
            memory.served("news.example", version * 3_600, text.as_bytes(), true);
        }
        assert!(!memory.forbids("news.example", "GPTBot", "/a", DAY + 2 * 3_600), "seven in a day are not remembered");
    }
}
