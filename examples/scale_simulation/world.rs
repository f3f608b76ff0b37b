//! Nodes, their store, and virtual time: deckle's clock and tokio's move together, and only when all that can happen has
//! happened.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use deckle::clock::ManualClock;
use deckle::config::Config;
use tokio::task::yield_now;

use crate::crowd::Visit;
use crate::node::{Log, Node, Seen};
use crate::store::{Books, Store};

/// Time moves by so much while something is under way, and by so much at most while nothing is.
const TICK: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_millis(20);
/// All has happened when so many turns of the runtime brought nothing; and there is an end to waiting for that.
const QUIET: u32 = 4;
const MOST_TURNS: u32 = 10_000;
/// Ticks at the end of a run.
const AFTER: u32 = 10;
/// Ticks until all nodes have found their store.
const PATIENCE: u32 = 2_000;
const BEGINS: u64 = 1_795_000_000;

/// How nodes and store stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    /// There is no store.
    Alone,
    /// Nodes tell it, and go on.
    Told,
    /// `shared.wait`: a page waits for its word.
    Asked,
    /// The same, but it is too slow.
    Slow,
    /// The same, but after a quarter of the time it is gone.
    Dies,
}

impl Supply {
    pub(crate) const SHARED: [Self; 4] = [Self::Told, Self::Asked, Self::Slow, Self::Dies];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "none",
            Self::Told => "told",
            Self::Asked => "asked",
            Self::Slow => "asked, slow",
            Self::Dies => "asked, dies",
        }
    }

    /// From a command to its reply.
    pub(crate) fn delay(self) -> Duration {
        Duration::from_millis(if self == Self::Slow { 25 } else { 1 })
    }

    /// It answers all the time, and soon enough.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Self::Told | Self::Asked)
    }

    pub(crate) fn waits(self) -> bool {
        !matches!(self, Self::Alone | Self::Told)
    }
}

/// All nodes of a run.
pub(crate) struct World {
    clock: Arc<ManualClock>,
    now: Duration,
    nodes: Vec<Node>,
    store: Option<Store>,
    books: Option<Arc<Books>>,
    log: Arc<Log>,
    sent: usize,
}

impl World {
    /// Nodes that are started and have found the store.
    pub(crate) async fn start(
        config: &Config,
        nodes: usize,
        supply: Supply,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let (clock, log) = (ManualClock::at(BEGINS), Arc::new(Log::default()));
        let store = match supply {
            Supply::Alone => None,
            _ => Some(Store::open(nodes, Arc::clone(&clock), supply.delay()).await?),
        };
        let node = |number| {
            let mut config = config.clone();
            config.shared.url = store.as_ref().and_then(|store| store.url(number));
            config.shared.wait = supply.waits();
            Node::new(config, number, &clock, &log, seed)
        };
        let nodes = (0..nodes).map(node).collect::<Result<Vec<_>, _>>()?;
        let books = store.as_ref().map(Store::books);
        let mut world = Self { clock, now: Duration::ZERO, nodes, store, books, log, sent: 0 };
        world.connect().await?;
        Ok(world)
    }

    async fn connect(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(books) = self.books.clone() else { return Ok(()) };
        for _ in 0..PATIENCE {
            self.advance(TICK).await;
            let connected = books.connected().ok_or(
                "a program in src/suspicion/shared was changed: let examples/scale_simulation/store.rs do the same",
            )?;
            // The last reply is still on its way.
            if connected >= self.nodes.len() && !self.store.as_ref().is_some_and(Store::is_busy) {
                self.advance(TICK).await;
                return Ok(());
            }
        }
        Err("the nodes did not find their store".into())
    }

    /// Sends all requests, each at its time after now, and notes what came of each, by the time after now.
    pub(crate) async fn run(
        &mut self,
        visits: &[Visit],
        until: Duration,
        dies: Option<Duration>,
        mut note: impl FnMut(Duration, Seen),
    ) {
        let (start, mut visits) = (self.now, visits.iter().peekable());
        loop {
            let now = self.now.saturating_sub(start);
            if now >= until {
                break;
            }
            if dies.is_some_and(|at| at <= now) {
                self.store = None;
            }
            while let Some(visit) = visits.next_if(|visit| visit.at <= now) {
                if let Some(node) = self.nodes.get(visit.node) {
                    node.send(visit.request());
                    self.sent += 1;
                }
            }
            self.settle().await;
            for seen in self.log.take() {
                note(now, seen);
            }
            let next = visits.peek().map_or(until, |visit| visit.at).min(until).saturating_sub(now);
            let idle = self.sent == self.log.responses() && !self.store.as_ref().is_some_and(Store::is_busy);
            self.advance(if idle { next.clamp(TICK, IDLE) } else { TICK }).await;
        }
        // Who came last may still be waiting.
        for _ in 0..AFTER {
            self.advance(TICK).await;
        }
        for seen in self.log.take() {
            note(until, seen);
        }
    }

    /// Requests that were never answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.sent - self.log.responses()
    }

    /// Commands to the store and bytes in both directions, of each node, since the start.
    pub(crate) fn traffic(&self) -> Vec<(u64, u64)> {
        self.books.as_ref().map(|books| books.traffic()).unwrap_or_default()
    }

    async fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.now += by;
        tokio::time::advance(by).await;
        self.settle().await;
    }

    /// Lets all that is under way go as far as it can without time. As long as somebody yields, tokio does not move its
    /// clock by itself.
    async fn settle(&self) {
        let (mut before, mut quiet) = (self.progress(), 0);
        for _ in 0..MOST_TURNS {
            yield_now().await;
            let after = self.progress();
            quiet = if after == before { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return;
            }
            before = after;
        }
    }

    /// Grows when something happens.
    fn progress(&self) -> (usize, usize) {
        (self.log.responses(), self.books.as_ref().map_or(0, |books| books.steps()))
    }
}
