//! Lines from a thread that reads a few chunks ahead; where none can be had, from the one that asks.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::ROUND;
use super::feed::{Batch, Feed, Problem, Reading};
use super::tails::News;
use crate::review::input::Source;

/// Where lines come from.
enum Origin {
    /// After a stop nobody waits for that thread: it may wait for somebody itself.
    Ahead(Receiver<News>),
    Here {
        feed: Box<Feed>,
        told: VecDeque<Problem>,
    },
}

/// Lines of all sources.
pub(super) struct Lines {
    from: Origin,
    give_back: Sender<Vec<u8>>,
}

impl Lines {
    pub(super) fn of(sources: &[Source], reading: &Reading) -> Self {
        let sources: Vec<(usize, Source)> = sources.iter().cloned().enumerate().collect();
        let ((send, receive), (give_back, spare)) = (sync_channel(ROUND), channel());
        let (all, how) = (sources.clone(), reading.clone());
        let read = move || read_all(&all, &how, Some(spare), &send);
        if std::thread::Builder::new().name("deckle-read".to_owned()).spawn(read).is_ok() {
            return Self { from: Origin::Ahead(receive), give_back };
        }
        let ((give_back, spare), mut told) = (channel(), VecDeque::new());
        let feed = Box::new(open(&sources, reading, Some(spare), &mut |problem| told.push_back(problem)));
        Self { from: Origin::Here { feed, told }, give_back }
    }

    /// What comes next, or that nothing has come yet.
    pub(super) fn receive(&mut self, wait: Duration) -> Result<News, RecvTimeoutError> {
        let (feed, told) = match &mut self.from {
            Origin::Ahead(receive) => return receive.recv_timeout(wait),
            Origin::Here { feed, told } => (feed, told),
        };
        if let Some(problem) = told.pop_front() {
            return Ok(Err(problem));
        }
        let group = feed.next_group(&mut |problem| told.push_back(problem));
        Ok(group.ok_or_else(|| told.pop_front().unwrap_or(Problem::End)))
    }

    /// The memory of lines that are done, for those that come.
    pub(super) fn give_back(&self, done: Batch) {
        if let Some(memory) = done.into_memory() {
            let _ = self.give_back.send(memory);
        }
    }
}

/// Looks at all sources, and tells of those in which there is nothing.
fn open(
    sources: &[(usize, Source)],
    reading: &Reading,
    spare: Option<Receiver<Vec<u8>>>,
    tell: &mut dyn FnMut(Problem),
) -> Feed {
    let mut feed = Feed::new(sources, reading, spare, tell);
    for number in std::mem::take(&mut feed.empty) {
        tell(Problem::Empty(number));
    }
    feed
}

/// Reads to the end, or until nobody listens.
pub(super) fn read_all(
    sources: &[(usize, Source)],
    reading: &Reading,
    spare: Option<Receiver<Vec<u8>>>,
    send: &SyncSender<News>,
) {
    let mut tell = |problem| {
        let _ = send.send(Err(problem));
    };
    let mut feed = open(sources, reading, spare, &mut tell);
    while let Some(group) = feed.next_group(&mut tell) {
        if send.send(Ok(group)).is_err() {
            return;
        }
    }
    tell(Problem::End);
}
