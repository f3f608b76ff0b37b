//! Full: all matches of a page, by binary trees of what stands at its places.
//!
//! Places with the same hash of four symbols are one tree, in the order of what follows them, and a place never hangs
//! below one that is before it. The way down to a new place, which becomes the root, meets the matches, the nearest
//! first, each next one longer.

use super::symbols::Symbols;
use super::tokens::{MAX_MATCH, MIN_MATCH, Token, WINDOW};

/// Nodes on the way down.
const DEPTH: usize = 16;
/// Symbols that make two places the same one. One number for all: below a node may hang what is out of order behind so
/// many symbols, and no way may lead there.
const NICE: usize = 128;
/// Within a match that is longer, the same distance and a symbol less comes first.
const LONG: usize = 64;
/// No place.
const NONE: u32 = u32::MAX;

/// All matches of a page.
pub(super) struct Matches {
    all: Vec<Token>,
    /// Where those of each place end.
    ends: Vec<u32>,
}

impl Matches {
    pub(super) fn find(symbols: &Symbols) -> Self {
        let mut tree = Tree::new(symbols);
        let mut matches = Self { all: Vec::with_capacity(2 * symbols.len()), ends: Vec::with_capacity(symbols.len()) };
        let mut last = None::<Token>;
        for at in 0..symbols.len() {
            let start = matches.all.len();
            let long = last.filter(|token| token.length() > LONG);
            let carried = long.map(|token| Token::copy(token.length() - 1, token.distance()));
            matches.all.extend(carried);
            let floor = carried.map_or(MIN_MATCH - 1, Token::length);
            tree.visit(at, floor, |token| matches.all.push(token));
            last = matches.all[start..].last().copied();
            matches.ends.push(matches.all.len() as u32);
        }
        matches
    }

    /// The matches at a place, each longer than the one before.
    pub(super) fn at(&self, at: usize) -> &[Token] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start as usize..self.ends[at] as usize]
    }

    /// The longest match at a place, if it is longer than `floor`.
    pub(super) fn longest(&self, at: usize, floor: usize) -> Option<Token> {
        self.at(at).last().copied().filter(|token| token.length() > floor)
    }
}

struct Tree<'s> {
    symbols: &'s Symbols,
    bits: u32,
    /// The root of each hash.
    roots: Vec<u32>,
    /// What is smaller and what is greater than a place; by place, modulo the window.
    children: Vec<u32>,
    /// The last place of each hash of three symbols.
    last_of_three: Vec<u32>,
}

impl<'s> Tree<'s> {
    fn new(symbols: &'s Symbols) -> Self {
        let bits = symbols.hash_bits();
        let none = || vec![NONE; 1 << bits];
        Self { symbols, bits, roots: none(), children: vec![NONE; 2 * WINDOW], last_of_three: none() }
    }

    /// Takes a place in, and tells its matches that are longer than `floor`. Every place has its turn, in order.
    fn visit(&mut self, at: usize, floor: usize, mut found: impl FnMut(Token)) {
        let max = MAX_MATCH.min(self.symbols.len() - at);
        let hash = self.symbols.hash_of_three(at, self.bits);
        let candidate = std::mem::replace(&mut self.last_of_three[hash], at as u32) as usize;
        if floor < MIN_MATCH && max >= MIN_MATCH {
            let distance = at.checked_sub(candidate).filter(|distance| *distance <= WINDOW);
            if let Some(distance) = distance.filter(|_| self.symbols.agree_in_three(candidate, at)) {
                found(Token::copy(MIN_MATCH, distance));
            }
        }
        if max > MIN_MATCH {
            self.descend(at, max, floor.max(MIN_MATCH), found);
        }
    }

    fn descend(&mut self, at: usize, max: usize, floor: usize, mut found: impl FnMut(Token)) {
        let hash = self.symbols.hash_of_four(at, self.bits);
        let mut node = std::mem::replace(&mut self.roots[hash], at as u32) as usize;
        // Where the next smaller and the next greater node will hang, and how much of the last ones agrees with us.
        let mut open = [child(at, 0), child(at, 1)];
        let mut agreed = [0; 2];
        let mut best = floor;
        for _ in 0..DEPTH {
            // `NONE` is behind every place. At the distance of the window a node has given its room to this place.
            let Some(distance) = at.checked_sub(node).filter(|distance| *distance < WINDOW) else { break };
            let length = self.symbols.agreement(node, at, agreed[0].min(agreed[1]), max);
            if length > best {
                best = length;
                found(Token::copy(length, distance));
            }
            if length >= NICE.min(max) {
                // As good as the same: this place is there in its stead.
                self.children[open[0]] = self.children[child(node, 0)];
                self.children[open[1]] = self.children[child(node, 1)];
                return;
            }
            let side = usize::from(self.symbols.at(node + length) > self.symbols.at(at + length));
            self.children[open[side]] = node as u32;
            agreed[side] = length;
            open[side] = child(node, 1 - side);
            node = self.children[open[side]] as usize;
        }
        self.children[open[0]] = NONE;
        self.children[open[1]] = NONE;
    }
}

/// Where a child of a place is kept: 0 is what is smaller, 1 what is greater.
fn child(place: usize, side: usize) -> usize {
    2 * (place % WINDOW) + side
}

#[cfg(test)]
mod tests {
    use super::super::testing::{random_symbols, symbols};
    use super::*;

    #[test]
    fn each_match_is_longer_and_the_nearest_of_its_length() {
        let page = symbols("abcdX abcdeX abcdefX abcY abcdefg");
        let matches = Matches::find(&page);
        let at = page.len() - 7;
        assert_eq!(matches.at(at), [Token::copy(3, 5), Token::copy(6, 13)]);
        assert_eq!(matches.longest(at, 5), Some(Token::copy(6, 13)));
        assert_eq!(matches.longest(at, 6), None);
        assert!(matches.at(0).is_empty());
    }

    /// All of them are true, and the first and the longest are what a search through everything finds.
    #[test]
    fn matches_of_random_pages_are_those_of_a_search_through_everything() {
        let mut complete = (0, 0);
        for seed in 0..12 {
            let page = random_symbols(seed, 1_000);
            let matches = Matches::find(&page);
            for at in 0..page.len() {
                let max = MAX_MATCH.min(page.len() - at);
                let mut floor = 0;
                for token in matches.at(at) {
                    assert!(token.length() > floor && token.distance() <= at);
                    assert_eq!(page.agreement(at - token.distance(), at, 0, token.length()), token.length());
                    floor = token.length();
                }
                let longest = (0..at).map(|from| page.agreement(from, at, 0, max)).max().unwrap_or(0);
                if longest > MIN_MATCH {
                    complete.0 += usize::from(floor >= longest.min(NICE));
                    complete.1 += 1;
                }
            }
        }
        // The way down is not always long enough.
        assert!(complete.0 * 100 >= complete.1 * 99, "{complete:?}");
    }

    #[test]
    fn within_a_long_match_the_distance_stays() {
        let mut random = fastrand::Rng::with_seed(1);
        let text: String = (0..300).map(|_| char::from(random.u8(b'!'..b'z'))).collect();
        let page = symbols(&format!("{text}~{text}"));
        let matches = Matches::find(&page);
        assert_eq!(matches.longest(301, 2), Some(Token::copy(258, 301)));
        for at in 301..490 {
            assert_eq!(matches.longest(at, 2).map(Token::distance), Some(301), "{at}");
        }
    }

    #[test]
    fn nothing_is_found_beyond_the_window() {
        let text = "a sentence that stands here twice";
        for (distance, longest) in [(32_767, text.len()), (32_769, 0)] {
            let page = symbols(&format!("{text}{}{text}", "-".repeat(distance - text.len())));
            let found = Matches::find(&page).longest(page.len() - text.len(), 3);
            assert_eq!(found.map_or(0, Token::length), longest, "{distance}");
        }
    }
}
