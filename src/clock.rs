//! Time as a dependency: everything that judges by time asks a [`Clock`], so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::nanos::Nanos;

/// A source of time. Both readings come from one place so that they cannot disagree in a test.
pub trait Clock: Send + Sync + 'static {
    /// Time since this clock was made; never steps back. Limits, decay and durations use it.
    fn elapsed(&self) -> Duration;
    /// Time since 1970-01-01T00:00:00Z; may step. Records, dates and cookie times use it.
    fn unix(&self) -> Duration;
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] starts now.
    #[allow(clippy::disallowed_methods)] // The one place that reads the machine's clock.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// The same, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods)] // The one place that reads the machine's clock.
    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed_ns: AtomicU64,
    unix_at_start_ns: u64,
}

impl ManualClock {
    /// A clock that begins at `unix` seconds after 1970.
    pub fn at(unix: u64) -> Arc<Self> {
        Arc::new(Self { elapsed_ns: AtomicU64::new(0), unix_at_start_ns: unix * 1_000_000_000 })
    }

    /// Moves both readings forward.
    pub fn advance(&self, by: Duration) {
        self.elapsed_ns.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Ordering::SeqCst))
    }

    fn unix(&self) -> Duration {
        Duration::from_nanos(self.unix_at_start_ns) + self.elapsed()
    }
}

/// governor's view of a [`Clock`].
#[derive(Clone)]
pub(crate) struct LimiterClock(pub(crate) SharedClock);

impl std::fmt::Debug for LimiterClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LimiterClock").finish_non_exhaustive()
    }
}

impl governor::clock::Clock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_both_readings() {
        let clock = ManualClock::at(1_000);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
        assert_eq!(clock.unix(), Duration::from_secs(1_005));
    }
}
