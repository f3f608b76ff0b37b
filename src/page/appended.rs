//! A text of the site's with ours behind it. What the site sends leaves as it comes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

/// Makes what goes behind a text from that text.
pub(crate) type Suffix = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// What was read, and what comes behind it.
pub(crate) struct Appended {
    read: Vec<u8>,
    /// Longer texts get nothing: they were not read whole.
    max: usize,
    suffix: Option<Suffix>,
}

impl Appended {
    pub(crate) fn new(max: usize, suffix: Suffix) -> Self {
        Self { read: Vec::new(), max, suffix: Some(suffix) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.suffix.is_none()
    }

    pub(crate) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.is_done() {
            return Poll::Ready(None);
        }
        match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref().filter(|_| self.read.len() <= self.max) {
                    self.read.extend_from_slice(data);
                }
                // Trailers belong to the site's bytes alone.
                if frame.is_data() { Poll::Ready(Some(Ok(frame))) } else { self.end() }
            }
            // Broken off: nothing of ours makes it look whole.
            Some(Err(error)) => {
                self.suffix = None;
                Poll::Ready(Some(Err(error)))
            }
            None => self.end(),
        }
    }

    fn end<E>(&mut self) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let Some(suffix) = self.suffix.take() else { return Poll::Ready(None) };
        if self.read.len() > self.max {
            tracing::warn!(target: "deckle", max = self.max, "A text of the site is too long to add to.");
            return Poll::Ready(None);
        }
        let ours = suffix(&self.read);
        Poll::Ready((!ours.is_empty()).then(|| Ok(Frame::data(Bytes::from(ours)))))
    }
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").field("read", &self.read.len()).finish_non_exhaustive()
    }
}
