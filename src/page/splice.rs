//! What an edit puts into one copy, and a page that is read for what it shows alone.

use std::sync::Arc;

use super::learn::Finding;
use super::marks::MarkRules;
use super::replace::Replacer;
use super::rewrite::{Inserted, Job, Outcome, Rewriter};
use crate::slot::{Choose, Form, PlaceHash, PlaceKind, Slot, Unmarked, What};

/// A place that has a bit in the row of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) kind: PlaceKind,
    pub(super) hash: PlaceHash,
}

impl Placed {
    pub(super) fn column(self) -> u16 {
        self.hash.column(self.kind.class())
    }
}

/// What a page shows that is here as a whole; `None` when it cannot be read to its end.
pub(super) fn survey(page: &[u8], rules: &MarkRules) -> Option<Finding> {
    let charset = super::charset::decide(None, page, encoding_rs::WINDOWS_1252);
    let job = Job {
        charset,
        insert: Arc::new(|_| Inserted::default()),
        policies: None,
        exempt: Arc::new([]),
        replacer: Replacer::default(),
        no_slots: Some("learning"),
        body_is_root: false,
        learn: true,
        max_memory: 2 << 20,
        window: 64 << 10,
        esi: false,
        max_page: 0,
        foot: false,
        marks: MarkRules { note: false, ..rules.clone() },
        language: None,
    };
    let mut rewriter = Rewriter::new(job);
    let mut out = Vec::new();
    rewriter.push(page, &mut Unmarked, &mut out);
    rewriter.finish(&mut Unmarked, &mut out);
    rewriter.outcome().finding
}

/// May a page shut the channel of this edit out?
pub(super) fn is_gated(what: &What) -> bool {
    matches!(what, What::Choice(Slot::Gap { .. } | Slot::Trim | Slot::Seal))
}

/// Writes what stands in this copy in the place of `source`; in a channel that is shut out that is the source. The answer
/// tells where the bit of the place is, if it has one, whether it was used or not.
pub(super) fn apply(
    what: &What,
    source: &[u8],
    choose: &mut dyn Choose,
    out: &mut Vec<u8>,
    outcome: &mut Outcome,
) -> Option<Placed> {
    let (carriers, off) = (&mut outcome.carriers, outcome.off);
    match what {
        What::Fixed(bytes) => out.extend_from_slice(bytes),
        What::Choice(Slot::Gap { context }) => {
            let placed = placed(choose, PlaceKind::Space, context);
            match placed.filter(|_| off.white.is_none()).and_then(|placed| choose.gap(placed.column())) {
                Some(byte) => {
                    out.push(byte);
                    carriers.white += 1;
                }
                None => out.extend_from_slice(source),
            }
            return placed;
        }
        // The white space goes only where the seal comes.
        What::Choice(Slot::Trim) => {
            if off.seal.is_some() || choose.seal().is_none() {
                out.extend_from_slice(source);
            }
        }
        What::Choice(Slot::Seal) => {
            if let Some(seal) = choose.seal().filter(|_| off.seal.is_none()) {
                out.extend_from_slice(&seal);
                carriers.seals += 1;
            }
        }
        What::Choice(Slot::Form { form, kind, context }) => {
            let placed = placed(choose, *kind, context);
            match placed.and_then(|placed| choose.form(*form, placed.column())) {
                Some(written) => {
                    out.extend_from_slice(written.as_bytes());
                    carriers.forms += places(*form);
                }
                None => out.extend_from_slice(source),
            }
            return placed;
        }
        What::Choice(Slot::Variant { context, alternatives }) => {
            let context = context.as_ref();
            let placed = context.and_then(|context| placed(choose, PlaceKind::Variant, context));
            let [first, second] = &**alternatives;
            let chosen = if placed.is_some_and(|placed| choose.variant(placed.column()) > 0) { second } else { first };
            out.extend_from_slice(chosen);
            carriers.variants += u32::from(placed.is_some());
            return placed;
        }
        What::Choice(Slot::Token(token)) => {
            if let Some(letters) = choose.token() {
                let (before, after) = token.frame();
                for part in [before.as_bytes(), &letters, after.as_bytes()] {
                    out.extend_from_slice(part);
                }
                carriers.tokens += 1;
            }
        }
        What::Choice(Slot::Fill(fill)) => out.extend_from_slice(&choose.fill(*fill).unwrap_or_default()),
    }
    None
}

fn placed(choose: &dyn Choose, kind: PlaceKind, context: &[u8]) -> Option<Placed> {
    choose.hash(kind, context).map(|hash| Placed { kind, hash })
}

/// The two of a pair of quotes are one place.
pub(super) fn places(form: Form) -> u32 {
    u32::from(form != Form::QuoteClose)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::page::marks::Gate;
    use crate::slot::{Carriers, Class, Fill, Token};

    /// Chooses by the column; without a key it marks nothing.
    struct Chooser {
        key: bool,
        on: bool,
    }

    impl Choose for Chooser {
        fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
            self.key.then(|| PlaceHash(u64::from(kind.byte()) * 1_000 + context.len() as u64))
        }
        fn gap(&mut self, column: u16) -> Option<u8> {
            self.on.then_some(if column == 319 { b'\n' } else { b' ' })
        }
        fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
            self.on.then(|| form.references(column.is_multiple_of(2)))
        }
        fn variant(&mut self, _: u16) -> usize {
            usize::from(self.on)
        }
        fn seal(&mut self) -> Option<Bytes> {
            self.on.then(|| Bytes::from_static(b"<seal/>"))
        }
        fn token(&mut self) -> Option<Bytes> {
            self.on.then(|| Bytes::from_static(b"abcdefghijklmno"))
        }
        fn fill(&mut self, _: Fill) -> Option<Bytes> {
            Some(Bytes::from_static(b"<fill/>"))
        }
    }

    /// What stands in the copy for `source`, the column, and what was counted.
    fn copy(slot: Slot, source: &str, key: bool, on: bool) -> (String, Option<u16>, Carriers) {
        copy_with(Gate::default(), slot, source, Chooser { key, on })
    }

    fn copy_with(off: Gate, slot: Slot, source: &str, mut chooser: Chooser) -> (String, Option<u16>, Carriers) {
        let (mut out, mut outcome) = (Vec::new(), Outcome { off, ..Outcome::default() });
        let what = What::Choice(slot);
        let placed = apply(&what, source.as_bytes(), &mut chooser, &mut out, &mut outcome);
        (String::from_utf8(out).unwrap(), placed.map(Placed::column), outcome.carriers)
    }

    #[test]
    fn a_channel_that_the_page_shuts_out_leaves_the_source_and_the_place() {
        let gap = Slot::Gap { context: Bytes::from_static(b"a\x1Fb\x1Fc\x1Fd") };
        let none = Carriers::default();
        let (white, seal) = (Some("w:css_unknown"), Some("s:css_boxes"));
        for (off, slot, expect, carriers) in [
            (Gate { white, seal: None }, gap.clone(), " \t ", none),
            (Gate { white: None, seal }, gap.clone(), "\n", Carriers { white: 1, ..none }),
            (Gate { white: None, seal }, Slot::Seal, "", none),
            (Gate { white: None, seal }, Slot::Trim, " \t ", none),
            (Gate { white, seal: None }, Slot::Seal, "<seal/>", Carriers { seals: 1, ..none }),
            (Gate { white, seal: None }, Slot::Trim, "", none),
        ] {
            let source = if slot == Slot::Seal { "" } else { " \t " };
            let column = (slot == gap).then_some(319);
            let got = copy_with(off, slot.clone(), source, Chooser { key: true, on: true });
            assert_eq!(got, (expect.to_owned(), column, carriers), "{off:?} {slot:?}");
        }
    }

    #[test]
    fn a_place_is_marked_where_its_channel_is_on_and_else_stays() {
        let context = Bytes::from_static(b"a\x1Fb\x1Fc\x1Fd");
        let alternatives = [Bytes::from_static(b"although"), Bytes::from_static(b"though")];
        let form = |form: Form| Slot::Form { form, kind: form.kind(), context: context.clone() };
        let variant = |context| Slot::Variant { context, alternatives: Box::new(alternatives.clone()) };
        let none = Carriers::default();
        #[rustfmt::skip]
        let table = [
            (Slot::Gap { context: context.clone() }, " \t ", "\n", Some(Class::White), Carriers { white: 1, ..none }),
            (form(Form::Apostrophe), "'", "&#0039;", Some(Class::Typographic), Carriers { forms: 1, ..none }),
            (form(Form::QuoteOpen), "\"", "&#0034;", Some(Class::Typographic), Carriers { forms: 1, ..none }),
            (form(Form::QuoteClose), "&rdquo;", "&#0034;", Some(Class::Typographic), none),
            (variant(Some(context.clone())), "<span …>", "though", Some(Class::Variant), Carriers { variants: 1, ..none }),
            (Slot::Token(Token::Attribute), "", " data-k=\"abcdefghijklmno\"", None, Carriers { tokens: 1, ..none }),
            (Slot::Token(Token::Query), "", "?k=abcdefghijklmno", None, Carriers { tokens: 1, ..none }),
            (Slot::Seal, "", "<seal/>", None, Carriers { seals: 1, ..none }),
            (Slot::Trim, "  ", "", None, none),
        ];
        for (slot, source, expect, class, carriers) in table {
            let (text, column, counted) = copy(slot.clone(), source, true, true);
            assert_eq!((text.as_str(), counted), (expect, carriers), "{slot:?}");
            assert_eq!(column.is_some(), class.is_some(), "{slot:?}");
            assert!(column.zip(class).is_none_or(|(column, class)| usize::from(column) < class.columns()), "{slot:?}");
            let stays = if matches!(slot, Slot::Variant { .. }) { "although" } else { source };
            let (text, _, counted) = copy(slot.clone(), source, false, false);
            assert_eq!((text.as_str(), counted), (stays, none), "{slot:?} without a key");
        }
        // The column is known where white space is off, too.
        assert_eq!(copy(Slot::Gap { context: context.clone() }, " ", true, false), (" ".to_owned(), Some(319), none));
        assert_eq!(copy(variant(None), "<span …>", true, true), ("although".to_owned(), None, none));
        assert_eq!(copy(Slot::Fill(Fill::Foot), "", false, false).0, "<fill/>");
    }
}
