use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower_service::Service;

use super::future::{Learn, ResponseFuture};
use crate::suspicion::Assessment;
use crate::suspicion::headers::Head;
use crate::suspicion::judge::Judge;
use crate::visitor::Visitor;

/// Middleware of [`AssessLayer`](super::AssessLayer).
#[derive(Clone)]
pub struct Assess<S> {
    inner: S,
    judge: Arc<Judge>,
}

impl<S> Assess<S> {
    pub(super) fn new(inner: S, judge: Arc<Judge>) -> Self {
        Self { inner, judge }
    }
}

impl<S, B, R> Service<Request<B>> for Assess<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(visitor) = request.extensions().get::<Visitor>() else {
            return ResponseFuture::new(self.inner.call(request), None);
        };
        let head = Head {
            method: request.method(),
            version: request.version(),
            headers: request.headers(),
            path: request.uri().path(),
            query: request.uri().query(),
        };
        // A fault of ours must not take the site down: the request is judged as unknown and goes on.
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge.assess(visitor, head)));
        let assessment = judged.unwrap_or_else(|_| Assessment::unknown());
        let learns = !matches!(*head.method, Method::HEAD | Method::OPTIONS);
        let learn = learns.then(|| Learn::new(&self.judge, visitor, &assessment, head.headers));
        let offers = self.judge.offers(visitor, &assessment);
        if let Some(offers) = offers {
            request.extensions_mut().insert(offers);
        }
        request.extensions_mut().insert(assessment);
        ResponseFuture::new(self.inner.call(request), learn)
    }
}

impl<S: fmt::Debug> fmt::Debug for Assess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assess").field("inner", &self.inner).finish_non_exhaustive()
    }
}
