use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::ask::Ask;
use super::document;
use super::recall::{Confirmed, Recall};
use super::site::Site;
use super::spare::Question;
use crate::action::CardMade;
use crate::page::body::Page;
use crate::page::card::Card;
use crate::page::encoding::{Coding, content_codings};
use crate::page::headers::is_html;
use crate::page::plan::{Decision, decide};
use crate::page::{PageBody, PageReport, Rewrite, Skip};
use crate::watermark::Mark;

pin_project! {
    /// Response future of [`Protect`](super::Protect).
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<F> {
        Own { response: Option<Response<Full<Bytes>>> },
        Page {
            #[pin]
            inner: F,
            ask: Option<(Arc<Ask>, Arc<Site>)>,
            question: Option<Question>,
            recall: Option<Recall>,
        },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn own(response: Response<Full<Bytes>>) -> Self {
        Self { kind: Kind::Own { response: Some(response) } }
    }

    pub(super) fn page(
        inner: F,
        ask: Ask,
        site: Arc<Site>,
        question: Option<Question>,
        recall: Option<Recall>,
    ) -> Self {
        Self { kind: Kind::Page { inner, ask: Some((Arc::new(ask), site)), question, recall } }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<PageBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            Projected::Own { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(PageBody::own))),
                None => Poll::Pending,
            },
            Projected::Page { inner, ask, question, recall } => {
                let response = ready!(inner.poll(cx))?;
                let response = match ask.take() {
                    Some((ask, site)) => tell_seen(&ask, protect(&ask, &site, recall.take().as_ref(), response)),
                    None => response.map(PageBody::inner),
                };
                if let Some(question) = question.take() {
                    question.learn(&response);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

fn protect<R: Body<Data = Bytes>>(
    ask: &Arc<Ask>,
    site: &Arc<Site>,
    recall: Option<&Recall>,
    response: Response<R>,
) -> Response<PageBody<R>> {
    if let Some(confirmed) = Confirmed::by(&response, ask, recall, site) {
        return site.confirmed(ask, &confirmed, response);
    }
    if let Some(kept) = document::stand_in(ask, site, response.status()) {
        return kept;
    }
    let left_alone = response.extensions().get::<PageReport>().is_some();
    if let Some(document) = ask.document.filter(|_| !left_alone) {
        return document::answer(document, ask, site, response);
    }
    if is_part(ask, &response) {
        return refuse_part(&response);
    }
    if ask.card && is_html(response.headers()) && !response.headers().contains_key(header::CONTENT_ENCODING) {
        return card(ask, site, response);
    }
    let (mut head, body) = response.into_parts();
    let memory = site.memory(ask, recall, &head);
    let mut wish = site.wish(ask, &mut head);
    site.declare(ask, &mut wish, head.status, &mut head.headers);
    let report = |rewrite, skip| PageReport::new(rewrite, Some(skip));
    let decision = if !ask.enabled {
        Decision::Untouched(Skip::Route)
    } else if left_alone {
        Decision::Untouched(Skip::Already)
    } else {
        decide(&ask.method, &head, site.obeys(ask))
    };
    match decision {
        Decision::Untouched(Skip::Type) if site.refuses(&head) => {
            let mut response = Response::new(PageBody::own(Full::from("This form of the page is not given away.\n")));
            *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
            let fields = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
                (header::VARY, "Accept"),
            ];
            response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
            response.extensions_mut().insert(report(Rewrite::Skipped, Skip::Type));
            response
        }
        Decision::Untouched(skip) => {
            // A deckle further in has already said what it did.
            if skip != Skip::Already {
                head.extensions.insert(report(Rewrite::Skipped, skip));
            }
            let body = site.passed(ask, (head.status, &head.headers), body);
            Response::from_parts(head, body)
        }
        Decision::HeadersOnly(skip) => {
            let not_modified = head.status == StatusCode::NOT_MODIFIED;
            let finding = site.finding(ask);
            let coding = site.outgoing(ask, &content_codings(&head.headers).unwrap_or_default(), finding).coding;
            if !not_modified || ask.may_be_page() {
                site.amend_policies(&mut wish, &mut head.headers, not_modified);
                site.edit_headers(ask, &wish, finding, &mut head.headers, coding, not_modified);
            }
            head.extensions.insert(report(Rewrite::Headers, skip));
            Response::from_parts(head, PageBody::without_length(body))
        }
        Decision::Rewrite { codings, sniff, xhtml } => {
            wish.xhtml = xhtml;
            site.amend_policies(&mut wish, &mut head.headers, false);
            let fills = site.fills(ask, &head.headers);
            let (finding, parts) = (site.finding(ask), (head.status, &head.headers));
            let outgoing = site.outgoing(ask, &codings, finding);
            let coding = outgoing.coding;
            let memory = memory.filter(|_| coding == Coding::Gzip && !sniff);
            let memory = memory.and_then(|memory| site.wished(memory, recall, &wish, finding));
            let (pipeline, mark, no_mark) =
                site.pipeline(ask, &wish, finding, parts, (&codings, outgoing), (fills, memory));
            let report = PageReport::new(Rewrite::Done, None);
            {
                let mut facts = report.facts_mut();
                facts.coding_in = Some(codings.last().copied().unwrap_or(Coding::Identity));
                facts.coding_out = Some(coding);
                facts.mark = mark.map(Mark::text);
                facts.mark_level = site.level().code();
                facts.mark_skip = no_mark;
            }
            site.edit_headers(ask, &wish, finding, &mut head.headers, coding, false);
            head.extensions.insert(report.clone());
            Response::from_parts(head, PageBody::page(body, Page::new(pipeline.sniffing(sniff), report)))
        }
    }
}

/// The mark that a request brought along is told of with whatever is answered.
fn tell_seen<B>(ask: &Ask, response: Response<B>) -> Response<B> {
    if let (Some(mark), Some(report)) = (ask.seen, response.extensions().get::<PageReport>()) {
        report.facts_mut().mark_seen = Some(mark.text());
    }
    response
}

/// The head of the page alone: no validator, no cookie, nothing to keep.
fn card<R: Body<Data = Bytes>>(ask: &Ask, site: &Site, response: Response<R>) -> Response<PageBody<R>> {
    let (mut head, body) = response.into_parts();
    let kept = [header::CONTENT_TYPE, header::LOCATION, header::VARY, header::LINK, header::DATE];
    let fields: Vec<_> =
        kept.into_iter().filter_map(|name| Some((name.clone(), head.headers.get(&name)?.clone()))).collect();
    head.headers.clear();
    head.headers.extend(fields);
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.extensions.insert(PageReport::new(Rewrite::Headers, Some(Skip::Card)));
    head.extensions.insert(CardMade);
    let notice = site.notice.in_language(None, ask.year).head(false);
    Response::from_parts(head, PageBody::card(body, Card::new(notice.into())))
}

/// A part of a page, under an address that looks like a file's.
fn is_part<R>(ask: &Ask, response: &Response<R>) -> bool {
    ask.enabled && ask.ranged && response.status() == StatusCode::PARTIAL_CONTENT && is_html(response.headers())
}

/// It would be a part without notice and marks. The client may have the whole: RFC 9110 §15.5.17.
fn refuse_part<R>(response: &Response<R>) -> Response<PageBody<R>> {
    let length = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()?.rsplit('/').next());
    let range = HeaderValue::from_str(&format!("bytes */{}", length.unwrap_or("*"))).ok();
    let mut response = Response::new(PageBody::own(Full::default()));
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    response.headers_mut().extend(range.map(|range| (header::CONTENT_RANGE, range)));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(PageReport::new(Rewrite::Skipped, Some(Skip::Status)));
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
