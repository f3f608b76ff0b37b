//! How many clients may be connected, all in all and of one address, and how many requests may be with the site.
//!
//! Each of them is an open file, and so is the log: clients and site get their parts of the files that may be open, and some are
//! left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::server::STREAMS;
use crate::config::ProxySettings;
use crate::visitor::proxy_check::ProxyCheck;
use crate::visitor::{ClientAddress, TrustedProxies, is_public};

/// Open files that are no connections: the log, the listeners, the state.
const OTHER_FILES: u64 = 64;
/// Fewer connections of one address, or requests of it that are with the site, are nothing that anybody has to be kept from.
const FEW: usize = 64;
/// The same of requests that are with the site: a browser asks for all the streams of a connection at once, and may have two.
const FEW_AT_SITE: usize = 2 * STREAMS as usize;
/// A connection whose answer has just ended may get its next request at any moment: it is kept for so long at least.
const KEPT: Duration = Duration::from_secs(1);
/// After an accept that failed (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After so many connections that were accepted, the next failure is news again.
const WELL: u32 = 100;
const BEYOND_ADDRESS: &str = "One address has as many connections open as it may; more of it are closed.";
const BEYOND_CLIENT: &str = "One client has as many requests with the site as it may; more of them get 503.";

/// The place of one connection, or of one request with the site, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// What is to be known about peers, and outlives a reload.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Proxies, whose connections are those of all readers.
    pub(super) trusted: ArcSwap<TrustedProxies>,
    /// Whether there seems to be one that nobody has named.
    pub(super) check: Arc<ProxyCheck>,
    refused: AtomicU64,
}

impl Admission {
    /// Connections that were closed because their address had as many as it may.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// A listener that takes no more connections than there are places. Who comes beyond waits in the queue of the system; who has
/// taken all that one address may is closed.
pub(super) struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
    most: usize,
    /// It was told that they are all taken.
    told: bool,
    shares: Arc<Shares>,
    /// The operator has said how many connections one address may have.
    is_set: bool,
    admission: Arc<Admission>,
    kept: Arc<Kept>,
    /// Connections that were accepted since an accept failed.
    well: u32,
}

impl Entrance {
    pub(super) fn new(listener: TcpListener, settings: &ProxySettings, admission: Arc<Admission>) -> Self {
        let most = most(settings);
        let of_address = settings.max_connections_per_address.map_or((most / 16).max(FEW), |of| of.get() as usize);
        Self {
            listener,
            places: Arc::new(Semaphore::new(most)),
            most,
            told: false,
            shares: Arc::new(Shares { most: of_address, open: Mutex::default() }),
            is_set: settings.max_connections_per_address.is_some(),
            admission,
            kept: Arc::new(Kept::new()),
            well: WELL,
        }
    }

    /// Where a connection waits that is kept open between two requests.
    pub(super) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    /// The next connection, once there is a place for it. May be dropped at any moment.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, Place) {
        loop {
            match self.accept().await {
                Ok(Some(accepted)) => {
                    self.well = self.well.saturating_add(1);
                    return accepted;
                }
                Ok(None) => {}
                Err(error) => {
                    if std::mem::take(&mut self.well) >= WELL {
                        tracing::warn!(target: "deckle", %error, "Connections cannot be accepted.");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// `None`: its address has as many connections as it may; it is closed.
    async fn accept(&mut self) -> io::Result<Option<(TcpStream, SocketAddr, Place)>> {
        let free = self.places.available_permits();
        self.kept.places_run_low(free < (self.most / 20).max(1));
        if free == 0 && !self.told {
            self.told = true;
            tracing::warn!(target: "deckle", connections = self.most, "As many connections as may be are open; more have to wait.");
        }
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        self.told &= self.places.available_permits() < (self.most / 10).max(1);
        let (stream, address) = self.listener.accept().await?;
        let share = match self.counted(address.ip()) {
            None => None,
            Some(of) => match self.shares.take(of, BEYOND_ADDRESS) {
                None => {
                    self.admission.refused.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                share => share,
            },
        };
        Ok(Some((stream, address, Place { _permit: permit, _share: share })))
    }

    /// What counts as one address: IPv4 /32, IPv6 /64. `None`: a proxy that is trusted. Where nobody has said how many one may
    /// have, what may be a proxy that nobody has named is none, too: its connections are those of all readers.
    fn counted(&self, ip: IpAddr) -> Option<IpNet> {
        let ip = ip.to_canonical();
        if !self.is_set && (!is_public(ip) || self.admission.check.is_suspect()) {
            return None;
        }
        let peer = ClientAddress { ip: Some(ip), ..ClientAddress::UNKNOWN };
        peer.client().filter(|_| !self.admission.trusted.load().trusts(ip))
    }
}

/// Connections wait here that could do without their place.
#[derive(Debug)]
pub(super) struct Kept {
    /// Few places are free.
    low: AtomicBool,
    /// One for each connection that is to leave. While nobody has it, it is there for the next one.
    turns: Semaphore,
}

impl Kept {
    pub(super) fn new() -> Self {
        Self { low: AtomicBool::new(false), turns: Semaphore::new(0) }
    }

    /// Asked again whenever a connection came or went: while it is so, one more has to leave.
    fn places_run_low(&self, low: bool) {
        self.low.store(low, Ordering::Relaxed);
        if low && self.turns.available_permits() == 0 {
            self.turns.add_permits(1);
        }
    }

    /// Ends when the place of whoever waits here is needed: the longest wait first, and none that is shorter than [`KEPT`]. May
    /// be dropped at any moment: then it is the turn of the next one.
    pub(super) async fn turn(&self) {
        let due = Instant::now() + KEPT;
        while let Ok(turn) = self.turns.acquire().await {
            sleep_until(due).await;
            turn.forget();
            // It may be long ago that this was somebody's turn.
            if self.low.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Open connections by address, those to the site by that of the client: no more entries than there are connections.
#[derive(Debug)]
struct Shares {
    /// Of one.
    most: usize,
    open: Mutex<HashMap<IpNet, Open>>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    /// It was told that they are as many as may be.
    told: bool,
}

impl Shares {
    /// One more of this address. `None`: it has as many as it may, and the log says so once: `beyond`.
    fn take(self: &Arc<Self>, of: IpNet, beyond: &str) -> Option<Share> {
        let mut all = self.all();
        let open = all.entry(of).or_default();
        if open.connections >= self.most {
            if !std::mem::replace(&mut open.told, true) {
                tracing::warn!(
                    target: "deckle", connections = self.most,
                    "{beyond} A proxy in front of deckle belongs in `visitor.trusted_proxies`."
                );
            }
            return None;
        }
        open.connections += 1;
        Some(Share { shares: Arc::clone(self), of })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IpNet, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of an address that is counted, until it is dropped.
#[derive(Debug)]
struct Share {
    shares: Arc<Shares>,
    of: IpNet,
}

impl Drop for Share {
    fn drop(&mut self) {
        let most = self.shares.most;
        if let Entry::Occupied(mut entry) = self.shares.all().entry(self.of) {
            let open = entry.get_mut();
            open.connections = open.connections.saturating_sub(1);
            open.told &= open.connections >= most - most / 10;
            if open.connections == 0 {
                entry.remove();
            }
        }
    }
}

/// Requests that are with the site, each of which needs a connection.
#[derive(Debug)]
pub(super) struct AtSite {
    places: Arc<Semaphore>,
    most: usize,
    /// It was told that they are all taken.
    told: AtomicBool,
    shares: Arc<Shares>,
}

impl AtSite {
    /// `proxy.max_upstream_connections`, or a quarter of the files that may be open. A reload begins anew: what is with the site by
    /// then does not count.
    pub(super) fn new(settings: &ProxySettings) -> Self {
        Self::of(bounded(settings.max_upstream_connections, part(open_files(), 4)))
    }

    fn of(most: usize) -> Self {
        let shares = Arc::new(Shares { most: (most / 16).max(FEW_AT_SITE), open: Mutex::default() });
        Self { places: Arc::new(Semaphore::new(most)), most, told: AtomicBool::new(false), shares }
    }

    /// Most connections to the site that are open without a request.
    pub(super) fn unused(&self) -> usize {
        (self.most / 2).max(1)
    }

    /// A place for one request, until it is dropped. `of`: the client, which has no more than a sixteenth of all, or
    /// 256; where nobody knows one, there is no such bound. `None`: it has as many as it may, or none was free within `limit`.
    pub(super) async fn place(&self, of: Option<IpNet>, limit: Duration) -> Option<Place> {
        // Before the wait: who waits for many places keeps others from them, too.
        let share = match of {
            None => None,
            Some(of) => Some(self.shares.take(of, BEYOND_CLIENT)?),
        };
        if self.places.available_permits() == 0 && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(target: "deckle", requests = self.most, "As many requests as may be are with the site; more have to wait.");
        }
        // Nearly always one is free, and nobody waits for it: what is given back goes to who waits first.
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => timeout(limit, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?,
        };
        if self.told.load(Ordering::Relaxed) && self.places.available_permits() >= (self.most / 10).max(1) {
            self.told.store(false, Ordering::Relaxed);
        }
        Some(Place { _permit: permit, _share: share })
    }
}

/// `proxy.max_connections`, or half of the files that may be open.
fn most(settings: &ProxySettings) -> usize {
    let files = open_files();
    let most = bounded(settings.max_connections, part(files, 2));
    if most < settings.max_connections.get() as usize {
        tracing::warn!(target: "deckle", files, connections = most, "For `proxy.max_connections` more files would have to be open than may be.");
    }
    most
}

fn open_files() -> u64 {
    rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Of the files that may be connections.
fn part(files: u64, of: u64) -> usize {
    usize::try_from(files.saturating_sub(OTHER_FILES) / of).unwrap_or(usize::MAX).max(1)
}

fn bounded(wanted: NonZeroU32, room: usize) -> usize {
    (wanted.get() as usize).min(room).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_site_and_kept_connections_leave_files_for_the_log() {
        for files in [256, 1_024, 4_096, 65_536] {
            let (clients, site) = (part(files, 2), part(files, 4));
            assert!((clients + site + site / 2) as u64 + OTHER_FILES < files, "{files}");
            assert!(clients as u64 > files / 3, "{files}: and no more than that is left");
        }
        assert_eq!((part(0, 2), part(u64::MAX, 4) > 1 << 20), (1, true));
        assert_eq!(bounded(NonZeroU32::MIN, usize::MAX), 1);
    }

    #[test]
    fn an_address_gets_back_what_it_gives_up_and_leaves_nothing_behind() {
        let shares = Arc::new(Shares { most: 2, open: Mutex::default() });
        let (here, there): (IpNet, IpNet) = ("192.0.2.1/32".parse().unwrap(), "2001:db8::/64".parse().unwrap());
        let take = |of| shares.take(of, BEYOND_ADDRESS);
        let held = [take(here), take(here)];
        assert!(held.iter().all(Option::is_some) && take(here).is_none() && shares.all()[&here].told);
        assert!(take(there).is_some(), "another one has nothing to do with it");
        drop(held);
        assert!(shares.all().is_empty());
        assert!(take(here).is_some());
    }

    #[tokio::test]
    async fn neighbours_in_a_network_of_ipv6_are_one_address_and_a_trusted_proxy_is_none() {
        let admission = Arc::<Admission>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let entrance = Entrance::new(listener, &ProxySettings::default(), Arc::clone(&admission));
        let of = |ip: &str| entrance.counted(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!((of("127.0.0.1"), of("10.1.2.3")), (None, None), "it may be a proxy that nobody has named");
        let settings = ProxySettings { max_connections_per_address: NonZeroU32::new(9), ..ProxySettings::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let entrance = Entrance::new(listener, &settings, Arc::clone(&admission));
        let of = |ip: &str| entrance.counted(ip.parse().unwrap());
        assert!(of("127.0.0.1").is_some());
        let trusted =
            TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()], crate::visitor::ForwardedHeader::Forwarded);
        admission.trusted.store(Arc::new(trusted));
        assert_eq!((of("127.0.0.1"), of("192.0.2.1").is_some()), (None, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_place_with_the_site_and_not_for_long() {
        let settings = ProxySettings { max_upstream_connections: NonZeroU32::MIN, ..ProxySettings::default() };
        let (site, limit) = (AtSite::new(&settings), Duration::from_secs(5));
        let first = site.place(None, limit).await;
        assert!(first.is_some() && site.place(None, limit).await.is_none());
        let (second, ()) = tokio::join!(site.place(None, limit), async { drop(first) });
        assert!(second.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_share_of_the_places_with_the_site_and_is_told_so_at_once() {
        let (site, limit) = (AtSite::of(4 * FEW_AT_SITE), Duration::from_secs(5));
        let (one, other): (IpNet, IpNet) = ("203.0.113.9/32".parse().unwrap(), "2001:db8::/64".parse().unwrap());
        let mut held = Vec::new();
        for of in [Some(one), None] {
            for _ in 0..FEW_AT_SITE {
                held.push(site.place(of, limit).await.unwrap());
            }
        }
        let start = Instant::now();
        assert!(site.place(Some(one), limit).await.is_none() && site.shares.all()[&one].told);
        assert_eq!(start.elapsed(), Duration::ZERO, "it waits for nothing");
        assert!(site.place(Some(other), limit).await.is_some());
        assert!(site.place(None, limit).await.is_some(), "a proxy has no share");
        held.swap_remove(0);
        assert!(site.place(Some(one), limit).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_was_kept_for_a_while_leaves_and_only_while_places_run_low() {
        let kept = Kept::new();
        kept.places_run_low(true);
        kept.places_run_low(false);
        assert!(timeout(KEPT * 9, kept.turn()).await.is_err(), "nobody was there when it was somebody's turn");
        kept.places_run_low(true);
        assert!(timeout(KEPT / 2, kept.turn()).await.is_err(), "a request may be on its way");
        let start = Instant::now();
        assert!(timeout(KEPT * 9, kept.turn()).await.is_ok(), "whoever goes on hands over the turn");
        assert!(start.elapsed() >= KEPT);
        assert!(timeout(KEPT * 9, kept.turn()).await.is_err(), "one at a time");
    }
}
