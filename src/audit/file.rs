//! [`FileSink`]: two bounded queues in front of one writer thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::Settings;
use super::policy::PolicyText;
use super::record::AuditRecord;
use super::sink::{Sink, SinkError, Stats};
use super::writer::{Signals, Signer, Surroundings, Writer};
use crate::clock::{SharedClock, SystemClock};

/// Writes NDJSON segments into a directory.
///
/// ```
/// use deckle::audit::{FileSink, Settings};
/// let dir = std::env::temp_dir().join(format!("deckle-doc-{}", std::process::id()));
/// let settings = Settings { dir: dir.display().to_string(), ..Settings::default() };
/// let sink = FileSink::open(&settings)?;
/// // A second writer of the same name is refused.
/// assert!(FileSink::open(&settings).is_err());
/// sink.close();
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), deckle::audit::SinkError>(())
/// ```
#[derive(Debug)]
pub struct FileSink {
    normal: SyncSender<AuditRecord>,
    priority: SyncSender<AuditRecord>,
    signals: Arc<Signals>,
    stats: Arc<Stats>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    dir: PathBuf,
    /// Sends what was written to ClickHouse, where `audit.sinks` asks for it.
    #[cfg(feature = "clickhouse")]
    follower: Option<super::clickhouse::Follower>,
}

impl FileSink {
    /// Opens the directory of `settings` and starts the writer.
    ///
    /// # Errors
    /// [`SinkError`] when a setting does not hold, the directory cannot be written, or another process writes there under
    /// the same instance.
    pub fn open(settings: &Settings) -> Result<Self, SinkError> {
        Self::with_clock(settings, SystemClock::shared())
    }

    /// The same on another clock.
    ///
    /// # Errors
    /// As [`FileSink::open`].
    pub fn with_clock(settings: &Settings, clock: SharedClock) -> Result<Self, SinkError> {
        Self::with_storage(settings, clock, Box::new(super::storage::Disk), None)
    }

    /// The same, with figures that see each record on the writer's thread.
    ///
    /// # Errors
    /// As [`FileSink::open`].
    pub fn with_live(settings: &Settings, clock: SharedClock, live: Arc<super::Live>) -> Result<Self, SinkError> {
        Self::with_storage(settings, clock, Box::new(super::storage::Disk), Some(live))
    }

    pub(crate) fn with_storage(
        settings: &Settings,
        clock: SharedClock,
        storage: Box<dyn super::storage::Storage>,
        live: Option<Arc<super::Live>>,
    ) -> Result<Self, SinkError> {
        settings.check()?;
        let dir = PathBuf::from(&settings.dir);
        let (normal, normal_end) = sync_channel(settings.queue);
        let (priority, priority_end) = sync_channel(settings.queue_priority);
        let stats = Arc::new(Stats::default());
        let signals = Arc::new(Signals::default());
        #[cfg(feature = "clickhouse")]
        let also = clock.clone();
        let outside = Surroundings {
            clock,
            storage,
            stats: Arc::clone(&stats),
            signals: Arc::clone(&signals),
            signer: signer(settings)?,
            live,
        };
        let writer = Writer::open(settings, outside)?;
        #[cfg(feature = "clickhouse")]
        let follower = super::clickhouse::Follower::start(settings, also)?;
        let io = |source| SinkError::Io { path: settings.dir.clone(), source };
        let thread = std::thread::Builder::new()
            .name("deckle-audit".to_owned())
            .spawn(move || run(writer, &normal_end, &priority_end))
            .map_err(io)?;
        Ok(Self {
            normal,
            priority,
            signals,
            stats,
            thread: Mutex::new(Some(thread)),
            closed: AtomicBool::new(false),
            dir,
            #[cfg(feature = "clickhouse")]
            follower,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counters of this sink.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How sending to ClickHouse does, `now` in time since 1970; `None`: nothing is sent there.
    #[cfg(feature = "clickhouse")]
    pub fn clickhouse(&self, now: std::time::Duration) -> Option<super::clickhouse::Health> {
        self.follower.as_ref().map(|follower| follower.health(now))
    }

    /// How sending to ClickHouse does: nothing is sent there without that feature.
    #[cfg(not(feature = "clickhouse"))]
    pub fn clickhouse(&self, _: std::time::Duration) -> Option<super::clickhouse::Health> {
        None
    }

    /// Says in the log which configuration is in force from now on.
    pub fn policy(&self, policy: PolicyText) {
        *self.signals.policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    /// Closes the segment and goes on in a new one (SIGHUP).
    pub fn reopen(&self) {
        self.signals.reopen.store(true, Ordering::Release);
    }

    /// Writes what is queued, closes the segment, sends what was not sent yet for five seconds at most, and waits for the
    /// threads. Later records are dropped and counted.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.signals.stop.store(true, Ordering::Release);
        let thread = self.thread.lock().ok().and_then(|mut t| t.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        #[cfg(feature = "clickhouse")]
        if let Some(follower) = &self.follower {
            follower.close();
        }
    }
}

/// Makes the directory, too: the key lies in it.
#[cfg(feature = "proxy")]
fn signer(settings: &Settings) -> Result<Option<Signer>, SinkError> {
    let io = |source| SinkError::Io { path: settings.dir.clone(), source };
    std::fs::create_dir_all(&settings.dir).map_err(io)?;
    let path = Path::new(&settings.dir).join(&settings.sign_key);
    Ok(Some(Arc::new(super::signing::SigningKey::in_file(&path)?)))
}

#[cfg(not(feature = "proxy"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn signer(_: &Settings) -> Result<Option<Signer>, SinkError> {
    Ok(None)
}

/// A fault of the writer costs the batch that it had in hand, and a new segment; not the log.
fn run(mut writer: Writer, normal: &Receiver<AuditRecord>, priority: &Receiver<AuditRecord>) {
    while catch_unwind(AssertUnwindSafe(|| writer.run(normal, priority))).is_err() {
        tracing::error!(target: "deckle::audit", "The writer of the audit log failed; it goes on in a new segment.");
        if catch_unwind(AssertUnwindSafe(|| writer.recover())).is_err() {
            return;
        }
    }
}

impl Sink for FileSink {
    fn record(&self, record: AuditRecord) {
        self.stats.add_taken();
        let queue = if record.has_priority() { &self.priority } else { &self.normal };
        let lost = self.closed.load(Ordering::Acquire)
            || matches!(queue.try_send(record), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)));
        if lost {
            self.stats.add_dropped(|drops| drops.channel_full = 1);
        }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.close();
    }
}
