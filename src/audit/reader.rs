//! Reads logs: deckle's own NDJSON, and the Common and Combined formats of Apache and nginx.
//!
//! One line gives a [`Hit`], or the one reason why it does not. Nothing is lost in silence:
//! `lines = hits + other kinds + skipped`.

use std::time::Duration;

use serde::Deserialize;

/// Lines are kept up to this length; longer ones are skipped.
pub const MAX_LINE: usize = 1 << 20;

/// One response, from any log.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Since 1970.
    pub time: Duration,
    /// Address or prefix, as the log has it.
    pub address: String,
    /// deckle's pseudonym; empty in foreign logs.
    pub visitor: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Method.
    pub method: String,
    /// Path, without query.
    pub path: String,
    /// Status, if anything was answered.
    pub status: Option<u16>,
    /// Bytes sent.
    pub bytes: u64,
    /// `Referer`.
    pub referer: Option<String>,
    /// Media type; foreign logs have none.
    pub content_type: Option<String>,
    /// What deckle knew and did; absent in foreign logs.
    pub deckle: Option<Box<DeckleFields>>,
}

/// Fields that only deckle's own log has.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DeckleFields {
    /// Id of the request.
    pub request_id: String,
    /// Category of the visitor.
    pub category: String,
    /// Name in the table of agents.
    pub agent: Option<String>,
    /// Verification state.
    pub verification: String,
    /// 0–100.
    pub score: u8,
    /// Signals, `id:weight`.
    pub signals: Vec<String>,
    /// What was done.
    pub action: String,
    /// What would have been done.
    pub would_action: Option<String>,
    /// Kind of page.
    pub page_kind: String,
    /// Mark of the copy.
    pub mark: Option<String>,
    /// The whole body went out.
    pub complete: bool,
}

/// Why a line gave no hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Skipped {
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// Mostly control bytes.
    Binary,
    /// No known format.
    Malformed,
    /// A time that cannot be.
    BadTime,
    /// The last line of a segment, cut off by a crash.
    Torn,
}

impl Skipped {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Binary => "binary",
            Self::Malformed => "malformed",
            Self::BadTime => "bad_time",
            Self::Torn => "torn",
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Line {
    /// A response.
    Hit(Box<Hit>),
    /// A line of deckle's log that is no response: `segment`, `gap`, `end` …
    Other(Note),
    /// Nothing but white space.
    Empty,
    /// Skipped.
    Skipped(Skipped),
}

/// A line about the log itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Its kind.
    pub kind: String,
    /// Records that a `gap` line tells of.
    pub dropped: u64,
}

/// Reads one line, without its line feed.
pub fn read_line(line: &[u8]) -> Line {
    if line.len() > MAX_LINE {
        return Line::Skipped(Skipped::TooLong);
    }
    let controls = line.iter().filter(|b| **b < 0x20 && !matches!(b, b'\t' | b'\r')).count();
    if line.contains(&0) || controls * 10 > line.len() * 3 {
        return Line::Skipped(Skipped::Binary);
    }
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return Line::Empty;
    }
    if text.starts_with('{') { own(text) } else { combined(text) }
}

#[derive(Deserialize)]
struct OwnLine {
    v: Option<u32>,
    time: Option<String>,
    #[serde(rename = "deckle.kind")]
    kind: Option<String>,
    #[serde(rename = "deckle.request.id", default)]
    request_id: String,
    #[serde(rename = "http.request.method", default)]
    method: String,
    #[serde(rename = "url.path", default)]
    path: String,
    #[serde(rename = "http.response.status_code")]
    status: Option<u16>,
    #[serde(rename = "http.response.body.size", default)]
    bytes: u64,
    #[serde(rename = "http.response.header.content-type")]
    content_type: Option<String>,
    #[serde(rename = "client.address", default)]
    address: String,
    #[serde(rename = "user_agent.original")]
    user_agent: Option<String>,
    #[serde(rename = "http.request.header.referer")]
    referer: Option<String>,
    #[serde(rename = "deckle.visitor.id", default)]
    visitor: String,
    #[serde(rename = "deckle.visitor.category", default)]
    category: String,
    #[serde(rename = "deckle.visitor.agent")]
    agent: Option<String>,
    #[serde(rename = "deckle.visitor.verification", default)]
    verification: String,
    #[serde(rename = "deckle.score", default)]
    score: u8,
    #[serde(rename = "deckle.signals", default)]
    signals: Vec<String>,
    #[serde(rename = "deckle.action", default)]
    action: String,
    #[serde(rename = "deckle.would_action")]
    would_action: Option<String>,
    #[serde(rename = "deckle.page.kind", default)]
    page_kind: String,
    #[serde(rename = "deckle.mark.id")]
    mark: Option<String>,
    #[serde(rename = "deckle.complete", default)]
    complete: bool,
    #[serde(rename = "dropped.channel_full", default)]
    dropped_full: u64,
    #[serde(rename = "dropped.io", default)]
    dropped_io: u64,
}

fn own(text: &str) -> Line {
    let Ok(line) = serde_json::from_str::<OwnLine>(text) else { return Line::Skipped(Skipped::Malformed) };
    if line.v != Some(1) {
        return Line::Skipped(Skipped::Malformed);
    }
    if let Some(kind) = line.kind.filter(|k| k != "hit") {
        return Line::Other(Note { kind, dropped: line.dropped_full.saturating_add(line.dropped_io) });
    }
    let Some(time) = line.time.as_deref().and_then(rfc3339) else { return Line::Skipped(Skipped::BadTime) };
    Line::Hit(Box::new(Hit {
        time,
        address: line.address,
        visitor: line.visitor,
        user_agent: line.user_agent,
        method: line.method,
        path: line.path,
        status: line.status,
        bytes: line.bytes,
        referer: line.referer,
        content_type: line.content_type,
        deckle: Some(Box::new(DeckleFields {
            request_id: line.request_id,
            category: line.category,
            agent: line.agent,
            verification: line.verification,
            score: line.score,
            signals: line.signals,
            action: line.action,
            would_action: line.would_action,
            page_kind: line.page_kind,
            mark: line.mark,
            complete: line.complete,
        })),
    }))
}

fn rfc3339(text: &str) -> Option<Duration> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(Duration::from_millis)
}

/// `host ident user [time] "request" status bytes ["referer" "user agent" …]`, a virtual host in front if there is one.
fn combined(text: &str) -> Line {
    parse_combined(text).unwrap_or(Line::Skipped(Skipped::Malformed))
}

fn parse_combined(text: &str) -> Option<Line> {
    let text = text.strip_prefix('"').filter(|t| t.contains("] \\\"")).unwrap_or(text);
    let open = text.find(" [")?;
    let close = open + text.get(open..)?.find(']')?;
    let address = client_address(text.get(..open)?)?;
    let stamp = text.get(open + 2..close)?;
    let mut rest = text.get(close + 1..)?.trim_start();
    let request = quoted(&mut rest)?;
    let mut fields = rest.trim_start().splitn(3, ' ');
    let status: u16 = fields.next()?.parse().ok().filter(|s| (100..1_000).contains(s))?;
    let bytes = match fields.next().unwrap_or("-") {
        "-" => 0,
        number => number.parse().ok()?,
    };
    let mut tail = fields.next().unwrap_or_default();
    let referer = quoted(&mut tail);
    let user_agent = quoted(&mut tail);
    let Some(time) = clf_time(stamp) else { return Some(Line::Skipped(Skipped::BadTime)) };
    let (method, path) = request_line(&request);
    Some(Line::Hit(Box::new(Hit {
        time,
        address: address.to_owned(),
        visitor: String::new(),
        user_agent: user_agent.filter(|ua| ua != "-" && !ua.is_empty()),
        method,
        path,
        status: Some(status),
        bytes,
        referer: referer.filter(|r| r != "-" && !r.is_empty()),
        content_type: None,
        deckle: None,
    })))
}

/// The client: the word before ` - user` or ` - -`; where several addresses stand, the right-most one, because those to
/// the left are the client's own words.
fn client_address(prefix: &str) -> Option<&str> {
    let before = prefix.split(" - ").next()?.trim_end_matches([',', ' ']);
    before.split([' ', ',']).rfind(|word| !word.is_empty())
}

/// A quoted field; `\"` and `\\` are unescaped, other escapes kept as they are. A missing end takes the rest.
fn quoted(rest: &mut &str) -> Option<String> {
    let inside = rest.trim_start().strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = inside.get(at + 1..).unwrap_or_default();
                return Some(out);
            }
            '\\' => match chars.next() {
                Some((_, quoted @ ('"' | '\\'))) => out.push(quoted),
                Some((_, other)) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    *rest = "";
    Some(out)
}

/// Method and path; a request that is none (TLS to a plain port, nothing at all) has neither.
fn request_line(request: &str) -> (String, String) {
    let mut parts = request.splitn(2, ' ');
    let method = parts.next().unwrap_or_default();
    let rest = parts.next().unwrap_or_default();
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b == b'-');
    if !is_method || rest.is_empty() {
        return (String::new(), String::new());
    }
    // Spaces may stand in the path; the protocol is the last word, if it is one.
    let target = rest.rsplit_once(' ').filter(|(_, p)| p.starts_with("HTTP/")).map_or(rest, |(target, _)| target);
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, r)| r.find('/').and_then(|i| r.get(i..)).unwrap_or("/"));
    (method.to_owned(), path.to_owned())
}

/// `20/Nov/2026:10:14:07 +0100`.
fn clf_time(stamp: &str) -> Option<Duration> {
    let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", stamp).ok()?.to_timestamp().ok()?;
    // Nothing was served before the web, and nothing tomorrow.
    let seconds = u64::try_from(time.as_second()).ok().filter(|s| *s > 631_152_000)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(line: &str) -> Hit {
        match read_line(line.as_bytes()) {
            Line::Hit(hit) => *hit,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn combined_lines() {
        let plain =
            hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0100] "GET /a?b=1 HTTP/1.1" 200 512 "https://x/" "curl/8""#);
        assert_eq!((plain.address.as_str(), plain.path.as_str(), plain.status), ("203.0.113.7", "/a", Some(200)));
        assert_eq!(
            (plain.time.as_secs(), plain.bytes, plain.user_agent.as_deref()),
            (1_795_166_047, 512, Some("curl/8"))
        );
        let common = hit(r#"host.example - ann [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.0" 304 -"#);
        assert_eq!((common.address.as_str(), common.bytes, common.user_agent), ("host.example", 0, None));
        let vhost =
            hit(r#"news.example:443 203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /x HTTP/2" 200 1 "-" "a\"b""#);
        assert_eq!((vhost.address.as_str(), vhost.user_agent.as_deref()), ("203.0.113.7", Some("a\"b")));
        let several = hit(r#"6.6.6.6, 203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /x HTTP/2" 200 1 "-" "-""#);
        assert_eq!(several.address, "203.0.113.7");
        let spaces = hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /a b/c HTTP/1.1" 404 1"#);
        assert_eq!(spaces.path, "/a b/c");
        let tls = hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "\x16\x03\x01" 400 1 "-" "-""#);
        assert_eq!((tls.method.as_str(), tls.path.as_str()), ("", ""));
        let unterminated = hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozilla"#);
        assert_eq!(unterminated.user_agent.as_deref(), Some("Mozilla"));
    }

    #[test]
    fn bad_lines_have_one_reason() {
        let reason = |line: &[u8]| match read_line(line) {
            Line::Skipped(reason) => reason.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(b"complete nonsense"), "malformed");
        assert_eq!(reason(b"{\"v\":2}"), "malformed");
        assert_eq!(reason(b"{\"v\":1,\"time\":\"yesterday\"}"), "bad_time");
        assert_eq!(reason(b"\0\0\0"), "binary");
        assert_eq!(reason(&vec![b'a'; MAX_LINE + 1]), "too_long");
        assert_eq!(reason(br#"1.2.3.4 - - [20/Foo/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1"#), "bad_time");
        assert_eq!(read_line(b"  "), Line::Empty);
    }

    #[test]
    fn lines_of_the_own_log() {
        let line = r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.request.id":"x","http.request.method":"GET","url.path":"/a","http.response.status_code":200,"client.address":"203.0.113.0/24","deckle.mark.id":"k0-0123456789ab","deckle.score":40,"future.key":[1]}"#;
        let hit = hit(line);
        assert_eq!(hit.time, Duration::from_millis(1_795_466_712_345));
        assert_eq!(hit.deckle.unwrap().mark.as_deref(), Some("k0-0123456789ab"));
        let gap = read_line(
            br#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.kind":"gap","dropped.channel_full":7,"dropped.io":1}"#,
        );
        assert_eq!(gap, Line::Other(Note { kind: "gap".into(), dropped: 8 }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read_line(&bytes);
        }

        #[test]
        fn near_misses_never_panic(line in r#"[0-9., -]{0,20} \[?[0-9A-Za-z/:+ ]{0,28}\]? "?[A-Z /\\"?]{0,20}"? [0-9-]{0,4} ?[0-9-]{0,5}"#) {
            read_line(line.as_bytes());
        }
    }
}
