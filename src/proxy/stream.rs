//! Connections of clients: each has a place and a time limit for writes and for the heads of HTTP/1, and some end by a reset.
//!
//! A reset is due where an answer broke off and nothing else would tell: HTTP/1.0 knows no end of a body but the end of the
//! connection, so that a cut page would look like a whole one. And where a client took nothing for too long: it would go on
//! taking nothing, and the system would keep for it what was written.
//!
//! hyper's limit for a head counts from the end of the answer before it, and is therefore the one for a connection that is kept.
//! The shorter one, from the first byte of a head, is kept here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::idle::Idle;
use super::linger::Linger;
use super::places::Place;
use crate::config::TimeoutSettings;

/// What is read belongs to a request that is known, or to HTTP/2, or there is none yet.
const NO_HEAD: u8 = 0;
/// An answer is over, and nothing of another request has come.
const KEPT: u8 = 1;
/// Some of it has come.
const HEAD: u8 = 2;

/// How a connection is to end, whether it is stuck, and whether it waits for a request.
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
    /// What belongs to the last request has been read to its end.
    read: AtomicBool,
    /// What comes is another protocol's.
    tunnel: AtomicBool,
    /// [`NO_HEAD`], [`KEPT`] or [`HEAD`].
    next: AtomicU8,
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

    /// The head of a request is whole; a body may follow.
    pub(super) fn asked(&self, uploads: bool) {
        self.0.next.store(NO_HEAD, Ordering::Relaxed);
        self.0.read.store(!uploads, Ordering::Relaxed);
    }

    /// So is its body.
    pub(super) fn uploaded(&self) {
        self.0.read.store(true, Ordering::Relaxed);
    }

    /// The protocol changes.
    pub(super) fn tunnels(&self) {
        self.0.tunnel.store(true, Ordering::Relaxed);
    }

    /// The answer to it begins; when it is over, the head of the next one may come.
    pub(super) fn answering(self) -> Answering {
        Answering(self)
    }

    /// All was written, and it waits for another request, of which nothing has come.
    pub(super) fn is_kept(&self) -> bool {
        self.0.next.load(Ordering::Relaxed) == KEPT && !self.is_blocked()
    }

    /// Something came. Is it the start of a head?
    fn begins(&self) -> bool {
        let begins = self.0.next.compare_exchange(KEPT, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if begins {
            self.0.read.store(false, Ordering::Relaxed);
        }
        begins
    }

    fn is_due(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        is(&self.0.broken) || (is(&self.0.running) && !is(&self.0.orderly))
    }
}

/// An answer over HTTP/1, until it is dropped.
pub(super) struct Answering(Reset);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.next.store(KEPT, Ordering::Relaxed);
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    stream: TcpStream,
    reset: Reset,
    taking: Idle,
    head: Idle,
    /// Since it was closed.
    linger: Option<Linger>,
    _place: Place,
}

impl ClientStream {
    /// The client may take nothing of what is written for `write`, and has `header_read` for a head.
    pub(super) fn new(stream: TcpStream, timeouts: &TimeoutSettings, place: Place) -> (Self, Reset) {
        let reset = Reset::default();
        let (taking, head) = (Idle::new(timeouts.write.0), Idle::new(timeouts.header_read.0));
        (Self { stream, reset: reset.clone(), taking, head, linger: None, _place: place }, reset)
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
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            if buf.filled().len() > before && self.reset.begins() {
                self.head.restart();
            }
            return polled;
        }
        if self.reset.0.next.load(Ordering::Relaxed) == HEAD {
            ready!(self.head.poll_over(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request did not come")));
        }
        Poll::Pending
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
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            // All was written: what comes behind this end does not cut it.
            this.reset.orderly();
        }
        if this.reset.0.tunnel.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let uploads = !this.reset.0.read.load(Ordering::Relaxed);
        this.linger.get_or_insert_with(Linger::new).poll_over(&mut this.stream, uploads, cx).map(Ok)
    }
}

pin_project! {
    /// A body that resets its connection when it breaks off.
    pub(super) struct ResetBody<B> {
        #[pin]
        inner: B,
        reset: Option<Reset>,
        // Behind the body: it goes first.
        _answering: Option<Answering>,
    }
}

impl<B> ResetBody<B> {
    /// No `reset`: the protocol itself tells that a body broke off.
    pub(super) fn new(inner: B, reset: Option<Reset>, answering: Option<Answering>) -> Self {
        if let Some(reset) = &reset {
            reset.0.running.store(true, Ordering::Release);
        }
        Self { inner, reset, _answering: answering }
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
