//! [`Document`]: all that the dashboard shows, the same for the page, for the script and for metrics.

use std::time::Duration;

use serde::Serialize;

use super::Sources;
use crate::audit::clickhouse::Health;
use crate::audit::{Count, Sinks, Snapshot};
use crate::page::PlanCounts;

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    /// The answer in a sentence or two.
    pub(super) verdict: String,
    /// Of deckle.
    pub(super) version: &'static str,
    /// The site behind can be reached.
    pub(super) ready: bool,
    /// What the records say.
    pub(super) figures: Snapshot,
    /// How the log does; none: it is switched off, and then there are no figures, either.
    pub(super) log: Option<LogHealth>,
    /// Robots that wait to be checked by DNS; none: that is switched off.
    pub(super) lookups: Option<Lookups>,
    /// Whether readers are disturbed.
    pub(super) safety: Safety,
    /// Bytes of the tables of visitors.
    pub(super) state_bytes: usize,
    /// Connections that were closed because their address had as many as it may.
    pub(super) refused_connections: u64,
    /// What plans of known pages do.
    pub(super) plans: PlanCounts,
}

/// How the log does: the main sink, and what the others lost.
#[derive(Debug, Serialize)]
pub(super) struct LogHealth {
    /// Records written.
    pub(super) written: u64,
    /// Bytes written.
    pub(super) bytes: u64,
    /// Records that wait.
    pub(super) queued: u64,
    /// Records that `audit.sample_assets` left out.
    pub(super) sampled_out: u64,
    /// Records lost, by reason; those of other sinks by the name of the sink.
    pub(super) dropped: Vec<Count>,
    /// Nothing is written at the moment.
    pub(super) degraded: bool,
    /// How sending to ClickHouse does; none: nothing is sent there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clickhouse: Option<ClickHouseHealth>,
}

/// How sending to ClickHouse does.
#[derive(Debug, Serialize)]
pub(super) struct ClickHouseHealth {
    /// Rows that it has acknowledged.
    pub(super) rows: u64,
    /// Batches that it did not take at once.
    pub(super) failures: u64,
    /// Lines that were deleted before they were sent, or whose segment could not be opened.
    pub(super) lost: u64,
    /// Lines that could not be read.
    pub(super) skipped: u64,
    /// Seconds that the oldest record has waited.
    pub(super) lag: f64,
    /// The table does not fit: nothing is sent any more.
    pub(super) stopped: bool,
}

/// The queue of checks by DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(not(feature = "verify-dns"), allow(dead_code, reason = "nothing waits without that feature"))]
pub(crate) struct Lookups {
    /// Pairs of robot and address that wait.
    pub(crate) queued: usize,
    /// Pairs that found no place; they are asked for again.
    pub(crate) dropped: u64,
}

/// What the safety valve sees: networks of readers in good standing within the last ten minutes.
#[derive(Debug, Serialize)]
pub(super) struct Safety {
    /// Networks.
    pub(super) networks: u32,
    /// Those that met a wait or a refusal.
    pub(super) disturbed: u32,
    /// Their share, 0–1.
    pub(super) share: f64,
    /// Everything is served, because they were too many.
    pub(super) open: bool,
}

impl Document {
    pub(super) fn now(sources: &Sources) -> Self {
        // The log before the figures: a record is noted before it is written, so no document shows more written than counted.
        let log = sources.sinks.as_deref().and_then(|sinks| log_health(sinks, sources.clock.unix()));
        let figures = sources.live.snapshot();
        Self {
            verdict: verdict(&figures),
            version: env!("CARGO_PKG_VERSION"),
            ready: sources.is_ready(),
            log,
            lookups: sources.lookups.as_ref().and_then(|lookups| lookups()),
            safety: safety(sources),
            state_bytes: sources.state.bytes(),
            refused_connections: sources.admission.refused(),
            plans: sources.plans.counts(),
            figures,
        }
    }
}

/// `None`: there is no sink that could fail.
fn log_health(sinks: &Sinks, now: Duration) -> Option<LogHealth> {
    let mut all = sinks.stats();
    let (_, main) = all.next()?;
    let reason = |(name, count): (&'static str, u64)| Count { name: name.trim_start_matches("dropped."), count };
    let others = all.map(|(kind, stats)| Count { name: kind.code(), count: stats.drops().sum() });
    Some(LogHealth {
        written: main.written(),
        bytes: main.bytes(),
        queued: main.queued(),
        sampled_out: main.sampled_out(),
        dropped: main.drops().by_reason().into_iter().map(reason).chain(others).collect(),
        degraded: main.is_degraded(),
        clickhouse: sinks.file().and_then(|file| file.clickhouse(now)).map(sent),
    })
}

fn sent(health: Health) -> ClickHouseHealth {
    ClickHouseHealth {
        rows: health.rows,
        failures: health.failures,
        lost: health.lost,
        skipped: health.skipped,
        lag: health.lag.as_secs_f64(),
        stopped: health.stopped,
    }
}

fn safety(sources: &Sources) -> Safety {
    let state = &sources.state;
    let (networks, disturbed) = state.valve.disturbed(state.now());
    let share = f64::from(disturbed) / f64::from(networks.max(1));
    Safety { networks, disturbed, share, open: state.valve.is_open(state.now()) }
}

fn verdict(figures: &Snapshot) -> String {
    if figures.requests == 0 {
        return "No requests yet.".to_owned();
    }
    let requests = count(figures.requests, "request", "requests");
    if figures.suspects_known == 0 {
        return format!("{requests}, and nobody is suspected.");
    }
    let suspects = count(figures.suspects_known as u64, "visitor is suspected", "visitors are suspected");
    let taken = count(figures.taken, "copy of an article", "copies of articles");
    let refused = match figures.refused {
        0 => "Nothing was refused.".to_owned(),
        refused => format!("{} refused.", count(refused, "request was", "requests were")),
    };
    format!("{requests}; {suspects}, and got {taken}. {refused}")
}

fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", super::page::number(value), if value == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Live, Settings};
    use crate::clock::ManualClock;

    #[test]
    fn the_verdict_is_a_sentence() {
        let mut figures = Live::new(&Settings::default(), ManualClock::at(0)).snapshot();
        assert_eq!(verdict(&figures), "No requests yet.");
        figures.requests = 1;
        assert_eq!(verdict(&figures), "1 request, and nobody is suspected.");
        (figures.requests, figures.suspects_known, figures.taken) = (2_500, 1, 40);
        let said = "2\u{202F}500 requests; 1 visitor is suspected, and got 40 copies of articles. Nothing was refused.";
        assert_eq!(verdict(&figures), said);
        figures.refused = 7;
        assert!(verdict(&figures).ends_with("7 requests were refused."));
    }
}
