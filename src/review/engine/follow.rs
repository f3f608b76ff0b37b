//! Counts of what is read while more may come.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::ahead::read_all;
use super::feed::{Batch, Problem, Reading};
use super::round::Kept;
use super::tails::{Given, News, read_on};
use super::{Counts, LOOK_UP, Plan, ROUND};
use crate::review::input::{InputError, Source};

/// What is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The first `named` ones were named by somebody; the others were found in the directories.
    pub(crate) sources: Vec<Source>,
    pub(crate) named: usize,
    /// In these, new files are looked for.
    pub(crate) dirs: Vec<PathBuf>,
}

/// Reads until `stop`, or until nothing can come any more. `each` sees the counts often, at least ten times a second.
pub(crate) fn follow(
    followed: Followed,
    plan: &Plan,
    stop: &AtomicBool,
    each: &mut dyn FnMut(&mut Counts, &[Source]),
) -> (Counts, Vec<Source>) {
    let mut sources = followed.sources.clone();
    let (over, mut counts) = (Arc::new(AtomicBool::new(false)), Counts::new(plan, sources.len()));
    // What comes on standard input alone has no beginning that one could catch up with.
    counts.caught_up = followed.dirs.is_empty() && sources.iter().all(|source| *source == Source::Stdin);
    let (receive, mut readers) = start(followed, &plan.reading, &over);
    let (agents, mut round) = (plan.agents(), Vec::with_capacity(ROUND));
    let mut kept = Kept::new(plan.jobs, &agents);
    loop {
        let mut news = match receive.recv_timeout(LOOK_UP) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => None,
            // A report that lacks lines must say so.
            Err(RecvTimeoutError::Disconnected) => {
                readers = 0;
                Some(Err(Problem::Unreadable(InputError::Fault)))
            }
        };
        while let Some(one) = news {
            match one {
                Ok(group) => round.push(group),
                Err(Problem::End) => readers -= 1,
                Err(Problem::CaughtUp) => counts.caught_up = true,
                Err(Problem::Found(source)) => {
                    sources.push(source);
                    counts.lines_of.push(0);
                }
                Err(problem) => counts.note_problem(problem, &sources),
            }
            news = if round.len() < ROUND { receive.try_recv().ok() } else { None };
        }
        add(&mut counts, &mut round, plan, &mut kept);
        let stopped = stop.load(Ordering::Relaxed);
        counts.partial = stopped && readers > 0 && !counts.caught_up;
        counts.over = stopped || readers == 0;
        each(&mut counts, &sources);
        if counts.over {
            break;
        }
    }
    over.store(true, Ordering::Relaxed);
    counts.finish();
    (counts, sources)
}

fn add(counts: &mut Counts, round: &mut Vec<Vec<Batch>>, plan: &Plan, kept: &mut Kept<'_>) {
    if !round.is_empty() {
        counts.add_round(round, plan, kept);
        round.clear();
    }
}

/// Threads that read, and how many: standard input may keep one waiting, which must not hold up the files.
fn start(followed: Followed, reading: &Reading, over: &Arc<AtomicBool>) -> (Receiver<News>, usize) {
    let (send, receive) = sync_channel(ROUND);
    let (next, all) = (followed.sources.len(), followed.sources.into_iter().enumerate());
    let (stdin, files): (Vec<_>, Vec<_>) = all.partition(|(_, source)| *source == Source::Stdin);
    let mut readers = 0;
    if !stdin.is_empty() {
        readers += usize::from(spawn("deckle-stdin", &send, reading, move |reading, send| {
            read_all(&stdin, reading, None, send);
        }));
    }
    if !files.is_empty() || !followed.dirs.is_empty() {
        let given = Given { sources: files, named: followed.named, dirs: followed.dirs, next };
        let over = Arc::clone(over);
        readers += usize::from(spawn("deckle-read", &send, reading, move |reading, send| {
            read_on(given, reading, &over, send);
        }));
    }
    (receive, readers)
}

/// False: there is no thread for it, and the report says that there was nothing.
fn spawn(
    name: &str,
    send: &SyncSender<News>,
    reading: &Reading,
    read: impl FnOnce(&Reading, &SyncSender<News>) + Send + 'static,
) -> bool {
    let (send, reading) = (send.clone(), reading.clone());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || read(&reading, &send)).is_ok()
}
