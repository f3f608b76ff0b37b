use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::body::{ResponseBody, StagesBody};

pin_project! {
    /// Response future of [`Deckle`](super::Deckle).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        stages: F,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(stages: F) -> Self {
        Self { stages }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<StagesBody<R>>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().stages.poll(cx))?;
        Poll::Ready(Ok(response.map(ResponseBody::new)))
    }
}
