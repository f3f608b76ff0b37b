//! Logs that are copies of others, made up, or too large for the memory, and those that deckle writes for other programs.

use super::super::{Batch, Counts};
use super::{FIREFOX, Log, crowd, line, read};
use crate::audit::reader::{Format, Skipped};
use crate::review::input::Chunk;
use crate::review::{FilterArgs, Filters, Review, Source};

#[test]
fn of_two_copies_of_a_log_the_longer_one_counts() {
    let text = crowd(1_200);
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    let (whole, copy, older) = (Log::new(&text), Log::new(&text), Log::new(&text[..half]));
    assert!(half > 64 * 1_024);
    let notes = |sources: &[Source]| {
        let quality = Review::default().read(sources).report.quality;
        assert_eq!(quality.hits, 1_230);
        quality.notes
    };
    let longer = format!("begins as `{}` does, which is longer by {} bytes", whole.0.display(), text.len() - half);
    for sources in [[older.source(), whole.source()], [whole.source(), older.source()]] {
        let notes = notes(&sources);
        let is_told = |note: &String| note.contains(&*older.0.to_string_lossy()) && note.contains(&longer);
        assert!(notes.len() == 1 && notes.iter().all(is_told), "{notes:?}");
    }
    let twice = notes(&[older.source(), whole.source(), copy.source()]);
    assert!(twice.len() == 2 && twice[1].contains("is given twice"), "{twice:?}");
}

/// All visitors come at once and small; then they grow.
#[test]
fn who_grows_keeps_to_the_memory_though_nobody_new_comes() {
    let at = |i: u32| format!("20/Nov/2026:{:02}:{:02}:{:02}", i / 3_600, i / 60 % 60, i % 60);
    let one = |article: u32, visitor: u32| {
        let address = format!("10.0.{}.{}", visitor >> 8, visitor & 255);
        line(&address, &at(article * 100 + visitor / 20), &format!("/news/a-b-c-{article}"), FIREFOX)
    };
    let text: String = (0..48)
        .flat_map(|article| (0..2_000).map(move |visitor| (article, visitor)))
        .map(|(article, visitor)| one(article, visitor))
        .collect();
    let few = read(&Review::default().jobs(1).memory(3 << 20), &text);
    assert!(few.source.approximate.is_some(), "they take more than they may");
    assert_eq!(few.verdict.hits, 96_000, "totals are exact");
    let all = read(&Review::default().jobs(1), &text);
    assert!(all.source.approximate.is_none());
}

#[test]
fn numbers_and_names_that_somebody_made_up_break_nothing() {
    let hit = |instance: &str, seq: u64| {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-20T10:00:00.000Z\",\"deckle.seq\":{seq},\"deckle.instance\":\"{instance}\",\"url.path\":\"/a\",\"deckle.visitor.id\":\"x\"}}\n"
        )
    };
    let sent = |to: &str| {
        format!("{{\"v\":1,\"time\":\"2026-11-20T10:00:00.000Z\",\"deckle.kind\":\"anchored\",\"to\":\"{to}\"}}\n")
    };
    let far = hit("a", 1) + &hit("a", u64::MAX) + &hit("b", 1) + &hit("b", u64::MAX);
    for jobs in [1, 3] {
        assert_eq!(read(&Review::default().jobs(jobs), &far).quality.holes, u64::MAX);
    }
    let many: String = (0..10_500).map(|at| hit(&format!("{at}-{}", "x".repeat(900)), 1)).collect();
    // Of the writer of these nothing is known.
    let many = many + &(0..10_500).map(|at| sent(&format!("file:/{at}"))).collect::<String>();
    let quality = read(&Review::default().jobs(1), &many).quality;
    assert_eq!((quality.instances.len(), quality.anchored.len(), quality.hits), (10_000, 10_000, 10_500));
    assert!(quality.instances.iter().all(|name| name.len() == 256), "{:?}", quality.instances.first());
    assert!(quality.notes.iter().any(|note| note.contains("writers or more")), "{:?}", quality.notes);
}

#[test]
fn bad_lines_take_no_more_memory_than_they_may() {
    let plan = &Review::default().plan;
    let mut counts = Counts::new(plan, 1);
    let chunk = Chunk { bytes: Vec::new(), too_long: 0, too_long_bytes: 0, last: true };
    let batch = Batch::new(0, chunk, &mut plan.reading.reader(Format::Combined));
    let bad = (0..100).map(|line| (0, line, Skipped::Malformed, vec![b'x'; 1 << 20])).collect();
    counts.add_lines(&[&batch], &[100], bad);
    assert_eq!(counts.bad.len(), 64);
}

/// `combined+deckle`: by the quick reader, and by the other one.
#[test]
fn what_deckle_thought_counts_from_its_access_log_too() {
    let judged = |second: u32, path: &str| {
        let line = line("203.0.113.0", &format!("20/Nov/2026:10:00:{second:02}"), path, FIREFOX);
        line.replace("\"\n", "\" \"ai-train/failed/80/tag/k1-0123456789ab\"\n")
    };
    let text = judged(1, "/news/a-b-c-1") + &judged(2, "/news/a-b-c-2") + &judged(3, r"/news/a-b-c-3?x=\x22");
    let report = read(&Review::default(), &text);
    let (agent, suspect) = (&report.agents[0], &report.suspects[0]);
    assert_eq!((agent.category, agent.verification, agent.hits), ("ai-train", "failed", 3), "{agent:?}");
    assert!(suspect.articles == 3 && suspect.reasons[0].contains("and is not"), "{suspect:?}");
    let done = report.actions.rows.iter().find(|row| row.action == "tag").map(|row| row.done);
    assert_eq!((done, report.marks.issued), (Some(3), 3), "{:?}", report.actions.rows);
    let args = FilterArgs { expression: Some("score>=80 && mark~\"k1\"".into()), ..FilterArgs::default() };
    let filters = Filters::new(&args, std::time::Duration::ZERO).unwrap();
    assert_eq!(read(&Review::default().filters(filters), &text).quality.hits, 3);
}
