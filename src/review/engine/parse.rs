//! A chunk of lines to rows, with what was counted on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;
use super::agents::{AgentCache, AgentTable};
use super::feed::Batch;
use super::row::Row;
use crate::audit::reader::{Format, Hit, Line, Note, Skipped};

/// A server writes a line when the answer is done: this much disorder is usual.
const DISORDER: Duration = Duration::from_secs(300);

/// What a chunk holds.
#[derive(Debug, Default)]
pub(super) struct Parsed<'c> {
    /// By the shard of their visitors.
    pub(super) rows: Vec<Vec<Row<'c>>>,
    pub(super) lines: u64,
    pub(super) hits: u64,
    pub(super) filtered: u64,
    pub(super) other: u64,
    pub(super) empty: u64,
    pub(super) skipped: [u64; Skipped::ALL.len()],
    pub(super) switches: u64,
    pub(super) out_of_order: u64,
    pub(super) ambiguous: u64,
    pub(super) formats: BTreeMap<Format, u64>,
    pub(super) notes: Vec<Note>,
    pub(super) bad: Vec<(u64, Skipped, Vec<u8>)>,
    pub(super) numbers: BTreeMap<String, (u64, u64, u64)>,
    newest: Duration,
}

pub(super) fn parse<'c>(
    batch: &'c Batch,
    plan: &Plan,
    agents: &AgentTable,
    cache: &mut AgentCache,
    shards: usize,
) -> Parsed<'c> {
    let mut out = Parsed { rows: (0..shards).map(|_| Vec::new()).collect(), ..Parsed::default() };
    let mut reader = batch.reader.clone();
    let (mut of_format, mut format) = (0, reader.format());
    for (line, whole) in batch.chunk.lines() {
        out.lines += 1;
        let read = reader.read(line);
        if reader.format() != format {
            *out.formats.entry(format).or_default() += std::mem::take(&mut of_format);
            format = reader.format();
        }
        match read {
            Line::Hit(hit) => {
                of_format += 1;
                out.add_hit(hit, plan, agents, cache);
            }
            Line::Other(note) => {
                of_format += 1;
                out.other += 1;
                out.number(&note.instance, note.seq);
                out.notes.push(*note);
            }
            Line::Directive => out.other += 1,
            Line::Empty => out.empty += 1,
            Line::Skipped(reason) => {
                // deckle's own last line may be cut off by a crash.
                let torn = !whole && reason == Skipped::Malformed && line.first() == Some(&b'{');
                out.skip(if torn { Skipped::Torn } else { reason }, line, plan.keep_bad);
            }
        }
    }
    if of_format > 0 {
        *out.formats.entry(format).or_default() += of_format;
    }
    out.switches = reader.switches();
    out
}

impl<'c> Parsed<'c> {
    fn add_hit(&mut self, hit: Hit<'c>, plan: &Plan, agents: &AgentTable, cache: &mut AgentCache) {
        if let Some(fields) = &hit.deckle {
            self.number(&fields.instance, fields.seq);
        }
        self.ambiguous += u64::from(hit.ambiguous_time);
        self.out_of_order += u64::from(hit.time + DISORDER < self.newest);
        self.newest = self.newest.max(hit.time);
        let row = Row::new(hit, agents, cache);
        if !plan.filters.is_empty() && !plan.filters.keeps(&row.subject()) {
            self.filtered += 1;
            return;
        }
        self.hits += 1;
        let shard = row.shard(self.rows.len());
        if let Some(rows) = self.rows.get_mut(shard) {
            rows.push(row);
        }
    }

    /// A line of deckle's log has a number.
    fn number(&mut self, instance: &str, seq: u64) {
        if seq == 0 {
            return;
        }
        if let Some((first, last, lines)) = self.numbers.get_mut(instance) {
            (*first, *last, *lines) = ((*first).min(seq), (*last).max(seq), *lines + 1);
        } else {
            self.numbers.insert(instance.to_owned(), (seq, seq, 1));
        }
    }

    fn skip(&mut self, reason: Skipped, line: &[u8], keep: bool) {
        let place = Skipped::ALL.iter().position(|known| *known == reason);
        if let Some(number) = place.and_then(|at| self.skipped.get_mut(at)) {
            *number += 1;
        }
        if keep && self.bad.len() < super::MAX_BAD {
            self.bad.push((self.lines, reason, line.to_vec()));
        }
    }
}
