//! Sources in the order of time: each is looked at first, then they are read side by side where they overlap.

mod look;
mod merge;

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::known::Known;
use super::tails::MAX_TAILS;
use crate::audit::reader::{Format, Line, Reader, Zone};
use crate::review::input::{Chunk, Chunks, InputError, Source};
use look::{Looked, look};
pub(super) use look::{reader, tells};

/// Lines by which a format is told.
const LOOKED_AT: usize = 64;
/// Files that are read side by side.
const SIDE_BY_SIDE: usize = 64;
/// Parts of chunks that are handed on together, and their bytes.
const GROUP: (usize, usize) = (512, 1 << 18);

/// How lines are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// `--format`.
    pub(crate) format: Option<Format>,
    /// `--log-format`.
    pub(crate) custom: Option<Reader>,
    /// `--trust-xff`.
    pub(crate) hop: usize,
    /// `--tz`.
    pub(crate) zone: Option<Zone>,
}

impl Reading {
    /// Reads lines of this format.
    pub(super) fn reader(&self, format: Format) -> Reader {
        Reader::new(format).trust_xff(self.hop).zone(self.zone.clone())
    }
}

/// Lines, and how they are to be read.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) source: usize,
    pub(crate) chunk: Chunk,
    pub(crate) reader: Reader,
    /// The newest time among the lines before, as far as they were looked at.
    pub(crate) newest: Duration,
    /// Not a whole chunk: it may be small.
    is_part: bool,
}

impl Batch {
    /// Lines behind those that this reader has seen.
    pub(super) fn new(source: usize, chunk: Chunk, reader: &mut Reader) -> Self {
        let before = reader.resumed(reader.format());
        pass_over(&chunk, reader);
        Self { source, chunk, reader: before, newest: Duration::ZERO, is_part: false }
    }

    /// Its memory, if another chunk fits into it.
    pub(super) fn into_memory(self) -> Option<Vec<u8>> {
        Some(self.chunk.bytes).filter(|bytes| bytes.capacity() >= GROUP.1)
    }
}

/// A source that is read.
pub(super) struct Open {
    pub(super) number: usize,
    pub(super) chunks: Chunks,
    pub(super) reader: Reader,
    pending: Option<Chunk>,
    /// Bytes of it that were given out.
    given: usize,
    /// When it ends, once somebody has looked.
    end: Option<Duration>,
    /// Of its next line.
    time: Duration,
    newest: Duration,
}

impl Open {
    fn read_on(&mut self, spare: Option<&Receiver<Vec<u8>>>, tell: &mut dyn FnMut(Problem)) {
        if self.pending.is_some() {
            return;
        }
        if let Some(spare) = spare.and_then(|spare| spare.try_recv().ok()) {
            self.chunks.reuse(spare);
        }
        match self.chunks.next_chunk() {
            Some(Ok(chunk)) => {
                self.time = first_time(&chunk, &self.reader).unwrap_or(self.time);
                self.pending = Some(chunk);
                (self.given, self.end) = (0, None);
            }
            Some(Err(error)) => tell(Problem::Unreadable(error)),
            None => {}
        }
    }
}

/// All sources.
pub(crate) struct Feed {
    waiting: Vec<Looked>,
    open: Vec<Open>,
    /// Memory of chunks that are done.
    spare: Option<Receiver<Vec<u8>>>,
    follows: bool,
    /// Read to their end of today, if somebody follows them; the last of them last.
    pub(super) ended: Vec<Open>,
    /// Numbers of those in which there was nothing yet.
    pub(crate) empty: Vec<usize>,
    /// Numbers of those that could not be opened.
    pub(super) closed: Vec<usize>,
    /// How those begin that somebody follows.
    pub(super) known: Known,
}

impl Feed {
    /// Looks at each source. What cannot be read is told and left out.
    pub(crate) fn new(
        sources: &[(usize, Source)],
        reading: &Reading,
        spare: Option<Receiver<Vec<u8>>>,
        tell: &mut dyn FnMut(Problem),
    ) -> Self {
        Self::of(sources, reading, (spare, None), tell)
    }

    /// The same, of what somebody follows: what ends is kept, to be read on later.
    pub(super) fn followed(sources: &[(usize, Source)], reading: &Reading, tell: &mut dyn FnMut(Problem)) -> Self {
        Self::of(sources, reading, (None, Some(Known::default())), tell)
    }

    fn of(
        sources: &[(usize, Source)],
        reading: &Reading,
        (spare, mut known): (Option<Receiver<Vec<u8>>>, Option<Known>),
        tell: &mut dyn FnMut(Problem),
    ) -> Self {
        let (mut waiting, mut empty, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        // Which files there were, and by how they begin their places among those that wait.
        let (mut files, mut starts): (HashSet<u64>, HashMap<u64, usize>) = (HashSet::new(), HashMap::new());
        for (number, source) in sources {
            let number = *number;
            match look(number, source, reading, known.as_mut()) {
                Ok((_, same)) if same.file.is_some_and(|file| !files.insert(file)) => tell(Problem::Twice(number)),
                Ok((Some(looked), same)) => {
                    let place = same.start.and_then(|start| starts.get(&start).copied());
                    match place.and_then(|place| waiting.get_mut(place)) {
                        Some(known) => tell(Looked::keep_longer(known, looked)),
                        None => {
                            starts.extend(same.start.map(|start| (start, waiting.len())));
                            waiting.push(looked);
                        }
                    }
                }
                Ok((None, _)) => empty.push(number),
                Err(error) => {
                    if let InputError::Io { .. } = error {
                        closed.push(number);
                    }
                    tell(Problem::Unreadable(error));
                }
            }
        }
        waiting.sort_by_key(|looked| std::cmp::Reverse((looked.first, looked.number)));
        let (follows, known) = (known.is_some(), known.unwrap_or_default());
        Self { waiting, open: Vec::new(), spare, follows, ended: Vec::new(), empty, closed, known }
    }

    /// The lines that come next: a chunk, or as many parts of chunks as are worth a thread's while.
    pub(crate) fn next_group(&mut self, tell: &mut dyn FnMut(Problem)) -> Option<Vec<Batch>> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next_batch(tell) {
            bytes += batch.chunk.bytes.len();
            let is_part = batch.is_part;
            group.push(batch);
            if !is_part || group.len() >= GROUP.0 || bytes >= GROUP.1 {
                break;
            }
        }
        (!group.is_empty()).then_some(group)
    }

    fn next_batch(&mut self, tell: &mut dyn FnMut(Problem)) -> Option<Batch> {
        loop {
            // Only now: who reads must not wait for the lines behind those that it has.
            for open in &mut self.open {
                open.read_on(self.spare.as_ref(), tell);
            }
            self.end(tell);
            self.open_due(tell);
            let (at, _) = self.open.iter().enumerate().min_by_key(|(_, open)| open.time)?;
            let border = self.border(at);
            if let Some(batch) = self.open.get_mut(at)?.take(border) {
                return Some(batch);
            }
        }
    }

    /// When another source goes on.
    fn border(&self, at: usize) -> Option<Duration> {
        let others = self.open.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, open)| open.time);
        let waiting = self.waiting.last().filter(|_| self.open.len() < SIDE_BY_SIDE).map(|looked| looked.first);
        others.chain(waiting).min()
    }

    /// Takes out what has ended.
    fn end(&mut self, tell: &mut dyn FnMut(Problem)) {
        for mut open in self.open.extract_if(.., |open| open.pending.is_none()) {
            if self.follows && open.chunks.follow() {
                self.ended.push(open);
            } else if let Some(error) = open.chunks.changed() {
                tell(Problem::Unreadable(error));
            }
        }
        let too_many = self.ended.len().saturating_sub(MAX_TAILS);
        self.ended.drain(..too_many);
    }

    /// Opens what begins before the rest of what is open.
    fn open_due(&mut self, tell: &mut dyn FnMut(Problem)) {
        while self.open.len() < SIDE_BY_SIDE {
            let next = self.open.iter().map(|open| open.time).min();
            let due = self.waiting.last().is_some_and(|looked| next.is_none_or(|next| looked.first <= next));
            let Some(looked) = due.then(|| self.waiting.pop()).flatten() else { return };
            let opened = match looked.open {
                Some((chunks, chunk)) => Ok((chunks, Some(chunk))),
                None => Chunks::open(&looked.source).and_then(|mut chunks| {
                    if self.follows {
                        chunks.follow();
                    }
                    let first = chunks.next_chunk().transpose()?;
                    Ok((chunks, first))
                }),
            };
            if let (Ok((chunks, _)), Source::Path(path)) = (&opened, &looked.source)
                && chunks.identity() != looked.identity
                // One that was compressed meanwhile is read under its new name.
                && path.exists()
            {
                let path = name(&looked.source);
                tell(Problem::Unreadable(InputError::Changed { path, how: "replaced" }));
            }
            match opened {
                Ok((chunks, pending)) => self.open.push(Open {
                    number: looked.number,
                    chunks,
                    reader: looked.reader,
                    pending,
                    given: 0,
                    end: None,
                    time: looked.first,
                    newest: Duration::ZERO,
                }),
                Err(error) => {
                    self.closed.push(looked.number);
                    tell(Problem::Unreadable(error));
                }
            }
        }
    }
}

/// What is to be told of a source; its number.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Everything has been read.
    End,
    /// Everything that was there when reading began has been read, and more may come.
    CaughtUp,
    /// One more source; its number is the next one.
    Found(Source),
    /// Something to know, in words.
    Note(String),
    /// The same file again.
    Twice(usize),
    /// No line in it.
    Empty(usize),
    /// It cannot be read, or not to its end.
    Unreadable(InputError),
}

/// The name of a source, for people.
pub(crate) fn name(source: &Source) -> String {
    match source {
        Source::Stdin => "-".to_owned(),
        Source::Path(path) => path.display().to_string(),
        #[cfg(feature = "clickhouse")]
        Source::ClickHouse(hits) => hits.to_string(),
    }
}

/// The lines behind must be read as the directives of these say.
fn pass_over(chunk: &Chunk, reader: &mut Reader) {
    if !reader.is_stateless() {
        let directives = chunk.lines().map(|(line, _)| line).filter(|line| line.starts_with(b"#"));
        directives.for_each(|line| {
            reader.read(line);
        });
    }
}

fn first_time(chunk: &Chunk, reader: &Reader) -> Option<Duration> {
    let mut reader = reader.clone();
    chunk.lines().take(LOOKED_AT).find_map(|(line, _)| time_of(&reader.read(line)))
}

fn time_of(line: &Line<'_>) -> Option<Duration> {
    match line {
        Line::Hit(hit) => Some(hit.time),
        Line::Other(note) => Some(note.time).filter(|time| !time.is_zero()),
        _ => None,
    }
}
