//! Disks that are slow, full or faulty, and what the log says about them.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::audit::record::blank;
use crate::audit::storage::{Output, Storage};
use crate::audit::{Anchor, AuditRecord, FileSink, PageSummary, Settings, Sink};
use crate::clock::{ManualClock, SystemClock};
use crate::secret::{Secret, Secrets};
use crate::unit::{Size, Span};
use crate::watermark::{PlanNote, VariantNote};

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
            self.sink.record(blank());
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
        self.sink.record(record);
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
            scope.spawn(|| (0..RECORDS).for_each(|_| rig.sink.record(blank())));
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

/// A response that carries a mark in this page.
fn marked(plan: u8, path: &str, variants: usize) -> AuditRecord {
    let alternatives = [Bytes::from_static(b"although"), Bytes::from_static(b"though")];
    let variant = VariantNote { context: Bytes::from_static(b"it\x1Fis\x1Fso\x1Fhe"), alternatives };
    let note = PlanNote {
        id: [plan; 8],
        words: 612,
        sketch: [1, 2, 3].into(),
        variants: vec![variant; variants].into_boxed_slice(),
    };
    let page =
        PageSummary { mark: Some("k1-0123456789ab".into()), plan: Some(Arc::new(note)), ..PageSummary::default() };
    AuditRecord { path: path.into(), page: Some(page), ..blank() }
}

/// What the lines are: the plan of a line about a page, else the kind of the line.
fn told(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let of = |line: &Value| match text(line, "deckle.kind").as_str() {
        "" => format!("hit {}", text(line, "deckle.mark.plan")),
        kind @ ("page" | "variants") => format!("{kind} {}", text(line, "deckle.mark.plan")),
        kind => kind.to_owned(),
    };
    lines.iter().map(of).filter(|what| !matches!(what.as_str(), "checkpoint" | "gap")).collect()
}

#[test]
fn a_page_is_told_of_once_a_segment_before_its_first_response() {
    let rig = Rig::new("plans", 50_000_000, 0);
    let unmarked = |plan| {
        let mut record = marked(plan, "/a", 0);
        record.page.as_mut().unwrap().mark = None;
        record
    };
    for record in [unmarked(1), marked(1, "/a", 0), marked(1, "/a", 0), marked(2, "/a?b", 2)] {
        rig.write(record);
    }
    rig.sink.reopen();
    Rig::until(|| rig.segments() == 2);
    rig.write(marked(1, "/a", 0));
    rig.sink.close();
    let lines = rig.lines();
    let (one, two) = ("0101010101010101", "0202020202020202");
    let expect = [
        "segment",
        "hit ",
        &format!("page {one}"),
        &format!("hit {one}"),
        &format!("hit {one}"),
        &format!("page {two}"),
        &format!("variants {two}"),
        &format!("hit {two}"),
        "end",
        "segment",
        &format!("page {one}"),
        &format!("hit {one}"),
        "end",
    ];
    assert_eq!(told(&lines), expect);
    let page = of_kind(&lines, "page")[0];
    assert_eq!((page["url.path"].as_str(), page["deckle.page.words"].as_u64()), (Some("/a"), Some(612)), "{page}");
    assert_eq!(page["deckle.page.sketch"], "AAAAAQAAAAIAAAAD");
    assert_eq!(page["deckle.site"], "default");
    let variants = &of_kind(&lines, "variants")[0]["deckle.mark.variants"];
    assert_eq!(variants[1], serde_json::json!(["it", "is", "so", "he", "although", "though"]));
    assert_eq!(variants.as_array().unwrap().len(), 2);
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        assert_eq!(next["deckle.seq"].as_u64(), line["deckle.seq"].as_u64().map(|seq| seq + 1), "{line} {next}");
    }
}

#[test]
fn a_page_is_told_of_again_when_its_lines_were_lost() {
    let rig = Rig::new("plans-lost", 50_000_000, 0);
    rig.write(blank());
    // Part of it finds room.
    rig.disk.room.store(100, Ordering::SeqCst);
    rig.sink.record(marked(1, "/a", 300));
    Rig::until(|| rig.sink.stats().drops().disk_full > 0);
    rig.disk.room.store(50_000_000, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(60));
    rig.write(marked(1, "/a", 300));
    rig.sink.close();
    let (lines, plan) = (rig.lines(), "0101010101010101");
    let told: Vec<String> = told(&lines).into_iter().filter(|what| what.ends_with(plan)).collect();
    assert_eq!(told, [format!("page {plan}"), format!("variants {plan}"), format!("hit {plan}")]);
    assert!(lines.iter().all(|line| line.to_string().len() < 16_000));
}

#[test]
fn a_page_that_is_new_each_time_and_one_with_many_alternatives_stay_within_bounds() {
    let rig = Rig::new("plans-many", 50_000_000, 0);
    for plan in 0..20 {
        rig.write(marked(plan, "/clock", 0));
    }
    rig.write(marked(20, "/long", 4_000));
    rig.sink.close();
    let lines = rig.lines();
    let clock = of_kind(&lines, "page").iter().filter(|line| line["url.path"] == "/clock").count();
    assert_eq!((clock, hits(&lines)), (4, 21), "the record of each names its plan, but only some are told of");
    let variants = of_kind(&lines, "variants");
    let rows: usize = variants.iter().map(|line| line["deckle.mark.variants"].as_array().unwrap().len()).sum();
    assert_eq!(rows, 4_000);
    assert!(variants.len() > 3 && variants.iter().all(|line| line.to_string().len() <= 16_000));
}

#[test]
fn the_first_line_of_a_segment_names_the_secrets_in_use() {
    let rig = Rig::new("secret-ids", 50_000_000, 0);
    rig.write(blank());
    let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
    rig.sink.secrets(&secrets).unwrap();
    Rig::until(|| rig.segments() == 2);
    // The same again changes nothing.
    rig.sink.secrets(&secrets).unwrap();
    rig.write(blank());
    rig.sink.reopen();
    Rig::until(|| rig.segments() == 3);
    rig.sink.close();
    let lines = rig.lines();
    let ids: Vec<&Value> = of_kind(&lines, "segment").into_iter().map(|line| &line["secret.ids"]).collect();
    let named = serde_json::json!(["1:aabfa0db"]);
    assert_eq!(ids, [&Value::Null, &named, &named]);
}
