//! The source of a page while it is compared: held until its end, for the scanner or the packer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::cache::PlanCache;
use crate::page::output::Output;

/// Most bytes of source that are held at once for pages that may turn out to be others.
const MAX_HELD: usize = 128 << 20;

/// The source in the pieces in which it came; they are shared, not copied.
pub(crate) struct Source {
    /// With the offset behind each.
    pieces: Vec<(usize, Bytes)>,
    len: usize,
    /// Bytes that all sources hold together.
    held: Arc<AtomicUsize>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.held.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl Source {
    /// `None`: readers who take their time hold enough already.
    pub(super) fn new(cache: &PlanCache) -> Option<Self> {
        let source = Self { pieces: Vec::new(), len: 0, held: cache.held() };
        (!source.is_at_bound()).then_some(source)
    }

    /// Do all of them hold as much as they may?
    pub(super) fn is_at_bound(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= MAX_HELD
    }

    /// All of it, for another use.
    pub(super) fn take(&mut self) -> Self {
        let held = Arc::clone(&self.held);
        std::mem::replace(self, Self { pieces: Vec::new(), len: 0, held })
    }

    #[cfg(test)]
    pub(super) fn of(cache: &PlanCache, piece: Bytes) -> Self {
        let mut source = Self { pieces: Vec::new(), len: 0, held: cache.held() };
        source.push(piece);
        source
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.held.fetch_add(piece.len(), Ordering::Relaxed);
            self.pieces.push((self.len, piece));
        }
    }

    /// The pieces of a range, each cut to it, with the offset in the source of the cut.
    pub(super) fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&Bytes, Range<usize>, usize)> {
        let first = self.pieces.partition_point(|(end, _)| *end <= range.start);
        let pieces = self.pieces.get(first..).unwrap_or_default().iter();
        pieces.map_while(move |(end, piece)| {
            let start = end - piece.len();
            let cut = range.start.max(start) - start..range.end.min(*end).saturating_sub(start);
            let at = start + cut.start;
            (start < range.end && !cut.is_empty()).then_some((piece, cut, at))
        })
    }

    pub(super) fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        self.parts(range).filter_map(|(piece, cut, _)| piece.get(cut))
    }

    pub(super) fn pass(&self, range: Range<usize>, out: &mut Output) {
        for (piece, cut, _) in self.parts(range) {
            out.share(piece.slice(cut));
        }
    }

    /// Passes on all from `at` on.
    pub(crate) fn pass_from(&self, at: usize, out: &mut Output) {
        self.pass(at..self.len, out);
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().map(|(_, piece)| piece)
    }
}
