use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Response, header};
use pin_project_lite::pin_project;

use crate::suspicion::State;

pin_project! {
    /// Response future of [`Assess`](super::Assess). In passing it learns whether the path answers HTML.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        learn: Option<(Arc<State>, Arc<str>)>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, learn: Option<(Arc<State>, Arc<str>)>) -> Self {
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
        if let (Some((state, path)), Ok(response)) = (this.learn.take(), &result)
            && response.status() == http::StatusCode::OK
            && let Some(kind) = response.headers().get(header::CONTENT_TYPE)
        {
            let html = kind.as_bytes().get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"));
            state.learn_path(&path, html);
        }
        Poll::Ready(result)
    }
}
