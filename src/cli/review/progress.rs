//! How far it is, on one line of stderr, where that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::review::{Progress, Source};

/// How often the line is drawn.
const EVERY: Duration = Duration::from_millis(200);

pub(in crate::cli) struct Line {
    clock: SystemClock,
    /// Bytes of the files, if none of them is compressed or standard input.
    total: Option<u64>,
    shown_at: Option<Duration>,
    terminal: bool,
}

impl Line {
    pub(in crate::cli) fn new(sources: &[Source]) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let size = |source: &Source| match source {
            Source::Path(path) if !matches!(path.extension().and_then(|e| e.to_str()), Some("gz" | "zst")) => {
                std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
            }
            _ => None,
        };
        Self { clock: SystemClock::new(), total: sources.iter().map(size).sum(), shown_at: None, terminal }
    }

    pub(in crate::cli) fn show(&mut self, at: Progress) {
        let now = self.clock.elapsed();
        if !self.terminal || self.shown_at.is_some_and(|shown| now < shown + EVERY) || now < EVERY {
            return;
        }
        self.shown_at = Some(now);
        let speed = at.lines as f64 / now.as_secs_f64();
        let far = self.total.filter(|total| *total > 0).map(|total| {
            let share = at.bytes as f64 / total as f64;
            let left = now.as_secs_f64() * (1.0 - share) / share.max(1e-9);
            format!("  {:.0} %  {left:.0} s left", share * 100.0)
        });
        let text = format!(
            "{} MB  {} lines  {:.2} M lines/s{}",
            at.bytes / 1_000_000,
            at.lines,
            speed / 1e6,
            far.unwrap_or_default()
        );
        let _ = write!(std::io::stderr().lock(), "\r\x1B[K{text}");
    }

    pub(in crate::cli) fn clear(&self) {
        if self.shown_at.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1B[K");
        }
    }
}
