use std::fmt;
use std::sync::Arc;

use super::{BuildError, DeckleLayer};
use crate::action::{ActionError, EnforceLayer, Mode};
use crate::audit::{AuditLayer, OnFailure, Sink, SinkKind, Sinks};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::hosts::HostNames;
use crate::rights::RobotsMemory;
#[cfg(feature = "html")]
use crate::rights::{Pref, ScopeSettings, Uses};
use crate::secret::Secrets;
use crate::suspicion::{AssessLayer, State};
#[cfg(feature = "web-bot-auth")]
use crate::visitor::Directories;
#[cfg(feature = "verify-dns")]
use crate::visitor::DnsVerifier;
#[cfg(feature = "proxy")]
use crate::visitor::Ranges;
use crate::visitor::proxy_check::ProxyCheck;
#[cfg(feature = "html")]
use crate::visitor::trap::TrapPaths;
use crate::visitor::{Agents, IdentifyLayer, Systems};

/// Builds a [`DeckleLayer`]. Setters beat the configuration.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    config: Config,
    secrets: Option<Secrets>,
    sink: Option<Arc<dyn Sink>>,
    written_by: Option<crate::audit::Settings>,
    clock: Option<SharedClock>,
    state: Option<Arc<State>>,
    #[cfg(feature = "verify-dns")]
    dns: Option<DnsVerifier>,
    #[cfg(feature = "web-bot-auth")]
    directories: Option<Arc<Directories>>,
    #[cfg(feature = "proxy")]
    ranges: Option<Arc<arc_swap::ArcSwap<Ranges>>>,
    systems: Option<Systems>,
    check: Arc<ProxyCheck>,
    #[cfg(feature = "html")]
    findings: Option<Arc<crate::page::Findings>>,
    #[cfg(feature = "html")]
    styles: Option<Arc<crate::page::Styles>>,
    #[cfg(feature = "html")]
    plan_counters: Arc<crate::page::PlanCounters>,
    #[cfg(feature = "html")]
    known_pages: Option<crate::page::KnownPages>,
    robots: Option<Arc<RobotsMemory>>,
    names: Arc<HostNames>,
    activated: u64,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            config: Config::default(),
            secrets: None,
            sink: None,
            written_by: None,
            clock: None,
            state: None,
            #[cfg(feature = "verify-dns")]
            dns: None,
            #[cfg(feature = "web-bot-auth")]
            directories: None,
            #[cfg(feature = "proxy")]
            ranges: None,
            systems: None,
            check: Arc::new(ProxyCheck::new()),
            #[cfg(feature = "html")]
            findings: None,
            #[cfg(feature = "html")]
            styles: None,
            #[cfg(feature = "html")]
            plan_counters: Arc::default(),
            #[cfg(feature = "html")]
            known_pages: None,
            robots: None,
            names: Arc::default(),
            activated: 0,
        }
    }

    /// The settings of all stages.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The secret that marks are derived from.
    pub fn secret(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Whether actions are carried out.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Prefixes of proxies that are believed about the client's address.
    pub fn trusted_proxies(mut self, prefixes: impl IntoIterator<Item = ipnet::IpNet>) -> Self {
        self.config.visitor.trusted_proxies = prefixes.into_iter().map(|p| p.to_string()).collect();
        self
    }

    /// Where records go, instead of what `audit.sinks` names.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// The same, by the settings that these were opened with, whatever the configuration says by now.
    #[cfg(feature = "proxy")]
    pub(crate) fn sinks(mut self, sinks: &Arc<Sinks>) -> Self {
        self.written_by = Some(sinks.settings().clone());
        self.sink(Arc::clone(sinks))
    }

    /// The clock of all stages.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Tables that outlive this layer, so that a reload forgets nobody.
    pub fn state(mut self, state: Arc<State>) -> Self {
        self.state = Some(state);
        self
    }

    /// Looks robots up by DNS, beside the requests. `deckle proxy` starts that itself, a layer never does.
    #[cfg(feature = "verify-dns")]
    pub fn dns(mut self, dns: DnsVerifier) -> Self {
        self.dns = Some(dns);
        self
    }

    /// Ranges of operators that somebody keeps up to date.
    #[cfg(feature = "proxy")]
    pub(crate) fn ranges(mut self, ranges: Arc<arc_swap::ArcSwap<Ranges>>) -> Self {
        self.ranges = Some(ranges);
        self
    }

    /// A database of autonomous systems that is open already, instead of the file that `visitor.asn_db` names.
    #[cfg(feature = "proxy")]
    pub(crate) fn systems(mut self, systems: Systems) -> Self {
        self.systems = Some(systems);
        self
    }

    /// The directories whose keys are believed, instead of those that `visitor.botauth.directories` names; their keys are
    /// put in by whoever holds them. `deckle proxy` fetches them itself, a layer never does.
    #[cfg(feature = "web-bot-auth")]
    pub fn directories(mut self, directories: Arc<Directories>) -> Self {
        self.directories = Some(directories);
        self
    }

    /// A check for unknown proxies that outlives this layer.
    pub fn proxy_check(mut self, check: Arc<ProxyCheck>) -> Self {
        self.check = check;
        self
    }

    /// What was learned about the pages of the site, to outlive this layer.
    #[cfg(feature = "html")]
    pub fn findings(mut self, findings: Arc<crate::page::Findings>) -> Self {
        self.findings = Some(findings);
        self
    }

    /// What is known of the style sheets of the site, to outlive this layer.
    #[cfg(feature = "html")]
    pub fn styles(mut self, styles: Arc<crate::page::Styles>) -> Self {
        self.styles = Some(styles);
        self
    }

    /// Where the use of plans of known pages is counted, to outlive this layer.
    #[cfg(feature = "html")]
    pub fn plan_counters(mut self, counters: Arc<crate::page::PlanCounters>) -> Self {
        self.plan_counters = counters;
        self
    }

    /// The pages that another layer knows ([`DeckleLayer::known_pages`]), so that a reload scans none of them anew. What they
    /// do is counted where that layer has counted it.
    #[cfg(feature = "html")]
    pub fn known_pages(mut self, known: crate::page::KnownPages) -> Self {
        self.known_pages = Some(known);
        self
    }

    /// What robots.txt said lately, to outlive this layer.
    pub fn robots(mut self, memory: Arc<RobotsMemory>) -> Self {
        self.robots = Some(memory);
        self
    }

    /// By how many networks each host is asked for, to outlive this layer. What is given for `findings`, `styles` and `robots`
    /// should be made with the same names.
    pub fn host_names(mut self, names: Arc<HostNames>) -> Self {
        self.names = names;
        self
    }

    /// When the present way of rewriting began, in seconds since 1970.
    pub fn activated(mut self, seconds: u64) -> Self {
        self.activated = seconds;
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    /// [`BuildError`] for settings that do not hold.
    pub fn build(self) -> Result<DeckleLayer, BuildError> {
        let clock = self.clock.clone().unwrap_or_else(SystemClock::shared);
        let state = self
            .state
            .clone()
            .unwrap_or_else(|| Arc::new(State::with_size(clock.clone(), self.config.suspicion.state.size)));
        let config = &self.config;
        let secrets = self.secrets()?;
        let to_share = secrets.clone();
        // Without a secret passes are good until the next start.
        let keys = secrets.clone().map_or_else(Secrets::random, Ok)?;
        let mount = &config.visitor.routes.mount;
        let systems = self.systems.clone().map_or_else(|| Systems::configured(&config.visitor), Ok)?;
        let identify = IdentifyLayer::with_systems(&config.visitor, clock.clone(), self.check.clone(), systems)?;
        let identify = identify.secret(&keys).host_names(Arc::clone(&self.names));
        #[cfg(feature = "verify-dns")]
        let identify = match self.dns.clone().filter(|_| config.visitor.verify.dns) {
            Some(dns) => identify.dns(dns),
            None => identify,
        };
        #[cfg(feature = "web-bot-auth")]
        let identify = self.signatures(identify)?;
        self.check_signers()?;
        #[cfg(feature = "proxy")]
        let identify = match &self.ranges {
            Some(ranges) => identify.ranges(Arc::clone(ranges)),
            None => identify,
        };
        let assess = AssessLayer::new(Arc::clone(&state), &config.suspicion, config.action.limits.soft())?;
        let among = || Arc::new(RobotsMemory::among(Arc::clone(&self.names)));
        let robots = self.robots.clone().unwrap_or_else(among);
        let assess = assess.robots(Arc::clone(&robots));
        let enforce = EnforceLayer::new(Arc::clone(&state), &config.action, &config.rights.license, config.mode)?;
        let enforce = enforce.challenging(&keys, mount)?;
        let audit = AuditLayer::with_clock(self.audit_sink(&clock, secrets.as_ref())?, clock);
        let audit = audit.redacting(self.written_by.as_ref().unwrap_or(&config.audit));
        let audit = match config.audit.on_failure {
            OnFailure::Continue => audit,
            OnFailure::Refuse => audit.refusing(&config.action)?,
        };
        #[cfg(feature = "html")]
        let audit = audit.server_timing(config.page.server_timing);
        #[cfg(feature = "html")]
        let protect = self.protect(secrets, &keys, robots)?;
        #[cfg(not(feature = "html"))]
        let protect = {
            if config.page.is_some() {
                return Err(BuildError::Feature { section: "page", feature: "html" });
            }
            tower_layer::Identity::new()
        };
        // Last, when nothing can be refused any more: a reload that fails changes nothing.
        config.shared.check()?;
        if config.shared.url.is_some() {
            state.share(&config.shared, to_share.as_ref().ok_or(BuildError::SharedNoSecret)?)?;
        }
        Ok(DeckleLayer::new(identify, assess, audit, enforce, protect))
    }

    /// With signatures, if there is somebody to believe.
    #[cfg(feature = "web-bot-auth")]
    fn signatures(&self, identify: IdentifyLayer) -> Result<IdentifyLayer, BuildError> {
        let settings = &self.config.visitor.botauth;
        let directories = match &self.directories {
            Some(directories) => Arc::clone(directories),
            None if settings.directories.is_empty() => return Ok(identify),
            None => return Err(BuildError::NoDirectories),
        };
        if directories.is_empty() {
            return Ok(identify);
        }
        let hosts = self.config.hosts();
        if hosts.is_empty() {
            return Err(BuildError::NoHost);
        }
        Ok(identify.directories(directories, hosts, settings))
    }

    /// A policy for a host is one for who signs with its keys; anything else is a name that is misspelt.
    fn check_signers(&self) -> Result<(), ActionError> {
        #[cfg(feature = "web-bot-auth")]
        let signs = |name: &str| {
            let origin = format!("https://{name}");
            self.directories.as_ref().is_some_and(|list| list.origins().any(|listed| listed == origin))
        };
        #[cfg(not(feature = "web-bot-auth"))]
        let signs = |_: &str| false;
        let known = |name: &String| Agents::builtin().category(name).is_some() || signs(name);
        match self.config.action.policy.agents.keys().find(|name| !known(name)) {
            Some(name) => Err(ActionError::Agent { agent: name.clone() }),
            None => Ok(()),
        }
    }

    /// What is declared, with the paths of traps and decoys closed to everybody who obeys robots.txt.
    #[cfg(feature = "html")]
    fn rights(&self, keys: &Secrets) -> crate::rights::Settings {
        let mut rights = self.config.rights.clone();
        let trap = &self.config.suspicion.trap;
        let link = trap.links.then(|| format!("{}/t/", self.config.visitor.routes.mount));
        let canary = trap.canary.then(|| TrapPaths::new(keys).canary());
        let decoy = self.config.action.decoy.enabled.then(|| format!("{}/m/", self.config.visitor.routes.mount));
        for path in link.into_iter().chain(canary).chain(decoy) {
            let uses = Uses { crawl: Pref::Deny, ..Uses::default() };
            rights.scope.push(ScopeSettings { path, agents: Vec::new(), uses });
        }
        rights
    }

    fn secrets(&self) -> Result<Option<Secrets>, BuildError> {
        match (&self.secrets, &self.config.secret_file) {
            (Some(secrets), _) => Ok(Some(secrets.clone())),
            (None, Some(file)) => Ok(Some(Secrets::from_file(file)?)),
            (None, None) => Ok(None),
        }
    }

    fn audit_sink(&self, clock: &SharedClock, secrets: Option<&Secrets>) -> Result<Arc<dyn Sink>, BuildError> {
        self.config.audit.check()?;
        if !self.config.audit.enabled {
            return Ok(Arc::new(Silent));
        }
        if let Some(sink) = &self.sink {
            return Ok(Arc::clone(sink));
        }
        Ok(Arc::new(Sinks::open(&self.config.audit, &[SinkKind::Tracing], clock, None, secrets)?))
    }

    #[cfg(feature = "html")]
    fn protect(
        &self,
        secrets: Option<Secrets>,
        keys: &Secrets,
        robots: Arc<RobotsMemory>,
    ) -> Result<crate::page::ProtectLayer, BuildError> {
        use crate::page::{Findings, Marking, PageError, ProtectLayer, Styles};
        use crate::watermark::Level;
        let config = &self.config;
        config.watermark.check().map_err(|(key, message)| PageError::Value { key, message })?;
        let protect = ProtectLayer::new(&config.page, &self.rights(keys), &config.visitor.routes.mount)?
            .activated(self.activated);
        let protect = protect.robots(robots).links(config.suspicion.trap.links);
        let protect = protect.plan_counters(Arc::clone(&self.plan_counters));
        let protect = match &self.known_pages {
            Some(known) => protect.knowing(known.clone()),
            None => protect,
        };
        let is_off = config.watermark.level == Some(Level::Off);
        match (secrets, config.watermark.level) {
            (None, None) => Ok(protect),
            (None, Some(_)) if is_off => Ok(protect.without_marks(&config.watermark)?),
            (None, Some(_)) => Err(BuildError::NoSecret),
            (Some(_), _) if config.page.shared_cache && !is_off => Err(BuildError::SharedCache),
            (Some(secrets), _) => {
                let names = || Arc::clone(&self.names);
                let findings = self.findings.clone().unwrap_or_else(|| Arc::new(Findings::among(names())));
                let styles = self.styles.clone().unwrap_or_else(|| Arc::new(Styles::among(names())));
                Ok(protect.marking(Marking { secrets, settings: config.watermark.clone(), findings, styles })?)
            }
        }
    }
}

/// Takes records and forgets them.
struct Silent;

impl Sink for Silent {
    fn record(&self, _: Box<crate::audit::AuditRecord>) {}
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
