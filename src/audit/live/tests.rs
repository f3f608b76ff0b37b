use std::time::Duration;

use super::*;
use crate::action::{Clamps, Decision, Mode, Moment, Rule};
use crate::audit::PageSummary;
use crate::audit::record::blank;
use crate::clock::ManualClock;
use crate::suspicion::{Assessment, Fired, Signal};
use crate::visitor::{self, ClientAddress, Visitor};

const NOW: u64 = 1_800_000_000;

fn live() -> Live {
    Live::new(&Settings::default(), ManualClock::at(NOW))
}

fn visitor(address: &str, agent: &str) -> Visitor {
    let (head, ()) = http::Request::builder().uri("/a-b-c").header("user-agent", agent).body(()).unwrap().into_parts();
    let visitor = Visitor::from_head(&head, &visitor::Settings::default(), Duration::ZERO).unwrap();
    Visitor { address: ClientAddress { ip: Some(address.parse().unwrap()), ..ClientAddress::UNKNOWN }, ..visitor }
}

fn record(address: &str, agent: &str, score: u8) -> AuditRecord {
    let signals = [Fired { signal: Signal::ArticleRun, points: 8 }, Fired { signal: Signal::NoAssets, points: 20 }];
    let signals = signals.into_iter().collect();
    let assessment = Assessment { score, signals, took: Duration::from_micros(20), ..Assessment::unknown() };
    AuditRecord {
        time: Duration::from_secs(NOW),
        user_agent: Some(agent.as_bytes().to_vec()),
        visitor: Some(visitor(address, agent)),
        assessment: Some(assessment),
        ..blank()
    }
}

/// As the policy of scanners has it.
fn refused(record: AuditRecord, mode: Mode) -> AuditRecord {
    let (would, action, clamps) = match mode {
        Mode::Observe => (Some(Action::Block), Action::Allow, [Clamp::Observe].into_iter().collect()),
        Mode::Enforce => (None, Action::Block, Clamps::new()),
    };
    let rule = Rule::Policy(Category::Scanner);
    let moment = Moment::default();
    let decision = Decision { action, would, rule, clamps, limit: None, delay: None, challenge: None, moment };
    AuditRecord { decision: Some(decision), ..record }
}

#[test]
fn what_comes_in_is_counted_once_everywhere() {
    let live = live();
    live.note(&record("192.0.2.1", "Mozilla/5.0 Firefox/140.0", 0));
    live.note(&record("192.0.2.2", "Wget/1.21", 25));
    let mut robot = record("192.0.2.3", "Wget/1.21", 45);
    robot.page =
        Some(PageSummary { rewrite: "skipped", skip: Some("status"), mark_late: true, ..PageSummary::default() });
    live.note(&robot);
    let now = live.snapshot();
    assert_eq!((now.requests, now.bytes, now.suspected, now.refused, now.taken), (3, 30, 1, 0, 1));
    let step = now.hour.last().unwrap();
    assert_eq!((step.people, step.robots, step.suspected, step.refused), (1, 1, 1, 0));
    assert_eq!(now.day.last().unwrap().people, 1);
    let row = |name: &str| now.categories.iter().find(|row| row.category == name).unwrap();
    assert_eq!((row("browser").requests, row("library").requests, row("library").bytes), (1, 2, 20));
    assert_eq!(now.actions.last(), Some(&ActionRow { action: "none", done: 3, would: 0 }));
    assert_eq!(now.skips, [Count { name: "status", count: 1 }]);
    assert_eq!(now.mark_late, 1);
    assert_eq!(now.statuses[0], Count { name: "2xx", count: 3 });
    assert_eq!(now.judging.counts.iter().sum::<u64>(), 3);
    assert_eq!(now.articles[0].path, "/2026/11/20/a-b-c");
}

#[test]
fn every_action_and_state_has_its_row() {
    use Action::{Allow, Block, Card, Challenge, Decoy, License, Limit, Slow, Tag};
    let codes = [Allow, Tag, Slow, Card, Limit, License, Challenge, Decoy, Block].map(Action::code);
    assert_eq!(codes[..], ACTIONS[..9]);
    assert_eq!(live().snapshot().categories.len(), Category::ALL.len());
}

#[test]
fn a_suspect_has_reasons_and_stays_one() {
    let live = live();
    live.note(&record("192.0.2.7", "Wget/1.21", 20));
    assert_eq!(live.snapshot().suspects_known, 0);
    live.note(&record("192.0.2.7", "Wget/1.21", 60));
    live.note(&record("192.0.2.7", "Wget/1.21", 20));
    let suspect = live.snapshot().suspects.remove(0);
    assert_eq!((suspect.score, suspect.requests, suspect.articles), (60, 2, 2));
    assert_eq!(suspect.reasons[0], Reason { signal: Signal::NoAssets, points: 20 });
    assert_eq!(suspect.visitor, "192.0.2.0/24", "as the log shows it");
}

#[test]
fn who_would_be_refused_is_a_suspect_in_mode_observe_too() {
    let scanner = |mode| {
        let live = live();
        live.note(&refused(record("192.0.2.9", "sqlmap/1.8", 0), mode));
        live.snapshot()
    };
    let (observe, enforce) = (scanner(Mode::Observe), scanner(Mode::Enforce));
    assert_eq!((observe.suspects_known, observe.refused), (1, 0));
    assert_eq!((enforce.suspects_known, enforce.refused, enforce.taken), (1, 1, 0));
    assert_eq!(enforce.suspects[0].visitor, "192.0.2.9", "who is refused is named in full");
    assert_eq!(enforce.suspects[0].rule, "action.policy.scanner");
}

#[test]
fn memory_is_bounded_and_the_heavy_ones_stay() {
    let live = live();
    let heavy = record("198.51.100.1", "Wget/1.21", 90);
    (0..50).for_each(|_| live.note(&heavy));
    for i in 0..3_000u32 {
        let address = std::net::Ipv4Addr::from(0xCB00_7100 + i).to_string();
        let mut light = record(&address, "Wget/1.21", 41);
        light.path = format!("/news/a-b-c-{i}").into();
        live.note(&light);
    }
    let now = live.snapshot();
    assert_eq!((now.suspects_known, now.suspects.len(), now.articles.len()), (512, 20, 20));
    assert_eq!(now.suspects[0].visitor, "198.51.100.0/24");
    assert_eq!(now.articles[0].copies, 50);
    assert!(serde_json::to_string(&now).unwrap().len() < 64 * 1024);
}

#[test]
fn hidden_characters_are_not_passed_on() {
    let live = live();
    let mut record = record("192.0.2.7", "Wget/1.21", 60);
    record.user_agent = Some("Wget\u{1B}[31m\u{202E}".as_bytes().to_vec());
    live.note(&record);
    assert_eq!(live.snapshot().suspects[0].user_agent, "Wget\u{FFFD}[31m\u{FFFD}");
}
