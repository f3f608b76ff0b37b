//! Reads all segments on all cores: each thread takes segments of its own, and once none is left it helps with those that
//! others have begun, so that one long segment does not keep one thread busy and the others waiting.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{MarkReading, lock};
use crate::audit::segment_file::bare_name;
use crate::review::input::{Chunk, Chunks, Now};
use crate::review::{InputError, Progress, Source, files};

/// Threads at most; each holds one chunk, and has one segment open.
const MOST: usize = 16;

/// Calls `each` with the chunks of all segments, from several threads and in no order.
pub(super) fn scan(
    dirs: &[PathBuf],
    reading: &MarkReading<'_>,
    each: &(dyn Fn(&Path, &[u8]) + Sync),
) -> Vec<InputError> {
    let (mut segments, mut errors) = (Vec::new(), Vec::new());
    for dir in dirs {
        match files(dir) {
            Ok(mut found) => {
                // A crash may have left a segment both plain and compressed.
                found.dedup_by_key(|file| bare_name(file));
                segments.append(&mut found);
            }
            Err(error) => errors.push(error),
        }
    }
    let shelf = Shelf { left: segments.into_iter().enumerate(), open: Vec::new(), failed: Vec::new() };
    let work = Work { reading, each, shelf: Mutex::new(shelf), bytes: AtomicU64::new(0), lines: AtomicU64::new(0) };
    let threads = match reading.jobs {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).clamp(2, MOST),
        jobs => jobs.min(MOST),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one reads all.
            let run = || work.run();
            let _ = std::thread::Builder::new().name("deckle-marks".to_owned()).spawn_scoped(scope, run);
        }
        work.run();
    });
    let Shelf { mut failed, .. } = work.shelf.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(number, _)| *number);
    errors.extend(failed.into_iter().map(|(_, error)| error));
    errors
}

/// The segments that are still to be read.
struct Shelf {
    left: std::iter::Enumerate<std::vec::IntoIter<PathBuf>>,
    open: Vec<Arc<Segment>>,
    failed: Vec<(usize, InputError)>,
}

impl Shelf {
    /// The next one that nobody reads, else the one with the fewest readers.
    fn next(&mut self) -> Option<Arc<Segment>> {
        for (number, path) in self.left.by_ref() {
            match Chunks::open(&Source::Path(path.clone())) {
                Ok(chunks) => {
                    let rest = Mutex::new(Rest { chunks, read: 0, torn: false, over: false });
                    let segment = Arc::new(Segment { number, path, rest });
                    self.open.push(Arc::clone(&segment));
                    return Some(segment);
                }
                Err(error) => self.failed.push((number, error)),
            }
        }
        self.open.iter().min_by_key(|segment| Arc::strong_count(segment)).cloned()
    }

    /// Nothing more is to be had of it.
    fn close(&mut self, segment: &Segment, ended: Result<(), InputError>) {
        self.open.retain(|open| open.number != segment.number);
        if let Err(error) = ended {
            self.failed.push((segment.number, error));
        }
    }
}

/// A segment that is open; whoever is free takes its next chunk.
struct Segment {
    number: usize,
    path: PathBuf,
    rest: Mutex<Rest>,
}

/// What is left of it, and what there was.
struct Rest {
    chunks: Chunks,
    read: u64,
    torn: bool,
    /// Somebody has been told how it ended.
    over: bool,
}

impl Segment {
    /// The next lines, in the memory of others that are done; `None`: there are no more. Only one thread hears of an error.
    fn take(&self, spare: Vec<u8>) -> Result<Option<Chunk>, InputError> {
        let mut rest = lock(&self.rest);
        rest.chunks.reuse(spare);
        if let Some(chunk) = rest.chunks.next_chunk().transpose().inspect_err(|_| rest.over = true)? {
            rest.read += chunk.bytes.len() as u64;
            rest.torn = chunk.bytes.last().map_or(rest.torn, |last| *last != b'\n');
            return Ok(Some(chunk));
        }
        if !std::mem::replace(&mut rest.over, true) {
            rest.ended(&self.path)?;
        }
        Ok(None)
    }
}

impl Rest {
    /// Was it all?
    fn ended(&self, path: &Path) -> Result<(), InputError> {
        // Who has begun a line is about to end it.
        if self.torn && self.chunks.now() != Some(Now::Longer) {
            return Err(InputError::Torn { path: path.display().to_string(), bytes: self.read });
        }
        self.chunks.changed().map_or(Ok(()), Err)
    }
}

struct Work<'w> {
    reading: &'w MarkReading<'w>,
    each: &'w (dyn Fn(&Path, &[u8]) + Sync),
    shelf: Mutex<Shelf>,
    bytes: AtomicU64,
    lines: AtomicU64,
}

impl Work<'_> {
    /// What one thread does.
    fn run(&self) {
        let mut spare = Vec::new();
        while !self.reading.stop.load(Ordering::Relaxed) {
            let Some(segment) = lock(&self.shelf).next() else { break };
            let ended = self.read(&segment, &mut spare);
            lock(&self.shelf).close(&segment, ended);
        }
    }

    /// Reads on until a segment ends, or it is stopped.
    fn read(&self, segment: &Segment, spare: &mut Vec<u8>) -> Result<(), InputError> {
        while !self.reading.stop.load(Ordering::Relaxed) {
            let Some(chunk) = segment.take(std::mem::take(spare))? else { break };
            (self.each)(&segment.path, &chunk.bytes);
            self.tell(&chunk.bytes);
            *spare = chunk.bytes;
        }
        Ok(())
    }

    fn tell(&self, bytes: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
        let lines = self.lines.fetch_add(lines, Ordering::Relaxed) + lines;
        let bytes = self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
        (self.reading.progress)(Progress { bytes, lines });
    }
}
