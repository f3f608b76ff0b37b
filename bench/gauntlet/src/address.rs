//! Where a client asks from.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use deckle::visitor::Peer;
use fastrand::Rng;
use http::{HeaderName, HeaderValue, Request};
use ipnet::IpNet;

use crate::profile::AddressPlan;
use crate::setup::Setup;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The proxy in front of deckle.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);

/// The addresses of one client.
#[derive(Debug)]
pub(crate) struct Addresses {
    nets: Vec<Vec<IpNet>>,
    /// Which client it is, so that several nets are shared out among them.
    first: usize,
    size: usize,
    pool: Vec<IpAddr>,
    taken: usize,
    roam: Option<Duration>,
    moves: Duration,
    direct: bool,
    spoof: bool,
}

impl Addresses {
    pub(crate) fn new(plan: &AddressPlan, setup: &Setup, client: usize, seed: u64, rng: &mut Rng) -> Result<Self> {
        let nets = plan.net.iter().map(|name| setup.net(name)).collect::<Result<Vec<_>>>()?;
        let mut addresses = Self {
            nets,
            first: client,
            size: plan.pool,
            pool: Vec::new(),
            taken: 0,
            roam: plan.roam.map(|roam| roam.0),
            moves: Duration::ZERO,
            direct: plan.direct,
            spoof: plan.spoof,
        };
        match &plan.nat {
            Some(name) => {
                addresses.first = 0;
                addresses.draw(&mut Rng::with_seed(mix(seed, name, 0)));
            }
            None => addresses.draw(rng),
        }
        Ok(addresses)
    }

    /// Puts the address of the next request where deckle reads it.
    pub(crate) fn address<B>(&mut self, request: &mut Request<B>, now: Duration, rng: &mut Rng) {
        let ip = self.next(now, rng);
        let claimed = if self.spoof { IpAddr::V4(rng.u32(..).into()) } else { ip };
        let value = HeaderValue::try_from(claimed.to_string());
        let (peer, secure) = if self.direct { (SocketAddr::new(ip, 50_000), true) } else { (PROXY, false) };
        request.extensions_mut().insert(Peer { address: peer, secure });
        let headers = request.headers_mut();
        if let (true, Ok(value)) = (self.spoof || !self.direct, value) {
            headers.insert(FORWARDED_FOR, value);
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        }
    }

    fn next(&mut self, now: Duration, rng: &mut Rng) -> IpAddr {
        if let Some(roam) = self.roam {
            if self.moves == Duration::ZERO {
                self.moves = now + roam;
            } else if now >= self.moves {
                self.moves = now + roam;
                self.draw(rng);
            }
        }
        self.taken += 1;
        match self.pool.len() {
            0 => self.random(self.taken, rng),
            n => self.pool.get(self.taken % n).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    fn draw(&mut self, rng: &mut Rng) {
        self.pool = (0..self.size).map(|n| self.random(self.first + n, rng)).collect();
    }

    fn random(&self, number: usize, rng: &mut Rng) -> IpAddr {
        let prefixes = self.nets.get(number % self.nets.len().max(1)).map_or(&[][..], Vec::as_slice);
        match prefixes.get(rng.usize(0..prefixes.len().max(1))) {
            Some(IpNet::V4(net)) => {
                Ipv4Addr::from(u32::from(net.network()) | (rng.u32(..) & u32::from(net.hostmask()))).into()
            }
            Some(IpNet::V6(net)) => {
                Ipv6Addr::from(u128::from(net.network()) | (rng.u128(..) & u128::from(net.hostmask()))).into()
            }
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// A seed out of a seed, a name and a number.
pub(crate) fn mix(seed: u64, name: &str, number: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, name, number).hash(&mut hasher);
    hasher.finish()
}
