//! **How sure**: evidence to a score from 0 to 100.
//!
//! [`AssessLayer`] looks at the [`Visitor`] and at what is remembered about it ([`State`], fixed tables), and puts an
//! [`Assessment`] into the request's extensions. It refuses nothing.
//!
//! 1. The *claim* group: what the `User-Agent` says.
//! 2. The *rate* group: pages cost 1, 2 or 3 cells at a last score below 20, below 40, and above; each refusal of the
//!    two soft quotas adds points that fade with a half-life of five minutes.
//! 3. The *behaviour* group: a browser that fetches no assets, articles in a row.
//! 4. The score is the sum, each group capped.
//!
//! Rate belongs to the client: a sub-identity that fetches three assets a page is *proven* and has limits of its own;
//! all others share those of their address.
//!
//! # Deployment caveat
//! State is per process and lost at a restart. A patient scraper with a real browser at reader speed looks like a
//! reader; the marks are the answer to that one.

mod assess;
pub(crate) mod cells;
pub mod score;
pub mod signals;
mod state;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;

pub use assess::{Assess, AssessLayer, ResponseFuture};
pub use score::Points;
pub use signals::{Group, Signal};
pub use state::State;

use crate::clock::LimiterClock;
use crate::unit::Span;
use crate::visitor::{Category, RouteClass, Visitor};
use cells::{CellKey, SharedCells};
use state::{FLAG_CHARGED, FLAG_COUNTED, Record};

/// A rate limiter over the shared cells.
pub(crate) type Limiter = RateLimiter<CellKey, SharedCells, LimiterClock, NoOpMiddleware<Nanos>>;

/// How much is free of charge: one cell each `every`, and `burst` cells at once (GCRA, ITU-T I.371).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Time for one cell to come back.
    pub every: Span,
    /// Cells at once; at least 3, the dearest page.
    pub burst: NonZeroU32,
}

impl Quota {
    /// A quota of one cell each `every_ms` milliseconds.
    pub const fn new(every_ms: u64, burst: u32) -> Self {
        let burst = match NonZeroU32::new(burst) {
            Some(burst) => burst,
            None => NonZeroU32::MIN,
        };
        Self { every: Span(Duration::from_millis(every_ms)), burst }
    }
}

/// Builds a limiter; `namespace` keeps the quotas of one store apart.
pub(crate) fn limiter(state: &State, quota: Quota, namespace: u64) -> Limiter {
    // A period of zero is refused when the configuration is read; here it would mean a nanosecond.
    let period = quota.every.0.max(Duration::from_nanos(1));
    let quota = governor::Quota::with_period(period)
        .unwrap_or_else(|| governor::Quota::per_second(NonZeroU32::MAX))
        .allow_burst(quota.burst);
    RateLimiter::new(
        quota,
        SharedCells::new(state.cells().clone(), namespace, state.clock().elapsed()),
        LimiterClock(state.clock().clone()),
    )
}

/// Hours for which a request for robots.txt counts.
const ROBOTS_HOURS: u16 = 24;
/// Pages after which the absence of assets says something.
const PAGES_WITHOUT_ASSETS: u16 = 6;
/// Time in milliseconds for the assets to follow: a browser that restores its tabs asks for all the pages first, but even
/// then not for more than so many.
const ASSETS_FOLLOW: (u32, u16) = (2_000, 40);
/// Articles in a row that no reader's path shows.
const ARTICLES_IN_A_ROW: u8 = 8;
/// Requests within a wait that are more than a browser's retries.
const REQUESTS_IN_WAIT: u8 = 5;
/// Pages within a minute that are more than a reader's.
const HURRIED_PAGES: u16 = 8;
/// Assets a page that a browser fetches and a script does not.
const ASSETS_PER_PAGE: u16 = 3;

/// What the evidence says about one request. In the request's extensions behind [`AssessLayer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Assessment {
    /// 0–100.
    pub score: u8,
    /// The points behind it.
    pub points: Points,
    /// The signals behind those, in the order of their codes.
    pub signals: Vec<Signal>,
    /// Nothing was remembered about this client.
    pub first_request: bool,
    /// It counts as a page.
    pub counts_as_page: bool,
    /// It asked for robots.txt within the last day, or now.
    pub read_robots: bool,
    /// The table was busy; judged without history.
    pub degraded: bool,
    /// What judging took.
    pub took: Duration,
    /// The key whose limits apply; none without an address.
    pub(crate) client: Option<CellKey>,
    /// The key of the address, whoever shares it.
    pub(crate) address: Option<CellKey>,
}

impl Assessment {
    /// Nothing is known: lets everything through.
    pub(crate) fn unknown() -> Self {
        Self {
            score: 0,
            points: Points::default(),
            signals: Vec::new(),
            first_request: true,
            counts_as_page: false,
            read_robots: false,
            degraded: true,
            took: Duration::ZERO,
            client: None,
            address: None,
        }
    }
}

/// The two soft quotas: their refusals are signals, never answers.
#[derive(Debug, Clone, Copy)]
pub struct SoftQuotas {
    /// Pages in a row: one in 3 s, burst 30.
    pub page_soft: Quota,
    /// Pages over an hour: one in 12 s, burst 150.
    pub page_hour: Quota,
}

/// Judges requests against the tables.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) state: std::sync::Arc<State>,
    page_soft: Limiter,
    page_hour: Limiter,
}

impl Judge {
    pub(crate) fn new(state: std::sync::Arc<State>, quotas: SoftQuotas) -> Self {
        Self { page_soft: limiter(&state, quotas.page_soft, 0), page_hour: limiter(&state, quotas.page_hour, 1), state }
    }

    pub(crate) fn assess(&self, visitor: &Visitor, method: &http::Method) -> Assessment {
        let start = self.state.clock().elapsed();
        let page = self.counts_as_page(visitor, method);
        let mut assessment = match self.state.keys(visitor) {
            Some((address, sub)) => self.with_history(visitor, page, address, sub),
            None => Self::without_history(visitor),
        };
        assessment.counts_as_page = page;
        assessment.took = self.state.clock().elapsed().saturating_sub(start);
        assessment
    }

    /// A path is what it has answered, not what the request says about itself; before it has answered anything, it is
    /// a page unless it names a file.
    fn counts_as_page(&self, visitor: &Visitor, method: &http::Method) -> bool {
        let known = self.state.answers_html(&visitor.path);
        match visitor.route {
            RouteClass::Wellknown | RouteClass::Own => false,
            RouteClass::Page => *method != http::Method::HEAD,
            _ if *method == http::Method::GET => {
                known.unwrap_or(!visitor.asset_path && visitor.route != RouteClass::Feed)
            }
            _ => *method == http::Method::POST && known == Some(true),
        }
    }

    fn without_history(visitor: &Visitor) -> Assessment {
        let signals: Vec<Signal> = signals::claim(visitor.agent.category, visitor.verification).into_iter().collect();
        let points = Points::of(&signals, 0.0, false);
        Assessment { score: points.score(), points, signals, degraded: false, ..Assessment::unknown() }
    }

    fn with_history(&self, visitor: &Visitor, page: bool, address: CellKey, sub: CellKey) -> Assessment {
        let mut signals: Vec<Signal> =
            signals::claim(visitor.agent.category, visitor.verification).into_iter().collect();
        let moved = self.state.with_record(sub, |record, known| {
            count(record, visitor, page, self.state.now_ms() as u32);
            self.behaviour(record, visitor, &mut signals);
            let robots = reads_robots(record, visitor, self.state.now_ms());
            (hurried(record, self.state.now_ms(), page), record.last_score, known, proven(record), robots)
        });
        let Some((hurried, sub_score, sub_known, proven, read_robots)) = moved else {
            return Assessment { degraded: true, ..Self::without_history(visitor) };
        };
        let client = if proven { sub } else { address };
        let (address_score, address_known) =
            self.state.with_record(address, |record, known| (record.last_score, known)).unwrap_or((0, false));
        let last = if sub_known { sub_score } else { address_score };
        let mut events = if page { self.soft_refusals(client, last) } else { Vec::new() };
        let rated = self.state.with_record(client, |record, _| {
            let now = self.state.now_ms();
            events.extend(ignored_wait(record, now, page));
            record.rate = score::add_rate(record.rate, now.saturating_sub(record.decay_at), &events);
            record.decay_at = now;
            record.rate
        });
        let rate = rated.unwrap_or(0.0);
        signals.extend(events);
        signals.sort_unstable();
        signals.dedup();
        let points = Points::of(&signals, rate, hurried);
        let score = points.score();
        for key in [sub, address] {
            self.state.with_record(key, |record, _| record.last_score = score);
        }
        Assessment {
            score,
            points,
            signals,
            first_request: !address_known && !sub_known,
            read_robots,
            degraded: rated.is_none(),
            client: Some(client),
            address: Some(address),
            ..Assessment::unknown()
        }
    }

    /// The price of a page rises with suspicion; a refusal is a signal.
    fn soft_refusals(&self, client: CellKey, last_score: u8) -> Vec<Signal> {
        let cost = match last_score {
            0..20 => NonZeroU32::MIN,
            20..40 => NonZeroU32::MIN.saturating_add(1),
            _ => NonZeroU32::MIN.saturating_add(2),
        };
        let refused = |limiter: &Limiter| !matches!(limiter.check_key_n(&client, cost), Ok(Ok(())));
        let soft = refused(&self.page_soft).then_some(Signal::PageSoft);
        let hour = refused(&self.page_hour).then_some(Signal::PageHour);
        soft.into_iter().chain(hour).collect()
    }

    fn behaviour(&self, record: &mut Record, visitor: &Visitor, signals: &mut Vec<Signal>) {
        if record.article_run >= ARTICLES_IN_A_ROW {
            signals.push(Signal::ArticleRun);
        }
        let restoring = (self.state.now_ms() as u32).wrapping_sub(record.first_page) < ASSETS_FOLLOW.0
            && record.pages <= ASSETS_FOLLOW.1;
        if visitor.agent.category == Category::Browser && record.pages >= PAGES_WITHOUT_ASSETS && !restoring {
            if record.flags & FLAG_COUNTED == 0 {
                record.flags |= FLAG_COUNTED;
                self.state.count_assets(visitor, record.assets > 0);
            }
            if record.assets == 0 && self.state.assets_visible() {
                signals.push(Signal::NoAssets);
            }
        }
    }
}

fn count(record: &mut Record, visitor: &Visitor, page: bool, now: u32) {
    if page {
        if record.pages == 0 {
            record.first_page = now;
        }
        record.pages = record.pages.saturating_add(1);
        record.article_run = if looks_like_article(&visitor.path) { record.article_run.saturating_add(1) } else { 0 };
    }
    // Halved together, so that long sessions are judged on recent conduct.
    if record.pages >= 1_024 {
        record.pages /= 2;
        record.assets /= 2;
    }
}

/// A crawler may keep robots.txt for a day (RFC 9309 §2.4); who asked within that time knows the rules.
fn reads_robots(record: &mut Record, visitor: &Visitor, now: u64) -> bool {
    let hour = ((now / 3_600_000 + 1) as u16).max(1);
    if visitor.route == RouteClass::Wellknown && &*visitor.path == "/robots.txt" {
        record.robots_hour = hour;
    }
    record.robots_hour != 0 && hour.wrapping_sub(record.robots_hour) < ROBOTS_HOURS
}

/// Counts pages by the minute.
fn hurried(record: &mut Record, now: u64, page: bool) -> bool {
    if now.saturating_sub(record.minute_start) >= 60_000 {
        record.minute_start = now;
        record.minute_pages = 0;
    }
    record.minute_pages = record.minute_pages.saturating_add(u16::from(page));
    record.minute_pages >= HURRIED_PAGES
}

/// A sub-identity that behaves like a browser.
fn proven(record: &Record) -> bool {
    record.pages > 0 && record.assets >= record.pages.saturating_mul(ASSETS_PER_PAGE) && record.last_score < 20
}

fn ignored_wait(record: &mut Record, now: u64, page: bool) -> Option<Signal> {
    if !page || now >= record.wait_until {
        return None;
    }
    record.refused_in_wait = record.refused_in_wait.saturating_add(1);
    let charge = record.refused_in_wait >= REQUESTS_IN_WAIT && record.flags & FLAG_CHARGED == 0;
    if charge {
        record.flags |= FLAG_CHARGED;
    }
    charge.then_some(Signal::IgnoredRetryAfter)
}

/// Paths of articles end in a headline, a number or a document; those of sections in one word.
pub(crate) fn looks_like_article(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    let digits = last.bytes().filter(u8::is_ascii_digit).count();
    last.matches('-').count() >= 2 || digits >= 3 || last.ends_with(".html") || last.ends_with(".htm")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::*;
    use crate::clock::ManualClock;

    fn quotas() -> SoftQuotas {
        SoftQuotas { page_soft: Quota::new(3_000, 30), page_hour: Quota::new(12_000, 150) }
    }

    struct Rig {
        clock: Arc<ManualClock>,
        judge: Judge,
    }

    impl Rig {
        fn new() -> Self {
            let clock = ManualClock::at(1_790_000_000);
            clock.advance(Duration::from_secs(100));
            Self { judge: Judge::new(Arc::new(State::new(clock.clone())), quotas()), clock }
        }

        fn get(&self, ua: &str, ip: [u8; 4], path: &str) -> Assessment {
            let mut request = http::Request::builder().uri(path).header("user-agent", ua).body(()).unwrap();
            request.extensions_mut().insert(crate::visitor::Peer { address: (ip, 1).into(), secure: false });
            let (head, ()) = request.into_parts();
            let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
            let assessment = self.judge.assess(&visitor, &Method::GET);
            if visitor.asset_path {
                // The site answers it.
                self.judge.state.note_asset(self.judge.state.keys(&visitor).unwrap().1);
            }
            assessment
        }
    }

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn a_library_at_five_pages_a_second_is_soon_worth_a_limit() {
        let rig = Rig::new();
        let page = (1..1_000)
            .find(|i| {
                rig.clock.advance(Duration::from_millis(200));
                rig.get("python-requests/2.34", [203, 0, 113, 5], &format!("/news/a-b-c-{i}")).score >= 55
            })
            .unwrap();
        assert!((12..=26).contains(&page), "{page}");
    }

    #[test]
    fn a_busy_table_means_no_history_and_no_quota() {
        let rig = Rig::new();
        let ip = [203, 0, 113, 4];
        let known = rig.get("python-requests/2.34", ip, "/");
        assert!(!known.degraded && known.client.is_some());
        let mut request =
            http::Request::builder().uri("/").header("user-agent", "python-requests/2.34").body(()).unwrap();
        request.extensions_mut().insert(crate::visitor::Peer { address: (ip, 1).into(), secure: false });
        let (head, ()) = request.into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
        let (_, sub) = rig.judge.state.keys(&visitor).unwrap();
        let busy = rig.judge.state.with_record(sub, |_, _| rig.judge.assess(&visitor, &Method::GET)).unwrap();
        assert!(busy.degraded && busy.client.is_none() && busy.address.is_none(), "{busy:?}");
        assert_eq!(busy.score, busy.points.score(), "the claim alone");
        assert_eq!(busy.signals, [Signal::ClaimLibrary]);
        assert!(!rig.judge.assess(&visitor, &Method::GET).degraded, "the next request finds it free");
    }

    #[test]
    fn a_perfect_browser_without_assets_is_too() {
        let rig = Rig::new();
        let page = (1..1_000)
            .find(|i| {
                rig.clock.advance(Duration::from_millis(200));
                rig.get(FIREFOX, [203, 0, 113, 6], &format!("/news/a-b-c-{i}")).score >= 55
            })
            .unwrap();
        assert!((12..=28).contains(&page), "{page}");
    }

    #[test]
    fn a_reader_with_assets_stays_at_zero() {
        let rig = Rig::new();
        for page in 0..200 {
            rig.clock.advance(Duration::from_secs(20));
            let got = rig.get(FIREFOX, [203, 0, 113, 7], &format!("/news/a-b-c-{page}"));
            let only_run = got.signals.iter().all(|s| *s == Signal::ArticleRun);
            assert!(got.score <= 8 && only_run, "page {page}: {got:?}");
            for asset in 0..20 {
                rig.get(FIREFOX, [203, 0, 113, 7], &format!("/static/{asset}.css"));
            }
        }
    }

    #[test]
    fn a_reader_without_images_and_scripts_never_gets_past_a_tag() {
        let rig = Rig::new();
        for page in 0..500 {
            rig.clock.advance(Duration::from_secs(15));
            let got = rig.get(FIREFOX, [203, 0, 113, 8], &format!("/news/a-b-c-{page}"));
            assert!(got.score < 40, "page {page}: {got:?}");
        }
    }

    #[test]
    fn a_browser_next_to_a_scraper_on_one_address_keeps_its_own_rate() {
        let rig = Rig::new();
        let ip = [203, 0, 113, 9];
        rig.get(FIREFOX, ip, "/");
        for asset in 0..20 {
            rig.get(FIREFOX, ip, &format!("/static/{asset}.css"));
        }
        for i in 0..80 {
            rig.get("python-requests/2.34", ip, &format!("/news/a-b-c-{i}"));
        }
        assert!(rig.get(FIREFOX, ip, "/news/a-b-c-1").score < 20);
        assert!(rig.get("Mozilla/5.0 Newcomer", ip, "/").score >= 20, "the unproven share the address");
    }

    #[test]
    fn headers_do_not_turn_a_page_into_something_cheaper() {
        let rig = Rig::new();
        let mut request = http::Request::builder().uri("/a-b-c").header("x-requested-with", "x").body(()).unwrap();
        request.extensions_mut().insert(crate::visitor::Peer { address: ([203, 0, 113, 1], 1).into(), secure: false });
        let (head, ()) = request.into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
        assert_eq!(visitor.route, RouteClass::Api);
        assert!(rig.judge.assess(&visitor, &Method::GET).counts_as_page, "nothing is known of it yet");
        rig.judge.state.learn_path("/a-b-c", false);
        assert!(!rig.judge.assess(&visitor, &Method::GET).counts_as_page, "it answers data");
        rig.judge.state.learn_path("/a-b-c", true);
        assert!(rig.judge.assess(&visitor, &Method::GET).counts_as_page);
    }

    #[test]
    fn requests_inside_a_wait_are_charged_once() {
        let rig = Rig::new();
        let ip = [203, 0, 113, 10];
        let (head, ()) = {
            let mut r = http::Request::builder().uri("/x").header("user-agent", "curl/8").body(()).unwrap();
            r.extensions_mut().insert(crate::visitor::Peer { address: (ip, 1).into(), secure: false });
            r.into_parts()
        };
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
        rig.judge.assess(&visitor, &Method::GET);
        rig.judge.state.note_refusal(rig.judge.state.keys(&visitor).unwrap().0, Duration::from_secs(60));
        let charged = (0..20)
            .filter(|_| rig.judge.assess(&visitor, &Method::GET).signals.contains(&Signal::IgnoredRetryAfter))
            .count();
        assert_eq!(charged, 1);
    }

    #[test]
    fn without_an_address_there_is_no_history() {
        let rig = Rig::new();
        let (head, ()) = http::Request::builder().uri("/").body(()).unwrap().into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
        let got = rig.judge.assess(&visitor, &Method::GET);
        assert_eq!((got.score, got.client), (20, None));
    }
}
