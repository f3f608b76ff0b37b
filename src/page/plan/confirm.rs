//! A page that is known: its source is compared, not parsed, and leaves with the edits of its plan.

use std::sync::Arc;

use super::cache::PlanCache;
use super::edits::{CHUNK, Kind, Plan, PlanEdit};
use crate::page::rewrite::Outcome;
use crate::slot::Choose;

/// A page on its way while it agrees with a plan.
pub(crate) struct Confirm {
    cache: Arc<PlanCache>,
    /// Those that agree so far.
    plans: Vec<Arc<Plan>>,
    /// The one whose edits were applied.
    plan: Arc<Plan>,
    /// The whole source so far: the scanner reads it if it turns out to be another page.
    source: Vec<u8>,
    /// Bytes of it that agree; full chunks.
    confirmed: usize,
    /// Bytes of it that have left.
    left: usize,
    /// Edits that were applied.
    applied: usize,
    gaps: u32,
    seals: u32,
}

/// It is another page.
pub(crate) struct Difference {
    /// What has come.
    pub(crate) source: Vec<u8>,
    /// Bytes of it that have left.
    pub(crate) left: usize,
    edits: Vec<PlanEdit>,
}

impl Difference {
    /// Are these the edits that were applied? The scan may hold some of them back for a while.
    pub(crate) fn is_confirmed_by(&self, edits: &[PlanEdit]) -> bool {
        self.edits.iter().zip(edits).all(|(applied, found)| applied == found)
    }
}

impl Confirm {
    /// `None`: there is no plan.
    pub(crate) fn new(cache: Arc<PlanCache>, plans: Vec<Arc<Plan>>) -> Option<Self> {
        let plan = Arc::clone(plans.first()?);
        let source = Vec::with_capacity(plan.len);
        Some(Self { cache, plans, plan, source, confirmed: 0, left: 0, applied: 0, gaps: 0, seals: 0 })
    }

    /// Takes a piece of the source and gives what may leave. False: it is another page.
    pub(crate) fn push(&mut self, piece: &[u8], choose: &mut dyn Choose, out: &mut Vec<u8>) -> bool {
        self.source.extend_from_slice(piece);
        while let Some(chunk) = self.source.get(self.confirmed..self.confirmed + CHUNK) {
            let (hash, index) = (self.cache.hash(chunk), self.confirmed / CHUNK);
            self.plans.retain(|plan| plan.chunks.get(index).is_some_and(|chunk| chunk.hash == hash));
            if !self.follow() {
                return false;
            }
            self.confirmed += CHUNK;
            if let Some(chunk) = self.plan.chunks.get(index).copied() {
                self.splice(chunk.left as usize, chunk.edits as usize, choose, out);
            }
        }
        true
    }

    /// The source is over. False: it is another page.
    pub(crate) fn finish(&mut self, choose: &mut dyn Choose, out: &mut Vec<u8>) -> bool {
        let rest = self.source.get(self.confirmed..).unwrap_or_default();
        let (hash, len) = (self.cache.hash(rest), self.source.len());
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

    /// Copies the source up to `left`, with the edits that lie before it.
    fn splice(&mut self, left: usize, edits: usize, choose: &mut dyn Choose, out: &mut Vec<u8>) {
        if left <= self.left {
            return;
        }
        out.reserve(left - self.left + 2_048);
        let mut at = self.left;
        for edit in self.plan.edits.get(self.applied..edits).unwrap_or_default() {
            let (start, end) = (edit.at as usize, edit.at as usize + edit.len as usize);
            out.extend_from_slice(self.source.get(at..start).unwrap_or_default());
            let source = self.source.get(start..end).unwrap_or_default();
            match edit.kind {
                Kind::Fixed(index) => {
                    out.extend_from_slice(self.plan.fixed.get(usize::from(index)).map_or(&[], |bytes| bytes));
                }
                Kind::Gap(column) => {
                    out.push(choose.gap(column));
                    self.gaps += 1;
                }
                // The white space goes only where the seal comes.
                Kind::Trim if choose.seal().is_none() => out.extend_from_slice(source),
                Kind::Trim => {}
                Kind::Seal => {
                    if let Some(seal) = choose.seal() {
                        out.extend_from_slice(&seal);
                        self.seals += 1;
                    }
                }
            }
            at = end;
        }
        out.extend_from_slice(self.source.get(at..left).unwrap_or_default());
        (self.left, self.applied) = (left, edits);
    }

    /// Is there anything that has not left yet?
    pub(crate) fn holds(&self) -> bool {
        self.left < self.source.len()
    }

    /// What the scan said of the page, with what this copy carries.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { gaps: self.gaps, seals: self.seals, ..self.plan.outcome.clone() }
    }

    pub(crate) fn into_difference(self) -> Difference {
        let edits = self.plan.edits.get(..self.applied).unwrap_or_default().to_vec();
        Difference { source: self.source, left: self.left, edits }
    }
}
