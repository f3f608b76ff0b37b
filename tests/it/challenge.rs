//! The challenge: who sees its page, the two ways past it, and what leads nobody past it.

use std::collections::BTreeSet;

use deckle::DeckleLayer;
use deckle::action::{Action, ChallengeStep};
use deckle::config::Config;
use deckle::visitor::Peer;
use http::Method;
use sha2::{Digest, Sha256};

use crate::cards::{Answer, FIREFOX, HEADLESS, IMESSAGE, PREVIEW, Rig, SCRIPT, TEXT, request, with};
use crate::support::TempDir;

/// Whoever says that it is automated is challenged at once, and nothing else is held against anybody.
pub(crate) const CHALLENGED: &str = "mode = \"enforce\"\n[suspicion.score]\nsignals = { claim_headless = 75 }\n\
    caps = { claim = 75, network = 0, rate = 0, behaviour = 0 }\n";
const IP: [u8; 4] = [203, 0, 113, 1];
const OTHER: [u8; 4] = [203, 0, 113, 200];
const PAGE: &str = "/news/a-b-c";

pub(crate) fn is_challenge(answer: &Answer) -> bool {
    answer.body.contains("http-equiv=\"refresh\"")
}

fn step(answer: &Answer) -> Option<ChallengeStep> {
    answer.decision().challenge
}

/// What stands in quotes behind a text.
fn quoted<'p>(page: &'p str, before: &str) -> &'p str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split('"').next().unwrap()
}

/// As a browser reads it.
fn address(page: &str, before: &str) -> String {
    quoted(page, before).replace("&#x2f;", "/").replace("&amp;", "&")
}

fn token(page: &Answer) -> &str {
    quoted(&page.body, "data-token=\"")
}

/// Where the link leads, and without a click the refresh.
pub(crate) fn way(page: &Answer) -> String {
    let link = quoted(&page.body, "<a class=\"go\" href=\"");
    assert!(page.body.contains(&format!("; url={link}\">")), "{}", page.body);
    address(&page.body, "<a class=\"go\" href=\"")
}

pub(crate) fn location(answer: &Answer) -> &str {
    answer.headers["location"].to_str().unwrap()
}

/// What a browser sends back.
pub(crate) fn cookie(answer: &Answer) -> Option<String> {
    let line = answer.headers.get("set-cookie")?.to_str().unwrap();
    line.split(';').next().map(str::to_owned)
}

#[tokio::test]
async fn the_page_is_a_refusal_that_says_what_happens() {
    let rig = Rig::new(CHALLENGED);
    let mut nonces = BTreeSet::new();
    let long = format!("/news/{}", "a-report-".repeat(56));
    for (last, accepts, lang, path) in [
        (1, "de-AT,de;q=0.9", "de", PAGE),
        (2, "en;q=0.1, pl", "pl", long.as_str()),
        (3, "zh-CN", "en", PAGE),
        (4, "*", "en", PAGE),
    ] {
        let page = rig.ask(with(request(HEADLESS, [203, 0, 113, last], path), "accept-language", accepts)).await;
        let decision = (page.decision().action, page.decision().challenge);
        assert_eq!((page.status, decision), (429, (Action::Challenge, Some(ChallengeStep::Issued))), "{lang}");
        assert_eq!(
            (page.headers["retry-after"].as_bytes(), page.headers["cache-control"].as_bytes()),
            (&b"5"[..], &b"no-store"[..])
        );
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        let nonce = policy.split_once("script-src 'nonce-").unwrap().1.split('\'').next().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && nonce.len() >= 16, "{policy}");
        for element in ["script", "style"] {
            assert!(page.body.contains(&format!("<{element} nonce=\"{nonce}\"")), "{element}: {}", page.body);
        }
        assert!(nonces.insert(nonce.to_owned()), "each page has a nonce of its own");
        assert!(page.body.contains(&format!("<html lang=\"{lang}\"")), "{accepts}: {}", page.body);
        assert!(page.body.len() <= 6 << 10, "{lang}: {} bytes", page.body.len());
        // Search engines would take the address out of their index.
        assert!(!page.body.contains("noindex") && !page.headers.contains_key("x-robots-tag"));
        assert!(!page.body.contains("src=") && !page.body.contains(TEXT), "nothing else is fetched: {}", page.body);
    }
    assert!(rig.seen.lock().unwrap().is_empty(), "the site has nothing to do with it");
}

#[tokio::test]
async fn only_what_a_person_waits_for_is_answered_with_the_page() {
    let rig = Rig::new(CHALLENGED);
    // From now on it is known that the path is a page.
    assert_eq!(rig.ask(request(FIREFOX, OTHER, PAGE)).await.status, 200);
    let fetch = [("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    for (last, method, fields) in [(1, Method::POST, &[][..]), (2, Method::GET, &fetch[..])] {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let mut ask = request(HEADLESS, [203, 0, 113, last], PAGE);
            *ask.method_mut() = method.clone();
            let answer = rig.ask(fields.iter().fold(ask, |ask, &(name, value)| with(ask, name, value))).await;
            assert!(!is_challenge(&answer), "{method}: {}", answer.body);
            statuses.push(answer.status);
        }
        assert_eq!(statuses, [200, 200, 429], "{method}: a trickle instead");
    }
    assert!(is_challenge(&rig.ask(request(HEADLESS, IP, PAGE)).await));
    for (path, kind) in [("/feed", "application/rss+xml"), ("/style.css", "text/css")] {
        let answer = rig.ask(request(HEADLESS, IP, path)).await;
        assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (200, kind), "{path}");
    }
}

#[tokio::test]
async fn whoever_waits_is_let_through() {
    use ChallengeStep::{Early, Issued, Passed};
    for (secure, name, attributes) in [
        (false, "dk", "Path=/; Max-Age=604800; HttpOnly; SameSite=Lax"),
        (true, "__Host-dk", "Path=/; Max-Age=604800; Secure; HttpOnly; SameSite=Lax"),
    ] {
        let rig = Rig::new(CHALLENGED);
        let ask = |path: &str, cookie: &str| {
            let mut ask = with(request(HEADLESS, IP, path), "cookie", cookie);
            ask.extensions_mut().insert(Peer { address: (IP, 1).into(), secure });
            rig.ask(ask)
        };
        let first = ask("/news/a-b-c?page=2", "").await;
        assert_eq!(step(&first), Some(Issued));
        rig.wait(3);
        // As often as somebody likes: it is not counted.
        for _ in 0..4 {
            let early = ask(&way(&first), "").await;
            assert_eq!((early.status, step(&early), token(&early)), (429, Some(Early), token(&first)));
            assert!(early.body.contains("another 1 s,") && early.body.contains("content=\"2; url="), "{}", early.body);
        }
        rig.wait(2);
        let passed = ask(&way(&first), "").await;
        assert_eq!((passed.status, step(&passed)), (303, Some(Passed)));
        assert_eq!(passed.headers["cache-control"], "no-store");
        let line = passed.headers["set-cookie"].to_str().unwrap();
        // Last is what Lynx does not understand.
        assert!(line.starts_with(&format!("{name}=")) && line.ends_with(&format!("; {attributes}")), "{line}");
        assert!(location(&passed).starts_with("/news/a-b-c?page=2&__dk="), "{}", location(&passed));

        let pass = cookie(&passed).unwrap();
        let clean = ask(location(&passed), &pass).await;
        assert_eq!((clean.status, location(&clean), step(&clean)), (303, "/news/a-b-c?page=2", Some(Passed)));
        let page = ask(location(&clean), &pass).await;
        assert_eq!((page.status, step(&page), page.body.contains(TEXT)), (200, None, true));
        assert_eq!(cookie(&page).or_else(|| cookie(&clean)), None, "one is enough");
        assert_eq!(*rig.seen.lock().unwrap(), ["/news/a-b-c?page=2"]);
        // Without the cookie nobody is known again.
        assert!(is_challenge(&ask(PAGE, "a=b").await));
    }
}

#[tokio::test]
async fn whoever_works_need_not_wait() {
    let rig = Rig::new(&format!("{CHALLENGED}[action.challenge]\nbits = 12\n"));
    let first = rig.ask(request(HEADLESS, IP, PAGE)).await;
    assert_eq!(quoted(&first.body, "data-bits=\""), "12");
    let url = address(&first.body, "data-url=\"");
    let is_work = |number: &u64| {
        let digest = Sha256::new().chain_update(token(&first).as_bytes()).chain_update(number.to_le_bytes()).finalize();
        digest[0] == 0 && digest[1] >> 4 == 0
    };
    let wrong = (0..1 << 24).find(|number| !is_work(number)).unwrap();
    let refused = rig.ask(request(HEADLESS, IP, &format!("{url}&n={wrong}"))).await;
    assert_eq!((step(&refused), cookie(&refused)), (Some(ChallengeStep::Refused), None));
    assert!(is_challenge(&refused) && token(&refused) != token(&first), "another one");
    let right = (0..1 << 24).find(is_work).unwrap();
    let passed = rig.ask(request(HEADLESS, IP, &format!("{url}&n={right}"))).await;
    assert_eq!((passed.status, step(&passed)), (303, Some(ChallengeStep::Passed)));
    let page = rig.ask(with(request(HEADLESS, IP, PAGE), "cookie", &cookie(&passed).unwrap())).await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn a_token_is_good_once_and_for_its_host_and_its_time() {
    let rig = Rig::new(CHALLENGED);
    let first = rig.ask(request(HEADLESS, IP, PAGE)).await;
    rig.wait(5);
    let changed = way(&first).replacen("t=A", "t=B", 1);
    assert_ne!(changed, way(&first));
    let long = format!("/.deckle/c/w?t={}&u={PAGE}", "A".repeat(56));
    let foreign = with(request(HEADLESS, IP, &way(&first)), "host", "other.example");
    let made_up = ["/.deckle/c/w?u=/news/a-b-c", long.as_str(), changed.as_str()];
    for ask in made_up.map(|path| request(HEADLESS, IP, path)).into_iter().chain([foreign]) {
        let path = ask.uri().clone();
        // On to the page, which says what comes.
        let answer = rig.ask(ask).await;
        assert_eq!((answer.status, location(&answer), cookie(&answer)), (303, PAGE, None), "{path}");
        assert_eq!(step(&answer), Some(ChallengeStep::Refused), "{path}");
    }
    // A program that looks at a link first must not use it up.
    let mut look = request(HEADLESS, IP, &way(&first));
    *look.method_mut() = Method::HEAD;
    assert_eq!(cookie(&rig.ask(look).await), None);

    assert!(cookie(&rig.ask(request(HEADLESS, IP, &way(&first))).await).is_some());
    for ip in [IP, OTHER] {
        let again = rig.ask(request(HEADLESS, ip, &way(&first))).await;
        assert_eq!((again.status, cookie(&again), step(&again)), (429, None, Some(ChallengeStep::Refused)), "{ip:?}");
        assert!(is_challenge(&again) && token(&again) != token(&first), "{ip:?}");
    }
    for (ip, seconds, good) in [([203, 0, 113, 2], 300, true), ([203, 0, 113, 3], 301, false)] {
        let first = rig.ask(request(HEADLESS, ip, PAGE)).await;
        rig.wait(seconds);
        let answer = rig.ask(request(HEADLESS, ip, &way(&first))).await;
        assert_eq!((cookie(&answer).is_some(), is_challenge(&answer)), (good, !good), "{seconds} s");
    }
}

#[tokio::test]
async fn whoever_keeps_no_cookies_reads_on_slowly() {
    let rig = Rig::new(CHALLENGED);
    let ask = |path: &str| rig.ask(request(HEADLESS, IP, path));
    let first = ask("/news/a-b-c?page=2").await;
    rig.wait(5);
    let back = location(&ask(&way(&first)).await).to_owned();
    let page = ask(&back).await;
    assert_eq!((page.status, step(&page)), (200, Some(ChallengeStep::Spared)));
    assert_eq!(*rig.seen.lock().unwrap(), ["/news/a-b-c?page=2"], "the site knows nothing of the mark");
    // It is good once: shown again, it is only taken off.
    let again = rig.ask(request(HEADLESS, OTHER, &back)).await;
    assert_eq!((again.status, location(&again)), (303, "/news/a-b-c?page=2"));

    let mut statuses = Vec::new();
    for page in 0..8 {
        let answer = ask(&format!("/news/{page}")).await;
        let limit = answer.decision().limit.map(|limit| limit.name);
        assert_eq!(limit, (answer.status == 429).then_some("breaker"));
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429], "six at once, the first one with them");
    // For half an hour.
    for _ in 0..29 {
        rig.wait(61);
        assert_eq!(ask(PAGE).await.status, 200);
    }
    rig.wait(61);
    assert!(is_challenge(&ask(PAGE).await));
}

#[tokio::test]
async fn nobody_sees_more_than_three_in_a_row() {
    let rig = Rig::new(CHALLENGED);
    let mut shown = Vec::new();
    for _ in 0..12 {
        shown.push(is_challenge(&rig.ask(request(HEADLESS, IP, PAGE)).await));
        // Those of one moment would count as one.
        rig.wait(5);
    }
    assert_eq!(shown, [[true; 3].as_slice(), &[false; 9]].concat(), "nobody comes back");

    let ask = |path: &str| rig.ask(request(HEADLESS, OTHER, path));
    let (mut answer, mut pages) = (ask(PAGE).await, 0);
    while is_challenge(&answer) {
        pages += 1;
        assert!(pages <= 3, "{}", answer.body);
        answer = ask(&format!("{}&n=wrong", address(&answer.body, "data-url=\""))).await;
    }
    assert_eq!((pages, answer.status, step(&answer)), (3, 303, Some(ChallengeStep::Spared)), "somebody fails");
    let page = ask(location(&answer)).await;
    assert_eq!((page.status, step(&page)), (200, Some(ChallengeStep::Spared)));
}

#[tokio::test]
async fn nothing_leads_elsewhere_or_into_the_page() {
    let rig = Rig::new(CHALLENGED);
    let elsewhere = [
        "//evil.example/",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:%20a=b",
        "/%22%3E%3Cscript%3E",
        "",
    ];
    let mut back = String::new();
    for (last, wished) in (1..).zip(elsewhere) {
        let first = rig.ask(request(HEADLESS, [203, 0, 113, last], PAGE)).await;
        rig.wait(5);
        for (token, to) in [("made-up", "/"), (token(&first), "/?__dk=")] {
            let path = format!("/.deckle/c/w?t={token}&u={wished}");
            let answer = rig.ask(request(HEADLESS, [203, 0, 113, last], &path)).await;
            let (led, mark) = location(&answer).split_at(to.len());
            assert_eq!((answer.status, led, mark.is_empty()), (303, to, to == "/"), "{path}: {}", location(&answer));
            assert!(!mark.contains(['/', ':', '\\']), "{path}: {mark}");
            back = format!("__dk={mark}; {}", cookie(&answer).unwrap_or_default());
        }
    }
    let (mark, pass) = back.split_once("; ").unwrap();
    for path in ["//evil.example/", "/\\evil.example/"] {
        let answer = rig.ask(with(request(HEADLESS, IP, &format!("{path}?{mark}")), "cookie", pass)).await;
        assert_eq!((answer.status, location(&answer)), (303, "/"), "{path}");
    }
    // On the page, everything from outside is part of an address.
    let path = "/news/'onmouseover='alert(1)?a=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&b='";
    let first = rig.ask(request(HEADLESS, OTHER, path)).await;
    let early = format!("/.deckle/c/w?t={}&u={path}", token(&first));
    for page in [first, rig.ask(request(HEADLESS, OTHER, &early)).await] {
        assert!(is_challenge(&page) && page.body.matches("<script").count() == 1, "{}", page.body);
        assert!(!page.body.contains("alert(1)") && !page.body.contains("'onmouse"), "{}", page.body);
    }
}

#[tokio::test]
async fn whoever_only_observes_challenges_nobody() {
    let rig = Rig::new(&CHALLENGED.replace("enforce", "observe"));
    let page = rig.ask(request(HEADLESS, IP, PAGE)).await;
    assert_eq!(
        (page.status, page.decision().action, page.decision().would),
        (200, Action::Allow, Some(Action::Challenge))
    );
    assert!(page.body.contains(TEXT) && step(&page).is_none());
    // Somebody who still has a page of before.
    let answer = rig.ask(request(HEADLESS, IP, "/.deckle/c/w?t=old&u=/news/a-b-c")).await;
    assert_eq!((answer.status, location(&answer), cookie(&answer)), (303, PAGE, None));
    assert_eq!(step(&answer), Some(ChallengeStep::Spared));
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_readers_here_is_never_challenged() {
    // The least that counts at all leads to a challenge.
    let rig = Rig::new("mode = \"enforce\"\n[suspicion.score]\nbuckets = [1, 2, 3, 4, 99, 100]\n");
    const GOOGLE: &[(&str, &str)] = &[
        ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ("accept", "text/html"),
    ];
    let mut table = Vec::new();
    for (fields, ip) in [
        (SCRIPT, [203, 0, 113, 2]),
        (GOOGLE, [66, 249, 66, 1]),
        (GOOGLE, [203, 0, 113, 3]),
        (PREVIEW, [203, 0, 113, 4]),
        (IMESSAGE, [203, 0, 113, 5]),
    ] {
        let (mut challenged, mut refused) = (false, false);
        for page in 0..60 {
            let answer = rig.ask(request(fields, ip, &format!("/news/a-b-{page}"))).await;
            challenged |= is_challenge(&answer);
            refused |= answer.status != 200;
        }
        table.push((challenged, refused));
    }
    // A script is; a proven crawler gets all, and who only says so, as any preview, is asked to come back later.
    assert_eq!(table, [(true, true), (false, false), (false, true), (false, true), (false, true)]);
}

#[tokio::test]
async fn the_status_is_one_that_nobody_takes_for_the_page() {
    let config = |status: u16| format!("{CHALLENGED}[action.challenge]\nstatus = {status}\n");
    let refused = DeckleLayer::builder().config(Config::from_toml(&config(200)).unwrap()).build().unwrap_err();
    assert!(refused.to_string().contains("`action.challenge.status` is `200`"), "{refused}");
    for status in [403, 503] {
        let page = Rig::new(&config(status)).ask(request(HEADLESS, IP, PAGE)).await;
        assert_eq!((page.status, is_challenge(&page)), (status, true));
    }
}

#[tokio::test]
async fn eight_tabs_of_one_browser_all_get_through() {
    let rig = Rig::new(CHALLENGED);
    let tabs: Vec<String> = (0..8).map(|tab| format!("/news/a-b-{tab}")).collect();
    let ask = |path: &str, cookie: &str| rig.ask(with(request(HEADLESS, IP, path), "cookie", cookie));
    let mut opened = Vec::new();
    for tab in &tabs {
        opened.push(ask(tab, "").await);
    }
    rig.wait(5);
    let mut jar: Vec<String> = Vec::new();
    let (waiting, served): (Vec<Answer>, Vec<Answer>) = opened.into_iter().partition(is_challenge);
    assert!(waiting.len() >= 3 && served.iter().all(|answer| answer.status == 200), "{}", waiting.len());
    for answer in &waiting {
        let passed = ask(&way(answer), &jar.join("; ")).await;
        assert_eq!((passed.status, step(&passed)), (303, Some(ChallengeStep::Passed)));
        jar.extend(cookie(&passed));
    }
    assert_eq!(jar.len(), 1, "the first one brought the cookie for all");
    for tab in &tabs {
        let page = ask(tab, &jar[0]).await;
        assert_eq!((page.status, page.body.contains(TEXT)), (200, true), "{tab}");
    }
}

#[tokio::test]
async fn a_site_has_a_page_of_its_own() {
    let dir = TempDir::new();
    let config = format!("{CHALLENGED}[action]\ntemplates = \"{}\"\n", dir.path().display());
    let ours = include_str!("../../assets/pages/challenge.html");
    let file = dir.path().join("challenge.html");
    std::fs::write(&file, ours.replace("<main>", "<main><p>The Herald</p>")).unwrap();
    let rig = Rig::new(&config);
    let page = rig.ask(request(HEADLESS, IP, PAGE)).await;
    assert!(is_challenge(&page) && page.body.contains("The Herald"), "{}", page.body);
    rig.wait(5);
    let through = rig.ask(request(HEADLESS, IP, &way(&page))).await;
    assert_eq!((through.status, step(&through)), (303, Some(ChallengeStep::Passed)));
    // What would leave a reader in front of it is refused when it is read.
    for (gone, says) in [
        ("<p><a class=\"go\" href=\"{{ wait_url }}\">{{ words.proceed }}</a></p>", "it lacks a link"),
        ("<meta http-equiv=\"refresh\" content=\"{{ wait }}; url={{ wait_url }}\">", "http-equiv"),
        ("{{ words.title }}", "words.titel"),
    ] {
        let changed =
            if gone == "{{ words.title }}" { ours.replace(gone, "{{ words.titel }}") } else { ours.replace(gone, "") };
        std::fs::write(&file, changed).unwrap();
        let refused = DeckleLayer::builder().config(Config::from_toml(&config).unwrap()).build().unwrap_err();
        let message = format!("{refused:#}");
        assert!(message.contains("action.templates") && message.contains("challenge.html"), "{message}");
        assert!(says == "words.titel" || message.contains(says), "{message}");
    }
}
