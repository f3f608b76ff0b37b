//! A chunk of lines to rows, with what was counted on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;
use super::agents::AgentCache;
use super::feed::Batch;
use super::row::{Kind, Row};
use super::versions::Told;
use crate::audit::reader::{Evidence, Format, Line, Note, Skipped, SpecialBytes, evidence};
use crate::review::simulate::{Events, PolicyNote};

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
    pub(super) events: Events,
    pub(super) policies: Vec<PolicyNote>,
    newest: Duration,
}

/// Memory of rows that are no more: what is new comes from the system page by page.
#[derive(Debug, Default)]
pub(super) struct Memory {
    rows: Vec<Row<'static>>,
    of_shard: Vec<Vec<u32>>,
    /// That of events is with those who decide, and comes back later.
    pub(super) events: Events,
}

impl<'c> Parsed<'c> {
    pub(super) fn new(shards: usize, memory: Memory) -> Self {
        let Memory { rows, mut of_shard, events } = memory;
        of_shard.resize_with(shards, Vec::new);
        Self { rows, of_shard, events, ..Self::default() }
    }

    /// Nobody asks for the rows any more: many are not freed at once.
    pub(super) fn forget_rows(&mut self) {
        self.clear();
        self.rows.clear();
    }

    /// What the rows of other lines may lie in.
    pub(super) fn take_memory(&mut self) -> Memory {
        self.forget_rows();
        let (rows, of_shard) = (emptied(std::mem::take(&mut self.rows)), std::mem::take(&mut self.of_shard));
        Memory { rows, of_shard, events: Events::default() }
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

    pub(super) fn parse<'t: 'c>(&mut self, chunk: usize, batch: &'c Batch, plan: &Plan, cache: &mut AgentCache<'t>) {
        let mut reader = batch.reader.clone();
        let (mut of_format, mut format, mut lines) = (0, reader.format(), 0);
        self.newest = batch.newest;
        let bytes = batch.chunk.bytes.as_slice();
        let valid = if format == Format::Combined { simdutf8::basic::from_utf8(bytes).ok() } else { None };
        let mut special = SpecialBytes::of(bytes);
        for (span, whole) in batch.chunk.spans() {
            lines += 1;
            if self.used == self.rows.len() {
                self.rows.push(Row::blank(cache));
            }
            let Some(row) = self.rows.get_mut(self.used) else { continue };
            let line = bytes.get(span.clone()).unwrap_or_default();
            if reader.format() == Format::Combined && !special.are_in(&span) {
                // Where one line is no UTF-8, the others are.
                let text = valid.map_or_else(|| std::str::from_utf8(line).ok(), |text| text.get(span));
                if text.is_some_and(|text| reader.read_plain(text, &mut row.hit)) {
                    of_format += 1;
                    self.add_hit((chunk as u32, None), plan, cache);
                    continue;
                }
            }
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
                    self.add_hit((chunk as u32, evidence), plan, cache);
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
    fn add_hit<'t: 'c>(
        &mut self,
        (chunk, evidence): (u32, Option<Evidence<'_>>),
        plan: &Plan,
        cache: &mut AgentCache<'t>,
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
        row.complete(cache);
        if row.kind == Kind::Robots {
            self.answers.extend(Told::of(row));
        }
        let is_kept = plan.filters.is_empty() || plan.filters.keeps(&row.subject());
        if plan.simulated.is_some() {
            self.events.push(row, chunk, is_kept, evidence.as_ref());
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

/// The same memory, for rows of any lines.
fn emptied(mut rows: Vec<Row<'_>>) -> Vec<Row<'static>> {
    rows.clear();
    // Collected in place: the standard library keeps the memory where the layout is the same.
    rows.into_iter().map_while(|_| None).collect()
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

#[cfg(test)]
mod tests {
    use super::super::agents::AgentTable;
    use super::*;
    use crate::review::{Review, Source};

    #[test]
    fn rows_leave_their_memory() {
        let table = AgentTable::new(usize::MAX);
        let mut cache = AgentCache::new(&table);
        let mut parsed = Parsed::new(3, Memory::default());
        parsed.rows.extend((0..100).map(|_| Row::blank(&mut cache)));
        parsed.of_shard[2].extend(0..100);
        let (rows, of_shard) = (parsed.rows.capacity(), parsed.of_shard[2].capacity());
        let parsed = Parsed::new(3, parsed.take_memory());
        assert_eq!((parsed.rows.len(), parsed.rows(2).count()), (0, 0));
        assert_eq!((parsed.rows.capacity(), parsed.of_shard[2].capacity()), (rows, of_shard));
    }

    #[test]
    fn odd_lines_change_nothing_for_those_around_them() {
        let line = |address: &str, path: &str, status: u32| {
            let at = "20/Nov/2026:10:00:00 +0000";
            format!("{address} - - [{at}] \"GET {path} HTTP/1.1\" {status} 9 \"-\" \"curl/8.5.0\"\n")
        };
        let usual = |i: u32| line("198.51.100.2", &format!("/news/a-b-c-{i}"), 200).into_bytes();
        let odd = |path: &[u8]| {
            let whole = line("203.0.113.9", "/?", 404);
            let (before, behind) = whole.split_once("/?").unwrap();
            [before.as_bytes(), path, behind.as_bytes()].concat()
        };
        // Latin-1, an escape, a tab, one control byte; and a line that is no text.
        let odd = [odd(b"/caf\xE9"), odd(br"/t\xc3\xa9"), odd(b"/a\tb"), odd(b"/a\x1Bb"), odd(b"/\x00")].concat();
        let some = |i: u32| if i % 100 == 70 { [usual(i), odd.clone()].concat() } else { usual(i) };
        let path = std::env::temp_dir().join(format!("deckle-odd-{}.log", std::process::id()));
        std::fs::write(&path, (0..300).flat_map(some).collect::<Vec<u8>>()).unwrap();
        let report = Review::default().jobs(2).read(&[Source::Path(path.clone())]).report;
        std::fs::remove_file(path).unwrap();
        assert_eq!((report.quality.lines, report.quality.hits, report.content.articles), (315, 312, 300));
        assert_eq!(report.quality.skipped.into_iter().collect::<Vec<_>>(), [("binary", 3)]);
        let missing: Vec<_> = report.status.not_found.iter().map(|row| (row.path.as_str(), row.hits)).collect();
        assert_eq!(missing, [("/a\tb", 3), ("/a\u{1B}b", 3), ("/caf\u{FFFD}", 3), ("/té", 3)]);
    }
}
