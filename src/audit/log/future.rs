use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header, response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

use super::body::LogBody;
use super::layer::Shared;
use crate::action::{ActionBody, Decision};
use crate::audit::AuditRecord;
#[cfg(feature = "html")]
use crate::watermark::Carriers;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Bytes of a media type that are kept.
const MAX_TYPE: usize = 64;

#[cfg(feature = "html")]
type Report = crate::page::PageReport;
#[cfg(not(feature = "html"))]
type Report = ();

/// A record that is not finished. Dropping it writes it down as it is, incomplete.
pub(super) struct Open {
    record: Option<Box<AuditRecord>>,
    page: Option<Report>,
    shared: Arc<Shared>,
    start: Duration,
}

impl Open {
    pub(super) fn new(record: AuditRecord, shared: Arc<Shared>) -> Self {
        Self { record: Some(Box::new(record)), page: None, start: shared.clock.elapsed(), shared }
    }

    /// The id of the request.
    pub(super) fn request_id(&self) -> Uuid {
        self.record.as_ref().map_or_else(Uuid::nil, |record| record.request_id)
    }

    /// The span of the request; its late fields are recorded when they are known.
    pub(super) fn span(&self) -> Span {
        let Some(record) = &self.record else { return Span::none() };
        tracing::info_span!(
            target: "deckle", "deckle",
            http.request.method = %record.method,
            url.path = ?crate::audit::redact_path(&record.path),
            deckle.request.id = %record.request_id,
            deckle.visitor.category = record.visitor.as_ref().map(|v| v.agent.category.code()),
            deckle.score = record.assessment.as_ref().map(|a| a.score),
            deckle.action = Empty,
            http.response.status_code = Empty,
        )
    }

    fn head(&mut self, head: &response::Parts, span: &Span) {
        let now = self.shared.clock.elapsed();
        let Some(record) = &mut self.record else { return };
        record.status = Some(head.status.as_u16());
        record.upstream = Some(now.saturating_sub(self.start));
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        record.content_type = content_type.map(media_type);
        record.decision = head.extensions.get::<Decision>().cloned();
        self.page = head.extensions.get::<Report>().cloned();
        if !span.is_disabled() {
            let action = record.decision.as_ref().map(|decision| decision.action.code());
            tracing::record_all!(span, http.response.status_code = head.status.as_u16(), deckle.action = action);
        }
    }

    /// `Server-Timing` (W3C): milliseconds, and the id of the record.
    fn tell_timing(&self, head: &mut response::Parts) {
        let Some(record) = self.record.as_ref().filter(|_| self.shared.server_timing) else { return };
        let took = record.assessment.as_ref().map_or(Duration::ZERO, |a| a.took).as_secs_f64() * 1_000.0;
        let value = format!("deckle;dur={took:.3};desc=\"{}\"", record.request_id);
        head.headers.extend(HeaderValue::try_from(value).ok().map(|value| (SERVER_TIMING, value)));
    }

    pub(super) fn count(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.body_size += bytes as u64;
        }
    }

    pub(super) fn fail(&mut self, error: &'static str) {
        if let Some(record) = &mut self.record {
            record.error = Some(error);
        }
    }

    /// Hands the record over; only the first call does.
    pub(super) fn finish(&mut self, complete: bool) {
        let Some(mut record) = self.record.take() else { return };
        record.complete = complete;
        record.duration = self.shared.clock.elapsed().saturating_sub(self.start);
        #[cfg(feature = "html")]
        {
            record.page = self.page.as_ref().map(summary);
        }
        if record.error.is_none() && !complete && std::thread::panicking() {
            record.error = Some("inner_panic");
            record.status = record.status.or(Some(500));
        }
        self.shared.sink.record(record);
    }
}

/// Without its parameters, in lower case. A header value that is text is ASCII.
fn media_type(content_type: &str) -> String {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    name.get(..MAX_TYPE).unwrap_or(name).to_ascii_lowercase()
}

#[cfg(feature = "html")]
fn summary(report: &crate::page::PageReport) -> crate::audit::PageSummary {
    let facts = report.facts();
    let marked = facts.carriers != Carriers::default();
    let mark_skip = if marked { None } else { unmarked(&facts) };
    crate::audit::PageSummary {
        rewrite: facts.rewrite.code(),
        skip: facts.skip.map(crate::page::Skip::code),
        body_in: facts.body_in,
        body_out: facts.body_out,
        encoding: facts.coding_in.zip(facts.coding_out).map(|(a, b)| (a.code(), b.code())),
        mark_skip,
        mark: facts.mark.filter(|_| marked),
        mark_level: facts.mark_level,
        carriers: facts.carriers,
        plan: facts.plan,
        mark_off: facts.mark_off,
        mark_late: facts.mark_late,
        mark_seen: facts.mark_seen,
        error: facts.error,
        robots: facts.robots,
    }
}

/// Why a copy carries no mark.
#[cfg(feature = "html")]
fn unmarked(facts: &crate::page::PageFacts) -> Option<&'static str> {
    use crate::page::Rewrite;
    if facts.mark_skip.is_some() || facts.mark.is_none() {
        return facts.mark_skip;
    }
    match facts.rewrite {
        // There was no page: `deckle.rewrite.skip` says why.
        Rewrite::Skipped | Rewrite::Headers => None,
        Rewrite::Partial => Some("error"),
        _ if !facts.mark_off.is_empty() => Some("channels_off"),
        _ => Some("no_article"),
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.finish(false);
    }
}

pin_project! {
    /// Response future of [`Audit`](super::Audit).
    pub struct ResponseFuture<F> {
        #[pin]
        answer: Answer<F>,
        open: Option<Open>,
        span: Span,
    }
}

pin_project! {
    #[project = Projected]
    enum Answer<F> {
        Inner { #[pin] call: F },
        Own { response: Option<Response<Full<Bytes>>> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(call: F, open: Open, span: Span) -> Self {
        Self { answer: Answer::Inner { call }, open: Some(open), span }
    }

    /// The inner service is not asked.
    pub(super) fn refused(response: Response<Full<Bytes>>, mut open: Open, span: Span) -> Self {
        open.fail("audit_unwritable");
        Self { answer: Answer::Own { response: Some(response) }, open: Some(open), span }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<LogBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.answer.project() {
            Projected::Inner { call } => {
                let _in_span = this.span.enter();
                ready!(call.poll(cx)).map(|response| response.map(ActionBody::inner))
            }
            Projected::Own { response } => {
                let Some(response) = response.take() else { return Poll::Pending };
                Ok(response.map(ActionBody::own))
            }
        };
        let Some(mut open) = this.open.take() else { return Poll::Pending };
        match result {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                open.head(&head, this.span);
                open.tell_timing(&mut head);
                // Nothing will be asked of such a body.
                let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
                    || head.status.is_informational()
                    || open.record.as_ref().is_some_and(|r| r.method == "HEAD");
                Poll::Ready(Ok(Response::from_parts(head, LogBody::new(body, open, bodiless))))
            }
            Err(error) => {
                open.fail("inner_error");
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_media_type_its_name_is_kept() {
        for (sent, kept) in
            [("text/html", "text/html"), (" Text/HTML ; charset=utf-8", "text/html"), ("", ""), (";charset=utf-8", "")]
        {
            assert_eq!(media_type(sent), kept);
        }
        assert_eq!(media_type(&"X".repeat(300_000)), "x".repeat(MAX_TYPE));
    }
}
