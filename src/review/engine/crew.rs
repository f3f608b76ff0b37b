//! Threads that work on one thing. Where the system gives fewer than were asked for, those that there are do the work of all.

use std::sync::OnceLock;

/// Runs `work` in `most` threads, or in as many as can be had, the calling one among them. Each is told its number, and how
/// many they are.
pub(super) fn work_together(most: usize, work: &(impl Fn(usize, usize) + Sync)) {
    let known = OnceLock::new();
    let workers = &known;
    std::thread::scope(|scope| {
        let started = (1..most).take_while(|worker| {
            let worker = *worker;
            let run = move || work(worker, *workers.wait());
            std::thread::Builder::new().spawn_scoped(scope, run).is_ok()
        });
        // Nobody begins before it is known how many they are.
        let all = 1 + started.count();
        work(0, *workers.get_or_init(|| all));
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
    fn each_has_its_number() {
        for most in [1, 2, 5] {
            let seen = Mutex::new(Vec::new());
            work_together(most, &|worker: usize, workers: usize| {
                assert_eq!(workers, most);
                seen.lock().unwrap().push(worker);
            });
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..most).collect::<Vec<_>>());
        }
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
