//! deckle
pub mod action;
pub mod audit;
pub mod clock;
pub mod config;
pub mod layer;
#[cfg(feature = "html")]
pub mod page;
pub mod rights;
pub mod secret;
pub mod slot;
pub mod suspicion;
pub mod unit;
pub mod visitor;
pub mod watermark;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "proxy")]
pub mod review;
#[cfg(feature = "cli")]
pub mod cli;

pub use layer::DeckleLayer;
