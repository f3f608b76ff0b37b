//! A policy, ready to be applied to the lines of deckle's own log.

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;

use super::event::{Circumstances, OwnLine};
use super::{KEY, SimulateError, SimulatedPolicy};
use crate::action::{self, Action, Clamp, Clamps, Draft, Mode, Rehearsal, Rule};
use crate::clock::SharedClock;
use crate::suspicion::score::Weights;
use crate::suspicion::{Assessment, Signal, State, StateSize, Widened};
use crate::visitor::{Facts, PathGlobs, Settings, Standing, Visitor, VisitorError, normalise};

/// One policy.
pub(super) struct Rules {
    pub(super) policy: Arc<SimulatedPolicy>,
    pub(super) weights: Weights,
    pub(super) facts: Facts,
    never: PathGlobs,
    /// Paths of the licence, where there is one: they are free.
    free: Option<Vec<String>>,
    pub(super) quotas: Quotas,
}

/// The quotas of a policy, with cells of their own.
pub(super) struct Quotas {
    pub(super) hard: Rehearsal,
    pub(super) soft: [(Signal, Widened); 2],
}

impl Rules {
    pub(super) fn new(clock: &SharedClock, policy: &Arc<SimulatedPolicy>) -> Result<Self, SimulateError> {
        let SimulatedPolicy { visitor, suspicion, action, rights, .. } = &**policy;
        let state = Arc::new(State::with_size(Arc::clone(clock), StateSize::Small).keyed(KEY));
        let path = |address: &String| address.parse::<Uri>().ok().map(|uri| normalise(uri.path()));
        let licence = &rights.license;
        let free = licence.url.as_ref().map(|url| [Some(url), licence.page.as_ref()].into_iter().flatten());
        let soft = |quota, namespace| Widened::new(&state, quota, action.limits.widths, namespace);
        let soft = [
            (Signal::PageSoft, soft(action.limits.page_soft, 0)),
            (Signal::PageHour, soft(action.limits.page_hour, 1)),
        ];
        Ok(Self {
            weights: Weights::new(&suspicion.score)?,
            facts: Facts::new(visitor)?,
            never: PathGlobs::new(&visitor.routes.never).map_err(refuse)?,
            free: free.map(|addresses| addresses.filter_map(path).collect()),
            quotas: Quotas { soft, hard: Rehearsal::new(state, action, licence, &visitor.routes)? },
            policy: Arc::clone(policy),
        })
    }

    /// A policy as the log keeps it. The address of the licence is no part of that: it is taken from the new policy.
    /// What robots publish about themselves was asked then.
    pub(super) fn of_log(clock: &SharedClock, text: &str, new: &SimulatedPolicy) -> Option<Self> {
        let mut policy: SimulatedPolicy = toml::from_str(text).ok()?;
        policy.rights.license = new.rights.license.clone();
        let Settings { allow, deny, routes, .. } = std::mem::take(&mut policy.visitor);
        policy.visitor = Settings { allow, deny, routes, ..Settings::default() };
        Self::new(clock, &Arc::new(policy)).ok()
    }

    /// What these rules lead to in mode `enforce`, before it is carried out.
    pub(super) fn draft(&self, visitor: &Visitor, of: &Assessment, refused: bool, now: Circumstances) -> Draft {
        let settings = &self.policy.action;
        let mut draft = action::decide(settings, self.free.is_some(), visitor, of);
        if draft.action == Action::License && self.is_free(&visitor.path) {
            draft.action = Action::Allow;
            draft.clamps.push(Clamp::Route);
        }
        if refused && draft.action <= Action::Limit {
            draft = Draft { action: Action::Limit, rule: Rule::Limit("page_hard"), clamps: Clamps::new() };
        }
        let Circumstances { warm_up, valve, .. } = now;
        action::clamp(&mut draft, settings, action::Circumstances { mode: Mode::Enforce, warm_up, valve });
        draft
    }

    fn is_free(&self, path: &str) -> bool {
        let path = normalise(path);
        self.free.iter().flatten().any(|free| *free == path)
    }

    /// What the operator's lists say, as far as the address is known: a network counts where all of it is in the list.
    pub(super) fn standing(&self, address: &str, path: &str) -> Standing {
        let net: Option<IpNet> = address.parse().or_else(|_| address.parse::<IpAddr>().map(IpNet::from)).ok();
        let inside = |list: &[IpNet]| net.is_some_and(|net| list.iter().any(|prefix| prefix.contains(&net)));
        let settings = &self.policy.visitor;
        if self.never.is_match(&normalise(path)) || inside(&settings.allow) {
            Standing::Allowed
        } else if inside(&settings.deny) {
            Standing::Denied
        } else {
            Standing::Ordinary
        }
    }

    /// Evidence that these rules do not take.
    pub(super) fn ignores(&self, signal: Signal) -> bool {
        let trap = &self.policy.suspicion.trap;
        match signal {
            Signal::HoneyLink => !trap.links,
            Signal::RobotsCanary => !trap.canary,
            _ => self.weights.of(signal) == 0,
        }
    }

    /// Points, quotas and prices that make the score are the same.
    pub(super) fn scores_as(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.policy.suspicion, &other.policy.suspicion);
        let (quotas, others) = (&self.policy.action.limits, &other.policy.action.limits);
        mine.score.signals == theirs.score.signals
            && mine.score.caps == theirs.score.caps
            && mine.trap == theirs.trap
            && quotas.page_soft == others.page_soft
            && quotas.page_hour == others.page_hour
            && quotas.widths == others.widths
    }

    /// So are the quotas that refuse.
    pub(super) fn refuses_as(&self, other: &Self) -> bool {
        self.policy.action.limits == other.policy.action.limits
    }

    /// So are the operator's lists.
    pub(super) fn lists_as(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.policy.visitor, &other.policy.visitor);
        mine.allow == theirs.allow && mine.deny == theirs.deny && mine.routes.never == theirs.routes.never
    }

    /// And so are the classes of paths.
    pub(super) fn routes_as(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.policy.visitor.routes, &other.policy.visitor.routes);
        mine.feed == theirs.feed
            && mine.api == theirs.api
            && mine.page == theirs.page
            && mine.asset == theirs.asset
            && mine.mount == theirs.mount
    }

    /// The action of a line as `enforce` had carried it out.
    pub(super) fn capped(&self, action: Action, line: &OwnLine) -> Action {
        match self.policy.action.max_action {
            most if !line.capped || action <= most => action,
            Action::License | Action::Card => action.min(Action::Limit),
            most => most,
        }
    }
}

fn refuse(message: String) -> VisitorError {
    VisitorError::Route { key: "visitor.routes.never", message }
}
