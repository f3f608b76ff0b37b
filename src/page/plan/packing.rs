//! Packs pages on a thread of its own: never on the path of a request, a quarter of one core at most, and only what was
//! asked for twice.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
#[cfg(any(test, feature = "cli"))]
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::budget::Budget;
use super::cache::PlanCache;
use super::doorkeeper::Doorkeeper;
use super::edits::Plan;
use super::shelf::PackedPage;
use super::source::Source;
use super::template::{Channels, Copies, copies};
use super::volatile::Volatile;
use crate::page::output::Output;
use crate::page::packed::{COLUMNS, Effort, MAX_CHOICES, Marks, Packed, Refused, SEAL_SYMBOLS, Template, pack};

/// Pages that wait; the newest one is dropped when there are more.
const MAX_JOBS: usize = 64;
/// Bytes of source that they hold together.
const MAX_WAITING: usize = 16 << 20;
/// How long to wait for all of them.
#[cfg(any(test, feature = "cli"))]
const PATIENCE: Duration = Duration::from_secs(60);

/// A page to be packed.
pub(super) struct Job {
    pub(super) key: u128,
    pub(super) plan: Arc<Plan>,
    /// The whole of it.
    pub(super) source: Source,
    pub(super) channels: Channels,
    pub(super) effort: Effort,
}

/// Why a page is not packed.
#[derive(Debug, thiserror::Error)]
enum NotPacked {
    #[error("a tag holds the mark, or the plan is not that of the source")]
    NoTemplate,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("a copy does not inflate to the page")]
    Wrong,
}

/// Of one cache. Its thread is started with the first page, and ends with the cache.
pub(super) struct Packer {
    queue: Arc<Queue>,
    doorkeeper: Mutex<Doorkeeper>,
    /// Of so many copies one is compared; 0: none.
    check: u32,
    /// One is being compared: a whole page is held for it.
    comparing: AtomicBool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// What is being packed.
    busy: Option<Arc<Plan>>,
    started: bool,
    closed: bool,
}

impl Packer {
    /// `check`: of so many copies one is compared with the page; 0: none.
    pub(super) fn new(check: u32) -> Self {
        Self { queue: Arc::default(), doorkeeper: Mutex::default(), check, comparing: AtomicBool::new(false) }
    }

    /// Was this page seen lately? From now on it was.
    pub(super) fn has_seen(&self, page: u64) -> bool {
        self.doorkeeper.lock().unwrap_or_else(PoisonError::into_inner).see(page)
    }

    /// Packs a page soon, if there is room for it and nobody has asked for it before.
    pub(super) fn submit(&self, cache: &Arc<PlanCache>, job: Job) {
        let mut state = self.queue.lock();
        let waiting: usize = state.jobs.iter().map(|waiting| waiting.source.len()).sum();
        let full = state.jobs.len() >= MAX_JOBS || waiting + job.source.len() > MAX_WAITING;
        let mut plans = state.busy.iter().chain(state.jobs.iter().map(|waiting| &waiting.plan));
        if full || state.closed || plans.any(|plan| Arc::ptr_eq(plan, &job.plan)) {
            return;
        }
        state.jobs.push_back(job);
        if !std::mem::replace(&mut state.started, true) {
            let (queue, cache) = (Arc::clone(&self.queue), Arc::downgrade(cache));
            let thread = std::thread::Builder::new().name("deckle-pack".to_owned());
            if let Err(error) = thread.spawn(move || work(&queue, &cache)) {
                tracing::warn!(target: "deckle", %error, "Pages are not packed: there is no thread for it.");
                state.closed = true;
                state.jobs.clear();
            }
        }
        drop(state);
        self.queue.changed.notify_all();
    }

    /// Is this copy one of those that are compared, by lot?
    pub(super) fn draws(&self) -> bool {
        self.check > 0 && fastrand::u32(..self.check) == 0
    }

    /// One copy at a time is compared, until [`Packer::compared`].
    pub(super) fn begins_to_compare(&self) -> bool {
        !self.comparing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn compared(&self) {
        self.comparing.store(false, Ordering::Relaxed);
    }

    /// Waits until all is packed that was asked for, a minute at most.
    #[cfg(any(test, feature = "cli"))]
    pub(super) fn settle(&self) {
        let works = |state: &mut State| !state.jobs.is_empty() || state.busy.is_some();
        let settled = self.queue.changed.wait_timeout_while(self.queue.lock(), PATIENCE, works);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next page; waits for it, and for the time to pack it. `None`: there will be no more.
    fn next(&self, budget: &mut Budget, start: Instant) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let wait = budget.wait(start.elapsed());
            if !wait.is_zero() {
                state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            } else if let Some(job) = state.jobs.pop_front() {
                state.busy = Some(Arc::clone(&job.plan));
                return Some(job);
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn work(queue: &Queue, cache: &Weak<PlanCache>) {
    let start = Instant::now();
    let mut budget = Budget::default();
    while let Some(job) = queue.next(&mut budget, start) {
        let begun = start.elapsed();
        if let Some(cache) = cache.upgrade()
            && catch_unwind(AssertUnwindSafe(|| run(&job, &cache))).is_err()
        {
            cache.tell_wrong(&job.plan);
        }
        budget.spend(start.elapsed().saturating_sub(begun));
        drop(job);
        queue.lock().busy = None;
        queue.changed.notify_all();
    }
}

fn run(job: &Job, cache: &PlanCache) {
    if !cache.holds(job.key, &job.plan) {
        return;
    }
    match packed(job) {
        Ok(page) => {
            if page.packed.size() as u64 > cache.room_for_one() {
                // The cache would let go of the plan, too.
                return job.plan.shelf.give_up();
            }
            tracing::debug!(target: "deckle", bytes = page.packed.size(), effort = ?job.effort, "A page is packed.");
            job.plan.shelf.put(page);
            cache.weigh(job.key);
            cache.counters().count_packed(job.effort);
        }
        Err(NotPacked::Wrong) => cache.tell_wrong(&job.plan),
        Err(reason) => {
            job.plan.shelf.give_up();
            tracing::debug!(target: "deckle", %reason, "A page is not packed.");
        }
    }
}

/// The packed form of a page, when copies of it are right.
fn packed(job: &Job) -> Result<PackedPage, NotPacked> {
    let copies = copies(&job.plan, &job.source, &job.channels).ok_or(NotPacked::NoTemplate)?;
    let Copies { template, carriers, choosers, volatile } = copies;
    let packed = pack(&template, job.effort)?;
    let volatile: Volatile = volatile.into_iter().collect();
    if !is_the_page(&packed, &template, volatile.bytes(&job.source)) {
        return Err(NotPacked::Wrong);
    }
    let (packed, choosers, channels) = (Arc::new(packed), choosers.into(), job.channels.clone());
    Ok(PackedPage { packed, channels, carriers, choosers, volatile, effort: job.effort })
}

/// Three copies are looked at: state 0, with the volatile bytes of this source, a random one, and one that has all that the second
/// has not, so each column and each text was there once in each state, and so was each bit of the volatile bytes.
fn is_the_page(packed: &Packed, template: &Template, volatile: Arc<[u8]>) -> bool {
    let (row, choices) = (Arc::new([0; COLUMNS / 64]), Arc::default());
    let mut marks = Marks { row, seal: [0; SEAL_SYMBOLS], nonce: None, choices, volatile };
    let zero = packed.check(template, &marks);
    let row: [u64; COLUMNS / 64] = std::array::from_fn(|_| fastrand::u64(..));
    let choices: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..2)).take(MAX_CHOICES).collect();
    marks.row = Arc::new(row);
    marks.seal = std::array::from_fn(|_| fastrand::u8(..8));
    marks.choices = choices.as_slice().into();
    marks.volatile = marks.volatile.iter().map(|_| fastrand::u8(..)).collect();
    let random = zero && packed.check(template, &marks);
    marks.row = Arc::new(row.map(|columns| !columns));
    marks.seal = marks.seal.map(|symbol| 7 - symbol);
    marks.choices = choices.iter().map(|choice| 1 - choice).collect();
    marks.volatile = marks.volatile.iter().map(|byte| !byte).collect();
    random && packed.check(template, &marks)
}

/// A page that is packed, for who wants to pack it once more.
#[cfg(feature = "cli")]
pub(crate) struct PackedPlan {
    /// The page as it was packed.
    pub(crate) template: Template,
    /// Bytes in memory of its plan, the packed form and the place in the cache included.
    pub(crate) bytes: usize,
}

#[cfg(feature = "cli")]
impl PackedPlan {
    /// `entry`: bytes of the place in the cache. `None`: the plan is not packed, or is one of another source.
    pub(super) fn of(plan: &Plan, source: &Source, entry: usize) -> Option<Self> {
        let page = plan.shelf.page()?;
        let Copies { template, .. } = copies(plan, source, &page.channels)?;
        Some(Self { template, bytes: entry + plan.size() })
    }
}

/// Compares a packed copy with the ordinary one, beside the answers.
pub(super) fn compare(cache: Arc<PlanCache>, plan: Arc<Plan>, page: Arc<PackedPage>, marks: Marks, plain: Output) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return cache.compared() };
    runtime.spawn_blocking(move || {
        if !is_right(&page, &marks, plain) {
            cache.tell_wrong(&plan);
        }
        cache.compared();
    });
}

fn is_right(page: &PackedPage, marks: &Marks, mut plain: Output) -> bool {
    let frames: Vec<Bytes> = std::iter::from_fn(|| plain.take()).collect();
    page.packed.makes(&frames.concat(), marks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::packed::Choice;

    #[test]
    fn a_quarter_of_one_core_is_spent_at_most() {
        let (mut budget, mut now, mut spent) = (Budget::default(), Duration::ZERO, Duration::ZERO);
        let cost = Duration::from_millis(300);
        while now < Duration::from_secs(100) {
            now += budget.wait(now);
            if budget.wait(now).is_zero() {
                budget.spend(cost);
                now += cost;
                spent += cost;
            }
        }
        // What may be spent at once, a quarter of the time, and a page that had begun.
        assert!(spent <= Duration::from_millis(2_500 + 25_000 + 300 + 300), "{spent:?}");
        assert!(spent >= Duration::from_secs(25), "{spent:?}");
        // Who has waited long may not spend more.
        assert!(budget.wait(now + Duration::from_secs(1_000)).is_zero());
        budget.spend(Duration::from_secs(3));
        assert_eq!(budget.wait(now + Duration::from_secs(1_000)), Duration::from_secs(2));
    }

    #[test]
    fn a_copy_that_is_wrong_ends_the_packed_form_of_its_page() {
        let cache = PlanCache::new(1 << 20, Some(0)).unwrap();
        let text = b"<!doctype html><p>a page";
        let plan = Arc::new(super::super::cache::plan_of(&cache, text));
        let source = Source::of(&cache, Bytes::from_static(text));
        let (channels, effort) = (Channels::default(), Effort::Quick);
        let page = packed(&Job { key: 1, plan: Arc::clone(&plan), source, channels, effort }).unwrap();
        let (row, choices, volatile) = (Arc::new([0; COLUMNS / 64]), Arc::default(), Arc::default());
        let marks = Marks { row, seal: [0; SEAL_SYMBOLS], nonce: None, choices, volatile };
        for (copy, right) in [(&text[..], true), (&text[1..], false), (&b""[..], false)] {
            let mut plain = Output::default();
            plain.copy(copy);
            assert_eq!(is_right(&page, &marks, plain), right);
        }
        plan.shelf.put(page);
        assert!(plan.shelf.page().is_some());
        cache.tell_wrong(&plan);
        assert!(plan.shelf.page().is_none());
        assert_eq!(cache.counts().packed_mismatches, 1);
    }

    #[test]
    fn each_text_of_a_choice_is_looked_at() {
        let page = |texts: [&'static str; 2]| {
            let choices = vec![Choice { at: 2, texts: texts.map(Bytes::from) }];
            Template { bytes: b"a page".to_vec(), choices, ..Template::default() }
        };
        let packed = pack(&page(["one", "other"]), Effort::Quick).unwrap();
        let is_that_of = |texts| is_the_page(&packed, &page(texts), Arc::default());
        for _ in 0..20 {
            assert!(is_that_of(["one", "other"]));
            assert!(!is_that_of(["one", "others"]) && !is_that_of(["once", "other"]));
        }
    }

    #[test]
    fn volatile_bytes_are_those_of_each_source_and_nothing_of_them_is_kept() {
        let cache = PlanCache::new(1 << 20, Some(0)).unwrap();
        let texts = [b"<!doctype html><p class='12:59'>a page", b"<!doctype html><p class='13:48'>a page"];
        let volatile = Volatile::between(texts[0], texts[1]).unwrap();
        let plan = Arc::new(Plan { volatile, ..super::super::cache::plan_of(&cache, texts[0]) });
        let [first, second] = texts.map(|text| Source::of(&cache, Bytes::from_static(text)));
        let own = |page: &PackedPage, source: &Source| {
            let (row, choices) = (Arc::new([0; COLUMNS / 64]), Arc::default());
            Marks { row, seal: [0; SEAL_SYMBOLS], nonce: None, choices, volatile: page.volatile.bytes(source) }
        };
        let mut made = Vec::new();
        for source in [first, second] {
            let (plan, channels) = (Arc::clone(&plan), Channels::default());
            let job = Job { key: 1, plan, source, channels, effort: Effort::Full };
            let page = packed(&job).unwrap();
            for text in texts {
                let marks = own(&page, &Source::of(&cache, Bytes::from_static(text)));
                assert!(texts.iter().all(|copy| page.packed.makes(&copy[..], &marks) == (*copy == text)));
                let mut plain = Output::default();
                plain.copy(&text[..]);
                assert!(is_right(&page, &marks, plain));
            }
            made.push(page);
        }
        assert!(made[0].packed == made[1].packed && made[0].volatile == made[1].volatile);
    }

    #[test]
    fn volatile_bytes_that_stand_elsewhere_are_noticed() {
        let page = |start: u32| {
            let volatile = Some(start..start + 2).into_iter().collect();
            Template { bytes: b"a 0000 page".to_vec(), volatile, ..Template::default() }
        };
        let packed = pack(&page(2), Effort::Quick).unwrap();
        let is_that_of = |start, own: &[u8]| is_the_page(&packed, &page(start), own.into());
        for own in [b"12", b"00"] {
            assert!(is_that_of(2, own) && !is_that_of(3, own) && !is_that_of(4, own), "{own:?}");
        }
    }

    #[test]
    fn what_waits_has_a_bound_and_is_asked_for_once() {
        let cache = PlanCache::new(1 << 20, Some(0)).unwrap();
        let packer = Packer::new(0);
        // As if a thread was there, and busy.
        packer.queue.lock().started = true;
        let job = |plan: &Arc<Plan>, length: usize| {
            let source = Source::of(&cache, Bytes::from(vec![b'x'; length]));
            let channels = Channels::default();
            Job { key: 1, plan: Arc::clone(plan), source, channels, effort: Effort::Quick }
        };
        let plan = || Arc::new(super::super::cache::plan_of(&cache, b"x"));
        let first = plan();
        packer.submit(&cache, job(&first, 1));
        packer.submit(&cache, job(&first, 1));
        assert_eq!(packer.queue.lock().jobs.len(), 1);
        for _ in 0..100 {
            packer.submit(&cache, job(&plan(), 1));
        }
        let queued = packer.queue.lock().jobs.len();
        assert!(queued == MAX_JOBS && Arc::ptr_eq(&packer.queue.lock().jobs[0].plan, &first));
        packer.queue.lock().jobs.clear();
        for _ in 0..100 {
            packer.submit(&cache, job(&plan(), 1 << 20));
        }
        assert_eq!(packer.queue.lock().jobs.len(), 16);
    }
}
