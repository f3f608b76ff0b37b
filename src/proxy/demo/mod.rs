//! The embedded demo news site: "The Harbour Ledger", an invented paper of an invented town.
//!
//! Thirteen articles in five languages, a linked archive of generated filler, and what a real site has around them:
//! sections, authors, images, style sheets, a feed, a JSON interface, search, sitemap, robots.txt, entity tags and gzip.

mod art;
mod content;
mod filler;
mod render;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use sha2::{Digest, Sha256};

use super::body::SiteBody;
use crate::config::Config;
use crate::page::notice::Where;
use crate::rights::{Pref, Uses};
use crate::unit::Span;
use crate::visitor::Switch;

/// Who holds the rights, where the configuration does not say.
const HOLDER: &str = "The Harbour Ledger";

/// What the configuration leaves open, as this site has it.
pub(super) fn adapt(config: &mut Config) {
    // All clients of the demo are on this machine.
    config.visitor.proxy_check = Switch::Off;
    config.visitor.ranges.refresh = Span::seconds(0);
    if config.rights.holder.is_empty() {
        HOLDER.clone_into(&mut config.rights.holder);
        // As a news site would have it: found by search engines, no food for models.
        config.rights.uses = Uses { search: Pref::Allow, ai_train: Pref::Deny, ..config.rights.uses };
        config.page.notice.places = vec![Where::Footer, Where::Meta];
    }
}

/// The demo site, rendered once and shared.
#[derive(Clone, Debug)]
pub struct Demo {
    pages: Arc<BTreeMap<String, Resource>>,
}

#[derive(Debug)]
struct Resource {
    kind: &'static str,
    body: Bytes,
    etag: String,
    gzip: OnceLock<Bytes>,
}

impl Resource {
    fn new(kind: &'static str, body: String) -> Self {
        let body = Bytes::from(body);
        let digest = Sha256::digest(&body);
        let etag = format!("\"{}\"", HEXLOWER.encode(digest.get(..8).unwrap_or_default()));
        Self { kind, body, etag, gzip: OnceLock::new() }
    }

    fn is_text(&self) -> bool {
        !self.kind.starts_with("image/png")
    }

    fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            let packed = encoder.write_all(&self.body).and_then(|()| encoder.finish());
            packed.map_or_else(|_| self.body.clone(), Bytes::from)
        })
    }
}

impl Demo {
    /// The site of this process.
    pub fn shared() -> Self {
        static SITE: LazyLock<Demo> = LazyLock::new(|| Demo { pages: Arc::new(build()) });
        SITE.clone()
    }

    /// One page, whole.
    pub(super) fn page(&self, path: &str) -> Option<Bytes> {
        self.pages.get(path).map(|r| r.body.clone())
    }

    /// Paths of all pages, for tests.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pages.keys().map(String::as_str)
    }

    /// Answers a request.
    pub(super) fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<SiteBody> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(SiteBody::full(Bytes::from_static(b"This site only answers GET.\n")));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if uri.path() == "/search" {
            let resource = Resource::new("text/html; charset=utf-8", render::search(&query(uri)));
            return reply(&resource, method, headers, StatusCode::OK);
        }
        match self.pages.get(uri.path()) {
            Some(resource) => reply(resource, method, headers, StatusCode::OK),
            None => {
                let resource = Resource::new("text/html; charset=utf-8", render::not_found());
                reply(&resource, method, headers, StatusCode::NOT_FOUND)
            }
        }
    }
}

fn reply(resource: &Resource, method: &Method, request: &HeaderMap, status: StatusCode) -> Response<SiteBody> {
    let mut response = Response::new(SiteBody::full(Bytes::new()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, resource.kind);
    set(header::ETAG, &resource.etag);
    set(header::VARY, "Accept-Encoding");
    let page = resource.kind.starts_with("text/html");
    set(header::CACHE_CONTROL, if page { "public, max-age=60" } else { "public, max-age=86400" });
    let text = |name| request.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
    if status == StatusCode::OK
        && text(header::IF_NONE_MATCH).split(',').any(|t| t.trim().trim_start_matches("W/") == resource.etag)
    {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let gzip = resource.is_text()
        && text(header::ACCEPT_ENCODING).split(',').any(|t| t.trim().split(';').next() == Some("gzip"));
    let body = if gzip { resource.gzip().clone() } else { resource.body.clone() };
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if *method == Method::GET {
        *response.body_mut() = SiteBody::full(body);
    }
    response
}

/// The search words of `?q=`, percent-decoded.
fn query(uri: &Uri) -> String {
    let raw = uri.query().unwrap_or_default().split('&').find_map(|p| p.strip_prefix("q=")).unwrap_or_default();
    let raw = raw.replace('+', " ");
    let bytes = raw.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex =
            (byte == b'%').then(|| raw.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok())).flatten();
        out.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).chars().take(80).collect()
}

fn build() -> BTreeMap<String, Resource> {
    let mut pages = BTreeMap::new();
    let mut add = |path: String, kind: &'static str, body: String| {
        pages.insert(path, Resource::new(kind, body));
    };
    const HTML: &str = "text/html; charset=utf-8";
    add("/".into(), HTML, render::front());
    for article in content::articles() {
        add(article.path(), HTML, render::article(article));
    }
    for section in content::SECTIONS {
        add(format!("/{}/", section.to_ascii_lowercase()), HTML, render::section(section));
    }
    for author in content::authors() {
        add(format!("/author/{}", content::slug(author)), HTML, render::author(author));
    }
    for item in filler::archive() {
        add(item.path(), HTML, render::filler(item));
    }
    for page in 1..=filler::pages() {
        add(format!("/archive/page/{page}"), HTML, render::archive(page));
    }
    add("/archive/".into(), HTML, render::archive(1));
    add("/feed.xml".into(), "application/rss+xml; charset=utf-8", render::feed());
    add("/api/articles.json".into(), "application/json", render::api());
    add("/sitemap.xml".into(), "application/xml; charset=utf-8", render::sitemap());
    add(
        "/robots.txt".into(),
        "text/plain; charset=utf-8",
        "User-agent: *\nDisallow: /search\nDisallow: /api/\n".into(),
    );
    const CSS: &str = "text/css; charset=utf-8";
    add("/static/base.css".into(), CSS, include_str!("../../../assets/demo/css/base.css").into());
    add("/static/layout.css".into(), CSS, include_str!("../../../assets/demo/css/layout.css").into());
    add("/static/article.css".into(), CSS, include_str!("../../../assets/demo/css/article.css").into());
    add("/static/print.css".into(), CSS, "header,nav,footer,aside,form{display:none}body{background:#fff}\n".into());
    add(
        "/static/menu.js".into(),
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/demo/js/menu.js").into(),
    );
    add(
        "/static/progress.js".into(),
        "text/javascript; charset=utf-8",
        include_str!("../../../assets/demo/js/progress.js").into(),
    );
    for (path, svg) in art::all() {
        add(path, "image/svg+xml", svg);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_has_what_a_news_site_has() {
        let demo = Demo::shared();
        let articles = content::articles();
        assert!(articles.len() >= 12);
        let languages: std::collections::BTreeSet<&str> = articles.iter().map(|a| a.lang.as_str()).collect();
        assert!(
            languages.len() >= 5 && articles.iter().any(|a| a.dir == "rtl") && languages.contains("ja"),
            "{languages:?}"
        );
        for article in articles {
            let words = article.words();
            assert!(words >= 600, "{}: {words}", article.slug);
            let page = demo.page(&article.path()).unwrap();
            let page = std::str::from_utf8(&page).unwrap();
            let assets: std::collections::BTreeSet<&str> = page
                .split('"')
                .filter(|s| s.starts_with("/static/") || s.starts_with("/img/") || s.starts_with("/favicon"))
                .collect();
            assert!(assets.len() >= 20, "{}: {}", article.slug, assets.len());
            for asset in assets {
                assert!(demo.page(asset).is_some(), "{asset}");
            }
        }
        assert!(filler::archive().len() >= 200);
        assert!(demo.paths().count() > 260);
    }

    #[test]
    fn every_link_leads_somewhere() {
        let demo = Demo::shared();
        for (path, resource) in demo.pages.iter().filter(|(_, r)| r.kind.starts_with("text/html")) {
            let page = std::str::from_utf8(&resource.body).unwrap();
            for link in page.split("href=\"").skip(1).filter_map(|p| p.split('"').next()).filter(|l| l.starts_with('/'))
            {
                assert!(link.starts_with("/search") || demo.pages.contains_key(link), "{path}: {link}");
            }
        }
    }

    #[test]
    fn validators_and_codings() {
        let demo = Demo::shared();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
        let page = demo.answer(&Method::GET, &"/".parse().unwrap(), &headers);
        assert_eq!(page.headers()[header::CONTENT_ENCODING], "gzip");
        headers.insert(header::IF_NONE_MATCH, page.headers()[header::ETAG].clone());
        assert_eq!(demo.answer(&Method::GET, &"/".parse().unwrap(), &headers).status(), 304);
        assert_eq!(demo.answer(&Method::GET, &"/nowhere".parse().unwrap(), &headers).status(), 404);
        assert_eq!(demo.answer(&Method::POST, &"/".parse().unwrap(), &headers).status(), 405);
        assert_eq!(query(&"/search?q=a+%22b%22%".parse().unwrap()), "a \"b\"%");
    }
}
