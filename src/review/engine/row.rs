//! A hit, and what has to be known of it before it is counted.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use super::agents::{AgentCache, KnownAgent};
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
    pub(crate) agent: Cow<'l, Arc<KnownAgent>>,
    pub(crate) category: Category,
    pub(crate) kind: Kind,
    /// The visitor.
    pub(crate) key: u64,
    /// So many hits stand behind this one.
    pub(crate) weight: Weight,
    /// A filter has left it out: it only tells that a robot has read robots.txt.
    pub(crate) unseen: bool,
}

impl<'l> Row<'l> {
    /// One that is to be filled.
    pub(crate) fn blank(cache: &mut AgentCache<'l>) -> Self {
        let (_, agent) = cache.get(None);
        let hit = Hit::default();
        let weight = Weight::ONE;
        Self { hit, agent, category: Category::None, kind: Kind::Other, key: 0, weight, unseen: false }
    }

    /// What follows from the hit.
    pub(crate) fn complete<'t: 'l>(&mut self, cache: &mut AgentCache<'t>) {
        let hit = &mut self.hit;
        shorten(hit);
        let (agent_hash, agent) = cache.get(hit.user_agent.as_deref());
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
        let name = if self.category.is_declared_bot() { self.name() } else { None };
        let hash = name.map_or(self.key, |name| twox_hash::XxHash3_64::oneshot(name.as_bytes()));
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
        let of = |known: &&str| extension(&format!(".{known}"));
        let mut known: Vec<u64> = ASSET_EXTENSIONS.iter().filter_map(of).collect();
        known.sort_unstable();
        known
    });
    extension(path).is_some_and(|extension| KNOWN.binary_search(&extension).is_ok())
}

/// Up to seven bytes behind the last point, as a number and in lower case. Eight bytes are looked at at once: nearly each
/// line has another length there, and no processor guesses that.
fn extension(path: &str) -> Option<u64> {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES << 7;
    let bytes = path.as_bytes();
    let last = bytes.last_chunk::<8>().copied().unwrap_or_else(|| {
        let mut last = [0; 8];
        last.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        last
    });
    let last = u64::from_be_bytes(last);
    // Points become 0, and of the bytes that are 0 this finds the lowest one, which is the last point.
    let points = last ^ (ONES * u64::from(b'.'));
    let found = points.wrapping_sub(ONES) & !points & HIGH;
    let behind = found.trailing_zeros() / 8;
    let fits = (1..=7).contains(&behind);
    fits.then(|| lower(last & ((1_u64 << (8 * behind)) - 1), ONES, HIGH))
}

/// Eight bytes of ASCII in lower case; other bytes stay.
fn lower(bytes: u64, ones: u64, high: u64) -> u64 {
    let low = bytes & !high;
    // The highest bit of a byte tells whether it is that great.
    let (from_a, beyond_z) = (low + ones * u64::from(0x80 - b'A'), low + ones * u64::from(0x7F - b'Z'));
    let upper = (from_a ^ beyond_z) & !bytes & high;
    bytes | (upper >> 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte by byte.
    fn plain(path: &str) -> bool {
        let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        extension.is_some_and(|extension| ASSET_EXTENSIONS.contains(&extension.as_str()))
    }

    #[test]
    fn each_extension_is_known() {
        for extension in ASSET_EXTENSIONS {
            for path in
                ["", "/", "/a/b", "/longer/than.eight/bytes", "/a.css"].map(|path| format!("{path}.{extension}"))
            {
                let upper = path.to_ascii_uppercase();
                assert!(has_asset_extension(&path) && has_asset_extension(&upper), "{path}");
                for other in [format!("{path}x"), format!("{path}/"), format!("{path}."), path.replace(extension, "x")]
                {
                    assert_eq!(has_asset_extension(&other), plain(&other), "{other}");
                }
            }
        }
        assert!(!has_asset_extension("") && !has_asset_extension(".") && !has_asset_extension("css"));
    }

    proptest! {
        #[test]
        fn extensions_are_what_stands_behind_the_last_point(path in r"[/a-c.é\x10-\x1F@\[`]{0,9}(\.|)[a-zA-Z0-9\x13]{0,6}") {
            prop_assert_eq!(has_asset_extension(&path), plain(&path));
        }

        #[test]
        fn lower_case_is_that_of_ascii(bytes in any::<[u8; 8]>()) {
            let ones = u64::MAX / 0xFF;
            let expected = u64::from_be_bytes(bytes.map(|byte| byte.to_ascii_lowercase()));
            prop_assert_eq!(lower(u64::from_be_bytes(bytes), ones, ones << 7), expected);
        }
    }
}
