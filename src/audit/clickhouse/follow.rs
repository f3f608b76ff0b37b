//! [`Follower`]: the thread that sends what the segments hold.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::tail::Tail;
use super::{Address, Batch, Health, InsertError, Table, offset};
use crate::audit::{Settings, SinkError, SinkKind};
use crate::clock::SharedClock;

/// The longest that a row waits for others.
const PERIOD: Duration = Duration::from_secs(1);
/// How often new lines are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// Waits after a failure, from the first to the longest; up to a quarter more, so that several processes spread out.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long what is left is sent after the stop, and how soon it is tried again meanwhile.
const DRAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(300));

#[derive(Debug, Default)]
struct Stats {
    rows: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    skipped: AtomicU64,
    /// The oldest record that was read and not sent, in milliseconds since 1970; 0: there is none.
    oldest: AtomicU64,
    stopped: AtomicBool,
}

/// Sends the segments of one instance to a table, from where it stopped the last time.
#[derive(Debug)]
pub(in crate::audit) struct Follower {
    stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Follower {
    /// `None`: nobody wants it.
    ///
    /// # Errors
    /// [`SinkError`] where the settings do not hold, or no thread can be had.
    pub(in crate::audit) fn start(settings: &Settings, clock: SharedClock) -> Result<Option<Self>, SinkError> {
        let is_wanted = settings.sinks.as_deref().is_some_and(|sinks| sinks.contains(&SinkKind::Clickhouse));
        let Some(url) = settings.clickhouse.url.as_deref().filter(|_| is_wanted) else { return Ok(None) };
        let refuse =
            |error: super::AddressError| SinkError::Setting { key: "audit.clickhouse.url", message: error.to_string() };
        let address = Address::parse(url).map_err(refuse)?;
        let of = &settings.clickhouse;
        let (dir, instance) = (PathBuf::from(&settings.dir), settings.instance().into_owned());
        let stats = Arc::new(Stats::default());
        let (stop, stopping) = watch::channel(false);
        let worker = Worker {
            table: Table::new(&address, &of.database, &of.table, of.timeout.0),
            tail: Tail::new(&dir, &instance, offset::load(&dir, &instance)),
            dir,
            clock,
            stats: Arc::clone(&stats),
            stop: stopping,
            saved: String::new(),
        };
        let io = |source| SinkError::Io { path: settings.dir.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let thread = std::thread::Builder::new()
            .name("deckle-clickhouse".to_owned())
            .spawn(move || {
                let stats = Arc::clone(&worker.stats);
                if catch_unwind(AssertUnwindSafe(|| runtime.block_on(worker.run()))).is_err() {
                    stats.stopped.store(true, Ordering::Relaxed);
                    tracing::error!(target: "deckle::audit",
                        "Sending to ClickHouse failed by a fault of deckle; it goes on at the next start.");
                }
            })
            .map_err(io)?;
        Ok(Some(Self { stats, stop, thread: Mutex::new(Some(thread)) }))
    }

    /// How it does; `now` since 1970.
    pub(in crate::audit) fn health(&self, now: Duration) -> Health {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest = number(&self.stats.oldest);
        Health {
            rows: number(&self.stats.rows),
            failures: number(&self.stats.failures),
            lost: number(&self.stats.lost),
            skipped: number(&self.stats.skipped),
            lag: if oldest == 0 { Duration::ZERO } else { now.saturating_sub(Duration::from_millis(oldest)) },
            stopped: self.stats.stopped.load(Ordering::Relaxed),
        }
    }

    /// Nothing is written any more: what is there is sent, for five seconds at most.
    pub(in crate::audit) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// The same, and waits for the thread.
    pub(in crate::audit) fn close(&self) {
        self.stop();
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.close();
    }
}

struct Worker {
    table: Table,
    tail: Tail,
    dir: PathBuf,
    clock: SharedClock,
    stats: Arc<Stats>,
    stop: watch::Receiver<bool>,
    /// The segment that `clickhouse.offset` names.
    saved: String,
}

impl Worker {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        let deadline = async move {
            // Whoever held the other end is gone: that is a stop, too.
            let _ = stop.wait_for(|stop| *stop).await.map(|_| ());
            tokio::time::sleep(DRAIN.0).await;
        };
        let table = self.table.to_string();
        tokio::select! {
            () = self.follow() => {}
            () = deadline => tracing::warn!(target: "deckle::audit", %table,
                "Not everything was sent to ClickHouse before the stop; the next start goes on from there."),
        }
    }

    /// Until the stop, or until the table turns out not to fit.
    async fn follow(&mut self) {
        let (mut batch, mut since) = (Batch::default(), None);
        loop {
            let is_stopping = self.is_stopping();
            self.read(&mut batch);
            let now = self.clock.elapsed();
            let waited = |since: Duration| now.saturating_sub(since) >= PERIOD;
            if batch.is_empty() {
                self.save_when_moved();
                if is_stopping {
                    return;
                }
            } else if batch.is_full() || is_stopping || waited(*since.get_or_insert(now)) {
                if !self.send(&batch).await {
                    return;
                }
                (batch, since) = (Batch::default(), None);
                continue;
            }
            self.pause(LOOK).await;
        }
    }

    fn read(&mut self, batch: &mut Batch) {
        let told = self.tail.read(batch);
        if told.lost > 0 {
            self.stats.lost.fetch_add(told.lost, Ordering::Relaxed);
            tracing::warn!(target: "deckle::audit", lines = told.lost,
                "Lines of the audit log were deleted before they were sent to ClickHouse, or their segment cannot be opened.");
        }
        if told.skipped > 0 {
            self.stats.skipped.fetch_add(told.skipped, Ordering::Relaxed);
            tracing::warn!(target: "deckle::audit", lines = told.skipped,
                "Lines of the audit log could not be read and were not sent to ClickHouse.");
        }
        let oldest = batch.rows().first().map_or(0, |row| u64::try_from(row.ts).unwrap_or(1).max(1));
        self.stats.oldest.store(oldest, Ordering::Relaxed);
    }

    /// Again and again until it is taken. False: it never will be.
    async fn send(&mut self, batch: &Batch) -> bool {
        let mut wait = RETRY.0;
        loop {
            match self.table.insert(batch.rows()).await {
                Ok(()) => {
                    self.save();
                    self.stats.rows.fetch_add(batch.rows().len() as u64, Ordering::Relaxed);
                    self.stats.oldest.store(0, Ordering::Relaxed);
                    return true;
                }
                Err(error @ InsertError::Schema(_)) => {
                    self.stats.stopped.store(true, Ordering::Relaxed);
                    tracing::error!(target: "deckle::audit", %error, table = %self.table,
                        "Nothing more is sent to ClickHouse, the files go on; `deckle audit ddl` prints what fits.");
                    return false;
                }
                Err(error @ InsertError::Engine(_)) => {
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(target: "deckle::audit", %error, table = %self.table, again_in = ?wait,
                        "ClickHouse did not take rows; they are kept in the files and sent again.");
                }
            }
            if self.is_stopping() {
                tokio::time::sleep(DRAIN.1).await;
            } else {
                self.pause(wait + wait.mul_f64(fastrand::f64() / 4.0)).await;
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }

    /// Segments without responses, too: what is over need not be there at the next start.
    fn save_when_moved(&mut self) {
        if self.tail.position().is_some_and(|at| at.segment != self.saved) {
            self.save();
        }
    }

    fn save(&mut self) {
        let Some(position) = self.tail.position() else { return };
        self.saved.clone_from(&position.segment);
        if let Err(error) = offset::save(&self.dir, position) {
            tracing::warn!(target: "deckle::audit", %error, path = %self.dir.display(),
                "How far the log was sent to ClickHouse could not be noted; the next start sends some of it again.");
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Until then, or the stop.
    async fn pause(&mut self, time: Duration) {
        if self.is_stopping() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stop.changed() => {}
        }
    }
}
