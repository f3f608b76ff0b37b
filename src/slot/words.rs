//! Words, and the folding of them: one function for the marker and for the tracer, so that both see the same words.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Does this character belong to a word?
pub fn is_word_char(c: char) -> bool {
    if let Ok(byte) = u8::try_from(c)
        && byte.is_ascii()
    {
        return is_word_byte(byte);
    }
    c.is_alphanumeric() || is_mark_or_format(c)
}

fn is_word_byte(b: u8) -> bool {
    kind(b) == Kind::Word
}

/// What a byte of a text says of itself: words are read by it as long as they are ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Apostrophe,
    /// No part of a word.
    Other,
    /// A part of a character that must be decoded.
    Long,
}

static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let mut byte = 0u8;
    loop {
        kinds[byte as usize] = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => Kind::Word,
            b'\'' | b'`' => Kind::Apostrophe,
            0x80.. => Kind::Long,
            _ => Kind::Other,
        };
        if byte == u8::MAX {
            break kinds;
        }
        byte += 1;
    }
};

fn kind(b: u8) -> Kind {
    KINDS.get(usize::from(b)).copied().unwrap_or(Kind::Other)
}

fn is_mark_or_format(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, Format, NonspacingMark, SpacingMark};
    matches!(c.general_category(), NonspacingMark | SpacingMark | EnclosingMark | Format)
}

/// Apostrophes do not end a word when word characters stand on both sides.
pub fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{B4}' | '\u{2B9}' | '\u{2BC}' | '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{2032}' | '\u{FF07}'
    )
}

/// Appends the folded form of a word: compatibility decomposition, marks and format characters dropped, lower case,
/// Latin letters without decomposition spelled out, letters and digits only (the results of Unidecode for Latin).
///
/// Copies that were normalised, lower-cased, stripped of accents or curly quotes fold to the same bytes.
pub fn fold(word: &str, out: &mut Vec<u8>) {
    if word.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let start = out.len();
        out.extend_from_slice(word.as_bytes());
        return out.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
    }
    if word.is_ascii() {
        out.extend(word.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()));
        return;
    }
    let mut buffer = [0u8; 4];
    for c in word.nfkd().filter(|c| !is_combining_mark(*c) && !is_mark_or_format(*c)) {
        for lower in c.to_lowercase().filter(|c| !is_mark_or_format(*c)) {
            match spelled_out(lower) {
                Some(letters) => out.extend_from_slice(letters.as_bytes()),
                None if lower.is_alphanumeric() => out.extend_from_slice(lower.encode_utf8(&mut buffer).as_bytes()),
                None => {}
            }
        }
    }
}

fn spelled_out(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        'ħ' => "h",
        'ŋ' => "ng",
        'ſ' => "s",
        _ => return None,
    })
}

/// A word with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// The words of a text, by maximal runs of word characters.
#[derive(Debug, Clone)]
pub struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Words<'t> {
    /// Walks over `text`.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        let rest = self.text.get(self.at..)?;
        // Most of most texts is ASCII, which needs no decoding.
        let blank = rest.bytes().position(|b| matches!(kind(b), Kind::Word | Kind::Long))?;
        let start = self.at + blank + rest.get(blank..)?.find(is_word_char)?;
        let rest = self.text.get(start..)?;
        let run = rest.bytes().position(|b| kind(b) != Kind::Word).unwrap_or(rest.len());
        let mut end = start + run;
        if rest.as_bytes().get(run).is_some_and(|b| kind(*b) != Kind::Other) {
            let mut chars = rest.get(run..)?.char_indices().peekable();
            while let Some((offset, c)) = chars.next() {
                let inside =
                    is_word_char(c) || (is_apostrophe(c) && chars.peek().is_some_and(|(_, n)| is_word_char(*n)));
                if !inside {
                    break;
                }
                end = start + run + offset + c.len_utf8();
            }
        }
        self.at = end;
        Some(Word { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(word: &str) -> String {
        let mut out = Vec::new();
        fold(word, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn folds() {
        #[rustfmt::skip]
        let table = [
            ("Don’t", "dont"), ("DON´T", "dont"), ("café", "cafe"), ("cafe\u{301}", "cafe"), ("ﬁnance", "finance"),
            ("Straße", "strasse"), ("co\u{AD}operate", "cooperate"), ("Œuvre", "oeuvre"), ("İstanbul", "istanbul"),
            ("می‌خواهند", "میخواهند"), ("１２", "12"), ("naïve", "naive"), ("com\u{200B}mittee", "committee"),
        ];
        for (word, expect) in table {
            assert_eq!(folded(word), expect, "{word}");
        }
    }

    #[test]
    fn words_keep_apostrophes_inside() {
        let words = |t: &str| Words::new(t).map(|w| t[w.start..w.end].to_owned()).collect::<Vec<_>>();
        assert_eq!(words("it won’t, 'quoted' U.S."), ["it", "won’t", "quoted", "U", "S"]);
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(words("می‌خواهند و"), ["می‌خواهند", "و"]);
    }
}
