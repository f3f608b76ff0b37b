//! Evidence to points to score: pure arithmetic.
//!
//! Conduct is claim + rate + behaviour + trap. Odd headers and networks multiply evidence and are none: together they
//! count no more than conduct does, and 22 where there is none. Credit is taken off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::signals::{Group, Kind, Signal};
use super::{Fired, Signals, SuspicionError};

/// Most points of headers and network without any conduct: below the price of a wait.
pub(crate) const ODD: f32 = 22.0;

/// Less than this is nothing.
const GRAIN: f32 = 0.05;
/// Points of reading in order, for whoever fetches no assets at a human pace.
const IN_ORDER: u8 = 8;
/// Points of all signals of missing assets together, and while nothing was too fast.
const WITHOUT_ASSETS: (u8, u8) = (25, 15);

/// Section `[suspicion.score]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreSettings {
    /// Points of single signals, 0 to 100; 0 switches one off.
    pub signals: BTreeMap<Signal, u8>,
    /// Most points of single groups, 0 to 100.
    pub caps: BTreeMap<Group, u8>,
    /// Lower bounds of `tag slow limit challenge block block`, each above the one before, 1 to 100.
    pub buckets: [u8; 6],
}

impl Default for ScoreSettings {
    fn default() -> Self {
        Self { signals: BTreeMap::new(), caps: BTreeMap::new(), buckets: [20, 40, 55, 70, 85, 95] }
    }
}

/// The settings as the judge reads them.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    signals: Box<[u8]>,
    caps: [f32; Group::ALL.len()],
    buckets: [u8; 6],
}

impl Weights {
    pub(crate) fn new(settings: &ScoreSettings) -> Result<Self, SuspicionError> {
        let signal = settings.signals.iter().find(|(_, points)| **points > 100);
        let cap = settings.caps.iter().find(|(_, points)| **points > 100);
        if let Some((name, points)) = signal.map(|(s, p)| (format!("signals.{s}"), *p)) {
            return Err(SuspicionError::Points { name, points });
        }
        if let Some((name, points)) = cap.map(|(g, p)| (format!("caps.{}", g.code()), *p)) {
            return Err(SuspicionError::Points { name, points });
        }
        let rising = settings.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || settings.buckets[0] == 0 || settings.buckets[5] > 100 {
            return Err(SuspicionError::Buckets { buckets: settings.buckets });
        }
        let points = |s: &Signal| settings.signals.get(s).copied().unwrap_or_else(|| s.weight());
        let most = |g: Group| settings.caps.get(&g).copied().unwrap_or_else(|| g.cap());
        Ok(Self {
            signals: Signal::ALL.iter().map(points).collect(),
            caps: Group::ALL.map(|group| f32::from(most(group))),
            buckets: settings.buckets,
        })
    }

    /// Points of a signal.
    pub(crate) fn of(&self, signal: Signal) -> u8 {
        self.signals.get(signal as usize).copied().unwrap_or(0)
    }

    /// Does any signal of the group count something?
    pub(crate) fn weighs(&self, group: Group) -> bool {
        Signal::ALL.iter().any(|signal| signal.group() == group && self.of(*signal) > 0)
    }

    pub(crate) fn cap(&self, group: Group) -> f32 {
        self.caps.get(group as usize).copied().unwrap_or(0.0)
    }

    /// The number of lower bounds that a score has reached, 0 to 6.
    pub(crate) fn bucket(&self, score: u8) -> u8 {
        self.buckets.iter().filter(|least| score >= **least).count() as u8
    }

    /// The points of a group now: what is left of the `stored` ones or what is true now, whichever is more, and what has
    /// just happened.
    pub(crate) fn group(&self, group: Group, stored: f32, elapsed_ms: u64, fired: &[Fired]) -> f32 {
        let sum = |kind: Kind| -> f32 {
            let mine = fired.iter().filter(|f| f.signal.group() == group && f.signal.kind() == kind);
            mine.map(|f| f32::from(f.points)).sum()
        };
        let level = decay(group, stored, elapsed_ms).max(sum(Kind::Level));
        (level + sum(Kind::Event)).min(self.cap(group))
    }
}

/// Points after a silence.
pub(crate) fn decay(group: Group, points: f32, elapsed_ms: u64) -> f32 {
    // Most have none, and a power takes its time.
    if points <= 0.0 {
        return points;
    }
    match group.half_life() {
        Some(seconds) => points * (-(elapsed_ms as f32) / (seconds as f32 * 1_000.0)).exp2(),
        None => 0.0,
    }
}

/// A reader without style sheets, scripts and images is no scraper: at a human pace what is missing counts little, and so
/// does a way through the site from one article to the next.
pub(crate) fn cap_without_assets(fired: &mut [Fired], rate: f32) {
    let missing = |f: &Fired| matches!(f.signal, Signal::NoAssets | Signal::NoBeacon);
    let in_order = |f: &Fired| matches!(f.signal, Signal::ArticleRun | Signal::SeqIds);
    let slow = rate < 1.0;
    if slow && fired.iter().any(missing) {
        cap_together(fired, in_order, IN_ORDER);
    }
    cap_together(fired, missing, if slow { WITHOUT_ASSETS.1 } else { WITHOUT_ASSETS.0 });
}

fn cap_together(fired: &mut [Fired], of: impl Fn(&Fired) -> bool, mut left: u8) {
    for fired in fired.iter_mut().filter(|f| of(f)) {
        fired.points = fired.points.min(left);
        left -= fired.points;
    }
}

/// In the order of the codes, each once.
pub(super) fn in_order(mut fired: Signals) -> Signals {
    fired.sort_unstable_by_key(|f| f.signal);
    fired.dedup_by_key(|f| f.signal);
    fired.retain(|f| f.points > 0);
    fired
}

/// The points of the groups.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Points {
    /// What it claims.
    pub claim: f32,
    /// How its headers contradict each other.
    pub headers: f32,
    /// Where it asks from.
    pub network: f32,
    /// How fast it is.
    pub rate: f32,
    /// How it moves.
    pub behaviour: f32,
    /// What traps it walked into.
    pub trap: f32,
    /// What speaks for it.
    pub credit: f32,
}

impl Points {
    /// What it does: claim, rate, behaviour and traps.
    pub fn conduct(&self) -> f32 {
        self.claim + self.rate + self.behaviour + self.trap
    }

    /// Headers and network, as far as they count.
    pub fn odd(&self) -> f32 {
        (self.headers + self.network).min(self.conduct().max(ODD))
    }

    /// 0–100.
    pub fn score(&self) -> u8 {
        // What has faded for a moment is what it was.
        (self.conduct() + self.odd() - self.credit + GRAIN).floor().clamp(0.0, 100.0) as u8
    }

    /// `group:points`, groups without points left out, in alphabetical order.
    pub fn codes(&self) -> Vec<String> {
        [
            ("behaviour", self.behaviour),
            ("claim", self.claim),
            ("credit", self.credit),
            ("headers", self.headers),
            ("network", self.network),
            ("rate", self.rate),
            ("trap", self.trap),
        ]
        .into_iter()
        .filter(|(_, points)| *points >= 1.0)
        .map(|(group, points)| format!("{group}:{}", points.floor() as u8))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        Weights::new(&ScoreSettings::default()).unwrap()
    }

    #[test]
    fn points_make_the_score() {
        // claim, headers, network, rate, behaviour, trap, credit.
        #[rustfmt::skip]
        let table: [(&str, [u8; 7], u8, u8); 15] = [
            ("Chrome, full headers, first page",          [0, 0, 0, 0, 0, 0, 0],     0, 0),
            ("Firefox on a VPN in a cloud",               [0, 0, 8, 0, 0, 0, 0],     8, 0),
            ("python-requests, page 1",                   [25, 0, 0, 0, 0, 0, 0],   25, 1),
            ("the same, page 20",                         [25, 0, 0, 0, 20, 0, 0],  45, 2),
            ("the same, page 40",                         [25, 0, 0, 18, 30, 0, 0], 73, 4),
            ("perfect headers, 60 pages in five minutes", [0, 0, 0, 30, 50, 0, 0],  80, 4),
            ("spoofed crawler from a cloud",              [60, 0, 8, 0, 0, 0, 0],   68, 3),
            ("headless, one page",                        [40, 0, 0, 0, 0, 0, 0],   40, 2),
            ("an extension follows a honey link",         [0, 0, 0, 0, 0, 70, 15],  55, 3),
            ("odd in every way, and nothing else",        [0, 25, 20, 0, 0, 0, 0],  22, 1),
            ("two traps",                                 [0, 0, 0, 0, 0, 100, 0], 100, 6),
            ("a pass, and a scraper behind it",           [0, 0, 0, 30, 50, 0, 40], 40, 2),
            ("Go with a browser's name, in a cloud",      [0, 25, 8, 0, 20, 0, 0],  42, 2),
            ("twelve refusals",                           [0, 0, 0, 30, 0, 0, 0],   30, 1),
            ("the same, ten minutes later",               [0, 0, 0, 7, 0, 0, 0],     7, 0),
        ];
        for (name, of, score, bucket) in table {
            let [claim, headers, network, rate, behaviour, trap, credit] = of.map(f32::from);
            let points = Points { claim, headers, network, rate, behaviour, trap, credit };
            assert_eq!((points.score(), weights().bucket(score)), (score, bucket), "{name}");
        }
    }

    #[test]
    fn events_add_up_to_the_cap_and_fade() {
        let soft = |n| vec![Fired { signal: Signal::PageSoft, points: 6 }; n];
        let full = weights().group(Group::Rate, 0.0, 0, &soft(12));
        assert!((full - 30.0).abs() < f32::EPSILON);
        assert!((weights().group(Group::Rate, full, 600_000, &[]) - 7.5).abs() < 0.01);
        assert!((weights().group(Group::Rate, full, 300_000, &soft(1)) - 21.0).abs() < 0.01);
    }

    #[test]
    fn what_is_true_now_is_not_added_to_what_was() {
        let run = [Fired { signal: Signal::ArticleRun, points: 8 }];
        assert!((weights().group(Group::Behaviour, 40.0, 1_800_000, &run) - 20.0).abs() < 0.01);
        assert!((weights().group(Group::Behaviour, 4.0, 0, &run) - 8.0).abs() < 0.01);
    }

    #[test]
    fn settings_are_checked() {
        let read = |text: &str| toml::from_str::<ScoreSettings>(text);
        let own = read("signals = { no_assets = 5 }\ncaps = { rate = 10 }").unwrap();
        let own = Weights::new(&own).unwrap();
        assert_eq!((own.of(Signal::NoAssets), own.of(Signal::PageSoft)), (5, 6));
        assert!((own.cap(Group::Rate) - 10.0).abs() < f32::EPSILON);
        let credit = Signal::ALL.iter().filter(|signal| signal.group() == Group::Credit);
        let signals = credit.map(|signal| (*signal, 0)).collect();
        let own = Weights::new(&ScoreSettings { signals, ..ScoreSettings::default() }).unwrap();
        assert!(own.weighs(Group::Headers) && !own.weighs(Group::Credit));
        let wrong = |text: &str| Weights::new(&read(text).unwrap()).unwrap_err().to_string();
        assert!(wrong("signals = { no_assets = 101 }").contains("suspicion.score.signals.no_assets"));
        assert!(wrong("caps = { trap = 101 }").contains("suspicion.score.caps.trap"));
        for buckets in ["[20,40,40,70,85,95]", "[0,40,55,70,85,95]", "[20,40,55,70,85,101]"] {
            assert!(wrong(&format!("buckets = {buckets}")).contains("suspicion.score.buckets"), "{buckets}");
        }
        assert!(read("signals = { no_asset = 5 }").unwrap_err().to_string().contains("no_assets"));
    }
}
