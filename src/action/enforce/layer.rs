use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use tower_layer::Layer;

use super::future::Instead;
use super::service::Enforce;
use crate::action::answer::{Answers, Refusal};
use crate::action::body::Charge;
use crate::action::challenge::{Challenger, Return, TRIES};
use crate::action::license::License;
use crate::action::limit::{Client, Limits, TRICKLE};
use crate::action::policy::{self, Circumstances};
use crate::action::{Action, ActionError, ChallengeStep, Clamp, Decision, LimitReport, Mode, Rule, Settings};
use crate::rights::LicenseSettings;
use crate::secret::Secrets;
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Assessment, PathKind, State};
use crate::visitor::{Category, RouteClass, Standing, Verification, Visitor};

/// Within this time of the start nothing is stronger than `limit`, but for impostors and `visitor.deny`.
const WARM_UP: Duration = Duration::from_secs(60);
/// Points of traps from which challenges that are not passed lead nowhere else.
const TRAPPED: f32 = 60.0;
/// Seconds after which a link preview may try again whose page makes no card.
const NO_CARD: u64 = 600;
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
/// let suspicion = deckle::suspicion::Settings::default();
/// let assess = AssessLayer::new(state, &suspicion, settings.limits.soft()).unwrap();
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
    challenger: Option<Challenger>,
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
        settings.challenge.check()?;
        policy::check(settings)?;
        let settings = settings.clone();
        let limits = Limits::new(&state, &settings.limits);
        let answers = Answers::new(settings.contact.clone())?;
        let license = License::new(&settings.license, licence);
        let sleepers = AtomicUsize::new(0);
        let shared = Shared { state, settings, limits, answers, license, challenger: None, mode, sleepers };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Issues challenges by the keys of a secret, under the path where deckle answers itself. Give the same secret to
    /// [`IdentifyLayer`](crate::visitor::IdentifyLayer); without one, action `challenge` is `limit`.
    ///
    /// # Errors
    /// [`ActionError::Template`]: the page does not compile.
    pub fn challenging(self, secrets: &Secrets, mount: &str) -> Result<Self, ActionError> {
        let Shared { state, settings, license, mode, .. } = &*self.shared;
        let challenger = Challenger::new(&settings.challenge, secrets, mount, settings.contact.clone())?;
        let shared = Shared {
            state: Arc::clone(state),
            settings: settings.clone(),
            limits: Limits::new(state, &settings.limits),
            answers: Answers::new(settings.contact.clone())?,
            license: license.clone(),
            challenger: Some(challenger),
            mode: *mode,
            sleepers: AtomicUsize::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
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
    /// On, for the head of the page; else this.
    Card(Instead),
    /// On to the same page without the parameter of a return.
    ForwardAs(Uri),
    Wait(Duration),
    Answer(Box<Response<Full<Bytes>>>),
}

/// The head of a request, as far as acting goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'h> {
    pub(super) method: &'h Method,
    pub(super) uri: &'h Uri,
    pub(super) headers: &'h HeaderMap,
}

impl Head<'_> {
    fn language(&self) -> Option<&str> {
        self.headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()
    }
}

impl Shared {
    pub(super) fn decide(&self, visitor: &Visitor, assessment: &Assessment, head: Head<'_>) -> (Decision, Plan) {
        let mode = if visitor.enforceable { self.mode } else { Mode::Observe };
        if let Some(entry) = self.entry(visitor, assessment, head).filter(|_| mode == Mode::Enforce) {
            return entry;
        }
        let licensed = self.license.is_some();
        let mut draft = policy::decide(&self.settings, licensed, visitor, assessment);
        if draft.action == Action::License && self.license.as_ref().is_some_and(|l| l.is_free(&visitor.path)) {
            policy::cap(&mut draft, Action::Allow, Clamp::Route);
        }
        let limit = self.ask_limits(&mut draft, visitor, assessment);
        let would = draft.action;
        // Whoever is found out as an impostor, or in a trap, needs no history.
        let caught = visitor.verification == Verification::Failed || assessment.points.trap >= 1.0;
        let warm_up = self.state.uptime() < WARM_UP && !caught;
        policy::clamp(&mut draft, &self.settings, Circumstances { mode, warm_up });
        if draft.action == Action::Challenge && self.challenger.is_none() {
            policy::cap(&mut draft, Action::Limit, Clamp::Navigation);
        }
        // What a clamp has weakened to `limit` is a trickle like any other.
        let limit = match (draft.action, assessment.client) {
            (Action::Limit, Some(client)) => limit.or_else(|| Some(self.limits.trickle(client))),
            _ => limit,
        };
        let decision = Decision {
            action: draft.action,
            would: (would != draft.action).then_some(would),
            rule: draft.rule,
            clamps: draft.clamps,
            limit,
            delay: None,
            challenge: None,
        };
        self.act(decision, visitor, assessment, head)
    }

    fn act(
        &self,
        mut decision: Decision,
        visitor: &Visitor,
        assessment: &Assessment,
        head: Head<'_>,
    ) -> (Decision, Plan) {
        let over = decision.limit.is_some_and(|limit| limit.retry_after.is_some());
        match decision.action {
            Action::Challenge => self.challenge(decision, visitor, assessment, head),
            Action::Card => {
                let refusal = Refusal {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    retry_after: Some(NO_CARD),
                    quota: None,
                    request_id: visitor.request_id,
                };
                let response = self.answers.refuse(refusal, head.headers);
                (decision, Plan::Card(Box::new(move || response)))
            }
            Action::License | Action::Block => {
                let plan = self.refuse(&decision, visitor, assessment, head.headers);
                (decision, plan)
            }
            Action::Limit if over => {
                let plan = self.refuse(&decision, visitor, assessment, head.headers);
                (decision, plan)
            }
            Action::Slow => match self.sleep(assessment.score) {
                Some(delay) => {
                    decision.delay = Some(delay);
                    (decision, Plan::Wait(delay))
                }
                None => {
                    decision.action = Action::Tag;
                    (decision, Plan::Forward)
                }
            },
            _ => (decision, Plan::Forward),
        }
    }

    /// deckle's own addresses of a challenge, and the return from one.
    fn entry(&self, visitor: &Visitor, assessment: &Assessment, head: Head<'_>) -> Option<(Decision, Plan)> {
        let challenger = self.challenger.as_ref().filter(|_| *head.method == Method::GET)?;
        let decision = |challenge| Decision {
            action: Action::Allow,
            would: None,
            rule: Rule::Challenge,
            clamps: Vec::new(),
            limit: None,
            delay: None,
            challenge: Some(challenge),
        };
        if visitor.route == RouteClass::Own {
            let keys = assessment.keys.as_ref();
            let (response, step) = challenger.enter(&self.state, keys, visitor, head.uri, head.language())?;
            return Some((decision(step), Plan::Answer(Box::new(response))));
        }
        match challenger.returning(visitor, head.uri)? {
            Return::Clean(response) => Some((decision(ChallengeStep::Passed), Plan::Answer(response))),
            Return::NoCookies(uri) => {
                assessment.keys.iter().for_each(|keys| self.state.spare(keys.sub));
                match assessment.client.and_then(|client| self.limits.breaker(client)) {
                    Some(limit) => {
                        let decision =
                            Decision { action: Action::Limit, limit: Some(limit), ..decision(ChallengeStep::Spared) };
                        let plan = self.refuse(&decision, visitor, assessment, head.headers);
                        Some((decision, plan))
                    }
                    None => Some((decision(ChallengeStep::Spared), Plan::ForwardAs(uri))),
                }
            }
        }
    }

    /// Issues a challenge, or serves the page slowly to whom challenges lead nowhere.
    fn challenge(
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
        // Whoever walked into a trap is not let through for failing.
        if assessment.issued >= TRIES && assessment.points.trap >= TRAPPED {
            decision.action = Action::Limit;
            decision.limit = Some(self.limits.trickle(client));
            return self.act(decision, visitor, assessment, head);
        }
        let spared = assessment.spared || assessment.issued >= TRIES || !self.limits.may_challenge(client);
        if !spared {
            self.state.note_challenge(keys.sub);
            let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let page = challenger.issue(visitor, target, head.language(), assessment.issued);
            decision.challenge = Some(ChallengeStep::Issued);
            return (decision, Plan::Answer(Box::new(page)));
        }
        if !assessment.spared {
            self.state.spare(keys.sub);
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

    /// The hard quotas first; then the trickle of `limit`.
    fn ask_limits(&self, draft: &mut policy::Draft, visitor: &Visitor, assessment: &Assessment) -> Option<LimitReport> {
        let key = assessment.client?;
        let free = matches!(visitor.route, RouteClass::Wellknown | RouteClass::Own);
        if free || visitor.standing != Standing::Ordinary {
            return None;
        }
        let client = Client { key, address: assessment.address?, width: assessment.width, shared: assessment.shared };
        // A crawler of many addresses is one, and known: it is not measured by those.
        let verified = visitor.verification == Verification::Verified;
        let page = assessment.counts_as_page && !verified;
        let refused = self
            .limits
            .hard(client, page)
            .or_else(|| self.agent_limit(visitor, assessment))
            .or_else(|| self.limits.content_bulk(self.bulk_client(visitor, assessment)?));
        if let Some(report) = refused {
            if draft.action <= Action::Limit {
                draft.action = Action::Limit;
                draft.rule = Rule::Limit(report.name);
                draft.clamps.clear();
            }
            return Some(report);
        }
        (draft.action == Action::Limit).then(|| self.limits.trickle(key))
    }

    /// Who pays for feeds and data: whoever is no browser, as far as is known, and no robot that is what it says.
    fn bulk_client(&self, visitor: &Visitor, assessment: &Assessment) -> Option<CellKey> {
        let data = matches!(visitor.route, RouteClass::Feed | RouteClass::Api)
            || matches!(self.state.path_kind(&visitor.path), Some(PathKind::Feed | PathKind::Data));
        let free = assessment.proven
            || visitor.verification == Verification::Verified
            || visitor.agent.category == Category::Monitor
            || visitor.standing != Standing::Ordinary;
        assessment.client.filter(|_| data && !assessment.counts_as_page && !free)
    }

    /// What is charged for the answer, if it is a feed or data.
    pub(super) fn charge(self: &Arc<Self>, visitor: &Visitor, assessment: &Assessment) -> Option<Charge> {
        let client = self.bulk_client(visitor, assessment)?;
        let shared = Arc::clone(self);
        Some(Box::new(move |bytes| shared.limits.charge_bulk(client, shared.state.clock().elapsed(), bytes)))
    }

    /// The quotas of a robot: its own where it is proven, else that of whoever says so from one network.
    fn agent_limit(&self, visitor: &Visitor, assessment: &Assessment) -> Option<LimitReport> {
        if !assessment.counts_as_page {
            return None;
        }
        let name = visitor.agent.name.as_deref()?;
        let keys = assessment.keys?;
        match visitor.agent.category {
            Category::Preview => self.limits.preview(assessment.client?),
            _ if visitor.verification == Verification::Verified => self.limits.agent(self.state.agent_key(name)),
            category if category.is_declared_bot() && category != Category::Scanner => {
                self.limits.claimed_agent(self.state.claimed_agent_key(name, keys.net.0))
            }
            _ => None,
        }
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
