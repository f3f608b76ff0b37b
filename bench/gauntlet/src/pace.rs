//! How fast a client goes.

use std::f64::consts::TAU;
use std::time::Duration;

use deckle::unit::Span;
use fastrand::Rng;
use serde::Deserialize;

/// How far times of reading lie apart: the deviation of their logarithms.
const HUMAN: f64 = 0.7;
/// No reader is faster or slower than this, in times of the mean.
const HUMAN_RANGE: (f64, f64) = (0.15, 6.0);
const JITTER: f64 = 0.3;

/// From one page to the next.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pace {
    /// The mean.
    pub(crate) every: Span,
    /// Unset: readers are human, others jitter.
    pub(crate) vary: Option<Vary>,
    /// Pages at once.
    pub(crate) tabs: usize,
    /// Pages until it goes away for a pause; 0: it does not.
    pub(crate) session: usize,
    pub(crate) pause: Span,
    /// Another mean, from some time on.
    pub(crate) rush: Option<Span>,
    pub(crate) rush_after: Span,
}

/// How the times differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Vary {
    /// Not at all.
    Exact,
    /// By 30 %.
    Jitter,
    /// As people read: often short, now and then long.
    Human,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Span::seconds(60),
            vary: None,
            tabs: 1,
            session: 0,
            pause: Span::seconds(0),
            rush: None,
            rush_after: Span::seconds(0),
        }
    }
}

impl Pace {
    /// The time to the next pages, `since` the client began.
    pub(crate) fn rest(&self, vary: Vary, since: Duration, rng: &mut Rng) -> Duration {
        let mean = match self.rush {
            Some(rush) if since >= self.rush_after.0 => rush.0,
            _ => self.every.0,
        };
        match vary {
            Vary::Exact => mean,
            Vary::Jitter => mean.mul_f64(1.0 - JITTER + 2.0 * JITTER * rng.f64()),
            Vary::Human => mean.mul_f64(human(rng)),
        }
    }
}

/// Log-normal with mean 1, by the method of Box and Muller.
fn human(rng: &mut Rng) -> f64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos();
    (HUMAN * normal - HUMAN * HUMAN / 2.0).exp().clamp(HUMAN_RANGE.0, HUMAN_RANGE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_mean() {
        let pace = Pace { every: Span::seconds(10), ..Pace::default() };
        for vary in [Vary::Exact, Vary::Jitter, Vary::Human] {
            let mut rng = Rng::with_seed(1);
            let sum: Duration = (0..4_000).map(|_| pace.rest(vary, Duration::ZERO, &mut rng)).sum();
            let mean = sum.as_secs_f64() / 4_000.0;
            assert!((9.0..11.0).contains(&mean), "{vary:?}: {mean}");
        }
    }
}
