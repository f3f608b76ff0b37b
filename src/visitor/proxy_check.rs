//! Notices that deckle stands behind a proxy that nobody told it about: the most common cause of blocking everybody.
//!
//! While no proxy is trusted, each 1,000 requests are looked at. More than 90 % from one address with eight or more
//! different browsers behind it, or more than half from the prefixes of a known CDN: nothing is enforced until
//! `visitor.trusted_proxies` is set, `visitor.proxy_check = "off"`, or the next 1,000 look like readers again.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use super::{Category, ranges};

const WINDOW: usize = 1_000;
const BROWSERS: usize = 8;

/// The check; fixed size, one short lock that nobody waits for.
#[derive(Debug)]
pub struct ProxyCheck {
    window: Mutex<Vec<Seen>>,
    suspect: AtomicBool,
    cdn: Vec<IpNet>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    address: u64,
    browser: Option<u64>,
    cdn: bool,
}

impl Default for ProxyCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl ProxyCheck {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self {
            window: Mutex::new(Vec::with_capacity(WINDOW)),
            suspect: AtomicBool::new(false),
            cdn: ranges::cloudflare(),
            hasher: RandomState::new(),
        }
    }

    /// Counts one request and says whether enforcement is allowed.
    pub fn observe(&self, ip: Option<IpAddr>, user_agent: Option<&str>, category: Category) -> bool {
        if let Some(ip) = ip {
            let seen = Seen {
                address: self.hasher.hash_one(ip),
                browser: user_agent.filter(|_| category == Category::Browser).map(|ua| self.hasher.hash_one(ua)),
                cdn: self.cdn.iter().any(|net| net.contains(&ip)),
            };
            // A window that somebody else is filling may miss this request: it is a sample.
            if let Ok(mut window) = self.window.try_lock() {
                window.push(seen);
                if window.len() >= WINDOW {
                    self.judge(&window);
                    window.clear();
                }
            }
        }
        !self.suspect.load(Ordering::Relaxed)
    }

    fn judge(&self, window: &[Seen]) {
        let mut addresses: Vec<u64> = window.iter().map(|s| s.address).collect();
        addresses.sort_unstable();
        // More than half of a sorted list stands in its middle.
        let middle = addresses.get(addresses.len() / 2).copied().unwrap_or_default();
        let same = addresses.iter().filter(|a| **a == middle).count();
        let mut browsers: Vec<u64> = window.iter().filter(|s| s.address == middle).filter_map(|s| s.browser).collect();
        browsers.sort_unstable();
        browsers.dedup();
        let one_address = same * 10 > window.len() * 9 && browsers.len() >= BROWSERS;
        let cdn = window.iter().filter(|s| s.cdn).count() * 2 > window.len();
        let suspect = one_address || cdn;
        if !self.suspect.swap(suspect, Ordering::Relaxed) && suspect {
            tracing::warn!(
                target: "deckle",
                proxy_check = "suspect",
                one_address, cdn,
                "Readers seem to come through a proxy that is not configured; nothing is enforced until \
                 visitor.trusted_proxies is set or visitor.proxy_check is off."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(check: &ProxyCheck, n: usize, ip: impl Fn(usize) -> IpAddr, ua: impl Fn(usize) -> String) -> bool {
        let mut last = true;
        for i in 0..n {
            last = check.observe(Some(ip(i)), Some(&ua(i)), Category::Browser);
        }
        last
    }

    fn spread(i: usize) -> IpAddr {
        IpAddr::from([203, 0, (i / 200) as u8, (i % 200) as u8])
    }

    #[test]
    fn many_browsers_on_one_address_are_a_proxy() {
        let one = |_| IpAddr::from([10, 0, 0, 1]);
        assert!(!feed(&ProxyCheck::new(), 1_000, one, |i| format!("Firefox/{}", i % 9)));
        assert!(feed(&ProxyCheck::new(), 1_000, one, |i| format!("Firefox/{}", i % 3)));
        assert!(feed(&ProxyCheck::new(), 999, one, |i| format!("Firefox/{i}")));
        assert!(feed(&ProxyCheck::new(), 1_000, spread, |i| format!("Firefox/{}", i % 9)));
    }

    #[test]
    fn a_cdn_in_front_is_noticed_and_the_verdict_can_change() {
        let cdn = |i: usize| IpAddr::from([173, 245, 48, (i % 250) as u8]);
        let check = ProxyCheck::new();
        assert!(!feed(&check, 1_000, cdn, |_| "Firefox".into()));
        assert!(feed(&check, 1_000, spread, |_| "Firefox".into()), "readers again");
    }
}
