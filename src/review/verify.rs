//! Is the log as it was written? Blocks, chain, signatures and numbers, segment by segment, in constant memory.
//!
//! What is *not* shown: whoever holds the log and its key can write both anew, and lines behind the last checkpoint of a
//! segment that nothing follows can go unseen (`docs/reference/integrity.md`).

pub(super) mod keys;
mod link;
mod text;
mod walk;

#[cfg(test)]
mod tampering;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::audit::integrity::Anchored;
use crate::audit::segment_file::{SegmentName, bare_name, segments_once};
use crate::audit::signing::PublicKey;
pub use keys::KeySource;
use keys::Keyring;
use walk::walk;

/// What was found out about a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// By instance, in the order of their names.
    pub segments: Vec<Segment>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

/// What was found out about one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Its name, without what compression adds.
    pub name: String,
    /// Who wrote it.
    pub instance: String,
    /// Whole lines.
    pub lines: u64,
    /// Blocks with a checkpoint.
    pub blocks: u64,
    /// Is it as it was written?
    pub verdict: Verdict,
    /// Lines that were erased, content and all.
    pub erased: Erased,
    /// Who vouches for it.
    pub signatures: Signatures,
    /// What is worth knowing, and no fault.
    pub notes: Vec<String>,
}

/// Is a segment as it was written?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is, to its end.
    Ok,
    /// Its writer was killed; the next segment names its last head.
    SealedByNext {
        /// Lines after its last checkpoint.
        lines: u64,
    },
    /// Its end is not written yet, or never was.
    Unsealed {
        /// Lines after its last checkpoint.
        lines: u64,
    },
    /// Written by a version that kept none: nothing proves it. The chain begins at the first segment that has them.
    NoCheckpoints,
    /// It is not.
    Modified {
        /// The first block that is not as it was, from 1.
        block: u64,
        /// Its first number.
        first_seq: u64,
        /// Its last number.
        last_seq: u64,
        /// How one can tell.
        why: String,
    },
    /// It was written, and is not here.
    Missing,
    /// All fits, but whoever signed it is somebody else.
    BadSignature {
        /// The first line with such a signature.
        seq: u64,
        /// How one can tell.
        why: String,
    },
}

impl Verdict {
    /// Somebody has been there.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Modified { .. } | Self::Missing | Self::BadSignature { .. })
    }
}

/// Lines that were erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// How many.
    pub count: u64,
    /// Their numbers, first to last; of many only the first.
    pub ranges: Vec<(u64, u64)>,
}

impl Erased {
    /// More ranges are counted, but not named.
    const MAX_RANGES: usize = 64;

    fn add(&mut self, seq: u64) {
        self.count += 1;
        let room = self.ranges.len() < Self::MAX_RANGES;
        match self.ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == seq => *last = seq,
            _ if room => self.ranges.push((seq, seq)),
            _ => {}
        }
    }
}

/// The signatures of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signatures {
    /// Signatures that fit.
    pub valid: u64,
    /// Signatures of which nobody has the key.
    pub unchecked: u64,
    /// The name of the key.
    pub key: Option<String>,
    /// Where the key comes from.
    pub source: Option<KeySource>,
}

impl Verification {
    /// Somebody has been there.
    pub fn has_fault(&self) -> bool {
        self.segments.iter().any(|segment| segment.verdict.is_fault())
    }

    /// 4: a fault; 5: something could not be read; else 0.
    pub fn exit_code(&self) -> u8 {
        match (self.has_fault(), self.unreadable.is_empty()) {
            (true, _) => 4,
            (false, false) => 5,
            (false, true) => 0,
        }
    }
}

/// Checks files and log directories. Segments of one instance are one chain, in the order of their names.
///
/// `keys` are those that the caller trusts: if there are any, no other counts. Otherwise the key is read from
/// `audit.ed25519.pub` beside the log, or from the log itself.
pub fn verify(paths: &[PathBuf], keys: &[PublicKey]) -> Verification {
    let mut out = Verification::default();
    // Before the files: what it calls closed is then complete.
    let index = Index::of(paths);
    let mut walked = Vec::new();
    for file in files(paths, &mut out.unreadable) {
        let keyring = Keyring::beside(&file, keys);
        match walk(&file, &keyring) {
            Ok(Some(segment)) => walked.push(segment),
            Ok(None) => out.unreadable.push(format!("{}: no log of deckle", file.display())),
            Err(error) => out.unreadable.push(format!("{}: {error}", file.display())),
        }
    }
    out.segments = link::judge(walked, &index);
    out
}

/// Each file once, in the order of the chain.
fn files(paths: &[PathBuf], unreadable: &mut Vec<String>) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    for path in paths {
        if !path.is_dir() {
            found.insert((SegmentName::of(path), path.clone()));
            continue;
        }
        match segments_once(path) {
            Ok(segments) if segments.is_empty() => unreadable.push(format!("{}: holds no log", path.display())),
            Ok(segments) => found.extend(segments.into_iter().map(|file| (SegmentName::of(&file), file))),
            Err(error) => unreadable.push(format!("{}: {error}", path.display())),
        }
    }
    found.into_iter().map(|(_, path)| path).collect()
}

/// What `audit.index` says about segments that may have gone.
#[derive(Debug, Default)]
struct Index {
    /// Deleted in time, by their bare names.
    deleted: BTreeSet<String>,
    /// Closed or sealed: they must be here, unless they were deleted in time.
    all: BTreeSet<String>,
    /// The last number and head of those that were closed.
    ends: BTreeMap<String, (u64, String)>,
    /// Ends that were sent away.
    anchored: Vec<Anchored>,
    /// A whole directory was given: what stood before its first segment is asked for, too.
    is_of_all: bool,
    /// A directory has no such file.
    is_absent: bool,
}

impl Index {
    fn of(paths: &[PathBuf]) -> Self {
        let mut index = Self::default();
        for path in paths {
            let is_dir = path.is_dir();
            let dir = if is_dir { Some(path.as_path()) } else { path.parent() };
            let text = dir.and_then(|dir| std::fs::read_to_string(dir.join("audit.index")).ok());
            index.anchored.extend(dir.map(Anchored::of_index).unwrap_or_default());
            index.is_of_all |= is_dir;
            index.is_absent |= is_dir && text.is_none();
            for line in text.unwrap_or_default().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                // Who names single files does not ask for all.
                index.add(&line, is_dir);
            }
        }
        index
    }

    fn add(&mut self, line: &Value, is_complete: bool) {
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let name = |key: &str| text(key).map(|name| bare_name(Path::new(name)));
        self.deleted.extend(name("retention"));
        self.all.extend(name("closed").or_else(|| name("sealed")).filter(|_| is_complete));
        let last_seq = line.get("last_seq").and_then(Value::as_u64);
        if let (Some(name), Some(last_seq), Some(head)) = (name("closed"), last_seq, text("head")) {
            self.ends.insert(name, (last_seq, head.to_owned()));
        }
    }
}
