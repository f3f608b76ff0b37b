//! Pages that are known before their codings are taken off.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{CODED_STEP, Pipeline, Stage};
use crate::page::output::Output;
use crate::page::packed::PackedBody;
use crate::page::plan::{Alias, Encoded, Pushed};

impl Pipeline {
    /// The page may be known by the bytes in which it comes.
    pub(crate) fn encoded(mut self, encoded: Option<Encoded>) -> Self {
        self.encoded = encoded;
        self
    }

    pub(crate) fn push(&mut self, piece: Bytes, out: &mut Output) -> io::Result<()> {
        match self.encoded.as_mut().map(|encoded| encoded.push(&piece)) {
            Some(Pushed::Held) => {}
            Some(Pushed::Released) => self.release_encoded(),
            Some(Pushed::Passed) | None => return self.decode(piece, out),
        }
        Ok(())
    }

    /// A piece that was held, and is to be pushed again before anything new: what is held is not decoded in one go.
    pub(crate) fn released(&mut self) -> Option<Bytes> {
        if self.released.is_empty() {
            self.counted = None;
        }
        self.released.pop_front()
    }

    /// Is all that has come held, because the page may be known by it?
    pub(super) fn is_held(&self) -> bool {
        self.encoded.as_ref().is_some_and(Encoded::holds)
    }

    /// What is held is to be decoded after all.
    pub(super) fn release_encoded(&mut self) {
        let Some(held) = self.encoded.as_mut().and_then(Encoded::release) else { return };
        self.released.extend(held.pieces().cloned());
        self.counted = Some(held);
    }

    /// No more comes. The packed form of the page, and its length before, if it is known by its bytes.
    pub(super) fn recognize(&mut self, out: &mut Output) -> io::Result<Option<(PackedBody, u64)>> {
        let alias = self.encoded.as_mut().and_then(Encoded::finish);
        if let Some(packed) = alias.and_then(|alias| self.recall(&alias)) {
            self.encoded = None;
            return Ok(Some(packed));
        }
        self.release_encoded();
        while let Some(mut piece) = self.released() {
            while !piece.is_empty() {
                self.decode(piece.split_to(piece.len().min(CODED_STEP)), out)?;
            }
        }
        Ok(None)
    }

    /// `None`: the copy needs more than the packed form.
    fn recall(&mut self, alias: &Arc<Alias>) -> Option<(PackedBody, u64)> {
        let Stage::Start { start, .. } = &mut self.stage else { return None };
        let start = start.take()?;
        self.opened = Some(alias.opened);
        self.stage = start(alias.opened.charset, alias.opened.room).begin(self.outgoing);
        let Stage::Confirm { confirm, work } = &mut self.stage else { return None };
        let place = work.place.as_ref()?;
        let (body, source) = confirm.recognized(&alias.plan()?, place.reader, work.choose.as_mut())?;
        place.cache.confirm(place.key, confirm.plan());
        place.remember(confirm.plan());
        self.read += source;
        let length = body.page();
        Some((body, length))
    }

    /// A page was decoded to its end, and is the one that was thought: it is known by its bytes from now on.
    pub(super) fn learn_encoded(&mut self) {
        let Stage::Confirm { confirm, .. } = &self.stage else { return };
        if let (Some(encoded), Some(opened), true) = (self.encoded.take(), self.opened, self.opening.patient) {
            encoded.learn(opened, confirm.plan());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use proptest::prelude::*;

    use super::*;
    use crate::page::charset::Charset;
    use crate::page::encoding::Coding;
    use crate::page::pipeline::tests::{article, change, job, run, same, visit};
    use crate::page::plan::PlanCache;
    use crate::page::rewrite::Job;

    fn gzip(page: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(page).unwrap();
        encoder.finish().unwrap()
    }

    /// The copy of a page that the site sends in gzip is the one that leaves without a cache. Was it known by its bytes?
    fn sent(
        job: fn(Charset) -> Job,
        cache: &Arc<PlanCache>,
        reader: u64,
        (page, body): (&[u8], &[u8]),
        pieces: &[usize],
        late: Option<usize>,
    ) -> bool {
        let (plain, expected, _) = run(visit(&[], job, None, Coding::Identity, reader), page, &[usize::MAX], None);
        let before = cache.counts();
        let pipeline = visit(&[Coding::Gzip], job, Some(cache), Coding::Gzip, reader);
        let (copy, facts, _) = run(pipeline.encoded(Some(Encoded::new(cache, 9))), body, pieces, late);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*copy).read_to_end(&mut text).unwrap();
        assert_eq!((&facts.mark_off, facts.mark_skip), (&expected.mark_off, expected.mark_skip));
        assert_eq!((&facts.plan, facts.mark_late), (&expected.plan, expected.mark_late));
        same("in gzip", &(text, facts), &(plain, expected));
        cache.settle();
        let after = cache.counts();
        assert_eq!(after.hits + after.misses, before.hits + before.misses + 1, "each page is counted once");
        after.packed_recognized > before.packed_recognized
    }

    #[test]
    fn a_page_that_comes_in_the_same_bytes_is_not_read() {
        let (page, other) = (article(400, "<p>the end"), article(400, "<p>another end of it all"));
        let (page, other) = (page.as_bytes(), other.as_bytes());
        let (body, changed) = (gzip(page), gzip(other));
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        // New, packed after this one, and read once more by its bytes.
        for reader in 1..=3 {
            assert!(!sent(job, &cache, reader, (page, &body), &[1_000], None), "{reader}");
        }
        let known: Vec<bool> =
            (1..=30).map(|reader| sent(job, &cache, reader, (page, &body), &[700, 1, usize::MAX], None)).collect();
        // When it was seen 16 times it was decoded, and packed for a smaller body.
        assert_eq!(known.iter().filter(|known| !**known).count(), 1, "{known:?}");
        assert_eq!((cache.counts().packed_full, cache.counts().packed_mismatches), (1, 0));
        // Slow, another page, the same page in other bytes, and each of them known beside the other.
        assert!(!sent(job, &cache, 4, (page, &body), &[900], Some(0)));
        for (reader, is_known) in [(1, false), (1, false), (2, false), (3, false), (4, true)] {
            assert_eq!(sent(job, &cache, reader, (other, &changed), &[900], None), is_known, "{reader}");
        }
        assert!(sent(job, &cache, 5, (page, &body), &[900], None));
        let stored = flate2::Compression::new(1);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), stored);
        encoder.write_all(page).unwrap();
        let otherwise = encoder.finish().unwrap();
        assert!(!sent(job, &cache, 5, (page, &otherwise), &[900], None));
        assert!(sent(job, &cache, 6, (page, &otherwise), &[900], None));
        assert!(sent(job, &cache, 6, (page, &body), &[900], None), "a site may have two compressors");
    }

    #[test]
    fn a_copy_that_is_to_be_compared_is_read() {
        let page = article(400, "<p>the end");
        let body = gzip(page.as_bytes());
        let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
        for reader in 1..=12 {
            assert!(!sent(job, &cache, reader, (page.as_bytes(), &body), &[usize::MAX], None), "{reader}");
        }
        assert_eq!(cache.counts().packed_mismatches, 0);
        assert!(cache.begins_to_compare(), "whatever was begun is over");
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_page_that_is_known() {
        let page = article(400, "<p>the end");
        let body = gzip(page.as_bytes());
        let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
        (1..=4).for_each(|reader| _ = sent(job, &cache, reader, (page.as_bytes(), &body), &[usize::MAX], None));
        for damaged in [&body[..body.len() - 1], &body[..200]] {
            let pipeline = visit(&[Coding::Gzip], job, Some(&cache), Coding::Gzip, 5);
            let mut pipeline = pipeline.encoded(Some(Encoded::new(&cache, 9)));
            let mut out = Output::default();
            pipeline.push(Bytes::copy_from_slice(damaged), &mut out).unwrap();
            assert!(out.is_empty() && pipeline.waits_at().is_some());
            assert_eq!(pipeline.step(), usize::MAX, "a frame is held as a whole");
            assert_eq!(pipeline.finish(&mut out).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        // Behind the end of gzip stands what is passed over.
        let longer = [&*body, b"rest"].concat();
        assert!(!sent(job, &cache, 5, (page.as_bytes(), &longer), &[usize::MAX], None));
        assert!(sent(job, &cache, 5, (page.as_bytes(), &body), &[usize::MAX], None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn whatever_comes_the_copy_is_the_one_without_a_cache(
            changes in prop::collection::vec((0..30_000_usize, 0..5_usize), 0..3),
            pieces in prop::collection::vec(1..9_000_usize, 1..4),
            late in prop::option::of(0..4_usize),
        ) {
            let page = article(300, "<p>the end");
            let body = gzip(page.as_bytes());
            let cache = PlanCache::new(8 << 20, Some(0)).unwrap();
            (1..=3).for_each(|reader| _ = sent(job, &cache, reader, (page.as_bytes(), &body), &[usize::MAX], None));
            let other = changes.iter().fold(page.clone().into_bytes(), |page, (at, kind)| change(&page, *at, *kind));
            let known = sent(job, &cache, 4, (&other, &gzip(&other)), &pieces, late);
            prop_assert!(!known || other == page.as_bytes());
            prop_assert!(known || late.is_some() || other != page.as_bytes());
        }
    }
}
