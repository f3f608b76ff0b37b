//! Exchanges over real sockets: what the client asks, what reaches the site, what comes back (RFC 9110, RFC 9111).

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use crate::support::{Answer, Seen, hits};
use crate::ways::{Server, Way};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// Of whom a page is known.
const READERS: Ipv4Addr = Ipv4Addr::new(127, 0, 10, 7);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 7);
pub(crate) const PAGE: &str = "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article><p>The committee said on \
    Monday that it will not publish the full report before the end of June, because members cannot agree.</p></article></body></html>";
pub(crate) const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

/// A site whose next answer the test writes, behind deckle.
pub(crate) struct Exchange {
    pub(crate) deckle: Server,
    way: Way,
    answer: Arc<Mutex<(String, Vec<u8>)>>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Exchange {
    pub(crate) fn new(config: &str) -> Self {
        Self::over(Way::Http1, config)
    }

    pub(crate) fn over(way: Way, config: &str) -> Self {
        let answer = Arc::new(Mutex::new((String::new(), Vec::new())));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (now, memory) = (Arc::clone(&answer), Arc::clone(&seen));
        let deckle = Server::start(way, config, move |request| {
            memory.lock().unwrap().push(request);
            now.lock().unwrap().clone()
        });
        Self { deckle, way, answer, seen }
    }

    /// `request`: method, target and header lines; `head`: status and header lines of the site's answer.
    pub(crate) fn run(&self, client: Ipv4Addr, request: &str, head: &str, body: &[u8]) -> (Seen, Answer) {
        *self.answer.lock().unwrap() = (head.to_owned(), body.to_vec());
        if self.way == Way::Packed && request.starts_with("GET ") {
            let accepts = request.lines().find(|line| line.starts_with("Accept-Encoding"));
            let (line, accepts) = (request.lines().next().unwrap(), accepts.unwrap_or("Accept-Encoding: gzip"));
            for reader in 0..30 {
                let question = format!("{line}\n{accepts}\nUser-Agent: reader {}", reader % 5);
                self.way.ask(READERS, self.deckle.address, &question);
            }
        }
        let answer = self.way.ask(client, self.deckle.address, request);
        // deckle itself asks for the front page when it starts.
        let target = request.split_whitespace().nth(1).unwrap();
        (self.seen.lock().unwrap().iter().rfind(|seen| seen.target == target).unwrap().clone(), answer)
    }
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// `"v1~dk3.g"` to `("\"v1~dk", "3", ".g\"")`.
pub(crate) fn parts(tag: &str) -> (String, String, String) {
    let (before, rest) = tag.split_once("~dk").unwrap_or_else(|| panic!("{tag}"));
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    (before.to_owned(), rest[..digits].to_owned(), rest[digits..].to_owned())
}

#[test]
fn e1_to_e4_validators_and_ranges_of_a_page_that_is_the_same_for_all() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "[watermark]\nlevel = \"off\"\n");
        let body = gzip(PAGE.as_bytes());
        let head = format!(
            "200 OK\r\n{HTML}Content-Encoding: gzip\r\nETag: \"v1\"\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nRepr-Digest: sha-256=:AA==:\r\n",
            body.len()
        );
        let (seen, answer) = site.run(CLIENT, "GET /a\nAccept-Encoding: gzip, zstd;q=0.5, foo", &head, &body);
        if way != Way::Packed {
            // There a site nearby is not asked to compress what is put together here.
            assert_eq!(seen.headers["accept-encoding"], "gzip, zstd;q=0.5", "{way:?}");
        }
        let (before, version, after) = parts(&answer.headers["etag"]);
        assert_eq!((before.as_str(), after.as_str()), ("\"v1", ".g\""), "{way:?} E1");
        assert_eq!(
            (answer.headers["accept-ranges"].as_str(), answer.headers["vary"].as_str()),
            ("none", "Accept-Encoding"),
            "{way:?}"
        );
        for gone in ["content-length", "repr-digest"] {
            assert!(!answer.headers.contains_key(gone), "{way:?} E1 {gone}");
        }
        assert_eq!(answer.headers["content-encoding"], "gzip", "{way:?}");

        let unchanged = "304 Not Modified\r\nETag: \"v1\"\r\n";
        let tag = format!("\"v1~dk{version}.g\"");
        let (seen, answer) = site.run(CLIENT, &format!("GET /a\nIf-None-Match: {tag}"), unchanged, b"");
        assert_eq!((seen.headers["if-none-match"].as_str(), answer.status), ("\"v1\"", 304), "{way:?} E2");
        assert_eq!(answer.headers["etag"], tag, "{way:?}");

        let request = "GET /a\nIf-None-Match: \"v1~dk2.g\"\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT";
        let (seen, answer) = site.run(CLIENT, request, &head, &body);
        assert!(
            !seen.headers.contains_key("if-none-match") && !seen.headers.contains_key("if-modified-since"),
            "{way:?} E3"
        );
        assert_eq!(answer.status, 200, "{way:?}");

        let (seen, answer) = site.run(CLIENT, &format!("GET /a\nRange: bytes=0-99\nIf-Range: {tag}"), &head, &body);
        assert!(!seen.headers.contains_key("range") && !seen.headers.contains_key("if-range"), "{way:?} E4");
        assert_eq!((answer.status, answer.headers["accept-ranges"].as_str()), (200, "none"), "{way:?}");

        let weak = format!("200 OK\r\n{HTML}ETag: W/\"a,b\"\r\n");
        let (_, answer) = site.run(CLIENT, "GET /w", &weak, PAGE.as_bytes());
        assert_eq!(answer.headers["etag"], format!("W/\"a,b~dk{version}.i\""), "{way:?} E13");
        let request = format!("GET /w\nIf-None-Match: W/\"a,b~dk{version}.i\", \"x\"");
        assert_eq!(site.run(CLIENT, &request, unchanged, b"").0.headers["if-none-match"], "W/\"a,b\"", "{way:?} E13");
    }
}

#[test]
fn e5_to_e7_a_copy_of_one_s_own_is_private_and_its_tag_is_of_no_use_to_others() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "");
        let head = format!(
            "200 OK\r\n{HTML}Cache-Control: public, max-age=60, s-maxage=600\r\nCDN-Cache-Control: max-age=900\r\n\
             Expires: Thu, 01 Jan 2037 00:00:00 GMT\r\nETag: \"v1\"\r\n"
        );
        // Until the site is known nothing is marked.
        site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        let (_, answer) = site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        assert_eq!(answer.headers["cache-control"], "private, no-cache", "{way:?} E5");
        assert!(
            !answer.headers.contains_key("cdn-cache-control") && !answer.headers.contains_key("expires"),
            "{way:?}"
        );
        let tag = answer.headers["etag"].clone();
        let (before, _, after) = parts(&tag);
        assert!(
            before == "W/\"v1" && after.starts_with("s-") && after.ends_with(".i\"") && after.len() == 13,
            "{way:?} {tag}"
        );
        assert!(String::from_utf8_lossy(&answer.body).contains("<span inert"), "{way:?} a seal");

        let (_, head_only) = site.run(CLIENT, "HEAD /a", &head, b"");
        let mut fields = answer.headers.clone();
        fields.remove("transfer-encoding");
        let mut of_head = head_only.headers.clone();
        for name in ["date", "transfer-encoding"] {
            fields.remove(name);
            of_head.remove(name);
        }
        assert_eq!((of_head, head_only.body.len()), (fields, 0), "{way:?} E6");

        let (seen, _) =
            site.run(CLIENT, &format!("PUT /a\nIf-Match: {tag}\nContent-Length: 0"), "204 No Content\r\n", b"");
        assert_eq!(seen.headers["if-match"], "\"v1\"", "{way:?} E7");
        let ask = format!("GET /a\nIf-None-Match: {tag}");
        assert_eq!(
            site.run(CLIENT, &ask, "304 Not Modified\r\nETag: \"v1\"\r\n", b"").0.headers["if-none-match"],
            "\"v1\"",
            "{way:?}"
        );
        let (seen, _) = site.run(OTHER, &ask, &head, PAGE.as_bytes());
        assert!(!seen.headers.contains_key("if-none-match"), "{way:?} nobody keeps a copy with another's mark");
    }
}

#[test]
fn e8_to_e12_and_e15_what_cannot_be_rewritten_and_what_must_not_be_believed() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "");
        let plain = |head: &str, body: &[u8]| {
            let head = format!("200 OK\r\n{head}Content-Length: {}\r\n", body.len());
            site.run(CLIENT, "GET /a", &head, body).1
        };
        let own = plain(&format!("{HTML}Cache-Control: no-transform\r\n"), PAGE.as_bytes());
        assert_eq!(
            (own.body.as_slice(), own.headers["content-length"].as_str()),
            (PAGE.as_bytes(), PAGE.len().to_string().as_str()),
            "{way:?} E8"
        );
        let long: String = (0..40_000u32).map(|i| format!("<p>{:x}</p>", i.wrapping_mul(2_654_435_761))).collect();
        let mut cut = gzip(format!("<!doctype html><title>t</title>{long}").as_bytes());
        cut.truncate(cut.len() - 6);
        assert!(!plain(&format!("{HTML}Content-Encoding: gzip\r\n"), &cut).complete, "{way:?} E9");
        assert_eq!(
            plain("Content-Type: text/html; charset=utf-16le\r\n", b"<\0p\0>\0").body,
            b"<\0p\0>\0",
            "{way:?} E10"
        );
        assert_eq!(plain(HTML, b"{\"a\":\"<p>\"}").body, b"{\"a\":\"<p>\"}", "{way:?} E11");
        let (seen, _) = site.run(
            CLIENT,
            "GET /a\nConnection: X-Forwarded-For\nX-Forwarded-For: 1.2.3.4",
            "204 No Content\r\n",
            b"",
        );
        if way != Way::Layer {
            // A layer has no next hop to tell.
            assert_eq!(seen.headers["x-forwarded-for"], CLIENT.to_string(), "{way:?} E15");
        }
        let (lines, _log) = site.deckle.stop();
        let client = hits(&lines).last().unwrap()["client.address"].as_str().unwrap().to_owned();
        assert!(client.starts_with("127.0.0."), "{way:?} E15 {client}");
        let hits = hits(&lines).into_iter().filter(|l| l["client.address"] == *client).collect::<Vec<_>>();
        let skips: Vec<&str> = hits.iter().filter_map(|l| l["deckle.rewrite.skip"].as_str()).collect();
        assert_eq!(skips, ["no_transform", "charset_unsafe", "not_markup", "status"], "{way:?}");
        let aborted = hits.iter().find(|l| l["deckle.rewrite"] == "aborted").unwrap().to_string();
        assert!(aborted.contains("coding_truncated"), "{way:?} {aborted}");
    }
}

/// Only a packed page leaves in gzip where another coding is liked as well.
#[test]
fn on_one_of_the_ways_pages_are_packed() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "[proxy]\nupstream_coding = \"client\"\n");
        let head = format!("200 OK\r\n{HTML}Content-Encoding: zstd\r\n");
        let body = zstd::encode_all(PAGE.as_bytes(), 3).unwrap();
        let ask = || site.run(CLIENT, "GET /a\nAccept-Encoding: zstd, gzip", &head, &body).1;
        let is_packed = |answer: Answer| answer.headers["content-encoding"] == "gzip";
        // They are packed beside the answers.
        let asked = if way == Way::Packed { 20 } else { 1 };
        assert_eq!((0..asked).any(|_| is_packed(ask())), way == Way::Packed, "{way:?}");
    }
}

#[test]
fn e14_early_hints_end_at_the_proxy() {
    for way in [Way::Http1, Way::Http2] {
        let site = Exchange::over(way, "");
        let early = "103 Early Hints\r\nLink: </early.css>; rel=preload\r\n\r\n";
        let head = format!("{early}HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n");
        let (_, answer) = site.run(CLIENT, "GET /a", &head, b"ok");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]), "{way:?}");
        assert!(answer.complete && !answer.headers.contains_key("link"), "{way:?} {:?}", answer.headers);
    }
}

#[test]
fn a_feed_keeps_its_own_tags() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "");
        let feed =
            "200 OK\r\nContent-Type: application/rss+xml\r\nETag: \"f1\"\r\nCache-Control: public, max-age=60\r\n";
        let (_, answer) = site.run(CLIENT, "GET /feed/", feed, b"<rss/>");
        assert_eq!(
            (answer.headers["etag"].as_str(), answer.headers["cache-control"].as_str()),
            ("\"f1\"", "public, max-age=60"),
            "{way:?}"
        );
        let unchanged = "304 Not Modified\r\nETag: \"f1\"\r\nCache-Control: public, max-age=60\r\n";
        let (seen, answer) = site.run(CLIENT, "GET /feed/\nIf-None-Match: \"f1\"", unchanged, b"");
        assert_eq!((seen.headers["if-none-match"].as_str(), answer.status), ("\"f1\"", 304), "{way:?}");
        assert_eq!(
            (answer.headers["etag"].as_str(), answer.headers["cache-control"].as_str()),
            ("\"f1\"", "public, max-age=60"),
            "{way:?}"
        );
    }
}

#[test]
fn what_page_keys_ask_for_is_done() {
    for &way in Way::ALL {
        let site = Exchange::over(
            way,
            "[page]\nalternate = \"refuse\"\ncompress = true\nlength_jitter = true\n[watermark]\nlevel = \"off\"\n",
        );
        let markdown = "200 OK\r\nContent-Type: text/markdown; charset=utf-8\r\n";
        let (_, answer) = site.run(CLIENT, "GET /a\nAccept: text/markdown", markdown, b"# The whole article");
        assert_eq!((answer.status, answer.headers["vary"].as_str()), (406, "Accept"), "{way:?}");
        assert!(!answer.body.windows(7).any(|w| w == b"article"), "{way:?}");

        let head = format!("200 OK\r\n{HTML}ETag: \"v1\"\r\n");
        let request = "GET /a\nAccept-Encoding: gzip, deflate;q=0.5";
        let (_, first) = site.run(CLIENT, request, &head, PAGE.as_bytes());
        assert_eq!(
            (first.headers["content-encoding"].as_str(), first.headers["vary"].as_str()),
            ("gzip", "Accept-Encoding"),
            "{way:?}"
        );
        let (_, weak) = first.headers["etag"].split_once("W/").expect("copies differ");
        assert!(weak.ends_with("s.g\""), "{way:?} {weak}");
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..12 {
            let (_, answer) = site.run(CLIENT, request, &head, PAGE.as_bytes());
            let mut page = String::new();
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut page).unwrap();
            assert!(page.ends_with("</body></html>"), "{way:?}");
            lengths.insert(page.len());
        }
        assert!(lengths.len() > 2, "{way:?} {lengths:?}");
        let (_, plain) = site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        assert!(!plain.headers.contains_key("content-encoding"), "{way:?} a client that names no coding gets none");
        let image = "200 OK\r\nContent-Type: image/png\r\nContent-Length: 3\r\n";
        let (_, image) = site.run(CLIENT, request, image, b"png");
        assert!(!image.headers.contains_key("content-encoding") && image.body == b"png", "{way:?}");
    }
}

#[test]
fn ways_around_lead_to_the_rewritten_page() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "[watermark]\nlevel = \"off\"\n");
        let head = format!("200 OK\r\n{HTML}");
        for fields in [
            "Cache-Control: no-transform",
            "HX-Request: true",
            "X-Requested-With: XMLHttpRequest\nSec-Fetch-Dest: empty",
            "Accept: application/json",
            "Accept: text/markdown",
            "Accept-Encoding: compress",
            "Accept-Encoding: dcb, dcz",
            "Accept-Encoding: *",
            "Connection: accept-encoding\nAccept-Encoding: compress",
            "Range: bytes=0-",
            "Purpose: prefetch\nSec-Purpose: prefetch",
            "Service-Worker: script",
        ] {
            let (seen, answer) = site.run(CLIENT, &format!("GET /story\n{fields}"), &head, PAGE.as_bytes());
            assert_eq!(answer.status, 200, "{way:?} {fields}");
            assert!(String::from_utf8_lossy(&answer.body).contains("data-deckle=\"guard\""), "{way:?} {fields}");
            assert!(!seen.headers.contains_key("range"), "{way:?} {fields}");
            if fields.contains("Accept-Encoding") {
                assert_eq!(seen.headers["accept-encoding"], "identity", "{way:?} {fields}");
            } else {
                assert!(!seen.headers.contains_key("accept-encoding"), "{way:?} {fields}");
            }
        }
        let (_, answer) = site.run(CLIENT, "POST /story", &head, PAGE.as_bytes());
        assert!(String::from_utf8_lossy(&answer.body).contains("data-deckle=\"guard\""), "{way:?}");
    }
}

#[test]
fn what_is_not_deckle_s_to_decide_passes() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "[page.skip]\npaths = [\"/plain/**\"]\n[watermark]\nlevel = \"off\"\n");
        let head = format!(
            "200 OK\r\n{HTML}Age: 7\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nExpires: Mon, 23 Nov 2026 11:00:00 GMT\r\nETag: \"v1\"\r\n"
        );
        let (seen, answer) = site.run(CLIENT, "GET /a\nIf-None-Match: *", &head, PAGE.as_bytes());
        assert_eq!(seen.headers["if-none-match"], "*", "{way:?}");
        assert_eq!(
            (answer.headers["age"].as_str(), answer.headers["date"].as_str(), answer.headers["expires"].as_str()),
            ("7", "Mon, 23 Nov 2026 10:00:00 GMT", "Mon, 23 Nov 2026 11:00:00 GMT"),
            "{way:?}"
        );
        let (seen, _) = site.run(CLIENT, "PUT /a\nIf-None-Match: \"v1~dk1.g\"", "204 No Content\r\n", b"");
        assert_eq!(seen.headers["if-none-match"], "\"v1\"", "{way:?}");

        let (seen, answer) =
            site.run(CLIENT, "GET /plain/a\nIf-None-Match: \"v0\"\nAccept-Encoding: foo", &head, PAGE.as_bytes());
        assert!(answer.body == PAGE.as_bytes() && answer.headers["etag"] == "\"v1\"", "{way:?}");
        assert_eq!(
            (seen.headers["if-none-match"].as_str(), seen.headers["accept-encoding"].as_str()),
            ("\"v0\"", "foo"),
            "{way:?}"
        );

        let twice = gzip(&gzip(PAGE.as_bytes()));
        let stacked = format!("200 OK\r\n{HTML}Content-Encoding: gzip, gzip\r\n");
        let (_, answer) = site.run(CLIENT, "GET /a\nAccept-Encoding: gzip", &stacked, &twice);
        assert_eq!(answer.headers["content-encoding"], "gzip", "{way:?}");
        let mut page = String::new();
        flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut page).unwrap();
        assert!(page.contains("data-deckle=\"guard\"") && page.ends_with("</body></html>"), "{way:?}");

        let amp = "<!doctype html><html amp lang=en><head><meta charset=utf-8><title>t</title></head><body><article><p>x</p></article></body></html>";
        let (_, answer) = site.run(CLIENT, "GET /amp/a", &format!("200 OK\r\n{HTML}"), amp.as_bytes());
        assert!(!String::from_utf8_lossy(&answer.body).contains("data-deckle=\"guard\""), "{way:?}");

        let utf16: Vec<u8> = PAGE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16 = [&[0xFF, 0xFE][..], &utf16].concat();
        let (_, answer) = site.run(CLIENT, "GET /utf16", "200 OK\r\nContent-Type: text/html\r\n", &utf16);
        assert!(answer.body == utf16, "{way:?} UTF-16 by its mark only");
    }
}

#[test]
fn a_304_is_as_private_as_the_copy_that_it_confirms() {
    for &way in Way::ALL {
        let site = Exchange::over(way, "");
        let head = format!("200 OK\r\n{HTML}ETag: \"v1\"\r\nCache-Control: public\r\n");
        site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        let (_, copy) = site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
        let tag = &copy.headers["etag"];
        let unchanged = "304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: public, max-age=60\r\n";
        let (_, confirmed) = site.run(CLIENT, &format!("GET /a\nIf-None-Match: {tag}"), unchanged, b"");
        assert_eq!(
            (confirmed.status, confirmed.headers["cache-control"].as_str()),
            (304, "private, no-cache"),
            "{way:?}"
        );
        assert_eq!(copy.headers["vary"], "Accept-Encoding", "{way:?}");
    }
}
