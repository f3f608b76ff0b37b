//! Bad and hostile copies: one test for each kind of answer.

use super::*;

fn log_of(n: u64) -> Candidates {
    marks(n).into_iter().collect()
}

#[test]
fn row_too_short() {
    let log = log_of(100);
    for copy in ["", "\u{FEFF}", "  \n\n ", "only a few words here", marked(&article(7, 24), marks(1)[0]).as_str()] {
        let trace = tracer().trace(copy, &log);
        assert_eq!((trace.verdict, trace.hits.len()), (Verdict::None, 0), "{copy:?}");
        assert_eq!(trace.notes.last(), Some(&Note::TooShort), "{copy:?}");
    }
}

#[test]
fn row_nothing_is_live() {
    let log = log_of(100);
    let one_line = tracer().trace(&article(7, 100), &log);
    assert_eq!((one_line.verdict, one_line.notes), (Verdict::None, vec![Note::WhitespaceCollapsed, Note::AsciiOnly]));
    let mut uniform = observe(&(article(7, 100) + " café"));
    for place in 0..20u8 {
        uniform.add(PlaceKind::Apostrophe, &[place], false);
    }
    let trace = tracer().score(&[uniform], &log, &Scoring::default());
    assert_eq!((trace.verdict, trace.hits.len()), (Verdict::None, 0));
    assert_eq!(trace.notes, [Note::WhitespaceCollapsed, Note::QuotesUniform]);
    assert_eq!(trace.channels[2].dead, Some(Note::QuotesUniform));
    let no_gaps = tracer().trace(&"日本語、".repeat(30), &log);
    assert_eq!((no_gaps.verdict, no_gaps.notes), (Verdict::None, vec![Note::NoGaps]));
}

#[test]
fn row_a_shortlist_and_how_many_words_are_missing() {
    let log = log_of(2_000);
    let mark = marks(2_000)[99];
    let trace = tracer().trace(&marked(&article(8, 36), mark), &log);
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Inconclusive, vec![mark]));
    assert!(trace.hits[0].adjusted > TRACED && trace.hits[0].adjusted <= INCONCLUSIVE);
    // e^-18.28 with 36 words, e^-28.32 is needed: 20 more.
    assert_eq!(trace.notes, [Note::NeedsWords(20)]);
    let more = tracer().trace(&marked(&article(8, 36 + 40), mark), &log);
    assert_eq!(more.verdict, Verdict::Traced, "that was no empty promise");
}

#[test]
fn row_not_significant_names_nobody() {
    let log = log_of(2_000);
    let stranger = Mark { kid: 1, id: 0xFFFF_FFFF_FFFF };
    let trace = tracer().trace(&marked(&article(7, 400), stranger), &log);
    assert_eq!((trace.verdict, trace.hits.len()), (Verdict::None, 0), "{trace:?}");
    assert_eq!(trace.notes, [Note::NotSignificant]);
}

#[test]
fn row_seals_of_two_sources_are_both_named() {
    let log = log_of(300);
    let (a, b) = (marks(300)[5], marks(300)[6]);
    let copy = format!(
        "{}.{}\n\n{}.{}\n\n{}.{}",
        article(3, 40),
        sealed(a),
        article(5, 40),
        sealed(b),
        article(7, 9),
        sealed(b)
    );
    let trace = tracer().trace(&copy, &log);
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![b, a]));
    assert_eq!(trace.hits.iter().map(Hit::paragraphs).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn row_foreign_seal() {
    let mark = marks(1)[0];
    let broken: String = sealed(mark).chars().rev().collect();
    let copy = format!("{}.{broken}", article(3, 40));
    let trace = tracer().trace(&copy, &log_of(100));
    assert_eq!((trace.verdict, trace.hits.len()), (Verdict::None, 0));
    assert!(trace.notes.contains(&Note::ForeignSeal), "{trace:?}");
    assert_eq!((trace.channels[0].live, trace.channels[0].dead), (1, Some(Note::ForeignSeal)));
    // Another site, the same key id: the white space decides.
    let other = Tracer::new(&Secrets::from(Secret::new(1, &(9..41).collect::<Vec<u8>>()).unwrap()));
    assert!(other.trace(&format!("one.{}", sealed(mark)), &log_of(100)).notes.contains(&Note::ForeignSeal));
    let still = tracer().trace(&format!("{}.{broken}", marked(&article(7, 400), mark)), &log_of(100));
    assert_eq!((still.verdict, named(&still)), (Verdict::Traced, vec![mark]));
}

#[test]
fn row_log_missing() {
    let unknown = Mark { kid: 1, id: 42 };
    let copy = format!("{}.{}", article(3, 40), sealed(unknown));
    for log in [log_of(100), Candidates::new()] {
        let trace = tracer().trace(&copy, &log);
        assert_eq!((trace.verdict, named(&trace)), (Verdict::Inconclusive, vec![unknown]));
        assert!(!trace.hits[0].in_log && trace.notes.contains(&Note::LogMissing), "{trace:?}");
    }
    let known = marks(100)[3];
    let trace = tracer().trace(&format!("{copy}\n\n{}.{}", article(5, 40), sealed(known)), &log_of(100));
    assert_eq!((trace.verdict, trace.hits.len()), (Verdict::Traced, 2), "the other one is in the log");
    assert!(trace.notes.contains(&Note::LogMissing));
}

#[test]
fn row_a_moved_seal_is_a_conflict() {
    let log = log_of(2_000);
    let (a, b) = (marks(2_000)[5], marks(2_000)[6]);
    let trace = tracer().trace(&format!("{}.{}", marked(&article(9, 400), a), sealed(b)), &log);
    assert_eq!((trace.verdict, trace.notes.as_slice()), (Verdict::Inconclusive, &[Note::Conflict][..]));
    assert_eq!(named(&trace), [a, b]);
}

/// Between a name and an accident the seal stands, if the sealed mark may have made the text.
#[test]
fn row_a_seal_in_doubt() {
    let log = log_of(2_000);
    let all = marks(2_000);
    // 36 words of mark 5. Of innocent marks, 94 in 100 fit as well as mark 6, and 4 in 100 as well as mark 25.
    let text = marked(&article(9, 36), all[5]);
    let unfit = tracer().trace(&format!("{text}.{}", sealed(all[6])), &log);
    assert_eq!((unfit.verdict, named(&unfit)), (Verdict::Inconclusive, vec![all[6], all[5]]));
    assert_eq!(unfit.notes[0], Note::Doubtful);
    let fit = tracer().trace(&format!("{text}.{}", sealed(all[25])), &log);
    assert_eq!((fit.verdict, named(&fit)), (Verdict::Traced, vec![all[25]]));
    assert_eq!(fit.notes, [Note::Doubtful]);
}

#[test]
fn row_visitors_who_share_a_mark() {
    let mut log = Candidates::new();
    for (i, mark) in marks(100).into_iter().enumerate() {
        log.push_of(mark, i as u64);
    }
    log.push_of(marks(100)[5], 1_000);
    let log = log.finish();
    let of = |mark| tracer().trace(&format!("{}.{}", article(3, 40), sealed(mark)), &log);
    assert!(of(marks(100)[5]).notes.contains(&Note::Collision));
    assert!(!of(marks(100)[6]).notes.contains(&Note::Collision));
}

#[test]
fn row_a_text_of_ours_without_a_mark() {
    let text = article(7, 300);
    let page = observe(&text);
    let mut hashes: Vec<u32> = {
        let words: Vec<&str> = text.split(' ').collect();
        words.windows(4).map(|four| keys().hash(PlaceKind::Space, four.join("\x1F").as_bytes()).upper()).collect()
    };
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(128);
    let overlap = page.overlap(&hashes);
    assert_eq!((overlap.found, overlap.is_ours()), (128, true));
    assert!(!observe(&article(9, 300)).overlap(&hashes).is_ours());
    let excerpt = text.split(' ').skip(100).take(80).collect::<Vec<_>>().join(" ");
    assert!(observe(&excerpt).overlap(&hashes).is_ours());
    let mut twin = page.clone();
    twin.set_ours();
    let trace = |seen: Observation| tracer().score(&[seen], &log_of(100), &Scoring::default());
    assert_eq!(trace(page).notes, [Note::WhitespaceCollapsed, Note::AsciiOnly]);
    let twin = trace(twin);
    assert_eq!((twin.verdict, twin.notes.last()), (Verdict::None, Some(&Note::Twin)));
}

#[test]
fn row_hostile_copies() {
    let log = log_of(50);
    let flood: String =
        (0..150_000u32).filter_map(|i| char::from_u32(0xFE06 + i.wrapping_mul(0x9E37_79B9) % 31 % 8)).collect();
    let words = format!("{}\n\n{}", "word ".repeat(50_000), "a\n".repeat(50_000));
    for copy in [&flood, &words, &"\n \n".repeat(100_000), &"&#".repeat(100_000), &"\\'".repeat(50_000)] {
        assert!(tracer().trace(copy, &log).hits.is_empty(), "{}", copy.chars().take(20).collect::<String>());
    }
    // A seal in the flood is still found, and believed less.
    let mark = marks(50)[7];
    let trace = tracer().trace(&format!("{flood}{}", sealed(mark)), &log);
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]));
    assert!(trace.hits[0].p > 1e5 * 2f64.powi(-72), "{trace:?}");
}

#[test]
fn row_a_text_with_symbols_and_line_feeds_of_its_own() {
    let log = log_of(300);
    let text = article(7, 400);
    let mut own = String::new();
    for (i, word) in text.split(' ').enumerate() {
        own.push_str(word);
        own.push_str(if i % 7 == 3 { "\u{FE06}\u{FE07}\u{FE0D}\n" } else { " " });
    }
    let trace = tracer().trace(&own, &log);
    assert_ne!(trace.verdict, Verdict::Traced, "{trace:?}");
    let mark = marks(300)[8];
    let marked = tracer().trace(&marked(&text, mark).replacen(' ', "\u{FE06}\u{FE07} ", 9), &log);
    assert_eq!((marked.verdict, named(&marked)), (Verdict::Traced, vec![mark]), "symbols between words are no words");
}

#[test]
fn row_a_forged_seal() {
    let log = log_of(100);
    let mut symbols = keys().seal(marks(100)[5].id);
    symbols[24] ^= 1;
    let forged: String = symbols.iter().map(|s| crate::watermark::code::symbol_char(*s)).collect();
    let trace = tracer().trace(&format!("{}.{forged}", article(3, 40)), &log);
    assert_eq!((trace.verdict, trace.hits.len()), (Verdict::None, 0));
    assert!(trace.notes.contains(&Note::ForeignSeal));
}
