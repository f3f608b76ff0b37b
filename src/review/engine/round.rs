//! A round of chunks: parsed and counted by several threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, RwLock};

use super::crew::work_together;
use super::feed::Batch;
use super::parse::{self, Memory, Parsed};
use super::schedule::{Schedule, Task};
use super::{AgentCache, AgentTable, Counts, Events, MAX_BAD, MAX_BAD_BYTES, Plan, Shard};
use crate::audit::reader::{Format, Skipped};

/// Chunks, or groups of parts of chunks, that are on the way for each of several threads: one that it counts, and one that is
/// parsed meanwhile.
const SLOTS: usize = 2;
/// As many at least, where there are several threads: who is held up, by the thread that reads or by another program, holds
/// up the others only when these are full.
const LEAST_SLOTS: usize = 8;

/// What is kept from one round to the next.
#[derive(Debug)]
pub(super) struct Kept<'t> {
    /// One of each thread.
    caches: Vec<AgentCache<'t>>,
    /// Of the rows.
    memory: Vec<Memory>,
}

impl<'t> Kept<'t> {
    pub(super) fn new(jobs: usize, agents: &'t AgentTable) -> Self {
        Self { caches: (0..jobs).map(|_| AgentCache::new(agents)).collect(), memory: Vec::new() }
    }

    /// Memory of events that are decided.
    pub(super) fn reuse(&mut self, done: impl Iterator<Item = Events>) {
        let mut places = self.memory.iter_mut();
        // More than there is room for goes back to the system.
        for events in done {
            if let Some(memory) = places.next() {
                memory.events = events;
            }
        }
    }
}

type Failure = Box<dyn Any + Send>;

fn keep_failure(failed: &Mutex<Option<Failure>>, work: impl FnOnce()) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(work)) {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
}

impl Counts {
    /// Any thread parses the next chunk, and each counts the visitors that are its own, out of all chunks in their order.
    pub(super) fn add_round(&mut self, round: &[Vec<Batch>], plan: &Plan, kept: &mut Kept<'_>) {
        let jobs = self.shards.len();
        let batches: Vec<&Batch> = round.iter().flatten().collect();
        // The number of the first batch of each group.
        let (mut starts, mut start) = (Vec::with_capacity(round.len()), 0);
        for group in round {
            starts.push(start);
            start += group.len();
        }
        // Who is alone waits for nobody, and finds in its cache what it has just parsed.
        let slots = if jobs == 1 { 1 } else { LEAST_SLOTS.max(SLOTS * jobs) };
        let schedule = Schedule::new(round.len(), jobs, slots);
        let mut memory = std::mem::take(&mut kept.memory).into_iter();
        let slot = |_| RwLock::new(Parsed::new(jobs, memory.next().unwrap_or_default()));
        let slots: Vec<RwLock<Parsed<'_>>> = (0..slots).map(slot).collect();
        let lanes: Vec<Mutex<(&mut Shard, &mut AgentCache<'_>)>> =
            self.shards.iter_mut().zip(&mut kept.caches).map(Mutex::new).collect();
        let failed = Mutex::new(None);
        let parse = |group: usize, lane: usize| {
            let (Some(batches), Some(start)) = (round.get(group), starts.get(group)) else { return };
            let (Some(slot), Some(lane)) = (slots.get(schedule.slot(group)), lanes.get(lane)) else { return };
            let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            slot.clear();
            for (batch, number) in batches.iter().zip(*start..) {
                slot.parse(number, batch, plan, lane.1);
            }
        };
        let count = |group: usize, at: usize| {
            let (Some(slot), Some(lane)) = (slots.get(schedule.slot(group)), lanes.get(at)) else { return };
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.0.add_all(&slot.read().unwrap_or_else(PoisonError::into_inner), at);
        };
        let clear = |slot: usize| {
            let Some(slot) = slots.get(slot) else { return };
            slot.write().unwrap_or_else(PoisonError::into_inner).forget_rows();
        };
        work_together(jobs, &|worker: usize, workers: usize| {
            // Usually each thread has one lane.
            let own = (worker..jobs).step_by(workers);
            let mut done = None;
            while let Some(task) = schedule.next(done, own.clone()) {
                // Who fails must not let the others wait for ever.
                keep_failure(&failed, || match task {
                    Task::Parse(group) => parse(group, worker),
                    Task::Count { lane, group } => count(group, lane),
                    Task::Clear(slot) => clear(slot),
                });
                done = Some(task);
            }
        });
        drop(lanes);
        // A report that lacks lines would be a lie.
        if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            std::panic::resume_unwind(failure);
        }
        let mut lines = vec![0; batches.len()];
        let mut bad = Vec::new();
        for slot in slots {
            let mut parsed = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            kept.memory.push(parsed.take_memory());
            for (chunk, of_chunk) in parsed.lines_of.drain(..) {
                if let Some(place) = lines.get_mut(chunk) {
                    *place = of_chunk;
                }
            }
            bad.append(&mut parsed.bad);
            if !parsed.events.is_empty() {
                self.events.push(std::mem::take(&mut parsed.events));
            }
            self.policies.append(&mut parsed.policies);
            self.add_counts(parsed);
        }
        self.add_lines(&batches, &lines, bad);
    }

    /// Lines by source; the numbers of bad lines count from the beginning of theirs.
    pub(super) fn add_lines(&mut self, round: &[&Batch], lines: &[u64], mut bad: Vec<(usize, u64, Skipped, Vec<u8>)>) {
        bad.sort_by_key(|(chunk, line, ..)| (*chunk, *line));
        let mut bad = bad.into_iter().peekable();
        for (at, (batch, of_chunk)) in round.iter().zip(lines).enumerate() {
            let before = self.lines_of.get(batch.source).copied().unwrap_or(0);
            while let Some((_, line, reason, text)) = bad.next_if(|(chunk, ..)| *chunk == at) {
                self.bad_bytes += text.len();
                if self.bad.len() < MAX_BAD && self.bad_bytes <= MAX_BAD_BYTES {
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
        if let Some((first, last)) = parsed.span {
            let (from, to) = self.span.unwrap_or((first, last));
            self.span = Some((from.min(first), to.max(last)));
        }
        quality.filtered += parsed.filtered;
        quality.other += parsed.other;
        quality.empty += parsed.empty;
        quality.format_switch += parsed.switches;
        quality.out_of_order += parsed.out_of_order;
        quality.ambiguous_time += parsed.ambiguous;
        quality.dropped = quality.dropped.saturating_add(parsed.dropped);
        quality.clock_steps += parsed.clock_steps;
        quality.erased += parsed.erased;
        for (to, heads) in parsed.anchored {
            if let Some(sum) = parse::place(&mut quality.anchored, &to) {
                *sum += heads;
            }
        }
        for (reason, number) in Skipped::ALL.iter().zip(parsed.skipped) {
            if number > 0 {
                *quality.skipped.entry(reason.code()).or_default() += number;
            }
        }
        for (format, lines) in &parsed.formats {
            *self.formats.entry(Format::code(*format)).or_default() += lines;
        }
        for (instance, numbers) in parsed.numbers {
            if let Some(of) = parse::place(&mut self.numbers, &instance) {
                parse::count_numbers(of, numbers);
            }
        }
    }
}
