//! Deletion: lines about a visitor or an address give way to tombstones that keep their leaves, so that the log still
//! proves itself. What was erased can be counted, and not read.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ipnet::IpNet;
use memchr::memmem;
use serde_json::Value;

use super::chain;
use super::integrity::{self, Kind, Tombstone};
use super::segment_file::{Compression, SegmentLines, SegmentName, all_segments, bare_name};
use super::storage::sync_dir;

/// Whose lines are erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// Those of a visitor (`deckle.visitor.id`).
    Visitor(String),
    /// Those whose address lies in this network. A line that only names a wider network may be about somebody else, and
    /// stays.
    Address(IpNet),
}

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Lines.
    pub lines: u64,
    /// Segments that were written anew, and how many lines went.
    pub segments: Vec<(String, u64)>,
    /// Lines that stay because they only name a wider network.
    pub wider: u64,
    /// Segments that were passed over, and why.
    pub skipped: Vec<(String, Skip)>,
}

/// Why a segment was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// It is the open one: its writer holds it.
    Open,
    /// It is being compressed.
    Busy,
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "it is open; close it (SIGHUP) and ask again",
            Self::Busy => "it is being compressed; ask again",
        })
    }
}

/// A segment could not be read or written; it is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot erase lines of `{path}`")]
pub struct ForgetError {
    /// The file.
    pub path: String,
    /// The cause.
    pub source: io::Error,
}

/// Erases lines in the closed segments of a log directory. Segments that were done before an error stay done.
///
/// # Errors
/// [`ForgetError`] for the first segment that cannot be read or written.
pub fn forget(dir: &Path, of: &Forget) -> Result<Forgotten, ForgetError> {
    let error = |path: &Path| {
        let path = path.display().to_string();
        move |source| ForgetError { path, source }
    };
    let segments = all_segments(dir).map_err(error(dir))?;
    let mut out = Forgotten::default();
    for (index, path) in segments.iter().enumerate() {
        let instance = |path: &Path| SegmentName::of(path).map(|name| name.instance);
        let is_last = segments.get(index + 1).is_none_or(|next| instance(next) != instance(path));
        let found = Found::in_segment(path, of).map_err(error(path))?;
        out.wider += found.wider;
        if found.lines == 0 {
            continue;
        }
        let name = bare_name(path);
        if is_last && !found.is_ended {
            out.skipped.push((name, Skip::Open));
        } else if is_busy(path) {
            out.skipped.push((name, Skip::Busy));
        } else {
            rewrite(path, of).map_err(error(path))?;
            out.lines += found.lines;
            out.segments.push((name.clone(), found.lines));
            // Whoever began to compress meanwhile has read what was erased.
            if is_busy(path) || !path.exists() {
                out.skipped.push((name, Skip::Busy));
            }
        }
    }
    Ok(out)
}

/// Is there a copy of it in the making?
fn is_busy(path: &Path) -> bool {
    ["ndjson.zst.tmp", "ndjson.gz.tmp"].iter().any(|end| path.with_extension(end).exists())
}

#[derive(Default)]
struct Found {
    lines: u64,
    wider: u64,
    is_ended: bool,
}

impl Found {
    fn in_segment(path: &Path, of: &Forget) -> io::Result<Self> {
        let mut found = Self::default();
        let mut lines = SegmentLines::open(path)?;
        while let Some(line) = lines.next_line()? {
            found.is_ended = integrity::kind(line) == Kind::End && line.last() == Some(&b'\n');
            match of.matches(line) {
                Match::Is => found.lines += 1,
                Match::Wider => found.wider += 1,
                Match::Not => {}
            }
        }
        Ok(found)
    }
}

enum Match {
    Is,
    /// It may be about somebody else.
    Wider,
    Not,
}

impl Forget {
    /// Only responses are about somebody.
    fn matches(&self, line: &[u8]) -> Match {
        if integrity::kind(line) != Kind::Hit {
            return Match::Not;
        }
        match self {
            Self::Visitor(id) => {
                let is =
                    memmem::find(line, id.as_bytes()).is_some() && field(line, "deckle.visitor.id") == Some(id.clone());
                if is { Match::Is } else { Match::Not }
            }
            Self::Address(net) => {
                let Some(address) = field(line, "client.address").and_then(|text| parse_net(&text)) else {
                    return Match::Not;
                };
                match (net.contains(&address), address.contains(net)) {
                    (true, _) => Match::Is,
                    (false, true) => Match::Wider,
                    (false, false) => Match::Not,
                }
            }
        }
    }
}

fn field(line: &[u8], key: &str) -> Option<String> {
    let fields: Value = serde_json::from_slice(line).ok()?;
    Some(fields.get(key)?.as_str()?.to_owned())
}

/// An address, or a network where addresses are cut.
fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?.to_canonical())))
}

/// Writes a segment anew beside it, and puts it in its place.
fn rewrite(path: &Path, of: &Forget) -> io::Result<()> {
    let temporary = temporary(path);
    let metadata = std::fs::metadata(path)?;
    let written = write_without(path, &temporary, of, &metadata.permissions(), metadata.modified().ok());
    let replaced = written.and_then(|()| std::fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced?;
    sync_dir(path.parent());
    Ok(())
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".forget");
    PathBuf::from(name)
}

fn write_without(
    path: &Path,
    temporary: &Path,
    of: &Forget,
    permissions: &Permissions,
    modified: Option<SystemTime>,
) -> io::Result<()> {
    const LEVEL: i32 = 3;
    let mut lines = SegmentLines::open(path)?;
    let out = File::create(temporary)?;
    out.set_permissions(permissions.clone())?;
    let out = match lines.compression {
        Compression::Plain => {
            let mut out = BufWriter::new(out);
            copy_without(&mut lines, of, &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?
        }
        Compression::Zstd => {
            let mut out = zstd::stream::write::Encoder::new(out, LEVEL)?;
            copy_without(&mut lines, of, &mut out)?;
            out.finish()?
        }
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            copy_without(&mut lines, of, &mut out)?;
            out.finish()?
        }
    };
    // Its age is that of its lines: what is erased in it must not make it stay longer.
    if let Some(modified) = modified {
        out.set_modified(modified)?;
    }
    out.sync_all()
}

fn copy_without(lines: &mut SegmentLines, of: &Forget, out: &mut dyn Write) -> io::Result<()> {
    while let Some(line) = lines.next_line()? {
        let seq = integrity::seq(line).filter(|_| matches!(of.matches(line), Match::Is));
        match seq {
            Some(seq) => out.write_all(&Tombstone { seq, leaf: chain::leaf(line) }.render(line.len()))?,
            None => out.write_all(line)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample_log::SampleLog;
    use super::*;
    use crate::review::{Verdict, verify};

    fn visitor(id: &str) -> Forget {
        Forget::Visitor(id.to_owned())
    }

    #[test]
    fn erased_lines_still_verify() {
        let mut log = SampleLog::three("forget");
        log.open();
        log.hit("ann");
        log.checkpoint(false);
        log.crash(0);
        let compressed = log.compress(2);
        let before = std::fs::metadata(log.path(1)).unwrap();
        let done = forget(&log.dir, &visitor("ann")).unwrap();
        assert_eq!((done.lines, done.wider), (9, 0));
        assert_eq!(done.segments, [(log.name(1), 3), (log.name(2), 3), (log.name(3), 3)]);
        assert_eq!(done.skipped, [(log.name(4), Skip::Open)]);
        let after = std::fs::metadata(log.path(1)).unwrap();
        assert_eq!((after.len(), after.modified().unwrap()), (before.len(), before.modified().unwrap()));
        let text = String::from_utf8(zstd::decode_all(File::open(compressed).unwrap()).unwrap()).unwrap();
        assert!(!text.contains("\"ann\"") && text.contains("\"bob\""));
        let found = verify(std::slice::from_ref(&log.dir), &[]);
        assert_eq!(found.exit_code(), 0, "{found}");
        assert_eq!(found.segments[0].verdict, Verdict::Ok);
        assert_eq!(found.segments[0].erased.ranges, [(2, 2), (8, 8), (14, 14)]);
        assert!(found.to_string().contains("erased: 3 (seq 2, 8, 14)"), "{found}");
        // Nothing is left to erase, and a tombstone cannot be changed.
        assert_eq!(forget(&log.dir, &visitor("ann")).unwrap().lines, 0);
        let mut lines = log.lines(1);
        let tombstone = String::from_utf8(lines[1].clone()).unwrap();
        lines[1] = tombstone.replacen("\"pad\":\"x", "\"pad\":\"y", 1).into_bytes();
        log.write_lines(1, &lines);
        assert_eq!(verify(std::slice::from_ref(&log.dir), &[]).exit_code(), 4);
    }

    #[test]
    fn addresses_are_erased_by_network() {
        let log = SampleLog::three("forget-address");
        let inside = |net: &str| forget(&log.dir, &Forget::Address(net.parse().unwrap())).unwrap();
        let wider = inside("203.0.113.7/32");
        assert_eq!((wider.lines, wider.wider), (0, 45), "others live in the same /24");
        assert_eq!(inside("198.51.100.0/24").wider, 0);
        assert_eq!(inside("203.0.112.0/22").lines, 45);
        let found = verify(std::slice::from_ref(&log.dir), &[]);
        assert_eq!((found.exit_code(), found.segments[2].erased.count), (0, 15), "{found}");
    }

    #[test]
    fn what_is_being_compressed_is_left_alone() {
        let log = SampleLog::three("forget-busy");
        std::fs::write(log.path(2).with_extension("ndjson.zst.tmp"), "").unwrap();
        let done = forget(&log.dir, &visitor("bob")).unwrap();
        assert_eq!((done.lines, done.skipped), (6, vec![(log.name(2), Skip::Busy)]));
        assert!(forget(&log.dir.join("nothing"), &visitor("bob")).is_err());
    }

    #[test]
    fn addresses_of_any_form_are_networks() {
        assert_eq!(parse_net("::ffff:203.0.113.9"), "203.0.113.9/32".parse().ok());
        assert_eq!(parse_net("2001:db8::/48"), "2001:db8::/48".parse().ok());
        assert_eq!(parse_net("host.example"), None);
    }
}
