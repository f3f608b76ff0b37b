//! From a page that was sent to the name of who passed it on: two hundred visitors, five articles each, in both modes.
//! `scripts/survive --visitors` does the same with the tools of the field.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Deckle, TempDir, accused, get, hits};

const VISITORS: u8 = 200;
const ARTICLES: usize = 5;
const WHITESPACE: &str = "[watermark.channels]\nwhitespace = \"always\"\n";
const LANGUAGES: [&str; 6] = ["en", "de", "fr", "nl", "es", "it"];

/// Each visitor has a network of its own: the log shows no more of an address.
fn address(visitor: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, visitor + 1, 0, 7)
}

fn network(visitor: u8) -> String {
    format!("127.{}.0.0/24", visitor + 1)
}

fn browser(visitor: u8) -> String {
    let version = 138 + visitor % 5;
    let language = LANGUAGES[usize::from(visitor) % LANGUAGES.len()];
    format!(
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0\r\n\
         Accept: text/html\r\nAccept-Language: {language}\r\n"
    )
}

/// Paths of the articles that have gaps between words.
fn articles(server: SocketAddr) -> Vec<String> {
    let api: Value = serde_json::from_slice(&get(address(250), server, "/api/articles.json", "").body).unwrap();
    let all = api["articles"].as_array().unwrap().iter();
    let spaced = all.filter(|a| !matches!(a["lang"].as_str(), Some("ar" | "ja")));
    spaced.map(|a| a["path"].as_str().unwrap().to_owned()).take(ARTICLES).collect()
}

/// Reads the articles as a browser does, with some files of each page: whoever fetches pages alone is no reader.
fn read(server: SocketAddr, visitor: u8, articles: &[String]) -> Vec<String> {
    let (from, browser) = (address(visitor), browser(visitor));
    let mut seen = BTreeSet::new();
    articles
        .iter()
        .map(|path| {
            let answer = get(from, server, path, &browser);
            assert_eq!(answer.status, 200, "visitor {visitor}, {path}");
            let page = String::from_utf8(answer.body).unwrap();
            let is_file = |part: &&str| ["/static/", "/img/", "/.deckle/"].iter().any(|begin| part.starts_with(begin));
            let files: Vec<String> = page.split('"').filter(is_file).map(str::to_owned).collect();
            let new: Vec<String> = files.into_iter().filter(|file| seen.insert(file.clone())).take(4).collect();
            for file in new {
                assert_eq!(get(from, server, &file, &browser).status, 200, "visitor {visitor}, {file}");
            }
            page
        })
        .collect()
}

/// The pages of all visitors, who read at the same time.
fn read_all(server: SocketAddr, articles: &[String]) -> Vec<Vec<String>> {
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8u8)
            .map(|first| {
                let visitors = (first..VISITORS).step_by(8);
                scope.spawn(move || visitors.map(|v| (v, read(server, v, articles))).collect::<Vec<_>>())
            })
            .collect();
        let pages: BTreeMap<u8, Vec<String>> = readers.into_iter().flat_map(|r| r.join().unwrap()).collect();
        pages.into_values().collect()
    })
}

fn is_seal(c: char) -> bool {
    ('\u{FE06}'..='\u{FE0D}').contains(&c)
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The order is that of a hash of the seed: always the same, and never that of the page.
fn shuffled(mut parts: Vec<String>, seed: u64) -> Vec<String> {
    let key = |at: usize| (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7 * at as u32 % 64) ^ at as u64;
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|at| key(*at).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    order.into_iter().map(|at| std::mem::take(&mut parts[at])).collect()
}

/// What is passed on of a page: its name, and its text or markup.
fn copy(page: &str, visitor: u8, article: usize) -> (String, String) {
    let name = |ending: &str| format!("{visitor}-{article}.{ending}");
    let text = deckle::page::plain_text(page);
    let sealed: Vec<String> =
        text.split("\n\n").filter(|p| p.chars().filter(|c| is_seal(*c)).count() == 25).map(str::to_owned).collect();
    assert!(sealed.len() >= 8, "{} sealed paragraphs", sealed.len());
    let seed = u64::from(visitor) * ARTICLES as u64 + article as u64;
    match (usize::from(visitor) + article) % ARTICLES {
        // The page as it was saved.
        0 => (name("html"), page.to_owned()),
        // The paragraphs in another order.
        1 => (name("txt"), shuffled(sealed, seed).join("\n\n")),
        // Half of them, as most tools leave white space.
        2 => {
            let half = sealed.len() / 2;
            let kept: Vec<String> = shuffled(sealed, seed).iter().take(half).map(|p| collapse(p)).collect();
            (name("txt"), kept.join("\n"))
        }
        // One.
        3 => (name("txt"), collapse(&shuffled(sealed, seed)[0])),
        // All, without seals: white space alone.
        _ => (name("txt"), sealed.join("\n\n").replace(is_seal, "")),
    }
}

/// Texts that none of the visitors got.
fn innocents(articles: &[String], pages: &[String]) -> Vec<(String, String)> {
    // Another site, with a secret of its own.
    let other = Deckle::with_config(WHITESPACE, &[]);
    let browser = browser(0);
    get(address(0), other.address, &articles[0], &browser);
    let mut texts = Vec::new();
    for (number, (path, page)) in articles.iter().zip(pages).enumerate() {
        let foreign = String::from_utf8(get(address(0), other.address, path, &browser).body).unwrap();
        assert!(foreign.contains(is_seal));
        let unmarked: Vec<String> =
            deckle::page::plain_text(page).replace(is_seal, "").split("\n\n").map(collapse).collect();
        let unmarked = unmarked.join("\n\n");
        let gap = |at: usize| if at.is_multiple_of(2) { " " } else { "\n" };
        let alternating: String =
            unmarked.split(' ').enumerate().map(|(at, word)| format!("{word}{}", gap(at))).collect();
        texts.push((format!("foreign-{number}.html"), foreign));
        texts.push((format!("feeds-{number}.txt"), unmarked.replace(' ', "\n")));
        texts.push((format!("alternating-{number}.txt"), alternating));
        texts.push((format!("unmarked-{number}.txt"), unmarked));
    }
    texts
}

/// What `deckle trace` says of each file.
fn trace(dir: &Path, names: &[String], log: &Path) -> BTreeMap<String, Value> {
    let out = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .current_dir(dir)
        .arg("trace")
        .args(names)
        .arg("--log-dir")
        .arg(log)
        .arg("--json")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let copies = document["copies"].as_array().unwrap();
    copies.iter().map(|copy| (copy["name"].as_str().unwrap().to_owned(), copy.clone())).collect()
}

fn each_leak_names_who_passed_it_on(mode: &str) {
    let deckle = Deckle::with_config(WHITESPACE, &["--mode", mode]);
    let articles = articles(deckle.address);
    // The first page shows what pages of this site hold.
    get(address(250), deckle.address, &articles[0], &browser(250));
    let pages = read_all(deckle.address, &articles);
    let innocents = innocents(&articles, &pages[0]);
    assert_eq!(innocents.len(), 20);
    let dir = TempDir::new();
    let mut truth = BTreeMap::new();
    for (visitor, pages) in (0..VISITORS).zip(&pages) {
        for (number, page) in pages.iter().enumerate() {
            let (name, text) = copy(page, visitor, number);
            std::fs::write(dir.path().join(&name), text).unwrap();
            truth.insert(name, (visitor, articles[number].clone()));
        }
    }
    for (name, text) in &innocents {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let (lines, log) = deckle.stop();

    // What was sent to whom, and by which request.
    let mut sent = BTreeMap::new();
    for hit in hits(&lines) {
        let action = hit["deckle.action"].as_str().unwrap();
        assert!(matches!(action, "allow" | "tag"), "a reader met {action}: {hit}");
        if hit["deckle.mark.id"].is_string() {
            let text = |key: &str| hit[key].as_str().unwrap().to_owned();
            sent.insert(
                (text("client.address"), text("url.path")),
                (&hit["deckle.mark.id"], &hit["deckle.request.id"]),
            );
        }
    }
    let names: Vec<String> = truth.keys().cloned().chain(innocents.iter().map(|(name, _)| name.clone())).collect();
    assert_eq!(names.len(), usize::from(VISITORS) * ARTICLES + 20);
    let found = trace(dir.path(), &names, &log.path().join("log"));
    for (name, (visitor, path)) in truth {
        let document = &found[&name];
        let named = accused(document);
        assert_eq!(named.len(), 1, "{mode}, {name}: {document}");
        let (mark, request) = sent[&(network(visitor), path)];
        assert_eq!(&named[0]["mark"], mark, "{mode}, {name}");
        assert!(named[0]["request_ids"].as_array().unwrap().contains(request), "{mode}, {name}: {document}");
    }
    let shortlists = innocents.iter().filter(|(name, _)| {
        assert_ne!(found[name]["verdict"], "traced", "{mode}, {name}: {}", found[name]);
        found[name]["verdict"] == "inconclusive"
    });
    // One innocent text in a hundred gets a list that is headed so, and names nobody.
    assert!(shortlists.count() <= 4);
}

#[test]
fn while_observing_each_leak_names_who_passed_it_on() {
    each_leak_names_who_passed_it_on("observe");
}

#[test]
fn while_enforcing_each_leak_names_who_passed_it_on_and_no_reader_is_refused() {
    each_leak_names_who_passed_it_on("enforce");
}
