//! What goes with a plan while it is used: its packed form, and who has seen the page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use super::template::{Channels, Chooser};
use super::volatile::Volatile;
use crate::page::packed::{Effort, Packed};
use crate::slot::Carriers;

/// From so many sights on a smaller body is worth its work.
const FULL_HITS: u32 = 16;

/// A page that is packed, for the copies that use these channels.
#[derive(Debug)]
pub(super) struct PackedPage {
    pub(super) packed: Arc<Packed>,
    pub(super) channels: Channels,
    /// What each copy carries.
    pub(super) carriers: Carriers,
    /// What chooses between the texts of the template, by the number of the choice.
    pub(super) choosers: Box<[Chooser]>,
    /// What of its source each copy has in the volatile ranges of the template.
    pub(super) volatile: Volatile,
    pub(super) effort: Effort,
}

/// Of one plan.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// The reader to whom the page was given first, by a keyed hash.
    first: Option<u64>,
    /// Another one has got the same bytes: a sign that they are meant for all. What keeps the page from whoever should not have
    /// it is that the source of each answer is compared first, or confirmed by the site.
    shared: AtomicBool,
    hits: AtomicU32,
    /// It cannot be packed, or was packed wrongly.
    never: AtomicBool,
    page: ArcSwapOption<PackedPage>,
}

impl Shelf {
    pub(super) fn first_seen_by(&mut self, reader: Option<u64>) {
        self.first = reader;
    }

    /// The page was seen again, in a copy with these channels. The answer is how it should be packed now; `None`: not at all, or
    /// it is.
    pub(super) fn see(&self, reader: Option<u64>, channels: &Channels) -> Option<Effort> {
        let hits = self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.first.zip(reader).is_some_and(|(first, reader)| first != reader) {
            self.shared.store(true, Ordering::Relaxed);
        }
        if !self.shared.load(Ordering::Relaxed) || self.never.load(Ordering::Relaxed) {
            return None;
        }
        match self.page.load().as_deref() {
            None => Some(Effort::Quick),
            // A style sheet was read meanwhile.
            Some(page) if page.channels != *channels => Some(Effort::Quick),
            Some(page) => (page.effort == Effort::Quick && hits >= FULL_HITS).then_some(Effort::Full),
        }
    }

    pub(super) fn page(&self) -> Option<Arc<PackedPage>> {
        if self.never.load(Ordering::Relaxed) { None } else { self.page.load_full() }
    }

    /// May a copy be made without the source? A page that is asked for often is packed for a smaller body, and its source must
    /// come for that.
    pub(super) fn spares_the_source(&self) -> bool {
        let hits = self.hits.load(Ordering::Relaxed);
        let wanted =
            |page: &PackedPage| page.effort == Effort::Quick && hits >= FULL_HITS && hits.is_multiple_of(FULL_HITS);
        self.page().is_some_and(|page| !wanted(&page))
    }

    pub(super) fn put(&self, page: PackedPage) {
        self.page.store(Some(Arc::new(page)));
    }

    /// Never again.
    pub(super) fn give_up(&self) {
        self.never.store(true, Ordering::Relaxed);
        self.page.store(None);
    }

    /// Bytes in memory, its own size not counted.
    pub(super) fn size(&self) -> usize {
        let size = |page: &PackedPage| {
            let own = page.channels.size() + size_of_val(&*page.choosers) + page.volatile.size();
            size_of::<PackedPage>() + page.packed.size() + own
        };
        self.page.load().as_deref().map_or(0, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::packed::{Template, pack};

    fn page(effort: Effort) -> PackedPage {
        let template = Template { bytes: b"a page".to_vec(), ..Template::default() };
        PackedPage {
            packed: Arc::new(pack(&template, effort).unwrap()),
            channels: Channels::default(),
            carriers: Carriers::default(),
            choosers: Box::default(),
            volatile: Volatile::default(),
            effort,
        }
    }

    #[test]
    fn only_what_two_readers_got_is_packed() {
        for first in [None, Some(7)] {
            let mut shelf = Shelf::default();
            shelf.first_seen_by(first);
            for _ in 0..100 {
                assert_eq!(
                    (shelf.see(Some(7), &Channels::default()), shelf.see(None, &Channels::default())),
                    (None, None)
                );
            }
            assert_eq!(shelf.see(Some(8), &Channels::default()), first.map(|_| Effort::Quick));
            assert_eq!(
                shelf.see(Some(7), &Channels::default()),
                first.map(|_| Effort::Quick),
                "it has been dropped from the queue"
            );
        }
    }

    #[test]
    fn what_is_seen_often_is_packed_once_more() {
        let mut shelf = Shelf::default();
        shelf.first_seen_by(Some(1));
        assert_eq!((shelf.see(Some(2), &Channels::default()), shelf.size()), (Some(Effort::Quick), 0));
        shelf.put(page(Effort::Quick));
        assert!(shelf.size() > size_of::<PackedPage>());
        let wishes: Vec<_> = (2..=17).map(|_| shelf.see(Some(1), &Channels::default())).collect();
        assert!(wishes[..14].iter().all(Option::is_none) && wishes[14..] == [Some(Effort::Full); 2], "{wishes:?}");
        shelf.put(page(Effort::Full));
        assert_eq!(shelf.see(Some(1), &Channels::default()), None);
        shelf.give_up();
        shelf.put(page(Effort::Full));
        assert!(shelf.page().is_none() && shelf.see(Some(2), &Channels::default()).is_none());
    }
}
