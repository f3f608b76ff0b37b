//! The tokenizer and tree-construction cases of html5lib-tests through scan and splice: whatever a page holds, a browser sees the same page.

use std::fmt::Write as _;

use deckle::page::Settings;
use deckle::unit::Size;

use crate::dom;
use crate::streaming::{Pipe, layer, whole};

/// Name and input of each case. `None`: the vectors are not here.
fn cases() -> Option<Vec<(String, String)>> {
    let dir = std::env::var("DECKLE_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let mut cases = Vec::new();
    for file in std::fs::read_dir(format!("{dir}/html5lib/tokenizer")).ok()?.flatten() {
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file.path()).ok()?).ok()?;
        for case in json["tests"].as_array().into_iter().flatten() {
            let input = case["input"].as_str().unwrap_or_default();
            let name = format!("{}: {}", file.file_name().to_string_lossy(), case["description"]);
            // Lone surrogates cannot stand in a page.
            let input =
                if case["doubleEscaped"].as_bool() == Some(true) { unescaped(input) } else { Some(input.to_owned()) };
            cases.extend(input.map(|input| (name, input)));
        }
    }
    // `scripts/test` brings them.
    let trees = trees(&format!("{}/target/html5lib/tree-construction", env!("CARGO_MANIFEST_DIR")));
    if trees.is_empty() {
        eprintln!("skipped: the cases of tree construction are not here");
    } else {
        assert!(trees.len() > 1_400, "{}", trees.len());
    }
    cases.extend(trees);
    Some(cases)
}

/// Cases of `*.dat`: what stands between `#data` and `#errors`.
fn trees(dir: &str) -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for file in files.filter(|file| file.path().extension().is_some_and(|extension| extension == "dat")) {
        let name = file.file_name().to_string_lossy().into_owned();
        // Some hold bytes that are no UTF-8.
        let text = std::fs::read(file.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap();
        for (number, case) in text.split("#data\n").skip(1).enumerate() {
            let input = case.split("\n#errors").next().unwrap_or_default();
            cases.push((format!("{name} {number}"), input.to_owned()));
        }
    }
    cases
}

fn unescaped(text: &str) -> Option<String> {
    let quoted = text.replace('"', "\\\"").chars().fold(String::new(), |mut out, c| {
        let _ = if c < ' ' { write!(out, "\\u{:04x}", u32::from(c)) } else { write!(out, "{c}") };
        out
    });
    serde_json::from_str(&format!("\"{quoted}\"")).ok()
}

#[tokio::test(start_paused = true)]
async fn a_browser_sees_the_same_page_in_three_chunkings() {
    let Some(mut cases) = cases() else {
        eprintln!("skipped: no vectors (set DECKLE_VECTORS)");
        return;
    };
    assert!(cases.len() > 6_000, "{}", cases.len());
    let layer = layer(&Settings { plan_cache: Size(0), ..Settings::default() }, true);
    let words = "one two three four five six seven eight nine ten eleven twelve thirteen words of plain text";
    let mut inserted = 0;
    cases.retain(|(_, input)| !input.is_empty());
    for (name, input) in &cases {
        // As a page of its own, and in the middle of an article.
        let inside = format!(
            "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article><p>{words}</p>{input}<p>{words}</p>\
             </article></body></html>"
        );
        for page in [input.as_str(), inside.as_str()] {
            // What this page teaches about the site holds for all of its copies.
            whole(&layer, 1, Pipe::of(&[page.as_bytes()]).end()).await;
            let mut copies = Vec::new();
            for chunk in [usize::MAX, 7, 1] {
                let pieces: Vec<&[u8]> = page.as_bytes().chunks(chunk).collect();
                copies.push(whole(&layer, 1, Pipe::of(&pieces).end()).await.0);
            }
            assert!(copies.iter().all(|copy| *copy == copies[0]), "{name}: the chunks show");
            assert_eq!(dom::tree(&copies[0]), dom::tree(page.as_bytes()), "{name}");
            inserted += usize::from(copies[0].len() > page.len());
        }
    }
    assert!(inserted >= cases.len(), "{inserted}");
}
