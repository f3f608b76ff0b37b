//! deckle around the site, in virtual time.
//!
//! Two clocks move together: deckle's own, by which it judges, and tokio's, on which it holds answers back. One request
//! is on its way at a time. An answer that is held back costs its client that time, and the rest of the world none.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::action::Decision;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::layer::Deckle;
use deckle::secret::{Secret, Secrets};
use deckle::suspicion::{Signal, State};
use deckle::visitor::{DnsVerifier, NoAnswer, Resolve};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use ipnet::IpNet;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::setup::World;
use crate::site::Site;
use crate::store::Store;
use crate::tally::{SLOW, strength};

/// One deckle and its time.
#[derive(Debug)]
pub(crate) struct Rig {
    /// Its nodes; they take turns.
    services: Vec<Deckle<Site>>,
    turn: usize,
    /// tokio's clock stands still unless it is moved.
    paused: bool,
    clock: Arc<ManualClock>,
    now: Duration,
    began: Instant,
    last: Arc<LastRecord>,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) action: &'static str,
    /// How long it was held back.
    pub(crate) delay: Duration,
    /// The rule and the groups of points, where something was done.
    pub(crate) reason: String,
    /// The log names a cohort.
    pub(crate) cohort: bool,
}

/// The DNS, as far as crawlers are looked up in it: Google names its addresses, and the owner of any other has named it
/// as Google does. Only the first of the two knows the name forward.
struct Zone(Vec<IpNet>);

impl Zone {
    fn name(ip: IpAddr) -> String {
        format!("crawl-{}.googlebot.com", ip.to_string().replace(['.', ':'], "-"))
    }
}

impl Resolve for Zone {
    async fn names(&self, ip: IpAddr) -> Result<Vec<String>, NoAnswer> {
        Ok(vec![Self::name(ip)])
    }

    async fn addresses(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> {
        let known = self.0.iter().any(|net| net.contains(&like)) && name == Self::name(like);
        if known { Ok(vec![like]) } else { Err(NoAnswer::NoRecords) }
    }
}

/// Of the request that was written down last: the reason, and whether the log names a cohort.
#[derive(Debug, Default)]
struct LastRecord(Mutex<(String, bool)>);

impl Sink for LastRecord {
    fn record(&self, record: Box<AuditRecord>) {
        let signals = record.assessment.iter().flat_map(|assessment| &assessment.signals);
        let cohort = signals.into_iter().any(|fired| fired.signal == Signal::Cohort);
        if let Ok(mut last) = self.0.lock() {
            last.1 = cohort;
        }
        let Some(decision) = record.decision.filter(|d| strength(d.action.code()).is_none_or(|s| s >= SLOW)) else {
            return;
        };
        let points = record.assessment.map(|assessment| assessment.points.codes()).unwrap_or_default();
        let groups: Vec<&str> = points.iter().filter_map(|code| code.split(':').next()).collect();
        if let Ok(mut last) = self.0.lock() {
            last.0 = format!("{} ({})", decision.rule, groups.join(" "));
        }
    }
}

impl Rig {
    pub(crate) fn new(
        world: &World,
        site: &Site,
        store: Option<&Store>,
        googlebot: &[IpNet],
        seed: u64,
    ) -> Result<Self> {
        let clock = ManualClock::at(world.begins);
        let last = Arc::new(LastRecord::default());
        // Secret and key come from the seed, so that a seed gives the same figures again.
        let mut bytes = [0; 32];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        let secret = Secret::new(1, &bytes)?;
        let mut key = [0; 16];
        fastrand::Rng::with_seed(!seed).fill(&mut key);
        let mut config = world.config.clone();
        config.shared.url = store.map(Store::url);
        let node = || {
            let state = State::with_size(clock.clone(), config.suspicion.state.size);
            let zone = Arc::new(Zone(googlebot.to_vec()));
            let dns = DnsVerifier::with_resolver(&config.visitor.verify, clock.clone(), zone)?;
            let layer = DeckleLayer::builder()
                .config(config.clone())
                .dns(dns)
                .secret(Secrets::from(secret.clone()))
                .clock(clock.clone())
                .state(Arc::new(state.keyed(key)))
                .sink(Arc::clone(&last))
                .build()?;
            anyhow::Ok(layer.layer(site.clone()))
        };
        let services = (0..if store.is_some() { 2 } else { 1 }).map(|_| node()).collect::<Result<_>>()?;
        let (now, began, paused) = (Duration::ZERO, Instant::now(), store.is_none());
        Ok(Self { services, turn: 0, paused, clock, now, began, last })
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Moves both clocks. tokio's may be ahead by what answers were held back.
    pub(crate) async fn advance_to(&mut self, at: Duration) {
        self.clock.advance(at.saturating_sub(self.now));
        self.now = self.now.max(at);
        if !self.paused {
            return;
        }
        let behind = (self.began + self.now).saturating_duration_since(Instant::now());
        if !behind.is_zero() {
            tokio::time::advance(behind).await;
        }
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn send(&mut self, request: Request<()>) -> Result<Answer> {
        self.turn = (self.turn + 1) % self.services.len();
        let service = self.services.get_mut(self.turn).ok_or_else(|| anyhow!("no node"))?;
        let Ok(service) = ServiceExt::<Request<()>>::ready(service).await;
        let Ok(response) = service.call(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| anyhow!("a body broke off: {error:?}"))?.to_bytes();
        let decision = head.extensions.get::<Decision>();
        let (reason, cohort) = self.last.0.lock().map(|mut last| std::mem::take(&mut *last)).unwrap_or_default();
        Ok(Answer {
            status: head.status.as_u16(),
            action: decision.map_or("allow", |decision| decision.action.code()),
            delay: decision.and_then(|decision| decision.delay).unwrap_or_default(),
            headers: head.headers,
            body,
            reason,
            cohort,
        })
    }
}

impl Answer {
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, 402 | 403 | 429 | 503)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    pub(crate) fn is_html(&self) -> bool {
        self.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    }

    /// Where it leads instead.
    pub(crate) fn redirect(&self) -> Option<String> {
        let target = self.headers.get(header::LOCATION)?.to_str().ok()?;
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| crate::document::on_site(target)).flatten()
    }

    /// Seconds of `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}
