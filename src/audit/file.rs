//! [`FileSink`]: NDJSON segments, written by a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::anchor::Heads;
use super::policy::PolicyText;
use super::privacy::Pseudonyms;
use super::queue::{Inbox, Queue};
use super::record::AuditRecord;
use super::sink::{Sink, SinkError, Stats};
use super::sinks::Around;
use super::storage::{Disk, Storage};
use super::writer::{Signer, Surroundings, Writer};
use super::{Anchor, Settings};
use crate::clock::{SharedClock, SystemClock};
use crate::secret::Secrets;

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
    queue: Arc<Queue>,
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
        Self::with_storage(settings, clock, Box::new(Disk), None)
    }

    /// The same, with figures that see each record on the writer's thread.
    ///
    /// # Errors
    /// As [`FileSink::open`].
    pub fn with_live(settings: &Settings, clock: SharedClock, live: Arc<super::Live>) -> Result<Self, SinkError> {
        Self::with_storage(settings, clock, Box::new(Disk), Some(live))
    }

    pub(crate) fn with_storage(
        settings: &Settings,
        clock: SharedClock,
        storage: Box<dyn Storage>,
        live: Option<Arc<super::Live>>,
    ) -> Result<Self, SinkError> {
        let pseudonyms = Pseudonyms::shared(Some(&Path::new(&settings.dir).join(&settings.keys)));
        Self::assemble(settings, Around { clock, live, pseudonyms, secrets: Vec::new() }, storage, None)
    }

    /// The same beside other sinks; one of them may take the heads.
    pub(super) fn beside(settings: &Settings, around: Around, heads: Option<Heads>) -> Result<Self, SinkError> {
        Self::assemble(settings, around, Box::new(Disk), heads)
    }

    fn assemble(
        settings: &Settings,
        around: Around,
        storage: Box<dyn Storage>,
        heads: Option<Heads>,
    ) -> Result<Self, SinkError> {
        settings.check()?;
        if settings.anchor == Anchor::Otlp && heads.is_none() {
            let message = "`otlp` is for a whole layer or `deckle proxy`: a sink by itself sends nothing".to_owned();
            return Err(SinkError::Setting { key: "audit.anchor", message });
        }
        let (queue, inbox) = Queue::new(settings, Arc::clone(&around.clock), around.live, None);
        #[cfg(feature = "clickhouse")]
        let clock = Arc::clone(&around.clock);
        let outside = Surroundings {
            clock: around.clock,
            storage,
            stats: Arc::clone(queue.stats()),
            signals: Arc::clone(queue.signals()),
            signer: signer(settings)?,
            pseudonyms: around.pseudonyms,
            secrets: around.secrets,
            heads,
        };
        let writer = Writer::open(settings, outside)?;
        #[cfg(feature = "clickhouse")]
        let follower = super::clickhouse::Follower::start(settings, clock)?;
        let io = |source| SinkError::Io { path: settings.dir.clone(), source };
        queue.start("deckle-audit", move || run(writer, inbox)).map_err(io)?;
        Ok(Self {
            queue: Arc::new(queue),
            dir: PathBuf::from(&settings.dir),
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
        self.queue.stats()
    }

    /// What stands in front of the writer.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
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
        *self.queue.signals().policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    /// Says in the log which secrets are in use from now on, by their key ids and fingerprints; if it did not say so, a
    /// new segment begins.
    ///
    /// # Errors
    /// [`SinkError::Secret`] with feature `proxy`, when a key id stands for another secret in the directory.
    pub fn secrets(&self, secrets: &Secrets) -> Result<(), SinkError> {
        #[cfg(feature = "proxy")]
        super::secrets::refuse_reused(&self.dir, secrets)?;
        let ids = super::secrets::ids(secrets);
        *self.queue.signals().secrets.lock().unwrap_or_else(PoisonError::into_inner) = Some(ids);
        Ok(())
    }

    /// Closes the segment and goes on in a new one (SIGHUP).
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Tells the sending that nothing more comes; nobody waits for it yet.
    #[cfg(feature = "clickhouse")]
    pub(super) fn end_sending(&self) {
        if let Some(follower) = &self.follower {
            follower.stop();
        }
    }

    /// Writes what is queued, closes the segment, sends what was not sent yet for five seconds at most, and waits for the
    /// threads. Later records are dropped and counted.
    pub fn close(&self) {
        self.queue.close();
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
fn run(mut writer: Writer, mut inbox: Inbox) {
    while catch_unwind(AssertUnwindSafe(|| writer.run(&mut inbox))).is_err() {
        tracing::error!(target: "deckle::audit", "The writer of the audit log failed; it goes on in a new segment.");
        if catch_unwind(AssertUnwindSafe(|| writer.recover())).is_err() {
            return;
        }
    }
}

impl Sink for FileSink {
    fn record(&self, record: Box<AuditRecord>) {
        self.queue.record(record);
    }

    fn is_losing(&self) -> bool {
        self.queue.is_losing()
    }
}
