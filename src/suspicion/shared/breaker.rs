//! When to leave the store alone: after five errors, or when its answers are slow. Arithmetic on a clock, no I/O.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::SharedClock;

/// What is older is forgotten.
const WINDOW: Duration = Duration::from_secs(10);
/// Errors within the window that are enough.
const ERRORS: usize = 5;
/// 95 of 100 answers take no longer.
const SLOW: Duration = Duration::from_millis(10);
/// Answers below which nothing is said about their times: one that is slow shall not decide.
const LEAST: usize = 20;
/// Calls that are remembered.
const MOST: usize = 256;
/// The pause, and by how many percent it varies, so that not all processes come back at once.
const PAUSE: Duration = Duration::from_secs(30);
const JITTER: std::ops::RangeInclusive<u32> = 80..=120;

/// Counts what came of calls, and says when there should be none.
pub(super) struct Breaker {
    clock: SharedClock,
    /// When, and how long it took; no time is an error.
    calls: VecDeque<(Duration, Option<Duration>)>,
    open_until: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, calls: VecDeque::with_capacity(MOST), open_until: None }
    }

    /// May the store be asked? After a pause all starts anew.
    pub(super) fn allows(&mut self) -> bool {
        let now = self.clock.elapsed();
        if self.open_until.is_some_and(|until| until <= now) {
            self.open_until = None;
        }
        self.open_until.is_none()
    }

    /// An answer came after this time; none is an error.
    pub(super) fn note(&mut self, took: Option<Duration>) {
        let now = self.clock.elapsed();
        while self.calls.len() >= MOST || self.calls.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.calls.pop_front();
        }
        self.calls.push_back((now, took));
        if self.fails() {
            self.calls.clear();
            self.open_until = Some(now.saturating_add(PAUSE * fastrand::u32(JITTER) / 100));
        }
    }

    fn fails(&self) -> bool {
        let mut times: Vec<Duration> = self.calls.iter().filter_map(|(_, took)| *took).collect();
        if self.calls.len() - times.len() >= ERRORS {
            return true;
        }
        times.sort_unstable();
        let last = (times.len() * 95).div_ceil(100).saturating_sub(1);
        times.len() >= LEAST && times.get(last).is_some_and(|took| *took > SLOW)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    const QUICK: Option<Duration> = Some(Duration::from_millis(1));
    const LATE: Option<Duration> = Some(Duration::from_millis(11));

    struct Rig {
        clock: Arc<ManualClock>,
        breaker: Breaker,
    }

    impl Rig {
        fn new() -> Self {
            let clock = ManualClock::at(0);
            Self { breaker: Breaker::new(clock.clone()), clock }
        }

        fn after(&mut self, ms: u64, took: Option<Duration>) -> bool {
            self.clock.advance(Duration::from_millis(ms));
            self.breaker.note(took);
            self.breaker.allows()
        }
    }

    #[test]
    fn five_errors_within_ten_seconds_are_enough() {
        let mut rig = Rig::new();
        assert!((0..4).all(|_| rig.after(100, None)));
        assert!(!rig.after(100, None));
        let mut rig = Rig::new();
        assert!((0..50).all(|_| rig.after(2_500, None)), "one in 2.5 s: four of them within ten");
    }

    #[test]
    fn good_answers_do_not_make_up_for_errors() {
        let mut rig = Rig::new();
        let open = (0..100).find(|i| !rig.after(10, if i % 10 == 9 { None } else { QUICK }));
        assert_eq!(open, Some(49));
    }

    #[test]
    fn slow_answers_are_enough_if_they_are_many() {
        let mut rig = Rig::new();
        assert!((0..19).all(|_| rig.after(10, LATE)), "too few to tell");
        assert!(!rig.after(10, LATE));
        // One in twenty may be slow.
        let mut rig = Rig::new();
        assert!((0..200).all(|i| rig.after(10, if i % 20 == 19 { LATE } else { QUICK })));
        // One in ten may not.
        let mut rig = Rig::new();
        assert!((0..40).any(|i| !rig.after(10, if i % 10 == 9 { LATE } else { QUICK })));
    }

    #[test]
    fn a_pause_takes_about_thirty_seconds_and_forgets_what_was() {
        for _ in 0..100 {
            let mut rig = Rig::new();
            (0..5).for_each(|_| _ = rig.after(0, None));
            rig.clock.advance(Duration::from_millis(23_999));
            assert!(!rig.breaker.allows());
            rig.clock.advance(Duration::from_millis(12_001));
            assert!(rig.breaker.allows());
            assert!((0..4).all(|_| rig.after(0, None)), "it takes five again");
            assert!(!rig.after(0, None));
        }
    }

    #[test]
    fn it_remembers_no_more_than_it_has_room_for() {
        let mut rig = Rig::new();
        (0..10_000).for_each(|_| _ = rig.after(0, QUICK));
        assert_eq!(rig.breaker.calls.len(), MOST);
    }
}
