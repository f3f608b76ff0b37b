use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::future::ResponseFuture;
use crate::action::Enforce;
use crate::audit::Audit;
use crate::suspicion::Assess;
use crate::visitor::Identify;

#[cfg(feature = "html")]
pub(super) type ProtectOf<S> = crate::page::Protect<S>;
#[cfg(not(feature = "html"))]
pub(super) type ProtectOf<S> = S;

pub(super) type Stages<S> = Identify<Assess<Audit<Enforce<ProtectOf<S>>>>>;

/// Middleware of [`DeckleLayer`](super::DeckleLayer).
#[derive(Clone)]
pub struct Deckle<S> {
    stages: Stages<S>,
}

impl<S> Deckle<S> {
    pub(super) fn new(stages: Stages<S>) -> Self {
        Self { stages }
    }
}

impl<S, B, R> Service<Request<B>> for Deckle<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<<Stages<S> as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.stages.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture::new(self.stages.call(request))
    }
}

impl<S: fmt::Debug> fmt::Debug for Deckle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deckle").field("stages", &self.stages).finish()
    }
}
