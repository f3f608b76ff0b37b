//! Every page of the corpus through the real proxy, in every coding and chunking.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use deckle::page::{Marking, ProtectLayer, Settings};
use deckle::secret::Secrets;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use crate::dom;
use crate::support::{Deckle, Upstream, corpus, get};
use crate::undo::undo;

const CODINGS: [&str; 5] = ["identity", "gzip", "br", "zstd", "deflate"];

/// Every coding in chunks of one byte, of seven, and of 64 KiB.
fn ways() -> impl Iterator<Item = (&'static str, usize)> {
    CODINGS.into_iter().flat_map(|coding| [1, 7, 65_536].map(|chunk| (coding, chunk)))
}

/// A page of our own that covers what the corpus shows.
const OWN: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Own &amp; written for this test</title>\
    <style>p { margin: 0 }</style></head><body class='a b'><nav><ul><li><a href=/x>Elsewhere</a></ul></nav><main><article>\
    <p>The committee said on <em>Monday</em> that it won’t publish the full report before the end of June, because members \
    can’t agree on the wording of three chapters. </p><p>Zweiter Absatz: Straße, Äpfel &mdash; und noch ein paar Wörter mehr, damit \
    auch dieser Absatz lang genug für ein Siegel am Ende ist.</p><pre>  kept   as  it is </pre><!-- a comment --><img src=x.png alt=x>\
    </article></main><script>if (1 < 2) document.write('<p>not a paragraph</p>')</script></body></html>\n";

fn encode(coding: &str, page: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(page).unwrap();
            e.finish().unwrap()
        }
        "deflate" => {
            let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(page).unwrap();
            e.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4_096, 3, 22).write_all(page).unwrap();
            out
        }
        "zstd" => zstd::encode_all(page, 1).unwrap(),
        _ => page.to_vec(),
    }
}

fn decode(coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out).map(drop).unwrap(),
        Some("deflate") => flate2::read::ZlibDecoder::new(body).read_to_end(&mut out).map(drop).unwrap(),
        Some("br") => brotli::Decompressor::new(body, 4_096).read_to_end(&mut out).map(drop).unwrap(),
        Some("zstd") => out = zstd::decode_all(body).unwrap(),
        _ => out = body.to_vec(),
    }
    out
}

/// Pages with their types: the corpus as UTF-8, and our own page.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut pages = corpus();
    pages.push(("own".to_owned(), OWN.as_bytes().to_vec()));
    pages
}

/// Shows the page to the layer: what its style says holds from its second copy on.
fn teach(layer: &ProtectLayer, page: &[u8]) {
    let body = Full::new(Bytes::copy_from_slice(page));
    let answer = Response::builder().header("content-type", "text/html; charset=utf-8").body(body).unwrap();
    let site = tower::service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(answer.clone())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let copy = layer.layer(site).oneshot(Request::new(())).await.unwrap();
        copy.into_body().collect().await.unwrap();
    });
}

/// An upstream whose page the test changes.
struct Changing {
    upstream: Upstream,
    now: Arc<Mutex<(Vec<u8>, String, usize)>>,
}

impl Changing {
    fn start() -> Self {
        let now = Arc::new(Mutex::new((Vec::new(), String::new(), 1usize)));
        let shared = Arc::clone(&now);
        let upstream = Upstream::start(move |_, stream| {
            let (body, coding, chunk) = shared.lock().unwrap().clone();
            let coding = if coding == "identity" { String::new() } else { format!("Content-Encoding: {coding}\r\n") };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{coding}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.set_nodelay(true).unwrap();
            let _ = stream.write_all(head.as_bytes());
            for piece in body.chunks(chunk) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        });
        Self { upstream, now }
    }

    fn set(&self, page: &[u8], coding: &str, chunk: usize) {
        *self.now.lock().unwrap() = (encode(coding, page), coding.to_owned(), chunk);
    }
}

fn fetch(deckle: &Deckle) -> Vec<u8> {
    let extra = "Accept-Encoding: gzip, br, zstd, deflate\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\n";
    let answer = get(Ipv4Addr::new(127, 0, 0, 3), deckle.address, "/page", extra);
    assert_eq!((answer.status, answer.complete), (200, true));
    decode(answer.headers.get("content-encoding").map(String::as_str), &answer.body)
}

#[test]
fn switched_off_every_byte_is_the_same() {
    let changing = Changing::start();
    let deckle = Deckle::with_config("[page]\nenabled = false\n", &["--upstream", &changing.upstream.url()]);
    for (name, page) in pages() {
        for (coding, chunk) in ways() {
            changing.set(&page, coding, chunk);
            assert!(fetch(&deckle) == page, "{name} {coding} in chunks of {chunk}");
        }
    }
}

#[test]
fn with_everything_on_the_edits_give_the_page_back() {
    edits_give_the_page_back("plan_cache = 0\n", ways);
}

#[test]
fn pages_that_are_known_give_the_page_back_too() {
    edits_give_the_page_back("", || CODINGS.into_iter().map(|coding| (coding, 65_536)));
}

fn edits_give_the_page_back<I: Iterator<Item = (&'static str, usize)>>(page_config: &str, ways: impl Fn() -> I) {
    let config = "[suspicion]\nbeacon = \"off\"\n[rights]\nholder = \"The Post\"\n[page.notice]\nyear = 2026\nwhere = [\"footer\", \"comment\", \"meta\"]\n\
        [watermark.channels]\nwhitespace = \"always\"\n[page]\n";
    let config = &format!("{config}{page_config}");
    let changing = Changing::start();
    changing.set(OWN.as_bytes(), "identity", 65_536);
    let deckle = Deckle::with_config(config, &["--upstream", &changing.upstream.url()]);
    // Until one page has been read to its end copies carry no mark.
    fetch(&deckle);
    let copy = String::from_utf8(fetch(&deckle)).unwrap();
    assert!(copy.contains("<span inert"), "{copy}");
    let parsed = deckle::config::Config::from_toml(config).unwrap();
    let marking = Marking {
        secrets: Secrets::random().unwrap(),
        settings: parsed.watermark,
        findings: Arc::default(),
        styles: Arc::default(),
    };
    let settings = Settings { notice: parsed.page.notice, ..Settings::default() };
    let plan = ProtectLayer::new(&settings, &parsed.rights, "/.deckle").unwrap().marking(marking).unwrap();
    teach(&plan, OWN.as_bytes());
    for (name, page) in pages() {
        changing.set(&page, "identity", 65_536);
        // The first reading tells whether the page compares its own text, and whether it has an article at all.
        fetch(&deckle);
        teach(&plan, &page);
        let edits = plan.edits(&page, "text/html; charset=utf-8");
        for (coding, chunk) in ways() {
            changing.set(&page, coding, chunk);
            let copy = fetch(&deckle);
            let back = undo(&copy, &page, &edits).unwrap_or_else(|why| panic!("{name} {coding} {chunk}: {why}"));
            assert!(back == page, "{name} {coding} in chunks of {chunk}");
            if (coding, chunk) == ("identity", 65_536) {
                compare_trees(&name, &page, &copy);
            }
        }
    }
}

/// A browser sees the same page but for what deckle has put in.
fn compare_trees(name: &str, page: &[u8], copy: &[u8]) {
    let (before, after) = (dom::tree(page), dom::tree(copy));
    assert!(before.len() > 15, "{name}: {before:?}");
    let differs = before.iter().zip(&after).position(|(a, b)| a != b);
    let at = differs.unwrap_or(before.len().min(after.len()));
    let around = |tree: &[String]| tree.iter().skip(at.saturating_sub(1)).take(3).cloned().collect::<Vec<_>>();
    assert!(before == after, "{name}: {:#?} became {:#?}", around(&before), around(&after));
}
