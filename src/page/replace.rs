//! What older copy-protection plugins left in a page, and what of it goes.
//!
//! Their message stands in the text of every page and ends up in every scraped copy; their scripts take the context menu
//! and the keyboard from readers. Elements are known by their ids; inline scripts and styles without one by words that
//! only theirs hold together. The sets were written from the output of WP Content Copy Protection 3.5.9 (`wp-buy`),
//! Secure Copy Content Protection 5.2.2 (`ays`) and All-In-One Security (`aios`). jQuery is never removed, nor a `meta` before the guard's tag.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// A plugin whose output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replace {
    /// WP Content Copy Protection, free and PRO.
    WpBuy,
    /// Secure Copy Content Protection by Ays.
    Ays,
    /// All-In-One Security.
    Aios,
}

/// Element, attribute and value by which it is known.
const ELEMENTS: [(Replace, &str, &str, &str); 9] = [
    (Replace::WpBuy, "script", "id", "wpcp_disable_selection"),
    (Replace::WpBuy, "script", "id", "wpcp_disable_Right_Click"),
    (Replace::WpBuy, "script", "id", "wpcp_css_disable_selection"),
    (Replace::WpBuy, "div", "id", MESSAGE),
    (Replace::Ays, "div", "id", "ays_tooltip"),
    (Replace::Ays, "div", "id", AYS_NOSCRIPT),
    (Replace::Ays, "link", "id", "secure-copy-content-protection-public-css"),
    (Replace::Ays, "script", "id", "secure-copy-content-protection-js"),
    (Replace::Aios, "meta", "http-equiv", "imagetoolbar"),
];

/// The element behind which a print style belongs to the set, too.
const MESSAGE: &str = "wpcp-error-message";
/// The element behind which a `noscript` does.
const AYS_NOSCRIPT: &str = "ays_noscript";

/// Words that an inline `script` or `style` holds all of.
const TEXTS: [(Replace, &[&str]); 11] = [
    (Replace::WpBuy, &[".unselectable", "-webkit-touch-callout"]),
    (Replace::WpBuy, &["show_wpcp_message", "wpcp-error-message"]),
    (Replace::WpBuy, &["#wpcp-error-message", ".msgmsg-box-wpcp"]),
    (Replace::WpBuy, &["show_wccp_pro_message"]),
    (Replace::WpBuy, &["wccp_pro_iscontenteditable"]),
    (Replace::Ays, &["stopPrntScr", "ays_tooltip"]),
    (Replace::Ays, &["#ays_tooltip", ".ays_tooltip_class"]),
    (Replace::Ays, &["*:not(input):not(textarea)::selection"]),
    (Replace::Aios, &[":root", "-webkit-touch-callout: none", "user-select: none"]),
    (Replace::Aios, &["document.oncontextmenu", "document.ondragstart", "/*<![CDATA[*/"]),
    (Replace::WpBuy, PRINT),
];
const PRINT: &[&str] = &["@media print", "body:after", "display: none !important"];

/// The class and the attribute that `wp-buy` gives the body.
const UNSELECTABLE: &[u8] = b"unselectable";

/// Pages without a trace of an older plugin after which its set is of no use.
pub(crate) const ENOUGH_PAGES: u32 = 1_000;

/// Notices that a set matches nothing. It counts until something was found or told.
#[derive(Debug)]
pub(crate) struct ReplaceWatch(AtomicU32);

impl Default for ReplaceWatch {
    fn default() -> Self {
        Self(AtomicU32::new(ENOUGH_PAGES))
    }
}

impl ReplaceWatch {
    /// True once: `sets` are looked for, and this was the last of so many pages that held nothing of them.
    pub(crate) fn is_useless(&self, sets: &[Replace], found: u32) -> bool {
        if sets.is_empty() {
            return false;
        }
        if found > 0 {
            self.0.store(0, Ordering::Relaxed);
            return false;
        }
        let one_less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1)
    }
}

/// What is looked for in one page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replacer {
    sets: Vec<Replace>,
    message_seen: bool,
    /// The last element that went was followed by nothing but white space.
    noscript_next: bool,
}

impl Replacer {
    pub(crate) fn new(sets: &[Replace]) -> Self {
        Self { sets: sets.to_vec(), ..Self::default() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.sets.is_empty()
    }

    fn wants(&self, set: Replace) -> bool {
        self.sets.contains(&set)
    }

    /// Does an element with this attribute go as a whole?
    pub(crate) fn element(&mut self, name: &str, attribute: &[u8], value: &[u8]) -> bool {
        let value = value.trim_ascii();
        let found = ELEMENTS.iter().find(|(set, element, key, known)| {
            self.sets.contains(set)
                && *element == name
                && attribute.eq_ignore_ascii_case(key.as_bytes())
                && value.eq_ignore_ascii_case(known.as_bytes())
        });
        self.message_seen |= found.is_some_and(|(.., known)| *known == MESSAGE);
        self.noscript_next |= found.is_some_and(|(.., known)| *known == AYS_NOSCRIPT);
        found.is_some()
    }

    /// The next start tag may be such a `noscript`: what stands before it must be here.
    pub(crate) fn awaits(&self) -> bool {
        self.noscript_next
    }

    /// The `noscript` that belongs to the element before it. `between` is the source since that one's end.
    pub(crate) fn follows(&mut self, name: &str, between: Option<&[u8]>) -> bool {
        let next = std::mem::take(&mut self.noscript_next);
        next && name == "noscript" && between.is_some_and(|b| b.iter().all(u8::is_ascii_whitespace))
    }

    /// Does the text of an inline `script` or `style` go?
    pub(crate) fn text(&self, text: &[u8]) -> bool {
        let holds = |word: &&str| memchr::memmem::find(text, word.as_bytes()).is_some();
        TEXTS
            .iter()
            .any(|(set, words)| self.wants(*set) && (*words != PRINT || self.message_seen) && words.iter().all(holds))
    }

    /// The classes of a body without the plugin's; `None`: they stay.
    pub(crate) fn classes(&self, value: &[u8]) -> Option<Vec<u8>> {
        let tokens = || value.split(u8::is_ascii_whitespace).filter(|t| !t.is_empty());
        let found = self.wants(Replace::WpBuy) && tokens().any(|t| t == UNSELECTABLE);
        found.then(|| tokens().filter(|t| *t != UNSELECTABLE).collect::<Vec<_>>().join(&b' '))
    }

    /// Does this attribute of a body go?
    pub(crate) fn attribute(&self, name: &[u8]) -> bool {
        self.wants(Replace::WpBuy) && name.eq_ignore_ascii_case(UNSELECTABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_finds_nothing_is_told_once() {
        let sets = [Replace::Ays];
        let useless = |watch: &ReplaceWatch, pages: u32| (0..pages).filter(|_| watch.is_useless(&sets, 0)).count();
        let watch = ReplaceWatch::default();
        assert_eq!((useless(&watch, ENOUGH_PAGES - 1), useless(&watch, 1), useless(&watch, 5_000)), (0, 1, 0));
        let watch = ReplaceWatch::default();
        assert!(!watch.is_useless(&sets, 3));
        assert_eq!(useless(&watch, 5_000), 0, "it was of use");
        assert!(!ReplaceWatch::default().is_useless(&[], 0));
    }

    #[test]
    fn elements_go_by_their_set() {
        let mut both = Replacer::new(&[Replace::WpBuy, Replace::Ays]);
        assert!(both.element("div", b"ID", b" wpcp-error-message "));
        assert!(both.element("link", b"id", b"secure-copy-content-protection-public-css"));
        assert!(!both.element("p", b"id", b"wpcp-error-message"));
        assert!(!both.element("meta", b"http-equiv", b"imagetoolbar"));
        assert!(Replacer::new(&[Replace::Aios]).element("meta", b"http-equiv", b"ImageToolbar"));
        assert!(Replacer::default().is_idle());
    }

    #[test]
    fn texts_go_when_they_hold_every_word() {
        let mut replacer = Replacer::new(&[Replace::WpBuy]);
        assert!(replacer.text(b".unselectable { -webkit-touch-callout: none }"));
        assert!(!replacer.text(b".unselectable { color: red }"));
        let print = b"@media print { body:after { display: none !important } }";
        assert!(!replacer.text(print), "before the message it may be the site's own");
        replacer.element("div", b"id", b"wpcp-error-message");
        assert!(replacer.text(print));
        assert!(!replacer.text(b"stopPrntScr ays_tooltip"));
    }

    #[test]
    fn bodies_become_selectable_again() {
        let replacer = Replacer::new(&[Replace::WpBuy]);
        assert_eq!(replacer.classes(b"home  unselectable page").unwrap(), b"home page");
        assert_eq!(replacer.classes(b"home unselectable-not"), None);
        assert!(replacer.attribute(b"unselectable") && !replacer.attribute(b"class"));
        assert_eq!(Replacer::new(&[Replace::Ays]).classes(b"unselectable"), None);
    }

    #[test]
    fn only_the_noscript_right_behind_goes() {
        let mut replacer = Replacer::new(&[Replace::Ays]);
        let mut after = |name, between| {
            replacer.element("div", b"id", b"ays_noscript");
            replacer.follows(name, between)
        };
        assert!(after("noscript", Some(b" \n")));
        assert!(!after("noscript", Some(b"text")));
        assert!(!after("p", Some(b"")));
        assert!(!after("noscript", None));
        assert!(!replacer.follows("noscript", Some(b"")));
    }
}
