use std::fmt;
use std::sync::Arc;

#[cfg(feature = "proxy")]
use arc_swap::ArcSwap;
use tower_layer::Layer;

use super::service::Identify;
use crate::clock::{SharedClock, SystemClock};
use crate::hosts::HostNames;
use crate::secret::Secrets;
#[cfg(feature = "verify-dns")]
use crate::visitor::DnsVerifier;
#[cfg(feature = "proxy")]
use crate::visitor::Ranges;
use crate::visitor::proxy_check::ProxyCheck;
#[cfg(feature = "web-bot-auth")]
use crate::visitor::signature::Verifier;
#[cfg(feature = "web-bot-auth")]
use crate::visitor::{BotAuthSettings, Directories};
use crate::visitor::{Facts, Keys, Settings, Switch, Systems, VisitorError};

/// Layer that puts a [`Visitor`](crate::visitor::Visitor) into the extensions of every request.
///
/// See the [module docs](crate::visitor) for an example.
#[derive(Clone)]
#[must_use]
pub struct IdentifyLayer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) facts: Facts,
    pub(super) check: Option<Arc<ProxyCheck>>,
    pub(super) clock: SharedClock,
    pub(super) names: Arc<HostNames>,
}

impl IdentifyLayer {
    /// A layer on the machine's clock.
    ///
    /// # Errors
    /// [`VisitorError`] for settings that do not hold.
    pub fn new(settings: &Settings) -> Result<Self, VisitorError> {
        Self::with_clock(settings, SystemClock::shared())
    }

    /// A layer on another clock.
    ///
    /// # Errors
    /// As [`IdentifyLayer::new`].
    pub fn with_clock(settings: &Settings, clock: SharedClock) -> Result<Self, VisitorError> {
        Self::with_check(settings, clock, Arc::new(ProxyCheck::new()))
    }

    /// The same with a check that outlives the layer.
    ///
    /// # Errors
    /// As [`IdentifyLayer::new`].
    pub fn with_check(settings: &Settings, clock: SharedClock, check: Arc<ProxyCheck>) -> Result<Self, VisitorError> {
        Self::with_systems(settings, clock, check, Systems::configured(settings)?)
    }

    /// The same with a database that is open already.
    pub(crate) fn with_systems(
        settings: &Settings,
        clock: SharedClock,
        check: Arc<ProxyCheck>,
        systems: Systems,
    ) -> Result<Self, VisitorError> {
        let facts = Facts::new(settings)?.with_systems(systems);
        let check = (settings.proxy_check == Switch::On && facts.proxies.is_empty()).then_some(check);
        Ok(Self { shared: Arc::new(Shared { facts, check, clock, names: Arc::default() }) })
    }

    /// Counts here by how many networks each host is asked for, to outlive this layer.
    pub fn host_names(self, names: Arc<HostNames>) -> Self {
        let Shared { facts, check, clock, .. } = &*self.shared;
        let (facts, check, clock) = (facts.clone(), check.clone(), clock.clone());
        Self { shared: Arc::new(Shared { facts, check, clock, names }) }
    }

    /// Knows passes and traps by the keys of a secret. Give the same secret to
    /// [`EnforceLayer`](crate::action::EnforceLayer); without one, nobody has passed a challenge.
    pub fn secret(self, secrets: &Secrets) -> Self {
        self.with(|facts| facts.with_keys(Keys::new(secrets)))
    }

    /// Believes signatures of these directories on requests to the site's own `hosts`, which are names without ports.
    /// The list beats `visitor.botauth.directories`.
    #[cfg(feature = "web-bot-auth")]
    pub fn directories(self, directories: Arc<Directories>, hosts: Vec<String>, settings: &BotAuthSettings) -> Self {
        let verifier = Verifier::new(directories, hosts, settings.legacy_agent);
        self.with(|facts| facts.with_signatures(verifier))
    }

    /// Takes the ranges of operators from somebody who keeps them up to date.
    #[cfg(feature = "proxy")]
    pub(crate) fn ranges(self, ranges: Arc<ArcSwap<Ranges>>) -> Self {
        self.with(|facts| facts.with_ranges(ranges))
    }

    /// Looks robots up by DNS, beside the requests.
    #[cfg(feature = "verify-dns")]
    pub fn dns(self, dns: DnsVerifier) -> Self {
        self.with(|facts| facts.with_dns(dns))
    }

    /// The same with more to go by.
    fn with(self, change: impl FnOnce(Facts) -> Facts) -> Self {
        let Shared { facts, check, clock, names } = &*self.shared;
        let (check, clock, names) = (check.clone(), clock.clone(), Arc::clone(names));
        Self { shared: Arc::new(Shared { facts: change(facts.clone()), check, clock, names }) }
    }
}

impl fmt::Debug for IdentifyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentifyLayer").field("facts", &self.shared.facts).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify::new(inner, Arc::clone(&self.shared))
    }
}
