//! The Tower layer of the stage.

mod challenge;
mod decoy;
mod future;
mod layer;
mod plan;
#[cfg(feature = "proxy")]
mod rehearse;
mod service;
mod share;
mod watch;

pub use future::ResponseFuture;
pub use layer::EnforceLayer;
#[cfg(feature = "proxy")]
pub(crate) use rehearse::{Rehearsal, is_hard};
pub use service::Enforce;
