//! Style sheets that pass: a copy is read beside the answer, and pages are judged by what was read.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Body;
use twox_hash::XxHash3_64;

use super::ask::Ask;
use super::marks::Marks;
use super::site::Site;
use crate::page::PageBody;
use crate::page::encoding::{Coding, Decoder, content_codings};
use crate::page::marks::MarkRules;
use crate::page::style::{Form, MAX_SHEET, PageAddress, PageSheets, Styles, name};
use crate::page::tee::{Copied, Passed, Tee};

/// Sheets up to this length are read at once where no thread can be had for them.
const AT_ONCE: usize = 64 << 10;

impl Marks {
    /// Adds to the rules of a page what is known of its style.
    pub(super) fn add_style(&self, rules: &mut MarkRules, ask: &Ask) {
        rules.prove_white = self.prove_white;
        rules.address = Some(PageAddress { host: Arc::clone(&ask.host), target: Arc::clone(&ask.target) });
        rules.sheets = Some(self.styles.host(&ask.host));
        rules.style_texts = Some(Arc::clone(self.styles.texts()));
    }

    /// Remembers what the `<style>` elements of a page have said that was not known.
    pub(super) fn learn_style(&self, host: &str, page: &PageSheets) {
        if !self.styles.host(host).knows(page) {
            self.styles.learn_page(host, page);
        }
    }
}

impl Site {
    /// The body of an answer that is left alone; if it is a style sheet, a copy is read.
    pub(super) fn passed<R: Body<Data = Bytes>>(
        &self,
        ask: &Ask,
        (status, headers): (StatusCode, &HeaderMap),
        body: R,
    ) -> PageBody<R> {
        let Some(marks) = &self.marking else { return PageBody::inner(body) };
        let whole = status == StatusCode::OK && ask.method == Method::GET && is_css(headers);
        let (true, Ok(codings)) = (whole, content_codings(headers)) else { return PageBody::inner(body) };
        let sheet = Passing {
            styles: Arc::clone(&marks.styles),
            name: name(&ask.host, &ask.target),
            host: Arc::clone(&ask.host),
            seed: seed(&codings),
            codings,
        };
        let steady = marks.styles.host(&sheet.host).is_steady(&sheet.name, sheet.seed);
        let copy = (!steady).then(|| Copied::new(MAX_SHEET, &marks.room));
        let length = body.size_hint().exact();
        PageBody::teed(body, Tee::new(sheet.seed, copy, length, Box::new(move |passed| sheet.came(passed))))
    }
}

fn is_css(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/css")
}

/// Tells bytes in these codings from the same bytes in others.
fn seed(codings: &[Coding]) -> u64 {
    let codes: String = codings.iter().map(|coding| coding.code()).collect();
    XxHash3_64::oneshot(codes.as_bytes())
}

/// A style sheet on its way.
struct Passing {
    styles: Arc<Styles>,
    host: Arc<str>,
    name: String,
    codings: Vec<Coding>,
    seed: u64,
}

impl Passing {
    /// All of it has passed. Whoever polled the body is not kept waiting.
    fn came(self, passed: Passed) {
        let form = Form { codings: self.seed, hash: passed.hash };
        if self.styles.host(&self.host).has_come(&self.name, form) {
            return;
        }
        let Some(coded) = passed.copy else { return self.styles.forget(&self.host, &self.name) };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || self.read(&coded, form));
        } else if coded.len() <= AT_ONCE {
            self.read(&coded, form);
        } else {
            self.styles.forget(&self.host, &self.name);
        }
    }

    fn read(&self, coded: &[u8], form: Form) {
        match decoded(&self.codings, coded) {
            Some(css) => {
                if self.styles.learn(&self.host, &self.name, &css).is_none() {
                    tracing::debug!(target: "deckle", sheet = self.name, "A style sheet cannot be read.");
                }
                self.styles.came(&self.host, &self.name, form);
            }
            None => self.styles.forget(&self.host, &self.name),
        }
    }
}

/// `None`: the coding is broken, or the sheet is too long.
fn decoded(codings: &[Coding], coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = coded.to_vec();
    for coding in codings.iter().rev() {
        let (mut decoder, mut out) = (Decoder::new(*coding, MAX_SHEET as u64), Vec::new());
        decoder.push(&text, &mut out).and_then(|()| decoder.finish()).ok()?;
        text = out;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use tower::{Layer, ServiceExt};

    use crate::page::protect::{Marking, ProtectLayer};
    use crate::page::{Findings, PageFacts, PageReport, Settings};
    use crate::secret::{Secret, Secrets};
    use crate::visitor::Visitor;
    use crate::watermark::Whitespace;

    use super::*;

    const TEXT: &str = "<p>The committee said on Monday that it will not publish the full report before the end of the \
        month, because members cannot agree on its wording.</p>";

    fn layer(styles: &Arc<Styles>, whitespace: Whitespace) -> ProtectLayer {
        let mut settings = crate::watermark::Settings::default();
        settings.channels.whitespace = whitespace;
        let secrets = Secrets::from(Secret::new(1, &std::array::from_fn::<u8, 32, _>(|at| at as u8)).unwrap());
        let findings = Arc::new(Findings::default());
        findings.learn_page(b"<!doctype html><title>t</title><article><p>x</p></article>");
        let layer = ProtectLayer::new(&Settings::default(), &crate::rights::Settings::default(), "/.deckle").unwrap();
        layer.marking(Marking { secrets, settings, findings, styles: Arc::clone(styles) }).unwrap()
    }

    /// Asks the layer; the site answers with this.
    async fn ask(layer: &ProtectLayer, path: &str, kind: &'static str, body: &[u8]) -> (PageFacts, Bytes) {
        let body = Bytes::copy_from_slice(body);
        let site = tower::service_fn(move |_: Request<()>| {
            let answer = Response::builder().header("content-type", kind).body(Full::new(body.clone())).unwrap();
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let request = Request::get(path).header("host", "news.example").body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), std::time::Duration::ZERO);
        head.extensions.insert(visitor.unwrap());
        let answer = layer.layer(site).oneshot(Request::from_parts(head, ())).await.unwrap();
        let report = answer.extensions().get::<PageReport>().cloned().unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (report.facts(), body)
    }

    async fn page_at(layer: &ProtectLayer, path: &str, head: &str) -> PageFacts {
        let page = format!("<!doctype html><html><head><title>t</title>{head}</head><body><article>{TEXT}</article>");
        ask(layer, path, "text/html; charset=utf-8", page.as_bytes()).await.0
    }

    async fn page(layer: &ProtectLayer, head: &str) -> PageFacts {
        page_at(layer, "/a/story", head).await
    }

    async fn sheet(layer: &ProtectLayer, path: &str, css: &[u8]) {
        let (_, body) = ask(layer, path, "text/css; charset=utf-8", css).await;
        assert!(body == css, "a sheet passes as it is");
    }

    /// Waits until what was read counts: the reading is beside the answer.
    async fn until(styles: &Styles, counts: impl Fn(&Styles) -> bool) {
        while !counts(styles) {
            tokio::task::yield_now().await;
        }
    }

    const LINK: &str = "<link rel=stylesheet href=/s.css>";

    #[tokio::test]
    async fn white_space_is_used_when_the_sheets_of_a_page_have_passed() {
        let styles = Arc::new(Styles::default());
        let layer = layer(&styles, Whitespace::Auto);
        let known = |styles: &Styles| styles.to_json().contains("/s.css");
        let facts = page(&layer, LINK).await;
        assert_eq!((facts.mark_off, facts.carriers.white), (vec!["w:css_unknown"], 0));
        assert_eq!(facts.carriers.seals, 1, "a seal needs no proof");
        let facts = page(&layer, "").await;
        assert!(facts.mark_off.is_empty() && facts.carriers.white > 10, "a page without sheets: {facts:?}");
        sheet(&layer, "/s.css", b"p { margin: 0 }").await;
        until(&styles, known).await;
        // The plan of the page is that of before.
        let facts = page(&layer, LINK).await;
        assert!(facts.mark_off.is_empty() && facts.carriers.white > 10 && facts.known, "{facts:?}");
        // Another text of the sheet shuts the page, though its plan is known.
        sheet(&layer, "/s.css", b"p { margin: 0 } /*").await;
        until(&styles, |styles| styles.to_json().contains("null")).await;
        let facts = page(&layer, LINK).await;
        assert_eq!((facts.mark_off, facts.carriers.white, facts.known), (vec!["w:css_unknown"], 0, true));
        sheet(&layer, "/s.css", b"p { white-space: pre-line }").await;
        until(&styles, |styles| !styles.host("news.example").selectors().0.is_empty()).await;
        // All of the text is in such an element now; a seal is no white space.
        let facts = page(&layer, LINK).await;
        assert_eq!((facts.carriers.white, facts.carriers.seals, facts.mark_off.len()), (0, 1, 0));
    }

    #[tokio::test]
    async fn a_relative_sheet_is_that_of_the_address_as_it_was_asked_for() {
        let styles = Arc::new(Styles::default());
        let layer = layer(&styles, Whitespace::Auto);
        sheet(&layer, "/a/s.css", b"p { margin: 0 }").await;
        until(&styles, |styles| styles.to_json().contains("/a/s.css")).await;
        for known in [false, true] {
            for (path, off) in [("/a/story", None), ("/a/story/", Some("w:css_unknown"))] {
                let facts = page_at(&layer, path, "<link rel=stylesheet href=s.css>").await;
                assert_eq!((facts.mark_off.first().copied(), facts.known), (off, known), "{path}");
            }
        }
    }

    #[tokio::test]
    async fn a_box_shuts_out_seals_whatever_is_said_of_white_space() {
        let styles = Arc::new(Styles::default());
        for whitespace in [Whitespace::Auto, Whitespace::Always, Whitespace::Off] {
            let layer = layer(&styles, whitespace);
            let facts = page(&layer, "<style>span { display: block }</style>").await;
            assert_eq!((facts.mark_off, facts.carriers.seals), (vec!["s:css_boxes"], 0));
            assert_eq!(facts.carriers.white > 10, whitespace != Whitespace::Off);
            let facts = page(&layer, LINK).await;
            assert_eq!(facts.carriers.white > 0, whitespace == Whitespace::Always);
            assert_eq!(facts.mark_off.is_empty(), whitespace != Whitespace::Auto, "nobody asks for a proof");
        }
    }

    #[test]
    fn the_selectors_of_a_site_are_not_copied_for_a_page() {
        let styles = Arc::new(Styles::default());
        styles.learn("news.example", "news.example/s.css", b"#x{white-space:pre}");
        let mut site = Site::new(&Settings::default(), &crate::rights::Settings::default(), "/.deckle").unwrap();
        let secrets = Secrets::from(Secret::new(1, &std::array::from_fn::<u8, 32, _>(|at| at as u8)).unwrap());
        let settings = crate::watermark::Settings::default();
        site.mark_with(Marking { secrets, settings, findings: Arc::default(), styles }).unwrap();
        let (mut head, ()) = Request::get("/a").header("host", "news.example").body(()).unwrap().into_parts();
        let ask = site.ask(&mut head);
        let own: Arc<[lol_html::Selector]> = Arc::new([".poem".parse::<lol_html::Selector>().unwrap()]);
        let mut rules = MarkRules { preserve: Arc::clone(&own), ..MarkRules::default() };
        site.marking.as_ref().unwrap().add_style(&mut rules, &ask);
        assert!(Arc::ptr_eq(&rules.preserve, &own));
        assert_eq!(rules.sheets.unwrap().selectors().0.len(), 1);
    }

    #[tokio::test]
    async fn a_sheet_that_comes_again_is_only_compared_and_a_change_is_seen_all_the_same() {
        let styles = Arc::new(Styles::default());
        let layer = layer(&styles, Whitespace::Auto);
        let (name, css) = ("news.example/s.css", b"p { margin: 0 }");
        let form = Form { codings: seed(&[]), hash: XxHash3_64::oneshot_with_seed(seed(&[]), css) };
        let steady = |styles: &Styles| styles.host("news.example").is_steady(name, form.codings);
        sheet(&layer, "/s.css", css).await;
        assert!(!steady(&styles));
        // It comes again, as soon as the first one has been read.
        until(&styles, |styles| styles.host("news.example").has_come(name, form)).await;
        sheet(&layer, "/s.css", css).await;
        assert!(steady(&styles) && page(&layer, LINK).await.mark_off.is_empty());
        // Nobody has a copy of the new text: the page is shut at once, until it comes again.
        let pre = b"p { white-space: pre-line }";
        sheet(&layer, "/s.css", pre).await;
        assert_eq!(page(&layer, LINK).await.mark_off, ["w:css_unknown"]);
        for _ in 0..5 {
            sheet(&layer, "/s.css", pre).await;
            until(&styles, |styles| !styles.host("news.example").selectors().0.is_empty()).await;
        }
        let facts = page(&layer, LINK).await;
        assert_eq!((facts.carriers.white, facts.mark_off.len(), steady(&styles)), (0, 0, false));
    }

    #[tokio::test]
    async fn only_whole_sheets_of_the_site_are_read() {
        let styles = Arc::new(Styles::default());
        let layer = layer(&styles, Whitespace::Auto);
        let long = vec![b' '; MAX_SHEET + 1];
        sheet(&layer, "/long.css", &long).await;
        ask(&layer, "/s.txt", "text/plain", b"p{}").await;
        ask(&layer, "/s.js", "text/javascript", b"p{}").await;
        assert!(!styles.to_json().contains("news.example/"));
        sheet(&layer, "/s.css?v=1", b"").await;
        until(&styles, |styles| styles.to_json().contains("news.example/s.css?v=1")).await;
        assert!(page(&layer, "<link rel=stylesheet href='../s.css?v=1'>").await.mark_off.is_empty());
        // Known, and now too long.
        sheet(&layer, "/s.css?v=1", &long).await;
        assert_eq!(page(&layer, "<link rel=stylesheet href='/s.css?v=1'>").await.mark_off, ["w:css_unknown"]);
    }

    #[test]
    fn codings_come_off_and_have_an_end() {
        use std::io::Write;
        let gzip = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(decoded(&[], b"p{}").unwrap(), b"p{}");
        assert_eq!(decoded(&[Coding::Gzip], &gzip(b"p{}")).unwrap(), b"p{}");
        assert_eq!(decoded(&[Coding::Gzip], gzip(b"p{}").split_last().unwrap().1), None);
        assert_eq!(decoded(&[Coding::Gzip], &gzip(&vec![b' '; MAX_SHEET + 1])), None);
        assert_eq!(decoded(&[Coding::Gzip], b"p{}"), None);
    }
}
