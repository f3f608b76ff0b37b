//! Streams of HTTP/2 whose client takes nothing.
//!
//! A client says how much of each stream it takes (RFC 9113 §5.2), and may never say more: the connection lives, answers pings,
//! and the bytes wait, with the page, the connection to the site and all else that hangs on the body. hyper asks a body for
//! its next piece and then waits until there is room for it. So a stream waits for its client when its body was asked last, gave
//! a piece, and the task of the stream has nothing else to do. The task is spawned here, which is where it can be ended:
//! dropping it resets the stream (RFC 9113 §5.4) and lets go of everything.
//!
//! A socket that takes nothing, under HTTP/1.1 or HTTP/2, is the business of `stream.rs`, and how much waits for it under HTTP/1.1
//! that of `pace.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::body::behind;
use super::idle::Idle;

/// Longest piece that is handed over at once. hyper keeps one and lends another to the connection, whatever the client takes, and
/// whoever is slow has the whole limit for each.
const PIECE: usize = 8 * 1024;

tokio::task_local! {
    /// Of the stream whose task runs.
    static TURN: Arc<Turn>;
}

/// Whose turn it is in a stream. Only its task reads and writes this.
#[derive(Debug, Default)]
struct Turn {
    /// The body gave a piece, and was not asked for another one.
    of_client: AtomicBool,
    /// Pieces that it gave.
    pieces: AtomicU64,
}

impl Turn {
    fn asked(&self) {
        self.of_client.store(false, Ordering::Relaxed);
    }

    fn gave(&self) {
        self.of_client.store(true, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }
}

/// Spawns the streams of one connection, and knows whether there are any.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    limit: Duration,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    /// How often one began or ended.
    changes: AtomicU64,
}

impl Streams {
    /// A client may take nothing of a stream for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Ready when no stream was open for so long, after the first one.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let before = self.counts.changes.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            let unchanged = self.counts.changes.load(Ordering::Relaxed) == before;
            if before > 0 && unchanged && self.counts.open.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let turn = Arc::<Turn>::default();
        let task = Stream {
            inner: stream,
            turn: Arc::clone(&turn),
            seen: 0,
            idle: Idle::new(self.limit),
            _open: Open::new(&self.counts),
        };
        tokio::spawn(TURN.scope(turn, task));
    }
}

/// A stream that is counted.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        counts.changes.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changes.fetch_add(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// One stream, until it is over or its client takes nothing for too long.
    struct Stream<F> {
        #[pin]
        inner: F,
        turn: Arc<Turn>,
        // Pieces that had been given the last time.
        seen: u64,
        idle: Idle,
        _open: Open,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.inner.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let waits = this.turn.of_client.load(Ordering::Relaxed);
        let pieces = this.turn.pieces.load(Ordering::Relaxed);
        if !waits || pieces != *this.seen {
            *this.seen = pieces;
            this.idle.restart();
        }
        if !waits {
            return Poll::Pending;
        }
        ready!(this.idle.poll_over(cx));
        tracing::debug!(target: "deckle", limit = ?this.idle.limit(), "A client took nothing of a stream, and it was reset.");
        Poll::Ready(())
    }
}

pin_project! {
    /// A body that hands over its bytes in pieces, and tells whose turn it is; outside of a stream, the body itself.
    pub(super) struct PiecedBody<B> {
        #[pin]
        inner: B,
        // What was not handed over of the last frame.
        rest: Bytes,
        turn: Option<Arc<Turn>>,
        // The head alone leaves.
        is_bare: bool,
    }
}

impl<B> PiecedBody<B> {
    /// For the stream whose task runs.
    pub(super) fn new(inner: B, is_bare: bool) -> Self {
        Self { inner, rest: Bytes::new(), turn: TURN.try_with(Arc::clone).ok(), is_bare }
    }
}

impl<B: Body<Data = Bytes>> Body for PiecedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(turn) = this.turn else { return this.inner.poll_frame(cx) };
        if this.rest.is_empty() {
            turn.asked();
            match ready!(this.inner.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        turn.gave();
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_bare || (self.rest.is_empty() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        behind(self.rest.len(), &self.inner.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_stream_gets_pieces_and_anything_else_the_frames_themselves() {
        let bytes: Bytes = (0..3 * PIECE + 7).map(|i| (i % 251) as u8).collect();
        let lengths = async |mut body: PiecedBody<Full<Bytes>>| {
            let (mut lengths, mut all) = (Vec::new(), Vec::new());
            assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                lengths.push(data.len());
                all.extend_from_slice(&data);
                let left = (bytes.len() - all.len()) as u64;
                assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
            }
            assert!(all == bytes);
            lengths
        };
        assert_eq!(lengths(PiecedBody::new(Full::new(bytes.clone()), false)).await, [bytes.len()]);
        let turn = Arc::<Turn>::default();
        let pieced = TURN.sync_scope(Arc::clone(&turn), || PiecedBody::new(Full::new(bytes.clone()), false));
        assert_eq!(lengths(pieced).await, [PIECE, PIECE, PIECE, 7]);
        assert_eq!(turn.pieces.load(Ordering::Relaxed), 4);
        assert!(!turn.of_client.load(Ordering::Relaxed), "it was asked, and was over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_streams_are_over() {
        let (streams, hour) = (Streams::new(Duration::from_secs(60)), Duration::from_secs(3_600));
        let idle = async |of: &Streams| tokio::time::timeout(hour, of.idle(Duration::from_secs(75))).await.is_ok();
        assert!(!idle(&streams).await, "nothing was ever asked, or it is no HTTP/2");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        streams.execute(async {
            let _ = ended.await;
        });
        assert!(!idle(&streams).await, "one is open");
        end.send(()).unwrap();
        assert!(idle(&streams).await);
    }
}
