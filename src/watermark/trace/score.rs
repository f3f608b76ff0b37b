//! Scores marks against what was observed.
//!
//! One row is made for each mark, on the stack; only the best of each test are kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use super::candidates::unpack;
use super::plane::{Plane, Rows};
use super::share::{Scoring, share};
use super::tail::{Mix, Tail};
use crate::slot::Class;
use crate::watermark::code::{Keys, Mark};

/// The best of each test that are kept.
const BEST: usize = 100;
/// Classes of places, and so the most scores that a mark has.
const CLASSES: usize = Class::ALL.len();
/// Tests of a round at most: each class alone, and all together.
const TESTS: usize = CLASSES + 1;

/// What is compared with each mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// One of the live classes.
    Alone(usize),
    /// All of them.
    Together,
}

impl Test {
    /// All tests over so many live classes.
    pub(super) fn all(classes: usize) -> Vec<Self> {
        (0..classes).map(Self::Alone).chain((classes > 1).then_some(Self::Together)).collect()
    }

    fn pick(self, scores: &[u32; CLASSES]) -> u32 {
        match self {
            Self::Alone(class) => scores.get(class).copied().unwrap_or(0),
            Self::Together => scores.iter().sum(),
        }
    }
}

/// How one class agrees with a mark.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Agreement {
    pub(super) mix: Mix,
    pub(super) agree: u32,
    pub(super) score: u32,
}

/// The live classes under one key.
#[derive(Debug, Clone)]
pub(super) struct Scorer {
    keys: Keys,
    planes: Vec<Plane>,
}

impl Scorer {
    pub(super) fn new(keys: Keys, planes: Vec<Plane>) -> Self {
        Self { keys, planes }
    }

    pub(super) fn kid(&self) -> u8 {
        self.keys.kid()
    }

    /// What is compared, class by class.
    pub(super) fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// How many classes there are.
    pub(super) fn classes(&self) -> usize {
        self.planes.len()
    }

    /// Columns of a class that can be compared.
    pub(super) fn live(&self, class: Class) -> u32 {
        self.planes.iter().filter(|plane| plane.class == class).map(|plane| plane.mix.live()).sum()
    }

    fn scores(&self, id: u64, rows: &mut Rows) -> [u32; CLASSES] {
        let mut scores = [0; CLASSES];
        for (score, plane) in scores.iter_mut().zip(&self.planes) {
            *score = plane.score(rows.of(&self.keys, plane.class, id));
        }
        scores
    }

    pub(super) fn mix(&self, test: Test) -> Mix {
        match test {
            Test::Alone(class) => self.planes.get(class).map(|plane| plane.mix).unwrap_or_default(),
            Test::Together => self.planes.iter().fold(Mix::default(), |sum, plane| sum + plane.mix),
        }
    }

    /// ln of the chance that an innocent mark does as well in all live classes.
    pub(super) fn ln_p(&self, id: u64) -> f64 {
        let score = Test::Together.pick(&self.scores(id, &mut Rows::new()));
        Tail::new(self.mix(Test::Together)).ln(score)
    }

    /// The same for many.
    pub(super) fn ln_ps(&self, ids: impl Iterator<Item = u64>) -> Vec<f64> {
        let (tail, mut rows) = (Tail::new(self.mix(Test::Together)), Rows::new());
        ids.map(|id| tail.ln(Test::Together.pick(&self.scores(id, &mut rows)))).collect()
    }

    pub(super) fn agreements(&self, id: u64) -> BTreeMap<Class, Agreement> {
        let mut rows = Rows::new();
        let of = |plane: &Plane| {
            let row = rows.of(&self.keys, plane.class, id);
            (plane.class, Agreement { mix: plane.mix, agree: plane.agree(row), score: plane.score(row) })
        };
        self.planes.iter().map(of).collect()
    }

    /// Leaves only what a mark does not explain.
    pub(super) fn drop_agreeing(&mut self, id: u64) {
        let mut rows = Rows::new();
        for plane in &mut self.planes {
            plane.drop_agreeing(rows.of(&self.keys, plane.class, id));
        }
    }
}

/// The scorer of a mark's key.
pub(super) fn scorer_of(scorers: &[Scorer], mark: Mark) -> Option<&Scorer> {
    scorers.iter().find(|scorer| scorer.kid() == mark.kid)
}

/// The highest scores of one test.
#[derive(Debug, Clone, Default)]
struct Top {
    heap: BinaryHeap<Reverse<(u32, Reverse<u64>)>>,
}

impl Top {
    fn offer(&mut self, score: u32, id: u64) {
        let entry = Reverse((score, Reverse(id)));
        if self.heap.len() < BEST {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    fn entries(&self) -> impl Iterator<Item = (u32, u64)> {
        self.heap.iter().map(|Reverse((score, Reverse(id)))| (*score, *id))
    }
}

/// A mark or a group, and ln of the chance of what it scores in the test in which it does best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    pub(super) id: u64,
    pub(super) ln_p: f64,
}

/// The chances of the best of one test. All have one mix, so a higher score is a smaller chance.
fn judged(mix: Mix, mut entries: Vec<(u32, u64)>) -> Vec<Ranked> {
    if entries.is_empty() {
        return Vec::new();
    }
    entries.sort_unstable_by_key(|(score, id)| (Reverse(*score), *id));
    entries.truncate(BEST);
    let tail = Tail::new(mix);
    let mut last = None;
    entries
        .into_iter()
        .map(|(score, id)| {
            let ln_p = match last {
                Some((known, ln_p)) if known == score => ln_p,
                _ => tail.ln(score),
            };
            last = Some((score, ln_p));
            Ranked { id, ln_p }
        })
        .collect()
}

/// Each once, the least likely first.
fn ranked(mut all: Vec<Ranked>) -> Vec<Ranked> {
    all.sort_by(|a, b| a.ln_p.total_cmp(&b.ln_p).then(a.id.cmp(&b.id)));
    let mut seen = HashSet::new();
    all.retain(|one| seen.insert(one.id));
    all.truncate(BEST);
    all
}

/// Scores all marks; `None`: stopped.
pub(super) fn score_marks(scorers: &[Scorer], tests: &[Test], marks: &[u64], how: &Scoring<'_>) -> Option<Vec<Ranked>> {
    let fresh = || vec![vec![Top::default(); tests.len()]; scorers.len()];
    let states = share(marks.len(), how, fresh, |tops, piece| {
        let mut rows = Rows::new();
        for packed in marks.get(piece).unwrap_or_default() {
            let mark = unpack(*packed);
            let mut pairs = scorers.iter().zip(tops.iter_mut());
            let Some((scorer, tops)) = pairs.find(|(scorer, _)| scorer.kid() == mark.kid) else { continue };
            let scores = scorer.scores(mark.id, &mut rows);
            for (top, test) in tops.iter_mut().zip(tests) {
                top.offer(test.pick(&scores), *packed);
            }
        }
    })?;
    let mut all = Vec::new();
    for (key, scorer) in scorers.iter().enumerate() {
        for (place, test) in tests.iter().enumerate() {
            let tops = states.iter().filter_map(|state| state.get(key)?.get(place));
            all.extend(judged(scorer.mix(*test), tops.flat_map(Top::entries).collect()));
        }
    }
    Some(ranked(all))
}

/// Scores groups of marks by the sums of their marks; the ids are places in `parts`. `None`: stopped.
pub(super) fn score_groups(
    scorers: &[Scorer],
    tests: &[Test],
    parts: &[&[(u64, u64)]],
    how: &Scoring<'_>,
) -> Option<Vec<Ranked>> {
    // Groups of as many marks under the same keys have one distribution.
    let states = share(parts.len(), how, HashMap::<(usize, Mix), Top>::new, |tops, piece| {
        let mut rows = Rows::new();
        for place in piece {
            let mut sums = [(Mix::default(), 0u32); TESTS];
            for (_, packed) in parts.get(place).copied().unwrap_or_default() {
                let mark = unpack(*packed);
                let Some(scorer) = scorer_of(scorers, mark) else { continue };
                let scores = scorer.scores(mark.id, &mut rows);
                for ((mix, score), test) in sums.iter_mut().zip(tests) {
                    *mix = *mix + scorer.mix(*test);
                    *score += test.pick(&scores);
                }
            }
            for (number, (mix, score)) in sums.into_iter().enumerate().filter(|(_, (mix, _))| mix.live() > 0) {
                tops.entry((number, mix)).or_default().offer(score, place as u64);
            }
        }
    })?;
    let mut merged: BTreeMap<(usize, Mix), Vec<(u32, u64)>> = BTreeMap::new();
    for (shape, top) in states.iter().flatten() {
        merged.entry(*shape).or_default().extend(top.entries());
    }
    Some(ranked(merged.into_iter().flat_map(|((_, mix), entries)| judged(mix, entries)).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, marks};
    use super::*;

    fn plane(class: Class, seed: u64) -> Plane {
        let mut random = fastrand::Rng::with_seed(seed);
        let votes: Vec<i32> = (0..class.columns()).map(|_| random.i32(-1..=1)).collect();
        Plane::new(class, &votes)
    }

    #[test]
    fn the_best_are_the_same_for_any_number_of_threads() {
        let scorer = Scorer::new(keys(), vec![plane(Class::White, 9), plane(Class::Typographic, 10)]);
        let packed: Vec<u64> = marks(3_000).into_iter().map(super::super::candidates::pack).collect();
        let best = |jobs| {
            let how = Scoring { jobs, ..Scoring::default() };
            score_marks(std::slice::from_ref(&scorer), &Test::all(2), &packed, &how).unwrap()
        };
        let one = best(1);
        assert_eq!(one.len(), BEST);
        assert!(one.is_sorted_by(|a, b| a.ln_p <= b.ln_p));
        assert_eq!((&one, &one), (&best(2), &best(7)));
        // The best of all tests: nothing was lost in a heap.
        let tests = Test::all(2);
        let tails: Vec<Tail> = tests.iter().map(|test| Tail::new(scorer.mix(*test))).collect();
        let least = |packed: &u64| {
            let scores = scorer.scores(unpack(*packed).id, &mut Rows::new());
            tests.iter().zip(&tails).map(|(test, tail)| tail.ln(test.pick(&scores))).fold(0.0, f64::min)
        };
        let all = packed.iter().map(|packed| Ranked { id: *packed, ln_p: least(packed) }).collect();
        assert_eq!(ranked(all)[..20], one[..20]);
    }
}
