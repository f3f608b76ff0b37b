//! What a client still sends when deckle has closed, as the rest of an upload that was refused: it is read and dropped for a while.
//! A close with bytes unread is a reset, which may overtake the answer (RFC 9112 §9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::idle::Idle;

/// How long a client may be silent before it closes, too; how long it may take in all, and how many bytes: more than are on their
/// way on any line when the answer reaches it.
const SILENCE: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(30);
const MOST: usize = 64 << 20;

/// The time behind a close.
#[derive(Debug)]
pub(super) struct Linger {
    silence: Idle,
    whole: Idle,
    dropped: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self { silence: Idle::new(SILENCE), whole: Idle::new(WHOLE), dropped: 0 }
    }

    /// Ready when nothing more is to be read. `uploads`: it was in the midst of a head or a body; nobody else is waited for, unless
    /// there is something unread.
    pub(super) fn poll_over<S>(&mut self, stream: &mut S, uploads: bool, cx: &mut Context<'_>) -> Poll<()>
    where
        S: AsyncRead + Unpin,
    {
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = Pin::new(&mut *stream).poll_read(cx, &mut buf);
            if read.is_pending() && self.dropped == 0 && !uploads {
                return Poll::Ready(());
            }
            if self.dropped > MOST || self.whole.poll_over(cx).is_ready() {
                return Poll::Ready(());
            }
            match read {
                Poll::Pending => return self.silence.poll_over(cx),
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.dropped += buf.filled().len();
                    self.silence.restart();
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Seconds until it is over.
    async fn lingers(mut stream: DuplexStream, uploads: bool) -> u64 {
        let (start, mut linger) = (Instant::now(), Linger::new());
        poll_fn(|cx| linger.poll_over(&mut stream, uploads, cx)).await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_who_sends_nothing() {
        let (_client, stream) = duplex(64);
        assert_eq!(lingers(stream, false).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_pause_and_ends_with_its_client() {
        let (client, stream) = duplex(64);
        assert_eq!(lingers(stream, true).await, SILENCE.as_secs());
        drop(client);
        let (mut client, stream) = duplex(64);
        tokio::spawn(async move {
            for _ in 0..4 {
                sleep(Duration::from_secs(4)).await;
                client.write_all(&[0; 10_000]).await.unwrap();
            }
        });
        assert_eq!(lingers(stream, true).await, 16);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_unread_is_read_and_what_never_ends_is_left() {
        let (mut client, stream) = duplex(64);
        client.write_all(b"more").await.unwrap();
        assert_eq!(lingers(stream, false).await, SILENCE.as_secs());
        let (mut client, stream) = duplex(64);
        tokio::spawn(async move {
            while client.write_all(&[0; 10]).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(lingers(stream, true).await, WHOLE.as_secs());
        let (mut client, stream) = duplex(1 << 20);
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            while client.write_all(&vec![0; 1 << 20]).await.is_ok() {
                sent += 1 << 20;
            }
            sent
        });
        assert_eq!(lingers(stream, true).await, 0);
        assert!((MOST..MOST + (4 << 20)).contains(&flood.await.unwrap()));
    }
}
