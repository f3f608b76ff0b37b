//! A page that is different each time: in what, and does it matter?
//!
//! Of a page that was another one nearly eight times in a row two sources are kept. Where they differ, letters may be left out
//! of the hashes of its plan if they mean nothing to the scan. That has to be shown twice: by what stands around them
//! ([`is_inert`]) and by scans of the page with other letters there, which have to find the same. All of it is done beside
//! the answers, and in a quarter of one core at most.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::budget::Budget;
use super::cache::PlanCache;
use super::draft::Log;
use super::edits::{MAX_PAGE, Plan};
use super::inert::is_inert;
use super::place::Place;
use super::source::Source;
use super::volatile::{LETTERS, Volatile};
use crate::page::rewrite::{Job, Outcome, Rewriter};
use crate::slot::{Choose, Form, PlaceHash, PlaceKind, PlanNote};

/// Pages of which a source is kept until they come once more; of more of them the oldest is let go. 8 MiB at most.
const MAX_KEPT: usize = 8;
/// Seconds after which a source is too old to say in what its page is different each time.
const MAX_AGE: u64 = 600;
/// Pages that are studied at once.
const MAX_RUNNING: usize = 2;
/// Random fillings that are tried.
const FILLINGS: usize = 2;

/// A page of that kind while it is read.
pub(crate) struct Study {
    job: Job,
    source: Source,
    claim: Claim,
}

impl Study {
    /// `source`: what has come of it. `None`: another answer of this page is studied.
    pub(crate) fn begin(place: &Place, job: Job, source: Source) -> Option<Self> {
        let claim = Claim::of(&place.cache, place.key)?;
        Some(Self { job, source, claim })
    }

    /// False: it is to be given up. The page is too long for a plan, or readers who take their time hold enough already.
    #[must_use]
    pub(crate) fn push(&mut self, piece: &Bytes) -> bool {
        self.source.push(piece.clone());
        self.source.len() <= MAX_PAGE && !self.source.is_at_bound()
    }

    /// It was read to its end, and counted.
    pub(crate) fn finish(self, place: &Place, choose: Box<dyn Choose>) {
        let (cache, key) = (&place.cache, place.key);
        let source = Bytes::from(self.source.slices(0..self.source.len()).collect::<Vec<_>>().concat());
        let Some(earlier) = cache.studies().take(key, place.now) else {
            if cache.is_restless(key, place.now) {
                cache.studies().keep(key, source, place.now);
            }
            return;
        };
        let Some(seat) = cache.studies().seat() else { return };
        let (cache, columns) = (Arc::clone(cache), Columns(choose));
        let (job, reader, claim) = (self.job, place.reader, self.claim);
        let trial = Trial { cache, job, columns, reader, earlier, source, _seat: seat, _claim: claim };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || trial.run(key))),
            Err(_) => trial.run(key),
        }
    }
}

/// Sources of pages that were another one nearly as often as is borne.
pub(super) struct Studies {
    kept: Mutex<VecDeque<Kept>>,
    /// Pages of which an answer is studied.
    claimed: Mutex<HashSet<u128>>,
    running: Arc<AtomicUsize>,
    budget: Mutex<Budget>,
    /// What the budget counts from.
    start: Instant,
}

impl Default for Studies {
    fn default() -> Self {
        let start = Instant::now();
        Self {
            kept: Mutex::default(),
            claimed: Mutex::default(),
            running: Arc::default(),
            budget: Mutex::default(),
            start,
        }
    }
}

struct Kept {
    key: u128,
    source: Bytes,
    /// Seconds since 1970.
    since: u64,
}

impl Studies {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, key: u128, source: Bytes, now: u64) {
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept { key, source, since: now });
    }

    /// The source that was kept of this page; it is let go.
    fn take(&self, key: u128, now: u64) -> Option<Bytes> {
        let mut kept = self.lock();
        kept.retain(|kept| now.saturating_sub(kept.since) <= MAX_AGE);
        let at = kept.iter().position(|kept| kept.key == key)?;
        kept.remove(at).map(|kept| kept.source)
    }

    fn claimed(&self) -> MutexGuard<'_, HashSet<u128>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A study has taken this time.
    fn spend(&self, time: Duration) {
        self.budget().spend(time);
    }

    /// A place for one study; `None`: as many are going on as may, or the time for them is spent.
    fn seat(&self) -> Option<Seat> {
        if !self.budget().wait(self.start.elapsed()).is_zero() {
            return None;
        }
        let seat = Seat(Arc::clone(&self.running));
        (self.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING).then_some(seat)
    }
}

/// One of the studies that go on.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The only study of a page.
struct Claim {
    cache: Arc<PlanCache>,
    key: u128,
}

impl Claim {
    fn of(cache: &Arc<PlanCache>, key: u128) -> Option<Self> {
        let is_new = cache.studies().claimed().insert(key);
        is_new.then(|| Self { cache: Arc::clone(cache), key })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.cache.studies().claimed().remove(&self.key);
    }
}

/// Two sources of one page.
struct Trial {
    cache: Arc<PlanCache>,
    job: Job,
    columns: Columns,
    /// Who gets the page now.
    reader: Option<u64>,
    earlier: Bytes,
    source: Bytes,
    _seat: Seat,
    _claim: Claim,
}

impl Trial {
    fn run(mut self, key: u128) {
        let begun = Instant::now();
        let plan = self.plan();
        self.cache.studies().spend(begun.elapsed());
        if let Some(mut plan) = plan {
            plan.first_seen_by(self.reader);
            let places = plan.volatile.ranges().count();
            tracing::debug!(target: "deckle", places, "It is known where a page is different each time.");
            self.cache.learn_volatile(key, plan);
        }
    }

    /// The plan of the page without what is different each time; `None`: that matters, or may matter.
    fn plan(&mut self) -> Option<Plan> {
        let volatile = Volatile::between(&self.earlier, &self.source)?;
        if !is_inert(&self.source, &volatile, &self.job) {
            return None;
        }
        let source = self.source.clone();
        let (plan, looked_at) = self.scan(&source, &volatile)?;
        let edits = plan.edits.iter().map(|edit| edit.at as usize..edit.at as usize + edit.len as usize);
        let read = looked_at.into_iter().map(|node| node.start as usize..node.end as usize);
        if edits.chain(read).any(|part| volatile.ranges().any(|range| part.start < range.end && range.start < part.end))
        {
            return None;
        }
        let random = || LETTERS.get(fastrand::usize(..LETTERS.len())).copied().unwrap_or(b'-');
        let mut fillings = vec![self.earlier.to_vec(), volatile.filled(&source, || b'-')];
        fillings.extend((0..FILLINGS).map(|_| volatile.filled(&source, random)));
        for filling in fillings {
            let (other, _) = self.scan(&filling, &volatile)?;
            if !says_the_same(&plan, &other) {
                return None;
            }
        }
        Some(plan)
    }

    /// The plan of a page, and which of its text nodes were read.
    fn scan(&mut self, page: &[u8], volatile: &Volatile) -> Option<(Plan, Vec<Range<u64>>)> {
        let draft = self.cache.draft_of(volatile.clone());
        let mut rewriter = Rewriter::new(self.job.clone()).keep(Log::Draft(Box::new(draft))).watching();
        let mut out = Vec::with_capacity(page.len());
        rewriter.push(page, &mut self.columns, &mut out);
        rewriter.finish(&mut self.columns, &mut out);
        let outcome = rewriter.outcome();
        match (outcome.ended, rewriter.take_log()) {
            (None, Log::Draft(draft)) => Some((draft.finish(outcome), rewriter.looked_at())),
            _ => None,
        }
    }
}

/// Do two plans put the same into the same places of the same page?
fn says_the_same(one: &Plan, other: &Plan) -> bool {
    one.is_of(other)
        && one.edits == other.edits
        && one.fixed == other.fixed
        && one.variants == other.variants
        && without_id(&one.outcome) == without_id(&other.outcome)
}

/// The id of a page is that of its source, and nothing else of it may be.
fn without_id(outcome: &Outcome) -> Outcome {
    let note = outcome.note.as_deref().map(|note| Arc::new(PlanNote { id: [0; 8], ..note.clone() }));
    Outcome { note, ..outcome.clone() }
}

/// Knows the columns of places and marks nothing: asking for what stands in one copy alone would count as placing it.
struct Columns(Box<dyn Choose>);

impl Choose for Columns {
    fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
        self.0.hash(kind, context)
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
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;
    use crate::page::charset::Charset;
    use crate::page::encoding::Coding;
    use crate::page::head::HeadFindings;
    use crate::page::marks::MarkRules;
    use crate::page::output::Output;
    use crate::page::pipeline::{Pipeline, Work};
    use crate::page::replace::Replacer;
    use crate::page::rewrite::Inserted;
    use crate::page::{PageFacts, PageReport, Replace, Rewrite};

    /// Marks white space by the column and the reader, and seals.
    struct Visit(u64);

    impl Choose for Visit {
        fn hash(&self, _: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            let hash = context.iter().fold(7, |sum: u16, b| sum.wrapping_mul(31).wrapping_add((*b).into()));
            Some(PlaceHash(hash.into()))
        }
        fn gap(&mut self, column: u16) -> Option<u8> {
            Some(if (u64::from(column) + self.0).is_multiple_of(3) { b'\n' } else { b' ' })
        }
        fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
            Some(form.characters(column.is_multiple_of(2)))
        }
        fn variant(&mut self, column: u16) -> usize {
            usize::from(column % 2)
        }
        fn seal(&mut self) -> Option<Bytes> {
            let symbols: String =
                (0..25).filter_map(|at| char::from_u32(0xFE06 + (self.0 as u32 % 5 + at) % 8)).collect();
            Some(format!("<span inert=\"\">{symbols}</span>").into())
        }
    }

    fn job(charset: Charset) -> Job {
        Job {
            charset,
            insert: Arc::new(|findings: &HeadFindings| Inserted {
                head: Bytes::from(format!("<meta name=guard content=\"{:?}\">", findings.metas)),
                footer: Some(Bytes::from_static(b"<div>notice</div>")),
            }),
            policies: None,
            exempt: Arc::new([]),
            replacer: Replacer::default(),
            no_slots: None,
            body_is_root: false,
            learn: true,
            max_memory: 2 << 20,
            window: 64 << 10,
            max_page: 4 << 20,
            foot: true,
            esi: false,
            marks: MarkRules { note: true, ..MarkRules::default() },
            language: None,
        }
    }

    /// A site whose pages are asked for again and again.
    struct Site {
        cache: Arc<PlanCache>,
        job: fn(Charset) -> Job,
        asked: u64,
    }

    impl Site {
        fn new(job: fn(Charset) -> Job) -> Self {
            Self { cache: PlanCache::new(8 << 20, Some(0)).unwrap(), job, asked: 0 }
        }

        fn pipeline(&self, known: bool, outgoing: Coding) -> Pipeline {
            let (job, reader) = (self.job, self.asked);
            let place = known.then(|| Place {
                cache: Arc::clone(&self.cache),
                key: 1,
                now: 0,
                exact: true,
                memory: None,
                reader: Some(reader),
            });
            let start = Box::new(move |charset, _| Work { job: job(charset), choose: Box::new(Visit(reader)), place });
            let utf_8 = encoding_rs::UTF_8;
            Pipeline::new(&[], outgoing, 64 << 20, Some(utf_8), utf_8, start, Box::new(|_| {}))
        }

        /// Is the page known? What leaves is in any case what leaves without a cache.
        fn ask(&mut self, page: &str, pieces: &[usize], late: Option<usize>, outgoing: Coding) -> bool {
            self.asked += 1;
            let (plain, expected) = run(self.pipeline(false, Coding::Identity), page, &[usize::MAX], None);
            let (mut copy, facts) = run(self.pipeline(true, outgoing), page, pieces, late);
            if outgoing == Coding::Gzip {
                let coded = std::mem::take(&mut copy);
                flate2::read::GzDecoder::new(&*coded).read_to_end(&mut copy).unwrap();
            }
            assert!(copy == plain, "{}\nis not\n{}", String::from_utf8_lossy(&copy), String::from_utf8_lossy(&plain));
            let of = |f: &PageFacts| (f.rewrite, f.skip, f.body_in, f.body_out, f.carriers, f.notice_placed);
            assert_eq!(of(&facts), of(&expected));
            let told = |f: &PageFacts| f.plan.as_deref().map(|note| PlanNote { id: [0; 8], ..note.clone() });
            assert_eq!(told(&facts), told(&expected));
            self.cache.settle();
            facts.known
        }

        /// Asks for the page so often that it is learned, if it can be.
        fn learn(&mut self, page: impl Fn(u64) -> String) {
            for number in 0..9 {
                assert!(!self.ask(&page(number), &[700, 20_000], None, Coding::Identity), "{number}");
            }
        }
    }

    fn run(mut pipeline: Pipeline, page: &str, pieces: &[usize], late: Option<usize>) -> (Vec<u8>, PageFacts) {
        let (mut out, mut rest, mut frames) = (Vec::new(), page.as_bytes(), Output::default());
        for number in 0.. {
            let piece = pieces.get(number).or(pieces.last()).copied().unwrap_or(usize::MAX).clamp(1, rest.len().max(1));
            let (now, later) = rest.split_at(piece.min(rest.len()));
            pipeline.push(Bytes::copy_from_slice(now), &mut frames).unwrap();
            if late == Some(number) && pipeline.waits_at().is_some() {
                pipeline.wait_no_more(&mut frames).unwrap();
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        pipeline.finish(&mut frames).unwrap();
        out.extend(std::iter::from_fn(|| frames.take()).flatten());
        let report = PageReport::new(Rewrite::Done, None);
        pipeline.report(&mut report.facts_mut());
        (out, report.facts())
    }

    /// Ten hexadecimal digits.
    fn nonce(number: u64) -> String {
        format!("{:010x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24)
    }

    /// A page with this in its body, behind its head and before its article.
    fn with(head: &str, before: &str, inside: &str) -> String {
        let words = "<p>one two three four  five six seven eight nine ten eleven twelve thirteen, and so on.</p>\n";
        let (first, rest) = (words.repeat(20), words.repeat(190));
        format!(
            "<!doctype html><html lang=en><head><meta charset=utf-8>{head}<title>t</title></head><body>{before}\
             <article>{first}{inside}{rest}</article></body></html>"
        )
    }

    /// Is a page learned that holds this, `NONCE` being another one each time?
    fn learns(job: fn(Charset) -> Job, head: &str, before: &str, inside: &str) -> bool {
        let page = with(head, before, inside);
        let page = |number: u64| page.replace("NONCE", &nonce(number));
        let mut site = Site::new(job);
        site.learn(page);
        let known: Vec<bool> =
            (9..20).map(|number| site.ask(&page(number), &[5_000, 30_000], None, Coding::Identity)).collect();
        let (all, counts) = (known.iter().all(|known| *known), site.cache.counts());
        assert!(all || !known.contains(&true), "{head}{before}{inside} {known:?}");
        assert_eq!((counts.restless, counts.learned), (1, u64::from(all)), "{head}{before}{inside}");
        assert_eq!(counts.learned_hits, if all { 11 } else { 0 });
        all
    }

    #[test]
    fn what_is_different_each_time_and_means_nothing_is_learned() {
        for (head, before, inside) in [
            ("", "<script>var wp = {\"nonce\":\"NONCE\",\"url\":\"\\/wp-json\\/\"};</script>", ""),
            ("<script>let n = 'NONCE'</script>", "<!-- made in NONCE ms -->", "<!-- NONCE -->"),
            ("", "<div class=clock>It is NONCE now</div>", ""),
            ("", "<footer><p>NONCE readers have seen this page, and many others have seen it.</p></footer>", ""),
            ("", "<form><input type=hidden name=_wpnonce value=\"NONCE\"></form>", ""),
            ("", "<a href=\"/out?a=1&amp;_wpnonce=NONCE\">out</a><div data-nonce='NONCE'></div>", ""),
            ("", "", "<script>NONCE</script><p>Seen <a href=\"/?n=NONCE\">by many</a> readers, and liked by some.</p>"),
            ("<script src=\"/s.js?ver=NONCE\"></script>", "<img src='/p.gif?r=0.NONCE' alt=''>", ""),
        ] {
            assert!(learns(job, head, before, inside), "{head}{before}{inside}");
        }
    }

    #[test]
    fn what_is_looked_at_or_may_change_how_a_page_is_read_is_not_learned() {
        for (head, before, inside) in [
            // Text that is marked: what stands in a paragraph decides about the places around it.
            ("", "", "<p>It was seen by NONCE readers of this page until now, and liked by a few of them.</p>"),
            ("", "", "<p>NONCE</p>"),
            ("", "", "<ul><li>one two <b>NONCE</b> three four</ul>"),
            // Attributes that are read, and those that nobody knows.
            ("", "<div id=\"NONCE\"></div>", ""),
            ("", "<div class=\"c-NONCE\"></div>", ""),
            ("", "<div style=\"color:NONCE\"></div>", ""),
            ("", "<div data-deckle=\"NONCE\"></div>", ""),
            ("<meta name=\"csrf\" content=\"NONCE\">", "", ""),
            ("<meta name=\"NONCE\">", "", ""),
            ("<link rel=canonical href=\"/?p=NONCE\">", "", ""),
            ("<link rel=stylesheet href=\"/s.css?NONCE\">", "", ""),
            ("<script nonce=\"NONCE\">x</script>", "", ""),
            ("", "", "<span data-variant=\"NONCE|b\">a</span>"),
            // Letters that may become markup.
            ("", "<a href=/NONCE>x</a>", ""),
            ("", "<x-NONCE></x-NONCE>", ""),
            ("", "a &NONCE; b", ""),
            ("", "a &#NONCE; b", ""),
            ("", "a < <NONCE b", ""),
            ("", "</NONCE x>", ""),
            ("", "<!--NONCE-->", ""),
            ("", "<!NONCE x>", ""),
            ("", "<script>if (a </NONCE x) {}</script>", ""),
            ("", "<script>a --NONCE> b</script>", ""),
            ("", "<script>self.NONCE</script>", ""),
            ("", "<script>x='NONCE.NONCE'</script>", ""),
            ("", "<plaintext>NONCE x", ""),
            // What a style sheet says.
            ("<style>.a { color: NONCE }</style>", "", ""),
            ("", "<svg><style><g>NONCE </g></style></svg>", ""),
        ] {
            assert!(!learns(job, head, before, inside), "{head}{before}{inside}");
        }
    }

    #[test]
    fn what_the_site_has_set_may_look_at_more() {
        fn selects(charset: Charset) -> Job {
            let marks = MarkRules {
                skip: Arc::new(["[data-n=x]".parse::<lol_html::Selector>().unwrap()]),
                ..MarkRules::default()
            };
            Job { marks, ..job(charset) }
        }
        fn tags(charset: Charset) -> Job {
            let marks = MarkRules { tokens: true, host: "news.example".into(), ..MarkRules::default() };
            Job { marks, ..job(charset) }
        }
        fn replaces(charset: Charset) -> Job {
            Job { replacer: Replacer::new(&[Replace::WpBuy]), ..job(charset) }
        }
        let (data, input) = ("<div data-n=\"NONCE\"></div>", "<input value=\"NONCE\">");
        let (link, script) = ("<a href=\"/NONCE\">x</a>", "<script>x = 'NONCE'</script>");
        for (job, text, learned) in [
            (job as fn(Charset) -> Job, [data, input, link, script].concat(), true),
            (selects, data.to_owned(), false),
            (selects, link.to_owned(), false),
            (selects, [input, script].concat(), true),
            (selects, format!("<svg>{input}</input></svg>"), false),
            (selects, "<svg><g title=\"NONCE\"/></svg>".to_owned(), true),
            (tags, link.to_owned(), false),
            (tags, [data, input, script].concat(), true),
            (replaces, script.to_owned(), false),
            (replaces, [data, input, link].concat(), true),
        ] {
            assert_eq!(learns(job, "", &text, ""), learned, "{text}");
        }
    }

    #[test]
    fn a_page_that_is_learned_is_known_by_all_else_and_by_its_letters() {
        let page = |nonce: &str| with("", "<script>var n = \"NONCE\"</script>", "").replace("NONCE", nonce);
        let mut site = Site::new(job);
        site.learn(|number| page(&nonce(number)));
        let mut ask = |page: &str| site.ask(page, &[9_000], None, Coding::Identity);
        assert!(ask(&page("0123456789")) && ask(&page("A-B_c-d_e-")));
        for bad in ["012345678<", "\"+x+\"01234", "01234 6789", "01234&6789", "012345678\n", "01234é789", "012345678"]
        {
            assert!(!ask(&page(bad)), "{bad}");
            assert!(ask(&page("0123456789")), "{bad}: it is not forgotten");
        }
        // The page itself has changed.
        let other = page("0123456789").replacen("thirteen, and", "thirteen; and", 1);
        assert!(!ask(&other) && ask(&other) && ask(&page("9876543210")));
    }

    #[test]
    fn pages_of_another_length_are_not_learned() {
        let page = |number: u64| with("", &format!("<b>{}</b>", "x".repeat(number as usize + 1)), "");
        let mut site = Site::new(job);
        site.learn(page);
        assert!((9..30).all(|number| !site.ask(&page(number), &[9_000], None, Coding::Identity)));
        let many = |number: u64| with("", &format!("<b>{} </b>", nonce(number)).repeat(26), "");
        let mut site = Site::new(job);
        site.learn(many);
        assert!(!site.ask(&many(10), &[9_000], None, Coding::Identity), "260 bytes");
        assert_eq!(site.cache.counts().learned, 0);
    }

    #[test]
    fn a_learned_page_that_comes_slowly_keeps_its_plan() {
        let page = |number: u64| with("", &format!("<i>{}</i>", nonce(number)), "");
        let mut site = Site::new(job);
        site.learn(page);
        for number in 10..40 {
            assert!(!site.ask(&page(number), &[500, 18_000, 9], Some(number as usize % 3), Coding::Identity));
        }
        assert!(site.ask(&page(40), &[500, 18_000, 9], None, Coding::Identity));
    }

    #[test]
    fn a_learned_page_is_packed_and_each_answer_has_its_own_letters() {
        for (start, before, inside, end) in [
            ("", "<i>NONCE</i>", "", ""),
            ("", "<script>var wp = {\"nonce\":\"NONCE\",\"url\":\"\\/wp-json\\/\"};</script>", "", ""),
            // Near each other, far from each other, and two that are the same.
            ("", "<!-- NONCE OTHER --><i data-n='OTHER' title='NONCE'></i>", "<script>x = 'NONCE'</script>", ""),
            // Between the words of a paragraph that is marked.
            ("", "", "<p>Seen <a href=\"/?n=NONCE\">by many</a> readers, and liked by some.</p>", ""),
            // Near the first and the last byte.
            ("<!-- NONCE -->", "", "", "<!-- OTHER -->"),
        ] {
            let page = format!("{start}{}{end}", with("", before, inside));
            let page = |number: u64| page.replace("NONCE", &nonce(number)).replace("OTHER", &nonce(number + 1_000));
            let mut site = Site::new(job);
            site.learn(page);
            for number in 10..40 {
                assert!(site.ask(&page(number), &[6_000], None, Coding::Gzip), "{start}{before}{inside} {number}");
            }
            let counts = site.cache.counts();
            // The first of them goes to another reader than the one who was there when it was learned, and asks for it.
            assert_eq!((site.cache.packed(1).0, counts.packed_answers), (1, 29), "{start}{before}{inside}");
            assert_eq!((counts.packed_quick, counts.packed_full, counts.packed_mismatches), (1, 1, 0));
            assert_eq!((counts.learned_hits, counts.packed_confirmed), (30, 0));
            // Other letters than may stand there, other words, and a page that does not come to its end in time.
            for odd in
                [page(40).replace(&nonce(40), "012345678<"), page(41).replacen("thirteen, and", "thirteen; and", 1)]
            {
                assert!(!site.ask(&odd, &[6_000], None, Coding::Gzip), "{start}{before}{inside}");
            }
            site.ask(&page(42), &[500, 18_000, 900], Some(1), Coding::Gzip);
            assert_eq!(site.cache.counts().packed_answers, 29);
            assert!(site.ask(&page(43), &[6_000], None, Coding::Gzip));
            assert_eq!(site.cache.counts().packed_answers, 30);
        }
    }

    #[test]
    fn a_learned_page_is_packed_for_two_readers_and_for_one_it_is_not() {
        let page = |number: u64| with("", &format!("<i>{}</i>", nonce(number)), "");
        let mut site = Site::new(job);
        site.learn(page);
        // The reader who was there when it was learned.
        for number in 10..40 {
            site.asked -= 1;
            assert!(site.ask(&page(number), &[6_000], None, Coding::Gzip), "{number}");
        }
        assert_eq!((site.cache.packed(1).0, site.cache.counts().packed_answers), (0, 0));
        assert!(site.ask(&page(40), &[6_000], None, Coding::Gzip));
        assert_eq!((site.cache.packed(1).0, site.cache.counts().packed_answers), (1, 0));
    }

    #[test]
    fn a_page_with_too_many_places_is_compressed_for_each_answer() {
        // A digit each, and too far from each other for one block.
        for (places, packed) in [(64, 29), (65, 0)] {
            let text = "<i data-n='N' title='a word'></i>".repeat(places);
            let page = |number: u64| with("", &text, "").replace("'N'", &format!("'{}'", number % 10));
            let mut site = Site::new(job);
            site.learn(page);
            for number in 10..40 {
                assert!(site.ask(&page(number), &[6_000], None, Coding::Gzip), "{places} {number}");
            }
            assert_eq!(site.cache.counts().packed_answers, packed, "{places}");
        }
    }

    #[test]
    fn what_is_kept_and_what_goes_on_has_a_bound() {
        let studies = Studies::default();
        for key in 0..100 {
            studies.keep(key, Bytes::from_static(b"a page"), 1_000);
        }
        assert_eq!(studies.lock().len(), MAX_KEPT);
        assert!(studies.take(91, 1_000).is_none() && studies.take(92, 1_000).is_some());
        assert!(studies.take(92, 1_000).is_none(), "once");
        assert!(studies.take(93, 1_600).is_some() && studies.take(94, 1_601).is_none());
        let seats: Vec<_> = (0..5).map_while(|_| studies.seat()).collect();
        assert_eq!(seats.len(), MAX_RUNNING);
        drop(seats);
        assert!(studies.seat().is_some());
    }

    #[test]
    fn a_study_takes_time_and_is_not_made_where_none_is_left() {
        let page = |number: u64| with("", &format!("<i>{}</i>", nonce(number)), "");
        let mut site = Site::new(job);
        let all = site.cache.studies().budget().left;
        site.learn(page);
        assert_eq!(site.cache.counts().learned, 1);
        assert!(site.cache.studies().budget().left < all);
        let mut site = Site::new(job);
        site.cache.studies().spend(Duration::from_secs(1_000_000));
        site.learn(page);
        assert!(!site.ask(&page(10), &[9_000], None, Coding::Identity));
        assert_eq!((site.cache.counts().restless, site.cache.counts().learned), (1, 0));
    }

    #[test]
    fn one_answer_of_a_page_is_studied_and_given_up_where_enough_is_held() {
        let page = |number: u64| with("", &format!("<i>{}</i>", nonce(number)), "");
        let mut site = Site::new(job);
        for number in 0..7 {
            assert!(!site.ask(&page(number), &[9_000], None, Coding::Identity), "{number}");
        }
        let held = site.cache.held();
        let mut out = Output::default();
        let mut start = |number: u64| {
            let mut pipeline = site.pipeline(true, Coding::Identity);
            pipeline.push(Bytes::from(page(number)).slice(..17_000), &mut out).unwrap();
            pipeline
        };
        let (mut first, second) = (start(7), start(8));
        assert_eq!(held.load(Ordering::Relaxed), 17_000, "one of them is kept");
        held.fetch_add(usize::MAX / 2, Ordering::Relaxed);
        first.push(Bytes::from_static(b"<p>"), &mut Output::default()).unwrap();
        assert_eq!(held.load(Ordering::Relaxed), usize::MAX / 2);
        held.store(0, Ordering::Relaxed);
        let third = start(9);
        assert_eq!(held.load(Ordering::Relaxed), 17_000, "the next one begins");
        drop((second, third));
        assert_eq!(held.load(Ordering::Relaxed), 0);
        assert!(site.cache.studies().claimed().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        /// Whatever is different, wherever it stands, and whatever comes next.
        #[test]
        fn any_page_is_the_same_with_what_was_learned_and_without(
            parts in proptest::collection::vec((prop_oneof![
                Just("<p>one two three four five six seven eight nine ten eleven twelve thirteen.</p>"),
                Just("<li>one <b>two</b> three "), Just("<script>x='NONCE'</script>"), Just("<!-- NONCE -->"),
                Just("<div data-x=\"NONCE\">"), Just("</div>"), Just("NONCE "), Just("text "), Just("</article>"),
                Just("<article>"), Just("<footer>"), Just("</footer>"), Just("<p>NONCE and so on</p>"), Just("<pre>a b</pre>"),
                Just("<textarea>"), Just("</textarea>"), Just("<!--"), Just("-->"), Just("<select>"), Just("<svg>"),
                Just("<style>"), Just("</style>"), Just("<a href='/?NONCE'>"), Just("<i id=\"NONCE\">"), Just("&NONCE;"),
            ], 1usize..20), 1..12),
            values in proptest::collection::vec("[A-Za-z0-9_-]{8}", 9..14),
            odd in proptest::collection::vec("[-A-Za-z0-9_<>&\"' \n/]{8}", 0..4),
            pieces in proptest::collection::vec(1usize..30_000, 1..5),
            late in proptest::option::of(0usize..3),
        ) {
            let mut left = 20;
            let body: String = parts.iter().map(|(part, times)| {
                // Not so many that they are too many in all cases.
                let times = if part.contains("NONCE") { (*times).min(left) } else { *times };
                if part.contains("NONCE") {
                    left -= times;
                }
                part.repeat(times)
            }).collect();
            let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{body}");
            let mut site = Site::new(job);
            for value in values.iter().chain(&odd).chain(&values) {
                site.ask(&page.replace("NONCE", value), &pieces, None, Coding::Identity);
            }
            site.ask(&page.replace("NONCE", "01234567"), &pieces, late, Coding::Identity);
        }

        /// Wherever it stands, each answer has its own in packed form, too.
        #[test]
        fn any_packed_copy_has_the_letters_of_its_answer(
            parts in proptest::collection::vec((prop_oneof![
                Just("<p>one two three four five six seven eight nine ten eleven twelve thirteen.</p>"),
                Just("<p>one <a href='/?NONCE'>two</a> three four five six seven eight nine ten eleven twelve.</p>"),
                Just("<script>x='NONCE'</script>"), Just("<!-- NONCE NONCE -->"), Just("<div data-x=\"NONCE\">"),
                Just("</div>"), Just("</article>"), Just("<article>"), Just("<b>NONCE</b>"), Just("<pre>a b</pre>"),
            ], 1usize..20), 1..12),
            values in proptest::collection::vec("[A-Za-z0-9_-]{8}", 9),
            later in proptest::collection::vec("[A-Za-z0-9_-]{8}", 1..24),
            pieces in proptest::collection::vec(1usize..30_000, 1..5),
        ) {
            let mut left = 16_usize;
            let body: String = parts.iter().map(|(part, times)| {
                let count = part.matches("NONCE").count();
                let times = left.checked_div(count).map_or(*times, |most| most.min(*times));
                left -= count * times;
                part.repeat(times)
            }).collect();
            let page = format!("<!doctype html><html><head><title>t</title></head><body><article>{body}");
            let mut site = Site::new(job);
            for value in &values {
                site.ask(&page.replace("NONCE", value), &pieces, None, Coding::Identity);
            }
            let ask = |value: &String| site.ask(&page.replace("NONCE", value), &pieces, None, Coding::Gzip);
            let known = later.iter().map(ask).filter(|known| *known).count();
            let counts = site.cache.counts();
            prop_assert_eq!(counts.packed_mismatches, 0);
            // All but the one that asks for it.
            prop_assert_eq!(counts.packed_answers, known.saturating_sub(1) as u64);
        }
    }
}
