//! Which files were read before: under another name, or as what they are a copy of.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::feed;
use crate::audit::reader::Reader;
use crate::review::input::{Chunk, Identity};

/// Bytes at the beginning of a file by which a copy of it is known.
const START: usize = 4 * 1024;
/// Files that are remembered; the oldest are forgotten.
const MAX_KNOWN: usize = 4_096;

/// A file, and how it begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) path: PathBuf,
    identity: Identity,
    /// As far as it has come, up to [`START`].
    bytes: Vec<u8>,
    /// There is a line in it that tells of something: what comes before may be the same in many logs.
    tells: bool,
}

impl Beginning {
    pub(super) fn new(path: &Path, identity: Identity) -> Self {
        Self { path: path.to_owned(), identity, bytes: Vec::new(), tells: false }
    }

    /// The lines that come next. True: what is there is enough to know the file again.
    pub(super) fn add(&mut self, chunk: &Chunk, reader: &Reader) -> bool {
        let room = START.saturating_sub(self.bytes.len());
        self.bytes.extend(chunk.bytes.iter().take(room));
        self.tells = self.tells || feed::tells(chunk, reader);
        self.tells
    }

    /// Does the shorter one stand at the beginning of the longer one?
    fn agrees_with(&self, other: &Self) -> bool {
        let mut both = self.bytes.iter().zip(&other.bytes);
        !self.bytes.is_empty() && !other.bytes.is_empty() && both.all(|(a, b)| a == b)
    }

    /// A number of the system may be given again when its file is gone, so that the lines must be the same, too.
    fn is_same_file(&self, other: &Self) -> bool {
        self.identity.is_some() && self.identity == other.identity && self.agrees_with(other)
    }

    /// Logs of different sites may begin with the same lines: what asks whether a server lives asks them all at once.
    fn is_copy(&self, other: &Self) -> bool {
        self.path.parent() == other.path.parent() && stem(&self.path) == stem(&other.path) && self.agrees_with(other)
    }
}

/// What a file is of those that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Before<'k> {
    /// The same.
    Same,
    /// It begins as this one does.
    Copy(&'k Path),
}

/// The files that were read.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<Beginning>);

impl Known {
    pub(super) fn add(&mut self, file: Beginning) {
        if self.0.len() >= MAX_KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(file);
    }

    /// `None`: it is new.
    pub(super) fn find(&self, file: &Beginning) -> Option<Before<'_>> {
        if self.0.iter().any(|known| known.is_same_file(file)) {
            return Some(Before::Same);
        }
        self.0.iter().find(|known| known.is_copy(file)).map(|known| Before::Copy(&known.path))
    }
}

/// A name without what compression adds to it.
pub(super) fn bare(path: &Path) -> PathBuf {
    let is_compressed = path.extension().is_some_and(|end| end == "gz" || end == "zst");
    if is_compressed { path.with_extension("") } else { path.to_owned() }
}

/// What rotation adds to a name: a number, or a date and time.
fn is_of_rotation(c: char) -> bool {
    c.is_ascii_digit() || ".-_:TZ".contains(c)
}

/// A name without what rotation and compression add to it: `access.log` for `access.log`, `access.log.1`,
/// `access.log-20261120.gz`, `access.log.old` and `access-20261120.log`.
fn stem(path: &Path) -> Option<String> {
    let name = bare(path);
    let name = name.file_name()?.to_str()?;
    let name = [".old", ".bak"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let name = name.trim_end_matches(is_of_rotation);
    let Some(before) = name.strip_suffix(".log") else { return Some(name.to_owned()) };
    // A date has six digits or more; shorter numbers are those of servers, and so are those of an address.
    let undated = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '_');
    let digits = before.bytes().skip(undated.len()).filter(u8::is_ascii_digit).count();
    let before = if digits >= 6 { undated.trim_end_matches('.') } else { before };
    Some(format!("{before}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::Format;

    fn file(path: &str, inode: u64, text: &str) -> Beginning {
        let mut file = Beginning::new(Path::new(path), Some((1, inode)));
        let chunk = Chunk { bytes: text.as_bytes().to_vec(), too_long: 0, too_long_bytes: 0, last: false };
        file.add(&chunk, &Reader::new(Format::Combined));
        file
    }

    fn line(second: u32) -> String {
        format!("10.0.0.1 - - [20/Nov/2025:00:00:{second:02} +0000] \"GET /health HTTP/1.1\" 200 2 \"-\" \"probe\"\n")
    }

    #[test]
    fn names_without_what_rotation_adds() {
        let names = [
            "access.log",
            "access.log.1",
            "access.log.12.gz",
            "access.log-20261120",
            "access.log-20261120-1763600000.zst",
            "access.log.2026-11-20T00",
            "access.log.old",
            "access-20261120.log",
            "access.2026-11-20.log",
            "access_2026-11-20.log.gz",
        ];
        for name in names {
            assert_eq!(stem(&Path::new("/var/log").join(name)).as_deref(), Some("access.log"), "{name}");
        }
        let own = "audit-w-20251120T100000Z-1.ndjson";
        for name in ["shop1.log", "192.168.1.10.log", "www.access.log", "access_log", own] {
            assert_eq!(stem(Path::new(name)).as_deref(), Some(name));
        }
        assert_eq!(stem(Path::new("access_log.1")).as_deref(), Some("access_log"));
        assert_eq!(stem(&Path::new("/").join(format!("{own}.zst"))).as_deref(), Some(own));
    }

    #[test]
    fn a_file_is_known_again_by_itself_and_a_copy_by_its_name_and_lines() {
        let mut known = Known::default();
        known.add(file("/l/a.access.log", 7, &(line(1) + &line(2))));
        let is = |path: &str, inode, text: &str| known.find(&file(path, inode, text)).is_some();
        assert_eq!(known.find(&file("/l/a.access.log.1", 7, &line(1))), Some(Before::Same));
        let copy = file("/l/a.access.log.1", 8, &(line(1) + &line(2) + &line(3)));
        assert_eq!(known.find(&copy), Some(Before::Copy(Path::new("/l/a.access.log"))));
        assert!(!is("/l/b.access.log", 8, &line(1)), "the log of another site");
        assert!(!is("/m/a.access.log", 8, &line(1)), "another directory");
        assert!(!is("/l/a.access.log.1", 7, &line(3)), "the number was given again");
        assert!(!is("/l/a.access.log", 8, &(line(1) + &line(3))), "only the first line is the same");
        assert!(!is("/l/a.access.log", 8, ""), "nobody knows yet");
    }

    #[test]
    fn memory_is_bounded() {
        let mut known = Known::default();
        (0..MAX_KNOWN as u64 + 9).for_each(|at| known.add(file("/l/a.log", at, &line(1).repeat(100))));
        assert_eq!(known.0.len(), MAX_KNOWN);
        assert!(known.0.iter().all(|file| file.bytes.len() == START));
    }
}
