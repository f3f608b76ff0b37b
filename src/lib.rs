//! deckle
pub mod action;
pub mod clock;
#[cfg(feature = "html")]
pub mod page;
pub mod rights;
pub mod secret;
pub mod slot;
pub mod suspicion;
pub mod unit;
pub mod visitor;
pub mod watermark;
#[cfg(feature = "cli")]
pub mod cli;
