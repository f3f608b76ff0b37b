//! Spellings and alternatives of one block: what is found in its text, as edits of its source.

use bytes::Bytes;

use super::decode::Decoded;
use super::marks::{MarkRules, Variants};
use super::tail;
use super::variants::Variant;
use super::window::Window;
use crate::slot::{Edit, Form, FormKinds, FormScan, Found, Piece, PlaceKind, Slot, What};

/// From a place to the text in which the words behind it, or its partner, stand: so much of the source is held at most.
const REACH: u64 = 2_048;
/// Tags between two texts.
const TAGS: u64 = 1_024;

/// What of a page's text may be spelled in two ways.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling {
    kinds: FormKinds,
    /// All places of a block go by the first one.
    consistent: bool,
    /// The mark chooses between alternatives of the author.
    alternatives: bool,
    /// The language of the page, in lower case and without a region.
    language: String,
}

impl Spelling {
    /// `language`: that of the page, if it is known.
    pub(crate) fn new(rules: &MarkRules, language: Option<&str>) -> Self {
        let language = primary(language.unwrap_or_default());
        // Both spellings must be usual in it, or a reader would take one for a mistake.
        let usual = match language.as_str() {
            "en" => FormKinds::ALL,
            "fr" => FormKinds::of("a"),
            _ => FormKinds::NONE,
        };
        Self {
            kinds: rules.forms.and(usual),
            consistent: rules.block_consistency,
            alternatives: rules.variants == Variants::Choose,
            language,
        }
    }

    /// Is an element with this `lang` in another language than the page?
    pub(super) fn is_foreign(&self, lang: &[u8]) -> bool {
        self.kinds != FormKinds::NONE && primary(&String::from_utf8_lossy(lang)) != self.language
    }

    /// What looks at the text of a block; `None`: there is nothing to look for.
    pub(super) fn block(&self) -> Option<Box<BlockForms>> {
        (self.alternatives || self.kinds != FormKinds::NONE).then(|| Box::new(BlockForms::new(self)))
    }

    /// Are alternatives chosen?
    pub(super) fn chooses(&self) -> bool {
        self.alternatives
    }
}

/// The first part of a language tag (RFC 5646 §2.1).
fn primary(tag: &str) -> String {
    tag.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// The text of one block.
#[derive(Debug)]
pub(super) struct BlockForms {
    kinds: FormKinds,
    consistent: bool,
    scan: FormScan,
    /// Behind the last text.
    ended: Option<u64>,
    /// Elements whose context is not known yet.
    waiting: Vec<Variant>,
    /// The first place, which the others go by.
    first: Option<(PlaceKind, Bytes)>,
    found: Vec<Found>,
}

impl BlockForms {
    fn new(&Spelling { kinds, consistent, .. }: &Spelling) -> Self {
        let scan = FormScan::new(kinds);
        Self { kinds, consistent, scan, ended: None, waiting: Vec::new(), first: None, found: Vec::new() }
    }

    /// Reads a text node that starts at `start`; `quiet`: nothing in it is spelled anew.
    pub(super) fn read(
        &mut self,
        start: u64,
        decoded: &Decoded<'_>,
        quiet: bool,
        window: &Window,
        edits: &mut Vec<Edit>,
    ) {
        self.approach(start, window, edits);
        self.scan.look_for(if quiet { FormKinds::NONE } else { self.kinds });
        let place = |at: usize| start + decoded.source(at);
        self.scan.push(Piece::Text(&decoded.text, &place), &mut self.found);
        self.ended = Some(place(decoded.text.len()));
        self.settle(start, edits);
    }

    /// What comes next starts at `start`: do words go on there?
    pub(super) fn approach(&mut self, start: u64, window: &Window, edits: &mut Vec<Edit>) {
        let Some(ended) = self.ended.take() else { return };
        let near = start.saturating_sub(ended) <= TAGS;
        let joins = !self.scan.is_open() || (near && window.get(ended..start).is_some_and(tail::is_inline));
        self.scan.push(if joins { Piece::Inline } else { Piece::Break }, &mut self.found);
        self.settle(start, edits);
    }

    /// Alternatives, behind what was said to come next.
    pub(super) fn variant(&mut self, variant: Variant, edits: &mut Vec<Edit>) {
        let (start, end) = (variant.range.start, variant.range.end);
        self.waiting.push(variant);
        self.scan.push(Piece::Variant(start), &mut self.found);
        self.ended = Some(end);
        self.settle(end, edits);
    }

    /// Text that is not read.
    pub(super) fn opaque(&mut self, edits: &mut Vec<Edit>) {
        self.scan.push(Piece::Opaque, &mut self.found);
        self.ended = None;
        // How far its words reach cannot be told here: what it ends is left.
        for found in std::mem::take(&mut self.found) {
            if let Found::Variant { name, .. } = found {
                self.alternatives(name, None, edits);
            }
        }
    }

    /// The block is over at `at`, or the text of another one begins there.
    pub(super) fn end(&mut self, at: u64, edits: &mut Vec<Edit>) {
        self.scan.end(&mut self.found);
        self.settle(at, edits);
        (self.ended, self.first) = (None, None);
        self.give_up(edits);
    }

    /// Nothing more is marked: what waits for its context gets none.
    pub(super) fn give_up(&mut self, edits: &mut Vec<Edit>) {
        edits.extend(self.waiting.drain(..).map(|variant| variant.edit(None)));
    }

    /// What waits too long for its context gets none; the next text cannot start before `next`.
    pub(super) fn give_up_far(&mut self, next: u64, edits: &mut Vec<Edit>) {
        let far = |variant: &mut Variant| next.saturating_sub(variant.range.start) > REACH;
        edits.extend(self.waiting.extract_if(.., far).map(|variant| variant.edit(None)));
    }

    /// The source from here on must stay; the next text cannot start before `next`.
    pub(super) fn hold(&self, next: u64) -> Option<u64> {
        let places = self.scan.holds().filter(|at| next.saturating_sub(*at) <= REACH);
        let ended = self.ended.filter(|at| self.scan.is_open() && next.saturating_sub(*at) <= TAGS);
        // These stay until they are given up.
        let waiting = self.waiting.iter().map(|variant| variant.range.start);
        places.chain(ended).chain(waiting).min()
    }

    /// What was found in a text that starts at `start`, or behind all of it.
    fn settle(&mut self, start: u64, edits: &mut Vec<Edit>) {
        let near = |from: u64, to: u64| to.saturating_sub(from) <= REACH;
        for found in std::mem::take(&mut self.found) {
            match found {
                Found::Variant { name, context } => {
                    self.alternatives(name, context.filter(|_| near(name, start)), edits);
                }
                // Too far: the source may have left.
                Found::Form { at, close, .. }
                    if !near(at.start, start) || close.as_ref().is_some_and(|close| !near(at.start, close.end)) => {}
                Found::Form { form, at, close, context, .. } => {
                    let own = (form.kind(), Bytes::from(context));
                    let (kind, context) = if self.consistent { self.first.get_or_insert(own).clone() } else { own };
                    let slot = |form| What::Choice(Slot::Form { form, kind, context: context.clone() });
                    edits.push(Edit { range: at, what: slot(form) });
                    edits.extend(close.map(|range| Edit { range, what: slot(Form::QuoteClose) }));
                }
            }
        }
    }

    fn alternatives(&mut self, name: u64, context: Option<Vec<u8>>, edits: &mut Vec<Edit>) {
        if let Some(index) = self.waiting.iter().position(|variant| variant.range.start == name) {
            edits.push(self.waiting.remove(index).edit(context));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use encoding_rs::Encoding;
    use proptest::prelude::*;

    use super::*;
    use crate::page::charset::Charset;
    use crate::page::plain_text;
    use crate::page::plan::Log;
    use crate::page::replace::Replacer;
    use crate::page::rewrite::{Inserted, Job, Outcome, Rewriter};
    use crate::page::splice::apply;
    use crate::slot::{Alternatives, Choose, PlaceHash, Unmarked, VariantNote};

    const START: &str =
        "<!doctype html><html lang=en-GB><head><meta charset=utf-8><title>t</title></head><body><article>";

    /// Spells by the column, or everything alike.
    #[derive(Clone, Copy)]
    struct Speller(Option<bool>);

    impl Speller {
        fn bit(self, column: u16) -> bool {
            self.0.unwrap_or(column % 2 == 1)
        }
    }

    impl Choose for Speller {
        fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            let bytes = std::iter::once(kind.byte()).chain(context.iter().copied());
            Some(PlaceHash(bytes.fold(7, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))))
        }
        fn gap(&mut self, _: u16) -> Option<u8> {
            None
        }
        fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
            Some(form.references(self.bit(column)))
        }
        fn variant(&mut self, column: u16) -> usize {
            usize::from(self.bit(column))
        }
        fn seal(&mut self) -> Option<Bytes> {
            None
        }
        fn token(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(b"abcdefghijklmno"))
        }
    }

    fn job(marks: MarkRules) -> Job {
        Job {
            charset: Charset { encoding: encoding_rs::UTF_8, declared: true },
            insert: Arc::new(|_| Inserted::default()),
            policies: None,
            exempt: Arc::new([]),
            replacer: Replacer::default(),
            no_slots: None,
            body_is_root: false,
            learn: false,
            max_memory: 2 << 20,
            window: 64 << 10,
            esi: false,
            max_page: 4 << 20,
            foot: false,
            marks,
            language: None,
        }
    }

    fn rules() -> MarkRules {
        MarkRules { forms: FormKinds::ALL, variants: Variants::Choose, ..MarkRules::default() }
    }

    struct Sent {
        text: String,
        edits: Vec<Edit>,
        outcome: Outcome,
    }

    fn run(job: Job, page: &[u8], chunk: usize, choose: &mut dyn Choose) -> Sent {
        let mut rewriter = Rewriter::new(job).keep(Log::Edits(Vec::new()));
        let mut out = Vec::new();
        page.chunks(chunk).for_each(|piece| rewriter.push(piece, choose, &mut out));
        rewriter.finish(choose, &mut out);
        let Log::Edits(edits) = rewriter.take_log() else { panic!("the edits were kept") };
        assert_eq!(rewriter.outcome().late, 0);
        Sent { text: String::from_utf8(out).unwrap(), edits, outcome: rewriter.outcome() }
    }

    /// What becomes of the article of a page.
    fn article(job: Job, article: &str, choose: &mut dyn Choose) -> String {
        let copy = run(job, format!("{START}{article}</article></body></html>").as_bytes(), usize::MAX, choose);
        let rest = copy.text.strip_prefix(START).and_then(|text| text.strip_suffix("</article></body></html>"));
        rest.unwrap_or_else(|| panic!("{}", copy.text)).to_owned()
    }

    #[test]
    fn places_are_spelled_anew_whatever_they_are_written_as() {
        #[rustfmt::skip]
        let table = [
            ("Members said it won't publish it", "Members said it won&#0039;t publish it", "Members said it won&#8217;t publish it"),
            ("it won&rsquo;t publish it", "it won&#0039;t publish it", "it won&#8217;t publish it"),
            ("said &quot;no such thing&quot; and left", "said &#0034;no such thing&#0034; and left", "said &#8220;no such thing&#8221; and left"),
            ("said “no <em>such</em> thing” and", "said &#0034;no <em>such</em> thing&#0034; and", "said &#8220;no <em>such</em> thing&#8221; and"),
            ("wait &hellip; what is it", "wait ... what is it", "wait &#8230; what is it"),
            ("and then he waited...", "and then he waited...", "and then he waited&#8230;"),
            ("the plan&#8212;so far", "the plan&#8212;so far", "the plan &#8211; so far"),
            ("the plan &ndash;\n so far", "the plan&#8212;so far", "the plan &#8211; so far"),
            ("so &zeetrf;n't it, 5'10\" -- 'tis", "so &zeetrf;n't it, 5'10\" -- 'tis", "so &zeetrf;n't it, 5'10\" -- 'tis"),
            ("said <br>\"no such", "said <br>\"no such", "said <br>\"no such"),
            ("the plan – <br>so far", "the plan – <br>so far", "the plan – <br>so far"),
            ("she came <span data-variant=\"although|though\">although</span> it rained", "she came although it rained", "she came though it rained"),
            ("it won<b>'</b>t <code>can't</code> go", "it won<b>'</b>t <code>can't</code> go", "it won<b>'</b>t <code>can't</code> go"),
        ];
        for (source, zero, one) in table {
            for (bit, expect) in [(false, zero), (true, one)] {
                let got = article(job(rules()), &format!("<p>{source}</p>"), &mut Speller(Some(bit)));
                assert_eq!(got, format!("<p>{expect}</p>"), "{source}");
            }
        }
        let page = format!("{START}<p>said \"no such thing\" and</p>");
        let pair = run(job(rules()), page.as_bytes(), 7, &mut Speller(None));
        assert_eq!((pair.outcome.carriers.forms, forms(&pair).len()), (1, 2), "two quotes are one place");
    }

    fn forms(copy: &Sent) -> Vec<(PlaceKind, Bytes)> {
        let of = |edit: &Edit| match &edit.what {
            What::Choice(Slot::Form { kind, context, .. }) => Some((*kind, context.clone())),
            _ => None,
        };
        copy.edits.iter().filter_map(of).collect()
    }

    #[test]
    fn without_a_mark_the_source_stays_but_for_alternatives() {
        let source = "<p>it won’t – can’t – “say so” <span data-variant='a|b'>a</span>... now</p>";
        let bare = source.replace("<span data-variant='a|b'>a</span>", "a");
        assert_eq!(article(job(rules()), source, &mut Unmarked), bare);
        let first = MarkRules { variants: Variants::First, ..MarkRules::default() };
        for no_slots in [None, Some("level_off"), Some("learning")] {
            let job = Job { no_slots, ..job(first.clone()) };
            assert_eq!(article(job, source, &mut Speller(Some(true))), bare, "{no_slots:?}");
        }
        assert_eq!(article(job(MarkRules::default()), source, &mut Speller(Some(true))), source);
    }

    #[test]
    fn the_language_says_what_is_usual() {
        const TEXT: &str = "<p>He said it’s “no such thing” or <i>so</i>… and it is</p>";
        let of = |html: &str, head: Option<&str>, forms: FormKinds| {
            let page =
                format!("<!doctype html>{html}<head><meta charset=utf-8><title>t</title><body><main>{TEXT}</main>");
            let job = Job { language: head.map(str::to_owned), ..job(MarkRules { forms, ..rules() }) };
            run(job, page.as_bytes(), 100, &mut Speller(Some(false))).outcome.carriers.forms
        };
        for (html, head, places) in [
            ("<html lang=en>", None, 3),
            ("<html lang='EN-us'>", Some("de"), 3),
            ("<html>", Some("en"), 3),
            ("<html>", None, 0),
            ("<html lang=fr-CA>", None, 1),
            ("<html lang=de>", Some("en"), 0),
            ("<html lang=ja>", None, 0),
            ("<html lang=''>", None, 0),
        ] {
            assert_eq!(of(html, head, FormKinds::ALL), places, "{html} {head:?}");
        }
        assert_eq!(of("<html lang=en>", None, FormKinds::of("ae")), 2);
        let foreign =
            "<p>He said it’s <i lang=fr>l’état c’est “moi”</i> and it’s late</p><p lang=EN-us>it’s not so</p>";
        let expect = foreign.replace("it’s", "it&#0039;s");
        assert_eq!(article(job(rules()), foreign, &mut Speller(Some(false))), expect);
    }

    #[test]
    fn a_block_may_be_of_one_piece() {
        let job = job(MarkRules { block_consistency: true, ..rules() });
        let page = format!("{START}<p>it’s what they’re and we’re and “no such thing” so… on</p><p>it’s not so</p>");
        let copy = run(job, page.as_bytes(), usize::MAX, &mut Speller(None));
        let all = forms(&copy);
        assert_eq!(all.len(), 7);
        assert!(all[..6].iter().all(|own| *own == all[0] && own.0 == PlaceKind::Apostrophe), "{all:?}");
        assert_eq!(&*all[0].1, b"\x1Fits\x1Fwhat\x1Ftheyre");
        assert_ne!(all[6], all[0]);
    }

    #[test]
    fn alternatives_go_wherever_they_stand() {
        let of = |source: &str| article(job(rules()), source, &mut Speller(Some(true)));
        let long = |length: usize| {
            let start = "<span class=\"\" data-variant=\"a|b\">x</span>";
            start.replacen("\"\"", &format!("\"{}\"", "c".repeat(length - start.len())), 1)
        };
        const V: &str = "<span data-variant='a|b'>a</span>";
        for (source, expect) in [
            // No context, no bit: the first one.
            (format!("<h1>so {V} it is</h1>"), "<h1>so a it is</h1>".to_owned()),
            (format!("<nav><p>so it {V} is so</p></nav>"), "<nav><p>so it a is so</p></nav>".to_owned()),
            (format!("<p><code>so it {V} is so</code></p>"), "<p><code>so it a is so</code></p>".to_owned()),
            (format!("<p>so it{V} is so</p>"), "<p>so ita is so</p>".to_owned()),
            (format!("<p>{V}</p><p>so it is"), "<p>a</p><p>so it is".to_owned()),
            // By the mark, at the end of what has no end tag, too.
            (format!("<p><a href=/>so it {V}</a></p>"), "<p><a href=/>so it b</a></p>".to_owned()),
            (
                format!("<p>so it {V}<p>is so {V}<ul><li>so it {V}<li>{V} is so</ul>"),
                "<p>so it b<p>is so b<ul><li>so it b<li>b is so</ul>".to_owned(),
            ),
            (format!("<p>so it <em>{V}</em>, is so</p>"), "<p>so it <em>b</em>, is so</p>".to_owned()),
            (format!("<p>so it {} is so</p>", long(512)), "<p>so it b is so</p>".to_owned()),
            (
                "<p>so it <SPAN DATA-VARIANT=\"&lt;a|b&amp;c\">x</SPAN> is so</p>".to_owned(),
                "<p>so it b&amp;c is so</p>".to_owned(),
            ),
        ] {
            assert_eq!(of(&source), expect, "{source}");
        }
        for stays in [
            format!("<p>so it {} is so</p>", long(513)),
            "<p>so it <span data-variant='a|b'>a <b>b</b></span> is so</p>".to_owned(),
            "<p>so it <span data-variant='a|b'>a<br></span> is so</p>".to_owned(),
            "<p>so it <span data-variant='a|b'>a is so</p>".to_owned(),
            "<p>so it <span data-variant>a</span> is so</p>".to_owned(),
            "<p>so it <span data-variant=''>a</span> is so</p>".to_owned(),
            "<p>so it <b data-variant='a|b'>a</b> is so</p>".to_owned(),
        ] {
            assert_eq!(of(&stays), stays);
        }
        let inner = of("<p>so it <span data-variant='a|b'>a <span data-variant='c|d'>c</span></span> is so</p>");
        assert_eq!(inner, "<p>so it <span data-variant='a|b'>a <span data-variant='c|d'>c</span></span> is so</p>");
    }

    #[test]
    fn no_gap_has_alternatives_among_its_words() {
        let page =
            format!("{START}<p>one two three four <span data-variant='a|b'>a</span>s five six seven eight nine</p>");
        let copy = run(job(rules()), page.as_bytes(), 5, &mut Speller(None));
        let gaps: Vec<Vec<u8>> = copy
            .edits
            .iter()
            .filter_map(|edit| match &edit.what {
                What::Choice(Slot::Gap { context }) => Some(context.to_vec()),
                _ => None,
            })
            .collect();
        let expect = ["one two three four", "five six seven eight", "six seven eight nine"];
        assert_eq!(gaps, expect.map(|words| words.replace(' ', "\u{1F}").into_bytes()));
    }

    #[test]
    fn a_page_of_one_byte_a_character_is_spelled_in_ascii() {
        let charset = Charset { encoding: Encoding::for_label(b"windows-1252").unwrap(), declared: true };
        let page = [
            &b"<!doctype html><html lang=en><head><title>t</title></head><body><main><p>it won\x92t \x93say it so\x94 "
                [..],
            b"<span data-variant=\"caf\xE9|pub\">x</span> or what</p></main>",
        ]
        .concat();
        let copy = run(Job { charset, ..job(rules()) }, &page, 3, &mut Speller(Some(false)));
        assert!(
            copy.text.ends_with("<p>it won&#0039;t &#0034;say it so&#0034; caf&#233; or what</p></main>"),
            "{}",
            copy.text
        );
    }

    #[test]
    fn tags_hold_the_mark() {
        let marks =
            MarkRules { tokens: true, host: "news.example".into(), mount: "/.deckle".into(), ..MarkRules::default() };
        let of = |source: &str| article(job(marks.clone()), source, &mut Speller(None));
        let text = of(
            "<p class=lead>x <a href=\"/a#b\">a</a> <a href='https://news.example/c'>c</a> <img src=\"d.jpg\" alt=x></p>\
             <p>y <a href=/e>e</a> <a href=\"/f?g\">f</a> <a href=\"//cdn.example/\">h</a><a name=\"/i\">i</a></p>\
             <nav><a href=\"/j\">j</a></nav><pre><a href=\"/k\">k</a></pre>",
        );
        assert_eq!(
            text,
            "<p data-k=\"abcdefghijklmno\" class=lead>x <a href=\"/a?k=abcdefghijklmno#b\">a</a> \
             <a href='https://news.example/c?k=abcdefghijklmno'>c</a> <img src=\"d.jpg?k=abcdefghijklmno\" alt=x></p>\
             <p>y <a href=/e>e</a> <a href=\"/f?g\">f</a> <a href=\"//cdn.example/\">h</a><a name=\"/i\">i</a></p>\
             <nav><a href=\"/j\">j</a></nav><pre><a href=\"/k\">k</a></pre>"
        );
        let based = "<!doctype html><title>t</title><base href=\"https://cdn.example/\"><main><a href=\"/a\">a</a>";
        assert_eq!(run(job(marks.clone()), based.as_bytes(), 9, &mut Speller(None)).text, based);
        let stopped = Job { no_slots: Some("hydrated"), ..job(marks.clone()) };
        assert_eq!(article(stopped, "<p>x</p>", &mut Speller(None)), "<p>x</p>");
        assert_eq!(article(job(marks), "<p>x</p>", &mut Unmarked), "<p>x</p>");
    }

    /// Places whose words lie far apart, elements without an end, and all that stands between texts.
    fn hostile() -> String {
        let link = |length: usize| format!("<a href=\"{}\">far</a>", "x".repeat(length));
        let variant = "<span data-variant=\"although|though\">although</span>";
        format!(
            "{START}<p>Members said it won’t publish “the <em>full &amp;</em> report” – so far… and {variant} it’s late</p>\
             <p>“An opening {} far from its end” and it’s so</p><p>so it {variant}{} is far, it’s{} so</p>\
             <p>so it is {variant}<!-- c --> then<br>it’s “no<br>such” thing &zeetrf; it’s<code>'s x’s</code>so it’s\
             <blockquote>so it {variant}<p>is so it’s</blockquote><ul><li>it’s {variant}<li lang=fr>l’a it’s “so so”</ul>\
             <p>so it <span data-variant='a|b'>a {} b</span> is so it’s</p><p>so it <span data-variant='a|b'>x</p>\
             <p>it’s so “far</article><p>it’s out of it {variant} now</p></body></html>",
            link(2_500),
            link(2_500),
            link(1_500),
            "y".repeat(600),
        )
    }

    #[test]
    fn chunks_change_nothing() {
        let marks = MarkRules { tokens: true, host: "news.example".into(), ..rules() };
        let page = hostile();
        let whole = run(job(marks.clone()), page.as_bytes(), usize::MAX, &mut Speller(None));
        assert!(whole.outcome.carriers.forms > 6 && whole.outcome.carriers.variants > 2, "{:?}", whole.outcome);
        for chunk in (1..70).chain([333, 1_000, 2_100, 4_096]) {
            let cut = run(job(marks.clone()), page.as_bytes(), chunk, &mut Speller(None));
            assert_eq!(cut.edits, whole.edits, "in chunks of {chunk}");
            assert_eq!(cut.text, whole.text, "in chunks of {chunk}");
        }
        let (mut expect, mut at, mut outcome) = (Vec::new(), 0, Outcome::default());
        for edit in &whole.edits {
            let (start, end) = (edit.range.start as usize, edit.range.end as usize);
            expect.extend_from_slice(&page.as_bytes()[at..start]);
            apply(&edit.what, &page.as_bytes()[start..end], &mut Speller(None), &mut expect, &mut outcome);
            at = end;
        }
        expect.extend_from_slice(&page.as_bytes()[at..]);
        assert_eq!(whole.text, String::from_utf8(expect).unwrap());
    }

    /// What a copy shows: kind, context and bit of each place.
    fn traced(copy: &str, notes: &[VariantNote]) -> Vec<(PlaceKind, Vec<u8>, bool)> {
        let alternatives = Alternatives::new(notes);
        let mut all = Vec::new();
        for paragraph in plain_text(copy).split("\n\n") {
            let (mut scan, mut found) = (FormScan::new(FormKinds::ALL), Vec::new());
            scan.push(Piece::Text(paragraph, &|at| at as u64), &mut found);
            scan.end(&mut found);
            all.extend(found.into_iter().filter_map(|found| match found {
                Found::Form { form, bit, context, .. } => Some((form.kind(), context, bit)),
                Found::Variant { .. } => None,
            }));
            alternatives.paragraph(paragraph, &mut |context, bit| {
                all.push((PlaceKind::Variant, context.to_vec(), bit));
            });
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        /// Each place that was marked is found in the copy, with its bit.
        #[test]
        fn copies_are_read_as_they_were_marked(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "word", "other", "can't", "won&rsquo;t", "don&#39;t", "5", "caf&eacute;", " ", " ", " ", " ", "\"", "&quot;",
                    "&ldquo;", "”", "...", "&hellip;", ".", "—", " &ndash; ", " – ", ",", "(", ")", "<b>bold</b>", "<i>it's</i>",
                    "<br>", "&amp;", " <span data-variant=\"although|though\">although</span> ",
                    "<span data-variant=\"one more|another\">x</span>", "</p><p>",
                ]),
                0..60,
            ),
            chunk in 1usize..40,
        ) {
            let page = format!("{START}<p>{}</p></article></body></html>", parts.concat());
            let copy = run(job(rules()), page.as_bytes(), chunk, &mut Speller(None));
            let (mut marked, mut notes) = (Vec::new(), Vec::new());
            for edit in &copy.edits {
                let (kind, context) = match &edit.what {
                    What::Choice(Slot::Form { form, kind, context }) if *form != Form::QuoteClose => (*kind, context),
                    What::Choice(Slot::Variant { context: Some(context), alternatives }) => {
                        notes.push(VariantNote { context: context.clone(), alternatives: (**alternatives).clone() });
                        (PlaceKind::Variant, context)
                    }
                    _ => continue,
                };
                let column = Speller(None).hash(kind, context).unwrap().column(kind.class());
                marked.push((kind, context.to_vec(), Speller(None).bit(column)));
            }
            let read = traced(&copy.text, &notes);
            for place in &marked {
                prop_assert!(read.contains(place), "{:?} is not in {:?} of {:?}", place, read, copy.text);
            }
        }
    }
}
