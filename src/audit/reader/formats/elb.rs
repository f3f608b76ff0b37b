//! Elastic Load Balancing: Application Load Balancers and the classic ones.

use std::borrow::Cow;

use super::super::combined::{present, quoted, request_line};
use super::super::hit::{Hit, Skipped};
use super::super::time::rfc3339;
use super::{before_port, bytes, micros, status, word};

/// What an Application Load Balancer puts first.
const TYPES: [&str; 6] = ["http", "https", "h2", "grpcs", "ws", "wss"];

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
    let (mut hit, stamp) = fields(line).ok_or(Skipped::Malformed)?;
    hit.time = rfc3339(stamp).ok_or(Skipped::BadTime)?;
    Ok(hit)
}

/// `[type] time balancer client:port target:port`, three times, two statuses, two sizes, `"request" "user agent"`.
fn fields(line: &str) -> Option<(Hit<'_>, &str)> {
    let mut rest = line;
    let first = word(&mut rest)?;
    let stamp = if TYPES.contains(&first) { word(&mut rest)? } else { first };
    word(&mut rest)?;
    let client = word(&mut rest)?;
    word(&mut rest)?;
    let mut hit = Hit { address: Cow::Borrowed(before_port(client)), ..Hit::default() };
    times(&mut rest, &mut hit)?;
    hit.status = status(word(&mut rest)?).ok()?;
    word(&mut rest)?;
    word(&mut rest)?;
    hit.bytes = bytes(word(&mut rest)?).ok()?;
    let request = quoted(&mut rest)?;
    // What a classic balancer passes on as TCP has neither request nor status.
    let unread = request.starts_with("- ");
    if unread && hit.status.is_none() {
        return None;
    }
    if !unread {
        request_line(request, &mut hit);
    }
    hit.user_agent = quoted(&mut rest).and_then(present);
    Some((hit, stamp))
}

/// Seconds before, at and after the target; `-1` where it was not asked.
fn times(rest: &mut &str, hit: &mut Hit<'_>) -> Option<()> {
    let mut next = || word(rest)?.parse::<f64>().ok();
    let (before, target, after) = (next()?, next()?, next()?);
    hit.upstream_us = micros(target * 1_000_000.0);
    if before >= 0.0 && target >= 0.0 && after >= 0.0 {
        hit.duration_us = micros((before + target + after) * 1_000_000.0);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = r#"TLS_AES_128_GCM_SHA256 TLSv1.3 arn:aws:x "Root=1-2" "news.example" "arn:aws:y" 0 2026-11-20T10:14:07.000000Z "forward" "-" "-" "10.0.0.5:80" "200" "-" "-""#;

    #[test]
    fn application_load_balancers() {
        for kind in TYPES {
            let line = format!(
                r#"{kind} 2026-11-20T10:14:07.250000Z app/news/50dc 203.0.113.7:4711 10.0.0.5:80 0.001 0.020 0.000 200 200 34 512 "GET https://news.example:443/a?b=1 HTTP/2.0" "curl/8.5.0" {TAIL}"#
            );
            let hit = parse(&line).unwrap();
            assert_eq!((hit.address.as_ref(), hit.time.as_millis()), ("203.0.113.7", 1_795_169_647_250));
            assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a", Some("b=1")));
            assert!(hit.host.starts_with("news.example"));
            assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
            assert_eq!((hit.duration_us, hit.upstream_us), (Some(21_000), Some(20_000)));
        }
    }

    #[test]
    fn without_target_the_times_are_negative() {
        let line = format!(
            r#"https 2026-11-20T10:14:07.250000Z app/news/50dc [2001:db8::7]:4711 - -1 -1 -1 403 - 34 118 "GET https://news.example:443/ HTTP/1.1" "-" {TAIL}"#
        );
        let hit = parse(&line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref(), hit.status), ("2001:db8::7", "/", Some(403)));
        assert_eq!((hit.duration_us, hit.upstream_us, hit.user_agent), (None, None, None));
    }

    #[test]
    fn a_request_that_could_not_be_read() {
        let line = format!(
            r#"http 2026-11-20T10:14:07.250000Z app/news/50dc 203.0.113.7:4711 - -1 -1 -1 400 - 0 272 "- http://news.example:80- -" "-" {TAIL}"#
        );
        let hit = parse(&line).unwrap();
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.status), ("", "", Some(400)));
    }

    #[test]
    fn classic_load_balancers() {
        let line = r#"2026-11-20T10:14:07.250000Z news 203.0.113.7:4711 10.0.0.5:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://news.example:80/a HTTP/1.1" "curl/8.5.0" - -"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.path.as_ref(), hit.status, hit.bytes), ("/a", Some(200), 29));
        assert_eq!((hit.user_agent.as_deref(), hit.duration_us), (Some("curl/8.5.0"), Some(1_178)));
    }

    #[test]
    fn other_lines() {
        for line in [
            r#"2026-11-20T10:14:07.250000Z news 203.0.113.7:4711 10.0.0.5:80 0.001 0.000 0.000 - - 82 305 "- - - " "-" - -"#,
            r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "-""#,
            "Enable AWS ELB logging",
            "",
        ] {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
        let timeless = r#"http yesterday app/news/50dc 203.0.113.7:4711 - -1 -1 -1 400 - 0 272 "GET / HTTP/1.1" "-""#;
        assert_eq!(parse(timeless), Err(Skipped::BadTime));
    }
}
