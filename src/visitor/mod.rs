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
mod category;
#[cfg(feature = "verify-dns")]
mod dns;
mod entry;
mod facts;
pub(crate) mod fields;
mod identify;
mod key;
#[cfg(feature = "proxy")]
mod logged;
pub(crate) mod pass;
mod prefixes;
pub mod proxy_check;
mod published;
mod query;
mod ranges;
pub mod route;
mod settings;
#[cfg(feature = "web-bot-auth")]
mod signature;
mod systems;
pub(crate) mod trap;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request;
use uuid::Uuid;

pub(crate) use crate::hosts::bare_host;
pub use address::{AddressSource, ClientAddress, ForwardedHeader, TrustedProxies};
pub use agent::{Agent, Agents, AgentsError};
pub use category::Category;
#[cfg(feature = "verify-dns")]
pub use dns::{DnsVerifier, NoAnswer, Resolve, VerifySettings};
pub use entry::{AgentEntry, AgentRegex};
pub(crate) use facts::{Facts, HeadView, Keys, request_id};
pub use identify::{Identify, IdentifyLayer, ResponseFuture};
#[cfg(feature = "proxy")]
pub(crate) use logged::{LoggedHead, LoggedPath};
pub use pass::Pass;
pub use published::RangeSettings;
#[cfg(feature = "proxy")]
pub(crate) use published::Ranges;
pub(crate) use query::is_tracking;
#[cfg(feature = "html")]
pub(crate) use route::check_mount;
#[cfg(feature = "html")]
pub(crate) use route::percent_decoded;
pub use route::{ASSET_EXTENSIONS, PathGlobs, RouteClass, normalise};
pub use settings::{RouteSettings, Settings, Switch, VisitorError};
#[cfg(feature = "web-bot-auth")]
pub use signature::{BotAuthSettings, Directories, Directory, DirectoryError};
#[cfg(all(feature = "web-bot-auth", feature = "proxy"))]
pub(crate) use signature::{KEYS_MAX_BYTES, KEYS_PATH};
pub use systems::{System, Systems, SystemsError};
pub use trap::{Trap, TrapForm};
#[cfg(feature = "proxy")]
pub(crate) use verify::is_public;
pub use verify::{Method, Verification};

use trap::TrapPaths;

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
/// as an account name; by default it is made of the address and three headers, and has 544 bytes at most. Records hold it:
/// whoever makes one of what clients send bounds its length.
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
    /// How many networks have asked for it so far, up to 64 ([`HostNames`](crate::hosts::HostNames)); 0: nobody has counted.
    pub host_networks: u32,
    /// The path in its normal form.
    pub path: Arc<str>,
    /// Number of the autonomous system that the address belongs to, where `visitor.asn_db` knows it.
    pub asn: Option<u32>,
    /// The address is that of a rented machine.
    pub cloud: bool,
    /// A trusted proxy says that TLS was greeted as no browser of today does.
    pub foreign_hello: bool,
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

impl Visitor {
    /// Identifies a request outside of a stack, for example one that is read from a log.
    ///
    /// # Errors
    /// [`VisitorError`] for settings that do not hold.
    pub fn from_head(head: &request::Parts, settings: &Settings, arrived: Duration) -> Result<Self, VisitorError> {
        let facts = Facts::new(settings)?.with_systems(Systems::configured(settings)?);
        let view = HeadView::of(&head.method, &head.uri, &head.headers, &head.extensions);
        Ok(facts.visitor(&view, arrived, None))
    }
}
