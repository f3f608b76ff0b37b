use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use tower_layer::Layer;

use super::plan::{Head, Plan};
use super::service::Enforce;
use super::share::{Ask, Late};
use crate::action::answer::{Answers, Refusal, preferred};
use crate::action::body::Charge;
use crate::action::challenge::{Challenger, Return};
use crate::action::decoy::Decoy;
use crate::action::license::License;
use crate::action::limit::{Client, Limits, TRICKLE};
use crate::action::policy::{self, Circumstances};
use crate::action::{Action, ActionError, ChallengeStep, Clamp, Decision, LimitReport, Mode, Moment, Rule, Settings};
use crate::rights::LicenseSettings;
use crate::secret::Secrets;
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Assessment, PathKind, State};
use crate::visitor::{Category, RouteClass, Standing, Verification, Visitor};

/// Within this time of the start nothing is stronger than `limit`, but for impostors, traps and `visitor.deny`.
const WARM_UP: Duration = Duration::from_secs(60);
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
    pub(super) state: Arc<State>,
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) answers: Arc<Answers>,
    pub(super) license: Option<License>,
    pub(super) challenger: Option<Challenger>,
    pub(super) decoy: Option<Decoy>,
    pub(super) mode: Mode,
    pub(super) sleepers: AtomicUsize,
    /// Decisions are made, and nobody gets an answer.
    pub(super) silent: bool,
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
        settings.decoy.check()?;
        policy::check(settings)?;
        let settings = settings.clone();
        let limits = Limits::new(&state, &settings.limits);
        let answers = Arc::new(Answers::new(settings.contact.clone(), settings.templates.as_deref())?);
        let license = License::new(&settings.license, licence);
        let (sleepers, challenger, decoy, silent) = (AtomicUsize::new(0), None, None, false);
        let shared = Shared { state, settings, limits, answers, license, challenger, decoy, mode, sleepers, silent };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Issues challenges and decoys by the keys of a secret, under the path where deckle answers itself. Give the same secret to
    /// [`IdentifyLayer`](crate::visitor::IdentifyLayer); without one, action `challenge` is `limit`.
    ///
    /// # Errors
    /// [`ActionError::Page`]: a page of the site's own does not hold.
    pub fn challenging(self, secrets: &Secrets, mount: &str) -> Result<Self, ActionError> {
        let Shared { state, settings, license, mode, .. } = &*self.shared;
        let (contact, templates) = (settings.contact.clone(), settings.templates.as_deref());
        let challenger = Challenger::new(&settings.challenge, secrets, mount, contact.clone(), templates)?;
        let shared = Shared {
            state: Arc::clone(state),
            settings: settings.clone(),
            limits: Limits::new(state, &settings.limits),
            answers: Arc::new(Answers::new(contact, templates)?),
            license: license.clone(),
            challenger: Some(challenger),
            decoy: settings.decoy.enabled.then(|| Decoy::new(secrets, mount)),
            mode: *mode,
            sleepers: AtomicUsize::new(0),
            silent: false,
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

impl Shared {
    /// The decision, what follows from it, and the address to go on with if it is another.
    pub(super) fn decide(&self, visitor: &Visitor, of: &Assessment, head: Head<'_>) -> (Decision, Plan, Option<Uri>) {
        // An address that the operator has named is no mistake about who asks.
        let sure = visitor.enforceable || visitor.standing == Standing::Denied;
        let mode = if sure { self.mode } else { Mode::Observe };
        if let Some((decision, plan)) = self.decoy_page(visitor, of, head, mode) {
            return (decision, plan, None);
        }
        let challenger = self.challenger.as_ref().filter(|_| *head.method == Method::GET);
        if let Some(challenger) = challenger.filter(|challenger| challenger.is_entry(visitor)) {
            let (decision, plan) = self.entry(challenger, visitor, of, head, mode);
            return (decision, plan, None);
        }
        let enforced = challenger.filter(|_| mode == Mode::Enforce);
        match enforced.and_then(|challenger| challenger.returning(&self.state, visitor, head.uri)) {
            Some(Return::Clean(response)) => {
                (Decision::of_challenge(Action::Allow, ChallengeStep::Passed), Plan::Answer(response), None)
            }
            Some(Return::NoCookies(uri)) => {
                // It has passed, and keeps nothing to show for it.
                let own = of.keys.map(|keys| keys.own);
                if let Some(own) = own {
                    self.state.spare(own);
                }
                let (decision, plan) = self.judge(visitor, &Assessment { spared: true, ..of.clone() }, head, mode);
                (decision, plan, Some(uri))
            }
            None => {
                let (decision, plan) = self.judge(visitor, of, head, mode);
                (decision, plan, None)
            }
        }
    }

    fn judge(&self, visitor: &Visitor, assessment: &Assessment, head: Head<'_>, mode: Mode) -> (Decision, Plan) {
        let licensed = self.license.is_some();
        let mut draft = policy::decide(&self.settings, licensed, visitor, assessment);
        if draft.action == Action::License && self.license.as_ref().is_some_and(|l| l.is_free(&visitor.path)) {
            policy::cap(&mut draft, Action::Allow, Clamp::Route);
        }
        let limit = self.ask_limits(&mut draft, visitor, assessment);
        let verdict = self.share(visitor, assessment, limit, mode);
        let now = self.state.now();
        self.watch(&draft, assessment, now);
        let would = draft.action;
        // Whoever is found out as an impostor, or in a trap, needs no history.
        let caught = visitor.verification == Verification::Failed || assessment.points.trap >= 1.0;
        let warm_up = self.state.uptime() < WARM_UP && !caught;
        let valve = self.state.valve.is_open(now);
        policy::clamp(&mut draft, &self.settings, Circumstances { mode, warm_up, valve });
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
            moment: Moment { warm_up, valve },
        };
        let (decision, plan) = self.act(decision, visitor, assessment, head);
        let delay = match plan {
            Plan::Forward => None,
            Plan::Wait(delay) => Some(delay),
            plan => return (decision, plan),
        };
        match (verdict, assessment.client) {
            (Some(verdict), Some(client)) => {
                let late = Late { client, request_id: visitor.request_id, form: preferred(head.headers) };
                (decision, Plan::Ask(Box::new(Ask { verdict, delay, late })))
            }
            _ => (decision, delay.map_or(Plan::Forward, Plan::Wait)),
        }
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
            Action::Decoy => self.lead_away(decision, visitor, assessment, head),
            Action::Card if self.silent => (decision, Plan::Forward),
            Action::Card => {
                let refusal = Refusal {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    retry_after: Some(NO_CARD),
                    quota: None,
                    request_id: visitor.request_id,
                };
                // Nearly every page makes a card.
                let (answers, form) = (Arc::clone(&self.answers), preferred(head.headers));
                (decision, Plan::Card(Box::new(move || answers.refuse_in(form, refusal))))
            }
            Action::License | Action::Block => {
                let plan = self.refuse(&decision, visitor, assessment, head.headers);
                (decision, plan)
            }
            // Somebody whose browser has fetched what browsers fetch, and who is taken for a neighbour: a challenge is a way out.
            Action::Limit if self.may_get_out(&decision, visitor, assessment) => self.way_out(decision, visitor, head),
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

    /// The hard quotas first; then the trickle of `limit`.
    pub(super) fn ask_limits(
        &self,
        draft: &mut policy::Draft,
        visitor: &Visitor,
        assessment: &Assessment,
    ) -> Option<LimitReport> {
        let key = assessment.client?;
        let free = matches!(visitor.route, RouteClass::Wellknown | RouteClass::Own);
        if free || visitor.standing != Standing::Ordinary {
            return None;
        }
        let client = Client {
            key,
            address: assessment.address?,
            width: assessment.width,
            address_width: assessment.address_width,
            shared: assessment.shared,
        };
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
        let free = assessment.counts_as_page
            || assessment.proven
            || visitor.verification == Verification::Verified
            || visitor.agent.category == Category::Monitor
            || visitor.standing != Standing::Ordinary;
        let kind = || self.state.path_kind(assessment.path?);
        let data = || {
            matches!(visitor.route, RouteClass::Feed | RouteClass::Api)
                || matches!(kind(), Some(PathKind::Feed | PathKind::Data))
        };
        assessment.client.filter(|_| !free && data())
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

    pub(super) fn refuse(
        &self,
        decision: &Decision,
        visitor: &Visitor,
        assessment: &Assessment,
        headers: &HeaderMap,
    ) -> Plan {
        if let (Action::License, Some(license)) = (decision.action, &self.license) {
            let verified = visitor.verification == Verification::Verified;
            return self.answer(|| self.answers.license(license, visitor.request_id, verified, headers));
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
        self.answer(|| self.answers.refuse(refusal, headers))
    }

    /// An answer, where there is somebody to get it.
    pub(super) fn answer(&self, make: impl FnOnce() -> Response<Full<Bytes>>) -> Plan {
        if self.silent { Plan::Forward } else { Plan::Answer(Box::new(make())) }
    }

    /// The wait rises with the score, ±20 %, so that it cannot be told from a slow site. None when too many wait.
    fn sleep(&self, score: u8) -> Option<Duration> {
        let most = self.settings.slow.max_concurrent;
        self.sleepers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).ok()?;
        let step = (SLOW_MS.1 - SLOW_MS.0) / 14;
        let middle = SLOW_MS.0 + u64::from(score.clamp(40, 54) - 40) * step;
        Some(Duration::from_millis(middle * fastrand::u64(80..=120) / 100))
    }
}
