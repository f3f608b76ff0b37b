//! deckle
pub mod action;
pub mod audit;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
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
