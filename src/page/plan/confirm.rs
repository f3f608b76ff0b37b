//! A page that is known: its source is compared, not parsed, and leaves with the edits of its plan.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::cache::PlanCache;
use super::edits::{CHUNK, Kind, Plan, PlanEdit};
use crate::page::marks::{Gate, MarkRules};
use crate::page::output::Output;
use crate::page::rewrite::Outcome;
use crate::page::splice::places;
use crate::slot::{Carriers, Choose, GapRow};

/// Most bytes of source that are held at once for pages that may turn out to be others.
const MAX_HELD: usize = 128 << 20;

/// A page on its way while it agrees with a plan.
pub(crate) struct Confirm {
    cache: Arc<PlanCache>,
    /// Those that agree so far.
    plans: Vec<Arc<Plan>>,
    /// The one whose edits were applied.
    plan: Arc<Plan>,
    /// The whole source so far: the scanner reads it if it turns out to be another page.
    source: Source,
    /// Bytes of it that agree; full chunks.
    confirmed: usize,
    /// Bytes of it that have left.
    left: usize,
    /// Edits that were applied.
    applied: usize,
    carriers: Carriers,
    rules: MarkRules,
    /// Channels that the page shuts out, once an edit has asked for them.
    off: Option<Gate>,
    /// What stands in gaps; `None`: the source does.
    gaps: Option<GapRow>,
}

/// It is another page.
pub(crate) struct Difference {
    /// What has come.
    pub(crate) source: Source,
    /// Bytes of it that have left.
    pub(crate) left: usize,
    edits: Vec<PlanEdit>,
}

impl Difference {
    /// Are these the edits that were applied, and perhaps some more?
    pub(crate) fn is_confirmed_by(&self, edits: &[PlanEdit]) -> bool {
        edits.starts_with(&self.edits)
    }
}

impl Confirm {
    /// `None`: there is no plan.
    pub(crate) fn new(cache: Arc<PlanCache>, plans: Vec<Arc<Plan>>, rules: MarkRules) -> Option<Self> {
        let plan = Arc::clone(plans.first()?);
        let source = Source::new(&cache)?;
        let carriers = Carriers::default();
        Some(Self {
            cache,
            plans,
            plan,
            source,
            confirmed: 0,
            left: 0,
            applied: 0,
            carriers,
            rules,
            off: None,
            gaps: None,
        })
    }

    /// Takes a piece of the source and gives what may leave. False: it is another page.
    pub(crate) fn push(&mut self, piece: Bytes, choose: &mut dyn Choose, out: &mut Output) -> bool {
        self.source.push(piece);
        while self.source.len >= self.confirmed + CHUNK {
            let hash = self.cache.hash(self.source.slices(self.confirmed..self.confirmed + CHUNK));
            let index = self.confirmed / CHUNK;
            self.plans.retain(|plan| plan.chunks.get(index).is_some_and(|chunk| chunk.hash == hash));
            if !self.follow() {
                return false;
            }
            self.confirmed += CHUNK;
        }
        let last = (self.confirmed / CHUNK).checked_sub(1).and_then(|index| self.plan.chunks.get(index));
        if let Some(chunk) = last.copied() {
            self.splice(chunk.left as usize, chunk.edits as usize, choose, out);
        }
        true
    }

    /// The source is over. False: it is another page.
    pub(crate) fn finish(&mut self, choose: &mut dyn Choose, out: &mut Output) -> bool {
        let len = self.source.len;
        let hash = self.cache.hash(self.source.slices(self.confirmed..len));
        self.plans.retain(|plan| plan.len == len && plan.tail == hash);
        if !self.follow() {
            return false;
        }
        self.splice(len, self.plan.edits.len(), choose, out);
        true
    }

    /// Goes on with a plan that agrees still.
    fn follow(&mut self) -> bool {
        let Some(next) = self.plans.first() else { return false };
        if !Arc::ptr_eq(next, &self.plan) {
            if !next.agrees(&self.plan, self.applied) {
                return false;
            }
            self.plan = Arc::clone(next);
        }
        true
    }

    /// Passes the source on up to `left`, with the edits that lie before it.
    fn splice(&mut self, left: usize, edits: usize, choose: &mut dyn Choose, out: &mut Output) {
        if left <= self.left {
            return;
        }
        let plan = Arc::clone(&self.plan);
        let edits = plan.edits.get(..edits).unwrap_or_default();
        // Where the source stays it goes on with what follows, in one piece, with the gaps in it.
        let (mut at, mut passed) = (self.left, self.applied);
        for (number, edit) in edits.iter().enumerate().skip(self.applied) {
            if edit.kind.is_gated() && self.off.is_none() {
                // The sheets stand before the first of these edits: whatever follows, the answer is that of a scan.
                let off = self.rules.judge(&plan.outcome.sheets);
                self.gaps = if off.white.is_none() { choose.gaps() } else { None };
                self.off = Some(off);
            }
            if edit.is_short_gap() || !self.is_used(edit.kind, choose) {
                continue;
            }
            let start = edit.at as usize;
            self.pass(at..start, edits.get(passed..number).unwrap_or_default(), out);
            self.put(&plan, edit.kind, choose, out);
            (at, passed) = (start + edit.len as usize, number + 1);
        }
        self.pass(at..left, edits.get(passed..).unwrap_or_default(), out);
        (self.left, self.applied) = (left, edits.len());
    }

    /// Does the copy differ from the source at an edit of this kind?
    fn is_used(&self, kind: Kind, choose: &mut dyn Choose) -> bool {
        match kind {
            Kind::Gap(_) => self.gaps.is_some(),
            // White space goes only where the seal comes.
            Kind::Trim | Kind::Seal => self.off.is_none_or(|off| off.seal.is_none()) && choose.seal().is_some(),
            Kind::Form { form, column } => choose.form(form, column).is_some(),
            Kind::Token(_) => choose.token().is_some(),
            Kind::Fixed(_) | Kind::Variant { .. } | Kind::Fill(_) => true,
        }
    }

    /// Puts in what stands in the copy.
    fn put(&mut self, plan: &Plan, kind: Kind, choose: &mut dyn Choose, out: &mut Output) {
        let carriers = &mut self.carriers;
        match kind {
            Kind::Fixed(index) => {
                out.copy(plan.fixed.get(usize::from(index)).map_or(&[], |bytes| bytes));
            }
            Kind::Gap(column) => {
                let byte = self.gaps.map(|gaps| gaps.byte(column));
                out.copy(byte.as_slice());
                carriers.white += 1;
            }
            Kind::Trim => {}
            Kind::Seal => {
                out.copy(&choose.seal().unwrap_or_default());
                carriers.seals += 1;
            }
            Kind::Form { form, column } => {
                out.copy(choose.form(form, column).unwrap_or_default().as_bytes());
                carriers.forms += places(form);
            }
            Kind::Variant { column, index } => {
                if let Some([first, second]) = plan.variants.get(usize::from(index)) {
                    out.copy(if choose.variant(column) == 0 { first } else { second });
                    carriers.variants += 1;
                }
            }
            Kind::Token(token) => {
                let (before, after) = token.frame();
                for part in [before.as_bytes(), &choose.token().unwrap_or_default(), after.as_bytes()] {
                    out.copy(part);
                }
                carriers.tokens += 1;
            }
            Kind::Fill(fill) => {
                out.copy(&choose.fill(fill).unwrap_or_default());
            }
        }
    }

    /// Passes on a range of the source; of the edits in it, gaps of one byte are used.
    fn pass(&mut self, range: Range<usize>, edits: &[PlanEdit], out: &mut Output) {
        let Some(gaps) = self.gaps.filter(|_| !edits.is_empty()) else {
            return self.source.pass(range, out);
        };
        let mut edits = edits;
        for (piece, cut, at) in self.source.parts(range) {
            let (here, later) = edits.split_at(edits.partition_point(|edit| (edit.at as usize) < at + cut.len()));
            edits = later;
            if !here.iter().any(PlanEdit::is_short_gap) {
                out.share(piece.slice(cut));
                continue;
            }
            let copy = out.copy(piece.get(cut).unwrap_or_default());
            for edit in here {
                if let Kind::Gap(column) = edit.kind
                    && edit.len == 1
                    && let Some(place) = copy.get_mut((edit.at as usize).wrapping_sub(at))
                {
                    *place = gaps.byte(column);
                    self.carriers.white += 1;
                }
            }
        }
    }

    /// Where the chunk begins whose rest is waited for. `None`: there is nothing that has not left yet.
    pub(crate) fn waits_at(&self) -> Option<usize> {
        (self.left < self.source.len).then_some(self.confirmed)
    }

    /// What the scan said of the page, with what this copy carries.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { carriers: self.carriers, off: self.off.unwrap_or_default(), ..self.plan.outcome.clone() }
    }

    pub(crate) fn into_difference(self) -> Difference {
        let edits = self.plan.edits.get(..self.applied).unwrap_or_default().to_vec();
        Difference { source: self.source, left: self.left, edits }
    }
}

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
    fn new(cache: &PlanCache) -> Option<Self> {
        let held = cache.held();
        (held.load(Ordering::Relaxed) < MAX_HELD).then(|| Self { pieces: Vec::new(), len: 0, held })
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.held.fetch_add(piece.len(), Ordering::Relaxed);
            self.pieces.push((self.len, piece));
        }
    }

    /// The pieces of a range, each cut to it, with the offset in the source of the cut.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&Bytes, Range<usize>, usize)> {
        let first = self.pieces.partition_point(|(end, _)| *end <= range.start);
        let pieces = self.pieces.get(first..).unwrap_or_default().iter();
        pieces.map_while(move |(end, piece)| {
            let start = end - piece.len();
            let cut = range.start.max(start) - start..range.end.min(*end).saturating_sub(start);
            let at = start + cut.start;
            (start < range.end && !cut.is_empty()).then_some((piece, cut, at))
        })
    }

    fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        self.parts(range).filter_map(|(piece, cut, _)| piece.get(cut))
    }

    fn pass(&self, range: Range<usize>, out: &mut Output) {
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
