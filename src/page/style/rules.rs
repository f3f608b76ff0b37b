//! What a style sheet says, in a form that is kept.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a sheet says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SheetRules {
    /// Selectors of elements in which white space does not collapse.
    pub(crate) preserve: BTreeSet<String>,
    /// Selectors of elements in which a seal would get a box.
    pub(crate) unsealed: BTreeSet<String>,
    /// Classes of blocks in which it would, right below them.
    pub(crate) boxed: BTreeSet<String>,
    /// White space may stay anywhere.
    pub(crate) white_off: bool,
    /// A seal may get a box anywhere.
    pub(crate) seal_off: bool,
    /// Addresses of sheets that count as parts of this one, as they are written.
    pub(crate) imports: BTreeSet<String>,
}

impl SheetRules {
    /// Adds what another one says, up to `most` entries of a kind.
    pub(super) fn merge(&mut self, other: &Self, most: usize) {
        self.white_off |= other.white_off;
        self.seal_off |= other.seal_off;
        self.add_regions(other, most);
    }

    /// True: something is new.
    pub(super) fn add_regions(&mut self, other: &Self, most: usize) -> bool {
        let before = (self.preserve.len(), self.unsealed.len(), self.boxed.len());
        let add = |to: &mut BTreeSet<String>, from: &BTreeSet<String>| {
            for text in from {
                if to.len() < most && !to.contains(text) {
                    to.insert(text.clone());
                }
            }
        };
        add(&mut self.preserve, &other.preserve);
        add(&mut self.unsealed, &other.unsealed);
        add(&mut self.boxed, &other.boxed);
        before != (self.preserve.len(), self.unsealed.len(), self.boxed.len())
    }
}
