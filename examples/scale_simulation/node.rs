//! One node among several: a whole deckle with tables and a worker of its own, and the log of all.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::secret::{Secret, Secrets};
use deckle::suspicion::{State, StateSize};
use fastrand::Rng;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

const PAGE: &str = "<!doctype html><html lang=en><head><title>t</title></head><body><p>Hello</p></body></html>";

/// What is seen of one response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) status: u16,
    pub(crate) page: bool,
    /// Points of traps, as they were when it was judged.
    pub(crate) trap: f32,
    /// The store could not be used.
    pub(crate) cut_off: bool,
    /// From its arrival to the end.
    pub(crate) took: Duration,
}

/// What all nodes wrote down and nobody has looked at.
#[derive(Debug, Default)]
pub(crate) struct Log {
    seen: Mutex<Vec<Seen>>,
    responses: AtomicUsize,
}

impl Log {
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So many in all.
    pub(crate) fn responses(&self) -> usize {
        self.responses.load(Ordering::Relaxed)
    }
}

/// Writes down for one node.
struct Writer {
    node: usize,
    log: Arc<Log>,
}

impl Sink for Writer {
    fn record(&self, record: AuditRecord) {
        let judged = record.assessment.as_ref();
        let seen = Seen {
            node: self.node,
            ip: record.visitor.as_ref().and_then(|visitor| visitor.address.ip),
            status: record.status.unwrap_or_default(),
            page: judged.is_some_and(|judged| judged.counts_as_page),
            trap: judged.map_or(0.0, |judged| judged.points.trap),
            cut_off: judged.is_some_and(|judged| judged.cut_off),
            took: record.duration,
        };
        self.log.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        self.log.responses.fetch_add(1, Ordering::Relaxed);
    }
}

/// One process among several, as far as can be seen from outside.
pub(crate) struct Node {
    service: BoxCloneSyncService<Request<()>, (), Infallible>,
}

impl Node {
    /// Places in its tables follow from the seed, so that a seed gives the same figures again.
    pub(crate) fn new(
        config: Config,
        node: usize,
        clock: &Arc<ManualClock>,
        log: &Arc<Log>,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let mut key = [0; 16];
        Rng::with_seed(seed ^ node as u64).fill(&mut key);
        let secret = Secret::new(1, &(0..32).collect::<Vec<u8>>())?;
        let layer = DeckleLayer::builder()
            .config(config)
            .secret(Secrets::from(secret))
            .clock(clock.clone())
            .state(Arc::new(State::with_size(clock.clone(), StateSize::Small).keyed(key)))
            .sink(Writer { node, log: Arc::clone(log) })
            .build()?;
        let site = tower::service_fn(|request: Request<()>| async move {
            let (status, kind) = match request.uri().path() {
                "/.env" => (404, "text/html; charset=utf-8"),
                "/style.css" => (200, "text/css"),
                _ => (200, "text/html; charset=utf-8"),
            };
            let builder = Response::builder().status(status).header("content-type", kind);
            Ok::<_, Infallible>(builder.body(Full::new(Bytes::from_static(PAGE.as_bytes()))).unwrap_or_default())
        });
        // Who has the head of an answer is content.
        let service = BoxCloneSyncService::new(layer.layer(site).map_response(drop));
        Ok(Self { service })
    }

    /// Lets a request go its way; what came of it stands in the log.
    pub(crate) fn send(&self, request: Request<()>) {
        tokio::spawn(self.service.clone().oneshot(request));
    }
}
