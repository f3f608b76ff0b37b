//! The quotas that refuse.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use serde::{Deserialize, Serialize};

use super::{ActionError, LimitReport};
use crate::clock::LimiterClock;
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Limiter, Quota, SoftQuotas, State, limiter};

/// The dearest page costs this many cells.
const DEAREST: u32 = 3;
/// The name of the quota that action `limit` leaves.
pub(super) const TRICKLE: &str = "limited";
/// An address may take so many times what one visitor may.
const ADDRESS_WIDTH: u32 = 16;
/// `Retry-After` of a refusal by score: at least and at most, in seconds.
const WAIT: std::ops::RangeInclusive<u64> = 10..=600;

/// Section `[action.limits]`: `{ every = duration, burst = cells }` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Pages; a refusal is a signal only.
    pub page_soft: Quota,
    /// Pages over an hour; a refusal is a signal only.
    pub page_hour: Quota,
    /// Pages, whatever the score: 429.
    pub page_hard: Quota,
    /// Every request: 429.
    pub all_hard: Quota,
    /// Pages of a robot that is what it says, wherever it asks from; instead of `page_hard`.
    pub agent: Quota,
    /// Pages while the action is `limit`: 429.
    pub limited: Quota,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            page_soft: Quota::new(3_000, 30),
            page_hour: Quota::new(12_000, 150),
            page_hard: Quota::new(500, 120),
            all_hard: Quota::new(10, 4_000),
            agent: Quota::new(100, 600),
            limited: Quota::new(20_000, 2),
        }
    }
}

impl LimitSettings {
    /// The two quotas whose refusals are signals.
    pub fn soft(&self) -> SoftQuotas {
        SoftQuotas { page_soft: self.page_soft, page_hour: self.page_hour }
    }

    pub(super) fn check(&self) -> Result<(), ActionError> {
        let all = [
            ("page_soft", self.page_soft, DEAREST),
            ("page_hour", self.page_hour, DEAREST),
            ("page_hard", self.page_hard, 1),
            ("all_hard", self.all_hard, 1),
            ("agent", self.agent, 1),
            ("limited", self.limited, 1),
        ];
        for (name, quota, least) in all {
            if quota.every.0.is_zero() {
                return Err(ActionError::Every { name, every: quota.every });
            }
            if quota.burst.get() < least {
                return Err(ActionError::Burst { name, burst: quota.burst.get(), least });
            }
        }
        Ok(())
    }
}

/// The limiters of one site.
#[derive(Debug)]
pub(super) struct Limits {
    settings: LimitSettings,
    page_hard: Limiter,
    all_hard: Limiter,
    limited: Limiter,
    agent: Limiter,
    /// All that one address may take, however many visitors share it: 16 times the pages of one.
    page_address: Limiter,
    clock: LimiterClock,
}

impl Limits {
    pub(super) fn new(state: &State, settings: &LimitSettings) -> Self {
        Self {
            settings: *settings,
            page_hard: limiter(state, settings.page_hard, 2),
            all_hard: limiter(state, settings.all_hard, 5),
            limited: limiter(state, settings.limited, 10),
            agent: limiter(state, settings.agent, 6),
            page_address: limiter(state, widened(settings.page_hard), 12),
            clock: LimiterClock(state.clock().clone()),
        }
    }

    /// The hard quotas: refused or not, whatever the score.
    pub(super) fn hard(&self, client: CellKey, address: CellKey, page: bool) -> Option<LimitReport> {
        let refused = |limiter: &Limiter, key, name, quota| {
            self.ask(limiter, key).map(|wait| report(name, quota, Some(seconds(wait).max(1))))
        };
        let (all, pages) = (self.settings.all_hard, self.settings.page_hard);
        refused(&self.all_hard, client, "all_hard", all)
            .or_else(|| page.then(|| refused(&self.page_hard, client, "page_hard", pages)).flatten())
            .or_else(|| page.then(|| refused(&self.page_address, address, "page_hard", pages)).flatten())
    }

    /// The quota of a robot that is what it says.
    pub(super) fn agent(&self, agent: CellKey) -> Option<LimitReport> {
        let wait = self.ask(&self.agent, agent)?;
        Some(report("agent", self.settings.agent, Some(seconds(wait).max(1))))
    }

    /// The trickle of action `limit`.
    pub(super) fn trickle(&self, client: CellKey) -> LimitReport {
        let wait = self.ask(&self.limited, client).map(|wait| seconds(wait).clamp(*WAIT.start(), *WAIT.end()));
        report(TRICKLE, self.settings.limited, wait)
    }

    /// The time to wait, if one cell is not to be had.
    fn ask(&self, limiter: &Limiter, client: CellKey) -> Option<Duration> {
        match limiter.check_key_n(&client, NonZeroU32::MIN) {
            Ok(Err(not_until)) => Some(not_until.wait_time_from(self.clock.now())),
            // `Err` would mean that one cell is more than the burst, which is at least one.
            Ok(Ok(())) | Err(_) => None,
        }
    }
}

fn report(name: &'static str, quota: Quota, retry_after: Option<u64>) -> LimitReport {
    let window = quota.every.0.saturating_mul(quota.burst.get()).as_millis().div_ceil(1_000) as u64;
    LimitReport { name, retry_after, size: (quota.burst.get(), window.max(1)) }
}

fn widened(quota: Quota) -> Quota {
    let every = crate::unit::Span(quota.every.0 / ADDRESS_WIDTH);
    Quota { every, burst: quota.burst.saturating_mul(NonZeroU32::MIN.saturating_add(ADDRESS_WIDTH - 1)) }
}

fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::unit::Span;

    #[test]
    fn the_hard_quota_refuses_after_its_burst_and_says_when() {
        let clock = ManualClock::at(0);
        clock.advance(Duration::from_secs(1));
        let state = Arc::new(State::new(clock.clone()));
        let limits = Limits::new(&state, &LimitSettings::default());
        let key = CellKey(0x1234_5678_9ABC_DEF0);
        let admitted = (0..200).take_while(|_| limits.hard(key, key, true).is_none()).count();
        assert_eq!(admitted, 120);
        assert_eq!(
            limits.hard(key, key, true),
            Some(LimitReport { name: "page_hard", retry_after: Some(1), size: (120, 60) })
        );
        assert_eq!(limits.hard(key, key, false), None, "assets go on");
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.hard(key, key, true), None);
    }

    #[test]
    fn the_trickle_is_two_pages_and_then_one_in_twenty_seconds() {
        let clock = ManualClock::at(0);
        clock.advance(Duration::from_secs(1));
        let limits = Limits::new(&State::new(clock.clone()), &LimitSettings::default());
        let key = CellKey(99 << 40);
        let ask = || limits.trickle(key).retry_after;
        assert_eq!((ask(), ask(), ask()), (None, None, Some(20)));
        clock.advance(Duration::from_secs(21));
        assert_eq!((ask(), ask()), (None, Some(19)));
    }

    #[test]
    fn bad_quotas_are_refused() {
        let bad = LimitSettings { page_soft: Quota::new(3_000, 2), ..LimitSettings::default() };
        assert!(bad.check().unwrap_err().to_string().contains("page_soft"));
        let zero = Quota { every: Span::seconds(0), burst: NonZeroU32::MIN };
        assert!(LimitSettings { all_hard: zero, ..LimitSettings::default() }.check().is_err());
        assert!(LimitSettings::default().check().is_ok());
    }
}
