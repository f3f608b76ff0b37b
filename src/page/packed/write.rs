//! Writes the blocks (RFC 1951 §3.2.3), and records where each place that is a literal came to stand.

use super::blocks::{Block, Counts};
use super::codes::{Code, MAX_LENGTH};
use super::header::Header;
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
}

/// The same of a channel with more than two states.
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

/// The body in state 0, without the trailer.
pub(super) fn deflate(symbols: &Symbols, tokens: &[Token], blocks: &[Block]) -> (Vec<u8>, Flips) {
    let mut writer = Writer { symbols, fixed: Codes::fixed(), bits: Bits::starting(&MAGIC), flips: Flips::default() };
    for (index, block) in blocks.iter().enumerate() {
        writer.block(block, &tokens[block.tokens.clone()], index + 1 == blocks.len());
    }
    (writer.bits.finish(), writer.flips)
}

struct Writer<'s> {
    symbols: &'s Symbols,
    fixed: Codes,
    bits: Bits,
    flips: Flips,
}

impl Writer<'_> {
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
                self.white.push(Flip { at, crc: 0, flip: flip as u16, column });
                if flip >> 16 > 0 {
                    self.white.push(Flip { at: at + 2, crc: 0, flip: (flip >> 16) as u16, column });
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

    use super::super::blocks::split;
    use super::super::testing::{random_symbols, symbols};
    use super::super::{chains, path};
    use super::*;

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
                let (deflated, _) = deflate(&page, &tokens, &split(&page, &tokens));
                assert!(inflated(&deflated) == bytes, "{seed}");
            }
        }
    }

    #[test]
    fn little_goes_into_a_fixed_block() {
        let (page, tokens) = (symbols("ab"), [Token::LITERAL; 2]);
        let (deflated, _) = deflate(&page, &tokens, &split(&page, &tokens));
        // As zlib 1.2.13 writes it.
        assert_eq!(deflated[MAGIC.len()..], [0x4B, 0x4C, 0x02, 0x00]);
        let (deflated, _) = deflate(&symbols(""), &[], &split(&symbols(""), &[]));
        assert_eq!(deflated[MAGIC.len()..], [0x03, 0x00]);
        let long = "qwertyuiopasdfghjklzxcvbnm".repeat(9);
        let page = symbols(&long);
        let tokens = vec![Token::LITERAL; long.len()];
        let (deflated, _) = deflate(&page, &tokens, &split(&page, &tokens));
        assert_eq!(deflated[MAGIC.len()] & 7, 0b101, "codes of its own");
    }

    #[test]
    fn flips_are_sorted_and_each_literal_place_has_one() {
        for seed in 0..12 {
            let page = random_symbols(seed, 5_000);
            let tokens = vec![Token::LITERAL; page.len()];
            let (_, flips) = deflate(&page, &tokens, &split(&page, &tokens));
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
}
