//! Style sheets through the running proxy: white space carries marks once they are known, and not where they keep it.

use std::io::Write;
use std::process::Command;

use crate::exchanges::{CLIENT, Exchange, HTML, PAGE, gzip};
use crate::review::until;
use crate::support::{Deckle, Upstream, get, hits};

/// Is white space of the article marked? As it is written, it holds no line feed.
fn is_marked(page: &[u8]) -> bool {
    let page = String::from_utf8_lossy(page);
    let article = page.split_once("<article>").unwrap().1.split_once("</article>").unwrap().0;
    article.contains('\n')
}

#[test]
fn white_space_is_marked_once_the_sheets_have_passed() {
    let site = Exchange::new("");
    let page = PAGE.replace("<title>", "<link rel=stylesheet href=/s.css><title>");
    let marked = || is_marked(&site.run(CLIENT, "GET /a", &format!("200 OK\r\n{HTML}"), page.as_bytes()).1.body);
    let sheet = |coding: &str, css: &[u8]| {
        let head = format!("200 OK\r\nContent-Type: text/css\r\n{coding}");
        let (_, answer) = site.run(CLIENT, "GET /s.css\nAccept-Encoding: gzip", &head, css);
        assert!(answer.complete && answer.body == css, "a sheet passes as it is");
    };
    // The first page teaches; of the second it is known that it may be marked.
    assert!(!marked() && !marked());
    sheet("", b"p { margin: 0 }");
    until("the sheet is known", marked);
    sheet("Content-Encoding: gzip\r\n", &gzip(b"p { white-space: pre-line }"));
    until("the new sheet is known", || !marked());
    let (lines, _log) = site.deckle.stop();
    let hits = hits(&lines);
    let pages: Vec<_> = hits.iter().filter(|hit| hit["url.path"] == "/a").collect();
    assert_eq!(pages[1]["deckle.mark.off"], serde_json::json!(["w:css_unknown"]), "{}", pages[1]);
    let white = |hit: &serde_json::Value| hit["deckle.mark.carriers"].to_string().contains("w:");
    assert!(pages.iter().any(|hit| white(hit)) && !white(pages[1]) && !white(pages.last().unwrap()));
}

#[test]
fn check_learns_sheets_for_the_proxy_that_runs() {
    let cdn = Upstream::fixed("Content-Type: text/css\r\n", b"p { margin: 0 }".to_vec(), 100);
    let link = format!("<link rel=stylesheet href=/s.css><link rel=stylesheet href='{}/x.css'><title>", cdn.url());
    let page = PAGE.replace("<title>", &link);
    let upstream = Upstream::start(move |seen, stream| {
        let (kind, body) = match seen.target.as_str() {
            "/s.css" => ("Content-Type: text/css\r\n", "@import '/t.css';"),
            "/t.css" => ("Content-Type: text/css\r\n", "p { color: red }"),
            _ => (HTML, page.as_str()),
        };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{kind}Connection: close\r\n\r\n{body}").as_bytes());
    });
    let config = format!("[watermark]\nstylesheets = ['{}/x.css']\n", cdn.url());
    let deckle = Deckle::with_config(&config, &["--upstream", &upstream.url()]);
    let marked = || is_marked(&get(CLIENT, deckle.address, "/a", "").body);
    assert!(!marked() && !marked());
    let learn = |config: &str| {
        let file = deckle.log.path().join("check.toml");
        std::fs::write(&file, format!("{config}[audit]\ndir = '{}'\n", deckle.log_dir().display())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
        let out = command.args(["check", "--learn", &deckle.url("/a"), "--config"]).arg(file).output().unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
    };
    let (code, text) = learn("");
    assert!(code == 1 && text.contains("not in `watermark.stylesheets`") && text.contains("2 of 3"), "{text}");
    assert!(!marked(), "one is not known");
    let (code, text) = learn(&config);
    assert!(code == 0 && text.contains("3 of 3") && text.contains("plans.json"), "{text}");
    deckle.signal("HUP");
    until("the proxy takes up what was learned", marked);
    let (code, _) = learn("[watermark]\nstylesheets = [7]\n");
    assert_eq!(code, 2);
}
