//! The accept loop: HTTP/1.1 and HTTP/2 (by prior knowledge, or ALPN under TLS), with the timers that a server on the
//! open net needs, and a stop that lets running responses end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::pace::{Pace, PacedBody, PacedStream};
use super::places::{Entrance, Kept};
use super::stall::{PiecedBody, Streams};
use super::stream::{ClientStream, Reset, ResetBody};
use crate::config::ProxySettings;
use crate::visitor::Peer;

/// Room for hyper's own buffer beyond the longest head that is allowed. The same limit holds for what waits to be written, beside
/// that of `pace.rs`: a piece of a page that is longer takes a second write for what follows it, which costs more than all that
/// deckle does to it.
const HEAD_SLACK: usize = 256 * 1024;
/// Most streams of one connection that are open at the same time, and bytes that each may lend to it while the socket is slow.
pub(super) const STREAMS: u32 = 128;
const LENT: usize = 64 * 1024;

/// Answers one request; made anew for each, so that a reload takes effect at once.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The body.
    type Body: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + 'static;
    /// The answer.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;
}

/// Serves until `stop` is done, then lets running responses end for `settings.drain` at most.
pub(super) async fn serve<A: Answer>(
    mut entrance: Entrance,
    tls: Option<Arc<ArcSwap<TlsAcceptor>>>,
    settings: &ProxySettings,
    answer: A,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let settings = Arc::new(settings.clone());
    let mut stop = std::pin::pin!(stop);
    let mut connections = JoinSet::new();
    loop {
        let (stream, address, place) = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = entrance.next() => accepted,
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let (stream, reset) = ClientStream::new(stream, &settings.timeouts, place);
        let peer = Peer { address, secure: tls.is_some() };
        let (settings, answer, watcher) = (Arc::clone(&settings), answer.clone(), graceful.watcher());
        let tls = tls.as_ref().map(|tls| TlsAcceptor::clone(&tls.load()));
        let kept = entrance.kept();
        connections.spawn(async move {
            match tls {
                None => connection(&settings, (stream, reset), peer, answer, watcher, &kept).await,
                Some(tls) => match tokio::time::timeout(settings.timeouts.header_read.0, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(&settings, (stream, reset), peer, answer, watcher, &kept).await,
                    Ok(Err(error)) => tracing::debug!(target: "deckle", %error, "A TLS handshake failed."),
                    Err(_) => tracing::debug!(target: "deckle", "A TLS handshake took too long."),
                },
            }
        });
    }
    drop(entrance);
    let drained = tokio::time::timeout(settings.drain.0, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!(target: "deckle", "Some responses did not end in time and were cut off.");
    }
    // Their records are written before the log is closed.
    connections.shutdown().await;
}

fn connection_builder(settings: &ProxySettings, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // Counts from the end of the answer before; from the first byte of a head it is `stream.rs` that counts.
        .header_read_timeout(settings.timeouts.keep_alive.0)
        .max_buf_size(settings.max_header_bytes.0 as usize + settings.max_uri.0 as usize + HEAD_SLACK)
        .max_headers(settings.max_headers * 4);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.max_header_bytes.0 * 2).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(LENT)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        // A ping waits behind all that is on its way already: who is slow has as long for its answer as for the bytes.
        .keep_alive_timeout(settings.timeouts.write.0);
    builder
}

async fn connection<A: Answer, T>(
    settings: &ProxySettings,
    (stream, reset): (T, Reset),
    peer: Peer,
    answer: A,
    watcher: Watcher,
    kept: &Kept,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &settings.timeouts;
    let streams = Streams::new(limits.write.0);
    let builder = connection_builder(settings, streams.clone());
    let asked = Arc::new(Notify::new());
    let first_request = Arc::clone(&asked);
    let ends = reset.clone();
    let pace = Pace::default();
    let stream = PacedStream::new(stream, pace.clone());
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        asked.notify_one();
        request.extensions_mut().insert(peer);
        let answer = answer.clone();
        let is_http_1 = request.version() < Version::HTTP_2;
        let pace = is_http_1.then(|| pace.clone());
        // Of an upload something may still come when the answer is over.
        let uploads = !request.body().is_end_stream();
        reset.asked(is_http_1 && uploads);
        let ends = reset.clone();
        request.extensions_mut().insert(Uploading(reset.clone()));
        let keeps = is_http_1 && !uploads;
        let keeps = keeps.then(|| reset.clone());
        let is_http_1_0 = request.version() == Version::HTTP_10;
        let reset = is_http_1_0.then(|| reset.clone());
        let is_head = request.method() == Method::HEAD;
        async move {
            let mut response = answer.answer(request).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                ends.tunnels();
            }
            // hyper knows that over HTTP/1 alone.
            let is_bare = !is_http_1 && (is_head || is_without_content(response.status()));
            tell_length(&mut response, is_bare && is_head, is_http_1_0);
            let keeps = keeps.filter(|_| response.status() != StatusCode::SWITCHING_PROTOCOLS).map(Reset::answering);
            let sent = |body| PacedBody::new(PiecedBody::new(ResetBody::new(body, reset, keeps), is_bare), pace);
            Ok::<_, Infallible>(response.map(sent))
        }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    // hyper's own timer starts with the first bytes of a head: whoever sends none must not hold the connection. Over HTTP/2 it has
    // none for a connection without streams, whose client answers pings.
    let silence = async {
        if tokio::time::timeout(limits.header_read.0, first_request.notified()).await.is_ok() {
            streams.idle(limits.keep_alive.0).await;
            // The last bytes of streams that are over may still be on their way to somebody slow.
            while ends.is_blocked() {
                streams.idle(limits.keep_alive.0).await;
            }
        }
    };
    let mut connection = std::pin::pin!(watcher.watch(connection));
    let whole = async {
        let ended = connection.as_mut().await;
        if ended.as_ref().map_or_else(|error| is_between_answers(error.as_ref()), |()| true) {
            ends.orderly();
        }
        ended
    };
    // One whose place is needed ends while it waits for a request. It queues when an answer has just ended, which `whole` sees first.
    let mut turn = std::pin::pin!(None);
    let leaves = poll_fn(|cx| {
        if !ends.is_kept() {
            turn.set(None);
            return Poll::Pending;
        }
        if turn.is_none() {
            turn.set(Some(kept.turn()));
        }
        turn.as_mut().as_pin_mut().map_or(Poll::Pending, |turn| turn.poll(cx))
    });
    tokio::select! {
        biased;
        ended = whole => if let Err(error) = ended {
            tracing::debug!(target: "deckle", %error, "A connection ended.");
        },
        () = silence => tracing::debug!(target: "deckle", "A connection asked for nothing and was closed."),
        () = leaves => {
            ends.orderly();
            tracing::debug!(target: "deckle", "A connection that was kept made room for another one.");
        }
    }
}

/// Nothing is on its way: a connection that was kept asked for nothing, or for nothing that can be read.
fn is_between_answers(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_timeout() || error.is_parse())
}

/// With a request: what is to be told when its body has been read.
#[derive(Debug, Clone)]
pub(super) struct Uploading(Reset);

impl Uploading {
    /// It has.
    pub(super) fn over(&self) {
        self.0.uploaded();
    }
}

fn is_without_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The length of what does not leave (RFC 9110 §9.3.2); and without one, HTTP/1.0 keeps no connection: its close is the end.
fn tell_length<B: Body>(response: &mut Response<B>, is_bare: bool, is_http_1_0: bool) {
    if response.status() == StatusCode::NO_CONTENT {
        // It has none (RFC 9110 §8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if response.headers().contains_key(header::CONTENT_LENGTH) {
        return;
    }
    match response.body().size_hint().exact() {
        Some(length) if is_bare && length > 0 => {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if is_http_1_0 && !response.body().is_end_stream() => *response.version_mut() = Version::HTTP_10,
        _ => {}
    }
}

/// TLS from PEM files; both or none.
pub(super) fn tls_acceptor(settings: &ProxySettings) -> Result<Option<TlsAcceptor>, super::ProxyError> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let refuse = |message: String| super::ProxyError::Tls { message };
    let (cert, key) = match (&settings.tls.cert, &settings.tls.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => return Err(refuse("`proxy.tls.cert` and `proxy.tls.key` are needed both".to_owned())),
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| refuse(format!("`{cert}`: {e}")))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| refuse(format!("`{key}`: {e}")))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|e| refuse(e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, ready};

    use http_body::Frame;
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http2;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;
    use tokio::time::{Sleep, timeout};

    use super::*;

    const FRAME: usize = 100_000;
    /// In virtual time.
    const PATIENCE: Duration = Duration::from_secs(3_600);

    /// So many frames, with a pause before each but the first.
    struct Reply {
        left: usize,
        pause: Duration,
        sleep: Option<Pin<Box<Sleep>>>,
        gone: Option<Arc<Notify>>,
        given: Arc<AtomicUsize>,
    }

    impl Body for Reply {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            self.sleep = (!self.pause.is_zero()).then(|| Box::pin(tokio::time::sleep(self.pause)));
            self.left -= 1;
            self.given.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; FRAME].into()))))
        }
    }

    impl Drop for Reply {
        fn drop(&mut self) {
            if let Some(gone) = &self.gone {
                gone.notify_one();
            }
        }
    }

    /// Tells when what it answered for `/endless` is gone, and counts the frames of all that it answers.
    #[derive(Clone, Default)]
    struct Site(Arc<Notify>, Arc<AtomicUsize>);

    impl Answer for Site {
        type Body = Reply;

        async fn answer(&self, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
            let mut response = Response::new(());
            if request.uri().path() == "/none" {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            let (left, pause, gone) = match request.uri().path() {
                "/endless" => (usize::MAX, 0, Some(Arc::clone(&self.0))),
                "/events" => (5, 300, None),
                _ => (1, 0, None),
            };
            let (pause, given) = (Duration::from_secs(pause), Arc::clone(&self.1));
            Ok(response.map(|()| Reply { left, pause, sleep: None, gone, given }))
        }
    }

    type Client = http2::SendRequest<Empty<Bytes>>;

    /// The client's end of a connection that takes 64 KiB before it is read.
    fn connect(site: Site) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let graceful = GracefulShutdown::new();
            let peer = Peer { address: ([127, 0, 0, 1], 1).into(), secure: false };
            let stream = (far, Reset::default());
            connection(&ProxySettings::default(), stream, peer, site, graceful.watcher(), &Kept::new()).await;
        });
        near
    }

    /// A client of HTTP/2 that takes 16 KiB of each stream before it is read, and answers pings; and when its connection ends.
    async fn client(site: Site) -> (Client, JoinHandle<()>) {
        let near = connect(site);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(16 * 1024);
        let (client, connection) = builder.handshake(TokioIo::new(near)).await.unwrap();
        let ended = tokio::spawn(async move {
            let _ = connection.await;
        });
        (client, ended)
    }

    async fn get(client: &mut Client, path: &str) -> Incoming {
        let request = Request::get(format!("http://news.example{path}")).body(Empty::new()).unwrap();
        client.send_request(request).await.unwrap().into_body()
    }

    async fn length(body: Incoming) -> usize {
        body.collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_takes_is_reset_and_takes_no_other_with_it() {
        let site = Site::default();
        let (mut client, _ended) = client(site.clone()).await;
        let mut stalled = get(&mut client, "/endless").await;
        assert!(stalled.frame().await.unwrap().is_ok());
        timeout(PATIENCE, site.0.notified()).await.expect("the body is dropped, and all that hangs on it");
        assert_eq!(length(get(&mut client, "/quick").await).await, FRAME, "nothing else has noticed");
        let mut taken = 0;
        let end = loop {
            match timeout(PATIENCE, stalled.frame()).await.unwrap() {
                Some(Ok(frame)) => taken += frame.into_data().unwrap().len(),
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "never a clean end");
        assert!(taken < FRAME, "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn over_http_2_what_has_no_content_has_none_whatever_stands_behind_it() {
        let (mut client, _ended) = client(Site::default()).await;
        assert_eq!(length(get(&mut client, "/none").await).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_little_and_a_site_that_pauses_are_waited_for() {
        let (mut client, _ended) = client(Site::default()).await;
        let events = tokio::spawn(length(get(&mut client, "/events").await));
        let mut slow = get(&mut client, "/endless").await;
        for _ in 0..40 {
            // Room is given back for two pieces at a time.
            tokio::time::sleep(Duration::from_secs(20)).await;
            slow.frame().await.unwrap().unwrap();
        }
        assert_eq!(events.await.unwrap(), 5 * FRAME);
    }

    #[tokio::test(start_paused = true)]
    async fn over_http_1_a_body_is_asked_for_more_when_all_it_gave_is_written() {
        let site = Site::default();
        let mut client = connect(site.clone());
        client.write_all(b"GET /endless HTTP/1.1\r\nHost: news.example\r\n\r\n").await.unwrap();
        for (taken, given) in [(0, 2), (5, 7), (5, 12)] {
            client.read_exact(&mut vec![0; taken * FRAME]).await.unwrap();
            // Virtual time passes when nobody has anything to do.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(site.1.load(Ordering::Relaxed), given, "one is being written, and one may have been the end");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http_2_is_closed_when_nothing_more_is_asked() {
        let (mut client, ended) = client(Site::default()).await;
        let events = get(&mut client, "/events").await;
        assert_eq!(length(events).await, 5 * FRAME, "as long as something is");
        timeout(PATIENCE, ended).await.expect("it is closed").unwrap();
    }
}
