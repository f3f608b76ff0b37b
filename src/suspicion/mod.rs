//! **How sure**: evidence to a score from 0 to 100.
//!
//! [`AssessLayer`] looks at the [`Visitor`] and at what is remembered about it ([`State`], fixed
//! tables), and puts an [`Assessment`] into the request's extensions. It refuses nothing.
//!
//! 1. *Claim*: what the `User-Agent` says. *Headers*: what contradicts it.
//! 2. *Network*: a data centre, offenders next door, a network whose quota is used up.
//! 3. *Rate*: pages cost 1, 2 or 3 cells at a last score below 20, below 40, and above; each refusal of the two soft
//!    quotas adds points that fade with a half-life of five minutes.
//! 4. *Behaviour*: a browser that fetches no assets, articles in a row, equal gaps and so on.
//! 5. *Traps*, and *credit* for what a reader does.
//! 6. The [`score`] is made of the points of these groups, each capped; six lower bounds make it a bucket.
//!
//! Claim, headers, behaviour and traps belong to a sub-identity (address and three headers), so that one script behind a
//! shared address does not taint its neighbours; network to the address; rate to the client, which is the pass of who
//! has one, the sub-identity if it is *proven* (it fetches what browsers fetch), and else the address.
//!
//! # Deployment caveat
//! State is per process, unless it is [`shared`], and lost at a restart. A patient scraper with a real browser at reader speed looks like a
//! reader; the marks are the answer to that one.

mod address;
mod assess;
pub(crate) mod cells;
mod cohort;
mod conduct;
mod headers;
mod judge;
mod lesson;
mod page;
mod price;
mod probe;
#[cfg(feature = "proxy")]
mod replay;
pub mod score;
pub mod shared;
pub mod signals;
mod state;
mod token;
mod width;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use assess::{Assess, AssessLayer, ResponseFuture};
pub use score::{Points, ScoreSettings};
pub use shared::{SharedError, SharedSettings};
pub use signals::{Group, Signal};
pub use state::{State, StateSettings, StateSize};

use crate::clock::LimiterClock;
use crate::unit::Span;
use crate::visitor::{TrapForm, Visitor};
use cells::{CellKey, SharedCells};
pub(crate) use conduct::looks_like_article;
#[cfg(feature = "proxy")]
pub(crate) use conduct::number_in;
#[cfg(feature = "proxy")]
pub(crate) use page::PathView;
#[cfg(feature = "proxy")]
pub(crate) use price::cost_of_page;
#[cfg(feature = "proxy")]
pub(crate) use probe::is_probe;
#[cfg(feature = "proxy")]
pub(crate) use replay::{LoggedRequest, Replay, is_unlogged};
pub(crate) use shared::{Debit, Subject, Verdict};
pub(crate) use state::{Keys, Opened, PathKind, Tick};
pub(crate) use width::{Widened, Width};

/// Section `[suspicion]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How much is remembered.
    pub state: StateSettings,
    /// Points, caps and bounds.
    pub score: ScoreSettings,
    /// Which pages carry the style sheet that tells browsers from scripts: `off`, `suspect` or `always`.
    pub beacon: Beacon,
    /// Paths that no reader follows.
    pub trap: TrapSettings,
    /// Clients of one make on many addresses.
    pub cohort: CohortSettings,
}

/// Section `[suspicion.cohort]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortSettings {
    /// Challenge their members from the second page on, whatever their score.
    pub challenge: bool,
}

/// Which pages carry the style sheet that tells browsers from scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beacon {
    /// None.
    Off,
    /// Those of visitors with a score of 20 or more.
    #[default]
    Suspect,
    /// All.
    Always,
}

/// Section `[suspicion.trap]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrapSettings {
    /// Put a link that only programs see into pages.
    pub links: bool,
    /// How: `link` or `script`.
    pub form: TrapForm,
    /// Forbid a path in robots.txt that nobody links to.
    pub canary: bool,
}

/// Why the settings of `[suspicion]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuspicionError {
    /// More than 100 points.
    #[error("`suspicion.score.{name}` is {points}; 0 to 100")]
    Points {
        /// The key.
        name: String,
        /// The value.
        points: u8,
    },
    /// Bounds that do not rise.
    #[error("`suspicion.score.buckets` is {buckets:?}; six numbers from 1 to 100, each above the one before")]
    Buckets {
        /// The value.
        buckets: [u8; 6],
    },
}

/// A rate limiter over the shared cells.
pub(crate) type Limiter = RateLimiter<CellKey, SharedCells, LimiterClock, NoOpMiddleware<Nanos>>;

/// How much is free of charge: one cell each `every`, and `burst` cells at once (GCRA, ITU-T I.371).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Time for one cell to come back.
    pub every: Span,
    /// Cells at once; of the two soft quotas at least 3, the dearest page.
    pub burst: NonZeroU32,
}

impl Quota {
    /// A quota of one cell each `every_ms` milliseconds.
    pub const fn new(every_ms: u64, burst: u32) -> Self {
        let burst = match NonZeroU32::new(burst) {
            Some(burst) => burst,
            None => NonZeroU32::MIN,
        };
        Self { every: Span(Duration::from_millis(every_ms)), burst }
    }

    /// So many times as much.
    pub(crate) fn times(self, times: NonZeroU32) -> Self {
        Self { every: Span(self.every.0 / times.get()), burst: self.burst.saturating_mul(times) }
    }
}

/// Builds a limiter; `namespace` keeps the quotas of one store apart.
pub(crate) fn limiter(state: &State, quota: Quota, namespace: u64) -> Limiter {
    // A period of zero is refused when the configuration is read; here it would mean a nanosecond.
    let period = quota.every.0.max(Duration::from_nanos(1));
    let quota = governor::Quota::with_period(period)
        .unwrap_or_else(|| governor::Quota::per_second(NonZeroU32::MAX))
        .allow_burst(quota.burst);
    RateLimiter::new(
        quota,
        SharedCells::new(state.cells().clone(), namespace, state.clock().elapsed()),
        LimiterClock(state.clock().clone()),
    )
}

/// One signal and what it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The signal.
    pub signal: Signal,
    /// Its points, before the cap of its group.
    pub points: u8,
}

/// Signals of a request. Few fire, and so many take no memory of their own.
pub type Signals = SmallVec<[Fired; 8]>;

/// What the evidence says about one request. In the request's extensions behind [`AssessLayer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Assessment {
    /// 0–100.
    pub score: u8,
    /// How many of the lower bounds `suspicion.score.buckets` it has reached, 0–6.
    pub bucket: u8,
    /// The points behind it.
    pub points: Points,
    /// The signals behind those, in the order of their codes.
    pub signals: Signals,
    /// Nothing was remembered about this client.
    pub first_request: bool,
    /// It counts as a page.
    pub counts_as_page: bool,
    /// It asked for robots.txt within the last day, or now.
    pub read_robots: bool,
    /// The page shall carry the style sheet that tells browsers from scripts.
    pub offer_beacon: bool,
    /// The table was busy; judged without history.
    pub degraded: bool,
    /// The store that processes share cannot be used; judged by what this process knows itself.
    pub cut_off: bool,
    /// What judging took.
    pub took: Duration,
    /// Hash of the path under the key of the tables.
    pub(crate) path: Option<u64>,
    /// The key whose limits apply; none without an address.
    pub(crate) client: Option<CellKey>,
    /// The key of the address, whoever shares it.
    pub(crate) address: Option<CellKey>,
    pub(crate) keys: Option<Keys>,
    pub(crate) width: Width,
    /// Others who are proven share the client's limits.
    pub(crate) shared: bool,
    /// It would count as a page, and is one of the prefetches that weigh nothing.
    pub(crate) prefetched: bool,
    pub(crate) address_width: Width,
    /// It holds a pass that is its own.
    pub(crate) vouched: bool,
    /// It fetches what browsers fetch, and has done nothing else.
    pub(crate) proven: bool,
    /// It fetches what browsers fetch.
    pub(crate) browses: bool,
    /// It was in good standing before this request.
    pub(crate) standing: bool,
    /// The page was asked for before.
    pub(crate) revisit: bool,
    /// To be challenged whatever its score.
    pub(crate) pressed: bool,
    /// Challenges led nowhere; none for a while.
    pub(crate) spared: bool,
    /// Challenges issued to this client and not passed.
    pub(crate) issued: u8,
}

/// Seconds in which a pass speaks for its holder.
const FRESH: u64 = 600;

impl Assessment {
    /// It holds a pass of its own, and has not had it for long.
    pub(crate) fn has_fresh_pass(&self, visitor: &Visitor) -> bool {
        let age = visitor.pass.map(|pass| visitor.arrived.as_secs().saturating_sub(u64::from(pass.issued)));
        self.vouched && age.is_some_and(|age| age < FRESH)
    }

    /// Nothing is known: lets everything through.
    pub(crate) fn unknown() -> Self {
        Self {
            score: 0,
            bucket: 0,
            points: Points::default(),
            signals: Signals::new(),
            first_request: true,
            counts_as_page: false,
            read_robots: false,
            offer_beacon: false,
            degraded: true,
            cut_off: false,
            took: Duration::ZERO,
            path: None,
            client: None,
            address: None,
            keys: None,
            width: Width::One,
            shared: false,
            prefetched: false,
            address_width: Width::One,
            vouched: false,
            proven: false,
            browses: false,
            standing: false,
            revisit: false,
            pressed: false,
            spared: false,
            issued: 0,
        }
    }
}

/// The quotas whose refusals are signals, never answers.
#[derive(Debug, Clone, Copy)]
pub struct SoftQuotas {
    /// Pages in a row: one in 3 s, burst 30.
    pub page_soft: Quota,
    /// Pages over an hour: one in 12 s, burst 150.
    pub page_hour: Quota,
    /// Pages of an IPv4 /24 or IPv6 /56.
    pub net_page: Quota,
    /// Pages of an IPv6 /48.
    pub wide_page: Quota,
    /// Prefetches that do not count as pages.
    pub prefetch: Quota,
    /// How many times as much an address may take that one, three or twelve people share.
    pub widths: [u32; 3],
}

#[cfg(test)]
mod tests;
