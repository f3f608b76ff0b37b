//! What came of the requests of one profile under one seed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::expect::Metric;
use crate::headers::Kind;
use crate::rig::Answer;
use crate::site::MARK;

/// From here on a request is disturbed.
pub(crate) const SLOW: u8 = 2;
/// In the order of their strength; what the score does not lead to stands beside its equals.
const ACTIONS: [(&str, u8); 9] = [
    ("allow", 0),
    ("tag", 1),
    ("slow", SLOW),
    ("limit", 3),
    ("card", 3),
    ("challenge", 4),
    ("license", 4),
    ("decoy", 5),
    ("block", 6),
];

/// How strong an action is; `None`: there is none of that name.
pub(crate) fn strength(action: &str) -> Option<u8> {
    ACTIONS.iter().find(|(name, _)| *name == action).map(|(_, strength)| *strength)
}

/// The figures.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) sessions: u64,
    pub(crate) requests: u64,
    pub(crate) pages: u64,
    pub(crate) served: u64,
    pub(crate) disturbed: u64,
    pub(crate) articles: u64,
    /// Articles that had come when the first refusal or challenge did.
    pub(crate) first: Option<u64>,
    pub(crate) refused: u64,
    pub(crate) blocked: u64,
    pub(crate) slowed: u64,
    pub(crate) challenges: u64,
    pub(crate) challenge_run: u64,
    pub(crate) cards: u64,
    pub(crate) cookies: u64,
    pub(crate) other_status: u64,
    pub(crate) cohort: u64,
    pub(crate) memory: u64,
    pub(crate) worst: &'static str,
    /// Why requests were disturbed, as the log has it.
    pub(crate) reasons: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts an answer.
    pub(crate) fn count(&mut self, kind: Kind, answer: &Answer) {
        self.requests += 1;
        let action = strength(answer.action).unwrap_or_default();
        if self.worst.is_empty() || action > strength(self.worst).unwrap_or_default() {
            self.worst = answer.action;
        }
        if answer.is_refusal() || action >= SLOW {
            self.disturbed += 1;
            *self.reasons.entry(answer.reason.clone()).or_default() += 1;
        }
        if answer.is_refusal() {
            self.refused += 1;
            self.first.get_or_insert(self.articles);
        }
        self.blocked += u64::from(answer.status == 403);
        self.slowed += u64::from(!answer.delay.is_zero());
        self.challenges += u64::from(answer.action == "challenge" && answer.is_refusal());
        self.cohort += u64::from(answer.cohort);
        self.other_status += u64::from(!matches!(answer.status, 200 | 304 | 429));
        if kind == Kind::Page {
            self.count_page(answer);
        }
    }

    fn count_page(&mut self, answer: &Answer) {
        self.pages += 1;
        self.served += u64::from(matches!(answer.status, 200 | 304));
        let text = answer.text();
        self.articles += text.matches(MARK).count() as u64;
        self.cards += u64::from(answer.is_html() && answer.status == 200 && text.contains("og:image"));
    }

    pub(crate) fn value(&self, metric: Metric) -> u64 {
        match metric {
            Metric::Disturbed => self.disturbed,
            Metric::First => self.first.unwrap_or(self.articles),
            Metric::Articles => self.articles,
            Metric::Served => self.served,
            Metric::Refused => self.refused,
            Metric::Blocked => self.blocked,
            Metric::Slowed => self.slowed,
            Metric::Challenges => self.challenges,
            Metric::ChallengeRun => self.challenge_run,
            Metric::Cards => self.cards,
            Metric::Cookies => self.cookies,
            Metric::OtherStatus => self.other_status,
            Metric::Cohort => self.cohort,
            Metric::Memory => self.memory,
        }
    }
}
