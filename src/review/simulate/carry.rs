//! Points that requests leave behind, under two policies at once.

use std::collections::HashMap;
use std::time::Duration;

use super::event::OwnLine;
use super::rules::Rules;
use crate::review::engine::BuildReady;
use crate::review::recount::{TOGETHER, place};
use crate::suspicion::score::cap_without_assets;
use crate::suspicion::{Fired, Group, Points, Signal};

/// Visitors whose points are kept, in each of two generations.
const MOST: usize = 1 << 16;
/// Less than this is lost in the rounding of the log.
const ROUNDING: f32 = 1.0;

/// The points of one visitor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carried {
    at: Duration,
    old: Points,
    new: Points,
    /// The last scores: what a page costs hangs on them.
    pub(super) scores: [u8; 2],
}

/// The points of all visitors; those who have not been heard of for longest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Carry {
    recent: HashMap<u64, Carried, BuildReady>,
    before: HashMap<u64, Carried, BuildReady>,
}

impl Carry {
    pub(super) fn get(&self, visitor: u64) -> Option<Carried> {
        self.recent.get(&visitor).or_else(|| self.before.get(&visitor)).copied()
    }

    fn put(&mut self, visitor: u64, carried: Carried) {
        if self.recent.len() >= MOST && !self.recent.contains_key(&visitor) {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(visitor, carried);
    }
}

/// A request, priced anew.
pub(super) struct Priced {
    pub(super) score: u8,
    pub(super) points: Points,
    pub(super) signals: Vec<Fired>,
}

/// What the points of a group come to that no signal of a line explains: what follows from answers.
fn lesson(group: Group) -> Option<Signal> {
    match group {
        Group::Trap => Some(Signal::ExploitProbe),
        Group::Credit => Some(Signal::ConditionalOk),
        Group::Rate => Some(Signal::PageSoft),
        _ => None,
    }
}

/// Points of one signal under other weights.
fn reprice(fired: Fired, old: &Rules, new: &Rules) -> Option<Fired> {
    let [before, after] = [old, new].map(|rules| u16::from(rules.weights.of(fired.signal)));
    let points = u16::from(fired.points);
    // What others beside it had left of it.
    let is_cut = TOGETHER.contains(&fired.signal) && points < before && points != before / 2;
    let points = match before {
        _ if before == after => points,
        0 => points,
        _ if is_cut => after,
        _ => points * after / before,
    };
    let fired = Fired { points: points.min(255) as u8, ..fired };
    (fired.points > 0 && !new.ignores(fired.signal)).then_some(fired)
}

fn of(mut points: Points, group: Group) -> f32 {
    *place(&mut points, group)
}

impl Carry {
    /// What a line would have come to. `signals`: those of the line, with the quotas of pages asked anew.
    pub(super) fn price(
        &mut self,
        (visitor, time): (u64, Duration),
        line: &OwnLine,
        signals: &[Fired],
        (old, new): (&Rules, &Rules),
    ) -> Priced {
        let known = self.get(visitor).unwrap_or(Carried { at: time, ..Carried::default() });
        let elapsed = time.saturating_sub(known.at).as_millis() as u64;
        let regroup = |group: Group, fired: &[Fired]| {
            let explained = old.weights.group(group, of(known.old, group), elapsed, &line.signals);
            let more = of(line.points, group) - explained;
            let more = if more.abs() < ROUNDING { 0.0 } else { more };
            let share = |signal| f32::from(new.weights.of(signal)) / f32::from(old.weights.of(signal).max(1));
            let anew = new.weights.group(group, of(known.new, group), elapsed, fired);
            (anew + more * lesson(group).map_or(1.0, share)).clamp(0.0, new.weights.cap(group))
        };
        let mut fired: Vec<Fired> = signals.iter().filter_map(|fired| reprice(*fired, old, new)).collect();
        let mut points = Points { rate: regroup(Group::Rate, &fired), ..Points::default() };
        // What is missing counts less while nothing is too fast.
        cap_without_assets(&mut fired, points.rate);
        fired.retain(|fired| fired.points > 0);
        for group in Group::ALL.into_iter().filter(|group| *group != Group::Rate) {
            *place(&mut points, group) = regroup(group, &fired);
        }
        // The log rounds the points of each group down, and the score is that of the whole.
        let slack = i16::from(line.score) - i16::from(line.points.score());
        let score = (i16::from(points.score()) + slack).clamp(0, 100) as u8;
        self.put(visitor, Carried { at: time, old: line.points, new: points, scores: [line.score, score] });
        Priced { score, points, signals: fired }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_heard_of_is_forgotten_and_nobody_else() {
        let mut carry = Carry::default();
        let most = 2 * MOST as u64;
        for visitor in 0..3 * most {
            carry.put(visitor, Carried { scores: [1, 2], ..Carried::default() });
            carry.put(7, Carried { scores: [3, 4], ..Carried::default() });
            assert!(carry.recent.len() + carry.before.len() <= 2 * MOST);
        }
        assert_eq!(carry.get(7).map(|carried| carried.scores), Some([3, 4]));
        assert!(carry.get(8).is_none() && carry.get(3 * most - 1).is_some());
    }
}
