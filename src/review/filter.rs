//! [`Filters`]: which hits a report is about, by named filters and by an expression (`--where`).
//!
//! A value that a hit does not have compares as unequal to everything: only `!=` holds.

mod times;

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::conditions::{Literal, Operator, Scanner, hint};
use crate::action::Action;
use crate::audit::reader::{DeckleFields, Hit};
use crate::visitor::{Category, PathGlobs};
use times::{rfc3339, time};

const MAX_LENGTH: usize = 4_096;
const MAX_DEPTH: usize = 32;

/// Why a filter was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A value that does not hold: the flag, and what is wrong.
    #[error("--{0}: {1}")]
    Value(&'static str, String),
    /// An expression that does not hold: the column in characters from 1 on, and what is wrong.
    #[error("--where, column {0}: {1}")]
    Expression(usize, String),
}

/// The filters as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterArgs {
    /// RFC 3339, `2026-11-20`, `2026-11-20T10:14` (UTC), or ago: `7d`, `24h`, `90m`.
    pub since: Option<String>,
    /// The same; that moment itself is no longer in.
    pub until: Option<String>,
    /// Id of a visitor.
    pub visitor: Option<String>,
    /// Address or prefix.
    pub address: Option<String>,
    /// Name of an agent, or a part of `User-Agent`.
    pub agent: Option<String>,
    /// Categories, separated by commas.
    pub category: Option<String>,
    /// Glob: `*` within a segment, `**` across.
    pub path: Option<String>,
    /// `404`, `4xx`, `400-499`, separated by commas.
    pub status: Option<String>,
    /// Sites or hosts, separated by commas.
    pub site: Option<String>,
    /// Actions, separated by commas.
    pub action: Option<String>,
    /// The expression of `--where`.
    pub expression: Option<String>,
}

/// A hit, and what is known about it beside its line; empty texts are unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The line.
    pub(crate) hit: &'a Hit<'a>,
    /// Category of the visitor.
    pub(crate) category: &'a str,
    /// Name in the table of agents.
    pub(crate) agent: Option<&'a str>,
    /// Verification state.
    pub(crate) verification: &'a str,
    /// Kind of page.
    pub(crate) page_kind: &'a str,
    /// Who asked, as the report calls them.
    pub(crate) visitor: &'a str,
}

/// Compiled filters; a hit is kept if all of them hold.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    all: Vec<Expression>,
    described: Vec<String>,
}

impl Filters {
    /// Compiles what was typed; `now` is what relative times count from.
    pub fn new(args: &FilterArgs, now: Duration) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        filters.add("since", args.since.as_deref(), |text| bound("since", Operator::AtLeast, text, now))?;
        filters.add("until", args.until.as_deref(), |text| bound("until", Operator::Less, text, now))?;
        filters.add("visitor", args.visitor.as_deref(), |text| {
            let shown = equals(Get::Text(|s| Some(s.visitor)), text);
            Ok(Expression::Any(vec![shown, equals(Get::Text(|s| s.own(|own| Some(&own.visitor))), text)]))
        })?;
        filters.add("address", args.address.as_deref(), |text| address(text.trim()).map(Expression::LiesIn))?;
        filters.add("agent", args.agent.as_deref(), |text| {
            let named = Expression::Contains(Get::Text(|s| s.agent), text.to_lowercase());
            let declared = Expression::Contains(Get::Text(|s| s.hit.user_agent.as_deref()), text.to_lowercase());
            Ok(Expression::Any(vec![named, declared]))
        })?;
        filters.add("category", args.category.as_deref(), |text| {
            code("category", text, &Category::ALL.map(Category::code), Get::Text(|s| Some(s.category)))
        })?;
        filters.add("path", args.path.as_deref(), |text| {
            PathGlobs::new(&[text]).map(Expression::Path).map_err(|message| FilterError::Value("path", message))
        })?;
        filters.add("status", args.status.as_deref(), |text| {
            text.split(',').map(|part| status(part.trim())).collect::<Result<_, _>>().map(Expression::Any)
        })?;
        filters.add("site", args.site.as_deref(), |text| {
            let [site, host] = [Get::Text(|s| s.own(|own| Some(&own.site))), Get::Text(|s| Some(&s.hit.host))];
            Ok(Expression::Any(names(text).flat_map(|name| [equals(site, name), equals(host, name)]).collect()))
        })?;
        filters.add("action", args.action.as_deref(), |text| {
            let action = Get::Text(|s| s.own(|own| Some(&own.action)));
            code("action", text, &Action::ALL.map(Action::code), action)
        })?;
        filters.add("where", args.expression.as_deref(), |text| Expression::parse(text, now))?;
        Ok(filters)
    }

    fn add(&mut self, flag: &str, typed: Option<&str>, compile: impl Fn(&str) -> Compiled) -> Result<(), FilterError> {
        let Some(text) = typed else { return Ok(()) };
        let expression = compile(text)?;
        self.described.push(match &expression {
            Expression::Compares(_, _, Literal::Time(time)) if flag != "where" => format!("{flag} {}", rfc3339(*time)),
            _ => format!("{flag} {text}"),
        });
        self.all.push(expression);
        Ok(())
    }

    /// Whether the report is about this hit.
    pub(crate) fn keeps(&self, subject: &Subject<'_>) -> bool {
        self.all.iter().all(|expression| expression.holds(subject))
    }

    /// The filters in words, for the head of the report.
    pub fn describe(&self) -> Vec<String> {
        self.described.clone()
    }

    /// Whether everything is kept.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn equals(get: Get, text: &str) -> Expression {
    Expression::Compares(get, Operator::Equal, Literal::Text(text.trim().to_owned()))
}

fn code(flag: &'static str, text: &str, known: &[&str], get: Get) -> Compiled {
    if let Some(wrong) = names(text).find(|name| !known.contains(name)) {
        let hint = hint(wrong, known.iter().copied());
        return Err(FilterError::Value(flag, format!("`{wrong}` is none of {}{hint}", known.join(", "))));
    }
    Ok(Expression::Any(names(text).map(|name| equals(get, name)).collect()))
}

fn status(text: &str) -> Compiled {
    let class = |class: &str| (format!("{class}00"), format!("{class}99"));
    let one_or_two = || text.split_once('-').map(|(first, last)| (first.to_owned(), last.to_owned()));
    let (first, last) = text.strip_suffix("xx").map(class).or_else(one_or_two).unwrap_or((text.into(), text.into()));
    let range = first.trim().parse::<u16>().ok().zip(last.trim().parse::<u16>().ok());
    let wrong = || FilterError::Value("status", format!("`{text}` is none, such as 404, 4xx or 400-499"));
    let (first, last) = range.filter(|(first, last)| (100..=*last).contains(first)).ok_or_else(wrong)?;
    let status = Get::Number(|s| s.hit.status.map(f64::from));
    let bound = |operator, number: u16| Expression::Compares(status, operator, Literal::Number(number.into()));
    Ok(Expression::All(vec![bound(Operator::AtLeast, first), bound(Operator::AtMost, last)]))
}

fn address(text: &str) -> Result<IpNet, FilterError> {
    let net =
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical())));
    net.ok_or_else(|| FilterError::Value("address", format!("`{text}` is no address and no prefix (203.0.113.0/24)")))
}

/// A prefix lies in another one; the name of a host in none.
fn lies_in(address: &str, net: &IpNet) -> bool {
    let bare = address.split_once('%').map_or(address, |(bare, _zone)| bare);
    match (bare.parse::<IpAddr>(), address.parse::<IpNet>()) {
        (Ok(ip), _) => net.contains(&ip.to_canonical()),
        (_, Ok(prefix)) => net.contains(&prefix),
        _ => false,
    }
}

fn bound(flag: &'static str, operator: Operator, text: &str, now: Duration) -> Compiled {
    let time = time(text.trim(), now).map_err(|message| FilterError::Value(flag, message))?;
    Ok(Expression::Compares(Get::Time, operator, Literal::Time(time)))
}

fn contains(text: &str, lower: &str) -> bool {
    text.to_lowercase().contains(lower)
}

type Compiled = Result<Expression, FilterError>;

#[derive(Debug, Clone)]
enum Expression {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Compares(Get, Operator, Literal),
    /// In any case of letters; the text is in lower case.
    Contains(Get, String),
    LiesIn(IpNet),
    Path(PathGlobs),
}

/// Name, key in deckle's log, and how it is read.
struct Field(&'static str, &'static str, Get);

#[derive(Debug, Clone, Copy)]
enum Get {
    Time,
    Complete,
    Signals,
    Number(fn(&Subject<'_>) -> Option<f64>),
    Text(for<'a> fn(&Subject<'a>) -> Option<&'a str>),
}

static FIELDS: [Field; 28] = [
    Field("time", "time", Get::Time),
    Field("address", "client.address", Get::Text(|s| Some(&s.hit.address))),
    Field("asn", "client.asn", Get::Number(|s| s.hit.deckle.as_deref().and_then(|own| own.asn).map(f64::from))),
    Field("method", "http.request.method", Get::Text(|s| Some(&s.hit.method))),
    Field("host", "server.address", Get::Text(|s| Some(&s.hit.host))),
    Field("path", "url.path", Get::Text(|s| Some(&s.hit.path))),
    Field("query", "url.query", Get::Text(|s| s.hit.query.as_deref())),
    Field("status", "http.response.status_code", Get::Number(|s| s.hit.status.map(f64::from))),
    Field("bytes", "http.response.body.size", Get::Number(|s| Some(s.hit.bytes as f64))),
    Field("referer", "http.request.header.referer", Get::Text(|s| s.hit.referer.as_deref())),
    Field("user_agent", "user_agent.original", Get::Text(|s| s.hit.user_agent.as_deref())),
    Field("content_type", "http.response.header.content-type", Get::Text(|s| s.hit.content_type.as_deref())),
    Field("score", "deckle.score", Get::Number(|s| s.hit.deckle.as_deref().map(|own| own.score.into()))),
    Field("action", "deckle.action", Get::Text(|s| s.own(|own| Some(&own.action)))),
    Field("would_action", "deckle.would_action", Get::Text(|s| s.own(|own| own.would_action.as_deref()))),
    Field("visitor.id", "deckle.visitor.id", Get::Text(|s| Some(s.visitor))),
    Field("visitor.category", "deckle.visitor.category", Get::Text(|s| Some(s.category))),
    Field("visitor.agent", "deckle.visitor.agent", Get::Text(|s| s.agent)),
    Field("visitor.verification", "deckle.visitor.verification", Get::Text(|s| Some(s.verification))),
    Field("page.kind", "deckle.page.kind", Get::Text(|s| Some(s.page_kind))),
    Field("page.article", "deckle.page.article", Get::Text(|s| s.own(|own| own.article.as_deref()))),
    Field("mark", "deckle.mark.id", Get::Text(|s| s.own(|own| own.mark.as_deref()))),
    Field("robots.version", "deckle.robots.version", Get::Text(|s| s.own(|own| own.robots_version.as_deref()))),
    Field("duration_us", "deckle.duration_us", Get::Number(|s| s.hit.duration_us.map(|us| us as f64))),
    Field("complete", "deckle.complete", Get::Complete),
    Field("signals", "deckle.signals", Get::Signals),
    Field("instance", "deckle.instance", Get::Text(|s| s.own(|own| Some(&own.instance)))),
    Field("site", "deckle.site", Get::Text(|s| s.own(|own| Some(&own.site)))),
];

impl<'a> Subject<'a> {
    fn own(&self, get: fn(&'a DeckleFields<'a>) -> Option<&'a str>) -> Option<&'a str> {
        self.hit.deckle.as_deref().and_then(get)
    }
}

impl Expression {
    fn parse(text: &str, now: Duration) -> Compiled {
        let mut parser = Parser { scanner: Scanner::new(text), now };
        if text.len() > MAX_LENGTH {
            return Err(parser.refuse("longer than 4096 bytes"));
        }
        let expression = parser.any(0)?;
        if parser.scanner.is_at_end() { Ok(expression) } else { Err(parser.refuse("expected `&&`, `||` or the end")) }
    }

    fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(subject)),
            Self::All(parts) => parts.iter().all(|part| part.holds(subject)),
            Self::Not(part) => !part.holds(subject),
            Self::Compares(get, operator, literal) => operator.holds(get.order(literal, subject)),
            Self::Contains(get, part) => get.contains(part, subject),
            Self::LiesIn(net) => lies_in(&subject.hit.address, net),
            Self::Path(globs) => globs.is_match(&subject.hit.path),
        }
    }
}

impl Get {
    fn order(self, literal: &Literal, subject: &Subject<'_>) -> Option<Ordering> {
        match (self, literal) {
            (Self::Number(get), Literal::Number(number)) => get(subject)?.partial_cmp(number),
            (Self::Text(get), Literal::Text(text)) => Some(get(subject).filter(|own| !own.is_empty())?.cmp(text)),
            (Self::Complete, Literal::Flag(flag)) => Some(subject.hit.deckle.as_deref()?.complete.cmp(flag)),
            (Self::Time, Literal::Time(time)) => Some(subject.hit.time.cmp(time)),
            _ => None,
        }
    }

    fn contains(self, part: &str, subject: &Subject<'_>) -> bool {
        match self {
            Self::Text(get) => get(subject).is_some_and(|text| contains(text, part)),
            Self::Time => contains(&rfc3339(subject.hit.time), part),
            Self::Signals => {
                subject.hit.deckle.as_deref().is_some_and(|own| own.signals.iter().any(|id| contains(id, part)))
            }
            Self::Number(_) | Self::Complete => false,
        }
    }
}

struct Parser<'t> {
    scanner: Scanner<'t>,
    now: Duration,
}

impl Parser<'_> {
    fn refuse(&mut self, message: &str) -> FilterError {
        FilterError::Expression(self.scanner.column(), message.to_owned())
    }

    fn any(&mut self, depth: usize) -> Compiled {
        let mut parts = vec![self.all(depth)?];
        while self.scanner.eat("||") {
            parts.push(self.all(depth)?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Compiled {
        let mut parts = vec![self.single(depth)?];
        while self.scanner.eat("&&") {
            parts.push(self.single(depth)?);
        }
        Ok(Expression::All(parts))
    }

    fn single(&mut self, depth: usize) -> Compiled {
        if depth > MAX_DEPTH {
            return Err(self.refuse("nested too deeply"));
        }
        if self.scanner.eat("!") {
            return Ok(Expression::Not(Box::new(self.single(depth + 1)?)));
        }
        if !self.scanner.eat("(") {
            return self.comparison();
        }
        let inside = self.any(depth + 1)?;
        if self.scanner.eat(")") { Ok(inside) } else { Err(self.refuse("expected `)`")) }
    }

    fn comparison(&mut self) -> Compiled {
        let column = self.scanner.column();
        let name = self.scanner.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let Some(&Field(.., get)) = FIELDS.iter().find(|field| field.0 == name || field.1 == name) else {
            let hint = hint(name, FIELDS.iter().flat_map(|field| [field.0, field.1]));
            return Err(FilterError::Expression(column, format!("no field is named `{name}`{hint}")));
        };
        let is_part = self.scanner.eat("~");
        let operator = if is_part { Some(Operator::Equal) } else { self.scanner.operator() };
        let Some(operator) = operator else { return Err(self.refuse("expected == != < <= > >= or ~ (contains)")) };
        let column = self.scanner.column();
        let wants = |what: &str| FilterError::Expression(column, format!("`{name}` is compared with {what}"));
        match (get, self.scanner.literal()) {
            (Get::Text(_) | Get::Time | Get::Signals, Some(Literal::Text(text))) if is_part => {
                Ok(Expression::Contains(get, text.to_lowercase()))
            }
            _ if is_part => Err(wants("`~` only where it is a text, and with one in quotes")),
            (Get::Time, Some(Literal::Text(text))) => {
                let time = time(&text, self.now).map_err(|message| FilterError::Expression(column, message))?;
                Ok(Expression::Compares(get, operator, Literal::Time(time)))
            }
            (Get::Number(_), Some(literal @ Literal::Number(_)))
            | (Get::Text(_), Some(literal @ Literal::Text(_)))
            | (Get::Complete, Some(literal @ Literal::Flag(_))) => Ok(Expression::Compares(get, operator, literal)),
            (Get::Number(_), _) => Err(wants("a number")),
            (Get::Complete, _) => Err(wants("true or false")),
            (Get::Signals, _) => Err(wants("`~` only")),
            (Get::Text(_) | Get::Time, _) => Err(wants("a text in quotes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-20T10:14:07Z.
    const AT: Duration = Duration::from_secs(1_795_169_647);

    fn hit() -> Hit<'static> {
        Hit {
            time: AT,
            address: "203.0.113.7".into(),
            user_agent: Some("Mozilla/5.0 (compatible; GPTBot/1.2)".into()),
            method: "GET".into(),
            host: "news.example".into(),
            path: "/news/a".into(),
            query: Some("p=\"1\\2".into()),
            status: Some(404),
            bytes: 512,
            duration_us: Some(1_500),
            deckle: Some(Box::new(DeckleFields {
                site: "news".into(),
                visitor: "7vxuxkzrciownrc37liq".into(),
                asn: Some(64_500),
                score: 70,
                signals: vec!["no_assets:20".into(), "seq_ids:10".into()],
                action: "limit".into(),
                would_action: Some("block".into()),
                complete: true,
                ..DeckleFields::default()
            })),
            ..Hit::default()
        }
    }

    fn subject<'a>(hit: &'a Hit<'a>) -> Subject<'a> {
        let agent = Some("GPTBot");
        Subject { hit, category: "ai-train", agent, verification: "verified", page_kind: "article", visitor: "v1" }
    }

    fn filters(set: impl FnOnce(&mut FilterArgs)) -> Result<Filters, FilterError> {
        let mut args = FilterArgs::default();
        set(&mut args);
        Filters::new(&args, AT + Duration::from_secs(3_600))
    }

    fn holds(expression: &str) -> bool {
        let filters = filters(|args| args.expression = Some(expression.to_owned()));
        let hit = hit();
        filters.unwrap_or_else(|error| panic!("{expression}: {error}")).keeps(&subject(&hit))
    }

    #[test]
    fn named_filters_keep_or_drop() {
        type Set = fn(&mut FilterArgs, String);
        let since: Set = |args, text| args.since = Some(text);
        let until: Set = |args, text| args.until = Some(text);
        let address: Set = |args, text| args.address = Some(text);
        let status: Set = |args, text| args.status = Some(text);
        let path: Set = |args, text| args.path = Some(text);
        let visitor: Set = |args, text| args.visitor = Some(text);
        let agent: Set = |args, text| args.agent = Some(text);
        let category: Set = |args, text| args.category = Some(text);
        let site: Set = |args, text| args.site = Some(text);
        let action: Set = |args, text| args.action = Some(text);
        let cases: &[(Set, &str, bool)] = &[
            (since, "2026-11-20", true),
            (since, "2026-11-20T10:14:07Z", true),
            (since, "2026-11-20T11:14:08+01:00", false),
            (since, "90m", true),
            (since, "59m", false),
            (until, "2026-11-20T10:14:07Z", false),
            (until, "2026-11-20T10:15", true),
            (until, "7d", false),
            (address, "203.0.113.7", true),
            (address, "203.0.113.0/24", true),
            (address, "198.51.100.0/24", false),
            (address, "2001:db8::/32", false),
            (status, "404", true),
            (status, "2xx,4xx", true),
            (status, "400-403, 405", false),
            (path, "/news/*", true),
            (path, "/*", false),
            (path, "/**", true),
            (visitor, "v1", true),
            (visitor, "7vxuxkzrciownrc37liq", true),
            (visitor, "v", false),
            (agent, "gptbot", true),
            (agent, "compatible", true),
            (agent, "Googlebot", false),
            (category, "search,ai-train", true),
            (category, "browser", false),
            (site, "news", true),
            (site, "news.example", true),
            (site, "other", false),
            (action, "block,limit", true),
            (action, "allow", false),
        ];
        let hit = hit();
        for (set, text, expected) in cases {
            let filters =
                filters(|args| set(args, (*text).to_owned())).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filters.keeps(&subject(&hit)), *expected, "{:?}", filters.describe());
        }
    }

    #[test]
    fn several_filters_all_hold() {
        let both = |status: &str| {
            filters(|args| {
                args.status = Some(status.to_owned());
                args.expression = Some("score>=70".to_owned());
                args.since = Some("1d".to_owned());
            })
            .unwrap()
        };
        let hit = hit();
        assert!(both("4xx").keeps(&subject(&hit)) && !both("200").keeps(&subject(&hit)));
        assert_eq!(both("4xx").describe(), ["since 2026-11-19T11:14:07Z", "status 4xx", "where score>=70"]);
        assert!(!both("4xx").is_empty() && Filters::default().is_empty());
        assert!(Filters::default().keeps(&subject(&hit)));
    }

    #[test]
    fn prefixes_lie_in_prefixes() {
        for (address, net, expected) in [
            ("203.0.113.0/24", "203.0.0.0/16", true),
            ("203.0.113.0/24", "203.0.113.0/24", true),
            ("203.0.113.0/24", "203.0.113.7/32", false),
            ("::ffff:203.0.113.7", "203.0.113.0/24", true),
            ("2001:db8::1", "2001:db8::/32", true),
            ("fe80::1%eth0", "fe80::/10", true),
            ("host.example", "0.0.0.0/0", false),
            ("", "0.0.0.0/0", false),
        ] {
            assert_eq!(lies_in(address, &net.parse().unwrap()), expected, "{address} {net}");
        }
    }

    #[test]
    fn expressions_hold_or_do_not() {
        for (expression, expected) in [
            (r#"score>=70 && page.kind=="article""#, true),
            (r#"score>70 || page.kind=="index""#, false),
            (r"score>70 || status==404 && bytes<1000", true),
            (r"(score>70 || status==404) && bytes>1000", false),
            (r"!(score > 70)", true),
            (r"!!(score > 70)", false),
            (r#"deckle.score == 70 && url.path == "/news/a" && http.response.status_code != 200"#, true),
            (r#"query == "p=\"1\\2""#, true),
            (r#"user_agent ~ "gptBOT""#, true),
            (r#"signals ~ "no_assets" && !(signals ~ "honeypot")"#, true),
            (r#"time >= "2026-11-20" && time < "2026-11-20T10:14:08Z""#, true),
            (r#"time ~ "2026-11-20T10""#, true),
            (r#"time > "30m""#, false),
            ("complete == true && complete != false", true),
            (r#"action == "limit" && would_action == "block""#, true),
            (r#"visitor.id == "v1" && visitor.agent == "GPTBot" && visitor.category ~ "ai-""#, true),
            (r#"visitor.verification == "verified" && site == "news" && host == "news.example""#, true),
            (r#"path >= "/news" && path < "/nexs" && method == "GET" && address ~ "203.0""#, true),
            ("asn == 64500 && client.asn < 64501", true),
            ("duration_us > 1499.5 && duration_us < 1501", true),
            // What is not there is unequal to everything.
            (r#"referer == "x" || referer < "x" || referer ~ """#, false),
            (r#"mark != "x" && robots.version != "x" && content_type != "x""#, true),
            (r#"page.article == "" || instance == """#, false),
        ] {
            assert_eq!(holds(expression), expected, "{expression}");
        }
        let foreign = Hit { time: AT, ..Hit::default() };
        let keeps =
            |text: &str| filters(|args| args.expression = Some(text.to_owned())).unwrap().keeps(&subject(&foreign));
        assert!(
            !keeps("score < 100")
                && keeps("score != 100")
                && !keeps("asn > 0")
                && !keeps("status < 600")
                && keeps("complete != true")
        );
    }

    #[test]
    fn refusals_name_the_column_or_the_flag() {
        for (expression, expected) in [
            ("", "column 1: no field is named ``"),
            ("scor > 1", "column 1: no field is named `scor`; did you mean `score`?"),
            (r#"score>1 && page.kid=="x""#, "column 12: no field is named `page.kid`; did you mean `page.kind`?"),
            ("score", "column 6: expected =="),
            ("score = 1", "column 7: expected =="),
            (r#"path =~ "x""#, "column 6: expected =="),
            (r#"score == "x""#, "column 10: `score` is compared with a number"),
            ("path == 5", "column 9: `path` is compared with a text in quotes"),
            ("path == \"x", "column 9: `path` is compared with a text"),
            ("complete == 1", "column 13: `complete` is compared with true or false"),
            (r#"signals == "x""#, "column 12: `signals` is compared with `~` only"),
            ("score ~ 1", "column 9: `score` is compared with `~` only where"),
            (r#"time > "yesterday""#, "column 8: `yesterday` is no time"),
            ("(score > 1", "column 11: expected `)`"),
            ("score > 1 score > 2", "column 11: expected `&&`"),
            ("score > 1 &&", "column 13: no field"),
            ("ä", "column 1: no field"),
        ] {
            let error = filters(|args| args.expression = Some(expression.to_owned())).unwrap_err().to_string();
            assert!(error.contains(expected), "{expression}: {error}");
        }
        let deep = |depth: usize| {
            let text = format!("{}score>1{}", "(".repeat(depth), ")".repeat(depth));
            filters(|args| args.expression = Some(text))
        };
        assert!(deep(32).is_ok());
        assert!(deep(33).unwrap_err().to_string().contains("nested too deeply"));
        let long = format!("score>1{}", " ".repeat(MAX_LENGTH));
        assert!(filters(|args| args.expression = Some(long)).unwrap_err().to_string().contains("longer than 4096"));
        let cases: [(fn(&mut FilterArgs), &str); 9] = [
            (|args| args.since = Some("yesterday".into()), "--since: `yesterday` is no time"),
            (|args| args.until = Some("2026-11-20T10:14[Europe/Berlin]".into()), "--until"),
            (|args| args.address = Some("host.example".into()), "--address: `host.example` is no address"),
            (|args| args.status = Some("4x".into()), "--status: `4x` is none"),
            (|args| args.status = Some("xx".into()), "--status"),
            (|args| args.status = Some("499-400".into()), "--status"),
            (|args| args.status = Some("404,".into()), "--status"),
            (|args| args.category = Some("serach".into()), "did you mean `search`?"),
            (|args| args.action = Some("explode".into()), "--action: `explode` is none of allow, tag"),
        ];
        for (set, expected) in cases {
            let error = filters(set).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_compiled_or_refused(text in any::<String>()) {
            let hit = hit();
            let sets: [fn(&mut FilterArgs, String); 5] = [
                |args, text| args.expression = Some(text),
                |args, text| args.since = Some(text),
                |args, text| args.status = Some(text),
                |args, text| args.address = Some(text),
                |args, text| args.path = Some(text),
            ];
            for set in sets {
                if let Ok(filters) = filters(|args| set(args, text.clone())) {
                    filters.keeps(&subject(&hit));
                }
            }
        }

        #[test]
        fn near_expressions_never_panic(text in r#"((score|path|time|signals|complete|\(|\)|!) ?(==|!=|<|>=|~)? ?("[a-z0-9\\"-]{0,6}"?|[0-9.-]{0,4}|true)? ?(&&|\|\|)? ?){0,12}"#) {
            let hit = hit();
            if let Ok(filters) = filters(|args| args.expression = Some(text.clone())) {
                filters.keeps(&subject(&hit));
            }
        }
    }
}
