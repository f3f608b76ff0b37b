//! How far the body of an answer over HTTP/1 may be ahead of its client.
//!
//! hyper asks a body for more until its buffer is full, which has to have room for the longest head, too. So whoever is slow would
//! hold all of that, although a packed page makes its pieces only when they are asked for. A body that has given [`AHEAD`] bytes
//! is therefore asked again when they are written. One that says how much is left at most, and none of it for certain, has
//! all of it in memory: it gives that at once.
//!
//! hyper flushes a stream only when its own buffer is empty, and always tries to when a body has nothing more at the moment. A flush
//! that succeeds thus says that all is written. It comes in the task that asks the body, too, and so wakes that.
//!
//! Under HTTP/2 it is `max_send_buf_size` that says how much waits to be written, and `stall.rs` for how long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::behind;

/// From so many bytes on that were given and are not written, a body waits: a piece of a packed page, some 32 KiB. Fewer are
/// gathered for one write.
const AHEAD: usize = 32 * 1024 - 64;

/// What the bodies of one connection and its stream know of each other. Only its task reads and writes this.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace(Arc<Unwritten>);

#[derive(Debug, Default)]
struct Unwritten {
    /// Bytes of bodies since the last flush.
    given: AtomicUsize,
    /// A body was asked, and may not give.
    waits: AtomicBool,
}

impl Pace {
    fn is_ahead(&self) -> bool {
        self.0.given.load(Ordering::Relaxed) >= AHEAD
    }

    fn gave(&self, bytes: usize) {
        self.0.given.fetch_add(bytes, Ordering::Relaxed);
    }

    fn waits(&self) {
        self.0.waits.store(true, Ordering::Relaxed);
    }

    fn flushed(&self, cx: &Context<'_>) {
        self.0.given.store(0, Ordering::Relaxed);
        if self.0.waits.swap(false, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
        }
    }
}

/// The stream of a connection, as hyper has it: tells when all is written.
#[derive(Debug)]
pub(super) struct PacedStream<T> {
    inner: T,
    pace: Pace,
}

impl<T> PacedStream<T> {
    pub(super) fn new(inner: T, pace: Pace) -> Self {
        Self { inner, pace }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PacedStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PacedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.pace.flushed(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

pin_project! {
    /// A body that waits while it is ahead; without a pace, the body itself.
    ///
    /// One that does not say that more comes may be over: it is asked all the same, so that its end leaves with its last
    /// piece. If it is not over, what it gave is kept here.
    pub(super) struct PacedBody<B>
    where
        B: Body,
    {
        #[pin]
        inner: B,
        next: Option<Result<Frame<B::Data>, B::Error>>,
        pace: Option<Pace>,
    }
}

impl<B: Body<Data = Bytes>> PacedBody<B> {
    pub(super) fn new(inner: B, pace: Option<Pace>) -> Self {
        Self { inner, next: None, pace }
    }
}

impl<B: Body<Data = Bytes>> Body for PacedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(pace) = this.pace else { return this.inner.poll_frame(cx) };
        let hint = this.inner.size_hint();
        let is_here = hint.lower() == 0 && hint.upper().is_some();
        let is_ahead = pace.is_ahead() && !is_here;
        if is_ahead && (this.next.is_some() || hint.lower() > 0) {
            pace.waits();
            return Poll::Pending;
        }
        let next = match this.next.take() {
            Some(next) => Some(next),
            None => ready!(this.inner.poll_frame(cx)),
        };
        if is_ahead && next.is_some() {
            *this.next = next;
            pace.waits();
            return Poll::Pending;
        }
        if let Some(Ok(frame)) = &next {
            pace.gave(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let next = self.next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref());
        behind(next.map_or(0, Bytes::len), &self.inner.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Wake, Waker};

    use http::{Request, Response};
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;

    const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

    /// Asks, and takes as many bytes as it has room for.
    #[derive(Default)]
    struct Client {
        asks: Vec<u8>,
        room: usize,
        taken: Vec<u8>,
        writes: usize,
        waker: Option<Waker>,
    }

    struct Socket(Arc<Mutex<Client>>);

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let asks = std::mem::take(&mut self.0.lock().unwrap().asks);
            if asks.is_empty() {
                return Poll::Pending;
            }
            buf.put_slice(&asks);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut client = self.0.lock().unwrap();
            if client.room == 0 {
                client.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let before = client.taken.len();
            for buf in bufs {
                let length = buf.len().min(client.room);
                client.taken.extend_from_slice(&buf[..length]);
                client.room -= length;
            }
            client.writes += 1;
            Poll::Ready(Ok(client.taken.len() - before))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What a body says of the bytes that are to come.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Tells {
        Nothing,
        Length,
        Most,
    }

    /// Pieces that are made when they are asked for.
    struct Pieces {
        left: usize,
        length: usize,
        tells: Tells,
        made: Arc<AtomicUsize>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            self.made.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.length].into()))))
        }

        fn is_end_stream(&self) -> bool {
            self.tells == Tells::Length && self.left == 0
        }

        fn size_hint(&self) -> SizeHint {
            let (mut hint, bytes) = (SizeHint::default(), (self.left * self.length) as u64);
            match self.tells {
                Tells::Nothing => {}
                Tells::Length => hint.set_exact(bytes),
                Tells::Most => hint.set_upper(bytes),
            }
            hint
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// What hyper serves on one connection, and the client of it.
    struct Connection {
        client: Arc<Mutex<Client>>,
        made: Arc<AtomicUsize>,
        served: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
        woken: Arc<Woken>,
    }

    impl Connection {
        /// So many requests at once, and as many pieces of that length for each.
        fn new(requests: usize, pieces: usize, length: usize, tells: Tells) -> Self {
            let asks = b"GET / HTTP/1.1\r\nHost: news.example\r\n\r\n".repeat(requests);
            let client = Arc::new(Mutex::new(Client { asks, ..Client::default() }));
            let (pace, made) = (Pace::default(), Arc::<AtomicUsize>::default());
            let stream = PacedStream::new(Socket(Arc::clone(&client)), pace.clone());
            let counted = Arc::clone(&made);
            let service = service_fn(move |_: Request<Incoming>| {
                let body = Pieces { left: pieces, length, tells, made: Arc::clone(&counted) };
                let body = PacedBody::new(body, Some(pace.clone()));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            let mut builder = http1::Builder::new();
            builder.max_buf_size(512 * 1024);
            let served = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
            Self { client, made, served, woken: Arc::new(Woken(AtomicBool::new(true))) }
        }

        /// The client takes so much more, and the task runs while it is woken, as a runtime has it.
        fn take(&mut self, bytes: usize) {
            let mut client = self.client.lock().unwrap();
            client.room += bytes;
            if let Some(waker) = client.waker.take() {
                waker.wake();
            }
            drop(client);
            let waker = Waker::from(Arc::clone(&self.woken));
            while self.woken.0.swap(false, Ordering::Relaxed) {
                assert!(self.served.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "it is kept");
            }
        }

        /// Pieces that were made, and bytes of them that were taken. No head has that letter.
        fn counts(&self) -> (usize, usize) {
            let taken = memchr::memchr_iter(b'x', &self.client.lock().unwrap().taken).count();
            (self.made.load(Ordering::Relaxed), taken)
        }

        fn whole(&self) -> (usize, Vec<u8>) {
            let client = self.client.lock().unwrap();
            (client.writes, client.taken.clone())
        }
    }

    #[test]
    fn a_body_that_says_that_more_comes_is_one_piece_ahead() {
        let mut connection = Connection::new(1, 8, AHEAD, Tells::Length);
        connection.take(0);
        assert_eq!(connection.counts(), (1, 0));
        for _ in 0..12 {
            connection.take(50_000);
            let (made, taken) = connection.counts();
            assert!(made * AHEAD <= taken + AHEAD, "{made} {taken}");
        }
        assert_eq!(connection.counts(), (8, 8 * AHEAD));
    }

    #[test]
    fn a_body_that_may_be_over_is_two_pieces_ahead() {
        let mut connection = Connection::new(1, 8, AHEAD, Tells::Nothing);
        connection.take(0);
        assert_eq!(connection.counts(), (2, 0));
        for _ in 0..12 {
            connection.take(50_000);
            let (made, taken) = connection.counts();
            assert!(made * AHEAD <= taken + 2 * AHEAD, "{made} {taken}");
        }
        assert_eq!(connection.counts(), (8, 8 * AHEAD));
        assert!(connection.whole().1.ends_with(LAST_CHUNK));
    }

    #[test]
    fn a_body_that_is_in_memory_leaves_in_one_write() {
        let mut connection = Connection::new(1, 8, AHEAD, Tells::Most);
        connection.take(0);
        assert_eq!(connection.counts(), (8, 0));
        connection.take(1 << 20);
        let (writes, whole) = connection.whole();
        assert!(writes == 1 && whole.ends_with(LAST_CHUNK), "{writes}");
        assert_eq!(connection.counts(), (8, 8 * AHEAD));
    }

    #[test]
    fn small_pieces_and_a_single_one_leave_in_one_write_with_head_and_end() {
        for (pieces, length) in [(1, 10), (6, 5_000), (1, AHEAD), (1, 300_000)] {
            for tells in [Tells::Nothing, Tells::Length, Tells::Most] {
                let mut connection = Connection::new(1, pieces, length, tells);
                connection.take(1 << 20);
                assert_eq!(connection.counts(), (pieces, pieces * length));
                let (writes, whole) = connection.whole();
                assert_eq!((writes, whole.ends_with(LAST_CHUNK)), (1, tells != Tells::Length), "{pieces} of {length}");
            }
        }
    }

    #[test]
    fn who_takes_all_gets_all_and_who_asks_again_meanwhile_is_answered() {
        for tells in [Tells::Nothing, Tells::Length, Tells::Most] {
            for at_once in [7_000, 200_000, 1 << 20] {
                let mut connection = Connection::new(3, 3, 2 * AHEAD, tells);
                for _ in 0..(20 * AHEAD).div_ceil(at_once) {
                    connection.take(at_once);
                }
                assert_eq!(connection.counts(), (9, 18 * AHEAD), "{tells:?} {at_once}");
            }
        }
    }

    #[test]
    fn what_is_kept_here_is_to_come() {
        let (pace, cx) = (Pace::default(), &mut Context::from_waker(Waker::noop()));
        let pieces = Pieces { left: 2, length: AHEAD, tells: Tells::Nothing, made: Arc::default() };
        let mut body = pin!(PacedBody::new(pieces, Some(pace.clone())));
        assert!(body.as_mut().poll_frame(cx).is_ready());
        assert!(body.as_mut().poll_frame(cx).is_pending());
        assert_eq!((body.size_hint().lower(), body.is_end_stream()), (AHEAD as u64, false));
        pace.flushed(cx);
        assert!(body.as_mut().poll_frame(cx).is_ready());
        assert_eq!(body.size_hint().lower(), 0);
    }

    #[test]
    fn without_a_pace_nothing_waits() {
        let cx = &mut Context::from_waker(Waker::noop());
        let pieces = Pieces { left: 5, length: AHEAD, tells: Tells::Length, made: Arc::default() };
        let mut body = pin!(PacedBody::new(pieces, None));
        for _ in 0..5 {
            assert!(body.as_mut().poll_frame(cx).is_ready());
        }
        assert!(body.is_end_stream());
    }
}
