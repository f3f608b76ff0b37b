//! Several sources: mixed paragraphs, and readers who put their copies together.

use super::super::testing::mixed;
use super::*;

type Attack = fn(usize, &[bool], &mut fastrand::Rng) -> bool;

/// What colluders can do where their copies differ.
const ATTACKS: [(&str, Attack); 5] = [
    ("in turns", |place, bits, _| bits[place % bits.len()]),
    ("the majority", |_, bits, _| majority(bits, bits[0])),
    ("the minority", |_, bits, _| {
        let all = bits.iter().all(|bit| *bit == bits[0]);
        if all { bits[0] } else { !majority(bits, !bits[1]) }
    }),
    ("a line feed if any has one", |_, bits, _| bits.contains(&true)),
    ("at random", |_, bits, random| bits[random.usize(..bits.len())]),
];

fn majority(bits: &[bool], tie: bool) -> bool {
    let ones = bits.iter().filter(|bit| **bit).count();
    if 2 * ones == bits.len() { tie } else { 2 * ones > bits.len() }
}

/// Articles of 600 words each, mixed from the copies of these readers.
fn collusion(attack: Attack, readers: &[Mark], articles: u64, seed: u64) -> Vec<Observation> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut one = |i| {
        let text = article(1_000 * seed + 2 * i, 600);
        observe(&mixed(&text, readers, |place, bits| attack(place, bits, &mut random)))
    };
    (0..articles).map(&mut one).collect()
}

fn at_least_one_is_named(readers: usize, articles: u64, seeds: std::ops::RangeInclusive<u64>) {
    let log: Candidates = marks(200).into_iter().collect();
    for seed in seeds {
        let guilty = &marks(200)[10 * seed as usize..10 * seed as usize + readers];
        for (name, attack) in ATTACKS {
            let trace = tracer().score(&collusion(attack, guilty, articles, seed), &log, &Scoring::default());
            assert_eq!(trace.verdict, Verdict::Traced, "{name}, {seed}: {trace:?}");
            assert!(of_a_million(&trace) <= TRACED, "{name}, {seed}: {trace:?}");
            assert!(named(&trace).iter().all(|mark| guilty.contains(mark)), "{name}, {seed}: {trace:?}");
        }
    }
}

#[test]
fn of_two_readers_with_one_article_one_is_named() {
    at_least_one_is_named(2, 1, 1..=4);
}

#[test]
fn of_three_readers_with_five_articles_one_is_named() {
    at_least_one_is_named(3, 5, 1..=2);
}

/// The second source is too short to be seen beside the first, until what the first explains is taken away.
#[test]
fn a_second_source_is_found_in_what_the_first_leaves() {
    let log: Candidates = marks(2_000).into_iter().collect();
    let (a, b) = (marks(2_000)[5], marks(2_000)[6]);
    let copy = format!("{}\n\n{}", marked(&article(11, 500), a), marked(&article(13, 160), b));
    let trace = tracer().trace(&copy, &log);
    assert_eq!((trace.verdict, named(&trace), trace.tests), (Verdict::Traced, vec![a, b], 2));
    assert!(trace.hits[1].evidence[0].live < trace.hits[0].evidence[0].live / 4, "{trace:?}");
    let scored = observe(&copy);
    let joint = Joint::new(std::slice::from_ref(&scored), &[keys()]);
    let at_first = joint.scorers[0].ln_p(b.id).exp();
    assert!(at_first * 2_000.0 > TRACED && trace.hits[1].p < at_first, "{at_first:e}");
    // One source alone needs no second look.
    assert_eq!(tracer().trace(&marked(&article(11, 500), a), &log).tests, 1);
}

/// By visitor likewise: what the mark of one day explains is taken away, and what the visitor's other days would is not.
#[test]
fn a_second_visitor_is_found_in_what_the_first_leaves() {
    let all = marks(600);
    let mut log = Candidates::new();
    for (i, mark) in all.iter().enumerate() {
        log.push_of(*mark, i as u64 / 2);
    }
    let log = log.finish();
    let (a, b) = (all[101], all[200]);
    let long = marked(&article(11, 1_200), a);
    let how = Scoring { by_visitor: true, ..Scoring::default() };
    let trace = tracer().score(&[observe(&format!("{long}\n\n{}", marked(&article(13, 400), b)))], &log, &how);
    let groups: Vec<Option<u64>> = trace.hits.iter().map(|hit| hit.group).collect();
    assert_eq!((trace.verdict, named(&trace), groups), (Verdict::Traced, vec![a, b], vec![Some(50), Some(100)]));
    assert_eq!(trace.tests, 2, "the second one is not seen at the first look");
    assert!(trace.hits[1].evidence[0].live < trace.hits[0].evidence[0].live / 4, "{trace:?}");
    // One visitor of two days explains all of a copy that is from both, and nobody else is named.
    let both = format!("{long}\n\n{}", marked(&article(13, 400), all[100]));
    let trace = tracer().score(&[observe(&both)], &log, &how);
    assert_eq!((trace.verdict, named(&trace), trace.hits[0].group), (Verdict::Traced, vec![a], Some(50)));
}

/// A visitor with so many marks that they are searched in parts is one visitor.
#[test]
fn a_visitor_with_many_marks_is_named_once() {
    let mut all = marks(600);
    all.sort();
    let mut log = Candidates::new();
    for (i, mark) in all.iter().enumerate() {
        log.push_of(*mark, i as u64 / 40);
    }
    // The first part and the second one of the same visitor.
    let (a, b) = (all[80], all[119]);
    let copy = format!("{}\n\n{}", marked(&article(11, 6_000), a), marked(&article(13, 5_000), b));
    let how = Scoring { by_visitor: true, ..Scoring::default() };
    let trace = tracer().score(&[observe(&copy)], &log.finish(), &how);
    let groups: Vec<Option<u64>> = trace.hits.iter().map(|hit| hit.group).collect();
    assert_eq!((trace.verdict, groups), (Verdict::Traced, vec![Some(2)]), "{trace:?}");
}

#[test]
fn any_number_of_threads_says_the_same() {
    let log: Candidates = marks(5_000).into_iter().collect();
    let copy = format!("{}\n\n{}", marked(&article(11, 300), marks(6)[5]), marked(&article(13, 300), marks(7)[6]));
    let trace = |jobs| {
        let how = Scoring { jobs, ..Scoring::default() };
        tracer().score(&[observe(&copy)], &log, &how)
    };
    let one = trace(1);
    assert_eq!(one.hits.len(), 2);
    assert_eq!((&one, &one), (&trace(2), &trace(7)));
}
