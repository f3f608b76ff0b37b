//! A small client: one document, whole, behind a few redirects.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::page::join;

/// Most bytes of a document as it is sent.
const MOST: usize = 16 << 20;
/// What crawlers follow for robots.txt (RFC 9309 §2.3.1.2).
const MAX_REDIRECTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// What came.
pub(super) struct Document {
    /// After redirects.
    pub(super) address: Uri,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Document {
    /// The page at an address, or in a file.
    pub(super) async fn of(page: &str) -> anyhow::Result<Self> {
        if !page.starts_with("http://") && !page.starts_with("https://") {
            return Self::from_file(page);
        }
        let address: Uri = page.parse().with_context(|| format!("`{page}` is no address"))?;
        Fetcher::new()?.get(&address).await
    }

    /// A page in a file, as if it had come from the root of a site.
    pub(super) fn from_file(path: &str) -> anyhow::Result<Self> {
        let body = std::fs::read(path).with_context(|| format!("`{path}` cannot be read"))?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
        Ok(Self { address: Uri::from_static("/"), status: StatusCode::OK, headers, body: body.into() })
    }
}

/// Fetches documents.
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetcher {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(PATIENCE));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .context("TLS cannot be set up")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self(Client::builder(TokioExecutor::new()).build(https)))
    }

    pub(super) async fn get(&self, address: &Uri) -> anyhow::Result<Document> {
        self.get_in(address, None).await
    }

    /// As whoever reads these languages.
    pub(super) async fn get_in(&self, address: &Uri, languages: Option<&'static str>) -> anyhow::Result<Document> {
        let mut address = address.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder()
                .uri(&address)
                .header(header::USER_AGENT, concat!("deckle-check/", env!("CARGO_PKG_VERSION")))
                .header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
                .header(header::ACCEPT_ENCODING, "gzip, br, zstd")
                .body(Empty::new())?;
            if let Some(languages) = languages {
                request.headers_mut().insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(languages));
            }
            let answer = tokio::time::timeout(PATIENCE, self.0.request(request))
                .await
                .with_context(|| format!("{address} does not answer"))?
                .with_context(|| format!("{address} cannot be reached"))?;
            let (head, body) = answer.into_parts();
            let next = head.headers.get(header::LOCATION).filter(|_| head.status.is_redirection());
            if let Some(next) = next.and_then(|v| v.to_str().ok()).and_then(|to| join(&address, to)) {
                address = next;
                continue;
            }
            let body = tokio::time::timeout(PATIENCE, Limited::new(body, MOST).collect())
                .await
                .with_context(|| format!("{address} does not come to an end"))?
                .map_err(|error| anyhow::anyhow!("{address}: {error}"))?
                .to_bytes();
            return Ok(Document { address, status: head.status, headers: head.headers, body });
        }
        bail!("{address}: more than {MAX_REDIRECTS} redirects")
    }
}
