//! Counts that need no visitor: by category, hour, status, path, referrer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::distinct::BuildReady;
use super::row::{Kind, Row};
use super::shard::origin;
use super::weight::{Amount, Requests, Weight};
use crate::action::Action;
use crate::suspicion::is_probe;
use crate::visitor::Category;

/// Paths and referrers that are told apart.
const MAX_NAMES: usize = 65_536;
/// Longest name of a host (RFC 1035 §2.3.4), and a port.
const MAX_ORIGIN: usize = 261;
/// Bytes of a path beside its own, with its place in the table, about.
const ONE: usize = 2 * size_of::<(Box<str>, u64)>() + 16;
/// Visitors of one referrer that are remembered.
const MAX_VISITORS: usize = 32;

/// One category.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CategoryCounts {
    pub(crate) hits: Requests,
    pub(crate) pages: u64,
    pub(crate) bytes: Amount,
    pub(crate) upstream_us: Amount,
    pub(crate) knows_upstream: bool,
}

/// One referrer.
#[derive(Debug, Default)]
pub(crate) struct ReferrerCounts {
    pub(crate) name: Box<str>,
    pub(crate) hits: Requests,
    pub(crate) visitors: Vec<u32>,
}

/// The counts of a shard.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: Requests,
    pub(crate) bytes: Amount,
    pub(crate) first: Option<Duration>,
    pub(crate) last: Duration,
    categories: [CategoryCounts; Category::ALL.len()],
    /// Hits by hour since 1970: of declared robots, and of all others.
    pub(crate) hours: BTreeMap<u32, [Requests; 2]>,
    /// By the three digits; 0 for none.
    statuses: Vec<Requests>,
    pub(crate) not_found: HashMap<Box<str>, u64>,
    pub(crate) probes: HashMap<Box<str>, u64>,
    pub(crate) referrers: HashMap<u64, ReferrerCounts, BuildReady>,
    pub(crate) done: [Requests; Action::ALL.len()],
    pub(crate) would: [Requests; Action::ALL.len()],
    pub(crate) marks: u64,
    /// Some hits stand for many.
    pub(crate) sampled: bool,
    hour: (u32, [Requests; 2]),
    /// Bytes that the paths take, about, and may take.
    path_bytes: usize,
    path_bound: usize,
}

impl Tally {
    /// `path_bound`: bytes that paths which were not found may take.
    pub(super) fn new(path_bound: usize) -> Self {
        Self { path_bound, ..Self::default() }
    }

    /// Bytes that they take, about.
    pub(super) fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    pub(super) fn add(&mut self, row: &Row<'_>, visitor: u32) {
        let hit = &row.hit;
        self.hits += row.weight;
        self.sampled |= row.weight != Weight::ONE;
        self.bytes.note(row.weight, hit.bytes);
        self.first = Some(self.first.map_or(hit.time, |first| first.min(hit.time)));
        self.last = self.last.max(hit.time);
        let Some(of) = self.categories.get_mut(row.category as usize) else { return };
        of.hits += row.weight;
        of.pages += u64::from(row.kind.is_page());
        of.bytes.note(row.weight, hit.bytes);
        of.upstream_us.note(row.weight, hit.upstream_us.unwrap_or(0));
        of.knows_upstream |= hit.upstream_us.is_some();
        self.add_hour(row);
        let status = hit.status.unwrap_or(0);
        if self.statuses.is_empty() {
            self.statuses = vec![Requests::default(); 1_000];
        }
        if let Some(hits) = self.statuses.get_mut(usize::from(status)) {
            *hits += row.weight;
        }
        if matches!(status, 404 | 410 | 403) && row.kind != Kind::Asset {
            self.add_missing(&hit.path);
        }
        if let Some(referer) = hit.referer.as_deref() {
            self.add_referrer(referer, row, visitor);
        }
        if let Some(fields) = &hit.deckle {
            let place = |code: &str| Action::ALL.iter().position(|action| action.code() == code);
            if let Some(done) = place(&fields.action).and_then(|at| self.done.get_mut(at)) {
                *done += row.weight;
            }
            let would = fields.would_action.as_deref().and_then(place);
            if let Some(would) = would.and_then(|at| self.would.get_mut(at)) {
                *would += row.weight;
            }
            self.marks += u64::from(fields.mark.is_some());
        }
    }

    /// Categories that came, with what they did.
    pub(crate) fn categories(&self) -> impl Iterator<Item = (Category, &CategoryCounts)> {
        Category::ALL.into_iter().zip(&self.categories).filter(|(_, of)| of.hits > Requests::default())
    }

    /// Statuses that were answered, and how often; 0 stands for none.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (u16, Requests)> {
        (0..).zip(self.statuses.iter().copied()).filter(|(_, hits)| *hits > Requests::default())
    }

    /// Hits of one hour come one after the other.
    fn add_hour(&mut self, row: &Row<'_>) {
        let hour = (row.hit.time.as_secs() / 3_600) as u32;
        if self.hour.0 != hour {
            self.end_hour();
            self.hour.0 = hour;
        }
        let [robots, others] = &mut self.hour.1;
        *(if row.category.is_declared_bot() { robots } else { others }) += row.weight;
    }

    /// Everything is in `hours` after this.
    pub(crate) fn end_hour(&mut self) {
        let (hour, counts) = std::mem::take(&mut self.hour);
        if counts != [Requests::default(); 2] {
            let of = self.hours.entry(hour).or_default();
            of.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    fn add_missing(&mut self, path: &str) {
        let probe = is_probe(path);
        let names = if probe { &mut self.probes } else { &mut self.not_found };
        let size = ONE + path.len();
        let room = names.len() < MAX_NAMES && self.path_bytes + size <= self.path_bound;
        match names.get_mut(path) {
            Some(hits) => *hits += 1,
            None if room => {
                names.insert(path.into(), 1);
                self.path_bytes += size;
            }
            None => {}
        }
    }

    fn add_referrer(&mut self, referer: &str, row: &Row<'_>, visitor: u32) {
        let Some((scheme, name)) = origin(referer) else { return };
        if name.is_empty() || name.len() > MAX_ORIGIN || name.eq_ignore_ascii_case(&row.hit.host) || scheme.len() > 8 {
            return;
        }
        let origin = referer.get(..scheme.len() + 3 + name.len()).unwrap_or_default();
        let (hash, known) = (twox_hash::XxHash3_64::oneshot(origin.as_bytes()), self.referrers.len());
        let counts = match self.referrers.entry(hash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if known >= MAX_NAMES => return,
            Entry::Vacant(entry) => entry.insert(ReferrerCounts { name: origin.into(), ..ReferrerCounts::default() }),
        };
        counts.hits += row.weight;
        if counts.visitors.len() < MAX_VISITORS && !counts.visitors.contains(&visitor) {
            counts.visitors.push(visitor);
        }
    }

    pub(super) fn renumber(&mut self, moved: &[u32]) {
        for counts in self.referrers.values_mut() {
            for visitor in &mut counts.visitors {
                *visitor = moved.get(*visitor as usize).copied().unwrap_or(u32::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_take_no_more_memory_than_they_may() {
        let mut tally = Tally::new(100_000);
        let path = |at: u32| format!("/{at}/{}", "x".repeat(2_000));
        (0..1_000).for_each(|at| tally.add_missing(&path(at)));
        (0..1_000).for_each(|at| tally.add_missing(&format!("/{at}.php")));
        tally.add_missing(&path(0));
        let names = || tally.not_found.keys().chain(tally.probes.keys());
        let held: usize = names().map(|name| name.len()).sum();
        assert!(names().count() > 20 && held < 100_000 && tally.path_bytes() <= 100_000, "{held}");
        assert_eq!(tally.not_found.get(path(0).as_str()), Some(&2), "what is known is counted");
    }
}
