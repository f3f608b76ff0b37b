//! robots.txt with our statement in it, never looser than the site's own.
//!
//! The site's bytes stay as they are; ours come behind them. A group for one agent *replaces* that of `*`, so every agent
//! that either side names gets what we say to everybody, and an agent that only we name gets the site's rules for `*`
//! besides. No `Allow` of ours stands beside rules of the site's: of two patterns as long `Allow` would win.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::documents::patterns;
use super::policy::Policy;
use super::robots::{Robots, Rule, normalise};
use super::signal::{to_content_signal, to_content_usage};
use super::uses::{Pref, Use, Uses};

/// Where robots.txt is.
pub const PATH: &str = "/robots.txt";

/// The file that goes out. `own`: the site's, if it has one. `None`: there is nothing to say.
pub fn robots_txt(policy: &Policy, own: Option<&[u8]>) -> Option<Vec<u8>> {
    let site = Robots::parse(own.unwrap_or_default());
    let says = policy.scopes().iter().any(|scope| scope.uses != Uses::default());
    let lines = footer(policy, own);
    if !says && lines.is_empty() {
        return None;
    }
    let mut out = own.map(<[u8]>::to_vec).unwrap_or_default();
    if !out.is_empty() {
        out.extend_from_slice(b"\n\n");
    }
    let mut text = format!("# Rights policy {}\n", version(policy));
    if says {
        text.push_str(&group("*", policy, None, &site, own.is_some()));
        for agent in agents(policy, &site) {
            text.push_str(&group(&agent, policy, Some(&agent), &site, own.is_some()));
        }
    }
    text.push_str(&lines);
    out.extend_from_slice(text.as_bytes());
    Some(out)
}

/// The first 12 hex digits of a hash over the settings.
pub fn version(policy: &Policy) -> String {
    let text = serde_json::to_vec(policy.settings()).unwrap_or_default();
    HEXLOWER.encode(Sha256::digest(text).get(..6).unwrap_or_default())
}

/// Every agent that either side names, but `*`.
fn agents(policy: &Policy, site: &Robots) -> Vec<String> {
    let theirs = site.groups.iter().flat_map(|group| &group.agents).cloned();
    let ours = policy.scopes().iter().flat_map(|scope| &scope.agents).cloned();
    let mut seen = BTreeSet::new();
    ours.chain(theirs).filter(|agent| agent != "*" && seen.insert(agent.to_ascii_lowercase())).collect()
}

/// One group. Preferences alone would fuse it with the next: it always holds a rule.
fn group(name: &str, policy: &Policy, agent: Option<&str>, site: &Robots, merged: bool) -> String {
    let mut text = format!("User-agent: {name}\n");
    let uses = |pattern: &str| stricter(policy.resolve_pattern(pattern, agent), site, name, pattern);
    if let Some(signal) = to_content_signal(signals(policy, agent)) {
        let _ = writeln!(text, "Content-Signal: {signal}");
    }
    let own_usage = groups(site, name).flat_map(|group| &group.usage).map(|usage| usage.pattern.clone());
    let mut seen = BTreeSet::new();
    let all = patterns(policy).map(str::to_owned).chain(own_usage.collect::<Vec<_>>());
    // The shortest first, as people read.
    let all: BTreeSet<(usize, String)> = all.filter(|p| seen.insert(normalise(p))).map(|p| (p.len(), p)).collect();
    for (_, pattern) in &all {
        if let Some(usage) = to_content_usage(uses(pattern)) {
            let path = if pattern == "/" { String::new() } else { format!("{pattern} ") };
            let _ = writeln!(text, "Content-Usage: {path}{usage}");
        }
    }
    let rules = rules(policy, agent, name, site, merged);
    for (allow, pattern) in &rules {
        let _ = writeln!(text, "{}: {pattern}", if *allow { "Allow" } else { "Disallow" });
    }
    if rules.is_empty() {
        text.push_str(if merged { "Disallow:\n" } else { "Allow: /\n" });
    }
    text.push('\n');
    text
}

/// Content-Signal has no paths: the strictest of what is said anywhere.
fn signals(policy: &Policy, agent: Option<&str>) -> Uses {
    let mut uses = policy.strictest();
    let here = policy.resolve_pattern("/", agent);
    for of in Use::ALL {
        let strictest = uses.get(of).max(here.get(of));
        *uses.get_mut(of) = strictest;
    }
    uses
}

/// With what the site's own file says about the same place.
fn stricter(mut uses: Uses, site: &Robots, name: &str, pattern: &str) -> Uses {
    let sample = pattern.trim_end_matches('$').replace('*', "");
    for of in [Use::Search, Use::AiTrain] {
        let strictest = uses.get(of).max(site.usage(name, &sample, of));
        *uses.get_mut(of) = strictest;
    }
    uses
}

fn rules(policy: &Policy, agent: Option<&str>, name: &str, site: &Robots, merged: bool) -> Vec<(bool, String)> {
    let mut rules: Vec<(bool, String)> = Vec::new();
    let mut push = |allow: bool, pattern: String| {
        if !rules.contains(&(allow, pattern.clone())) {
            rules.push((allow, pattern));
        }
    };
    // A group of its own takes the place of the site's rules for everybody.
    if agent.is_some_and(|agent| !site.names(agent)) {
        for rule in groups(site, "*").flat_map(|group| &group.rules) {
            push(rule.allow, rule.pattern.clone());
        }
    }
    let scopes = policy.scopes().iter().rev();
    let ours = scopes.filter(|s| s.agents.is_empty() || agent.is_some_and(|a| super::policy::names(s, a)));
    for scope in ours {
        let crawl = policy.resolve_pattern(&scope.path, agent).crawl;
        if crawl == Pref::Deny {
            push(false, scope.path.clone());
        } else if crawl == Pref::Allow && !merged {
            push(true, scope.path.clone());
        }
    }
    // What the site allows within what we refuse would win by its length.
    let lifted = |rule: &&Rule| rule.allow && policy.resolve_pattern(&rule.pattern, agent).crawl == Pref::Deny;
    for rule in groups(site, name).chain(groups(site, "*")).flat_map(|group| &group.rules).filter(lifted) {
        // Longer by one, whatever it ends in.
        let (pattern, stars) = rule.pattern.strip_suffix('$').map_or((rule.pattern.as_str(), "*"), |p| (p, "**"));
        push(false, format!("{pattern}{stars}"));
    }
    rules
}

fn groups<'r>(site: &'r Robots, name: &str) -> impl Iterator<Item = &'r super::robots::Group> {
    let name = name.to_ascii_lowercase();
    site.groups.iter().filter(move |group| group.agents.contains(&name))
}

/// Lines that belong to no group, and are not there yet.
fn footer(policy: &Policy, own: Option<&[u8]>) -> String {
    let own = String::from_utf8_lossy(own.unwrap_or_default()).to_ascii_lowercase();
    let mut text = String::new();
    let settings = policy.settings();
    let license = settings.license.url.iter().map(|url| ("License", url));
    for (name, url) in license.chain(settings.sitemaps.iter().map(|url| ("Sitemap", url))) {
        if !own.contains(&url.to_ascii_lowercase()) {
            let _ = writeln!(text, "{name}: {url}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::new(&toml::from_str(text).unwrap()).unwrap()
    }

    const GOLDEN: &str = "license = { url = 'https://news.example/license.xml' }\nsitemaps = ['https://news.example/sitemap.xml']\n\
        uses = { search = 'allow', ai_input = 'deny', ai_train = 'deny' }\n\
        [[scope]]\npath = '/press/'\nuses = { ai_train = 'allow' }\n[[scope]]\npath = '/print/'\nuses = { crawl = 'deny' }\n\
        [[scope]]\nagents = ['GPTBot', 'CCBot']\nuses = { crawl = 'deny' }";

    fn text(policy: &Policy, own: Option<&str>) -> String {
        String::from_utf8(robots_txt(policy, own.map(str::as_bytes)).unwrap()).unwrap()
    }

    #[test]
    fn a_site_without_a_file_gets_one() {
        let got = text(&policy(GOLDEN), None);
        let version = version(&policy(GOLDEN));
        let signal = "Content-Signal: search=yes, ai-input=no, ai-train=no\n";
        let usage = "Content-Usage: search=y, train-ai=n\nContent-Usage: /press/ search=y, train-ai=y\nContent-Usage: /print/ search=y, train-ai=n\n";
        let denied = |agent: &str| {
            format!("User-agent: {agent}\n{signal}{usage}Disallow: /\nDisallow: /print/\nDisallow: /press/\n\n")
        };
        let everybody = format!("User-agent: *\n{signal}{usage}Disallow: /print/\n\n");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert!(got.starts_with(&format!("# Rights policy {version}\n{everybody}")), "{got}");
        assert_eq!(
            lines(&got),
            lines(&format!(
                "# Rights policy {version}\n{everybody}{}{}License: https://news.example/license.xml\nSitemap: https://news.example/sitemap.xml\n",
                denied("GPTBot"),
                denied("CCBot")
            )),
            "{got}"
        );
        let robots = Robots::parse(got.as_bytes());
        assert!(robots.allows("Googlebot", "/story") && !robots.allows("Googlebot", "/print/1"));
        assert!(!robots.allows("ccbot", "/story") && !robots.allows("GPTBot/1.2", "/press/1"));
        assert_eq!(robots.usage("x", "/press/1", Use::AiTrain), Pref::Allow);
        assert_eq!(robots.usage("x", "/story", Use::AiTrain), Pref::Deny);
    }

    #[test]
    fn what_is_not_stated_is_not_said() {
        assert_eq!(robots_txt(&policy("holder = 'x'"), Some(b"User-agent: *\n")), None);
        let only_sitemap = text(&policy("sitemaps = ['https://a.example/s.xml']"), Some("User-agent: x\nDisallow: /"));
        assert!(
            only_sitemap.ends_with("Sitemap: https://a.example/s.xml\n") && !only_sitemap.contains("User-agent: *")
        );
    }

    #[test]
    fn the_bytes_of_the_site_stay_and_its_rules_are_never_lifted() {
        let own = "# ours\nUser-agent: *\nDisallow: /admin\nContent-Usage: /ai-ok/ train-ai=y\n\nUser-agent: Googlebot\nAllow: /\n";
        let got = text(&policy(GOLDEN), Some(own));
        assert!(got.starts_with(own));
        let robots = Robots::parse(got.as_bytes());
        assert!(!robots.allows("CCBot", "/admin") && !robots.allows("x", "/admin"), "copied into the new group");
        assert!(robots.allows("x", "/story"));
        assert!(
            !robots.allows("Googlebot", "/print/1"),
            "what is said to everybody is said to an agent that the site names"
        );
        assert_eq!(robots.usage("Googlebot", "/story", Use::AiTrain), Pref::Deny);
        assert_eq!(robots.usage("x", "/ai-ok/1", Use::AiTrain), Pref::Deny, "the site's exception is not ours");
        let refused = Robots::parse(text(&policy(GOLDEN), Some("User-agent: ccbot\nAllow: /\n")).as_bytes());
        assert!(!refused.allows("CCBot", "/x"), "an Allow as long as our Disallow does not win");
    }

    fn pattern() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just("a"), Just("b"), Just("/"), Just("*"), Just("%7E"), Just("ü"), Just("$")],
            0..5,
        )
        .prop_map(|parts| format!("/{}", parts.concat()))
    }

    fn site() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("User-agent: *".to_owned()),
            Just("User-agent: gptbot".to_owned()),
            Just("user-agent: foo".to_owned()),
            Just("Sitemap: x".to_owned()),
            Just("Content-Usage: train-ai=y".to_owned()),
            pattern().prop_map(|p| format!("Allow: {p}")),
            pattern().prop_map(|p| format!("Disallow: {p}")),
        ];
        proptest::collection::vec(line, 0..10).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn a_merge_never_loosens(own in site(), denied in pattern(), allowed in pattern(), path in pattern()) {
            let settings = format!(
                "[[scope]]\npath = {denied:?}\nuses = {{ crawl = 'deny' }}\n[[scope]]\npath = {allowed:?}\nuses = {{ crawl = 'allow', ai_train = 'deny' }}\n\
                 [[scope]]\nagents = ['GPTBot', 'Other']\nuses = {{ crawl = 'deny' }}"
            );
            let policy = policy(&settings);
            let merged = Robots::parse(&robots_txt(&policy, Some(own.as_bytes())).unwrap());
            let before = Robots::parse(own.as_bytes());
            for agent in ["x", "foo", "GPTBot", "Other"] {
                prop_assert!(!merged.allows(agent, &path) || before.allows(agent, &path), "{agent} {path}\n{own}");
                if path != "/robots.txt" && matches!(agent, "GPTBot" | "Other") && policy.resolve_pattern(&path, Some(agent)).crawl == Pref::Deny && !path.contains(['*', '$']) {
                    prop_assert!(!merged.allows(agent, &path), "{agent} may fetch {path}\n{own}");
                }
            }
        }
    }
}
