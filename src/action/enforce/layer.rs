use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use tower_layer::Layer;

use super::service::Enforce;
use crate::action::answer::{Answers, Refusal};
use crate::action::license::License;
use crate::action::limit::{Limits, TRICKLE};
use crate::action::policy::{self, Circumstances};
use crate::action::{Action, ActionError, Clamp, Decision, LimitReport, Mode, Rule, Settings};
use crate::rights::LicenseSettings;
use crate::suspicion::{Assessment, State};
use crate::visitor::{RouteClass, Standing, Verification, Visitor};

/// Within this time of the start nothing is stronger than `limit`, but for impostors and `visitor.deny`.
const WARM_UP: Duration = Duration::from_secs(60);
/// Shortest and longest wait of action `slow`, at scores 40 and 54.
const SLOW_MS: (u64, u64) = (250, 1_500);

/// Layer that decides about every request that has a [`Visitor`] and an [`Assessment`], and acts.
///
/// ```
/// use std::sync::Arc;
/// use deckle::action::{self, EnforceLayer, Mode};
/// use deckle::clock::SystemClock;
/// use deckle::suspicion::{AssessLayer, State};
/// use deckle::visitor::{self, IdentifyLayer};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let settings = action::Settings::default();
/// let state = Arc::new(State::new(SystemClock::shared()));
/// let licence = deckle::rights::LicenseSettings::default();
/// let enforce = EnforceLayer::new(state.clone(), &settings, &licence, Mode::Enforce).unwrap();
/// let assess = AssessLayer::new(state, settings.limits.soft());
/// let identify = IdentifyLayer::new(&visitor::Settings::default()).unwrap();
/// let site = tower::service_fn(|_: Request<()>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::new(bytes::Bytes::from("an article"))))
/// });
/// let service = identify.layer(assess.layer(enforce.layer(site)));
/// let get = |ua: &str| Request::builder().uri("/a").header("user-agent", ua).body(()).unwrap();
/// assert_eq!(service.clone().oneshot(get("Mozilla/5.0 Firefox/140.0")).await.unwrap().status(), 200);
/// // A scanner is blocked; in the first minute after a start, limited.
/// # let scanner = service.oneshot(get("Mozilla/5.0 (Nikto/2.1.6)")).await.unwrap();
/// # assert!(scanner.extensions().get::<action::Decision>().unwrap().action >= action::Action::Limit);
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct EnforceLayer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Arc<State>,
    settings: Settings,
    limits: Limits,
    answers: Answers,
    license: Option<License>,
    mode: Mode,
    pub(super) sleepers: AtomicUsize,
}

impl EnforceLayer {
    /// A layer over the tables that [`AssessLayer`](crate::suspicion::AssessLayer) fills. Action `license` points to
    /// `licence`; without a `url` there it is `limit`.
    ///
    /// # Errors
    /// [`ActionError`] for settings that do not hold.
    pub fn new(
        state: Arc<State>,
        settings: &Settings,
        licence: &LicenseSettings,
        mode: Mode,
    ) -> Result<Self, ActionError> {
        settings.limits.check()?;
        settings.license.check()?;
        policy::check(settings)?;
        let mut settings = settings.clone();
        for (category, choice) in policy::defaults() {
            settings.policy.entry(category).or_insert(choice);
        }
        let limits = Limits::new(&state, &settings.limits);
        let answers = Answers::new(settings.contact.clone())?;
        let license = License::new(&settings.license, licence);
        let sleepers = AtomicUsize::new(0);
        Ok(Self { shared: Arc::new(Shared { state, settings, limits, answers, license, mode, sleepers }) })
    }
}

impl fmt::Debug for EnforceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnforceLayer").field("mode", &self.shared.mode).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for EnforceLayer {
    type Service = Enforce<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Enforce::new(inner, Arc::clone(&self.shared))
    }
}

/// What the future has to do.
pub(super) enum Plan {
    Forward,
    Wait(Duration),
    Answer(Box<Response<Full<Bytes>>>),
}

impl Shared {
    pub(super) fn decide(&self, visitor: &Visitor, assessment: &Assessment, headers: &HeaderMap) -> (Decision, Plan) {
        let mode = if visitor.enforceable { self.mode } else { Mode::Observe };
        let licensed = self.license.is_some();
        let mut draft = policy::decide(&self.settings, licensed, visitor, assessment);
        if draft.action == Action::License && self.license.as_ref().is_some_and(|l| l.is_free(&visitor.path)) {
            policy::cap(&mut draft, Action::Allow, Clamp::Route);
        }
        let limit = self.ask_limits(&mut draft, visitor, assessment);
        let would = draft.action;
        // Whoever is found out as an impostor needs no history.
        let warm_up = self.state.uptime() < WARM_UP && visitor.verification != Verification::Failed;
        policy::clamp(&mut draft, &self.settings, Circumstances { mode, warm_up });
        // What a clamp has weakened to `limit` is a trickle like any other.
        let limit = match (draft.action, assessment.client) {
            (Action::Limit, Some(client)) => limit.or_else(|| Some(self.limits.trickle(client))),
            _ => limit,
        };
        let refused = draft.action >= Action::License
            || (draft.action == Action::Limit && limit.is_some_and(|l| l.retry_after.is_some()));
        let mut decision = Decision {
            action: draft.action,
            would: (would != draft.action).then_some(would),
            rule: draft.rule,
            clamps: draft.clamps,
            limit,
            delay: None,
        };
        if refused {
            let plan = self.refuse(&decision, visitor, assessment, headers);
            return (decision, plan);
        }
        if decision.action == Action::Slow {
            match self.sleep(assessment.score) {
                Some(delay) => {
                    decision.delay = Some(delay);
                    return (decision, Plan::Wait(delay));
                }
                None => decision.action = Action::Tag,
            }
        }
        (decision, Plan::Forward)
    }

    /// The hard quotas first; then the trickle of `limit`.
    fn ask_limits(&self, draft: &mut policy::Draft, visitor: &Visitor, assessment: &Assessment) -> Option<LimitReport> {
        let client = assessment.client?;
        let free = matches!(visitor.route, RouteClass::Wellknown | RouteClass::Own);
        if free || visitor.standing != Standing::Ordinary {
            return None;
        }
        let verified = visitor.verification == Verification::Verified;
        let agent = visitor.agent.name.as_deref().filter(|_| verified && assessment.counts_as_page);
        // A crawler of many addresses is one, and known: it is not measured by those.
        let page = assessment.counts_as_page && !verified;
        let refused = self.limits.hard(client, assessment.address?, page);
        if let Some(report) = refused.or_else(|| self.limits.agent(self.state.agent_key(agent?))) {
            if draft.action <= Action::Limit {
                draft.action = Action::Limit;
                draft.rule = Rule::Limit(report.name);
                draft.clamps.clear();
            }
            return Some(report);
        }
        (draft.action == Action::Limit).then(|| self.limits.trickle(client))
    }

    fn refuse(&self, decision: &Decision, visitor: &Visitor, assessment: &Assessment, headers: &HeaderMap) -> Plan {
        if let (Action::License, Some(license)) = (decision.action, &self.license) {
            let verified = visitor.verification == Verification::Verified;
            return Plan::Answer(Box::new(self.answers.license(license, visitor.request_id, verified, headers)));
        }
        let limit = decision.limit.filter(|_| decision.action == Action::Limit);
        let retry_after = limit.and_then(|l| l.retry_after);
        if let (Some(seconds), Some(client)) = (retry_after, assessment.client) {
            self.state.note_refusal(client, Duration::from_secs(seconds));
        }
        let status = if retry_after.is_some() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
        // Who reads the rules is told the trickle, and who is proven all; to anybody else it would only say how fast is just
        // slow enough.
        let verified = visitor.verification == Verification::Verified;
        let cooperates = visitor.agent.category.is_declared_bot() && assessment.read_robots;
        let quota = limit.filter(|limit| cooperates && (verified || limit.name == TRICKLE));
        let refusal = Refusal { status, retry_after, quota, request_id: visitor.request_id };
        Plan::Answer(Box::new(self.answers.refuse(refusal, headers)))
    }

    /// The wait rises with the score, ±20 %, so that it cannot be told from a slow site. None when too many wait.
    fn sleep(&self, score: u8) -> Option<Duration> {
        let most = self.settings.slow.max_concurrent;
        self.sleepers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).ok()?;
        let step = (SLOW_MS.1 - SLOW_MS.0) / 14;
        let middle = SLOW_MS.0 + u64::from(score.saturating_sub(40)) * step;
        Some(Duration::from_millis(middle * fastrand::u64(80..=120) / 100))
    }
}
