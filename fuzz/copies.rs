//! What must hold of copies that anybody may have made: of texts that somebody else wrote, and of ours in pieces.

use deckle::secret::{Secret, Secrets};
use deckle::slot::PlaceKind;
use deckle::watermark::code::symbol_char;
use deckle::watermark::{Candidates, Keys, Mark, Note, Scoring, Suspect, Tracer, Verdict};

use crate::generate::{COPIES, text};
use crate::targets::Target;

/// Nothing is found in what carries no mark; a seal of ours is found wherever it is put.
pub(crate) fn copies() -> Target {
    let secret = Secret::new(1, b"an example secret of 32 bytes or").unwrap();
    let (keys, tracer) = (Keys::new(&secret), Tracer::new(&Secrets::from(secret)));
    let marks: Vec<Mark> =
        (1..=60).map(|i: u64| Mark { kid: 1, id: i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16 }).collect();
    let log: Candidates = marks.iter().copied().collect();
    Box::new(move |random| {
        let copy = String::from_utf8_lossy(&text(random, COPIES, 200)).into_owned();
        let mut seen = tracer.observe(&Suspect { text: &copy, label: "copy" });
        assert!(seen.slots() <= seen.words(), "{copy:?}");
        seen.add_tokens(&copy);
        for _ in 0..random.usize(..40) {
            let kinds = [PlaceKind::Apostrophe, PlaceKind::Quotes, PlaceKind::Variant];
            seen.add(*random.choice(&kinds).unwrap(), &[random.u8(..)], random.bool());
        }
        let how = Scoring { jobs: random.usize(1..3), ..Scoring::default() };
        let trace = tracer.score(std::slice::from_ref(&seen), &log, &how);
        assert_ne!(trace.verdict, Verdict::Traced, "{copy:?} {trace:?}");
        assert!(trace.hits.iter().all(|hit| hit.adjusted > 1e-9 && hit.adjusted <= 0.01), "{copy:?} {trace:?}");

        let mark = *random.choice(&marks).unwrap();
        let mut places: Vec<usize> = copy.char_indices().map(|(at, _)| at).collect();
        places.push(copy.len());
        let seal: String = keys.seal(mark.id).iter().map(|symbol| symbol_char(*symbol)).collect();
        let (head, tail) = copy.split_at(*random.choice(&places).unwrap());
        let trace = tracer.trace(&format!("{head}{seal}{tail}"), &log);
        assert!(trace.hits.iter().any(|hit| hit.mark == mark && hit.in_log), "{copy:?} {trace:?}");
        assert!(!trace.notes.contains(&Note::ForeignSeal) && !trace.notes.contains(&Note::TooShort), "{copy:?}");
    })
}
