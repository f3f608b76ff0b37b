//! What was seen, held against what is promised.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::crowd::Balancer;
use crate::node::Seen;
use crate::world::Supply;

/// The quota of pages by which the promise is tested: those of `action.limits.page_hard`.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
pub(crate) const BURST: u32 = 120;
/// Within this time, and a round trip, a client is down to the rate that the nodes share.
const CONVERGES: Duration = Duration::from_secs(2);
/// Nobody waits longer for the store.
const LONGEST: Duration = Duration::from_millis(3);
/// A client is told of, and asked about, from its fifth page at a node on: the sixth finds the answer, and one more is left
/// for an answer that comes late.
const TOLD_BY: u32 = 7;
/// Points of a trap by which a node knows somebody; one probe gives 40.
const KNOWN: f32 = 30.0;

/// What one client got that asks as fast as it can.
#[derive(Debug)]
pub(crate) struct Limit {
    until: Duration,
    served: Vec<Duration>,
    by_node: Vec<u32>,
    requests: u32,
    odd: u32,
    cut_off: u32,
    longest: Duration,
}

impl Limit {
    pub(crate) fn new(nodes: usize, until: Duration) -> Self {
        let (served, by_node) = (Vec::new(), vec![0; nodes]);
        Self { until, served, by_node, requests: 0, odd: 0, cut_off: 0, longest: Duration::ZERO }
    }

    pub(crate) fn note(&mut self, now: Duration, seen: Seen) {
        self.requests += 1;
        self.cut_off += u32::from(seen.cut_off);
        self.longest = self.longest.max(seen.took);
        match seen.status {
            200 => {
                self.served.push(now);
                if let Some(pages) = self.by_node.get_mut(seen.node) {
                    *pages += 1;
                }
            }
            429 => {}
            _ => self.odd += 1,
        }
    }

    /// Pages as a multiple of what one node would have served.
    fn of_one(&self) -> f64 {
        self.served.len() as f64 / self.one()
    }

    /// And of what is promised at most: the burst of each node, once, and the rate.
    fn of_promise(&self) -> f64 {
        let bursts = f64::from(BURST) * (self.by_node.len() as f64 - 1.0);
        self.served.len() as f64 / (bursts + self.one())
    }

    fn one(&self) -> f64 {
        f64::from(BURST) + cells(self.until)
    }

    /// Once the burst is used up and the nodes have heard of it: pages, and those of the rate of one node.
    fn afterwards(&self, delay: Duration) -> Option<(f64, f64)> {
        let used_up = self.served.get(BURST as usize - 1)?;
        let from = *used_up + CONVERGES + delay;
        let left = self.until.checked_sub(from).filter(|left| *left > CONVERGES)?;
        let pages = self.served.iter().filter(|at| **at >= from).count();
        Some((pages as f64, cells(left)))
    }
}

/// Cells that come back.
fn cells(time: Duration) -> f64 {
    time.as_secs_f64() / EVERY.as_secs_f64()
}

/// What became known of offenders, and what an audience cost.
#[derive(Debug)]
pub(crate) struct Site {
    offenders: HashSet<IpAddr>,
    began: HashMap<IpAddr, Duration>,
    tracks: HashMap<(IpAddr, usize), Track>,
    requests: u32,
    odd: u32,
    cut_off: u32,
    longest: Duration,
}

/// One offender at one node.
#[derive(Debug, Default)]
struct Track {
    pages: u32,
    /// How many pages it had been given, and when.
    knew: Option<(u32, Duration)>,
}

impl Site {
    pub(crate) fn new(offenders: &HashSet<Ipv4Addr>) -> Self {
        Self {
            offenders: offenders.iter().map(|ip| IpAddr::V4(*ip)).collect(),
            began: HashMap::new(),
            tracks: HashMap::new(),
            requests: 0,
            odd: 0,
            cut_off: 0,
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn note(&mut self, now: Duration, seen: Seen) {
        self.requests += 1;
        self.cut_off += u32::from(seen.cut_off);
        self.longest = self.longest.max(seen.took);
        self.odd += u32::from(!matches!(seen.status, 200 | 404));
        let Some(ip) = seen.ip.filter(|ip| self.offenders.contains(ip)) else { return };
        self.began.entry(ip).or_insert(now);
        let track = self.tracks.entry((ip, seen.node)).or_default();
        if seen.trap >= KNOWN && track.knew.is_none() {
            track.knew = Some((track.pages, now));
        }
        track.pages += u32::from(seen.page);
    }

    /// Nodes that have answered an offender often enough to know it, and do not.
    fn ignorant(&self) -> usize {
        self.tracks.values().filter(|track| track.pages >= TOLD_BY && track.knew.is_none()).count()
    }

    /// Most pages that a node gave to an offender before it knew, and the time until the last of the nodes knew.
    fn knowledge(&self) -> Option<(u32, Duration)> {
        let mut most = (0, Duration::ZERO);
        for ((ip, _), track) in &self.tracks {
            let (pages, at) = track.knew?;
            let began = self.began.get(ip)?;
            most = (most.0.max(pages), most.1.max(at.saturating_sub(*began)));
        }
        (!self.tracks.is_empty()).then_some(most)
    }
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) balancer: Balancer,
    pub(crate) supply: Supply,
    pub(crate) limit: Limit,
    pub(crate) site: Site,
    /// How long the site was looked at.
    pub(crate) watched: Duration,
    /// Commands and bytes of each node meanwhile.
    pub(crate) traffic: Vec<(u64, u64)>,
    pub(crate) unanswered: usize,
}

/// Above the lines.
pub(crate) const HEAD: &str = "balancer     store        pages  x one  x promise  then x rate   \
    known after    cut off  commands/s     kB/s  waited  promises";

impl Row {
    /// The figures, and whether the promises hold.
    pub(crate) fn line(&self) -> String {
        let known = match self.site.knowledge() {
            Some((pages, time)) => format!("{pages} p {:>5.1} s", time.as_secs_f64()),
            None => "not by all".to_owned(),
        };
        let then = self.limit.afterwards(self.supply.delay()).map(|(pages, rate)| format!("{:.2}", pages / rate));
        let requests = f64::from((self.limit.requests + self.site.requests).max(1));
        let cut_off = 100.0 * f64::from(self.limit.cut_off + self.site.cut_off) / requests;
        let (commands, bytes, most) = self.rates();
        let broken = self.broken();
        format!(
            "{:<12} {:<11} {:>6} {:>6.2} {:>10.2} {:>12} {:>13} {:>8.0} % {:>5.1} {:>5.1} {:>8.2} {:>4} ms  {}",
            self.balancer.name(),
            self.supply.name(),
            self.limit.served.len(),
            self.limit.of_one(),
            self.limit.of_promise(),
            then.as_deref().unwrap_or("-"),
            known,
            cut_off,
            commands,
            most,
            bytes,
            self.longest().as_millis(),
            if broken.is_empty() { "hold".to_owned() } else { format!("BROKEN: {}", broken.join(", ")) },
        )
    }

    /// The promises that do not hold.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let (limit, site) = (&self.limit, &self.site);
        let mut broken = Vec::new();
        let mut promise = |holds: bool, name| {
            if !holds {
                broken.push(name);
            }
        };
        // A cell more may have come back, and one may have been due at the very start.
        let own = limit.one() + 2.0;
        promise(limit.by_node.iter().all(|pages| f64::from(*pages) <= own), "limit of one node");
        promise(limit.odd + site.odd == 0 && self.unanswered == 0, "the site is served");
        promise(self.longest() <= if self.supply.waits() { LONGEST } else { Duration::ZERO }, "nobody waits");
        if self.supply.is_there() {
            promise(limit.cut_off + site.cut_off == 0, "a store that is there is used");
            promise(limit.of_promise() <= 1.0, "N bursts and the rate");
            promise(site.ignorant() == 0, "points are the same everywhere");
            if let Some((pages, rate)) = limit.afterwards(self.supply.delay()) {
                // A tenth, and a page a node for what is told at the same moment.
                promise(pages <= 1.1 * rate + limit.by_node.len() as f64, "2 s later the shared rate");
            }
        }
        broken
    }

    fn longest(&self) -> Duration {
        self.limit.longest.max(self.site.longest)
    }

    /// Commands and kB a second of a node on the average, and commands of the busiest.
    fn rates(&self) -> (f64, f64, f64) {
        let seconds = self.watched.as_secs_f64();
        let share = seconds * self.traffic.len().max(1) as f64;
        let commands: u64 = self.traffic.iter().map(|(commands, _)| commands).sum();
        let bytes: u64 = self.traffic.iter().map(|(_, bytes)| bytes).sum();
        let most = self.traffic.iter().map(|(commands, _)| *commands).max().unwrap_or_default();
        (commands as f64 / share, bytes as f64 / 1_000.0 / share, most as f64 / seconds)
    }
}
