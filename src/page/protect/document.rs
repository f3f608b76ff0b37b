//! The documents that declare rights: robots.txt with our statement in it, and those that the site does not have.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;

use super::ask::Ask;
use super::site::Site;
use crate::page::appended::Appended;
use crate::page::headers::is_html;
use crate::page::plan::{Obeys, has_directive};
use crate::page::{PageBody, PageReport, Rewrite, Skip};
use crate::page::{headers, signature};
use crate::rights::documents::{AI_TXT_PATH, TDMREP_PATH, ai_txt, rsl, tdm_policy, tdmrep};
use crate::rights::fields::RSL_TYPE;
use crate::rights::robots::MAX_BYTES;
use crate::rights::{Policy, statement};

/// A crawler keeps robots.txt for a day at most (RFC 9309 §2.4).
const LONGEST_AGE: u64 = 86_400;
const USUAL: &str = "max-age=3600";
/// Of a copy that stands in for a site that is down.
const STAND_IN: &str = "max-age=60";

/// A document at a well-known place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Robots,
    Tdmrep,
    AiTxt,
    TdmPolicy,
    License,
}

impl Document {
    /// The one that a request asks for.
    pub(super) fn of(policy: &Policy, host: &str, path: &str) -> Option<Self> {
        match path {
            statement::PATH => Some(Self::Robots),
            TDMREP_PATH => Some(Self::Tdmrep),
            AI_TXT_PATH => Some(Self::AiTxt),
            // Only what is asked of the host in the address; others may have a file of that name for themselves.
            _ => {
                let settings = policy.settings();
                let named = [(&settings.license.url, Self::License), (&settings.tdm_policy, Self::TdmPolicy)];
                named.into_iter().find(|(url, _)| is_at(url.as_deref(), host, path)).map(|(_, document)| document)
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
            Self::AiTxt => ai_txt(policy).map(String::into_bytes),
            Self::TdmPolicy => tdm_policy(policy).map(String::into_bytes),
            Self::License => rsl(policy).map(String::into_bytes),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Robots | Self::AiTxt => "text/plain; charset=utf-8",
            Self::Tdmrep => "application/json",
            Self::TdmPolicy => "application/ld+json",
            Self::License => RSL_TYPE,
        }
    }
}

/// Is a path of a host this https address?
fn is_at(url: Option<&str>, host: &str, path: &str) -> bool {
    let parts = url.and_then(|url| url.strip_prefix("https://")?.split_once('/'));
    parts.is_some_and(|(authority, rest)| authority.eq_ignore_ascii_case(host) && path.strip_prefix('/') == Some(rest))
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
    // For robots.txt any refusal is "no rules" (RFC 9309 §2.3.1.3), but "too many requests" is a fault.
    let absent = match document {
        Document::Robots => response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS,
        Document::Tdmrep | Document::AiTxt | Document::TdmPolicy | Document::License => {
            matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE)
        }
    };
    match if absent { document.made(site.policy()) } else { None } {
        Some(made) => {
            let report = report();
            if document == Document::Robots {
                report.facts_mut().robots = Some(site.robots.served(&ask.host, ask.arrived, &made, true));
            }
            own(document, made.into(), USUAL, ask.method == Method::HEAD, report)
        }
        None if document == Document::Robots => robots(ask, site, response, absent),
        None => response.map(PageBody::inner),
    }
}

/// The site's own robots.txt, with our statement behind it; it is remembered.
fn robots<R: Body<Data = Bytes>>(
    ask: &Ask,
    site: &Arc<Site>,
    response: Response<R>,
    absent: bool,
) -> Response<PageBody<R>> {
    let (mut head, body) = response.into_parts();
    let report = report();
    head.extensions.insert(report.clone());
    if absent && !ask.personal {
        // What the site has taken back must not come back with its next fault.
        site.robots.forget(&ask.host);
    }
    if head.status != StatusCode::OK || head.headers.contains_key(header::CONTENT_ENCODING) {
        if head.status != StatusCode::NOT_MODIFIED && !ask.personal {
            site.robots.blur(&ask.host);
        }
        return Response::from_parts(head, PageBody::inner(body));
    }
    let page = is_html(&head.headers);
    let says = Document::Robots.says(site.policy()) && may_change(&head.headers, site.obeys(ask));
    // One for all is what was asked for by nobody in particular.
    let for_all = !page && !ask.personal && !has_directive(&head.headers, "private");
    if says {
        change_fields(&mut head.headers);
    }
    if ask.method == Method::HEAD {
        return Response::from_parts(head, PageBody::inner(body));
    }
    let (site, host, arrived) = (Arc::clone(site), Arc::clone(&ask.host), ask.arrived);
    let suffix = Box::new(move |own: &[u8]| {
        let merged = if says { statement::robots_txt(site.policy(), Some(own)) } else { None };
        let whole = merged.as_deref().unwrap_or(own);
        if !page {
            report.facts_mut().robots = Some(site.robots.served(&host, arrived, whole, for_all));
        }
        Bytes::copy_from_slice(whole.get(own.len()..).unwrap_or_default())
    });
    Response::from_parts(head, PageBody::appended(body, Appended::new(MAX_BYTES, suffix)))
}

/// The last good robots.txt, where the site cannot say what it holds now.
pub(super) fn stand_in<R>(ask: &Ask, site: &Site, status: StatusCode) -> Option<Response<PageBody<R>>> {
    let fault = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let asked = ask.document == Some(Document::Robots) && fault;
    let kept = if asked { site.robots.get(&ask.host, ask.arrived) } else { None }?;
    tracing::warn!(target: "deckle", status = status.as_u16(), "The site's robots.txt fails; the last good copy stands in.");
    let report = report();
    report.facts_mut().robots = Some(kept.clone());
    Some(own(Document::Robots, kept.text, STAND_IN, ask.method == Method::HEAD, report))
}

fn report() -> PageReport {
    PageReport::new(Rewrite::Skipped, Some(Skip::Type))
}

fn change_fields(headers: &mut HeaderMap) {
    headers::text_changes(headers);
    if is_html(headers) {
        // Rules under a wrong type, or a page that says in words that there is nothing: in a text its lines are no rules.
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Document::Robots.media_type()));
    }
    cap_age(headers);
}

fn own<R>(
    document: Document,
    text: Bytes,
    age: &'static str,
    head_only: bool,
    report: PageReport,
) -> Response<PageBody<R>> {
    let length = text.len();
    let body = if head_only { Full::default() } else { Full::new(text) };
    let mut response = Response::new(PageBody::own(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(age));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response.extensions_mut().insert(report);
    response
}

/// Coded, signed or not to be touched (RFC 9110 §7.7): then it stays as it is.
fn may_change(headers: &HeaderMap, obeys: Obeys) -> bool {
    let forbidden = obeys.no_transform && has_directive(headers, "no-transform");
    let signed = obeys.signatures && signature::covers_a_page(headers);
    !headers.contains_key(header::CONTENT_ENCODING) && !forbidden && !signed
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
