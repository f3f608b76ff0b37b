//! The section that holds two parts of a log against each other.

use serde::Serialize;

/// What is different between two parts of a log, and not by chance alone.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The older part.
    pub old: Side,
    /// The newer part: the one that the report is about.
    pub new: Side,
    /// Names that were held against each other.
    pub compared: u64,
    /// Listed is what chance alone brings about less often than this.
    pub limit: f64,
    /// False: what robots.txt said is not known for both parts.
    pub violations_compared: bool,
    /// Rows beyond those that are listed.
    pub left_out: u64,
    /// What is new, then what is gone, each with the most first; then all others, the least likely first.
    pub rows: Vec<DifferenceRow>,
}

/// One of the parts.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Side {
    /// Files.
    pub files: Vec<String>,
    /// First moment of which it tells, RFC 3339.
    pub first: String,
    /// Last moment of which it tells, RFC 3339.
    pub last: String,
    /// The time between.
    pub days: f64,
    /// Requests.
    pub hits: u64,
    /// Visitors.
    pub visitors: u64,
}

/// One name and its counts.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DifferenceRow {
    /// What is counted: `agent`, `suspect`, `network`, `article`, `status` or `violations`.
    pub kind: &'static str,
    /// A name for people.
    pub name: String,
    /// `new`, `gone`, `more` or `fewer`.
    pub change: &'static str,
    /// The count in the older part.
    pub old: u64,
    /// The count in the newer part.
    pub new: u64,
    /// The same a day.
    pub old_per_day: f64,
    /// The same a day.
    pub new_per_day: f64,
    /// The newer rate ÷ the older one; none of what is new.
    pub ratio: Option<f64>,
    /// How often chance alone brings about counts so far apart.
    pub p: f64,
    /// `p` × `compared`, 1 at most: how many such rows chance alone makes among all of them.
    pub p_corrected: f64,
}
