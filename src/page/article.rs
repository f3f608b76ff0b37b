//! The scan of a page behind its head: text slots, the place of the visible notice, and the watch for ambiguity.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use bytes::Bytes;
use encoding_rs::Encoding;
use lol_html::Selector;
use lol_html::html_content::{EndTag, TextChunk};
use lol_html::send::{Element, ElementContentHandlers, Settings};

use super::ambiguity::{Ambiguity, WATCHED};
use super::scan::{Border, Scanner};
use super::text::Text;
use super::window::Window;
use crate::slot::{Edit, What};

/// Elements whose text is an article.
// A selector that begins with a name is dear only on elements of that name; one that does not, on all.
const ROOTS: &str = "article, main, div[role=main], [itemprop=articleBody]";
/// Elements that hold paragraphs.
const BLOCKS: &str = "p, li, blockquote, dd";
/// Elements in which nothing is marked: not prose, not shown, or in white space that counts.
const SKIP: &str = "pre, code, kbd, samp, var, textarea, script, style, template, noscript, svg, math, button, select, \
    label, nav, footer, form, iframe, object, [contenteditable], [translate=no], .notranslate, [hidden], \
    [aria-hidden=true], [style*=\"white-space\"], [class*=\"sr-only\"], [class*=\"screen-reader\"], \
    [class*=hide], .comments, [id^=comment]";

/// Traces of frameworks that compare the server's text with their own.
const HYDRATION: &str =
    "script#__NEXT_DATA__, div#__nuxt, div[data-reactroot], astro-island, [ng-version], script[data-sveltekit-hydrate]";
/// The same in the text of a script.
const HYDRATION_CALL: &str = "self.__next_f";

/// The selectors in the order of their handlers, parsed once.
static PARSED: LazyLock<[Option<Selector>; 8]> = LazyLock::new(|| {
    [ROOTS, SKIP, "[data-deckle]", WATCHED, HYDRATION, "script", "body, html", BLOCKS].map(|selector| {
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
    footer: Option<Bytes>,
    ambiguity: Ambiguity,
    /// Source offset = scanner's offset + this, as two parts because the scan starts with tags of its own.
    start: u64,
    prefix: u64,
    blocks: u64,
    border: Arc<Border>,
}

impl Shared {
    pub(crate) fn new(window: Window, text: Text) -> Self {
        Self {
            window,
            text,
            edits: Vec::new(),
            ambiguous: false,
            footer_placed: false,
            hydrated: false,
            footer: None,
            ambiguity: Ambiguity::default(),
            start: 0,
            prefix: 0,
            blocks: 0,
            border: Arc::default(),
        }
    }

    /// The source offset of a scanner's offset.
    pub(crate) fn source(&self, at: usize) -> u64 {
        self.source_of(at as u64)
    }

    pub(crate) fn source_of(&self, at: u64) -> u64 {
        self.start + at.saturating_sub(self.prefix)
    }

    fn place_footer(&mut self, at: u64) {
        if let Some(footer) = self.footer.take() {
            self.edits.push(Edit { range: at..at, what: What::Fixed(footer) });
            self.footer_placed = true;
        }
    }
}

type Handle = Arc<Mutex<Shared>>;

fn lock(shared: &Handle) -> MutexGuard<'_, Shared> {
    // A handler that panicked ends the scan; what it left behind is still a list of edits.
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts the scan at `start`; `prefix` are the tags that are open there.
pub(crate) fn scanner(
    shared: &Handle,
    start: u64,
    prefix: &[u8],
    footer: Option<Bytes>,
    encoding: &'static Encoding,
    max_memory: usize,
) -> Scanner {
    let border = {
        let mut state = lock(shared);
        state.start = start;
        state.prefix = prefix.len() as u64;
        state.footer = footer;
        Arc::clone(&state.border)
    };
    let mut scanner = Scanner::new(encoding, max_memory, border, |settings| handlers(settings, shared));
    // The prefix is ours and well-formed.
    let _ = scanner.write(prefix);
    scanner
}

fn handlers(settings: Settings<'static, 'static>, shared: &Handle) -> Settings<'static, 'static> {
    let mut settings = settings;
    let all = [
        on_element(shared, root),
        on_element(shared, skip),
        on_element(shared, own_attribute),
        on_element(shared, watched),
        on_element(shared, hydrated),
        ElementContentHandlers::default().text(on_script(shared)),
        on_element(shared, page_end),
        on_element(shared, block).text(on_text(shared)),
    ];
    for (selector, handlers) in PARSED.iter().zip(all) {
        if let Some(selector) = selector {
            settings = settings.append_element_content_handler((Cow::Borrowed(selector), handlers));
        }
    }
    settings
}

fn on_element(
    shared: &Handle,
    handle: fn(&Handle, &mut Shared, &mut Element<'_, '_>),
) -> ElementContentHandlers<'static> {
    let shared = Arc::clone(shared);
    ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
        let mut state = lock(&shared);
        state.border.event(element.source_location().bytes().start as u64);
        if !state.ambiguous {
            handle(&shared, &mut state, element);
        }
        Ok(())
    })
}

/// Runs `at_end` when the element's end tag is met, or an ancestor's that takes it along.
fn on_end(
    shared: &Handle,
    element: &mut Element<'_, '_>,
    at_end: impl FnOnce(&mut Shared, &EndTag<'_>) + Send + 'static,
) -> bool {
    let Some(handlers) = element.end_tag_handlers() else { return false };
    let shared = Arc::clone(shared);
    handlers.push(Box::new(move |end: &mut EndTag<'_>| {
        let mut state = lock(&shared);
        state.border.event(end.source_location().bytes().start as u64);
        if !state.ambiguous {
            at_end(&mut state, end);
        }
        Ok(())
    }));
    true
}

fn root(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    if on_end(shared, element, |state, _| state.text.leave_root()) {
        state.text.enter_root();
    }
}

fn skip(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    if on_end(shared, element, |state, _| state.text.leave_skip()) {
        state.text.enter_skip();
    }
}

fn own_attribute(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    match element.get_attribute("data-deckle").as_deref() {
        Some("off") => skip(shared, state, element),
        Some("notice") => state.footer = None,
        _ => {}
    }
}

fn watched(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    let name = element.tag_name();
    if state.ambiguity.start(&name) {
        state.ambiguous = true;
    } else if matches!(name.as_str(), "select" | "template") {
        on_end(shared, element, |state, end| state.ambiguity.end(&end.name()));
    }
}

fn hydrated(_: &Handle, state: &mut Shared, _: &mut Element<'_, '_>) {
    state.hydrated = true;
}

/// Looks for the call in scripts; a name that is cut by a chunk border is found with the next one, which pages have.
fn on_script(shared: &Handle) -> impl FnMut(&mut TextChunk<'_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    move |chunk: &mut TextChunk<'_>| {
        let end = chunk.source_location().bytes().end as u64;
        let found = chunk.as_str().contains(HYDRATION_CALL);
        drop_output(chunk);
        let mut state = lock(&shared);
        state.hydrated |= found;
        state.border.event(end);
        Ok(())
    }
}

/// Nothing re-encoded may be counted by the sink.
fn drop_output(chunk: &mut TextChunk<'_>) {
    chunk.remove();
}

fn page_end(shared: &Handle, _: &mut Shared, element: &mut Element<'_, '_>) {
    let name = element.tag_name();
    on_end(shared, element, move |state, end| {
        if end.name() == name {
            let at = state.source(end.source_location().bytes().start);
            state.place_footer(at);
        }
    });
}

fn block(shared: &Handle, state: &mut Shared, element: &mut Element<'_, '_>) {
    state.blocks += 1;
    let id = state.blocks;
    let registered = on_end(shared, element, move |state, end| {
        let at = state.source(end.source_location().bytes().start);
        let Shared { window, text, edits, .. } = state;
        text.block_end(id, &end.name(), at, window, edits);
    });
    if registered {
        state.text.block_start(&element.tag_name(), id);
    }
}

fn on_text(shared: &Handle) -> impl FnMut(&mut TextChunk<'_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    move |chunk: &mut TextChunk<'_>| {
        let place = chunk.source_location().bytes();
        drop_output(chunk);
        let mut state = lock(&shared);
        if !state.ambiguous {
            let (start, end) = (state.source(place.start), state.source(place.end));
            let Shared { window, text, edits, .. } = &mut *state;
            text.text_chunk(start..end, window);
            if chunk.last_in_text_node() {
                text.text_end(window, edits);
            }
        }
        state.border.event(place.end as u64);
        Ok(())
    }
}
