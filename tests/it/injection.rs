//! Values that anybody may send, through the real proxy: each request is one line, which is JSON, tells what was sent, and
//! holds nothing that a terminal or a reader of lines could take for its own. What is no HTTP is refused.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fastrand::Rng;
use serde_json::Value;

use crate::review::run;
use crate::support::{Deckle, PATIENCE, hits};

const REQUESTS: u32 = 2_000;
const CLIENTS: u32 = 4;
/// Every so many is no HTTP.
const BROKEN: u32 = 8;
const CONFIG: &str = "[audit]\ninstance = \"w1\"\npath_redact = false\nquery_allow = [\"*\"]\n";

/// Ends of texts, lines, tags and keys; what reorders text; what formulas, templates and shells would run.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "\\\"",
    "\"}",
    "\u{202E}",
    "\u{2066}",
    "\u{85}",
    "\u{2028}",
    "\u{200F}",
    "</title><script>window.ran=1</script>",
    "\"><img src=x onerror=alert(1)>",
    "%0d%0aSet-Cookie:%20a=b",
    "%00",
    "\\u000a",
    "\\x0a",
    "{\"deckle.kind\":\"end\"}",
    "\t",
    "'",
    "=1+1",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "%s%n",
    "\u{1F600}",
    "é",
    "\u{1B}[31m",
    "../..",
    ";",
    "|",
    "`id`",
    "&amp;",
];
const CONTROLS: [u8; 8] = [0x01, 0x07, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F];

fn fuzz(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.usize(1..9) {
        if rng.u8(..) < 180 {
            out.extend_from_slice(rng.choice(PIECES).unwrap().as_bytes());
        } else {
            out.extend((0..rng.usize(1..6)).map(|_| rng.u8(..)));
        }
    }
    out
}

/// What of it may stand in a target (RFC 3986, and UTF-8 as it is).
fn target(bytes: &[u8], refused: &str) -> String {
    let may_stand = |c: &char| !c.is_ascii() || (c.is_ascii_graphic() && !refused.contains(*c));
    String::from_utf8_lossy(bytes).chars().filter(may_stand).collect()
}

/// What of it may stand in the value of a field (RFC 9110, 5.5).
fn value(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.retain(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    bytes
}

struct Sent {
    raw: Vec<u8>,
    path: String,
    agent: Vec<u8>,
    is_http: bool,
}

fn request(number: u32, rng: &mut Rng) -> Sent {
    let mut path = format!("/{number}-{}", target(&fuzz(rng), "<>`#?"));
    let query = target(&fuzz(rng), "<>`#?&\"");
    let mut agent = [format!("{number} ").into_bytes(), value(fuzz(rng)), b".".to_vec()].concat();
    let is_http = !number.is_multiple_of(BROKEN);
    if !is_http {
        let control = *rng.choice(&CONTROLS).unwrap();
        if rng.bool() {
            path.push(char::from(control));
        } else {
            agent.extend([control, b'.']);
        }
    }
    let method = *rng.choice(&["GET", "GET", "GET", "HEAD", "OPTIONS", "FUZZ"]).unwrap();
    let mut raw =
        format!("{method} {path}?p={number}&v={query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    let referer = [b"https://a.example/".to_vec(), value(fuzz(rng))].concat();
    let other = value(fuzz(rng));
    for (name, bytes) in [
        ("User-Agent", &agent),
        ("Referer", &referer),
        ("X-Forwarded-For", &other),
        ("Traceparent", &other),
        ("Cookie", &other),
        ("Accept-Language", &other),
    ] {
        raw.extend_from_slice(format!("{name}: ").as_bytes());
        raw.extend_from_slice(bytes);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"\r\n");
    Sent { raw, path, agent, is_http }
}

/// The status of the answer.
fn ask(server: SocketAddr, raw: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(raw).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    status.unwrap_or_else(|| panic!("{} was answered by {}", raw.escape_ascii(), answer.escape_ascii()))
}

/// Controls, line separators, and what changes the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The lines of responses by the numbers of the requests.
fn by_number(lines: &[Value]) -> BTreeMap<u32, Vec<&Value>> {
    let mut found: BTreeMap<u32, Vec<&Value>> = BTreeMap::new();
    for line in hits(lines) {
        let query = line["url.query"].as_str().unwrap();
        let number = query.strip_prefix("p=").and_then(|rest| rest.split('&').next()).unwrap();
        found.entry(number.parse().unwrap()).or_default().push(line);
    }
    found
}

#[test]
fn whatever_is_sent_is_one_line_that_tells_it() {
    let deckle = Deckle::with_config(CONFIG, &[]);
    let seed = fastrand::u64(..);
    let sent: Vec<Sent> =
        (0..REQUESTS).map(|number| request(number, &mut Rng::with_seed(seed.wrapping_add(number.into())))).collect();
    let (server, of_each) = (deckle.address, (REQUESTS / CLIENTS) as usize);
    std::thread::scope(|scope| {
        for part in sent.chunks(of_each) {
            scope.spawn(move || {
                for Sent { raw, is_http, .. } in part {
                    let status = ask(server, raw);
                    assert_eq!(status == 400, !is_http, "{status}, seed {seed}: {}", raw.escape_ascii());
                }
            });
        }
    });
    let (lines, log) = deckle.stop();
    let dir = log.path().join("log");
    for path in std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|end| end != "ndjson") {
            continue;
        }
        let text = String::from_utf8(std::fs::read(path).unwrap()).expect("a log is UTF-8");
        let hidden = text.split_terminator('\n').find(|line| line.chars().any(is_hidden));
        assert_eq!(hidden, None, "seed {seed}");
    }
    let found = by_number(&lines);
    for (number, sent) in (0..).zip(&sent) {
        let of_it = found.get(&number).map_or(&[][..], Vec::as_slice);
        let what = format!("request {number}, seed {seed}: {}", sent.raw.escape_ascii());
        assert_eq!(of_it.len(), usize::from(sent.is_http), "{what}");
        if let [line] = of_it {
            assert_eq!(line["url.path"], sent.path.as_str(), "{what}");
            assert_eq!(line["user_agent.original"], *String::from_utf8_lossy(&sent.agent), "{what}");
        }
    }

    let (text, page) = (dir.display().to_string(), log.path().join("report.html"));
    let (code, json, error) = run(&["review", &text, "--json", "-", "--html", &page.display().to_string()]);
    assert_eq!(code, 0, "{error}");
    let quality = &serde_json::from_str::<Value>(&json).unwrap()["quality"];
    assert_eq!(quality["hits"].as_u64(), Some(found.len() as u64), "{quality}");
    assert!(quality["skipped"].as_object().unwrap().is_empty(), "{quality}");
    let html = std::fs::read_to_string(page).unwrap();
    for part in ["<script", "<img", "onerror=\"", "\u{202E}"] {
        assert!(!html.contains(part), "{part}, seed {seed}");
    }
}
