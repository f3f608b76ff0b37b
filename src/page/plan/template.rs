//! The page of a plan as a template: what is the same in all copies, and the places where they differ.

use std::sync::Arc;

use bytes::Bytes;

use super::edits::{Kind, Plan};
use super::source::Source;
use crate::page::marks::Gate;
use crate::page::packed::{COLUMNS, Marks, SEAL_SYMBOLS, Template, Variable};
use crate::slot::{Carriers, Choose, GapRow};

/// Symbols of a seal, U+FE06 to U+FE0D, in UTF-8: these two bytes, and the third of the first one.
const LEAD: [u8; 2] = [0xEF, 0xB8];
const FIRST: u8 = 0x86;
const STATES: u8 = 8;
const SYMBOL: usize = 3;

/// What one copy puts into a packed page.
pub(super) struct Chosen {
    gaps: Option<GapRow>,
    seal: Option<SealText>,
    symbols: [u8; SEAL_SYMBOLS],
}

/// Which channels a copy uses. Two copies of a plan with the same ones differ in places alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Channels {
    white: bool,
    seal: Option<SealText>,
}

/// A seal with each symbol in state 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SealText {
    bytes: Bytes,
    /// Where the first symbol begins.
    first: usize,
}

impl Chosen {
    /// `None`: its seal has another form.
    pub(super) fn of(choose: &mut dyn Choose) -> Option<Self> {
        let (seal, symbols) = match choose.seal() {
            Some(seal) => SealText::read(&seal).map(|(text, symbols)| (Some(text), symbols))?,
            None => (None, [0; SEAL_SYMBOLS]),
        };
        Some(Self { gaps: choose.gaps(), seal, symbols })
    }

    /// Those of its channels that a page does not shut out.
    pub(super) fn channels(&self, off: Gate) -> Channels {
        let seal = self.seal.clone().filter(|_| off.seal.is_none());
        Channels { white: self.gaps.is_some() && off.white.is_none(), seal }
    }

    pub(super) fn marks(&self) -> Marks {
        let row = self.gaps.map_or([0; COLUMNS / 64], |gaps| *gaps.bits());
        Marks { row: Arc::new(row), seal: self.symbols, nonce: None }
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

/// The template of the copies that use these channels, and what they carry. `None`: some copy has another length. What it
/// does is what [`Confirm`](super::Confirm) does with the edits of a plan, for all marks at once.
pub(super) fn template(plan: &Plan, source: &Source, channels: &Channels) -> Option<(Template, Carriers)> {
    let (mut template, mut carriers) = (Template::default(), Carriers::default());
    template.bytes.reserve(source.len() + source.len() / 8);
    let mut at = 0;
    let pass = |template: &mut Template, range| {
        source.slices(range).for_each(|slice| template.bytes.extend_from_slice(slice));
    };
    for edit in &plan.edits {
        let used = match edit.kind {
            Kind::Fixed(_) | Kind::Fill(_) => true,
            Kind::Gap(_) => channels.white,
            Kind::Trim | Kind::Seal => channels.seal.is_some(),
            Kind::Form { .. } | Kind::Variant { .. } | Kind::Token(_) => return None,
        };
        let start = edit.at as usize;
        if start < at {
            return None;
        }
        if !used {
            continue;
        }
        pass(&mut template, at..start);
        match edit.kind {
            Kind::Fixed(index) => template.bytes.extend_from_slice(plan.fixed.get(usize::from(index))?),
            Kind::Gap(column) => {
                template.places.push((template.bytes.len() as u32, Variable::White(column)));
                template.bytes.push(b' ');
                carriers.white += 1;
            }
            Kind::Seal => {
                channels.seal.as_ref()?.place(&mut template);
                carriers.seals += 1;
            }
            // What is filled in stands in copies that are not packed.
            _ => {}
        }
        at = start + edit.len as usize;
    }
    pass(&mut template, at..source.len());
    (source.len() == plan.len).then_some((template, carriers))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut template = Template { bytes: b"before".to_vec(), places: Vec::new() };
        text.place(&mut template);
        assert_eq!(template.places.len(), SEAL_SYMBOLS);
        let marks = Marks { row: Arc::new([0; COLUMNS / 64]), seal: [7; SEAL_SYMBOLS], nonce: None };
        let expect = format!("before{}", seal(&"\u{FE0D}".repeat(SEAL_SYMBOLS)));
        assert_eq!(String::from_utf8(template.splice(&marks)).unwrap(), expect);
    }
}
