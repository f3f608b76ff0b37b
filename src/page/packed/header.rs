//! The head of a block with codes of its own: how long they are, in run lengths, in a code of their own
//! (RFC 1951 §3.2.7).

use super::codes::Code;
use super::symbols::Channels;
use super::tokens::FIRST_LENGTH;
use super::write::Bits;

/// Symbols of the code of lengths.
const SYMBOLS: usize = 19;
/// Its longest code.
const MAX_LENGTH: u8 = 7;
/// In which order their lengths are sent, and how many at least.
const ORDER: [usize; SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MIN_SENT: usize = 4;

/// A length, or a run of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    symbol: usize,
    /// The number that follows the symbol, and its bits.
    rest: usize,
    bits: u8,
}

#[derive(Debug)]
pub(super) struct Header {
    literals: usize,
    distances: usize,
    runs: Vec<Run>,
    code: Code,
    /// How many lengths of the code are sent.
    sent: usize,
}

impl Header {
    /// For codes of these lengths.
    pub(super) fn of(literals: &[u8], distances: &[u8]) -> Self {
        let (literals, distances) = (used(literals, FIRST_LENGTH), used(distances, 1));
        let runs = runs(&[literals, distances].concat());
        let mut counts = [0; SYMBOLS];
        runs.iter().for_each(|run| counts[run.symbol] += 1);
        let code = Code::of(&counts, MAX_LENGTH, Channels::default());
        let last = ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0);
        let sent = last.map_or(0, |last| last + 1).max(MIN_SENT);
        Self { literals: literals.len(), distances: distances.len(), runs, code, sent }
    }

    /// Its bits.
    pub(super) fn size(&self) -> u64 {
        let runs = self.runs.iter().map(|run| u64::from(self.code.lengths[run.symbol]) + u64::from(run.bits));
        5 + 5 + 4 + 3 * self.sent as u64 + runs.sum::<u64>()
    }

    pub(super) fn write(&self, out: &mut Bits) {
        out.put((self.literals - FIRST_LENGTH) as u32, 5);
        out.put((self.distances - 1) as u32, 5);
        out.put((self.sent - MIN_SENT) as u32, 4);
        for symbol in ORDER.iter().take(self.sent) {
            out.put(self.code.lengths[*symbol].into(), 3);
        }
        for run in &self.runs {
            out.put(self.code.bits[run.symbol].into(), self.code.lengths[run.symbol]);
            out.put(run.rest as u32, run.bits);
        }
    }
}

/// Without the zeros at the end, but so many at least.
fn used(lengths: &[u8], least: usize) -> &[u8] {
    let last = lengths.iter().rposition(|length| *length > 0);
    &lengths[..last.map_or(0, |last| last + 1).max(least)]
}

fn runs(lengths: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let (value, mut rest) = (usize::from(run[0]), run.len());
        let single = Run { symbol: value, rest: 0, bits: 0 };
        if value > 0 {
            // Symbol 16 repeats what stands before it.
            runs.push(single);
            rest -= 1;
        }
        while rest >= 3 {
            let (symbol, least, most, bits) = match (value, rest) {
                (0, ..11) => (17, 3, 10, 3),
                (0, _) => (18, 11, 138, 7),
                _ => (16, 3, 6, 2),
            };
            let length = rest.min(most);
            runs.push(Run { symbol, rest: length - least, bits });
            rest -= length;
        }
        runs.extend(std::iter::repeat_n(single, rest));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a decoder reads.
    fn expand(runs: &[Run]) -> Vec<u8> {
        let mut lengths = Vec::new();
        for run in runs {
            let (value, count) = match run.symbol {
                16 => (lengths.last().copied().unwrap(), run.rest + 3),
                17 => (0, run.rest + 3),
                18 => (0, run.rest + 11),
                length => (length as u8, 1),
            };
            assert!(run.rest < 1 << run.bits);
            lengths.extend(std::iter::repeat_n(value, count));
        }
        lengths
    }

    #[test]
    fn runs_say_the_lengths_again() {
        for value in [0, 5] {
            for count in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 137, 138, 139, 140, 141, 149, 276, 286] {
                let lengths = [vec![7], vec![value; count], vec![7]].concat();
                assert_eq!(expand(&runs(&lengths)), lengths, "{value} {count}");
            }
        }
        let short = |lengths: &[u8]| runs(lengths).iter().map(|run| (run.symbol, run.rest)).collect::<Vec<_>>();
        assert_eq!(short(&[8; 7]), [(8, 0), (16, 3)]);
        assert_eq!(short(&[8; 9]), [(8, 0), (16, 3), (8, 0), (8, 0)]);
        assert_eq!(short(&[0; 140]), [(18, 127), (0, 0), (0, 0)]);
    }

    #[test]
    fn the_size_is_what_is_written() {
        let mut literals = [0; 286];
        (literals[32], literals[97], literals[256], literals[260]) = (2, 2, 2, 2);
        for distances in [&[1, 1][..], &[0, 0, 0, 1, 1], &[5; 30]] {
            let header = Header::of(&literals, distances);
            let mut out = Bits::default();
            header.write(&mut out);
            assert_eq!(out.position() as u64, header.size());
            assert_eq!((header.literals, header.distances), (261, distances.len()));
        }
    }
}
