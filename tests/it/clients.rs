//! Real clients against the demo site: who is limited, who is not, and what the log and the copies say afterwards.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::support::{Deckle, get, has, hits};

/// Pages with article text that a scraper may get before the first refusal.
const WGET_BOUND: usize = 30;
const PYTHON_BOUND: usize = 28;
/// A script with a browser's headers and no pause at all looks like restored tabs for so long.
const HURRIED_BOUND: usize = 45;
const FIREFOX: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html\r\nAccept-Language: en\r\n";

/// Pages answered with 200 before the first 429, in the order of the log.
fn pages_before_limit(lines: &[serde_json::Value], agent: &str) -> (usize, bool) {
    let mut pages = 0;
    for hit in
        hits(lines).into_iter().filter(|h| h["user_agent.original"].as_str().is_some_and(|ua| ua.contains(agent)))
    {
        match (hit["http.response.status_code"].as_u64(), hit["deckle.page.kind"].as_str()) {
            (Some(429), _) => return (pages, true),
            (Some(200), Some("article" | "index")) => pages += 1,
            _ => {}
        }
    }
    (pages, false)
}

fn wget(deckle: &Deckle, into: &Path, from: &str) {
    let status = Command::new("wget")
        .args([
            "--quiet",
            "--recursive",
            "--level=3",
            "--execute",
            "robots=off",
            "--tries=1",
            "--bind-address",
            from,
            "--directory-prefix",
        ])
        .arg(into)
        .arg(deckle.url("/"))
        .status()
        .unwrap();
    // wget says 8 when the server refused something, which it did.
    assert!(matches!(status.code(), Some(0 | 8)), "{status}");
}

fn deckle_command(arguments: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle")).args(arguments).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
}

/// A saved copy that is an article of the demo.
fn saved_article(dir: &Path) -> std::path::PathBuf {
    let host = std::fs::read_dir(dir).unwrap().flatten().next().unwrap().path();
    let mut stack = vec![host];
    let mut found = Vec::new();
    while let Some(path) = stack.pop() {
        for entry in std::fs::read_dir(&path).unwrap().flatten() {
            if entry.path().is_dir() {
                stack.push(entry.path());
            } else if entry.path().display().to_string().contains("/2026/11/") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found.into_iter().next().expect("wget saved an article")
}

#[test]
fn wget_is_limited_while_a_reader_beside_it_sees_nothing_but_200() {
    if !has("wget") {
        return;
    }
    let deckle = Deckle::start(&["--mode", "enforce"]);
    let dir = crate::support::TempDir::new();
    let reader = {
        let address = deckle.address;
        std::thread::spawn(move || read_like_a_person(address, Ipv4Addr::new(127, 0, 0, 40)))
    };
    wget(&deckle, dir.path(), "127.0.0.2");
    let statuses = reader.join().unwrap();
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
    assert!(statuses.len() > 12 * 20);
    let copy = saved_article(dir.path());
    let (lines, log) = deckle.stop();
    let (pages, limited) = pages_before_limit(&lines, "Wget");
    assert!(limited && pages <= WGET_BOUND, "{pages} pages");

    // The review names the run first, with reasons.
    let log_dir = log.path().join("log").display().to_string();
    let (code, text) = deckle_command(&["review", &log_dir]);
    assert_eq!(code, 0);
    assert!(text.contains("1. Wget") && text.contains("was refused "), "{text}");
    let (_, json) = deckle_command(&["review", &log_dir, "--json", "-"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["suspects"][0]["agent"], "Wget");
    let wget_id = report["suspects"][0]["visitor"].clone();

    // The copy names that visitor and no other, among a thousand and more.
    add_other_visitors(Path::new(&log_dir));
    let copy_path = copy.display().to_string();
    let (code, json) = deckle_command(&["trace", &copy_path, "--log-dir", &log_dir, "--json"]);
    let trace: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, trace["verdict"].as_str()), (0, Some("traced")), "{json}");
    assert_eq!(trace["matches"].as_array().unwrap().len(), 1);
    assert_eq!(trace["matches"][0]["visitor"], wget_id);
    assert!(trace["candidates"].as_u64().unwrap() >= 1_000);

    // So does the text that a tool takes out of it.
    let text = deckle::page::plain_text(&std::fs::read_to_string(&copy).unwrap());
    let collapsed =
        text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n\n");
    let text_file = dir.path().join("copy.txt");
    std::fs::write(&text_file, collapsed).unwrap();
    let (code, out) = deckle_command(&["trace", &text_file.display().to_string(), "--log-dir", &log_dir]);
    assert!(code == 0 && out.contains("TRACED") && out.contains("seal"), "{out}");

    // An unmarked copy names nobody.
    let unmarked: String = text.chars().filter(|c| !('\u{FE06}'..='\u{FE0D}').contains(c)).collect();
    std::fs::write(&text_file, unmarked.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
    let (code, json) = deckle_command(&["trace", &text_file.display().to_string(), "--log-dir", &log_dir, "--json"]);
    let trace: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, trace["verdict"].as_str(), trace["matches"].as_array().map(Vec::len)),
        (1, Some("none"), Some(0))
    );
}

/// A log of 1,200 other visitors, each with a mark of its own.
fn add_other_visitors(dir: &Path) {
    let mut lines = String::new();
    for i in 1..=1_200u64 {
        let mark = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        lines.push_str(&format!(
            "{{\"v\":1,\"time\":\"2026-11-20T10:00:00.000Z\",\"deckle.request.id\":\"r{i}\",\"http.request.method\":\"GET\",\"url.path\":\"/x\",\
             \"http.response.status_code\":200,\"deckle.visitor.id\":\"other{i}\",\"deckle.visitor.category\":\"browser\",\
             \"deckle.mark.id\":\"k0-{mark:012x}\"}}\n"
        ));
    }
    std::fs::write(dir.join("audit-others-20261120T100000Z-1.ndjson"), lines).unwrap();
}

/// Twelve articles, each with everything that its page names.
fn read_like_a_person(server: std::net::SocketAddr, from: Ipv4Addr) -> Vec<u16> {
    let api = get(from, server, "/api/articles.json", FIREFOX);
    let list: serde_json::Value = serde_json::from_slice(&api.body).unwrap();
    let mut statuses = vec![api.status];
    for article in list["articles"].as_array().unwrap().iter().take(12) {
        let page = get(from, server, article["path"].as_str().unwrap(), FIREFOX);
        statuses.push(page.status);
        let text = String::from_utf8_lossy(&page.body).into_owned();
        let mut assets: Vec<&str> = text
            .split('"')
            .filter(|s| ["/static/", "/img/", "/.deckle/", "/favicon"].iter().any(|p| s.starts_with(p)))
            .collect();
        assets.sort_unstable();
        assets.dedup();
        assert!(assets.len() >= 20);
        statuses.extend(assets.into_iter().map(|asset| get(from, server, asset, FIREFOX).status));
    }
    statuses
}

#[test]
fn twenty_five_tabs_at_once_are_a_reader() {
    let deckle = Deckle::start(&["--mode", "enforce"]);
    let address = deckle.address;
    let tabs: Vec<_> = (0..25u32)
        .map(|i| {
            std::thread::spawn(move || {
                let from = Ipv4Addr::new(127, 0, 0, 41);
                let path = ["/", "/city/", "/archive/", "/culture/", "/science/"][i as usize % 5];
                let mut statuses = vec![get(from, address, path, FIREFOX).status];
                for asset in
                    ["/static/base.css", "/static/layout.css", "/static/menu.js", "/img/logo.svg", "/favicon.svg"]
                {
                    statuses.push(get(from, address, asset, FIREFOX).status);
                }
                statuses
            })
        })
        .collect();
    let statuses: Vec<u16> = tabs.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
    let (lines, _log) = deckle.stop();
    let disturbed =
        hits(&lines).into_iter().filter(|h| !matches!(h["deckle.action"].as_str(), Some("allow" | "tag"))).count();
    assert_eq!(disturbed, 0);
}

#[test]
fn python_is_limited_with_its_own_name_and_with_a_browser_s() {
    if !has("python3") {
        return;
    }
    let deckle = Deckle::start(&["--mode", "enforce"]);
    let script = "
import http.client, json, sys, time
host, port, source, kind, pause = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
plain = {'User-Agent': 'python-requests/2.34.0', 'Accept': '*/*', 'Accept-Encoding': 'gzip'}
browser = {'User-Agent': 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36 test',
  'Accept': 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'Accept-Language': 'en-GB,en;q=0.9',
  'Accept-Encoding': 'gzip, deflate, br', 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Site': 'none',
  'Sec-CH-UA': '\"Chromium\";v=\"146\"', 'Upgrade-Insecure-Requests': '1'}
headers = browser if kind == 'browser' else plain
def get(path):
    c = http.client.HTTPConnection(host, port, source_address=(source, 0), timeout=30)
    c.request('GET', path, headers=headers)
    r = c.getresponse(); b = r.read(); c.close()
    return r.status, b
import re
c = http.client.HTTPConnection(host, port, source_address=(source, 0), timeout=30)
c.request('GET', '/sitemap.xml'); body = c.getresponse().read().decode(); c.close()
n = 0
for path in re.findall(r'<loc>([^<]+)</loc>', body)[:100]:
    time.sleep(pause)
    status, _ = get(path)
    if status == 429: break
    n += 1
print(n)
";
    let runs = [
        ("127.0.0.7", "plain", "0", PYTHON_BOUND),
        ("127.0.0.8", "browser", "0.2", PYTHON_BOUND),
        ("127.0.0.10", "browser", "0", HURRIED_BOUND),
    ];
    for (source, kind, pause, bound) in runs {
        let out = Command::new("python3")
            .args(["-c", script, "127.0.0.1", &deckle.address.port().to_string(), source, kind, pause])
            .output()
            .unwrap();
        let pages: usize = String::from_utf8_lossy(&out.stdout)
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
        assert!(pages <= bound, "{kind}, {pause} s between pages: {pages} pages");
        println!("{kind}, {pause} s between pages: {pages} pages before the first 429");
    }
}

#[test]
fn robots_txt_is_never_limited() {
    let deckle = Deckle::start(&["--mode", "enforce"]);
    let from = Ipv4Addr::new(127, 0, 0, 9);
    let ua = "User-Agent: Wget/1.21\r\n";
    for i in 0..60 {
        get(from, deckle.address, &format!("/archive/page/{}", i % 5 + 1), ua);
    }
    assert_eq!(get(from, deckle.address, "/", ua).status, 429);
    for path in ["/robots.txt", "/sitemap.xml"] {
        assert_eq!(get(from, deckle.address, path, ua).status, 200, "{path}");
    }
    assert_eq!(get(from, deckle.address, "/favicon.ico", ua).status, 404);
}

/// Each stage is missed by somebody when it is taken out.
#[test]
fn without_a_stage_a_real_client_sees_a_difference() {
    let from = Ipv4Addr::new(127, 0, 0, 10);
    let page = |deckle: &Deckle| String::from_utf8_lossy(&get(from, deckle.address, "/", FIREFOX).body).into_owned();
    let with = Deckle::with_config("", &["--mode", "enforce"]);
    let without_page = Deckle::with_config("[page]\nenabled = false\n", &["--mode", "enforce"]);
    assert!(page(&with).contains("data-deckle=\"guard\"") && !page(&without_page).contains("data-deckle"));
    let without_action = Deckle::with_config("", &["--mode", "observe"]);
    let burst = |deckle: &Deckle| {
        (0..60)
            .map(|_| get(from, deckle.address, "/archive/", "User-Agent: Wget/1.21\r\n").status)
            .filter(|s| *s == 429)
            .count()
    };
    assert!(burst(&with) > 0 && burst(&without_action) == 0);
    let without_audit = Deckle::with_config("[audit]\nenabled = false\n", &[]);
    page(&without_audit);
    let segments = std::fs::read_dir(without_audit.log_dir())
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with("ndjson"))
        .count();
    assert_eq!(segments, 0);
    let without_marks = Deckle::with_config("[watermark]\nlevel = \"off\"\n", &[]);
    let article = |deckle: &Deckle| {
        let api: serde_json::Value =
            serde_json::from_slice(&get(from, deckle.address, "/api/articles.json", "").body).unwrap();
        let path = api["articles"][0]["path"].as_str().unwrap().to_owned();
        String::from_utf8_lossy(&get(from, deckle.address, &path, FIREFOX).body).into_owned()
    };
    assert!(
        article(&without_action).contains("<span inert=\"\">")
            && !article(&without_marks).contains("<span inert=\"\">")
    );
}
