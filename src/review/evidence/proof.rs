//! The way from a line to a signed head, one step at a time: as JSON, and as text that a shell can follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::subject::Subject;
use crate::audit::chain::{self, Digest};
use crate::audit::integrity::{self, Anchored, Opening, parse_digest};
use crate::audit::signing::PublicKey;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(super) enum Step {
    /// The chain before the next block, as the log has it.
    Head { head: String },
    /// A block: the head goes on.
    Block { first_seq: u64, last_seq: u64, root: String },
    /// The next line of `lines.ndjson`: the node is its leaf.
    Line { line: u64, seq: u64 },
    /// The node is the parent; its sibling stands on the left.
    Left { hash: String },
    /// The node is the parent; its sibling stands on the right.
    Right { hash: String },
    /// The node must be the root of the block.
    Root,
    /// The next segment names the head; its own is that of its first line.
    Segment { file: String },
    /// The head must be signed by this key.
    Signed { key: String, signature: String },
    /// Nobody has signed the head, or any after it.
    Unsigned,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { head } => write!(f, "head {head}"),
            Self::Block { first_seq, last_seq, root } => write!(f, "block {first_seq} {last_seq} {root}"),
            Self::Line { line, seq } => write!(f, "line {line} {seq}"),
            Self::Left { hash } => write!(f, "left {hash}"),
            Self::Right { hash } => write!(f, "right {hash}"),
            Self::Root => f.write_str("root"),
            Self::Segment { file } => write!(f, "segment {file}"),
            Self::Signed { key, signature } => write!(f, "signed {key} {signature}"),
            Self::Unsigned => f.write_str("unsigned"),
        }
    }
}

/// `proofs.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proofs {
    pub(super) schema_version: u32,
    /// `visitor`, or `requests`.
    #[serde(flatten)]
    pub(super) subject: Subject,
    /// Public keys by their ids.
    pub(super) keys: BTreeMap<String, String>,
    /// Where heads at which a proof ends were sent, as far as the log knows.
    pub(super) anchors: Vec<Anchored>,
    pub(super) steps: Vec<Step>,
}

impl Proofs {
    /// The segments that a proof goes through: their files in the pack.
    pub(super) fn segments(&self) -> BTreeSet<&str> {
        let files = self.steps.iter().filter_map(|step| match step {
            Step::Segment { file } => Some(file.as_str()),
            _ => None,
        });
        files.collect()
    }
}

/// `proofs.txt`.
impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject.step())?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// The steps from a leaf up to its root (RFC 9162 §2.1.3).
pub(super) fn steps_up(leaves: &[Digest], index: usize) -> Vec<Step> {
    let (mut at, mut last) = (index, leaves.len().saturating_sub(1));
    let mut steps = Vec::new();
    for sibling in chain::inclusion(leaves, index) {
        let hash = data_encoding::HEXLOWER.encode(&sibling);
        if at & 1 == 1 || at == last {
            steps.push(Step::Left { hash });
            // Where the right edge is not full, the node rises without a sibling.
            while at & 1 == 0 && at > 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            steps.push(Step::Right { hash });
        }
        (at, last) = (at >> 1, last >> 1);
    }
    steps.push(Step::Root);
    steps
}

/// What was proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Proved {
    pub(super) signed: u64,
    pub(super) unsigned: u64,
}

/// Follows steps.
pub(super) struct Checker<'p> {
    dir: &'p Path,
    subject: &'p Subject,
    keys: &'p [PublicKey],
    head: Option<Digest>,
    block: Option<(u64, u64, Digest)>,
    node: Option<Digest>,
    lines: u64,
    /// Lines and blocks since the last signature.
    waiting: (u64, u64),
    proved: Proved,
    /// Heads whose signatures fit.
    signed: BTreeSet<Digest>,
}

type Checked<T = ()> = Result<T, String>;

impl<'p> Checker<'p> {
    pub(super) fn new(dir: &'p Path, subject: &'p Subject, keys: &'p [PublicKey]) -> Self {
        let (waiting, proved) = ((0, 0), Proved::default());
        let signed = BTreeSet::new();
        Self { dir, subject, keys, head: None, block: None, node: None, lines: 0, waiting, proved, signed }
    }

    /// Does a proof end at the head that was sent away?
    pub(super) fn is_proved(&self, anchor: &Anchored) -> bool {
        parse_digest(&anchor.head).is_some_and(|head| self.signed.contains(&head))
    }

    /// `next_line` gives the lines of `lines.ndjson`, one after another.
    pub(super) fn step(&mut self, step: &Step, next_line: &mut dyn FnMut() -> Option<Vec<u8>>) -> Checked {
        let is_on_the_way = matches!(step, Step::Left { .. } | Step::Right { .. } | Step::Root);
        if is_on_the_way != self.node.is_some() {
            return Err(format!("line {} does not reach its root", self.lines));
        }
        match step {
            Step::Head { head } => self.begin(head),
            Step::Block { first_seq, last_seq, root } => self.block(*first_seq, *last_seq, root),
            Step::Line { line, seq } => self.line(*line, *seq, &next_line().unwrap_or_default()),
            Step::Left { hash } => self.rise(|node, sibling| [sibling, node], hash),
            Step::Right { hash } => self.rise(|node, sibling| [node, sibling], hash),
            Step::Root => self.root(),
            Step::Segment { file } => self.segment(file),
            Step::Signed { key, signature } => self.signed(key, signature),
            Step::Unsigned => {
                self.proved.unsigned += std::mem::take(&mut self.waiting).0;
                self.head = None;
                Ok(())
            }
        }
    }

    /// After the last step.
    pub(super) fn finish(self) -> Checked<Proved> {
        if self.node.is_some() || self.waiting != (0, 0) {
            return Err("the last proof has no end".to_owned());
        }
        if self.lines == 0 {
            return Err("there is no line".to_owned());
        }
        Ok(self.proved)
    }

    fn begin(&mut self, head: &str) -> Checked {
        if self.waiting != (0, 0) {
            return Err("a chain is cut".to_owned());
        }
        self.head = Some(digest(head)?);
        self.block = None;
        Ok(())
    }

    fn block(&mut self, first: u64, last: u64, root: &str) -> Checked {
        let (head, root) = (self.head.ok_or("a block has no chain")?, digest(root)?);
        self.head = Some(chain::next_head(&head, &root, first, last));
        self.block = Some((first, last, root));
        self.waiting.1 += 1;
        Ok(())
    }

    fn line(&mut self, number: u64, seq: u64, line: &[u8]) -> Checked {
        self.lines += 1;
        let (first, last, _) = self.block.ok_or("a line has no block")?;
        let fields: Value = serde_json::from_slice(line).map_err(|_| format!("line {number} is not there"))?;
        let is_it = integrity::seq(line) == Some(seq) && (first..=last).contains(&seq) && number == self.lines;
        if !self.subject.holds(&fields) || !is_it {
            return Err(format!("line {number} is not number {seq} of {}", self.subject));
        }
        self.node = Some(chain::leaf(line));
        Ok(())
    }

    fn rise(&mut self, order: impl Fn(Digest, Digest) -> [Digest; 2], sibling: &str) -> Checked {
        let sibling = digest(sibling)?;
        self.node = self.node.map(|node| chain::root(&order(node, sibling)));
        Ok(())
    }

    fn root(&mut self) -> Checked {
        let root = self.block.map(|(_, _, root)| root);
        if self.node.take() != root {
            return Err(format!("line {} is not in its block", self.lines));
        }
        self.waiting.0 += 1;
        Ok(())
    }

    fn segment(&mut self, file: &str) -> Checked {
        let line = segment_file(self.dir, file).and_then(|path| std::fs::read(path).ok());
        let line = line.ok_or_else(|| format!("{file} cannot be read"))?;
        let named = Opening::parse(&line).and_then(|opening| parse_digest(opening.previous_head.as_deref()?));
        if self.head.is_none() || named != self.head {
            return Err(format!("{file} does not go on with the chain"));
        }
        self.head = Some(chain::first_head(&line));
        self.block = None;
        Ok(())
    }

    fn signed(&mut self, id: &str, signature: &str) -> Checked {
        let head = self.head.take().ok_or("a signature has no chain")?;
        let key = self.keys.iter().find(|key| key.id() == id).ok_or_else(|| format!("key {id} is not known"))?;
        if !key.verify(&head, signature) {
            return Err(format!("a signature is not one of key {id}"));
        }
        self.signed.insert(head);
        self.proved.signed += std::mem::take(&mut self.waiting).0;
        Ok(())
    }
}

fn digest(hex: &str) -> Checked<Digest> {
    parse_digest(hex).ok_or_else(|| "a digest cannot be read".to_owned())
}

/// Only files of the pack.
fn segment_file(dir: &Path, file: &str) -> Option<PathBuf> {
    let name = file.strip_prefix("segments/")?;
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    is_plain.then(|| dir.join("segments").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_finds_its_way_up() {
        for count in (1..=40usize).chain([127, 128, 129, 1_024]) {
            let leaves: Vec<Digest> = (0..count).map(|i| chain::leaf(&i.to_be_bytes())).collect();
            let root = chain::root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let mut node = *leaf;
                for step in steps_up(&leaves, index) {
                    node = match step {
                        Step::Left { hash } => chain::root(&[digest(&hash).unwrap(), node]),
                        Step::Right { hash } => chain::root(&[node, digest(&hash).unwrap()]),
                        _ => node,
                    };
                }
                assert_eq!(node, root, "{index} of {count}");
            }
        }
    }

    #[test]
    fn files_outside_are_not_read() {
        let dir = Path::new("/pack");
        assert_eq!(segment_file(dir, "segments/a-1.line"), Some(PathBuf::from("/pack/segments/a-1.line")));
        assert_eq!(segment_file(dir, "segments/../../etc/passwd"), None);
        assert_eq!(segment_file(dir, "/etc/passwd"), None);
    }
}
