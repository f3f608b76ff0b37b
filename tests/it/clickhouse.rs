//! The log in a table of ClickHouse: the engine itself (chdb), behind the part of its HTTP interface that deckle uses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use deckle::audit::clickhouse::COLUMNS;
use serde_json::Value;

use crate::review::{run, until};
use crate::support::{TempDir, get, hits, read_answer, read_log, request_from};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const GPTBOT: &str =
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)";
/// The user of the shim that has a password, as it stands in an address.
const WRITER: &str = "writer:p%40ss%3Aword%2F1@";

/// A Python with chdb, or a printed reason.
fn python() -> Option<PathBuf> {
    let of_the_tests = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/chdb/bin/python");
    let python = std::env::var_os("DECKLE_CHDB_PYTHON").map_or_else(of_the_tests, PathBuf::from);
    let mut look = Command::new(&python);
    look.args(["-c", "import chdb, lz4.block, clickhouse_cityhash"]).stderr(Stdio::null());
    let found = look.status().is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: no chdb at {} (scripts/test installs it, or set DECKLE_CHDB_PYTHON)", python.display());
    }
    found.then_some(python)
}

/// An engine on a free port. It ends with this process, whose end of its standard input closes then.
struct Engine {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
    python: PathBuf,
}

impl Engine {
    fn start() -> Option<Self> {
        let python = python()?;
        // The engine makes and removes it.
        let dir = TempDir::new().path().with_extension("engine");
        let (child, address) = spawn_engine(&python, &dir, 0);
        Some(Self { child, address, dir, python })
    }

    /// One for all tests that leave it as it is.
    fn shared() -> Option<&'static Self> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        ENGINE.get_or_init(Self::start).as_ref()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn come_back(&mut self) {
        (self.child, self.address) = spawn_engine(&self.python, &self.dir, self.address.port());
    }

    fn url(&self, who: &str) -> String {
        format!("http://{who}{}", self.address)
    }

    /// What it answers to a statement.
    fn ask_with(&self, parameters: &str, sql: &str) -> String {
        let length = sql.len();
        let raw = format!(
            "POST /?{parameters} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{sql}"
        );
        let answer = read_answer(request_from(Ipv4Addr::LOCALHOST, self.address, &raw));
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{sql}: {text}");
        text.trim_end().to_owned()
    }

    fn ask(&self, sql: &str) -> String {
        self.ask_with("", sql)
    }

    /// What it answers, line by line as JSON.
    fn rows(&self, sql: &str) -> Vec<Value> {
        let text = self.ask_with("default_format=JSONEachRow", sql);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Rows, each counted once.
    fn count(&self, table: &str) -> usize {
        self.ask(&format!("SELECT count() FROM {table} FINAL")).parse().unwrap()
    }

    /// Inserts into this table fail so from now on.
    fn fault(&self, table: &str, mode: &str) {
        let raw = format!(
            "POST /fault?table={table}&mode={mode} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(read_answer(request_from(Ipv4Addr::LOCALHOST, self.address, &raw)).status, 200);
    }

    /// Makes a table by deckle's own statement; `change` spoils it.
    fn table(&self, name: &'static str, change: impl Fn(String) -> String) -> &'static str {
        let (code, statement, error) = run(&["audit", "ddl", "--table", name, "--keep", "0"]);
        assert_eq!(code, 0, "{error}");
        self.ask(&change(statement));
        // What is there twice stays so until somebody looks.
        self.ask(&format!("SYSTEM STOP MERGES {name}"));
        name
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn spawn_engine(python: &Path, dir: &Path, port: u16) -> (Child, SocketAddr) {
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clickhouse/shim.py"))
        .arg(dir)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
    (child, SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or_else(|| panic!("{line:?}")))))
}

/// The proxy before the demo site, and what it says.
struct Site {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Site {
    fn start(sink: &str) -> Self {
        let dir = TempDir::new();
        let config = format!("[audit]\ninstance = \"w1\"\n{sink}");
        std::fs::write(dir.path().join("deckle.toml"), config).unwrap();
        let (child, address) = spawn_site(&dir);
        Self { child, address, dir }
    }

    /// With a sink into this table.
    fn before(engine: &Engine, table: &str) -> Self {
        Self::start(&format!(
            "sinks = [\"file\", \"clickhouse\"]\n\
             [audit.clickhouse]\nurl = \"{}\"\ntable = \"{table}\"\ntimeout = \"1s\"\n",
            engine.url(WRITER)
        ))
    }

    /// So many responses to this client.
    fn visit(&self, client: u8, agent: &str, paths: &[&str]) {
        for path in paths {
            let client = Ipv4Addr::new(127, 0, 0, client);
            assert!(get(client, self.address, path, &format!("User-Agent: {agent}\r\n")).complete);
        }
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap().success()
        );
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("told")).unwrap()
    }

    /// How often it has said so.
    fn times(&self, words: &str) -> usize {
        self.told().matches(words).count()
    }

    /// A metric of the admin listener.
    fn metric(&self, name: &str) -> Option<f64> {
        let told = self.told();
        let admin = told.split("The dashboard is at http://").nth(1)?.split('/').next()?.parse().unwrap();
        let text = String::from_utf8(get(Ipv4Addr::LOCALHOST, admin, "/metrics", "").body).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
    }

    fn restart(&mut self) {
        (self.child, self.address) = spawn_site(&self.dir);
    }

    /// Responses in all segments, compressed ones, too.
    fn written(&self) -> Vec<Value> {
        let mut lines = read_log(&self.log_dir());
        for entry in std::fs::read_dir(self.log_dir()).unwrap().flatten().map(|entry| entry.path()) {
            let is_plain = entry.with_extension("").exists();
            if entry.extension().is_some_and(|end| end == "zst") && !is_plain {
                let text = zstd::decode_all(File::open(entry).unwrap()).unwrap();
                lines.extend(text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
            }
        }
        hits(&lines).into_iter().cloned().collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn_site(dir: &TempDir) -> (Child, SocketAddr) {
    let told = File::options().create(true).append(true).open(dir.path().join("told")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir"])
        .arg(dir.path().join("log"))
        .arg("--config")
        .arg(dir.path().join("deckle.toml"))
        // Nothing of a test leaves this machine.
        .env("DECKLE_VISITOR__RANGES__REFRESH", "0s")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(told)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("deckle: listening on http://").unwrap_or_else(|| panic!("{line:?}"));
    (child, address.parse().unwrap())
}

/// Nobody needs to know it.
fn assert_no_password(site: &Site) {
    let mut texts = vec![site.told().into_bytes()];
    for path in std::fs::read_dir(site.log_dir()).unwrap().flatten().map(|entry| entry.path()).filter(|p| p.is_file()) {
        let bytes = std::fs::read(&path).unwrap();
        let is_packed = path.extension().is_some_and(|end| end == "zst");
        texts.push(if is_packed { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes });
    }
    for text in texts {
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("p@ss") && !text.contains("p%40ss"), "{text}");
    }
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/city/2026/11/23/a-story-of-the-day-{number}?p={number}")).collect()
}

fn as_refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn the_statement_makes_the_table_that_is_filled() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("described", |statement| statement);
    let described = engine.ask(&format!("DESCRIBE TABLE {table}"));
    let names: Vec<&str> = described.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(names, COLUMNS.map(|column| column.name));
}

#[test]
fn whatever_happens_to_the_engine_every_response_is_there_once() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("faults", |statement| statement);
    let mut site = Site::before(engine, table);
    let stories = paths(6);
    site.visit(1, FIREFOX, &as_refs(&stories));
    until("the first rows are there", || engine.count(table) == 6);
    let mut sent = 6;
    for mode in ["500", "close", "hang"] {
        engine.fault(table, mode);
        let before = site.times("did not take rows");
        site.visit(2, GPTBOT, &["/robots.txt", &stories[0]]);
        // Their segment is closed and compressed before they are sent.
        site.signal("HUP");
        site.visit(1, FIREFOX, &as_refs(&stories[..3]));
        until("it is told that rows were not taken", || site.times("did not take rows") > before);
        assert_eq!(engine.count(table), sent, "{mode}");
        engine.fault(table, "none");
        sent += 5;
        until("the engine has caught up", || engine.count(table) == sent);
    }
    until("the metrics say so", || site.metric("deckle_audit_clickhouse_rows_total ") == Some(sent as f64));
    assert!(site.metric("deckle_audit_clickhouse_failures_total ").unwrap() >= 3.0);
    assert_eq!(site.metric("deckle_audit_clickhouse_lost_total "), Some(0.0));
    // What comes just before a stop is sent, too.
    site.visit(3, "curl/8.5.0", &["/"]);
    site.stop();
    let written = site.written();
    assert_eq!((engine.count(table), written.len()), (sent + 1, sent + 1), "{}", site.told());
    let rows = engine.rows(&format!(
        "SELECT seq, path, query, status, user_agent, toString(client_address) AS address, address_precision, \
         toString(request_id) AS id, signals, action, score, toString(ts) AS time FROM {table} FINAL ORDER BY seq"
    ));
    let newest = written.iter().filter_map(|line| line["deckle.seq"].as_u64()).max();
    let by_seq: BTreeMap<u64, &Value> =
        written.iter().map(|line| (line["deckle.seq"].as_u64().unwrap(), line)).collect();
    for (row, (seq, line)) in rows.iter().zip(by_seq) {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(row["seq"], seq);
        for (column, key) in [
            ("path", "url.path"),
            ("query", "url.query"),
            ("user_agent", "user_agent.original"),
            ("id", "deckle.request.id"),
            ("action", "deckle.action"),
        ] {
            assert_eq!(row[column], text(key), "{column}");
        }
        assert_eq!(row["status"], line["http.response.status_code"]);
        assert_eq!(row["score"], line.get("deckle.score").cloned().unwrap_or(0.into()));
        assert_eq!(row["signals"], line.get("deckle.signals").cloned().unwrap_or(Value::Array(Vec::new())));
        assert_eq!(row["time"].as_str().unwrap().replace(' ', "T") + "Z", text("time"));
        let cut = row["address_precision"].as_str().unwrap();
        let address = row["address"].as_str().unwrap().trim_start_matches("::ffff:");
        assert_eq!(if cut == "full" { address.to_owned() } else { format!("{address}{cut}") }, text("client.address"));
    }
    let offset = std::fs::read_to_string(site.log_dir().join("clickhouse.offset")).unwrap();
    let offset: Value = serde_json::from_str(offset.trim()).unwrap();
    assert_eq!(offset["instance"], "w1");
    assert!(offset["seq"].as_u64() >= newest, "{offset}");
    assert_no_password(&site);
}

#[test]
fn an_engine_that_is_gone_gets_the_rest_when_it_comes_back() {
    let Some(mut engine) = Engine::start() else { return };
    let table = engine.table("gone", |statement| statement);
    let mut site = Site::before(&engine, table);
    let stories = paths(5);
    site.visit(1, FIREFOX, &as_refs(&stories));
    until("the first rows are there", || site.metric("deckle_audit_clickhouse_rows_total ") == Some(5.0));
    engine.kill();
    site.visit(1, FIREFOX, &as_refs(&stories));
    site.stop();
    assert_eq!(site.written().len(), 10, "the files go on");
    engine.come_back();
    site.restart();
    until("what was missing is there", || engine.count(table) == 10);
    // Nothing was sent twice: the place where it stopped was kept.
    assert_eq!(engine.ask(&format!("SELECT count() FROM {table}")), "10");
    site.stop();
    assert_no_password(&site);
}

#[test]
fn a_table_that_does_not_fit_stops_the_sink_and_nothing_else() {
    let Some(engine) = Engine::shared() else { return };
    let wrong_type = engine.table("wrong_type", |statement| statement.replace("UInt8", "UInt16"));
    let lacks_one = engine.table("lacks_one", |statement| {
        statement.lines().filter(|line| !line.contains(" would_action ")).map(|line| format!("{line}\n")).collect()
    });
    for (table, column) in [(wrong_type, "score"), (lacks_one, "would_action")] {
        let mut site = Site::before(engine, table);
        site.visit(1, FIREFOX, &["/", "/robots.txt"]);
        until("it is told", || site.times("the table does not fit") == 1);
        let told = site.told();
        let line = told.lines().find(|line| line.contains("the table does not fit")).unwrap();
        assert!(line.contains(column) && line.contains("ERROR"), "{line}");
        site.visit(1, FIREFOX, &["/"]);
        assert_eq!(site.metric("deckle_audit_clickhouse_stopped "), Some(1.0));
        site.stop();
        assert_eq!((site.written().len(), engine.count(table)), (3, 0));
        assert_eq!(site.times("the table does not fit"), 1, "said once");
        assert_no_password(&site);
    }
}

#[test]
fn a_sink_without_files_or_address_is_refused() {
    for (sink, key) in [
        ("sinks = [\"clickhouse\"]\n[audit.clickhouse]\nurl = \"http://127.0.0.1:1\"\n", "audit.sinks"),
        ("sinks = [\"file\", \"clickhouse\"]\n", "audit.clickhouse.url"),
        (
            "sinks = [\"file\", \"clickhouse\"]\n[audit.clickhouse]\nurl = \"me:pass-word@host\"\n",
            "audit.clickhouse.url",
        ),
        ("[audit.clickhouse]\ntable = \"a; DROP TABLE b\"\n", "audit.clickhouse.table"),
    ] {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("deckle.toml"), format!("[audit]\n{sink}")).unwrap();
        let config = dir.path().join("deckle.toml").display().to_string();
        let log = dir.path().join("log").display().to_string();
        let (code, _, error) = run(&["proxy", "--listen", "127.0.0.1:0", "--config", &config, "--log-dir", &log]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(key) && !error.contains("pass-word"), "{error}");
    }
}

/// A line of Combined, so many days after the first of May.
fn line(address: &str, day: u32, second: u32, path: &str, agent: &str) -> String {
    let (month, day) = (["May", "Jun", "Jul", "Aug", "Sep", "Oct"][(day / 28) as usize], day % 28 + 1);
    let (minute, second) = (second / 60 % 60, second % 60);
    format!(
        "{address} - - [{day:02}/{month}/2026:10:{minute:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 9000 \"-\" \"{agent}\"\n"
    )
}

/// A scraper, a reader, a robot that reads robots.txt, and one that does not.
fn foreign_log() -> String {
    let mut text = String::new();
    for story in 0..45 {
        text += &line("198.51.100.9", 3, story * 2, &format!("/news/story-of-the-day-{story}"), "Wget/1.21");
    }
    for story in 0..12 {
        text += &line("198.51.100.10", 4, story * 250, &format!("/news/story-of-the-day-{story}"), FIREFOX);
        text += &line("198.51.100.10", 4, story * 250 + 1, &format!("/style-{story}.css"), FIREFOX);
    }
    text += &line("198.51.100.11", 5, 0, "/robots.txt", GPTBOT);
    for (address, day, agent) in [("198.51.100.11", 5, GPTBOT), ("2001:db8::7", 6, "CCBot/2.0")] {
        for story in 0..5 {
            text += &line(address, day, 300 + story * 60, &format!("/closed/story-of-the-day-{story}"), agent);
        }
    }
    text
}

fn push(engine: &Engine, table: &str, paths: &[&Path]) -> (i32, String, String) {
    let url = engine.url(WRITER);
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    run(&[&["audit", "push", "--clickhouse", &url, "--table", table][..], names.as_slice()].concat())
}

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn logs_that_are_pushed_twice_count_once() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("pushed", |statement| statement);
    let mut site = Site::start("");
    site.visit(1, FIREFOX, &as_refs(&paths(7)));
    site.signal("HUP");
    site.visit(1, FIREFOX, &["/"]);
    site.stop();
    let dir = TempDir::new();
    let access = dir.path().join("access.log.1.gz");
    std::fs::write(&access, gz(&(foreign_log() + "garbage\n"))).unwrap();
    let all = site.written().len() + foreign_log().lines().count();
    for time in 1..=2 {
        let (code, out, error) = push(engine, table, &[&site.log_dir(), &access]);
        assert_eq!(code, 0, "{error}");
        assert!(out.starts_with(&format!("{all} rows of ")) && out.contains("1 lines skipped (malformed 1)"), "{out}");
        assert!(!out.contains("p@ss") && !error.contains("p@ss"), "{out}{error}");
        assert_eq!(engine.count(table), all);
        assert_eq!(engine.ask(&format!("SELECT count() FROM {table}")), (all * time).to_string());
    }
    // The same log under its name of yesterday, and with the lines of today.
    let renamed = dir.path().join("access.log");
    std::fs::write(&renamed, foreign_log() + &line("198.51.100.12", 7, 0, "/", FIREFOX)).unwrap();
    assert_eq!(push(engine, table, &[&renamed]).0, 0);
    assert_eq!(engine.count(table), all + 1);
}

#[test]
fn a_push_tells_what_it_could_not_read_or_send() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("odd", |statement| statement);
    let dir = TempDir::new();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name)
    };
    // An engine takes rows of 100 days at once, and no more.
    let days: String = (0..160).map(|day| line("198.51.100.9", day, 0, "/", FIREFOX)).collect();
    assert_eq!(push(engine, table, &[&file("days.log", days.as_bytes())]).0, 0);
    assert_eq!(engine.count(table), 160);
    let many: String =
        (0..3_000).map(|i| line("198.51.100.9", 3, i, &format!("/{}", i * 7_919 % 10_007), FIREFOX)).collect();
    let packed = gz(&many);
    let (code, _, error) = push(engine, table, &[&file("cut.log.gz", &packed[..packed.len() / 2])]);
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("truncated_input"), "{error}");
    assert_eq!(push(engine, table, &[&file("empty.log", b"")]).0, 1);
    let (code, _, error) = push(engine, "no_such_table", &[&file("days.log", days.as_bytes())]);
    assert_eq!(code, 2);
    assert!(error.contains("no_such_table") && !error.contains("p@ss"), "{error}");
    let (code, _, error) = push(engine, "no name", &[&file("days.log", days.as_bytes())]);
    assert_eq!((code, error.contains("--table")), (2, true), "{error}");
}

/// The report as JSON, without what says where it comes from; and without the obedience to robots.txt, unless it is known
/// in the same way.
fn report(arguments: &[&str], with_robots: bool) -> Value {
    let (code, out, error) = run(&[&["review"][..], arguments, &["--json", "-", "--jobs", "2"][..]].concat());
    assert_eq!(code, 0, "{error}");
    let mut report: Value = serde_json::from_str(&out).unwrap();
    let parts = report.as_object_mut().unwrap();
    for key in ["source", "quality"] {
        assert!(parts.remove(key).is_some(), "{key}");
    }
    if !with_robots {
        parts.remove("robots");
        report["verdict"]["sentences"].as_array_mut().unwrap().pop();
    }
    report
}

#[test]
fn a_review_says_the_same_of_the_files_and_of_the_table() {
    let Some(engine) = Engine::shared() else { return };
    let (own, foreign) = (engine.table("own", |s| s), engine.table("foreign", |s| s));
    let mut site = Site::start("");
    let stories = paths(45);
    site.visit(1, FIREFOX, &as_refs(&stories[..12]));
    site.visit(2, GPTBOT, &as_refs(&stories[..20]));
    site.visit(3, "curl/8.5.0", &as_refs(&stories));
    site.visit(3, "curl/8.5.0", &["/robots.txt", "/wp-login.php", "/no/such/page?x=1"]);
    site.stop();
    let log = site.log_dir();
    assert_eq!(push(engine, own, &[&log]).0, 0);
    let (url, name) = (engine.url(WRITER), log.display().to_string());
    // The log itself knows what robots.txt said; the table does not.
    let unknown = false;
    let from_file = report(&[&name], unknown);
    assert_eq!(from_file["verdict"]["hits"], site.written().len());
    assert_eq!(report(&["--from-clickhouse", &url, "--table", own], unknown), from_file);
    let narrow = ["--since", "2020-01-01", "--site", "default", "--agent", "curl"];
    let from_file = report(&[&[name.as_str()][..], &narrow].concat(), unknown);
    assert_eq!(report(&[&["--from-clickhouse", &url, "--table", own][..], &narrow].concat(), unknown), from_file);
    let (code, ..) = run(&["review", "--from-clickhouse", &url, "--table", own, "--until", "2020-01-01"]);
    assert_eq!(code, 1, "nothing is that old");

    let dir = TempDir::new();
    let (access, robots) = (dir.path().join("access.log"), dir.path().join("robots.txt"));
    std::fs::write(&access, foreign_log()).unwrap();
    std::fs::write(&robots, "User-agent: *\nDisallow: /closed/\n").unwrap();
    assert_eq!(push(engine, foreign, &[&access]).0, 0);
    let (access, robots) = (access.display().to_string(), robots.display().to_string());
    let from_file = report(&[&access, "--robots", &robots], true);
    assert!(from_file["robots"]["rows"].as_array().unwrap().len() >= 2, "{from_file:?}");
    assert_eq!(report(&["--from-clickhouse", &url, "--table", foreign, "--robots", &robots], true), from_file);
}

#[test]
fn a_review_of_a_table_says_what_it_lacks_and_what_went_wrong() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("told", |statement| statement);
    let dir = TempDir::new();
    let access = dir.path().join("access.log");
    std::fs::write(&access, foreign_log()).unwrap();
    assert_eq!(push(engine, table, &[&access]).0, 0);
    let url = engine.url(WRITER);
    let (code, out, error) = run(&["review", "--from-clickhouse", &url, "--table", table, "--json", "-"]);
    assert_eq!(code, 0, "{error}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["quality"]["notes"][0].as_str().unwrap().contains("read from ClickHouse"), "{}", report["quality"]);
    assert_eq!((report["robots"]["evaluated"].as_bool(), report["quality"]["holes"].as_u64()), (Some(false), Some(0)));
    assert!(report["source"]["files"][0].as_str().unwrap().ends_with("default.told"), "{}", report["source"]);
    assert!(!out.contains("p@ss") && !out.contains("p%40ss"));
    let (code, _, error) = run(&["review", "--from-clickhouse", &url, "--table", "no_such_table"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("no_such_table") && !error.contains("p@ss"), "{error}");
    let (code, _, error) = run(&["review", "--from-clickhouse", &engine.url("writer:wrong@"), "--table", table]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("Authentication failed"), "{error}");
    assert_eq!(run(&["review", "--from-clickhouse", "nonsense"]).0, 2);
    assert_eq!(run(&["review", "--from-clickhouse", &url, "a.log"]).0, 2);
    assert_eq!(run(&["review", "-f", "--from-clickhouse", &url, "--table", table]).0, 2);
    assert_eq!(run(&["review", "--from-clickhouse", &url, "--table", table, "--simulate", "deckle.toml"]).0, 2);
    // Two times of one table.
    let times = ["--since", "2026-05-05", "--diff-range", "2026-05-01..2026-05-05", "--json", "-"];
    let access = access.display().to_string();
    let of_table: [&str; 5] = ["review", "--from-clickhouse", &url, "--table", table];
    let of_file: [&str; 2] = ["review", &access];
    let [from_table, from_file] = [&of_table[..], &of_file[..]].map(|of| {
        let (code, out, error) = run(&[of, &times].concat());
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Value>(&out).unwrap()["difference"].clone()
    });
    for (side, hits) in [("old", 45), ("new", 35)] {
        let expected = Value::from(hits);
        assert_eq!((&from_table[side]["hits"], &from_file[side]["hits"]), (&expected, &expected), "{side}");
    }
}

#[test]
fn the_reports_for_people_who_know_sql_run() {
    let Some(engine) = Engine::shared() else { return };
    let table = engine.table("analysts", |statement| statement);
    let dir = TempDir::new();
    let access = dir.path().join("access.log");
    std::fs::write(&access, foreign_log()).unwrap();
    assert_eq!(push(engine, table, &[&access]).0, 0);
    let text = include_str!("../../docs/clickhouse.sql").replace("deckle_hits", table);
    let parameters = "default_format=JSONEachRow&param_site=default&param_since=2026-01-01%2000:00:00\
                      &param_until=2027-01-01%2000:00:00&param_disallowed=%5B'/closed/'%5D";
    let mut reports: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for part in text.split("-- name: ").skip(1) {
        let (name, statement) = part.split_once('\n').unwrap();
        let answer = engine.ask_with(parameters, statement.trim().trim_end_matches(';'));
        reports.insert(name, answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    }
    let articles: Vec<u64> = reports["suspects"].iter().filter_map(|row| row["articles"].as_u64()).collect();
    assert!(articles.contains(&45) && articles.contains(&12), "{articles:?}");
    let robots: Vec<&str> = reports["robots_violations"].iter().filter_map(|row| row["agent"].as_str()).collect();
    assert_eq!(robots, ["CCBot", "GPTBot"]);
    let sum: f64 = reports["heat_map"].iter().filter_map(|row| row["requests"].as_f64()).sum();
    assert_eq!(sum as usize, foreign_log().lines().count());
    // The reader comes every 250 seconds: one visit.
    assert!(reports["sessions"].iter().all(|row| row["visits"] == 1), "{:?}", reports["sessions"]);
}
