//! What stands beside a page: parts of it, versions, deckle's own answers, signatures, trailers, scripts, other layers and
//! other deckles.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::action::Mode;
use deckle::clock::ManualClock;
use deckle::page::{ProtectLayer, Settings};
use deckle::visitor::Peer;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use crate::exchanges::{CLIENT, Exchange, HTML, PAGE, gzip, parts};
use crate::proxy::wait_until;
use crate::support::{Answer, Deckle, Upstream, get, hits, read_answer, request_from};

const PLAIN: &str = "[watermark]\nlevel = \"off\"\n";
pub(crate) const GUARD: &str = "data-deckle=\"guard\"";
pub(crate) const NOTICE: &str = "data-deckle=\"notice\"";

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// The record of the last request for a path.
pub(crate) fn record<'l>(lines: &'l [serde_json::Value], path: &str) -> &'l serde_json::Value {
    hits(lines).into_iter().rfind(|line| line["url.path"] == path).unwrap_or_else(|| panic!("{path} is not in the log"))
}

/// All bytes of an answer, with its framing.
pub(crate) fn wire(server: SocketAddr, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n{fields}\r\n");
    let mut bytes = Vec::new();
    // A body that ends with an error may end with a reset.
    let _ = request_from(CLIENT, server, &request).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_second_part_of_a_page_is_not_given_away() {
    let site = Exchange::new("");
    let part = &PAGE.as_bytes()[..9];
    let head =
        format!("206 Partial Content\r\n{HTML}Content-Range: bytes 0-8/300\r\nETag: \"v1\"\r\nContent-Length: 9\r\n");
    let (_, answer) = site.run(CLIENT, "GET /x.jpg\nRange: bytes=0-8", &head, part);
    assert_eq!((answer.status, answer.body.as_slice()), (416, &[][..]));
    assert_eq!(answer.headers["content-range"], "bytes */300", "whoever asks for the whole gets it");
    let seen = site.seen.lock().unwrap();
    let ranges: Vec<bool> =
        seen.iter().filter(|seen| seen.target == "/x.jpg").map(|seen| seen.headers.contains_key("range")).collect();
    assert_eq!(ranges, [true, false], "once more, and not again and again");
    drop(seen);
    let (lines, _log) = site.deckle.stop();
    assert_eq!(record(&lines, "/x.jpg")["deckle.rewrite.skip"], "status");
}

fn plans(deckle: &Deckle) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(deckle.log_dir().join("plans.json")).unwrap()).unwrap()
}

#[test]
fn the_version_and_its_time_outlive_a_reload_and_a_restart() {
    // Long ago, so that no start of today can be taken for it.
    const THEN: (u64, &str) = (1_600_000_000, "Sun, 13 Sep 2020 12:26:40 GMT");
    let head = format!("{HTML}ETag: \"v1\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
    let upstream = Upstream::fixed(&head, PAGE.as_bytes().to_vec(), 65_536);
    let url = upstream.url();
    let arguments = ["--upstream", url.as_str()];
    let mut deckle = Deckle::with_config(PLAIN, &arguments);
    let ask = |deckle: &Deckle| get(CLIENT, deckle.address, "/a", "").headers;
    // The file is written anew once the front page has been read, and then no more.
    wait_until(|| {
        ask(&deckle);
        plans(&deckle)["findings"].as_str().is_some_and(|findings| findings.contains('*'))
    });
    let (saved, first) = (plans(&deckle), ask(&deckle));
    let version = u32::try_from(saved["version"].as_u64().unwrap()).unwrap();
    let year: u32 = first["date"].split(' ').nth(3).unwrap().parse().unwrap();
    assert_eq!(parts(&first["etag"]).1, version.wrapping_add(year).to_string());
    assert_ne!(first["last-modified"], THEN.1);

    let older = serde_json::json!({ "version": version, "activated": THEN.0, "findings": saved["findings"] });
    std::fs::write(deckle.log_dir().join("plans.json"), older.to_string()).unwrap();
    deckle.signal("HUP");
    wait_until(|| ask(&deckle)["last-modified"] == THEN.1);
    deckle.restart(&arguments);
    let restarted = ask(&deckle);
    assert_eq!((&restarted["last-modified"], &restarted["etag"]), (&THEN.1.to_owned(), &first["etag"]));

    // What shapes a page changes, and with it the version; older copies are of no use from now on.
    std::fs::write(deckle.config_file(), format!("{PLAIN}[page.guard]\nmin_words = 40\n")).unwrap();
    deckle.signal("HUP");
    wait_until(|| ask(&deckle)["etag"] != first["etag"]);
    assert_ne!(ask(&deckle)["last-modified"], THEN.1);
    let now = plans(&deckle);
    assert!(now["version"] != saved["version"] && now["activated"].as_u64() > Some(THEN.0), "{now}");
    assert_eq!(now["findings"], saved["findings"]);
}

#[test]
fn answers_of_deckle_s_own_say_how_long_they_are_good() {
    let site = Exchange::new(&format!("{PLAIN}[page.guard]\nbeacon = true\n"));
    let (_, page) = site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}"), PAGE.as_bytes());
    let page = text(&page);
    let script = page.split_once("<script src=\"").unwrap().1.split('"').next().unwrap();
    let ask = |line: &str, fields: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n{fields}\r\n");
        read_answer(request_from(CLIENT, site.deckle.address, &request))
    };
    for (method, fields, status) in [("GET", "", 200), ("HEAD", "", 200), ("GET", "If-None-Match: *\r\n", 304)] {
        let answer = ask(&format!("{method} {script}"), fields);
        assert_eq!(answer.status, status, "{method} {fields}");
        for (name, value) in [
            ("cache-control", "public, max-age=31536000, immutable"),
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.headers.get(name).map(String::as_str), Some(value), "{method} {fields}");
        }
    }
    for (line, status, allow) in [
        ("GET /.deckle/guard.0000000000000000.js", 404, None),
        ("POST /.deckle/copied?v=1&k=credit&b=0&p=/a", 204, None),
        ("POST /.deckle/copied?rubbish", 204, None),
        ("GET /.deckle/copied", 405, Some("POST")),
    ] {
        let answer = ask(line, "Content-Length: 0\r\n");
        assert_eq!((answer.status, answer.headers["cache-control"].as_str()), (status, "no-store"), "{line}");
        assert_eq!(answer.headers.get("allow").map(String::as_str), allow, "{line}");
    }
    assert_eq!(ask(&format!("POST {script}"), "Content-Length: 0\r\n").status, 405);
    let reached = site.seen.lock().unwrap().iter().any(|seen| seen.target.starts_with("/.deckle"));
    assert!(!reached, "the site has nothing to do with it");
}

#[test]
fn fields_about_integrity_and_isolation_pass() {
    let site = Exchange::new(PLAIN);
    let digests = ["content-digest", "repr-digest", "digest", "content-md5", "want-content-digest", "want-repr-digest"];
    for method in ["GET", "PUT"] {
        let lines: String = digests.iter().map(|name| format!("\n{name}: sha-256=:{method}=:")).collect();
        let (seen, _) = site.run(CLIENT, &format!("{method} /a\nContent-Length: 0{lines}"), "204 No Content\r\n", b"");
        for name in digests {
            assert_eq!(seen.headers.get(name), Some(&format!("sha-256=:{method}=:")), "{method} {name}");
        }
    }
    let fields = [
        "cross-origin-embedder-policy: require-corp",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-site",
        "link: </a.css>; rel=preload; as=style",
        "link: </b.js>; rel=preload; as=script, </c.js>; rel=modulepreload",
        "permissions-policy: geolocation=(), clipboard-write=(self)",
    ];
    let head = format!("200 OK\r\n{HTML}{}\r\n", fields.join("\r\n"));
    site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
    let all = wire(site.deckle.address, "/a", "");
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let mut passed: Vec<&str> = head.lines().filter(|line| fields.contains(line)).collect();
    let links: Vec<&str> = passed.iter().copied().filter(|line| line.starts_with("link")).collect();
    assert_eq!(links, fields[3..5], "line by line, and in this order");
    passed.sort_unstable();
    assert_eq!(passed, fields, "{head}");
    assert!(body.contains(GUARD), "and the page was rewritten: {body}");
}

#[test]
fn scripts_are_no_pages() {
    let site = Exchange::new("");
    let body = "self.onfetch = () => new Response(\"<!doctype html><html><head><title>t</title></head>\")";
    let table = [
        ("/sw.js", "text/javascript", "\nService-Worker: script\nSec-Fetch-Dest: serviceworker"),
        ("/sw", "text/javascript; charset=utf-8", "\nService-Worker: script"),
        ("/app", "application/javascript", "\nAccept: text/html"),
    ];
    for (path, kind, fields) in table {
        let head = format!(
            "200 OK\r\nContent-Type: {kind}\r\nETag: \"s1\"\r\nCache-Control: public, max-age=60\r\nService-Worker-Allowed: /\r\n\
             Accept-Ranges: bytes\r\nContent-Length: {}\r\n",
            body.len()
        );
        let (seen, answer) = site.run(CLIENT, &format!("GET {path}{fields}"), &head, body.as_bytes());
        assert_eq!((text(&answer).as_str(), answer.complete), (body, true), "{path}");
        for (name, value) in [
            ("content-type", kind),
            ("etag", "\"s1\""),
            ("cache-control", "public, max-age=60"),
            ("service-worker-allowed", "/"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert_eq!(seen.headers.contains_key("service-worker"), fields.contains("Service-Worker"), "{path}");
    }
    let (lines, _log) = site.deckle.stop();
    for (path, ..) in table {
        assert_eq!(record(&lines, path)["deckle.rewrite.skip"], "type", "{path}");
    }
}

#[test]
fn signatures_are_broken_only_where_the_site_says_so() {
    let signed = "Signature-Input: a=(\"@status\");created=1, b=(\"content-digest\");created=1\r\nSignature: a=:AA==:, b=:AQ==:\r\n\
        Content-Digest: sha-256=:AA==:\r\n";
    let manifest = "Link: </m.c2pa>; rel=\"c2pa-manifest\"\r\n";
    let both = ("a=(\"@status\");created=1, b=(\"content-digest\");created=1", "a=:AA==:, b=:AQ==:");
    for (breaks, fields, rewritten) in [
        (false, signed.to_owned(), false),
        (true, signed.to_owned(), true),
        // A manifest is not ours to break, with that setting, too.
        (true, format!("{signed}{manifest}"), false),
    ] {
        let site = Exchange::new(&format!("{PLAIN}[page]\nbreak_signatures = {breaks}\n"));
        let (_, answer) = site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}{fields}"), PAGE.as_bytes());
        assert_eq!(
            (text(&answer).contains(GUARD), text(&answer) == PAGE),
            (rewritten, !rewritten),
            "{breaks} {fields}"
        );
        let kept = (answer.headers["signature-input"].as_str(), answer.headers["signature"].as_str());
        assert_eq!(kept, if rewritten { ("a=(\"@status\");created=1", "a=:AA==:") } else { both }, "{breaks} {fields}");
        assert_eq!(answer.headers.contains_key("content-digest"), !rewritten, "{breaks} {fields}");
    }
}

#[test]
fn trailers_follow_the_page_on_the_wire() {
    let site = Exchange::new(PLAIN);
    let head = format!("200 OK\r\n{HTML}Transfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Digest\r\n");
    let body = format!("{:x}\r\n{PAGE}\r\n0\r\nX-Sum: 7\r\nContent-Digest: sha-256=:AA==:\r\n\r\n", PAGE.len());
    site.run(CLIENT, "GET /a", &head, body.as_bytes());
    let all = wire(site.deckle.address, "/a", "TE: trailers\r\n");
    assert!(all.contains("\r\ntrailer: X-Sum\r\n") && all.contains(GUARD), "{all}");
    assert!(all.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{all}");
}

#[test]
fn of_two_processes_in_a_row_the_outer_one_gives_the_tag() {
    let config = |mode: &str| {
        format!("{PLAIN}[page.notice]\ntext = \"All rights reserved.\"\n[page.guard]\nmode = \"{mode}\"\n")
    };
    let head = format!("200 OK\r\n{HTML}ETag: \"v1\"\r\n");
    for (mode, rewrite, skip) in [("attribute", "skipped", Some("already")), ("off", "done", None)] {
        let inner = Exchange::new(&config(mode));
        let outer = format!("{}min_words = 40\n", config("attribute"));
        let outer = Deckle::with_config(&outer, &["--upstream", &inner.deckle.url("")]);
        let (_, direct) = inner.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        let answer = get(CLIENT, outer.address, "/a", "");
        let page = text(&answer);
        assert_eq!((page.matches(GUARD).count(), page.matches(NOTICE).count()), (1, 1), "{mode}: {page}");
        assert_eq!(answer.body == direct.body, skip.is_some(), "{mode}: what holds a guard is copied");
        let (own, theirs) = (parts(&answer.headers["etag"]), parts(&direct.headers["etag"]));
        assert_eq!((own.0.as_str(), own.2.as_str()), ("\"v1", ".i\""), "{mode}: one suffix");
        assert_ne!(own.1, theirs.1, "{mode}: that of the outer one");

        let ask = format!("If-None-Match: {}\r\n", answer.headers["etag"]);
        let again = get(CLIENT, outer.address, "/a", &ask);
        assert_eq!((again.status, &again.body, &again.headers["etag"]), (200, &answer.body, &answer.headers["etag"]));
        let seen = inner.seen.lock().unwrap();
        let last = seen.iter().rfind(|seen| seen.target == "/a").unwrap();
        assert!(!last.headers.contains_key("if-none-match"), "{mode}: {last:?}");
        drop(seen);
        let (lines, _log) = outer.stop();
        let record = record(&lines, "/a");
        assert_eq!((record["deckle.rewrite"].as_str(), record["deckle.rewrite.skip"].as_str()), (Some(rewrite), skip));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_prefetched_is_a_page_as_any_other_and_ten_of_them_weigh_nothing() {
    let mut all = Vec::new();
    for field in [None, Some(("purpose", "prefetch")), Some(("sec-purpose", "prefetch;prerender"))] {
        let layer = DeckleLayer::builder().mode(Mode::Enforce).clock(ManualClock::at(1_795_000_000)).build().unwrap();
        let service = layer.layer(tower::service_fn(|_: Request<()>| {
            let page = Response::builder().header("content-type", "text/html; charset=utf-8");
            std::future::ready(Ok::<_, Infallible>(page.body(Full::new(Bytes::from_static(PAGE.as_bytes()))).unwrap()))
        }));
        let mut statuses = Vec::new();
        for visit in 0..60 {
            let mut request = Request::builder().uri("/news/a-b-c").header("user-agent", "Wget/1.21");
            if let Some((name, value)) = field {
                request = request.header(name, value);
            }
            let mut request = request.body(()).unwrap();
            request.extensions_mut().insert(Peer { address: ([203, 0, 113, 9], 1).into(), secure: false });
            let response = service.clone().oneshot(request).await.unwrap();
            statuses.push(response.status().as_u16());
            if visit == 0 {
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(String::from_utf8_lossy(&body).contains(GUARD), "{field:?}");
            }
        }
        assert!(statuses[0] == 200 && statuses.contains(&429), "{field:?}: {statuses:?}");
        all.push(statuses);
    }
    let served = |statuses: &[u16]| statuses.iter().take_while(|status| **status == 200).count();
    let served: Vec<usize> = all.iter().map(|statuses| served(statuses)).collect();
    // No time passes, so nothing comes back. What was asked ahead is remembered, so the first page is no longer the first request.
    assert!(served[1] == served[2] && (9..=11).contains(&(served[1] - served[0])), "{all:?}");
}

#[tokio::test]
async fn a_layer_that_compresses_stands_inside() {
    let layer = ProtectLayer::new(&Settings::default(), &deckle::rights::Settings::default(), "/.deckle").unwrap();
    let ask = async |compresses: bool, accepts: &'static str| -> (HeaderMap, Vec<u8>) {
        let site = tower::service_fn(move |request: Request<()>| {
            // As such layers do: the page's own tag for both forms.
            let coded = compresses && request.headers()["accept-encoding"] == "gzip";
            let mut response =
                Response::builder().header("content-type", "text/html; charset=utf-8").header("etag", "\"v1\"");
            if coded {
                response = response.header("content-encoding", "gzip").header("vary", "accept-encoding");
            }
            let body = if coded { gzip(PAGE.as_bytes()) } else { PAGE.as_bytes().to_vec() };
            std::future::ready(Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap()))
        });
        let request = Request::builder().uri("/a").header("accept-encoding", accepts).body(()).unwrap();
        let (head, body) = layer.layer(site).oneshot(request).await.unwrap().into_parts();
        (head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    };
    let ((coded, body), (plain, page)) = (ask(true, "gzip").await, ask(true, "identity").await);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(String::from_utf8_lossy(&page).contains(GUARD) && unpacked == page, "one page in both forms");
    assert_eq!((coded["content-encoding"].to_str().unwrap(), coded.get_all("vary").iter().count()), ("gzip", 1));
    let tag = |headers: &HeaderMap| headers["etag"].to_str().unwrap().to_owned();
    assert!(tag(&coded).starts_with("\"v1~dk") && tag(&coded).ends_with(".g\""), "{coded:?}");
    assert!(tag(&plain).starts_with("\"v1~dk") && tag(&plain).ends_with(".i\""), "{plain:?}");
    // What one outside is given to compress has the same strong tag for whoever asks.
    let ((gzips, _), (reads, _)) = (ask(false, "gzip").await, ask(false, "identity").await);
    assert!(!gzips.contains_key("content-encoding") && tag(&gzips) == tag(&reads), "{gzips:?}");
    assert_eq!(tag(&gzips), tag(&plain));
}
