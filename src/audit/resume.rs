//! What a writer finds when it starts: where the numbers and the chain of its instance go on, and what a crash has left.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::chain::{Digest, first_head};
use super::segments::segments;

/// Longest line that is looked at; deckle writes none of that length.
const MAX_LINE: u64 = 1 << 20;

/// The last segment of an instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Resume {
    /// The number of its last line.
    pub(super) seq: u64,
    /// Its name without what compression adds, and its last head.
    pub(super) previous: Option<(String, Digest)>,
    /// Segments that were not ended.
    pub(super) left_open: Vec<LeftOpen>,
}

/// A segment that was not ended.
#[derive(Debug, Clone)]
pub(super) struct LeftOpen {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// Bytes of a line that was cut off.
    pub(super) torn: u64,
    pub(super) head: Option<Digest>,
    pub(super) seq: u64,
}

#[derive(Deserialize)]
struct Stated {
    #[serde(rename = "deckle.seq", default)]
    seq: u64,
    #[serde(rename = "deckle.kind")]
    kind: Option<String>,
    head: Option<String>,
}

struct Read {
    seq: u64,
    head: Option<Digest>,
    ended: bool,
    torn: u64,
}

/// Looks at the segments of an instance. Those that cannot be read are passed over.
pub(super) fn resume(dir: &Path, instance: &str) -> Resume {
    // A kill between making a segment and its first line leaves nothing.
    let is_empty = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    let all: Vec<PathBuf> = segments(dir, instance).into_iter().filter(|path| !is_empty(path)).collect();
    let mut found = Resume::default();
    for path in &all {
        let open = path.extension().is_some_and(|extension| extension == "ndjson");
        let last = Some(path) == all.last();
        let Some(name) = bare_name(path).filter(|_| open || last) else { continue };
        let read = read_end(path).unwrap_or_else(|| read(path));
        if open && !read.ended {
            let Read { torn, head, seq, .. } = read;
            found.left_open.push(LeftOpen { path: path.clone(), name: name.clone(), torn, head, seq });
        }
        found.seq = found.seq.max(read.seq);
        if last {
            found.previous = read.head.map(|head| (name, head));
        }
    }
    found
}

/// The name of a segment, as it was when it was open.
pub(super) fn bare_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.split_once(".ndjson").map_or(name, |(stem, _)| stem).to_owned() + ".ndjson")
}

/// Was it ended?
pub(super) fn is_ended(path: &Path) -> bool {
    read_end(path).is_some_and(|read| read.ended)
}

/// The last line of a file, if that is an `end` line: then nothing else need be read.
fn read_end(path: &Path) -> Option<Read> {
    const TAIL: u64 = 16 * 1024;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let line = tail.strip_suffix(b"\n")?;
    let line = line.get(memchr::memrchr(b'\n', line).map_or(0, |at| at + 1)..)?;
    let stated: Stated = serde_json::from_slice(line).ok()?;
    let ended = stated.kind.as_deref() == Some("end");
    let head = stated.head.as_deref().and_then(digest);
    (ended && head.is_some()).then_some(Read { seq: stated.seq, head, ended, torn: 0 })
}

/// As far as it can be read.
fn read(path: &Path) -> Read {
    let mut out = Read { seq: 0, head: None, ended: false, torn: 0 };
    if let Err(error) = read_into(path, &mut out) {
        tracing::warn!(target: "deckle::audit", %error, path = %path.display(), "A segment is damaged; the log goes on from what could be read.");
    }
    out
}

fn read_into(path: &Path, out: &mut Read) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    #[cfg(feature = "proxy")]
    {
        let start = reader.fill_buf()?;
        if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            return read_lines(&mut BufReader::with_capacity(1 << 18, decoder), out);
        }
        if start.starts_with(&[0x1F, 0x8B]) {
            let decoder = flate2::bufread::MultiGzDecoder::new(reader);
            return read_lines(&mut BufReader::with_capacity(1 << 18, decoder), out);
        }
    }
    read_lines(&mut reader, out)
}

fn read_lines(reader: &mut dyn BufRead, out: &mut Read) -> std::io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            out.torn = line.len() as u64;
            return Ok(());
        }
        out.ended = false;
        // Only lines about the log name a head; every line has its number.
        let about_the_log = memchr::memmem::find(&line, b"\"deckle.kind\"").is_some();
        if !about_the_log {
            out.seq = number(&line).unwrap_or(out.seq);
        } else if let Ok(stated) = serde_json::from_slice::<Stated>(&line) {
            out.seq = stated.seq.max(out.seq);
            out.ended = stated.kind.as_deref() == Some("end");
            out.head = match (stated.kind.as_deref(), stated.head.as_deref().and_then(digest)) {
                (Some("segment"), _) => Some(first_head(&line)),
                (Some("checkpoint" | "end"), Some(head)) => Some(head),
                _ => out.head,
            };
        }
    }
}

/// `deckle.seq` of a line, without reading the rest of it.
fn number(line: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"deckle.seq\":";
    let from = memchr::memmem::find(line, KEY)? + KEY.len();
    let digits = line.get(from..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

fn digest(hex: &str) -> Option<Digest> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}
