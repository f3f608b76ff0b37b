//! Upgraded connections: both halves are copied, nothing in them is looked at.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::places::Place;

/// The protocol that a request wants to change to, if that can be tunnelled: WebSocket over HTTP/1.1 (RFC 6455), and
/// nothing that could carry requests past every layer.
pub(super) fn wanted(request: &Request<Incoming>) -> Option<HeaderValue> {
    if request.version() != Version::HTTP_11 {
        return None;
    }
    let kind = request.headers().get(header::UPGRADE)?;
    let asks = request
        .headers()
        .get_all(header::CONNECTION)
        .iter()
        .any(|v| v.to_str().is_ok_and(|l| l.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"))));
    (asks && kind.as_bytes().eq_ignore_ascii_case(b"websocket")).then(|| kind.clone())
}

/// Copies between the two until one ends, or nothing moves for `idle`; so long it has its place with the site.
pub(super) fn tunnel(client: OnUpgrade, upstream: OnUpgrade, idle: Duration, place: Arc<Place>) {
    tokio::spawn(async move {
        let _place = place;
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(target: "deckle", %error, "An upgrade did not come about.");
                return;
            }
        };
        let mut client = Watched::new(TokioIo::new(client), idle);
        let mut upstream = Watched::new(TokioIo::new(upstream), idle);
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
            tracing::debug!(target: "deckle", %error, "A tunnel ended.");
        }
    });
}

/// A stream that fails when nothing was read from it for too long.
struct Watched<T> {
    inner: T,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl<T> Watched<T> {
    fn new(inner: T, idle: Duration) -> Self {
        Self { inner, idle, sleep: Box::pin(tokio::time::sleep(idle)) }
    }

    fn moved(&mut self) {
        let deadline = Instant::now() + self.idle;
        self.sleep.as_mut().reset(deadline);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending if self.sleep.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "nothing moved")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if written.is_ready() {
            self.moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
