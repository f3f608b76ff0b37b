//! JSON text that is safe in a terminal: beyond what JSON asks for, controls and characters that reorder text are
//! escaped, so that a log line shows what it holds.

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Most texts are plain ASCII to their end, and leave in one piece.
    let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    let (start, rest) = text.split_at(text.bytes().position(|b| !plain(&b)).unwrap_or(text.len()));
    out.extend_from_slice(start.as_bytes());
    let mut buffer = [0u8; 4];
    for c in rest.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if is_hidden(c) => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Controls, line separators and characters that change the direction of text.
pub fn is_hidden(c: char) -> bool {
    c < ' '
        || matches!(c, '\u{7F}'..='\u{9F}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Writes one JSON object, keys in the order they are given.
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

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        push_string(self.out, key);
        self.out.push(b':');
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_string(self.out, value);
    }

    pub(crate) fn text_if(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    pub(crate) fn number_if(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    pub(crate) fn decimal(&mut self, key: &str, value: f32) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Left out when empty.
    pub(crate) fn list<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        if values.is_empty() {
            return;
        }
        self.key(key);
        self.out.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_string(self.out, value.as_ref());
        }
        self.out.push(b']');
    }

    /// A value that is JSON already.
    pub(crate) fn json(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }

    pub(crate) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
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
}
