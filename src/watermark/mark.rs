//! Chooses the alternatives of a page for one visitor.

use bytes::Bytes;

use super::code::{Keys, Mark, Row, symbol_char};
use crate::secret::Secrets;
use crate::slot::Choose;

/// Marks copies under the active secret.
#[derive(Debug, Clone)]
pub struct Marker {
    keys: Keys,
}

impl Marker {
    /// A marker.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: Keys::new(secrets.active()) }
    }

    /// Which secret it marks with.
    pub fn kid(&self) -> u8 {
        self.keys.kid()
    }

    /// The mark of a visitor's copies on a day (UTC days since 1970).
    pub fn mark_for(&self, visitor: &[u8], unix_day: u32) -> Mark {
        self.keys.visit_mark(visitor, unix_day)
    }

    /// The choices of a mark. `gaps`: white space may be chosen, too.
    pub fn choices(&self, mark: Mark, gaps: bool, form: SealForm) -> Choices {
        let symbols: String = self.keys.seal(mark.id).iter().map(|s| symbol_char(*s)).collect();
        let seal = match form {
            SealForm::Characters => format!("<span inert=\"\">{symbols}</span>"),
            SealForm::References => {
                let references: String = symbols.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect();
                format!("<span inert=\"\">{references}</span>")
            }
        };
        Choices { keys: self.keys.clone(), mark: mark.id, row: None, gaps, seal: Bytes::from(seal) }
    }
}

/// How the symbols of a seal are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealForm {
    /// As they are: for pages proven to be UTF-8.
    Characters,
    /// As numeric references: right in every charset.
    References,
}

/// The choices of one mark; the row is made when the first gap is met.
#[derive(Debug)]
pub struct Choices {
    keys: Keys,
    mark: u64,
    row: Option<Box<Row>>,
    gaps: bool,
    seal: Bytes,
}

impl Choose for Choices {
    fn column(&self, context: &[u8]) -> Option<u16> {
        self.gaps.then(|| self.keys.column(context) as u16)
    }

    fn gap(&mut self, column: u16) -> u8 {
        let (keys, mark) = (&self.keys, self.mark);
        let row = self.row.get_or_insert_with(|| Box::new(keys.row(mark)));
        if row.bit(usize::from(column)) { b'\n' } else { b' ' }
    }

    fn seal(&mut self) -> Option<Bytes> {
        Some(self.seal.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::slot::{SEPARATOR, Words, fold};

    #[test]
    fn the_sentence_of_the_reference_gets_its_bits() {
        let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
        let text = "The committee said on Monday that it won’t publish the full report before the end of June, because \
            members can’t agree on the wording of three chapters.";
        let words: Vec<_> = Words::new(text).collect();
        let folded: Vec<Vec<u8>> = words
            .iter()
            .map(|w| {
                let mut out = Vec::new();
                fold(&text[w.start..w.end], &mut out);
                out
            })
            .collect();
        let bits = |mark: u64| -> String {
            let mut choices = Marker::new(&secrets).choices(Mark { kid: 1, id: mark }, true, SealForm::Characters);
            (1..words.len() - 2)
                .filter(|i| text[words[*i].end..words[i + 1].start].trim().is_empty())
                .map(|i| {
                    let column = choices.column(&folded[i - 1..i + 3].join(&SEPARATOR)).unwrap();
                    choices.gap(column)
                })
                .map(|byte| if byte == b'\n' { '1' } else { '0' })
                .collect()
        };
        assert_eq!(bits(0x0123_4567_89ab), "00110010011000100000001");
        assert_eq!(bits(0x0123_4567_89ac), "10110010001001011010101");
    }

    #[test]
    fn a_seal_is_an_inert_span_in_either_form() {
        let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
        let marker = Marker::new(&secrets);
        let mark = marker.mark_for(b"203.0.113.7", 20_600);
        let raw = marker.choices(mark, false, SealForm::Characters).seal().unwrap();
        let text = std::str::from_utf8(&raw).unwrap();
        assert!(text.starts_with("<span inert=\"\">\u{FE07}") && text.ends_with("</span>"), "{text:?}");
        let ascii = marker.choices(mark, false, SealForm::References).seal().unwrap();
        assert!(ascii.is_ascii() && ascii.starts_with(b"<span inert=\"\">&#xFE07;"));
        assert_eq!(marker.choices(mark, false, SealForm::References).column(b"a\x1Fb\x1Fc\x1Fd"), None);
    }
}
