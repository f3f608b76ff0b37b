//! The body of a response behind [`ProtectLayer`](super::ProtectLayer).
//!
//! Source → decoder → scan and splice → encoder → client, each step on what is there. A frame's bytes leave on the poll
//! that brought them, but for what the scan holds back. Rewriting itself cannot fail; a corrupt coding or a broken
//! upstream ends the body with an error, never cleanly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::appended::Appended;
use super::card::Card;
use super::headers::strip_digests;
use super::output::Output;
use super::packed::PackedBody;
use super::patience::Patience;
use super::pipeline::{KNOWN_STEP, Pipeline};
use super::report::{PageReport, Rewrite};
use super::tee::Tee;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// The inner body's own error.
    #[error("the inner body failed")]
    Inner(#[source] E),
    /// The upstream's content coding is cut off or corrupt.
    #[error("the content coding of the inner body is broken")]
    Coding(#[source] io::Error),
}

pin_project! {
    /// The inner body, a page on its way, or an answer of deckle's own.
    #[derive(Debug)]
    pub struct PageBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<B> {
        Inner { #[pin] body: B, length_counts: bool },
        Page { #[pin] body: B, page: Box<Page> },
        Own { #[pin] body: Full<Bytes> },
        Packed { body: PackedBody },
        Appended { #[pin] body: B, appended: Appended },
        Teed { #[pin] body: B, tee: Tee },
        Card { #[pin] body: B, card: Card },
    }
}

impl<B> PageBody<B> {
    /// As it came.
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body, length_counts: true } }
    }

    /// As it came, without a length: that of an empty body is not the one that a `HEAD` asks about, and axum would say so.
    pub(crate) fn without_length(body: B) -> Self {
        Self { kind: Kind::Inner { body, length_counts: false } }
    }

    /// Rewritten.
    pub(crate) fn page(body: B, page: Page) -> Self {
        Self { kind: Kind::Page { body, page: Box::new(page) } }
    }

    /// Made here.
    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self { kind: Kind::Own { body } }
    }

    /// A packed page that need not be compared.
    pub(crate) fn packed(body: PackedBody) -> Self {
        Self { kind: Kind::Packed { body } }
    }
}

impl<B> PageBody<B> {
    /// The head alone.
    pub(crate) fn card(body: B, card: Card) -> Self {
        Self { kind: Kind::Card { body, card } }
    }

    /// As it came, while a copy is kept.
    pub(crate) fn teed(body: B, tee: Tee) -> Self {
        Self { kind: Kind::Teed { body, tee } }
    }

    /// As it came, with a text behind it.
    pub(crate) fn appended(body: B, appended: Appended) -> Self {
        Self { kind: Kind::Appended { body, appended } }
    }
}

/// A page on its way.
#[derive(Debug)]
pub(crate) struct Page {
    pipeline: Pipeline,
    report: PageReport,
    /// Of the last frame, what was too much for one poll.
    rest: Bytes,
    /// What may leave.
    out: Output,
    /// Bytes of the site that were worked on since something left.
    together: usize,
    trailers: Option<HeaderMap>,
    /// Runs while something is waited for.
    patience: Option<Patience>,
    ended: bool,
    done: bool,
}

impl Page {
    pub(crate) fn new(pipeline: Pipeline, report: PageReport) -> Self {
        Self {
            pipeline,
            report,
            rest: Bytes::new(),
            out: Output::default(),
            together: 0,
            trailers: None,
            patience: None,
            ended: false,
            done: false,
        }
    }

    fn is_done(&self) -> bool {
        self.done && self.out.is_empty() && self.trailers.is_none()
    }

    /// An exact hint would become a Content-Length that cuts the page. What is packed is told, so that nobody has its next piece
    /// made to learn whether there is one; and of a page that is over, how much of it is in memory at most.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.out.unmade());
        if self.done && self.trailers.is_none() {
            hint.set_upper(self.out.waiting() as u64 + self.out.unmade());
        }
        hint
    }

    fn fail(&mut self, error: &'static str) {
        self.done = true;
        let mut facts = self.report.facts_mut();
        facts.rewrite = Rewrite::Aborted;
        facts.error = Some(error);
    }

    fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<B::Error>>>>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            if !self.gathers()
                && let Some(frame) = self.out.take()
            {
                self.together = 0;
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            if self.done {
                return Poll::Ready(self.trailers.take().map(|t| Ok(Frame::trailers(t))));
            }
            self.take_released();
            let step = if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(self.step()));
                self.together += piece.len();
                self.pipeline.push(piece, &mut self.out)
            } else if self.ended {
                self.done = true;
                self.pipeline.finish(&mut self.out)
            } else {
                match body.as_mut().poll_frame(cx) {
                    Poll::Pending => {
                        while self.has_waited(cx) {
                            self.pipeline.wait_no_more(&mut self.out).map_err(|e| self.coding_error(e))?;
                        }
                        if self.take_released() {
                            continue;
                        }
                        self.pipeline.flush(&mut self.out).map_err(|e| self.coding_error(e))?;
                        self.note();
                        self.together = 0;
                        match self.out.take() {
                            Some(frame) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                            None => return Poll::Pending,
                        }
                    }
                    Poll::Ready(None) => self.ended = true,
                    Poll::Ready(Some(Err(error))) => {
                        self.fail("upstream_truncated");
                        return Poll::Ready(Some(Err(BodyError::Inner(error))));
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        // Who need not ask once more can let the end leave with the last bytes.
                        Ok(bytes) => (self.rest, self.ended) = (bytes, body.is_end_stream()),
                        Err(other) => {
                            if let Ok(mut trailers) = other.into_trailers() {
                                strip_digests(&mut trailers);
                                self.trailers = Some(trailers).filter(|t| !t.is_empty());
                            }
                            self.ended = true;
                        }
                    },
                }
                Ok(())
            };
            step.map_err(|e| self.coding_error(e))?;
            self.note();
        }
    }

    /// A page that is known is cheap: what is here of it, or of its end, comes first, so that it leaves in one write.
    fn gathers(&self) -> bool {
        let more = !self.rest.is_empty() || (self.ended && !self.done);
        more && self.pipeline.compares() && self.together < KNOWN_STEP
    }

    /// What comes together is no more than one step.
    fn step(&self) -> usize {
        let left = if self.gathers() { KNOWN_STEP - self.together } else { usize::MAX };
        self.pipeline.step().min(left)
    }

    /// What was held and is not any more is worked on before anything new.
    fn take_released(&mut self) -> bool {
        if self.rest.is_empty() {
            self.rest = self.pipeline.released().unwrap_or_default();
        }
        !self.rest.is_empty()
    }

    /// Has what is held waited too long?
    fn has_waited(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.pipeline.waits_at() else { return false };
        if self.patience.as_ref().is_none_or(|patience| !patience.is_for(at)) {
            self.patience = Patience::new(at);
        }
        self.patience.as_mut().is_none_or(|patience| patience.poll(cx).is_ready())
    }

    fn coding_error<E>(&mut self, error: io::Error) -> BodyError<E> {
        self.fail(match error.kind() {
            io::ErrorKind::UnexpectedEof => "coding_truncated",
            io::ErrorKind::QuotaExceeded => "bomb",
            _ => "coding_broken",
        });
        BodyError::Coding(error)
    }

    fn note(&self) {
        self.pipeline.report(&mut self.report.facts_mut());
    }
}

impl<B: Body<Data = Bytes>> Body for PageBody<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().kind.project() {
            Projected::Inner { body, .. } => body.poll_frame(cx).map_err(BodyError::Inner),
            Projected::Own { body } => body.poll_frame(cx).map_err(|never| match never {}),
            Projected::Packed { body } => Poll::Ready(body.next().map(|piece| Ok(Frame::data(piece)))),
            Projected::Page { body, page } => page.poll(body, cx),
            Projected::Appended { body, appended } => appended.poll(body, cx).map_err(BodyError::Inner),
            Projected::Teed { body, tee } => tee.poll(body, cx).map_err(BodyError::Inner),
            Projected::Card { body, card } => card.poll(body, cx).map_err(BodyError::Inner),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } | Kind::Teed { body, .. } => body.is_end_stream(),
            Kind::Own { body } => body.is_end_stream(),
            Kind::Packed { body } => body.remaining() == 0,
            // Only when the last flush is out: the inner body ends earlier.
            Kind::Page { page, .. } => page.is_done(),
            Kind::Appended { appended, .. } => appended.is_done(),
            Kind::Card { card, .. } => card.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body, length_counts: true } | Kind::Teed { body, .. } => body.size_hint(),
            Kind::Own { body } => body.size_hint(),
            Kind::Packed { body } => SizeHint::with_exact(body.remaining()),
            Kind::Page { page, .. } => page.size_hint(),
            // These, too, are told no length.
            Kind::Appended { .. } | Kind::Card { .. } | Kind::Inner { .. } => SizeHint::default(),
        }
    }
}
