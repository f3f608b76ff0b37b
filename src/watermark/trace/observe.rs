//! What a copy shows: places with their bits, seals and tokens, and hashes that say which page it is from.
//!
//! Its size does not grow with the text. What it shows is the same whatever marks are searched later, so that a class
//! of places may be left out for what was seen here without making any mark more or less likely.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notes::Note;
use super::seals::{Whole, tokens};
use super::sketch::{Overlap, Smallest};
use super::text::plain;
use crate::slot::{Class, PlaceHash, PlaceKind, SEPARATOR, Word, Words, fold};
use crate::watermark::code::{Keys, char_symbol};

/// Share of line feeds, in percent, that a fixed width would explain.
const WRAPPED: u32 = 90;

/// A copy, or a part of one.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'t> {
    /// Its text, blocks apart by blank lines.
    pub text: &'t str,
    /// What it is called.
    pub label: &'t str,
}

/// A copy, read under all keys that are known.
#[derive(Debug, Clone)]
pub struct Observation {
    label: String,
    keys: Arc<[Keys]>,
    /// In the order of the keys.
    views: Vec<View>,
    words: usize,
    /// Places by the bit that they show: first zero, then one.
    seen: BTreeMap<PlaceKind, [u32; 2]>,
    /// Line feeds that a fixed width explains.
    wrapped: u32,
    ascii: bool,
    ours: bool,
    pub(super) seals: Whole,
    pub(super) tokens: Whole,
}

/// The copy under one key.
#[derive(Debug, Clone, Default)]
struct View {
    /// Ones less zeros, by column.
    votes: BTreeMap<PlaceKind, Vec<i32>>,
    hashes: Smallest,
}

impl View {
    fn add(&mut self, kind: PlaceKind, hash: PlaceHash, bit: bool) {
        let class = kind.class();
        let votes = self.votes.entry(kind).or_insert_with(|| vec![0; class.columns()]);
        if let Some(vote) = votes.get_mut(usize::from(hash.column(class))) {
            *vote = vote.saturating_add(if bit { 1 } else { -1 });
        }
        if kind == PlaceKind::Space {
            self.hashes.add(hash.upper());
        }
    }
}

impl Observation {
    /// Nothing seen yet.
    pub(super) fn empty(label: &str, keys: &Arc<[Keys]>) -> Self {
        Self {
            label: label.to_owned(),
            keys: Arc::clone(keys),
            views: vec![View::default(); keys.len()],
            words: 0,
            seen: BTreeMap::new(),
            wrapped: 0,
            ascii: true,
            ours: false,
            seals: Whole::default(),
            tokens: Whole::default(),
        }
    }

    /// Reads a text. Linear in its length.
    pub(super) fn read(suspect: &Suspect<'_>, keys: &Arc<[Keys]>) -> Self {
        let mut seen = Self::empty(suspect.label, keys);
        let text = plain(suspect.text);
        seen.ascii = text.is_ascii();
        seen.seals.read_seals(&text, keys);
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let mut window = Window::default();
        for word in Words::new(&text) {
            if !window.push(&text, &word) {
                continue;
            }
            seen.words += 1;
            let Some(feed) = window.gap(&text) else { continue };
            seen.wrapped += u32::from(feed && window.wraps(&text, longest));
            seen.add(PlaceKind::Space, window.context(), feed);
        }
        seen.views.iter_mut().for_each(|view| view.hashes.sort());
        seen
    }

    /// Adds a place: its four folded words joined by [`SEPARATOR`], and the bit that stands there.
    ///
    /// White space is read by [`Tracer::observe`](super::Tracer::observe); other kinds of places come in by this.
    pub fn add(&mut self, kind: PlaceKind, context: &[u8], bit: bool) {
        let [zeros, ones] = self.seen.entry(kind).or_default();
        let count = if bit { ones } else { zeros };
        *count = count.saturating_add(1);
        for (view, keys) in self.views.iter_mut().zip(self.keys.iter()) {
            view.add(kind, keys.hash(kind, context), bit);
        }
    }

    /// Adds the letters of a token that stood in a tag or an address.
    pub fn add_token(&mut self, letters: &[u8]) {
        self.tokens.read_token(letters, &self.keys);
    }

    /// Adds all tokens in the source of a copy, before its tags and links are taken out.
    pub fn add_tokens(&mut self, source: &str) {
        tokens(source).for_each(|letters| self.tokens.read_token(letters, &self.keys));
    }

    /// What the copy is called.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Words.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Places that were read, of all kinds.
    pub fn slots(&self) -> usize {
        self.seen.values().flatten().map(|count| *count as usize).sum()
    }

    /// What the copy has in common with a page, by the sketch that the log keeps of it.
    pub fn overlap(&self, sketch: &[u32]) -> Overlap {
        self.views
            .iter()
            .map(|view| view.hashes.overlap(sketch))
            .max_by_key(|overlap| overlap.found)
            .unwrap_or_default()
    }

    /// Notes that an [overlap](Observation::overlap) has shown the text to be that of a page of this site.
    pub fn set_ours(&mut self) {
        self.ours = true;
    }

    /// Is it known to be a text of this site?
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// The votes of the kinds of one class that can be believed, under one key.
    pub(super) fn votes(&self, key: usize, class: Class) -> impl Iterator<Item = &[i32]> {
        let kinds = self.views.get(key).into_iter().flat_map(|view| &view.votes);
        kinds.filter(move |(kind, _)| kind.class() == class && self.alive(**kind)).map(|(_, votes)| votes.as_slice())
    }

    /// Can a kind be believed?
    fn alive(&self, kind: PlaceKind) -> bool {
        let [zeros, ones] = self.seen.get(&kind).copied().unwrap_or_default();
        match kind.class() {
            Class::White => self.dead(Class::White).is_none(),
            // One spelling alone is what a tool leaves that knows no other.
            Class::Typographic => zeros > 0 && ones > 0,
            Class::Variant => zeros + ones > 0,
        }
    }

    /// Why a class says nothing; `None`: it does.
    pub(super) fn dead(&self, class: Class) -> Option<Note> {
        let mut kinds = self.seen.keys().copied().filter(|kind| kind.class() == class).peekable();
        let any = kinds.peek().is_some();
        match class {
            Class::White => {
                let [_, feeds] = self.seen.get(&PlaceKind::Space).copied().unwrap_or_default();
                match feeds {
                    0 if any => Some(Note::WhitespaceCollapsed),
                    0 => Some(Note::NoGaps),
                    _ if u64::from(self.wrapped) * 100 >= u64::from(feeds) * u64::from(WRAPPED) => {
                        Some(Note::HardWrapped)
                    }
                    _ => None,
                }
            }
            Class::Typographic if !any => Some(Note::NoForms),
            Class::Typographic => (!kinds.any(|kind| self.alive(kind))).then_some(Note::QuotesUniform),
            Class::Variant => (!any).then_some(Note::NoVariants),
        }
    }
}

/// A word and what it folds to.
#[derive(Debug, Default)]
struct Folded {
    start: usize,
    end: usize,
    letters: Vec<u8>,
}

/// The last four words. What they need of memory is asked for once.
#[derive(Debug, Default)]
struct Window {
    words: [Folded; 4],
    full: usize,
    next: Vec<u8>,
    context: Vec<u8>,
}

impl Window {
    /// Takes one more word; false: it folds to nothing, so it is none.
    fn push(&mut self, text: &str, word: &Word) -> bool {
        self.next.clear();
        fold(text.get(word.start..word.end).unwrap_or_default(), &mut self.next);
        if self.next.is_empty() {
            return false;
        }
        self.words.rotate_left(1);
        let [.., last] = &mut self.words;
        std::mem::swap(&mut last.letters, &mut self.next);
        (last.start, last.end) = (word.start, word.end);
        self.full += usize::from(self.full < self.words.len());
        true
    }

    /// Is the gap in the middle one of white space, in a window without a blank line? Then: is there a line feed in it?
    fn gap(&self, text: &str) -> Option<bool> {
        let [first, before, behind, last] = &self.words;
        let gap = text.get(before.end..behind.start).filter(|gap| self.full == self.words.len() && is_white(gap))?;
        (!has_blank_line(text.get(first.end..last.start)?)).then(|| gap.contains('\n'))
    }

    /// Would the word behind the gap have made the line longer than any other?
    fn wraps(&self, text: &str, longest: usize) -> bool {
        let [_, before, behind, _] = &self.words;
        let start = text.get(..before.end).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        let width = |from, to| text.get(from..to).map_or(0, |part| part.chars().count());
        width(start, before.end) + 1 + width(behind.start, behind.end) > longest
    }

    fn context(&mut self) -> &[u8] {
        self.context.clear();
        for (place, word) in self.words.iter().enumerate() {
            if place > 0 {
                self.context.push(SEPARATOR);
            }
            self.context.extend_from_slice(&word.letters);
        }
        &self.context
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{keys, keys_of};
    use super::*;

    fn read_by(text: &str, keys: &[Keys]) -> Observation {
        Observation::read(&Suspect { text, label: "copy" }, &keys.to_vec().into())
    }

    fn read(text: &str) -> Observation {
        read_by(text, &[keys()])
    }

    fn white(observation: &Observation) -> Vec<i32> {
        observation.views[0].votes.get(&PlaceKind::Space).cloned().unwrap_or_else(|| vec![0; 4_096])
    }

    #[test]
    fn blank_lines_end_a_window() {
        let slots = |text: &str| read(text).slots();
        assert_eq!(slots("one two three four"), 1);
        assert_eq!(slots("one two\n\nthree four"), 0);
        assert_eq!(slots("one two\r\n\r\nthree four"), 0);
        assert_eq!(slots("one two\r\nthree four"), 1);
        assert_eq!(slots("one two\n \nthree four five six seven"), 2);
        assert_eq!(slots("one two, three four"), 0);
        assert_eq!(slots("one two &#xFE06; three four"), 1, "symbols of a seal are no word");
    }

    #[test]
    fn the_sentence_of_the_reference_shows_its_columns() {
        let text = "The committee said on Monday that it won’t publish the full report before the end of June, because \
            members can’t agree on the wording of three chapters.";
        let seen = read(text);
        assert_eq!((seen.words(), seen.slots()), (27, 23));
        let mut forms = read("");
        forms.add_forms(text, false);
        assert_eq!(forms.views[0].votes[&PlaceKind::Apostrophe][231], 1, "the one of won’t is curly");
        let columns = white(&seen);
        for column in [350, 3404, 1227, 3895, 1574, 1945, 3137, 3295, 62, 669, 919, 1136, 2238, 50, 2359, 3838, 1238] {
            assert_eq!(columns[column], -1, "{column}");
        }
        assert_eq!(columns.iter().filter(|vote| **vote != 0).count(), 23);
        // The smallest hashes of its gaps, made by the reference.
        let page = [6_261_625, 200_292_276, 361_662_464];
        assert_eq!(seen.overlap(&page), Overlap { found: 3, of: 3, copy: 23 });
    }

    #[test]
    fn dead_white_space_is_recognised() {
        let dead = |text: &str| read(text).dead(Class::White);
        assert_eq!(dead(""), Some(Note::NoGaps));
        assert_eq!(dead("one two three four five"), Some(Note::WhitespaceCollapsed));
        assert_eq!(dead("one two\nthree four five"), None);
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
        assert_eq!(dead(&wrapped), Some(Note::HardWrapped));
        assert_eq!(read(&wrapped).votes(0, Class::White).count(), 0, "nothing of it is compared");
    }

    #[test]
    fn kinds_with_one_spelling_are_left_out() {
        let mut seen = read("");
        assert_eq!(seen.dead(Class::Typographic), Some(Note::NoForms));
        assert_eq!(seen.dead(Class::Variant), Some(Note::NoVariants));
        for i in 0..9u8 {
            seen.add(PlaceKind::Ellipsis, &[i], true);
        }
        assert_eq!(seen.dead(Class::Typographic), Some(Note::QuotesUniform));
        for i in 0..9u8 {
            seen.add(PlaceKind::Apostrophe, &[i], i.is_multiple_of(2));
            seen.add(PlaceKind::Variant, &[i], false);
        }
        assert_eq!((seen.dead(Class::Typographic), seen.dead(Class::Variant)), (None, None));
        assert_eq!(seen.votes(0, Class::Typographic).count(), 1, "the dots say nothing");
        assert_eq!(seen.slots(), 27);
    }

    #[test]
    fn gaps_of_one_column_are_merged_by_majority_under_each_key() {
        let keys = [keys_of(0, 0), keys_of(1, 1)];
        let text = "one two\nthree four. one two three four. one two\nthree four.";
        let seen = read_by(text, &keys);
        for (view, keys) in seen.views.iter().zip(&keys) {
            let column = keys.hash(PlaceKind::Space, b"one\x1Ftwo\x1Fthree\x1Ffour").column(Class::White);
            assert_eq!(view.votes[&PlaceKind::Space][usize::from(column)], 1, "two of three are line feeds");
        }
        let tie = read("one two\nthree four. one two three four.");
        let column = keys[0].hash(PlaceKind::Space, b"one\x1Ftwo\x1Fthree\x1Ffour").column(Class::White);
        assert_eq!(white(&tie)[usize::from(column)], 0, "a tie says nothing");
    }

    #[test]
    fn hostile_texts_are_read_in_one_pass() {
        assert_eq!(read(&"a".repeat(3_000_000)).words(), 1);
        assert_eq!(read(&"\n".repeat(1_000_000)).slots(), 0);
        assert_eq!(read(&format!("one two{}three four", " ".repeat(1_000_000))).slots(), 1);
        assert_eq!(read(&"\u{301}".repeat(300_000)).words(), 0);
        let mut links = read("");
        links.add_tokens(&"?k=aaaaaaaaaaaaaaa ".repeat(50_000));
        assert!(links.tokens.any() && links.tokens.hits().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn any_text_can_be_read(text in "\\PC*|[a-z \\n'\\\\\"&#x;.\u{FE06}-\u{FE0D}\u{301}-]{0,200}") {
            let seen = read(&text);
            prop_assert!(seen.slots() <= seen.words());
            prop_assert!(white(&seen).iter().all(|vote| seen.slots() >= vote.unsigned_abs() as usize));
        }

        /// What two texts show apart is what they show one behind the other.
        #[test]
        fn reading_is_linear(
            parts in prop::collection::vec("([a-zé’]{1,6}|[.,]|\u{FE06})([ \\n\\t]|\\r\\n|, ){1,2}", 0..60),
            cut in 0usize..60,
        ) {
            let (head, tail) = parts.split_at(cut.min(parts.len()));
            let (head, tail) = (head.concat(), tail.concat());
            let whole = read(&format!("{head}\n\n{tail}"));
            let (head, tail) = (read(&head), read(&tail));
            prop_assert_eq!(whole.words(), head.words() + tail.words());
            prop_assert_eq!(whole.slots(), head.slots() + tail.slots());
            let sum: Vec<i32> = white(&head).iter().zip(white(&tail)).map(|(a, b)| a + b).collect();
            prop_assert_eq!(white(&whole), sum);
        }
    }
}
