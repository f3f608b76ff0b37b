//! Packed forms for which a copy is held until its whole source is confirmed.

use std::sync::Arc;

use super::edits::Plan;
use super::shelf::PackedPage;
use super::template::Chosen;
use crate::page::marks::MarkRules;
use crate::page::packed::Marks;
use crate::slot::Choose;

/// Until the whole source agrees nothing leaves: then it is all there, in packed form.
pub(super) struct Hold {
    pub(super) chosen: Chosen,
    /// Packed forms that fit this copy.
    pages: Vec<(Arc<Plan>, Arc<PackedPage>)>,
}

impl Hold {
    /// `None`: none of these plans has a packed form that fits.
    pub(super) fn of(plans: &[Arc<Plan>], rules: &MarkRules, choose: &mut dyn Choose) -> Option<Self> {
        if choose.has_fills() || plans.iter().all(|plan| plan.shelf.page().is_none()) {
            return None;
        }
        let chosen = Chosen::of(choose)?;
        let fitting = |plan: &Arc<Plan>| {
            let channels = chosen.channels(rules.judge(&plan.outcome.sheets));
            let page = plan.shelf.page().filter(|page| page.channels == channels);
            page.map(|page| (Arc::clone(plan), page))
        };
        let pages: Vec<_> = plans.iter().filter_map(fitting).collect();
        (!pages.is_empty()).then_some(Self { chosen, pages })
    }

    pub(super) fn page(&self, plan: &Arc<Plan>) -> Option<&Arc<PackedPage>> {
        self.pages.iter().find(|(of, _)| Arc::ptr_eq(of, plan)).map(|(_, page)| page)
    }

    /// What a copy is made of.
    pub(super) fn copy(&self, plan: &Arc<Plan>, choose: &mut dyn Choose) -> Option<(Arc<PackedPage>, Marks)> {
        let page = Arc::clone(self.page(plan)?);
        // It may have turned out to be wrong meanwhile.
        plan.shelf.page()?;
        let marks = self.chosen.marks(&page.choosers, choose)?;
        Some((page, marks))
    }
}
