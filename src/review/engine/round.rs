//! A round of chunks: parsed and counted by several threads, in step.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, RwLock};

use super::crew::{Crew, work_together};
use super::feed::Batch;
use super::parse::{Memory, Parsed};
use super::{AgentCache, AgentTable, Counts, MAX_BAD, Plan, Shard};
use crate::audit::reader::{Format, Skipped};

/// Chunks that each of several threads parses in a turn: of more, the rows do not stay in its cache until they are counted;
/// with fewer, the threads wait for one another more often.
const TURN: usize = 2;

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
}

type Failure = Box<dyn Any + Send>;

fn keep_failure(failed: &Mutex<Option<Failure>>, work: impl FnOnce()) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(work)) {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
}

impl Counts {
    /// Every thread parses a few chunks; when all have, each counts the visitors that are its own, out of all of these
    /// chunks, and parses the next ones. So they wait for one another once a turn.
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
        let (of_turn, sets) = if jobs == 1 { (1, 1) } else { (TURN, 2) };
        let mut memory = std::mem::take(&mut kept.memory).into_iter();
        let slot = |_| RwLock::new(Parsed::new(jobs, memory.next().unwrap_or_default()));
        let all_slots: Vec<RwLock<Parsed<'_>>> = (0..sets * jobs).map(slot).collect();
        let turns = round.len().div_ceil(jobs * of_turn);
        let slots = |turn: usize| all_slots.get((turn % sets) * jobs..).unwrap_or_default().iter().take(jobs);
        let lanes: Vec<Mutex<(&mut Shard, &mut AgentCache<'_>)>> =
            self.shards.iter_mut().zip(&mut kept.caches).map(Mutex::new).collect();
        let failed = Mutex::new(None);
        let parse = |turn: usize, at: usize| {
            let (Some(slot), Some(lane)) = (slots(turn).nth(at), lanes.get(at)) else { return };
            let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            slot.clear();
            let first = (turn * jobs + at) * of_turn;
            for (group, start) in round.iter().zip(&starts).skip(first).take(of_turn) {
                for (batch, number) in group.iter().zip(*start..) {
                    slot.parse(number, batch, plan, lane.1);
                }
            }
        };
        let count = |turn: usize, at: usize| {
            let Some(lane) = lanes.get(at) else { return };
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            for slot in slots(turn) {
                lane.0.add_all(&slot.read().unwrap_or_else(PoisonError::into_inner), at);
            }
        };
        let forget_rows = |at: usize| {
            for slot in all_slots.iter().skip(at).step_by(jobs) {
                slot.write().unwrap_or_else(PoisonError::into_inner).forget_rows();
            }
        };
        // Usually each thread has one lane.
        work_together(jobs, &|worker: usize, crew: &Crew| {
            let own = || (worker..jobs).step_by(crew.workers);
            // Who fails must not let the others wait for ever.
            own().for_each(|at| keep_failure(&failed, || parse(0, at)));
            for turn in 0..turns {
                crew.meet();
                own().for_each(|at| keep_failure(&failed, || count(turn, at)));
                if turn + 1 < turns {
                    own().for_each(|at| keep_failure(&failed, || parse(turn + 1, at)));
                }
            }
            // Nobody looks at them any more.
            crew.meet();
            own().for_each(|at| keep_failure(&failed, || forget_rows(at)));
        });
        drop(lanes);
        // A report that lacks lines would be a lie.
        if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            std::panic::resume_unwind(failure);
        }
        let mut lines = vec![0; batches.len()];
        let mut bad = Vec::new();
        for slot in all_slots {
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
    fn add_lines(&mut self, round: &[&Batch], lines: &[u64], mut bad: Vec<(usize, u64, Skipped, Vec<u8>)>) {
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
            *quality.anchored.entry(to).or_default() += heads;
        }
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
}
