//! What takes how much memory: reading a log for its marks as much for a long log as for a short one, and a record that waits to be
//! written a few KiB, whatever a client has sent.
//!
//! The allocator counts what a thread asks for, so one thread does it all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use deckle::audit::{AuditLayer, AuditRecord, Sink};
use deckle::review::{MarkFilter, MarkReading, read_marks, responses_of};
use deckle::visitor::{IdentifyLayer, Settings};
use deckle::watermark::Mark;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, ServiceExt};

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

/// Most bytes of a record.
const RECORD: i64 = 10 << 10;

/// Keeps what it gets, where a queue has it.
#[derive(Default)]
#[allow(clippy::vec_box)]
struct Kept(Mutex<Vec<Box<AuditRecord>>>);

impl Sink for Kept {
    fn record(&self, record: Box<AuditRecord>) {
        self.0.lock().unwrap().push(record);
    }
}

/// All that a client chooses is long.
fn long_request() -> Request<()> {
    let (long, uri) = ("x".repeat(300 << 10), format!("/{}?{}", "p".repeat(30_000), "q=1&".repeat(7_500)));
    let mut request = Request::builder().method(long.as_str()).uri(uri);
    for name in ["host", "user-agent", "referer", "accept-language", "sec-ch-ua", "cookie"] {
        request = request.header(name, &long);
    }
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    request.header("traceparent", format!("{long}-{ids}-01")).body(()).unwrap()
}

#[test]
fn a_record_takes_a_few_kib_whatever_a_client_has_sent() {
    let kept = Arc::new(Kept::default());
    let answer = tower::service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new())))
    });
    let identify = IdentifyLayer::new(&Settings::default()).unwrap();
    let service = identify.layer(AuditLayer::new(Arc::clone(&kept)).layer(answer));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let respond = || drop(runtime.block_on(service.clone().oneshot(long_request())).unwrap());
    // What is made once is made now.
    kept.0.lock().unwrap().reserve(8);
    (0..3).for_each(|_| respond());
    let held = measure(respond).bytes_current;
    assert!((1_024..RECORD).contains(&held), "{held} bytes");
    let records = kept.0.lock().unwrap();
    let (record, visitor) = (&records[3], records[3].visitor.as_ref().unwrap());
    assert_eq!((record.path.len(), visitor.path.len(), visitor.host.len()), (2_048, 2_048, 255));
    assert_eq!((record.method.len(), record.host.len(), visitor.key.0.len()), (32, 255, 512 + 32));
    assert!(record.trace_parent.as_ref().unwrap().contains("-00f067aa0ba902b7-"));
}
