//! The accept loop: HTTP/1.1 and HTTP/2 (by prior knowledge, or ALPN under TLS), with the timers that a server on the
//! open net needs, and a stop that lets running responses end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::stream::{ClientStream, Reset, ResetBody};
use crate::config::ProxySettings;
use crate::visitor::Peer;

/// Room for hyper's own buffer beyond the longest head that is allowed. The same limit holds for what waits to be written: a
/// page that is longer takes a second write, which costs more than all that deckle does to it.
const HEAD_SLACK: usize = 256 * 1024;
/// After an accept that failed (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    listener: TcpListener,
    tls: Option<Arc<ArcSwap<TlsAcceptor>>>,
    settings: &ProxySettings,
    answer: A,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(connection_builder(settings));
    let mut stop = std::pin::pin!(stop);
    let mut connections = JoinSet::new();
    loop {
        let (stream, address) = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(target: "deckle", %error, "A connection could not be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let (stream, reset) = ClientStream::new(stream);
        let peer = Peer { address, secure: tls.is_some() };
        let (builder, answer, watcher) = (Arc::clone(&builder), answer.clone(), graceful.watcher());
        let limit = settings.timeouts.header_read.0;
        let tls = tls.as_ref().map(|tls| TlsAcceptor::clone(&tls.load()));
        connections.spawn(async move {
            match tls {
                None => connection(&builder, (stream, reset), peer, answer, watcher, limit).await,
                Some(tls) => match tokio::time::timeout(limit, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(&builder, (stream, reset), peer, answer, watcher, limit).await,
                    Ok(Err(error)) => tracing::debug!(target: "deckle", %error, "A TLS handshake failed."),
                    Err(_) => tracing::debug!(target: "deckle", "A TLS handshake took too long."),
                },
            }
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(settings.drain.0, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!(target: "deckle", "Some responses did not end in time and were cut off.");
    }
    // Their records are written before the log is closed.
    connections.shutdown().await;
}

fn connection_builder(settings: &ProxySettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.timeouts.header_read.0)
        .max_buf_size(settings.max_header_bytes.0 as usize + settings.max_uri.0 as usize + HEAD_SLACK)
        .max_headers(settings.max_headers * 4);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.max_header_bytes.0 * 2).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(30)));
    builder
}

async fn connection<A: Answer, T>(
    builder: &auto::Builder<TokioExecutor>,
    (stream, reset): (T, Reset),
    peer: Peer,
    answer: A,
    watcher: Watcher,
    first_request_limit: Duration,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(Notify::new());
    let first_request = Arc::clone(&asked);
    let ends = reset.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        asked.notify_one();
        request.extensions_mut().insert(peer);
        let answer = answer.clone();
        let reset = (request.version() == Version::HTTP_10).then(|| reset.clone());
        async move { Ok::<_, Infallible>(answer.answer(request).await?.map(|body| ResetBody::new(body, reset))) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    // hyper's own timer starts with the first bytes of a head: whoever sends none must not hold the connection.
    let silence = async {
        if tokio::time::timeout(first_request_limit, first_request.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let mut connection = std::pin::pin!(watcher.watch(connection));
    let whole = async {
        let ended = connection.as_mut().await;
        ends.orderly();
        ended
    };
    tokio::select! {
        ended = whole => if let Err(error) = ended {
            tracing::debug!(target: "deckle", %error, "A connection ended.");
        },
        () = silence => tracing::debug!(target: "deckle", "A connection asked for nothing and was closed."),
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
