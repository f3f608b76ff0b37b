//! One copy, or several that came from one visit: their columns are added up.

use super::notes::Note;
use super::observe::Observation;
use super::plane::Plane;
use super::score::Scorer;
use super::seals::Whole;
use super::{Channel, ChannelReport};
use crate::slot::Class;
use crate::watermark::code::Keys;

/// All that was observed.
#[derive(Debug)]
pub(super) struct Joint<'o> {
    all: &'o [Observation],
    /// One a key, with the classes that say something; none if no class does.
    pub(super) scorers: Vec<Scorer>,
    pub(super) seals: Whole,
    pub(super) tokens: Whole,
}

impl<'o> Joint<'o> {
    pub(super) fn new(all: &'o [Observation], keys: &[Keys]) -> Self {
        let mut joint = Self { all, scorers: Vec::new(), seals: Whole::default(), tokens: Whole::default() };
        for one in all {
            joint.seals.add(&one.seals);
            joint.tokens.add(&one.tokens);
        }
        let live: Vec<Class> = Class::ALL.into_iter().filter(|class| joint.dead(*class).is_none()).collect();
        if !live.is_empty() {
            let planes = |key| -> Vec<Plane> { live.iter().map(|class| joint.plane(key, *class)).collect() };
            joint.scorers = keys.iter().enumerate().map(|(key, keys)| Scorer::new(keys.clone(), planes(key))).collect();
        }
        joint
    }

    fn plane(&self, key: usize, class: Class) -> Plane {
        let mut sum = vec![0i32; class.columns()];
        for votes in self.all.iter().flat_map(|one| one.votes(key, class)) {
            for (sum, vote) in sum.iter_mut().zip(votes) {
                *sum = sum.saturating_add(*vote);
            }
        }
        Plane::new(class, &sum)
    }

    /// Why a class says nothing in any copy.
    pub(super) fn dead(&self, class: Class) -> Option<Note> {
        let mut reasons = self.all.iter().map(|one| one.dead(class));
        let first = reasons.next().unwrap_or(Some(Note::NoGaps));
        if reasons.any(|reason| reason.is_none()) { None } else { first }
    }

    pub(super) fn words(&self) -> usize {
        self.all.iter().map(Observation::words).sum()
    }

    pub(super) fn slots(&self) -> usize {
        self.all.iter().map(Observation::slots).sum()
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.all.iter().all(Observation::is_ascii)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.all.iter().any(Observation::is_ours)
    }

    /// How many classes say something.
    pub(super) fn live_classes(&self) -> usize {
        Class::ALL.into_iter().filter(|class| self.dead(*class).is_none()).count()
    }

    /// What each channel has to say, whoever it names.
    pub(super) fn channels(&self) -> Vec<ChannelReport> {
        let whole = [(Channel::Seal, &self.seals), (Channel::Markup, &self.tokens)].map(|(channel, whole)| {
            let foreign = whole.any() && whole.found().is_empty();
            ChannelReport { channel, live: whole.places(), dead: foreign.then_some(Note::ForeignSeal) }
        });
        let classes = Class::ALL.into_iter().map(|class| {
            let dead = self.dead(class);
            let live = |scorer: &Scorer| scorer.live(class);
            let live = if dead.is_some() { 0 } else { self.scorers.iter().map(live).max().unwrap_or(0) };
            ChannelReport { channel: class.into(), live, dead }
        });
        let [seals, tokens] = whole;
        std::iter::once(seals).chain(classes).chain(std::iter::once(tokens)).collect()
    }
}
