use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response, StatusCode, header};
use pin_project_lite::pin_project;

use crate::suspicion::State;
use crate::suspicion::cells::CellKey;

/// What the answer teaches.
#[derive(Debug)]
pub(super) struct Learn {
    pub(super) state: Arc<State>,
    pub(super) path: Arc<str>,
    /// The sub-identity that asked for a file.
    pub(super) asset: Option<CellKey>,
}

pin_project! {
    /// Response future of [`Assess`](super::Assess). In passing it learns whether the path answers HTML.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        learn: Option<Learn>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, learn: Option<Learn>) -> Self {
        Self { inner, learn }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let (Some(learn), Ok(response)) = (this.learn.take(), &result) {
            learn.from(response.status(), response.headers());
        }
        Poll::Ready(result)
    }
}

impl Learn {
    fn from(&self, status: StatusCode, headers: &HeaderMap) {
        let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let html = kind.is_some_and(|k| k.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html")));
        if status == StatusCode::OK && kind.is_some() {
            self.state.learn_path(&self.path, html);
        }
        // Only a file that went out is an asset: a name that looks like one proves nothing.
        if let Some(sub) = self.asset.filter(|_| matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED) && !html) {
            self.state.note_asset(sub);
        }
    }
}
