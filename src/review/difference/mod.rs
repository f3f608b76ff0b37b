//! What is different between two parts of a log, and not by chance alone.

mod poisson;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::report::{Difference, DifferenceRow, Side};

/// What chance alone brings about less often than this is told.
const LIMIT: f64 = 0.01;
/// Rows that are listed.
const ROWS: usize = 300;
/// Suspects that make a network worth a row of its own.
const MEMBERS: u64 = 2;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Requests of an agent.
    Agent,
    /// Requests of a suspect.
    Suspect,
    /// Requests of the suspects of a network.
    Network,
    /// Robots and suspects that took an article.
    Article,
    /// Requests with a status.
    Status,
    /// Requests that robots.txt forbade.
    Violations,
}

impl Kind {
    /// The stable spelling.
    fn code(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Suspect => "suspect",
            Self::Network => "network",
            Self::Article => "article",
            Self::Status => "status",
            Self::Violations => "violations",
        }
    }
}

/// A count, and of how many visitors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) number: u64,
    pub(super) visitors: u64,
}

/// One part, as counts by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Profile {
    pub(super) files: Vec<String>,
    /// First and last moment of which the log could tell.
    pub(super) first: Duration,
    pub(super) last: Duration,
    pub(super) hits: u64,
    pub(super) visitors: u64,
    /// It is known what robots.txt said.
    pub(super) evaluated: bool,
    pub(super) counts: BTreeMap<(Kind, String), Count>,
}

impl Profile {
    /// Adds to a count.
    pub(super) fn add(&mut self, kind: Kind, name: String, number: u64) {
        let count = self.counts.entry((kind, name)).or_default();
        count.number = count.number.saturating_add(number);
        count.visitors += 1;
    }

    /// A length of time that can be divided by.
    fn days(&self) -> f64 {
        self.last.saturating_sub(self.first).as_secs_f64().max(1.0) / 86_400.0
    }

    fn side(&self) -> Side {
        let time = |at: Duration| jiff::Timestamp::from_second(at.as_secs() as i64).map(|time| time.to_string());
        Side {
            files: self.files.clone(),
            first: time(self.first).unwrap_or_default(),
            last: time(self.last).unwrap_or_default(),
            days: self.days(),
            hits: self.hits,
            visitors: self.visitors,
        }
    }
}

/// Holds the newer part against the older one.
pub(super) fn compare(old: &Profile, new: &Profile) -> Difference {
    let judged = old.evaluated && new.evaluated;
    let of = |side: &Profile, key: &(Kind, String)| side.counts.get(key).copied().unwrap_or_default();
    let names: BTreeSet<&(Kind, String)> = old.counts.keys().chain(new.counts.keys()).collect();
    let pairs = names.into_iter().map(|key| (key, of(old, key), of(new, key)));
    let pairs: Vec<(&(Kind, String), Count, Count)> = pairs
        .filter(|((kind, _), old, new)| match kind {
            Kind::Violations => judged && (old.number > 0 || new.number > 0),
            Kind::Network => old.visitors.max(new.visitors) >= MEMBERS,
            _ => true,
        })
        .collect();
    let compared = pairs.len() as u64;
    let days = (old.days(), new.days());
    let mut rows: Vec<DifferenceRow> = pairs
        .into_iter()
        .filter_map(|((kind, name), old, new)| row(*kind, name, (old.number, new.number), days, compared))
        .collect();
    let order = |row: &DifferenceRow| match row.change {
        "new" => 0,
        "gone" => 1,
        _ => 2,
    };
    // The greatest counts of what is new or gone, and the least likely of all others.
    rows.sort_by(|a, b| {
        let count = |row: &DifferenceRow| if order(row) < 2 { row.old.max(row.new) } else { 0 };
        order(a)
            .cmp(&order(b))
            .then(count(b).cmp(&count(a)))
            .then(a.p.total_cmp(&b.p))
            .then_with(|| (a.kind, &a.name).cmp(&(b.kind, &b.name)))
    });
    let left_out = rows.len().saturating_sub(ROWS) as u64;
    rows.truncate(ROWS);
    Difference { old: old.side(), new: new.side(), compared, limit: LIMIT, violations_compared: judged, left_out, rows }
}

/// `None`: chance may have done it.
fn row(kind: Kind, name: &str, (old, new): (u64, u64), days: (f64, f64), compared: u64) -> Option<DifferenceRow> {
    let p = poisson::p_value((old, days.0), (new, days.1));
    let (old_per_day, new_per_day) = (old as f64 / days.0, new as f64 / days.1);
    (p < LIMIT).then(|| DifferenceRow {
        kind: kind.code(),
        name: name.to_owned(),
        change: match (old, new) {
            (0, _) => "new",
            (_, 0) => "gone",
            _ if new_per_day > old_per_day => "more",
            _ => "fewer",
        },
        old,
        new,
        old_per_day,
        new_per_day,
        ratio: (old > 0).then(|| new_per_day / old_per_day),
        p,
        p_corrected: (p * compared as f64).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(days: u64, counts: &[(Kind, &str, u64)]) -> Profile {
        let mut profile = Profile { last: Duration::from_secs(days * 86_400), evaluated: true, ..Profile::default() };
        for (kind, name, number) in counts {
            profile.add(*kind, (*name).to_owned(), *number);
        }
        profile
    }

    #[test]
    fn what_chance_may_have_done_is_not_listed() {
        let old = profile(
            7,
            &[
                (Kind::Agent, "steady", 700),
                (Kind::Agent, "gone", 80),
                (Kind::Agent, "seldom", 3),
                (Kind::Agent, "less", 7_000),
                (Kind::Status, "404", 70),
            ],
        );
        let new = profile(
            1,
            &[
                (Kind::Agent, "steady", 108),
                (Kind::Agent, "new", 40),
                (Kind::Agent, "once", 1),
                (Kind::Agent, "less", 500),
                (Kind::Status, "404", 60),
                (Kind::Suspect, "bold", 400),
            ],
        );
        let found = compare(&old, &new);
        let rows: Vec<(&str, &str, &str)> =
            found.rows.iter().map(|row| (row.kind, row.name.as_str(), row.change)).collect();
        assert_eq!(
            rows,
            [
                ("suspect", "bold", "new"),
                ("agent", "new", "new"),
                ("agent", "gone", "gone"),
                ("agent", "less", "fewer"),
                ("status", "404", "more"),
            ]
        );
        assert_eq!((found.compared, found.left_out), (8, 0));
        let more = &found.rows[4];
        assert_eq!((more.old, more.new, more.ratio), (70, 60, Some(6.0)));
        assert!((more.old_per_day - 10.0).abs() < 1e-9 && more.p < more.p_corrected, "{more:?}");
    }

    #[test]
    fn what_was_judged_on_one_side_alone_is_not_compared() {
        let (old, mut new) = (profile(1, &[]), profile(1, &[(Kind::Violations, "GPTBot", 90)]));
        assert_eq!(compare(&old, &new).rows.len(), 1);
        new.evaluated = false;
        let found = compare(&old, &new);
        assert_eq!((found.rows.len(), found.violations_compared), (0, false));
    }

    #[test]
    fn a_network_of_one_suspect_is_that_suspect() {
        let (old, mut new) = (profile(1, &[]), profile(1, &[(Kind::Network, "203.0.113.0/24", 50)]));
        assert_eq!(compare(&old, &new).rows.len(), 0);
        new.add(Kind::Network, "203.0.113.0/24".to_owned(), 50);
        assert_eq!(compare(&old, &new).rows[0].new, 100);
    }

    #[test]
    fn nothing_against_nothing_is_no_difference() {
        let found = compare(&Profile::default(), &Profile::default());
        assert!(found.rows.is_empty() && found.compared == 0);
    }
}
