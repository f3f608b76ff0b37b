//! robots.txt with our statement in it, never looser than the site's own.
//!
//! The site's bytes stay as they are; ours come behind them. A group for one agent *replaces* that of `*`, so every agent
//! that either side names gets what we say to everybody, and an agent that only we name gets the site's lines for `*`
//! besides. No `Allow` of ours stands beside rules of the site's, and a `Disallow` of ours is made longer than any `Allow` of
//! the site's, for the longest pattern wins (RFC 9309 §2.2.2).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::policy::{Policy, Scope, covers, may_overlap, names};
use super::robots::{Group, MAX_BYTES, Robots, normalise};
use super::signal::{merge_content_signal, merge_content_usage};
use super::uses::{Pref, Uses};

/// Where robots.txt is.
pub const PATH: &str = "/robots.txt";

/// A file that names more agents, or says more, is nobody's work: nothing is added to it.
const MAX_AGENTS: usize = 1_000;
const MAX_LINES: usize = 10_000;
/// Agents times lines of `Content-Usage`.
const MAX_WORK: usize = 50_000;
/// Patterns of `Content-Usage` in one group.
const MAX_PATTERNS: usize = 200;

/// The file that goes out. `own`: the site's, if it has one. `None`: there is nothing to say.
pub fn robots_txt(policy: &Policy, own: Option<&[u8]>) -> Option<Vec<u8>> {
    let says = policy.scopes().iter().any(|scope| scope.uses != Uses::default());
    let lines = footer(policy, own);
    if !says && lines.is_empty() {
        return None;
    }
    let mut out = own.map(<[u8]>::to_vec).unwrap_or_default();
    let room = MAX_BYTES.saturating_sub(out.len());
    let mut text = format!("# Rights policy {}\n", version(policy));
    let site = Robots::parse(own.unwrap_or_default());
    if site.is_open && says {
        // Closes the site's last group: without a rule it would be one with our first.
        text.push_str("Disallow:\n\n");
    }
    if says && !(Writer { policy, site: Site::new(&site), merged: own.is_some(), room }).write(&site, &mut text) {
        tracing::warn!(target: "deckle", "robots.txt of the site is too long to add the statement of rights.");
        return Some(out);
    }
    text.push_str(&lines);
    if text.len() + 2 > room {
        // A parser stops reading there, and half a group frees an agent.
        tracing::warn!(target: "deckle", "robots.txt of the site is too long to add the statement of rights.");
        return Some(out);
    }
    if !out.is_empty() {
        out.extend_from_slice(b"\n\n");
    }
    out.extend_from_slice(text.as_bytes());
    Some(out)
}

/// The first 12 hex digits of a hash over the settings.
pub fn version(policy: &Policy) -> String {
    let text = serde_json::to_vec(policy.settings()).unwrap_or_default();
    HEXLOWER.encode(Sha256::digest(text).get(..6).unwrap_or_default())
}

/// May both patterns match one path?
fn touches(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a) || may_overlap(a, b)
}

/// The site's groups by the names that they are for.
struct Site<'r> {
    groups: HashMap<String, Vec<&'r Group>>,
}

impl<'r> Site<'r> {
    fn new(robots: &'r Robots) -> Self {
        let mut groups: HashMap<String, Vec<&'r Group>> = HashMap::new();
        for group in &robots.groups {
            let names = group.agents.iter().cloned().chain(group.names.iter().map(|name| name.to_ascii_lowercase()));
            for name in names.collect::<BTreeSet<String>>() {
                groups.entry(name).or_default().push(group);
            }
        }
        Self { groups }
    }

    fn named(&self, agent: &str) -> Option<&[&'r Group]> {
        self.groups.get(&agent.to_ascii_lowercase()).map(Vec::as_slice)
    }

    fn everybody(&self) -> &[&'r Group] {
        self.groups.get("*").map(Vec::as_slice).unwrap_or_default()
    }
}

/// Writes the groups.
struct Writer<'w> {
    policy: &'w Policy,
    site: Site<'w>,
    /// The site has a file.
    merged: bool,
    room: usize,
}

impl Writer<'_> {
    /// False: it would be too much.
    fn write(&self, robots: &Robots, text: &mut String) -> bool {
        let lines: usize = robots.groups.iter().map(|g| g.rules.len() + g.usage.len() + g.signals.len()).sum();
        let agents = self.agents(robots);
        let usage: usize = robots.groups.iter().map(|g| g.usage.len()).sum();
        if lines > MAX_LINES || agents.len() > MAX_AGENTS || agents.len() * usage > MAX_WORK {
            return false;
        }
        let Some(everybody) = self.body(None) else { return false };
        // Agents that are told the same share a group.
        let mut bodies: Vec<(String, Vec<String>)> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let mut size = 0;
        for agent in std::iter::once(None).chain(agents.iter().map(Some)) {
            let Some(mut body) = self.body(agent.map(String::as_str)) else { return false };
            if body.is_empty() {
                // An agent that is spared what everybody is told needs a group of its own to be so.
                let spared = agent.is_some_and(|agent| self.site.named(agent).is_none()) && !everybody.is_empty();
                if !spared {
                    continue;
                }
                self.open_all().clone_into(&mut body);
            }
            size += body.len() * usize::from(!index.contains_key(&body)) + 64;
            if size > self.room {
                return false;
            }
            let name = agent.map_or("*", String::as_str).to_owned();
            let at = *index.entry(body.clone()).or_insert_with(|| {
                bodies.push((body, Vec::new()));
                bodies.len() - 1
            });
            if let Some((_, names)) = bodies.get_mut(at) {
                names.push(name);
            }
        }
        for (body, names) in bodies {
            for name in names {
                let _ = writeln!(text, "User-agent: {name}");
            }
            let _ = writeln!(text, "{body}");
        }
        true
    }

    /// A rule that forbids nothing, and beside rules of the site's allows nothing.
    fn open_all(&self) -> &'static str {
        if self.merged { "Disallow:\n" } else { "Allow: /\n" }
    }

    /// Every agent that either side names, but `*`.
    fn agents(&self, robots: &Robots) -> Vec<String> {
        // `FooBot/2.1` is `FooBot`.
        let bare = |name: &String| name.split(['/', ' ']).next().unwrap_or_default().to_owned();
        let theirs = robots.groups.iter().flat_map(|group| &group.names).map(bare);
        let ours = self.policy.scopes().iter().flat_map(|scope| &scope.agents).cloned();
        let mut seen = BTreeSet::new();
        let new =
            |agent: &String| !agent.starts_with('*') && !agent.is_empty() && seen.insert(agent.to_ascii_lowercase());
        ours.chain(theirs).filter(new).collect()
    }

    /// The lines of one group; empty: there is nothing to add. It always holds a rule: preferences alone would fuse it
    /// with the next. `None`: too much.
    fn body(&self, agent: Option<&str>) -> Option<String> {
        let named = agent.map_or(Some(self.site.everybody()), |agent| self.site.named(agent));
        // A group of its own takes the place of the site's lines for everybody.
        let copied = agent.is_some() && named.is_none();
        let obeyed = named.unwrap_or_else(|| self.site.everybody());
        let mut text = String::new();
        if let Some(signal) = self.signal(agent, obeyed, copied) {
            let _ = writeln!(text, "Content-Signal: {signal}");
        }
        self.usage(agent, obeyed, copied, &mut text)?;
        let rules = self.rules(agent, obeyed, copied);
        for line in &rules {
            let _ = writeln!(text, "{line}");
        }
        if rules.is_empty() && !text.is_empty() {
            text.push_str(self.open_all());
        }
        Some(text)
    }

    /// Content-Signal has no paths: the strictest of what is said anywhere.
    fn signal(&self, agent: Option<&str>, obeyed: &[&Group], copied: bool) -> Option<String> {
        let theirs: Vec<&str> = obeyed.iter().flat_map(|g| &g.signals).map(String::as_str).collect();
        let own = (!theirs.is_empty()).then(|| theirs.join(", "));
        let merged = merge_content_signal(own.as_deref(), self.policy.strictest(agent));
        merged.or_else(|| own.filter(|_| copied))
    }

    fn usage(&self, agent: Option<&str>, obeyed: &[&Group], copied: bool, text: &mut String) -> Option<()> {
        let by_text: BTreeMap<_, _> =
            obeyed.iter().flat_map(|g| &g.usage).map(|u| ((u.pattern.as_str(), u.raw.as_str()), u)).collect();
        let theirs: Vec<_> = by_text.into_values().collect();
        let ours = self.concerned(agent).map(|scope| scope.path.as_str());
        // The shortest first, as people read.
        let patterns: BTreeMap<(usize, String), &str> = ours
            .chain(theirs.iter().map(|usage| usage.pattern.as_str()))
            .map(|pattern| ((normalise(pattern).len(), normalise(pattern)), pattern))
            .collect();
        if patterns.len() > MAX_PATTERNS {
            return None;
        }
        for ((_, normal), pattern) in patterns {
            let mut uses = self.policy.resolve_pattern(pattern, agent);
            let covering = || theirs.iter().filter(|usage| covers(&usage.pattern, &normal));
            let longest = covering().map(|usage| usage.pattern.len()).max().unwrap_or_default();
            let (same, other) = (covering().filter(|u| u.pattern.len() == longest), theirs.iter());
            // Lines for one pattern count together; and a longer line replaces a shorter one: what that one refuses in a
            // part of it is refused here, too.
            let beside = other.filter(|u| {
                u.pattern.len() <= normal.len() && !covers(&u.pattern, &normal) && may_overlap(&u.pattern, &normal)
            });
            for (of, pref) in same.clone().chain(beside).flat_map(|usage| &usage.says) {
                if *pref == Pref::Deny {
                    uses.set(*of, Pref::Deny);
                }
            }
            let own: Vec<&str> = same.map(|usage| usage.raw.as_str()).collect();
            let own = (!own.is_empty()).then(|| own.join(", "));
            let is_theirs = theirs.iter().any(|usage| usage.pattern == normal);
            let value = merge_content_usage(own.as_deref(), uses).or_else(|| own.filter(|_| copied && is_theirs));
            if let Some(value) = value {
                let path = if pattern == "/" { String::new() } else { format!("{pattern} ") };
                let _ = writeln!(text, "Content-Usage: {path}{value}");
            }
        }
        Some(())
    }

    fn rules(&self, agent: Option<&str>, obeyed: &[&Group], copied: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut seen = BTreeSet::new();
        let mut push = |allow: bool, pattern: &str| {
            let line = format!("{}: {pattern}", if allow { "Allow" } else { "Disallow" });
            if seen.insert(line.clone()) {
                lines.push(line);
            }
        };
        if copied {
            obeyed.iter().flat_map(|group| &group.rules).for_each(|rule| push(rule.allow, &rule.raw));
        }
        let theirs = || obeyed.iter().flat_map(|group| &group.rules);
        // Where the site forbids nothing, an `Allow` of ours lifts nothing of its.
        let may_allow = !theirs().any(|rule| !rule.allow);
        for scope in self.concerned(agent) {
            let rivals = theirs().filter(|rule| rule.allow && touches(&normalise(&scope.path), &rule.pattern));
            let longest = rivals.map(|rule| rule.pattern.len().max(rule.raw.len())).max().unwrap_or_default();
            match scope.uses.crawl {
                Pref::Deny if !self.is_excepted(agent, scope) => {
                    // As it was meant, for parsers without wildcards; and long enough for those with them.
                    push(false, &scope.path);
                    push(false, &self.outdo(agent, scope, longest));
                }
                Pref::Allow if may_allow && !self.is_refused(agent, scope) && !self.ties(agent, scope) => {
                    push(true, &scope.path);
                }
                _ => {}
            }
        }
        lines
    }

    /// What is said to everybody does not hold where the agent is told otherwise.
    fn is_excepted(&self, agent: Option<&str>, scope: &Scope) -> bool {
        scope.agents.is_empty()
            && agent.is_some_and(|agent| {
                let own = self.policy.scopes().iter().filter(|s| names(s, agent) && s.uses.crawl == Pref::Allow);
                own.clone().any(|s| covers(&normalise(&s.path), &normalise(&scope.path)))
            })
    }

    /// What everybody may does not hold where the agent is refused.
    fn is_refused(&self, agent: Option<&str>, scope: &Scope) -> bool {
        scope.agents.is_empty()
            && agent.is_some_and(|agent| {
                let mut own = self.policy.scopes().iter().filter(|s| names(s, agent) && s.uses.crawl == Pref::Deny);
                own.any(|s| touches(&normalise(&s.path), &normalise(&scope.path)))
            })
    }

    /// One page is refused by a pattern as long, which cannot be made longer: then nothing is allowed by name.
    fn ties(&self, agent: Option<&str>, scope: &Scope) -> bool {
        let path = normalise(&scope.path);
        self.concerned(agent).any(|other| {
            let normal = normalise(&other.path);
            let fixed = other.uses.crawl == Pref::Deny && normal.ends_with('$') && !normal.contains('*');
            fixed && normal.len() == path.len() && touches(&normal, &path)
        })
    }

    /// The pattern, made longer than what allows: stars say nothing new. One that ends in `$` needs one to begin with.
    fn outdo(&self, agent: Option<&str>, scope: &Scope, longest: usize) -> String {
        let length = normalise(&scope.path).len();
        let rival = |s: &&Scope| {
            let same = s.agents.is_empty() == scope.agents.is_empty();
            let concerned = s.agents.is_empty() || agent.is_some_and(|agent| names(s, agent));
            s.uses.crawl == Pref::Allow && same && concerned && normalise(&s.path).len() == length
        };
        let longest = longest.max(self.policy.scopes().iter().find(rival).map_or(0, |_| length));
        let stars = "*".repeat((longest + 1).saturating_sub(length));
        match scope.path.strip_suffix('$') {
            None => format!("{}{stars}", scope.path),
            Some(_) => scope.path.replacen('*', &format!("*{stars}"), 1),
        }
    }

    /// Scopes for everybody and those that name the agent, the shortest first.
    fn concerned(&self, agent: Option<&str>) -> impl Iterator<Item = &Scope> {
        let is_for = move |s: &&Scope| s.agents.is_empty() || agent.is_some_and(|agent| names(s, agent));
        self.policy.scopes().iter().rev().filter(is_for)
    }
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
    use crate::rights::uses::Use;

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
        let denied = |agent: &str| format!("User-agent: {agent}\n{signal}{usage}Disallow: /\nDisallow: /print/\n\n");
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

    #[test]
    fn what_the_site_says_to_everybody_reaches_an_agent_that_only_we_name() {
        let own = "User-agent: *\nContent-Signal: search=yes, ai-train=no\nContent-Usage: /private/ train-ai=n, foo=n\n\
            Disallow: /caf\u{e9}\nDisallow: /%7Ejoe\nAllow: /\n";
        let policy = policy(
            "uses = { search = 'allow', ai_train = 'allow' }\n[[scope]]\nagents = ['CCBot']\nuses = { ai_input = 'deny' }\n\
            [[scope]]\npath = '/premium/'\nagents = ['CCBot']\nuses = { ai_train = 'deny' }",
        );
        let got = text(&policy, Some(own));
        let group = got.split("User-agent: CCBot\n").nth(1).unwrap().split("\n\n").next().unwrap();
        for line in [
            "Content-Signal: search=yes, ai-train=no, ai-input=no",
            "Content-Usage: /private/ train-ai=n, foo=n, search=y",
            "Content-Usage: /premium/ search=y, train-ai=n",
            "Disallow: /caf%C3%A9",
            "Disallow: /%7Ejoe",
        ] {
            assert!(group.lines().any(|l| l == line), "no `{line}` in {group}");
        }
        let robots = Robots::parse(got.as_bytes());
        assert_eq!(robots.usage("CCBot", "/private/x", Use::AiTrain), Pref::Deny);
        assert_eq!(robots.usage("CCBot", "/premium/x", Use::AiTrain), Pref::Deny);
        assert_eq!(robots.usage("x", "/premium/x", Use::AiTrain), Pref::Allow);
    }

    #[test]
    fn an_allow_of_the_site_never_lifts_what_is_refused() {
        let policy = policy(
            "[[scope]]\npath = '/print/'\nuses = { crawl = 'deny' }\n[[scope]]\nagents = ['GPTBot']\nuses = { crawl = 'deny' }",
        );
        for allow in ["*", "*.css", "/*.html", "/print/free", "/*$"] {
            let got = text(&policy, Some(&format!("User-agent: *\nAllow: {allow}\n")));
            let robots = Robots::parse(got.as_bytes());
            for path in ["/print/x.html", "/print/free", "/print/a.css"] {
                assert!(!robots.allows("x", path), "{allow} {path}: {got}");
            }
            assert!(!robots.allows("GPTBot", "/a.css") && robots.allows("x", "/other"), "{allow}: {got}");
        }
        // One page is refused, not all that begins like it.
        let one = self::policy("[[scope]]\npath = '/foo$'\nuses = { crawl = 'deny' }");
        let robots = Robots::parse(text(&one, Some("User-agent: *\nAllow: /foo\n")).as_bytes());
        assert!(!robots.allows("x", "/foo") && robots.allows("x", "/foobar"));
        let front = self::policy("[[scope]]\npath = '/$'\nuses = { crawl = 'deny' }");
        assert!(Robots::parse(text(&front, None).as_bytes()).allows("x", "/story"), "the front page is not the site");
    }

    #[test]
    fn what_one_agent_is_told_is_not_told_to_others() {
        let of = |policy: &str, own: Option<&str>| {
            let text = text(&self::policy(policy), own);
            (Robots::parse(text.as_bytes()), text)
        };
        const GPTBOT: &str = "[[scope]]\nagents = ['GPTBot']\nuses = { crawl = 'deny' }\n";
        // A file that ends in a group without a rule does not swallow ours.
        for own in ["User-agent: *\nCrawl-delay: 10\n", "User-agent: *\nSitemap: x\n", "User-agent: Googlebot"] {
            let (robots, text) = of(GPTBOT, Some(own));
            assert!(
                robots.allows("Googlebot", "/") && robots.allows("x", "/") && !robots.allows("GPTBot", "/"),
                "{text}"
            );
        }
        // What everybody may is not what a refused agent may.
        for allowed in ["/", "/open/"] {
            let (robots, text) =
                of(&format!("{GPTBOT}[[scope]]\npath = '{allowed}'\nuses = {{ crawl = 'allow' }}"), None);
            assert!(!robots.allows("GPTBot", "/open/x") && robots.allows("x", "/open/x"), "{text}");
        }
        // One that is spared is spared.
        let spared = "i_mean_it = true\n[[scope]]\nuses = { crawl = 'deny' }\n[[scope]]\nagents = ['Googlebot']\nuses = { crawl = 'allow' }";
        for own in [None, Some(""), Some("User-agent: *\nDisallow:\n"), Some("User-agent: Googlebot/2.1\nDisallow: /x")]
        {
            let (robots, text) = of(spared, own);
            assert!(robots.allows("Googlebot", "/story") && !robots.allows("x", "/story"), "{text}");
        }
        // An exception of our own holds where the site forbids nothing.
        let free = "[[scope]]\npath = '/archive/'\nuses = { crawl = 'deny' }\n[[scope]]\npath = '/archive/free/'\nuses = { crawl = 'allow' }";
        let (robots, text) = of(free, Some("Sitemap: https://x.example/s.xml\n"));
        assert!(robots.allows("x", "/archive/free/a") && !robots.allows("x", "/archive/a"), "{text}");
        // Wildcards and ends.
        let pdf = "[[scope]]\npath = '/*.pdf$'\nuses = { crawl = 'deny' }";
        let (robots, text) = of(pdf, Some("User-agent: *\nAllow: /downloads/\n"));
        assert!(!robots.allows("x", "/downloads/a.pdf") && robots.allows("x", "/downloads/a.html"), "{text}");
        // For parsers that know no wildcards the plain line is there.
        let (_, text) = of(GPTBOT, Some("User-agent: *\nAllow: /wp-admin/admin-ajax.php\n"));
        assert!(
            text.contains("User-agent: GPTBot\nAllow: /wp-admin/admin-ajax.php\nDisallow: /\nDisallow: /***"),
            "{text}"
        );
        // Lines for one pattern count together.
        let two = "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: train-ai=y, foo=z\nDisallow: /x";
        let (robots, text) = of("[[scope]]\nagents = ['CCBot']\nuses = { ai_input = 'deny' }", Some(two));
        assert_eq!(robots.usage("CCBot", "/a", Use::AiTrain), Pref::Deny, "{text}");
    }

    #[test]
    fn too_much_gets_nothing_and_soon() {
        let policy = policy(GOLDEN);
        let many = |line: &str| (0..30_000).map(|i| line.replace('#', &i.to_string())).collect::<String>();
        let star = format!("User-agent: *\n{}", many("Disallow: /x#\n"));
        for own in [
            many("User-agent: a#\n"),
            format!("User-agent: *\n{}", many("Content-Usage: /a# train-ai=n\n")),
            star.clone(),
            format!("{}Allow: /print/x\n", many("User-agent: a#\n")),
        ] {
            assert_eq!(text(&policy, Some(&own)), own);
        }
        // Copied into a group for each agent, these would be more than a parser reads.
        let own = star.lines().take(5_000).map(|l| format!("{l}{}\n", "y".repeat(80))).collect::<String>();
        assert!(own.len() < MAX_BYTES);
        let own = own.replacen(&"y".repeat(80), "", 1);
        assert_eq!(text(&policy, Some(&own)), own);
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
            pattern().prop_map(|p| format!("Allow: {}", p.trim_start_matches('/'))),
            pattern().prop_map(|p| format!("Disallow: {p}")),
            pattern().prop_map(|p| format!("Content-Usage: {p} train-ai=n")),
            pattern().prop_map(|p| format!("Content-Usage: {p} search=y")),
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
            let settings = format!("i_mean_it = true\n{settings}");
            let policy = policy(&settings);
            let merged = Robots::parse(&robots_txt(&policy, Some(own.as_bytes())).unwrap());
            let before = Robots::parse(own.as_bytes());
            for agent in ["x", "foo", "GPTBot", "Other"] {
                prop_assert!(!merged.allows(agent, &path) || before.allows(agent, &path), "{agent} {path}\n{own}");
                if merged.allows(agent, &path) {
                    let (was, is) = (before.usage(agent, &path, Use::AiTrain), merged.usage(agent, &path, Use::AiTrain));
                    prop_assert!(was != Pref::Deny || is == Pref::Deny, "{agent} {path} {was:?} {is:?}\n{own}");
                }
                // One page cannot be refused by a longer pattern than an `Allow` of the site's that holds for it.
                let refused = matches!(agent, "GPTBot" | "Other") || (policy.resolve(&path).crawl == Pref::Deny && !denied.ends_with('$'));
                if path != "/robots.txt" && refused && !normalise(&path).contains(['*', '$']) {
                    prop_assert!(!merged.allows(agent, &path), "{agent} may fetch {path}\n{own}\n{}", String::from_utf8_lossy(&robots_txt(&policy, Some(own.as_bytes())).unwrap()));
                }
            }
        }
    }
}
