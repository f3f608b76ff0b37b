//! A page in passages: what has one length in all copies. Between two of them stands one of two texts of different lengths.
//!
//! What is copied within a passage stands equally far back in every copy, so matches never leave it; and its places have
//! constants for the checksum that count what follows them in the passage alone.

use std::ops::Range;

use bytes::Bytes;

use super::symbols::{Choice, FIRST_LONE, MAX_BYTES, Refused, Template, Variable};

/// Most choices of a page, volatile ranges among them: each costs some bytes.
pub(crate) const MAX_CHOICES: usize = 64;
/// Most of them with texts of different lengths: what follows has a table of codes of its own, and nothing before it to be
/// copied from. With many of them a page is longer than one that is compressed for each answer.
pub(crate) const MAX_CUTS: usize = 16;
/// Longest text within a passage: each of its bytes has a symbol of its own.
const MAX_SWAP: usize = 512;
/// Most bytes of a page that are other ones in each answer: each of them has a symbol of its own, too.
pub(super) const MAX_VOLATILE: usize = 4_096;
/// Longest text at all, as a stored block has it (RFC 1951 §3.2.4).
const MAX_TEXT: usize = u16::MAX as usize;

const _: () = assert!(FIRST_LONE as usize + MAX_CHOICES * MAX_SWAP + MAX_VOLATILE <= u16::MAX as usize);

/// What has one length in all copies.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// With the text of each swap in it, and without choices and volatile ranges.
    pub(super) page: Template,
    pub(super) swaps: Vec<Swap>,
}

/// A text that is another one of the same length in some copies.
#[derive(Debug)]
pub(super) struct Swap {
    /// Where it begins in the passage.
    pub(super) at: u32,
    /// As it stands in state 0.
    pub(super) text: Bytes,
    pub(super) instead: Instead,
}

/// What stands in the place of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// Another one, in copies that choose it.
    Text {
        /// Of the choice.
        number: u16,
        text: Bytes,
    },
    /// What the answer has there: this part of [`Marks::volatile`](super::Marks::volatile).
    Volatile(Range<u32>),
}

/// One of two texts of different lengths, between two passages.
#[derive(Debug)]
pub(super) struct Cut {
    /// Of the choice.
    pub(super) number: u16,
    pub(super) texts: [Bytes; 2],
}

/// The passages of a page, and one cut less. There is always a passage.
pub(super) fn divide(template: &Template) -> Result<(Vec<Passage>, Vec<Cut>), Refused> {
    check(template)?;
    let (mut passages, mut cuts, mut passage) = (Vec::new(), Vec::new(), Passage::default());
    let (mut places, mut from) = (template.places.as_slice(), 0);
    for (choice, number) in template.choices.iter().zip(0..) {
        passage.extend(template, &mut places, from..choice.at)?;
        from = choice.at;
        let texts = choice.texts.clone();
        let [first, second] = &texts;
        if first == second {
            passage.page.bytes.extend_from_slice(first);
        } else if first.len() == second.len() && first.len() <= MAX_SWAP {
            let at = passage.page.bytes.len() as u32;
            passage.page.bytes.extend_from_slice(first);
            let [text, other] = texts;
            passage.swaps.push(Swap { at, text, instead: Instead::Text { number, text: other } });
        } else {
            if cuts.len() == MAX_CUTS {
                return Err(Refused::TooManyChoices(template.choices.len()));
            }
            passages.push(std::mem::take(&mut passage));
            cuts.push(Cut { number, texts });
        }
    }
    passage.extend(template, &mut places, from..template.bytes.len() as u32)?;
    passages.push(passage);
    // What is left is behind the page.
    places.first().map_or(Ok((passages, cuts)), |(at, _)| Err(Refused::NotInStateZero(*at)))
}

fn check(template: &Template) -> Result<(), Refused> {
    let choices = template.choices.len() + template.volatile.len();
    if choices > MAX_CHOICES {
        return Err(Refused::TooManyChoices(choices));
    }
    let mut from = 0;
    for (range, part) in template.parts() {
        if range.start < from || part.end as usize > MAX_VOLATILE || !may_be_volatile(template, &range) {
            return Err(Refused::Misplaced(range.start));
        }
        from = range.end;
    }
    let longest = |choice: &Choice| choice.texts.iter().map(Bytes::len).max().unwrap_or_default();
    if let Some(choice) = template.choices.iter().find(|choice| longest(choice) > MAX_TEXT) {
        return Err(Refused::NoChoice(choice.at));
    }
    let length = template.bytes.len() + template.choices.iter().map(longest).sum::<usize>();
    if length > MAX_BYTES { Err(Refused::TooLong(length)) } else { Ok(()) }
}

/// May these bytes be other ones in each answer?
fn may_be_volatile(template: &Template, range: &Range<u32>) -> bool {
    let is_cut = template.choices.iter().any(|choice| range.contains(&choice.at) && choice.at > range.start);
    let is_marked = template.places.iter().any(|(at, _)| range.contains(at));
    !range.is_empty() && range.end as usize <= template.bytes.len() && !is_cut && !is_marked
}

impl Passage {
    /// Takes in a range of the template, with those of the `places` that stand in it, and its volatile bytes.
    fn extend(
        &mut self,
        template: &Template,
        places: &mut &[(u32, Variable)],
        range: Range<u32>,
    ) -> Result<(), Refused> {
        let start = self.page.bytes.len() as u32;
        let bytes = template.bytes.get(range.start as usize..range.end as usize);
        self.page.bytes.extend_from_slice(bytes.ok_or(Refused::NoChoice(range.end))?);
        let count = places.iter().take_while(|(at, _)| *at < range.end).count();
        let (here, later) = places.split_at(count);
        for (at, variable) in here {
            let behind = at.checked_sub(range.start).ok_or(Refused::Unsorted(*at))?;
            self.page.places.push((start + behind, *variable));
        }
        *places = later;
        for (volatile, part) in template.parts().filter(|(volatile, _)| range.contains(&volatile.start)) {
            let text = template.bytes.get(volatile.start as usize..volatile.end as usize);
            let text = Bytes::copy_from_slice(text.ok_or(Refused::Misplaced(volatile.start))?);
            let at = start + (volatile.start - range.start);
            self.swaps.push(Swap { at, text, instead: Instead::Volatile(part) });
        }
        Ok(())
    }
}

impl Swap {
    /// Where it stands in the passage.
    pub(super) fn range(&self) -> Range<usize> {
        let at = self.at as usize;
        at..at + self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{choose, fill, place, template_of};
    use super::*;

    #[test]
    fn only_texts_of_different_lengths_part_passages() {
        let mut page = template_of(b"ab", &[]);
        choose(&mut page, [b"1", b"2"]);
        page.bytes.push(b'c');
        place(&mut page, Variable::White(7));
        choose(&mut page, [b"same", b"same"]);
        choose(&mut page, [b"", b"x"]);
        choose(&mut page, [b"yy", b""]);
        place(&mut page, Variable::White(8));
        page.bytes.push(b'd');
        choose(&mut page, [b"34", b"56"]);
        let (passages, cuts) = divide(&page).unwrap();
        let parts: Vec<_> = passages.iter().map(|passage| (&*passage.page.bytes, &*passage.page.places)).collect();
        let places = [(4, Variable::White(7)), (0, Variable::White(8))];
        assert_eq!(parts, [(&b"ab1c same"[..], &places[..1]), (&b""[..], &places[..0]), (&b" d34"[..], &places[1..])]);
        let numbered = |swap: &Swap| match &swap.instead {
            Instead::Text { number, .. } => (swap.range(), *number),
            Instead::Volatile(_) => panic!("nothing is volatile"),
        };
        let swaps = |passage: &Passage| passage.swaps.iter().map(numbered).collect::<Vec<_>>();
        assert_eq!(passages.iter().map(swaps).collect::<Vec<_>>(), [vec![(2..3, 0)], vec![], vec![(2..4, 4)]]);
        assert_eq!(cuts.iter().map(|cut| cut.number).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn volatile_bytes_are_swaps_between_those_of_choices() {
        let mut page = template_of(b"", &[]);
        fill(&mut page, 2);
        choose(&mut page, [b"1", b"2"]);
        fill(&mut page, 3);
        fill(&mut page, 1);
        choose(&mut page, [b"", b"x"]);
        page.bytes.push(b'-');
        fill(&mut page, 4);
        let (passages, _) = divide(&page).unwrap();
        let swaps = |passage: &Passage| {
            let part = |swap: &Swap| match &swap.instead {
                Instead::Text { .. } => None,
                Instead::Volatile(part) => Some(part.clone()),
            };
            passage.swaps.iter().map(|swap| (swap.range(), part(swap))).collect::<Vec<_>>()
        };
        let first = vec![(0..2, Some(0..2)), (2..3, None), (3..6, Some(2..5)), (6..7, Some(5..6))];
        assert_eq!(passages.iter().map(swaps).collect::<Vec<_>>(), [first, vec![(1..5, Some(6..10))]]);
        assert!(passages.iter().all(|passage| passage.page.volatile.is_empty()));
    }

    #[test]
    fn volatile_bytes_that_cannot_be_are_refused() {
        let of = |ranges: &[(u32, u32)]| {
            let mut page = template_of(b"one two three", &[(7, Variable::White(1))]);
            page.choices.push(Choice { at: 3, texts: ["a", "b"].map(Bytes::from) });
            page.volatile.extend(ranges.iter().map(|(start, end)| *start..*end));
            divide(&page).map(|(passages, _)| passages[0].swaps.len())
        };
        assert_eq!(of(&[(0, 3), (3, 7), (8, 13)]), Ok(4));
        for (ranges, at) in [
            (&[(2, 4)][..], 2),
            (&[(7, 8)][..], 7),
            (&[(5, 9)][..], 5),
            (&[(8, 14)][..], 8),
            (&[(8, 8)][..], 8),
            (&[(6, 4)][..], 6),
            (&[(4, 6), (5, 7)][..], 5),
            (&[(4, 6), (0, 2)][..], 0),
            (&[(u32::MAX - 1, u32::MAX)][..], u32::MAX - 1),
            (&[(0, u32::MAX)][..], 0),
        ] {
            assert_eq!(of(ranges), Err(Refused::Misplaced(at)), "{ranges:?}");
        }
        let of = |ranges: usize, length: usize| {
            let mut page = template_of(&[], &[]);
            for number in 0..ranges {
                page.volatile.push((number * length) as u32..((number + 1) * length) as u32);
            }
            page.bytes.resize(ranges * length, b'0');
            divide(&page).map(|(passages, _)| passages[0].swaps.len())
        };
        assert_eq!(of(MAX_CHOICES, MAX_VOLATILE / MAX_CHOICES), Ok(MAX_CHOICES));
        assert_eq!(of(MAX_CHOICES + 1, 1), Err(Refused::TooManyChoices(MAX_CHOICES + 1)));
        assert_eq!(of(1, MAX_VOLATILE + 1), Err(Refused::Misplaced(0)));
    }

    #[test]
    fn choices_that_cannot_be_are_refused() {
        let of =
            |places: &[(u32, Variable)], choices: &[(u32, [usize; 2])]| {
                let mut page = template_of(b"a b c", places);
                page.choices.extend(choices.iter().map(|(at, lengths)| Choice {
                    at: *at,
                    texts: lengths.map(|length| Bytes::from(vec![b'x'; length])),
                }));
                divide(&page).map(|(passages, cuts)| (passages.len(), cuts.len()))
            };
        assert_eq!(of(&[], &[]), Ok((1, 0)));
        assert_eq!(of(&[(1, Variable::White(1))], &[(0, [0, 1]), (5, [MAX_TEXT, 0])]), Ok((3, 2)));
        assert_eq!(of(&[], &[(3, [0, 1]), (2, [0, 1])]), Err(Refused::NoChoice(2)));
        assert_eq!(of(&[], &[(6, [0, 1])]), Err(Refused::NoChoice(6)));
        assert_eq!(of(&[], &[(1, [0, MAX_TEXT + 1])]), Err(Refused::NoChoice(1)));
        assert_eq!(of(&[], &[(1, [1, 1]); MAX_CHOICES]), Ok((1, 0)));
        assert_eq!(of(&[], &[(1, [0, 1]); MAX_CUTS]), Ok((MAX_CUTS + 1, MAX_CUTS)));
        assert_eq!(of(&[], &[(1, [0, 1]); MAX_CUTS + 1]), Err(Refused::TooManyChoices(MAX_CUTS + 1)));
        assert_eq!(of(&[], &[(1, [1, 1]); MAX_CHOICES + 1]), Err(Refused::TooManyChoices(MAX_CHOICES + 1)));
        let (late, early) = ((3, Variable::White(1)), (1, Variable::White(1)));
        assert_eq!(of(&[late, early], &[(2, [0, 1])]), Err(Refused::Unsorted(1)));
        assert_eq!(of(&[(5, Variable::White(1))], &[(2, [0, 1])]), Err(Refused::NotInStateZero(5)));
        let mut long = template_of(&vec![b'a'; MAX_BYTES], &[]);
        assert!(divide(&long).is_ok());
        choose(&mut long, [b"", b"x"]);
        assert_eq!(divide(&long).map(|(passages, _)| passages.len()), Err(Refused::TooLong(MAX_BYTES + 1)));
    }
}
