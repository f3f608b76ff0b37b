//! Where records go.

use std::sync::atomic::{AtomicU64, Ordering};

use super::privacy::redact_path;
use super::record::AuditRecord;
use crate::action::Action;

/// Takes records; must not wait.
pub trait Sink: Send + Sync + 'static {
    /// Takes one.
    fn record(&self, record: AuditRecord);
}

impl<S: Sink + ?Sized> Sink for std::sync::Arc<S> {
    fn record(&self, record: AuditRecord) {
        (**self).record(record);
    }
}

/// What became of the records of a sink. Invariant: taken = written + dropped, once it is closed.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) written: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_io: AtomicU64,
}

impl Stats {
    /// Lines written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records lost because the queue was full.
    pub fn dropped_full(&self) -> u64 {
        self.dropped_full.load(Ordering::Relaxed)
    }

    /// Records lost because the disk would not take them.
    pub fn dropped_io(&self) -> u64 {
        self.dropped_io.load(Ordering::Relaxed)
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
    fn record(&self, record: AuditRecord) {
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
