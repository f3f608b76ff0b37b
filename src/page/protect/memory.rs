use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::rights::robots::RobotsText;
use crate::visitor::bare_host;

/// Hosts of which a copy is kept, 500 KiB at most each.
const MAX_HOSTS: usize = 16;
/// How long a copy stands in: a crawler may keep its own for as long (RFC 9309 §2.4).
const DAY: u64 = 86_400;

/// The last good robots.txt of each host. It stands in for a site that fails, because to a crawler a fault there means
/// "fetch nothing" (RFC 9309 §2.3.1.4). Shared by all layers of a process, and kept over reloads.
#[derive(Debug, Default)]
pub struct RobotsMemory(Mutex<BTreeMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    /// Seconds since 1970.
    at: u64,
    /// How often it was served.
    times: u64,
    robots: RobotsText,
}

impl RobotsMemory {
    /// Names a text that was served, and keeps it if it may stand in for later ones.
    pub(super) fn served(&self, host: &str, now: u64, text: &[u8], may_stand_in: bool) -> RobotsText {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let host = bare_host(host).to_owned();
        if let Some(kept) = all.get_mut(&host).filter(|kept| *kept.robots.text == *text) {
            (kept.at, kept.times) = (now, kept.times + 1);
            return kept.robots.clone();
        }
        let robots = RobotsText::new(Bytes::copy_from_slice(text));
        if may_stand_in {
            if all.len() >= MAX_HOSTS && !all.contains_key(&host) {
                // Of names that anybody may make up, those that were asked for once go first.
                let least =
                    all.iter().min_by_key(|(_, kept)| (kept.times.min(2), kept.at)).map(|(name, _)| name.clone());
                least.and_then(|name| all.remove(&name));
            }
            all.insert(host, Kept { at: now, times: 1, robots: robots.clone() });
        }
        robots
    }

    /// The copy that stands in.
    pub(super) fn get(&self, host: &str, now: u64) -> Option<RobotsText> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(bare_host(host)).filter(|kept| now.saturating_sub(kept.at) < DAY).map(|kept| kept.robots.clone())
    }

    /// The site has none any more.
    pub(super) fn forget(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(bare_host(host));
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
        }
        assert!(memory.0.lock().unwrap().len() <= MAX_HOSTS);
        assert_eq!(memory.get("news.example.:8080", 200).unwrap().text, "a");
        assert_eq!(memory.get("news.example", 109 + DAY), None, "a day at most");
        let version = memory.served("news.example", 300, b"other", false).version;
        assert_ne!(version, memory.get("news.example", 300).unwrap().version, "it was not to stand in");
        memory.forget("news.example");
        assert_eq!(memory.get("news.example", 200), None);
    }
}
