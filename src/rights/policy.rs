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

    /// What is said to everybody about a path: for each use the longest pattern that says something, and of two as long
    /// the stricter.
    pub fn resolve(&self, path: &str) -> Uses {
        let path = normalise(path);
        self.resolve_by(|scope| scope.agents.is_empty() && matches(&scope.normal, &path))
    }

    /// What is said about the pattern of a scope, or about `/`, to everybody or to an agent besides.
    pub(super) fn resolve_pattern(&self, pattern: &str, agent: Option<&str>) -> Uses {
        let sample = normalise(pattern.trim_end_matches('$')).replace('*', "");
        let own = self.resolve_by(|s| agent.is_some_and(|a| names(s, a)) && matches(&s.normal, &sample));
        let all = self.resolve_by(|scope| scope.agents.is_empty() && matches(&scope.normal, &sample));
        let mut uses = all;
        for of in Use::ALL {
            if own.get(of) != Pref::Unstated {
                *uses.get_mut(of) = own.get(of);
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

    /// The strictest of all that is said about a use anywhere.
    pub(super) fn strictest(&self) -> Uses {
        let mut uses = Uses::default();
        for of in Use::ALL {
            let said = self.scopes.iter().filter(|s| s.agents.is_empty()).map(|s| s.uses.get(of)).max();
            *uses.get_mut(of) = said.unwrap_or_default();
        }
        uses
    }

    pub(super) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

pub(super) fn names(scope: &Scope, agent: &str) -> bool {
    scope.agents.iter().any(|token| token.eq_ignore_ascii_case(agent))
}

fn check_address<'a>(key: &'static str, values: impl Iterator<Item = &'a String>) -> Result<(), RightsError> {
    for value in values {
        let parsed = value.parse::<http::Uri>().ok();
        if !parsed.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.authority().is_some()) {
            return Err(RightsError::Address { key, value: value.clone() });
        }
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
    if scope.uses.search == Pref::Deny && !i_mean_it {
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
        assert_eq!(policy.strictest().ai_train, Pref::Deny);
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
        ] {
            let error = policy(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(policy("uses = { search = 'deny' }\ni_mean_it = true").is_ok());
        assert!(toml::from_str::<Settings>("uses = { train = 'deny' }").is_err());
        assert!(toml::from_str::<Settings>("uses = { ai_train = true }").is_err());
    }
}
