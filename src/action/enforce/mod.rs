//! The Tower layer of the stage.

mod challenge;
mod future;
mod layer;
mod service;
mod share;
mod watch;

pub use future::ResponseFuture;
pub use layer::EnforceLayer;
pub use service::Enforce;
