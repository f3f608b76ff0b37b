//! A receiver on loopback that answers what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;

use super::*;
use crate::action::{Action, Clamps, Decision, Moment, Rule};
use crate::audit::anchor::SignedHead;
use crate::audit::privacy::Pseudonyms;
use crate::audit::record::blank;
use crate::audit::{OtlpSettings, Sink};
use crate::clock::{Clock, ManualClock, SystemClock};

type Answer = (&'static str, Vec<u8>);

struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
}

impl Collector {
    /// Gives these answers, and then only good ones.
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&taken);
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming().flatten() {
                let (head, body) = read_request(&stream);
                assert!(head.starts_with("POST /v1/logs HTTP/1.1"), "{head}");
                assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
                seen.lock().unwrap().push(ExportLogsServiceRequest::decode(body.as_slice()).unwrap());
                let (status, body) = answers.next().unwrap_or(("200 OK", Vec::new()));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let mut stream = stream;
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        Self { address, taken }
    }

    fn records(&self) -> Vec<LogRecord> {
        let all = self.taken.lock().unwrap().clone();
        let scopes = all.into_iter().flat_map(|request| request.resource_logs).flat_map(|logs| logs.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }

    fn requests(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

fn read_request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

fn sink(address: SocketAddr, queue: usize) -> (Arc<Queue>, Heads, Arc<ManualClock>) {
    let settings = Settings {
        queue,
        instance: Some("w1".into()),
        otlp: OtlpSettings { endpoint: Some(format!("http://{address}")) },
        ..Settings::default()
    };
    let clock = ManualClock::at(1_790_000_000);
    let around = Around { clock: clock.clone(), live: None, pseudonyms: Pseudonyms::shared(None), secrets: Vec::new() };
    let (queue, heads) = open(&settings, around).unwrap();
    (queue, heads, clock)
}

fn until(mut done: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !done() {
        assert!(clock.elapsed() < Duration::from_secs(30), "nothing happened");
        std::thread::yield_now();
    }
}

fn value<'r>(record: &'r LogRecord, key: &str) -> Option<&'r Any> {
    record.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn with_action(action: Action) -> AuditRecord {
    let decision = Decision {
        action,
        would: None,
        rule: Rule::Score,
        clamps: Clamps::new(),
        limit: None,
        delay: None,
        challenge: None,
        moment: Moment::default(),
    };
    AuditRecord { decision: Some(decision), ..blank() }
}

#[test]
fn records_leave_in_batches_and_none_is_left_behind() {
    let collector = Collector::start(Vec::new());
    let (queue, _heads, _) = sink(collector.address, 8_192);
    (0..1_200).for_each(|_| queue.record(Box::new(blank())));
    queue.close();
    let sizes: Vec<usize> = collector
        .taken
        .lock()
        .unwrap()
        .iter()
        .map(|request| request.resource_logs[0].scope_logs[0].log_records.len())
        .collect();
    assert_eq!((sizes.iter().sum::<usize>(), sizes.iter().max()), (1_200, Some(&BATCH)), "{sizes:?}");
    assert_eq!((queue.stats().written(), queue.stats().drops().sum(), queue.stats().queued()), (1_200, 0, 0));
    let records = collector.records();
    let numbers: Vec<i64> = records
        .iter()
        .map(|record| match value(record, "deckle.seq") {
            Some(Any::IntValue(number)) => *number,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (1..=1_200).collect::<Vec<i64>>());
    let taken = collector.taken.lock().unwrap();
    let resource = &taken[0].resource_logs[0].resource.as_ref().unwrap().attributes;
    let names: Vec<&str> = resource.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(names, ["service.name", "service.version", "service.instance.id"]);
}

#[test]
fn a_record_says_what_its_line_says() {
    let collector = Collector::start(Vec::new());
    let (queue, heads, _) = sink(collector.address, 64);
    let traced = AuditRecord {
        trace_parent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        query: Some("token=secret".into()),
        ..blank()
    };
    queue.record(Box::new(traced));
    queue.record(Box::new(with_action(Action::Limit)));
    queue.record(Box::new(with_action(Action::License)));
    queue.record(Box::new(AuditRecord { error: Some("body_error"), ..with_action(Action::Block) }));
    let head = SignedHead {
        time: "2026-11-23T20:45:12.345Z".into(),
        instance: "w1".into(),
        segment: "audit-w1-x-1.ndjson".into(),
        seq: 9,
        head: [1; 32],
        key: "01234567".into(),
        signature: "c2ln".into(),
    };
    let (tell, told) = std::sync::mpsc::channel();
    heads.send((head, Box::new(move || tell.send(()).unwrap()))).unwrap();
    queue.close();
    let records = collector.records();
    let text = |text: &str| Any::StringValue(text.to_owned());
    let hits: Vec<&LogRecord> = records.iter().filter(|record| record.event_name == "deckle.http.hit").collect();
    let plain = hits.iter().find(|record| !record.trace_id.is_empty()).unwrap();
    assert_eq!((plain.time_unix_nano, plain.body.as_ref()), (1_795_466_712_345_000_000, None));
    assert_eq!((plain.trace_id.len(), plain.trace_id[0], plain.span_id.len()), (16, 0x4b, 8));
    assert_eq!(value(plain, "url.query"), Some(&text("token=REDACTED")));
    assert_eq!(value(plain, "http.response.status_code"), Some(&Any::IntValue(200)));
    assert_eq!(value(plain, "deckle.complete"), Some(&Any::BoolValue(true)));
    assert!(["time", "trace_id", "span_id"].iter().all(|key| value(plain, key).is_none()));
    let mut severities: Vec<(i32, &str)> =
        hits.iter().map(|record| (record.severity_number, record.severity_text.as_str())).collect();
    severities.sort_unstable();
    assert_eq!(severities, [(9, "INFO"), (9, "INFO"), (13, "WARN"), (17, "ERROR")]);
    let heads: Vec<&LogRecord> = records.iter().filter(|record| record.event_name == "deckle.audit.head").collect();
    assert_eq!((heads.len(), heads[0].time_unix_nano), (1, 1_795_466_712_345_000_000));
    assert_eq!(value(heads[0], "head"), Some(&text(&"01".repeat(32))));
    assert_eq!(value(heads[0], "sig"), Some(&text("c2ln")));
    assert!(told.try_recv().is_ok(), "the log may say that it has left");
    assert_eq!(queue.stats().written(), 4, "a head is no hit");
}

#[test]
fn who_is_busy_is_asked_again() {
    let collector = Collector::start(vec![("503 Service Unavailable\r\nRetry-After: 0", Vec::new())]);
    let (queue, _heads, clock) = sink(collector.address, 64);
    queue.record(Box::new(blank()));
    until(|| {
        clock.advance(Duration::from_secs(1));
        queue.stats().written() == 1
    });
    assert_eq!((collector.requests(), queue.stats().drops().sum()), (2, 0));
    assert!(!queue.stats().is_degraded());
}

#[test]
fn what_a_receiver_does_not_take_is_counted() {
    let partial = ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "too old".into() };
    let body = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let collector = Collector::start(vec![("200 OK", body)]);
    let (queue, _heads, _) = sink(collector.address, 64);
    (0..5).for_each(|_| queue.record(Box::new(blank())));
    queue.close();
    let (written, lost) = (queue.stats().written(), queue.stats().drops().io);
    assert!((1..=2).contains(&lost) && written + lost == 5, "{written} {lost}");

    let collector = Collector::start(vec![("400 Bad Request", Vec::new())]);
    let (queue, _heads, _) = sink(collector.address, 64);
    queue.record(Box::new(blank()));
    queue.close();
    assert_eq!((collector.requests(), queue.stats().drops().io), (1, 1), "it would be wrong again");
}

#[test]
fn without_a_receiver_every_record_is_counted_and_nobody_waits() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (queue, _heads, _) = sink(gone, 1_024);
    // While it waits to try again, the queue fills.
    (0..600).for_each(|_| queue.record(Box::new(blank())));
    until(|| {
        queue.record(Box::new(blank()));
        queue.stats().drops().channel_full > 0
    });
    queue.close();
    let stats = queue.stats();
    assert_eq!((stats.written(), stats.queued()), (0, 0));
    assert!(stats.drops().io >= BATCH as u64 && stats.is_degraded(), "{:?}", stats.drops());
}
