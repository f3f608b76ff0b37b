//! deckle protects what a news site publishes: it limits scrapers, rewrites pages, marks copies, and traces leaks.
//!
//! [`DeckleLayer`] is all of it in one Tower layer. Its stages are layers of their own, and data flows one way:
//!
//! 1. [`visitor`]: who asks;
//! 2. [`suspicion`]: how sure;
//! 3. [`action`]: act or forward;
//! 4. `page` (feature `html`): what goes out, with the marks of [`watermark`];
//! 5. [`audit`]: what is written down.
//!
//! By default it observes and refuses nothing; [`config`] holds every setting.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use deckle::DeckleLayer;
//! use deckle::config::Config;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_toml("[rights]\nholder = \"The Post\"\n")?;
//! let deckle = DeckleLayer::builder().config(config).build()?;
//! let site = deckle.layer(tower::service_fn(|_: Request<()>| async {
//!     let page = "<!doctype html><html><head><title>t</title></head><body><p>Hello</p></body></html>";
//!     let response = Response::builder().header("content-type", "text/html; charset=utf-8");
//!     Ok::<_, Infallible>(response.body(Full::new(bytes::Bytes::from(page))).unwrap_or_default())
//! }));
//! let page = site.oneshot(Request::new(())).await?.into_body().collect().await?.to_bytes();
//! # #[cfg(feature = "html")]
//! assert!(String::from_utf8_lossy(&page).contains("data-deckle=\"guard\""));
//! # Ok(()) }
//! ```
//!
//! # Deployment caveats
//! Client-side code stops no bot; the guard is for readers. State is held per process. Behind another proxy, set
//! `visitor.trusted_proxies`.

pub mod action;
pub mod audit;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod hosts;
pub mod layer;
#[cfg(feature = "html")]
pub mod page;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "proxy")]
pub mod review;
pub mod rights;
pub mod secret;
pub mod slot;
pub mod suspicion;
pub mod unit;
pub mod visitor;
pub mod watermark;

pub use layer::DeckleLayer;
