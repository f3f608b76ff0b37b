//! Four connections ask as fast as they are answered, while the disk of the log is slow: nobody waits for the log, and every
//! request is a line or a counted drop. Beside it, in turns, the same proxy without a log.
//!
//! `scripts/audit_acceptance` runs it and says which library makes the disk slow (`--slow`, see `slow_disk.c`). Prints one
//! line of JSON.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CONNECTIONS: usize = 4;
const ROUNDS: usize = 10;
/// No answer takes longer, or somebody was blocked.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"GET /static/base.css HTTP/1.1\r\nHost: x\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/css\r\n\r\n";

#[allow(clippy::disallowed_methods)] // Benches are the place that measures real time.
fn main() {
    let argument = |flag: &str| std::env::args().skip_while(|a| a != flag).nth(1);
    let requests: usize = argument("--requests").map_or(20_000, |number| number.parse().unwrap());
    let slow = argument("--slow").map(|library| (library, argument("--delay-ms").unwrap_or_else(|| "50".to_owned())));
    let dir = std::env::temp_dir().join(format!("deckle-audit-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let off = Server::start(&dir.join("off"), "false", None);
    let on = Server::start(&dir.join("on"), "true", slow.as_ref());
    let slice = (requests / CONNECTIONS / ROUNDS).max(1);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for _ in 0..ROUNDS {
        without.extend(off.ask(slice));
        with.extend(on.ask(slice));
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(off);
    let log = on.stop();
    let (lines, dropped) = count(&log);
    let p99 = [&mut without, &mut with].map(|times| {
        times.sort_unstable();
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    });
    let figures = json!({
        "requests": with.len(), "lines": lines, "dropped": dropped, "slow": slow.is_some(),
        "requests_per_s": ((with.len() + without.len()) as f64 / seconds).round(),
        "p50_off_us": p99[0][0], "p99_off_us": p99[0][1], "p50_on_us": p99[1][0], "p99_on_us": p99[1][1],
    });
    std::fs::remove_dir_all(dir).unwrap();
    println!("{figures}");
}

/// `deckle proxy` before its demo site. It ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(log: &Path, audit: &str, slow: Option<&(String, String)>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deckle"));
        command.args(["proxy", "--listen", "127.0.0.1:0", "--mode", "observe", "--log-dir"]).arg(log);
        // One segment, so that every line can be counted as it is.
        command.env("DECKLE_AUDIT__ENABLED", audit).env("DECKLE_AUDIT__ROTATE_SIZE", "64GiB");
        command.env("DECKLE_AUDIT__COMPRESS", "none").env("DECKLE_VISITOR__RANGES__REFRESH", "0s");
        if let Some((library, delay)) = slow {
            command.env("LD_PRELOAD", library).env("SLOW_DISK_MS", delay);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("deckle: listening on http://").unwrap().parse().unwrap();
        Self { child, address, log: log.to_owned() }
    }

    /// So many requests on each connection; microseconds of each.
    fn ask(&self, requests: usize) -> Vec<u32> {
        let address = self.address;
        std::thread::scope(|scope| {
            let ask = move || {
                let mut connection = Connection::to(address);
                (0..requests).map(|_| u32::try_from(connection.ask().as_micros()).unwrap()).collect::<Vec<u32>>()
            };
            let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }

    /// Asks it to stop and waits until its log is closed.
    fn stop(mut self) -> PathBuf {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log.clone()
    }
}

/// One connection, one request after the other.
struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::with_capacity(16 << 10, stream), body: Vec::new() }
    }

    /// The time of one exchange. Whatever is no whole answer with status 200 ends the bench.
    #[allow(clippy::disallowed_methods)]
    fn ask(&mut self) -> Duration {
        let start = Instant::now();
        self.stream.get_mut().write_all(REQUEST).unwrap();
        let (mut length, mut line) = (None, String::new());
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        self.body.resize(length.unwrap(), 0);
        self.stream.read_exact(&mut self.body).unwrap();
        start.elapsed()
    }
}

/// Responses in the log, and losses that it tells of.
fn count(log: &Path) -> (u64, u64) {
    let (mut lines, mut dropped) = (0, 0);
    for path in std::fs::read_dir(log).unwrap().flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|end| end != "ndjson") {
            continue;
        }
        for line in BufReader::new(std::fs::File::open(path).unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            match line.get("deckle.kind").and_then(Value::as_str) {
                None => lines += 1,
                Some("gap") => {
                    let fields = line.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("dropped."));
                    dropped += fields.filter_map(|(_, number)| number.as_u64()).sum::<u64>();
                }
                Some(_) => {}
            }
        }
    }
    (lines, dropped)
}
