//! Reads the log once: the lines that are asked for, and the way from each up to a signature.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use super::context::{Context, Facts};
use super::proof::{Step, steps_up};
use super::subject::{Needle, Subject};
use crate::audit::chain::{self, Digest};
use crate::audit::integrity::{self, Anchored, Kind, OpenBlock, Opening, Seal, parse_digest};
use crate::audit::segment_file::{SegmentLines, bare_name};
use crate::audit::signing::PublicKey;
use crate::review::verify::keys::{Found, Keyring};

/// What the log has of one visitor, or of some requests.
pub(super) struct Collector<'s, W: Write> {
    needle: Needle<'s>,
    /// Lines that can be proved, and those that cannot.
    lines: W,
    unproven: W,
    /// Segments that could not be read, or not to their end, and why.
    pub(super) unread: Vec<(PathBuf, io::Error)>,
    pub(super) proved: u64,
    /// Lines that no checkpoint covers, and lines in blocks that were changed.
    pub(super) unsealed: u64,
    pub(super) changed: u64,
    pub(super) steps: Vec<Step>,
    /// Steps that wait for a signature.
    stretch: Option<Vec<Step>>,
    pub(super) keys: BTreeMap<String, PublicKey>,
    /// Heads at which a proof ends.
    signed_heads: BTreeSet<String>,
    /// Those of them that were sent away.
    pub(super) anchors: Vec<Anchored>,
    /// First lines of segments that a proof goes through.
    pub(super) segments: BTreeMap<String, Vec<u8>>,
    pub(super) facts: Facts,
    pub(super) context: Context,
    head: Digest,
    opening: Option<Opening>,
    block: OpenBlock,
    /// Lines of the open block: place, number, bytes.
    found: Vec<(usize, u64, Vec<u8>)>,
}

impl<'s, W: Write> Collector<'s, W> {
    pub(super) fn new(subject: &'s Subject, lines: W, unproven: W) -> Self {
        Self {
            needle: Needle::new(subject),
            lines,
            unproven,
            unread: Vec::new(),
            proved: 0,
            unsealed: 0,
            changed: 0,
            steps: Vec::new(),
            stretch: None,
            keys: BTreeMap::new(),
            signed_heads: BTreeSet::new(),
            anchors: Vec::new(),
            segments: BTreeMap::new(),
            facts: Facts::default(),
            context: Context::default(),
            head: Digest::default(),
            opening: None,
            block: OpenBlock::default(),
            found: Vec::new(),
        }
    }

    /// Reads segments in the order of their chain. What one of them does not give is missing, and told.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn read(&mut self, segments: &[PathBuf]) -> io::Result<()> {
        let mut before = String::new();
        for path in segments {
            let name = bare_name(path);
            // A crash may have left a segment both plain and compressed.
            if name == before {
                continue;
            }
            match SegmentLines::open(path) {
                Ok(lines) => {
                    self.segment(path, &name, lines)?;
                    before = name;
                }
                Err(error) => self.unread.push((path.clone(), error)),
            }
        }
        self.give_up();
        Ok(())
    }

    fn segment(&mut self, path: &Path, name: &str, mut lines: SegmentLines) -> io::Result<()> {
        let keyring = Keyring::beside(path, &[]);
        let mut is_first = true;
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.unread.push((path.to_owned(), error));
                    break;
                }
            };
            if line.last() != Some(&b'\n') {
                break;
            }
            if std::mem::take(&mut is_first) {
                self.open(line, name);
                continue;
            }
            let Some(seq) = integrity::seq(line) else { continue };
            match integrity::kind(line) {
                kind @ (Kind::Checkpoint | Kind::End) => {
                    self.seal(line, &keyring)?;
                    if kind == Kind::Checkpoint {
                        self.block.push(chain::leaf(line), seq);
                    }
                }
                kind => self.line(kind, line, seq),
            }
        }
        // No checkpoint covers what is left.
        self.block = OpenBlock::default();
        let left = self.leave_unproven()?;
        self.unsealed += left;
        Ok(())
    }

    fn open(&mut self, line: &[u8], name: &str) {
        self.opening = Opening::parse(line);
        let named = self.opening.as_ref().and_then(|opening| parse_digest(opening.previous_head.as_deref()?));
        match &mut self.stretch {
            // The writer was killed before it signed: the signature may stand in this segment.
            Some(stretch) if named == Some(self.head) => {
                let file = format!("segments/{}.line", name.trim_end_matches(".ndjson"));
                stretch.push(Step::Segment { file: file.clone() });
                self.segments.insert(file, line.to_vec());
            }
            _ => self.give_up(),
        }
        self.head = chain::first_head(line);
    }

    fn line(&mut self, kind: Kind, line: &[u8], seq: u64) {
        let index = self.block.leaves.len();
        self.block.push(integrity::leaf(line), seq);
        match kind {
            Kind::Robots | Kind::Policy => self.context.add(kind, line),
            Kind::Anchored => Anchored::parse(line).into_iter().for_each(|anchored| self.add_anchor(anchored)),
            Kind::Hit => {
                if let Some(fields) = self.needle.fields(line) {
                    self.facts.add(&fields);
                    self.found.push((index, seq, line.to_vec()));
                }
            }
            _ => {}
        }
    }

    fn seal(&mut self, line: &[u8], keyring: &Keyring<'_>) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let seal = Seal::parse(line);
        let sealed = seal.as_ref().and_then(|seal| block.sealed(seal, line, &self.head));
        let (Some(seal), Some(block)) = (&seal, sealed) else {
            // Not as it was written: nothing in this block can be proved, nor what waits for a head behind it.
            let left = self.leave_unproven()?;
            self.changed += left;
            self.give_up();
            self.head = seal.as_ref().map_or(self.head, |seal| seal.head);
            return Ok(());
        };
        self.prove(seal, &block)?;
        self.head = seal.head;
        match (self.stretch.take(), self.signature(seal, keyring)) {
            (Some(stretch), Some(signed)) => {
                self.steps.extend(stretch);
                self.steps.push(signed);
                self.signed_heads.insert(HEXLOWER.encode(&seal.head));
            }
            (stretch, _) => self.stretch = stretch,
        }
        // Where nothing is signed there is nothing to wait for.
        if self.opening.as_ref().is_none_or(|opening| opening.key_id.is_none()) {
            self.give_up();
        }
        Ok(())
    }

    /// A head that was sent away, if a proof ends at it: a line tells of heads before it, `audit.index` of the ends.
    pub(super) fn add_anchor(&mut self, anchored: Anchored) {
        if self.signed_heads.contains(&anchored.head) {
            self.anchors.push(anchored);
        }
    }

    /// The block, and the way up from each line in it that is asked for.
    fn prove(&mut self, seal: &Seal, block: &OpenBlock) -> io::Result<()> {
        if self.found.is_empty() && self.stretch.is_none() {
            return Ok(());
        }
        let head = HEXLOWER.encode(&self.head);
        let stretch = self.stretch.get_or_insert_with(|| vec![Step::Head { head }]);
        let (first_seq, last_seq, root) = (seal.first_seq, seal.last_seq, HEXLOWER.encode(&seal.root));
        stretch.push(Step::Block { first_seq, last_seq, root });
        for (index, seq, line) in self.found.drain(..) {
            self.lines.write_all(&line)?;
            self.proved += 1;
            stretch.push(Step::Line { line: self.proved, seq });
            stretch.extend(steps_up(&block.leaves, index));
        }
        Ok(())
    }

    fn signature(&mut self, seal: &Seal, keyring: &Keyring<'_>) -> Option<Step> {
        let (id, signature) = (seal.key_id.as_ref()?, seal.sig.as_ref()?);
        let Found::Key(key, _) = keyring.find(id, self.opening.as_ref()) else { return None };
        if !key.verify(&seal.head, signature) {
            return None;
        }
        self.keys.insert(id.clone(), key);
        Some(Step::Signed { key: id.clone(), signature: signature.clone() })
    }

    /// How many lines that were.
    fn leave_unproven(&mut self) -> io::Result<u64> {
        let left = self.found.len() as u64;
        for (_, _, line) in self.found.drain(..) {
            self.unproven.write_all(&line)?;
        }
        Ok(left)
    }

    /// No signature comes any more: the proof ends at the head of the last block with a line.
    fn give_up(&mut self) {
        let Some(mut stretch) = self.stretch.take() else { return };
        stretch.truncate(stretch.iter().rposition(|step| *step == Step::Root).map_or(0, |at| at + 1));
        stretch.push(Step::Unsigned);
        self.steps.extend(stretch);
    }

    /// The writers, for what is still buffered: of lines that can be proved, and of those that cannot.
    pub(super) fn writers(&mut self) -> [&mut W; 2] {
        [&mut self.lines, &mut self.unproven]
    }
}
