//! What stands in a page for one visitor alone: the style sheet that tells browsers from programs, and the link that
//! only programs follow. And the path that stands in robots.txt and nowhere else.

use deckle::action::Action;
use deckle::rights::robots::Robots;
use deckle::suspicion::Signal;

use crate::cards::{Answer, ENFORCE, FIREFOX, Fields, ROBOTS, Rig, SCRIPT, TEXT, answer, article, request, site, with};
use crate::challenge::is_challenge;

const PAGE: &str = "/news/a-b-c";
const LINKS: &str = "mode = \"enforce\"\n[suspicion.trap]\nlinks = true\n";
const CANARY: &str = "mode = \"enforce\"\n[suspicion.trap]\ncanary = true\n";

/// The address of this kind below the mount that a page holds.
pub(crate) fn own<'p>(page: &'p str, kind: &str) -> Option<&'p str> {
    let at = page.find(&format!("\"/.deckle/{kind}/"))? + 1;
    page[at..].split('"').next()
}

fn rate(answer: &Answer) -> f32 {
    answer.record.assessment.as_ref().unwrap().points.rate
}

#[tokio::test]
async fn a_suspect_s_page_carries_a_style_sheet_and_a_reader_s_does_not() {
    const GOOGLE: Fields = &[("user-agent", "Googlebot/2.1"), ("accept", "text/html")];
    for (beacon, suspects, readers) in [("suspect", true, false), ("always", true, true), ("off", false, false)] {
        for mode in ["enforce", "observe"] {
            let rig = Rig::new(&format!("mode = \"{mode}\"\n[suspicion]\nbeacon = \"{beacon}\"\n"));
            let suspect = rig.ask(request(SCRIPT, [203, 0, 113, 1], PAGE)).await;
            let reader = rig.ask(request(FIREFOX, [203, 0, 113, 2], PAGE)).await;
            assert!(suspect.body.contains(TEXT) && reader.body.contains(TEXT));
            let sheet = own(&suspect.body, "b");
            assert_eq!((sheet.is_some(), own(&reader.body, "b").is_some()), (suspects, readers), "{beacon} {mode}");
            // What a crawler is shown shall not depend on us.
            let google = rig.ask(request(GOOGLE, [66, 249, 66, 1], PAGE)).await;
            assert_eq!((google.status, own(&google.body, "b")), (200, None), "{beacon} {mode}");
            let Some(sheet) = sheet else { continue };
            assert!(suspect.body.contains(&format!("<link rel=\"stylesheet\" href=\"{sheet}\"/>")), "{}", suspect.body);
            assert!(suspect.body.find(sheet) < suspect.body.find("</head>"), "{}", suspect.body);
            let next = rig.ask(request(SCRIPT, [203, 0, 113, 1], PAGE)).await;
            assert_ne!(own(&next.body, "b"), Some(sheet), "none that was fetched before");
            let style = rig.ask(request(SCRIPT, [203, 0, 113, 1], sheet)).await;
            let kind = style.headers["content-type"].to_str().unwrap();
            assert_eq!(
                (style.status, kind, style.body.as_str()),
                (200, "text/css; charset=utf-8", ""),
                "{beacon} {mode}"
            );
            assert_eq!(style.headers["cache-control"], "no-store");
            assert!(!rig.seen.lock().unwrap().iter().any(|target| target.starts_with("/.deckle")));
        }
    }
}

/// A cache would hand one visitor's address to all.
#[tokio::test]
async fn a_page_that_a_shared_cache_may_keep_carries_nothing_for_one_visitor() {
    let private = "cache-control: private, max-age=60";
    for (shared, field, carries) in [
        (false, "", true),
        (false, "cache-control: no-cache", true),
        (false, private, true),
        (false, "cache-control: no-store", true),
        (false, "cache-control: public, max-age=60", false),
        (false, "cache-control: s-maxage=60", false),
        (false, "etag: \"v1\"", false),
        (false, "expires: Thu, 01 Jan 2037 00:00:00 GMT", false),
        (true, "", false),
        (true, private, true),
        // It would not be fetched, and that would be held against a reader.
        (false, "content-security-policy: default-src 'none'", false),
    ] {
        let config = format!("{LINKS}[page]\nshared_cache = {shared}\n");
        let rig = Rig::around(&config, move |request| {
            let mut page = site(request);
            if let Some((name, value)) = field.split_once(": ") {
                page.headers_mut().insert(name, value.parse().unwrap());
            }
            page
        });
        let page = rig.ask(request(SCRIPT, [203, 0, 113, 1], PAGE)).await;
        assert_eq!(own(&page.body, "b").is_some(), carries, "{shared} {field}: {}", page.body);
        let linked = own(&page.body, "t").is_some();
        assert_eq!(linked, carries || field.contains("security"), "{shared} {field}: {}", page.body);
    }
}

/// A neighbour's haste is not laid at the door of whoever has fetched the style sheet.
#[tokio::test(start_paused = true)]
async fn whoever_fetches_the_style_sheet_is_a_browser() {
    let rig = Rig::new("mode = \"enforce\"\n[suspicion]\nbeacon = \"always\"\n");
    let ip: [u8; 4] = [203, 0, 113, 1];
    let browser = |language: &'static str, path: &str| with(request(FIREFOX, ip, path), "accept-language", language);
    let first = rig.ask(browser("de", PAGE)).await;
    // Made up, it proves nothing.
    rig.ask(browser("fr", "/.deckle/b/0123456789abcdef.css")).await;
    rig.ask(browser("de", own(&first.body, "b").unwrap())).await;
    rig.ask(browser("de", "/news/d-e-f")).await;
    for page in 0..60 {
        rig.ask(request(SCRIPT, ip, &format!("/news/g-h-{page}"))).await;
    }
    let (proven, other) = (rig.ask(browser("de", PAGE)).await, rig.ask(browser("fr", PAGE)).await);
    assert_eq!((proven.status, proven.score()), (200, 0));
    assert!(rate(&proven) < 1.0 && rate(&other) >= 10.0, "{} {}", rate(&proven), rate(&other));

    // Six pages without any file are those of a script that has a browser's name; one style sheet says otherwise.
    for (ip, fetches) in [([203, 0, 113, 2], false), ([203, 0, 113, 3], true)] {
        let mut bare = false;
        for page in 0..8 {
            rig.wait(20 + page);
            let answer = rig.ask(request(FIREFOX, ip, &format!("/news/{page}"))).await;
            let signals = &answer.record.assessment.as_ref().unwrap().signals;
            bare |= signals.iter().any(|fired| fired.signal == Signal::NoAssets);
            if fetches && page == 0 {
                rig.ask(request(FIREFOX, ip, own(&answer.body, "b").unwrap())).await;
            }
        }
        assert_eq!(bare, !fetches);
    }
}

/// What cannot be fetched is held against nobody.
#[tokio::test(start_paused = true)]
async fn only_a_style_sheet_that_left_in_a_page_counts_as_offered() {
    let policy = "<head><meta http-equiv=content-security-policy content=\"default-src 'none'\">";
    for (page, offered) in [
        (article(), true),
        ("<p>A part of a page.</p>".to_owned(), false),
        ("No markup.".to_owned(), false),
        (article().replace("<html ", "<html amp "), false),
        (article().replace("<head>", policy), false),
        ("<!doctype html><frameset><frame src=/></frameset>".to_owned(), false),
    ] {
        let config = "[suspicion]\nbeacon = \"always\"\n[suspicion.score]\nsignals = { no_assets = 0 }\n";
        let body = page.clone();
        let rig = Rig::around(config, move |_| answer(200, "text/html; charset=utf-8", body.clone()));
        let mut fired = false;
        for number in 0..14 {
            rig.wait(if number % 2 == 0 { 20 } else { 90 });
            let path = format!("/news/{}", char::from(b'a' + number));
            let answer = rig.ask(request(FIREFOX, [203, 0, 113, 1], &path)).await;
            assert_eq!(own(&answer.body, "b").is_some(), offered, "{}", answer.body);
            let signals = &answer.record.assessment.as_ref().unwrap().signals;
            fired |= signals.iter().any(|fired| fired.signal == Signal::NoBeacon);
        }
        assert_eq!(fired, offered, "{page}");
    }
}

#[tokio::test]
async fn the_hidden_link_is_for_programs_alone() {
    let rig = Rig::new(LINKS);
    let page = rig.ask(request(FIREFOX, [203, 0, 113, 1], PAGE)).await.body;
    let link = own(&page, "t").unwrap();
    assert_eq!(link.len(), "/.deckle/t/".len() + 16);
    // Nobody sees it, nobody reads it out, nobody comes to it by the keyboard.
    let hidden = "rel=\"nofollow\" tabindex=\"-1\" aria-hidden=\"true\" hidden=\"\"></a>";
    assert!(page.ends_with(&format!("<a href=\"{link}\" {hidden}</body></html>")), "{page}");

    let human: Fields = &[("sec-fetch-site", "same-origin")];
    let ahead: Fields = &[("sec-purpose", "prefetch;prerender")];
    let elsewhere: Fields = &[("sec-fetch-site", "cross-site")];
    for (last, fields, more, score, next) in [
        (2, FIREFOX, human, 70, 429),
        (3, FIREFOX, ahead, 0, 200),
        (4, FIREFOX, elsewhere, 0, 200),
        (5, SCRIPT, &[][..], 95, 403),
    ] {
        let who = [203, 0, 113, last];
        let follow = more.iter().fold(request(fields, who, link), |ask, &(name, value)| with(ask, name, value));
        assert_eq!(rig.ask(follow).await.score(), score, "{more:?}");
        assert_eq!(rig.ask(request(fields, who, PAGE)).await.status, next, "{more:?}");
    }
    // A reader whom it was put upon gets out.
    assert!(is_challenge(&rig.ask(request(FIREFOX, [203, 0, 113, 2], PAGE)).await));
    // The link of the day before yesterday leads nobody into anything.
    rig.wait(2 * 86_400);
    let old = rig.ask(request(FIREFOX, [203, 0, 113, 6], link)).await;
    assert_eq!(old.score(), 0);
}

#[tokio::test]
async fn the_path_that_only_robots_txt_names() {
    let rig = Rig::new(CANARY);
    let robots = rig.ask(request(FIREFOX, [203, 0, 113, 1], "/robots.txt")).await.body;
    let path = robots.lines().find_map(|line| line.strip_prefix("Disallow: /archive-")).unwrap();
    assert_eq!(path.len(), "01234567/".len(), "{robots}");
    let page = rig.ask(request(FIREFOX, [203, 0, 113, 1], PAGE)).await.body;
    assert!(!page.contains("/archive-"), "nobody links to it: {page}");
    let path = format!("/archive-{path}2019/05/");
    for (last, fields, ahead, score, next) in [
        (2, FIREFOX, "", 60, Action::Limit),
        (3, FIREFOX, "prefetch", 0, Action::Allow),
        (4, SCRIPT, "", 85, Action::Block),
    ] {
        let who = [203, 0, 113, last];
        let caught = rig.ask(with(request(fields, who, &path), "sec-purpose", ahead)).await;
        assert_eq!(caught.score(), score, "{fields:?}");
        let page = rig.ask(request(fields, who, PAGE)).await;
        assert_eq!(page.decision().action, next, "{fields:?}");
    }
}

#[tokio::test]
async fn whoever_obeys_robots_txt_walks_into_nothing() {
    let more = "[[rights.scope]]\npath = \"/premium/\"\nagents = [\"CCBot\"]\nuses = { crawl = \"deny\" }\n";
    for (config, path) in [(LINKS, "/.deckle/t/0123456789abcdef"), (CANARY, "/archive-")] {
        let rig = Rig::new(&format!("{config}{more}"));
        let robots = rig.ask(request(SCRIPT, [203, 0, 113, 1], "/robots.txt")).await.body;
        assert!(robots.starts_with(ROBOTS), "{robots}");
        let path = match robots.split_once(path) {
            // Of the canary, the file says how it goes on.
            Some((_, rest)) => format!("{path}{}", rest.lines().next().unwrap()),
            None => path.to_owned(),
        };
        let rules = Robots::parse(robots.as_bytes());
        // Named by the site, by us, and by nobody.
        for agent in ["Googlebot", "CCBot", "GPTBot", "Mozilla/5.0 (compatible; SomeBot/1.0)"] {
            assert!(!rules.allows(agent, &path), "{agent} {path}: {robots}");
            assert!(rules.allows(agent, PAGE), "{agent}: {robots}");
        }
        assert!(!rules.allows("Googlebot", "/print") && !rules.allows("CCBot", "/premium/a"), "{robots}");
    }
}

#[tokio::test]
async fn there_are_no_traps_unless_they_are_asked_for() {
    let rig = Rig::new(ENFORCE);
    for fields in [FIREFOX, SCRIPT] {
        let page = rig.ask(request(fields, [203, 0, 113, 1], PAGE)).await;
        assert!(own(&page.body, "t").is_none() && page.body.contains(TEXT), "{}", page.body);
    }
    assert_eq!(rig.ask(request(SCRIPT, [203, 0, 113, 1], "/robots.txt")).await.body, ROBOTS);
}

#[tokio::test]
async fn the_link_may_stand_where_only_a_search_for_addresses_finds_it() {
    let rig = Rig::new(&format!("{LINKS}form = \"script\"\n"));
    let page = rig.ask(request(FIREFOX, [203, 0, 113, 1], PAGE)).await.body;
    let link = own(&page, "t").unwrap();
    assert!(
        page.contains(&format!("<script type=\"ignore\"><a href=\"{link}\" rel=\"nofollow\"></a></script>")),
        "{page}"
    );
    assert!(!page.contains("hidden=\"\""), "{page}");
    let caught = rig.ask(request(FIREFOX, [203, 0, 113, 1], link)).await.record.assessment.unwrap();
    assert!(caught.signals.iter().any(|fired| fired.signal == Signal::HoneyLink));
}
