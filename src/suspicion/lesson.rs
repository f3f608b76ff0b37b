//! What answers teach about who asked.

use super::Signal;
use super::judge::Judge;
use super::signals::Group;
use super::state::{Keys, distinct, flag};
use super::width::Width;

impl Judge {
    /// An asset went out to this visitor.
    pub(crate) fn note_asset(&self, keys: &Keys, cold: bool, beacon: bool) {
        let first = self.state.with_record(keys.own, |record, _| {
            let first = record.assets == 0 && record.beacons == 0;
            record.assets = record.assets.saturating_add(1);
            record.beacons = record.beacons.saturating_add(u8::from(beacon));
            record.cold = record.cold.saturating_add(u8::from(cold));
            first.then_some(record.pages)
        });
        if let Some(pages) = first.flatten() {
            self.state.credit_pages(keys, pages);
        }
    }

    /// A page with our style sheet in it left.
    pub(crate) fn note_offer(&self, keys: &Keys) {
        self.state.with_record(keys.own, |record, _| record.offered = record.offered.saturating_add(1));
    }

    /// A page that nobody took for one. A refusal counts now, though it comes too late for the answer.
    pub(crate) fn note_late_page(&self, keys: &Keys, path: u64) {
        self.state.with_record(keys.own, |record, _| {
            record.pages = record.pages.saturating_add(1);
            record.flags |= if record.flags & flag::LATE == 0 { flag::LATE } else { flag::LATE_AGAIN };
            distinct::mark(&mut record.distinct, path);
        });
        let quotas = [(&self.page_soft, Signal::PageSoft), (&self.page_hour, Signal::PageHour)];
        let refused = quotas.into_iter().filter(|(quota, _)| quota.of(Width::One).check_key(&keys.address).is_err());
        let points: f32 = refused.map(|(_, signal)| f32::from(self.weights.of(signal))).sum();
        if points > 0.0 {
            let most = self.weights.cap(Group::Rate);
            self.state.with_record(keys.address, |record, _| record.rate = (record.rate + points).min(most));
        }
    }

    /// Any other answer to a page.
    pub(crate) fn note_answer(&self, keys: &Keys, answer: Answer) {
        let (mut credit, mut trap) = (0.0, 0.0);
        self.state.with_record(keys.own, |record, _| {
            record.not_found = record.not_found.saturating_add(u16::from(answer.not_found));
            record.revisits = record.revisits.saturating_add(u8::from(answer.unconditional_revisit));
            if answer.not_modified && record.conditional < 5 {
                record.conditional += 1;
                credit = f32::from(self.weights.of(Signal::ConditionalOk));
                record.credit = (record.credit + credit).min(self.weights.cap(Group::Credit));
            }
            if answer.probe && record.traps & 4 == 0 {
                record.traps |= 4;
                trap = f32::from(self.weights.of(Signal::ExploitProbe));
                record.trap = (record.trap + trap).min(self.weights.cap(Group::Trap));
            }
        });
        self.tell_lesson(keys, &[(Group::Credit, credit), (Group::Trap, trap)]);
    }
}

/// What an answer says about who asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) not_found: bool,
    pub(crate) not_modified: bool,
    /// A page with an entity tag that was had before, and asked for as if not.
    pub(crate) unconditional_revisit: bool,
    /// Nothing was there of what only those look for who look for holes.
    pub(crate) probe: bool,
}
