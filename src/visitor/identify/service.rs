use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Shared;
use crate::visitor::{HeadView, Visitor, VisitorKey};

/// Middleware of [`IdentifyLayer`](super::IdentifyLayer).
#[derive(Clone)]
pub struct Identify<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Identify<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl Shared {
    fn identify<B>(&self, request: &Request<B>) -> Visitor {
        let view = HeadView::of(request.method(), request.uri(), request.headers(), request.extensions());
        let mut visitor = self.facts.visitor(&view, self.clock.unix(), Some(&self.names));
        if let Some(check) = &self.check {
            visitor.enforceable = check.observe(&visitor.address, request.headers(), visitor.agent.category);
        }
        // An application that knows its readers better than their headers do.
        if let Some(key) = request.extensions().get::<VisitorKey>() {
            visitor.key = key.clone();
        }
        visitor
    }
}

impl<S, B, R> Service<Request<B>> for Identify<S>
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
        let visitor = self.shared.identify(&request);
        request.extensions_mut().insert(visitor);
        ResponseFuture::new(self.inner.call(request))
    }
}

impl<S: fmt::Debug> fmt::Debug for Identify<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identify").field("inner", &self.inner).finish_non_exhaustive()
    }
}
