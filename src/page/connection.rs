//! Fields that go no further than one connection (RFC 9110 §7.6.1).

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
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok())
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
}
