//! Takes out what [`replace`](super::replace) knows: an edit is made when the end tag is met, and not before, so that an
//! element without an end stays as it is.

use std::ops::Range;

use bytes::Bytes;

use super::replace::Replacer;
use super::window::Window;
use crate::slot::{Edit, What};

/// Longest element or text that is taken out, in bytes: no plugin writes more, and so much source is held at most.
const MAX: u64 = 16 << 10;

/// The places of an attribute: its name, and its value if it has one.
pub(super) type Attribute = (Range<u64>, Option<Range<u64>>);

/// The deletions of one page.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    replacer: Replacer,
    open: Option<Open>,
    /// Behind the last element that was taken out.
    ended: u64,
    /// Pieces that were taken out.
    pub(crate) count: u32,
}

/// An element that may be taken out.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Start of its start tag, or of its text; it names the element, too.
    from: u64,
    /// It stays: it is too long, or something was inserted in it.
    given_up: bool,
    /// It goes whatever it holds; else its text decides, and goes alone.
    whole: bool,
}

impl Deletions {
    pub(super) fn new(replacer: Replacer) -> Self {
        Self { replacer, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.replacer.is_idle()
    }

    /// May what comes now be taken out, as part of an element?
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The source from here on must stay, as it may be taken out.
    pub(super) fn hold(&mut self, settled: u64) -> Option<u64> {
        if let Some(open) = &mut self.open {
            open.given_up |= settled.saturating_sub(open.from) > MAX;
        }
        let open = self.open.filter(|open| !open.given_up).map(|open| open.from);
        let space = (self.replacer.awaits() && settled.saturating_sub(self.ended) <= MAX).then_some(self.ended);
        [open, space].into_iter().flatten().min()
    }

    /// A start tag at `place`. An answer: the element or its text may go, and its end has to be told by this name.
    pub(super) fn start_tag(
        &mut self,
        name: &str,
        place: Range<u64>,
        attributes: impl Iterator<Item = Attribute>,
        window: &Window,
        edits: &mut Vec<Edit>,
    ) -> Option<u64> {
        // What is open already goes as a whole, or not at all.
        if self.open.is_some() {
            return None;
        }
        // Not further than the source is held, whatever is there by chance.
        let between = window.get(self.ended..place.start).filter(|between| between.len() as u64 <= MAX);
        let mut whole = self.replacer.follows(name, between);
        let mut inline = matches!(name, "script" | "style");
        for (key, value) in attributes {
            let bytes = |range: &Range<u64>| window.get(range.clone()).unwrap_or_default();
            let text = value.as_ref().map(bytes).unwrap_or_default();
            whole |= self.replacer.element(name, bytes(&key), text);
            // What has a name of its own is the site's.
            inline &= ![&b"id"[..], b"src"].iter().any(|known| bytes(&key).eq_ignore_ascii_case(known));
            if name == "body"
                && let Some(edit) = self.attribute(key.clone(), value, window)
            {
                self.count += 1;
                edits.push(edit);
            }
        }
        let from = if whole { place.start } else { place.end };
        self.open = (whole || inline).then_some(Open { from, given_up: false, whole });
        self.open.map(|open| open.from)
    }

    /// What a body loses.
    fn attribute(&self, key: Range<u64>, value: Option<Range<u64>>, window: &Window) -> Option<Edit> {
        let name = window.get(key.clone())?;
        if self.replacer.attribute(name) {
            let end = value.map_or(key.end, |value| {
                // The quote behind the value, if there is one.
                let quoted = matches!(window.get(value.end..value.end + 1), Some(b"\"" | b"'"));
                value.end + u64::from(quoted)
            });
            return Some(Edit { range: key.start..end, what: What::Fixed(Bytes::new()) });
        }
        let value = value.filter(|_| name.eq_ignore_ascii_case(b"class"))?;
        let mut classes = self.replacer.classes(window.get(value.clone())?)?;
        if !matches!(window.get(value.start - 1..value.start), Some(b"\"" | b"'")) {
            // A value without quotes could come out empty, and take the next attribute for itself.
            classes = [b"\"", classes.as_slice(), b"\""].concat();
        }
        Some(Edit { range: value, what: What::Fixed(Bytes::from(classes)) })
    }

    /// The element has no content: its tag, which ends here, is all there is.
    pub(super) fn without_content(&mut self, name: u64, end: u64, edits: &mut Vec<Edit>) {
        if let Some(Open { from, whole: true, .. }) = self.open.take_if(|open| open.from == name) {
            self.delete(from..end, edits);
        }
    }

    /// An end tag at `tag` ends the element; `own`: it is the element's own, not an ancestor's that takes it along.
    pub(super) fn end_tag(&mut self, name: u64, tag: Range<u64>, own: bool, window: &Window, edits: &mut Vec<Edit>) {
        let open = self.open.take_if(|open| open.from == name);
        let Some(Open { from, whole, .. }) = open.filter(|open| own && !open.given_up) else { return };
        let range = from..if whole { tag.end } else { tag.start };
        let goes = || window.get(range.clone()).is_some_and(|text| !text.is_empty() && self.replacer.text(text));
        if range.end - from <= MAX && (whole || goes()) {
            self.delete(range, edits);
        }
    }

    /// What is open stays.
    pub(super) fn give_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.given_up = true;
        }
    }

    fn delete(&mut self, range: Range<u64>, edits: &mut Vec<Edit>) {
        self.count += 1;
        self.ended = range.end;
        edits.push(Edit { range, what: What::Fixed(Bytes::new()) });
    }
}
