//! Lines from a thread that reads a few chunks ahead; where none can be had, from the one that asks.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::ROUND;
use super::feed::{Batch, Feed, Problem, Reading};
use crate::review::input::Source;

/// Where lines come from.
pub(super) enum Lines {
    /// After a stop nobody waits for that thread: it may wait for somebody itself.
    Ahead(Receiver<Result<Vec<Batch>, Problem>>),
    Here {
        feed: Feed,
        told: VecDeque<Problem>,
    },
}

impl Lines {
    pub(super) fn of(sources: &[Source], reading: &Reading) -> Self {
        let (send, receive) = sync_channel(ROUND);
        let (from, how) = (sources.to_vec(), reading.clone());
        let read = move || {
            let mut tell = |problem| {
                let _ = send.send(Err(problem));
            };
            let mut feed = Feed::new(&from, &how, &mut tell);
            while let Some(group) = feed.next_group(&mut tell) {
                if send.send(Ok(group)).is_err() {
                    return;
                }
            }
            tell(Problem::End);
        };
        if std::thread::Builder::new().name("deckle-read".to_owned()).spawn(read).is_ok() {
            return Self::Ahead(receive);
        }
        let mut told = VecDeque::new();
        let feed = Feed::new(sources, reading, &mut |problem| told.push_back(problem));
        Self::Here { feed, told }
    }

    /// What comes next, or that nothing has come yet.
    pub(super) fn receive(&mut self, wait: Duration) -> Result<Result<Vec<Batch>, Problem>, RecvTimeoutError> {
        let (feed, told) = match self {
            Self::Ahead(receive) => return receive.recv_timeout(wait),
            Self::Here { feed, told } => (feed, told),
        };
        if let Some(problem) = told.pop_front() {
            return Ok(Err(problem));
        }
        let group = feed.next_group(&mut |problem| told.push_back(problem));
        Ok(group.ok_or_else(|| told.pop_front().unwrap_or(Problem::End)))
    }
}
