//! The part of the source that has not left yet.

use std::ops::Range;

/// Bytes by their offset in the whole source.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// Offset of `bytes[head]`.
    base: u64,
    /// Bytes at the front that have left; dropped now and then, not each time.
    head: usize,
}

/// Bytes that may wait at the front before they are dropped.
const SLACK: usize = 32 * 1024;

impl Window {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Offset of the first byte that is still here.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Offset behind the last byte.
    #[cfg(test)]
    pub(crate) fn end(&self) -> u64 {
        self.base + (self.bytes.len() - self.head) as u64
    }

    /// The bytes of a range; `None` when a part of it has left or has not come.
    pub(crate) fn get(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start.checked_sub(self.base)?).ok()? + self.head;
        let end = usize::try_from(range.end.checked_sub(self.base)?).ok()? + self.head;
        self.bytes.get(start..end)
    }

    /// Forgets everything before `offset`.
    pub(crate) fn forget(&mut self, offset: u64) {
        let n = (offset.saturating_sub(self.base) as usize).min(self.bytes.len() - self.head);
        self.head += n;
        self.base += n as u64;
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > SLACK {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_forgetting() {
        let mut window = Window::default();
        for _ in 0..10_000 {
            window.push(b"0123456789");
            let end = window.end();
            assert_eq!(window.get(end - 10..end), Some(&b"0123456789"[..]));
            window.forget(end - 3);
            assert_eq!(window.get(end - 3..end), Some(&b"789"[..]));
            assert_eq!(window.get(end - 4..end), None);
            assert_eq!(window.get(end..end + 1), None);
        }
        assert!(window.bytes.capacity() < 256 * 1024);
    }
}
