//! Copies of a packed page: the bytes of state 0, with some bits flipped.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::symbols::COLUMNS;
use super::trailer::Effects;
use super::write::{Flips, Recorded};
use super::{Marks, Packed};

/// Most bytes of a piece.
const PIECE: usize = 64 * 1024;
/// How many bytes a flip reaches beyond its first one.
const REACH: usize = 3;
/// Checksum and length.
const TRAILER: usize = 8;

/// Bits that are different where a column is 1. Two bytes: places lie so near to each other that four would often be
/// read before the write to them before has come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flip {
    pub(super) at: u32,
    /// What the column does to the checksum, in its first flip; 0 in the others.
    pub(super) crc: u32,
    pub(super) bits: u16,
    pub(super) column: u16,
}

/// A place with more than two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SymbolFlip {
    pub(super) at: u32,
    /// Bits of the first byte that come before.
    pub(super) shift: u8,
    /// Which symbol of the seal, or which letter of the nonce.
    pub(super) number: u8,
    /// Whose code.
    pub(super) block: u16,
}

/// The places of a channel with more than two states.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places<const STATES: usize> {
    flips: Box<[SymbolFlip]>,
    /// By block and state: in which bits the code is not that of state 0.
    codes: Box<[[u32; STATES]]>,
    /// By number and state: what it does to the checksum.
    crc: Box<[[u32; STATES]]>,
}

/// The body of one copy, in pieces that are made when they are asked for.
pub(crate) struct PackedBody {
    packed: Arc<Packed>,
    marks: Marks,
    /// What the mark does to the checksum.
    crc: u32,
    at: usize,
}

impl PackedBody {
    pub(super) fn new(packed: Arc<Packed>, marks: Marks) -> Self {
        let crc = packed.crc(&marks);
        Self { packed, marks, crc, at: 0 }
    }

    /// Bytes that are to come, exactly.
    pub(crate) fn remaining(&self) -> u64 {
        (self.packed.bytes.len() - self.at) as u64
    }
}

impl fmt::Debug for PackedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedBody").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

impl Iterator for PackedBody {
    type Item = Bytes;

    /// At most 64 KiB.
    fn next(&mut self) -> Option<Bytes> {
        let range = self.at..self.packed.bytes.len().min(self.at + PIECE);
        self.at = range.end;
        (!range.is_empty()).then(|| self.packed.piece(range, &self.marks, self.crc))
    }
}

impl Packed {
    /// `bytes`: the whole body in state 0.
    pub(super) fn new(bytes: Vec<u8>, mut flips: Flips, mut effects: Effects) -> Self {
        for flip in &mut flips.white {
            flip.crc = std::mem::take(&mut effects.white[usize::from(flip.column)]);
        }
        debug_assert!(effects.white.iter().all(|effect| *effect == 0), "the first place of a column is a literal");
        Self {
            bytes: bytes.into(),
            white: flips.white.into(),
            seal: Places::new(flips.seal, effects.seal),
            nonce: Places::new(flips.nonce, effects.nonce),
        }
    }

    /// What a mark does to the checksum.
    pub(super) fn crc(&self, marks: &Marks) -> u32 {
        let white = self.white.iter().fold(0_u32, |crc, flip| {
            let on = 0_u32.wrapping_sub(bit(&marks.row, flip.column).into());
            crc ^ (flip.crc & on)
        });
        white ^ self.seal.crc(&marks.seal) ^ self.nonce.crc(marks.nonce())
    }

    /// A piece of a copy; `crc`: what its mark does to the checksum.
    pub(super) fn piece(&self, range: Range<usize>, marks: &Marks, crc: u32) -> Bytes {
        // A flip that begins before the piece may reach into it, and one that begins in it beyond its end.
        let start = range.start.saturating_sub(REACH);
        let mut piece = self.bytes[start..self.bytes.len().min(range.end + REACH)].to_vec();
        let reached = start..range.end;
        for flip in within(&self.white, &reached, |flip| flip.at) {
            let on = 0_u16.wrapping_sub(bit(&marks.row, flip.column));
            if let Some(pair) = bytes_at::<2>(&mut piece, flip.at as usize - start) {
                *pair = (u16::from_le_bytes(*pair) ^ (flip.bits & on)).to_le_bytes();
            }
        }
        self.seal.flip(&mut piece, &reached, &marks.seal);
        self.nonce.flip(&mut piece, &reached, marks.nonce());
        let trailer = self.bytes.len() - TRAILER;
        if reached.contains(&trailer) {
            flip_four(&mut piece, trailer - start, crc);
        }
        piece.truncate(range.end - start);
        let mut piece = Bytes::from(piece);
        piece.advance(range.start - start);
        piece
    }

    /// Bytes in memory.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of_val(&*self.white) + self.seal.size() + self.nonce.size()
    }
}

impl<const STATES: usize> Places<STATES> {
    fn new(recorded: Recorded<STATES>, crc: Vec<[u32; STATES]>) -> Self {
        Self { flips: recorded.flips.into(), codes: recorded.codes.into(), crc: crc.into() }
    }

    fn crc(&self, states: &[u8]) -> u32 {
        let chosen = self.crc.iter().zip(states).map(|(by_state, state)| by_state[usize::from(*state) % STATES]);
        chosen.fold(0_u32, |crc, effect| crc ^ effect)
    }

    /// `states`: by number; what is not there is in state 0.
    fn flip(&self, piece: &mut [u8], reached: &Range<usize>, states: &[u8]) {
        for flip in within(&self.flips, reached, |flip| flip.at) {
            let state = states.get(usize::from(flip.number)).map_or(0, |state| usize::from(*state) % STATES);
            let code = self.codes.get(usize::from(flip.block)).map_or(0, |codes| codes[state]);
            flip_four(piece, flip.at as usize - reached.start, code << flip.shift);
        }
    }

    /// Bytes in memory, its own size not counted.
    fn size(&self) -> usize {
        size_of_val(&*self.flips) + size_of_val(&*self.codes) + size_of_val(&*self.crc)
    }
}

/// The bit of a column.
pub(super) fn bit(row: &[u64; COLUMNS / 64], column: u16) -> u16 {
    (row[usize::from(column / 64) % row.len()] >> (column % 64)) as u16 & 1
}

/// The flips that begin in a range; they are sorted.
fn within<'f, F>(flips: &'f [F], range: &Range<usize>, at: impl Fn(&F) -> u32) -> &'f [F] {
    let before = |end: usize| flips.partition_point(|flip| (at(flip) as usize) < end);
    &flips[before(range.start)..before(range.end)]
}

/// Flips bits in four bytes.
fn flip_four(piece: &mut [u8], at: usize, bits: u32) {
    if let Some(bytes) = bytes_at::<4>(piece, at) {
        *bytes = (u32::from_le_bytes(*bytes) ^ bits).to_le_bytes();
    }
}

/// There are always so many: what is flipped is followed by the trailer, and the trailer's checksum by its length.
fn bytes_at<const COUNT: usize>(piece: &mut [u8], at: usize) -> Option<&mut [u8; COUNT]> {
    piece.get_mut(at..)?.first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{marks, random_template};
    use super::super::{Effort, pack};
    use super::*;

    #[test]
    fn a_flip_takes_twelve_bytes_and_one_of_a_symbol_eight() {
        assert_eq!((size_of::<Flip>(), size_of::<SymbolFlip>()), (12, 8));
    }

    #[test]
    fn bits_are_those_of_a_row() {
        let mut row = [0; COLUMNS / 64];
        (row[0], row[1], row[63]) = (1, 1 << 63, 1 << 7);
        let set: Vec<u16> = (0..COLUMNS as u16).filter(|column| bit(&row, *column) == 1).collect();
        assert_eq!(set, [0, 127, 63 * 64 + 7]);
    }

    #[test]
    fn pieces_of_any_length_are_the_body() {
        for seed in 0..6 {
            let packed = pack(&random_template(seed, 3_000), Effort::Quick).unwrap();
            let (marks, len) = (marks(seed), packed.bytes.len());
            let crc = packed.crc(&marks);
            let whole = packed.piece(0..len, &marks, crc);
            assert!(whole != *packed.bytes);
            for size in [1, 2, 3, 4, 5, 7, 64, 999, len - 1] {
                let cuts = (0..len).step_by(size).map(|at| at..len.min(at + size));
                let pieces: Vec<Bytes> = cuts.map(|cut| packed.piece(cut, &marks, crc)).collect();
                assert!(pieces.concat() == whole, "{seed} {size}");
            }
        }
    }

    #[test]
    fn a_body_comes_in_pieces_and_its_length_is_known_before() {
        let mut template = random_template(1, 400_000);
        // Nothing in it is compressed much.
        let mut random = fastrand::Rng::with_seed(1);
        let mut places = template.places.iter().map(|(at, _)| *at as usize).peekable();
        for (at, byte) in template.bytes.iter_mut().enumerate() {
            if places.next_if_eq(&at).is_none() {
                *byte = random.u8(..);
            }
        }
        let packed = Arc::new(pack(&template, Effort::Quick).unwrap());
        let marks = marks(1);
        let mut body = PackedBody::new(Arc::clone(&packed), marks.clone());
        let mut whole = Vec::new();
        let mut pieces = 0;
        while body.remaining() > 0 {
            assert_eq!(body.remaining(), (packed.bytes.len() - whole.len()) as u64);
            let piece = body.next().unwrap();
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            whole.extend_from_slice(&piece);
            pieces += 1;
        }
        assert!(pieces > 4 && body.next().is_none());
        assert!(whole == packed.piece(0..packed.bytes.len(), &marks, packed.crc(&marks)));
        assert!(packed.check(&template, &marks));
    }
}
