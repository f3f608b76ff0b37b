//! Action `decoy`: who gets filler, and that nobody else ever sees it.

use deckle::DeckleLayer;
use deckle::action::Action;
use deckle::config::Config;
use deckle::rights::robots::Robots;

use crate::cards::{Answer, FIREFOX, Fields, Rig, TEXT, request};
use crate::challenge::location;

/// A probe for holes is worth 60 points, and a library 25: together they would block.
const DECOYS: &str = "mode = \"enforce\"\n[suspicion.score]\nsignals = { exploit_probe = 60 }\n\
    [action.decoy]\nenabled = true\ni_have_read = \"yes\"\n";
const CURL: Fields = &[("user-agent", "curl/8.7.1"), ("accept", "*/*")];
const CRAWLER: Fields = &[("user-agent", "Mozilla/5.0 (compatible; archive.org_bot)"), ("accept", "*/*")];
const IP: [u8; 4] = [203, 0, 113, 1];

async fn probe(rig: &Rig, fields: Fields, ip: [u8; 4]) {
    assert_eq!(rig.ask(request(fields, ip, "/.env")).await.status, 404);
}

fn is_filler(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("This page is generated filler")
}

#[tokio::test]
async fn who_is_in_a_trap_gets_filler_in_place_of_the_site() {
    let rig = Rig::new(DECOYS);
    probe(&rig, CURL, IP).await;
    rig.seen.lock().unwrap().clear();
    let away = rig.ask(request(CURL, IP, "/news/a-b-c")).await;
    assert_eq!((away.status, away.decision().action, away.score()), (303, Action::Decoy, 85));
    assert_eq!(away.headers["cache-control"], "no-store");
    let mut path = location(&away).to_owned();
    for _ in 0..5 {
        let page = rig.ask(request(CURL, IP, &path)).await;
        assert!(is_filler(&page) && !page.body.contains(TEXT) && page.body.len() <= 4_096, "{}", page.body);
        assert_eq!(
            (page.decision().action, page.headers["x-robots-tag"].as_bytes()),
            (Action::Decoy, &b"noindex, nofollow"[..])
        );
        let (_, next) = page.body.split_once("<a rel=\"nofollow\" href=\"").unwrap();
        next.split('"').next().unwrap().clone_into(&mut path);
    }
    assert!(rig.seen.lock().unwrap().is_empty(), "the site has nothing to do with it");
    // Nobody else ever sees it.
    for (fields, ip) in [(FIREFOX, IP), (CURL, [203, 0, 113, 2]), (CRAWLER, IP)] {
        let page = rig.ask(request(fields, ip, &path)).await;
        assert_eq!((page.status, page.body.as_str()), (404, ""), "{fields:?}");
    }
    let robots = rig.ask(request(FIREFOX, [203, 0, 113, 3], "/robots.txt")).await;
    let robots = Robots::parse(robots.body.as_bytes());
    for agent in ["Googlebot", "FooBot"] {
        assert!(!robots.allows(agent, &path) && robots.allows(agent, "/news/a-b-c"), "{agent}: {robots:?}");
    }
}

#[tokio::test]
async fn a_flood_gets_refusals() {
    let rig = Rig::new(DECOYS);
    let mut seen = Vec::new();
    for n in 0..20 {
        let ip = [203, 0, n, 1];
        probe(&rig, CURL, ip).await;
        let answer = rig.ask(request(CURL, ip, "/news/a-b-c")).await;
        seen.push((answer.status, answer.decision().action));
    }
    assert_eq!(seen[15..17], [(303, Action::Decoy), (403, Action::Block)], "{seen:?}");
    rig.wait(1);
    assert_eq!(rig.ask(request(CURL, [203, 0, 19, 1], "/news/a-b-c")).await.status, 303);
}

#[tokio::test]
async fn it_is_off_unless_somebody_wants_it() {
    let off = DECOYS.split("[action.decoy]").next().unwrap();
    let rig = Rig::new(off);
    probe(&rig, CURL, IP).await;
    let page = rig.ask(request(CURL, IP, "/news/a-b-c")).await;
    assert_eq!((page.status, page.decision().action), (403, Action::Block));
    assert!(!is_filler(&rig.ask(request(CURL, IP, "/.deckle/m/0123abcd/")).await));
    // An archive would keep it, a search engine would show it.
    let rig = Rig::new(DECOYS);
    probe(&rig, CRAWLER, IP).await;
    assert_ne!(rig.ask(request(CRAWLER, IP, "/news/a-b-c")).await.status, 303);
    let watching = Rig::new(&DECOYS.replace("enforce", "observe"));
    probe(&watching, CURL, IP).await;
    let page = watching.ask(request(CURL, IP, "/news/a-b-c")).await;
    assert_eq!((page.status, page.decision().would), (200, Some(Action::Decoy)));
    assert_eq!(watching.ask(request(CURL, IP, "/.deckle/m/0123abcd/")).await.status, 404);
    let unread = Config::from_toml("[action.decoy]\nenabled = true\n").unwrap();
    let error = DeckleLayer::builder().config(unread).build().unwrap_err().to_string();
    assert!(error.contains("i_have_read"), "{error}");
}
