//! Requests that no site is asked about: methods, sizes and hosts that cannot be right.

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::body::Incoming;

use crate::config::ProxySettings;
use crate::visitor::bare_host;

/// What is answered without asking the site.
pub(super) fn refuse(request: &Request<Incoming>, settings: &ProxySettings) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed."));
    }
    if target_length(request.uri()) > settings.max_uri.0 as usize {
        return Some((StatusCode::URI_TOO_LONG, "The address is too long."));
    }
    if is_too_large(headers, settings) {
        return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request header is too large."));
    }
    if is_coded(headers) {
        return Some((StatusCode::NOT_IMPLEMENTED, "This transfer coding is not supported."));
    }
    if headers.get(header::EXPECT).is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Some((StatusCode::EXPECTATION_FAILED, "This expectation cannot be met."));
    }
    match host_of(request) {
        Err(()) => return Some((StatusCode::BAD_REQUEST, "The request must name one host.")),
        Ok(host) if !serves(host, settings) => {
            return Some((StatusCode::MISDIRECTED_REQUEST, "This host is not served here."));
        }
        Ok(_) => {}
    }
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    settings
        .max_request_body
        .is_some_and(|max| declared.is_some_and(|n| n > max.0))
        .then_some((StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large."))
}

/// An answer that the proxy cannot pass on: its head is too large, its body coded for this hop in a way that is not undone here, or it
/// changes to a protocol that nobody asked for.
pub(super) fn is_unfit<B>(answer: &Response<B>, settings: &ProxySettings) -> bool {
    let headers = answer.headers();
    is_too_large(headers, settings) || is_coded(headers) || answer.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// A transfer coding beside `chunked` (RFC 9112 §6.1).
fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(header::TRANSFER_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// More fields than the proxy takes, or longer ones.
fn is_too_large(headers: &HeaderMap, settings: &ProxySettings) -> bool {
    let bytes: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    headers.len() > settings.max_headers || bytes > settings.max_header_bytes.0 as usize
}

fn serves(host: &str, settings: &ProxySettings) -> bool {
    let name = bare_host(host);
    settings.hosts.is_empty() || settings.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
}

fn target_length(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |p| p.as_str().len())
}

/// Without a port that says nothing (RFC 3986 §6.2.3).
fn without_port(host: &str) -> &str {
    [":443", ":80", ":"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(host)
}

/// A name or an address, and perhaps a port; never a user (RFC 9110 §7.2).
fn is_host(host: &str) -> bool {
    is_plain_host(host) || is_authority(host)
}

/// Letters, digits, hyphens and dots, and a port, if there is a colon: what nearly all hosts are.
fn is_plain_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    !name.is_empty()
        && name.bytes().all(is_name)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

fn is_authority(host: &str) -> bool {
    let Ok(authority) = host.parse::<uri::Authority>() else { return false };
    let port = host.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    !host.contains('@')
        && (authority.host().len() == host.len() || port.is_some_and(|p| p.is_empty() || p.parse::<u16>().is_ok()))
}

/// The one host of a request (RFC 9112 §3.2): an absolute target or `:authority` beats the field.
fn host_of<B>(request: &Request<B>) -> Result<&str, ()> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(());
    }
    if let Some(authority) = request.uri().authority() {
        // In HTTP/2 they must agree (RFC 9113 §8.3.1); in HTTP/1.1 the target wins (RFC 9112 §3.2.2).
        let differs = first.is_some_and(|host| {
            host.to_str()
                .map_or(true, |host| !without_port(host).eq_ignore_ascii_case(without_port(authority.as_str())))
        });
        let wrong = !is_host(authority.as_str()) || (differs && request.version() == Version::HTTP_2);
        return if wrong { Err(()) } else { Ok(authority.as_str()) };
    }
    match first.map(|v| v.to_str()) {
        Some(Ok(host)) if is_host(host) || host.is_empty() => Ok(host),
        None if request.version() == Version::HTTP_10 => Ok(""),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in
            ["news.example", "news.example:", "news.example:80", "127.0.0.1:65535", "[2001:db8::1]:443", "a_b", "-."]
        {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["", "news.example:65536", "news.example:80:80", "ann@news.example", "a b", "a/b", "[::1", "b\u{fc}"]
        {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let of = |uri: &str, version: Version, hosts: &[&str]| {
            let fields = hosts.iter().fold(Request::builder(), |builder, host| builder.header(header::HOST, *host));
            let request = fields.uri(uri).version(version).body(()).unwrap();
            host_of(&request).map(str::to_owned)
        };
        let (http_1, http_2) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(of("/", http_1, &["news.example"]), Ok("news.example".to_owned()));
        assert_eq!(of("/", http_1, &[""]), Ok(String::new()));
        assert_eq!(of("/", Version::HTTP_10, &[]), Ok(String::new()));
        assert_eq!(of("http://a.example/", http_1, &["b.example"]), Ok("a.example".to_owned()));
        assert_eq!(of("https://a.example/", http_2, &["a.example:443"]), Ok("a.example".to_owned()));
        assert_eq!(of("/", http_1, &[]), Err(()));
        assert_eq!(of("/", http_1, &["a.example", "a.example"]), Err(()));
        assert_eq!(of("/", http_1, &["a example"]), Err(()));
        assert_eq!(of("https://a.example/", http_2, &["b.example"]), Err(()));
    }

    proptest! {
        #[test]
        fn what_is_plain_is_an_authority(host in "[a-zA-Z0-9.:@_%-]{0,12}(:[0-9]{0,6})?") {
            prop_assert!(!is_plain_host(&host) || is_authority(&host));
        }
    }
}
