//! HAProxy's HTTP log, alone or behind what syslog puts in front.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::super::combined::request_line;
use super::super::hit::{Hit, Skipped, Text};
use super::super::time::{Stamp, clf};
use super::{before_port, billionths, bytes, hex_decoded, status, word};

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
    let (mut hit, stamp) = fields(line).ok_or(Skipped::Malformed)?;
    accept_date(stamp).ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

/// `client:port [date] frontend backend/server timers status bytes`, five words, `{captures}`, `"request"`.
fn fields(line: &str) -> Option<(Hit<'_>, &str)> {
    let (head, stamp, mut rest) = dated(line)?;
    let client = head.rsplit_once(' ').map_or(head, |(_, client)| client);
    word(&mut rest)?;
    word(&mut rest).filter(|server| server.contains('/'))?;
    // Else the protocol of a request line in another format would pass for them.
    let is_timer =
        |timer: &str| !timer.is_empty() && timer.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+'));
    let timers = word(&mut rest).filter(|timers| timers.contains('/') && timers.split('/').all(is_timer))?;
    let mut hit = Hit { address: Cow::Borrowed(before_port(client)), ..Hit::default() };
    hit.duration_us = timers.rsplit('/').next().and_then(milliseconds);
    hit.upstream_us = timers.split('/').nth(3).and_then(milliseconds);
    hit.status = status(word(&mut rest)?).ok()?;
    hit.bytes = bytes(word(&mut rest)?).ok()?;
    // Cookies, state, connections, queues.
    for _ in 0..5 {
        word(&mut rest)?;
    }
    captures(&mut rest, &mut hit);
    // A long request is cut, with its quote.
    let request = rest.trim_start().strip_prefix('"')?;
    let request = request.split_once('"').map_or(request, |(request, _)| request);
    if request != "<BADREQ>" {
        request_line(decoded(request), &mut hit);
    }
    Some((hit, stamp))
}

/// Splits at the date, which is not the first bracket if syslog adds structured data.
fn dated(line: &str) -> Option<(&str, &str, &str)> {
    line.match_indices(" [").find_map(|(at, mark)| {
        let head = line.get(..at)?;
        let (stamp, rest) = line.get(at + mark.len()..)?.split_once(']')?;
        (stamp.as_bytes().get(2) == Some(&b'/')).then_some((head, stamp, rest))
    })
}

/// `20/Nov/2026:10:14:07.250`, and what a log format of one's own may put behind it: ` +0100`.
fn accept_date(stamp: &str) -> Option<Stamp> {
    let date = stamp.split_once(' ').map_or(stamp, |(date, _)| date);
    let fraction = date.split_once('.').map_or("", |(_, fraction)| fraction);
    let whole = clf(stamp)?;
    let time = whole.time.checked_add(Duration::from_nanos(billionths(fraction)?))?;
    Some(Stamp { time, ..whole })
}

/// Microseconds of a timer; `-1` was never reached, `+` says that the line was written before the end.
fn milliseconds(timer: &str) -> Option<u64> {
    timer.parse::<u64>().ok()?.checked_mul(1_000)
}

/// The line does not name what was captured; only the request's headers are looked at, if the answer's are there, too.
fn captures<'l>(rest: &mut &'l str, hit: &mut Hit<'l>) {
    let mut of_request = true;
    while let Some((block, after)) = rest.trim_start().strip_prefix('{').and_then(|text| text.split_once('}')) {
        if of_request {
            block.split('|').for_each(|value| capture(decoded(value), hit));
        }
        of_request = false;
        *rest = after;
    }
}

fn capture<'l>(value: Text<'l>, hit: &mut Hit<'l>) {
    if value.starts_with("http://") || value.starts_with("https://") {
        hit.referer.get_or_insert(value);
    } else if is_agent(&value) {
        hit.user_agent.get_or_insert(value);
    } else if hit.host.is_empty() && is_host(&value) {
        hit.host = value;
    }
}

/// `name/1…`
fn is_agent(value: &str) -> bool {
    let named = value.starts_with(|c: char| c.is_ascii_alphabetic());
    named && value.split_once('/').is_some_and(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_host(value: &str) -> bool {
    let shaped =
        value.contains('.') && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    shaped && before_port(value).parse::<IpAddr>().is_err() && value.parse::<IpAddr>().is_err()
}

/// `#HH` stands for a byte that would break the line.
fn decoded(text: &str) -> Text<'_> {
    hex_decoded(text, '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let line = r#"203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www~ news/web1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /a?b=1 HTTP/1.1""#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_millis()), ("203.0.113.7", 1_795_169_647_250));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.user_agent), (Some(200), 2750, None));
        assert_eq!((hit.duration_us, hit.upstream_us), (Some(109_000), Some(69_000)));
    }

    #[test]
    fn prefixes_of_syslog() {
        let body = r#"2001:db8::7:4711 [20/Nov/2026:10:14:07.250] www news/web1 0/0/0/5/5 200 7 - - ---- 1/1/1/1/0 0/0 "GET /a HTTP/1.1""#;
        for prefix in [
            "Nov 20 10:14:07 lb1 haproxy[14389]: ",
            "<134>Nov 20 10:14:07 haproxy[14389]: ",
            "<134>1 2026-11-20T10:14:07Z lb1 haproxy 14389 - [meta a=\"b\"] ",
        ] {
            let line = format!("{prefix}{body}");
            let hit = parse(&line).unwrap();
            assert_eq!((hit.address.as_ref(), hit.path.as_ref()), ("2001:db8::7", "/a"), "{prefix}");
        }
    }

    #[test]
    fn captured_headers() {
        let line = r#"203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www news/web1 0/0/0/5/5 200 7 - - ---- 1/1/1/1/0 0/0 {news.example|198.51.100.1|https://x.example/|Mozilla/5.0 (X11; #22y#22)} {nginx/1.27|text/html} "GET /a HTTP/1.1""#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.host.as_ref(), hit.path.as_ref()), ("news.example", "/a"));
        assert_eq!(hit.referer.as_deref(), Some("https://x.example/"));
        assert_eq!(hit.user_agent.as_deref(), Some("Mozilla/5.0 (X11; \"y\")"));
        let empty = line.replace("{news.example|198.51.100.1|https://x.example/|Mozilla/5.0 (X11; #22y#22)}", "{|||}");
        let hit = parse(&empty).unwrap();
        assert_eq!((hit.user_agent, hit.path.as_ref()), (None, "/a"));
    }

    #[test]
    fn requests_that_were_none_or_cut() {
        let bad = r#"203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www www/<NOSRV> -1/-1/-1/-1/10 400 187 - - PR-- 1/1/0/0/3 0/0 "<BADREQ>""#;
        let hit = parse(bad).unwrap();
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.status), ("", "", Some(400)));
        assert_eq!((hit.duration_us, hit.upstream_us), (Some(10_000), None));
        let cut = r#"203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www news/web1 0/0/0/-1/+5 -1 +7 - - CD-- 1/1/1/1/0 0/0 "GET /a-long-na"#;
        let hit = parse(cut).unwrap();
        assert_eq!((hit.path.as_ref(), hit.status, hit.bytes), ("/a-long-na", None, 7));
    }

    #[test]
    fn dates_with_and_without_zone() {
        let seconds = |stamp: &str| accept_date(stamp).map(|stamp| stamp.time.as_secs());
        assert_eq!(seconds("20/Nov/2026:10:14:07.250"), Some(1_795_169_647));
        assert_eq!(seconds("20/Nov/2026:11:14:07 +0100"), Some(1_795_169_647));
        assert_eq!(seconds("20/Nov/2026:11:14:07.250 +0100"), Some(1_795_169_647));
        assert_eq!(seconds("20/Foo/2026:10:14:07.250"), None);
    }

    #[test]
    fn other_lines() {
        for line in [
            "203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www/1: SSL handshake failure",
            "203.0.113.7:4711 [20/Nov/2026:10:14:07.250] www/1: Connection error during SSL handshake (a/b c/d 1 2 3)",
            "203.0.113.7:4711 [20/Nov/2026:10:14:07.250] tcp news/web1 0/0/5007 212 -- 0/0/0/0/3 0/0",
            "Nov 20 10:14:07 lb1 haproxy[14389]: Proxy www started.",
            "",
        ] {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
        let timeless = r#"203.0.113.7:4711 [20/Foo/2026:10:14:07.250] www news/web1 0/0/0/5/5 200 7 - - ---- 1/1/1/1/0 0/0 "GET /a HTTP/1.1""#;
        assert_eq!(parse(timeless), Err(Skipped::BadTime));
    }
}
