//! A chunk of lines to rows, with what was counted on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;
use super::agents::{AgentCache, AgentTable};
use super::feed::Batch;
use super::row::{Kind, Row};
use super::versions::Told;
use crate::audit::reader::{Evidence, Format, Line, Note, Skipped, evidence};
use crate::review::simulate::{Event, PolicyNote};

/// A server writes a line when the answer is done: this much disorder is usual.
pub(super) const DISORDER: Duration = Duration::from_secs(300);
/// Writers, and places that heads were sent to, that are told apart.
pub(super) const MAX_NAMES: usize = 10_000;
/// Bytes of their names.
const MAX_NAME: usize = 256;

/// What one thread has read of a round.
#[derive(Debug, Default)]
pub(super) struct Parsed<'c> {
    /// Of the chunk in hand, and behind them what is left of those before: rows are too large to be moved about.
    rows: Vec<Row<'c>>,
    used: usize,
    /// Their places, by the shard of their visitors.
    of_shard: Vec<Vec<u32>>,
    /// Of the chunk in hand: what it says about the log itself.
    pub(super) notes: Vec<Note>,
    /// Of the chunk in hand: what those got who asked for robots.txt.
    pub(super) answers: Vec<Told>,
    /// Lines by chunk.
    pub(super) lines_of: Vec<(usize, u64)>,
    pub(super) hits: u64,
    /// First and last time of all hits.
    pub(super) span: Option<(Duration, Duration)>,
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
    /// What is decided again.
    pub(super) events: Vec<Event>,
    pub(super) policies: Vec<PolicyNote>,
    newest: Duration,
}

impl<'c> Parsed<'c> {
    pub(super) fn new(shards: usize) -> Self {
        Self { of_shard: (0..shards).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// The chunk in hand is done.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.of_shard.iter_mut().for_each(Vec::clear);
        self.notes.clear();
        self.answers.clear();
    }

    /// The rows of a shard, in their order.
    pub(super) fn rows(&self, shard: usize) -> impl Iterator<Item = &Row<'c>> + Clone {
        let places = self.of_shard.get(shard).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.rows.get(*place as usize))
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
        let valid = std::str::from_utf8(&batch.chunk.bytes).ok();
        for (span, whole) in batch.chunk.spans() {
            lines += 1;
            if self.used == self.rows.len() {
                self.rows.push(Row::blank(agents, cache));
            }
            let Some(row) = self.rows.get_mut(self.used) else { continue };
            let text = valid.and_then(|text| text.get(span.clone()));
            if text.is_some_and(|text| reader.read_usual(text, &mut row.hit)) {
                of_format += 1;
                self.add_hit((chunk as u32, lines as u32, None), plan, agents, cache);
                continue;
            }
            let line = batch.chunk.bytes.get(span).unwrap_or_default();
            let read = reader.read(line);
            if reader.format() != format {
                *self.formats.entry(format).or_default() += std::mem::take(&mut of_format);
                format = reader.format();
            }
            of_format += u64::from(matches!(read, Line::Hit(_) | Line::Other(_)));
            match read {
                Line::Hit(hit) => {
                    // Keys that nobody else needs.
                    let asked = plan.simulated.is_some() && hit.deckle.is_some();
                    let evidence = asked.then(|| evidence(line)).flatten();
                    row.hit = hit;
                    self.add_hit((chunk as u32, lines as u32, evidence), plan, agents, cache);
                }
                Line::Other(note) => self.add_note(*note, plan.simulated.is_some()),
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

    fn add_note(&mut self, note: Note, simulates: bool) {
        self.other += 1;
        // What was erased keeps its number, and not the name of its writer.
        if note.kind == "erased" {
            self.erased += 1;
        } else {
            count_number(&mut self.numbers, &note.instance, note.seq);
        }
        self.dropped = self.dropped.saturating_add(note.dropped);
        self.clock_steps += u64::from(note.clock_step);
        if let Some(to) = note.to.as_ref().filter(|_| note.kind == "anchored")
            && let Some(heads) = place(&mut self.anchored, to)
        {
            *heads += 1;
        }
        self.policies.extend(PolicyNote::of(&note).filter(|_| simulates));
        if note.robots_version.is_some() {
            self.notes.push(note);
        }
    }

    /// The hit in the first row that is free.
    fn add_hit(
        &mut self,
        (chunk, line, evidence): (u32, u32, Option<Evidence<'_>>),
        plan: &Plan,
        agents: &AgentTable,
        cache: &mut AgentCache,
    ) {
        let Some(row) = self.rows.get_mut(self.used) else { return };
        let hit = &row.hit;
        if let Some(fields) = &hit.deckle {
            count_number(&mut self.numbers, &fields.instance, fields.seq);
        }
        self.ambiguous += u64::from(hit.ambiguous_time);
        self.out_of_order += u64::from(hit.time + DISORDER < self.newest);
        self.newest = self.newest.max(hit.time);
        let (first, last) = self.span.unwrap_or((hit.time, hit.time));
        self.span = Some((first.min(hit.time), last.max(hit.time)));
        row.complete(agents, cache);
        if row.kind == Kind::Robots {
            self.answers.extend(Told::of(row));
        }
        let is_kept = plan.filters.is_empty() || plan.filters.keeps(&row.subject());
        if plan.simulated.is_some() {
            self.events.push(Event::of(row, (chunk, line), is_kept, evidence.as_ref()));
        }
        if is_kept {
            self.hits += 1;
        } else {
            self.filtered += 1;
            // Whoever has read robots.txt has read it, whatever is looked at.
            if row.kind != Kind::Robots || !row.category.is_declared_bot() {
                return;
            }
            row.unseen = true;
        }
        let shard = row.shard(self.of_shard.len());
        if let Some(places) = self.of_shard.get_mut(shard) {
            places.push(self.used as u32);
            self.used += 1;
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

/// A line of deckle's log has a number.
fn count_number(numbers: &mut BTreeMap<String, (u64, u64, u64)>, instance: &str, seq: u64) {
    if seq == 0 {
        return;
    }
    // Nearly every line has the writer of the one before.
    if let Some(of) = numbers.get_mut(instance) {
        count_numbers(of, (seq, seq, 1));
    } else if let Some(of) = place(numbers, instance) {
        count_numbers(of, (seq, seq, 1));
    }
}

/// First and last number, and lines; 0: there was none.
pub(super) fn count_numbers(of: &mut (u64, u64, u64), (first, last, lines): (u64, u64, u64)) {
    of.0 = if of.2 == 0 { first } else { of.0.min(first) };
    (of.1, of.2) = (of.1.max(last), of.2 + lines);
}

/// What is counted under a name; `None`: there is no room for one more. Whoever wrote the log has chosen the names.
pub(super) fn place<'m, T: Default>(counts: &'m mut BTreeMap<String, T>, name: &str) -> Option<&'m mut T> {
    let name = name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default();
    if !counts.contains_key(name) {
        if counts.len() >= MAX_NAMES {
            return None;
        }
        counts.insert(name.to_owned(), T::default());
    }
    counts.get_mut(name)
}
