//! Fields that go no further than one connection (RFC 9110 §7.6.1), and those in which proxies say who asks.

use http::{HeaderMap, HeaderName, header};

/// In requests and answers alike, besides those that `Connection` names.
pub(crate) static OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The fields that `Connection` names. What is no name is no field.
pub(crate) fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    named(headers).filter_map(|name| name.parse().ok())
}

/// The same as they are written, in any case.
pub(crate) fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Proxies write them, and a client could claim to be somebody else in them. Besides: all that begin with [`PREFIX`].
const CLAIMS: [&str; 15] = [
    "cf-connecting-ip",
    "client-ip",
    "cloudfront-viewer-address",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
];
const PREFIX: &str = "x-forwarded-";

/// Is it such a field? Its name is in lower case. Gateways of the CGI kind read `_` as `-` (RFC 3875 §4.1.18), so here it is
/// one, too.
pub(crate) fn is_claim(name: &str) -> bool {
    let begins = |with: &str| {
        name.len() >= with.len() && name.bytes().zip(with.bytes()).all(|(b, w)| b == w || (b == b'_' && w == b'-'))
    };
    begins(PREFIX) || CLAIMS.iter().any(|claim| claim.len() == name.len() && begins(claim))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_from_several_lines() {
        let mut headers = HeaderMap::new();
        for line in [&b"close, X-Own"[..], b"", b"not a name,te ,", b"x-other, \xe9"] {
            headers.append(header::CONNECTION, HeaderValue::from_bytes(line).unwrap());
        }
        assert_eq!(nominated(&headers).collect::<Vec<_>>(), ["close", "x-own", "te"]);
        assert_eq!(nominated(&HeaderMap::new()).count(), 0);
    }

    #[test]
    fn a_name_is_a_claim_however_it_is_written() {
        for name in [
            "forwarded",
            "x-real-ip",
            "x_real_ip",
            "x-forwarded-for",
            "X_Forwarded-Anything",
            "x_forwarded",
            "client_ip",
        ] {
            assert!(is_claim(&name.to_ascii_lowercase()), "{name}");
        }
        for name in ["", "x", "x-forward", "x-real-ips", "real-ip", "via", "host", "x-request-id", "from"] {
            assert!(!is_claim(name), "{name}");
        }
    }
}
