//! Copies as the tools of the field leave them. `scripts/survive --record` runs the tools and writes them down.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{TempDir, accused};

/// Marks of others in the log.
const OTHERS: u64 = 500;

/// A page of the demo or of `tests/watermark/pages`, and what each tool made of it.
fn fixtures() -> Vec<Value> {
    let mut files: Vec<_> =
        std::fs::read_dir("tests/watermark/fixtures").unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()).collect()
}

/// A log in which that mark was sent once, among others.
fn write_log(dir: &Path, mark: &str) {
    let other = |i: u64| format!("k0-{:012x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
    let marks = (1..=OTHERS).map(other).chain([mark.to_owned()]);
    let lines: String = marks
        .enumerate()
        .map(|(number, mark)| {
            format!(
                "{{\"v\":1,\"time\":\"2026-11-20T10:00:00.000Z\",\"deckle.request.id\":\"r{number}\",\
                 \"http.request.method\":\"GET\",\"url.path\":\"/x\",\"http.response.status_code\":200,\
                 \"deckle.visitor.id\":\"v{number}\",\"deckle.visitor.category\":\"browser\",\
                 \"deckle.mark.id\":\"{mark}\"}}\n"
            )
        })
        .collect();
    std::fs::write(dir.join("audit-w1-20261120T100000Z-1.ndjson"), lines).unwrap();
}

/// What `deckle trace` says of each text, in this order.
fn trace(texts: &[(String, String)], secret: &str, mark: &str) -> Vec<Value> {
    let dir = TempDir::new();
    write_log(dir.path(), mark);
    let names: Vec<String> = texts.iter().enumerate().map(|(at, (form, _))| format!("{at}.{form}")).collect();
    for (name, (_, text)) in names.iter().zip(texts) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let out = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .current_dir(dir.path())
        .env("DECKLE_SECRET", secret)
        .arg("trace")
        .args(&names)
        .args(["--log-dir", ".", "--json"])
        .output()
        .unwrap();
    assert!(matches!(out.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&out.stderr));
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let copies = document["copies"].as_array().unwrap();
    assert_eq!(copies.len(), texts.len());
    copies.clone()
}

fn without_seals(text: &str) -> String {
    text.replace(|c: char| ('\u{FE06}'..='\u{FE0D}').contains(&c), "")
}

/// With seals and without: what was traced then is traced now, to the one mark, and what was not names nobody.
#[test]
fn what_tools_leave_is_read_as_it_was_when_it_was_recorded() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 6);
    for fixture in &fixtures {
        let (page, mark) = (fixture["page"].as_str().unwrap(), fixture["mark"].as_str().unwrap());
        let copies = fixture["copies"].as_array().unwrap();
        assert!(copies.len() >= 20, "{page}: {} copies", copies.len());
        let text = |copy: &Value, key: &str| copy[key].as_str().unwrap().to_owned();
        let whole: Vec<_> = copies.iter().map(|copy| (text(copy, "form"), text(copy, "text"))).collect();
        let unsealed: Vec<_> = whole.iter().map(|(form, text)| (form.clone(), without_seals(text))).collect();
        for (reading, texts) in [("verdict", whole), ("unsealed", unsealed)] {
            let found = trace(&texts, fixture["secret"].as_str().unwrap(), mark);
            for (copy, document) in copies.iter().zip(found) {
                let place = format!("{page}, {}, {reading}", copy["row"]);
                let named: Vec<&Value> = accused(&document).iter().map(|m| &m["mark"]).collect();
                match copy[reading].as_str().unwrap() {
                    "traced" => assert_eq!(named, [mark], "{place}: {document}"),
                    "none" => assert_eq!(named, [] as [&str; 0], "{place}: {document}"),
                    // Among fewer marks it may be enough; but for nobody else.
                    _ => assert!(named.iter().all(|named| *named == mark), "{place}: {document}"),
                }
            }
        }
    }
}
