//! Requests over time, in a ring of steps.

use serde::Serialize;

/// Requests of one step. Each is counted once: as refused, else as suspected, else as one of people or of robots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its start, in seconds since 1970.
    pub start: u64,
    /// Of browsers and reading apps.
    pub people: u64,
    /// Of everything else that is no suspect.
    pub robots: u64,
    /// Of suspects, as far as they were served.
    pub suspected: u64,
    /// Refused.
    pub refused: u64,
}

/// As what a request is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Class {
    People,
    Robots,
    Suspected,
    Refused,
}

/// A ring of steps.
#[derive(Debug)]
pub(super) struct Series {
    seconds: u64,
    ring: Vec<Step>,
}

impl Series {
    /// So many steps of so many seconds each.
    pub(super) fn new(seconds: u64, steps: usize) -> Self {
        Self { seconds: seconds.max(1), ring: vec![Step::default(); steps.max(1)] }
    }

    /// A request that arrived at `time`. What is older than the ring, because its response took so long, is left out.
    pub(super) fn add(&mut self, time: u64, now: u64, class: Class) {
        let start = time - time % self.seconds;
        let at = self.place(start);
        let Some(step) = self.ring.get_mut(at) else { return };
        if step.start != start {
            // A step of the future is left from before the clock was set back.
            if step.start > start && step.start <= now {
                return;
            }
            *step = Step { start, ..Step::default() };
        }
        let count = match class {
            Class::People => &mut step.people,
            Class::Robots => &mut step.robots,
            Class::Suspected => &mut step.suspected,
            Class::Refused => &mut step.refused,
        };
        *count += 1;
    }

    /// All steps up to now, oldest first, empty ones included.
    pub(super) fn steps(&self, now: u64) -> Vec<Step> {
        let newest = now - now % self.seconds;
        (0..self.ring.len() as u64)
            .rev()
            .map(|back| {
                let start = newest.saturating_sub(back * self.seconds);
                let held = self.ring.get(self.place(start)).filter(|step| step.start == start);
                held.copied().unwrap_or(Step { start, ..Step::default() })
            })
            .collect()
    }

    fn place(&self, start: u64) -> usize {
        (start / self.seconds % self.ring.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn people(series: &Series, now: u64) -> Vec<u64> {
        series.steps(now).iter().map(|step| step.people).collect()
    }

    #[test]
    fn the_ring_turns() {
        let mut series = Series::new(60, 3);
        for (time, times) in [(START, 1), (START + 60, 2), (START + 120, 3)] {
            (0..times).for_each(|_| series.add(time, time, Class::People));
        }
        assert_eq!(people(&series, START + 120), [1, 2, 3]);
        assert_eq!(people(&series, START + 299), [3, 0, 0], "empty steps stand there, too");
        series.add(START + 180, START + 180, Class::Refused);
        series.add(START, START + 180, Class::People);
        assert_eq!(people(&series, START + 180), [2, 3, 0], "too old");
        assert_eq!(series.steps(START + 180)[2].refused, 1);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let mut series = Series::new(60, 3);
        series.add(START + 90_000, START + 90_000, Class::People);
        series.add(START, START, Class::People);
        assert_eq!(people(&series, START), [0, 0, 1]);
    }
}
