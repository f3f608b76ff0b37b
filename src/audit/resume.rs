//! What a writer finds when it starts: where the numbers and the chain of its instance go on, and what a crash has left.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::chain::{Digest, first_head};
use super::segments::segments;

/// Longest line that is looked at; deckle writes none of that length.
const MAX_LINE: usize = 1 << 20;

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
        let Ok(read) = read(path) else { continue };
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

fn read(path: &Path) -> std::io::Result<Read> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    #[cfg(feature = "proxy")]
    {
        let start = reader.fill_buf()?;
        if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            return read_lines(&mut BufReader::with_capacity(1 << 18, decoder));
        }
        if start.starts_with(&[0x1F, 0x8B]) {
            return read_lines(&mut BufReader::with_capacity(1 << 18, flate2::bufread::MultiGzDecoder::new(reader)));
        }
    }
    read_lines(&mut reader)
}

fn read_lines(reader: &mut dyn BufRead) -> std::io::Result<Read> {
    let mut out = Read { seq: 0, head: None, ended: false, torn: 0 };
    let mut line = Vec::new();
    // Only lines about the log name a head; the last number stands in the last line.
    let mut last = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') || line.len() > MAX_LINE {
            out.torn = line.len() as u64;
            break;
        }
        out.ended = false;
        if memchr::memmem::find(&line, b"\"deckle.kind\"").is_some()
            && let Ok(stated) = serde_json::from_slice::<Stated>(&line)
        {
            out.ended = stated.kind.as_deref() == Some("end");
            out.head = match (stated.kind.as_deref(), stated.head.as_deref().and_then(digest)) {
                (Some("segment"), _) => Some(first_head(&line)),
                (Some("checkpoint" | "end"), Some(head)) => Some(head),
                _ => out.head,
            };
        }
        std::mem::swap(&mut line, &mut last);
    }
    if let Ok(stated) = serde_json::from_slice::<Stated>(&last) {
        out.seq = stated.seq;
    }
    Ok(out)
}

fn digest(hex: &str) -> Option<Digest> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}
