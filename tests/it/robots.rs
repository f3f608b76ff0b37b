//! robots.txt over time: which version was served when, and what stands in for it while the site is down.

use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use deckle::DeckleLayer;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::suspicion::Signal;
use deckle::visitor::Peer;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};
use tower::{Layer, ServiceExt};

use crate::support::{Deckle, get, hits, read_answer, request_from};
use crate::wire::{CLIENT, site};

#[test]
fn versions_are_kept_and_the_last_good_one_stands_in() {
    let status = Arc::new(AtomicU16::new(0));
    let mode = Arc::clone(&status);
    let url = site(move |_, stream| {
        let (status, body) = match mode.load(Ordering::SeqCst) {
            0 => ("200 OK", "User-agent: *\nDisallow: /admin\n"),
            1 => ("200 OK", "User-agent: *\nDisallow: /other\n"),
            // Nothing comes: deckle's own 502.
            3 => return,
            4 => ("404 Not Found", "none"),
            _ => ("503 Service Unavailable", "later"),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    for (config, says) in [("", false), ("[rights]\nuses = { ai_train = \"deny\" }\n", true)] {
        status.store(2, Ordering::SeqCst);
        let deckle = Deckle::with_config(config, &["--upstream", &url]);
        let ask = || get(CLIENT, deckle.address, "/robots.txt", "");
        assert_eq!(ask().status, 503, "nothing was ever good: nobody is freed");
        let mut texts = Vec::new();
        for mode in [0, 0, 1, 2, 3] {
            status.store(mode, Ordering::SeqCst);
            let answer = ask();
            assert_eq!(answer.status, 200, "{mode}");
            texts.push(answer.body);
        }
        assert_eq!((&texts[0], &texts[2], &texts[2]), (&texts[1], &texts[3], &texts[4]));
        let text = String::from_utf8(texts[3].clone()).unwrap();
        assert_eq!((text.contains("/other"), text.contains("train-ai=n")), (true, says), "{text}");
        assert_eq!(ask().headers["cache-control"], "max-age=60", "not longer than it must");

        let (lines, log) = deckle.stop();
        let version = |text: &[u8]| HEXLOWER.encode(&Sha256::digest(text)[..6]);
        let told: Vec<_> = hits(&lines).into_iter().filter_map(|l| l["deckle.robots.version"].as_str()).collect();
        let (first, second) = (version(&texts[0]), version(&texts[2]));
        assert_eq!(told, [&first, &first, &second, &second, &second, &second]);
        let kept: Vec<_> = lines.iter().filter(|l| l["deckle.kind"] == "robots").collect();
        assert_eq!(kept.len(), 2, "one line a change");
        assert_eq!(BASE64.decode(kept[1]["text"].as_str().unwrap().as_bytes()).unwrap(), texts[2]);
        let file = |name: String| std::fs::read(log.path().join("log/robots").join(name)).unwrap();
        assert_eq!((file(format!("{first}.txt")), file(format!("{second}.txt"))), (texts[0].clone(), texts[2].clone()));
        let names = std::fs::read_dir(log.path().join("log/robots")).unwrap().flatten();
        let history = names.filter(|e| e.file_name().to_string_lossy().starts_with("history-"));
        let changes: Vec<String> = history.map(|e| std::fs::read_to_string(e.path()).unwrap()).collect();
        assert_eq!((changes.len(), changes[0].lines().count()), (1, 2));
    }
}

#[test]
fn what_is_for_one_client_or_taken_back_stands_in_for_nobody() {
    let status = Arc::new(AtomicU16::new(0));
    let mode = Arc::clone(&status);
    let url = site(move |head, stream| {
        let html = if head.contains("?html") { "text/html" } else { "text/plain" };
        let (status, body) = match mode.load(Ordering::SeqCst) {
            0 => ("200 OK", "User-agent: *\nDisallow: /\n"),
            1 => ("404 Not Found", "none"),
            _ => ("503 Service Unavailable", "later"),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {html}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |mode: u16, path: &str, fields: &str| {
        status.store(mode, Ordering::SeqCst);
        get(CLIENT, deckle.address, path, fields).status
    };
    for (path, fields) in
        [("/robots.txt?a=b", ""), ("/robots.txt", "Cookie: a=b\r\n"), ("/robots.txt", "Authorization: Basic eA==\r\n")]
    {
        assert_eq!((ask(0, path, fields), ask(2, "/robots.txt", "")), (200, 503), "{path} {fields}");
    }
    assert_eq!((ask(0, "/robots.txt", ""), ask(2, "/robots.txt", "")), (200, 200));
    assert_eq!((ask(1, "/robots.txt?a", ""), ask(2, "/robots.txt", "")), (404, 200), "it is gone for one");
    assert_eq!((ask(1, "/robots.txt", ""), ask(2, "/robots.txt", "")), (404, 503), "it is gone");
    // A reload forgets nothing.
    assert_eq!(ask(0, "/robots.txt", ""), 200);
    deckle.signal("HUP");
    crate::proxy::wait_until(|| crate::support::read_log(&deckle.log_dir()).iter().any(|l| l["reason"] == "reopen"));
    assert_eq!(ask(2, "/robots.txt", ""), 200);
}

#[test]
fn names_that_one_client_makes_up_take_no_place_of_the_site() {
    let fails = Arc::new(AtomicU16::new(0));
    let mode = Arc::clone(&fails);
    let url = site(move |_, stream| {
        let status = if mode.load(Ordering::SeqCst) == 0 { "200 OK" } else { "500 Internal Server Error" };
        let body = "User-agent: *\nDisallow: /admin\n";
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |network: u8, host: &str| {
        let request = format!("GET /robots.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        read_answer(request_from(Ipv4Addr::new(127, 0, network, 1), deckle.address, &request)).status
    };
    let make_up = || {
        for number in 0..70 {
            assert_eq!(ask(200, &format!("h{number}.example")), 200);
        }
    };
    // Before the site is known, and afterwards.
    make_up();
    for network in 0..12 {
        assert_eq!(ask(network, "news.example"), 200);
    }
    make_up();
    fails.store(1, Ordering::SeqCst);
    assert_eq!((ask(0, "news.example"), ask(200, "h69.example")), (200, 500));

    let (_, log) = deckle.stop();
    let names = std::fs::read_dir(log.path().join("log/robots")).unwrap().flatten();
    let history = names.filter(|e| e.file_name().to_string_lossy().starts_with("history-"));
    let lines: Vec<String> = history.map(|e| std::fs::read_to_string(e.path()).unwrap()).collect();
    let lines: Vec<&str> = lines.iter().flat_map(|text| text.lines()).collect();
    let of_site = lines.iter().filter(|line| line.contains("news.example")).count();
    assert_eq!((lines.len(), of_site), (64 + 1, 1), "one has made room, and comes back no more");
}

#[test]
fn head_of_a_document_says_the_length_of_the_document() {
    let url = site(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nnone");
    });
    let config = "[rights]\nai_txt = true\nuses = { ai_train = \"deny\" }\nlicense = { url = \"https://news.example/l.xml\" }\ntdm_policy = \"https://news.example/tdm.json\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    for path in ["/robots.txt", "/.well-known/tdmrep.json", "/ai.txt", "/l.xml", "/tdm.json"] {
        let ask = |method: &str| {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n");
            read_answer(request_from(CLIENT, deckle.address, &request))
        };
        let (get, head) = (ask("GET"), ask("HEAD"));
        assert_eq!((get.status, head.status, head.body.len()), (200, 200, 0), "{path}");
        assert_eq!(head.headers["content-length"], get.body.len().to_string(), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
    }
}

#[tokio::test]
async fn who_ignores_robots_txt_is_told_by_the_copies_that_went_out() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, clock) = (Arc::clone(&seen), ManualClock::at(1_795_000_000));
    let site = tower::service_fn(|request: Request<()>| async move {
        let (kind, body) = match request.uri().path() {
            "/robots.txt" => ("text/plain", "User-agent: CCBot\nDisallow: /print/\n"),
            _ => ("text/html", "<!doctype html><title>t</title><p>A page."),
        };
        let body = Full::new(Bytes::from_static(body.as_bytes()));
        Ok::<_, Infallible>(Response::builder().header("content-type", kind).body(body).unwrap())
    });
    let layer = DeckleLayer::builder().clock(clock.clone()).sink(Signals(sink)).build().unwrap();
    let service = layer.layer(site);
    let get = async |agent: &str, path: &str| {
        let request = Request::builder().uri(path).header("host", "news.example").header("user-agent", agent);
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Peer { address: ([203, 0, 113, 1], 1).into(), secure: false });
        let Ok(answer) = service.clone().oneshot(request).await;
        // What was served is known when it has been read to its end.
        answer.into_body().collect().await.unwrap();
        seen.lock().unwrap().pop().unwrap()
    };
    let day = Duration::from_secs(86_400);
    assert!(!get("CCBot/2.0", "/print/a").await, "nobody has asked for robots.txt yet");
    get("CCBot/2.0", "/robots.txt").await;
    assert!(!get("CCBot/2.0", "/print/a").await, "yesterday's may have said otherwise");
    clock.advance(day);
    assert!(!get("CCBot/2.0", "/print/a").await, "and it may have changed since");
    get("SemrushBot/7", "/robots.txt").await;
    assert!(get("CCBot/2.0", "/print/a").await);
    assert!(!get("CCBot/2.0", "/news/a-b-c").await, "that one is open");
    assert!(!get("CCBot/2.0", "/print/%61").await, "parsers differ about that");
    assert!(!get("SemrushBot/7", "/print/a").await, "to another one");
    assert!(!get("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "/print/a").await);
}

/// Was it held against the client that robots.txt forbids the path?
struct Signals(Arc<Mutex<Vec<bool>>>);

impl Sink for Signals {
    fn record(&self, record: Box<AuditRecord>) {
        let signals = record.assessment.unwrap().signals;
        self.0.lock().unwrap().push(signals.iter().any(|fired| fired.signal == Signal::RobotsDisallowed));
    }
}
