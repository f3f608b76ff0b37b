//! Plans of pages that were seen before, for all visitors.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use siphasher::sip128::{Hasher128, SipHasher13};
use twox_hash::XxHash3_64;

use super::draft::Draft;
use super::edits::{CHUNK, Plan};

/// Forms of one page that are remembered: with and without a banner, and the like.
const MAX_FORMS: usize = 4;
/// A page that was different so often in a row is not planned for a while.
const MAX_MISSES: u8 = 8;
const PAUSE_SECONDS: u64 = 600;
/// Plans that the cache makes room for at first; it grows.
const USUAL_PLANS: usize = 256;

/// Bounded by bytes; one walk through the archive does not push out what is read every day (S3-FIFO).
pub(crate) struct PlanCache {
    entries: Cache<u128, Arc<Entry>, Bytes>,
    key: [u8; 16],
    hash: ChunkHash,
    held: Arc<AtomicUsize>,
}

/// Hashes chunks of source. Its key is random, so no page can be made that passes for another.
#[derive(Clone)]
pub(super) struct ChunkHash(Arc<[u8; 192]>);

impl ChunkHash {
    pub(super) fn of(&self, chunk: &[u8]) -> u64 {
        // `PlanCache::new` has seen that the secret is long enough.
        XxHash3_64::oneshot_with_secret(&*self.0, chunk).unwrap_or_default()
    }
}

#[derive(Clone, Default)]
struct Entry {
    /// The last one first.
    plans: Vec<Arc<Plan>>,
    misses: u8,
    /// Seconds since 1970.
    paused_until: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Arc<Entry>> for Bytes {
    fn weight(&self, _: &u128, entry: &Arc<Entry>) -> u64 {
        let plans: usize = entry.plans.iter().map(|plan| plan.size()).sum();
        (size_of::<Entry>() + plans) as u64
    }
}

/// What is known about a page before its source is here.
pub(crate) enum Known {
    /// It may be one of these.
    Plans(Vec<Arc<Plan>>),
    New,
    /// It is different each time.
    Restless,
}

impl PlanCache {
    /// `None`: no cache, or no random bytes to key it with.
    pub(crate) fn new(bytes: u64) -> Option<Arc<Self>> {
        let (mut key, mut secret) = ([0; 16], [0; 192]);
        getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut secret)).ok()?;
        // A secret that is too short would be refused; this one is not.
        XxHash3_64::oneshot_with_secret(&secret, &[]).ok()?;
        let hash = ChunkHash(Arc::new(secret));
        let entries = || Cache::with_weighter(USUAL_PLANS, bytes, Bytes);
        (bytes > 0).then(|| Arc::new(Self { entries: entries(), key, hash, held: Arc::default() }))
    }

    /// The key of a page: where it is, and everything but its source that shapes it. A path with many queries has many keys,
    /// and one that is asked for once is the first to go.
    pub(crate) fn key(&self, shape: &impl Hash) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        shape.hash(&mut hasher);
        hasher.write_u8(0);
        hasher.finish128().as_u128()
    }

    pub(super) fn hash<'c>(&self, chunk: impl Iterator<Item = &'c [u8]>) -> u64 {
        let mut parts = chunk.peekable();
        let first = parts.next().unwrap_or_default();
        if parts.peek().is_none() {
            return self.hash.of(first);
        }
        // It came in several reads.
        let mut whole = Vec::with_capacity(CHUNK);
        whole.extend_from_slice(first);
        parts.for_each(|part| whole.extend_from_slice(part));
        self.hash.of(&whole)
    }

    /// Counts the bytes of source that are held while they are compared.
    pub(super) fn held(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.held)
    }

    /// A plan to be written.
    pub(crate) fn draft(&self) -> Draft {
        Draft::new(self.hash.clone())
    }

    pub(crate) fn look_up(&self, key: u128, now: u64) -> Known {
        match self.entries.get(&key) {
            None => Known::New,
            Some(entry) if entry.paused_until > now => Known::Restless,
            Some(entry) if entry.plans.is_empty() => Known::New,
            Some(entry) => Known::Plans(entry.plans.clone()),
        }
    }

    /// A page was read to its end. One that is known, and came too slowly or in several hands at once, is no other page.
    pub(crate) fn learn(&self, key: u128, plan: Plan, now: u64) {
        let known = self.entries.get(&key);
        let mut entry = known.as_deref().cloned().unwrap_or_default();
        let other = !entry.plans.is_empty() && !entry.plans.iter().any(|old| old.is_of(&plan));
        entry.misses = if other { entry.misses.saturating_add(1) } else { 0 };
        if entry.misses >= MAX_MISSES {
            entry = Entry { paused_until: now.saturating_add(PAUSE_SECONDS), ..Entry::default() };
        } else {
            entry.plans.retain(|old| !old.is_of(&plan));
            entry.plans.insert(0, Arc::new(plan));
            entry.plans.truncate(MAX_FORMS);
        }
        self.entries.insert(key, Arc::new(entry));
    }

    /// The same of an address that is longer than the key tells, which the page may show. It counts where nothing is known,
    /// and nowhere else: nobody takes the plan of an address away by longer ones.
    pub(crate) fn learn_first(&self, key: u128, plan: Plan, now: u64) {
        if matches!(self.look_up(key, now), Known::New) {
            self.learn(key, plan, now);
        }
    }

    /// A page was one of those that are known.
    pub(crate) fn confirm(&self, key: u128) {
        if let Some(entry) = self.entries.get(&key).filter(|entry| entry.misses > 0) {
            self.entries.insert(key, Arc::new(Entry { misses: 0, ..(*entry).clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::plan::edits::CHUNK;
    use crate::page::rewrite::Outcome;

    fn plan(cache: &PlanCache, source: &[u8]) -> Plan {
        let mut log = super::super::Log::Draft(Box::new(cache.draft()));
        for piece in source.chunks(1_000) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(log.room(rest.len()));
                log.read(now, 0);
                rest = later;
            }
        }
        let super::super::Log::Draft(draft) = log else { panic!("too long") };
        draft.finish(Outcome::default())
    }

    #[test]
    fn a_hash_is_the_same_in_pieces_and_at_once_and_keyed() {
        let (cache, other) = (PlanCache::new(1 << 20).unwrap(), PlanCache::new(1 << 20).unwrap());
        for len in [0, 1, 100, 240, 241, 1_000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let source: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let made = plan(&cache, &source);
            assert_eq!(made.chunks.len(), len / CHUNK);
            for (chunk, bytes) in made.chunks.iter().zip(source.chunks_exact(CHUNK)) {
                assert_eq!(chunk.hash, cache.hash([bytes].into_iter()));
                assert_eq!(chunk.hash, cache.hash(bytes.chunks(999)));
            }
            let tail = source.chunks_exact(CHUNK).remainder();
            assert_eq!(made.tail, cache.hash([tail].into_iter()), "{len}");
            assert_eq!(made.tail, cache.hash(tail.chunks(100)), "{len}");
            assert_ne!(made.tail, plan(&other, &source).tail);
        }
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let cache = PlanCache::new(256 << 10).unwrap();
        for page in 0..5_000_u32 {
            let source = page.to_le_bytes().repeat(CHUNK);
            cache.learn(cache.key(&page), plan(&cache, &source), 0);
        }
        assert!(cache.entries.weight() <= 256 << 10, "{}", cache.entries.weight());
        assert!(cache.entries.len() > 100);
    }

    #[test]
    fn four_forms_of_a_page_are_known_and_a_restless_one_is_left_alone() {
        let cache = PlanCache::new(1 << 20).unwrap();
        let key = cache.key(&("news.example", "/a"));
        for form in 0..6_u8 {
            cache.learn(key, plan(&cache, &[form; 100]), 1_000);
        }
        let Known::Plans(plans) = cache.look_up(key, 1_000) else { panic!() };
        let tails: Vec<u64> = plans.iter().map(|p| p.tail).collect();
        assert_eq!(tails, [5, 4, 3, 2].map(|form| cache.hash([&[form; 100][..]].into_iter())));
        cache.confirm(key);
        for form in 0..7_u8 {
            cache.learn(key, plan(&cache, &[form; 50]), 1_000);
            assert!(matches!(cache.look_up(key, 1_000), Known::Plans(_)), "{form}");
        }
        cache.learn(key, plan(&cache, &[9; 50]), 1_000);
        assert!(matches!(cache.look_up(key, 1_599), Known::Restless));
        assert!(matches!(cache.look_up(key, 1_600), Known::New));
        assert!(PlanCache::new(0).is_none());
        // What shows another address does not count, but where nothing is known.
        cache.learn_first(key, plan(&cache, b"the same"), 1_600);
        for form in 0..20_u8 {
            cache.learn_first(key, plan(&cache, &[form; 50]), 1_600);
        }
        let Known::Plans(plans) = cache.look_up(key, 1_600) else { panic!() };
        assert_eq!(plans.iter().map(|p| p.tail).collect::<Vec<_>>(), [cache.hash([&b"the same"[..]].into_iter())]);
        // The same page, read by many at once or too slow to be compared.
        for _ in 0..20 {
            cache.learn(key, plan(&cache, b"the same"), 2_000);
        }
        let Known::Plans(plans) = cache.look_up(key, 2_000) else { panic!() };
        assert_eq!(plans.len(), 1);
    }
}
