//! `deckle review --simulate`: what the running program, or its layers, decided is decided again from the log.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deckle::DeckleLayer;
use deckle::audit::{FileSink, PolicyText};
use deckle::clock::ManualClock;
use deckle::config::Config;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Layer, ServiceExt};

use crate::cards::{FIREFOX, Fields, HEADLESS, SCRIPT, request, site};
use crate::review::{run, until};
use crate::support::{Deckle, TempDir, Upstream, get, hits};

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Site: same-origin\r\n";
const CURL: &str = "User-Agent: curl/8.5.0\r\nAccept: */*\r\n";
const SCRAPER: &str = "User-Agent: python-requests/2.34\r\nAccept: */*\r\n";
const GPTBOT: &str = "User-Agent: GPTBot/1.2\r\nAccept: */*\r\n";
const NIKTO: Fields = &[("user-agent", "Mozilla/5.0 (Nikto/2.1.6)"), ("accept", "*/*")];

/// The simulation in the report about a log.
fn simulate(log: &Path, policy: &Path) -> Value {
    let (log, policy) = (log.display().to_string(), policy.display().to_string());
    let (code, out, error) = run(&["review", &log, "--simulate", &policy, "--json", "-"]);
    assert_eq!(code, 0, "{error}");
    let report: Value = serde_json::from_str(&out).unwrap();
    report["simulation"].clone()
}

/// A policy in a file beside the log.
fn written(dir: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Actions of the time, and requests that would be treated otherwise.
fn matrix(of: &Value) -> (BTreeSet<&str>, u64) {
    let cells = of["matrix"].as_array().unwrap();
    let is_other = |cell: &&Value| cell["current"] != cell["simulated"];
    let other = cells.iter().filter(is_other).map(|cell| cell["requests"].as_u64().unwrap()).sum();
    (cells.iter().map(|cell| cell["current"].as_str().unwrap()).collect(), other)
}

fn stays_as_it_was(of: &Value, requests: usize) -> BTreeSet<&str> {
    let (actions, other) = matrix(of);
    assert_eq!(other, 0, "{of:#}");
    for key in ["requests", "unchanged", "own", "reproduced"] {
        assert_eq!(of[key], requests, "{key}: {of:#}");
    }
    assert!(of["undecided"] == 0 && of["bytes_saved"] == 0, "{of:#}");
    actions
}

fn upstream() -> Upstream {
    Upstream::start(|seen, stream| {
        let (kind, body) = match seen.target.as_str() {
            path if path.ends_with(".css") => ("text/css", "p { margin: 0 }"),
            _ => (
                "text/html; charset=utf-8",
                "<!doctype html><html><head><title>t</title></head><body><p>x</p></body></html>",
            ),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all((head + body).as_bytes());
    })
}

fn client(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 9, last)
}

/// A reader with style sheets, a tool, a robot without a licence, somebody on the list, and a scraper who is too fast.
fn mixed_traffic(deckle: &Deckle) -> usize {
    let mut asked = 0;
    let mut ask = |last: u8, path: &str, fields: &str| {
        asked += 1;
        get(client(last), deckle.address, path, fields).status
    };
    for story in 0..4 {
        assert_eq!(ask(1, &format!("/news/a-story-of-{story}"), BROWSER), 200);
        assert_eq!(ask(1, &format!("/style-{story}.css"), BROWSER), 200);
        assert_eq!(ask(2, &format!("/news/a-story-of-{story}"), CURL), 200);
    }
    let robot: Vec<u16> = (0..4).map(|story| ask(3, &format!("/news/a-story-of-{story}"), GPTBOT)).collect();
    assert_eq!(robot, [200, 200, 429, 429], "a trickle");
    assert_eq!(ask(66, "/news/a-story-of-1", CURL), 403);
    let fast: Vec<u16> = (0..20).map(|story| ask(5, &format!("/news/a-story-of-{story}"), SCRAPER)).collect();
    assert!(fast.first() == Some(&200) && fast.last() == Some(&429), "{fast:?}");
    asked
}

#[test]
fn the_same_policy_leads_to_the_same_actions_whether_addresses_are_whole_or_not() {
    let upstream = upstream();
    for address in ["full", "truncate"] {
        let config = format!(
            "mode = \"enforce\"\n[audit]\naddress = \"{address}\"\n[visitor]\ndeny = [\"127.0.9.66/32\"]\n\
             [action.limits]\npage_hard = {{ every = \"60s\", burst = 12 }}\n"
        );
        let deckle = Deckle::with_config(&config, &["--upstream", &upstream.url()]);
        let asked = mixed_traffic(&deckle);
        let (lines, files) = deckle.stop();
        assert_eq!(hits(&lines).len(), asked);
        let log = files.path().join("log");
        let same = simulate(&log, &files.path().join("deckle.toml"));
        let actions = stays_as_it_was(&same, asked);
        for action in ["allow", "tag", "limit", "block"] {
            assert!(actions.contains(action), "{address} {action}: {same:#}");
        }
        assert_eq!(same["mode"], "enforce");

        // Milder quotas and a shorter list: what was refused would be served.
        let mild = simulate(&log, &written(&files, "mild.toml", "mode = \"enforce\"\n"));
        let (_, other) = matrix(&mild);
        assert!(other >= 2, "{mild:#}");
        assert_eq!(mild["affected"]["suspected"]["visitors"], 0, "{mild:#}");

        // Tools are refused: in the first minute after a start that is a limit.
        let strict = config.clone() + "[action.policy]\nlibrary = \"block\"\n";
        let strict = simulate(&log, &written(&files, "strict.toml", &strict));
        let suspected = &strict["affected"]["suspected"];
        assert_eq!(suspected["visitors"], 2, "{strict:#}");
        let curl = suspected["rows"].as_array().unwrap().iter().find(|row| row["requests"] == 4).unwrap();
        assert!(curl["action"] == "limit" && curl["rule"] == "action.policy.library", "{strict:#}");
        assert_eq!(strict["affected"]["human"]["visitors"], 0, "{strict:#}");
        assert!(strict["bytes_saved"].as_u64() > Some(0), "{strict:#}");
    }
}

/// Asks through the layers, half a minute for a reader's page and a second for a program's, until each action has come.
async fn asks_for_everything(layer: &DeckleLayer, clock: &ManualClock) -> usize {
    let service = layer.layer(tower::service_fn(|request: Request<()>| {
        std::future::ready(Ok::<Response<Full<bytes::Bytes>>, std::convert::Infallible>(site(&request)))
    }));
    let mut asked = 0;
    let plan: [(Fields, u8, u64, u32); 4] =
        [(FIREFOX, 1, 30, 12), (HEADLESS, 2, 10, 6), (NIKTO, 3, 1, 2), (SCRIPT, 4, 1, 60)];
    for (fields, last, pause, times) in plan {
        for story in 0..times {
            clock.advance(Duration::from_secs(pause));
            let paths = [format!("/news/a-story-of-{story}"), format!("/style-{story}.css")];
            let paths = if fields == FIREFOX { &paths[..] } else { &paths[..1] };
            for path in paths {
                asked += 1;
                let answer = service.clone().oneshot(request(fields, [203, 0, 113, last], path)).await.unwrap();
                answer.into_body().collect().await.unwrap();
            }
        }
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn challenges_and_refusals_by_score_are_decided_as_they_were() {
    let text = "mode = \"enforce\"\n[suspicion.score]\nsignals = { claim_headless = 75 }\ncaps = { claim = 75 }\n";
    let files = TempDir::new();
    let log = files.path().join("log");
    let mut config = Config::from_toml(text).unwrap();
    config.audit.dir = log.display().to_string();
    let clock = ManualClock::at(1_790_000_000);
    let sink = Arc::new(FileSink::with_clock(&config.audit, clock.clone()).unwrap());
    sink.policy(PolicyText::new(toml::Table::try_from(&config).unwrap()));
    let layer = DeckleLayer::builder().config(config).sink(Arc::clone(&sink)).clock(clock.clone()).build().unwrap();
    let tells = |text: String| text.contains("\"deckle.kind\":\"policy\"");
    let texts = || std::fs::read_dir(&log).unwrap().flatten().map(|file| std::fs::read_to_string(file.path()));
    until("the policy stands in the log", || texts().flatten().any(tells));
    clock.advance(Duration::from_secs(61));
    let asked = asks_for_everything(&layer, &clock).await;
    sink.close();

    let same = simulate(&log, &written(&files, "same.toml", text));
    let actions = stays_as_it_was(&same, asked);
    assert!(["allow", "tag", "limit", "challenge", "block"].iter().all(|action| actions.contains(action)), "{same:#}");

    let strict = format!("{text}[action.policy]\nbrowser = \"block\"\n");
    let of = simulate(&log, &written(&files, "strict.toml", &strict));
    let human = &of["affected"]["human"];
    assert!(human["visitors"] == 1 && human["requests"] == 24, "{of:#}");
    assert_eq!(human["rows"][0]["rule"], "action.policy.browser");
    assert!(human["rows"][0]["reasons"].as_array().unwrap().len() >= 2, "{of:#}");

    // Without any points for tools, the script is known by its pace alone.
    let mild = format!("{text}[action]\nmax_action = \"slow\"\n");
    let of = simulate(&log, &written(&files, "mild.toml", &mild));
    assert!(of["matrix"].as_array().unwrap().iter().all(|cell| cell["simulated"] != "block"), "{of:#}");
}

#[test]
fn a_file_that_does_not_hold_is_named_and_every_form_tells_what_was_simulated() {
    let files = TempDir::new();
    let log = files.path().join("access.log");
    let lines: String = (0..40)
        .map(|at| format!("203.0.113.9 - - [20/Nov/2025:10:00:{at:02} +0000] \"GET /wp-login.php HTTP/1.1\" 404 100 \"-\" \"Nikto/2.1.6\"\n"))
        .collect();
    std::fs::write(&log, lines).unwrap();
    let log = log.display().to_string();
    for (text, says) in [
        ("[action]\nmax_acton = \"tag\"\n", "line 2"),
        ("[action]\nmax_acton = \"tag\"\n", "did you mean `max_action`?"),
        ("[action.limits]\npage_soft = { every = \"3s\", burst = 2 }\n", "action.limits.page_soft"),
    ] {
        let policy = written(&files, "bad.toml", text).display().to_string();
        let (code, out, error) = run(&["review", &log, "--simulate", &policy]);
        assert!(code == 2 && out.is_empty() && error.contains(says) && error.contains("bad.toml"), "{code} {error}");
    }
    let (code, _, error) = run(&["review", &log, "--simulate", "/nowhere/deckle.toml"]);
    assert!(code == 2 && error.contains("/nowhere/deckle.toml"), "{code} {error}");

    let policy = written(&files, "good.toml", "mode = \"enforce\"\n").display().to_string();
    let dir = files.path().join("csv").display().to_string();
    let page = files.path().join("report.html").display().to_string();
    let (code, text, error) =
        run(&["review", &log, "--simulate", &policy, "--csv", &dir, "--html", &page, "--markdown", "-"]);
    assert!(code == 0 && text.contains("## What the policy would have done"), "{error}{text}");
    assert!(std::fs::read_to_string(page).unwrap().contains("<section id=\"simulation\""));
    let table = std::fs::read_to_string(files.path().join("csv/simulation.csv")).unwrap();
    assert_eq!(table.lines().nth(1), Some("allow,0,0,0,0,0,0,0,0,40"), "{table}");
    for full in [&["--full"][..], &[]] {
        let (code, text, _) = run(&[&["review", log.as_str(), "--simulate", policy.as_str()][..], full].concat());
        assert!(code == 0 && text.contains("100 % of 40 requests would be treated otherwise"), "{text}");
    }
    // Nobody asked for it.
    let (_, text, _) = run(&["review", &log, "--json", "-"]);
    assert!(serde_json::from_str::<Value>(&text).unwrap().get("simulation").is_none());
}
