//! **Review**: who scraped, what they took, and how one can tell.
//!
//! Reads deckle's own log or anybody's access log and keeps one record a visitor, in bounded memory. Never in the request
//! path.
//!
//! ```
//! use deckle::review::{Review, Source};
//! let log = std::env::temp_dir().join(format!("deckle-review-doc-{}.log", std::process::id()));
//! let lines = (0..40).map(|page| format!(
//!     "203.0.113.9 - - [20/Nov/2026:10:00:{page:02} +0000] \"GET /news/a-b-c-{page} HTTP/1.1\" 200 9000 \"-\" \"Wget/1.21\"\n"
//! ));
//! std::fs::write(&log, lines.collect::<String>())?;
//! let review = Review::default().read(&[Source::Path(log.clone())]);
//! let suspect = &review.report.suspects[0];
//! assert_eq!((suspect.user_agent.as_deref(), suspect.articles), (Some("Wget/1.21"), 40));
//! assert!(suspect.reasons.iter().any(|reason| reason.contains("40 pages")));
//! assert_eq!(review.report.quality.hits, 40);
//! # std::fs::remove_file(log)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod conditions;
mod difference;
mod engine;
mod evidence;
mod explain;
mod filter;
mod findings;
mod follow;
mod input;
mod marks;
mod outcome;
mod recount;
mod render;
pub mod report;
mod reports;
#[cfg(feature = "clickhouse")]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the program pushes"))]
mod rows;
mod simulate;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use conditions::{Condition, ConditionError, Fact, Facts, Window};
#[cfg(feature = "cli")]
pub(crate) use evidence::manifest;
pub use evidence::{
    EvidenceError, PackSummary, PackVerified, Standing, Wanted, lines_stand, verify_evidence, write_pack,
};
pub use explain::{Change, ExplainError, Explanation, Note, Record, Rules, explain, is_about};
pub use filter::{FilterArgs, FilterError, Filters};
pub use follow::Live;
pub use input::{InputError, Source, files, log_lines, newest_first};
pub use marks::{LogMarks, MarkFilter, MarkReading, MarkedResponse, read_marks, responses_of};
pub use recount::{Between, GroupPoints, Score, SignalPoints};
pub use render::{Look, csv, html, markdown, terminal};
pub use report::Report;
pub use simulate::{SimulateError, SimulatedPolicy};
pub use verify::{Erased, KeySource, Segment, Signatures, Verdict, Verification, verify};

use crate::audit::integrity::Anchored;
use crate::audit::reader::{Format, LogFormatError, Reader, Skipped, Zone};
use crate::visitor::Systems;
use engine::{Counts, Plan, Reading, RobotsVersions};
use reports::Reported;

/// How logs are read, and what is kept of them.
#[derive(Debug, Clone)]
pub struct Review {
    plan: Plan,
    cost_per_gb: Option<f64>,
    systems: Systems,
    stop: Arc<AtomicBool>,
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reviewed {
    /// The answer.
    pub report: Report,
    /// The most articles, pages and requests of one visitor that is no proven robot.
    pub most_by_one: [u64; 3],
    /// The most that one visitor did within each span that was asked for.
    pub windowed: BTreeMap<Window, u64>,
    /// What could not be read, or not to its end.
    pub errors: Vec<InputError>,
    /// Lines that were skipped, if [`Review::keep_bad_lines`] asked for them.
    pub bad_lines: Vec<BadLine>,
}

/// A line that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadLine {
    /// The file.
    pub file: String,
    /// Counted from 1 on.
    pub line: u64,
    /// Why.
    pub reason: Skipped,
    /// As it stands there.
    pub text: Vec<u8>,
}

/// How far reading is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
}

impl Default for Review {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            plan: Plan {
                jobs: jobs.min(16),
                memory: 384 << 20,
                gap: Duration::from_secs(1_800),
                reading: Reading::default(),
                filters: Arc::default(),
                robots: RobotsVersions::default(),
                redact: false,
                windows: Vec::new(),
                keep_bad: false,
                simulated: None,
            },
            cost_per_gb: None,
            systems: Systems::default(),
            stop: Arc::default(),
        }
    }
}

impl Review {
    /// Threads; default: one a core, 16 at most.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.plan.jobs = jobs.clamp(1, 256);
        self
    }

    /// Bytes that reading takes, about; default 384 MiB. Beyond, the visitors that matter least are let go, and further
    /// articles are left out; the report says so.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.plan.memory = bytes.max(1 << 20);
        self
    }

    /// Silence after which a session is over; default half an hour.
    #[must_use]
    pub fn session_gap(mut self, gap: Duration) -> Self {
        self.plan.gap = gap;
        self
    }

    /// The format of all lines; default: found out for each file.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.plan.reading.format = Some(format);
        self
    }

    /// The format as the server's own configuration has it.
    ///
    /// # Errors
    /// [`LogFormatError`] names the column and what is wrong there.
    pub fn log_format(mut self, text: &str) -> Result<Self, LogFormatError> {
        self.plan.reading.custom = Some(Reader::with_log_format(text)?);
        Ok(self)
    }

    /// Times that lines give without an offset are of this zone; default: they are UTC.
    #[must_use]
    pub fn zone(mut self, zone: Zone) -> Self {
        self.plan.reading.zone = Some(zone);
        self
    }

    /// Of several addresses in a line, the one at this place from the right is the client; default: the right-most public one.
    #[must_use]
    pub fn trust_xff(mut self, hop: usize) -> Self {
        self.plan.reading.hop = hop;
        self
    }

    /// Only what these keep.
    #[must_use]
    pub fn filters(mut self, filters: Filters) -> Self {
        self.plan.filters = Arc::new(filters);
        self
    }

    /// What robots.txt said from a time on; logs of deckle hold it themselves.
    #[must_use]
    pub fn robots(mut self, text: &[u8], since: Duration) -> Self {
        self.plan.robots.add(text, since);
        self
    }

    /// What 10⁹ bytes cost.
    #[must_use]
    pub fn cost_per_gb(mut self, cost: f64) -> Self {
        self.cost_per_gb = Some(cost);
        self
    }

    /// Names who runs the networks of suspects, and their numbers where the log has none.
    #[must_use]
    pub fn systems(mut self, systems: Systems) -> Self {
        self.systems = systems;
        self
    }

    /// Show networks in place of addresses: a report to be handed on. Visitors are still told apart by their addresses.
    #[must_use]
    pub fn redact(mut self, redact: bool) -> Self {
        self.plan.redact = redact;
        self
    }

    /// Counts visitors within these spans, too ([`Condition::windows`]).
    #[must_use]
    pub fn windows(mut self, windows: Vec<Window>) -> Self {
        self.plan.windows = windows;
        self
    }

    /// Keep the lines that are skipped, 100,000 or 64 MiB at most.
    #[must_use]
    pub fn keep_bad_lines(mut self, keep: bool) -> Self {
        self.plan.keep_bad = keep;
        self
    }

    /// Decides again what was asked for, under another policy: the report then tells what would have been done.
    ///
    /// # Errors
    /// [`SimulateError`] for a policy that does not hold.
    pub fn simulate(mut self, policy: SimulatedPolicy) -> Result<Self, SimulateError> {
        let policy = Arc::new(policy);
        policy.check()?;
        self.plan.simulated = Some(policy);
        Ok(self)
    }

    /// Set to true from elsewhere, it ends the reading; the report is marked as partial.
    #[must_use]
    pub fn stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Reads files and standard input, and reports on them. What cannot be read is left out and told.
    pub fn read(&self, sources: &[Source]) -> Reviewed {
        self.read_with(sources, &mut |_| {})
    }

    /// The same, and tells how far it is.
    pub fn read_with(&self, sources: &[Source], progress: &mut dyn FnMut(Progress)) -> Reviewed {
        let (mut counts, found) = self.count(sources, progress);
        let bad_lines = bad_lines(&mut counts, &found);
        let errors = std::mem::take(&mut counts.errors);
        let reviewed = Reviewed { errors, bad_lines, ..self.reviewed(&counts, &found, sources) };
        give_back(counts);
        reviewed
    }

    /// The same, held against what another review reads: [`Report::difference`]. That is `None` if one of the two has no
    /// line of the time that its filters leave.
    pub fn read_against(
        &self,
        sources: &[Source],
        (older, before): (&Self, &[Source]),
        progress: &mut dyn FnMut(Progress),
    ) -> Reviewed {
        let (mut counts, before) = older.count(before, progress);
        let old = reports::profile(&counts, &before, older.plan.filters.bounds());
        let (mut all_errors, notes) = (std::mem::take(&mut counts.errors), counts.notes());
        let read = Progress { bytes: counts.quality.bytes, lines: counts.quality.lines };
        give_back(counts);
        let (mut counts, found) = self.count(sources, &mut |at| {
            progress(Progress { bytes: read.bytes + at.bytes, lines: read.lines + at.lines });
        });
        let new = reports::profile(&counts, &found, self.plan.filters.bounds());
        let bad_lines = bad_lines(&mut counts, &found);
        all_errors.append(&mut counts.errors);
        let mut reviewed = Reviewed { errors: all_errors, bad_lines, ..self.reviewed(&counts, &found, sources) };
        give_back(counts);
        reviewed.report.difference = old.zip(new).map(|(old, new)| difference::compare(&old, &new));
        let notes = notes.into_iter().map(|note| format!("in the older part: {note}"));
        reviewed.report.quality.notes.extend(notes);
        reviewed
    }

    /// With what stands beside the logs of deckle.
    fn plan_for(&self, sources: &[Source]) -> Plan {
        let mut plan = self.plan.clone();
        for source in sources {
            if let Source::Path(path) = source
                && path.is_dir()
            {
                plan.robots.add_history(path);
            }
        }
        plan
    }

    fn count(&self, sources: &[Source], progress: &mut dyn FnMut(Progress)) -> (Counts, Vec<Source>) {
        let plan = self.plan_for(sources);
        let (sources, errors) = expand(sources);
        let mut counts = engine::count(&sources, &plan, &self.stop, &mut |at| {
            progress(Progress { bytes: at.bytes, lines: at.lines });
        });
        for error in errors {
            counts.note_error(error);
        }
        #[cfg(feature = "clickhouse")]
        if sources.iter().any(|source| matches!(source, Source::ClickHouse(_))) {
            counts.quality.notes.push(rows::NOT_EVALUATED.to_owned());
        }
        (counts, sources)
    }

    /// The report on these counts; `given` is what was to be read.
    fn reviewed(&self, counts: &Counts, sources: &[Source], given: &[Source]) -> Reviewed {
        let about = reports::About {
            sources,
            filters: self.plan.filters.describe(),
            gap: self.plan.gap,
            cost_per_gb: self.cost_per_gb,
            simulated: self.plan.simulated.as_deref(),
            systems: self.systems.clone(),
        };
        let Reported { mut report, most_by_one, windowed } = reports::report(counts, &about);
        add_indexes(&mut report.quality.anchored, given);
        Reviewed { report, most_by_one, windowed, errors: Vec::new(), bad_lines: Vec::new() }
    }
}

fn bad_lines(counts: &mut Counts, sources: &[Source]) -> Vec<BadLine> {
    let bad = std::mem::take(&mut counts.bad).into_iter();
    let file = |source: usize| sources.get(source).map_or_else(String::new, engine::name);
    bad.map(|(source, line, reason, text)| BadLine { file: file(source), line, reason, text }).collect()
}

/// Heads that no line of a log can tell of: its ends, which stand beside it.
fn add_indexes(anchored: &mut BTreeMap<String, u64>, given: &[Source]) {
    let dirs = given.iter().filter_map(|source| match source {
        Source::Path(path) if path.is_dir() => Some(path.as_path()),
        _ => None,
    });
    for head in dirs.flat_map(Anchored::of_index) {
        *anchored.entry(head.to).or_default() += 1;
    }
}

/// To give back the memory of many visitors takes its time.
fn give_back(counts: Counts) {
    let _ = std::thread::Builder::new().spawn(move || drop(counts));
}

/// Directories to their logs.
fn expand(sources: &[Source]) -> (Vec<Source>, Vec<InputError>) {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for source in sources {
        match source {
            Source::Path(path) if Path::is_dir(path) => match files(path) {
                Ok(found) => all.extend(found.into_iter().map(Source::Path)),
                Err(error) => errors.push(error),
            },
            other => all.push(other.clone()),
        }
    }
    (all, errors)
}
