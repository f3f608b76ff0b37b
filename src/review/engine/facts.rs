//! What one visitor did.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::agents::KnownAgent;
use super::distinct::Distinct;
use super::rolling::Rolling;
use super::weight::{Amount, Requests, Weight};
use crate::action::Action;
use crate::review::Window;
use crate::visitor::{Category, Verification};

/// Hours that are kept apart; a visitor of more is one that never sleeps.
const MAX_HOURS: usize = 2_048;
/// Hits from which on minutes are counted.
const OFTEN: u64 = 16;
/// Different numbers of pages a minute that are kept apart.
const MAX_PACES: usize = 64;
/// Steps of one session are measured while they are no longer than this.
const LONGEST_SESSION: Duration = Duration::from_secs(86_400);

/// A time since 1970 in half the memory of a [`Duration`]: there are very many visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Micros(u64);

impl From<Duration> for Micros {
    fn from(time: Duration) -> Self {
        Self(time.as_micros() as u64)
    }
}

impl From<Micros> for Duration {
    fn from(time: Micros) -> Self {
        Self::from_micros(time.0)
    }
}

/// One visitor. Very many of them lie in memory, and the processor fetches 64 bytes of it at once: what a hit may change
/// comes first, what most hits leave alone comes last.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Facts {
    // Of each hit.
    pub(crate) key: u64,
    pub(crate) hits: Requests,
    pub(crate) bytes: Amount,
    first: Micros,
    last: Micros,
    session_start: Micros,
    /// Hour and minute of the last hit, since 1970, and the hits in each of them.
    hour: u32,
    minute: u32,
    hour_hits: Requests,
    minute_hits: Requests,
    pub(crate) sessions: u32,
    pub(crate) category: Category,
    pub(crate) verification: Verification,
    pub(crate) score: u8,
    busy: Option<Box<Busy>>,
    pub(crate) assets: Requests,
    // Of each page.
    pub(crate) pages: u32,
    /// Pages without a pause, and when the first of them was.
    run: u32,
    run_start: u64,
    last_page: Option<u64>,
    gaps: Welford,
    /// Pages that came from a page of the same site.
    pub(crate) from_site: u32,
    /// Most pages without a pause, and the milliseconds they took.
    pub(crate) busiest: (u32, u32),
    /// Marks of directories: of 128 places each directory takes one (linear counting).
    directories: [u64; 2],
    pub(crate) articles: Distinct,
    // Of few hits.
    /// Pages with a query, and those of them whose path was asked for before.
    pub(crate) queries: (u32, u32),
    /// Steps from one number in a path to the next, of all steps between numbers.
    pub(crate) steps: (u32, u32),
    last_number: Option<u32>,
    pub(crate) deckle: Option<Box<DeckleFacts>>,
    pub(crate) not_found: Requests,
    pub(crate) refused: u32,
    pub(crate) not_modified: u32,
    pub(crate) robots: u32,
    pub(crate) sitemaps: u32,
    pub(crate) feeds: u32,
    pub(crate) probes: u32,
    pub(crate) agent: Arc<KnownAgent>,
    /// As the log has it.
    pub(crate) address: CompactString,
    /// deckle's pseudonym; empty in foreign logs.
    pub(crate) id: Box<str>,
}

/// Of a visitor that comes for more than an hour, or often.
#[derive(Debug, Default)]
struct Busy {
    /// The hours before, and the hits in each.
    hours: Vec<(u32, u32)>,
    /// How often there were so many requests in a minute.
    paces: Vec<(u32, u32)>,
    /// Empty, unless a condition asks.
    rolling: Vec<Rolling>,
}

/// What deckle did with a visitor.
#[derive(Debug, Default)]
pub(crate) struct DeckleFacts {
    pub(crate) done: [u32; Action::ALL.len()],
    pub(crate) would: [u32; Action::ALL.len()],
    pub(crate) marks: Distinct,
    /// The last one that was told.
    pub(crate) asn: Option<u32>,
    pub(crate) passed: u32,
    pub(crate) disturbed: u32,
    /// Signals, and how often each fired.
    pub(crate) signals: Vec<(Box<str>, u32)>,
}

/// Mean and variance of the time between pages.
#[derive(Debug, Default, Clone, Copy)]
struct Welford {
    n: u32,
    mean: f32,
    m2: f32,
}

impl Welford {
    fn add(&mut self, x: f32) {
        self.n = self.n.saturating_add(1);
        let delta = x - self.mean;
        self.mean += delta / self.n as f32;
        self.m2 += delta * (x - self.mean);
    }
}

fn whole(hits: Requests) -> u32 {
    u32::try_from(hits.count()).unwrap_or(u32::MAX)
}

impl Facts {
    pub(super) fn new(key: u64, address: &str, id: &str, agent: Arc<KnownAgent>, time: Duration) -> Self {
        Self {
            key,
            hits: Requests::default(),
            bytes: Amount::default(),
            first: Micros::from(time),
            last: Micros::from(time),
            session_start: Micros::from(time),
            hour: 0,
            minute: 0,
            hour_hits: Requests::default(),
            minute_hits: Requests::default(),
            sessions: 0,
            category: agent.category(),
            verification: Verification::None,
            score: 0,
            busy: None,
            assets: Requests::default(),
            pages: 0,
            run: 0,
            run_start: 0,
            last_page: None,
            gaps: Welford::default(),
            from_site: 0,
            busiest: (0, 0),
            directories: [0; 2],
            articles: Distinct::default(),
            queries: (0, 0),
            steps: (0, 0),
            last_number: None,
            deckle: None,
            not_found: Requests::default(),
            refused: 0,
            not_modified: 0,
            robots: 0,
            sitemaps: 0,
            feeds: 0,
            probes: 0,
            agent,
            address: CompactString::new(address.get(..address.floor_char_boundary(64)).unwrap_or_default()),
            id: id.get(..id.floor_char_boundary(64)).unwrap_or_default().into(),
        }
    }

    /// Reads something out of each 64 bytes that a hit may change: they are there when it does.
    pub(super) fn fetch(&self) -> u64 {
        self.key ^ self.minute_hits.count() ^ u64::from(self.gaps.n)
    }

    /// When it came first.
    pub(crate) fn first(&self) -> Duration {
        self.first.into()
    }

    /// When it came last.
    pub(crate) fn last(&self) -> Duration {
        self.last.into()
    }

    /// A request at this time.
    pub(super) fn note_time(&mut self, time: Duration, gap: Duration, weight: Weight) {
        // Lines of several files come in any order; a session never starts backwards.
        let silent = time > self.last() + gap || time + gap < self.first();
        if silent || self.sessions == 0 || time.saturating_sub(self.session_start.into()) > LONGEST_SESSION {
            self.sessions += 1;
            self.session_start = time.into();
        }
        self.first = self.first.min(time.into());
        self.last = self.last.max(time.into());
        let minute = (time.as_secs() / 60) as u32;
        let hour = minute / 60;
        if self.hour != hour {
            self.end_hour();
            self.hour = hour;
        }
        self.hour_hits += weight;
        if self.minute != minute {
            self.end_minute();
            (self.minute, self.minute_hits) = (minute, Requests::default());
        }
        self.minute_hits += weight;
    }

    fn end_hour(&mut self) {
        let (hour, hits) = (self.hour, whole(std::mem::take(&mut self.hour_hits)));
        if hits == 0 {
            return;
        }
        let hours = &mut self.busy.get_or_insert_default().hours;
        let room = hours.len() < MAX_HOURS;
        match hours.iter_mut().rev().take(3).find(|(at, _)| *at == hour) {
            Some((_, sum)) => *sum = sum.saturating_add(hits),
            None if room => hours.push((hour, hits)),
            None => {}
        }
    }

    /// Hits by hour since 1970; an hour may come more than once.
    pub(crate) fn hours(&self) -> impl Iterator<Item = (u32, u32)> {
        let before = self.busy.iter().flat_map(|busy| &busy.hours);
        before.copied().chain(Some((self.hour, whole(self.hour_hits))).filter(|(_, hits)| *hits > 0))
    }

    /// From now on counted within these spans, too.
    pub(super) fn roll_over(&mut self, windows: &[Window]) {
        if !windows.is_empty() {
            self.busy.get_or_insert_default().rolling = windows.iter().copied().map(Rolling::new).collect();
        }
    }

    /// What was counted within spans.
    pub(super) fn rolling(&mut self) -> &mut [Rolling] {
        self.busy.as_mut().map_or(&mut [], |busy| &mut busy.rolling)
    }

    /// The most within each span.
    pub(crate) fn most_within(&self) -> impl Iterator<Item = (Window, u64)> {
        self.busy.iter().flat_map(|busy| &busy.rolling).map(|rolling| (rolling.window, rolling.most()))
    }

    /// The most within the last of each span before this time.
    pub(crate) fn within(&self, now: Duration) -> impl Iterator<Item = (Window, u64)> {
        let rolling = self.busy.iter().flat_map(|busy| &busy.rolling);
        rolling.map(move |rolling| (rolling.window, rolling.at(now)))
    }

    /// A page of this directory, by its hash.
    pub(super) fn note_directory(&mut self, hash: u64) {
        let [low, high] = &mut self.directories;
        *(if hash & 64 == 0 { low } else { high }) |= 1 << (hash % 64);
    }

    /// Different directories, as an estimate.
    pub(crate) fn directories(&self) -> f64 {
        match self.directories.iter().map(|half| half.count_zeros()).sum() {
            0u32 => 128.0 * 128f64.ln(),
            free => -128.0 * (f64::from(free) / 128.0).ln(),
        }
    }

    fn end_minute(&mut self) {
        let hits = whole(self.minute_hits);
        if hits == 0 || self.hits.count() < OFTEN {
            return;
        }
        let paces = &mut self.busy.get_or_insert_default().paces;
        let room = paces.len() < MAX_PACES;
        match paces.iter_mut().find(|(pace, _)| *pace == hits) {
            Some((_, times)) => *times += 1,
            None if room => paces.push((hits, 1)),
            // The nearest one stands for it.
            None => {
                if let Some(nearest) = paces.iter_mut().min_by_key(|(pace, _)| pace.abs_diff(hits)) {
                    *nearest = (nearest.0.max(hits), nearest.1 + 1);
                }
            }
        }
    }

    /// Requests a minute, of the minutes in which there were any: median, 99th percentile, most.
    pub(crate) fn paces(&self) -> (u32, u32, u32) {
        let mut all = self.busy.as_ref().map(|busy| busy.paces.clone()).unwrap_or_default();
        let last = whole(self.minute_hits);
        if last > 0 {
            all.push((last, 1));
        }
        all.sort_unstable();
        let minutes: u64 = all.iter().map(|(_, times)| u64::from(*times)).sum();
        let at = |share: f64| {
            let rank = (minutes as f64 * share).ceil() as u64;
            let mut seen = 0;
            all.iter().find_map(|(pace, times)| {
                seen += u64::from(*times);
                (seen >= rank).then_some(*pace)
            })
        };
        let most = all.last().map_or(0, |(pace, _)| *pace);
        (at(0.5).unwrap_or(0), at(0.99).unwrap_or(0), most)
    }

    /// A page at this time.
    pub(super) fn note_page(&mut self, time: Duration, gap: Duration, number: Option<u32>) {
        self.pages = self.pages.saturating_add(1);
        let at = time.as_millis() as u64;
        match self.last_page.filter(|last| last.abs_diff(at) <= gap.as_millis() as u64) {
            Some(last) => {
                if let Some(gap) = at.checked_sub(last) {
                    self.gaps.add(gap as f32 / 1e3);
                }
                (self.run, self.run_start) = (self.run + 1, self.run_start.min(at));
                self.last_page = Some(last.max(at));
            }
            None => {
                (self.run, self.run_start) = (1, at);
                self.last_page = Some(at);
            }
        }
        if self.run > self.busiest.0 {
            let took = self.last_page.unwrap_or(at).saturating_sub(self.run_start);
            self.busiest = (self.run, u32::try_from(took).unwrap_or(u32::MAX));
        }
        if let Some(number) = number {
            if let Some(last) = self.last_number {
                self.steps.1 += 1;
                self.steps.0 += u32::from(number.abs_diff(last) == 1);
            }
            self.last_number = Some(number);
        }
    }

    /// Coefficient of variation of the time between pages, from eight pages on.
    pub(crate) fn regularity(&self) -> Option<f32> {
        let enough = self.gaps.n >= 8 && self.gaps.mean > 0.2;
        enough.then(|| (self.gaps.m2 / self.gaps.n as f32).max(0.0).sqrt() / self.gaps.mean)
    }

    /// Pages a minute in the busiest run.
    pub(crate) fn pace(&self) -> f64 {
        f64::from(self.busiest.0) / (f64::from(self.busiest.1) / 60e3).max(1.0 / 6.0)
    }

    /// The most hours in a row in which there was a request.
    pub(crate) fn longest_hours(&self) -> u32 {
        let mut hours: Vec<u32> = self.hours().map(|(hour, _)| hour).collect();
        hours.sort_unstable();
        hours.dedup();
        let (mut longest, mut run, mut last) = (0, 0, None);
        for hour in hours {
            run = if last == Some(hour.wrapping_sub(1)) { run + 1 } else { 1 };
            longest = longest.max(run);
            last = Some(hour);
        }
        longest
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let deckle =
            self.deckle.as_ref().map_or(0, |d| size_of::<DeckleFacts>() + d.marks.bytes() + d.signals.len() * 48);
        let lists = self.busy.as_ref().map_or(0, |busy| {
            96 + busy.rolling.len() * size_of::<Rolling>() + (busy.hours.capacity() + busy.paces.capacity()) * 8
        });
        // With its place in the tables, which are up to half empty, and what an allocation takes for itself.
        let heap = if self.address.is_heap_allocated() { self.address.len() + 16 } else { 0 };
        let texts = heap + self.id.len() + 72 + self.agent.own_bytes();
        size_of::<Self>() + lists + texts + deckle + self.articles.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::agents::{AgentCache, AgentTable};
    use super::*;

    fn facts() -> Facts {
        let table = AgentTable::new(usize::MAX);
        let (_, agent) = AgentCache::new(&table).get(Some("curl/8"));
        Facts::new(1, "203.0.113.9", "", agent.into_owned(), Duration::from_secs(1_000_000))
    }

    const GAP: Duration = Duration::from_secs(1_800);

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_hits_change_lies_together() {
        use std::mem::offset_of;
        let each = [offset_of!(Facts, key), offset_of!(Facts, minute_hits), offset_of!(Facts, gaps)];
        assert_eq!(each, [0, 64, 128], "`fetch` reads in each 64 bytes");
        assert_eq!(offset_of!(Facts, pages), 96, "of each hit");
        assert_eq!(offset_of!(Facts, queries), 192, "of each page");
        assert_eq!(size_of::<Facts>(), 304);
    }

    #[test]
    fn sessions_and_hours() {
        let mut facts = facts();
        for minutes in [0u64, 10, 30, 90, 80, 200, 10] {
            facts.note_time(Duration::from_secs(1_000_000 + minutes * 60), GAP, Weight::ONE);
        }
        assert_eq!(facts.sessions, 3, "0–30, 80–90, 200; what comes late starts nothing");
        assert_eq!(facts.hours().map(|(_, hits)| hits).sum::<u32>(), 7);
        assert!(facts.longest_hours() >= 2);
    }

    #[test]
    fn paces_are_those_of_busy_minutes() {
        let mut facts = facts();
        for minute in 0..300u64 {
            let requests = if minute == 50 { 40 } else { 2 };
            for _ in 0..requests {
                facts.hits += Weight::ONE;
                facts.note_time(Duration::from_secs(1_000_020 + minute * 60), GAP, Weight::ONE);
            }
        }
        assert_eq!(facts.paces(), (2, 2, 40));
    }

    #[test]
    fn numbers_in_a_row_and_a_clock_are_noticed() {
        let mut facts = facts();
        for page in 0..20u32 {
            facts.note_page(Duration::from_secs(u64::from(page) * 5), GAP, Some(page));
        }
        assert_eq!((facts.steps, facts.pages), ((19, 19), 20));
        assert!(facts.regularity().unwrap() < 0.01);
        assert!((facts.pace() - 20.0 / (95.0 / 60.0)).abs() < 0.01);
    }
}
