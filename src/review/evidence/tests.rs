use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::audit::sample_log::SampleLog;

/// Three segments, the second one cut short by a crash, and a tail that is not covered yet.
fn log(name: &str) -> SampleLog {
    let mut log = SampleLog::new(name);
    log.closed_segment();
    log.open();
    let robots = data_encoding::BASE64.encode(b"User-agent: *\nDisallow: /a\n");
    let version =
        crate::rights::robots::RobotsText::new(bytes::Bytes::from_static(b"User-agent: *\nDisallow: /a\n")).version;
    log.line(
        Some("robots"),
        &format!(",\"server.address\":\"news.example\",\"deckle.robots.version\":\"{version}\",\"text\":\"{robots}\""),
    );
    log.line(Some("policy"), ",\"policy.digest\":\"0123456789ab\",\"text\":\"mode = 'observe'\\n\"");
    for visitor in ["ann", "bob", "ann"] {
        log.hit(visitor);
    }
    log.checkpoint(false);
    log.hit("bob");
    log.checkpoint(false);
    log.hit("ann");
    log.crash(0);
    log.recover();
    log.hit("ann");
    log.checkpoint(true);
    log.hit("bob");
    log.checkpoint(false);
    log.hit("ann");
    log.checkpoint(false);
    log.hit("ann");
    log.crash(0);
    log
}

fn pack(log: &SampleLog) -> PathBuf {
    let out = log.dir.join("pack");
    let _ = std::fs::remove_dir_all(&out);
    write_pack(&log.dir, "ann", &out).unwrap();
    out
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let text = manifest(dir).unwrap();
    text.lines().map(|line| dir.join(&line[66..])).chain([dir.join(MANIFEST)]).collect()
}

/// Who leaves the signatures out can write what they like.
#[test]
fn a_pack_of_which_nothing_is_signed_does_not_hold_with_a_key() {
    let (signed, mut log) = (SampleLog::three("evidence-key"), SampleLog::new("evidence-forged").unsigned());
    (0..3).for_each(|_| log.closed_segment());
    let out = pack(&log);
    assert_eq!(verify_evidence(&out, &[]).unwrap().signed, 0);
    assert!(matches!(verify_evidence(&out, &[signed.public()]), Err(EvidenceError::Unproved { .. })));
}

#[test]
fn a_pack_holds_one_visitor_and_proves_it() {
    let log = log("evidence");
    log.compress(1);
    let out = log.dir.join("pack");
    let summary = write_pack(&log.dir, "ann", &out).unwrap();
    // Three of the first segment; two and one that a signature in the next segment covers; one that nobody signed; two tails.
    assert_eq!((summary.signed, summary.unsigned, summary.unproven), (6, 1, 2));
    let verified = verify_evidence(&out, &[]).unwrap();
    assert_eq!((verified.signed, verified.unsigned, verified.are_keys_given), (6, 1, false));
    assert_eq!(verified.keys, [log.public().to_hex()]);
    assert_eq!(verify_evidence(&out, &[log.public()]).unwrap().signed, 6);
    for file in all_files(&out) {
        let text = std::fs::read_to_string(&file).unwrap();
        for other in ["\"bob\"", "\"cid\"", "\"dan\"", "\"eve\""] {
            assert!(!text.contains(other), "{} holds {other}", file.display());
        }
    }
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("lines.ndjson").lines().count(), 7);
    assert_eq!(read("lines-unproven.ndjson").lines().count(), 2);
    assert_eq!(read("marks.csv").lines().count(), 10);
    assert!(read("summary.html").contains("curl/8 &lt;b&gt;"));
    assert_eq!(read("policy/0123456789ab.toml"), "mode = 'observe'\n");
    assert!(read("robots/validity.csv").contains("news.example"));
    assert_eq!(std::fs::read_dir(out.join("segments")).unwrap().count(), 1);
    assert!(matches!(write_pack(&log.dir, "ann", &out), Err(EvidenceError::NotEmpty { .. })));
    let nobody = log.dir.join("nobody");
    assert!(matches!(write_pack(&log.dir, "zoe", &nobody), Err(EvidenceError::NoLines { .. })));
    assert!(matches!(write_pack(&log.dir, "a$(b)", &nobody), Err(EvidenceError::Visitor { .. })));
    assert!(!nobody.exists(), "nothing is left");
}

#[test]
fn a_segment_that_cannot_be_read_is_named_and_the_others_are_evidence() {
    let unreadable = |name: &str, spoil: &dyn Fn(&SampleLog)| {
        let log = log(name);
        spoil(&log);
        let out = log.dir.join("pack");
        let summary = write_pack(&log.dir, "ann", &out).unwrap();
        assert_eq!((summary.signed, summary.unsigned, summary.unproven), (3, 1, 2), "all but the first segment");
        assert!(summary.unread.len() == 1 && summary.unread[0].starts_with(&log.name(1)), "{:?}", summary.unread);
        assert_eq!(verify_evidence(&out, &[log.public()]).unwrap().signed, 3);
        let readme = std::fs::read_to_string(out.join("README.txt")).unwrap();
        assert!(readme.contains(&format!("Not read: {}", summary.unread[0])), "{readme}");
    };
    unreadable("evidence-unread", &|log| {
        std::fs::remove_file(log.path(1)).unwrap();
        std::fs::create_dir(log.path(1)).unwrap();
    });
    unreadable("evidence-cut", &|log| {
        let path = log.compress(1);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..20]).unwrap();
    });
    // What is not there may be in what cannot be read.
    let log = SampleLog::new("evidence-unread-alone");
    std::fs::create_dir(log.path(1)).unwrap();
    assert!(matches!(write_pack(&log.dir, "ann", &log.dir.join("pack")), Err(EvidenceError::Io { .. })));
}

#[test]
fn whoever_changes_a_byte_is_found_out() {
    let log = log("evidence-tamper");
    let out = pack(&log);
    for file in all_files(&out) {
        let original = std::fs::read(&file).unwrap();
        for at in (0..original.len()).step_by(original.len() / 5 + 1) {
            let mut bytes = original.clone();
            bytes[at] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            let error = verify_evidence(&out, &[]).map_err(|error| error.to_string());
            assert!(error.is_err(), "{} at {at}", file.display());
        }
        std::fs::write(&file, original).unwrap();
    }
    // A file more, a file less.
    let stray = out.join("segments/stray.line");
    std::fs::write(&stray, "x").unwrap();
    let error = verify_evidence(&out, &[]).unwrap_err();
    assert!(error.is_fault() && error.to_string().contains("stray"), "{error}");
    std::fs::remove_file(stray).unwrap();
    verify_evidence(&out, &[]).unwrap();
    // A key that is trusted, and is another one.
    let other = SampleLog::new("evidence-other");
    assert!(verify_evidence(&out, &[other.public()]).unwrap_err().is_fault());
}

#[test]
fn a_new_manifest_does_not_help() {
    let log = log("evidence-manifest");
    let out = pack(&log);
    let renew = || std::fs::write(out.join(MANIFEST), manifest(&out).unwrap()).unwrap();
    let lines = out.join("lines.ndjson");
    let original = std::fs::read_to_string(&lines).unwrap();
    let proofs = std::fs::read_to_string(out.join("proofs.json")).unwrap();
    let first = original.lines().next().unwrap();
    let dropped: String = original.lines().skip(1).map(|line| format!("{line}\n")).collect();
    for changed in [
        original.replacen("\"http.response.status_code\":200", "\"http.response.status_code\":500", 1),
        dropped,
        format!("{original}{first}\n"),
    ] {
        std::fs::write(&lines, changed).unwrap();
        renew();
        assert!(matches!(verify_evidence(&out, &[]), Err(EvidenceError::Unproved { .. })));
    }
    std::fs::write(&lines, &original).unwrap();
    // A proof that is left without its signature.
    let mut cut: Proofs = serde_json::from_str(&proofs).unwrap();
    cut.steps.retain(|step| !matches!(step, proof::Step::Signed { .. }));
    std::fs::write(out.join("proofs.json"), serde_json::to_string(&cut).unwrap()).unwrap();
    std::fs::write(out.join("proofs.txt"), cut.to_string()).unwrap();
    renew();
    assert!(matches!(verify_evidence(&out, &[]), Err(EvidenceError::Unproved { .. })));
}

#[test]
fn lines_of_a_changed_block_are_not_proved() {
    let log = SampleLog::three("evidence-changed");
    let mut lines = log.lines(2);
    let text = String::from_utf8(lines[2].clone()).unwrap();
    lines[2] = text.replace("curl", "Curl").into_bytes();
    log.write_lines(2, &lines);
    let out = log.dir.join("pack");
    let summary = write_pack(&log.dir, "ann", &out).unwrap();
    assert_eq!((summary.signed, summary.unproven), (8, 1));
    assert_eq!(verify_evidence(&out, &[]).unwrap().signed, 8);
}

#[test]
fn heads_that_were_sent_away_are_named() {
    let mut log = SampleLog::new("evidence-anchors");
    log.open();
    log.hit("ann");
    log.checkpoint(true);
    let first = log.anchored("file:/mnt/heads.txt");
    log.hit("bob");
    log.checkpoint(true);
    let of_another = log.anchored("file:/mnt/heads.txt");
    log.hit("ann");
    log.end();
    let end: serde_json::Value = serde_json::from_slice(log.lines(1).last().unwrap()).unwrap();
    let end = end["head"].as_str().unwrap();
    let line = serde_json::json!({
        "anchored": log.name(1), "to": "command", "sent": "2026-11-23T20:00:00.000Z", "seq": 9, "head": end,
        "key.id": "0123abcd", "sig": "x",
    });
    std::fs::write(log.dir.join("audit.index"), format!("{line}\n")).unwrap();
    let out = pack(&log);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let mut proofs: Proofs = serde_json::from_str(&read("proofs.json")).unwrap();
    let heads: Vec<&str> = proofs.anchors.iter().map(|anchor| anchor.head.as_str()).collect();
    assert_eq!(heads, [first.as_str(), end], "those at which a proof ends, and no other");
    let readme = read("README.txt");
    assert!(readme.contains(&format!("to file:/mnt/heads.txt: number 3, head {first}")), "{readme}");
    assert!(readme.contains(&format!("to command: number 9, head {end}")), "{readme}");
    assert!(read("summary.html").contains("file:/mnt/heads.txt"));
    assert_eq!(verify_evidence(&out, &[]).unwrap().anchors.len(), 2);
    // A head that no proof goes through proves nothing here.
    proofs.anchors[0].head = of_another;
    std::fs::write(out.join("proofs.json"), serde_json::to_string(&proofs).unwrap()).unwrap();
    std::fs::write(out.join(MANIFEST), manifest(&out).unwrap()).unwrap();
    assert!(matches!(verify_evidence(&out, &[]), Err(EvidenceError::Unproved { .. })));
}

#[test]
fn logs_without_a_key_are_proved_up_to_their_heads() {
    let mut log = SampleLog::new("evidence-unsigned").unsigned();
    log.closed_segment();
    let out = log.dir.join("pack");
    let summary = write_pack(&log.dir, "ann", &out).unwrap();
    assert_eq!((summary.signed, summary.unsigned, summary.unproven), (0, 3, 0));
    assert_eq!(verify_evidence(&out, &[]).unwrap().unsigned, 3);
}

fn requests(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn a_pack_of_requests_holds_their_lines_and_no_other() {
    let log = log("evidence-requests");
    let out = log.dir.join("pack");
    let wanted = requests(&["r-2", "r-25", "r-39", "r-999"]);
    let summary = write_pack(&log.dir, &wanted, &out).unwrap();
    assert_eq!((summary.signed, summary.unsigned, summary.unproven, summary.requests), (2, 0, 1, 4));
    let verified = verify_evidence(&out, &[log.public()]).unwrap();
    assert_eq!((verified.signed, verified.requests, verified.visitor.as_str()), (2, 4, ""));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!((read("lines.ndjson").lines().count(), read("requests.txt").lines().count()), (2, 4));
    assert!(read("README.txt").starts_with("EVIDENCE OF RESPONSES\n"));
    for file in all_files(&out) {
        let text = std::fs::read_to_string(&file).unwrap();
        for other in ["\"r-3\"", "\"r-24\"", "story-26"] {
            assert!(!text.contains(other), "{} holds {other}", file.display());
        }
    }
    // Other requests than those of the proofs, and a manifest that says so.
    std::fs::write(out.join(REQUESTS_FILE), "r-2\nr-25\n").unwrap();
    std::fs::write(out.join(MANIFEST), manifest(&out).unwrap()).unwrap();
    assert!(matches!(verify_evidence(&out, &[]), Err(EvidenceError::Unproved { .. })));
    let nothing = log.dir.join("nothing");
    assert!(matches!(write_pack(&log.dir, &requests(&["r-1"]), &nothing), Err(EvidenceError::NoRequests)));
    assert!(matches!(write_pack(&log.dir, &requests(&["$(r)"]), &nothing), Err(EvidenceError::Request { .. })));
    assert!(!nothing.exists(), "nothing is left");
}

#[test]
fn the_script_verifies_a_pack_of_requests() {
    let has =
        |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok_and(|o| o.status.success());
    if !has("openssl", "version") || !has("sha256sum", "--version") {
        println!("skipped: openssl or sha256sum is not installed");
        return;
    }
    let log = log("evidence-requests-script");
    let out = log.dir.join("pack");
    write_pack(&log.dir, &requests(&["r-2", "r-25"]), &out).unwrap();
    let readme = std::fs::read_to_string(out.join("README.txt")).unwrap();
    let run = || {
        let procedure = "sed -n '/^#!/,$p' README.txt > ../requests.sh && sh ../requests.sh";
        Command::new("sh").args(["-c", procedure]).current_dir(&out).output().unwrap()
    };
    let good = run();
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{said}{}", String::from_utf8_lossy(&good.stderr));
    assert!(said.contains("2 lines of the requests of requests.txt under signed heads"), "{said}{readme}");
    std::fs::write(out.join(REQUESTS_FILE), "r-2\nr-99\n").unwrap();
    std::fs::write(out.join(MANIFEST), manifest(&out).unwrap()).unwrap();
    assert!(!run().status.success(), "one line is of no request that was asked for");
}

#[test]
fn lines_are_told_from_changed_ones_and_from_those_that_wait() {
    let log = log("evidence-stand");
    let stand = |number: u64, ids: &[&str]| {
        let standing = lines_stand(&[log.path(number)], &requests(ids)).unwrap();
        (standing.proved, standing.unsealed, standing.changed)
    };
    assert_eq!(stand(1, &["r-2", "r-14", "r-24"]), (2, 0, 0));
    assert_eq!(stand(3, &["r-33", "r-39"]), (1, 1, 0));
    let mut lines = log.lines(1);
    let text = String::from_utf8(lines[1].clone()).unwrap();
    lines[1] = text.replace("curl", "Curl").into_bytes();
    log.write_lines(1, &lines);
    assert_eq!(stand(1, &["r-3", "r-14"]), (1, 0, 1), "another line of its block was changed");
    assert!(matches!(lines_stand(&[log.dir.join("none")], &requests(&["r-1"])), Err(EvidenceError::Io { .. })));
}

/// The script of a pack: everything of README.txt from the line that names a shell.
fn script_of(readme: &str) -> PathBuf {
    let at = readme.find("\n#!/bin/sh").unwrap();
    let path = std::env::temp_dir().join(format!("deckle-verify-{}.sh", std::process::id()));
    std::fs::write(&path, &readme[at + 1..]).unwrap();
    path
}

/// README.txt alone is enough: its script, and nothing of ours.
#[test]
fn the_script_of_the_readme_verifies_the_pack() {
    let has =
        |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok_and(|o| o.status.success());
    if !has("openssl", "version") || !has("sha256sum", "--version") {
        println!("skipped: openssl or sha256sum is not installed");
        return;
    }
    let log = log("evidence-script");
    let out = pack(&log);
    let script = script_of(&std::fs::read_to_string(out.join("README.txt")).unwrap());
    let run = || Command::new("sh").arg(&script).current_dir(&out).output().unwrap();
    let good = run();
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{said}{}", String::from_utf8_lossy(&good.stderr));
    assert!(said.contains("6 lines of visitor ann under signed heads, 1 under"), "{said}");
    for file in all_files(&out) {
        let original = std::fs::read(&file).unwrap();
        let mut bytes = original.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(!run().status.success(), "{} at {at}", file.display());
        std::fs::write(&file, original).unwrap();
    }
    // With a manifest of its own, too.
    let lines = out.join("lines.ndjson");
    let text = std::fs::read_to_string(&lines).unwrap().replacen("200", "201", 1);
    std::fs::write(&lines, text).unwrap();
    std::fs::write(out.join(MANIFEST), manifest(&out).unwrap()).unwrap();
    assert!(!run().status.success());
    std::fs::remove_file(script).unwrap();
}
