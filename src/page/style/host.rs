//! What the sheets and pages of a host say together: in which elements white space stays, and in which no block is sealed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use lol_html::Selector;
use twox_hash::XxHash3_64;

use super::address::lower_case;
use super::judge::Sheet;
use super::rules::SheetRules;
use super::selector::{self, Complex};

/// Regions that a scan looks for by selector; classes are looked up.
const MAX_SELECTORS: usize = 24;
/// Classes of all kinds.
const MAX_CLASSES: usize = 16_384;
/// What the `<style>` elements of pages may add to what sheets say, of each kind.
pub(super) const MAX_OF_PAGES: usize = 256;
/// How pages write what may stand in a class.
const REFERENCES: [(&str, &str); 5] = [("&gt;", ">"), ("&lt;", "<"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];

/// What is told of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// White space in them stays as it is.
    Preserve,
    /// No block in them is sealed.
    Unsealed,
    /// They are blocks that are not sealed themselves; only classes.
    Boxed,
}

impl Kind {
    fn bit(self) -> u8 {
        match self {
            Self::Preserve => 1,
            Self::Unsealed => 2,
            Self::Boxed => 4,
        }
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

/// How a region is looked for.
enum Told {
    /// Nothing in it is ever marked.
    Never,
    /// In lower case.
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

/// Regions of one kind.
#[derive(Debug, Default)]
struct Regions {
    selectors: BTreeSet<String>,
    /// All of them as one list.
    parsed: Option<Selector>,
    /// Regions as they were told, and whether there was room: pages tell the same ones again and again.
    told: HashMap<String, bool>,
}

impl Regions {
    /// False: there is no room for it.
    fn add_selector(&mut self, region: &str) -> bool {
        let room = self.selectors.len() < MAX_SELECTORS || self.selectors.contains(region);
        if room {
            self.selectors.insert(region.to_owned());
        }
        room
    }

    /// False: the scanner does not take the selectors.
    fn parse(&mut self) -> bool {
        if self.selectors.is_empty() {
            return true;
        }
        let all: Vec<&str> = self.selectors.iter().map(String::as_str).collect();
        self.parsed = all.join(", ").parse().ok();
        self.parsed.is_some()
    }
}

/// What is said on one host.
#[derive(Debug, Default)]
pub(super) struct HostRules {
    /// Kinds by class, in lower case: some pages do not tell the cases apart.
    classes: HashMap<String, u8>,
    preserve: Regions,
    unsealed: Regions,
    /// White space may stay anywhere.
    pub(super) white_off: bool,
    /// A seal may get a box anywhere.
    pub(super) seal_off: bool,
    /// Bits of the kinds of which pages have said so much that no more is taken.
    full: u8,
    fingerprint: u64,
    /// Stands for what it was made of.
    pub(super) source: u64,
}

impl HostRules {
    /// Stands for all that sheets and pages say: names and repetitions say nothing.
    pub(super) fn source(sheets: &[Arc<Sheet>], pages: &SheetRules) -> u64 {
        let read = sheets.iter().filter(|sheet| sheet.rules.is_some());
        let contents: BTreeSet<u64> = read.map(|sheet| sheet.content).collect();
        let mut hasher = XxHash3_64::new();
        (contents, pages).hash(&mut hasher);
        hasher.finish()
    }

    /// What these sheets say, and what the pages of the host have said.
    pub(super) fn new(sheets: &[Arc<Sheet>], pages: &SheetRules) -> Self {
        let mut all = Self { source: Self::source(sheets, pages), ..Self::default() };
        for rules in sheets.iter().filter_map(|sheet| sheet.rules.as_deref()) {
            let whole = all.take(rules);
            all.white_off |= rules.white_off || !whole.0;
            all.seal_off |= rules.seal_off || !whole.1;
        }
        // What finds no room shuts out the pages that say it, not all of the host.
        all.take(pages);
        let kinds = [(Kind::Preserve, &pages.preserve), (Kind::Unsealed, &pages.unsealed), (Kind::Boxed, &pages.boxed)];
        all.full =
            kinds.iter().filter(|(_, said)| said.len() >= MAX_OF_PAGES).fold(0, |full, (kind, _)| full | kind.bit());
        all.white_off |= !all.preserve.parse();
        all.seal_off |= !all.unsealed.parse();
        all.fingerprint = all.hash();
        all
    }

    /// False, where there was no room: for white space, for seals.
    fn take(&mut self, rules: &SheetRules) -> (bool, bool) {
        let mut whole = (true, true);
        for region in &rules.preserve {
            whole.0 &= self.add(Kind::Preserve, region);
        }
        for region in &rules.unsealed {
            whole.1 &= self.add(Kind::Unsealed, region);
        }
        for class in &rules.boxed {
            whole.1 &= self.add_class(Kind::Boxed, class);
        }
        whole
    }

    fn add(&mut self, kind: Kind, region: &str) -> bool {
        if let Some(room) = self.regions(kind).told.get(region) {
            return *room;
        }
        let room = match Told::of(region) {
            Told::Never => true,
            Told::Classes(classes) => classes.iter().all(|class| self.add_class(kind, class)),
            Told::Selector => self.regions_mut(kind).add_selector(region),
        };
        self.regions_mut(kind).told.insert(region.to_owned(), room);
        room
    }

    fn add_class(&mut self, kind: Kind, class: &str) -> bool {
        let class = lower_case(class);
        if let Some(kinds) = self.classes.get_mut(&*class) {
            *kinds |= kind.bit();
            return true;
        }
        let room = self.classes.len() < MAX_CLASSES;
        if room {
            self.classes.insert(class.into_owned(), kind.bit());
        }
        room
    }

    fn regions(&self, kind: Kind) -> &Regions {
        if kind == Kind::Preserve { &self.preserve } else { &self.unsealed }
    }

    fn regions_mut(&mut self, kind: Kind) -> &mut Regions {
        if kind == Kind::Preserve { &mut self.preserve } else { &mut self.unsealed }
    }

    fn is_full(&self, kind: Kind) -> bool {
        self.full & kind.bit() != 0
    }

    /// What is new where no more is taken is not looked into: it would be new each time.
    fn holds(&self, kind: Kind, region: &str) -> bool {
        let told = self.regions(kind).told.get(region).copied();
        told.unwrap_or_else(|| !self.is_full(kind) && self.covers(kind, region))
    }

    fn covers(&self, kind: Kind, region: &str) -> bool {
        match Told::of(region) {
            Told::Never => true,
            Told::Classes(classes) => classes.iter().all(|class| self.has_class(kind, class)),
            Told::Selector => self.regions(kind).selectors.contains(region),
        }
    }

    fn has_class(&self, kind: Kind, class: &str) -> bool {
        self.classes.get(class).is_some_and(|kinds| kinds & kind.bit() != 0)
    }

    /// Does a scan find all elements in which white space stays by these rules?
    pub(super) fn holds_preserved(&self, rules: &SheetRules) -> bool {
        rules.preserve.iter().all(|region| self.holds(Kind::Preserve, region))
    }

    /// And all in which a seal would get a box?
    pub(super) fn holds_boxed(&self, rules: &SheetRules) -> bool {
        rules.unsealed.iter().all(|region| self.holds(Kind::Unsealed, region))
            && rules.boxed.iter().all(|class| self.has_class(Kind::Boxed, &lower_case(class)))
    }

    /// Is there nothing to learn from a page that says this? What found no room finds none the next time.
    pub(super) fn knows(&self, rules: &SheetRules) -> bool {
        let told = |kind: Kind, regions: &BTreeSet<String>| {
            self.is_full(kind) || regions.iter().all(|region| self.regions(kind).told.contains_key(region))
        };
        let boxed = |class: &String| self.has_class(Kind::Boxed, &lower_case(class));
        let no_boxes = self.is_full(Kind::Boxed) || self.classes.len() >= MAX_CLASSES;
        told(Kind::Preserve, &rules.preserve)
            && told(Kind::Unsealed, &rules.unsealed)
            && (no_boxes || rules.boxed.iter().all(boxed))
    }

    fn hash(&self) -> u64 {
        let selectors = [&self.preserve.selectors, &self.unsealed.selectors];
        if self.classes.is_empty() && selectors.iter().all(|list| list.is_empty()) {
            // As where nothing is known.
            return 0;
        }
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_unstable();
        let mut hasher = XxHash3_64::new();
        (classes, selectors).hash(&mut hasher);
        hasher.finish()
    }

    /// Stands for all that decides where a scan looks for places: part of what shapes a page.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Elements in which white space stays, and those in which no block is sealed.
    pub(super) fn selectors(&self) -> (&[Selector], &[Selector]) {
        (self.preserve.parsed.as_slice(), self.unsealed.parsed.as_slice())
    }

    /// Does any class mean something?
    pub(super) fn reads_classes(&self) -> bool {
        !self.classes.is_empty()
    }

    /// What the value of a `class` means to a scan, as it is written; `block`: it is that of a block that may be sealed.
    pub(super) fn classes(&self, value: &[u8], block: bool) -> ClassEffects {
        let mut effects = ClassEffects::default();
        for class in class_text(value).split_ascii_whitespace() {
            let Some(kinds) = self.classes.get(class) else { continue };
            let is = |kind: Kind| kinds & kind.bit() != 0;
            effects.preserve |= is(Kind::Preserve);
            effects.unsealed |= is(Kind::Unsealed) || (block && is(Kind::Boxed));
        }
        effects
    }
}

/// The value of a `class` in lower case, without references; most are so already.
fn class_text(value: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(value);
    if !text.contains('&') {
        return match text {
            Cow::Borrowed(text) => lower_case(text),
            Cow::Owned(text) => text.to_ascii_lowercase().into(),
        };
    }
    let mut text = text.to_ascii_lowercase();
    for (reference, character) in REFERENCES {
        text = text.replace(reference, character);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::style::reader;

    fn sheet(name: &str, css: &str) -> Arc<Sheet> {
        let rules = reader::read(css.as_bytes()).map(Arc::new);
        Arc::new(Sheet::new(name.to_owned(), XxHash3_64::oneshot(css.as_bytes()), rules))
    }

    fn rules(css: &str) -> HostRules {
        HostRules::new(&[sheet("news.example/s.css", css)], &SheetRules::default())
    }

    #[test]
    fn names_and_repetitions_say_nothing() {
        let of = |sheets: &[(&str, &str)]| {
            let sheets: Vec<Arc<Sheet>> = sheets.iter().map(|(name, css)| sheet(name, css)).collect();
            HostRules::source(&sheets, &SheetRules::default())
        };
        let (one, two) = (".x{display:flex}", "#y{white-space:pre}");
        let both = of(&[("a/s.css", one), ("a/t.css", two)]);
        assert_eq!(both, of(&[("b/s.css", two), ("b/t.css", one), ("b/t.css?v=1", one), ("b/cut.css", "/*")]));
        assert!(both != of(&[("a/s.css", one)]) && both != of(&[]));
        let pages = SheetRules { boxed: BTreeSet::from(["x".to_owned()]), ..SheetRules::default() };
        assert_ne!(HostRules::source(&[], &pages), of(&[]));
    }

    #[test]
    fn regions_are_told_by_class_or_by_selector() {
        let rules = rules(
            "p.Poem{white-space:pre}blockquote{white-space:pre}#x p{white-space:pre}code{white-space:pre}\
             .card .title span{display:block}.by,.w-1\\/2,.\\[\\&\\>p\\]{display:flex}article span{display:block}",
        );
        let (preserve, unsealed) = rules.selectors();
        assert_eq!((preserve.len(), unsealed.len()), (1, 1), "one list each");
        assert_eq!(rules.preserve.selectors.iter().collect::<Vec<_>>(), ["#x p", "blockquote"]);
        assert_eq!(rules.unsealed.selectors.iter().collect::<Vec<_>>(), ["article"]);
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
            assert_eq!(rules.classes(value.as_bytes(), block), ClassEffects { preserve, unsealed }, "{value}");
        }
        assert!(rules.classes(b"\xFF POEM", true).preserve);
        assert!(rules.reads_classes() && !HostRules::default().reads_classes());
        assert_eq!(HostRules::default().selectors().0.len(), 0);
    }

    #[test]
    fn a_class_that_is_written_as_it_is_looked_up_is_not_copied() {
        assert!(matches!(class_text(b"by line w-1/2"), Cow::Borrowed(_)));
        for (value, text) in [("By LINE", "by line"), ("a&amp;B", "a&b"), ("a &gt;p", "a >p")] {
            assert_eq!(class_text(value.as_bytes()), text);
        }
    }

    #[test]
    fn one_class_may_mean_several_things() {
        let rules = rules(".x{white-space:pre;display:flex}.x span{float:left}");
        assert_eq!(rules.classes(b"x", false), ClassEffects { preserve: true, unsealed: true });
        assert_eq!(rules.classes.len(), 1);
    }

    #[test]
    fn the_fingerprint_stands_for_what_shapes_a_scan() {
        let of = |css: &str| rules(css).fingerprint();
        assert_eq!(of("p{color:red}"), of("a{color:blue}"));
        assert_eq!(of(".p,.q{display:flex}"), of(".q{display:flex}.p{display:flex}"));
        let all = ["", "p{white-space:pre}", ".p{white-space:pre}", ".p{display:flex}", "p span{display:block}"];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().take(i).all(|other| of(other) != of(one)), "{one}");
        }
    }

    #[test]
    fn what_is_too_much_for_a_scan_is_forbidden() {
        let many: String =
            (0..=MAX_SELECTORS).map(|i| format!("#x{i}{{white-space:pre}}#x{i} span{{float:left}}")).collect();
        let all = rules(&many);
        assert!(all.white_off && all.seal_off);
        // Classes are looked up, so that there may be many.
        let many: String = (0..500).map(|i| format!(".x{i}{{display:flex}}")).collect();
        let all = rules(&many);
        assert!(!all.white_off && !all.seal_off);
    }
}
