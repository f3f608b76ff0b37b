//! **Review**: who scraped, what they took, and how one can tell.
//!
//! Reads deckle's own log or anybody's access log, line by line, and keeps one record a visitor. Never in the request
//! path.
//!
//! ```
//! use deckle::review::Review;
//! let mut review = Review::new();
//! for page in 0..40 {
//!     let line = format!("203.0.113.9 - - [20/Nov/2026:10:00:{page:02} +0000] \"GET /news/a-b-c-{page} HTTP/1.1\" 200 9000 \"-\" \"Wget/1.21\"");
//!     review.line(line.as_bytes());
//! }
//! let report = review.report();
//! assert_eq!(report.suspects[0].user_agent.as_deref(), Some("Wget/1.21"));
//! assert_eq!(report.suspects[0].articles, 40);
//! assert!(report.suspects[0].reasons.iter().any(|r| r.contains("40 pages")));
//! assert_eq!(report.quality.hits, 40);
//! ```

mod explain;
mod findings;
mod input;
mod outcome;
mod recount;
mod render;
mod reports;
mod sessions;

pub use explain::{Change, ExplainError, Explanation, Note, Record, Rules, explain, is_about};
pub use input::{InputError, Source, log_lines, newest_first, read_into};
pub use recount::{Between, GroupPoints, Score, SignalPoints};
pub use render::terminal;
pub use reports::{AgentRow, ArticleRow, Quality, Report, Suspect, Verdict};

use crate::audit::reader::{Line, read_line};
use sessions::Visitors;

/// Reads lines and makes a report of them.
#[derive(Debug, Default)]
pub struct Review {
    visitors: Visitors,
    quality: Quality,
}

impl Review {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one line, without its line feed.
    pub fn line(&mut self, line: &[u8]) {
        self.quality.lines += 1;
        match read_line(line) {
            Line::Hit(mut hit) => {
                self.quality.hits += 1;
                sessions::shorten(&mut hit);
                self.visitors.add(&hit);
            }
            Line::Other(note) => {
                self.quality.other += 1;
                self.quality.dropped = self.quality.dropped.saturating_add(note.dropped);
            }
            Line::Empty => self.quality.empty += 1,
            Line::Skipped(reason) => *self.quality.skipped.entry(reason.code()).or_default() += 1,
        }
    }

    /// A last line without a line feed: cut off by a crash if it belongs to deckle's log.
    pub fn last_line(&mut self, line: &[u8]) {
        let is_own = line.first() == Some(&b'{');
        if is_own && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err() {
            self.quality.lines += 1;
            *self.quality.skipped.entry(crate::audit::reader::Skipped::Torn.code()).or_default() += 1;
        } else {
            self.line(line);
        }
    }

    /// The report on what was read so far.
    pub fn report(&self) -> Report {
        reports::report(&self.visitors, &self.quality)
    }
}
