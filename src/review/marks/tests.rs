use std::collections::BTreeMap;

use data_encoding::BASE64;

use super::*;
use crate::audit::sample_log::SampleLog;

fn mark(id: u64) -> Mark {
    Mark { kid: 1, id }
}

fn read(dirs: &[PathBuf], filter: &MarkFilter, by_visitor: bool) -> (LogMarks, Vec<PlanLine>) {
    read_by(0, dirs, filter, by_visitor)
}

fn read_by(jobs: usize, dirs: &[PathBuf], filter: &MarkFilter, by_visitor: bool) -> (LogMarks, Vec<PlanLine>) {
    let (stop, pages) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let reading = MarkReading { filter, by_visitor, jobs, stop: &stop, progress: &|_| {} };
    let marks = read_marks(dirs, &reading, &|page| lock(&pages).push(page.clone()));
    (marks, pages.into_inner().unwrap())
}

fn responses(dir: &Path, filter: &MarkFilter, marks: &[Mark]) -> BTreeMap<String, MarkedResponse> {
    let (stop, found) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let reading = MarkReading { filter, by_visitor: false, jobs: 0, stop: &stop, progress: &|_| {} };
    let errors = responses_of(&[dir.to_owned()], &marks.iter().copied().collect(), &reading, &|_, response| {
        lock(&found).insert(response.request_id.clone(), response);
    });
    assert!(errors.is_empty(), "{errors:?}");
    found.into_inner().unwrap()
}

/// Marks of a sample log are the numbers of its lines, read as hexadecimal digits.
fn mark_of(seq: u64) -> Mark {
    format!("k1-{seq:012}").parse().unwrap()
}

#[test]
fn every_segment_is_read_and_every_mark_counts_once() {
    let log = SampleLog::three("marks");
    log.compress(1);
    // A crash in the middle of compressing leaves both.
    std::fs::write(log.path(2).with_extension("ndjson.zst"), b"").unwrap();
    let (marks, pages) = read(std::slice::from_ref(&log.dir), &MarkFilter::default(), false);
    assert!(marks.errors.is_empty(), "{:?}", marks.errors);
    assert_eq!((marks.responses, marks.candidates.len(), pages.len()), (45, 45, 0));
    assert!(marks.candidates.has(mark_of(2)) && !marks.candidates.has(mark_of(1)), "the first line opens the segment");
    // The same directory twice: each mark once.
    let (twice, _) = read(&[log.dir.clone(), log.dir.clone()], &MarkFilter::default(), false);
    assert_eq!((twice.responses, twice.candidates.len()), (90, 45));
    let (by_visitor, _) = read(std::slice::from_ref(&log.dir), &MarkFilter::default(), true);
    assert_eq!(by_visitor.visitors, 1, "all have one address and one user agent");
}

/// One segment of several chunks: who has none of their own helps with it, and nothing is read twice or not at all.
#[test]
fn any_number_of_threads_reads_one_segment() {
    let mut log = SampleLog::new("marks-threads");
    log.open();
    (0..3_000).for_each(|_| log.hit("ann"));
    log.crash(0);
    let read = |jobs| {
        let (marks, _) = read_by(jobs, std::slice::from_ref(&log.dir), &MarkFilter::default(), true);
        let told: Vec<String> = marks.errors.iter().map(ToString::to_string).collect();
        (marks.responses, marks.candidates.len(), marks.visitors, told)
    };
    for jobs in [1, 2, 7] {
        assert_eq!(read(jobs), (3_000, 3_000, 1, vec![]), "{jobs}");
    }
    let packed = log.compress(1);
    let whole = std::fs::read(&packed).unwrap();
    for jobs in [1, 7] {
        assert_eq!(read(jobs), (3_000, 3_000, 1, vec![]), "{jobs}");
    }
    std::fs::write(&packed, &whole[..whole.len() / 2]).unwrap();
    for jobs in [1, 7] {
        let (responses, _, _, told) = read(jobs);
        assert!(responses < 3_000 && told.len() == 1 && told[0].starts_with("truncated_input"), "{responses} {told:?}");
    }
}

#[test]
fn times_and_pages_are_filters() {
    let log = SampleLog::three("marks-filter");
    let with = |since, until, page: Option<&str>| {
        let filter = MarkFilter { since, until, page: page.map(str::to_owned) };
        read(std::slice::from_ref(&log.dir), &filter, false).0.candidates
    };
    // Line n is of second n.
    let some = with(rfc3339("2026-11-23T20:00:03Z"), rfc3339("2026-11-23T20:00:05Z"), None);
    assert_eq!((some.len(), some.has(mark_of(3)), some.has(mark_of(5))), (2, true, false));
    let one = with(None, None, Some("/2026/story-4"));
    assert_eq!((one.len(), one.has(mark_of(4))), (1, true));
    assert!(with(None, None, Some("/2026/story")).is_empty());
    assert!(with(rfc3339("2027-01-01T00:00:00Z"), None, None).is_empty());
}

#[test]
fn pages_and_alternatives_are_read() {
    let mut log = SampleLog::new("marks-pages");
    log.open();
    let sketch = BASE64.encode(&[0, 0, 0, 7, 0, 0, 1, 0]);
    log.line(
        Some("page"),
        &format!(",\"url.path\":\"/a\",\"deckle.mark.plan\":\"00ff\",\"deckle.page.words\":9,\"deckle.page.sketch\":\"{sketch}\""),
    );
    let rows = "[[\"it\",\"was\",\"late\",\"then\",\"although\",\"though\"]]";
    for _ in 0..2 {
        log.line(Some("variants"), &format!(",\"deckle.mark.plan\":\"00ff\",\"deckle.mark.variants\":{rows}"));
    }
    log.hit("ann");
    log.crash(0);
    let (marks, pages) = read(std::slice::from_ref(&log.dir), &MarkFilter::default(), false);
    assert!(marks.errors.is_empty(), "{:?}", marks.errors);
    assert_eq!((pages.len(), pages[0].path.as_str(), &pages[0].sketch[..]), (1, "/a", &[7, 256][..]));
    assert_eq!((marks.variants.len(), &marks.variants[0].context[..]), (1, &b"it\x1Fwas\x1Flate\x1Fthen"[..]));
    let other = MarkFilter { page: Some("/b".to_owned()), ..MarkFilter::default() };
    assert!(read(std::slice::from_ref(&log.dir), &other, false).1.is_empty());
}

#[test]
fn responses_of_marks_are_told_with_all_that_is_shown() {
    let log = SampleLog::three("marks-responses");
    let found = responses(&log.dir, &MarkFilter::default(), &[mark_of(3), mark_of(30), mark(0xABC)]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["r-3", "r-30"]);
    let one = &found["r-3"];
    assert_eq!((one.path.as_str(), one.visitor.as_str(), one.category.as_str()), ("/2026/story-3", "bob", "library"));
    assert_eq!((one.address.as_str(), one.segment.clone()), ("203.0.113.0/24", log.path(1)));
    let none = MarkFilter { page: Some("/x".to_owned()), ..MarkFilter::default() };
    assert!(responses(&log.dir, &none, &[mark_of(3)]).is_empty());
}

#[test]
fn what_is_torn_or_missing_is_told_and_the_rest_is_read() {
    let mut log = SampleLog::new("marks-torn");
    log.closed_segment();
    log.open();
    log.hit("ann");
    log.crash(9);
    let nowhere = log.dir.join("nowhere");
    let (marks, _) = read(&[log.dir.clone(), nowhere], &MarkFilter::default(), false);
    assert_eq!(marks.candidates.len(), 16);
    let told: Vec<String> = marks.errors.iter().map(ToString::to_string).collect();
    assert!(told.len() == 2 && told[0].contains("nowhere") && told[1].contains("the last line has no end"), "{told:?}");
    // A compressed one that ends too early.
    let whole = std::fs::read(log.compress(1)).unwrap();
    std::fs::write(log.path(1).with_extension("ndjson.zst"), &whole[..whole.len() / 2]).unwrap();
    let (marks, _) = read(std::slice::from_ref(&log.dir), &MarkFilter::default(), false);
    assert!(marks.errors[0].to_string().starts_with("truncated_input"), "{:?}", marks.errors);
    assert!(marks.candidates.has(mark_of(22)), "the last segment counts");
}

#[test]
fn a_stop_ends_it() {
    let log = SampleLog::three("marks-stop");
    let (stop, filter) = (AtomicBool::new(true), MarkFilter::default());
    let reading = MarkReading { filter: &filter, by_visitor: false, jobs: 0, stop: &stop, progress: &|_| {} };
    assert!(read_marks(std::slice::from_ref(&log.dir), &reading, &|_| {}).candidates.is_empty());
}
