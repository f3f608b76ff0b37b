//! One look at every visitor, by one thread a shard: what the sections want to know of all. There are very many visitors,
//! and their facts come from memory, which takes longer than to think about them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::suspects::{Ranked, ranked};
use super::tables::candidate;
use crate::review::Window;
use crate::review::engine::{Amount, BuildReady, Counts, Facts, Requests, Shard};
use crate::review::report::CandidateRow;
use crate::visitor::{Category, Verification};

/// Articles from which on it is compared who took the same.
const SEVERAL: u64 = 3;

/// Sums over visitors, not rounded yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) visitors: u64,
    pub(super) hits: Requests,
    pub(super) pages: u64,
    pub(super) bytes: Amount,
}

impl Sums {
    pub(super) fn of(facts: &Facts) -> Self {
        let mut sums = Self::default();
        sums.add(facts);
        sums
    }

    fn add(&mut self, facts: &Facts) {
        self.visitors += 1;
        self.hits += facts.hits;
        self.pages += u64::from(facts.pages);
        self.bytes += facts.bytes;
    }

    pub(super) fn add_to(self, total: &mut Self) {
        total.visitors += self.visitors;
        total.hits += self.hits;
        total.pages += self.pages;
        total.bytes += self.bytes;
    }
}

/// The visitors of a shard with one user agent, of one category and degree of certainty. Visitors are many, these are few.
#[derive(Debug)]
pub(super) struct Program<'c> {
    /// One of them.
    pub(super) facts: &'c Facts,
    pub(super) sums: Sums,
    pub(super) first: Duration,
    /// Who of them took several articles, and from which network, by its hash.
    pub(super) readers: Vec<(u64, &'c Facts)>,
}

/// What one shard tells.
#[derive(Debug)]
pub(super) struct Survey<'c> {
    /// Suspects, in no order.
    pub(super) ranked: Vec<Ranked<'c>>,
    /// A program may be in it several times: where memory did not reach, visitors have copies of the same name.
    pub(super) programs: Vec<Program<'c>>,
    /// Who is not what they say.
    pub(super) fakes: Vec<&'c Facts>,
    /// Of each visitor a part of the hash of its address.
    pub(super) addresses: Vec<u32>,
    /// Visitors that have marks.
    pub(super) marked: u64,
    pub(super) candidates: Vec<CandidateRow>,
    /// Visitors by category.
    pub(super) categories: [u64; Category::ALL.len()],
    /// The most articles, pages and requests of one that is no proven robot: these do what they are let.
    pub(super) most_by_one: [u64; 3],
    /// The most that such a one did within each span.
    pub(super) windowed: BTreeMap<Window, u64>,
}

/// Looks at all shards at once.
pub(super) fn surveys(counts: &Counts) -> Vec<Survey<'_>> {
    std::thread::scope(|scope| {
        // Where no thread can be had, the calling one does it.
        let start = |(at, shard)| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || Survey::of(at, shard));
            thread.map_err(|_| Survey::of(at, shard))
        };
        let threads: Vec<_> = counts.shards.iter().enumerate().map(start).collect();
        let done = threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure)),
            Err(survey) => survey,
        });
        done.collect()
    })
}

impl<'c> Survey<'c> {
    fn of(at: usize, shard: &'c Shard) -> Self {
        let mut survey = Self {
            ranked: Vec::new(),
            programs: Vec::new(),
            fakes: Vec::new(),
            addresses: Vec::with_capacity(shard.visitors.len()),
            marked: 0,
            candidates: Vec::new(),
            categories: [0; Category::ALL.len()],
            most_by_one: [0; 3],
            windowed: BTreeMap::new(),
        };
        let mut programs = HashMap::default();
        for (number, facts) in shard.visitors.iter().enumerate() {
            survey.ranked.extend(ranked(at, number as u32, facts));
            survey.add_program(facts, &mut programs);
            survey.addresses.push(twox_hash::XxHash3_64::oneshot(facts.address.as_bytes()) as u32);
            if facts.deckle.is_some() {
                survey.marked += u64::from(is_marked(facts));
                survey.candidates.extend(candidate(facts));
            }
            if let Some(count) = survey.categories.get_mut(facts.category as usize) {
                *count += 1;
            }
            if facts.verification != Verification::Verified {
                survey.add_most(facts, shard.rolls());
            }
        }
        survey
    }

    /// `places`: where the programs stand.
    fn add_program(&mut self, facts: &'c Facts, places: &mut HashMap<u64, usize, BuildReady>) {
        let place = *places.entry(program(facts)).or_insert_with(|| {
            let new = Program { facts, sums: Sums::default(), first: facts.first(), readers: Vec::new() };
            self.programs.push(new);
            self.programs.len() - 1
        });
        let Some(program) = self.programs.get_mut(place) else { return };
        program.sums.add(facts);
        program.first = program.first.min(facts.first());
        let is_reader = facts.articles.count() >= SEVERAL
            && facts.agent.user_agent.is_some()
            && !facts.agent.category().is_declared_bot();
        if is_reader && let Some(network) = network(&facts.address) {
            program.readers.push((network, facts));
        }
        if facts.verification == Verification::Failed {
            self.fakes.push(facts);
        }
    }

    fn add_most(&mut self, facts: &Facts, rolls: bool) {
        let of = [facts.articles.count(), facts.pages.into(), facts.hits.count()];
        self.most_by_one.iter_mut().zip(of).for_each(|(most, count)| *most = count.max(*most));
        // Spans lie elsewhere in memory.
        for (window, count) in facts.most_within().filter(|_| rolls) {
            let most = self.windowed.entry(window).or_insert(0);
            *most = count.max(*most);
        }
    }
}

/// Has it a mark?
pub(super) fn is_marked(facts: &Facts) -> bool {
    facts.deckle.as_ref().is_some_and(|deckle| deckle.marks.count() > 0)
}

/// A number for user agent, category and verification, the same for all that share them.
fn program(facts: &Facts) -> u64 {
    let agent = Arc::as_ptr(&facts.agent).addr() as u64;
    let number = (agent << 8) | ((facts.category as u64) << 3) | facts.verification as u64;
    // Tables look at the low bits, which hardly differ. Each step can be undone: no two of these numbers become one.
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_right(32)
}

/// /24 or /48.
fn network(address: &str) -> Option<u64> {
    let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
    let bytes = match bare.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(v4) => v4.octets().get(..3)?.to_vec(),
        IpAddr::V6(v6) => v6.octets().get(..6)?.to_vec(),
    };
    Some(twox_hash::XxHash3_64::oneshot(&bytes))
}
