//! Finds in a copy which of the alternatives of an author stand there.

use std::collections::HashMap;
use std::ops::Range;

use super::{SEPARATOR, VariantNote, Words, fold};

/// Notes with the same two words before them that are kept.
const MAX_ALIKE: usize = 64;
/// The same of those that begin a block, which have no words before them, and so are all alike.
const MAX_FIRST: usize = 4_096;

/// Places with alternatives that are looked for, by the words before them.
#[derive(Debug, Default)]
pub struct Alternatives {
    places: HashMap<Box<[u8]>, Vec<Place>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    context: Box<[u8]>,
    /// The folded words of each alternative, and the two behind them; an empty one is the end of the paragraph.
    rest: [Vec<Box<[u8]>>; 2],
}

impl Alternatives {
    /// What the log has noted. Alternatives that differ in nothing but signs cannot be told apart, and are left out.
    pub fn new<'n>(notes: impl IntoIterator<Item = &'n VariantNote>) -> Self {
        let mut places: HashMap<Box<[u8]>, Vec<Place>> = HashMap::new();
        for note in notes {
            let Some((left, place)) = read(note) else { continue };
            let most = if left.iter().all(|byte| *byte == SEPARATOR) { MAX_FIRST } else { MAX_ALIKE };
            let alike = places.entry(left).or_default();
            if alike.len() < most && !alike.contains(&place) {
                alike.push(place);
            }
        }
        Self { places }
    }

    /// Is there nothing to look for?
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Reads a paragraph: gives the context of each place that stands in it, and whether its second alternative does.
    pub fn paragraph(&self, text: &str, found: &mut dyn FnMut(&[u8], bool)) {
        if self.is_empty() {
            return;
        }
        let words = Folded::new(text);
        let mut left = Vec::new();
        for at in 0..=words.count() {
            // A block may begin with each line: there are tools that put no more than a line feed between two.
            let befores = [
                Some([at.checked_sub(2), at.checked_sub(1)]),
                (at > 1 && words.begins_line(at - 1)).then_some([None, at.checked_sub(1)]),
                (at > 0 && words.begins_line(at)).then_some([None, None]),
            ];
            for [older, newer] in befores.into_iter().flatten() {
                left.clear();
                left.extend_from_slice(words.get(older));
                left.push(SEPARATOR);
                left.extend_from_slice(words.get(newer));
                for place in self.places.get(left.as_slice()).into_iter().flatten() {
                    let [first, second] = &place.rest;
                    match (words.stand(first, at), words.stand(second, at)) {
                        (true, false) => found(&place.context, false),
                        (false, true) => found(&place.context, true),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// The two words before a place, and the rest of it; `None`: nobody could tell its alternatives apart.
fn read(note: &VariantNote) -> Option<(Box<[u8]>, Place)> {
    let words: Vec<&[u8]> = note.context.split(|byte| *byte == SEPARATOR).collect();
    let [older, newer, next, last] = words.as_slice() else { return None };
    let rest = note.alternatives.each_ref().map(|alternative| {
        let words = Folded::new(&plain(&String::from_utf8_lossy(alternative)));
        let own = (0..words.count()).map(|at| words.get(Some(at)));
        own.chain([*next, *last]).map(Box::<[u8]>::from).collect::<Vec<_>>()
    });
    let left = [*older, *newer].join(&SEPARATOR).into();
    let [first, second] = &rest;
    (first != second).then(|| (left, Place { context: Box::<[u8]>::from(&*note.context), rest }))
}

/// The folded words of a text.
struct Folded {
    /// The letters of all of them.
    letters: Vec<u8>,
    words: Vec<FoldedWord>,
}

struct FoldedWord {
    /// In the letters of all.
    place: Range<usize>,
    /// A line feed stands before it, and no word between.
    begins_line: bool,
}

impl Folded {
    fn new(text: &str) -> Self {
        let (mut letters, mut words, mut behind) = (Vec::new(), Vec::new(), 0);
        for word in Words::new(text) {
            let from = letters.len();
            fold(text.get(word.start..word.end).unwrap_or_default(), &mut letters);
            if letters.len() > from {
                let begins_line = text.get(behind..word.start).is_some_and(|gap| gap.contains('\n'));
                words.push(FoldedWord { place: from..letters.len(), begins_line });
                behind = word.end;
            }
        }
        Self { letters, words }
    }

    fn count(&self) -> usize {
        self.words.len()
    }

    /// A word; empty where there is none.
    fn get(&self, at: Option<usize>) -> &[u8] {
        let word = at.and_then(|at| self.words.get(at));
        word.and_then(|word| self.letters.get(word.place.clone())).unwrap_or_default()
    }

    /// So does the end of the text.
    fn begins_line(&self, at: usize) -> bool {
        self.words.get(at).is_none_or(|word| word.begins_line)
    }

    /// Do these words stand there? An empty one is the end of a block, and nothing comes behind it.
    fn stand(&self, rest: &[Box<[u8]>], at: usize) -> bool {
        for (expect, at) in rest.iter().zip(at..) {
            if expect.is_empty() {
                return self.begins_line(at);
            }
            if **expect != *self.get(Some(at)) {
                return false;
            }
        }
        true
    }
}

/// The text of an alternative: what is no plain text in a page was written as a reference.
fn plain(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, tail)) = rest.split_once('&') {
        out.push_str(before);
        let known = tail.split_once(';').and_then(|(name, tail)| Some((character(name)?, tail)));
        let (c, tail) = known.unwrap_or(('&', tail));
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        _ => char::from_u32(name.strip_prefix('#')?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn note(context: [&str; 4], alternatives: [&str; 2]) -> VariantNote {
        VariantNote {
            context: Bytes::from(context.join("\u{1F}")),
            alternatives: alternatives.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    fn found(notes: &[VariantNote], text: &str) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        Alternatives::new(notes).paragraph(text, &mut |context, bit| {
            all.push((String::from_utf8(context.to_vec()).unwrap().replace('\u{1F}', " "), bit));
        });
        all
    }

    #[test]
    fn the_words_around_it_say_which_alternative_stands_there() {
        let one = note(["she", "came", "it", "rained"], ["although", "even though"]);
        let end = note(["of", "the", "", ""], ["caf&#233;", "pub &amp; bar"]);
        let start = note(["", "", "years", "later"], ["Ten", "10"]);
        let notes = [one.clone(), end, start, one];
        for (text, expect) in [
            (
                "Ten years later she came although it rained.",
                &[("  years later", false), ("she came it rained", false)][..],
            ),
            ("“She CAME, even though it\nrained”", &[("she came it rained", true)]),
            ("10 years later, at the door of the pub & bar", &[("  years later", true), ("of the  ", true)]),
            ("of the Café.", &[("of the  ", false)]),
            ("She came because it rained.", &[]),
            ("of the café here", &[]),
            ("at the end of the café.\n10 years later", &[("of the  ", false), ("  years later", true)]),
            ("at the end of the café. 10 years later", &[]),
            ("", &[]),
        ] {
            let expect: Vec<_> = expect.iter().map(|(context, bit)| ((*context).to_owned(), *bit)).collect();
            assert_eq!(found(&notes, text), expect, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_says_nothing() {
        let signs = note(["a", "b", "c", "d"], ["well, then", "Well then"]);
        let odd = VariantNote { context: Bytes::from_static(b"a\x1Fb"), alternatives: Default::default() };
        assert!(Alternatives::new(&[signs, odd]).is_empty());
        // "very" may be the alternative, or what follows where it was left out.
        let left_out = [note(["it", "was", "very", "good"], ["very", ""])];
        assert_eq!(found(&left_out, "it was very very good"), [("it was very good".to_owned(), false)]);
        assert_eq!(found(&left_out, "it was very good"), [("it was very good".to_owned(), true)]);
    }

    #[test]
    fn many_notes_cost_no_more_than_a_few() {
        let many = (0..100_000).map(|i| note(["a", "b", &format!("c{i}"), "d"], ["x", "y"]));
        let many = Alternatives::new(&many.collect::<Vec<_>>());
        assert!(many.places.values().all(|alike| alike.len() <= MAX_ALIKE));
        let mut count = 0;
        many.paragraph(&"a b x c0 d. ".repeat(1_000), &mut |_, _| count += 1);
        assert_eq!(count, 1_000);
    }
}
