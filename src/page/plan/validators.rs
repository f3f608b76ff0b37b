//! Packed pages that need not be fetched: their heads by what is asked for, and hosts that must not be believed.
//!
//! A head does not keep its plan alive. Whoever has sent its validator does, until the answer has come.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::cache::PlanCache;
use super::edits::Plan;
use super::place::Place;
use super::shelf::PackedPage;
use super::stored::Head;
use super::template::Chosen;
use crate::page::marks::{Gate, MarkRules};
use crate::page::outcome::Outcome;
use crate::page::packed::{Marks, PackedBody};
use crate::slot::Choose;

/// Of so many pages that could be confirmed one is fetched, and compared.
const COMPARED: u32 = 256;
/// Heads take this part of the room for plans, beside it.
const SHARE: u64 = 64;
/// Heads that room is made for at first; it grows.
const USUAL_HEADS: usize = 64;
/// What is known of hosts, by their keyed hashes. Two that meet in one place are believed as little as the worse of them.
const HOSTS: usize = 4_096;

/// Bounded by bytes.
pub(super) struct Validators {
    heads: Cache<u128, Arc<Stored>, Bytes>,
    /// Those whose validators do not tell pages apart.
    distrusted: Box<[AtomicBool]>,
    /// Pages that could be confirmed.
    asked: AtomicU32,
}

/// The head of a packed page, and what it is the head of. One answer is not enough to ask with it: its fields may have been
/// meant for its reader alone.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: Arc<Head>,
    /// What shapes the page beside its source, by their hashes: the wish of the site, and the style sheets.
    pub(crate) wish: u128,
    style: u64,
    key: u128,
    plan: Weak<Plan>,
    /// The reader whose answer it was the head of, by a keyed hash.
    first: u64,
    /// Another one has got the same.
    ready: AtomicBool,
    /// A 304 has said which tag it confirms.
    names_tags: AtomicBool,
}

impl Stored {
    /// May the site be asked with its validator?
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Has a 304 said which tag it confirms?
    pub(crate) fn names_tags(&self) -> bool {
        self.names_tags.load(Ordering::Relaxed)
    }

    /// A 304 has said which tag it confirms.
    pub(crate) fn learn_that_it_names_tags(&self) {
        self.names_tags.store(true, Ordering::Relaxed);
    }

    /// Is it the same head of the same page?
    fn is_that_of(&self, other: &Self) -> bool {
        let shapes = |stored: &Self| (stored.wish, stored.style, stored.key);
        self.head == other.head && shapes(self) == shapes(other) && Weak::ptr_eq(&self.plan, &other.plan)
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Arc<Stored>> for Bytes {
    fn weight(&self, _: &u128, stored: &Arc<Stored>) -> u64 {
        (size_of::<Stored>() + stored.head.size()) as u64
    }
}

impl Validators {
    /// `bytes`: the room for plans.
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            heads: Cache::with_weighter(USUAL_HEADS, (bytes / SHARE).max(1), Bytes),
            distrusted: (0..HOSTS).map(|_| AtomicBool::new(false)).collect(),
            asked: AtomicU32::new(0),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.heads.weight()
    }
}

impl PlanCache {
    /// What is stored for requests of this key.
    pub(crate) fn stored(&self, front: u128) -> Option<Arc<Stored>> {
        self.validators.heads.get(&front)
    }

    /// It holds no more.
    pub(crate) fn forget(&self, front: u128, stored: &Arc<Stored>) {
        self.validators.heads.remove_if(&front, |other| Arc::ptr_eq(other, stored));
    }

    /// Is the next page that could be confirmed one of those that are compared? To be asked of no other page.
    pub(crate) fn compares_next(&self) -> bool {
        self.validators.asked.fetch_add(1, Ordering::Relaxed) % COMPARED == COMPARED - 1
    }

    /// Do its validators tell pages apart, for all that is known?
    pub(crate) fn trusts(&self, host: &str) -> bool {
        self.distrusted(host).is_some_and(|distrusted| !distrusted.load(Ordering::Relaxed))
    }

    /// Its validators do not tell pages apart: it is not asked by them again.
    pub(crate) fn distrust(&self, host: &str) {
        let Some(distrusted) = self.distrusted(host) else { return };
        if !distrusted.swap(true, Ordering::Relaxed) {
            self.counters().count_validator_mismatch();
            tracing::warn!(
                target: "deckle",
                host,
                "Validators of this host cannot be relied on (two pages with one, or a 304 that names another): each page is fetched as a whole from now on."
            );
        }
    }

    /// All hosts are believed again. No head is stored any more: what the site is told of its readers may be something else now.
    pub(crate) fn trust_all(&self) {
        self.validators.heads.clear();
        self.validators.distrusted.iter().for_each(|host| host.store(false, Ordering::Relaxed));
    }

    fn distrusted(&self, host: &str) -> Option<&AtomicBool> {
        self.validators.distrusted.get(self.reader(host.as_bytes()) as usize % HOSTS)
    }
}

#[cfg(test)]
impl PlanCache {
    /// How many heads are stored.
    pub(crate) fn heads(&self) -> usize {
        self.validators.heads.len()
    }
}

/// A packed page that the site may confirm: all that its answer takes is held from when its validator was sent.
pub(crate) struct Held {
    cache: Arc<PlanCache>,
    stored: Arc<Stored>,
    plan: Arc<Plan>,
    page: Arc<PackedPage>,
    marks: Marks,
    /// Channels that the page shuts out.
    off: Gate,
}

/// A page that was confirmed.
pub(crate) struct Confirmed {
    pub(crate) body: PackedBody,
    /// As of an answer whose source has come.
    pub(crate) outcome: Outcome,
    /// Bytes of its source.
    pub(crate) read: u64,
    /// Bytes of the copy before it was compressed.
    pub(crate) written: u64,
}

impl Held {
    /// `None`: the page is gone, or its packed form does not fit a copy that is chosen so under these rules; or the source of
    /// each answer is needed.
    pub(crate) fn of(
        cache: &Arc<PlanCache>,
        stored: &Arc<Stored>,
        rules: &MarkRules,
        choose: &mut dyn Choose,
    ) -> Option<Self> {
        let plan = stored.plan.upgrade().filter(|_| stored.style == style(rules) && !choose.has_fills())?;
        if plan.is_different_each_time() {
            return None;
        }
        let chosen = Chosen::of(choose)?;
        let off = rules.judge(&plan.outcome.sheets);
        let page = plan.shelf.page().filter(|page| page.channels == chosen.channels(off))?;
        let marks = chosen.marks(&page.choosers, choose)?;
        let (cache, stored) = (Arc::clone(cache), Arc::clone(stored));
        Some(Self { cache, stored, plan, page, marks, off })
    }

    /// The site has confirmed it for this reader.
    pub(crate) fn confirm(&self, reader: Option<u64>) -> Confirmed {
        self.cache.confirm(self.stored.key, &self.plan);
        self.cache.counters().count_answer();
        self.cache.counters().count_confirmed();
        // It counts as seen; whatever it should be packed in, its source is not here.
        let _ = self.plan.shelf.see(reader, &self.page.channels);
        let off = if self.plan.edits.have_gated() { self.off } else { Gate::default() };
        let body = self.page.packed.body(self.marks.clone());
        Confirmed {
            written: body.page(),
            body,
            outcome: Outcome { carriers: self.page.carriers, off, ..self.plan.outcome.clone() },
            read: self.plan.len as u64,
        }
    }
}

/// What is remembered of an answer when it has come to its end.
#[derive(Debug)]
pub(crate) struct Memory {
    host: Box<str>,
    front: u128,
    /// Stored with the validator of this answer: it must be the same page.
    expected: Option<Arc<Stored>>,
    /// To be stored.
    head: Option<Arc<Head>>,
    wish: u128,
    style: u64,
}

impl Memory {
    /// `front`: by which key the head will be looked for.
    pub(crate) fn new(host: &str, front: u128, expected: Option<Arc<Stored>>, head: Option<Head>) -> Self {
        Self { host: host.into(), front, expected, head: head.map(Arc::new), wish: 0, style: 0 }
    }

    /// What the site wishes of the page, by its hash.
    pub(crate) fn wished(self, wish: u128) -> Self {
        Self { wish, ..self }
    }

    /// The rules by which the page is read.
    pub(crate) fn ruled(self, rules: &MarkRules) -> Self {
        Self { style: style(rules), ..self }
    }
}

impl Place {
    /// The page was that of this plan, to its end.
    pub(crate) fn remember(&self, plan: &Arc<Plan>) {
        self.compare(plan);
        let Some(memory) = &self.memory else { return };
        // Only its source says what is different this time.
        let may_be_confirmed = self.exact && !plan.is_different_each_time() && plan.shelf.page().is_some();
        let Some(head) = memory.head.as_ref().filter(|_| may_be_confirmed) else { return };
        // Nobody could tell another reader from one without a name.
        let Some(reader) = self.reader else { return };
        let stored = Stored {
            head: Arc::clone(head),
            wish: memory.wish,
            style: memory.style,
            key: self.key,
            plan: Arc::downgrade(plan),
            first: reader,
            ready: AtomicBool::new(false),
            names_tags: AtomicBool::new(false),
        };
        match self.cache.stored(memory.front) {
            Some(known) if known.is_that_of(&stored) => {
                if known.first != reader {
                    known.ready.store(true, Ordering::Relaxed);
                }
            }
            // Its validator does not stand for its fields: nobody can tell which of them are meant for all.
            Some(known) if known.head.tag == head.tag && !known.head.says_the_same_as(head) => {
                self.cache.forget(memory.front, &known);
            }
            _ => self.cache.validators.heads.insert(memory.front, Arc::new(stored)),
        }
    }

    /// The page has come to its end. With the validator of another one it says that those of its host are worth nothing.
    pub(crate) fn compare(&self, plan: &Plan) {
        let Some(memory) = &self.memory else { return };
        let known = memory.expected.as_ref().and_then(|stored| stored.plan.upgrade());
        if known.is_some_and(|known| !known.is_of(plan)) {
            self.cache.distrust(&memory.host);
        }
    }
}

/// What the style sheets of a host say, by its hash.
fn style(rules: &MarkRules) -> u64 {
    rules.sheets.as_ref().map_or(0, |sheets| sheets.fingerprint())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http::HeaderMap;

    use super::*;
    use crate::page::packed::{Effort, Template, pack};
    use crate::page::plan::cache::plan_of;
    use crate::page::plan::stored::Sent;
    use crate::page::plan::template::Channels;
    use crate::page::plan::volatile::Volatile;
    use crate::slot::{Carriers, Unmarked};

    fn place(cache: &Arc<PlanCache>, front: u128, expected: Option<Arc<Stored>>) -> Place {
        let mut parts = http::Response::new(()).into_parts().0;
        parts.headers.insert("etag", "\"v1\"".parse().unwrap());
        let head = Head::of(&parts, &Sent::Request(&HeaderMap::new()));
        let memory = Some(Arc::new(Memory::new("news.example", front, expected, head)));
        Place { cache: Arc::clone(cache), key: 1, now: 0, exact: true, reader: Some(1), memory }
    }

    fn stored(cache: &Arc<PlanCache>, front: u128, plan: &Arc<Plan>) -> Arc<Stored> {
        let memory = place(cache, front, None).memory.unwrap();
        let head = Arc::clone(memory.head.as_ref().unwrap());
        let (ready, names_tags) = (AtomicBool::new(true), AtomicBool::new(false));
        let plan = Arc::downgrade(plan);
        let stored = Arc::new(Stored { head, wish: 0, style: 0, key: 1, plan, first: 1, ready, names_tags });
        cache.validators.heads.insert(front, Arc::clone(&stored));
        stored
    }

    fn pack_quickly(plan: &Plan) {
        let template = Template { bytes: b"a page".to_vec(), ..Template::default() };
        plan.shelf.put(PackedPage {
            packed: Arc::new(pack(&template, Effort::Quick).unwrap()),
            channels: Channels::default(),
            carriers: Carriers::default(),
            choosers: Box::default(),
            volatile: Volatile::default(),
            effort: Effort::Quick,
        });
    }

    #[test]
    fn heads_are_bounded_by_bytes_and_counted() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        for front in 0..5_000 {
            stored(&cache, front, &plan);
        }
        let bytes = cache.bytes();
        assert!(bytes > 16 << 10 && bytes <= (8 << 20) / SHARE, "{bytes}");
        assert!(cache.counts().bytes == bytes);
    }

    #[test]
    fn hosts_are_believed_again_and_what_is_stored_is_looked_for_anew() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        stored(&cache, 7, &plan);
        cache.distrust("news.example");
        assert!(!cache.trusts("news.example"));
        cache.trust_all();
        assert!(cache.trusts("news.example") && cache.stored(7).is_none());
    }

    #[test]
    fn a_head_is_of_no_use_when_its_plan_has_gone() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        let stored = stored(&cache, 7, &plan);
        let held = || Held::of(&cache, &stored, &MarkRules::default(), &mut Unmarked);
        assert!(held().is_none(), "it is not packed");
        drop(plan);
        assert!(held().is_none() && stored.plan.upgrade().is_none());
        assert!(cache.stored(7).is_some());
        cache.forget(7, &stored);
        assert!(cache.stored(7).is_none());
    }

    #[test]
    fn only_what_is_packed_is_stored_and_it_stays_until_it_is_answered() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        place(&cache, 7, None).remember(&plan);
        assert!(cache.stored(7).is_none());
        pack_quickly(&plan);
        place(&cache, 7, None).remember(&plan);
        let stored = cache.stored(7).unwrap();
        let rules = MarkRules::default();
        let held = Held::of(&cache, &stored, &rules, &mut Unmarked).unwrap();
        // The plan makes room for others while the site thinks.
        plan.shelf.give_up();
        drop(plan);
        assert!(Held::of(&cache, &stored, &rules, &mut Unmarked).is_none());
        let confirmed = held.confirm(None);
        let body: Vec<u8> = confirmed.body.flatten().collect();
        let mut page = String::new();
        flate2::read::GzDecoder::new(&*body).read_to_string(&mut page).unwrap();
        assert_eq!((page.as_str(), confirmed.read, confirmed.written), ("a page", 6, 6));
        let counts = cache.counts();
        assert_eq!((counts.hits, counts.packed_answers, counts.packed_confirmed), (1, 1, 1));
        drop(held);
        assert!(stored.plan.upgrade().is_none());
    }

    #[test]
    fn a_page_that_is_different_each_time_is_never_confirmed() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let volatile = Volatile::between(b"1 page", b"2 page").unwrap();
        let plan = Arc::new(Plan { volatile, ..plan_of(&cache, b"1 page") });
        pack_quickly(&plan);
        for reader in [Some(1), Some(2)] {
            Place { reader, ..place(&cache, 7, None) }.remember(&plan);
            assert!(cache.stored(7).is_none());
        }
        // As if it had been.
        let stored = stored(&cache, 7, &plan);
        assert!(Held::of(&cache, &stored, &MarkRules::default(), &mut Unmarked).is_none());
    }

    #[test]
    fn a_head_is_ready_when_another_reader_has_got_the_same() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plans = [b"a page", b"1 page"].map(|source| Arc::new(plan_of(&cache, source)));
        for plan in &plans {
            pack_quickly(plan);
        }
        let see = |reader: Option<u64>, plan: &Arc<Plan>, key: u128| {
            Place { key, reader, ..place(&cache, 7, None) }.remember(plan);
            cache.stored(7).map(|stored| stored.is_ready())
        };
        assert_eq!(see(None, &plans[0], 1), None, "nobody in particular is told from nobody");
        for (reader, ready) in [(Some(1), false), (Some(1), false), (None, false), (Some(2), true), (Some(1), true)] {
            assert_eq!(see(reader, &plans[0], 1), Some(ready), "{reader:?}");
        }
        // Of another plan, or of another place, it is another head.
        for (plan, key) in [(&plans[1], 1), (&plans[1], 2)] {
            assert_eq!((see(Some(3), plan, key), see(Some(3), plan, key)), (Some(false), Some(false)));
            assert_eq!(see(Some(4), plan, key), Some(true));
        }
    }

    #[test]
    fn a_head_that_came_with_other_fields_under_its_validator_is_forgotten() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        pack_quickly(&plan);
        let with = |own: &str, reader: u64| {
            let mut parts = http::Response::new(()).into_parts().0;
            parts.headers.insert("etag", "\"v1\"".parse().unwrap());
            parts.headers.insert("x-own", own.parse().unwrap());
            let head = Head::of(&parts, &Sent::Request(&HeaderMap::new()));
            let memory = Some(Arc::new(Memory::new("news.example", 7, None, head)));
            Place { memory, reader: Some(reader), ..place(&cache, 7, None) }.remember(&plan);
            cache.stored(7).map(|stored| stored.is_ready())
        };
        assert_eq!((with("1", 1), with("1", 2)), (Some(false), Some(true)));
        assert_eq!((with("2", 3), with("2", 3), with("2", 4)), (None, Some(false), Some(true)));
    }

    #[test]
    fn a_host_that_lies_once_is_not_believed_again() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let plan = Arc::new(plan_of(&cache, b"a page"));
        let first = stored(&cache, 7, &plan);
        // The same source, read once more.
        place(&cache, 7, Some(Arc::clone(&first))).compare(&plan_of(&cache, b"a page"));
        place(&cache, 7, None).compare(&plan_of(&cache, b"another page"));
        assert!(cache.trusts("news.example"));
        for _ in 0..3 {
            place(&cache, 7, Some(Arc::clone(&first))).compare(&plan_of(&cache, b"another page"));
        }
        assert!(!cache.trusts("news.example"));
        assert_eq!(cache.counts().validator_mismatches, 1, "it is said once");
        let others = (0..100).filter(|number| cache.trusts(&format!("{number}.example"))).count();
        assert!(others >= 97, "{others}");
    }

    #[test]
    fn one_of_256_is_compared() {
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        let compared = (0..2_560).filter(|_| cache.compares_next()).count();
        assert_eq!(compared, 10);
    }
}
