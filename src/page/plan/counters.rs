//! What the plans of known pages are worth, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Serialize;

use super::cache::PlanCache;
use crate::page::packed::Effort;

/// Counts what plans and packed pages do. It is handed from one layer to the next
/// ([`ProtectLayer::plan_counters`](crate::page::ProtectLayer::plan_counters)), so that a reload counts on.
///
/// ```
/// use deckle::page::PlanCounters;
/// assert_eq!(PlanCounters::default().counts().hits, 0);
/// ```
#[derive(Debug, Default)]
pub struct PlanCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
    restless: AtomicU64,
    learned: AtomicU64,
    learned_hits: AtomicU64,
    packed_quick: AtomicU64,
    packed_full: AtomicU64,
    packed_answers: AtomicU64,
    packed_mismatches: AtomicU64,
    packed_confirmed: AtomicU64,
    packed_recognized: AtomicU64,
    validator_mismatches: AtomicU64,
    /// That of an old layer lives until its last answer has left.
    caches: Mutex<Vec<Weak<PlanCache>>>,
}

/// All of them at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanCounts {
    /// Pages that were like their plan to the end, and were not parsed.
    pub hits: u64,
    /// Pages that may have a plan and were parsed: they were new, different, came too slowly, or are different each time.
    pub misses: u64,
    /// Plans that were dropped to make room, or are too large to be kept.
    pub evicted: u64,
    /// Pages that were different eight times in a row: their plans were given up for ten minutes, or it was learned in what
    /// they are different.
    pub restless: u64,
    /// Those of them of which it was learned.
    pub learned: u64,
    /// Hits of such pages; they are hits, too.
    pub learned_hits: u64,
    /// Pages that were packed with little effort.
    pub packed_quick: u64,
    /// Pages that were packed for a smaller body, because many ask for them.
    pub packed_full: u64,
    /// Answers in packed form; they are hits, too.
    pub packed_answers: u64,
    /// Pages whose packed form was found wrong, before its first use or in an answer that was compared.
    pub packed_mismatches: u64,
    /// Answers in packed form whose source the site has confirmed and not sent; they are among `packed_answers`.
    pub packed_confirmed: u64,
    /// Answers in packed form whose source came compressed and was known without being read; they are among `packed_answers`.
    pub packed_recognized: u64,
    /// Hosts whose validators do not tell pages apart: there each source is compared.
    pub validator_mismatches: u64,
    /// Bytes of all plans, packed forms included.
    pub bytes: u64,
}

impl PlanCounters {
    /// The figures as they are now.
    pub fn counts(&self) -> PlanCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        PlanCounts {
            hits: of(&self.hits),
            misses: of(&self.misses),
            evicted: of(&self.evicted),
            restless: of(&self.restless),
            learned: of(&self.learned),
            learned_hits: of(&self.learned_hits),
            packed_quick: of(&self.packed_quick),
            packed_full: of(&self.packed_full),
            packed_answers: of(&self.packed_answers),
            packed_mismatches: of(&self.packed_mismatches),
            packed_confirmed: of(&self.packed_confirmed),
            packed_recognized: of(&self.packed_recognized),
            validator_mismatches: of(&self.validator_mismatches),
            bytes: caches.iter().filter_map(Weak::upgrade).map(|cache| cache.bytes()).sum(),
        }
    }

    /// The bytes of this cache count as long as it lives.
    pub(super) fn watch(&self, cache: &Arc<PlanCache>) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(Arc::downgrade(cache));
    }

    pub(super) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_evicted(&self, plans: usize) {
        self.evicted.fetch_add(plans as u64, Ordering::Relaxed);
    }

    pub(super) fn count_restless(&self) {
        self.restless.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_learned(&self) {
        self.learned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_learned_hit(&self) {
        self.learned_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_packed(&self, effort: Effort) {
        let counter = match effort {
            Effort::Quick => &self.packed_quick,
            Effort::Full => &self.packed_full,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_answer(&self) {
        self.packed_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_confirmed(&self) {
        self.packed_confirmed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_recognized(&self) {
        self.packed_recognized.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_validator_mismatch(&self) {
        self.validator_mismatches.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is how many there have been, this one included.
    pub(super) fn count_mismatch(&self) -> u64 {
        self.packed_mismatches.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::plan::cache::plan_of;

    #[test]
    fn each_event_has_its_counter() {
        let counters = PlanCounters::default();
        counters.count_hit();
        (0..2).for_each(|_| counters.count_miss());
        counters.count_evicted(3);
        (0..4).for_each(|_| counters.count_packed(Effort::Quick));
        (0..5).for_each(|_| counters.count_packed(Effort::Full));
        (0..6).for_each(|_| counters.count_answer());
        assert_eq!((1..=7).map(|_| counters.count_mismatch()).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
        (0..8).for_each(|_| counters.count_confirmed());
        (0..9).for_each(|_| counters.count_validator_mismatch());
        (0..10).for_each(|_| counters.count_restless());
        (0..11).for_each(|_| counters.count_learned());
        (0..12).for_each(|_| counters.count_learned_hit());
        (0..13).for_each(|_| counters.count_recognized());
        let expected = PlanCounts {
            hits: 1,
            misses: 2,
            evicted: 3,
            restless: 10,
            learned: 11,
            learned_hits: 12,
            packed_quick: 4,
            packed_full: 5,
            packed_answers: 6,
            packed_mismatches: 7,
            packed_confirmed: 8,
            packed_recognized: 13,
            validator_mismatches: 9,
            bytes: 0,
        };
        assert_eq!(counters.counts(), expected);
    }

    #[test]
    fn what_makes_room_is_counted_and_bytes_are_those_of_living_caches() {
        const PLANS: u64 = 5_000;
        let counters = Arc::<PlanCounters>::default();
        let make = || PlanCache::counting(64 << 10, None, Arc::clone(&counters)).unwrap();
        let full = make();
        for page in 0..PLANS {
            full.learn(full.key(&page), plan_of(&full, &page.to_le_bytes()), 0);
        }
        let counts = counters.counts();
        assert!(counts.bytes > 0 && counts.bytes <= 64 << 10, "{counts:?}");
        assert!(counts.evicted > 0 && counts.evicted < PLANS, "{counts:?}");
        // A reload: what was counted stays, and the bytes of both count while both are there.
        let next = make();
        next.learn(next.key(&1), plan_of(&next, b"a page"), 0);
        let both = counters.counts();
        assert!(both.bytes > counts.bytes && both.evicted == counts.evicted, "{both:?}");
        drop(full);
        assert_eq!(counters.counts().bytes, both.bytes - counts.bytes);
        drop(next);
        assert_eq!(counters.counts().bytes, 0);
        drop(make());
        assert_eq!(counters.caches.lock().unwrap().len(), 1, "those that have gone are forgotten");
    }
}
