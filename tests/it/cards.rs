//! Cards: what programs get that show a link with its title and picture. And the site behind deckle, in memory and in a
//! clock of its own, that all tests about visitors ask.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::action::{Action, Decision, EnforceLayer, Mode};
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::layer::ResponseBody;
use deckle::suspicion::{AssessLayer, State};
use deckle::visitor::{IdentifyLayer, Peer};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

use crate::support::corpus;

/// What somebody sends.
pub(crate) type Fields = &'static [(&'static str, &'static str)];

pub(crate) const FIREFOX: Fields = &[
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
pub(crate) const HEADLESS: Fields = &[
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
pub(crate) const SCRIPT: Fields =
    &[("user-agent", "python-requests/2.34"), ("accept", "*/*"), ("accept-encoding", "gzip, deflate")];
pub(crate) const PREVIEW: Fields = &[
    ("user-agent", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip"),
];
/// The device of whoever sends the link makes the card; it has the names of others.
pub(crate) const IMESSAGE: Fields = &[
    (
        "user-agent",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 \
            Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    ),
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("accept-language", "en-gb"),
    ("accept-encoding", "gzip, deflate"),
];

pub(crate) const ENFORCE: &str = "mode = \"enforce\"\n";
/// The text of each article of the site.
pub(crate) const TEXT: &str = "The committee said on Monday that it will not publish the report.";
pub(crate) const ROBOTS: &str = "User-agent: *\nDisallow: /admin\n\nUser-agent: Googlebot\nDisallow: /print\n";
const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>A report</title>\
    <meta name=description content=\"In short\"><meta property=og:image content=\"/i.jpg\"></head>";

pub(crate) fn article() -> String {
    format!("{HEAD}<body><article><p>{TEXT}</p></article></body></html>")
}

/// An answer of the site.
pub(crate) fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("content-type", kind).body(Full::new(body.into())).unwrap()
}

/// Articles under `/news`, style sheets, a feed, data, and nothing else.
pub(crate) fn site(request: &Request<()>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/robots.txt" => answer(200, "text/plain", ROBOTS),
        "/feed" => answer(200, "application/rss+xml", "<rss version=\"2.0\"><channel/></rss>"),
        "/data" => answer(200, "application/json", "{}"),
        path if path == "/" || path.starts_with("/news") => answer(200, "text/html; charset=utf-8", article()),
        path if path.ends_with(".css") && !path.starts_with("/.deckle") => answer(200, "text/css", "p { margin: 0 }"),
        _ => answer(404, "text/html; charset=utf-8", "<!doctype html><title>None</title>"),
    }
}

/// A request of whoever sends these fields from this address.
pub(crate) fn request(fields: &[(&str, &str)], ip: impl Into<IpAddr>, path: &str) -> Request<()> {
    let mut request = Request::builder().uri(path).header("host", "news.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(Peer { address: (ip, 1).into(), secure: false });
    request
}

/// The same with another value of a field.
pub(crate) fn with(mut request: Request<()>, name: &'static str, value: &str) -> Request<()> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<AuditRecord>>>);

impl Sink for Memory {
    fn record(&self, record: Box<AuditRecord>) {
        self.0.lock().unwrap().push(*record);
    }
}

/// An answer, read to its end, and what was written down about it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) record: AuditRecord,
}

impl Answer {
    pub(crate) fn decision(&self) -> &Decision {
        self.record.decision.as_ref().unwrap()
    }

    pub(crate) fn score(&self) -> u8 {
        self.record.assessment.as_ref().unwrap().score
    }
}

/// A site behind deckle whose first minute, in which little is done, has passed.
pub(crate) struct Rig {
    clock: Arc<ManualClock>,
    memory: Memory,
    service: BoxCloneSyncService<Request<()>, Response<ResponseBody<Full<Bytes>>>, Infallible>,
    /// What reached the site.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    pub(crate) fn new(config: &str) -> Self {
        Self::around(config, site)
    }

    pub(crate) fn around(
        config: &str,
        site: impl Fn(&Request<()>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    ) -> Self {
        let (clock, memory) = (ManualClock::at(1_790_000_000), Memory::default());
        let builder = DeckleLayer::builder().config(Config::from_toml(config).unwrap()).sink(memory.clone());
        let layer = builder.clock(clock.clone()).build().unwrap();
        clock.advance(Duration::from_secs(61));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let service = layer.layer(tower::service_fn(move |request: Request<()>| {
            noted.lock().unwrap().push(request.uri().to_string());
            std::future::ready(Ok::<_, Infallible>(site(&request)))
        }));
        Self { clock, memory, service: BoxCloneSyncService::new(service), seen }
    }

    pub(crate) fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn ask(&self, request: Request<()>) -> Answer {
        let (head, body) = self.service.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        let record = self.memory.0.lock().unwrap().pop().expect("every response has a record");
        Answer { status: head.status.as_u16(), headers: head.headers, body, record }
    }

    /// The status alone, as soon as it is there.
    pub(crate) fn status(&self, request: Request<()>) -> impl Future<Output = u16> + use<> {
        let service = self.service.clone();
        async move { service.oneshot(request).await.unwrap().status().as_u16() }
    }
}

#[tokio::test]
async fn a_link_preview_gets_the_head_and_nothing_else() {
    let rig = Rig::around(ENFORCE, |request| {
        let mut page = site(request);
        for (name, value) in [
            ("etag", "\"v1\""),
            ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("cache-control", "public, max-age=60"),
            ("set-cookie", "a=b"),
        ] {
            page.headers_mut().insert(name, value.parse().unwrap());
        }
        page
    });
    const SLACK: Fields =
        &[("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), ("accept", "*/*")];
    // Wherever they ask from: the address of whoever sends a link proves nothing.
    let anywhere: [IpAddr; 2] = ["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for (fields, ip) in [PREVIEW, IMESSAGE, SLACK].into_iter().flat_map(|fields| anywhere.map(|ip| (fields, ip))) {
        let card = rig.ask(request(fields, ip, "/news/a-b-c")).await;
        assert_eq!((card.status, card.decision().action), (200, Action::Card), "{fields:?} {ip}");
        assert_eq!(card.headers["content-type"], "text/html; charset=utf-8");
        for shown in ["<title>A report</title>", "content=\"In short\"", "<meta property=og:image content=\"/i.jpg\">"]
        {
            assert!(card.body.contains(shown), "{shown}: {}", card.body);
        }
        assert!(card.body.ends_with("</head><body></body></html>") && !card.body.contains(TEXT), "{}", card.body);
        assert_eq!(card.headers["cache-control"], "no-store");
        for gone in ["etag", "last-modified", "set-cookie", "content-length"] {
            assert!(!card.headers.contains_key(gone), "{gone}: {:?}", card.headers);
        }
    }
    let page = rig.ask(request(FIREFOX, [203, 0, 113, 1], "/news/a-b-c")).await;
    assert!(page.body.contains(TEXT), "a reader at the same address: {}", page.body);
}

#[tokio::test]
async fn twelve_cards_and_then_one_in_ten_seconds() {
    let rig = Rig::new(ENFORCE);
    let ask = |page: usize| rig.ask(request(PREVIEW, [203, 0, 113, 1], &format!("/news/{page}")));
    for page in 0..12 {
        assert_eq!(ask(page).await.status, 200, "{page}");
    }
    let refused = ask(12).await;
    let limit = refused.decision().limit.unwrap();
    assert_eq!((refused.status, limit.name, limit.retry_after), (429, "preview", Some(10)));
    rig.wait(10);
    assert_eq!(ask(13).await.status, 200);
}

/// The first picture that is named in the part of a page that is read for a card.
fn first_image(page: &str) -> Option<&str> {
    let tags = page.match_indices("<meta").filter_map(|(at, _)| Some((at, page[at..].split_inclusive('>').next()?)));
    let image = tags.into_iter().find(|(_, tag)| tag.contains("\"og:image\""));
    image.filter(|(at, tag)| at + tag.len() <= 32 << 10).map(|(_, tag)| tag)
}

#[tokio::test]
async fn every_page_of_the_corpus_makes_a_card() {
    let page = Arc::new(Mutex::new(Vec::new()));
    let now = Arc::clone(&page);
    let rig = Rig::around(ENFORCE, move |_| answer(200, "text/html; charset=utf-8", now.lock().unwrap().clone()));
    let (pages, mut images) = (corpus(), 0);
    for (last, (name, source)) in (1..).zip(&pages) {
        page.lock().unwrap().clone_from(source);
        let card = rig.ask(request(PREVIEW, [198, 51, 100, last], "/news/a-b-c")).await;
        assert!(card.status == 200 && card.body.len() < 8 << 10, "{name}: {} bytes", card.body.len());
        assert!(
            card.body.ends_with("</head><body></body></html>") && !card.body.contains("<p"),
            "{name}: {}",
            card.body
        );
        assert!(card.body.contains("<title"), "{name}: {}", card.body);
        let source = String::from_utf8_lossy(source);
        if let Some(image) = first_image(&source) {
            assert!(card.body.contains(image), "{name}: {image} is not in {}", card.body);
            images += 1;
        }
    }
    assert!(pages.is_empty() || images * 2 > pages.len(), "{images} of {}", pages.len());
}

#[tokio::test]
async fn a_redirect_still_leads_somewhere() {
    let rig = Rig::around(ENFORCE, |_| {
        let mut moved = answer(301, "text/html", format!("<title>Moved</title><p>{TEXT}"));
        moved.headers_mut().insert("location", "/news/new".parse().unwrap());
        moved
    });
    let moved = rig.ask(request(PREVIEW, [203, 0, 113, 1], "/news/old")).await;
    assert_eq!((moved.status, moved.headers["location"].to_str().unwrap()), (301, "/news/new"));
    assert!(!moved.body.contains(TEXT), "{}", moved.body);
}

/// Nobody makes a card of a page, so it does not leave; what is no page holds no article.
#[tokio::test]
async fn without_the_layer_that_makes_cards_a_page_is_refused() {
    let clock = ManualClock::at(1_790_000_000);
    let (state, actions) = (Arc::new(State::new(clock.clone())), deckle::action::Settings::default());
    let identify = IdentifyLayer::with_clock(&deckle::visitor::Settings::default(), clock.clone()).unwrap();
    let suspicion = deckle::suspicion::Settings::default();
    let assess = AssessLayer::new(Arc::clone(&state), &suspicion, actions.limits.soft()).unwrap();
    let licence = deckle::rights::LicenseSettings::default();
    let enforce = EnforceLayer::new(state, &actions, &licence, Mode::Enforce).unwrap();
    let inner = tower::service_fn(|request: Request<()>| std::future::ready(Ok::<_, Infallible>(site(&request))));
    let service = identify.layer(assess.layer(enforce.layer(inner)));
    for (path, status, holds) in
        [("/news/a-b-c", 429, "Too many requests"), ("/data", 200, "{}"), ("/feed", 200, "<rss")]
    {
        let (head, body) =
            service.clone().oneshot(request(PREVIEW, [203, 0, 113, 1], path)).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert_eq!((head.status.as_u16(), head.headers.contains_key("retry-after")), (status, status == 429), "{path}");
        assert!(body.contains(holds) && !body.contains(TEXT), "{path}: {body}");
    }
}
