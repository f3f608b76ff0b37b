//! Several processes and the store that they share: a real one, on a free port of this machine, that is killed and
//! started again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deckle::DeckleLayer;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::secret::{Secret, Secrets};
use deckle::suspicion::Assessment;
use deckle::visitor::Peer;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

use crate::support::{PATIENCE, TempDir, has};

/// A store of its own for each test.
struct Store {
    child: Child,
    port: u16,
    // Its last words would kill it if nobody could read them.
    _log: BufReader<ChildStdout>,
    _dir: TempDir,
}

impl Store {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        has("redis-server").then(|| Self::on(port))
    }

    fn on(port: u16) -> Self {
        let dir = TempDir::new();
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--port", &port.to_string()])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it did not start");
        }
        Self { child, port, _log: log, _dir: dir }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// One command, and the words of its reply, whatever their nesting.
    fn ask(&self, words: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(command.as_bytes()).unwrap();
        let mut out = Vec::new();
        read_reply(&mut BufReader::new(stream), &mut out);
        out
    }

    fn keys(&self) -> BTreeSet<String> {
        self.ask(&["KEYS", "*"]).into_iter().collect()
    }

    /// Cells that are owed under a key.
    fn owed(&self, key: &str, every: Duration) -> u128 {
        let number = |words: &[String], at: usize| words.get(at).and_then(|word| word.parse::<u128>().ok());
        let (due, now) = (self.ask(&["GET", key]), self.ask(&["TIME"]));
        let now = number(&now, 0).unwrap() * 1_000_000 + number(&now, 1).unwrap();
        number(&due, 0).map_or(0, |due| due.saturating_sub(now).div_ceil(every.as_micros()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The protocol of Redis: a sign, a number or a text, and the end of the line.
fn read_reply(reader: &mut impl BufRead, out: &mut Vec<String>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (sign, rest) = line.trim_end().split_at(1);
    match sign {
        "*" => (0..rest.parse::<i64>().unwrap()).for_each(|_| read_reply(reader, out)),
        "$" if rest == "-1" => {}
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
            reader.read_exact(&mut text).unwrap();
            out.push(String::from_utf8(text).unwrap().trim_end().to_owned());
        }
        _ => out.push(rest.to_owned()),
    }
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<AuditRecord>>>);

impl Sink for Memory {
    fn record(&self, record: Box<AuditRecord>) {
        self.0.lock().unwrap().push(*record);
    }
}

/// One process among several, as far as can be seen from outside: tables and worker of its own.
#[derive(Clone)]
struct Node {
    service: BoxCloneSyncService<Request<()>, u16, Infallible>,
    memory: Memory,
    /// Requests that found a table busy.
    busy: Arc<AtomicUsize>,
}

const PAGE: &str = "<!doctype html><html><head><title>t</title></head><body><p>Hello</p></body></html>";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// Of the hard quota of a page: a cell comes back each minute, 20 at once.
const EVERY: Duration = Duration::from_secs(60);
const BURST: usize = 20;
/// Of the requests to one node so many may find a table busy: what has it may have lost its processor.
const MOST_BUSY: usize = 50;
/// Pages of a client that nobody is told of.
const UNTOLD: usize = 4;

impl Node {
    fn new(store: &Store, clock: &Arc<ManualClock>, wait: bool, rest: &str) -> Self {
        let config = format!(
            "{rest}\n[shared]\nurl = \"redis://127.0.0.1:{}/\"\nwait = {wait}\n\
             [action.limits]\npage_hard = {{ every = \"60s\", burst = {BURST} }}\n",
            store.port
        );
        let memory = Memory::default();
        let layer = DeckleLayer::builder()
            .config(Config::from_toml(&config).unwrap())
            .secret(Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap()))
            .sink(memory.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        let site = tower::service_fn(|request: Request<()>| async move {
            let status = if request.uri().path() == "/.env" { 404 } else { 200 };
            let kind = if request.uri().path().ends_with(".css") { "text/css" } else { "text/html; charset=utf-8" };
            let builder = Response::builder().status(status).header("content-type", kind);
            Ok::<_, Infallible>(builder.body(Full::new(Bytes::from_static(PAGE.as_bytes()))).unwrap())
        });
        let service = layer.layer(site).map_response(|response| response.status().as_u16());
        Self { service: BoxCloneSyncService::new(service), memory, busy: Arc::default() }
    }

    /// Enforces, and holds nothing against anybody but the number of pages.
    fn strict(store: &Store, clock: &Arc<ManualClock>, wait: bool) -> Self {
        let quiet = "mode = \"enforce\"\n[suspicion.score]\n\
            caps = { claim = 0, headers = 0, network = 0, rate = 0, behaviour = 0, trap = 0, credit = 0 }";
        Self::new(store, clock, wait, quiet)
    }

    async fn get(&self, ip: [u8; 4], path: &str) -> (u16, Assessment) {
        let mut request = Request::builder().uri(path).header("user-agent", FIREFOX).body(()).unwrap();
        request.extensions_mut().insert(Peer { address: (ip, 1).into(), secure: false });
        let request_of = |record: &AuditRecord| record.visitor.as_ref().and_then(|v| v.address.ip) == Some(ip.into());
        let status = self.service.clone().oneshot(request).await.unwrap();
        let mut records = self.memory.0.lock().unwrap();
        let last = records.iter().rposition(request_of).expect("every response has a record");
        (status, records.swap_remove(last).assessment.unwrap())
    }

    /// A request that finds a table busy is served, asks for no quota and tells nobody; so it is made once more, when whoever
    /// had the table may have gone on. There are few of them.
    async fn page(&self, ip: [u8; 4]) -> u16 {
        loop {
            let (status, assessment) = self.get(ip, "/news/a-b-c").await;
            if !assessment.degraded {
                return status;
            }
            assert_eq!(status, 200);
            assert!(self.busy.fetch_add(1, Ordering::Relaxed) < MOST_BUSY, "the table is nearly always busy");
            std::thread::yield_now();
        }
    }

    /// Pages that are served until one is refused.
    async fn pages(&self, ip: [u8; 4]) -> usize {
        for served in 0..1_000 {
            match self.page(ip).await {
                200 => {}
                429 => return served,
                other => panic!("{other}"),
            }
        }
        panic!("nothing was refused");
    }

    /// It goes on by what it knows itself. A file is asked for: nobody is told of that.
    async fn is_cut_off(&self) -> bool {
        self.get([203, 0, 113, 250], "/style.css").await.1.cut_off
    }
}

/// Asks again and again until it is so, no longer than the patience of all tests.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.expect("it never was");
}

async fn online(nodes: [&Node; 2]) {
    for node in nodes {
        until(async || !node.is_cut_off().await).await;
    }
}

/// Uses up the burst of a client at one process, and says how many pages another one serves it then.
async fn left_elsewhere(store: &Store, [a, b]: [&Node; 2], ip: [u8; 4]) -> usize {
    let before = store.keys();
    assert_eq!(a.pages(ip).await, BURST, "the limit of one process");
    let told = (BURST - UNTOLD) as u128;
    let mut key = String::new();
    until(async || {
        let mut new = store.keys().into_iter().filter(|key| !before.contains(key));
        key = new.find(|key| key.ends_with(":l:page_hard")).unwrap_or_default();
        store.owed(&key, EVERY) == told
    })
    .await;
    for served in 0..BURST {
        if b.page(ip).await == 429 {
            return served;
        }
        // The store has counted it, or has no cell left.
        let counted = (told + (served + 1).saturating_sub(UNTOLD) as u128).min(BURST as u128);
        until(async || store.owed(&key, EVERY) >= counted).await;
    }
    BURST
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_one_burst_and_not_one_in_each_process() {
    for wait in [false, true] {
        let Some(store) = Store::start() else { return };
        let clock = ManualClock::at(1_795_000_000);
        let (a, b) = (Node::strict(&store, &clock, wait), Node::strict(&store, &clock, wait));
        online([&a, &b]).await;
        for _ in 0..UNTOLD {
            assert_eq!(a.page([203, 0, 113, 1]).await, 200);
        }
        assert_eq!(store.keys(), BTreeSet::new(), "readers in good standing are nobody's business");
        let served = left_elsewhere(&store, [&a, &b], [203, 0, 113, 2]).await;
        // Four of each process are untold, and an answer may come one page too late.
        assert!((8..=10).contains(&served), "{served}, wait {wait}");
        let keys = store.keys();
        for key in &keys {
            let (name, kind) = key.strip_prefix("dk1:{").and_then(|rest| rest.split_once("}:")).unwrap();
            assert!(name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
            assert!(["l:page_hard", "l:page_soft", "l:page_hour", "p"].contains(&kind), "{key}");
            let lives = store.ask(&["PTTL", key])[0].parse::<i64>().unwrap();
            assert!(lives > 0, "{key} would stay for ever");
        }
        assert!(keys.len() >= 3, "{keys:?}");
    }
}

/// Else N processes would go on at N times the rate: each gives a page whenever one comes back.
#[test]
fn what_is_gone_counts_beyond_the_burst_and_what_is_asked_for_does_not() {
    let Some(store) = Store::start() else { return };
    let gcra = include_str!("../../src/suspicion/shared/gcra.lua");
    let every = EVERY.as_micros().to_string();
    let burst = BURST.to_string();
    let debit = |gone: &str| store.ask(&["EVAL", gcra, "1", "quota", &every, &burst, "1", gone]).remove(0);
    for _ in 0..BURST {
        assert_eq!(debit("0"), "1");
    }
    assert_eq!((debit("0").as_str(), store.owed("quota", EVERY)), ("0", BURST as u128), "a refusal changes nothing");
    for gone in 1..=5 {
        assert_eq!((debit("1").as_str(), store.owed("quota", EVERY)), ("0", BURST as u128 + gone));
    }
    for _ in 0..10 * BURST {
        debit("1");
    }
    assert_eq!(store.owed("quota", EVERY), 9 * BURST as u128, "there is an end to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_has_seen_counts_in_the_others() {
    let Some(store) = Store::start() else { return };
    let clock = ManualClock::at(1_795_000_000);
    let (a, b) = (Node::new(&store, &clock, false, ""), Node::new(&store, &clock, false, ""));
    online([&a, &b]).await;
    let scanner = [203, 0, 113, 3];
    assert_eq!(b.get(scanner, "/news/a-b-c").await.1.points.trap.to_bits(), 0);
    a.get(scanner, "/.env").await;
    // The next request shows what came of it, and is told of.
    assert!(a.get(scanner, "/news/a-b-c").await.1.points.trap >= 39.0);
    until(async || b.get(scanner, "/news/a-b-c").await.1.points.trap >= 39.0).await;
    // Two see the same; it counts once.
    assert!(b.get(scanner, "/news/a-b-c").await.1.points.trap <= 41.0);
    // Behind the same address, another browser is another visitor.
    let mut neighbour = Request::builder().uri("/").header("user-agent", "Lynx/2.9.0").body(()).unwrap();
    neighbour.extensions_mut().insert(Peer { address: (scanner, 1).into(), secure: false });
    assert_eq!(b.service.clone().oneshot(neighbour).await.unwrap(), 200);
    let last = b.memory.0.lock().unwrap().pop().unwrap().assessment.unwrap();
    assert_eq!(last.points.trap.to_bits(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_store_takes_the_sharing_with_it_and_nothing_else() {
    for wait in [false, true] {
        let Some(mut store) = Store::start() else { return };
        let clock = ManualClock::at(1_795_000_000);
        let (a, b) = (Node::strict(&store, &clock, wait), Node::strict(&store, &clock, wait));
        online([&a, &b]).await;
        // It dies in the middle of all this. No request fails, and each process keeps to its limits.
        let half = Arc::new(Notify::new());
        let clients: Vec<_> = (0..8u8)
            .map(|client| {
                let (node, half) = (if client % 2 == 0 { a.clone() } else { b.clone() }, Arc::clone(&half));
                tokio::spawn(async move {
                    let mut served = 0;
                    for page in 0..200 {
                        match node.page([198, 51, 100, client]).await {
                            200 => served += 1,
                            status => assert_eq!(status, 429),
                        }
                        if page == BURST / 2 {
                            half.notify_one();
                        }
                    }
                    served
                })
            })
            .collect();
        half.notified().await;
        store.kill();
        for client in clients {
            assert_eq!(client.await.unwrap(), BURST);
        }
        // Whoever is told of finds out.
        for node in [&a, &b] {
            until(async || node.get([198, 51, 100, 9], "/news/a-b-c").await.1.cut_off).await;
        }
        for node in [&a, &b] {
            assert_eq!(node.pages([203, 0, 113, 4]).await, BURST, "nothing is shared, and the limit is there");
        }
        // Another one on the same port: the programs and all debts are gone with the first.
        let store = Store::on(store.port);
        clock.advance(Duration::from_secs(40));
        online([&a, &b]).await;
        let served = left_elsewhere(&store, [&a, &b], [203, 0, 113, 5]).await;
        assert!((8..=10).contains(&served), "{served}, wait {wait}");
    }
}
