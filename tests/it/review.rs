//! `deckle review` over files: what it finds, what it does with bad input, and the same answer in every form.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use deckle::clock::SystemClock;
use serde_json::Value;

use crate::support::{PATIENCE, TempDir};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The program; a wide terminal breaks no line.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle")).args(arguments).env("COLUMNS", "200").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// Exit code, the report as JSON (null: none was printed), and what was told.
fn review(paths: &[&Path], arguments: &[&str]) -> (i32, Value, String) {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, out, error) = run(&[&["review"][..], names.as_slice(), arguments, &["--json", "-"][..]].concat());
    (code, serde_json::from_str(&out).unwrap_or_default(), error)
}

/// A line of Combined, so many seconds after ten.
fn line(address: &str, at: u32, path: &str, status: u16, bytes: u64, agent: &str) -> String {
    let (hour, minute, second) = (10 + at / 3_600, at / 60 % 60, at % 60);
    format!(
        "{address} - - [20/Nov/2025:{hour}:{minute:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\"\n"
    )
}

/// Lines of nobody in particular.
fn lines(count: u32) -> String {
    (0..count).map(|at| line("203.0.113.9", at, &format!("/a/{}", at * 7_919 % 10_007), 200, 1, "curl/8")).collect()
}

/// A small site: a scraper takes 40 articles, a reader 12 with their style sheets, a scanner looks for five things.
fn site() -> String {
    let mut all = Vec::new();
    for story in 0..40 {
        all.push((story * 2, line("203.0.113.9", story * 2, &story_of(story), 200, 9_000, "Wget/1.21")));
    }
    for story in 0..12 {
        let (at, style) = (story * 300, format!("/style-{story}.css"));
        all.push((at, line("203.0.113.10", at, &story_of(story), 200, 8_000, BROWSER)));
        all.push((at + 1, line("203.0.113.10", at + 1, &style, 200, 100, BROWSER)));
    }
    for probe in 0..5 {
        all.push((probe * 7, line("203.0.113.11", probe * 7, "/wp-login.php", 404, 10, "python-requests/2.31")));
    }
    all.sort();
    all.into_iter().map(|(_, line)| line).collect()
}

fn story_of(number: u32) -> String {
    format!("/news/story-of-the-day-{number}")
}

/// What is no file is read once, and from its beginning.
#[cfg(unix)]
#[test]
fn a_pipe_with_a_name_is_read_whole() {
    let dir = TempDir::new();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writes = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(writes, lines(10_000)));
    let (code, report, _) = review(&[&pipe], &[]);
    writer.join().unwrap().unwrap();
    assert_eq!((code, &report["quality"]["lines"]), (0, &10_000.into()));
}

#[test]
fn a_compressed_file_that_is_damaged_from_its_start_is_not_empty() {
    let dir = TempDir::new();
    let (log, noise) = (dir.path().join("a.log"), dir.path().join("b.log.gz"));
    std::fs::write(&log, lines(10)).unwrap();
    let bytes: Vec<u8> = (0..50_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 6).collect();
    std::fs::write(&noise, [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3][..], &bytes].concat()).unwrap();
    let (code, report, error) = review(&[&log, &noise], &[]);
    assert_eq!((code, &report["quality"]["lines"]), (5, &10.into()), "{error}");
}

#[test]
fn a_key_is_for_what_is_verified() {
    let dir = TempDir::new();
    let log = dir.path().join("a.log");
    std::fs::write(&log, lines(10)).unwrap();
    assert_eq!(run(&["review", log.to_str().unwrap(), "--key", "any.pem"]).0, 2);
}

/// 250 scrapers that take twelve articles each, in the order of time; more than one chunk of lines.
fn fleet(agent: &str) -> Vec<String> {
    let one = |round: u32, scraper: u32| {
        let (address, at) = (format!("10.1.{}.{}", scraper / 200, scraper % 200), round * 60 + scraper * 60 / 250);
        line(&address, at, &format!("/news/a-long-story-{round}"), 200, 9_000, &format!("{agent} {scraper}"))
    };
    (0..12).flat_map(|round| (0..250).map(move |scraper| (round, scraper))).map(|(r, s)| one(r, s)).collect()
}

fn file(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

fn hits(report: &Value) -> u64 {
    number(&report["quality"]["hits"])
}

fn skipped(report: &Value, reason: &str) -> u64 {
    report["quality"]["skipped"][reason].as_u64().unwrap_or(0)
}

/// `lines = hits + other + empty + filtered + Σ skipped`.
fn adds_up(report: &Value) -> bool {
    let quality = &report["quality"];
    let skipped: u64 = quality["skipped"].as_object().unwrap().values().map(number).sum();
    let sum: u64 = ["hits", "other", "empty", "filtered"].iter().map(|part| number(&quality[part])).sum();
    number(&quality["lines"]) == sum + skipped
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let deadline = clock.elapsed() + PATIENCE;
    while !holds() {
        assert!(clock.elapsed() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A child that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn corpus_log(name: &str) -> Option<PathBuf> {
    let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
    let path = Path::new(&dir).join("logs").join(name);
    let is_there = path.exists();
    if !is_there {
        eprintln!("skipped: no {} (set DECKLE_CORPUS)", path.display());
    }
    is_there.then_some(path)
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| (*address).to_owned()).collect()
}

/// Addresses that declare a robot and are another.
fn fakes(report: &Value) -> BTreeSet<String> {
    let rows = report["agents"].as_array().unwrap().iter().filter(|row| row["verification"] == "failed");
    rows.flat_map(|row| row["addresses"].as_array().unwrap()).map(|a| a.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_corpus_gives_the_facts_that_are_known_of_it() {
    let Some(first) = corpus_log("combined-blog-2015-a.log") else { return };
    let Some(second) = corpus_log("combined-blog-2015-b.log.gz") else { return };
    let (code, report, error) = review(&[&first], &[]);
    assert_eq!(code, 0, "{error}");
    let codes = report["status"]["codes"].as_array().unwrap();
    let codes: Vec<(u64, u64)> = codes.iter().map(|row| (number(&row["status"]), number(&row["hits"]))).collect();
    assert_eq!(codes, [(200, 4_450), (206, 21), (301, 113), (304, 305), (403, 1), (404, 108), (500, 2)]);
    let bytes: u64 = report["bandwidth"].as_array().unwrap().iter().map(|row| number(&row["bytes"])).sum();
    assert_eq!((bytes, hits(&report), adds_up(&report)), (1_312_869_333, 5_000, true));
    assert_eq!(fakes(&report), set(&["177.37.188.215", "188.35.22.24"]));

    let (code, report, error) = review(&[&first, &second], &[]);
    assert_eq!((code, hits(&report), adds_up(&report)), (0, 10_000, true), "{error}");
    let all = ["177.37.188.215", "188.35.22.24", "200.141.109.74", "46.118.127.106"];
    assert_eq!(fakes(&report), set(&all));
    // Nobody of those that are what they say is called a fake, in any part of the report.
    for suspect in report["suspects"].as_array().unwrap().iter().filter(|s| s["verification"] == "failed") {
        assert!(all.contains(&suspect["address"].as_str().unwrap()), "{suspect}");
    }
    let genuine = report["agents"].as_array().unwrap().iter().find(|row| row["verification"] == "verified").unwrap();
    assert!(genuine["agent"] == "Googlebot" && number(&genuine["hits"]) > 500, "{genuine}");
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The first half.
fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// One row of the table of bad input.
struct Bad {
    what: &'static str,
    files: Vec<Vec<u8>>,
    arguments: &'static [&'static str],
    code: i32,
    /// Stands in what is told.
    told: &'static str,
    holds: fn(&Value) -> bool,
}

impl Bad {
    /// What is wrong, if anything is.
    fn fault(&self, dir: &TempDir) -> Option<String> {
        let name = |at: usize| format!("{}-{at}.log", self.what.replace(' ', "-"));
        let files: Vec<PathBuf> =
            self.files.iter().enumerate().map(|(at, bytes)| file(dir, &name(at), bytes)).collect();
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (code, report, error) = review(&paths, self.arguments);
        let is_told = error.contains(self.told) && !error.contains("panicked");
        // Without a line there is no report.
        let is_right =
            report.is_null() == (self.code == 1) && (report.is_null() || (self.holds)(&report) && adds_up(&report));
        let quality = &report["quality"];
        let is_good = code == self.code && is_told && is_right;
        (!is_good).then(|| format!("{}: {code} instead of {}, {error:?}, {quality}", self.what, self.code))
    }
}

fn bad(what: &'static str, files: Vec<Vec<u8>>, (code, told): (i32, &'static str), holds: fn(&Value) -> bool) -> Bad {
    Bad { what, files, arguments: &[], code, told, holds }
}

fn bad_input() -> Vec<Bad> {
    let good = lines(100).into_bytes();
    let many = lines(3_000).into_bytes();
    // More than a block of zstd.
    let more = zstd::encode_all(lines(12_000).as_bytes(), 3).unwrap();
    let one = line("203.0.113.9", 200, "/b", 200, 1, "curl/8");
    let mut crc = gz(&many);
    let at = crc.len() - 6;
    crc[at] ^= 0xFF;
    // As random as it needs to be, and the same each time.
    let noise = (0..200_000u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8).collect::<Vec<u8>>();
    let mut program = Vec::new();
    std::fs::File::open(env!("CARGO_BIN_EXE_deckle")).unwrap().take(20_000).read_to_end(&mut program).unwrap();
    let json = r#"{"remote_addr":"203.0.113.7","time_iso8601":"2025-11-20T10:14:07+00:00","request":"GET /b HTTP/1.1","status":200,"body_bytes_sent":5,"http_user_agent":"curl/8"}"#;
    let long = [good.as_slice(), "x".repeat(3_000_000).as_bytes(), b"\n", good.as_slice()].concat();
    let with = |from: &str, to: &[u8]| {
        let at = one.find(from).unwrap();
        [good.as_slice(), &one.as_bytes()[..at], to, &one.as_bytes()[at + from.len()..]].concat()
    };
    let hosts = concat!(
        "unicomp6.unicomp.net - - [01/Jul/1995:00:00:06 -0400] \"GET /shuttle/countdown/ HTTP/1.0\" 200 3985\n",
        "- - - [01/Jul/1995:00:00:07 -0400] \"GET /a HTTP/1.0\" 200 1\n",
        "unknown - - [01/Jul/1995:00:00:08 -0400] \"GET /b\" 200 -\n",
        "fe80::1%eth0 - - [01/Jul/1995:00:00:08 -0400] \"GET /b\" 200 -\n",
    );
    let offsets = ["10:00:00 +0000", "11:00:00 +0100", "05:00:00 -0500"];
    let offsets: String = offsets.iter().map(|time| one.replace("10:03:20 +0000", time)).collect();
    let tenth = [lines(9), "rubbish\n".to_owned()].concat().into_bytes();
    let nothing: fn(&Value) -> bool = |_| true;
    let all_of_good: fn(&Value) -> bool = |report| hits(report) == 100;
    let and_one: fn(&Value) -> bool = |report| hits(report) == 101;
    let all_of_many: fn(&Value) -> bool = |report| hits(report) == 3_000;
    let some_of_many: fn(&Value) -> bool = |report| (1..3_000).contains(&hits(report));
    let without_the_long: fn(&Value) -> bool = |report| hits(report) == 200 && skipped(report, "too_long") == 1;
    vec![
        bad("empty file", vec![vec![]], (1, "no log lines in"), nothing),
        bad("blank lines", vec![b"\n\r\n \n".to_vec()], (1, "no log lines in"), nothing),
        bad("only comments", vec![b"# a\n\n# b\n".to_vec()], (1, "no log lines in"), nothing),
        bad("empty beside good", vec![vec![], good.clone()], (0, "no log lines in"), all_of_good),
        Bad {
            arguments: &["/nowhere/at-all.log"],
            ..bad("one missing", vec![good.clone()], (5, "cannot read `/nowhere/at-all.log`: No such"), all_of_good)
        },
        Bad {
            arguments: &["/nowhere/at-all.log", "/nowhere/else.log"],
            ..bad("all missing", vec![], (1, "/nowhere/else.log"), nothing)
        },
        bad("truncated gz", vec![half(gz(&many))], (5, "truncated_input"), some_of_many),
        bad("truncated zst", vec![half(more)], (5, "truncated_input"), |report| (1..12_000).contains(&hits(report))),
        bad("wrong checksum", vec![crc], (5, "truncated_input"), all_of_many),
        bad("trailing garbage", vec![[gz(&many), b"garbage".to_vec()].concat()], (5, "truncated_input"), all_of_many),
        bad("several members", vec![[gz(&good), gz(one.as_bytes())].concat()], (0, ""), and_one),
        bad("binary junk", vec![noise], (1, "is not a log"), nothing),
        bad("executable", vec![program.clone()], (1, "is not a log"), nothing),
        bad("executable beside good", vec![program, good.clone()], (5, "is not a log"), all_of_good),
        bad(
            "mixed formats",
            vec![[good.as_slice(), json.as_bytes(), b"\n", good.as_slice()].concat()],
            (0, ""),
            |report| hits(report) == 201 && number(&report["quality"]["format_switch"]) > 0,
        ),
        // By far the most of its bytes could not be read.
        bad("long line", vec![long.clone()], (5, "too_long"), without_the_long),
        Bad { arguments: &["--max-bad", "1"], ..bad("long line allowed", vec![long], (0, ""), without_the_long) },
        bad("long line alone", vec![vec![b'x'; 3_000_000]], (1, ""), nothing),
        bad("invalid UTF-8", vec![with("/b", b"/caf\xE9")], (0, ""), and_one),
        // A block of them is what a machine leaves behind that lost its power.
        bad("NUL", vec![with("curl/8", b"curl\0/8")], (0, ""), |report| {
            hits(report) + skipped(report, "binary") == 101
        }),
        bad("BOM", vec![[&b"\xEF\xBB\xBF"[..], good.as_slice()].concat()], (0, ""), all_of_good),
        bad("CRLF", vec![lines(100).replace('\n', "\r\n").into_bytes()], (0, ""), |report| {
            hits(report) == 100 && number(&report["verdict"]["visitors"]) == 1
        }),
        bad("lone CR", vec![with("\n", b"\r\r\n")], (0, ""), and_one),
        bad("no last line feed", vec![with("\n", b"")], (0, ""), and_one),
        bad("a tenth is rubbish", vec![tenth.clone()], (5, "warning: 10 %"), |report| hits(report) == 9),
        Bad { arguments: &["--max-bad", "0.2"], ..bad("a tenth is allowed", vec![tenth], (0, ""), |r| hits(r) == 9) },
        bad("mixed offsets", vec![offsets.into_bytes()], (0, ""), |report| {
            hits(report) == 3 && report["verdict"]["first"] == report["verdict"]["last"]
        }),
        bad("hosts of 1995", vec![hosts.into()], (0, ""), |report| {
            hits(report) == 4 && number(&report["verdict"]["visitors"]) == 4
        }),
    ]
}

#[test]
fn every_bad_input_has_its_answer() {
    let dir = TempDir::new();
    let faults: Vec<String> = bad_input().iter().filter_map(|row| row.fault(&dir)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_directory_without_logs_is_named() {
    let dir = TempDir::new();
    let bare = dir.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    let (code, _, error) = review(&[&bare], &[]);
    assert!(code == 1 && error.contains("bare"), "{code} {error:?}");
    let good = file(&dir, "access.log", lines(10));
    let (code, report, error) = review(&[&bare, &good], &[]);
    assert!(code == 5 && error.contains("bare") && hits(&report) == 10, "{code} {error:?}");
    // With a log it is read, and what is no log is left alone.
    file(&dir, "notes.md", "nothing of interest\n");
    let (code, report, error) = review(&[dir.path()], &[]);
    assert_eq!((code, hits(&report)), (0, 10), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_told_and_the_others_count() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let (good, closed) = (file(&dir, "good.log", lines(10)), file(&dir, "closed.log", lines(10)));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&closed).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    let (code, report, error) = review(&[&closed, &good], &[]);
    assert!(code == 5 && error.contains("closed.log") && error.contains("ermission"), "{error}");
    assert_eq!(hits(&report), 10);
}

#[test]
fn lists_of_addresses_are_believed_as_far_as_they_are_trusted() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", line("198.51.100.7, 203.0.113.8, 10.0.0.1", 0, "/a", 200, 1, "curl/8"));
    let is = |arguments: &[&str], address: &str| {
        let (code, report, error) = review(&[&log], &[arguments, &["--address", address][..]].concat());
        assert_eq!((code, number(&report["quality"]["lines"])), (0, 1), "{error}");
        hits(&report) == 1
    };
    assert!(is(&[], "203.0.113.8"), "the right-most public one; what is left of it the client has written");
    assert!(is(&["--trust-xff", "1"], "10.0.0.1"));
    assert!(is(&["--trust-xff", "2"], "203.0.113.8"));
    assert!(is(&["--trust-xff", "3"], "198.51.100.7"));
}

#[test]
fn a_list_at_the_end_of_a_line_counts_only_where_it_is_trusted() {
    let dir = TempDir::new();
    let of_nginx = line("10.0.0.4", 0, "/a", 200, 1, "curl/8");
    let log = file(&dir, "access.log", format!("{} \"198.51.100.7, 203.0.113.8\"\n", of_nginx.trim_end()));
    let is = |arguments: &[&str], address: &str| {
        let (_, report, _) = review(&[&log], &[arguments, &["--address", address][..]].concat());
        hits(&report) == 1
    };
    assert!(is(&[], "10.0.0.4"), "anybody can send that header");
    assert!(is(&["--trust-xff", "1"], "203.0.113.8"));
    assert!(is(&["--trust-xff", "2"], "198.51.100.7"));
}

#[test]
fn forwarded_addresses_are_trusted_in_every_format_that_has_them() {
    let dir = TempDir::new();
    let json = r#"{"time_iso8601":"2025-11-20T10:00:00Z","remote_addr":"10.0.0.4","request":"GET /a HTTP/1.1","status":200,"body_bytes_sent":1,"http_user_agent":"curl/8","http_x_forwarded_for":"198.51.100.7, 203.0.113.8"}"#;
    let own = "10.0.0.4|20/Nov/2025:10:00:00 +0000|GET /a HTTP/1.1|200|198.51.100.7, 203.0.113.8|";
    let format = "$remote_addr|$time_local|$request|$status|$http_x_forwarded_for|";
    for (name, line, how) in [("json.log", json, &[][..]), ("own.log", own, &["--log-format", format][..])] {
        let log = file(&dir, name, format!("{line}\n"));
        let is = |arguments: &[&str], address: &str| {
            let (_, report, error) = review(&[&log], &[how, arguments, &["--address", address][..]].concat());
            assert_eq!(number(&report["quality"]["lines"]), 1, "{error}");
            hits(&report) == 1
        };
        assert!(is(&[], "10.0.0.4"), "{name}: anybody can send that header");
        assert!(is(&["--trust-xff", "1"], "203.0.113.8"), "{name}");
        assert!(is(&["--trust-xff", "2"], "198.51.100.7"), "{name}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", fleet("Wget/1.21").concat());
    for form in ["--full", "--json=-", "--markdown=-"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
            .arg("review")
            .arg(&log)
            .arg(form)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As `head -1` does; the rest is more than a pipe holds.
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let out = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && error.is_empty() && !first.is_empty(), "{form}: {error} {}", out.status);
    }
}

/// The program waits for more on its standard input, as behind `tail -f`.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_it_with_what_was_read_until_then() {
    let mut child = Running(
        Command::new(env!("CARGO_BIN_EXE_deckle"))
            .args(["review", "-", "--json", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdin = child.0.stdin.take().unwrap();
    // More than a chunk: what is behind it may still be waiting to be a whole one.
    stdin.write_all(fleet("Wget/1.21").concat().as_bytes()).unwrap();
    let status = format!("/proc/{}/status", child.0.id());
    until("it does not catch the signal", || {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    });
    let sent = Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let stdout = child.0.stdout.take().unwrap();
    let report = std::thread::spawn(move || serde_json::from_reader::<_, Value>(stdout).unwrap_or_default());
    let mut ended = None;
    until("it goes on after an interrupt", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(130));
    let report = report.join().unwrap();
    assert!(report["source"]["partial"] == true && hits(&report) > 0, "{report}");
    drop(stdin);
}

#[test]
fn what_is_typed_wrongly_is_named_and_nothing_is_printed() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", lines(10)).display().to_string();
    let rows: [(&[&str], &str); 14] = [
        (&["--nope"], "--nope"),
        (&["--where", "status=="], "--where, column "),
        (&["--where", "page.knd==\"article\""], "--where, column 1: "),
        (&["--where", "status==404 && nope>1"], "--where, column 16: "),
        (&["--since", "yesterday"], "yesterday"),
        (&["--until", "2026-13-01"], "2026-13-01"),
        (&["--status", "4x4"], "4x4"),
        (&["--address", "203.0.113"], "203.0.113"),
        (&["--category", "nobody"], "nobody"),
        (&["--fail-if", "violation>0"], "did you mean `violations`?"),
        (&["--format", "apache"], "combined"),
        (&["--log-format", "%h %Q %t"], "column 4"),
        (&["--robots", "/nowhere/robots.txt"], "/nowhere/robots.txt"),
        (&["--tz", "Mars/Olympus"], "`Mars/Olympus` is no time zone"),
    ];
    for (arguments, told) in rows {
        let (code, out, error) = run(&[&["review", log.as_str()][..], arguments].concat());
        assert!(code == 2 && out.is_empty() && error.contains(told), "{arguments:?}: {code} {error}");
    }
}

#[test]
fn conditions_that_hold_end_it_with_3() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", site());
    let rows = [
        ("suspects>1", 3),
        ("suspects>2", 0),
        ("requests_by_one>=40", 3),
        ("requests_by_one>40", 0),
        ("articles_by_one>39", 3),
        ("automated_share>60%", 3),
        ("automated_share>70%", 0),
        ("not_found_share>=5%", 3),
        ("bad_lines>0", 0),
        ("fake_bots>0", 0),
        ("violations>0", 0),
    ];
    for (condition, expected) in rows {
        let (code, report, error) = review(&[&log], &["--fail-if", condition]);
        assert_eq!((code, error.contains(condition)), (expected, expected == 3), "{condition}: {error}");
        assert_eq!(hits(&report), 69, "the report is printed all the same");
    }
    assert_eq!(review(&[&log], &["--fail-if", "bad_lines>0", "--fail-if", "suspects>1"]).0, 3, "one is enough");
}

/// The reader takes its articles in 55 minutes, the scraper in 78 seconds.
#[test]
fn conditions_over_a_window_count_what_fell_into_it() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", site());
    for (condition, expected) in [
        ("articles_by_one>=40/1h", 3),
        ("articles_by_one>40/1h", 0),
        ("articles_by_one>=10/1m", 3),
        ("articles_by_one>=40/30s", 0),
        ("requests_by_one>=40/1h", 3),
    ] {
        let (code, _, error) = review(&[&log], &["--fail-if", condition]);
        assert_eq!(code, expected, "{condition}: {error}");
    }
}

#[test]
fn filters_leave_out_and_count_what_they_leave_out() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", site());
    let (_, whole, _) = review(&[&log], &[]);
    assert_eq!((hits(&whole), number(&whole["quality"]["filtered"])), (69, 0));
    let rows: [(&[&str], u64); 16] = [
        (&["--status", "404"], 5),
        (&["--status", "4xx,500"], 5),
        (&["--status", "500"], 0),
        (&["--path", "/news/**"], 52),
        (&["--path", "/*.css"], 12),
        (&["--agent", "wget"], 40),
        (&["--address", "203.0.113.10"], 24),
        (&["--address", "203.0.113.0/24"], 69),
        (&["--category", "library"], 45),
        (&["--since", "2025-11-20T10:30:00Z"], 12),
        (&["--until", "2025-11-20T10:30"], 57),
        (&["--since", "2025-11-20T10:30", "--until", "2025-11-20T10:40"], 4),
        (&["--since", "2025-11-21"], 0),
        (&["--where", "status==404"], 5),
        (&["--where", "bytes>=9000 || path~\"css\""], 52),
        (&["--status", "200", "--path", "/news/**", "--where", "bytes<9000"], 12),
    ];
    for (arguments, expected) in rows {
        let (code, report, error) = review(&[&log], arguments);
        assert_eq!((code, hits(&report)), (0, expected), "{arguments:?}: {error}");
        let quality = &report["quality"];
        assert_eq!((number(&quality["filtered"]), number(&quality["lines"])), (69 - expected, 69), "{arguments:?}");
        assert!(adds_up(&report), "{quality}");
        assert_eq!(number(&report["verdict"]["hits"]), expected, "{arguments:?}");
        assert_eq!(report["source"]["filters"].as_array().unwrap().len(), arguments.len() / 2);
    }
}

/// Rows of RFC 4180.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}

/// Requests and visitors in all; address and requests of each suspect.
type Numbers = (u64, u64, Vec<(String, u64)>);

fn numbers_of_csv(dir: &Path) -> Numbers {
    let read = |name: &str| read_csv(&std::fs::read_to_string(dir.join(name)).unwrap());
    let (verdict, suspects) = (read("verdict.csv"), read("suspects.csv"));
    let total = |name: &str| verdict.iter().find(|row| row[0] == name).unwrap()[1].parse().unwrap();
    let column = |name: &str| suspects[0].iter().position(|head| head == name).unwrap();
    let (address, requests) = (column("address"), column("hits"));
    let suspects = suspects[1..].iter().map(|row| (row[address].clone(), row[requests].parse().unwrap())).collect();
    (total("hits"), total("visitors"), suspects)
}

fn numbers_of_markdown(text: &str) -> Numbers {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    let total = |name: &str| rows.iter().find(|row| row[0] == name).unwrap()[1].parse().unwrap();
    let head = rows.iter().position(|row| row[0] == "rank").unwrap();
    let column = |name: &str| rows[head].iter().position(|head| head == name).unwrap();
    let (address, requests) = (column("address"), column("requests"));
    let suspects = rows[head + 2..].iter().take_while(|row| row[0].parse::<u32>().is_ok());
    let suspects = suspects.map(|row| (row[address].clone(), row[requests].parse().unwrap())).collect();
    (total("requests"), total("visitors"), suspects)
}

/// "  1. Wget  203.0.113.9  score 97", and below it "40 articles, 360 kB in 40 requests".
fn numbers_of_terminal(text: &str) -> Numbers {
    let total = |name: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix("  ")).unwrap();
        line.trim().parse().unwrap()
    };
    let mut suspects = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("Suspected scrapers")).skip(1) {
        let (first, rest) = line.trim_start().split_once("  ").unwrap_or_default();
        if first.split_once(". ").is_some_and(|(rank, _)| rank.parse::<u32>().is_ok()) {
            suspects.push((rest.split("  ").next().unwrap().to_owned(), 0));
        } else if let Some(requests) = line.trim_end().strip_suffix(" requests").and_then(|l| l.rsplit(' ').next()) {
            suspects.last_mut().unwrap().1 = requests.parse().unwrap();
        } else if line.is_empty() {
            break;
        }
    }
    (total("requests"), total("visitors"), suspects)
}

#[test]
fn every_form_has_the_same_numbers() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", site());
    let (csv, markdown, json) = (dir.path().join("csv"), dir.path().join("r.md"), dir.path().join("r.json"));
    let [log, csv_name, markdown_name, json_name] =
        [&log, &csv, &markdown, &json].map(|path| path.display().to_string());
    let arguments = ["review", &log, "--csv", &csv_name, "--markdown", &markdown_name, "--json", &json_name, "--full"];
    let (code, terminal, error) = run(&arguments);
    assert_eq!(code, 0, "{error}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let suspect = |row: &Value| (row["address"].as_str().unwrap().to_owned(), number(&row["hits"]));
    let suspects: Vec<(String, u64)> = report["suspects"].as_array().unwrap().iter().map(suspect).collect();
    assert_eq!(suspects, [("203.0.113.9".to_owned(), 40), ("203.0.113.11".to_owned(), 5)]);
    let numbers = (number(&report["verdict"]["hits"]), number(&report["verdict"]["visitors"]), suspects);
    assert_eq!((numbers.0, numbers.1), (69, 3));
    assert_eq!(numbers_of_csv(&csv), numbers);
    assert_eq!(numbers_of_markdown(&std::fs::read_to_string(markdown).unwrap()), numbers);
    assert_eq!(numbers_of_terminal(&terminal), numbers, "{terminal}");
    assert!(!terminal.contains('\u{1b}'), "no colour where no terminal is");
}

#[test]
fn a_page_of_the_report_runs_nothing_and_stays_small() {
    let dir = TempDir::new();
    let hostile = "Wget/1.21 </title><script>alert(1)</script>\\\"><img src=x onerror=alert(2)>";
    let log = file(
        &dir,
        "access.log",
        fleet(&format!("Wget/1.21 {hostile}")).concat().replace("/news/", "/news/<svg/onload=alert(3)>"),
    );
    let page = dir.path().join("report.html");
    let (code, _, error) = run(&["review", &log.display().to_string(), "--html", &page.display().to_string()]);
    assert_eq!(code, 0, "{error}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.len() < 2 << 20, "{} bytes", html.len());
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">";
    assert!(html.contains(policy));
    let lower = html.to_ascii_lowercase();
    for part in ["<script", "<img", "<svg/", "<iframe", "javascript:", " onerror=\"", " onload=\""] {
        assert!(!lower.contains(part), "{part}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "it is shown as it was sent");
}

const CCBOT: &str = "CCBot/2.0 (https://commoncrawl.org/faq/)";

/// `CCBot` asks for robots.txt and goes into what it forbids ten minutes later, from several addresses; `Bytespider`
/// and somebody who says that it is `GPTBot` never ask.
fn robots_log() -> String {
    let gptbot = "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";
    let mut all = vec![line("198.51.100.1", 0, "/robots.txt", 200, 50, CCBOT)];
    all.extend((1..=4).map(|at| line(&format!("198.51.101.{at}"), 500 + at, "/private/a", 200, 500, "Bytespider")));
    all.push(line("198.51.102.1", 505, "/private/a", 200, 500, gptbot));
    all.push(line("203.0.113.10", 506, "/private/a", 200, 500, BROWSER));
    all.extend((1..=6).map(|at| line(&format!("198.51.100.{at}"), 600 + at, "/private/b", 200, 500, CCBOT)));
    all.push(line("198.51.100.1", 700, "/open", 200, 500, CCBOT));
    all.concat()
}

#[test]
fn who_obeyed_robots_txt_is_known_only_if_somebody_says_what_it_was() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", robots_log());
    let robots = file(&dir, "robots.txt", "User-agent: *\nDisallow: /private/\n").display().to_string();
    let row = |report: &Value, agent: &str| {
        let rows = report["robots"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["agent"] == agent).unwrap_or_else(|| panic!("{agent}: {rows:?}")).clone()
    };
    let verdicts = ["obeyed", "stale", "read_then_ignored", "never_asked", "unknown"];
    let of = |row: &Value| verdicts.map(|verdict| number(&row[verdict]));

    let (code, report, error) = review(&[&log], &["--robots", &robots]);
    assert_eq!((code, report["robots"]["evaluated"].as_bool()), (0, Some(true)), "{error}");
    let reader = row(&report, "CCBot");
    assert_eq!((of(&reader), number(&reader["fetches"])), ([2, 0, 6, 0, 0], 1), "{reader}");
    assert_eq!(of(&row(&report, "Bytespider")), [0, 0, 0, 4, 0]);
    let fake = row(&report, "GPTBot");
    assert_eq!(
        (of(&fake), fake["title"].as_str()),
        ([0, 0, 0, 1, 0], Some("claiming to be GPTBot")),
        "a list of another year accuses no crawler: {fake}"
    );
    assert_eq!(review(&[&log], &["--robots", &robots, "--fail-if", "violations>10"]).0, 3);
    assert_eq!(review(&[&log], &["--robots", &robots, "--fail-if", "violations>11"]).0, 0);

    // Nothing is held against anybody that was allowed a day before, or of which nobody knows.
    let (_, report, _) = review(&[&log], &["--robots", &format!("{robots}@2025-11-20T10:05:00Z")]);
    assert_eq!(of(&row(&report, "Bytespider"))[2..4], [0, 0]);

    let (code, report, _) = review(&[&log], &[]);
    assert_eq!((code, report["robots"]["evaluated"].as_bool()), (0, Some(false)));
    assert_eq!((of(&row(&report, "CCBot")), report["robots"]["versions"].as_u64()), ([0; 5], Some(0)));
    let (_, text, _) = run(&["review", &log.display().to_string()]);
    assert!(text.contains("Not evaluated") && !text.contains("obeyed 0"), "{text}");
    assert_eq!(review(&[&log], &["--fail-if", "violations>0"]).0, 0);
}

#[test]
fn the_servers_own_words_describe_its_lines() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", site());
    let (_, found, _) = review(&[&log], &[]);
    for format in [
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
        r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#,
        // As it stands in the configuration of Apache.
        r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\""#,
    ] {
        let (code, report, error) = review(&[&log], &["--log-format", format]);
        assert_eq!(code, 0, "{format}: {error}");
        assert_eq!(report["source"]["formats"]["custom"], 69, "{format}");
        for part in ["verdict", "suspects", "agents", "status", "bandwidth", "time"] {
            assert_eq!(report[part], found[part], "{format}: {part}");
        }
    }
    // Lines that no format of ours describes.
    let odd = "203.0.113.9|20/Nov/2025:10:00:00 +0000|GET /a HTTP/1.1|404|12|curl/8\n";
    let odd = file(&dir, "odd.log", odd);
    let (code, _, _) = review(&[&odd], &[]);
    assert_eq!(code, 1);
    let format = "$remote_addr|$time_local|$request|$status|$bytes_sent|$http_user_agent";
    let (code, report, error) = review(&[&odd], &["--log-format", format, "--status", "404"]);
    assert_eq!((code, hits(&report)), (0, 1), "{error}");

    let (code, report, _) = review(&[&log], &["--format", "combined"]);
    assert_eq!((code, &report["suspects"]), (0, &found["suspects"]));
    assert_eq!(
        review(&[&log], &["--format", "caddy"]).1["source"]["formats"]["combined"],
        69,
        "each line says it, too"
    );
}

/// In this zone the clock shows the hour from two to three twice on 26 October.
#[test]
fn times_without_an_offset_are_of_the_zone_that_is_said() {
    let dir = TempDir::new();
    let w3c = |time: &str| format!("2025-10-26 {time} 203.0.113.7 GET /a 200\n");
    let w3c = "#Fields: date time c-ip cs-method cs-uri-stem sc-status\n".to_owned()
        + &w3c("01:30:00")
        + &w3c("02:30:00")
        + &w3c("03:30:00");
    let haproxy = |time: &str| {
        format!(
            "203.0.113.7:4711 [26/Oct/2025:{time}.250] www news/web1 0/0/0/5/5 200 7 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n"
        )
    };
    let haproxy = haproxy("01:30:00") + &haproxy("02:30:00") + &haproxy("03:30:00");
    let custom =
        "203.0.113.7 2025-10-26T01:30:00 /a\n203.0.113.7 2025-10-26T02:30:00 /a\n203.0.113.7 2025-10-26T03:30:00 /a\n";
    // What has an offset keeps it.
    let combined = line("203.0.113.9", 0, "/a", 200, 1, "curl/8");
    let zone = ["--tz", "CET-1CEST,M3.5.0,M10.5.0/3"];
    let rows: [(&str, &str, &[&str], [&str; 3]); 4] = [
        ("w3c.log", &w3c, &[], ["2025-10-25T23:30:00Z", "2025-10-26T02:30:00Z", "1"]),
        ("haproxy.log", &haproxy, &[], ["2025-10-25T23:30:00Z", "2025-10-26T02:30:00Z", "1"]),
        (
            "custom.log",
            custom,
            &["--log-format", "$remote_addr $time_iso8601 $uri"],
            ["2025-10-25T23:30:00Z", "2025-10-26T02:30:00Z", "1"],
        ),
        ("combined.log", &combined, &[], ["2025-11-20T10:00:00Z", "2025-11-20T10:00:00Z", "0"]),
    ];
    for (name, text, arguments, [first, last, twice]) in rows {
        let log = file(&dir, name, text);
        let (code, report, error) = review(&[&log], &[arguments, &zone[..]].concat());
        assert_eq!(code, 0, "{name}: {error}");
        let verdict = &report["verdict"];
        assert_eq!((verdict["first"].as_str(), verdict["last"].as_str()), (Some(first), Some(last)), "{name}");
        assert_eq!(report["quality"]["ambiguous_time"].to_string(), twice, "{name}");
    }
    let log = dir.path().join("w3c.log");
    let (_, report, _) = review(&[&log], &[]);
    assert_eq!(report["verdict"]["first"], "2025-10-26T01:30:00Z", "without a zone it is UTC");
    let (_, report, _) = review(&[&log], &["--tz", "-03:30"]);
    assert_eq!(report["verdict"]["first"], "2025-10-26T05:00:00Z");
}

/// A report without the names of the files.
fn nameless(mut report: Value) -> Value {
    report["source"]["files"] = Value::Null;
    report["quality"]["notes"] = Value::Null;
    report
}

#[test]
fn the_order_of_files_changes_nothing_and_none_counts_twice() {
    let dir = TempDir::new();
    let all = fleet("Wget/1.21");
    let (early, late) = all.split_at(all.len() / 2);
    let whole = file(&dir, "whole.log", all.concat());
    let (early, late) =
        (file(&dir, "early.log", early.concat()), file(&dir, "late.log.gz", gz(late.concat().as_bytes())));
    let (code, expected, error) = review(&[&whole], &[]);
    assert_eq!((code, hits(&expected)), (0, 3_000), "{error}");
    let expected = nameless(expected);
    for paths in [[&early, &late], [&late, &early]] {
        let (code, report, error) = review(&paths.map(PathBuf::as_path), &[]);
        assert_eq!((code, number(&report["quality"]["out_of_order"])), (0, 0), "{error}");
        assert_eq!(nameless(report), expected, "{paths:?}");
    }
    let (code, report, error) = review(&[&late, &early, &late], &[]);
    assert!(code == 0 && error.contains("late.log.gz is given twice"), "{error}");
    assert_eq!(nameless(report), expected);
    #[cfg(unix)]
    {
        let link = dir.path().join("link.log");
        std::os::unix::fs::symlink(&early, &link).unwrap();
        let (_, report, error) = review(&[&early, &link, &late], &[]);
        assert!(error.contains("link.log is given twice"), "{error}");
        assert_eq!(nameless(report), expected);
    }
}

#[test]
fn where_no_thread_can_be_had_the_answer_is_the_same() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", [fleet("Wget/1.21").concat(), site()].concat()).display().to_string();
    let with = |stack: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
        // A thread with a stack of that size cannot be started.
        let out = command.args(["review", &log, "--jobs", "4", "--json", "-"]).env("RUST_MIN_STACK", stack).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{stack}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let (few, many) = (with(&(1_u64 << 48).to_string()), with("2097152"));
    assert!(few.contains("\"hits\": 3069") && few == many);
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let dir = TempDir::new();
    // Robots of one name come from many addresses, which are counted by different threads.
    let mixed = [fleet(CCBOT).concat(), fleet("Wget/1.21").concat(), robots_log(), site()].concat();
    let log = file(&dir, "access.log", mixed);
    let robots = file(&dir, "robots.txt", "User-agent: *\nDisallow: /private/\nDisallow: /news/a-long-story-7\n");
    let logs = std::iter::once(log).chain(corpus_log("combined-blog-2015-a.log"));
    for log in logs {
        let [log, robots] = [&log, &robots].map(|path| path.display().to_string());
        let with = |jobs: &str| {
            let (code, out, error) = run(&["review", &log, "--robots", &robots, "--jobs", jobs, "--json", "-"]);
            assert_eq!(code, 0, "{error}");
            out
        };
        let one = with("1");
        for jobs in ["2", "3", "7"] {
            assert!(with(jobs) == one, "{log}: --jobs {jobs} gives another report than --jobs 1");
        }
    }
}
