//! Counts by name, and times by length.

use std::time::Duration;

use serde::Serialize;

/// Most names of one tally. They are constants of this program, and it has fewer; a list that grew without end would be a
/// fault, and this its limit.
const MOST: usize = 64;

/// A name and how often it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The name.
    pub name: &'static str,
    /// How often.
    pub count: u64,
}

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Vec<Count>);

impl Tally {
    /// These names come first, in this order, even while nothing has come.
    pub(super) fn of(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().map(|name| Count { name, count: 0 }).collect())
    }

    pub(super) fn add(&mut self, name: &'static str) {
        let room = self.0.len() < MOST;
        match self.0.iter_mut().find(|known| known.name == name) {
            Some(known) => known.count += 1,
            None if room => self.0.push(Count { name, count: 1 }),
            None => {}
        }
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        self.0.clone()
    }
}

/// Times by length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Upper bounds of the buckets in seconds, inclusive; whatever is longer is in one more bucket.
    pub bounds: &'static [f64],
    /// Times of each bucket alone.
    pub counts: Vec<u64>,
    /// Seconds of all together.
    pub sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(super) fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_has_an_end() {
        let mut tally = Tally::of(["a", "b"]);
        tally.add("b");
        tally.add("c");
        let counts: Vec<(&str, u64)> = tally.counts().iter().map(|c| (c.name, c.count)).collect();
        assert_eq!(counts, [("a", 0), ("b", 1), ("c", 1)]);
        for i in 0..200 {
            tally.add(Box::leak(format!("n{i}").into_boxed_str()));
        }
        assert_eq!(tally.counts().len(), MOST);
    }

    #[test]
    fn bounds_are_inclusive() {
        let mut times = Histogram::new(&[0.1, 1.0]);
        for ms in [100, 101, 1_000, 5_000] {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.counts, [1, 2, 1]);
        assert!((times.sum - 6.201).abs() < 1e-9);
    }
}
