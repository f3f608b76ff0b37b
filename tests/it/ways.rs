//! The ways on which an exchange runs: the proxy over HTTP/1.1 and over HTTP/2, and the layer alone in an axum server.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::audit::FileSink;
use deckle::config::Config;
use deckle::secret::{Secret, Secrets};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Answer, Deckle, PATIENCE, Seen, TempDir, Upstream, read_answer, read_log, request_from};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 to the proxy.
    Http1,
    /// HTTP/2 to the proxy, by prior knowledge.
    Http2,
    /// HTTP/1.1 to the proxy, after so many others that a page is known, and packed where it can be.
    Packed,
    /// HTTP/1.1 to an axum server with the layer.
    Layer,
}

impl Way {
    /// Without feature `axum` the layer does not learn from axum who asks.
    pub(crate) const ALL: &'static [Self] = if cfg!(feature = "axum") {
        &[Self::Http1, Self::Http2, Self::Packed, Self::Layer]
    } else {
        &[Self::Http1, Self::Http2, Self::Packed]
    };

    /// `request`: method, target and header lines.
    pub(crate) fn ask(self, client: Ipv4Addr, server: SocketAddr, request: &str) -> Answer {
        let (line, fields) = request.split_once('\n').unwrap_or((request, ""));
        match self {
            Self::Http1 | Self::Packed | Self::Layer => {
                let fields: String = fields.lines().map(|l| format!("{}\r\n", l.trim())).collect();
                let raw = format!("{line} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n{fields}\r\n");
                let stream = request_from(client, server, &raw);
                if matches!(stream.peek(&mut [0]), Ok(0)) { nothing() } else { read_answer(stream) }
            }
            Self::Http2 => over_http_2(client, server, line, fields),
        }
    }
}

/// deckle in front of a site, or around it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    running: Running,
}

enum Running {
    Program(Deckle),
    Layer { runtime: Runtime, sink: Arc<FileSink>, log: TempDir },
}

impl Server {
    /// `site` gives status and header lines, and the body.
    pub(crate) fn start(
        way: Way,
        config: &str,
        site: impl Fn(Seen) -> (String, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        match way {
            Way::Http1 | Way::Http2 | Way::Packed => Self::proxy(config, site),
            Way::Layer => Self::layer(config, site),
        }
    }

    fn proxy(config: &str, site: impl Fn(Seen) -> (String, Vec<u8>) + Send + Sync + 'static) -> Self {
        let upstream = Upstream::start(move |request, stream| {
            let (head, body) = site(request.clone());
            let _ = stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(&body);
        });
        let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
        Self { address: deckle.address, running: Running::Program(deckle) }
    }

    fn layer(config: &str, site: impl Fn(Seen) -> (String, Vec<u8>) + Send + Sync + 'static) -> Self {
        let log = TempDir::new();
        let mut config = Config::from_toml(config).unwrap();
        config.audit.dir = log.path().join("log").display().to_string();
        let sink = Arc::new(FileSink::open(&config.audit).unwrap());
        let secret = Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap();
        let builder = DeckleLayer::builder().config(config).secret(Secrets::from(secret)).sink(Arc::clone(&sink));
        let site = Arc::new(site);
        let handler = move |request: axum::extract::Request| {
            let site = Arc::clone(&site);
            async move {
                let (head, body) = request.into_parts();
                let target = head.uri.path_and_query().unwrap().to_string();
                let body = body.collect().await.unwrap().to_bytes().to_vec();
                let (head, body) = site(Seen { target, headers: by_name(&head.headers), body });
                scripted(&head, body)
            }
        };
        let app = axum::Router::new().fallback(handler).layer(builder.build().unwrap());
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { address, running: Running::Layer { runtime, sink, log } }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        match &self.running {
            Running::Program(deckle) => deckle.log_dir(),
            Running::Layer { log, .. } => log.path().join("log"),
        }
    }

    /// Stops it, and gives every line of the log.
    pub(crate) fn stop(self) -> (Vec<serde_json::Value>, TempDir) {
        let dir = self.log_dir();
        match self.running {
            Running::Program(deckle) => deckle.stop(),
            Running::Layer { runtime, sink, log } => {
                drop(runtime);
                sink.close();
                (read_log(&dir), log)
            }
        }
    }
}

/// What breaks off at once may take its head along.
fn nothing() -> Answer {
    Answer { status: 0, headers: BTreeMap::new(), body: Vec::new(), complete: false }
}

/// The answer of a handler, from status and header lines.
fn scripted(head: &str, body: Vec<u8>) -> Response<Body> {
    let (line, fields) = head.split_once("\r\n").unwrap();
    let mut response = Response::builder().status(line.split(' ').next().unwrap());
    for (name, value) in fields.lines().filter_map(|l| l.split_once(": ")) {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// On a connection of its own, from this address.
fn over_http_2(client: Ipv4Addr, server: SocketAddr, line: &str, fields: &str) -> Answer {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(format!("http://news.example{target}"));
    for (name, value) in fields.lines().filter_map(|l| l.trim().split_once(": ")) {
        // HTTP/2 has the one no more, and the other as `:authority`.
        if !["connection", "host"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Empty::new()).unwrap();
    let exchange = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((client, 0))).unwrap();
        let stream = TokioIo::new(socket.connect(server).await.unwrap());
        let (mut sender, connection) =
            http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let (head, mut rest) = match sender.send_request(request).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                assert!(format!("{error:?}").contains("Reset("), "{error:?}");
                return nothing();
            }
        };
        let mut body = Vec::new();
        let complete = loop {
            match rest.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        body.extend_from_slice(data);
                    }
                }
            }
        };
        Answer { status: head.status.as_u16(), headers: by_name(&head.headers), body, complete }
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() })
}
