//! A stand-in for the store: it speaks what deckle speaks of the protocol of Redis (RESP 2), on loopback, and does what
//! deckle's two programs do, by the clock of the simulation.
//!
//! That the programs do the same in a real store is shown by `tests/it/shared.rs`.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use deckle::clock::{Clock, ManualClock};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// By these names the two programs of `src/suspicion/shared/` are called: as many digits as in Redis, but of SHA-256. A
/// program that was changed has another name, and is refused.
const GCRA: &str = "27d949bd531a90df4194bb0dc1b90ce0d1078d6c";
const POINTS: &str = "0e153d45d9e71aee54cf7c6b296703742d7ffd18";

/// Runs until it is dropped; then connections break and new ones are refused.
pub(crate) struct Store {
    books: Arc<Books>,
    ports: Vec<u16>,
    _doors: JoinSet<()>,
}

/// What the store holds, and what was asked of it. Outlives the store.
pub(crate) struct Books {
    clock: Arc<ManualClock>,
    /// From a command to its reply.
    delay: Duration,
    entries: Mutex<Entries>,
    nodes: Vec<Counter>,
    /// Batches that were read and are not answered.
    in_flight: AtomicUsize,
    programs: AtomicUsize,
    strange: AtomicBool,
    /// Batches that were read.
    batches: AtomicUsize,
}

/// What one node has asked.
#[derive(Debug, Default)]
struct Counter {
    commands: AtomicU64,
    bytes: AtomicU64,
}

impl Store {
    /// A door for each node, so that it is known who asks.
    pub(crate) async fn open(nodes: usize, clock: Arc<ManualClock>, delay: Duration) -> io::Result<Self> {
        let books = Arc::new(Books {
            clock,
            delay,
            entries: Mutex::default(),
            nodes: (0..nodes).map(|_| Counter::default()).collect(),
            in_flight: AtomicUsize::new(0),
            programs: AtomicUsize::new(0),
            strange: AtomicBool::new(false),
            batches: AtomicUsize::new(0),
        });
        let (mut ports, mut doors) = (Vec::with_capacity(nodes), JoinSet::new());
        for node in 0..nodes {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            ports.push(listener.local_addr()?.port());
            doors.spawn(listen(listener, node, Arc::clone(&books)));
        }
        Ok(Self { books, ports, _doors: doors })
    }

    pub(crate) fn books(&self) -> Arc<Books> {
        Arc::clone(&self.books)
    }

    pub(crate) fn url(&self, node: usize) -> Option<String> {
        self.ports.get(node).map(|port| format!("redis://127.0.0.1:{port}/"))
    }

    /// Somebody waits for a reply.
    pub(crate) fn is_busy(&self) -> bool {
        self.books.in_flight.load(Ordering::Relaxed) > 0
    }
}

impl Books {
    /// Nodes that have handed over both programs; `None`: one of these is not known here.
    pub(crate) fn connected(&self) -> Option<usize> {
        let strange = self.strange.load(Ordering::Relaxed);
        (!strange).then(|| self.programs.load(Ordering::Relaxed) / 2)
    }

    /// Commands, connections and their programs left out, and bytes in both directions, of each node.
    pub(crate) fn traffic(&self) -> Vec<(u64, u64)> {
        let of = |counter: &Counter| (counter.commands.load(Ordering::Relaxed), counter.bytes.load(Ordering::Relaxed));
        self.nodes.iter().map(of).collect()
    }

    /// Grows when somebody asks, and when somebody is answered.
    pub(crate) fn steps(&self) -> usize {
        2 * self.batches.load(Ordering::Relaxed) - self.in_flight.load(Ordering::Relaxed)
    }

    fn count(&self, node: usize, commands: u64, bytes: usize) {
        if let Some(counter) = self.nodes.get(node) {
            counter.commands.fetch_add(commands, Ordering::Relaxed);
            counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// The replies to all commands that have come whole, and how many bytes those had.
    fn answer(&self, node: usize, input: &[u8]) -> (String, usize) {
        let (mut replies, mut rest) = (String::new(), input);
        while let Some((words, behind)) = command(rest) {
            replies.push_str(&self.reply(node, &words));
            rest = behind;
        }
        (replies, input.len() - rest.len())
    }

    fn reply(&self, node: usize, words: &[&str]) -> String {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.unix();
        match words {
            ["CLIENT", ..] => "+OK\r\n".to_owned(),
            ["SCRIPT", "LOAD", text] => self.load(text),
            ["EVALSHA", GCRA, _, key, every, burst, cost, gone] => {
                self.count(node, 1, 0);
                let [every, burst, cost] = [every, burst, cost].map(|word| word.parse().unwrap_or(1));
                array(&entries.debit(key, (every, burst, cost), *gone == "1", now.as_micros() as u64))
            }
            ["EVALSHA", POINTS, _, key, told @ ..] => {
                self.count(node, 1, 0);
                let told: Vec<f64> = told.iter().map(|word| word.parse().unwrap_or_default()).collect();
                array(&entries.add(key, &told, now.as_millis() as f64))
            }
            _ => "-ERR the stand-in does not know this\r\n".to_owned(),
        }
    }

    fn load(&self, text: &str) -> String {
        let mut name = HEXLOWER.encode(&Sha256::digest(text));
        name.truncate(GCRA.len());
        if name == GCRA || name == POINTS {
            self.programs.fetch_add(1, Ordering::Relaxed);
        } else {
            self.strange.store(true, Ordering::Relaxed);
        }
        format!("${}\r\n{name}\r\n", name.len())
    }
}

/// The keys and their values.
#[derive(Debug, Default)]
struct Entries {
    /// When the next cell of a quota is due, in µs since 1970.
    due: HashMap<String, u64>,
    points: HashMap<String, Known>,
}

/// Points by group, as they were at a time in ms since 1970.
#[derive(Debug)]
struct Known {
    at: f64,
    points: Vec<f64>,
}

impl Entries {
    /// `gcra.lua`: let through or not, µs to wait, µs owed afterwards.
    fn debit(&mut self, key: &str, (every, burst, cost): (u64, u64, u64), gone: bool, now: u64) -> Vec<u64> {
        let due = self.due.get(key).copied().unwrap_or(now).max(now);
        let next = due + every * cost;
        let wait = next.saturating_sub(now + every * burst);
        if wait > 0 && !gone {
            return vec![0, wait, due - now];
        }
        let next = next.min(now + 9 * every * burst);
        self.due.insert(key.to_owned(), next);
        vec![u64::from(wait == 0), wait, next - now]
    }

    /// `points.lua`: the points of each group, in thousandths.
    fn add(&mut self, key: &str, told: &[f64], now: f64) -> Vec<u64> {
        let known = self.points.get(key);
        let age = known.map_or(0.0, |known| (now - known.at).max(0.0));
        let sum = |(group, [half, most, level, added]): (usize, &[f64; 4])| {
            let had = known.and_then(|known| known.points.get(group)).copied().unwrap_or_default();
            let left = had * 0.5_f64.powf(age / half);
            (left.max(*level) + added).min(*most)
        };
        let points: Vec<f64> = told.as_chunks::<4>().0.iter().enumerate().map(sum).collect();
        let replies = points.iter().map(|points| (points * 1_000.0) as u64).collect();
        if points.iter().any(|points| *points >= 0.001) {
            self.points.insert(key.to_owned(), Known { at: now, points });
        }
        replies
    }
}

async fn listen(listener: TcpListener, node: usize, books: Arc<Books>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, node, Arc::clone(&books)));
    }
}

async fn serve(mut stream: TcpStream, node: usize, books: Arc<Books>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut buffer) = (Vec::new(), vec![0; 1 << 14]);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..read]);
        let (replies, used) = books.answer(node, &input);
        input.drain(..used);
        books.count(node, 0, read + replies.len());
        if replies.is_empty() {
            continue;
        }
        books.batches.fetch_add(1, Ordering::Relaxed);
        books.in_flight.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(books.delay).await;
        let written = stream.write_all(replies.as_bytes()).await;
        books.in_flight.fetch_sub(1, Ordering::Relaxed);
        written?;
    }
}

/// The words of the first command, and what stands behind it. `None`: it has not come whole.
fn command(input: &[u8]) -> Option<(Vec<&str>, &[u8])> {
    let (count, mut rest) = number(input, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, text) = number(rest, b'$')?;
        words.push(std::str::from_utf8(text.get(..length)?).ok()?);
        rest = text.get(length..)?.strip_prefix(b"\r\n")?;
    }
    Some((words, rest))
}

/// The number of a line that begins so, and what stands behind the line.
fn number(input: &[u8], sign: u8) -> Option<(usize, &[u8])> {
    let text = input.strip_prefix(&[sign])?;
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
    Some((number, text.get(end + 2..)?))
}

fn array(numbers: &[u64]) -> String {
    let mut text = format!("*{}\r\n", numbers.len());
    for number in numbers {
        text.push_str(&format!(":{number}\r\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_programs_are_those_whose_work_it_does() {
        let programs = [
            include_str!("../../src/suspicion/shared/gcra.lua"),
            include_str!("../../src/suspicion/shared/points.lua"),
        ];
        let names = programs.map(|text| HEXLOWER.encode(&Sha256::digest(text)));
        assert!(names[0].starts_with(GCRA) && names[1].starts_with(POINTS), "{names:?}");
    }

    #[test]
    fn a_quota_gives_its_burst_and_then_a_cell_at_a_time() {
        let mut entries = Entries::default();
        let mut at = |now, gone| entries.debit("l", (SECOND, 5, 1), gone, 9 * SECOND + now);
        for owed in 1..=5 {
            assert_eq!(at(0, owed % 2 == 0), [1, 0, owed * SECOND]);
        }
        assert_eq!(at(100_000, false), [0, 900_000, 4_900_000], "a refusal changes nothing");
        assert_eq!(at(2 * SECOND, false), [1, 0, 4 * SECOND]);
        assert_eq!(at(2 * SECOND, true), [1, 0, 5 * SECOND]);
        assert_eq!(at(2 * SECOND, true), [0, SECOND, 6 * SECOND], "what is gone counts");
        for _ in 0..99 {
            at(2 * SECOND, true);
        }
        assert_eq!(at(2 * SECOND, true)[2], 45 * SECOND, "nine bursts at most");
    }

    #[test]
    fn points_fade_and_what_is_true_counts_once() {
        let mut entries = Entries::default();
        assert_eq!(entries.add("p", &[1_000.0, 30.0, 15.0, 6.0], 0.0), [21_000]);
        assert_eq!(entries.add("p", &[1_000.0, 30.0, 15.0, 0.0], 0.0), [21_000]);
        assert_eq!(entries.add("p", &[1_000.0, 30.0, 0.0, 0.0], 1_000.0), [10_500]);
        assert_eq!(entries.add("p", &[1_000.0, 30.0, 0.0, 90.0], 1_000.0), [30_000], "the cap");
        assert_eq!(entries.add("q", &[1_000.0, 30.0, 0.0, 0.0], 0.0), [0]);
        assert!(!entries.points.contains_key("q"), "nothing new and nothing known writes nothing");
    }

    #[test]
    fn commands_are_read_whole_or_not_at_all() {
        let two = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nid\r\n*1\r\n$4\r\nPING\r\n";
        let (words, rest) = command(two).unwrap();
        assert_eq!(words, ["CLIENT", "id"]);
        assert_eq!(command(rest).unwrap(), (vec!["PING"], &b""[..]));
        for end in 0..24 {
            assert_eq!(command(&two[..end]), None, "{end}");
        }
    }
}
