//! What the log is told of a page, gathered while it is scanned for the first time: which page it is, and a sketch of it.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use super::splice::Placed;
use crate::slot::{PlanNote, Slot, VariantNote, What};

/// Hashes in a sketch.
const SKETCH: usize = 128;

/// A note in the making.
pub(super) struct NoteMaker {
    source: XxHash3_64,
    /// The smallest ones, ascending, each once.
    sketch: Vec<u32>,
    variants: Vec<VariantNote>,
}

impl NoteMaker {
    /// `version` stands for all that shapes the page but its source.
    pub(super) fn new(version: u32) -> Self {
        Self {
            source: XxHash3_64::with_seed(version.into()),
            sketch: Vec::with_capacity(SKETCH + 1),
            variants: Vec::new(),
        }
    }

    /// A piece of the source.
    pub(super) fn read(&mut self, piece: &[u8]) {
        self.source.write(piece);
    }

    /// A place, whatever stands there in this copy.
    pub(super) fn see(&mut self, what: &What, placed: Option<Placed>) {
        match (what, placed) {
            (What::Choice(Slot::Gap { .. }), Some(placed)) => self.keep(placed.hash.upper()),
            (What::Choice(Slot::Variant { context: Some(context), alternatives }), Some(_)) => {
                self.variants.push(VariantNote { context: context.clone(), alternatives: (**alternatives).clone() });
            }
            _ => {}
        }
    }

    fn keep(&mut self, hash: u32) {
        let full = self.sketch.len() >= SKETCH;
        if full && self.sketch.last().is_some_and(|greatest| hash >= *greatest) {
            return;
        }
        if let Err(place) = self.sketch.binary_search(&hash) {
            self.sketch.insert(place, hash);
            self.sketch.truncate(SKETCH);
        }
    }

    /// The page was read to its end.
    pub(super) fn finish(self, words: u32) -> PlanNote {
        let id = self.source.finish().to_be_bytes();
        PlanNote { id, words, sketch: self.sketch.into(), variants: self.variants.into() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::slot::{PlaceHash, PlaceKind};

    #[test]
    fn a_sketch_holds_the_smallest_hashes_once() {
        let mut note = NoteMaker::new(0);
        let gap = What::Choice(Slot::Gap { context: Bytes::new() });
        let see = |note: &mut NoteMaker, what: &What, upper: u64| {
            note.see(what, Some(Placed { kind: PlaceKind::Space, hash: PlaceHash(upper << 32 | 7) }));
        };
        for upper in (0..1_000).rev().chain([3, 500, 1_000]) {
            see(&mut note, &gap, upper * 2);
        }
        note.see(&gap, None);
        see(&mut note, &What::Choice(Slot::Seal), 1);
        let sketch = note.finish(12).sketch;
        assert_eq!(*sketch, (0..128).map(|upper| upper * 2).collect::<Vec<u32>>());
    }

    #[test]
    fn the_id_is_that_of_source_and_version() {
        let id = |version, pieces: &[&str]| {
            let mut note = NoteMaker::new(version);
            for piece in pieces {
                note.read(piece.as_bytes());
            }
            note.finish(0).id
        };
        // XXH3 with 64 bits of `page`, seed 3: `python3 -c 'import xxhash; print(xxhash.xxh3_64_hexdigest(b"page", 3))'`
        assert_eq!(id(3, &["page"]), PAGE_3);
        assert_eq!(id(3, &["p", "", "age"]), PAGE_3);
        assert_ne!(id(4, &["page"]), PAGE_3);
        assert_ne!(id(3, &["pages"]), PAGE_3);
    }

    const PAGE_3: [u8; 8] = [0x3A, 0x3C, 0x75, 0xC3, 0x2C, 0xCB, 0xB1, 0x92];
}
