//! **Who asks**: pure facts from the request head.
//!
//! [`IdentifyLayer`] finds the client's address ([`address`]), the agent that the request names ([`agent`]) and the
//! class of what it asks for ([`route`]), and puts a [`Visitor`] into the request's extensions. It decides nothing.
//!
//! # Deployment caveat
//! Behind a proxy or a CDN, name it in `visitor.trusted_proxies`: else every reader has the proxy's address. deckle
//! notices the common signs of that and refuses to enforce until it is set ([`proxy_check`]).
//!
//! ```
//! use deckle::visitor::{IdentifyLayer, Settings, Visitor};
//! use http::{Request, Response};
//! use tower::{Layer, Service, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let layer = IdentifyLayer::new(&Settings::default()).unwrap();
//! let service = layer.layer(tower::service_fn(|req: Request<()>| async move {
//!     Ok::<_, std::convert::Infallible>(Response::new(req.extensions().get::<Visitor>().unwrap().agent.category))
//! }));
//! let wget = Request::builder().header("user-agent", "Wget/1.21").body(()).unwrap();
//! assert_eq!(service.clone().oneshot(wget).await.unwrap().into_body().code(), "library");
//! let plain = Request::builder().header("user-agent", "Mozilla/5.0 Firefox/140.0").body(()).unwrap();
//! assert_eq!(service.oneshot(plain).await.unwrap().into_body().code(), "browser");
//! # }
//! ```

pub mod address;
pub mod agent;
#[cfg(feature = "verify-dns")]
mod dns;
mod entry;
mod identify;
pub(crate) mod pass;
mod prefixes;
pub mod proxy_check;
mod ranges;
pub mod route;
mod settings;
pub(crate) mod trap;
mod verify;

#[cfg(feature = "verify-dns")]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, request};
use ipnet::IpNet;
use uuid::Uuid;

pub use address::{AddressSource, ClientAddress, ForwardedHeader, TrustedProxies};
pub use agent::{Agent, Agents, AgentsError, Category};
#[cfg(feature = "verify-dns")]
pub(crate) use dns::DnsVerifier;
#[cfg(feature = "verify-dns")]
pub use dns::VerifySettings;
pub use entry::{AgentEntry, AgentRegex};
pub use identify::{Identify, IdentifyLayer, ResponseFuture};
pub use pass::Pass;
pub(crate) use route::bare_host;
#[cfg(feature = "html")]
pub(crate) use route::check_mount;
pub use route::{ASSET_EXTENSIONS, PathGlobs, RouteClass, normalise};
pub use settings::{RouteSettings, Settings, Switch, VisitorError};
pub use trap::Trap;
use verify::Ranges;
pub use verify::{Method, RangeSettings, Verification};

use pass::Tokens;
use prefixes::PrefixSet;
use route::Routes;
use trap::TrapPaths;

use crate::secret::Secrets;

/// The socket that a request came over; the server puts it into the request's extensions.
///
/// With feature `axum`, axum's `ConnectInfo<SocketAddr>` is read too.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The connection is encrypted.
    pub secure: bool,
}

/// The identity bytes that marks are derived from. An application may put its own into the request's extensions, such
/// as an account name; by default it is made of the address and three headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VisitorKey(pub Arc<[u8]>);

/// An operator's word about an address, before any policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In `visitor.allow`, or a path in `visitor.routes.never`.
    Allowed,
    /// In `visitor.deny`.
    Denied,
    /// Neither.
    Ordinary,
}

/// Everything that is known about who asks. In the request's extensions behind [`IdentifyLayer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Visitor {
    /// The client's address.
    pub address: ClientAddress,
    /// The agent that the request names.
    pub agent: Agent,
    /// How far that is proven.
    pub verification: Verification,
    /// How it was checked.
    pub verification_method: Option<Method>,
    /// It is proven, and reads for the index of a search engine, whose snippets show what it got.
    pub indexer: bool,
    /// Age of the list that decided, in days.
    pub ranges_age: Option<u32>,
    /// What is asked for.
    pub route: RouteClass,
    /// It would be shown to a person as a page.
    pub navigation: bool,
    /// Its path names a file that is no page (extension or `visitor.routes.asset`).
    pub asset_path: bool,
    /// The browser asks ahead of a click that may never come.
    pub prefetch: bool,
    /// A challenge was passed.
    pub pass: Option<Pass>,
    /// It asks for what only a program finds.
    pub trap: Option<Trap>,
    /// It asks for a style sheet that deckle offered to find browsers by.
    pub beacon: bool,
    /// The host that is asked for, without port; empty where none is named.
    pub host: Arc<str>,
    /// The path in its normal form.
    pub path: Arc<str>,
    /// The address is that of a rented machine.
    pub cloud: bool,
    /// The paths of this site's traps.
    pub(crate) traps: Option<Arc<TrapPaths>>,
    /// The identity for marks and for history: address, `User-Agent`, `Accept-Language`, `Sec-CH-UA`.
    pub key: VisitorKey,
    /// The connection of the client is encrypted, as far as trusted hops say.
    pub secure: bool,
    /// What the operator said about the address.
    pub standing: Standing,
    /// False while the addresses look like those of a proxy that is not configured.
    pub enforceable: bool,
    /// The id of this request.
    pub request_id: Uuid,
    /// When it arrived, since 1970.
    pub arrived: Duration,
}

/// The facts that need no clock and no counter; what [`IdentifyLayer`] runs on every request.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) proxies: TrustedProxies,
    pub(crate) agents: Arc<Agents>,
    ranges: Arc<Ranges>,
    clouds: Arc<PrefixSet>,
    routes: Routes,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    keys: Option<Keys>,
    #[cfg(feature = "verify-dns")]
    dns: Option<DnsVerifier>,
}

/// What is recognised by a key of the site.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tokens: Tokens,
    traps: Arc<TrapPaths>,
}

impl Keys {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self { tokens: Tokens::new(secrets), traps: Arc::new(TrapPaths::new(secrets)) }
    }
}

impl Facts {
    pub(crate) fn new(settings: &Settings) -> Result<Self, VisitorError> {
        check_verify(settings).map_err(|message| VisitorError::Verify { message })?;
        Ok(Self {
            proxies: ranges::trusted_proxies(&settings.trusted_proxies, settings.forwarded.as_deref())?,
            agents: Agents::builtin(),
            ranges: if settings.ranges == RangeSettings::default() {
                Ranges::builtin()
            } else {
                Arc::new(Ranges::new(&settings.ranges)?)
            },
            clouds: PrefixSet::clouds(),
            routes: Routes::new(&settings.routes).map_err(|(key, message)| VisitorError::Route { key, message })?,
            allow: settings.allow.clone(),
            deny: settings.deny.clone(),
            keys: None,
            #[cfg(feature = "verify-dns")]
            dns: None,
        })
    }

    /// Robots are looked up, too; beside the requests.
    #[cfg(feature = "verify-dns")]
    pub(crate) fn with_dns(self, dns: Option<DnsVerifier>) -> Self {
        Self { dns, ..self }
    }

    /// What the DNS adds where the ranges prove nothing. Of an address that is not of the open net it knows nothing.
    #[cfg(feature = "verify-dns")]
    fn with_dns_answer(&self, proof: verify::Proof, agent: &Agent, ip: Option<IpAddr>) -> verify::Proof {
        let (Some(dns), Some(name), Some(ip)) = (&self.dns, agent.name.as_deref(), ip) else { return proof };
        let domains = self.agents.domains(name);
        if proof.state == Verification::Verified || domains.is_empty() || !verify::is_public(ip) {
            return proof;
        }
        proof.with_dns(dns.ask(name, domains, ip), self.ranges.is_indexer(name))
    }

    pub(crate) fn with_keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Identifies one request. Total: every head gives a visitor.
    pub(crate) fn visitor(&self, head: &HeadView<'_>, arrived: Duration, enforceable: bool) -> Visitor {
        let address = self.proxies.client(head.peer.map(|p| p.address), head.headers);
        let text = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        let agent = self.agents.classify(user_agent(head.headers).as_deref());
        // Of a field that did not parse nobody knows whose address it left.
        let ip = address.ip.filter(|_| address.source != AddressSource::Malformed);
        let proof = self.ranges.verify(&agent, ip, arrived);
        #[cfg(feature = "verify-dns")]
        let proof = self.with_dns_answer(proof, &agent, ip);
        let path = normalise(head.path);
        let route = self.routes.classify(head.method, head.path, &path, head.headers);
        let trusted = head.peer.is_some_and(|p| self.proxies.trusts(p.address.ip().to_canonical()));
        let forwarded_https = trusted && text("x-forwarded-proto").is_some_and(|p| p.eq_ignore_ascii_case("https"));
        let secure = head.peer.is_some_and(|p| p.secure) || forwarded_https;
        let host: Arc<str> = bare_host(head.host.unwrap_or_default()).to_ascii_lowercase().into();
        let own = (route == RouteClass::Own).then(|| self.routes.below_mount(&path)).flatten();
        let traps = self.keys.as_ref().map(|keys| &keys.traps);
        Visitor {
            pass: self.keys.as_ref().and_then(|keys| keys.tokens.pass_of(head.headers, secure, &host, arrived)),
            trap: traps.and_then(|traps| traps.trap(&path, own, &host, arrived)),
            beacon: traps.zip(own).is_some_and(|(traps, own)| traps.is_beacon(own, &host)),
            traps: traps.cloned(),
            prefetch: route::is_prefetch(head.headers),
            cloud: ip.is_some_and(|ip| self.clouds.holds(ip)),
            host,
            key: visitor_key(&address, head.headers),
            standing: self.standing(&address, route, &path),
            navigation: route::is_navigation(head.method, route, head.headers),
            asset_path: self.routes.is_asset_path(&path),
            secure,
            address,
            agent,
            verification: proof.state,
            verification_method: proof.method,
            ranges_age: proof.age,
            indexer: proof.indexer,
            route,
            path: path.into(),
            enforceable,
            request_id: request_id(arrived),
            arrived,
        }
    }

    fn standing(&self, address: &ClientAddress, route: RouteClass, path: &str) -> Standing {
        let inside = |list: &[IpNet]| address.ip.is_some_and(|ip| list.iter().any(|net| net.contains(&ip)));
        if self.routes.never(path) || inside(&self.allow) {
            Standing::Allowed
        } else if route != RouteClass::Wellknown && inside(&self.deny) {
            Standing::Denied
        } else {
            Standing::Ordinary
        }
    }
}

#[cfg(feature = "verify-dns")]
fn check_verify(settings: &Settings) -> Result<(), String> {
    settings.verify.check()
}

#[cfg(not(feature = "verify-dns"))]
fn check_verify(settings: &Settings) -> Result<(), String> {
    let message = || "section `[visitor.verify]` needs feature `verify-dns`".to_owned();
    settings.verify.as_ref().map_or(Ok(()), |_| Err(message()))
}

/// What of a request the facts are read from.
#[derive(Debug)]
pub(crate) struct HeadView<'h> {
    pub(crate) method: &'h http::Method,
    pub(crate) path: &'h str,
    pub(crate) host: Option<&'h str>,
    pub(crate) headers: &'h HeaderMap,
    pub(crate) peer: Option<Peer>,
}

impl<'h> HeadView<'h> {
    pub(crate) fn of(
        method: &'h http::Method,
        uri: &'h http::Uri,
        headers: &'h HeaderMap,
        extensions: &http::Extensions,
    ) -> Self {
        // HTTP/2 puts it into the address (RFC 9113 §8.3.1).
        let host = uri.host().or_else(|| headers.get(http::header::HOST)?.to_str().ok());
        Self { method, path: uri.path(), host, headers, peer: peer_of(extensions) }
    }
}

/// The socket of a request, from deckle's own extension or axum's.
pub(crate) fn peer_of(extensions: &http::Extensions) -> Option<Peer> {
    let own = extensions.get::<Peer>().copied();
    #[cfg(feature = "axum")]
    let own = own.or_else(|| {
        extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| Peer { address: info.0, secure: false })
    });
    own
}

/// The `User-Agent` as text; bytes that are not UTF-8 are replaced.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<std::borrow::Cow<'_, str>> {
    headers.get(http::header::USER_AGENT).map(|v| String::from_utf8_lossy(v.as_bytes()))
}

/// Names one request: UUID version 7 (RFC 9562 §5.7). Its random part tells requests of one millisecond apart, and is no
/// secret: asking the system for it would take longer than all the rest.
pub(crate) fn request_id(arrived: Duration) -> Uuid {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(arrived.as_millis() as u64, &random).into_uuid()
}

/// address text ‖ 00 ‖ User-Agent ‖ 00 ‖ Accept-Language ‖ 00 ‖ Sec-CH-UA.
fn visitor_key(address: &ClientAddress, headers: &HeaderMap) -> VisitorKey {
    let mut key = address.client().map_or_else(String::new, |net| net.to_string()).into_bytes();
    for name in ["user-agent", "accept-language", "sec-ch-ua"] {
        key.push(0);
        key.extend_from_slice(headers.get(name).map_or(&[][..], |v| v.as_bytes()));
    }
    VisitorKey(key.into())
}

impl Visitor {
    /// Identifies a request outside of a stack, for example one that is read from a log.
    ///
    /// # Errors
    /// [`VisitorError`] for settings that do not hold.
    pub fn from_head(head: &request::Parts, settings: &Settings, arrived: Duration) -> Result<Self, VisitorError> {
        let facts = Facts::new(settings)?;
        let view = HeadView::of(&head.method, &head.uri, &head.headers, &head.extensions);
        Ok(facts.visitor(&view, arrived, true))
    }
}
