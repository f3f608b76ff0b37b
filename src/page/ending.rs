//! What ends with an element of the article.

use std::sync::Arc;

use lol_html::html_content::EndTag;
use lol_html::send::Element;

use super::article::{Handle, Shared, lock};
use super::text::Region;

/// What ends with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "an element can be any of these at once")]
pub(super) struct Ending {
    pub(super) root: bool,
    pub(super) skip: bool,
    pub(super) preserve: bool,
    pub(super) unsealed: bool,
    pub(super) foreign: bool,
    pub(super) ambiguity: bool,
    /// In it other rules hold: SVG or MathML.
    pub(super) vocabulary: bool,
    pub(super) page: bool,
    /// It is a script that starts here.
    pub(super) script: Option<u64>,
    /// It may be taken out, by this name.
    pub(super) deletion: Option<u64>,
    /// One of its alternatives may take its place; it is named by its start.
    pub(super) variant: Option<u64>,
    pub(super) block: Option<u64>,
}

impl Ending {
    pub(super) fn regions(self) -> impl Iterator<Item = Region> {
        let all = [
            (self.root, Region::Root),
            (self.skip, Region::Skip),
            (self.preserve, Region::Preserve),
            (self.unsealed, Region::Unsealed),
            (self.foreign, Region::Foreign),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, region)| region)
    }
}

/// Asks for the element's end tag, or an ancestor's that takes it along. False: it has none.
pub(super) fn on_end(shared: &Handle, element: &mut Element<'_, '_>, name: &str, ending: Ending) -> bool {
    let Some(handlers) = element.end_tag_handlers() else { return false };
    let shared = Arc::clone(shared);
    let unmarked = ending.skip || ending.preserve;
    let named = ending.page || unmarked || ending.vocabulary || ending.deletion.is_some() || ending.variant.is_some();
    let own = named.then(|| name.to_owned());
    handlers.push(Box::new(move |end: &mut EndTag<'_>| {
        let mut state = lock(&shared);
        let place = end.source_location().bytes();
        state.border.event(place.start as u64);
        if !state.ambiguous {
            let at = state.source(place.start);
            if let Some(name) = ending.deletion {
                let tag = at..state.source(place.end);
                let own = own.as_deref() == Some(end.name().as_str());
                let Shared { window, deletions, edits, .. } = &mut *state;
                deletions.end_tag(name, tag, own, window, edits);
            }
            if let Some(name) = ending.variant {
                let own = own.as_deref() == Some(end.name().as_str());
                let end = state.source(place.end);
                state.variant_end(name, end, own);
            }
            end_tag(&mut state, ending, own.as_deref(), &end.name(), at);
        }
        Ok(())
    }));
    true
}

fn end_tag(state: &mut Shared, ending: Ending, own: Option<&str>, name: &str, at: u64) {
    if ending.script.is_some_and(|start| state.calls.in_script(start..at)) {
        state.see_hydration();
    }
    for region in ending.regions() {
        state.text.leave(region);
    }
    if (ending.skip || ending.preserve) && own.is_some_and(|own| own != name && !may_lack_end(own)) {
        // Browsers go on in it.
        state.text.stop("misnested");
    }
    if ending.ambiguity {
        state.ambiguity.end(name);
        state.templates = state.templates.saturating_sub(u32::from(name == "template"));
    }
    if ending.vocabulary {
        state.foreign.end(own == Some(name));
    }
    // In a template it ends nothing but for lol_html, which has left the body, and the template, with it.
    if ending.page && own == Some(name) && (state.templates == 0 || name == "html") {
        state.place_footer(at);
    }
    if let Some(id) = ending.block {
        let Shared { window, text, edits, .. } = state;
        text.block_end(id, name, at, window, edits);
    }
}

/// Elements that end without an end tag of their own (HTML Standard §13.1.2.4).
pub(super) fn may_lack_end(name: &str) -> bool {
    matches!(
        name,
        "li" | "dd"
            | "dt"
            | "p"
            | "option"
            | "optgroup"
            | "tr"
            | "td"
            | "th"
            | "tbody"
            | "thead"
            | "tfoot"
            | "rp"
            | "rt"
            | "html"
            | "body"
            | "colgroup"
            | "caption"
    )
}
