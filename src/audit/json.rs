//! JSON text that is safe in a terminal: beyond what JSON asks for, controls and characters that reorder text are
//! escaped, so that a log line shows what it holds.

use std::fmt::{self, Write as _};
use std::io::Write as _;

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// The same of a value that is not text yet.
fn push_shown(out: &mut Vec<u8>, value: impl fmt::Display) {
    out.push(b'"');
    // A `Vec` takes all that is written to it.
    let _ = write!(Escaping(out), "{value}");
    out.push(b'"');
}

/// Escapes what is written to it.
struct Escaping<'o>(&'o mut Vec<u8>);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        // Most texts are plain to their end, and leave in one piece.
        let (plain, special) = rest.split_at(plain_length(rest.as_bytes()));
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        let Some(c) = chars.next() else { return };
        push_char(out, c);
        rest = chars.as_str();
    }
}

/// How many bytes from the start on are printable ASCII that stands for itself. Sixteen at a time are one step for a compiler.
fn plain_length(text: &[u8]) -> usize {
    let special = |b: u8| u8::from(!(b' '..=b'~').contains(&b)) | u8::from(b == b'"') | u8::from(b == b'\\');
    let is_plain = |chunk: &&[u8; 16]| chunk.iter().fold(0, |seen, b| seen | special(*b)) == 0;
    let whole = 16 * text.as_chunks::<16>().0.iter().take_while(is_plain).count();
    let rest = text.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|b| special(*b) != 0).unwrap_or(rest.len())
}

fn push_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_hidden(c) => _ = write!(out, "\\u{:04x}", u32::from(c)),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Controls, line separators and characters that change the direction of text.
pub fn is_hidden(c: char) -> bool {
    c < ' '
        || matches!(c, '\u{7F}'..='\u{9F}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Writes one JSON object, keys in the order they are given. Keys are constants that need no escaping.
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> ObjectWriter<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Goes on in an object that is not ended.
    pub(crate) fn resume(out: &'o mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    fn key(&mut self, key: &'static str) {
        debug_assert_eq!(plain_length(key.as_bytes()), key.len(), "{key}");
        self.out.extend_from_slice(if std::mem::take(&mut self.first) { &b"\""[..] } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(crate) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        push_string(self.out, value);
    }

    /// Text that a value is shown as.
    pub(crate) fn shown(&mut self, key: &'static str, value: impl fmt::Display) {
        self.key(key);
        push_shown(self.out, value);
    }

    pub(crate) fn shown_if(&mut self, key: &'static str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.shown(key, value);
        }
    }

    pub(crate) fn text_if(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(crate) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    pub(crate) fn number_if(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    pub(crate) fn decimal(&mut self, key: &'static str, value: f32) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    pub(crate) fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Left out when empty.
    pub(crate) fn list<S: AsRef<str>>(&mut self, key: &'static str, values: &[S]) {
        self.each(key, values.iter().map(S::as_ref));
    }

    /// The same of values that are not in memory together.
    pub(crate) fn each(&mut self, key: &'static str, values: impl IntoIterator<Item: fmt::Display>) {
        let mut values = values.into_iter();
        let Some(first) = values.next() else { return };
        self.key(key);
        self.out.push(b'[');
        push_shown(self.out, first);
        for value in values {
            self.out.push(b',');
            push_shown(self.out, value);
        }
        self.out.push(b']');
    }

    /// A value that is JSON already.
    pub(crate) fn json(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }

    pub(crate) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_hidden_stays_raw() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"b\\c\u{1B}[31m\nx\u{202E}y\u{85}");
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"b\\c\u001b[31m\nx\u202ey\u0085""#);
    }

    #[test]
    fn objects_are_json() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        object.text("a", "é");
        object.number("b", 7);
        object.list("c", &["x", "y"]);
        object.list::<&str>("d", &[]);
        object.flag("e", true);
        object.json("f", b"[[1]]");
        object.end();
        assert_eq!(out, "{\"a\":\"é\",\"b\":7,\"c\":[\"x\",\"y\"],\"e\":true,\"f\":[[1]]}\n".as_bytes());
    }

    /// Shown in so many pieces.
    struct Pieces<'t>(&'t str, usize);

    impl fmt::Display for Pieces<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let chars: Vec<char> = self.0.chars().collect();
            chars.chunks(self.1).try_for_each(|piece| f.write_str(&piece.iter().collect::<String>()))
        }
    }

    fn check(text: &str, pieces: usize) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        push_string(&mut out, text);
        let written = String::from_utf8(out).unwrap();
        prop_assert!(!written.chars().any(is_hidden), "{}", written);
        prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            prop_assert_eq!(&written, &serde_json::to_string(text).unwrap());
        }
        let mut shown = Vec::new();
        push_shown(&mut shown, Pieces(text, pieces));
        prop_assert_eq!(String::from_utf8(shown).unwrap(), written);
        Ok(())
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text in any::<String>(), pieces in 1_usize..40) {
            check(&text, pieces)?;
        }

        #[test]
        fn and_so_does_one_that_is_plain_but_for_a_character(
            before in "[ -~]{0,40}",
            special in proptest::sample::select(vec!["", "\"", "\\", "\n", "\u{7F}", "\u{1B}", "\u{E9}", "\u{202E}", "\u{1F60A}"]),
            after in "[ -~]{0,40}",
            pieces in 1_usize..40,
        ) {
            check(&format!("{before}{special}{after}"), pieces)?;
        }

        #[test]
        fn numbers_and_lists_are_those_of_a_reader(
            number in any::<u64>(),
            decimal in 0.001_f32..1.0,
            list in proptest::collection::vec(any::<String>(), 0..5),
            rest in proptest::collection::vec(any::<u8>(), 0..5),
        ) {
            let mut out = Vec::new();
            let mut object = ObjectWriter::new(&mut out);
            object.number("number", number);
            object.decimal("decimal", decimal);
            object.list("list", &list);
            object.each("each", &rest);
            object.shown("shown", number);
            object.end();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["number"].as_u64(), Some(number));
            prop_assert_eq!(read["decimal"].to_string().parse::<f32>().unwrap().to_bits(), decimal.to_bits());
            let texts: Vec<String> = rest.iter().map(u8::to_string).collect();
            for (key, values) in [("list", list), ("each", texts)] {
                let told = read.get(key).map(|told| serde_json::from_value::<Vec<String>>(told.clone()).unwrap());
                prop_assert_eq!(told, (!values.is_empty()).then_some(values));
            }
            prop_assert_eq!(&read["shown"], &serde_json::Value::from(number.to_string()));
        }
    }
}
