//! Bodies of the proxy: streamed from the upstream under an idle limit, or whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::headers::strip_trailers;
use super::idle::Idle;
use super::places::Place;
use super::server::Uploading;

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
        Upstream { #[pin] body: Incoming, idle: Idle, place: Option<Arc<Place>> },
        Full { #[pin] body: Full<Bytes> },
    }
}

/// Why an upload broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The client's connection or framing.
    #[error("the client broke off")]
    Broken(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the client sent nothing for {0:?}")]
    Idle(Duration),
}

/// The hint of a body in front of which so many bytes stand.
pub(super) fn behind(bytes: usize, inner: &SizeHint) -> SizeHint {
    let bytes = bytes as u64;
    let mut whole = SizeHint::new();
    whole.set_lower(inner.lower().saturating_add(bytes));
    if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(bytes)) {
        whole.set_upper(upper);
    }
    whole
}

fn without_strays(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip_trailers(trailers);
    }
    frame
}

pin_project! {
    /// What a client sends, under an idle limit.
    pub(super) struct UploadBody {
        #[pin]
        body: Incoming,
        idle: Idle,
        given: Arc<AtomicU64>,
        // Dropped together with the body: tells when the upload is over.
        over: oneshot::Sender<()>,
        // To be told when it has been read.
        uploading: Option<Uploading>,
        // It may go on when the answer is over.
        _place: Arc<Place>,
    }
}

/// How an upload goes on.
pub(super) struct Upload {
    /// Frames that were taken of it.
    given: Arc<AtomicU64>,
    over: oneshot::Receiver<()>,
}

impl Upload {
    /// Ends with the upload, or when nothing was taken of it for `limit` at least, and twice that at most. The clock of the body
    /// runs only while somebody asks for it: that a site takes nothing is noticed here. `false`: it is not over.
    pub(super) async fn wait(mut self, limit: Duration) -> bool {
        let mut seen = None;
        while timeout(limit, &mut self.over).await.is_err() {
            let given = Some(self.given.load(Ordering::Relaxed));
            if given == seen {
                return false;
            }
            seen = given;
        }
        true
    }
}

impl UploadBody {
    /// It may pause for `limit` at most, and shares the place with the site of its answer.
    pub(super) fn new(
        body: Incoming,
        limit: Duration,
        place: Arc<Place>,
        uploading: Option<Uploading>,
    ) -> (Self, Upload) {
        let (over, ended) = oneshot::channel();
        let given = Arc::new(AtomicU64::new(0));
        let upload = Upload { given: Arc::clone(&given), over: ended };
        (Self { body, idle: Idle::new(limit), given, over, uploading, _place: place }, upload)
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        match ready!(this.idle.watch(cx, polled)) {
            Some(frame) => {
                if (frame.is_none() || this.body.is_end_stream())
                    && let Some(uploading) = this.uploading.take()
                {
                    uploading.over();
                }
                this.given.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(frame.map(|f| f.map(without_strays).map_err(|e| UploadError::Broken(e).into())))
            }
            None => Poll::Ready(Some(Err(UploadError::Idle(this.idle.limit()).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl SiteBody {
    /// A body that is here.
    pub(super) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full { body: Full::new(bytes) } }
    }

    /// A body that may pause for `limit` at most, and has its place with the site until it is over.
    pub(super) fn upstream(body: Incoming, limit: Duration, place: Arc<Place>) -> Self {
        let place = (!body.is_end_stream()).then_some(place);
        Self { kind: Kind::Upstream { body, idle: Idle::new(limit), place } }
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = SiteBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SiteBodyError>>> {
        match self.project().kind.project() {
            Projected::Full { body } => body.poll_frame(cx).map_err(|never| match never {}),
            Projected::Upstream { mut body, idle, place } => {
                let polled = body.as_mut().poll_frame(cx);
                let polled = ready!(idle.watch(cx, polled));
                let goes_on = matches!(&polled, Some(Some(Ok(frame))) if !frame.is_trailers());
                if !goes_on || body.is_end_stream() {
                    // Whoever reads it may be slow, and the site has nothing to do with that.
                    *place = None;
                }
                match polled {
                    Some(frame) => Poll::Ready(frame.map(|f| f.map(without_strays).map_err(SiteBodyError::Upstream))),
                    None => Poll::Ready(Some(Err(SiteBodyError::Idle(idle.limit())))),
                }
            }
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
