use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::future::Open;
use crate::action::ActionBody;

pin_project! {
    /// Counts what goes out, and writes the record when the body ends, breaks off or is dropped.
    pub struct LogBody<B> {
        #[pin]
        inner: ActionBody<B>,
        open: Open,
    }
}

impl<B: Body<Data = Bytes>> LogBody<B> {
    pub(super) fn new(inner: ActionBody<B>, mut open: Open, bodiless: bool) -> Self {
        // A body that is over before it begins is never polled.
        if bodiless || inner.is_end_stream() {
            open.finish(true);
        }
        Self { inner, open }
    }
}

impl<B: Body<Data = Bytes>> Body for LogBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let mut inner = this.inner;
        let frame = ready!(inner.as_mut().poll_frame(cx));
        match &frame {
            None => this.open.finish(true),
            Some(Err(_)) => {
                this.open.fail("body_error");
                this.open.finish(false);
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.open.count(data.len());
                }
                // Servers may stop asking once the stream says that it is over.
                if frame.is_trailers() || inner.is_end_stream() {
                    this.open.finish(true);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for LogBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogBody")
    }
}
