//! What tracing costs, and that it names nobody who is innocent among many:
//!
//! - marks of a log against one copy, with one thread and with all;
//! - reading a copy;
//! - reading a log for its marks, against a plain pass with memchr over the same bytes;
//! - unmarked, foreign, wrapped, shuffled and hostile texts against a large log.
//!
//! `scripts/bench` runs it. `DECKLE_LONG=1` takes ten million marks, a log of a million responses (1.7 GB in the
//! directory of temporary files), and twenty texts against a million marks.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // Benches are the place that measures real time.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use deckle::review::{MarkFilter, MarkReading, read_marks};
use deckle::secret::{Secret, Secrets};
use deckle::slot::{Class, PlaceKind};
use deckle::watermark::{Candidates, Keys, Mark, Observation, Scoring, Suspect, Trace, Tracer, Verdict};

const WORDS: [&str; 16] = [
    "harbour", "council", "ferry", "market", "winter", "report", "school", "bridge", "island", "letter", "number",
    "public", "garden", "window", "silver", "travel",
];

struct Bench {
    keys: Keys,
    tracer: Tracer,
    random: fastrand::Rng,
}

fn main() {
    let secret = Secret::new(1, b"an example secret of 32 bytes or").unwrap();
    let (keys, tracer) = (Keys::new(&secret), Tracer::new(&Secrets::from(secret)));
    let mut bench = Bench { keys, tracer, random: fastrand::Rng::with_seed(7) };
    let long = std::env::var_os("DECKLE_LONG").is_some();
    bench.speed(if long { &[1_000_000, 10_000_000] } else { &[1_000_000] });
    bench.reading();
    reading_a_log(if long { 1_000_000 } else { 150_000 });
    if long { bench.innocent(4, 1_000_000) } else { bench.innocent(6, 100_000) }
}

fn log(count: u64) -> Candidates {
    let mut log = Candidates::new();
    (1..=count).for_each(|i| log.push(mark(i)));
    log.finish()
}

/// The page that shows a line of the log.
const RECORD: &str = include_str!("../docs/reference/record.md");
/// Bytes that the plain pass reads at once.
const CHUNK: usize = 1 << 18;
/// Runs of each kind, in turns; the fastest counts.
const RUNS: usize = 5;

/// A log of so many responses in one segment, each of a mark of its own.
fn write_log(path: &Path, responses: u64) {
    let line = RECORD.lines().find(|line| line.starts_with("{\"v\":1")).unwrap();
    let (before, rest) = line.split_once("\"deckle.mark.id\":\"").unwrap();
    let (before, behind) = (format!("{before}\"deckle.mark.id\":\""), rest.trim_start_matches(|b| b != '"'));
    let mut out = BufWriter::new(File::create(path).unwrap());
    for i in 1..=responses {
        writeln!(out, "{before}{}{behind}", mark(i)).unwrap();
    }
    out.flush().unwrap();
}

/// Bytes, and line feeds.
fn plain_pass(path: &Path) -> (u64, u64) {
    let (mut file, mut buffer) = (File::open(path).unwrap(), vec![0; CHUNK]);
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            return (bytes, lines);
        }
        bytes += read as u64;
        lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
    }
}

/// Reads the marks of one segment and says how many there are.
fn marks_of(path: &Path, jobs: usize, by_visitor: bool) -> u64 {
    let (filter, stop) = (MarkFilter::default(), AtomicBool::new(false));
    let reading = MarkReading { filter: &filter, by_visitor, jobs, stop: &stop, progress: &|_| {} };
    let marks = read_marks(&[path.to_owned()], &reading, &|_| {});
    assert!(marks.errors.is_empty(), "{:?}", marks.errors);
    marks.candidates.len() as u64
}

fn reading_a_log(responses: u64) {
    let dir = std::env::temp_dir().join(format!("deckle-trace-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let plain = dir.join("audit-w1-20261120T100000Z-1.ndjson");
    let packed = dir.join("audit-w1-20261120T100000Z-2.ndjson.zst");
    write_log(&plain, responses);
    zstd::stream::copy_encode(File::open(&plain).unwrap(), File::create(&packed).unwrap(), 3).unwrap();
    let (bytes, lines) = plain_pass(&plain);
    assert_eq!(lines, responses);
    let kinds: [(&str, &dyn Fn() -> u64); 6] = [
        ("a pass with memchr", &|| plain_pass(&plain).1),
        ("marks, 1 thread", &|| marks_of(&plain, 1, false)),
        ("marks, all threads", &|| marks_of(&plain, 0, false)),
        ("marks by visitor, all threads", &|| marks_of(&plain, 0, true)),
        ("marks, compressed, 1 thread", &|| marks_of(&packed, 1, false)),
        ("marks, compressed, all threads", &|| marks_of(&packed, 0, false)),
    ];
    let mut fastest = [Duration::MAX; 6];
    for _ in 0..RUNS {
        for ((_, read), fastest) in kinds.iter().zip(&mut fastest) {
            let start = Instant::now();
            assert_eq!(read(), responses);
            *fastest = start.elapsed().min(*fastest);
        }
    }
    println!("a log of {responses} responses in one segment, {:.0} MB:", bytes as f64 / 1e6);
    for ((name, _), time) in kinds.iter().zip(fastest) {
        let speed = bytes as f64 / 1e6 / time.as_secs_f64();
        println!("  {name}: {speed:.0} MB/s, {:.2} of the pass", fastest[0].as_secs_f64() / time.as_secs_f64());
    }
    std::fs::remove_dir_all(dir).unwrap();
}

fn mark(i: u64) -> Mark {
    Mark { kid: 1, id: i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16 }
}

impl Bench {
    fn article(&mut self, words: usize) -> String {
        (0..words).map(|_| self.random.choice(WORDS).unwrap()).collect::<Vec<_>>().join(" ")
    }

    /// Marked as a page of 600 words is.
    fn marked(&mut self, mark: Mark) -> String {
        let text = self.article(600);
        let words: Vec<&str> = text.split(' ').collect();
        let mut row = [0u64; 64];
        self.keys.white_row(mark.id, &mut row);
        let mut out = String::new();
        for (i, word) in words.iter().enumerate() {
            let bit = (1..words.len() - 2).contains(&i) && {
                let context = words[i - 1..i + 3].join("\x1F");
                let column = usize::from(self.keys.hash(PlaceKind::Space, context.as_bytes()).column(Class::White));
                row[column / 64] >> (column % 64) & 1 == 1
            };
            out.push_str(word);
            out.push(if bit { '\n' } else { ' ' });
        }
        out
    }

    fn observe(&self, text: &str) -> Observation {
        self.tracer.observe(&Suspect { text, label: "copy" })
    }

    fn timed(&self, seen: &Observation, log: &Candidates, jobs: usize) -> (Trace, Duration) {
        let start = Instant::now();
        let trace = self.tracer.score(std::slice::from_ref(seen), log, &Scoring { jobs, ..Scoring::default() });
        (trace, start.elapsed())
    }

    fn speed(&mut self, counts: &[u64]) {
        let guilty = mark(77);
        let copy = self.marked(guilty);
        let seen = self.observe(&copy);
        for count in counts {
            let log = log(*count);
            for (jobs, threads) in [(1, "1 thread"), (0, "all threads")] {
                let (trace, time) = self.timed(&seen, &log, jobs);
                assert_eq!((trace.verdict, trace.hits[0].mark), (Verdict::Traced, guilty));
                println!(
                    "trace {count} marks, {threads}: {time:.2?}, {:.0} ns a mark, {} slots, p = {:.1e}",
                    time.as_nanos() as f64 / *count as f64,
                    trace.slots_read,
                    trace.hits[0].adjusted
                );
            }
        }
    }

    fn reading(&mut self) {
        let text = self.article(600_000).replace("ferry council", "ferry.\n\ncouncil");
        let start = Instant::now();
        let seen = self.observe(&text);
        let time = start.elapsed();
        let speed = text.len() as f64 / 1e6 / time.as_secs_f64();
        println!("read a copy of {} words: {time:.2?}, {speed:.0} MB/s", seen.words());
    }

    /// Five kinds of texts, each so many times.
    fn innocent(&mut self, times: usize, count: u64) {
        let log = log(count);
        let (start, mut close) = (Instant::now(), 0);
        for _ in 0..times {
            let (text, stranger) = (self.article(600), Mark { kid: 1, id: self.random.u64(..) >> 16 });
            let other = self.marked(stranger);
            let mut shuffled: Vec<&str> = other.split_inclusive([' ', '\n']).collect();
            self.random.shuffle(&mut shuffled);
            let mut place = 0usize;
            let turns: String = text
                .chars()
                .map(|c| {
                    place += usize::from(c == ' ');
                    if c == ' ' && place.is_multiple_of(2) { '\n' } else { c }
                })
                .collect();
            for copy in [&text, &other, &shuffled.concat(), &turns, &text.replace(' ', "\n")] {
                let (trace, _) = self.timed(&self.observe(copy), &log, 0);
                assert_ne!(trace.verdict, Verdict::Traced, "{trace:?}");
                close += usize::from(trace.verdict == Verdict::Inconclusive);
            }
        }
        println!(
            "{} innocent texts against {count} marks: nobody named, {close} inconclusive, {:.1?}",
            times * 5,
            start.elapsed()
        );
    }
}
