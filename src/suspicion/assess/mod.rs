//! The Tower layer of the stage.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::AssessLayer;
pub use service::Assess;
