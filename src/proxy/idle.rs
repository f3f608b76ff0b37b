//! How long the other side of a connection may pause.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A limit that begins anew whenever something moves. There is no timer before the first pause.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Something moved, or it is not the other side that is waited for.
    pub(super) fn restart(&mut self) {
        self.waiting = false;
    }

    /// Ready when the pause that began with the first call is too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begins = !std::mem::replace(&mut self.waiting, true);
        match &mut self.sleep {
            Some(sleep) => {
                if begins {
                    sleep.as_mut().reset(Instant::now() + self.limit);
                }
                sleep.as_mut().poll(cx)
            }
            None => self.sleep.insert(Box::pin(tokio::time::sleep(self.limit))).as_mut().poll(cx),
        }
    }

    /// What was polled, or `None` when it is too late for it.
    pub(super) fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<T>) -> Poll<Option<T>> {
        match polled {
            Poll::Ready(ready) => {
                self.restart();
                Poll::Ready(Some(ready))
            }
            Poll::Pending => self.poll_over(cx).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_one_pause_at_a_time_counts() {
        let limit = Duration::from_secs(60);
        let mut idle = Idle::new(limit);
        let start = Instant::now();
        for _ in 0..3 {
            // 50 seconds, and then something comes.
            let pause = tokio::time::sleep(Duration::from_secs(50));
            let mut pause = std::pin::pin!(pause);
            let came = poll_fn(|cx| {
                let polled = pause.as_mut().poll(cx);
                idle.watch(cx, polled)
            });
            assert_eq!(came.await, Some(()));
        }
        let nothing = poll_fn(|cx| idle.watch(cx, Poll::<()>::Pending)).await;
        assert_eq!((nothing, start.elapsed().as_secs()), (None, 3 * 50 + 60));
    }
}
