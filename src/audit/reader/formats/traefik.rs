//! Traefik's access log: Common Log Format with four fields more, and JSON.

use std::borrow::Cow;

use super::super::combined::{present, quoted, request_line};
use super::super::hit::{Hit, Skipped};
use super::super::time::clf;
use super::json::{Object, first, object, time};
use super::{bytes, client, client_of, part, status, target, word};

/// Reads a line of the JSON log.
pub(crate) fn parse_json(line: &str, hop: usize) -> Result<Hit<'_>, Skipped> {
    let mut fields = object(line)?;
    let Some(path) = first(&mut fields, &["RequestPath"]) else { return Err(Skipped::Malformed) };
    let address = first(&mut fields, &["ClientHost", "ClientAddr"]);
    let forwarded = if hop > 0 { first(&mut fields, &["request_X-Forwarded-For"]) } else { None };
    let mut hit = Hit {
        address: client_of(address, forwarded, hop),
        user_agent: first(&mut fields, &["request_User-Agent"]),
        referer: first(&mut fields, &["request_Referer"]),
        content_type: first(&mut fields, &["downstream_Content-Type", "origin_Content-Type"]),
        method: first(&mut fields, &["RequestMethod"]).unwrap_or_default(),
        host: first(&mut fields, &["RequestHost", "RequestAddr"]).unwrap_or_default(),
        status: first(&mut fields, &["DownstreamStatus"]).map_or(Ok(None), |text| status(&text))?,
        bytes: first(&mut fields, &["DownstreamContentSize"]).map_or(Ok(0), |text| bytes(&text))?,
        duration_us: nanoseconds(&mut fields, "Duration"),
        upstream_us: nanoseconds(&mut fields, "OriginDuration").filter(|micros| *micros > 0),
        ..Hit::default()
    };
    target(path, &mut hit);
    let start = ["StartUTC", "StartLocal", "time"].iter().find_map(|key| time(fields.remove(*key)));
    start.ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

/// Microseconds of a number of nanoseconds.
fn nanoseconds(fields: &mut Object, key: &str) -> Option<u64> {
    let nanos: u64 = first(fields, &[key])?.parse().ok()?;
    Some(nanos / 1_000)
}

/// Reads a line of the log in Common Log Format.
pub(crate) fn parse_clf(line: &str) -> Result<Hit<'_>, Skipped> {
    let (mut hit, stamp) = fields(line).ok_or(Skipped::Malformed)?;
    clf(stamp).ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

/// `… "user agent" requests "router" "server" 2ms`: only the duration tells it from Combined.
fn fields(line: &str) -> Option<(Hit<'_>, &str)> {
    let (line, duration) = line.trim_end().rsplit_once(' ')?;
    let duration: u64 = duration.strip_suffix("ms")?.parse().ok()?;
    let (head, rest) = line.split_once(" [")?;
    let (stamp, mut rest) = rest.split_once(']')?;
    let (address, _) = head.split_once(" - ")?;
    let mut hit = Hit { address: Cow::Borrowed(client(address)), ..Hit::default() };
    hit.duration_us = duration.checked_mul(1_000);
    request_line(quoted(&mut rest)?, &mut hit);
    hit.status = status(word(&mut rest)?).ok()?;
    hit.bytes = bytes(word(&mut rest)?).ok()?;
    hit.referer = quoted(&mut rest).and_then(present);
    hit.user_agent = quoted(&mut rest).map(|agent| part(agent, without_count)).and_then(present);
    Some((hit, stamp))
}

/// An agent whose closing quote is missing has the number of requests and a space behind it.
fn without_count(agent: &str) -> &str {
    match agent.strip_suffix(' ').and_then(|text| text.rsplit_once(' ')) {
        Some((agent, count)) if count.bytes().all(|b| b.is_ascii_digit()) => agent,
        _ => agent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_json(line: &str) -> Result<Hit<'_>, Skipped> {
        super::parse_json(line, 0)
    }

    #[test]
    fn forwarded_addresses_count_where_they_are_trusted() {
        let line = r#"{"ClientHost":"10.0.0.1","RequestPath":"/","StartUTC":"2026-11-20T10:14:07Z","request_X-Forwarded-For":"6.6.6.6, 203.0.113.7"}"#;
        let address = |hop| super::parse_json(line, hop).unwrap().address.into_owned();
        assert_eq!([0, 1, 2].map(address), ["10.0.0.1", "203.0.113.7", "6.6.6.6"]);
    }

    #[test]
    fn clf_with_four_fields_more() {
        let line = r#"203.0.113.7 - ann [20/Nov/2026:11:14:07 +0100] "GET /a?b=1 HTTP/2.0" 200 512 "https://x.example/" "curl/8.5.0" 17 "news@docker" "http://10.0.0.5:80" 2ms"#;
        let hit = parse_clf(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.duration_us), (Some(200), 512, Some(2_000)));
        assert_eq!(
            (hit.referer.as_deref(), hit.user_agent.as_deref()),
            (Some("https://x.example/"), Some("curl/8.5.0"))
        );
    }

    #[test]
    fn no_answer_no_agent_and_a_user_with_a_space() {
        let line = r#"203.0.113.7 - ann lee [20/Nov/2026:10:14:07 +0000] "GET /a HTTP/1.1" - - "-" "-" 17 "-" "-" 0ms"#;
        let hit = parse_clf(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref(), hit.status, hit.bytes), ("203.0.113.7", "/a", None, 0));
        assert_eq!((hit.user_agent, hit.duration_us), (None, Some(0)));
    }

    #[test]
    fn a_quote_may_be_missing() {
        for tail in [
            r#""curl/8.5.0 17 "news@docker" "http://10.0.0.5:80" 2ms"#,
            r#""curl/8.5.0" 17 "news@docker "http://10.0.0.5:80" 2ms"#,
            r#""curl/8.5.0" 17 "news@docker" "http://10.0.0.5:80 2ms"#,
        ] {
            let line = format!(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /a HTTP/1.1" 200 9 "-" {tail}"#);
            let hit = parse_clf(&line).unwrap();
            assert_eq!((hit.user_agent.as_deref(), hit.duration_us), (Some("curl/8.5.0"), Some(2_000)), "{tail}");
        }
    }

    #[test]
    fn json_counts_nanoseconds() {
        let line = r#"{"ClientAddr":"203.0.113.7:4711","ClientHost":"203.0.113.7","DownstreamContentSize":512,"DownstreamStatus":200,"Duration":2337877,"OriginDuration":823492,"RequestHost":"news.example","RequestMethod":"GET","RequestPath":"/a?b=1","StartLocal":"2026-11-20T11:14:07.25+01:00","StartUTC":"2026-11-20T10:14:07.25Z","downstream_Content-Type":"text/html","request_User-Agent":"curl/8.5.0","level":"info","time":"2026-11-20T11:14:09+01:00"}"#;
        let hit = parse_json(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_millis()), ("203.0.113.7", 1_795_169_647_250));
        assert_eq!((hit.host.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("news.example", "/a", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!((hit.duration_us, hit.upstream_us), (Some(2_337), Some(823)));
    }

    #[test]
    fn json_with_forwarded_addresses_and_without_headers() {
        let line = r#"{"ClientAddr":"10.0.0.1:4711","ClientHost":"6.6.6.6,203.0.113.7","DownstreamContentSize":0,"DownstreamStatus":204,"OriginDuration":0,"RequestMethod":"OPTIONS","RequestPath":"/","time":"2026-11-20T11:14:07+01:00"}"#;
        let hit = parse_json(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.status, hit.user_agent, hit.upstream_us), (Some(204), None, None));
    }

    #[test]
    fn other_lines() {
        for line in [
            "DEBUG: SomePlugin: 2026/11/20 10:14:07 cache updated",
            r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET /a HTTP/1.1" 200 9 "-" "curl/8.5.0""#,
            "",
        ] {
            assert_eq!(parse_clf(line), Err(Skipped::Malformed), "{line}");
        }
        for line in [r#"{"level":"info","msg":"Configuration loaded","time":"2026-11-20T10:14:07Z"}"#, "DEBUG"] {
            assert_eq!(parse_json(line), Err(Skipped::Malformed), "{line}");
        }
        let timeless = r#"203.0.113.7 - - [20/Foo/2026:10:14:07 +0000] "GET /a HTTP/1.1" 200 9 "-" "-" 1 "-" "-" 2ms"#;
        assert_eq!(parse_clf(timeless), Err(Skipped::BadTime));
        assert_eq!(parse_json(r#"{"RequestPath":"/","StartUTC":"soon"}"#), Err(Skipped::BadTime));
    }
}
