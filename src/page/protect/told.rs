//! What is told of a page once, however often it is read.

use std::collections::BTreeSet;
use std::sync::Mutex;

/// Paths that are remembered; beyond, nothing more is told.
const MAX_PATHS: usize = 256;

/// Paths of which something was told.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeSet<String>>);

impl Told {
    /// An author has written more alternatives than two.
    pub(super) fn too_many_alternatives(&self, path: &str) {
        let Ok(mut paths) = self.0.lock() else { return };
        if paths.len() < MAX_PATHS && paths.insert(path.to_owned()) {
            tracing::warn!(
                target: "deckle",
                path,
                "An element of this page has more than two alternatives in `data-variant`: the first two are used."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bounded() {
        let told = Told::default();
        (0..10_000).for_each(|i| told.too_many_alternatives(&format!("/{i}")));
        assert_eq!(told.0.lock().unwrap().len(), MAX_PATHS);
    }
}
