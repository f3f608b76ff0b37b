//! What of a page may carry marks: what a site has set, without the keys, and which channels a page shuts out.

use std::sync::Arc;

use lol_html::Selector;

use super::article::Shared;
use super::forms::Spelling;
use super::style::{ClassEffects, HostStyles, NamedStyle, PageAddress, PageSheets, StyleTexts};
use super::tokens::Tokens;
use crate::slot::FormKinds;

/// What of a page may carry marks. Built once a site, cheap to clone. The default is what holds where nothing is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarkRules {
    /// What is the article; empty: what is by itself.
    pub(crate) roots: Arc<[Selector]>,
    /// Nothing is marked in these.
    pub(crate) skip: Arc<[Selector]>,
    /// White space and spellings stay in these, besides those of the style sheets.
    pub(crate) preserve: Arc<[Selector]>,
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
    /// What is known of the style sheets of its host; `None`: nothing is marked.
    pub(crate) sheets: Option<Arc<HostStyles>>,
    /// What `<style>` elements of other pages have said.
    pub(crate) style_texts: Option<Arc<StyleTexts>>,
    /// White space is used only where all sheets of a page are known.
    pub(crate) prove_white: bool,
    /// The address of the page, by which its sheets are told.
    pub(crate) address: Option<PageAddress>,
}

impl MarkRules {
    /// Which channels a page shuts out that says this of its style before its first block.
    pub(crate) fn judge(&self, page: &PageSheets) -> Gate {
        let gate = self.sheets.as_deref().map(|styles| styles.judge(page)).unwrap_or_default();
        // Else somebody has looked at the sheets.
        Gate { white: gate.white.filter(|_| self.prove_white), ..gate }
    }

    /// May an attribute of any name decide what is marked?
    pub(super) fn has_selectors(&self) -> bool {
        let (preserve, unsealed) = self.sheets.as_deref().map(HostStyles::selectors).unwrap_or_default();
        [&self.roots, &self.skip, &self.preserve, preserve, unsealed].into_iter().any(|list| !list.is_empty())
    }

    /// What its classes mean for an element, as the style sheets of the host have it; `block`: it may be sealed itself.
    pub(super) fn classes(&self, value: &[u8], block: bool) -> ClassEffects {
        let styles = self.sheets.as_deref().filter(|styles| styles.reads_classes());
        styles.map(|styles| styles.classes(value, block)).unwrap_or_default()
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
        self.style = NamedStyle::new(rules);
    }

    /// The page is over, or no more of it is looked at.
    pub(super) fn finish(&mut self) {
        self.variants.forget();
        self.text.finish(&mut self.edits);
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
        // Most pages shut out nothing.
        if self == Self::default() {
            return Vec::new();
        }
        [self.seal, self.white].into_iter().flatten().collect()
    }
}

#[cfg(test)]
impl MarkRules {
    /// Those of a host whose style sheets shut these channels out.
    pub(crate) fn shutting(white: bool, seal: bool) -> Self {
        let styles = super::style::Styles::default();
        let rules = [(white, ":is(p){white-space:pre}"), (seal, "span{float:left}")];
        let css: String = rules.into_iter().filter(|(is, _)| *is).map(|(_, rule)| rule).collect();
        styles.learn("news.example", "news.example/s.css", css.as_bytes());
        Self { sheets: Some(styles.host("news.example")), prove_white: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_needs_a_proof_unless_somebody_has_looked() {
        let mut unknown = PageSheets::default();
        unknown.unread();
        let rules = |prove_white| MarkRules { sheets: Some(Arc::default()), prove_white, ..MarkRules::default() };
        assert_eq!(rules(true).judge(&unknown), Gate { white: Some("w:css_unknown"), seal: None });
        assert_eq!(rules(true).judge(&PageSheets::default()), Gate::default());
        assert_eq!(rules(false).judge(&unknown), Gate::default());
        assert_eq!(MarkRules::default().judge(&unknown), Gate::default(), "a page without marks");
        let seal = Some("s:css_boxes");
        let shut = MarkRules::shutting(true, true);
        assert_eq!(shut.judge(&unknown), Gate { white: Some("w:css_preserves"), seal });
        assert_eq!(MarkRules { prove_white: false, ..shut }.judge(&unknown), Gate { white: None, seal });
    }

    #[test]
    fn gates_are_logged_by_channel() {
        assert!(Gate::default().codes().is_empty());
        let shut = Gate { white: Some("w:css_unknown"), seal: Some("s:css_boxes") };
        assert_eq!(shut.codes(), ["s:css_boxes", "w:css_unknown"]);
    }
}
