//! The documents that declare rights: robots.txt with our statement in it, and those that the site does not have.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;

use super::site::{Ask, Site};
use crate::page::PageBody;
use crate::page::appended::Appended;
use crate::rights::documents::{TDMREP_PATH, rsl, tdmrep};
use crate::rights::fields::RSL_TYPE;
use crate::rights::robots::MAX_BYTES;
use crate::rights::{Policy, statement};

/// A crawler keeps robots.txt for a day at most (RFC 9309 §2.4).
const LONGEST_AGE: u64 = 86_400;
const USUAL: &str = "max-age=3600";

/// A document at a well-known place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Robots,
    Tdmrep,
    License,
}

impl Document {
    /// The one that a request asks for.
    pub(super) fn of(policy: &Policy, host: &str, path: &str) -> Option<Self> {
        let license = policy.settings().license.url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        match path {
            statement::PATH => Some(Self::Robots),
            TDMREP_PATH => Some(Self::Tdmrep),
            // Only what is asked of the host in the address; others may have a file of that name for themselves.
            _ => license
                .filter(|url| {
                    url.path() == path && url.authority().is_some_and(|a| a.as_str().eq_ignore_ascii_case(host))
                })
                .map(|_| Self::License),
        }
    }

    /// Ours, where the site has none. `None`: there is nothing to say.
    fn made(self, policy: &Policy) -> Option<Vec<u8>> {
        match self {
            Self::Robots => statement::robots_txt(policy, None),
            Self::Tdmrep => tdmrep(policy).map(String::into_bytes),
            Self::License => rsl(policy).map(String::into_bytes),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Robots => "text/plain; charset=utf-8",
            Self::Tdmrep => "application/json",
            Self::License => RSL_TYPE,
        }
    }
}

/// A request for a document is answered whole, uncoded and afresh: what the client keeps is ours, not the site's.
pub(super) fn prepare(headers: &mut HeaderMap) {
    for name in
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE, header::ACCEPT_ENCODING]
    {
        headers.remove(name);
    }
}

/// The answer, with what we have to say.
pub(super) fn answer<R: Body<Data = Bytes>>(
    document: Document,
    ask: &Ask,
    site: &Arc<Site>,
    response: Response<R>,
) -> Response<PageBody<R>> {
    let (mut head, body) = response.into_parts();
    let policy = site.policy();
    let is_html = head.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"text/html"));
    // A page that says in words that there is nothing here.
    let absent =
        matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE) || (head.status == StatusCode::OK && is_html);
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    if absent
        && reads
        && let Some(made) = document.made(policy)
    {
        return own(document, made, ask.method == Method::HEAD);
    }
    let plain = !head.headers.contains_key(header::CONTENT_ENCODING);
    if document != Document::Robots || head.status != StatusCode::OK || is_html || !plain || !reads {
        return Response::from_parts(head, PageBody::inner(body));
    }
    // Whether there is something to say does not depend on what the site says.
    if statement::robots_txt(policy, Some(b"")).is_none() {
        return Response::from_parts(head, PageBody::inner(body));
    }
    for name in [header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    cap_age(&mut head.headers);
    if ask.method == Method::HEAD {
        return Response::from_parts(head, PageBody::inner(body));
    }
    let site = Arc::clone(site);
    let suffix = Box::new(move |own: &[u8]| {
        let merged = statement::robots_txt(site.policy(), Some(own)).unwrap_or_default();
        merged.get(own.len()..).unwrap_or_default().to_vec()
    });
    Response::from_parts(head, PageBody::appended(body, Appended::new(MAX_BYTES, suffix)))
}

fn own<R>(document: Document, text: Vec<u8>, head_only: bool) -> Response<PageBody<R>> {
    let length = text.len();
    let body = if head_only { Full::default() } else { Full::new(Bytes::from(text)) };
    let mut response = Response::new(PageBody::own(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(USUAL));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn cap_age(headers: &mut HeaderMap) {
    let age = headers.get(header::CACHE_CONTROL).and_then(|v| v.to_str().ok()).map(|line| {
        let age = line.split(',').find_map(|d| d.trim().strip_prefix("max-age=")?.parse::<u64>().ok());
        age.unwrap_or_default()
    });
    if age.is_none_or(|age| age > LONGEST_AGE) {
        let value = if age.is_none() { USUAL } else { "max-age=86400" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    }
}
