//! `deckle check`: what a page declares, what contradicts, what deckle would do to it and why, and what escapes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

use super::args::CheckArgs;
use super::fetch::{Document, Fetcher};
use super::images::{self, Image};
use super::output::{self, Exit};
use super::twins::{self, Twin};
use crate::config::Config;
use crate::page::encoding::decoded;
use crate::page::{Findings, Marking, PageFacts, PageReport, ProtectLayer, join};
use crate::rights::lint::{self, Lint};
use crate::rights::robots::Robots;
use crate::rights::{Policy, Pref, Use};
use crate::secret::Secrets;
use crate::visitor::Visitor;

/// Other forms of a page that are looked at.
const MAX_ALTERNATES: usize = 8;
const DECLARING: [&str; 6] =
    ["content-usage", "content-signal", "tdm-reservation", "tdm-policy", "x-robots-tag", "link"];

/// The whole report; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema_version: u32,
    pub(super) address: String,
    pub(super) status: u16,
    pub(super) media_type: String,
    pub(super) page: Treatment,
    pub(super) alternates: Vec<Alternate>,
    /// Forms of the article that leave without a mark.
    pub(super) twins: Vec<Twin>,
    /// The marks of two copies for two visitors, of a site that deckle protects already.
    pub(super) marks: Vec<Option<String>>,
    /// Images that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<Vec<Image>>,
    pub(super) declared: Vec<(String, String)>,
    pub(super) files: Vec<(&'static str, String)>,
    pub(super) findings: Vec<Finding>,
}

/// What deckle does to one document.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Treatment {
    pub(super) rewrite: &'static str,
    pub(super) skip: Option<&'static str>,
    pub(super) coding: Option<&'static str>,
    pub(super) guard: bool,
    pub(super) notice: bool,
    pub(super) seals: u32,
    pub(super) gaps: u32,
    pub(super) unmarked: Option<&'static str>,
    pub(super) bytes_before: u64,
    pub(super) bytes_after: u64,
}

impl Treatment {
    fn is_marked(&self) -> bool {
        self.unmarked.is_none() && matches!(self.rewrite, "done" | "partial")
    }
}

/// Another form of the page.
#[derive(Debug, Serialize)]
pub(super) struct Alternate {
    pub(super) address: String,
    pub(super) kind: String,
    /// Absent: it could not be fetched.
    pub(super) page: Option<Treatment>,
}

/// Something to look at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) place: &'static str,
    pub(super) code: &'static str,
    pub(super) line: usize,
    pub(super) message: String,
}

impl Finding {
    fn of(place: &'static str) -> impl Fn(Lint) -> Self {
        move |lint| Self { place, code: lint.code, line: lint.line, message: lint.message }
    }
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let config = match &args.config {
        Some(path) => Config::from_path(path)?,
        None => Config::from_env()?,
    };
    let page = match (&args.explain, &args.page) {
        (Some(id), _) => return super::explain::run(id, args, &config),
        (None, Some(page)) => page,
        (None, None) => bail!("an address or a file is missing"),
    };
    if args.learn {
        return super::learn::run(page, &config);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    #[cfg_attr(not(feature = "redis"), expect(unused_mut, reason = "nothing else is asked"))]
    let mut report = runtime.block_on(report(&config, page, args.images.into()))?;
    #[cfg(feature = "redis")]
    report.findings.extend(runtime.block_on(shared_store(&config)));
    if args.json {
        output::print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        output::print(&super::doctor::text(&report))?;
    }
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::NothingFound })
}

/// What there is to say about the store that processes share.
#[cfg(feature = "redis")]
async fn shared_store(config: &Config) -> Vec<Finding> {
    let advice = crate::suspicion::shared::advice(&config.shared).await;
    let messages = advice.unwrap_or_else(|error| vec![error.to_string()]);
    messages.into_iter().map(|message| Finding { place: "shared", code: "store", line: 0, message }).collect()
}

async fn report(config: &Config, page: &str, most_images: usize) -> anyhow::Result<Report> {
    let stage = Stage(config);
    if !page.starts_with("http://") && !page.starts_with("https://") {
        if most_images > 0 {
            bail!("--images needs an address: `{page}` is a file");
        }
        return file(&stage, page).await;
    }
    let fetcher = Fetcher::new()?;
    let address: Uri = page.parse().with_context(|| format!("`{page}` is no address"))?;
    let document = fetcher.get(&address).await?;
    let mut report = stage.report(&document).await?;
    let source = decoded(&document.headers, &document.body);
    let mut forms = twins::inside(&document.address, &source);
    for (address, kind) in alternates(&document.address, &source) {
        let page = match fetcher.get(&address).await {
            Ok(other) => {
                let page = stage.treat(&other).await?;
                if !page.is_marked() {
                    forms.push(twins::Form::of(&kind, &other));
                }
                Some(page)
            }
            Err(_) => None,
        };
        report.alternates.push(Alternate { address: address.to_string(), kind, page });
    }
    if config.watermark.level != Some(crate::watermark::Level::Off) {
        report.twins = twins::twins(&source, &forms);
        report.findings.extend(report.twins.iter().map(Twin::finding));
        if report.page.skip == Some("already") && config.watermark.channels.seal {
            report.marks = twins::marks(config, &fetcher, &document.address).await;
            report.findings.extend(twins::judge(&report.marks));
        }
    }
    report.findings.extend(lint::fields(&document.headers).into_iter().map(Finding::of("fields")));
    let root = |path: &str| join(&document.address, path).context("the address has no host");
    let robots = fetcher.get(&root("/robots.txt")?).await;
    let tdmrep = fetcher.get(&root("/.well-known/tdmrep.json")?).await;
    let mut contradictions = Vec::new();
    if most_images > 0 {
        let policy = Policy::new(&config.rights)?;
        let site = images::Site::new(policy, &document, robots.as_ref().ok(), tdmrep.as_ref().ok());
        let (read, found) = images::read(&fetcher, &site, &source, most_images).await;
        (report.images, contradictions) = (Some(read), found);
    }
    read_robots(&mut report, robots, &document);
    read_tdmrep(&mut report, tdmrep);
    report.findings.extend(contradictions);
    Ok(report)
}

/// A page in a file.
async fn file(stage: &Stage<'_>, path: &str) -> anyhow::Result<Report> {
    let mut report = stage.report(&Document::from_file(path)?).await?;
    path.clone_into(&mut report.address);
    Ok(report)
}

/// deckle's page stage, as it is configured.
struct Stage<'c>(&'c Config);

impl Stage<'_> {
    /// A stage that knows nothing of the site yet.
    fn layer(&self) -> anyhow::Result<ProtectLayer> {
        let config = self.0;
        let layer = ProtectLayer::new(&config.page, &config.rights, &config.visitor.routes.mount)?;
        // The marks are nobody's: how many there are is the same under any secret.
        let (secrets, findings) = (Secrets::random()?, Arc::new(Findings::default()));
        let (settings, styles) = (config.watermark.clone(), Arc::default());
        Ok(layer.marking(Marking { secrets, settings, findings, styles })?)
    }

    /// The document as it leaves the stage.
    async fn pass(&self, layer: &ProtectLayer, document: &Document) -> anyhow::Result<(PageFacts, HeaderMap, Bytes)> {
        let answer = Arc::new(Mutex::new(Some((document.headers.clone(), document.body.clone()))));
        let site = Site { answer, status: document.status };
        let mut request = Request::new(());
        *request.uri_mut() = document.address.path_and_query().map_or_else(Uri::default, |p| Uri::from(p.clone()));
        if let Some(host) = document.address.authority().and_then(|host| host.as_str().parse().ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let (mut head, ()) = request.into_parts();
        let visitor = Visitor::from_head(&head, &self.0.visitor, std::time::Duration::ZERO)?;
        head.extensions.insert(visitor);
        let Ok(response) = layer.layer(site).call(Request::from_parts(head, ())).await;
        let report = response.extensions().get::<PageReport>().cloned();
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Ok((report.unwrap_or_else(PageReport::untouched).facts(), head.headers, body))
    }

    async fn treat(&self, document: &Document) -> anyhow::Result<Treatment> {
        let layer = self.layer()?;
        // The first reading teaches what only the end of a page tells.
        self.pass(&layer, document).await?;
        let (facts, ..) = self.pass(&layer, document).await?;
        Ok(Treatment {
            rewrite: facts.rewrite.code(),
            skip: facts.skip.map(crate::page::Skip::code),
            coding: facts.coding_in.map(crate::page::encoding::Coding::code),
            guard: facts.guard_placed,
            notice: facts.notice_placed,
            seals: facts.carriers.seals,
            gaps: facts.carriers.white,
            unmarked: facts.mark_skip,
            bytes_before: facts.body_in,
            bytes_after: facts.body_out,
        })
    }

    async fn report(&self, document: &Document) -> anyhow::Result<Report> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let declared = DECLARING
            .iter()
            .flat_map(|name| document.headers.get_all(*name).iter().map(|value| ((*name).to_owned(), text(value))));
        Ok(Report {
            schema_version: 1,
            address: document.address.to_string(),
            status: document.status.as_u16(),
            media_type: document.headers.get(header::CONTENT_TYPE).map(text).unwrap_or_default(),
            page: self.treat(document).await?,
            alternates: Vec::new(),
            twins: Vec::new(),
            marks: Vec::new(),
            images: None,
            declared: declared.collect(),
            files: Vec::new(),
            findings: Vec::new(),
        })
    }
}

/// A site that gives one answer.
#[derive(Clone)]
struct Site {
    answer: Arc<Mutex<Option<(HeaderMap, Bytes)>>>,
    status: http::StatusCode,
}

impl Service<Request<()>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let (headers, body) = self.answer.lock().ok().and_then(|mut answer| answer.take()).unwrap_or_default();
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        std::future::ready(Ok(response))
    }
}

/// Addresses under which a page says that there are other forms of it.
fn alternates(base: &Uri, page: &[u8]) -> Vec<(Uri, String)> {
    let found = Mutex::new(Vec::new());
    let link = lol_html::element!("link[rel][href]", |element| {
        let attribute = |name| element.get_attribute(name).unwrap_or_default();
        let rel = attribute("rel").to_ascii_lowercase();
        let is = |token| rel.split_ascii_whitespace().any(|t| t == token);
        // Other languages of a page are pages.
        let other_language = element.has_attribute("hreflang") && !element.has_attribute("type");
        if let Some(address) = join(base, &attribute("href"))
            .filter(|_| is("amphtml") || (is("alternate") && !is("stylesheet") && !other_language))
            && let Ok(mut found) = found.lock()
            && found.len() < MAX_ALTERNATES
        {
            let kind = attribute("type");
            found.push((address, if kind.is_empty() { rel } else { kind }));
        }
        Ok(())
    });
    let settings = lol_html::Settings::new().append_element_content_handler(link);
    let mut reader = lol_html::HtmlRewriter::new(settings, |_: &[u8]| {});
    // What cannot be read to its end has told what it could.
    let _ = reader.write(page).and_then(|()| reader.end());
    found.into_inner().unwrap_or_default()
}

fn read_robots(report: &mut Report, robots: anyhow::Result<Document>, page: &Document) {
    let add = |report: &mut Report, code, message: String| {
        report.findings.push(Finding { place: "robots.txt", code, line: 0, message });
    };
    let file = match robots {
        Err(error) => {
            report.files.push(("robots.txt", error.to_string()));
            return add(report, "unreachable", format!("{error}: what crawlers make of that differs"));
        }
        Ok(file) => file,
    };
    report.files.push(("robots.txt", file.status.to_string()));
    match file.status.as_u16() {
        200 => {}
        429 | 500.. => {
            let message = format!("{}: crawlers take that for a refusal of everything", file.status);
            return add(report, "unreachable", message);
        }
        _ => return,
    }
    let kind = file.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(b"text/plain") {
        let message = format!("the type is `{}`, not text/plain", String::from_utf8_lossy(kind));
        add(report, "bad-content-type", message);
    }
    let body = decoded(&file.headers, &file.body);
    report.findings.extend(lint::robots_txt(&body).into_iter().map(Finding::of("robots.txt")));
    let (robots, path) = (Robots::parse(&body), page.address.path());
    let field = page.headers.get("content-usage").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let says = |value: &str| field.split(',').any(|item| item.trim().strip_prefix("train-ai=") == Some(value));
    let file_says = robots.usage("*", path, Use::AiTrain);
    if (file_says == Pref::Deny && says("y")) || (file_says == Pref::Allow && says("n")) {
        add(
            report,
            "header-file-conflict",
            format!("Content-Usage of {path} and robots.txt say different things of train-ai"),
        );
    }
}

fn read_tdmrep(report: &mut Report, tdmrep: anyhow::Result<Document>) {
    let Ok(file) = tdmrep else { return };
    report.files.push(("tdmrep.json", file.status.to_string()));
    if file.status == http::StatusCode::OK {
        let body = decoded(&file.headers, &file.body);
        report.findings.extend(lint::tdmrep(&body).into_iter().map(Finding::of("tdmrep.json")));
    }
}
