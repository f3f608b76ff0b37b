//! The usual line of a Combined log, read in one go: `address - - [time] "request" status bytes "referer" "user agent"`.
//!
//! Nine of ten lines of nearly every log are of this form. Whatever is different in any way is left to
//! [`combined`](super::combined), which says the same of the lines that are read here.

use std::borrow::Cow;

use super::combined::{judged, present, quoted, request_line};
use super::hit::{Hit, Text};
use super::time::Day;

/// Bytes of `20/Nov/2026:10:14:07 +0100`.
const STAMP: usize = 26;
/// Bytes of the longest address (RFC 4291 §2.2), and the space behind it.
const LONGEST: usize = 46;

/// Reads a line without a backslash into `hit`, whatever that held before; `None`: not the usual form, and `hit` is of no
/// use.
pub(super) fn parse<'l>(line: &'l str, day: &mut Day, hit: &mut Hit<'l>) -> Option<()> {
    // Nothing is escaped: each quote ends something.
    let (address, rest) = address(line)?;
    let rest = rest.strip_prefix(" - - [")?;
    let time = day.clf(rest.as_bytes().get(..STAMP)?)?;
    let (request, rest) = plain(rest.get(STAMP..)?.strip_prefix("] \"")?)?;
    let (status, rest) = number(rest.strip_prefix(' ')?)?;
    let (bytes, rest) = size(rest.strip_prefix(' ')?)?;
    let (referer, rest) = plain(rest.strip_prefix(" \"")?)?;
    let (user_agent, mut rest) = plain(rest.strip_prefix(" \"")?)?;
    let status = u16::try_from(status).ok().filter(|status| (100..1_000).contains(status))?;
    forget(hit);
    hit.time = time;
    hit.local_time = false;
    hit.address = address;
    hit.status = Some(status);
    hit.bytes = bytes;
    request_line(Cow::Borrowed(request), hit);
    hit.referer = present(Cow::Borrowed(referer));
    hit.user_agent = present(Cow::Borrowed(user_agent));
    if let Some(Cow::Borrowed(more)) = quoted(&mut rest) {
        hit.deckle = judged(more);
    }
    Some(())
}

/// What such a line does not say, or only may say. One by one: a hit is too large to be moved for each line.
fn forget(hit: &mut Hit<'_>) {
    hit.method = Text::default();
    hit.host = Text::default();
    hit.path = Text::default();
    hit.query = None;
    hit.content_type = None;
    hit.foreign_signal = None;
    hit.duration_us = None;
    hit.upstream_us = None;
    hit.ambiguous_time = false;
    hit.deckle = None;
}

/// An address without a port, and what follows it.
fn address(line: &str) -> Option<(Text<'_>, &str)> {
    const POINT: u8 = 1;
    const COLON: u8 = 2;
    const OTHER: u8 = 4;
    const KINDS: [u8; 256] = {
        let mut kinds = [OTHER; 256];
        let mut byte = 0;
        while byte < 256 {
            match byte as u8 {
                b'.' => kinds[byte] = POINT,
                b':' => kinds[byte] = COLON,
                // The space ends it.
                b if b == b' ' || b.is_ascii_hexdigit() => kinds[byte] = 0,
                _ => {}
            }
            byte += 1;
        }
        kinds
    };
    let mut kinds = 0;
    let end = line.bytes().take(LONGEST).position(|byte| {
        kinds |= KINDS[usize::from(byte)];
        byte == b' '
    })?;
    (end > 0 && kinds < POINT | COLON).then_some(())?;
    Some((Cow::Borrowed(line.get(..end)?), line.get(end..)?))
}

/// What stands before the next quote, and what follows it.
fn plain(text: &str) -> Option<(&str, &str)> {
    let at = memchr::memchr(b'"', text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Up to 18 digits, and what follows them.
fn number(text: &str) -> Option<(u64, &str)> {
    let (mut sum, mut length) = (0u64, 0);
    for byte in text.as_bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
        length += 1;
    }
    (1..=18).contains(&length).then_some(())?;
    Some((sum, text.get(length..)?))
}

/// A number, or `-` for none.
fn size(text: &str) -> Option<(u64, &str)> {
    match text.strip_prefix('-') {
        Some(rest) => Some((0, rest)),
        None => number(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::combined;
    use super::*;

    /// What is read here is what is read there.
    fn agree(line: &str) -> bool {
        // Nothing of what was there before may be left.
        let mut usual = Hit {
            host: "old".into(),
            query: Some("old".into()),
            content_type: Some("old".into()),
            foreign_signal: Some("old".into()),
            duration_us: Some(1),
            upstream_us: Some(1),
            ambiguous_time: true,
            local_time: true,
            deckle: Some(Box::default()),
            ..Hit::default()
        };
        // Who calls it has looked for backslashes, in many lines at once.
        if line.contains('\\') || parse(line, &mut Day::default(), &mut usual).is_none() {
            return false;
        }
        assert_eq!(Ok(usual), combined::parse(line, 0), "{line}");
        true
    }

    #[test]
    fn only_the_usual_form_is_read() {
        let line = |prefix: &str, request: &str, rest: &str| {
            format!(r#"{prefix} [20/Nov/2026:10:14:07 +0100] "{request}" {rest}"#)
        };
        let rest = r#"200 512 "https://x/?a=b" "curl/8""#;
        for (prefix, request, rest) in [
            ("203.0.113.7 - -", "GET /a?b=1#c HTTP/1.1", rest),
            ("2001:db8::1 - -", "GET http://news.example/x HTTP/2.0", rest),
            ("203.0.113.7 - -", "-", r#"408 - "-" "-""#),
            ("203.0.113.7 - -", "GET /a b HTTP/1.1", r#"999 0 "" "a" "more""#),
            ("203.0.113.7 - -", "GET / HTTP/1.1", r#"200 1 "-" "a" "ai-train/failed/80/block/k1-0123456789ab""#),
            ("203.0.113.7 - -", "GET / HTTP/1.1", r#"200 1 "-" "a"  "browser/none/7/allow/-"#),
        ] {
            assert!(agree(&line(prefix, request, rest)), "{prefix} {request} {rest}");
        }
        for (prefix, request, rest) in [
            ("203.0.113.7:80 - -", "GET / HTTP/1.1", rest),
            ("203.0.113.7 - ann", "GET / HTTP/1.1", rest),
            ("news.example - -", "GET / HTTP/1.1", rest),
            ("203.0.113.7 - -", r"GET /\x22 HTTP/1.1", rest),
            ("203.0.113.7 - -", "GET / HTTP/1.1", "99 1 \"-\" \"-\""),
            ("203.0.113.7 - -", "GET / HTTP/1.1", "200 512"),
            ("203.0.113.7 - -", "GET / HTTP/1.1", r#"200 512 "-" "never ends"#),
        ] {
            assert!(!agree(&line(prefix, request, rest)), "{prefix} {request} {rest}");
        }
    }

    proptest! {
        #[test]
        fn it_says_what_the_other_says(
            address in r"[0-9a-f.:]{0,12}", name in "(-|-|ann)", day in 0..40u32, zone in r"(\+0000|-0730|\+9999| )",
            request in r#"[A-Z]{0,4} ?/?[a-z?#/ :"\\é]{0,12} ?(HTTP/1.1|HTTP/1|)"#, status in r"[0-9]{2,4}",
            bytes in r"(-|[0-9]{0,20})", tail in r#"( "[a-z"\\ -]{0,6}"?){0,3}"#,
        ) {
            agree(&format!(r#"{address} - {name} [{day:02}/Nov/2026:10:14:07 {zone}] "{request}" {status} {bytes}{tail}"#));
        }
    }
}
