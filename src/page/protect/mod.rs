//! The Tower layer of the stage, where page and watermark meet.

mod ask;
mod beacon;
mod coding;
mod copy;
mod document;
mod fill;
mod future;
mod known;
mod layer;
mod marks;
mod recall;
mod service;
mod shape;
mod sheets;
mod site;
mod spare;
mod told;
mod wish;

pub use future::ResponseFuture;
pub use known::KnownPages;
pub use layer::{Marking, ProtectLayer};
pub use service::Protect;
