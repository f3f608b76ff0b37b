//! The results: a table for people, JSON for programs, Markdown for the documentation.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::expect::{Bound, Metric};
use crate::profile::{Profile, Who};
use crate::tally::{Tally, strength};

/// Of the normal distribution, for 95 % on both sides.
const Z: f64 = 1.96;
const COLUMNS: [&str; 9] =
    ["profile", "who", "requests", "disturbed", "first", "articles", "challenges", "action", "bounds"];
const WIDTHS: [usize; 9] = [64, 7, 15, 11, 11, 13, 10, 21, 0];
/// Reasons of one profile that are shown.
const REASONS: usize = 3;

/// One profile and what came of it.
#[derive(Debug)]
pub(crate) struct Row<'p> {
    pub(crate) profile: &'p Profile,
    pub(crate) outcome: Outcome,
}

/// What came of a profile.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Why it was not run.
    Skipped(String),
    /// One tally a seed.
    Ran(Vec<Tally>),
}

impl Row<'_> {
    pub(crate) fn runs_in(&self, world: &str) -> bool {
        self.profile.world == world && matches!(self.outcome, Outcome::Ran(_))
    }

    pub(crate) fn push(&mut self, tally: Tally) {
        if let Outcome::Ran(tallies) = &mut self.outcome {
            tallies.push(tally);
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.broken().is_empty()
    }

    fn tallies(&self) -> &[Tally] {
        match &self.outcome {
            Outcome::Skipped(_) => &[],
            Outcome::Ran(tallies) => tallies,
        }
    }

    fn values(&self, metric: Metric) -> Vec<u64> {
        let mut values: Vec<u64> = self.tallies().iter().map(|tally| tally.value(metric)).collect();
        values.sort_unstable();
        values
    }

    fn broken(&self) -> Vec<Bound> {
        let bounds = self.profile.expect.bounds.iter().copied();
        bounds.filter(|bound| self.values(bound.metric).iter().any(|value| !bound.allows(*value))).collect()
    }

    /// The most of all seeds, and the middle.
    fn most_and_median(&self, metric: Metric) -> String {
        let values = self.values(metric);
        match (values.last(), values.get(values.len() / 2)) {
            (Some(most), Some(median)) => format!("{most} ({median})"),
            _ => String::new(),
        }
    }

    fn worst(&self) -> &'static str {
        self.tallies().iter().map(|tally| tally.worst).max_by_key(|action| strength(action)).unwrap_or_default()
    }

    fn verdict(&self) -> String {
        if let Outcome::Skipped(why) = &self.outcome {
            return format!("skipped: {why}");
        }
        let broken = self.broken();
        if !broken.is_empty() {
            let show = |bound: &Bound| format!("{bound}, but {:?}", self.values(bound.metric));
            return format!("BROKEN: {}", broken.iter().map(show).collect::<Vec<_>>().join("; "));
        }
        let bounds: Vec<String> = self.profile.expect.bounds.iter().map(ToString::to_string).collect();
        if bounds.is_empty() { "published".to_owned() } else { format!("ok: {}", bounds.join(", ")) }
    }

    fn cells(&self) -> [String; 9] {
        let profile = self.profile;
        let mark = if profile.stand_in { " (stand-in)" } else { "" };
        let name = format!("{} {}{mark}", profile.id, profile.name);
        let who = profile.who.code().to_owned();
        let action = format!("{} / {}", profile.expect.worst, self.worst());
        let requests: Vec<u64> = self.tallies().iter().map(|tally| tally.requests).collect();
        let requests = requests.iter().max().map(ToString::to_string).unwrap_or_default();
        let figure = |metric| self.most_and_median(metric);
        let scrapes = |metric| if profile.who == Who::Reader { String::new() } else { figure(metric) };
        [
            name,
            who,
            requests,
            figure(Metric::Disturbed),
            scrapes(Metric::First),
            scrapes(Metric::Articles),
            figure(Metric::Challenges),
            action,
            self.verdict(),
        ]
    }

    /// What disturbed it most, as the log has it.
    fn reasons(&self) -> Vec<(String, u64)> {
        let mut sums = std::collections::BTreeMap::<&str, u64>::new();
        for (reason, count) in self.tallies().iter().flat_map(|tally| &tally.reasons) {
            *sums.entry(reason).or_default() += count;
        }
        let mut sums: Vec<(String, u64)> = sums.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums.truncate(REASONS);
        sums
    }
}

/// The sums over all rows.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    disturbed: u64,
    sessions: u64,
    challenges: u64,
    /// Articles that scrapers got, under each seed.
    leaked: Vec<u64>,
}

impl Totals {
    fn of(rows: &[Row<'_>]) -> Self {
        let mut totals = Self::default();
        for row in rows {
            for (seed, tally) in row.tallies().iter().enumerate() {
                if row.profile.who == Who::Reader {
                    totals.requests += tally.requests;
                    totals.disturbed += tally.disturbed;
                    totals.sessions += tally.sessions;
                    totals.challenges += tally.challenges;
                }
                totals.leaked.resize(totals.leaked.len().max(seed + 1), 0);
                if let Some(leaked) = totals.leaked.get_mut(seed).filter(|_| row.profile.who == Who::Scraper) {
                    *leaked += tally.articles;
                }
            }
        }
        totals.leaked.sort_unstable();
        totals
    }

    fn lines(&self) -> Vec<String> {
        let share = percent(self.disturbed as f64 / (self.requests.max(1)) as f64);
        let upper = percent(wilson(self.disturbed, self.requests));
        let challenges = self.challenges as f64 * 10_000.0 / self.sessions.max(1) as f64;
        let leaked = self.leaked.get(self.leaked.len() / 2).copied().unwrap_or_default();
        vec![
            format!("Requests of readers that were disturbed: {} of {}, {share}.", self.disturbed, self.requests),
            format!("With a confidence of 95 % (Wilson), the share is below {upper}."),
            format!("Challenges in 10,000 sessions of readers: {challenges:.1}."),
            format!("Articles that all scrapers got together: {leaked} (median of the seeds)."),
        ]
    }
}

/// The upper end of Wilson's interval.
fn wilson(hits: u64, all: u64) -> f64 {
    if all == 0 {
        return 1.0;
    }
    let n = all as f64;
    let share = hits as f64 / n;
    let middle = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    (middle + spread) / (1.0 + Z * Z / n)
}

fn percent(share: f64) -> String {
    format!("{:.5} %", share * 100.0)
}

/// For a terminal.
pub(crate) fn text(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    let mut line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", padded.join(" ").trim_end());
    };
    line(&COLUMNS.map(str::to_owned));
    for row in rows {
        line(&row.cells());
        if !row.holds() {
            for (reason, count) in row.reasons() {
                line(&[format!("    {count} x {reason}")]);
            }
        }
    }
    line(&["\nFigures: the most of all seeds (the median). Action: expected / seen.".to_owned()]);
    for total in Totals::of(rows).lines() {
        line(&[total]);
    }
    out
}

/// For `docs/gauntlet.md`.
pub(crate) fn markdown(rows: &[Row<'_>]) -> String {
    let mut out = "# Gauntlet\n\n".to_owned();
    out.push_str("Made by `scripts/gauntlet --markdown docs/gauntlet.md`: the readers and scrapers of\n");
    out.push_str("`bench/gauntlet/profiles/` against deckle in mode `enforce`.\n");
    out.push_str(
        "Time is virtual and nothing is sent: \"stand-in\" is a program whose headers, pace and ways are imitated.\n\n",
    );
    out.push_str(
        "**What this cannot show.** A patient scraper with a real browser at the pace of a reader (G41), or one\n",
    );
    out.push_str(
        "that is spread over many homes (G45, G46), looks like readers, and gets what readers get. Nothing here\n",
    );
    out.push_str("tells them apart; the marks in the copies, and `deckle trace`, are the answer to those.\n\n");
    out.push_str("*disturbed*: requests that were slowed, limited, challenged, refused or cut down to a card. *first*: articles that had come before\n");
    out.push_str("the first refusal or challenge. A reader's row counts every request, a scraper's articles are those it got whole.\n");
    out.push_str("Figures: the most of all seeds (the median). Action: expected / seen.\n\n");
    for total in Totals::of(rows).lines() {
        let _ = writeln!(out, "- {total}");
    }
    let _ = writeln!(out, "\n| {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for row in rows {
        let cells = row.cells().map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for profile in rows.iter().map(|row| row.profile).filter(|profile| !profile.note.is_empty()) {
        let _ = writeln!(out, "- {}: {}", profile.id, profile.note);
    }
    out
}

/// For programs.
pub(crate) fn json(rows: &[Row<'_>]) -> Value {
    let profiles: Vec<Value> = rows
        .iter()
        .map(|row| {
            let profile = row.profile;
            let skipped = match &row.outcome {
                Outcome::Skipped(why) => Some(why),
                Outcome::Ran(_) => None,
            };
            let bounds: Vec<Value> = profile
                .expect
                .bounds
                .iter()
                .map(|bound| {
                    let values = row.values(bound.metric);
                    let holds = values.iter().all(|value| bound.allows(*value));
                    json!({ "bound": bound.to_string(), "holds": holds, "values": values })
                })
                .collect();
            json!({
                "id": profile.id, "name": profile.name, "who": profile.who.code(), "world": profile.world,
                "stand_in": profile.stand_in, "clients": profile.clients, "note": profile.note, "skipped": skipped,
                "expected": profile.expect.worst, "seen": row.worst(), "bounds": bounds, "seeds": row.tallies(),
            })
        })
        .collect();
    let totals = Totals::of(rows);
    json!({
        "schema_version": 1,
        "holds": rows.iter().all(Row::holds),
        "readers": {
            "requests": totals.requests, "disturbed": totals.disturbed, "sessions": totals.sessions,
            "challenges": totals.challenges, "disturbed_share_below": wilson(totals.disturbed, totals.requests),
        },
        "articles_to_scrapers": totals.leaked,
        "profiles": profiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hit_in_many_still_leaves_a_doubt() {
        assert!((wilson(0, 1_000) - 0.003_827).abs() < 1e-5);
        assert!((wilson(0, 0) - 1.0).abs() < f64::EPSILON);
        assert!(wilson(5, 100) > 0.05);
    }
}
