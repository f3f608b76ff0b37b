//! What is wrong, or most likely not meant, in a robots.txt and in the other places where rights are declared.
//!
//! Crawlers say nothing about such faults: a refusal that does not parse is no refusal.

use http::HeaderMap;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::robots::{MAX_BYTES, Robots, key_value, lines, matches, normalise};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Stable spelling.
    pub code: &'static str,
    /// Line of the file; 0: the whole of it, or no file.
    pub line: usize,
    /// What it means.
    pub message: String,
}

impl Lint {
    fn new(code: &'static str, line: usize, message: impl Into<String>) -> Self {
        Self { code, line, message: message.into() }
    }
}

/// Directives of `X-Robots-Tag` and robots metas that some crawler documents.
const ROBOTS_TAGS: [&str; 17] = [
    "all",
    "follow",
    "index",
    "indexifembedded",
    "max-image-preview",
    "max-snippet",
    "max-video-preview",
    "noai",
    "noarchive",
    "nocache",
    "nofollow",
    "noimageai",
    "noimageindex",
    "noindex",
    "none",
    "nosnippet",
    "notranslate",
];

/// Reads a robots.txt as its author did not.
pub fn robots_txt(bytes: &[u8]) -> Vec<Lint> {
    let robots = Robots::parse(bytes);
    let mut lints = Vec::new();
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        lints.push(Lint::new("bom", 1, "a byte order mark: some parsers take the first line for unknown"));
    }
    if bytes.len() > MAX_BYTES {
        lints.push(Lint::new("too-long", 0, format!("crawlers read {MAX_BYTES} bytes and forget the rest")));
    }
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    let page = bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<');
    if page {
        lints.push(Lint::new("html-body", 1, "this is a web page; it holds no rules"));
        return lints;
    }
    by_line(bytes, &robots, &mut lints);
    of_groups(&robots, &mut lints);
    lints.sort_by_key(|lint| (lint.line, lint.code));
    lints
}

/// Where the reader of the lines stands.
#[derive(Default)]
struct Reader {
    in_group: bool,
    /// The last lines named agents; no rule has come since.
    names_agents: bool,
    /// Since then something else has come.
    interrupted: bool,
}

fn by_line(bytes: &[u8], robots: &Robots, lints: &mut Vec<Lint>) {
    let mut reader = Reader::default();
    for (index, line) in lines(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)).enumerate() {
        let number = index + 1;
        match key_value(line) {
            Some((key, value)) => read_line(&mut reader, &key.to_ascii_lowercase(), &value, number, robots, lints),
            None if line.iter().all(u8::is_ascii_whitespace) => reader.interrupted |= reader.names_agents,
            None => {}
        }
    }
    if reader.names_agents {
        let line = robots.groups.last().map_or(0, |group| group.line);
        lints.push(Lint::new("empty-group", line, "the last group has no rule: nothing is forbidden in it"));
    }
}

fn read_line(reader: &mut Reader, key: &str, value: &str, number: usize, robots: &Robots, lints: &mut Vec<Lint>) {
    let mut add = |code, message: String| lints.push(Lint::new(code, number, message));
    match key {
        "user-agent" => {
            if reader.names_agents && reader.interrupted {
                add(
                    "fused-groups",
                    format!(
                        "no rule since the last User-agent: `{value}` joins the group above, with all that it says"
                    ),
                );
            }
            if value.contains('/') {
                add("version-in-token", format!("`{value}`: a product token has letters, `-` and `_` only"));
            }
            *reader = Reader { in_group: true, names_agents: true, interrupted: false };
        }
        "allow" | "disallow" => {
            if !reader.in_group {
                add("rule-before-group", "a rule before the first User-agent is for nobody".to_owned());
            }
            reader.names_agents = false;
            if !value.is_empty() && !value.starts_with('/') {
                add("missing-slash", format!("`{value}` does not begin with `/`: many parsers ignore it"));
            }
            if value.contains(['[', '|', '\\', '^']) || (value.contains(".*") && !value.contains("*.*")) {
                add("regex-looking", format!("`{value}`: only `*` and a final `$` mean anything here"));
            }
        }
        "sitemap" if !is_absolute(value) => add("relative-sitemap", format!("`{value}` is no whole address")),
        "license" if !is_absolute(value) => add("relative-license", format!("`{value}` is no whole address")),
        "noindex" => add("noindex-in-robots", "no crawler obeys Noindex here; use X-Robots-Tag".to_owned()),
        "crawl-delay" => add("crawl-delay", "not in RFC 9309; Google ignores it".to_owned()),
        "content-usage" => {
            reader.interrupted |= reader.names_agents;
            if !reader.in_group {
                add("rule-before-group", "a preference before the first User-agent is for nobody".to_owned());
            }
            content_usage(value, number, robots, lints);
        }
        "content-signal" => {
            reader.interrupted |= reader.names_agents;
            if !reader.in_group {
                add("signal-outside-group", "a signal before the first User-agent is for nobody".to_owned());
            }
            content_signal(value, number, lints);
        }
        _ => {}
    }
}

fn is_absolute(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

/// `[path] dictionary` (draft-ietf-aipref-attach).
fn content_usage(value: &str, number: usize, robots: &Robots, lints: &mut Vec<Lint>) {
    let (path, dictionary) = match value.split_once([' ', '\t']) {
        Some((path, rest)) if value.starts_with('/') => (Some(path), rest),
        _ => (None, value),
    };
    lints.extend(usage(dictionary).map(|(code, message)| Lint::new(code, number, message)));
    let group = robots.groups.iter().rfind(|group| group.line <= number);
    if let (Some(path), Some(agent)) = (path, group.and_then(|group| group.agents.first()))
        && !robots.allows(agent, path)
    {
        let message = format!("`{path}` may not be fetched at all: a preference for it means nothing");
        lints.push(Lint::new("usage-on-disallowed-path", number, message));
    }
}

/// What is wrong in a `Content-Usage` dictionary.
fn usage(dictionary: &str) -> impl Iterator<Item = (&'static str, String)> {
    let mut found = Vec::new();
    if dictionary.bytes().any(|b| b.is_ascii_uppercase()) {
        found.push(("usage-uppercase", "labels and values are in lower case; so it says nothing".to_owned()));
    } else {
        match Parser::new(dictionary).parse::<Dictionary>() {
            Err(_) => {
                found.push(("usage-bad-sf", format!("`{dictionary}` is no dictionary (RFC 9651): it says nothing")));
            }
            Ok(all) => {
                for (label, entry) in &all {
                    let token = match entry {
                        ListEntry::Item(item) => match &item.bare_item {
                            BareItem::Token(token) => Some(token.as_str()),
                            _ => None,
                        },
                        ListEntry::InnerList(_) => None,
                    };
                    let label = label.as_str();
                    if !matches!(label, "train-ai" | "search") {
                        let hint = if label == "ai-train" { ": it is `train-ai` here" } else { "" };
                        found.push(("usage-unknown-label", format!("`{label}` is no label{hint}")));
                    } else if !matches!(token, Some("y" | "n")) {
                        found.push(("usage-bad-sf", format!("`{label}` is neither `y` nor `n`: it says nothing")));
                    }
                }
            }
        }
    }
    found.into_iter()
}

fn content_signal(value: &str, number: usize, lints: &mut Vec<Lint>) {
    for pair in value.split(',').map(str::trim) {
        let sound = pair.split_once('=').is_some_and(|(key, value)| {
            matches!(key.trim(), "search" | "ai-input" | "ai-train") && matches!(value.trim(), "yes" | "no")
        });
        if !sound {
            let message = format!("`{pair}`: search, ai-input and ai-train are `yes` or `no`");
            lints.push(Lint::new("signal-bad-value", number, message));
        }
    }
}

/// Agents, and rules of everybody, that are compared: each pair reads the file anew.
const MOST: usize = 200;

fn of_groups(robots: &Robots, lints: &mut Vec<Lint>) {
    let mut agents = 0;
    for group in &robots.groups {
        for rule in &group.rules {
            if rule.allow && group.rules.iter().any(|other| !other.allow && other.pattern == rule.pattern) {
                let message = format!("`{}` is allowed and disallowed: Allow wins", rule.raw);
                lints.push(Lint::new("allow-disallow-tie", rule.line, message));
            }
        }
        // A group of its own replaces the one of everybody, it does not add to it.
        for agent in group.agents.iter().filter(|agent| *agent != "*").take(MOST - agents) {
            agents += 1;
            let everybody = robots.groups.iter().filter(|g| g.agents.iter().any(|a| a == "*"));
            let lost = everybody.flat_map(|g| &g.rules).take(MOST).filter(|rule| !rule.allow).find(|rule| {
                let path = rule.raw.replace('*', "").trim_end_matches('$').to_owned();
                let path = if path.starts_with('/') { path } else { format!("/{path}") };
                matches(&rule.pattern, &normalise(&path)) && robots.allows(agent, &path) && !robots.allows("*", &path)
            });
            if let Some(rule) = lost {
                let message =
                    format!("`{agent}` has a group of its own, so `Disallow: {}` of `*` is not for it", rule.raw);
                lints.push(Lint::new("dead-group", group.line, message));
            }
        }
    }
    for engine in ["Googlebot", "Bingbot"] {
        if !robots.allows(engine, "/") {
            lints.push(Lint::new("search-denied", 0, format!("{engine} may not fetch the front page")));
        }
    }
}

/// What is wrong in the fields of a response that declare rights.
pub fn fields(headers: &HeaderMap) -> Vec<Lint> {
    let text = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
    };
    let mut lints = Vec::new();
    let dictionary = text("content-usage").join(", ");
    if !dictionary.is_empty() {
        lints.extend(usage(&dictionary).map(|(code, message)| Lint::new(code, 0, format!("Content-Usage: {message}"))));
    }
    for value in text("content-signal") {
        content_signal(&value, 0, &mut lints);
    }
    for value in text("tdm-reservation") {
        if !matches!(value.as_str(), "0" | "1") {
            lints.push(Lint::new("tdm-bad-value", 0, format!("tdm-reservation: `{value}` is neither 0 nor 1")));
        }
    }
    for line in text("x-robots-tag") {
        // A date may hold commas.
        let list = line.split("unavailable_after").next().unwrap_or_default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let known = |text: &str| ROBOTS_TAGS.contains(&text.trim().to_ascii_lowercase().as_str());
            let sound = match item.split_once(':') {
                // `max-snippet: 20`, or `googlebot: nosnippet`, which is for one crawler.
                Some((name, rest)) => {
                    known(name) || rest.split(':').next().is_some_and(|r| r.trim().is_empty() || known(r))
                }
                None => known(item),
            };
            if !sound {
                lints.push(Lint::new("xrobots-unknown", 0, format!("X-Robots-Tag: no crawler knows `{item}`")));
            }
        }
    }
    lints
}

/// What is wrong in a `/.well-known/tdmrep.json` (TDM Reservation Protocol, W3C Community Group report of 2024-05-10).
pub fn tdmrep(bytes: &[u8]) -> Vec<Lint> {
    let Ok(serde_json::Value::Array(rules)) = serde_json::from_slice(bytes) else {
        return vec![Lint::new("tdm-not-array", 0, "the file is no JSON array of rules: it says nothing")];
    };
    let mut lints = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for rule in rules.iter().take(1_000) {
        let location = rule["location"].as_str().unwrap_or_default();
        if !matches!(rule["tdm-reservation"].as_u64(), Some(0 | 1)) {
            let message =
                format!("`{location}`: tdm-reservation is {}, not the number 0 or 1", rule["tdm-reservation"]);
            lints.push(Lint::new("tdm-string-value", 0, message));
        }
        if let Some(before) = seen.iter().find(|before| matches(before, location)) {
            let message = format!("`{location}` stands behind `{before}`, which holds first");
            lints.push(Lint::new("tdm-order-shadowed", 0, message));
        }
        seen.push(location);
    }
    lints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(lints: &[Lint]) -> Vec<(&'static str, usize)> {
        lints.iter().map(|lint| (lint.code, lint.line)).collect()
    }

    #[test]
    fn every_code_of_a_robots_txt() {
        let table: &[(&str, &[(&str, usize)])] = &[
            ("User-agent: *\nDisallow: /print/\nAllow: /\nSitemap: https://a.example/s.xml\n", &[]),
            ("Disallow: /a\nUser-agent: *\nAllow: /\n", &[("rule-before-group", 1)]),
            (
                "User-agent: GPTBot\nContent-Usage: train-ai=n\nUser-agent: BadBot\nDisallow: /\n",
                &[("fused-groups", 3)],
            ),
            ("User-agent: A\n\nUser-agent: B\nDisallow: /x\n", &[("fused-groups", 3)]),
            ("User-agent: A\nUser-agent: B\nDisallow: /x\n", &[]),
            ("User-agent: *\r\nAllow: /\r\n\r\nUser-agent: A\r\n", &[("empty-group", 4)]),
            ("User-agent: *\nDisallow: /admin\nUser-agent: GPTBot\nDisallow: /x\n", &[("dead-group", 3)]),
            ("User-agent: *\nDisallow: /a\nAllow: /a\n", &[("allow-disallow-tie", 3)]),
            ("User-agent: *\nDisallow: *.pdf\n", &[("missing-slash", 2)]),
            (
                "User-agent: *\nAllow: /\nSitemap: /s.xml\nLicense: l.xml\n",
                &[("relative-sitemap", 3), ("relative-license", 4)],
            ),
            ("User-agent: FooBot/1.0\nDisallow: /x\n", &[("version-in-token", 1)]),
            ("User-agent: *\nDisallow: /(a|b)\n", &[("regex-looking", 2)]),
            ("User-agent: MJ12bot\nDisallow: /wiki/Foo_(bar)\nDisallow: /?q=a+b\nDisallow: /*.*\n", &[]),
            (
                "User-agent: *\nDisallow: /a.*\nNoindex: /b\nCrawl-delay: 5\n",
                &[("regex-looking", 2), ("noindex-in-robots", 3), ("crawl-delay", 4)],
            ),
            ("<!doctype html><title>Not found</title>", &[("html-body", 1)]),
            ("\u{FEFF}User-agent: *\nAllow: /\n", &[("bom", 1)]),
            ("User-agent: *\nContent-Usage: train-ai=\"n\nAllow: /\n", &[("usage-bad-sf", 2)]),
            ("User-agent: *\nContent-Usage: train-ai=no\nAllow: /\n", &[("usage-bad-sf", 2)]),
            ("User-agent: *\nContent-Usage: ai-train=n\nAllow: /\n", &[("usage-unknown-label", 2)]),
            ("User-agent: *\nContent-Usage: Train-AI=n\nAllow: /\n", &[("usage-uppercase", 2)]),
            (
                "User-agent: *\nContent-Usage: /never/ train-ai=n\nDisallow: /never/\n",
                &[("usage-on-disallowed-path", 2)],
            ),
            ("User-agent: *\nContent-Signal: ai-train=n\nAllow: /\n", &[("signal-bad-value", 2)]),
            ("Content-Signal: ai-train=no\nUser-agent: *\nAllow: /\n", &[("signal-outside-group", 1)]),
            ("User-agent: *\nDisallow: /\n", &[("search-denied", 0), ("search-denied", 0)]),
        ];
        for (file, expect) in table {
            assert_eq!(codes(&robots_txt(file.as_bytes())), *expect, "{file}");
        }
        let long = format!("User-agent: *\nAllow: /\n{}", "#\n".repeat(MAX_BYTES / 2));
        assert_eq!(codes(&robots_txt(long.as_bytes())), [("too-long", 0)]);
        assert_eq!(codes(&robots_txt(b"")), []);
    }

    #[test]
    fn fields_and_files() {
        let of = |name: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
            codes(&fields(&headers)).into_iter().map(|(code, _)| code).collect::<Vec<_>>()
        };
        assert_eq!(of("content-usage", "train-ai=n, search=y"), [""; 0]);
        assert_eq!(of("content-usage", "train-ai=no"), ["usage-bad-sf"]);
        assert_eq!(of("content-signal", "ai-train=no, search=maybe"), ["signal-bad-value"]);
        assert_eq!(of("tdm-reservation", "true"), ["tdm-bad-value"]);
        assert_eq!(of("x-robots-tag", "noindex, max-snippet: 20, googlebot:noai, BadBot: nofollow"), [""; 0]);
        assert_eq!(of("x-robots-tag", "googlebot: max-snippet:5, nocrawl"), ["xrobots-unknown"]);
        assert_eq!(of("x-robots-tag", "googlebot: nosnippet, noarchive"), [""; 0]);
        assert_eq!(of("x-robots-tag", "unavailable_after: 25 Jun 2027 15:00:00 PST"), [""; 0]);
        assert_eq!(of("x-robots-tag", "no-ai"), ["xrobots-unknown"]);
        let file = |text: &str| codes(&tdmrep(text.as_bytes())).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        assert_eq!(
            file("[{\"location\":\"/press/*\",\"tdm-reservation\":0},{\"location\":\"/\",\"tdm-reservation\":1}]"),
            [""; 0]
        );
        assert_eq!(file("{\"location\":\"/\",\"tdm-reservation\":1}"), ["tdm-not-array"]);
        assert_eq!(file("[{\"location\":\"/\",\"tdm-reservation\":\"1\"}]"), ["tdm-string-value"]);
        assert_eq!(
            file("[{\"location\":\"/\",\"tdm-reservation\":1},{\"location\":\"/press/\",\"tdm-reservation\":0}]"),
            ["tdm-order-shadowed"]
        );
        assert_eq!(file("404"), ["tdm-not-array"]);
    }
}
