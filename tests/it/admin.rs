//! The admin listener over real sockets: what it answers, to whom, and that the public one answers nothing of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use deckle::clock::SystemClock;

use crate::support::{Answer, PATIENCE, TempDir, read_answer, request_from};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// `deckle proxy`, and what it says on its two outputs.
pub(crate) struct Program {
    child: Child,
    /// The first line of standard output; empty: it ended without one.
    first_line: String,
    /// Lines of its standard error.
    told: Receiver<String>,
    dir: TempDir,
}

impl Program {
    pub(crate) fn start(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("deckle.toml"), "").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir"])
            .arg(dir.path().join("log"))
            .arg("--config")
            .arg(dir.path().join("deckle.toml"))
            .args(arguments)
            // Nothing of a test leaves this machine.
            .env("DECKLE_VISITOR__RANGES__REFRESH", "0s")
            .env_remove("RUST_LOG")
            .env_remove("DECKLE_ADMIN_TOKEN")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        Self { child, first_line, told, dir }
    }

    /// The public address.
    pub(crate) fn site(&self) -> SocketAddr {
        let address = self.first_line.trim().strip_prefix("deckle: listening on http://");
        address.unwrap_or_else(|| panic!("{:?}", self.first_line)).parse().unwrap()
    }

    /// What follows these words in the log, which are waited for.
    pub(crate) fn hears(&self, words: &str) -> String {
        loop {
            let line = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the log does not say `{words}`"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
        }
    }

    /// The address of the dashboard.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.hears("The dashboard is at http://").trim_end_matches('/').parse().unwrap()
    }

    /// It must have refused to start: what it said.
    fn refusal(&mut self) -> String {
        assert_eq!(self.first_line, "", "it listens");
        assert_eq!(self.child.wait().unwrap().code(), Some(2));
        self.told.iter().collect::<Vec<String>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(server: SocketAddr, path: &str, extra: &str) -> Answer {
    crate::support::get(Ipv4Addr::LOCALHOST, server, path, extra)
}

fn text(answer: &Answer) -> String {
    assert!(answer.complete, "{answer:?}");
    String::from_utf8(answer.body.clone()).unwrap()
}

/// Looks again and again until something is there.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = SystemClock::shared();
    let deadline = clock.elapsed() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.elapsed() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// The dashboard, once it shows so many requests.
fn dashboard_of(admin: SocketAddr, requests: usize) -> Answer {
    let shown = format!("<dd id=\"requests\">{requests}</dd>");
    until("the dashboard counts the requests", || Some(get(admin, "/", "")).filter(|page| text(page).contains(&shown)))
}

#[test]
fn every_path_answers_as_it_should() {
    let program = Program::start(&[], &[]);
    let admin = program.admin();
    let alive = get(admin, "/healthz", "");
    assert_eq!((alive.status, text(&alive).as_str()), (200, "ok\n"));
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
        ("/snapshot.json", "application/json"),
    ] {
        let answer = get(admin, path, "");
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, kind), "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        let raw = format!("POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n");
        let posted = read_answer(request_from(Ipv4Addr::LOCALHOST, admin, &raw));
        assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET, HEAD"), "{path}");
    }
    for path in ["/nowhere", "/metrics/", "/healthz/x", "/..%2f"] {
        assert_eq!(get(admin, path, "").status, 404, "{path}");
    }
}

#[test]
fn it_is_ready_while_the_site_can_be_reached() {
    let demo = Program::start(&[], &[]);
    let admin = demo.admin();
    demo.hears("reached=true");
    assert_eq!(get(admin, "/readyz", "").status, 200);

    // It takes connections and answers none.
    let site = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = Program::start(&[], &["--upstream", &format!("http://{}", site.local_addr().unwrap())]);
    let admin = program.admin();
    program.hears("reached=true");
    assert_eq!(get(admin, "/readyz", "").status, 200);
    drop(site);
    program.hears("reached=false");
    assert_eq!((get(admin, "/readyz", "").status, get(admin, "/healthz", "").status), (503, 200));
    assert!(text(&get(admin, "/snapshot.json", "")).contains("\"ready\":false"));
}

#[test]
fn a_site_that_is_down_from_the_start_is_not_ready() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = Program::start(&[], &["--upstream", &format!("http://{gone}")]);
    let admin = program.admin();
    assert_eq!((get(admin, "/readyz", "").status, get(admin, "/healthz", "").status), (503, 200));
}

#[test]
fn the_page_holds_its_figures_without_a_script() {
    let program = Program::start(&[], &[]);
    let admin = program.admin();
    for path in ["/", "/nowhere"] {
        get(program.site(), path, "User-Agent: curl/8.5.0\r\n");
    }
    let answer = dashboard_of(admin, 2);
    let policy = &answer.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = text(&answer);
    assert!(page.contains("2 requests, and nobody is suspected."), "{page}");
    assert!(page.contains("<th scope=\"row\">library</th><td class=\"number\">2</td>"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(page.contains("<script src=\"/dashboard.js\" defer></script>"), "{page}");
    for inline in [" style=", " onclick=", " onload=", " onerror=", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[test]
fn snapshots_are_json_and_events_begin_at_once() {
    let mut program = Program::start(&[], &[]);
    let admin = program.admin();
    get(program.site(), "/", "");
    dashboard_of(admin, 1);
    let snapshot: serde_json::Value = serde_json::from_slice(&get(admin, "/snapshot.json", "").body).unwrap();
    assert_eq!(snapshot["figures"]["requests"], 1);
    assert_eq!(snapshot["verdict"], "1 request, and nobody is suspected.");
    assert!(snapshot["log"]["written"].is_u64() && snapshot["safety"]["share"].is_number(), "{snapshot}");

    let raw = format!("GET /events HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let mut lines = BufReader::new(request_from(Ipv4Addr::LOCALHOST, admin, &raw)).lines().map_while(Result::ok);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head[0].contains(" 200 ") && head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
    let event = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).expect("a first event");
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["figures"]["requests"], 1);

    // Somebody who listens does not hold up the end.
    assert!(Command::new("kill").arg(program.child.id().to_string()).status().unwrap().success());
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn other_hosts_and_other_sites_are_refused() {
    let program = Program::start(&[], &[]);
    let admin = program.admin();
    let asked_as = |host: &str, path: &str| {
        let raw = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        read_answer(request_from(Ipv4Addr::LOCALHOST, admin, &raw)).status
    };
    for path in ["/", "/snapshot.json", "/events", "/dashboard.js", "/metrics", "/nowhere"] {
        assert_eq!(asked_as("evil.example", path), 421, "{path}");
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(asked_as(host, "/"), 200, "{host}");
    }
    for host in ["localhost.evil.example", "127.0.0.1.evil.example", "127.1"] {
        assert_eq!(asked_as(host, "/"), 421, "{host}");
    }
    // Probes come under any name, and learn nothing.
    assert_eq!(asked_as("evil.example", "/healthz"), 200);
    let from_elsewhere = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n";
    assert_eq!(get(admin, "/snapshot.json", from_elsewhere).status, 403);
    assert_eq!(get(admin, "/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n").status, 200);
}

#[test]
fn whoever_can_be_reached_by_others_needs_a_token() {
    let said = Program::start(&[("DECKLE_PROXY__ADMIN", "0.0.0.0:0")], &[]).refusal();
    assert!(said.contains("proxy.admin") && said.contains("DECKLE_ADMIN_TOKEN"), "{said}");
    let said = Program::start(&[("DECKLE_ADMIN_TOKEN", "short")], &[]).refusal();
    assert!(said.contains("16 to 256 characters"), "{said}");
    let secret = TempDir::new();
    let file = secret.path().join("admin.token");
    std::fs::write(&file, TOKEN).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let said = Program::start(&[("DECKLE_PROXY__ADMIN_TOKEN_FILE", file.to_str().unwrap())], &[]).refusal();
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn a_token_opens_by_field_and_by_cookie() {
    let program = Program::start(&[("DECKLE_ADMIN_TOKEN", TOKEN)], &[]);
    let admin = program.admin();
    for path in ["/", "/snapshot.json", "/events", "/metrics", "/dashboard.js", "/nowhere"] {
        let answer = get(admin, path, "");
        assert_eq!((answer.status, answer.headers.contains_key("www-authenticate")), (401, true), "{path}");
    }
    for wrong in ["Bearer nothing", "Basic 0123456789abcdef0123456789abcdef", "Bearer"] {
        assert_eq!(get(admin, "/", &format!("Authorization: {wrong}\r\n")).status, 401, "{wrong}");
    }
    assert_eq!(get(admin, "/snapshot.json", &format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
    assert_eq!(get(admin, "/?token=nothing", "").status, 401);
    assert_eq!(get(admin, "/healthz", "").status, 200);

    let introduced = get(admin, &format!("/?token={TOKEN}"), "");
    assert_eq!((introduced.status, introduced.headers["location"].as_str()), (303, "/"));
    let cookie = &introduced.headers["set-cookie"];
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert!(pair.starts_with(&format!("deckle_admin_{}=", admin.port())), "{pair}");
    assert_eq!(get(admin, "/", &format!("Cookie: {pair}\r\n")).status, 200);
    assert_eq!(get(admin, "/", &format!("Cookie: {pair}0\r\n")).status, 401);
}

#[test]
fn a_token_may_stand_in_a_file() {
    let secret = TempDir::new();
    let file = secret.path().join("admin.token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let program = Program::start(&[("DECKLE_PROXY__ADMIN_TOKEN_FILE", file.to_str().unwrap())], &[]);
    let admin = program.admin();
    assert_eq!(get(admin, "/", "").status, 401);
    assert_eq!(get(admin, "/", &format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
}

#[test]
fn the_public_listener_answers_nothing_of_it() {
    let program = Program::start(&[], &[]);
    for path in ["/metrics", "/healthz", "/readyz", "/snapshot.json", "/events", "/dashboard.js"] {
        let answer = get(program.site(), path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(text(&answer).contains("Page not found"), "the site's own page: {path}");
    }
}

/// Ports that a process listens on.
#[cfg(target_os = "linux")]
fn ports(process: u32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_listening = *fields.get(3)? == "0A" && sockets.contains(*fields.get(9)?);
        is_listening.then(|| u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()).flatten()
    };
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{process}/net/{name}")));
    tables.into_iter().flatten().flat_map(|table| table.lines().filter_map(of).collect::<Vec<u16>>()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn off_is_off() {
    let program = Program::start(&[("DECKLE_PROXY__ADMIN", "off")], &[]);
    assert_eq!(get(program.site(), "/", "").status, 200);
    assert_eq!(ports(program.child.id()), BTreeSet::from([program.site().port()]));
    let program = Program::start(&[], &[]);
    assert_eq!(ports(program.child.id()), BTreeSet::from([program.site().port(), program.admin().port()]));
}

#[cfg(feature = "metrics")]
mod metrics {
    use std::collections::BTreeMap;
    use std::net::{SocketAddr, TcpListener};
    use std::process::Command;

    use super::{Program, dashboard_of, get, text, until};

    /// Series and their values. Every line must be one of the text format 0.0.4, and belong to what was declared last.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        assert!(text.ends_with('\n'));
        let (mut series, mut declared) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut family, mut kind) = ("", "", "");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split_once(' ').unwrap().0;
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                (family, kind) = of.split_once(' ').unwrap();
                assert_eq!(family, helped, "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
                assert!(declared.insert(family, kind).is_none(), "twice: {line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let (bare, labels) = name.split_once('{').unwrap_or((name, "}"));
                let is_part = |end: &str| kind == "histogram" && bare.strip_suffix(end) == Some(family);
                assert!(bare == family || ["_bucket", "_sum", "_count"].into_iter().any(is_part), "{line}");
                let labels = labels.strip_suffix('}').unwrap();
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (label, of) = label.split_once('=').unwrap();
                    let is_name = label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    assert!(is_name && of.len() > 2 && of.starts_with('"') && of.ends_with('"'), "{line}");
                }
                assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
            }
        }
        series
    }

    /// All series of a name together. Counts are whole numbers.
    fn sum(series: &BTreeMap<String, f64>, name: &str) -> u64 {
        let is_of = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        series.iter().filter(|(key, _)| is_of(key)).map(|(_, value)| *value as u64).sum()
    }

    fn scrape(admin: SocketAddr) -> BTreeMap<String, f64> {
        let answer = get(admin, "/metrics", "");
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        parse(&text(&answer))
    }

    #[test]
    fn every_request_is_counted_and_every_record_is_accounted_for() {
        const REQUESTS: u64 = 60;
        let program = Program::start(&[], &[]);
        let admin = program.admin();
        assert_eq!(sum(&scrape(admin), "deckle_requests_total"), 0);
        for number in 0..20 {
            for path in ["/", "/robots.txt", "/nowhere"] {
                get(program.site(), &format!("{path}?{number}"), "User-Agent: curl/8.5.0\r\n");
            }
        }
        let series = until("all requests are written or counted as lost", || {
            let series = scrape(admin);
            let done = sum(&series, "deckle_audit_records_total") + sum(&series, "deckle_audit_dropped_total");
            Some(series).filter(|_| done >= REQUESTS)
        });
        let of = |name: &str| sum(&series, name);
        assert_eq!(of("deckle_audit_records_total") + of("deckle_audit_dropped_total"), REQUESTS);
        assert_eq!(of("deckle_audit_queue_depth"), 0);
        // Nothing is lost in so little traffic: the figures know all of it.
        assert_eq!(of("deckle_requests_total"), REQUESTS);
        assert_eq!(of("deckle_requests_total{category=\"library\",action=\"allow\"}"), REQUESTS);
        assert_eq!(of("deckle_responses_total{class=\"4xx\"}"), 20);
        assert_eq!(of("deckle_responses_total"), REQUESTS);
        assert_eq!(of("deckle_verifications_total"), REQUESTS);
        assert!(of("deckle_response_bytes_total") > 0 && of("deckle_audit_bytes_total") > 0);
    }

    /// Hits, misses, and bytes of plans.
    fn plans(series: &BTreeMap<String, f64>) -> [u64; 3] {
        ["hits_total", "misses_total", "bytes"].map(|what| sum(series, &format!("deckle_plan_{what}")))
    }

    #[test]
    fn pages_that_were_seen_before_are_counted_over_a_reload() {
        let program = Program::start(&[], &[]);
        let admin = program.admin();
        assert_eq!(plans(&scrape(admin))[..2], [0, 0]);
        let ask = || assert_eq!(get(program.site(), "/", "").status, 200);
        // What the first copies teach about the site shapes the next ones: they are parsed, too.
        (0..5).for_each(|_| ask());
        let [hits, misses, bytes] = plans(&scrape(admin));
        assert!(hits > 0 && misses > 0 && bytes > 0, "{hits} {misses} {bytes}");
        assert_eq!(hits + misses, 5);

        let reload = || {
            assert!(Command::new("kill").args(["-HUP", &program.child.id().to_string()]).status().unwrap().success());
            program.hears("The configuration was reloaded.");
        };
        reload();
        assert_eq!(plans(&scrape(admin))[..2], [hits, misses]);
        // Nothing has changed: the new stack knows the page.
        ask();
        assert_eq!(plans(&scrape(admin))[..2], [hits + 1, misses]);
        // What changes pages makes another one of it.
        let file = program.dir.path().join("deckle.toml");
        std::fs::write(&file, "[page.notice]\ntext = \"All rights reserved.\"\n").unwrap();
        reload();
        let page = get(program.site(), "/", "");
        assert!(text(&page).contains("All rights reserved."));
        assert_eq!(plans(&scrape(admin))[..2], [hits + 1, misses + 1]);
        ask();
        assert_eq!(plans(&scrape(admin))[..2], [hits + 2, misses + 1]);
        // And back again, to a page that was known before.
        std::fs::write(&file, "").unwrap();
        reload();
        ask();
        assert_eq!(plans(&scrape(admin))[..2], [hits + 3, misses + 1]);
        // A cache of another size is a new one.
        std::fs::write(&file, "[page]\nplan_cache = \"8MiB\"\n").unwrap();
        reload();
        ask();
        assert_eq!(plans(&scrape(admin))[..2], [hits + 3, misses + 2]);
    }

    #[test]
    fn histograms_add_up() {
        let program = Program::start(&[], &[]);
        let admin = program.admin();
        get(program.site(), "/", "");
        dashboard_of(admin, 1);
        let series = scrape(admin);
        for name in ["deckle_request_duration_seconds", "deckle_decide_seconds"] {
            let start = format!("{name}_bucket{{le=\"");
            let mut buckets: Vec<(f64, u64)> = series
                .iter()
                .filter_map(|(key, count)| {
                    let bound = key.strip_prefix(&start)?.strip_suffix("\"}")?;
                    Some((bound.replace("+Inf", "inf").parse().unwrap(), *count as u64))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.len() > 5 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
            let (bound, all) = buckets.last().unwrap();
            assert!(bound.is_infinite());
            assert_eq!((*all, sum(&series, &format!("{name}_count"))), (1, 1));
            assert!(series[&format!("{name}_sum")] > 0.0);
        }
    }

    #[test]
    fn a_site_that_is_gone_shows() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let program = Program::start(&[], &["--upstream", &format!("http://{gone}")]);
        let admin = program.admin();
        assert_eq!(get(program.site(), "/", "").status, 502);
        let series = until("the error is counted", || {
            Some(scrape(admin)).filter(|series| sum(series, "deckle_responses_total{class=\"5xx\"}") >= 1)
        });
        assert_eq!(sum(&series, "deckle_ready"), 0);
    }
}
