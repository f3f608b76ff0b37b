//! [`LogFormat`]: the server's own log-format string, nginx `log_format` or Apache `LogFormat`, compiled into what reads
//! its lines.
//!
//! A field ends where the next literal begins. That is all a server promises: a format in which two fields touch cannot
//! be read back, and is refused.

mod value;

use std::time::Duration;

use super::combined::{present, request_line, unescape};
use super::formats::client_of;
use super::hit::{Hit, Skipped, Text};
use super::time::{clf, iso8601};
use value::{bytes, cut, micros, read_target, status, sum};

/// Units of time, in microseconds.
const SECOND: u64 = 1_000_000;
const MILLISECOND: u64 = 1_000;
const MICROSECOND: u64 = 1;
/// Nothing was served before the web, 1990.
const FIRST_TIME: u64 = 631_152_000 * SECOND;

/// Why a log format was refused; columns count characters, from 1 on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogFormatError {
    /// A variable or directive that no server writes, or that cannot be read back.
    #[error("column {0} of the log format: unknown field `{1}`")]
    Unknown(usize, String),
    /// Where one ends and the other begins cannot be told.
    #[error("column {0} of the log format: nothing stands between `{1}` and the field before it")]
    Adjacent(usize, String),
    /// Hits without a time cannot be told apart.
    #[error("the log format has no time, such as `[$time_local]` or `%t`")]
    NoTime,
    /// Nobody knows what was asked for.
    #[error("the log format has no request and no path, such as `$request` or `%r`")]
    NoRequest,
}

/// A compiled log format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Address,
    /// Who holds the connection, where `Address` was taken from a header.
    Peer,
    LocalTime,
    IsoTime,
    UnixTime(u64),
    Request,
    Target,
    Path,
    QuestionMark,
    Query,
    Method,
    Status,
    /// Before an internal redirect.
    FirstStatus,
    BodyBytes,
    /// The head, too.
    SentBytes,
    Referer,
    UserAgent,
    Host,
    /// The name of the site in the configuration.
    ServerName,
    Duration(u64),
    Upstream,
    ContentType,
    /// `X-Forwarded-For`, for whoever trusts it.
    Forwarded,
    /// `a, b : c`: nginx writes one value for each server that it asked. So is `Upstream`.
    IgnoredList,
    Ignored,
}

impl LogFormat {
    /// Compiles the text between the quotes of `log_format` or `LogFormat`.
    pub(crate) fn compile(text: &str) -> Result<Self, LogFormatError> {
        let text = text.trim_end();
        // A `$` with a name is nginx's; Apache's own directives never hold one.
        let is_start = |after: &str| after.starts_with(|c: char| c.is_ascii_lowercase() || c == '{');
        let is_nginx = text.split('$').skip(1).any(is_start);
        let mut format = Self { pieces: Vec::new() };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            let (token, next) = match c {
                '$' if is_nginx => variable(after),
                '%' if !is_nginx => directive(after),
                '\\' => escape(after),
                other => (Token::Literal(other), after),
            };
            format.push(token, is_nginx).map_err(|refuse| {
                let written = rest.get(..rest.len().saturating_sub(next.len())).unwrap_or_default();
                refuse(text.chars().count() - rest.chars().count() + 1, written.to_owned())
            })?;
            rest = next;
        }
        format.finish()
    }

    fn push(&mut self, token: Token, is_nginx: bool) -> Result<(), Refusal> {
        match token {
            Token::Unknown => return Err(LogFormatError::Unknown),
            Token::Literal(c) => self.literal(c),
            // Apache writes these brackets itself; as literals they also tell where a user name with spaces ends.
            Token::Field(Field::LocalTime) if !is_nginx => {
                self.literal('[');
                self.field(Field::LocalTime)?;
                self.literal(']');
            }
            Token::Field(field) => self.field(field)?,
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Literal(text)) => text.push(c),
            _ => self.pieces.push(Piece::Literal(c.into())),
        }
    }

    fn field(&mut self, field: Field) -> Result<(), Refusal> {
        let Some(Piece::Field(before)) = self.pieces.last_mut() else {
            self.pieces.push(Piece::Field(field));
            return Ok(());
        };
        // `%U%q` and `$uri$is_args$args` are one target, the only fields that may touch.
        *before = match (*before, field) {
            (Field::Path, Field::Query | Field::QuestionMark) | (Field::Target, Field::Query) => Field::Target,
            _ => return Err(LogFormatError::Adjacent),
        };
        Ok(())
    }

    fn has(&self, is_wanted: fn(Field) -> bool) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Field(field) if is_wanted(*field)))
    }

    fn finish(mut self) -> Result<Self, LogFormatError> {
        if !self.has(|field| matches!(field, Field::LocalTime | Field::IsoTime | Field::UnixTime(_))) {
            return Err(LogFormatError::NoTime);
        }
        if !self.has(|field| matches!(field, Field::Request | Field::Target | Field::Path)) {
            return Err(LogFormatError::NoRequest);
        }
        if self.has(|field| field == Field::BodyBytes) {
            let sent = self.pieces.iter_mut().filter(|piece| **piece == Piece::Field(Field::SentBytes));
            sent.for_each(|piece| *piece = Piece::Field(Field::Ignored));
        }
        Ok(self)
    }

    /// Reads one line, or tells the one reason why it gives no hit. Of forwarded addresses the one that `hop` counts from
    /// the right is the client; with 0 they count for nothing.
    pub(crate) fn parse<'l>(&self, line: &'l str, hop: usize) -> Result<Hit<'l>, Skipped> {
        let (mut hit, mut forwarded) = (Hit::default(), None);
        let (mut rest, mut before, mut is_bad_time) = (line.trim_end_matches(['\r', '\n']), "", false);
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            let field = match piece {
                Piece::Field(field) => *field,
                Piece::Literal(text) => {
                    rest = rest.strip_prefix(text.as_str()).ok_or(Skipped::Malformed)?;
                    before = text;
                    continue;
                }
            };
            let end = match pieces.peek() {
                Some(Piece::Literal(next)) => field.end(rest, before, next).ok_or(Skipped::Malformed)?,
                _ => rest.len(),
            };
            let (text, after) = rest.split_at_checked(end).ok_or(Skipped::Malformed)?;
            match field.read(unescape(text), &mut hit) {
                _ if field == Field::Forwarded => forwarded = present(unescape(text)),
                // A line that does not fit at all has no bad time.
                Err(Skipped::BadTime) => is_bad_time = true,
                other => other?,
            }
            rest = after;
        }
        if hop > 0 {
            hit.address = client_of(present(hit.address), forwarded, hop);
        }
        match rest.trim() {
            "" if is_bad_time => Err(Skipped::BadTime),
            "" => Ok(hit),
            _ => Err(Skipped::Malformed),
        }
    }
}

type Refusal = fn(usize, String) -> LogFormatError;

enum Token {
    Literal(char),
    Field(Field),
    Unknown,
}

/// Both servers' configuration files write quotes so.
fn escape(after: &str) -> (Token, &str) {
    let mut chars = after.chars();
    let c = match chars.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        other => other.unwrap_or('\\'),
    };
    (Token::Literal(c), chars.as_str())
}

fn split_while(text: &str, is_part: fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `$name` or `${name}`, from behind the dollar sign on.
fn variable(after: &str) -> (Token, &str) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, rest) = split_while(after.strip_prefix('{').unwrap_or(after), is_name);
    let closed = if after.starts_with('{') { rest.strip_prefix('}') } else { Some(rest) };
    let Some(behind) = closed.filter(|_| !name.is_empty()) else { return (Token::Unknown, rest) };
    (Token::Field(nginx(name)), behind)
}

/// `%h`, `%>s`, `%!200,304{Referer}i`, `%%`, from behind the percent sign on.
fn directive(after: &str) -> (Token, &str) {
    if let Some(rest) = after.strip_prefix('%') {
        return (Token::Literal('%'), rest);
    }
    let (modifiers, mut rest) = split_while(after, |c| c.is_ascii_digit() || matches!(c, '!' | ',' | '<' | '>'));
    let argument = rest.strip_prefix('{').and_then(|inside| inside.split_once('}')).map(|(inside, behind)| {
        rest = behind;
        inside.to_ascii_lowercase()
    });
    let mut chars = rest.chars();
    let field = chars.next().and_then(|letter| apache(letter, argument.as_deref(), modifiers.contains('>')));
    (field.map_or(Token::Unknown, Token::Field), chars.as_str())
}

/// Any name may be a variable of nginx: maps, modules and headers make them.
fn nginx(name: &str) -> Field {
    match name {
        "remote_addr" => Field::Address,
        "realip_remote_addr" => Field::Peer,
        "time_local" => Field::LocalTime,
        "time_iso8601" => Field::IsoTime,
        "msec" => Field::UnixTime(SECOND),
        "request" => Field::Request,
        "request_uri" => Field::Target,
        "uri" | "document_uri" => Field::Path,
        "is_args" => Field::QuestionMark,
        "args" | "query_string" => Field::Query,
        "request_method" => Field::Method,
        "status" => Field::Status,
        "body_bytes_sent" => Field::BodyBytes,
        "bytes_sent" => Field::SentBytes,
        "http_referer" => Field::Referer,
        "http_user_agent" => Field::UserAgent,
        "host" | "http_host" => Field::Host,
        "server_name" => Field::ServerName,
        "request_time" => Field::Duration(SECOND),
        "upstream_response_time" => Field::Upstream,
        "sent_http_content_type" => Field::ContentType,
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => Field::Forwarded,
        name if name.starts_with("upstream_") => Field::IgnoredList,
        _ => Field::Ignored,
    }
}

/// The directives of `mod_log_config` and `mod_logio`; the argument in lower case.
fn apache(letter: char, argument: Option<&str>, is_final: bool) -> Option<Field> {
    Some(match (letter, argument) {
        ('a', Some("c")) => Field::Peer,
        ('a' | 'h', _) => Field::Address,
        ('t', None) => Field::LocalTime,
        ('t', Some("sec")) => Field::UnixTime(SECOND),
        ('t', Some("msec")) => Field::UnixTime(MILLISECOND),
        ('t', Some("usec")) => Field::UnixTime(MICROSECOND),
        ('r', _) => Field::Request,
        ('U', _) => Field::Path,
        ('q', _) => Field::Query,
        ('m', _) => Field::Method,
        ('s', _) if is_final => Field::Status,
        ('s', _) => Field::FirstStatus,
        ('b' | 'B', _) => Field::BodyBytes,
        ('O', _) => Field::SentBytes,
        ('i', Some("referer")) => Field::Referer,
        ('i', Some("user-agent")) => Field::UserAgent,
        ('i', Some("host")) | ('V', _) => Field::Host,
        ('i', Some("x-forwarded-for")) => Field::Forwarded,
        ('v', _) => Field::ServerName,
        ('o', Some("content-type")) => Field::ContentType,
        ('D', _) | ('T', Some("us")) => Field::Duration(MICROSECOND),
        ('T', Some("ms")) => Field::Duration(MILLISECOND),
        ('T', None | Some("s")) => Field::Duration(SECOND),
        (letter, _) if "ACHILPRSXefiklnopu".contains(letter) => Field::Ignored,
        _ => return None,
    })
}

impl Field {
    /// Where it ends: at the first `next` that is not part of it.
    fn end(self, rest: &str, before: &str, next: &str) -> Option<usize> {
        let is_list = matches!(self, Self::Upstream | Self::Forwarded | Self::IgnoredList);
        let is_quoted = before.ends_with('"') && next.starts_with('"');
        let step = next.chars().next()?.len_utf8();
        let mut from = 0;
        loop {
            let at = from + rest.get(from..)?.find(next)?;
            let (inside, after) = rest.split_at_checked(at)?;
            let backslashes = || inside.bytes().rev().take_while(|b| *b == b'\\').count();
            let is_between = || inside.ends_with(',') || inside.ends_with(" :") || after.starts_with(" : ");
            if !((is_quoted && backslashes() % 2 == 1) || (is_list && is_between())) {
                return Some(at);
            }
            from = at + step;
        }
    }

    /// Of several fields that say the same the better one overwrites, the lesser one only fills a gap.
    fn read<'l>(self, text: Text<'l>, hit: &mut Hit<'l>) -> Result<(), Skipped> {
        match self {
            Self::Address => hit.address = present(text).unwrap_or_default(),
            Self::Peer if hit.address.is_empty() => hit.address = present(text).unwrap_or_default(),
            Self::UnixTime(unit) => {
                let time = micros(&text, unit).filter(|time| *time > FIRST_TIME);
                hit.time = time.map(Duration::from_micros).ok_or(Skipped::BadTime)?;
                hit.local_time = false;
            }
            Self::IsoTime if hit.time.is_zero() => iso8601(&text).ok_or(Skipped::BadTime)?.set(hit),
            Self::LocalTime if hit.time.is_zero() => clf(&text).ok_or(Skipped::BadTime)?.set(hit),
            Self::Request => request_line(text, hit),
            Self::Target => read_target(text, hit),
            Self::Path if hit.path.is_empty() => hit.path = present(text).unwrap_or_default(),
            Self::Query if hit.query.is_none() => {
                hit.query = present(cut(text, |query| query.strip_prefix('?').unwrap_or(query)));
            }
            Self::Method => hit.method = present(text).unwrap_or_default(),
            Self::Status => hit.status = status(&text)?,
            Self::FirstStatus if hit.status.is_none() => hit.status = status(&text)?,
            Self::BodyBytes | Self::SentBytes => hit.bytes = bytes(&text)?,
            Self::Referer => hit.referer = present(text),
            Self::UserAgent => hit.user_agent = present(text),
            Self::Host => hit.host = present(text).unwrap_or_default(),
            Self::ServerName if hit.host.is_empty() => hit.host = present(text).unwrap_or_default(),
            Self::Duration(SECOND) if hit.duration_us.is_some() => {}
            Self::Duration(unit) => hit.duration_us = micros(&text, unit),
            Self::Upstream => hit.upstream_us = sum(&text),
            Self::ContentType => hit.content_type = present(text),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NGINX: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" $request_time"#;
    const APACHE: &str = r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D %v:%p"#;
    const AT: Duration = Duration::from_secs(1_795_169_647);

    fn parse<'l>(format: &str, line: &'l str) -> Result<Hit<'l>, Skipped> {
        LogFormat::compile(format).unwrap().parse(line, 0)
    }

    #[test]
    fn forwarded_addresses_count_where_they_are_trusted() {
        let line = r#"10.0.0.1 1795169647 /a "198.51.100.7, 203.0.113.8""#;
        for format in [
            r#"$remote_addr $msec $uri "$http_x_forwarded_for""#,
            r#"%h %{sec}t %U "%{X-Forwarded-For}i""#,
            r#"$remote_addr $msec $uri "$proxy_add_x_forwarded_for""#,
        ] {
            let format = LogFormat::compile(format).unwrap();
            let address = |line: &str, hop: usize| format.parse(line, hop).unwrap().address.into_owned();
            let by_hop = [0, 1, 2, 9].map(|hop| address(line, hop));
            assert_eq!(by_hop, ["10.0.0.1", "203.0.113.8", "198.51.100.7", "198.51.100.7"]);
            let bare = r#"10.0.0.1 1795169647 /a "-""#;
            assert_eq!([0, 1].map(|hop| address(bare, hop)), ["10.0.0.1", "10.0.0.1"]);
        }
    }

    #[test]
    fn the_two_that_everybody_pastes() {
        let hit = parse(
            NGINX,
            r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://x/" "a\"b\x41" "10.0.0.1, 10.0.0.2" 0.012"#,
        )
        .unwrap();
        assert_eq!((hit.time, &*hit.address, &*hit.method, &*hit.path), (AT, "203.0.113.7", "GET", "/a"));
        assert_eq!((hit.query.as_deref(), hit.status, hit.bytes), (Some("b=1"), Some(200), 512));
        assert_eq!((hit.referer.as_deref(), hit.user_agent.as_deref()), (Some("https://x/"), Some("a\"bA")));
        assert_eq!(hit.duration_us, Some(12_000));
        let hit = parse(
            APACHE,
            r#"2001:db8::1 - ann b [20/Nov/2026:11:14:07 +0100] "HEAD / HTTP/1.0" 304 - "-" "-" 1500 news.example:443"#,
        )
        .unwrap();
        assert_eq!((hit.time, &*hit.address, &*hit.method, &*hit.path), (AT, "2001:db8::1", "HEAD", "/"));
        assert_eq!((hit.status, hit.bytes, hit.referer, hit.user_agent), (Some(304), 0, None, None));
        assert_eq!((hit.duration_us, &*hit.host), (Some(1_500), "news.example"));
    }

    #[test]
    fn fields_by_name() {
        let cases: &[(&str, &str, fn(&Hit<'_>) -> String, &str)] = &[
            ("$msec $uri", "1795169647.123 /", |h| h.time.as_millis().to_string(), "1795169647123"),
            ("$time_iso8601 $uri", "2026-11-20T10:14:07+00:00 /", |h| h.time.as_secs().to_string(), "1795169647"),
            ("%{msec}t %U", "1795169647123 /", |h| h.time.as_millis().to_string(), "1795169647123"),
            ("%{usec}t %U", "1795169647123456 /", |h| h.time.as_micros().to_string(), "1795169647123456"),
            // The finer time counts, wherever it stands.
            (
                "$msec [$time_local] $uri",
                "1795169647.123 [20/Nov/2026:10:14:07 +0000] /",
                |h| h.time.as_millis().to_string(),
                "1795169647123",
            ),
            ("$msec ${uri}", "1795169647.5 /a", |h| h.path.to_string(), "/a"),
            ("$msec $request_uri $uri", "1795169647.5 /a?b /index.php", |h| h.path.to_string(), "/a"),
            ("$msec $uri$is_args$args", "1795169647.5 /a?b?c", |h| h.query.clone().unwrap().into(), "b?c"),
            ("%{sec}t %m %U%q %H", "1795169647 GET /a?b HTTP/2", |h| h.query.clone().unwrap().into(), "b"),
            ("%{sec}t %m %U %q", "1795169647 GET /a ?b", |h| h.query.clone().unwrap().into(), "b"),
            ("$msec $uri $args", "1795169647.5 /a -", |h| format!("{:?}", h.query), "None"),
            ("$msec $uri $status", "1795169647.5 /a 000", |h| format!("{:?}", h.status), "None"),
            ("%{sec}t %U %>s %s", "1795169647 /a 404 200", |h| format!("{:?}", h.status), "Some(404)"),
            ("%{sec}t %U %b %O", "1795169647 /a 10 300", |h| h.bytes.to_string(), "10"),
            ("%{sec}t %U %O", "1795169647 /a 300", |h| h.bytes.to_string(), "300"),
            ("%{sec}t %U %{c}a %a", "1795169647 /a 10.0.0.1 203.0.113.7", |h| h.address.to_string(), "203.0.113.7"),
            ("$msec $uri $server_name $host", "1795169647.5 / _ a.example", |h| h.host.to_string(), "a.example"),
            ("%{sec}t %U %{ms}T", "1795169647 / 12", |h| format!("{:?}", h.duration_us), "Some(12000)"),
            ("%{sec}t %U %T %D", "1795169647 / 0 12", |h| format!("{:?}", h.duration_us), "Some(12)"),
            (
                "$msec $upstream_response_time $uri",
                "1795169647.5 0.004, - : 0.010 /",
                |h| format!("{:?}", h.upstream_us),
                "Some(14000)",
            ),
            ("$msec $upstream_response_time $uri", "1795169647.5 - /", |h| format!("{:?}", h.upstream_us), "None"),
            (
                "$msec $uri $sent_http_content_type",
                "1795169647.5 / text/html",
                |h| format!("{:?}", h.content_type),
                "Some(\"text/html\")",
            ),
            ("100%% %{sec}t %U %400,501{X-Y}e|%{A}C", "100% 1795169647 /a -|-", |h| h.path.to_string(), "/a"),
            (
                r#"{"t":$msec,"p":"$uri","id":"$request_id"}"#,
                r#"{"t":1795169647.5,"p":"/a","id":"f"}"#,
                |h| h.path.to_string(),
                "/a",
            ),
        ];
        for (format, line, get, expected) in cases {
            let compiled = LogFormat::compile(format).unwrap_or_else(|error| panic!("{format}: {error}"));
            let hit = compiled.parse(line, 0).unwrap_or_else(|reason| panic!("{format}: {reason:?}"));
            assert_eq!(get(&hit), *expected, "{format}");
        }
    }

    #[test]
    fn refused_formats_name_the_place() {
        for (format, expected) in [
            ("%h %t %r %z", "column 10 of the log format: unknown field `%z`"),
            ("%h %t %r %{X}^ti", "column 10 of the log format: unknown field `%{X}^`"),
            ("ä %{%d}t %r", "column 3 of the log format: unknown field `%{%d}t`"),
            ("%{oops", "column 1 of the log format: unknown field `%{`"),
            ("$host ${time_local $request", "column 7 of the log format: unknown field `${time_local`"),
            ("$remote_addr$time_local", "nothing stands between `$time_local` and the field before it"),
            ("%h%>s", "column 3 of the log format: nothing stands between `%>s` and the field before it"),
            ("$remote_addr \"$request\"", "no time"),
            ("%h %t", "no request"),
            ("", "no time"),
        ] {
            let error = LogFormat::compile(format).unwrap_err().to_string();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }

    #[test]
    fn lines_that_do_not_fit() {
        let good = r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 5 "-" "-" "-" 0.1"#;
        assert!(parse(NGINX, good).is_ok());
        assert!(parse(NGINX, &format!("{good}\r")).is_ok());
        for (line, reason) in [
            ("", Skipped::Malformed),
            ("203.0.113.7 - - [now", Skipped::Malformed),
            ("a - b [c] d", Skipped::Malformed),
            (good.replace("20/Nov", "20/Foo").as_str(), Skipped::BadTime),
            (good.replace(" 200 ", " 99 ").as_str(), Skipped::Malformed),
            (good.replace(" 5 ", " five ").as_str(), Skipped::Malformed),
        ] {
            assert_eq!(parse(NGINX, line), Err(reason), "{line}");
        }
        assert_eq!(
            parse("%t %U", "[20/Nov/2026:10:14:07 +0000] /"),
            parse("[$time_local] $uri", "[20/Nov/2026:10:14:07 +0000] /")
        );
        assert_eq!(parse("$msec $uri", "17.5 /"), Err(Skipped::BadTime));
    }

    #[test]
    fn quotes_end_at_the_quote_that_is_not_escaped() {
        let agent = |line: &'static str| {
            parse(r#"%{sec}t %U "%{User-agent}i" "%{X}i""#, line).map(|h| h.user_agent.unwrap().into_owned())
        };
        assert_eq!(agent(r#"1795169647 / "a \" \"b" "x""#).unwrap(), r#"a " "b"#);
        assert_eq!(agent(r#"1795169647 / "a\\" "x""#).unwrap(), r"a\");
        assert_eq!(agent(r#"1795169647 / "a\" "x"#), Err(Skipped::Malformed));
    }

    proptest! {
        #[test]
        fn anything_compiles_or_is_refused(format in any::<String>(), line in any::<String>()) {
            if let Ok(format) = LogFormat::compile(&format) {
                let _ = format.parse(&line, 1);
            }
        }

        #[test]
        fn near_formats_never_panic(format in r#"(\$[a-z_]{0,8}|%[{>!a-zA-Z}]{0,6}|[ \["\\ä]){0,12}\$msec \$uri"#, line in r#"[ \["\\ä0-9,:.-]{0,60}"#) {
            if let Ok(format) = LogFormat::compile(&format) {
                let _ = format.parse(&line, 1);
            }
            for format in [NGINX, APACHE] {
                let _ = LogFormat::compile(format).unwrap().parse(&line, 2);
            }
        }
    }
}
