//! Finds the places in the text of a page that may carry a mark.
//!
//! Text is judged per text node on the source itself, never per chunk, so chunk borders cannot matter. A *gap* is white
//! space in one text node with a word directly on both sides and two words before and behind it in the block. A *seal*
//! stands before the explicit end tag of a block of 12 words and 80 characters or more, when nothing but white space,
//! ends of inline elements and empty ones come after its last character.

use std::ops::Range;

use bytes::Bytes;

use super::charset::{Charset, TextKind};
use super::decode::Decoded;
use super::tail::{self, Tail};
use super::window::Window;
use crate::slot::{Edit, SEPARATOR, Slot, What, Words, fold};

const SEAL_WORDS: u32 = 12;
const SEAL_CHARS: u32 = 80;
/// Seals of one page.
const MAX_SEALS: u32 = 60;
/// The end of a block that is held back until it is known whether a seal may stand there.
const MAX_TAIL: u64 = 1_024;
/// A gap and the two words behind it lie within so many bytes, tags between them included.
const REACH: u64 = 4_096;
/// Open blocks; beyond, the page has no more slots.
const MAX_DEPTH: usize = 256;
/// Words that a context is made of.
const CONTEXT: usize = 4;

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

#[derive(Debug)]
struct Block {
    id: u64,
    name: String,
    words: u32,
    chars: u32,
    /// Holds another block, or text that must not be sealed.
    unsealable: bool,
    /// Behind the last character that is not white space.
    tail_from: Option<u64>,
    known: Vec<Known>,
    /// Folded words, separated; `known` points into it.
    arena: Vec<u8>,
    open: Option<Open>,
}

/// The state of the search.
#[derive(Debug)]
pub(crate) struct Text {
    kind: TextKind,
    encoding: &'static encoding_rs::Encoding,
    /// `None`: slots are possible; else why not, or not any more.
    pub(crate) stopped: Option<&'static str>,
    roots: u32,
    pub(crate) saw_root: bool,
    skip: u32,
    /// The open text node: where it starts, and how far it has come.
    node: Option<Range<u64>>,
    nodes: u64,
    blocks: Vec<Block>,
    seals: u32,
    window_cap: u64,
    max_page: u64,
}

impl Text {
    /// `root` says that the whole body counts as article.
    pub(crate) fn new(
        charset: Charset,
        stopped: Option<&'static str>,
        root: bool,
        window_cap: u64,
        max_page: u64,
    ) -> Self {
        let kind = charset.text_kind();
        let stopped = match kind {
            TextKind::None(why) => Some(stopped.unwrap_or(why)),
            _ => stopped,
        };
        Self {
            kind,
            encoding: charset.encoding,
            stopped,
            roots: u32::from(root),
            saw_root: false,
            skip: 0,
            node: None,
            nodes: 0,
            blocks: Vec::new(),
            seals: 0,
            window_cap,
            max_page,
        }
    }

    /// No more slots.
    pub(crate) fn stop(&mut self, why: &'static str) {
        self.stopped.get_or_insert(why);
    }

    pub(crate) fn enter_root(&mut self) {
        self.saw_root = true;
        self.roots += 1;
    }

    pub(crate) fn leave_root(&mut self) {
        self.roots = self.roots.saturating_sub(1);
    }

    /// An element in which nothing is marked.
    pub(crate) fn enter_skip(&mut self) {
        self.break_words();
        self.skip += 1;
    }

    pub(crate) fn leave_skip(&mut self) {
        self.skip = self.skip.saturating_sub(1);
    }

    /// A block starts; the answer names it for [`Text::block_end`].
    pub(crate) fn block_start(&mut self, name: &str, id: u64) {
        // A paragraph cannot hold another one: the first has ended without an end tag.
        if name == "p" && self.blocks.last().is_some_and(|b| b.name == "p") {
            self.blocks.pop();
        }
        if let Some(parent) = self.blocks.last_mut() {
            parent.unsealable = true;
            parent.forget_words();
        }
        if self.blocks.len() >= MAX_DEPTH {
            return self.stop("error");
        }
        self.blocks.push(Block {
            id,
            name: name.to_owned(),
            words: 0,
            chars: 0,
            unsealable: false,
            tail_from: None,
            known: Vec::new(),
            arena: Vec::new(),
            open: None,
        });
    }

    /// An end tag at `at` closes a block, or an ancestor that takes it along.
    pub(crate) fn block_end(&mut self, id: u64, end_name: &str, at: u64, window: &Window, edits: &mut Vec<Edit>) {
        let Some(index) = self.blocks.iter().rposition(|b| b.id == id) else { return };
        let innermost = index + 1 == self.blocks.len();
        if let Some(block) = self.blocks.get_mut(index)
            && innermost
            && block.name == end_name
            && self.stopped.is_none()
        {
            block.close_word(edits);
            if self.seals < MAX_SEALS && self.skip == 0 && block.seal(at, window, edits) {
                self.seals += 1;
            }
        }
        self.blocks.truncate(index);
        self.break_words();
    }

    /// Part of a text node in a block.
    pub(crate) fn text_chunk(&mut self, chunk: Range<u64>, window: &Window) {
        match &mut self.node {
            Some(node) => node.end = chunk.end,
            None => {
                self.nodes += 1;
                self.node = Some(character_start(chunk.start, window)..chunk.end);
            }
        }
    }

    /// The text node is complete.
    pub(crate) fn text_end(&mut self, window: &Window, edits: &mut Vec<Edit>) {
        let Some(Range { start, end }) = self.node.take() else { return };
        if self.stopped.is_some() || self.roots == 0 || start >= end {
            return;
        }
        if start >= self.max_page {
            return self.stop("too_large");
        }
        let held = if end - start > self.window_cap { None } else { window.get(start..end) };
        let Some(source) = held else {
            // Longer than the window: its slots are given up, not the page.
            self.break_words();
            return self.unseal();
        };
        if self.skip > 0 {
            self.break_words();
            return self.note_tail(start, source, true);
        }
        let decoded = match Decoded::new(source, self.kind, self.encoding) {
            Ok(decoded) => decoded,
            Err(()) => {
                self.stopped = Some("bad_utf8");
                return;
            }
        };
        self.note_tail(start, source, false);
        let node = self.nodes;
        let Some(block) = self.blocks.last_mut() else { return };
        block.chars = block.chars.saturating_add(decoded.text.chars().count() as u32);
        block.read(start, node, &decoded, window, edits);
    }

    /// The tail of the block starts behind the last character; a seal never follows text that nothing is marked in.
    fn note_tail(&mut self, start: u64, source: &[u8], unmarked: bool) {
        if let Some(last) = source.iter().rposition(|b| !b.is_ascii_whitespace())
            && let Some(block) = self.blocks.last_mut()
        {
            block.tail_from = (!unmarked).then_some(start + last as u64 + 1);
        }
    }

    fn unseal(&mut self) {
        if let Some(block) = self.blocks.last_mut() {
            block.unsealable = true;
        }
    }

    fn break_words(&mut self) {
        if let Some(block) = self.blocks.last_mut() {
            block.forget_words();
        }
    }

    /// The source from here on must stay in the window; `settled` is how far the scan has come. What is let go here is
    /// never used later, whatever the chunks are.
    pub(crate) fn hold(&self, settled: u64) -> Option<u64> {
        if self.stopped.is_some() || self.roots == 0 {
            return None;
        }
        let node = self.node.as_ref().filter(|n| n.end - n.start <= self.window_cap).map(|n| n.start);
        // The next word cannot start before this.
        let next = self.node.as_ref().map_or(settled, |n| n.start);
        let block = self.blocks.last().and_then(|b| b.hold(next));
        match (node, block) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// A chunk that begins inside a split character reports a start up to three bytes late.
fn character_start(start: u64, window: &Window) -> u64 {
    let mut at = start;
    for _ in 0..3 {
        match window.get(at..at + 1) {
            Some([byte]) if byte & 0xC0 == 0x80 && at > window.base() => at -= 1,
            _ => break,
        }
    }
    match window.get(at..at + 1) {
        // Not UTF-8 after all: leave the start where it was.
        Some([byte]) if byte & 0xC0 == 0x80 => start,
        _ => at,
    }
}

impl Block {
    /// Reads one text node.
    fn read(&mut self, start: u64, node: u64, decoded: &Decoded<'_>, window: &Window, edits: &mut Vec<Edit>) {
        let source_at = |at: usize| start + decoded.source(at);
        let mut from = 0;
        if let Some(open) = self.open.take() {
            let near = start.saturating_sub(open.end) <= REACH;
            let joins = near && window.get(open.end..start).is_some_and(tail::is_inline);
            let joined = joins.then(|| {
                let both = format!("{}{}", open.raw, decoded.text);
                Words::new(&both).next().map_or(0, |w| w.end.saturating_sub(open.raw.len()))
            });
            from = joined.unwrap_or(0);
            let raw = open.raw.clone() + decoded.text.get(..from).unwrap_or_default();
            let end = if from > 0 { source_at(from) } else { open.end };
            let ends_in = if from > 0 { node } else { open.node };
            let word = Open { raw, end, node: ends_in, gap_before: open.gap_before };
            if from > 0 && from == decoded.text.len() {
                self.open = Some(word);
                return;
            }
            self.finish(word, edits);
        }
        let rest = decoded.text.get(from..).unwrap_or_default();
        for found in Words::new(rest) {
            let (at, to) = (from + found.start, from + found.end);
            let raw = decoded.text.get(at..to).unwrap_or_default();
            let gap_before = self.gap(source_at(at), node, raw, decoded, start);
            let word = Open { raw: raw.to_owned(), end: source_at(to), node, gap_before };
            if to == decoded.text.len() {
                self.open = Some(word);
            } else {
                self.finish(word, edits);
            }
        }
        if decoded.has_unknown_entity {
            self.forget_words();
        }
    }

    /// The white space between the last word and one that starts at `at`, if it is a gap.
    fn gap(&self, at: u64, node: u64, raw: &str, decoded: &Decoded<'_>, start: u64) -> Option<Range<u64>> {
        let last = self.known.last()?;
        if last.node != node || last.end >= at {
            return None;
        }
        let between = decoded.source_bytes(last.end.checked_sub(start)?, at - start)?;
        let first = raw.chars().next()?;
        let plain = between.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0C));
        let literal = decoded.is_literal(last.end - start - 1) && decoded.is_literal(at - start);
        let breaks_freely = breaks_anywhere(last.last) && breaks_anywhere(first);
        (plain && literal && !breaks_freely).then_some(last.end..at)
    }

    /// A word is complete; with it the gap two words back.
    fn finish(&mut self, word: Open, edits: &mut Vec<Edit>) {
        let from = self.arena.len() + usize::from(!self.arena.is_empty());
        if !self.arena.is_empty() {
            self.arena.push(SEPARATOR);
        }
        fold(&word.raw, &mut self.arena);
        if self.arena.len() == from {
            self.arena.truncate(from.saturating_sub(1));
            return;
        }
        self.words = self.words.saturating_add(1);
        let last = word.raw.chars().next_back().unwrap_or(' ');
        let folded = from..self.arena.len();
        self.known.push(Known { folded, end: word.end, node: word.node, last, gap_before: word.gap_before });
        if let [.., a, _, c, d] = self.known.as_slice()
            && let Some(range) = &c.gap_before
            && d.end.saturating_sub(range.start) <= REACH
            && let Some(context) = self.arena.get(a.folded.start..d.folded.end)
        {
            let slot = Slot::Gap { context: Bytes::copy_from_slice(context) };
            edits.push(Edit { range: range.clone(), what: What::Choice(slot) });
        }
        self.compact();
    }

    /// Keeps the last words only.
    fn compact(&mut self) {
        const LIMIT: usize = 64;
        if self.known.len() < LIMIT {
            return;
        }
        self.known.drain(..LIMIT - CONTEXT);
        let shift = self.known.first().map_or(0, |w| w.folded.start);
        self.arena.drain(..shift);
        for word in &mut self.known {
            word.folded = word.folded.start - shift..word.folded.end - shift;
        }
    }

    fn close_word(&mut self, edits: &mut Vec<Edit>) {
        if let Some(open) = self.open.take() {
            self.finish(open, edits);
        }
    }

    fn forget_words(&mut self) {
        self.open = None;
        self.known.clear();
        self.arena.clear();
    }

    fn is_sealable(&self) -> bool {
        !self.unsealable && self.words >= SEAL_WORDS && self.chars >= SEAL_CHARS
    }

    /// Seals the block whose end tag stands at `at`, if its tail allows.
    fn seal(&self, at: u64, window: &Window, edits: &mut Vec<Edit>) -> bool {
        let Some(from) = self.tail_from.filter(|_| self.is_sealable()) else { return false };
        let near = at.saturating_sub(from) <= MAX_TAIL;
        let Some(Tail { spaces }) = window.get(from..at).filter(|_| near).and_then(tail::read) else { return false };
        for space in spaces {
            let range = from + space.start as u64..from + space.end as u64;
            edits.push(Edit { range, what: What::Choice(Slot::Trim) });
        }
        edits.push(Edit { range: at..at, what: What::Choice(Slot::Seal) });
        true
    }

    fn hold(&self, next: u64) -> Option<u64> {
        let within = |at: u64, reach: u64| (next.saturating_sub(at) <= reach).then_some(at);
        let tail = self.tail_from.filter(|_| self.is_sealable()).and_then(|at| within(at, MAX_TAIL));
        let gap = self.known.last().and_then(|w| w.gap_before.as_ref()).and_then(|g| within(g.start, REACH));
        let open = self.open.as_ref().map(|o| o.gap_before.as_ref().map_or(o.end, |g| g.start));
        let open = open.and_then(|at| within(at, REACH));
        [tail, gap, open].into_iter().flatten().min()
    }
}

/// Scripts whose lines may break between any two letters: there a line feed and a space are not the same.
fn breaks_anywhere(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}
