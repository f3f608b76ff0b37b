//! Challenges: who gets one, and who comes back from one.

use http::StatusCode;

use super::layer::Shared;
use super::plan::{Head, Plan};
use crate::action::challenge::{Challenger, TRIES};
use crate::action::limit::Client;
use crate::action::{Action, ChallengeStep, Clamp, Decision, Mode, Rule};
use crate::suspicion::Assessment;
use crate::visitor::{Category, Visitor};

/// Points of traps from which challenges that are not passed lead nowhere else.
const TRAPPED: f32 = 60.0;

impl Shared {
    /// deckle's own addresses of a challenge.
    pub(super) fn entry(
        &self,
        challenger: &Challenger,
        visitor: &Visitor,
        assessment: &Assessment,
        head: Head<'_>,
        mode: Mode,
    ) -> (Decision, Plan) {
        if mode == Mode::Observe {
            // Somebody who was challenged before the mode was changed.
            let decision = Decision::of_challenge(Action::Allow, ChallengeStep::Spared);
            return (decision, Plan::Answer(Box::new(Challenger::wave_through(head.uri))));
        }
        let (client, address) = (assessment.client, assessment.address);
        let refused = client.zip(address).and_then(|(key, address)| {
            let width = assessment.width;
            self.limits.hard(Client { key, address, width, address_width: width, shared: false }, false)
        });
        if let Some(limit) = refused {
            let decision = Decision {
                rule: Rule::Limit(limit.name),
                limit: Some(limit),
                ..Decision::of_challenge(Action::Limit, ChallengeStep::Refused)
            };
            let plan = self.refuse(&decision, visitor, assessment, head.headers);
            return (decision, plan);
        }
        let may_issue = || address.is_some_and(|address| self.limits.may_challenge(address));
        let (response, step) =
            challenger.enter(&self.state, assessment, visitor, (head.uri, head.language()), may_issue);
        let shown = matches!(step, ChallengeStep::Early | ChallengeStep::Refused);
        let action =
            if shown && response.status() != StatusCode::SEE_OTHER { Action::Challenge } else { Action::Allow };
        (Decision::of_challenge(action, step), Plan::Answer(Box::new(response)))
    }

    /// Is it a challenge that answers in place of the limit?
    pub(super) fn may_get_out(&self, decision: &Decision, visitor: &Visitor, of: &Assessment) -> bool {
        decision.rule == Rule::Score
            && !decision.clamps.contains(&Clamp::WarmUp)
            && self.mode == Mode::Enforce
            && self.settings.max_action >= Action::Challenge
            && self.is_taken_for_another(visitor, of)
    }

    /// Is this a browser that has fetched what browsers fetch, and has no pass to show for itself?
    pub(super) fn is_taken_for_another(&self, visitor: &Visitor, of: &Assessment) -> bool {
        let browses = of.browses || of.points.credit >= 1.0;
        let claims = visitor.agent.category == Category::Browser && visitor.navigation;
        self.challenger.is_some() && claims && browses && !of.vouched && !of.spared
    }

    /// A refusal that a browser gets past. It is not counted: a neighbour who looks the same may have used up what there is.
    pub(super) fn way_out(&self, mut decision: Decision, visitor: &Visitor, head: Head<'_>) -> (Decision, Plan) {
        let Some(challenger) = &self.challenger else { return (decision, Plan::Forward) };
        decision.action = Action::Challenge;
        decision.challenge = Some(ChallengeStep::Issued);
        let plan = self.answer(|| challenger.issue(visitor, head.target(), head.language(), 0));
        (decision, plan)
    }

    /// Issues a challenge, or serves the page slowly to whom challenges lead nowhere.
    pub(super) fn challenge(
        &self,
        mut decision: Decision,
        visitor: &Visitor,
        assessment: &Assessment,
        head: Head<'_>,
    ) -> (Decision, Plan) {
        let (Some(challenger), Some(client), Some(keys)) = (&self.challenger, assessment.client, &assessment.keys)
        else {
            decision.action = Action::Tag;
            return (decision, Plan::Forward);
        };
        // Not asked of the quota for whom it leads nowhere: others at the address need it.
        let may = || assessment.address.is_some_and(|address| self.limits.may_challenge(address));
        if !assessment.spared && assessment.issued < TRIES && may() {
            self.state.note_challenge(keys.own);
            decision.action = Action::Challenge;
            decision.challenge = Some(ChallengeStep::Issued);
            let plan = self.answer(|| challenger.issue(visitor, head.target(), head.language(), assessment.issued));
            return (decision, plan);
        }
        if self.is_taken_for_another(visitor, assessment) {
            return self.way_out(decision, visitor, head);
        }
        // Who never came back is no reader whose browser fails; who walked into a trap is not let through for failing.
        if !assessment.spared || assessment.points.trap >= TRAPPED {
            decision.action = Action::Limit;
            let limit = self.limits.trickle(client);
            decision.limit = Some(limit);
            if limit.retry_after.is_none() {
                return (decision, Plan::Forward);
            }
            let plan = self.refuse(&decision, visitor, assessment, head.headers);
            return (decision, plan);
        }
        decision.would = Some(Action::Challenge);
        decision.clamps.push(Clamp::Breaker);
        decision.challenge = Some(ChallengeStep::Spared);
        match self.limits.breaker(client) {
            Some(limit) => {
                decision.action = Action::Limit;
                decision.limit = Some(limit);
                let plan = self.refuse(&decision, visitor, assessment, head.headers);
                (decision, plan)
            }
            None => {
                decision.action = Action::Tag;
                (decision, Plan::Forward)
            }
        }
    }
}
