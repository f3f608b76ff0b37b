//! Lines written by hand, and what another policy makes of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Events, SimulatedPolicy};
use crate::audit::reader::Hit;
use crate::review::engine::{AgentCache, AgentTable, Row};
use crate::review::report::{AffectedClass, Simulation};
use crate::review::{FilterArgs, Filters, Report, Review, Source};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const NIKTO: &str = "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:map_codes)";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// A request for a page.
pub(super) fn push(events: &mut Events, chunk: u32, (address, agent, path): (&str, &str, &str), seconds: u64) {
    let table = AgentTable::new(1 << 20);
    let mut cache = AgentCache::new(&table);
    let mut row = Row::blank(&mut cache);
    row.hit = Hit {
        time: std::time::Duration::from_secs(seconds),
        address: address.into(),
        user_agent: Some(agent.into()),
        method: "GET".into(),
        path: path.into(),
        ..Hit::default()
    };
    row.complete(&mut cache);
    events.push(&row, chunk, true, None);
}

/// A file that is gone with the test.
struct Log(PathBuf);

impl Log {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("deckle-simulate-{}-{}.log", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn policy(text: &str) -> SimulatedPolicy {
    toml::from_str(text).unwrap()
}

fn report(review: Review, text: &str, under: &str) -> Report {
    let log = Log::new(text);
    review.simulate(policy(under)).unwrap().read(&[Source::Path(log.0.clone())]).report
}

fn simulated(text: &str, under: &str) -> Simulation {
    report(Review::default(), text, under).simulation.unwrap()
}

fn cell(of: &Simulation, current: &str, simulated: &str) -> u64 {
    let cells = of.matrix.iter().filter(|cell| cell.current == current && cell.simulated == simulated);
    cells.map(|cell| cell.requests).sum()
}

/// Visitors and their requests.
fn size(class: &AffectedClass) -> (u64, u64) {
    (class.visitors, class.requests)
}

/// A line of another program's log, and its place.
fn combined(address: &str, second: u32, path: &str, status: u16, agent: &str) -> (u32, String) {
    let (hour, minute) = (10 + second / 3_600, second / 60 % 60);
    let time = format!("20/Nov/2026:{hour}:{minute:02}:{:02} +0000", second % 60);
    (second, format!("{address} - - [{time}] \"GET {path} HTTP/1.1\" {status} 1000 \"-\" \"{agent}\"\n"))
}

fn in_order(mut lines: Vec<(u32, String)>) -> String {
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn reader(address: &str) -> Vec<(u32, String)> {
    let page = |story: u32| {
        let at = story * 200 + story * story % 37;
        let page = combined(address, at, &format!("/news/a-story-of-{}", story * 7 % 12), 200, FIREFOX);
        [page, combined(address, at + 1, &format!("/style-{story}.css"), 200, FIREFOX)]
    };
    (0..12).flat_map(page).collect()
}

fn site() -> String {
    let mut lines = reader("198.51.100.2");
    lines.extend((0..90).map(|n| combined("203.0.113.9", n, &format!("/news/a-story-of-{n}"), 200, "Wget/1.21")));
    lines.extend((0..5).map(|n| combined("203.0.113.11", 60 + n * 7, "/admin/login", 404, NIKTO)));
    in_order(lines)
}

#[test]
fn a_log_of_another_program_is_judged_from_nothing() {
    let of = simulated(&site(), "");
    assert_eq!((of.mode, of.requests, of.own, of.undecided), ("observe", 119, 0, 0));
    assert_eq!(of.matrix.iter().map(|cell| cell.requests).sum::<u64>(), 119);
    assert!(of.matrix.iter().all(|cell| cell.current == "allow"), "nothing was done then: {:?}", of.matrix);
    assert_eq!(cell(&of, "allow", "allow"), 24, "the reader and what belongs to its pages: {:?}", of.matrix);
    assert!(cell(&of, "allow", "tag") > 0, "a tool that has only begun: {:?}", of.matrix);
    let refused: u64 = ["limit", "challenge", "block"].iter().map(|action| cell(&of, "allow", action)).sum();
    assert!(refused > 25, "a scanner, and a page a second without end: {:?}", of.matrix);
    assert_eq!((size(&of.affected.human), size(&of.affected.verified)), ((0, 0), (0, 0)));
    let suspected = &of.affected.suspected;
    assert_eq!((suspected.visitors, suspected.rows.len()), (2, 2));
    assert!(suspected.rows[0].name.contains("wget") || suspected.rows[0].name.contains("Wget"), "{suspected:?}");
    assert!(suspected.rows[0].reasons.iter().any(|reason| reason.contains("90 pages")), "{suspected:?}");
    let scanner = &suspected.rows[1];
    assert_eq!((scanner.action, scanner.rule.as_str(), scanner.requests), ("block", "action.policy.scanner", 5));
    assert!(of.bytes_saved >= 5_000 && of.bytes_saved < 119_000, "{}", of.bytes_saved);
    assert!(of.notes.iter().any(|note| note.contains("mode `observe`")), "{:?}", of.notes);
}

#[test]
fn signals_that_no_access_log_supplies_are_listed_and_hold_against_nobody() {
    let of = simulated(&site(), "[suspicion.score]\nsignals = { accept_any = 0 }\n");
    let names: Vec<&str> = of.unavailable.iter().map(|row| row.signal).collect();
    for signal in ["no_accept_language", "no_client_hints", "no_beacon", "cohort", "pass_token", "deep_direct"] {
        assert!(names.contains(&signal), "{signal}: {names:?}");
    }
    for signal in
        ["no_assets", "regular_gaps", "claim_library", "page_soft", "exploit_probe", "accept_any", "honey_link"]
    {
        assert!(!names.contains(&signal), "{signal}: {names:?}");
    }
    // However dear they are.
    let dear = "[suspicion.score]\nsignals = { no_accept = 100, no_accept_language = 100, no_fetch_metadata = 100 }\n\
        caps = { headers = 100 }\n";
    assert_eq!(cell(&simulated(&site(), dear), "allow", "allow"), 24);
}

#[test]
fn whoever_is_newly_affected_stands_in_its_class() {
    let mut lines = reader("198.51.100.2");
    lines.extend((0..6).map(|n| combined("66.249.66.1", n * 90, &format!("/news/a-story-of-{n}"), 200, GOOGLEBOT)));
    lines.extend((0..4).map(|n| combined("203.0.113.9", n * 60, &format!("/news/a-story-of-{n}"), 200, "curl/8.5.0")));
    let log = in_order(lines);
    let mild = simulated(&log, "mode = \"enforce\"");
    assert_eq!((mild.mode, mild.unchanged), ("enforce", 30), "curl is noted: {:?}", mild.matrix);
    assert_eq!(size(&mild.affected.suspected), (0, 0));
    let strict = "[action.policy]\nbrowser = \"block\"\nlibrary = \"block\"\n\
        search = { verified = \"block\", unverified = \"block\", failed = \"block\" }\n";
    let of = simulated(&log, strict);
    assert_eq!(size(&of.affected.human), (1, 24), "{:?}", of.affected);
    assert_eq!(size(&of.affected.verified), (1, 6), "{:?}", of.affected);
    assert_eq!(size(&of.affected.suspected), (1, 4), "{:?}", of.affected);
    let (human, robot) = (&of.affected.human.rows[0], &of.affected.verified.rows[0]);
    assert!(human.reasons.len() >= 2 && human.rule == "action.policy.browser", "{human:?}");
    assert!(robot.name.contains("Googlebot") && robot.reasons.is_empty(), "{robot:?}");
    assert_eq!((human.bytes_saved, robot.bytes_saved, of.bytes_saved), (24_000, 6_000, 34_000));
}

#[test]
fn lines_are_decided_in_the_order_of_arrival_by_any_number_of_threads() {
    let text = site();
    let decided = |review: Review, text: &str| report(review, text, "").simulation.unwrap();
    let one = decided(Review::default().jobs(1), &text);
    let three = decided(Review::default().jobs(3), &text);
    assert_eq!(serde_json::to_string(&three).unwrap(), serde_json::to_string(&one).unwrap());
    // Servers write when the answer is over.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.chunks_mut(7).for_each(<[&str]>::reverse);
    let mixed = decided(Review::default(), &(lines.join("\n") + "\n"));
    assert_eq!(serde_json::to_string(&mixed.matrix).unwrap(), serde_json::to_string(&one.matrix).unwrap());
    assert_eq!(mixed.bytes_saved, one.bytes_saved);
}

#[test]
fn what_the_filters_leave_out_leaves_its_traces_and_is_not_counted() {
    let args = FilterArgs { path: Some("/news/a-story-of-8*".to_owned()), ..FilterArgs::default() };
    let filters = || Filters::new(&args, std::time::Duration::from_secs(1_800_000_000)).unwrap();
    let of = report(Review::default().filters(filters()), &site(), "").simulation.unwrap();
    // 8, 80 to 89 of the tool, 8 of the reader.
    assert_eq!(of.requests, 12, "{:?}", of.matrix);
    assert!(cell(&of, "allow", "allow") == 1 && cell(&of, "allow", "tag") == 1, "{:?}", of.matrix);
    let late: u64 =
        of.matrix.iter().filter(|cell| !["allow", "tag"].contains(&cell.simulated)).map(|c| c.requests).sum();
    assert_eq!(late, 10, "by then it had asked 80 times: {:?}", of.matrix);
}

const BROWSER: &str = r#""deckle.visitor.category":"browser","deckle.visitor.verification":"none","deckle.route":"page","deckle.navigation":true"#;
const CURL: &str = r#""deckle.visitor.category":"library","deckle.visitor.agent":"curl","deckle.visitor.verification":"unverifiable","deckle.route":"page","deckle.navigation":true"#;
const SCANNER: &str = r#""deckle.visitor.category":"scanner","deckle.visitor.agent":"Nikto","deckle.visitor.verification":"unverifiable","deckle.route":"page","deckle.navigation":true"#;
const SCORED: &str = r#""deckle.rule":"suspicion.score.buckets""#;

/// Line after line of one writer, the first second after the policy.
struct Own(Vec<String>);

impl Own {
    fn new(policy: Option<&str>) -> Self {
        let line = |text: &str| {
            let text = serde_json::to_string(text).unwrap();
            format!(
                r#"{{"v":1,"time":"2026-11-20T10:00:00.000Z","deckle.kind":"policy","deckle.seq":1,"deckle.instance":"w","deckle.site":"news","policy.digest":"0123456789ab","text":{text}}}"#
            )
        };
        Self(policy.map(line).into_iter().collect())
    }

    fn hit(mut self, visitor: &str, who: &str, status: u16, what: &str) -> Self {
        let number = self.0.len() + 1;
        self.0.push(format!(
            r#"{{"v":1,"time":"2026-11-20T10:{:02}:{:02}.000Z","deckle.seq":{number},"deckle.instance":"w","deckle.site":"news","http.request.method":"GET","url.path":"/news/a-story-of-{number}","http.response.status_code":{status},"http.response.body.size":1000,"client.address":"203.0.113.0/24","deckle.visitor.id":"{visitor}",{who},{what},"deckle.page.kind":"article"}}"#,
            number / 60,
            number % 60
        ));
        self
    }

    fn text(&self) -> String {
        self.0.join("\n") + "\n"
    }
}

/// A reader, a tool at its first and second request, a scanner, and a scraper that is refused.
fn own(policy: Option<&str>) -> Own {
    let tool = format!(
        r#""deckle.score":25,"deckle.points":["claim:25"],"deckle.signals":["claim_library:25"],"deckle.action":"tag",{SCORED}"#
    );
    Own::new(policy)
        .hit("reader", BROWSER, 200, &format!(r#""deckle.score":0,"deckle.action":"allow",{SCORED},"deckle.circumstances":["page"]"#))
        .hit("tool", CURL, 200, &format!(r#"{tool},"deckle.circumstances":["page","first_request"]"#))
        .hit("tool", CURL, 200, &format!(r#"{tool},"deckle.circumstances":["page"]"#))
        .hit("scanner", SCANNER, 403, r#""deckle.score":40,"deckle.points":["claim:40"],"deckle.signals":["claim_scanner:40"],"deckle.action":"block","deckle.rule":"action.policy.scanner","deckle.circumstances":["page"]"#)
        .hit("scraper", BROWSER, 429, &format!(
            r#""deckle.score":60,"deckle.points":["behaviour:28","headers:6","network:8","rate:18"],"deckle.signals":["article_run:8","cloud_address:8","no_accept_language:6","no_assets:20","page_soft:6"],"deckle.action":"limit",{SCORED},"deckle.circumstances":["page"],"deckle.limit.name":"limited","deckle.limit.retry_after":20"#
        ))
}

#[test]
fn the_same_policy_changes_nothing_and_leads_to_what_the_lines_say() {
    for text in ["", "mode = \"enforce\"\n[action.limits]\nlimited = { every = \"30s\", burst = 3 }\n"] {
        let of = simulated(&own(Some(text)).text(), text);
        assert_eq!((of.requests, of.unchanged, of.own, of.reproduced), (5, 5, 5, 5), "{:?}", of.matrix);
        assert!(of.affected.suspected.rows.is_empty() && of.bytes_saved == 0 && of.unavailable.is_empty(), "{of:?}");
    }
    // Nor does it where the log does not say what the policy was.
    let of = simulated(&own(None).text(), "");
    assert_eq!((of.unchanged, of.reproduced), (5, 0), "{:?}", of.matrix);
    assert!(of.notes.iter().any(|note| note.contains("does not hold the policy")), "{:?}", of.notes);
}

#[test]
fn what_was_observed_is_priced_anew() {
    let log = own(Some("")).text();
    // 60 points: a limit, but for a first request that claims to be a tool; then it is clear, too.
    let of = simulated(&log, "[suspicion.score]\nsignals = { claim_library = 60 }\n");
    assert_eq!((cell(&of, "tag", "limit"), of.unchanged), (2, 3), "{:?}", of.matrix);
    assert_eq!(size(&of.affected.suspected), (1, 2));
    assert_eq!(of.affected.suspected.rows[0].rule, "suspicion.score.buckets");
    // With a lower bound for waits the first request is clamped, and the second is not.
    let of = simulated(&log, "[suspicion.score]\nbuckets = [10, 20, 50, 70, 85, 95]\n");
    assert_eq!((cell(&of, "tag", "tag"), cell(&of, "tag", "slow")), (1, 1), "{:?}", of.matrix);
    // A scraper without its missing assets: 40 points.
    let of = simulated(&log, "[suspicion.score]\nsignals = { no_assets = 0 }\n");
    assert_eq!((cell(&of, "limit", "slow"), of.unchanged), (1, 4), "{:?}", of.matrix);
}

#[test]
fn policies_caps_and_lists_are_those_of_the_file() {
    let log = own(Some("")).text();
    let of = simulated(&log, "[action.policy]\nscanner = \"allow\"\n");
    assert_eq!((cell(&of, "block", "allow"), of.unchanged), (1, 4), "{:?}", of.matrix);
    let of = simulated(&log, "[action]\nmax_action = \"tag\"\n");
    assert_eq!((cell(&of, "block", "tag"), cell(&of, "limit", "tag")), (1, 1), "{:?}", of.matrix);
    let of = simulated(&log, "[visitor]\ndeny = [\"203.0.112.0/22\"]\n");
    assert_eq!(cell(&of, "allow", "block") + cell(&of, "tag", "block") + cell(&of, "limit", "block"), 4);
    assert_eq!(of.bytes_saved, 3_000, "what was refused then was not sent");
    // A list that holds only a part of the network that the log names holds nobody for certain.
    let of = simulated(&log, "[visitor]\ndeny = [\"203.0.113.8/32\"]\n");
    assert_eq!(of.unchanged, 5, "{:?}", of.matrix);
    let of = simulated(&log, "[visitor.routes]\nnever = [\"/news/**\"]\n");
    assert_eq!((cell(&of, "block", "allow"), cell(&of, "limit", "allow")), (1, 1), "{:?}", of.matrix);
}

#[test]
fn quotas_are_asked_anew_where_they_are_others() {
    let page = format!(r#""deckle.score":0,"deckle.action":"allow",{SCORED},"deckle.circumstances":["page"]"#);
    let log = (0..30).fold(Own::new(Some("")), |log, _| log.hit("fast", BROWSER, 200, &page)).text();
    assert_eq!(simulated(&log, "").unchanged, 30);
    let hard = "[action.limits]\npage_hard = { every = \"10s\", burst = 5 }\n";
    let of = simulated(&log, hard);
    assert!((20..=23).contains(&cell(&of, "allow", "limit")), "{:?}", of.matrix);
    assert_eq!(of.affected.suspected.rows[0].rule, "action.limits.page_hard");
    // Refusals of the soft quota are points.
    let soft = "[action.limits]\npage_soft = { every = \"60s\", burst = 3 }\n\
        [suspicion.score]\nsignals = { page_soft = 30 }\ncaps = { rate = 60 }\n";
    let of = simulated(&log, soft);
    assert!(cell(&of, "allow", "tag") >= 1 && cell(&of, "allow", "limit") >= 20, "{:?}", of.matrix);
}

#[test]
fn what_was_only_observed_counts_as_what_would_have_been_done() {
    let would = r#""deckle.score":40,"deckle.points":["claim:40"],"deckle.signals":["claim_scanner:40"],"deckle.action":"allow","deckle.would_action":"block","deckle.rule":"action.policy.scanner","deckle.clamps":["observe"],"deckle.circumstances":["page"]"#;
    let early =
        would.replace(r#"["observe"]"#, r#"["warm_up","observe"]"#).replace(r#"["page"]"#, r#"["page","warm_up"]"#);
    let log = Own::new(Some("")).hit("one", SCANNER, 200, would).hit("one", SCANNER, 200, &early).text();
    let of = simulated(&log, "mode = \"enforce\"\n");
    assert_eq!((cell(&of, "block", "block"), cell(&of, "limit", "limit"), of.reproduced), (1, 1, 2), "{:?}", of.matrix);
    assert_eq!(of.bytes_saved, 1_000, "it was sent, and would not be");
}

#[test]
fn lines_without_a_decision_and_of_older_versions_are_read() {
    let log = Own::new(Some(""))
        .hit("gone", BROWSER, 200, r#""deckle.score":0"#)
        .hit("old", CURL, 200, &format!(r#""deckle.score":25,"deckle.points":["claim:25"],"deckle.signals":["claim_library:25"],"deckle.action":"tag",{SCORED}"#))
        .hit("odd", BROWSER, 200, &format!(r#""deckle.score":7,"deckle.points":["claim:300","x:1"],"deckle.signals":["no_such:3","no_assets"],"deckle.action":"allow",{SCORED}"#))
        .text();
    let of = simulated(&log, "[suspicion.score]\nsignals = { claim_library = 60 }\n");
    assert_eq!((of.requests, of.undecided, cell(&of, "tag", "limit")), (2, 1, 1), "{:?}", of.matrix);
}

/// `combined+deckle` says what was thought, and not on what it hung.
#[test]
fn an_access_log_of_deckle_is_judged_from_nothing() {
    let judged = site().replace("\"\n", "\" \"browser/none/7/allow/-\"\n");
    let (of, plain) = (simulated(&judged, ""), simulated(&site(), ""));
    assert_eq!((of.requests, of.undecided), (plain.requests, 0));
    assert_eq!(format!("{:?}", of.matrix), format!("{:?}", plain.matrix));
}

#[test]
fn a_policy_that_does_not_hold_is_refused() {
    let refused = |text: &str| Review::default().simulate(policy(text)).unwrap_err().to_string();
    assert!(refused("[action.limits]\npage_soft = { every = \"3s\", burst = 2 }\n").contains("page_soft"));
    assert!(refused("[suspicion.score]\nbuckets = [1, 1, 2, 3, 4, 5]\n").contains("suspicion.score.buckets"));
    assert!(refused("[visitor.routes]\nmount = \"no\"\n").contains("visitor.routes.mount"));
}
