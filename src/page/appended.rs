//! A text of the site's with ours behind it. What the site sends leaves as it comes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

/// Makes what goes behind a text from that text.
pub(crate) type Suffix = Box<dyn FnOnce(&[u8]) -> Bytes + Send>;

/// What was read, and what comes behind it.
pub(crate) struct Appended {
    read: Vec<u8>,
    /// Longer texts get nothing: they were not read whole.
    max: usize,
    suffix: Option<Suffix>,
    /// Made, and not sent yet.
    ours: Option<Bytes>,
}

impl Appended {
    pub(crate) fn new(max: usize, suffix: Suffix) -> Self {
        Self { read: Vec::new(), max, suffix: Some(suffix), ours: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.suffix.is_none() && self.ours.is_none()
    }

    pub(crate) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.suffix.is_none() {
            return Poll::Ready(self.ours.take().map(|ours| Ok(Frame::data(ours))));
        }
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref().filter(|_| self.read.len() <= self.max) {
                    self.read.extend_from_slice(data);
                }
                // Where the length is known nobody asks again behind the last byte. Trailers belong to the site's bytes alone.
                if body.is_end_stream() || !frame.is_data() {
                    self.end();
                }
                if frame.is_data() { Poll::Ready(Some(Ok(frame))) } else { self.poll(body, cx) }
            }
            // Broken off: nothing of ours makes it look whole.
            Some(Err(error)) => {
                self.suffix = None;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.end();
                self.poll(body, cx)
            }
        }
    }

    fn end(&mut self) {
        let Some(suffix) = self.suffix.take() else { return };
        if self.read.len() > self.max {
            tracing::warn!(target: "deckle", max = self.max, "A text of the site is too long to add to.");
            return;
        }
        self.ours = Some(suffix(&self.read)).filter(|ours| !ours.is_empty());
    }
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").field("read", &self.read.len()).finish_non_exhaustive()
    }
}
