//! Lines to counts: read by one thread, parsed and counted by several, in bounded memory.
//!
//! Each thread parses a chunk of lines; when all have, each counts the visitors that are its own out of all of these chunks,
//! in their order: so the answer is the same with any number of threads.

mod agents;
mod articles;
mod distinct;
mod facts;
mod feed;
mod parse;
mod robots;
mod rolling;
mod row;
mod shard;
mod tally;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::conditions::Window;
use super::filter::Filters;
use super::input::{InputError, Source};
use super::report::Quality;
use crate::audit::reader::{Format, Skipped};
use crate::visitor::{Ranges, Verification};
use feed::Batch;
use parse::Parsed;
use shard::Bounds;

pub(crate) use agents::{AgentCache, AgentTable, KnownAgent};
pub(crate) use distinct::{BuildReady, Sketch};
pub(crate) use facts::Facts;
pub(crate) use feed::{Feed, Problem, Reading, name};
pub(crate) use robots::RobotsVersions;
#[cfg(feature = "clickhouse")]
pub(crate) use row::{Kind, Row};
pub(crate) use shard::Shard;

/// How much is read and kept.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Threads that parse and count; at least one.
    pub(crate) jobs: usize,
    /// Bytes for all visitors.
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
    pub(crate) partial: bool,
    /// First and last number, and lines, of each writer.
    numbers: BTreeMap<String, (u64, u64, u64)>,
    lines_of: Vec<u64>,
}

/// How often a stop is looked for while nothing comes.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Chunks that are taken at once.
const ROUND: usize = 64;
/// Bad lines that are kept.
const MAX_BAD: usize = 100_000;

/// Reads everything. `stop` ends it early; what was read until then is counted.
pub(crate) fn count(sources: &[Source], plan: &Plan, stop: &AtomicBool, progress: &mut dyn FnMut(Progress)) -> Counts {
    let ranges = Ranges::shipped();
    let bounds =
        Bounds { memory: plan.memory / plan.jobs, gap: plan.gap, redact: plan.redact, windows: plan.windows.clone() };
    let mut counts = Counts {
        shards: (0..plan.jobs).map(|_| Shard::new(bounds.clone(), Arc::clone(&ranges), plan.robots.clone())).collect(),
        quality: Quality::default(),
        formats: BTreeMap::new(),
        errors: Vec::new(),
        bad: Vec::new(),
        partial: false,
        numbers: BTreeMap::new(),
        lines_of: vec![0; sources.len()],
    };
    let agents = AgentTable::default();
    let mut caches: Vec<AgentCache> = (0..plan.jobs).map(|_| AgentCache::default()).collect();
    let receive = read_ahead(sources.to_vec(), plan.reading.clone());
    let mut round: Vec<Batch> = Vec::with_capacity(ROUND);
    loop {
        let mut over = false;
        match receive.recv_timeout(LOOK_UP) {
            Ok(Ok(batch)) => round.push(batch),
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
            counts.add_round(&round, plan, &agents, &mut caches);
            round.clear();
            progress(Progress { bytes: counts.quality.bytes, lines: counts.quality.lines });
        }
        counts.partial = stopped && !over;
        if over || stopped {
            break;
        }
    }
    counts.finish();
    counts
}

/// A thread that reads, a few chunks ahead. After a stop nobody waits for it: it may wait for somebody itself.
fn read_ahead(sources: Vec<Source>, reading: Reading) -> Receiver<Result<Batch, Problem>> {
    let (send, receive) = sync_channel(ROUND);
    let read = move || {
        let mut tell = |problem| {
            let _ = send.send(Err(problem));
        };
        let mut feed = Feed::new(&sources, &reading, &mut tell);
        while let Some(batch) = feed.next_batch(&mut tell) {
            if send.send(Ok(batch)).is_err() {
                return;
            }
        }
        tell(Problem::End);
    };
    // Without a thread nothing is read, and the report says that there was nothing.
    let _ = std::thread::Builder::new().name("deckle-read".to_owned()).spawn(read);
    receive
}

type Failure = Box<dyn Any + Send>;

fn keep_failure(failed: &Mutex<Option<Failure>>, work: impl FnOnce()) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(work)) {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
}

impl Counts {
    /// Everybody but proven robots, which do what they are let.
    fn unproven(&self) -> impl Iterator<Item = &Facts> {
        let visitors = self.shards.iter().flat_map(|shard| &shard.visitors);
        visitors.filter(|facts| facts.verification != Verification::Verified)
    }

    /// The most articles, pages and requests of one visitor.
    pub(crate) fn most_by_one(&self) -> [u64; 3] {
        let of = |facts: &Facts| [facts.articles.count(), facts.pages.into(), facts.hits];
        self.unproven().map(of).fold([0; 3], |[a, b, c], [x, y, z]| [a.max(x), b.max(y), c.max(z)])
    }

    /// The most that anybody did within each span.
    pub(crate) fn windowed(&self) -> BTreeMap<Window, u64> {
        let mut most = BTreeMap::new();
        for (window, count) in self.unproven().flat_map(Facts::most_within) {
            let of = most.entry(window).or_insert(0);
            *of = count.max(*of);
        }
        most
    }

    /// What robots.txt said, and when.
    pub(crate) fn robots(&self) -> Option<&RobotsVersions> {
        self.shards.first().map(|shard| &shard.obedience.versions)
    }

    /// What was read before it stays.
    pub(crate) fn note_error(&mut self, error: InputError) {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.quality.notes.push(format!("{error}{cause}"));
        self.errors.push(error);
    }

    fn note_problem(&mut self, problem: Problem, sources: &[Source]) {
        let of = |number: usize| sources.get(number).map_or_else(String::new, name);
        match problem {
            Problem::End => {}
            Problem::Twice(number) => {
                self.quality.notes.push(format!("{} is given twice and was read once", of(number)));
            }
            Problem::Empty(number) => self.quality.notes.push(format!("no log lines in {}", of(number))),
            Problem::Unreadable(error) => self.note_error(error),
        }
    }

    /// Every thread parses a chunk; when all have, each counts the visitors that are its own, out of all of these chunks.
    fn add_round(&mut self, round: &[Batch], plan: &Plan, agents: &AgentTable, caches: &mut [AgentCache]) {
        let jobs = self.shards.len();
        let slots: Vec<RwLock<Parsed<'_>>> = (0..jobs).map(|_| RwLock::new(Parsed::new(jobs))).collect();
        let (together, failed) = (Barrier::new(jobs), Mutex::new(None));
        let work = |at: usize, shard: &mut Shard, cache: &mut AgentCache| {
            let mut parse = |chunk: usize| {
                let Some(slot) = slots.get(at) else { return };
                let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
                slot.clear();
                if let Some(batch) = round.get(chunk) {
                    slot.parse(chunk, batch, plan, agents, cache);
                }
            };
            let count = |shard: &mut Shard| {
                for slot in &slots {
                    shard.add_all(&slot.read().unwrap_or_else(PoisonError::into_inner), at);
                }
            };
            for first in (0..round.len()).step_by(jobs) {
                // Who fails must not let the others wait for ever.
                keep_failure(&failed, || parse(first + at));
                together.wait();
                keep_failure(&failed, || count(shard));
                together.wait();
            }
        };
        if let ([shard], [cache]) = (self.shards.as_mut_slice(), &mut *caches) {
            work(0, shard, cache);
        } else {
            std::thread::scope(|scope| {
                for ((at, shard), cache) in self.shards.iter_mut().enumerate().zip(caches) {
                    let work = &work;
                    scope.spawn(move || work(at, shard, cache));
                }
            });
        }
        // A report that lacks lines would be a lie.
        if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            std::panic::resume_unwind(failure);
        }
        let mut lines = vec![0; round.len()];
        let mut bad = Vec::new();
        for slot in slots {
            let mut parsed = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (chunk, of_chunk) in parsed.lines_of.drain(..) {
                if let Some(place) = lines.get_mut(chunk) {
                    *place = of_chunk;
                }
            }
            bad.append(&mut parsed.bad);
            self.add_counts(parsed);
        }
        self.add_lines(round, &lines, bad);
    }

    /// Lines by source; the numbers of bad lines count from the beginning of theirs.
    fn add_lines(&mut self, round: &[Batch], lines: &[u64], mut bad: Vec<(usize, u64, Skipped, Vec<u8>)>) {
        bad.sort_by_key(|(chunk, line, ..)| (*chunk, *line));
        let mut bad = bad.into_iter().peekable();
        for (at, (batch, of_chunk)) in round.iter().zip(lines).enumerate() {
            let before = self.lines_of.get(batch.source).copied().unwrap_or(0);
            while let Some((_, line, reason, text)) = bad.next_if(|(chunk, ..)| *chunk == at) {
                if self.bad.len() < MAX_BAD {
                    self.bad.push((batch.source, before + line, reason, text));
                }
            }
            if let Some(sum) = self.lines_of.get_mut(batch.source) {
                *sum += of_chunk + batch.chunk.too_long;
            }
            self.quality.bytes += batch.chunk.bytes.len() as u64 + batch.chunk.too_long_bytes;
            self.quality.too_long_bytes += batch.chunk.too_long_bytes;
            self.quality.lines += of_chunk + batch.chunk.too_long;
            if batch.chunk.too_long > 0 {
                *self.quality.skipped.entry(Skipped::TooLong.code()).or_default() += batch.chunk.too_long;
            }
        }
    }

    fn add_counts(&mut self, parsed: Parsed<'_>) {
        let quality = &mut self.quality;
        quality.hits += parsed.hits;
        quality.filtered += parsed.filtered;
        quality.other += parsed.other;
        quality.empty += parsed.empty;
        quality.format_switch += parsed.switches;
        quality.out_of_order += parsed.out_of_order;
        quality.ambiguous_time += parsed.ambiguous;
        quality.dropped = quality.dropped.saturating_add(parsed.dropped);
        quality.clock_steps += parsed.clock_steps;
        quality.erased += parsed.erased;
        for (reason, number) in Skipped::ALL.iter().zip(parsed.skipped) {
            if number > 0 {
                *quality.skipped.entry(reason.code()).or_default() += number;
            }
        }
        for (format, lines) in &parsed.formats {
            *self.formats.entry(Format::code(*format)).or_default() += lines;
        }
        for (instance, (first, last, lines)) in parsed.numbers {
            let of = self.numbers.entry(instance).or_insert((first, last, 0));
            *of = (of.0.min(first), of.1.max(last), of.2 + lines);
        }
    }

    fn finish(&mut self) {
        for shard in &mut self.shards {
            shard.tally.end_hour();
            self.quality.sampled |= shard.tally.sampled;
        }
        for (instance, (first, last, lines)) in &self.numbers {
            self.quality.instances.push(instance.clone());
            self.quality.holes += (last - first + 1).saturating_sub(*lines);
        }
        self.quality.holes = self.quality.holes.saturating_sub(self.quality.erased);
    }
}
