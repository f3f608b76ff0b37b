//! An answer that passes as it is while a copy of it is kept.
//!
//! Nothing waits for the copy, and nothing of the answer changes: not its bytes, not its frames, not its length.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

/// Told once, when the whole of a body has passed.
pub(crate) type OnWhole = Box<dyn FnOnce(Copied) + Send>;

/// What has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    Whole(Vec<u8>),
    /// It was longer than what is kept.
    TooLong,
}

/// The copy so far.
pub(crate) struct Tee {
    held: Vec<u8>,
    most: usize,
    /// How long the body is, if it says so: who sends it on may not ask for its end.
    length: Option<u64>,
    passed: u64,
    tell: Option<OnWhole>,
}

impl Tee {
    /// `most` bytes are kept; `length` is that of the whole body, if it is known.
    pub(crate) fn new(most: usize, length: Option<u64>, tell: OnWhole) -> Self {
        Self { held: Vec::new(), most, length, passed: 0, tell: Some(tell) }
    }

    pub(crate) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let next = ready!(body.as_mut().poll_frame(cx));
        match &next {
            None => self.end(),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.take(data);
                }
                if frame.is_trailers() || body.is_end_stream() || self.length == Some(self.passed) {
                    self.end();
                }
            }
            // It has broken off: nobody knows the whole of it.
            Some(Err(_)) => self.tell = None,
        }
        Poll::Ready(next)
    }

    fn take(&mut self, data: &Bytes) {
        self.passed += data.len() as u64;
        if self.passed <= self.most as u64 {
            self.held.extend_from_slice(data);
        } else {
            self.held = Vec::new();
        }
    }

    fn end(&mut self) {
        let Some(tell) = self.tell.take() else { return };
        let held = std::mem::take(&mut self.held);
        tell(if self.passed <= self.most as u64 { Copied::Whole(held) } else { Copied::TooLong });
    }
}

impl std::fmt::Debug for Tee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tee").field("passed", &self.passed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Frames, then the end or an error; whether it says that it has ended.
    struct Script {
        frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
        says_end: bool,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.says_end && self.frames.is_empty()
        }
    }

    /// What was told after so many polls of a body of these parts, and what has passed.
    fn copy(parts: &[&str], says_end: bool, length: Option<u64>, polls: usize) -> (Option<Copied>, String) {
        let frames = parts.iter().map(|part| match part.strip_prefix('!') {
            Some(_) => Err("broken"),
            None => Ok(Frame::data(Bytes::copy_from_slice(part.as_bytes()))),
        });
        let mut body = Script { frames: frames.collect(), says_end };
        let told = Arc::<Mutex<Option<Copied>>>::default();
        let tell = Arc::clone(&told);
        let mut tee = Tee::new(8, length, Box::new(move |copied| *tell.lock().unwrap() = Some(copied)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut passed = String::new();
        for _ in 0..polls {
            if let Poll::Ready(Some(Ok(frame))) = tee.poll(Pin::new(&mut body), &mut cx) {
                passed.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
            }
        }
        (told.lock().unwrap().take(), passed)
    }

    #[test]
    fn the_copy_is_told_when_the_last_byte_has_passed() {
        let whole = |text: &str| Some(Copied::Whole(text.as_bytes().to_vec()));
        assert_eq!(copy(&["ab", "cd"], false, None, 3), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["ab", "cd"], false, None, 2), (None, "abcd".into()), "there may be more");
        assert_eq!(copy(&["ab", "cd"], true, None, 2), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["ab", "cd"], false, Some(4), 2), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["12345678"], false, None, 2).0, whole("12345678"));
        assert_eq!(copy(&["12345", "6789"], false, None, 3), (Some(Copied::TooLong), "123456789".into()));
        assert_eq!(copy(&["ab", "!"], true, None, 3), (None, "ab".into()), "half a sheet is none");
        assert_eq!(copy(&[], false, None, 1).0, whole(""));
    }
}
