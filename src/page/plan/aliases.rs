//! Pages that are known with their codings on: a site that compresses one page twice sends the same bytes twice, and need not
//! be read for it.
//!
//! An alias is of a page whose source was compared while it was decoded. It lasts as long as its plan.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::cache::PlanCache;
use super::edits::{CHUNK, MAX_PAGE, Plan};
use super::hash::ChunkHash;
use super::source::Source;
use crate::page::charset::Charset;

/// Forms of one page in which it is known: with and without a banner, and the like.
const MAX_FORMS: usize = 4;
/// Aliases take this part of the room for plans, beside it.
const SHARE: u64 = 64;
/// Pages that room is made for at first; it grows.
const USUAL_PAGES: usize = 64;

/// Bounded by bytes.
pub(super) struct Aliases(Cache<u128, Arc<[Arc<Alias>]>, Weight>);

/// A page by the bytes in which it is sent.
#[derive(Debug)]
pub(crate) struct Alias {
    /// Hashes of its chunks, and of what follows them.
    chunks: Box<[u64]>,
    len: usize,
    /// What its first bytes say.
    pub(crate) opened: Opened,
    plan: Weak<Plan>,
}

/// What is read from the first bytes of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) charset: Charset,
    /// Bytes that may be put before a charset that the page says further on.
    pub(crate) room: usize,
}

#[derive(Clone)]
struct Weight;

impl Weighter<u128, Arc<[Arc<Alias>]>> for Weight {
    fn weight(&self, _: &u128, forms: &Arc<[Arc<Alias>]>) -> u64 {
        forms.iter().map(|alias| (size_of::<Alias>() + size_of_val(&*alias.chunks)) as u64).sum()
    }
}

impl Aliases {
    /// `bytes`: the room for plans.
    pub(super) fn new(bytes: u64) -> Self {
        Self(Cache::with_weighter(USUAL_PAGES, (bytes / SHARE).max(1), Weight))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    fn of(&self, key: u128) -> Vec<Arc<Alias>> {
        self.0.get(&key).map(|forms| forms.to_vec()).unwrap_or_default()
    }

    fn learn(&self, key: u128, alias: Alias) {
        let mut forms = self.of(key);
        forms.retain(|other| other.plan.strong_count() > 0 && other.chunks != alias.chunks);
        forms.insert(0, Arc::new(alias));
        forms.truncate(MAX_FORMS);
        self.0.insert(key, forms.into());
    }
}

impl Alias {
    /// `None`: it has left the cache.
    pub(crate) fn plan(&self) -> Option<Arc<Plan>> {
        self.plan.upgrade()
    }
}

/// Hashes of bytes as they come.
struct Hashes {
    hash: ChunkHash,
    chunk: Vec<u8>,
    chunks: Vec<u64>,
    len: usize,
}

impl Hashes {
    fn push(&mut self, mut piece: &[u8]) {
        self.len += piece.len();
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(CHUNK - self.chunk.len()));
            piece = later;
            if now.len() == CHUNK {
                self.chunks.push(self.hash.of(now));
                continue;
            }
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == CHUNK {
                self.end_chunk();
            }
        }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(self.hash.of(&self.chunk));
        self.chunk.clear();
    }
}

/// What becomes of a piece that has come.
pub(crate) enum Pushed {
    /// The page may be known by its bytes: it is held.
    Held,
    /// It is not: what was held is to be [released](Encoded::release).
    Released,
    /// It is to be decoded.
    Passed,
}

/// A page while its codings are on it.
pub(crate) struct Encoded {
    cache: Arc<PlanCache>,
    key: u128,
    hashes: Hashes,
    /// Those that agree so far.
    known: Vec<Arc<Alias>>,
    /// What has come, while any does.
    held: Option<Source>,
    /// Bytes of what was released that have not come again.
    released: usize,
}

impl Encoded {
    /// `key`: of the page, by all that is known before its first byte.
    pub(crate) fn new(cache: &Arc<PlanCache>, key: u128) -> Self {
        let is_packed = |alias: &Arc<Alias>| alias.plan().is_some_and(|plan| plan.shelf.spares_the_source());
        let mut known = cache.aliases.of(key);
        known.retain(is_packed);
        let held = if known.is_empty() { None } else { Source::new(cache) };
        let hashes = Hashes { hash: cache.chunk_hash(), chunk: Vec::new(), chunks: Vec::new(), len: 0 };
        Self { cache: Arc::clone(cache), key, hashes, known, held, released: 0 }
    }

    /// What is released comes again, piece by piece, before anything new does.
    pub(crate) fn push(&mut self, piece: &Bytes) -> Pushed {
        if self.released > 0 {
            self.released = self.released.saturating_sub(piece.len());
            return Pushed::Passed;
        }
        if self.hashes.len <= MAX_PAGE {
            self.hashes.push(piece);
        }
        let Some(held) = &mut self.held else { return Pushed::Passed };
        held.push(piece.clone());
        let (chunks, len) = (&self.hashes.chunks, self.hashes.len);
        self.known.retain(|alias| alias.len >= len && alias.chunks.starts_with(chunks));
        if self.known.is_empty() { Pushed::Released } else { Pushed::Held }
    }

    /// Is anything held?
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// It does not come to its end, or must be decoded: what is held of it.
    pub(crate) fn release(&mut self) -> Option<Source> {
        self.known.clear();
        let held = self.held.take()?;
        self.released = held.len();
        Some(held)
    }

    /// No more comes. The page that it is; afterwards it is still held.
    pub(crate) fn finish(&mut self) -> Option<Arc<Alias>> {
        self.hashes.end_chunk();
        let Hashes { chunks, len, .. } = &self.hashes;
        self.known.iter().find(|alias| alias.len == *len && *alias.chunks == **chunks).cloned()
    }

    /// It was decoded to its end, and is the page of this plan.
    pub(crate) fn learn(self, opened: Opened, plan: &Arc<Plan>) {
        let Hashes { chunks, len, .. } = self.hashes;
        // What differs each time is taken from the source.
        if len <= MAX_PAGE && plan.volatile.is_empty() && plan.shelf.page().is_some() {
            let alias = Alias { chunks: chunks.into(), len, opened, plan: Arc::downgrade(plan) };
            self.cache.aliases.learn(self.key, alias);
        }
    }
}
