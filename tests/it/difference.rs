//! `deckle review --diff`: what is new, gone, more or fewer, and nothing that chance may have done.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::review::run;
use crate::support::TempDir;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const GPTBOT: &str = "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";

/// A line of November 2025.
fn line(day: u32, time: &str, address: &str, path: &str, status: u16, agent: &str) -> String {
    format!("{address} - - [{day}/Nov/2025:{time} +0000] \"GET {path} HTTP/1.1\" {status} 100 \"-\" \"{agent}\"\n")
}

/// What every day has: a reader at each hour, who does not find `missing` of it, and one request of curl.
fn usual(day: u32, missing: u32) -> String {
    let reader = |hour: u32, time: &str| {
        let status = if hour < missing { 404 } else { 200 };
        line(day, time, "203.0.113.10", "/about", status, BROWSER)
    };
    let hours: String = (0..24).map(|hour| reader(hour, &format!("{hour:02}:00:00"))).collect();
    hours + &line(day, "12:30:00", "192.0.2.1", "/about", 200, "curl/8") + &reader(24, "23:59:59")
}

/// A week in which somebody takes twelve stories a day.
fn week() -> String {
    let story = |day: u32, hour: u32| {
        let (time, path) = (format!("{hour:02}:20:00"), format!("/news/story-of-the-day-{hour}"));
        line(day, &time, "198.51.100.7", &path, 200, "Wget/1.21")
    };
    (10..17).map(|day| usual(day, 1) + &(0..12).map(|hour| story(day, hour)).collect::<String>()).collect()
}

/// The day after: he is gone, somebody else is there, and much is missing.
fn day() -> String {
    let story = |number: u32| {
        let (time, path) = (format!("15:{number:02}:00"), format!("/news/story-of-the-day-{number}"));
        line(17, &time, "198.51.100.50", &path, 200, GPTBOT)
    };
    usual(17, 20) + &(0..40).map(story).collect::<String>()
}

fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Kind, name up to its first bracket, and change.
fn rows(report: &Value) -> BTreeSet<(String, String, String)> {
    let rows = report["difference"]["rows"].as_array().unwrap_or_else(|| panic!("{report}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let name = |row: &Value| text(row, "name").split(" (").next().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "kind"), name(row), text(row, "change"))).collect()
}

fn set(rows: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    let own = |text: &str| text.to_owned();
    rows.iter().map(|(kind, name, change)| (own(kind), own(name), own(change))).collect()
}

fn expected() -> BTreeSet<(String, String, String)> {
    set(&[
        ("agent", "GPTBot", "new"),
        ("suspect", "GPTBot at 198.51.100.50", "new"),
        ("agent", "Wget", "gone"),
        ("suspect", "Wget at 198.51.100.7", "gone"),
        ("status", "404", "more"),
    ])
}

fn compare(arguments: &[&str]) -> (i32, Value, String) {
    let (code, out, error) = run(&[&["review"][..], arguments, &["--json", "-"][..]].concat());
    (code, serde_json::from_str(&out).unwrap_or_default(), error)
}

#[test]
fn two_logs_differ_by_what_changed_and_not_by_chance() {
    let dir = TempDir::new();
    let (old, new) = (file(&dir, "old.log", &week()), file(&dir, "new.log", &day()));
    let (code, report, error) = compare(&[&new, "--diff", &old]);
    assert_eq!((code, rows(&report)), (0, expected()), "{error}");
    let difference = &report["difference"];
    assert_eq!((&difference["old"]["hits"], &difference["new"]["hits"]), (&266.into(), &66.into()));
    assert!(difference["old"]["days"].as_f64().unwrap() > 6.99, "{difference}");
    assert!(difference["compared"].as_u64().unwrap() > 8, "{difference}");
    let changes: Vec<&str> =
        difference["rows"].as_array().unwrap().iter().map(|row| row["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["new", "new", "gone", "gone", "more"], "what is new or gone stands first");
    let missing = &difference["rows"][4];
    assert_eq!((&missing["old"], &missing["new"]), (&7.into(), &20.into()));
    assert!((missing["ratio"].as_f64().unwrap() - 20.0).abs() < 0.1, "twenty a day instead of one: {missing}");
    assert!(missing["p"].as_f64().unwrap() < 1e-6 && missing["p_corrected"].as_f64() > missing["p"].as_f64());
    // The report itself is about the newer one.
    assert_eq!(report["quality"]["hits"], 66);
    // Without being asked nothing is compared.
    assert!(compare(&[&new]).1.get("difference").is_none());
}

#[test]
fn two_times_of_one_log_differ_in_the_same_way() {
    let dir = TempDir::new();
    let log = file(&dir, "access.log", &(week() + &day()));
    let arguments = [log.as_str(), "--since", "2025-11-17", "--diff-range", "2025-11-10..2025-11-17"];
    let (code, report, error) = compare(&arguments);
    assert_eq!((code, rows(&report)), (0, expected()), "{error}");
    assert_eq!(report["difference"]["old"]["last"], "2025-11-17T00:00:00Z", "the length is that of the range");
    // What else is filtered holds for both.
    let (_, report, error) = compare(&[&arguments[..], &["--status", "404"]].concat());
    assert_eq!(rows(&report), set(&[("agent", "browser", "more"), ("status", "404", "more")]), "{error}");
}

#[test]
fn the_same_differs_in_nothing_and_every_form_says_so() {
    let dir = TempDir::new();
    let (old, new) = (file(&dir, "old.log", &week()), file(&dir, "new.log", &day()));
    let (code, report, error) = compare(&[&old, "--diff", &old]);
    assert_eq!((code, rows(&report).len()), (0, 0), "{error}");
    let (_, text, _) = run(&["review", &old, "--diff", &old]);
    assert!(text.contains("What is different") && text.contains("none differs"), "{text}");

    let (csv, page) = (dir.path().join("csv"), dir.path().join("page.html"));
    let (csv_name, page_name) = (csv.display().to_string(), page.display().to_string());
    for form in [&["--full"][..], &["--markdown", "-"][..]] {
        let (code, text, error) =
            run(&[&["review", &new, "--diff", &old, "--csv", &csv_name, "--html", &page_name][..], form].concat());
        assert_eq!(code, 0, "{error}");
        for part in ["What is different", "Wget at 198.51.100.7", "GPTBot at 198.51.100.50"] {
            assert!(text.contains(part), "{form:?}: {part}\n{text}");
        }
    }
    let rows = std::fs::read_to_string(csv.join("difference.csv")).unwrap();
    assert_eq!(rows.lines().count(), 6, "{rows}");
    assert!(rows.contains("Wget at 198.51.100.7,suspect,gone,84,0,"), "{rows}");
    assert!(std::fs::read_to_string(csv.join("difference_totals.csv")).unwrap().contains("new_hits,66"));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("<section id=\"difference\"") && html.contains("Wget at 198.51.100.7"), "{html}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let dir = TempDir::new();
    let (old, new) = (file(&dir, "old.log", &week()), file(&dir, "new.log", &day()));
    let (code, out, error) = run(&["review", &new, "--diff", "/nowhere/old.log"]);
    let told = "in the older part: cannot read `/nowhere/old.log`";
    assert!(code == 1 && out.is_empty() && error.contains(told), "{error}");
    let (code, _, error) = run(&["review", &new, "--diff-range", "2024-01-01..2024-02-01"]);
    assert!(code == 1 && error.contains("one of the times"), "{error}");
    for (arguments, told) in [
        (&["--diff-range", "yesterday"][..], "yesterday"),
        (&["--diff-range", "soon..7d"][..], "soon"),
        (&["--diff", &old, "--follow"][..], "--follow"),
    ] {
        let (code, out, error) = run(&[&["review", new.as_str()][..], arguments].concat());
        assert!(code == 2 && out.is_empty() && error.contains(told), "{arguments:?}: {code} {error}");
    }
    let (code, _, error) = run(&["review", "-", "--diff", "-"]);
    assert!(code == 2 && error.contains("only once"), "{error}");
    // One of several is missing: the others are compared, and it is told.
    let (code, report, error) = compare(&[&new, "--diff", &old, "--diff", "/nowhere/old.log"]);
    assert_eq!((code, rows(&report)), (5, expected()), "{error}");
}
