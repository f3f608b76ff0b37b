//! How much of a processor work beside the answers may take: a quarter of one core, over ten seconds.

use std::time::Duration;

/// Share of one core, and over which time.
const SHARE: f64 = 0.25;
const SPAN_SECONDS: f64 = 10.0;

/// The time that may be spent, as a bucket that is filled while time passes.
#[derive(Debug)]
pub(super) struct Budget {
    /// Seconds; what has taken longer than was left is owed.
    pub(super) left: f64,
    /// When that was so.
    at: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: SHARE * SPAN_SECONDS, at: Duration::ZERO }
    }
}

impl Budget {
    /// How long to wait until something may be done.
    pub(super) fn wait(&mut self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * SHARE).min(SHARE * SPAN_SECONDS);
        Duration::from_secs_f64((-self.left / SHARE).max(0.0))
    }

    pub(super) fn spend(&mut self, cost: Duration) {
        self.left -= cost.as_secs_f64();
    }
}
