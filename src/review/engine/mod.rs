//! Lines to counts: read by one thread, parsed and counted by several, in bounded memory.
//!
//! A round takes a chunk of lines for each thread. They are parsed side by side, and then each thread counts the visitors
//! that are its own, chunk after chunk: so the order of lines is kept, and the answer is the same with any number of threads.

mod agents;
mod articles;
mod distinct;
mod facts;
mod feed;
mod parse;
mod robots;
mod row;
mod shard;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::filter::Filters;
use super::input::{InputError, Source};
use super::report::Quality;
use crate::audit::reader::{Format, Note, Skipped};
use crate::visitor::Ranges;
use agents::{AgentCache, AgentTable};
use feed::{Batch, Feed};
use parse::{Parsed, parse};
use shard::Bounds;

pub(crate) use distinct::Sketch;
pub(crate) use facts::Facts;
pub(crate) use feed::{Problem, Reading, name};
pub(crate) use robots::RobotsVersions;
use shard::Shard;

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
    pub(crate) robots: RobotsVersions,
    pub(crate) errors: Vec<InputError>,
    pub(crate) bad: Vec<BadLine>,
    pub(crate) partial: bool,
    /// First and last number, and lines, of each writer.
    numbers: BTreeMap<String, (u64, u64, u64)>,
    lines_of: Vec<u64>,
}

/// Bad lines that are kept.
const MAX_BAD: usize = 100_000;

/// Reads everything. `stop` ends it early; what was read until then is counted.
pub(crate) fn count(sources: &[Source], plan: &Plan, stop: &AtomicBool, progress: &mut dyn FnMut(Progress)) -> Counts {
    let ranges = Ranges::shipped();
    let bounds = Bounds { memory: plan.memory / plan.jobs, gap: plan.gap };
    let mut counts = Counts {
        shards: (0..plan.jobs).map(|_| Shard::new(bounds.clone(), Arc::clone(&ranges))).collect(),
        quality: Quality::default(),
        formats: BTreeMap::new(),
        robots: plan.robots.clone(),
        errors: Vec::new(),
        bad: Vec::new(),
        partial: false,
        numbers: BTreeMap::new(),
        lines_of: vec![0; sources.len()],
    };
    let agents = AgentTable::default();
    let mut caches: Vec<AgentCache> = (0..plan.jobs).map(|_| AgentCache::default()).collect();
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<Result<Batch, Problem>>(plan.jobs * 2);
        let reading = plan.reading.clone();
        let files = sources.to_vec();
        scope.spawn(move || {
            let mut tell = |problem| {
                let _ = send.send(Err(problem));
            };
            let mut feed = Feed::new(&files, &reading, &mut tell);
            while let Some(batch) = feed.next_batch(&mut tell) {
                if send.send(Ok(batch)).is_err() {
                    return;
                }
            }
        });
        let mut round: Vec<Batch> = Vec::with_capacity(plan.jobs);
        loop {
            let next = receive.recv().ok();
            let over = next.is_none();
            match next {
                Some(Ok(batch)) => round.push(batch),
                Some(Err(problem)) => counts.note_problem(problem, sources),
                None => {}
            }
            if round.len() == plan.jobs || (over && !round.is_empty()) {
                counts.add_round(&round, plan, &agents, &mut caches);
                round.clear();
                progress(Progress { bytes: counts.quality.bytes, lines: counts.quality.lines });
            }
            if over {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                counts.partial = true;
                break;
            }
        }
        drop(receive);
    });
    counts.finish();
    counts
}

impl Counts {
    fn note_problem(&mut self, problem: Problem, sources: &[Source]) {
        let of = |number: usize| sources.get(number).map_or_else(String::new, name);
        match problem {
            Problem::Twice(number) => {
                self.quality.notes.push(format!("{} is given twice and was read once", of(number)));
            }
            Problem::Empty(number) => self.quality.notes.push(format!("no log lines in {}", of(number))),
            Problem::Unreadable(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.quality.notes.push(format!("{error}{cause}"));
                self.errors.push(error);
            }
        }
    }

    fn add_round(&mut self, round: &[Batch], plan: &Plan, agents: &AgentTable, caches: &mut [AgentCache]) {
        let shards = self.shards.len();
        let mut parsed: Vec<Parsed<'_>> = if let ([batch], [cache]) = (round, &mut *caches) {
            vec![parse(batch, plan, agents, cache, shards)]
        } else {
            std::thread::scope(|scope| {
                let started: Vec<_> = round
                    .iter()
                    .zip(caches)
                    .map(|(batch, cache)| scope.spawn(move || parse(batch, plan, agents, cache, shards)))
                    .collect();
                // A thread that fails takes the program with it: a report that lacks lines would be a lie.
                started
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                    .collect()
            })
        };
        for (batch, parsed) in round.iter().zip(&mut parsed) {
            self.add_counts(batch, parsed);
        }
        let robots = &self.robots;
        let add = |shard: &mut Shard, at: usize| {
            for parsed in &parsed {
                parsed.rows.get(at).into_iter().flatten().for_each(|row| shard.add(row, robots));
            }
        };
        if let [shard] = self.shards.as_mut_slice() {
            return add(shard, 0);
        }
        std::thread::scope(|scope| {
            for (at, shard) in self.shards.iter_mut().enumerate() {
                let add = &add;
                scope.spawn(move || add(shard, at));
            }
        });
    }

    fn add_counts(&mut self, batch: &Batch, parsed: &mut Parsed<'_>) {
        let quality = &mut self.quality;
        quality.bytes += batch.chunk.bytes.len() as u64;
        quality.lines += parsed.lines + batch.chunk.too_long;
        quality.hits += parsed.hits;
        quality.filtered += parsed.filtered;
        quality.other += parsed.other;
        quality.empty += parsed.empty;
        quality.format_switch += parsed.switches;
        quality.out_of_order += parsed.out_of_order;
        quality.ambiguous_time += parsed.ambiguous;
        if batch.chunk.too_long > 0 {
            *quality.skipped.entry(Skipped::TooLong.code()).or_default() += batch.chunk.too_long;
        }
        for (reason, number) in Skipped::ALL.iter().zip(parsed.skipped) {
            if number > 0 {
                *quality.skipped.entry(reason.code()).or_default() += number;
            }
        }
        for (format, lines) in &parsed.formats {
            *self.formats.entry(Format::code(*format)).or_default() += lines;
        }
        let before = self.lines_of.get(batch.source).copied().unwrap_or(0);
        for (line, reason, text) in parsed.bad.drain(..) {
            if self.bad.len() < MAX_BAD {
                self.bad.push((batch.source, before + line, reason, text));
            }
        }
        if let Some(lines) = self.lines_of.get_mut(batch.source) {
            *lines += parsed.lines + batch.chunk.too_long;
        }
        for (instance, (first, last, lines)) in std::mem::take(&mut parsed.numbers) {
            let of = self.numbers.entry(instance).or_insert((first, last, 0));
            *of = (of.0.min(first), of.1.max(last), of.2 + lines);
        }
        for note in parsed.notes.drain(..) {
            self.add_note(&note);
        }
    }

    fn add_note(&mut self, note: &Note) {
        self.quality.dropped = self.quality.dropped.saturating_add(note.dropped);
        self.quality.clock_steps += u64::from(note.clock_step);
        self.robots.add_note(note);
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
    }
}
