//! What the judge tells the other processes.

use super::message::{Gain, Name};
use super::{GROUPS, Names, PerGroup, Shared, Subject};
use crate::suspicion::cells::CellKey;
use crate::suspicion::judge::Judge;
use crate::suspicion::price::Paid;
use crate::suspicion::score::Points;
use crate::suspicion::signals::{Group, Kind};
use crate::suspicion::state::{Keys, flag};
use crate::suspicion::{Fired, Width};
use crate::visitor::Visitor;

/// From this score, or from so many pages on, a client is told of.
const SCORE: u8 = 20;
const PAGES: u16 = 5;

/// What a request has come to.
#[derive(Debug, Clone, Copy)]
pub(in crate::suspicion) struct Told<'r> {
    pub(in crate::suspicion) client: CellKey,
    pub(in crate::suspicion) width: Width,
    /// Pages of the sub-identity.
    pub(in crate::suspicion) pages: u16,
    /// It asks for a page, and this was paid for it.
    pub(in crate::suspicion) paid: Option<Paid>,
    pub(in crate::suspicion) points: &'r Points,
    pub(in crate::suspicion) fired: &'r [Fired],
}

impl Judge {
    /// Tells the others about a visitor that is worth it, and gives the names that it has there. Never waits.
    pub(in crate::suspicion) fn tell(&self, visitor: &Visitor, keys: &Keys, told: Told<'_>) -> Option<Names> {
        let shared = self.state.shared().filter(|shared| shared.is_online())?;
        if told.points.score() < SCORE && told.pages < PAGES {
            return None;
        }
        let sub = shared.name(sub_identity(visitor, keys)?);
        let client = match told.client {
            client if client == keys.sub => sub,
            client if Some(client) == keys.pass => shared.name(Subject::Pass(visitor.pass?.id)),
            _ => shared.name(Subject::Address(visitor.address.client()?)),
        };
        let names = Names { client, sub };
        self.tell_paid(shared, client, &told);
        self.tell_points(shared, keys, names, &told);
        Some(names)
    }

    fn tell_paid(&self, shared: &Shared, client: Name, told: &Told<'_>) {
        let Some(paid) = told.paid else { return };
        let limiters = [("page_soft", &self.page_soft, paid.soft), ("page_hour", &self.page_hour, paid.hour)];
        for (name, limiter, cost) in limiters {
            if let Some(cost) = cost {
                shared.debit(client, limiter.debit(name, told.width, told.client, cost));
            }
        }
    }

    fn tell_points(&self, shared: &Shared, keys: &Keys, names: Names, told: &Told<'_>) {
        let first = self.state.with_record(keys.sub, |record, _| {
            let first = record.flags & flag::SHARED == 0;
            record.flags |= flag::SHARED;
            first
        });
        let first = first.unwrap_or(false);
        let (mut level, added) = (of_kind(told.fired, Kind::Level), of_kind(told.fired, Kind::Event));
        if first {
            // What was known before anybody was told.
            let Points { rate, behaviour, trap, credit, .. } = *told.points;
            for ((level, now), added) in level.iter_mut().zip([rate, behaviour, trap, credit]).zip(added) {
                *level = level.max(now - added);
            }
        }
        let gain = Gain { level, added, most: self.most(), record: keys.sub, first };
        if !first && told.paid.is_none() && gain.is_empty() {
            return;
        }
        if names.client == names.sub {
            return shared.tell(names.sub, gain);
        }
        // Rate is the client's, conduct the sub-identity's.
        let is_rate = |group: Group| group == Group::Rate;
        shared.tell(names.client, Gain { record: told.client, ..only(gain, is_rate) });
        shared.tell(names.sub, only(gain, |group| !is_rate(group)));
    }

    /// Something that an answer has taught about somebody who was told of.
    pub(in crate::suspicion) fn tell_lesson(&self, keys: &Keys, lesson: &[(Group, f32)]) {
        let (Some(shared), Some(names)) = (self.state.shared(), keys.shared) else { return };
        let of = |group: Group| -> f32 { lesson.iter().filter(|(of, _)| *of == group).map(|(_, points)| points).sum() };
        let gain = Gain {
            level: PerGroup::default(),
            added: GROUPS.map(of),
            most: self.most(),
            record: keys.sub,
            first: false,
        };
        if !gain.is_empty() {
            shared.tell(names.sub, gain);
        }
    }

    fn most(&self) -> PerGroup {
        GROUPS.map(|group| self.weights.cap(group))
    }
}

/// Whose conduct it is: a network that is treated as one visitor has taken the place of its members.
fn sub_identity<'v>(visitor: &'v Visitor, keys: &Keys) -> Option<Subject<'v>> {
    Some(if keys.sub == keys.net.0 {
        Subject::Network(visitor.address.net()?)
    } else if Some(keys.sub) == keys.wide {
        Subject::Network(visitor.address.wide()?)
    } else {
        Subject::Visitor(&visitor.key.0)
    })
}

fn of_kind(fired: &[Fired], kind: Kind) -> PerGroup {
    let of = |group: Group| -> f32 {
        let mine = fired.iter().filter(|f| f.signal.group() == group && f.signal.kind() == kind);
        mine.map(|f| f32::from(f.points)).sum()
    };
    GROUPS.map(of)
}

/// What of it belongs to some of the groups.
fn only(gain: Gain, is_mine: impl Fn(Group) -> bool) -> Gain {
    let mask = |points: PerGroup| {
        let mut points = points;
        for (points, group) in points.iter_mut().zip(GROUPS) {
            *points = if is_mine(group) { *points } else { 0.0 };
        }
        points
    };
    Gain { level: mask(gain.level), added: mask(gain.added), ..gain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspicion::Signal;

    fn whole(points: PerGroup) -> [u32; 4] {
        points.map(|points| points as u32)
    }

    #[test]
    fn rate_and_conduct_go_their_ways() {
        let fired = [(Signal::PageSoft, 6), (Signal::PageHour, 10), (Signal::NoAssets, 15), (Signal::AcceptAny, 4)];
        let fired = fired.map(|(signal, points)| Fired { signal, points });
        assert_eq!(whole(of_kind(&fired, Kind::Event)), [16, 0, 0, 0]);
        assert_eq!(whole(of_kind(&fired, Kind::Level)), [0, 15, 0, 0]);
        let gain = Gain {
            level: [1.0, 2.0, 3.0, 4.0],
            added: [5.0, 6.0, 7.0, 8.0],
            most: [30.0, 50.0, 100.0, 40.0],
            record: CellKey(1),
            first: true,
        };
        let rate = only(gain, |group| group == Group::Rate);
        assert_eq!((whole(rate.level), whole(rate.added)), ([1, 0, 0, 0], [5, 0, 0, 0]));
        let conduct = only(gain, |group| group != Group::Rate);
        assert_eq!((whole(conduct.level), whole(conduct.added)), ([0, 2, 3, 4], [0, 6, 7, 8]));
        assert_eq!((whole(conduct.most), conduct.first), (whole(gain.most), true));
    }
}
