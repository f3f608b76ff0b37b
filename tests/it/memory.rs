//! What reading a log for its marks takes in memory: as much for a long log as for a short one.
//!
//! The allocator counts what a thread asks for, so one thread reads.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use allocation_counter::measure;
use deckle::review::{MarkFilter, MarkReading, read_marks, responses_of};
use deckle::watermark::Mark;

use crate::support::TempDir;
use crate::trace::{DAY, hit};

/// Marks of each log.
const MARKS: u64 = 1_000;
/// So many responses, and three times as many. Both fill what is kept until doubles are dropped.
const SHORT: u64 = 66_000;
const LONG: u64 = 3 * SHORT;
/// Lines end elsewhere in the chunks of another log.
const SLACK: u64 = 1 << 16;
/// Buffers, one chunk, and marks until their doubles are dropped.
const MOST: u64 = 4 << 20;

/// A log in one segment.
fn log(responses: u64) -> (TempDir, [PathBuf; 1]) {
    let dir = TempDir::new();
    let path = dir.path().join("audit-w1-20261120T100000Z-1.ndjson");
    let mut out = BufWriter::new(File::create(&path).unwrap());
    for number in 0..responses {
        let line = hit(&format!("r-{number:06}"), DAY, number % 7, "/a", "aa", number % MARKS);
        out.write_all(line.as_bytes()).unwrap();
    }
    out.flush().unwrap();
    (dir, [path])
}

/// Reads with one thread.
fn with_reading(by_visitor: bool, read: &dyn Fn(&MarkReading<'_>)) -> u64 {
    let (filter, stop) = (MarkFilter::default(), AtomicBool::new(false));
    let reading = MarkReading { filter: &filter, by_visitor, jobs: 1, stop: &stop, progress: &|_| {} };
    measure(|| read(&reading)).bytes_max
}

#[test]
fn a_long_log_takes_as_much_memory_as_a_short_one() {
    let logs = [SHORT, LONG].map(|responses| (responses, log(responses)));
    for by_visitor in [false, true] {
        let [short, long] = logs.each_ref().map(|(responses, (_, segment))| {
            with_reading(by_visitor, &|reading| {
                let marks = read_marks(segment, reading, &|_| {});
                assert_eq!((marks.responses, marks.candidates.len() as u64), (*responses, MARKS));
                assert_eq!((marks.visitors, marks.errors.len()), (if by_visitor { 7 } else { 0 }, 0));
            })
        });
        assert!(long <= short + SLACK && long < MOST, "{short} bytes for {SHORT} lines, {long} for {LONG}");
    }
    let asked: BTreeSet<Mark> = (0..10).map(|id| Mark { kid: 0, id }).collect();
    let [short, long] = logs.each_ref().map(|(responses, (_, segment))| {
        with_reading(false, &|reading| {
            let count = AtomicU64::new(0);
            let errors = responses_of(segment, &asked, reading, &|_, response| {
                assert_eq!(response.path, "/a");
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!((count.into_inner(), errors.len()), (*responses * 10 / MARKS, 0));
        })
    });
    assert!(long <= short + SLACK && long < MOST, "{short} bytes for {SHORT} lines, {long} for {LONG}");
}
