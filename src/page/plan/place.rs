//! Where a page that is being answered stands among the plans.

use std::sync::Arc;

use super::cache::PlanCache;
use super::validators::Memory;

/// The place of a page in the cache of plans.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) cache: Arc<PlanCache>,
    pub(crate) key: u128,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// The key tells all of the address.
    pub(crate) exact: bool,
    /// Who asks, by a keyed hash; `None`: nobody knows, and the page is not packed for it.
    pub(crate) reader: Option<u64>,
    /// What is remembered of the answer at its end.
    pub(crate) memory: Option<Arc<Memory>>,
}

impl Place {
    /// Was the page another one nearly as often in a row as is borne?
    pub(crate) fn is_restless(&self) -> bool {
        self.exact && self.cache.is_restless(self.key, self.now)
    }
}
