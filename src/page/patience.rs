//! How long what is held waits for the rest of it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The rest of a chunk, to be confirmed; the whole of a page that is packed; the charset of a page that begins.
const WAIT: Duration = Duration::from_millis(20);
/// A timer that is served so late says that this process has more to do than it can, and not that the site is slow. Who gives up
/// then makes more work of the same page, which is compressed for each answer.
const LATE: Duration = Duration::from_millis(5);
/// So often the wait begins anew then: there are eleven waits at most, each longer by what the process is late by.
const AGAIN: u8 = 10;

/// Runs while something is waited for.
#[derive(Debug)]
pub(super) struct Patience {
    /// Where that begins in the page.
    of: usize,
    timer: Pin<Box<Sleep>>,
    again: u8,
}

impl Patience {
    /// Begins to wait for what begins at `of`. `None`: without a runtime of tokio there is no clock, and nothing waits.
    pub(super) fn new(of: usize) -> Option<Self> {
        tokio::runtime::Handle::try_current().ok()?;
        Some(Self { of, timer: Box::pin(sleep(WAIT)), again: AGAIN })
    }

    pub(super) fn is_for(&self, of: usize) -> bool {
        self.of == of
    }

    /// Has it waited long enough?
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.again == 0 || self.timer.deadline().elapsed() < LATE {
                return Poll::Ready(());
            }
            self.again -= 1;
            self.timer.as_mut().reset(Instant::now() + WAIT);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    fn is_over(patience: &mut Patience) -> bool {
        patience.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_that_is_slow_is_waited_for_once() {
        let mut patience = Patience::new(0).unwrap();
        assert!(!is_over(&mut patience));
        advance(WAIT / 2).await;
        assert!(!is_over(&mut patience));
        advance(WAIT / 2 + Duration::from_millis(1)).await;
        assert!(is_over(&mut patience));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_late_waits_on_and_not_for_ever() {
        let mut patience = Patience::new(0).unwrap();
        for round in 0..AGAIN {
            advance(WAIT + LATE).await;
            assert!(!is_over(&mut patience), "{round}");
        }
        advance(WAIT + LATE).await;
        assert!(is_over(&mut patience));

        let mut patience = Patience::new(0).unwrap();
        advance(WAIT + LATE).await;
        assert!(!is_over(&mut patience));
        advance(WAIT).await;
        assert!(is_over(&mut patience), "it is not late any more");
    }

    #[test]
    fn without_a_clock_nothing_waits() {
        assert!(Patience::new(0).is_none());
    }
}
