//! Bodies of the proxy: streamed from the upstream under an idle limit, or whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

/// Why a body of the upstream broke off.
#[derive(Debug, thiserror::Error)]
pub enum SiteBodyError {
    /// The connection failed.
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the upstream sent nothing for {0:?}")]
    Idle(Duration),
}

pin_project! {
    /// What the site answers.
    #[derive(Debug)]
    pub struct SiteBody {
        #[pin]
        kind: Kind,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind {
        Upstream { #[pin] body: Incoming, #[pin] idle: Sleep, limit: Duration },
        Full { #[pin] body: Full<Bytes> },
    }
}

impl SiteBody {
    /// A body that is here.
    pub(super) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full { body: Full::new(bytes) } }
    }

    /// A body that may pause for `limit` at most.
    pub(super) fn upstream(body: Incoming, limit: Duration) -> Self {
        Self { kind: Kind::Upstream { body, idle: tokio::time::sleep(limit), limit } }
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = SiteBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SiteBodyError>>> {
        match self.project().kind.project() {
            Projected::Full { body } => body.poll_frame(cx).map_err(|never| match never {}),
            Projected::Upstream { body, idle, limit } => match body.poll_frame(cx) {
                Poll::Ready(frame) => {
                    idle.reset(Instant::now() + *limit);
                    Poll::Ready(frame.map(|f| f.map_err(SiteBodyError::Upstream)))
                }
                Poll::Pending if idle.poll(cx).is_ready() => Poll::Ready(Some(Err(SiteBodyError::Idle(*limit)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full { body } => body.is_end_stream(),
            Kind::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full { body } => body.size_hint(),
            Kind::Upstream { body, .. } => body.size_hint(),
        }
    }
}
