//! The page as a template, and as the encoder sees it.
//!
//! Each byte of a page is one *symbol*: 0 to 255 if it is the same in all copies, else a number of its own for its
//! variable. So a place is equal to another place only where both hold one variable, and to no byte that looks alike.

use std::ops::Range;

use bytes::Bytes;

use super::Marks;
use super::passage::{Passage, Swap};

/// Bits of the row of white space.
pub(crate) const COLUMNS: usize = 4_096;
/// Symbols of a seal.
pub(crate) const SEAL_SYMBOLS: usize = 25;
/// Letters of a nonce: 132 bits.
pub(crate) const NONCE_LETTERS: usize = 22;
/// Longest page: what the way to its end costs, in 16ths of a bit, fits into an `i32`.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// Values of a symbol of the seal.
pub(super) const SEAL_STATES: usize = 8;
/// Values of a letter of the nonce.
pub(super) const NONCE_STATES: usize = 64;

const FIRST_WHITE: u16 = 256;
const FIRST_SEAL: u16 = FIRST_WHITE + COLUMNS as u16;
const FIRST_NONCE: u16 = FIRST_SEAL + SEAL_SYMBOLS as u16;
/// From here on each symbol stands at one place of a page and nowhere else.
pub(super) const FIRST_LONE: u16 = FIRST_NONCE + NONCE_LETTERS as u16;

/// What the byte of a place depends on. Places with one variable hold equal bytes in every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Variable {
    /// White space: the column of its bit. State 0 is a space, state 1 a line feed.
    White(u16),
    /// The last byte of a symbol of the seal in UTF-8, by its number: 0x86 and the state, which is 0 to 7.
    Seal(u8),
    /// A letter of a nonce that is made for one response, by its number: a letter of base64url (RFC 4648 §5), `A` in
    /// state 0.
    Nonce(u8),
}

/// Variables of one kind; their bytes come from one alphabet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    White,
    Seal,
    Nonce,
}

/// A set of channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Channels([bool; 3]);

/// A page after all edits that are the same for everybody, with each place in state 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Offsets of the places in ascending order, each once.
    pub(crate) places: Vec<(u32, Variable)>,
    /// Where one of two texts stands, in the order in which they stand there.
    pub(crate) choices: Vec<Choice>,
    /// Ranges of the bytes that are other ones in each answer ([`Marks::volatile`]), in ascending order. No place lies in
    /// one, and no choice but at its edge. What stands there is state 0, and of no copy.
    pub(crate) volatile: Vec<Range<u32>>,
}

/// Two texts, of which each copy has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// An offset in the bytes of the template, of which the texts are no part: what stands there follows them.
    pub(crate) at: u32,
    pub(crate) texts: [Bytes; 2],
}

/// Why a template is not packed. Where it has choices, the offset of a place may be that in its passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The page is longer than 8 MiB.
    #[error("{0} bytes are too long a page")]
    TooLong(usize),
    /// This place is not behind the one before it.
    #[error("the place at {0} is not behind the one before it")]
    Unsorted(u32),
    /// There is no such column, symbol or letter.
    #[error("the place at {0} has a variable that there is not")]
    NoVariable(u32),
    /// The page does not hold state 0 of the variable there.
    #[error("the place at {0} is not in state 0")]
    NotInStateZero(u32),
    /// There are more than 64 choices, volatile ranges among them.
    #[error("{0} choices are too many")]
    TooManyChoices(usize),
    /// A volatile range is empty, not behind the one before it, behind the page, or has a place or a choice in it; or there
    /// are more than 4,096 bytes in all of them.
    #[error("the volatile bytes at {0} cannot stand there")]
    Misplaced(u32),
    /// A text is longer than 65,535 bytes, or its choice is not behind the one before it, or behind the page.
    #[error("the choice at {0} cannot stand there")]
    NoChoice(u32),
}

/// A page as symbols. Two bytes each, so that four of them are read at once.
#[derive(Debug)]
pub(super) struct Symbols {
    pairs: Vec<u8>,
}

/// Bytes behind the symbols, so that four may be read at the last one.
const PAD: usize = 8;

/// Multiplying by it spreads bits to the upper end (Knuth 1998, 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Variable {
    pub(super) fn channel(self) -> Channel {
        match self {
            Self::White(_) => Channel::White,
            Self::Seal(_) => Channel::Seal,
            Self::Nonce(_) => Channel::Nonce,
        }
    }

    /// `None`: there is no such variable.
    fn symbol(self) -> Option<u16> {
        let (first, number, count) = match self {
            Self::White(column) => (FIRST_WHITE, column, COLUMNS),
            Self::Seal(symbol) => (FIRST_SEAL, symbol.into(), SEAL_SYMBOLS),
            Self::Nonce(letter) => (FIRST_NONCE, letter.into(), NONCE_LETTERS),
        };
        (usize::from(number) < count).then(|| first + number)
    }

    /// `None`: the symbol is no variable.
    pub(super) fn of_symbol(symbol: u16) -> Option<Self> {
        match symbol {
            ..FIRST_WHITE => None,
            FIRST_WHITE..FIRST_SEAL => Some(Self::White(symbol - FIRST_WHITE)),
            FIRST_SEAL..FIRST_NONCE => Some(Self::Seal((symbol - FIRST_SEAL) as u8)),
            FIRST_NONCE..FIRST_LONE => Some(Self::Nonce((symbol - FIRST_NONCE) as u8)),
            FIRST_LONE.. => None,
        }
    }
}

impl Channel {
    const ALL: [Self; 3] = [Self::White, Self::Seal, Self::Nonce];

    /// What may stand in its places, by state; a power of two of them.
    pub(super) fn alphabet(self) -> &'static [u8] {
        match self {
            Self::White => b" \n",
            Self::Seal => b"\x86\x87\x88\x89\x8A\x8B\x8C\x8D",
            Self::Nonce => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        }
    }
}

impl Channels {
    pub(super) fn insert(&mut self, channel: Channel) {
        self.0[channel as usize] = true;
    }

    pub(super) fn has(self, channel: Channel) -> bool {
        self.0[channel as usize]
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|channel| self.0[channel] || other.0[channel]))
    }

    /// The bytes that must have codes of one length, channel by channel.
    pub(super) fn alphabets(self) -> impl Iterator<Item = &'static [u8]> {
        Channel::ALL.into_iter().filter(move |channel| self.has(*channel)).map(Channel::alphabet)
    }
}

impl Template {
    /// The volatile ranges, each with where its bytes stand in [`Marks::volatile`]: there they follow each other.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Range<u32>, Range<u32>)> {
        self.volatile.iter().scan(0_u32, |next, range| {
            let part = *next..next.saturating_add(range.len() as u32);
            *next = part.end;
            Some((range.clone(), part))
        })
    }

    /// The page of one copy.
    pub(crate) fn splice(&self, marks: &Marks) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (at, variable) in &self.places {
            if let Some(byte) = bytes.get_mut(*at as usize) {
                *byte = marks.byte(*variable);
            }
        }
        for (range, part) in self.parts() {
            let place = bytes.get_mut(range.start as usize..range.end as usize);
            place.zip(marks.volatile_part(&part)).into_iter().for_each(|(place, own)| place.copy_from_slice(own));
        }
        let (mut page, mut from) = (Vec::with_capacity(bytes.len()), 0);
        for (choice, number) in self.choices.iter().zip(0..) {
            let at = choice.at as usize;
            page.extend_from_slice(bytes.get(from..at).unwrap_or_default());
            page.extend_from_slice(&choice.texts[marks.chosen(number)]);
            from = at;
        }
        page.extend_from_slice(bytes.get(from..).unwrap_or_default());
        page
    }
}

impl Symbols {
    /// Reads a passage. What may be another text there, or volatile bytes, has a symbol of its own for each byte, so nothing
    /// is copied from it or to it.
    pub(super) fn of_passage(passage: &Passage) -> Result<Self, Refused> {
        let mut symbols = Self::of(&passage.page)?;
        for (at, symbol) in passage.swaps.iter().flat_map(Swap::range).zip(FIRST_LONE..) {
            symbols.put(at, symbol);
        }
        Ok(symbols)
    }

    /// Reads a template without its choices, and looks whether it is one.
    pub(super) fn of(template: &Template) -> Result<Self, Refused> {
        let bytes = &template.bytes;
        if bytes.len() > MAX_BYTES {
            return Err(Refused::TooLong(bytes.len()));
        }
        let mut symbols = Self { pairs: vec![0; 2 * bytes.len() + PAD] };
        for (pair, byte) in symbols.pairs.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            pair[0] = *byte;
        }
        let mut next = 0;
        for (at, variable) in &template.places {
            if *at < next {
                return Err(Refused::Unsorted(*at));
            }
            let symbol = variable.symbol().ok_or(Refused::NoVariable(*at))?;
            let place = *at as usize;
            if bytes.get(place) != variable.channel().alphabet().first() {
                return Err(Refused::NotInStateZero(*at));
            }
            symbols.put(place, symbol);
            next = at + 1;
        }
        Ok(symbols)
    }

    fn put(&mut self, at: usize, symbol: u16) {
        self.pairs[2 * at..2 * at + 2].copy_from_slice(&symbol.to_le_bytes());
    }

    pub(super) fn len(&self) -> usize {
        (self.pairs.len() - PAD) / 2
    }

    pub(super) fn at(&self, at: usize) -> u16 {
        self.four(at) as u16
    }

    /// The byte in state 0.
    pub(super) fn byte(&self, at: usize) -> u8 {
        let symbol = self.at(at);
        Variable::of_symbol(symbol).map_or(symbol as u8, |variable| variable.channel().alphabet()[0])
    }

    /// Four symbols from here on, the first one lowest; behind the page there are zeros.
    pub(super) fn four(&self, at: usize) -> u64 {
        self.pairs[2 * at..].first_chunk::<8>().map_or(0, |pairs| u64::from_le_bytes(*pairs))
    }

    /// Are the three symbols from `a` on those from `b` on?
    pub(super) fn agree_in_three(&self, a: usize, b: usize) -> bool {
        (self.four(a) ^ self.four(b)) << 16 == 0
    }

    /// How many symbols agree from `a` and from `b` on; the first `known` do, and no more than `max` count. `b` is the
    /// later one, and has `max` symbols.
    pub(super) fn agreement(&self, a: usize, b: usize, known: usize, max: usize) -> usize {
        let mut agreed = known;
        while agreed < max {
            let different = self.four(a + agreed) ^ self.four(b + agreed);
            if different != 0 {
                return max.min(agreed + different.trailing_zeros() as usize / 16);
            }
            agreed += 4;
        }
        max
    }

    /// A hash of four symbols.
    pub(super) fn hash_of_four(&self, at: usize, bits: u32) -> usize {
        (self.four(at).wrapping_mul(SPREAD) >> (64 - bits)) as usize
    }

    /// A hash of three symbols.
    pub(super) fn hash_of_three(&self, at: usize, bits: u32) -> usize {
        ((self.four(at) << 16).wrapping_mul(SPREAD) >> (64 - bits)) as usize
    }

    /// Bits of a hash by which the places of this page are found again.
    pub(super) fn hash_bits(&self) -> u32 {
        self.len().max(1).ilog2().clamp(8, 15)
    }
}

#[cfg(test)]
mod tests {
    use super::super::passage::Instead;
    use super::*;

    fn template(bytes: &[u8], places: &[(u32, Variable)]) -> Template {
        Template { bytes: bytes.to_vec(), places: places.to_vec(), ..Template::default() }
    }

    #[test]
    fn a_symbol_for_each_variable_and_none_is_a_byte() {
        let mut all: Vec<u16> = (0..COLUMNS as u16).filter_map(|column| Variable::White(column).symbol()).collect();
        all.extend((0..=u8::MAX).filter_map(|symbol| Variable::Seal(symbol).symbol()));
        all.extend((0..=u8::MAX).filter_map(|letter| Variable::Nonce(letter).symbol()));
        assert!(all.iter().copied().eq((256..).take(COLUMNS + SEAL_SYMBOLS + NONCE_LETTERS)));
        for symbol in all {
            assert_eq!(Variable::of_symbol(symbol).and_then(Variable::symbol), Some(symbol));
        }
        assert_eq!([255, FIRST_LONE, u16::MAX].map(Variable::of_symbol), [None; 3]);
    }

    #[test]
    fn an_alphabet_is_a_power_of_two_in_the_order_of_states() {
        for (channel, states) in [(Channel::White, 2), (Channel::Seal, SEAL_STATES), (Channel::Nonce, NONCE_STATES)] {
            assert_eq!(channel.alphabet().len(), states);
        }
        let seal: Vec<u8> = (0..8).map(|state| 0x86 + state).collect();
        assert_eq!(Channel::Seal.alphabet(), seal);
        assert_eq!(Channel::Nonce.alphabet(), data_encoding::BASE64URL_NOPAD.specification().symbols.as_bytes());
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        use Variable::{Nonce, Seal, White};
        let of = |bytes: &[u8], places: &[(u32, Variable)]| Symbols::of(&template(bytes, places)).map(|s| s.len());
        assert_eq!(of(b"a \x86A", &[(1, White(4_095)), (2, Seal(24)), (3, Nonce(21))]), Ok(4));
        assert_eq!(of(b"", &[]), Ok(0));
        for (places, refused) in [
            (vec![(0, White(1))], Refused::NotInStateZero(0)),
            (vec![(1, Seal(1))], Refused::NotInStateZero(1)),
            (vec![(4, White(1))], Refused::NotInStateZero(4)),
            (vec![(u32::MAX, White(1))], Refused::NotInStateZero(u32::MAX)),
            (vec![(1, White(4_096))], Refused::NoVariable(1)),
            (vec![(1, White(u16::MAX))], Refused::NoVariable(1)),
            (vec![(2, Seal(25))], Refused::NoVariable(2)),
            (vec![(3, Nonce(22))], Refused::NoVariable(3)),
            (vec![(2, Seal(1)), (1, White(1))], Refused::Unsorted(1)),
            (vec![(1, White(1)), (1, White(1))], Refused::Unsorted(1)),
        ] {
            assert_eq!(of(b"a \x86A", &places), Err(refused));
        }
        let long = vec![b'a'; MAX_BYTES + 1];
        assert_eq!(of(&long, &[]), Err(Refused::TooLong(MAX_BYTES + 1)));
    }

    #[test]
    fn a_place_agrees_with_its_own_variable_alone() {
        let places = [(1, Variable::White(7)), (5, Variable::White(7)), (9, Variable::White(8))];
        let symbols = Symbols::of(&template(b"a bca bca bca bc", &places)).unwrap();
        assert_eq!(symbols.agreement(0, 4, 0, 12), 5);
        assert_eq!(symbols.agreement(0, 4, 2, 3), 3);
        assert_eq!(symbols.agreement(4, 8, 0, 8), 1);
        // The last one is a space and no place.
        assert_eq!((symbols.byte(9), symbols.at(13)), (b' ', 32));
        assert_eq!(symbols.agreement(8, 12, 0, 4), 1);
        assert!(symbols.agree_in_three(0, 4) && !symbols.agree_in_three(4, 8) && symbols.agree_in_three(2, 6));
        // Behind the end nothing agrees, though zeros stand there.
        assert_eq!(symbols.agreement(2, 14, 0, 2), 2);
        assert_eq!(symbols.four(15) >> 16, 0);
    }

    #[test]
    fn a_text_that_may_be_another_one_agrees_with_nothing() {
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let swap = |at, instead| Swap { at, text: text("abc"), instead };
        let swaps = vec![swap(4, Instead::Text { number: 0, text: text("abd") }), swap(8, Instead::Volatile(0..3))];
        let page = template(b"abc abc abc abc", &[]);
        let symbols = Symbols::of_passage(&Passage { page, swaps }).unwrap();
        assert_eq!(symbols.agreement(0, 12, 0, 3), 3);
        for (a, b) in [(0, 4), (4, 8), (8, 12)] {
            assert_eq!(symbols.agreement(a, b, 0, 3), 0);
            assert!(!symbols.agree_in_three(a, b) && Variable::of_symbol(symbols.at(4)).is_none());
        }
    }

    #[test]
    fn a_copy_has_the_chosen_texts_before_what_follows_them() {
        let choice = |at, texts: [&'static str; 2]| Choice { at, texts: texts.map(|text| text.as_bytes().into()) };
        let choices =
            vec![choice(0, ["<", ""]), choice(2, ["one", "two"]), choice(2, ["", "!"]), choice(3, ["", "end"])];
        let page = Template { choices, ..template(b"a b", &[(1, Variable::White(0))]) };
        let splice = |row: u64, choices: &[u8]| {
            let (row, volatile) = (std::sync::Arc::new([row; 64]), std::sync::Arc::default());
            let marks = Marks { row, seal: [0; 25], nonce: None, choices: choices.into(), volatile };
            String::from_utf8(page.splice(&marks)).unwrap()
        };
        assert_eq!(splice(0, &[]), "<a oneb");
        assert_eq!(splice(1, &[1, 1, 1, 1]), "a\ntwo!bend");
        assert_eq!(splice(0, &[0, 0, 7]), "<a one!b", "what is not said is the first one");
    }

    #[test]
    fn a_copy_has_the_bytes_of_its_answer() {
        let choices = vec![Choice { at: 5, texts: ["one", "two"].map(Bytes::from) }];
        let volatile = vec![1..3, 3..5, 5..6];
        let page = Template { choices, volatile, ..template(b"a00000 z", &[(6, Variable::White(0))]) };
        let splice = |volatile: &[u8]| {
            let row = std::sync::Arc::new([u64::MAX; 64]);
            let marks = Marks { row, seal: [0; 25], nonce: None, choices: [1].into(), volatile: volatile.into() };
            String::from_utf8(page.splice(&marks)).unwrap()
        };
        assert_eq!(splice(b"12345"), "a1234two5\nz");
        assert_eq!(splice(b"1234"), "a1234two0\nz", "what is not there stays in state 0");
        assert_eq!(splice(b""), "a0000two0\nz");
    }
}
