//! Files, directories and standard input, plain or compressed; by the first bytes, not by the name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::audit::reader::MAX_LINE;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a log directory of deckle.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// Rows of a table of ClickHouse.
    #[cfg(feature = "clickhouse")]
    ClickHouse(Box<crate::audit::clickhouse::Hits>),
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
    /// A compressed file ends too early or is damaged.
    #[error("truncated_input: `{path}` at byte {bytes}: {source}")]
    Damaged {
        /// The file.
        path: String,
        /// Bytes that were read before, after decompression.
        bytes: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// What reads has failed by itself.
    #[error("reading ended early, by a fault of deckle")]
    Fault,
    /// A directory without logs.
    #[error("`{path}` holds no log (audit-*.ndjson, *.log)")]
    NoLog {
        /// The directory.
        path: String,
    },
    /// Nothing in it is a line of a log.
    #[error("`{path}` is not a log: {percent} % control bytes")]
    Binary {
        /// The file.
        path: String,
        /// Share of control bytes.
        percent: u32,
    },
    /// It must be said what it is.
    #[error("`{path}` may be `{first}` or `{second}`: say which by --format")]
    Ambiguous {
        /// The file.
        path: String,
        /// One format.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

/// Whole lines of a source.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Lines with their line feeds; only the last line of a source may have none.
    pub(crate) bytes: Vec<u8>,
    /// Lines that were too long, and are left out.
    pub(crate) too_long: u64,
    /// Their bytes.
    pub(crate) too_long_bytes: u64,
    /// Nothing comes after it.
    pub(crate) last: bool,
}

impl Chunk {
    /// Each line without its line feed, and whether it had one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], bool)> + Clone {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (line, whole, next) = match memchr::memchr(b'\n', rest) {
                Some(at) => (rest.get(..at)?, true, rest.get(at + 1..)?),
                None => (rest, false, &[][..]),
            };
            rest = next;
            Some((line, whole))
        })
    }
}

/// Reads a source in chunks of whole lines.
pub(crate) struct Chunks {
    reader: Box<dyn BufRead + Send>,
    path: String,
    compressed: bool,
    /// Lines are given out as they come: somebody may write slowly.
    live: bool,
    /// The beginning of a line.
    carry: Vec<u8>,
    /// The rest of a line that is too long.
    skipping: bool,
    bytes: u64,
    /// What went wrong behind the lines that were given out.
    failed: Option<InputError>,
    done: bool,
}

impl Chunks {
    /// # Errors
    /// [`InputError::Io`]
    pub(crate) fn open(source: &Source) -> Result<Self, InputError> {
        let (path, input): (String, Box<dyn Read + Send>) = match source {
            Source::Stdin => ("-".to_owned(), Box::new(std::io::stdin())),
            Source::Path(path) => {
                let name = path.display().to_string();
                let file = open(path).map_err(|source| InputError::Io { path: name.clone(), source })?;
                (name, Box::new(file))
            }
            #[cfg(feature = "clickhouse")]
            Source::ClickHouse(hits) => {
                let name = hits.to_string();
                let rows = hits.open().map_err(|source| InputError::Io { path: name.clone(), source })?;
                (name, rows)
            }
        };
        Self::new(path, input)
    }

    fn new(path: String, input: Box<dyn Read + Send>) -> Result<Self, InputError> {
        let io = |source| InputError::Io { path: path.clone(), source };
        let mut buffered = BufReader::with_capacity(CHUNK, input);
        let start = buffered.fill_buf().map_err(io)?;
        let (reader, compressed): (Box<dyn BufRead + Send>, bool) = match start {
            [0x1F, 0x8B, ..] => {
                let decoder = flate2::bufread::MultiGzDecoder::new(buffered);
                (Box::new(BufReader::with_capacity(CHUNK, decoder)), true)
            }
            [0x28, 0xB5, 0x2F, 0xFD, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(io)?;
                (Box::new(BufReader::with_capacity(CHUNK, decoder)), true)
            }
            _ => (Box::new(buffered), false),
        };
        let live = path == "-" && !compressed;
        Ok(Self {
            reader,
            path,
            compressed,
            live,
            carry: Vec::new(),
            skipping: false,
            bytes: 0,
            failed: None,
            done: false,
        })
    }

    /// The next lines; `None` after the last ones. What was read before an error has been given out.
    pub(crate) fn next_chunk(&mut self) -> Option<Result<Chunk, InputError>> {
        if let Some(error) = self.failed.take() {
            self.done = true;
            return Some(Err(error));
        }
        if self.done {
            return None;
        }
        let mut chunk = Chunk { bytes: std::mem::take(&mut self.carry), too_long: 0, too_long_bytes: 0, last: false };
        // A long line goes on in the next chunks until it is too long.
        let full = chunk.bytes.len() + CHUNK;
        chunk.bytes.reserve_exact(CHUNK);
        let mut failed = None;
        while chunk.bytes.len() < full {
            let before = chunk.bytes.len();
            // A read as long as the reader's own buffer goes past it.
            chunk.bytes.resize(full, 0);
            let read = self.reader.read(chunk.bytes.get_mut(before..).unwrap_or_default());
            chunk.bytes.truncate(before + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => {
                    chunk.last = true;
                    break;
                }
                Ok(read) => self.bytes += read as u64,
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    failed = Some(self.error(source));
                    chunk.last = true;
                    break;
                }
            }
            self.skip_rest_of_line(&mut chunk);
            if self.live && memchr::memchr(b'\n', chunk.bytes.get(before..).unwrap_or_default()).is_some() {
                break;
            }
        }
        if chunk.last {
            self.done = failed.is_none();
        } else {
            self.keep_whole_lines(&mut chunk);
        }
        // The lines first.
        self.failed = failed;
        Some(Ok(chunk))
    }

    fn error(&self, source: std::io::Error) -> InputError {
        let path = self.path.clone();
        if self.compressed {
            InputError::Damaged { path, bytes: self.bytes, source }
        } else {
            InputError::Io { path, source }
        }
    }

    fn skip_rest_of_line(&mut self, chunk: &mut Chunk) {
        if self.skipping {
            let end = memchr::memchr(b'\n', &chunk.bytes).map_or(chunk.bytes.len(), |at| at + 1);
            self.skipping = chunk.bytes.get(end.wrapping_sub(1)) != Some(&b'\n');
            chunk.bytes.drain(..end);
            chunk.too_long_bytes += end as u64;
        }
    }

    fn keep_whole_lines(&mut self, chunk: &mut Chunk) {
        match memchr::memrchr(b'\n', &chunk.bytes) {
            Some(at) => self.carry = chunk.bytes.split_off(at + 1),
            None if chunk.bytes.len() > MAX_LINE => {
                chunk.too_long_bytes += chunk.bytes.len() as u64;
                chunk.bytes.clear();
                chunk.too_long = 1;
                self.skipping = true;
            }
            None => self.carry = std::mem::take(&mut chunk.bytes),
        }
    }
}

/// A segment may have been compressed since it was found.
fn open(path: &Path) -> std::io::Result<File> {
    let opened = File::open(path);
    let gone = opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        File::open(name).ok()
    };
    match [".zst", ".gz"].into_iter().find_map(|end| if gone { named(end) } else { None }) {
        Some(file) => Ok(file),
        None => opened,
    }
}

/// Gives every line of a log directory or file. What was read before an error stays.
///
/// # Errors
/// [`InputError`].
pub fn log_lines(path: &Path, mut each: impl FnMut(&[u8])) -> Result<(), InputError> {
    let mut result = Ok(());
    for file in files(path)? {
        let read = Chunks::open(&Source::Path(file)).and_then(|mut chunks| {
            while let Some(chunk) = chunks.next_chunk() {
                chunk?.lines().for_each(|(line, _)| each(line));
            }
            Ok(())
        });
        // Every file is read as far as it goes; the first error is told at the end.
        result = result.and(read);
    }
    result
}

/// Is this the name of something that a directory of logs holds?
fn is_log_name(name: &str, own: bool) -> bool {
    let bare = ["gz", "zst"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.')).unwrap_or(name);
    if own {
        return name.starts_with("audit-") && bare.ends_with(".ndjson");
    }
    // `access.log`, `access.log.1`, `access.log-20261120`
    bare.contains(".log") || bare.contains("access") || bare.ends_with(".ndjson")
}

/// The file itself, or the logs of a directory in the order of their names: deckle's segments, else what is named as logs
/// are.
///
/// # Errors
/// [`InputError`].
pub fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let io = |source| InputError::Io { path: path.display().to_string(), source };
    if !path.is_dir() {
        std::fs::metadata(path).map_err(io)?;
        return Ok(vec![path.to_owned()]);
    }
    let all: Vec<PathBuf> = std::fs::read_dir(path).map_err(io)?.flatten().map(|entry| entry.path()).collect();
    for own in [true, false] {
        let named = |p: &&PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(|name| is_log_name(name, own));
        let mut found: Vec<PathBuf> = all.iter().filter(named).filter(|p| p.is_file()).cloned().collect();
        if !found.is_empty() {
            found.sort();
            return Ok(found);
        }
    }
    Err(InputError::NoLog { path: path.display().to_string() })
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn chunks(bytes: &[u8]) -> (Vec<(usize, bool)>, u64, Option<String>) {
        let mut chunks = Chunks::new("x".into(), Box::new(std::io::Cursor::new(bytes.to_vec()))).unwrap();
        let (mut lines, mut too_long, mut error) = (Vec::new(), 0, None);
        while let Some(chunk) = chunks.next_chunk() {
            match chunk {
                Ok(chunk) => {
                    too_long += chunk.too_long;
                    lines.extend(chunk.lines().map(|(line, whole)| (line.len(), whole)));
                }
                Err(found) => error = Some(found.to_string()),
            }
        }
        (lines, too_long, error)
    }

    fn gz(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
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
        for name in names.iter().chain(&["access.log", "audit.index"]) {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let found = newest_first(&dir).unwrap();
        assert_eq!(found, names.map(|name| dir.join(name)));
        assert_eq!(newest_first(&found[2]).unwrap(), [found[2].clone()]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn lines_of_any_length_and_compression() {
        assert_eq!(chunks(b"").0, []);
        assert_eq!(chunks(b"a\nbb\n\nccc").0, [(1, true), (2, true), (0, true), (3, false)]);
        let long = [vec![b'x'; MAX_LINE * 3], b"\nshort\n".to_vec()].concat();
        assert_eq!(chunks(&long), (vec![(5, true)], 1, None));
        let endless = vec![b'x'; MAX_LINE * 2];
        assert_eq!((chunks(&endless).0, chunks(&endless).1), (vec![], 1));
        assert_eq!(chunks(&[gz(b"a\n"), gz(b"bb\n")].concat()).0, [(1, true), (2, true)]);
        let zst = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        assert_eq!(chunks(&[zst(b"a\n"), zst(b"bb\n")].concat()).0, [(1, true), (2, true)]);
        let many = b"a line of some length\n".repeat(200_000);
        assert_eq!(chunks(&many).0.len(), 200_000);
    }

    #[test]
    fn what_stands_before_a_damage_is_read() {
        let text: Vec<u8> =
            (0..50_000).flat_map(|i| format!("line {i} {}\n", i * 7_919 % 10_007).into_bytes()).collect();
        let whole = gz(&text);
        let (lines, _, error) = chunks(&whole[..whole.len() / 2]);
        assert!(lines.len() > 10_000, "{}", lines.len());
        assert!(error.unwrap().starts_with("truncated_input: `x` at byte "));
    }
}
