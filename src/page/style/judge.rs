//! What follows from style sheets for one page: where a scan looks for places, and which channels the page shuts out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use lol_html::Selector;
use smallvec::SmallVec;

use super::address;
use super::host::{ClassEffects, HostRules};
use super::rules::SheetRules;
use crate::page::marks::Gate;

/// Sheets that one page names.
const MAX_NAMED: usize = 32;
/// Codings of one sheet that are known again.
const MAX_FORMS: usize = 4;

/// How a sheet came, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) codings: u64,
    /// Of its bytes as they came.
    pub(crate) hash: u64,
}

/// A style sheet that has passed.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) name: String,
    /// A hash of its text; 0 where nobody has read it.
    pub(super) content: u64,
    /// `None`: it could not be read.
    pub(super) rules: Option<Arc<SheetRules>>,
    /// Sheets that are part of it; `None`: they cannot be told.
    imports: Option<Box<[u64]>>,
    /// A page has named it.
    pub(super) wanted: AtomicBool,
    /// It has changed while nobody kept a copy.
    varies: AtomicBool,
    /// The forms in which it came, and whether it came so again: most do.
    forms: Mutex<Vec<(Form, bool)>>,
}

impl Sheet {
    pub(super) fn new(name: String, content: u64, rules: Option<Arc<SheetRules>>) -> Self {
        let base: Option<Uri> = format!("http://{name}").parse().ok();
        let import = |to: &String| Some(address::hash(&address::resolve(base.as_ref()?, to)?));
        let imports = rules.as_deref().and_then(|rules| rules.imports.iter().map(import).collect());
        let (wanted, varies) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { name, content, rules, imports, wanted, varies, forms: Mutex::default() }
    }

    /// Nobody has read what it holds now.
    pub(super) fn unread(name: String) -> Self {
        Self { varies: AtomicBool::new(true), ..Self::new(name, 0, None) }
    }

    /// It takes the place of this one.
    pub(super) fn follow(&self, old: &Self) {
        self.wanted.fetch_or(old.wanted.load(Ordering::Relaxed), Ordering::Relaxed);
        self.varies.fetch_or(old.varies.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A page has named it. Written once: many read it at once.
    fn want(&self) {
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    /// It came in this form.
    pub(super) fn came(&self, form: Form) {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if !forms.iter().any(|(known, _)| *known == form) {
            forms.truncate(MAX_FORMS - 1);
            forms.insert(0, (form, false));
        }
    }

    /// It comes in this form now; did it before?
    fn has_come(&self, form: Form) -> bool {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, again)) = forms.iter_mut().find(|(known, _)| *known == form) else { return false };
        *again = true;
        true
    }

    /// Did it come in these codings again, and always as it was?
    fn is_steady(&self, codings: u64) -> bool {
        let forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_these = forms.iter().filter(|(form, _)| form.codings == codings);
        let again = of_these.next().is_some_and(|(_, again)| *again);
        again && of_these.next().is_none() && !self.varies.load(Ordering::Relaxed)
    }
}

/// What one page says of its style.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageSheets {
    /// The sheets that it names, by a hash of their address.
    sheets: Vec<u64>,
    /// It names one that cannot be told, or too many.
    unknown: bool,
    /// What its own `<style>` elements say.
    inline: Arc<SheetRules>,
    /// And those that come too late for this page.
    late: Arc<SheetRules>,
}

impl PageSheets {
    /// A sheet that the page at `base` names.
    pub(crate) fn link(&mut self, base: Option<&Uri>, to: &str) {
        let name = base.and_then(|base| address::resolve(base, to));
        match name.map(|name| address::hash(&name)) {
            Some(sheet) if self.sheets.contains(&sheet) => {}
            Some(sheet) if self.sheets.len() < MAX_NAMED => self.sheets.push(sheet),
            Some(_) | None => self.unknown = true,
        }
    }

    /// What a `<style>` element says; `None`: it cannot be read.
    pub(crate) fn style(&mut self, base: Option<&Uri>, rules: Option<&Arc<SheetRules>>) {
        let Some(rules) = rules else { return self.unread() };
        for import in &rules.imports {
            self.link(base, import);
        }
        add(&mut self.inline, rules);
    }

    /// The same, behind the first block.
    pub(crate) fn late_style(&mut self, rules: &Arc<SheetRules>) {
        add(&mut self.late, rules);
    }

    /// Something that cannot be read.
    pub(crate) fn unread(&mut self) {
        self.unknown = true;
    }

    /// What the page says itself.
    pub(super) fn inline(&self) -> &SheetRules {
        &self.inline
    }

    pub(super) fn late(&self) -> &SheetRules {
        &self.late
    }

    /// Bytes of memory, for a cache.
    pub(crate) fn size(&self) -> usize {
        let texts = [&self.inline, &self.late].map(|rules| [&rules.preserve, &rules.unsealed, &rules.boxed]);
        let texts = texts.into_iter().flatten().flatten();
        let texts: usize = texts.map(|text| text.len() + size_of::<String>()).sum();
        self.sheets.len() * size_of::<u64>() + texts
    }
}

/// Most pages have one element that says something.
fn add(to: &mut Arc<SheetRules>, rules: &Arc<SheetRules>) {
    if **to == SheetRules::default() {
        *to = Arc::clone(rules);
    } else {
        Arc::make_mut(to).merge(rules, usize::MAX);
    }
}

/// Sheets of a page; no more than a host has.
type Named<'s> = SmallVec<[&'s Sheet; MAX_NAMED]>;

/// What is known of the style of one host at one moment.
#[derive(Debug, Default)]
pub(crate) struct HostStyles {
    /// By a hash of their address.
    sheets: BTreeMap<u64, Arc<Sheet>>,
    /// Hosts with the same sheets share what these say.
    pub(super) rules: Arc<HostRules>,
}

impl HostStyles {
    pub(super) fn new(sheets: impl Iterator<Item = Arc<Sheet>>, rules: Arc<HostRules>) -> Self {
        Self { sheets: sheets.map(|sheet| (address::hash(&sheet.name), sheet)).collect(), rules }
    }

    /// This sheet comes in this form now; did it before, and is it known? Then there is nothing to read.
    pub(crate) fn has_come(&self, name: &str, form: Form) -> bool {
        self.sheets.get(&address::hash(name)).is_some_and(|sheet| sheet.has_come(form))
    }

    /// Did this sheet come in these codings again, and always as it was? Then it is only compared.
    pub(crate) fn is_steady(&self, name: &str, codings: u64) -> bool {
        self.sheets.get(&address::hash(name)).is_some_and(|sheet| sheet.is_steady(codings))
    }

    /// Stands for all that decides where a scan looks for places: part of what shapes a page.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.rules.fingerprint()
    }

    /// Elements in which white space stays, and those in which no block is sealed.
    pub(crate) fn selectors(&self) -> (&[Selector], &[Selector]) {
        self.rules.selectors()
    }

    /// Does any class mean something?
    pub(crate) fn reads_classes(&self) -> bool {
        self.rules.reads_classes()
    }

    /// What the value of a `class` means to a scan, as it is written; `block`: it is that of a block that may be sealed.
    pub(crate) fn classes(&self, value: &[u8], block: bool) -> ClassEffects {
        self.rules.classes(value, block)
    }

    /// Is there nothing to learn from what the page says itself?
    pub(crate) fn knows(&self, page: &PageSheets) -> bool {
        self.rules.knows(page.inline()) && self.rules.knows(page.late())
    }

    /// Which channels a page shuts out.
    pub(crate) fn judge(&self, page: &PageSheets) -> Gate {
        let inline = page.inline();
        let preserves = inline.white_off || !self.rules.holds_preserved(inline);
        let boxes = inline.seal_off || !self.rules.holds_boxed(inline);
        let white = if self.rules.white_off || preserves {
            Some("w:css_preserves")
        } else if page.unknown | !self.are_read(&page.sheets) {
            Some("w:css_unknown")
        } else {
            None
        };
        Gate { white, seal: (self.rules.seal_off || boxes).then_some("s:css_boxes") }
    }

    /// All of these, and what they import. All are asked, so that all are known to be wanted.
    fn are_read(&self, sheets: &[u64]) -> bool {
        let mut named = Named::new();
        let mut read = self.find(sheets, &mut named);
        let mut at = 0;
        while let Some(sheet) = named.get(at).copied() {
            at += 1;
            sheet.want();
            read &= sheet.rules.is_some();
            read &= sheet.imports.as_deref().is_some_and(|imports| self.find(imports, &mut named));
        }
        read
    }

    /// Adds those that are not among the others yet. False: one of them is not known.
    fn find<'s>(&'s self, sheets: &[u64], named: &mut Named<'s>) -> bool {
        let mut known = true;
        for sheet in sheets {
            match self.sheets.get(sheet) {
                Some(sheet) if named.iter().any(|one| std::ptr::eq(*one, Arc::as_ptr(sheet))) => {}
                Some(sheet) => named.push(sheet),
                None => known = false,
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::style::reader;

    fn base() -> Uri {
        "http://news.example/a/b".parse().unwrap()
    }

    fn sheet(name: &str, css: &str) -> Arc<Sheet> {
        Arc::new(Sheet::new(name.to_owned(), 0, reader::read(css.as_bytes()).map(Arc::new)))
    }

    fn styles(sheets: &[(&str, &str)]) -> HostStyles {
        let sheets: Vec<Arc<Sheet>> = sheets.iter().map(|(name, css)| sheet(name, css)).collect();
        let rules = HostRules::new(&sheets, &SheetRules::default());
        HostStyles::new(sheets.into_iter(), Arc::new(rules))
    }

    fn page(links: &[&str], css: &str) -> PageSheets {
        let mut page = PageSheets::default();
        for link in links {
            page.link(Some(&base()), link);
        }
        page.style(Some(&base()), reader::read(css.as_bytes()).map(Arc::new).as_ref());
        page
    }

    #[test]
    fn a_channel_is_open_where_all_sheets_are_read_and_none_forbids_it() {
        let known = styles(&[
            ("news.example/ok.css", "p{margin:0}"),
            ("news.example/flex.css", ".by{display:flex}pre{white-space:pre}.poem{white-space:pre}"),
            ("news.example/import.css", "@import 'ok.css';"),
            ("news.example/half.css", "@import 'gone.css';"),
            ("news.example/loop.css", "@import 'loop.css';"),
            ("news.example/cut.css", "/*"),
        ]);
        const NONE: &[&str] = &[];
        let unknown = Some("w:css_unknown");
        for (links, css, white, seal) in [
            (NONE, "", None, None),
            (&["/ok.css", "../flex.css", "//news.example/ok.css"][..], "", None, None),
            (&["/import.css", "/loop.css"][..], "", None, None),
            (&["/half.css"][..], "", unknown, None),
            (&["/cut.css"][..], "", unknown, None),
            (&["/ok.css", "/new.css"][..], "", unknown, None),
            (&["https://cdn.example/ok.css"][..], "", unknown, None),
            (&["data:text/css,x"][..], "", unknown, None),
            (&["/ok.css"][..], "a{color:red}", None, None),
            (&["/ok.css"][..], "a{color:red}/*", unknown, None),
            (NONE, "@import '/new.css';", unknown, None),
            (NONE, "@import '/ok.css';", None, None),
            (NONE, "p{white-space:pre}", Some("w:css_preserves"), None),
            (&["/new.css"][..], ".x :is(p){white-space:pre}", Some("w:css_preserves"), None),
            // What the host's sheets say already, or what is never marked.
            (NONE, ".poem{white-space:pre}code{white-space:pre}.BY{display:flex}", None, None),
            (NONE, "p span{display:block}", None, Some("s:css_boxes")),
            (NONE, ".new{display:flex}", None, Some("s:css_boxes")),
            (NONE, "*{padding:1px}", None, Some("s:css_boxes")),
        ] {
            let expect = Gate { white, seal };
            assert_eq!(known.judge(&page(links, css)), expect, "{links:?} {css}");
        }
        let many: Vec<String> = (0..=MAX_NAMED).map(|i| format!("/ok.css?{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(page(&many, "").unknown && page(&many, "").size() <= MAX_NAMED * 8);
    }

    #[test]
    fn all_that_a_page_names_is_wanted_whatever_is_unknown_beside_it() {
        let known = styles(&[
            ("news.example/a.css", "@import 'gone.css';@import 'b.css';@import 'c.css';"),
            ("news.example/b.css", "@import 'c.css';@import 'a.css';"),
            ("news.example/c.css", "/*"),
            ("news.example/d.css", ""),
        ]);
        let wanted = |name: &str| known.sheets[&address::hash(name)].wanted.load(Ordering::Relaxed);
        let all = ["a", "b", "c", "d"].map(|name| format!("news.example/{name}.css"));
        assert_eq!(known.judge(&page(&["/d.css"], "")).white, None);
        assert_eq!(all.each_ref().map(|name| wanted(name)), [false, false, false, true]);
        assert_eq!(known.judge(&page(&["/new.css", "/a.css"], "")).white, Some("w:css_unknown"));
        assert_eq!(all.each_ref().map(|name| wanted(name)), [true; 4]);
    }

    #[test]
    fn what_sheets_forbid_is_forbidden_on_the_whole_host() {
        let off = styles(&[("news.example/a.css", ".post :is(p,li){white-space:break-spaces}span{float:left}")]);
        let verdict = off.judge(&PageSheets::default());
        assert_eq!(verdict, Gate { white: Some("w:css_preserves"), seal: Some("s:css_boxes") });
    }

    #[test]
    fn the_demo_site_may_be_marked() {
        let all = concat!(
            include_str!("../../../assets/demo/css/base.css"),
            include_str!("../../../assets/demo/css/layout.css"),
            include_str!("../../../assets/demo/css/article.css")
        );
        let known = styles(&[("news.example/a.css", all)]);
        assert_eq!(known.judge(&page(&["/a.css"], "")), Gate::default());
        assert!(known.classes(b"byline", true).unsealed && known.classes(b"by", true).unsealed);
        assert!(!known.classes(b"body", true).unsealed && !known.classes(b"reading", false).unsealed);
        assert_eq!(known.selectors().0.len(), 0);
    }
}
