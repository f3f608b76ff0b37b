//! `deckle check --explain`: a few requests to the running proxy, and what the program says about them afterwards.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Deckle, TempDir, get, hits};

const CURL: &str = "User-Agent: curl/8.5.0\r\nAccept: */*\r\n";
const NIKTO: &str = "User-Agent: Mozilla/5.0 (Nikto/2.1.6)\r\nAccept: */*\r\n";

fn run(arguments: &[&str], input: Option<&[u8]>) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever wants no input may be gone.
    let _ = stdin.write_all(input.unwrap_or_default());
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// What was asked for, from one address each, and the log afterwards.
struct Asked {
    files: TempDir,
    lines: Vec<Value>,
}

impl Asked {
    fn of(config: &str, arguments: &[&str], requests: &[(u8, &str)]) -> Self {
        let deckle = Deckle::with_config(config, arguments);
        for (client, headers) in requests {
            get(Ipv4Addr::new(127, 0, 7, *client), deckle.address, "/", headers);
        }
        let (lines, files) = deckle.stop();
        let lines: Vec<Value> = hits(&lines).into_iter().cloned().collect();
        assert_eq!(lines.len(), requests.len());
        Self { files, lines }
    }

    fn log_dir(&self) -> String {
        self.files.path().join("log").display().to_string()
    }

    fn id(&self, request: usize) -> &str {
        self.lines[request]["deckle.request.id"].as_str().unwrap()
    }

    /// What is said about a request, under the configuration that the proxy had.
    fn explain(&self, request: usize, more: &[&str]) -> (i32, String, String) {
        let (log, config) = (self.log_dir(), self.files.path().join("deckle.toml").display().to_string());
        let arguments: [&str; 6] = ["--explain", self.id(request), "--log-dir", &log, "--config", &config];
        run(&[&arguments[..], more].concat(), None)
    }

    fn json(&self, request: usize) -> Value {
        let (code, text, error) = self.explain(request, &["--json"]);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&text).unwrap()
    }
}

fn change<'r>(report: &'r Value, what: &str) -> &'r Value {
    let changes = report["changes"].as_array().unwrap();
    changes.iter().find(|change| change["what"] == what).unwrap_or_else(|| panic!("{what}: {report:#}"))
}

#[test]
fn a_score_is_taken_apart() {
    let asked = Asked::of("", &["--mode", "enforce"], &[(1, CURL)]);
    let (code, text, error) = asked.explain(0, &[]);
    assert_eq!(code, 0, "{error}");
    assert!(text.starts_with(asked.id(0)), "{text}");
    for part in [
        "category      library",
        "claim      claim_library                  25      25      60",
        "bucket        1 of 6, 20 to 39: tag",
        "rule          suspicion.score.buckets = [20,40,55,70,85,95]: the score decides",
        "action        tag",
        "without `claim_library`",
        "the score would be 0: allow",
        "suspicion.score.signals.claim_library = 0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.is_ascii() && !text.contains("Note:"), "{text}");
    let report = asked.json(0);
    assert_eq!((report["schema_version"].as_u64(), report["agrees"].as_bool()), (Some(1), Some(true)));
    assert_eq!(report["record"], asked.lines[0], "the line stands in it as it is");
    let score = &report["score"];
    assert_eq!((&score["score"], &score["leads_to"]), (&asked.lines[0]["deckle.score"], &Value::from("tag")));
    assert_eq!((&score["groups"][0]["group"], &score["groups"][0]["cap"]), (&Value::from("claim"), &Value::from(60)));
    let without = change(&report, "without `claim_library`");
    assert_eq!(without["score"], serde_json::json!({ "least": 0, "most": 0 }));
    assert_eq!(without["action"], serde_json::json!({ "least": "allow", "most": "allow" }));
    assert_eq!(without["decisive"], true);
}

#[test]
fn quotas_policies_and_the_first_minute_are_named() {
    let config = "[action.limits]\npage_hard = { every = \"60s\", burst = 2 }\n";
    let asked = Asked::of(config, &["--mode", "enforce"], &[(1, CURL), (1, CURL), (1, CURL), (2, NIKTO)]);
    assert_eq!(asked.lines[2]["http.response.status_code"], 429);
    let (code, text, error) = asked.explain(2, &[]);
    assert_eq!(code, 0, "{error}");
    let later = format!("{} s later, or without that quota", asked.lines[2]["deckle.limit.retry_after"]);
    for part in [
        "429  GET ",
        "rule          action.limits.page_hard: the quota decides, whatever the score",
        "quota         page_hard (one each 1m, 2 at once, more for a shared address): used up, ",
        later.as_str(),
        "with its prefix in `visitor.allow`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = asked.json(2);
    assert_eq!(change(&report, &later)["action"]["most"], "tag");

    let (_, text, _) = asked.explain(3, &[]);
    for part in [
        "rule          action.policy.scanner = \"block\": the policy decides",
        "softened by   warm_up: within a minute of the start; limit at most",
        "action        limit, would have been block",
        "later than a minute after the start",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(change(&asked.json(3), "later than a minute after the start")["action"]["least"], "block");
}

#[test]
fn what_is_only_observed_would_have_been_something() {
    let config = "[suspicion.score]\nsignals = { claim_library = 45 }\n";
    let asked = Asked::of(config, &[], &[(1, CURL), (1, CURL)]);
    let (_, text, _) = asked.explain(1, &[]);
    for part in ["in mode `enforce`", "mode = \"enforce\"", "softened by   observe: ", "allow, would have been slow"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = asked.json(1);
    assert_eq!(report["changes"][0]["what"], "in mode `enforce`");
    assert_eq!(report["enforced"], serde_json::json!({ "least": "slow", "most": "slow" }));
    // Another configuration than that of the time: its weight is told.
    let (code, text, error) = run(&["--explain", asked.id(1), "--log-dir", &asked.log_dir()], None);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("the configuration gives it 25"), "{text}");
}

#[test]
fn standard_input_is_one_line() {
    let asked = Asked::of("", &[], &[(1, CURL)]);
    let line = format!("\n{}\nrubbish\n", asked.lines[0]);
    let (code, text, error) = run(&["--explain", "-"], Some(line.as_bytes()));
    assert_eq!(code, 0, "{error}");
    assert_eq!(text, asked.explain(0, &[]).1);
    for (input, says) in [
        ("", "holds no line"),
        ("rubbish\n", "no line of deckle's log"),
        ("{\"v\":1,\"deckle.kind\":\"gap\"}\n", "`gap`"),
        ("{\"v\":3}\n", "`v` is not 1"),
    ] {
        let (code, out, error) = run(&["--explain", "-", "--json"], Some(input.as_bytes()));
        assert!(code == 2 && out.is_empty() && error.contains(says), "{input:?}: {code} {error}");
    }
}

#[test]
fn a_request_that_is_not_there_is_an_error_that_says_where_was_looked() {
    let asked = Asked::of("", &[], &[(1, CURL)]);
    let (log, none) = (asked.log_dir(), "01a20d60-78a5-7600-95a1-c9088b570c38");
    let (code, out, error) = run(&["--explain", none, "--log-dir", &log], None);
    assert!(code == 2 && out.is_empty(), "{error}");
    for part in [none, "looked in", log.as_str(), "audit-", "audit.max_age"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let (code, _, error) = run(&["--explain", none, "--log-dir", "/nowhere/at/all"], None);
    assert!(code == 2 && error.contains("/nowhere/at/all"), "{error}");
    let (code, _, error) = run(&["--explain", "nonsense", "--log-dir", &log], None);
    assert!(code == 2 && error.contains("`nonsense` is no request id"), "{error}");
    let (code, _, error) = run(&["--explain", none, "page.html"], None);
    assert!(code == 2 && error.contains("--explain"), "{error}");
    assert_eq!(run(&[], None).0, 2, "a page or a request");
}

/// A log with an old segment that is compressed, a damaged one, and the id in the words of a client.
#[test]
fn the_line_is_found_in_any_segment() {
    let asked = Asked::of("", &[], &[(1, CURL)]);
    let dir = asked.files.path().join("log");
    let mut paths = std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.path());
    let segment = paths.find(|p| p.extension().is_some_and(|e| e == "ndjson")).unwrap();
    let text = std::fs::read(&segment).unwrap();
    std::fs::write(dir.join("audit-old-20250101T000000Z-1.ndjson.zst"), zstd::encode_all(&text[..], 1).unwrap())
        .unwrap();
    std::fs::remove_file(segment).unwrap();
    let mut other = asked.lines[0].clone();
    other["deckle.request.id"] = "01a20d60-78a5-7600-95a1-c9088b570c38".into();
    other["user_agent.original"] = asked.id(0).into();
    std::fs::write(dir.join("audit-new-20270101T000000Z-9.ndjson"), format!("{other}\n")).unwrap();
    std::fs::write(dir.join("audit-new-20270101T000000Z-10.ndjson"), "{\"v\":1,\"time\":\"20").unwrap();
    std::fs::write(dir.join("audit-new-20260601T000000Z-1.ndjson.zst"), &zstd::encode_all(&text[..], 1).unwrap()[..9])
        .unwrap();
    let (code, text, error) = asked.explain(0, &[]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("curl/8.5.0") && error.contains("20260601T000000Z"), "{text}{error}");
    // However it is written.
    let shouted = asked.id(0).to_uppercase();
    assert_eq!(run(&["--explain", &shouted, "--log-dir", &asked.log_dir()], None).1, text);
}
