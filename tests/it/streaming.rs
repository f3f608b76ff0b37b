//! What leaves when: a body is polled by hand, frame by frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use deckle::page::{Findings, Marking, PageFacts, PageReport, ProtectLayer, Settings};
use deckle::secret::{Secret, Secrets};
use deckle::visitor::{Peer, Visitor};
use deckle::watermark::{self, Whitespace};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

/// The inner body: what the test has put there, and then a pause or the end.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Mutex<(VecDeque<Bytes>, bool)>>);

impl Pipe {
    pub(crate) fn of(pieces: &[&[u8]]) -> Self {
        Self(Arc::new(Mutex::new((pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect(), false))))
    }

    pub(crate) fn end(self) -> Self {
        self.0.lock().unwrap().1 = true;
        self
    }
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.0.lock().unwrap();
        match state.0.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if state.1 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

pub(crate) fn layer(settings: &Settings, marked: bool) -> ProtectLayer {
    let rights = deckle::config::Config::from_toml("[rights]\nholder = \"The Post\"").unwrap().rights;
    let layer = ProtectLayer::new(settings, &rights, "/.deckle").unwrap();
    if !marked {
        return layer;
    }
    let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
    let mut settings = watermark::Settings::default();
    settings.channels.whitespace = Whitespace::Always;
    let findings = Arc::new(Findings::default());
    findings.learn_page(page(3).as_bytes());
    layer.marking(Marking { secrets, settings, findings, styles: Arc::default() }).unwrap()
}

/// A page of so many paragraphs.
fn page(paragraphs: usize) -> String {
    let paragraph =
        "<p>The committee said on Monday that it would not publish the full report before the end of June.</p>\n";
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>t</title></head><body><article>{}</article></body></html>",
        paragraph.repeat(paragraphs)
    )
}

/// The answer to a visitor at this address.
async fn answer(
    layer: &ProtectLayer,
    last: u8,
    coding: Option<&str>,
    body: Pipe,
) -> Response<impl Body<Data = Bytes, Error: std::fmt::Debug>> {
    answer_of(layer, last, "text/html; charset=utf-8", coding, body).await
}

/// The same of an answer of this type.
async fn answer_of(
    layer: &ProtectLayer,
    last: u8,
    kind: &str,
    coding: Option<&str>,
    body: Pipe,
) -> Response<impl Body<Data = Bytes, Error: std::fmt::Debug>> {
    let mut request = Request::builder().uri("/news/a").header("host", "news.example").header("user-agent", "Firefox");
    request.extensions_mut().unwrap().insert(Peer { address: ([203, 0, 113, last], 1).into(), secure: false });
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    let arrived = Duration::from_secs(1_795_000_000);
    let visitor = Visitor::from_head(&head, &deckle::visitor::Settings::default(), arrived).unwrap();
    head.extensions.insert(visitor);
    let mut response = Response::builder().header("content-type", kind);
    if let Some(coding) = coding {
        response = response.header("content-encoding", coding);
    }
    let response = Mutex::new(Some(response.body(body).unwrap()));
    let site = tower::service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(response.lock().unwrap().take().unwrap()))
    });
    layer.layer(site).oneshot(Request::from_parts(head, ())).await.unwrap()
}

pub(crate) async fn whole(layer: &ProtectLayer, last: u8, body: Pipe) -> (Vec<u8>, PageFacts) {
    let response = answer(layer, last, None, body).await;
    let report = response.extensions().get::<PageReport>().unwrap().clone();
    let bytes = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    (bytes, report.facts())
}

/// What leaves on one poll.
fn poll_once(body: Pin<&mut impl Body<Data = Bytes, Error: std::fmt::Debug>>) -> Option<Bytes> {
    match body.poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(frame)) => frame.unwrap().into_data().ok(),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

/// The first bytes in a coding, flushed but not ended.
fn begin(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    match coding {
        Some("gzip") => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        Some("deflate") => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        Some("br") => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4_096, 3, 22);
            encoder.write_all(bytes).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        Some("zstd") => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        _ => bytes.to_vec(),
    }
}

/// As much of it as can be read by now.
fn read(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Some("gzip") => drop(flate2::write::GzDecoder::new(&mut out).write_all(bytes)),
        Some("deflate") => drop(flate2::write::ZlibDecoder::new(&mut out).write_all(bytes)),
        Some("br") => {
            let mut decoder = brotli::DecompressorWriter::new(&mut out, 4_096);
            decoder.write_all(bytes).unwrap();
            decoder.flush().unwrap();
        }
        Some("zstd") => {
            let mut decoder = zstd::stream::write::Decoder::new(&mut out).unwrap();
            decoder.write_all(bytes).unwrap();
            decoder.flush().unwrap();
        }
        _ => out = bytes.to_vec(),
    }
    out
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_leave_on_the_poll_that_brought_them() {
    for marked in [false, true] {
        for coding in [None, Some("gzip"), Some("br"), Some("zstd"), Some("deflate")] {
            let page = page(8);
            // In the middle of the sixth paragraph.
            let cut = page.match_indices("Monday").nth(5).unwrap().0;
            let pipe = Pipe::of(&[&begin(coding, &page.as_bytes()[..cut])]);
            let layer = layer(&Settings::default(), marked);
            let response = answer(&layer, 1, coding, pipe).await;
            let mut body = pin!(response.into_body());
            let mut left = Vec::new();
            // A coded frame and its flush may be two frames, with nothing in between.
            while let Some(frame) = poll_once(body.as_mut()) {
                left.extend_from_slice(&frame);
            }
            let text = String::from_utf8(read(coding, &left)).unwrap();
            assert!(text.contains("<script src="), "{coding:?} {marked}: the head with its insertion has left");
            assert_eq!(text.matches("</p>").count(), 5, "{coding:?} {marked}: five whole paragraphs have left");
            assert_eq!(text.contains("<span inert"), marked, "{coding:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_page_is_the_same_copy_as_a_parsed_one() {
    let parse = Settings { plan_cache: deckle::unit::Size(0), ..Settings::default() };
    let (planned, parsed) = (layer(&Settings::default(), true), layer(&parse, true));
    let page = page(1_000);
    let frames: Vec<&[u8]> = page.as_bytes().chunks(9_000).collect();
    for (visit, visitor) in [1, 1, 2, 3].into_iter().enumerate() {
        let (copy, facts) = whole(&planned, visitor, Pipe::of(&frames).end()).await;
        let (expected, plain) = whole(&parsed, visitor, Pipe::of(&frames).end()).await;
        assert_eq!((facts.known, plain.known), (visit > 0, false), "{visit}");
        assert!(copy == expected, "visit {visit} of visitor {visitor}");
        assert_eq!((facts.carriers, facts.body_out), (plain.carriers, copy.len() as u64));
        assert!(facts.guard_placed && facts.notice_placed, "{facts:?}");
        assert!(facts.carriers.seals == 60 && facts.carriers.white == 15_000, "{facts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_page_that_stalls_is_not_held_back() {
    let layer = layer(&Settings::default(), true);
    let page = page(1_000);
    let (expected, _) = whole(&layer, 1, Pipe::of(&[page.as_bytes()]).end()).await;
    let pipe = Pipe::of(&[&page.as_bytes()[..40_000]]);
    let response = answer(&layer, 1, None, pipe.clone()).await;
    let mut body = pin!(response.into_body());
    let mut left = poll_once(body.as_mut()).unwrap().to_vec();
    let confirmed = left.len();
    assert!((32_000..40_000).contains(&confirmed), "two chunks have left, with their seals: {confirmed}");
    assert_eq!(poll_once(body.as_mut()), None, "the rest waits for its chunk");
    tokio::time::advance(Duration::from_millis(21)).await;
    left.extend(poll_once(body.as_mut()).expect("it has waited long enough"));
    assert!(left.len() > confirmed + 7_000, "{confirmed}, then {}", left.len());
    assert!(expected.starts_with(&left), "and it is what a scan would have sent");
    pipe.0.lock().unwrap().0.push_back(Bytes::copy_from_slice(&page.as_bytes()[40_000..]));
    let _ = pipe.end();
    while let Some(frame) = poll_once(body.as_mut()) {
        left.extend_from_slice(&frame);
    }
    assert!(left == expected);
}

/// PHP sends the doctype alone where a page is flushed early, and nothing but the page says the charset.
#[tokio::test(start_paused = true)]
async fn a_charset_in_the_page_is_found_however_its_first_bytes_come() {
    let layer = layer(&Settings::default(), true);
    let page = page(20).replace("<meta charset=utf-8><title>t</title>", "<title>t</title><meta charset=utf-8>");
    let page = page.as_bytes();
    let mut copies = Vec::new();
    for cut in [page.len(), 15, 40, 70] {
        let (first, rest) = page.split_at(cut);
        let pipe = Pipe::of(&[first]);
        let response = answer_of(&layer, 1, "text/html", None, pipe.clone()).await;
        let report = response.extensions().get::<PageReport>().unwrap().clone();
        let mut body = pin!(response.into_body());
        let mut copy = Vec::new();
        if !rest.is_empty() {
            assert_eq!(poll_once(body.as_mut()), None, "{cut}: nobody knows the charset yet");
            pipe.0.lock().unwrap().0.push_back(Bytes::copy_from_slice(rest));
        }
        let _ = pipe.end();
        while let Some(frame) = poll_once(body.as_mut()) {
            copy.extend_from_slice(&frame);
        }
        let facts = report.facts();
        assert!(facts.mark_skip.is_none() && facts.carriers.seals > 0, "{cut}: {facts:?}");
        assert_eq!(facts.known, !copies.is_empty(), "{cut}: one plan for all of them");
        copies.push(copy);
    }
    assert!(copies.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test(start_paused = true)]
async fn a_charset_is_not_waited_for_longer_than_that() {
    let layer = layer(&Settings::default(), true);
    let page = page(20).replace("<meta charset=utf-8><title>t</title>", "<title>t</title><meta charset=utf-8>");
    let (first, rest) = page.split_at(page.find("<meta").unwrap());
    // The second time it is held against the plan of the first, too.
    for _ in 0..2 {
        let pipe = Pipe::of(&[first.as_bytes()]);
        let response = answer_of(&layer, 1, "text/html", None, pipe.clone()).await;
        let report = response.extensions().get::<PageReport>().unwrap().clone();
        let mut body = pin!(response.into_body());
        let frame = tokio::time::timeout(Duration::from_secs(1), body.frame()).await.expect("it leaves by itself");
        let mut copy = frame.unwrap().unwrap().into_data().unwrap().to_vec();
        assert!(copy.starts_with(b"<!doctype html>"));
        pipe.0.lock().unwrap().0.push_back(Bytes::copy_from_slice(rest.as_bytes()));
        let _ = pipe.end();
        while let Some(frame) = poll_once(body.as_mut()) {
            copy.extend_from_slice(&frame);
        }
        let facts = report.facts();
        assert_eq!((facts.mark_skip, facts.carriers.seals), (Some("charset_late"), 0));
        assert!(copy.ends_with(b"</body></html>"));
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_follow_a_known_page() {
    struct WithTrailers(Pipe, bool);
    impl Body for WithTrailers {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match Pin::new(&mut self.0).poll_frame(cx) {
                Poll::Ready(None) if !std::mem::replace(&mut self.1, true) => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-sum", "7".parse().unwrap());
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                other => other,
            }
        }
    }
    let layer = layer(&Settings::default(), false);
    let page = page(300);
    for known in [false, true] {
        let text = page.clone();
        let site = tower::service_fn(move |_: Request<()>| {
            let body = WithTrailers(Pipe::of(&[text.as_bytes()]).end(), false);
            let response = Response::builder().header("content-type", "text/html; charset=utf-8").body(body);
            std::future::ready(Ok::<_, Infallible>(response.unwrap()))
        });
        let response = layer.layer(site).oneshot(Request::new(())).await.unwrap();
        let report = response.extensions().get::<PageReport>().unwrap().clone();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert!(body.to_bytes().ends_with(b"</body></html>"));
        assert_eq!(report.facts().known, known);
    }
}
