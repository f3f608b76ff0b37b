//! Attacks on deckle itself, one test for each, named after it. What a unit test proves is not proven here again:
//!
//! | attack | proven by |
//! |---|---|
//! | memory exhaustion by new keys | `suspicion::cells`: a_flood_of_keys_takes_no_memory_and_frees_no_offender |
//! | eviction, amnesty | `suspicion::state`: a_flood_of_newcomers_forgets_neither_readers_nor_offenders |
//! | spoofed `X-Forwarded-For` | `visitor::address`: the_walk_finds_the_client, an_untrusted_peer_is_always_the_client |
//! | token replay | `challenge.rs`: a_token_is_good_once_and_for_its_host_and_its_time |
//! | forged tokens | `visitor::pass`: nothing_else_is_believed, rubbish_is_refused |
//! | open redirect, reflected content | `challenge.rs`: nothing_leads_elsewhere_or_into_the_page |
//! | DNS abuse | `visitor::dns::confirm`: two_ptr_trick, a_suffix_ends_at_a_label, long_answers_are_cut |
//! | a resolver that is a tarpit | `visitor::dns`: a_tarpit_is_left_after_three_timeouts, a_full_queue_drops_and_counts |
//! | calibration poisoned from one network | `suspicion::state::standing`: a_network_has_one_vote |

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::pin::Pin;
use std::task::Poll;

use deckle::audit::is_hidden;
use deckle::suspicion::Signal;
use deckle::visitor::Category;

use crate::cards::{ENFORCE, FIREFOX, HEADLESS, Rig, SCRIPT, TEXT, answer, article, request, site, with};
use crate::challenge::{CHALLENGED, cookie, is_challenge, location, way};
use crate::neighbours::record;
use crate::support::{Deckle, Upstream, get, read_answer, request_from};
use crate::traps::own;

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 23);

/// FNV-1a, a hash that anybody can compute.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Cells stand in sets of eight: whoever could choose who shares a set would have his debts forgotten.
#[tokio::test]
async fn hash_collisions() {
    let quiet = "caps = { claim = 0, headers = 0, network = 0, rate = 0, behaviour = 0, trap = 0, credit = 0 }";
    let quota = "page_hard = { every = \"1h\", burst = 3 }";
    let rig = Rig::new(&format!("{ENFORCE}[suspicion.score]\n{quiet}\n[action.limits]\n{quota}\n"));
    let network = |n: u64| Ipv6Addr::from(u128::from(0x2001_0DB8_0000_0000 | n) << 64 | 1);
    let sets = 98_304;
    let same = |ip: &Ipv6Addr| fnv(&ip.octets()[..8]) % sets == 7;
    let clients: Vec<Ipv6Addr> = (0..).map(network).filter(same).take(24).collect();
    for (round, status) in [200, 200, 200, 429].into_iter().enumerate() {
        for ip in &clients {
            let page = rig.ask(request(FIREFOX, *ip, "/news/a-b-c")).await;
            assert_eq!(page.status, status, "{ip}, page {round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn huge_user_agent() {
    let rig = Rig::new(ENFORCE);
    let huge = "x".repeat(64 << 10);
    let category = async |agent: &str| {
        let answer = rig.ask(with(request(SCRIPT, [203, 0, 113, 1], "/news/a-b-c"), "user-agent", agent)).await;
        answer.record.visitor.unwrap().agent.category
    };
    for (agent, expect) in [
        ("python-requests/2.34", Category::Library),
        ("Mozilla/5.0 (compatible; GPTBot/1.2)", Category::AiTrain),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Category::Browser),
    ] {
        assert_eq!(category(agent).await, expect);
        assert_eq!(category(&format!("{agent} {huge}")).await, expect, "what stands in front counts");
    }
    assert_eq!(category(&format!("{huge} python-requests/2.34")).await, Category::Browser, "and nothing else");
}

/// What a script does is not held against those who share its address.
#[tokio::test(start_paused = true)]
async fn framing_a_nat_neighbour() {
    let rig = Rig::new(ENFORCE);
    let ip: [u8; 4] = [203, 0, 113, 50];
    let reader =
        |number: usize, path: &str| with(request(FIREFOX, ip, path), "accept-language", &format!("x-{number}"));
    for number in 0..8 {
        assert_eq!(rig.ask(reader(number, "/news/a")).await.status, 200);
        for file in 0..8 {
            rig.ask(reader(number, &format!("/style-{file}.css"))).await;
        }
    }
    let mut served = 0;
    for path in ["/.env", "/.git/config", "/wp-login.php"] {
        rig.ask(request(SCRIPT, ip, path)).await;
    }
    for page in 0..200 {
        served += usize::from(rig.ask(request(SCRIPT, ip, &format!("/news/a-b-{page}"))).await.status == 200);
    }
    assert!(served <= 20, "{served}");
    for number in 0..8 {
        let page = rig.ask(reader(number, "/news/d-e-f")).await;
        assert_eq!((page.status, page.score()), (200, 0), "reader {number}: {:?}", page.record.assessment);
    }
}

/// A scraper that looks exactly like a reader at the same address costs that reader one challenge.
#[tokio::test(start_paused = true)]
async fn same_user_agent_behind_a_nat() {
    let rig = Rig::new("mode = \"enforce\"\n[suspicion]\nbeacon = \"always\"\n");
    let ask = |path: &str, cookie: &str| rig.ask(with(request(FIREFOX, [203, 0, 113, 60], path), "cookie", cookie));
    let first = ask("/news/a", "").await;
    ask(own(&first.body, "b").unwrap(), "").await;
    for file in 0..24 {
        ask(&format!("/style-{file}.css"), "").await;
    }
    let mut stopped = false;
    for page in 0..100 {
        rig.wait(1);
        stopped |= ask(&format!("/news/a-b-{page}"), "").await.status != 200;
    }
    assert!(stopped, "the scraper is found out");

    let page = ask("/news/d-e-f", "").await;
    assert!(is_challenge(&page), "{} {}", page.status, page.body);
    rig.wait(5);
    let passed = ask(&way(&page), "").await;
    let pass = cookie(&passed).unwrap();
    let clean = ask(location(&passed), &pass).await;
    assert_eq!(location(&clean), "/news/d-e-f");
    for page in 0..10 {
        let page = ask(&format!("/news/g-h-{page}"), &pass).await;
        assert_eq!((page.status, page.body.contains(TEXT)), (200, true), "{:?}", page.record.assessment);
        rig.wait(20);
        // The scraper goes on beside it.
        ask("/news/j-k", "").await;
    }
    let mut refused = 0;
    for page in 0..40 {
        rig.wait(1);
        refused += usize::from(ask(&format!("/news/l-m-{page}"), "").await.status != 200);
    }
    assert!(refused > 0, "which the pass of another does not help");
}

#[tokio::test]
async fn token_theft() {
    let rig = Rig::new(CHALLENGED);
    let first = rig.ask(request(HEADLESS, [203, 0, 113, 1], "/news/a-b-c")).await;
    rig.wait(5);
    let pass = cookie(&rig.ask(request(HEADLESS, [203, 0, 113, 1], &way(&first))).await).unwrap();
    let mut served = Vec::new();
    for network in 0..40 {
        let page = rig.ask(with(request(HEADLESS, [198, 18, network, 1], "/news/a-b-c"), "cookie", &pass)).await;
        assert_eq!(page.status == 200, !is_challenge(&page), "{network}");
        served.push(page.status == 200);
    }
    // A reader on the move is in a few networks within the hour; of more than a few, two may look alike.
    let good = served.iter().take_while(|served| **served).count();
    assert!((7..30).contains(&good) && !served[good..].contains(&true), "{served:?}");
    // For one in one place it is worth no more either.
    let home = rig.ask(with(request(HEADLESS, [203, 0, 113, 1], "/news/a-b-c"), "cookie", &pass)).await;
    assert!(is_challenge(&home), "{}", home.status);
}

/// The answer to a request that costs nothing is short, whatever was asked for.
#[tokio::test]
async fn challenge_amplification() {
    let rig = Rig::new(CHALLENGED);
    let mut lengths = Vec::new();
    for (last, path) in (1..).zip([
        "/".to_owned(),
        format!("/{}", "a".repeat(511)),
        format!("/{}", "%D0%BF".repeat(85)),
        format!("/{}", "a/".repeat(255)),
        format!("/?{}", "a=b&".repeat(127)),
        // Too long for anybody to be sent back to.
        format!("/{}", "a".repeat(8_000)),
        format!("/{}", "/".repeat(16_000)),
    ]) {
        let page = rig.ask(request(HEADLESS, [203, 0, 113, last], &path)).await;
        assert!(is_challenge(&page), "{path}");
        lengths.push((path.len(), page.body.len()));
    }
    assert!(lengths.iter().all(|(_, length)| *length <= 6 << 10), "{lengths:?}");
}

#[test]
fn log_injection() {
    let upstream = Upstream::fixed("Content-Type: text/html\r\n", b"<!doctype html><title>t</title>".to_vec(), 64);
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let path = "/a%0d%0aInjected:%201%1b[2J%9b31m";
    let agent = "Evil\u{202E}\u{9B}31m\u{2028}\t\\\",\"deckle.score\":0,\"injected\":\"";
    let fields = format!("User-Agent: {agent}\r\nReferer: http://x/\u{85}{{\"injected\":1}}\r\n");
    assert_eq!(get(CLIENT, deckle.address, path, &fields).status, 200);
    // What would be a line or an escape by itself is no request.
    for field in ["User-Agent: a\u{1B}[31mb", "User-Agent: a\rInjected: 1", "User-Agent: a\u{7F}"] {
        let raw = format!("GET /refused HTTP/1.1\r\nHost: news.example\r\nConnection: close\r\n{field}\r\n\r\n");
        assert_eq!(read_answer(request_from(CLIENT, deckle.address, &raw)).status, 400, "{field:?}");
    }
    let (lines, log) = deckle.stop();
    let written = record(&lines, path);
    assert_eq!(written["user_agent.original"], agent);
    assert!(written["deckle.score"].is_u64() && lines.iter().all(|line| line.get("injected").is_none()), "{written}");
    let files = std::fs::read_dir(log.path().join("log")).unwrap().flatten().map(|entry| entry.path());
    let mut texts = 0;
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "ndjson")) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
        texts += 1;
    }
    assert!(texts > 0);
}

/// Nothing that a request says makes deckle open a connection.
#[test]
fn server_side_requests() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let at = target.local_addr().unwrap();
    let upstream = Upstream::fixed("Content-Type: text/html\r\n", b"<!doctype html><title>t</title>".to_vec(), 64);
    let deckle = Deckle::start(&["--upstream", &upstream.url()]);
    let signed = "sig1=(\"@authority\" \"signature-agent\");created=1790000000;keyid=\"x\";tag=\"web-bot-auth\"";
    for fields in [
        format!("Signature-Agent: \"http://{at}\"\r\nSignature-Input: {signed}\r\nSignature: sig1=:AAAA:\r\n"),
        format!("X-Forwarded-Host: {at}\r\nForwarded: for=\"{at}\";host=\"{at}\"\r\nX-Original-URL: http://{at}/\r\n"),
        format!("Referer: http://{at}/\r\nOrigin: http://{at}\r\nFrom: bot@{at}\r\n"),
    ] {
        assert_eq!(get(CLIENT, deckle.address, "/a", &fields).status, 200, "{fields}");
    }
    let proxied = format!("GET http://{at}/a HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    read_answer(request_from(CLIENT, deckle.address, &proxied));
    // A connection that was ever opened would wait here, even now that the program has ended.
    deckle.stop();
    assert_eq!(target.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What a future has when it is asked once.
async fn once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn slow_connections() {
    let rig = Rig::new(ENFORCE);
    let ask = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Box::pin(rig.status(request(HEADLESS, [198, 18, high, low], "/news/a-b-c")))
    };
    let mut waiting: Vec<_> = (0..256).map(ask).collect();
    for request in &mut waiting {
        assert_eq!(once(request).await, None, "each of these waits");
    }
    assert_eq!(once(&mut ask(256)).await, Some(200), "and the next one is served at once");
    drop(waiting);
    assert_eq!(once(&mut ask(257)).await, None, "whoever has gone holds nothing");
}

/// A page is a page, whatever somebody has it sent as.
#[tokio::test(start_paused = true)]
async fn path_type_poisoning() {
    let rig = Rig::around(ENFORCE, |request| {
        let accepts = request.headers().get("accept").map(http::HeaderValue::as_bytes);
        match accepts {
            Some(b"application/rss+xml") => answer(200, "application/rss+xml", article()),
            _ => site(request),
        }
    });
    let counts = async |field: (&'static str, &str), path: &str| {
        let ask = with(request(SCRIPT, [203, 0, 113, 2], path), field.0, field.1);
        rig.ask(ask).await.record.assessment.unwrap().counts_as_page
    };
    rig.ask(request(FIREFOX, [203, 0, 113, 1], "/news/a-b-c")).await;
    for _ in 0..2 {
        for (field, path) in [
            (("accept", "application/rss+xml"), "/news/a-b-c"),
            (("accept", "application/json"), "/news/a-b-c"),
            (("x-requested-with", "XMLHttpRequest"), "/news/a-b-c"),
            (("sec-fetch-dest", "image"), "/news/a-b-c"),
            (("accept", "*/*"), "/news/a-b-c;x.css"),
            (("accept", "*/*"), "/robots.txt/../news/a-b-c"),
            (("accept", "*/*"), "//news/%61-b-c/"),
        ] {
            assert!(counts(field, path).await, "{field:?} {path}");
        }
    }
    // deckle's own refusals teach nothing about the path.
    let blocked = with(request(SCRIPT, [203, 0, 113, 3], "/feed"), "user-agent", "Mozilla/5.0 (Nikto/2.1.6)");
    let blocked = rig.ask(with(blocked, "accept", "text/html")).await;
    assert_eq!((blocked.status, blocked.headers["content-type"].to_str().unwrap()), (403, "text/html; charset=utf-8"));
    assert!(!counts(("accept", "*/*"), "/feed").await);
}

/// Whoever has just come has no say in what is usual here, however many they are.
#[tokio::test]
async fn calibration_poisoning() {
    let rig = Rig::new(ENFORCE);
    let fires = async |network: u8| {
        let mut ask = request(FIREFOX, [198, 18, network, 1], "/news/a-b-c");
        ask.headers_mut().remove("accept-language");
        let assessment = rig.ask(ask).await.record.assessment.unwrap();
        assessment.signals.iter().any(|fired| fired.signal == Signal::NoAcceptLanguage)
    };
    for round in 0..3 {
        for network in 0..=255 {
            assert!(fires(network).await, "{round} {network}");
        }
        rig.wait(400);
    }
}

#[tokio::test(start_paused = true)]
async fn hiding_as_preview_feed_or_reader() {
    for (agent, most) in [
        ("facebookexternalhit/1.1", 0),
        ("Feedly/1.0 (+https://feedly.com/fetcher.html; 12 subscribers)", 150),
        ("Lynx/2.9.0dev.12 libwww-FM/2.14", 200),
    ] {
        let rig = Rig::new(ENFORCE);
        let ask = |path: &str| {
            let fields = [("user-agent", agent), ("accept", "text/html, */*;q=0.8"), ("accept-encoding", "gzip")];
            rig.ask(request(&fields, [203, 0, 113, 1], path))
        };
        let mut texts = 0;
        for page in 0..400 {
            rig.wait(1);
            texts += usize::from(ask(&format!("/news/a-b-{page}")).await.body.contains(TEXT));
        }
        assert!(texts <= most, "{agent}: {texts} of 400");
        if agent.starts_with("Feedly") {
            assert_eq!(ask("/feed").await.status, 200, "feeds are what it is for");
        }
    }
}
