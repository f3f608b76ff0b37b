//! What refused programs are told: the quota, the licence, the price.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::visitor::{Peer, Verification};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};

const LICENSED: &str = "mode = \"enforce\"\n[rights]\nholder = \"The Post\"\nuses = { search = \"allow\", ai_train = \"deny\" }\n\
    [rights.license]\nurl = \"https://news.example/license.xml\"\npage = \"https://news.example/rights\"\n[action]\ncontact = \"mailto:desk@news.example\"\n";

type Answer = (u16, HeaderMap, String);

/// A site in mode `enforce` whose first minute, in which little is done, has passed.
fn site(config: &str) -> impl AsyncFn(&str, &str, &[(&str, &str)]) -> Answer + use<> {
    let clock = ManualClock::at(1_790_000_000);
    let config = Config::from_toml(config).unwrap();
    let layer = DeckleLayer::builder().config(config).clock(clock.clone()).build().unwrap();
    clock.advance(Duration::from_secs(120));
    let service = layer.layer(tower::service_fn(|request: Request<()>| async move {
        let found = request.uri().path().starts_with("/news");
        let response = Response::builder().status(if found { 200 } else { 404 }).header("content-type", "text/html");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"<p>the article"))).unwrap())
    }));
    async move |agent: &str, path: &str, fields: &[(&str, &str)]| {
        let mut request = Request::builder().uri(path).header("host", "news.example").header("user-agent", agent);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Peer { address: ([203, 0, 113, 7], 1).into(), secure: true });
        let (head, body) = ask(service.clone(), request).await.into_parts();
        let body = body.collect().await.map_err(|_| "body").unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}

async fn ask<S: Service<Request<()>, Error = Infallible>>(service: S, request: Request<()>) -> S::Response {
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn whoever_trains_on_texts_is_shown_the_licence() {
    let site = site(&format!("{LICENSED}[action.license]\nprice = \"USD 0.01\"\n"));
    let (status, head, body) = site("GPTBot/1.2", "/news/a", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!(status, 402);
    assert_eq!(head["link"], "<https://news.example/license.xml>; rel=\"license\"; type=\"application/rsl+xml\"");
    assert_eq!(
        (head["cache-control"].as_bytes(), head["content-type"].as_bytes()),
        (&b"no-store"[..], &b"text/plain; charset=utf-8"[..])
    );
    for told in ["https://news.example/license.xml", "USD 0.01", "https://news.example/rights", "desk@news.example"] {
        assert!(body.contains(told), "{told}: {body}");
    }
    assert!(!body.contains("the article"));
    let (status, _, body) = site("GPTBot/1.2", "/news/a", &[("accept", "application/json")]).await;
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &problem["status"], &problem["license"]),
        (402, &402.into(), &"https://news.example/license.xml".into())
    );
    // What says what is allowed is free, the licence itself, too.
    for (path, says) in [
        ("/robots.txt", "ai-train=no"),
        ("/license.xml", "<prohibits"),
        ("/.well-known/tdmrep.json", "tdm-reservation"),
    ] {
        let (status, _, body) = site("GPTBot/1.2", path, &[]).await;
        assert!(status == 200 && body.contains(says), "{path}: {status} {body}");
    }
    // Wherever the licence is.
    let elsewhere = LICENSED.replace("news.example/license.xml", "news.example/legal/a%62c");
    let moved = self::site(&elsewhere);
    assert_eq!(moved("GPTBot/1.2", "/news/a", &[]).await.0, 402);
    for (path, status) in [("/legal/a%62c", 200), ("/rights", 404), ("/legal/other", 402)] {
        assert_eq!(
            moved("GPTBot/1.2", path, &[]).await.0,
            status,
            "{path}: the site has no such page, deckle has the licence"
        );
    }
    // A search engine, a reader, and a person who asks through an assistant are not asked to pay.
    for agent in
        ["Googlebot/2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "ChatGPT-User/1.0"]
    {
        assert_eq!(site(agent, "/news/a", &[]).await.0, 200, "{agent}");
    }
}

#[tokio::test]
async fn an_offer_in_the_fields_of_pay_per_crawl_is_answered_in_them() {
    let site = site(&format!("{LICENSED}[action.license]\nmode = \"cloudflare\"\nprice = \"USD 0.01\"\n"));
    for (fields, status, error) in [
        (&[][..], 402, "MissingCrawlerPrice"),
        (&[("crawler-exact-price", "USD 0.02")][..], 402, "InvalidCrawlerExactPrice"),
        (&[("crawler-exact-price", "USD 0.01"), ("crawler-max-price", "USD 0.01")][..], 400, "ConflictingPriceHeaders"),
        (&[("crawler-max-price", "USD 1.00")][..], 400, "InvalidSignature"),
    ] {
        let (got, head, body) = site("CCBot/2.0", "/news/a", fields).await;
        assert_eq!((got, head["crawler-error"].to_str().unwrap()), (status, error));
        assert_eq!(head["crawler-price"], "USD 0.01");
        assert!(!body.contains("the article"), "nobody takes the money");
    }
}

#[tokio::test]
async fn without_a_licence_there_is_nothing_to_sell() {
    let site = site("mode = \"enforce\"\n[rights]\nuses = { ai_train = \"deny\" }\n");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(site("GPTBot/1.2", "/news/a", &[]).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn the_quota_is_told_to_robots_that_read_the_rules() {
    for (agent, reads, told) in
        [("SemrushBot/7", true, true), ("SemrushBot/7", false, false), ("Wget/1.21", true, false)]
    {
        let site = site("mode = \"enforce\"\n[action.policy]\nlibrary = \"limit\"\n");
        if reads {
            site(agent, "/robots.txt", &[]).await;
        }
        let mut last = site(agent, "/news/a", &[]).await;
        assert!(!last.1.contains_key("ratelimit"), "not on what is served");
        for _ in 0..2 {
            last = site(agent, "/news/a", &[("accept", "application/json")]).await;
        }
        let (status, head, body) = last;
        assert_eq!((status, head.contains_key("ratelimit")), (429, told), "{agent} {reads} {head:?}");
        let wait: u64 = head["retry-after"].to_str().unwrap().parse().unwrap();
        assert_eq!(body.contains("violated-policies"), told);
        if told {
            assert_eq!(
                (&head["ratelimit-policy"], &head["ratelimit"]),
                (&"\"limited\";q=2;w=40".parse().unwrap(), &"\"limited\";r=0;t=20".parse().unwrap())
            );
            assert!((20..=24).contains(&wait), "{wait}");
        }
    }
}

/// Published addresses of Google and OpenAI, and one that nobody publishes.
const GOOGLE: [u8; 4] = [66, 249, 66, 1];
const OPENAI: [u8; 4] = [20, 42, 10, 180];
const NOBODY: [u8; 4] = [203, 0, 113, 7];

#[tokio::test]
async fn a_robot_is_known_by_its_address() {
    use Verification::{Error, Failed, Unverifiable, Verified};
    // When the list was two days old, and when it was a year: rented addresses are somebody else's by then.
    for (day, inside, outside) in [(2, Verified, (Failed, 403)), (365, Error, (Error, 402))] {
        for (agent, ip, expect) in [
            ("Googlebot/2.1", GOOGLE, (Verified, 200)),
            ("Googlebot/2.1", NOBODY, (Unverifiable, 200)),
            ("GPTBot/1.2", OPENAI, (inside, 402)),
            ("GPTBot/1.2", NOBODY, outside),
        ] {
            let found = Arc::new(Mutex::new(None));
            let seen = ask_as(LICENSED, LIST_MADE + day * 86_400, agent, ip, 1, 120, &found).await;
            assert_eq!((found.lock().unwrap().unwrap(), seen[0]), expect, "{agent} {ip:?} on day {day}");
        }
    }
}

/// In the first minute little is done, for little is known; but this is.
#[tokio::test]
async fn an_impostor_is_found_out_at_once() {
    let found = Arc::new(Mutex::new(None));
    let now = LIST_MADE + 86_400;
    for (agent, status) in [("DuckDuckBot/1.1", 403), ("Mozilla/5.0 (Nikto/2.1.6)", 200)] {
        assert_eq!(ask_as(LICENSED, now, agent, NOBODY, 1, 1, &found).await, [status], "{agent}");
    }
}

#[tokio::test]
async fn a_proven_search_engine_has_a_quota_of_its_own() {
    let found = Arc::new(Mutex::new(None));
    let config = "mode = \"enforce\"\n[action.limits]\npage_hard = { every = \"1s\", burst = 5 }\nagent = { every = \"1s\", burst = 60 }\n";
    let now = LIST_MADE + 86_400;
    let answers = ask_as(config, now, "Googlebot/2.1", GOOGLE, 61, 120, &found).await;
    assert_eq!((answers.iter().filter(|s| **s == 200).count(), answers[60]), (60, 429));
    let impostor = ask_as(config, now, "Googlebot/2.1", NOBODY, 61, 120, &found).await;
    assert!(impostor.iter().filter(|s| **s == 200).count() <= 5, "{impostor:?}");
}

struct Found(Arc<Mutex<Option<Verification>>>);

impl Sink for Found {
    fn record(&self, record: Box<AuditRecord>) {
        *self.0.lock().unwrap() = record.visitor.map(|visitor| visitor.verification);
    }
}

/// Seconds since 1970 at which the list of `assets/ranges/operators.json` was made.
const LIST_MADE: u64 = 1_787_356_800;

/// The statuses of so many pages, asked for by an agent at an address, and what was found about it.
async fn ask_as(
    config: &str,
    now: u64,
    agent: &str,
    ip: [u8; 4],
    pages: usize,
    uptime: u64,
    found: &Arc<Mutex<Option<Verification>>>,
) -> Vec<u16> {
    let clock = ManualClock::at(now - uptime);
    let builder = DeckleLayer::builder().config(Config::from_toml(config).unwrap()).sink(Found(Arc::clone(found)));
    let layer = builder.clock(clock.clone()).build().unwrap();
    clock.advance(Duration::from_secs(uptime));
    let service = layer.layer(tower::service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(
            Response::builder()
                .header("content-type", "text/html")
                .body(Full::new(Bytes::from_static(b"<p>x")))
                .unwrap(),
        )
    }));
    let mut statuses = Vec::new();
    for page in 0..pages {
        let mut request = Request::builder().uri(format!("/news/{page}")).header("user-agent", agent).body(()).unwrap();
        request.extensions_mut().insert(Peer { address: (ip, 1).into(), secure: true });
        statuses.push(service.clone().oneshot(request).await.unwrap().status().as_u16());
    }
    statuses
}
