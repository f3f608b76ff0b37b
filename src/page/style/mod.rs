//! Style sheets decide whether marks are harmless: white space carries a mark where it collapses, and a seal stands where a
//! bare `span` has no box.
//!
//! deckle reads the sheets that pass through it ([`reader`]), keeps what they say by host ([`Styles`]), and asks for each
//! page whether all that it names are known ([`HostStyles::judge`]). Nothing here waits for a sheet, and none is changed.

mod address;
mod declared;
mod fit;
mod host;
mod judge;
mod named;
mod reader;
mod rules;
mod selector;
mod styles;
mod texts;

pub(crate) use address::{PageAddress, join, name};
pub(crate) use host::ClassEffects;
pub(crate) use judge::{Form, HostStyles, PageSheets};
pub(crate) use named::NamedStyle;
pub(crate) use reader::MAX_SHEET;
#[cfg(feature = "cli")]
pub(crate) use reader::imports;
#[cfg(feature = "proxy")]
pub(crate) use styles::ANY_HOST;
pub use styles::Styles;
pub(crate) use texts::StyleTexts;
