//! Requests that a log tells of, judged by the code that judges live ones.
//!
//! A log holds no request headers but two. What it does not hold is unknown and not absent, so the signals that would
//! follow from an absence weigh nothing here: the score is a lower bound.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode, Version};

use super::assess::{AnswerHead, Question};
use super::headers::Head;
use super::judge::Judge;
use super::page::PathView;
use super::state::{Keys, PathKind};
use super::{Assessment, Group, ScoreSettings, Settings, Signal, SoftQuotas, State, SuspicionError};
use crate::visitor::Visitor;

/// Can no access log supply the evidence?
pub(crate) fn is_unlogged(signal: Signal) -> bool {
    // Entity tags, our own style sheet, cookies, what robots.txt said and the paths of traps stand in no access log;
    // makes of clients are told by their headers.
    let unlogged = matches!(
        signal,
        Signal::Cohort
            | Signal::DeepDirect
            | Signal::HoneyLink
            | Signal::NoBeacon
            | Signal::NoConditional
            | Signal::PassToken
            | Signal::RobotsCanary
            | Signal::RobotsDisallowed
            | Signal::TokenNetworks
            | Signal::TrapRepeat
    );
    unlogged || signal.group() == Group::Headers
}

/// Judges what a log tells of.
#[derive(Debug)]
pub(crate) struct Replay {
    judge: Judge,
    unknown: HeaderMap,
    conditional: HeaderMap,
}

/// A request as a log has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedRequest<'l> {
    pub(crate) method: &'l Method,
    pub(crate) path: &'l str,
    pub(crate) query: Option<&'l str>,
    /// What it was answered.
    pub(crate) status: Option<StatusCode>,
    /// By the media type, or what the path looks like.
    pub(crate) kind: Option<PathKind>,
}

impl Replay {
    /// Judges against the tables of `state`, whose clock is moved to the time of each line.
    ///
    /// # Errors
    /// [`SuspicionError`] for settings that do not hold.
    pub(crate) fn new(state: Arc<State>, settings: &Settings, quotas: SoftQuotas) -> Result<Self, SuspicionError> {
        let mut signals = settings.score.signals.clone();
        signals.extend(Signal::ALL.iter().filter(|signal| is_unlogged(**signal)).map(|signal| (*signal, 0)));
        let score = ScoreSettings { signals, ..settings.score.clone() };
        let judge = Judge::new(state, &Settings { score, ..settings.clone() }, quotas)?;
        let conditional = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("*"))]);
        Ok(Self { judge, unknown: HeaderMap::new(), conditional })
    }

    /// Only a conditional request is answered 304 (RFC 9110 §15.4.5).
    fn headers(&self, told: LoggedRequest<'_>) -> &HeaderMap {
        if told.status == Some(StatusCode::NOT_MODIFIED) { &self.conditional } else { &self.unknown }
    }

    /// Where a visitor is remembered, whatever it asks for.
    pub(crate) fn keys(&self, visitor: &Visitor) -> Option<Keys> {
        self.judge.state.keys(visitor)
    }

    /// What a path in its normal form says, whoever asks for it.
    pub(crate) fn path(&self, normal: &str) -> PathView {
        self.judge.path_view(normal)
    }

    /// Judges a request. `keys` are those of its visitor, and `view` is that of its path.
    pub(crate) fn assess(
        &self,
        visitor: &Visitor,
        told: LoggedRequest<'_>,
        (keys, view): (Option<Keys>, PathView),
    ) -> Assessment {
        let LoggedRequest { method, path, query, .. } = told;
        let head = Head { method, version: Version::HTTP_11, headers: self.headers(told), path, query };
        self.judge.assess_known(visitor, head, (keys, view), self.judge.state.clock().elapsed())
    }

    /// What the answer teaches, if it went out.
    pub(crate) fn learn(&self, visitor: &Visitor, assessment: &Assessment, told: LoggedRequest<'_>) {
        let Some(status) = told.status.filter(|_| !matches!(*told.method, Method::HEAD | Method::OPTIONS)) else {
            return;
        };
        let head = AnswerHead { status, kind: told.kind, has_etag: false };
        Question::of(visitor, assessment, self.headers(told)).answered(&self.judge, &visitor.path, head);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::suspicion::Quota;
    use crate::visitor::{self, Agents, Facts, LoggedHead, Verification, VisitorKey};

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";

    fn quotas() -> SoftQuotas {
        SoftQuotas {
            page_soft: Quota::new(3_000, 30),
            page_hour: Quota::new(12_000, 150),
            net_page: Quota::new(200, 600),
            wide_page: Quota::new(100, 1_200),
            prefetch: Quota::new(6_000, 10),
            widths: [1, 4, 16],
        }
    }

    #[test]
    fn what_a_log_does_not_hold_is_held_against_nobody() {
        let clock = ManualClock::at(1_790_000_000);
        clock.advance(Duration::from_secs(3_600));
        let state = Arc::new(State::new(clock.clone()).keyed([7; 16]));
        let replay = Replay::new(state, &Settings::default(), quotas()).unwrap();
        let facts = Facts::new(&visitor::Settings::default()).unwrap();
        let method = Method::GET;
        let mut last = Assessment::unknown();
        for page in 0..9 {
            clock.advance(Duration::from_secs(20 + page * 7));
            let path = format!("/news/story-of-the-day-{}", page * 31 % 17);
            let head = LoggedHead {
                host: "".into(),
                agent: Agents::builtin().classify(Some(CHROME)),
                verification: Verification::None,
                ip: Some([198, 51, 100, 7].into()),
                key: VisitorKey(b"one".as_slice().into()),
                arrived: clock.unix(),
            };
            let visitor = facts.visitor_of_log(head, &facts.logged_path(&method, &path));
            let (status, kind) = (Some(StatusCode::OK), Some(PathKind::Html));
            let told = LoggedRequest { method: &method, path: &path, query: None, status, kind };
            last = replay.assess(&visitor, told, (replay.keys(&visitor), replay.path(&visitor.path)));
            assert!(last.counts_as_page && visitor.navigation);
            replay.learn(&visitor, &last, told);
        }
        let signals: Vec<Signal> = last.signals.iter().map(|fired| fired.signal).collect();
        assert_eq!(signals, [Signal::NoAssets], "what stands in the log is judged, and nothing else");
    }
}
