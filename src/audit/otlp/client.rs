//! The way to the receiver: one POST a batch (OTLP/HTTP).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use percent_encoding::percent_decode_str;
use prost::Message;

use super::HEADERS;
use crate::audit::SinkError;
use crate::unit::with_causes;

/// The path of the protocol.
const PATH: &str = "/v1/logs";
/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Nothing runs between two batches, so nobody would see that an idle connection was closed.
const IDLE: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const MOST: usize = 64 << 10;

/// Sends bodies to one receiver.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: Uri,
    headers: HeaderMap,
}

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was taken, but for so many of its records, and this was said about them.
    Taken { rejected: u64, message: String },
    /// It may be taken another time, perhaps after this long.
    Later { after: Option<Duration>, why: String },
    /// It never will.
    Refused(String),
}

impl Client {
    /// # Errors
    /// [`SinkError`] names the setting or the variable.
    pub(super) fn new(endpoint: &str, headers: &str) -> Result<Self, SinkError> {
        let refuse = |key: &'static str| move |message: String| SinkError::Setting { key, message };
        let address = address(endpoint).map_err(refuse("audit.otlp.endpoint"))?;
        let mut headers = read_headers(headers).map_err(refuse(HEADERS))?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let name = HeaderValue::from_static(concat!("deckle/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, name);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| refuse("audit.otlp.endpoint")(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(Self { http, address, headers })
    }

    pub(super) async fn post(&self, body: Bytes, patience: Duration) -> Sent {
        let later = |why| Sent::Later { after: None, why };
        match tokio::time::timeout(patience, self.exchange(body)).await {
            Ok(exchanged) => exchanged.unwrap_or_else(later),
            Err(_) => later(format!("no answer within {patience:?}")),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<Sent, String> {
        let mut request =
            Request::post(self.address.clone()).body(Full::new(body)).map_err(|error| error.to_string())?;
        *request.headers_mut() = self.headers.clone();
        let (head, body) = self.http.request(request).await.map_err(|error| with_causes(&error))?.into_parts();
        // Read to its end in any case, so that the connection can be used again.
        let body = Limited::new(body, MOST).collect().await.map(http_body_util::Collected::to_bytes);
        let why = format!("status {}", head.status.as_u16());
        Ok(match head.status.as_u16() {
            200..=299 => {
                let answer = body.ok().and_then(|body| ExportLogsServiceResponse::decode(body).ok());
                let partial = answer.and_then(|answer| answer.partial_success).unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_log_records).unwrap_or(0);
                Sent::Taken { rejected, message: partial.error_message }
            }
            429 | 502..=504 => Sent::Later { after: retry_after(&head.headers), why },
            _ => Sent::Refused(why),
        })
    }
}

/// The path is added, unless it stands there.
fn address(endpoint: &str) -> Result<Uri, String> {
    let base = endpoint.trim_end_matches('/');
    let base = base.strip_suffix(PATH).unwrap_or(base);
    format!("{base}{PATH}").parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

/// `name=value,name=value`; values may be percent-encoded.
fn read_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let wrong = || "not a list of name=value with commas between them".to_owned();
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let mut value =
            HeaderValue::from_bytes(&percent_decode_str(value.trim()).collect::<Vec<u8>>()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not worth a clock of its own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
        for endpoint in ["http://h:4318", "http://h:4318/", "http://h:4318/v1/logs", "http://h:4318/v1/logs/"] {
            assert_eq!(address(endpoint).unwrap(), "http://h:4318/v1/logs", "{endpoint}");
        }
        assert_eq!(address("https://h/otlp").unwrap(), "https://h/otlp/v1/logs");
    }

    #[test]
    fn headers_are_read_and_kept_secret() {
        let headers = read_headers("authorization=Basic%20YTpi, x-scope = a=b ,").unwrap();
        assert_eq!(headers["authorization"], "Basic YTpi");
        assert_eq!(headers["x-scope"], "a=b");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        assert!(read_headers("").unwrap().is_empty());
        for text in ["authorization", "a b=c", "x=%0a"] {
            assert!(read_headers(text).is_err(), "{text}");
        }
        let error = Client::new("http://h", "authorization").err().unwrap().to_string();
        assert!(error.contains(HEADERS) && !error.contains("authorization"), "{error}");
    }
}
