//! Places that wait for the words behind them.

use std::ops::Range;

use super::{Form, Found, SEPARATOR};

/// Of the four words of a context, so many must be there.
const MIN_WORDS: u8 = 2;

/// A place whose context, or whose partner, has not come yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) what: Waiting,
    context: Vec<u8>,
    /// Words of the context that are not empty.
    filled: u8,
    /// Words of the context that have not come.
    pub(super) missing: u8,
}

impl Pending {
    /// A place behind these two words.
    pub(super) fn new(what: Waiting, [older, newer]: &[Vec<u8>; 2]) -> Self {
        let context = [older.as_slice(), newer.as_slice()].join(&SEPARATOR);
        let filled = u8::from(!older.is_empty()) + u8::from(!newer.is_empty());
        Self { what, context, filled, missing: 2 }
    }

    /// One more word.
    pub(super) fn follow(&mut self, word: &[u8]) {
        if self.missing > 0 {
            self.context.push(SEPARATOR);
            self.context.extend_from_slice(word);
            (self.missing, self.filled) = (self.missing - 1, self.filled + u8::from(!word.is_empty()));
        }
    }

    /// No more words come.
    pub(super) fn end(&mut self) {
        while self.missing > 0 {
            self.follow(b"");
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.missing == 0 && !self.is_unpaired()
    }

    /// A quote whose partner has not come.
    pub(super) fn is_unpaired(&self) -> bool {
        matches!(self.what, Waiting::Quotes { close: None, .. })
    }

    /// Where it begins; alternatives are the caller's own business.
    pub(super) fn start(&self) -> Option<u64> {
        match &self.what {
            Waiting::Form(_, at, _) => Some(at.start),
            Waiting::Quotes { open, .. } => Some(open.start),
            Waiting::Variant(_) => None,
        }
    }

    /// What it is, now that all is known; `None`: there are too few words around it.
    pub(super) fn into_found(self) -> Option<Found> {
        let Self { what, context, filled, .. } = self;
        let certain = filled >= MIN_WORDS;
        match what {
            Waiting::Variant(name) => Some(Found::Variant { name, context: certain.then_some(context) }),
            Waiting::Form(form, at, bit) => certain.then_some(Found::Form { form, at, close: None, bit, context }),
            Waiting::Quotes { open, close, bit } => {
                let form = Form::QuoteOpen;
                certain.then_some(Found::Form { form, at: open, close, bit, context })
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Waiting {
    Form(Form, Range<u64>, bool),
    Quotes { open: Range<u64>, close: Option<Range<u64>>, bit: bool },
    Variant(u64),
}
