//! The Tower layer of the stage.

mod challenge;
mod decoy;
mod future;
mod layer;
mod plan;
mod service;
mod share;
mod watch;

pub use future::ResponseFuture;
pub use layer::EnforceLayer;
pub use service::Enforce;
