//! What is told to the other processes, and what waits for their word.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use uuid::Uuid;

use super::layer::Shared;
use crate::action::answer::{Form, Refusal};
use crate::action::limit::{Client, TRICKLE};
use crate::action::{Action, Decision, LimitReport, Mode, Rule};
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Assessment, Subject, Verdict};
use crate::visitor::{RouteClass, Standing, Verification, Visitor};

/// A request that waits for the word of the store.
pub(super) struct Ask {
    pub(super) verdict: Verdict,
    /// What it waits for afterwards.
    pub(super) delay: Option<Duration>,
    pub(super) late: Late,
}

/// What a refusal needs when the request is gone.
pub(super) struct Late {
    pub(super) client: CellKey,
    pub(super) request_id: Uuid,
    pub(super) form: Form,
}

impl Shared {
    /// Tells the other processes what was given out here. With `shared.wait` their word about the hard quota of pages
    /// is waited for.
    pub(super) fn share(
        &self,
        visitor: &Visitor,
        of: &Assessment,
        limit: Option<LimitReport>,
        mode: Mode,
    ) -> Option<Verdict> {
        let (store, names) = (self.state.shared()?, of.keys?.shared?);
        let free = matches!(visitor.route, RouteClass::Wellknown | RouteClass::Own);
        let refused = limit.is_some_and(|limit| limit.retry_after.is_some());
        let trickle = limit.is_some_and(|limit| limit.name == TRICKLE);
        if free || visitor.standing != Standing::Ordinary || (refused && !trickle) {
            return None;
        }
        let client = Client {
            key: of.client?,
            address: of.address?,
            width: of.width,
            address_width: of.address_width,
            shared: of.shared,
        };
        if trickle && !refused {
            store.debit(names.client, self.limits.trickle_debit(client.key));
        }
        if !of.counts_as_page {
            return None;
        }
        if visitor.verification == Verification::Verified {
            let name = visitor.agent.name.as_deref()?;
            store.debit(store.name(Subject::Agent(name)), self.limits.agent_debit(self.state.agent_key(name)));
            return None;
        }
        let debit = self.limits.page_debit(client);
        // Newcomers among people have a quota of their own, which is this process' alone.
        if store.waits() && mode == Mode::Enforce && !client.shared && !trickle {
            return store.ask(names.client, debit);
        }
        store.debit(names.client, debit);
        None
    }

    /// Another process has used up what this one would have given.
    pub(super) fn refuse_late(
        &self,
        late: &Late,
        wait: Duration,
        decision: &mut Decision,
    ) -> Box<Response<Full<Bytes>>> {
        let seconds = (wait.as_millis().div_ceil(1_000) as u64).max(1);
        let report = self.limits.page_report(seconds);
        (decision.action, decision.rule) = (Action::Limit, Rule::Limit(report.name));
        (decision.limit, decision.delay) = (Some(report), None);
        self.state.note_refusal(late.client, Duration::from_secs(seconds));
        let refusal = Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(seconds),
            quota: None,
            request_id: late.request_id,
        };
        Box::new(self.answers.refuse_in(late.form, refusal))
    }
}
