//! The quotas that refuse.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use serde::{Deserialize, Serialize};

use super::{ActionError, LimitReport};
use crate::clock::LimiterClock;
use crate::suspicion::cells::{CellKey, SharedCells};
use crate::suspicion::{Debit, Limiter, Quota, SoftQuotas, State, Widened, Width, limiter};

/// The dearest page costs this many cells.
const DEAREST: u32 = 3;
/// The name of the quota that action `limit` leaves.
pub(super) const TRICKLE: &str = "limited";
/// Pages of filler that go out in all: 64 KiB a second.
const DECOY: Quota = Quota::new(63, 16);
/// What an agent may take that cannot be checked, from one network: a page a second, 60 at once.
const CLAIMED: Quota = Quota::new(1_000, 60);
/// One cell of `content_bulk`, in bytes.
const BULK: u64 = 8 << 10;
const MOST_BULK: u32 = 1_800;
const CONTENT_BULK: u64 = 111;
const LIMITED: u64 = 104;
const AGENT: u64 = 105;
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
    /// Pages of an IPv4 /24 or IPv6 /56; a refusal is a signal only.
    pub net_page: Quota,
    /// Pages of an IPv6 /48; a refusal is a signal only.
    pub wide_page: Quota,
    /// Prefetches that do not count as pages.
    pub prefetch: Quota,
    /// Pages, whatever the score: 429.
    pub page_hard: Quota,
    /// Pages of newcomers at an address that others share, once `page_hard` or `all_hard` is used up: 429.
    pub newcomer: Quota,
    /// Every request: 429.
    pub all_hard: Quota,
    /// Pages of a robot that is what it says, wherever it asks from; instead of `page_hard`.
    pub agent: Quota,
    /// Pages while the action is `limit`: 429.
    pub limited: Quota,
    /// Pages of link previews: 429.
    pub preview: Quota,
    /// Started 8 KiB of feeds and data for programs, from who does not behave like a browser: 429.
    pub content_bulk: Quota,
    /// Challenges; beyond it the action is `limit`.
    pub challenge: Quota,
    /// Pages of those for whom challenges lead nowhere: 429.
    pub breaker: Quota,
    /// How many times as much an address may take that one, three or twelve people share.
    pub widths: [u32; 3],
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            page_soft: Quota::new(3_000, 30),
            page_hour: Quota::new(12_000, 150),
            net_page: Quota::new(200, 600),
            wide_page: Quota::new(100, 1_200),
            prefetch: Quota::new(6_000, 10),
            page_hard: Quota::new(500, 120),
            newcomer: Quota::new(2_000, 60),
            all_hard: Quota::new(10, 4_000),
            agent: Quota::new(100, 600),
            limited: Quota::new(20_000, 2),
            preview: Quota::new(10_000, 12),
            content_bulk: Quota::new(2_000, 120),
            challenge: Quota::new(20_000, 6),
            breaker: Quota::new(10_000, 6),
            widths: [1, 4, 16],
        }
    }
}

impl LimitSettings {
    /// The quotas whose refusals are signals.
    pub fn soft(&self) -> SoftQuotas {
        SoftQuotas {
            page_soft: self.page_soft,
            page_hour: self.page_hour,
            net_page: self.net_page,
            wide_page: self.wide_page,
            prefetch: self.prefetch,
            widths: self.widths,
        }
    }

    pub(super) fn check(&self) -> Result<(), ActionError> {
        let all = [
            ("page_soft", self.page_soft, DEAREST),
            ("page_hour", self.page_hour, DEAREST),
            ("net_page", self.net_page, 1),
            ("wide_page", self.wide_page, 1),
            ("prefetch", self.prefetch, 1),
            ("page_hard", self.page_hard, 1),
            ("newcomer", self.newcomer, 1),
            ("all_hard", self.all_hard, 1),
            ("agent", self.agent, 1),
            ("limited", self.limited, 1),
            ("preview", self.preview, 1),
            ("content_bulk", self.content_bulk, 1),
            ("challenge", self.challenge, 1),
            ("breaker", self.breaker, 1),
        ];
        for (name, quota, least) in all {
            if quota.every.0.is_zero() {
                return Err(ActionError::Every { name, every: quota.every });
            }
            if quota.burst.get() < least {
                return Err(ActionError::Burst { name, burst: quota.burst.get(), least });
            }
        }
        if self.widths[0] != 1 || !self.widths.is_sorted() || self.widths[2] > 1_000 {
            return Err(ActionError::Widths { widths: self.widths });
        }
        Ok(())
    }
}

/// Who asks for a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) key: CellKey,
    pub(super) address: CellKey,
    pub(super) width: Width,
    pub(super) address_width: Width,
    /// Others who are proven share its limits.
    pub(super) shared: bool,
}

/// The limiters of one site.
#[derive(Debug)]
pub(super) struct Limits {
    settings: LimitSettings,
    page_hard: Widened,
    all_hard: Widened,
    newcomer: Limiter,
    limited: Limiter,
    agent: Limiter,
    claimed: Limiter,
    preview: Limiter,
    content_bulk: Limiter,
    bulk_cells: SharedCells,
    challenge: Limiter,
    decoy: Limiter,
    breaker: Limiter,
    /// All that one address may take, by the people behind it, whoever has a quota of his own.
    page_address: Widened,
    clock: LimiterClock,
}

impl Limits {
    pub(super) fn new(state: &State, settings: &LimitSettings) -> Self {
        Self {
            settings: *settings,
            page_hard: Widened::new(state, settings.page_hard, settings.widths, 2),
            all_hard: Widened::new(state, settings.all_hard, settings.widths, 3),
            newcomer: limiter(state, settings.newcomer, 103),
            limited: limiter(state, settings.limited, LIMITED),
            agent: limiter(state, settings.agent, AGENT),
            claimed: limiter(state, CLAIMED, 106),
            preview: limiter(state, settings.preview, 107),
            content_bulk: limiter(state, settings.content_bulk, CONTENT_BULK),
            bulk_cells: SharedCells::new(state.cells().clone(), CONTENT_BULK, Duration::ZERO),
            challenge: limiter(state, settings.challenge, 108),
            decoy: limiter(state, DECOY, 112),
            breaker: limiter(state, settings.breaker, 109),
            page_address: Widened::new(state, settings.page_hard, settings.widths, 4),
            clock: LimiterClock(state.clock().clone()),
        }
    }

    /// The hard quotas: refused or not, whatever the score. Newcomers among people have a small one of their own, so that
    /// nobody can lock them out of a shared address.
    pub(super) fn hard(&self, client: Client, page: bool) -> Option<LimitReport> {
        let all = || self.refuses(self.all_hard.of(client.width), client.key, "all_hard", self.settings.all_hard);
        let pages = || self.refuses(self.page_hard.of(client.width), client.key, "page_hard", self.settings.page_hard);
        // Whoever is counted by the address has been asked already; a neighbour shall not pay for that.
        let own = client.key != client.address;
        let address = || {
            self.refuses(
                self.page_address.of(client.address_width),
                client.address,
                "page_hard",
                self.settings.page_hard,
            )
        };
        let refused = all().or_else(|| page.then(pages).flatten()).or_else(|| (page && own).then(address).flatten())?;
        if client.shared && page {
            return self.refuses(&self.newcomer, client.address, "newcomer", self.settings.newcomer);
        }
        Some(refused)
    }

    /// The quota of a robot that is what it says.
    pub(super) fn agent(&self, agent: CellKey) -> Option<LimitReport> {
        self.refuses(&self.agent, agent, "agent", self.settings.agent)
    }

    /// The quota of whoever says so from one network.
    pub(super) fn claimed_agent(&self, agent: CellKey) -> Option<LimitReport> {
        self.refuses(&self.claimed, agent, "agent", CLAIMED)
    }

    /// A page was let through.
    pub(super) fn page_debit(&self, client: Client) -> Debit {
        self.page_hard.debit("page_hard", client.width, client.key, NonZeroU32::MIN)
    }

    /// So was one of the trickle.
    pub(super) fn trickle_debit(&self, client: CellKey) -> Debit {
        Debit::new(TRICKLE, self.settings.limited, NonZeroU32::MIN, SharedCells::cell(LIMITED, client))
    }

    /// And one of a robot that is what it says.
    pub(super) fn agent_debit(&self, agent: CellKey) -> Debit {
        Debit::new("agent", self.settings.agent, NonZeroU32::MIN, SharedCells::cell(AGENT, agent))
    }

    /// The hard quota, as another process has refused it.
    pub(super) fn page_report(&self, seconds: u64) -> LimitReport {
        report("page_hard", self.settings.page_hard, Some(seconds))
    }

    pub(super) fn preview(&self, client: CellKey) -> Option<LimitReport> {
        self.refuses(&self.preview, client, "preview", self.settings.preview)
    }

    /// Is there anything left for feeds and data?
    pub(super) fn content_bulk(&self, client: CellKey) -> Option<LimitReport> {
        self.refuses(&self.content_bulk, client, "content_bulk", self.settings.content_bulk)
    }

    /// So many bytes of feeds and data went out; one cell was paid when they were asked for.
    pub(super) fn charge_bulk(&self, client: CellKey, now: Duration, bytes: u64) {
        let cells = u32::try_from(bytes.div_ceil(BULK)).unwrap_or(u32::MAX).saturating_sub(1);
        // A debt ends: an hour at most, whatever the answers held.
        if cells > 0 {
            self.bulk_cells.debit(client, now, self.settings.content_bulk.every.0, cells, MOST_BULK);
        }
    }

    /// May another challenge be issued?
    pub(super) fn may_challenge(&self, client: CellKey) -> bool {
        self.ask(&self.challenge, client).is_none()
    }

    /// May another page of filler go out, to anybody?
    pub(super) fn may_deceive(&self) -> bool {
        self.ask(&self.decoy, CellKey(0)).is_none()
    }

    /// The lane of those for whom challenges lead nowhere.
    pub(super) fn breaker(&self, client: CellKey) -> Option<LimitReport> {
        self.refuses(&self.breaker, client, "breaker", self.settings.breaker)
    }

    fn refuses(&self, limiter: &Limiter, key: CellKey, name: &'static str, quota: Quota) -> Option<LimitReport> {
        self.ask(limiter, key).map(|wait| report(name, quota, Some(seconds(wait).max(1))))
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
        let client = Client { key, address: key, width: Width::One, address_width: Width::One, shared: false };
        let admitted = (0..200).take_while(|_| limits.hard(client, true).is_none()).count();
        assert_eq!(admitted, 120);
        assert_eq!(
            limits.hard(client, true),
            Some(LimitReport { name: "page_hard", retry_after: Some(1), size: (120, 60) })
        );
        assert_eq!(limits.hard(client, false), None, "assets go on");
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.hard(client, true), None);
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
