//! Chooses the alternatives of a page for one visitor.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::code::{Keys, Mark, Row, WHITE_WORDS, symbol_char};
use super::{Scope, SealMarkup, Settings};
use crate::secret::Secrets;
use crate::slot::{Choose, Class, Form, GapRow, PlaceHash, PlaceKind};

/// Marks copies under the active secret.
#[derive(Debug, Clone)]
pub struct Marker {
    keys: Arc<Keys>,
    scope: Scope,
    markup: SealMarkup,
}

/// Who gets a copy, of what.
#[derive(Debug, Clone, Copy)]
pub struct MarkSubject<'s> {
    /// What tells visitors apart.
    pub visitor: &'s [u8],
    /// UTC days since 1970.
    pub unix_day: u32,
    /// The id of the request, as it is logged.
    pub request_id: &'s [u8],
    /// The path of the page.
    pub path: &'s str,
}

/// What may be used to mark a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels {
    /// Seals at the end of paragraphs.
    pub seal: bool,
    /// White space between words.
    pub white: bool,
    /// Characters that are spelled in two ways.
    pub forms: bool,
    /// Alternatives of the author; without it the first one stands in each copy.
    pub variants: bool,
    /// Tags.
    pub tokens: bool,
}

impl Marker {
    /// A marker.
    pub fn new(secrets: &Secrets, settings: &Settings) -> Self {
        Self { keys: Arc::new(Keys::new(secrets.active())), scope: settings.scope, markup: settings.seal_markup }
    }

    /// Which secret it marks with.
    pub fn kid(&self) -> u8 {
        self.keys.kid()
    }

    /// The mark of a copy: which copies share one is the scope's business.
    pub fn mark_for(&self, who: &MarkSubject<'_>) -> Mark {
        match self.scope {
            Scope::Visit => self.keys.visit_mark(who.visitor, who.unix_day),
            Scope::Response => self.keys.response_mark(who.request_id),
            Scope::Bucket(n) => self.keys.bucket_mark(n, who.visitor, who.path.as_bytes()),
        }
    }

    /// The choices of a mark.
    pub fn choices(&self, mark: Mark, channels: Channels, form: SealForm) -> Choices {
        Choices {
            keys: Arc::clone(&self.keys),
            mark: mark.id,
            channels,
            form,
            markup: self.markup,
            seal: None,
            token: None,
            white: None,
            forms: None,
            variants: None,
        }
    }
}

/// The element of a seal, in memory of its length.
fn seal(symbols: &[u8], form: SealForm, markup: SealMarkup) -> Bytes {
    let start = match markup {
        SealMarkup::Inert => "<span inert=\"\">",
        // Extractors take out what is `true` in lower case; browsers do not mind the case.
        SealMarkup::InertAria => "<span inert=\"\" aria-hidden=\"TRUE\">",
    };
    let end = "</span>";
    let width = if form == SealForm::Characters { 3 } else { "&#xFE06;".len() };
    let mut element = String::with_capacity(start.len() + symbols.len() * width + end.len());
    element.push_str(start);
    for symbol in symbols.iter().map(|symbol| symbol_char(*symbol)) {
        match form {
            SealForm::Characters => element.push(symbol),
            // Writing to a text cannot fail.
            SealForm::References => _ = write!(element, "&#x{:X};", u32::from(symbol)),
        }
    }
    element.push_str(end);
    Bytes::from(element)
}

/// Reads the marks that tags of other copies have brought along, under every secret.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    keys: Vec<Keys>,
}

impl Incoming {
    /// Under these secrets, retired ones included.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(Keys::new).collect() }
    }

    /// The mark of a token; `None`: it is none of ours.
    pub fn read(&self, token: &str) -> Option<Mark> {
        self.keys.iter().find_map(|keys| keys.untoken(token.as_bytes()))
    }
}

/// How the symbols of a seal, and spellings, are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealForm {
    /// As they are: for pages proven to be UTF-8.
    Characters,
    /// As numeric references: right in every charset.
    References,
}

/// The choices of one mark; its seal, and the row of a class, are made when their first place is met.
#[derive(Debug)]
pub struct Choices {
    keys: Arc<Keys>,
    mark: u64,
    channels: Channels,
    form: SealForm,
    markup: SealMarkup,
    seal: Option<Bytes>,
    /// The mark in letters, once it was asked for.
    token: Option<Bytes>,
    white: Option<Box<Row>>,
    forms: Option<Box<Row>>,
    variants: Option<Box<Row>>,
}

impl Choices {
    fn bit(&mut self, class: Class, column: u16) -> bool {
        let (keys, mark) = (&self.keys, self.mark);
        let row = match class {
            Class::White => &mut self.white,
            Class::Typographic => &mut self.forms,
            Class::Variant => &mut self.variants,
        };
        row.get_or_insert_with(|| Box::new(keys.row(class, mark))).bit(usize::from(column))
    }
}

impl Choose for Choices {
    fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
        Some(self.keys.hash(kind, context))
    }

    fn gap(&mut self, column: u16) -> Option<u8> {
        self.channels.white.then(|| if self.bit(Class::White, column) { b'\n' } else { b' ' })
    }

    fn gaps(&mut self) -> Option<GapRow> {
        self.channels.white.then(|| {
            let mut bits = [0; WHITE_WORDS];
            self.keys.white_row(self.mark, &mut bits);
            GapRow::new(bits)
        })
    }

    fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
        self.channels.forms.then(|| {
            let bit = self.bit(Class::Typographic, column);
            match self.form {
                SealForm::Characters => form.characters(bit),
                SealForm::References => form.references(bit),
            }
        })
    }

    fn variant(&mut self, column: u16) -> usize {
        usize::from(self.channels.variants && self.bit(Class::Variant, column))
    }

    fn seal(&mut self) -> Option<Bytes> {
        if self.seal.is_none() && self.channels.seal {
            self.seal = Some(seal(&self.keys.seal(self.mark), self.form, self.markup));
        }
        self.seal.clone()
    }

    fn token(&mut self) -> Option<Bytes> {
        if self.token.is_none() && self.channels.tokens {
            self.token = Some(Bytes::copy_from_slice(&self.keys.token(self.mark)));
        }
        self.token.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::SEAL_SYMBOLS;
    use super::*;
    use crate::secret::Secret;
    use crate::slot::{SEPARATOR, Words, fold};

    const ALL: Channels = Channels { seal: true, white: true, forms: true, variants: true, tokens: true };
    const READER: MarkSubject<'static> =
        MarkSubject { visitor: b"203.0.113.7", unix_day: 20_600, request_id: b"7", path: "/a" };

    fn secrets() -> Secrets {
        Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap())
    }

    fn marker() -> Marker {
        Marker::new(&secrets(), &Settings::default())
    }

    fn choices_of(mark: u64) -> Choices {
        marker().choices(Mark { kid: 1, id: mark }, ALL, SealForm::Characters)
    }

    /// The columns of the gaps of a text, and what is chosen there.
    fn choose(text: &str, choices: &mut Choices) -> (Vec<u16>, String) {
        let fold_word = |word: &std::ops::Range<usize>| {
            let mut out = Vec::new();
            fold(&text[word.clone()], &mut out);
            out
        };
        let words: Vec<_> = Words::new(text).map(|word| word.start..word.end).collect();
        let words: Vec<_> = words.iter().map(|word| (word, fold_word(word))).filter(|(_, f)| !f.is_empty()).collect();
        let mut found = Vec::new();
        for window in words.windows(4) {
            let gap = &text[window[1].0.end..window[2].0.start];
            if !gap.is_empty() && gap.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'\x0C')) {
                let context: Vec<&[u8]> = window.iter().map(|(_, folded)| folded.as_slice()).collect();
                let column = choices.hash(PlaceKind::Space, &context.join(&SEPARATOR)).unwrap().column(Class::White);
                found.push((column, if choices.gap(column) == Some(b'\n') { '1' } else { '0' }));
            }
        }
        found.into_iter().unzip()
    }

    /// `scripts/watermark_vectors` has made them, which shares no code with this.
    #[test]
    fn two_thousand_sentences_get_the_columns_and_bits_of_an_implementation_apart() {
        #[derive(serde::Deserialize)]
        struct Vectors {
            secret: String,
            kid: u8,
            sentences: Vec<[String; 4]>,
        }
        let text = include_str!("../../tests/vectors/watermark.json");
        let Vectors { secret, kid, sentences } = serde_json::from_str(text).unwrap();
        let secrets = Secrets::parse(&format!("{kid} {secret}")).unwrap();
        let marker = Marker::new(&secrets, &Settings::default());
        let mut gaps = 0;
        for [text, mark, columns, bits] in &sentences {
            let mark = Mark { kid, id: u64::from_str_radix(mark, 16).unwrap() };
            let got = choose(text, &mut marker.choices(mark, ALL, SealForm::Characters));
            let hex: String = got.0.iter().map(|column| format!("{column:03x}")).collect();
            assert_eq!((&hex, &got.1), (columns, bits), "{text:?} {mark}");
            gaps += got.0.len();
        }
        assert_eq!((sentences.len(), gaps), (2_000, 9_127));
    }

    #[test]
    fn the_sentence_of_the_reference_gets_its_bits() {
        let text = "The committee said on Monday that it won’t publish the full report before the end of June, because \
            members can’t agree on the wording of three chapters.";
        let choose = |mark: u64| choose(text, &mut choices_of(mark));
        let (columns, bits) = choose(0x0123_4567_89ab);
        assert_eq!(bits, "00110010011000100000001");
        assert_eq!(
            columns,
            [
                350, 3404, 1227, 3895, 1574, 1945, 3137, 3295, 62, 669, 919, 1136, 2238, 50, 2359, 3838, 1238, 1282,
                927, 788, 1256, 3816, 4093
            ]
        );
        assert_eq!(choose(0x0123_4567_89ac), (columns, "10110010001001011010101".to_owned()));
    }

    #[test]
    fn a_seal_is_an_inert_span_in_either_form() {
        let marker = marker();
        let mark = marker.mark_for(&READER);
        let seal = |marker: &Marker, form| marker.choices(mark, ALL, form).seal().unwrap();
        let raw = seal(&marker, SealForm::Characters);
        let text = std::str::from_utf8(&raw).unwrap();
        assert!(text.starts_with("<span inert=\"\">\u{FE07}") && text.ends_with("</span>"), "{text:?}");
        assert_eq!(text.len(), 22 + 3 * SEAL_SYMBOLS);
        let ascii = seal(&marker, SealForm::References);
        assert!(ascii.is_ascii() && ascii.starts_with(b"<span inert=\"\">&#xFE07;"));
        let hidden = Marker::new(&secrets(), &Settings { seal_markup: SealMarkup::InertAria, ..Settings::default() });
        let tag = "<span inert=\"\" aria-hidden=\"TRUE\">";
        assert_eq!(
            seal(&hidden, SealForm::Characters),
            text.replace("<span inert=\"\">", tag),
            "and nothing else is different"
        );
    }

    #[test]
    fn a_channel_that_is_off_leaves_the_source() {
        let mark = Mark { kid: 1, id: 0x0123_4567_89ab };
        let mut off = marker().choices(mark, Channels::default(), SealForm::Characters);
        let hash = off.hash(PlaceKind::Space, b"the\x1Fcommittee\x1Fsaid\x1Fon");
        assert_eq!(hash, Some(PlaceHash(0x76dc_3450_631f_e15e)), "a place is a place, whatever is done there");
        assert_eq!((off.gap(350), off.form(Form::Apostrophe, 231), off.seal(), off.token()), (None, None, None, None));
        let mut on = marker().choices(mark, ALL, SealForm::Characters);
        assert_eq!((on.gap(350), on.form(Form::Apostrophe, 231)), (Some(b' '), Some("'")));
        assert_eq!(on.token().unwrap(), "easgrlhrgvt2q5s");
        // The first bits of the rows of the reference.
        let bits = |choices: &mut Choices| [0, 1, 2, 6].map(|column| choices.variant(column));
        assert_eq!((bits(&mut on), bits(&mut off)), ([1, 0, 1, 0], [0; 4]));
        let quotes = [8, 9].map(|column| on.form(Form::QuoteClose, column));
        assert_eq!(quotes, [Some("\u{201D}"), Some("\"")]);
        let mut ascii = marker().choices(mark, ALL, SealForm::References);
        let quotes = [8, 9].map(|column| ascii.form(Form::QuoteClose, column));
        assert_eq!(quotes, [Some("&#8221;"), Some("&#0034;")]);
    }

    #[test]
    fn tokens_of_every_secret_are_read_and_others_are_not() {
        let lines = format!("2 {}\n1 {} retired=2026-01-01T00:00:00Z", "11".repeat(31) + "22", {
            (0..32).map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        let incoming = Incoming::new(&Secrets::parse(&lines).unwrap());
        assert_eq!(incoming.read("easgrlhrgvt2q5s"), Some(Mark { kid: 1, id: 0x0123_4567_89ab }), "retired");
        let active = Marker::new(&Secrets::parse(&lines).unwrap(), &Settings::default());
        let token = active.choices(Mark { kid: 2, id: 7 }, ALL, SealForm::Characters).token().unwrap();
        assert_eq!(incoming.read(std::str::from_utf8(&token).unwrap()), Some(Mark { kid: 2, id: 7 }));
        for other in ["", "easgrlhrgvt2q5t", "EASGRLHRGVT2Q5S", "aasgrlhrgv4ndyr", "1"] {
            assert_eq!(incoming.read(other), None, "{other}");
        }
        assert_eq!(Incoming::default().read("easgrlhrgvt2q5s"), None);
    }

    #[test]
    fn the_scope_says_which_copies_share_a_mark() {
        let of = |scope, who: MarkSubject<'_>| {
            Marker::new(&secrets(), &Settings { scope, ..Settings::default() }).mark_for(&who).to_string()
        };
        let tomorrow = MarkSubject { unix_day: 20_601, ..READER };
        let reload = MarkSubject { request_id: b"8", ..READER };
        let next = MarkSubject { path: "/b", ..READER };
        let other = MarkSubject { visitor: b"198.51.100.9", ..READER };
        for (scope, mark, changes) in [
            (Scope::Visit, "k1-0a7637d9891c", [true, false, false, true]),
            (Scope::Bucket(64), "k1-b9f6ea15abed", [false, false, true, true]),
        ] {
            assert_eq!(of(scope, READER), mark);
            assert_eq!([tomorrow, reload, next, other].map(|who| of(scope, who) != mark), changes, "{scope}");
        }
        let response = of(Scope::Response, READER);
        let changes = [tomorrow, reload, next, other].map(|who| of(Scope::Response, who) != response);
        assert_eq!(changes, [false, true, false, false]);
    }
}
