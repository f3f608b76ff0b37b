//! Pages that are compressed once, and marked in compressed form.
//!
//! [`pack`] makes a gzip body (RFC 1951, 1952) of a [`Template`], and lists what the places of a mark do to its bits.
//! The body of a copy is that body with some bits flipped and another checksum; where one of two texts of different lengths
//! may stand, it is cut, and one of two blocks stands there. `docs/packed.md` says why it is right:
//!
//! 1. A place is equal to a place with the same variable, and to nothing else; so nothing is copied from or to where
//!    another value may stand.
//! 2. In a block in which a place is a literal, all bytes that may stand there have codes of one length; so what stands
//!    between two cuts has the same length for every mark.
//! 3. Each literal place is recorded where its code stands.
//! 4. The checksum is linear: each variable has one constant between two cuts.
//! 5. A text of which there are two is a stored block, which begins and ends with a byte; nothing is copied from it or
//!    to it, and nothing over one of another length. So are bytes that are other ones in each answer.
//!
//! # Caveat
//! A wrong flip would break a page for one visitor, and browsers do not look at the checksum. So whoever packs a page
//! must [`check`](Packed::check) it before its first use, with other choices, too. The length of a body tells which texts stand
//! in it where they are not equally long, as that of the plain copy does.

mod blocks;
mod chains;
mod codes;
mod copy;
mod entropy;
mod header;
mod passage;
mod patch;
mod path;
mod section;
mod symbols;
#[cfg(test)]
mod testing;
mod tokens;
mod trailer;
mod tree;
mod write;

use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;

use flate2::bufread::GzDecoder;

pub(crate) use copy::PackedBody;
pub(crate) use passage::MAX_CHOICES;
#[cfg(test)]
pub(crate) use passage::MAX_CUTS;
use section::{Fork, Section};
use symbols::Symbols;
pub(crate) use symbols::{COLUMNS, Choice, NONCE_LETTERS, Refused, SEAL_SYMBOLS, Template, Variable};
use write::Edges;

/// How much work is done for a small body. The same template and effort make the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Matches by chains, each taken when it is found or one symbol later.
    Quick,
    /// All matches, and the cheapest way through them.
    Full,
}

/// What stands in the places of one copy.
#[derive(Clone)]
pub(crate) struct Marks {
    /// A bit for each column of white space, from the lowest one of the first word on, as rows are: 1 is a line feed.
    pub(crate) row: Arc<[u64; COLUMNS / 64]>,
    /// The symbols of the seal, 0 to 7 each; higher bits do not count.
    pub(crate) seal: [u8; SEAL_SYMBOLS],
    /// Six bits for each letter of the nonce; higher ones do not count. `None`: all are 0, for a page without one.
    pub(crate) nonce: Option<[u8; NONCE_LETTERS]>,
    /// Which text stands at each choice of the template, by its number: 0 is the first one, anything else the second. What
    /// is not there is 0.
    pub(crate) choices: Arc<[u8]>,
    /// What stands in the volatile ranges of the template, one after the other. A range that is not wholly there is left in
    /// state 0.
    pub(crate) volatile: Arc<[u8]>,
}

/// A page in compressed form, for every mark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// At least one.
    sections: Box<[Section]>,
    /// Between two of them; one less.
    forks: Box<[Fork]>,
}

/// Compresses a page.
pub(crate) fn pack(template: &Template, effort: Effort) -> Result<Packed, Refused> {
    let (passages, cuts) = passage::divide(template)?;
    let last = passages.len() - 1;
    let mut sections = Vec::with_capacity(passages.len());
    for (number, passage) in passages.into_iter().enumerate() {
        let symbols = Symbols::of_passage(&passage)?;
        let tokens = match effort {
            Effort::Quick => chains::tokens(&symbols),
            Effort::Full => path::tokens(&symbols),
        };
        let edges = Edges { first: number == 0, last: number == last };
        let (bytes, flips) = write::deflate(&symbols, &tokens, &passage.swaps, edges);
        sections.push(Section::new(bytes, flips, passage));
    }
    Ok(Packed::new(sections, cuts))
}

impl Packed {
    /// The body of one copy.
    pub(crate) fn body(self: &Arc<Self>, marks: Marks) -> PackedBody {
        PackedBody::new(Arc::clone(self), marks)
    }

    /// Does the body of this copy inflate to what the template says, checksum and length included? It takes as long as
    /// inflating the page.
    pub(crate) fn check(&self, template: &Template, marks: &Marks) -> bool {
        self.makes(&template.splice(marks), marks)
    }

    /// The same, for a copy that was made in another way.
    pub(crate) fn makes(&self, copy: &[u8], marks: &Marks) -> bool {
        inflates_to(&self.whole(marks), copy)
    }
}

/// Is this the body of this page, and nothing more?
fn inflates_to(body: &[u8], copy: &[u8]) -> bool {
    let mut decoder = GzDecoder::new(body);
    let mut page = Vec::with_capacity(copy.len());
    // No more than one byte too many is read.
    let read = decoder.by_ref().take(copy.len() as u64 + 1).read_to_end(&mut page);
    read.is_ok() && page == copy && decoder.into_inner().is_empty()
}

impl Marks {
    /// The byte of a place.
    fn byte(&self, variable: Variable) -> u8 {
        let alphabet = variable.channel().alphabet();
        let of = |states: &[u8], number: u8| states.get(usize::from(number)).map_or(0, |state| usize::from(*state));
        let state = match variable {
            Variable::White(column) => usize::from(patch::bit(&self.row, column)),
            Variable::Seal(symbol) => of(&self.seal, symbol),
            Variable::Nonce(letter) => of(self.nonce(), letter),
        };
        alphabet[state % alphabet.len()]
    }

    fn nonce(&self) -> &[u8] {
        self.nonce.as_slice().as_flattened()
    }

    /// What stands in a volatile range, by its part of all of them. `None`: state 0.
    fn volatile_part(&self, part: &Range<u32>) -> Option<&[u8]> {
        self.volatile.get(part.start as usize..part.end as usize)
    }

    /// Which of its two texts stands at a choice: 0 or 1.
    fn chosen(&self, choice: u16) -> usize {
        usize::from(self.choices.get(usize::from(choice)).is_some_and(|chosen| *chosen > 0))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::passage::MAX_VOLATILE;
    use super::testing::{choose, fill, marks, place, random_template, template_of};
    use super::*;

    const EFFORTS: [Effort; 2] = [Effort::Quick, Effort::Full];

    /// As a client reads it.
    fn inflated(body: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        let mut decoder = GzDecoder::new(body);
        decoder.read_to_end(&mut page).unwrap();
        assert!(decoder.into_inner().is_empty());
        page
    }

    fn zero() -> Marks {
        let (row, choices, volatile) = (Arc::new([0; 64]), Arc::default(), Arc::default());
        Marks { row, seal: [0; 25], nonce: None, choices, volatile }
    }

    /// Both efforts, under marks of all kinds.
    fn check(template: &Template) {
        for effort in EFFORTS {
            let packed = Arc::new(pack(template, effort).unwrap());
            assert!(*packed == pack(template, effort).unwrap(), "the same again");
            let ones = Marks {
                row: Arc::new([u64::MAX; 64]),
                seal: [7; 25],
                nonce: Some([63; 22]),
                choices: Arc::new([1_u8; MAX_CHOICES]),
                volatile: Arc::new([0xFF_u8; MAX_VOLATILE]),
            };
            for marks in [zero(), ones, marks(1), marks(2), marks(3)] {
                let copy = packed.body(marks.clone());
                let (length, page) = (copy.remaining(), copy.page());
                let body = copy.collect::<Vec<_>>().concat();
                assert_eq!((body.len() as u64, page), (length, template.splice(&marks).len() as u64));
                assert!(inflated(&body) == template.splice(&marks), "{effort:?} {template:?}");
                assert!(packed.check(template, &marks));
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Part {
        Text(Vec<u8>),
        Place(Variable),
        Seal,
        Choice(Vec<u8>, Vec<u8>),
        Swap(Vec<u8>, u8),
        Volatile(u32),
    }

    fn part() -> impl Strategy<Value = Part> {
        let words = ["the ", "council ", "</p>\n<p class=\"story\">", "\u{FE06}", " \n ", "Ab9-_"];
        prop_oneof![
            4 => proptest::sample::select(words.to_vec()).prop_map(|word| Part::Text(word.into())),
            2 => proptest::collection::vec(any::<u8>(), 0..30).prop_map(Part::Text),
            4 => (0_u16..30).prop_map(|column| Part::Place(Variable::White(column))),
            2 => (0_u16..4_096).prop_map(|column| Part::Place(Variable::White(column))),
            1 => (0_u8..25).prop_map(|symbol| Part::Place(Variable::Seal(symbol))),
            1 => (0_u8..22).prop_map(|letter| Part::Place(Variable::Nonce(letter))),
            1 => Just(Part::Seal),
            1 => (proptest::collection::vec(any::<u8>(), 0..9), proptest::collection::vec(any::<u8>(), 0..9))
                .prop_map(|(first, second)| Part::Choice(first, second)),
            1 => (proptest::collection::vec(any::<u8>(), 0..9), any::<u8>())
                .prop_map(|(text, change)| Part::Swap(text, change)),
            1 => (1_u32..40).prop_map(Part::Volatile),
        ]
    }

    fn template(parts: &[(Vec<Part>, usize)]) -> Template {
        let mut template = Template::default();
        for part in parts.iter().flat_map(|(parts, times)| std::iter::repeat_n(parts, *times)).flatten() {
            match part {
                Part::Text(text) => template.bytes.extend_from_slice(text),
                Part::Place(variable) => place(&mut template, *variable),
                Part::Seal => (0..25).for_each(|symbol| place(&mut template, Variable::Seal(symbol))),
                Part::Choice(first, second) => choose(&mut template, [first, second]),
                Part::Swap(text, change) => {
                    let other: Vec<u8> = text.iter().map(|byte| byte ^ change).collect();
                    choose(&mut template, [text, &other]);
                }
                Part::Volatile(length) => fill(&mut template, *length),
            }
        }
        template
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_copy_of_any_page_inflates_to_its_splice(
            parts in proptest::collection::vec((proptest::collection::vec(part(), 1..12), 1_usize..20), 0..12),
        ) {
            check(&template(&parts));
        }
    }

    #[test]
    fn pages_at_the_edge() {
        use Variable::{Nonce, Seal, White};
        check(&template_of(&[], &[]));
        check(&template_of(b"a", &[]));
        for variable in [White(0), White(4_095), Seal(24), Nonce(21)] {
            check(&template(&[(vec![Part::Place(variable)], 1)]));
            // Only places, and they are all the same; and a page that begins and ends with one.
            check(&template(&[(vec![Part::Place(variable)], 700)]));
            let (place, text) = (Part::Place(variable), Part::Text(b"<p>one two three</p>".to_vec()));
            check(&template(&[(vec![place.clone(), text.clone(), text, place], 1)]));
        }
        // Only places, and no two are the same.
        let all = (0..4_096).map(White).chain((0..25).map(Seal)).chain((0..22).map(Nonce)).map(Part::Place);
        check(&template(&[(all.collect(), 1)]));
        check(&template(&[(vec![Part::Seal], 60)]));
        // Bytes that look like places.
        check(&template(&[(vec![Part::Text(b" \x86A".to_vec()), Part::Place(White(1)), Part::Place(Seal(1))], 90)]));
        // Runs, and what is beyond the window.
        check(&template(&[(vec![Part::Text(vec![b' '; 70_000]), Part::Place(White(7))], 2)]));
        check(&template(&[(vec![Part::Text(vec![0xFF; 258])], 3)]));
        let far: Vec<u8> = (0..33_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        check(&template(&[(vec![Part::Text(far), Part::Place(White(7)), Part::Place(White(8))], 2)]));
    }

    /// First and last byte, side by side, empty, longer than a piece.
    #[test]
    fn choices_at_the_edge() {
        let choice = |first: &[u8], second: &[u8]| Part::Choice(first.to_vec(), second.to_vec());
        let words = Part::Text(b"<p>one two three, and one two three</p>".to_vec());
        let white = Part::Place(Variable::White(7));
        let long = vec![b'x'; usize::from(u16::MAX)];
        let kinds =
            [choice(b"", b"a"), choice(b"ab", b"xy"), choice(b"'", b"&rsquo;"), choice(b"", b""), choice(b"", &long)];
        for one in &kinds {
            check(&template(&[(vec![one.clone()], 1)]));
            check(&template(&[(vec![one.clone()], 3)]));
            check(&template(&[(vec![one.clone(), words.clone()], 3)]));
            check(&template(&[(vec![words.clone(), one.clone()], 3)]));
            check(&template(&[(vec![words.clone(), one.clone(), words.clone(), white.clone()], 3)]));
            for other in &kinds[..3] {
                let parts = [white.clone(), one.clone(), other.clone(), white.clone(), Part::Seal, one.clone()];
                check(&template(&[(parts.to_vec(), 4)]));
            }
        }
        let all: Vec<Part> = kinds.iter().cycle().take(2 * MAX_CHOICES).cloned().collect();
        check(&template(&[(all, 1)]));
    }

    /// First and last bytes, side by side, beside places and choices, longer than what is read at once; and a page of nothing
    /// else.
    #[test]
    fn volatile_bytes_at_the_edge() {
        let words = Part::Text(b"<p>one two three, and one two three 0000000000</p>".to_vec());
        let white = Part::Place(Variable::White(7));
        let choice = Part::Choice(b"'".to_vec(), b"&rsquo;".to_vec());
        let swap = Part::Swap(b"abc".to_vec(), 1);
        for length in [1, 2, 3, 10, 300, MAX_VOLATILE as u32] {
            let own = Part::Volatile(length);
            check(&template(&[(vec![own.clone()], 1)]));
            check(&template(&[(vec![own.clone(), own.clone()], 1)]));
            check(&template(&[(vec![own.clone(), words.clone(), own.clone()], 1)]));
            check(&template(&[(vec![words.clone(), own.clone(), words.clone()], 3)]));
            for beside in [&white, &Part::Seal, &choice, &swap] {
                let parts = [beside.clone(), own.clone(), beside.clone(), words.clone(), own.clone(), beside.clone()];
                check(&template(&[(parts.to_vec(), 4)]));
            }
        }
        check(&template(&[(vec![Part::Volatile(1), words], MAX_CHOICES)]));
        // Across the border of two pieces.
        let mut random = fastrand::Rng::with_seed(3);
        let noise = Part::Text((0..63_000).map(|_| random.u8(..)).collect());
        check(&template(&[(vec![noise, Part::Volatile(MAX_VOLATILE as u32), white], 1)]));
    }

    /// Whatever an answer has there, and however often it stands on the page: the body is as long, and nothing but these bytes
    /// and the checksum is another.
    #[test]
    fn volatile_bytes_are_compared_with_nothing() {
        let mut template = template_of(b"<p>a1b2c3d4e5 is a nonce, and a1b2c3d4e5 is it again: ", &[]);
        fill(&mut template, 10);
        template.bytes.extend_from_slice(b" and a1b2c3d4e5 is a nonce, and a1b2c3d4e5 is it ");
        fill(&mut template, 10);
        for effort in EFFORTS {
            let packed = pack(&template, effort).unwrap();
            let body = |volatile: &[u8]| packed.whole(&Marks { volatile: volatile.into(), ..zero() });
            let (same, other) = (body(b"a1b2c3d4e5a1b2c3d4e5"), body(b"0Z9Y8X7W6V-_-_-_-_-_"));
            assert_eq!(same.len(), other.len());
            let changed: Vec<usize> = (0..same.len()).filter(|at| same[*at] != other[*at]).collect();
            assert!(changed.len() <= 24 && memchr::memmem::find(&other, b"0Z9Y8X7W6V").is_some(), "{changed:?}");
            assert_eq!(memchr::memmem::find_iter(&same, b"a1b2c3d4e5").count(), 2, "both stand there as they are");
        }
    }

    /// The text behind a choice is copied from before it only where the choice has one length; and that behind volatile bytes.
    #[test]
    fn texts_of_one_length_cost_less() {
        let mut random = fastrand::Rng::with_seed(9);
        let words: Vec<u8> = (0..3_000).map(|_| random.u8(b'a'..=b'z')).collect();
        let length = |texts: [&[u8]; 2]| {
            let mut template = template_of(&words, &[]);
            choose(&mut template, texts);
            template.bytes.extend_from_slice(&words);
            pack(&template, Effort::Quick).unwrap().whole(&zero()).len()
        };
        let (one, two) = (length([b"&#0039;", b"&#8217;"]), length([b"&#0039;", b"&#8217;-"]));
        let alone = pack(&template_of(&words, &[]), Effort::Quick).unwrap().whole(&zero()).len();
        assert!(one < alone + 120 && two > 2 * alone - 40, "{one} {two} {alone}");
        let mut template = template_of(&words, &[]);
        fill(&mut template, 7);
        template.bytes.extend_from_slice(&words);
        assert_eq!(pack(&template, Effort::Quick).unwrap().whole(&zero()).len(), one);
    }

    #[test]
    fn four_mebibytes_of_a_letter() {
        let mut template = template_of(&[], &[]);
        template.bytes = vec![b'a'; 4 << 20];
        place(&mut template, Variable::White(1));
        let packed = pack(&template, Effort::Quick).unwrap();
        let length = packed.whole(&marks(1)).len();
        assert!(packed.check(&template, &marks(1)) && length < 8_000, "{length}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let place = |at, variable| template_of(b"a b", &[(at, variable)]);
        assert!(pack(&place(1, Variable::White(4_095)), Effort::Full).is_ok());
        assert_eq!(pack(&place(1, Variable::White(4_096)), Effort::Full), Err(Refused::NoVariable(1)));
        assert_eq!(pack(&place(0, Variable::White(0)), Effort::Quick), Err(Refused::NotInStateZero(0)));
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        let (mut template, mut marks) = (random_template(5, 500), marks(5));
        marks.choices = Arc::new([1_u8; 2]);
        for second in [&b"xyz"[..], &b"longer"[..]] {
            choose(&mut template, [b"abc", second]);
            fill(&mut template, 5);
            let start = template.bytes.len() as u32;
            let more = random_template(6, 300);
            template.bytes.extend(more.bytes);
            template.places.extend(more.places.iter().map(|(at, variable)| (start + at, *variable)));
        }
        let is_right = |change: &dyn Fn(&mut Packed), marks: &Marks| {
            let mut packed = pack(&template, Effort::Quick).unwrap();
            change(&mut packed);
            packed.check(&template, marks)
        };
        assert!(is_right(&|_| {}, &marks));
        let packed = pack(&template, Effort::Quick).unwrap();
        for (number, section) in packed.sections.iter().enumerate() {
            let on = |flip: &patch::Flip| patch::bit(&marks.row, flip.column) == 1;
            for (index, flip) in section.white.iter().enumerate().filter(|(_, flip)| on(flip)) {
                let white = |page: &mut Packed, change: &dyn Fn(&mut patch::Flip)| {
                    change(&mut page.sections[number].white[index]);
                };
                assert!(flip.bits == 0 || !is_right(&|page| white(page, &|flip| flip.bits = 0), &marks), "{flip:?}");
                assert!(!is_right(&|page| white(page, &|flip| flip.crc ^= 1), &marks), "{flip:?}");
            }
            let is_right_section = |change: &dyn Fn(&mut Section)| {
                is_right(&|page: &mut Packed| change(&mut page.sections[number]), &marks)
            };
            assert!(!is_right_section(&|section| section.length += 1));
            assert!(section.swaps.is_empty() || !is_right_section(&|section| section.swaps = Box::default()));
            for index in 0..section.swaps.len() {
                assert!(!is_right_section(&|section| section.swaps[index].crc ^= 1), "{index}");
            }
            // Of those behind the first the checksum stands in the ways to them.
            assert!(number > 0 || !is_right_section(&|section| section.sum ^= 1));
        }
        let (body, copy) = (packed.whole(&marks), template.splice(&marks));
        assert!(inflates_to(&body, &copy));
        for back in 1..=8 {
            let (mut wrong, at) = (body.clone(), body.len() - back);
            wrong[at] ^= 0x10;
            assert!(!inflates_to(&wrong, &copy), "{back}");
        }
        // Two members, or something behind the only one.
        for more in [&[0][..], &body[..]] {
            assert!(!inflates_to(&[&body[..], more].concat(), &copy));
        }
        let mut other = template.clone();
        other.bytes.push(b'x');
        assert!(!packed.check(&other, &marks));
        // One text instead of another.
        for number in 0..template.choices.len() {
            let mut choices = marks.choices.to_vec();
            choices[number] ^= 1;
            let changed = Marks { choices: choices.into(), ..marks.clone() };
            assert!(packed.check(&template, &changed) && !packed.makes(&copy, &changed), "{number}");
        }
        // The bytes of another answer, and those of none.
        let others: [Arc<[u8]>; 2] = [marks.volatile.iter().map(|byte| !byte).collect(), Arc::default()];
        for volatile in others {
            let changed = Marks { volatile, ..marks.clone() };
            assert!(packed.check(&template, &changed) && !packed.makes(&copy, &changed));
        }
    }

    #[test]
    fn of_volatile_bytes_nothing_is_kept_but_where_they_stand() {
        let mut template = template_of(b"<p>one two three", &[]);
        fill(&mut template, 64);
        let packed = pack(&template, Effort::Full).unwrap();
        let [section] = &*packed.sections else { panic!("there is no cut") };
        assert_eq!(
            packed.size() - section.bytes.len(),
            size_of::<Packed>() + size_of::<Section>() + size_of_val(&*section.swaps)
        );
        assert_eq!(section.swaps.len(), 1);
    }

    #[test]
    fn what_is_kept_in_memory_is_counted() {
        let template = random_template(6, 20_000);
        let packed = pack(&template, Effort::Full).unwrap();
        let section = &packed.sections[0];
        let flips = 12 * section.white.len();
        assert!(flips > 1_000 && packed.size() > section.bytes.len() + flips);
        let mut plain = template_of(&template.bytes, &[]);
        let size = |plain: &Template| {
            let packed = pack(plain, Effort::Full).unwrap();
            let bytes: usize = packed.sections.iter().map(|section| section.bytes.len()).sum();
            packed.size() - bytes
        };
        let one = size(&plain);
        assert_eq!(one, size_of::<Packed>() + size_of::<Section>());
        choose(&mut plain, [&[b'x'; 500], &[b'y'; 400]]);
        assert_eq!(size(&plain), one + size_of::<Section>() + size_of::<Fork>() + 900 + 2 * 4);
    }

    #[test]
    fn an_error_says_where() {
        let texts = [Refused::TooLong(9), Refused::Unsorted(1), Refused::NoVariable(2), Refused::NotInStateZero(3)];
        let texts = texts.map(|refused| refused.to_string());
        assert_eq!(texts[0], "9 bytes are too long a page");
        assert_eq!(Refused::TooManyChoices(65).to_string(), "65 choices are too many");
        assert_eq!(Refused::NoChoice(7).to_string(), "the choice at 7 cannot stand there");
        assert_eq!(Refused::Misplaced(7).to_string(), "the volatile bytes at 7 cannot stand there");
        assert!(texts[1..].iter().zip(1..).all(|(text, at)| text.starts_with(&format!("the place at {at} "))));
    }

    /// Gaps between the words of paragraphs, by the words around them, and a seal behind each longer one.
    fn page_of_corpus(source: &[u8]) -> Template {
        let mut template = Template::default();
        let (mut rest, mut paragraph, mut seals) = (source, None, 0);
        while let Some(first) = rest.first() {
            let end = if *first == b'<' { tag(rest) } else { memchr::memchr(b'<', rest).unwrap_or(rest.len()) };
            let (part, behind) = rest.split_at(end);
            rest = behind;
            let name = part.get(..3).unwrap_or_default().to_ascii_lowercase();
            match (&*name, paragraph) {
                (b"<p " | b"<p>", _) => paragraph = Some(template.bytes.len()),
                (b"</p", Some(start)) => {
                    paragraph = None;
                    if template.bytes.len() - start >= 80 && seals < 60 {
                        seals += 1;
                        template.bytes.extend_from_slice(b"<span inert=\"\">");
                        for symbol in 0..25 {
                            template.bytes.extend_from_slice(b"\xEF\xB8");
                            place(&mut template, Variable::Seal(symbol));
                        }
                        template.bytes.extend_from_slice(b"</span>");
                    }
                }
                ([first, ..], Some(_)) if *first != b'<' => {
                    gaps(part, &mut template);
                    continue;
                }
                _ => {}
            }
            template.bytes.extend_from_slice(part);
        }
        template
    }

    /// Where a tag ends, or an element without markup in it.
    fn tag(rest: &[u8]) -> usize {
        let (end, length) = match rest {
            [b'<', b'!', b'-', b'-', ..] => ("-->", 3),
            [b'<', b's', b'c', b'r', ..] => ("</script", 0),
            [b'<', b's', b't', b'y', ..] => ("</style", 0),
            _ => (">", 1),
        };
        memchr::memmem::find(rest, end.as_bytes()).map_or(rest.len(), |at| at + length)
    }

    fn gaps(text: &[u8], template: &mut Template) {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || *byte == b'\'';
        let parts: Vec<&[u8]> = text.chunk_by(|a, b| is_word(a) == is_word(b)).collect();
        for (index, part) in parts.iter().enumerate() {
            if index < 3 || index + 3 >= parts.len() || !matches!(part, [b' ' | b'\n']) {
                template.bytes.extend_from_slice(part);
                continue;
            }
            let context = [parts[index - 3], parts[index - 1], parts[index + 1], parts[index + 3]];
            let hash =
                context.concat().iter().fold(7_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619));
            place(template, Variable::White((hash >> 12) as u16 & 4_095));
        }
    }

    fn median(mut sizes: Vec<f64>) -> f64 {
        sizes.sort_by(f64::total_cmp);
        sizes[sizes.len() / 2]
    }

    #[test]
    fn corpus_pages_are_right_and_small() {
        let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
        let Ok(entries) = std::fs::read_dir(format!("{dir}/pages")) else {
            eprintln!("skipped: no corpus at {dir} (set DECKLE_CORPUS)");
            return;
        };
        let (mut quick, mut full) = (Vec::new(), Vec::new());
        for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "html")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let template = page_of_corpus(&std::fs::read(entry.path()).unwrap());
            // What level 6 makes of a copy, on average.
            let gzip = (1..=8).map(|seed| {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                gzip.write_all(&template.splice(&marks(seed))).unwrap();
                gzip.finish().unwrap().len() as f64 / 8.0
            });
            let gzip: f64 = gzip.sum();
            // How much larger ours is.
            let more = |effort| {
                let packed = pack(&template, effort).unwrap();
                assert!(packed.check(&template, &marks(2)) && packed.check(&template, &marks(3)), "{name}");
                packed.whole(&marks(2)).len() as f64 / gzip - 1.0
            };
            quick.push(more(Effort::Quick));
            assert!(quick.last().is_some_and(|more| *more < 0.08), "{name}: {quick:?}");
            // Without optimization it takes its time.
            if template.bytes.len() < 100_000 {
                full.push(more(Effort::Full));
                assert!(full.last().is_some_and(|more| *more < 0.04), "{name}: {full:?}");
            }
        }
        assert!(quick.len() >= 20 && full.len() >= 6, "{} {}", quick.len(), full.len());
        assert!(median(quick.clone()) < 0.02 && median(full.clone()) < 0.0, "{quick:?} {full:?}");
    }
}
