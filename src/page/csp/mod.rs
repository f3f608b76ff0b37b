//! Content Security Policy (CSP Level 3): may the guard run, and what is the least that has to be added so that it may?
//!
//! A policy is never loosened for anything but the guard: a token goes behind the values of one directive, every other
//! byte stays. Where no safe token exists the tag is left out, and the page is what it was.

mod attribute;
mod source;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

pub(crate) use attribute::{decode, encode};
use source::{has, has_hash, nonce, same_hash, sources};

/// Longest policy that is edited, in bytes.
const MAX_POLICY: usize = 16 << 10;

/// Section `[page.csp]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CspSettings {
    /// Add what the guard needs, or never touch a policy.
    pub amend: Amend,
    /// Policies that only report get the same, so that they report nothing of deckle's.
    pub report_only: bool,
    /// Policies in a `<meta>` before the tag, too.
    pub meta: bool,
}

impl Default for CspSettings {
    fn default() -> Self {
        Self { amend: Amend::Auto, report_only: true, meta: true }
    }
}

/// When a policy is amended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amend {
    /// Where the guard would not run without it.
    Auto,
    /// Never; where the guard may not run it is left out.
    Never,
}

/// The script that is to run; cheap to clone.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Target {
    /// Its address in full, where the site's public origin is known.
    pub(crate) url: Option<Arc<str>>,
    /// It comes from the page's own origin.
    pub(crate) own: bool,
    /// `sha256-…`, as in `integrity`.
    pub(crate) hash: Arc<str>,
    /// The script calls home.
    pub(crate) calls: bool,
    /// Where, in full, where the site's public origin is known.
    pub(crate) beacon: Option<Arc<str>>,
}

/// The policies of one response, one after the other.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Policies {
    target: Target,
    settings: CspSettings,
    nonce: Option<String>,
    amended: bool,
    /// Some policy lets no beacon through.
    mute: bool,
    /// Some policy lets no guard run.
    refused: bool,
}

/// What one policy asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// The guard runs.
    Pass,
    /// It runs with this nonce.
    Nonce(String),
    /// It runs with this token behind the values of the directive.
    Token(String),
    Refuse,
}

/// The values of a directive, with their place in the policy.
struct Directive<'p> {
    name: &'p str,
    values: &'p str,
    /// Behind the last byte that is no white space.
    end: usize,
}

impl Policies {
    pub(crate) fn new(target: Target, settings: &CspSettings) -> Self {
        Self { target, settings: settings.clone(), nonce: None, amended: false, mute: false, refused: false }
    }

    /// May the tag go out?
    pub(crate) fn allow(&self) -> bool {
        !self.refused
    }

    /// The nonce that the tag has to carry.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// May the script call home?
    pub(crate) fn beacon(&self) -> bool {
        !self.mute
    }

    /// A policy names this very script: no other may take its place.
    pub(crate) fn is_bound(&self) -> bool {
        self.amended
    }

    /// Amends the fields of a response's head. If one policy refuses, none is changed.
    pub(crate) fn amend_headers(&mut self, headers: &mut HeaderMap) {
        if headers.contains_key(header::CONTENT_SECURITY_POLICY) {
            let mut tried = self.clone();
            let enforced = tried.amend_field(headers, &header::CONTENT_SECURITY_POLICY, true);
            if tried.refused {
                self.refused = true;
                return;
            }
            *self = tried;
            replace(headers, &header::CONTENT_SECURITY_POLICY, enforced);
        }
        if self.settings.report_only {
            let reported = self.amend_field(headers, &header::CONTENT_SECURITY_POLICY_REPORT_ONLY, false);
            replace(headers, &header::CONTENT_SECURITY_POLICY_REPORT_ONLY, reported);
        }
    }

    /// The lines of a field with their changes; `None`: there are none.
    fn amend_field(&mut self, headers: &HeaderMap, name: &HeaderName, enforced: bool) -> Option<Vec<HeaderValue>> {
        let mut changed = false;
        let lines = headers
            .get_all(name)
            .iter()
            .map(|line| {
                let Some(text) = line.to_str().ok() else {
                    self.refused |= enforced;
                    return line.clone();
                };
                // A field line may hold several policies (CSP3 §2.2.2).
                let policies: Vec<Cow<'_, str>> =
                    text.split(',').map(|p| self.amend(p, enforced).map_or(Cow::Borrowed(p), Cow::Owned)).collect();
                if policies.iter().all(|policy| matches!(policy, Cow::Borrowed(_))) {
                    return line.clone();
                }
                let amended = policies.join(",");
                changed |= amended != text;
                HeaderValue::from_str(&amended).unwrap_or_else(|_| line.clone())
            })
            .collect();
        changed.then_some(lines)
    }

    /// A policy from a `<meta>`, decoded; the answer takes its place.
    pub(crate) fn amend_meta(&mut self, policy: &str) -> Option<String> {
        if self.refused {
            return None;
        }
        if !self.settings.meta {
            let mut fixed =
                Self { settings: CspSettings { amend: Amend::Never, ..self.settings.clone() }, ..self.clone() };
            fixed.amend(policy, true);
            self.nonce = fixed.nonce;
            self.refused = fixed.refused;
            self.mute = fixed.mute;
            return None;
        }
        self.amend(policy, true)
    }

    /// A policy in a form that cannot be edited: only what it says counts.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    fn amend(&mut self, policy: &str, enforced: bool) -> Option<String> {
        let amended = self.amend_script(policy, enforced);
        if self.refused || !self.target.calls {
            return amended;
        }
        let connected = self.amend_connect(amended.as_deref().unwrap_or(policy), enforced);
        connected.or(amended)
    }

    /// A beacon is worth less than a script: where it is not plainly allowed or named, it is left out.
    fn amend_connect(&mut self, policy: &str, enforced: bool) -> Option<String> {
        let directive = ["connect-src", "default-src"].iter().find_map(|name| find(policy, name))?;
        let url = self.target.beacon.as_deref();
        let page = Target { url: self.target.beacon.clone(), own: true, ..Target::default() };
        if sources(directive.values).any(|s| page.is_matched_by(s)) {
            return None;
        }
        let amended = url
            .filter(|_| self.settings.amend == Amend::Auto)
            .map(|url| add(policy, &directive, "connect-src", url))
            .filter(|amended| amended.len() <= MAX_POLICY);
        self.mute |= enforced && amended.is_none();
        amended
    }

    fn amend_script(&mut self, policy: &str, enforced: bool) -> Option<String> {
        match self.route(policy) {
            Route::Pass => None,
            Route::Nonce(nonce) => {
                self.nonce.get_or_insert(nonce);
                None
            }
            Route::Token(token) => {
                let amended = governing(policy)
                    .filter(|_| self.settings.amend == Amend::Auto)
                    .map(|directive| add(policy, &directive, "script-src-elem", &token))
                    .filter(|amended| amended.len() <= MAX_POLICY);
                self.amended |= amended.is_some();
                self.refused |= enforced && amended.is_none();
                amended
            }
            Route::Refuse => {
                self.refused |= enforced;
                None
            }
        }
    }

    fn route(&self, policy: &str) -> Route {
        if !policy.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7E)) || policy.len() > MAX_POLICY {
            return Route::Refuse;
        }
        if find(policy, "sandbox").is_some_and(|d| !has(d.values, "allow-scripts")) {
            return Route::Refuse;
        }
        let Some(directive) = governing(policy) else { return Route::Pass };
        let values = directive.values;
        let strict = has(values, "'strict-dynamic'");
        let named = sources(values).any(|s| same_hash(s, &self.target.hash));
        if named || (!strict && sources(values).any(|s| self.target.is_matched_by(s))) {
            return Route::Pass;
        }
        let nonces = || sources(values).filter_map(nonce);
        let nonce = match &self.nonce {
            Some(chosen) => nonces().find(|n| n == chosen),
            None => nonces().next(),
        };
        if let Some(nonce) = nonce {
            return Route::Nonce(nonce.to_owned());
        }
        let inline = has(values, "'unsafe-inline'") && !strict && nonces().next().is_none() && !has_hash(values);
        let hash = || format!("'{}'", self.target.hash);
        match &self.target.url {
            _ if strict => Route::Token(hash()),
            Some(url) => Route::Token(String::from(&**url)),
            // A hash beside it would switch the page's own inline scripts off (CSP3 §6.7.3.2).
            None if inline => Route::Refuse,
            None => Route::Token(hash()),
        }
    }
}

/// May a page load a style sheet of its own origin (CSP3 §6.8.3)? Policies are separated by commas, as in a field.
pub(crate) fn allows_own_sheets(policies: &str) -> bool {
    policies.split(',').all(|policy| {
        let ruling = ["style-src-elem", "style-src", "default-src"].iter().find_map(|name| find(policy, name));
        ruling.is_none_or(|directive| has(directive.values, "'self'") || has(directive.values, "*"))
    })
}

/// The directive that decides about a script element (CSP3 §6.8.3).
fn governing(policy: &str) -> Option<Directive<'_>> {
    ["script-src-elem", "script-src", "default-src"].iter().find_map(|name| find(policy, name))
}

/// The first directive of this name (CSP3 §2.2.1).
fn find<'p>(policy: &'p str, name: &str) -> Option<Directive<'p>> {
    let mut start = 0;
    policy.split(';').find_map(|part| {
        let at = start;
        start += part.len() + 1;
        let trimmed = part.trim_ascii();
        let (key, values) = trimmed.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((trimmed, ""));
        let end = at + part.trim_ascii_end().len();
        key.eq_ignore_ascii_case(name).then_some(Directive { name: key, values, end })
    })
}

/// The policy with one token more; where `default-src` stands for it, in a directive `own` of its own.
fn add(policy: &str, directive: &Directive<'_>, own: &str, token: &str) -> String {
    let only_none = has(directive.values, "'none'") && sources(directive.values).count() == 1;
    let splice = |range: Range<usize>, text: &str| {
        format!(
            "{}{text}{}",
            policy.get(..range.start).unwrap_or_default(),
            policy.get(range.end..).unwrap_or_default()
        )
    };
    if directive.name.eq_ignore_ascii_case("default-src") {
        // With `script-src-elem` `eval`, workers and inline handlers keep their fallback.
        let end = policy.trim_ascii_end().len();
        let lead = if policy.trim_ascii_end().ends_with(';') { "" } else { ";" };
        let kept = if only_none { "" } else { directive.values.trim_ascii() };
        let gap = if kept.is_empty() { "" } else { " " };
        return splice(end..end, &format!("{lead} {own}{gap}{kept} {token}"));
    }
    if only_none {
        let start = directive.end - directive.values.trim_ascii().len();
        return splice(start..directive.end, token);
    }
    splice(directive.end..directive.end, &format!(" {token}"))
}

fn replace(headers: &mut HeaderMap, name: &HeaderName, lines: Option<Vec<HeaderValue>>) {
    let Some(lines) = lines else { return };
    headers.remove(name);
    for line in lines {
        headers.append(name, line);
    }
}

/// The fields of a 304 take the place of those that the client keeps (RFC 9111 §3.2). A fresh nonce there would refuse
/// the scripts of the kept page, and a token that was chosen anew may name another script. Then the field goes as a
/// whole, and the client keeps the one that it has.
pub(crate) fn keep_stored(headers: &mut HeaderMap, policies: &Policies) {
    let names = [header::CONTENT_SECURITY_POLICY, header::CONTENT_SECURITY_POLICY_REPORT_ONLY];
    if !names.iter().any(|name| headers.contains_key(name)) {
        return;
    }
    let mut amended = headers.clone();
    policies.clone().amend_headers(&mut amended);
    for name in names {
        let has_nonce =
            |line: &HeaderValue| memchr::memmem::find(&line.as_bytes().to_ascii_lowercase(), b"'nonce-").is_some();
        let changes = !headers.get_all(&name).iter().eq(amended.get_all(&name).iter());
        if changes || headers.get_all(&name).iter().any(has_nonce) {
            headers.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example/.deckle/guard.9f2c4e1ab07d3356.js";
    const HASH: &str = "sha256-MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

    fn policies(origin: bool) -> Policies {
        let target = Target { url: origin.then(|| URL.into()), own: true, hash: HASH.into(), ..Target::default() };
        Policies::new(target, &CspSettings::default())
    }

    /// What a header line becomes, and the nonce of the tag (`-`: none, `X`: no tag).
    fn run(line: &str, origin: bool) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(line).unwrap());
        let mut policies = policies(origin);
        policies.amend_headers(&mut headers);
        let out = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let tag = if policies.allow() { policies.nonce().unwrap_or("-") } else { "X" };
        (out.replace(URL, "U").replace(&format!("'{HASH}'"), "H"), tag.to_owned())
    }

    /// Number, policy, is the origin known, what becomes of it (empty: the same), the nonce of the tag (`-`: none,
    /// `X`: no tag).
    #[rustfmt::skip]
    const VECTORS: [(u8, &str, bool, &str, &str); 44] = [
        (1, "script-src 'self'", false, "", "-"),
        (2, "script-src 'self'; object-src 'none'", true, "", "-"),
        (3, "default-src 'self'", false, "", "-"),
        (4, "default-src 'self' 'unsafe-inline' https:", false, "", "-"),
        (5, "script-src *", false, "", "-"),
        (6, "script-src https://cdn.example", true, "script-src https://cdn.example U", "-"),
        (7, "script-src https://cdn.example", false, "script-src https://cdn.example H", "-"),
        (8, "script-src 'unsafe-inline' https://cdn.example", true, "script-src 'unsafe-inline' https://cdn.example U", "-"),
        (9, "script-src 'unsafe-inline' https://cdn.example", false, "", "X"),
        (10, "script-src 'none'", true, "script-src U", "-"),
        (11, "script-src 'none'; img-src *", false, "script-src H; img-src *", "-"),
        (12, "script-src", true, "script-src U", "-"),
        (13, "default-src 'none'", true, "default-src 'none'; script-src-elem U", "-"),
        (14, "default-src 'none'; img-src 'self';", false, "default-src 'none'; img-src 'self'; script-src-elem H", "-"),
        (15, "default-src https://cdn.example 'unsafe-inline'; style-src *", true,
            "default-src https://cdn.example 'unsafe-inline'; style-src *; script-src-elem https://cdn.example 'unsafe-inline' U", "-"),
        (16, "script-src 'nonce-abc'", false, "", "abc"),
        (17, "script-src 'nonce-abc' 'strict-dynamic' https: 'unsafe-inline'", false, "", "abc"),
        (18, "script-src 'nonce-abc' 'self'", false, "", "-"),
        (19, "script-src 'strict-dynamic' 'sha256-AAAA='", true, "script-src 'strict-dynamic' 'sha256-AAAA=' H", "-"),
        (20, "script-src 'self' 'strict-dynamic' 'nonce-abc'", false, "", "abc"),
        (21, "script-src 'nonce-xyz', script-src 'nonce-abc' 'strict-dynamic'", false,
            "script-src 'nonce-xyz', script-src 'nonce-abc' 'strict-dynamic' H", "xyz"),
        (22, "script-src 'self'; script-src-elem https://cdn.example", true, "script-src 'self'; script-src-elem https://cdn.example U", "-"),
        (23, "script-src https://cdn.example; script-src-elem 'self'", false, "", "-"),
        (24, "script-src-elem 'nonce-abc'; script-src 'none'", false, "", "abc"),
        (25, "script-src https://cdn.example; script-src 'self'", true, "script-src https://cdn.example U; script-src 'self'", "-"),
        (26, "SCRIPT-SRC https://cdn.example", true, "SCRIPT-SRC https://cdn.example U", "-"),
        (27, "  script-src\thttps://cdn.example  ;  ", true, "  script-src\thttps://cdn.example U  ;  ", "-"),
        (28, "script-src 'self', script-src https://cdn.example", true, "script-src 'self', script-src https://cdn.example U", "-"),
        (29, "default-src 'self', default-src 'none'", false, "default-src 'self', default-src 'none'; script-src-elem H", "-"),
        (30, "script-src 'nonce-abc', script-src 'nonce-xyz'", false, "script-src 'nonce-abc', script-src 'nonce-xyz' H", "abc"),
        (31, "script-src 'nonce-abc', default-src 'self'", false, "", "abc"),
        (32, "img-src 'self'; frame-ancestors 'none'", false, "", "-"),
        (33, "sandbox allow-scripts", false, "", "-"),
        (34, "sandbox allow-scripts; script-src https://cdn.example", true, "sandbox allow-scripts; script-src https://cdn.example U", "-"),
        (35, "sandbox allow-forms", false, "", "X"),
        (36, "require-trusted-types-for 'script'; trusted-types 'none'; script-src 'self'", false, "", "-"),
        (37, "upgrade-insecure-requests; default-src https://cdn.example; report-uri /r", false,
            "upgrade-insecure-requests; default-src https://cdn.example; report-uri /r; script-src-elem https://cdn.example H", "-"),
        (38, "script-src 'unsafe-eval' 'wasm-unsafe-eval' 'report-sample' https://cdn.example", false,
            "script-src 'unsafe-eval' 'wasm-unsafe-eval' 'report-sample' https://cdn.example H", "-"),
        (39, "script-src news.example:*", true, "", "-"),
        (40, "script-src https://news.example/static/", true, "script-src https://news.example/static/ U", "-"),
        (41, "script-src https://news.example/.deckle/", true, "", "-"),
        (42, "", true, "", "-"),
        (43, "script-src 'nonce-a\"b' https://cdn.example", true, "script-src 'nonce-a\"b' https://cdn.example U", "-"),
        (44, "script-src 'NONCE-abc'", false, "", "abc"),
    ];

    #[test]
    fn policies_are_amended_by_the_least() {
        for (number, policy, origin, out, nonce) in VECTORS {
            let (got, tag) = run(policy, origin);
            let wanted = if out.is_empty() { policy } else { out };
            assert_eq!((got.as_str(), tag.as_str()), (wanted, nonce), "{number}");
        }
    }

    #[test]
    fn two_lines_are_two_policies_and_one_refusal_leaves_both() {
        let mut headers = HeaderMap::new();
        for line in ["script-src 'self'", "script-src https://cdn.example"] {
            headers.append(header::CONTENT_SECURITY_POLICY, line.parse().unwrap());
        }
        policies(true).amend_headers(&mut headers);
        let lines: Vec<_> = headers.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(lines[0], "script-src 'self'");
        assert_eq!(lines[1], &format!("script-src https://cdn.example {URL}"));
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src 'unsafe-inline' x.example".parse().unwrap());
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src y.example".parse().unwrap());
        let before = headers.clone();
        let mut refused = policies(false);
        refused.amend_headers(&mut headers);
        assert!(!refused.allow());
        assert_eq!(headers, before);
    }

    #[test]
    fn what_cannot_be_edited_is_left() {
        let long = format!("script-src https://cdn.example {}", "x.example ".repeat(1_800));
        assert_eq!(run(&long, true).1, "X");
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_bytes(b"script-src \xE9").unwrap());
        let mut policies = policies(true);
        policies.amend_headers(&mut headers);
        assert!(!policies.allow());
    }

    #[test]
    fn reports_never_keep_the_tag_away() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src 'self'".parse().unwrap());
        headers.append(header::CONTENT_SECURITY_POLICY_REPORT_ONLY, "script-src cdn.example".parse().unwrap());
        headers.append(
            header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
            "script-src 'unsafe-inline' a.example".parse().unwrap(),
        );
        let mut policies = policies(false);
        policies.amend_headers(&mut headers);
        assert!(policies.allow());
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "script-src 'self'");
        let lines: Vec<_> = headers.get_all(header::CONTENT_SECURITY_POLICY_REPORT_ONLY).iter().collect();
        assert_eq!(lines[0], &format!("script-src cdn.example '{HASH}'"));
        assert_eq!(lines[1], "script-src 'unsafe-inline' a.example");
    }

    #[test]
    fn amended_twice_is_amended_once() {
        for (number, policy, origin, ..) in VECTORS {
            let mut headers = HeaderMap::new();
            headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(policy).unwrap());
            policies(origin).amend_headers(&mut headers);
            let once = headers.clone();
            policies(origin).amend_headers(&mut headers);
            assert_eq!(headers, once, "{number}");
        }
    }

    #[test]
    fn a_beacon_is_allowed_named_or_left_out() {
        const BEACON: &str = "https://news.example/.deckle/copied";
        #[rustfmt::skip]
        let table = [
            ("script-src 'self'", false, "script-src 'self'", true),
            ("default-src 'self'", false, "default-src 'self'", true),
            ("default-src 'self'; connect-src 'none'", false, "default-src 'self'; connect-src 'none'", false),
            ("default-src 'self'; connect-src 'none'", true, "default-src 'self'; connect-src B", true),
            ("script-src 'self'; default-src 'none'", true, "script-src 'self'; default-src 'none'; connect-src B", true),
            ("connect-src api.example", true, "connect-src api.example B", true),
            ("connect-src https:", true, "connect-src https:", true),
        ];
        for (policy, origin, out, speaks) in table {
            let mut headers = HeaderMap::new();
            headers.append(header::CONTENT_SECURITY_POLICY, policy.parse().unwrap());
            let mut policies = policies(origin);
            policies.target.calls = true;
            policies.target.beacon = origin.then(|| BEACON.into());
            policies.amend_headers(&mut headers);
            let got = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().replace(BEACON, "B");
            assert_eq!((got.as_str(), policies.beacon(), policies.allow()), (out, speaks, true), "{policy}");
        }
    }

    #[test]
    fn never_means_never() {
        let target = Target { url: Some(URL.into()), own: true, hash: HASH.into(), ..Target::default() };
        let mut policies = Policies::new(target, &CspSettings { amend: Amend::Never, ..CspSettings::default() });
        assert_eq!(policies.amend("script-src cdn.example", true), None);
        assert!(!policies.allow());
    }

    #[test]
    fn a_304_leaves_the_kept_policy_alone() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_SECURITY_POLICY, "script-src 'NONCE-abc'".parse().unwrap());
        headers.append(header::CONTENT_SECURITY_POLICY, "img-src 'self'".parse().unwrap());
        headers.append(header::CONTENT_SECURITY_POLICY_REPORT_ONLY, "script-src 'self'".parse().unwrap());
        keep_stored(&mut headers, &policies(false));
        assert!(!headers.contains_key(header::CONTENT_SECURITY_POLICY), "one line less would be a looser policy");
        assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY_REPORT_ONLY), "what passes stays");
        headers.insert(header::CONTENT_SECURITY_POLICY, "script-src cdn.example".parse().unwrap());
        keep_stored(&mut headers, &policies(true));
        assert!(!headers.contains_key(header::CONTENT_SECURITY_POLICY), "the kept one names its script");
    }
}
