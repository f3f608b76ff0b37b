//! Where records go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::privacy::redact_path;
use super::record::AuditRecord;
use crate::action::Action;

/// Takes records; must not wait. A list of sinks is one, too: each gets every record.
pub trait Sink: Send + Sync + 'static {
    /// Takes one.
    fn record(&self, record: Box<AuditRecord>);

    /// Are records lost at the moment? Asked before each request where `audit.on_failure` is `refuse`, so it must cost
    /// next to nothing.
    fn is_losing(&self) -> bool {
        false
    }
}

impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn record(&self, record: Box<AuditRecord>) {
        (**self).record(record);
    }

    fn is_losing(&self) -> bool {
        (**self).is_losing()
    }
}

impl Sink for Vec<Arc<dyn Sink>> {
    fn record(&self, record: Box<AuditRecord>) {
        let Some((last, others)) = self.split_last() else { return };
        for sink in others {
            sink.record(record.clone());
        }
        last.record(record);
    }

    fn is_losing(&self) -> bool {
        self.iter().any(Sink::is_losing)
    }
}

/// What became of the records of a sink. Invariant: taken = written + sampled out + dropped, once it is closed.
#[derive(Debug, Default)]
pub struct Stats {
    written: AtomicU64,
    sampled_out: AtomicU64,
    bytes: AtomicU64,
    taken: AtomicU64,
    dropped: [AtomicU64; 4],
    degraded: AtomicBool,
    overrun: AtomicBool,
    pub(super) is_full: AtomicBool,
}

/// Records that were lost, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// The queue was full.
    pub channel_full: u64,
    /// The disk would not take them.
    pub io: u64,
    /// The disk was full, or less than `audit.min_free` was left.
    pub disk_full: u64,
    /// They were still queued five seconds after the stop.
    pub shutdown: u64,
}

impl Drops {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.by_reason().iter().map(|(_, number)| number).sum()
    }

    /// Keys of the log, and their numbers.
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("dropped.channel_full", self.channel_full),
            ("dropped.io", self.io),
            ("dropped.disk_full", self.disk_full),
            ("dropped.shutdown", self.shutdown),
        ]
    }

    /// What was lost since.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            channel_full: self.channel_full - before.channel_full,
            io: self.io - before.io,
            disk_full: self.disk_full - before.disk_full,
            shutdown: self.shutdown - before.shutdown,
        }
    }
}

impl Stats {
    /// Records written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that `audit.sample_assets` left out.
    pub fn sampled_out(&self) -> u64 {
        self.sampled_out.load(Ordering::Relaxed)
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records that are waiting.
    pub fn queued(&self) -> u64 {
        let done = self.written() + self.sampled_out() + self.drops().sum();
        self.taken.load(Ordering::Relaxed).saturating_sub(done)
    }

    /// Records lost.
    pub fn drops(&self) -> Drops {
        let [channel_full, io, disk_full, shutdown] = &self.dropped;
        Drops {
            channel_full: channel_full.load(Ordering::Relaxed),
            io: io.load(Ordering::Relaxed),
            disk_full: disk_full.load(Ordering::Relaxed),
            shutdown: shutdown.load(Ordering::Relaxed),
        }
    }

    /// Nothing is written at the moment.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Records are lost at the moment: nothing is written, or the queue has just been full.
    pub(super) fn is_losing(&self) -> bool {
        self.is_degraded() || self.overrun.load(Ordering::Relaxed)
    }

    pub(super) fn add_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_written(&self, written: u64, sampled_out: u64) {
        self.written.fetch_add(written, Ordering::Relaxed);
        self.sampled_out.fetch_add(sampled_out, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_dropped(&self, add: impl FnOnce(&mut Drops)) {
        let mut drops = Drops::default();
        add(&mut drops);
        for (counter, (_, number)) in self.dropped.iter().zip(drops.by_reason()) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// A record that found no place in the queue.
    pub(super) fn add_overrun(&self) {
        self.add_dropped(|drops| drops.channel_full = 1);
        self.overrun.store(true, Ordering::Relaxed);
    }

    /// There is room in the queue again.
    pub(super) fn end_overrun(&self) {
        self.overrun.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_degraded(&self, degraded: bool) {
        self.degraded.store(degraded, Ordering::Relaxed);
    }
}

/// Why a sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A key of `[audit]` that does not hold.
    #[error("`{key}`: {message}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is allowed.
        message: String,
    },
    /// Another process writes there under the same name.
    #[error("another process writes to `{dir}` as instance `{instance}`; give each one its own `audit.instance`")]
    Locked {
        /// The directory.
        dir: String,
        /// The instance.
        instance: String,
    },
    /// A key id stood for another secret in this log.
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    /// The signing key cannot be used.
    #[cfg(feature = "proxy")]
    #[error(transparent)]
    Key(#[from] super::signing::KeyError),
    /// The directory or a file cannot be made.
    #[error("cannot write to `{path}`")]
    Io {
        /// The path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// One event a record, target `deckle::hit`: INFO, and WARN for blocked requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

impl Sink for TracingSink {
    fn record(&self, record: Box<AuditRecord>) {
        let action = record.decision.as_ref().map_or("", |d| d.action.code());
        let would = record.decision.as_ref().and_then(|d| d.would).map_or("", Action::code);
        let category = record.visitor.as_ref().map_or("", |v| v.agent.category.code());
        let score = record.assessment.as_ref().map(|a| a.score);
        let mark = record.page.as_ref().and_then(|p| p.mark.as_deref()).unwrap_or_default();
        let rewrite = record.page.as_ref().map_or("", |p| p.rewrite);
        // Debug formatting escapes what a terminal must not get.
        macro_rules! hit {
            ($level:ident) => {
                tracing::$level!(
                    target: "deckle::hit",
                    { http.request.method = ?record.method, url.path = ?redact_path(&record.path),
                    http.response.status_code = record.status, http.response.body.size = record.body_size,
                    deckle.request.id = %record.request_id, deckle.visitor.category = category, deckle.score = score,
                    deckle.action = action, deckle.would_action = would, deckle.mark.id = mark,
                    deckle.rewrite = rewrite, deckle.complete = record.complete },
                    "Response sent."
                )
            };
        }
        if action == Action::Block.code() { hit!(warn) } else { hit!(info) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::blank;

    struct Counter(AtomicU64, bool);

    impl Sink for Counter {
        fn record(&self, _: Box<AuditRecord>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn is_losing(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn every_sink_of_a_list_gets_every_record() {
        let sinks = [false, true, false].map(|losing| Arc::new(Counter(AtomicU64::new(0), losing)));
        let list: Vec<Arc<dyn Sink>> = sinks.iter().map(|sink| Arc::clone(sink) as Arc<dyn Sink>).collect();
        list.record(Box::new(blank()));
        list.record(Box::new(blank()));
        assert!(sinks.iter().all(|sink| sink.0.load(Ordering::Relaxed) == 2));
        assert!(list.is_losing() && !list[..1].to_vec().is_losing());
        Vec::<Arc<dyn Sink>>::new().record(Box::new(blank()));
    }

    #[test]
    fn an_overrun_ends_when_there_is_room_and_stays_counted() {
        let stats = Stats::default();
        stats.add_overrun();
        assert!(stats.is_losing() && !stats.is_degraded());
        stats.end_overrun();
        assert!(!stats.is_losing());
        stats.set_degraded(true);
        assert!(stats.is_losing());
        assert_eq!(stats.drops(), Drops { channel_full: 1, ..Drops::default() });
    }
}
