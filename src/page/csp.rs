//! Does a Content Security Policy (CSP Level 3) let deckle's own script run?
//!
//! The guard is a script of the page's own origin. Where the governing directive plainly allows that, the tag is
//! written; where it does not, the tag is left out and the page stays as it is: no console error, no weakened policy.

use http::{HeaderMap, header};

/// May a script of the page's own origin run under every policy of the header?
pub(crate) fn headers_allow(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_SECURITY_POLICY).iter().all(|line| {
        // A field line may hold several policies (CSP3 §2.2.2).
        line.to_str().is_ok_and(|text| text.split(',').all(allows_own_script))
    })
}

/// The same for one policy.
pub(crate) fn allows_own_script(policy: &str) -> bool {
    let sandboxed = directive(policy, "sandbox").is_some_and(|values| !has(values, "allow-scripts"));
    let governing = ["script-src-elem", "script-src", "default-src"].iter().find_map(|name| directive(policy, name));
    let allowed = governing
        .is_none_or(|sources| !has(sources, "'strict-dynamic'") && (has(sources, "'self'") || has(sources, "*")));
    allowed && !sandboxed
}

/// The values of the first directive of this name (CSP3 §2.2.1).
fn directive<'p>(policy: &'p str, name: &str) -> Option<&'p str> {
    policy.split(';').map(str::trim).find_map(|part| {
        let (key, values) = part.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((part, ""));
        key.eq_ignore_ascii_case(name).then_some(values)
    })
}

fn has(sources: &str, source: &str) -> bool {
    sources.split_ascii_whitespace().any(|s| s.eq_ignore_ascii_case(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_scripts_are_allowed_or_not() {
        for policy in [
            "",
            "script-src 'self'",
            "default-src 'self'",
            "default-src 'self' 'unsafe-inline' https:",
            "script-src *",
            "SCRIPT-SRC 'SELF'",
            "script-src https://cdn.example; script-src-elem 'self'",
            "script-src 'self'; script-src https://cdn.example",
            "img-src 'self'; frame-ancestors 'none'",
            "sandbox allow-scripts",
            "require-trusted-types-for 'script'; trusted-types 'none'; script-src 'self'",
        ] {
            assert!(allows_own_script(policy), "{policy}");
        }
        for policy in [
            "script-src https://cdn.example",
            "script-src 'none'",
            "script-src",
            "default-src 'none'",
            "script-src 'nonce-abc'",
            "script-src 'self' 'strict-dynamic' 'nonce-abc'",
            "script-src 'self'; script-src-elem https://cdn.example",
            "sandbox allow-forms",
        ] {
            assert!(!allows_own_script(policy), "{policy}");
        }
    }

    #[test]
    fn every_policy_of_every_line_counts() {
        let mut headers = HeaderMap::new();
        assert!(headers_allow(&headers));
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src 'self', img-src *".parse().unwrap());
        assert!(headers_allow(&headers));
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src 'none'".parse().unwrap());
        assert!(!headers_allow(&headers));
    }
}
