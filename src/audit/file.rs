//! [`FileSink`]: two bounded queues in front of one writer thread.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::Settings;
use super::record::AuditRecord;
use super::sink::{Sink, SinkError, Stats};
use super::writer::{Signals, Writer};
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
        settings.check()?;
        let dir = PathBuf::from(&settings.dir);
        let (normal, normal_end) = sync_channel(settings.queue);
        let (priority, priority_end) = sync_channel(settings.queue_priority);
        let stats = Arc::new(Stats::default());
        let signals = Arc::new(Signals::default());
        let writer = Writer::open(settings, clock, Arc::clone(&stats), Arc::clone(&signals))?;
        let io = |source| SinkError::Io { path: settings.dir.clone(), source };
        let thread = std::thread::Builder::new()
            .name("deckle-audit".to_owned())
            .spawn(move || writer.run(&normal_end, &priority_end))
            .map_err(io)?;
        Ok(Self {
            normal,
            priority,
            signals,
            stats,
            thread: Mutex::new(Some(thread)),
            closed: AtomicBool::new(false),
            dir,
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

    /// Closes the segment and goes on in a new one (SIGHUP).
    pub fn reopen(&self) {
        self.signals.reopen.store(true, Ordering::Release);
    }

    /// Writes what is queued, closes the segment, and waits for the thread. Later records are dropped and counted.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.signals.stop.store(true, Ordering::Release);
        let thread = self.thread.lock().ok().and_then(|mut t| t.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Sink for FileSink {
    fn record(&self, record: AuditRecord) {
        let queue = if record.has_priority() { &self.priority } else { &self.normal };
        let lost = self.closed.load(Ordering::Acquire)
            || matches!(queue.try_send(record), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)));
        if lost {
            self.stats.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.close();
    }
}
