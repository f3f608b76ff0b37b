//! On the wire: framing, trailers, upgrades, HTTP/2 (RFC 9110, RFC 9112, RFC 9113).

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::page::{PageReport, Settings};
use deckle::visitor::Peer;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::support::{Deckle, PATIENCE, get, request_from};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 15);
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str =
    "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><p>Hello</p></body></html>";
/// An answer that ends its connection: else the next request might be sent while the site closes it.
pub(crate) const FILE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

/// A site that gets the head of each request and the stream behind it, byte for byte.
pub(crate) fn site(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let head = until(&mut stream, "\r\n\r\n");
                // deckle itself asks for the front page when it starts.
                if head.ends_with("\r\n\r\n") && !head.starts_with("GET / ") {
                    answer(&head, &mut stream);
                }
            });
        }
    });
    url
}

/// All up to this text, or to the end.
pub(crate) fn until(stream: &mut TcpStream, text: &str) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(text.as_bytes()) && matches!(stream.read(&mut byte), Ok(1)) {
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// All up to the end of the connection, which must come, by a close or a reset.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    if let Err(error) = stream.read_to_end(&mut seen) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "nobody ended the connection");
    }
    String::from_utf8_lossy(&seen).into_owned()
}

pub(crate) fn talk(deckle: &Deckle, request: &str) -> TcpStream {
    request_from(CLIENT, deckle.address, request)
}

pub(crate) fn whole(deckle: &Deckle, request: &str) -> String {
    rest(&mut talk(deckle, request))
}

pub(crate) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

/// The values of a field, line by line.
fn lines<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let fields = message.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let memory = Arc::clone(&seen);
    let url = site(move |head, stream| {
        memory.lock().unwrap().push((head.to_owned(), String::new()));
        let body = until(stream, "0\r\n\r\n");
        // Only what has come to its end is answered.
        if body.ends_with("0\r\n\r\n") {
            memory.lock().unwrap().push((head.to_owned(), body));
            let _ = stream.write_all(FILE);
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let next = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    #[rustfmt::skip]
    let refused = [
        ("two lengths", "1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n"),
        ("a list of lengths", "1.1\r\nContent-Length: 5, 6\r\n"),
        ("no number", "1.1\r\nContent-Length: +5\r\n"),
        ("a folded line", "1.1\r\nX-A: b\r\n c\r\nContent-Length: 5\r\n"),
        ("a folded length", "1.1\r\nContent-Length:\r\n 5\r\n"),
        ("a blank before the colon", "1.1\r\nContent-Length : 5\r\n"),
        ("chunks over HTTP/1.0", "1.0\r\nTransfer-Encoding: chunked\r\n"),
    ];
    for (name, fields) in refused {
        let answer = whole(&deckle, &format!("POST /refused HTTP/{fields}Host: x\r\n\r\nhello{next}"));
        assert_eq!((status(&answer), answer.matches("HTTP/1.").count()), ("400", 1), "{name}: {answer}");
    }
    let post = |fields: &str, body: &str| {
        let head = format!("POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}");
        whole(&deckle, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}"))
    };
    for (name, chunks) in [
        ("no size", "zz\r\nhello\r\n0\r\n\r\n"),
        ("no end of the line", "5\r\nhelloX0\r\n\r\n"),
        ("a size beyond all", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ] {
        let answer = post("", &format!("{chunks}{next}"));
        assert_eq!((status(&answer), answer.ends_with("ok")), ("400", false), "{name}: {answer}");
    }
    // Chunks are stronger than a length (RFC 9112 §6.3), which does not go on.
    for (name, fields) in
        [("chunks", ""), ("too short", "Content-Length: 3\r\n"), ("too long", "Content-Length: 99\r\n")]
    {
        let answer = post(fields, "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(status(&answer), "200", "{name}: {answer}");
        let all = seen.lock().unwrap().clone();
        let (head, body) = all.iter().rfind(|(_, body)| !body.is_empty()).unwrap();
        assert_eq!(
            (lines(head, "content-length").len(), body.as_str()),
            (0, "5\r\nhello\r\n0\r\n\r\n"),
            "{name}: {head}"
        );
    }
    let asked: String = seen.lock().unwrap().iter().map(|(head, _)| head.as_str()).collect();
    assert!(!asked.contains("/refused") && !asked.contains("/smuggled"), "{asked}");
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_none() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let url = site(move |head, stream| {
        let fields = match head.split(' ').nth(1) {
            Some("/lengths") => "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            Some("/folded") => "X-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
            _ => "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}").as_bytes());
        if head.contains(" /chunks ") {
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
            let _ = stream.write_all(b"zz\r\nhello\r\n0\r\n\r\n");
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for path in ["/lengths", "/folded"] {
        assert_eq!(get(CLIENT, deckle.address, path, "").status, 502, "{path}");
    }
    let mut stream = talk(&deckle, "GET /chunks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&until(&mut stream, "hello")), "200");
    go.send(()).unwrap();
    let end = rest(&mut stream);
    assert!(!end.contains("hello") && !end.ends_with("0\r\n\r\n"), "no clean end: {end:?}");
}

#[test]
fn the_length_of_an_answer_is_that_of_its_chunks() {
    let url = site(|head, stream| {
        let length = if head.contains(" /short ") { 3 } else { 99 };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
        let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for path in ["/short", "/long"] {
        let answer = get(CLIENT, deckle.address, path, "");
        assert_eq!((answer.body.as_slice(), answer.complete), (&b"hello"[..], true), "{path}: {:?}", answer.headers);
    }
}

#[test]
fn trailers_are_announced_and_come_in_both_directions() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let _ = tell.send((head.to_owned(), until(stream, "\r\n\r\n")));
        let kind = if head.contains(" /page ") { HTML } else { "text/plain" };
        let head =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nTrailer: X-Sum, Content-MD5\r\n";
        let trailers = "X-Sum: 7\r\nContent-MD5: AA==\r\n";
        let message = format!("{head}Content-Type: {kind}\r\n\r\n{:x}\r\n{PAGE}\r\n0\r\n{trailers}\r\n", PAGE.len());
        let _ = stream.write_all(message.as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for (path, names) in [("/file", "x-sum, content-md5"), ("/page", "x-sum")] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\nTE: trailers\r\nTrailer: X-Up\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Up: 1\r\n\r\n"
        );
        let answer = whole(&deckle, &request);
        let (asked, body) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((lines(&asked, "te"), lines(&asked, "trailer")), (vec!["trailers"], vec!["X-Up"]), "{path}");
        assert_eq!(body, "5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n", "{path}");
        assert_eq!(lines(&answer, "trailer").concat().to_ascii_lowercase(), names, "{path}: {answer}");
        let (page, trailers) = answer.rsplit_once("\r\n0\r\n").unwrap();
        assert_eq!(lines(trailers, "x-sum"), ["7"], "{path}: {answer}");
        // A digest of what is no longer the same body goes.
        let rewritten = path == "/page";
        assert_eq!(lines(trailers, "content-md5").is_empty(), rewritten, "{path}: {answer}");
        assert_eq!(page.contains("data-deckle=\"guard\""), rewritten, "{path}: {answer}");
    }
}

#[test]
fn the_final_answer_comes_alone_and_names_the_hop() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let _ = tell.send(head.to_owned());
        let _ = stream.write_all(
            b"HTTP/1.1 103 Early Hints\r\nLink: </early.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
              HTTP/1.1 200 OK\r\nLink: </late.css>; rel=preload\r\nVia: 1.0 cache\r\nContent-Type: text/plain\r\n\
              Content-Length: 2\r\nConnection: close\r\n\r\nok",
        );
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let answer = whole(&deckle, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("200", 1), "{answer}");
    assert_eq!(lines(&answer, "link"), ["</late.css>; rel=preload"]);
    let asked = told.recv_timeout(PATIENCE).unwrap();
    let name = lines(&asked, "via").concat().strip_prefix("1.1 ").unwrap().to_owned();
    assert!(name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    assert_eq!(lines(&answer, "via"), ["1.0 cache", format!("1.1 {name}").as_str()], "the same one both ways");
}

pub(crate) const UPGRADE: &str = "Host: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

#[test]
fn an_upgrade_that_is_declined_is_an_answer_like_any_other() {
    let url = site(|head, stream| {
        let (line, kind) = if head.contains(" /page ") { ("200 OK", HTML) } else { ("403 Forbidden", "text/plain") };
        let head = format!(
            "HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
            PAGE.len()
        );
        let _ = stream.write_all(head.as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for (path, code, guarded) in [("/page", "200", true), ("/no", "403", false)] {
        let answer = whole(&deckle, &format!("GET {path} HTTP/1.1\r\nConnection: Upgrade, close\r\n{UPGRADE}\r\n"));
        assert_eq!((status(&answer), lines(&answer, "upgrade").len()), (code, 0), "{answer}");
        assert_eq!(answer.contains("data-deckle=\"guard\""), guarded, "{answer}");
        assert!(answer.contains("<p>Hello</p>"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_passes_the_layers_alone() {
    let socket = axum::routing::get(|mut request: axum::extract::Request| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let mut message = [0; 4];
            stream.read_exact(&mut message).await.unwrap();
            stream.write_all(&message).await.unwrap();
        });
        let answer = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        answer.body(axum::body::Body::empty()).unwrap()
    });
    let app = axum::Router::new().route("/ws", socket).layer(DeckleLayer::builder().build().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let request = format!("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\n{UPGRADE}\r\n");
    let mut stream = request_from(CLIENT, address, &request);
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "101");
    stream.write_all(b"ping").unwrap();
    assert_eq!(until(&mut stream, "ping"), "ping");
}

#[test]
fn a_body_is_asked_for_only_if_it_is_wanted() {
    let url = site(|_, stream| {
        if until(stream, "hello").ends_with("hello") {
            let _ = stream.write_all(FILE);
        }
    });
    let deckle = Deckle::with_config("[proxy]\nmax_request_body = \"1KiB\"\n", &["--upstream", &url]);
    let post = |length: usize| {
        let head = "POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n";
        format!("{head}Content-Length: {length}\r\n\r\n")
    };
    let mut stream = talk(&deckle, &post(5));
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "100");
    stream.write_all(b"hello").unwrap();
    assert_eq!(status(&rest(&mut stream)), "200");
    let refused = whole(&deckle, &post(2_000));
    assert_eq!((status(&refused), refused.matches("HTTP/1.1 ").count()), ("413", 1), "{refused}");
}

#[tokio::test]
async fn over_http_2_a_page_has_no_length_and_a_broken_one_is_reset() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let _ = tell.send(head.to_owned());
        let (kind, length) = match head.split(' ').nth(1) {
            Some("/page") => (HTML, PAGE.len()),
            Some("/file") => ("text/plain", PAGE.len()),
            _ => (HTML, 100_000),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
        let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{PAGE}").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let stream = tokio::net::TcpStream::connect(deckle.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        let request = Request::builder().uri(format!("http://news.example{path}"));
        request.header("cookie", "a=1").header("cookie", "b=2").body(Empty::new()).unwrap()
    };
    for (path, length) in [("/page", None), ("/file", Some(PAGE.len().to_string()))] {
        let (head, body) = client.send_request(ask(path)).await.unwrap().into_parts();
        let told_length = head.headers.get("content-length").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!((told_length, head.headers.contains_key("transfer-encoding")), (length.clone(), false), "{path}");
        let text = body.collect().await.unwrap().to_bytes();
        assert!(text.ends_with(b"</html>") && (text.len() > PAGE.len()) == length.is_none(), "{path}: {text:?}");
        let asked = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(lines(&asked, "host"), ["news.example"], "of `:authority`: {asked}");
        assert_eq!(lines(&asked, "cookie"), ["a=1; b=2"], "{asked}");
    }
    let broken = match client.send_request(ask("/broken")).await {
        Ok(answer) => answer.into_body().collect().await.map(drop),
        Err(error) => Err(error),
    };
    let error = format!("{:?}", broken.unwrap_err());
    assert!(error.contains("Reset("), "{error}");
    assert_eq!(client.send_request(ask("/page")).await.unwrap().status(), 200, "the connection goes on");
}

/// Whoever asks for heads, as monitors do, takes a body for a broken protocol.
#[tokio::test]
async fn over_http_2_no_answer_to_head_has_a_body() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let deckle = Deckle::start(&["--upstream", &format!("http://{nobody}")]);
    let stream = tokio::net::TcpStream::connect(deckle.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut lengths = Vec::new();
    for method in ["HEAD", "GET"] {
        let request = Request::builder().method(method).uri("http://news.example/story").body(Empty::new()).unwrap();
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        assert_eq!(head.status, 502);
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD");
        lengths.push(head.headers["content-length"].clone());
    }
    assert_eq!(lengths[0], lengths[1], "the length is that of the body that a GET gets");
}

#[tokio::test]
async fn a_page_with_a_nonce_is_parsed_each_time() {
    let layer = crate::streaming::layer(&Settings::default(), false);
    for (nonce, known) in [(false, [false, true, true]), (true, [false; 3])] {
        for (visit, known) in known.into_iter().enumerate() {
            let site = tower::service_fn(move |_: Request<()>| {
                let mut response = Response::builder().header("content-type", HTML);
                if nonce {
                    response = response.header("content-security-policy", "script-src 'nonce-r4nd0m'");
                }
                let body = Full::new(Bytes::from_static(PAGE.as_bytes()));
                std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
            });
            let response = layer.layer(site).oneshot(Request::new(())).await.unwrap();
            let report = response.extensions().get::<PageReport>().unwrap().clone();
            let page = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&page).into_owned();
            assert!(text.contains("data-deckle=\"guard\"") && text.contains("nonce=\"r4nd0m\"") == nonce, "{text}");
            assert_eq!(report.facts().known, known, "visit {visit}, nonce {nonce}");
        }
    }
}

#[tokio::test]
async fn questions_without_a_text_count_as_requests_only() {
    for (quota, method, page) in [
        ("page_hard", "GET", 429),
        ("page_hard", "HEAD", 200),
        ("page_hard", "OPTIONS", 200),
        ("all_hard", "HEAD", 429),
        ("all_hard", "OPTIONS", 429),
    ] {
        let limit = format!("[action.limits]\n{quota} = {{ every = \"1h\", burst = 4 }}\n");
        let config = format!("mode = \"enforce\"\n[action.policy]\nbrowser = \"allow\"\n{limit}");
        let clock = ManualClock::at(1_790_000_000);
        let builder = DeckleLayer::builder().config(Config::from_toml(&config).unwrap()).clock(clock.clone());
        let layer = builder.build().unwrap();
        // Past the first minute, in which little is enforced.
        clock.advance(Duration::from_secs(120));
        let site = layer.layer(tower::service_fn(|_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))))
        }));
        for (number, method) in [method; 4].into_iter().chain(["GET"]).enumerate() {
            let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
            let mut request = Request::builder().method(method).uri("/a").header("user-agent", agent).body(()).unwrap();
            request.extensions_mut().insert(Peer { address: ([203, 0, 113, 1], 1).into(), secure: false });
            let status = site.clone().oneshot(request).await.unwrap().status().as_u16();
            assert_eq!(status, if number < 4 { 200 } else { page }, "{quota} {method} {number}");
        }
    }
}
