//! What of a page may carry marks: what a site has set, without the keys, and which channels a page shuts out.
#![allow(dead_code, reason = "the scan takes these rules up one by one")]

use std::sync::Arc;

use lol_html::Selector;

use super::article::Shared;
use super::forms::Spelling;
use super::tokens::Tokens;
use crate::slot::FormKinds;

/// What of a page may carry marks. Built once a site, cheap to clone. The default is what holds where nothing is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarkRules {
    /// What is the article; empty: what is by itself.
    pub(crate) roots: Arc<[Selector]>,
    /// Nothing is marked in these.
    pub(crate) skip: Arc<[Selector]>,
    /// White space and spellings stay in these.
    pub(crate) preserve: Arc<[Selector]>,
    /// No block is sealed in these.
    pub(crate) unsealed: Arc<[Selector]>,
    /// Spellings that may be chosen, in a language in which both are usual.
    pub(crate) forms: FormKinds,
    /// All spellings of a block go by the first one.
    pub(crate) block_consistency: bool,
    pub(crate) variants: Variants,
    /// Tags may hold the mark.
    pub(crate) tokens: bool,
    /// The site's own host, and where deckle's paths are: which addresses may hold it.
    pub(crate) host: Arc<str>,
    pub(crate) mount: Arc<str>,
    /// Pages that a script compares with its own text are marked, too.
    pub(crate) hydrated_ok: bool,
    /// The log is told of the page once.
    pub(crate) note: bool,
    /// Stands for all that shapes a page but its source.
    pub(crate) version: u32,
    /// Channels that every page shuts out.
    pub(crate) gate: Gate,
}

impl MarkRules {
    /// Which channels a page shuts out that names these style sheets before its first block.
    pub(crate) fn judge(&self, _: &Sheets) -> Gate {
        self.gate
    }
}

/// What becomes of alternatives that an author has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Variants {
    /// Nothing: they stay as they are written.
    #[default]
    Ignore,
    /// The first one stands in every copy.
    First,
    /// The mark chooses.
    Choose,
}

impl Shared {
    /// What may carry marks, now that the language of the page is known.
    pub(super) fn mark(&mut self, rules: &MarkRules, language: Option<&str>) {
        self.text.spell(Spelling::new(rules, language));
        self.tokens = Tokens::new(rules);
    }

    /// The page is over, or no more of it is looked at.
    pub(super) fn finish(&mut self) {
        self.variants.forget();
        self.text.finish(&mut self.edits);
    }
}

/// The style sheets that a page names before its first block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sheets {
    /// Their addresses, hashed.
    pub(crate) linked: Vec<u64>,
}

impl Sheets {
    /// Bytes in memory, besides its own.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.linked)
    }
}

/// Channels that a page shuts out, and why: codes of the log, such as `w:css_unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gate {
    /// White space; `None`: it may be used.
    pub(crate) white: Option<&'static str>,
    pub(crate) seal: Option<&'static str>,
}

impl Gate {
    /// As they stand in the log, sorted by channel.
    pub(crate) fn codes(self) -> Vec<&'static str> {
        [self.seal, self.white].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_logged_by_channel() {
        assert!(Gate::default().codes().is_empty());
        let shut = Gate { white: Some("w:css_unknown"), seal: Some("s:css_boxes") };
        assert_eq!(shut.codes(), ["s:css_boxes", "w:css_unknown"]);
    }
}
