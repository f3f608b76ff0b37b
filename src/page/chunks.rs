//! Text as the scanner hands it over: in chunks that may be cut anywhere.

use std::sync::Arc;

use lol_html::html_content::TextChunk;

use super::article::{Handle, Shared, lock};

/// Hands the text of a style element on.
pub(super) fn on_style(shared: &Handle) -> impl FnMut(&mut TextChunk<'_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    move |chunk: &mut TextChunk<'_>| {
        let end = chunk.source_location().bytes().end;
        let mut state = lock(&shared);
        state.style.text(chunk.as_str(), chunk.last_in_text_node());
        drop_output(chunk);
        state.pass(end);
        Ok(())
    }
}

/// Nothing re-encoded may be counted by the sink. (`remove` would do the same, and take memory for each chunk.)
fn drop_output(chunk: &mut TextChunk<'_>) {
    chunk.set_str(String::new());
}

/// Hands the text of blocks to the search for slots.
pub(super) fn on_text(shared: &Handle) -> impl FnMut(&mut TextChunk<'_>) -> lol_html::HandlerResult + Send + 'static {
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
        state.pass(place.end);
        Ok(())
    }
}
