//! The style that a page names, gathered while it is scanned.
//!
//! What stands before the first block decides about the page; what comes later counts for the next one.

use std::sync::Arc;

use http::Uri;

use super::address::PageAddress;
use super::judge::PageSheets;
use super::reader;
use super::rules::SheetRules;
use super::texts::StyleTexts;
use crate::page::marks::MarkRules;

/// Longer `<style>` elements are not read.
const MAX_STYLE: usize = 256 << 10;

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct NamedStyle {
    active: bool,
    base: Option<Uri>,
    /// The page has said where it stands.
    based: bool,
    found: PageSheets,
    /// The first block has begun.
    closed: bool,
    text: String,
    too_long: bool,
    texts: Option<Arc<StyleTexts>>,
}

impl NamedStyle {
    pub(crate) fn new(rules: &MarkRules) -> Self {
        let texts = rules.style_texts.clone();
        let base = rules.address.as_ref().and_then(PageAddress::uri);
        Self { active: rules.sheets.is_some(), base, texts, ..Self::default() }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    pub(crate) fn found(&self) -> &PageSheets {
        &self.found
    }

    /// The start tag of a `link` or `base` element, by its attributes as they are written.
    pub(crate) fn element(&mut self, name: &str, attribute: impl Fn(&str) -> Option<String>) {
        if !self.active || self.closed {
            return;
        }
        let Some(to) = attribute("href").map(|to| to.replace("&amp;", "&")) else { return };
        if name == "base" {
            if !self.based {
                self.based = true;
                self.base = self.base.as_ref().and_then(|base| super::join(base, &to));
            }
            return;
        }
        let rel = attribute("rel").unwrap_or_default().to_ascii_lowercase();
        let is = |token: &str| rel.split_ascii_whitespace().any(|is| is == token);
        // A script makes such a link one of a style sheet when it has come.
        let later = is("preload") && attribute("as").is_some_and(|what| what.trim().eq_ignore_ascii_case("style"));
        let unused = is("alternate") || attribute("disabled").is_some();
        if later || (is("stylesheet") && !unused) {
            self.found.link(self.base.as_ref(), &to);
        }
    }

    /// A part of the text of a `<style>` element.
    pub(crate) fn text(&mut self, part: &str, last: bool) {
        if !self.active {
            return;
        }
        if self.text.len() + part.len() <= MAX_STYLE {
            self.text.push_str(part);
        } else {
            self.too_long = true;
        }
        if last {
            let (text, too_long) = (std::mem::take(&mut self.text), std::mem::take(&mut self.too_long));
            match (too_long, self.closed) {
                (true, false) => self.found.unread(),
                (true, true) => {}
                (false, false) => self.found.style(self.base.as_ref(), self.read(&text).as_ref()),
                (false, true) => self.read(&text).iter().for_each(|rules| self.found.late_style(rules)),
            }
        }
    }

    fn read(&self, css: &str) -> Option<Arc<SheetRules>> {
        match &self.texts {
            Some(texts) => texts.read(css),
            None => reader::read(css.as_bytes()).map(Arc::new),
        }
    }

    /// The first block begins: there may be places from here on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::style::Styles;

    fn named() -> NamedStyle {
        let address = Some(PageAddress { host: "news.example".into(), target: "/a/b".into() });
        NamedStyle::new(&MarkRules { sheets: Some(Arc::default()), address, ..MarkRules::default() })
    }

    fn link(named: &mut NamedStyle, name: &str, attributes: &[(&str, &str)]) {
        named.element(name, |wanted| attributes.iter().find(|(is, _)| *is == wanted).map(|(_, v)| (*v).to_owned()));
    }

    /// Is the page open where only these sheets are known?
    fn open(named: &NamedStyle, sheets: &[&str]) -> bool {
        let styles = Styles::default();
        for name in sheets {
            drop(styles.learn("news.example", name, b""));
        }
        styles.host("news.example").judge(named.found()).white.is_none()
    }

    #[test]
    fn links_that_are_style_sheets_are_named() {
        for (attributes, named_it) in [
            (&[("rel", "stylesheet"), ("href", "s.css")][..], true),
            (&[("rel", "x StyleSheet"), ("href", "/a/s.css")][..], true),
            (&[("rel", "preload"), ("as", "style"), ("href", "s.css")][..], true),
            (&[("rel", "preload"), ("as", "font"), ("href", "s.css")][..], false),
            (&[("rel", "alternate stylesheet"), ("href", "s.css")][..], false),
            (&[("rel", "stylesheet"), ("disabled", ""), ("href", "s.css")][..], false),
            (&[("rel", "stylesheet")][..], false),
            (&[("rel", "icon"), ("href", "s.css")][..], false),
        ] {
            let mut page = named();
            link(&mut page, "link", attributes);
            assert_eq!(!open(&page, &[]), named_it, "{attributes:?}");
            assert!(open(&page, &["news.example/a/s.css"]), "{attributes:?}");
        }
        let mut page = named();
        link(&mut page, "base", &[("href", "/static/?a&amp;b")]);
        link(&mut page, "base", &[("href", "/other/")]);
        link(&mut page, "link", &[("rel", "stylesheet"), ("href", "s.css?a&amp;b")]);
        assert!(open(&page, &["news.example/static/s.css?a&b"]));
    }

    #[test]
    fn what_comes_behind_the_first_block_counts_later() {
        let mut page = named();
        page.text("p{white-", false);
        page.text("space:pre}", true);
        assert!(page.found().inline().preserve.contains("p"));
        page.close();
        link(&mut page, "link", &[("rel", "stylesheet"), ("href", "late.css")]);
        page.text(".x{white-space:pre}", true);
        let styles = Styles::default();
        assert!(!styles.host("a").knows(page.found()));
        styles.learn_page("a", page.found());
        assert!(styles.host("a").knows(page.found()) && styles.host("a").judge(page.found()).white.is_none());
        assert!(styles.host("a").classes(b"x", false).preserve);
    }

    #[test]
    fn a_long_style_element_is_not_read_and_nobody_looks_where_nothing_is_marked() {
        let mut page = named();
        page.text(&" ".repeat(MAX_STYLE), false);
        page.text(" ", true);
        assert!(!open(&page, &[]));
        let mut page = NamedStyle::default();
        page.text("p{white-space:pre}", true);
        link(&mut page, "link", &[("rel", "stylesheet"), ("href", "s.css")]);
        assert!(!page.is_active() && *page.found() == PageSheets::default());
    }
}
