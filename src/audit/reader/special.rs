//! Bytes by which a line may not be a usual one: backslashes and control bytes. They are rare, and lines are many: it is the
//! whole text that is looked through, once, and not each line.

use std::ops::Range;

/// Bytes that are looked through together.
const BLOCK: usize = 1_024;

/// The next of these bytes, for lines that come in their order.
#[derive(Debug)]
pub(crate) struct SpecialBytes<'t> {
    text: &'t [u8],
    /// Where the next one stands, behind the text if nowhere; `None` before the first line.
    backslash: Option<usize>,
    control: Option<usize>,
}

impl<'t> SpecialBytes<'t> {
    pub(crate) fn of(text: &'t [u8]) -> Self {
        Self { text, backslash: None, control: None }
    }

    /// Is one of them in this line? No line that begins before it may be asked for again.
    pub(crate) fn are_in(&mut self, line: &Range<usize>) -> bool {
        let backslash = |rest: &[u8]| memchr::memchr(b'\\', rest);
        let next = self.backslash.filter(|at| *at >= line.start);
        let next_backslash = next.unwrap_or_else(|| position(self.text, line.start, backslash));
        let next = self.control.filter(|at| *at >= line.start);
        let next_control = next.unwrap_or_else(|| position(self.text, line.start, control));
        (self.backslash, self.control) = (Some(next_backslash), Some(next_control));
        next_backslash.min(next_control) < line.end
    }
}

/// Where it is found from here on; behind the text if nowhere.
fn position(text: &[u8], from: usize, find: impl Fn(&[u8]) -> Option<usize>) -> usize {
    let found = text.get(from..).and_then(find);
    found.map_or(text.len(), |at| from + at)
}

/// The first control byte other than tab, CR and LF.
fn control(text: &[u8]) -> Option<usize> {
    let start = text.chunks(BLOCK).position(holds_control)? * BLOCK;
    let at = text.get(start..)?.iter().position(|byte| is_control(*byte))?;
    Some(start + at)
}

/// Both steps take no branch a byte, and 16 bytes or more at once.
fn holds_control(block: &[u8]) -> bool {
    // Turned about like this, LF is the greatest of the control bytes: nearly every block has none below it.
    const TURN: u8 = 0x1F ^ b'\n';
    let least = block.iter().fold(u8::MAX, |least, byte| least.min(byte ^ TURN));
    least < 0x1F && block.iter().fold(0, |found, byte| found | u8::from(is_control(*byte))) > 0
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of each line, one after the other, whether there is one in it.
    fn found(text: &[u8]) -> Vec<bool> {
        let (mut special, mut from) = (SpecialBytes::of(text), 0);
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
            let start = from;
            from += line.len();
            start..from - usize::from(line.ends_with(b"\n"))
        });
        lines.map(|line| special.are_in(&line)).collect()
    }

    #[test]
    fn each_is_in_its_own_line() {
        // Lines that end before, at and behind the end of a block.
        let lines = [700, 323, 1_024, 0, 3_000, 1];
        for special in [b'\\', 0, 0x08, 0x0B, 0x0C, 0x0E, 0x1F] {
            for (number, length) in lines.iter().enumerate().filter(|(_, length)| **length > 0) {
                for at in [0, length / 2, length - 1] {
                    let mut text: Vec<Vec<u8>> = lines.iter().map(|length| vec![b'x'; *length]).collect();
                    text[number][at] = special;
                    let expected: Vec<bool> = (0..lines.len()).map(|line| line == number).collect();
                    assert_eq!(found(&text.join(&b'\n')), expected, "{special} in line {number}, at {at}");
                }
            }
        }
    }

    #[test]
    fn tab_and_cr_are_nothing_special() {
        let text = b"a\tb\r\n".repeat(1_000);
        assert!(found(&text).iter().all(|found| !found));
        assert!(found(b"").is_empty());
    }

    proptest! {
        #[test]
        fn it_is_as_if_each_line_were_looked_through(
            parts in prop::collection::vec((0..1_500usize, prop::sample::select(b"\n\n\n\n\t\r\\\x00\x1F\x20\x7F\xFF".to_vec())), 0..20),
        ) {
            let text: Vec<u8> = parts.iter().flat_map(|(length, byte)| [vec![b'x'; *length], vec![*byte]].concat()).collect();
            let is_special = |byte: &u8| *byte == b'\\' || (*byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n'));
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            prop_assert_eq!(found(&text), lines.map(|line| line.iter().any(is_special)).collect::<Vec<_>>());
        }
    }
}
