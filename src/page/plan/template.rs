//! The page of a plan as a template: what is the same in all copies, and the places where they differ.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::edits::{Kind, Plan};
use super::source::Source;
use super::volatile::Volatile;
use crate::page::marks::Gate;
use crate::page::packed::{COLUMNS, Choice, Marks, SEAL_SYMBOLS, Template, Variable};
use crate::page::splice::places;
use crate::slot::{Carriers, Choose, Form, GapRow};

/// Symbols of a seal, U+FE06 to U+FE0D, in UTF-8: these two bytes, and the third of the first one.
const LEAD: [u8; 2] = [0xEF, 0xB8];
const FIRST: u8 = 0x86;
const STATES: u8 = 8;
const SYMBOL: usize = 3;

/// What stands in the template where each answer has something of its own.
const OPEN: u8 = b'0';

/// What one copy puts into a packed page.
pub(super) struct Chosen {
    gaps: Option<GapRow>,
    seal: Option<SealText>,
    symbols: [u8; SEAL_SYMBOLS],
    forms: Option<Spelling>,
}

/// Which channels a copy uses. Two copies of a plan with the same ones differ in places alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Channels {
    white: bool,
    seal: Option<SealText>,
    forms: Option<Spelling>,
}

/// How spellings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Characters,
    References,
}

/// What chooses one of two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chooser {
    Form { form: Form, spelling: Spelling, column: u16 },
    Variant { column: u16 },
}

/// All copies of a plan that use the same channels.
pub(super) struct Copies {
    pub(super) template: Template,
    /// What each of them carries.
    pub(super) carriers: Carriers,
    /// By the number of the choice.
    pub(super) choosers: Vec<Chooser>,
    /// What of the source stands in the volatile ranges of the template.
    pub(super) volatile: Vec<Range<u32>>,
}

/// A seal with each symbol in state 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SealText {
    bytes: Bytes,
    /// Where the first symbol begins.
    first: usize,
}

impl Chosen {
    /// `None`: its seal or its spellings have another form.
    pub(super) fn of(choose: &mut dyn Choose) -> Option<Self> {
        let (seal, symbols) = match choose.seal() {
            Some(seal) => SealText::read(&seal).map(|(text, symbols)| (Some(text), symbols))?,
            None => (None, [0; SEAL_SYMBOLS]),
        };
        // Of any column: spellings are chosen everywhere or nowhere.
        let forms = choose.form(Form::Apostrophe, 0);
        let forms = forms.map(|written| Spelling::read(Form::Apostrophe, written).ok_or(())).transpose().ok()?;
        Some(Self { gaps: choose.gaps(), seal, symbols, forms })
    }

    /// Those of its channels that a page does not shut out.
    pub(super) fn channels(&self, off: Gate) -> Channels {
        let seal = self.seal.clone().filter(|_| off.seal.is_none());
        Channels { white: self.gaps.is_some() && off.white.is_none(), seal, forms: self.forms }
    }

    /// The marks of a copy of a page with these choices, without what its answer has of its own. `None`: a text is chosen that
    /// is none of the two.
    pub(super) fn marks(&self, choosers: &[Chooser], choose: &mut dyn Choose) -> Option<Marks> {
        let row = self.gaps.map_or([0; COLUMNS / 64], |gaps| *gaps.bits());
        let choices = choosers.iter().map(|chooser| chooser.ask(choose)).collect::<Option<_>>()?;
        Some(Marks { row: Arc::new(row), seal: self.symbols, nonce: None, choices, volatile: Arc::default() })
    }
}

impl Chooser {
    /// Which of the two texts stands in a copy, 0 or 1.
    fn ask(self, choose: &mut dyn Choose) -> Option<u8> {
        match self {
            Self::Form { form, spelling, column } => {
                let written = choose.form(form, column)?;
                spelling.texts(form).iter().position(|text| *text == written).map(|text| text as u8)
            }
            Self::Variant { column } => Some(u8::from(choose.variant(column) > 0)),
        }
    }
}

impl Spelling {
    /// `None`: that is neither of the two.
    fn read(form: Form, written: &str) -> Option<Self> {
        [Self::Characters, Self::References].into_iter().find(|spelling| spelling.texts(form).contains(&written))
    }

    fn texts(self, form: Form) -> [&'static str; 2] {
        [false, true].map(|bit| match self {
            Self::Characters => form.characters(bit),
            Self::References => form.references(bit),
        })
    }
}

impl Copies {
    /// A range of the source stands here. What is different each time is left open, so nothing of it is kept.
    fn pass(&mut self, source: &Source, range: Range<usize>, volatile: &Volatile) {
        let bytes = &mut self.template.bytes;
        let start = bytes.len();
        source.slices(range.clone()).for_each(|slice| bytes.extend_from_slice(slice));
        for own in volatile.blocks(range.clone()) {
            let at = start + (own.start - range.start);
            let end = at + own.len();
            bytes.get_mut(at..end).unwrap_or_default().fill(OPEN);
            self.template.volatile.push(at as u32..end as u32);
            self.volatile.push(own.start as u32..own.end as u32);
        }
    }

    /// One of two texts stands here.
    fn choose(&mut self, texts: [Bytes; 2], chooser: Chooser) {
        self.template.choices.push(Choice { at: self.template.bytes.len() as u32, texts });
        self.choosers.push(chooser);
    }
}

impl Channels {
    /// Bytes in memory, its own size not counted.
    pub(super) fn size(&self) -> usize {
        self.seal.as_ref().map_or(0, |seal| seal.bytes.len())
    }
}

impl SealText {
    /// The text, and the state of each symbol.
    fn read(seal: &[u8]) -> Option<(Self, [u8; SEAL_SYMBOLS])> {
        let first = memchr::memmem::find(seal, &LEAD)?;
        let run = seal.get(first..first + SYMBOL * SEAL_SYMBOLS)?;
        let (mut bytes, mut symbols) = (seal.to_vec(), [0; SEAL_SYMBOLS]);
        for (number, (state, symbol)) in symbols.iter_mut().zip(run.as_chunks::<SYMBOL>().0).enumerate() {
            let [lead, behind, last] = *symbol;
            *state = last.checked_sub(FIRST).filter(|state| [lead, behind] == LEAD && *state < STATES)?;
            *bytes.get_mut(first + SYMBOL * number + SYMBOL - 1)? = FIRST;
        }
        Some((Self { bytes: bytes.into(), first }, symbols))
    }

    fn place(&self, template: &mut Template) {
        let start = template.bytes.len() + self.first;
        template.bytes.extend_from_slice(&self.bytes);
        for number in 0..SEAL_SYMBOLS {
            let at = start + SYMBOL * number + SYMBOL - 1;
            template.places.push((at as u32, Variable::Seal(number as u8)));
        }
    }
}

/// The copies that use these channels. `None`: a tag holds the mark, or the plan is not that of the source. What it does is
/// what [`Confirm`](super::Confirm) does with the edits of a plan, for all marks at once.
pub(super) fn copies(plan: &Plan, source: &Source, channels: &Channels) -> Option<Copies> {
    let (template, carriers) = (Template::default(), Carriers::default());
    let mut copies = Copies { template, carriers, choosers: Vec::new(), volatile: Vec::new() };
    copies.template.bytes.reserve(source.len() + source.len() / 8);
    let mut at = 0;
    for edit in plan.edits.iter() {
        let used = match edit.kind {
            Kind::Fixed(_) | Kind::Fill(_) | Kind::Variant { .. } => true,
            Kind::Gap(_) => channels.white,
            Kind::Trim | Kind::Seal => channels.seal.is_some(),
            Kind::Form { .. } => channels.forms.is_some(),
            Kind::Token(_) => return None,
        };
        let start = edit.at as usize;
        if start < at {
            return None;
        }
        if !used {
            continue;
        }
        copies.pass(source, at..start, &plan.volatile);
        put(&mut copies, plan, edit.kind, channels)?;
        at = start + edit.len as usize;
    }
    copies.pass(source, at..source.len(), &plan.volatile);
    (source.len() == plan.len).then_some(copies)
}

/// Puts in what stands in all copies, or may stand in one.
fn put(copies: &mut Copies, plan: &Plan, kind: Kind, channels: &Channels) -> Option<()> {
    let Copies { template, carriers, .. } = copies;
    match kind {
        Kind::Fixed(index) => template.bytes.extend_from_slice(plan.fixed.get(usize::from(index))?),
        Kind::Gap(column) => {
            template.places.push((template.bytes.len() as u32, Variable::White(column)));
            template.bytes.push(b' ');
            carriers.white += 1;
        }
        Kind::Seal => {
            channels.seal.as_ref()?.place(template);
            carriers.seals += 1;
        }
        Kind::Form { form, column } => {
            carriers.forms += places(form);
            let spelling = channels.forms?;
            let texts = spelling.texts(form).map(|text| Bytes::from_static(text.as_bytes()));
            copies.choose(texts, Chooser::Form { form, spelling, column });
        }
        Kind::Variant { column, index } => {
            carriers.variants += 1;
            copies.choose(plan.variants.get(usize::from(index))?.clone(), Chooser::Variant { column });
        }
        // What is filled in stands in copies that are not packed.
        Kind::Trim | Kind::Fill(_) | Kind::Token(_) => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::plan::cache::{PlanCache, plan_of};
    use crate::page::plan::edits::{Edits, PlanEdit};
    use crate::slot::{PlaceHash, PlaceKind};

    fn seal(symbols: &str) -> String {
        format!("<span inert=\"\">{symbols}</span>")
    }

    #[test]
    fn a_seal_is_read_in_the_form_of_characters_alone() {
        let symbols: [u8; SEAL_SYMBOLS] = std::array::from_fn(|number| (number * 5 % 8) as u8);
        let text: String = symbols.iter().filter_map(|s| char::from_u32(0xFE06 + u32::from(*s))).collect();
        let (read, states) = SealText::read(seal(&text).as_bytes()).unwrap();
        assert_eq!(states, symbols);
        assert_eq!(read.bytes, seal(&"\u{FE06}".repeat(SEAL_SYMBOLS)));
        let other = seal(&"\u{FE0D}".repeat(SEAL_SYMBOLS));
        assert_eq!(SealText::read(other.as_bytes()).unwrap(), (read, [7; SEAL_SYMBOLS]), "only the states differ");
        let short = &text[3..];
        for odd in
            [String::new(), seal(""), seal(&"&#xFE06;".repeat(25)), seal(short), seal(&format!("{short}\u{FE0E}"))]
        {
            assert!(SealText::read(odd.as_bytes()).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_places_of_a_seal_are_those_of_its_symbols() {
        let (text, _) = SealText::read(seal(&"\u{FE0D}".repeat(SEAL_SYMBOLS)).as_bytes()).unwrap();
        let mut template = Template { bytes: b"before".to_vec(), ..Template::default() };
        text.place(&mut template);
        assert_eq!(template.places.len(), SEAL_SYMBOLS);
        let (row, choices, volatile) = (Arc::new([0; COLUMNS / 64]), Arc::default(), Arc::default());
        let marks = Marks { row, seal: [7; SEAL_SYMBOLS], nonce: None, choices, volatile };
        let expect = format!("before{}", seal(&"\u{FE0D}".repeat(SEAL_SYMBOLS)));
        assert_eq!(String::from_utf8(template.splice(&marks)).unwrap(), expect);
    }

    #[test]
    fn what_is_different_each_time_is_left_open_beside_edits_too() {
        let cache = PlanCache::new(1 << 20, None).unwrap();
        let sources = [b"n='12:59' k='7' x", b"n='13:48' k='8' x"];
        let volatile = Volatile::between(sources[0], sources[1]).unwrap();
        let [first, second] = sources.map(|source| Source::of(&cache, Bytes::from_static(source)));
        let with = |edits: &[(u32, u32)]| {
            let put = |(at, len): &(u32, u32)| PlanEdit { at: *at, len: *len, kind: Kind::Fixed(0) };
            let others = edits.iter().map(put).collect();
            let (edits, fixed) = (Edits { others, gaps: Vec::new() }, [Bytes::from_static(b"**")].into());
            let plan = Plan { edits, fixed, volatile: volatile.clone(), ..plan_of(&cache, sources[0]) };
            let made = [&first, &second].map(|source| copies(&plan, source, &Channels::default()).unwrap());
            assert!(made[0].template == made[1].template, "nothing of one source is in it");
            let own: Volatile = made[0].volatile.iter().cloned().collect();
            let own = [&first, &second].map(|source| String::from_utf8(own.bytes(source).to_vec()).unwrap());
            let text = String::from_utf8(made[0].template.bytes.clone()).unwrap();
            let ranges: Vec<_> = made[0].template.volatile.iter().map(|range| (range.start, range.end)).collect();
            (text, ranges, own)
        };
        let (text, ranges, own) = with(&[]);
        assert_eq!((&*text, &*ranges), ("n='00000000000' x", &[(3, 14)][..]));
        assert_eq!(own, ["12:59' k='7", "13:48' k='8"]);
        let (text, ranges, own) = with(&[(9, 1)]);
        assert_eq!((&*text, &*ranges), ("n='00000'**k='0' x", &[(3, 8), (14, 15)][..]));
        assert_eq!(own, ["12:597", "13:488"]);
        // Right before and right behind.
        let (text, ranges, own) = with(&[(3, 0), (8, 0), (13, 0), (14, 0)]);
        assert_eq!((&*text, &*ranges), ("n='**00000**' k='**0**' x", &[(5, 10), (19, 20)][..]));
        assert_eq!(own, ["12:597", "13:488"]);
    }

    /// Spells everything by this, and chooses the alternative of this number.
    struct Speller(Option<fn(Form) -> &'static str>, usize);

    impl Choose for Speller {
        fn hash(&self, _: PlaceKind, _: &[u8]) -> Option<PlaceHash> {
            None
        }
        fn gap(&mut self, _: u16) -> Option<u8> {
            None
        }
        fn form(&mut self, form: Form, _: u16) -> Option<&'static str> {
            self.0.map(|spell| spell(form))
        }
        fn variant(&mut self, _: u16) -> usize {
            self.1
        }
        fn seal(&mut self) -> Option<Bytes> {
            None
        }
    }

    #[test]
    fn a_choice_is_one_of_the_two_texts_or_the_copy_is_not_packed() {
        let choices = |spelling, spell: Option<fn(Form) -> &'static str>, number| {
            let form = Chooser::Form { form: Form::Dash, spelling, column: 7 };
            let mut speller = Speller(spell, number);
            let chosen = Chosen::of(&mut speller)?;
            assert_eq!(chosen.channels(Gate::default()).forms.is_some(), spell.is_some());
            chosen.marks(&[Chooser::Variant { column: 3 }, form], &mut speller).map(|marks| marks.choices.to_vec())
        };
        let (characters, references) = (Spelling::Characters, Spelling::References);
        assert_eq!(choices(references, Some(|form| form.references(false)), 0), Some(vec![0, 0]));
        assert_eq!(choices(references, Some(|form| form.references(true)), 1), Some(vec![1, 1]));
        assert_eq!(choices(characters, Some(|form| form.characters(false)), 2), Some(vec![1, 0]));
        assert_eq!(choices(characters, Some(|form| form.references(true)), 0), None, "the page has the other spelling");
        assert_eq!((choices(characters, Some(|_| "&rsquo;"), 0), choices(characters, None, 0)), (None, None));
    }
}
