//! Addresses of style sheets, as pages name them and as they are asked for.
//!
//! A sheet is known by host, path and query. Its scheme is not told where another proxy ends TLS.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use http::Uri;

/// The address of a page as it was asked for, by which its sheets are told. Most pages are known, and need no more of it.
#[derive(Debug, Clone)]
pub(crate) struct PageAddress {
    /// With its port.
    pub(crate) host: Arc<str>,
    /// With its query.
    pub(crate) target: Arc<str>,
}

impl PageAddress {
    /// Without its query. `None`: it is no address.
    pub(crate) fn uri(&self) -> Option<Uri> {
        format!("http://{}{}", self.host, self.target.split('?').next().unwrap_or_default()).parse().ok()
    }
}

/// An address as a page names it.
pub(crate) fn join(base: &Uri, to: &str) -> Option<Uri> {
    let to = to.split('#').next()?.trim();
    let schemed = |scheme: &str| to.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if schemed("http://") || schemed("https://") {
        return to.parse().ok();
    }
    let scheme = base.scheme_str()?;
    if let Some(rest) = to.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    // `mailto:` and the like.
    if to.split(['/', '?']).next()?.contains(':') {
        return None;
    }
    let authority = base.authority()?;
    let path = match to.as_bytes().first() {
        Some(b'/') => to.to_owned(),
        Some(b'?') => format!("{}{to}", base.path()),
        None => base.path_and_query()?.to_string(),
        Some(_) => format!("{}/{to}", base.path().rsplit_once('/')?.0),
    };
    format!("{scheme}://{authority}{}", without_dots(&path)).parse().ok()
}

/// A path without `.` and `..` (RFC 3986 §5.2.4); its query stays.
fn without_dots(path: &str) -> String {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    if !path.contains("/.") {
        return format!("{path}{query}");
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// A host as sheets are known by it: in lower case, without the port that goes without saying.
pub(super) fn host(authority: &str) -> Cow<'_, str> {
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let bare = authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80")).unwrap_or(authority);
    lower_case(bare.trim_end_matches('.'))
}

/// Most text is so already.
pub(super) fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// What a sheet is known by.
pub(crate) fn name(authority: &str, target: &str) -> String {
    format!("{}{target}", host(authority))
}

/// The name of the sheet that somebody names at this address.
pub(super) fn resolve(base: &Uri, to: &str) -> Option<String> {
    let address = join(base, to)?;
    let target = address.path_and_query().map_or("/", |target| target.as_str());
    Some(name(address.authority()?.as_str(), target))
}

/// The number that stands for a name while the process runs.
pub(super) fn hash(name: &str) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined() {
        let base: Uri = "https://news.example/a/b?c".parse().unwrap();
        for (to, expect) in [
            ("https://other.example/x", Some("https://other.example/x")),
            ("HTTPS://other.example/x", Some("https://other.example/x")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("/x?y#z", Some("https://news.example/x?y")),
            ("x", Some("https://news.example/a/x")),
            ("../x/./y/..", Some("https://news.example/x/")),
            ("../../../x.css?a=/../b", Some("https://news.example/x.css?a=/../b")),
            ("./", Some("https://news.example/a/")),
            ("?amp=1", Some("https://news.example/a/b?amp=1")),
            ("", Some("https://news.example/a/b?c")),
            ("mailto:a@b.example", None),
            ("http://[", None),
        ] {
            assert_eq!(join(&base, to).map(|uri| uri.to_string()), expect.map(str::to_owned), "{to}");
        }
    }

    #[test]
    fn a_page_has_an_address_without_its_query() {
        let uri = |host: &str, target: &str| PageAddress { host: host.into(), target: target.into() }.uri();
        assert_eq!(uri("news.example:8080", "/a/b?c=/d?e").unwrap(), "http://news.example:8080/a/b");
        assert_eq!(uri("news.example", "/?p=1").unwrap(), "http://news.example/");
        assert_eq!(uri("", "/a"), None);
    }

    #[test]
    fn a_sheet_has_one_name() {
        let base: Uri = "http://News.Example:80/a/".parse().unwrap();
        for to in [
            "/s.css",
            "../s.css",
            "//news.example/s.css",
            "https://news.example:443/s.css",
            "http://news.example./s.css",
        ] {
            assert_eq!(resolve(&base, to).as_deref(), Some("news.example/s.css"), "{to}");
        }
        assert_eq!(name("news.example:8080", "/s.css?v=1"), "news.example:8080/s.css?v=1");
        assert!(matches!(host("user@news.example.:80"), Cow::Borrowed("news.example")), "nothing to change");
        assert_eq!(resolve(&base, "data:text/css,x"), None);
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
    }
}
