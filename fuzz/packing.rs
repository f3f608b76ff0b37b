//! What must hold of pages that are compressed once, and marked in compressed form.

use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use crate::generate::{HTML, text};
use crate::packed::{
    COLUMNS, Choice, Effort, MAX_CHOICES, Marks, NONCE_LETTERS, SEAL_SYMBOLS, Template, Variable, pack,
};
use crate::targets::Target;

/// Most choices that may have texts of different lengths.
const CUTS: usize = 16;
/// Most bytes that each answer has of its own.
const VOLATILE: usize = 4_096;
/// Bytes of a page, more or less.
const LONGEST: usize = 100_000;

/// Each copy inflates to what its template says, and its lengths are known before; nothing else is packed.
pub(crate) fn packed() -> Target {
    Box::new(|random| {
        let template = template(random);
        let effort = if random.bool() { Effort::Quick } else { Effort::Full };
        let packed = Arc::new(pack(&template, effort).unwrap());
        for _ in 0..3 {
            let marks = marks(random);
            assert!(packed.check(&template, &marks), "{effort:?} {template:?}");
            let page = template.splice(&marks).len() as u64;
            let body = packed.body(marks);
            let length = body.remaining();
            assert_eq!(body.page(), page);
            assert_eq!(body.map(|piece| piece.len() as u64).sum::<u64>(), length);
        }
        let bytes = template.bytes.iter().take(200).copied().collect();
        let places = (0..random.usize(..5)).map(|_| (random.u32(..300), variable(random))).collect();
        let choices = (0..random.usize(..4)).map(|_| choice(random, 250)).collect();
        let volatile = (0..random.usize(..3)).map(|_| random.u32(..250)..random.u32(..250)).collect();
        let other = Template { bytes, places, choices, volatile };
        if let Ok(packed) = pack(&other, effort) {
            assert!(packed.check(&other, &marks(random)), "{effort:?} {other:?}");
        }
    })
}

/// Parts again and again, with places anywhere.
fn template(random: &mut Rng) -> Template {
    let mut template = Template::default();
    let longest = random.usize(1..LONGEST);
    let parts: Vec<_> = (0..random.usize(..12)).map(|_| part(random)).collect();
    for _ in 0..random.usize(..60) {
        let Some((bytes, variables)) = random.choice(&parts).filter(|_| template.bytes.len() < longest) else { break };
        for _ in 0..1 << random.u8(..9) {
            let has_room = template.choices.len() + template.volatile.len() < MAX_CHOICES;
            let kind = if has_room { random.u8(..40) } else { u8::MAX };
            if kind == 0 {
                leave_open(random, &mut template);
            } else if kind == 1 {
                let next = Choice { at: template.bytes.len() as u32, ..choice(random, 1) };
                let cuts = template.choices.iter().filter(|choice| is_cut(choice)).count();
                template.choices.extend(Some(next).filter(|next| cuts < CUTS || !is_cut(next)));
            }
            template.bytes.extend_from_slice(bytes);
            for variable in variables {
                template.places.push((template.bytes.len() as u32, *variable));
                template.bytes.push(match variable {
                    Variable::White(_) => b' ',
                    Variable::Seal(_) => 0x86,
                    Variable::Nonce(_) => b'A',
                });
            }
        }
    }
    template
}

/// Some bytes that each answer has of its own, a few in most pages.
fn leave_open(random: &mut Rng, template: &mut Template) {
    let length = if random.u8(..20) == 0 { random.usize(1..500) } else { random.usize(1..20) };
    let start = template.bytes.len();
    if template.volatile.iter().map(std::ops::Range::len).sum::<usize>() + length <= VOLATILE {
        template.bytes.extend((0..length).map(|_| random.u8(..)));
        template.volatile.push(start as u32..template.bytes.len() as u32);
    }
}

/// Words, bytes, and a place or a seal behind them.
fn part(random: &mut Rng) -> (Vec<u8>, Vec<Variable>) {
    let mut bytes = text(random, HTML, 6);
    for _ in 0..random.usize(..4) {
        bytes.push(random.u8(..));
    }
    let variables = match random.u8(..4) {
        0 => Vec::new(),
        1 => (0..SEAL_SYMBOLS as u8).map(Variable::Seal).collect(),
        _ => vec![variable(random)],
    };
    (bytes, variables)
}

/// Does a passage end before it?
fn is_cut(choice: &Choice) -> bool {
    let [first, second] = &choice.texts;
    first.len() != second.len() || first.len() > 512
}

/// Two texts, of one length or of two, anywhere before `end`.
fn choice(random: &mut Rng, end: u32) -> Choice {
    let longest = if random.u8(..20) == 0 { 2_000 } else { 12 };
    let mut first = vec![0; random.usize(..longest)];
    random.fill(&mut first);
    let mut second = first.clone();
    match random.u8(..4) {
        0 => second.truncate(random.usize(..=first.len())),
        1 => second.extend_from_slice(b"&#8211;"),
        _ => second.iter_mut().for_each(|byte| *byte ^= random.u8(..)),
    }
    Choice { at: random.u32(..end), texts: [first, second].map(Bytes::from) }
}

fn variable(random: &mut Rng) -> Variable {
    match random.u8(..8) {
        0 => Variable::Seal(random.u8(..SEAL_SYMBOLS as u8)),
        1 => Variable::Nonce(random.u8(..NONCE_LETTERS as u8)),
        _ => Variable::White(random.u16(..COLUMNS as u16)),
    }
}

fn marks(random: &mut Rng) -> Marks {
    let mut row = [0; COLUMNS / 64];
    row.fill_with(|| random.u64(..));
    let (mut seal, mut nonce) = ([0; SEAL_SYMBOLS], [0; NONCE_LETTERS]);
    random.fill(&mut seal);
    random.fill(&mut nonce);
    let choices = (0..random.usize(..=MAX_CHOICES)).map(|_| random.u8(..3)).collect();
    let volatile = (0..random.usize(..=VOLATILE)).map(|_| random.u8(..)).collect();
    Marks { row: Arc::new(row), seal, nonce: random.bool().then_some(nonce), choices, volatile }
}
