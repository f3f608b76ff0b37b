//! Texts, marks and copies for the tests of tracing.

use crate::secret::{Secret, Secrets};
use crate::slot::{Class, PlaceKind, SEPARATOR, Words, fold};
use crate::watermark::code::{Keys, Mark, symbol_char};

/// Of the reference: the bytes 0 to 31, key id 1.
pub(super) fn keys() -> Keys {
    keys_of(1, 0)
}

pub(super) fn keys_of(kid: u8, first: u8) -> Keys {
    Keys::new(&secret(kid, first))
}

fn secret(kid: u8, first: u8) -> Secret {
    Secret::new(kid, &(first..first + 32).collect::<Vec<u8>>()).unwrap()
}

pub(super) fn secrets() -> Secrets {
    Secrets::from(secret(1, 0))
}

/// Marks of the key of the reference; no two are alike.
pub(super) fn marks(n: u64) -> Vec<Mark> {
    (1..=n).map(|i| Mark { kid: 1, id: i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16 }).collect()
}

/// Words in a random order, each time the same for a seed.
pub(super) fn article(seed: u64, words: usize) -> String {
    const WORDS: [&str; 40] = [
        "harbour", "council", "ferry", "market", "winter", "report", "school", "bridge", "island", "letter", "number",
        "public", "garden", "window", "silver", "travel", "orange", "yellow", "second", "minute", "people", "mayor",
        "storm", "choir", "paper", "river", "north", "south", "money", "music", "night", "light", "stone", "water",
        "house", "train", "plane", "table", "chair", "plant",
    ];
    let mut x = seed | 1;
    let word = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        WORDS[(x % 40) as usize]
    };
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

/// All bits of a row.
pub(super) fn bits_of(keys: &Keys, class: Class, id: u64) -> Vec<bool> {
    let (mut white, mut short) = ([0; 64], [0; 8]);
    let words: &[u64] = if class == Class::White {
        keys.white_row(id, &mut white);
        &white
    } else {
        keys.short_row(class, id, &mut short);
        &short
    };
    words.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)).collect()
}

/// Marks the gaps of a text as a page does. `choose` gets the number of the gap and the bit of each mark.
pub(super) fn mixed(text: &str, marks: &[Mark], mut choose: impl FnMut(usize, &[bool]) -> bool) -> String {
    let keys = keys();
    let rows: Vec<Vec<bool>> = marks.iter().map(|mark| bits_of(&keys, Class::White, mark.id)).collect();
    let words: Vec<_> = Words::new(text).collect();
    let folded: Vec<Vec<u8>> = words
        .iter()
        .map(|word| {
            let mut out = Vec::new();
            fold(&text[word.start..word.end], &mut out);
            out
        })
        .collect();
    let mut out = text.as_bytes().to_vec();
    for i in 1..words.len().saturating_sub(2) {
        if &text[words[i].end..words[i + 1].start] == " " {
            let hash = keys.hash(PlaceKind::Space, &folded[i - 1..i + 3].join(&SEPARATOR));
            let bits: Vec<bool> = rows.iter().map(|row| row[usize::from(hash.column(Class::White))]).collect();
            out[words[i].end] = if choose(i, &bits) { b'\n' } else { b' ' };
        }
    }
    String::from_utf8(out).unwrap()
}

pub(super) fn marked(text: &str, mark: Mark) -> String {
    mixed(text, &[mark], |_, bits| bits[0])
}

/// The symbols of a seal.
pub(super) fn sealed(mark: Mark) -> String {
    keys().seal(mark.id).iter().map(|symbol| symbol_char(*symbol)).collect()
}
