//! What deckle costs, as ratios against a named peer in the same run:
//!
//! - identify + assess + decide, against the same service without them;
//! - scan and splice with every word gap a slot, against a bare lol_html pass with two plain handlers, and against one with
//!   the selectors of deckle's scan and handlers that do nothing;
//! - a page that is known, against a copy of its bytes;
//! - a whole request over a socket, against bare axum.
//!
//! `scripts/bench` runs it. The pages are those of `DECKLE_CORPUS`; without them the demo article of this file.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // Benches are the place that measures real time.

mod chunks;
mod client;
mod requests;

use std::convert::Infallible;
use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunks::Chunks;
use client::Client;
use deckle::DeckleLayer;
use deckle::config::Config;
use deckle::page::{Findings, Marking, ProtectLayer};
use deckle::secret::Secrets;
use deckle::visitor::{IdentifyLayer, Visitor};
use deckle::watermark;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use requests::{median, request, serve_all};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};

const ROUNDS: usize = 15;
const CHUNK: usize = 16 * 1024;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let pages = pages();
    decide(&runtime);
    rewrite(&runtime, &pages);
    known(&runtime);
    whole(&runtime, &pages);
    divan::main();
}

/// Name and source of each page.
fn pages() -> Vec<(String, Bytes)> {
    let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
    let mut pages: Vec<(String, Bytes)> = std::fs::read_dir(format!("{dir}/pages"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "html"))
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap().into()))
        .collect();
    pages.sort();
    if pages.is_empty() {
        println!("no pages at {dir}: one made article is measured (set DECKLE_CORPUS)");
        let words = "<p>The committee said on Monday that it would not publish the full report.</p>\n".repeat(500);
        let page = format!(
            "<!doctype html><html><head><meta charset=utf-8></head><body><article>{words}</article></body></html>"
        );
        pages.push(("made".to_owned(), page.into()));
    }
    pages
}

// --- identify and assess ---------------------------------------------------------------------------------------------

fn decide(runtime: &Runtime) {
    const REQUESTS: u32 = 20_000;
    let bare = tower::service_fn(|request: Request<()>| async move {
        black_box(&request);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let (identify, assess, enforce) = requests::layers();
    let stack = identify.layer(assess.layer(enforce.layer(bare)));
    let (mut with, mut without, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(runtime.block_on(serve_all(bare, REQUESTS, &mut Vec::new())));
        with.push(runtime.block_on(serve_all(stack.clone(), REQUESTS, &mut single)));
    }
    let (with, without) = (median(&mut with), median(&mut without));
    let each = with.saturating_sub(without) / REQUESTS;
    single.sort_unstable();
    let at = |share: f64| single[((single.len() - 1) as f64 * share) as usize];
    println!(
        "\nidentify + assess + decide: {each:?} a request (median of {ROUNDS} rounds of {REQUESTS})\n  single ones, clock included: p50 {:?} (at most 8 µs wanted), p99 {:?} (60 µs), p99.9 {:?}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

// --- scan and splice -------------------------------------------------------------------------------------------------

/// `plans`: bytes for plans of pages; without any a page is new each time.
fn protect(page: &Bytes, plans: u64) -> ProtectLayer {
    let secrets = Secrets::random().unwrap();
    let mut settings = watermark::Settings::default();
    settings.channels.whitespace = watermark::Whitespace::Always;
    let findings = Arc::new(Findings::default());
    findings.learn_page(page);
    let pages = deckle::page::Settings { plan_cache: deckle::unit::Size(plans), ..Default::default() };
    let layer = ProtectLayer::new(&pages, &deckle::rights::Settings::default(), "/.deckle").unwrap();
    layer.marking(Marking { secrets, settings, findings, styles: Arc::default() }).unwrap()
}

fn page_request() -> Request<()> {
    let mut request = request(0);
    request.headers_mut().insert("accept-encoding", "identity".parse().unwrap());
    let (mut head, ()) = request.into_parts();
    // What the identifying layer leaves for the one that is measured.
    let visitor = Visitor::from_head(&head, &deckle::visitor::Settings::default(), Duration::ZERO).unwrap();
    head.extensions.insert(visitor);
    Request::from_parts(head, ())
}

/// Bodies in chunks as they come from a socket.
fn chunked(page: &Bytes) -> Chunks {
    let chunks: Vec<_> =
        (0..page.len()).step_by(CHUNK).map(|at| page.slice(at..(at + CHUNK).min(page.len()))).collect();
    Chunks(chunks.into_iter())
}

async fn protected(layer: &ProtectLayer, page: &Bytes, request: Request<()>) -> usize {
    let page = page.clone();
    let inner = layer.layer(tower::service_fn(move |_: Request<()>| {
        let response = Response::builder().header("content-type", "text/html; charset=utf-8").body(chunked(&page));
        std::future::ready(Ok::<_, Infallible>(response.unwrap()))
    }));
    let mut body = inner.oneshot(request).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    bytes
}

fn bare_lol_html(page: &Bytes) -> usize {
    let settings = lol_html::Settings::new()
        .append_element_content_handler(lol_html::element!("a[href]", |element| {
            black_box(element.get_attribute("href"));
            Ok(())
        }))
        .append_element_content_handler(lol_html::text!("p", |text| {
            black_box(text.as_str().len());
            Ok(())
        }));
    pass(page, settings)
}

/// Sees all that the scan of an article sees, and does nothing.
fn empty_handlers(page: &Bytes) -> usize {
    let mut settings = lol_html::Settings::new().append_element_content_handler(lol_html::element!("*", |element| {
        black_box(element);
        Ok(())
    }));
    for selector in ["script", "p, li, blockquote, dd", "style"] {
        settings = settings.append_element_content_handler(lol_html::text!(selector, |text| {
            black_box(text);
            Ok(())
        }));
    }
    pass(page, settings)
}

fn pass(page: &Bytes, settings: lol_html::Settings<'_, '_>) -> usize {
    let mut bytes = 0;
    let mut rewriter = lol_html::HtmlRewriter::new(settings, |out: &[u8]| bytes += out.len());
    for chunk in page.chunks(CHUNK) {
        rewriter.write(chunk).unwrap();
    }
    rewriter.end().unwrap();
    bytes
}

fn rewrite(runtime: &Runtime, pages: &[(String, Bytes)]) {
    println!(
        "\nscan and splice of a page that is new, every word gap a slot, against lol_html with two plain handlers"
    );
    println!("{:<42} {:>9} {:>12} {:>12} {:>7}", "page", "bytes", "lol_html", "deckle", "ratio");
    let [mut all_bare, mut all_empty, mut all_with] = [Duration::ZERO; 3];
    for (name, page) in pages {
        let layer = protect(page, 0);
        let [mut bare, mut empty, mut with] = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            bare.push(time(|| bare_lol_html(page)));
            empty.push(time(|| empty_handlers(page)));
            let request = page_request();
            with.push(time(|| runtime.block_on(protected(&layer, page, request))));
        }
        let [bare, empty, with] = [bare, empty, with].map(|mut times| median(&mut times));
        (all_bare, all_empty, all_with) = (all_bare + bare, all_empty + empty, all_with + with);
        let ratio = with.as_secs_f64() / bare.as_secs_f64();
        println!("{name:<42} {:>9} {bare:>12.1?} {with:>12.1?} {ratio:>6.1}×", page.len());
    }
    println!("all pages: {:.2}× (at most 4× wanted)", all_with.as_secs_f64() / all_bare.as_secs_f64());
    let ratio = all_with.as_secs_f64() / all_empty.as_secs_f64();
    println!("against lol_html with the selectors of the scan and empty handlers: {ratio:.2}× (at most 1.3× wanted)");
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

// --- a page that is known ------------------------------------------------------------------------------------------------

/// A page of about 200 KB with a thousand gaps in its text, compared and spliced by the page stage alone.
fn known(runtime: &Runtime) {
    let words = ["harbour", "council", "ferry", "market", "winter", "report", "school"];
    let paragraph = |i: usize| {
        let text: Vec<&str> = (0..28).map(|j| words[(i * 5 + j * j) % words.len()]).collect();
        format!("<p class=\"story\">{}.</p>\n<div data-x=\"{}\"></div>\n", text.join(" "), "y".repeat(4_800))
    };
    let text: String = (0..40).map(paragraph).collect();
    let page = Bytes::from(format!(
        "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article>{text}</article></body></html>"
    ));
    let layer = protect(&page, 64 << 20);
    let [mut copied, mut known] = [const { Vec::new() }; 2];
    let mut slots = 0;
    for _ in 0..ROUNDS * 100 {
        copied.push(time(|| Bytes::from(page.to_vec())));
        let request = page_request();
        let start = Instant::now();
        let sent = runtime.block_on(protected(&layer, &page, request));
        known.push(start.elapsed());
        slots = sent - page.len();
    }
    let (copied, known) = (median(&mut copied), median(&mut known));
    println!(
        "\na known page of {} bytes with about 1,000 gaps and 40 seals ({slots} bytes put in): {known:.1?} for the whole page stage (at most 30 µs wanted), a copy of its bytes {copied:.1?}",
        page.len()
    );
}

// --- a whole request -------------------------------------------------------------------------------------------------

fn whole(runtime: &Runtime, pages: &[(String, Bytes)]) {
    const REQUESTS: usize = 1_000;
    // The page in the middle by size.
    let mut by_size: Vec<&Bytes> = pages.iter().map(|(_, page)| page).collect();
    by_size.sort_by_key(|page| page.len());
    let page = Bytes::clone(by_size[by_size.len() / 2]);
    let site = || {
        let page = page.clone();
        axum::Router::new().fallback(move || {
            let page = page.clone();
            async move { ([("content-type", "text/html; charset=utf-8")], page) }
        })
    };
    let findings = Arc::new(Findings::default());
    findings.learn_page(&page);
    let deckle = DeckleLayer::builder()
        .config(Config::default())
        .secret(Secrets::random().unwrap())
        .findings(findings)
        .build()
        .unwrap();
    let bare = start(runtime, site());
    let with = start(runtime, site().layer(deckle));
    let (mut bare_times, mut with_times) = (Vec::new(), Vec::new());
    let client = |address: SocketAddr| Client::new(TcpStream::connect(address).unwrap(), "/an-article", "identity");
    let (mut bare, mut with) = (client(bare), client(with));
    for _ in 0..REQUESTS {
        bare_times.push(bare.get().0);
        with_times.push(with.get().0);
    }
    bare_times.sort_unstable();
    with_times.sort_unstable();
    println!("\na whole HTML response of {} bytes over a socket, {REQUESTS} each, taking turns", page.len());
    for (name, part) in [("p50", 50), ("p99", 99)] {
        let at = REQUESTS * part / 100;
        let (bare, with) = (bare_times[at], with_times[at]);
        println!("{name}: axum {bare:.1?}, with deckle {with:.1?}, added {:.1?}", with.saturating_sub(bare));
    }
    println!();
}

fn start(runtime: &Runtime, app: axum::Router) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
    address
}

// --- for a closer look: `cargo bench --bench cost -- --bench NAME` ------------------------------------------------------

#[divan::bench(args = pages().into_iter().map(|(name, _)| name).collect::<Vec<_>>())]
fn scan_and_splice(bencher: divan::Bencher<'_, '_>, name: &str) {
    let page = pages().into_iter().find(|(n, _)| n == name).unwrap().1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let layer = protect(&page, 0);
    bencher
        .counter(divan::counter::BytesCount::new(page.len()))
        .with_inputs(page_request)
        .bench_local_values(|request| runtime.block_on(protected(&layer, &page, request)));
}

#[divan::bench]
fn identify(bencher: divan::Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = IdentifyLayer::new(&deckle::visitor::Settings::default()).unwrap().layer(tower::service_fn(
        |request: Request<()>| std::future::ready(Ok::<_, Infallible>(Response::new(request))),
    ));
    bencher.with_inputs(|| request(7)).bench_values(|request| runtime.block_on(service.clone().oneshot(request)));
}
