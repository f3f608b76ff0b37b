use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Shared;
use super::plan::{Head, Plan};
use crate::action::ActionBody;
use crate::suspicion::Assessment;
use crate::visitor::Visitor;

/// Middleware of [`EnforceLayer`](super::EnforceLayer).
#[derive(Clone)]
pub struct Enforce<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Enforce<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for Enforce<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<ActionBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let visitor = request.extensions().get::<Visitor>();
        let assessment = request.extensions().get::<Assessment>();
        let (Some(visitor), Some(assessment)) = (visitor, assessment) else {
            return ResponseFuture::forward(self.inner.call(request), None);
        };
        let head = Head { method: request.method(), uri: request.uri(), headers: request.headers() };
        let (decision, plan, clean) = self.shared.decide(visitor, assessment, head);
        let charge = self.shared.charge(visitor, assessment);
        if let Some(uri) = clean {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(decision.action);
        request.extensions_mut().insert(decision.clone());
        match plan {
            Plan::Card(instead) => ResponseFuture::card(self.inner.call(request), decision, instead),
            Plan::Forward => ResponseFuture::charged(self.inner.call(request), decision, charge),
            Plan::Answer(response) => ResponseFuture::answer(response, decision),
            Plan::Ask(ask) => {
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                ResponseFuture::ask(*ask, ready, request, decision, Arc::clone(&self.shared), charge)
            }
            Plan::Wait(delay) => {
                // The future owns the service that is ready; the clone takes its place (Tower's own advice).
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                ResponseFuture::wait(delay, ready, request, decision, Arc::clone(&self.shared))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Enforce<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforce").field("inner", &self.inner).finish_non_exhaustive()
    }
}
