//! The admin listener: a dashboard over the running process, metrics, and probes. Never on the public listener.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the dashboard, whole without scripts |
//! | `/dashboard.css`, `/dashboard.js` | what it is made of; nothing comes from elsewhere |
//! | `/events` | the same figures as server-sent events, every two seconds while they change |
//! | `/snapshot.json` | the same figures once |
//! | `/metrics` | Prometheus, text format 0.0.4; feature `metrics` |
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 while the site behind can be reached, else 503 |
//!
//! # Deployment caveat
//! The figures are of this process and end with it; the log is what stays. It is HTTP without TLS: on an address that is not
//! loopback put it behind something that encrypts.

mod access;
mod document;
mod events;
mod listen;
#[cfg(feature = "metrics")]
mod metrics;
mod page;
mod ready;

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

pub use access::AdminError;
pub(crate) use document::Lookups;
pub(crate) use listen::AdminListener;

use super::places::Admission;
use crate::audit::{Live, Sinks};
use crate::clock::SharedClock;
use crate::page::PlanCounters;
use crate::suspicion::State;
use access::{Access, Entry};
use document::Document;
use events::EventBody;
use page::Page;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// Listeners of `/events` at once.
const LISTENERS: usize = 16;
/// For a request head to arrive.
const HEADER_READ: Duration = Duration::from_secs(10);
/// Longest request head.
const MAX_HEAD: usize = 32 << 10;
/// After an accept that failed, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For so long figures are as good as new.
const FRESH: Duration = Duration::from_secs(1);

type AdminBody = UnsyncBoxBody<Bytes, Infallible>;

/// Tells how the checks by DNS do; `None`: they are switched off.
pub(crate) type AskLookups = Box<dyn Fn() -> Option<Lookups> + Send + Sync>;

/// Where the figures come from.
pub(crate) struct Sources {
    /// What the records say.
    pub(crate) live: Arc<Live>,
    /// Where the records go; the main one of these feeds the figures.
    pub(crate) sinks: Option<Arc<Sinks>>,
    /// The tables of visitors.
    pub(crate) state: Arc<State>,
    /// What plans of known pages do.
    pub(crate) plans: Arc<PlanCounters>,
    /// The checks by DNS.
    pub(crate) lookups: Option<AskLookups>,
    /// Who was not let in.
    pub(crate) admission: Arc<Admission>,
    /// The site behind can be reached, and nobody has asked for a stop.
    pub(crate) ready: Arc<AtomicBool>,
    /// The clock of the whole process.
    pub(crate) clock: SharedClock,
}

impl Sources {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// What the admin listener answers.
struct Admin {
    access: Access,
    sources: Sources,
    page: Page,
    /// The document as JSON, and when it was made.
    json: Mutex<Option<(Duration, Bytes)>>,
    places: Arc<Semaphore>,
}

/// Serves until `shutdown` is done; then connections are cut, for `/events` has no end of its own.
async fn serve(listener: TcpListener, admin: Arc<Admin>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => _ = connections.spawn(connection(stream, Arc::clone(&admin))),
                Err(error) => {
                    tracing::warn!(target: "deckle", %error, "A connection to the dashboard could not be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut shutdown => break,
        }
    }
    connections.shutdown().await;
}

/// One request a connection: an idle one would hold a place.
async fn connection(stream: TcpStream, admin: Arc<Admin>) {
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(Notify::new());
    let first_request = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        first_request.notify_one();
        let answer = admin.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ).max_buf_size(MAX_HEAD).keep_alive(false);
    // hyper's own timer starts with the first bytes of a head.
    let silence = async {
        if tokio::time::timeout(HEADER_READ, asked.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = builder.serve_connection(TokioIo::new(stream), service) => if let Err(error) = ended {
            tracing::debug!(target: "deckle", %error, "A connection to the dashboard ended.");
        },
        () = silence => tracing::debug!(target: "deckle", "A connection to the dashboard asked for nothing."),
    }
}

impl Admin {
    /// Answers by these rules, from these sources.
    fn new(access: Access, sources: Sources) -> Self {
        let (page, json) = (Page::new(), Mutex::new(None));
        Self { access, sources, page, json, places: Arc::new(Semaphore::new(LISTENERS)) }
    }

    fn answer<B>(self: &Arc<Self>, request: &Request<B>) -> Response<AdminBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            // Probes have no token, and learn nothing but this.
            "/healthz" => return text(StatusCode::OK, "ok\n"),
            "/readyz" if self.sources.is_ready() => return text(StatusCode::OK, "ok\n"),
            "/readyz" => return text(StatusCode::SERVICE_UNAVAILABLE, "The site cannot be reached.\n"),
            _ => {}
        }
        match self.access.check(request, self.sources.clock.unix().as_secs()) {
            Entry::Open => self.open(request),
            Entry::Introduced(cookie) => introduced(cookie),
            Entry::Refused(status, why) => {
                let mut response = text(status, why);
                if status == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Bearer realm=\"deckle\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                response
            }
        }
    }

    fn open<B>(self: &Arc<Self>, request: &Request<B>) -> Response<AdminBody> {
        match request.uri().path() {
            "/" => self.dashboard(),
            "/dashboard.css" => whole("text/css; charset=utf-8", include_str!("dashboard.css")),
            "/dashboard.js" => whole("text/javascript; charset=utf-8", include_str!("dashboard.js")),
            "/events" => self.events(request.method()),
            "/snapshot.json" => match self.json() {
                Some(json) => whole("application/json", json),
                None => text(StatusCode::INTERNAL_SERVER_ERROR, "The figures cannot be written.\n"),
            },
            #[cfg(feature = "metrics")]
            "/metrics" => whole(metrics::CONTENT_TYPE, metrics::exposition(&Document::now(&self.sources))),
            _ => text(StatusCode::NOT_FOUND, "There is no such page.\n"),
        }
    }

    fn dashboard(&self) -> Response<AdminBody> {
        match self.page.render(&Document::now(&self.sources)) {
            Ok(page) => whole("text/html; charset=utf-8", page),
            Err(error) => {
                tracing::error!(target: "deckle", %error, "The dashboard could not be made.");
                text(StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be made.\n")
            }
        }
    }

    fn events(self: &Arc<Self>, method: &Method) -> Response<AdminBody> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Too many are listening.\n");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            return response;
        };
        let body = match *method {
            Method::HEAD => Full::default().boxed_unsync(),
            _ => EventBody::new(Arc::clone(self), place).boxed_unsync(),
        };
        respond(StatusCode::OK, "text/event-stream", body)
    }

    /// The document as JSON; made once a second at most, however many listen.
    fn json(&self) -> Option<Bytes> {
        let now = self.sources.clock.elapsed();
        let mut held = self.json.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, json)) = held.as_ref().filter(|(made, _)| now.saturating_sub(*made) < FRESH) {
            return Some(json.clone());
        }
        let json = Bytes::from(serde_json::to_vec(&Document::now(&self.sources)).ok()?);
        *held = Some((now, json.clone()));
        Some(json)
    }
}

/// The token leaves the address line, and the history with it.
fn introduced(cookie: HeaderValue) -> Response<AdminBody> {
    let mut response = text(StatusCode::SEE_OTHER, "/\n");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<AdminBody> {
    respond(status, "text/plain; charset=utf-8", Full::from(text).boxed_unsync())
}

fn whole(kind: &'static str, body: impl Into<Bytes>) -> Response<AdminBody> {
    respond(StatusCode::OK, kind, Full::new(body.into()).boxed_unsync())
}

fn respond(status: StatusCode, kind: &'static str, body: AdminBody) -> Response<AdminBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields(kind);
    response
}

/// Nothing from elsewhere, nowhere else, and not for long.
fn fields(kind: &'static str) -> HeaderMap {
    [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
    .into_iter()
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .collect()
}

#[cfg(test)]
mod tests;
