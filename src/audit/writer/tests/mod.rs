//! Disks that are slow, full or faulty, and what the log says about them.

mod notes;
mod retention;
mod told;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::{Surroundings, Writer};
use crate::audit::privacy::Pseudonyms;
use crate::audit::record::blank;
use crate::audit::storage::{Output, Storage};
use crate::audit::{Anchor, AuditRecord, FileSink, Settings, Sink};
use crate::clock::{ManualClock, SharedClock, SystemClock};
use crate::unit::{Size, Span};

/// A disk of so many bytes, that may fail in other ways, too.
#[derive(Default)]
struct Broken {
    files: Mutex<Vec<(PathBuf, Vec<u8>)>>,
    room: AtomicU64,
    panics: AtomicBool,
    /// Nothing can be cut off.
    uncut: AtomicBool,
    writes: AtomicU64,
    /// It stands still: a write waits until it moves again.
    still: Mutex<bool>,
    moves: Condvar,
    /// A write has waited for too long.
    gave_up: AtomicBool,
}

/// A disk stands still for no longer.
const PATIENCE: Duration = Duration::from_secs(120);

impl Broken {
    fn stand_still(&self, still: bool) {
        *self.still.lock().unwrap() = still;
        self.moves.notify_all();
    }

    fn wait(&self) {
        let still = self.still.lock().unwrap();
        let (_still, waited) = self.moves.wait_timeout_while(still, PATIENCE, |still| *still).unwrap();
        self.gave_up.fetch_or(waited.timed_out(), Ordering::SeqCst);
    }
}

struct Handle(Arc<Broken>, usize);
struct Disk(Arc<Broken>);

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.0.panics.swap(false, Ordering::SeqCst), "the disk has burst");
        self.0.wait();
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        let room = self.0.room.load(Ordering::SeqCst);
        // As a disk does: it takes what it can, and then nothing.
        let taken = bytes.len().min(usize::try_from(room).unwrap());
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.room.fetch_sub(taken as u64, Ordering::SeqCst);
        self.0.files.lock().unwrap()[self.1].1.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.files.lock().unwrap()[self.1].1.len() as u64)
    }

    fn is_deleted(&self) -> bool {
        false
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        if self.0.uncut.load(Ordering::SeqCst) {
            return Err(ErrorKind::Other.into());
        }
        self.0.files.lock().unwrap()[self.1].1.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut files = self.0.files.lock().unwrap();
        files.push((path.to_owned(), Vec::new()));
        Ok(Box::new(Handle(Arc::clone(&self.0), files.len() - 1)))
    }

    fn free(&self, _: &Path) -> Option<u64> {
        Some(self.0.room.load(Ordering::SeqCst))
    }
}

/// A writer without a thread, and its disk of a million bytes.
fn alone(settings: &Settings, clock: SharedClock) -> (Writer, Arc<Broken>) {
    let disk = Arc::new(Broken { room: AtomicU64::new(1_000_000), ..Broken::default() });
    let outside = Surroundings {
        clock,
        storage: Box::new(Disk(Arc::clone(&disk))),
        stats: Arc::default(),
        signals: Arc::default(),
        signer: None,
        pseudonyms: Pseudonyms::shared(None),
        secrets: Vec::new(),
        heads: None,
    };
    (Writer::open(settings, outside).unwrap(), disk)
}

/// All lines on the disk.
fn lines_of(disk: &Broken) -> Vec<Value> {
    let files = disk.files.lock().unwrap();
    let lines = files.iter().flat_map(|(_, bytes)| bytes.split_inclusive(|byte| *byte == b'\n'));
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

struct Rig {
    disk: Arc<Broken>,
    clock: Arc<ManualClock>,
    sink: FileSink,
    dir: PathBuf,
}

impl Rig {
    fn new(name: &str, room: u64, min_free: u64) -> Self {
        let dir = std::env::temp_dir().join(format!("deckle-{name}-{}", std::process::id()));
        let disk = Arc::new(Broken { room: AtomicU64::new(room), ..Broken::default() });
        let clock = ManualClock::at(1_790_000_000);
        let settings = Settings {
            dir: dir.display().to_string(),
            instance: Some("w1".into()),
            flush: Span(Duration::from_millis(1)),
            min_free: Size(min_free),
            anchor: Anchor::File(dir.join("heads.txt")),
            ..Settings::default()
        };
        let sink = FileSink::with_storage(&settings, clock.clone(), Box::new(Disk(Arc::clone(&disk))), None).unwrap();
        Self { disk, clock, sink, dir }
    }

    /// Records until something has happened; the writer is another thread.
    fn record_until(&self, mut done: impl FnMut() -> bool) -> u64 {
        let mut records = 0;
        while !done() {
            self.sink.record(Box::new(blank()));
            records += 1;
            assert!(records < 5_000_000, "nothing happened");
            std::thread::yield_now();
        }
        records
    }

    /// Waits for the writer, which is another thread.
    fn until(done: impl Fn() -> bool) {
        let patience = SystemClock::shared();
        while !done() {
            assert!(patience.elapsed() < PATIENCE, "nothing happened");
            std::thread::yield_now();
        }
    }

    /// One record, until it is written.
    fn write(&self, record: AuditRecord) {
        let written = self.sink.stats().written();
        self.sink.record(Box::new(record));
        Self::until(|| self.sink.stats().written() > written);
    }

    fn segments(&self) -> usize {
        self.disk.files.lock().unwrap().len()
    }

    fn lines(&self) -> Vec<Value> {
        let files = self.disk.files.lock().unwrap();
        let text: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert!(text.ends_with(b"\n"), "a line is torn");
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn of_kind<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["deckle.kind"] == kind).collect()
}

fn hits(lines: &[Value]) -> u64 {
    lines.iter().filter(|line| line.get("deckle.kind").is_none()).count() as u64
}

#[test]
fn a_full_disk_costs_records_that_are_counted_and_nothing_else() {
    let rig = Rig::new("full", 60_000, 0);
    let mut sent = rig.record_until(|| rig.sink.stats().drops().disk_full > 0);
    assert!(rig.sink.stats().is_degraded());
    // Room again; after the wait it is tried again.
    rig.disk.room.store(10_000_000, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(60));
    let written = rig.sink.stats().written();
    sent += rig.record_until(|| rig.sink.stats().written() > written);
    rig.sink.close();
    let (lines, drops) = (rig.lines(), rig.sink.stats().drops());
    assert_eq!(hits(&lines) + drops.sum(), sent, "requests = lines + drops");
    let told: u64 = of_kind(&lines, "gap").iter().map(|gap| gap["dropped.disk_full"].as_u64().unwrap_or(0)).sum();
    assert_eq!(told, drops.disk_full);
    assert!(!rig.sink.stats().is_degraded());
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        assert_eq!(next["deckle.seq"].as_u64(), line["deckle.seq"].as_u64().map(|seq| seq + 1), "{line} {next}");
    }
}

/// Two million records at full speed while one write does not come back: whoever waited for the disk would wait for ever.
#[test]
fn a_disk_that_stands_still_blocks_nobody_and_every_record_is_a_line_or_a_drop() {
    const CONNECTIONS: u64 = 4;
    const RECORDS: u64 = 500_000;
    let rig = Rig::new("still", 1 << 40, 0);
    rig.disk.stand_still(true);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| (0..RECORDS).for_each(|_| rig.sink.record(Box::new(blank()))));
        }
    });
    let stats = rig.sink.stats();
    assert!(!rig.disk.gave_up.load(Ordering::SeqCst), "records waited for the disk");
    assert_eq!(stats.written(), 0, "the disk has not stood still");
    // What the queue and the writer hold is not lost yet.
    let (lost, most) = (stats.drops().channel_full, CONNECTIONS * RECORDS);
    assert!((most - 20_000..most).contains(&lost), "{lost} lost");
    rig.disk.stand_still(false);
    rig.sink.close();
    let (lines, drops) = (rig.lines(), rig.sink.stats().drops());
    assert_eq!(hits(&lines) + drops.sum(), most, "requests = lines + drops");
    assert_eq!(drops.channel_full, drops.sum(), "{drops:?}");
    let told: u64 = of_kind(&lines, "gap").iter().map(|gap| gap["dropped.channel_full"].as_u64().unwrap_or(0)).sum();
    assert_eq!(told, drops.channel_full);
}

#[test]
fn without_room_it_starts_and_writes_when_there_is_some() {
    let rig = Rig::new("no-room", 0, 0);
    rig.record_until(|| rig.sink.stats().drops().sum() > 0);
    rig.disk.room.store(10_000_000, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(60));
    rig.record_until(|| rig.sink.stats().written() > 0);
    rig.sink.close();
    assert_eq!(of_kind(&rig.lines(), "end").len(), 1);
}

#[test]
fn a_segment_that_cannot_be_cut_back_is_sealed_by_the_next() {
    let rig = Rig::new("uncut", 60_000, 0);
    rig.disk.uncut.store(true, Ordering::SeqCst);
    rig.record_until(|| rig.sink.stats().drops().disk_full > 0);
    rig.disk.room.store(10_000_000, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(60));
    let written = rig.sink.stats().written();
    rig.record_until(|| rig.sink.stats().written() > written);
    rig.sink.close();
    let files = rig.disk.files.lock().unwrap();
    assert_eq!(files.len(), 2);
    let next = String::from_utf8_lossy(&files[1].1);
    assert!(next.contains("\"deckle.kind\":\"recovery\"") && next.contains("\"previous.head\""), "{next}");
}

#[test]
fn writing_stops_before_the_disk_is_full() {
    let rig = Rig::new("min-free", 10_000_000, 9_500_000);
    rig.clock.advance(Duration::from_secs(2));
    rig.record_until(|| {
        rig.clock.advance(Duration::from_millis(100));
        rig.sink.stats().drops().disk_full > 0
    });
    rig.sink.close();
    let room = rig.disk.room.load(Ordering::SeqCst);
    assert!(room > 5_000_000, "{room}");
}

#[test]
fn a_fault_of_the_writer_costs_a_batch_and_not_the_log() {
    let rig = Rig::new("panic", 50_000_000, 0);
    rig.record_until(|| rig.sink.stats().written() > 10);
    rig.disk.panics.store(true, Ordering::SeqCst);
    rig.record_until(|| !rig.disk.panics.load(Ordering::SeqCst));
    let written = rig.sink.stats().written();
    rig.record_until(|| rig.sink.stats().written() > written);
    rig.sink.close();
    assert_eq!(rig.disk.files.lock().unwrap().len(), 2, "it goes on in a new segment");
}

#[test]
fn lines_are_covered_in_time_and_a_clock_that_goes_back_is_told_of() {
    let rig = Rig::new("blocks", 50_000_000, 0);
    rig.record_until(|| rig.sink.stats().written() >= 3_000);
    rig.clock.advance(Duration::from_secs(90));
    rig.record_until(|| {
        rig.clock.advance(Duration::from_secs(2));
        let files = rig.disk.files.lock().unwrap();
        String::from_utf8_lossy(&files[0].1).contains("\"sig\"")
    });
    rig.sink.close();
    let lines = rig.lines();
    let blocks = of_kind(&lines, "checkpoint");
    assert!(blocks.len() >= 3 && blocks.iter().all(|block| block["n"].as_u64().unwrap() <= 1_024), "{blocks:?}");
    let end = of_kind(&lines, "end");
    assert_eq!(end.len(), 1);
    assert!(end[0]["sig"].is_string() && end[0]["head"].is_string(), "{end:?}");
    let covered: u64 = blocks.iter().chain(&end).map(|block| block["n"].as_u64().unwrap()).sum();
    // All but the first line, which is the beginning of the chain.
    assert_eq!(covered, lines.len() as u64 - 1);
    assert_eq!(lines[0]["key.id"], end[0]["key.id"]);
    // What was sent away stands in the log; the end, which no line follows, beside it.
    let signed: Vec<&&Value> = blocks.iter().filter(|block| block["sig"].is_string()).collect();
    let told = of_kind(&lines, "anchored");
    assert!(!told.is_empty() && told.len() == signed.len(), "{told:?}");
    for (line, block) in told.iter().zip(&signed) {
        assert_eq!((&line["head"], &line["seq"]), (&block["head"], &block["deckle.seq"]), "{line}");
        assert!(line["to"].as_str().unwrap().starts_with("file:/"), "{line}");
    }
    let index = std::fs::read_to_string(rig.dir.join("audit.index")).unwrap();
    let ends: Vec<Value> = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ends.iter().any(|line| line["anchored"].is_string() && line["head"] == end[0]["head"]), "{index}");
    let heads = std::fs::read_to_string(rig.dir.join("heads.txt")).unwrap();
    assert_eq!(heads.lines().count(), told.len() + 1);
    let is_told = |head: &str| told.iter().chain(&end).any(|line| line["head"] == head);
    assert!(heads.lines().all(|line| line.split(' ').nth(4).is_some_and(is_told)), "{heads}");
}
