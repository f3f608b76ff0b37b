//! The site: a front page, twelve sections, 2,000 articles, a feed, data for programs, and thirty files a page.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::Service;

pub(crate) const HOST: &str = "news.example";
pub(crate) const ORIGIN: &str = "https://news.example";
/// Stands once in the text of each article, behind it the article's number: whoever has it has the article.
pub(crate) const MARK: &str = "bodymark";

const ARTICLES: usize = 2_000;
#[rustfmt::skip]
const SECTIONS: [&str; 12] = [
    "world", "politics", "business", "science", "health", "culture",
    "sport", "travel", "food", "climate", "law", "media",
];
/// Articles on a page of a section, on the front page, in the feed.
const LISTED: (usize, usize, usize) = (20, 40, 20);
/// Style sheets, scripts and icons of every page; ten pictures come with each.
const SHARED: (usize, usize, usize) = (4, 6, 10);
const PICTURES: usize = 10;
const PARAGRAPHS: usize = 8;
#[rustfmt::skip]
const WORDS: [&str; 48] = [
    "committee", "report", "council", "river", "budget", "harbour", "minister", "library",
    "evening", "village", "bridge", "winter", "teacher", "record", "railway", "garden",
    "company", "letter", "market", "theatre", "summer", "engine", "hospital", "island",
    "question", "signal", "factory", "meadow", "painter", "border", "captain", "orchard",
    "debate", "station", "journal", "weather", "citizen", "forest", "museum", "contract",
    "kitchen", "season", "square", "witness", "tunnel", "voyage", "measure", "quarter",
];

/// What kind of page a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    Front,
    Section,
    Article,
    Other,
}

/// The kind of a path, as a person sees it.
pub(crate) fn kind(path: &str) -> PageKind {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next().unwrap_or_default(), parts.next(), parts.next(), parts.next()) {
        ("", None, ..) => PageKind::Front,
        (section, second, _, fourth) if SECTIONS.contains(&section) => match (second, fourth) {
            (None | Some("page"), None) => PageKind::Section,
            (Some(_), Some(_)) => PageKind::Article,
            _ => PageKind::Other,
        },
        _ => PageKind::Other,
    }
}

/// The site, ready to be asked; a clone is the same site.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    documents: HashMap<String, Document>,
    articles: Arc<Vec<String>>,
    /// Each article as the interface for programs has it.
    entries: Vec<String>,
}

#[derive(Debug, Clone)]
struct Document {
    media: &'static str,
    cache: &'static str,
    tag: HeaderValue,
    body: Bytes,
}

impl Document {
    fn new(media: &'static str, body: String) -> Self {
        // The length tells versions apart; nothing here ever changes.
        let tag = HeaderValue::try_from(format!("\"v{}\"", body.len())).unwrap_or(HeaderValue::from_static("\"v\""));
        let is_file = ["text/css", "text/javascript", "image/"].iter().any(|start| media.starts_with(start));
        let cache = if is_file { "public, max-age=86400" } else { "public, max-age=60" };
        Self { media, cache, tag, body: body.into() }
    }

    fn answer(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let asks = request.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
        let known = !asks.is_empty() && asks.windows(self.tag.len()).any(|part| part == self.tag.as_bytes());
        let mut response = Response::new(Full::new(if known { Bytes::new() } else { self.body.clone() }));
        *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value| headers.insert(name, value);
        set(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
        set(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        set(header::ETAG, self.tag.clone());
        response
    }
}

impl Service<Request<()>> for Site {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let titles: Vec<String> = (0..ARTICLES).map(title).collect();
        let articles: Vec<String> = (0..ARTICLES).map(|id| article_path(id, &titles)).collect();
        let mut documents = HashMap::new();
        let mut add = |path: &str, media, body| documents.insert(path.to_owned(), Document::new(media, body));
        for (id, path) in articles.iter().enumerate() {
            add(path, HTML, article(id, &titles, &articles));
        }
        for (number, section) in SECTIONS.iter().enumerate() {
            let own: Vec<usize> = (0..ARTICLES).rev().filter(|id| id % SECTIONS.len() == number).collect();
            let pages = own.len().div_ceil(LISTED.0);
            for (page, listed) in own.chunks(LISTED.0).enumerate() {
                let older = format!("<a href=\"/{section}/page/{}\">Older</a>", page + 2);
                let more = if page + 1 < pages { older.as_str() } else { "" };
                let path = if page == 0 { format!("/{section}") } else { format!("/{section}/page/{}", page + 1) };
                add(&path, HTML, list(section, listed, more, &titles, &articles));
            }
        }
        let newest: Vec<usize> = (0..ARTICLES).rev().take(LISTED.1).collect();
        add("/", HTML, list("News Example", &newest, "", &titles, &articles));
        add("/feed", "application/rss+xml; charset=utf-8", feed(&titles, &articles));
        add("/sitemap.xml", "application/xml; charset=utf-8", sitemap(&articles));
        let robots = format!("User-agent: *\nDisallow: /admin/\nSitemap: {ORIGIN}/sitemap.xml\n");
        add("/robots.txt", "text/plain; charset=utf-8", robots);
        add("/missing", HTML, shell("Not found", "", "<p>There is no such page.</p>"));
        add(".css", "text/css; charset=utf-8", "body { margin: 2rem; white-space: normal }".to_owned());
        add(".js", "text/javascript; charset=utf-8", "document.documentElement.classList.add('js')".to_owned());
        add(".webp", "image/webp", "RIFF....WEBPVP8 ".to_owned());
        add(".svg", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>".to_owned());
        add("/favicon.ico", "image/x-icon", "icon".to_owned());
        let entries = (0..ARTICLES).map(|id| entry(id, &titles, &articles)).collect();
        Self { shared: Arc::new(Shared { documents, articles: Arc::new(articles), entries }) }
    }

    /// The paths of all articles, the oldest first.
    pub(crate) fn articles(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.shared.articles)
    }

    /// An article by chance.
    pub(crate) fn article(&self, rng: &mut Rng) -> String {
        self.shared.articles.get(rng.usize(0..ARTICLES)).cloned().unwrap_or_default()
    }

    /// A section by chance.
    pub(crate) fn section(rng: &mut Rng) -> String {
        format!("/{}", SECTIONS.get(rng.usize(0..SECTIONS.len())).copied().unwrap_or_default())
    }

    /// As a front controller answers: whatever way a path is written.
    fn answer(&self, request: &Request<()>) -> Response<Full<Bytes>> {
        let path = deckle::visitor::normalise(request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        if path == "/api/posts" {
            return Document::new("application/json", self.posts(query)).answer(request.headers());
        }
        let path = if path == "/" && query == "page=feed" { "/feed" } else { path.as_str() };
        let is_file = path.starts_with("/static/") || path.starts_with("/img/");
        let key = path.rfind('.').filter(|_| is_file).map_or(path, |dot| &path[dot..]);
        if let Some(document) = self.shared.documents.get(key) {
            return document.answer(request.headers());
        }
        let missing = self.shared.documents.get("/missing").map(|page| page.answer(request.headers()));
        let mut response = missing.unwrap_or_default();
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }

    /// Whole articles, at most a hundred at a time.
    fn posts(&self, query: &str) -> String {
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<usize>().ok())
        };
        let size = number("per_page").unwrap_or(10).clamp(1, 100);
        let first = number("page").unwrap_or(1).saturating_sub(1) * size;
        let posts: Vec<&str> = self.shared.entries.iter().skip(first).take(size).map(String::as_str).collect();
        format!("[{}]", posts.join(","))
    }
}

const HTML: &str = "text/html; charset=utf-8";

fn word(rng: &mut Rng) -> &'static str {
    WORDS.get(rng.usize(0..WORDS.len())).copied().unwrap_or_default()
}

fn title(id: usize) -> String {
    let mut rng = Rng::with_seed(id as u64);
    format!("{} {} {}", word(&mut rng), word(&mut rng), word(&mut rng))
}

fn article_path(id: usize, titles: &[String]) -> String {
    let section = SECTIONS.get(id % SECTIONS.len()).copied().unwrap_or_default();
    let slug = titles.get(id).map(|title| title.replace(' ', "-")).unwrap_or_default();
    format!("/{section}/2026/{:02}/{slug}-{id:04}", 1 + id * 8 / ARTICLES)
}

fn paragraphs(id: usize) -> Vec<String> {
    let mut rng = Rng::with_seed(1 << 32 | id as u64);
    let mut paragraph = || {
        let words: Vec<&str> = (0..rng.usize(45..70)).map(|_| word(&mut rng)).collect();
        format!("The {}.", words.join(" "))
    };
    let mut all: Vec<String> = (0..PARAGRAPHS).map(|_| paragraph()).collect();
    if let Some(last) = all.last_mut() {
        let _ = write!(last, " Notes for the {MARK}{id:04} are kept in the archive of the paper.");
    }
    all
}

fn article(id: usize, titles: &[String], articles: &[String]) -> String {
    let title = titles.get(id).map_or("", String::as_str);
    let mut body = format!("<article><h1>{title}</h1>");
    for picture in 0..PICTURES {
        let _ = write!(body, "<img src=\"/img/{id}/{picture}.webp\" alt=\"\">");
    }
    for paragraph in paragraphs(id) {
        let _ = write!(body, "<p>{paragraph}</p>");
    }
    body.push_str("</article>");
    let step = SECTIONS.len();
    let next = if id + step < ARTICLES { id + step } else { id % step };
    let _ = write!(body, "<nav><a rel=\"next\" href=\"{}\">Next article</a></nav><aside>", path(articles, next));
    for related in (1..=6).map(|n| (id + n * 163) % ARTICLES) {
        let title = titles.get(related).map_or("", String::as_str);
        let _ = write!(body, "<a href=\"{}\">{title}</a>", path(articles, related));
    }
    body.push_str("</aside>");
    let mut card = format!("<meta property=\"og:title\" content=\"{title}\">");
    let _ = write!(card, "<meta property=\"og:image\" content=\"{ORIGIN}/img/{id}/0.webp\">");
    let _ = write!(card, "<link rel=\"canonical\" href=\"{ORIGIN}{}\">", path(articles, id));
    shell(title, &card, &body)
}

fn list(heading: &str, listed: &[usize], more: &str, titles: &[String], articles: &[String]) -> String {
    let mut body = format!("<h1>{heading}</h1>");
    for (row, id) in listed.iter().enumerate() {
        if row < PICTURES {
            let _ = write!(body, "<img src=\"/img/{id}/thumb.webp\" alt=\"\">");
        }
        let title = titles.get(*id).map_or("", String::as_str);
        let _ = write!(body, "<a href=\"{}\">{title}</a>", path(articles, *id));
    }
    body.push_str(more);
    shell(heading, "", &body)
}

/// What all pages share.
fn shell(title: &str, head: &str, body: &str) -> String {
    let (styles, scripts, icons) = SHARED;
    let mut page = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">".to_owned();
    let _ = write!(page, "<title>{title} - News Example</title>{head}");
    for n in 0..styles {
        let _ = write!(page, "<link rel=\"stylesheet\" href=\"/static/site-{n}.css\">");
    }
    for n in 0..scripts {
        let _ = write!(page, "<script src=\"/static/app-{n}.js\" defer></script>");
    }
    page.push_str("</head><body><header><a href=\"/\">News Example</a><nav>");
    for section in SECTIONS {
        let _ = write!(page, "<a href=\"/{section}\">{section}</a>");
    }
    let _ = write!(page, "</nav></header><main>{body}</main><footer>");
    for n in 0..icons {
        let _ = write!(page, "<img src=\"/static/icon-{n}.svg\" alt=\"\">");
    }
    page.push_str("</footer></body></html>");
    page
}

fn feed(titles: &[String], articles: &[String]) -> String {
    let mut feed = "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>News Example</title>".to_owned();
    for id in (0..ARTICLES).rev().take(LISTED.2) {
        let title = titles.get(id).map_or("", String::as_str);
        let _ = write!(feed, "<item><title>{title}</title><link>{ORIGIN}{}</link></item>", path(articles, id));
    }
    feed.push_str("</channel></rss>");
    feed
}

fn sitemap(articles: &[String]) -> String {
    let mut map = "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">".to_owned();
    for path in articles {
        let _ = write!(map, "<url><loc>{ORIGIN}{path}</loc></url>");
    }
    map.push_str("</urlset>");
    map
}

fn entry(id: usize, titles: &[String], articles: &[String]) -> String {
    let link = format!("{ORIGIN}{}", path(articles, id));
    let content = paragraphs(id).join("\n");
    serde_json::json!({ "id": id, "link": link, "title": titles.get(id), "content": content }).to_string()
}

fn path(articles: &[String], id: usize) -> &str {
    articles.get(id).map_or("/", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_kinds() {
        let site = Site::new();
        let mut rng = Rng::with_seed(1);
        assert_eq!(kind("/"), PageKind::Front);
        assert_eq!(kind(&Site::section(&mut rng)), PageKind::Section);
        assert_eq!(kind("/world/page/3"), PageKind::Section);
        assert_eq!(kind(&site.article(&mut rng)), PageKind::Article);
        assert_eq!(kind("/feed/"), PageKind::Other);
        assert!(site.shared.documents.contains_key("/world/page/2"));
    }
}
