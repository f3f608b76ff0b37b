//! Whole logs, read by one thread or several.

mod odd;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::review::{FilterArgs, Filters, Report, Review, Source};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A file that is gone with the test.
struct Log(PathBuf);

impl Log {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("deckle-engine-{}-{}.log", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn source(&self) -> Source {
        Source::Path(self.0.clone())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn line(address: &str, time: &str, path: &str, agent: &str) -> String {
    format!("{address} - - [{time} +0000] \"GET {path} HTTP/1.1\" 200 9 \"-\" \"{agent}\"\n")
}

fn read(review: &Review, text: &str) -> Report {
    review.read(&[Log::new(text).source()]).report
}

#[test]
fn a_reader_is_no_suspect_and_numbers_add_up() {
    let mut text = String::new();
    for i in 0..12 {
        let time = format!("20/Nov/2026:10:{:02}:00", i * 2);
        for path in [format!("/news/a-b-c-{i}"), "/s.css".into(), "/a.jpg".into()] {
            text += &line("198.51.100.2", &time, &path, FIREFOX);
        }
    }
    text += "garbage\n\n{\"v\":1,\"time\":\"2026-11-2";
    let report = read(&Review::default(), &text);
    assert!(report.suspects.is_empty(), "{:?}", report.suspects);
    let quality = report.quality;
    let skipped: u64 = quality.skipped.values().sum();
    assert_eq!(quality.lines, quality.hits + quality.other + quality.empty + quality.filtered + skipped);
    assert_eq!((quality.skipped["malformed"], quality.skipped["torn"]), (1, 1));
}

#[test]
fn the_order_of_files_makes_no_scraper() {
    let days: Vec<Log> = (20..23)
        .map(|day| {
            let at = |i: u32| format!("{day}/Nov/2026:{:02}:{:02}:00", 8 + i / 3, i % 3 * 17);
            let text: String = (0..12)
                .flat_map(|i| [format!("/news/a-b-c-{day}-{i}"), "/s.css".into()].map(|path| (i, path)))
                .map(|(i, path)| line("203.0.113.9", &at(i), &path, FIREFOX))
                .collect();
            Log::new(&text)
        })
        .collect();
    let mut sources: Vec<Source> = days.iter().map(Log::source).collect();
    let report = |sources: &[Source]| {
        let mut report = Review::default().read(sources).report;
        report.source.files.clear();
        serde_json::to_string(&report).unwrap()
    };
    let sorted = report(&sources);
    sources.reverse();
    assert_eq!(report(&sources), sorted);
    assert!(sorted.contains("\"out_of_order\":0") && sorted.contains("Nobody looks like a scraper"), "{sorted}");
}

#[test]
fn files_of_several_servers_are_read_line_by_line() {
    // A balancer sends somebody who goes through the numbers, and readers, to three servers; chunks of each are full.
    let at = |i: u32| format!("20/Nov/2026:{:02}:{:02}:{:02}", 8 + i / 3_600, i / 60 % 60, i % 60);
    let lines: Vec<String> = (0..14_000_u32)
        .map(|i| match i % 3 {
            0 => line(&format!("10.0.{}.{}", i % 40, i % 7), &at(i), &format!("/news/x-y-z-{}", i % 90), FIREFOX),
            _ => line("203.0.113.9", &at(i), &format!("/news/a-b-c-{}", i - i / 3 - 1), "curl/8.5.0"),
        })
        .collect();
    let of = |server: u32| {
        let its = |(i, _): &(u32, &String)| i.wrapping_mul(2_654_435_761) >> 16 & 3 == server;
        Log::new(&(0..).zip(&lines).filter(its).map(|(_, line)| line.as_str()).collect::<String>())
    };
    let (whole, servers) = (Log::new(&lines.concat()), [of(0), of(1), of(2), of(3)]);
    assert!(servers.iter().all(|log| std::fs::metadata(&log.0).unwrap().len() > 300_000));
    let report = |jobs: usize, sources: &[Source]| {
        let mut report = Review::default().jobs(jobs).read(sources).report;
        report.source.files.clear();
        serde_json::to_string_pretty(&report).unwrap()
    };
    let expected = report(1, &[whole.source()]);
    let sources: Vec<Source> = servers.iter().map(Log::source).collect();
    for jobs in [1, 3] {
        assert_eq!(report(jobs, &sources), expected, "{jobs} threads");
    }
    assert!(expected.contains("numbers one by one") && expected.contains("\"out_of_order\": 0"), "{expected}");
}

/// A crowd of many homes, a robot and a scraper.
fn crowd(visitors: u32) -> String {
    let mut text = String::new();
    for i in 0..visitors {
        let time = format!("20/Nov/2026:{:02}:{:02}:{:02}", 8 + i / 3_600 % 10, i / 60 % 60, i % 60);
        let address = format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        text += &line(&address, &time, &format!("/news/a-b-c-{}", i % 50), FIREFOX);
        if i % 40 == 0 {
            text += &line("203.0.113.9", &time, &format!("/news/a-b-c-{}", i / 40), "curl/8.5.0");
        }
    }
    text
}

#[test]
fn threads_change_nothing() {
    let text = crowd(30_000);
    let of = |jobs| {
        let mut report = read(&Review::default().jobs(jobs), &text);
        report.source.files.clear();
        serde_json::to_string_pretty(&report).unwrap()
    };
    let one = of(1);
    assert_eq!(of(2), one);
    assert_eq!(of(5), one);
}

#[test]
fn who_matters_stays_when_memory_does_not_reach() {
    let text = crowd(60_000);
    let all = read(&Review::default().jobs(1), &text);
    let few = read(&Review::default().jobs(1).memory(4 << 20), &text);
    let approximate = few.source.approximate.expect("memory did not reach");
    assert!(approximate.hits > 10_000 && approximate.short_by < 100, "{approximate:?}");
    assert_eq!(
        (few.verdict.hits, &few.bandwidth[0].bytes),
        (all.verdict.hits, &all.bandwidth[0].bytes),
        "totals are exact"
    );
    let (kept, whole) = (few.verdict.visitors as f64, all.verdict.visitors as f64);
    assert!((kept / whole - 1.0).abs() < 0.05, "{kept} of {whole}");
    assert_eq!(few.suspects[0].user_agent.as_deref(), Some("curl/8.5.0"));
    assert_eq!((few.suspects[0].hits, few.suspects[0].articles), (all.suspects[0].hits, all.suspects[0].articles));
}

#[test]
fn articles_take_no_more_memory_than_they_may() {
    let at = |i: u32| format!("20/Nov/2026:{:02}:{:02}:{:02}", i / 3_600, i / 60 % 60, i % 60);
    let path = |i: u32| format!("/news/a-b-c-{i}-{}", "x".repeat(300));
    let text: String = (0..20_000).map(|i| line("203.0.113.9", &at(i), &path(i), "curl/8.5.0")).collect();
    let few = read(&Review::default().jobs(1).memory(1 << 20), &text);
    assert!((100..1_500).contains(&few.content.articles), "{}", few.content.articles);
    let note = few.quality.notes.iter().find(|note| note.contains("articles"));
    let left_out: u64 = note.unwrap().split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((left_out + few.content.articles).abs_diff(20_000) < 1_000, "{note:?}");
    assert_eq!((few.verdict.hits, few.suspects[0].hits), (20_000, 20_000), "requests are exact");
    let all = read(&Review::default().jobs(1), &text);
    assert_eq!((all.content.articles, all.quality.notes.len()), (20_000, 0));
}

#[test]
fn what_a_later_line_proves_counts() {
    let line = |second: u32, state: &str| {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-20T10:00:{second:02}.000Z\",\"deckle.seq\":{second},\"url.path\":\"/a-b-c\",\"http.response.status_code\":200,\"client.address\":\"203.0.113.9\",\"deckle.visitor.id\":\"x\",\"deckle.visitor.category\":\"search\",\"deckle.visitor.agent\":\"Googlebot\",\"deckle.visitor.verification\":\"{state}\",\"deckle.page.kind\":\"article\"}}\n"
        )
    };
    let text = line(1, "pending") + &line(2, "failed") + &line(3, "pending");
    let report = read(&Review::default(), &text);
    assert_eq!((report.agents[0].verification, report.agents[0].hits), ("failed", 3));
    assert!(report.suspects[0].reasons[0].contains("and is not"), "{:?}", report.suspects);
}

#[test]
fn what_stands_for_many_is_weighed_whatever_the_share() {
    let line = |at: u32, path: &str, kind: &str, sample: &str| {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-20T10:{:02}:{:02}.000Z\",\"deckle.seq\":{},\"url.path\":\"{path}\",\"http.response.status_code\":200,\"http.response.body.size\":1000,\"client.address\":\"203.0.113.0/24\",\"deckle.visitor.id\":\"v{}\",\"deckle.visitor.category\":\"browser\",\"deckle.action\":\"allow\",\"deckle.page.kind\":\"{kind}\",\"deckle.upstream_us\":2000{sample}}}\n",
            at / 60,
            at % 60,
            at + 1,
            at % 7
        )
    };
    let pages: String = (0..10).map(|at| line(at, "/a-b-c", "article", "")).collect();
    let assets: String = (10..310).map(|at| line(at, "/s.css", "asset", ",\"deckle.sample\":0.3")).collect();
    let of = |jobs| read(&Review::default().jobs(jobs), &(pages.clone() + &assets));
    let report = of(1);
    // 300 lines at three in ten are 1,000 requests, of which no line stands for a whole number.
    assert_eq!((report.quality.hits, report.verdict.hits, report.status.codes[0].hits), (310, 1_010, 1_010));
    let (row, agents) = (&report.bandwidth[0], &report.agents[0]);
    assert!(row.bytes.abs_diff(1_010_000) < 100 && agents.bytes.abs_diff(1_010_000) < 100, "{row:?} {agents:?}");
    assert!((row.upstream_s.unwrap() - 2.02).abs() < 0.001 && agents.hits == 1_010, "{row:?} {agents:?}");
    assert_eq!((report.actions.rows[0].done, report.time.heat.iter().flatten().sum::<u64>()), (1_010, 1_010));
    assert!(report.quality.sampled);
    let whole = |report: &Report| serde_json::to_value(report).unwrap()["verdict"].clone();
    assert_eq!(
        (whole(&of(3)), whole(&of(5))),
        (whole(&report), whole(&report)),
        "the number of threads changes nothing"
    );
}

#[test]
fn what_stands_beside_a_log_outlives_its_segments() {
    let dir = std::env::temp_dir().join(format!("deckle-beside-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("robots")).unwrap();
    let change = r#"{"time":"2026-10-01T00:00:00.000Z","host":"news.example:443","version":"0123456789ab"}"#;
    std::fs::write(dir.join("robots/history-w1.ndjson"), change).unwrap();
    std::fs::write(dir.join("robots/0123456789ab.txt"), "User-agent: *\nDisallow: /a\n").unwrap();
    let hit = r#"{"v":1,"time":"2026-11-20T10:00:00.000Z","deckle.seq":1,"server.address":"news.example","url.path":"/a-b-c","http.response.status_code":200,"client.address":"203.0.113.9","deckle.visitor.id":"x","deckle.visitor.category":"ai-train","deckle.visitor.agent":"GPTBot","deckle.visitor.verification":"unverifiable","deckle.page.kind":"article"}"#;
    std::fs::write(dir.join("audit-w1-20261120T000000Z-1.ndjson"), format!("{hit}\n")).unwrap();
    let report = Review::default().read(&[Source::Path(dir.clone())]).report;
    assert!(report.robots.evaluated);
    assert_eq!(report.robots.rows[0].never_asked, 1, "{:?}", report.robots.rows);
    std::fs::remove_dir_all(dir).unwrap();
}

/// A line of deckle's log: GPTBot takes an article.
fn taken(seq: u32, time: &str) -> String {
    format!(
        "{{\"v\":1,\"time\":\"{time}\",\"deckle.seq\":{seq},\"server.address\":\"news.example\",\"url.path\":\"/a-b-c\",\"http.response.status_code\":200,\"client.address\":\"203.0.113.9\",\"deckle.visitor.id\":\"x\",\"deckle.visitor.category\":\"ai-train\",\"deckle.visitor.agent\":\"GPTBot\",\"deckle.visitor.verification\":\"unverifiable\",\"deckle.page.kind\":\"article\"}}\n"
    )
}

#[test]
fn under_a_robots_txt_whose_text_is_nowhere_nobody_knows() {
    let robots = |seq: u32, time: &str, version: &str, text: &str| {
        format!(
            "{{\"v\":1,\"time\":\"{time}\",\"deckle.kind\":\"robots\",\"deckle.seq\":{seq},\"server.address\":\"news.example\",\"deckle.robots.version\":\"{version}\"{text}}}\n"
        )
    };
    let known = data_encoding::BASE64.encode(b"User-agent: *\nDisallow: /a\n");
    let text = robots(1, "2026-11-01T00:00:00.000Z", "0123456789ab", &format!(",\"text\":\"{known}\""))
        + &taken(2, "2026-11-05T00:00:00.000Z")
        // The line that held its text is gone, and so is the file.
        + &robots(3, "2026-11-10T00:00:00.000Z", "ba9876543210", "")
        + &taken(4, "2026-11-15T00:00:00.000Z")
        + &taken(5, "2026-11-15T01:00:00.000Z")
        + &robots(6, "2026-11-20T00:00:00.000Z", "0123456789ab", "")
        + &taken(7, "2026-11-25T00:00:00.000Z");
    let report = read(&Review::default(), &text);
    let row = &report.robots.rows[0];
    assert!(report.robots.evaluated && report.robots.versions == 2, "{:?}", report.robots);
    assert_eq!((row.never_asked, row.unknown, row.obeyed), (2, 2, 0), "{row:?}");
    assert_eq!(report.quality.robots_missing, 1);
    // Nothing else is known: then nothing is evaluated.
    let gone = robots(1, "2026-11-01T00:00:00.000Z", "ba9876543210", "");
    let report = read(&Review::default(), &(gone + &taken(2, "2026-11-05T00:00:00.000Z")));
    assert!(!report.robots.evaluated && report.robots.reason.unwrap().contains("nowhere"), "{:?}", report.robots);
}

#[test]
fn filters_leave_out_and_count() {
    let args = FilterArgs { agent: Some("curl".into()), ..FilterArgs::default() };
    let filters = Filters::new(&args, std::time::Duration::ZERO).unwrap();
    let report = read(&Review::default().filters(filters), &crowd(400));
    assert_eq!((report.quality.hits, report.quality.filtered, report.quality.lines), (10, 400, 410));
    assert_eq!(report.verdict.visitors, 1);
}

#[test]
fn who_has_read_robots_txt_has_read_it_whatever_is_looked_at() {
    let bot = "CCBot/2.0 (https://commoncrawl.org/faq/)";
    let text = line("203.0.113.9", "20/Nov/2026:10:00:00", "/robots.txt", bot)
        + &line("203.0.113.9", "20/Nov/2026:10:30:00", "/private/a-b-c", bot);
    let args = FilterArgs { path: Some("/private/**".into()), ..FilterArgs::default() };
    let filters = Filters::new(&args, std::time::Duration::ZERO).unwrap();
    let robots = b"User-agent: *\nDisallow: /private/\n";
    let report = read(&Review::default().filters(filters).robots(robots, std::time::Duration::ZERO), &text);
    let row = &report.robots.rows[0];
    assert_eq!((row.requests, row.fetches, row.read_then_ignored, row.never_asked), (1, 0, 1, 0), "{row:?}");
    assert_eq!((report.quality.hits, report.quality.filtered), (1, 1));
}

#[test]
fn a_site_without_robots_txt_forbids_nothing() {
    let bot = "CCBot/2.0 (https://commoncrawl.org/faq/)";
    let answered = |time: &str, path: &str, agent: &str, status: u16| {
        line("203.0.113.9", time, path, agent).replace(" 200 9 ", &format!(" {status} 9 "))
    };
    // It is a reader who gets the 404: he is counted by another thread than the robot.
    let text = answered("20/Nov/2026:10:00:00", "/robots.txt", FIREFOX, 404)
        + &answered("20/Nov/2026:11:00:00", "/private/a-b-c", bot, 200);
    for jobs in [1, 3] {
        let robots = read(&Review::default().jobs(jobs), &text).robots;
        assert!(robots.evaluated && robots.versions == 1, "{robots:?}");
        assert_eq!((robots.rows[0].obeyed, robots.rows[0].requests), (1, 1), "{robots:?}");
    }
    // With rules that hold but for that time.
    let text = text
        + &answered("20/Nov/2026:12:00:00", "/robots.txt", FIREFOX, 200)
        + &answered("20/Nov/2026:13:00:00", "/private/a-b-c", bot, 200)
        + &answered("22/Nov/2026:13:00:00", "/private/a-b-c", bot, 200)
        // Who is told 503 may fetch nothing, and who is not may.
        + &answered("24/Nov/2026:10:00:00", "/robots.txt", bot, 503)
        + &answered("24/Nov/2026:13:00:00", "/robots.txt", bot, 503)
        + &answered("25/Nov/2026:12:00:00", "/open", bot, 200)
        + &answered("25/Nov/2026:12:00:00", "/open", "Bytespider", 200);
    let rules = b"User-agent: *\nDisallow: /private/\n";
    for jobs in [1, 3] {
        let review = Review::default().jobs(jobs).robots(rules, std::time::Duration::ZERO);
        let robots = read(&review, &text).robots;
        let row = |agent: &str| robots.rows.iter().find(|row| row.agent == agent).unwrap();
        let of = |row: &crate::review::report::RobotsRow| {
            [row.obeyed, row.stale, row.read_then_ignored, row.never_asked, row.unknown]
        };
        assert_eq!(of(row("CCBot")), [3, 1, 1, 1, 0], "{robots:?}");
        assert_eq!(of(row("Bytespider")), [1, 0, 0, 0, 0], "{robots:?}");
    }
}

#[test]
fn a_first_line_longer_than_a_chunk_hides_nothing() {
    for length in [300_000, 900_000, 3_000_000] {
        let long = line("198.51.100.2", "20/Nov/2026:10:00:00", &format!("/{}", "x".repeat(length)), FIREFOX);
        let report = read(&Review::default(), &(long + &crowd(80)));
        let too_long = report.quality.skipped.get("too_long").copied().unwrap_or(0);
        assert_eq!((report.quality.lines, report.quality.hits + too_long), (83, 83), "{length}: {:?}", report.quality);
        assert_eq!(too_long, u64::from(length > 1 << 20));
    }
}

#[test]
fn a_report_to_be_handed_on_names_no_address() {
    let text = crowd(900)
        + &line("2001:db8:1:2::9", "20/Nov/2026:10:00:00", "/a-b-c-1", "curl/8")
        + &line("pc7.home.example", "20/Nov/2026:10:00:00", "/a-b-c-1", "curl/8");
    let whole = read(&Review::default(), &text);
    let cut = read(&Review::default().redact(true), &text);
    let json = serde_json::to_string(&cut).unwrap();
    assert!(json.contains("203.0.113.0/24") && !json.contains("203.0.113.9") && !json.contains("pc7"), "{json}");
    assert_eq!((cut.verdict.visitors, cut.verdict.suspects), (whole.verdict.visitors, whole.verdict.suspects));
}

#[test]
fn a_reading_that_is_stopped_says_so() {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let report = read(&Review::default().stop(stop), &crowd(120_000));
    assert!(report.source.partial);
    assert!(report.verdict.hits < 123_000, "{}", report.verdict.hits);
}
