//! Threads that work in step. Where the system gives fewer than were asked for, those that there are do the work of all.

use std::sync::{Barrier, OnceLock};

/// Those that work.
pub(super) struct Crew {
    pub(super) workers: usize,
    together: Barrier,
}

impl Crew {
    /// Waits for all of them.
    pub(super) fn meet(&self) {
        self.together.wait();
    }
}

/// Runs `work` in `most` threads, or in as many as can be had, the calling one among them. Each is told its number.
pub(super) fn work_together(most: usize, work: &(impl Fn(usize, &Crew) + Sync)) {
    let known = OnceLock::new();
    let crew = &known;
    std::thread::scope(|scope| {
        let started = (1..most).take_while(|worker| {
            let worker = *worker;
            let run = move || work(worker, crew.wait());
            std::thread::Builder::new().spawn_scoped(scope, run).is_ok()
        });
        // Nobody begins before it is known how many they are.
        let workers = 1 + started.count();
        work(0, crew.get_or_init(|| Crew { workers, together: Barrier::new(workers) }));
    });
}

/// Two things at once, or one after the other where no thread can be had for the first.
pub(in crate::review) fn both<A: Send, B>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, &aside);
        let here = here();
        let aside = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure)),
            Err(_) => aside(),
        };
        (aside, here)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn all_meet_and_each_has_its_number() {
        for most in [1, 2, 5] {
            let steps = Mutex::new(Vec::new());
            work_together(most, &|worker: usize, crew: &Crew| {
                assert_eq!(crew.workers, most);
                for step in 0..3 {
                    steps.lock().unwrap().push((step, worker));
                    crew.meet();
                }
            });
            let mut steps = steps.into_inner().unwrap();
            assert!(steps.is_sorted_by_key(|(step, _)| *step), "nobody is ahead: {steps:?}");
            steps.sort_unstable();
            assert_eq!(steps, (0..3).flat_map(|step| (0..most).map(move |worker| (step, worker))).collect::<Vec<_>>());
        }
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
