//! The documents that declare rights: robots.txt with our statement in it, and those that the site does not have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;

use super::ask::Ask;
use super::site::Site;
use crate::page::appended::Appended;
use crate::page::plan::{Obeys, has_directive};
use crate::page::{PageBody, PageReport, Rewrite, Skip};
use crate::page::{headers, signature};
use crate::rights::documents::{TDMREP_PATH, rsl, tdmrep};
use crate::rights::fields::RSL_TYPE;
use crate::rights::robots::MAX_BYTES;
use crate::rights::{Policy, statement};

/// A crawler keeps robots.txt for a day at most (RFC 9309 §2.4).
const LONGEST_AGE: u64 = 86_400;
const USUAL: &str = "max-age=3600";
/// Of a copy that stands in for a site that is down.
const STAND_IN: &str = "max-age=60";
/// Hosts of which a copy is kept, at most [`MAX_BYTES`] each.
const MAX_KEPT: usize = 16;

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
        match path {
            statement::PATH => Some(Self::Robots),
            TDMREP_PATH => Some(Self::Tdmrep),
            // Only what is asked of the host in the address; others may have a file of that name for themselves.
            _ => {
                let (authority, rest) =
                    policy.settings().license.url.as_deref()?.strip_prefix("https://")?.split_once('/')?;
                let same = authority.eq_ignore_ascii_case(host) && path.strip_prefix('/') == Some(rest);
                same.then_some(Self::License)
            }
        }
    }

    /// Is there anything to say in it, or to remember of it?
    pub(super) fn matters(self, policy: &Policy) -> bool {
        self == Self::Robots || self.says(policy)
    }

    /// Is there anything to say in it?
    pub(super) fn says(self, policy: &Policy) -> bool {
        self.made(policy).is_some()
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

/// A request for a document is answered uncoded; where we say something in it, whole and afresh, too: what the client
/// keeps is ours, not the site's.
pub(super) fn prepare(headers: &mut HeaderMap, says: bool) {
    for name in
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE].into_iter().filter(|_| says)
    {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
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
    // For robots.txt any refusal is "no rules" (RFC 9309 §2.3.1.3), but "too many requests" is a fault.
    let absent = match document {
        Document::Robots => head.status.is_client_error() && head.status != StatusCode::TOO_MANY_REQUESTS,
        Document::Tdmrep | Document::License => matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE),
    };
    let head_only = ask.method == Method::HEAD;
    if absent && let Some(made) = document.made(policy) {
        return served(own(document, made.into(), USUAL, head_only), document);
    }
    if document != Document::Robots {
        return Response::from_parts(head, PageBody::inner(body));
    }
    let fault = head.status.is_server_error() || head.status == StatusCode::TOO_MANY_REQUESTS;
    if fault && let Some(kept) = site.robots.get(&ask.host, ask.arrived) {
        tracing::warn!(target: "deckle", status = head.status.as_u16(), "The site's robots.txt fails; the last good copy stands in.");
        return served(own(document, kept, STAND_IN, head_only), document);
    }
    let report = PageReport::new(Rewrite::Skipped, Some(Skip::Type));
    head.extensions.insert(report.clone());
    let coded = head.headers.contains_key(header::CONTENT_ENCODING);
    if head.status != StatusCode::OK || coded {
        return Response::from_parts(head, PageBody::inner(body));
    }
    let says = document.says(policy) && may_change(&head.headers, site.obeys());
    if says {
        change_fields(&mut head.headers);
    }
    if head_only {
        return Response::from_parts(head, PageBody::inner(body));
    }
    let (site, host, arrived) = (Arc::clone(site), ask.host.clone(), ask.arrived);
    let suffix = Box::new(move |own: &[u8]| {
        let merged = if says { statement::robots_txt(site.policy(), Some(own)) } else { None };
        let whole = Bytes::from(merged.unwrap_or_else(|| own.to_vec()));
        report.facts_mut().robots = Some(whole.clone());
        site.robots.keep(&host, arrived, &whole);
        whole.slice(own.len()..)
    });
    Response::from_parts(head, PageBody::appended(body, Appended::new(MAX_BYTES, suffix)))
}

fn change_fields(headers: &mut HeaderMap) {
    headers::text_changes(headers);
    if is_html(headers) {
        // Rules under a wrong type, or a page that says in words that there is nothing: in a text its lines are no rules.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Document::Robots.media_type()));
    }
    cap_age(headers);
}

/// Says in the report what left, if it is a robots.txt.
fn served<R>((mut response, text): (Response<PageBody<R>>, Bytes), document: Document) -> Response<PageBody<R>> {
    let report = PageReport::new(Rewrite::Skipped, Some(Skip::Type));
    report.facts_mut().robots = (document == Document::Robots).then_some(text);
    response.extensions_mut().insert(report);
    response
}

fn own<R>(document: Document, text: Bytes, age: &'static str, head_only: bool) -> (Response<PageBody<R>>, Bytes) {
    let length = text.len();
    let body = if head_only { Full::default() } else { Full::new(text.clone()) };
    let mut response = Response::new(PageBody::own(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(age));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    (response, text)
}

/// The last good robots.txt of each host: for a day it stands in for a site that fails, because to a crawler a fault there
/// means "fetch nothing" (RFC 9309 §2.3.1.4).
#[derive(Debug, Default)]
pub(super) struct KeptRobots(Mutex<BTreeMap<String, (u64, Bytes)>>);

impl KeptRobots {
    fn keep(&self, host: &str, now: u64, text: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT && !kept.contains_key(host) {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(host, _)| host.clone());
            oldest.and_then(|host| kept.remove(&host));
        }
        kept.insert(host.to_owned(), (now, text.clone()));
    }

    fn get(&self, host: &str, now: u64) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(host).filter(|(at, _)| now.saturating_sub(*at) < LONGEST_AGE).map(|(_, text)| text.clone())
    }
}

/// Coded, signed or not to be touched (RFC 9110 §7.7): then it stays as it is.
fn may_change(headers: &HeaderMap, obeys: Obeys) -> bool {
    let forbidden = obeys.no_transform && has_directive(headers, "no-transform");
    let signed = obeys.signatures && signature::covers_a_page(headers);
    !headers.contains_key(header::CONTENT_ENCODING) && !forbidden && !signed
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    media.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
}

/// Changes no directive but the two ages, where they are too long.
fn cap_age(headers: &mut HeaderMap) {
    let lines: Vec<&str> = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok()).collect();
    if lines.is_empty() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(USUAL));
        return;
    }
    let capped = |directive: &str| {
        let (name, value) = directive.split_once('=')?;
        let is_age = name.eq_ignore_ascii_case("max-age") || name.eq_ignore_ascii_case("s-maxage");
        let long = value.trim_matches('"').parse::<u64>().map_or(true, |age| age > LONGEST_AGE);
        (is_age && long).then(|| format!("{name}={LONGEST_AGE}"))
    };
    let joined = lines.join(",");
    let all: Vec<String> =
        joined.split(',').map(str::trim).map(|d| capped(d).unwrap_or_else(|| d.to_owned())).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
}
