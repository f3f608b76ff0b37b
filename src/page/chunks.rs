//! Text as the scanner hands it over: in chunks that may be cut anywhere.

use std::sync::Arc;

use lol_html::html_content::TextChunk;

use super::article::{Handle, Shared, lock};

/// What a script calls that compares the text of its page with its own.
const CALL: &str = "self.__next_f";

/// Looks for the call in scripts.
pub(super) fn on_script(shared: &Handle) -> impl FnMut(&mut TextChunk<'_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    let mut seam = Seam::default();
    move |chunk: &mut TextChunk<'_>| {
        let end = chunk.source_location().bytes().end;
        let found = seam.finds_call(chunk.as_str(), chunk.last_in_text_node());
        drop_output(chunk);
        let mut state = lock(&shared);
        if found {
            state.see_hydration();
        }
        state.pass(end);
        Ok(())
    }
}

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

/// Nothing re-encoded may be counted by the sink.
fn drop_output(chunk: &mut TextChunk<'_>) {
    chunk.remove();
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

/// The end of the last chunk of a text: a name that is cut by a chunk's border is found, too.
#[derive(Debug, Default)]
struct Seam(Vec<u8>);

impl Seam {
    /// Does the call end in this chunk?
    fn finds_call(&mut self, chunk: &str, last: bool) -> bool {
        const KEPT: usize = CALL.len() - 1;
        let call = CALL.as_bytes();
        let bytes = chunk.as_bytes();
        let start = bytes.get(..KEPT).unwrap_or(bytes);
        let found = memchr::memmem::find(bytes, call).is_some()
            || (!self.0.is_empty() && memchr::memmem::find(&[self.0.as_slice(), start].concat(), call).is_some());
        self.0.extend_from_slice(bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default());
        let surplus = if last { self.0.len() } else { self.0.len().saturating_sub(KEPT) };
        self.0.drain(..surplus);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_found_wherever_it_is_cut() {
        let found = |text: &str, size: usize| {
            let mut seam = Seam::default();
            let bytes = text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap());
            let found = bytes.map(|piece| seam.finds_call(piece, false)).filter(|found| *found).count();
            assert!(!seam.finds_call("", true) && seam.0.is_empty());
            found
        };
        for size in 1..40 {
            assert_eq!(found("(self.__next_f=self.__next_f||[]).push([0])", size).min(1), 1, "{size}");
            assert_eq!(found("self.__next_f", size), 1, "{size}");
            assert_eq!(found("self.__next_self.__next", size), 0, "{size}");
        }
        let mut seam = Seam::default();
        assert!(!seam.finds_call("self.__", true) && !seam.finds_call("next_f", false), "another text");
    }
}
