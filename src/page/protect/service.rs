use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::ResponseFuture;
use super::site::Site;
use super::spare::KnownCodings;
use crate::page::PageBody;

/// Middleware of [`ProtectLayer`](super::ProtectLayer).
#[derive(Clone)]
pub struct Protect<S> {
    inner: S,
    site: Arc<Site>,
    codings: Arc<KnownCodings>,
}

impl<S> Protect<S> {
    pub(super) fn new(inner: S, site: Arc<Site>, codings: Arc<KnownCodings>) -> Self {
        Self { inner, site, codings }
    }
}

impl<S, B, R> Service<Request<B>> for Protect<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<PageBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if let Some(response) = self.site.own(&head) {
            return ResponseFuture::own(response);
        }
        let mut ask = self.site.ask(&mut head);
        let question = self.codings.ask(&mut ask, &mut head.headers);
        let recall = self.site.recall(&ask, &mut head.headers);
        let inner = self.inner.call(Request::from_parts(head, body));
        ResponseFuture::page(inner, ask, Arc::clone(&self.site), question, recall)
    }
}

impl<S: fmt::Debug> fmt::Debug for Protect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protect").field("inner", &self.inner).finish_non_exhaustive()
    }
}
