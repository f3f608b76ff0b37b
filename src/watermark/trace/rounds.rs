//! Searches for marks, and for more of them in what the first ones leave unexplained.

use std::collections::BTreeMap;

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

/// Searches the candidates; `None`: stopped. `trials` counts the tests of the first round, and any beside it.
pub(super) fn search(scorers: &[Scorer], candidates: &Candidates, trials: Trials, how: &Scoring<'_>) -> Option<Search> {
    let tests = first_tests(scorers);
    let mut search = Search { tests: trials.tests, ..Search::default() };
    if how.by_visitor {
        let parts = candidates.parts();
        let ranked = score_groups(scorers, &tests, &parts, how)?;
        let fit = |one: &Ranked| group_fit(scorers, parts.get(one.id as usize).copied().unwrap_or_default(), one.ln_p);
        search.named = within(&ranked, trials, TRACED).map(fit).collect();
        if search.named.is_empty() {
            search.close = within(&ranked, trials, INCONCLUSIVE).take(SHORTLIST).map(fit).collect();
        }
    } else if reachable(scorers, &tests, trials, INCONCLUSIVE) {
        let ranked = score_marks(scorers, &tests, candidates.packed(), how)?;
        search.close = within(&ranked, trials, INCONCLUSIVE).take(SHORTLIST).map(|one| fit(scorers, one)).collect();
        in_rounds(&mut search, scorers, candidates, ranked, trials, how)?;
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
    candidates: &Candidates,
    mut ranked: Vec<Ranked>,
    mut trials: Trials,
    how: &Scoring<'_>,
) -> Option<()> {
    let mut left = scorers.to_vec();
    for round in 0..=ROUNDS {
        let is_new = |one: &&Ranked| search.named.iter().all(|fit| !fit.marks.contains(&unpack(one.id)));
        let new: Vec<Fit> = within(&ranked, trials, TRACED).filter(is_new).map(|one| fit(&left, one)).collect();
        if new.is_empty() {
            break;
        }
        // Under other keys nothing has changed since the last look.
        left.retain(|scorer| new.iter().any(|fit| fit.marks.iter().any(|mark| mark.kid == scorer.kid())));
        for mark in new.iter().flat_map(|fit| &fit.marks) {
            left.iter_mut().filter(|scorer| scorer.kid() == mark.kid).for_each(|scorer| scorer.drop_agreeing(mark.id));
        }
        search.named.extend(new);
        // One more look is one more test for everybody, and whoever was named must stand it, too.
        let more = Trials { tests: trials.tests + 1, ..trials };
        let stands = search.named.iter().all(|fit| more.allow(fit.ln_p, TRACED));
        if round == ROUNDS || !stands || !reachable(&left, &[Test::Together], more, TRACED) {
            break;
        }
        trials = more;
        search.tests = trials.tests;
        ranked = score_marks(&left, &[Test::Together], candidates.packed(), how)?;
    }
    Some(())
}

/// Would a mark that agrees everywhere pass?
fn reachable(scorers: &[Scorer], tests: &[Test], trials: Trials, limit: f64) -> bool {
    scorers.iter().any(|scorer| tests.iter().any(|test| trials.allow(scorer.mix(*test).ln_least(), limit)))
}

fn within(ranked: &[Ranked], trials: Trials, limit: f64) -> impl Iterator<Item = &Ranked> {
    ranked.iter().filter(move |one| trials.allow(one.ln_p, limit))
}

fn fit(scorers: &[Scorer], ranked: &Ranked) -> Fit {
    let marks = vec![unpack(ranked.id)];
    Fit { evidence: evidence(scorers, &marks), marks, group: None, ln_p: ranked.ln_p }
}

fn group_fit(scorers: &[Scorer], part: &[(u64, u64)], ln_p: f64) -> Fit {
    let mut marks: Vec<(f64, Mark)> = part
        .iter()
        .map(|(_, packed)| unpack(*packed))
        .map(|mark| (scorer_of(scorers, mark).map_or(0.0, |scorer| scorer.ln_p(mark.id)), mark))
        .collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let marks: Vec<Mark> = marks.into_iter().map(|(_, mark)| mark).collect();
    Fit { evidence: evidence(scorers, &marks), marks, group: part.first().map(|(group, _)| *group), ln_p }
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
