//! Cloudflare's Logpush, data set `http_requests`.

use std::borrow::Cow;

use super::super::hit::{Hit, Skipped};
use super::json::{first, object, time};
use super::{bytes, client, part, status, target};

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
    let mut fields = object(line)?;
    let Some(start) = fields.remove("EdgeStartTimestamp") else { return Err(Skipped::Malformed) };
    let end = time(fields.remove("EdgeEndTimestamp"));
    let mut hit = Hit {
        address: first(&mut fields, &["ClientIP"]).map(|address| part(address, client)).unwrap_or_default(),
        user_agent: first(&mut fields, &["ClientRequestUserAgent"]),
        referer: first(&mut fields, &["ClientRequestReferer"]),
        content_type: first(&mut fields, &["EdgeResponseContentType"]),
        method: first(&mut fields, &["ClientRequestMethod"]).unwrap_or_default(),
        host: first(&mut fields, &["ClientRequestHost"]).unwrap_or_default(),
        status: first(&mut fields, &["EdgeResponseStatus"]).map_or(Ok(None), |text| status(&text))?,
        bytes: first(&mut fields, &["EdgeResponseBytes"]).map_or(Ok(0), |text| bytes(&text))?,
        foreign_signal: first(&mut fields, &["BotScore"]).map(|score| Cow::Owned(format!("BotScore={score}"))),
        ..Hit::default()
    };
    if let Some(uri) = first(&mut fields, &["ClientRequestURI", "ClientRequestPath"]) {
        target(uri, &mut hit);
    }
    time(Some(start)).ok_or(Skipped::BadTime)?.set(&mut hit);
    hit.duration_us = end.and_then(|end| end.time.checked_sub(hit.time)).map(|span| span.as_micros() as u64);
    Ok(hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(start: &str) -> String {
        format!(
            r#"{{"BotScore":2,"ClientIP":"203.0.113.7","ClientRequestHost":"news.example","ClientRequestMethod":"GET","ClientRequestPath":"/a","ClientRequestURI":"/a?b=1","ClientRequestUserAgent":"curl/8.5.0","ClientRequestReferer":"","EdgeResponseBytes":512,"EdgeResponseStatus":200,"EdgeStartTimestamp":{start}}}"#
        )
    }

    #[test]
    fn times_are_nanoseconds_or_text() {
        for start in [
            "1795169647250000000",
            "\"1795169647250000000\"",
            "\"2026-11-20T10:14:07.25Z\"",
            "\"2026-11-20T11:14:07.25+01:00\"",
        ] {
            let line = line(start);
            assert_eq!(parse(&line).unwrap().time.as_millis(), 1_795_169_647_250, "{start}");
        }
        assert_eq!(parse(&line("1795169647")).unwrap().time.as_secs(), 1_795_169_647);
        assert_eq!(parse(&line("\"soon\"")), Err(Skipped::BadTime));
    }

    #[test]
    fn the_score_is_kept() {
        let line = line("1795169647250000000");
        let hit = parse(&line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.host.as_ref()), ("203.0.113.7", "news.example"));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!((hit.foreign_signal.as_deref(), hit.referer), (Some("BotScore=2"), None));
    }

    #[test]
    fn few_fields_are_enough() {
        let line = r#"{"ClientIP":"2001:db8::7","ClientRequestPath":"/a","EdgeResponseStatus":0,"EdgeStartTimestamp":1795169647000000000,"EdgeEndTimestamp":1795169647250000000}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref(), hit.status), ("2001:db8::7", "/a", None));
        assert_eq!((hit.foreign_signal, hit.duration_us), (None, Some(250_000)));
    }

    #[test]
    fn other_lines() {
        for line in ["", "{}", r#"{"Action":"block","ClientIP":"203.0.113.7"}"#] {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
    }
}
