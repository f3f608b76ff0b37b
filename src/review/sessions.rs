//! Hits to visitors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::reader::Hit;
use crate::suspicion::looks_like_article;
use crate::visitor::{ASSET_EXTENSIONS, Agent, Agents, Category};

/// Visitors that are kept apart; what comes after counts in the totals only.
const MAX_VISITORS: usize = 200_000;
/// Bytes of a path and of a user agent that are kept; deckle's own log holds no more.
const MAX_TEXT: (usize, usize) = (2_048, 512);
/// Articles of one visitor, and readers of one article, that are told apart.
const MAX_DISTINCT: usize = 65_536;
/// A visitor that was silent for so long starts a new session.
const SESSION_GAP: Duration = Duration::from_secs(30 * 60);

/// All visitors of a log.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    pub(super) all: HashMap<String, VisitorFacts>,
    pub(super) articles: HashMap<String, HashSet<u32>>,
    pub(super) categories: BTreeMap<Category, (u64, u64)>,
    pub(super) not_kept: u64,
    agents: HashMap<String, Agent>,
}

/// Foreign logs may hold lines of any length; what is kept of them is short.
pub(super) fn shorten(hit: &mut Hit) {
    hit.path.truncate(hit.path.floor_char_boundary(MAX_TEXT.0));
    if let Some(agent) = &mut hit.user_agent {
        agent.truncate(agent.floor_char_boundary(MAX_TEXT.1));
    }
    for text in [&mut hit.address, &mut hit.visitor] {
        text.truncate(text.floor_char_boundary(64));
    }
}

/// What one visitor did.
#[derive(Debug)]
pub(super) struct VisitorFacts {
    pub(super) number: u32,
    pub(super) address: String,
    pub(super) user_agent: Option<String>,
    pub(super) agent: Option<Arc<str>>,
    pub(super) category: Category,
    pub(super) verification: String,
    pub(super) hits: u64,
    pub(super) pages: u64,
    pub(super) assets: u64,
    pub(super) bytes: u64,
    pub(super) articles: HashSet<u64>,
    pub(super) refused: u64,
    pub(super) read_robots: bool,
    pub(super) score: u8,
    pub(super) actions: BTreeMap<String, u64>,
    pub(super) would: BTreeMap<String, u64>,
    pub(super) marks: HashSet<String>,
    pub(super) first: Duration,
    pub(super) last: Duration,
    pub(super) sessions: u32,
    /// Longest run of pages without a pause of half an hour, and the time it took.
    pub(super) busiest: (u64, Duration),
    run: (u64, Duration),
    last_page: Option<Duration>,
    gaps: Welford,
}

/// Mean and variance of the time between pages.
#[derive(Debug, Default, Clone, Copy)]
struct Welford {
    n: f64,
    mean: f64,
    m2: f64,
}

impl Welford {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.n;
        self.m2 += delta * (x - self.mean);
    }
}

impl Visitors {
    pub(super) fn add(&mut self, hit: &Hit) {
        let agent = self.classify(hit);
        let totals = self.categories.entry(agent.category).or_default();
        totals.0 += 1;
        totals.1 = totals.1.saturating_add(hit.bytes);
        let key = if hit.visitor.is_empty() {
            format!("{}\u{1F}{}", hit.address, hit.user_agent.as_deref().unwrap_or_default())
        } else {
            hit.visitor.clone()
        };
        if self.all.len() >= MAX_VISITORS && !self.all.contains_key(&key) {
            self.not_kept += 1;
            return;
        }
        let number = self.all.len() as u32;
        let facts = self.all.entry(key).or_insert_with(|| VisitorFacts::new(number, hit, &agent));
        facts.add(hit);
        if is_article(hit) && hit.status == Some(200) {
            if self.articles.len() >= MAX_DISTINCT && !self.articles.contains_key(&hit.path) {
                return;
            }
            let readers = self.articles.entry(hit.path.clone()).or_default();
            if readers.len() < MAX_DISTINCT {
                readers.insert(facts.number);
            }
        }
    }

    fn classify(&mut self, hit: &Hit) -> Agent {
        if let Some(fields) = &hit.deckle
            && let Some(category) = Category::from_code(&fields.category)
        {
            return Agent { category, name: fields.agent.as_deref().map(Into::into) };
        }
        let ua = hit.user_agent.as_deref().unwrap_or_default();
        if let Some(agent) = self.agents.get(ua) {
            return agent.clone();
        }
        let agent = Agents::builtin().classify(hit.user_agent.as_deref());
        if self.agents.len() < MAX_DISTINCT {
            self.agents.insert(ua.to_owned(), agent.clone());
        }
        agent
    }
}

impl VisitorFacts {
    fn new(number: u32, hit: &Hit, agent: &Agent) -> Self {
        Self {
            number,
            address: hit.address.clone(),
            user_agent: hit.user_agent.clone(),
            agent: agent.name.clone(),
            category: agent.category,
            verification: hit.deckle.as_ref().map_or_else(|| "none".to_owned(), |d| d.verification.clone()),
            hits: 0,
            pages: 0,
            assets: 0,
            bytes: 0,
            articles: HashSet::new(),
            refused: 0,
            read_robots: false,
            score: 0,
            actions: BTreeMap::new(),
            would: BTreeMap::new(),
            marks: HashSet::new(),
            first: hit.time,
            last: hit.time,
            sessions: 1,
            busiest: (0, Duration::ZERO),
            run: (0, hit.time),
            last_page: None,
            gaps: Welford::default(),
        }
    }

    fn add(&mut self, hit: &Hit) {
        self.hits += 1;
        self.bytes = self.bytes.saturating_add(hit.bytes);
        self.read_robots |= hit.path == "/robots.txt";
        self.refused += u64::from(is_refusal(hit));
        // Lines of several files come in any order.
        if hit.time > self.last + SESSION_GAP || hit.time + SESSION_GAP < self.first {
            self.sessions += 1;
        }
        self.first = self.first.min(hit.time);
        self.last = self.last.max(hit.time);
        if is_page(hit) {
            self.add_page(hit);
        } else if is_asset(hit) {
            self.assets += 1;
        }
        if let Some(fields) = &hit.deckle {
            self.score = self.score.max(fields.score);
            *self.actions.entry(fields.action.clone()).or_default() += 1;
            if let Some(would) = &fields.would_action {
                *self.would.entry(would.clone()).or_default() += 1;
            }
            if let Some(mark) = fields.mark.as_ref().filter(|_| self.marks.len() < MAX_DISTINCT) {
                self.marks.insert(mark.clone());
            }
        }
    }

    fn add_page(&mut self, hit: &Hit) {
        self.pages += 1;
        if is_article(hit) && hit.status == Some(200) && self.articles.len() < MAX_DISTINCT {
            self.articles.insert(hash(&hit.path));
        }
        let near = |last: &Duration| last.abs_diff(hit.time) <= SESSION_GAP;
        match self.last_page.filter(near) {
            Some(last) => {
                if let Some(gap) = hit.time.checked_sub(last) {
                    self.gaps.add(gap.as_secs_f64());
                }
                self.run = (self.run.0 + 1, self.run.1.min(hit.time));
                self.last_page = Some(last.max(hit.time));
            }
            None => {
                self.run = (1, hit.time);
                self.last_page = Some(hit.time);
            }
        }
        if self.run.0 > self.busiest.0 {
            self.busiest = (self.run.0, self.last_page.unwrap_or(hit.time).saturating_sub(self.run.1));
        }
    }

    /// Coefficient of variation of the time between pages, from eight pages on.
    pub(super) fn regularity(&self) -> Option<f64> {
        let enough = self.gaps.n >= 8.0 && self.gaps.mean > 0.2;
        enough.then(|| (self.gaps.m2 / self.gaps.n).sqrt() / self.gaps.mean)
    }

    /// Pages a minute in the busiest run.
    pub(super) fn pace(&self) -> f64 {
        self.busiest.0 as f64 / (self.busiest.1.as_secs_f64() / 60.0).max(1.0 / 6.0)
    }
}

pub(super) fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn is_page(hit: &Hit) -> bool {
    if let Some(fields) = &hit.deckle {
        return matches!(fields.page_kind.as_str(), "article" | "index")
            || (is_refusal(hit) && !has_asset_extension(&hit.path));
    }
    !hit.path.is_empty() && !has_asset_extension(&hit.path) && hit.path != "/robots.txt"
}

fn is_refusal(hit: &Hit) -> bool {
    matches!(hit.status, Some(429 | 403))
}

fn is_asset(hit: &Hit) -> bool {
    match &hit.deckle {
        Some(fields) => matches!(fields.page_kind.as_str(), "asset" | "media"),
        None => has_asset_extension(&hit.path),
    }
}

fn is_article(hit: &Hit) -> bool {
    match &hit.deckle {
        Some(fields) => fields.page_kind == "article",
        None => is_page(hit) && looks_like_article(&hit.path),
    }
}

fn has_asset_extension(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, ext)| ASSET_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(ext)))
}
