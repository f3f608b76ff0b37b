use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

/// Counts what leaves, and charges for it when it is over or the client has gone.
pub(super) struct Meter {
    bytes: u64,
    charge: Option<Charge>,
}

/// Takes the bytes that left.
pub(super) type Charge = Box<dyn FnOnce(u64) + Send + Sync>;

impl Meter {
    pub(super) fn new(charge: Charge) -> Self {
        Self { bytes: 0, charge: Some(charge) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            charge(self.bytes);
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

pin_project! {
    /// The inner body, or deckle's own answer.
    #[derive(Debug)]
    pub struct ActionBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<B> {
        Inner { #[pin] body: B, meter: Option<Meter> },
        Own { #[pin] body: Full<Bytes> },
    }
}

impl<B> ActionBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body, meter: None } }
    }

    /// What leaves is charged when it is over.
    pub(super) fn metered(body: B, meter: Meter) -> Self {
        Self { kind: Kind::Inner { body, meter: Some(meter) } }
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self { kind: Kind::Own { body } }
    }
}

impl<B: Body<Data = Bytes>> Body for ActionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Inner { body, meter } => {
                let polled = body.poll_frame(cx);
                if let (Some(meter), Poll::Ready(Some(Ok(frame)))) = (meter, &polled) {
                    meter.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
                polled
            }
            Projected::Own { body } => body.poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } => body.is_end_stream(),
            Kind::Own { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body, .. } => body.size_hint(),
            Kind::Own { body } => body.size_hint(),
        }
    }
}
