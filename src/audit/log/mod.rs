//! The Tower layer of the stage.

mod body;
mod future;
mod layer;
mod service;

pub use body::LogBody;
pub use future::ResponseFuture;
pub use layer::AuditLayer;
pub use service::Audit;
