//! The handle: what a request may do, and none of it waits.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Timeout, timeout};
use zeroize::Zeroizing;

use super::SharedError;
use super::message::{Debit, Gain, Name, Subject};
use super::worker::{Job, Worker};
use crate::secret::Secrets;
use crate::suspicion::State;

/// Messages that may wait for the worker; beyond, new ones are dropped and counted.
const QUEUE: usize = 4_096;
/// Time for the word of the store. Timers count whole milliseconds and end late: with this one nobody waits for more
/// than three.
const PATIENCE: Duration = Duration::from_millis(2);

/// The store that processes share. Clones share the queue and the worker, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    key: Zeroizing<[u8; 32]>,
    jobs: mpsc::Sender<Job>,
    status: Arc<Status>,
}

/// What the handles and the worker know together.
#[derive(Debug, Default)]
pub(super) struct Status {
    online: AtomicBool,
    waits: AtomicBool,
    dropped: AtomicU64,
}

impl Status {
    pub(super) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    pub(super) fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Relaxed);
    }
}

impl Shared {
    /// Starts the worker on the runtime that this is called in. The tables are not kept alive by it.
    pub(super) fn start(url: &str, secrets: &Secrets, state: &Arc<State>) -> Result<Self, SharedError> {
        let client = redis::Client::open(url).map_err(|error| SharedError::Url { reason: error.to_string() })?;
        let runtime = Handle::try_current().map_err(|_| SharedError::Runtime)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let status = Arc::new(Status::default());
        runtime.spawn(Worker::new(client, queue, state, Arc::clone(&status)).run());
        let key = Zeroizing::new(secrets.active().derive("deckle-shared-1", "key"));
        Ok(Self { inner: Arc::new(Inner { key, jobs, status }) })
    }

    /// The store answers, as far as is known. While it does not, nothing is told to it.
    pub(crate) fn is_online(&self) -> bool {
        self.inner.status.is_online()
    }

    /// Requests wait for the word of the store.
    pub(crate) fn waits(&self) -> bool {
        self.inner.status.waits.load(Ordering::Relaxed)
    }

    pub(super) fn set_waits(&self, waits: bool) {
        self.inner.status.waits.store(waits, Ordering::Relaxed);
    }

    /// The name of a subject: takes a keyed hash, so it is asked for seldom.
    pub(crate) fn name(&self, subject: Subject<'_>) -> Name {
        Name::of(&self.inner.key, subject)
    }

    /// Cells were given out here. What the store makes of it counts from the next request on.
    pub(crate) fn debit(&self, name: Name, debit: Debit) {
        self.send(Job::Debit { name, debit, reply: None });
    }

    /// As [`debit`](Self::debit), and its word is wanted now. `None`: there will be none.
    pub(crate) fn ask(&self, name: Name, debit: Debit) -> Option<Verdict> {
        let (reply, word) = oneshot::channel();
        let sent = self.send(Job::Debit { name, debit, reply: Some(reply) });
        sent.then(|| Verdict(Box::pin(timeout(PATIENCE, word))))
    }

    /// Something has become known about a visitor.
    pub(super) fn tell(&self, name: Name, gain: Gain) {
        self.send(Job::Gain { name, gain });
    }

    fn send(&self, job: Job) -> bool {
        let status = &self.inner.status;
        if !status.is_online() {
            return false;
        }
        let sent = self.inner.jobs.try_send(job).is_ok();
        if !sent {
            let dropped = status.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Ever more seldom, however long it lasts.
            if dropped.is_power_of_two() {
                tracing::warn!(target: "deckle", dropped, "The shared store is too slow; not everything is shared.");
            }
        }
        sent
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { jobs, status, .. } = &*self.inner;
        f.debug_struct("Shared")
            .field("queued", &(jobs.max_capacity() - jobs.capacity()))
            .field("status", status)
            .finish_non_exhaustive()
    }
}

/// The word of the store about one request: how long to wait, if it is refused. None comes too late, or not at all.
pub(crate) struct Verdict(Pin<Box<Timeout<oneshot::Receiver<Option<Duration>>>>>);

impl Future for Verdict {
    type Output = Option<Duration>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let word = ready!(self.0.as_mut().poll(cx));
        Poll::Ready(word.ok().and_then(Result::ok).flatten())
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::ManualClock;
    use crate::suspicion::cells::CellKey;
    use crate::suspicion::{Quota, StateSize};

    /// Nobody listens on this port.
    const NOWHERE: &str = "redis://127.0.0.1:1/";

    fn debit() -> Debit {
        Debit::new("page_hard", Quota::new(500, 120), NonZeroU32::MIN, CellKey(1))
    }

    fn start(url: &str) -> (Arc<State>, Result<Shared, SharedError>) {
        let state = Arc::new(State::with_size(ManualClock::at(0), StateSize::Small));
        let shared = Shared::start(url, &Secrets::random().unwrap(), &state);
        (state, shared)
    }

    #[tokio::test]
    async fn while_there_is_no_store_nothing_is_told_and_nothing_waits() {
        let (_state, shared) = start(NOWHERE);
        let shared = shared.unwrap();
        let name = shared.name(Subject::Agent("Goodbot"));
        for _ in 0..10_000 {
            shared.debit(name, debit());
            assert!(shared.ask(name, debit()).is_none());
        }
        assert!(!shared.is_online());
        let text = format!("{shared:?}");
        assert!(text.contains("queued: 0") && !text.contains("127.0.0.1"), "{text}");
    }

    #[tokio::test]
    async fn the_worker_ends_with_the_last_handle() {
        let (_state, shared) = start(NOWHERE);
        let shared = shared.unwrap();
        let status = Arc::downgrade(&shared.inner.status);
        let last = shared.clone();
        drop(shared);
        tokio::task::yield_now().await;
        assert!(status.upgrade().is_some());
        drop(last);
        for _ in 0..1_000_000 {
            if status.upgrade().is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("it did not end");
    }

    #[test]
    fn it_needs_a_runtime_and_an_address() {
        assert!(matches!(start(NOWHERE).1, Err(SharedError::Runtime)));
        let Err(SharedError::Url { reason }) = start("redis:/hunter2:hunter2").1 else { panic!("no address") };
        assert!(!reason.contains("hunter2"), "{reason}");
        assert!(start("rediss://127.0.0.1/").1.unwrap_err().to_string().contains("TLS"));
    }
}
