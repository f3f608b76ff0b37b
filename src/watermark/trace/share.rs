//! Divides the scoring among threads.

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Marks that a thread takes at a time: a few milliseconds of work.
const PIECE: usize = 2_048;

/// How marks are scored.
#[derive(Clone, Copy, Default)]
pub struct Scoring<'s> {
    /// Threads; 0: one for each core.
    pub jobs: usize,
    /// Add up the marks of one visitor, as [`Candidates::push_of`](super::Candidates::push_of) has named them.
    pub by_visitor: bool,
    /// Ends the search as soon as it is true.
    pub stop: Option<&'s AtomicBool>,
    /// Hears now and then how many marks of the present round are done; called by any thread.
    pub progress: Option<&'s (dyn Fn(u64) + Sync)>,
}

impl fmt::Debug for Scoring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoring")
            .field("jobs", &self.jobs)
            .field("by_visitor", &self.by_visitor)
            .finish_non_exhaustive()
    }
}

impl Scoring<'_> {
    fn threads(&self, pieces: usize) -> usize {
        let jobs =
            if self.jobs == 0 { std::thread::available_parallelism().map_or(1, NonZero::get) } else { self.jobs };
        jobs.clamp(1, pieces.max(1))
    }

    fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

/// Works through `0..count` in pieces, by as many threads as allowed, each with a state of its own. `None`: stopped.
pub(super) fn share<S: Send>(
    count: usize,
    how: &Scoring<'_>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, Range<usize>) + Sync,
) -> Option<Vec<S>> {
    let (next, finished) = (AtomicUsize::new(0), AtomicU64::new(0));
    let run = || {
        let mut state = start();
        while !how.stopped() {
            let first = next.fetch_add(PIECE, Ordering::Relaxed);
            if first >= count {
                break;
            }
            let piece = first..(first + PIECE).min(count);
            let length = piece.len() as u64;
            work(&mut state, piece);
            let done = finished.fetch_add(length, Ordering::Relaxed) + length;
            if let Some(progress) = how.progress {
                progress(done);
            }
        }
        state
    };
    let states = std::thread::scope(|scope| {
        let others: Vec<_> = (1..how.threads(count.div_ceil(PIECE))).map(|_| scope.spawn(run)).collect();
        let mut states = vec![run()];
        for other in others {
            match other.join() {
                Ok(state) => states.push(state),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        states
    });
    (!how.stopped()).then_some(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_worked_on_once_and_a_stop_gives_nothing() {
        let told = AtomicU64::new(0);
        let progress = |done: u64| {
            told.fetch_max(done, Ordering::Relaxed);
        };
        for (jobs, count) in [(1, 10_000), (2, 10_000), (7, 10_000), (0, 3), (64, 0)] {
            let how = Scoring { jobs, progress: Some(&progress), ..Scoring::default() };
            let states = share(count, &how, || 0usize, |sum, piece| *sum += piece.sum::<usize>()).unwrap();
            assert_eq!(states.iter().sum::<usize>(), (0..count).sum::<usize>(), "{jobs}");
            assert!(states.len() <= count.div_ceil(PIECE).max(1));
        }
        assert_eq!(told.into_inner(), 10_000);
        let stop = AtomicBool::new(true);
        let how = Scoring { stop: Some(&stop), ..Scoring::default() };
        assert!(share(10, &how, || (), |(), _| {}).is_none());
    }
}
