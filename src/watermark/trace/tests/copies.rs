//! One source: what is named, and from how little.

use super::*;

#[test]
fn white_space_names_one_of_many() {
    let log: Candidates = marks(2_000).into_iter().collect();
    let mark = marks(2_000)[1_234];
    let trace = tracer().trace(&marked(&article(7, 400), mark), &log);
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]));
    let hit = &trace.hits[0];
    // The reference says e^-225.5365, all of 383 columns agreeing.
    assert!((hit.p.ln() + 225.536_524).abs() < 1e-5, "{hit:?}");
    assert!((hit.adjusted / hit.p / 2_000.0 - 1.0).abs() < 1e-9);
    let evidence = Evidence { channel: Channel::Whitespace, live: 383, agree: 383, p: hit.p, paragraphs: 0 };
    assert_eq!((hit.in_log, hit.group, hit.evidence.as_slice()), (true, None, &[evidence][..]));
    assert_eq!((trace.candidates_searched, trace.tests, trace.words, trace.slots_read), (2_000, 1, 400, 397));
    assert!(trace.notes.is_empty());
    let report = |channel, live, dead| ChannelReport { channel, live, dead };
    assert_eq!(
        trace.channels,
        [
            report(Channel::Seal, 0, None),
            report(Channel::Whitespace, 383, None),
            report(Channel::Typographic, 0, Some(Note::NoForms)),
            report(Channel::Variants, 0, Some(Note::NoVariants)),
            report(Channel::Markup, 0, None),
        ]
    );
}

#[test]
fn excerpts_other_orders_and_other_letters_are_traced() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[77];
    let paragraphs: Vec<String> = (0..5).map(|i| marked(&article(100 + 2 * i, 140), mark)).collect();
    let whole = paragraphs.join("\n\n");
    let shuffled = [3, 0, 4, 1].map(|i| paragraphs[i].as_str()).join("\n\n");
    let replaced: String = {
        let words: Vec<_> = whole.split_inclusive([' ', '\n']).collect();
        words.iter().enumerate().map(|(i, word)| if i % 20 == 7 { "other " } else { *word }).collect()
    };
    for copy in [&whole, &shuffled, &replaced, &paragraphs[2], &whole.to_uppercase(), &whole.replace('e', "é")] {
        let trace = tracer().trace(copy, &log);
        assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]), "{copy}");
        assert!(of_a_million(&trace) <= TRACED, "{trace:?}");
    }
}

#[test]
fn a_seal_alone_is_enough() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[9];
    let copy = format!("{}.{}\n\n{}.{}", article(3, 40), sealed(mark), article(5, 40), sealed(mark));
    let trace = tracer().trace(&copy, &log);
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]));
    let seal = trace.hits[0].evidence[0];
    assert_eq!((seal.channel, seal.live, seal.agree, seal.paragraphs), (Channel::Seal, 2, 2, 2));
    // Two places, 300 marks, one test: the white space is dead.
    assert!((trace.hits[0].adjusted / (2.0 * 2f64.powi(-72) * 300.0) - 1.0).abs() < 1e-9, "{trace:?}");
    assert_eq!((trace.tests, trace.notes.as_slice()), (1, &[Note::WhitespaceCollapsed][..]));
    assert_eq!(tracer().seals(&copy), [SealHit { mark, paragraphs: 2 }]);
    let written: String = sealed(mark).chars().map(|c| format!("&#x{:X};", u32::from(c))).collect();
    assert_eq!(tracer().trace(&format!("end.{written}"), &log).verdict, Verdict::Traced, "even of one word");
}

#[test]
fn seal_and_white_space_speak_for_one_mark() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[9];
    let trace = tracer().trace(&format!("{}.{}", marked(&article(7, 400), mark), sealed(mark)), &log);
    assert_eq!((trace.verdict, named(&trace), trace.tests), (Verdict::Traced, vec![mark], 2));
    let channels: Vec<Channel> = trace.hits[0].evidence.iter().map(|one| one.channel).collect();
    assert_eq!(channels, [Channel::Seal, Channel::Whitespace]);
    assert!(trace.hits[0].p < 1e-50 && trace.notes.is_empty());
}

#[test]
fn tokens_name_their_mark() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[9];
    let mut seen = silent(3);
    seen.add_token(&keys().token(mark.id));
    let trace = tracer().score(&[seen], &log, &Scoring::default());
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]));
    assert_eq!(trace.hits[0].evidence[0].channel, Channel::Markup);
}

#[test]
fn forms_and_variants_count_three_for_an_agreement() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[9];
    for kind in [PlaceKind::Apostrophe, PlaceKind::Variant] {
        let mut seen = silent(3);
        feed(&mut seen, kind, mark, 0..60);
        let trace = tracer().score(&[seen], &log, &Scoring::default());
        assert_eq!((trace.verdict, named(&trace), trace.tests), (Verdict::Traced, vec![mark], 1));
        let live = trace.hits[0].evidence[0].live;
        assert!(live > 50 && (trace.hits[0].p / 0.5f64.powi(live as i32) - 1.0).abs() < 1e-9, "{trace:?}");
    }
}

#[test]
fn classes_that_say_little_each_say_enough_together() {
    let log: Candidates = marks(300).into_iter().collect();
    let mark = marks(300)[99];
    let mut seen = observe(&marked(&article(9, 36), mark));
    feed(&mut seen, PlaceKind::Quotes, mark, 0..12);
    feed(&mut seen, PlaceKind::Variant, mark, 0..10);
    let trace = tracer().score(&[seen], &log, &Scoring::default());
    // Three classes alone, and all together.
    assert_eq!((trace.verdict, named(&trace), trace.tests), (Verdict::Traced, vec![mark], 4));
    let alone: f64 = trace.hits[0].evidence.iter().map(|one| one.p).fold(1.0, f64::min);
    assert!(alone * 300.0 * 4.0 > TRACED && trace.hits[0].p < alone, "{trace:?}");
    assert_eq!(trace.hits[0].evidence.len(), 3);
}

/// Six articles of one visit, with 14 places each: none says enough by itself.
#[test]
fn articles_of_one_visit_add_up() {
    let log: Candidates = marks(2_000).into_iter().collect();
    let mark = marks(2_000)[1_234];
    let articles: Vec<Observation> = (0..6)
        .map(|i| {
            let mut seen = silent(u64::from(2 * i));
            feed(&mut seen, PlaceKind::Apostrophe, mark, 100 * i..100 * i + 14);
            seen
        })
        .collect();
    let alone = tracer().score(&articles[..1], &log, &Scoring::default());
    assert_eq!((alone.verdict, alone.hits.len()), (Verdict::None, 0));
    let trace = tracer().score(&articles, &log, &Scoring::default());
    assert_eq!((trace.verdict, named(&trace)), (Verdict::Traced, vec![mark]));
    assert!(of_a_million(&trace) <= TRACED, "{trace:?}");
}

#[test]
fn the_days_of_one_visitor_add_up() {
    let all = marks(1_000);
    let mut log = Candidates::new();
    for (i, mark) in all.iter().enumerate() {
        log.push_of(*mark, i as u64 / 3);
    }
    let log = log.finish();
    let days: Vec<Observation> =
        (0..3).map(|i| observe(&marked(&article(20 + 2 * i, 140), all[900 + i as usize]))).collect();
    let how = Scoring { by_visitor: true, ..Scoring::default() };
    let trace = tracer().score(&days, &log, &how);
    assert_eq!((trace.verdict, trace.hits.len(), trace.hits[0].group), (Verdict::Traced, 1, Some(300)));
    assert_eq!(trace.candidates_searched, 334, "as many visitors");
    // The marks of the visitor are compared with all places: three times as many.
    let evidence = trace.hits[0].evidence[0];
    let alone = tracer().score(&days, &log, &Scoring::default());
    assert_eq!(evidence.live, 3 * alone.channels[1].live);
    assert!(trace.hits[0].adjusted < 1e-25, "{trace:?}");
    assert!(all[900..903].contains(&trace.hits[0].mark));
}

#[test]
fn retired_keys_trace_what_they_have_marked() {
    let hex = |first: u8| data_encoding::HEXLOWER.encode(&(first..first + 32).collect::<Vec<u8>>());
    let text = format!("2 {}\n1 {} retired=2026-01-01T00:00:00Z\n", hex(7), hex(0));
    let both = Tracer::new(&Secrets::parse(&text).unwrap());
    let log: Candidates = marks(200).into_iter().chain((0..100).map(|id| Mark { kid: 2, id })).collect();
    let mark = marks(200)[50];
    let copy = marked(&article(7, 400), mark);
    let trace = both.trace(&copy, &log);
    assert_eq!((trace.verdict, named(&trace), trace.candidates_searched), (Verdict::Traced, vec![mark], 300));
    assert_eq!(both.seals(&sealed(mark)), [SealHit { mark, paragraphs: 1 }]);
    let without = Tracer::new(&Secrets::parse(&format!("2 {}", hex(7))).unwrap()).trace(&copy, &log);
    assert_eq!((without.verdict, without.candidates_searched), (Verdict::None, 100));
    assert!(without.notes.contains(&Note::KeysMissing(200)), "{without:?}");
}

#[test]
fn a_search_can_be_watched_and_stopped() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let log: Candidates = marks(5_000).into_iter().collect();
    let seen = observe(&marked(&article(7, 100), marks(1)[0]));
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let progress = |marks| {
        done.fetch_max(marks, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
    };
    let watch = |marks| {
        done.fetch_max(marks, Ordering::Relaxed);
    };
    let how = Scoring { progress: Some(&watch), ..Scoring::default() };
    assert_eq!(tracer().score(std::slice::from_ref(&seen), &log, &how).verdict, Verdict::Traced);
    assert_eq!(done.load(Ordering::Relaxed), 5_000);
    let how = Scoring { jobs: 1, progress: Some(&progress), stop: Some(&stop), ..Scoring::default() };
    let trace = tracer().score(&[seen], &log, &how);
    assert_eq!((trace.verdict, trace.hits.len(), trace.notes), (Verdict::None, 0, vec![Note::Stopped]));
}

/// Live columns that are needed for a name with 95 in 100 chances, by the share of columns that noise has changed.
#[test]
fn so_many_columns_are_enough() {
    use super::super::tail::{Mix, Tail};
    let mut random = fastrand::Rng::with_seed(5);
    for (white, columns, noise, marks) in [
        (true, 62, 0.0, 1e6),
        (true, 107, 0.05, 1e6),
        (true, 150, 0.1, 1e6),
        (true, 318, 0.2, 1e6),
        (true, 94, 0.05, 1e4),
        (false, 50, 0.0, 1e6),
        (false, 86, 0.05, 1e6),
        (false, 117, 0.1, 1e6),
        (false, 231, 0.2, 1e6),
    ] {
        let rare = if white { (columns + 2) / 4 } else { 0 };
        let mix =
            if white { Mix { rare, even: 0, common: columns - rare } } else { Mix { rare, even: columns, common: 0 } };
        let tail = Tail::new(mix);
        let mut agree = |n: u32| (0..n).filter(|_| random.f64() >= noise).count() as u32;
        let traced = (0..300)
            .filter(|_| {
                let score = 4 * agree(mix.rare) + 3 * agree(mix.even) + 2 * agree(mix.common);
                tail.ln(score).exp() * marks <= TRACED
            })
            .count();
        assert!(traced >= 264, "{columns} columns at {noise}: {traced} of 300");
    }
}
