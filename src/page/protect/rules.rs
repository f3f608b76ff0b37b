//! What the section `[watermark]` means for the scan of pages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::ask::Ask;
use super::layer::Marking;
use super::site::Site;
use crate::page::marks::{MarkRules, Variants};
use crate::slot::FormKinds;
use crate::watermark::{Consistency, Level};

/// Paths that are remembered; beyond, nothing more is told.
const MAX_PATHS: usize = 256;

impl Marking {
    /// What of a page may carry marks.
    pub(super) fn rules(&self, mount: &Arc<str>) -> MarkRules {
        let (settings, level) = (&self.settings, self.level());
        let kinds = settings.typographic.kinds.as_ref();
        let kinds = kinds.map_or(FormKinds::ALL, |kinds| FormKinds::of(&kinds.iter().collect::<String>()));
        MarkRules {
            forms: if level >= Level::Typographic { kinds } else { FormKinds::NONE },
            block_consistency: settings.typographic.consistency == Consistency::Block,
            variants: if level >= Level::Variants { Variants::Choose } else { Variants::First },
            tokens: settings.markup,
            mount: Arc::clone(mount),
            ..MarkRules::default()
        }
    }
}

impl Site {
    /// What of this page may carry marks.
    pub(super) fn rules_for(&self, ask: &Ask) -> MarkRules {
        let mut rules = self.rules.clone();
        if rules.tokens {
            let origin = self.settings.origin.as_deref().and_then(|origin| origin.split_once("://"));
            rules.host = origin.map_or(ask.host.as_str(), |(_, host)| host).into();
        }
        rules
    }
}

/// Paths of which something was told.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeSet<String>>);

impl Told {
    /// Of each path once that an author has written more alternatives than two.
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
    use crate::page::Findings;
    use crate::secret::{Secret, Secrets};
    use crate::watermark::Settings;

    #[test]
    fn a_level_opens_its_channels_and_those_before_it() {
        let rules = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
            Marking { secrets, settings, findings: Arc::new(Findings::default()) }.rules(&"/.deckle".into())
        };
        let plain = rules(|_| {});
        assert_eq!((plain.forms, plain.variants, plain.tokens), (FormKinds::NONE, Variants::First, false));
        let typographic = rules(|s| s.level = Some(Level::Typographic));
        assert_eq!((typographic.forms, typographic.variants), (FormKinds::ALL, Variants::First));
        let all = rules(|s| {
            s.level = Some(Level::Variants);
            s.typographic.kinds = Some(vec!['a', 'e']);
            s.typographic.consistency = Consistency::Block;
            s.markup = true;
        });
        assert_eq!((all.forms, all.variants, all.tokens), (FormKinds::of("ae"), Variants::Choose, true));
        assert!(all.block_consistency && !plain.block_consistency);
        assert_eq!(&*all.mount, "/.deckle");
    }

    #[test]
    fn paths_are_bounded() {
        let told = Told::default();
        (0..10_000).for_each(|i| told.too_many_alternatives(&format!("/{i}")));
        assert_eq!(told.0.lock().unwrap().len(), MAX_PATHS);
    }
}
