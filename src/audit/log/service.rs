use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, Version, header};
use http_body::Body;
use tower_service::Service;

use super::body::LogBody;
use super::future::{Open, ResponseFuture};
use super::layer::Shared;
use crate::audit::AuditRecord;
use crate::audit::cut::{MAX_METHOD, Overlong, cut, trace_parent};
use crate::audit::record::METHODS;
use crate::suspicion::Assessment;
use crate::visitor::{Visitor, request_id};

/// Characters of a host that are kept.
const MAX_HOST: usize = 255;
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Middleware of [`AuditLayer`](super::AuditLayer).
#[derive(Clone)]
pub struct Audit<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Audit<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    fn open<B>(&self, request: &Request<B>) -> Open {
        let (uri, headers) = (request.uri(), request.headers());
        let mut visitor = request.extensions().get::<Visitor>().cloned();
        let mut overlong = Overlong::default();
        let Shared { settings, clock, .. } = &*self.shared;
        let long = overlong.path(uri.path(), settings);
        if let (Some(visitor), Some(long)) = (&mut visitor, &long) {
            // Its normal form may be as long, and is not written.
            visitor.path = Arc::clone(long);
        }
        let time = visitor.as_ref().map_or_else(|| clock.unix(), |v| v.arrived);
        let record = AuditRecord {
            time,
            request_id: visitor.as_ref().map_or_else(|| request_id(time), |v| v.request_id),
            method: method(request.method()),
            scheme: if visitor.as_ref().is_some_and(|v| v.secure) { "https" } else { "http" },
            host: host(uri, headers, visitor.as_ref().map(|v| &v.host)),
            path: long.unwrap_or_else(|| path(uri.path(), visitor.as_ref().map(|v| &v.path))),
            query: uri.query().map(|query| overlong.query(query, settings)),
            status: None,
            body_size: 0,
            content_type: None,
            protocol: protocol(request.version()),
            user_agent: headers.get(header::USER_AGENT).map(|sent| overlong.user_agent(sent.as_bytes())),
            referer: headers.get(header::REFERER).map(|sent| overlong.referer(sent.as_bytes())),
            trace_parent: headers.get(TRACE_PARENT).and_then(|sent| trace_parent(sent.to_str().ok()?)),
            assessment: request.extensions().get::<Assessment>().cloned(),
            visitor,
            decision: None,
            page: None,
            duration: Duration::ZERO,
            upstream: None,
            complete: false,
            error: None,
            overlong: overlong.if_any(),
        };
        Open::new(record, Arc::clone(&self.shared))
    }
}

fn method(method: &Method) -> Cow<'static, str> {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.map_or_else(|| Cow::Owned(cut(method.as_str(), MAX_METHOD).to_owned()), Cow::Borrowed)
}

/// `known`: its name; most requests name no port.
fn host(uri: &http::Uri, headers: &HeaderMap, known: Option<&Arc<str>>) -> Arc<str> {
    let header = || headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let text = uri.authority().map_or_else(header, |a| a.as_str());
    let whole = text.len() <= MAX_HOST && text.bytes().all(|b| b.is_ascii_graphic());
    match known.filter(|known| whole && known.eq_ignore_ascii_case(text)) {
        Some(known) => Arc::clone(known),
        None => {
            let shown = text.chars().filter(char::is_ascii_graphic).take(MAX_HOST);
            shown.map(|c| c.to_ascii_lowercase()).collect::<String>().into()
        }
    }
}

/// `known`: its normal form; most paths are sent in that.
fn path(sent: &str, known: Option<&Arc<str>>) -> Arc<str> {
    known.filter(|known| ***known == *sent).map_or_else(|| sent.into(), Arc::clone)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

impl<S, B, R> Service<Request<B>> for Audit<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<LogBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let open = self.open(&request);
        let span = open.span();
        if let Some(answers) = &self.shared.refusing
            && self.shared.sink.is_losing()
        {
            let answer = answers.unavailable(open.request_id(), request.headers());
            return ResponseFuture::refused(answer, open, span);
        }
        let inner = span.in_scope(|| self.inner.call(request));
        ResponseFuture::new(inner, open, span)
    }
}

impl<S: fmt::Debug> fmt::Debug for Audit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_visitor_has_already_is_shared_and_nothing_else() {
        let uri = |text: &'static str| http::Uri::from_static(text);
        let name: Arc<str> = "news.example".into();
        for (uri, header, expect) in [
            (uri("/a"), "news.example", "news.example"),
            (uri("/a"), "News.Example", "news.example"),
            (uri("https://news.example/a"), "", "news.example"),
            (uri("/a"), "News.Example:8080", "news.example:8080"),
            (uri("/a"), "news.example.", "news.example."),
            (uri("/a"), "news .example", "news.example"),
            (uri("/a"), "", ""),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, header.parse().unwrap())]);
            let got = host(&uri, &headers, Some(&name));
            assert_eq!((&*got, &got), (expect, &host(&uri, &headers, None)), "{header}");
            assert_eq!(Arc::ptr_eq(&got, &name), header.eq_ignore_ascii_case(&name) || uri.host().is_some());
        }
        let normal: Arc<str> = "/a".into();
        assert!(Arc::ptr_eq(&path("/a", Some(&normal)), &normal));
        assert_eq!((&*path("/a/", Some(&normal)), &*path("/a", None)), ("/a/", "/a"));
    }

    #[test]
    fn usual_methods_are_not_copied() {
        assert!(matches!(method(&Method::GET), Cow::Borrowed("GET")));
        assert_eq!(method(&Method::from_bytes(b"PROPFIND").unwrap()), "PROPFIND");
        assert_eq!(method(&Method::from_bytes(&vec![b'X'; 300_000]).unwrap()), "X".repeat(MAX_METHOD));
    }
}
