//! Lines of other servers and services, one module for each format.
//!
//! A line that is no access line of the format is [`Skipped::Malformed`]; one that is, but whose time cannot be read,
//! is [`Skipped::BadTime`]. Times without offset are taken as UTC, and known as such: the reader may have been told a zone.

pub(crate) mod caddy;
pub(crate) mod cloudflare;
pub(crate) mod cloudfront;
pub(crate) mod elb;
pub(crate) mod haproxy;
pub(crate) mod json;
pub(crate) mod s3;
pub(crate) mod traefik;
pub(crate) mod w3c;

use std::borrow::Cow;
use std::net::IpAddr;

use super::combined::{is_public, split_target};
use super::hit::{Hit, Skipped, Text};

/// The next word.
fn word<'l>(rest: &mut &'l str) -> Option<&'l str> {
    let text = rest.trim_start();
    let (word, after) = text.split_once(' ').unwrap_or((text, ""));
    *rest = after;
    (!word.is_empty()).then_some(word)
}

/// A status; `-` and zero say that nothing was answered.
fn status(text: &str) -> Result<Option<u16>, Skipped> {
    if matches!(text, "" | "-" | "-1") {
        return Ok(None);
    }
    match text.parse::<u16>() {
        Ok(0) => Ok(None),
        Ok(status @ 100..=999) => Ok(Some(status)),
        _ => Err(Skipped::Malformed),
    }
}

/// A number of bytes; `-` is none.
fn bytes(text: &str) -> Result<u64, Skipped> {
    match text {
        "" | "-" | "-1" => Ok(0),
        number => number.parse().map_err(|_| Skipped::Malformed),
    }
}

/// Microseconds; negative times mean that there was nothing to measure.
fn micros(number: f64) -> Option<u64> {
    (number.is_finite() && number >= 0.0).then(|| number.round() as u64)
}

/// Billionths, of the digits behind a decimal point.
fn billionths(digits: &str) -> Option<u64> {
    let mut padded = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    padded.try_fold(0u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// The byte of two hexadecimal digits, and what follows them.
fn hex_byte(text: &str) -> Option<(u8, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    // A sign would be taken for a digit.
    let sound = digits.bytes().all(|b| b.is_ascii_hexdigit());
    Some((u8::from_str_radix(digits, 16).ok().filter(|_| sound)?, rest))
}

/// Decodes bytes that are written as a sign and two hexadecimal digits; a sign without digits stays.
fn hex_decoded(text: &str, sign: char) -> Text<'_> {
    let Some((first, rest)) = text.split_once(sign) else { return Cow::Borrowed(text) };
    let mut out = first.as_bytes().to_vec();
    for part in rest.split(sign) {
        let (byte, after) = hex_byte(part).unwrap_or((sign as u8, part));
        out.push(byte);
        out.extend_from_slice(after.as_bytes());
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Applies `cut` without a copy where the text is borrowed.
fn part(text: Text<'_>, cut: fn(&str) -> &str) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text)),
        Cow::Owned(text) => Cow::Owned(cut(&text).to_owned()),
    }
}

/// The client among addresses, without port and zone.
///
/// Proxies append, and what stands left of the first foreign address may be invented: so the right-most public one.
fn client(text: &str) -> &str {
    let public = |address: &&str| address.parse::<IpAddr>().is_ok_and(is_public);
    let addresses = || text.rsplit(',').map(|address| without_port(address.trim()));
    addresses().find(public).or_else(|| addresses().next()).unwrap_or(text)
}

/// The client by an address, which may be a list, and by `X-Forwarded-For`, which counts only where it is trusted: the one
/// that `hop` counts from the right. With 0 the right-most public one of the first.
pub(super) fn client_of<'l>(address: Option<Text<'l>>, forwarded: Option<Text<'l>>, hop: usize) -> Text<'l> {
    let is_list = address.as_ref().is_some_and(|text| text.contains(','));
    let trusted = forwarded.filter(|list| hop > 0 && !is_list && nth(list, hop).is_some());
    match trusted.or(address) {
        Some(Cow::Borrowed(text)) => Cow::Borrowed(nth(text, hop).unwrap_or_else(|| client(text))),
        Some(Cow::Owned(text)) => Cow::Owned(nth(&text, hop).unwrap_or_else(|| client(&text)).to_owned()),
        None => Cow::Borrowed(""),
    }
}

/// The address at this place from the right, counted from 1 on; the left-most one if there are fewer.
fn nth(text: &str, hop: usize) -> Option<&str> {
    let addresses = || text.rsplit(',').map(|address| without_port(address.trim()));
    let addresses = || addresses().filter(|address| address.parse::<IpAddr>().is_ok());
    addresses().nth(hop.checked_sub(1)?).or_else(|| addresses().next_back())
}

/// An address that may or may not have a port.
fn without_port(text: &str) -> &str {
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    if text.parse::<IpAddr>().is_ok() { text } else { before_port(text) }
}

/// An address that has a port, by the format's rule: an IPv6 address may stand without brackets.
fn before_port(text: &str) -> &str {
    if let Some((address, _)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        return address;
    }
    match text.rsplit_once(':') {
        Some((address, port)) if port.bytes().all(|b| b.is_ascii_digit()) => address,
        _ => text,
    }
}

/// Sets path and query, and the host if the target is an address with a scheme.
fn target<'l>(text: Text<'l>, hit: &mut Hit<'l>) {
    let text = match text {
        Cow::Borrowed(text) => return split_target(text, hit),
        Cow::Owned(text) => text,
    };
    let own = |part: Text<'_>| Cow::Owned(part.into_owned());
    let mut parts = Hit::default();
    split_target(&text, &mut parts);
    hit.path = own(parts.path);
    hit.query = parts.query.map(own);
    if !parts.host.is_empty() {
        hit.host = own(parts.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_right_most_public_address() {
        assert_eq!(client("203.0.113.7"), "203.0.113.7");
        assert_eq!(client("6.6.6.6, 203.0.113.7,10.0.0.1"), "203.0.113.7");
        assert_eq!(client("10.0.0.2, 10.0.0.1"), "10.0.0.1");
        assert_eq!(client("203.0.113.7:8080"), "203.0.113.7");
        assert_eq!(client("[2001:db8::7]:443"), "2001:db8::7");
        assert_eq!(client("2001:db8::7"), "2001:db8::7");
        assert_eq!(client("fe80::7%eth0"), "fe80::7");
        assert_eq!(client("host.example"), "host.example");
        assert_eq!(before_port("2001:db8::7:443"), "2001:db8::7");
    }

    #[test]
    fn hops_count_from_the_right() {
        let of = |address: &'static str, forwarded: Option<&'static str>, hop: usize| {
            client_of(Some(Cow::Borrowed(address)), forwarded.map(Cow::Borrowed), hop).into_owned()
        };
        let list = Some("6.6.6.6, 203.0.113.7:4711");
        assert_eq!(
            [0, 1, 2, 3].map(|hop| of("10.0.0.1", list, hop)),
            ["10.0.0.1", "203.0.113.7", "6.6.6.6", "6.6.6.6"]
        );
        assert_eq!([0, 1, 2].map(|hop| of("6.6.6.6, 10.0.0.1", list, hop)), ["6.6.6.6", "10.0.0.1", "6.6.6.6"]);
        assert_eq!([0, 2].map(|hop| of("host.example:80", Some("unknown"), hop)), ["host.example", "host.example"]);
        assert_eq!(client_of(None, list.map(Cow::Borrowed), 0), "");
    }

    #[test]
    fn hexadecimal_digits() {
        assert_eq!(hex_decoded("a%20b%", '%'), "a b%");
        assert_eq!(hex_decoded("#22a#22 #+1 #C3#A9#", '#'), "\"a\" #+1 é#");
        assert_eq!(
            (hex_byte("41b"), hex_byte("+1"), hex_byte("4"), hex_byte("é")),
            (Some((b'A', "b")), None, None, None)
        );
    }

    #[test]
    fn targets() {
        let split = |text: &str| {
            let mut hit = Hit::default();
            target(Cow::Borrowed(text), &mut hit);
            let mut again = Hit::default();
            target(Cow::Owned(text.to_owned()), &mut again);
            assert_eq!(hit.path, again.path);
            (hit.host.into_owned(), hit.path.into_owned(), hit.query.map(Cow::into_owned))
        };
        let expected =
            |host: &str, path: &str, query: Option<&str>| (host.to_owned(), path.to_owned(), query.map(str::to_owned));
        assert_eq!(split("/a?b=1#c"), expected("", "/a", Some("b=1")));
        assert_eq!(split("https://news.example/a?"), expected("news.example", "/a", None));
        assert_eq!(split("https://news.example?b"), expected("news.example", "/", Some("b")));
        assert_eq!(split("/go/https://other.example/"), expected("", "/go/https://other.example/", None));
        assert_eq!(split("*"), expected("", "*", None));
    }

    #[test]
    fn numbers() {
        assert_eq!((status("200"), status("-"), status("000")), (Ok(Some(200)), Ok(None), Ok(None)));
        assert_eq!((status("ok"), status("99")), (Err(Skipped::Malformed), Err(Skipped::Malformed)));
        assert_eq!((bytes("-"), bytes("+7"), bytes("x")), (Ok(0), Ok(7), Err(Skipped::Malformed)));
        assert_eq!(
            (billionths("5"), billionths("1234567899"), billionths("x")),
            (Some(500_000_000), Some(123_456_789), None)
        );
        assert_eq!((micros(1.6), micros(-1.0), micros(f64::NAN)), (Some(2), None, None));
    }
}
