//! Common and Combined logs of Apache and nginx, with a virtual host in front or not.
//!
//! Read in one pass and without a copy, unless something is escaped. Lenient where servers are: requests that are none,
//! quotes that never close, lists of addresses, hosts in place of addresses.

use std::borrow::Cow;
use std::net::IpAddr;

use super::hit::{DeckleFields, Hit, Skipped, Text};
use super::time::clf;
use crate::action::Action;
use crate::visitor::{Category, Verification};
use crate::watermark::Mark;

/// `host ident user [time] "request" status bytes ["referer" "user agent" …]`. Of several addresses the one that `hop`
/// counts from the right is taken; with 0 the right-most public one: what stands to the left are a client's own words.
pub(crate) fn parse(line: &str, hop: usize) -> Result<Hit<'_>, Skipped> {
    // Some programs quote the whole line.
    let line = line.strip_prefix('"').filter(|rest| rest.contains("] \\\"")).unwrap_or(line);
    let (prefix, stamp, rest) = around_time(line).ok_or(Skipped::Malformed)?;
    let mut hit = Hit::default();
    client(prefix, hop, &mut hit).ok_or(Skipped::Malformed)?;
    let mut rest = rest.trim_ascii_start();
    let request = quoted(&mut rest).ok_or(Skipped::Malformed)?;
    let (status, bytes, mut rest) = numbers(rest).ok_or(Skipped::Malformed)?;
    hit.status = Some(status);
    hit.bytes = bytes;
    clf(stamp).ok_or(Skipped::BadTime)?.set(&mut hit);
    request_line(request, &mut hit);
    hit.referer = quoted(&mut rest).and_then(present);
    hit.user_agent = quoted(&mut rest).and_then(present);
    if let Some(Cow::Borrowed(more)) = quoted(&mut rest) {
        hit.deckle = judged(more);
        // A list that is to be trusted may stand in one more field, as nginx is often told to write it.
        if hop > 0 && hit.deckle.is_none() && !prefix.contains(',') {
            forwarded(more, hop, &mut hit);
        }
    }
    Ok(hit)
}

/// What deckle's own `access.log` has behind the user agent (sink `combined+deckle`):
/// `category/verification/score/action/mark`, with a hyphen for what is not there. `None`: it is something else.
pub(super) fn judged(field: &str) -> Option<Box<DeckleFields<'_>>> {
    let mut parts = field.split('/');
    let mut part = || parts.next().map(|part| if part == "-" { "" } else { part });
    let (category, verification, score, action, mark) = (part()?, part()?, part()?, part()?, part()?);
    let is_ours = parts.next().is_none()
        && Category::from_code(category).is_some()
        && Verification::from_code(verification).is_some()
        && (action.is_empty() || Action::from_code(action).is_some())
        && (mark.is_empty() || mark.parse::<Mark>().is_ok());
    let score = if score.is_empty() { 0 } else { score.parse::<u8>().ok().filter(|score| *score <= 100)? };
    is_ours.then(|| {
        Box::new(DeckleFields {
            category: Cow::Borrowed(category),
            verification: Cow::Borrowed(verification),
            score,
            action: Cow::Borrowed(action),
            mark: Some(mark).filter(|mark| !mark.is_empty()).map(Cow::Borrowed),
            // Nothing says that it was not.
            complete: true,
            brief: true,
            ..DeckleFields::default()
        })
    })
}

/// The client out of `X-Forwarded-For`: the one at this place from the right.
fn forwarded<'l>(list: &'l str, hop: usize, hit: &mut Hit<'l>) {
    let addresses: Vec<&str> = list.split([' ', ',']).filter(|word| ip(word).is_some()).collect();
    let chosen = addresses.len().checked_sub(hop).and_then(|at| addresses.get(at)).or(addresses.first());
    if let Some(address) = chosen {
        hit.address = Cow::Borrowed(without_port(address));
    }
}

/// What stands before ` [time]`, the time, and what follows it.
fn around_time(line: &str) -> Option<(&str, &str, &str)> {
    let bytes = line.as_bytes();
    let mut from = 0;
    loop {
        let open = from + memchr::memchr(b'[', bytes.get(from..)?)?;
        from = open + 1;
        // A time begins with the day; user names may hold brackets, too.
        if open > 0 && bytes.get(open - 1) == Some(&b' ') && bytes.get(open + 1).is_some_and(u8::is_ascii_digit) {
            let close = open + memchr::memchr(b']', bytes.get(open..)?)?;
            return Some((line.get(..open - 1)?, line.get(open + 1..close)?, line.get(close + 1..)?));
        }
    }
}

/// The text before and behind the first of these bytes.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Status, bytes, and what follows.
fn numbers(rest: &str) -> Option<(u16, u64, &str)> {
    let rest = rest.trim_ascii_start();
    let (status, rest) = cut(rest, b' ').unwrap_or((rest, ""));
    let status: u16 = status.parse().ok().filter(|status| (100..1_000).contains(status))?;
    let (bytes, rest) = cut(rest, b' ').unwrap_or((rest, ""));
    let bytes = if matches!(bytes, "-" | "") { 0 } else { bytes.parse().ok()? };
    Some((status, bytes, rest))
}

/// The client and the host that was asked, out of what stands before the time.
fn client<'l>(prefix: &'l str, hop: usize, hit: &mut Hit<'l>) -> Option<()> {
    // The common case: an address and two hyphens.
    let is_plain = |address: &&str| !address.bytes().any(|byte| matches!(byte, b' ' | b',' | b'"'));
    if let Some(address) = prefix.strip_suffix(" - -").filter(is_plain) {
        hit.address = Cow::Borrowed(without_port(address));
        return (!address.is_empty()).then_some(());
    }
    let names = prefix.split_once(" - ").map(|(before, _)| before);
    let all = names.unwrap_or(prefix);
    let words = || all.split([' ', ',', '"']).filter(|word| !word.is_empty());
    let addresses: Vec<(&str, IpAddr)> = words().filter_map(|word| Some((word, ip(word)?))).collect();
    let chosen = match hop {
        0 => addresses.iter().rfind(|(_, ip)| is_public(*ip)).or(addresses.last()),
        hop => addresses.len().checked_sub(hop).and_then(|at| addresses.get(at)).or(addresses.first()),
    };
    let first = words().next()?;
    let address = match (chosen, names) {
        (Some((word, _)), _) => without_port(word),
        // A host name in place of an address; the last word where `ident` is `-`, else the first of three.
        (None, Some(_)) => words().next_back()?,
        (None, None) => first,
    };
    hit.address = Cow::Borrowed(address);
    if ip(first).is_none() && first != address {
        hit.host = Cow::Borrowed(first);
    }
    Some(())
}

/// Each connection has another port, and is no other visitor.
fn without_port(word: &str) -> &str {
    let Some(at) = memchr::memrchr(b':', word.as_bytes()) else { return word };
    let has_port = word.parse::<std::net::SocketAddr>().is_ok();
    let bare = word.get(..at).filter(|_| has_port).unwrap_or(word);
    bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare)
}

/// An address, with a port behind it or not.
fn ip(word: &str) -> Option<IpAddr> {
    let starts = word.bytes().next().is_some_and(|b| b.is_ascii_hexdigit() || b == b'[' || b == b':');
    if !starts {
        return None;
    }
    word.parse().ok().or_else(|| word.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
}

pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local()),
    }
}

/// A quoted field, unescaped. A missing end takes the rest.
pub(crate) fn quoted<'l>(rest: &mut &'l str) -> Option<Text<'l>> {
    let inside = rest.trim_ascii_start().strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let mut from = 0;
    loop {
        let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(from..)?) else {
            *rest = "";
            return Some(unescape(inside));
        };
        let at = from + found;
        if bytes.get(at) == Some(&b'"') {
            *rest = inside.get(at + 1..).unwrap_or_default();
            return inside.get(..at).map(unescape);
        }
        // The byte behind a backslash ends nothing, and may be the first of several.
        from = (at + 2).min(bytes.len());
    }
}

/// `\"`, `\\`, `\n`, `\t`, `\xHH`; any other backslash stays.
pub(crate) fn unescape(text: &str) -> Text<'_> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let (pushed, used) = if byte == b'\\' { escape(tail) } else { (byte, 0) };
        out.push(pushed);
        rest = tail.get(used..).unwrap_or_default();
    }
    // Bytes out of `\xHH` may be no UTF-8.
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// What follows a backslash: the byte that is meant, and how many it took.
fn escape(tail: &[u8]) -> (u8, usize) {
    let hex = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
    match tail.first() {
        Some(quoted @ (b'"' | b'\\')) => (*quoted, 1),
        Some(b'n') => (b'\n', 1),
        Some(b't') => (b'\t', 1),
        Some(b'x') => match (hex(1), hex(2)) {
            (Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            _ => (b'\\', 0),
        },
        _ => (b'\\', 0),
    }
}

/// `None` for what stands for nothing.
pub(crate) fn present(text: Text<'_>) -> Option<Text<'_>> {
    (!matches!(text.as_ref(), "" | "-")).then_some(text)
}

/// Method, host, path and query; a request that is none (TLS to a plain port, nothing at all) has none of them.
pub(crate) fn request_line<'l>(request: Text<'l>, hit: &mut Hit<'l>) {
    match request {
        Cow::Borrowed(text) => split_request(text, hit),
        Cow::Owned(text) => {
            let own = |part: Text<'_>| Cow::Owned(part.into_owned());
            let mut parts = Hit::default();
            split_request(&text, &mut parts);
            hit.method = own(parts.method);
            hit.path = own(parts.path);
            hit.query = parts.query.map(own);
            if !parts.host.is_empty() {
                hit.host = own(parts.host);
            }
        }
    }
}

fn split_request<'l>(request: &'l str, hit: &mut Hit<'l>) {
    let (method, rest) = match request.strip_prefix("GET ") {
        // Nearly all of them.
        Some(rest) => ("GET", rest),
        None => cut(request, b' ').unwrap_or((request, "")),
    };
    let is_in_use = |b: u8| b.is_ascii_uppercase() || b == b'_' || b == b'-';
    let is_method = method == "GET" || (!method.is_empty() && method.bytes().all(is_in_use));
    if !is_method || rest.is_empty() {
        return;
    }
    let target = without_protocol(rest);
    hit.method = Cow::Borrowed(method);
    split_target(target, hit);
}

/// Spaces may stand in the path; the protocol is the last word, if it is one.
fn without_protocol(rest: &str) -> &str {
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1'] = rest.as_bytes() {
        return rest.get(..rest.len() - " HTTP/1.1".len()).unwrap_or(rest);
    }
    let last = memchr::memrchr(b' ', rest.as_bytes()).filter(|at| rest.get(at + 1..).is_some_and(is_protocol));
    last.and_then(|at| rest.get(..at)).unwrap_or(rest)
}

fn is_protocol(word: &str) -> bool {
    word.starts_with("HTTP/") || word.starts_with("RTSP/")
}

/// A request target (RFC 9112 §3.2): path and query, and the host of the absolute form.
pub(crate) fn split_target<'l>(target: &'l str, hit: &mut Hit<'l>) {
    let (path, query) = match memchr::memchr2(b'?', b'#', target.as_bytes()) {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at..).unwrap_or_default()),
        None => (target, ""),
    };
    let query = query.strip_prefix('?').map(|query| cut(query, b'#').map_or(query, |(query, _)| query));
    let absolute = (!path.starts_with('/')).then(|| path.split_once("://")).flatten();
    hit.path = Cow::Borrowed(match absolute {
        Some((_, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            hit.host = Cow::Borrowed(host);
            if path.is_empty() { "/" } else { path }
        }
        None => path,
    });
    hit.query = query.filter(|query| !query.is_empty()).map(Cow::Borrowed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(line: &str) -> Hit<'_> {
        parse(line, 0).unwrap_or_else(|reason| panic!("{line}: {reason:?}"))
    }

    /// A line with this in front of the time, and this request.
    fn line(prefix: &str, request: &str) -> String {
        format!(r#"{prefix} [20/Nov/2026:10:14:07 +0100] "{request}" 200 512 "https://x/" "curl/8""#)
    }

    #[test]
    fn clients_and_hosts() {
        let rows = [
            ("203.0.113.7 - -", 0, "203.0.113.7", ""),
            ("203.0.113.7 - John Doe", 0, "203.0.113.7", ""),
            ("203.0.113.7 ann frank", 0, "203.0.113.7", ""),
            ("uplherc.example - -", 0, "uplherc.example", ""),
            ("news.example 203.0.113.7 - -", 0, "203.0.113.7", "news.example"),
            ("news.example:443 203.0.113.7 - -", 0, "203.0.113.7", "news.example:443"),
            ("2001:db8::1 - -", 0, "2001:db8::1", ""),
            ("203.0.113.7:5123 - -", 0, "203.0.113.7", ""),
            ("[2001:db8::1]:443 - -", 0, "2001:db8::1", ""),
            ("6.6.6.6, 203.0.113.7 - -", 0, "203.0.113.7", ""),
            ("6.6.6.6, 203.0.113.7, 10.0.0.1 - -", 0, "203.0.113.7", ""),
            ("10.0.0.2, 10.0.0.1 - -", 0, "10.0.0.1", ""),
            ("\"6.6.6.6, 203.0.113.7\" 10.0.0.1 - -", 0, "203.0.113.7", ""),
            ("6.6.6.6, 203.0.113.7, 10.0.0.1 - -", 3, "6.6.6.6", ""),
            ("6.6.6.6, 203.0.113.7, 10.0.0.1 - -", 9, "6.6.6.6", ""),
            ("- - -", 0, "-", ""),
            ("unknown - -", 0, "unknown", ""),
        ];
        for (prefix, hop, address, host) in rows {
            let line = line(prefix, "GET / HTTP/1.1");
            let hit = parse(&line, hop).unwrap();
            assert_eq!((hit.address.as_ref(), hit.host.as_ref()), (address, host), "{prefix}");
        }
    }

    #[test]
    fn requests() {
        let rows = [
            ("GET /a?b=1 HTTP/1.1", "GET", "/a", Some("b=1")),
            ("GET /a b/c HTTP/1.1", "GET", "/a b/c", None),
            ("GET /old", "GET", "/old", None),
            ("GET http://news.example/x?y HTTP/1.1", "GET", "/x", Some("y")),
            ("GET /to?u=http://a/b HTTP/1.1", "GET", "/to", Some("u=http://a/b")),
            ("PROPFIND /dav HTTP/1.1", "PROPFIND", "/dav", None),
            ("OPTIONS rtsp://x/y RTSP/1.0", "OPTIONS", "/y", None),
            (r"\x16\x03\x01", "", "", None),
            ("-", "", "", None),
            ("", "", "", None),
            (r#"GET /\"quoted\" HTTP/1.1"#, "GET", "/\"quoted\"", None),
            (r"GET /caf\xc3\xa9 HTTP/1.1", "GET", "/café", None),
        ];
        for (request, method, path, query) in rows {
            let line = line("203.0.113.7 - -", request);
            let hit = hit(&line);
            assert_eq!(
                (hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()),
                (method, path, query),
                "{request}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_never_ends() {
        let common = hit(r#"host.example - ann [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.0" 304 -"#);
        assert_eq!((common.bytes, common.status, common.user_agent), (0, Some(304), None));
        let open = hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozilla \"x"#);
        assert_eq!((open.referer, open.user_agent.as_deref()), (None, Some("Mozilla \"x")));
        let more = hit(r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "a" "6.6.6.6""#);
        assert_eq!(more.user_agent.as_deref(), Some("a"));
        assert_eq!(
            parse(r#"1.2.3.4 - - [20/Foo/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1"#, 0),
            Err(Skipped::BadTime)
        );
        assert_eq!(parse("complete nonsense", 0), Err(Skipped::Malformed));
        assert_eq!(
            parse(r#"1.2.3.4 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" abc 1"#, 0),
            Err(Skipped::Malformed)
        );
    }

    #[test]
    fn what_deckle_thought_is_read_from_its_access_log() {
        let judged = |field: &str| {
            let line = format!(
                r#"203.0.113.0 - - [20/Nov/2026:10:14:07 +0000] "GET / HTTP/1.1" 200 1 "-" "curl/8" "{field}""#
            );
            hit(&line).deckle.map(|fields| {
                let DeckleFields { category, verification, score, action, mark, brief, .. } = *fields;
                assert!(brief);
                format!("{category} {verification} {score} {action} {}", mark.as_deref().unwrap_or("none"))
            })
        };
        let all = judged("ai-train/failed/80/block/k1-0123456789ab");
        assert_eq!(all.as_deref(), Some("ai-train failed 80 block k1-0123456789ab"));
        assert_eq!(judged("browser/none/-/-/-").as_deref(), Some("browser none 0  none"));
        for other in [
            "-/-/-/-/-",
            "203.0.113.7",
            "browser/none/7/allow",
            "browser/none/7/allow/-/-",
            "browser/none/101/allow/-",
            "browser/none/seven/allow/-",
            "somebody/none/7/allow/-",
            "browser/maybe/7/allow/-",
            "browser/none/7/perhaps/-",
            "browser/none/7/allow/mark",
        ] {
            assert_eq!(judged(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn near_misses_never_panic(line in r#"[0-9., -]{0,20} \[?[0-9A-Za-z/:+ ]{0,28}\]? "?[A-Z /\\"?é]{0,20}"? [0-9-]{0,4} ?[0-9-]{0,5}"#) {
            let _ = parse(&line, 0);
        }

        #[test]
        fn escapes_never_panic(text in r#"[a-z\\"xé0-9]{0,30}"#) {
            let mut rest: &str = &format!("\"{text}");
            let _ = (quoted(&mut rest), unescape(&text));
        }
    }
}
