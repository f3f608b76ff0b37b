//! Packed bodies of real pages, for decoders that others wrote. `scripts/packed` runs it.
//!
//! `packed_bodies OUT DIR...` reads `DIR/*.html`, and writes `OUT/NAME.bodies` for each: mark by mark the plain copy,
//! its body of effort `Quick`, and that of `Full`. `OUT/NAME-choices.bodies` is the same page with choices between two texts, and
//! with bytes that are other ones in each copy.
//! Before each stands its length, four bytes, the lowest first. What was
//! left out is empty. miniz_oxide inflates all of them here. `DECKLE_ALL=1`: more marks, and `Full` for long pages, too.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[allow(dead_code, reason = "a server needs more of it than is tried here")]
#[path = "../../src/page/packed/mod.rs"]
mod packed;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use packed::{
    COLUMNS, Choice, Effort, MAX_CHOICES, Marks, NONCE_LETTERS, Packed, SEAL_SYMBOLS, Template, Variable, pack,
};

/// Words that are other ones in each copy, and bytes that there are for them.
const WORDS: usize = 8;
const OPEN: usize = 256;
/// Bytes from which on `Full` takes too long for each run of the tests.
const LONG: usize = 150_000;
/// Head (RFC 1952 §2.3) and trailer of a body: miniz_oxide knows what is between them.
const HEAD: usize = 10;
const TRAILER: usize = 8;

/// What was done.
#[derive(Default)]
struct Tally {
    bodies: usize,
    bytes: usize,
    different: usize,
    /// Pages that were not packed with effort `Full`.
    left_out: usize,
}

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().unwrap();
    let all = std::env::var("DECKLE_ALL").is_ok_and(|all| all == "1");
    let marks: Vec<Marks> = (0..if all { 200 } else { 5 }).map(marks).collect();
    let mut tally = Tally::default();
    for entry in arguments.flat_map(|dir| std::fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "html") {
            let plain = template(&std::fs::read(&path).unwrap());
            let chosen = with_choices(&plain);
            let name = path.file_stem().unwrap().to_string_lossy();
            for (template, name) in [(plain, format!("{name}.bodies")), (chosen, format!("{name}-choices.bodies"))] {
                let is_short = template.bytes.len() < LONG;
                let quick = Arc::new(pack(&template, Effort::Quick).unwrap());
                let full = (all || is_short).then(|| Arc::new(pack(&template, Effort::Full).unwrap()));
                tally.left_out += usize::from(full.is_none());
                write(&out.join(name), &template, &marks, [Some(quick), full], &mut tally);
            }
        }
    }
    let Tally { bodies, bytes, different, left_out } = tally;
    if left_out > 0 {
        println!("skipped: effort Full of {left_out} long pages (DECKLE_ALL=1 takes them)");
    }
    println!("{:<24} {bodies:6} bodies {:8.1} MB {different:4} different", "miniz_oxide", bytes as f64 / 1e6);
    std::process::exit(i32::from(bodies == 0 || different > 0));
}

/// Copies of a page and their bodies, which are tried on the way.
fn write(file: &Path, template: &Template, marks: &[Marks], efforts: [Option<Arc<Packed>>; 2], tally: &mut Tally) {
    let mut file = BufWriter::new(File::create(file).unwrap());
    for marks in marks {
        let copy = template.splice(marks);
        field(&mut file, &copy);
        for packed in &efforts {
            let body = packed.iter().flat_map(|packed| packed.body(marks.clone())).collect::<Vec<_>>().concat();
            field(&mut file, &body);
            if packed.is_some() {
                tally.bodies += 1;
                tally.bytes += copy.len();
                tally.different += usize::from(!inflates_to(&body, &copy));
            }
        }
    }
    file.flush().unwrap();
}

fn field(file: &mut BufWriter<File>, bytes: &[u8]) {
    file.write_all(&(bytes.len() as u32).to_le_bytes()).unwrap();
    file.write_all(bytes).unwrap();
}

fn inflates_to(body: &[u8], copy: &[u8]) -> bool {
    let deflated = &body[HEAD..body.len() - TRAILER];
    miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, copy.len() + 1).is_ok_and(|page| page == copy)
}

/// All zeros, all ones, and random ones: the same in each run.
fn marks(number: u64) -> Marks {
    let mut random = fastrand::Rng::with_seed(number);
    let mut row = [0; COLUMNS / 64];
    let (mut seal, mut nonce, mut choices) = ([0; SEAL_SYMBOLS], [0; NONCE_LETTERS], [0; MAX_CHOICES]);
    let mut volatile = [0; OPEN];
    match number {
        0 => {}
        1 => {
            row.fill(u64::MAX);
            seal.fill(7);
            nonce.fill(63);
            choices.fill(1);
            volatile.fill(u8::MAX);
        }
        _ => {
            row.fill_with(|| random.u64(..));
            random.fill(&mut seal);
            random.fill(&mut nonce);
            choices.fill_with(|| random.u8(..2));
            random.fill(&mut volatile);
        }
    }
    let (choices, volatile) = (Arc::new(choices), Arc::new(volatile));
    Marks { row: Arc::new(row), seal, nonce: Some(nonce), choices, volatile }
}

/// A column for each space between two words of a paragraph, a seal at its end, and a nonce for each script.
fn template(source: &[u8]) -> Template {
    let mut template = Template::default();
    let (mut paragraph, mut is_text) = (false, true);
    for (at, byte) in source.iter().enumerate() {
        let (before, rest) = (&source[..at], &source[at..]);
        if *byte == b'<' {
            is_text = false;
            if rest.starts_with(b"</p>") && paragraph {
                seal(&mut template);
            }
            paragraph = (paragraph && !rest.starts_with(b"</p>")) || begins(rest, b"<p");
        }
        let is_gap = paragraph
            && is_text
            && *byte == b' '
            && before.last().is_some_and(u8::is_ascii_alphabetic)
            && rest.get(1).is_some_and(u8::is_ascii_alphabetic);
        if is_gap {
            place(&mut template, Variable::White(column(before, rest)));
        } else {
            template.bytes.push(*byte);
        }
        if *byte == b't' && before.ends_with(b"<scrip") && begins(&source[at - 6..], b"<script") {
            template.bytes.extend_from_slice(b" nonce=\"");
            for letter in 0..NONCE_LETTERS as u8 {
                place(&mut template, Variable::Nonce(letter));
            }
            template.bytes.push(b'"');
        }
        is_text |= *byte == b'>';
    }
    template
}

/// The page with choices: at its start and its end, two side by side, and before words of its paragraphs. Some words behind them
/// are other ones in each copy.
fn with_choices(page: &Template) -> Template {
    /// So many may have texts of different lengths.
    const MOST: usize = 16;
    const TEXTS: [[&str; 2]; 4] =
        [["&#0039;", "&#8217;"], ["...", "&#8230;"], ["although ", "though "], ["", "<b>very</b> "]];
    let gaps = page.places.iter().filter(|(_, variable)| matches!(variable, Variable::White(_)));
    let behind: Vec<u32> = gaps.map(|(at, _)| at + 1).collect();
    let step = behind.len().div_ceil(MOST - 4).max(1);
    let end = page.bytes.len() as u32;
    let places = [0, 0].into_iter().chain(behind.into_iter().step_by(step)).chain([end, end]);
    let texts = TEXTS.iter().rev().cycle().map(|texts| texts.map(|text| Bytes::from_static(text.as_bytes())));
    let choices: Vec<Choice> = places.zip(texts).map(|(at, texts)| Choice { at, texts }).collect();
    let mut volatile: Vec<Range<u32>> = Vec::new();
    for word in page.places.windows(2).map(|pair| pair[0].0 + 1..pair[1].0) {
        let is_cut = choices.iter().any(|choice| choice.at > word.start && choice.at < word.end);
        if volatile.len() < WORDS && (1..=OPEN / WORDS).contains(&word.len()) && !is_cut {
            volatile.push(word);
        }
    }
    Template { choices, volatile, ..page.clone() }
}

/// Does a tag of this name begin here?
fn begins(rest: &[u8], tag: &[u8]) -> bool {
    rest.strip_prefix(tag).and_then(|rest| rest.first()).is_some_and(|byte| matches!(byte, b' ' | b'>'))
}

/// The same between the same letters, so that text that is there twice is copied (FNV-1a).
fn column(before: &[u8], rest: &[u8]) -> u16 {
    let letters = before.iter().rev().take(6).chain(rest.iter().take(6));
    let hash = letters.fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619));
    (hash >> 12) as u16 % COLUMNS as u16
}

fn seal(template: &mut Template) {
    template.bytes.extend_from_slice(b"<span inert=\"\">");
    for symbol in 0..SEAL_SYMBOLS as u8 {
        template.bytes.extend_from_slice(b"\xEF\xB8");
        place(template, Variable::Seal(symbol));
    }
    template.bytes.extend_from_slice(b"</span>");
}

/// Adds a place in state 0.
fn place(template: &mut Template, variable: Variable) {
    template.places.push((template.bytes.len() as u32, variable));
    template.bytes.push(match variable {
        Variable::White(_) => b' ',
        Variable::Seal(_) => 0x86,
        Variable::Nonce(_) => b'A',
    });
}
