//! Which marks a copy carries, with a bounded chance of naming somebody innocent.
//!
//! A copy is read once ([`Tracer::observe`]), then scored against the marks of a log ([`Tracer::score`]). A name is
//! given only when the chance that any of the marks fits this well in any test by accident is at most 1e-9; from there
//! to 0.01 the verdict is `inconclusive`; above, nobody is named at all.

mod buckets;
mod candidates;
mod joint;
mod notes;
mod observe;
mod places;
mod plane;
mod rounds;
mod score;
mod seals;
mod share;
mod sketch;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod working;

use std::sync::Arc;

pub use buckets::{BucketHit, Buckets, bucket_tail};
pub use candidates::Candidates;
pub use notes::Note;
pub use observe::{Observation, Suspect};
pub use seals::SealHit;
pub use share::Scoring;
pub use sketch::Overlap;
pub use working::Working;

use self::joint::Joint;
use super::code::{Keys, Mark};
use crate::secret::Secrets;
use crate::slot::Class;

/// At most this chance of an accident, over all marks and tests.
const TRACED: f64 = 1e-9;
const INCONCLUSIVE: f64 = 1e-2;
/// Marks of an inconclusive result.
const SHORTLIST: usize = 10;
/// Words below which nothing but a seal is read.
const FEW_WORDS: usize = 25;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The copy carries a mark of the log.
    Traced,
    /// Not enough to name anybody.
    Inconclusive,
    /// No mark.
    None,
}

impl Verdict {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Inconclusive => "inconclusive",
            Self::None => "none",
        }
    }
}

/// What can carry a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// Variation selectors at the end of paragraphs.
    Seal,
    /// Line feeds for spaces.
    Whitespace,
    /// Spellings of one character.
    Typographic,
    /// Alternatives of the author.
    Variants,
    /// Tokens in tags and addresses.
    Markup,
}

impl Channel {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Whitespace => "whitespace",
            Self::Typographic => "typographic",
            Self::Variants => "variants",
            Self::Markup => "markup",
        }
    }
}

impl From<Class> for Channel {
    fn from(class: Class) -> Self {
        match class {
            Class::White => Self::Whitespace,
            Class::Typographic => Self::Typographic,
            Class::Variant => Self::Variants,
        }
    }
}

/// What one channel says about one mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Which.
    pub channel: Channel,
    /// Places that could be compared.
    pub live: u32,
    /// Places that agree.
    pub agree: u32,
    /// The chance of one innocent mark.
    pub p: f64,
    /// Seals of this mark, or tokens; else 0.
    pub paragraphs: u32,
}

/// A mark that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The mark; by visitor, the one of the visitor's that fits best.
    pub mark: Mark,
    /// By visitor: who, as named to [`Candidates::push_of`].
    pub group: Option<u64>,
    /// The chance of one innocent mark in the test that fits best.
    pub p: f64,
    /// The chance that any mark searched fits this well in any test by accident.
    pub adjusted: f64,
    /// The mark is among those searched.
    pub in_log: bool,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

impl Hit {
    /// Seals and tokens of this mark.
    pub fn paragraphs(&self) -> u32 {
        self.evidence.iter().map(|one| one.paragraphs).sum()
    }
}

/// What one channel of the copy can say at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelReport {
    /// Which.
    pub channel: Channel,
    /// Places that can be compared.
    pub live: u32,
    /// Why there are none.
    pub dead: Option<Note>,
}

/// The result for one copy, or for several taken together.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The answer.
    pub verdict: Verdict,
    /// Marks that were searched; by visitor, visitors.
    pub candidates_searched: u64,
    /// Comparisons made with each.
    pub tests: u8,
    /// Marks, best first; empty below the bar.
    pub hits: Vec<Hit>,
    /// What each channel can say.
    pub channels: Vec<ChannelReport>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// Places that were read.
    pub slots_read: usize,
    /// Words.
    pub words: usize,
}

/// Searches copies for marks.
#[derive(Debug, Clone)]
pub struct Tracer {
    keys: Arc<[Keys]>,
}

impl Tracer {
    /// Uses every secret, retired ones included.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(Keys::new).collect() }
    }

    /// Reads a copy. Linear in its length.
    pub fn observe(&self, suspect: &Suspect<'_>) -> Observation {
        Observation::read(suspect, &self.keys)
    }

    /// The seals of a text that verify, whatever log they are in; most paragraphs first.
    pub fn seals(&self, text: &str) -> Vec<SealHit> {
        let mut seals = seals::Whole::default();
        seals.read_seals(&text::plain(text), &self.keys);
        seals.hits()
    }

    /// Searches what this tracer has observed for the marks of a log. Several observations are taken for one copy:
    /// marks stay the same over the articles of a visit, so their places add up.
    pub fn score(&self, all: &[Observation], log: &Candidates, how: &Scoring<'_>) -> Trace {
        verdict::conclude(&Joint::new(all, &self.keys), &self.keys, log, how)
    }

    /// Reads one text and searches it for the marks of a log.
    pub fn trace(&self, text: &str, log: &Candidates) -> Trace {
        let mut seen = self.observe(&Suspect { text, label: "" });
        seen.add_forms(text, false);
        self.score(&[seen], log, &Scoring::default())
    }
}
