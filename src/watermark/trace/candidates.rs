//! The marks that are searched: those of a log, each once, eight bytes each.

use std::collections::{BTreeMap, BTreeSet};

use crate::watermark::code::Mark;

const ID_BITS: u32 = 48;
/// Marks of one group that are added up; a group with more is searched in parts, which count as groups.
const PART: usize = 32;
/// Entries from which doubles are looked for while more come in.
const FIRST_ROOM: usize = 1 << 16;

/// Distinct marks, and who holds them. A log names a mark once a response: doubles are dropped as they come in.
///
/// ```
/// use deckle::watermark::{Candidates, Mark};
/// let mut log = Candidates::new();
/// log.push(Mark { kid: 0, id: 7 });
/// log.push(Mark { kid: 0, id: 7 });
/// let log = log.finish();
/// assert_eq!(log.len(), 1);
/// assert!(log.has(Mark { kid: 0, id: 7 }) && !log.has(Mark { kid: 1, id: 7 }));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    marks: Vec<u64>,
    /// Group and mark.
    grouped: Vec<(u64, u64)>,
    room: usize,
    sorted: bool,
}

pub(super) fn pack(mark: Mark) -> u64 {
    u64::from(mark.kid) << ID_BITS | (mark.id & ((1 << ID_BITS) - 1))
}

pub(super) fn unpack(packed: u64) -> Mark {
    Mark { kid: (packed >> ID_BITS) as u8, id: packed & ((1 << ID_BITS) - 1) }
}

impl Candidates {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mark.
    pub fn push(&mut self, mark: Mark) {
        self.marks.push(pack(mark));
        self.added();
    }

    /// Adds a mark of a visitor, by any number that stands for one.
    pub fn push_of(&mut self, mark: Mark, group: u64) {
        self.grouped.push((group, pack(mark)));
        self.push(mark);
    }

    fn added(&mut self) {
        self.sorted = false;
        if self.marks.len() + self.grouped.len() >= self.room.max(FIRST_ROOM) {
            self.sort();
            self.room = 2 * (self.marks.len() + self.grouped.len());
        }
    }

    fn sort(&mut self) {
        self.marks.sort_unstable();
        self.marks.dedup();
        self.grouped.sort_unstable();
        self.grouped.dedup();
        self.sorted = true;
    }

    /// Drops the last doubles; to be called once all are in.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.sort();
        self.marks.shrink_to_fit();
        self.grouped.shrink_to_fit();
        self
    }

    /// Marks.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Groups that marks were pushed with; to be asked after [`finish`](Self::finish).
    pub fn groups(&self) -> u64 {
        self.grouped.chunk_by(|a, b| a.0 == b.0).count() as u64
    }

    /// Is it one of them?
    pub fn has(&self, mark: Mark) -> bool {
        let packed = pack(mark);
        if self.sorted { self.marks.binary_search(&packed).is_ok() } else { self.marks.contains(&packed) }
    }

    /// As they lie: key id and mark in one number.
    pub(super) fn packed(&self) -> &[u64] {
        &self.marks
    }

    /// The marks of each group, at most [`PART`] together.
    pub(super) fn parts(&self) -> Vec<&[(u64, u64)]> {
        self.grouped.chunk_by(|a, b| a.0 == b.0).flat_map(|group| group.chunks(PART)).collect()
    }

    /// Does more than one group hold one of these?
    pub(super) fn collide(&self, marks: &BTreeSet<Mark>) -> bool {
        let mut holders: BTreeMap<u64, u64> = BTreeMap::new();
        self.grouped
            .iter()
            .filter(|(_, packed)| marks.contains(&unpack(*packed)))
            .any(|(group, packed)| holders.insert(*packed, *group).is_some_and(|other| other != *group))
    }
}

impl FromIterator<Mark> for Candidates {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Self {
        let mut all = Self::new();
        marks.into_iter().for_each(|mark| all.push(mark));
        all.finish()
    }
}

impl<const N: usize> From<[Mark; N]> for Candidates {
    fn from(marks: [Mark; N]) -> Self {
        marks.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_never_take_room() {
        let mut all = Candidates::new();
        for i in 0..1_000_000u64 {
            all.push_of(Mark { kid: (i % 3) as u8, id: i % 1_000 }, i % 7);
        }
        assert!(all.marks.capacity() + all.grouped.capacity() <= 4 * FIRST_ROOM, "{}", all.marks.capacity());
        let all = all.finish();
        assert_eq!((all.len(), all.groups()), (3_000, 7));
        assert_eq!(all.parts().iter().map(|p| p.len()).sum::<usize>(), 21_000);
        assert!(all.parts().iter().all(|p| p.len() <= PART && p.iter().all(|(group, _)| *group == p[0].0)));
        assert!(all.has(Mark { kid: 2, id: 999 }) && !all.has(Mark { kid: 2, id: 1_000 }));
    }

    #[test]
    fn a_mark_of_two_visitors_collides() {
        let [a, b] = [1, 2].map(|id| Mark { kid: 0, id });
        let mut all = Candidates::new();
        all.push_of(a, 1);
        all.push_of(a, 1);
        all.push_of(b, 1);
        all.push_of(b, 2);
        let all = all.finish();
        assert!(!all.collide(&[a].into()) && all.collide(&[b].into()) && all.collide(&[a, b].into()));
    }

    #[test]
    fn packing_keeps_the_key_and_the_mark() {
        let mark = Mark { kid: 7, id: 0xFEDC_BA98_7654 };
        assert_eq!(unpack(pack(mark)), mark);
    }
}
