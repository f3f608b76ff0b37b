//! Decoders, plan or scanner, and encoder of one page in a row.

mod encoded;
mod known;
mod work;

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use encoding_rs::Encoding;

use super::encoding::{Coding, Decoder, Encoder};
use super::opening::Opening;
use super::output::{Output, drop_sent};
use super::plan::{Confirm, Encoded, Log, Opened, PackedAddress, Place, PlanCache, Skip, Source, Study};
use super::report::{PageFacts, Rewrite};
use super::rewrite::{Outcome, Rewriter};
pub(crate) use work::{Start, Work};

use crate::slot::{Carriers, Choose, Unmarked};

/// Most bytes that are rewritten in one poll.
const STEP: usize = 64 * 1024;
/// The same for coded bytes, which become 250 times as many at most.
const CODED_STEP: usize = 4 * 1024;

/// The same for a page that is known: the less often it is cut, the fewer writes it takes.
pub(crate) const KNOWN_STEP: usize = 512 * 1024;

/// What [`Pipeline::waits_at`] says of a page that is held with its codings on: no chunk begins there.
const ENCODED: usize = usize::MAX - 2;

/// Told once, at the end, what was found in the page.
pub(crate) type OnEnd = Box<dyn FnOnce(&Outcome) + Send>;

enum Stage {
    /// Waits for the first bytes.
    Start { held: Bytes, start: Option<Start> },
    /// It may be a page that is known.
    Confirm { confirm: Box<Confirm>, work: Box<Work> },
    Rewrite {
        rewriter: Box<Rewriter>,
        choose: Box<dyn Choose>,
        /// Bytes of the result that have left before.
        sent: usize,
        /// Where the plan goes that is being written.
        place: Option<Place>,
        /// The page is different each time: its source is kept until its end.
        study: Option<Box<Study>>,
    },
    /// Not a page after all.
    Copy(Skip),
    /// Part of it has left by a plan, and the rest cannot be read.
    GivenUp(Carriers),
}

/// One page's way.
pub(crate) struct Pipeline {
    /// The codings are on it still, and it may be known by them.
    encoded: Option<Encoded>,
    /// What was held for that, and is not.
    released: VecDeque<Bytes>,
    /// It counts among what is held until all of it was decoded.
    counted: Option<Source>,
    /// The last coding that was put on comes off first.
    decoders: Vec<Decoder>,
    outgoing: Coding,
    /// To be told whether the page is packed.
    address: Option<PackedAddress>,
    /// It is, whether or not it left so: in another coding, or too slowly to be waited for.
    fits: bool,
    /// Made with the first byte for it: a packed page needs none.
    encoder: Option<Encoder>,
    stage: Stage,
    opening: Opening,
    /// What its first bytes have said.
    opened: Option<Opened>,
    on_end: Option<OnEnd>,
    read: u64,
    written: u64,
}

impl Pipeline {
    pub(crate) fn new(
        codings: &[Coding],
        outgoing: Coding,
        max_decoded: u64,
        header_charset: Option<&'static Encoding>,
        fallback: &'static Encoding,
        start: Start,
        on_end: OnEnd,
    ) -> Self {
        Self {
            encoded: None,
            released: VecDeque::new(),
            counted: None,
            decoders: codings.iter().rev().map(|coding| Decoder::new(*coding, max_decoded)).collect(),
            outgoing,
            address: None,
            fits: false,
            encoder: None,
            stage: Stage::Start { held: Bytes::new(), start: Some(start) },
            opening: Opening::new(header_charset, fallback),
            opened: None,
            on_end: Some(on_end),
            read: 0,
            written: 0,
        }
    }

    /// Nothing says that it is a page but its first bytes.
    pub(crate) fn sniffing(mut self, sniff: bool) -> Self {
        self.opening.sniff = sniff;
        self
    }

    /// Takes the codings off a piece, and passes on what may leave.
    fn decode(&mut self, piece: Bytes, out: &mut Output) -> io::Result<()> {
        let mut source = piece;
        for decoder in &mut self.decoders {
            let mut decoded = Vec::with_capacity(source.len() * 4);
            decoder.push(&source, &mut decoded)?;
            source = Bytes::from(decoded);
        }
        self.read += source.len() as u64;
        let mut page = Output::default();
        self.rewrite(source, &mut page);
        self.encode(page, out)
    }

    /// Most bytes that are worked on at once.
    pub(crate) fn step(&self) -> usize {
        match &self.stage {
            // Coded bytes may become many: the step is smaller, and nothing waits for the next one.
            _ if !self.decoders.is_empty() && !self.is_held() => CODED_STEP,
            // It is hashed, and nothing else: what is released comes before what has not been looked at.
            _ if self.is_held() => usize::MAX,
            // To be compared, not parsed.
            Stage::Confirm { confirm, .. } if self.outgoing == Coding::Identity || confirm.holds() => KNOWN_STEP,
            _ => STEP,
        }
    }

    /// Is it a known page that leaves as it is compared?
    pub(crate) fn compares(&self) -> bool {
        self.outgoing == Coding::Identity && self.decoders.is_empty() && matches!(self.stage, Stage::Confirm { .. })
    }

    pub(crate) fn flush(&mut self, out: &mut Output) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let mut coded = Vec::new();
        encoder.flush(&mut coded)?;
        out.own(coded);
        Ok(())
    }

    pub(crate) fn finish(&mut self, out: &mut Output) -> io::Result<()> {
        let mut packed = self.recognize(out)?;
        let mut page = Output::default();
        if packed.is_none() {
            for decoder in &self.decoders {
                decoder.finish()?;
            }
            self.begin(true, &mut page);
            packed = self.finish_known(&mut page);
            self.finish_scan(&mut page);
        }
        if let Some(address) = &self.address {
            address.note(packed.is_some() || self.fits);
        }
        if let (Some(outcome), Some(tell)) = (self.outcome(), self.on_end.take()) {
            tell(&outcome);
        }
        if let Some((body, length)) = packed {
            self.written += length;
            out.pack(body);
            return Ok(());
        }
        self.encode(page, out)?;
        let Some(encoder) = self.encoder() else { return Ok(()) };
        let mut coded = Vec::new();
        encoder.finish(&mut coded)?;
        out.own(coded);
        Ok(())
    }

    fn encode(&mut self, mut page: Output, out: &mut Output) -> io::Result<()> {
        self.written += page.len() as u64;
        let mut coded = Vec::new();
        while let Some(frame) = page.take() {
            match self.encoder() {
                Some(encoder) => encoder.push(&frame, &mut coded)?,
                None => out.share(frame),
            }
        }
        out.own(coded);
        Ok(())
    }

    fn encoder(&mut self) -> Option<&mut Encoder> {
        if self.encoder.is_none() {
            self.encoder = Encoder::new(self.outgoing);
        }
        self.encoder.as_mut()
    }

    fn rewrite(&mut self, source: Bytes, page: &mut Output) {
        match &mut self.stage {
            Stage::Start { held, .. } => {
                *held = if held.is_empty() { source } else { [&**held, &source].concat().into() };
                self.begin(false, page);
            }
            Stage::Confirm { confirm, work } => {
                if !confirm.push(source, work.choose.as_mut(), page) {
                    self.scan_instead(page);
                }
            }
            Stage::Rewrite { rewriter, choose, sent, study, .. } => {
                if study.as_mut().is_some_and(|study| !study.push(&source)) {
                    *study = None;
                }
                let mut text = Vec::with_capacity(source.len() + 1_024);
                rewriter.push(&source, choose.as_mut(), &mut text);
                drop_sent(&mut text, sent);
                page.own(text);
            }
            Stage::Copy(_) | Stage::GivenUp(_) => page.share(source),
        }
    }

    /// Where the chunk of a known page begins whose rest is waited for; the charset is waited for before all of them.
    pub(crate) fn waits_at(&self) -> Option<usize> {
        match &self.stage {
            _ if self.is_held() => Some(ENCODED),
            Stage::Start { held, .. } if self.opening.waits(held) => Some(usize::MAX),
            Stage::Confirm { confirm, .. } => confirm.waits_at(),
            _ => None,
        }
    }

    /// It has waited long enough: what is here leaves.
    pub(crate) fn wait_no_more(&mut self, out: &mut Output) -> io::Result<()> {
        if self.is_held() {
            self.release_encoded();
            return Ok(());
        }
        let mut page = Output::default();
        if let Stage::Start { .. } = self.stage {
            self.opening.patient = false;
            self.begin(false, &mut page);
        } else if !self.release(&mut page) {
            self.scan_instead(&mut page);
        }
        self.encode(page, out)
    }

    fn finish_scan(&mut self, page: &mut Output) {
        let Stage::Rewrite { rewriter, choose, sent, place, study } = &mut self.stage else { return };
        let mut text = Vec::new();
        rewriter.finish(choose.as_mut(), &mut text);
        drop_sent(&mut text, sent);
        page.own(text);
        let outcome = rewriter.outcome();
        // Only what the source alone decides is a plan: how far a scan comes that breaks off depends on its pieces.
        if let (None, Some(place)) = (outcome.ended, place)
            && let Log::Draft(draft) = rewriter.take_log()
        {
            let learn = if place.exact { PlanCache::learn } else { PlanCache::learn_first };
            let mut plan = draft.finish(outcome);
            plan.first_seen_by(place.reader);
            place.compare(&plan);
            learn(&place.cache, place.key, plan, place.now);
            study.take().into_iter().for_each(|study| study.finish(place, std::mem::replace(choose, unmarked())));
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        match &self.stage {
            Stage::Start { .. } | Stage::Copy(_) | Stage::GivenUp(_) => None,
            Stage::Confirm { confirm, .. } => Some(confirm.outcome()),
            Stage::Rewrite { rewriter, .. } => Some(rewriter.outcome()),
        }
    }

    /// Looks at the first bytes; `last`: no more will come.
    fn begin(&mut self, last: bool, page: &mut Output) {
        let Stage::Start { held, start } = &mut self.stage else { return };
        let Some(opened) = self.opening.read(held, last) else { return };
        let held = std::mem::take(held);
        self.stage = match (opened, start.take()) {
            (Ok(charset), Some(start)) => {
                let opened = self.opened.insert(Opened { charset, room: self.opening.room(&held) });
                start(charset, opened.room).begin(self.outgoing)
            }
            (Ok(_), None) => Stage::Copy(Skip::NotMarkup),
            (Err(skip), _) => Stage::Copy(skip),
        };
        self.encoded.take_if(|_| !matches!(self.stage, Stage::Confirm { .. }));
        self.rewrite(held, page);
    }

    /// Writes down how far it went.
    pub(crate) fn report(&self, facts: &mut PageFacts) {
        facts.body_in = self.read;
        facts.body_out = self.written;
        facts.known = matches!(&self.stage, Stage::Confirm { .. });
        match (&self.stage, self.outcome()) {
            (Stage::Copy(skip), _) => {
                facts.rewrite = Rewrite::Skipped;
                facts.skip = Some(*skip);
                facts.mark = None;
            }
            // Its mark stays in the log: what has left carries it.
            (Stage::GivenUp(carriers), _) => {
                facts.rewrite = Rewrite::Partial;
                facts.skip = Some(Skip::Memory);
                facts.carriers = *carriers;
            }
            (_, None) => {}
            (_, Some(outcome)) => facts.found(outcome),
        }
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codings: Vec<Coding> = self.decoders.iter().map(Decoder::coding).collect();
        f.debug_struct("Pipeline").field("codings", &codings).finish_non_exhaustive()
    }
}

/// For pages that carry no marks.
pub(crate) fn unmarked() -> Box<dyn Choose> {
    Box::new(Unmarked)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::page::PageReport;
    use crate::page::charset::Charset;
    use crate::page::marks::{MarkRules, Variants};
    use crate::page::packed::MAX_CUTS;
    use crate::page::replace::{Replace, Replacer};
    use crate::page::rewrite::Job;
    use crate::slot::{Fill, Form, FormKinds, PlaceHash, PlaceKind};

    /// Chooses by the column, as a row does.
    struct Row;

    impl Choose for Row {
        fn hash(&self, _: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            let hash = context.iter().fold(7, |sum: u16, b| sum.wrapping_mul(31).wrapping_add((*b).into()));
            Some(PlaceHash(hash.into()))
        }
        fn gap(&mut self, column: u16) -> Option<u8> {
            Some(if column.is_multiple_of(3) { b'\n' } else { b' ' })
        }
        fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
            Some(form.references(column.is_multiple_of(2)))
        }
        fn variant(&mut self, column: u16) -> usize {
            usize::from(column % 2)
        }
        fn seal(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"<seal/>"))
        }
        fn fill(&mut self, place: Fill) -> Option<Bytes> {
            Some(Bytes::from_static(if place == Fill::Head { b"<link rel=fill>" } else { b"<a hidden></a>" }))
        }
    }

    fn of_codings(codings: &[Coding], cache: Option<&Arc<PlanCache>>, job: fn(Charset) -> Job) -> Pipeline {
        let place = cache.map(|cache| Place {
            cache: Arc::clone(cache),
            key: 1,
            now: 0,
            exact: true,
            reader: None,
            memory: None,
        });
        let start = Box::new(move |charset, _| Work { job: job(charset), choose: Box::new(Row), place });
        let utf_8 = encoding_rs::UTF_8;
        Pipeline::new(codings, Coding::Identity, 64 << 20, Some(utf_8), utf_8, start, Box::new(|_| {}))
    }

    pub(super) fn job(charset: Charset) -> Job {
        Job {
            charset,
            insert: Arc::new(|_| crate::page::rewrite::Inserted {
                head: Bytes::from_static(b"<script src=guard></script>"),
                footer: Some(Bytes::from_static(b"<div>notice</div>")),
            }),
            policies: None,
            exempt: Arc::new([]),
            replacer: Replacer::new(&[Replace::WpBuy]),
            no_slots: None,
            body_is_root: false,
            learn: true,
            max_memory: 2 << 20,
            window: 64 << 10,
            max_page: 4 << 20,
            foot: true,
            esi: false,
            marks: MarkRules::default(),
            language: None,
        }
    }

    /// A page in pieces of these lengths, the last one again and again; at the piece of this number the wait is over.
    fn sent(
        cache: Option<&Arc<PlanCache>>,
        page: &[u8],
        pieces: &[usize],
        late: Option<usize>,
    ) -> (Vec<u8>, PageFacts) {
        sent_with(job, cache, page, pieces, late)
    }

    fn sent_with(
        job: fn(Charset) -> Job,
        cache: Option<&Arc<PlanCache>>,
        page: &[u8],
        pieces: &[usize],
        late: Option<usize>,
    ) -> (Vec<u8>, PageFacts) {
        let (out, facts, _) = run(of_codings(&[], cache, job), page, pieces, late);
        (out, facts)
    }

    /// What leaves, and whether it does so in packed form.
    pub(super) fn run(
        mut pipeline: Pipeline,
        page: &[u8],
        pieces: &[usize],
        late: Option<usize>,
    ) -> (Vec<u8>, PageFacts, bool) {
        let (mut out, mut rest) = (Vec::new(), page);
        for number in 0.. {
            let piece = pieces.get(number).or(pieces.last()).copied().unwrap_or(usize::MAX).clamp(1, rest.len().max(1));
            let (now, later) = rest.split_at(piece.min(rest.len()));
            let mut frames = Output::default();
            pipeline.push(Bytes::copy_from_slice(now), &mut frames).unwrap();
            if late == Some(number) && pipeline.waits_at().is_some() {
                pipeline.wait_no_more(&mut frames).unwrap();
            }
            while let Some(piece) = pipeline.released() {
                pipeline.push(piece, &mut frames).unwrap();
            }
            out.extend(std::iter::from_fn(|| frames.take()).flatten());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let mut frames = Output::default();
        pipeline.finish(&mut frames).unwrap();
        let packed = frames.unmade() > 0;
        out.extend(std::iter::from_fn(|| frames.take()).flatten());
        assert!(frames.is_empty());
        let report = PageReport::new(Rewrite::Done, None);
        pipeline.report(&mut report.facts_mut());
        (out, report.facts(), packed)
    }

    /// Marks copies in white space, spellings and alternatives, and with seals in the form of characters.
    struct Visit(u64);

    impl Visit {
        fn bit(&self, column: u16) -> bool {
            u64::from(column).wrapping_mul(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1) >> 40 & 1 == 1
        }
    }

    impl Choose for Visit {
        fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            Row.hash(kind, context)
        }
        fn gap(&mut self, column: u16) -> Option<u8> {
            Some(if self.bit(column) { b'\n' } else { b' ' })
        }
        fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
            Some(form.characters(self.bit(column)))
        }
        fn variant(&mut self, column: u16) -> usize {
            usize::from(self.bit(column))
        }
        fn seal(&mut self) -> Option<Bytes> {
            let symbols: String =
                (0..25_u32).filter_map(|at| char::from_u32(0xFE06 + (u32::from(self.0 as u8) * 5 + at) % 8)).collect();
            Some(format!("<span inert=\"\">{symbols}</span>").into())
        }
        fn token(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"easgrlhrgvt2q5s"))
        }
    }

    /// The way of a copy of this reader.
    pub(super) fn visit(
        codings: &[Coding],
        job: fn(Charset) -> Job,
        cache: Option<&Arc<PlanCache>>,
        outgoing: Coding,
        reader: u64,
    ) -> Pipeline {
        let place = cache.map(|cache| Place {
            cache: Arc::clone(cache),
            key: 1,
            now: 0,
            exact: true,
            reader: Some(reader),
            memory: None,
        });
        let start = Box::new(move |charset, _| Work { job: job(charset), choose: Box::new(Visit(reader)), place });
        let utf_8 = encoding_rs::UTF_8;
        Pipeline::new(codings, outgoing, 64 << 20, Some(utf_8), utf_8, start, Box::new(|_| {}))
    }

    /// The copy that a reader gets in gzip is the one that they would get without a cache. Was it packed?
    fn zipped(
        job: fn(Charset) -> Job,
        cache: &Arc<PlanCache>,
        reader: u64,
        page: &[u8],
        pieces: &[usize],
        late: Option<usize>,
    ) -> bool {
        let (plain, expected, _) = run(visit(&[], job, None, Coding::Identity, reader), page, &[usize::MAX], None);
        let (body, facts, packed) = run(visit(&[], job, Some(cache), Coding::Gzip, reader), page, pieces, late);
        let mut copy = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*body), &mut copy).unwrap();
        assert_eq!((&facts.mark_off, facts.mark_skip), (&expected.mark_off, expected.mark_skip));
        assert_eq!((&facts.plan, facts.mark_late), (&expected.plan, expected.mark_late));
        assert!(facts.known || !packed);
        same("in gzip", &(copy, facts), &(plain, expected));
        cache.settle();
        packed
    }

    #[test]
    fn a_page_is_packed_when_two_readers_got_it_and_one_is_never_enough() {
        let (page, other) = (article(60, "<p>the end"), article(60, "<p>another end of it all"));
        let (page, other) = (page.as_bytes(), other.as_bytes());
        let cache = PlanCache::new(8 << 20, Some(4_096)).unwrap();
        for _ in 0..20 {
            assert!(!zipped(job, &cache, 1, page, &[5_000], None));
        }
        let (packed, before) = cache.packed(1);
        assert_eq!(packed, 0);
        assert!(!zipped(job, &cache, 2, page, &[5_000], None), "on the path of a request nothing is packed");
        let (packed, after) = cache.packed(1);
        assert!(packed == 1 && after > before + 500, "{before} {after}");
        for reader in 1..30 {
            assert!(zipped(job, &cache, reader, page, &[5_000, 1, usize::MAX], None), "{reader}");
        }
        // Another form of the page, and both.
        for (reader, is_packed) in [(1, false), (1, false), (2, false), (3, true), (1, true)] {
            assert_eq!(zipped(job, &cache, reader, other, &[7_000], None), is_packed);
        }
        assert!(zipped(job, &cache, 4, page, &[7_000], None));
        let counts = cache.counts();
        // The first reader, the second one, 29 packed copies, and all of the last six but the first sight of the other page.
        assert_eq!((counts.hits, counts.misses, counts.packed_answers), (19 + 1 + 29 + 5, 2, 29 + 3), "{counts:?}");
        assert_eq!((counts.packed_quick, counts.packed_full, counts.packed_mismatches), (2, 1, 0), "{counts:?}");
        // Without gzip it is what it was.
        let (copy, facts, packed) = run(visit(&[], job, Some(&cache), Coding::Identity, 5), page, &[9_000], None);
        let (plain, expected, _) = run(visit(&[], job, None, Coding::Identity, 5), page, &[9_000], None);
        assert!(facts.known && !packed);
        same("identity", &(copy, facts), &(plain, expected));
    }

    #[test]
    fn a_page_that_does_not_come_to_its_end_or_has_another_one_leaves_in_the_ordinary_way() {
        let page = article(600, "<p>the end");
        let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
        for reader in 1..4 {
            assert_eq!(zipped(job, &cache, reader, page.as_bytes(), &[usize::MAX], None), reader == 3);
        }
        for late in 0..4 {
            assert!(!zipped(job, &cache, 4, page.as_bytes(), &[10_000, 12_000, 9_000], Some(late)), "{late}");
        }
        assert!(zipped(job, &cache, 5, page.as_bytes(), &[10_000, 12_000], None), "it was not forgotten");
        for kind in 0..5 {
            for at in [10, 700, 17_000, 40_000] {
                let other = change(page.as_bytes(), at, kind);
                let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
                (1..3).for_each(|reader| _ = zipped(job, &cache, reader, page.as_bytes(), &[usize::MAX], None));
                for late in [None, Some(1)] {
                    assert!(!zipped(job, &cache, 3, &other, &[6_000], late), "{kind} {at} {late:?}");
                }
            }
        }
    }

    /// Spellings and alternatives of the author are chosen.
    fn worded(charset: Charset) -> Job {
        let marks = MarkRules { forms: FormKinds::ALL, variants: Variants::Choose, ..MarkRules::default() };
        Job { marks, language: Some("en".to_owned()), ..job(charset) }
    }

    fn english(paragraph: &str, times: usize) -> String {
        format!("<!doctype html><html lang=en><title>t</title><body><article>{}", paragraph.repeat(times))
    }

    #[test]
    fn a_page_is_packed_though_its_copies_have_different_lengths() {
        let words = "<p>one two three don't can't \"five six\" seven eight — nine ten... eleven, and \
            <span data-variant=\"although|though\">although</span> it was <span data-variant=\"very |\">very </span>so.</p>\n";
        let page = english(words, 2);
        let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
        let mut lengths = std::collections::BTreeSet::new();
        for reader in 1..30 {
            let (_, facts, _) = run(visit(&[], worded, None, Coding::Identity, reader), page.as_bytes(), &[999], None);
            assert!(facts.carriers.forms > 0 && facts.carriers.variants > 0, "{facts:?}");
            lengths.insert(facts.body_out);
            assert_eq!(zipped(worded, &cache, reader, page.as_bytes(), &[2_000], None), reader > 2);
        }
        assert!(lengths.len() > 2, "{lengths:?}");
        let counts = cache.counts();
        assert_eq!((counts.packed_quick, counts.packed_full, counts.packed_mismatches), (1, 1, 0), "{counts:?}");
    }

    #[test]
    fn what_holds_the_mark_in_a_tag_or_has_too_many_choices_is_never_packed() {
        fn tagged(charset: Charset) -> Job {
            Job {
                marks: MarkRules { tokens: true, host: "news.example".into(), ..MarkRules::default() },
                ..job(charset)
            }
        }
        let page =
            english("<p>one two three don't can't won't isn't five six seven eight nine ten eleven twelve.</p>\n", 40);
        for (job, channel) in [(worded as fn(Charset) -> Job, 't'), (tagged as fn(Charset) -> Job, 'm')] {
            let (_, facts, _) = run(visit(&[], job, None, Coding::Identity, 1), page.as_bytes(), &[999], None);
            assert!(facts.carriers.codes().iter().any(|code| code.starts_with(channel)), "{facts:?}");
            assert!(channel == 'm' || facts.carriers.forms > 64, "{facts:?}");
            let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
            for reader in (1..4).cycle().take(20) {
                assert!(!zipped(job, &cache, reader, page.as_bytes(), &[2_000], None));
            }
            assert_eq!(cache.packed(1).0, 0);
        }
    }

    #[test]
    fn a_channel_that_is_shut_out_is_not_in_the_packed_page() {
        fn shut(charset: Charset) -> Job {
            Job { marks: MarkRules::shutting(true, false), ..job(charset) }
        }
        fn closed(charset: Charset) -> Job {
            Job { marks: MarkRules::shutting(true, true), ..job(charset) }
        }
        let page = article(60, "<p>the end");
        for packs in [job as fn(Charset) -> Job, shut, closed] {
            for other in [job as fn(Charset) -> Job, shut, closed] {
                let cache = PlanCache::new(8 << 20, Some(1)).unwrap();
                let seen: Vec<bool> =
                    (1..5).map(|reader| zipped(packs, &cache, reader, page.as_bytes(), &[5_000], None)).collect();
                assert_eq!(seen, [false, false, true, true]);
                // Copies that use other channels do not fit: the page is packed anew for them.
                let (_, facts, _) = run(visit(&[], other, None, Coding::Identity, 9), page.as_bytes(), &[999], None);
                let (_, own, _) = run(visit(&[], packs, None, Coding::Identity, 9), page.as_bytes(), &[999], None);
                let fits = facts.mark_off == own.mark_off;
                let zip = || zipped(other, &cache, 9, page.as_bytes(), &[5_000], None);
                assert_eq!((zip(), zip()), (fits, true), "{:?}", facts.mark_off);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(25))]
        #[test]
        fn any_packed_copy_is_the_ordinary_one(
            parts in proptest::collection::vec((prop_oneof![
                Just("<p>one two three four five six seven eight nine ten eleven twelve thirteen.</p>"),
                Just("<p>one two\tthree  four five six seven eight nine ten eleven twelve, and so on \u{FE06} it was. </p>\n"),
                Just("<li>one <b>two</b> three "), Just("<script>x</script>"), Just("<div id=wpcp-error-message>m</div>"),
                Just("text "), Just("wörd "), Just("</article>"), Just("<article>"), Just("</body></html>"), Just("<pre>a b</pre>"),
            ], 1usize..60), 0..8),
            pieces in proptest::collection::vec(1usize..30_000, 1..6),
            readers in proptest::collection::vec(3u64.., 1..4),
        ) {
            let body: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
            let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{body}");
            let cache = PlanCache::new(8 << 20, Some(2)).unwrap();
            for reader in [1, 2] {
                prop_assert!(!zipped(job, &cache, reader, page.as_bytes(), &pieces, None));
            }
            let known = run(visit(&[], job, Some(&cache), Coding::Identity, 1), page.as_bytes(), &[usize::MAX], None).1.known;
            for reader in readers {
                prop_assert_eq!(zipped(job, &cache, reader, page.as_bytes(), &pieces, None), known);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(25))]
        #[test]
        fn any_packed_copy_is_the_ordinary_one_where_their_lengths_differ(
            // No more than 64 choices.
            parts in proptest::collection::vec((prop_oneof![
                Just("<p>one two three don't four \"five six\" seven — eight nine ten eleven, and it wasn't so... no.</p>"),
                Just("<p>It was <span data-variant=\"although|though\">although</span> late, he was \
                    <span data-variant=\"very |\">very </span>tired, and so <span data-variant=\"I|he\">I</span> went.</p>"),
                Just("<p><span data-variant=\"Ten|10\">Ten</span>"), Just("<li>it's"), Just("<p>\u{2019}tis \"so\" it\u{2019}s.</p>"),
                Just("text "), Just("</article>"), Just("<article>"), Just("</body></html>"), Just("<pre>don't it</pre>"),
            ], 1_usize..3), 0..4),
            pieces in proptest::collection::vec(1_usize..30_000, 1..6),
            readers in proptest::collection::vec(3_u64.., 1..4),
        ) {
            let body: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
            let page = english(&body, 1);
            let cache = PlanCache::new(8 << 20, Some(2)).unwrap();
            for reader in [1, 2] {
                prop_assert!(!zipped(worded, &cache, reader, page.as_bytes(), &pieces, None));
            }
            let facts = run(visit(&[], worded, Some(&cache), Coding::Identity, 1), page.as_bytes(), &[usize::MAX], None).1;
            let may_be_too_many = facts.carriers.forms + facts.carriers.variants > MAX_CUTS as u32;
            let first = zipped(worded, &cache, 2, page.as_bytes(), &pieces, None);
            prop_assert!(first == facts.known || (!first && may_be_too_many));
            for reader in readers {
                prop_assert_eq!(zipped(worded, &cache, reader, page.as_bytes(), &pieces, None), first);
            }
        }
    }

    pub(super) fn same(name: &str, got: &(Vec<u8>, PageFacts), expect: &(Vec<u8>, PageFacts)) {
        assert!(got.0 == expect.0, "{name}: {} bytes, not {}", got.0.len(), expect.0.len());
        let facts = |f: &PageFacts| (f.rewrite, f.skip, f.body_in, f.body_out, f.carriers, f.notice_placed);
        assert_eq!(facts(&got.1), facts(&expect.1), "{name}");
        assert_eq!(got.1.guard_placed, expect.1.guard_placed, "{name}");
    }

    /// With a cache and without one, known or not, changed or not, in any pieces: the same bytes.
    fn check(name: &str, page: &[u8], changed: &[Vec<u8>], pieces: &[usize]) {
        let cache = PlanCache::new(8 << 20, None).unwrap();
        let plain = sent(None, page, pieces, None);
        let first = sent(Some(&cache), page, pieces, None);
        same(name, &first, &plain);
        assert!(!first.1.known);
        let again = sent(Some(&cache), page, &[16_384], None);
        same(name, &again, &plain);
        let plannable = page.len() <= 1 << 20 && plain.1.rewrite == Rewrite::Done;
        assert_eq!(again.1.known, plannable, "{name}: a page that was seen to its end is known");
        same(name, &sent(Some(&cache), page, pieces, Some(pieces.len() / 2)), &plain);
        for (number, other) in changed.iter().enumerate() {
            let name = format!("{name}, changed {number}");
            let expect = sent(None, other, pieces, None);
            let got = sent(Some(&cache), other, pieces, None);
            same(&name, &got, &expect);
            assert!(!got.1.known || other == page || changed[..number].contains(other), "{name}");
            // Two forms in the cache: either is known, whichever comes first.
            same(&name, &sent(Some(&cache), other, &[5_000], None), &expect);
            let back = sent(Some(&cache), page, pieces, None);
            same(&name, &back, &plain);
        }
    }

    /// The page with one of five changes at a place.
    pub(super) fn change(page: &[u8], at: usize, kind: usize) -> Vec<u8> {
        let mut other = page.to_vec();
        let at = at % page.len().max(1);
        match kind % 5 {
            0 => other.truncate(at),
            1 => drop(other.splice(at..at, *b"<p>a new word or two in between</p>")),
            2 => drop(other.drain(at..(at + 9).min(page.len()))),
            3 => other[at] ^= 1,
            _ => other.extend_from_slice(b"<p>behind the end of it all"),
        }
        other
    }

    #[test]
    fn blanks_before_a_page_are_counted_the_same_in_any_pieces() {
        for (blanks, rewritten) in [(70, true), (1_024, true), (1_025, false)] {
            let page = format!("{}<!doctype html><title>t</title>", "\n".repeat(blanks));
            for pieces in [vec![usize::MAX], vec![1], vec![65], vec![blanks]] {
                let (out, facts) = sent(None, page.as_bytes(), &pieces, None);
                assert_eq!((out.len() > page.len(), facts.guard_placed), (rewritten, rewritten), "{blanks} {pieces:?}");
            }
        }
    }

    #[test]
    fn a_page_is_read_in_steps_and_each_leaves_before_the_next() {
        use std::io::Write;
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        use http_body::Body;

        use crate::page::body::{Page, PageBody};

        // How much has been read by the time of each frame.
        fn reads(codings: &[Coding], source: &[u8], cache: &Arc<PlanCache>) -> Vec<u64> {
            let pipeline = of_codings(codings, Some(cache), job);
            let report = PageReport::new(Rewrite::Done, None);
            let inner = http_body_util::Full::new(Bytes::copy_from_slice(source));
            let mut body = pin!(PageBody::page(inner, Page::new(pipeline, report.clone())));
            let (mut reads, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
            while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
                assert!(frame.unwrap().is_data());
                reads.push(report.facts().body_in);
            }
            reads.dedup();
            reads
        }

        let paragraphs: String =
            (0..32_000u32).map(|i| format!("<p>{:x} on it</p>\n", i.wrapping_mul(2_654_435_761))).collect();
        let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{paragraphs}");
        let length = page.len() as u64;
        assert!((640 << 10..1 << 20).contains(&length), "{length}");
        let cache = PlanCache::new(8 << 20, None).unwrap();
        let steps: Vec<u64> = (1..=16u64).map(|n| n * (64 << 10)).take_while(|n| *n < length).chain([length]).collect();
        assert_eq!(reads(&[], page.as_bytes(), &cache), steps, "new");
        assert_eq!(reads(&[], page.as_bytes(), &cache), [512 << 10, length], "known");

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(page.as_bytes()).unwrap();
        let coded = gzip.finish().unwrap();
        let (mut decoder, mut decoded) = (Decoder::new(Coding::Gzip, 64 << 20), Vec::new());
        let mut steps = Vec::new();
        for piece in coded.chunks(4 << 10) {
            decoder.push(piece, &mut decoded).unwrap();
            steps.push(decoded.len() as u64);
        }
        steps.dedup();
        assert!(steps.len() > 20, "{steps:?}");
        assert_eq!(reads(&[Coding::Gzip], &coded, &PlanCache::new(8 << 20, None).unwrap()), steps, "coded");
    }

    #[test]
    fn a_page_that_cannot_be_read_any_more_loses_nothing() {
        fn small(charset: Charset) -> Job {
            Job { max_memory: 64 << 10, ..job(charset) }
        }
        let words = "<p>one two three four five six seven eight nine ten eleven twelve thirteen fourteen.</p>";
        let image = format!("<img class=hero src=\"data:{}\">", "A".repeat(60_000));
        let page = |tail: &str| {
            let start = "<!doctype html><html><head><title>t</title></head><body><article>";
            format!("{start}{image}{}{tail}", words.repeat(500))
        };
        let without = |copy: &[u8]| {
            let text = String::from_utf8(copy.to_vec()).unwrap();
            let put_in = ["<script src=guard></script>", "<link rel=fill>", "<a hidden></a>", "<seal/>", "\n", " "];
            put_in.iter().fold(text, |text, part| text.replace(part, ""))
        };
        let cache = PlanCache::new(8 << 20, None).unwrap();
        let (_, first) = sent_with(small, Some(&cache), page("<p>the end").as_bytes(), &[1], None);
        assert_eq!(first.rewrite, Rewrite::Done);
        for pieces in [1_000, 16_384, 40_000, usize::MAX] {
            let page = page(&format!("<p>another end {pieces}"));
            let (copy, facts) = sent_with(small, Some(&cache), page.as_bytes(), &[pieces], None);
            assert!(without(&copy) == without(page.as_bytes()), "{pieces}");
            let seals = copy.windows(7).filter(|w| *w == b"<seal/>").count();
            assert_eq!(facts.carriers.seals as usize, seals, "{pieces}: the log knows of every seal");
            assert_eq!(facts.rewrite == Rewrite::Partial, pieces != 1_000);
        }
    }

    /// Marks no white space, and nothing at all where `seals` is false.
    struct Quiet {
        seals: bool,
    }

    impl Choose for Quiet {
        fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            Row.hash(kind, context)
        }
        fn gap(&mut self, _: u16) -> Option<u8> {
            None
        }
        fn form(&mut self, _: Form, _: u16) -> Option<&'static str> {
            None
        }
        fn variant(&mut self, _: u16) -> usize {
            0
        }
        fn seal(&mut self) -> Option<Bytes> {
            self.seals.then(|| Bytes::from_static(b"<seal/>"))
        }
    }

    /// One plan serves copies whose channels differ: its places are those of the page, not of the copy.
    #[test]
    fn a_plan_leaves_the_source_where_a_channel_is_off() {
        fn bare(charset: Charset) -> Job {
            Job {
                insert: Arc::new(|_| crate::page::rewrite::Inserted::default()),
                replacer: Replacer::default(),
                ..job(charset)
            }
        }
        let words =
            "<p>one two\tthree  four five six seven eight nine ten eleven twelve thirteen fourteen, and no end. </p>\n";
        let page = format!("<!doctype html><title>t</title><article>{}", words.repeat(400));
        let cache = PlanCache::new(8 << 20, None).unwrap();
        let copy = |choose: Box<dyn Choose>| {
            let place =
                Some(Place { cache: Arc::clone(&cache), key: 1, now: 0, exact: true, reader: None, memory: None });
            let start = Box::new(move |charset, _| Work { job: bare(charset), choose, place });
            let utf_8 = encoding_rs::UTF_8;
            let mut pipeline =
                Pipeline::new(&[], Coding::Identity, 64 << 20, Some(utf_8), utf_8, start, Box::new(|_| {}));
            let mut frames = Output::default();
            pipeline.push(Bytes::copy_from_slice(page.as_bytes()), &mut frames).unwrap();
            pipeline.finish(&mut frames).unwrap();
            let report = PageReport::new(Rewrite::Done, None);
            pipeline.report(&mut report.facts_mut());
            let bytes: Vec<u8> = std::iter::from_fn(|| frames.take()).flatten().collect();
            (String::from_utf8(bytes).unwrap(), report.facts())
        };
        for known in [false, true] {
            let (text, facts) = copy(Box::new(Quiet { seals: false }));
            assert!(text == page && facts.carriers == Carriers::default(), "{facts:?}");
            assert_eq!(facts.known, known);
        }
        let (text, facts) = copy(Box::new(Quiet { seals: true }));
        assert!(facts.known && text == page.replacen(". </p>", ".<seal/></p>", 60), "{facts:?}");
        assert_eq!(facts.carriers, Carriers { seals: 60, ..Carriers::default() });
        let (text, facts) = copy(Box::new(Row));
        assert!(facts.known && !text.contains("three  four"), "{facts:?}");
        // All but the first and the last of a paragraph, and the one behind the comma.
        assert_eq!(facts.carriers, Carriers { seals: 60, white: 400 * 13, ..Carriers::default() });
    }

    pub(super) fn article(paragraphs: usize, end: &str) -> String {
        let words = "<p>one two three four  five six seven eight nine ten eleven twelve thirteen, and so on.</p>\n";
        format!("<!doctype html><html><head><title>t</title></head><body><article>{}{end}", words.repeat(paragraphs))
    }

    #[test]
    fn the_log_is_told_the_same_of_a_page_however_it_was_read() {
        fn noted(charset: Charset) -> Job {
            Job { marks: MarkRules { note: true, version: 7, ..MarkRules::default() }, ..job(charset) }
        }
        let plan = |cache: Option<&Arc<PlanCache>>, page: &str, pieces: &[usize], late| {
            let (_, facts) = sent_with(noted, cache, page.as_bytes(), pieces, late);
            (facts.plan.expect("the page was read to its end"), facts.known)
        };
        let (page, other) = (article(600, "<p>the end"), article(600, "<p>another end of it all"));
        let cache = PlanCache::new(8 << 20, None).unwrap();
        let (expected, _) = plan(None, &page, &[usize::MAX], None);
        assert_eq!(expected.words, 600 * 16 + 1, "the last word is not certain");
        assert!(!expected.sketch.is_empty());
        assert_eq!(plan(None, &page, &[1], None), (Arc::clone(&expected), false));
        assert_eq!(plan(Some(&cache), &page, &[999], None), (Arc::clone(&expected), false));
        assert_eq!(plan(Some(&cache), &page, &[20_000], None), (Arc::clone(&expected), true));
        assert_eq!(plan(Some(&cache), &page, &[20_000, 7], Some(1)), (Arc::clone(&expected), false), "too slow");
        let (different, known) = plan(Some(&cache), &other, &[20_000], None);
        assert!(!known && different.id != expected.id);
        assert_eq!(different, plan(None, &other, &[333], None).0);
        // Another process has another cache, whose hashes have other keys.
        let restarted = PlanCache::new(8 << 20, None).unwrap();
        assert_eq!(plan(Some(&restarted), &page, &[16_384], None).0, expected);
        assert_eq!(sent(None, page.as_bytes(), &[999], None).1.plan, None, "not asked for");
    }

    #[test]
    fn what_a_page_shuts_out_is_shut_out_of_known_pages_too() {
        fn shut(charset: Charset) -> Job {
            Job { marks: MarkRules::shutting(true, false), ..job(charset) }
        }
        fn closed(charset: Charset) -> Job {
            Job { marks: MarkRules::shutting(true, true), ..job(charset) }
        }
        let (page, other) = (article(600, "<p>the end"), article(600, "<p>another end of it all"));
        let cache = PlanCache::new(8 << 20, None).unwrap();
        // The plan is that of an open page: what is shut out is decided anew for each copy.
        let (open, facts) = sent(Some(&cache), page.as_bytes(), &[999], None);
        assert_eq!((facts.carriers.seals, facts.mark_off.len()), (60, 0));
        assert!(facts.carriers.white > 5_000);
        for (job, off, seals) in [
            (shut as fn(Charset) -> Job, vec!["w:css_preserves"], 60),
            (closed as fn(Charset) -> Job, vec!["s:css_boxes", "w:css_preserves"], 0),
        ] {
            let plain = sent_with(job, None, page.as_bytes(), &[999], None);
            assert_eq!(plain.1.carriers, Carriers { seals, ..Carriers::default() });
            assert_eq!(plain.1.mark_off, off);
            assert_eq!(String::from_utf8(plain.0.clone()).unwrap().matches("four  five").count(), 600);
            for pieces in [1_000, 20_000, usize::MAX] {
                let known = sent_with(job, Some(&cache), page.as_bytes(), &[pieces], None);
                assert!(known.1.known);
                same("known", &known, &plain);
                assert_eq!(known.1.mark_off, off);
                let expect = sent_with(job, None, other.as_bytes(), &[pieces], None);
                let mixed = sent_with(job, Some(&cache), other.as_bytes(), &[pieces], None);
                same("different in the end", &mixed, &expect);
            }
        }
        assert!(sent(Some(&cache), page.as_bytes(), &[20_000], None).0 == open);
    }

    #[test]
    fn corpus_pages_are_the_same_with_plans_and_without() {
        let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
        let Ok(entries) = std::fs::read_dir(format!("{dir}/pages")) else {
            eprintln!("skipped: no corpus at {dir} (set DECKLE_CORPUS)");
            return;
        };
        let mut random = fastrand::Rng::with_seed(11);
        let mut pages = 0;
        for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "html")) {
            let page = std::fs::read(entry.path()).unwrap();
            pages += 1;
            let changed: Vec<_> = (0..5).map(|kind| change(&page, random.usize(..), kind)).collect();
            let pieces: Vec<_> = (0..9).map(|_| random.usize(1..40_000)).collect();
            check(&entry.file_name().to_string_lossy(), &page, &changed, &pieces);
        }
        assert!(pages >= 20, "{pages}");
    }

    #[test]
    fn pages_with_much_between_their_gaps_are_the_same_with_plans_and_without() {
        let words = "<p>one two three four five six seven eight nine ten eleven twelve thirteen fourteen.</p>";
        let between = |length: usize| format!("{words}<script>{}</script>", "x".repeat(length));
        let body: String = [33_000, 9_000, 120_000, 32_768, 32_000, 70_000].map(between).concat();
        let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{body}{words}");
        let changed: Vec<_> = (0..5).map(|kind| change(page.as_bytes(), kind * 60_000, kind)).collect();
        check("far", page.as_bytes(), &changed, &[10_000, 70_000, 16_384, 250_000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_page_is_the_same_with_plans_and_without(
            parts in proptest::collection::vec((prop_oneof![
                Just("<p>one two three four five six seven eight nine ten eleven twelve thirteen.</p>"), Just("<li>one <b>two</b> three "),
                Just("<script>x</script>"), Just("<select><option>x</select>"), Just("<div id=wpcp-error-message>m</div>"), Just("text "),
                Just("<!-- c -->"), Just("wörd "), Just("</article>"), Just("<article>"), Just("</body></html>"), Just("<pre>a b</pre>"),
            ], 1usize..900), 0..12),
            places in proptest::collection::vec(0usize..200_000, 5),
            pieces in proptest::collection::vec(1usize..30_000, 1..6),
        ) {
            let body: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
            let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{body}");
            let changed: Vec<_> = places.iter().enumerate().map(|(k, at)| change(page.as_bytes(), *at, k)).collect();
            check("made", page.as_bytes(), &changed, &pieces);
        }
    }
}
