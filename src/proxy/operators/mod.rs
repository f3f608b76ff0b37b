//! What operators of robots publish about them, fetched beside the requests: address ranges (`visitor.ranges`) and keys
//! (`visitor.botauth`).
//!
//! No request starts a fetch or waits for one. One source at a time, ten a minute at most. What cannot be fetched or
//! cannot be right changes nothing: an outage must not make a search engine a liar. Only keys are given up when nobody has
//! confirmed them for a week.

mod fetch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use tokio::time::Instant;

use crate::clock::SharedClock;
#[cfg(feature = "web-bot-auth")]
use crate::visitor::{Directories, Directory, KEYS_MAX_BYTES, KEYS_PATH};
use crate::visitor::{RangeSettings, Ranges, Settings, VisitorError};
use fetch::fetch;
pub(super) use fetch::{Wanted, fetch as fetch_document, fetcher};

/// Between two sources.
const PAUSE: Duration = Duration::from_secs(6);
/// After a failure, and at the least.
const SOON: Duration = Duration::from_secs(600);
/// Keys are asked for again at the latest.
#[cfg(feature = "web-bot-auth")]
const DAY: Duration = Duration::from_secs(86_400);
/// For so long keys are believed that nobody confirms.
#[cfg(feature = "web-bot-auth")]
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// A list of ranges.
const LIST: Wanted = Wanted { media_type: None, most: 1 << 20 };
#[cfg(feature = "web-bot-auth")]
const KEYS: Wanted =
    Wanted { media_type: Some("application/http-message-signatures-directory+json"), most: KEYS_MAX_BYTES };

/// What is known from operators; outlives a reload.
pub(super) struct Operators {
    held: Mutex<Held>,
    clock: SharedClock,
}

/// What requests are checked with.
#[derive(Debug, Clone)]
pub(super) struct Held {
    settings: RangeSettings,
    pub(super) ranges: Arc<ArcSwap<Ranges>>,
    #[cfg(feature = "web-bot-auth")]
    pub(super) directories: Arc<Directories>,
}

/// Something that is published as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    /// A set of ranges, in one document or several.
    Ranges { set: String, addresses: Vec<String> },
    /// The keys of an origin.
    #[cfg(feature = "web-bot-auth")]
    Keys { origin: String },
}

#[derive(Debug)]
struct Due {
    at: Instant,
    failed: bool,
    #[cfg(feature = "web-bot-auth")]
    confirmed: Option<Instant>,
}

impl Operators {
    /// # Errors
    /// As [`Operators::next`].
    pub(super) fn new(settings: &Settings, clock: SharedClock) -> Result<Self, VisitorError> {
        let held = Held {
            settings: settings.ranges.clone(),
            ranges: Ranges::live(&settings.ranges)?,
            #[cfg(feature = "web-bot-auth")]
            directories: Arc::new(directories(settings)?),
        };
        Ok(Self { held: Mutex::new(held), clock })
    }

    /// What the new settings ask for; what they have in common with the old ones stays. Nothing is changed yet.
    ///
    /// # Errors
    /// [`VisitorError`] for settings that do not hold.
    pub(super) fn next(&self, settings: &Settings) -> Result<Held, VisitorError> {
        let mut held = self.held();
        // A file of one's own is read again: that is what a reload is for.
        if held.settings != settings.ranges || settings.ranges.file.is_some() {
            held.ranges = Ranges::live(&settings.ranges)?;
            held.settings = settings.ranges.clone();
        }
        #[cfg(feature = "web-bot-auth")]
        {
            let next = directories(settings)?;
            if !next.origins().eq(held.directories.origins()) {
                held.directories = Arc::new(next.continuing(&held.directories));
            }
        }
        Ok(held)
    }

    /// From now on this is kept up to date.
    pub(super) fn follow(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    fn held(&self) -> Held {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches what is due, for ever.
    pub(super) async fn keep_current(&self) {
        let fetcher = match fetcher() {
            Ok(fetcher) => fetcher,
            Err(error) => {
                tracing::warn!(target: "deckle", %error, "What operators publish is not fetched: TLS cannot be set up.");
                return;
            }
        };
        let mut schedule = Schedule { due: HashMap::new(), ranges: self.held().ranges };
        let mut tick = tokio::time::interval(PAUSE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.step(&fetcher, &mut schedule).await;
        }
    }

    /// Fetches what has been due for longest, if anything is.
    async fn step<C>(&self, client: &Client<C, Empty<Bytes>>, schedule: &mut Schedule)
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let held = self.held();
        let Some(source) = schedule.next(&held, Instant::now()) else { return };
        let outcome = held.refresh(client, &source, self.clock.unix().as_secs()).await;
        let before = schedule.due.remove(&source);
        // What was put into lists that a reload has replaced meanwhile is asked for again.
        if Arc::ptr_eq(&self.held().ranges, &held.ranges) || !matches!(source, Source::Ranges { .. }) {
            let after = held.after(&source, outcome, before, Instant::now());
            schedule.due.insert(source, after);
        }
    }
}

/// When what is asked for again.
struct Schedule {
    due: HashMap<Source, Due>,
    /// The lists that it is about.
    ranges: Arc<ArcSwap<Ranges>>,
}

impl Schedule {
    fn next(&mut self, held: &Held, now: Instant) -> Option<Source> {
        let sources = held.sources();
        // New lists hold nothing that was fetched.
        let replaced = !Arc::ptr_eq(&self.ranges, &held.ranges);
        self.due.retain(|source, _| sources.contains(source) && !(replaced && matches!(source, Source::Ranges { .. })));
        self.ranges = Arc::clone(&held.ranges);
        let at = |source: &Source| self.due.get(source).map(|due| due.at);
        let next = sources.into_iter().min_by_key(|source| at(source))?;
        at(&next).is_none_or(|at| at <= now).then_some(next)
    }
}

impl Held {
    fn sources(&self) -> Vec<Source> {
        let mut all = Vec::new();
        #[cfg(feature = "web-bot-auth")]
        all.extend(self.directories.origins().map(|origin| Source::Keys { origin: origin.to_owned() }));
        if !self.settings.refresh.0.is_zero() {
            let ranges = self.ranges.load();
            all.extend(
                ranges
                    .sources()
                    .map(|(set, addresses)| Source::Ranges { set: set.to_owned(), addresses: addresses.to_vec() }),
            );
        }
        all
    }

    /// Fetches one and puts it in its place. When it is to be asked for again.
    ///
    /// # Errors
    /// What went wrong; everything is as it was.
    async fn refresh<C>(&self, client: &Client<C, Empty<Bytes>>, source: &Source, now: u64) -> Result<Duration, String>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        match source {
            Source::Ranges { set, addresses } => {
                let mut documents = Vec::new();
                for address in addresses {
                    let came = fetch(client, address, LIST).await;
                    documents.push(came.map_err(|error| format!("{address}: {error}"))?.body);
                }
                self.ranges.store(Arc::new(self.ranges.load().with_published(set, &documents, now)?));
                Ok(self.settings.refresh.0)
            }
            #[cfg(feature = "web-bot-auth")]
            Source::Keys { origin } => {
                let came = fetch(client, &format!("{origin}{KEYS_PATH}"), KEYS).await?;
                let directory = Directory::parse(&came.body).map_err(|error| error.to_string())?;
                self.directories.replace(origin, directory);
                Ok(came.max_age.unwrap_or(DAY).clamp(SOON, DAY))
            }
        }
    }

    /// What follows from how it went.
    fn after(&self, source: &Source, outcome: Result<Duration, String>, before: Option<Due>, now: Instant) -> Due {
        let wait = |time: Duration| time.mul_f64(f64::from(fastrand::u32(90..=110)) / 100.0);
        #[cfg(feature = "web-bot-auth")]
        let confirmed = before.as_ref().and_then(|due| due.confirmed);
        match outcome {
            Ok(time) => {
                tracing::debug!(target: "deckle", ?source, "What an operator publishes is up to date.");
                Due {
                    at: now + wait(time),
                    failed: false,
                    #[cfg(feature = "web-bot-auth")]
                    confirmed: Some(now),
                }
            }
            Err(error) => {
                // Once, not every ten minutes.
                if before.is_none_or(|due| !due.failed) {
                    tracing::warn!(target: "deckle", ?source, error, "What an operator publishes cannot be had; what was known stays.");
                }
                #[cfg(feature = "web-bot-auth")]
                if let Source::Keys { origin } = source
                    && confirmed.is_some_and(|at| now.duration_since(at) > WEEK)
                {
                    tracing::warn!(target: "deckle", origin, "Nobody has confirmed these keys for a week; they are given up.");
                    self.directories.replace(origin, Directory::default());
                }
                Due {
                    at: now + wait(SOON),
                    failed: true,
                    #[cfg(feature = "web-bot-auth")]
                    confirmed,
                }
            }
        }
    }
}

#[cfg(feature = "web-bot-auth")]
fn directories(settings: &Settings) -> Result<Directories, VisitorError> {
    Directories::new(&settings.botauth.directories).map_err(|message| VisitorError::BotAuth { message })
}

#[cfg(feature = "web-bot-auth")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::{TcpListener, TcpStream};
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::clock::SystemClock;
    use crate::unit::Span;
    use crate::visitor::{IdentifyLayer, Peer, Visitor};

    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"rR3iT-FVuAZKKW-MuCW-hjEuDHguS3btQVa0bRZS9YM"}]}"#;

    fn settings(directories: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.botauth.directories = directories.iter().map(|&text| text.to_owned()).collect();
        settings
    }

    fn keys(held: &Held, origin: &str) -> Option<usize> {
        held.directories.keyids(origin).map(|ids| ids.len())
    }

    /// Everything that is asked for, wherever, comes from one server.
    async fn operators_of_the_net() -> Client<impl Connect + Clone + Send + Sync + 'static, Empty<Bytes>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                    Ok::<_, std::convert::Infallible>(answer(
                        request.headers()["host"].to_str().unwrap(),
                        request.uri().path(),
                    ))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let connector = tower::service_fn(move |_: http::Uri| {
            Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
        });
        Client::builder(TokioExecutor::new()).build(connector)
    }

    fn answer(host: &str, path: &str) -> Response<Full<Bytes>> {
        let answer = Response::builder();
        let (answer, body) = match (host, path) {
            ("crawler.example", KEYS_PATH) => {
                let answer = answer.header("content-type", "application/http-message-signatures-directory+json");
                (answer.header("cache-control", "max-age=60"), KEYS.to_owned())
            }
            ("openai.com", "/gptbot.json" | "/searchbot.json" | "/chatgpt-user.json") => {
                let nets: Vec<String> = (0..60).map(|n| format!("{{\"ipv4Prefix\":\"198.51.{n}.0/25\"}}")).collect();
                (answer, format!("{{\"prefixes\":[{}]}}", nets.join(",")))
            }
            _ => (answer.status(404), String::new()),
        };
        answer.body(Full::new(body.into())).unwrap()
    }

    #[tokio::test]
    async fn keys_and_ranges_come_from_where_operators_publish_them() {
        let client = operators_of_the_net().await;
        let list = settings(&["https://crawler.example", "https://gone.example"]);
        let operators = Operators::new(&list, SystemClock::shared()).unwrap();
        let held = operators.held();
        assert_eq!(held.sources().len(), 2 + 6);
        let mut outcomes = HashMap::new();
        let now = SystemClock::shared().unix().as_secs();
        for source in held.sources() {
            let name = match &source {
                Source::Ranges { set, .. } => set.clone(),
                Source::Keys { origin } => origin.clone(),
            };
            outcomes.insert(name, held.refresh(&client, &source, now).await);
        }
        assert_eq!(outcomes["https://crawler.example"], Ok(SOON), "not sooner than that");
        assert_eq!(keys(&held, "https://crawler.example"), Some(1));
        assert_eq!(keys(&held, "https://gone.example"), None);
        assert!(outcomes["https://gone.example"].as_ref().unwrap_err().contains("404"));
        assert_eq!(outcomes["openai"], Ok(Duration::from_secs(86_400)));
        assert!(
            outcomes["bing"].as_ref().unwrap_err().contains("https://www.bing.com/toolbox/bingbot.json: status 404")
        );
        let agent = crate::visitor::Agents::builtin().classify(Some("GPTBot/1.2"));
        let proof =
            |ip: &str| held.ranges.load().verify(&agent, ip.parse().ok(), Duration::from_secs(now)).state.code();
        assert_eq!((proof("198.51.7.1"), proof("198.51.99.1")), ("verified", "failed"));
    }

    #[tokio::test]
    async fn a_reload_keeps_what_stays_on_the_list() {
        let list = settings(&["https://a.example", "https://b.example"]);
        let operators = Operators::new(&list, SystemClock::shared()).unwrap();
        let before = operators.held();
        before.directories.replace("https://b.example", Directory::parse(KEYS.as_bytes()).unwrap());
        let same = operators.next(&settings(&["https://B.example/", "https://a.example"])).unwrap();
        assert!(Arc::ptr_eq(&same.directories, &before.directories) && Arc::ptr_eq(&same.ranges, &before.ranges));
        let mut next = settings(&["https://b.example", "https://c.example"]);
        next.ranges.refresh = Span::seconds(0);
        let after = operators.next(&next).unwrap();
        assert_eq!((keys(&after, "https://b.example"), keys(&after, "https://c.example")), (Some(1), None));
        assert_eq!(after.sources().len(), 2, "ranges are not asked for");
        assert!(operators.next(&settings(&["http://a.example"])).is_err());
        // A stack that is refused in the end has changed nothing.
        assert!(Arc::ptr_eq(&operators.held().ranges, &before.ranges));
        operators.follow(after);
        assert_eq!(operators.held().sources().len(), 2);
    }

    #[tokio::test]
    async fn each_source_has_its_turn_and_new_lists_are_filled_again() {
        let client = operators_of_the_net().await;
        let operators = Operators::new(&settings(&["https://crawler.example"]), SystemClock::shared()).unwrap();
        let mut schedule = Schedule { due: HashMap::new(), ranges: operators.held().ranges };
        for _ in 0..20 {
            operators.step(&client, &mut schedule).await;
        }
        assert_eq!(schedule.due.len(), 1 + 6, "each once; those that failed wait");
        assert_eq!(keys(&operators.held(), "https://crawler.example"), Some(1));
        let state = || async {
            // As requests meet it.
            let layer = IdentifyLayer::new(&Settings::default()).unwrap().ranges(operators.held().ranges);
            let service = layer.layer(tower::service_fn(async |request: Request<()>| {
                let state = request.extensions().get::<Visitor>().unwrap().verification.code();
                Ok::<_, std::convert::Infallible>(Response::new(state))
            }));
            let mut request = Request::builder().header("user-agent", "GPTBot/1.2").body(()).unwrap();
            request.extensions_mut().insert(Peer { address: ([198, 51, 7, 1], 1).into(), secure: false });
            service.oneshot(request).await.unwrap().into_body()
        };
        assert_eq!(state().await, "verified");
        let mut other = settings(&["https://crawler.example"]);
        other.ranges.max_age = Span::seconds(7 * 86_400);
        operators.follow(operators.next(&other).unwrap());
        assert_ne!(state().await, "verified", "the new list is the one that shipped");
        for _ in 0..20 {
            operators.step(&client, &mut schedule).await;
        }
        assert_eq!(state().await, "verified", "and is filled at once");
    }

    #[tokio::test]
    async fn an_outage_revokes_nothing_for_a_week() {
        let operators = Operators::new(&settings(&["https://a.example"]), SystemClock::shared()).unwrap();
        let (held, source) = (operators.held(), Source::Keys { origin: "https://a.example".to_owned() });
        held.directories.replace("https://a.example", Directory::parse(KEYS.as_bytes()).unwrap());
        let start = Instant::now();
        let fine = held.after(&source, Ok(DAY), None, start);
        assert!((21..=27).contains(&((fine.at - start).as_secs() / 3_600)), "a day, more or less");
        let late = held.after(&source, Err("x".to_owned()), Some(fine), start + WEEK);
        assert_eq!(keys(&held, "https://a.example"), Some(1));
        assert!(late.at <= start + WEEK + SOON * 2);
        held.after(&source, Err("x".to_owned()), Some(late), start + WEEK + SOON);
        assert_eq!(keys(&held, "https://a.example"), Some(0));
    }
}
