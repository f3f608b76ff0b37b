//! What follows from style sheets for one page: where a scan looks for places, and which channels the page shuts out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use lol_html::Selector;
use twox_hash::XxHash3_64;

use super::address;
use super::rules::SheetRules;
use super::selector::{self, Complex};
use crate::page::marks::Gate;

/// Regions that a scan looks for by selector; classes are looked up.
const MAX_SELECTORS: usize = 24;
const MAX_CLASSES: usize = 8_192;
/// Sheets that one page names.
const MAX_NAMED: usize = 32;
/// Codings of one sheet that are known again.
const MAX_FORMS: usize = 4;
/// How pages write what may stand in a class.
const REFERENCES: [(&str, &str); 5] = [("&gt;", ">"), ("&lt;", "<"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];

/// A style sheet that has passed.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) name: String,
    /// A hash of its text.
    pub(super) content: u64,
    /// `None`: it could not be read.
    pub(super) rules: Option<Arc<SheetRules>>,
    /// Sheets that are part of it; `None`: they cannot be told.
    imports: Option<Box<[u64]>>,
    /// A page has named it.
    pub(super) wanted: AtomicBool,
    /// Hashes of the forms in which it came: most come again.
    forms: Mutex<Vec<u64>>,
}

impl Sheet {
    pub(super) fn new(name: String, content: u64, rules: Option<Arc<SheetRules>>) -> Self {
        let base: Option<Uri> = format!("http://{name}").parse().ok();
        let import = |to: &String| Some(address::hash(&address::resolve(base.as_ref()?, to)?));
        let imports = rules.as_deref().and_then(|rules| rules.imports.iter().map(import).collect());
        Self { name, content, rules, imports, wanted: AtomicBool::new(false), forms: Mutex::default() }
    }
}

impl Sheet {
    /// It came in this form.
    pub(super) fn came(&self, form: u64) {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if !forms.contains(&form) {
            forms.truncate(MAX_FORMS - 1);
            forms.insert(0, form);
        }
    }

    fn has_come(&self, form: u64) -> bool {
        self.forms.lock().is_ok_and(|forms| forms.contains(&form))
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

/// Elements of a page, told by their classes or by selectors.
#[derive(Debug, Default)]
struct Regions {
    /// In lower case: some pages do not tell the cases apart.
    classes: BTreeSet<String>,
    selectors: BTreeSet<String>,
    parsed: Arc<[Selector]>,
    /// All of them as they were told: pages tell the same ones again and again.
    told: BTreeSet<String>,
}

/// How a region is looked for.
enum Told {
    /// Nothing in it is ever marked.
    Never,
    Classes(Vec<String>),
    Selector,
}

impl Told {
    fn of(region: &str) -> Self {
        let all = selector::parse(region).unwrap_or_default();
        if !all.is_empty() && !all.iter().any(Complex::may_hold_marks) {
            return Self::Never;
        }
        let classes: Option<Vec<String>> =
            all.iter().map(|complex| complex.class().map(str::to_ascii_lowercase)).collect();
        classes.filter(|classes| !classes.is_empty()).map_or(Self::Selector, Self::Classes)
    }
}

impl Regions {
    /// False: there is no room for it.
    fn add(&mut self, region: &str) -> bool {
        let added = self.told.contains(region) || self.place(region);
        if added {
            self.told.insert(region.to_owned());
        }
        added
    }

    fn place(&mut self, region: &str) -> bool {
        match Told::of(region) {
            Told::Never => true,
            Told::Classes(classes) if self.classes.len() + classes.len() <= MAX_CLASSES => {
                self.classes.extend(classes);
                true
            }
            Told::Selector if self.selectors.contains(region) => true,
            Told::Selector if self.selectors.len() < MAX_SELECTORS => self.selectors.insert(region.to_owned()),
            Told::Classes(_) | Told::Selector => false,
        }
    }

    fn holds(&self, region: &str) -> bool {
        self.told.contains(region) || self.covers(region)
    }

    fn covers(&self, region: &str) -> bool {
        match Told::of(region) {
            Told::Never => true,
            Told::Classes(classes) => classes.iter().all(|class| self.classes.contains(class)),
            Told::Selector => self.selectors.contains(region),
        }
    }

    /// False: the scanner does not take the selectors.
    fn parse(&mut self) -> bool {
        if self.selectors.is_empty() {
            return true;
        }
        let all: Vec<&str> = self.selectors.iter().map(String::as_str).collect();
        let Ok(selector) = all.join(", ").parse::<Selector>() else { return false };
        self.parsed = Arc::new([selector]);
        true
    }
}

/// What the classes of an element mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClassEffects {
    /// White space in it stays as it is.
    pub(crate) preserve: bool,
    /// No block in it is sealed; nor is the element itself.
    pub(crate) unsealed: bool,
}

/// What is known of the style of one host at one moment.
#[derive(Debug, Default)]
pub(crate) struct HostStyles {
    sheets: HashMap<u64, Arc<Sheet>>,
    preserve: Regions,
    unsealed: Regions,
    /// Classes of blocks.
    boxed: BTreeSet<String>,
    white_off: bool,
    seal_off: bool,
    fingerprint: u64,
}

impl HostStyles {
    pub(super) fn new(sheets: impl Iterator<Item = Arc<Sheet>>, pages: &SheetRules) -> Self {
        let mut styles = Self::default();
        for sheet in sheets {
            if let Some(rules) = sheet.rules.as_deref() {
                let whole = styles.take(rules);
                styles.white_off |= rules.white_off || !whole.0;
                styles.seal_off |= rules.seal_off || !whole.1;
            }
            styles.sheets.insert(address::hash(&sheet.name), sheet);
        }
        // What finds no room shuts out the pages that say it, not all of the host.
        styles.take(pages);
        styles.white_off |= !styles.preserve.parse();
        styles.seal_off |= !styles.unsealed.parse();
        styles.fingerprint = styles.hash();
        styles
    }

    /// False, where there was no room: for white space, for seals.
    fn take(&mut self, rules: &SheetRules) -> (bool, bool) {
        let mut whole = (true, true);
        for region in &rules.preserve {
            whole.0 &= self.preserve.add(region);
        }
        for region in &rules.unsealed {
            whole.1 &= self.unsealed.add(region);
        }
        for class in &rules.boxed {
            let room = self.boxed.len() < MAX_CLASSES;
            whole.1 &= room;
            if room {
                self.boxed.insert(class.to_ascii_lowercase());
            }
        }
        whole
    }

    fn hash(&self) -> u64 {
        let lists = [
            &self.preserve.classes,
            &self.preserve.selectors,
            &self.unsealed.classes,
            &self.unsealed.selectors,
            &self.boxed,
        ];
        if lists.iter().all(|list| list.is_empty()) {
            // As where nothing is known.
            return 0;
        }
        let mut text = Vec::new();
        for list in lists {
            for entry in list {
                text.extend_from_slice(entry.as_bytes());
                text.push(0);
            }
            text.push(1);
        }
        XxHash3_64::oneshot(&text)
    }

    /// Has this sheet come in this form before, and is it known? Then there is nothing to read.
    pub(crate) fn has_come(&self, name: &str, form: u64) -> bool {
        self.sheets.get(&address::hash(name)).is_some_and(|sheet| sheet.has_come(form))
    }

    /// Stands for all that decides where a scan looks for places: part of what shapes a page.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Elements in which white space stays, and those in which no block is sealed.
    pub(crate) fn selectors(&self) -> (&Arc<[Selector]>, &Arc<[Selector]>) {
        (&self.preserve.parsed, &self.unsealed.parsed)
    }

    /// Does any class mean something?
    pub(crate) fn reads_classes(&self) -> bool {
        !(self.preserve.classes.is_empty() && self.unsealed.classes.is_empty() && self.boxed.is_empty())
    }

    /// What the value of a `class` means to a scan, as it is written; `block`: it is that of a block that may be sealed.
    pub(crate) fn classes(&self, value: &[u8], block: bool) -> ClassEffects {
        let mut effects = ClassEffects::default();
        let mut text = String::from_utf8_lossy(value).to_ascii_lowercase();
        if text.contains('&') {
            for (reference, character) in REFERENCES {
                text = text.replace(reference, character);
            }
        }
        for class in text.split_ascii_whitespace() {
            effects.preserve |= self.preserve.classes.contains(class);
            effects.unsealed |= self.unsealed.classes.contains(class) || (block && self.boxed.contains(class));
        }
        effects
    }

    fn holds_preserved(&self, rules: &SheetRules) -> bool {
        rules.preserve.iter().all(|region| self.preserve.holds(region))
    }

    fn holds_boxed(&self, rules: &SheetRules) -> bool {
        rules.unsealed.iter().all(|region| self.unsealed.holds(region))
            && rules
                .boxed
                .iter()
                .all(|class| self.boxed.contains(class) || self.boxed.contains(&class.to_ascii_lowercase()))
    }

    /// Is all that the page says itself known?
    pub(crate) fn knows(&self, page: &PageSheets) -> bool {
        [page.inline(), page.late()].into_iter().all(|rules| self.holds_preserved(rules) && self.holds_boxed(rules))
    }

    /// Which channels a page shuts out.
    pub(crate) fn judge(&self, page: &PageSheets) -> Gate {
        let inline = page.inline();
        let preserves = inline.white_off || !self.holds_preserved(inline);
        let boxes = inline.seal_off || !self.holds_boxed(inline);
        let white = if self.white_off || preserves {
            Some("w:css_preserves")
        } else if page.unknown | !self.are_read(&page.sheets) {
            Some("w:css_unknown")
        } else {
            None
        };
        Gate { white, seal: (self.seal_off || boxes).then_some("s:css_boxes") }
    }

    /// All of these, and what they import. All are asked, so that all are known to be wanted.
    fn are_read(&self, sheets: &[u64]) -> bool {
        let (mut open, mut seen, mut read) = (sheets.to_vec(), HashSet::new(), true);
        while let Some(sheet) = open.pop() {
            if !seen.insert(sheet) {
                continue;
            }
            let Some(sheet) = self.sheets.get(&sheet) else {
                read = false;
                continue;
            };
            sheet.wanted.store(true, Ordering::Relaxed);
            read &= sheet.rules.is_some() && sheet.imports.is_some();
            open.extend(sheet.imports.iter().flatten());
        }
        read
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
        HostStyles::new(sheets.iter().map(|(name, css)| sheet(name, css)), &SheetRules::default())
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
    fn what_sheets_forbid_is_forbidden_on_the_whole_host() {
        let off = styles(&[("news.example/a.css", ".post :is(p,li){white-space:break-spaces}span{float:left}")]);
        let verdict = off.judge(&PageSheets::default());
        assert_eq!(verdict, Gate { white: Some("w:css_preserves"), seal: Some("s:css_boxes") });
        let many: String =
            (0..=MAX_SELECTORS).map(|i| format!("#x{i}{{white-space:pre}}#x{i} span{{float:left}}")).collect();
        assert_eq!(styles(&[("news.example/a.css", &many)]).judge(&PageSheets::default()), verdict);
        // Classes are looked up, so that there may be many.
        let many: String = (0..500).map(|i| format!(".x{i}{{display:flex}}")).collect();
        assert_eq!(styles(&[("news.example/a.css", &many)]).judge(&PageSheets::default()), Gate::default());
    }

    #[test]
    fn regions_are_told_by_class_or_by_selector() {
        let styles = styles(&[(
            "news.example/a.css",
            "p.Poem{white-space:pre}blockquote{white-space:pre}#x p{white-space:pre}code{white-space:pre}\
             .card .title span{display:block}.by,.w-1\\/2,.\\[\\&\\>p\\]{display:flex}article span{display:block}",
        )]);
        let (preserve, unsealed) = styles.selectors();
        assert_eq!((preserve.len(), unsealed.len()), (1, 1), "one list each");
        assert_eq!(styles.preserve.selectors.iter().collect::<Vec<_>>(), ["#x p", "blockquote"]);
        assert_eq!(styles.unsealed.selectors.iter().collect::<Vec<_>>(), ["article"]);
        for (value, block, preserve, unsealed) in [
            ("poem", false, true, false),
            ("a POEM b", true, true, false),
            ("title", false, false, true),
            ("by", true, false, true),
            ("by", false, false, false),
            ("w-1/2", true, false, true),
            ("[&amp;&gt;p]", true, false, true),
            ("card", true, false, false),
            ("", true, false, false),
        ] {
            assert_eq!(styles.classes(value.as_bytes(), block), ClassEffects { preserve, unsealed }, "{value}");
        }
        assert!(styles.reads_classes() && !HostStyles::default().reads_classes());
        assert_eq!(HostStyles::default().selectors().0.len(), 0);
    }

    #[test]
    fn the_fingerprint_stands_for_what_shapes_a_scan() {
        let of = |css: &str| styles(&[("news.example/a.css", css)]).fingerprint();
        assert_eq!(of("p{color:red}"), of("a{color:blue}"));
        let all = ["", "p{white-space:pre}", ".p{white-space:pre}", ".p{display:flex}", "p span{display:block}"];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().take(i).all(|other| of(other) != of(one)), "{one}");
        }
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
