mod cohorts;

use std::sync::Arc;

use http::Method;

use super::headers::Head;
use super::judge::Judge;
use super::state::PathKind;
use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::visitor::{RouteClass, Visitor};

struct Rig {
    clock: Arc<ManualClock>,
    judge: Judge,
}

/// The defaults.
fn quotas() -> SoftQuotas {
    SoftQuotas {
        page_soft: Quota::new(3_000, 30),
        page_hour: Quota::new(12_000, 150),
        net_page: Quota::new(200, 600),
        wide_page: Quota::new(100, 1_200),
        prefetch: Quota::new(6_000, 10),
        widths: [1, 4, 16],
    }
}

/// One client: what its requests look like.
#[derive(Clone, Copy)]
struct Client {
    ip: [u8; 4],
    fields: &'static [(&'static str, &'static str)],
}

const FIREFOX: &[(&str, &str)] = &[
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "de,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
const REQUESTS: &[(&str, &str)] =
    &[("user-agent", "python-requests/2.34"), ("accept", "*/*"), ("accept-encoding", "gzip")];
const GO: &[(&str, &str)] = &[(
    "user-agent",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
)];

fn firefox(last: u8) -> Client {
    Client { ip: [203, 0, 113, last], fields: FIREFOX }
}

fn requests(last: u8) -> Client {
    Client { ip: [203, 0, 113, last], fields: REQUESTS }
}

impl Rig {
    fn new() -> Self {
        Self::with(CohortSettings::default())
    }

    fn with(cohort: CohortSettings) -> Self {
        let clock = ManualClock::at(1_790_000_000);
        clock.advance(Duration::from_secs(100));
        let state = Arc::new(State::new(clock.clone()));
        let settings = Settings {
            trap: TrapSettings { links: true, canary: true, ..TrapSettings::default() },
            cohort,
            ..Settings::default()
        };
        let judge = Judge::new(state, &settings, quotas()).unwrap();
        Self { clock, judge }
    }

    fn visitor(&self, client: Client, path: &str) -> (http::request::Parts, Visitor) {
        let mut request = http::Request::builder().uri(path);
        for (name, value) in client.fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(crate::visitor::Peer { address: (client.ip, 1).into(), secure: true });
        let (head, ()) = request.into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), self.clock.unix()).unwrap();
        (head, visitor)
    }

    fn judge(&self, visitor: &Visitor, head: &http::request::Parts) -> Assessment {
        let view = Head {
            method: &head.method,
            version: head.version,
            headers: &head.headers,
            path: head.uri.path(),
            query: head.uri.query(),
        };
        self.judge.assess(visitor, view)
    }

    fn get(&self, client: Client, path: &str) -> Assessment {
        let (head, visitor) = self.visitor(client, path);
        let assessment = self.judge(&visitor, &head);
        if visitor.asset_path {
            // The site answers it.
            self.judge.note_asset(&assessment.keys.unwrap(), false, false);
        }
        assessment
    }

    fn wait(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// The first page with at least this score.
    fn first_at(&self, client: Client, every_ms: u64, score: u8) -> Option<u32> {
        (1..2_000).find(|i| {
            self.wait(every_ms);
            self.get(client, &format!("/news/a-b-c-{i}")).score >= score
        })
    }
}

/// Articles in no order.
fn article(i: u64) -> String {
    let scrambled = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) % 1_000;
    format!("/news/a-b-{scrambled}")
}

fn codes(assessment: &Assessment) -> Vec<&'static str> {
    assessment.signals.iter().map(|fired| fired.signal.code()).collect()
}

#[test]
fn a_library_is_worth_a_limit_within_a_few_pages() {
    for (every_ms, most) in [(200, 22), (1_000, 24)] {
        let page = Rig::new().first_at(requests(5), every_ms, 55).unwrap();
        assert!((8..=most).contains(&page), "{every_ms} ms: {page}");
    }
}

#[test]
fn so_is_a_perfect_browser_without_assets() {
    for (every_ms, most) in [(200, 30), (2_000, 40), (10_000, 120)] {
        let page = Rig::new().first_at(firefox(6), every_ms, 55).unwrap();
        assert!((8..=most).contains(&page), "{every_ms} ms: {page}");
    }
}

#[test]
fn a_browser_s_name_without_its_headers_is_found_sooner() {
    let page = Rig::new().first_at(Client { ip: [3, 5, 140, 1], fields: GO }, 1_000, 55).unwrap();
    assert!(page <= 20, "{page}");
    let first = Rig::new().get(Client { ip: [3, 5, 140, 1], fields: GO }, "/");
    assert_eq!(
        codes(&first),
        ["cloud_address", "no_accept", "no_accept_language", "no_client_hints", "no_fetch_metadata"]
    );
    assert_eq!(first.score, 22, "odd, and nothing else");
}

#[test]
fn a_reader_with_assets_stays_low() {
    let rig = Rig::new();
    for page in 0..400 {
        rig.wait(12_000 + page % 7 * 4_000);
        let got = rig.get(firefox(7), &article(page));
        assert!(got.score < 20, "page {page}: {got:?}");
        for asset in 0..10 {
            rig.get(firefox(7), &format!("/static/{page}-{asset}.css"));
        }
    }
}

#[test]
fn a_reader_without_images_and_scripts_never_gets_past_a_tag() {
    let rig = Rig::new();
    for page in 0..1_000 {
        // 18 to 42 seconds, hours on end.
        rig.wait(18_000 + page * 5 % 7 * 4_000);
        let got = rig.get(firefox(8), &article(page));
        assert!(got.score < 40, "page {page}: {got:?}");
    }
}

#[test]
fn a_restored_session_is_no_scraper() {
    let rig = Rig::new();
    for tab in 0..40 {
        rig.wait(20);
        assert!(rig.get(firefox(8), &article(tab)).score < 40, "tab {tab}");
    }
}

#[test]
fn a_browser_next_to_a_scraper_on_one_address_keeps_its_own_rate() {
    let rig = Rig::new();
    rig.get(firefox(9), "/");
    for asset in 0..20 {
        rig.get(firefox(9), &format!("/static/{asset}.css"));
    }
    for i in 0..80 {
        rig.wait(500);
        rig.get(requests(9), &format!("/news/a-b-c-{i}"));
    }
    assert_eq!(rig.get(firefox(9), "/news/a-b-c-1").score, 0);
    const FRENCH: &[(&str, &str)] = &[FIREFOX[0], FIREFOX[1], ("accept-language", "fr"), FIREFOX[3], FIREFOX[4]];
    let came = rig.get(Client { fields: FRENCH, ..firefox(9) }, "/");
    assert!((10..40).contains(&came.score), "half of the rate of the address: {came:?}");
    assert!(came.shared, "and a quota that nobody else can spend");
}

#[test]
fn to_wait_as_one_was_asked_to_is_no_peace() {
    let rate_after = |asked: u64, stays_away: u64| {
        let rig = Rig::new();
        let last = (0..60).map(|page| {
            rig.wait(300);
            rig.get(requests(21), &article(page))
        });
        let last = last.last().unwrap();
        rig.judge.state.note_refusal(last.client.unwrap(), Duration::from_secs(asked));
        rig.wait(stays_away * 1_000);
        (last.points.rate, rig.get(requests(21), &article(61)).points.rate)
    };
    let (before, polite) = rate_after(300, 300);
    assert!(before >= 20.0 && polite >= before, "{before} {polite}");
    // Five minutes beyond that halve it, as ever; what happens then may add to it.
    let (before, later) = rate_after(300, 900);
    assert!(later <= before / 2.0, "{before} {later}");
}

#[test]
fn many_names_on_one_address_are_one_visitor() {
    let rig = Rig::new();
    let names: Vec<&'static [(&str, &str)]> = (0..30)
        .map(|i| {
            let name: &'static str =
                format!("Mozilla/5.0 (X11; Linux x86_64; rv:{i}.0) Gecko/20100101 Firefox/{i}.0").leak();
            let fields: &'static mut [(&str, &str)] =
                vec![("user-agent", name), FIREFOX[1], FIREFOX[2], FIREFOX[3]].leak();
            &*fields
        })
        .collect();
    let last = (0..30).map(|i| {
        rig.wait(330);
        rig.get(Client { ip: [203, 0, 113, 44], fields: names[i] }, &format!("/news/a-b-c-{i}"))
    });
    let last = last.reduce(|_, last| last).unwrap();
    assert!(codes(&last).contains(&"agent_rotation"), "{last:?}");
    assert!(last.score >= 40, "{last:?}");
}

#[test]
fn a_new_address_for_each_page_is_one_visitor_too() {
    let rig = Rig::new();
    let page = (1..400u32).find(|i| {
        rig.wait(500);
        let ip = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x12, *i as u16, 0, 0, 0, 1);
        let (mut head, _) = rig.visitor(firefox(1), &format!("/news/a-b-c-{i}"));
        head.extensions.insert(crate::visitor::Peer { address: (ip, 1).into(), secure: true });
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), rig.clock.unix()).unwrap();
        rig.judge(&visitor, &head).score >= 55
    });
    assert!(page.is_some_and(|page| page <= 130), "{page:?}");
}

#[test]
fn traps_count_and_count_again() {
    let rig = Rig::new();
    let (head, visitor) = rig.visitor(firefox(20), "/.deckle/t/x");
    let caught = Visitor { trap: Some(crate::visitor::Trap::HoneyLink), ..visitor.clone() };
    let ahead = Visitor { prefetch: true, ..caught.clone() };
    assert_eq!(rig.judge(&ahead, &head).score, 0, "a browser that looks ahead is not caught");
    assert_eq!(rig.judge(&caught, &head).score, 70);
    assert_eq!(rig.judge(&caught, &head).score, 100);
    assert!(rig.judge(&visitor, &head).score >= 99, "for a day");
}

#[test]
fn a_hidden_link_counts_half_for_a_browser_that_loads_the_files_of_its_pages() {
    let rig = Rig::new();
    rig.get(firefox(21), &article(1));
    for asset in 1..=3 {
        rig.get(firefox(21), &format!("/static/{asset}.css"));
    }
    let (head, visitor) = rig.visitor(firefox(21), "/.deckle/t/x");
    let caught = |trap| Visitor { trap: Some(trap), ..visitor.clone() };
    assert_eq!(rig.judge(&caught(crate::visitor::Trap::HoneyLink), &head).score, 35);
    assert_eq!(rig.judge(&caught(crate::visitor::Trap::HoneyLink), &head).score, 35, "the same link again");
    assert!(rig.judge(&caught(crate::visitor::Trap::RobotsCanary), &head).score >= 95, "no page leads there");
}

#[test]
fn a_pass_speaks_for_its_holder_until_it_goes_around() {
    let rig = Rig::new();
    let pass = crate::visitor::pass::Pass { id: [7; 8], issued: 1_790_000_100, expires: 1_790_700_100 };
    let with_pass = |net: u8| {
        let (head, visitor) = rig.visitor(Client { ip: [198, 51, net, 1], fields: REQUESTS }, "/");
        rig.judge(&Visitor { pass: Some(pass), ..visitor }, &head)
    };
    let first = with_pass(1);
    assert_eq!((first.score, codes(&first)), (0, vec!["claim_library", "pass_token"]));
    let last = (2..=20).map(with_pass).reduce(|_, last| last).unwrap();
    assert_eq!(codes(&last), ["claim_library", "token_networks"]);
    assert_eq!(last.score, 55);
}

#[test]
fn headers_do_not_turn_a_page_into_something_cheaper() {
    let rig = Rig::new();
    let sly = Client { ip: [203, 0, 113, 1], fields: &[("x-requested-with", "x")] };
    assert_eq!(rig.visitor(sly, "/a-b-c").1.route, RouteClass::Api);
    assert!(rig.get(sly, "/a-b-c").counts_as_page, "nothing is known of it yet");
    let state = &rig.judge.state;
    state.learn_path(state.path_hash("/a-b-c"), PathKind::Data);
    assert!(!rig.get(sly, "/a-b-c").counts_as_page, "it answers data");
    state.learn_path(state.path_hash("/a-b-c"), PathKind::Html);
    assert!(rig.get(sly, "/a-b-c").counts_as_page);
    let ahead = Client { ip: [203, 0, 113, 2], fields: &[("sec-purpose", "prefetch")] };
    let counted = (0..20).filter(|_| rig.get(ahead, "/a-b-c").counts_as_page).count();
    assert_eq!(counted, 10, "prefetches are free ten times");
}

#[test]
fn requests_inside_a_wait_are_charged_once() {
    let rig = Rig::new();
    let first = rig.get(requests(10), "/x");
    rig.judge.state.note_refusal(first.client.unwrap(), Duration::from_secs(60));
    let charged = (0..20).filter(|_| codes(&rig.get(requests(10), "/x")).contains(&"ignored_retry_after")).count();
    assert_eq!(charged, 1);
}

#[test]
fn a_muted_signal_counts_no_more() {
    let rig = Rig::new();
    (1..=200u64).for_each(|net| _ = rig.judge.state.standings.enter(net, true, Tick(0)));
    let bit = 1 << state::bit(Signal::NoAccept).unwrap();
    (0..5).for_each(|_| _ = rig.judge.state.standings.fired(bit).count());
    let first = rig.get(Client { ip: [203, 0, 113, 1], fields: GO }, "/");
    assert!(!codes(&first).contains(&"no_accept") && codes(&first).contains(&"no_accept_language"));
}

#[test]
fn without_an_address_there_is_no_history() {
    let rig = Rig::new();
    let (head, ()) = http::Request::builder().uri("/").body(()).unwrap().into_parts();
    let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
    let got = rig.judge(&visitor, &head);
    assert_eq!((got.score, got.client, got.degraded), (20, None, false));
}

#[test]
fn a_busy_table_means_no_history_and_no_quota() {
    let rig = Rig::new();
    let known = rig.get(requests(4), "/");
    assert!(!known.degraded && known.client.is_some());
    let (head, visitor) = rig.visitor(requests(4), "/");
    let sub = known.keys.unwrap().sub;
    let busy = rig.judge.state.with_record(sub, |_, _| rig.judge(&visitor, &head)).unwrap();
    assert!(busy.degraded && busy.client.is_none() && busy.address.is_none(), "{busy:?}");
    assert_eq!(codes(&busy), ["claim_library"]);
    assert!(!rig.get(requests(4), "/").degraded, "the next request finds it free");
}

#[test]
fn whoever_is_protected_forgives_nobody_else() {
    let rig = Rig::new();
    let address = rig.get(requests(31), "/").keys.unwrap().address;
    rig.judge.state.with_record(address, |record, _| record.network = 16.0);
    let reader = rig.get(firefox(31), "/").keys.unwrap().own;
    rig.judge.state.with_record(reader, |record, _| record.flags |= state::flag::PROTECTED);
    assert!(rig.get(firefox(31), "/").points.network < 1.0);
    assert!(rig.get(requests(31), "/").points.network > 15.0);
}

#[test]
fn only_what_asks_is_counted() {
    let rig = Rig::new();
    let (mut head, visitor) = rig.visitor(requests(30), "/a-b-c");
    head.method = Method::HEAD;
    assert!(!rig.judge(&visitor, &head).counts_as_page);
}
