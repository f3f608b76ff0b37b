//! The layout is the architecture; this test keeps it so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may use whom. `page/protect` is a room of its own: there page and watermark meet.
const MAY_USE: [(&str, &[&str]); 19] = [
    ("clock", &[]),
    ("hosts", &[]),
    ("secret", &[]),
    ("slot", &[]),
    ("unit", &[]),
    ("visitor", &["clock", "hosts", "secret", "unit"]),
    ("suspicion", &["visitor", "rights", "clock", "secret", "unit"]),
    ("rights", &["visitor", "hosts"]),
    ("action", &["visitor", "suspicion", "rights", "clock", "secret", "unit"]),
    ("page", &["slot", "rights", "hosts", "unit"]),
    ("page/protect", &["page", "slot", "rights", "visitor", "watermark", "action", "secret", "unit"]),
    ("watermark", &["slot", "secret", "unit"]),
    ("audit", &["visitor", "suspicion", "action", "page", "rights", "watermark", "clock", "hosts", "secret", "unit"]),
    ("config", &["visitor", "suspicion", "action", "page", "rights", "watermark", "audit", "unit"]),
    (
        "layer",
        &[
            "clock",
            "hosts",
            "secret",
            "slot",
            "visitor",
            "suspicion",
            "action",
            "page",
            "rights",
            "watermark",
            "audit",
            "config",
        ],
    ),
    ("review", &["audit", "visitor", "suspicion", "action", "rights", "watermark", "clock", "unit"]),
    (
        "proxy",
        &[
            "layer",
            "config",
            "audit",
            "review",
            "rights",
            "visitor",
            "clock",
            "hosts",
            "secret",
            "suspicion",
            "page",
            "unit",
        ],
    ),
    (
        "cli",
        &[
            "config",
            "proxy",
            "review",
            "watermark",
            "audit",
            "page",
            "rights",
            "secret",
            "slot",
            "action",
            "visitor",
            "suspicion",
            "clock",
            "unit",
        ],
    ),
    ("lib", &["layer"]),
];

/// Lines of code in one file, tests not counted.
const MAX_LINES: usize = 400;

/// Words that name nothing.
const BANNED: [&str; 6] = ["utils", "util", "helpers", "helper", "manager", "common"];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    assert!(paths.len() > 60);
    paths
        .into_iter()
        .map(|p| (p.strip_prefix(&root).unwrap().display().to_string(), std::fs::read_to_string(&p).unwrap()))
        .collect()
}

fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

fn room(file: &str) -> &str {
    if file.starts_with("page/protect/") {
        return "page/protect";
    }
    let first = file.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut wrong = BTreeSet::new();
    for (file, text) in all() {
        let room = room(&file);
        if room == "main" {
            continue;
        }
        let (_, allowed) =
            MAY_USE.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{file} is in no room"));
        for line in code(&text).lines().filter(|l| !l.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let names: Vec<&str> = match used.strip_prefix('{') {
                    Some(list) => list
                        .split('}')
                        .next()
                        .unwrap()
                        .split(',')
                        .map(|n| n.trim().split("::").next().unwrap())
                        .collect(),
                    None => vec![used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()],
                };
                for name in names {
                    let own = name == room || (room == "page/protect" && name == "page");
                    if !own && !allowed.contains(&name) && !name.is_empty() {
                        wrong.insert(format!("{file} uses {name}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = all()
        .into_iter()
        .map(|(file, text)| (code(&text).lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, file)| format!("{file}: {lines}"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn no_file_is_named_after_nothing() {
    for (file, _) in all() {
        for part in file.trim_end_matches(".rs").split('/') {
            assert!(!BANNED.contains(&part), "{file}");
        }
    }
}

/// lol_html only looks: the one call that changes anything empties its own output.
#[test]
fn the_scanner_never_mutates() {
    const MUTATORS: [&str; 12] = [
        ".before(",
        ".after(",
        ".prepend(",
        ".append(",
        ".replace_with(",
        ".set_attribute(",
        ".remove_attribute(",
        ".set_inner_content(",
        ".remove_and_keep_content(",
        ".set_tag_name(",
        ".streaming_",
        ".remove()",
    ];
    let readers = ["head", "article", "ending", "chunks", "regions", "card", "scan", "plain", "plan/inert"]
        .map(|name| format!("page/{name}.rs"));
    let mut emptied = 0;
    for (file, text) in all().into_iter().filter(|(f, t)| f.starts_with("page/") && t.contains("lol_html")) {
        let text = code(&text);
        let handlers = text.contains("Element<") || text.contains("TextChunk") || text.contains("HtmlRewriter");
        assert!(!handlers || readers.contains(&file), "{file} handles tokens");
        for mutator in MUTATORS {
            assert!(!text.contains(mutator), "{file} calls {mutator}");
        }
        if readers.contains(&file) {
            emptied += text.matches(".set_str(").count();
        }
    }
    assert_eq!(emptied, 1, "only text chunks are emptied, in one place");
}

#[test]
fn the_guard_script_ships_as_it_is_written() {
    let source = include_str!("../../assets/guard.js");
    let minified = include_str!("../../assets/guard.core.min.js");
    // `scripts/test` runs the minifier and compares; here: the two speak of the same things.
    for word in ["clipboardData", "composedPath", "canonical", "adoptedStyleSheets", "checkVisibility", "dragstart"] {
        assert!(source.contains(word) && minified.contains(word), "{word}");
    }
    assert!(minified.len() < source.len());
}

/// Every test that the list of HTTP rules and the page about the log name is there, and every script.
#[test]
fn the_references_name_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, least) in [("http", 150), ("integrity", 15), ("trace", 40)] {
        let text = std::fs::read_to_string(root.join(format!("docs/reference/{page}.md"))).unwrap();
        let mut named = 0;
        for part in text.split('`').filter(|part| part.contains("::") && !part.contains(' ')) {
            let (file, test) = part.split_once("::").unwrap();
            if file == "file" || !file.contains('/') {
                continue;
            }
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "{part}");
            named += 1;
        }
        assert!(named > least, "{page}: {named}");
        for part in text.split('`').filter(|part| part.starts_with("scripts/")) {
            let script = part.split(' ').next().unwrap();
            assert!(root.join(script).is_file(), "{part}");
        }
    }
}
