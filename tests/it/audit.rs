//! The audit log when it cannot keep up or cannot write: nothing waits, nothing is lost without being counted.

use std::sync::Arc;
use std::time::Duration;

use deckle::audit::{AuditLayer, FileSink, Settings};
use deckle::clock::{ManualClock, SharedClock, SystemClock};
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, ServiceExt};

use crate::support::{PATIENCE, TempDir, hits, read_log};

fn sink(dir: &TempDir, clock: SharedClock) -> Arc<FileSink> {
    let settings = Settings { dir: dir.path().display().to_string(), queue: 64, ..Settings::default() };
    Arc::new(FileSink::with_clock(&settings, clock).unwrap())
}

/// One response through the layer.
fn respond(sink: &Arc<FileSink>) {
    let service = AuditLayer::new(Arc::clone(sink)).layer(tower::service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new())))
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(runtime.block_on(service.oneshot(Request::new(()))).unwrap());
}

fn gaps(lines: &[serde_json::Value], key: &str) -> u64 {
    lines.iter().filter(|l| l["deckle.kind"] == "gap").map(|l| l[key].as_u64().unwrap_or(0)).sum()
}

#[test]
fn a_flood_is_counted_where_it_is_not_written() {
    const RECORDS: u64 = 200_000;
    let dir = TempDir::new();
    let sink = sink(&dir, SystemClock::shared());
    let service = AuditLayer::new(Arc::clone(&sink)).layer(tower::service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new())))
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..RECORDS {
        drop(runtime.block_on(service.clone().oneshot(Request::new(()))).unwrap());
    }
    sink.close();
    let lines = read_log(dir.path());
    let (written, lost) = (hits(&lines).len() as u64, gaps(&lines, "dropped.channel_full"));
    assert!(lost > 0, "a queue of 64 is too small for {RECORDS} records at once");
    assert_eq!((written + lost, lost), (RECORDS, sink.stats().drops().channel_full));
}

#[test]
fn a_disk_that_refuses_is_tried_again_and_the_gap_is_told() {
    let dir = TempDir::new();
    let clock = ManualClock::at(1_790_000_000);
    let sink = sink(&dir, clock.clone());
    respond(&sink);
    // The directory goes away, and with a reopen no segment can be made.
    let away = TempDir::new();
    std::fs::rename(dir.path(), away.path().join("log")).unwrap();
    sink.reopen();
    let patience = SystemClock::shared();
    let deadline = patience.elapsed() + PATIENCE;
    while sink.stats().drops().io == 0 {
        respond(&sink);
        assert!(patience.elapsed() < deadline, "no loss was counted");
        std::thread::yield_now();
    }
    std::fs::rename(away.path().join("log"), dir.path()).unwrap();
    clock.advance(Duration::from_secs(60));
    let written = sink.stats().written();
    while sink.stats().written() == written {
        respond(&sink);
        assert!(patience.elapsed() < deadline, "the writer did not come back");
        std::thread::yield_now();
    }
    sink.close();
    let lines = read_log(dir.path());
    assert_eq!(gaps(&lines, "dropped.io"), sink.stats().drops().io);
    let mut numbers: Vec<u64> = lines.iter().map(|l| l["deckle.seq"].as_u64().unwrap()).collect();
    // The first segment may have been compressed meanwhile.
    numbers.sort_unstable();
    assert!(
        numbers.windows(2).all(|w| w[1] == w[0] + 1),
        "a hole in the numbers would look like tampering: {numbers:?}"
    );
}

/// Answers until one more is written.
#[cfg(unix)]
fn write_one(sink: &Arc<FileSink>) {
    let (patience, written) = (SystemClock::shared(), sink.stats().written());
    while sink.stats().written() == written {
        respond(sink);
        assert!(patience.elapsed() < PATIENCE, "nothing is written");
        std::thread::yield_now();
    }
}

#[cfg(unix)]
fn segment_of(dir: &TempDir) -> std::path::PathBuf {
    let mut paths = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|end| end == "ndjson")).unwrap()
}

#[cfg(unix)]
#[test]
fn a_segment_that_somebody_deletes_is_sealed_by_a_new_one() {
    let dir = TempDir::new();
    let sink = sink(&dir, SystemClock::shared());
    write_one(&sink);
    let deleted = segment_of(&dir);
    std::fs::remove_file(&deleted).unwrap();
    write_one(&sink);
    assert_ne!(segment_of(&dir), deleted);
    sink.close();
    let lines = read_log(dir.path());
    assert!(!hits(&lines).is_empty());
    let sealed = lines.iter().find(|line| line["deckle.kind"] == "recovery").unwrap();
    let name = deleted.file_name().unwrap().to_str().unwrap();
    assert_eq!(sealed["sealed_segment"], name);
    assert_eq!(lines[0]["previous.segment"], name);
    assert_eq!(sealed["head"], lines[0]["previous.head"]);
}

#[cfg(unix)]
#[test]
fn a_segment_that_somebody_renames_is_written_on_to_its_end() {
    let dir = TempDir::new();
    let sink = sink(&dir, SystemClock::shared());
    write_one(&sink);
    let (before, after) = (segment_of(&dir), dir.path().join("moved.ndjson"));
    std::fs::rename(before, &after).unwrap();
    write_one(&sink);
    let written = sink.stats().written();
    sink.close();
    assert_eq!(segment_of(&dir), after, "there is no other");
    let lines = read_log(dir.path());
    assert!(hits(&lines).len() as u64 >= written, "nothing is lost");
    assert_eq!(lines.last().unwrap()["deckle.kind"], "end");
}
