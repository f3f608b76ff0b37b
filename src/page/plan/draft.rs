//! A plan in the making: written down while a page is scanned for the first time.

use bytes::Bytes;

use super::edits::{CHUNK, Chunk, Edits, Kind, MAX_PAGE, Plan, PlanEdit};
use super::hash::ChunkHash;
use super::shelf::Shelf;
use super::volatile::Volatile;
use crate::page::rewrite::Outcome;
use crate::slot::{Edit, Slot, What};

/// What is kept of a scan.
pub(crate) enum Log {
    Nothing,
    /// The edits as they were found.
    Edits(Vec<Edit>),
    Draft(Box<Draft>),
}

/// Hashes of the source and the edits so far.
pub(crate) struct Draft {
    hash: ChunkHash,
    /// Not in the hashes.
    volatile: Volatile,
    /// The chunk so far.
    chunk: Vec<u8>,
    len: usize,
    chunks: Vec<Chunk>,
    edits: Edits,
    fixed: Vec<Bytes>,
    variants: Vec<[Bytes; 2]>,
}

impl Log {
    /// How much of `wanted` bytes may be read in one go.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        match self {
            Self::Draft(draft) => wanted.min(CHUNK - draft.chunk.len()),
            _ => wanted,
        }
    }

    /// These bytes were read; all before `left` have left.
    pub(crate) fn read(&mut self, piece: &[u8], left: u64) {
        let Self::Draft(draft) = self else { return };
        draft.chunk.extend_from_slice(piece);
        draft.len += piece.len();
        if draft.chunk.len() == CHUNK {
            draft.volatile.clear(draft.len - CHUNK, &mut draft.chunk);
            let edits = draft.edits.others.len() as u32;
            draft.chunks.push(Chunk { hash: draft.hash.of(&draft.chunk), left: left as u32, edits });
            draft.chunk.clear();
        }
        if draft.len > MAX_PAGE {
            *self = Self::Nothing;
        }
    }

    /// An edit was applied; its place is in this column.
    pub(crate) fn edit(&mut self, edit: Edit, column: Option<u16>) {
        match self {
            Self::Nothing => {}
            Self::Edits(edits) => edits.push(edit),
            Self::Draft(draft) => {
                if !draft.edit(&edit, column) {
                    *self = Self::Nothing;
                }
            }
        }
    }
}

impl Draft {
    /// `hash`: keyed by the cache that the plan is for; `volatile`: what is different each time.
    pub(super) fn new(hash: ChunkHash, volatile: Volatile) -> Self {
        Self {
            hash,
            volatile,
            chunk: Vec::with_capacity(CHUNK),
            len: 0,
            chunks: Vec::new(),
            edits: Edits::default(),
            fixed: Vec::new(),
            variants: Vec::new(),
        }
    }

    /// Edits so far.
    pub(crate) fn edits(&self) -> &Edits {
        &self.edits
    }

    /// False: it does not fit.
    fn edit(&mut self, edit: &Edit, column: Option<u16>) -> bool {
        let kind = match (&edit.what, column) {
            // Without a column the first alternative is the same for everybody.
            (What::Fixed(bytes), _) => {
                let Some(index) = keep(&mut self.fixed, bytes) else { return false };
                Kind::Fixed(index)
            }
            (What::Choice(Slot::Variant { alternatives, .. }), None) => {
                let [first, _] = &**alternatives;
                let Some(index) = keep(&mut self.fixed, first) else { return false };
                Kind::Fixed(index)
            }
            (What::Choice(Slot::Variant { alternatives, .. }), Some(column)) => {
                let Some(index) = keep(&mut self.variants, &**alternatives) else { return false };
                Kind::Variant { column, index }
            }
            (What::Choice(Slot::Gap { .. }), Some(column)) => Kind::Gap(column),
            (What::Choice(Slot::Form { form, .. }), Some(column)) => Kind::Form { form: *form, column },
            // Nobody has a key for it: the source stays.
            (What::Choice(Slot::Gap { .. } | Slot::Form { .. }), None) => return true,
            (What::Choice(Slot::Trim), _) => Kind::Trim,
            (What::Choice(Slot::Seal), _) => Kind::Seal,
            (What::Choice(Slot::Token(token)), _) => Kind::Token(*token),
            (What::Choice(Slot::Fill(fill)), _) => Kind::Fill(*fill),
        };
        let len = edit.range.end - edit.range.start;
        self.edits.push(PlanEdit { at: edit.range.start as u32, len: len as u32, kind });
        true
    }

    /// The page was read to its end.
    pub(crate) fn finish(mut self, outcome: Outcome) -> Plan {
        self.volatile.clear(self.len - self.chunk.len(), &mut self.chunk);
        self.edits.others.shrink_to_fit();
        self.edits.gaps.shrink_to_fit();
        Plan {
            tail: self.hash.of(&self.chunk),
            len: self.len,
            chunks: self.chunks.into(),
            edits: self.edits,
            fixed: self.fixed.into(),
            variants: self.variants.into(),
            volatile: self.volatile,
            outcome,
            shelf: Shelf::default(),
        }
    }
}

/// The index of a text that is kept; `None`: there are too many.
fn keep<T: Clone>(texts: &mut Vec<T>, text: &T) -> Option<u16> {
    let index = u16::try_from(texts.len()).ok()?;
    texts.push(text.clone());
    Some(index)
}
