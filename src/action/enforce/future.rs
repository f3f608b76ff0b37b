use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::layer::Shared;
use super::share::{Ask, Late};
use crate::action::body::{Charge, Meter};
use crate::action::{ActionBody, CardMade, Decision};
use crate::suspicion::{PathKind, Verdict};

pin_project! {
    /// Response future of [`Enforce`](super::Enforce).
    pub struct ResponseFuture<S, Q>
    where
        S: Service<Q>,
    {
        #[pin]
        step: Step<S, Q>,
        decision: Option<Decision>,
        // What goes out for a page that is no card.
        instead: Option<Box<Instead>>,
        charge: Option<Charge>,
    }
}

/// A refusal in the place of a page of which nobody has made a card.
pub(super) type Instead = Box<dyn FnOnce() -> Response<Full<Bytes>> + Send + Sync>;

pin_project! {
    #[project = StepProjected]
    enum Step<S, Q>
    where
        S: Service<Q>,
    {
        Wait { #[pin] sleep: Sleep, held: Option<(S, Q)>, sleeper: Sleeper },
        Forward { #[pin] inner: S::Future },
        Ask { verdict: Verdict, asked: Option<Asked<S, Q>> },
        Answer { response: Option<Box<Response<Full<Bytes>>>> },
    }
}

/// One of the places of `action.slow.max_concurrent`; given back when dropped.
struct Sleeper(Arc<Shared>);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is done when the word of the store is there, or has not come.
struct Asked<S, Q> {
    held: (S, Q),
    late: Late,
    delay: Option<(Duration, Sleeper)>,
    shared: Arc<Shared>,
}

impl<S: Service<Q>, Q> ResponseFuture<S, Q> {
    pub(super) fn forward(inner: S::Future, decision: Option<Decision>) -> Self {
        Self { step: Step::Forward { inner }, decision, instead: None, charge: None }
    }

    /// As [`forward`](Self::forward); what leaves of a feed or of data is charged.
    pub(super) fn charged(inner: S::Future, decision: Decision, charge: Option<Charge>) -> Self {
        Self { charge, ..Self::forward(inner, Some(decision)) }
    }

    pub(super) fn ask(
        ask: Ask,
        service: S,
        request: Q,
        decision: Decision,
        shared: Arc<Shared>,
        charge: Option<Charge>,
    ) -> Self {
        let Ask { verdict, delay, late } = ask;
        // The place among the sleepers was taken with the decision.
        let delay = delay.map(|delay| (delay, Sleeper(Arc::clone(&shared))));
        let asked = Some(Asked { held: (service, request), late, delay, shared });
        Self { step: Step::Ask { verdict, asked }, decision: Some(decision), instead: None, charge }
    }

    pub(super) fn card(inner: S::Future, decision: Decision, instead: Instead) -> Self {
        Self { step: Step::Forward { inner }, decision: Some(decision), instead: Some(Box::new(instead)), charge: None }
    }

    pub(super) fn answer(response: Box<Response<Full<Bytes>>>, decision: Decision) -> Self {
        Self { step: Step::Answer { response: Some(response) }, decision: Some(decision), instead: None, charge: None }
    }

    pub(super) fn wait(delay: Duration, service: S, request: Q, decision: Decision, shared: Arc<Shared>) -> Self {
        let step = Step::Wait { sleep: sleep(delay), held: Some((service, request)), sleeper: Sleeper(shared) };
        Self { step, decision: Some(decision), instead: None, charge: None }
    }
}

impl<S, Q, R> Future for ResponseFuture<S, Q>
where
    S: Service<Q, Response = Response<R>>,
{
    type Output = Result<Response<ActionBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut response = loop {
            let next = match this.step.as_mut().project() {
                StepProjected::Wait { sleep, held, .. } => {
                    ready!(sleep.poll(cx));
                    let Some((mut service, request)) = held.take() else { return Poll::Pending };
                    Step::Forward { inner: service.call(request) }
                }
                StepProjected::Forward { inner } => {
                    let response = ready!(inner.poll(cx))?;
                    match this.instead.take().filter(|_| is_whole_page(&response)) {
                        Some(instead) => break instead().map(ActionBody::own),
                        None => break metered(response, this.charge.take()),
                    }
                }
                StepProjected::Ask { verdict, asked } => {
                    let word = ready!(Pin::new(verdict).poll(cx));
                    let Some(Asked { held: (mut service, request), late, delay, shared }) = asked.take() else {
                        return Poll::Pending;
                    };
                    match (word, this.decision.as_mut(), delay) {
                        (Some(wait), Some(decision), _) => {
                            Step::Answer { response: Some(shared.refuse_late(&late, wait, decision)) }
                        }
                        (_, _, Some((delay, sleeper))) => {
                            Step::Wait { sleep: sleep(delay), held: Some((service, request)), sleeper }
                        }
                        _ => Step::Forward { inner: service.call(request) },
                    }
                }
                StepProjected::Answer { response } => {
                    let Some(response) = response.take() else { return Poll::Pending };
                    break response.map(ActionBody::own);
                }
            };
            this.step.set(next);
        };
        if let Some(decision) = this.decision.take() {
            response.extensions_mut().insert(decision);
        }
        Poll::Ready(Ok(response))
    }
}

/// Only feeds and data carry what pages are counted for elsewhere.
fn metered<R>(response: Response<R>, charge: Option<Charge>) -> Response<ActionBody<R>> {
    match charge.filter(|_| matches!(kind(&response), Some(PathKind::Feed | PathKind::Data))) {
        Some(charge) => response.map(|body| ActionBody::metered(body, Meter::new(charge))),
        None => response.map(ActionBody::inner),
    }
}

/// A page of which nobody has made a card.
fn is_whole_page<R>(response: &Response<R>) -> bool {
    kind(response) == Some(PathKind::Html) && response.extensions().get::<CardMade>().is_none()
}

/// By its media type.
fn kind<R>(response: &Response<R>) -> Option<PathKind> {
    let media_type = response.headers().get(http::header::CONTENT_TYPE)?;
    Some(PathKind::of_content_type(media_type.as_bytes()))
}

impl<S: Service<Q>, Q> std::fmt::Debug for ResponseFuture<S, Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").field("decision", &self.decision).finish_non_exhaustive()
    }
}
