//! A page that is known: its source is compared, not parsed, and leaves with the edits of its plan.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::PlanCache;
use super::edits::{CHUNK, Edits, Kind, Plan, ShortGap};
use super::hold::Hold;
use super::packing::{Job, compare};
use super::shelf::PackedPage;
use super::source::Source;
use super::template::Chosen;
use crate::page::marks::{Gate, MarkRules};
use crate::page::output::Output;
use crate::page::packed::{Marks, PackedBody};
use crate::page::rewrite::Outcome;
use crate::page::splice::places;
use crate::slot::{Carriers, Choose, GapRow};

/// What [`Confirm::waits_at`] says while the whole page is waited for; no page begins a chunk there.
const WHOLE: usize = usize::MAX - 1;

/// Bytes of source that are copied at most for the gaps in them, before what has none is passed on as a frame of its own: the less
/// often a page is cut, the fewer writes it takes.
const STRETCH: usize = 32 * 1024;

/// How a page has ended.
pub(crate) enum End {
    /// It is another page.
    Other,
    /// It has left.
    Spliced,
    /// It leaves in packed form; with its length before it was compressed.
    Packed(PackedBody, u64),
}

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
    /// Edits that were applied, and gaps of one byte beside them.
    applied: usize,
    filled: usize,
    carriers: Carriers,
    rules: MarkRules,
    /// Channels that the page shuts out, once an edit has asked for them.
    off: Option<Gate>,
    /// What stands in gaps; `None`: the source does.
    row: Option<GapRow>,
    hold: Option<Hold>,
    /// This copy is to be compared.
    sampled: bool,
}

/// It is another page.
pub(crate) struct Difference {
    /// What has come.
    pub(crate) source: Source,
    /// Bytes of it that have left.
    pub(crate) left: usize,
    edits: Edits,
}

impl Difference {
    /// Are these the edits that were applied, and none but later ones?
    pub(crate) fn is_confirmed_by(&self, edits: &Edits) -> bool {
        let applied = edits.first(self.edits.others.len(), self.edits.gaps.len(), self.left);
        applied.as_ref() == Some(&self.edits)
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
            filled: 0,
            carriers,
            rules,
            off: None,
            row: None,
            hold: None,
            sampled: false,
        })
    }

    /// The client takes gzip. If the page is packed for copies like this one, it is held until its end.
    pub(crate) fn hold(&mut self, choose: &mut dyn Choose) {
        self.hold = Hold::of(&self.plans, &self.rules, choose);
    }

    /// Is the page held until its end?
    pub(crate) fn holds(&self) -> bool {
        self.hold.is_some()
    }

    /// The end does not come: what agrees so far leaves in the ordinary way. False: there is nothing of that kind.
    pub(crate) fn release(&mut self, choose: &mut dyn Choose, out: &mut Output) -> bool {
        if self.hold.take().is_none() || self.confirmed == 0 {
            return false;
        }
        self.splice_confirmed(choose, out);
        true
    }

    /// Takes a piece of the source and gives what may leave. False: it is another page.
    pub(crate) fn push(&mut self, piece: Bytes, choose: &mut dyn Choose, out: &mut Output) -> bool {
        self.source.push(piece);
        while self.source.len() >= self.confirmed + CHUNK {
            let index = self.confirmed / CHUNK;
            let part = self.confirmed..self.confirmed + CHUNK;
            self.retain(part, |plan| plan.chunks.get(index).map(|chunk| chunk.hash));
            if !self.follow() {
                return false;
            }
            self.confirmed += CHUNK;
        }
        self.hold = self.hold.take().filter(|hold| self.plans.iter().any(|plan| hold.page(plan).is_some()));
        if self.hold.is_none() {
            self.splice_confirmed(choose, out);
        }
        true
    }

    /// The source is over.
    pub(crate) fn finish(&mut self, choose: &mut dyn Choose, out: &mut Output) -> End {
        let len = self.source.len();
        self.retain(self.confirmed..len, |plan| (plan.len == len).then_some(plan.tail));
        if !self.follow() {
            return End::Other;
        }
        if !self.plan.volatile.is_empty() {
            self.cache.counters().count_learned_hit();
        }
        if let Some((body, length)) = self.packed(choose) {
            return End::Packed(body, length);
        }
        self.splice(len, self.plan.edits.others.len(), choose, out);
        End::Spliced
    }

    /// The packed form, if the page was held for it. Afterwards all is as if the edits had been applied.
    fn packed(&mut self, choose: &mut dyn Choose) -> Option<(PackedBody, u64)> {
        let (page, mut marks) = self.hold.take()?.copy(&self.plan, choose)?;
        marks.volatile = page.volatile.bytes(&self.source);
        let (len, edits) = (self.source.len(), self.plan.edits.others.len());
        if (self.sampled || self.cache.draws()) && self.cache.begins_to_compare() {
            let mut plain = Output::default();
            self.splice(len, edits, choose, &mut plain);
            let (cache, plan) = (Arc::clone(&self.cache), Arc::clone(&self.plan));
            compare(cache, plan, Arc::clone(&page), marks.clone(), plain);
        }
        (self.left, self.applied) = (len, edits);
        let body = self.leave(&page, marks);
        let length = body.page();
        Some((body, length))
    }

    /// Its encoded bytes have shown that the source is that of this plan: the copy, and the length of the source. `None`: the
    /// source must come.
    pub(crate) fn recognized(
        &mut self,
        plan: &Arc<Plan>,
        reader: Option<u64>,
        choose: &mut dyn Choose,
    ) -> Option<(PackedBody, u64)> {
        // Nothing but the source tells the samples that are compared, and what is different each time.
        let known = plan.volatile.is_empty() && self.plans.iter().any(|other| Arc::ptr_eq(other, plan));
        self.sampled = known && self.cache.draws();
        let (page, marks) = self.hold.as_ref().filter(|_| known && !self.sampled)?.copy(plan, choose)?;
        self.plan = Arc::clone(plan);
        self.cache.counters().count_recognized();
        // It counts as seen; whatever it should be packed in, its source is not here.
        let _ = plan.shelf.see(reader, &page.channels);
        Some((self.leave(&page, marks), plan.len as u64))
    }

    /// The copy leaves in packed form; its outcome is as if the edits had been applied.
    fn leave(&mut self, page: &PackedPage, marks: Marks) -> PackedBody {
        self.off = self.plan.edits.have_gated().then(|| self.rules.judge(&self.plan.outcome.sheets));
        self.carriers = page.carriers;
        self.cache.counters().count_answer();
        page.packed.body(marks)
    }

    /// The whole page was seen, by this reader: it may be worth packing. Its source is not needed any more. The answer is whether it
    /// is packed, for copies like this one.
    pub(crate) fn offer(&mut self, key: u128, reader: Option<u64>, choose: &mut dyn Choose) -> bool {
        let Some(chosen) = Chosen::of(choose) else { return false };
        let channels = chosen.channels(self.rules.judge(&self.plan.outcome.sheets));
        let is_packed = self.plan.shelf.page().is_some_and(|page| page.channels == channels);
        let wish = self.plan.shelf.see(reader, &channels);
        if let Some(effort) = wish.filter(|_| self.cache.admits(key, &self.plan)) {
            let (plan, source) = (Arc::clone(&self.plan), self.source.take());
            self.cache.pack(Job { key, plan, source, channels, effort });
        }
        is_packed
    }

    /// The plan of the page, when it is over.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The page is over: nothing asks for its source any more, however long its reader takes.
    pub(crate) fn forget_source(&mut self) {
        drop(self.source.take());
    }

    /// Passes on what may leave of the chunks that agree.
    fn splice_confirmed(&mut self, choose: &mut dyn Choose, out: &mut Output) {
        let last = (self.confirmed / CHUNK).checked_sub(1).and_then(|index| self.plan.chunks.get(index));
        if let Some(chunk) = last.copied() {
            self.splice(chunk.left as usize, chunk.edits as usize, choose, out);
        }
    }

    /// Keeps the plans that have this hash of a part of the source.
    fn retain(&mut self, part: Range<usize>, of: impl Fn(&Plan) -> Option<u64>) {
        let (cache, source) = (&*self.cache, &self.source);
        // The same for all plans without volatile bytes there.
        let mut whole = None;
        self.plans.retain(|plan| {
            let hash = if plan.volatile.is_in(&part) {
                plan.volatile.hash(cache, source, part.clone())
            } else {
                Some(*whole.get_or_insert_with(|| cache.hash(source.slices(part.clone()))))
            };
            hash.is_some() && hash == of(plan)
        });
    }

    /// May it still be a page of which some bytes are different each time? Its hashes are none of its source alone.
    pub(crate) fn may_be_volatile(&self) -> bool {
        self.plans.iter().any(|plan| !plan.volatile.is_empty())
    }

    /// Goes on with a plan that agrees still.
    fn follow(&mut self) -> bool {
        let Some(next) = self.plans.first() else { return false };
        if !Arc::ptr_eq(next, &self.plan) {
            let agree = self.applied_of(next).is_some_and(|edits| Some(edits) == self.applied_of(&self.plan));
            if !agree {
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
        let others = plan.edits.others.get(self.applied..edits).unwrap_or_default();
        let (mut gaps, _) = ShortGap::split(plan.edits.gaps.get(self.filled..).unwrap_or_default(), left);
        self.filled += gaps.len();
        if self.off.is_none() && (!gaps.is_empty() || others.iter().any(|edit| edit.kind.is_gated())) {
            // The sheets stand before the first of these edits: whatever follows, the answer is that of a scan.
            let off = self.rules.judge(&plan.outcome.sheets);
            self.row = if off.white.is_none() { choose.gaps() } else { None };
            self.off = Some(off);
        }
        // Where the source stays it goes on with what follows, in one piece, with the gaps in it.
        let mut at = self.left;
        for edit in others {
            if !self.is_used(edit.kind, choose) {
                continue;
            }
            let start = edit.at as usize;
            let (before, behind) = ShortGap::split(gaps, start);
            self.pass(at..start, before, out);
            self.put(&plan, edit.kind, choose, out);
            (at, gaps) = (start + edit.len as usize, behind);
        }
        self.pass(at..left, gaps, out);
        (self.left, self.applied) = (left, edits);
    }

    /// Does the copy differ from the source at an edit of this kind?
    fn is_used(&self, kind: Kind, choose: &mut dyn Choose) -> bool {
        match kind {
            Kind::Gap(_) => self.row.is_some(),
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
                let byte = self.row.map(|row| row.byte(column));
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

    /// Passes on a range of the source with these gaps in it.
    fn pass(&mut self, range: Range<usize>, gaps: &[ShortGap], out: &mut Output) {
        let Some(row) = self.row.filter(|_| !gaps.is_empty()) else {
            return self.source.pass(range, out);
        };
        self.carriers.white += gaps.len() as u32;
        let mut gaps = gaps;
        for (piece, cut, at) in self.source.parts(range) {
            let (mut here, later) = ShortGap::split(gaps, at + cut.len());
            gaps = later;
            let (mut from, end) = (cut.start, cut.end);
            let place = |gap: &ShortGap| gap.at().saturating_sub(at) + cut.start;
            while let Some(first) = here.first() {
                let (near, far) = ShortGap::split(here, first.at() + STRETCH);
                let start = place(first).clamp(from, end);
                let behind = near.last().map_or(start, |last| place(last) + 1).clamp(start, end);
                out.share(piece.slice(from..start));
                let copy = out.copy(piece.get(start..behind).unwrap_or_default());
                ShortGap::fill(near, copy, first.at(), &row);
                (from, here) = (behind, far);
            }
            out.share(piece.slice(from..end));
        }
    }

    /// Where the chunk begins whose rest is waited for. `None`: there is nothing that has not left yet.
    pub(crate) fn waits_at(&self) -> Option<usize> {
        let at = if self.holds() { WHOLE } else { self.confirmed };
        (self.left < self.source.len()).then_some(at)
    }

    /// As many edits of a plan as were applied.
    fn applied_of(&self, plan: &Plan) -> Option<Edits> {
        plan.edits.first(self.applied, self.filled, self.left)
    }

    /// What the scan said of the page, with what this copy carries.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { carriers: self.carriers, off: self.off.unwrap_or_default(), ..self.plan.outcome.clone() }
    }

    pub(crate) fn into_difference(self) -> Difference {
        let edits = self.applied_of(&self.plan).unwrap_or_default();
        Difference { source: self.source, left: self.left, edits }
    }
}
