use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::action::ActionBody;
use crate::audit::LogBody;

#[cfg(feature = "html")]
type PageOf<B> = crate::page::PageBody<B>;
#[cfg(not(feature = "html"))]
type PageOf<B> = B;

#[cfg(feature = "html")]
pub use crate::page::BodyError;
/// Why a body broke off: the inner body's own error.
#[cfg(not(feature = "html"))]
pub type BodyError<E> = E;

pub(super) type StagesBody<B> = LogBody<ActionBody<PageOf<B>>>;

pin_project! {
    /// Body of a response behind [`DeckleLayer`](super::DeckleLayer).
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        stages: StagesBody<B>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(stages: StagesBody<B>) -> Self {
        Self { stages }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.project().stages.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.stages.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stages.size_hint()
    }
}
