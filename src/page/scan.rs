//! lol_html as a scanner: its output is counted and thrown away, its handlers only look.
//!
//! Every token carries its byte range in the source. At each handler event for a token at `a..b` all bytes before `a`
//! are settled; between events the count of the bytes that the scanner has passed on moves the border. Text that a
//! handler sees is removed from the scanner's own output, so that no re-encoded byte is ever counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Encoding, WINDOWS_1252};
use lol_html::errors::RewritingError;
use lol_html::send::{HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings};

/// How far the source is settled, in bytes of what the scanner was fed.
#[derive(Debug, Default)]
pub(crate) struct Border {
    base: AtomicU64,
    passed_at_base: AtomicU64,
    passed: AtomicU64,
}

impl Border {
    /// A token that starts at `at` was seen.
    pub(crate) fn event(&self, at: u64) {
        if at >= self.base.load(Ordering::Relaxed) {
            self.base.store(at, Ordering::Relaxed);
            self.passed_at_base.store(self.passed.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn settled(&self) -> u64 {
        self.base.load(Ordering::Relaxed) + self.passed.load(Ordering::Relaxed)
            - self.passed_at_base.load(Ordering::Relaxed)
    }
}

/// Why a scan ended before the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScanEnd {
    /// The memory limit.
    Memory,
    /// A handler failed, or the scanner panicked.
    Handler,
}

impl ScanEnd {
    /// The stable spelling.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Handler => "handler",
        }
    }
}

/// How a page is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) encoding: &'static Encoding,
    pub(crate) max_memory: usize,
    /// Tags of Edge Side Includes are void elements.
    pub(crate) esi: bool,
}

/// One scan.
pub(crate) struct Scanner {
    /// `None` once it has ended: a scanner that failed must not be fed again.
    rewriter: Option<Box<HtmlRewriter<'static, Box<dyn FnMut(&[u8]) + Send>>>>,
    pub(crate) border: Arc<Border>,
}

impl Scanner {
    /// A scanner with the handlers that `add` appends.
    pub(crate) fn new(
        reading: Reading,
        border: Arc<Border>,
        add: impl FnOnce(Settings<'static, 'static>) -> Settings<'static, 'static>,
    ) -> Self {
        let encoding = AsciiCompatibleEncoding::new(reading.encoding)
            .or_else(|| AsciiCompatibleEncoding::new(WINDOWS_1252))
            .unwrap_or_else(AsciiCompatibleEncoding::utf_8);
        let memory = MemorySettings::new()
            .with_max_allowed_memory_usage(reading.max_memory.max(PREALLOCATED))
            .with_preallocated_parsing_buffer_size(PREALLOCATED)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let settings = Settings::new_send()
            .with_strict(false)
            .with_enable_esi_tags(reading.esi)
            .with_encoding(encoding)
            .with_memory_settings(memory)
            .with_graceful_bail_out_on_content_handler_error(true);
        let edge = Arc::clone(&border);
        let sink: Box<dyn FnMut(&[u8]) + Send> = Box::new(move |piece: &[u8]| {
            edge.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        });
        let rewriter = catch_unwind(AssertUnwindSafe(|| HtmlRewriter::new(add(settings), sink))).ok().map(Box::new);
        Self { rewriter, border }
    }

    /// Feeds a piece of the source.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), ScanEnd> {
        let Some(rewriter) = &mut self.rewriter else { return Ok(()) };
        let result = catch_unwind(AssertUnwindSafe(|| rewriter.write(piece)));
        let end = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(RewritingError::MemoryLimitExceeded(_))) => ScanEnd::Memory,
            Ok(Err(_)) | Err(_) => ScanEnd::Handler,
        };
        self.stop();
        Err(end)
    }

    /// The source is over: the last tokens are seen.
    pub(crate) fn end(&mut self) -> Result<(), ScanEnd> {
        let Some(rewriter) = self.rewriter.take() else { return Ok(()) };
        match catch_unwind(AssertUnwindSafe(|| rewriter.end())) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RewritingError::MemoryLimitExceeded(_))) => Err(ScanEnd::Memory),
            Ok(Err(_)) | Err(_) => Err(ScanEnd::Handler),
        }
    }

    /// Nothing more is looked at.
    pub(crate) fn stop(&mut self) {
        if let Some(rewriter) = self.rewriter.take() {
            // Dropping must not take the response down either.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(rewriter)));
        }
    }
}

const PREALLOCATED: usize = 1_024;

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("running", &self.rewriter.is_some()).field("border", &self.border).finish()
    }
}
