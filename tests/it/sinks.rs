//! Several sinks at once, each as its readers find it; what happens when one of them fails, and when none may.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use deckle::audit::reader::{Format, Line, Reader};
use deckle::audit::{AuditLayer, FileSink, Settings};
use deckle::clock::{ManualClock, SystemClock};
use http::{Request, Response};
use http_body_util::Empty;
use serde_json::Value;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Deckle, PATIENCE, TempDir, get, has, hits, read_log};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `deckle proxy` whose standard output is read.
struct Program {
    child: Running,
    address: SocketAddr,
    /// Its lines but the first.
    lines: JoinHandle<Vec<String>>,
    dir: TempDir,
}

impl Program {
    fn start(config: &str) -> Self {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("deckle.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir"])
            .arg(dir.path().join("log"))
            .arg("--config")
            .arg(dir.path().join("deckle.toml"))
            // Nothing of a test leaves this machine.
            .env("DECKLE_VISITOR__RANGES__REFRESH", "0s")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap();
        let address = first.strip_prefix("deckle: listening on http://").unwrap_or_else(|| panic!("{first:?}"));
        let address = address.parse().unwrap();
        Self { child: Running(child), address, lines: std::thread::spawn(move || lines.collect()), dir }
    }

    /// Asks it to stop, and gives what it printed, and its directory.
    fn stop(mut self) -> (Vec<String>, TempDir) {
        assert!(Command::new("kill").arg(self.child.0.id().to_string()).status().unwrap().success());
        assert!(self.child.0.wait().unwrap().success());
        (self.lines.join().unwrap(), self.dir)
    }
}

/// Looks again and again until it is so.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    let deadline = clock.elapsed() + PATIENCE;
    while !done() {
        assert!(clock.elapsed() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn ask(server: SocketAddr, path: &str) -> Answer {
    get(Ipv4Addr::LOCALHOST, server, path, "User-Agent: curl/8.5.0\r\n")
}

/// Records that a sink has lost, as the dashboard has it.
fn lost(admin: SocketAddr, sink: &str) -> u64 {
    let snapshot: Value = serde_json::from_slice(&ask(admin, "/snapshot.json").body).unwrap();
    let rows = snapshot["log"]["dropped"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == sink).unwrap_or_else(|| panic!("no `{sink}` in {rows:?}"));
    row["count"].as_u64().unwrap()
}

#[test]
fn every_sink_gets_every_request_in_whole_lines() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 40;
    let program = Program::start("[audit]\nsinks = ['file', 'stdout', 'combined+deckle']\ninstance = 'w1'\n");
    let server = program.address;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    let path = format!("/nowhere-{client}/{number}?p={number}");
                    let extra = "User-Agent: odd \"x\\ caf\u{e9}\r\nReferer: https://other.example/x?q=1\r\n";
                    assert_eq!(get(Ipv4Addr::LOCALHOST, server, &path, extra).status, 404);
                }
            });
        }
    });
    let (printed, dir) = program.stop();
    let log = dir.path().join("log");
    let lines = read_log(&log);
    let by_id = |line: &Value| {
        let mut line = line.as_object().unwrap().clone();
        let number = line.remove("deckle.seq").unwrap().as_u64().unwrap();
        (line["deckle.request.id"].as_str().unwrap().to_owned(), number, Value::Object(line))
    };
    let in_file: BTreeMap<String, Value> =
        hits(&lines).into_iter().map(by_id).map(|(id, _, line)| (id, line)).collect();
    assert_eq!(in_file.len(), CLIENTS * REQUESTS);

    // Standard output: the same lines, with numbers of their own.
    let printed: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut numbers = Vec::new();
    for (id, number, line) in printed.iter().map(by_id) {
        assert_eq!(in_file.get(&id), Some(&line), "the same but for the number");
        numbers.push(number);
    }
    assert_eq!(numbers, (1..=(CLIENTS * REQUESTS) as u64).collect::<Vec<u64>>());

    // access.log: what the reader makes of it.
    let access = std::fs::read_to_string(log.join("access.log")).unwrap();
    assert!(access.ends_with('\n') && access.lines().count() == CLIENTS * REQUESTS);
    let mut reader = Reader::new(Format::Combined);
    let mut in_access: Vec<(String, u64, String)> = Vec::new();
    for line in access.lines() {
        let Line::Hit(hit) = reader.read(line.as_bytes()) else { panic!("{line}") };
        assert_eq!((hit.address.as_ref(), hit.status), ("127.0.0.0", Some(404)), "{line}");
        assert_eq!(hit.user_agent.as_deref(), Some("odd \"x\\ caf\u{e9}"), "{line}");
        assert_eq!(hit.referer.as_deref(), Some("https://other.example/"), "{line}");
        assert!(line.contains("/allow/") && line.ends_with('"'), "{line}");
        let judged = hit.deckle.unwrap();
        assert!(judged.brief && judged.action == "allow", "{line}");
        let judged = format!("{} {} {}", judged.category, judged.verification, judged.score);
        in_access.push((format!("{}?{}", hit.path, hit.query.unwrap()), hit.bytes, judged));
    }
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let mut expected: Vec<(String, u64, String)> = in_file
        .values()
        .map(|line| {
            let target = format!("{}?{}", text(line, "url.path"), text(line, "url.query"));
            let (category, state) = (text(line, "deckle.visitor.category"), text(line, "deckle.visitor.verification"));
            let score = line["deckle.score"].as_u64().unwrap_or(0);
            (target, line["http.response.body.size"].as_u64().unwrap(), format!("{category} {state} {score}"))
        })
        .collect();
    in_access.sort();
    expected.sort();
    assert_eq!(in_access, expected);
    read_by_goaccess(&log.join("access.log"), CLIENTS * REQUESTS);
}

/// Somebody else's reader takes every line.
fn read_by_goaccess(log: &Path, lines: usize) {
    if !has("goaccess") {
        return;
    }
    let report = log.with_extension("json");
    let run = Command::new("goaccess")
        .arg(log)
        .args(["--log-format=COMBINED", "--no-global-config", "-o"])
        .arg(&report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(run.success());
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let general = &report["general"];
    assert_eq!(
        (general["valid_requests"].as_u64(), general["failed_requests"].as_u64()),
        (Some(lines as u64), Some(0))
    );
}

#[test]
fn a_reader_of_standard_output_that_leaves_stops_nothing() {
    const REQUESTS: usize = 20;
    let admin = free_address();
    let config = format!("[audit]\nsinks = ['file', 'stdout']\n[proxy]\nadmin = '{admin}'\n");
    // Its first line is read, and no more.
    let deckle = Deckle::with_config(&config, &[]);
    for number in 0..REQUESTS {
        assert_eq!(ask(deckle.address, &format!("/?{number}")).status, 200);
    }
    until("what nobody reads is counted", || lost(admin, "stdout") == REQUESTS as u64);
    let (lines, _dir) = deckle.stop();
    assert_eq!(hits(&lines).len(), REQUESTS);
}

#[test]
fn where_proof_is_needed_a_site_without_a_log_is_down() {
    let admin = free_address();
    let config = format!("[audit]\non_failure = 'refuse'\n[proxy]\nadmin = '{admin}'\n");
    let deckle = Deckle::with_config(&config, &[]);
    assert_eq!(ask(deckle.address, "/").status, 200);
    // The directory goes away, and with a reopen no segment can be made.
    let away = deckle.log.path().join("away");
    std::fs::rename(deckle.log_dir(), &away).unwrap();
    deckle.signal("HUP");
    let mut refused = None;
    until("requests are refused", || {
        refused = Some(ask(deckle.address, "/")).filter(|answer| answer.status == 503);
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert_eq!(refused.headers["cache-control"], "no-store");
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((30..=36).contains(&wait), "{wait}");
    assert!(String::from_utf8_lossy(&refused.body).contains("cannot answer at the moment"));
    assert_eq!(ask(admin, "/healthz").status, 200);
    // Something may have been written where it was; what counts is the log.
    let _ = std::fs::remove_dir_all(deckle.log_dir());
    std::fs::rename(&away, deckle.log_dir()).unwrap();
    until("they are served again", || ask(deckle.address, "/").status == 200);
    deckle.stop();
}

#[test]
fn with_refuse_nobody_is_served_while_records_are_lost() {
    let dir = TempDir::new();
    let clock = ManualClock::at(1_790_000_000);
    let settings = Settings { dir: dir.path().display().to_string(), ..Settings::default() };
    let sink = Arc::new(FileSink::with_clock(&settings, clock.clone()).unwrap());
    let served = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&served);
    let site = tower::service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let layer = AuditLayer::new(Arc::clone(&sink)).refusing(&deckle::action::Settings::default()).unwrap();
    let service = layer.layer(site);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = AtomicU64::new(0);
    let ask = || {
        asked.fetch_add(1, Ordering::SeqCst);
        runtime.block_on(service.clone().oneshot(Request::new(()))).unwrap().status().as_u16()
    };
    assert_eq!(ask(), 200);
    let away = TempDir::new();
    std::fs::rename(dir.path(), away.path().join("log")).unwrap();
    sink.reopen();
    until("requests are refused", || ask() == 503);
    let before = served.load(Ordering::SeqCst);
    assert_eq!((ask(), ask(), served.load(Ordering::SeqCst)), (503, 503, before), "the site is not asked");
    // What waits in the queue is not lost yet.
    until("records are lost", || sink.stats().drops().sum() > 0);
    std::fs::rename(away.path().join("log"), dir.path()).unwrap();
    clock.advance(Duration::from_secs(60));
    until("they are served again", || ask() == 200);
    sink.close();
    let lines = read_log(dir.path());
    let written = hits(&lines).len() as u64;
    let gaps = lines.iter().filter(|line| line["deckle.kind"] == "gap").filter_map(Value::as_object).flatten();
    let lost: u64 = gaps.filter(|(key, _)| key.starts_with("dropped.")).filter_map(|(_, number)| number.as_u64()).sum();
    assert!(lost > 0);
    assert_eq!((lost, sink.stats().written() + lost), (sink.stats().drops().sum(), asked.load(Ordering::SeqCst)));
    // The first segment may have been compressed meanwhile.
    assert!(written <= sink.stats().written());
}

/// Vector's and Fluent Bit's own check of a file where they are installed, else what can be told without them.
mod examples {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::support::has;

    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
    }

    #[test]
    fn the_file_for_vector_holds() {
        let path = example("vector.toml");
        if has("vector") {
            let run = Command::new("vector").args(["validate", "--no-environment"]).arg(&path).status().unwrap();
            assert!(run.success());
            return;
        }
        let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let mut names = BTreeSet::new();
        let parts = ["sources", "transforms", "sinks"].map(|part| file[part].as_table().unwrap().clone());
        for (name, part) in parts.iter().flatten() {
            assert!(part["type"].is_str() && names.insert(name.clone()), "{name}");
        }
        for (name, part) in parts[1..].iter().flatten() {
            let inputs = part["inputs"].as_array().unwrap();
            assert!(!inputs.is_empty(), "{name}");
            assert!(inputs.iter().all(|input| names.contains(input.as_str().unwrap())), "{name}: {inputs:?}");
        }
        let source = file["transforms"]["parsed"]["source"].as_str().unwrap();
        assert!(source.contains("parse_json!"), "{source}");
    }

    #[test]
    fn the_files_for_fluent_bit_hold() {
        let path = example("fluent-bit.conf");
        if has("fluent-bit") {
            let run = Command::new("fluent-bit").arg("--dry-run").arg("-c").arg(&path).status().unwrap();
            assert!(run.success());
            return;
        }
        let mut sections = Vec::new();
        let parsers = std::fs::read_to_string(example("fluent-bit-parsers.conf")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap() + &parsers;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(section) => sections.push((section.to_owned(), BTreeSet::new())),
                None => {
                    let (key, value) = line.split_once(char::is_whitespace).unwrap_or_else(|| panic!("{line}"));
                    assert!(!value.trim().is_empty(), "{line}");
                    sections.last_mut().unwrap().1.insert(key.to_ascii_lowercase());
                }
            }
        }
        let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["SERVICE", "INPUT", "FILTER", "FILTER", "OUTPUT", "PARSER"]);
        for (section, keys) in &sections {
            assert!(section == "SERVICE" || keys.contains("name"), "{section}");
        }
    }

    /// The pattern by which Fluent Bit tells responses from other lines is one of the order of keys.
    #[test]
    fn responses_are_told_by_how_their_lines_begin() {
        let pattern = r#""time":"[^"]*","deckle\.seq":"#;
        assert!(std::fs::read_to_string(example("fluent-bit.conf")).unwrap().contains(pattern));
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/record.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let lines: Vec<&str> = docs.lines().filter(|line| line.starts_with("{\"v\":1")).collect();
        assert!(lines.len() > 3);
        let pattern = regex::Regex::new(pattern).unwrap();
        for line in lines {
            assert_eq!(pattern.is_match(line), !line.contains("\"deckle.kind\""), "{line}");
        }
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use prost::Message;
    use serde_json::Value;

    use super::{ask, free_address, lost, until};
    use crate::support::{Deckle, Upstream, get, hits};

    /// Takes everything, and remembers it.
    struct Collector {
        server: Upstream,
        taken: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    }

    impl Collector {
        fn start() -> Self {
            let taken = Arc::<Mutex<Vec<ExportLogsServiceRequest>>>::default();
            let seen = Arc::clone(&taken);
            let server = Upstream::start(move |request, stream| {
                assert_eq!(request.target, "/v1/logs");
                assert_eq!(request.headers["content-type"], "application/x-protobuf");
                seen.lock().unwrap().push(ExportLogsServiceRequest::decode(request.body.as_slice()).unwrap());
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
            });
            Self { server, taken }
        }

        /// Log records by request.
        fn batches(&self) -> Vec<Vec<LogRecord>> {
            let taken = self.taken.lock().unwrap().clone();
            let scopes =
                |request: ExportLogsServiceRequest| request.resource_logs.into_iter().flat_map(|r| r.scope_logs);
            taken.into_iter().map(|request| scopes(request).flat_map(|scope| scope.log_records).collect()).collect()
        }
    }

    fn json(value: &Any) -> Value {
        match value {
            Any::StringValue(text) => text.as_str().into(),
            Any::BoolValue(is) => (*is).into(),
            Any::IntValue(number) => (*number).into(),
            Any::DoubleValue(number) => (*number).into(),
            Any::ArrayValue(list) => list.values.iter().map(|value| json(value.value.as_ref().unwrap())).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn attributes(record: &LogRecord) -> serde_json::Map<String, Value> {
        let one = |attribute: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            let value = attribute.value.as_ref().unwrap().value.as_ref().unwrap();
            (attribute.key.clone(), json(value))
        };
        record.attributes.iter().map(one).collect()
    }

    #[test]
    fn log_records_hold_what_the_lines_hold() {
        const PLAIN: usize = 600;
        let collector = Collector::start();
        let site = Upstream::start(|request, stream| {
            let length = if request.target == "/broken" { 100 } else { 2 };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n");
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\nok").as_bytes());
        });
        let config = format!(
            "mode = 'enforce'\n[visitor]\ndeny = ['127.0.0.9/32']\n\
             [audit]\nsinks = ['file', 'otlp']\ninstance = 'w1'\nanchor = 'otlp'\n[audit.otlp]\nendpoint = '{}'\n",
            collector.server.url()
        );
        let deckle = Deckle::with_config(&config, &["--upstream", &site.url()]);
        assert_eq!(get(Ipv4Addr::new(127, 0, 0, 9), deckle.address, "/denied", "").status, 403);
        assert!(!ask(deckle.address, "/broken").complete);
        let trace = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
        get(Ipv4Addr::LOCALHOST, deckle.address, "/traced?token=secret&p=1", trace);
        for number in 0..PLAIN {
            ask(deckle.address, &format!("/{number}.css"));
        }
        let (lines, _dir) = deckle.stop();
        let batches = collector.batches();
        assert!(batches.iter().all(|batch| batch.len() <= 512) && batches.len() > 1);
        let all: Vec<LogRecord> = batches.into_iter().flatten().collect();
        let (of_hits, others): (Vec<LogRecord>, Vec<LogRecord>) =
            all.into_iter().partition(|record| record.event_name == "deckle.http.hit");
        let lines = hits(&lines);
        assert_eq!((of_hits.len(), lines.len()), (PLAIN + 3, PLAIN + 3));
        for record in &of_hits {
            let mut told = attributes(record);
            told.remove("deckle.seq");
            let line = lines.iter().find(|line| line["deckle.request.id"] == told["deckle.request.id"]).unwrap();
            let mut line = line.as_object().unwrap().clone();
            let has_trace = line.remove("trace_id").is_some() && line.remove("span_id").is_some();
            assert_eq!((record.trace_id.len(), record.span_id.len()), if has_trace { (16, 8) } else { (0, 0) });
            let severity = match line["url.path"].as_str().unwrap() {
                "/broken" => (17, "ERROR"),
                "/denied" => (13, "WARN"),
                _ => (9, "INFO"),
            };
            assert_eq!((record.severity_number, record.severity_text.as_str()), severity, "{line:?}");
            assert!(line.remove("time").is_some() && record.time_unix_nano > 0 && record.body.is_none());
            line.remove("deckle.seq");
            assert_eq!(told, line);
        }
        assert_eq!(of_hits.iter().filter(|record| !record.trace_id.is_empty()).count(), 1);
        // The end of the segment has a head, which leaves as well.
        assert!(others.iter().all(|record| record.event_name == "deckle.audit.head"));
        let heads: Vec<_> = others.iter().map(attributes).collect();
        assert!(heads.iter().any(|head| head["segment"].as_str().unwrap().starts_with("audit-w1-")), "{heads:?}");
    }

    #[test]
    fn a_receiver_that_is_gone_costs_records_that_are_counted_and_nothing_else() {
        let (admin, gone) = (free_address(), free_address());
        let config = format!(
            "[audit]\nsinks = ['file', 'otlp']\nqueue = 64\notlp.endpoint = 'http://{gone}'\n[proxy]\nadmin = '{admin}'\n"
        );
        let deckle = Deckle::with_config(&config, &[]);
        let mut requests = 0;
        until("losses are counted", || {
            for _ in 0..100 {
                assert_eq!(ask(deckle.address, "/nowhere.css").status, 404);
                requests += 1;
            }
            lost(admin, "otlp") > 0
        });
        let (lines, _dir) = deckle.stop();
        let gaps: u64 = lines.iter().filter_map(|line| line["dropped.channel_full"].as_u64()).sum();
        assert_eq!(hits(&lines).len() as u64 + gaps, requests);
    }
}
