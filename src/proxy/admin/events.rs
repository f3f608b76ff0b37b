//! `/events`: snapshots as server-sent events (HTML, section 9.2), as long as somebody listens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};

use super::Admin;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks without news after which a comment is sent, so that both ends see whether the other one is still there.
const QUIET: u32 = 7;

/// Sends what is new, and never ends by itself.
pub(super) struct EventBody {
    admin: Arc<Admin>,
    tick: Interval,
    sent: Bytes,
    quiet: u32,
    /// Given back when the listener is gone.
    _place: OwnedSemaphorePermit,
}

impl EventBody {
    pub(super) fn new(admin: Arc<Admin>, place: OwnedSemaphorePermit) -> Self {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { admin, tick, sent: Bytes::new(), quiet: 0, _place: place }
    }

    fn news(&mut self) -> Option<Bytes> {
        let document = self.admin.json()?;
        if document != self.sent {
            let event = [b"data: ".as_slice(), &document, b"\n\n"].concat();
            (self.sent, self.quiet) = (document, 0);
            return Some(event.into());
        }
        self.quiet += 1;
        self.quiet.is_multiple_of(QUIET).then(|| Bytes::from_static(b":\n\n"))
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            // The first tick is at once.
            ready!(self.tick.poll_tick(cx));
            if let Some(bytes) = self.news() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}
