//! Looks for scripts that compare the text of their page with their own, in the source as it comes: reading the text of every
//! script by the scanner costs more than all else that is asked of it.

use std::ops::Range;

/// What such a script calls.
const CALL: &[u8] = b"self.__next_f";
const KEPT: usize = CALL.len() - 1;
/// Calls that wait for the scan; more of them say nothing new.
const MAX_WAITING: usize = 1_024;

/// Where the call stands in what has come.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Bytes that have been read.
    read: u64,
    /// The last of them: a call that is cut by the border of a piece is found, too.
    seam: Vec<u8>,
    /// Where calls end that the scan has not come to.
    ends: Vec<u64>,
}

impl Calls {
    /// A piece of the source has come.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        let start = piece.get(..KEPT).unwrap_or(piece);
        let seam = [self.seam.as_slice(), start].concat();
        let before = self.read - self.seam.len() as u64;
        let across = memchr::memmem::find_iter(&seam, CALL).map(|at| before + (at + CALL.len()) as u64);
        let within = memchr::memmem::find_iter(piece, CALL).map(|at| self.read + (at + CALL.len()) as u64);
        // What lies in the first bytes of the piece is found by both.
        let mut ends: Vec<u64> = across.chain(within).collect();
        ends.sort_unstable();
        ends.dedup();
        let room = MAX_WAITING.saturating_sub(self.ends.len());
        self.ends.extend(ends.into_iter().take(room));
        self.read += piece.len() as u64;
        self.seam.extend_from_slice(piece.get(piece.len().saturating_sub(KEPT)..).unwrap_or_default());
        let surplus = self.seam.len().saturating_sub(KEPT);
        self.seam.drain(..surplus);
    }

    /// The scan has come to the end of a script: does it call?
    pub(crate) fn in_script(&mut self, script: Range<u64>) -> bool {
        let passed = self.ends.partition_point(|end| *end <= script.end);
        self.ends.drain(..passed).any(|end| end > script.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str, size: usize) -> Calls {
        let mut calls = Calls::default();
        text.as_bytes().chunks(size).for_each(|piece| calls.read(piece));
        calls
    }

    #[test]
    fn the_call_is_found_wherever_it_is_cut() {
        for size in 1..40 {
            assert_eq!(calls("(self.__next_f=self.__next_f||[]).push([0])", size).ends, [14, 28], "{size}");
            assert_eq!(calls("self.__next_f", size).ends, [13], "{size}");
            assert_eq!(calls("self.__next_self.__next", size).ends, [0u64; 0], "{size}");
        }
    }

    #[test]
    fn only_scripts_call() {
        let mut calls = calls("<p>self.__next_f</p><script>1</script><script>self.__next_f</script>", 7);
        assert!(!calls.in_script(20..29), "the text of an article");
        assert!(calls.in_script(38..59));
        assert!(!calls.in_script(59..90));
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(calls(&"self.__next_f;".repeat(5_000), 100).ends.len(), MAX_WAITING);
    }
}
