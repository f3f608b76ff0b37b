//! The log as evidence, with the real proxy: what is changed is found, what a kill leaves behind holds, one visitor's
//! lines prove themselves, and who is forgotten is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::review::{Running, run, until};
use crate::support::{Deckle, PATIENCE, TempDir, get, has};

/// Small blocks, and many of them.
const CONFIG: &str =
    "[audit]\ninstance = \"w1\"\nflush = \"1ms\"\ncheckpoint_every = \"100ms\"\ncheckpoint_lines = 8\n";

/// A segment, open or closed.
struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Segment {
    fn name(&self) -> String {
        bare(&self.path)
    }

    /// Whole lines, each with its line feed.
    fn lines(&self) -> Vec<&[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).collect()
    }

    fn is_torn(&self) -> bool {
        self.bytes.last().is_some_and(|last| *last != b'\n')
    }

    /// Writes other bytes in its place, compressed if it was.
    fn replace(&self, bytes: &[u8]) {
        let is_compressed = self.path.extension().is_some_and(|end| end == "zst");
        let bytes = if is_compressed { zstd::encode_all(bytes, 3).unwrap() } else { bytes.to_vec() };
        std::fs::write(&self.path, bytes).unwrap();
    }
}

/// The name that it had when it was open.
fn bare(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().trim_end_matches(".zst").to_owned()
}

/// All segments, in the order of their numbers.
fn segments(dir: &Path) -> Vec<Segment> {
    let mut found = BTreeMap::new();
    for path in std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_closed = name.ends_with(".ndjson.zst");
        if !name.starts_with("audit-") || !(is_closed || name.ends_with(".ndjson")) {
            continue;
        }
        // It may have been compressed since.
        let Ok(stored) = std::fs::read(&path) else { continue };
        let bytes = if is_closed { zstd::decode_all(&stored[..]).unwrap() } else { stored };
        // For a moment it is there twice.
        found.insert(bare(&path), Segment { path, bytes });
    }
    let mut all: Vec<Segment> = found.into_values().filter(|segment| !segment.lines().is_empty()).collect();
    all.sort_by_key(|segment| number(segment.lines()[0]));
    all
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)))
}

/// `deckle.seq`.
fn number(line: &[u8]) -> u64 {
    parse(line)["deckle.seq"].as_u64().unwrap()
}

fn is_hit(line: &[u8]) -> bool {
    parse(line).get("deckle.kind").is_none()
}

fn hits(dir: &Path) -> usize {
    segments(dir).iter().flat_map(Segment::lines).filter(|line| is_hit(line)).count()
}

/// Ids of the visitors, by their user agents.
fn visitors(dir: &Path) -> BTreeMap<String, String> {
    let segments = segments(dir);
    let lines = segments.iter().flat_map(Segment::lines).map(parse);
    let text = |line: &Value, key: &str| Some(line.get(key)?.as_str()?.to_owned());
    lines.filter_map(|line| Some((text(&line, "user_agent.original")?, text(&line, "deckle.visitor.id")?))).collect()
}

/// Four readers ask three times each; returns when all of it is in the log.
fn visit(deckle: &Deckle) {
    let before = hits(&deckle.log_dir());
    for round in 0..3 {
        for reader in 1..=4 {
            let agent = format!("User-Agent: reader-{reader}/1.0\r\n");
            get(Ipv4Addr::new(127, 0, 0, 20 + reader), deckle.address, &format!("/?p={round}"), &agent);
        }
    }
    until("requests are not in the log", || hits(&deckle.log_dir()) == before + 12);
}

/// Closes the open segment, as logrotate does, and waits until it is compressed.
fn rotate(deckle: &Deckle) {
    let dir = deckle.log_dir();
    let closed = || {
        let paths = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        let closed = paths.filter(|path| path.extension().is_some_and(|end| end == "zst"));
        closed.filter(|path| !path.with_extension("").exists()).count()
    };
    let before = closed();
    deckle.signal("HUP");
    until("no segment was closed and compressed", || closed() == before + 1);
}

/// A log of three segments, of which the first two are compressed.
fn three_segments() -> TempDir {
    let deckle = Deckle::with_config(CONFIG, &[]);
    visit(&deckle);
    rotate(&deckle);
    visit(&deckle);
    rotate(&deckle);
    visit(&deckle);
    let (_, log) = deckle.stop();
    assert_eq!(segments(&log.path().join("log")).len(), 3);
    log
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn verify(dir: &Path) -> (i32, String) {
    let (code, out, error) = run(&["review", &text(dir), "--verify"]);
    (code, out + &error)
}

#[test]
fn a_log_that_nobody_touched_is_as_written() {
    let log = three_segments();
    let dir = log.path().join("log");
    let (code, said) = verify(&dir);
    assert!(code == 0 && said.contains("3 segments, as written."), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains(": ok; ") && line.contains("1 signature by")).count(), 3);
    let key = text(&dir.join("audit.ed25519.pub"));
    let (code, out, _) = run(&["review", &text(&dir), "--verify", "--key", &key]);
    assert!(code == 0 && out.contains("the key that was given"), "{out}");
    // Somebody else's key has signed none of it.
    let other = log.path().join("other");
    assert_eq!(run(&["audit", "keygen", &text(&other)]).0, 0);
    let (code, out, _) = run(&["review", &text(&dir), "--verify", "--key", &format!("{}.pub", text(&other))]);
    assert!(code == 4 && out.contains("bad signature"), "{out}");
}

#[test]
fn one_byte_of_a_closed_segment_is_found_and_its_block_named() {
    let log = three_segments();
    let dir = log.path().join("log");
    let all = segments(&dir);
    let middle = &all[1];
    let (mut block, mut at, mut tried) = (1, 0, 0);
    for line in middle.lines() {
        if is_hit(line) {
            let status = String::from_utf8_lossy(line).find("status_code\":200").unwrap() + "status_code\":".len();
            for byte in [at + status, at + line.len() / 2] {
                let mut bytes = middle.bytes.clone();
                bytes[byte] ^= 1;
                middle.replace(&bytes);
                let (code, said) = verify(&dir);
                let named = format!("{}: MODIFIED block {block} (seq ", middle.name());
                assert!(code == 4 && said.contains(&named), "byte {byte} of block {block}: {code} {said}");
                assert!(said.contains("1 of 3 segments not as written."), "{said}");
                tried += 1;
            }
        }
        block += u64::from(parse(line)["deckle.kind"] == "checkpoint");
        at += line.len();
    }
    assert!(tried == 24 && block >= 2, "{tried} bytes in {block} blocks");
    middle.replace(&middle.bytes);
    assert_eq!(verify(&dir).0, 0, "as it was");
}

#[test]
fn lines_that_went_moved_or_came_are_found() {
    let log = three_segments();
    let dir = log.path().join("log");
    let all = segments(&dir);
    let (middle, lines) = (&all[1], all[1].lines());
    let first = lines.iter().position(|line| is_hit(line)).unwrap();
    let without: Vec<&[u8]> = lines.iter().enumerate().filter(|(at, _)| *at != first).map(|(_, line)| *line).collect();
    let mut swapped = lines.clone();
    swapped.swap(first, first + 1);
    let mut twice = lines.clone();
    twice.insert(first, lines[first]);
    let cut = &lines[..lines.len() - 1];
    for (what, changed) in
        [("gone", &without[..]), ("swapped", &swapped[..]), ("twice", &twice[..]), ("without its end", cut)]
    {
        middle.replace(&changed.concat());
        let (code, said) = verify(&dir);
        assert!(code == 4 && said.contains(&format!("{}: MODIFIED", middle.name())), "{what}: {code} {said}");
    }
}

#[test]
fn a_segment_that_was_taken_away_is_missed() {
    let log = three_segments();
    let dir = log.path().join("log");
    let middle = segments(&dir).remove(1);
    std::fs::remove_file(&middle.path).unwrap();
    let missed = format!("{}: missing segment", middle.name());
    let (code, said) = verify(&dir);
    assert!(code == 4 && said.contains(&missed), "{code} {said}");
    // The one behind it names it, too.
    std::fs::remove_file(dir.join("audit.index")).unwrap();
    let (code, said) = verify(&dir);
    assert!(code == 4 && said.contains(&missed), "{code} {said}");
}

/// One request on a connection of its own; false: nobody answers any more.
fn ask(server: SocketAddr, client: u32) -> bool {
    let Ok(mut stream) = TcpStream::connect(server) else { return false };
    let request =
        format!("GET / HTTP/1.1\r\nHost: {server}\r\nUser-Agent: load-{client}/1.0\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_end(&mut answer).is_ok_and(|read| read > 0)
}

/// Kills it while three clients ask, as soon as so many answers have come; returns how many came.
fn kill_under_load(deckle: &mut Deckle, answers: u32) -> u32 {
    const MOST: u32 = 10_000;
    let (answered, server) = (AtomicU32::new(0), deckle.address);
    std::thread::scope(|scope| {
        for client in 0..3 {
            let answered = &answered;
            scope.spawn(move || {
                let asks = (0..MOST).take_while(|_| ask(server, client));
                asks.for_each(|_| {
                    answered.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
        until("too few answers", || answered.load(Ordering::Relaxed) >= answers);
        deckle.kill();
    });
    answered.into_inner()
}

#[test]
fn kills_under_load_tear_one_line_at_most_and_the_chain_goes_on() {
    // At once, within a block, after some, and after many; the next one starts within the same second.
    const KILLS: [u32; 6] = [1, 150, 20, 400, 60, 5];
    let mut deckle = Deckle::with_config(CONFIG, &[]);
    let dir = deckle.log_dir();
    let mut answered = 0;
    for answers in KILLS {
        answered += kill_under_load(&mut deckle, answers);
        deckle.restart(&[]);
    }
    visit(&deckle);
    deckle.signal("TERM");
    until("the last segment was not closed", || {
        std::fs::read_to_string(dir.join("audit.index")).is_ok_and(|index| index.contains("\"closed\""))
    });
    deckle.kill();

    let all = segments(&dir);
    let names: BTreeSet<String> = all.iter().map(Segment::name).collect();
    assert_eq!(names.len(), KILLS.len() + 1, "each start has a segment of its own: {names:?}");
    let torn = all.iter().filter(|segment| segment.is_torn()).count();
    assert!(torn <= KILLS.len(), "{torn} torn lines");
    // Every whole line is one that can be read, or this fails.
    let lines: Vec<&[u8]> = all.iter().flat_map(Segment::lines).collect();
    let written = lines.iter().filter(|line| is_hit(line)).count();
    assert!(written > answered as usize / 2 && written <= answered as usize + 12 + 3 * KILLS.len(), "{written}");
    let mut numbers: Vec<u64> = lines.iter().map(|line| number(line)).collect();
    numbers.sort_unstable();
    let odd: Vec<&[u64]> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(numbers[0] == 1 && odd.is_empty(), "holes or numbers that came twice: {odd:?}");

    let (code, said) = verify(&dir);
    assert_eq!(code, 0, "{said}");
    let (code, json, error) = run(&["review", &text(&dir), "--json", "-"]);
    let quality = &serde_json::from_str::<Value>(&json).unwrap()["quality"];
    assert_eq!(code, 0, "{error}");
    assert_eq!((quality["hits"].as_u64(), quality["holes"].as_u64()), (Some(written as u64), Some(0)), "{quality}");
    assert_eq!(quality["skipped"]["torn"].as_u64().unwrap_or(0), torn as u64, "{quality}");
    assert!(quality["skipped"].as_object().unwrap().keys().all(|reason| reason == "torn"), "{quality}");
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(all_files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The evidence about one of four readers; their ids, the first of them that of the pack.
fn evidence(log: &TempDir) -> (PathBuf, Vec<String>) {
    let (dir, pack) = (log.path().join("log"), log.path().join("pack"));
    let visitors = visitors(&dir);
    let ids: Vec<String> = (1..=4).map(|reader| visitors[&format!("reader-{reader}/1.0")].clone()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4, "{ids:?}");
    let (code, out, error) = run(&["review", &text(&dir), "--visitor", &ids[0], "--evidence", &text(&pack)]);
    assert!(code == 0 && out.contains("9 lines under a signature, 0 under the chain alone, 0 without"), "{out}{error}");
    (pack, ids)
}

#[test]
fn evidence_is_about_one_visitor_and_every_byte_of_it_counts() {
    let log = three_segments();
    let (pack, ids) = evidence(&log);
    let check = || run(&["review", "--verify-evidence", &text(&pack)]);
    let (code, out, error) = check();
    assert!(code == 0 && out.contains(&ids[0]) && out.contains("9 lines under a signature"), "{out}{error}");
    let files = all_files(&pack);
    let named = |name: &str| files.iter().find(|path| path.ends_with(name)).unwrap();
    assert_eq!(std::fs::read_to_string(named("lines.ndjson")).unwrap().lines().count(), 9);
    for name in ["proofs.json", "proofs.txt", "marks.csv", "summary.html", "README.txt", "robots/validity.csv"] {
        named(name);
    }
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for other in &ids[1..] {
            assert!(!text.contains(other), "{} names {other}", path.display());
        }
        for (at, bit) in [(0, 1), (bytes.len() / 2, 1), (bytes.len() - 1, 1), (bytes.len() / 3, 0x80)] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            std::fs::write(path, changed).unwrap();
            let (code, _, error) = check();
            assert_eq!(code, 4, "byte {at} of {}: {error}", path.display());
        }
        std::fs::write(path, &bytes).unwrap();
    }
    let stray = pack.join("more.txt");
    std::fs::write(&stray, "one more\n").unwrap();
    assert_eq!(check().0, 4, "a file that was added");
    std::fs::rename(&stray, log.path().join("more.txt")).unwrap();
    std::fs::rename(named("lines.ndjson"), log.path().join("lines")).unwrap();
    assert_eq!(check().0, 4, "a file that was taken away");
    std::fs::rename(log.path().join("lines"), named("lines.ndjson")).unwrap();
    assert_eq!(check().0, 0, "as it was");
    // A pack is not written over another one, and there is none about nobody.
    let dir = text(&log.path().join("log"));
    let (code, _, error) = run(&["review", &dir, "--visitor", &ids[1], "--evidence", &text(&pack)]);
    assert!(code != 0 && error.contains("not empty"), "{code} {error}");
    let other = text(&log.path().join("nobody"));
    let (code, _, error) = run(&["review", &dir, "--visitor", "nobody", "--evidence", &other]);
    assert!(code == 1 && error.contains("nobody"), "{code} {error}");
    assert!(!log.path().join("nobody").exists(), "nothing is left");
}

#[test]
fn heads_that_left_the_machine_are_known_to_the_log() {
    let away = TempDir::new();
    let heads = away.path().join("heads.txt");
    let deckle = Deckle::with_config(&format!("{CONFIG}anchor = \"file:{}\"\n", heads.display()), &[]);
    visit(&deckle);
    rotate(&deckle);
    visit(&deckle);
    let (_, log) = deckle.stop();
    let dir = log.path().join("log");
    let sent = std::fs::read_to_string(&heads).unwrap();
    assert_eq!(sent.lines().count(), 2, "one for each end: {sent}");
    let (code, said) = verify(&dir);
    assert_eq!((code, said.matches(&format!("was sent to file:{}", heads.display())).count()), (0, 2), "{said}");
    let (id, pack) = (visitors(&dir)["reader-1/1.0"].clone(), log.path().join("pack"));
    assert_eq!(run(&["review", &text(&dir), "--visitor", &id, "--evidence", &text(&pack)]).0, 0);
    let proofs: Value = serde_json::from_slice(&std::fs::read(pack.join("proofs.json")).unwrap()).unwrap();
    let anchors = proofs["anchors"].as_array().unwrap();
    assert_eq!(anchors.len(), 2, "{anchors:?}");
    for anchor in anchors {
        let head = anchor["head"].as_str().unwrap();
        assert!(sent.contains(head) && std::fs::read_to_string(pack.join("README.txt")).unwrap().contains(head));
    }
    let (code, out, error) = run(&["review", "--verify-evidence", &text(&pack)]);
    assert!(code == 0 && out.matches("sent away, says the log").count() == 2, "{out}{error}");
    let (_, out, _) = run(&["review", &text(&dir), "--json", "-"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["quality"]["anchored"][format!("file:{}", heads.display())], 2, "{out}");
}

#[test]
fn the_procedure_of_the_readme_needs_a_shell_and_openssl_alone() {
    if !has("openssl") || !has("sha256sum") || !has("cmp") {
        return;
    }
    let log = three_segments();
    let (pack, ids) = evidence(&log);
    // As README.txt says, from the directory of the pack.
    let procedure = "sed -n '/^#!/,$p' README.txt > ../verify.sh && sh ../verify.sh";
    let shell = || Command::new("sh").args(["-c", procedure]).current_dir(&pack).output().unwrap();
    let out = shell();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains(&format!("9 lines of visitor {} under signed heads", ids[0])), "{said}");
    for name in ["lines.ndjson", "proofs.txt", "marks.csv"] {
        let path = pack.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert!(!shell().status.success(), "{name} was changed");
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(shell().status.success(), "as it was");
}

#[test]
fn whoever_is_forgotten_is_gone_and_the_log_still_verifies() {
    let deckle = Deckle::with_config(CONFIG, &[]);
    let dir = deckle.log_dir();
    visit(&deckle);
    rotate(&deckle);
    visit(&deckle);
    let visitors = visitors(&dir);
    let (gone, stays) = (&visitors["reader-2/1.0"], &visitors["reader-3/1.0"]);
    let has = |segment: &Segment, id: &str| String::from_utf8_lossy(&segment.bytes).contains(id);
    let forget = || run(&["audit", "forget", "--visitor", gone, "--log-dir", &text(&dir), "--yes"]);

    // Nobody is asked where nobody is there, and nothing is erased unasked.
    let (code, _, error) = run(&["audit", "forget", "--visitor", gone, "--log-dir", &text(&dir)]);
    assert!(code == 2 && error.contains("--yes") && has(&segments(&dir)[0], gone), "{error}");
    // The open segment belongs to its writer.
    let (code, out, error) = forget();
    assert!(code == 0 && out.contains("3 lines erased") && out.contains("left alone"), "{out}{error}");
    let all = segments(&dir);
    assert_eq!((has(&all[0], gone), has(&all[1], gone), has(&all[0], stays)), (false, true, true));
    rotate(&deckle);
    let (code, out, error) = forget();
    assert!(code == 0 && out.contains("3 lines erased") && !out.contains("left alone"), "{out}{error}");
    visit(&deckle);
    let (_, log) = deckle.stop();
    let dir = log.path().join("log");

    let all = segments(&dir);
    assert_eq!(all.iter().map(|segment| has(segment, gone)).collect::<Vec<_>>(), [false, false, true]);
    assert!(all.iter().all(|segment| has(segment, stays)));
    let (code, said) = verify(&dir);
    assert!(code == 0 && said.contains("3 segments, as written."), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("erased: 3 (seq ")).count(), 2, "{said}");
    let (code, out, _) = run(&["audit", "forget", "--visitor", gone, "--log-dir", &text(&dir), "--yes"]);
    assert!(code == 0 && out.contains("3 lines erased"), "{out}");
    for path in all_files(&dir) {
        let text = std::fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(gone.as_str()), "{}", path.display());
    }
    assert!(segments(&dir).iter().all(|segment| !has(segment, gone) && has(segment, stays)));
    let (code, out, _) = run(&["audit", "forget", "--visitor", gone, "--log-dir", &text(&dir), "--yes"]);
    assert!(code == 1 && out.contains("0 lines erased"), "{out}");
    assert_eq!(verify(&dir).0, 0);
}

#[test]
fn erased_lines_are_no_holes_and_nobodys() {
    let log = three_segments();
    let dir = log.path().join("log");
    let read = || {
        let (code, json, error) = run(&["review", &text(&dir), "--json", "-", "--fail-if", "holes>0"]);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Value>(&json).unwrap()["quality"].clone()
    };
    assert_eq!((read()["hits"].as_u64(), read()["holes"].as_u64()), (Some(36), Some(0)));
    let id = visitors(&dir)["reader-2/1.0"].clone();
    assert_eq!(run(&["audit", "forget", "--visitor", &id, "--log-dir", &text(&dir), "--yes"]).0, 0);
    let quality = read();
    assert_eq!((quality["hits"].as_u64(), quality["holes"].as_u64()), (Some(27), Some(0)), "{quality}");
    assert_eq!(quality["instances"], serde_json::json!(["w1"]));
}

#[test]
fn a_key_is_never_written_over() {
    let dir = TempDir::new();
    let key = dir.path().join("keys/audit.ed25519");
    let (code, out, error) = run(&["audit", "keygen", &text(&key)]);
    assert!(code == 0 && out.len() > 64, "{out}{error}");
    let public = dir.path().join("keys/audit.ed25519.pub");
    let before = [&key, &public].map(|path| std::fs::read(path).unwrap());
    let (code, out, error) = run(&["audit", "keygen", &text(&key)]);
    assert!(code == 2 && out.is_empty() && error.contains("is there already"), "{code} {error}");
    assert_eq!([&key, &public].map(|path| std::fs::read(path).unwrap()), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_stops_the_proxy() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let key = dir.path().join("audit.ed25519");
    assert_eq!(run(&["audit", "keygen", &text(&key)]).0, 0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Not the configuration of wherever this test runs.
    let config = dir.path().join("deckle.toml");
    std::fs::write(&config, "").unwrap();
    let mut proxy = Running(
        Command::new(env!("CARGO_BIN_EXE_deckle"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir", &text(dir.path()), "--config", &text(&config)])
            .env("DECKLE_VISITOR__RANGES__REFRESH", "0s")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut ended = None;
    until("it serves with a key that others may read", || {
        ended = proxy.0.try_wait().unwrap();
        ended.is_some()
    });
    let mut error = String::new();
    proxy.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(ended.unwrap().code(), Some(2), "{error}");
    assert!(error.contains("audit.ed25519") && error.contains("chmod 600"), "{error}");
}
