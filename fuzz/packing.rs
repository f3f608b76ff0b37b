//! What must hold of pages that are compressed once, and marked in compressed form.

use std::sync::Arc;

use fastrand::Rng;

use crate::generate::{HTML, text};
use crate::packed::{COLUMNS, Effort, Marks, NONCE_LETTERS, SEAL_SYMBOLS, Template, Variable, pack};
use crate::targets::Target;

/// Bytes of a page, more or less.
const LONGEST: usize = 100_000;

/// Each copy inflates to what its template says, and the bodies of all are equally long; nothing else is packed.
pub(crate) fn packed() -> Target {
    Box::new(|random| {
        let template = template(random);
        let effort = if random.bool() { Effort::Quick } else { Effort::Full };
        let packed = Arc::new(pack(&template, effort).unwrap());
        for _ in 0..3 {
            let marks = marks(random);
            assert!(packed.check(&template, &marks), "{effort:?} {template:?}");
            let body = packed.body(marks);
            assert_eq!(body.remaining(), packed.length());
            assert_eq!(body.map(|piece| piece.len() as u64).sum::<u64>(), packed.length());
        }
        let bytes = template.bytes.iter().take(200).copied().collect();
        let places = (0..random.usize(..5)).map(|_| (random.u32(..300), variable(random))).collect();
        let other = Template { bytes, places };
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
    Marks { row: Arc::new(row), seal, nonce: random.bool().then_some(nonce) }
}
