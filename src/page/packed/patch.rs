//! What of a compressed page depends on its mark: bits that are flipped where a place has another state.

use std::ops::Range;

use super::symbols::COLUMNS;
use super::write::Recorded;

/// How many bytes a flip reaches beyond its first one.
pub(super) const REACH: usize = 3;

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

impl<const STATES: usize> Places<STATES> {
    pub(super) fn new(recorded: Recorded<STATES>, crc: Vec<[u32; STATES]>) -> Self {
        Self { flips: recorded.flips.into(), codes: recorded.codes.into(), crc: crc.into() }
    }

    /// What these states do to the checksum.
    pub(super) fn crc(&self, states: &[u8]) -> u32 {
        let chosen = self.crc.iter().zip(states).map(|(by_state, state)| by_state[usize::from(*state) % STATES]);
        chosen.fold(0_u32, |crc, effect| crc ^ effect)
    }

    /// Flips what lies in a piece, which begins where the range does. `states`: by number; what is not there is in state 0.
    pub(super) fn flip(&self, piece: &mut [u8], reached: &Range<usize>, states: &[u8]) {
        for flip in within(&self.flips, reached, |flip| flip.at) {
            let state = states.get(usize::from(flip.number)).map_or(0, |state| usize::from(*state) % STATES);
            let code = self.codes.get(usize::from(flip.block)).map_or(0, |codes| codes[state]);
            flip_four(piece, flip.at as usize - reached.start, code << flip.shift);
        }
    }

    /// Bytes in memory, its own size not counted.
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.flips) + size_of_val(&*self.codes) + size_of_val(&*self.crc)
    }
}

/// The bit of a column.
pub(super) fn bit(row: &[u64; COLUMNS / 64], column: u16) -> u16 {
    (row[usize::from(column / 64) % row.len()] >> (column % 64)) as u16 & 1
}

/// The flips that begin in a range; they are sorted.
pub(super) fn within<'f, F>(flips: &'f [F], range: &Range<usize>, at: impl Fn(&F) -> u32) -> &'f [F] {
    let before = |end: usize| flips.partition_point(|flip| (at(flip) as usize) < end);
    &flips[before(range.start)..before(range.end)]
}

/// Flips bits in four bytes. There are always so many: a piece is longer than what is asked for.
fn flip_four(piece: &mut [u8], at: usize, bits: u32) {
    if let Some(bytes) = piece.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) {
        *bytes = (u32::from_le_bytes(*bytes) ^ bits).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
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
}
