//! Who is in good standing, and what that says about the signals themselves.
//!
//! Good standing needs history: a pass older than ten minutes, or three pages with assets over ten minutes. Those
//! sessions are readers, as far as anything is known; so
//! - if most of them fetch no asset here, assets live elsewhere, and their absence says nothing (`blind`);
//! - a signal that fires on more than 2 % of them is wrong for this site, and is muted.
//!
//! A network has one vote, so that nobody can talk a signal away from a single allocation.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::Tick;
use crate::suspicion::signals::{Group, Signal};

const VOTES: usize = 4_096;
/// Sessions before assets are believed to live elsewhere.
const LEAST_FOR_ASSETS: u32 = 20;
/// Sessions before a signal may be muted.
const LEAST_FOR_MUTE: u32 = 200;
const DAY: u32 = 86_400;

/// What the sessions in good standing have shown.
#[derive(Debug)]
pub(crate) struct Standings {
    /// Networks that have voted, by hash.
    votes: Box<[AtomicU64]>,
    sessions: AtomicU32,
    with_assets: AtomicU32,
    /// Sessions that a signal fired on, by [`bit`].
    fired: [AtomicU32; 32],
    muted: [AtomicBool; 32],
    day: AtomicU32,
}

/// The place of a signal that can be muted: those of headers and behaviour. Claims, traps and quotas never are.
pub(crate) fn bit(signal: Signal) -> Option<usize> {
    PLACES.get(signal as usize).copied().flatten().map(usize::from)
}

const fn is_mutable(signal: Signal) -> bool {
    let fixed = matches!(signal, Signal::TokenNetworks | Signal::AgentRotation);
    matches!(signal.group(), Group::Headers | Group::Behaviour) && !fixed
}

/// By signal: it is asked for with each one that fires.
static PLACES: [Option<u8>; Signal::ALL.len()] = {
    let mut places = [None; Signal::ALL.len()];
    let (mut at, mut next) = (0, 0);
    while at < places.len() {
        if is_mutable(Signal::ALL[at]) {
            places[at] = Some(next);
            next += 1;
        }
        at += 1;
    }
    places
};

impl Standings {
    pub(super) fn new() -> Self {
        Self {
            votes: (0..VOTES).map(|_| AtomicU64::new(0)).collect(),
            sessions: AtomicU32::new(0),
            with_assets: AtomicU32::new(0),
            fired: std::array::from_fn(|_| AtomicU32::new(0)),
            muted: std::array::from_fn(|_| AtomicBool::new(false)),
            day: AtomicU32::new(0),
        }
    }

    /// A session has come into good standing. `true`: it is counted, because its network had no vote yet.
    pub(crate) fn enter(&self, net: u64, with_assets: bool, now: Tick) -> bool {
        self.turn(now);
        let Some(vote) = self.votes.get((net % VOTES as u64) as usize) else { return false };
        if vote.swap(net.max(1), Ordering::Relaxed) == net.max(1) {
            return false;
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.with_assets.fetch_add(u32::from(with_assets), Ordering::Relaxed);
        true
    }

    /// Signals, by bit, that fired on a counted session for the first time. The ones that are muted by it are returned.
    pub(crate) fn fired(&self, bits: u32) -> impl Iterator<Item = Signal> {
        let all = self.sessions.load(Ordering::Relaxed);
        let mut newly = Vec::new();
        for (at, (fired, muted)) in self.fired.iter().zip(&self.muted).enumerate() {
            if bits & (1 << at) == 0 {
                continue;
            }
            let on = fired.fetch_add(1, Ordering::Relaxed) + 1;
            if all >= LEAST_FOR_MUTE && on * 50 > all && !muted.swap(true, Ordering::Relaxed) {
                newly.extend(Signal::ALL.iter().copied().find(|signal| bit(*signal) == Some(at)));
            }
        }
        newly.into_iter()
    }

    pub(crate) fn is_muted(&self, signal: Signal) -> bool {
        bit(signal).and_then(|at| self.muted.get(at)).is_some_and(|muted| muted.load(Ordering::Relaxed))
    }

    /// Assets live elsewhere: fewer than 60 % of the sessions in good standing fetched any here.
    pub(crate) fn blind(&self) -> bool {
        let all = self.sessions.load(Ordering::Relaxed);
        all >= LEAST_FOR_ASSETS && self.with_assets.load(Ordering::Relaxed) * 10 < all * 6
    }

    /// Counts are halved each day; a signal that was muted gets another try.
    fn turn(&self, now: Tick) {
        let day = now.seconds() / DAY;
        let seen = self.day.load(Ordering::Relaxed);
        if seen == day || self.day.compare_exchange(seen, day, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        for count in self.fired.iter().chain([&self.sessions, &self.with_assets]) {
            count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
        self.muted.iter().for_each(|muted| muted.store(false, Ordering::Relaxed));
        self.votes.iter().for_each(|vote| vote.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutable_signal_has_a_place() {
        let places: Vec<usize> = Signal::ALL.iter().filter_map(|signal| bit(*signal)).collect();
        assert_eq!(places, (0..places.len()).collect::<Vec<_>>());
        assert!(places.len() <= 32 && bit(Signal::ClaimFailed).is_none() && bit(Signal::HoneyLink).is_none());
        // A signal is at its own place, and those that may be muted are the ones of two groups.
        let mutable = Signal::ALL.iter().filter(|signal| is_mutable(**signal));
        assert_eq!(mutable.clone().position(|signal| *signal == Signal::SeqIds), bit(Signal::SeqIds));
        assert_eq!(mutable.count(), places.len());
    }

    #[test]
    fn a_signal_that_fires_on_readers_is_muted_for_the_day() {
        let standings = Standings::new();
        let run = 1 << bit(Signal::ArticleRun).unwrap();
        for net in 1..=199u64 {
            assert!(standings.enter(net, true, Tick(0)));
        }
        for _ in 0..10 {
            assert_eq!(standings.fired(run).count(), 0, "too few to tell");
        }
        standings.enter(200, true, Tick(0));
        assert_eq!(standings.fired(run).collect::<Vec<_>>(), [Signal::ArticleRun]);
        assert!(standings.is_muted(Signal::ArticleRun) && !standings.is_muted(Signal::Breadth));
        standings.enter(201, true, Tick(DAY * 16));
        assert!(!standings.is_muted(Signal::ArticleRun));
    }

    #[test]
    fn a_network_has_one_vote() {
        let standings = Standings::new();
        assert_eq!((0..100).filter(|_| standings.enter(7, false, Tick(0))).count(), 1);
        assert!(!standings.blind());
        (8..30u64).for_each(|net| _ = standings.enter(net, false, Tick(0)));
        assert!(standings.blind());
        (30..70u64).for_each(|net| _ = standings.enter(net, true, Tick(0)));
        assert!(!standings.blind());
    }
}
