//! Sink `otlp`: log records in OpenTelemetry's protocol, over HTTP as protobuf.
//!
//! Every loss is counted here, and the exporter of the `opentelemetry-otlp` crate does not tell of all: what its queue drops,
//! and what a receiver rejects, it only logs. So the messages are those of `opentelemetry-proto`, the protocol's own, and the
//! way to the receiver is that of [`Client`].

mod client;
mod message;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::runtime::{Builder, Runtime};

use super::Settings;
use super::anchor::{Heads, Leaving};
use super::privacy::SharedPseudonyms;
use super::queue::{Inbox, Next, PATIENCE, Queue, keep_going};
use super::record::AuditRecord;
use super::sink::{SinkError, Stats};
use super::sinks::Around;
use crate::clock::SharedClock;
use client::{Client, Sent};

/// Most log records of one request.
const BATCH: usize = 512;
/// Longest time that a log record waits for others.
const EVERY: Duration = Duration::from_secs(5);
/// How often is looked whether something is due.
const TICK: Duration = Duration::from_millis(50);
/// Heads that may wait.
const HEADS: usize = 64;
/// How often a request is made, and the wait before the second time; it doubles.
const TRIES: u32 = 5;
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait that a receiver can ask for.
const LONGEST: Duration = Duration::from_secs(30);
/// How long an answer is waited for; and when the process is about to end.
const ANSWER: Duration = Duration::from_secs(10);
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Headers for every request, `name=value` with commas between them; the variable is OpenTelemetry's own.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Starts the thread; heads can be given to it, too.
///
/// # Errors
/// [`SinkError`] for an address or headers that do not hold.
pub(super) fn open(settings: &Settings, around: Around) -> Result<(Arc<Queue>, Heads), SinkError> {
    let endpoint = settings.otlp.endpoint.as_deref().unwrap_or_default();
    let client = Client::new(endpoint, &std::env::var(HEADERS).unwrap_or_default())?;
    let (heads, taken) = sync_channel(HEADS);
    let (queue, mut inbox) = Queue::new(settings, Arc::clone(&around.clock), around.live, Some(PATIENCE));
    let (settings, stats) = (settings.clone(), Arc::clone(queue.stats()));
    let start = move || {
        // Made here, for it may not be dropped where somebody else's runtime runs.
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(target: "deckle::audit", %error, "Nothing can be sent by OTLP; its records are dropped and counted.");
                return;
            }
        };
        let mut exporter = Exporter {
            client,
            runtime,
            resource: message::resource(&settings),
            settings,
            pseudonyms: around.pseudonyms,
            stats,
            clock: around.clock,
            heads: taken,
            seq: 0,
            waiting: Vec::new(),
            since: None,
        };
        keep_going(|| exporter.run(&mut inbox));
    };
    let io = |source| SinkError::Io { path: endpoint.to_owned(), source };
    queue.start("deckle-otlp", start).map_err(io)?;
    Ok((Arc::new(queue), heads))
}

/// Tells that a head has arrived.
type Arrived = Box<dyn FnOnce() + Send>;

struct Exporter {
    client: Client,
    runtime: Runtime,
    resource: Resource,
    settings: Settings,
    pseudonyms: SharedPseudonyms,
    stats: Arc<Stats>,
    clock: SharedClock,
    heads: Receiver<Leaving>,
    /// The number of the last hit.
    seq: u64,
    /// With what is to be done once they have arrived.
    waiting: Vec<(LogRecord, Option<Arrived>)>,
    /// Since when the first of them waits.
    since: Option<Duration>,
}

impl Exporter {
    /// Until the stop. Whatever is taken from the queue is sent or counted.
    fn run(&mut self, inbox: &mut Inbox) {
        loop {
            let next = inbox.next_batch(TICK);
            let over = matches!(next, Next::Over);
            if let Next::Records(batch) = next {
                self.render(&batch);
            }
            let observed = self.clock.unix();
            let heads = self.heads.try_iter();
            self.waiting.extend(heads.map(|(head, arrived)| (message::head(&head, observed), Some(arrived))));
            self.send_due(over || inbox.is_stopping(), inbox);
            if over {
                return;
            }
        }
    }

    fn render(&mut self, batch: &[AuditRecord]) {
        let observed = self.clock.unix();
        let mut pseudonyms = self.pseudonyms.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut line, mut sampled) = (Vec::new(), 0);
        for record in batch {
            let Some(sample) = record.sample(self.settings.sample_assets) else {
                sampled += 1;
                continue;
            };
            self.seq += 1;
            line.clear();
            // By way of the line: so nothing can be in one that is not in the other.
            record.write(&mut line, self.seq, &self.settings, sample, &mut pseudonyms);
            self.waiting.push((message::hit(record, &line, observed), None));
        }
        self.stats.add_written(0, sampled);
    }

    /// Whole batches; and the rest, if it has waited long enough or must leave.
    fn send_due(&mut self, all: bool, inbox: &Inbox) {
        let now = self.clock.elapsed();
        if !self.waiting.is_empty() {
            self.since.get_or_insert(now);
        }
        let late = all || self.since.is_some_and(|since| now.saturating_sub(since) >= EVERY);
        while self.waiting.len() >= BATCH || (late && !self.waiting.is_empty()) {
            self.send(inbox);
        }
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    fn send(&mut self, inbox: &Inbox) {
        let most = self.waiting.len().min(BATCH);
        let (records, arrived): (Vec<LogRecord>, Vec<Option<Arrived>>) = self.waiting.drain(..most).unzip();
        let hits = records.iter().filter(|record| record.event_name == message::HIT).count() as u64;
        let body = Bytes::from(message::request(&self.resource, records));
        let delivered = self.deliver(&body, hits, inbox);
        if delivered.is_ok() {
            arrived.into_iter().flatten().for_each(|tell| tell());
        }
        let lost = delivered.err().unwrap_or(0);
        if lost < hits {
            self.stats.add_bytes(body.len() as u64);
        }
        self.stats.add_written(hits - lost, 0);
        self.stats.add_dropped(|drops| drops.io = lost);
    }

    /// # Errors
    /// How many hits did not arrive; of heads it is not known then.
    fn deliver(&self, body: &Bytes, hits: u64, inbox: &Inbox) -> Result<(), u64> {
        let mut wait = RETRY;
        for left in (0..TRIES).rev() {
            let patience = if inbox.is_stopping() { LAST_ANSWER } else { ANSWER };
            match self.runtime.block_on(self.client.post(body.clone(), patience)) {
                Sent::Taken { rejected: 0, .. } => {
                    self.stats.set_degraded(false);
                    return Ok(());
                }
                Sent::Taken { rejected, message } => {
                    self.complain(&format!("{rejected} rejected: {message}"));
                    return Err(rejected.min(hits));
                }
                Sent::Refused(why) => {
                    self.complain(&why);
                    return Err(hits);
                }
                Sent::Later { after, why } => {
                    self.complain(&why);
                    // All that were turned away at once shall not come back at once.
                    let jittered = wait.mul_f64(1.0 + fastrand::f64() / 5.0);
                    if left == 0 || !pause(after.unwrap_or(jittered).min(LONGEST), inbox) {
                        return Err(hits);
                    }
                    wait *= 2;
                }
            }
        }
        Err(hits)
    }

    /// Once for each time that it fails, not for each batch.
    fn complain(&self, why: &str) {
        if !self.stats.is_degraded() {
            tracing::error!(target: "deckle::audit", ?why, sink = "otlp",
                "A sink of the audit log cannot be written; its records are dropped and counted.");
        }
        self.stats.set_degraded(true);
    }
}

/// False: the stop came meanwhile.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
fn pause(wait: Duration, inbox: &Inbox) -> bool {
    for _ in 0..wait.as_millis() / TICK.as_millis() {
        if inbox.is_stopping() {
            return false;
        }
        std::thread::sleep(TICK);
    }
    !inbox.is_stopping()
}
