//! Marks that stand in a copy as a whole: seals in its text, tokens in its tags. Both are 75 bits, 24 of them a proof.

use std::collections::BTreeMap;

use crate::watermark::code::{Keys, Mark, SEAL_SYMBOLS, TOKEN_LETTERS, char_symbol};

/// Distinct marks of one copy that are kept.
const MAX_MARKS: usize = 10_000;

/// A seal that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealHit {
    /// Whose.
    pub mark: Mark,
    /// In how many paragraphs.
    pub paragraphs: u32,
}

/// What was tried, and what it said.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    found: BTreeMap<Mark, u32>,
    tried: u64,
    /// Runs of symbols that say nothing.
    foreign: u32,
}

impl Whole {
    /// Reads the runs of symbols in a text.
    pub(super) fn read_seals(&mut self, text: &str, keys: &[Keys]) {
        let mut run = Vec::new();
        for c in text.chars() {
            match char_symbol(c) {
                Some(symbol) => run.push(symbol),
                None if run.is_empty() => {}
                None => {
                    self.read_run(&run, keys);
                    run.clear();
                }
            }
        }
        self.read_run(&run, keys);
    }

    /// Tries each place of a run: others may have put symbols of theirs before ours.
    fn read_run(&mut self, run: &[u8], keys: &[Keys]) {
        let (mut at, mut verified, mut last) = (0, false, None);
        while let Some(window) = run.get(at..at + SEAL_SYMBOLS) {
            // A window like one that said nothing says nothing.
            let mark = if last == Some(window) { None } else { self.try_all(keys, |keys| keys.unseal(window)) };
            last = mark.is_none().then_some(window);
            verified |= mark.is_some();
            at += if mark.is_some() { SEAL_SYMBOLS } else { 1 };
        }
        self.foreign += u32::from(!verified && run.len() >= SEAL_SYMBOLS);
    }

    /// Reads one token.
    pub(super) fn read_token(&mut self, letters: &[u8], keys: &[Keys]) {
        if letters.len() == TOKEN_LETTERS {
            let mark = self.try_all(keys, |keys| keys.untoken(letters));
            self.foreign = self.foreign.saturating_add(u32::from(mark.is_none()));
        }
    }

    fn try_all(&mut self, keys: &[Keys], verify: impl Fn(&Keys) -> Option<Mark>) -> Option<Mark> {
        self.tried += 1;
        let mark = keys.iter().find_map(verify)?;
        self.count(mark, 1);
        Some(mark)
    }

    fn count(&mut self, mark: Mark, times: u32) {
        if let Some(count) = self.found.get_mut(&mark) {
            *count = count.saturating_add(times);
        } else if self.found.len() < MAX_MARKS {
            self.found.insert(mark, times);
        }
    }

    /// Adds what another copy says.
    pub(super) fn add(&mut self, other: &Self) {
        other.found.iter().for_each(|(mark, count)| self.count(*mark, *count));
        self.tried += other.tried;
        self.foreign = self.foreign.saturating_add(other.foreign);
    }

    /// Marks and how often each was there.
    pub(super) fn found(&self) -> &BTreeMap<Mark, u32> {
        &self.found
    }

    /// Was there anything to try?
    pub(super) fn any(&self) -> bool {
        self.tried > 0
    }

    /// All that was there, whatever it said.
    pub(super) fn places(&self) -> u32 {
        self.found.values().fold(self.foreign, |sum, count| sum.saturating_add(*count))
    }

    /// ln of the chance that one given mark is found by accident: 24 bits of proof and 48 of the mark, at each place
    /// that was tried. More seals of one mark prove no more: they may be one run, copied.
    pub(super) fn ln_p(&self) -> f64 {
        (self.tried.max(1) as f64).ln() - 72.0 * std::f64::consts::LN_2
    }

    pub(super) fn hits(&self) -> Vec<SealHit> {
        let mut hits: Vec<SealHit> =
            self.found.iter().map(|(mark, paragraphs)| SealHit { mark: *mark, paragraphs: *paragraphs }).collect();
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.paragraphs));
        hits
    }
}

/// The tokens in the source of a copy: 15 letters behind `?k=`, `&k=` or `data-k=`.
pub(super) fn tokens(source: &str) -> impl Iterator<Item = &[u8]> {
    let bytes = source.as_bytes();
    memchr::memmem::find_iter(bytes, b"k=").filter_map(move |at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before))?;
        let rest = bytes.get(at + 2..)?;
        let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
        let (token, behind) = rest.split_at_checked(TOKEN_LETTERS)?;
        let ends = behind.first().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let letters = token.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        (matches!(before, b'?' | b'&' | b';' | b'-') && ends && letters).then_some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, keys_of, sealed};
    use super::*;

    const MARK: Mark = Mark { kid: 1, id: 0x0123_4567_89ab };

    fn read(text: &str) -> Whole {
        let mut whole = Whole::default();
        whole.read_seals(text, &[keys()]);
        whole
    }

    #[test]
    fn a_seal_is_found_at_any_place_of_a_run() {
        let seal = sealed(MARK);
        for junk in ["", "\u{FE06}", "\u{FE07}\u{FE06}\u{FE06}", "\u{FE0D}\u{FE07}\u{FE0D}\u{FE07}"] {
            let whole = read(&format!("end.{junk}{seal}{junk}{seal} next{seal}"));
            assert_eq!(whole.hits(), [SealHit { mark: MARK, paragraphs: 3 }], "{junk:?}");
            assert_eq!((whole.places(), whole.foreign), (3, 0));
        }
    }

    #[test]
    fn a_damaged_or_foreign_run_says_nothing() {
        let seal = sealed(MARK);
        let damaged: String = seal.chars().rev().collect();
        let whole = read(&format!("one{damaged} two{}", seal.chars().take(24).collect::<String>()));
        assert!(whole.hits().is_empty() && whole.any());
        assert_eq!((whole.places(), whole.tried), (1, 1), "24 symbols are no seal");
        let mut other = Whole::default();
        other.read_seals(&seal, &[keys_of(1, 9)]);
        assert_eq!((other.found().len(), other.foreign), (0, 1));
    }

    /// 64 MiB hold 22 million symbols.
    #[test]
    fn the_more_places_are_tried_the_less_a_seal_says() {
        let mut few = read(&sealed(MARK));
        assert_eq!(few.tried, 1);
        let least = few.ln_p();
        assert!((least.exp() / 2f64.powi(-72) - 1.0).abs() < 1e-9);
        few.tried = 20_000_000;
        assert!((few.ln_p() - least - 2e7f64.ln()).abs() < 1e-9);
        assert!(few.ln_p() + 1e6f64.ln() > 1e-9f64.ln(), "of a million marks one would be named too easily");
        assert!(read(&format!("{}{}", "\u{FE06}".repeat(3_000), sealed(MARK))).tried < 60, "equal windows count once");
    }

    #[test]
    fn floods_keep_their_bounds() {
        let runs: String = (0..10_500u64).map(|id| sealed(Mark { kid: 1, id }) + " ").collect();
        assert_eq!(read(&runs).found().len(), MAX_MARKS);
        let symbols: String =
            (0..200_000u32).filter_map(|i| char::from_u32(0xFE06 + i.wrapping_mul(0x9E37_79B9) % 23 % 8)).collect();
        assert!(read(&symbols).hits().is_empty());
        let uniform = read(&"\u{FE07}".repeat(1_000_000));
        assert_eq!((uniform.tried, uniform.foreign), (1, 1));
    }

    #[test]
    fn tokens_are_found_in_tags_and_links() {
        let token = String::from_utf8(keys().token(MARK.id).to_vec()).unwrap();
        let source = format!(
            "<p data-k=\"{token}\">![a](/a.jpg?k={token}) <a href='/b?x=1&amp;k={token}'> /c?k={token}x ?k=short \
             ok={token} k="
        );
        let all: Vec<&[u8]> = tokens(&source).collect();
        assert_eq!(all, [token.as_bytes(); 3]);
        let mut whole = Whole::default();
        for letters in &all {
            whole.read_token(letters, &[keys_of(0, 0), keys()]);
        }
        whole.read_token(b"aaaaaaaaaaaaaaa", &[keys()]);
        whole.read_token(b"short", &[keys()]);
        assert_eq!((whole.hits(), whole.foreign), (vec![SealHit { mark: MARK, paragraphs: 3 }], 1));
    }
}
