//! Pages for tests.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Marks;
use super::passage::{MAX_CHOICES, MAX_CUTS, MAX_VOLATILE};
use super::symbols::{Choice, Symbols, Template, Variable};
use super::tokens::Token;

pub(super) fn template_of(bytes: &[u8], places: &[(u32, Variable)]) -> Template {
    Template { bytes: bytes.to_vec(), places: places.to_vec(), ..Template::default() }
}

/// Adds a place in state 0.
pub(super) fn place(template: &mut Template, variable: Variable) {
    template.places.push((template.bytes.len() as u32, variable));
    template.bytes.push(variable.channel().alphabet()[0]);
}

/// Adds a choice, if there is room for one more.
pub(super) fn choose(template: &mut Template, texts: [&[u8]; 2]) {
    let cuts = template.choices.iter().filter(|choice| choice.texts[0].len() != choice.texts[1].len()).count();
    let has_room = texts[0].len() == texts[1].len() || cuts < MAX_CUTS;
    if template.choices.len() + template.volatile.len() < MAX_CHOICES && has_room {
        let at = template.bytes.len() as u32;
        template.choices.push(Choice { at, texts: texts.map(Bytes::copy_from_slice) });
    }
}

/// Adds bytes that are other ones in each answer, if there is room for them.
pub(super) fn fill(template: &mut Template, length: u32) {
    let bytes: usize = template.volatile.iter().map(Range::len).sum();
    let has_room = bytes + length as usize <= MAX_VOLATILE;
    if template.choices.len() + template.volatile.len() < MAX_CHOICES && has_room {
        let at = template.bytes.len() as u32;
        template.volatile.push(at..at + length);
        template.bytes.extend(std::iter::repeat_n(b'0', length as usize));
    }
}

/// A page without places.
pub(super) fn symbols(text: &str) -> Symbols {
    Symbols::of(&template_of(text.as_bytes(), &[])).unwrap()
}

/// A page of at least so many bytes: words again and again, with places of all kinds between them.
pub(super) fn random_template(seed: u64, len: usize) -> Template {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut words: Vec<Vec<u8>> = Vec::new();
    for _ in 0..30 {
        words.push((0..random.usize(1..9)).map(|_| random.u8(b'a'..=b'z')).collect());
    }
    let mut template = Template::default();
    while template.bytes.len() < len {
        match random.u8(0..40) {
            0 => (0..25).for_each(|symbol| place(&mut template, Variable::Seal(symbol))),
            1 => place(&mut template, Variable::Nonce(random.u8(..22))),
            2 => template.bytes.push(random.u8(..)),
            3..8 => template.bytes.push(b' '),
            8..20 => place(&mut template, Variable::White(random.u16(..200))),
            _ => template.bytes.extend_from_slice(&words[random.usize(..words.len())]),
        }
    }
    template
}

pub(super) fn random_symbols(seed: u64, len: usize) -> Symbols {
    Symbols::of(&random_template(seed, len)).unwrap()
}

pub(super) fn marks(seed: u64) -> Marks {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut row = [0; 64];
    // One in four in even columns, three in four in odd ones.
    const EVEN: u64 = 0x5555_5555_5555_5555;
    for word in &mut row {
        let (a, b) = (random.u64(..), random.u64(..));
        *word = (a & b & EVEN) | ((a | b) & !EVEN);
    }
    let (mut seal, mut nonce) = ([0; 25], [0; 22]);
    seal.fill_with(|| random.u8(..8));
    nonce.fill_with(|| random.u8(..64));
    let choices = (0..MAX_CHOICES).map(|_| random.u8(..2)).collect();
    let volatile = (0..MAX_VOLATILE).map(|_| random.u8(..)).collect();
    Marks { row: Arc::new(row), seal, nonce: Some(nonce), choices, volatile }
}

/// Do these tokens say the page, each copy by the same variables?
pub(super) fn expand(page: &Symbols, tokens: &[Token]) {
    let mut at = 0;
    for token in tokens {
        if token.is_copy() {
            assert!(token.distance() <= at && at + token.length() <= page.len(), "{token:?} at {at}");
            for place in at..at + token.length() {
                assert_eq!(page.at(place), page.at(place - token.distance()), "{token:?} at {at}");
            }
        }
        at += token.length();
    }
    assert_eq!(at, page.len());
}
