//! Autonomous systems: from a database of the operator's into the log, and into reports.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::mmdb::{Value, database};
use crate::proxy::{newest, wait_until};
use crate::review::run;
use crate::support::{Deckle, TempDir, get, hits};

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 71);
const NUMBER: &str = "autonomous_system_number";
const ORGANISATION: &str = "autonomous_system_organization";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// 203.0.113.0/24 is of the system with this number.
fn example(number: u32) -> Vec<u8> {
    database(&[
        (net("203.0.113.0/24"), &[(NUMBER, Value::Number(number)), (ORGANISATION, Value::Text("Example Hosting"))]),
        (net("2001:db8::/32"), &[("asn", Value::Text("AS64501")), ("as_name", Value::Text("Example Access"))]),
    ])
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_log_names_the_system_of_a_client_and_a_reload_reads_the_database_anew() {
    let dir = TempDir::new();
    let file = dir.path().join("asn.mmdb");
    std::fs::write(&file, example(64_500)).unwrap();
    let config = format!(
        "[visitor]\ntrusted_proxies = [\"127.0.0.0/8\"]\nasn_db = {:?}\n[audit]\ncompress = \"none\"\n",
        text(&file)
    );
    let deckle = Deckle::with_config(&config, &[]);
    let ask = |path: &str, client: &str| {
        get(CLIENT, deckle.address, path, &format!("X-Forwarded-For: {client}\r\n"));
    };
    let reload = || {
        let before = newest(&deckle);
        deckle.signal("HUP");
        // The log is reopened behind everything else.
        wait_until(|| {
            ask("/meanwhile", "192.0.2.1");
            newest(&deckle) > before
        });
    };
    ask("/v4", "203.0.113.9");
    ask("/v6", "2001:db8::1");
    ask("/unknown", "192.0.2.1");
    std::fs::write(&file, example(64_999)).unwrap();
    reload();
    ask("/new", "203.0.113.9");
    std::fs::write(&file, "no database").unwrap();
    reload();
    ask("/kept", "203.0.113.9");
    let (lines, _log) = deckle.stop();
    let asn = |path: &str| {
        let hit = hits(&lines).into_iter().find(|hit| hit["url.path"] == path);
        hit.unwrap_or_else(|| panic!("{path} is not in the log")).get("client.asn").cloned()
    };
    for (path, expected) in [
        ("/v4", Some(64_500)),
        ("/v6", Some(64_501)),
        ("/unknown", None),
        ("/new", Some(64_999)),
        ("/kept", Some(64_999)),
    ] {
        assert_eq!(asn(path), expected.map(|number: u32| json!(number)), "{path}");
    }
}

#[test]
fn a_database_that_cannot_be_read_is_an_error_at_the_start() {
    let dir = TempDir::new();
    let (config, broken) = (dir.path().join("deckle.toml"), dir.path().join("broken.mmdb"));
    std::fs::write(&broken, "no database").unwrap();
    for name in ["none.mmdb", "broken.mmdb"] {
        // From where the configuration stands.
        std::fs::write(&config, format!("[visitor]\nasn_db = \"{name}\"\n")).unwrap();
        let log = text(&dir.path().join("log"));
        let (code, _, error) =
            run(&["proxy", "--listen", "127.0.0.1:0", "--log-dir", &log, "--config", &text(&config)]);
        assert!(code == 2 && error.contains("visitor.asn_db"), "{code} {error}");
        assert!(error.contains(&text(&dir.path().join(name))), "{error}");
    }
    let (code, _, error) = run(&["review", &text(dir.path()), "--asn-db", &text(&broken)]);
    assert!(code == 2 && error.contains("--asn-db") && error.contains("broken.mmdb"), "{code} {error}");
}

/// A line of deckle's log: an article for a script.
fn own(seq: u32, address: &str, asn: u32) -> String {
    let line = json!({
        "v": 1, "time": format!("2025-11-23T20:45:{seq:02}.000Z"), "deckle.seq": seq, "deckle.instance": "w1",
        "http.request.method": "GET", "server.address": "news.example", "url.path": format!("/2026/11/20/a-story-{seq}"),
        "http.response.status_code": 200, "http.response.body.size": 9_000, "client.address": address,
        "client.asn": asn, "user_agent.original": "python-requests/2.32", "deckle.visitor.id": format!("visitor{asn}"),
        "deckle.visitor.category": "library", "deckle.visitor.agent": "python-requests",
        "deckle.visitor.verification": "unverifiable", "deckle.score": 80, "deckle.action": "allow",
        "deckle.page.kind": "article", "deckle.complete": true,
    });
    format!("{line}\n")
}

fn report(arguments: &[&str]) -> Json {
    let (code, out, error) = run(&[&["review", "--json", "-"][..], arguments].concat());
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&out).unwrap()
}

/// Number and organisation of a suspect.
fn systems(report: &Json) -> Vec<(Json, Json)> {
    let suspects = report["suspects"].as_array().unwrap();
    suspects.iter().map(|suspect| (suspect["asn"].clone(), suspect["organisation"].clone())).collect()
}

#[test]
fn reports_name_the_systems_of_suspects() {
    let dir = TempDir::new();
    let [log, foreign, file] = ["own.ndjson", "access.log", "asn.mmdb"].map(|name| text(&dir.path().join(name)));
    std::fs::write(&file, example(64_500)).unwrap();
    let agrees = (0..12).map(|seq| own(seq, "203.0.113.0/24", 64_500));
    // The database is of another day.
    let differs = (12..24).map(|seq| own(seq, "203.0.113.0/24", 64_510));
    std::fs::write(&log, agrees.chain(differs).collect::<String>()).unwrap();

    let only = report(&[&log, "--where", "asn == 64500"]);
    assert_eq!(only["verdict"]["hits"], 12);
    assert_eq!(systems(&only), [(json!(64_500), Json::Null)], "the log has no names");
    let mut named = systems(&report(&[&log, "--asn-db", &file]));
    named.sort_by_key(|(number, _)| number.as_u64());
    assert_eq!(named, [(json!(64_500), json!("Example Hosting")), (json!(64_510), Json::Null)]);

    let line = |at: u32| {
        format!(
            "203.0.113.9 - - [20/Nov/2025:10:00:{at:02} +0000] \"GET /2026/11/20/a-story-{at} HTTP/1.1\" 200 9000 \"-\" \"Wget/1.21\"\n"
        )
    };
    std::fs::write(&foreign, (0..40).map(line).collect::<String>()).unwrap();
    assert_eq!(systems(&report(&[&foreign])), [(Json::Null, Json::Null)]);
    assert_eq!(systems(&report(&[&foreign, "--asn-db", &file])), [(json!(64_500), json!("Example Hosting"))]);
    let (_, brief, _) = run(&["review", &foreign, "--asn-db", &file]);
    assert!(brief.contains("AS64500"), "{brief}");
    let (_, full, _) = run(&["review", &foreign, "--asn-db", &file, "--full"]);
    assert!(full.contains("network: AS64500 Example Hosting"), "{full}");
}
