//! [`Live`]: figures of the running process, in memory of a fixed size: for the dashboard and for metrics.
//!
//! They are fed where records are written down, on the writer's thread, so a request pays nothing for them. What the queue
//! in front of the writer loses, they do not know; the health of the log tells how much that was.
//!
//! A *suspect* is here whoever has a score of 40 or more, or is slowed or refused: an action from `slow` on, which in mode
//! `observe` would have been. A link preview that gets a card is none. Whoever was a suspect once stays one as long as it is
//! remembered, a day at most, and all its requests count.

mod series;
mod suspects;
mod tally;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::Settings;
use super::record::AuditRecord;
use super::sink::Sink;
use crate::action::{Action, ChallengeStep, Clamp};
use crate::clock::SharedClock;
use crate::visitor::{Category, Verification};
pub use series::Step;
use series::{Class, Series};
pub use suspects::{Article, Reason, Suspect};
use suspects::{Articles, Suspects};
use tally::Tally;
pub use tally::{Count, Histogram};

/// A score from here on makes a suspect: from here on the default buckets wait or refuse.
const SUSPECT_SCORE: u8 = 40;
/// Suspects and articles of one snapshot.
const SHOWN: usize = 20;
/// What a request is called that no decision was made about: the client left first.
const UNDECIDED: &str = "none";
/// Names of the actions in the order of [`CategoryRow::by_action`].
pub const ACTIONS: [&str; 10] =
    ["allow", "tag", "slow", "card", "limit", "license", "challenge", "decoy", "block", UNDECIDED];
/// Upper bounds in seconds: of whole responses, and of judging.
const DURATIONS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const JUDGING: &[f64] =
    &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01];

/// The figures of one process.
///
/// ```
/// use deckle::audit::{Live, Settings};
/// use deckle::clock::SystemClock;
/// let live = Live::new(&Settings::default(), SystemClock::shared());
/// assert_eq!(live.snapshot().requests, 0);
/// ```
pub struct Live {
    settings: Settings,
    clock: SharedClock,
    figures: Mutex<Figures>,
}

/// All figures at one moment. Lists whose names are fixed hold all of them, zeros included.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Since when is counted, in seconds since 1970.
    pub since: u64,
    /// Requests.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Responses that did not reach their end.
    pub incomplete: u64,
    /// Requests of suspects.
    pub suspected: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Articles that suspects got, copies of the same one included.
    pub taken: u64,
    /// Requests and bytes by category.
    pub categories: Vec<CategoryRow>,
    /// What was done, and what would have been.
    pub actions: Vec<ActionRow>,
    /// States of verification.
    pub verifications: Vec<Count>,
    /// Classes of status: `2xx` and so on; `none`: nothing was answered.
    pub statuses: Vec<Count>,
    /// How far pages were rewritten.
    pub rewrites: Vec<Count>,
    /// Why not further.
    pub skips: Vec<Count>,
    /// Pages whose text a script compares, as was seen when marks had been placed.
    pub mark_late: u64,
    /// Kinds of what was asked for.
    pub kinds: Vec<Count>,
    /// What became of challenges.
    pub challenges: Vec<Count>,
    /// Why actions became weaker ones.
    pub clamps: Vec<Count>,
    /// Seconds from the arrival of a request to the end of its response.
    pub duration: Histogram,
    /// Seconds that judging took.
    pub judging: Histogram,
    /// The last hour by minutes, oldest first.
    pub hour: Vec<Step>,
    /// The last day by ten minutes, oldest first.
    pub day: Vec<Step>,
    /// Suspects that are remembered.
    pub suspects_known: usize,
    /// The weightiest of them.
    pub suspects: Vec<Suspect>,
    /// What suspects took most often.
    pub articles: Vec<Article>,
}

/// One category.
#[derive(Debug, Clone, Serialize)]
pub struct CategoryRow {
    /// Category.
    pub category: &'static str,
    /// Requests.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests by action, in the order of [`ACTIONS`].
    pub by_action: [u64; ACTIONS.len()],
}

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ActionRow {
    /// The action; `none`: nothing was decided.
    pub action: &'static str,
    /// Requests to which it was done.
    pub done: u64,
    /// Requests to which it would have been.
    pub would: u64,
}

struct Figures {
    since: u64,
    bytes: u64,
    incomplete: u64,
    suspected: u64,
    refused: u64,
    taken: u64,
    categories: Vec<CategoryRow>,
    would: Tally,
    verifications: Tally,
    statuses: Tally,
    rewrites: Tally,
    skips: Tally,
    mark_late: u64,
    kinds: Tally,
    challenges: Tally,
    clamps: Tally,
    duration: Histogram,
    judging: Histogram,
    hour: Series,
    day: Series,
    suspects: Suspects,
    articles: Articles,
}

impl Live {
    /// Figures that start at zero. `settings` says in which form addresses and paths may be shown: in that of the log.
    pub fn new(settings: &Settings, clock: SharedClock) -> Self {
        let figures = Mutex::new(Figures::new(clock.unix().as_secs()));
        Self { settings: settings.clone(), clock, figures }
    }

    /// Counts one record.
    pub fn note(&self, record: &AuditRecord) {
        let now = self.clock.unix().as_secs();
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).note(record, now, &self.settings);
    }

    /// All figures as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.unix().as_secs();
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).snapshot(now)
    }
}

impl Sink for Live {
    fn record(&self, record: Box<AuditRecord>) {
        self.note(&record);
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Figures {
    fn new(since: u64) -> Self {
        use ChallengeStep::{Early, Issued, Passed, Refused, Spared};
        let row = |category: Category| CategoryRow {
            category: category.code(),
            requests: 0,
            bytes: 0,
            by_action: [0; ACTIONS.len()],
        };
        let states = [
            Verification::Verified,
            Verification::Failed,
            Verification::Unverifiable,
            Verification::Pending,
            Verification::Error,
            Verification::None,
        ];
        Self {
            since,
            bytes: 0,
            incomplete: 0,
            suspected: 0,
            refused: 0,
            taken: 0,
            categories: Category::ALL.map(row).into(),
            would: Tally::of(ACTIONS),
            verifications: Tally::of(states.map(Verification::code)),
            statuses: Tally::of(["2xx", "3xx", "4xx", "5xx", "1xx", "none"]),
            rewrites: Tally::of(["done", "headers", "skipped", "partial", "aborted"]),
            skips: Tally::default(),
            mark_late: 0,
            kinds: Tally::default(),
            challenges: Tally::of([Issued, Early, Passed, Refused, Spared].map(ChallengeStep::code)),
            clamps: Tally::default(),
            duration: Histogram::new(DURATIONS),
            judging: Histogram::new(JUDGING),
            hour: Series::new(60, 60),
            day: Series::new(600, 144),
            suspects: Suspects::default(),
            articles: Articles::default(),
        }
    }

    fn note(&mut self, record: &AuditRecord, now: u64, settings: &Settings) {
        let refused = is_refused(record);
        let kind = record.page_kind();
        let article = kind == "article" && is_served(record) && !refused;
        let suspected = self.suspects.note(record, is_suspect(record), article, settings);
        if suspected && article {
            self.taken += 1;
            self.articles.note(record, settings);
        }
        self.suspected += u64::from(suspected);
        self.refused += u64::from(refused);
        self.bytes += record.body_size;
        self.incomplete += u64::from(!record.complete);
        self.note_category(record);
        self.note_decision(record);
        self.kinds.add(kind);
        self.note_page(record);
        self.statuses.add(status_class(record.status));
        self.duration.add(record.duration);
        let class = match (refused, suspected) {
            (true, _) => Class::Refused,
            (_, true) => Class::Suspected,
            _ if is_of_people(category(record)) => Class::People,
            _ => Class::Robots,
        };
        let time = record.time.as_secs();
        self.hour.add(time, now, class);
        self.day.add(time, now, class);
    }

    fn note_category(&mut self, record: &AuditRecord) {
        let code = category(record).code();
        let Some(row) = self.categories.iter_mut().find(|row| row.category == code) else { return };
        row.requests += 1;
        row.bytes += record.body_size;
        let action = record.decision.as_ref().map_or(UNDECIDED, |d| d.action.code());
        if let Some((_, count)) = ACTIONS.iter().zip(&mut row.by_action).find(|(name, _)| **name == action) {
            *count += 1;
        }
    }

    fn note_decision(&mut self, record: &AuditRecord) {
        if let Some(visitor) = &record.visitor {
            self.verifications.add(visitor.verification.code());
        }
        if let Some(assessment) = &record.assessment {
            self.judging.add(assessment.took);
        }
        let Some(decision) = &record.decision else { return };
        if let Some(would) = decision.would {
            self.would.add(would.code());
        }
        if let Some(step) = decision.challenge {
            self.challenges.add(step.code());
        }
        decision.clamps.iter().for_each(|clamp| self.clamps.add(clamp.code()));
    }

    fn note_page(&mut self, record: &AuditRecord) {
        let Some(page) = &record.page else { return };
        self.rewrites.add(page.rewrite);
        self.mark_late += u64::from(page.mark_late);
        if let Some(skip) = page.skip {
            self.skips.add(skip);
        }
    }

    fn snapshot(&self, now: u64) -> Snapshot {
        Snapshot {
            since: self.since,
            requests: self.categories.iter().map(|row| row.requests).sum(),
            bytes: self.bytes,
            incomplete: self.incomplete,
            suspected: self.suspected,
            refused: self.refused,
            taken: self.taken,
            categories: self.categories.clone(),
            actions: self.actions(),
            verifications: self.verifications.counts(),
            statuses: self.statuses.counts(),
            rewrites: self.rewrites.counts(),
            skips: self.skips.counts(),
            mark_late: self.mark_late,
            kinds: self.kinds.counts(),
            challenges: self.challenges.counts(),
            clamps: self.clamps.counts(),
            duration: self.duration.clone(),
            judging: self.judging.clone(),
            hour: self.hour.steps(now),
            day: self.day.steps(now),
            suspects_known: self.suspects.known(now),
            suspects: self.suspects.top(SHOWN, now),
            articles: self.articles.top(SHOWN),
        }
    }

    fn actions(&self) -> Vec<ActionRow> {
        let done = |at: usize| -> u64 { self.categories.iter().filter_map(|row| row.by_action.get(at)).sum() };
        let would = self.would.counts();
        ACTIONS
            .iter()
            .zip(would)
            .enumerate()
            .map(|(at, (action, would))| ActionRow { action, done: done(at), would: would.count })
            .collect()
    }
}

/// Without a visitor nothing is known of the agent, either.
fn category(record: &AuditRecord) -> Category {
    record.visitor.as_ref().map_or(Category::None, |v| v.agent.category)
}

fn is_of_people(category: Category) -> bool {
    matches!(category, Category::Browser | Category::Reader)
}

/// See the head of this file.
fn is_suspect(record: &AuditRecord) -> bool {
    let score = record.assessment.as_ref().map_or(0, |a| a.score);
    let action = record.decision.as_ref().map(|decision| match decision.would {
        Some(would) if decision.clamps.contains(&Clamp::Observe) => would,
        _ => decision.action,
    });
    score >= SUSPECT_SCORE || action.is_some_and(|action| action >= Action::Slow && action != Action::Card)
}

/// `limit` serves a trickle; the rest gets what it asked for not at all.
fn is_refused(record: &AuditRecord) -> bool {
    record.decision.as_ref().is_some_and(|decision| match decision.action {
        Action::Limit => decision.limit.is_some_and(|limit| limit.retry_after.is_some()),
        action => action > Action::Limit,
    })
}

/// The whole page left, or was about to: a card is its head alone.
fn is_served(record: &AuditRecord) -> bool {
    record.status == Some(200) && record.decision.as_ref().is_none_or(|d| d.action != Action::Card)
}

fn status_class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(_) => "5xx",
        None => "none",
    }
}

#[cfg(test)]
mod tests;
