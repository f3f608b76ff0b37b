//! [`Upstream`]: a Tower service that forwards to the site.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::connect::HttpInfo;
use ipnet::IpNet;
use tower_service::Service;

use super::body::{SiteBody, Upload, UploadBody};
use super::client::{RequestBody, SiteClient, empty, without_body};
use super::failure::Failure;
use super::headers::{Asked, Via};
use super::places::{AtSite, Place};
use super::problem::{ALLOWED, problem};
use super::server::Uploading;
use super::{ProxyError, headers, refuse, upgrade};
use crate::config::{HostMode, ProxySettings, UpstreamCoding};
use crate::page::{NearSite, is_html};
use crate::visitor::{ClientAddress, Visitor, is_public};

/// Forwards requests to one upstream over http or https.
#[derive(Clone, Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: SiteClient,
    base: Uri,
    /// Its path, which stands before that of each request.
    prefix: String,
    settings: ProxySettings,
    places: AtSite,
    pseudonym: String,
    via: Via,
}

impl Upstream {
    /// An upstream at `settings.upstream`; `pseudonym` names this hop in `Via`.
    ///
    /// # Errors
    /// [`ProxyError::Upstream`] for an address that is none.
    pub fn new(settings: &ProxySettings, pseudonym: String) -> Result<Self, ProxyError> {
        let text = settings.upstream.clone().unwrap_or_default();
        let refuse = || ProxyError::Upstream { value: text.clone() };
        let base: Uri = text.parse().map_err(|_| refuse())?;
        if !matches!(base.scheme_str(), Some("http" | "https")) || base.authority().is_none() {
            return Err(refuse());
        }
        let places = AtSite::new(settings);
        let client = SiteClient::new(settings, places.unused())?;
        let prefix = base.path().trim_end_matches('/').to_owned();
        let via = Via::new(&pseudonym);
        let settings = settings.clone();
        Ok(Self { shared: Arc::new(Shared { client, base, prefix, settings, places, pseudonym, via }) })
    }

    /// The page at `/`, whole; for learning about the site. Failures are nothing.
    pub(super) async fn front_page(&self) -> Option<Bytes> {
        const MOST: usize = 4 << 20;
        let answer = self.ask("identity", false).await?;
        let body = Limited::new(answer.into_body(), MOST).collect();
        let whole = tokio::time::timeout(self.shared.settings.timeouts.response_idle.0, body).await.ok()?.ok()?;
        Some(whole.to_bytes())
    }

    /// Does that page come in a coding for whoever takes gzip, and comes through a proxy or not?
    pub(super) async fn compresses(&self, through_proxy: bool) -> Option<bool> {
        let answer = self.ask("gzip", through_proxy).await?;
        Some(answer.headers().contains_key(header::CONTENT_ENCODING))
    }

    /// Asks for `/`. `None`: there is no page.
    async fn ask(&self, codings: &'static str, through_proxy: bool) -> Option<Response<Incoming>> {
        let mut parts = uri::Parts::default();
        parts.scheme = self.shared.base.scheme().cloned();
        parts.authority = self.shared.base.authority().cloned();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        let mut request = Request::builder()
            .uri(Uri::from_parts(parts).ok()?)
            .header(header::ACCEPT, "text/html")
            .header(header::ACCEPT_ENCODING, codings)
            .body(empty())
            .ok()?;
        if through_proxy {
            self.shared.via.append(request.headers_mut(), Version::HTTP_11);
        }
        let answer = self.shared.client.send(request, None).await.ok()?;
        is_html(answer.headers()).then_some(answer)
    }
}

impl Service<Request<Incoming>> for Upstream {
    type Response = Response<SiteBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.forward(request).await) })
    }
}

impl Shared {
    async fn forward(&self, request: Request<Incoming>) -> Response<SiteBody> {
        if let Some((status, detail)) = refuse::refuse(&request, &self.settings) {
            return problem(status, detail, request.headers());
        }
        if headers::is_loop(request.headers(), &self.pseudonym) {
            return problem(StatusCode::LOOP_DETECTED, "The request goes in circles.", request.headers());
        }
        let upgrade = upgrade::wanted(&request);
        let (mut head, body) = request.into_parts();
        if headers::max_forwards(&head.method, &head.headers) == Some(0) {
            return answer_options();
        }
        let Some(mut outgoing) = self.outgoing(&head, upgrade.as_ref()) else {
            return problem(StatusCode::BAD_REQUEST, "The request target is not valid.", &head.headers);
        };
        let named = self.renames(&head);
        let bodiless = body.is_end_stream();
        if !bodiless && !outgoing.headers.contains_key(header::CONTENT_LENGTH) {
            // hyper sends no body with GET and HEAD unless it is told to.
            outgoing.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let on_client = upgrade.as_ref().and_then(|_| head.extensions.remove::<OnUpgrade>());
        let reader = reader(head.extensions.get::<Visitor>());
        // Free when both the answer and the upload are over.
        let Some(place) = self.places.place(reader, self.settings.timeouts.connect.0).await.map(Arc::new) else {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "The site is busy at the moment.", &head.headers);
        };
        let (request, upload) = if bodiless {
            (without_body(outgoing), None)
        } else {
            let (body, upload) = self.request_body(body, Arc::clone(&place), head.extensions.remove());
            (Request::from_parts(outgoing, body), Some(upload))
        };
        let mut answer = match (self.client.send(request, upload).await, on_client) {
            (Ok(answer), Some(on_client)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return self.tunnel(on_client, answer, place);
            }
            (answer, _) => answer,
        };
        let repeat = bodiless
            && upgrade.is_none()
            && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && matches!(answer, Err(Failure::Lost));
        // Nothing came back, and asking twice changes nothing (RFC 9110 §9.2.2).
        if repeat && let Some(again) = self.outgoing(&head, None) {
            answer = self.client.send(without_body(again), None).await;
        }
        let (asked, named) = (&head.headers, named.as_ref());
        match answer {
            Ok(answer) if refuse::is_unfit(&answer, &self.settings) => {
                problem(StatusCode::BAD_GATEWAY, "The answer of the site cannot be passed on.", asked)
            }
            Ok(answer) if bodiless && is_partial_page(&answer) => self.whole(&head, answer, named, place).await,
            Ok(answer) => self.incoming(answer, named, place),
            Err(Failure::Timeout) => problem(StatusCode::GATEWAY_TIMEOUT, "The site did not answer in time.", asked),
            Err(Failure::TooLarge) => problem(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large.", asked),
            Err(Failure::Idle) => problem(StatusCode::REQUEST_TIMEOUT, "The request body did not come in time.", asked),
            Err(Failure::Broken) => problem(StatusCode::BAD_REQUEST, "The request body is broken.", asked),
            Err(Failure::Connect | Failure::Lost) => {
                problem(StatusCode::BAD_GATEWAY, "The site cannot be reached at the moment.", asked)
            }
        }
    }

    /// The request as the site gets it.
    fn outgoing(&self, head: &http::request::Parts, upgrade: Option<&HeaderValue>) -> Option<http::request::Parts> {
        let mut parts = uri::Parts::default();
        parts.scheme = self.base.scheme().cloned();
        parts.authority = self.base.authority().cloned();
        let target = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.path_and_query = Some(match self.prefix.as_str() {
            "" => target,
            prefix => format!("{prefix}{}", target.as_str()).parse().ok()?,
        });
        let mut out = Request::new(()).into_parts().0;
        out.method = head.method.clone();
        out.uri = Uri::from_parts(parts).ok()?;
        out.version = Version::HTTP_11;
        out.headers = head.headers.clone();
        let host = match head.uri.authority() {
            Some(authority) => authority.as_str().parse().ok(),
            None => head.headers.get(header::HOST).cloned(),
        };
        headers::strip_hop_by_hop(&mut out.headers);
        headers::join_cookies(&mut out.headers);
        let visitor = head.extensions.get::<Visitor>();
        let from = visitor.map_or(ClientAddress::UNKNOWN, |v| v.address);
        headers::set_forwarded(&mut out.headers, &from, visitor.is_some_and(|v| v.secure), host.as_ref());
        self.via.append(&mut out.headers, head.version);
        if let Some(hops) = headers::max_forwards(&head.method, &head.headers) {
            out.headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
        }
        match (self.settings.host, host) {
            (HostMode::Preserve, Some(host)) => {
                out.headers.insert(header::HOST, host);
            }
            _ => {
                out.headers.remove(header::HOST);
            }
        }
        if let Some(kind) = upgrade {
            out.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            out.headers.insert(header::UPGRADE, kind.clone());
        }
        Some(out)
    }

    /// Where the site is asked by its own name, what the client asked by.
    fn renames(&self, head: &http::request::Parts) -> Option<Asked> {
        if self.settings.host != HostMode::Upstream {
            return None;
        }
        let host = match head.uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => head.headers.get(header::HOST)?.to_str().ok()?.to_owned(),
        };
        let secure = head.extensions.get::<Visitor>().is_some_and(|v| v.secure);
        Some(Asked { host, secure })
    }

    /// The upload, and what ends with it.
    fn request_body(&self, body: Incoming, place: Arc<Place>, uploading: Option<Uploading>) -> (RequestBody, Upload) {
        let max = self.settings.max_request_body.map_or(usize::MAX, |max| max.0 as usize);
        let (body, upload) = UploadBody::new(body, self.settings.timeouts.response_idle.0, place, uploading);
        (Limited::new(body, max).boxed_unsync(), upload)
    }

    /// A part of a page would be a part without marks: the whole is asked for, once, and takes over its place.
    async fn whole(
        &self,
        head: &http::request::Parts,
        partial: Response<Incoming>,
        named: Option<&Asked>,
        place: Arc<Place>,
    ) -> Response<SiteBody> {
        let ranged = head.method == Method::GET && head.headers.contains_key(header::RANGE);
        let Some(mut again) = ranged.then(|| self.outgoing(head, None)).flatten() else {
            return self.incoming(partial, named, place);
        };
        again.headers.remove(header::RANGE);
        again.headers.remove(header::IF_RANGE);
        let whole = self.client.send(without_body(again), None).await;
        let whole = whole.ok().filter(|whole| !refuse::is_unfit(whole, &self.settings));
        self.incoming(whole.unwrap_or(partial), named, place)
    }

    /// `named`: the site is asked by its own name, and the client by this one. A version is that of one hop (RFC 9112 §2.3).
    fn incoming(&self, answer: Response<Incoming>, named: Option<&Asked>, place: Arc<Place>) -> Response<SiteBody> {
        let (mut head, body) = answer.into_parts();
        if let (Some(asked), Some(site)) = (named, self.base.authority()) {
            headers::rename(&mut head.headers, site.as_str(), asked);
        }
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            // The chunks were the length (RFC 9112 §6.3); the other one would cut the body.
            head.headers.remove(header::CONTENT_LENGTH);
        }
        headers::join_lengths(&mut head.headers);
        let version = std::mem::replace(&mut head.version, Version::HTTP_11);
        if head.status == StatusCode::NOT_MODIFIED {
            // What is put together here of a known page is called otherwise.
            head.extensions.remove::<ReasonPhrase>();
        }
        headers::strip_hop_by_hop(&mut head.headers);
        self.via.append(&mut head.headers, version);
        if head.headers.contains_key(header::CONTENT_ENCODING) && self.is_near(&head.extensions) {
            head.extensions.insert(NearSite);
        }
        let (kind, timeouts) = (head.headers.get(header::CONTENT_TYPE), &self.settings.timeouts);
        let events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let limit = if events { timeouts.upgrade_idle.0 } else { timeouts.response_idle.0 };
        Response::from_parts(head, SiteBody::upstream(body, limit, place))
    }

    /// Need it not compress pages for the way to here?
    fn is_near(&self, extensions: &Extensions) -> bool {
        match self.settings.upstream_coding {
            UpstreamCoding::Auto => {
                extensions.get::<HttpInfo>().is_some_and(|info| !is_public(info.remote_addr().ip()))
            }
            UpstreamCoding::Identity => true,
            UpstreamCoding::Client => false,
        }
    }

    fn tunnel(&self, on_client: OnUpgrade, answer: Response<Incoming>, place: Arc<Place>) -> Response<SiteBody> {
        let (mut head, _) = answer.into_parts();
        let mut headers = head.headers;
        let kind = headers.get(header::UPGRADE).cloned();
        headers::strip_hop_by_hop(&mut headers);
        if let Some(on_upstream) = head.extensions.remove::<OnUpgrade>() {
            upgrade::tunnel(on_client, on_upstream, self.settings.timeouts.upgrade_idle.0, place);
        }
        let mut response = Response::new(SiteBody::full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(kind) = kind {
            response.headers_mut().insert(header::UPGRADE, kind);
        }
        response
    }
}

/// Whom a place counts for. `None`: a proxy, or what may be one; so is one that is trusted and does not say for whom it asks.
fn reader(visitor: Option<&Visitor>) -> Option<IpNet> {
    let address = visitor.filter(|visitor| visitor.enforceable)?.address;
    address.ip.filter(|ip| is_public(*ip) && (!address.trusted || address.peer.is_some())).and(address.client())
}

/// `Max-Forwards` ends here (RFC 9110 §7.6.2).
fn answer_options() -> Response<SiteBody> {
    let mut response = Response::new(SiteBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

fn is_partial_page(answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::PARTIAL_CONTENT && is_html(answer.headers())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::visitor::{Peer, Settings};

    #[test]
    fn places_count_for_readers_and_for_nothing_that_may_be_a_proxy() {
        let visitor = |ip: &str| {
            let mut head = Request::new(()).into_parts().0;
            let ip: IpAddr = ip.parse().unwrap();
            head.extensions.insert(Peer { address: SocketAddr::new(ip, 1), secure: false });
            Visitor::from_head(&head, &Settings::default(), Duration::ZERO).unwrap()
        };
        let of = |ip: &str| reader(Some(&visitor(ip)));
        assert_eq!(of("203.0.113.9"), Some("203.0.113.9/32".parse().unwrap()));
        assert_eq!(of("2001:db8::1"), Some("2001:db8::/64".parse().unwrap()));
        for ip in ["127.0.0.1", "10.1.2.3", "fd00::1"] {
            assert_eq!(of(ip), None, "{ip}");
        }
        let mut silent = visitor("203.0.113.9");
        silent.address.trusted = true;
        assert_eq!(reader(Some(&silent)), None);
        let suspect = Visitor { enforceable: false, ..visitor("203.0.113.9") };
        assert_eq!((reader(Some(&suspect)), reader(None)), (None, None));
    }
}
