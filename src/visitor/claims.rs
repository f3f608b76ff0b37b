//! Fields in which a request says who asks.

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
    use super::*;

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
