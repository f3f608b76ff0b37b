//! Which agent a `User-Agent` header names, and its category.
//!
//! Rules, in order:
//! 1. The header is cut to its first 512 bytes; an absent or empty one is category `none`.
//! 2. All literals of all agents are looked up in one pass; a pattern that needs a regular expression is run only when
//!    the literal it requires was found.
//! 3. An agent with a hit in its `not` list is out.
//! 4. A named agent beats the generic tier (`bot`, `crawl`, …); among named ones the longest match wins, then the
//!    order of categories in [`Category::priority`].
//! 5. Nothing found: `browser`.
//!
//! The table is `assets/agents.toml`, made by `deckle reference agents` (see `docs/reference/agents.md`). A header can
//! be forged: the category is a claim until it is verified.
//!
//! ```
//! use deckle::visitor::{Agents, Category};
//! let agents = Agents::builtin();
//! assert_eq!(agents.classify(Some("Mozilla/5.0 (compatible; GPTBot/1.2)")).category, Category::AiTrain);
//! assert_eq!(agents.classify(Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")).category,
//!     Category::Browser);
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::category::Category;
use super::entry::{AgentEntry, AgentRegex};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

/// Longest part of a `User-Agent` that is looked at, in bytes.
const MAX_USER_AGENT: usize = 512;
/// Size limit of one compiled regular expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// What the `User-Agent` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its category.
    pub category: Category,
    /// The name in the table; absent for browsers, the generic tier and an absent header.
    pub name: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct AgentFile {
    agent: Vec<AgentEntry>,
}

/// The compiled table.
pub struct Agents {
    rows: Vec<Row>,
    /// Absent only in the empty table.
    automaton: Option<AhoCorasick>,
    needles: Vec<Needle>,
    /// By name.
    domains: HashMap<Arc<str>, Box<[Box<str>]>>,
    /// Rows by the hosts whose keys sign for them.
    #[cfg(feature = "web-bot-auth")]
    signers: HashMap<Box<str>, Vec<usize>>,
}

struct Row {
    category: Category,
    generic: bool,
    name: Arc<str>,
}

/// What a literal of the automaton stands for.
enum Needle {
    Literal { row: usize },
    Regex { row: usize, regex: Regex },
    Not { row: usize },
}

impl Agents {
    /// The category of a named agent.
    pub(crate) fn category(&self, name: &str) -> Option<Category> {
        self.rows.iter().find(|row| *row.name == *name).map(|row| row.category)
    }

    /// The category of whoever may have this name: a named agent, or a robot that is known by its signature and goes by the
    /// host of its keys.
    pub(crate) fn category_or_signer(&self, name: &str) -> Option<Category> {
        self.category(name).or_else(|| is_host(name).then_some(Category::UnknownBot))
    }

    /// The domains that the names of this agent's addresses are below; none, if its operator does not say.
    pub fn domains(&self, name: &str) -> &[Box<str>] {
        self.domains.get(name).map(|domains| &**domains).unwrap_or_default()
    }

    /// Who it is if this host's key has signed, whatever the `User-Agent` claims: an agent that the table gives to the
    /// host, or a robot of that name.
    #[cfg(feature = "web-bot-auth")]
    pub(crate) fn signed_by(&self, host: &Arc<str>, claimed: Agent) -> Agent {
        let mut rows = self.signers.get(&**host).into_iter().flatten().filter_map(|row| self.rows.get(*row)).peekable();
        let Some(first) = rows.peek().copied() else {
            return Agent { category: Category::UnknownBot, name: Some(Arc::clone(host)) };
        };
        if rows.any(|row| claimed.name.as_ref() == Some(&row.name)) {
            return claimed;
        }
        Agent { category: first.category, name: Some(Arc::clone(&first.name)) }
    }

    /// The table that ships with the crate.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<Agents>> = LazyLock::new(|| {
            let text = include_str!("../../assets/agents.toml");
            // The generator and a unit test refuse a file that does not compile; an empty table is the safe rest.
            Arc::new(Agents::parse(text).unwrap_or_else(|_| Agents::empty()))
        });
        Arc::clone(&BUILTIN)
    }

    /// Compiles the text of an `agents.toml`.
    ///
    /// # Errors
    /// [`AgentsError`] for TOML that does not parse, an unknown category, a repeated id or a bad regular expression.
    pub fn parse(text: &str) -> Result<Self, AgentsError> {
        let file: AgentFile = toml::from_str(text).map_err(|e| AgentsError::Toml { message: e.to_string() })?;
        Self::from_entries(&file.agent)
    }

    /// Compiles entries.
    ///
    /// # Errors
    /// As [`Agents::parse`].
    pub fn from_entries(entries: &[AgentEntry]) -> Result<Self, AgentsError> {
        let mut rows = Vec::with_capacity(entries.len());
        let mut needles = Vec::new();
        let mut domains: HashMap<Arc<str>, Box<[Box<str>]>> = HashMap::new();
        #[cfg(feature = "web-bot-auth")]
        let mut signers: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut literals: Vec<String> = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        for (row, entry) in entries.iter().enumerate() {
            if !ids.insert(entry.id.as_str()) {
                return Err(AgentsError::Duplicate { id: entry.id.clone() });
            }
            let category = Category::from_code(&entry.category)
                .ok_or_else(|| AgentsError::Category { id: entry.id.clone(), category: entry.category.clone() })?;
            let name: Arc<str> = entry.name.as_str().into();
            if !entry.dns.is_empty() {
                domains.insert(Arc::clone(&name), entry.dns.iter().map(|domain| domain.as_str().into()).collect());
            }
            #[cfg(feature = "web-bot-auth")]
            for host in &entry.signature {
                signers.entry(host.as_str().into()).or_default().push(row);
            }
            rows.push(Row { category, generic: entry.generic, name });
            for literal in &entry.literals {
                literals.push(literal.clone());
                needles.push(Needle::Literal { row });
            }
            for literal in &entry.not {
                literals.push(literal.clone());
                needles.push(Needle::Not { row });
            }
            for AgentRegex { require, pattern } in &entry.regex {
                // Names of programs are ASCII; to fold the case of all of Unicode takes most of the start.
                let regex = RegexBuilder::new(pattern)
                    .unicode(false)
                    .size_limit(REGEX_SIZE)
                    .build()
                    .map_err(|source| AgentsError::Regex { id: entry.id.clone(), source: Box::new(source) })?;
                literals.push(require.clone());
                needles.push(Needle::Regex { row, regex });
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&literals)
            .map_err(|e| AgentsError::Automaton { message: e.to_string() })?;
        Ok(Self {
            rows,
            automaton: Some(automaton),
            needles,
            domains,
            #[cfg(feature = "web-bot-auth")]
            signers,
        })
    }

    fn empty() -> Self {
        Self {
            rows: Vec::new(),
            automaton: None,
            needles: Vec::new(),
            domains: HashMap::new(),
            #[cfg(feature = "web-bot-auth")]
            signers: HashMap::new(),
        }
    }

    /// How many patterns the table holds.
    pub fn patterns(&self) -> usize {
        self.needles.iter().filter(|n| !matches!(n, Needle::Not { .. })).count()
    }

    /// The agent that a `User-Agent` header names.
    pub fn classify(&self, user_agent: Option<&str>) -> Agent {
        let Some(header) = user_agent.filter(|ua| !ua.trim().is_empty()) else {
            return Agent { category: Category::None, name: None };
        };
        let header = cut(header);
        match self.best(header) {
            Some(row) if row.generic => Agent { category: row.category, name: None },
            Some(row) => Agent { category: row.category, name: Some(Arc::clone(&row.name)) },
            None => Agent { category: Category::Browser, name: None },
        }
    }

    fn best(&self, header: &str) -> Option<&Row> {
        let mut best: Option<(bool, usize, u8, usize)> = None;
        let mut excluded: [usize; 4] = [usize::MAX; 4];
        let mut count = 0;
        for found in self.automaton.as_ref()?.find_overlapping_iter(header) {
            let (row, length) = match self.needles.get(found.pattern().as_usize())? {
                Needle::Not { row } => {
                    if let Some(slot) = excluded.get_mut(count) {
                        *slot = *row;
                        count += 1;
                    }
                    continue;
                }
                Needle::Literal { row } => (*row, found.len()),
                Needle::Regex { row, regex } => match regex.find(header.as_bytes()) {
                    Some(hit) => (*row, hit.len()),
                    None => continue,
                },
            };
            let entry = self.rows.get(row)?;
            let rank = (!entry.generic, length, entry.category.priority(), row);
            if best.is_none_or(|b| (rank.0, rank.1, rank.2) > (b.0, b.1, b.2)) && !excluded.contains(&row) {
                best = Some(rank);
            }
        }
        // A `not` literal may stand behind the match that it rules out.
        best.filter(|(.., row)| !excluded.contains(row)).and_then(|(.., row)| self.rows.get(row))
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").field("agents", &self.rows.len()).field("patterns", &self.patterns()).finish()
    }
}

fn is_host(name: &str) -> bool {
    let plain = |label: &str| label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    name.contains('.') && name.split('.').all(|label| !label.is_empty() && plain(label))
}

fn cut(header: &str) -> &str {
    let mut end = header.len().min(MAX_USER_AGENT);
    while !header.is_char_boundary(end) {
        end -= 1;
    }
    header.get(..end).unwrap_or_default()
}

/// Why a table of agents was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentsError {
    /// Not TOML of the right shape.
    #[error("the table of agents does not parse: {message}")]
    Toml {
        /// What the parser says.
        message: String,
    },
    /// Two entries have one id.
    #[error("agent id `{id}` stands twice")]
    Duplicate {
        /// The id.
        id: String,
    },
    /// The category does not exist.
    #[error("agent `{id}` has the unknown category `{category}`")]
    Category {
        /// The agent.
        id: String,
        /// The word found.
        category: String,
    },
    /// A regular expression does not compile, or is too large.
    #[error("agent `{id}` has a regular expression that does not compile")]
    Regex {
        /// The agent.
        id: String,
        /// The cause.
        source: Box<regex::Error>,
    },
    /// The literals do not fit one automaton.
    #[error("the literals do not make an automaton: {message}")]
    Automaton {
        /// What the builder says.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(ua: &str) -> Category {
        Agents::builtin().classify(Some(ua)).category
    }

    #[test]
    fn the_shipped_table_compiles_and_is_large() {
        let agents = Agents::parse(include_str!("../../assets/agents.toml")).unwrap();
        assert!(agents.patterns() >= 1_000, "{agents:?}");
    }

    #[test]
    fn operators_that_ask_to_check_by_dns_are_known() {
        let agents = Agents::builtin();
        for (name, domain) in [
            ("Googlebot", ".googlebot.com"),
            ("bingbot", ".search.msn.com"),
            ("Applebot", ".applebot.apple.com"),
            ("yandex.com/bots", ".yandex.net"),
            ("Baiduspider", ".baidu.com"),
        ] {
            assert!(agents.domains(name).iter().any(|own| **own == *domain), "{name}");
        }
        for domain in agents.domains.values().flat_map(|all| all.iter()) {
            let labels = domain.strip_prefix('.').unwrap();
            assert!(labels.contains('.') && !labels.contains(".."), "{domain}");
            assert_eq!(labels, labels.to_ascii_lowercase());
        }
        assert!(agents.domains("DuckDuckBot").is_empty() && agents.domains("nobody").is_empty());
    }

    #[test]
    fn names_get_their_categories() {
        assert_eq!(
            category("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
            Category::Search
        );
        assert_eq!(category("Wget/1.21.3"), Category::Library);
        assert_eq!(category("curl/8.5.0"), Category::Library);
        assert_eq!(category("python-requests/2.34.0"), Category::Library);
        assert_eq!(category("Scrapy/2.11 (+https://scrapy.org)"), Category::Library);
        assert_eq!(category("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"), Category::AiTrain);
        assert_eq!(category("Mozilla/5.0 (compatible; ChatGPT-User/1.0)"), Category::AiUser);
        assert_eq!(category("Mozilla/5.0 (compatible; OAI-SearchBot/1.0)"), Category::AiSearch);
        assert_eq!(category("Lynx/2.9.0dev.12 libwww-FM/2.14"), Category::Reader);
        assert_eq!(category("w3m/0.5.3+git20230121"), Category::Reader);
        assert_eq!(
            category(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36"
            ),
            Category::Headless
        );
        assert_eq!(category("MyOwnCrawler/0.1"), Category::UnknownBot);
    }

    #[test]
    fn no_agent_is_its_own_state() {
        assert_eq!(Agents::builtin().classify(None).category, Category::None);
        assert_eq!(category("  "), Category::None);
    }

    #[test]
    fn phones_called_cubot_are_browsers() {
        let ua = "Mozilla/5.0 (Linux; Android 9; CUBOT_NOTE_S) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36";
        assert_eq!(category(ua), Category::Browser);
    }

    #[test]
    fn the_clean_corpus_names_no_robot() {
        let text = include_str!("../../tests/vectors/clean_agents.txt");
        let clean: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        assert!(clean.len() >= 400);
        for ua in clean {
            let found = Agents::builtin().classify(Some(ua));
            assert!(matches!(found.category, Category::Browser | Category::Reader), "{ua}: {found:?}");
        }
    }

    #[test]
    fn a_huge_header_is_cut_at_a_character() {
        let ua = "ü".repeat(40_000);
        assert_eq!(category(&ua), Category::Browser);
    }
}
