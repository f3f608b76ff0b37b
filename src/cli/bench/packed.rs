//! The form of a page that is compressed once and marked in its compressed bytes.

use serde::Serialize;

use super::stage::Stage;

/// What the packed form of a page costs.
#[derive(Debug, Serialize)]
pub(super) struct Packed {
    /// Compressed bytes of the quick effort.
    pub(super) quick_bytes: u64,
    /// The same of the full effort.
    pub(super) full_bytes: u64,
    /// Nanoseconds to make it, quick.
    pub(super) quick_ns: u64,
    /// Nanoseconds to make it, full.
    pub(super) full_ns: u64,
    /// Nanoseconds to make one visitor's body of it.
    pub(super) patch_ns: u64,
    /// Bytes of memory that a plan with its packed form takes.
    pub(super) held_bytes: u64,
}

/// Figures of the packed form of the page in `stage`; `None`: they are not measured yet. The one place to fill in:
/// the text, the JSON and the goals of `scripts/bench` follow.
pub(super) fn figures(_: &Stage<'_>) -> Option<Packed> {
    None
}
