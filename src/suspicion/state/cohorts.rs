//! Cohorts: clients of one make, on whatever addresses.
//!
//! A scraper that spreads over many homes looks like one slow reader at each of them. What its members have in common is
//! the make: the same names of header fields, the same `User-Agent`, the same languages. A make says nothing about anybody
//! who has it (thousands of readers have the same), so that a cohort is only ever *observed*: it counts something against
//! a member that has shown no sign of a browser itself, and a make of which one in twenty does is never a cohort.

use super::sets::{Entry, Sets};
use super::{Tick, distinct};
use crate::suspicion::cells::CellKey;

/// Seconds of one window, and for which an alarm holds.
const HOUR: u32 = 3_600;
/// Seconds for the assets of a page to follow.
const ASSETS_FOLLOW: u32 = 10;
/// Addresses and pages that make a cohort, and pages of one address at most.
const ADDRESSES: f32 = 50.0;
const PAGES: u16 = 300;
const PAGES_EACH: f32 = 2.0;
/// One page in so many with assets is too many.
const WITH_ASSETS: u32 = 20;
/// Share of the pages that are different ones, and how many the bits can tell apart.
const DIFFERENT: f32 = 0.8;
const TELLABLE: u16 = 500;

/// What is remembered about one make. 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct CohortRecord {
    tag: u64,
    /// Bits of the addresses, and of the pages, of this hour.
    addresses: [u64; 2],
    paths: [u64; 2],
    window: Tick,
    pending_since: Tick,
    alarmed_until: Tick,
    last_seen: Tick,
    /// Pages whose assets have had the time to follow.
    pages: u16,
    with_assets: u16,
    /// Pages since `pending_since`.
    pending: u16,
    reserved: u16,
}

/// One page of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CohortStep {
    pub(crate) address: u64,
    pub(crate) path: u64,
    /// Somebody who has fetched assets before.
    pub(crate) with_assets: bool,
}

/// What a make says about its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    None,
    /// It has just become one.
    Raised {
        addresses: u32,
        pages: u16,
    },
    Standing,
}

impl Entry for CohortRecord {
    fn tag(&self) -> u64 {
        self.tag
    }

    fn last_seen(&self) -> Tick {
        self.last_seen
    }

    fn begin(tag: u64, now: Tick) -> Self {
        Self { tag, window: now, pending_since: now, last_seen: now, ..Self::default() }
    }
}

impl CohortRecord {
    fn step(&mut self, step: CohortStep, now: Tick) -> Alarm {
        if now.seconds_since(self.window) >= HOUR {
            let alarmed_until = self.alarmed_until;
            *self = Self { alarmed_until, ..Self::begin(self.tag, now) };
        }
        if now.seconds_since(self.pending_since) >= ASSETS_FOLLOW {
            self.pages = self.pages.saturating_add(self.pending);
            (self.pending, self.pending_since) = (0, now);
        }
        self.last_seen = now;
        self.pending = self.pending.saturating_add(1);
        self.with_assets = self.with_assets.saturating_add(u16::from(step.with_assets));
        distinct::mark(&mut self.addresses, step.address);
        distinct::mark(&mut self.paths, step.path);
        if now < self.alarmed_until {
            return Alarm::Standing;
        }
        let addresses = distinct::estimate(&self.addresses);
        if !self.is_one(addresses) {
            return Alarm::None;
        }
        self.alarmed_until = now.plus_seconds(HOUR);
        Alarm::Raised { addresses: addresses as u32, pages: self.pages }
    }

    /// Many addresses, a page or two each, hardly two the same, and next to nobody with assets.
    fn is_one(&self, addresses: f32) -> bool {
        self.pages >= PAGES
            && addresses >= ADDRESSES
            && f32::from(self.pages) <= addresses * PAGES_EACH
            && u32::from(self.with_assets) * WITH_ASSETS < u32::from(self.pages)
            && distinct::estimate(&self.paths) >= f32::from(self.pages.min(TELLABLE)) * DIFFERENT
    }
}

/// The table.
pub(super) struct Cohorts(Sets<CohortRecord>);

impl Cohorts {
    pub(super) fn new(sets: usize) -> Self {
        Self(Sets::new(sets))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Notes a page. A busy set says nothing.
    pub(super) fn step(&self, make: CellKey, now: Tick, step: CohortStep) -> Alarm {
        self.0.with(make, now, |record| record.step(step, now)).unwrap_or(Alarm::None)
    }

    /// A member has fetched its first asset: its pages were those of a browser.
    pub(super) fn credit(&self, make: CellKey, now: Tick, pages: u16) {
        self.0.with(make, now, |record| record.with_assets = record.with_assets.saturating_add(pages));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As good as that of the tables.
    fn hash(number: u64) -> u64 {
        fastrand::Rng::with_seed(number).u64(..)
    }

    /// Pages of so many addresses in turn, two a second: is there an alarm, and after how many pages?
    fn alarm(addresses: u64, pages: u64, paths: u64, assets: impl Fn(u64) -> bool) -> Option<u64> {
        let cohorts = Cohorts::new(4);
        (0..pages).find(|n| {
            let step =
                CohortStep { address: hash(n % addresses), path: hash(n % paths + 1_000_000), with_assets: assets(*n) };
            cohorts.step(CellKey(7), Tick(*n as u32 * 8), step) != Alarm::None
        })
    }

    #[test]
    fn many_homes_of_one_make_are_a_cohort() {
        assert_eq!(size_of::<CohortRecord>(), 64);
        let after = alarm(200, 1_000, 100_000, |_| false).expect("200 homes that take a page each again and again");
        assert!((300..=330).contains(&after), "{after}");
        assert!(alarm(2_000, 1_000, 100_000, |_| false).is_some());
    }

    #[test]
    fn what_readers_do_is_none() {
        let nobody = |_| false;
        for (what, found) in [
            ("few addresses", alarm(40, 3_000, 100_000, nobody)),
            ("many pages each", alarm(100, 3_000, 100_000, nobody)),
            ("all read the same", alarm(2_000, 3_000, 50, nobody)),
            ("one in fifteen has assets", alarm(2_000, 3_000, 100_000, |n| n % 15 == 0)),
            ("too few pages", alarm(200, 299, 100_000, nobody)),
        ] {
            assert_eq!(found, None, "{what}");
        }
    }

    #[test]
    fn a_push_message_brings_a_crowd_and_its_assets_follow() {
        let cohorts = Cohorts::new(4);
        let step = |n: u64, at: u32| {
            let step = CohortStep { address: hash(n), path: hash(n + 1_000_000), with_assets: false };
            cohorts.step(CellKey(7), Tick(at), step)
        };
        assert!((0..400).all(|n| step(n, n as u32 / 4) == Alarm::None), "within ten seconds nobody can tell");
        (0..400).for_each(|_| cohorts.credit(CellKey(7), Tick(120), 1));
        assert!((400..800).all(|n| step(n, 400 + n as u32) == Alarm::None));
    }

    #[test]
    fn an_alarm_ends_after_an_hour_of_peace() {
        let cohorts = Cohorts::new(4);
        let step = |n: u64, at: u32| {
            let step = CohortStep { address: hash(n), path: hash(n + 1_000_000), with_assets: false };
            cohorts.step(CellKey(7), Tick(at), step)
        };
        let raised = (0..400).map(|n| step(n, n as u32 * 8)).find(|alarm| *alarm != Alarm::None);
        assert!(matches!(raised, Some(Alarm::Raised { addresses: 200..=400, pages: 300..=320 })), "{raised:?}");
        assert_eq!(step(1, 3_600 * 16), Alarm::Standing);
        assert_eq!(step(1, 3_800 * 16), Alarm::None);
    }
}
