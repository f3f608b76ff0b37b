//! deckle in front of any site: a reverse proxy, and an embedded demo site for when there is none.
//!
//! 1. The accept loop reads heads under a timer, speaks HTTP/1.1 and HTTP/2, has so many places and no more, waits for nobody who
//!    takes nothing, and stops without cutting anybody off.
//! 2. Hop-by-hop fields end here; what a client claims about its own address is replaced by what is known.
//! 3. Bodies stream in both directions; a body of the site that breaks off breaks off at the client, too.
//! 4. A reload builds everything anew first; a bad file leaves the old one in force.
//!
//! # Deployment caveat
//! Listens on loopback unless told otherwise. TLS certificates are read from files.

mod admin;
mod body;
mod client;
mod demo;
#[cfg(feature = "verify-dns")]
mod dns;
mod error;
mod failure;
mod front;
mod headers;
mod idle;
mod linger;
mod operators;
mod pace;
mod personal;
mod places;
mod plans;
mod problem;
mod refuse;
mod server;
mod site;
mod stall;
mod start;
mod stream;
mod upgrade;
mod upstream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_layer::Layer;
use tower_service::Service;

pub use admin::AdminError;
pub use body::{SiteBody, SiteBodyError};
pub use demo::Demo;
pub use error::ProxyError;
pub use server::Answer;
pub use site::Site;
pub use upstream::Upstream;

use crate::audit::{self, FileSink, PolicyText, SinkKind, Sinks};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, LoadError};
use crate::hosts::HostNames;
use crate::layer::{BuildError, Deckle, DeckleLayer, ResponseBody};
use crate::page::PlanCounters;
use crate::rights::RobotsMemory;
use crate::secret::Secrets;
use crate::suspicion::State;
use crate::visitor::{Systems, TrustedProxies};
use admin::AdminListener;
use operators::Operators;
use places::{Admission, Entrance};
use plans::{Learned, Plans};
#[cfg(feature = "cli")]
pub(crate) use plans::{name_of, update_styles};

/// How often what was learned about the site is saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// The stack that is in force; a reload puts another one in its place.
#[derive(Clone)]
struct Live(Arc<ArcSwap<Deckle<Site>>>);

impl Answer for Live {
    type Body = ResponseBody<SiteBody>;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Self::Body>, Infallible> {
        // Every stage and the site are always ready, so there is nothing to wait for before the call.
        let mut service = Deckle::clone(&self.0.load());
        service.call(request).await
    }
}

/// Where a reload finds its configuration.
pub type Reload = Box<dyn Fn() -> Result<Config, LoadError> + Send + Sync>;

/// A proxy that is bound and ready to serve.
pub struct Proxy {
    listener: TcpListener,
    admin: Option<AdminListener>,
    tls: Option<Arc<ArcSwap<TlsAcceptor>>>,
    config: Config,
    live: Live,
    parts: Parts,
}

/// What outlives a reload.
struct Parts {
    sinks: Option<Arc<Sinks>>,
    state: Arc<State>,
    learned: Learned,
    plan_counters: Arc<PlanCounters>,
    robots: Arc<RobotsMemory>,
    names: Arc<HostNames>,
    clock: SharedClock,
    secrets: Secrets,
    operators: Operators,
    admission: Arc<Admission>,
    /// The site behind, as the configuration of the moment has it.
    upstream: ArcSwapOption<String>,
    #[cfg(feature = "verify-dns")]
    dns: Arc<dns::Checks>,
}

impl Proxy {
    /// Reads or makes the secret, opens the log, and binds the listener.
    ///
    /// # Errors
    /// [`ProxyError`] names the key, file or address.
    pub async fn bind(config: Config) -> Result<Self, ProxyError> {
        start::raise_open_files();
        let clock = SystemClock::shared();
        let dir = std::path::Path::new(&config.audit.dir);
        let figures = Arc::new(audit::Live::new(&config.audit, clock.clone()));
        let secrets = start::secret(&config, dir)?;
        let live = Some(Arc::clone(&figures));
        let open = || Sinks::open(&config.audit, &[SinkKind::File], &clock, live, Some(&secrets));
        let sinks = config.audit.enabled.then(open).transpose()?.map(Arc::new);
        let names = Arc::<HostNames>::default();
        let (learned, saved) = Learned::open(dir.join("plans.json"), &names);
        let operators = Operators::new(&config.visitor, clock.clone()).map_err(BuildError::from)?;
        #[cfg(feature = "verify-dns")]
        let dns = Arc::<dns::Checks>::default();
        #[cfg(feature = "verify-dns")]
        let lookups: Option<admin::AskLookups> = {
            let dns = Arc::clone(&dns);
            Some(Box::new(move || dns.waiting()))
        };
        #[cfg(not(feature = "verify-dns"))]
        let lookups = None;
        let parts = Parts {
            sinks,
            state: Arc::new(State::with_size(clock.clone(), config.suspicion.state.size)),
            learned,
            plan_counters: Arc::default(),
            robots: Arc::new(RobotsMemory::among(Arc::clone(&names))),
            names,
            clock,
            secrets,
            operators,
            admission: Arc::default(),
            upstream: ArcSwapOption::empty(),
            #[cfg(feature = "verify-dns")]
            dns,
        };
        let sources = admin::Sources {
            live: figures,
            sinks: parts.sinks.clone(),
            state: Arc::clone(&parts.state),
            plans: Arc::clone(&parts.plan_counters),
            lookups,
            admission: Arc::clone(&parts.admission),
            ready: Arc::default(),
            clock: parts.clock.clone(),
        };
        let admin = AdminListener::bind(&config.proxy, sources).await?;
        let tls = server::tls_acceptor(&config.proxy)?.map(|tls| Arc::new(ArcSwap::from_pointee(tls)));
        let address = config.proxy.listen.clone();
        let listener = TcpListener::bind(&address).await.map_err(|source| ProxyError::Listen { address, source })?;
        start::tell_open_hosts(&config.proxy, &listener);
        let live = Live(Arc::new(ArcSwap::from_pointee(parts.stack(&config, &saved)?)));
        Ok(Self { listener, admin, tls, config, live, parts })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the dashboard, unless it is off.
    pub fn admin_addr(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(AdminListener::local_addr)
    }

    /// The audit log of this proxy, if it writes one to files.
    pub fn sink(&self) -> Option<Arc<FileSink>> {
        self.parts.sinks.as_ref().and_then(|sinks| sinks.file()).cloned()
    }

    /// Serves until `stop` is done. Each item of `reload` takes the configuration anew and reopens the log.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()>,
        mut reload: tokio::sync::mpsc::Receiver<()>,
        read: Reload,
    ) {
        let Self { listener, admin, tls, config, live, parts } = self;
        let parts = Arc::new(parts);
        // A site that does not answer holds up no reload.
        let front = {
            let (parts, config) = (Arc::clone(&parts), config.clone());
            tokio::spawn(async move { parts.read_front_page(&config).await })
        };
        let background = {
            let (parts, live, tls) = (Arc::clone(&parts), live.clone(), tls.clone());
            let read = Arc::new(read);
            tokio::spawn(async move {
                let mut save = tokio::time::interval(SAVE_EVERY);
                loop {
                    let parts = Arc::clone(&parts);
                    tokio::select! {
                        _ = save.tick() => aside(move || parts.learned.save_changes()).await,
                        Some(()) = reload.recv() => {
                            let (live, tls, read) = (live.clone(), tls.clone(), Arc::clone(&read));
                            aside(move || parts.reload(&live, tls.as_deref(), &read)).await;
                        }
                    }
                }
            })
        };
        let fetching = {
            let (parts, marks) = (Arc::clone(&parts), config.watermark.clone());
            tokio::spawn(async move {
                if marks.fetch_stylesheets {
                    parts.learned.fetch_sheets(&marks.stylesheets).await;
                }
                parts.operators.keep_current().await;
            })
        };
        let mut admin = admin.map(|admin| {
            let parts = Arc::clone(&parts);
            admin.start(move || parts.upstream.load_full().map(|address| String::clone(&address)))
        });
        let stop = async {
            stop.await;
            if let Some(admin) = &mut admin {
                admin.stopping().await;
            }
        };
        let entrance = Entrance::new(listener, &config.proxy, Arc::clone(&parts.admission));
        server::serve(entrance, tls, &config.proxy, live, stop).await;
        if let Some(admin) = admin {
            admin.end().await;
        }
        for task in [front, background, fetching] {
            task.abort();
        }
        parts.learned.save_changes();
        if let Some(sinks) = &parts.sinks {
            sinks.close();
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Parts {
    fn stack(&self, config: &Config, saved: &Plans) -> Result<Deckle<Site>, ProxyError> {
        let site = Site::configured(config, &self.secrets)?;
        let mut config = config.clone();
        if matches!(site, Site::Demo(..)) {
            demo::adapt(&mut config);
        }
        let known = self.operators.next(&config.visitor).map_err(BuildError::from)?;
        // Read once for all layers that are built.
        let systems = Systems::configured(&config.visitor).map_err(BuildError::from)?;
        let builder = |activated| {
            let builder = DeckleLayer::builder()
                .config(config.clone())
                .secret(self.secrets.clone())
                .state(Arc::clone(&self.state))
                .proxy_check(Arc::clone(&self.admission.check))
                .findings(Arc::clone(&self.learned.findings))
                .styles(Arc::clone(&self.learned.styles))
                .plan_counters(Arc::clone(&self.plan_counters))
                .robots(Arc::clone(&self.robots))
                .host_names(Arc::clone(&self.names))
                .clock(self.clock.clone())
                .activated(activated)
                .systems(systems.clone())
                .ranges(Arc::clone(&known.ranges));
            #[cfg(feature = "web-bot-auth")]
            let builder = builder.directories(Arc::clone(&known.directories));
            #[cfg(feature = "verify-dns")]
            let builder = match self.dns.of(&config.visitor.verify, &self.clock) {
                Some(dns) => builder.dns(dns),
                None => builder,
            };
            let builder = match self.learned.pages(&config.proxy) {
                Some(pages) => builder.known_pages(pages),
                None => builder,
            };
            match &self.sinks {
                Some(sinks) => builder.sinks(sinks),
                None => builder,
            }
        };
        // The date from which copies are good lasts as long as what shapes them.
        let version = builder(0).build()?.version();
        let now = self.clock.unix().as_secs();
        let activated = if saved.version == version { saved.activated } else { now };
        let layer = builder(activated).build()?;
        let trusted = TrustedProxies::configured(&config.visitor).map_err(BuildError::from)?;
        self.admission.trusted.store(Arc::new(trusted));
        self.operators.follow(known.clone());
        self.learned.keep_pages(&config.proxy, layer.known_pages());
        self.learned.keep_sheets(&config.watermark.stylesheets);
        self.learned.save(version, activated);
        if let (Some(sinks), Ok(table)) = (&self.sinks, toml::Table::try_from(&config)) {
            sinks.policy(PolicyText::new(table));
        }
        self.upstream.store(config.proxy.upstream.clone().map(Arc::new));
        Ok(layer.layer(site))
    }

    fn reload(&self, live: &Live, tls: Option<&ArcSwap<TlsAcceptor>>, read: &Reload) {
        let saved = self.learned.saved();
        let made = read().map_err(ProxyError::from).and_then(|config| {
            let certificate = server::tls_acceptor(&config.proxy)?;
            Ok((self.stack(&config, &saved)?, certificate))
        });
        match made {
            Ok((stack, certificate)) => {
                live.0.store(Arc::new(stack));
                if let (Some(tls), Some(certificate)) = (tls, certificate) {
                    tls.store(Arc::new(certificate));
                }
                tracing::info!(target: "deckle", "The configuration was reloaded.");
            }
            Err(error) => {
                tracing::error!(target: "deckle", event = "config_reload_failed", %error,
                    "The new configuration was refused; the old one stays in force.");
            }
        }
        if let Some(sinks) = &self.sinks {
            sinks.reopen();
        }
    }
}

/// Work that waits for the disk, or takes long, on a thread where no request waits.
async fn aside(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(target: "deckle", %error, "Work beside the requests failed.");
    }
}
