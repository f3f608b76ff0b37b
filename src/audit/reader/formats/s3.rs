//! Server access logs of Amazon S3.

use std::borrow::Cow;

use super::super::combined::{present, quoted, request_line};
use super::super::hit::{Hit, Skipped, Text};
use super::super::time::clf;
use super::{bytes, client, status, word};

/// Operations that somebody asked for; what S3 does on its own, as when objects expire, is logged beside them.
const OPERATIONS: [&str; 3] = ["REST.", "WEBSITE.", "SOAP."];

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
    let (mut hit, stamp) = fields(line).ok_or(Skipped::Malformed)?;
    clf(stamp).ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

/// `owner bucket [time] address requester id operation key "request" status error bytes size total turnaround
/// "referer" "user agent" version host-id signature cipher authentication host …`
fn fields(line: &str) -> Option<(Hit<'_>, &str)> {
    let mut rest = line;
    word(&mut rest)?;
    word(&mut rest)?;
    let (stamp, mut rest) = rest.trim_start().strip_prefix('[')?.split_once(']')?;
    let address = word(&mut rest)?;
    word(&mut rest)?;
    word(&mut rest)?;
    let operation = word(&mut rest)?;
    if !OPERATIONS.iter().any(|known| operation.starts_with(known)) {
        return None;
    }
    word(&mut rest)?;
    let mut hit = Hit { address: present(Cow::Borrowed(client(address))).unwrap_or_default(), ..Hit::default() };
    if let Some(request) = value(&mut rest) {
        request_line(request, &mut hit);
    }
    hit.status = status(word(&mut rest)?).ok()?;
    word(&mut rest)?;
    hit.bytes = bytes(word(&mut rest)?).ok()?;
    word(&mut rest)?;
    hit.duration_us = milliseconds(word(&mut rest)?);
    hit.upstream_us = milliseconds(word(&mut rest)?);
    hit.referer = value(&mut rest);
    hit.user_agent = value(&mut rest);
    if let Some(host) = rest.split_whitespace().nth(5).and_then(|host| present(Cow::Borrowed(host))) {
        hit.host = host;
    }
    Some((hit, stamp))
}

/// A value in quotes, or a bare `-`.
fn value<'l>(rest: &mut &'l str) -> Option<Text<'l>> {
    quoted(rest).or_else(|| word(rest).map(Cow::Borrowed)).and_then(present)
}

/// Microseconds of a number of milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    text.parse::<u64>().ok()?.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let line = r#"79a5 news [20/Nov/2026:10:14:07 +0000] 203.0.113.7 - 3E57 REST.GET.OBJECT a.html "GET /a.html?b=1 HTTP/1.1" 200 - 512 2048 70 10 "https://x.example/" "curl/8.5.0" - s9lz= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader news.s3.eu-west-1.amazonaws.com TLSv1.3 - -"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a.html", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!((hit.duration_us, hit.upstream_us), (Some(70_000), Some(10_000)));
        assert_eq!(hit.referer.as_deref(), Some("https://x.example/"));
        assert_eq!(hit.host, "news.s3.eu-west-1.amazonaws.com");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let line = "79a5 news [20/Nov/2026:10:14:07 +0000] - - 3E57 REST.HEAD.BUCKET - - 307 - - - - - - -";
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref(), hit.status, hit.bytes), ("", "", Some(307), 0));
        assert_eq!((hit.user_agent, hit.referer, hit.duration_us), (None, None, None));
    }

    #[test]
    fn other_lines() {
        for line in [
            r#"79a5 news [20/Nov/2026:10:14:07 +0000] - AmazonS3 3E57 S3.EXPIRE.OBJECT a.html "-" - - - 2048 - - "-" "-" - s9lz= - - - - -"#,
            r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "-""#,
            "",
        ] {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
        let timeless =
            r#"79a5 news [soon] 203.0.113.7 - 3E57 REST.GET.OBJECT a "GET /a HTTP/1.1" 200 - 1 1 1 1 "-" "-" -"#;
        assert_eq!(parse(timeless), Err(Skipped::BadTime));
    }
}
