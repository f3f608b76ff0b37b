//! How a visitor moves through the site: what is counted, and what follows from the counts.

use super::Signal;
use super::state::distinct;
use super::state::{Record, Tick, flag};
use crate::visitor::{Visitor, fields, is_tracking};

/// Pages after which the absence of assets says something.
const PAGES_WITHOUT_ASSETS: u16 = 6;
/// Style sheets of ours after whose offer their absence says something.
const BEACONS_WITHOUT_FETCH: u8 = 10;
/// Time in seconds for the assets to follow: a browser that restores its tabs asks for all the pages first, but even
/// then not for more than so many.
const ASSETS_FOLLOW: (u32, u16) = (2, 40);
/// Pages for each asset from which there are too few.
const PAGES_AN_ASSET: u32 = 16;
/// Articles in a row that no reader's path shows.
const ARTICLES_IN_A_ROW: u8 = 12;
/// Numbers in a row.
const NUMBERS_IN_A_ROW: u8 = 8;
/// Different pages within the hour.
const BREADTH: (f32, f32) = (60.0, 180.0);
/// Requests within a wait that are more than a browser's retries.
const REQUESTS_IN_WAIT: u8 = 5;
/// Assets a page that a browser fetches and a script does not.
const ASSETS_PER_PAGE: u16 = 3;
/// Variation of gaps that no person keeps to, and the mean gaps in milliseconds for which that is known.
const REGULAR: (f32, std::ops::RangeInclusive<f32>) = (0.15, 200.0..=120_000.0);
/// One unit of [`Record::gaps`], in milliseconds.
const GAP_UNIT: u32 = 2;
/// Of so many pages at least, more than a quarter that are not there.
const PAGES_FOR_NOT_FOUND: u16 = 20;
const REVISITS: u8 = 20;
const BUSTING: u8 = 8;
const DEEP_DIRECT: u8 = 5;
/// A map of pages with more bits than this no longer tells a second visit from a collision.
const SPARSE: u32 = 16;
/// Requests in the last hour below which a path counts as one that nobody else reads.
const COLD_PATH: u16 = 20;
/// Seconds and assets that make good standing.
const STANDING: (u32, u16, u16) = (600, 3, 3);
/// Hours for which a request for robots.txt counts.
const ROBOTS_HOURS: u16 = 24;
/// Parameters of sites, besides those that tell only how somebody came.
const KNOWN_PARAMETERS: [&str; 21] = [
    "amp",
    "cat",
    "from",
    "id",
    "lang",
    "output",
    "p",
    "page",
    "paged",
    "q",
    "query",
    "ref",
    "replytocom",
    "s",
    "search",
    "share",
    "sort",
    "source",
    "tag",
    "view",
    "__dk",
];

/// One request, as far as conduct goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) page: bool,
    pub(super) article: bool,
    pub(super) path: u64,
    pub(super) number: Option<u32>,
    /// Hash of the unknown parameters, 0 without any.
    pub(super) query: u16,
    pub(super) deep_direct: bool,
    pub(super) conditional: bool,
    pub(super) robots: bool,
    pub(super) now: Tick,
    pub(super) now_ms: u32,
}

/// Counts a request. `true`: the page was visited before, as far as is remembered.
pub(super) fn count(record: &mut Record, step: &Step) -> bool {
    if step.conditional {
        record.revisits = 0;
    }
    if step.robots {
        record.robots_hour = (step.now.hour() as u16).saturating_add(1);
    }
    if !step.page {
        return false;
    }
    // Tabs that are opened at once say nothing about the order in which somebody reads.
    let in_order = step.now_ms.wrapping_sub(record.last_page_ms) >= 1_000;
    note_gap(record, step);
    if record.pages == 0 {
        record.first_page = step.now;
    }
    record.pages = record.pages.saturating_add(1);
    record.article_run = if step.article { record.article_run.saturating_add(1) } else { 0 };
    if let Some(number) = step.number.filter(|_| in_order) {
        record.number_run = match number.cmp(&record.last_number) {
            std::cmp::Ordering::Greater => record.number_run.max(0).saturating_add(1),
            std::cmp::Ordering::Less => record.number_run.min(0).saturating_sub(1),
            std::cmp::Ordering::Equal => record.number_run,
        };
        record.last_number = number;
    }
    note_query(record, step);
    record.deep_direct = record.deep_direct.saturating_add(u8::from(step.deep_direct));
    let few = record.distinct.iter().map(|word| word.count_ones()).sum::<u32>() <= SPARSE;
    !distinct::mark(&mut record.distinct, step.path) && few
}

fn note_gap(record: &mut Record, step: &Step) {
    let gap = step.now_ms.wrapping_sub(record.last_page_ms) / GAP_UNIT;
    if record.pages > 0
        && let Some(slot) = record.gaps.get_mut(usize::from(record.gap_at % 8))
    {
        *slot = u16::try_from(gap).unwrap_or(u16::MAX);
        record.gap_at = if record.gap_at == 15 { 8 } else { record.gap_at + 1 };
    }
    record.last_page_ms = step.now_ms;
}

/// Another query for the page that was asked for last.
fn note_query(record: &mut Record, step: &Step) {
    let path = (step.path >> 48) as u16;
    if step.query != 0 && path == record.last_path && step.query != record.last_query {
        record.busting = record.busting.saturating_add(1);
    }
    record.last_path = path;
    record.last_query = step.query;
}

/// What else the signals of conduct depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) browser: bool,
    /// Assets live elsewhere.
    pub(super) blind: bool,
    pub(super) now: Tick,
}

/// The signals that the counts of a sub-identity give, and how often each counts, in halves.
pub(super) fn signals(record: &Record, of: Circumstances, fire: &mut impl FnMut(Signal, u8)) {
    let (half, once, twice) = (1, 2, 4);
    let people = f32::from(record.cold.clamp(1, 4));
    if f32::from(record.article_run) >= f32::from(ARTICLES_IN_A_ROW) * people {
        fire(Signal::ArticleRun, once);
    }
    let breadth = distinct::estimate(&record.distinct) / people;
    if breadth >= BREADTH.0 {
        fire(Signal::Breadth, if breadth >= BREADTH.1 { twice } else { once });
    }
    if record.number_run.unsigned_abs() >= NUMBERS_IN_A_ROW {
        fire(Signal::SeqIds, once);
    }
    if is_regular(record) {
        fire(Signal::RegularGaps, once);
    }
    if record.pages >= PAGES_FOR_NOT_FOUND && u32::from(record.not_found) * 4 > u32::from(record.pages) {
        fire(Signal::NotFoundShare, once);
    }
    let counted = [
        (record.revisits >= REVISITS, Signal::NoConditional),
        (record.busting >= BUSTING, Signal::CacheBusting),
        (record.deep_direct >= DEEP_DIRECT, Signal::DeepDirect),
    ];
    counted.into_iter().filter(|(is, _)| *is).for_each(|(_, signal)| fire(signal, once));
    let restoring = of.now.seconds_since(record.first_page) < ASSETS_FOLLOW.0 && record.pages <= ASSETS_FOLLOW.1;
    let fetched = u32::from(record.assets) + u32::from(record.beacons);
    let bare = of.browser && fetched == 0 && !restoring;
    if bare && record.pages >= PAGES_WITHOUT_ASSETS && !of.blind {
        fire(Signal::NoAssets, once);
    }
    // One file now and then makes no browser.
    if of.browser && fetched > 0 && fetched * PAGES_AN_ASSET < u32::from(record.pages) && !of.blind {
        fire(Signal::NoAssets, half);
    }
    if bare && record.offered >= BEACONS_WITHOUT_FETCH {
        fire(Signal::NoBeacon, once);
    }
}

fn is_regular(record: &Record) -> bool {
    if record.gap_at < 8 {
        return false;
    }
    let gaps = record.gaps.map(|gap| f32::from(gap) * GAP_UNIT as f32);
    let mean = gaps.iter().sum::<f32>() / 8.0;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f32>() / 8.0;
    REGULAR.1.contains(&mean) && variance.sqrt() < REGULAR.0 * mean
}

/// Fetches what browsers fetch.
pub(super) fn browses(record: &Record) -> bool {
    record.beacons > 0 || (record.pages > 0 && record.assets >= record.pages.saturating_mul(ASSETS_PER_PAGE))
}

/// A sub-identity that behaves like a browser, and has done nothing else.
pub(super) fn is_proven(record: &Record) -> bool {
    browses(record) && record.last_score < 20
}

/// Three pages with assets over ten minutes.
pub(super) fn has_history(record: &Record, now: Tick) -> bool {
    let (seconds, pages, assets) = STANDING;
    let fetched = record.assets.saturating_add(u16::from(record.beacons)) >= assets;
    now.seconds_since(record.first_seen) >= seconds && record.pages >= pages && fetched
}

/// Asked for robots.txt within a day.
pub(super) fn has_read_robots(record: &Record, now: Tick) -> bool {
    record.robots_hour > 0 && (now.hour() as u16).saturating_add(1).saturating_sub(record.robots_hour) <= ROBOTS_HOURS
}

/// Asks on while it was asked to wait. Once a wait.
pub(super) fn ignores_wait(record: &mut Record, step: &Step) -> bool {
    if !step.page || step.now >= record.wait_until {
        return false;
    }
    record.refused_in_wait = record.refused_in_wait.saturating_add(1);
    let charge = record.refused_in_wait >= REQUESTS_IN_WAIT && record.flags & flag::CHARGED == 0;
    if charge {
        record.flags |= flag::CHARGED;
    }
    charge
}

/// Paths of articles end in a headline, a number or a document; those of sections in one word.
pub(crate) fn looks_like_article(path: &str) -> bool {
    let last = last_segment(path);
    let (digits, hyphens) = last.bytes().fold((0, 0), |(digits, hyphens), byte| {
        (digits + u32::from(byte.is_ascii_digit()), hyphens + u32::from(byte == b'-'))
    });
    hyphens >= 2 || digits >= 3 || last.ends_with(".html") || last.ends_with(".htm")
}

fn last_segment(path: &str) -> &str {
    memchr::memrchr(b'/', path.as_bytes()).and_then(|at| path.get(at + 1..)).unwrap_or(path)
}

/// The number that names a page: the last one of its last segment, else a date of three segments.
pub(crate) fn number_in(path: &str) -> Option<u32> {
    let last = last_segment(path);
    if let Some(end) = last.bytes().rposition(|b| b.is_ascii_digit()).map(|at| at + 1) {
        let before = last.as_bytes().get(..end)?.iter().rposition(|b| !b.is_ascii_digit());
        let digits = last.get(before.map_or(0, |at| at + 1)..end)?;
        if digits.len() >= 2 {
            return digits.parse().ok();
        }
    }
    let before = path.len().checked_sub(last.len() + 2)?;
    path.as_bytes().get(before)?.is_ascii_digit().then_some(())?;
    let mut numbers = path.rsplit('/').skip(1).map_while(|segment| segment.parse::<u32>().ok());
    let (day, month, year) = (numbers.next()?, numbers.next()?, numbers.next()?);
    (year < 10_000 && month <= 12 && day <= 31).then(|| year * 10_000 + month * 100 + day)
}

/// A deep page that nobody else reads, asked for out of nowhere.
pub(super) fn is_deep_direct(visitor: &Visitor, headers: &http::HeaderMap, article: bool, heat: u16) -> bool {
    if !article || heat >= COLD_PATH || visitor.prefetch {
        return false;
    }
    let site = headers.get(&fields::SEC_FETCH_SITE).map(http::HeaderValue::as_bytes);
    !headers.contains_key(http::header::REFERER) && matches!(site, None | Some(b"none"))
}

/// The parameters of a query that no site is known for, as a number; 0 without any.
pub(super) fn unknown_parameters(query: Option<&str>, hash: impl Fn(&str) -> u64) -> u16 {
    let unknown = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !name.is_empty() && !is_tracking(pair) && !KNOWN_PARAMETERS.contains(&name)
    };
    let pairs = query.unwrap_or_default().split('&').filter(unknown).take(8);
    pairs.map(|pair| (hash(pair) as u16).max(1)).fold(0, |all, one| all.rotate_left(3) ^ one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: u64) -> Step {
        Step {
            page: true,
            article: false,
            path,
            number: None,
            query: 0,
            deep_direct: false,
            conditional: false,
            robots: false,
            now: Tick(1_600),
            now_ms: 100_000,
        }
    }

    fn fired(record: &Record) -> Vec<(Signal, u8)> {
        let mut out = Vec::new();
        let of = Circumstances { browser: true, blind: false, now: Tick(3_200) };
        signals(record, of, &mut |signal, times| out.push((signal, times)));
        out
    }

    #[test]
    fn numbers_and_dates_are_found_in_paths() {
        for (path, number) in [
            ("/news/story-1234", Some(1_234)),
            ("/news/1234.html", Some(1_234)),
            ("/a/ü12", Some(12)),
            ("/2026/08/14/slug", Some(20_260_814)),
            ("/2026/13/14/slug", None),
            ("/news/top-5", None),
            ("/news/99999999999", None),
            ("/", None),
        ] {
            assert_eq!(number_in(path), number, "{path}");
        }
    }

    #[test]
    fn numbers_in_a_row_count_up_and_down() {
        let mut record = Record::default();
        let mut now_ms = 100_000;
        let mut go = |number| {
            now_ms += 2_000;
            count(&mut record, &Step { number: Some(number), now_ms, ..step(u64::from(number)) });
            record.number_run
        };
        assert_eq!([10, 11, 15, 15, 14, 13].map(&mut go), [1, 2, 3, 3, -1, -2]);
        let run: Vec<i8> = (1..=7).map(|n| go(12 - n)).collect();
        assert_eq!(run.last(), Some(&-9));
        assert!(fired(&record).contains(&(Signal::SeqIds, 2)));
    }

    #[test]
    fn equal_gaps_are_a_clock() {
        let walk = |gap: fn(u32) -> u32| {
            let mut record = Record::default();
            let mut now_ms = 0;
            for i in 0..20 {
                now_ms += gap(i);
                count(&mut record, &Step { now_ms, ..step(1) });
            }
            is_regular(&record)
        };
        assert!(walk(|_| 1_000) && walk(|_| 90_000) && walk(|i| 1_000 + i % 3 * 50));
        assert!(!walk(|i| 1_000 + i % 4 * 1_000), "a person");
        assert!(!walk(|_| 0), "tabs");
        assert!(!walk(|_| 600_000), "too slow to tell");
    }

    #[test]
    fn many_pages_are_breadth_and_half_of_it_for_two() {
        let mut record = Record::default();
        (0..128u64).for_each(|path| _ = count(&mut record, &step(path)));
        assert!(fired(&record).contains(&(Signal::Breadth, 4)));
        record.distinct = [u64::MAX, 0];
        assert!(fired(&record).contains(&(Signal::Breadth, 2)), "89 of them");
        record.cold = 2;
        assert!(!fired(&record).iter().any(|(signal, _)| *signal == Signal::Breadth), "two browsers, 44 each");
    }

    #[test]
    fn queries_on_one_page_bust_caches() {
        let hash = |pair: &str| pair.bytes().fold(7, |a: u64, b| a.wrapping_mul(31) ^ u64::from(b));
        let query = |text: &str| unknown_parameters(Some(text), hash);
        assert_eq!((query("utm_source=x&p=3&fbclid=z"), query(""), unknown_parameters(None, hash)), (0, 0, 0));
        assert_ne!(query("r=1"), query("r=2"));
        let mut record = Record::default();
        for i in 0..12 {
            count(&mut record, &Step { query: query(&format!("r={i}")), ..step(5) });
        }
        assert!(fired(&record).contains(&(Signal::CacheBusting, 2)));
    }

    #[test]
    fn a_browser_without_assets_is_none() {
        let mut record = Record::default();
        (0..6u64).for_each(|path| _ = count(&mut record, &step(path)));
        assert_eq!(fired(&record), [(Signal::NoAssets, 2)]);
        record.offered = 10;
        assert_eq!(fired(&record), [(Signal::NoAssets, 2), (Signal::NoBeacon, 2)]);
        record.beacons = 1;
        assert_eq!(fired(&record), []);
    }

    #[test]
    fn a_second_visit_is_known_while_the_map_is_sparse() {
        let mut record = Record::default();
        assert!(!count(&mut record, &step(3)));
        assert!(count(&mut record, &step(3)));
        (0..40u64).for_each(|path| _ = count(&mut record, &step(path)));
        assert!(!count(&mut record, &step(3)));
    }
}
