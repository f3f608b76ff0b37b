//! Connections of clients: each has a place and a time limit for writes, and some end by a reset.
//!
//! A reset is due where an answer broke off and nothing else would tell: HTTP/1.0 knows no end of a body but the end of the
//! connection, so that a cut page would look like a whole one. And where a client took nothing for too long: it would go on
//! taking nothing, and the system would keep for it what was written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::idle::Idle;
use super::places::Place;

/// How a connection is to end, and whether it is stuck.
#[derive(Debug, Clone, Default)]
pub(super) struct Reset(Arc<Ends>);

#[derive(Debug, Default)]
struct Ends {
    /// A body broke off, or the client took nothing.
    broken: AtomicBool,
    /// An answer began whose end only the connection tells.
    running: AtomicBool,
    /// All was said.
    orderly: AtomicBool,
    /// The last write found no room.
    blocked: AtomicBool,
}

impl Reset {
    /// The connection has come to its own end: it was not cut off from outside.
    pub(super) fn orderly(&self) {
        self.0.orderly.store(true, Ordering::Release);
    }

    /// Something waits to be written.
    pub(super) fn is_blocked(&self) -> bool {
        self.0.blocked.load(Ordering::Relaxed)
    }

    fn is_due(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        is(&self.0.broken) || (is(&self.0.running) && !is(&self.0.orderly))
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    stream: TcpStream,
    reset: Reset,
    taking: Idle,
    _place: Place,
}

impl ClientStream {
    /// The client may take nothing of what is written for `limit`.
    pub(super) fn new(stream: TcpStream, limit: Duration, place: Place) -> (Self, Reset) {
        let reset = Reset::default();
        (Self { stream, reset: reset.clone(), taking: Idle::new(limit), _place: place }, reset)
    }

    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.reset.0.blocked.store(polled.is_pending(), Ordering::Relaxed);
        if let Some(written) = ready!(self.taking.watch(cx, polled)) {
            return Poll::Ready(written);
        }
        self.reset.0.broken.store(true, Ordering::Release);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took nothing")))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.reset.is_due() {
            // Closing now sends RST instead of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

pin_project! {
    /// A body that resets its connection when it breaks off.
    pub(super) struct ResetBody<B> {
        #[pin]
        inner: B,
        reset: Option<Reset>,
    }
}

impl<B> ResetBody<B> {
    /// `None`: the protocol itself tells that a body broke off.
    pub(super) fn new(inner: B, reset: Option<Reset>) -> Self {
        if let Some(reset) = &reset {
            reset.0.running.store(true, Ordering::Release);
        }
        Self { inner, reset }
    }
}

impl<B: Body<Data = Bytes>> Body for ResetBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        if let (Poll::Ready(Some(Err(_))), Some(reset)) = (&frame, this.reset) {
            reset.0.broken.store(true, Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
