use super::*;
use crate::audit::sample_log::SampleLog;

fn check(log: &SampleLog) -> Verification {
    verify(std::slice::from_ref(&log.dir), &[])
}

fn verdict(log: &SampleLog, number: u64) -> Verdict {
    let found = check(log);
    let segment = found.segments.iter().find(|segment| segment.name == log.name(number));
    segment.unwrap_or_else(|| panic!("{found}")).verdict.clone()
}

fn modified(verdict: &Verdict) -> (u64, u64, u64) {
    match verdict {
        Verdict::Modified { block, first_seq, last_seq, .. } => (*block, *first_seq, *last_seq),
        other => panic!("{other}"),
    }
}

/// Numbers of a segment of [`SampleLog::three`]: the first line 1, blocks of 5, 6, 6 and, with the end, 2 lines.
const LENGTH: u64 = 20;

#[test]
fn a_clean_log_is_ok() {
    let log = SampleLog::three("verify-clean");
    let found = check(&log);
    assert_eq!(found.exit_code(), 0, "{found}");
    assert_eq!(found.segments.len(), 3);
    for segment in &found.segments {
        assert_eq!((&segment.verdict, segment.lines, segment.blocks), (&Verdict::Ok, LENGTH, 4), "{found}");
        assert_eq!(segment.signatures.valid, 2);
        assert_eq!(segment.signatures.source, Some(KeySource::Directory));
    }
    // The same, compressed, and with a key that was given.
    log.compress(1);
    let keys = [log.public()];
    let found = verify(std::slice::from_ref(&log.dir), &keys);
    assert_eq!(found.exit_code(), 0, "{found}");
    assert_eq!(found.segments[0].signatures.source, Some(KeySource::Given));
    // Without the file the log itself names the key.
    std::fs::remove_file(log.dir.join("audit.ed25519.pub")).unwrap();
    let found = check(&log);
    assert_eq!(found.segments[1].signatures.source, Some(KeySource::Log));
    assert!(found.to_string().contains("key from the log itself"), "{found}");
}

#[test]
fn ends_that_are_no_leaf_and_logs_without_a_key_are_ok() {
    let mut plain = SampleLog::new("verify-plain-end");
    plain.seals_ends = false;
    (0..2).for_each(|_| plain.closed_segment());
    assert_eq!(check(&plain).exit_code(), 0, "{}", check(&plain));
    let mut unsigned = SampleLog::new("verify-unsigned").unsigned();
    (0..2).for_each(|_| unsigned.closed_segment());
    let found = check(&unsigned);
    assert_eq!((found.exit_code(), found.segments[0].signatures.valid), (0, 0), "{found}");
    // With a key of one's own, who did not sign is nobody.
    let other = SampleLog::new("verify-other-key");
    let found = verify(std::slice::from_ref(&unsigned.dir), &[other.public()]);
    assert!(matches!(found.segments[0].verdict, Verdict::BadSignature { .. }), "{found}");
    // Nor who left out the ends along with the signatures.
    let mut endless = SampleLog::new("verify-endless").unsigned();
    endless.open();
    endless.hit("ann");
    endless.checkpoint(false);
    endless.crash(0);
    assert_eq!(check(&endless).exit_code(), 0, "{}", check(&endless));
    assert_eq!(verify(std::slice::from_ref(&endless.dir), &[other.public()]).exit_code(), 4);
    // A segment that ends where it began.
    plain.open();
    plain.end();
    assert_eq!(check(&plain).exit_code(), 0, "{}", check(&plain));
}

#[test]
fn no_byte_of_a_closed_segment_can_be_flipped() {
    let log = SampleLog::three("verify-flip");
    let original = std::fs::read(log.path(2)).unwrap();
    let end = original.len() - log.lines(2)[LENGTH as usize - 1].len();
    // Here and there in all lines, and everywhere in the last, which is covered in another way.
    for at in (0..end).step_by(61).chain(end..original.len()) {
        for bit in [0x01, 0x20] {
            let mut bytes = original.clone();
            bytes[at] ^= bit;
            std::fs::write(log.path(2), &bytes).unwrap();
            let found = check(&log);
            assert_eq!(found.exit_code(), 4, "byte {at}, bit {bit}: {found}");
            let faults: Vec<&str> =
                found.segments.iter().filter(|s| s.verdict.is_fault()).map(|s| s.name.as_str()).collect();
            assert_eq!(faults, [log.name(2)], "byte {at}, bit {bit}: {found}");
        }
    }
}

fn tampered(log: &SampleLog, lines: &[Vec<u8>], change: &dyn Fn(&mut Vec<Vec<u8>>)) -> (u64, u64, u64) {
    let mut changed = lines.to_vec();
    change(&mut changed);
    log.write_lines(2, &changed);
    let found = check(log);
    assert_eq!(found.segments.iter().filter(|s| s.verdict.is_fault()).count(), 1, "{found}");
    modified(&verdict(log, 2))
}

#[test]
fn the_first_bad_block_is_named() {
    let log = SampleLog::three("verify-lines");
    let lines = log.lines(2);
    // Segment 2 begins with number 21: blocks 22–26, 27–32, 33–38, 39–40.
    let edit = |at: usize, from: &'static str, to: &'static str| {
        move |lines: &mut Vec<Vec<u8>>| {
            let text = String::from_utf8(lines[at].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            lines[at] = text.replacen(from, to, 1).into_bytes();
        }
    };
    assert_eq!(tampered(&log, &lines, &edit(2, "story", "story2")), (1, 22, 26), "edited");
    assert_eq!(tampered(&log, &lines, &|lines| drop(lines.remove(8))), (2, 27, 32), "deleted");
    assert_eq!(tampered(&log, &lines, &|lines| lines.swap(8, 9)), (2, 27, 32), "swapped");
    assert_eq!(tampered(&log, &lines, &|lines| lines.insert(8, lines[8].clone())), (2, 27, 32), "inserted");
    assert_eq!(tampered(&log, &lines, &|lines| drop(lines.drain(7..13))), (2, 27, 38), "a block with its checkpoint");
    assert_eq!(tampered(&log, &lines, &|lines| drop(lines.drain(6..12))), (1, 22, 32), "a checkpoint, and on");
    assert_eq!(tampered(&log, &lines, &edit(6, "\"n\":5", "\"n\":6")), (1, 22, 26), "a checkpoint");
    assert_eq!(
        tampered(&log, &lines, &edit(6, "\"time\":\"2026", "\"time\":\"2025")),
        (2, 27, 32),
        "the time of a checkpoint"
    );
    assert_eq!(tampered(&log, &lines, &|lines| drop(lines.remove(0))).0, 1, "the first line");
    assert_eq!(
        tampered(&log, &lines, &edit(0, "\"address\":\"truncate\"", "\"address\":\"full\"")),
        (1, 22, 26),
        "the first line"
    );
    assert_eq!(tampered(&log, &lines, &|lines| lines.truncate(10)), (2, 31, 40), "a tail");
    assert_eq!(tampered(&log, &lines, &|lines| lines.truncate(19)), (4, 40, 40), "the end");
    assert_eq!(tampered(&log, &lines, &|lines| lines.push(lines[8].clone())).0, 5, "a line behind the end");
}

#[test]
fn segments_cannot_be_taken_away_or_shown_again() {
    let log = SampleLog::three("verify-segments");
    let (second, third) = (std::fs::read(log.path(2)).unwrap(), std::fs::read(log.path(3)).unwrap());
    std::fs::remove_file(log.path(2)).unwrap();
    let found = check(&log);
    assert_eq!((found.exit_code(), verdict(&log, 2)), (4, Verdict::Missing), "{found}");
    assert_eq!(verdict(&log, 3), Verdict::Ok);
    // Deleted in time is no fault.
    let retention = format!("{{\"retention\":\"{}.zst\",\"bytes\":1}}\n", log.name(2));
    std::fs::write(log.dir.join("audit.index"), retention).unwrap();
    assert_eq!(check(&log).exit_code(), 0, "{}", check(&log));
    std::fs::remove_file(log.dir.join("audit.index")).unwrap();
    // The first one in the place of the second, of the third, and behind the last.
    let first = std::fs::read(log.path(1)).unwrap();
    std::fs::write(log.path(2), &first).unwrap();
    assert!(matches!(verdict(&log, 2), Verdict::Modified { .. } | Verdict::Missing), "{}", check(&log));
    std::fs::write(log.path(2), &second).unwrap();
    std::fs::write(log.path(3), &second).unwrap();
    assert!(verdict(&log, 3).is_fault(), "{}", check(&log));
    std::fs::write(log.path(3), &third).unwrap();
    std::fs::write(log.path(4), &first).unwrap();
    assert!(verdict(&log, 4).is_fault(), "{}", check(&log));
    std::fs::remove_file(log.path(4)).unwrap();
    // The last one is only missed by the index.
    let index = format!("{{\"closed\":\"{}\",\"last_seq\":{}}}\n", log.name(3), 3 * LENGTH);
    std::fs::write(log.dir.join("audit.index"), index).unwrap();
    assert_eq!(check(&log).exit_code(), 0);
    std::fs::remove_file(log.path(3)).unwrap();
    assert_eq!(verdict(&log, 3), Verdict::Missing);
}

#[test]
fn the_oldest_segments_go_in_time_or_are_missed() {
    let log = SampleLog::three("verify-oldest");
    std::fs::remove_file(log.path(1)).unwrap();
    // A copy of the log without its index.
    let found = check(&log);
    assert_eq!((found.exit_code(), verdict(&log, 1)), (4, Verdict::Missing), "{found}");
    assert!(found.to_string().contains("no audit.index here"), "{found}");
    // An index that knows of no deletion.
    let index = |text: String| std::fs::write(log.dir.join("audit.index"), text).unwrap();
    index(format!("{{\"closed\":\"{}\",\"last_seq\":{LENGTH}}}\n", log.name(1)));
    let found = check(&log);
    assert_eq!((found.exit_code(), verdict(&log, 1)), (4, Verdict::Missing), "{found}");
    assert!(found.to_string().contains("does not say that it was deleted"), "{found}");
    // One that does.
    index(format!("{{\"retention\":\"{}.zst\",\"bytes\":1}}\n", log.name(1)));
    let found = check(&log);
    assert!(found.exit_code() == 0 && found.to_string().contains("was deleted in time"), "{found}");
    std::fs::remove_file(log.path(2)).unwrap();
    assert_eq!(verdict(&log, 2), Verdict::Missing, "only the first one was deleted in time");
    // Who asks for one file does not ask for the others.
    let found = verify(&[log.path(3)], &[]);
    assert!(found.exit_code() == 0 && found.to_string().contains("before it is not here"), "{found}");
}

#[test]
fn who_writes_anew_without_the_key_is_found_out() {
    let log = SampleLog::three("verify-reseal");
    log.reseal(3, |line| line.replace("story-45", "story-99"));
    assert!(matches!(verdict(&log, 3), Verdict::BadSignature { .. }), "{}", check(&log));
    // And with a key of one's own: only a key that was given tells.
    let theirs = SampleLog::three("verify-their-key");
    assert_eq!(check(&theirs).exit_code(), 0);
    let found = verify(std::slice::from_ref(&theirs.dir), &[log.public()]);
    assert!(found.segments.iter().all(|s| matches!(s.verdict, Verdict::BadSignature { .. })), "{found}");
    let mut lines = theirs.lines(3);
    let end = String::from_utf8(lines.pop().unwrap()).unwrap();
    let bare = end.split_once(",\"key.id\"").unwrap().0.to_owned() + "}\n";
    lines.push(bare.into_bytes());
    theirs.write_lines(3, &lines);
    assert!(matches!(verdict(&theirs, 3), Verdict::BadSignature { seq: 60, .. }), "{}", check(&theirs));
}

#[test]
fn the_end_of_the_last_segment_is_known_to_the_index() {
    let log = SampleLog::three("verify-index-end");
    let lines = log.lines(3);
    log.write_lines(3, &lines[..15]);
    assert_eq!(verdict(&log, 3), Verdict::Unsealed { lines: 2 });
    let index = format!("{{\"closed\":\"{}\",\"last_seq\":60,\"head\":\"{}\"}}\n", log.name(3), "0".repeat(64));
    std::fs::write(log.dir.join("audit.index"), index).unwrap();
    assert_eq!(modified(&verdict(&log, 3)), (3, 56, 60));
    // What was compressed was closed.
    std::fs::remove_file(log.dir.join("audit.index")).unwrap();
    log.compress(3);
    assert_eq!(modified(&verdict(&log, 3)), (3, 56, 56));
}

#[test]
fn heads_that_were_sent_away_are_listed() {
    let mut log = SampleLog::new("verify-anchors");
    log.open();
    log.hit("ann");
    log.checkpoint(true);
    log.anchored("file:/mnt/heads.txt");
    log.hit("bob");
    log.checkpoint(true);
    log.anchored("file:/mnt/heads.txt");
    log.checkpoint(false);
    log.end();
    let last = log.lines(1).len() as u64;
    let end: Value = serde_json::from_slice(log.lines(1).last().unwrap()).unwrap();
    let index = |head: &str| {
        let line = serde_json::json!({
            "anchored": log.name(1), "to": "syslog", "sent": "2026-11-23T20:00:00.000Z", "seq": last, "head": head,
            "key.id": "0123abcd", "sig": "x",
        });
        std::fs::write(log.dir.join("audit.index"), format!("{line}\n")).unwrap();
    };
    index(end["head"].as_str().unwrap());
    let found = check(&log);
    assert_eq!(found.exit_code(), 0, "{found}");
    let said = found.to_string();
    assert!(said.contains("2 heads were sent to file:/mnt/heads.txt, the last one at 2026-"), "{said}");
    assert!(said.contains(&format!("its end, number {last}, was sent to syslog at 2026-")), "{said}");
    // Who has written the log anew has another head than the one that left.
    index(&"0".repeat(64));
    assert!(verdict(&log, 1).is_fault(), "{}", check(&log));
}

#[test]
fn a_crash_is_no_fault() {
    let mut log = SampleLog::new("verify-crash");
    log.closed_segment();
    log.open();
    log.hit("ann");
    log.checkpoint(false);
    log.hit("bob");
    log.hit("cid");
    log.crash(7);
    let found = check(&log);
    assert_eq!((found.exit_code(), verdict(&log, 2)), (0, Verdict::Unsealed { lines: 2 }), "{found}");
    assert!(found.to_string().contains("7 bytes is torn"), "{found}");
    log.recover();
    log.hit("dan");
    log.checkpoint(true);
    log.end();
    assert_eq!(verdict(&log, 2), Verdict::SealedByNext { lines: 2 }, "{}", check(&log));
    assert_eq!(check(&log).exit_code(), 0);
    log.compress(2);
    assert_eq!(verdict(&log, 2), Verdict::SealedByNext { lines: 2 });
    std::fs::remove_file(log.dir.join(log.name(2) + ".zst")).unwrap();
    assert_eq!(verdict(&log, 2), Verdict::Missing);
}

#[test]
fn lines_behind_the_last_checkpoint_are_counted_by_what_follows() {
    let mut log = SampleLog::new("verify-crash-cut");
    log.open();
    log.hit("ann");
    log.checkpoint(false);
    log.hit("bob");
    log.crash(0);
    log.recover();
    log.end();
    let lines = log.lines(1);
    log.write_lines(1, &lines[..3]);
    assert_eq!(modified(&verdict(&log, 1)), (2, 4, 4));
}

/// A segment as a version without checkpoints wrote it; its numbers began at 1 at each start.
fn older_segment(log: &SampleLog, number: u64, lines: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let line = |seq: u64| {
        let kind = match seq {
            seq if seq == *lines.start() => ",\"deckle.kind\":\"segment\"",
            seq if seq == *lines.end() => ",\"deckle.kind\":\"end\"",
            _ => "",
        };
        format!(
            "{{\"v\":1,\"time\":\"2026-11-0{number}T20:00:00.000Z\"{kind},\"deckle.seq\":{seq},\"deckle.instance\":\"w1\"}}\n"
        )
    };
    let text: String = lines.clone().map(line).collect();
    std::fs::write(log.path(number), &text).unwrap();
    text.split_inclusive('\n').next().unwrap().as_bytes().to_vec()
}

#[test]
fn a_log_that_an_older_version_began_is_no_fault() {
    let mut log = SampleLog::new("verify-began-older");
    older_segment(&log, 1, 1..=500);
    let first_line = older_segment(&log, 2, 1..=30);
    // What a writer finds: the last segment, and the highest number of all.
    log.go_on_from(2, 500, &crate::audit::chain::first_head(&first_line));
    (0..2).for_each(|_| log.closed_segment());
    let found = check(&log);
    assert_eq!(found.exit_code(), 0, "{found}");
    let verdicts: Vec<&Verdict> = found.segments.iter().map(|segment| &segment.verdict).collect();
    assert_eq!(verdicts, [&Verdict::NoCheckpoints, &Verdict::NoCheckpoints, &Verdict::Ok, &Verdict::Ok], "{found}");
    assert!(found.to_string().contains("-2.ndjson: unsealed (no checkpoints); 30 lines"), "{found}");
    // Its numbers prove nothing, but what is odd about them is told.
    let mut lines = log.lines(1);
    drop(lines.remove(40));
    log.write_lines(1, &lines);
    let found = check(&log);
    assert!(found.exit_code() == 0 && found.to_string().contains("number 42 stands where 41 should"), "{found}");
    // Its last segment is named by the first line of what follows.
    let text = String::from_utf8(log.lines(2)[0].clone()).unwrap().replace("20:00", "21:00");
    log.write_lines(2, &[vec![text.into_bytes()], log.lines(2)[1..].to_vec()].concat());
    assert!(verdict(&log, 2).is_fault(), "{}", check(&log));
}

#[test]
fn who_takes_the_checkpoints_out_is_found_out() {
    let log = SampleLog::three("verify-stripped");
    let strip = |number: u64| {
        let keys = [",\"address\"", ",\"key.id\"", ",\"previous.segment\""];
        let bare = |line: Vec<u8>| {
            let text = String::from_utf8(line).unwrap();
            let cut = keys.iter().chain(&[",\"first_seq\""]).filter_map(|key| text.find(*key)).min();
            cut.map_or(text.clone(), |at| text[..at].to_owned() + "}\n").into_bytes()
        };
        let lines = log.lines(number).into_iter().filter(|line| !line.windows(12).any(|w| w == b"\"checkpoint\""));
        let lines: Vec<Vec<u8>> = lines.map(bare).collect();
        log.write_lines(number, &lines);
    };
    let (second, third) = (log.lines(2), log.lines(3));
    // The next one names a head that is not there any more.
    strip(1);
    assert!(verdict(&log, 1).is_fault(), "{}", check(&log));
    // Nothing follows, but the one before has checkpoints.
    strip(3);
    assert!(verdict(&log, 3).is_fault(), "{}", check(&log));
    log.write_lines(2, &second);
    log.write_lines(3, &third);
    strip(2);
    assert!(verdict(&log, 2).is_fault(), "{}", check(&log));
}

#[test]
fn older_logs_have_no_checkpoints() {
    let log = SampleLog::new("verify-legacy");
    let line = |kind: &str, seq: u64| {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-23T20:00:00.000Z\"{kind},\"deckle.seq\":{seq},\"deckle.instance\":\"w1\"}}\n"
        )
    };
    let text = line(",\"deckle.kind\":\"segment\"", 1) + &line("", 2) + &line(",\"deckle.kind\":\"end\"", 3);
    std::fs::write(log.path(1), &text).unwrap();
    assert_eq!(verdict(&log, 1), Verdict::NoCheckpoints);
    assert_eq!(check(&log).exit_code(), 0);
    // An empty file, and something else.
    std::fs::write(log.path(2), "").unwrap();
    assert_eq!(verdict(&log, 2), Verdict::Unsealed { lines: 0 });
    let other = log.dir.join("access.log");
    std::fs::write(&other, "203.0.113.7 - - [20/Nov/2026:10:14:07 +0000] \"GET / HTTP/1.0\" 304 -\n").unwrap();
    let found = verify(&[other, log.dir.join("nothing")], &[]);
    assert_eq!((found.exit_code(), found.unreadable.len()), (5, 2), "{found}");
}
