//! **Is a crawler what it says?** By forward-confirmed reverse DNS, beside the requests: none ever waits for it.
//!
//! Rules, in order:
//! 1. An answer that still holds is given at once. Nothing is allocated for it.
//! 2. Without one, the pair of address and agent is put into a queue, once, and the request goes on: the answer serves
//!    the next. While the queue is full the pair waits for its next request, and that is counted.
//! 3. Workers take pairs from the queue and confirm them: the address names a host below one of the operator's domains,
//!    and that host has the address.
//! 4. Whatever the DNS fails to say proves nothing, in neither direction.
//!
//! # Deployment caveat
//! The name servers of the system are asked, as they were at the start. They should be near and resolve on their own
//! account: what they say decides who is let through as a search engine.

mod confirm;
mod hickory;
mod settings;
mod table;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

pub use confirm::{NoAnswer, Resolve};
use confirm::{Verdict, confirm};
use hickory::Hickory;
pub use settings::VerifySettings;
use table::{Known, Table};

use super::VisitorError;
use crate::clock::{Clock, SharedClock};

/// How many times the timeout of one question a whole check may take.
const QUESTIONS: u32 = 3;

/// What the DNS says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsAnswer {
    /// True.
    Verified,
    /// False.
    Failed,
    /// It could not be found out; it is tried again later.
    Error,
    /// Not known yet.
    Pending {
        /// The wait has only begun: it is held against nobody.
        grace: bool,
    },
}

/// Checks claims. Clones share the table (1 MiB), the queue and the workers, which end with the last of them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::net::IpAddr;
/// use std::sync::Arc;
/// use deckle::DeckleLayer;
/// use deckle::clock::SystemClock;
/// use deckle::visitor::{DnsVerifier, NoAnswer, Resolve, VerifySettings};
///
/// // In production: `DnsVerifier::start`, which asks the name servers of the system.
/// struct Nobody;
/// impl Resolve for Nobody {
///     async fn names(&self, _: IpAddr) -> Result<Vec<String>, NoAnswer> { Err(NoAnswer::NoRecords) }
///     async fn addresses(&self, _: &str, _: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> { Err(NoAnswer::NoRecords) }
/// }
/// let dns = DnsVerifier::with_resolver(&VerifySettings::default(), SystemClock::shared(), Arc::new(Nobody))?;
/// let layer = DeckleLayer::builder().dns(dns).build()?;
/// # let _ = layer; Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DnsVerifier {
    shared: Arc<Shared>,
}

struct Shared {
    table: Arc<Table>,
    jobs: mpsc::Sender<Job>,
    dropped: AtomicU64,
    hasher: RandomState,
    clock: SharedClock,
}

/// One pair to check.
struct Job {
    key: u64,
    ip: IpAddr,
    suffixes: Box<[Box<str>]>,
}

/// What the workers share.
struct Pool<R> {
    jobs: Mutex<mpsc::Receiver<Job>>,
    resolver: Arc<R>,
    table: Arc<Table>,
    clock: SharedClock,
    limit: Duration,
}

impl DnsVerifier {
    /// Pairs that wait, and pairs that found no place in the queue.
    #[cfg(feature = "proxy")]
    pub(crate) fn waiting(&self) -> (usize, u64) {
        let Shared { jobs, dropped, .. } = &*self.shared;
        (jobs.max_capacity() - jobs.capacity(), dropped.load(Ordering::Relaxed))
    }

    /// Starts the workers on the runtime that this is called in, whatever [`VerifySettings::dns`] says.
    ///
    /// # Errors
    /// [`VisitorError::Verify`]: settings out of range, no runtime, or a system that names no servers.
    pub fn start(settings: &VerifySettings, clock: SharedClock) -> Result<Self, VisitorError> {
        check(settings)?;
        let resolver = Hickory::system(settings.dns_timeout.0).map_err(|error| refuse(&error))?;
        Self::with_resolver(settings, clock, Arc::new(resolver))
    }

    /// The same with a resolver of one's own.
    ///
    /// # Errors
    /// As [`DnsVerifier::start`].
    pub fn with_resolver<R: Resolve>(
        settings: &VerifySettings,
        clock: SharedClock,
        resolver: Arc<R>,
    ) -> Result<Self, VisitorError> {
        check(settings)?;
        Self::run(settings, clock, resolver)
    }

    fn run<R: Resolve>(settings: &VerifySettings, clock: SharedClock, resolver: Arc<R>) -> Result<Self, VisitorError> {
        let runtime = Handle::try_current().map_err(|error| refuse(&error))?;
        let (jobs, receiver) = mpsc::channel(settings.queue.max(1));
        let table = Arc::new(Table::new());
        let pool = Arc::new(Pool {
            jobs: Mutex::new(receiver),
            resolver,
            table: Arc::clone(&table),
            clock: clock.clone(),
            limit: settings.dns_timeout.0 * QUESTIONS,
        });
        for _ in 0..settings.workers {
            runtime.spawn(work(Arc::clone(&pool)));
        }
        let shared = Shared { table, jobs, dropped: AtomicU64::new(0), hasher: RandomState::new(), clock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What is known about `agent` at `ip`, whose names must be below one of `suffixes`. Never waits. Without a suffix
    /// there is nothing to find out.
    pub(crate) fn ask(&self, agent: &str, suffixes: &[Box<str>], ip: IpAddr) -> DnsAnswer {
        if suffixes.is_empty() {
            return DnsAnswer::Error;
        }
        let shared = &*self.shared;
        let ip = ip.to_canonical();
        let key = shared.hasher.hash_one((agent, ip));
        match shared.table.look(key, millis(&*shared.clock), || shared.queue(key, ip, suffixes)) {
            Known::Answer(Verdict::Verified) => DnsAnswer::Verified,
            Known::Answer(Verdict::Failed) => DnsAnswer::Failed,
            Known::Answer(Verdict::Error) => DnsAnswer::Error,
            Known::Waiting { grace } => DnsAnswer::Pending { grace },
        }
    }
}

fn check(settings: &VerifySettings) -> Result<(), VisitorError> {
    settings.check().map_err(|message| VisitorError::Verify { message })
}

fn refuse(error: &dyn fmt::Display) -> VisitorError {
    VisitorError::Verify { message: format!("`visitor.verify.dns`: {error}") }
}

impl Shared {
    /// Is there a place in the queue? Then it is taken.
    fn queue(&self, key: u64, ip: IpAddr, suffixes: &[Box<str>]) -> bool {
        let Ok(place) = self.jobs.try_reserve() else {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Ever more seldom, however long it lasts.
            if dropped.is_power_of_two() {
                tracing::warn!(target: "deckle", dropped, "The queue of DNS checks is full; crawlers wait for theirs.");
            }
            return false;
        };
        place.send(Job { key, ip, suffixes: suffixes.into() });
        true
    }
}

impl fmt::Debug for DnsVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { table, jobs, dropped, .. } = &*self.shared;
        f.debug_struct("DnsVerifier")
            .field("table", table)
            .field("queued", &(jobs.max_capacity() - jobs.capacity()))
            .field("dropped", dropped)
            .finish_non_exhaustive()
    }
}

/// One worker. Ends when nobody is left to ask.
async fn work<R: Resolve>(pool: Arc<Pool<R>>) {
    loop {
        // Held only while there is nothing to do: whoever has a job makes room for the next worker.
        let next = pool.jobs.lock().await.recv().await;
        let Some(Job { key, ip, suffixes }) = next else { return };
        let (resolver, limit) = (Arc::clone(&pool.resolver), pool.limit);
        // A task of its own: a fault in the resolver costs one answer, not a worker.
        let check = tokio::spawn(async move { confirm(&*resolver, ip, &suffixes, limit).await });
        let verdict = check.await.unwrap_or(Verdict::Error);
        pool.table.settle(key, verdict, millis(&*pool.clock));
    }
}

fn millis(clock: &dyn Clock) -> u64 {
    clock.elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::confirm::NoAnswer;
    use super::*;
    use crate::clock::ManualClock;

    /// Lets checks through one by one. The last part of an address says what comes of it: below 100 it is verified,
    /// below 200 failed, above that trouble, and 255 is a fault of the resolver.
    struct Gate {
        open: Semaphore,
        asked: AtomicUsize,
    }

    impl Gate {
        fn new(open: usize) -> Arc<Self> {
            Arc::new(Self { open: Semaphore::new(open), asked: AtomicUsize::new(0) })
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    impl Resolve for Gate {
        async fn names(&self, ip: IpAddr) -> Result<Vec<String>, NoAnswer> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.open.acquire().await.unwrap().forget();
            let IpAddr::V4(ip) = ip else { return Err(NoAnswer::Trouble) };
            match ip.octets()[3] {
                0..100 => Ok(vec!["host.good.example.".to_owned()]),
                100..200 => Err(NoAnswer::NoRecords),
                255 => panic!("a fault of the resolver"),
                _ => Err(NoAnswer::Trouble),
            }
        }

        async fn addresses(&self, _: &str, like: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> {
            Ok(vec![like])
        }
    }

    struct Rig {
        verifier: DnsVerifier,
        clock: Arc<ManualClock>,
        gate: Arc<Gate>,
    }

    impl Rig {
        /// `open`: checks that need not be let through.
        fn new(queue: usize, workers: usize, open: usize) -> Self {
            let (clock, gate) = (ManualClock::at(1_700_000_000), Gate::new(open));
            let settings = VerifySettings { queue, workers, ..VerifySettings::default() };
            let verifier = DnsVerifier::run(&settings, clock.clone(), Arc::clone(&gate)).unwrap();
            Self { verifier, clock, gate }
        }

        fn ask_as(&self, agent: &str, ip: &str) -> DnsAnswer {
            self.verifier.ask(agent, &[".good.example".into()], ip.parse().unwrap())
        }

        fn ask(&self, last: u8) -> DnsAnswer {
            self.ask_as("Goodbot", &format!("192.0.2.{last}"))
        }

        fn dropped(&self) -> u64 {
            self.verifier.shared.dropped.load(Ordering::SeqCst)
        }

        /// Asks until there is an answer.
        async fn answer(&self, last: u8) -> DnsAnswer {
            until(|| !matches!(self.ask(last), DnsAnswer::Pending { .. })).await;
            self.ask(last)
        }
    }

    /// Lets the other tasks run until something is so.
    async fn until(mut so: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if so() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("it never was");
    }

    const GRACE: DnsAnswer = DnsAnswer::Pending { grace: true };
    const NO_GRACE: DnsAnswer = DnsAnswer::Pending { grace: false };

    #[tokio::test]
    async fn the_answer_serves_later_requests() {
        let rig = Rig::new(16, 2, 100);
        assert_eq!(rig.ask(1), GRACE);
        assert_eq!(rig.answer(1).await, DnsAnswer::Verified);
        assert_eq!(rig.answer(101).await, DnsAnswer::Failed);
        assert_eq!(rig.answer(201).await, DnsAnswer::Error);
        assert_eq!(rig.gate.asked(), 3);
    }

    #[tokio::test]
    async fn a_pair_is_asked_for_once() {
        let rig = Rig::new(16, 4, 0);
        for _ in 0..50 {
            rig.ask(1);
            rig.ask_as("Goodbot", "::ffff:192.0.2.1");
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.gate.asked(), 1);
        rig.gate.open.add_permits(1);
        assert_eq!(rig.answer(1).await, DnsAnswer::Verified);
        assert_eq!(rig.gate.asked(), 1);
    }

    #[tokio::test]
    async fn neither_a_neighbour_nor_another_agent_shares_an_answer() {
        let rig = Rig::new(16, 1, 1);
        assert_eq!(rig.answer(1).await, DnsAnswer::Verified);
        assert_eq!(rig.ask(2), GRACE);
        assert_eq!(rig.ask_as("Otherbot", "192.0.2.1"), GRACE);
        assert_eq!(rig.ask(1), DnsAnswer::Verified);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let rig = Rig::new(1, 1, 0);
        rig.ask(1);
        until(|| rig.gate.asked() == 1).await;
        rig.ask(2);
        assert_eq!(rig.dropped(), 0, "one with the worker, one in the queue");
        assert_eq!(rig.ask(3), GRACE);
        assert_eq!(rig.ask(3), GRACE);
        assert_eq!(rig.dropped(), 2);
        rig.gate.open.add_permits(3);
        for last in [1, 2, 3] {
            assert_eq!(rig.answer(last).await, DnsAnswer::Verified, "{last}");
        }
        assert_eq!(rig.gate.asked(), 3);
        assert!(format!("{:?}", rig.verifier).contains("queued: 0"));
    }

    #[tokio::test]
    async fn the_grace_is_short() {
        let rig = Rig::new(16, 1, 0);
        for request in 0..8 {
            assert_eq!(rig.ask(1), if request < 5 { GRACE } else { NO_GRACE }, "{request}");
        }
        assert_eq!(rig.ask(2), GRACE);
        rig.clock.advance(Duration::from_millis(4_999));
        assert_eq!(rig.ask(2), GRACE);
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.ask(2), NO_GRACE);
        rig.gate.open.add_permits(2);
        assert_eq!(rig.answer(2).await, DnsAnswer::Verified, "late is better than never");
    }

    #[tokio::test]
    async fn an_answer_is_sought_anew_after_its_time() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        for (last, answer, holds) in [
            (1, DnsAnswer::Verified, minutes(24 * 60)),
            (101, DnsAnswer::Failed, minutes(60)),
            (201, DnsAnswer::Error, minutes(5)),
        ] {
            let rig = Rig::new(16, 1, 100);
            assert_eq!(rig.answer(last).await, answer);
            rig.clock.advance(holds.saturating_sub(Duration::from_millis(1)));
            assert_eq!(rig.ask(last), answer);
            rig.clock.advance(Duration::from_millis(1));
            assert_eq!(rig.ask(last), GRACE, "{answer:?}");
            assert_eq!(rig.answer(last).await, answer);
            assert_eq!(rig.gate.asked(), 2, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_fault_of_the_resolver_costs_no_worker() {
        let rig = Rig::new(16, 1, 100);
        assert_eq!(rig.answer(255).await, DnsAnswer::Error);
        assert_eq!(rig.answer(1).await, DnsAnswer::Verified);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tarpit_is_left_after_three_timeouts() {
        let rig = Rig::new(16, 1, 0);
        rig.ask(1);
        until(|| rig.gate.asked() == 1).await;
        tokio::time::advance(Duration::from_millis(5_900)).await;
        tokio::task::yield_now().await;
        assert_eq!(rig.ask(1), GRACE);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(rig.answer(1).await, DnsAnswer::Error);
    }

    #[tokio::test]
    async fn the_workers_end_with_the_last_verifier() {
        let Rig { verifier, gate, .. } = Rig::new(16, 4, 0);
        let resolver = Arc::downgrade(&gate);
        drop(gate);
        let last = verifier.clone();
        drop(verifier);
        tokio::task::yield_now().await;
        assert!(resolver.upgrade().is_some());
        drop(last);
        until(|| resolver.upgrade().is_none()).await;
    }

    #[tokio::test]
    async fn without_a_suffix_nothing_is_asked() {
        let rig = Rig::new(16, 1, 1);
        assert_eq!(rig.verifier.ask("Goodbot", &[], "192.0.2.1".parse().unwrap()), DnsAnswer::Error);
        tokio::task::yield_now().await;
        assert_eq!(rig.gate.asked(), 0);
    }

    #[test]
    fn it_needs_a_runtime_and_sane_settings() {
        let clock = ManualClock::at(0);
        let error = DnsVerifier::with_resolver(&VerifySettings::default(), clock.clone(), Gate::new(0)).unwrap_err();
        assert!(error.to_string().contains("visitor.verify.dns"), "{error}");
        let settings = VerifySettings { workers: 0, ..VerifySettings::default() };
        assert!(DnsVerifier::start(&settings, clock).unwrap_err().to_string().contains("visitor.verify.workers"));
    }
}
