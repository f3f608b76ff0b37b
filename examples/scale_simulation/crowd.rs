//! Who comes, when, and to which node the balancer sends each request.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::time::Duration;

use deckle::visitor::Peer;
use fastrand::Rng;
use http::Request;

/// The site of an audience is looked at for so many times as long as the limits.
pub(crate) const SITE_TIMES: u32 = 10;
/// Programs that take pages one after the other, a second each.
const SCRAPERS: usize = 4;
/// Visitors who ask for what only those ask for who look for holes, and then for pages.
const OFFENDERS: usize = 3;
/// How often an offender then comes to each node, if they take turns, and for how long.
const OFFENCE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A greedy client asks so often that each node, if they take turns, is asked this often.
const GREED: Duration = Duration::from_millis(200);

/// Firefox, as it asks over HTTPS.
const BROWSER: &[(&str, &str)] = &[
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:156.0) Gecko/20100101 Firefox/156.0"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "same-origin"),
];
const FOR_A_PAGE: &[(&str, &str)] = &[
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
];
const FOR_A_STYLE: &[(&str, &str)] =
    &[("accept", "text/css,*/*;q=0.1"), ("sec-fetch-dest", "style"), ("sec-fetch-mode", "no-cors")];
const SCRIPT: &[(&str, &str)] =
    &[("user-agent", "python-requests/2.34.0"), ("accept", "*/*"), ("accept-encoding", "gzip, deflate")];
const NO_MORE: &[(&str, &str)] = &[];

/// How requests are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balancer {
    /// One node after the other.
    RoundRobin,
    /// By the address.
    Hash,
    /// By a cookie of the balancer; who keeps none comes to any node.
    Sticky,
}

impl Balancer {
    pub(crate) const ALL: [Self; 3] = [Self::RoundRobin, Self::Hash, Self::Sticky];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::Hash => "hash",
            Self::Sticky => "sticky",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Page(u32),
    Style,
    /// Only somebody who looks for holes asks for this.
    Hole,
}

/// One request on its way to a node.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) at: Duration,
    pub(crate) node: usize,
    ip: Ipv4Addr,
    target: Target,
    browser: bool,
}

impl Visit {
    pub(crate) fn request(&self) -> Request<()> {
        let path = match self.target {
            Target::Page(number) => format!("/news/2026/story-{number}-of-the-day"),
            Target::Style => "/style.css".to_owned(),
            Target::Hole => "/.env".to_owned(),
        };
        let (all, more) = match (self.browser, self.target) {
            (false, _) => (SCRIPT, NO_MORE),
            (true, Target::Style) => (BROWSER, FOR_A_STYLE),
            (true, _) => (BROWSER, FOR_A_PAGE),
        };
        let mut builder = Request::builder().uri(path).header("host", "news.example");
        for (name, value) in all.iter().chain(more) {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(()).unwrap_or_default();
        request.extensions_mut().insert(Peer { address: (self.ip, 50_000).into(), secure: true });
        request
    }
}

/// All requests of a run, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) visits: Vec<Visit>,
    pub(crate) offenders: HashSet<Ipv4Addr>,
}

/// Somebody.
#[derive(Debug, Clone, Copy)]
struct Client {
    ip: Ipv4Addr,
    browser: bool,
    /// Keeps the cookie of the balancer.
    cookies: bool,
}

/// A crowd that gathers.
struct Gathering {
    rng: Rng,
    clients: usize,
    wishes: Vec<(Duration, Client, Target)>,
}

impl Gathering {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), clients: 0, wishes: Vec::new() }
    }

    /// A newcomer, with a network of its own.
    fn client(&mut self, browser: bool, cookies: bool) -> Client {
        self.clients += 1;
        let [.., high, low] = self.clients.to_be_bytes();
        Client { ip: Ipv4Addr::new(81, 128 | high, low, 7), browser, cookies }
    }

    fn wish(&mut self, at: Duration, client: Client, target: Target) {
        // The steps of time are whole milliseconds.
        self.wishes.push((Duration::from_millis(at.as_millis() as u64), client, target));
    }

    /// One page after the other.
    fn pages(&mut self, client: Client, first: Duration, pace: Duration, until: Duration) {
        for (number, at) in (0_u32..).map(|number| (number, first + pace * number)).take_while(|(_, at)| *at < until) {
            self.wish(at, client, Target::Page(number));
        }
    }

    /// The balancer sees all of them in the order in which they come.
    fn spread(mut self, balancer: Balancer, nodes: usize) -> Vec<Visit> {
        self.wishes.sort_by_key(|(at, ..)| *at);
        let mut visits = Vec::with_capacity(self.wishes.len());
        for (turn, (at, client, target)) in self.wishes.into_iter().enumerate() {
            let node = match balancer {
                Balancer::RoundRobin => turn % nodes,
                Balancer::Sticky if !client.cookies => self.rng.usize(0..nodes),
                Balancer::Hash | Balancer::Sticky => home(client.ip, nodes),
            };
            visits.push(Visit { at, node, ip: client.ip, target, browser: client.browser });
        }
        visits
    }
}

/// One client that takes pages as if it were alone in the world, whatever it is answered.
pub(crate) fn greedy(balancer: Balancer, nodes: usize, pace: Duration, until: Duration, seed: u64) -> Crowd {
    let mut gathering = Gathering::new(seed);
    let client = gathering.client(true, false);
    gathering.pages(client, Duration::ZERO, pace, until);
    Crowd { visits: gathering.spread(balancer, nodes), offenders: HashSet::new() }
}

/// How often a greedy client asks so many nodes.
pub(crate) fn pace(nodes: usize) -> Duration {
    share(GREED, nodes)
}

/// An audience: readers, scrapers that say what they are, and some who look for holes.
pub(crate) fn audience(balancer: Balancer, nodes: usize, readers: usize, until: Duration, seed: u64) -> Crowd {
    let mut gathering = Gathering::new(seed);
    for _ in 0..readers {
        let client = gathering.client(true, true);
        let mut at = until.mul_f64(gathering.rng.f64());
        for _ in 0..12 {
            let page = gathering.rng.u32(0..500);
            gathering.wish(at, client, Target::Page(page));
            gathering.wish(at + Duration::from_millis(120), client, Target::Style);
            // On the average a reader reads two pages and a half.
            if gathering.rng.f64() < 0.4 {
                break;
            }
            at += Duration::from_secs(8) + Duration::from_secs(40).mul_f64(gathering.rng.f64());
        }
    }
    for _ in 0..SCRAPERS {
        let client = gathering.client(false, false);
        let first = Duration::from_millis(gathering.rng.u64(0..1_000));
        gathering.pages(client, first, Duration::from_secs(1), until);
    }
    let mut offenders = HashSet::new();
    for _ in 0..OFFENDERS {
        let client = gathering.client(true, false);
        offenders.insert(client.ip);
        let (at, pace) = (until / 2 + Duration::from_millis(gathering.rng.u64(0..1_000)), share(OFFENCE.0, nodes));
        gathering.wish(at, client, Target::Hole);
        gathering.pages(client, at + pace, pace, at + OFFENCE.1);
    }
    Crowd { visits: gathering.spread(balancer, nodes), offenders }
}

/// So often for all of them that each has its turn once in a while.
fn share(each: Duration, nodes: usize) -> Duration {
    Duration::from_millis((each.as_millis() as u64 / nodes.max(1) as u64).max(1))
}

fn home(ip: Ipv4Addr, nodes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    ip.hash(&mut hasher);
    (hasher.finish() % nodes.max(1) as u64) as usize
}
