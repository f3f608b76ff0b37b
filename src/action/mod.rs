//! **Act or forward**: policy, and deckle's own answers.
//!
//! [`EnforceLayer`] maps what is known about a request to one [`Action`] and carries it out, in mode
//! [`Mode::Enforce`]; in [`Mode::Observe`], the default, it only notes what it would have done.
//!
//! 1. The operator's lists come first: `visitor.allow` and `visitor.routes.never` are let through, `visitor.deny` is
//!    blocked.
//! 2. The category's policy names an action, or leaves it to the score.
//! 3. The hard quotas refuse with 429, whatever the score: 2 pages a second (burst 120), 100 requests a second
//!    (burst 4,000).
//! 4. Clamps, each noted: robots.txt and the like are never limited; assets, feeds and data only by the hard quotas and `block`;
//!    a first request gets at most a tag unless it claims to be automated; in the first minute after a start nothing but
//!    `visitor.deny`, a claim that is proven false and a trap leads to more than `limit`.
//!
//! # Deployment caveat
//! `limit` is status 429 with `Retry-After` (RFC 6585 §4), `license` 402 with a `Link` to the licence, `block` 403; none
//! is ever 200 or `noindex`. A declared robot that has read robots.txt within the day is told the quota, too
//! (`RateLimit`, draft-ietf-httpapi-ratelimit-headers-11); nobody else is.

mod answer;
mod body;
mod challenge;
mod decoy;
mod enforce;
mod license;
mod limit;
mod pages;
mod policy;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub(crate) use answer::Answers;
pub use body::ActionBody;
pub use challenge::{ChallengeSettings, ChallengeStep};
pub use decoy::DecoySettings;
pub use enforce::{Enforce, EnforceLayer, ResponseFuture};
pub use license::{LicenseMode, LicenseSettings};
pub use limit::LimitSettings;
pub use policy::{Checked, Choice, Policy, Rule, Word};
// The decision itself, for who explains it afterwards, or makes it again.
#[cfg(feature = "proxy")]
pub(crate) use enforce::{Rehearsal, is_hard};
#[cfg(feature = "proxy")]
pub(crate) use policy::{Circumstances, Draft, bucket, clamp, decide};

use crate::unit::{Share, Span};
use crate::visitor::Category;

/// Whether actions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Compute and log, do nothing.
    #[default]
    Observe,
    /// Carry out.
    Enforce,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "observe" => Ok(Self::Observe),
            "enforce" => Ok(Self::Enforce),
            other => Err(format!("`{other}` is neither `observe` nor `enforce`")),
        }
    }
}

/// What is done with a request, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    Allow,
    /// Served and noted.
    Tag,
    /// Served after a short wait.
    Slow,
    /// The head of the page alone, for link previews; else as `limit`.
    Card,
    /// Served as a trickle, else 429.
    Limit,
    /// 402: the licence comes first.
    License,
    /// A page that lets browsers through after a moment; for what is no navigation as `limit`.
    Challenge,
    /// Filler in place of the site, where `action.decoy` is on; else as `block`.
    Decoy,
    /// 403.
    Block,
}

impl Action {
    /// All of them, from weak to strong.
    pub const ALL: [Self; 9] = [
        Self::Allow,
        Self::Tag,
        Self::Slow,
        Self::Card,
        Self::Limit,
        Self::License,
        Self::Challenge,
        Self::Decoy,
        Self::Block,
    ];

    /// Reads the stable spelling.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }

    /// Is it as strong as `least`? A card counts as a limit, a licence as a challenge.
    pub fn is_at_least(self, least: Self) -> bool {
        let rank = |action| match action {
            Self::Card => Self::Limit,
            Self::License => Self::Challenge,
            other => other,
        };
        rank(self) >= rank(least)
    }

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Tag => "tag",
            Self::Slow => "slow",
            Self::Card => "card",
            Self::Limit => "limit",
            Self::License => "license",
            Self::Challenge => "challenge",
            Self::Decoy => "decoy",
            Self::Block => "block",
        }
    }
}

/// Why an action became a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clamp {
    /// Mode `observe`, or a proxy that is not configured.
    Observe,
    /// robots.txt and the like, deckle's own paths.
    Route,
    /// Assets, feeds, data.
    Asset,
    /// The category's cap.
    Category,
    /// A challenge is for pages that a person waits for.
    Navigation,
    /// It is what it says.
    Verified,
    /// A challenge was passed within ten minutes.
    Pass,
    /// Challenges lead nowhere for this client.
    Breaker,
    /// Nothing was known about the client.
    FirstRequest,
    /// Within a minute of the start.
    WarmUp,
    /// Too many readers were disturbed: for ten minutes the score leads to nothing.
    SafetyValve,
    /// `action.max_action`.
    MaxAction,
}

impl Clamp {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Route => "route",
            Self::Asset => "asset",
            Self::Category => "category",
            Self::Navigation => "navigation",
            Self::Verified => "verified",
            Self::Pass => "pass",
            Self::Breaker => "breaker",
            Self::FirstRequest => "first_request",
            Self::WarmUp => "warm_up",
            Self::SafetyValve => "safety_valve",
            Self::MaxAction => "max_action",
        }
    }
}

/// The clamps of a decision. There is room for all that follow on each other: a list of them takes no memory of its own.
pub type Clamps = SmallVec<[Clamp; 16]>;

/// What a limiter said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReport {
    /// The quota, as in `action.limits`.
    pub name: &'static str,
    /// Seconds to wait; absent when it let the request through.
    pub retry_after: Option<u64>,
    /// Its size: so many in so many seconds.
    pub(crate) size: (u32, u64),
}

/// In the extensions of a response: only the head of the page leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CardMade;

/// The decision about one request. In the request's and the response's extensions behind [`EnforceLayer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Decision {
    /// What is done.
    pub action: Action,
    /// What would have been done, if that is something else.
    pub would: Option<Action>,
    /// The configuration path that decided.
    pub rule: Rule,
    /// The clamps that applied, in order.
    pub clamps: Clamps,
    /// The limiter that refused or was asked last.
    pub limit: Option<LimitReport>,
    /// The wait of action `slow`.
    pub delay: Option<std::time::Duration>,
    /// What became of a challenge.
    pub challenge: Option<ChallengeStep>,
    pub(crate) moment: Moment,
}

/// Facts about the process at the time of a decision, whether they changed it or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// It had just started, and this was somebody to whom that matters.
    pub(crate) warm_up: bool,
    /// Too many readers were disturbed.
    pub(crate) valve: bool,
}

impl Decision {
    /// Without any limit, wait or challenge.
    fn plain(action: Action, rule: Rule) -> Self {
        let moment = Moment::default();
        Self { action, would: None, rule, clamps: Clamps::new(), limit: None, delay: None, challenge: None, moment }
    }

    /// About one of the addresses of a challenge.
    fn of_challenge(action: Action, step: ChallengeStep) -> Self {
        Self { challenge: Some(step), ..Self::plain(action, Rule::Challenge) }
    }
}

/// Section `[action]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Nothing stronger than this is ever done.
    pub max_action: Action,
    /// What each category gets, and single agents; categories left out keep their default.
    pub policy: Policy,
    /// The quotas.
    pub limits: LimitSettings,
    /// Action `slow`.
    pub slow: SlowSettings,
    /// When too many readers are disturbed.
    pub safety: SafetySettings,
    /// Action `license`.
    pub license: LicenseSettings,
    /// Action `challenge`.
    pub challenge: ChallengeSettings,
    /// Action `decoy`.
    pub decoy: DecoySettings,
    /// Shown on refusals: an address or a page where a person can ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// A folder with pages of the site's own: `refusal.html` and `challenge.html`, in minijinja.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_action: Action::Block,
            policy: Policy::default(),
            limits: LimitSettings::default(),
            slow: SlowSettings::default(),
            safety: SafetySettings::default(),
            license: LicenseSettings::default(),
            challenge: ChallengeSettings::default(),
            decoy: DecoySettings::default(),
            contact: None,
            templates: None,
        }
    }
}

/// Section `[action.slow]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlowSettings {
    /// Most requests that wait at the same time; beyond, `tag`.
    pub max_concurrent: usize,
}

impl Default for SlowSettings {
    fn default() -> Self {
        Self { max_concurrent: 256 }
    }
}

/// Section `[action.safety]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SafetySettings {
    /// Share of sessions in good standing that may be slowed or refused within ten minutes; above it the signals that did
    /// it are muted, and if that does not help, the score leads to nothing for ten minutes. `100%`: never.
    pub max_disturbed: Share,
}

impl Default for SafetySettings {
    fn default() -> Self {
        Self { max_disturbed: Share(5_000) }
    }
}

/// Why the settings of `[action]` were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// A burst below the dearest page.
    #[error("`action.limits.{name}.burst` is {burst}; at least {least} are needed, the dearest page costs that")]
    Burst {
        /// The quota.
        name: &'static str,
        /// The value.
        burst: u32,
        /// The smallest one that works.
        least: u32,
    },
    /// A period of zero.
    #[error("`action.limits.{name}.every` is `{every}`; it must be longer than 0")]
    Every {
        /// The quota.
        name: &'static str,
        /// The value.
        every: Span,
    },
    /// Widths that do not rise from 1.
    #[error("`action.limits.widths` is {widths:?}; three numbers that rise, the first 1, up to 1000")]
    Widths {
        /// The value.
        widths: [u32; 3],
    },
    /// A setting of the challenge.
    #[error("`action.challenge.{key}` is `{value}`; {range}")]
    Challenge {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What may stand there.
        range: &'static str,
    },
    /// An agent that is not in the table.
    #[error(
        "`action.policy.agents` names `{agent}`, which is neither in the table of agents nor the host of a key directory that is listed"
    )]
    Agent {
        /// The name.
        agent: String,
    },
    /// A price that cannot be read, or none where one is needed.
    #[error("`action.license.price` is `{price}`; it must be a currency and an amount, such as `USD 0.01`")]
    Price {
        /// The value.
        price: String,
    },
    /// `license` for those who read.
    #[error("`action.policy.{category}` is `license`; people and search engines are never asked to pay")]
    Readers {
        /// The category.
        category: Category,
    },
    /// A decoy that nobody has thought about.
    #[error(
        "`action.decoy.enabled` takes `action.decoy.i_have_read = \"yes\"`: filler spoils what is collected, whoever collects it; see docs/reference/signals.md, \"Decoys\""
    )]
    Decoy,
    /// A page of the site's own.
    #[error("`action.templates`: {name}: {message}")]
    Page {
        /// The file.
        name: String,
        /// What is wrong, with the line if there is one.
        message: String,
    },
}
