//! What a copy shows: gaps with their bits, and runs of seal symbols.

use std::collections::VecDeque;

use super::code::{COLUMNS, Keys, Mark, SEAL_SYMBOLS, char_symbol};
use crate::slot::{Class, PlaceKind, SEPARATOR, Words, fold};

/// Distinct seals of one copy that are kept.
const MAX_SEALS: usize = 10_000;
/// Words around a gap.
const CONTEXT: usize = 4;
/// Share of line feeds, in percent, that a hard wrap would explain.
const WRAPPED: usize = 90;

/// A seal that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealHit {
    /// Whose.
    pub mark: Mark,
    /// In how many paragraphs.
    pub paragraphs: u32,
}

/// A copy, read under the keys that are known. Its size does not grow with the text, but for the symbols of seals.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Words.
    pub words: usize,
    slots: usize,
    /// Per key and column: line feeds less spaces.
    votes: Vec<Vec<i32>>,
    /// Runs of at least 25 symbols.
    runs: Vec<Vec<u8>>,
    /// Why the white space carries nothing.
    pub dead: Option<&'static str>,
}

impl Copy {
    /// Reads a text. Linear in its length.
    pub fn read(text: &str, keys: &[Keys]) -> Self {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let longest = text.lines().map(|l| l.chars().count()).max().unwrap_or(0);
        let mut votes = vec![vec![0i32; COLUMNS]; keys.len()];
        let (mut count, mut slots, mut feeds, mut wrapped) = (0usize, 0usize, 0usize, 0usize);
        let mut last: VecDeque<FoldedWord> = VecDeque::with_capacity(CONTEXT + 1);
        for word in folded_words(text) {
            count += 1;
            last.push_back(word);
            if last.len() > CONTEXT {
                last.pop_front();
            }
            let Some((line_feed, next_end)) = gap(text, last.make_contiguous()) else { continue };
            slots += 1;
            feeds += usize::from(line_feed.is_some());
            wrapped += usize::from(line_feed.is_some_and(|at| wraps(text, at, next_end, longest)));
            let context = last.iter().map(|w| w.folded.as_slice()).collect::<Vec<_>>().join(&SEPARATOR);
            for (votes, keys) in votes.iter_mut().zip(keys) {
                let column = keys.hash(PlaceKind::Space, &context).column(Class::White);
                if let Some(vote) = votes.get_mut(usize::from(column)) {
                    *vote = vote.saturating_add(if line_feed.is_some() { 1 } else { -1 });
                }
            }
        }
        let dead = if slots == 0 {
            Some("no_gaps")
        } else if feeds == 0 {
            Some("whitespace_collapsed")
        } else if wrapped * 100 >= feeds * WRAPPED {
            Some("hard_wrapped")
        } else {
            None
        };
        Self { words: count, slots, votes, runs: runs(text), dead }
    }

    /// Gaps that were read.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Did any run look like a seal?
    pub fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Places where a seal could stand: each of them is a chance for an accident.
    pub fn windows(&self) -> u64 {
        self.runs.iter().map(|run| (run.len() + 1).saturating_sub(SEAL_SYMBOLS) as u64).sum()
    }

    /// The seals that verify under these keys.
    pub fn seals(&self, keys: &Keys) -> Vec<SealHit> {
        let mut hits: Vec<SealHit> = Vec::new();
        for run in &self.runs {
            let mut at = 0;
            while let Some(window) = run.get(at..at + SEAL_SYMBOLS) {
                match keys.unseal(window) {
                    Some(mark) => {
                        at += SEAL_SYMBOLS;
                        match hits.iter().position(|h| h.mark == mark) {
                            Some(index) => hits[index].paragraphs += 1,
                            None if hits.len() < MAX_SEALS => hits.push(SealHit { mark, paragraphs: 1 }),
                            None => {}
                        }
                    }
                    None => at += 1,
                }
            }
        }
        hits.sort_by_key(|h| std::cmp::Reverse(h.paragraphs));
        hits
    }

    /// What can be compared, for each key in the order of [`Copy::read`]; gaps of one column are merged by majority, ties
    /// dropped.
    pub fn observations(&self) -> impl Iterator<Item = Observation> {
        self.votes.iter().map(|votes| {
            let mut observation = Observation::default();
            for (column, vote) in votes.iter().enumerate().filter(|(_, v)| **v != 0) {
                observation.add(column, *vote > 0);
            }
            observation
        })
    }
}

/// Live columns and their bits.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(super) live: [u64; COLUMNS / 64],
    pub(super) bits: [u64; COLUMNS / 64],
    /// Columns with which an innocent mark agrees with chance 1/4.
    pub(super) rare: [u64; COLUMNS / 64],
}

impl Default for Observation {
    fn default() -> Self {
        Self { live: [0; COLUMNS / 64], bits: [0; COLUMNS / 64], rare: [0; COLUMNS / 64] }
    }
}

impl Observation {
    fn add(&mut self, column: usize, bit: bool) {
        let (word, mask) = (column / 64, 1u64 << (column % 64));
        let set = |words: &mut [u64; COLUMNS / 64], on: bool| {
            if let (true, Some(word)) = (on, words.get_mut(word)) {
                *word |= mask;
            }
        };
        set(&mut self.live, true);
        set(&mut self.bits, bit);
        // Even columns are 1 with chance 1/4, odd ones with 3/4.
        set(&mut self.rare, bit == column.is_multiple_of(2));
    }

    /// Columns that count.
    pub fn live(&self) -> u32 {
        self.live.iter().map(|w| w.count_ones()).sum()
    }

    pub(super) fn rare(&self) -> u32 {
        self.rare.iter().map(|w| w.count_ones()).sum()
    }
}

struct FoldedWord {
    start: usize,
    end: usize,
    folded: Vec<u8>,
}

fn folded_words(text: &str) -> impl Iterator<Item = FoldedWord> {
    Words::new(text).filter_map(|word| {
        let mut folded = Vec::new();
        fold(text.get(word.start..word.end)?, &mut folded);
        (!folded.is_empty()).then_some(FoldedWord { start: word.start, end: word.end, folded })
    })
}

/// The gap in the middle of four words, if it is one: where its line feed stands, and the end of the word behind it.
fn gap(text: &str, words: &[FoldedWord]) -> Option<(Option<usize>, usize)> {
    let [a, b, c, d] = words else { return None };
    let gap = text.get(b.end..c.start).filter(|g| is_white(g))?;
    if has_blank_line(text.get(a.end..d.start)?) {
        return None;
    }
    Some((gap.contains('\n').then_some(b.end), c.end))
}

fn is_white(gap: &str) -> bool {
    !gap.is_empty() && gap.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{C}') || char_symbol(c).is_some())
}

fn has_blank_line(text: &str) -> bool {
    let mut line_is_blank = false;
    for c in text.chars() {
        match c {
            '\n' if line_is_blank => return true,
            '\n' => line_is_blank = true,
            ' ' | '\t' | '\r' => {}
            _ => line_is_blank = false,
        }
    }
    false
}

/// Would the word that ends at `next_end` have made the line that ends at `at` longer than any other?
fn wraps(text: &str, at: usize, next_end: usize, longest: usize) -> bool {
    let start = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let line = text.get(start..at).map_or(0, |l| l.chars().count());
    let next = text.get(at..next_end).map_or(0, |w| w.trim().chars().count());
    line + 1 + next > longest
}

fn runs(text: &str) -> Vec<Vec<u8>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for c in text.chars().chain(std::iter::once(' ')) {
        match char_symbol(c) {
            Some(symbol) => run.push(symbol),
            None => {
                let whole = std::mem::take(&mut run);
                if whole.len() >= SEAL_SYMBOLS {
                    runs.push(whole);
                }
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_end_a_window() {
        assert_eq!(Copy::read("one two three four", &[]).slots(), 1);
        assert_eq!(Copy::read("one two\n\nthree four", &[]).slots(), 0);
        assert_eq!(Copy::read("one two\n \nthree four five six seven", &[]).slots(), 2);
        assert_eq!(Copy::read("one two, three four", &[]).slots(), 0);
    }

    #[test]
    fn dead_white_space_is_recognised() {
        assert_eq!(Copy::read("", &[]).dead, Some("no_gaps"));
        assert_eq!(Copy::read("one two three four five", &[]).dead, Some("whitespace_collapsed"));
        assert_eq!(Copy::read("one two\nthree four five", &[]).dead, None);
        let words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau";
        let mut wrapped = String::new();
        let mut width = 0;
        for word in words.split(' ').cycle().take(400) {
            if width + 1 + word.len() > 60 {
                wrapped.push('\n');
                width = 0;
            } else if width > 0 {
                wrapped.push(' ');
                width += 1;
            }
            wrapped.push_str(word);
            width += word.len();
        }
        assert_eq!(Copy::read(&wrapped, &[]).dead, Some("hard_wrapped"));
    }

    #[test]
    fn hostile_runs_are_read_in_linear_time() {
        let text = "\u{FE06}".repeat(300_000);
        let secrets = crate::secret::Secret::new(0, &(0..32).collect::<Vec<u8>>()).unwrap();
        let copy = Copy::read(&text, &[Keys::new(&secrets)]);
        assert!(copy.has_runs());
        assert!(copy.seals(&Keys::new(&secrets)).is_empty());
    }

    #[test]
    fn gaps_of_one_column_are_merged_by_majority_under_each_key() {
        let keys = [0u8, 1]
            .map(|kid| Keys::new(&crate::secret::Secret::new(kid, &(kid..kid + 32).collect::<Vec<u8>>()).unwrap()));
        let column =
            |keys: &Keys| usize::from(keys.hash(PlaceKind::Space, b"one\x1Ftwo\x1Fthree\x1Ffour").column(Class::White));
        let text = "one two\nthree four. one two three four. one two\nthree four.";
        let copy = Copy::read(text, &keys);
        for (observation, keys) in copy.observations().zip(&keys) {
            let column = column(keys);
            let (word, mask) = (column / 64, 1u64 << (column % 64));
            assert_ne!(observation.live[word] & observation.bits[word] & mask, 0, "two of three are line feeds");
        }
        let tie = Copy::read("one two\nthree four. one two three four.", &keys);
        let column = column(&keys[0]);
        let observation = tie.observations().next().unwrap();
        assert_eq!(observation.live[column / 64] >> (column % 64) & 1, 0, "a tie says nothing");
    }
}
