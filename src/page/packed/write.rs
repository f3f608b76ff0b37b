//! Writes the blocks (RFC 1951 §3.2.3), and records where each place that is a literal came to stand.
//!
//! What may be another text is a stored block, which begins and ends with a byte. It is never longer than a block of
//! literals in the fixed code: that takes 8 bits a byte at least, 10 bits more, and a stored block behind it to end with a
//! byte.

use super::blocks::{Block, Counts, split_from};
use super::codes::{Code, MAX_LENGTH};
use super::header::Header;
use super::passage::Swap;
use super::patch::{Flip, SymbolFlip};
use super::symbols::{Channel, Channels, NONCE_STATES, SEAL_STATES, Symbols, Variable};
use super::tokens::{END, Token};

/// gzip (RFC 1952 §2.3.1): deflate, no flags, no time, of no system.
const MAGIC: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// Bits, the first one lowest in its byte (RFC 1951 §3.1.1).
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// What is no whole 32 bits yet.
    held: u64,
    count: u32,
}

/// Where in the body what depends on the mark stands.
#[derive(Debug, Default)]
pub(super) struct Flips {
    pub(super) white: Vec<Flip>,
    pub(super) seal: Recorded<SEAL_STATES>,
    pub(super) nonce: Recorded<NONCE_STATES>,
    /// Where the text of each swap begins, in the order of the passage.
    pub(super) swaps: Vec<u32>,
}

/// Where a passage stands in the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edges {
    pub(super) first: bool,
    pub(super) last: bool,
}

/// Where the places of a channel with more than two states stand.
#[derive(Debug, Default)]
pub(super) struct Recorded<const STATES: usize> {
    pub(super) flips: Vec<SymbolFlip>,
    /// By block and state, how the code is different from that of state 0.
    pub(super) codes: Vec<[u32; STATES]>,
}

/// The codes of a block.
struct Codes {
    literals: Code,
    distances: Code,
}

/// A passage in state 0, from a byte on to a byte. The first one begins with the head of the file, the last one ends with the
/// last block, and any other with the head of the stored block that follows it.
pub(super) fn deflate(symbols: &Symbols, tokens: &[Token], swaps: &[Swap], edges: Edges) -> (Vec<u8>, Flips) {
    let head: &[u8] = if edges.first { &MAGIC } else { &[] };
    let mut writer = Writer { symbols, fixed: Codes::fixed(), bits: Bits::starting(head), flips: Flips::default() };
    let (mut rest, mut at) = (tokens, 0);
    for swap in swaps {
        let place = swap.range();
        let (run, behind) = rest.split_at(count(rest, place.start - at));
        writer.run(run, at, false);
        writer.swap(&swap.text);
        // No symbol of it stands elsewhere, so all of its tokens are literals.
        rest = behind.get(place.len()..).unwrap_or_default();
        at = place.end;
    }
    writer.run(rest, at, edges.last);
    if !edges.last {
        writer.bits.begin_stored();
    }
    (writer.bits.finish(), writer.flips)
}

/// How many of these tokens stand for so many symbols.
fn count(tokens: &[Token], symbols: usize) -> usize {
    let mut passed = 0;
    let begins = |token: &&Token| {
        let at = passed;
        passed += token.length();
        at < symbols
    };
    tokens.iter().take_while(begins).count()
}

/// A stored block behind its head (RFC 1951 §3.2.4): length, complement, and a text of 65,535 bytes at most.
pub(super) fn stored(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u16;
    [&length.to_le_bytes()[..], &(!length).to_le_bytes()[..], text].concat()
}

struct Writer<'s> {
    symbols: &'s Symbols,
    fixed: Codes,
    bits: Bits,
    flips: Flips,
}

impl Writer<'_> {
    /// The blocks of these tokens, which stand for the symbols from `at` on. `last`: nothing follows.
    fn run(&mut self, tokens: &[Token], at: usize, last: bool) {
        if tokens.is_empty() && !last {
            return;
        }
        let blocks = split_from(self.symbols, tokens, at);
        for (index, block) in blocks.iter().enumerate() {
            self.block(block, &tokens[block.tokens.clone()], last && index + 1 == blocks.len());
        }
    }

    /// A block for a text that may be another one.
    fn swap(&mut self, text: &[u8]) {
        self.bits.begin_stored();
        for byte in stored(text) {
            self.bits.put(byte.into(), 8);
        }
        self.flips.swaps.push((self.bits.position() / 8 - text.len()) as u32);
    }

    fn block(&mut self, block: &Block, tokens: &[Token], last: bool) {
        let Self { symbols, fixed, bits, flips } = self;
        let own = Codes::of(block);
        let header = Header::of(&own.literals.lengths, &own.distances.lengths);
        bits.put(last.into(), 1);
        let codes = if fixed.size(&block.counts) <= header.size() + own.size(&block.counts) {
            bits.put(1, 2);
            &*fixed
        } else {
            bits.put(2, 2);
            header.write(bits);
            &own
        };
        flips.begin(block.channels, &codes.literals);
        let mut at = block.symbols.start;
        for token in tokens {
            if token.is_copy() {
                let (length, distance) = (token.length_code(), token.distance_code());
                bits.put_symbol(&codes.literals, length.symbol);
                bits.put(length.rest, length.bits);
                bits.put_symbol(&codes.distances, distance.symbol);
                bits.put(distance.rest, distance.bits);
            } else {
                if let Some(variable) = Variable::of_symbol(symbols.at(at)) {
                    flips.record(variable, bits.position(), &codes.literals);
                }
                bits.put_symbol(&codes.literals, symbols.byte(at).into());
            }
            at += token.length();
        }
        bits.put_symbol(&codes.literals, END);
    }
}

impl Codes {
    fn fixed() -> Self {
        let (literals, distances) = Code::fixed();
        Self { literals, distances }
    }

    fn of(block: &Block) -> Self {
        Self {
            literals: Code::of(&block.counts.literals, MAX_LENGTH, block.channels),
            distances: Code::of(&block.counts.distances, MAX_LENGTH, Channels::default()),
        }
    }

    /// Without the bits that follow a symbol, which are the same in all codes.
    fn size(&self, counts: &Counts) -> u64 {
        self.literals.size(&counts.literals) + self.distances.size(&counts.distances)
    }
}

impl Flips {
    /// A block with this code begins.
    fn begin(&mut self, channels: Channels, code: &Code) {
        if channels.has(Channel::Seal) {
            self.seal.codes.push(differences(code, Channel::Seal));
        }
        if channels.has(Channel::Nonce) {
            self.nonce.codes.push(differences(code, Channel::Nonce));
        }
    }

    /// A place is written as a literal from this bit of the body on.
    fn record(&mut self, variable: Variable, position: usize, code: &Code) {
        let (at, shift) = ((position / 8) as u32, (position % 8) as u8);
        match variable {
            Variable::White(column) => {
                let [_, flip] = differences::<2>(code, Channel::White).map(|flip| flip << shift);
                self.white.push(Flip { at, crc: 0, bits: flip as u16, column });
                if flip >> 16 > 0 {
                    self.white.push(Flip { at: at + 2, crc: 0, bits: (flip >> 16) as u16, column });
                }
            }
            Variable::Seal(symbol) => self.seal.record(at, shift, symbol),
            Variable::Nonce(letter) => self.nonce.record(at, shift, letter),
        }
    }
}

impl<const STATES: usize> Recorded<STATES> {
    fn record(&mut self, at: u32, shift: u8, number: u8) {
        // `Flips::begin` has put the code of this block there.
        let block = self.codes.len().saturating_sub(1) as u16;
        self.flips.push(SymbolFlip { at, shift, number, block });
    }
}

/// In which bits the code of each state is not that of state 0.
fn differences<const STATES: usize>(code: &Code, channel: Channel) -> [u32; STATES] {
    let alphabet = channel.alphabet();
    let first = usize::from(alphabet[0]);
    debug_assert!(alphabet.iter().all(|byte| code.lengths[usize::from(*byte)] == code.lengths[first]));
    std::array::from_fn(|state| u32::from(code.bits[usize::from(alphabet[state])] ^ code.bits[first]))
}

impl Bits {
    fn starting(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ..Self::default() }
    }

    /// Puts that many bits there; `value` has no others. No more than 31 of them.
    pub(super) fn put(&mut self, value: u32, bits: u8) {
        self.held |= u64::from(value) << self.count;
        self.count += u32::from(bits);
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// The head of a stored block that is not the last one: what follows begins with a byte.
    fn begin_stored(&mut self) {
        self.put(0, 3);
        self.put(0, (self.count.next_multiple_of(8) - self.count) as u8);
    }

    fn put_symbol(&mut self, code: &Code, symbol: usize) {
        self.put(code.bits[symbol].into(), code.lengths[symbol]);
    }

    /// Bits so far, and those of what it started with.
    pub(super) fn position(&self) -> usize {
        8 * self.bytes.len() + self.count as usize
    }

    /// The bytes; the last one is filled with zeros.
    fn finish(mut self) -> Vec<u8> {
        let rest = self.held.to_le_bytes();
        self.bytes.extend(rest.iter().take(self.count.div_ceil(8) as usize));
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;

    use super::super::passage::{Instead, Passage};
    use super::super::testing::{random_symbols, symbols, template_of};
    use super::super::{chains, path};
    use super::*;

    const WHOLE: Edges = Edges { first: true, last: true };

    fn inflated(deflated: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        flate2::bufread::DeflateDecoder::new(&deflated[MAGIC.len()..]).read_to_end(&mut page).unwrap();
        page
    }

    #[test]
    fn bits_are_written_from_the_lowest_on() {
        let mut bits = Bits::starting(&[7]);
        for (value, count) in [(1, 1), (0b10, 2), (0x7FF, 11), (0, 0), (0x1234, 13), (0x7FFF_FFFF, 31), (1, 1)] {
            bits.put(value, count);
        }
        assert_eq!(bits.position(), 8 + 59);
        let all: u64 = 1 | 0b10 << 1 | 0x7FF << 3 | 0x1234 << 14 | 0x7FFF_FFFF << 27 | 1 << 58;
        assert_eq!(bits.finish(), [&[7][..], &all.to_le_bytes()].concat());
    }

    #[test]
    fn what_is_written_is_the_page() {
        for seed in 0..12 {
            let page = random_symbols(seed, 5_000);
            let bytes: Vec<u8> = (0..page.len()).map(|at| page.byte(at)).collect();
            for tokens in [chains::tokens(&page), path::tokens(&page), vec![Token::LITERAL; page.len()]] {
                let (deflated, _) = deflate(&page, &tokens, &[], WHOLE);
                assert!(inflated(&deflated) == bytes, "{seed}");
            }
        }
    }

    #[test]
    fn little_goes_into_a_fixed_block() {
        let (page, tokens) = (symbols("ab"), [Token::LITERAL; 2]);
        let (deflated, _) = deflate(&page, &tokens, &[], WHOLE);
        // As zlib 1.2.13 writes it.
        assert_eq!(deflated[MAGIC.len()..], [0x4B, 0x4C, 0x02, 0x00]);
        let (deflated, _) = deflate(&symbols(""), &[], &[], WHOLE);
        assert_eq!(deflated[MAGIC.len()..], [0x03, 0x00]);
        let long = "qwertyuiopasdfghjklzxcvbnm".repeat(9);
        let page = symbols(&long);
        let tokens = vec![Token::LITERAL; long.len()];
        let (deflated, _) = deflate(&page, &tokens, &[], WHOLE);
        assert_eq!(deflated[MAGIC.len()] & 7, 0b101, "codes of its own");
    }

    #[test]
    fn flips_are_sorted_and_each_literal_place_has_one() {
        for seed in 0..12 {
            let page = random_symbols(seed, 5_000);
            let tokens = vec![Token::LITERAL; page.len()];
            let (_, flips) = deflate(&page, &tokens, &[], WHOLE);
            assert!(flips.white.is_sorted_by_key(|flip| flip.at));
            assert!(flips.seal.flips.is_sorted_by_key(|flip| flip.at));
            assert!(flips.nonce.flips.is_sorted_by_key(|flip| flip.at));
            let of = |channel: Channel| {
                let variables = (0..page.len()).filter_map(|at| Variable::of_symbol(page.at(at)));
                variables.filter(|variable| variable.channel() == channel).count()
            };
            assert!(flips.white.len() >= of(Channel::White) && of(Channel::White) > 0, "{seed}");
            assert_eq!(flips.seal.flips.len(), of(Channel::Seal));
            assert_eq!(flips.nonce.flips.len(), of(Channel::Nonce));
        }
    }

    #[test]
    fn a_text_that_may_be_another_one_is_a_stored_block_of_its_own() {
        assert_eq!(stored(b""), [0, 0, 0xFF, 0xFF]);
        assert_eq!(stored(&[7; 300])[..5], [0x2C, 1, 0xD3, 0xFE, 7]);
        let instead = |number| Instead::Text { number, text: Bytes::from("xyz") };
        let swap = |at, number| Swap { at, text: Bytes::from("abc"), instead: instead(number) };
        // At the start, two of them side by side, and at the end.
        let text = b"abc, abc and abcabc, abc and abc";
        let swaps = [(0, 0), (13, 1), (16, 2), (29, 3)].map(|(at, number)| swap(at, number));
        let passage = Passage { page: template_of(text, &[]), swaps: swaps.into() };
        let page = Symbols::of_passage(&passage).unwrap();
        for tokens in [chains::tokens(&page), path::tokens(&page)] {
            let (mut deflated, flips) = deflate(&page, &tokens, &passage.swaps, WHOLE);
            assert_eq!(inflated(&deflated), text);
            assert_eq!(flips.swaps.len(), 4);
            for at in flips.swaps {
                let at = at as usize;
                assert_eq!(deflated[at - 4..at + 3], stored(b"abc"));
                deflated[at..at + 3].copy_from_slice(b"xyz");
            }
            assert_eq!(inflated(&deflated), b"xyz, abc and xyzxyz, abc and xyz");
        }
    }

    #[test]
    fn a_passage_ends_with_the_head_of_what_follows_it() {
        let edges = Edges { first: false, last: false };
        assert_eq!(deflate(&symbols(""), &[], &[], edges).0, [0]);
        let page = symbols("ab");
        let (mut first, _) = deflate(&page, &[Token::LITERAL; 2], &[], Edges { first: true, ..edges });
        first.extend(stored(b"--"));
        first.extend(deflate(&symbols(""), &[], &[], edges).0);
        first.extend(stored(b""));
        first.extend(deflate(&page, &[Token::LITERAL; 2], &[], Edges { last: true, ..edges }).0);
        assert_eq!(inflated(&first), b"ab--ab");
    }
}
