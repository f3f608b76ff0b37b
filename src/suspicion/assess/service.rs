use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::{Learn, ResponseFuture};
use crate::suspicion::{Assessment, Judge};
use crate::visitor::{RouteClass, Visitor};

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
        let path = Arc::clone(&visitor.path);
        let is_asset = visitor.asset_path || visitor.route == RouteClass::Own;
        let sub = is_asset.then(|| self.judge.state.keys(visitor)).flatten().map(|(_, sub)| sub);
        // A fault of ours must not take the site down: the request is judged as unknown and goes on.
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge.assess(visitor, request.method())));
        let assessment = judged.unwrap_or_else(|_| Assessment::unknown());
        request.extensions_mut().insert(assessment);
        let learn = (request.method() == http::Method::GET).then(|| Learn {
            state: Arc::clone(&self.judge.state),
            path,
            asset: sub,
        });
        ResponseFuture::new(self.inner.call(request), learn)
    }
}

impl<S: fmt::Debug> fmt::Debug for Assess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assess").field("inner", &self.inner).finish_non_exhaustive()
    }
}
