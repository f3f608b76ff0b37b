//! `deckle reference`: makes the committed tables from upstream snapshots. Hidden; for maintainers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use regex::Regex;
use serde::Deserialize;

use super::domains::{WellKnown, add_domains, add_signers};
use crate::visitor::{AgentEntry, AgentRegex, Agents, Category};

/// One entry of monperrus/crawler-user-agents.
#[derive(Deserialize)]
struct Crawler {
    pattern: String,
    #[serde(default)]
    instances: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

/// One entry of ai-robots-txt/ai.robots.txt.
#[derive(Deserialize)]
struct AiRobot {
    #[serde(default)]
    function: String,
}

/// Upstream names that would hit browsers or whole families of programs, each with the reason.
const LEFT_OUT: [(&str, &str); 13] = [
    ("Code", "a word of many product names"),
    ("Operator", "a word of many product names"),
    ("Spider", "covered by the generic tier"),
    ("Cursor", "a word of many product names"),
    ("Devin", "a word of many product names"),
    ("Trae", "part of longer words"),
    ("YaK", "three letters"),
    ("LCC", "three letters; the anchored pattern of crawler-user-agents stays"),
    ("Google-Extended", "a robots.txt token, never a user agent"),
    ("Applebot-Extended", "a robots.txt token, never a user agent"),
    ("Webzio-Extended", "a robots.txt token, never a user agent"),
    ("webzio-extended", "a robots.txt token, never a user agent"),
    ("^Silk\\/", "Amazon's browser begins so on old tablets"),
];

/// Entries of our own: (id, name, category, literals).
const OWN: [(&str, &str, &str, &[&str]); 6] = [
    ("lynx", "Lynx", "reader", &["Lynx/"]),
    ("w3m", "w3m", "reader", &["w3m/"]),
    ("links", "Links", "reader", &["Links ("]),
    ("elinks", "ELinks", "reader", &["ELinks/"]),
    ("wget2", "Wget", "library", &["Wget/", "Wget2/"]),
    ("curl-cli", "curl", "library", &["curl/"]),
];

/// Words of the generic tier, after Crawler-Detect's last pattern; browsers of the clean corpus use none of them.
const GENERIC_WORDS: [&str; 14] = [
    "bot",
    "crawl",
    "spider",
    "headless",
    "archiver",
    "transcoder",
    "validator",
    "fetch",
    "checker",
    "extractor",
    "monitoring",
    "analyzer",
    "scraper",
    "scrape",
];

/// Phones whose names hold a generic word (Crawler-Detect's exclusions).
const PHONES: [&str; 6] = ["cubot", "; M bot", "; B bot", "; ID bot", "POWER BOT", "htc_botdugls"];

/// Builds `agents.toml` from the snapshots in `dir` and checks it against `clean`, one browser user agent a line.
///
/// # Errors
/// Every rule that the table breaks: a repeated id, a pattern that does not compile, a literal shorter than four bytes
/// that does not end in `/`, a sample that looks like a browser, a pattern that matches a clean user agent.
pub(crate) fn agents(dir: &Path, clean: &str) -> anyhow::Result<String> {
    let crawlers: Vec<Crawler> = read_json(&dir.join("crawler-user-agents.json"))?;
    let robots: BTreeMap<String, AiRobot> = read_json(&dir.join("ai-robots.json"))?;
    let generic = read(&dir.join("crawler-detect-patterns.txt"))?;
    let bots: Vec<WellKnown> = read_json(&dir.join("well-known-bots.json"))?;

    let mut table = Table::default();
    for (id, name, category, literals) in OWN {
        table.push(id, name, category, literals.iter().map(|l| (*l).to_owned()).collect(), Vec::new())?;
    }
    for crawler in &crawlers {
        add_crawler(&mut table, crawler, &robots)?;
    }
    for (name, robot) in &robots {
        let known = table.entries.iter().any(|e| e.literals.iter().any(|l| name.eq_ignore_ascii_case(l)));
        if !known && !left_out(name) {
            let id = table.free_id(name);
            table.push(&id, name, ai_category(&robot.function), vec![name.clone()], Vec::new())?;
        }
    }
    add_domains(&mut table.entries, &bots)?;
    add_signers(&mut table.entries)?;
    table.entries.push(generic_tier(&table, &generic, clean));
    check(&table.entries, &crawlers, clean)?;
    render(&table.entries)
}

#[derive(Default)]
struct Table {
    entries: Vec<AgentEntry>,
    ids: BTreeSet<String>,
}

impl Table {
    fn push(
        &mut self,
        id: &str,
        name: &str,
        category: &str,
        literals: Vec<String>,
        regex: Vec<AgentRegex>,
    ) -> anyhow::Result<()> {
        ensure!(self.ids.insert(id.to_owned()), "agent id `{id}` stands twice");
        for literal in &literals {
            ensure!(
                literal.len() >= 4 || literal.ends_with('/'),
                "literal `{literal}` of `{id}` is shorter than four bytes"
            );
        }
        let (id, name, category) = (id.to_owned(), name.to_owned(), category.to_owned());
        self.entries.push(AgentEntry { id, name, category, literals, regex, ..AgentEntry::default() });
        Ok(())
    }

    /// An id made of the name, with a number behind it where the bare one is taken.
    fn free_id(&self, name: &str) -> String {
        let mut id: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        while id.contains("--") {
            id = id.replace("--", "-");
        }
        let id = match id.trim_matches('-') {
            "" => "agent",
            id => id,
        };
        (1..10_000)
            .map(|n| if n == 1 { id.to_owned() } else { format!("{id}-{n}") })
            .find(|i| !self.ids.contains(i))
            .unwrap_or_default()
    }
}

fn add_crawler(table: &mut Table, crawler: &Crawler, robots: &BTreeMap<String, AiRobot>) -> anyhow::Result<()> {
    if left_out(&crawler.pattern) {
        return Ok(());
    }
    // Alternatives that are not grouped are several literals.
    let parts: Vec<&str> =
        if crawler.pattern.contains('(') { vec![&crawler.pattern] } else { crawler.pattern.split('|').collect() };
    let literals: Option<Vec<String>> = parts.iter().map(|part| as_literal(part)).collect();
    let first = literals.as_ref().and_then(|l| l.first().cloned());
    let name = first
        .unwrap_or_else(|| longest_literal(&expand_case(&crawler.pattern, char::to_ascii_uppercase)))
        .trim_matches(['/', ' '])
        .to_owned();
    let robot = robots.iter().find(|(key, _)| key.eq_ignore_ascii_case(&name)).map(|(_, robot)| robot);
    let category = match (robot, category_of(&crawler.tags)?) {
        (Some(robot), "ai-train") => ai_category(&robot.function),
        (_, category) => category,
    };
    let id = table.free_id(&name);
    match literals {
        // A short literal would hit parts of words: anchored at a word's start instead.
        Some(short) if short.iter().any(|l| l.len() < 4 && !l.ends_with('/')) => {
            let regex = short
                .into_iter()
                .map(|literal| AgentRegex {
                    pattern: format!("(?:^|[ ;(]){}", regex::escape(&literal)),
                    require: literal,
                })
                .collect();
            table.push(&id, &name, category, Vec::new(), regex)
        }
        Some(literals) => table.push(&id, &name, category, literals, Vec::new()),
        None => {
            let regex = expand_case(&crawler.pattern, char::to_ascii_lowercase);
            let require = longest_literal(&regex);
            ensure!(require.len() >= 2, "pattern `{}` requires no literal", crawler.pattern);
            table.push(&id, &name, category, Vec::new(), vec![AgentRegex { require, pattern: format!("(?i){regex}") }])
        }
    }
}

fn left_out(name: &str) -> bool {
    LEFT_OUT.iter().any(|(out, _)| *out == name)
}

fn category_of(tags: &[String]) -> anyhow::Result<&'static str> {
    let first = tags.first().map_or("", String::as_str);
    Ok(match first {
        "seo" => "seo",
        "monitoring" => "monitor",
        "search-engine" => "search",
        "scanner" => "scanner",
        "advertising" => "advertising",
        "social-preview" => "preview",
        "feed-reader" => "feed",
        "ai-crawler" => "ai-train",
        "http-library" => "library",
        "archiver" => "archive",
        "academic" => "academic",
        "browser-automation" => "headless",
        other => bail!("unknown tag `{other}`"),
    })
}

fn ai_category(function: &str) -> &'static str {
    let function = function.to_ascii_lowercase();
    if function.contains("assistant") || function.contains("user-initiated") || function.contains("agents") {
        "ai-user"
    } else if function.contains("search") {
        "ai-search"
    } else {
        "ai-train"
    }
}

/// The literal that a pattern stands for, or none when it is more than a literal.
pub(super) fn as_literal(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next) if !next.is_ascii_alphanumeric() => out.push(next),
                _ => return None,
            },
            '^' | '$' | '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

/// `[bB]` → `b` or `B`: the patterns are compared without regard to case anyhow.
fn expand_case(pattern: &str, case: fn(&char) -> char) -> String {
    let pair = Regex::new(r"\[([A-Za-z])([A-Za-z])\]");
    match pair {
        Ok(pair) => pair
            .replace_all(pattern, |c: &regex::Captures<'_>| {
                if c[1].eq_ignore_ascii_case(&c[2]) {
                    c[1].chars().map(|c| case(&c)).collect()
                } else {
                    c[0].to_owned()
                }
            })
            .into_owned(),
        Err(_) => pattern.to_owned(),
    }
}

/// The longest literal run outside groups and classes, which every match must hold.
fn longest_literal(pattern: &str) -> String {
    let (mut best, mut run, mut depth) = (String::new(), String::new(), 0usize);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let literal = match c {
            '\\' => chars.next().filter(|n| !n.is_ascii_alphanumeric()),
            '(' | '[' => {
                depth += 1;
                None
            }
            ')' | ']' => {
                depth = depth.saturating_sub(1);
                None
            }
            '^' | '$' | '.' | '*' | '+' | '?' | '|' | '{' | '}' => None,
            other => Some(other),
        };
        match literal.filter(|_| depth == 0) {
            Some(c) if !matches!(chars.peek(), Some('*' | '?')) => run.push(c),
            _ => run.clear(),
        }
        if run.len() > best.len() {
            best.clone_from(&run);
        }
    }
    best
}

/// The low-priority tier: generic words and the literals of Crawler-Detect that hit no clean browser.
fn generic_tier(table: &Table, patterns: &str, clean: &str) -> AgentEntry {
    let clean = clean.to_ascii_lowercase();
    let named: BTreeSet<String> =
        table.entries.iter().flat_map(|e| &e.literals).map(|l| l.to_ascii_lowercase()).collect();
    let mut literals: Vec<String> = GENERIC_WORDS.iter().map(|w| (*w).to_owned()).collect();
    for line in patterns.lines() {
        let Some(literal) = as_literal(line) else { continue };
        let lower = literal.to_ascii_lowercase();
        let covered = GENERIC_WORDS.iter().any(|w| lower.contains(w)) || named.contains(&lower);
        if literal.trim().len() >= 5 && !covered && !clean.contains(&lower) {
            literals.push(literal);
        }
    }
    literals.sort();
    literals.dedup();
    let not = PHONES.iter().map(|p| (*p).to_owned()).collect();
    let (id, name, category) = ("generic".to_owned(), "generic".to_owned(), Category::UnknownBot.code().to_owned());
    AgentEntry { id, name, category, generic: true, literals, not, ..AgentEntry::default() }
}

fn check(entries: &[AgentEntry], crawlers: &[Crawler], clean: &str) -> anyhow::Result<()> {
    let agents = Agents::from_entries(entries)?;
    ensure!(agents.patterns() >= 1_000, "only {} patterns", agents.patterns());
    for crawler in crawlers {
        for sample in &crawler.instances {
            let found = agents.classify(Some(sample));
            let known = left_out(&crawler.pattern) || found.category != Category::Browser;
            ensure!(known, "sample `{sample}` is not found by `{}`", crawler.pattern);
        }
    }
    let clean: Vec<&str> = clean.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    ensure!(clean.len() >= 400, "the clean corpus has only {} lines", clean.len());
    for ua in clean {
        let found = agents.classify(Some(ua));
        let right = matches!(found.category, Category::Browser | Category::Reader);
        ensure!(right, "the clean user agent `{ua}` is taken for {found:?}");
    }
    Ok(())
}

fn render(entries: &[AgentEntry]) -> anyhow::Result<String> {
    let mut out = String::from(
        "# Made by `deckle reference agents`; origins and licences are in assets/SOURCES.md. Do not edit by hand.\n",
    );
    for entry in entries {
        out.push_str("\n[[agent]]\n");
        out.push_str(&format!(
            "id = {}\nname = {}\ncategory = {}\n",
            quote(&entry.id)?,
            quote(&entry.name)?,
            quote(&entry.category)?
        ));
        if entry.generic {
            out.push_str("generic = true\n");
        }
        for (key, list) in
            [("match", &entry.literals), ("not", &entry.not), ("dns", &entry.dns), ("signature", &entry.signature)]
        {
            if !list.is_empty() {
                let items: Vec<String> = list.iter().map(|l| quote(l)).collect::<Result<_, _>>()?;
                out.push_str(&format!("{key} = [{}]\n", items.join(", ")));
            }
        }
        for regex in &entry.regex {
            out.push_str(&format!(
                "regex = [{{ require = {}, pattern = {} }}]\n",
                quote(&regex.require)?,
                quote(&regex.pattern)?
            ));
        }
    }
    Agents::parse(&out).context("the rendered table does not read back")?;
    Ok(out)
}

/// A TOML basic string; JSON's escapes are the same for these texts (TOML 1.0, "String").
fn quote(text: &str) -> anyhow::Result<String> {
    Ok(serde_json::to_string(text)?)
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    serde_json::from_str(&read(path)?).with_context(|| format!("cannot parse {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_their_cores_are_found() {
        assert_eq!(as_literal("Googlebot\\/").as_deref(), Some("Googlebot/"));
        assert_eq!(as_literal("[wW]get"), None);
        assert_eq!(longest_literal(&expand_case("[wW]get", char::to_ascii_lowercase)), "wget");
        assert_eq!(longest_literal(&expand_case("[cC]laude[bB]ot", char::to_ascii_uppercase)), "ClaudeBot");
        assert_eq!(longest_literal("ContextualBot[\\s\\S]*outcomes\\.net"), "ContextualBot");
    }

    #[test]
    fn a_pattern_that_hits_a_browser_is_refused() {
        let entries = vec![AgentEntry {
            id: "x".into(),
            name: "x".into(),
            category: "seo".into(),
            literals: vec!["Firefox".into(); 1_000],
            ..AgentEntry::default()
        }];
        let clean = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\n".repeat(400);
        let error = check(&entries, &[], &clean).unwrap_err().to_string();
        assert!(error.contains("is taken for"), "{error}");
    }

    #[test]
    fn short_literals_and_repeated_ids_are_refused() {
        let mut table = Table::default();
        assert!(table.push("a", "a", "seo", vec!["ds9".into()], Vec::new()).is_err());
        assert!(table.push("b", "b", "seo", vec!["BW/".into()], Vec::new()).is_ok());
        assert!(table.push("b", "b", "seo", vec!["long enough".into()], Vec::new()).is_err());
    }

    #[test]
    fn a_sample_that_nothing_finds_is_refused() {
        let crawler =
            Crawler { pattern: "Nobody".into(), instances: vec!["Mozilla/5.0 plain".into()], tags: vec!["seo".into()] };
        let entries: Vec<AgentEntry> = vec![AgentEntry {
            id: "x".into(),
            name: "x".into(),
            category: "seo".into(),
            literals: vec!["Zzzzzz".into(); 1_000],
            ..AgentEntry::default()
        }];
        assert!(check(&entries, &[crawler], "").unwrap_err().to_string().contains("is not found"));
    }
}
