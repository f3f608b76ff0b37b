//! Servers and clients of the tests: all on loopback, all bounded in time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No wait in a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes away.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("deckle-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program, running.
pub(crate) struct Deckle {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) log: TempDir,
}

impl Deckle {
    /// `deckle proxy` on a free port with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::with_config("", arguments)
    }

    pub(crate) fn with_config(config: &str, arguments: &[&str]) -> Self {
        let log = TempDir::new();
        std::fs::write(log.path().join("deckle.toml"), config).unwrap();
        let (child, address) = spawn(&log, arguments);
        Self { child, address, log }
    }

    /// Kills it, as a crash would, and starts it again with the same files.
    pub(crate) fn restart(&mut self, arguments: &[&str]) {
        self.kill();
        (self.child, self.address) = spawn(&self.log, arguments);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.log.path().join("log")
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.log.path().join("deckle.toml")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, waits, and gives every line of the log.
    pub(crate) fn stop(mut self) -> (Vec<serde_json::Value>, TempDir) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        let lines = read_log(&self.log_dir());
        let log = std::mem::replace(&mut self.log, TempDir::new());
        (lines, log)
    }
}

impl Drop for Deckle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(log: &TempDir, arguments: &[&str]) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deckle"))
        .args(["proxy", "--listen", "127.0.0.1:0", "--log-dir"])
        .arg(log.path().join("log"))
        .arg("--config")
        .arg(log.path().join("deckle.toml"))
        .args(arguments)
        // Nothing of a test leaves this machine.
        .env("DECKLE_VISITOR__RANGES__REFRESH", "0s")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("deckle: listening on http://").unwrap_or_else(|| panic!("{line:?}"));
    (child, address.parse().unwrap())
}

/// Every line of every open segment.
pub(crate) fn read_log(dir: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "ndjson"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|f| {
            std::fs::read_to_string(f).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

/// Lines that are responses.
pub(crate) fn hits(lines: &[serde_json::Value]) -> Vec<&serde_json::Value> {
    lines.iter().filter(|l| l.get("deckle.kind").is_none()).collect()
}

/// A request as the upstream of a test sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An upstream that answers raw bytes.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
}

impl Upstream {
    /// `answer` writes the whole response to the socket; the connection is closed after it.
    pub(crate) fn start(answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    if let Some(seen) = read_request(&stream) {
                        answer(&seen, &mut stream);
                    }
                });
            }
        });
        Self { address }
    }

    /// Answers everything with these header lines and this body, in pieces of `chunk` bytes.
    pub(crate) fn fixed(head: &str, body: Vec<u8>, chunk: usize) -> Self {
        let head = head.to_owned();
        Self::start(move |_, stream| {
            let start = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(start.as_bytes());
            for piece in body.chunks(chunk) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split_whitespace();
    let target = parts.nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { target, headers, body })
}

/// A response as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The message ended as its framing says.
    pub(crate) complete: bool,
}

/// A request from an address of its own: all of 127/8 is this machine.
pub(crate) fn request_from(client: Ipv4Addr, server: SocketAddr, raw: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(raw.as_bytes()).unwrap();
    stream
}

/// GET with extra header lines (each ending in CRLF), to the end of the connection.
pub(crate) fn get(client: Ipv4Addr, server: SocketAddr, path: &str, extra: &str) -> Answer {
    let raw = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{extra}\r\n");
    read_answer(request_from(client, server, &raw))
}

pub(crate) fn read_answer(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let (body, complete) = if headers.get("transfer-encoding").is_some_and(|t| t == "chunked") {
        read_chunks(&mut reader)
    } else {
        let mut body = Vec::new();
        let read = reader.read_to_end(&mut body);
        let declared = headers.get("content-length").and_then(|l| l.parse::<usize>().ok());
        let complete = read.is_ok() && declared.is_none_or(|d| d == body.len());
        (body, complete)
    };
    Answer { status, headers, body, complete }
}

fn read_chunks(reader: &mut impl BufRead) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).is_err() {
            return (body, false);
        }
        let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return (body, false) };
        let mut chunk = vec![0; size + 2];
        if reader.read_exact(&mut chunk).is_err() {
            return (body, false);
        }
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Marks that an answer of `deckle trace` names beyond doubt; a shortlist of an inconclusive one accuses nobody.
pub(crate) fn accused(document: &serde_json::Value) -> Vec<&serde_json::Value> {
    let is_named = |m: &&serde_json::Value| document["verdict"] == "traced" && m["p_value"].as_f64().unwrap() <= 1e-9;
    document["matches"].as_array().unwrap().iter().filter(is_named).collect()
}

/// Is this program here? A test without it prints why it does not run.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Pages of the corpus, or a printed reason.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
    let Ok(entries) = std::fs::read_dir(format!("{dir}/pages")) else {
        eprintln!("skipped: no corpus at {dir} (set DECKLE_CORPUS)");
        return Vec::new();
    };
    let mut pages: Vec<(String, Vec<u8>)> = entries
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "html"))
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect();
    pages.sort();
    pages
}
