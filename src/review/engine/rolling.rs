//! The most that one visitor did within a span of time: for conditions such as `articles_by_one>500/1h`.

use std::time::Duration;

use super::weight::{Requests, Weight};
use crate::review::{Fact, Window};

/// Parts of a span; what is counted may be short by one of them.
const PARTS: usize = 60;

/// One visitor and one span.
#[derive(Debug, Clone)]
pub(crate) struct Rolling {
    pub(crate) window: Window,
    counts: [Requests; PARTS],
    /// The newest part, since 1970.
    newest: u64,
    sum: Requests,
    most: Requests,
}

impl Rolling {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            counts: [Requests::default(); PARTS],
            newest: 0,
            sum: Requests::default(),
            most: Requests::default(),
        }
    }

    /// The most within the span.
    pub(crate) fn most(&self) -> u64 {
        self.most.count()
    }

    /// Something of this kind, at this time.
    pub(super) fn add(&mut self, of: Fact, time: Duration, weight: Weight) {
        if of != self.window.fact {
            return;
        }
        let at = self.part(time);
        while self.newest < at {
            // Behind a pause of the whole span nothing is left.
            self.newest = if at - self.newest > PARTS as u64 { at - PARTS as u64 } else { self.newest + 1 };
            let passed = self.place(self.newest).map(std::mem::take).unwrap_or_default();
            self.sum -= passed;
            if self.newest + PARTS as u64 == at {
                self.counts = [Requests::default(); PARTS];
                self.sum = Requests::default();
            }
        }
        if self.newest - at >= PARTS as u64 {
            return;
        }
        if let Some(count) = self.place(at) {
            *count += weight;
            self.sum += weight;
        }
        self.most = self.most.max(self.sum);
    }

    /// What lies within the span that ends at this time.
    pub(super) fn at(&self, now: Duration) -> u64 {
        let oldest = self.part(now).saturating_sub(PARTS as u64 - 1);
        let parts = oldest..=self.newest;
        let counts = parts.filter_map(|part| self.counts.get((part % PARTS as u64) as usize));
        counts.copied().sum::<Requests>().count()
    }

    /// The part that a time is in, since 1970.
    fn part(&self, time: Duration) -> u64 {
        let length = (self.window.length / PARTS as u32).as_millis().max(1);
        (time.as_millis() / length) as u64
    }

    fn place(&mut self, part: u64) -> Option<&mut Requests> {
        self.counts.get_mut((part % PARTS as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_within_the_span_counts_together() {
        let window = Window { fact: Fact::PagesByOne, length: Duration::from_secs(3_600) };
        let most = |seconds: &[u64]| {
            let mut rolling = Rolling::new(window);
            for at in seconds {
                rolling.add(Fact::PagesByOne, Duration::from_secs(1_000_000 + at), Weight::ONE);
                rolling.add(Fact::RequestsByOne, Duration::from_secs(1_000_000 + at), Weight::ONE);
            }
            rolling.most()
        };
        assert_eq!(most(&[0, 60, 600, 3_000]), 4);
        assert_eq!(most(&[0, 1_800, 3_700, 5_400, 7_300]), 2);
        assert_eq!(most(&[0, 0, 0, 90_000, 90_001]), 3);
        assert_eq!(most(&[3_000, 0, 600]), 3, "lines of several files come in any order");
        assert_eq!(most(&[90_000, 0, 90_010]), 2, "what is too old counts nowhere");
    }

    #[test]
    fn what_is_long_past_is_not_now() {
        let window = Window { fact: Fact::PagesByOne, length: Duration::from_secs(3_600) };
        let mut rolling = Rolling::new(window);
        for at in [0, 600, 1_200] {
            rolling.add(Fact::PagesByOne, Duration::from_secs(1_000_000 + at), Weight::ONE);
        }
        let now = |at: u64| rolling.at(Duration::from_secs(1_000_000 + at));
        assert_eq!([1_200, 3_500, 3_900, 4_900, 9_000].map(now), [3, 3, 2, 0, 0]);
        assert_eq!(rolling.most(), 3);
    }
}
