//! Did a robot do what robots.txt told it? Judged by the versions that it may have acted on, not by the one of today.
//!
//! A copy may be up to a day old (RFC 9309 §2.4), and a fleet needs a minute to hand a fresh one round. Only what both
//! readings of a path forbid is held against anyone ([`Robots::plainly_forbids`]). What is done with a text after it was
//! fetched cannot be seen in a log.
//!
//! ```
//! use std::time::Duration;
//! use deckle::rights::compliance::{Answer, Family, History, Served, Verdict};
//! let day = Duration::from_secs(86_400);
//! let mut history = History::default();
//! history.serve(Duration::ZERO, Served::of(200, b"User-agent: *\nDisallow: /a\n"));
//! let bot = Family::claiming("FooBot");
//! assert_eq!(history.judge(&bot, "/a", 2 * day), Verdict::NeverAsked);
//! history.fetch(&bot, 2 * day, Answer::Text);
//! assert_eq!(history.judge(&bot, "/a", 2 * day + Duration::from_secs(600)), Verdict::ReadThenIgnored);
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::robots::Robots;

/// How old a copy may be (RFC 9309 §2.4).
const COPY: Duration = Duration::from_secs(86_400);
/// How long a fleet needs to hand a fresh copy round.
const GRACE: Duration = Duration::from_secs(60);
/// Fetches that are remembered of one family.
const MAX_FETCHES: usize = 4_096;
/// Tokens that robots.txt knows and no request carries.
const CONTROL_TOKENS: [&str; 2] = ["Google-Extended", "Applebot-Extended"];

/// What a request was, seen from robots.txt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Allowed by the version of the moment.
    Obeyed,
    /// Forbidden now, and allowed by a version that it may have acted on, or it was told that there is none. No violation.
    Stale,
    /// Forbidden by every version that it may have acted on, though it had fetched robots.txt within a day.
    ReadThenIgnored,
    /// Forbidden by every version of the last day, none of which it had fetched.
    NeverAsked,
    /// Nobody that declares itself, no history, a version whose text nobody knows, or a path that parsers read in two ways.
    Unknown,
    /// An agent that acts for one person, for whom its operator says that robots.txt does not hold.
    UserTriggered,
    /// A token that no request carries.
    NotObservable,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Obeyed,
        Self::Stale,
        Self::ReadThenIgnored,
        Self::NeverAsked,
        Self::Unknown,
        Self::UserTriggered,
        Self::NotObservable,
    ];

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Obeyed => "obeyed",
            Self::Stale => "stale",
            Self::ReadThenIgnored => "read_then_ignored",
            Self::NeverAsked => "never_asked",
            Self::Unknown => "unknown",
            Self::UserTriggered => "user_triggered",
            Self::NotObservable => "not_observable",
        }
    }

    /// It counts against the agent.
    pub fn is_violation(self) -> bool {
        matches!(self, Self::ReadThenIgnored | Self::NeverAsked)
    }
}

/// What the site said from some moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Served {
    /// Rules.
    Rules(Robots),
    /// No file: everything may be fetched (RFC 9309 §2.3.1.3).
    Absent,
    /// A server error: nothing may be fetched by whoever got it (RFC 9309 §2.3.1.4).
    Unavailable,
    /// Something, and nobody knows any more what it said.
    Unknown,
}

impl Served {
    /// By the status of the answer. A redirect that leads nowhere is no file.
    pub fn of(status: u16, text: &[u8]) -> Self {
        match status {
            200..=299 => Self::Rules(Robots::parse(text)),
            500.. => Self::Unavailable,
            _ => Self::Absent,
        }
    }

    fn allows(&self, token: &str, path: &str) -> bool {
        match self {
            Self::Rules(robots) => robots.allows(token, path),
            Self::Absent => true,
            Self::Unavailable | Self::Unknown => false,
        }
    }

    fn plainly_forbids(&self, token: &str, path: &str) -> bool {
        match self {
            Self::Rules(robots) => robots.plainly_forbids(token, path),
            Self::Absent | Self::Unknown => false,
            Self::Unavailable => true,
        }
    }
}

/// What a robot got when it fetched robots.txt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The file.
    Text,
    /// 304: the file that it has. Only for a tag that the site gave out.
    Unchanged,
    /// There is none.
    Absent,
    /// A server error.
    Unavailable,
}

impl Answer {
    /// By the status; `None`: it got no answer yet, as with a redirect.
    pub fn of(status: u16) -> Option<Self> {
        match status {
            200..=299 => Some(Self::Text),
            304 => Some(Self::Unchanged),
            400..=499 => Some(Self::Absent),
            500.. => Some(Self::Unavailable),
            _ => None,
        }
    }
}

/// Robots that share their copies of robots.txt: those of a verified operator, else all that carry a token. An impostor
/// is a family of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    key: String,
    token: String,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Standing {
    Declared,
    Undeclared,
    ForPeople,
}

impl Family {
    /// An agent whose operator was verified. Siblings of one operator are one family; each is judged by its own token.
    pub fn verified(operator: &str, token: &str) -> Self {
        Self::new(format!("verified {}", operator.to_ascii_lowercase()), token)
    }

    /// An agent that says so, and nobody knows better.
    pub fn claiming(token: &str) -> Self {
        Self::new(format!("claiming {}", token.to_ascii_lowercase()), token)
    }

    /// An agent of which the check said no.
    pub fn fake(token: &str) -> Self {
        Self::new(format!("fake {}", token.to_ascii_lowercase()), token)
    }

    /// Whoever names no robot.
    pub fn undeclared() -> Self {
        Self { standing: Standing::Undeclared, ..Self::new(String::new(), "") }
    }

    /// It acts for one person at a time, says its operator.
    #[must_use]
    pub fn acting_for_people(self) -> Self {
        Self { standing: Standing::ForPeople, ..self }
    }

    fn new(key: String, token: &str) -> Self {
        Self { key, token: token.to_owned(), standing: Standing::Declared }
    }

    /// The product token.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// What one host said when, and who has heard it.
#[derive(Debug, Clone, Default)]
pub struct History {
    served: BTreeMap<Duration, Served>,
    fetches: BTreeMap<String, BTreeMap<Duration, Answer>>,
}

impl History {
    /// From this moment on, since 1970, the site said this.
    pub fn serve(&mut self, from: Duration, served: Served) {
        self.served.insert(from, served);
    }

    /// A robot fetched robots.txt.
    pub fn fetch(&mut self, family: &Family, at: Duration, answer: Answer) {
        let fetches = self.fetches.entry(family.key.clone()).or_default();
        fetches.insert(at, answer);
        // What is older than a copy may be is asked for no more.
        while fetches.len() > MAX_FETCHES {
            fetches.pop_first();
        }
    }

    /// `Crawl-delay` of a robot in the version of this moment, in seconds; no verdict follows from it.
    pub fn crawl_delay(&self, family: &Family, at: Duration) -> Option<u32> {
        match self.current(family, at, at)? {
            Served::Rules(robots) => robots.crawl_delay(&family.token),
            _ => None,
        }
    }

    /// Was a robot allowed to fetch this path (with its query) at this moment?
    pub fn judge(&self, family: &Family, path: &str, at: Duration) -> Verdict {
        if CONTROL_TOKENS.iter().any(|token| token.eq_ignore_ascii_case(&family.token)) {
            return Verdict::NotObservable;
        }
        match family.standing {
            Standing::ForPeople => return Verdict::UserTriggered,
            _ if path.split('?').next() == Some("/robots.txt") => return Verdict::Obeyed,
            Standing::Undeclared => return Verdict::Unknown,
            Standing::Declared => {}
        }
        let Some(current) = self.current(family, at, at) else { return Verdict::Unknown };
        if *current == Served::Unknown {
            return Verdict::Unknown;
        }
        if current.allows(&family.token, path) {
            return Verdict::Obeyed;
        }
        let since = self.copy_of(family, at).unwrap_or(at.saturating_sub(COPY));
        let versions = self.versions(family, since, at);
        // A refusal counts as "no file" for whoever got it, and for nobody else (RFC 9309 §2.3.1.3).
        let has_none = self.fetches_of(family, since, at).any(|(_, answer)| answer == Answer::Absent);
        if has_none || versions.iter().any(|version| version.allows(&family.token, path)) {
            return Verdict::Stale;
        }
        let is_known = self.current(family, since, at).is_some();
        if !is_known || !versions.iter().all(|version| version.plainly_forbids(&family.token, path)) {
            return Verdict::Unknown;
        }
        self.violation(family, at)
    }

    /// It is one; which of the two?
    fn violation(&self, family: &Family, at: Duration) -> Verdict {
        let oldest = at.saturating_sub(COPY);
        let newest = at.saturating_sub(GRACE);
        let mut fetches = self.fetches_of(family, oldest, at).map(|(fetched, _)| fetched).peekable();
        match fetches.peek() {
            None => Verdict::NeverAsked,
            Some(first) if *first <= newest => Verdict::ReadThenIgnored,
            // It has only just asked: its fleet may not know yet.
            Some(_) => Verdict::Unknown,
        }
    }

    fn fetches_of(
        &self,
        family: &Family,
        from: Duration,
        to: Duration,
    ) -> impl DoubleEndedIterator<Item = (Duration, Answer)> {
        let fetches = self.fetches.get(&family.key).map(|fetches| fetches.range(from..=to));
        fetches.into_iter().flatten().map(|(at, answer)| (*at, *answer))
    }

    /// When the newest copy was fetched that the whole family may go by.
    fn copy_of(&self, family: &Family, at: Duration) -> Option<Duration> {
        let (oldest, newest) = (at.saturating_sub(COPY), at.checked_sub(GRACE)?);
        let mut copies = self.fetches_of(family, oldest, newest).rev();
        copies.find(|(_, answer)| matches!(answer, Answer::Text | Answer::Unchanged)).map(|(fetched, _)| fetched)
    }

    /// What was in force at `moment`, for a family as it was at `now`: a server error counts only for those who got it.
    fn current(&self, family: &Family, moment: Duration, now: Duration) -> Option<&Served> {
        let mut versions = self.served.range(..=moment).rev();
        versions.find(|(from, served)| self.counts(family, **from, served, now)).map(|(_, served)| served)
    }

    fn counts(&self, family: &Family, from: Duration, served: &Served, now: Duration) -> bool {
        if *served != Served::Unavailable {
            return true;
        }
        let next = self.served.range(from..).nth(1).map(|(next, _)| *next);
        let end = next.map_or(now, |next| next.min(now));
        end >= from && self.fetches_of(family, from, end).any(|(_, answer)| answer == Answer::Unavailable)
    }

    /// What was in force at any moment between two.
    fn versions(&self, family: &Family, since: Duration, at: Duration) -> Vec<&Served> {
        let later = self.served.range(since..=at).filter(|(from, _)| **from > since);
        let later = later.filter(|(from, served)| self.counts(family, **from, served, at));
        self.current(family, since, at).into_iter().chain(later.map(|(_, served)| served)).collect()
    }
}

#[cfg(test)]
mod tests;
