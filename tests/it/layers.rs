//! The layers by `oneshot`: what each does alone, and what happens when things end early.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::action::Mode;
use deckle::audit::{AuditLayer, AuditRecord, Sink};
use deckle::clock::{Clock, ManualClock};
use deckle::config::Config;
use deckle::page::{GuardMode, PagePolicy, ProtectLayer};
use deckle::secret::{Secret, Secrets};
use deckle::suspicion::{AssessLayer, Assessment, State};
use deckle::visitor::{IdentifyLayer, Peer};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<AuditRecord>>>);

impl Sink for Memory {
    fn record(&self, record: Box<AuditRecord>) {
        self.0.lock().unwrap().push(*record);
    }
}

const PAGE: &str = "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article><p>The committee said on \
    Monday that it will not publish the full report before the end of June, because members cannot agree on it.</p></article></body></html>";

/// A body that ends in one of three ways.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    End,
    Trailers,
    Error,
}

struct Script {
    way: Way,
    step: usize,
}

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.step += 1;
        let (first, second) = PAGE.split_at(PAGE.len() / 2);
        Poll::Ready(match (self.step, self.way) {
            (1, _) => Some(Ok(Frame::data(Bytes::from_static(first.as_bytes())))),
            (2, Way::Error) => Some(Err(std::io::Error::other("reset"))),
            (2, _) => Some(Ok(Frame::data(Bytes::from_static(second.as_bytes())))),
            (3, Way::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "7".parse().unwrap());
                trailers.insert("content-digest", "sha-256=:AA==:".parse().unwrap());
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }
}

fn site(way: Way) -> impl Service<Request<()>, Response = Response<Script>, Error = Infallible, Future: Send> + Clone {
    tower::service_fn(move |_: Request<()>| async move {
        let builder = Response::builder().header("content-type", "text/html; charset=utf-8").header("etag", "\"v1\"");
        Ok(builder.body(Script { way, step: 0 }).unwrap())
    })
}

fn secrets() -> Secrets {
    Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap())
}

fn layer(config: &str, memory: &Memory) -> DeckleLayer {
    DeckleLayer::builder()
        .config(Config::from_toml(config).unwrap())
        .secret(secrets())
        .sink(memory.clone())
        .clock(ManualClock::at(1_795_000_000))
        .build()
        .unwrap()
}

fn from(ip: [u8; 4], ua: &str) -> Request<()> {
    let mut request =
        Request::builder().uri("/news/a-b-c").header("host", "news.example").header("user-agent", ua).body(()).unwrap();
    request.extensions_mut().insert(Peer { address: (ip, 1).into(), secure: false });
    request
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn text<B: Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn two_visitors_get_different_bytes_and_the_same_text() {
    let memory = Memory::default();
    let service = layer("[watermark.channels]\nwhitespace = \"always\"", &memory).layer(site(Way::End));
    // The first page teaches what kind of site this is.
    let first = service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap();
    assert!(!first.headers().contains_key("etag"), "a copy without a mark is not to be kept");
    let learning = text(first).await;
    assert!(!learning.contains("inert"));
    let second = service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap();
    assert!(second.headers().contains_key("etag"));
    let a = text(second).await;
    let again = text(service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap()).await;
    let b = text(service.clone().oneshot(from([203, 0, 113, 2], FIREFOX)).await.unwrap()).await;
    assert_eq!(a, again);
    assert_ne!(a, b);
    assert_eq!(a.len(), b.len());
    let seen = |page: &str| -> Vec<String> {
        let text = deckle::page::plain_text(page);
        text.chars()
            .filter(|c| !('\u{FE06}'..='\u{FE0D}').contains(c))
            .collect::<String>()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(seen(&a), seen(&b));
    let marks: Vec<Option<String>> =
        memory.0.lock().unwrap().iter().map(|r| r.page.as_ref().unwrap().mark.clone()).collect();
    assert_eq!(marks[0], None);
    assert!(marks[1].is_some() && marks[1] == marks[2] && marks[1] != marks[3]);
}

/// A site of one page, and what it is asked for.
fn page_of(
    page: String,
) -> (
    impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone,
    Arc<Mutex<Vec<String>>>,
) {
    let (page, asked) = (Bytes::from(page), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<()>| {
        log.lock().unwrap().push(request.uri().to_string());
        let page = page.clone();
        async move {
            let builder = Response::builder().header("content-type", "text/html; charset=utf-8");
            Ok(builder.body(Full::new(page)).unwrap())
        }
    });
    (service, asked)
}

#[tokio::test]
async fn spellings_and_alternatives_go_by_the_visitor() {
    const WORDS: &str = "Anna said it's late and Ben said he can’t go while Clara didn&rsquo;t ask why Dora won't come so Emil \
        hasn't eaten what Fritz doesn't like though Gina isn't sure and Hans wouldn't wait because Ida couldn't see that Jan \
        shouldn't sing or even hum <span data-variant=\"at all|any more\">at all</span> in the old town";
    let page = PAGE.replace("<html>", "<html lang=en>").replace("The committee", &format!("{WORDS}. The committee"));
    let memory = Memory::default();
    // The page names no style sheet, so that its white space would be marked, too.
    let config = "[watermark]\nlevel = \"variants\"\n[watermark.channels]\nseal = false\nwhitespace = \"off\"";
    let service = layer(config, &memory).layer(page_of(page.clone()).0);
    let learning = text(service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap()).await;
    assert!(learning.contains("it's late") && learning.contains("hum at all in"), "{learning}");
    let mut copies = Vec::new();
    for ip in std::iter::once(1).chain(1..16) {
        let copy = text(service.clone().oneshot(from([203, 0, 113, ip], FIREFOX)).await.unwrap()).await;
        let article = copy.split_once("<article>").and_then(|(_, rest)| rest.split_once("</article>")).unwrap().0;
        let count = |spelling: &str| article.matches(spelling).count();
        assert_eq!(count("'") + count("\u{2019}"), 10, "{copy}");
        assert!(!article.contains('&'), "characters, not references: {copy}");
        assert_eq!(count("hum at all in") + count("hum any more in"), 1, "{copy}");
        assert!(!copy.contains("data-variant"));
        let record = memory.0.lock().unwrap().last().unwrap().page.clone().unwrap();
        assert_eq!(
            (record.mark_level, record.carriers.codes()),
            ("variants", vec!["t:10".to_owned(), "v:1".to_owned()])
        );
        assert!(record.mark.is_some());
        copies.push(copy);
    }
    assert_eq!(copies[0], copies[1]);
    assert_ne!(copies[1], copies[2]);
    assert!(copies.iter().any(|copy| copy.contains("any more")) && copies.iter().any(|copy| copy.contains("at all")));
}

#[tokio::test]
async fn the_first_alternative_stands_where_nothing_is_marked() {
    let page = PAGE.replace("<article>", "<h1>A <span data-variant=\"b|c\">b</span></h1><article>");
    for (config, expect) in [
        ("[watermark]\nlevel = \"off\"", "<h1>A b</h1>"),
        ("", "<h1>A b</h1>"),
        ("[watermark]\nlevel = \"variants\"", "<h1>A b</h1>"),
        ("[page]\nenabled = false", "<h1>A <span data-variant=\"b|c\">b</span></h1>"),
    ] {
        let service = layer(config, &Memory::default()).layer(page_of(page.clone()).0);
        for _ in 0..3 {
            let copy = text(service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap()).await;
            assert!(copy.contains(expect), "{config}: {copy}");
        }
    }
}

#[tokio::test]
async fn a_link_out_of_a_copy_tells_which_copy_it_was() {
    let memory = Memory::default();
    let (site, asked) = page_of(PAGE.replace("The committee", "See <a href=\"/next\">this</a>. The committee"));
    let service = layer("[watermark]\nmarkup = true", &memory).layer(site);
    let get = |ip, target: String| {
        let mut request = from([203, 0, 113, ip], FIREFOX);
        *request.uri_mut() = target.parse().unwrap();
        service.clone().oneshot(request)
    };
    text(get(1, "/news/a-b-c".to_owned()).await.unwrap()).await;
    let copy = text(get(1, "/news/a-b-c".to_owned()).await.unwrap()).await;
    let token: String = copy.split("/next?k=").nth(1).unwrap().chars().take_while(|c| *c != '"').collect();
    assert_eq!(token.len(), 15);
    assert!(copy.contains(&format!("<p data-k=\"{token}\">See")), "{copy}");
    let forged: String = token.chars().rev().collect();
    for target in [format!("/next?k={token}"), format!("/next?a=b&k={token}&c"), format!("/next?k={forged}")] {
        text(get(2, target).await.unwrap()).await;
    }
    let seen = asked.lock().unwrap().split_off(2);
    assert_eq!(seen, ["/next".to_owned(), "/next?a=b&c".to_owned(), format!("/next?k={forged}")]);
    let records = memory.0.lock().unwrap();
    let pages: Vec<_> = records.iter().map(|record| record.page.as_ref().unwrap()).collect();
    let (of, carriers) = (pages[1].mark.clone(), pages[1].carriers.codes());
    assert!(of.is_some() && carriers.contains(&"m:2".to_owned()), "{carriers:?}");
    assert_eq!(
        pages[2..].iter().map(|page| page.mark_seen.clone()).collect::<Vec<_>>(),
        [of.clone(), of.clone(), None]
    );
    assert!(pages[2].mark.is_some() && pages[2].mark != of, "the reader's own copy carries another mark");
}

/// Its snippets show what it got. Whoever has only its name gets what everybody gets.
#[tokio::test]
async fn a_proven_search_engine_gets_no_marks() {
    let memory = Memory::default();
    let service = layer("", &memory).layer(site(Way::End));
    const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let copy = async |ip, agent| text(service.clone().oneshot(from(ip, agent)).await.unwrap()).await;
    copy([203, 0, 113, 1], FIREFOX).await;
    for (ip, agent, marked) in [
        ([66, 249, 66, 1], GOOGLEBOT, false),
        ([203, 0, 113, 2], GOOGLEBOT, true),
        ([66, 249, 66, 1], "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)", true),
        ([66, 249, 66, 1], FIREFOX, true),
    ] {
        assert_eq!(copy(ip, agent).await.contains("<span inert"), marked, "{agent} {ip:?}");
    }
    let records = memory.0.lock().unwrap();
    let skips: Vec<_> = records.iter().skip(1).map(|r| r.page.as_ref().unwrap().mark_skip).collect();
    assert_eq!(skips, [Some("verified_search"), None, None, None]);
}

#[tokio::test]
async fn only_the_owner_of_a_copy_gets_a_304_for_it() {
    let memory = Memory::default();
    let answers = tower::service_fn(|request: Request<()>| async move {
        let builder = Response::builder().header("etag", "\"v1\"").header("cache-control", "public, max-age=60");
        let known = request.headers().get("if-none-match").is_some_and(|v| v == "\"v1\"");
        Ok::<_, Infallible>(if known {
            builder.status(304).body(Full::new(Bytes::new())).unwrap()
        } else {
            builder.header("content-type", "text/html; charset=utf-8").body(Full::new(Bytes::from(PAGE))).unwrap()
        })
    });
    let service = layer("", &memory).layer(answers);
    text(service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap()).await;
    let page = service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap();
    let tag = page.headers()["etag"].clone();
    assert!(tag.to_str().unwrap().starts_with("W/\"v1~dk"), "{tag:?}");
    assert_eq!(page.headers()["cache-control"], "private, no-cache");
    let with_tag = |ip| {
        let mut request = from(ip, FIREFOX);
        request.headers_mut().insert("if-none-match", tag.clone());
        request
    };
    let own = service.clone().oneshot(with_tag([203, 0, 113, 1])).await.unwrap();
    assert_eq!((own.status().as_u16(), &own.headers()["etag"]), (304, &tag));
    let other = service.clone().oneshot(with_tag([203, 0, 113, 2])).await.unwrap();
    assert_eq!(other.status(), 200, "nobody keeps a copy with another's mark");
}

#[tokio::test]
async fn a_mark_for_each_response_is_never_confirmed() {
    let memory = Memory::default();
    let site = tower::service_fn(|request: Request<()>| async move {
        assert!(
            !request.headers().contains_key("if-none-match"),
            "the copy of another response is no copy of this one"
        );
        let builder = Response::builder().header("etag", "\"v1\"").header("content-type", "text/html; charset=utf-8");
        Ok::<_, Infallible>(builder.body(Full::new(Bytes::from(PAGE))).unwrap())
    });
    let service = layer("[watermark]\nscope = \"response\"", &memory).layer(site);
    let mut tag: Option<http::HeaderValue> = None;
    for _ in 0..4 {
        let mut request = from([203, 0, 113, 1], FIREFOX);
        if let Some(tag) = &tag {
            request.headers_mut().insert("if-none-match", tag.clone());
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        tag = response.headers().get("etag").cloned();
        text(response).await;
    }
    let records = memory.0.lock().unwrap();
    let marks: Vec<_> = records.iter().skip(1).map(|r| r.page.as_ref().unwrap().mark.clone().unwrap()).collect();
    assert!(marks[0] != marks[1] && marks[1] != marks[2] && marks[0] != marks[2], "{marks:?}");
}

#[tokio::test]
async fn pages_that_are_not_to_be_marked_are_the_same_for_all_and_say_why() {
    for (config, why) in [
        ("[watermark]\npaths = [\"/about/**\"]", Some("path")),
        ("[watermark]\npaths = [\"/**\", \"!/news/*\"]", Some("path")),
        ("[watermark.channels]\nseal = false\nwhitespace = \"off\"", Some("channels_off")),
        ("[watermark]\npaths = [\"/news/**\"]", None),
    ] {
        let memory = Memory::default();
        let service = layer(config, &memory).layer(site(Way::End));
        text(service.clone().oneshot(from([203, 0, 113, 9], FIREFOX)).await.unwrap()).await;
        let page = service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap();
        let private = page.headers().get("cache-control").is_some_and(|v| v.to_str().unwrap().contains("private"));
        assert_eq!((private, page.headers().contains_key("etag")), (why.is_none(), true), "{config}");
        let a = text(page).await;
        let b = text(service.oneshot(from([203, 0, 113, 2], FIREFOX)).await.unwrap()).await;
        assert_eq!((a == b, a.contains("<span inert")), (why.is_some(), why.is_none()), "{config}: {a}");
        let records = memory.0.lock().unwrap();
        let page = records[1].page.as_ref().unwrap();
        assert_eq!((page.mark_skip, page.mark.is_some()), (why, why.is_none()), "{config}");
    }
}

#[tokio::test]
async fn the_mark_that_a_link_brings_along_is_logged_and_the_site_does_not_see_it() {
    let memory = Memory::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let site = {
        let seen = Arc::clone(&seen);
        tower::service_fn(move |request: Request<()>| {
            seen.lock().unwrap().push(request.uri().to_string());
            let kind = if request.uri().path() == "/a.png" { "image/png" } else { "text/html" };
            let response = Response::builder().header("content-type", kind).body(Full::new(Bytes::from(PAGE))).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        })
    };
    let service = layer("", &memory).layer(site);
    // The token of a mark under this secret, and one that only looks like it.
    for target in ["/a.png?w=2&k=easgrlhrgvt2q5s", "/news/a-b-c?k=easgrlhrgvt2q5s", "/a.png?k=easgrlhrgvt2q5t"] {
        let mut request = from([203, 0, 113, 1], FIREFOX);
        *request.uri_mut() = target.parse().unwrap();
        text(service.clone().oneshot(request).await.unwrap()).await;
    }
    assert_eq!(*seen.lock().unwrap(), ["/a.png?w=2", "/news/a-b-c", "/a.png?k=easgrlhrgvt2q5t"]);
    let records = memory.0.lock().unwrap();
    let marks: Vec<_> = records.iter().map(|r| r.page.as_ref().unwrap().mark_seen.as_deref()).collect();
    assert_eq!(marks, [Some("k1-0123456789ab"), Some("k1-0123456789ab"), None]);
}

#[tokio::test]
async fn trailers_pass_without_digests() {
    let memory = Memory::default();
    let service = layer("", &memory).layer(site(Way::Trailers));
    let body = service.oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap().into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap();
    assert_eq!(trailers["x-sum"], "7");
    assert!(!trailers.contains_key("content-digest"));
}

#[tokio::test]
async fn a_body_that_breaks_off_never_ends_cleanly_and_the_audit_says_so() {
    let memory = Memory::default();
    let service = layer("", &memory).layer(site(Way::Error));
    let result = service.oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap().into_body().collect().await;
    assert!(result.is_err());
    let records = memory.0.lock().unwrap();
    let page = records[0].page.as_ref().unwrap();
    assert_eq!((records[0].complete, page.rewrite, page.error), (false, "aborted", Some("upstream_truncated")));
}

#[tokio::test]
async fn a_client_that_goes_away_is_written_down() {
    let memory = Memory::default();
    let service = layer("", &memory).layer(site(Way::End));
    let mut body = service.clone().oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let records = memory.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert!(!records[0].complete && records[0].body_size > 0);
}

#[tokio::test]
async fn a_panic_inside_is_one_record() {
    let memory = Memory::default();
    let service = AuditLayer::new(memory.clone()).layer(tower::service_fn(|_: Request<()>| async {
        if std::env::args().count() > 0 {
            panic!("inner");
        }
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    }));
    let joined = tokio::spawn(service.oneshot(Request::new(()))).await;
    assert!(joined.is_err());
    let records = memory.0.lock().unwrap();
    assert_eq!((records.len(), records[0].status, records[0].error), (1, Some(500), Some("inner_panic")));
}

#[tokio::test]
async fn a_request_that_is_dropped_before_its_answer_is_one_record() {
    let memory = Memory::default();
    let service = AuditLayer::new(memory.clone())
        .layer(tower::service_fn(|_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()));
    for _ in 0..100 {
        drop(service.clone().call(Request::new(())));
    }
    let records = memory.0.lock().unwrap();
    assert_eq!(records.len(), 100);
    assert!(records.iter().all(|r| r.status.is_none() && !r.complete));
}

#[tokio::test]
async fn readiness_is_the_inner_service_s() {
    let (service, mut handle) = tower_test::mock::pair::<Request<()>, Response<Full<Bytes>>>();
    let memory = Memory::default();
    let mut service = layer("", &memory).layer(service);
    handle.allow(0);
    let mut ready = tokio_test_ready(&mut service);
    assert!(ready.is_pending());
    handle.allow(1);
    ready = tokio_test_ready(&mut service);
    assert!(ready.is_ready());
}

fn tokio_test_ready<S: Service<Request<()>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    let waker = std::task::Waker::noop();
    service.poll_ready(&mut Context::from_waker(waker))
}

#[tokio::test]
async fn errors_from_inside_stay_what_they_are() {
    let memory = Memory::default();
    let failing =
        tower::service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>(std::io::Error::other("inner")) });
    let error = layer("", &memory).layer(failing).oneshot(from([203, 0, 113, 1], FIREFOX)).await.unwrap_err();
    assert_eq!(error.to_string(), "inner");
    assert_eq!(memory.0.lock().unwrap()[0].error, Some("inner_error"));
}

#[tokio::test]
async fn observing_lets_everything_through_and_says_what_it_would_do() {
    for (mode, refused) in [(Mode::Observe, false), (Mode::Enforce, true)] {
        let memory = Memory::default();
        let layer = DeckleLayer::builder()
            .mode(mode)
            .sink(memory.clone())
            .clock(ManualClock::at(1_795_000_000))
            .build()
            .unwrap();
        let service = layer.layer(site(Way::End));
        let mut statuses = Vec::new();
        for _ in 0..60 {
            tokio::time::pause();
            let response = service.clone().oneshot(from([203, 0, 113, 9], "Wget/1.21")).await.unwrap();
            statuses.push(response.status().as_u16());
            tokio::time::resume();
        }
        assert_eq!(statuses.contains(&429), refused, "{mode:?}");
        let would = memory.0.lock().unwrap().iter().filter(|r| r.decision.as_ref().unwrap().would.is_some()).count();
        assert_eq!(would > 0, !refused, "{mode:?}");
    }
}

#[test]
fn the_composite_is_send() {
    fn is_send<T: Send>(_: &T) {}
    let memory = Memory::default();
    let mut service = layer("", &memory).layer(site(Way::End));
    is_send(&service);
    is_send(&service.call(from([203, 0, 113, 1], FIREFOX)));
}

/// deckle in mode `enforce` around a site that answers at once, with this configuration; warm, in the tokio clock.
fn enforcing(
    config: &str,
) -> impl Service<Request<()>, Response = u16, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let clock = ManualClock::at(1_790_000_000);
    let layer = DeckleLayer::builder()
        .config(Config::from_toml(&format!("mode = \"enforce\"\n{config}")).unwrap())
        .clock(clock.clone())
        .build()
        .unwrap();
    // Past the first minute, in which little is enforced.
    clock.advance(std::time::Duration::from_secs(120));
    let site = layer.layer(tower::service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))))
    }));
    site.map_response(|response| response.status().as_u16())
}

fn page(agent: &str, ip: [u8; 4]) -> Request<()> {
    let mut request = Request::builder().uri("/a").header("user-agent", agent).body(()).unwrap();
    request.extensions_mut().insert(Peer { address: (ip, 1).into(), secure: false });
    request
}

#[tokio::test(start_paused = true)]
async fn slow_waits_and_nobody_waits_when_too_many_do() {
    let site = enforcing("[action.slow]\nmax_concurrent = 1\n");
    let start = tokio::time::Instant::now();
    let first = tokio::spawn(site.clone().oneshot(page("Mozilla/5.0 HeadlessChrome/146.0.0.0", [203, 0, 113, 1])));
    tokio::task::yield_now().await;
    assert_eq!(
        site.clone().oneshot(page("Mozilla/5.0 HeadlessChrome/146.0.0.0", [203, 0, 113, 2])).await.unwrap(),
        200
    );
    assert_eq!(start.elapsed(), std::time::Duration::ZERO, "one place to wait, and it is taken");
    assert_eq!(first.await.unwrap().unwrap(), 200);
    assert!(start.elapsed() >= std::time::Duration::from_millis(150), "{:?}", start.elapsed());
}

#[tokio::test]
async fn behind_an_unknown_proxy_nothing_is_enforced() {
    let site = enforcing("[action.policy]\nbrowser = \"block\"\n");
    let mut codes = Vec::new();
    for i in 0..1_100 {
        let agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0", 100 + i % 40);
        codes.push(site.clone().oneshot(page(&agent, [10, 0, 0, 1])).await.unwrap());
    }
    assert_eq!((codes[0], codes.last()), (403, Some(&200)));
}

#[tokio::test]
async fn an_address_that_is_denied_stays_so_behind_an_unknown_proxy() {
    let site = enforcing("[visitor]\ndeny = [\"10.0.0.1/32\"]\n");
    for i in 0..1_100 {
        let agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0", 100 + i % 40);
        assert_eq!(site.clone().oneshot(page(&agent, [10, 0, 0, 1])).await.unwrap(), 403, "{i}");
    }
}

/// A clock that panics at one reading.
struct Tripwire {
    clock: Arc<ManualClock>,
    left: std::sync::atomic::AtomicI64,
}

impl Clock for Tripwire {
    fn elapsed(&self) -> std::time::Duration {
        assert!(self.left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) != 1, "the clock is broken");
        self.clock.elapsed()
    }

    fn unix(&self) -> std::time::Duration {
        self.clock.unix()
    }
}

/// Wherever in the judgment it happens, also with a table locked.
#[tokio::test]
async fn a_panic_in_the_judgment_lets_the_request_through_and_leaves_no_trace() {
    let mut caught = 0;
    for reading in 1..20 {
        let clock = Arc::new(Tripwire { clock: ManualClock::at(1_790_000_000), left: 0.into() });
        let state = Arc::new(State::new(clock.clone()));
        let quotas = deckle::action::Settings::default().limits.soft();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let site = {
            let seen = seen.clone();
            tower::service_fn(move |request: Request<()>| {
                seen.lock().unwrap().push(request.extensions().get::<Assessment>().unwrap().clone());
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
            })
        };
        let stack = IdentifyLayer::new(&deckle::visitor::Settings::default())
            .unwrap()
            .layer(AssessLayer::new(state, &deckle::suspicion::Settings::default(), quotas).unwrap().layer(site));
        for broken in [false, true, false] {
            clock.left.store(if broken { reading } else { 0 }, std::sync::atomic::Ordering::SeqCst);
            let request = page("python-requests/2.34", [203, 0, 113, 77]);
            let response = std::panic::AssertUnwindSafe(stack.clone().oneshot(request));
            assert_eq!(response.await.unwrap().status(), 200);
        }
        let seen = seen.lock().unwrap();
        let [before, during, after] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(!before.degraded && !after.degraded, "reading {reading}: {seen:?}");
        if during.degraded {
            caught += 1;
            assert_eq!((during.score, during.signals.len()), (0, 0), "judged as unknown");
        }
        assert!(after.score >= before.score && !after.first_request, "the history is still there");
    }
    assert!(caught >= 4, "{caught}");
}

/// A page behind the protecting layer: fields in, markup in, fields and body out.
async fn protected(
    settings: &deckle::page::Settings,
    fields: &[(&str, &str)],
    markup: &str,
    policy: Option<PagePolicy>,
) -> (HeaderMap, String) {
    let (fields, markup) = (fields.to_vec(), markup.to_owned());
    let site = tower::service_fn(move |_: Request<()>| {
        let mut response =
            Response::builder().header("content-type", "text/html; charset=utf-8").header("etag", "\"v1\"");
        for (name, value) in &fields {
            response = response.header(*name, *value);
        }
        let mut response = response.body(Full::new(Bytes::from(markup.clone()))).unwrap();
        response.extensions_mut().extend(
            policy
                .map(|p| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(p);
                    extensions
                })
                .unwrap_or_default(),
        );
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let rights = Config::from_toml("[rights]\nholder = \"The Post\"").unwrap().rights;
    let layer = ProtectLayer::new(settings, &rights, "/.deckle").unwrap();
    let response = layer.layer(site).oneshot(from([203, 0, 113, 60], "Firefox")).await.unwrap();
    let (head, body) = response.into_parts();
    (head.headers, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn guarded(config: &str) -> deckle::page::Settings {
    Config::from_toml(config).unwrap().page
}

const PLAIN: &str =
    "<!doctype html><html lang=fr><head><meta charset=utf-8><title>t</title></head><body><p>x</p></body></html>";

#[tokio::test]
async fn policies_are_amended_in_the_head_and_in_the_page() {
    let csp = "content-security-policy";
    let hash = |body: &str| body.split_once("integrity=\"").unwrap().1.split('"').next().unwrap().to_owned();
    // A host that is not ours: the hash goes into the field.
    let (headers, body) = protected(&guarded(""), &[(csp, "script-src cdn.example")], PLAIN, None).await;
    assert_eq!(headers[csp], format!("script-src cdn.example '{}'", hash(&body)));
    assert!(headers["etag"].to_str().unwrap().starts_with("\"v1~dk"), "still strong: {headers:?}");
    // A nonce goes into the tag, and two copies are no longer the same bytes.
    let (headers, body) = protected(&guarded(""), &[(csp, "script-src 'nonce-r4nd0m'")], PLAIN, None).await;
    assert_eq!(headers[csp], "script-src 'nonce-r4nd0m'");
    assert!(body.contains(" defer nonce=\"r4nd0m\" data-deckle=\"guard\""), "{body}");
    assert!(headers["etag"].to_str().unwrap().starts_with("W/"), "{headers:?}");
    // What cannot be amended is left as it is, without the guard; the notice does not need a script.
    let refused = "script-src 'unsafe-inline' cdn.example";
    let (headers, body) = protected(&guarded(""), &[(csp, refused)], PLAIN, None).await;
    assert_eq!(headers[csp], refused);
    assert!(!body.contains("data-deckle=\"guard\"") && body.contains("data-deckle=\"notice\""), "{body}");
    // With the origin known, its address can be.
    let origin = guarded("[page]\norigin = \"https://news.example\"");
    let (headers, _) = protected(&origin, &[(csp, refused)], PLAIN, None).await;
    let amended = headers[csp].to_str().unwrap();
    assert!(amended.starts_with(&format!("{refused} https://news.example/.deckle/guard.")), "{amended}");
    // Policies in the page: in each kind of quotes, and in none.
    for (before, after) in [
        ("\"script-src 'strict-dynamic'\"", "\"script-src 'strict-dynamic' 'HASH'\""),
        ("'script-src a.example'", "'script-src a.example &#39;HASH&#39;'"),
        ("script-src", "\"script-src 'HASH'\""),
        ("\"script-src &#39;self&#39;\"", "\"script-src &#39;self&#39;\""),
    ] {
        let meta = format!("<meta http-equiv=Content-Security-Policy content={before}><title>");
        let (_, body) = protected(&guarded(""), &[], &PLAIN.replace("<title>", &meta), None).await;
        let wanted = format!("content={}><script", after.replace("HASH", &hash(&body)));
        assert!(body.contains(&wanted), "{before}: {body}");
    }
    let meta = "<meta http-equiv=content-security-policy content=\"script-src 'unsafe-inline'\">";
    let (_, body) = protected(&guarded(""), &[], &PLAIN.replace("<title>", &format!("{meta}<title>")), None).await;
    assert!(body.contains(meta) && !body.contains("data-deckle=\"guard\""), "{body}");
}

#[tokio::test]
async fn the_site_names_the_mode_of_one_page() {
    let mode = |body: &str| body.split_once("data-mode=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
    let settings = guarded("[page.guard]\nmode = \"quote\"\nskip.selectors = [\"html[data-editor]\"]");
    let field = "x-deckle-guard";
    let (headers, body) = protected(&settings, &[(field, "block")], PLAIN, None).await;
    assert_eq!((mode(&body).as_deref(), headers.contains_key(field)), (Some("block"), false));
    for (value, expected) in [("off", None), ("attribute", Some("attribute")), ("maze", Some("quote"))] {
        let (headers, body) = protected(&settings, &[(field, value)], PLAIN, None).await;
        assert_eq!((mode(&body).as_deref(), headers.contains_key(field)), (expected, false), "{value}");
    }
    let off = PagePolicy { guard: Some(GuardMode::Off), notice: Some(false), rights: Some(false), marks: None };
    let (_, body) = protected(&settings, &[(field, "block")], PLAIN, Some(off)).await;
    assert_eq!(body, PLAIN, "the extension is stronger than the field");
    let editor = PLAIN.replace("<html lang=fr", "<html lang=fr data-editor");
    let meta = "<meta http-equiv=content-security-policy content=\"script-src a.example\">";
    let strict = editor.replace("<title>", &format!("{meta}<title>"));
    let (_, body) = protected(&settings, &[(field, "block")], &strict, None).await;
    assert!(mode(&body).as_deref() == Some("block") && body.contains("script-src a.example 'sha256-"), "{body}");
    let (_, body) = protected(&settings, &[], &strict, None).await;
    assert!(mode(&body).is_none() && body.contains(meta), "{body}");
    let (_, body) = protected(&settings, &[], &editor, None).await;
    assert_eq!(mode(&body), None);
    assert!(body.contains("data-deckle=\"notice\""));
}

#[tokio::test]
async fn the_language_of_the_page_chooses_the_script() {
    let settings = guarded("[page.guard]\nmode = \"block\"");
    let source =
        |body: &str| body.split_once("<script src=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
    let mut seen = std::collections::BTreeSet::new();
    for lang in ["fr", "de", "ar", "zh-TW", "xx"] {
        let (_, body) = protected(&settings, &[], &PLAIN.replace("lang=fr", &format!("lang={lang}")), None).await;
        seen.insert(source(&body).unwrap());
    }
    assert_eq!(seen.len(), 5);
    let none = PLAIN.replace(" lang=fr", "");
    let (_, by_field) = protected(&settings, &[("content-language", "fr, en")], &none, None).await;
    let (_, by_markup) = protected(&settings, &[], PLAIN, None).await;
    assert_eq!(source(&by_field), source(&by_markup));
    // A policy that was amended names one script: the one that goes into the page.
    let csp = ("content-security-policy", "script-src cdn.example");
    let (headers, body) = protected(&settings, &[csp], PLAIN, None).await;
    let integrity = body.split_once("integrity=\"").unwrap().1.split('"').next().unwrap();
    assert!(headers["content-security-policy"].to_str().unwrap().contains(integrity), "{headers:?} {body}");
}

#[tokio::test]
async fn the_message_of_an_older_plugin_leaves_the_text() {
    let message = "<div id=\"wpcp-error-message\" class=\"msgmsg-box-wpcp hideme\"><span>error: </span>Content is protected !!</div>";
    let page = PLAIN.replace("</body>", &format!("{message}<script src=/jquery.js></script></body>"));
    let (_, off) = protected(&guarded(""), &[], &page, None).await;
    assert!(off.contains(message), "{off}");
    let (_, on) = protected(&guarded("[page.guard]\nreplace = [\"wp-buy\"]"), &[], &page, None).await;
    assert!(!on.contains("protected !!") && on.contains("<p>x</p><script src=/jquery.js></script>"), "{on}");
    let text = |html: &str| deckle::page::plain_text(html).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(text(&off).replace(" error: Content is protected !!", ""), text(&on));
}

/// A site with one document, behind a layer that declares rights.
async fn document(
    rights: &str,
    path: &str,
    status: u16,
    fields: &[(&str, &str)],
    body: &str,
) -> (u16, HeaderMap, String) {
    let (fields, body) = (fields.to_vec(), body.to_owned());
    let site = tower::service_fn(move |request: Request<()>| {
        let conditional = request.headers().contains_key("if-none-match") || request.headers().contains_key("range");
        assert!(!conditional || request.uri().path() == "/a.png");
        let coding = request.headers().get("accept-encoding");
        assert!(!request.uri().path().ends_with("robots.txt") || coding.is_none_or(|c| c == "identity"));
        let mut response = Response::builder().status(status);
        for (name, value) in &fields {
            response = response.header(*name, *value);
        }
        std::future::ready(Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body.clone()))).unwrap()))
    });
    let config = Config::from_toml(rights).unwrap();
    let layer = ProtectLayer::new(&config.page, &config.rights, "/.deckle").unwrap();
    let mut request = from([203, 0, 113, 61], "Bot");
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in [("host", "news.example"), ("if-none-match", "\"x\""), ("range", "bytes=0-9")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (head, body) = layer.layer(site).oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (head.status.as_u16(), head.headers, body)
}

const RIGHTS: &str = "[rights]\nholder = \"The Post\"\nuses = { ai_train = \"deny\" }\nlicense = { url = \"https://news.example/license.xml\" }\n\
    [[rights.scope]]\nagents = [\"GPTBot\"]\nuses = { crawl = \"deny\" }\n";

#[tokio::test]
async fn robots_txt_is_the_site_s_own_with_our_statement_behind_it() {
    let own = "User-agent: *\nDisallow: /admin\n";
    let plain = [
        ("content-type", "text/plain"),
        ("content-length", "31"),
        ("etag", "\"a\""),
        ("cache-control", "max-age=999999"),
    ];
    let (status, headers, body) = document(RIGHTS, "/robots.txt", 200, &plain, own).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(own) && body.contains("Content-Usage: train-ai=n\n"), "{body}");
    assert!(!headers.contains_key("content-length") && !headers.contains_key("etag"), "{headers:?}");
    assert_eq!(headers["cache-control"], "max-age=86400");
    let robots = deckle::rights::robots::Robots::parse(body.as_bytes());
    assert!(!robots.allows("GPTBot", "/") && !robots.allows("x", "/admin") && robots.allows("x", "/story"));
    // Without a file it is ours.
    for (status, kind) in [(404, "text/plain"), (410, "text/plain"), (403, "text/plain"), (404, "text/html")] {
        let (got, headers, body) =
            document(RIGHTS, "/robots.txt", status, &[("content-type", kind)], "<h1>Not here</h1>").await;
        assert_eq!(
            (got, &headers["content-type"]),
            (200, &"text/plain; charset=utf-8".parse().unwrap()),
            "{status} {kind}"
        );
        assert!(body.contains("User-agent: GPTBot\n") && !body.contains("Not here"), "{body}");
    }
    // Rules under a wrong type are rules; of a page in words none of the lines is one.
    for page in [own, "<!doctype html><title>Not here</title>"] {
        let (_, headers, body) = document(RIGHTS, "/robots.txt", 200, &[("content-type", "Text/HTML")], page).await;
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
        assert!(body.starts_with(page) && body.contains("User-agent: GPTBot\n"), "{body}");
    }
    // What must not be touched is not.
    for field in [("cache-control", "no-transform"), ("signature-input", "s=(\"content-digest\")")] {
        assert_eq!(document(RIGHTS, "/robots.txt", 200, &[field], own).await.2, own, "{field:?}");
    }
    let digests =
        [("content-digest", "sha-256=:AA==:"), ("cache-control", "private, Max-Age=999999, s-maxage=31536000")];
    let (_, headers, _) = document(RIGHTS, "/robots.txt", 200, &digests, own).await;
    assert!(!headers.contains_key("content-digest"), "{headers:?}");
    assert_eq!(headers["cache-control"], "private, Max-Age=86400, s-maxage=86400");
    // A fault of the site means "fetch nothing" to a crawler: an answer of ours would free it.
    for status in [429, 500, 503, 301] {
        let (got, _, body) = document(RIGHTS, "/robots.txt", status, &[], "later").await;
        assert_eq!((got, body.as_str()), (status, "later"));
    }
    let coded = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    assert_eq!(document(RIGHTS, "/robots.txt", 200, &coded, "coded").await.2, "coded");
    let huge = format!("User-agent: *\n{}", "#".repeat(600 * 1024));
    assert_eq!(document(RIGHTS, "/robots.txt", 200, &plain[..1], &huge).await.2, huge);
}

/// The very address that was asked for counts, and what others may make of it.
#[tokio::test]
async fn rights_hold_for_the_address_as_it_was_asked_for() {
    let rights = "[page]\norigin = \"https://news.example\"\n[rights]\nholder = \"The Post\"\nuses = { ai_train = \"allow\" }\ntdm_meta = true\n\
        [[rights.scope]]\npath = \"/premium/\"\nuses = { ai_train = \"deny\" }\n[[rights.scope]]\npath = \"/*?print\"\nuses = { ai_train = \"deny\" }\n";
    let html = [("content-type", "text/html; charset=utf-8")];
    for (path, usage) in
        [("/premium/", "n"), ("/premium/a", "n"), ("/story?print", "n"), ("/story", "y"), ("/story/", "y")]
    {
        let (_, headers, body) = document(rights, path, 200, &html, PLAIN).await;
        assert_eq!(headers["content-usage"], format!("train-ai={usage}"), "{path}");
        assert_eq!(body.contains("<meta name=\"tdm-reservation\" content=\"1\">"), usage == "n", "{path}");
        let canonical = format!("\"url\":\"https://news.example{path}\"");
        assert_eq!(body.contains(&canonical), !path.contains('?'), "{path}: {body}");
    }
    // A reservation of the site's own stands in the page, too, and is not lifted there.
    let own = [html[0], ("tdm-reservation", "1"), ("tdm-policy", "https://own.example/tdm")];
    let (_, _, body) = document(rights, "/story", 200, &own, PLAIN).await;
    assert!(body.contains("<meta name=\"tdm-policy\" content=\"https://own.example/tdm\">"), "{body}");
    // A signature that covers a field of ours, and is kept: nothing is declared.
    let signed = [html[0], ("signature-input", "s=(\"x-robots-tag\")")];
    let (_, headers, body) = document(rights, "/premium/", 200, &signed, PLAIN).await;
    assert!(!headers.contains_key("content-usage") && body == PLAIN);
}

#[tokio::test]
async fn documents_that_the_site_does_not_have_are_answered() {
    let missing = |path: &'static str| document(RIGHTS, path, 404, &[], "none");
    let (status, headers, body) = missing("/.well-known/tdmrep.json").await;
    assert_eq!((status, &headers["content-type"]), (200, &"application/json".parse().unwrap()));
    assert_eq!(body, "[{\"location\":\"/\",\"tdm-reservation\":1}]");
    let (status, headers, body) = missing("/license.xml").await;
    assert_eq!((status, &headers["content-type"]), (200, &"application/rsl+xml".parse().unwrap()));
    assert!(body.contains("<prohibits type=\"usage\">ai-train</prohibits>"), "{body}");
    assert_eq!(missing("/other.xml").await.0, 404);
    assert_eq!(missing("/ai.txt").await.0, 404, "nobody has asked for it");
    let wanted = RIGHTS.replacen("holder", "ai_txt = true\nholder", 1);
    let (_, _, body) = document(&wanted, "/ai.txt", 404, &[], "none").await;
    assert_eq!(body, "User-Agent: *\nDisallow: /\n");
    assert_eq!(document(&wanted, "/ai.txt", 200, &[], "own").await.2, "own");
    let (_, _, own) = document(RIGHTS, "/license.xml", 200, &[("content-type", "application/xml")], "<rsl/>").await;
    assert_eq!(own, "<rsl/>", "the site's own file is the site's");
    assert_eq!(document("", "/license.xml", 404, &[], "none").await.0, 404);
}

#[tokio::test]
async fn rights_are_declared_in_fields_and_in_the_page() {
    let (status, headers, body) =
        document(RIGHTS, "/story", 200, &[("content-type", "text/html; charset=utf-8")], PLAIN).await;
    assert_eq!(status, 200);
    for (name, value) in
        [("content-usage", "train-ai=n"), ("tdm-reservation", "1"), ("x-robots-tag", "noai, noimageai")]
    {
        assert_eq!(headers[name], value);
    }
    assert!(
        body.contains("<link rel=\"license\" type=\"application/rsl+xml\" href=\"https://news.example/license.xml\">"),
        "{body}"
    );
    assert!(body.contains("<meta name=\"dcterms.rightsHolder\" content=\"The Post\">"), "{body}");
    assert!(body.contains("<script type=\"application/ld+json\">{\"@context\":\"https://schema.org\""), "{body}");
    // An image has fields only, a script has none, and an error says nothing about a text.
    let (_, headers, body) = document(RIGHTS, "/a.png", 200, &[("content-type", "image/png")], "png").await;
    assert_eq!((&headers["tdm-reservation"], body.as_str()), (&"1".parse().unwrap(), "png"));
    for (status, kind) in [(200, "text/javascript"), (404, "text/html; charset=utf-8")] {
        let (_, headers, _) = document(RIGHTS, "/x", status, &[("content-type", kind)], PLAIN).await;
        assert!(!headers.contains_key("content-usage"), "{kind}");
    }
    // A charset that comes further on must stay where a browser looks for it.
    for title in [1, 300, 600, 900] {
        let title = "t".repeat(title);
        let late = format!(
            "<!doctype html><html><head><title>{title}</title><meta charset=utf-8></head><body><p>x</p></body></html>"
        );
        let (_, _, body) = document(RIGHTS, "/story", 200, &[("content-type", "text/html")], &late).await;
        assert!(body.find("charset=utf-8>").unwrap() + 14 <= 1_024, "{body}");
        assert_eq!(body.contains("data-deckle=\"guard\""), title.len() < 900, "{body}");
        assert!(!body.contains("ld+json"), "{body}");
    }
    let (_, headers, body) = document("", "/story", 200, &[("content-type", "text/html; charset=utf-8")], PLAIN).await;
    assert!(!headers.contains_key("content-usage") && !body.contains("dcterms"), "what is not stated is not said");
}

#[test]
fn marks_behind_a_shared_cache_are_refused() {
    let build = |config: &str, secret: bool| {
        let builder = DeckleLayer::builder().config(Config::from_toml(config).unwrap()).sink(Memory::default());
        if secret { builder.secret(secrets()).build() } else { builder.build() }
    };
    let error = build("[page]\nshared_cache = true", true).unwrap_err().to_string();
    assert!(error.contains("page.shared_cache") && error.contains("watermark.level"), "{error}");
    assert!(build("[page]\nshared_cache = true\n[watermark]\nlevel = \"off\"", true).is_ok());
    assert!(build("[page]\nshared_cache = true", false).is_ok());
}

#[test]
fn settings_of_marks_that_do_not_hold_are_named() {
    let build = |keys: &str| {
        let config = Config::from_toml(&format!("[watermark]\n{keys}")).unwrap();
        DeckleLayer::builder().config(config).sink(Memory::default()).secret(secrets()).build()
    };
    for (keys, named) in [
        ("canary = true", "`watermark.canary`"),
        ("typographic.kinds = [\"a\", \"x\"]", "`watermark.typographic.kinds`: `x`"),
        ("roots = [\"article\", \".story\", \"p:has(a)\"]", "`watermark.roots[2]`: `p:has(a)`"),
        ("preserve = [\"a[\"]", "`watermark.preserve[0]`: `a[`"),
        ("skip = [\".x\", \"p + p\"]", "`watermark.skip[1]`: `p + p`"),
        ("paths = [\"/news/**\", \"!about\"]", "`watermark.paths[1]`: `!about`"),
        ("level = \"off\"\nroots = [\"a[\"]", "`watermark.roots[0]`"),
    ] {
        let error = build(keys).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let all = "level = \"variants\"\nscope = \"bucket(64)\"\nseal_markup = \"inert+aria\"\nhydrated = \"mark\"\n\
        typographic = { kinds = [\"a\", \"d\"], consistency = \"block\" }\nmax_page = \"1MiB\"";
    assert!(build(all).is_ok());
    let error = Config::from_toml("[watermark]\nscope = \"bucket(1)\"").unwrap_err().to_string();
    assert!(error.contains("bucket(2) to bucket(65536)"), "{error}");
}

#[tokio::test]
async fn of_two_layers_in_one_process_the_inner_one_does_the_work() {
    let rights = Config::from_toml("[rights]\nholder = \"The Post\"").unwrap().rights;
    let layer = ProtectLayer::new(&deckle::page::Settings::default(), &rights, "/.deckle").unwrap();
    let ask = || from([203, 0, 113, 61], "Firefox");
    let one = layer.layer(site(Way::Trailers)).oneshot(ask()).await.unwrap();
    let two = layer.layer(layer.layer(site(Way::Trailers))).oneshot(ask()).await.unwrap();
    assert_eq!(one.headers(), two.headers(), "one suffix, one of everything");
    let tag = two.headers()["etag"].clone();
    assert_eq!(text(one).await, text(two).await);
    // And its tag means the same to both.
    let mut again = ask();
    again.headers_mut().insert("if-none-match", tag.clone());
    let inner = tower::service_fn(|request: Request<()>| async move {
        assert_eq!(request.headers()["if-none-match"], "\"v1\"");
        Ok::<_, Infallible>(
            Response::builder().status(304).header("etag", "\"v1\"").body(Full::new(Bytes::new())).unwrap(),
        )
    });
    let confirmed = layer.layer(layer.layer(inner)).oneshot(again).await.unwrap();
    assert_eq!((confirmed.status().as_u16(), &confirmed.headers()["etag"]), (304, &tag));
}
