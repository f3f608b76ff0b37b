//! Files, directories and standard input, plain or compressed; by the first bytes, not by the name.

mod names;
mod opened;

use std::cmp::Ordering;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::audit::reader::MAX_LINE;
use crate::audit::segment_file::open;

pub use names::{files, newest_first};
use opened::Opened;
pub(crate) use opened::{Identity, Now, identity};

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
    /// Its last line has no end: a crash has cut it off, or somebody has.
    #[error("truncated_input: `{path}` at byte {bytes}: the last line has no end")]
    Torn {
        /// The file.
        path: String,
        /// Bytes that were read, after decompression.
        bytes: u64,
    },
    /// What reads has failed by itself.
    #[error("reading ended early, by a fault of deckle")]
    Fault,
    /// It is not what it was when reading began.
    #[error("input_changed: `{path}` was {how} while it was read; lines may be missing")]
    Changed {
        /// The file.
        path: String,
        /// What became of it.
        how: &'static str,
    },
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
    /// Where each line stands, without its line feed, and whether it had one.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Range<usize>, bool)> + Clone {
        let mut from = 0;
        std::iter::from_fn(move || {
            let rest = self.bytes.get(from..).filter(|rest| !rest.is_empty())?;
            let found = memchr::memchr(b'\n', rest);
            let start = from;
            let end = start + found.unwrap_or(rest.len());
            from = end + 1;
            Some((start..end, found.is_some()))
        })
    }

    /// Nothing is in it, and nothing was left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.too_long_bytes == 0
    }

    /// Each line without its line feed, and whether it had one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], bool)> + Clone {
        self.spans().filter_map(|(span, whole)| Some((self.bytes.get(span)?, whole)))
    }
}

/// Reads a source in chunks of whole lines.
pub(crate) struct Chunks {
    reader: Box<dyn BufRead + Send>,
    path: String,
    opened: Option<Opened>,
    compressed: bool,
    /// The end is that of today: somebody writes on.
    follows: bool,
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
    /// Memory for the next chunk.
    spare: Vec<u8>,
}

impl Chunks {
    /// # Errors
    /// [`InputError::Io`]
    pub(crate) fn open(source: &Source) -> Result<Self, InputError> {
        match source {
            Source::Stdin => Self::new("-".to_owned(), Box::new(std::io::stdin()), None),
            Source::Path(path) => {
                let name = path.display().to_string();
                let (file, path) = open(path).map_err(|source| InputError::Io { path: name.clone(), source })?;
                let opened = Opened::of(path, &file);
                Self::new(name, Box::new(file), opened)
            }
            #[cfg(feature = "clickhouse")]
            Source::ClickHouse(hits) => {
                let name = hits.to_string();
                let rows = hits.open().map_err(|source| InputError::Io { path: name.clone(), source })?;
                Self::new(name, rows, None)
            }
        }
    }

    /// Memory of a chunk that is done: what is new comes from the system page by page.
    pub(crate) fn reuse(&mut self, spare: Vec<u8>) {
        self.spare = spare;
    }

    fn new(path: String, input: Box<dyn Read + Send>, opened: Option<Opened>) -> Result<Self, InputError> {
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
            opened,
            compressed,
            follows: false,
            live,
            carry: Vec::new(),
            skipping: false,
            bytes: 0,
            failed: None,
            done: false,
            spare: Vec::new(),
        })
    }

    /// From now on the end is only that of today: a line without line feed waits for its rest. False: what this is cannot
    /// grow.
    pub(crate) fn follow(&mut self) -> bool {
        self.follows = self.opened.is_some() && !self.compressed;
        self.follows
    }

    /// By what the system tells the file from others.
    pub(crate) fn identity(&self) -> Identity {
        self.opened.as_ref().and_then(|opened| opened.identity)
    }

    /// Bytes of the file; `None`: it is none, or compressed.
    pub(crate) fn length(&self) -> Option<u64> {
        let opened = self.opened.as_ref().filter(|_| !self.compressed)?;
        std::fs::metadata(&opened.path).ok().map(|metadata| metadata.len())
    }

    /// What stands under its name now; `None`: it is no file.
    pub(crate) fn now(&self) -> Option<Now> {
        let opened = self.opened.as_ref()?;
        let Ok(metadata) = std::fs::metadata(&opened.path) else { return Some(Now::Gone) };
        Some(match metadata.len().cmp(&self.bytes) {
            _ if identity(&metadata) != opened.identity => Now::Other,
            _ if self.compressed => Now::Same,
            Ordering::Less => Now::Shorter,
            Ordering::Equal => Now::Same,
            Ordering::Greater => Now::Longer,
        })
    }

    /// Behind the last line: is it still what was opened?
    pub(crate) fn changed(&self) -> Option<InputError> {
        let how = match self.now()? {
            Now::Same | Now::Longer => return None,
            Now::Shorter => "cut short",
            Now::Other => "replaced",
            // deckle compresses its segments; what they say stays.
            Now::Gone if self.opened.as_ref().is_some_and(|opened| open(&opened.path).is_ok()) => return None,
            Now::Gone => "moved or removed",
        };
        Some(InputError::Changed { path: self.path.clone(), how })
    }

    /// What stands behind the last line feed, when nobody will end that line.
    pub(crate) fn rest(&mut self) -> Option<Chunk> {
        let bytes = std::mem::take(&mut self.carry);
        (!bytes.is_empty()).then_some(Chunk { bytes, too_long: 0, too_long_bytes: 0, last: true })
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
        // A long line goes on in the next chunks until it is too long.
        let mut filled = self.carry.len();
        let full = filled + CHUNK;
        let mut bytes = std::mem::take(&mut self.spare);
        // What is there already costs nothing.
        bytes.resize(full, 0);
        bytes.splice(..filled, self.carry.drain(..));
        let mut chunk = Chunk { bytes, too_long: 0, too_long_bytes: 0, last: false };
        let (mut failed, mut at_end) = (None, false);
        while filled < full {
            let before = filled;
            // A read as long as the reader's own buffer goes past it.
            match self.reader.read(chunk.bytes.get_mut(before..full).unwrap_or_default()) {
                Ok(0) => {
                    (chunk.last, at_end) = (!self.follows, true);
                    break;
                }
                Ok(read) => {
                    self.bytes += read as u64;
                    filled += read;
                }
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    failed = Some(self.error(source));
                    chunk.last = true;
                    break;
                }
            }
            if self.skipping {
                chunk.bytes.truncate(filled);
                self.skip_rest_of_line(&mut chunk);
                filled = chunk.bytes.len();
                chunk.bytes.resize(full, 0);
            }
            if self.live && memchr::memchr(b'\n', chunk.bytes.get(before..filled).unwrap_or_default()).is_some() {
                break;
            }
        }
        chunk.bytes.truncate(filled);
        if chunk.last {
            self.done = failed.is_none();
        } else {
            self.keep_whole_lines(&mut chunk);
        }
        // The lines first.
        self.failed = failed;
        if at_end && self.follows && chunk.is_empty() {
            return None;
        }
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
        let end = memchr::memchr(b'\n', &chunk.bytes).map_or(chunk.bytes.len(), |at| at + 1);
        self.skipping = chunk.bytes.get(end.wrapping_sub(1)) != Some(&b'\n');
        chunk.bytes.drain(..end);
        chunk.too_long_bytes += end as u64;
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn chunks(bytes: &[u8]) -> (Vec<(usize, bool)>, u64, Option<String>) {
        let mut chunks = Chunks::new("x".into(), Box::new(std::io::Cursor::new(bytes.to_vec())), None).unwrap();
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

    /// A file of one test, with a line in it.
    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("deckle-input-{name}-{}", std::process::id()));
        std::fs::write(&path, "one\n").unwrap();
        path
    }

    fn append(path: &Path, text: &str) {
        File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn next(chunks: &mut Chunks) -> Option<String> {
        chunks.next_chunk().map(|chunk| String::from_utf8(chunk.unwrap().bytes).unwrap())
    }

    #[test]
    fn a_file_that_is_followed_has_no_end() {
        let path = file("grows");
        let mut chunks = Chunks::open(&Source::Path(path.clone())).unwrap();
        assert!(chunks.follow());
        assert_eq!((next(&mut chunks), next(&mut chunks), chunks.now()), (Some("one\n".into()), None, Some(Now::Same)));
        append(&path, "tw");
        assert_eq!((chunks.now(), next(&mut chunks)), (Some(Now::Longer), None), "half a line is none");
        append(&path, "o\nthree\nfo");
        assert_eq!((next(&mut chunks), next(&mut chunks)), (Some("two\nthree\n".into()), None));
        let rest = chunks.rest().map(|chunk| (chunk.bytes, chunk.last));
        assert_eq!((rest, chunks.rest().is_none()), (Some((b"fo".to_vec(), true)), true));
        assert!(chunks.changed().is_none(), "who writes on changes nothing");
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(chunks.now(), Some(Now::Shorter));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(chunks.now(), Some(Now::Gone));
        std::fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
        assert_eq!(chunks.now(), Some(if cfg!(unix) { Now::Other } else { Now::Longer }));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_changed_while_it_was_read_is_told() {
        let path = file("changes");
        let read = |change: &dyn Fn()| {
            std::fs::write(&path, "one\n").unwrap();
            let mut chunks = Chunks::open(&Source::Path(path.clone())).unwrap();
            assert_eq!(next(&mut chunks).as_deref(), Some("one\n"));
            change();
            assert_eq!(next(&mut chunks), None);
            chunks.changed().map(|error| error.to_string())
        };
        assert_eq!(read(&|| {}), None);
        assert_eq!(read(&|| append(&path, "two\n")), None);
        let cut = read(&|| std::fs::write(&path, "").unwrap()).unwrap();
        assert!(cut.starts_with("input_changed: `") && cut.contains("was cut short"), "{cut}");
        let gone = read(&|| std::fs::remove_file(&path).unwrap()).unwrap();
        assert!(gone.contains("was moved or removed"), "{gone}");
        let compressed = PathBuf::from(format!("{}.gz", path.display()));
        let compress = || {
            std::fs::write(&compressed, gz(b"one\n")).unwrap();
            std::fs::remove_file(&path).unwrap();
        };
        assert_eq!(read(&compress), None, "it says the same");
        std::fs::remove_file(compressed).unwrap();
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
