//! What was done to a response: filled in while the body flows, read at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::encoding::Coding;
use super::outcome::Outcome;
use super::plan::Skip;
use crate::rights::robots::RobotsText;
use crate::slot::{Carriers, PlanNote};

/// How far the rewriting went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rewrite {
    /// To the end.
    Done,
    /// Only the header.
    Headers,
    /// Not at all.
    Skipped,
    /// The edits ended in mid-body; the rest went out as it came.
    Partial,
    /// The upstream's body broke off.
    Aborted,
}

impl Rewrite {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Headers => "headers",
            Self::Skipped => "skipped",
            Self::Partial => "partial",
            Self::Aborted => "aborted",
        }
    }
}

/// The facts of a [`PageReport`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageFacts {
    /// How far it went.
    pub rewrite: Rewrite,
    /// Why not further.
    pub skip: Option<Skip>,
    /// Decoded bytes read.
    pub body_in: u64,
    /// Rewritten bytes before encoding.
    pub body_out: u64,
    /// The coding of the upstream.
    pub coding_in: Option<Coding>,
    /// The coding of the answer.
    pub coding_out: Option<Coding>,
    /// Places that carry the mark.
    pub carriers: Carriers,
    /// What the log is told of the page, the same for all its copies.
    pub plan: Option<Arc<PlanNote>>,
    /// The mark of this copy, if it carries one.
    pub mark: Option<String>,
    /// How much the page may be marked.
    pub mark_level: &'static str,
    /// Why the copy carries no mark.
    pub mark_skip: Option<&'static str>,
    /// Channels that were not used here, and why: `w:css_unknown`.
    pub mark_off: Vec<&'static str>,
    /// That a script compares the text of the page was seen when marks had been placed: on the next one it is known.
    pub mark_late: bool,
    /// The mark of another copy, which the request brought along.
    pub mark_seen: Option<String>,
    /// The page was seen before: its edits come from a plan, it was not parsed.
    pub known: bool,
    /// What the upstream did wrong.
    pub error: Option<&'static str>,
    /// A robots.txt that left whole.
    pub robots: Option<RobotsText>,
    /// The guard's tag was placed.
    pub guard_placed: bool,
    /// The visible notice was placed.
    pub notice_placed: bool,
}

impl PageFacts {
    /// What happened to a page that was read, or is known.
    pub(super) fn scanned(&mut self, outcome: Outcome) {
        self.guard_placed = outcome.head_placed;
        self.notice_placed = outcome.footer_placed;
        self.carriers = outcome.carriers;
        self.mark_off = outcome.off.codes();
        self.mark_late = outcome.mark_late;
        self.plan = outcome.note;
        self.mark_skip = self.mark_skip.or(outcome.no_slots);
        let ended = outcome.ended.or(outcome.no_slots.filter(|why| *why == "bad_utf8"));
        self.skip = ended.map(Skip::from_code);
        self.rewrite = match ended {
            Some("already" | "signed" | "frameset") => Rewrite::Skipped,
            Some(_) => Rewrite::Partial,
            None => Rewrite::Done,
        };
    }
}

/// A handle on the facts; in the response's extensions behind [`ProtectLayer`](super::ProtectLayer).
#[derive(Debug, Clone)]
pub struct PageReport(Arc<Mutex<PageFacts>>);

impl PageReport {
    /// Of a response that no layer has seen.
    #[cfg(feature = "cli")]
    pub(crate) fn untouched() -> Self {
        Self::new(Rewrite::Skipped, None)
    }

    pub(crate) fn new(rewrite: Rewrite, skip: Option<Skip>) -> Self {
        Self(Arc::new(Mutex::new(PageFacts {
            rewrite,
            skip,
            body_in: 0,
            body_out: 0,
            coding_in: None,
            coding_out: None,
            carriers: Carriers::default(),
            plan: None,
            mark: None,
            mark_level: "off",
            mark_skip: None,
            mark_off: Vec::new(),
            mark_late: false,
            mark_seen: None,
            known: false,
            error: None,
            robots: None,
            guard_placed: false,
            notice_placed: false,
        })))
    }

    pub(crate) fn facts_mut(&self) -> MutexGuard<'_, PageFacts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known so far; complete once the body has ended.
    pub fn facts(&self) -> PageFacts {
        self.facts_mut().clone()
    }
}
