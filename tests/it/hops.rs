//! What belongs to one hop, and what of an answer cannot be passed on (RFC 9110 §6.5.1, §7.6).

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::exchanges::gzip;
use crate::neighbours::record;
use crate::proxy::wait_until;
use crate::support::{Deckle, PATIENCE, get};
use crate::wire::{CLIENT, site, status, talk, until, whole};

#[test]
fn over_http_1_0_a_body_that_breaks_off_ends_in_a_reset() {
    let url = site(|head, stream| {
        let length = if head.contains(" /cut ") { 1_000 } else { 5 };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\nhello");
        let _ = stream.write_all(head.as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let end = |path: &str| {
        let mut seen = Vec::new();
        talk(&deckle, &format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")).read_to_end(&mut seen).map_err(|e| e.kind())
    };
    assert!(end("/whole").is_ok());
    assert_eq!(end("/cut"), Err(ErrorKind::ConnectionReset), "a close would say that this is all");
}

#[test]
fn what_comes_over_http_1_0_leaves_over_http_1_1() {
    let url = site(|head, stream| {
        let length = if head.contains(" /cut ") { "Content-Length: 1000\r\n" } else { "" };
        let head = format!("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n{length}\r\n");
        let _ = stream.write_all(format!("{head}<!doctype html><p>hello").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |path: &str, version: &str| {
        whole(&deckle, &format!("GET {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"))
    };
    let (all, cut) = (ask("/all", "1.1"), ask("/cut", "1.1"));
    for answer in [&all, &cut] {
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    let is_over = |answer: &str| answer.ends_with("\r\n0\r\n\r\n");
    assert!(
        is_over(&all) && all.contains("hello") && !is_over(&cut),
        "a page that breaks off does not look whole: {cut}"
    );
    let old = ask("/all", "1.0");
    assert!(old.starts_with("HTTP/1.0 200 OK") && old.contains("hello") && !is_over(&old), "{old}");
    // Nothing but the close is its end.
    let kept = whole(&deckle, "GET /all HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
    assert!(kept.contains("hello") && !kept.to_ascii_lowercase().contains("keep-alive"), "{kept}");
}

/// With a length and without its body the next request of that connection, anybody's, would be taken for it.
#[test]
fn a_request_with_a_body_is_not_asked_again_without_it() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let mut head = head.to_owned();
        while head.ends_with("\r\n\r\n") {
            let mut body = vec![0; if head.to_ascii_lowercase().contains("content-length: 5") { 5 } else { 0 }];
            stream.read_exact(&mut body).unwrap();
            if head.to_ascii_lowercase().contains("chunked") {
                until(stream, "0\r\n\r\n");
            }
            let _ = tell.send((head, body));
            let answer = "206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-4/300\r\n";
            let _ = stream.write_all(format!("HTTP/1.1 {answer}Content-Length: 5\r\n\r\n<p>hi").as_bytes());
            head = until(stream, "\r\n\r\n");
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |fields: &str, body: &str| {
        let fields = format!("Host: x\r\nConnection: close\r\nSec-Fetch-Dest: video\r\nRange: bytes=0-4\r\n{fields}");
        let answer = whole(&deckle, &format!("GET /story HTTP/1.1\r\n{fields}\r\n{body}"));
        (status(&answer).to_owned(), told.try_iter().map(|(_, body)| body).collect::<Vec<_>>())
    };
    let refused = "416".to_owned();
    assert_eq!(ask("Content-Length: 5\r\n", "hello"), (refused.clone(), vec![b"hello".to_vec()]));
    let chunked = ask("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!((chunked.0, chunked.1.len()), (refused.clone(), 1));
    assert_eq!(ask("", ""), (refused, vec![vec![], vec![]]), "a request without a body is asked again for the whole");
}

/// It has taken the connection and reads nothing, as a site does whose workers hang.
#[test]
fn an_upload_that_the_site_does_not_take_comes_to_an_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let url = site(move |_, _| _ = wait.lock().unwrap().recv_timeout(PATIENCE));
    let config = "[proxy.timeouts]\nresponse_idle = \"200ms\"\nfirst_byte = \"60s\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &url]);
    let mut stream = talk(&deckle, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    let mut upload = stream.try_clone().unwrap();
    // More than all buffers between here and there hold.
    let upload = std::thread::spawn(move || (0..100).try_for_each(|_| upload.write_all(&vec![b'x'; 1_000_000])));
    assert_eq!(status(&until(&mut stream, "\r\n\r\n")), "504");
    drop(stream);
    assert!(upload.join().unwrap().is_err(), "nobody waits for the rest");
    let (lines, _log) = deckle.stop();
    assert_eq!(record(&lines, "/a")["http.response.status_code"], 504);
    drop(go);
}

/// Who sends more than may be is told so, though the rest of it is still on its way.
#[test]
fn an_upload_that_is_refused_gets_the_whole_answer_and_no_reset() {
    let url = site(|_, stream| _ = stream.read_to_end(&mut Vec::new()));
    let deckle = Deckle::with_config("[proxy]\nmax_request_body = \"1KiB\"\n", &["--upstream", &url]);
    let head = "POST /a HTTP/1.1\r\nHost: x\r\n";
    for length in ["Content-Length: 16000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nf42400\r\n"] {
        let mut stream = talk(&deckle, &format!("{head}{length}"));
        for part in 0..16 {
            stream.write_all(&vec![b'x'; 1_000_000]).unwrap_or_else(|error| panic!("{length}, part {part}: {error}"));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer ends by a close");
        assert!(status(&answer) == "413" && answer.ends_with("</html>\n"), "{length}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{length}: {answer}");
    }
}

/// NTLM signs in a connection (RFC 4559 §6).
#[test]
fn a_connection_that_a_visitor_has_signed_in_is_nobody_elses() {
    let connections = AtomicUsize::new(0);
    let url = site(move |head, stream| {
        let (number, mut head) = (connections.fetch_add(1, Ordering::Relaxed).to_string(), head.to_owned());
        while head.ends_with("\r\n\r\n") {
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", number.len());
            let _ = stream.write_all(format!("{answer}{number}").as_bytes());
            head = until(stream, "\r\n\r\n");
        }
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let ask = |fields: &str| String::from_utf8(get(CLIENT, deckle.address, "/a", fields).body).unwrap();
    // The first answer says that the site keeps connections.
    ask("");
    wait_until(|| ask("") == ask(""));
    for scheme in ["NTLM TlRMTVNTUAAD", "negotiate YII=", "Negotiate"] {
        let signed_in = ask(&format!("Authorization: {scheme}\r\n"));
        for _ in 0..10 {
            assert_ne!(ask("Authorization: Basic bmVnb3RpYXRlIE5UTE0=\r\n"), signed_in, "{scheme}");
        }
    }
}

#[test]
fn a_change_of_protocol_that_nobody_asked_for_is_a_502() {
    let url = site(|_, stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    assert_eq!(get(CLIENT, deckle.address, "/a", "").status, 502);
}

#[test]
fn a_length_that_is_named_twice_leaves_once() {
    let url = site(|head, stream| {
        let lengths = match head.split(' ').nth(1).unwrap() {
            "/list" => "Content-Length: 2, 2",
            "/other" => "Content-Length: 2\r\nContent-Length: 3",
            _ => "Content-Length: 2\r\nContent-Length: 2",
        };
        let body = if head.starts_with("HEAD") { "" } else { "ok" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n{lengths}\r\n\r\n");
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for (question, length) in
        [("GET /list", Some("2")), ("GET /lines", Some("2")), ("HEAD /list", Some("2")), ("HEAD /other", None)]
    {
        let answer = whole(&deckle, &format!("{question} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let lower = answer.to_ascii_lowercase();
        let lengths: Vec<&str> = lower.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
        assert_eq!((status(&answer), lengths), ("200", length.into_iter().collect()), "{question}");
        assert_eq!(answer.ends_with("\r\n\r\nok"), question.starts_with("GET"), "{question}: {answer}");
    }
}

#[test]
fn a_transfer_coding_that_is_not_undone_here_is_a_502() {
    let url = site(|head, stream| {
        let coding = if head.contains(" /coded ") { "gzip, chunked" } else { "Chunked" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let _ = stream.write_all(format!("{head}2\r\nok\r\n0\r\n\r\n").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    assert_eq!(get(CLIENT, deckle.address, "/coded", "").status, 502);
    assert_eq!(get(CLIENT, deckle.address, "/plain", "").body, b"ok");
}

#[test]
fn a_page_put_together_here_is_not_called_as_the_site_calls_its_304() {
    let words = "<p>The committee said on Monday that it will not publish the full report before the end of May.</p>\n";
    let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{}", words.repeat(60));
    let page = gzip(page.as_bytes());
    let url = site(move |head, stream| {
        let fields = "ETag: \"v1\"\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8\r\n";
        let known = head.to_ascii_lowercase().contains("if-none-match: \"v1\"");
        let (status, body) = if known { ("304 NOT MODIFIED", &[][..]) } else { ("200 FINE", &page[..]) };
        let length = if known { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 {status}\r\n{fields}{length}Content-Encoding: gzip\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    // It is asked for by a validator when several readers have got it packed.
    let readers = std::cell::Cell::new(0);
    let ask = || {
        readers.set((readers.get() + 1) % 5);
        let fields = format!("User-Agent: reader {}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n", readers.get());
        whole(&deckle, &format!("GET /a HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(ask(), "HTTP/1.1 200 FINE", "the words of the site");
    wait_until(|| ask() == "HTTP/1.1 200 OK");
}

/// The same where deckle itself ends: it is told to stop, and the time for running answers is over.
#[test]
fn over_http_1_0_a_body_that_is_cut_off_ends_in_a_reset() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let url = site(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nfirst");
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
    });
    let deckle = Deckle::with_config("[proxy]\ndrain = \"100ms\"\n", &["--upstream", &url]);
    let mut stream = talk(&deckle, "GET /a HTTP/1.0\r\nHost: x\r\n\r\n");
    assert!(until(&mut stream, "first").ends_with("first"));
    deckle.signal("TERM");
    let end = stream.read_to_end(&mut Vec::new()).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    drop(go);
}

#[test]
fn what_may_not_stand_behind_a_body_is_taken_out() {
    let (tell, told) = mpsc::channel();
    let trailers = "X-Sum: 7\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\nAuthorization: x\r\nX-Forwarded-For: 127.0.0.1\r\nVia: 1.1 x\r\n";
    let url = site(move |_, stream| {
        let _ = tell.send(until(stream, "\r\n\r\n"));
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\nConnection: close\r\n";
        let names = "Trailer: X-Sum, Set-Cookie, Content-Length, Transfer-Encoding, Authorization\r\n";
        let _ = stream.write_all(format!("{head}{names}\r\n2\r\nok\r\n0\r\n{trailers}\r\n").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    let head = "POST /a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n";
    let names = "Trailer: X-Sum, Authorization\r\n";
    let answer = whole(&deckle, &format!("{head}{names}\r\n2\r\nup\r\n0\r\n{trailers}\r\n"));
    let upload = told.recv_timeout(PATIENCE).unwrap();
    for (way, message) in [("up", upload.as_str()), ("down", answer.as_str())] {
        let behind = message.split("0\r\n").last().unwrap().to_ascii_lowercase();
        assert_eq!(behind.trim(), "x-sum: 7", "{way}: {message}");
    }
    assert!(answer.to_ascii_lowercase().contains("\r\ntrailer: x-sum\r\n"), "{answer}");
}

#[test]
fn a_question_about_the_way_goes_as_far_as_it_says() {
    let url = site(|head, stream| {
        let hops = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("max-forwards: ").map(str::to_owned));
        let body = format!("left {}", hops.unwrap_or_default());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(head.as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for (method, hops, says) in [
        ("OPTIONS", "2", "left 1"),
        ("OPTIONS", "1", "left 0"),
        ("OPTIONS", "many", "left many"),
        ("GET", "0", "left 0"),
    ] {
        let answer = whole(
            &deckle,
            &format!("{method} /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nMax-Forwards: {hops}\r\n\r\n"),
        );
        assert!(answer.ends_with(says), "{method} {hops}: {answer}");
    }
    let last = whole(&deckle, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\nMax-Forwards: 0\r\n\r\n");
    assert!(status(&last) == "204" && last.to_ascii_lowercase().contains("allow: get, head, post"), "{last}");
}

#[test]
fn an_answer_with_too_large_a_head_is_none() {
    let url = site(|head, stream| {
        let fields =
            if head.contains(" /many ") { "X-A: b\r\n".repeat(99) } else { format!("X-A: {}\r\n", "b".repeat(70_000)) };
        let fields = if head.contains(" /usual ") { String::new() } else { fields };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").as_bytes());
    });
    let deckle = Deckle::with_config("[proxy]\nmax_headers = 50\n", &["--upstream", &url]);
    for (path, status) in [("/usual", 200), ("/many", 502), ("/long", 502)] {
        assert_eq!(get(CLIENT, deckle.address, path, "").status, status, "{path}");
    }
}

/// hyper's client sends none with GET, unless it is told to.
#[test]
fn a_body_without_a_length_goes_on_whatever_the_method() {
    let (tell, told) = mpsc::channel();
    let url = site(move |head, stream| {
        let _ = tell.send((head.to_owned(), until(stream, "0\r\n\r\n")));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    let deckle = Deckle::start(&["--upstream", &url]);
    for method in ["GET", "DELETE"] {
        let head =
            format!("{method} /search HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n");
        let answer = whole(&deckle, &format!("{head}\r\n5\r\nquery\r\n0\r\n\r\n"));
        let (head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((status(&answer), body.as_str()), ("200", "5\r\nquery\r\n0\r\n\r\n"), "{method}: {head}");
    }
}

#[tokio::test]
async fn over_http_2_no_tunnel_is_offered() {
    let deckle = Deckle::start(&[]);
    let stream = tokio::net::TcpStream::connect(deckle.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let connect = |protocol: Option<&'static str>| {
        let mut request = Request::connect("http://news.example:80").body(Empty::new()).unwrap();
        if let Some(protocol) = protocol {
            *request.uri_mut() = "http://news.example/ws".parse().unwrap();
            request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
        }
        request
    };
    let page = Request::get("http://news.example/").body(Empty::new()).unwrap();
    assert_eq!(client.send_request(page).await.unwrap().status(), 200, "the settings have come");
    let refused = client.send_request(connect(Some("websocket"))).await;
    assert!(refused.is_err(), "SETTINGS_ENABLE_CONNECT_PROTOCOL was never sent (RFC 8441 §3)");
    let plain = client.send_request(connect(None)).await;
    assert!(plain.is_err() || plain.is_ok_and(|answer| answer.status() == 405));
}
