//! Caddy's JSON access log.

use serde_json::Value;

use super::super::hit::{Hit, Skipped, Text};
use super::json::{Object, first, object, text, time};
use super::{bytes, client_of, micros, status, target};

/// Reads one line.
pub(crate) fn parse(line: &str, hop: usize) -> Result<Hit<'_>, Skipped> {
    let mut fields = object(line)?;
    // Errors and what the proxy does have the request, too; they would count it twice.
    let access = fields.get("msg").is_none_or(|msg| msg == "handled request");
    let Some(Value::Object(mut request)) = fields.remove("request").filter(|_| access) else {
        return Err(Skipped::Malformed);
    };
    let mut headers = request.remove("headers");
    let mut answer = fields.remove("resp_headers");
    let address = first(&mut request, &["client_ip", "remote_ip", "remote_addr"]);
    let forwarded = if hop > 0 { header(&mut headers, "X-Forwarded-For") } else { None };
    let mut hit = Hit {
        address: client_of(address, forwarded, hop),
        user_agent: header(&mut headers, "User-Agent"),
        referer: header(&mut headers, "Referer"),
        content_type: header(&mut answer, "Content-Type"),
        method: first(&mut request, &["method"]).unwrap_or_default(),
        status: first(&mut fields, &["status"]).map_or(Ok(None), |text| status(&text))?,
        bytes: first(&mut fields, &["size"]).map_or(Ok(0), |text| bytes(&text))?,
        duration_us: first(&mut fields, &["duration"]).and_then(|text| duration(&text)),
        ..Hit::default()
    };
    set_target(&mut request, &mut hit);
    time(fields.remove("ts")).ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

fn set_target(request: &mut Object, hit: &mut Hit<'_>) {
    if let Some(uri) = first(request, &["uri"]) {
        target(uri, hit);
    }
    if hit.host.is_empty() {
        hit.host = first(request, &["host"]).unwrap_or_default();
    }
}

/// The first value of a header.
fn header(headers: &mut Option<Value>, name: &str) -> Option<Text<'static>> {
    match headers.as_mut()?.as_object_mut()?.remove(name)? {
        Value::Array(values) => text(values.into_iter().next()),
        value => text(Some(value)),
    }
}

/// Microseconds of seconds, or of `1m2.5s` as Go writes it.
fn duration(text: &str) -> Option<u64> {
    match text.parse::<f64>() {
        Ok(seconds) => micros(seconds * 1_000_000.0),
        Err(_) => micros(go_duration(text)?),
    }
}

fn go_duration(text: &str) -> Option<f64> {
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        sum += number.parse::<f64>().ok()? * micros_of(unit)?;
        rest = after;
    }
    Some(sum)
}

fn micros_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3_600_000_000.0,
        "m" => 60_000_000.0,
        "s" => 1_000_000.0,
        "ms" => 1_000.0,
        // Micro sign, Greek mu, and neither.
        "\u{b5}s" | "\u{3bc}s" | "us" => 1.0,
        "ns" => 0.001,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
        super::parse(line, 0)
    }

    #[test]
    fn forwarded_addresses_count_where_they_are_trusted() {
        let line = r#"{"ts":1795169647,"request":{"remote_ip":"10.0.0.1","uri":"/","headers":{"X-Forwarded-For":["6.6.6.6, 203.0.113.7"]}},"status":200}"#;
        let address = |hop| super::parse(line, hop).unwrap().address.into_owned();
        assert_eq!([0, 1, 2].map(address), ["10.0.0.1", "203.0.113.7", "6.6.6.6"]);
    }

    fn line(head: &str, request: &str, tail: &str) -> String {
        format!(
            r#"{{"level":"info",{head},"logger":"http.log.access","msg":"handled request","request":{{{request},"proto":"HTTP/2.0","method":"GET","host":"news.example","uri":"/a?b=1","headers":{{"User-Agent":["curl/8.5.0","second"],"Referer":["https://x.example/"]}}}},{tail}}}"#
        )
    }

    #[test]
    fn a_line() {
        let line = line(
            r#""ts":1795169647.25"#,
            r#""remote_ip":"10.0.0.1","remote_port":"4711","client_ip":"203.0.113.7""#,
            r#""duration":0.0125,"size":512,"status":200,"resp_headers":{"Content-Type":["text/html"]}"#,
        );
        let hit = parse(&line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_millis()), ("203.0.113.7", 1_795_169_647_250));
        assert_eq!((hit.method.as_ref(), hit.host.as_ref(), hit.path.as_ref()), ("GET", "news.example", "/a"));
        assert_eq!((hit.query.as_deref(), hit.referer.as_deref()), (Some("b=1"), Some("https://x.example/")));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!((hit.duration_us, hit.content_type.as_deref()), (Some(12_500), Some("text/html")));
    }

    #[test]
    fn addresses_of_older_versions() {
        let tail = r#""size":0,"status":304"#;
        let older = line(r#""ts":1795169647"#, r#""remote_ip":"203.0.113.7""#, tail);
        assert_eq!(parse(&older).unwrap().address, "203.0.113.7");
        let oldest = line(r#""ts":1795169647"#, r#""remote_addr":"[2001:db8::7]:4711""#, tail);
        assert_eq!(parse(&oldest).unwrap().address, "2001:db8::7");
    }

    #[test]
    fn status_zero_is_no_answer_and_the_duration_may_be_text() {
        let line = line(
            r#""ts":"2026-11-20T10:14:07.250Z""#,
            r#""client_ip":"203.0.113.7""#,
            r#""duration":"1m2.5s","size":0,"status":0"#,
        );
        let hit = parse(&line).unwrap();
        assert_eq!((hit.status, hit.bytes, hit.time.as_secs()), (None, 0, 1_795_169_647));
        assert_eq!(hit.duration_us, Some(62_500_000));
    }

    #[test]
    fn durations() {
        assert_eq!(
            (duration("1.2ms"), duration("231.4\u{b5}s"), duration("2.701e-6")),
            (Some(1_200), Some(231), Some(3))
        );
        assert_eq!((duration("2 fortnights"), duration("s")), (None, None));
    }

    #[test]
    fn other_lines_of_caddy() {
        for line in [
            r#"{"level":"info","ts":1795169647.1,"logger":"tls","msg":"certificate obtained"}"#,
            r#"{"level":"error","ts":1795169647.1,"logger":"http.log.error","msg":"dial tcp: refused","request":{"uri":"/a"},"status":502}"#,
            r#"{"msg":"handled request"}"#,
            "2026/11/20 10:14:07 INFO handled request",
        ] {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
        let timeless = line(r#""ts":"soon""#, r#""client_ip":"203.0.113.7""#, r#""status":200"#);
        assert_eq!(parse(&timeless), Err(Skipped::BadTime));
    }
}
