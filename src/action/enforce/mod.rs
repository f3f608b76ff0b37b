//! The Tower layer of the stage.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::EnforceLayer;
pub use service::Enforce;
