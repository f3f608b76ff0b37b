//! Pages themselves: how much of them may come, what they tell and in which form, and the reasons in the log.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::Ipv4Addr;

use data_encoding::{BASE64, HEXLOWER};

use crate::exchanges::{CLIENT, Exchange, HTML, OTHER, PAGE};
use crate::neighbours::{GUARD, NOTICE, record, text, wire};
use crate::support::{Deckle, Upstream};

const SEAL: &str = "<span inert=\"\">";

#[test]
fn a_body_that_inflates_too_much_is_a_bomb_in_the_log() {
    let words: String = (0..160_000u32).map(|i| format!("{:x} ", i.wrapping_mul(2_654_435_761))).collect();
    let zeros = "0".repeat(10 << 20);
    for (name, config, long, error) in [
        ("within page.max_decoded", "", &words, None),
        ("beyond page.max_decoded", "[page]\nmax_decoded = \"1MiB\"\n", &words, Some("bomb")),
        ("beyond 250 : 1", "", &zeros, Some("bomb")),
    ] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(format!("{PAGE}<p>{long}</p>").as_bytes()).unwrap();
        let body = encoder.finish().unwrap();
        let upstream = Upstream::fixed(&format!("{HTML}Content-Encoding: gzip\r\n"), body, 65_536);
        let deckle = Deckle::with_config(config, &["--upstream", &upstream.url()]);
        let answer = wire(deckle.address, "/bomb", "Accept-Encoding: gzip\r\n");
        assert_eq!(answer.ends_with("\r\n0\r\n\r\n"), error.is_none(), "{name}");
        let (lines, _log) = deckle.stop();
        let record = record(&lines, "/bomb");
        let rewrite = if error.is_some() { "aborted" } else { "done" };
        assert_eq!(
            (record["deckle.error"].as_str(), record["deckle.rewrite"].as_str()),
            (error, Some(rewrite)),
            "{name}: {record}"
        );
    }
}

/// The seals of a page, each one once.
fn seals(page: &str) -> BTreeSet<String> {
    page.split(SEAL).skip(1).map(|rest| rest.split("</span>").next().unwrap().to_owned()).collect()
}

#[test]
fn a_page_tells_nothing_of_who_asked() {
    let config = "[page]\norigin = \"https://news.example\"\n[rights]\nholder = \"The Post\"\n[rights.uses]\nai_train = \"deny\"\n";
    let (one, two) = (Exchange::new(config), Exchange::new(config));
    let told = ["c00kie-of-a-reader", "t0ken-of-a-reader", "key-of-a-reader", "query-of-a-reader"];
    let copy = |site: &Exchange, client: Ipv4Addr, path: &str| {
        let request = format!(
            "GET {path}?token={}\nCookie: session={}\nAuthorization: Bearer {}\nX-Api-Key: {}",
            told[3], told[0], told[1], told[2]
        );
        let head = format!("200 OK\r\n{HTML}ETag: \"v1\"\r\n");
        let (seen, answer) = site.run(client, &request, &head, PAGE.as_bytes());
        assert!(seen.headers["cookie"].contains(told[0]) && seen.headers["authorization"].contains(told[1]));
        let page = text(&answer);
        let line = std::fs::read_to_string(site.deckle.log_dir().join("secret")).unwrap();
        let secret = line.split_whitespace().nth(1).unwrap();
        let coded = BASE64.encode(&HEXLOWER.decode(secret.as_bytes()).unwrap());
        let address = client.to_string();
        for private in told.into_iter().chain([secret, coded.as_str(), address.as_str()]) {
            assert!(!page.contains(private) && !format!("{:?}", answer.headers).contains(private), "{private}: {page}");
        }
        page
    };
    // Until a site is known nothing is marked.
    copy(&one, CLIENT, "/a");
    copy(&two, CLIENT, "/a");
    let (first, second) = (copy(&one, CLIENT, "/a"), copy(&one, CLIENT, "/b"));
    let visit = seals(&first);
    assert_eq!((visit.len(), &visit), (1, &seals(&second)), "the same in all copies of a visit");
    let other = seals(&copy(&one, OTHER, "/a"));
    assert!(other.len() == 1 && other != visit, "others have others");
    let foreign = seals(&copy(&two, CLIENT, "/a"));
    assert!(foreign.len() == 1 && foreign != visit, "and another secret makes others for the same visitor");
    let (lines, _log) = one.deckle.stop();
    let mark = record(&lines, "/b")["deckle.mark.id"].as_str().unwrap();
    assert!(!second.contains(mark.split_once('-').unwrap().1), "the log names the mark, the page does not: {mark}");
}

#[test]
fn the_charset_decides_how_a_seal_is_written() {
    let site = Exchange::new("");
    site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}"), PAGE.as_bytes());
    let utf8 = "é".as_bytes();
    #[rustfmt::skip]
    let table: [(&str, &str, &str, &[u8], Option<&str>, Option<&str>); 7] = [
        ("utf-8", "text/html; charset=utf-8", "", utf8, Some("characters"), None),
        ("utf-8-meta", "text/html", "<meta charset=utf-8>", utf8, Some("characters"), None),
        ("latin-1", "text/html; charset=iso-8859-1", "", b"\xE9", Some("references"), None),
        ("cyrillic-meta", "text/html", "<meta charset=windows-1251>", b"\xE9", Some("references"), None),
        ("header-first", "text/html; charset=windows-1252", "<meta charset=utf-8>", b"\xE9", Some("references"), None),
        ("two-bytes", "text/html; charset=shift_jis", "", b"e", None, Some("encoding")),
        ("undeclared", "text/html", "", b"\xE9", None, Some("charset_late")),
    ];
    for (name, kind, meta, letter, form, _) in &table {
        let (before, after) = PAGE.split_once("committee").unwrap();
        let before = before.replace("<meta charset=utf-8>", meta);
        let page = [before.as_bytes(), b"comit", *letter, after.as_bytes()].concat();
        let head = format!("200 OK\r\nContent-Type: {kind}\r\n");
        let (_, answer) = site.run(CLIENT, &format!("GET /{name}"), &head, &page);
        let text = text(&answer);
        let found = text.split_once(SEAL).map(|(_, seal)| match seal.chars().next() {
            Some('&') if seal.starts_with("&#xFE0") => "references",
            Some('\u{FE06}'..='\u{FE0D}') => "characters",
            _ => "neither",
        });
        assert_eq!(found, *form, "{name}: {text}");
        let high = |bytes: &[u8]| bytes.iter().filter(|byte| !byte.is_ascii()).count();
        assert_eq!(high(&answer.body) > high(&page), *form == Some("characters"), "{name}: what is put in is ASCII");
    }
    let (lines, _log) = site.deckle.stop();
    for (name, .., why) in table {
        assert_eq!(record(&lines, &format!("/{name}"))["deckle.mark.skip"].as_str(), why, "{name}");
    }
}

#[test]
fn amp_gets_the_notice_and_nothing_else() {
    let site = Exchange::new("[rights]\nholder = \"The Post\"\n[rights.uses]\nai_train = \"deny\"\n");
    let head = format!("200 OK\r\n{HTML}");
    site.run(CLIENT, "GET /a", &head, PAGE.as_bytes());
    let amp = PAGE.replace("<html>", "<html amp lang=en>");
    // The second visit to AMP is one to pages that are known to be.
    for (path, page, whole) in [("/b", PAGE, true), ("/amp/a", amp.as_str(), false), ("/amp/a", amp.as_str(), false)] {
        let (_, answer) = site.run(CLIENT, &format!("GET {path}"), &head, page.as_bytes());
        let text = text(&answer);
        for part in [GUARD, "dcterms.rightsHolder", "application/ld+json", SEAL] {
            assert_eq!(text.contains(part), whole, "{path} {part}: {text}");
        }
        assert!(text.contains(NOTICE), "{path}: {text}");
    }
}

/// `handler` cannot be had from outside: `src/page/plan/mod.rs::what_ends_a_scan_keeps_its_name`.
#[test]
fn reasons_reach_the_log_by_their_names() {
    let site = Exchange::new("[page]\nmax_memory = \"256KiB\"\n");
    let head = format!("200 OK\r\n{HTML}ETag: \"v1\"\r\n");
    // Until the site is known nothing is marked; then such a paragraph is.
    site.run(CLIENT, "GET /known", &head, PAGE.as_bytes());
    assert!(text(&site.run(CLIENT, "GET /known", &head, PAGE.as_bytes()).1).contains(SEAL));
    let long = PAGE.split_once("<article>").unwrap().1.split_once("</article>").unwrap().0;
    let start = "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body><article>";
    let doubtful = format!("</select>{long}</article></body></html>");
    let deep = format!("{start}{}end of it all", "<p>".repeat(50_000));
    let latin =
        [start.as_bytes(), b"<p>caf\xE9 one two three four</p>", long.as_bytes(), b"</article></body></html>"].concat();
    let framed = format!("<html><frameset cols=*><frame src=a></frameset><noframes>{long}</noframes></html>");
    let guarded =
        format!("<html><head><script data-deckle=guard src=x></script><title>a</title><article>{long}</article>");
    let manifest = format!("<html><head><link rel=c2pa-manifest href=x><title>a</title><article>{long}</article>");
    #[rustfmt::skip]
    let table: [(&str, &str, Vec<u8>, &str); 7] = [
        ("not_markup", "skipped", b"{\"a\":\"<p>\"}".to_vec(), ""),
        ("frameset", "skipped", framed.into_bytes(), ""),
        ("already", "skipped", guarded.into_bytes(), ""),
        ("signed", "skipped", manifest.into_bytes(), ""),
        ("ambiguous", "partial", format!("{start}<select><xmp><script>1</script>{doubtful}").into_bytes(), &doubtful),
        ("memory", "partial", deep.into_bytes(), "<p><p>end of it all"),
        ("bad_utf8", "partial", latin, "</article></body></html>"),
    ];
    for (skip, rewrite, page, tail) in &table {
        let (_, answer) = site.run(CLIENT, &format!("GET /{skip}"), &head, page);
        assert!(answer.complete, "{skip}");
        if *rewrite == "skipped" {
            assert!(answer.body == *page, "{skip}: {}", text(&answer));
        } else {
            assert!(text(&answer).contains(GUARD) && answer.body.ends_with(tail.as_bytes()), "{skip}");
        }
        assert!(!text(&answer).contains(SEAL), "{skip}");
        // The header had left before the page was looked at: it is that of a page.
        let (tag, ranges) = (&answer.headers["etag"], &answer.headers["accept-ranges"]);
        assert!(tag.starts_with("W/\"v1~dk") && ranges == "none", "{skip}: {:?}", answer.headers);
        assert_eq!(answer.headers["cache-control"], "private, no-cache", "{skip}");
    }
    let (lines, _log) = site.deckle.stop();
    for (skip, rewrite, ..) in table {
        let record = record(&lines, &format!("/{skip}"));
        let got = (record["deckle.rewrite"].as_str(), record["deckle.rewrite.skip"].as_str());
        assert_eq!(got, (Some(rewrite), Some(skip)), "{record}");
    }
}

#[test]
fn what_looks_like_a_page_is_one_if_that_is_asked_for() {
    for (sniff, rewritten) in [(false, false), (true, true)] {
        let site = Exchange::new(&format!("[page]\nsniff = {sniff}\n[rights]\nholder = \"The Post\"\n"));
        let head = "200 OK\r\nX-Kind: none\r\n";
        let (_, page) = site.run(CLIENT, "GET /a", head, PAGE.as_bytes());
        assert_eq!(text(&page).contains(NOTICE), rewritten, "{sniff}");
        assert_eq!(page.headers.get("content-type"), None);
        for other in ["{\"html\":\"<p>\"}", "\u{FEFF}<svg>", "", "<"] {
            let (_, answer) = site.run(CLIENT, "GET /b", head, other.as_bytes());
            assert_eq!(answer.body, other.as_bytes());
        }
        let (_, told) =
            site.run(CLIENT, "GET /c", &format!("{head}X-Content-Type-Options: nosniff\r\n"), PAGE.as_bytes());
        assert_eq!(text(&told), PAGE);
    }
}

#[test]
fn an_answer_names_deckle_only_if_that_is_asked_for() {
    for told in [false, true] {
        let site = Exchange::new(&format!("[page]\nserver_timing = {told}\n"));
        let (_, answer) =
            site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}Server-Timing: db;dur=3\r\n"), PAGE.as_bytes());
        let timing = answer.headers.get("server-timing").cloned().unwrap_or_default();
        let fields = format!("{:?}", answer.headers).to_ascii_lowercase();
        assert_eq!(fields.contains("deckle"), told, "{fields}");
        let (lines, _log) = site.deckle.stop();
        let id = record(&lines, "/a")["deckle.request.id"].as_str().unwrap().to_owned();
        assert_eq!(timing.contains(&format!("desc=\"{id}\"")), told, "{timing}");
    }
}

#[test]
fn the_notice_speaks_the_language_of_the_page() {
    let site = Exchange::new(
        "[rights]\nholder = \"The Post\"\n[page.notice]\ntext = \"(c) {year} {holder}\"\nhtml = \"<p class='mine'>{text}</p>\"\n\
         [page.notice.texts]\nde = \"Alle Rechte bei {holder}\"\nfr = \"Tous droits : {holder}\"\n",
    );
    for (lang, field, says) in [
        (
            "de-AT",
            "",
            " lang=\"de\" role=\"region\" aria-label=\"Alle Rechte bei The Post\"><p class='mine'>Alle Rechte bei The Post</p></div>",
        ),
        ("", "Content-Language: fr\r\n", "<p class='mine'>Tous droits : The Post</p></div>"),
        ("ja", "", " The Post</p></div>"),
    ] {
        let page = PAGE.replacen("<html", &format!("<html lang=\"{lang}\""), 1);
        let page = if lang.is_empty() { PAGE.to_owned() } else { page };
        // Twice: the second one comes from the plan.
        for _ in 0..2 {
            let (_, answer) = site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}{field}"), page.as_bytes());
            assert!(text(&answer).contains(says), "{lang}: {}", text(&answer));
        }
    }
}

#[test]
fn xhtml_stays_xml() {
    const XHTML: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><title>t</title></head>\
        <body><article><p>one two three four five six seven eight nine ten<br/>eleven</p></article></body></html>";
    let head = "200 OK\r\nContent-Type: application/xhtml+xml\r\n";
    for wanted in [false, true] {
        let site = Exchange::new(&format!("[page]\nxhtml = {wanted}\n[rights]\nholder = \"A & B\"\n"));
        // Twice, so that there would be marks.
        site.run(CLIENT, "GET /a", head, XHTML.as_bytes());
        let (_, answer) = site.run(CLIENT, "GET /a", head, XHTML.as_bytes());
        let page = text(&answer);
        assert_eq!((page.contains(GUARD), page.contains(NOTICE), page == XHTML), (wanted, wanted, !wanted), "{page}");
        assert!(!page.contains(SEAL) && page.contains("ten<br/>eleven"), "{page}");
        if wanted {
            assert!(page.contains(" defer=\"defer\"") && page.contains(" data-nosnippet=\"data-nosnippet\""), "{page}");
            assert!(page.contains("content=\"A &amp; B\"/>"), "{page}");
        }
        let (lines, _log) = site.deckle.stop();
        let log = record(&lines, "/a");
        assert_eq!(log["deckle.rewrite.skip"].as_str(), (!wanted).then_some("xhtml"));
    }
}
