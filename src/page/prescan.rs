//! The prescan of a page for its charset, as browsers do it (WHATWG HTML §13.2.3.2, "prescan a byte stream").
//!
//! It has to be theirs: where the two read different charsets, what is put in is shown as other characters.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The first `<meta>` that names a charset, and where it ends. UTF-16 there means UTF-8. An XML declaration says something only
/// in UTF-16; browsers read its `encoding` where no `<meta>` comes, and here such a page names no charset.
pub(super) fn prescan(start: &[u8]) -> Option<(&'static Encoding, usize)> {
    for (begin, encoding) in [(b"<\0?\0x\0", UTF_16LE), (b"\0<\0?\0x", UTF_16BE)] {
        if start.starts_with(begin) {
            return Some((encoding, begin.len()));
        }
    }
    let mut reader = Reader { bytes: start, at: 0 };
    loop {
        if let Some(encoding) = reader.step().ok()? {
            return Some((encoding, reader.at + 1));
        }
    }
}

fn is_meta(rest: &[u8]) -> bool {
    rest.get(1..5).is_some_and(|name| name.eq_ignore_ascii_case(b"meta"))
        && rest.get(5).is_some_and(|byte| is_space(*byte) || *byte == b'/')
}

fn is_tag(rest: &[u8]) -> bool {
    matches!(rest, [_, letter, ..] | [_, b'/', letter, ..] if letter.is_ascii_alphabetic())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0C | b'\r' | b' ')
}

/// The bytes end here.
struct End;

struct Reader<'p> {
    bytes: &'p [u8],
    at: usize,
}

impl<'p> Reader<'p> {
    fn rest(&self) -> &'p [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Result<u8, End> {
        self.bytes.get(self.at).copied().ok_or(End)
    }

    /// Goes on to where this stands.
    fn seek(&mut self, text: &[u8]) -> Result<(), End> {
        self.at += memchr::memmem::find(self.rest(), text).ok_or(End)?;
        Ok(())
    }

    /// Goes on while this holds; what it went over.
    fn pass(&mut self, holds: impl Fn(u8) -> bool) -> Result<&'p [u8], End> {
        let length = self.rest().iter().position(|byte| !holds(*byte)).ok_or(End)?;
        let passed = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        Ok(passed)
    }

    /// Reads what begins with the next `<`. The answer is a charset that is named there.
    fn step(&mut self) -> Result<Option<&'static Encoding>, End> {
        self.seek(b"<")?;
        let rest = self.rest();
        if rest.starts_with(b"<!--") {
            // The two dashes may be those that begin it.
            self.at += 2;
            self.seek(b"-->")?;
        } else if is_meta(rest) {
            self.at += 5;
            return self.meta();
        } else if is_tag(rest) {
            self.pass(|byte| !is_space(byte) && byte != b'>')?;
            while self.attribute()?.is_some() {}
        } else if matches!(rest.get(1), Some(b'!' | b'/' | b'?')) {
            self.seek(b">")?;
        } else {
            self.at += 1;
        }
        Ok(None)
    }

    /// The charset of a `<meta>` whose attributes begin here, if it names one.
    fn meta(&mut self) -> Result<Option<&'static Encoding>, End> {
        let (mut names, mut is_pragma, mut needs_pragma, mut charset) = (Vec::new(), false, None, None);
        while let Some((name, value)) = self.attribute()? {
            if names.contains(&name) {
                continue;
            }
            match name.as_slice() {
                b"http-equiv" => is_pragma |= value == b"content-type",
                // An unknown one that was named before holds, too.
                b"content" if charset.is_none() && needs_pragma.is_none() => {
                    charset = charset_in(&value);
                    needs_pragma = charset.map(|_| true).or(needs_pragma);
                }
                b"charset" => {
                    charset = Encoding::for_label(&value);
                    needs_pragma = Some(false);
                }
                _ => {}
            }
            names.push(name);
        }
        let counts = needs_pragma.is_some_and(|needs| !needs || is_pragma);
        Ok(charset.filter(|_| counts).map(|encoding| match encoding {
            of if of == UTF_16BE || of == UTF_16LE => UTF_8,
            of if of.name() == "x-user-defined" => WINDOWS_1252,
            of => of,
        }))
    }

    /// Name and value in lower case; `None`: the tag ends here.
    fn attribute(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>, End> {
        self.pass(|byte| is_space(byte) || byte == b'/')?;
        if self.peek()? == b'>' {
            return Ok(None);
        }
        let begin = self.at;
        // It may begin with the sign that ends it elsewhere.
        self.at += usize::from(self.peek()? == b'=');
        self.pass(|byte| !is_space(byte) && !matches!(byte, b'=' | b'/' | b'>'))?;
        let name = self.bytes.get(begin..self.at).unwrap_or_default().to_ascii_lowercase();
        self.pass(is_space)?;
        if self.peek()? != b'=' {
            return Ok(Some((name, Vec::new())));
        }
        self.at += 1;
        self.pass(is_space)?;
        let value = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                let value = self.pass(|byte| byte != quote)?;
                self.at += 1;
                value
            }
            _ => self.pass(|byte| !is_space(byte) && byte != b'>')?,
        };
        Ok(Some((name, value.to_ascii_lowercase())))
    }
}

/// The charset that a `content` names (WHATWG HTML §2.4.1, "extracting a character encoding from a meta element").
fn charset_in(content: &[u8]) -> Option<&'static Encoding> {
    const NAME: &[u8] = b"charset";
    let mut rest = content;
    loop {
        rest = rest.get(memchr::memmem::find(rest, NAME)? + NAME.len()..)?.trim_ascii_start();
        if let Some(value) = rest.strip_prefix(b"=") {
            let value = value.trim_ascii_start();
            let label = match value {
                [quote @ (b'"' | b'\''), quoted @ ..] => quoted.get(..memchr::memchr(*quote, quoted)?)?,
                bare => bare.split(|byte| is_space(*byte) || *byte == b';').next()?,
            };
            return Encoding::for_label(label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_is_found_where_browsers_find_it() {
        #[rustfmt::skip]
        let table: [(&str, Option<&str>); 38] = [
            ("<meta charset=utf-8>", Some("UTF-8")),
            ("<META CHARSET=\"windows-1251\">", Some("windows-1251")),
            ("<meta/charset='koi8-r'/>", Some("KOI8-R")),
            ("<meta charset = utf-8 >", Some("UTF-8")),
            ("<meta charset=utf-16le>", Some("UTF-8")),
            ("<meta charset=x-user-defined>", Some("windows-1252")),
            ("<meta charset=bogus><meta charset=utf-8>", Some("UTF-8")),
            ("<meta charset=koi8-r charset=utf-8>", Some("KOI8-R")),
            ("<meta http-equiv=Content-Type content=\"text/html; charset=koi8-r\">", Some("KOI8-R")),
            ("<meta content='text/html;charset = \"koi8-r\"' http-equiv=content-type>", Some("KOI8-R")),
            ("<meta http-equiv=content-type content='a charset b charset=koi8-r'>", Some("KOI8-R")),
            ("<meta http-equiv=content-type content='charset=\"koi8-r'>", None),
            ("<meta http-equiv=content-type content='charset=koi8-r' charset=utf-8>", Some("UTF-8")),
            ("<meta charset=bogus http-equiv=content-type content='charset=koi8-r'>", None),
            ("<meta charset=bogus http-equiv=content-type content='charset=koi8-r'><meta charset=utf-8>", Some("UTF-8")),
            ("<\0?\0x\0", Some("UTF-16LE")),
            ("\0<\0?\0x", Some("UTF-16BE")),
            ("<meta content=\"text/html; charset=utf-8\">", None),
            ("<meta http-equiv=refresh content=\"0;url=/?charset=utf-8\">", None),
            ("<meta name=x data-charset=utf-8>", None),
            ("<metal charset=utf-8>", None),
            ("<img alt=\"<meta charset=utf-8>\">", None),
            ("<img alt='>'><meta charset=utf-8>", Some("UTF-8")),
            ("</div a=\"<meta charset=utf-8>\">", None),
            ("<!-- <meta charset=utf-8> --><meta charset=koi8-r>", Some("KOI8-R")),
            ("<!--><meta charset=utf-8>", Some("UTF-8")),
            ("<!---><meta charset=utf-8>", Some("UTF-8")),
            ("<!-- <meta charset=utf-8>", None),
            ("<!doctype html><meta charset=utf-8>", Some("UTF-8")),
            ("<?xml version='1.0'?><meta charset=utf-8>", Some("UTF-8")),
            ("</ <meta charset=koi8-r><meta charset=utf-8>", Some("UTF-8")),
            ("a < b <meta charset=utf-8>", Some("UTF-8")),
            ("<<meta charset=utf-8>", Some("UTF-8")),
            ("<meta =charset=utf-8>", None),
            ("<meta charset>", None),
            ("<meta charset=utf-8", None),
            ("<meta charset=\"utf-8>", None),
            ("", None),
        ];
        for (page, expect) in table {
            assert_eq!(prescan(page.as_bytes()).map(|(encoding, _)| encoding.name()), expect, "{page}");
        }
    }

    #[test]
    fn the_end_is_behind_the_tag_and_no_part_of_a_page_is_read_beyond_its_end() {
        let page = b"<!doctype html><title>a</title><meta charset=\"utf-8\" /><p>";
        let end = page.len() - 3;
        assert_eq!(prescan(page), Some((UTF_8, end)));
        for cut in 0..end {
            assert_eq!(prescan(&page[..cut]), None, "{cut}");
        }
    }
}
