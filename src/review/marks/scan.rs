//! Reads all segments, several at a time, in chunks of whole lines.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{MarkReading, lock};
use crate::audit::segment_file::bare_name;
use crate::review::input::{Chunks, Now};
use crate::review::{InputError, Progress, Source, files};

/// Segments that are read at the same time; each holds one chunk.
const MOST: usize = 16;

/// Calls `each` with the chunks of all segments, from several threads; the chunks of one segment come in their order.
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
    let work = Work { reading, each, bytes: AtomicU64::new(0), lines: AtomicU64::new(0) };
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        while !reading.stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(segment) = segments.get(number) else { break };
            if let Err(error) = work.segment(segment) {
                lock(&failed).push((number, error));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).clamp(2, MOST).min(segments.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one reads all.
            let _ = std::thread::Builder::new().name("deckle-marks".to_owned()).spawn_scoped(scope, run);
        }
        run();
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_by_key(|(number, _)| *number);
    errors.extend(failed.into_iter().map(|(_, error)| error));
    errors
}

struct Work<'w> {
    reading: &'w MarkReading<'w>,
    each: &'w (dyn Fn(&Path, &[u8]) + Sync),
    bytes: AtomicU64,
    lines: AtomicU64,
}

impl Work<'_> {
    fn segment(&self, path: &Path) -> Result<(), InputError> {
        let mut chunks = Chunks::open(&Source::Path(path.to_owned()))?;
        let (mut read, mut torn) = (0u64, false);
        while !self.reading.stop.load(Ordering::Relaxed) {
            let Some(chunk) = chunks.next_chunk() else { return ended(path, &chunks, read, torn) };
            let chunk = chunk?;
            (self.each)(path, &chunk.bytes);
            read += chunk.bytes.len() as u64;
            torn = chunk.bytes.last().map_or(torn, |last| *last != b'\n');
            self.tell(&chunk.bytes);
            chunks.reuse(chunk.bytes);
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

/// Was it all?
fn ended(path: &Path, chunks: &Chunks, bytes: u64, torn: bool) -> Result<(), InputError> {
    // Who has begun a line is about to end it.
    if torn && chunks.now() != Some(Now::Longer) {
        return Err(InputError::Torn { path: path.display().to_string(), bytes });
    }
    chunks.changed().map_or(Ok(()), Err)
}
