//! The head of a page alone, for programs that show a link as a card: title, description, picture. The text of the
//! article stays here.
//!
//! What goes out are the page's own bytes, element by element, in its own charset; the rest of the page is not read.

use std::borrow::Cow;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use lol_html::Selector;
use lol_html::html_content::EndTag;
use lol_html::send::{Element, ElementContentHandlers};

use super::scan::{Border, Reading, Scanner};

/// So much of a page is read for its head, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// Longest element that goes into a card, and longest card.
const MAX_ELEMENT: usize = 2 << 10;
const MAX_CARD: usize = 7 << 10;

/// A card on its way.
#[derive(Debug)]
pub(crate) struct Card {
    read: Vec<u8>,
    /// What deckle says behind the page's own elements.
    notice: Bytes,
    done: bool,
}

impl Card {
    pub(crate) fn new(notice: Bytes) -> Self {
        Self { read: Vec::new(), notice, done: false }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        while !self.done {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let seen = self.read.len().saturating_sub(8);
                    let room = MAX_HEAD.saturating_sub(self.read.len());
                    let data = frame.data_ref().map(|data| data.slice(..data.len().min(room))).unwrap_or_default();
                    self.read.extend_from_slice(&data);
                    let over = self.read.len() >= MAX_HEAD || ends(self.read.get(seen..).unwrap_or_default());
                    if over || !frame.is_data() {
                        self.done = true;
                    }
                }
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.done = true,
            }
            if self.done {
                let card = card(&std::mem::take(&mut self.read), &self.notice);
                return Poll::Ready(Some(Ok(Frame::data(card.into()))));
            }
        }
        Poll::Ready(None)
    }
}

/// Is the end of the head in here, or the beginning of the body?
fn ends(bytes: &[u8]) -> bool {
    let starts = |at: usize, tag: &[u8]| bytes.get(at..at + tag.len()).is_some_and(|b| b.eq_ignore_ascii_case(tag));
    memchr::memchr_iter(b'<', bytes).any(|at| starts(at, b"</head") || starts(at, b"<body"))
}

/// What the scan of a head has found.
#[derive(Debug, Default)]
struct Found {
    elements: Vec<Range<usize>>,
    title: Option<Range<usize>>,
    open_graph: bool,
    over: bool,
}

fn card(head: &[u8], notice: &[u8]) -> Vec<u8> {
    let found = scan(head);
    let mut out = b"<!doctype html><html><head>".to_vec();
    for element in found.elements.iter().filter_map(|range| head.get(range.clone())) {
        if element.len() <= MAX_ELEMENT && out.len() + element.len() <= MAX_CARD {
            out.extend_from_slice(element);
        }
    }
    let title = found.title.and_then(|range| head.get(range)).filter(|_| !found.open_graph);
    if let Some(title) = title.filter(|title| !title.is_empty() && title.len() <= MAX_ELEMENT) {
        out.extend_from_slice(b"<meta property=\"og:title\" content=\"");
        for byte in title {
            if *byte == b'"' { out.extend_from_slice(b"&quot;") } else { out.push(*byte) }
        }
        out.extend_from_slice(b"\">");
    }
    out.extend_from_slice(notice);
    out.extend_from_slice(b"</head><body></body></html>");
    out
}

fn scan(head: &[u8]) -> Found {
    let found = Arc::new(Mutex::new(Found::default()));
    let reading = Reading { encoding: encoding_rs::WINDOWS_1252, max_memory: 2 * MAX_HEAD, esi: false };
    let Some(any) = &*ANY else { return Found::default() };
    let handle = Arc::clone(&found);
    let mut scanner = Scanner::new(reading, Arc::new(Border::default()), |settings| {
        let elements = move |element: &mut Element<'_, '_>| {
            start_tag(&handle, element);
            Ok(())
        };
        settings
            .append_element_content_handler((Cow::Borrowed(any), ElementContentHandlers::default().element(elements)))
    });
    // A head that cannot be read to its end gives what was found before.
    let _ = scanner.write(head).and_then(|()| scanner.end());
    std::mem::take(&mut *lock(&found))
}

static ANY: LazyLock<Option<Selector>> = LazyLock::new(|| "*".parse().ok());

fn lock(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn start_tag(handle: &Arc<Mutex<Found>>, element: &mut Element<'_, '_>) {
    let mut found = lock(handle);
    if found.over {
        return;
    }
    let place = element.source_location().bytes();
    let attribute = |name: &str| element.get_attribute(name).unwrap_or_default().to_ascii_lowercase();
    match element.tag_name().as_str() {
        "meta" => {
            let name = Some(attribute("property")).filter(|name| !name.is_empty()).unwrap_or_else(|| attribute("name"));
            let shown = ["og:", "twitter:", "article:"].iter().any(|start| name.starts_with(start));
            let charset = element.has_attribute("charset") || attribute("http-equiv") == "content-type";
            found.open_graph |= name.starts_with("og:");
            if shown || charset || name == "description" {
                found.elements.push(place);
            }
        }
        "link" => {
            let rel = attribute("rel");
            if rel.split_ascii_whitespace().any(|rel| matches!(rel, "canonical" | "icon")) {
                found.elements.push(place);
            }
        }
        "title" if found.title.is_none() => {
            let handle = Arc::clone(handle);
            if let Some(handlers) = element.end_tag_handlers() {
                handlers.push(Box::new(move |end: &mut EndTag<'_>| {
                    let tag = end.source_location().bytes();
                    let mut found = lock(&handle);
                    found.title = Some(place.end..tag.start);
                    found.elements.push(place.start..tag.end);
                    Ok(())
                }));
            }
        }
        "html" | "head" | "title" | "style" | "script" | "base" | "noscript" | "template" => {}
        _ => found.over = true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(page: &str) -> String {
        String::from_utf8(card(page.as_bytes(), b"<meta name=\"copyright\">")).unwrap()
    }

    #[test]
    fn the_head_is_a_card_and_the_text_stays() {
        let page = "<!DOCTYPE html><html lang=de><head><meta charset=utf-8><title>A \"title\"</title><script>x</script>\
            <link rel='stylesheet' href=a.css><link rel=\"shortcut icon\" href=i.png><meta name=Description content='d'>\
            <meta property='og:image' content=/i.jpg><meta name=robots content=noindex></head><body><p>The text</p>\
            <meta property=og:late content=x></body></html>";
        assert_eq!(
            of(page),
            "<!doctype html><html><head><meta charset=utf-8><title>A \"title\"</title>\
             <link rel=\"shortcut icon\" href=i.png><meta name=Description content='d'>\
             <meta property='og:image' content=/i.jpg><meta name=\"copyright\"></head><body></body></html>"
        );
    }

    #[test]
    fn a_title_alone_is_enough() {
        let card = of("<title>A \"title\" &amp; more</title><p>The text");
        assert!(card.contains("<meta property=\"og:title\" content=\"A &quot;title&quot; &amp; more\">"), "{card}");
        assert!(!card.contains("The text"));
    }

    #[test]
    fn nothing_makes_a_card_long_or_lets_text_in() {
        let long = format!("<head><meta name=description content='{}'>", "x".repeat(3_000));
        assert!(!of(&long).contains("xxx"));
        let many = format!("<head>{}<title>t</title>", "<meta property=og:x content='0123456789'>".repeat(1_000));
        assert!(of(&many).len() < 8 << 10);
        for text in
            ["", "<", "<title>never closed", "<div><title>The text</title>", "<p><meta name=description content=text>"]
        {
            let card = of(text);
            assert!(!card.contains("text") && card.ends_with("</html>"), "{text}: {card}");
        }
    }

    #[test]
    fn the_end_of_the_head_is_seen_in_any_pieces() {
        assert!(ends(b"..</HEAD>") && ends(b"<body class") && !ends(b"<head><title>b</title>") && !ends(b"</hea"));
    }
}
