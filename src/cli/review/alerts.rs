//! Conditions that begin to hold.

use std::fmt;
use std::time::Duration;

use super::command::Runner;
use crate::cli::output;
use crate::clock::{Clock, SystemClock};
use crate::review::{Condition, Facts, Report};

/// A condition is told again only if it has not held for so long.
const QUIET: Duration = Duration::from_secs(60);

/// A condition has begun to hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    /// RFC 3339.
    pub(super) time: String,
    /// As it was typed.
    pub(super) condition: String,
    /// What was found.
    pub(super) value: f64,
    /// The worst suspect, for people; empty if there is none.
    pub(super) visitor: String,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds: {}", self.condition, self.value)?;
        if self.visitor.is_empty() { Ok(()) } else { write!(f, "; worst visitor: {}", self.visitor) }
    }
}

impl Alert {
    /// For programs, in one line.
    pub(super) fn json(&self) -> String {
        let Self { time, condition, value, visitor } = self;
        let text = self.to_string();
        let json = serde_json::json!({
            "time": time, "condition": condition, "value": value, "visitor": visitor, "text": text,
        });
        format!("{json}\n")
    }
}

/// One condition over time.
struct Watched<'c> {
    condition: &'c Condition,
    holds: bool,
    /// When it held no longer.
    ended: Option<Duration>,
}

impl Watched<'_> {
    /// True: it begins to hold, and not after a short pause.
    fn begins(&mut self, holds: bool, now: Duration) -> bool {
        let was = std::mem::replace(&mut self.holds, holds);
        if was && !holds {
            self.ended = Some(now);
        }
        !was && holds && self.ended.is_none_or(|ended| now.saturating_sub(ended) >= QUIET)
    }
}

/// All conditions, and the command that is run when one begins to hold.
pub(super) struct Alerts<'c> {
    watched: Vec<Watched<'c>>,
    runner: Option<Runner>,
    any: bool,
}

impl<'c> Alerts<'c> {
    pub(super) fn new(conditions: &'c [Condition], command: Option<&str>) -> Self {
        let watched = conditions.iter().map(|condition| Watched { condition, holds: false, ended: None });
        let runner = command.map(|command| Runner::new(command, conditions.len()));
        Self { watched: watched.collect(), runner, any: false }
    }

    /// What begins to hold now; the command is started for it. `now` is a time that never steps back.
    pub(super) fn look(&mut self, now: Duration, facts: &Facts, report: &Report) -> Vec<Alert> {
        let mut begun = Vec::new();
        for (at, watched) in self.watched.iter_mut().enumerate() {
            if !watched.begins(watched.condition.met(facts), now) {
                continue;
            }
            let alert = Alert {
                time: time(),
                condition: watched.condition.to_string(),
                value: watched.condition.value(facts).unwrap_or(0.0),
                visitor: worst(report),
            };
            if let Some(runner) = &mut self.runner {
                runner.start(at, &alert);
            }
            begun.push(alert);
        }
        self.any |= !begun.is_empty();
        begun
    }

    /// Some condition has held.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Until all commands have ended.
    pub(super) fn wait(&mut self) {
        if let Some(runner) = &mut self.runner {
            runner.wait();
        }
    }
}

fn time() -> String {
    let now = SystemClock::new().unix().as_secs();
    jiff::Timestamp::from_second(now as i64).map(|time| time.to_string()).unwrap_or_default()
}

/// The name of the worst suspect, in one line.
fn worst(report: &Report) -> String {
    let Some(suspect) = report.suspects.first() else { return String::new() };
    let fake = if suspect.verification == "failed" { "fake " } else { "" };
    let name = suspect.agent.as_deref().or(suspect.user_agent.as_deref()).unwrap_or("no user agent");
    output::clean(&format!("{fake}{name} at {}", suspect.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_told_when_it_begins_to_hold_and_not_after_a_short_pause() {
        let condition = "fake_bots>0".parse().unwrap();
        let mut watched = Watched { condition: &condition, holds: false, ended: None };
        let rows = [
            (0, false, false),
            (1, true, true),
            // However long it holds.
            (500, true, false),
            (501, false, false),
            (530, true, false),
            (600, true, false),
            (601, false, false),
            (640, false, false),
            (661, true, true),
        ];
        for (second, holds, told) in rows {
            assert_eq!(watched.begins(holds, Duration::from_secs(second)), told, "{second}");
        }
    }
}
