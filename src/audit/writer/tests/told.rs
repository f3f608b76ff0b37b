//! What the log tells of beside responses: pages and secrets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{Rig, hits, of_kind};
use crate::audit::record::blank;
use crate::audit::{AuditRecord, PageSummary, Sink};
use crate::secret::{Secret, Secrets};
use crate::watermark::{PlanNote, VariantNote};

/// A response that carries a mark in this page.
fn marked(plan: u8, path: &str, variants: usize) -> AuditRecord {
    let alternatives = [Bytes::from_static(b"although"), Bytes::from_static(b"though")];
    let variant = VariantNote { context: Bytes::from_static(b"it\x1Fis\x1Fso\x1Fhe"), alternatives };
    let note = PlanNote {
        id: [plan; 8],
        words: 612,
        sketch: [1, 2, 3].into(),
        variants: vec![variant; variants].into_boxed_slice(),
    };
    let page =
        PageSummary { mark: Some("k1-0123456789ab".into()), plan: Some(Arc::new(note)), ..PageSummary::default() };
    AuditRecord { path: path.into(), page: Some(page), ..blank() }
}

/// What the lines are: the plan of a line about a page, else the kind of the line.
fn told(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let of = |line: &Value| match text(line, "deckle.kind").as_str() {
        "" => format!("hit {}", text(line, "deckle.mark.plan")),
        kind @ ("page" | "variants") => format!("{kind} {}", text(line, "deckle.mark.plan")),
        kind => kind.to_owned(),
    };
    lines.iter().map(of).filter(|what| !matches!(what.as_str(), "checkpoint" | "gap")).collect()
}

#[test]
fn a_page_is_told_of_once_a_segment_before_its_first_response() {
    let rig = Rig::new("plans", 50_000_000, 0);
    let unmarked = |plan| {
        let mut record = marked(plan, "/a", 0);
        record.page.as_mut().unwrap().mark = None;
        record
    };
    for record in [unmarked(1), marked(1, "/a", 0), marked(1, "/a", 0), marked(2, "/a?b", 2)] {
        rig.write(record);
    }
    rig.sink.reopen();
    Rig::until(|| rig.segments() == 2);
    rig.write(marked(1, "/a", 0));
    rig.sink.close();
    let lines = rig.lines();
    let (one, two) = ("0101010101010101", "0202020202020202");
    let expect = [
        "segment",
        "hit ",
        &format!("page {one}"),
        &format!("hit {one}"),
        &format!("hit {one}"),
        &format!("page {two}"),
        &format!("variants {two}"),
        &format!("hit {two}"),
        "end",
        "segment",
        &format!("page {one}"),
        &format!("hit {one}"),
        "end",
    ];
    assert_eq!(told(&lines), expect);
    let page = of_kind(&lines, "page")[0];
    assert_eq!((page["url.path"].as_str(), page["deckle.page.words"].as_u64()), (Some("/a"), Some(612)), "{page}");
    assert_eq!(page["deckle.page.sketch"], "AAAAAQAAAAIAAAAD");
    assert_eq!(page["deckle.site"], "default");
    let variants = &of_kind(&lines, "variants")[0]["deckle.mark.variants"];
    assert_eq!(variants[1], serde_json::json!(["it", "is", "so", "he", "although", "though"]));
    assert_eq!(variants.as_array().unwrap().len(), 2);
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        assert_eq!(next["deckle.seq"].as_u64(), line["deckle.seq"].as_u64().map(|seq| seq + 1), "{line} {next}");
    }
}

#[test]
fn a_page_is_told_of_again_when_its_lines_were_lost() {
    let rig = Rig::new("plans-lost", 50_000_000, 0);
    rig.write(blank());
    // Part of it finds room.
    rig.disk.room.store(100, Ordering::SeqCst);
    rig.sink.record(Box::new(marked(1, "/a", 300)));
    Rig::until(|| rig.sink.stats().drops().disk_full > 0);
    rig.disk.room.store(50_000_000, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(60));
    rig.write(marked(1, "/a", 300));
    rig.sink.close();
    let (lines, plan) = (rig.lines(), "0101010101010101");
    let told: Vec<String> = told(&lines).into_iter().filter(|what| what.ends_with(plan)).collect();
    assert_eq!(told, [format!("page {plan}"), format!("variants {plan}"), format!("hit {plan}")]);
    assert!(lines.iter().all(|line| line.to_string().len() < 16_000));
}

#[test]
fn a_page_that_is_new_each_time_and_one_with_many_alternatives_stay_within_bounds() {
    let rig = Rig::new("plans-many", 50_000_000, 0);
    for plan in 0..20 {
        rig.write(marked(plan, "/clock", 0));
    }
    rig.write(marked(20, "/long", 4_000));
    rig.sink.close();
    let lines = rig.lines();
    let clock = of_kind(&lines, "page").iter().filter(|line| line["url.path"] == "/clock").count();
    assert_eq!((clock, hits(&lines)), (4, 21), "the record of each names its plan, but only some are told of");
    let variants = of_kind(&lines, "variants");
    let rows: usize = variants.iter().map(|line| line["deckle.mark.variants"].as_array().unwrap().len()).sum();
    assert_eq!(rows, 4_000);
    assert!(variants.len() > 3 && variants.iter().all(|line| line.to_string().len() <= 16_000));
}

#[test]
fn the_first_line_of_a_segment_names_the_secrets_in_use() {
    let rig = Rig::new("secret-ids", 50_000_000, 0);
    rig.write(blank());
    let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
    rig.sink.secrets(&secrets).unwrap();
    Rig::until(|| rig.segments() == 2);
    // The same again changes nothing.
    rig.sink.secrets(&secrets).unwrap();
    rig.write(blank());
    rig.sink.reopen();
    Rig::until(|| rig.segments() == 3);
    rig.sink.close();
    let lines = rig.lines();
    let ids: Vec<&Value> = of_kind(&lines, "segment").into_iter().map(|line| &line["secret.ids"]).collect();
    let named = serde_json::json!(["1:aabfa0db"]);
    assert_eq!(ids, [&Value::Null, &named, &named]);
}
