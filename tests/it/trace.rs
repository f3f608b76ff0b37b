//! `deckle trace`: what it reads, what it says, how it ends, and what it leaves as evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use deckle::secret::Secrets;
use deckle::slot::{Class, PlaceHash, PlaceKind};
use deckle::watermark::Keys;
use deckle::watermark::code::symbol_char;
use serde_json::Value;

use crate::review::{Running, until};
use crate::support::{Deckle, TempDir, accused, get, has};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Other marks in each log.
const OTHERS: u64 = 500;

fn keys() -> Keys {
    Keys::new(Secrets::parse(SECRET).unwrap().active())
}

/// An article of words that no other one has.
fn words(page: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{page}{number}")).collect()
}

/// What stands around the gap behind a word; `None`: there are too few words.
fn hash(words: &[String], gap: usize) -> Option<PlaceHash> {
    let around = words.get(gap.checked_sub(1)?..gap + 3)?;
    Some(keys().hash(PlaceKind::Space, around.join("\u{1F}").as_bytes()))
}

/// The article as it left with a mark.
fn marked(words: &[String], mark: u64) -> String {
    let row = keys().row(Class::White, mark);
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        let feed = hash(words, at).is_some_and(|hash| row.bit(usize::from(hash.column(Class::White))));
        out.push_str(word);
        out.push(if feed { '\n' } else { ' ' });
    }
    out.trim_end().to_owned()
}

fn seal(mark: u64) -> String {
    keys().seal(mark).iter().map(|symbol| symbol_char(*symbol)).collect()
}

/// A `page` line.
fn page(path: &str, plan: &str, words: &[String]) -> String {
    let hashes: BTreeSet<u32> = (0..words.len()).filter_map(|gap| hash(words, gap)).map(PlaceHash::upper).collect();
    let sketch: Vec<u8> = hashes.iter().take(128).flat_map(|hash| hash.to_be_bytes()).collect();
    format!(
        "{{\"v\":1,\"time\":\"2026-11-20T10:00:00.000Z\",\"deckle.kind\":\"page\",\"deckle.seq\":1,\"url.path\":\"{path}\",\
         \"deckle.mark.plan\":\"{plan}\",\"deckle.page.words\":{},\"deckle.page.sketch\":\"{}\"}}\n",
        words.len(),
        BASE64.encode(&sketch)
    )
}

/// A response that carried a mark.
pub(crate) fn hit(id: &str, time: &str, who: u64, path: &str, plan: &str, mark: u64) -> String {
    format!(
        "{{\"v\":1,\"time\":\"{time}\",\"deckle.seq\":2,\"deckle.instance\":\"w1\",\"deckle.site\":\"news\",\
         \"deckle.request.id\":\"{id}\",\"http.request.method\":\"GET\",\"url.path\":\"{path}\",\
         \"http.response.status_code\":200,\"client.address\":\"10.{}.{}.0/24\",\"user_agent.original\":\"reader/{who}\",\
         \"deckle.visitor.id\":\"visitor{who}\",\"deckle.visitor.category\":\"browser\",\"deckle.score\":7,\
         \"deckle.action\":\"allow\",\"deckle.mark.id\":\"k0-{mark:012x}\",\"deckle.mark.plan\":\"{plan}\"}}\n",
        who / 256,
        who % 256
    )
}

pub(crate) const DAY: &str = "2026-11-20T10:00:00.000Z";

/// A log of these lines, and of responses to many others.
fn log(lines: &[String]) -> TempDir {
    let dir = TempDir::new();
    let mut all = lines.concat();
    for other in 1..=OTHERS {
        let mark = (other.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16) & 0xFFFF_FFFF_FFFF;
        all.push_str(&hit(&format!("other-{other}"), DAY, 1_000 + other, "/other", "00", mark));
    }
    std::fs::write(dir.path().join("audit-w1-20261120T100000Z-1.ndjson"), all).unwrap();
    dir
}

/// The usual one: three responses of one visit, one of another visitor, two pages that are known.
fn usual() -> TempDir {
    log(&[
        page("/a", "aa", &words("alpha", 300)),
        page("/b", "bb", &words("beta", 300)),
        hit("r-a", "2026-11-20T10:14:07.000Z", 7, "/a", "aa", 0xA7),
        hit("r-b", "2026-11-20T10:20:31.000Z", 7, "/b", "bb", 0xA7),
        hit("r-c", "2026-11-20T10:12:55.000Z", 7, "/c", "cc", 0xA7),
        hit("r-8", "2026-11-21T10:00:00.000Z", 8, "/a", "aa", 0xA8),
    ])
}

fn command(log: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
    command.arg("trace").args(arguments).arg("--log-dir").arg(log).env("DECKLE_SECRET", SECRET);
    command
}

/// Exit code, what was printed, what was told.
fn trace(log: &Path, arguments: &[&str]) -> (i32, String, String) {
    let out = command(log, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// Exit code, and the document.
fn json(log: &Path, arguments: &[&str]) -> (i32, Value) {
    let (code, out, error) = trace(log, &[arguments, &["--json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {error}")))
}

/// A copy in a file.
fn copy(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn notes(document: &Value) -> Vec<&str> {
    document["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

#[test]
fn the_page_the_response_and_the_visit_are_named() {
    let (log, dir) = (usual(), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let (code, document) = json(log.path(), &[&text]);
    assert_eq!((code, document["verdict"].as_str()), (0, Some("traced")), "{document}");
    assert_eq!((&document["schema_version"], &document["words"]), (&1.into(), &300.into()));
    assert_eq!(document["candidates"], OTHERS + 2);
    for key in ["slots_read", "tests", "notes", "channels"] {
        assert!(!document[key].is_null(), "{key}");
    }
    assert_eq!(document["pages"][0]["path"], "/a");
    let found = accused(&document);
    assert_eq!(found.len(), 1, "{document}");
    assert_eq!((&found[0]["mark"], &found[0]["request_ids"]), (&"k0-0000000000a7".into(), &serde_json::json!(["r-a"])));
    assert_eq!((&found[0]["time"], &found[0]["picked_by"]), (&"2026-11-20T10:14:07Z".into(), &"plan".into()));
    assert_eq!((&found[0]["visitor"], &found[0]["address"]), (&"visitor7".into(), &"10.0.7.0/24".into()));
    assert_eq!(found[0]["user_agent"], "reader/7");
    let visit = &found[0]["same_visit"];
    assert_eq!((&visit["responses"], &visit["first"]), (&2.into(), &"2026-11-20T10:12:55Z".into()));
    let evidence = &found[0]["evidence"][0];
    assert_eq!((&evidence["channel"], &evidence["paragraphs"]), (&"whitespace".into(), &0.into()));
    assert_eq!(evidence["live"], evidence["agree"]);
    assert!(evidence["p"].as_f64().unwrap() < 1e-30);
    assert!(document.get("copies").is_none(), "one copy");

    let (code, text, _) = trace(log.path(), &[&text, "--verbose"]);
    assert_eq!(code, 0);
    for part in [
        "copy.txt: TRACED  mark k0-0000000000a7  adjusted p = ",
        "page        /a  (sketch 128/128)",
        "response    2026-11-20T10:14:07Z  req r-a  10.0.7.0/24  browser  score 7 allow  reader/7  /a",
        "same visit  2 other responses, 2026-11-20T10:12:55Z to 2026-11-20T10:20:31Z",
        "picked by   form of the page",
        "the text passed through these responses",
        "502 candidates",
        "typographic says nothing (no_forms)",
        "this does not show who republished it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn text_html_markdown_and_standard_input_are_copies() {
    let (log, dir) = (usual(), TempDir::new());
    let words = words("alpha", 300);
    let text = marked(&words, 0xA7);
    let html = format!("<!doctype html><title>x</title><script>var a;</script><article><p>{text}</p></article>");
    // Every tenth word is a link or stressed, and all of it is a quotation.
    let stressed = words.iter().enumerate().fold(text.clone(), |text, (at, word)| match at % 20 {
        0 => text.replacen(word, &format!("[{word}](https://news.example/{at})"), 1),
        10 => text.replacen(word, &format!("**{word}**"), 1),
        _ => text,
    });
    let markdown = stressed.lines().map(|line| format!("> {line}\n")).collect::<String>();
    let names = [
        copy(&dir, "a.txt", &format!("\u{FEFF}{}", text.replace('\n', "\r\n"))),
        copy(&dir, "b.html", &html),
        copy(&dir, "c", &html),
        copy(&dir, "d.md", &markdown),
    ];
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, document) = json(log.path(), &arguments);
    assert_eq!(code, 0);
    let copies = document["copies"].as_array().unwrap();
    assert_eq!(copies.iter().map(|copy| copy["name"].as_str().unwrap()).collect::<Vec<_>>(), arguments);
    for copy in copies {
        assert_eq!(accused(copy)[0]["mark"], "k0-0000000000a7", "{copy}");
        assert!(copy["slots_read"].as_u64().unwrap() > 280, "{copy}");
    }

    let mut child = command(log.path(), &["-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(accused(&document)[0]["request_ids"][0], "r-a");

    // As text, the tags are words.
    let (_, as_text) = json(log.path(), &[arguments[1], "--text"]);
    assert!(as_text["words"].as_u64().unwrap() > 300);
    let (code, _, error) = trace(log.path(), &[arguments[1], "--text", "--html"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn json_goes_where_it_is_sent() {
    let (log, dir) = (usual(), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let (code, out, _) = trace(log.path(), &[&text, "--json", "-"]);
    assert!(code == 0 && serde_json::from_str::<Value>(&out).is_ok(), "the dash is no copy: {out}");
    let file = dir.path().join("out.json");
    let (code, out, _) = trace(log.path(), &[&text, &format!("--json={}", file.display())]);
    assert!(code == 0 && out.contains("TRACED"), "{out}");
    let document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(document["verdict"], "traced");
    // Behind it stands a copy, not a file.
    let (code, out, _) = trace(log.path(), &["--json", &text]);
    assert!(code == 0 && out.starts_with('{'), "{out}");
}

#[test]
fn copies_of_one_visit_count_together() {
    let (log, dir) = (usual(), TempDir::new());
    let names: Vec<String> =
        (0..4).map(|n| copy(&dir, &format!("{n}.txt"), &marked(&words(&format!("short{n}x"), 35), 0xA7))).collect();
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, apart) = json(log.path(), &arguments);
    assert_eq!(code, 1, "{apart}");
    for copy in apart["copies"].as_array().unwrap() {
        assert_ne!(copy["verdict"], "traced", "{copy}");
    }
    let (code, together) = json(log.path(), &[&arguments[..], &["--joint"]].concat());
    assert_eq!((code, &accused(&together)[0]["mark"]), (0, &"k0-0000000000a7".into()), "{together}");
    assert!(together.get("copies").is_none());
}

#[test]
fn visitors_are_searched_over_the_days() {
    let mut lines = vec![page("/a", "aa", &words("alpha", 300))];
    for (day, mark) in [(20, 0xA1u64), (21, 0xA2), (22, 0xA3)] {
        lines.push(hit(&format!("r-{day}"), &format!("2026-11-{day}T10:00:00.000Z"), 7, "/a", "aa", mark));
    }
    let (log, dir) = (log(&lines), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA2));
    let (_, by_mark) = json(log.path(), &[&text]);
    assert_eq!(by_mark["candidates"], OTHERS + 3);
    let (code, by_visitor) = json(log.path(), &[&text, "--by", "visitor"]);
    assert_eq!((code, &by_visitor["candidates"]), (0, &(OTHERS + 1).into()), "{by_visitor}");
    assert_eq!(accused(&by_visitor)[0]["address"], "10.0.7.0/24", "{by_visitor}");
    assert!(!notes(&by_visitor).contains(&"collision"));
}

/// A text mixed from the copies of two: the second one shows in what the first one leaves.
#[test]
fn every_visitor_of_a_mixed_text_is_named() {
    let mut lines = Vec::new();
    for (day, first, second) in [(20, 0xA1, 0xB1), (21, 0xA2, 0xB2)] {
        let time = format!("2026-11-{day}T10:00:00.000Z");
        lines.push(hit(&format!("r-a{day}"), &time, 7, "/a", "aa", first));
        lines.push(hit(&format!("r-b{day}"), &time, 8, "/b", "bb", second));
    }
    let (log, dir) = (log(&lines), TempDir::new());
    let (long, short) = (marked(&words("alpha", 1_200), 0xA2), marked(&words("beta", 400), 0xB1));
    let text = copy(&dir, "copy.txt", &format!("{long}\n\n{short}"));
    let (code, document) = json(log.path(), &[&text, "--by", "visitor"]);
    assert_eq!((code, &document["candidates"], &document["tests"]), (0, &(OTHERS + 2).into(), &2.into()), "{document}");
    let named: Vec<[&Value; 2]> = accused(&document).iter().map(|one| [&one["address"], &one["mark"]]).collect();
    let expected = [["10.0.7.0/24", "k0-0000000000a2"], ["10.0.8.0/24", "k0-0000000000b1"]];
    assert_eq!(serde_json::json!(named), serde_json::json!(expected), "{document}");
}

#[test]
fn times_and_pages_leave_out_the_others() {
    let (log, dir) = (usual(), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let searched = |arguments: &[&str]| {
        let (code, document) = json(log.path(), &[&[text.as_str()][..], arguments].concat());
        (code, document["candidates"].as_u64().unwrap())
    };
    assert_eq!(searched(&["--since", "2026-11-21"]), (1, 1));
    assert_eq!(searched(&["--until", "2026-11-21"]), (0, OTHERS + 1));
    assert_eq!(searched(&["--page", "/a"]), (0, 2));
    assert_eq!(searched(&["--page", "https://news.example/c?q"]), (0, 1));
    assert_eq!(searched(&["--page", "/nowhere"]), (1, 0));
    let (code, _, error) = trace(log.path(), &[&text, "--since", "soon"]);
    assert!(code == 2 && error.contains("soon"), "{error}");
}

#[test]
fn one_mark_of_two_visitors_names_both() {
    let log = log(&[
        page("/a", "aa", &words("alpha", 300)),
        hit("r-1", DAY, 7, "/a", "aa", 0xA7),
        hit("r-2", "2026-11-20T11:00:00.000Z", 8, "/a", "aa", 0xA7),
    ]);
    let dir = TempDir::new();
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let (code, document) = json(log.path(), &[&text]);
    assert_eq!((code, &document["matches"][0]["request_ids"]), (0, &serde_json::json!(["r-1", "r-2"])), "{document}");
    assert!(notes(&document).contains(&"collision"), "{document}");
}

#[test]
fn a_seal_of_no_response_and_a_page_without_a_mark_name_nobody() {
    let (log, dir) = (usual(), TempDir::new());
    let sealed = copy(&dir, "sealed.txt", &format!("A paragraph of some words.{}", seal(0xBEEF)));
    let (code, document) = json(log.path(), &[&sealed]);
    assert_eq!((code, document["verdict"].as_str()), (1, Some("inconclusive")), "{document}");
    assert_eq!(document["matches"][0]["request_ids"], serde_json::json!([]));
    assert!(notes(&document).contains(&"log_missing"));

    let twin = copy(&dir, "twin.txt", &words("alpha", 300).join(" "));
    let (code, document) = json(log.path(), &[&twin]);
    assert_eq!(
        (code, document["verdict"].as_str(), document["matches"].as_array().map(Vec::len)),
        (1, Some("none"), Some(0))
    );
    assert!(notes(&document).contains(&"twin") && notes(&document).contains(&"whitespace_collapsed"), "{document}");
    let (code, text, _) = trace(log.path(), &[&twin, "--verbose"]);
    assert!(code == 1 && !text.contains("k0-") && !text.contains("reader/"), "{text}");

    let other = copy(&dir, "other.txt", &marked(&words("alpha", 300), 0xDEAD));
    let (code, text, _) = trace(log.path(), &[&other, "--verbose"]);
    assert!(code == 1 && !text.contains("k0-") && text.contains("not_significant"), "{text}");
}

/// The alternatives of authors are known from the log alone.
#[test]
fn alternatives_name_who_got_them() {
    let (keys, mark) = (keys(), 0xA7);
    let row = keys.row(Class::Variant, mark);
    let (mut rows, mut text) = (Vec::new(), String::new());
    for number in 0..70 {
        let around = ["one", "two", "three", "four"].map(|word| format!("{word}{number}"));
        let [before_last, last, first, second] = &around;
        let column = keys.hash(PlaceKind::Variant, around.join("\u{1F}").as_bytes()).column(Class::Variant);
        let chosen = if row.bit(usize::from(column)) { "even though" } else { "although" };
        text.push_str(&format!("{before_last} {last} {chosen} {first} {second} "));
        rows.push(serde_json::json!([before_last, last, first, second, "although", "even though"]));
    }
    let line = format!(
        "{{\"v\":1,\"time\":\"{DAY}\",\"deckle.kind\":\"variants\",\"deckle.seq\":1,\"deckle.mark.plan\":\"aa\",\"deckle.mark.variants\":{}}}\n",
        Value::from(rows)
    );
    let (log, dir) = (log(&[line, hit("r-1", DAY, 7, "/a", "aa", mark)]), TempDir::new());
    let copy = copy(&dir, "copy.txt", &text);
    let (code, document) = json(log.path(), &[&copy]);
    assert_eq!((code, &accused(&document)[0]["mark"]), (0, &"k0-0000000000a7".into()), "{document}");
    assert_eq!(document["matches"][0]["evidence"][0]["channel"], "variants");
    assert_eq!(document["matches"][0]["picked_by"], "mark", "no page is known");
    let (_, text, _) = trace(log.path(), &[&copy]);
    assert!(text.contains("picked by   mark only") && text.contains("these responses carried this mark; "), "{text}");
    assert!(!text.contains("the text passed through these responses"), "{text}");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_done() {
    let (log, dir) = (usual(), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let missing = dir.path().join("missing.txt").display().to_string();
    let (code, out, error) = trace(log.path(), &[&missing, &text]);
    assert!(code == 5 && out.contains("TRACED") && error.contains("missing.txt"), "{out}{error}");
    let (code, out, _) = trace(log.path(), &[&missing]);
    assert_eq!((code, out.as_str()), (5, ""));

    let (code, document) = json(log.path(), &[&text, "--max-bytes", "1KiB"]);
    assert!(code == 5 && notes(&document).contains(&"truncated"), "{document}");
    let bytes = dir.path().join("bytes.txt");
    std::fs::write(&bytes, [marked(&words("alpha", 300), 0xA7).as_bytes(), b"\xFF\xFE"].concat()).unwrap();
    let (code, document) = json(log.path(), &[&bytes.display().to_string()]);
    assert!(code == 0 && notes(&document).contains(&"bad_utf8"), "{document}");

    // A crash has cut off the last line.
    let torn = log.path().join("audit-w1-20261120T110000Z-2.ndjson");
    std::fs::write(&torn, "{\"v\":1,\"time\":\"2026-").unwrap();
    let (code, out, error) = trace(log.path(), &[&text]);
    assert!(code == 5 && out.contains("TRACED") && error.contains("-2.ndjson"), "{out}{error}");

    let empty = TempDir::new();
    let (code, out, error) = trace(empty.path(), &[&text]);
    assert!(code == 2 && out.is_empty() && error.contains("no log in"), "{error}");
    let (code, _, error) = trace(log.path(), &[&text, "--evidence", &dir.path().display().to_string()]);
    assert!(code == 2 && error.contains("is not empty"), "{error}");
}

#[test]
fn several_logs_are_one() {
    let (first, second, dir) = (usual(), TempDir::new(), TempDir::new());
    let line = hit("r-2", "2026-11-20T12:00:00.000Z", 7, "/a", "aa", 0xA7);
    let packed = zstd::encode_all(line.as_bytes(), 1).unwrap();
    std::fs::write(second.path().join("audit-w2-20261120T120000Z-1.ndjson.zst"), packed).unwrap();
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let (code, document) = json(first.path(), &[&text, "--log-dir", &second.path().display().to_string()]);
    assert_eq!(
        (code, &document["matches"][0]["request_ids"], &document["candidates"]),
        (0, &serde_json::json!(["r-a", "r-2"]), &(OTHERS + 2).into()),
        "{document}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (log, dir) = (usual(), TempDir::new());
    let text = copy(&dir, "copy.txt", &marked(&words("alpha", 300), 0xA7));
    let mut child = command(log.path(), &[&text]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// It waits for its copy, and an interrupt does not wait with it.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_it_and_nobody_is_named() {
    let log = usual();
    let mut child = Running(command(log.path(), &["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all(marked(&words("alpha", 300), 0xA7).as_bytes()).unwrap();
    let status = format!("/proc/{}/status", child.0.id());
    until("it does not catch the signal", || {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    });
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
    let mut ended = None;
    until("it goes on after an interrupt", || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    });
    let mut out = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((ended.unwrap().code(), out.as_str()), (Some(130), ""));
    drop(stdin);
}

/// Small blocks, each in the log at once.
const CONFIG: &str = "[audit]\ninstance = \"w1\"\nflush = \"1ms\"\ncheckpoint_every = \"100ms\"\ncheckpoint_lines = 8\n\
    [watermark.channels]\nwhitespace = \"always\"\n";
const FIREFOX: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html\r\n";

fn closed_segment(dir: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut closed = paths.filter(|path| path.extension().is_some_and(|end| end == "zst"));
    closed.find(|path| !path.with_extension("").exists())
}

/// The log of a proxy in two segments, a page that it sent, and the id of the request.
fn sent() -> (TempDir, String, String, String) {
    let deckle = Deckle::with_config(CONFIG, &[]);
    let (teacher, reader) = (Ipv4Addr::new(127, 0, 0, 61), Ipv4Addr::new(127, 0, 1, 62));
    let api: Value = serde_json::from_slice(&get(teacher, deckle.address, "/api/articles.json", "").body).unwrap();
    let spaced =
        api["articles"].as_array().unwrap().iter().filter(|a| !matches!(a["lang"].as_str(), Some("ar" | "ja")));
    let paths: Vec<&str> = spaced.map(|a| a["path"].as_str().unwrap()).collect();
    get(teacher, deckle.address, paths[0], FIREFOX);
    let copy = String::from_utf8(get(reader, deckle.address, paths[1], FIREFOX).body).unwrap();
    get(reader, deckle.address, paths[2], FIREFOX);
    let segments = || std::fs::read_dir(deckle.log_dir()).unwrap().flatten().map(|entry| entry.path());
    let text = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    until("requests are not in the log", || {
        segments().map(text).map(|text| text.matches("\"127.0.1.0/24\"").count()).sum::<usize>() >= 2
    });
    deckle.signal("HUP");
    until("no segment was closed and compressed", || closed_segment(&deckle.log_dir()).is_some());
    get(teacher, deckle.address, paths[1], FIREFOX);
    let path = paths[1].to_owned();
    let (_, log) = deckle.stop();
    let segment = closed_segment(&log.path().join("log")).unwrap();
    let lines = String::from_utf8(zstd::decode_all(&std::fs::read(segment).unwrap()[..]).unwrap()).unwrap();
    let hits = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_it = |hit: &Value| hit["url.path"] == path.as_str() && hit["client.address"] == "127.0.1.0/24";
    let ids: Vec<String> =
        hits.filter(is_it).map(|hit| hit["deckle.request.id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "{lines}");
    (log, copy, path, ids[0].clone())
}

/// `deckle trace` with the secret of the log directory.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

fn all_files(dir: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            all_files(&path, out);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            out.insert(path, bytes);
        }
    }
}

#[test]
fn a_page_of_the_proxy_is_traced_and_its_evidence_proves_itself() {
    let (log, page, path, id) = sent();
    let (dir, log_dir) = (TempDir::new(), log.path().join("log").display().to_string());
    let name = copy(&dir, "saved page.html", &page);
    let pack = dir.path().join("case");
    let case = pack.display().to_string();
    let (code, out, error) = run(&["trace", &name, "--log-dir", &log_dir, "--json", "--evidence", &case]);
    let document: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {error}"));
    let found = accused(&document);
    assert_eq!((code, found.len()), (0, 1), "{document}");
    assert_eq!((&found[0]["request_ids"], &found[0]["picked_by"]), (&serde_json::json!([id]), &"plan".into()));
    assert_eq!((&found[0]["path"], &document["pages"][0]["path"]), (&path.as_str().into(), &path.as_str().into()));
    assert_eq!(found[0]["same_visit"]["responses"], 1, "{document}");
    let lines = &document["log_lines"];
    assert_eq!((&lines["proved"], &lines["changed"]), (&1.into(), &0.into()), "{document}");

    let mut files = BTreeMap::new();
    all_files(&pack, &mut files);
    let read = |name: &str| String::from_utf8(files[&pack.join(name)].clone()).unwrap();
    assert_eq!(read("copy/1-saved_page.html"), page);
    assert_eq!(serde_json::from_str::<Value>(&read("verdict.json")).unwrap(), document);
    assert!(
        read("derivation.txt").contains("channel whitespace\n  n1 ") && read("README.txt").contains("log/: 1 under")
    );
    assert_eq!(read("log/lines.ndjson").lines().count(), 1);
    // Whoever has the evidence cannot make marks.
    let secret = std::fs::read_to_string(Path::new(&log_dir).join("secret")).unwrap();
    let secrets: Vec<&str> = secret.split_whitespace().filter(|word| word.len() >= 32).collect();
    assert!(!secrets.is_empty());
    for (path, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{}", path.display());
    }
    let (code, out, error) = run(&["review", "--verify-evidence", &pack.join("log").display().to_string()]);
    assert!(code == 0 && out.contains("1 requests, 1 lines under a signature"), "{out}{error}");
    if !has("openssl") || !has("sha256sum") || !has("cmp") {
        return;
    }
    let shell = |procedure: &str, dir: &Path| {
        Command::new("sh").args(["-c", procedure]).current_dir(dir).output().unwrap().status.success()
    };
    let sums = "sha256sum --quiet --strict -c MANIFEST.sha256";
    let proofs = "sed -n '/^#!/,$p' README.txt > ../../verify.sh && sh ../../verify.sh";
    assert!(shell(sums, &pack) && shell(proofs, &pack.join("log")));
    for (path, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(path, changed).unwrap();
        assert!(!shell(sums, &pack), "{} was changed", path.display());
        std::fs::write(path, bytes).unwrap();
    }
    assert!(shell(sums, &pack), "as it was");
}

#[test]
fn a_line_whose_block_was_changed_is_named_and_marked() {
    let (log, page, _, id) = sent();
    let (dir, log_dir) = (TempDir::new(), log.path().join("log"));
    let name = copy(&dir, "saved.html", &page);
    let segment = closed_segment(&log_dir).unwrap();
    let text = String::from_utf8(zstd::decode_all(&std::fs::read(&segment).unwrap()[..]).unwrap()).unwrap();
    let changed: String = text
        .split_inclusive('\n')
        .map(|line| if line.contains(&id) { line.replace("Firefox", "Firefux") } else { line.to_owned() })
        .collect();
    assert_ne!(text, changed);
    std::fs::write(&segment, zstd::encode_all(changed.as_bytes(), 3).unwrap()).unwrap();
    let log_dir = log_dir.display().to_string();
    let (code, out, _) = run(&["trace", &name, "--log-dir", &log_dir]);
    assert!(code == 4 && out.contains("TRACED") && out.contains("not as they were written"), "{code} {out}");
    let (code, out, _) = run(&["trace", &name, "--log-dir", &log_dir, "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["log_lines"]["changed"]), (4, &1.into()));
}

/// Copies name a form of a page that many share; who got all of them is told.
#[test]
fn forms_that_are_shared_name_a_visitor_over_several_pages() {
    let keys = keys();
    let pages: Vec<(String, Vec<String>)> =
        (0..12).map(|n| (format!("/p{n}"), words(&format!("page{n}x"), 200))).collect();
    let mut lines = Vec::new();
    for (number, (path, words)) in pages.iter().enumerate() {
        let plan = format!("{number:02x}");
        lines.push(page(path, &plan, words));
        for reader in 1..=40u64 {
            let mark = keys.bucket_mark(64, format!("reader{reader}").as_bytes(), path.as_bytes());
            lines.push(hit(&format!("r-{number}-{reader}"), DAY, reader, path, &plan, mark.id));
        }
    }
    let (log, dir) = (log(&lines), TempDir::new());
    let names: Vec<String> = pages
        .iter()
        .enumerate()
        .map(|(number, (path, words))| {
            let mark = keys.bucket_mark(64, b"reader7", path.as_bytes());
            copy(&dir, &format!("{number}.txt"), &marked(words, mark.id))
        })
        .collect();
    let config = copy(&dir, "deckle.toml", "[watermark]\nscope = \"bucket(64)\"\n");
    let mut arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    arguments.extend(["--config", &config]);
    let (code, document) = json(log.path(), &arguments);
    assert_eq!(code, 0, "{document}");
    let named = document["visitors"].as_array().unwrap();
    assert_eq!(named.len(), 1, "{}", document["visitors"]);
    assert_eq!(
        (&named[0]["user_agent"], &named[0]["pages"], &named[0]["agree"]),
        (&"reader/7".into(), &12.into(), &12.into())
    );
    assert!(named[0]["p_value"].as_f64().unwrap() <= 1e-9);
}

/// `deckle check` asks a protected site as two visitors.
#[test]
fn a_check_reads_the_marks_of_two_visitors() {
    let deckle = Deckle::with_config(CONFIG, &[]);
    let dir = TempDir::new();
    let config = copy(&dir, "check.toml", &format!("[audit]\ndir = {:?}\n", deckle.log_dir().display().to_string()));
    let api = get(Ipv4Addr::LOCALHOST, deckle.address, "/api/articles.json", "");
    let api: Value = serde_json::from_slice(&api.body).unwrap();
    let url = deckle.url(api["articles"][0]["path"].as_str().unwrap());
    let (_, out, error) = run(&["check", "--json", "--config", &config, &url]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
    assert_eq!(report["page"]["skip"], "already", "{report}");
    let marks: BTreeSet<&str> = report["marks"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(marks.len(), 2, "{}", report["marks"]);
    let codes = report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap());
    assert!(codes.clone().all(|code| !matches!(code, "same_mark" | "not_marked")), "{report}");
    let (_, text, _) = run(&["check", "--config", &config, &url]);
    assert!(text.contains("Marks of two visitors"), "{text}");
}
