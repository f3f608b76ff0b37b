//! Decisions without answers: what would have been done with the requests of a log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, Method, Uri};

use super::layer::EnforceLayer;
use super::plan::{Head, Plan};
use crate::action::limit::TRICKLE;
use crate::action::policy::{Draft, Rule};
use crate::action::{Action, ActionError, Clamps, Decision, LimitReport, Mode, Settings};
use crate::rights::LicenseSettings;
use crate::secret::Secret;
use crate::suspicion::{Assessment, State};
use crate::visitor::{RouteSettings, Visitor};

/// Decides as [`EnforceLayer`] does, and answers nobody.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    layer: EnforceLayer,
    headers: HeaderMap,
    uri: Uri,
}

impl Rehearsal {
    /// In mode `enforce`, with challenges, over the tables of a log that is replayed.
    ///
    /// # Errors
    /// [`ActionError`] for settings that do not hold.
    pub(crate) fn new(
        state: Arc<State>,
        settings: &Settings,
        licence: &LicenseSettings,
        routes: &RouteSettings,
    ) -> Result<Self, ActionError> {
        // Pages of the site's own change nothing about who gets one.
        let settings = Settings { contact: None, templates: None, ..settings.clone() };
        let layer = EnforceLayer::new(state, &settings, licence, Mode::Enforce)?;
        // Nobody is handed what this key signs.
        let mut layer = match Secret::new(0, &std::array::from_fn::<u8, 32, _>(|at| at as u8)) {
            Ok(secret) => layer.challenging(&secret.into(), &routes.mount)?,
            Err(_) => layer,
        };
        if let Some(shared) = Arc::get_mut(&mut layer.shared) {
            shared.silent = true;
        }
        Ok(Self { layer, headers: HeaderMap::new(), uri: Uri::from_static("/") })
    }

    /// What is done with a request. Refusals and challenges are remembered as if they had been answered.
    pub(crate) fn decide(&self, visitor: &Visitor, assessment: &Assessment, method: &Method) -> Decision {
        let shared = &self.layer.shared;
        let head = Head { method, uri: &self.uri, headers: &self.headers };
        let (decision, plan, _) = shared.decide(visitor, assessment, head);
        // Nobody waits, so nobody takes a place of those who do.
        if matches!(plan, Plan::Wait(_)) {
            shared.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
        decision
    }

    /// So many bytes of a feed or of data went out.
    pub(crate) fn charge(&self, visitor: &Visitor, assessment: &Assessment, bytes: u64) {
        if let Some(charge) = self.layer.shared.charge(visitor, assessment) {
            charge(bytes);
        }
    }

    /// What the hard quotas say, whatever else is decided.
    pub(crate) fn refuses(&self, visitor: &Visitor, assessment: &Assessment) -> Option<LimitReport> {
        let mut draft = Draft { action: Action::Allow, rule: Rule::Score, clamps: Clamps::new() };
        self.layer.shared.ask_limits(&mut draft, visitor, assessment)
    }

    /// What the trickle of action `limit` says.
    pub(crate) fn trickle(&self, assessment: &Assessment) -> Option<LimitReport> {
        Some(self.layer.shared.limits.trickle(assessment.client?))
    }
}

/// Is it a quota that refuses whatever the score?
pub(crate) fn is_hard(name: &str) -> bool {
    name != TRICKLE && name != "breaker"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::visitor::{self, ClientAddress};

    fn visitor(agent: &str) -> Visitor {
        let (head, ()) =
            http::Request::builder().uri("/news/a-b-c").header("user-agent", agent).body(()).unwrap().into_parts();
        let blank = Visitor::from_head(&head, &visitor::Settings::default(), Duration::ZERO).unwrap();
        Visitor { address: ClientAddress { ip: Some([203, 0, 113, 9].into()), ..ClientAddress::UNKNOWN }, ..blank }
    }

    #[test]
    fn it_decides_as_the_layer_and_remembers_what_it_would_have_answered() {
        let clock = ManualClock::at(1_790_000_000);
        let state = Arc::new(State::new(clock.clone()).keyed([1; 16]));
        clock.advance(Duration::from_secs(3_600));
        let routes = RouteSettings::default();
        let settings = Settings::default();
        let rehearsal = Rehearsal::new(Arc::clone(&state), &settings, &LicenseSettings::default(), &routes).unwrap();
        let nikto = visitor("Mozilla/5.0 (Nikto/2.1.6)");
        let keys = state.keys(&nikto).unwrap();
        let known = Assessment {
            client: Some(keys.own),
            address: Some(keys.address),
            keys: Some(keys),
            counts_as_page: true,
            first_request: false,
            ..Assessment::unknown()
        };
        assert_eq!(rehearsal.decide(&nikto, &known, &Method::GET).action, Action::Block);
        // Three challenges, then a trickle of two pages, then nothing.
        let headless = visitor("Mozilla/5.0 HeadlessChrome/120.0 Safari/537.36");
        let keys = state.keys(&headless).unwrap();
        let bad = |issued: u8| Assessment {
            score: 75,
            bucket: 4,
            keys: Some(keys),
            client: Some(keys.own),
            issued,
            ..known.clone()
        };
        let done: Vec<(Action, bool)> = (0..6)
            .map(|asked| {
                let decision = rehearsal.decide(&headless, &bad(asked), &Method::GET);
                (decision.action, decision.limit.is_some_and(|limit| limit.retry_after.is_some()))
            })
            .collect();
        let (challenge, limit) = ((Action::Challenge, false), |refused| (Action::Limit, refused));
        assert_eq!(done, [challenge, challenge, challenge, limit(false), limit(false), limit(true)]);
        assert!(rehearsal.refuses(&headless, &bad(0)).is_none());
        // A slow visitor takes no place for good.
        let slow = Assessment { score: 45, bucket: 2, ..bad(0) };
        for _ in 0..2 * settings.slow.max_concurrent {
            clock.advance(Duration::from_secs(10));
            assert_eq!(rehearsal.decide(&headless, &slow, &Method::GET).action, Action::Slow);
        }
    }
}
