//! [`Condition`]: what makes a review fail (`--fail-if 'articles_by_one>500/1h'`), and the words that it shares with
//! `--where`: operators, literals, and the scanner that reads them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::unit::Span;

/// A name this close to a known one is taken for a slip.
const NEAR: usize = 3;

/// Why a condition was refused; the condition, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// No name, operator and number.
    #[error("`{0}` is no condition, such as `fake_bots>0`, `automated_share>=40%` or `articles_by_one>500/1h`")]
    Malformed(String),
    /// A name that no figure has.
    #[error("`{0}`: {1}")]
    Unknown(String, String),
    /// A number that the figure cannot have.
    #[error("`{0}`: {1}")]
    Limit(String, &'static str),
    /// A window that does not hold.
    #[error("`{0}`: {1}")]
    Window(String, &'static str),
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fact {
    /// Visitors that declare a robot and are another.
    FakeBots,
    /// Requests that robots.txt forbade.
    Violations,
    /// Suspected scrapers.
    Suspects,
    /// The most articles that one visitor took.
    ArticlesByOne,
    /// The most pages that one visitor took.
    PagesByOne,
    /// The most requests of one visitor.
    RequestsByOne,
    /// Records that deckle had to drop.
    Dropped,
    /// Holes in the numbers of the log's lines.
    Holes,
    /// Share of requests that are automated.
    AutomatedShare,
    /// Share of requests that found nothing.
    NotFoundShare,
    /// Lines that could not be read.
    BadLines,
}

impl Fact {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::FakeBots,
        Self::Violations,
        Self::Suspects,
        Self::ArticlesByOne,
        Self::PagesByOne,
        Self::RequestsByOne,
        Self::Dropped,
        Self::Holes,
        Self::AutomatedShare,
        Self::NotFoundShare,
        Self::BadLines,
    ];

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::FakeBots => "fake_bots",
            Self::Violations => "violations",
            Self::Suspects => "suspects",
            Self::ArticlesByOne => "articles_by_one",
            Self::PagesByOne => "pages_by_one",
            Self::RequestsByOne => "requests_by_one",
            Self::Dropped => "dropped",
            Self::Holes => "holes",
            Self::AutomatedShare => "automated_share",
            Self::NotFoundShare => "not_found_share",
            Self::BadLines => "bad_lines",
        }
    }

    fn is_share(self) -> bool {
        matches!(self, Self::AutomatedShare | Self::NotFoundShare)
    }

    fn is_by_one(self) -> bool {
        matches!(self, Self::ArticlesByOne | Self::PagesByOne | Self::RequestsByOne)
    }
}

/// The most of something that one visitor did within any span of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// What is counted.
    pub fact: Fact,
    /// Length of the span.
    pub length: Duration,
}

/// The figures that conditions are held against.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// See [`Fact::FakeBots`].
    pub fake_bots: u64,
    /// See [`Fact::Violations`].
    pub violations: u64,
    /// See [`Fact::Suspects`].
    pub suspects: u64,
    /// See [`Fact::ArticlesByOne`].
    pub articles_by_one: u64,
    /// See [`Fact::PagesByOne`].
    pub pages_by_one: u64,
    /// See [`Fact::RequestsByOne`].
    pub requests_by_one: u64,
    /// See [`Fact::Dropped`].
    pub dropped: u64,
    /// See [`Fact::Holes`].
    pub holes: u64,
    /// See [`Fact::AutomatedShare`]; 0 to 1.
    pub automated_share: f64,
    /// See [`Fact::NotFoundShare`]; 0 to 1.
    pub not_found_share: f64,
    /// See [`Fact::BadLines`].
    pub bad_lines: u64,
    /// The windows that [`Condition::windows`] asks for.
    pub windowed: BTreeMap<Window, u64>,
}

impl Facts {
    fn value(&self, fact: Fact) -> f64 {
        let count = match fact {
            Fact::AutomatedShare => return self.automated_share,
            Fact::NotFoundShare => return self.not_found_share,
            Fact::FakeBots => self.fake_bots,
            Fact::Violations => self.violations,
            Fact::Suspects => self.suspects,
            Fact::ArticlesByOne => self.articles_by_one,
            Fact::PagesByOne => self.pages_by_one,
            Fact::RequestsByOne => self.requests_by_one,
            Fact::Dropped => self.dropped,
            Fact::Holes => self.holes,
            Fact::BadLines => self.bad_lines,
        };
        count as f64
    }
}

/// One condition, such as `fake_bots>0`; printed as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    fact: Fact,
    operator: Operator,
    limit: f64,
    window: Option<Window>,
}

impl std::str::FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        Self::parse(text)
    }
}

impl Condition {
    /// Reads `NAME OPERATOR NUMBER[%][/WINDOW]`.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let mut scanner = Scanner::new(&text);
        let malformed = || ConditionError::Malformed(text.clone());
        let name = scanner.take(|c| c.is_ascii_alphanumeric() || c == '_');
        let operator = scanner.operator().filter(|operator| *operator != Operator::NotEqual).ok_or_else(malformed)?;
        let fact = Fact::ALL.into_iter().find(|fact| fact.code() == name).ok_or_else(|| unknown(&text, name))?;
        let Some(Literal::Number(number)) = scanner.literal() else { return Err(malformed()) };
        let limit = limit(fact, number, scanner.eat("%"));
        let limit = limit.map_err(|message| ConditionError::Limit(text.clone(), message))?;
        let window = if scanner.eat("/") { Some(scanner.take(|c| c.is_ascii_alphanumeric())) } else { None };
        let window = window.map(|length| window_of(fact, length)).transpose();
        let window = window.map_err(|message| ConditionError::Window(text.clone(), message))?;
        if !scanner.is_at_end() {
            return Err(malformed());
        }
        Ok(Self { text, fact, operator, limit, window })
    }

    /// Whether the review fails.
    pub fn met(&self, facts: &Facts) -> bool {
        self.operator.holds(self.value(facts).and_then(|value| value.partial_cmp(&self.limit)))
    }

    /// The figure that the condition is held against; none if its window was not counted.
    pub fn value(&self, facts: &Facts) -> Option<f64> {
        match self.window {
            Some(window) => facts.windowed.get(&window).map(|count| *count as f64),
            None => Some(facts.value(self.fact)),
        }
    }

    /// The windows that have to be counted, each once.
    pub fn windows(conditions: &[Self]) -> Vec<Window> {
        let mut windows: Vec<Window> = conditions.iter().filter_map(|condition| condition.window).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unknown(text: &str, name: &str) -> ConditionError {
    let names = Fact::ALL.map(Fact::code);
    let hint = hint(name, names.into_iter());
    ConditionError::Unknown(text.to_owned(), format!("the name is none of {}{hint}", names.join(", ")))
}

fn limit(fact: Fact, number: f64, is_percent: bool) -> Result<f64, &'static str> {
    let limit = if is_percent { number / 100.0 } else { number };
    if fact.is_share() {
        let is_share = (0.0..=1.0).contains(&limit);
        return if is_share { Ok(limit) } else { Err("a share is between 0 and 1, or between 0% and 100%") };
    }
    let is_count = !is_percent && limit >= 0.0 && limit.fract() == 0.0;
    if is_count { Ok(limit) } else { Err("a count is a whole number, without sign and without %") }
}

fn window_of(fact: Fact, length: &str) -> Result<Window, &'static str> {
    if !fact.is_by_one() {
        return Err("only what one visitor did (`…_by_one`) is counted in windows");
    }
    match length.parse() {
        Ok(Span(length)) if length >= Duration::from_secs(1) => Ok(Window { fact, length }),
        _ => Err("a window is at least a second, such as 30s, 10m, 1h or 7d"),
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
}

impl Operator {
    /// The longer ones first, because the shorter ones begin them.
    const ALL: [(&'static str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// Of a value that is not there, only `!=` holds.
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::Greater => order.is_some_and(Ordering::is_gt),
        }
    }
}

/// A value that was typed; times are typed as texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Number(f64),
    Text(String),
    Flag(bool),
    Time(Duration),
}

/// Reads a short text from left to right; space between words does not count.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    /// At the start of the text.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, rest: text }
    }

    /// Of the next word, in characters from 1 on.
    pub(super) fn column(&mut self) -> usize {
        self.rest = self.rest.trim_start();
        self.text.chars().count().saturating_sub(self.rest.chars().count()) + 1
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.trim_start().is_empty()
    }

    /// Takes this sign, if it follows.
    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(sign) else { return false };
        self.rest = rest;
        true
    }

    /// Takes a word of such characters; it may be empty.
    pub(super) fn take(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        self.rest = rest;
        word
    }

    /// Takes an operator.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        Operator::ALL.into_iter().find(|(sign, _)| self.eat(sign)).map(|(_, operator)| operator)
    }

    /// Takes a number, a text in quotes, `true` or `false`.
    pub(super) fn literal(&mut self) -> Option<Literal> {
        if self.eat("\"") {
            return self.quoted().map(Literal::Text);
        }
        match self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
            "true" => Some(Literal::Flag(true)),
            "false" => Some(Literal::Flag(false)),
            word => word.parse().ok().filter(|number: &f64| number.is_finite()).map(Literal::Number),
        }
    }

    /// Up to the closing quote; `\"` and `\\` are unescaped.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

/// `; did you mean …?`, or nothing.
pub(super) fn hint<'k>(wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
    let nearest = known.map(|name| (strsim::levenshtein(wrong, name), name)).filter(|(far, _)| *far <= NEAR).min();
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts() -> Facts {
        let window = |fact, seconds| Window { fact, length: Duration::from_secs(seconds) };
        Facts {
            fake_bots: 2,
            articles_by_one: 900,
            automated_share: 0.4,
            windowed: BTreeMap::from([(window(Fact::ArticlesByOne, 3_600), 501)]),
            ..Facts::default()
        }
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (text, expected) in [
            ("fake_bots>0", true),
            ("fake_bots > 2", false),
            ("fake_bots>=2", true),
            ("fake_bots==2", true),
            ("violations>0", false),
            ("violations<=0", true),
            ("articles_by_one>500/1h", true),
            ("articles_by_one>501/60m", false),
            ("articles_by_one>899", true),
            // Nobody counted it.
            ("pages_by_one<5/1h", false),
            ("automated_share>=40%", true),
            ("automated_share>0.4", false),
            ("not_found_share<1", true),
            ("bad_lines<1", true),
        ] {
            let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(condition.met(&facts()), expected, "{text}");
            assert_eq!(condition.to_string(), text.replace(' ', ""));
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (text, expected) in [
            ("", "is no condition"),
            ("fake_bots", "is no condition"),
            ("fake_bots>", "is no condition"),
            ("fake_bots!=1", "is no condition"),
            ("fake_bots=1", "is no condition"),
            ("fake_bots>1 and more", "is no condition"),
            ("fakebots>1", "did you mean `fake_bots`?"),
            ("nonsense>1", "none of fake_bots, violations"),
            ("fake_bots>1.5", "whole number"),
            ("fake_bots>-1", "whole number"),
            ("fake_bots>1%", "whole number"),
            ("automated_share>40", "between 0 and 1"),
            ("automated_share>140%", "between 0 and 1"),
            ("fake_bots>1/1h", "only what one visitor did"),
            ("pages_by_one>1/0", "at least a second"),
            ("pages_by_one>1/5ms", "at least a second"),
            ("pages_by_one>1/soon", "at least a second"),
            ("pages_by_one>1/", "at least a second"),
            ("fake_bots>NaN", "is no condition"),
        ] {
            let error = Condition::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn windows_are_asked_for_once() {
        let parse = |text| Condition::parse(text).unwrap();
        let all = [
            parse("pages_by_one>5/1h"),
            parse("fake_bots>0"),
            parse("pages_by_one<9/60m"),
            parse("articles_by_one>5/1d"),
        ];
        let expected = [(Fact::ArticlesByOne, 86_400), (Fact::PagesByOne, 3_600)];
        let expected = expected.map(|(fact, seconds)| Window { fact, length: Duration::from_secs(seconds) });
        assert_eq!(Condition::windows(&all), expected);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in any::<String>()) {
            let _ = Condition::parse(&text);
        }

        #[test]
        fn what_is_read_prints_back(text in "[a-z]{0,3}(fake_bots|pages_by_one|holes)[<>=!]{0,3}[0-9.%-]{0,5}(/[0-9]{0,3}[smhd]?)?") {
            if let Ok(condition) = Condition::parse(&text) {
                prop_assert_eq!(Condition::parse(&condition.to_string()).unwrap(), condition);
            }
        }
    }
}
