//! Full: the cheapest way through a page, by all matches and the frequencies of the way before.

use super::blocks::{Block, split};
use super::chains::lazy;
use super::entropy;
use super::symbols::{Channels, Symbols};
use super::tokens::{
    DISTANCES, FIRST_LENGTH, LENGTH_END, LENGTH_EXTRA, LENGTHS, MIN_MATCH, Token, distance_extra, distance_symbol,
    length_symbol,
};
use super::tree::Matches;

/// Ways, each by the prices of the one before.
const ROUNDS: usize = 2;
/// A match that is longer is cut by half at most.
const LONG: usize = 32;
/// A bit, for prices here.
const BIT: i64 = 16;

/// The page in tokens.
pub(super) fn tokens(symbols: &Symbols) -> Vec<Token> {
    let matches = Matches::find(symbols);
    let mut tokens = lazy(symbols.len(), |at, floor| matches.longest(at, floor));
    for _ in 0..ROUNDS {
        tokens = cheapest(symbols, &matches, &split(symbols, &tokens));
    }
    tokens
}

/// The cheapest way by the prices of these blocks, from its end on: what stands behind a place is known before it.
fn cheapest(symbols: &Symbols, matches: &Matches, blocks: &[Block]) -> Vec<Token> {
    let mut costs = vec![0; symbols.len() + 1];
    let mut steps = vec![Token::LITERAL; symbols.len()];
    for block in blocks.iter().rev() {
        let prices = Prices::of(block);
        for at in block.symbols.clone().rev() {
            let literal = prices.literals[usize::from(symbols.byte(at))] + costs[at + 1];
            (costs[at], steps[at]) = prices.step(literal, matches.at(at), &costs[at..]);
        }
    }
    let mut tokens = Vec::with_capacity(symbols.len() / 4);
    let mut rest = steps.as_slice();
    while let [token, ..] = rest {
        tokens.push(*token);
        rest = &rest[token.length()..];
    }
    tokens
}

/// What tokens cost in a block, in 16ths of a bit.
struct Prices {
    literals: [i32; 256],
    /// By symbol, with the bits that follow it.
    lengths: [i32; LENGTHS],
    /// The same.
    distances: [i32; DISTANCES],
}

impl Prices {
    fn of(block: &Block) -> Self {
        let literals = entropy::prices(&block.counts.literals, block.channels);
        let distances = entropy::prices(&block.counts.distances, Channels::default());
        let price = |price: i64, bits: u8| (price * BIT / entropy::BIT + i64::from(bits) * BIT) as i32;
        Self {
            literals: std::array::from_fn(|byte| price(literals[byte], 0)),
            lengths: std::array::from_fn(|symbol| price(literals[FIRST_LENGTH + symbol], LENGTH_EXTRA[symbol])),
            distances: std::array::from_fn(|symbol| price(distances[symbol], distance_extra(symbol))),
        }
    }

    /// The cheapest step from a place, and the cost from there to the end. `literal`: that of a literal. `ahead`: from
    /// this place and from each one behind it.
    fn step(&self, literal: i32, matches: &[Token], ahead: &[i32]) -> (i32, Token) {
        let mut best = (literal, Token::LITERAL);
        let mut shortest = MIN_MATCH;
        for token in matches {
            let (longest, distance) = (token.length(), token.distance());
            if longest > LONG {
                shortest = shortest.max(longest / 2);
            }
            let base = self.distances[distance_symbol(distance)];
            // Lengths of one symbol cost the same, and the longest leads furthest.
            let known = length_symbol(shortest)..=length_symbol(longest);
            for (end, price) in LENGTH_END[known.clone()].iter().zip(&self.lengths[known]) {
                let length = longest.min(usize::from(*end));
                let cost = base + price + ahead[length];
                if cost <= best.0 {
                    best = (cost, Token::copy(length, distance));
                }
            }
            shortest = longest + 1;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{expand, random_symbols, symbols};
    use super::*;

    fn cost(page: &Symbols, tokens: &[Token], blocks: &[Block]) -> i64 {
        let prices: Vec<_> = blocks.iter().map(|block| (block.symbols.end, Prices::of(block))).collect();
        let mut at = 0;
        let costs = tokens.iter().map(|token| {
            let (_, prices) = prices.iter().find(|(end, _)| at < *end).unwrap();
            let literal = prices.literals[usize::from(page.byte(at))];
            at += token.length();
            i64::from(if token.is_copy() {
                let length = prices.lengths[length_symbol(token.length())];
                length + prices.distances[distance_symbol(token.distance())]
            } else {
                literal
            })
        });
        costs.sum()
    }

    #[test]
    fn the_way_is_true_and_none_that_is_known_is_cheaper() {
        for seed in 0..10 {
            let page = random_symbols(seed, 4_000);
            let matches = Matches::find(&page);
            let mut before = lazy(page.len(), |at, floor| matches.longest(at, floor));
            for _ in 0..3 {
                let blocks = split(&page, &before);
                let way = cheapest(&page, &matches, &blocks);
                expand(&page, &way);
                assert!(cost(&page, &way, &blocks) <= cost(&page, &before, &blocks), "{seed}");
                assert!(way.len() < page.len() && way.iter().any(|token| token.is_copy()));
                before = way;
            }
        }
    }

    #[test]
    fn a_long_run_is_a_literal_and_copies_of_it() {
        let page = symbols(&"-".repeat(10_000));
        let tokens = tokens(&page);
        expand(&page, &tokens);
        assert!(tokens.len() <= 2 + 10_000 / 258, "{}", tokens.len());
    }

    #[test]
    fn pages_of_no_and_of_few_symbols() {
        for text in ["", "a", "aa", "aaa", "aaaa"] {
            expand(&symbols(text), &tokens(&symbols(text)));
        }
    }
}
