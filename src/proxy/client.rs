//! [`SiteClient`]: connections to the site, and how long an answer may take.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ProxyError;
use super::body::Upload;
use super::failure::{Failure, chain};
use super::personal::Personal;
use crate::config::{ProxySettings, TimeoutSettings};

pub(super) type RequestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Asks the site over HTTP/1.1, with or without TLS.
#[derive(Debug)]
pub(super) struct SiteClient {
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
    timeouts: TimeoutSettings,
    /// The site speaks HTTP/1.0, or nobody knows.
    old: AtomicBool,
}

impl SiteClient {
    /// `idle`: so many connections are kept that nobody uses.
    pub(super) fn new(settings: &ProxySettings, idle: usize) -> Result<Self, ProxyError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.timeouts.connect.0));
        // A site that has answered and takes nothing of the rest of an upload.
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(settings.timeouts.response_idle.0));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|e| ProxyError::Tls { message: e.to_string() })?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle.0)
            .pool_max_idle_per_host(idle)
            .build(https);
        Ok(Self { client, timeouts: settings.timeouts.clone(), old: AtomicBool::new(true) })
    }

    /// The time to the first byte counts from the end of the upload, which may take longer than an answer.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
        upload: Option<Upload>,
    ) -> Result<Response<Incoming>, Failure> {
        if self.old.load(Ordering::Relaxed) && !request.headers().contains_key(header::CONNECTION) {
            // Over a connection that has answered so hyper would send no body without a length.
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let personal = Personal::of(&mut request);
        let answer = personal.until(self.client.request(request));
        let late = async {
            let timeouts = &self.timeouts;
            if let Some(upload) = upload
                && !upload.wait(timeouts.response_idle.0).await
            {
                return;
            }
            tokio::time::sleep(timeouts.first_byte.0).await;
        };
        let answer = tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = late => None,
        };
        match answer {
            None => Err(Failure::Timeout),
            Some(Ok(answer)) => {
                let is_old = answer.version() == Version::HTTP_10;
                if self.old.load(Ordering::Relaxed) != is_old {
                    self.old.store(is_old, Ordering::Relaxed);
                }
                Ok(answer)
            }
            Some(Err(error)) => {
                tracing::warn!(target: "deckle", error = %chain(&error), "The upstream did not answer.");
                Err(Failure::of(&error))
            }
        }
    }
}

/// A request whose head announces no body: with a length, the next request of that connection would be taken for it.
pub(super) fn without_body(mut head: http::request::Parts) -> Request<RequestBody> {
    if head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    for name in [header::TRANSFER_ENCODING, header::EXPECT, header::TRAILER] {
        head.headers.remove(name);
    }
    Request::from_parts(head, empty())
}

pub(super) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
