//! Places beside white space: characters that are spelled in two ways, and alternatives of authors.

use super::observe::Observation;
use super::text::plain;
use crate::slot::{Alternatives, FormKinds, FormScan, Found, Piece, PlaceKind};
use crate::watermark::code::{SEAL_SYMBOLS, char_symbol};

impl Observation {
    /// Adds the apostrophes, quotes, ellipses and dashes of a text. `one_a_paragraph`: its site spells all of a paragraph
    /// alike, so that only the first of each says something.
    pub fn add_forms(&mut self, text: &str, one_a_paragraph: bool) {
        let text = plain(text);
        let (mut scan, mut found) = (FormScan::new(FormKinds::ALL), Vec::new());
        for paragraph in paragraphs(&text) {
            scan.push(Piece::Text(paragraph, &|at| at as u64), &mut found);
            scan.end(&mut found);
            let most = if one_a_paragraph { 1 } else { usize::MAX };
            for one in found.drain(..).filter(|one| matches!(one, Found::Form { .. })).take(most) {
                if let Found::Form { form, bit, context, .. } = one {
                    self.add(form.kind(), &context, bit);
                }
            }
        }
    }

    /// Adds the places at which a text has one of two alternatives that the log knows.
    pub fn add_variants(&mut self, text: &str, known: &Alternatives) {
        let text = plain(text);
        for paragraph in paragraphs(&text) {
            known.paragraph(paragraph, &mut |context, bit| self.add(PlaceKind::Variant, context, bit));
        }
    }
}

/// Parts of a text between blank lines, and behind seals: a seal ends a block, also where a tool has put all blocks into one
/// line.
fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (paragraph, behind) =
            rest.split_at_checked(end_of_paragraph(rest)).filter(|(first, _)| !first.is_empty())?;
        rest = behind;
        Some(paragraph)
    })
}

/// Behind the first blank line or whole seal.
fn end_of_paragraph(text: &str) -> usize {
    let (mut line_is_blank, mut symbols) = (true, 0);
    for (at, c) in text.char_indices() {
        if char_symbol(c).is_some() {
            (line_is_blank, symbols) = (false, symbols + 1);
            continue;
        }
        if symbols >= SEAL_SYMBOLS {
            return at;
        }
        symbols = 0;
        match c {
            '\n' if line_is_blank => return at + 1,
            '\n' => line_is_blank = true,
            c => line_is_blank &= c.is_ascii_whitespace(),
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, sealed};
    use super::*;
    use crate::slot::{Class, VariantNote};
    use crate::watermark::code::Mark;

    fn votes(seen: &Observation, class: Class) -> i32 {
        seen.votes(0, class).flatten().sum()
    }

    fn copy() -> Observation {
        Observation::empty("copy", &vec![keys()].into())
    }

    #[test]
    fn paragraphs_end_at_blank_lines() {
        let parts: Vec<&str> = paragraphs("one\ntwo\n\nthree\r\n \r\nfour").collect();
        assert_eq!(parts, ["one\ntwo\n\n", "three\r\n \r\n", "four"]);
        assert_eq!(paragraphs("").count(), 0);
    }

    #[test]
    fn paragraphs_end_at_seals() {
        let seal = sealed(Mark { kid: 1, id: 7 });
        let text = format!("one{seal} two{seal}\nthree{seal}\n\nfour \u{FE06}five");
        let parts: Vec<&str> = paragraphs(&text).filter(|part| !part.trim().is_empty()).collect();
        assert_eq!(
            parts,
            [format!("one{seal}"), format!(" two{seal}"), format!("three{seal}"), "four \u{FE06}five".into()]
        );
        // The words around a place are those of its block.
        let context = ["", "", "was", "late"].join("\u{1F}");
        let note = VariantNote { context: context.into(), alternatives: ["It".into(), "This".into()] };
        let known = Alternatives::new(&[note]);
        for (between, read) in [(seal.as_str(), 1), ("", 0)] {
            let mut seen = copy();
            seen.add_variants(&format!("So he said.{between} This was late, then."), &known);
            assert_eq!(seen.slots(), read);
        }
    }

    #[test]
    fn both_spellings_are_read() {
        let mut seen = copy();
        seen.add_forms("They can\u{2019}t say it, and we don't know it.\n\nBut she won\u{2019}t tell us now.", false);
        assert_eq!((seen.slots(), votes(&seen, Class::Typographic)), (3, 1));
        let mut seen = copy();
        seen.add_forms("They can\u{2019}t say it, and we don't know it.\n\nBut she won't tell us now.", true);
        assert_eq!(
            (seen.slots(), votes(&seen, Class::Typographic)),
            (2, 0),
            "the second one of a paragraph says nothing"
        );
    }

    #[test]
    fn alternatives_are_found_by_the_words_around_them() {
        let context = ["it", "was", "late", "then"].join("\u{1F}");
        let note = VariantNote { context: context.into(), alternatives: ["although".into(), "even though".into()] };
        let known = Alternatives::new(&[note]);
        let mut seen = copy();
        seen.add_variants("It was although\nlate, then. So it was even though late then.\n\nIt was late then.", &known);
        assert_eq!((seen.slots(), votes(&seen, Class::Variant)), (2, 0));
        seen.add_variants("IT WAS even though late then", &known);
        assert_eq!((seen.slots(), votes(&seen, Class::Variant)), (3, 1));
    }
}
