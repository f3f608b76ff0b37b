//! Requests as readers and programs send them, and the layers that decide about them.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deckle::action::{EnforceLayer, Mode};
use deckle::clock::SystemClock;
use deckle::suspicion::{AssessLayer, State};
use deckle::visitor::{IdentifyLayer, Peer};
use http::{Request, Response};
use tower::{Service, ServiceExt};

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "python-requests/2.34.0",
];

pub(crate) fn request(number: u32) -> Request<()> {
    let mut request = Request::builder()
        .uri(format!("/2026/11/a-headline-of-five-words-{}", number % 997))
        .header("host", "news.example")
        .header("user-agent", AGENTS[number as usize % AGENTS.len()])
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-GB,en;q=0.9")
        .header("sec-fetch-mode", "navigate")
        .body(())
        .unwrap();
    let address = SocketAddr::from(([10, (number >> 12) as u8, (number >> 4) as u8, number as u8], 4_000));
    request.extensions_mut().insert(Peer { address, secure: true });
    request
}

/// Identify, assess and decide; nothing is refused.
pub(crate) fn layers() -> (IdentifyLayer, AssessLayer, EnforceLayer) {
    let quotas = deckle::action::Settings::default().limits.soft();
    let state = Arc::new(State::new(SystemClock::shared()));
    let (action, licence) = (deckle::action::Settings::default(), deckle::rights::LicenseSettings::default());
    let identify = IdentifyLayer::new(&deckle::visitor::Settings::default()).unwrap();
    let assess = AssessLayer::new(Arc::clone(&state), &deckle::suspicion::Settings::default(), quotas).unwrap();
    let enforce = EnforceLayer::new(state, &action, &licence, Mode::Observe).unwrap();
    (identify, assess, enforce)
}

/// The time of the calls alone, and of each of them; the requests are made before.
pub(crate) async fn serve_all<S, B>(mut service: S, count: u32, single: &mut Vec<Duration>) -> Duration
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let requests: Vec<Request<()>> = (0..count).map(request).collect();
    let (start, mut last) = (Instant::now(), Instant::now());
    for request in requests {
        black_box(service.ready().await.unwrap().call(request).await.unwrap());
        let now = Instant::now();
        single.push(now - last);
        last = now;
    }
    start.elapsed()
}

/// The one in the middle.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
