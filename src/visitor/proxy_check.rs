//! Notices that deckle stands behind a proxy that nobody told it about: the most common cause of blocking everybody.
//!
//! While no proxy is trusted, each 1,000 requests are looked at. Nothing is enforced but `visitor.deny` while they look like
//! those of a proxy, which is when
//! 1. more than 90 % come from one address with eight or more different browsers behind it, and this address is not one of
//!    the open net, or says in a forwarding field that it asks for eight or more clients, or
//! 2. more than half come from the prefixes of a known CDN.
//!
//! A scraper must not be able to look like that. It has no private address; so once 1,000 requests have looked like those of
//! readers (no address and no CDN has more than half of them), an address of the open net is no proxy any more until the next
//! start, and a CDN is one only if it names eight or more clients, in a field that its customers do not write.
//! `visitor.trusted_proxies` and `visitor.proxy_check = "off"` end the check.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, header};

use super::prefixes::PrefixSet;
use super::verify::is_public;
use super::{Category, ClientAddress, ranges};

const WINDOW: usize = 1_000;
const BROWSERS: usize = 8;
const CLIENTS: usize = 8;

/// Where proxies name their client; the first that is there counts. What a CDN writes itself comes before what its customers
/// may write.
static NAMES: [HeaderName; 7] = [
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("fastly-client-ip"),
    HeaderName::from_static("cloudfront-viewer-address"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-for"),
    header::FORWARDED,
];

/// The check; fixed size, one short lock that nobody waits for.
#[derive(Debug)]
pub struct ProxyCheck {
    window: Mutex<Vec<Seen>>,
    suspect: AtomicBool,
    /// A window has looked like readers.
    settled: AtomicBool,
    cdn: PrefixSet,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    address: u64,
    browser: Option<u64>,
    /// Who is named in a forwarding field.
    client: Option<u64>,
    public: bool,
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
            settled: AtomicBool::new(false),
            cdn: PrefixSet::new(&ranges::cloudflare()),
            hasher: RandomState::new(),
        }
    }

    /// Counts one request and says whether enforcement is allowed.
    pub fn observe(&self, address: &ClientAddress, headers: &HeaderMap, category: Category) -> bool {
        if let (Some(ip), Some(client)) = (address.ip, address.client()) {
            let agent = headers.get(header::USER_AGENT).filter(|_| category == Category::Browser);
            let named = NAMES.iter().find_map(|name| headers.get(name));
            let seen = Seen {
                address: self.hasher.hash_one(client),
                browser: agent.map(|agent| self.hasher.hash_one(agent)),
                client: named.map(|named| self.hasher.hash_one(named)),
                public: is_public(ip),
                cdn: self.cdn.holds(ip),
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

    /// Did the last window look like a proxy that nobody has named?
    #[cfg(feature = "proxy")]
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    fn judge(&self, window: &[Seen]) {
        let mut addresses: Vec<u64> = window.iter().map(|s| s.address).collect();
        addresses.sort_unstable();
        // More than half of a sorted list stands in its middle.
        let middle = addresses.get(addresses.len() / 2).copied().unwrap_or_default();
        let of_one: Vec<Seen> = window.iter().filter(|s| s.address == middle).copied().collect();
        let of_cdn: Vec<Seen> = window.iter().filter(|s| s.cdn).copied().collect();
        let most = |part: &[Seen]| part.len() * 2 > window.len();
        if !most(&of_one) && !most(&of_cdn) {
            self.settled.store(true, Ordering::Relaxed);
        }
        let settled = self.settled.load(Ordering::Relaxed);
        let names_clients = |part: &[Seen]| distinct(part, |s| s.client) >= CLIENTS;
        let public = of_one.iter().any(|s| s.public);
        let one_address = of_one.len() * 10 > window.len() * 9
            && distinct(&of_one, |s| s.browser) >= BROWSERS
            && (!public || (!settled && names_clients(&of_one)));
        let cdn = most(&of_cdn) && (!settled || names_clients(&of_cdn));
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

fn distinct(part: &[Seen], of: impl Fn(&Seen) -> Option<u64>) -> usize {
    let mut values: Vec<u64> = part.iter().filter_map(of).collect();
    values.sort_unstable();
    values.dedup();
    values.len()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// `n` requests from these addresses, with the fields that are made for each; is enforcement allowed at the end?
    fn feed(
        check: &ProxyCheck,
        n: usize,
        ip: impl Fn(usize) -> IpAddr,
        fields: impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> bool {
        let mut last = true;
        for i in 0..n {
            let mut headers = HeaderMap::new();
            for (name, value) in fields(i) {
                headers.insert(name, value.parse().unwrap());
            }
            let address = ClientAddress { ip: Some(ip(i)), ..ClientAddress::UNKNOWN };
            last = check.observe(&address, &headers, Category::Browser);
        }
        last
    }

    fn spread(i: usize) -> IpAddr {
        IpAddr::from([203, 0, (i / 200) as u8, (i % 200) as u8])
    }

    fn firefox(of: usize) -> impl Fn(usize) -> Vec<(&'static str, String)> {
        move |i| vec![("user-agent", format!("Firefox/{}", i % of))]
    }

    /// Browsers behind a proxy that says who they are.
    fn named(field: &'static str, clients: usize) -> impl Fn(usize) -> Vec<(&'static str, String)> {
        move |i| {
            let client = (field, format!("198.51.100.{}", i % clients));
            vec![("user-agent", format!("Firefox/{}", i % 9)), client]
        }
    }

    const SCRAPER: fn(usize) -> IpAddr = |_| IpAddr::from([203, 0, 113, 9]);
    const BALANCER: fn(usize) -> IpAddr = |_| IpAddr::from([10, 0, 0, 1]);
    const CDN: fn(usize) -> IpAddr = |i| IpAddr::from([173, 245, 48, (i % 250) as u8]);

    #[test]
    fn many_browsers_on_one_address_are_a_proxy() {
        assert!(!feed(&ProxyCheck::new(), 1_000, BALANCER, firefox(9)));
        assert!(feed(&ProxyCheck::new(), 1_000, BALANCER, firefox(3)));
        assert!(feed(&ProxyCheck::new(), 999, BALANCER, firefox(1_000)));
        assert!(feed(&ProxyCheck::new(), 1_000, spread, firefox(9)));
        let settled = ProxyCheck::new();
        feed(&settled, 1_000, spread, firefox(9));
        assert!(!feed(&settled, 1_000, BALANCER, firefox(9)), "a balancer that is put in front later");
    }

    #[test]
    fn a_scraper_that_changes_its_name_switches_nothing_off() {
        let check = ProxyCheck::new();
        assert!(feed(&check, 3_000, SCRAPER, firefox(9)), "before any reader came");
        assert!(feed(&check, 1_000, SCRAPER, named("x-forwarded-for", 7)));
        assert!(!feed(&check, 1_000, SCRAPER, named("x-forwarded-for", 9)), "so does a proxy on the open net");
        assert!(feed(&check, 1_000, spread, firefox(9)), "readers");
        assert!(feed(&check, 1_000, SCRAPER, named("x-forwarded-for", 9)), "no proxy any more");
        // Hosts of one network of IPv6 are one.
        let scraper = |i: usize| IpAddr::from([0x2001, 0xDB8, 0, 0, 0, 0, 0, i as u16]);
        let check = ProxyCheck::new();
        assert!(!feed(&check, 1_000, scraper, named("forwarded", 9)));
    }

    #[test]
    fn a_cdn_in_front_is_noticed_and_the_verdict_can_change() {
        let check = ProxyCheck::new();
        assert!(!feed(&check, 1_000, CDN, firefox(1)));
        assert!(feed(&check, 1_000, spread, firefox(1)), "readers again");
        assert!(!feed(&check, 1_000, CDN, named("cf-connecting-ip", 9)), "readers by the CDN");
        assert!(feed(&check, 1_000, CDN, firefox(9)), "a program that runs there");
        let program =
            |i| vec![("cf-connecting-ip", "2a06:98c0:3600::103".to_owned()), named("x-forwarded-for", 9)(i).remove(1)];
        assert!(feed(&check, 1_000, CDN, program), "and claims to be a proxy");
    }
}
