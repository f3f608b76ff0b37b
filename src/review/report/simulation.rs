//! What another policy would have done.

use serde::Serialize;

/// What another policy would have done with the requests of this report.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Simulation {
    /// Of the file: `observe` or `enforce`. What is simulated is what `enforce` does.
    pub mode: &'static str,
    /// Requests that were decided again.
    pub requests: u64,
    /// Of these, those with the same action as before.
    pub unchanged: u64,
    /// Lines about which nothing was decided, then and now.
    pub undecided: u64,
    /// Requests of deckle's own log.
    pub own: u64,
    /// Of these, those for which the policy of the time, as the log holds it, leads to what the line says.
    pub reproduced: u64,
    /// Requests by what was done and what would be done; pairs without any are left out.
    pub matrix: Vec<MatrixCell>,
    /// Visitors that would be slowed, refused or challenged, and were not.
    pub affected: AffectedVisitors,
    /// Bytes that were sent and would not be.
    pub bytes_saved: u64,
    /// Signals for which the log has no evidence: the score is a lower bound.
    pub unavailable: Vec<UnavailableRow>,
    /// What else to know about the numbers.
    pub notes: Vec<String>,
}

/// Requests that went from one action to another.
#[derive(Debug, Clone, Serialize)]
pub struct MatrixCell {
    /// What was done, or would have been done in mode `observe`.
    pub current: &'static str,
    /// What would be done.
    pub simulated: &'static str,
    /// Requests.
    pub requests: u64,
}

/// The newly affected, in three classes.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct AffectedVisitors {
    /// Robots that are what they say.
    pub verified: AffectedClass,
    /// Browsers and reading aids with two pieces of evidence or more for a person: these are the faults.
    pub human: AffectedClass,
    /// Everybody else.
    pub suspected: AffectedClass,
}

/// One class.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct AffectedClass {
    /// Visitors.
    pub visitors: u64,
    /// Their requests that would be slowed, refused or challenged, and were not.
    pub requests: u64,
    /// Those with the most requests.
    pub rows: Vec<AffectedRow>,
}

/// One visitor.
#[derive(Debug, Clone, Serialize)]
pub struct AffectedRow {
    /// Pseudonym, or address and user agent.
    pub visitor: String,
    /// A name for people.
    pub name: String,
    /// Requests that would be slowed, refused or challenged, and were not.
    pub requests: u64,
    /// Of so many.
    pub hits: u64,
    /// The strongest action that it would meet.
    pub action: &'static str,
    /// What decides that, as the configuration would say it.
    pub rule: String,
    /// Bytes that it would not get.
    pub bytes_saved: u64,
    /// What speaks for a person, or for a scraper.
    pub reasons: Vec<String>,
}

/// A signal for which the log has no evidence.
#[derive(Debug, Clone, Serialize)]
pub struct UnavailableRow {
    /// Its code.
    pub signal: &'static str,
    /// Its group.
    pub group: &'static str,
    /// What it counts under the policy that is tried.
    pub points: u8,
}
