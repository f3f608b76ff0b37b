//! Blocks: where the frequencies change, and where places begin to stand in the text.
//!
//! Only a block in which a place is a literal pays for codes of one length, so text parts from markup by itself.

use std::ops::Range;

use super::codes::fixed_length;
use super::entropy;
use super::symbols::{Channels, Symbols, Variable};
use super::tokens::{DISTANCES, END, LITERALS, Token};

/// Most tokens of a part to begin with.
const MAX_PART: usize = 768;
/// Fewest of them.
const MIN_PART: usize = 8;
/// Parts of a page that is not long.
const PARTS: usize = 64;
/// The head of a block and the code of its table, by experience.
const HEAD: i64 = 60 * entropy::BIT;

/// How often each symbol stands in a block.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) literals: [u32; LITERALS],
    pub(super) distances: [u32; DISTANCES],
}

/// A run of tokens that have one code.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) tokens: Range<usize>,
    /// What of the page they stand for.
    pub(super) symbols: Range<usize>,
    pub(super) counts: Box<Counts>,
    /// Of which a place is a literal.
    pub(super) channels: Channels,
}

/// The blocks of a page; at least one.
pub(super) fn split(symbols: &Symbols, tokens: &[Token]) -> Vec<Block> {
    split_from(symbols, tokens, 0)
}

/// The same for tokens that stand for the symbols from `start` on.
pub(super) fn split_from(symbols: &Symbols, tokens: &[Token], start: usize) -> Vec<Block> {
    let mut blocks = parts(symbols, tokens, start);
    let mut bits: Vec<i64> = blocks.iter().map(|block| block.counts.bits(block.channels)).collect();
    let mut gains: Vec<i64> = (1..blocks.len()).map(|next| gain(&blocks, &bits, next - 1)).collect();
    while let Some(at) = greatest(&gains) {
        let next = blocks.remove(at + 1);
        blocks[at].absorb(&next);
        let more = bits.remove(at + 1) - gains.remove(at);
        bits[at] += more;
        if at > 0 {
            gains[at - 1] = gain(&blocks, &bits, at - 1);
        }
        if at < gains.len() {
            gains[at] = gain(&blocks, &bits, at);
        }
    }
    blocks
}

/// The bits that are saved if this block and the next one are one.
fn gain(blocks: &[Block], bits: &[i64], at: usize) -> i64 {
    bits[at] + bits[at + 1] - blocks[at].bits_with(&blocks[at + 1])
}

/// Which gain is the greatest, if there is any.
fn greatest(gains: &[i64]) -> Option<usize> {
    let (at, gain) = gains.iter().enumerate().max_by_key(|(_, gain)| **gain)?;
    (*gain > 0).then_some(at)
}

/// Parts of equal numbers of tokens; one of none for an empty page.
fn parts(symbols: &Symbols, tokens: &[Token], start: usize) -> Vec<Block> {
    let size = (tokens.len() / PARTS).clamp(MIN_PART, MAX_PART);
    let mut blocks = vec![Block::at(0, start)];
    for (index, token) in tokens.iter().enumerate() {
        let full = blocks.last().filter(|last| last.tokens.len() == size).map(|last| last.symbols.end);
        blocks.extend(full.map(|symbol| Block::at(index, symbol)));
        if let Some(last) = blocks.last_mut() {
            last.add(*token, symbols);
        }
    }
    blocks
}

impl Block {
    fn at(token: usize, symbol: usize) -> Self {
        let mut counts = Box::new(Counts { literals: [0; LITERALS], distances: [0; DISTANCES] });
        counts.literals[END] = 1;
        Self { tokens: token..token, symbols: symbol..symbol, counts, channels: Channels::default() }
    }

    fn add(&mut self, token: Token, symbols: &Symbols) {
        let at = self.symbols.end;
        if token.is_copy() {
            self.counts.literals[token.length_code().symbol] += 1;
            self.counts.distances[token.distance_code().symbol] += 1;
        } else {
            self.counts.literals[usize::from(symbols.byte(at))] += 1;
            if let Some(variable) = Variable::of_symbol(symbols.at(at)) {
                self.channels.insert(variable.channel());
            }
        }
        self.tokens.end += 1;
        self.symbols.end += token.length();
    }

    /// Takes the next block in.
    fn absorb(&mut self, next: &Self) {
        self.counts.add(&next.counts);
        self.channels = self.channels.union(next.channels);
        (self.tokens.end, self.symbols.end) = (next.tokens.end, next.symbols.end);
    }

    /// The bits of this block and the next one as one.
    fn bits_with(&self, next: &Self) -> i64 {
        let mut counts = Counts::clone(&self.counts);
        counts.add(&next.counts);
        counts.bits(self.channels.union(next.channels))
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.literals.iter_mut().zip(&other.literals).for_each(|(count, more)| *count += more);
        self.distances.iter_mut().zip(&other.distances).for_each(|(count, more)| *count += more);
        self.literals[END] = 1;
    }

    /// An estimate, by the cheaper kind of block. Bits that follow a symbol are not counted: they are the same in all.
    fn bits(&self, channels: Channels) -> i64 {
        let own = entropy::bits(&self.literals, channels) + entropy::bits(&self.distances, Channels::default()) + HEAD;
        let literals = self.literals.iter().enumerate();
        let fixed = literals.map(|(symbol, count)| i64::from(*count) * i64::from(fixed_length(symbol))).sum::<i64>()
            + 5 * self.distances.iter().map(|count| i64::from(*count)).sum::<i64>();
        own.min(fixed * entropy::BIT)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chains;
    use super::super::symbols::{Channel, Template};
    use super::super::testing::{random_symbols, symbols};
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_count_everything() {
        for seed in 0..8 {
            let page = random_symbols(seed, 6_000);
            let tokens = chains::tokens(&page);
            let blocks = split(&page, &tokens);
            let (mut token, mut symbol) = (0, 0);
            for block in &blocks {
                assert_eq!((block.tokens.start, block.symbols.start), (token, symbol));
                (token, symbol) = (block.tokens.end, block.symbols.end);
                let counted: u32 = block.counts.literals.iter().sum();
                assert_eq!(counted as usize, block.tokens.len() + 1, "with the end of the block");
                let copies = tokens[block.tokens.clone()].iter().filter(|token| token.is_copy()).count();
                assert_eq!(block.counts.distances.iter().sum::<u32>() as usize, copies);
            }
            assert_eq!((token, symbol), (tokens.len(), page.len()));
        }
    }

    #[test]
    fn a_page_of_nothing_is_a_block() {
        let blocks = split(&symbols(""), &[]);
        assert_eq!((blocks.len(), blocks[0].tokens.clone(), blocks[0].counts.literals[END]), (1, 0..0, 1));
    }

    #[test]
    fn text_parts_from_markup_and_pays_alone() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut template = Template::default();
        for _ in 0..3_200 {
            template.bytes.push(random.u8(b'0'..=b'9'));
        }
        for column in 0..640 {
            template.bytes.extend((0..4).map(|_| random.u8(b'a'..=b'z')));
            template.places.push((template.bytes.len() as u32, Variable::White(column)));
            template.bytes.push(b' ');
        }
        let page = Symbols::of(&template).unwrap();
        let tokens = vec![Token::LITERAL; page.len()];
        let blocks = split(&page, &tokens);
        let found: Vec<_> = blocks.iter().map(|block| (block.symbols.clone(), block.channels)).collect();
        let mut white = Channels::default();
        white.insert(Channel::White);
        assert_eq!(found, [(0..3_200, Channels::default()), (3_200..6_400, white)]);
    }

    #[test]
    fn even_frequencies_are_one_block() {
        let mut random = fastrand::Rng::with_seed(4);
        let text: String = (0..9_000).map(|_| char::from(random.u8(b'a'..=b'h'))).collect();
        assert_eq!(split(&symbols(&text), &vec![Token::LITERAL; 9_000]).len(), 1);
    }
}
