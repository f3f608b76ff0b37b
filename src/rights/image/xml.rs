//! Tokens of XML 1.0, as far as XMP needs them.
//!
//! Reads octets, because other properties of a packet may be in any charset. Knows no document type and expands no
//! entities but those that XML itself has: a packet with either is broken. Nothing is read twice, so the time is linear.

/// Markup, or what stands between.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A tag that opens an element.
    Start {
        /// Its name with its prefix.
        name: &'a [u8],
        /// Names with their prefixes, and values as they stand.
        attributes: Vec<(&'a [u8], &'a [u8])>,
        /// It closes the element, too.
        is_empty: bool,
    },
    /// A tag that closes an element.
    End(&'a [u8]),
    /// Text as it stands.
    Text(&'a [u8]),
    /// A CDATA section: what looks like a reference is none.
    Verbatim(&'a [u8]),
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The bytes end.
    Ends,
    /// This is no XML.
    Malformed,
}

/// Reads on from a place.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where it stands: behind what was read, or at what cannot be read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next token. Comments and processing instructions are passed over.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Broken> {
        loop {
            if self.takes(b"<?") {
                self.until(b"?>")?;
            } else if self.takes(b"<!--") {
                self.until(b"-->")?;
            } else if self.takes(b"<![CDATA[") {
                return self.until(b"]]>").map(Token::Verbatim);
            } else if self.takes(b"</") {
                let name = self.name()?;
                self.space();
                self.expect(b'>')?;
                return Ok(Token::End(name));
            } else if self.takes(b"<") {
                return self.start();
            } else {
                return self.text();
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn takes(&mut self, start: &[u8]) -> bool {
        let is_there = self.rest().starts_with(start);
        if is_there {
            self.at += start.len();
        }
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Broken> {
        if self.takes(&[byte]) { Ok(()) } else { Err(self.broken()) }
    }

    fn broken(&self) -> Broken {
        if self.rest().is_empty() { Broken::Ends } else { Broken::Malformed }
    }

    /// All bytes on which something holds.
    fn run(&mut self, holds: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !holds(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn space(&mut self) {
        self.run(is_space);
    }

    fn name(&mut self) -> Result<&'a [u8], Broken> {
        let name = self
            .run(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b':' | b'_' | b'-' | b'.'));
        if name.is_empty() { Err(self.broken()) } else { Ok(name) }
    }

    fn text(&mut self) -> Result<Token<'a>, Broken> {
        let text = self.run(|byte| byte != b'<' && !is_control(byte));
        if text.is_empty() { Err(self.broken()) } else { Ok(Token::Text(text)) }
    }

    /// What stands before a mark; the mark is passed over.
    fn until(&mut self, mark: &[u8]) -> Result<&'a [u8], Broken> {
        let rest = self.rest();
        let is_end = |window: &[u8]| window == mark || window.first().is_some_and(|byte| is_control(*byte));
        let Some(length) = rest.windows(mark.len()).position(is_end) else {
            self.at = self.bytes.len();
            let is_bad = rest.iter().any(|byte| is_control(*byte));
            return Err(if is_bad { Broken::Malformed } else { Broken::Ends });
        };
        self.at += length;
        if self.takes(mark) { Ok(rest.get(..length).unwrap_or_default()) } else { Err(Broken::Malformed) }
    }

    /// The rest of a tag, behind its `<`.
    fn start(&mut self) -> Result<Token<'a>, Broken> {
        let name = self.name()?;
        let mut attributes = Vec::new();
        loop {
            self.space();
            let is_empty = self.takes(b"/");
            if self.takes(b">") {
                return Ok(Token::Start { name, attributes, is_empty });
            }
            if is_empty {
                return Err(self.broken());
            }
            attributes.push(self.attribute()?);
        }
    }

    fn attribute(&mut self) -> Result<(&'a [u8], &'a [u8]), Broken> {
        let name = self.name()?;
        self.space();
        self.expect(b'=')?;
        self.space();
        let quote = if self.takes(b"'") { b'\'' } else { b'"' };
        if quote == b'"' {
            self.expect(quote)?;
        }
        let value = self.run(|byte| byte != quote && byte != b'<' && !is_control(byte));
        self.expect(quote)?;
        Ok((name, value))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// No XML holds such a byte, and bytes of an image soon have one.
fn is_control(byte: u8) -> bool {
    byte < b' ' && !is_space(byte)
}

/// Text with characters in the place of the references of XML 1.0 §4.1 and §4.6. Others stay as they stand.
pub(super) fn plain(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(raw.len());
    let mut rest: &str = &raw;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let end = after.bytes().take(LONGEST_REFERENCE).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((character(after.get(..end)?)?, after.get(end + 1..)?)));
        let (c, behind) = found.unwrap_or(('&', after));
        out.push(c);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// `#x10FFFF;`, and some zeros.
const LONGEST_REFERENCE: usize = 16;

fn character(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    // A sign is none.
    let digits = Some(digits).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)
}

const NAMED: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &[u8]) -> (Vec<Token<'_>>, Broken, usize) {
        let (mut reader, mut tokens) = (Reader::new(text, 0), Vec::new());
        loop {
            match reader.token() {
                Ok(token) => tokens.push(token),
                Err(broken) => return (tokens, broken, reader.at()),
            }
        }
    }

    #[test]
    fn tags_text_and_what_is_passed_over() {
        let text = b"<?xml version='1.0'?><a:b c = 'd\"' e:f=\"&lt;'\n\"><!-- <x> -->g<![CDATA[<&]]><h/></a:b >";
        let expect = [
            Token::Start {
                name: b"a:b",
                attributes: vec![(&b"c"[..], &b"d\""[..]), (&b"e:f"[..], &b"&lt;'\n"[..])],
                is_empty: false,
            },
            Token::Text(b"g"),
            Token::Verbatim(b"<&"),
            Token::Start { name: b"h", attributes: Vec::new(), is_empty: true },
            Token::End(b"a:b"),
        ];
        let (tokens, broken, at) = tokens(text);
        assert_eq!((tokens.as_slice(), broken, at), (&expect[..], Broken::Ends, text.len()));
    }

    #[test]
    fn what_is_no_xml_is_left_where_it_begins() {
        for (text, broken, at) in [
            (&b"<a b='c"[..], Broken::Ends, 7),
            (b"<a b='c<d'>", Broken::Malformed, 7),
            (b"<a b=c>", Broken::Malformed, 5),
            (b"<a b='\0'>", Broken::Malformed, 6),
            (b"<a/ >", Broken::Malformed, 3),
            (b"<a", Broken::Ends, 2),
            (b"< a>", Broken::Malformed, 1),
            (b"<!DOCTYPE a>", Broken::Malformed, 1),
            (b"<!-- \x01 -->", Broken::Malformed, 5),
            (b"<!-- -- >", Broken::Ends, 9),
            (b"<![CDATA[ ]]", Broken::Ends, 12),
            (b"text\0", Broken::Malformed, 4),
            (b"</a", Broken::Ends, 3),
        ] {
            let (_, found, stands) = tokens(text);
            assert_eq!((found, stands), (broken, at), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn only_the_references_of_xml_itself_are_read_and_only_once() {
        for (raw, text) in [
            (&b"DMI&#45;ALLOWED &#x26;"[..], "DMI-ALLOWED &"),
            (b"&lt;&gt;&amp;&quot;&apos;", "<>&\"'"),
            (b"&amp;#45; &amp;lt;", "&#45; &lt;"),
            (b"&own; & &; &#; &#x110000; &#xD800; &#-1;", "&own; & &; &#; &#x110000; &#xD800; &#-1;"),
            (b"&#00045;&", "-&"),
            (b"&#0000000000000045;", "&#0000000000000045;"),
            (b"\xFF\xC3\xA9", "\u{FFFD}\u{E9}"),
        ] {
            assert_eq!(plain(raw), text);
        }
    }
}
