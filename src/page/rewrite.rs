//! Scan and splice: the source bytes are sacred.
//!
//! The [`Rewriter`] keeps a bounded window of the source, lets lol_html look at it, and copies it to the output with the
//! edits that were found. Nothing outside an edit can change or get lost: a parser error, a memory limit, an ambiguity
//! or a panic only ends the list of edits, and the rest of the page flows on.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::article::{self, Shared};
use super::charset::Charset;
use super::csp::{self, Policies};
use super::head::{self, HeadFindings, Place};
use super::learn::Finding;
use super::marks::{MarkRules, Variants};
use super::note::NoteMaker;
pub(crate) use super::outcome::Outcome;
use super::plan::Log;
use super::replace::Replacer;
use super::scan::{Border, Reading, Scanner};
use super::splice::{Placed, apply, is_gated};
use super::text::Text;
use super::variants::OpenVariants;
use super::window::Window;
use crate::slot::{Choose, Edit, Fill, Slot, What};

/// The head scan looks at every tag; it is fed little by little, so that not much is read twice.
const HEAD_STEP: usize = 1_024;

/// What to do with one page.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) charset: Charset,
    /// Makes what goes into the page from what its head shows.
    pub(crate) insert: Arc<dyn Fn(&HeadFindings) -> Inserted + Send + Sync>,
    /// The policies of the response's head; `None`: no guard goes out.
    pub(crate) policies: Option<Policies>,
    /// Pages whose `html` element matches one of these have no guard.
    pub(crate) exempt: Arc<[lol_html::Selector]>,
    /// What of older plugins goes.
    pub(crate) replacer: Replacer,
    /// Why there are no text slots; `None`: there may be some.
    pub(crate) no_slots: Option<&'static str>,
    /// The whole body is the article.
    pub(crate) body_is_root: bool,
    /// Read to the end even without slots, to learn about the site.
    pub(crate) learn: bool,
    pub(crate) max_memory: usize,
    pub(crate) window: u64,
    /// Tags of Edge Side Includes are void elements.
    pub(crate) esi: bool,
    /// Slots end at this offset.
    pub(crate) max_page: u64,
    /// Something may be filled in before the end of the body.
    pub(crate) foot: bool,
    /// What of the page may carry marks.
    pub(crate) marks: MarkRules,
    /// What its head says of its language, if the page does not.
    pub(crate) language: Option<String>,
}

/// What goes into a page besides its marks.
#[derive(Debug, Default)]
pub(crate) struct Inserted {
    pub(crate) head: Bytes,
    /// The visible notice.
    pub(crate) footer: Option<Bytes>,
}

enum Phase {
    Head(Scanner),
    Article(Scanner),
    /// Nothing more is looked at.
    Copy,
}

/// One page on its way.
pub(crate) struct Rewriter {
    phase: Phase,
    job: Option<Job>,
    shared: Arc<Mutex<Shared>>,
    findings: Arc<Mutex<HeadFindings>>,
    fed: u64,
    outcome: Outcome,
    reading: Reading,
    log: Log,
    learn: bool,
    /// Which channels the page shuts out has been decided.
    judged: bool,
    note: Option<NoteMaker>,
}

impl Rewriter {
    pub(crate) fn new(mut job: Job) -> Self {
        let findings = Arc::new(Mutex::new(HeadFindings::new(job.policies.take())));
        let border = Arc::new(Border::default());
        let reading = Reading { encoding: job.charset.encoding, max_memory: job.max_memory, esi: job.esi };
        let scanner = Scanner::new(reading, Arc::clone(&border), |settings| {
            head::handlers(settings, &findings, &border, &job.exempt)
        });
        let text = Text::new(job.charset, job.no_slots, job.body_is_root, job.window, job.max_page);
        let variants = OpenVariants::new(job.marks.variants, job.charset);
        let noted = job.marks.note && text.stopped.is_none();
        Self {
            phase: Phase::Head(scanner),
            shared: Arc::new(Mutex::new(Shared::new(Window::default(), text, variants))),
            findings,
            fed: 0,
            outcome: Outcome { no_slots: job.no_slots, ..Outcome::default() },
            reading,
            log: Log::Nothing,
            learn: job.learn,
            judged: false,
            note: noted.then(|| NoteMaker::new(job.marks.version)),
            job: Some(job),
        }
    }

    /// Keeps the edits as they are applied.
    pub(crate) fn keep(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// Writes down which text is looked at.
    pub(crate) fn watching(self) -> Self {
        self.state(|s| s.text.looked_at = Some(Vec::new()));
        self
    }

    /// Text nodes whose letters were read, by their place in the source.
    pub(crate) fn looked_at(&self) -> Vec<Range<u64>> {
        self.state(|s| s.text.looked_at.take().unwrap_or_default())
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn take_log(&mut self) -> Log {
        std::mem::replace(&mut self.log, Log::Nothing)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.clone()
    }

    /// Takes a piece of the source and gives what may leave.
    pub(crate) fn push(&mut self, piece: &[u8], choose: &mut dyn Choose, out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.log.room(rest.len()));
            self.advance(now, choose, out);
            let left = self.state(|s| s.window.base());
            self.log.read(now, left);
            rest = later;
        }
    }

    fn advance(&mut self, piece: &[u8], choose: &mut dyn Choose, out: &mut Vec<u8>) {
        if let Some(note) = &mut self.note {
            note.read(piece);
        }
        if let Phase::Copy = self.phase {
            self.fed += piece.len() as u64;
            self.state(|s| s.window.push(piece));
            return self.splice(self.fed, choose, out);
        }
        self.state(|s| s.calls.read(piece));
        let mut rest = piece;
        while !rest.is_empty() {
            let step = if matches!(self.phase, Phase::Head(_)) { HEAD_STEP.min(rest.len()) } else { rest.len() };
            let (now, later) = rest.split_at(step);
            self.fed += now.len() as u64;
            self.state(|s| s.window.push(now));
            self.scan(now);
            rest = later;
        }
        let safe = self.safe();
        self.splice(safe, choose, out);
    }

    /// The source is over.
    pub(crate) fn finish(&mut self, choose: &mut dyn Choose, out: &mut Vec<u8>) {
        let result = match &mut self.phase {
            Phase::Head(scanner) | Phase::Article(scanner) => scanner.end(),
            Phase::Copy => Ok(()),
        };
        // A head insertion that was found by the last token.
        if let Phase::Head(_) = self.phase {
            self.amend_policies();
            self.leave_head(false);
        }
        if self.state(|s| s.ambiguous) {
            self.end("ambiguous");
        }
        let complete = result.is_ok() && matches!(self.phase, Phase::Article(_));
        if let Err(end) = result {
            self.end(end.code());
        }
        self.state(Shared::finish);
        self.splice(self.fed, choose, out);
        self.conclude(complete);
    }

    /// Writes down what is known at the end.
    fn conclude(&mut self, complete: bool) {
        let amp = self.head_findings(|f| f.amp);
        let shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Shared { text, footer_placed, hydrated, mark_late, deletions, variants, style, .. } = &*shared;
        let outcome = &mut self.outcome;
        outcome.footer_placed = *footer_placed;
        outcome.replaced = deletions.count;
        outcome.too_many_alternatives = variants.too_many;
        outcome.no_slots = outcome.no_slots.or(text.stopped);
        outcome.mark_late = *mark_late;
        outcome.sheets = Arc::new(style.found().clone());
        outcome.finding = complete.then_some(Finding { has_root: text.saw_root, hydrated: *hydrated, amp });
        // What was read of a page that could not be read to its end is another thing each time.
        let note = self.note.take().filter(|_| outcome.ended.is_none());
        outcome.note = note.map(|note| Arc::new(note.finish(text.words)));
    }

    fn scan(&mut self, piece: &[u8]) {
        let result = match &mut self.phase {
            Phase::Head(scanner) | Phase::Article(scanner) => scanner.write(piece),
            Phase::Copy => return,
        };
        if let Err(end) = result {
            return self.end(end.code());
        }
        if matches!(self.phase, Phase::Head(_)) {
            self.amend_policies();
            if self.head_findings(|f| f.place.is_some()) {
                self.leave_head(true);
            }
        }
        if self.state(|s| s.ambiguous) {
            self.end("ambiguous");
        }
    }

    /// Policies in a `<meta>` that has just been read.
    fn amend_policies(&mut self) {
        let amended = self.head_findings(|f| std::mem::take(&mut f.amended));
        self.state(|s| {
            for (range, policy) in amended {
                let before = range.start.checked_sub(1).and_then(|at| s.window.get(at..range.start)?.first().copied());
                let value = Bytes::from(csp::encode(&policy, before));
                s.edits.push(Edit { range, what: What::Fixed(value) });
            }
        });
    }

    /// The head is over: make the insertion, and start the scan of the article where it stands.
    fn leave_head(&mut self, more: bool) {
        let Some(job) = self.job.take() else { return };
        let findings = self.head_findings(|f| f.clone());
        let (start, document) = match findings.place {
            Some(Place::Insert(at)) => (at, true),
            Some(Place::Fragment(at)) => (at, false),
            Some(Place::Leave(reason)) => {
                self.phase = Phase::Copy;
                // A policy that was amended for a tag that does not come.
                self.state(|s| s.edits.clear());
                self.outcome.ended = Some(reason.code());
                return;
            }
            None => {
                self.phase = Phase::Copy;
                return;
            }
        };
        let inserted = if document { (job.insert)(&findings) } else { Inserted::default() };
        if !inserted.head.is_empty() {
            self.state(|s| s.edits.push(Edit { range: start..start, what: What::Fixed(inserted.head) }));
            self.outcome.head_placed = true;
        }
        // What a browser would not fetch is not offered: that would be held against its reader.
        if document && !findings.amp && !findings.sheets_refused {
            let what = What::Choice(Slot::Fill(Fill::Head));
            self.state(|s| s.edits.push(Edit { range: start..start, what }));
        }
        if findings.amp {
            self.state(|s| s.text.stop("amp"));
        }
        let footer = inserted.footer;
        let foot = job.foot && document && !findings.amp;
        let varies = job.marks.variants != Variants::Ignore;
        let nothing_to_do = footer.is_none() && !foot && !self.learn && !varies && job.replacer.is_idle();
        let idle = nothing_to_do && self.state(|s| s.text.stopped.is_some());
        if idle || !more {
            self.phase = Phase::Copy;
            return;
        }
        let language = findings.lang.as_deref().or(job.language.as_deref());
        self.state(|s| s.mark(&job.marks, language));
        let (prefix, rules) = (&findings.prefix, job.marks);
        let mut scanner =
            article::scanner(&self.shared, start, prefix, (footer, foot), job.replacer, rules, self.reading);
        let seen = self.state(|s| s.window.get(start..self.fed).map(<[u8]>::to_vec)).unwrap_or_default();
        let result = scanner.write(&seen);
        self.phase = Phase::Article(scanner);
        if let Err(end) = result {
            self.end(end.code());
        }
    }

    /// From here on the source is copied.
    fn end(&mut self, why: &'static str) {
        self.phase = Phase::Copy;
        self.state(Shared::finish);
        self.outcome.ended.get_or_insert(why);
    }

    /// All bytes before this may leave.
    fn safe(&mut self) -> u64 {
        let fed = self.fed;
        match &self.phase {
            Phase::Copy => fed,
            Phase::Head(scanner) => scanner.border.settled().min(fed),
            Phase::Article(_) => self.state(|s| s.safe(fed)),
        }
    }

    /// Copies the source up to `safe`, with the edits that lie before it.
    fn splice(&mut self, safe: u64, choose: &mut dyn Choose, out: &mut Vec<u8>) {
        let mut shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Shared { window, edits, rules, style, .. } = &mut *shared;
        // A gap is certain two words later only, and an attribute between them may have changed meanwhile.
        edits.sort_by_key(|e| e.range.start);
        let ready = edits.iter().take_while(|e| e.range.end <= safe).count();
        // An edit that is not complete yet keeps its source here.
        let safe = edits.get(ready).map_or(safe, |e| e.range.start.min(safe));
        let mut at = window.base();
        // What was taken out last.
        let mut gone = 0..0;
        for edit in edits.drain(..ready) {
            let Some(before) = window.get(at..edit.range.start) else {
                // What lies in something that was taken out has gone with it.
                let within = edit.range.start >= gone.start && edit.range.end <= gone.end;
                self.outcome.late += u32::from(!within);
                continue;
            };
            out.extend_from_slice(before);
            let source = window.get(edit.range.clone()).unwrap_or_default();
            if !self.judged && is_gated(&edit.what) {
                // The scan has come to a block: it knows what stands before.
                self.judged = true;
                self.outcome.off = rules.judge(style.found());
            }
            let placed = apply(&edit.what, source, choose, out, &mut self.outcome);
            if let Some(note) = &mut self.note {
                note.see(&edit.what, placed);
            }
            at = edit.range.end;
            if matches!(&edit.what, What::Fixed(with) if with.is_empty()) {
                gone = edit.range.clone();
            }
            self.log.edit(edit, placed.map(Placed::column));
        }
        if let Some(rest) = window.get(at..safe) {
            out.extend_from_slice(rest);
        }
        window.forget(safe.max(at));
    }

    fn state<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn head_findings<T>(&self, f: impl FnOnce(&mut HeadFindings) -> T) -> T {
        f(&mut self.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::Encoding;
    use proptest::prelude::*;

    use super::*;
    use crate::page::Replace;
    use crate::page::marks::Gate;
    use crate::slot::{Carriers, Form, PlaceHash, PlaceKind};

    const TAG: &[u8] = b"<S>";
    const SEAL: &[u8] = b"<seal/>";
    const NOTICE: &[u8] = b"<notice/>";

    /// Marks every gap with a line feed and seals every block.
    struct Everything;

    impl Choose for Everything {
        fn hash(&self, _: PlaceKind, _: &[u8]) -> Option<PlaceHash> {
            Some(PlaceHash(7))
        }
        fn gap(&mut self, _: u16) -> Option<u8> {
            Some(b'\n')
        }
        fn form(&mut self, form: Form, _: u16) -> Option<&'static str> {
            Some(form.references(true))
        }
        fn variant(&mut self, _: u16) -> usize {
            1
        }
        fn seal(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(SEAL))
        }
        fn token(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"abcdefghijklmno"))
        }
    }

    /// Fills both places.
    struct Filling;

    impl Choose for Filling {
        fn hash(&self, _: PlaceKind, _: &[u8]) -> Option<PlaceHash> {
            None
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
        fn fill(&mut self, place: Fill) -> Option<Bytes> {
            Some(Bytes::from_static(if place == Fill::Head { b"<head-fill/>" } else { b"<foot-fill/>" }))
        }
    }

    #[test]
    fn one_copy_carries_what_no_other_does() {
        let copy = |page: &str, foot: bool| {
            let mut rewriter = Rewriter::new(Job { foot, ..job("utf-8") });
            let mut out = Vec::new();
            rewriter.push(page.as_bytes(), &mut Filling, &mut out);
            rewriter.finish(&mut Filling, &mut out);
            String::from_utf8(out).unwrap()
        };
        let page = "<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body>x</body></html>";
        assert_eq!(
            copy(page, true),
            "<!doctype html><html><head><meta charset=utf-8><S><head-fill/><title>t</title></head><body>x\
             <notice/><foot-fill/></body></html>"
        );
        assert!(!copy(page, false).contains("foot-fill"));
        assert_eq!(copy("<p>a fragment</p>", true), "<p>a fragment</p>");
        assert!(!copy(&page.replace("<html>", "<html amp>"), true).contains("fill"));
        for (policy, offered) in [
            ("style-src 'self'", true),
            ("script-src 'none'", true),
            ("default-src 'none'", false),
            ("style-src https://cdn.example", false),
            ("style-src &apos;self&apos;", true),
            ("style-src &lsquo;self&rsquo;", false),
        ] {
            let meta = format!("<head><meta http-equiv=content-security-policy content=\"{policy}\">");
            assert_eq!(copy(&page.replace("<head>", &meta), true).contains("head-fill"), offered, "{policy}");
        }
    }

    fn job(label: &str) -> Job {
        let encoding = Encoding::for_label(label.as_bytes()).unwrap();
        Job {
            charset: Charset { encoding, declared: true },
            insert: Arc::new(|_| Inserted { head: Bytes::from_static(TAG), footer: Some(Bytes::from_static(NOTICE)) }),
            policies: None,
            exempt: Arc::new([]),
            replacer: Replacer::default(),
            no_slots: None,
            body_is_root: false,
            learn: true,
            max_memory: 2 << 20,
            window: 64 << 10,
            esi: false,
            max_page: 4 << 20,
            foot: true,
            marks: MarkRules::default(),
            language: None,
        }
    }

    struct Run {
        out: Vec<u8>,
        edits: Vec<Edit>,
        outcome: Outcome,
    }

    fn edits(mut rewriter: Rewriter) -> Vec<Edit> {
        let Log::Edits(edits) = rewriter.take_log() else { panic!("the edits were kept") };
        edits
    }

    fn run(job: Job, source: &[u8], chunk: usize) -> Run {
        let mut rewriter = Rewriter::new(job).keep(Log::Edits(Vec::new()));
        let mut out = Vec::new();
        for piece in source.chunks(chunk.max(1)) {
            rewriter.push(piece, &mut Everything, &mut out);
        }
        rewriter.finish(&mut Everything, &mut out);
        let outcome = rewriter.outcome();
        Run { out, edits: edits(rewriter), outcome }
    }

    fn check_with(job: Job, source: &[u8]) -> Run {
        let got = run(job, source, usize::MAX);
        assert!(undo(&got, source) == source);
        got
    }

    /// Takes the edits back out of the output.
    fn undo(run: &Run, source: &[u8]) -> Vec<u8> {
        let (mut back, mut at, mut from) = (Vec::new(), 0usize, 0usize);
        let off = run.outcome.off;
        for edit in &run.edits {
            let (start, end) = (edit.range.start as usize, edit.range.end as usize);
            let kept = start - from;
            back.extend_from_slice(&run.out[at..at + kept]);
            at += kept;
            at += match &edit.what {
                What::Fixed(bytes) => bytes.len(),
                What::Choice(Slot::Gap { .. }) if off.white.is_some() => end - start,
                What::Choice(Slot::Trim | Slot::Seal) if off.seal.is_some() => end - start,
                What::Choice(Slot::Gap { .. }) => 1,
                What::Choice(Slot::Trim | Slot::Fill(_)) => 0,
                What::Choice(Slot::Seal) => SEAL.len(),
                // As `Everything` chooses.
                What::Choice(Slot::Form { form, .. }) => form.references(true).len(),
                What::Choice(Slot::Variant { context, alternatives }) => {
                    let [first, second] = &**alternatives;
                    if context.is_some() { second.len() } else { first.len() }
                }
                What::Choice(Slot::Token(token)) => token.frame().0.len() + 15 + token.frame().1.len(),
            };
            back.extend_from_slice(&source[start..end]);
            from = end;
        }
        back.extend_from_slice(&run.out[at..]);
        back
    }

    fn check(name: &str, source: &[u8], label: &str, chunks: &[usize]) -> Run {
        let whole = run(job(label), source, usize::MAX);
        assert!(undo(&whole, source) == source, "{name} {label}: undo differs");
        assert_eq!(whole.outcome.late, 0, "{name} {label}");
        for chunk in chunks {
            let cut = run(job(label), source, *chunk);
            assert_eq!(cut.edits, whole.edits, "{name} {label} in chunks of {chunk}");
            assert!(cut.out == whole.out, "{name} {label} in chunks of {chunk}");
        }
        whole
    }

    const PAGE: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>t</title></head><body><article>\
        <p>The committee said on <b>Mon</b>day that it won’t publish the full &amp; final report before the end of June,\n\
        because members <i>can’t agree </i>on the wording of three chapters. </p>\
        <p>Short.</p><ul><li>one <br> two<li>three</ul><pre>a b c d e f</pre>\
        <p>Caf&eacute; society in the old town was never what the papers said it was, and the old town knew it well. <em> </em> \
        </p><p>Ends in a link that nobody will ever follow because it goes nowhere at all: <a href=x>see here</a></p>\
        </article></body></html>";

    #[test]
    fn a_page_gets_its_slots_in_any_chunking() {
        let chunks: Vec<usize> = (1..80).chain([333, 1_000]).collect();
        let whole = check("fixture", PAGE.as_bytes(), "utf-8", &chunks);
        let text = String::from_utf8(whole.out).unwrap();
        assert!(text.contains("<meta charset=utf-8><S><title>"), "{text}");
        assert!(text.contains("<notice/></body>"), "{text}");
        assert_eq!(whole.outcome.seals(), 2, "{text}");
        assert!(text.contains("of\nthree chapters.<seal/></p>"), "{text}");
        assert!(text.contains("on <b>Mon</b>day\nthat\nit\nwon’t\npublish"), "{text}");
        assert!(text.contains("full &amp; final\nreport"), "{text}");
        assert!(text.contains("Caf&eacute; society"), "{text}");
        assert!(text.contains("<pre>a b c d e f</pre>"), "{text}");
        assert!(text.contains("well.<em></em><seal/></p>"), "{text}");
        assert!(text.contains("see here</a></p>"), "{text}");
        assert_eq!(whole.outcome.finding.map(|f| f.has_root), Some(true));
    }

    #[test]
    fn every_corpus_page_survives_every_charset_and_chunking() {
        let dir = std::env::var("DECKLE_CORPUS").unwrap_or_else(|_| "../shared/corpus".to_owned());
        let Ok(entries) = std::fs::read_dir(format!("{dir}/pages")) else {
            eprintln!("skipped: no corpus at {dir} (set DECKLE_CORPUS)");
            return;
        };
        let mut pages = 0;
        for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "html")) {
            let source = std::fs::read(entry.path()).unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            pages += 1;
            for label in ["utf-8", "windows-1252", "shift_jis", "gbk", "euc-kr"] {
                let chunks: &[usize] = if label == "utf-8" { &[1, 7, 333, 65_536] } else { &[333] };
                check(&name, &source, label, chunks);
            }
        }
        assert!(pages >= 20, "{pages}");
    }

    fn insertion(page: &str) -> String {
        let mut job = job("utf-8");
        job.insert = Arc::new(|_| Inserted { head: Bytes::from_static(TAG), footer: None });
        String::from_utf8(run(job, page.as_bytes(), 1).out).unwrap()
    }

    /// Selectors of the site find it there.
    #[test]
    fn the_second_scan_knows_the_html_element() {
        let page =
            "<!doctype html><HTML id=top lang='de' DIR=ltr class=\"a b\" data-theme=dark onload=x><head><title>t";
        let mut rewriter = Rewriter::new(job("utf-8"));
        rewriter.push(page.as_bytes(), &mut Everything, &mut Vec::new());
        let prefix = rewriter.head_findings(|findings| findings.prefix.clone());
        let tag = "<html id=\"top\" lang=\"de\" dir=\"ltr\" class=\"a b\">";
        assert_eq!(String::from_utf8(prefix).unwrap(), tag);
    }

    #[test]
    fn the_head_insertion_finds_its_place() {
        #[rustfmt::skip]
        let table = [
            ("<!doctype html><html><head><meta charset=utf-8><title>t</title></head><body>x", "<!doctype html><html><head><meta charset=utf-8><S><title>t</title></head><body>x"),
            ("<!doctype html><html><head></head><body>x</body></html>", "<!doctype html><html><head><S></head><body>x</body></html>"),
            ("<!doctype html><html><head><meta charset=utf-8></head><body>x", "<!doctype html><html><head><meta charset=utf-8><S></head><body>x"),
            ("<!doctype html><html><head><meta charset=utf-8><body>x", "<!doctype html><html><head><meta charset=utf-8><S><body>x"),
            ("<!doctype html><title>t</title><p>x", "<!doctype html><S><title>t</title><p>x"),
            ("<!doctype html><p>x", "<!doctype html><S><p>x"),
            ("<!doctype html><html><body class=a>x", "<!doctype html><html><S><body class=a>x"),
            ("<body>x", "<S><body>x"),
            ("<!doctype html>just text", "<!doctype html>just text"),
            ("<p>frag</p>", "<p>frag</p>"),
            ("<tr><td>x</td></tr>", "<tr><td>x</td></tr>"),
            ("just text", "just text"),
            ("", ""),
            ("<title>x</title><p>y", "<title>x</title><p>y"),
            ("<div hx-swap-oob=true>x</div><html>", "<div hx-swap-oob=true>x</div><html>"),
            ("<html><frameset cols=*><frame src=a></frameset></html>", "<html><frameset cols=*><frame src=a></frameset></html>"),
            ("<html><head><title>x</title></head><frameset>", "<html><head><S><title>x</title></head><frameset>"),
            ("<html><head><script data-deckle=guard src=x></script><title>a</title>", "<html><head><script data-deckle=guard src=x></script><title>a</title>"),
            ("<html><head><!-- c --><meta charset=utf-8><base href=/><title>a", "<html><head><!-- c --><meta charset=utf-8><S><base href=/><title>a"),
            ("<html><head><base href=https://cdn.example/><meta charset=utf-8>", "<html><head><S><base href=https://cdn.example/><meta charset=utf-8>"),
            ("\u{FEFF}<!doctype html><html lang=de><head><meta charset=utf-8><title>", "\u{FEFF}<!doctype html><html lang=de><head><meta charset=utf-8><S><title>"),
            ("<html><head><!--[if lt IE 9]><script src=x></script><![endif]--><meta charset=utf-8><link>", "<html><head><!--[if lt IE 9]><script src=x></script><![endif]--><meta charset=utf-8><S><link>"),
            ("<!--[if IE]><html class=ie><![endif]--><!doctype html><html><head><title>", "<!--[if IE]><html class=ie><![endif]--><!doctype html><html><head><S><title>"),
            ("<!doctype html><html><head><meta name=a", "<!doctype html><html><head><meta name=a"),
            ("<!doctype html><HTML><HEAD><TITLE>x", "<!doctype html><HTML><HEAD><S><TITLE>x"),
            ("<html><head><meta charset=utf-8><template><head><title>x</title></head></template></head><body><head></head>", "<html><head><meta charset=utf-8><S><template><head><title>x</title></head></template></head><body><head></head>"),
            ("<!doctype html><header>h</header>", "<!doctype html><S><header>h</header>"),
            ("<!doctype html><html><head>text<p>x", "<!doctype html><html><head>text<S><p>x"),
            ("<html><head><link rel=c2pa-manifest href=x><title>a", "<html><head><link rel=c2pa-manifest href=x><title>a"),
        ];
        for (page, expect) in table {
            assert_eq!(insertion(page), expect);
        }
    }

    #[test]
    fn a_fragment_gets_marks_and_nothing_else() {
        const WORDS: &str =
            "The committee said on Monday that it would not publish the full report before the end of June.";
        let article = format!("<div><article><p>{WORDS}</p></article></div>");
        let bare = format!("<p>{WORDS}</p>");
        let page = format!("<!doctype html>{article}");
        for (name, source, body_is_root, insertions) in [
            ("article", &article, false, ""),
            ("the whole is the article", &bare, true, ""),
            ("page", &page, false, "<S>"),
        ] {
            for (learn, chunk) in [(true, 1), (true, usize::MAX), (false, 7)] {
                let got = run(Job { body_is_root, learn, ..job("utf-8") }, source.as_bytes(), chunk);
                assert!(undo(&got, source.as_bytes()) == source.as_bytes(), "{name}");
                let text = String::from_utf8(got.out).unwrap();
                // All gaps but the first and the last of the block.
                assert_eq!((got.outcome.gaps(), got.outcome.seals()), (15, 1), "{name}: {text}");
                assert!(text.contains("of June.<seal/></p>"), "{name}: {text}");
                let of_a_page = text.replace("<seal/>", "").replace('\n', " ");
                assert_eq!(of_a_page.replacen(insertions, "", 1), *source, "{name}: nothing is inserted");
                assert_eq!(got.outcome.head_placed, !insertions.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_prose_is_not_shown_or_is_named_carries_no_mark() {
        const TEXT: &str = "one two three four five six";
        // The item's gaps; those of the paragraph behind it show that marking goes on.
        let gaps = |item: &str| {
            let page =
                format!("<!doctype html><title>t</title><article><ul><li>{item}</li></ul><p>{TEXT}</p></article>");
            let got = check(item, page.as_bytes(), "utf-8", &[1, 7]);
            assert_eq!(got.outcome.ended, None, "{item}");
            let text = String::from_utf8(got.out).unwrap();
            assert!(text.contains("<p>one two\nthree\nfour\nfive six</p>"), "{item}: {text}");
            let gaps = got.outcome.gaps() - 3;
            assert_eq!(text.contains(item), gaps == 0, "{item}: {text}");
            gaps
        };
        for name in ["b", "em", "span", "a", "div", "section", "figcaption", "h2", "q"] {
            assert_eq!(gaps(&format!("<{name}>{TEXT}</{name}>")), 3, "{name}");
        }
        for name in [
            "pre", "code", "kbd", "samp", "var", "textarea", "script", "style", "template", "noscript", "title", "svg",
            "math", "button", "select", "option", "label", "nav", "footer", "form", "iframe", "object", "CODE",
        ] {
            assert_eq!(gaps(&format!("<{name}>{TEXT}</{name}>")), 0, "{name}");
            assert_eq!(gaps(&format!("<{name} class=lead>{TEXT}</{name}>")), 0, "{name}");
        }
        for (attribute, expected) in [
            ("class=lead", 3),
            ("aria-hidden=false", 3),
            ("translate=yes", 3),
            ("data-deckle=on", 3),
            ("hidden", 0),
            ("hidden=until-found", 0),
            ("aria-hidden=true", 0),
            ("contenteditable", 0),
            ("contenteditable=true", 0),
            ("translate=no", 0),
            ("class='a sr-only b'", 3),
            ("class='a hidden b'", 3),
            ("class=visually-hidden", 3),
            ("class=overflow-hidden", 3),
            ("class='a notranslate'", 0),
            ("id=comments", 3),
            ("style='white-space: pre-wrap'", 0),
            ("style='color: red; white-space: nowrap'", 3),
            ("data-deckle=off", 0),
            ("DATA-DECKLE=\"off\"", 0),
        ] {
            for name in ["div", "p"] {
                let item = format!("<{name} {attribute}>{TEXT}</{name}>");
                assert_eq!(gaps(&item), expected, "{item}");
            }
            let nested = format!("<div {attribute}><b>{TEXT}</b></div>");
            assert_eq!(gaps(&nested), expected, "{nested}");
        }
    }

    /// 18 words.
    const WORDS: &str =
        "The committee said on Monday that it would not publish the full report before the end of June.";

    /// `p` is a paragraph of [`WORDS`], `W` the words. The gaps and seals of the body, the same in any chunking.
    fn carried(marks: &MarkRules, body: &str) -> (u32, u32) {
        let body = body.replace('P', "<p>W</p>").replace('W', WORDS);
        let page = format!("<!doctype html><html><head><title>t</title></head><body>{body}</body></html>");
        let job = || Job { marks: marks.clone(), ..job("utf-8") };
        let whole = check_with(job(), page.as_bytes());
        assert_eq!((whole.outcome.ended, whole.outcome.late), (None, 0), "{body}");
        for chunk in [1, 2, 7, 50] {
            let cut = run(job(), page.as_bytes(), chunk);
            assert_eq!(cut.edits, whole.edits, "{body} in chunks of {chunk}");
            assert!(cut.out == whole.out, "{body} in chunks of {chunk}");
        }
        (whole.outcome.gaps(), whole.outcome.seals())
    }

    #[test]
    fn no_block_is_sealed_that_ends_in_what_is_hidden_or_written_by_readers() {
        let of = |body: &str| carried(&MarkRules::default(), &format!("<article>{body}</article>"));
        for (body, expected) in [
            ("P", (15, 1)),
            ("<div class='a hidden'>P</div>P", (30, 1)),
            ("<div class='a hidden'><div class=lead>P</div></div>P", (30, 1)),
            ("<p class=hide-on-mobile>W</p>", (15, 0)),
            ("<section id=comments>P</section>P", (30, 1)),
            ("<ol><li id=comment-7>W</li></ol>P", (30, 1)),
            ("<div class=comments>P</div>", (15, 0)),
            ("<p>W <span class=sr-only>(at the end)</span></p>", (17, 0)),
            ("<p><span class=sr-only>First</span> W</p>", (16, 1)),
            ("<p>W <span class=sr-only> </span></p>", (15, 1)),
            ("<p>W <ins>at the very end.</ins></p>", (18, 0)),
            ("<p>W \u{13139}</p>", (16, 0)),
        ] {
            assert_eq!(of(body), expected, "{body}");
        }
    }

    fn selectors(list: &[&str]) -> Arc<[lol_html::Selector]> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_site_says_where_its_articles_are() {
        let of =
            |roots: &[&str], body: &str| carried(&MarkRules { roots: selectors(roots), ..MarkRules::default() }, body);
        assert_eq!(of(&[], "<article>P</article><main>P</main><div role=main>P</div>P"), (45, 3));
        assert_eq!(of(&[".story"], "<article>P</article><div role=main>P</div><div class=story>P</div>P"), (15, 1));
        assert_eq!(of(&[".story"], "<div class=story><div class=story>P</div>P</div>P"), (30, 2));
        assert_eq!(of(&["p.lead", "#more"], "<p class=lead>W</p>P<section id=more>P</section>"), (30, 2));
        assert_eq!(of(&["body > div"], "<div>P</div>P"), (15, 1));
        let page = format!("<!doctype html><title>t</title><div class=story><p>{WORDS}</p></div>");
        let has_root = |roots: &[&str]| {
            let marks = MarkRules { roots: selectors(roots), ..MarkRules::default() };
            run(Job { marks, ..job("utf-8") }, page.as_bytes(), 7).outcome.finding.unwrap().has_root
        };
        assert_eq!((has_root(&[]), has_root(&[".story"]), has_root(&["article"])), (false, true, false));
    }

    #[test]
    fn a_site_says_where_nothing_is_marked_and_where_white_space_counts() {
        let article = |marks: &MarkRules, body: &str| carried(marks, &format!("<article>{body}</article>"));
        let skip = MarkRules { skip: selectors(&[".box", "aside p"]), ..MarkRules::default() };
        for (body, expected) in [
            ("<div class=box>P</div>P", (15, 1)),
            ("<p class=box>W</p>P", (15, 1)),
            ("<aside>P</aside>P", (15, 1)),
            ("<div class=box>P<div class=box>P</div>P</div>P", (15, 1)),
            ("<p>W <b class=box>nothing of this</b> W</p>", (30, 1)),
            ("<p>W <b class=box>nothing of this</b></p>", (15, 0)),
        ] {
            assert_eq!(article(&skip, body), expected, "{body}");
        }
        let preserve = MarkRules { preserve: selectors(&[".poem", ".poem b"]), ..MarkRules::default() };
        let inline = "<p>one two <b class=poem>three four five</b> six seven eight nine ten</p>";
        for (body, expected) in [
            ("<p class=poem>W</p>P", (15, 2)),
            ("<p class=poem>W </p>P", (15, 1)),
            ("<p class=poem><b>W</b> </p>", (0, 0)),
            ("<p>W<i class=poem> </i></p>", (15, 0)),
            ("<div class=poem>P</div>P", (15, 2)),
            // Its words are those of the gaps around it.
            (inline, (3, 0)),
        ] {
            assert_eq!(article(&preserve, body), expected, "{body}");
        }
        assert_eq!(article(&MarkRules::default(), inline), (5, 0));
        // The selectors of style sheets stand beside those of the site.
        let styles = crate::page::Styles::default();
        styles.learn("news.example", "news.example/s.css", b"[data-grid] span{float:left}[data-poem]{white-space:pre}");
        let both = MarkRules { sheets: Some(styles.host("news.example")), ..preserve };
        for (body, expected) in [
            ("<div data-grid>P</div>P", (30, 1)),
            ("<p data-grid>W</p>", (15, 0)),
            ("<p>W <b data-grid>at the very end.</b></p>", (18, 0)),
            ("<p><b data-grid>First</b> W</p>", (16, 1)),
            ("<p data-poem>W</p><p class=poem>W</p>P", (15, 3)),
        ] {
            assert_eq!(article(&both, body), expected, "{body}");
        }
    }

    #[test]
    fn style_sheets_say_where_white_space_counts_and_where_a_seal_gets_a_box() {
        let styles = crate::page::Styles::default();
        let css = b".poem{white-space:pre}.card span{display:block}.by{display:flex}";
        styles.learn("news.example", "news.example/s.css", css);
        let marks = MarkRules { sheets: Some(styles.host("news.example")), prove_white: true, ..MarkRules::default() };
        for (body, expected) in [
            ("<p class=poem>W</p>P", (15, 2)),
            ("<p CLASS='a pOEM'>W </p>P", (15, 1)),
            ("<div class=poem>P</div>P", (15, 2)),
            ("<p>W<i class=poem> </i></p>", (15, 0)),
            ("<p>one two <b class=poem>three four five</b> six seven eight nine ten</p>", (3, 0)),
            ("<div class=card>P</div>P", (30, 1)),
            ("<p class=card>W</p>", (15, 0)),
            ("<p>W <b class=card>at the very end.</b></p>", (18, 0)),
            ("<p><b class=card>First</b> W</p>", (16, 1)),
            // What is inside of a line of blocks is no such block, and what is in one of those is.
            ("<p class=by>W</p>P", (30, 1)),
            ("<div class=by>P</div>", (15, 1)),
            ("<p>W <b class=by>at the very end.</b></p>", (18, 1)),
        ] {
            assert_eq!(carried(&marks, &format!("<article>{body}</article>")), expected, "{body}");
        }
    }

    #[test]
    fn a_page_that_a_script_compares_is_not_marked_from_there_on() {
        let page = |body: &str| {
            let body = body.replace('P', &format!("<p>{WORDS}</p>"));
            format!("<!doctype html><title>t</title><article>{body}</article>")
        };
        for (body, marked, late) in [
            ("P<script>self.__next_f=self.__next_f||[]</script>P", (15, 1), true),
            ("P<script id=__NEXT_DATA__ type=application/json>{}</script>P", (15, 1), true),
            ("<div data-reactroot>P</div>P", (0, 0), false),
            ("<astro-island></astro-island>P", (0, 0), false),
            ("<script>self.__next_f</script>P", (0, 0), false),
        ] {
            let page = page(body);
            let of = |hydrated_ok, chunk| {
                let marks = MarkRules { hydrated_ok, ..MarkRules::default() };
                let got = run(Job { marks, ..job("utf-8") }, page.as_bytes(), chunk);
                assert!(undo(&got, page.as_bytes()) == page.as_bytes(), "{body}");
                assert!(got.outcome.finding.unwrap().hydrated, "{body}");
                let outcome = got.outcome;
                ((outcome.gaps(), outcome.seals()), outcome.no_slots, outcome.mark_late)
            };
            let blocks = body.matches('P').count() as u32;
            for chunk in (1..20).chain([usize::MAX]) {
                assert_eq!(of(false, chunk), (marked, Some("hydrated"), late), "{body} in chunks of {chunk}");
                assert_eq!(of(true, chunk), ((15 * blocks, blocks), None, false), "{body} in chunks of {chunk}");
            }
        }
    }

    /// What leaves for one who is given nothing.
    fn unmarked(page: &str) -> String {
        let mut rewriter = Rewriter::new(job("utf-8"));
        let mut out = Vec::new();
        rewriter.push(page.as_bytes(), &mut crate::slot::Unmarked, &mut out);
        rewriter.finish(&mut crate::slot::Unmarked, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_channel_that_a_page_shuts_out_is_as_if_there_were_no_mark() {
        let page = PAGE.replace("full &amp; final", "full \t final");
        let of = |off: Gate, chunk| {
            let marks = MarkRules::shutting(off.white.is_some(), off.seal.is_some());
            let got = run(Job { marks, ..job("utf-8") }, page.as_bytes(), chunk);
            assert_eq!(got.outcome.off, off);
            assert!(undo(&got, page.as_bytes()) == page.as_bytes());
            got
        };
        let (white, seal) = (Some("w:css_preserves"), Some("s:css_boxes"));
        for chunk in [1, 7, usize::MAX] {
            let both = of(Gate { white, seal }, chunk);
            assert_eq!(String::from_utf8(both.out).unwrap(), unmarked(&page));
            assert_eq!(both.outcome.carriers, Carriers::default());
            let sealed = of(Gate { white, seal: None }, chunk);
            assert_eq!((sealed.outcome.gaps(), sealed.outcome.seals()), (0, 2));
            assert!(String::from_utf8(sealed.out).unwrap().contains("the full \t final report before the end of"));
            let spaced = of(Gate { white: None, seal }, chunk);
            assert_eq!((spaced.outcome.gaps() > 20, spaced.outcome.seals()), (true, 0));
            assert!(String::from_utf8(spaced.out).unwrap().contains("three chapters. </p>"));
        }
        // A page without a slot shuts nothing out.
        let marks = MarkRules::shutting(true, true);
        let bare = run(Job { marks, ..job("utf-8") }, b"<!doctype html><title>t</title><p>x", 7);
        assert_eq!(bare.outcome.off, Gate::default());
    }

    /// The copy that a mark makes of the page, with what the log is told.
    fn marked(page: &str, id: u64, marks: &MarkRules, chunk: usize) -> (Vec<u8>, Outcome) {
        use crate::watermark::{Channels, Mark, Marker, SealForm, Settings};
        let secret = crate::secret::Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap();
        let marker = Marker::new(&crate::secret::Secrets::from(secret), &Settings::default());
        let channels = Channels { seal: true, white: true, ..Channels::default() };
        let mut choices = marker.choices(Mark { kid: 1, id }, channels, SealForm::Characters);
        let mut rewriter = Rewriter::new(Job { marks: marks.clone(), ..job("utf-8") });
        let mut out = Vec::new();
        for piece in page.as_bytes().chunks(chunk) {
            rewriter.push(piece, &mut choices, &mut out);
        }
        rewriter.finish(&mut choices, &mut out);
        (out, rewriter.outcome())
    }

    #[test]
    fn copies_for_all_visitors_are_equally_long_and_the_log_is_told_the_same_of_them() {
        const SENTENCE: &str = "The committee said on Monday that it won’t publish the full report before the end of \
            June, because members can’t agree on the wording of three chapters.";
        let page = format!("<!doctype html><title>t</title><article><p>{SENTENCE}</p></article>");
        let marks = MarkRules { note: true, version: 7, ..MarkRules::default() };
        let (first, outcome) = marked(&page, 0x0123_4567_89ab, &marks, usize::MAX);
        let note = outcome.note.unwrap();
        assert_eq!((note.words, note.sketch.len()), (27, 23));
        // As the independent reference has them.
        assert_eq!(note.sketch[..3], [6_261_625, 200_292_276, 361_662_464]);
        assert!(note.sketch.is_sorted() && note.variants.is_empty());
        for (id, chunk) in [(0x0123_4567_89ac, 1), (1, 7), (2, 100)] {
            let (copy, outcome) = marked(&page, id, &marks, chunk);
            assert!(copy != first && copy.len() == first.len(), "{id}");
            assert_eq!(outcome.note.as_deref(), Some(&*note), "{id}");
        }
        let of = |page: &str, marks: &MarkRules| marked(page, 1, marks, 7).1.note;
        let shut = MarkRules { note: true, version: 7, ..MarkRules::shutting(true, false) };
        assert_eq!(of(&page, &shut).as_deref(), Some(&*note), "a place is a place, whatever is done there");
        let other = of(&page, &MarkRules { version: 8, ..marks.clone() }).unwrap();
        assert!(other.id != note.id && other.sketch == note.sketch);
        let other = of(&page.replace("June", "July"), &marks).unwrap();
        assert!(other.id != note.id && other.sketch != note.sketch);
        assert_eq!(of(&page, &MarkRules::default()), None);
        assert_eq!(of(&format!("{page}<select><xmp><script>1</script></select>"), &marks), None, "not to its end");
    }

    #[test]
    fn what_lies_in_something_that_goes_goes_with_it() {
        let source = b"<!doctype html><title>t</title><p>abcdefghij";
        let mut rewriter = Rewriter::new(job("utf-8")).keep(Log::Edits(Vec::new()));
        rewriter.phase = Phase::Copy;
        rewriter.state(|s| {
            let edit = |range, with: &'static [u8]| Edit { range, what: What::Fixed(Bytes::from_static(with)) };
            s.edits.extend([edit(36..36, b"x"), edit(37..38, b"y"), edit(35..39, b""), edit(39..39, b"z")]);
        });
        let mut out = Vec::new();
        rewriter.push(source, &mut Everything, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "<!doctype html><title>t</title><p>azfghij");
        assert_eq!(rewriter.outcome().late, 0);
    }

    #[test]
    fn behind_an_ambiguity_nothing_is_changed() {
        let page = "<!doctype html><title>t</title><article><p>one two three four five six</p><select><xmp><script>1</script>\
            </select><p>one two three four five six</p></article></body></html>";
        for chunk in [1, 2, 3, 5, 7, 11, 10_000] {
            let got = run(job("utf-8"), page.as_bytes(), chunk);
            let text = String::from_utf8(got.out.clone()).unwrap();
            assert!(text.contains("<p>one two\nthree\nfour\nfive six</p><select>"), "{chunk}: {text}");
            assert!(text.ends_with("<p>one two three four five six</p></article></body></html>"), "{chunk}: {text}");
            assert_eq!(got.outcome.ended, Some("ambiguous"));
            assert!(undo(&got, page.as_bytes()) == page.as_bytes());
        }
    }

    #[test]
    fn the_memory_limit_ends_the_edits_and_not_the_page() {
        let page = format!("<!doctype html><title>t</title><article>{}end of it all", "<p>".repeat(50_000));
        let mut small = job("utf-8");
        small.max_memory = 256 << 10;
        let got = run(small, page.as_bytes(), 4_096);
        assert_eq!(got.outcome.ended, Some("memory"));
        assert!(undo(&got, page.as_bytes()) == page.as_bytes());
        assert_eq!(got.outcome.finding, None);
    }

    /// A scanner that panics at the first `em`.
    fn panicking() -> Scanner {
        let selector: lol_html::Selector = "em".parse().unwrap();
        let reading = Reading { encoding: encoding_rs::UTF_8, max_memory: 2 << 20, esi: false };
        Scanner::new(reading, Arc::default(), |settings| {
            let handlers = lol_html::send::ElementContentHandlers::default();
            let handlers = handlers.element(|_: &mut lol_html::send::Element<'_, '_>| panic!("a handler panics"));
            settings.append_element_content_handler((std::borrow::Cow::Owned(selector), handlers))
        })
    }

    #[test]
    fn a_scanner_that_panics_ends_the_edits_and_not_the_page() {
        let rest = "<p>one two three four five six</p><em>x</em><p>one two three</p></article></body></html>";
        for chunk in [1, 7, 10_000] {
            for after in ["<!doctype html>", PAGE.split_once("<p>Short").unwrap().0] {
                let page = format!("{after}{rest}");
                let mut rewriter = Rewriter::new(job("utf-8")).keep(Log::Edits(Vec::new()));
                let mut out = Vec::new();
                rewriter.push(after.as_bytes(), &mut Everything, &mut out);
                rewriter.phase = match rewriter.phase {
                    Phase::Head(_) => Phase::Head(panicking()),
                    Phase::Article(_) => Phase::Article(panicking()),
                    Phase::Copy => unreachable!(),
                };
                for piece in rest.as_bytes().chunks(chunk) {
                    rewriter.push(piece, &mut Everything, &mut out);
                }
                rewriter.finish(&mut Everything, &mut out);
                let outcome = rewriter.outcome();
                assert_eq!(outcome.ended, Some("handler"));
                assert_eq!(outcome.finding, None, "nothing is learned from half a page");
                assert!(String::from_utf8(out.clone()).unwrap().ends_with(rest));
                let run = Run { out, edits: edits(rewriter), outcome };
                assert!(undo(&run, page.as_bytes()) == page.as_bytes(), "{chunk}");
            }
        }
    }

    /// A page as the plugin leaves it: in the manner of its output, not its words.
    const PLUGIN: &str = "<!doctype html><html><head><title>t</title><script src=jquery.js></script>\
        <script id=\"wpcp_disable_selection\">if (1 < 2) { show_wpcp_message('</div>') }</script>\n\
        <style id='own'>p { color: red }</style>\
        <style>.unselectable { -webkit-touch-callout: none }</style></head>\
        <body class=\"home unselectable page\" unselectable=\"on\" id=b><article><p>one two three four five six seven eight</p>\
        <p>left <script>document.title</script> right</p></article>\
        <div id=\"wpcp-error-message\" class=\"msgmsg-box-wpcp hideme\"><span>error: </span>Content is protected !!</div>\n\
        <style>#wpcp-error-message { direction: ltr } .msgmsg-box-wpcp { border: 0 }</style>\
        <style>@media print { body:after { display: none !important } }</style></body></html>";

    fn with_replacer(sets: &[Replace]) -> Job {
        Job { replacer: Replacer::new(sets), ..job("utf-8") }
    }

    #[test]
    fn what_a_plugin_left_goes_and_nothing_else() {
        let mut outputs = std::collections::BTreeSet::new();
        for chunk in [1, 7, 100, usize::MAX] {
            let got = run(with_replacer(&[Replace::WpBuy]), PLUGIN.as_bytes(), chunk);
            assert!(undo(&got, PLUGIN.as_bytes()) == PLUGIN.as_bytes(), "{chunk}");
            assert_eq!((got.outcome.ended, got.outcome.late, got.outcome.replaced), (None, 0, 7), "{chunk}");
            outputs.insert(String::from_utf8(got.out).unwrap());
        }
        assert_eq!(outputs.len(), 1, "the same in any chunking");
        let text = outputs.pop_first().unwrap();
        for gone in ["wpcp", "Content is protected", "unselectable", "@media print"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        for kept in [
            "<script src=jquery.js></script>\n<style id='own'>p { color: red }</style><style></style></head>",
            "<body class=\"home page\"  id=b>",
            "<p>left <script>document.title</script> right</p></article>\n<style></style><style></style><notice/></body>",
            "<p>one two\nthree\nfour\nfive\nsix\nseven eight</p>",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let unquoted =
            run(with_replacer(&[Replace::WpBuy]), b"<!doctype html><title>t</title><body class=unselectable id=b>", 7);
        assert!(String::from_utf8(unquoted.out).unwrap().ends_with("<body class=\"\" id=b>"));
        for chunk in [1, usize::MAX] {
            let page = b"<!doctype html><title>t</title><div id=ays_noscript></div>\n <noscript>x</noscript><p>y";
            let got = run(with_replacer(&[Replace::Ays]), page, chunk);
            assert!(String::from_utf8(got.out).unwrap().ends_with("\n <p>y"), "{chunk}");
        }
        let off = run(with_replacer(&[Replace::Ays]), PLUGIN.as_bytes(), 7);
        assert_eq!(off.outcome.replaced, 0);
    }

    #[test]
    fn what_does_not_end_or_is_too_long_stays() {
        let long = format!("<div id=wpcp-error-message>{}</div>", "x".repeat(20_000));
        for (name, body) in [
            ("without an end", "<div id=wpcp-error-message>message <p>text".to_owned()),
            ("around the end of the page", "<div id=wpcp-error-message><body>x</body></div>".to_owned()),
            ("ended by another", "<section><div id=wpcp-error-message>message</section><p>text</p>".to_owned()),
            ("too long", long),
            (
                "the site's own",
                "<style id=mine>show_wccp_pro_message</style><script src=x>show_wccp_pro_message</script>".to_owned(),
            ),
            (
                "a long one around a short one",
                format!("<div id=wpcp-error-message>{}<style>show_wccp_pro_message</style></div>", "x".repeat(17_000)),
            ),
            ("a long script", format!("<script>show_wccp_pro_message{}</script>", " ".repeat(20_000))),
        ] {
            let page = format!("<!doctype html><title>t</title>{body}");
            for chunk in [1, 4_096] {
                let got = run(with_replacer(&[Replace::WpBuy]), page.as_bytes(), chunk);
                assert_eq!(got.outcome.replaced, 0, "{name}");
                assert!(undo(&got, page.as_bytes()) == page.as_bytes(), "{name}");
                assert_eq!(got.outcome.late, 0, "{name}");
                let text = String::from_utf8(got.out).unwrap().replace("<notice/>", "");
                assert!(text.contains(&body), "{name}: {text}");
            }
        }
    }

    #[test]
    fn bad_utf8_ends_the_slots_but_not_the_notice() {
        let mut page = b"<!doctype html><title>t</title><body><article><p>one two three four five six</p><p>caf\xE9 one two three four</p>".to_vec();
        page.extend_from_slice(b"<p>one two three four five six</p></article></body>");
        let got = check("bad utf-8", &page, "utf-8", &[1, 7]);
        assert_eq!(got.outcome.no_slots, Some("bad_utf8"));
        assert_eq!(got.outcome.gaps(), 3);
        assert!(got.outcome.footer_placed);
        let start = b"<!doctype html><title>t</title><article><p>\xDEtwelve words in a paragraph</p></article>";
        assert_eq!(check("bad utf-8 at the start of a text", start, "utf-8", &[1, 2, 3, 7]).outcome.gaps(), 0);
    }

    #[test]
    fn where_only_lol_html_is_out_of_a_region_nothing_is_marked() {
        let marks = MarkRules::default();
        for (body, expected) in [
            ("<p><pre>x</p>P</pre>", (0, 0)),
            ("<p><b><pre>x</b> W</pre>P", (0, 0)),
            ("P<div contenteditable><i></div>P", (30, 2)),
            ("P<div><code>x</div>P", (15, 1)),
            ("<ul><li hidden>x<li>y</ul>P", (15, 1)),
            ("<select><option>x<option>y</select>P", (15, 1)),
        ] {
            assert_eq!(carried(&marks, &format!("<article>{body}</article>")), expected, "{body}");
        }
    }

    /// lol_html reads tags in the text of such a script; browsers do not.
    #[test]
    fn behind_an_svg_that_closes_itself_a_script_stays_as_it_is() {
        let script = "<script>w('<html><body></body></html></div><p>one two three four five six seven</p>')</script>";
        let start = "<!doctype html><title>t</title><body><article><div>";
        for svg in ["<a><svg class=i/></a>", "<svg/>", "<div><svg><path d=m></path></div>", "<math/>"] {
            let page = format!("{start}{svg}{script}</div></article></body></html>");
            for chunk in [1, 7, usize::MAX] {
                let got = run(job("utf-8"), page.as_bytes(), chunk);
                let behind = page.find(svg).unwrap() as u64;
                assert!(
                    got.edits.iter().all(|edit| edit.range.end <= behind || edit.range.start == page.len() as u64),
                    "{svg}"
                );
                assert!(String::from_utf8_lossy(&got.out).contains(script), "{svg}");
            }
        }
        let page = format!("{start}<svg/><p>one</p>{script}</div></article></body></html>");
        let got = check("left by a paragraph", page.as_bytes(), "utf-8", &[1, 7]);
        assert!(got.outcome.footer_placed);
    }

    #[test]
    fn the_end_of_a_body_in_a_template_is_not_that_of_the_page() {
        for inside in ["<html><body>y</body></html>", "y</body>", "<template></body></template>y</body>"] {
            let page = format!(
                "<!doctype html><html><title>t</title><body><p>x</p><template>{inside}</template></body></html>"
            );
            let got = check(inside, page.as_bytes(), "utf-8", &[1, 7]);
            let notice = got.out.windows(NOTICE.len()).position(|part| part == NOTICE).unwrap();
            let template = got.out.windows(11).rposition(|part| part == b"</template>").unwrap();
            assert!(notice > template, "{inside}: {}", String::from_utf8_lossy(&got.out));
        }
    }

    #[test]
    fn a_text_node_longer_than_the_window_is_given_up() {
        let long = "word ".repeat(20_000);
        let page = format!(
            "<!doctype html><title>t</title><article><p>{long}</p><p>one two three four five six</p></article>"
        );
        let got = check("long", page.as_bytes(), "utf-8", &[1_000, 65_536]);
        assert_eq!(got.outcome.gaps(), 3);
    }

    #[test]
    fn tags_of_edge_side_includes_hold_nothing() {
        let page = "<!doctype html><title>t</title><article><esi:include src=x hidden /><p>one two three four five six</p></article>";
        let gaps = |esi| check_with(Job { esi, ..job("utf-8") }, page.as_bytes()).outcome.gaps();
        assert_eq!((gaps(false), gaps(true)), (0, 3));
    }

    #[test]
    fn what_is_read_leaves_at_once() {
        let start = format!("{}{}", &PAGE[..PAGE.find("<p>Short").unwrap()], "<p>");
        let mut rewriter = Rewriter::new(job("utf-8"));
        let mut out = Vec::new();
        rewriter.push(start.as_bytes(), &mut Everything, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("of\nthree chapters."), "the first paragraph has left");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn any_bytes_survive(pieces in proptest::collection::vec(prop_oneof![
            Just("<p>"), Just("</p>"), Just("<!doctype html>"), Just("<html>"), Just("<head>"), Just("</head>"), Just("<body>"),
            Just("</body></html>"), Just("<article>"), Just("</article>"), Just("one two three four five "), Just("<b>"), Just("</b>"),
            Just("wörd’s “quoted” "), Just("&amp;"), Just("&bogus;"), Just("<select>"), Just("<template>"), Just("<script>"),
            Just("</script>"), Just("<div id=wpcp-error-message>"), Just("</div>"), Just("show_wccp_pro_message"), Just("<style>"),
            Just("</style>"), Just("<div id=ays_noscript></div>"), Just("<noscript>"), Just("</noscript>"),
            Just("<body class=unselectable id=b>"), Just(" \n "), Just("<!-- x -->"), Just("<"), Just("\u{1F600}"), Just("<li>"), Just("<pre>"), Just("</pre>"), Just("\0"),
            Just("twelve words in a paragraph are just about enough to be sealed at its very end, so here they are. "),
        ], 0..40), chunk in 1usize..50) {
            let source = pieces.concat();
            let job = |label| Job { replacer: Replacer::new(&[Replace::WpBuy, Replace::Ays]), ..job(label) };
            let whole = run(job("utf-8"), source.as_bytes(), usize::MAX);
            prop_assert!(undo(&whole, source.as_bytes()) == source.as_bytes());
            prop_assert_eq!(whole.outcome.late, 0);
            let cut = run(job("utf-8"), source.as_bytes(), chunk);
            prop_assert_eq!(cut.edits, whole.edits);
            prop_assert!(cut.out == whole.out);
        }
    }
}
