//! A chunk of lines to rows, with what was counted on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;
use super::agents::{AgentCache, AgentTable};
use super::feed::Batch;
use super::row::{Kind, Row};
use super::versions::Told;
use crate::audit::reader::{Format, Hit, Line, Note, Skipped};

/// A server writes a line when the answer is done: this much disorder is usual.
const DISORDER: Duration = Duration::from_secs(300);

/// What one thread has read of a round.
#[derive(Debug, Default)]
pub(super) struct Parsed<'c> {
    /// Of the chunk in hand, by the shard of their visitors.
    pub(super) rows: Vec<Vec<Row<'c>>>,
    /// Of the chunk in hand: what it says about the log itself.
    pub(super) notes: Vec<Note>,
    /// Of the chunk in hand: what those got who asked for robots.txt.
    pub(super) answers: Vec<Told>,
    /// Lines by chunk.
    pub(super) lines_of: Vec<(usize, u64)>,
    pub(super) hits: u64,
    pub(super) filtered: u64,
    pub(super) other: u64,
    pub(super) empty: u64,
    pub(super) skipped: [u64; Skipped::ALL.len()],
    pub(super) switches: u64,
    pub(super) out_of_order: u64,
    pub(super) ambiguous: u64,
    pub(super) dropped: u64,
    pub(super) clock_steps: u64,
    pub(super) erased: u64,
    /// Heads that were sent away, by destination.
    pub(super) anchored: BTreeMap<String, u64>,
    pub(super) formats: BTreeMap<Format, u64>,
    /// Chunk, line in it, reason, text.
    pub(super) bad: Vec<(usize, u64, Skipped, Vec<u8>)>,
    /// First and last number, and lines, of each writer.
    pub(super) numbers: BTreeMap<String, (u64, u64, u64)>,
    newest: Duration,
}

impl<'c> Parsed<'c> {
    pub(super) fn new(shards: usize) -> Self {
        Self { rows: (0..shards).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// The chunk in hand is done.
    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
        self.notes.clear();
        self.answers.clear();
    }

    pub(super) fn parse(
        &mut self,
        chunk: usize,
        batch: &'c Batch,
        plan: &Plan,
        agents: &AgentTable,
        cache: &mut AgentCache,
    ) {
        let mut reader = batch.reader.clone();
        let (mut of_format, mut format, mut lines) = (0, reader.format(), 0);
        self.newest = batch.newest;
        for (line, whole) in batch.chunk.lines() {
            lines += 1;
            let read = reader.read(line);
            if reader.format() != format {
                *self.formats.entry(format).or_default() += std::mem::take(&mut of_format);
                format = reader.format();
            }
            of_format += u64::from(matches!(read, Line::Hit(_) | Line::Other(_)));
            match read {
                Line::Hit(hit) => self.add_hit(hit, plan, agents, cache),
                Line::Other(note) => self.add_note(*note),
                Line::Directive => self.other += 1,
                Line::Empty => self.empty += 1,
                Line::Skipped(reason) => {
                    // deckle's own last line may be cut off by a crash.
                    let torn = !whole && reason == Skipped::Malformed && line.first() == Some(&b'{');
                    let reason = if torn { Skipped::Torn } else { reason };
                    self.skip((chunk, lines), reason, line, plan.keep_bad);
                }
            }
        }
        self.lines_of.push((chunk, lines));
        self.switches += reader.switches();
        if of_format > 0 {
            *self.formats.entry(format).or_default() += of_format;
        }
    }

    fn add_note(&mut self, note: Note) {
        self.other += 1;
        // What was erased keeps its number, and not the name of its writer.
        if note.kind == "erased" {
            self.erased += 1;
        } else {
            self.number(&note.instance, note.seq);
        }
        self.dropped = self.dropped.saturating_add(note.dropped);
        self.clock_steps += u64::from(note.clock_step);
        if let Some(to) = note.to.as_ref().filter(|_| note.kind == "anchored") {
            *self.anchored.entry(to.clone()).or_default() += 1;
        }
        if note.robots_version.is_some() {
            self.notes.push(note);
        }
    }

    fn add_hit(&mut self, hit: Hit<'c>, plan: &Plan, agents: &AgentTable, cache: &mut AgentCache) {
        if let Some(fields) = &hit.deckle {
            self.number(&fields.instance, fields.seq);
        }
        self.ambiguous += u64::from(hit.ambiguous_time);
        self.out_of_order += u64::from(hit.time + DISORDER < self.newest);
        self.newest = self.newest.max(hit.time);
        let mut row = Row::new(hit, agents, cache);
        if row.kind == Kind::Robots {
            self.answers.extend(Told::of(&row));
        }
        if !plan.filters.is_empty() && !plan.filters.keeps(&row.subject()) {
            self.filtered += 1;
            // Whoever has read robots.txt has read it, whatever is looked at.
            if row.kind != Kind::Robots || !row.category.is_declared_bot() {
                return;
            }
            row.unseen = true;
        } else {
            self.hits += 1;
        }
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

    fn skip(&mut self, (chunk, number): (usize, u64), reason: Skipped, line: &[u8], keep: bool) {
        let place = Skipped::ALL.iter().position(|known| *known == reason);
        if let Some(count) = place.and_then(|at| self.skipped.get_mut(at)) {
            *count += 1;
        }
        if keep && self.bad.len() < super::MAX_BAD {
            self.bad.push((chunk, number, reason, line.to_vec()));
        }
    }
}
