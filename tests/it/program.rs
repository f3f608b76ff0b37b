//! The program as a person meets it: exit codes, messages, files.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::support::{Deckle, TempDir, Upstream, get, hits, read_log};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn usage_and_configuration_errors_are_2_and_say_what_to_do() {
    let (code, _, error) = run(&["review"]);
    assert!(code == 2 && error.contains("PATH"), "{error}");
    let (code, _, error) = run(&["review", "/nowhere/at/all"]);
    assert!(code == 1 && error.contains("/nowhere/at/all"), "nothing was read at all: {error}");
    let dir = TempDir::new();
    let file = dir.path().join("deckle.toml");
    std::fs::write(&file, "[page]\nenabeld = true\n").unwrap();
    let (code, out, error) = run(&["proxy", "--config", &file.display().to_string()]);
    assert!(
        code == 2 && out.is_empty() && error.contains("did you mean `enabled`?") && error.contains("deckle.toml"),
        "{error}"
    );
    let (code, _, error) = run(&[
        "proxy",
        "--upstream",
        "ftp://x",
        "--log-dir",
        &dir.path().join("l").display().to_string(),
        "--listen",
        "127.0.0.1:0",
    ]);
    assert!(code == 2 && error.contains("ftp://x"), "{error}");
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("Examples:"));
    let (code, _, error) = run(&["trace", "x.txt", "--log-dir", &dir.path().display().to_string()]);
    assert!(code == 2 && error.contains("no secret"), "{error}");
}

#[test]
fn a_page_in_a_file_is_measured_as_text_and_as_json() {
    let dir = TempDir::new();
    let file = dir.path().join("page.html").display().to_string();
    let words =
        "<p>The committee said on Monday that it would not publish the full report before the year is over.</p>";
    let page = format!("<!doctype html><meta charset=utf-8><title>t</title><article>{}</article>", words.repeat(20));
    std::fs::write(&file, &page).unwrap();
    let (code, out, error) = run(&["bench", "--json", &file]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {error}"));
    assert_eq!((code, report["bytes"]["source"].as_u64()), (0, Some(page.len() as u64)));
    assert!(report["nanoseconds"]["known"].as_u64() > Some(0) && report["places"]["seals"] == 20, "{report}");
    let (code, out, _) = run(&["bench", &file]);
    assert!(code == 0 && out.contains("first sight: scan and splice") && out.contains("20 seals"), "{out}");
    let (code, out, error) = run(&["bench", "/nowhere/at/all.html"]);
    assert!(code == 2 && out.is_empty() && error.contains("/nowhere/at/all.html"), "{error}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = TempDir::new();
    let log = dir.path().join("access.log");
    let line = "203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl/8\"\n";
    std::fs::write(&log, line.repeat(100)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .args(["review", &log.display().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn standard_input_and_partial_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .args(["review", "-", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(
            b"203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl/8\"\nrubbish\n",
        )
        .unwrap();
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (report["quality"]["hits"].as_u64(), report["quality"]["skipped"]["malformed"].as_u64()),
        (Some(1), Some(1))
    );
    let dir = TempDir::new();
    let log = dir.path().join("a.log");
    std::fs::write(&log, "203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 1\n").unwrap();
    let (code, out, error) = run(&["review", &log.display().to_string(), "/nowhere"]);
    assert!(code == 5 && error.contains("/nowhere") && out.contains("1 requests"), "{error} {out}");
}

#[test]
fn a_damaged_segment_does_not_hide_the_others() {
    let dir = TempDir::new();
    let line = |i| {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-23T20:45:{i:02}.345Z\",\"deckle.request.id\":\"x\",\"http.request.method\":\"GET\",\"url.path\":\"/a\",\"http.response.status_code\":200}}\n"
        )
    };
    let lines: String = (0..50).map(line).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(lines.as_bytes()).unwrap();
    let whole = gz.finish().unwrap();
    std::fs::write(dir.path().join("audit-a-20260101T000000Z-1.ndjson.gz"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(dir.path().join("audit-a-20260102T000000Z-2.ndjson"), &lines).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .arg("review")
        .arg(dir.path())
        .args(["--json", "-"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(5), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(report["quality"]["hits"].as_u64().unwrap() >= 50, "{report}");
}

#[test]
fn corpus_logs_are_read_and_add_up() {
    let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
    let Ok(entries) = std::fs::read_dir(format!("{dir}/logs")) else {
        eprintln!("skipped: no logs at {dir} (set DECKLE_CORPUS)");
        return;
    };
    for entry in entries.flatten().filter(|e| e.file_name() != "README.md") {
        let (code, json, error) = run(&["review", &entry.path().display().to_string(), "--json", "-"]);
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        let quality = &report["quality"];
        let skipped: u64 = quality["skipped"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
        let sum = ["hits", "other", "empty"].iter().map(|k| quality[k].as_u64().unwrap()).sum::<u64>() + skipped;
        assert_eq!(quality["lines"].as_u64().unwrap(), sum, "{}", entry.path().display());
        // More than 5 % that cannot be read is told.
        let bad = skipped * 20 > sum - quality["empty"].as_u64().unwrap();
        assert_eq!(code, if bad { 5 } else { 0 }, "{}: {error}", entry.path().display());
        if entry.file_name().to_string_lossy().starts_with("combined-") {
            assert!(skipped * 100 <= sum, "{}: {skipped} of {sum} skipped", entry.path().display());
        }
    }
}

#[test]
fn a_second_writer_is_refused_and_a_torn_line_is_told() {
    let mut deckle = Deckle::start(&[]);
    get(Ipv4Addr::new(127, 0, 0, 11), deckle.address, "/", "");
    let dir = deckle.log_dir();
    let (code, _, error) = run(&["proxy", "--listen", "127.0.0.1:0", "--log-dir", &dir.display().to_string()]);
    assert!(code == 2 && error.contains("another process"), "{error}");
    deckle.kill();
    // What a crash leaves behind: half a line at the end.
    let segment = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "ndjson"))
        .unwrap();
    std::fs::OpenOptions::new().append(true).open(&segment).unwrap().write_all(b"{\"v\":1,\"time\":\"2026").unwrap();
    let config = deckle.config_file().display().to_string();
    let mut next = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir", &dir.display().to_string(), "--config", &config])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(next.stdout.take().unwrap()), &mut line).unwrap();
    next.kill().unwrap();
    next.wait().unwrap();
    let newest = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "ndjson") && *p != segment)
        .unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    assert!(text.contains("\"deckle.kind\":\"recovery\"") && text.contains("\"torn_bytes\":19"), "{text}");
    let (_, json, _) = run(&["review", &dir.display().to_string(), "--json", "-"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["quality"]["skipped"]["torn"], 1);
}

#[test]
fn a_key_id_that_meant_another_secret_in_the_log_is_refused() {
    let mut deckle = Deckle::start(&[]);
    let dir = deckle.log_dir();
    // The same one goes on.
    deckle.restart(&[]);
    deckle.kill();
    let first = read_log(&dir).remove(0);
    let ids = first["secret.ids"].as_array().unwrap();
    assert!(ids.len() == 1 && ids[0].as_str().unwrap().starts_with("0:"), "{first}");
    let secret = dir.join("secret");
    assert!(!std::fs::read_to_string(&secret).unwrap().contains(ids[0].as_str().unwrap().trim_start_matches("0:")));
    std::fs::write(&secret, format!("0 {}\n", "0f".repeat(31) + "10")).unwrap();
    let (code, _, error) = run(&["proxy", "--listen", "127.0.0.1:0", "--log-dir", &dir.display().to_string()]);
    assert!(code == 2 && error.contains("key id 0") && error.contains(&format!("{}/audit-", dir.display())), "{error}");
    // Lost is lost: the site starts, and the new one has an id of its own.
    std::fs::remove_file(&secret).unwrap();
    deckle.restart(&[]);
    assert!(std::fs::read_to_string(&secret).unwrap().starts_with("1 "));
}

#[test]
fn the_log_keeps_people_private_and_names_robots() {
    let deckle = Deckle::start(&[]);
    get(
        Ipv4Addr::new(127, 0, 0, 12),
        deckle.address,
        "/?token=secret&p=1",
        "User-Agent: Mozilla/5.0 Firefox/140.0\r\nCookie: sid=verysecret\r\nAuthorization: Basic eA==\r\n",
    );
    get(Ipv4Addr::new(127, 0, 0, 13), deckle.address, "/", "User-Agent: GPTBot/1.2\r\n");
    let (lines, log) = deckle.stop();
    let hits = hits(&lines);
    assert_eq!(
        (hits[0]["client.address"].as_str(), hits[0]["url.query"].as_str()),
        (Some("127.0.0.0/24"), Some("token=REDACTED&p=1"))
    );
    assert_eq!(
        (hits[1]["client.address"].as_str(), hits[1]["deckle.visitor.agent"].as_str()),
        (Some("127.0.0.13"), Some("GPTBot"))
    );
    let text = std::fs::read_dir(log.path().join("log"))
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with("ndjson"))
        .map(|e| std::fs::read_to_string(e.path()).unwrap())
        .collect::<String>();
    assert!(!text.contains("verysecret") && !text.contains("eA=="));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for name in ["secret", "audit.keys"] {
            let mode = std::fs::metadata(log.path().join("log").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    assert!(read_log(&log.path().join("log")).len() >= 4);
}

#[test]
fn check_says_what_would_happen_and_what_is_wrong() {
    let page = "<!doctype html><html lang=en><head><meta charset=utf-8><title>t</title><link rel=alternate type=text/markdown href=/a.md>\
        <link rel=amphtml href=/amp/a></head><body><article><p>The committee said on Monday that it will not publish the full report \
        before the end of June, because members cannot agree on it.</p></article></body></html>";
    let moved = |stream: &mut std::net::TcpStream, to: &str| {
        let head = format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
    };
    let site = Upstream::start(move |seen, stream| {
        let (kind, body) = match seen.target.as_str() {
            "/robots.txt" => {
                ("text/plain", "User-agent: GPTBot\nContent-Usage: train-ai=n\nUser-agent: *\nDisallow: /print\n")
            }
            "/a.md" => ("text/markdown", "# The whole article"),
            "/.well-known/tdmrep.json" => ("application/json", "{\"location\":\"/\",\"tdm-reservation\":\"1\"}"),
            "/moved" => return moved(stream, "/a"),
            "/round" => return moved(stream, "/round"),
            _ => ("text/html", page),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX-Robots-Tag: no-ai\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
    });
    let check = |arguments: &[&str]| run(&[&["check"], arguments].concat());
    let (code, text, _) = check(&["--json", &format!("{}/moved", site.url())]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["address"], format!("{}/a", site.url()));
    let treated = &report["page"];
    assert_eq!(
        (treated["rewrite"].as_str(), treated["guard"].as_bool(), treated["seals"].as_u64()),
        (Some("done"), Some(true), Some(1))
    );
    let others = report["alternates"].as_array().unwrap();
    assert_eq!(others.len(), 2);
    assert_eq!((others[0]["kind"].as_str(), others[0]["page"]["skip"].as_str()), (Some("text/markdown"), Some("type")));
    assert_eq!(others[1]["page"]["rewrite"], "done");
    let codes: Vec<&str> = report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["xrobots-unknown", "fused-groups", "tdm-not-array"]);

    let (code, text, _) = check(&[&format!("{}/a", site.url())]);
    assert_eq!(code, 1);
    for part in ["rewritten: guard, 1 seals", "left as it is (type: it is not HTML)", "robots.txt:3 fused-groups"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, _, error) = check(&[&format!("{}/round", site.url())]);
    assert_eq!((code, error.contains("redirects")), (2, true), "{error}");
    let (code, ..) = check(&["/nowhere/x.html"]);
    assert_eq!(code, 2);

    let dir = TempDir::new();
    let file = dir.path().join("saved.html");
    std::fs::write(&file, page).unwrap();
    let (code, text, error) = check(&[file.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("Nothing to mend"), "{text}");
}
