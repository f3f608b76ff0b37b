//! Finds the places in the text of a page that may carry a mark.
//!
//! Text is judged per text node on the source itself, never per chunk, so chunk borders cannot matter. A *gap* is white
//! space in one text node with a word directly on both sides and two words before and behind it in the block. A *seal*
//! stands before the explicit end tag of a block of 12 words and 80 characters or more, when nothing but white space,
//! ends of inline elements and empty ones come after its last character. In some regions of a page there are none of one
//! kind, or none at all.

use std::ops::Range;

use super::block::Block;
use super::charset::{Charset, TextKind};
use super::decode::Decoded;
use super::forms::Spelling;
use super::tail;
use super::variants::Variant;
use super::window::Window;
use crate::slot::Edit;

/// Seals of one page.
const MAX_SEALS: u32 = 60;
/// Open blocks; beyond, the page has no more slots.
const MAX_DEPTH: usize = 256;

/// A part of a page in which other rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    /// Its blocks may carry marks.
    Root,
    /// Nothing is marked.
    Skip,
    /// White space counts: it stays as it is.
    Preserve,
    /// No block is sealed whose last text is in it.
    Unsealed,
    /// It is in another language than the page: its spelling stays.
    Foreign,
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
    preserve: u32,
    unsealed: u32,
    foreign: u32,
    /// Alternatives of the author are open.
    varies: u32,
    /// The open text node: where it starts, and how far it has come.
    node: Option<Range<u64>>,
    nodes: u64,
    blocks: Vec<Block>,
    /// The last one that was over.
    spare: Option<Block>,
    seals: u32,
    /// Words of blocks that may carry marks.
    pub(crate) words: u32,
    /// A slot was found.
    pub(crate) found: bool,
    /// Text nodes whose letters were read, if somebody asks.
    pub(crate) looked_at: Option<Vec<Range<u64>>>,
    window_cap: u64,
    max_page: u64,
    spelling: Spelling,
    /// Edits of blocks that are over.
    settled: Vec<Edit>,
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
            preserve: 0,
            unsealed: 0,
            foreign: 0,
            varies: 0,
            node: None,
            nodes: 0,
            blocks: Vec::new(),
            spare: None,
            seals: 0,
            words: 0,
            found: false,
            looked_at: None,
            window_cap,
            max_page,
            spelling: Spelling::default(),
            settled: Vec::new(),
        }
    }

    /// What may be spelled in two ways, once the language of the page is known.
    pub(crate) fn spell(&mut self, spelling: Spelling) {
        self.spelling = spelling;
    }

    /// May a tag that begins here hold a mark?
    pub(crate) fn takes_marks(&self) -> bool {
        self.stopped.is_none() && self.roots > 0 && self.skip == 0
    }

    pub(crate) fn is_foreign(&self, lang: &[u8]) -> bool {
        self.spelling.is_foreign(lang)
    }

    /// No more slots.
    pub(crate) fn stop(&mut self, why: &'static str) {
        self.stopped.get_or_insert(why);
    }

    /// An element of this kind starts.
    pub(crate) fn enter(&mut self, region: Region) {
        match region {
            Region::Root => self.saw_root = true,
            Region::Skip => self.break_words(),
            // Words go on over it.
            Region::Preserve | Region::Unsealed | Region::Foreign => {}
        }
        *self.depth(region) += 1;
    }

    pub(crate) fn leave(&mut self, region: Region) {
        let depth = self.depth(region);
        *depth = depth.saturating_sub(1);
        if region == Region::Root && self.roots == 0 {
            self.break_words();
        }
    }

    fn depth(&mut self, region: Region) -> &mut u32 {
        match region {
            Region::Root => &mut self.roots,
            Region::Skip => &mut self.skip,
            Region::Preserve => &mut self.preserve,
            Region::Unsealed => &mut self.unsealed,
            Region::Foreign => &mut self.foreign,
        }
    }

    /// Alternatives of the author start at `at`: until their end no text is read.
    pub(crate) fn variant_start(&mut self, at: u64, window: &Window, edits: &mut Vec<Edit>) {
        self.varies += 1;
        if let Some(block) = self.blocks.last_mut() {
            block.forget_words();
            if let Some(forms) = &mut block.forms {
                forms.approach(at, window, edits);
            }
        }
    }

    /// Their end; without a variant the element stays as it is.
    pub(super) fn variant_end(&mut self, variant: Option<Variant>, edits: &mut Vec<Edit>) {
        self.varies = self.varies.saturating_sub(1);
        let chosen = self.takes_marks() && self.spelling.chooses();
        let sealable = self.skip == 0 && self.unsealed == 0;
        let Some(block) = self.blocks.last_mut() else {
            return edits.extend(variant.map(|variant| variant.edit(None)));
        };
        block.glue();
        if let Some(variant) = &variant {
            block.tail_from = Some(variant.range.end).filter(|_| sealable && variant.is_tight());
            block.tail_stays = self.preserve > 0;
        }
        match (variant, &mut block.forms) {
            (Some(variant), Some(forms)) if chosen => {
                self.found = true;
                forms.variant(variant, edits);
            }
            (variant, forms) => {
                edits.extend(variant.map(|variant| variant.edit(None)));
                if let Some(forms) = forms {
                    forms.opaque(edits);
                }
            }
        }
    }

    /// A block starts at `at`; the answer names it for [`Text::block_end`].
    pub(crate) fn block_start(&mut self, name: &str, id: u64, at: u64) {
        self.end_forms(at);
        // A paragraph cannot hold another one: the first has ended without an end tag.
        if name == "p" && self.blocks.last().is_some_and(|b| b.name == "p") {
            self.spare = self.blocks.pop();
        }
        if let Some(parent) = self.blocks.last_mut() {
            parent.unsealable = true;
            parent.forget_words();
        }
        if self.blocks.len() >= MAX_DEPTH {
            // Lists without end tags look nested: the oldest is certainly over.
            self.blocks.remove(0);
        }
        let block = Block::new(id, name, self.spelling.block(), self.spare.take());
        self.blocks.push(block);
    }

    /// The text of the innermost block is over, or that of another one begins in it.
    fn end_forms(&mut self, at: u64) {
        let Some(forms) = self.blocks.last_mut().and_then(|block| block.forms.as_mut()) else { return };
        if self.stopped.is_none() {
            forms.end(at, &mut self.settled);
        } else {
            forms.give_up(&mut self.settled);
        }
    }

    /// An end tag at `at` closes a block, or an ancestor that takes it along.
    pub(crate) fn block_end(&mut self, id: u64, end_name: &str, at: u64, window: &Window, edits: &mut Vec<Edit>) {
        let Some(index) = self.blocks.iter().rposition(|b| b.id == id) else { return };
        self.end_forms(at);
        let innermost = index + 1 == self.blocks.len();
        if let Some(block) = self.blocks.get_mut(index)
            && innermost
            && block.name == end_name
            && self.stopped.is_none()
        {
            let (words, before) = (block.words, edits.len());
            block.close_word(edits);
            self.words = self.words.saturating_add(block.words - words);
            if self.seals < MAX_SEALS && self.skip == 0 && block.seal(at, window, edits) {
                self.seals += 1;
            }
            self.found |= edits.len() > before;
        }
        self.spare = self.blocks.drain(index..).next_back();
        if let Some(parent) = self.blocks.last_mut() {
            parent.forget_words();
        }
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
        if self.varies > 0 {
            return self.note_tail(start, source, self.unsealed > 0);
        }
        if let Some(looked_at) = &mut self.looked_at {
            looked_at.push(start..end);
        }
        let Ok(decoded) = Decoded::new(source, self.kind, self.encoding) else {
            return self.stop("bad_utf8");
        };
        self.note_tail(start, source, self.unsealed > 0 || tail::ends_in_hieroglyph(&decoded.text));
        let (node, before) = (self.nodes, edits.len());
        let quiet = self.foreign > 0 || self.preserve > 0;
        let Some(block) = self.blocks.last_mut() else { return };
        let words = block.words;
        block.chars = block.chars.saturating_add(decoded.text.chars().count() as u32);
        block.preserve = self.preserve > 0;
        block.read(start, node, &decoded, window, edits);
        if let Some(forms) = &mut block.forms {
            forms.read(start, &decoded, quiet, window, edits);
        }
        self.words = self.words.saturating_add(block.words - words);
        self.found |= edits.len() > before;
    }

    /// The tail of the block starts behind the last character, if a seal may follow that.
    fn note_tail(&mut self, start: u64, source: &[u8], unsealed: bool) {
        let preserve = self.preserve > 0;
        let Some(block) = self.blocks.last_mut() else { return };
        match source.iter().rposition(|b| !b.is_ascii_whitespace()) {
            Some(last) => {
                block.tail_from = (!unsealed).then_some(start + last as u64 + 1);
                block.tail_stays = preserve;
            }
            None => block.tail_stays |= preserve,
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
            if let Some(forms) = &mut block.forms {
                forms.opaque(&mut self.settled);
            }
        }
    }

    /// Gives the edits that wait for nothing more; `settled` is how far the scan has come.
    pub(crate) fn settle(&mut self, settled: u64, edits: &mut Vec<Edit>) {
        let next = self.next_text(settled);
        if let Some(forms) = self.blocks.last_mut().and_then(|block| block.forms.as_mut()) {
            if self.stopped.is_none() {
                forms.give_up_far(next, edits);
            } else {
                forms.give_up(edits);
            }
        }
        edits.append(&mut self.settled);
    }

    /// The page is over, or no more of it is looked at.
    pub(crate) fn finish(&mut self, edits: &mut Vec<Edit>) {
        if let Some(forms) = self.blocks.last_mut().and_then(|block| block.forms.as_mut()) {
            forms.give_up(edits);
        }
        edits.append(&mut self.settled);
    }

    /// The next word cannot start before this.
    fn next_text(&self, settled: u64) -> u64 {
        self.node.as_ref().map_or(settled, |node| node.start)
    }

    /// The source from here on must stay in the window; `settled` is how far the scan has come. What is let go here is
    /// never used later, whatever the chunks are.
    pub(crate) fn hold(&self, settled: u64) -> Option<u64> {
        if self.stopped.is_some() || self.roots == 0 {
            return None;
        }
        let node = self.node.as_ref().filter(|n| n.end - n.start <= self.window_cap).map(|n| n.start);
        let next = self.next_text(settled);
        let block = self.blocks.last().and_then(|b| b.hold(next));
        match (node, block) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// A chunk that begins inside a split character reports a start up to three bytes late. A text node follows the `>` of a
/// tag or comment, so bytes beyond ASCII before it are its own.
fn character_start(start: u64, window: &Window) -> u64 {
    let ours = |at: &u64| matches!(window.get(*at..at + 1), Some([byte]) if !byte.is_ascii());
    (1..=3).map_while(|back| start.checked_sub(back).filter(ours)).last().unwrap_or(start)
}
