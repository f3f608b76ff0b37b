//! What DEFLATE is made of: literals, and copies of what stands before (RFC 1951 §3.2.5).

/// Symbols of the code of literals and lengths.
pub(super) const LITERALS: usize = 286;
/// Symbols of the code of distances.
pub(super) const DISTANCES: usize = 30;
/// Symbols of lengths among those.
pub(super) const LENGTHS: usize = 29;
/// The end of a block.
pub(super) const END: usize = 256;
/// The first symbol of a length.
pub(super) const FIRST_LENGTH: usize = 257;
/// Shortest copy.
pub(super) const MIN_MATCH: usize = 3;
/// Longest copy.
pub(super) const MAX_MATCH: usize = 258;
/// Longest distance.
pub(super) const WINDOW: usize = 32_768;

/// The shortest length of each symbol.
const LENGTH_BASE: [u16; LENGTHS] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
/// Bits that follow the symbol of a length.
pub(super) const LENGTH_EXTRA: [u8; LENGTHS] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// The longest length of each symbol.
pub(super) const LENGTH_END: [u16; LENGTHS] = {
    let mut ends = [MAX_MATCH as u16; LENGTHS];
    let mut symbol = 1;
    while symbol < LENGTHS {
        ends[symbol - 1] = LENGTH_BASE[symbol] - 1;
        symbol += 1;
    }
    ends
};

/// The symbol of each length, both counted from their first ones.
const LENGTH_SYMBOL: [u8; MAX_MATCH - MIN_MATCH + 1] = {
    let mut symbols = [0; MAX_MATCH - MIN_MATCH + 1];
    let (mut length, mut symbol) = (0, 0);
    while length < symbols.len() {
        if length + MIN_MATCH > LENGTH_END[symbol as usize] as usize {
            symbol += 1;
        }
        symbols[length] = symbol;
        length += 1;
    }
    symbols
};

/// One symbol of the page, or a copy of several that stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    length: u16,
    /// The distance less one.
    back: u16,
}

/// A symbol of a code, and the number that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coded {
    pub(super) symbol: usize,
    pub(super) rest: u32,
    pub(super) bits: u8,
}

impl Token {
    pub(super) const LITERAL: Self = Self { length: 1, back: 0 };

    /// `length`: 3 to 258. `distance`: 1 to 32,768.
    pub(super) fn copy(length: usize, distance: usize) -> Self {
        Self { length: length as u16, back: (distance - 1) as u16 }
    }

    /// Symbols of the page that it stands for.
    pub(super) fn length(self) -> usize {
        self.length.into()
    }

    pub(super) fn distance(self) -> usize {
        usize::from(self.back) + 1
    }

    pub(super) fn is_copy(self) -> bool {
        self.length > 1
    }

    pub(super) fn length_code(self) -> Coded {
        let symbol = length_symbol(self.length());
        let rest = self.length - LENGTH_BASE[symbol];
        Coded { symbol: FIRST_LENGTH + symbol, rest: rest.into(), bits: LENGTH_EXTRA[symbol] }
    }

    pub(super) fn distance_code(self) -> Coded {
        let symbol = distance_symbol(self.distance());
        let bits = distance_extra(symbol);
        Coded { symbol, rest: u32::from(self.back) & ((1 << bits) - 1), bits }
    }
}

/// The symbol of a length, counted from the first one.
pub(super) fn length_symbol(length: usize) -> usize {
    LENGTH_SYMBOL[length - MIN_MATCH].into()
}

/// Two symbols for each power of two.
pub(super) fn distance_symbol(distance: usize) -> usize {
    let back = distance - 1;
    if back < 2 {
        return back;
    }
    let power = back.ilog2() as usize;
    2 * power + (back >> (power - 1) & 1)
}

/// Bits that follow the symbol of a distance.
pub(super) fn distance_extra(symbol: usize) -> u8 {
    (symbol / 2).saturating_sub(1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_symbols_of_the_standard() {
        for (length, symbol, rest, bits) in [
            (3, 257, 0, 0),
            (10, 264, 0, 0),
            (11, 265, 0, 1),
            (12, 265, 1, 1),
            (114, 279, 15, 4),
            (115, 280, 0, 4),
            (257, 284, 30, 5),
            (258, 285, 0, 0),
        ] {
            assert_eq!(Token::copy(length, 1).length_code(), Coded { symbol, rest, bits }, "{length}");
        }
        for length in MIN_MATCH..=MAX_MATCH {
            let Coded { symbol, rest, bits } = Token::copy(length, 1).length_code();
            assert_eq!(usize::from(LENGTH_BASE[symbol - FIRST_LENGTH]) + rest as usize, length);
            assert!(rest < 1 << bits && length <= usize::from(LENGTH_END[symbol - FIRST_LENGTH]), "{length}");
        }
        assert_eq!((LENGTH_END[27], LENGTH_END[28]), (257, 258));
    }

    #[test]
    fn distances_have_the_symbols_of_the_standard() {
        const BASE: [usize; DISTANCES] = [
            1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1_025, 1_537, 2_049, 3_073,
            4_097, 6_145, 8_193, 12_289, 16_385, 24_577,
        ];
        for distance in 1..=WINDOW {
            let Coded { symbol, rest, bits } = Token::copy(3, distance).distance_code();
            assert_eq!(BASE[symbol] + rest as usize, distance);
            assert!(rest < 1 << bits, "{distance}");
        }
        assert_eq!([0, 3, 4, 5, 6, 28, 29].map(distance_extra), [0, 0, 1, 1, 2, 13, 13]);
    }

    #[test]
    fn a_token_takes_four_bytes() {
        assert_eq!(size_of::<Token>(), 4);
        assert!(!Token::LITERAL.is_copy() && Token::copy(3, 1).is_copy());
        assert_eq!((Token::LITERAL.length(), Token::copy(258, 32_768).distance()), (1, 32_768));
    }
}
