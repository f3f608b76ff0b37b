//! Lines to counts: read by one thread, parsed and counted by several, in bounded memory.
//!
//! Any thread parses the next chunk of lines; each counts the visitors that are its own, out of all chunks in their order: so
//! the answer is the same with any number of threads.

mod agents;
mod ahead;
mod articles;
mod crew;
mod distinct;
mod facts;
mod feed;
mod follow;
mod known;
mod parse;
mod robots;
mod rolling;
mod round;
mod row;
mod schedule;
mod shard;
mod tails;
mod tally;
#[cfg(test)]
mod tests;
mod versions;
mod weight;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::conditions::Window;
use super::filter::Filters;
use super::input::{InputError, Source};
use super::report::Quality;
use super::simulate::{self, Events, PolicyNote, SimulatedPolicy, Simulator};
use crate::audit::reader::Skipped;
use crate::visitor::{Ranges, Verification};
use ahead::Lines;
use feed::Batch;
use round::Kept;
use shard::Bounds;

pub(crate) use agents::{AgentCache, AgentTable, KnownAgent};
pub(in crate::review) use crew::both;
pub(crate) use distinct::{BuildReady, Sketch};
pub(crate) use facts::Facts;
#[cfg(feature = "clickhouse")]
pub(crate) use feed::Feed;
pub(crate) use feed::{Problem, Reading, name};
pub(crate) use follow::{Followed, follow};
#[cfg(feature = "clickhouse")]
pub(crate) use row::Kind;
pub(crate) use row::Row;
pub(crate) use shard::Shard;
pub(crate) use versions::RobotsVersions;
pub(crate) use weight::{Amount, Requests, Weight};

/// How much is read and kept.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Threads that parse and count; at least one.
    pub(crate) jobs: usize,
    /// Bytes for all of it; most are for visitors, articles and user agents.
    pub(crate) memory: usize,
    /// Silence after which a session is over.
    pub(crate) gap: Duration,
    pub(crate) reading: Reading,
    pub(crate) filters: Arc<Filters>,
    /// What robots.txt said, as far as it was told beforehand.
    pub(crate) robots: RobotsVersions,
    /// Addresses are shown as networks.
    pub(crate) redact: bool,
    /// Spans within which visitors are counted, too.
    pub(crate) windows: Vec<Window>,
    /// Keep lines that were skipped.
    pub(crate) keep_bad: bool,
    /// Decide again under this policy.
    pub(crate) simulated: Option<Arc<SimulatedPolicy>>,
}

impl Plan {
    /// Bytes for user agents, and for visitors and articles.
    fn shares(&self) -> (usize, usize) {
        let rest = self.memory - RESERVED.min(self.memory / 3);
        let agents = rest / AGENTS;
        (agents, rest - agents)
    }

    /// A table for user agents, still empty.
    fn agents(&self) -> AgentTable {
        AgentTable::new(self.shares().0)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
}

/// A line that was skipped: source, number, reason, text.
pub(crate) type BadLine = (usize, u64, Skipped, Vec<u8>);

/// What was read.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) shards: Vec<Shard>,
    pub(crate) quality: Quality,
    pub(crate) formats: BTreeMap<&'static str, u64>,
    pub(crate) errors: Vec<InputError>,
    pub(crate) bad: Vec<BadLine>,
    bad_bytes: usize,
    pub(crate) partial: bool,
    /// Of what is followed, everything that was there at the start has been read.
    pub(crate) caught_up: bool,
    /// Of what is followed, nothing comes any more.
    pub(crate) over: bool,
    /// First and last time of all hits, those that filters have left out, too.
    pub(crate) span: Option<(Duration, Duration)>,
    /// What another policy would have done.
    pub(crate) simulation: Option<simulate::Tally>,
    /// Of the round in hand: what is decided again.
    events: Vec<Events>,
    policies: Vec<PolicyNote>,
    /// First and last number, and lines, of each writer.
    numbers: BTreeMap<String, (u64, u64, u64)>,
    lines_of: Vec<u64>,
}

/// How often a stop is looked for while nothing comes.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Chunks, or groups of parts of chunks, that are taken at once; as many wait, so that sixteen megabytes are on the way.
const ROUND: usize = 32;
/// What a reading takes apart from visitors, articles and user agents: the program, chunks on the way, tables with bounds
/// of their own.
const RESERVED: usize = 40 << 20;
/// One part in so many of the rest is for user agents.
const AGENTS: usize = 8;
/// Bad lines that are kept.
const MAX_BAD: usize = 100_000;
/// Their bytes.
const MAX_BAD_BYTES: usize = 64 << 20;
/// Notes that are kept of what is followed for long.
const MAX_NOTES: usize = 1_000;

/// Reads everything. `stop` ends it early; what was read until then is counted.
pub(crate) fn count(sources: &[Source], plan: &Plan, stop: &AtomicBool, progress: &mut dyn FnMut(Progress)) -> Counts {
    let mut counts = Counts::new(plan, sources.len());
    let simulator = counts.start_simulation(plan);
    let agents = plan.agents();
    let mut kept = Kept::new(plan.jobs, &agents);
    let mut lines = Lines::of(sources, &plan.reading);
    let mut round: Vec<Vec<Batch>> = Vec::with_capacity(ROUND);
    loop {
        let mut over = false;
        match lines.receive(LOOK_UP) {
            Ok(Ok(group)) => round.push(group),
            Ok(Err(Problem::End)) => over = true,
            Ok(Err(problem)) => counts.note_problem(problem, sources),
            // Somebody writes slowly into standard input.
            Err(RecvTimeoutError::Timeout) => {}
            // A report that lacks lines must say so.
            Err(RecvTimeoutError::Disconnected) => {
                over = true;
                counts.note_error(InputError::Fault);
            }
        }
        let stopped = stop.load(Ordering::Relaxed);
        if round.len() >= ROUND.max(plan.jobs) || ((over || stopped) && !round.is_empty()) {
            counts.add_round(&round, plan, &mut kept);
            match &simulator {
                Some(simulator) => {
                    counts.feed(simulator, round.iter().map(Vec::len).sum());
                    kept.reuse(simulator.spare());
                }
                // Nobody decides again, for want of a thread.
                None => (counts.events, counts.policies) = (Vec::new(), Vec::new()),
            }
            round.drain(..).flatten().for_each(|batch| lines.give_back(batch));
            progress(Progress { bytes: counts.quality.bytes, lines: counts.quality.lines });
        }
        counts.partial = stopped && !over;
        if over || stopped {
            break;
        }
    }
    counts.simulation = simulator.map(Simulator::finish);
    counts.finish();
    counts
}

impl Counts {
    fn new(plan: &Plan, sources: usize) -> Self {
        let Plan { jobs, gap, redact, windows, robots, .. } = plan;
        let (_, memory) = plan.shares();
        let bounds = Bounds { memory: memory / jobs, gap: *gap, redact: *redact, windows: windows.clone() };
        let ranges = Ranges::shipped();
        let shard = |_| Shard::new(bounds.clone(), Arc::clone(&ranges), robots.clone());
        Self {
            shards: (0..*jobs).map(shard).collect(),
            quality: Quality::default(),
            formats: BTreeMap::new(),
            errors: Vec::new(),
            bad: Vec::new(),
            bad_bytes: 0,
            partial: false,
            simulation: None,
            events: Vec::new(),
            policies: Vec::new(),
            caught_up: false,
            over: false,
            span: None,
            numbers: BTreeMap::new(),
            lines_of: vec![0; sources],
        }
    }

    /// The most that anybody but proven robots did within the last of each span, counted back from the last hit.
    pub(crate) fn windowed_now(&self) -> BTreeMap<Window, u64> {
        let now = self.shards.iter().map(|shard| shard.tally.last).max().unwrap_or_default();
        let visitors = self.shards.iter().filter(|shard| shard.rolls()).flat_map(|shard| &shard.visitors);
        let unproven = visitors.filter(|facts| facts.verification != Verification::Verified);
        let mut most = BTreeMap::new();
        for (window, count) in unproven.flat_map(|facts| facts.within(now)) {
            let of = most.entry(window).or_insert(0);
            *of = count.max(*of);
        }
        most
    }

    /// What robots.txt said, and when.
    pub(crate) fn robots(&self) -> Option<&RobotsVersions> {
        self.shards.first().map(|shard| &shard.obedience.versions)
    }

    /// What went wrong, in words; with it, how many articles are left out as of now.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut left_out = Sketch::wide();
        self.shards.iter().filter_map(|shard| shard.articles.left_out.as_ref()).for_each(|of| left_out.merge(of));
        let mut notes = self.quality.notes.clone();
        if let articles @ 1.. = left_out.estimate() {
            let so = "what was taken of them is not told (see --memory)";
            notes.push(format!("there was no room for about {articles} articles: {so}"));
        }
        if self.numbers.len() >= parse::MAX_NAMES {
            notes.push(format!("the log names {} writers or more: further ones were not looked at", parse::MAX_NAMES));
        }
        notes
    }

    /// What was read before it stays.
    pub(crate) fn note_error(&mut self, error: InputError) {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.quality.notes.push(format!("{error}{cause}"));
        self.errors.push(error);
    }

    /// A report without what was asked for must say so.
    fn start_simulation(&mut self, plan: &Plan) -> Option<Simulator> {
        let reason = match Simulator::start(plan.simulated.as_ref()?) {
            Ok(Some(simulator)) => return Some(simulator),
            Ok(None) => "there is no thread for it".to_owned(),
            Err(error) => error.to_string(),
        };
        self.quality.notes.push(format!("nothing was simulated: {reason}"));
        None
    }

    /// Hands over what was read in a round. The chunks behind begin later than its last one, but for what a server writes
    /// late.
    fn feed(&mut self, simulator: &Simulator, chunks: usize) {
        let first = self.events.iter().find_map(|events| events.first_of(chunks.checked_sub(1)?));
        let border = first.map(|time| time.saturating_sub(parse::DISORDER));
        simulator.feed(std::mem::take(&mut self.events), std::mem::take(&mut self.policies), border);
    }

    fn note_problem(&mut self, problem: Problem, sources: &[Source]) {
        let of = |number: usize| sources.get(number).map_or_else(String::new, name);
        match problem {
            Problem::End | Problem::CaughtUp | Problem::Found(_) => {}
            Problem::Note(_) if self.quality.notes.len() >= MAX_NOTES => {}
            Problem::Note(text) => self.quality.notes.push(text),
            Problem::Twice(number) => {
                self.quality.notes.push(format!("{} is given twice and was read once", of(number)));
            }
            Problem::Empty(number) => self.quality.notes.push(format!("no log lines in {}", of(number))),
            Problem::Unreadable(error) => self.note_error(error),
        }
    }

    /// Counts what is still open; more may follow.
    pub(crate) fn finish(&mut self) {
        self.quality.robots_missing = self.robots().map_or(0, RobotsVersions::missing) as u64;
        for shard in &mut self.shards {
            shard.tally.end_hour();
            self.quality.sampled |= shard.tally.sampled;
        }
        self.quality.instances = self.numbers.keys().cloned().collect();
        let holes = self.numbers.values().map(|(first, last, lines)| (last - first).saturating_sub(lines - 1));
        self.quality.holes = holes.fold(0, u64::saturating_add).saturating_sub(self.quality.erased);
    }
}
