//! The Tower layer of the stage.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
#[cfg(feature = "proxy")]
pub(super) use future::{Head as AnswerHead, Question};
pub use layer::AssessLayer;
pub use service::Assess;
