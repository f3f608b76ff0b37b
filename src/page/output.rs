//! Bytes on their way out: long pieces of the source are passed on as they are, short ones are gathered.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::packed::PackedBody;

/// From this length on a piece is passed on without being copied.
const SHARED: usize = 8 * 1024;

/// Short pieces are gathered to frames of this length at most. Room for one is had at once, and serves all that is gathered between
/// pieces that are passed on; nothing is kept of it when all has been taken.
const FRAME: usize = 64 * 1024;

/// What leaves, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    frames: VecDeque<Bytes>,
    /// Behind the frames.
    gathered: BytesMut,
    /// Behind all of them; its pieces are made when they are taken.
    packed: Option<PackedBody>,
    len: usize,
}

impl Output {
    /// The answer is where they stand now, for what differs in this copy.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> &mut [u8] {
        if self.gathered.len() + bytes.len() > FRAME {
            self.close();
        }
        if self.gathered.capacity() - self.gathered.len() < bytes.len() {
            self.gathered.reserve(FRAME.max(bytes.len()));
        }
        let start = self.gathered.len();
        self.gathered.extend_from_slice(bytes);
        self.len += bytes.len();
        self.gathered.get_mut(start..).unwrap_or_default()
    }

    pub(crate) fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED {
            self.copy(&bytes);
            return;
        }
        self.close();
        self.len += bytes.len();
        self.frames.push_back(bytes);
    }

    pub(crate) fn own(&mut self, bytes: Vec<u8>) {
        self.share(Bytes::from(bytes));
    }

    /// A body that is compressed already; nothing follows it.
    pub(crate) fn pack(&mut self, body: PackedBody) {
        self.len += body.remaining() as usize;
        self.packed = Some(body);
    }

    /// All bytes, also those that have been taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Has all been taken?
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.gathered.is_empty() && self.unmade() == 0
    }

    /// Bytes that are made when they are taken.
    pub(crate) fn unmade(&self) -> u64 {
        self.packed.as_ref().map_or(0, PackedBody::remaining)
    }

    /// Bytes that are made and have not been taken.
    pub(crate) fn waiting(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum::<usize>() + self.gathered.len()
    }

    /// The next frame.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.frames.is_empty() {
            self.close();
        }
        let frame = self.frames.pop_front();
        if self.frames.is_empty() && self.gathered.is_empty() {
            self.gathered = BytesMut::new();
        }
        frame.or_else(|| self.packed.as_mut()?.next())
    }

    fn close(&mut self) {
        if !self.gathered.is_empty() {
            self.frames.push_back(self.gathered.split().freeze());
        }
    }
}

/// Takes out of `text` what has left before.
pub(super) fn drop_sent(text: &mut Vec<u8>, sent: &mut usize) {
    let again = text.len().min(*sent);
    text.drain(..again);
    *sent -= again;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_only_short_pieces_are_copied() {
        let mut output = Output::default();
        let long = Bytes::from(vec![b'x'; SHARED]);
        output.copy(b"a");
        output.share(Bytes::from_static(b"b"));
        output.share(long.clone());
        output.copy(b"x")[0] = b'c';
        output.own(Vec::new());
        output.share(long.clone());
        let frames: Vec<Bytes> = std::iter::from_fn(|| output.take()).collect();
        assert_eq!(frames, [Bytes::from_static(b"ab"), long.clone(), Bytes::from_static(b"c"), long.clone()]);
        assert_eq!(frames[1].as_ptr(), long.as_ptr());
        assert_eq!(output.len(), 3 + 2 * SHARED);
    }

    #[test]
    fn short_pieces_are_gathered_to_frames_of_a_bounded_length() {
        let (mut output, piece) = (Output::default(), vec![b'x'; 5_000]);
        (0..40).for_each(|_| _ = output.copy(&piece));
        let frames: Vec<usize> = std::iter::from_fn(|| output.take()).map(|frame| frame.len()).collect();
        assert_eq!(frames, [65_000, 65_000, 65_000, 5_000]);
    }

    #[test]
    fn nothing_is_kept_when_all_has_been_taken() {
        let mut output = Output::default();
        for _ in 0..3 {
            output.copy(b"a");
            output.share(Bytes::from(vec![b'x'; SHARED]));
            output.copy(b"b");
            assert!(output.gathered.capacity() > SHARED, "one room for both");
            assert_eq!(std::iter::from_fn(|| output.take()).count(), 3);
            assert_eq!((output.gathered.capacity(), output.waiting()), (0, 0));
        }
    }
}
