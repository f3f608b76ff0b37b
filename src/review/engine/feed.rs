//! Sources in the order of time: each is looked at first, then they are read side by side where they overlap.

mod merge;

use std::collections::HashSet;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::known::{Beginning, Known};
use super::tails::MAX_TAILS;
use crate::audit::reader::{Detection, Format, Line, Reader, Zone, detect};
use crate::review::input::{Chunk, Chunks, InputError, Source};

/// Lines by which a format is told.
const LOOKED_AT: usize = 64;
/// Bytes by which a file is known again.
const SAME: usize = 64 * 1024;
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

/// A source that was looked at.
struct Looked {
    number: usize,
    source: Source,
    first: Duration,
    /// Standard input cannot be opened twice; a question would be asked twice.
    open: Option<(Chunks, Chunk)>,
    reader: Reader,
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
        let (mut waiting, mut seen, mut empty) = (Vec::new(), HashSet::new(), Vec::new());
        for (number, source) in sources {
            let number = *number;
            match look(number, source, reading, known.as_mut()) {
                Ok((_, same)) if same.iter().any(|hash| seen.contains(hash)) => tell(Problem::Twice(number)),
                Ok((Some(looked), same)) => {
                    seen.extend(same);
                    waiting.push(looked);
                }
                Ok((None, _)) => empty.push(number),
                Err(error) => tell(Problem::Unreadable(error)),
            }
        }
        waiting.sort_by_key(|looked| std::cmp::Reverse((looked.first, looked.number)));
        let (follows, known) = (known.is_some(), known.unwrap_or_default());
        Self { waiting, open: Vec::new(), spare, follows, ended: Vec::new(), empty, known }
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
                Err(error) => tell(Problem::Unreadable(error)),
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

/// With it: what it is known by again.
fn look(
    number: usize,
    source: &Source,
    reading: &Reading,
    known: Option<&mut Known>,
) -> Result<(Option<Looked>, Vec<u64>), InputError> {
    let mut chunks = Chunks::open(source)?;
    let Some(chunk) = first_lines(&mut chunks)? else { return Ok((None, Vec::new())) };
    // Two short files of the same lines are not one.
    let start = chunk.bytes.get(..SAME).map(twox_hash::XxHash3_64::oneshot);
    let same = identity(source).into_iter().chain(start).collect();
    let reader = reader(source, &chunk, reading)?;
    let Some(reader) = reader else { return Ok((None, same)) };
    let first = first_time(&chunk, &reader).unwrap_or_default();
    if let (Some(known), Source::Path(path)) = (known, source) {
        let mut file = Beginning::new(path, chunks.identity());
        if file.add(&chunk, &reader) {
            known.add(file);
        }
    }
    let open = (!matches!(source, Source::Path(_))).then_some((chunks, chunk));
    Ok((Some(Looked { number, source: source.clone(), first, open, reader }), same))
}

/// The first chunk with a line: the first line may be longer than a chunk.
fn first_lines(chunks: &mut Chunks) -> Result<Option<Chunk>, InputError> {
    let (mut too_long, mut too_long_bytes) = (0, 0);
    while let Some(mut chunk) = chunks.next_chunk().transpose()? {
        too_long += chunk.too_long;
        too_long_bytes += chunk.too_long_bytes;
        if chunk.last || !chunk.bytes.is_empty() {
            (chunk.too_long, chunk.too_long_bytes) = (too_long, too_long_bytes);
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

/// Device and inode.
fn identity(source: &Source) -> Option<u64> {
    #[cfg(unix)]
    if let Source::Path(path) = source {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let both = [metadata.dev().to_le_bytes(), metadata.ino().to_le_bytes()].concat();
        return Some(twox_hash::XxHash3_64::oneshot(&both));
    }
    let _ = source;
    None
}

/// Is there a line among the first ones that tells of something?
pub(super) fn tells(chunk: &Chunk, reader: &Reader) -> bool {
    let mut reader = reader.clone();
    chunk.lines().take(LOOKED_AT).any(|(line, _)| matches!(reader.read(line), Line::Hit(_) | Line::Other(_)))
}

/// `None`: there is no line.
pub(super) fn reader(source: &Source, chunk: &Chunk, reading: &Reading) -> Result<Option<Reader>, InputError> {
    if let Some(custom) = &reading.custom {
        return Ok(Some(custom.clone().trust_xff(reading.hop).zone(reading.zone.clone())));
    }
    let lines = || chunk.lines().map(|(line, _)| line).filter(|line| !line.trim_ascii().is_empty());
    if lines().next().is_none() && chunk.too_long == 0 {
        return Ok(None);
    }
    let format = match reading.format {
        Some(format) => format,
        None => match detect(lines().take(LOOKED_AT)) {
            Detection::Found(format) => format,
            Detection::Ambiguous(first, second) => {
                let (first, second) = (first.code(), second.code());
                return Err(InputError::Ambiguous { path: name(source), first, second });
            }
            Detection::Unknown => match percent_of_controls(chunk) {
                // As a server's log is, most of the time; each line says itself what it is not.
                0..30 => Format::Combined,
                percent => return Err(InputError::Binary { path: name(source), percent }),
            },
        },
    };
    Ok(Some(reading.reader(format)))
}

fn percent_of_controls(chunk: &Chunk) -> u32 {
    let start = chunk.bytes.get(..SAME).unwrap_or(&chunk.bytes);
    let odd = |b: &&u8| **b < 0x09 || (0x0E..0x20).contains(*b) || **b >= 0x7F;
    (start.iter().filter(odd).count() * 100 / start.len().max(1)) as u32
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
