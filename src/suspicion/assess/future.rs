use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Response, StatusCode, header};
use pin_project_lite::pin_project;

use crate::suspicion::headers::comes_from_elsewhere;
use crate::suspicion::judge::Judge;
use crate::suspicion::lesson::Answer;
use crate::suspicion::probe::is_probe;
use crate::suspicion::state::PathKind;
use crate::suspicion::{Assessment, Keys};
use crate::visitor::{RouteClass, Visitor};

/// What the answer teaches.
#[derive(Debug)]
pub(super) struct Learn {
    judge: Arc<Judge>,
    path: Arc<str>,
    question: Question,
}

/// A request, as far as it matters for what its answer teaches.
#[derive(Debug, Clone, Copy)]
pub(in crate::suspicion) struct Question {
    /// Of its path.
    hash: Option<u64>,
    keys: Option<Keys>,
    /// It names a file, or is one of ours.
    asset: bool,
    beacon: bool,
    /// It was asked for whole.
    whole: bool,
    own: bool,
    page: bool,
    /// It was let off.
    free: bool,
    /// The page of another site had it fetched.
    elsewhere: bool,
    revisit: bool,
}

pin_project! {
    /// Response future of [`Assess`](super::Assess). In passing it learns whether the path answers HTML.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        learn: Option<Learn>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, learn: Option<Learn>) -> Self {
        Self { inner, learn }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let (Some(learn), Ok(response)) = (this.learn.take(), &result) {
            // A fault of ours loses a lesson and nothing else.
            let _ = catch_unwind(AssertUnwindSafe(|| learn.from(Head::of(response))));
        }
        Poll::Ready(result)
    }
}

/// What of an answer teaches anything.
#[derive(Debug, Clone, Copy)]
pub(in crate::suspicion) struct Head {
    pub(in crate::suspicion) status: StatusCode,
    /// By its media type.
    pub(in crate::suspicion) kind: Option<PathKind>,
    pub(in crate::suspicion) has_etag: bool,
}

impl Head {
    fn of<R>(response: &Response<R>) -> Self {
        let headers = response.headers();
        Self {
            status: response.status(),
            kind: headers.get(header::CONTENT_TYPE).map(|kind| PathKind::of_content_type(kind.as_bytes())),
            has_etag: headers.contains_key(header::ETAG),
        }
    }
}

impl Learn {
    pub(super) fn new(judge: &Arc<Judge>, visitor: &Visitor, of: &Assessment, headers: &HeaderMap) -> Self {
        let question = Question::of(visitor, of, headers);
        Self { judge: Arc::clone(judge), path: Arc::clone(&visitor.path), question }
    }

    fn from(&self, head: Head) {
        self.question.answered(&self.judge, &self.path, head);
    }
}

impl Question {
    pub(in crate::suspicion) fn of(visitor: &Visitor, of: &Assessment, headers: &HeaderMap) -> Self {
        let own = visitor.route == RouteClass::Own;
        Self {
            hash: of.path,
            keys: of.keys,
            asset: visitor.asset_path || own,
            beacon: visitor.beacon,
            whole: !headers.contains_key(header::IF_NONE_MATCH) && !headers.contains_key(header::IF_MODIFIED_SINCE),
            own,
            page: of.counts_as_page,
            free: of.prefetched || visitor.route == RouteClass::Wellknown,
            elsewhere: comes_from_elsewhere(headers),
            revisit: of.revisit,
        }
    }

    /// Learns from the answer. `path` is the one that was asked for, in its normal form.
    pub(in crate::suspicion) fn answered(&self, judge: &Judge, path: &str, head: Head) {
        let Head { status, kind, .. } = head;
        let html = kind == Some(PathKind::Html);
        let Some(hash) = self.hash else { return };
        if let Some(kind) = kind.filter(|_| status == StatusCode::OK && !self.own) {
            judge.state.learn_path(hash, kind);
        }
        let Some(keys) = &self.keys else { return };
        // Only a file that went out is an asset: a name that looks like one proves nothing.
        let went_out = matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED);
        if self.asset && went_out && !html {
            let script = self.own && path.ends_with(".js");
            judge.note_asset(keys, script && self.whole && status == StatusCode::OK, self.beacon);
        }
        if !self.page && !self.free && html && status == StatusCode::OK && !self.own {
            judge.note_late_page(keys, hash);
        }
        let missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let answer = Answer {
            not_found: self.page && missing,
            not_modified: !self.whole && status == StatusCode::NOT_MODIFIED,
            unconditional_revisit: self.revisit && self.whole && head.has_etag,
            probe: !self.elsewhere && (missing || status == StatusCode::FORBIDDEN) && is_probe(path),
        };
        if answer != Answer::default() {
            judge.note_answer(keys, answer);
        }
    }
}
