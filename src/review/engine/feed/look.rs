//! What a source is, by its first lines.

use std::time::Duration;

use super::{LOOKED_AT, Problem, Reading, first_time, name};
use crate::audit::reader::{Detection, Format, Line, Reader, detect};
use crate::review::engine::known::{Beginning, Known};
use crate::review::input::{Chunk, Chunks, Identity, InputError, Source};

/// Bytes by which a file is known again.
const SAME: usize = 64 * 1024;

/// A source that was looked at.
pub(super) struct Looked {
    pub(super) number: usize,
    pub(super) source: Source,
    pub(super) first: Duration,
    /// Standard input and pipes cannot be opened twice; a question would be asked twice.
    pub(super) open: Option<(Chunks, Chunk)>,
    /// What stood under its name.
    pub(super) identity: Identity,
    pub(super) reader: Reader,
    /// Bytes, where that can be told.
    length: Option<u64>,
}

impl Looked {
    /// Of two that begin with the same lines the longer one counts; what is to be told of the other one.
    pub(super) fn keep_longer(&mut self, mut other: Self) -> Problem {
        let more = match (self.length, other.length) {
            (Some(own), Some(others)) if own != others => own.abs_diff(others),
            _ => return Problem::Twice(other.number),
        };
        if other.length > self.length {
            std::mem::swap(self, &mut other);
        }
        let (kept, left_out) = (name(&self.source), name(&other.source));
        Problem::Note(format!("`{left_out}` was left out: it begins as `{kept}` does, which is longer by {more} bytes"))
    }
}

/// What a source is known by again.
#[derive(Debug, Default)]
pub(super) struct Same {
    /// Device and inode.
    pub(super) file: Option<u64>,
    /// Its first lines.
    pub(super) start: Option<u64>,
}

/// With it: what it is known by again.
pub(super) fn look(
    number: usize,
    source: &Source,
    reading: &Reading,
    known: Option<&mut Known>,
) -> Result<(Option<Looked>, Same), InputError> {
    let mut chunks = Chunks::open(source)?;
    let Some(chunk) = first_lines(&mut chunks)? else { return Ok((None, Same::default())) };
    // Two short files of the same lines are not one.
    let start = chunk.bytes.get(..SAME).map(twox_hash::XxHash3_64::oneshot);
    let same = Same { file: identity(source), start };
    let reader = reader(source, &chunk, reading)?;
    let Some(reader) = reader else { return Ok((None, same)) };
    let first = first_time(&chunk, &reader).unwrap_or_default();
    if let (Some(known), Source::Path(path)) = (known, source) {
        let mut file = Beginning::new(path, chunks.identity());
        if file.add(&chunk, &reader) {
            known.add(file);
        }
    }
    let length = chunks.length();
    let identity = chunks.identity();
    let open = (!is_regular(source)).then_some((chunks, chunk));
    Ok((Some(Looked { number, source: source.clone(), first, open, identity, reader, length }), same))
}

/// The first chunk with a line: the first line may be longer than a chunk.
fn first_lines(chunks: &mut Chunks) -> Result<Option<Chunk>, InputError> {
    let (mut too_long, mut too_long_bytes) = (0, 0);
    while let Some(mut chunk) = chunks.next_chunk().transpose()? {
        too_long += chunk.too_long;
        too_long_bytes += chunk.too_long_bytes;
        if chunk.last || !chunk.bytes.is_empty() {
            (chunk.too_long, chunk.too_long_bytes) = (too_long, too_long_bytes);
            if chunk.is_empty() {
                // Nothing could be read of it: why, comes behind what was.
                chunks.next_chunk().transpose()?;
            }
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

/// Can it be opened again, and begins where it began?
fn is_regular(source: &Source) -> bool {
    matches!(source, Source::Path(path) if std::fs::metadata(path).map_or(true, |metadata| metadata.is_file()))
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
pub(in crate::review::engine) fn tells(chunk: &Chunk, reader: &Reader) -> bool {
    let mut reader = reader.clone();
    chunk.lines().take(LOOKED_AT).any(|(line, _)| matches!(reader.read(line), Line::Hit(_) | Line::Other(_)))
}

/// `None`: there is no line.
pub(in crate::review::engine) fn reader(
    source: &Source,
    chunk: &Chunk,
    reading: &Reading,
) -> Result<Option<Reader>, InputError> {
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
