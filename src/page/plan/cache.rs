//! Plans of pages that were seen before, for all visitors.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::addresses::PackedAddresses;
use super::aliases::Aliases;
use super::counters::PlanCounters;
use super::draft::Draft;
use super::edits::{CHUNK, Plan};
use super::hash::ChunkHash;
#[cfg(feature = "cli")]
use super::packing::PackedPlan;
use super::packing::{Job, Packer};
#[cfg(feature = "cli")]
use super::source::Source;
use super::study::Studies;
use super::validators::Validators;
use super::volatile::Volatile;

/// Forms of one page that are remembered: with and without a banner, and the like.
const MAX_FORMS: usize = 4;
/// Those of them of which it is known in what they are different each time.
const MAX_LEARNED: usize = 2;
/// A page that was different so often in a row is not planned for a while.
const MAX_MISSES: u8 = 8;
const PAUSE_SECONDS: u64 = 600;
/// Plans that the cache makes room for at first; it grows.
const USUAL_PLANS: usize = 256;

/// Bounded by bytes; one walk through the archive does not push out what is read every day (S3-FIFO).
pub(crate) struct PlanCache {
    entries: Cache<u128, Arc<Entry>, Bytes, DefaultHashBuilder, Evictions>,
    key: [u8; 16],
    hash: ChunkHash,
    held: Arc<AtomicUsize>,
    /// `None`: no page is packed.
    packer: Option<Packer>,
    studies: Studies,
    counters: Arc<PlanCounters>,
    /// The room, and whether pages are packed: what it was made for.
    made_for: (u64, Option<u32>),
    pub(super) validators: Validators,
    pub(super) aliases: Aliases,
    addresses: PackedAddresses,
}

#[derive(Clone, Default)]
struct Entry {
    /// The last one first.
    plans: Vec<Arc<Plan>>,
    misses: u8,
    /// Seconds since 1970.
    paused_until: u64,
    /// Bytes of its plans when it was put in: what is packed later counts when it is put in anew.
    weight: usize,
}

impl Entry {
    fn new(plans: Vec<Arc<Plan>>, misses: u8, paused_until: u64) -> Self {
        let weight = plans.iter().map(|plan| plan.size()).sum();
        Self { plans, misses, paused_until, weight }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Arc<Entry>> for Bytes {
    fn weight(&self, _: &u128, entry: &Arc<Entry>) -> u64 {
        (size_of::<Entry>() + entry.weight) as u64
    }
}

/// Counts the plans that leave the cache to make room.
#[derive(Clone)]
struct Evictions(Arc<PlanCounters>);

impl Lifecycle<u128, Arc<Entry>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: u128, entry: Arc<Entry>) {
        // An entry that another one takes the place of comes here, too, and its plans stay.
        let gone = entry.plans.iter().filter(|plan| Arc::strong_count(plan) == 1);
        self.0.count_evicted(gone.count());
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
    /// `packed`: pages that several readers get are packed, and of so many copies one is compared (0: none). The answer is
    /// `None` for no cache, or no random bytes to key it with.
    pub(crate) fn new(bytes: u64, packed: Option<u32>) -> Option<Arc<Self>> {
        Self::counting(bytes, packed, Arc::default())
    }

    /// The same, with counters that outlive it.
    pub(crate) fn counting(bytes: u64, packed: Option<u32>, counters: Arc<PlanCounters>) -> Option<Arc<Self>> {
        let (mut key, mut secret) = ([0; 16], [0; 192]);
        getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut secret)).ok()?;
        let hash = ChunkHash::new(secret)?;
        (bytes > 0).then(|| {
            let evictions = Evictions(Arc::clone(&counters));
            let entries = Cache::with(USUAL_PLANS, bytes, Bytes, DefaultHashBuilder::default(), evictions);
            let packer = packed.map(Packer::new);
            let (validators, aliases) = (Validators::new(bytes), Aliases::new(bytes));
            let cache = Arc::new(Self {
                entries,
                key,
                hash,
                held: Arc::default(),
                packer,
                studies: Studies::default(),
                counters,
                made_for: (bytes, packed),
                validators,
                aliases,
                addresses: PackedAddresses::new(),
            });
            cache.counters.watch(&cache);
            cache
        })
    }

    /// Is it as a new one for this would be?
    pub(crate) fn is_for(&self, bytes: u64, packed: Option<u32>) -> bool {
        self.made_for == (bytes, packed)
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

    pub(super) fn chunk_hash(&self) -> ChunkHash {
        self.hash.clone()
    }

    /// Counts the bytes of source that are held while they are compared.
    pub(super) fn held(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.held)
    }

    /// A plan to be written.
    pub(crate) fn draft(&self) -> Draft {
        self.draft_of(Volatile::default())
    }

    /// The same, of a page of which these bytes are different each time.
    pub(super) fn draft_of(&self, volatile: Volatile) -> Draft {
        Draft::new(self.chunk_hash(), volatile)
    }

    pub(crate) fn look_up(&self, key: u128, now: u64) -> Known {
        match self.entries.get(&key) {
            Some(entry) if !entry.plans.is_empty() => Known::Plans(entry.plans.clone()),
            Some(entry) if entry.paused_until > now => Known::Restless,
            _ => Known::New,
        }
    }

    /// A page was read to its end. One that is known, and came too slowly or in several hands at once, is no other page.
    pub(crate) fn learn(&self, key: u128, plan: Plan, now: u64) {
        let known = self.entries.get(&key);
        let Entry { mut plans, misses, paused_until, .. } = known.as_deref().cloned().unwrap_or_default();
        if paused_until > now {
            return;
        }
        let old = plans.iter().position(|old| old.is_of(&plan));
        let misses = if old.is_none() && !plans.is_empty() { misses.saturating_add(1) } else { 0 };
        let entry = if misses >= MAX_MISSES {
            self.counters.count_restless();
            // Nobody takes away what was learned by asking for other forms.
            plans.retain(|plan| !plan.volatile.is_empty());
            Entry::new(plans, 0, now.saturating_add(PAUSE_SECONDS))
        } else {
            if let Some(packer) = &self.packer {
                packer.has_seen(door_key(key, &plan));
            }
            // The one that is known has its readers and its packed form.
            let plan = old.map_or_else(|| Arc::new(plan), |at| plans.remove(at));
            plans.insert(0, plan);
            if plans.len() > MAX_FORMS {
                // What took so many misses to be learned stays longest.
                let last = plans.iter().rposition(|plan| plan.volatile.is_empty());
                plans.remove(last.unwrap_or(MAX_FORMS));
            }
            Entry::new(plans, misses, paused_until)
        };
        self.entries.insert(key, Arc::new(entry));
    }

    /// The same of an address that is longer than the key tells, which the page may show. It counts where nothing is known,
    /// and nowhere else: nobody takes the plan of an address away by longer ones.
    pub(crate) fn learn_first(&self, key: u128, plan: Plan, now: u64) {
        if matches!(self.look_up(key, now), Known::New) {
            self.learn(key, plan, now);
        }
    }

    /// Is one more miss, or are two, all that is borne of this page?
    pub(super) fn is_restless(&self, key: u128, now: u64) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.paused_until <= now && entry.misses + 2 >= MAX_MISSES)
    }

    /// It is known in what a page is different each time. Of what was known before, the one that was seen last stays.
    pub(super) fn learn_volatile(&self, key: u128, plan: Plan) {
        self.counters.count_learned();
        // It was seen: the next one who gets it may ask for its packed form.
        let _ = self.admits(key, &plan);
        let mut plans = self.entries.get(&key).map(|entry| entry.plans.clone()).unwrap_or_default();
        plans.retain(|old| !old.volatile.is_empty() && !old.is_of(&plan));
        plans.insert(0, Arc::new(plan));
        plans.truncate(MAX_LEARNED);
        self.entries.insert(key, Arc::new(Entry::new(plans, 0, 0)));
    }

    pub(super) fn studies(&self) -> &Studies {
        &self.studies
    }

    /// A page was one of those that are known. One that was learned is the first to be let go if it is not seen.
    pub(crate) fn confirm(&self, key: u128, plan: &Arc<Plan>) {
        self.counters.count_hit();
        let Some(entry) = self.entries.get(&key) else { return };
        let is_first = entry.plans.first().is_some_and(|first| Arc::ptr_eq(first, plan));
        let moves = !plan.volatile.is_empty() && !is_first;
        if entry.misses > 0 || moves {
            let mut plans = entry.plans.clone();
            plans.sort_by_key(|other| moves && !Arc::ptr_eq(other, plan));
            self.entries.insert(key, Arc::new(Entry::new(plans, 0, entry.paused_until)));
        }
    }

    /// A page is parsed, whether it is known or not.
    pub(crate) fn miss(&self) {
        self.counters.count_miss();
    }

    /// Is any page packed?
    pub(crate) fn packs(&self) -> bool {
        self.packer.is_some()
    }

    /// Where pages are that leave in packed form.
    pub(crate) fn addresses(&self) -> &PackedAddresses {
        &self.addresses
    }

    /// Bytes of all plans, and of the heads and aliases that are stored with them.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weight() + self.validators.bytes() + self.aliases.bytes()
    }

    pub(super) fn counters(&self) -> &PlanCounters {
        &self.counters
    }

    /// A reader, so that another one is told from them and nobody is named. The key is that of this process.
    pub(crate) fn reader(&self, visitor: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.key).hash(visitor).h1
    }

    /// May this page be packed? It was asked for lately, too.
    pub(super) fn admits(&self, key: u128, plan: &Plan) -> bool {
        self.packer.as_ref().is_some_and(|packer| packer.has_seen(door_key(key, plan)))
    }

    /// Packs a page soon.
    pub(super) fn pack(self: &Arc<Self>, job: Job) {
        if let Some(packer) = &self.packer {
            packer.submit(self, job);
        }
    }

    /// Is this plan here still?
    pub(super) fn holds(&self, key: u128, plan: &Arc<Plan>) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.plans.iter().any(|other| Arc::ptr_eq(other, plan)))
    }

    /// A plan of this page has grown.
    pub(super) fn weigh(&self, key: u128) {
        if let Some(entry) = self.entries.get(&key) {
            let entry = Entry::new(entry.plans.clone(), entry.misses, entry.paused_until);
            self.entries.insert(key, Arc::new(entry));
        }
    }

    /// Is a packed copy that leaves now one of those that are compared?
    pub(super) fn draws(&self) -> bool {
        self.packer.as_ref().is_some_and(Packer::draws)
    }

    /// False: another one is being compared.
    pub(in crate::page) fn begins_to_compare(&self) -> bool {
        self.packer.as_ref().is_some_and(Packer::begins_to_compare)
    }

    pub(super) fn compared(&self) {
        if let Some(packer) = &self.packer {
            packer.compared();
        }
    }

    /// Bytes that one page may take: a heavier one would push out others, or itself.
    pub(super) fn room_for_one(&self) -> u64 {
        self.entries.capacity() / 64
    }

    /// A packed copy of this plan was not what it should have been: no other one leaves in packed form.
    pub(super) fn tell_wrong(&self, plan: &Plan) {
        plan.shelf.give_up();
        let wrong = self.counters.count_mismatch();
        tracing::error!(
            target: "deckle",
            wrong,
            "A packed page does not inflate to the page: it is compressed for each answer from now on. Please report this."
        );
    }
}

#[cfg(any(test, feature = "cli"))]
impl PlanCache {
    /// Waits until all is packed that was asked for, a minute at most.
    pub(crate) fn settle(&self) {
        self.packer.iter().for_each(Packer::settle);
    }
}

#[cfg(feature = "cli")]
impl PlanCache {
    /// What the plan of this page holds. `None`: the page is not packed.
    pub(crate) fn packed_plan(&self, source: &bytes::Bytes) -> Option<PackedPlan> {
        let mut whole = Source::new(self)?;
        whole.push(source.clone());
        let of = |entry: &Entry| entry.plans.iter().find_map(|plan| PackedPlan::of(plan, &whole, size_of::<Entry>()));
        self.entries.iter().find_map(|(_, entry)| of(&entry))
    }
}

/// What the doorkeeper knows a page by: both are keyed hashes.
fn door_key(key: u128, plan: &Plan) -> u64 {
    key as u64 ^ plan.tail
}

#[cfg(test)]
pub(crate) use tests::plan as plan_of;

#[cfg(test)]
impl PlanCache {
    /// Plans of a page that are packed, and the bytes that the cache counts for all.
    pub(crate) fn packed(&self, key: u128) -> (usize, u64) {
        let Known::Plans(plans) = self.look_up(key, 0) else { return (0, self.entries.weight()) };
        (plans.iter().filter(|plan| plan.shelf.page().is_some()).count(), self.entries.weight())
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> super::PlanCounts {
        self.counters.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::plan::edits::CHUNK;
    use crate::page::rewrite::Outcome;

    pub(crate) fn plan(cache: &PlanCache, source: &[u8]) -> Plan {
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
        let (cache, other) = (PlanCache::new(1 << 20, None).unwrap(), PlanCache::new(1 << 20, None).unwrap());
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
        let cache = PlanCache::new(256 << 10, None).unwrap();
        for page in 0..5_000_u32 {
            let source = page.to_le_bytes().repeat(CHUNK);
            cache.learn(cache.key(&page), plan(&cache, &source), 0);
        }
        assert!(cache.entries.weight() <= 256 << 10, "{}", cache.entries.weight());
        assert!(cache.entries.len() > 100);
    }

    #[test]
    fn four_forms_of_a_page_are_known_and_a_restless_one_is_left_alone() {
        let cache = PlanCache::new(1 << 20, None).unwrap();
        let key = cache.key(&("news.example", "/a"));
        for form in 0..6_u8 {
            cache.learn(key, plan(&cache, &[form; 100]), 1_000);
        }
        let Known::Plans(plans) = cache.look_up(key, 1_000) else { panic!() };
        let tails: Vec<u64> = plans.iter().map(|p| p.tail).collect();
        assert_eq!(tails, [5, 4, 3, 2].map(|form| cache.hash([&[form; 100][..]].into_iter())));
        cache.confirm(key, &plans[0]);
        for form in 0..7_u8 {
            cache.learn(key, plan(&cache, &[form; 50]), 1_000);
            assert!(matches!(cache.look_up(key, 1_000), Known::Plans(_)), "{form}");
        }
        cache.learn(key, plan(&cache, &[9; 50]), 1_000);
        assert!(matches!(cache.look_up(key, 1_599), Known::Restless));
        assert!(matches!(cache.look_up(key, 1_600), Known::New));
        assert!(PlanCache::new(0, None).is_none());
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
    #[test]
    fn what_was_learned_stays_over_the_pause_and_while_it_is_seen() {
        let cache = PlanCache::new(1 << 20, None).unwrap();
        let learned = |page: &[u8]| Plan { volatile: Volatile::between(b"1", b"2").unwrap(), ..plan(&cache, page) };
        let known = |now| match cache.look_up(1, now) {
            Known::Plans(plans) => plans,
            _ => Vec::new(),
        };
        cache.learn_volatile(1, learned(b"1 page"));
        let first = known(1_000).remove(0);
        for form in 0..8_u8 {
            cache.learn(1, plan(&cache, &[form; 50]), 1_000);
        }
        assert_eq!(cache.counts().restless, 1);
        // It is known, and nothing else is learned meanwhile.
        for (now, count) in [(1_000, 1), (1_599, 1), (1_600, 2)] {
            cache.learn(1, plan(&cache, b"another page"), now);
            let plans = known(now);
            assert_eq!(plans.len(), count, "{now}");
            assert!(plans.iter().any(|plan| Arc::ptr_eq(plan, &first)), "{now}");
        }
        for other in 0..5_u8 {
            cache.confirm(1, &first);
            cache.learn_volatile(1, learned(&[other; 50]));
            let plans = known(1_600);
            assert_eq!(plans.len(), MAX_LEARNED);
            assert!(Arc::ptr_eq(&plans[1], &first), "{other}");
        }
        // It is not seen any more.
        cache.learn_volatile(1, learned(b"2 pages"));
        assert!(!known(1_600).iter().any(|plan| Arc::ptr_eq(plan, &first)));
    }
}
