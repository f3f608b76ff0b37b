//! The whole of deckle as one Tower layer.
//!
//! [`DeckleLayer`] is the five layers stacked, and holds no logic of its own. From the outside in:
//! [`IdentifyLayer`](crate::visitor::IdentifyLayer), [`AssessLayer`](crate::suspicion::AssessLayer),
//! [`AuditLayer`](crate::audit::AuditLayer), [`EnforceLayer`](crate::action::EnforceLayer),
//! [`ProtectLayer`](crate::page::ProtectLayer), the site. Audit stands where it sees every answer, deckle's own included,
//! and the first two have none.
//!
//! # Deployment caveat
//! Compression, CORS, authentication and sessions belong inside; request ids, tracing and panic handling outside.
//!
//! ```
//! use deckle::DeckleLayer;
//! use deckle::config::Config;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let deckle = DeckleLayer::builder().config(Config::from_toml("[rights]\nholder = \"The Post\"")?).build()?;
//! let site = tower::service_fn(|_: Request<()>| async {
//!     let page = Full::new(bytes::Bytes::from("<!doctype html><title>t</title><body><p>Hello</p></body>"));
//!     Ok::<_, std::convert::Infallible>(Response::builder().header("content-type", "text/html").body(page).unwrap())
//! });
//! let response = deckle.layer(site).oneshot(Request::new(())).await?;
//! let page = response.into_body().collect().await?.to_bytes();
//! let page = std::str::from_utf8(&page)?;
//! assert!(page.contains("data-deckle=\"guard\"") && page.contains("The Post"));
//! assert!(page.contains("<p>Hello</p>"));
//! # Ok(()) }
//! ```

mod body;
mod builder;
mod error;
mod future;
#[allow(clippy::module_inception)] // The file set of every layer folder.
mod layer;
mod service;

pub use body::{BodyError, ResponseBody};
pub use builder::Builder;
pub use error::BuildError;
pub use future::ResponseFuture;
pub use layer::DeckleLayer;
pub use service::Deckle;
