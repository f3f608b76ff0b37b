//! Decoys: who is led away, and what they get there.

use http::Method;

use super::layer::Shared;
use super::plan::{Head, Plan};
use crate::action::decoy::{self, Decoy};
use crate::action::{Action, Decision, Mode, Rule};
use crate::suspicion::Assessment;
use crate::visitor::Visitor;

impl Shared {
    /// One of the decoy's own addresses: a page for whoever is led there, and nothing for anybody else.
    pub(super) fn decoy_page(
        &self,
        visitor: &Visitor,
        of: &Assessment,
        head: Head<'_>,
        mode: Mode,
    ) -> Option<(Decision, Plan)> {
        let decoy = self.decoy.as_ref().filter(|decoy| decoy.is_own(head.uri.path()))?;
        let valve = self.state.valve.is_open(self.state.now());
        let asked = mode == Mode::Enforce && *head.method == Method::GET && !valve;
        let meant = asked && decoy::is_meant(&self.settings, visitor, of);
        let (action, answer) = if meant && self.limits.may_deceive() {
            (Action::Decoy, decoy.page(head.uri.path()))
        } else {
            (Action::Allow, Decoy::nothing())
        };
        Some((Decision::plain(action, Rule::Score), Plan::Answer(Box::new(answer))))
    }

    /// A page of the site is asked for. Above the budget, or without a key to make filler with, it is refused.
    pub(super) fn lead_away(
        &self,
        mut decision: Decision,
        visitor: &Visitor,
        of: &Assessment,
        head: Head<'_>,
    ) -> (Decision, Plan) {
        if let Some(decoy) = self.decoy.as_ref().filter(|_| self.limits.may_deceive()) {
            let plan = self.answer(|| decoy.lead(&visitor.path));
            return (decision, plan);
        }
        decision.action = Action::Block;
        let plan = self.refuse(&decision, visitor, of, head.headers);
        (decision, plan)
    }
}
