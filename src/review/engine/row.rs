//! A hit, and what has to be known of it before it is counted.

use std::sync::{Arc, LazyLock};

use super::agents::{AgentCache, AgentTable, KnownAgent};
use super::weight::Weight;
use crate::audit::reader::Hit;
use crate::review::filter::Subject;
use crate::suspicion::looks_like_article;
use crate::visitor::{ASSET_EXTENSIONS, Category};

/// Longest path that is kept, in bytes; deckle's own log holds no more.
const MAX_PATH: usize = 2_048;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Article,
    Page,
    Asset,
    Robots,
    Sitemap,
    Feed,
    Other,
}

impl Kind {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Article => "article",
            Self::Page => "index",
            Self::Asset => "asset",
            Self::Robots => "robots",
            Self::Sitemap => "sitemap",
            Self::Feed => "feed",
            Self::Other => "other",
        }
    }

    pub(crate) fn is_page(self) -> bool {
        matches!(self, Self::Article | Self::Page)
    }
}

/// A hit on its way to the visitors.
#[derive(Debug)]
pub(crate) struct Row<'l> {
    pub(crate) hit: Hit<'l>,
    pub(crate) agent: Arc<KnownAgent>,
    pub(crate) category: Category,
    pub(crate) kind: Kind,
    /// The visitor.
    pub(crate) key: u64,
    /// So many hits stand behind this one.
    pub(crate) weight: Weight,
    /// A filter has left it out: it only tells that a robot has read robots.txt.
    pub(crate) unseen: bool,
}

impl Row<'_> {
    /// One that is to be filled.
    pub(crate) fn blank(table: &AgentTable, cache: &mut AgentCache) -> Self {
        let (_, agent) = cache.get(table, None);
        let hit = Hit::default();
        let weight = Weight::ONE;
        Self { hit, agent, category: Category::None, kind: Kind::Other, key: 0, weight, unseen: false }
    }

    /// What follows from the hit.
    pub(crate) fn complete(&mut self, table: &AgentTable, cache: &mut AgentCache) {
        let hit = &mut self.hit;
        shorten(hit);
        let (agent_hash, agent) = cache.get(table, hit.user_agent.as_deref());
        let logged = hit.deckle.as_ref().and_then(|fields| Category::from_code(&fields.category));
        self.category = logged.unwrap_or(agent.category());
        self.agent = agent;
        let id = hit.deckle.as_ref().map_or("", |fields| fields.visitor.as_ref());
        self.key = match id {
            "" => twox_hash::XxHash3_64::oneshot_with_seed(agent_hash, hit.address.as_bytes()),
            id => twox_hash::XxHash3_64::oneshot_with_seed(1, id.as_bytes()),
        };
        let sample = hit.deckle.as_ref().and_then(|fields| fields.sample);
        self.weight = sample.map_or(Weight::ONE, Weight::of_sample);
        self.kind = kind(hit);
        self.unseen = false;
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        let deckle = self.hit.deckle.as_ref();
        let logged = deckle.map(|fields| fields.page_kind.as_ref()).filter(|kind| !kind.is_empty());
        Subject {
            hit: &self.hit,
            category: self.category.code(),
            agent: self.name(),
            verification: deckle.map_or("", |fields| fields.verification.as_ref()),
            page_kind: logged.unwrap_or(self.kind.code()),
            visitor: deckle.map_or("", |fields| fields.visitor.as_ref()),
        }
    }

    /// Name in the table of agents.
    pub(crate) fn name(&self) -> Option<&str> {
        let logged = self.hit.deckle.as_ref().and_then(|fields| fields.agent.as_deref());
        logged.or(self.agent.agent.name.as_deref())
    }

    /// All of one family of robots are counted in one place, because one of them reads robots.txt for all; a visitor is
    /// counted in one place, too.
    pub(crate) fn shard(&self, shards: usize) -> usize {
        let hash = match self.name() {
            Some(name) if self.category.is_declared_bot() => twox_hash::XxHash3_64::oneshot(name.as_bytes()),
            _ => self.key,
        };
        // The low bits choose the place in the tables.
        ((hash >> 32) as usize) % shards.max(1)
    }
}

/// Foreign logs may hold lines of any length; what is kept of them is short.
fn shorten(hit: &mut Hit<'_>) {
    if hit.path.len() > MAX_PATH {
        let end = hit.path.floor_char_boundary(MAX_PATH);
        hit.path = hit.path.get(..end).unwrap_or_default().to_owned().into();
    }
}

fn kind(hit: &Hit<'_>) -> Kind {
    let path = hit.path.as_ref();
    if let Some(fields) = hit.deckle.as_ref().filter(|fields| !fields.brief) {
        return match fields.page_kind.as_ref() {
            "article" => Kind::Article,
            "index" => Kind::Page,
            "asset" | "media" => Kind::Asset,
            "robots" => Kind::Robots,
            "sitemap" => Kind::Sitemap,
            "feed" => Kind::Feed,
            // A refusal stands in place of a page.
            _ if is_refusal(hit.status) && !has_asset_extension(path) => Kind::Page,
            _ => Kind::Other,
        };
    }
    match path {
        "" => Kind::Other,
        "/robots.txt" => Kind::Robots,
        _ if has_asset_extension(path) => Kind::Asset,
        _ if path.starts_with("/sitemap") => Kind::Sitemap,
        _ if is_feed(path) => Kind::Feed,
        _ if looks_like_article(path) => Kind::Article,
        _ => Kind::Page,
    }
}

fn is_feed(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let last = memchr::memrchr(b'/', path.as_bytes()).and_then(|at| path.get(at + 1..)).unwrap_or(path);
    matches!(last, "feed" | "rss" | "atom" | "rss.xml" | "atom.xml" | "feed.xml" | "index.rdf")
        || last.ends_with(".rss")
}

pub(crate) fn is_refusal(status: Option<u16>) -> bool {
    matches!(status, Some(429 | 403))
}

fn has_asset_extension(path: &str) -> bool {
    static KNOWN: LazyLock<Vec<u64>> = LazyLock::new(|| {
        let mut known: Vec<u64> = ASSET_EXTENSIONS.iter().filter_map(|extension| packed(extension)).collect();
        known.sort_unstable();
        known
    });
    // The last bytes are enough: nearly every path has no point there.
    let last = path.as_bytes().get(path.len().saturating_sub(8)..).unwrap_or_default();
    let Some(dot) = last.iter().rposition(|byte| *byte == b'.') else { return false };
    let extension = path.get(path.len() - last.len() + dot + 1..).and_then(packed);
    extension.is_some_and(|extension| KNOWN.binary_search(&extension).is_ok())
}

/// A short extension as a number, in lower case.
fn packed(extension: &str) -> Option<u64> {
    let fits = (1..=7).contains(&extension.len());
    fits.then(|| extension.bytes().fold(0, |sum, byte| sum << 8 | u64::from(byte.to_ascii_lowercase())))
}
