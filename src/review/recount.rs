//! The points of a line of the log, and what they would be with other signals.

use serde::Serialize;

use super::explain::{Note, Record};
use crate::action::{self, Action};
use crate::suspicion::score::{ODD, Weights, cap_without_assets};
use crate::suspicion::signals::Kind;
use crate::suspicion::{Fired, Group, Points, ScoreSettings, Signal, SuspicionError};

/// Signals that are capped together: a line may give them less than their own points, or leave them out.
pub(super) const TOGETHER: [Signal; 4] = [Signal::ArticleRun, Signal::NoAssets, Signal::NoBeacon, Signal::SeqIds];

/// From the least to the most that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Between<T> {
    /// The least.
    pub least: T,
    /// The most; the same where it is certain.
    pub most: T,
}

impl<T: Copy + Ord> Between<T> {
    pub(super) fn of(values: impl IntoIterator<Item = T>) -> Option<Self> {
        values.into_iter().map(|value| Self { least: value, most: value }).reduce(Self::join)
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }
}

/// What a score is made of. All points are rounded down, as in the log.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// 0–100, as it was.
    pub score: u8,
    /// The groups that have signals or points.
    pub groups: Vec<GroupPoints>,
    /// Claim, rate, behaviour and traps.
    pub conduct: u16,
    /// Headers and network.
    pub odd: u16,
    /// The most that these count.
    pub odd_most: u16,
    /// Taken off.
    pub credit: u16,
    /// Of all that, before it is limited to 0–100.
    pub sum: i16,
    /// How many bounds of `suspicion.score.buckets` it has reached.
    pub bucket: u8,
    /// The scores of this bucket.
    pub range: Between<u8>,
    /// What the bucket leads to, before any clamp.
    pub leads_to: Action,
}

/// The points of a group.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct GroupPoints {
    /// The group.
    pub group: Group,
    /// The most that it counts.
    pub cap: u8,
    /// Its signals in this request.
    pub signals: Vec<SignalPoints>,
    /// What it counted.
    pub counted: u8,
    /// What of that is left from earlier requests, or comes from other processes.
    pub earlier: u8,
    /// What its signals have beyond that.
    pub cut: u16,
}

/// The points of a signal.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SignalPoints {
    /// The signal.
    pub signal: Signal,
    /// What it had in this request.
    pub points: u8,
    /// What the configuration gives it.
    pub weight: u8,
    /// Why the two differ: `half`, `twice`, `faded`, `capped` or `configured`.
    pub counts: Option<&'static str>,
}

/// The points of a line.
pub(super) struct Recount {
    weights: Weights,
    buckets: [u8; 6],
    score: u8,
    points: Points,
    fired: Vec<Fired>,
    unknown: Vec<String>,
}

/// Other points, and what they come to.
pub(super) struct Weighed {
    pub(super) score: u8,
    pub(super) bucket: u8,
    pub(super) points: Points,
    pub(super) fired: Vec<Fired>,
}

pub(super) fn place(points: &mut Points, group: Group) -> &mut f32 {
    match group {
        Group::Claim => &mut points.claim,
        Group::Headers => &mut points.headers,
        Group::Network => &mut points.network,
        Group::Rate => &mut points.rate,
        Group::Behaviour => &mut points.behaviour,
        Group::Trap => &mut points.trap,
        Group::Credit => &mut points.credit,
    }
}

fn of_group(fired: &[Fired], group: Group) -> Vec<Fired> {
    fired.iter().filter(|f| f.signal.group() == group).copied().collect()
}

impl Recount {
    /// `None`: the line has no score.
    pub(super) fn of(record: &Record, settings: &ScoreSettings) -> Result<Option<Self>, SuspicionError> {
        let weights = Weights::new(settings)?;
        let Some(score) = record.number("deckle.score") else { return Ok(None) };
        let mut points = Points::default();
        for (code, number) in record.points("deckle.points") {
            if let Some(group) = Group::ALL.into_iter().find(|group| group.code() == code) {
                *place(&mut points, group) = f32::from(number);
            }
        }
        let (mut fired, mut unknown) = (Vec::new(), Vec::new());
        for (code, points) in record.points("deckle.signals") {
            match Signal::of_code(code) {
                Some(signal) => fired.push(Fired { signal, points }),
                None => unknown.push(code.to_owned()),
            }
        }
        Ok(Some(Self { weights, buckets: settings.buckets, score: score.min(100) as u8, points, fired, unknown }))
    }

    /// As the line has it.
    pub(super) fn as_it_was(&self) -> Weighed {
        let bucket = self.weights.bucket(self.score);
        Weighed { score: self.score, bucket, points: self.points, fired: self.fired.clone() }
    }

    /// With another score, out of the same.
    pub(super) fn at(&self, score: u8) -> [Weighed; 2] {
        let bucket = self.weights.bucket(score);
        [(); 2].map(|()| Weighed { score, bucket, ..self.as_it_was() })
    }

    pub(super) fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// Would this signal stand in the line, if it fired?
    pub(super) fn shows(&self, signal: Signal) -> bool {
        self.weights.of(signal) >= 2
    }

    pub(super) fn counted(&self, group: Group) -> f32 {
        let mut points = self.points;
        *place(&mut points, group)
    }

    /// Points that no signal of this request explains.
    pub(super) fn earlier(&self, group: Group) -> u8 {
        (self.counted(group) - self.weights.group(group, 0.0, 0, &self.fired)).max(0.0) as u8
    }

    /// The highest score that leads to less.
    pub(super) fn below(&self) -> Option<u8> {
        let bucket = usize::from(self.weights.bucket(self.score));
        self.buckets.get(bucket.checked_sub(1)?).map(|least| least - 1)
    }

    /// What the rounding of the groups has hidden.
    fn slack(&self) -> i16 {
        i16::from(self.score) - i16::from(self.points.score())
    }

    /// Why a signal has other points than the configuration gives it.
    fn counts(&self, fired: Fired) -> Option<&'static str> {
        let (points, weight) = (u16::from(fired.points), u16::from(self.weights.of(fired.signal)));
        match fired.signal {
            _ if points == weight => None,
            Signal::PassToken if points < weight => Some("faded"),
            _ if points == weight / 2 => Some("half"),
            _ if points == weight * 2 => Some("twice"),
            signal if points < weight && TOGETHER.contains(&signal) => Some("capped"),
            _ => Some("configured"),
        }
    }

    pub(super) fn score(&self) -> Score {
        let (points, bucket) = (self.points, self.weights.bucket(self.score));
        let next = self.buckets.get(usize::from(bucket)).map_or(100, |least| least - 1);
        Score {
            score: self.score,
            groups: Group::ALL.into_iter().filter_map(|group| self.group(group)).collect(),
            conduct: points.conduct() as u16,
            odd: (points.headers + points.network) as u16,
            odd_most: points.conduct().max(ODD) as u16,
            credit: points.credit as u16,
            sum: (points.conduct() + points.odd() - points.credit) as i16,
            bucket,
            range: Between { least: self.below().map_or(0, |below| below + 1), most: next },
            leads_to: action::bucket(bucket),
        }
    }

    fn group(&self, group: Group) -> Option<GroupPoints> {
        let (fired, counted) = (of_group(&self.fired, group), self.counted(group) as u8);
        // A line may hold any number of signals.
        let raw = fired.iter().fold(0_u16, |sum, f| sum.saturating_add(u16::from(f.points)));
        let signals = fired.into_iter().map(|f| SignalPoints {
            signal: f.signal,
            points: f.points,
            weight: self.weights.of(f.signal),
            counts: self.counts(f),
        });
        (counted > 0 || raw > 0).then(|| GroupPoints {
            group,
            cap: self.weights.cap(group) as u8,
            signals: signals.collect(),
            counted,
            earlier: self.earlier(group),
            cut: raw.saturating_sub(u16::from(counted)),
        })
    }

    pub(super) fn notes(&self, record: &Record) -> Vec<Note> {
        let rounded = Group::ALL.into_iter().filter(|g| g.half_life().is_some() && self.counted(*g) > 0.0).count();
        let mut notes = Vec::new();
        match self.slack() {
            0 => {}
            slack if usize::from(slack.unsigned_abs()) <= rounded => notes.push(Note::Rounded(slack)),
            _ => notes.push(Note::OtherScore(self.points.score())),
        }
        let degraded: Vec<String> = record.list("deckle.degraded").into_iter().map(str::to_owned).collect();
        if !degraded.is_empty() {
            notes.push(Note::Degraded(degraded));
        }
        if !self.unknown.is_empty() {
            notes.push(Note::UnknownSignals(self.unknown.clone()));
        }
        notes
    }

    /// Signals that may have fired and count nothing beside others: such are not in the line.
    fn hidden(&self) -> Vec<Fired> {
        let absent = TOGETHER.into_iter().filter(|signal| !self.fired.iter().any(|f| f.signal == *signal));
        let full = absent.map(|signal| Fired { signal, points: self.weights.of(signal) }).filter(|f| f.points > 0);
        let counts_nothing = |one: &Fired| {
            let mut with = self.fired.clone();
            with.push(*one);
            with.sort_unstable_by_key(|f| f.signal);
            cap_without_assets(&mut with, self.points.rate);
            with.iter().any(|f| f.signal == one.signal && f.points == 0)
        };
        full.filter(counts_nothing).collect()
    }

    /// Without these signals, and without any points of the group `none`: at least and at most.
    pub(super) fn without(&self, gone: impl Fn(Signal) -> bool, none: Option<Group>) -> [Weighed; 2] {
        let full = |fired: &Fired| match self.counts(*fired) {
            Some("capped") => Fired { points: self.weights.of(fired.signal), ..*fired },
            _ => *fired,
        };
        let left: Vec<Fired> = self.fired.iter().filter(|f| !gone(f.signal)).map(full).collect();
        let mut more = left.clone();
        more.extend(self.hidden().into_iter().filter(|f| !gone(f.signal)));
        more.sort_unstable_by_key(|f| f.signal);
        let slack = self.slack();
        [
            self.weigh(left, none, |(least, _)| least, slack.min(0)),
            self.weigh(more, none, |(_, most)| most, slack.max(0)),
        ]
    }

    fn weigh(&self, mut fired: Vec<Fired>, none: Option<Group>, pick: fn((f32, f32)) -> f32, slack: i16) -> Weighed {
        let mut points = self.points;
        let of = |group, fired: &[Fired]| if none == Some(group) { 0.0 } else { pick(self.regroup(group, fired)) };
        points.rate = of(Group::Rate, &fired);
        // What is missing counts less while nothing is too fast.
        cap_without_assets(&mut fired, points.rate);
        fired.retain(|f| f.points > 0);
        for group in Group::ALL.into_iter().filter(|group| *group != Group::Rate) {
            *place(&mut points, group) = of(group, &fired);
        }
        let score = (i16::from(points.score()) + slack).clamp(0, 100) as u8;
        Weighed { score, bucket: self.weights.bucket(score), points, fired }
    }

    /// The points of a group with other signals: at least and at most.
    fn regroup(&self, group: Group, fired: &[Fired]) -> (f32, f32) {
        let (old, new, had) = (of_group(&self.fired, group), of_group(fired, group), self.counted(group));
        if old == new {
            return (had, had);
        }
        let (before, after) = (self.weights.group(group, 0.0, 0, &old), self.weights.group(group, 0.0, 0, &new));
        if had < before {
            // Halved behind an address that others share.
            return ((had + after - before).max(0.0), had);
        }
        let events = old.iter().filter(|f| f.signal.kind() == Kind::Event).map(|f| f32::from(f.points)).sum::<f32>();
        let kept = if had > before { (had - events).max(0.0) } else { 0.0 };
        (after, self.weights.group(group, kept, 0, &new))
    }
}
