//! Quick: places with the same four symbols are chained, and a match waits for a longer one at the next symbol.

use super::symbols::Symbols;
use super::tokens::{MAX_MATCH, MIN_MATCH, Token, WINDOW};

/// Places that are looked at for one match.
const CHAIN: usize = 128;
/// A match of this length ends the search.
const NICE: usize = 128;
/// A match of this length does not wait.
const LAZY: usize = 32;
/// Three literals cost less than a match of three from further back.
const NEAR: usize = 1_024;
/// No place.
const NONE: u32 = u32::MAX;

/// The page in tokens.
pub(super) fn tokens(symbols: &Symbols) -> Vec<Token> {
    let mut chains = Chains::new(symbols);
    lazy(symbols.len(), |at, floor| chains.longest(at, floor))
}

/// `longest` finds the longest match at a place if it is longer than a floor.
pub(super) fn lazy(len: usize, mut longest: impl FnMut(usize, usize) -> Option<Token>) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(len / 4);
    let (mut at, mut waiting) = (0, None::<Token>);
    // A match that waits is at least three long, so none is left at the end.
    while at < len {
        let floor = waiting.map_or(MIN_MATCH - 1, Token::length);
        let found = if floor < LAZY { longest(at, floor) } else { None };
        match (waiting, found) {
            (Some(token), None) => {
                tokens.push(token);
                // It began one symbol before.
                at += token.length() - 1;
                waiting = None;
            }
            (None, None) => {
                tokens.push(Token::LITERAL);
                at += 1;
            }
            (_, Some(_)) => {
                tokens.extend(waiting.map(|_| Token::LITERAL));
                at += 1;
                waiting = found;
            }
        }
    }
    tokens
}

/// Places by the hash of what stands there.
struct Chains<'s> {
    symbols: &'s Symbols,
    bits: u32,
    /// The last place of each hash of four symbols.
    last: Vec<u32>,
    /// The place before with the same hash; by place, modulo the window.
    before: Vec<u32>,
    /// The last place of each hash of three symbols.
    last_of_three: Vec<u32>,
    /// All places before this one are in.
    next: usize,
}

impl<'s> Chains<'s> {
    fn new(symbols: &'s Symbols) -> Self {
        let bits = symbols.hash_bits();
        let none = || vec![NONE; 1 << bits];
        Self { symbols, bits, last: none(), before: vec![NONE; WINDOW], last_of_three: none(), next: 0 }
    }

    fn insert(&mut self, at: usize) {
        let hash = self.symbols.hash_of_four(at, self.bits);
        self.before[at % WINDOW] = std::mem::replace(&mut self.last[hash], at as u32);
        self.last_of_three[self.symbols.hash_of_three(at, self.bits)] = at as u32;
    }

    /// The longest match at a place, if it is longer than `floor`. Places ascend from call to call.
    fn longest(&mut self, at: usize, floor: usize) -> Option<Token> {
        for place in self.next..at {
            self.insert(place);
        }
        self.next = at;
        let max = MAX_MATCH.min(self.symbols.len() - at);
        let mut found = if floor < MIN_MATCH && max >= MIN_MATCH { self.match_of_three(at) } else { None };
        let mut best = floor.max(MIN_MATCH);
        let mut candidate = self.last[self.symbols.hash_of_four(at, self.bits)] as usize;
        for _ in 0..CHAIN {
            // `NONE` is behind every place.
            let distance = at.checked_sub(candidate).filter(|distance| *distance <= WINDOW);
            let Some(distance) = distance.filter(|_| best < max) else { break };
            // Most candidates are not longer, as the end of a longer match tells.
            let end = best + 1 - 4;
            if self.symbols.four(candidate + end) == self.symbols.four(at + end) {
                let length = self.symbols.agreement(candidate, at, 0, max);
                if length > best {
                    (best, found) = (length, Some(Token::copy(length, distance)));
                }
                if length >= NICE {
                    break;
                }
            }
            candidate = self.before[candidate % WINDOW] as usize;
        }
        found
    }

    fn match_of_three(&self, at: usize) -> Option<Token> {
        let candidate = self.last_of_three[self.symbols.hash_of_three(at, self.bits)] as usize;
        let distance = at.checked_sub(candidate).filter(|distance| *distance <= NEAR)?;
        self.symbols.agree_in_three(candidate, at).then(|| Token::copy(MIN_MATCH, distance))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{expand, symbols};
    use super::*;

    #[test]
    fn what_was_there_is_copied_from_the_last_place() {
        let page = symbols("abcdefgh--abcdefg==abcdefgh");
        let tokens = tokens(&page);
        let copies: Vec<Token> = tokens.iter().copied().filter(|token| token.is_copy()).collect();
        assert_eq!(copies, [Token::copy(7, 10), Token::copy(8, 19)]);
        expand(&page, &tokens);
    }

    #[test]
    fn a_match_waits_for_a_longer_one() {
        let page = symbols("abcd bcdefghi abcdefghi");
        let tokens = tokens(&page);
        assert_eq!(&tokens[tokens.len() - 2..], [Token::LITERAL, Token::copy(8, 10)]);
        expand(&page, &tokens);
    }

    #[test]
    fn three_symbols_are_copied_from_near_only() {
        for (distance, copied) in [(1_024, true), (1_025, false)] {
            let page = symbols(&format!("~a!{}~a!", "-".repeat(distance - 3)));
            assert_eq!(tokens(&page).last().copied() == Some(Token::copy(3, distance)), copied, "{distance}");
        }
    }

    #[test]
    fn nothing_is_copied_from_beyond_the_window() {
        let text = "a sentence that stands here twice";
        for (distance, copied) in [(32_768, true), (32_769, false)] {
            let page = symbols(&format!("{text}{}{text}", "-".repeat(distance - text.len())));
            let tokens = tokens(&page);
            assert_eq!(tokens.last().copied() == Some(Token::copy(text.len(), distance)), copied, "{distance}");
            expand(&page, &tokens);
        }
    }

    #[test]
    fn pages_of_no_and_of_few_symbols() {
        for (text, count) in [("", 0), ("a", 1), ("aaa", 3), ("aaaa", 2), ("abab", 4)] {
            let page = symbols(text);
            assert_eq!(tokens(&page).len(), count, "{text}");
            expand(&page, &tokens(&page));
        }
    }
}
