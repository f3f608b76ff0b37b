//! JSON access lines with a map of keys: nginx, Envoy and Istio, Fastly, Google Cloud.
//!
//! Also what the other JSON formats need to read their values. Numbers may be written as text and the other way round:
//! nginx quotes everything, Envoy does not.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::combined::{present, request_line};
use super::super::hit::{Hit, Skipped, Text};
use super::super::time::{Stamp, clf, iso8601};
use super::{billionths, bytes, client_of, hex_byte, micros, part, status, target};

/// Keys and values of a line.
pub(super) type Object = Map<String, Value>;

const TIME: &[&str] =
    &["time_iso8601", "time_local", "msec", "ts", "timestamp", "start_time", "time_start", "time", "@timestamp"];
const ADDRESS: &[&str] =
    &["remote_addr", "ip", "client", "client_ip", "remote_ip", "clientip", "downstream_remote_address", "remoteIp"];
/// Read only where it is trusted.
const FORWARDED: &[&str] = &["http_x_forwarded_for", "x_forwarded_for", "xff", "forwarded_for", "x-forwarded-for"];
const REQUEST: &[&str] = &["request"];
const TARGET: &[&str] = &["request_uri", "uri", "url", "requestUrl", "path"];
const METHOD: &[&str] = &["request_method", "method", "requestMethod"];
const QUERY: &[&str] = &["args", "query_string", "query"];
const HOST: &[&str] = &["host", "http_host", "authority", "server_name", "vhost"];
const STATUS: &[&str] = &["status", "response_code", "response_status", "status_code"];
const BYTES: &[&str] =
    &["body_bytes_sent", "bytes", "bytes_sent", "response_body_size", "resp_body_size", "responseSize", "size"];
const USER_AGENT: &[&str] = &["http_user_agent", "agent", "ua", "user_agent", "request_user_agent", "userAgent"];
const REFERER: &[&str] = &["http_referer", "referer", "referrer", "request_referer"];
const CONTENT_TYPE: &[&str] = &["sent_http_content_type", "response_content_type"];
/// With the microseconds of their unit.
const DURATION: &[(&str, f64)] =
    &[("request_time", 1_000_000.0), ("duration", 1_000.0), ("time_elapsed", 1.0), ("latency", 1_000_000.0)];
const UPSTREAM: &[(&str, f64)] = &[("upstream_response_time", 1_000_000.0), ("upstream_service_time", 1_000.0)];

/// Reads one line.
pub(crate) fn parse(line: &str, hop: usize) -> Result<Hit<'_>, Skipped> {
    let mut fields = object(line)?;
    if let Some(Value::Object(inner)) = fields.remove("httpRequest") {
        fields.extend(inner);
    }
    let mut hit = Hit::default();
    request(&mut fields, &mut hit)?;
    hit.status = first(&mut fields, STATUS).map_or(Ok(None), |text| status(&text))?;
    hit.bytes = first(&mut fields, BYTES).map_or(Ok(0), |text| bytes(&text))?;
    let forwarded = if hop > 0 { first(&mut fields, FORWARDED) } else { None };
    hit.address = client_of(first(&mut fields, ADDRESS), forwarded, hop);
    hit.user_agent = first(&mut fields, USER_AGENT);
    hit.referer = first(&mut fields, REFERER);
    hit.content_type = first(&mut fields, CONTENT_TYPE);
    hit.duration_us = span(&mut fields, DURATION);
    hit.upstream_us = span(&mut fields, UPSTREAM);
    TIME.iter().find_map(|key| time(fields.remove(*key))).ok_or(Skipped::BadTime)?.set(&mut hit);
    Ok(hit)
}

/// Some have the request's line, some its parts, and Fastly's `request` is the method.
fn request(fields: &mut Object, hit: &mut Hit<'_>) -> Result<(), Skipped> {
    if !REQUEST.iter().chain(TARGET).any(|key| fields.get(*key).is_some_and(Value::is_string)) {
        return Err(Skipped::Malformed);
    }
    let line = first(fields, REQUEST);
    let uri = first(fields, TARGET);
    let mut method = first(fields, METHOD);
    match (line, uri) {
        (Some(line), _) if line.contains(' ') => request_line(line, hit),
        (Some(line), Some(uri)) => {
            method = method.or_else(|| Some(line).filter(|word| word.bytes().all(|b| b.is_ascii_uppercase())));
            target(uri, hit);
        }
        (Some(line), None) if line.starts_with('/') => target(line, hit),
        (Some(line), None) => request_line(line, hit),
        (None, Some(uri)) => target(uri, hit),
        (None, None) => {}
    }
    if hit.method.is_empty() {
        hit.method = method.unwrap_or_default();
    }
    if hit.query.is_none() {
        hit.query = first(fields, QUERY).map(|query| part(query, |text| text.strip_prefix('?').unwrap_or(text)));
    }
    if hit.host.is_empty() {
        hit.host = first(fields, HOST).unwrap_or_default();
    }
    Ok(())
}

/// The first span that can be read, in microseconds.
fn span(fields: &mut Object, keys: &[(&str, f64)]) -> Option<u64> {
    keys.iter().find_map(|(key, unit)| {
        let text = text(fields.remove(*key))?;
        // nginx lists the servers that it tried; the last one answered.
        let mut numbers = text.trim_end_matches('s').rsplit([',', ' ']);
        let number: f64 = numbers.find_map(|number| number.parse().ok())?;
        micros(number * unit)
    })
}

/// The object of a line.
pub(super) fn object(line: &str) -> Result<Object, Skipped> {
    serde_json::from_str(&repaired(line)).map_err(|_| Skipped::Malformed)
}

/// Text or number, as text; `None` for what is absent, empty, `-` or of another kind.
pub(super) fn text(value: Option<Value>) -> Option<Text<'static>> {
    match value? {
        Value::String(text) => present(Cow::Owned(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// What stands under the first of these keys that has a value.
pub(super) fn first(fields: &mut Object, keys: &[&str]) -> Option<Text<'static>> {
    keys.iter().find_map(|key| text(fields.remove(*key)))
}

/// Since 1970, of any of the shapes that servers write.
pub(super) fn time(value: Option<Value>) -> Option<Stamp> {
    let text = text(value)?;
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return epoch(&text).map(|time| Stamp { time, is_local: false });
    }
    if text.as_bytes().get(2) == Some(&b'/') {
        return clf(&text);
    }
    // Go programs write dates with slashes, as well.
    iso8601(&text).or_else(|| iso8601(&text.replace('/', "-")))
}

/// Seconds, or thousandths, millionths or billionths of them, which only their number of digits tells apart.
fn epoch(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().ok()?;
    let per_second: u64 = match whole {
        0..100_000_000_000 => 1,
        100_000_000_000..100_000_000_000_000 => 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    let nanos = (whole % per_second) * (1_000_000_000 / per_second) + billionths(fraction)? / per_second;
    Some(Duration::new(whole / per_second, nanos as u32))
}

/// nginx without `escape=json` writes `\xHH`, which JSON does not know.
fn repaired(line: &str) -> Cow<'_, str> {
    if !line.contains("\\x") {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        rest = escape(after, &mut out);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Writes the escape whose backslash was read, and gives what follows it.
fn escape<'l>(after: &'l str, out: &mut String) -> &'l str {
    let (bytes, rest) = hex_bytes(after);
    if bytes.is_empty() {
        // In `\\x22` the second backslash begins nothing.
        let mut chars = after.chars();
        out.push('\\');
        out.extend(chars.next());
        return chars.as_str();
    }
    for character in String::from_utf8_lossy(&bytes).chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    rest
}

/// The bytes of `xHH\xHH…`, together because they may be one character, and what follows.
fn hex_bytes(after: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut rest = after;
    let mut next = after.strip_prefix('x').and_then(hex_byte);
    while let Some((byte, after)) = next {
        bytes.push(byte);
        rest = after;
        next = after.strip_prefix("\\x").and_then(hex_byte);
    }
    (bytes, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_FOURTEEN: u64 = 1_795_169_647;

    fn parse(line: &str) -> Result<Hit<'_>, Skipped> {
        super::parse(line, 0)
    }

    #[test]
    fn forwarded_addresses_count_where_they_are_trusted() {
        for key in FORWARDED {
            let line =
                format!(r#"{{"ts":1795169647,"remote_addr":"10.0.0.1","uri":"/","{key}":"6.6.6.6, 203.0.113.7"}}"#);
            let address = |hop| super::parse(&line, hop).unwrap().address.into_owned();
            assert_eq!([0, 1, 2].map(address), ["10.0.0.1", "203.0.113.7", "6.6.6.6"], "{key}");
        }
    }

    #[test]
    fn nginx_with_json_escapes() {
        let line = r#"{"time_iso8601":"2026-11-20T11:14:07+01:00","remote_addr":"203.0.113.7","request":"GET /a?b=1 HTTP/1.1","status":"200","body_bytes_sent":"512","http_referer":"","http_user_agent":"a \"b\"","request_time":"0.012","upstream_response_time":"0.100, 0.011"}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", TEN_FOURTEEN));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a", Some("b=1")));
        assert_eq!((hit.status, hit.bytes, hit.referer.as_deref()), (Some(200), 512, None));
        assert_eq!((hit.user_agent.as_deref(), hit.duration_us), (Some("a \"b\""), Some(12_000)));
        assert_eq!(hit.upstream_us, Some(11_000));
    }

    #[test]
    fn nginx_with_its_default_escapes() {
        let line = r#"{"msec":"1795169647.123","ip":"2001:db8::7","uri":"/caf\xC3\xA9","status":404,"bytes":7,"ua":"a \x22b\x22 \x5Cc \x07"}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref()), ("2001:db8::7", "/café"));
        assert_eq!(hit.time, Duration::from_millis(TEN_FOURTEEN * 1_000 + 123));
        assert_eq!((hit.status, hit.bytes), (Some(404), 7));
        assert_eq!(hit.user_agent.as_deref(), Some("a \"b\" \\c \u{7}"));
    }

    #[test]
    fn a_backslash_that_is_escaped_begins_nothing() {
        assert_eq!(repaired(r#"{"a":"\\x22","b":"\x22"}"#), r#"{"a":"\\x22","b":"\""}"#);
        assert_eq!(parse(r#"{"uri":"/\xZZ","ts":1}"#), Err(Skipped::Malformed));
    }

    #[test]
    fn other_synonyms() {
        let line = r#"{"time_local":"20/Nov/2026:11:14:07 +0100","client":"203.0.113.7","request_uri":"/x","request_method":"HEAD","status":304,"bytes":0,"agent":"curl/8.5.0","host":"news.example"}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", TEN_FOURTEEN));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.host.as_ref()), ("HEAD", "/x", "news.example"));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(304), 0, Some("curl/8.5.0")));
    }

    #[test]
    fn a_request_that_was_none_is_still_a_line() {
        let hit = parse(r#"{"ts":1795169647,"remote_addr":"203.0.113.7","request":"","status":400,"bytes":150}"#);
        let hit = hit.unwrap();
        assert_eq!((hit.path.as_ref(), hit.method.as_ref(), hit.status), ("", "", Some(400)));
    }

    #[test]
    fn envoy_and_istio() {
        let line = r#"{"start_time":"2026-11-20T10:14:07.250Z","method":"GET","path":"/a?b=1","protocol":"HTTP/2","response_code":200,"bytes_sent":512,"duration":12,"upstream_service_time":"11","x_forwarded_for":"6.6.6.6","user_agent":"curl/8.5.0","authority":"news.example","downstream_remote_address":"203.0.113.7:40312"}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_millis()), ("203.0.113.7", 1_795_169_647_250));
        assert_eq!((hit.path.as_ref(), hit.query.as_deref()), ("/a", Some("b=1")));
        assert_eq!((hit.method.as_ref(), hit.host.as_ref()), ("GET", "news.example"));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!((hit.duration_us, hit.upstream_us), (Some(12_000), Some(11_000)));
    }

    #[test]
    fn fastly() {
        let line = r#"{"timestamp":"2026-11-20T10:14:07+0000","client_ip":"203.0.113.7","host":"news.example","url":"/a","request_method":"GET","request_user_agent":"curl/8.5.0","request_referer":"https://x.example/","response_status":200,"response_body_size":512}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", TEN_FOURTEEN));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.host.as_ref()), ("GET", "/a", "news.example"));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        let older = r#"{"time_start":1795169647000,"client_ip":"203.0.113.7","request":"GET","url":"/a","status":200,"resp_body_size":5,"time_elapsed":1500}"#;
        let hit = parse(older).unwrap();
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.bytes), ("GET", "/a", 5));
        assert_eq!((hit.time.as_secs(), hit.duration_us), (TEN_FOURTEEN, Some(1_500)));
    }

    #[test]
    fn google_cloud() {
        let line = r#"{"timestamp":"2026-11-20T10:14:07Z","httpRequest":{"requestMethod":"GET","requestUrl":"https://news.example/a?b=1","status":200,"responseSize":"512","userAgent":"curl/8.5.0","remoteIp":"203.0.113.7","latency":"0.050s"}}"#;
        let hit = parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", TEN_FOURTEEN));
        assert_eq!((hit.host.as_ref(), hit.path.as_ref()), ("news.example", "/a"));
        assert_eq!((hit.status, hit.bytes, hit.user_agent.as_deref()), (Some(200), 512, Some("curl/8.5.0")));
        assert_eq!(hit.duration_us, Some(50_000));
    }

    #[test]
    fn times_of_all_shapes() {
        let seconds = |value: Value| time(Some(value)).map(|stamp| stamp.time.as_secs());
        for text in [
            "1795169647",
            "1795169647.5",
            "1795169647000",
            "1795169647000000",
            "1795169647000000000",
            "2026-11-20T10:14:07Z",
            "2026-11-20T10:14:07",
            "2026/11/20 10:14:07.5",
            "20/Nov/2026:10:14:07 +0000",
        ] {
            assert_eq!(seconds(Value::from(text)), Some(TEN_FOURTEEN), "{text}");
        }
        assert_eq!(seconds(Value::from(1_795_169_647.5)), Some(TEN_FOURTEEN));
        assert_eq!((seconds(Value::from("yesterday")), seconds(Value::from(true))), (None, None));
    }

    #[test]
    fn every_other_line_has_its_reason() {
        for line in
            ["", "GET / HTTP/1.1", "[]", r#"{"ts":1,"level":"info","msg":"started"}"#, r#"{"uri":"/","status":"ok"}"#]
        {
            assert_eq!(parse(line), Err(Skipped::Malformed), "{line}");
        }
        assert_eq!(parse(r#"{"uri":"/","status":200}"#), Err(Skipped::BadTime));
        assert_eq!(parse(r#"{"uri":"/","status":200,"ts":"yesterday"}"#), Err(Skipped::BadTime));
    }
}
