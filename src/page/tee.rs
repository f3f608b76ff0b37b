//! An answer that passes as it is while a copy of it is kept, or only compared with those before.
//!
//! Nothing waits for the copy, and nothing of the answer changes: not its bytes, not its frames, not its length.

use std::hash::Hasher;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use twox_hash::XxHash3_64;

/// Most bytes that copies hold at once: readers who take their time let many wait.
const MAX_HELD: usize = 32 << 20;

/// Told once, when the whole of a body has passed.
pub(crate) type OnWhole = Box<dyn FnOnce(Passed) + Send>;

/// What has passed.
#[derive(Debug)]
pub(crate) struct Passed {
    /// A hash of all of it.
    pub(crate) hash: u64,
    /// All of it; `None`: nothing was to be kept, it is longer than what is kept, or there was no room for it.
    pub(crate) copy: Option<Copied>,
}

/// The room that copies have together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

/// A copy, which takes room until it goes.
#[derive(Debug)]
pub(crate) struct Copied {
    bytes: Vec<u8>,
    most: usize,
    room: Room,
}

impl Copied {
    /// Nothing yet, and `most` bytes at the end.
    pub(crate) fn new(most: usize, room: &Room) -> Self {
        Self { bytes: Vec::new(), most, room: room.clone() }
    }

    /// False: there is no room for more.
    fn take(&mut self, data: &[u8]) -> bool {
        let held = self.room.0.load(Ordering::Relaxed).saturating_add(data.len());
        if held > MAX_HELD || self.bytes.len().saturating_add(data.len()) > self.most {
            return false;
        }
        let before = self.bytes.capacity();
        self.bytes.extend_from_slice(data);
        self.room.0.fetch_add(self.bytes.capacity() - before, Ordering::Relaxed);
        true
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes.capacity(), Ordering::Relaxed);
    }
}

impl Deref for Copied {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer so far.
pub(crate) struct Tee {
    hash: Box<XxHash3_64>,
    copy: Option<Copied>,
    /// How long the body is, if it says so: who sends it on may not ask for its end.
    length: Option<u64>,
    passed: u64,
    tell: Option<OnWhole>,
}

impl Tee {
    /// `seed` is that of the hash; `length` is that of the whole body, if it is known.
    pub(crate) fn new(seed: u64, copy: Option<Copied>, length: Option<u64>, tell: OnWhole) -> Self {
        Self { hash: Box::new(XxHash3_64::with_seed(seed)), copy, length, passed: 0, tell: Some(tell) }
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
            Some(Err(_)) => (self.tell, self.copy) = (None, None),
        }
        Poll::Ready(next)
    }

    fn take(&mut self, data: &Bytes) {
        self.passed += data.len() as u64;
        self.hash.write(data);
        if self.copy.as_mut().is_some_and(|copy| !copy.take(data)) {
            self.copy = None;
        }
    }

    fn end(&mut self) {
        let Some(tell) = self.tell.take() else { return };
        tell(Passed { hash: self.hash.finish(), copy: self.copy.take() });
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
    use std::sync::Mutex;

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
    fn passed(
        copied: Option<Copied>,
        parts: &[&str],
        says_end: bool,
        length: Option<u64>,
        polls: usize,
    ) -> (Option<Passed>, String) {
        let frames = parts.iter().map(|part| match part.strip_prefix('!') {
            Some(_) => Err("broken"),
            None => Ok(Frame::data(Bytes::copy_from_slice(part.as_bytes()))),
        });
        let mut body = Script { frames: frames.collect(), says_end };
        let told = Arc::<Mutex<Option<Passed>>>::default();
        let tell = Arc::clone(&told);
        let mut tee = Tee::new(7, copied, length, Box::new(move |passed| *tell.lock().unwrap() = Some(passed)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut text = String::new();
        for _ in 0..polls {
            if let Poll::Ready(Some(Ok(frame))) = tee.poll(Pin::new(&mut body), &mut cx) {
                text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
            }
        }
        (told.lock().unwrap().take(), text)
    }

    #[test]
    fn the_copy_is_told_when_the_last_byte_has_passed() {
        let room = Room::default();
        // The copy that was told, with its hash, and what has passed.
        let copy = |parts: &[&str], says_end, length, polls| {
            let (told, text) = passed(Some(Copied::new(8, &room)), parts, says_end, length, polls);
            let told = told.map(|told| (told.hash, told.copy.map(|copy| String::from_utf8(copy.to_vec()).unwrap())));
            (told, text)
        };
        let hash = |text: &str| XxHash3_64::oneshot_with_seed(7, text.as_bytes());
        let whole = |text: &str| Some((hash(text), Some(text.to_owned())));
        assert_eq!(copy(&["ab", "cd"], false, None, 3), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["ab", "cd"], false, None, 2), (None, "abcd".into()), "there may be more");
        assert_eq!(copy(&["ab", "cd"], true, None, 2), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["ab", "cd"], false, Some(4), 2), (whole("abcd"), "abcd".into()));
        assert_eq!(copy(&["12345678"], false, None, 2).0, whole("12345678"));
        assert_eq!(copy(&["12345", "6789"], false, None, 3), (Some((hash("123456789"), None)), "123456789".into()));
        assert_eq!(copy(&["ab", "!"], true, None, 3), (None, "ab".into()), "half a sheet is none");
        assert_eq!(copy(&[], false, None, 1).0, whole(""));
        let (told, text) = passed(None, &["ab", "cd"], true, None, 2);
        let told = told.unwrap();
        assert!(told.hash == hash("abcd") && told.copy.is_none() && text == "abcd", "nothing is kept");
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn copies_have_room_together_and_give_it_back() {
        let (room, part) = (Room::default(), vec![b'x'; 1 << 20]);
        let mut copies: Vec<Copied> = (0..100).map(|_| Copied::new(1 << 20, &room)).collect();
        let kept = copies.iter_mut().filter_map(|copy| copy.take(&part).then_some(())).count();
        assert!((16..=32).contains(&kept), "{kept}");
        assert!(room.0.load(Ordering::Relaxed) <= MAX_HELD);
        let (told, text) = passed(Some(Copied::new(8, &room)), &["ab"], true, None, 1);
        assert!(told.unwrap().copy.is_none() && text == "ab", "what finds no room passes as any other");
        copies.truncate(1);
        assert!(copies.first().is_some_and(|copy| copy.len() == 1 << 20));
        let (told, _) = passed(Some(Copied::new(8, &room)), &["ab"], true, None, 1);
        assert_eq!(told.unwrap().copy.as_deref(), Some(&b"ab"[..]));
        drop(copies);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }
}
