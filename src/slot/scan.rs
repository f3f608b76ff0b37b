//! Finds the characters of a text that are spelled in two ways, each with the words around it.
//!
//! One recogniser for the marker and the tracer. What it finds depends neither on which spelling stands at a place nor on
//! those of other places: a copy is read at the places at which its page was marked.

use std::ops::Range;

use super::pending::{Pending, Waiting};
use super::sign::{Dots, Pause, Side};
use super::{Form, FormKinds, Found, Piece, PlaceKind, fold, is_apostrophe, is_word_char};

/// Places that wait for the words behind them; beyond, no more are taken.
const MAX_PENDING: usize = 64;
/// Words of a quotation.
const MAX_QUOTED: u32 = 300;
/// No word is longer, in bytes.
const MAX_WORD: usize = 1_024;
/// Stands for the text of which nothing is known but that it may be a word.
const LETTER: char = 'x';

/// Reads the text of blocks, piece by piece.
#[derive(Debug)]
pub struct FormScan {
    kinds: FormKinds,
    /// The last character: what it is depends on the next one.
    held: Option<Char>,
    /// The character before that.
    before: Option<char>,
    /// Only a tag stands between the last character and the next one.
    seam: bool,
    /// What stands directly before the next character is not known.
    edge: bool,
    /// The word so far.
    raw: String,
    /// It began where the text before it is not known.
    glued: bool,
    /// Apostrophes in it.
    apostrophes: Vec<(Range<u64>, bool)>,
    folded: Vec<u8>,
    /// The last two words, folded.
    left: [Vec<u8>; 2],
    /// Of the last two words, how many came since text that is not known; both where there was none.
    clear: u8,
    pending: Vec<Pending>,
    quote: Option<Quote>,
    dots: Option<Dots>,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Char {
    c: char,
    at: Range<u64>,
    /// A tag stands before it.
    seam: bool,
}

/// The quotation that is open.
#[derive(Debug)]
struct Quote {
    curly: bool,
    depth: u32,
    /// There was another one in it.
    nested: bool,
    words: u32,
}

impl FormScan {
    /// Looks for these kinds.
    pub fn new(kinds: FormKinds) -> Self {
        Self {
            kinds,
            held: None,
            before: None,
            seam: false,
            edge: false,
            raw: String::new(),
            glued: false,
            apostrophes: Vec::new(),
            folded: Vec::new(),
            left: [Vec::new(), Vec::new()],
            clear: 2,
            pending: Vec::new(),
            quote: None,
            dots: None,
            pause: None,
        }
    }

    /// From here on looks for these kinds. Words go on.
    pub fn look_for(&mut self, kinds: FormKinds) {
        if self.kinds != kinds {
            self.kinds = kinds;
            self.unquote();
        }
    }

    /// Reads a piece, and adds the places that are certain now.
    pub fn push(&mut self, piece: Piece<'_>, found: &mut Vec<Found>) {
        match piece {
            Piece::Text(text, place) => self.text(text, place, found),
            Piece::Inline => self.seam = true,
            Piece::Break => {
                self.flush(Some('\n'), found);
                self.finish_word(found);
                (self.before, self.edge, self.pause) = (Some('\n'), false, None);
            }
            Piece::Opaque => self.opaque(found),
            Piece::Variant(name) => self.variant(name, found),
        }
    }

    /// The block, or the paragraph, is over: nothing follows.
    pub fn end(&mut self, found: &mut Vec<Found>) {
        self.flush(None, found);
        self.finish_word(found);
        self.unquote();
        self.pending.iter_mut().for_each(Pending::end);
        self.release(found);
        let [older, newer] = &mut self.left;
        older.clear();
        newer.clear();
        (self.before, self.seam, self.edge, self.clear) = (None, false, false, 2);
        (self.dots, self.pause) = (None, None);
    }

    /// Where the places begin that may still be found, in the caller's offsets; alternatives of the author aside.
    pub fn holds(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().filter_map(Pending::start);
        let apostrophes = self.apostrophes.iter().map(|(at, _)| at.start);
        let now = [
            self.held.as_ref().map(|held| held.at.start),
            self.dots.as_ref().map(|dots| dots.at.start),
            self.pause.as_ref().map(|pause| pause.at.start),
        ];
        pending.chain(apostrophes).chain(now.into_iter().flatten())
    }

    /// Does it matter what stands between the last piece and the next one?
    pub fn is_open(&self) -> bool {
        let dashed = self.pause.as_ref().is_some_and(|pause| pause.dashed);
        self.edge || dashed || self.held.as_ref().is_some_and(|held| !held.c.is_whitespace())
    }

    fn text(&mut self, text: &str, place: &dyn Fn(usize) -> u64, found: &mut Vec<Found>) {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let run = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
            if run > 1 {
                self.letters(rest.get(..run - 1).unwrap_or_default(), found);
                at += run - 1;
                continue;
            }
            let Some(c) = rest.chars().next() else { return };
            let end = at + c.len_utf8();
            match c {
                char::REPLACEMENT_CHARACTER => self.opaque(found),
                // Selectors of variants, and the symbols of seals: they are no part of what is read.
                '\u{FE00}'..='\u{FE0F}' => {}
                _ => {
                    self.flush(Some(c), found);
                    let seam = std::mem::take(&mut self.seam);
                    self.held = Some(Char { c, at: place(at)..place(end), seam });
                }
            }
            at = end;
        }
    }

    /// ASCII letters and digits with another one behind them.
    fn letters(&mut self, run: &str, found: &mut Vec<Found>) {
        self.flush(run.chars().next(), found);
        self.seam = false;
        self.start_word();
        self.raw.push_str(run.get(..(MAX_WORD + 1).saturating_sub(self.raw.len()).min(run.len())).unwrap_or_default());
        self.before = run.chars().next_back();
    }

    fn start_word(&mut self) {
        if self.raw.is_empty() {
            self.glued = self.edge;
        }
        (self.edge, self.pause) = (false, None);
    }

    /// The character that is held is followed by this one.
    fn flush(&mut self, next: Option<char>, found: &mut Vec<Found>) {
        let Some(held) = self.held.take() else { return };
        let c = held.c;
        let before = self.before.replace(c);
        let follows_word = !self.raw.is_empty() || self.edge;
        let joins = is_apostrophe(c) && follows_word && next.is_some_and(is_word_char);
        if is_word_char(c) || joins {
            self.start_word();
            if self.raw.len() > MAX_WORD {
                return;
            }
            self.raw.push(c);
            let spelled = matches!(c, '\'' | '’') && self.kinds.has(PlaceKind::Apostrophe);
            if joins && spelled && before.is_some_and(is_letter) && next.is_some_and(is_letter) {
                self.apostrophes.push((held.at, c == '’'));
            }
        } else {
            self.finish_word(found);
            self.sign(held, before, next);
            self.release(found);
            self.edge = false;
        }
    }

    fn finish_word(&mut self, found: &mut Vec<Found>) {
        if self.raw.is_empty() {
            return;
        }
        let (glued, long) = (std::mem::take(&mut self.glued), self.raw.len() > MAX_WORD);
        self.folded.clear();
        fold(&self.raw, &mut self.folded);
        self.raw.clear();
        let apostrophes = std::mem::take(&mut self.apostrophes);
        if glued || long {
            // A part of a word: the whole is not known.
            return self.cut(found);
        }
        if self.folded.is_empty() {
            return;
        }
        for pending in &mut self.pending {
            pending.follow(&self.folded);
        }
        self.clear = (self.clear + 1).min(2);
        let [older, newer] = &mut self.left;
        std::mem::swap(older, newer);
        newer.clone_from(&self.folded);
        if let Some(quote) = &mut self.quote {
            quote.words += 1;
            if quote.words > MAX_QUOTED {
                self.unquote();
            }
        }
        for (at, bit) in apostrophes {
            self.add(Waiting::Form(Form::Apostrophe, at, bit));
        }
        self.release(found);
    }

    /// A character that belongs to no word.
    fn sign(&mut self, Char { c, at, seam }: Char, before: Option<char>, next: Option<char>) {
        match c {
            '.' | '…' => {
                if let Some((at, bit)) = Dots::read(&mut self.dots, c, at, seam, before, next)
                    && self.kinds.has(PlaceKind::Ellipsis)
                {
                    self.add(Waiting::Form(Form::Ellipsis, at, bit));
                }
                self.pause = None;
            }
            '"' | '“' | '”' => {
                self.quote_mark(c, at, before, next);
                self.pause = None;
            }
            _ => {
                if let Some((at, bit)) = Pause::read(&mut self.pause, c, at, seam, before, next)
                    && self.kinds.has(PlaceKind::Dash)
                {
                    self.add(Waiting::Form(Form::Dash, at, bit));
                }
            }
        }
    }

    fn quote_mark(&mut self, c: char, at: Range<u64>, before: Option<char>, next: Option<char>) {
        if !self.kinds.has(PlaceKind::Quotes) {
            return;
        }
        let curly = c != '"';
        match (Side::of(c, before, next), &mut self.quote) {
            (Side::Unclear, _) => self.unquote(),
            (Side::Opening, None) => {
                self.quote = Some(Quote { curly, depth: 1, nested: false, words: 0 });
                self.add(Waiting::Quotes { open: at, close: None, bit: curly });
            }
            (Side::Opening, Some(quote)) => {
                (quote.depth, quote.nested) = (quote.depth + 1, true);
                self.drop_open();
            }
            (Side::Closing, None) => {}
            (Side::Closing, Some(quote)) => {
                quote.depth -= 1;
                if quote.depth > 0 {
                    return;
                }
                if quote.nested || quote.curly != curly {
                    return self.unquote();
                }
                self.quote = None;
                for pending in &mut self.pending {
                    if let Waiting::Quotes { close: close @ None, .. } = &mut pending.what {
                        *close = Some(at.clone());
                    }
                }
            }
        }
    }

    /// What is open is no pair.
    fn unquote(&mut self) {
        self.quote = None;
        self.drop_open();
    }

    fn drop_open(&mut self) {
        self.pending.retain(|pending| !pending.is_unpaired());
    }

    /// A place behind the last word.
    fn add(&mut self, what: Waiting) {
        if self.clear == 2 && self.pending.len() < MAX_PENDING {
            self.pending.push(Pending::new(what, &self.left));
        }
    }

    fn opaque(&mut self, found: &mut Vec<Found>) {
        self.approach(found);
        self.cut(found);
        self.unquote();
        self.edge = true;
    }

    fn variant(&mut self, name: u64, found: &mut Vec<Found>) {
        let glued = self.approach(found);
        let clear = self.clear == 2 && !glued && self.pending.len() < MAX_PENDING;
        self.cut(found);
        if clear {
            self.pending.push(Pending::new(Waiting::Variant(name), &self.left));
        } else {
            found.push(Found::Variant { name, context: None });
        }
        self.edge = true;
    }

    /// Something comes of which no more is known than that it may be a word. True: it may be part of the last one.
    fn approach(&mut self, found: &mut Vec<Found>) -> bool {
        self.flush(Some(LETTER), found);
        let glued = !self.raw.is_empty() || self.edge;
        self.raw.clear();
        self.apostrophes.clear();
        self.seam = false;
        (self.before, self.dots, self.pause) = (Some(LETTER), None, None);
        glued
    }

    /// The words up to here are not those of what follows.
    fn cut(&mut self, found: &mut Vec<Found>) {
        self.clear = 0;
        self.pending.retain(|pending| {
            if let (Waiting::Variant(name), 1..) = (&pending.what, pending.missing) {
                found.push(Found::Variant { name: *name, context: None });
            }
            pending.missing == 0
        });
    }

    /// Gives the places that are complete.
    fn release(&mut self, found: &mut Vec<Found>) {
        let ready = self.pending.extract_if(.., |pending| pending.is_ready());
        found.extend(ready.filter_map(Pending::into_found));
    }
}

/// Not a digit: `5'10` is a length.
fn is_letter(c: char) -> bool {
    is_word_char(c) && !c.is_numeric() && c != '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A piece of a test: text, or a mark of what stands between.
    #[derive(Clone, Copy)]
    enum Part<'t> {
        Text(&'t str),
        Inline,
        Break,
        Opaque,
        Variant,
        Quiet,
        All,
    }

    fn scan(kinds: FormKinds, parts: &[Part<'_>]) -> Vec<Found> {
        let (mut scan, mut found, mut base) = (FormScan::new(kinds), Vec::new(), 0u64);
        for part in parts {
            match *part {
                Part::Text(text) => {
                    let from = base;
                    scan.push(Piece::Text(text, &|at| from + at as u64), &mut found);
                    base += text.len() as u64;
                }
                Part::Inline => scan.push(Piece::Inline, &mut found),
                Part::Break => scan.push(Piece::Break, &mut found),
                Part::Opaque => scan.push(Piece::Opaque, &mut found),
                Part::Variant => scan.push(Piece::Variant(base), &mut found),
                Part::Quiet => scan.look_for(FormKinds::NONE),
                Part::All => scan.look_for(kinds),
            }
            let holds: Vec<u64> = scan.holds().collect();
            assert!(holds.iter().all(|at| *at <= base), "{holds:?}");
        }
        scan.end(&mut found);
        assert_eq!(scan.holds().count(), 0, "nothing is waited for behind the end");
        found
    }

    /// Kind, bit and context of each place: `a0 it wont publish the`.
    fn shown(parts: &[Part<'_>]) -> Vec<String> {
        let show = |found: Found| match found {
            Found::Form { form, bit, context, .. } => {
                let context = String::from_utf8(context).unwrap().replace('\u{1F}', " ");
                format!("{}{} {context}", char::from(form.kind().byte()), u8::from(bit))
            }
            Found::Variant { context, .. } => {
                let context = context.map(|context| String::from_utf8(context).unwrap().replace('\u{1F}', " "));
                format!("v {}", context.as_deref().unwrap_or("-"))
            }
        };
        scan(FormKinds::ALL, parts).into_iter().map(show).collect()
    }

    #[test]
    fn places_of_a_text() {
        #[rustfmt::skip]
        let table: &[(&str, &[&str])] = &[
            ("Members said that it won’t publish the report", &["a1 it wont publish the"]),
            ("Members said that it won't publish the report", &["a0 it wont publish the"]),
            ("We shouldn't've come", &["a0 we shouldntve come ", "a0 we shouldntve come "]),
            // No letter on both sides.
            ("'tis rock 'n' roll of the '60s, the readers' choice: 5'10 and 3'x", &[]),
            ("O`Brien and Oʼhara", &[]),
            ("He said: “No such thing” and left", &["q1 he said no such"]),
            ("He said: \"No such thing\" and left", &["q0 he said no such"]),
            ("He said (\"no such thing\"), \"or some.\" And", &["q0 he said no such", "q0 such thing or some"]),
            ("\"One word\" he said", &["q0   one word"]),
            ("said \"yes\"", &["q0  said yes "]),
            ("\"yes\"", &[]),
            // Inches, nested, without a partner, of two makes, of another language.
            ("He is 5'10\" tall and said \"no such thing\"", &["q0 and said no such"]),
            ("It is \"a 19\" rack\" and \"no such thing\"", &["q0 rack and no such"]),
            ("\"She said \"no\" to him\" and left", &[]),
            ("He said \"no such thing and left", &[]),
            ("He said \"no such thing” and left", &[]),
            ("Er sagt „ja doch“ und geht", &[]),
            ("He said ”no such thing“ and left", &[]),
            ("two\"words\" and a \" b", &[]),
            ("Wait... what is it", &["e0  wait what is"]),
            ("Wait… what is it", &["e1  wait what is"]),
            ("and then she waited...", &["e0 she waited  "]),
            ("a.. b.... c …. d ...… e ……", &[]),
            ("The plan—so far—holds", &["d0 the plan so far", "d0 so far holds "]),
            ("The plan – so far – holds", &["d1 the plan so far", "d1 so far holds "]),
            ("The plan \n –\t so far", &["d1 the plan so far"]),
            ("The plan -- so far — and—, 1939–45, 1939 – 1945, 10—20, the – (so), a, – b", &[]),
            ("(word, – and) – then", &[]),
        ];
        for (text, expect) in table {
            assert_eq!(shown(&[Part::Text(text)]), *expect, "{text}");
        }
    }

    #[test]
    fn tags_end_no_word_and_no_place_stands_across_one() {
        use Part::{Break, Inline, Opaque, Text};
        #[rustfmt::skip]
        let table: &[(&[Part<'_>], &[&str])] = &[
            (&[Text("it "), Inline, Text("won"), Inline, Text("’t"), Inline, Text(" publish the")], &["a1 it wont publish the"]),
            (&[Text("it won’"), Break, Text("t publish the")], &[]),
            (&[Text("it won"), Break, Text("’t publish the")], &[]),
            (&[Text("he said"), Break, Text("\"no such thing\""), Break, Text("and")], &["q0 he said no such"]),
            (&[Text("he said "), Inline, Text("\"no"), Inline, Text(" such thing"), Inline, Text("\" and left")], &["q0 he said no such"]),
            (&[Text("wait a.."), Inline, Text(". bit more")], &[]),
            (&[Text("wait a"), Inline, Text("..."), Inline, Text(" bit more")], &["e0 wait a bit more"]),
            (&[Text("the plan"), Inline, Text("—"), Inline, Text("so far")], &["d0 the plan so far"]),
            (&[Text("the plan "), Inline, Text("– so far")], &[]),
            (&[Text("the plan –"), Inline, Text(" so far")], &[]),
            (&[Text("the plan"), Inline, Text(" – "), Inline, Text("so far")], &["d1 the plan so far"]),
            (&[Text("the plan –"), Break, Text("so far")], &[]),
            // Unknown text, and what it may be a part of.
            (&[Text("it won’t "), Opaque, Text(" publish the")], &[]),
            (&[Opaque, Text(" it won’t publish the")], &["a1 it wont publish the"]),
            (&[Opaque, Text("s it won’t publish the")], &["a1 it wont publish the"]),
            (&[Opaque, Text(" won’t publish the")], &[]),
            (&[Text("as it won’t publish the "), Opaque], &["a1 it wont publish the"]),
            (&[Text("as it won’t publish the"), Opaque], &[]),
            (&[Text("as it won’t publish th\u{FFFD}")], &[]),
            (&[Text("he said \"no "), Opaque, Text(" such thing\" and left")], &[]),
        ];
        for (parts, expect) in table {
            assert_eq!(shown(parts), *expect, "{parts:?}", parts = texts(parts));
        }
    }

    fn texts(parts: &[Part<'_>]) -> String {
        parts.iter().map(|part| if let Part::Text(text) = *part { text } else { "|" }).collect()
    }

    #[test]
    fn alternatives_have_a_context_of_words_that_are_certain() {
        use Part::{Break, Inline, Text, Variant};
        #[rustfmt::skip]
        let table: &[(&[Part<'_>], &[&str])] = &[
            (&[Text("she came "), Variant, Text(" it rained.")], &["v she came it rained"]),
            (&[Variant, Text(" it rained.")], &["v   it rained"]),
            (&[Text("came "), Variant, Text(" it")], &["v  came it "]),
            (&[Variant, Text(" it.")], &["v -"]),
            (&[Text("she came"), Break, Variant, Break, Text("it rained")], &["v she came it rained"]),
            // A part of a word.
            (&[Text("she came"), Variant, Text(" it rained")], &["v -"]),
            (&[Text("she came l’"), Variant, Text(" it rained")], &["v -"]),
            (&[Text("the black "), Variant, Text("s of them")], &["v -"]),
            (&[Text("the black "), Variant, Text("’s fur of them")], &["v -"]),
            (&[Text("the black "), Variant, Inline, Text("s of them")], &["v -"]),
            (&[Text("the "), Inline, Text("black"), Inline, Variant, Text(" of them")], &["v -"]),
            // Two that are near.
            (&[Text("one two "), Variant, Text(" three "), Variant, Text(" four five")], &["v -", "v -"]),
            (&[Text("one two "), Variant, Variant, Text(" four five")], &["v -", "v -"]),
            (&[Text("one two "), Variant, Text(" three four "), Variant, Text(" five six")], &["v one two three four", "v three four five six"]),
            // Spellings keep away, and a quotation goes on.
            (&[Text("it won’t "), Variant, Text(" the man’s hat")], &["a1 the mans hat ", "v it wont the mans"]),
            (&[Text("he said \"no such "), Variant, Text(" thing of it\" and")], &["q0 he said no such", "v no such thing of"]),
        ];
        for (parts, expect) in table {
            let mut got = shown(parts);
            got.sort();
            assert_eq!(got, *expect, "{parts:?}", parts = texts(parts));
        }
    }

    #[test]
    fn where_nothing_is_looked_for_words_go_on() {
        use Part::{All, Inline, Quiet, Text};
        let parts =
            [Text("it won’t "), Quiet, Inline, Text("can’t don’t \"so "), All, Inline, Text("he won’t\" go on")];
        assert_eq!(shown(&parts), ["a1 it wont cant dont", "a1 he wont go on"]);
        let only = FormKinds::of("a");
        assert_eq!(scan(only, &[Text("“it won’t” – so... he—said")]).len(), 1);
    }

    #[test]
    fn seals_stand_beside_nothing() {
        let seal = "\u{FE06}\u{FE0D}".repeat(13);
        let text = format!("and he said \"no such thing\"{seal}");
        assert_eq!(shown(&[Part::Text(&text)]), ["q0 he said no such"]);
        let text = format!("and then she waited...{seal}");
        assert_eq!(shown(&[Part::Text(&text)]), ["e0 she waited  "]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let hostile = [
            "… ".repeat(100_000),
            "\"a ".repeat(100_000),
            "don't".repeat(100_000),
            "’".repeat(100_000),
            "a–b — ".repeat(50_000),
            "it said (\" ".repeat(50_000),
        ];
        for text in &hostile {
            let (mut scan, mut found) = (FormScan::new(FormKinds::ALL), Vec::new());
            scan.push(Piece::Text(text, &|at| at as u64), &mut found);
            assert!(scan.pending.len() <= MAX_PENDING && scan.raw.len() <= MAX_WORD + 4, "{text:.4}");
            scan.end(&mut found);
        }
        let long = format!("\"no {}such thing\" and", "word ".repeat(MAX_QUOTED as usize));
        assert!(shown(&[Part::Text(&long)]).is_empty(), "its opening cannot be held for so long");
    }

    /// The same text with each place in the spelling that `bits` says.
    fn respelled(text: &str, bits: &[bool]) -> String {
        let characters = |form: Form, bit: bool| match (form, bit) {
            (Form::Apostrophe, false) => "'",
            (Form::Apostrophe, true) => "’",
            (Form::QuoteOpen | Form::QuoteClose, false) => "\"",
            (Form::QuoteOpen, true) => "“",
            (Form::QuoteClose, true) => "”",
            (Form::Ellipsis, false) => "...",
            (Form::Ellipsis, true) => "…",
            (Form::Dash, false) => "—",
            (Form::Dash, true) => " – ",
        };
        let mut edits = Vec::new();
        for (found, bit) in scan(FormKinds::ALL, &[Part::Text(text)]).into_iter().zip(bits.iter().cycle()) {
            if let Found::Form { form, at, close, .. } = found {
                edits.push((at, characters(form, *bit)));
                edits.extend(close.map(|close| (close, characters(Form::QuoteClose, *bit))));
            }
        }
        edits.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
        let mut out = text.to_owned();
        for (at, spelling) in edits {
            out.replace_range(at.start as usize..at.end as usize, spelling);
        }
        out
    }

    fn without_places(found: Vec<Found>) -> Vec<(Form, Vec<u8>)> {
        let of = |found| match found {
            Found::Form { form, context, .. } => Some((form, context)),
            Found::Variant { .. } => None,
        };
        found.into_iter().filter_map(of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// Whatever is spelled how: the same places, with the same words around them, and the bits that were written.
        #[test]
        fn spellings_change_no_place(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "word", "don't", "can’t", "5", "10", " ", " ", "\n", "\"", "“", "”", "'", "’", "...", "…", ".", "—", " – ", "–",
                    "-", ",", "(", ")", "é", "e\u{301}", "\u{AD}", "中", "_", "\u{A0}", "\u{FE06}", "\u{FFFD}", "?",
                ]),
                0..60,
            ),
            bits in proptest::collection::vec(any::<bool>(), 1..8),
        ) {
            let text = parts.concat();
            let before = scan(FormKinds::ALL, &[Part::Text(&text)]);
            let written = respelled(&text, &bits);
            let after = scan(FormKinds::ALL, &[Part::Text(&written)]);
            let read: Vec<bool> = after.iter().filter_map(|found| match found {
                Found::Form { bit, .. } => Some(*bit),
                Found::Variant { .. } => None,
            }).collect();
            let expect: Vec<bool> = bits.iter().cycle().copied().take(read.len()).collect();
            prop_assert_eq!(without_places(before), without_places(after), "{:?} {:?}", text, written);
            prop_assert_eq!(read, expect);
        }

        /// Text may come in any pieces.
        #[test]
        fn cuts_change_nothing(
            text in "[a-z'’\"“”.…—– \n(),é0-9]{0,80}",
            cuts in proptest::collection::vec(0usize..80, 0..10),
        ) {
            let whole = scan(FormKinds::ALL, &[Part::Text(&text)]);
            let mut at = 0;
            let mut parts = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
            cuts.sort_unstable();
            for cut in cuts {
                parts.push(Part::Text(&text[at..cut.min(text.len())]));
                at = cut.min(text.len());
            }
            parts.push(Part::Text(&text[at..]));
            prop_assert_eq!(scan(FormKinds::ALL, &parts), whole);
        }
    }
}
