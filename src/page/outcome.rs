//! What happened to a page.

use std::sync::Arc;

use super::learn::Finding;
use super::marks::Gate;
use super::style::PageSheets;
use crate::slot::{Carriers, PlanNote};

/// What happened to a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Why the list of edits ended before the page; `None`: it did not.
    pub(crate) ended: Option<&'static str>,
    pub(crate) head_placed: bool,
    pub(crate) footer_placed: bool,
    /// Why no slot was used, if so.
    pub(crate) no_slots: Option<&'static str>,
    /// Places that carry the mark of this copy.
    pub(crate) carriers: Carriers,
    /// Channels that were not used here.
    pub(crate) off: Gate,
    /// What the page says of its style, which decides about that.
    pub(crate) sheets: Arc<PageSheets>,
    /// What the log is told of the page.
    pub(crate) note: Option<Arc<PlanNote>>,
    /// That it must not be marked was seen when slots had been found.
    pub(crate) mark_late: bool,
    /// Learned only when the page was read to its end.
    pub(crate) finding: Option<Finding>,
    /// Pieces of older plugins that were taken out.
    pub(crate) replaced: u32,
    /// An author has written more than two alternatives.
    pub(crate) too_many_alternatives: bool,
    /// Edits that came too late: a bug, never a broken page.
    pub(crate) late: u32,
}

#[cfg(test)]
impl Outcome {
    /// Gaps that were marked.
    pub(crate) fn gaps(&self) -> u32 {
        self.carriers.white
    }

    /// Blocks that were sealed.
    pub(crate) fn seals(&self) -> u32 {
        self.carriers.seals
    }
}
