//! The proxy's own errors: problem details (RFC 9457) for programs, a short page for people. They say nothing of the
//! upstream.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::SiteBody;
use crate::page::{PageReport, Rewrite, Skip};

/// The methods that are passed on.
pub(super) const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

pub(super) fn problem(status: StatusCode, detail: &'static str, request: &HeaderMap) -> Response<SiteBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let accept = request.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accept.contains("json") && !accept.contains("html") {
        let json =
            serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        ("application/problem+json", json.to_string())
    } else {
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title></head><body><main><h1>{title}</h1><p>{detail}</p></main></body></html>\n"
        );
        ("text/html; charset=utf-8", page)
    };
    let mut response = Response::new(SiteBody::full(Bytes::from(text)));
    *response.status_mut() = status;
    // Whatever the site allows: a notice on an error page would be a claim on nothing, and this is no robots.txt.
    response.extensions_mut().insert(PageReport::new(Rewrite::Skipped, Some(Skip::Route)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'"),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    }
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // The rest is not waited for (RFC 9110 §15.5.9, §15.5.14). HTTP/2 leaves the field out.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    }
    response
}
