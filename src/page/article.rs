//! The scan of a page behind its head: text slots, the place of the visible notice, and the watch for ambiguity.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use bytes::Bytes;
use lol_html::Selector;
use lol_html::html_content::{Doctype, SourceLocation};
use lol_html::send::{DocumentContentHandlers, Element, ElementContentHandlers, Settings};

use super::ambiguity::{Ambiguity, Foreign};
use super::chunks::{on_style, on_text};
use super::deletion::Deletions;
use super::element::{self, Effect, Kind};
use super::ending::{Ending, on_end};
use super::hydration::Calls;
use super::marks::MarkRules;
use super::regions;
use super::replace::Replacer;
use super::scan::{Border, Reading, Scanner};
use super::style::NamedStyle;
use super::text::Text;
use super::tokens::Tokens;
use super::variants::OpenVariants;
use super::window::Window;
use crate::slot::{Edit, Fill, Slot, What};

/// The selectors in the order of their handlers, parsed once.
static PARSED: LazyLock<[Option<Selector>; 3]> = LazyLock::new(|| {
    ["*", "p, li, blockquote, dd", "style"].map(|selector| {
        let parsed = selector.parse::<Selector>();
        debug_assert!(parsed.is_ok(), "all selectors are constants, and `{selector}` is none");
        parsed.ok()
    })
});

/// What the handlers and the splicer share.
pub(crate) struct Shared {
    pub(crate) window: Window,
    pub(crate) text: Text,
    pub(crate) edits: Vec<Edit>,
    pub(crate) ambiguous: bool,
    pub(crate) footer_placed: bool,
    /// A script of a framework compares the page's text with its own.
    pub(crate) hydrated: bool,
    /// The same, and it was seen when slots had been found.
    pub(crate) mark_late: bool,
    pub(crate) calls: Calls,
    pub(crate) deletions: Deletions,
    /// What the page says of its style.
    pub(crate) style: NamedStyle,
    pub(crate) variants: OpenVariants,
    pub(super) tokens: Tokens,
    pub(crate) rules: MarkRules,
    footer: Option<Bytes>,
    /// Something may be filled in behind it.
    foot: bool,
    pub(super) ambiguity: Ambiguity,
    pub(super) foreign: Foreign,
    /// Elements `template` that are open: what stands in them is not in the page.
    pub(super) templates: u32,
    /// Source offset = scanner's offset + this, as two parts because the scan starts with tags of its own.
    start: u64,
    prefix: Vec<u8>,
    blocks: u64,
    pub(super) border: Arc<Border>,
}

impl Shared {
    pub(crate) fn new(window: Window, text: Text, variants: OpenVariants) -> Self {
        Self {
            window,
            text,
            variants,
            tokens: Tokens::default(),
            edits: Vec::new(),
            ambiguous: false,
            footer_placed: false,
            hydrated: false,
            mark_late: false,
            calls: Calls::default(),
            deletions: Deletions::default(),
            style: NamedStyle::default(),
            rules: MarkRules::default(),
            footer: None,
            foot: false,
            ambiguity: Ambiguity::default(),
            foreign: Foreign::default(),
            templates: 0,
            start: 0,
            prefix: Vec::new(),
            blocks: 0,
            border: Arc::default(),
        }
    }

    /// The source offset of a scanner's offset.
    pub(crate) fn source(&self, at: usize) -> u64 {
        self.source_of(at as u64)
    }

    pub(crate) fn source_of(&self, at: u64) -> u64 {
        self.start + at.saturating_sub(self.prefix.len() as u64)
    }

    /// The scanner is at a token that starts here, or has passed a text that ends here.
    pub(super) fn pass(&self, at: usize) {
        self.border.event(at as u64);
    }

    /// A script compares the text of this page: no more slots.
    pub(super) fn see_hydration(&mut self) {
        self.hydrated = true;
        if !self.rules.hydrated_ok {
            self.mark_late |= self.text.found && self.text.stopped.is_none();
            self.text.stop("hydrated");
        }
    }

    /// The bytes at a place that the scanner named.
    fn bytes(&self, place: &SourceLocation) -> &[u8] {
        let place = place.bytes();
        let bytes = match self.prefix.get(place.clone()) {
            Some(own) => Some(own),
            None => self.window.get(self.source(place.start)..self.source(place.end)),
        };
        bytes.unwrap_or_default()
    }

    /// All bytes before this may leave.
    pub(crate) fn safe(&mut self, fed: u64) -> u64 {
        let settled = self.source_of(self.border.settled()).min(fed);
        self.text.settle(settled, &mut self.edits);
        let holds = [self.text.hold(settled), self.deletions.hold(settled), self.variants.hold(settled)];
        holds.into_iter().flatten().fold(settled, u64::min)
    }

    pub(super) fn place_footer(&mut self, at: u64) {
        if let Some(footer) = self.footer.take() {
            // It stands inside an element that may go: that one was never closed, and stays.
            self.deletions.give_up();
            self.edits.push(Edit { range: at..at, what: What::Fixed(footer) });
            self.footer_placed = true;
        }
        if std::mem::take(&mut self.foot) {
            self.deletions.give_up();
            self.edits.push(Edit { range: at..at, what: What::Choice(Slot::Fill(Fill::Foot)) });
        }
    }
}

pub(super) type Handle = Arc<Mutex<Shared>>;

pub(super) fn lock(shared: &Handle) -> MutexGuard<'_, Shared> {
    // A handler that panicked ends the scan; what it left behind is still a list of edits.
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts the scan at `start`; `prefix` are the tags that are open there.
pub(crate) fn scanner(
    shared: &Handle,
    start: u64,
    prefix: &[u8],
    (footer, foot): (Option<Bytes>, bool),
    replacer: Replacer,
    rules: MarkRules,
    reading: Reading,
) -> Scanner {
    let border = {
        let mut state = lock(shared);
        state.start = start;
        state.prefix = prefix.to_vec();
        (state.footer, state.foot) = (footer, foot);
        state.deletions = Deletions::new(replacer);
        state.rules = rules.clone();
        Arc::clone(&state.border)
    };
    // Of the handlers of one element those of its regions come last.
    let mut scanner =
        Scanner::new(reading, border, |settings| regions::handlers(handlers(settings, shared), shared, &rules));
    // The prefix is ours and well-formed.
    let _ = scanner.write(prefix);
    scanner
}

fn handlers(settings: Settings<'static, 'static>, shared: &Handle) -> Settings<'static, 'static> {
    let mut settings = settings;
    let all = [
        ElementContentHandlers::default().element(on_start(shared)),
        ElementContentHandlers::default().text(on_text(shared)),
        ElementContentHandlers::default().text(on_style(shared)),
    ];
    // Nobody asks for it: but as long as somebody may, each tag is read once, and not first to see whether it matters.
    let doctype = |_: &mut Doctype<'_>| Ok(());
    settings = settings.append_document_content_handler(DocumentContentHandlers::default().doctype(doctype));
    // Where nothing is marked nobody asks for the text of style elements.
    let wanted = if lock(shared).style.is_active() { all.len() } else { all.len() - 1 };
    for (selector, handlers) in PARSED.iter().zip(all).take(wanted) {
        if let Some(selector) = selector {
            settings = settings.append_element_content_handler((Cow::Borrowed(selector), handlers));
        }
    }
    settings
}

fn on_start(shared: &Handle) -> impl FnMut(&mut Element<'_, '_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    move |element: &mut Element<'_, '_>| {
        let mut state = lock(&shared);
        state.border.event(element.source_location().bytes().start as u64);
        if !state.ambiguous {
            start_tag(&shared, &mut state, element);
        }
        Ok(())
    }
}

fn start_tag(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    // Not `tag_name()`: most elements mean nothing here, and a String for each is a tenth of the whole scan.
    let mut buffer = [0; element::LONGEST_NAME];
    let name = element::name(state.bytes(&element.source_location()), &mut buffer);
    if state.ambiguity.start(name) || state.foreign.start(name, element.is_self_closing()) {
        state.ambiguous = true;
        return;
    }
    if matches!(name, "link" | "base") {
        state.style.element(name, |attribute| element.get_attribute(attribute));
    }
    let start = state.source(element.source_location().bytes().start);
    let mut ending = Ending {
        ambiguity: matches!(name, "select" | "template"),
        vocabulary: matches!(name, "svg" | "math"),
        script: (name == "script").then_some(start),
        ..Ending::default()
    };
    // What the site has named takes the place of what is an article by itself.
    let roots = state.rules.roots.is_empty();
    let (mut hydrates, mut alternatives) = (false, None);
    state.variants.give_up();
    let kind = element::kind(name);
    match kind {
        Kind::Root => ending.root = roots,
        Kind::Skip => ending.skip = true,
        Kind::Page => ending.page = state.templates == 0,
        Kind::Hydration => hydrates = true,
        Kind::Block | Kind::Other => {}
    }
    for attribute in element.attributes() {
        let bytes = |place: Option<SourceLocation>| place.map(|place| state.bytes(&place)).unwrap_or_default();
        let (key, value) = (bytes(attribute.name_source_location()), bytes(attribute.value_source_location()));
        if key.eq_ignore_ascii_case(b"class") {
            let classes = state.rules.classes(value, kind == Kind::Block);
            ending.preserve |= classes.preserve;
            ending.unsealed |= classes.unsealed;
        }
        match element::effect(key, value) {
            Some(Effect::Root) => ending.root |= roots,
            Some(Effect::Skip) => ending.skip = true,
            Some(Effect::NoSeal) => ending.unsealed = true,
            Some(Effect::Hydration) => hydrates = true,
            Some(Effect::Notice) => state.footer = None,
            Some(Effect::Language) => ending.foreign |= state.text.is_foreign(value),
            Some(Effect::Variant) => alternatives = attribute.value_source_location(),
            None => {}
        }
    }
    if hydrates {
        state.see_hydration();
    }
    if !state.deletions.is_idle() {
        ending.deletion = deletion(state, element, name);
        ending.skip |= ending.deletion.is_some();
    }
    if kind == Kind::Block {
        state.style.close();
        state.blocks += 1;
        ending.block = Some(state.blocks);
    }
    if let Some(value) = alternatives.filter(|_| name == "span" && !state.deletions.is_open()) {
        let value = state.bytes(&value).to_vec();
        ending.variant = state.variants.start_tag(start, &value).then_some(start);
    }
    state.templates += u32::from(name == "template");
    if name == "base" || (!ending.skip && state.text.takes_marks()) {
        put_token(state, element, name, kind == Kind::Block);
    }
    if ending == Ending::default() {
        return;
    }
    if !on_end(shared, element, name, ending) {
        if let Some(name) = ending.deletion {
            let end = state.source(element.source_location().bytes().end);
            state.deletions.without_content(name, end, &mut state.edits);
        }
        state.variants.forget();
        return;
    }
    for region in ending.regions() {
        state.text.enter(region);
    }
    if ending.variant.is_some() {
        state.variant_start(start);
    }
    if let Some(id) = ending.block {
        state.text.block_start(name, id, start);
    }
}

/// Puts the mark into a tag, if it may hold it.
fn put_token(state: &mut Shared, element: &Element<'_, '_>, name: &str, is_block: bool) {
    let Some(key) = state.tokens.attribute_of(name, is_block) else { return };
    // Of two attributes of one name the first one counts.
    let attribute = element.attributes().iter().find(|attribute| attribute.name() == key);
    let place = attribute.and_then(|attribute| Some(attribute.value_source_location()?.bytes()));
    let value = place.map(|place| state.source(place.start)..state.source(place.end));
    let tag = state.source(element.source_location().bytes().start);
    state.put_token(key, name, tag, attribute.is_some(), value);
}

/// Does this element belong to an older plugin, or may its text?
fn deletion(state: &mut Shared, element: &Element<'_, '_>, name: &str) -> Option<u64> {
    let place = element.source_location();
    if place.bytes().start < state.prefix.len() {
        return None;
    }
    let (start, prefix) = (state.start, state.prefix.len() as u64);
    let source = move |place: SourceLocation| {
        let Range { start: from, end } = place.bytes();
        start + from as u64 - prefix..start + end as u64 - prefix
    };
    let attributes = element
        .attributes()
        .iter()
        .filter_map(|a| Some((source(a.name_source_location()?), a.value_source_location().map(source))));
    let Shared { window, deletions, edits, .. } = state;
    deletions.start_tag(name, source(place), attributes, window, edits)
}
