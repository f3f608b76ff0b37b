//! The task that talks to the store: one connection, everything in batches, nobody waits for it.
//!
//! Debits leave as they come; points every 2 s, but for the first time that a visitor is told of. What the store
//! replies is written into the tables of this process. An error closes the connection; messages of that time are lost,
//! and the process goes on by what it knows itself.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::breaker::Breaker;
use super::handle::Status;
use super::message::{Debit, Gain, Name};
use super::script::{self, Owed, Scripts};
use crate::clock::SharedClock;
use crate::suspicion::State;

/// How often points are told, and a store that is gone is tried.
const PUSH_EVERY: Duration = Duration::from_secs(2);
/// Messages in one batch.
const BATCH: usize = 256;
/// Visitors whose points wait; with more of them they are told at once.
const MOST_GAINS: usize = 4_096;
/// Time for a connection, and for the answer to a batch.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_millis(100);

/// A message of a request.
#[derive(Debug)]
pub(super) enum Job {
    /// Cells were given out; who wants to know what the store makes of it waits for the reply.
    Debit { name: Name, debit: Debit, reply: Option<oneshot::Sender<Option<Duration>>> },
    /// Something has become known.
    Gain { name: Name, gain: Gain },
}

/// A debit in its batch.
type Asked = (Name, Debit, Option<oneshot::Sender<Option<Duration>>>);

/// The task.
pub(super) struct Worker {
    client: Client,
    link: Option<Link>,
    queue: mpsc::Receiver<Job>,
    gains: HashMap<Name, Gain>,
    state: Weak<State>,
    breaker: Breaker,
    status: Arc<Status>,
    clock: SharedClock,
    /// What was logged last.
    told: Option<bool>,
}

impl Worker {
    pub(super) fn new(client: Client, queue: mpsc::Receiver<Job>, state: &Arc<State>, status: Arc<Status>) -> Self {
        let clock = state.clock().clone();
        Self {
            client,
            link: None,
            queue,
            gains: HashMap::new(),
            state: Arc::downgrade(state),
            breaker: Breaker::new(clock.clone()),
            status,
            clock,
            told: None,
        }
    }

    /// Works until nobody is left who could tell it anything.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut push_at = Instant::now() + PUSH_EVERY;
        loop {
            self.connect().await;
            if let Ok(0) = timeout_at(push_at, self.queue.recv_many(&mut batch, BATCH)).await {
                return;
            }
            let Some(state) = self.state.upgrade() else { return };
            let due = Instant::now() >= push_at;
            if due {
                push_at = Instant::now() + PUSH_EVERY;
            }
            self.round(&state, batch.drain(..), due).await;
        }
    }

    /// Is there a connection, and may it be used? If not, and it is time, there will be.
    async fn connect(&mut self) {
        if !self.breaker.allows() {
            return;
        }
        if self.link.is_none() {
            let opened = Link::open(&self.client).await;
            match opened {
                Ok(link) => self.link = Some(link),
                Err(error) => return self.failed(&error),
            }
        }
        self.set_online(true, &"");
    }

    /// One batch, there and back.
    async fn round(&mut self, state: &State, jobs: impl Iterator<Item = Job>, due: bool) {
        let debits = self.sort(jobs);
        let all = due || self.gains.len() >= MOST_GAINS;
        let gains: Vec<(Name, Gain)> = self.gains.extract_if(|_, gain| all || gain.first).collect();
        // Without a connection they are dropped, and with them those who would wait for a reply go on.
        let Some(link) = self.link.as_mut().filter(|_| !debits.is_empty() || !gains.is_empty()) else { return };
        let sent = self.clock.elapsed();
        let answer = link.send(&debits, &gains).await;
        match answer {
            Ok(replies) => {
                self.breaker.note(Some(self.clock.elapsed().saturating_sub(sent)));
                take_over(state, sent, debits, &gains, replies);
                if !self.breaker.allows() {
                    self.set_online(false, &"its answers are slow");
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Debits go on at once; points are gathered.
    fn sort(&mut self, jobs: impl Iterator<Item = Job>) -> Vec<Asked> {
        let mut debits = Vec::new();
        for job in jobs {
            match job {
                Job::Debit { name, debit, reply } => debits.push((name, debit, reply)),
                Job::Gain { name, gain } => {
                    self.gains.entry(name).and_modify(|known| known.add(&gain)).or_insert(gain);
                }
            }
        }
        debits
    }

    fn failed(&mut self, error: &dyn Display) {
        self.link = None;
        self.breaker.note(None);
        self.set_online(false, error);
    }

    /// Tells requests, and the log when it changes.
    fn set_online(&mut self, online: bool, why: &dyn Display) {
        self.status.set_online(online);
        if self.told.replace(online) == Some(online) {
            return;
        }
        if online {
            tracing::info!(target: "deckle", event = "shared_found", "The shared store answers.");
        } else {
            tracing::warn!(target: "deckle", event = "shared_lost", error = %why,
                "The shared store cannot be used; this process goes on by what it knows itself.");
        }
    }
}

/// Writes what the store said into the tables. An odd reply says nothing.
fn take_over(state: &State, sent: Duration, debits: Vec<Asked>, gains: &[(Name, Gain)], replies: Vec<Value>) {
    let mut replies = replies.into_iter();
    for (_, debit, asker) in debits {
        let Some(owed) = replies.next().and_then(Owed::of) else { continue };
        // Counted from when it was sent: the error is in the visitor's favour.
        state.cells().raise(debit.cell, sent.saturating_add(owed.debt.min(debit.longest())));
        if let Some(asker) = asker {
            // Whoever has waited too long is gone.
            let _ = asker.send(owed.wait);
        }
    }
    for (_, gain) in gains {
        if let Some(points) = replies.next().and_then(script::points) {
            state.raise(gain.record, points);
        }
    }
}

/// A connection that knows the programs.
struct Link {
    connection: MultiplexedConnection,
    scripts: Scripts,
}

impl Link {
    async fn open(client: &Client) -> RedisResult<Self> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let scripts = Scripts::load(&mut connection).await?;
        Ok(Self { connection, scripts })
    }

    /// All in one pipeline; a reply each, in the same order. One reply that is an error is an error of the batch.
    async fn send(&mut self, debits: &[Asked], gains: &[(Name, Gain)]) -> RedisResult<Vec<Value>> {
        let replies: RedisResult<Vec<Value>> = self.pipeline(debits, gains).query_async(&mut self.connection).await;
        match replies {
            Err(error) if script::are_lost(&error) => {
                self.scripts = Scripts::load(&mut self.connection).await?;
                self.pipeline(debits, gains).query_async(&mut self.connection).await
            }
            other => other,
        }
    }

    fn pipeline(&self, debits: &[Asked], gains: &[(Name, Gain)]) -> Pipeline {
        let mut pipe = Pipeline::with_capacity(debits.len() + gains.len());
        for (name, debit, asker) in debits {
            // Where nobody waits the page has gone out.
            self.scripts.debit(&mut pipe, *name, debit, asker.is_none());
        }
        for (name, gain) in gains {
            self.scripts.gain(&mut pipe, *name, gain);
        }
        pipe
    }
}
