//! Two bounded queues in front of a thread: the end that requests hand their records to, and the end that they come out
//! of in batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::policy::PolicyText;
use super::record::AuditRecord;
use super::sink::{Sink, Stats};
use super::{Live, Settings};
use crate::clock::SharedClock;

/// Most records of one batch, out of each queue.
const BATCH: usize = 512;
/// How long records gather behind the first one: a write and a wake-up for each would cost more than the records.
const GATHER: Duration = Duration::from_millis(5);
/// How long queued records are written after the stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a thread is waited for that somebody else may hold up: a pipe that nobody reads, a server that says nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// What the rest of the program tells the thread.
#[derive(Debug, Default)]
pub(super) struct Signals {
    stop: AtomicBool,
    pub(super) reopen: AtomicBool,
    /// The policy that is in force, until the log says so.
    pub(super) policy: Mutex<Option<PolicyText>>,
    /// The secrets that are in use, until the log says so.
    pub(super) secrets: Mutex<Option<Vec<String>>>,
}

/// The end that records go into. A place takes a pointer, so that a queue that is empty takes little memory, and handing a
/// record over takes no copy of it.
#[derive(Debug)]
pub(super) struct Queue {
    normal: SyncSender<Box<AuditRecord>>,
    priority: SyncSender<Box<AuditRecord>>,
    signals: Arc<Signals>,
    stats: Arc<Stats>,
    thread: Mutex<Option<Running>>,
    closed: AtomicBool,
    /// How long the thread is waited for; `None`: to its end.
    patience: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    handle: JoinHandle<()>,
    /// Nothing is sent: it is disconnected at the end.
    ended: Receiver<()>,
}

/// The end that they come out of.
pub(super) struct Inbox {
    normal: Receiver<Box<AuditRecord>>,
    priority: Receiver<Box<AuditRecord>>,
    signals: Arc<Signals>,
    stats: Arc<Stats>,
    clock: SharedClock,
    /// Counts what comes out, for the dashboard.
    live: Option<Arc<Live>>,
    stopped: Option<Duration>,
}

/// What comes out.
pub(super) enum Next {
    Records(Vec<AuditRecord>),
    Nothing,
    /// The stop came, and all is out or too late.
    Over,
}

impl Queue {
    /// Both ends. The thread comes later ([`Queue::start`]).
    pub(super) fn new(
        settings: &Settings,
        clock: SharedClock,
        live: Option<Arc<Live>>,
        patience: Option<Duration>,
    ) -> (Self, Inbox) {
        let (normal, normal_end) = sync_channel(settings.queue);
        let (priority, priority_end) = sync_channel(settings.queue_priority);
        let (signals, stats) = (Arc::<Signals>::default(), Arc::<Stats>::default());
        let inbox = Inbox {
            normal: normal_end,
            priority: priority_end,
            signals: Arc::clone(&signals),
            stats: Arc::clone(&stats),
            clock,
            live,
            stopped: None,
        };
        let thread = Mutex::new(None);
        (Self { normal, priority, signals, stats, thread, closed: AtomicBool::new(false), patience }, inbox)
    }

    /// Starts the thread that empties it.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let (alive, ended) = channel::<()>();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(alive);
        })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { handle, ended });
        Ok(())
    }

    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Asks for a new file (SIGHUP).
    pub(super) fn reopen(&self) {
        self.signals.reopen.store(true, Ordering::Release);
    }

    /// Takes no more, and lets the thread come to its end. Later records are dropped and counted.
    pub(super) fn stop(&self) {
        self.closed.store(true, Ordering::Release);
        self.signals.stop.store(true, Ordering::Release);
    }

    /// The same, and waits for that.
    pub(super) fn close(&self) {
        self.stop();
        let running = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let Some(Running { handle, ended }) = running else { return };
        if self.patience.is_some_and(|limit| ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)) {
            // Whoever holds up the thread shall not hold up the end of the process.
            let left = self.stats.queued();
            self.stats.add_dropped(|drops| drops.shutdown = left);
            return;
        }
        let _ = handle.join();
    }
}

impl Sink for Queue {
    fn record(&self, record: Box<AuditRecord>) {
        self.stats.add_taken();
        let queue = if record.has_priority() { &self.priority } else { &self.normal };
        if self.closed.load(Ordering::Acquire) || queue.try_send(record).is_err() {
            self.stats.add_overrun();
        }
    }

    fn is_losing(&self) -> bool {
        self.stats.is_losing()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inbox {
    /// A batch, what has priority first. Waits so long for the first one.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
    pub(super) fn next_batch(&mut self, wait: Duration) -> Next {
        let now = self.clock.elapsed();
        if self.is_stopping() {
            self.stopped.get_or_insert(now);
        }
        let mut batch: Vec<AuditRecord> = self.priority.try_iter().take(BATCH).map(|record| *record).collect();
        batch.extend(self.normal.try_iter().take(BATCH).map(|record| *record));
        match self.stopped {
            Some(_) if batch.is_empty() => return Next::Over,
            Some(at) if now.saturating_sub(at) > DRAIN => {
                let left = batch.len() + self.priority.try_iter().count() + self.normal.try_iter().count();
                self.stats.add_dropped(|drops| drops.shutdown += left as u64);
                return Next::Over;
            }
            _ => {}
        }
        if batch.is_empty() {
            let gather = GATHER.min(wait / 2);
            let Ok(record) = self.normal.recv_timeout(wait.saturating_sub(gather)) else { return Next::Nothing };
            batch.push(*record);
            std::thread::sleep(gather);
            batch.extend(self.priority.try_iter().take(BATCH).map(|record| *record));
            batch.extend(self.normal.try_iter().take(BATCH - 1).map(|record| *record));
        }
        self.stats.end_overrun();
        if let Some(live) = &self.live {
            for record in &batch {
                live.note(record);
            }
        }
        Next::Records(batch)
    }

    /// Has the stop come?
    pub(super) fn is_stopping(&self) -> bool {
        self.signals.stop.load(Ordering::Acquire)
    }

    /// Has a new file been asked for since the last time?
    pub(super) fn wants_reopen(&self) -> bool {
        self.signals.reopen.swap(false, Ordering::AcqRel)
    }
}

/// A fault costs the batch that is in hand, and not the sink.
pub(super) fn keep_going(mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        tracing::error!(target: "deckle::audit", "A sink of the audit log failed; it goes on with the next records.");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::audit::record::blank;
    use crate::clock::ManualClock;

    #[test]
    fn a_full_queue_loses_and_says_so_until_there_is_room() {
        let settings = Settings { queue: 64, ..Settings::default() };
        let (queue, mut inbox) = Queue::new(&settings, ManualClock::at(0), None, None);
        (0..70).for_each(|_| queue.record(Box::new(blank())));
        assert!(queue.is_losing());
        assert_eq!((queue.stats().drops().channel_full, queue.stats().queued()), (6, 64));
        let Next::Records(batch) = inbox.next_batch(Duration::ZERO) else { panic!("nothing came out") };
        assert_eq!((batch.len(), queue.is_losing()), (64, false));
        queue.stop();
        queue.record(Box::new(blank()));
        assert_eq!(queue.stats().drops().channel_full, 7);
        assert!(matches!(inbox.next_batch(Duration::ZERO), Next::Over));
    }

    #[test]
    fn a_thread_that_is_held_up_does_not_hold_up_the_end() {
        let (queue, inbox) = Queue::new(&Settings::default(), ManualClock::at(0), None, Some(Duration::from_millis(1)));
        let barrier = Arc::new(Barrier::new(2));
        let held = Arc::clone(&barrier);
        queue
            .start("held", move || {
                held.wait();
                drop(inbox);
            })
            .unwrap();
        queue.record(Box::new(blank()));
        queue.close();
        assert_eq!(queue.stats().drops().shutdown, 1);
        barrier.wait();
    }

    #[test]
    fn a_fault_does_not_end_the_work() {
        let mut rounds = 0;
        keep_going(|| {
            rounds += 1;
            assert!(rounds > 2, "a fault");
        });
        assert_eq!(rounds, 3);
    }
}
