//! One block of text: its words, the gaps between them, and the seal at its end.

use std::ops::Range;

use bytes::Bytes;

use super::decode::Decoded;
use super::forms::BlockForms;
use super::tail::{self, Tail};
use super::window::Window;
use crate::slot::{Edit, SEPARATOR, Slot, What, Words, fold, is_apostrophe};

const SEAL_WORDS: u32 = 12;
const SEAL_CHARS: u32 = 80;
/// The end of a block that is held back until it is known whether a seal may stand there.
const MAX_TAIL: u64 = 1_024;
/// A gap and the two words behind it lie within so many bytes, tags between them included.
const REACH: u64 = 4_096;
/// Longest word that is put together over inline tags, in bytes.
const MAX_JOINED: usize = 256;
/// Words that a context is made of.
const CONTEXT: usize = 4;
/// Words behind which no gap can be found any more are let go when there are so many.
const MANY_KNOWN: usize = 60;
/// The same within one text node.
const MAX_KNOWN: usize = 1_024;

/// A finished word.
#[derive(Debug, Clone)]
struct Known {
    folded: Range<usize>,
    end: u64,
    /// The text node that it ends in.
    node: u64,
    last: char,
    /// Where the white space before it starts, if that is a gap.
    gap_before: Option<Range<u64>>,
}

/// A word that the next text node may continue.
#[derive(Debug, Clone)]
struct Open {
    raw: String,
    end: u64,
    node: u64,
    gap_before: Option<Range<u64>>,
}

#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) words: u32,
    pub(super) chars: u32,
    /// Holds another block, or text that must not be sealed.
    pub(super) unsealable: bool,
    /// Behind the last character that is not white space.
    pub(super) tail_from: Option<u64>,
    /// White space behind it counts.
    pub(super) tail_stays: bool,
    /// White space that is read now counts: there are no gaps.
    pub(super) preserve: bool,
    known: Vec<Known>,
    /// Folded words, separated; `known` and `found` point into it.
    arena: Vec<u8>,
    /// Gaps with their contexts.
    found: Vec<(Range<u64>, Range<usize>)>,
    open: Option<Open>,
    /// The next text may go on with a word that is not known.
    glued: bool,
    /// Spellings and alternatives, if they are looked for.
    pub(super) forms: Option<Box<BlockForms>>,
}

impl Block {
    /// A block that begins; `spare`: one that is over, for its memory.
    pub(super) fn new(id: u64, name: &str, forms: Option<Box<BlockForms>>, spare: Option<Self>) -> Self {
        let Self { name: mut own, mut known, mut arena, mut found, .. } = spare.unwrap_or_default();
        own.clear();
        own.push_str(name);
        known.clear();
        arena.clear();
        found.clear();
        Self { id, name: own, forms, known, arena, found, ..Self::default() }
    }

    /// Reads one text node.
    pub(super) fn read(
        &mut self,
        start: u64,
        node: u64,
        decoded: &Decoded<'_>,
        window: &Window,
        edits: &mut Vec<Edit>,
    ) {
        let source_at = |at: usize| start + decoded.source(at);
        let mut from = 0;
        if std::mem::take(&mut self.glued) {
            from = first_word_end(&decoded.text);
            self.glued = from > 0 && from == decoded.text.len();
        }
        if let Some(open) = self.open.take() {
            let near = start.saturating_sub(open.end) <= REACH;
            let joins = near && window.get(open.end..start).is_some_and(tail::is_inline);
            let joined = joins.then(|| {
                let both = format!("{}{}", open.raw, decoded.text);
                Words::new(&both).next().map_or(0, |w| w.end.saturating_sub(open.raw.len()))
            });
            from = joined.unwrap_or(0);
            if open.raw.len() + from > MAX_JOINED {
                // No word is so long; joining it piece by piece would cost the square of its length.
                return self.forget_words();
            }
            let raw = open.raw.clone() + decoded.text.get(..from).unwrap_or_default();
            let end = if from > 0 { source_at(from) } else { open.end };
            let ends_in = if from > 0 { node } else { open.node };
            let word = Open { raw, end, node: ends_in, gap_before: open.gap_before };
            if from > 0 && from == decoded.text.len() {
                self.open = Some(word);
                return;
            }
            self.finish(&word.raw, word.end, word.node, word.gap_before, edits);
        }
        let rest = decoded.text.get(from..).unwrap_or_default();
        for found in Words::new(rest) {
            let (at, to) = (from + found.start, from + found.end);
            let raw = decoded.text.get(at..to).unwrap_or_default();
            let gap_before = self.gap(source_at(at), node, raw, decoded, start);
            if to == decoded.text.len() {
                self.open = Some(Open { raw: raw.to_owned(), end: source_at(to), node, gap_before });
            } else {
                self.finish(raw, source_at(to), node, gap_before, edits);
            }
        }
        self.release(edits);
        if decoded.has_unknown_entity {
            self.forget_words();
        }
    }

    /// The white space between the last word and one that starts at `at`, if it is a gap.
    fn gap(&self, at: u64, node: u64, raw: &str, decoded: &Decoded<'_>, start: u64) -> Option<Range<u64>> {
        let last = self.known.last()?;
        if self.preserve || last.node != node || last.end >= at {
            return None;
        }
        let between = decoded.source_bytes(last.end.checked_sub(start)?, at - start)?;
        let first = raw.chars().next()?;
        // Beside it browsers take a line feed out (CSS Text 3, segment break transformation).
        if [last.last, first].contains(&ZERO_WIDTH_SPACE) {
            return None;
        }
        let plain = between.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0C));
        let literal = plain && decoded.is_literal(last.end - start - 1) && decoded.is_literal(at - start);
        let breaks_freely = breaks_anywhere(last.last) && breaks_anywhere(first);
        (literal && !breaks_freely).then_some(last.end..at)
    }

    /// A word is complete; with it the gap two words back.
    fn finish(&mut self, raw: &str, end: u64, node: u64, gap_before: Option<Range<u64>>, edits: &mut Vec<Edit>) {
        let from = self.arena.len() + usize::from(!self.arena.is_empty());
        if !self.arena.is_empty() {
            self.arena.push(SEPARATOR);
        }
        fold(raw, &mut self.arena);
        if self.arena.len() == from {
            self.arena.truncate(from.saturating_sub(1));
            return;
        }
        self.words = self.words.saturating_add(1);
        let last = raw.chars().next_back().unwrap_or(' ');
        let folded = from..self.arena.len();
        self.known.push(Known { folded, end, node, last, gap_before });
        if let [.., a, _, c, d] = self.known.as_slice()
            && let Some(range) = &c.gap_before
            && d.end.saturating_sub(range.start) <= REACH
        {
            self.found.push((range.clone(), a.folded.start..d.folded.end));
        }
        if self.known.len() >= MAX_KNOWN {
            self.release(edits);
        }
    }

    /// Hands over the gaps that were found. Their contexts share one piece of memory.
    fn release(&mut self, edits: &mut Vec<Edit>) {
        let from = self.found.first().map_or(0, |(_, context)| context.start);
        let to = self.found.last().map_or(0, |(_, context)| context.end);
        let shared = Bytes::copy_from_slice(self.arena.get(from..to).unwrap_or_default());
        edits.extend(self.found.drain(..).map(|(range, context)| {
            let context = shared.slice(context.start - from..context.end - from);
            Edit { range, what: What::Choice(Slot::Gap { context }) }
        }));
        self.compact();
    }

    /// Keeps the last words only.
    fn compact(&mut self) {
        let surplus = self.known.len().saturating_sub(CONTEXT);
        if surplus < MANY_KNOWN {
            return;
        }
        self.known.drain(..surplus);
        let shift = self.known.first().map_or(0, |w| w.folded.start);
        self.arena.drain(..shift);
        for word in &mut self.known {
            word.folded = word.folded.start - shift..word.folded.end - shift;
        }
    }

    pub(super) fn close_word(&mut self, edits: &mut Vec<Edit>) {
        if let Some(open) = self.open.take() {
            self.finish(&open.raw, open.end, open.node, open.gap_before, edits);
        }
        self.release(edits);
    }

    pub(super) fn forget_words(&mut self) {
        self.open = None;
        self.known.clear();
        self.arena.clear();
    }

    /// Alternatives end: which of them a copy shows is not known here, so no gap has them among its words.
    pub(super) fn glue(&mut self) {
        self.forget_words();
        self.glued = true;
    }

    fn is_sealable(&self) -> bool {
        !self.unsealable && self.words >= SEAL_WORDS && self.chars >= SEAL_CHARS
    }

    /// Seals the block whose end tag stands at `at`, if its tail allows.
    pub(super) fn seal(&self, at: u64, window: &Window, edits: &mut Vec<Edit>) -> bool {
        let Some(from) = self.tail_from.filter(|_| self.is_sealable()) else { return false };
        let near = at.saturating_sub(from) <= MAX_TAIL;
        let Some(Tail { spaces }) = window.get(from..at).filter(|_| near).and_then(tail::read) else { return false };
        if self.tail_stays && !spaces.is_empty() {
            return false;
        }
        for space in spaces {
            let range = from + space.start as u64..from + space.end as u64;
            edits.push(Edit { range, what: What::Choice(Slot::Trim) });
        }
        edits.push(Edit { range: at..at, what: What::Choice(Slot::Seal) });
        true
    }

    pub(super) fn hold(&self, next: u64) -> Option<u64> {
        let within = |at: u64, reach: u64| (next.saturating_sub(at) <= reach).then_some(at);
        let tail = self.tail_from.filter(|_| self.is_sealable()).and_then(|at| within(at, MAX_TAIL));
        let gap = self.known.last().and_then(|w| w.gap_before.as_ref()).and_then(|g| within(g.start, REACH));
        let open = self.open.as_ref().map(|o| o.gap_before.as_ref().map_or(o.end, |g| g.start));
        let open = open.and_then(|at| within(at, REACH));
        let forms = self.forms.as_ref().and_then(|forms| forms.hold(next));
        [tail, gap, open, forms].into_iter().flatten().min()
    }
}

const ZERO_WIDTH_SPACE: char = '\u{200B}';

/// Behind the word that a text begins with; 0: it begins with none.
fn first_word_end(text: &str) -> usize {
    let word = text.trim_start_matches(is_apostrophe);
    let quoted = text.len() - word.len();
    Words::new(word).next().filter(|first| first.start == 0).map_or(0, |first| quoted + first.end)
}

/// Scripts whose lines may break between any two letters: there a line feed and a space are not the same. Hangul, whose
/// line feeds should become spaces (CSS Text, segment break transformation), is among them until browsers are known to agree.
fn breaks_anywhere(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}
