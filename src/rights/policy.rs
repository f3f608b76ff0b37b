//! The one statement that everything else is written from.

use super::robots::{matches, normalise};
use super::uses::{Pref, Use, Uses};
use super::{RightsError, ScopeSettings, Settings};

/// What holds where, checked.
#[derive(Debug, Clone)]
pub struct Policy {
    settings: Settings,
    /// The longest pattern first.
    scopes: Vec<Scope>,
}

/// What is said about some paths, to some agents.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// As it was written.
    pub(super) path: String,
    normal: String,
    /// Product tokens; empty: everybody.
    pub(super) agents: Vec<String>,
    pub(super) uses: Uses,
}

impl Policy {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`RightsError`] for an address that is no absolute https one, a pattern or a token that is none, a use that is
    /// allowed where fetching is not, and a refusal of search without `i_mean_it`.
    pub fn new(settings: &Settings) -> Result<Self, RightsError> {
        for (key, value) in [
            ("rights.license.page", &settings.license.page),
            ("rights.license.url", &settings.license.url),
            ("rights.tdm_policy", &settings.tdm_policy),
        ] {
            check_address(key, value.iter())?;
        }
        check_address("rights.sitemaps", settings.sitemaps.iter())?;
        check_document(&settings.license)?;
        let base = ScopeSettings { path: "/".to_owned(), agents: Vec::new(), uses: settings.uses };
        let mut scopes = Vec::new();
        for scope in std::iter::once(&base).chain(&settings.scope) {
            check_scope(scope, settings.i_mean_it)?;
            scopes.push(Scope {
                path: scope.path.clone(),
                normal: normalise(&scope.path),
                agents: scope.agents.clone(),
                uses: scope.uses,
            });
        }
        scopes.sort_by_key(|scope| std::cmp::Reverse(scope.normal.len()));
        Ok(Self { settings: settings.clone(), scopes })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Is anything said in response fields at all?
    #[cfg(feature = "html")]
    pub(crate) fn is_silent(&self) -> bool {
        let settings = &self.settings;
        let says = self.scopes.iter().any(|scope| scope.agents.is_empty() && scope.uses != Uses::default());
        !says && settings.license.url.is_none() && settings.snippet == super::SnippetSettings::default()
    }

    /// What is said to everybody about a path: for each use the longest pattern that says something, and of two as long
    /// the stricter.
    pub fn resolve(&self, path: &str) -> Uses {
        let path = normalise(path);
        self.resolve_by(|scope| scope.agents.is_empty() && matches(&scope.normal, &path))
    }

    /// What is said about all that a pattern matches, to everybody or to an agent besides: the longest pattern that covers
    /// it, and a refusal of any other that may overlap and is no longer. (A longer one has a line of its own.)
    pub(super) fn resolve_pattern(&self, pattern: &str, agent: Option<&str>) -> Uses {
        let pattern = normalise(pattern);
        let own = self.resolve_region(&pattern, |s| agent.is_some_and(|a| names(s, a)));
        let mut uses = self.resolve_region(&pattern, |s| s.agents.is_empty());
        for of in Use::ALL {
            if own.get(of) != Pref::Unstated {
                *uses.get_mut(of) = own.get(of);
            }
        }
        uses
    }

    fn resolve_region(&self, pattern: &str, of_agent: impl Fn(&Scope) -> bool) -> Uses {
        let mut uses = self.resolve_by(|s| of_agent(s) && covers(&s.normal, pattern));
        for of in Use::ALL {
            let refused = self.scopes.iter().any(|s| {
                let refuses = of_agent(s) && s.uses.get(of) == Pref::Deny && s.normal.len() <= pattern.len();
                refuses && !covers(&s.normal, pattern) && may_overlap(&s.normal, pattern)
            });
            if refused {
                *uses.get_mut(of) = Pref::Deny;
            }
        }
        uses
    }

    fn resolve_by(&self, holds: impl Fn(&Scope) -> bool) -> Uses {
        let mut uses = Uses::default();
        for of in Use::ALL {
            let says = self.scopes.iter().filter(|s| holds(s) && s.uses.get(of) != Pref::Unstated);
            let Some(longest) = says.clone().map(|s| s.normal.len()).max() else { continue };
            *uses.get_mut(of) =
                says.filter(|s| s.normal.len() == longest).map(|s| s.uses.get(of)).max().unwrap_or_default();
        }
        uses
    }

    /// The strictest of all that is said about a use anywhere, to everybody or to an agent besides.
    pub(super) fn strictest(&self, agent: Option<&str>) -> Uses {
        let mut uses = Uses::default();
        for of in Use::ALL {
            let concerned = |s: &&Scope| s.agents.is_empty() || agent.is_some_and(|a| names(s, a));
            let said = self.scopes.iter().filter(concerned).map(|s| s.uses.get(of)).max();
            *uses.get_mut(of) = said.unwrap_or_default();
        }
        uses
    }

    pub(super) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// Is everything that `pattern` matches matched by `other`, too? Only what is certain counts.
pub(super) fn covers(other: &str, pattern: &str) -> bool {
    other == pattern || (!other.contains(['*', '$']) && pattern.strip_suffix('$').unwrap_or(pattern).starts_with(other))
}

/// May both match one path, although `other` does not cover `pattern`? Only where it is certain that not: no.
pub(super) fn may_overlap(other: &str, pattern: &str) -> bool {
    if other == pattern {
        return true;
    }
    let start = |p: &str| p.split(['*', '$']).next().unwrap_or_default().to_owned();
    let (a, b) = (start(other), start(pattern));
    // What stands before the first wildcard has to agree.
    let agrees = a.starts_with(&b) || b.starts_with(&a);
    let exact = other.strip_suffix('$').filter(|p| !p.contains('*'));
    agrees && exact.is_none_or(|path| matches(pattern, path))
}

pub(super) fn names(scope: &Scope, agent: &str) -> bool {
    let token = super::robots::token(agent).unwrap_or_default();
    scope.agents.iter().any(|name| name.eq_ignore_ascii_case(agent) || name.eq_ignore_ascii_case(&token))
}

fn check_address<'a>(key: &'static str, values: impl Iterator<Item = &'a String>) -> Result<(), RightsError> {
    for value in values {
        // It goes into fields, markup and lines of robots.txt.
        let plain =
            value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\'' | b'`'));
        let parsed = value.parse::<http::Uri>().ok().filter(|_| plain);
        if !parsed.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.authority().is_some()) {
            return Err(RightsError::Address { key, value: value.clone() });
        }
    }
    Ok(())
}

/// The document takes the place of nothing that people read.
fn check_document(license: &super::LicenseSettings) -> Result<(), RightsError> {
    let Some(url) = &license.url else { return Ok(()) };
    let is_front = url.parse::<http::Uri>().is_ok_and(|uri| uri.path() == "/");
    if is_front || license.page.as_ref() == Some(url) {
        return Err(RightsError::Address { key: "rights.license.url", value: url.clone() });
    }
    Ok(())
}

fn check_scope(scope: &ScopeSettings, i_mean_it: bool) -> Result<(), RightsError> {
    let path = &scope.path;
    if !path.starts_with('/') || path.contains(|c: char| c.is_control() || c == '#' || c == ' ') {
        return Err(RightsError::Pattern { value: path.clone() });
    }
    let is_token = |token: &String| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_'))
    };
    if let Some(token) = scope.agents.iter().find(|token| !is_token(token)) {
        return Err(RightsError::Agent { value: token.clone() });
    }
    let allows = Use::ALL.into_iter().skip(1).any(|of| scope.uses.get(of) == Pref::Allow);
    if scope.uses.crawl == Pref::Deny && allows {
        return Err(RightsError::AllowedButNotFetched { path: path.clone() });
    }
    let everything = scope.uses.crawl == Pref::Deny && scope.agents.is_empty() && matches!(path.as_str(), "/" | "/*");
    if (scope.uses.search == Pref::Deny || everything) && !i_mean_it {
        return Err(RightsError::SearchDenied { path: path.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, RightsError> {
        Policy::new(&toml::from_str(text).unwrap())
    }

    #[test]
    fn the_longest_pattern_that_says_something_holds() {
        let policy = policy(
            "uses = { search = 'allow', ai_train = 'deny' }\n[[scope]]\npath = '/press/'\nuses = { ai_train = 'allow' }\n\
             [[scope]]\npath = '/press/*/draft$'\nuses = { ai_train = 'deny' }\n[[scope]]\nagents = ['CCBot']\nuses = { crawl = 'deny' }",
        )
        .unwrap();
        let train = |path: &str| policy.resolve(path).ai_train;
        assert_eq!(
            (train("/story/1"), train("/press/2"), train("/press/2/draft")),
            (Pref::Deny, Pref::Allow, Pref::Deny)
        );
        assert_eq!(policy.resolve("/press/2").search, Pref::Allow, "what a scope leaves open is that of the site");
        assert_eq!(policy.resolve("/").crawl, Pref::Unstated, "what is said to one agent is not said to all");
        assert_eq!(policy.resolve_pattern("/", Some("ccbot")).crawl, Pref::Deny);
        assert_eq!(policy.strictest(None).ai_train, Pref::Deny);
        assert_eq!((policy.strictest(None).crawl, policy.strictest(Some("CCBot")).crawl), (Pref::Unstated, Pref::Deny));
    }

    #[test]
    fn a_pattern_is_as_strict_as_all_that_it_matches() {
        let policy = policy(
            "uses = { ai_train = 'deny', tdm = 'allow' }\n[[scope]]\npath = '/$'\nuses = { ai_train = 'allow' }\n\
             [[scope]]\npath = '/press/'\nuses = { ai_train = 'allow', search = 'allow' }\n[[scope]]\npath = '/*.pdf'\nuses = { tdm = 'deny', ai_train = 'deny' }",
        )
        .unwrap();
        let train = |pattern: &str| policy.resolve_pattern(pattern, None).ai_train;
        assert_eq!((train("/"), train("/$"), train("/*.pdf")), (Pref::Deny, Pref::Allow, Pref::Deny));
        assert_eq!(train("/press/"), Pref::Deny, "a document of the press may be what is refused");
        assert_eq!(policy.resolve_pattern("/press/", None).tdm, Pref::Deny);
        assert!(covers("/a", "/a/b*c") && !covers("/a$", "/a") && !covers("/*x", "/ax"));
        assert!(may_overlap("/*.pdf", "/press/") && !may_overlap("/a/*x", "/b/") && !may_overlap("/$", "/press/"));
    }

    #[test]
    fn bad_statements_are_refused_with_their_key() {
        for (text, says) in [
            ("license = { page = 'http://a.example' }", "rights.license.page"),
            ("license = { url = '/license.xml' }", "rights.license.url"),
            ("tdm_policy = 'ftp://a.example'", "rights.tdm_policy"),
            ("sitemaps = ['sitemap.xml']", "rights.sitemaps"),
            ("[[scope]]\npath = 'press'", "press"),
            ("[[scope]]\npath = '/a b'", "/a b"),
            ("[[scope]]\nagents = ['GPTBot/1.0']", "GPTBot/1.0"),
            ("uses = { crawl = 'deny', ai_train = 'allow' }", "fetched"),
            ("uses = { search = 'deny' }", "i_mean_it"),
            ("uses = { crawl = 'deny' }", "i_mean_it"),
            ("[[scope]]\nuses = { crawl = 'deny' }", "i_mean_it"),
            ("sitemaps = [\"https://a.example/s.xml#\\nDisallow: /\"]", "rights.sitemaps"),
            ("license = { url = 'https://a.example/' }", "rights.license.url"),
            ("license = { url = 'https://a.example/l', page = 'https://a.example/l' }", "rights.license.url"),
        ] {
            let error = policy(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(policy("uses = { search = 'deny' }\ni_mean_it = true").is_ok());
        assert!(toml::from_str::<Settings>("uses = { train = 'deny' }").is_err());
        assert!(toml::from_str::<Settings>("uses = { ai_train = true }").is_err());
    }
}
