//! Files, directories and standard input, plain or compressed; by the first bytes, not by the name.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Review;
use crate::audit::reader::MAX_LINE;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a log directory of deckle.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The operating system says so.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A directory without segments.
    #[error("`{path}` holds no log (audit-*.ndjson)")]
    NoLog {
        /// The directory.
        path: String,
    },
}

/// Reads a source to its end. What was read before an error stays.
///
/// # Errors
/// [`InputError`].
pub fn read_into(source: &Source, review: &mut Review) -> Result<(), InputError> {
    match source {
        Source::Stdin => lines(std::io::stdin().lock(), Path::new("-"), |line, whole| feed(review, line, whole)),
        Source::Path(path) => {
            each_file(path, |opened, file| lines(opened, file, |line, whole| feed(review, line, whole)))
        }
    }
}

/// Gives every line of a log directory or file. What was read before an error stays.
///
/// # Errors
/// [`InputError`].
pub fn log_lines(path: &Path, mut each: impl FnMut(&[u8])) -> Result<(), InputError> {
    each_file(path, |opened, file| lines(opened, file, |line, _| each(line)))
}

/// Every file is read as far as it goes; the first error is told at the end.
fn each_file(
    path: &Path,
    mut read: impl FnMut(std::fs::File, &Path) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let mut result = Ok(());
    for file in files(path)? {
        let opened =
            std::fs::File::open(&file).map_err(|source| InputError::Io { path: file.display().to_string(), source });
        result = result.and(opened.and_then(|opened| read(opened, &file)));
    }
    result
}

fn feed(review: &mut Review, line: &[u8], whole: bool) {
    if whole { review.line(line) } else { review.last_line(line) }
}

/// The file itself, or the segments of a directory in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let io = |source| InputError::Io { path: path.display().to_string(), source };
    if !path.is_dir() {
        std::fs::metadata(path).map_err(io)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(io)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.starts_with("audit-") && [".ndjson", ".ndjson.zst", ".ndjson.gz"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    found.sort();
    if found.is_empty() { Err(InputError::NoLog { path: path.display().to_string() }) } else { Ok(found) }
}

/// The file itself, or the segments of a log directory, those that were opened last first.
///
/// # Errors
/// [`InputError`].
pub fn newest_first(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let mut found = files(path)?;
    found.sort_by_cached_key(|file| std::cmp::Reverse(stamp(file)));
    Ok(found)
}

/// When a segment was opened, and its number: `audit-<instance>-<stamp>-<number>.ndjson`, compressed or not.
fn stamp(file: &Path) -> Option<(String, u64)> {
    let name = file.file_name()?.to_str()?.split('.').next()?;
    let (rest, number) = name.rsplit_once('-')?;
    let (_, stamp) = rest.rsplit_once('-')?;
    Some((stamp.to_owned(), number.parse().ok()?))
}

/// Gives each line without its line feed, and whether it had one.
fn lines(input: impl Read, path: &Path, mut each: impl FnMut(&[u8], bool)) -> Result<(), InputError> {
    let io = |source| InputError::Io { path: path.display().to_string(), source };
    let mut buffered = BufReader::with_capacity(1 << 20, input);
    let start = buffered.fill_buf().map_err(io)?;
    let reader: Box<dyn BufRead + '_> = match start {
        [0x1F, 0x8B, ..] => Box::new(BufReader::with_capacity(1 << 20, flate2::bufread::MultiGzDecoder::new(buffered))),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(io)?;
            Box::new(BufReader::with_capacity(1 << 20, decoder))
        }
        _ => Box::new(buffered),
    };
    let mut reader = reader;
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than is kept tells a line that is too long.
        let read = reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line).map_err(io)?;
        if read == 0 {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        if !whole && line.len() > MAX_LINE {
            each(&line, true);
            skip_line(&mut reader).map_err(io)?;
            continue;
        }
        if whole {
            line.pop();
        }
        each(&line, whole);
    }
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<(usize, bool)> {
        let mut out = Vec::new();
        lines(bytes, Path::new("x"), |line, whole| out.push((line.len(), whole))).unwrap();
        out
    }

    #[test]
    fn the_newest_segment_is_first() {
        let dir = std::env::temp_dir().join(format!("deckle-newest-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names = [
            "audit-a-b-20260301T000000Z-1.ndjson.gz",
            "audit-a-20260101T000000Z-10.ndjson",
            "audit-a-20260101T000000Z-9.ndjson.zst",
            "audit-z-20250101T000000Z-11.ndjson",
            "audit-of-nobody.ndjson",
        ];
        for name in names {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let found = newest_first(&dir).unwrap();
        assert_eq!(found, names.map(|name| dir.join(name)));
        assert_eq!(newest_first(&found[2]).unwrap(), [found[2].clone()]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn lines_of_any_length_and_compression() {
        assert_eq!(read(b""), []);
        assert_eq!(read(b"a\nbb\n\nccc"), [(1, true), (2, true), (0, true), (3, false)]);
        let long = [vec![b'x'; MAX_LINE * 2], b"\nshort\n".to_vec()].concat();
        assert_eq!(read(&long), [(MAX_LINE + 2, true), (5, true)]);
        let gz = |text: &[u8]| {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(text).unwrap();
            e.finish().unwrap()
        };
        assert_eq!(read(&[gz(b"a\n"), gz(b"bb\n")].concat()), [(1, true), (2, true)]);
        let zst = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        assert_eq!(read(&[zst(b"a\n"), zst(b"bb\n")].concat()), [(1, true), (2, true)]);
    }
}
