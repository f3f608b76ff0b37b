//! Source expressions (CSP3 §2.3.1): what they match.

use super::Target;

const MAX_NONCE: usize = 256;

impl Target {
    /// CSP3 §6.7.2.8. Without a known address only `'self'` and `*` are certain.
    pub(super) fn is_matched_by(&self, source: &str) -> bool {
        if source.eq_ignore_ascii_case("'self'") {
            return self.own;
        }
        source == "*" || self.url.as_deref().is_some_and(|url| matches_url(source, url))
    }
}

/// Does a scheme or host source match an address?
fn matches_url(source: &str, url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme_matches = |wanted: &str| {
        wanted.eq_ignore_ascii_case(scheme) || (wanted.eq_ignore_ascii_case("http") && scheme == "https")
    };
    if let Some(wanted) = source.strip_suffix(':') {
        return scheme_matches(wanted);
    }
    let source = match source.split_once("://") {
        Some((wanted, source)) if scheme_matches(wanted) => source,
        Some(_) => return false,
        None => source,
    };
    let (wanted_authority, wanted_path) = source.split_at(source.find('/').unwrap_or(source.len()));
    let (host, port) = split_port(authority);
    let (wanted_host, wanted_port) = split_port(wanted_authority);
    let default = if scheme == "https" { "443" } else { "80" };
    let port = port.unwrap_or(default);
    let port_matches = match wanted_port {
        Some("*") => true,
        Some(wanted) => wanted == port || (wanted == "80" && port == "443"),
        None => port == default,
    };
    let host_matches = match wanted_host.strip_prefix("*.") {
        Some(suffix) => host
            .len()
            .checked_sub(suffix.len() + 1)
            .and_then(|at| host.get(at..))
            .is_some_and(|end| end.strip_prefix('.').is_some_and(|e| e.eq_ignore_ascii_case(suffix))),
        None => wanted_host.eq_ignore_ascii_case(host),
    };
    let path_matches = match wanted_path {
        "" => true,
        directory if directory.ends_with('/') => path.starts_with(directory),
        file => file == path,
    };
    host_matches && port_matches && path_matches
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port == "*" || port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

pub(super) fn sources(values: &str) -> impl Iterator<Item = &str> {
    values.split_ascii_whitespace()
}

pub(super) fn has(values: &str, source: &str) -> bool {
    sources(values).any(|s| s.eq_ignore_ascii_case(source))
}

/// The value of a nonce source; others than base64 never reach a tag.
pub(super) fn nonce(source: &str) -> Option<&str> {
    let value = quoted(source, "'nonce-")?;
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'_' | b'=' | b'-');
    (!value.is_empty() && value.len() <= MAX_NONCE && value.bytes().all(valid)).then_some(value)
}

pub(super) fn has_hash(values: &str) -> bool {
    ["'sha256-", "'sha384-", "'sha512-"].iter().any(|prefix| sources(values).any(|s| quoted(s, prefix).is_some()))
}

/// Is it a source of this hash, `sha256-…`? The algorithm in any case, the value to the letter.
pub(super) fn same_hash(source: &str, hash: &str) -> bool {
    quoted(source, "'sha256-").is_some_and(|value| Some(value) == hash.get(7..))
}

fn quoted<'s>(source: &'s str, prefix: &str) -> Option<&'s str> {
    let start = source.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(())?;
    source.get(prefix.len()..)?.strip_suffix('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_named_in_quotes_and_to_the_letter() {
        let is = |source: &str| same_hash(source, "sha256-Ab+/=");
        assert!(is("'sha256-Ab+/='") && is("'SHA256-Ab+/='"));
        for other in ["'sha256-ab+/='", "'sha256-Ab+/=", "sha256-Ab+/='", "'sha384-Ab+/='", "'sha256-'", ""] {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn sources_match_as_in_a_browser() {
        const URL: &str = "https://news.example/.deckle/guard.0.js";
        for source in [
            "https:",
            "http:",
            "news.example",
            "NEWS.example",
            "https://news.example",
            "http://news.example",
            "*.example",
            "news.example:443",
            "news.example:80",
            "news.example:*",
            "news.example/.deckle/",
            "news.example/.deckle/guard.0.js",
        ] {
            assert!(matches_url(source, URL), "{source}");
        }
        for source in [
            "data:",
            "wss:",
            "example",
            "www.news.example",
            "*.news.example",
            "xnews.example",
            "news.example:8443",
            "ftp://news.example",
            "news.example/guard.0.js",
            "news.example/.deckle",
            "'unsafe-inline'",
            "",
            "*.",
            "/",
        ] {
            assert!(!matches_url(source, URL), "{source}");
        }
        assert!(matches_url("localhost:8080", "http://localhost:8080/x"));
        assert!(!matches_url("localhost", "http://localhost:8080/x"));
    }
}
