//! One segment, line by line.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::keys::{Found, KeySource, Keyring};
use super::{Erased, Signatures};
use crate::audit::chain::{self, Digest};
use crate::audit::integrity::{self, Anchored, Kind, OpenBlock, Opening, Seal, Tombstone};
use crate::audit::segment_file::{Compression, SegmentLines, SegmentName, bare_name};

/// The first block that is not as it was written.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) block: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) why: String,
}

/// What a segment says, and whether that fits.
#[derive(Debug, Clone, Default)]
pub(super) struct Walked {
    pub(super) name: String,
    pub(super) order: Option<SegmentName>,
    pub(super) opening: Option<Opening>,
    /// Of the first line.
    pub(super) first_head: Digest,
    /// As the last checkpoint or the end states it.
    pub(super) head: Digest,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) lines: u64,
    pub(super) blocks: u64,
    /// Lines after the last checkpoint.
    pub(super) tail: u64,
    pub(super) torn: u64,
    pub(super) is_compressed: bool,
    pub(super) is_ended: bool,
    pub(super) is_end_signed: bool,
    pub(super) broken: Option<Broken>,
    /// What is odd about a segment without checkpoints: nothing proves it, in either direction.
    pub(super) odd: Option<String>,
    /// The first signature that does not fit.
    pub(super) forged: Option<(u64, String)>,
    pub(super) erased: Erased,
    pub(super) signatures: Signatures,
    /// Heads that were sent away, as its lines say: by destination how many, and the last of them.
    pub(super) anchored: BTreeMap<String, (u64, Anchored)>,
}

impl Walked {
    pub(super) fn is_chained(&self) -> bool {
        self.blocks > 0 || self.opening.as_ref().is_some_and(Opening::is_chained)
    }

    pub(super) fn instance(&self) -> String {
        // The name is not covered by the chain, but whoever changes the line shall not move the segment elsewhere.
        let named = self.order.as_ref().map(|order| order.instance.clone());
        named.or_else(|| Some(self.opening.as_ref()?.instance.clone())).unwrap_or_default()
    }
}

/// Reads a segment to its end. `None`: it is no log of deckle.
pub(super) fn walk(path: &Path, keyring: &Keyring<'_>) -> io::Result<Option<Walked>> {
    let mut lines = SegmentLines::open(path)?;
    let out = Walked {
        name: bare_name(path),
        order: SegmentName::of(path),
        is_compressed: lines.compression != Compression::Plain,
        ..Walked::default()
    };
    let block = OpenBlock::default();
    let mut walker = Walker { out, keyring, block, fault: None, gap: None, is_numbered: false, is_damaged: false };
    loop {
        match lines.next_line() {
            Ok(Some(line)) => walker.take(line),
            Ok(None) => break,
            Err(error) => {
                (walker.is_numbered, walker.is_damaged) = (true, true);
                walker.fault(format!("it cannot be read on: {error}"));
                break;
            }
        }
    }
    Ok(walker.finish())
}

struct Walker<'k> {
    out: Walked,
    keyring: &'k Keyring<'k>,
    block: OpenBlock,
    /// What is wrong in the open block.
    fault: Option<String>,
    /// The number that should have come.
    gap: Option<u64>,
    is_numbered: bool,
    /// It cannot be read to its end.
    is_damaged: bool,
}

impl Walker<'_> {
    fn take(&mut self, line: &[u8]) {
        if line.last() != Some(&b'\n') {
            self.out.torn = line.len() as u64;
            if self.out.is_ended {
                self.fault("something follows its end".to_owned());
            }
            return;
        }
        self.out.lines += 1;
        let seq = integrity::seq(line);
        self.is_numbered |= seq.is_some();
        if self.out.lines == 1 {
            return self.open(line, seq.unwrap_or_default());
        }
        let expected = self.out.last_seq.saturating_add(1);
        match seq {
            _ if self.out.is_ended => self.fault("lines follow its end".to_owned()),
            None => self.fault("a line has no number".to_owned()),
            Some(seq) if seq != expected => {
                self.fault(format!("number {seq} stands where {expected} should"));
                self.gap.get_or_insert(expected);
            }
            Some(_) => {}
        }
        let seq = seq.unwrap_or(expected);
        self.out.last_seq = seq;
        match integrity::kind(line) {
            kind @ (Kind::Checkpoint | Kind::End) => self.seal(line, seq, kind == Kind::End),
            kind => {
                match kind {
                    Kind::Erased => self.bury(line, seq),
                    Kind::Anchored => self.note_anchor(line),
                    _ => {}
                }
                self.block.push(integrity::leaf(line), seq);
            }
        }
    }

    fn open(&mut self, line: &[u8], seq: u64) {
        self.out.first_head = chain::first_head(line);
        self.out.head = self.out.first_head;
        (self.out.first_seq, self.out.last_seq) = (seq, seq);
        self.out.opening = Opening::parse(line);
        if self.out.opening.is_none() {
            self.fault("its first line does not open a segment".to_owned());
        }
    }

    fn bury(&mut self, line: &[u8], seq: u64) {
        if Tombstone::parse(line).is_some() {
            self.out.erased.add(seq);
        } else {
            self.fault("what stands for an erased line was changed".to_owned());
        }
    }

    fn note_anchor(&mut self, line: &[u8]) {
        let Some(head) = Anchored::parse(line) else { return };
        let (count, last) = self.out.anchored.entry(head.to.clone()).or_insert_with(|| (0, head.clone()));
        (*count, *last) = (*count + 1, head);
    }

    /// Only the first fault of a block is told.
    fn fault(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// A checkpoint, or the end.
    fn seal(&mut self, line: &[u8], seq: u64, is_end: bool) {
        let was_ended = self.out.is_ended;
        self.out.is_ended |= is_end;
        let Some(seal) = Seal::parse(line).filter(|_| !was_ended) else {
            // Older versions end a segment without a word about its blocks.
            if self.out.is_chained() || !is_end {
                self.fault("a checkpoint cannot be read".to_owned());
                self.block.push(chain::leaf(line), seq);
            }
            return;
        };
        let block = std::mem::take(&mut self.block);
        let began = block.first.unwrap_or(seal.first_seq);
        self.out.blocks += 1;
        let fits = block.sealed(&seal, line, &self.out.head).is_some();
        let gap = self.gap.take();
        let why = self.fault.take().or_else(|| (!fits).then(|| "it is not what was sealed".to_owned()));
        if let Some(why) = why {
            let first = gap.unwrap_or(began).min(began).min(seal.first_seq);
            self.out.broken.get_or_insert(Broken { block: self.out.blocks, first, last: seal.last_seq, why });
        }
        self.out.head = seal.head;
        self.check_signature(&seal, seq, is_end);
        if !is_end {
            self.block.push(chain::leaf(line), seq);
        }
    }

    fn check_signature(&mut self, seal: &Seal, seq: u64, is_end: bool) {
        let named = self.out.opening.as_ref().and_then(|opening| opening.key_id.clone());
        let why = match (&seal.sig, &seal.key_id) {
            (None, None) if is_end && (named.is_some() || self.keyring.is_strict()) => {
                Some("its end is not signed".to_owned())
            }
            (None, None) => None,
            (Some(signature), Some(id)) if named.as_ref() == Some(id) => {
                let found = self.keyring.find(id, self.out.opening.as_ref());
                self.out.signatures.key = Some(id.clone());
                match found {
                    Found::Key(key, source) if key.verify(&seal.head, signature) => {
                        self.count_signature(source, is_end);
                        None
                    }
                    Found::Key(..) => Some(format!("the signature is not one of key {id}")),
                    Found::Foreign => Some(format!("it is signed with key {id}, which is none of those given")),
                    Found::Unknown => {
                        self.out.signatures.unchecked += 1;
                        None
                    }
                }
            }
            _ => Some("the signature and the key of the segment do not belong together".to_owned()),
        };
        if let Some(why) = why {
            self.out.forged.get_or_insert((seq, why));
        }
    }

    fn count_signature(&mut self, source: KeySource, is_end: bool) {
        self.out.signatures.valid += 1;
        self.out.signatures.source = Some(source);
        self.out.is_end_signed |= is_end;
    }

    fn finish(mut self) -> Option<Walked> {
        if self.out.lines > 0 && !self.is_numbered && self.out.order.is_none() {
            return None;
        }
        match self.fault.take() {
            Some(why) if self.out.is_chained() || self.is_damaged => {
                let first = self.gap.or(self.block.first).unwrap_or(self.out.first_seq);
                let broken = Broken { block: self.out.blocks + 1, first, last: self.out.last_seq.max(first), why };
                self.out.broken.get_or_insert(broken);
            }
            why => self.out.odd = why,
        }
        let names_key = self.out.opening.as_ref().is_some_and(|opening| opening.key_id.is_some());
        if self.keyring.is_strict() && self.out.is_chained() && !names_key {
            let why = "it names no key, and nothing of it is signed".to_owned();
            self.out.forged.get_or_insert((self.out.first_seq, why));
        }
        // The last checkpoint is the first line behind itself.
        self.out.tail = self.block.lines.saturating_sub(u64::from(self.out.blocks > 0));
        Some(self.out)
    }
}
