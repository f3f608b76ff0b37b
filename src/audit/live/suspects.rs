//! Suspects, and what they took, in tables of a fixed size.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

use serde::Serialize;

use crate::action::Action;
use crate::audit::privacy::render_address;
use crate::audit::{AuditRecord, Settings, is_hidden};
use crate::suspicion::{Fired, Signal};

/// Suspects, and articles, that are remembered.
const MOST: usize = 512;
/// Seconds after which a suspect that does not come back is forgotten.
const DAY: u64 = 86_400;
/// Characters of a name and of a path.
const MAX_TEXT: usize = 160;

/// Somebody who may be a scraper, and why.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Suspect {
    /// The address as the log shows it, or a number that means nothing outside of this process.
    pub visitor: String,
    /// Name in the table of agents.
    pub agent: Option<String>,
    /// Category.
    pub category: &'static str,
    /// State of verification.
    pub verification: &'static str,
    /// As sent, cut, without hidden characters.
    pub user_agent: String,
    /// The highest score.
    pub score: u8,
    /// The signals behind it, the weightiest first.
    pub reasons: Vec<Reason>,
    /// The rule that decided last.
    pub rule: String,
    /// Requests since it became a suspect.
    pub requests: u64,
    /// Articles that it got, copies of the same one included.
    pub articles: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// The last request, in seconds since 1970.
    pub last: u64,
    /// The strongest action that was carried out.
    pub action: Option<Action>,
    /// The strongest one that would have been.
    pub would: Option<Action>,
}

/// One signal and its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The signal.
    pub signal: Signal,
    /// Its points.
    pub points: u8,
}

/// An article that suspects took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Article {
    /// Its path as the log shows it, or its id where `audit.article` finds one; cut.
    pub path: String,
    /// Copies.
    pub copies: u64,
    /// The last one, in seconds since 1970.
    pub last: u64,
}

/// The suspects, by address and `User-Agent`.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    known: HashMap<u64, Suspect>,
    hasher: RandomState,
}

impl Suspects {
    /// Counts a request; `true`: it is one of a suspect.
    pub(super) fn note(&mut self, record: &AuditRecord, suspect: bool, article: bool, settings: &Settings) -> bool {
        let client = record.visitor.as_ref().and_then(|v| v.address.client());
        let key = self.hasher.hash_one((client, record.user_agent_parts()));
        let now = record.time.as_secs();
        if let Some(known) = self.known.get_mut(&key).filter(|known| known.is_recent(now)) {
            known.note(record, article, settings);
            return true;
        }
        if suspect {
            self.make_room(now);
            let mut known = Suspect::new(record, settings, key);
            known.note(record, article, settings);
            self.known.insert(key, known);
        }
        suspect
    }

    /// Whoever is forgotten anyway goes first, then whoever weighs least.
    fn make_room(&mut self, now: u64) {
        if self.known.len() < MOST {
            return;
        }
        let order = |known: &Suspect| (known.is_recent(now), known.weight(), known.last);
        if let Some(key) = self.known.iter().min_by_key(|(_, known)| order(known)).map(|(key, _)| *key) {
            self.known.remove(&key);
        }
    }

    pub(super) fn known(&self, now: u64) -> usize {
        self.known.values().filter(|known| known.is_recent(now)).count()
    }

    pub(super) fn top(&self, most: usize, now: u64) -> Vec<Suspect> {
        let mut top: Vec<&Suspect> = self.known.values().filter(|known| known.is_recent(now)).collect();
        top.sort_unstable_by(|a, b| (b.weight(), b.last, &a.visitor).cmp(&(a.weight(), a.last, &b.visitor)));
        top.into_iter().take(most).cloned().collect()
    }
}

impl Suspect {
    fn new(record: &AuditRecord, settings: &Settings, key: u64) -> Self {
        let agent = record.user_agent.as_deref().unwrap_or_default();
        let nameless = || format!("visitor {:08x}", key as u32);
        Self {
            visitor: shown_address(record, settings).unwrap_or_else(nameless),
            agent: record.visitor.as_ref().and_then(|v| v.agent.name.as_deref()).map(str::to_owned),
            category: super::category(record).code(),
            verification: "none",
            user_agent: clean(&String::from_utf8_lossy(agent)),
            score: 0,
            reasons: Vec::new(),
            rule: String::new(),
            requests: 0,
            articles: 0,
            bytes: 0,
            last: 0,
            action: None,
            would: None,
        }
    }

    fn note(&mut self, record: &AuditRecord, article: bool, settings: &Settings) {
        self.requests += 1;
        self.articles += u64::from(article);
        self.bytes += record.body_size;
        self.last = self.last.max(record.time.as_secs());
        if let Some(visitor) = &record.visitor {
            self.verification = visitor.verification.code();
        }
        if let Some(assessment) = record.assessment.as_ref().filter(|a| a.score >= self.score) {
            self.score = assessment.score;
            self.reasons = weightiest_first(&assessment.signals);
        }
        let Some(decision) = &record.decision else { return };
        if Some(decision.action) > self.action {
            self.action = Some(decision.action);
            // Who is refused is named in full, in the log, too.
            self.visitor = shown_address(record, settings).unwrap_or_else(|| std::mem::take(&mut self.visitor));
        }
        self.would = self.would.max(decision.would);
        self.rule.clear();
        // A `String` takes all that is written to it.
        let _ = write!(self.rule, "{}", decision.rule);
    }

    fn weight(&self) -> u64 {
        u64::from(self.score.max(1)) * self.requests
    }

    fn is_recent(&self, now: u64) -> bool {
        now.saturating_sub(self.last) < DAY
    }
}

/// Articles that suspects took, by path.
#[derive(Debug, Default)]
pub(super) struct Articles(HashMap<String, (u64, u64)>);

impl Articles {
    /// A copy left. Of an article that was pushed out and comes back, counting starts anew.
    pub(super) fn note(&mut self, record: &AuditRecord, settings: &Settings) {
        let path = clean(&record.article(settings));
        if self.0.len() >= MOST && !self.0.contains_key(&path) {
            let least = self.0.iter().min_by_key(|(_, counts)| **counts).map(|(path, _)| path.clone());
            if let Some(least) = least {
                self.0.remove(&least);
            }
        }
        let (copies, last) = self.0.entry(path).or_default();
        *copies += 1;
        *last = (*last).max(record.time.as_secs());
    }

    pub(super) fn top(&self, most: usize) -> Vec<Article> {
        let mut top: Vec<(&String, &(u64, u64))> = self.0.iter().collect();
        top.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
        let article = |(path, (copies, last)): (&String, &(u64, u64))| Article {
            path: path.clone(),
            copies: *copies,
            last: *last,
        };
        top.into_iter().take(most).map(article).collect()
    }
}

fn shown_address(record: &AuditRecord, settings: &Settings) -> Option<String> {
    let ip = record.visitor.as_ref().and_then(|v| v.address.ip)?;
    render_address(ip, settings, record.escalates(settings.address_escalate))
}

fn weightiest_first(signals: &[Fired]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        signals.iter().map(|fired| Reason { signal: fired.signal, points: fired.points }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.points));
    reasons
}

/// What a stranger wrote: cut, and without what hides.
fn clean(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if is_hidden(c) { '\u{FFFD}' } else { c }).collect()
}
