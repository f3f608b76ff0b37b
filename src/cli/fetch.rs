//! A small client: one document, whole or its first bytes, behind a few redirects.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header, response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
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
        let mut wishes = HeaderMap::from_iter([
            (header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8")),
            (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd")),
        ]);
        wishes.extend(languages.map(|languages| (header::ACCEPT_LANGUAGE, HeaderValue::from_static(languages))));
        let (address, head, body) = self.ask(address, &wishes).await?;
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, MOST).collect())
            .await
            .with_context(|| format!("{address} does not come to an end"))?
            .map_err(|error| anyhow::anyhow!("{address}: {error}"))?
            .to_bytes();
        Ok(Document { address, status: head.status, headers: head.headers, body })
    }

    /// The first bytes of a document that is not coded. A server that knows no ranges (RFC 9110 §14.2) sends more: that is
    /// not read.
    pub(super) async fn start_of(&self, address: &Uri, most: usize) -> anyhow::Result<Document> {
        let range = HeaderValue::from_str(&format!("bytes=0-{}", most.saturating_sub(1)))?;
        let wishes = HeaderMap::from_iter([
            (header::ACCEPT, HeaderValue::from_static("image/*,*/*;q=0.8")),
            (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            (header::RANGE, range),
        ]);
        let whole = async {
            let (address, head, body) = self.ask(address, &wishes).await?;
            let body = start(body, most).await.map_err(|error| anyhow::anyhow!("{address}: {error}"))?;
            Ok::<_, anyhow::Error>(Document { address, status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, whole).await.with_context(|| format!("{address} takes too long"))?
    }

    /// The head of the answer behind the redirects, and where it came from.
    async fn ask(&self, address: &Uri, wishes: &HeaderMap) -> anyhow::Result<(Uri, response::Parts, Incoming)> {
        let mut address = address.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder()
                .uri(&address)
                .header(header::USER_AGENT, concat!("deckle-check/", env!("CARGO_PKG_VERSION")))
                .body(Empty::new())?;
            request.headers_mut().extend(wishes.clone());
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
            return Ok((address, head, body));
        }
        bail!("{address}: more than {MAX_REDIRECTS} redirects")
    }
}

/// Reads until there is enough, and waits for nothing behind it.
async fn start(mut body: Incoming, most: usize) -> hyper::Result<Bytes> {
    let mut start = Vec::new();
    while start.len() < most {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        start.extend_from_slice(data.get(..most - start.len()).unwrap_or(&data));
    }
    Ok(start.into())
}
