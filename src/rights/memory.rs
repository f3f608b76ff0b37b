//! [`RobotsMemory`]: what robots.txt said lately.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::robots::{Robots, RobotsText};
use crate::visitor::bare_host;

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
pub struct RobotsMemory(Mutex<BTreeMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    /// Seconds since 1970.
    at: u64,
    /// How often it was served.
    times: u64,
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
    /// Names a text that was served at `now`, in seconds since 1970, and keeps it if it may stand in for later ones.
    pub fn served(&self, host: &str, now: u64, text: &[u8], may_stand_in: bool) -> RobotsText {
        let host = bare_host(host).to_owned();
        if let Some(known) = self.again(&host, now, text, may_stand_in) {
            return known;
        }
        let robots = self.known(text).unwrap_or_else(|| RobotsText::new(Bytes::copy_from_slice(text)));
        let parsed = Arc::new(Robots::parse(text));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !may_stand_in {
            // Nobody knows who got which.
            if let Some(kept) = all.get_mut(&host) {
                kept.versions.clear();
            }
            return robots;
        }
        if all.len() >= MAX_HOSTS && !all.contains_key(&host) {
            // Of names that anybody may make up, those that were asked for once go first.
            let least = all.iter().min_by_key(|(_, kept)| (kept.times.min(2), kept.at)).map(|(name, _)| name.clone());
            least.and_then(|name| all.remove(&name));
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
        all.insert(host, Kept { at: now, times: 1, robots: robots.clone(), versions });
        robots
    }

    /// The text that was served last time, once more.
    fn again(&self, host: &str, now: u64, text: &[u8], may_stand_in: bool) -> Option<RobotsText> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get_mut(host).filter(|kept| *kept.robots.text == *text)?;
        (kept.at, kept.times) = (now, kept.times + 1);
        if kept.versions.is_empty() && may_stand_in {
            // What was unclear has settled.
            kept.versions.push(Version { since: now, robots: Arc::new(Robots::parse(text)) });
        }
        Some(kept.robots.clone())
    }

    /// The same text of another host: under names that somebody makes up, a site says what it always says. What holds it shares it.
    fn known(&self, text: &[u8]) -> Option<RobotsText> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|kept| &kept.robots).find(|robots| *robots.text == *text).cloned()
    }

    /// Something was served that is no text of rules, such as a redirect. Nobody knows what a crawler makes of it.
    pub fn blur(&self, host: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all.get_mut(bare_host(host)) {
            kept.versions.clear();
        }
    }

    /// The copy that stands in.
    pub fn get(&self, host: &str, now: u64) -> Option<RobotsText> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(bare_host(host)).filter(|kept| now.saturating_sub(kept.at) < DAY).map(|kept| kept.robots.clone())
    }

    /// The site has none any more.
    pub fn forget(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(bare_host(host));
    }

    /// Did every version forbid this path (with its query) to the agent, by which a crawler may go at `now`? What was
    /// served a day ago must be known, and the file must have been served since. A lock that is held means no.
    pub fn forbids(&self, host: &str, agent: &str, path: &str, now: u64) -> bool {
        let Ok(all) = self.0.try_lock() else { return false };
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
    fn names_that_anybody_makes_up_do_not_push_out_the_site() {
        let memory = RobotsMemory::default();
        for now in [1, 2] {
            memory.served("news.example", now, b"a", true);
        }
        for i in 0..100u64 {
            memory.served(&format!("h{i}.example"), 10 + i, b"b", true);
            memory.served(&format!("news.example:{i}"), 10 + i, b"a", true);
            let [one, other] = ["x.example", "news.example"].map(|host| memory.served(host, 10 + i, b"a", true).text);
            assert_eq!(one.as_ptr(), other.as_ptr(), "one text is there once");
        }
        assert!(memory.0.lock().unwrap().len() <= MAX_HOSTS);
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
