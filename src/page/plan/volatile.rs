//! Bytes of a page that are different in each answer: a nonce, a clock, a counter. They are compared with nothing, and leave
//! as they stand in the source of the answer.

use std::ops::Range;
use std::sync::Arc;

use super::cache::PlanCache;
use super::source::Source;

/// Most of them in one page.
const MAX_BYTES: usize = 256;

/// A block of a packed page with so many bytes more is smaller than two blocks.
const NEAR: usize = 8;

/// What may stand there: base64url (RFC 4648 §5), with it decimal and hexadecimal digits.
pub(super) const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Where they stand in the source, in order; other bytes are between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Volatile(Box<[Range<u32>]>);

impl Volatile {
    /// Where two sources of one length differ, each place as wide as the run of letters around it: of two nonces some letters
    /// may be equal by chance. `None`: they differ in other bytes, too, or in too many, or nowhere.
    pub(super) fn between(first: &[u8], second: &[u8]) -> Option<Self> {
        if first.len() != second.len() {
            return None;
        }
        let are_letters = |at: usize| {
            let pair = first.get(at).zip(second.get(at));
            pair.is_some_and(|(first, second)| is_letter(*first) && is_letter(*second))
        };
        let (mut ranges, mut bytes, mut from) = (Vec::new(), 0, 0);
        while let Some(at) = difference(first, second, from) {
            if !are_letters(at) {
                return None;
            }
            let start = (0..at).rev().take_while(|at| are_letters(*at)).last().unwrap_or(at);
            let end = at + (at..first.len()).take_while(|at| are_letters(*at)).count();
            bytes += end - start;
            if bytes > MAX_BYTES {
                return None;
            }
            ranges.push(u32::try_from(start).ok()?..u32::try_from(end).ok()?);
            from = end;
        }
        (!ranges.is_empty()).then(|| Self(ranges.into()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().map(|range| range.start as usize..range.end as usize)
    }

    /// Bytes in memory, its own size not counted.
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Does one of them lie in this part of the source?
    pub(super) fn is_in(&self, part: &Range<usize>) -> bool {
        self.within(part.clone()).next().is_some()
    }

    /// Those in a part of the source, cut to it.
    fn within(&self, part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.0.partition_point(|range| range.end as usize <= part.start);
        let ranges = self.0.get(first..).unwrap_or_default().iter();
        ranges
            .map(move |range| part.start.max(range.start as usize)..part.end.min(range.end as usize))
            .take_while(|range| !range.is_empty())
    }

    /// Takes them out of a part of the source that starts at `start`: zeros stand there then. False: there is something that
    /// may not stand there.
    pub(super) fn clear(&self, start: usize, part: &mut [u8]) -> bool {
        self.within(start..start + part.len()).all(|range| {
            let bytes = part.get_mut(range.start - start..range.end - start).unwrap_or_default();
            let fits = bytes.iter().all(|byte| is_letter(*byte));
            bytes.fill(0);
            fits
        })
    }

    /// The hash of a part of the source without them. `None`: there is something that may not stand there.
    pub(super) fn hash(&self, cache: &PlanCache, source: &Source, part: Range<usize>) -> Option<u64> {
        let mut bytes = Vec::with_capacity(part.len());
        source.slices(part.clone()).for_each(|slice| bytes.extend_from_slice(slice));
        self.clear(part.start, &mut bytes).then(|| cache.hash(std::iter::once(&*bytes)))
    }

    /// The ranges of a part of the source that a packed page leaves open: those in it, two that are near each other in one, with
    /// what stands between them.
    pub(super) fn blocks(&self, part: Range<usize>) -> Vec<Range<usize>> {
        let mut blocks = Vec::<Range<usize>>::new();
        for range in self.within(part) {
            match blocks.last_mut().filter(|last| range.start - last.end <= NEAR) {
                Some(last) => last.end = range.end,
                None => blocks.push(range),
            }
        }
        blocks
    }

    /// What stands there in a source, one after the other.
    pub(super) fn bytes(&self, source: &Source) -> Arc<[u8]> {
        self.ranges().flat_map(|range| source.slices(range)).flatten().copied().collect()
    }

    /// The page with other letters in these places.
    pub(super) fn filled(&self, page: &[u8], mut letter: impl FnMut() -> u8) -> Vec<u8> {
        let mut page = page.to_vec();
        for range in self.ranges() {
            page.get_mut(range).unwrap_or_default().fill_with(&mut letter);
        }
        page
    }
}

impl FromIterator<Range<u32>> for Volatile {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

/// The first place from `from` on where they differ.
fn difference(first: &[u8], second: &[u8], from: usize) -> Option<usize> {
    let mut pairs = first.get(from..)?.iter().zip(second.get(from..)?);
    pairs.position(|(first, second)| first != second).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// What is different between two pages, as it stands in the first one.
    fn between<'p>(first: &'p str, second: &str) -> Option<Vec<&'p str>> {
        let found = Volatile::between(first.as_bytes(), second.as_bytes())?;
        Some(found.ranges().map(|range| &first[range]).collect())
    }

    #[test]
    fn a_place_is_as_wide_as_the_run_of_letters_around_it() {
        assert_eq!(between("n=\"ab12-x_9\";", "n=\"ab34-x_9\";"), Some(vec!["ab12-x_9"]));
        assert_eq!(between("<b>12:59</b> 7", "<b>13:00</b> 8"), Some(vec!["12", "59", "7"]));
        assert_eq!(between("1", "2"), Some(vec!["1"]));
        for (first, second) in
            [("a", "a"), ("a", "ab"), ("a b", "a<b"), ("a&b", "a b"), ("a\n", "a "), ("é", "è"), ("a\"", "ab")]
        {
            assert_eq!(between(first, second), None, "{first} {second}");
        }
        let run = |letter: &str, length: usize| format!("{} {}", letter.repeat(length), letter.repeat(56));
        assert!(between(&run("a", 200), &run("b", 200)).is_some());
        assert_eq!(between(&run("a", 201), &run("b", 201)), None);
    }

    #[test]
    fn a_hash_tells_all_but_letters_in_these_places() {
        let cache = PlanCache::new(1 << 20, None).unwrap();
        let (first, second) = (b"<b>12:59</b> x", b"<b>13:00</b> x");
        let volatile = Volatile::between(first, second).unwrap();
        let hash = |page: &'static [u8], part: Range<usize>| {
            let source = Source::of(&cache, Bytes::from_static(page));
            volatile.hash(&cache, &source, part)
        };
        let whole = hash(first, 0..14).unwrap();
        assert_eq!(hash(second, 0..14), Some(whole));
        assert_eq!(hash(b"<b>z-:_9</b> x", 0..14), Some(whole));
        for other in [b"<b>12:59</b> y", b"<b>12.59</b> x", b"<i>12:59</b> x"] {
            assert_ne!(hash(other, 0..14), Some(whole));
        }
        for bad in [b"<b>1<:59</b> x", b"<b>12:5\0</b> x", b"<b>12:\"9</b> x", b"<b>1 :59</b> x"] {
            assert_eq!(hash(bad, 0..14), None);
        }
        // Cut in the middle of a place.
        assert_eq!((hash(first, 0..4), hash(first, 4..14)), (hash(second, 0..4), hash(second, 4..14)));
        assert_ne!(hash(first, 4..14), Some(whole));
        let inside: Vec<bool> = [0..3, 0..4, 5..6, 7..8, 8..14].iter().map(|part| volatile.is_in(part)).collect();
        assert_eq!(inside, [false, true, false, true, false]);
        let filled = volatile.filled(first, || b'q');
        assert_eq!(filled, b"<b>qq:qq</b> x");
    }

    #[test]
    fn what_lies_near_is_left_open_in_one_block() {
        let cache = PlanCache::new(1 << 20, None).unwrap();
        let (first, second) = (b"12:59 (8 letters) 7 (9 letters ) 6", b"13:48 (8 letters) 8 (9 letters ) 5");
        let volatile = Volatile::between(first, second).unwrap();
        let blocks = |part: Range<usize>| {
            volatile.blocks(part).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(blocks(0..34), [(0, 5), (18, 19), (33, 34)]);
        assert_eq!(blocks(0..19), [(0, 5), (18, 19)]);
        assert_eq!((blocks(2..3), blocks(1..4)), (vec![], vec![(1, 4)]), "cut to the part");
        let near = Volatile::between(b"1 bytes: 2 bytes:  3", b"4 bytes: 5 bytes:  6").unwrap();
        let near: Vec<_> = near.blocks(0..20).into_iter().map(|range| range.len()).collect();
        assert_eq!(near, [10, 1], "eight bytes between the first two, nine between the others");
        // In two pieces.
        let mut source = Source::of(&cache, Bytes::from_static(&first[..4]));
        source.push(Bytes::from_static(&first[4..]));
        assert_eq!(*volatile.bytes(&source), *b"125976");
        assert_eq!(*volatile.bytes(&Source::of(&cache, Bytes::from_static(second))), *b"134885");
    }
}
