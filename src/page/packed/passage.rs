//! A page in passages: what has one length in all copies. Between two of them stands one of two texts of different lengths.
//!
//! What is copied within a passage stands equally far back in every copy, so matches never leave it; and its places have
//! constants for the checksum that count what follows them in the passage alone.

use std::ops::Range;

use bytes::Bytes;

use super::symbols::{Choice, FIRST_LONE, MAX_BYTES, Refused, Template, Variable};

/// Most choices of a page: each costs some bytes.
pub(crate) const MAX_CHOICES: usize = 64;
/// Most of them with texts of different lengths: what follows has a table of codes of its own, and nothing before it to be
/// copied from. With many of them a page is longer than one that is compressed for each answer.
pub(crate) const MAX_CUTS: usize = 16;
/// Longest text within a passage: each of its bytes has a symbol of its own.
const MAX_SWAP: usize = 512;
/// Longest text at all, as a stored block has it (RFC 1951 §3.2.4).
const MAX_TEXT: usize = u16::MAX as usize;

const _: () = assert!(FIRST_LONE as usize + MAX_CHOICES * MAX_SWAP <= u16::MAX as usize);

/// What has one length in all copies.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// With the first text of each swap in it, and without choices.
    pub(super) page: Template,
    pub(super) swaps: Vec<Swap>,
}

/// One of two texts of one length.
#[derive(Debug)]
pub(super) struct Swap {
    /// Where it begins in the passage.
    pub(super) at: u32,
    /// Of the choice.
    pub(super) number: u16,
    pub(super) texts: [Bytes; 2],
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
            passage.swaps.push(Swap { at, number, texts });
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
    if template.choices.len() > MAX_CHOICES {
        return Err(Refused::TooManyChoices(template.choices.len()));
    }
    let longest = |choice: &Choice| choice.texts.iter().map(Bytes::len).max().unwrap_or_default();
    if let Some(choice) = template.choices.iter().find(|choice| longest(choice) > MAX_TEXT) {
        return Err(Refused::NoChoice(choice.at));
    }
    let length = template.bytes.len() + template.choices.iter().map(longest).sum::<usize>();
    if length > MAX_BYTES { Err(Refused::TooLong(length)) } else { Ok(()) }
}

impl Passage {
    /// Takes in a range of the template, with those of the `places` that stand in it.
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
        Ok(())
    }
}

impl Swap {
    /// Where it stands in the passage.
    pub(super) fn range(&self) -> Range<usize> {
        let [first, _] = &self.texts;
        let at = self.at as usize;
        at..at + first.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{choose, place, template_of};
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
        let swaps =
            |passage: &Passage| passage.swaps.iter().map(|swap| (swap.range(), swap.number)).collect::<Vec<_>>();
        assert_eq!(passages.iter().map(swaps).collect::<Vec<_>>(), [vec![(2..3, 0)], vec![], vec![(2..4, 4)]]);
        assert_eq!(cuts.iter().map(|cut| cut.number).collect::<Vec<_>>(), [2, 3]);
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
