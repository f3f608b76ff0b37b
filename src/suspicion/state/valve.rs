//! The safety valve: what is done when too many readers are disturbed.
//!
//! Looked at are sessions in good standing: three pages with assets over ten minutes, or a pass, *before* anything was
//! held against them; no claim to be a robot, hardly an odd header, no trap. A network counts once in five minutes. Of
//! a hundred such networks or more within ten minutes, a share above the one that is allowed, and three networks at
//! least, mean that a signal is wrong here. The signals that carried most of the points are muted for ten minutes, three at most; if that does not
//! bring the share down, everything is served for ten minutes, whatever the score. Claims, traps and the hard quotas go
//! on.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Tick;
use super::standing::bit;
use crate::suspicion::Fired;
use crate::suspicion::signals::Signal;

/// Networks have a bit each in a map of a window, which several may share: what that hides is added (`distinct.rs`).
const BITS: usize = 1 << 16;
/// Seconds of one of the two windows that are looked at together.
const WINDOW: u32 = 300;
/// Networks before anything follows.
const LEAST: u32 = 100;
/// Disturbed ones before anything follows: one or two may be scrapers that have shown patience.
const LEAST_DISTURBED: u32 = 3;
/// Seconds for which a signal is muted, or everything is served.
const OPEN: u32 = 600;
/// Seconds in which muted signals have to bring the share down.
const PATIENCE: u32 = 120;
/// Most signals that are muted at once.
const MOST: usize = 3;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// These signals count no more for ten minutes.
    Muted(Vec<Signal>),
    /// Everything is served for ten minutes.
    Wide,
}

/// The counts of one window.
#[derive(Debug)]
struct Window {
    all: Networks,
    disturbed: Networks,
    /// Points by signal, of disturbed requests.
    points: [AtomicU32; 32],
}

/// How many networks.
#[derive(Debug)]
struct Networks {
    bits: Box<[AtomicU64]>,
    set: AtomicU32,
}

impl Networks {
    fn new() -> Self {
        Self { bits: (0..BITS / 64).map(|_| AtomicU64::new(0)).collect(), set: AtomicU32::new(0) }
    }

    fn add(&self, net: u64) {
        let at = (net.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 48) as usize % BITS;
        let bit = 1u64 << (at % 64);
        let Some(word) = self.bits.get(at / 64).filter(|word| word.load(Ordering::Relaxed) & bit == 0) else { return };
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.set.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> u32 {
        let set = (self.set.load(Ordering::Relaxed) as usize).min(BITS - 1);
        (-(BITS as f64) * (1.0 - set as f64 / BITS as f64).ln()).round() as u32
    }

    fn clear(&self) {
        self.bits.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.set.store(0, Ordering::Relaxed);
    }
}

/// The valve.
#[derive(Debug)]
pub(crate) struct Valve {
    windows: [Window; 2],
    turn: AtomicU32,
    muted_at: AtomicU32,
    muted_until: [AtomicU32; 32],
    open_until: AtomicU32,
}

impl Valve {
    /// Networks of the last two windows, and how many of them were disturbed.
    #[cfg(feature = "proxy")]
    pub(crate) fn disturbed(&self, now: Tick) -> (u32, u32) {
        self.turn(now);
        self.counts()
    }

    fn counts(&self) -> (u32, u32) {
        let sum = |of: fn(&Window) -> &Networks| -> u32 { self.windows.iter().map(|window| of(window).count()).sum() };
        (sum(|w| &w.all), sum(|w| &w.disturbed))
    }

    pub(super) fn new() -> Self {
        Self {
            windows: [Window::new(), Window::new()],
            turn: AtomicU32::new(0),
            muted_at: AtomicU32::new(0),
            muted_until: std::array::from_fn(|_| AtomicU32::new(0)),
            open_until: AtomicU32::new(0),
        }
    }

    /// Is everything served?
    pub(crate) fn is_open(&self, now: Tick) -> bool {
        now.seconds() < self.open_until.load(Ordering::Relaxed)
    }

    /// The clock is read only if it was muted before.
    pub(crate) fn is_muted(&self, signal: Signal, now: impl FnOnce() -> Tick) -> bool {
        let until = bit(signal).and_then(|at| self.muted_until.get(at));
        let until = until.map_or(0, |until| until.load(Ordering::Relaxed));
        until > 0 && now().seconds() < until
    }

    /// A request of a session in good standing; `allowed`: the share of disturbed ones, in millionths.
    pub(crate) fn note(&self, net: u64, disturbed: bool, fired: &[Fired], allowed: u32, now: Tick) -> Option<Opened> {
        let turn = self.turn(now);
        let window = self.windows.get((turn % 2) as usize)?;
        window.all.add(net);
        if !disturbed {
            return None;
        }
        window.disturbed.add(net);
        for fired in fired {
            if let Some(points) = bit(fired.signal).and_then(|at| window.points.get(at)) {
                points.fetch_add(u32::from(fired.points), Ordering::Relaxed);
            }
        }
        let (all, of) = self.counts();
        let above = u64::from(of) * 1_000_000 > u64::from(all) * u64::from(allowed);
        if all < LEAST || of < LEAST_DISTURBED || !above || self.is_open(now) { None } else { self.open(now) }
    }

    fn open(&self, now: Tick) -> Option<Opened> {
        let (seconds, muted_at) = (now.seconds(), self.muted_at.load(Ordering::Relaxed));
        let since = seconds.saturating_sub(muted_at);
        if muted_at > 0 && since < PATIENCE {
            return None;
        }
        if muted_at > 0 && since < OPEN {
            self.open_until.store(seconds + OPEN, Ordering::Relaxed);
            return Some(Opened::Wide);
        }
        let carried = |at: usize| -> u32 {
            self.windows.iter().filter_map(|w| w.points.get(at)).map(|points| points.load(Ordering::Relaxed)).sum()
        };
        let mut signals: Vec<(u32, Signal)> = Signal::ALL
            .iter()
            .filter_map(|signal| Some((carried(bit(*signal)?), *signal)))
            .filter(|(points, _)| *points > 0)
            .collect();
        signals.sort_unstable_by(|a, b| b.cmp(a));
        signals.truncate(MOST);
        self.muted_at.store(seconds.max(1), Ordering::Relaxed);
        for (_, signal) in &signals {
            if let Some(until) = bit(*signal).and_then(|at| self.muted_until.get(at)) {
                until.store(seconds + OPEN, Ordering::Relaxed);
            }
        }
        // What was counted with them says nothing about what is left.
        self.windows.iter().for_each(Window::clear);
        Some(Opened::Muted(signals.into_iter().map(|(_, signal)| signal).collect()))
    }

    /// Whoever comes first in a window clears it.
    fn turn(&self, now: Tick) -> u32 {
        let turn = now.seconds() / WINDOW + 1;
        let seen = self.turn.load(Ordering::Relaxed);
        if seen != turn && self.turn.compare_exchange(seen, turn, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let stale = |index: u32| turn.wrapping_sub(seen) > 1 || index == turn % 2;
            (0u32..).zip(&self.windows).filter(|(index, _)| stale(*index)).for_each(|(_, window)| window.clear());
        }
        turn
    }
}

impl Window {
    fn new() -> Self {
        Self { all: Networks::new(), disturbed: Networks::new(), points: std::array::from_fn(|_| AtomicU32::new(0)) }
    }

    fn clear(&self) {
        [&self.all, &self.disturbed].into_iter().for_each(Networks::clear);
        self.points.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: [Fired; 2] =
        [Fired { signal: Signal::ArticleRun, points: 8 }, Fired { signal: Signal::ClaimFailed, points: 60 }];
    /// Half a percent.
    const ALLOWED: u32 = 5_000;

    fn net(i: u64) -> u64 {
        i.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
    }

    #[test]
    fn what_disturbs_readers_is_muted_and_then_everything_is_served() {
        let valve = Valve::new();
        let at = |seconds: u32| Tick(seconds * 16);
        (0..140).for_each(|i| assert_eq!(valve.note(net(i), false, &[], ALLOWED, at(10)), None));
        (5..7).for_each(|i| assert_eq!(valve.note(net(i), true, &RUN, ALLOWED, at(11)), None));
        let opened = valve.note(net(7), true, &RUN, ALLOWED, at(11));
        assert_eq!(opened, Some(Opened::Muted(vec![Signal::ArticleRun])), "a claim is never muted");
        assert!(valve.is_muted(Signal::ArticleRun, || at(12)) && !valve.is_muted(Signal::Breadth, || at(12)));
        (0..140).for_each(|i| assert_eq!(valve.note(net(i), true, &[], ALLOWED, at(60)), None, "patience"));
        assert_eq!(valve.note(net(7), true, &[], ALLOWED, at(140)), Some(Opened::Wide));
        assert!(valve.is_open(at(700)) && !valve.is_open(at(741)));
        assert!(!valve.is_muted(Signal::ArticleRun, || at(612)));
    }

    #[test]
    fn a_large_site_is_helped_as_a_small_one() {
        for networks in [1_000, 10_000, 100_000] {
            let mut random = fastrand::Rng::with_seed(networks);
            let nets: Vec<u64> = (0..networks).map(|_| random.u64(..)).collect();
            let valve = Valve::new();
            // Four pages of each in five minutes; of one in a hundred they are held up.
            let opened = (0..4 * networks).find_map(|_| {
                let at = random.u64(0..networks);
                valve.note(*nets.get(at as usize)?, at.is_multiple_of(100), &RUN, ALLOWED, Tick(16))
            });
            assert!(matches!(opened, Some(Opened::Muted(_))), "{networks}");
            let counted = Networks::new();
            nets.iter().chain(&nets).for_each(|net| counted.add(*net));
            assert!(u64::from(counted.count()).abs_diff(networks) * 50 <= networks, "{networks}: {}", counted.count());
        }
    }

    #[test]
    fn a_network_counts_once_and_few_mean_nothing() {
        let valve = Valve::new();
        (0..10_000).for_each(|_| assert_eq!(valve.note(net(1), true, &RUN, ALLOWED, Tick(16)), None));
        let valve = Valve::new();
        (0..1_000).for_each(|i| _ = valve.note(net(i), false, &[], ALLOWED, Tick(16)));
        // Two of nearly a thousand are fewer than half a percent, however often they ask.
        (0..1_000).for_each(|i| assert_eq!(valve.note(net(i % 2), true, &RUN, ALLOWED, Tick(32)), None));
    }
}
