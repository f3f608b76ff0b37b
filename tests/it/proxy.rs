//! The proxy over real sockets: framing, streaming, hop-by-hop fields, upgrades, stops and reloads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use deckle::config::Config;
use deckle::proxy::{Proxy, Reload};

use crate::admin::Program;
use crate::support::{
    Answer, Deckle, PATIENCE, Seen, TempDir, Upstream, get, has, hits, read_answer, read_log, request_from,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const PAGE: &str =
    "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><p>Hello</p></body></html>";

/// An upstream that remembers what it was asked, and answers a page.
fn remembering() -> (Upstream, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let memory = Arc::clone(&seen);
    let upstream = Upstream::start(move |request, stream| {
        memory.lock().unwrap().push(request.clone());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"v1\"\r\nX-Own: kept\r\nKeep-Alive: timeout=5\r\n\
             Content-Length: {}\r\nConnection: close, X-Hop\r\nX-Hop: gone\r\n\r\n{PAGE}",
            PAGE.len()
        );
        let _ = stream.write_all(head.as_bytes());
    });
    (upstream, seen)
}

fn asked(seen: &Arc<Mutex<Vec<Seen>>>, path: &str) -> Seen {
    let all = seen.lock().unwrap();
    all.iter().rfind(|s| s.target == path).unwrap_or_else(|| panic!("{path} was not asked for: {all:?}")).clone()
}

fn raw(deckle: &Deckle, request: &str) -> Answer {
    read_answer(request_from(CLIENT, deckle.address, request))
}

#[test]
fn requests_arrive_without_what_belongs_to_one_hop() {
    let (upstream, seen) = remembering();
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let extra = "X-Forwarded-For: 66.249.66.1\r\nForwarded: for=1.2.3.4\r\nFoo: bar\r\nConnection: foo, x-forwarded-for\r\n\
        Range: bytes=0-9\r\nAccept-Encoding: br, compress\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\
        If-None-Match: \"plain\"\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let answer = get(CLIENT, deckle.address, "/a?b=c", extra);
    assert_eq!((answer.status, answer.complete), (200, true));
    let got = asked(&seen, "/a?b=c").headers;
    assert_eq!(got["x-forwarded-for"], "127.0.0.5");
    assert_eq!(got["accept-encoding"], "br");
    assert_eq!(got["te"], "trailers");
    assert_eq!(got["host"], deckle.address.to_string());
    assert!(got["via"].starts_with("1.1 "));
    for gone in ["forwarded", "foo", "range", "upgrade", "http2-settings", "if-none-match", "if-modified-since"] {
        assert!(!got.contains_key(gone), "{gone}: {got:?}");
    }
    assert_eq!(answer.headers["x-own"], "kept");
    for gone in ["x-hop", "keep-alive", "content-length"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    // Copies may be kept once the site is known, which the proxy sees to at its start.
    wait_until(|| get(CLIENT, deckle.address, "/a", "").headers.get("etag").is_some_and(|tag| tag.contains("~dk")));
}

#[test]
fn requests_that_cannot_be_right_are_refused() {
    let (upstream, _) = remembering();
    let hosts = "[proxy]\nhosts = [\"news.example\"]\n";
    let sites = [Deckle::with_config(hosts, &["--upstream", &upstream.url()]), Deckle::with_config(hosts, &[])];
    let long = "x".repeat(20_000);
    #[rustfmt::skip]
    let table = [
        ("unknown host", "GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n".to_owned(), 421),
        ("known host", "GET / HTTP/1.1\r\nHost: News.Example:80\r\nConnection: close\r\n\r\n".to_owned(), 200),
        ("no host", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("two hosts", "GET / HTTP/1.1\r\nHost: news.example\r\nHost: news.example\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("a user", "GET / HTTP/1.1\r\nHost: news.example@news.example\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("no port", "GET / HTTP/1.1\r\nHost: news.example:http\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("final dot", "GET / HTTP/1.1\r\nHost: news.example.:8080\r\nConnection: close\r\n\r\n".to_owned(), 200),
        ("trace", "TRACE / HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n".to_owned(), 405),
        ("coding", "POST / HTTP/1.1\r\nHost: news.example\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n".to_owned(), 501),
        ("expectation", "GET / HTTP/1.1\r\nHost: news.example\r\nExpect: miracles\r\nConnection: close\r\n\r\n".to_owned(), 417),
        ("long target", format!("GET /{long} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n"), 414),
        ("large head", format!("GET / HTTP/1.1\r\nHost: news.example\r\n{}Connection: close\r\n\r\n", format!("X-{}: {}\r\n", "a", "y".repeat(8_000)).repeat(9)), 431),
        ("many fields", format!("GET / HTTP/1.1\r\nHost: news.example\r\n{}Connection: close\r\n\r\n", "A: b\r\n".repeat(120)), 431),
    ];
    for (name, request, status) in table {
        for (deckle, site) in sites.iter().zip(["upstream", "demo"]) {
            assert_eq!(raw(deckle, &request).status, status, "{name}, {site}");
        }
    }
    let trace = raw(&sites[0], "TRACE / HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n");
    assert!(trace.headers["allow"].contains("GET, HEAD"), "RFC 9110 §15.5.6");
}

#[test]
fn a_refusal_of_the_proxy_is_no_page_and_no_robots_txt() {
    let (upstream, _) = remembering();
    let config = "[proxy]\nhosts = [\"news.example\"]\n[page]\nrespect_no_transform = false\n[rights]\nholder = \"The Post\"\n\
        [rights.uses]\nai_train = \"deny\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
    for path in ["/robots.txt", "/a"] {
        let other =
            format!("GET {path} HTTP/1.1\r\nHost: other.example\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
        let answer = raw(&deckle, &other);
        assert_eq!(answer.status, 421, "{path}");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("The Post") && !text.contains("<script") && !text.contains("User-agent"), "{text}");
    }
}

#[test]
fn a_loop_is_noticed() {
    let (upstream, seen) = remembering();
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    get(CLIENT, deckle.address, "/first", "");
    let via = asked(&seen, "/first").headers["via"].clone();
    assert_eq!(get(CLIENT, deckle.address, "/again", &format!("Via: {via}\r\n")).status, 508);
}

#[test]
fn a_site_that_is_down_is_a_502_in_the_form_that_was_asked_for() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let deckle = Deckle::start(&["--upstream", &format!("http://{free}")]);
    let page = get(CLIENT, deckle.address, "/", "Accept: text/html\r\n");
    assert_eq!((page.status, page.headers["cache-control"].contains("no-store")), (502, true));
    let problem = get(CLIENT, deckle.address, "/", "Accept: application/json\r\n");
    let json: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
    assert_eq!((problem.status, json["status"].as_u64()), (502, Some(502)));
    assert!(!String::from_utf8_lossy(&page.body).contains(&free.to_string()), "nothing of the upstream is told");
}

#[test]
fn the_first_paragraph_does_not_wait_for_the_second() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |request, stream| {
        if request.target != "/slow" {
            return;
        }
        let first = "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article><p>The first paragraph is here.</p>\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = write!(stream, "{head}{:x}\r\n{first}\r\n", first.len());
        // The rest comes only when the client says that it has seen the first part.
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        let rest = "<p>And the second.</p></article></body></html>";
        let _ = write!(stream, "{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    });
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let request = format!("GET /slow HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", deckle.address);
    let mut stream = request_from(CLIENT, deckle.address, &request);
    let mut seen = Vec::new();
    let mut buffer = [0u8; 4_096];
    while !String::from_utf8_lossy(&seen).contains("The first paragraph is here.") {
        let n = stream.read(&mut buffer).expect("the first paragraph must come before the second is sent");
        assert!(n > 0);
        seen.extend_from_slice(&buffer[..n]);
    }
    assert!(!String::from_utf8_lossy(&seen).contains("second"));
    go.send(()).unwrap();
    stream.read_to_end(&mut seen).unwrap();
    assert!(String::from_utf8_lossy(&seen).contains("And the second."));
}

#[test]
fn events_pass_one_by_one() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |request, stream| {
        if request.target == "/events" {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: one\n\n",
            );
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
            let _ = stream.write_all(b"data: two\n\n");
        }
    });
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", deckle.address);
    let mut reader = BufReader::new(request_from(CLIENT, deckle.address, &request));
    let mut line = String::new();
    while !line.contains("data: one") {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    go.send(()).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: two"), "{rest}");
}

#[test]
fn a_site_that_dies_in_mid_body_leaves_an_incomplete_message() {
    // A real process, killed for real.
    if !has("python3") {
        return;
    }
    let script = "import socket,sys,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen(8)\nprint(s.getsockname()[1],flush=True)\n\
        while True:\n c,_=s.accept();d=c.recv(65536)\n if b'GET /dies' not in d:\n  c.close();continue\n \
        c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: text/html; charset=utf-8\\r\\nContent-Length: 100000\\r\\n\\r\\n<!doctype html><title>t</title><p>'+b'begun '*400)\n print('sent',flush=True)\n time.sleep(60)\n";
    let mut site = Command::new("python3").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(site.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let deckle = Deckle::start(&["--upstream", &format!("http://127.0.0.1:{}", line.trim())]);
    let request = format!("GET /dies HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", deckle.address);
    let stream = request_from(CLIENT, deckle.address, &request);
    line.clear();
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "sent");
    site.kill().unwrap();
    site.wait().unwrap();
    let answer = read_answer(stream);
    assert!(!answer.complete && answer.status == 200);
    let (lines, _log) = deckle.stop();
    let record = hits(&lines).into_iter().find(|l| l["url.path"] == "/dies").unwrap().clone();
    assert_eq!(record["deckle.complete"], false);
    assert_eq!(record["deckle.rewrite"], "aborted");
}

#[test]
fn a_truncated_coding_is_no_clean_end() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Long enough that the head and a part of the page have left before the end is missed.
    let words: String = (0..60_000u32).map(|i| format!("{:x} ", i.wrapping_mul(2_654_435_761))).collect();
    gz.write_all(format!("{PAGE}<p>{words}</p>").as_bytes()).unwrap();
    let mut body = gz.finish().unwrap();
    body.truncate(body.len() - 6);
    let upstream = Upstream::fixed("Content-Type: text/html\r\nContent-Encoding: gzip\r\n", body, 1_000);
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let answer = get(CLIENT, deckle.address, "/", "Accept-Encoding: gzip\r\n");
    assert!(!answer.complete);
    let (lines, _log) = deckle.stop();
    assert_eq!(hits(&lines)[0]["deckle.error"], "coding_truncated");
}

#[test]
fn what_is_no_page_passes_byte_for_byte() {
    #[rustfmt::skip]
    let table: [(&str, &str, &[u8], &str); 6] = [
        ("json as html", "Content-Type: text/html\r\n", b"{\"a\":\"<p>\"}", "not_markup"),
        ("utf-16", "Content-Type: text/html; charset=utf-16le\r\n", b"<\0h\0t\0m\0l\0>\0", "charset_unsafe"),
        ("no-transform", "Content-Type: text/html\r\nCache-Control: no-transform\r\n", b"<!doctype html><title>t</title>", "no_transform"),
        ("unknown coding", "Content-Type: text/html\r\nContent-Encoding: compress\r\n", b"\x1f\x9d\x90", "coding_unknown"),
        ("image", "Content-Type: image/png\r\n", b"\x89PNG\r\n", "type"),
        ("attachment", "Content-Type: text/html\r\nContent-Disposition: attachment\r\n", b"<!doctype html><title>t</title>", "attachment"),
    ];
    for (name, head, body, skip) in table {
        let upstream = Upstream::fixed(head, body.to_vec(), 65_536);
        let deckle = Deckle::start(&["--upstream", &upstream.url()]);
        let answer = get(CLIENT, deckle.address, "/x", "Cache-Control: no-transform\r\nHX-Request: true\r\n");
        assert_eq!((answer.body.as_slice(), answer.complete), (body, true), "{name}");
        let (lines, _log) = deckle.stop();
        assert_eq!(hits(&lines)[0]["deckle.rewrite.skip"], skip, "{name}");
    }
}

#[test]
fn an_html_answer_to_a_range_is_asked_for_again_as_a_whole() {
    let upstream = Upstream::start(|request, stream| {
        let part = request.headers.contains_key("range");
        let body = if part { &PAGE[..9] } else { PAGE };
        let status = if part { "206 Partial Content\r\nContent-Range: bytes 0-8/104" } else { "200 OK" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    for (path, lie) in [("/page", ""), ("/x.jpg", ""), ("/page", "Sec-Fetch-Dest: video\r\n")] {
        let answer = get(CLIENT, deckle.address, path, &format!("Range: bytes=0-8\r\n{lie}"));
        assert_eq!(answer.status, 200, "{path} {lie}");
        assert!(String::from_utf8_lossy(&answer.body).contains("data-deckle=\"guard\""), "{path} {lie}");
    }
}

#[test]
fn head_and_http_1_0_are_answered_rightly() {
    let (upstream, _) = remembering();
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let head = raw(&deckle, &format!("HEAD / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", deckle.address));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(!head.headers.contains_key("content-length") && head.headers["accept-ranges"] == "none");
    let old = raw(&deckle, "GET / HTTP/1.0\r\n\r\n");
    assert!(!old.headers.contains_key("transfer-encoding") && !old.headers.contains_key("content-length"));
    assert!(String::from_utf8_lossy(&old.body).ends_with("</html>"));
}

#[test]
fn uploads_stream_and_are_limited() {
    let (upstream, seen) = remembering();
    let deckle = Deckle::with_config("[proxy]\nmax_request_body = \"1MiB\"\n", &["--upstream", &upstream.url()]);
    let body = "u".repeat(500_000);
    let request =
        format!("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    assert_eq!(raw(&deckle, &request).status, 200);
    assert_eq!(asked(&seen, "/up").body.len(), body.len());
    let declared = "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&deckle, declared).status, 413);
}

#[test]
fn websockets_are_tunnelled() {
    let upstream = Upstream::start(|request, stream| {
        assert_eq!(request.headers["upgrade"], "websocket");
        let _ =
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let mut buffer = vec![0u8; 65_536];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
        deckle.address
    );
    let mut stream = request_from(CLIENT, deckle.address, &request);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let sent: Vec<u8> = (0..1u32 << 20).map(|i| (i * 31 % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let thread = std::thread::spawn(move || writer.write_all(&copy).unwrap());
    let mut echoed = vec![0; sent.len()];
    stream.read_exact(&mut echoed).unwrap();
    thread.join().unwrap();
    assert!(echoed == sent);
}

#[test]
fn http_2_by_prior_knowledge() {
    if !has("curl") {
        return;
    }
    let deckle = Deckle::start(&[]);
    let out = Command::new("curl")
        .args([
            "--silent",
            "--http2-prior-knowledge",
            "--interface",
            "127.0.0.6",
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
        ])
        .arg(deckle.url("/"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "2 200");
}

/// All on one thread: a wait that holds it up holds up the requests.
#[tokio::test]
async fn a_reload_that_waits_for_the_disk_holds_up_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = TempDir::new();
    let text = format!(
        "[proxy]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\n[visitor.ranges]\nrefresh = \"0s\"\n[audit]\nenabled = false\ndir = {:?}\n",
        dir.path().display().to_string()
    );
    let config = Config::from_toml(&text).unwrap();
    let proxy = Proxy::bind(config.clone()).await.unwrap();
    let address = proxy.local_addr().unwrap();
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let (begin, mut begun) = tokio::sync::mpsc::channel(1);
    let (go, wait) = mpsc::channel::<()>();
    let (end, ended) = mpsc::channel();
    let wait = Mutex::new(wait);
    let read: Reload = Box::new(move || {
        begin.try_send(()).unwrap();
        end.send(wait.lock().unwrap().recv_timeout(PATIENCE).is_ok()).unwrap();
        Ok(config.clone())
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let client = async {
        ask.send(()).await.unwrap();
        begun.recv().await.unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        go.send(()).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert!(
            ended.recv_timeout(PATIENCE).unwrap(),
            "the reload waited for the request, and not the other way round"
        );
        stop.send(()).unwrap();
    };
    tokio::join!(proxy.serve(stopped, asked, read), client);
}

#[test]
fn a_site_nearby_is_not_asked_to_compress_what_is_taken_apart_here() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let memory = Arc::clone(&seen);
    let upstream = Upstream::start(move |request, stream| {
        memory.lock().unwrap().push(request.clone());
        let data = request.target.starts_with("/data");
        let (kind, body) = if data { ("application/json", "{}") } else { ("text/html; charset=utf-8", PAGE) };
        let gzip = request.headers.get("accept-encoding").is_some_and(|accepts| accepts.contains("gzip"));
        let (coding, body) = if gzip {
            let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            coded.write_all(body.as_bytes()).unwrap();
            ("Content-Encoding: gzip\r\n", coded.finish().unwrap())
        } else {
            ("", body.as_bytes().to_vec())
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{coding}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    for (config, second) in [("", "identity"), ("[proxy]\nupstream_coding = \"client\"\n", "gzip")] {
        let skip = "[page.skip]\npaths = [\"/skipped\"]\n";
        let deckle = Deckle::with_config(&format!("{config}{skip}"), &["--upstream", &upstream.url()]);
        let ask = |path: &str, accepts: &str| {
            let answer = get(CLIENT, deckle.address, path, &format!("Accept-Encoding: {accepts}\r\n"));
            let coding = answer.headers.get("content-encoding").cloned().unwrap_or_default();
            let mut text = String::new();
            if coding == "gzip" {
                flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
            }
            (asked(&seen, path).headers["accept-encoding"].clone(), coding, text)
        };
        let (first, again) = (ask("/page", "gzip, br"), ask("/page", "gzip, br"));
        assert_eq!(
            (first.0.as_str(), again.0.as_str()),
            ("gzip, br", if second == "gzip" { "gzip, br" } else { second })
        );
        assert_eq!((first.1.as_str(), again.1.as_str()), ("gzip", "gzip"), "the client gets what it got before");
        assert!(again.2.contains("data-deckle=\"guard\"") && again.2.ends_with("</html>"), "{}", again.2);
        // What is no page, or is left alone, is compressed by the site or by nobody.
        for path in ["/data", "/skipped"] {
            for _ in 0..2 {
                let (passed, coding, _) = ask(path, "gzip");
                assert_eq!((passed.as_str(), coding.as_str()), ("gzip", "gzip"), "{path}");
            }
        }
        let (passed, coding, _) = ask("/page", "br");
        assert_eq!((passed.as_str(), coding.as_str()), ("br", ""), "the site has no such coding");
    }
}

/// Browsers like all codings as well, and a site may send any of them.
#[test]
fn a_page_that_is_packed_leaves_in_gzip_whatever_the_site_has_sent() {
    let words = "<p>The committee said on Monday that it will not publish the full report before the end of May.</p>\n";
    let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{}", words.repeat(60));
    let upstream = Upstream::start(move |request, stream| {
        let zstd = request.headers.get("accept-encoding").is_some_and(|accepts| accepts.contains("zstd"));
        let same = request.headers.get("if-none-match").is_some_and(|tags| tags.contains("\"v1\""));
        let body = if zstd { zstd::encode_all(page.as_bytes(), 3).unwrap() } else { page.as_bytes().to_vec() };
        let body = if same { Vec::new() } else { body };
        let status = if same { "304 Not Modified" } else { "200 OK" };
        let coding = if zstd { "Content-Encoding: zstd\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n{coding}ETag: \"v1\"\r\n\
             Content-Length: {}\r\nVary: Accept-Encoding\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    });
    let browsers = "gzip, deflate, br, zstd";
    for (config, is_packed) in
        [("[page]\nprefer_packed = false\n", false), ("", true), ("[proxy]\nupstream_coding = \"client\"\n", true)]
    {
        let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
        let ask = |reader: usize, accepts: &str| {
            let fields = format!("Accept-Encoding: {accepts}\r\nUser-Agent: reader {reader}\r\n");
            let answer = get(CLIENT, deckle.address, "/page", &fields);
            let coding = answer.headers["content-encoding"].clone();
            let mut text = String::new();
            match coding.as_str() {
                "gzip" => _ = flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap(),
                "zstd" => text = String::from_utf8(zstd::decode_all(&answer.body[..]).unwrap()).unwrap(),
                other => panic!("{other}"),
            }
            assert_eq!(text.split_whitespace().filter(|word| *word == "committee").count(), 60, "{coding}: {text}");
            assert_eq!(answer.headers["vary"], "Accept-Encoding");
            coding
        };
        let codings = (0..200).map(|reader| ask(reader % 5, browsers)).take_while(|coding| coding != "gzip").count();
        assert_eq!(codings < 200, is_packed, "a page is packed beside the answers, and soon");
        assert!(codings >= 2, "two readers have it before");
        let preferred = if is_packed { "gzip" } else { "zstd" };
        // Some of them are confirmed by the site, and are not sent.
        for reader in 0..20 {
            assert_eq!(ask(reader % 5, browsers), preferred);
        }
        for accepts in ["zstd, gzip;q=0.9", "gzip;Q=0, zstd", "zstd"] {
            assert_eq!(ask(1, accepts), "zstd", "{accepts}");
        }
        let raw = format!(
            "HEAD /page HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept-Encoding: {browsers}\r\n\r\n",
            deckle.address
        );
        let head = read_answer(request_from(CLIENT, deckle.address, &raw));
        assert_eq!(head.headers["content-encoding"], preferred, "as the page");
    }
}

/// As nginx is by its defaults.
#[test]
fn a_site_that_compresses_nothing_for_a_proxy_is_named_in_the_log() {
    let answers = |hides: bool, seen: &Arc<Mutex<Vec<Seen>>>| {
        let memory = Arc::clone(seen);
        Upstream::start(move |request, stream| {
            memory.lock().unwrap().push(request.clone());
            let gzip = request.headers.get("accept-encoding").is_some_and(|accepts| accepts.contains("gzip"));
            let coded = gzip && !(hides && request.headers.contains_key("via"));
            let coding = if coded { "Content-Encoding: gzip\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{coding}Connection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        })
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let program = Program::start(&[], &["--upstream", &answers(true, &seen).url()]);
    program.hears("Set `gzip_proxied any;` where the site is nginx");

    // Whoever has it in the log that all is well was asked once for gzip: the second question is for those that hide it.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let _program = Program::start(&[], &["--upstream", &answers(false, &seen).url()]);
    let of_gzip = |seen: &[Seen]| {
        let is_gzip = |request: &&Seen| request.headers["accept-encoding"] == "gzip";
        seen.iter().filter(is_gzip).map(|request| request.headers.contains_key("via")).collect::<Vec<_>>()
    };
    wait_until(|| !of_gzip(&seen.lock().unwrap()).is_empty());
    assert_eq!(of_gzip(&seen.lock().unwrap()), [true]);
}

#[test]
fn whoever_takes_nothing_of_an_answer_is_cut_off() {
    let (end, ended) = mpsc::channel();
    let upstream = Upstream::start(move |request, stream| {
        if request.target != "/endless" {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 8_192]).is_ok() {}
        let _ = end.send(());
    });
    let deckle = Deckle::with_config("[proxy.timeouts]\nwrite = \"200ms\"\n", &["--upstream", &upstream.url()]);
    let stream = request_from(CLIENT, deckle.address, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
    ended.recv_timeout(PATIENCE).expect("nobody writes for a client that takes nothing");
    drop(stream);
    let (lines, _log) = deckle.stop();
    let record = hits(&lines).into_iter().find(|line| line["url.path"] == "/endless").unwrap().clone();
    assert_eq!(record["deckle.complete"], false);
}

#[test]
fn beyond_the_most_connections_clients_wait() {
    let (upstream, seen) = remembering();
    let deckle = Deckle::with_config("[proxy]\nmax_connections = 1\n", &["--upstream", &upstream.url()]);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut first = request_from(CLIENT, deckle.address, &request("/first"));
    read_until(&mut first, "</html>");
    let mut second = request_from(CLIENT, deckle.address, &request("/second"));
    for _ in 0..20 {
        first.write_all(request("/again").as_bytes()).unwrap();
        read_until(&mut first, "</html>");
    }
    drop(first);
    read_until(&mut second, "</html>");
    let targets: Vec<String> = seen.lock().unwrap().iter().map(|seen| seen.target.clone()).collect();
    // deckle itself asks for the front page.
    let of_clients: Vec<&str> = targets.iter().map(String::as_str).filter(|target| *target != "/").collect();
    assert_eq!((of_clients.len(), of_clients.last()), (22, Some(&"/second")), "{of_clients:?}");
}

fn read_until(stream: &mut std::net::TcpStream, text: &str) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0u8; 1_024];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the connection ended before `{text}`");
        seen.extend_from_slice(&buffer[..n]);
    }
    seen
}

#[test]
fn a_stop_lets_a_running_response_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |request, stream| {
        if request.target == "/long" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst");
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
            let _ = stream.write_all(b"-last");
        }
    });
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let request = format!("GET /long HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", deckle.address);
    let mut stream = request_from(CLIENT, deckle.address, &request);
    let mut seen = read_until(&mut stream, "first");
    deckle.signal("TERM");
    go.send(()).unwrap();
    stream.read_to_end(&mut seen).unwrap();
    assert!(String::from_utf8_lossy(&seen).ends_with("first-last"));
    let (lines, _log) = deckle.stop();
    assert_eq!(lines.last().unwrap()["deckle.kind"], "end");
    assert_eq!(hits(&lines)[0]["deckle.complete"], true);
}

#[test]
fn what_does_not_end_within_the_drain_is_cut_off_and_written_down() {
    let upstream = Upstream::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst");
        // Until deckle closes the connection.
        let _ = stream.read(&mut [0; 1]);
    });
    let deckle = Deckle::with_config("[proxy]\ndrain = \"50ms\"\n", &["--upstream", &upstream.url()]);
    let request = format!("GET /long HTTP/1.1\r\nHost: {}\r\n\r\n", deckle.address);
    let mut stream = request_from(CLIENT, deckle.address, &request);
    let mut seen = read_until(&mut stream, "first");
    let (lines, _log) = deckle.stop();
    let _ = stream.read_to_end(&mut seen);
    assert!(String::from_utf8_lossy(&seen).ends_with("\r\n\r\nfirst"), "five of ten bytes: no clean end");
    assert_eq!(hits(&lines).len(), 1);
    assert_eq!(hits(&lines)[0]["deckle.complete"], false);
    assert_eq!(lines.last().unwrap()["deckle.kind"], "end", "the log is closed behind the last record");
}

#[test]
fn a_reload_takes_effect_and_a_bad_one_does_not() {
    let deckle = Deckle::with_config("", &[]);
    let guarded = |deckle: &Deckle| {
        String::from_utf8_lossy(&get(CLIENT, deckle.address, "/", "").body).contains("data-deckle=\"guard\"")
    };
    assert!(guarded(&deckle));
    let segments =
        |deckle: &Deckle| read_log(&deckle.log_dir()).iter().filter(|l| l["deckle.kind"] == "segment").count();
    std::fs::write(deckle.config_file(), "[page.guard]\nmode = \"off\"\n").unwrap();
    deckle.signal("HUP");
    wait_until(|| !guarded(&deckle));
    std::fs::write(deckle.config_file(), "[page.guard]\nmode = \"attribute\"\nnonsense = 1\n").unwrap();
    let before = segments(&deckle);
    deckle.signal("HUP");
    // The log is reopened even then; by that we know that the signal has arrived.
    wait_until(|| newest(&deckle) > before);
    assert!(!guarded(&deckle), "the old configuration stays in force");
}

#[test]
fn after_a_reload_paths_of_any_length_are_redacted_as_since_the_start() {
    let plain = "[audit]\ncompress = \"none\"\n";
    let deckle = Deckle::with_config(&format!("{plain}path_redact = false\n"), &[]);
    let token = "/9f2c4e1ab07d33569f2c4e1ab07d3356";
    let before = newest(&deckle);
    std::fs::write(deckle.config_file(), plain).unwrap();
    deckle.signal("HUP");
    wait_until(|| newest(&deckle) > before);
    for path in [token.to_owned(), format!("{token}{}", "/a-word".repeat(400))] {
        get(CLIENT, deckle.address, &path, "");
    }
    let (lines, _log) = deckle.stop();
    let paths: Vec<_> = hits(&lines).into_iter().map(|hit| hit["url.path"].as_str().unwrap()).collect();
    assert_eq!(paths.len(), 2);
    assert!(paths.iter().all(|path| path.starts_with(token)), "{paths:?}");
}

#[test]
fn a_site_that_says_nothing_holds_up_no_reload() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::start(move |_, _| _ = held.lock().unwrap().recv());
    let deckle = Deckle::with_config("", &["--upstream", &upstream.url()]);
    let before = newest(&deckle);
    deckle.signal("HUP");
    wait_until(|| newest(&deckle) > before);
    drop(hold);
}

/// Segments of its log.
pub(crate) fn newest(deckle: &Deckle) -> usize {
    std::fs::read_dir(deckle.log_dir())
        .unwrap()
        .flatten()
        .filter(|e| {
            e.file_name().to_string_lossy().starts_with("audit-")
                && !e.file_name().to_string_lossy().ends_with("tmp")
                && !e.file_name().to_string_lossy().ends_with("keys")
        })
        .count()
}

/// Asks again and again, a bounded number of times; each question is a request, so nothing sleeps.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it did not happen");
}

#[test]
fn whoever_says_nothing_is_not_waited_for() {
    let deckle = Deckle::with_config("[proxy.timeouts]\nheader_read = \"300ms\"\n", &[]);
    for begun in ["", "PRI * HT", "GET / HTTP/1.1\r\nHost"] {
        let mut stream = std::net::TcpStream::connect(deckle.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // An end or a reset; a timeout of the read would be an error of another kind.
        let ended = stream.read_to_end(&mut rest);
        assert!(!matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock), "{begun:?}: {ended:?}");
    }
    assert_eq!(get(CLIENT, deckle.address, "/", "").status, 200);
}

#[test]
fn a_slow_upload_is_no_slow_answer() {
    let (upstream, _) = remembering();
    let config = "[proxy.timeouts]\nfirst_byte = \"300ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
    let mut stream = std::net::TcpStream::connect(deckle.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n").unwrap();
    for byte in [b"a", b"b", b"c"] {
        #[allow(clippy::disallowed_methods)] // The pace of the client, in all longer than the answer may take.
        std::thread::sleep(std::time::Duration::from_millis(200));
        stream.write_all(byte).unwrap();
    }
    assert_eq!(read_answer(stream).status, 200);
}

#[test]
fn a_site_that_says_nothing_is_a_504_or_an_incomplete_message() {
    // Holds the connection until the other side gives up.
    let upstream = Upstream::start(|request, stream| {
        if request.target == "/half" {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 100000\r\n\r\n";
            let _ = stream.write_all(format!("{head}{PAGE}").as_bytes());
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let config = "[proxy.timeouts]\nfirst_byte = \"300ms\"\nresponse_idle = \"300ms\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
    assert_eq!(get(CLIENT, deckle.address, "/never", "").status, 504);
    let half = get(CLIENT, deckle.address, "/half", "");
    assert_eq!((half.status, half.complete), (200, false));
    let (lines, _log) = deckle.stop();
    let half = hits(&lines).into_iter().find(|l| l["url.path"] == "/half").unwrap().clone();
    assert_eq!((&half["deckle.complete"], &half["deckle.rewrite"]), (&false.into(), &"aborted".into()));
}

#[test]
fn a_site_by_its_own_name_sends_clients_to_the_name_they_asked_by() {
    let upstream = Upstream::start(|request, stream| {
        let own = &request.headers["host"];
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{own}/next\r\nSet-Cookie: a=b; Domain=127.0.0.1; Path=/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
    });
    let deckle = Deckle::with_config("[proxy]\nhost = \"upstream\"\n", &["--upstream", &upstream.url()]);
    let answer = raw(&deckle, "GET / HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.headers["location"].as_str()), (302, "http://news.example/next"));
    assert_eq!(answer.headers["set-cookie"], "a=b; Path=/");
}

#[test]
fn the_target_names_the_host_and_no_address_is_made_of_it() {
    let (upstream, seen) = remembering();
    let config = "[rights]\nholder = \"The Post\"\nlicense.url = \"https://news.example/license.xml\"\n[rights.uses]\nai_train = \"deny\"\n";
    let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
    let answer =
        raw(&deckle, "GET http://good.example/host HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 200);
    let asked = asked(&seen, "/host");
    assert_eq!(asked.headers["host"], "good.example", "RFC 9112 §3.2.2");
    let text = String::from_utf8_lossy(&answer.body).into_owned() + &format!("{:?}", answer.headers);
    assert!(!text.contains("evil.example") && !text.contains("good.example"), "{text}");
    assert!(!answer.headers.contains_key("set-cookie"));
    let connect =
        raw(&deckle, "CONNECT news.example:443 HTTP/1.1\r\nHost: news.example:443\r\nConnection: close\r\n\r\n");
    assert_eq!(connect.status, 405);
}
