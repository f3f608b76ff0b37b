//! What paths answer, and how often they are asked for.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::{State, Tick};

const FEEDS: [&str; 6] = [
    "application/rss+xml",
    "application/atom+xml",
    "application/feed+json",
    "application/rdf+xml",
    "application/xml",
    "text/xml",
];
/// Rows of the sketch.
const ROWS: usize = 4;

/// What a path has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// A page.
    Html,
    /// A feed.
    Feed,
    /// Data for programs.
    Data,
    /// Anything else.
    Other,
}

impl PathKind {
    const ALL: [Self; 4] = [Self::Html, Self::Feed, Self::Data, Self::Other];

    fn bits(self) -> u64 {
        self as u64
    }

    /// By `Content-Type`. XML counts as a feed: that is what is asked for by programs.
    pub(crate) fn of_content_type(value: &[u8]) -> Self {
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is_one_of = |names: &[&str]| names.iter().any(|name| essence.eq_ignore_ascii_case(name.as_bytes()));
        let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
        if is_one_of(&["text/html", "application/xhtml+xml"]) {
            Self::Html
        } else if is_one_of(&FEEDS) {
            Self::Feed
        } else if is_one_of(&["application/json"]) || suffix.is_some_and(|end| end.eq_ignore_ascii_case(b"+json")) {
            Self::Data
        } else {
            Self::Other
        }
    }
}

impl State {
    /// Hash of a path, keyed, so that nobody can choose collisions.
    pub(crate) fn path_hash(&self, path: &str) -> u64 {
        self.hash((3u8, path))
    }

    /// Learns what a path answers, by its hash.
    pub(crate) fn learn_path(&self, path: u64, kind: PathKind) {
        self.kinds.learn(path, kind);
    }

    /// What a path has answered. `None`: it has not been asked for yet, as far as is remembered.
    pub(crate) fn path_kind(&self, path: u64) -> Option<PathKind> {
        self.kinds.kind(path)
    }

    /// Counts a request for a path, and says how often others asked before, at most.
    pub(crate) fn heat(&self, path: u64, now: Tick) -> u16 {
        self.heat.hit(path, now)
    }
}

/// 62 bits of hash and two bits of kind for each path seen.
pub(super) struct PathKinds {
    cells: Box<[AtomicU64]>,
}

impl PathKinds {
    pub(super) fn new(cells: usize) -> Self {
        Self { cells: (0..cells).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// Learns what a path answers. Once it was a page it stays one, whatever it answers to other headers.
    pub(super) fn learn(&self, hash: u64, kind: PathKind) {
        let (Some(cell), tag) = self.cell(hash) else { return };
        if cell.load(Ordering::Relaxed) != tag | PathKind::Html.bits() {
            cell.store(tag | kind.bits(), Ordering::Relaxed);
        }
    }

    /// `None`: it has not been asked for yet, as far as is remembered.
    pub(super) fn kind(&self, hash: u64) -> Option<PathKind> {
        let (cell, tag) = self.cell(hash);
        let word = cell?.load(Ordering::Relaxed);
        (word & !3 == tag).then(|| PathKind::ALL.into_iter().find(|kind| kind.bits() == word & 3)).flatten()
    }

    fn cell(&self, hash: u64) -> (Option<&AtomicU64>, u64) {
        let index = ((u128::from(hash) * self.cells.len() as u128) >> 64) as usize;
        (self.cells.get(index), (hash << 2).max(4))
    }
}

/// A count-min sketch of requests by path (Cormode and Muthukrishnan, 2005), halved with each hour.
pub(super) struct PathHeat {
    counts: Box<[AtomicU16]>,
    columns: u64,
    hour: AtomicU32,
}

impl PathHeat {
    /// Without columns nothing is counted, and each path is as hot as can be.
    pub(super) fn new(columns: usize) -> Self {
        let counts = (0..columns * ROWS).map(|_| AtomicU16::new(0)).collect();
        Self { counts, columns: columns as u64, hour: AtomicU32::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.counts)
    }

    /// Counts a request, and says how often the path was asked for before, at most.
    pub(super) fn hit(&self, hash: u64, now: Tick) -> u16 {
        if self.columns == 0 {
            return u16::MAX;
        }
        let hour = now.hour();
        let seen = self.hour.load(Ordering::Relaxed);
        // Whoever comes first in the hour halves all.
        if seen != hour && self.hour.compare_exchange(seen, hour, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.counts.iter().for_each(|count| count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed));
        }
        let mut least = u16::MAX;
        for row in 0..ROWS as u64 {
            let column = hash.rotate_left(row as u32 * 16).wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.columns;
            let Some(count) = self.counts.get((row * self.columns + column) as usize) else { continue };
            let before = count.load(Ordering::Relaxed);
            count.store(before.saturating_add(1), Ordering::Relaxed);
            least = least.min(before);
        }
        least
    }
}

#[cfg(feature = "proxy")]
impl State {
    /// Does not count how often paths are asked for: nobody is found to ask for what nobody else reads. For logs, which do
    /// not say where a request was set off.
    pub(crate) fn without_heat(self) -> Self {
        Self { heat: PathHeat::new(0), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_it_answered() {
        let paths = PathKinds::new(64);
        let (a, b) = (0xAAAA_0000_1111_2222, 0xBBBB_0000_1111_2223);
        assert_eq!(paths.kind(a), None);
        paths.learn(a, PathKind::Data);
        assert_eq!(paths.kind(a), Some(PathKind::Data));
        paths.learn(a, PathKind::Html);
        assert_eq!((paths.kind(a), paths.kind(b)), (Some(PathKind::Html), None));
        paths.learn(a, PathKind::Feed);
        assert_eq!(paths.kind(a), Some(PathKind::Html), "once a page, always a page");
    }

    #[test]
    fn kinds_follow_the_content_type() {
        for (value, kind) in [
            ("text/html; charset=utf-8", PathKind::Html),
            ("Application/XHTML+xml", PathKind::Html),
            ("application/rss+xml", PathKind::Feed),
            ("text/xml;charset=utf-8", PathKind::Feed),
            ("application/ld+json", PathKind::Data),
            ("image/svg+xml", PathKind::Other),
            ("text/css", PathKind::Other),
            ("", PathKind::Other),
        ] {
            assert_eq!(PathKind::of_content_type(value.as_bytes()), kind, "{value}");
        }
    }

    #[test]
    fn heat_is_counted_and_halved() {
        let heat = PathHeat::new(256);
        let hash = 0x1234_5678_9ABC_DEF0;
        assert_eq!((0..31).map(|_| heat.hit(hash, Tick(0))).last(), Some(30));
        assert!(heat.hit(hash ^ 0xFFFF_0000_FFFF, Tick(0)) < 31);
        assert_eq!(heat.hit(hash, Tick(3_600 * 16)), 15);
        let none = PathHeat::new(0);
        assert_eq!((none.hit(hash, Tick(0)), none.hit(hash, Tick(0)), none.bytes()), (u16::MAX, u16::MAX, 0));
    }
}
