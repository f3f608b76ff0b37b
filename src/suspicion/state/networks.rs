//! Records of networks, for what many addresses of one allocation do together.
//!
//! A scraper that takes a new address for each request is one visitor all the same. If, within ten minutes, many
//! addresses of one network ask for pages and hardly any of them for an asset, the network *collapses* for an hour: its
//! members without assets and without a pass are treated as one. A carrier's network full of browsers fetches assets,
//! and never collapses.

use super::sets::{Entry, Sets};
use super::{Tick, distinct};
use crate::suspicion::cells::CellKey;

/// Seconds of one window.
const WINDOW: u32 = 600;
const HOUR: u32 = 3_600;
/// Seconds for the assets of a page to follow.
const ASSETS_FOLLOW: u32 = 10;
/// Offenders that make a neighbourhood.
const OFFENDERS: u32 = 5;

/// What is remembered about one network. 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct NetRecord {
    tag: u64,
    /// Bits of the members that asked for pages in this window.
    members: [u64; 2],
    /// Bits of the offenders of this hour.
    offenders: u64,
    window: Tick,
    offenders_since: Tick,
    collapsed_until: Tick,
    last_seen: Tick,
    /// Pages whose assets have had the time to follow.
    pages: u16,
    with_assets: u16,
    /// Pages since `pending_since`.
    pending: u16,
    reserved: [u8; 6],
    pending_since: Tick,
}

/// The kind of a network: how many members make a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// IPv4 /24.
    V4,
    /// IPv6 /56.
    V6,
    /// IPv6 /48.
    Wide,
}

impl Crowd {
    fn members(self) -> f32 {
        match self {
            Self::V4 => 32.0,
            Self::V6 => 16.0,
            Self::Wide => 64.0,
        }
    }
}

/// What the network says about its member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Neighbourhood {
    pub(crate) collapsed: bool,
    pub(crate) offenders: bool,
}

/// One page of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) member: u64,
    pub(crate) page: bool,
    /// Somebody who has fetched assets before.
    pub(crate) with_assets: bool,
    pub(crate) crowd: Crowd,
}

impl NetRecord {
    fn step(&mut self, step: Step, now: Tick) -> Neighbourhood {
        if now.seconds_since(self.window) >= WINDOW {
            *self = Self { window: now, members: [0; 2], pages: 0, with_assets: 0, pending: 0, ..*self };
        }
        if now.seconds_since(self.pending_since) >= ASSETS_FOLLOW {
            self.pages = self.pages.saturating_add(self.pending);
            (self.pending, self.pending_since) = (0, now);
        }
        if now.seconds_since(self.offenders_since) >= HOUR {
            self.offenders_since = now;
            self.offenders = 0;
        }
        if step.page {
            distinct::mark(&mut self.members, step.member);
            self.pending = self.pending.saturating_add(1);
            self.with_assets = self.with_assets.saturating_add(u16::from(step.with_assets));
            if self.is_one(step.crowd) {
                self.collapsed_until = now.plus_seconds(HOUR);
            }
        }
        self.last_seen = now;
        Neighbourhood { collapsed: now < self.collapsed_until, offenders: self.offenders.count_ones() >= OFFENDERS }
    }

    /// Many members, each with hardly a page, and next to nobody with assets.
    fn is_one(&self, crowd: Crowd) -> bool {
        if u32::from(self.with_assets) * 20 >= u32::from(self.pages) {
            return false;
        }
        let members = distinct::estimate(&self.members);
        members >= crowd.members() && f32::from(self.pages) * 2.0 >= members
    }
}

impl Entry for NetRecord {
    fn tag(&self) -> u64 {
        self.tag
    }

    fn last_seen(&self) -> Tick {
        self.last_seen
    }

    fn begin(tag: u64, now: Tick) -> Self {
        Self { tag, window: now, offenders_since: now, last_seen: now, ..Self::default() }
    }
}

/// The table.
pub(super) struct Networks(Sets<NetRecord>);

impl Networks {
    pub(super) fn new(sets: usize) -> Self {
        Self(Sets::new(sets))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Notes a request. A busy set says nothing.
    pub(super) fn step(&self, key: CellKey, now: Tick, step: Step) -> Neighbourhood {
        self.0.with(key, now, |record| record.step(step, now)).unwrap_or_default()
    }

    /// A member has fetched its first asset: its pages were those of a browser.
    pub(super) fn credit(&self, key: CellKey, now: Tick, pages: u16) {
        self.0.with(key, now, |record| record.with_assets = record.with_assets.saturating_add(pages));
    }

    /// A member has become an offender.
    pub(super) fn note_offender(&self, key: CellKey, now: Tick, member: u64) {
        self.0.with(key, now, |record| record.offenders |= 1 << (member % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crawl(crowd: Crowd, members: u64, with_assets: bool) -> Neighbourhood {
        let networks = Networks::new(4);
        let mut last = Neighbourhood::default();
        for i in 0..members {
            let member = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let step = Step { member: member >> 7, page: true, with_assets, crowd };
            last = networks.step(CellKey(7), Tick(i as u32 * 16), step);
        }
        last
    }

    #[test]
    fn many_members_without_assets_are_one() {
        assert_eq!(size_of::<NetRecord>(), 64);
        for (crowd, few, many) in [(Crowd::V4, 24, 80), (Crowd::V6, 10, 40), (Crowd::Wide, 48, 160)] {
            assert!(!crawl(crowd, few, false).collapsed, "{crowd:?}");
            assert!(crawl(crowd, many, false).collapsed, "{crowd:?}");
            assert!(!crawl(crowd, many, true).collapsed, "{crowd:?}: browsers");
        }
    }

    #[test]
    fn a_collapse_ends_after_an_hour_of_peace() {
        let networks = Networks::new(4);
        let page = |member: u64, at| {
            let member = member.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
            let step = Step { member, page: true, with_assets: false, crowd: Crowd::V6 };
            networks.step(CellKey(7), Tick(at), step).collapsed
        };
        assert!((0..60).fold(false, |_, member| page(member, member as u32 * 16)));
        assert!(page(1, 3_500 * 16));
        assert!(!page(1, 3_700 * 16));
    }

    #[test]
    fn a_crowd_of_readers_that_comes_at_once_is_none() {
        let networks = Networks::new(4);
        let page = |member: u64, at| {
            let member = member.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
            let step = Step { member, page: true, with_assets: false, crowd: Crowd::V4 };
            networks.step(CellKey(7), Tick(at), step).collapsed
        };
        // A push message: 60 first pages within seconds, and their assets behind them.
        assert!(!(0..60).any(|member| page(member, 16 + member as u32)));
        (0..60).for_each(|_| networks.credit(CellKey(7), Tick(90), 1));
        assert!(!(0..60).any(|member| page(member, 400 + member as u32)));
    }

    #[test]
    fn five_offenders_make_a_neighbourhood() {
        let networks = Networks::new(4);
        let step = Step { member: 1, page: true, with_assets: false, crowd: Crowd::V4 };
        for member in 0..5 {
            assert!(!networks.step(CellKey(7), Tick(0), step).offenders);
            networks.note_offender(CellKey(7), Tick(0), member);
        }
        assert!(networks.step(CellKey(7), Tick(0), step).offenders);
        assert!(!networks.step(CellKey(7), Tick(3_600 * 16), step).offenders, "for an hour");
    }
}
