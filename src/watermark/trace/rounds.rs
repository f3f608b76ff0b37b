//! Searches for marks or visitors, and for more of them in what the first ones leave unexplained.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::{Candidates, unpack};
use super::score::{Agreement, Ranked, Scorer, Test, score_groups, score_marks, scorer_of};
use super::share::Scoring;
use super::tail::{Tail, chance};
use super::{Evidence, INCONCLUSIVE, SHORTLIST, TRACED};
use crate::slot::Class;
use crate::watermark::code::Mark;

/// Rounds after the first one.
const ROUNDS: u32 = 10;

/// Marks, or one visitor's marks, that fit what was observed.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    /// The one that fits best by itself comes first.
    pub(super) marks: Vec<Mark>,
    pub(super) group: Option<u64>,
    pub(super) ln_p: f64,
    pub(super) evidence: Vec<Evidence>,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Beyond doubt.
    pub(super) named: Vec<Fit>,
    /// If none is: not by accident, probably.
    pub(super) close: Vec<Fit>,
    /// Comparisons made with each candidate.
    pub(super) tests: u32,
}

/// How many candidates there are, and how many tests each of them has to stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trials {
    pub(super) candidates: u64,
    pub(super) tests: u32,
}

impl Trials {
    /// ln of the chance that any candidate does so well in any test (Bonferroni).
    pub(super) fn ln_adjusted(self, ln_p: f64) -> f64 {
        ln_p + (self.candidates.max(1) as f64).ln() + f64::from(self.tests.max(1)).ln()
    }

    fn allow(self, ln_p: f64, limit: f64) -> bool {
        self.ln_adjusted(ln_p) <= limit.ln()
    }
}

/// Tests that a search over these scorers begins with.
pub(super) fn first_tests(scorers: &[Scorer]) -> Vec<Test> {
    Test::all(scorers.first().map_or(0, Scorer::classes))
}

/// What is searched: each mark by itself, or the marks of each visitor together.
enum Pool<'c> {
    Marks(&'c [u64]),
    Visitors(Vec<&'c [(u64, u64)]>),
}

impl Pool<'_> {
    /// The least likely of them; `None`: stopped.
    fn ranked(&self, scorers: &[Scorer], tests: &[Test], how: &Scoring<'_>) -> Option<Vec<Ranked>> {
        match self {
            Self::Marks(marks) => score_marks(scorers, tests, marks, how),
            Self::Visitors(parts) => score_groups(scorers, tests, parts, how),
        }
    }

    fn fit(&self, scorers: &[Scorer], ranked: &Ranked) -> Fit {
        let (marks, group) = match self {
            Self::Marks(_) => (vec![unpack(ranked.id)], None),
            Self::Visitors(parts) => {
                let part = parts.get(ranked.id as usize).copied().unwrap_or_default();
                let marks = part.iter().map(|(_, packed)| unpack(*packed)).collect();
                (best_first(scorers, marks), part.first().map(|(group, _)| *group))
            }
        };
        Fit { evidence: evidence(scorers, &marks), marks, group, ln_p: ranked.ln_p }
    }

    /// Whom it stands for: a visitor with many marks is searched in parts.
    fn name(&self, ranked: &Ranked) -> u64 {
        match self {
            Self::Marks(_) => ranked.id,
            Self::Visitors(parts) => {
                parts.get(ranked.id as usize).and_then(|part| part.first()).map_or(0, |(group, _)| *group)
            }
        }
    }

    /// All marks of what was found, those that were found first.
    fn marks_of(&self, fit: &Fit) -> Vec<Mark> {
        let mut marks = fit.marks.clone();
        if let Self::Visitors(parts) = self {
            let own = parts.iter().filter(|part| part.first().map(|(group, _)| *group) == fit.group);
            let all = own.flat_map(|part| part.iter().map(|(_, packed)| unpack(*packed)));
            marks.extend(all.filter(|mark| !fit.marks.contains(mark)));
        }
        marks
    }

    /// Marks that one of them has at most.
    fn most_marks(&self) -> usize {
        match self {
            Self::Marks(_) => 1,
            Self::Visitors(parts) => parts.iter().map(|part| part.len()).max().unwrap_or(0),
        }
    }

    /// Would one that agrees everywhere pass?
    fn is_reachable(&self, scorers: &[Scorer], tests: &[Test], trials: Trials, limit: f64) -> bool {
        let marks = self.most_marks() as f64;
        let passes = |scorer: &Scorer, test: &Test| trials.allow(marks * scorer.mix(*test).ln_least(), limit);
        scorers.iter().any(|scorer| tests.iter().any(|test| passes(scorer, test)))
    }
}

/// Searches the candidates; `None`: stopped. `trials` counts the tests of the first round, and any beside it.
pub(super) fn search(scorers: &[Scorer], candidates: &Candidates, trials: Trials, how: &Scoring<'_>) -> Option<Search> {
    let tests = first_tests(scorers);
    let mut search = Search { tests: trials.tests, ..Search::default() };
    let pool = if how.by_visitor { Pool::Visitors(candidates.parts()) } else { Pool::Marks(candidates.packed()) };
    if pool.is_reachable(scorers, &tests, trials, INCONCLUSIVE) {
        let ranked = pool.ranked(scorers, &tests, how)?;
        let close = within(&ranked, trials, INCONCLUSIVE).take(SHORTLIST);
        search.close = close.map(|one| pool.fit(scorers, one)).collect();
        in_rounds(&mut search, scorers, &pool, ranked, trials, how)?;
        if !search.named.is_empty() {
            search.close.clear();
        }
    }
    Some(search)
}

/// Names what is beyond doubt, drops the columns that agree with it, and looks again.
fn in_rounds(
    search: &mut Search,
    scorers: &[Scorer],
    pool: &Pool<'_>,
    mut ranked: Vec<Ranked>,
    mut trials: Trials,
    how: &Scoring<'_>,
) -> Option<()> {
    let (mut left, mut known) = (scorers.to_vec(), BTreeSet::new());
    for round in 0..=ROUNDS {
        let new: Vec<Fit> = within(&ranked, trials, TRACED)
            .filter(|one| known.insert(pool.name(one)))
            .map(|one| pool.fit(&left, one))
            .collect();
        if new.is_empty() {
            break;
        }
        // Under other keys nothing has changed since the last look. A visitor may have marks of several.
        if matches!(pool, Pool::Marks(_)) {
            left.retain(|scorer| new.iter().any(|fit| fit.marks.iter().any(|mark| mark.kid == scorer.kid())));
        }
        for fit in &new {
            drop_explained(&mut left, &pool.marks_of(fit));
        }
        search.named.extend(new);
        // One more look is one more test for everybody, and whoever was named must stand it, too.
        let more = Trials { tests: trials.tests + 1, ..trials };
        let stands = search.named.iter().all(|fit| more.allow(fit.ln_p, TRACED));
        if round == ROUNDS || !stands || !pool.is_reachable(&left, &[Test::Together], more, TRACED) {
            break;
        }
        trials = more;
        search.tests = trials.tests;
        ranked = pool.ranked(&left, &[Test::Together], how)?;
    }
    Some(())
}

/// Leaves only what the marks of one that was named do not explain; the first of them fits best. Most marks of a visitor have
/// nothing to do with a copy, and agree with half of what others have brought into it: of these only those are taken away
/// that still fit better than by accident.
fn drop_explained(left: &mut [Scorer], marks: &[Mark]) {
    let Some((best, others)) = marks.split_first() else { return };
    let (mut next, mut others) = (Some(*best), others.to_vec());
    let limit = (INCONCLUSIVE / marks.len() as f64).ln();
    while let Some(mark) = next {
        left.iter_mut().filter(|scorer| scorer.kid() == mark.kid).for_each(|scorer| scorer.drop_agreeing(mark.id));
        others.retain(|other| *other != mark);
        let closest = ln_ps(left, &others).into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        next = closest.filter(|(ln_p, _)| *ln_p <= limit).map(|(_, mark)| mark);
    }
}

fn within(ranked: &[Ranked], trials: Trials, limit: f64) -> impl Iterator<Item = &Ranked> {
    ranked.iter().filter(move |one| trials.allow(one.ln_p, limit))
}

/// How likely an innocent mark fits as well as each of these by itself. Marks of keys without a scorer are left out.
fn ln_ps(scorers: &[Scorer], marks: &[Mark]) -> Vec<(f64, Mark)> {
    let under = |scorer: &Scorer| {
        let of_key: Vec<Mark> = marks.iter().copied().filter(|mark| mark.kid == scorer.kid()).collect();
        let chances = if of_key.is_empty() { Vec::new() } else { scorer.ln_ps(of_key.iter().map(|mark| mark.id)) };
        chances.into_iter().zip(of_key)
    };
    scorers.iter().flat_map(under).collect()
}

fn best_first(scorers: &[Scorer], marks: Vec<Mark>) -> Vec<Mark> {
    let mut ranked = ln_ps(scorers, &marks);
    let unknown = marks.into_iter().filter(|mark| scorer_of(scorers, *mark).is_none());
    ranked.extend(unknown.map(|mark| (0.0, mark)));
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, mark)| mark).collect()
}

/// What each live class says about marks, taken together.
pub(super) fn evidence(scorers: &[Scorer], marks: &[Mark]) -> Vec<Evidence> {
    let mut sums: BTreeMap<Class, Agreement> = BTreeMap::new();
    for mark in marks {
        let Some(scorer) = scorer_of(scorers, *mark) else { continue };
        for (class, one) in scorer.agreements(mark.id) {
            let sum = sums.entry(class).or_default();
            sum.mix = sum.mix + one.mix;
            sum.agree += one.agree;
            sum.score += one.score;
        }
    }
    let said = sums.into_iter().filter(|(_, sum)| sum.mix.live() > 0);
    said.map(|(class, sum)| Evidence {
        channel: class.into(),
        live: sum.mix.live(),
        agree: sum.agree,
        p: chance(Tail::new(sum.mix).ln(sum.score)),
        paragraphs: 0,
    })
    .collect()
}
