//! deckle
pub mod action;
pub mod clock;
pub mod secret;
pub mod suspicion;
pub mod unit;
pub mod visitor;
#[cfg(feature = "cli")]
pub mod cli;
