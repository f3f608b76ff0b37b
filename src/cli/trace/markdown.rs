//! Markdown as its reader sees it: what converters put between the words of a page is taken out again.

/// Words of links that are open at once.
const MAX_OPEN: usize = 64;
/// Longest attributes, tag or address, in bytes.
const MAX_TAG: usize = 4_096;
/// Tags that end no word. Others stand on lines of their own, and are left.
const INLINE: [&str; 20] = [
    "a", "abbr", "b", "cite", "del", "em", "font", "i", "ins", "mark", "q", "s", "small", "span", "strong", "sub",
    "sup", "time", "u", "wbr",
];

/// The text without targets of links, images, emphasis, attributes, tags and the signs before quotations. Linear in its
/// length.
///
/// Backslashes before quotes and dots stay: they say how quotes were written.
pub(super) fn without_markup(text: &str) -> String {
    let out = String::with_capacity(text.len());
    let mut reader = Reader { text, at: 0, out, open: Vec::new(), gone: Vec::new(), missed: 0 };
    let mut close = NextClose { text, at: None };
    let mut line_start = true;
    while let Some(c) = reader.peek() {
        if line_start && reader.line_prefix() {
            continue;
        }
        line_start = c == '\n';
        match c {
            '\\' if reader.is_escape() => reader.skip(1),
            '[' => reader.opens(false),
            '!' if reader.rest().starts_with("![") => reader.opens(true),
            ']' => reader.closes(&mut close),
            '<' if reader.skip_address() || reader.skip_tag() => {}
            '*' | '_' => reader.emphasis(c),
            _ => reader.copy(c),
        }
    }
    reader.finish()
}

/// The next `)`, looked for once.
struct NextClose<'t> {
    text: &'t str,
    at: Option<usize>,
}

impl NextClose<'_> {
    /// Where it is, from `from` on; places that are asked for never go back.
    fn behind(&mut self, from: usize) -> Option<usize> {
        if self.at.is_none_or(|at| at < from) {
            let found = self.text.get(from..).and_then(|rest| rest.find(')')).map(|at| from + at);
            self.at = Some(found.unwrap_or(usize::MAX));
        }
        self.at.filter(|at| *at != usize::MAX)
    }
}

/// The words of a link that is open.
struct Open {
    /// Where its bracket stands in what was written.
    bracket: usize,
    image: bool,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    out: String,
    open: Vec<Open>,
    /// Brackets that are those of links, in the order in which their links ended.
    gone: Vec<usize>,
    /// Bytes that were searched for the end of attributes, in vain.
    missed: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        // What is escaped is text.
        if let Some(c) = self.peek() {
            self.copy(c);
        }
    }

    fn copy(&mut self, c: char) {
        self.out.push(c);
        self.at += c.len_utf8();
    }

    /// `> ` before a line of a quotation: between two words of it there is only white space. And the lines `::: name` around
    /// what pandoc calls a div, of which an empty one stays: a block begins or ends there.
    fn line_prefix(&mut self) -> bool {
        let rest = self.rest();
        if rest.starts_with(":::") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return true;
        }
        let Some(quoted) = rest.strip_prefix('>') else { return false };
        self.at += rest.len() - quoted.strip_prefix(' ').unwrap_or(quoted).len();
        true
    }

    fn is_escape(&self) -> bool {
        let next = self.rest().chars().nth(1);
        next.is_some_and(|c| c.is_ascii_punctuation() && !matches!(c, '\'' | '"' | '.' | '\\'))
    }

    fn opens(&mut self, image: bool) {
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(Open { bracket: self.out.len(), image });
        if image {
            self.copy('!');
        }
        self.copy('[');
    }

    fn closes(&mut self, close: &mut NextClose<'_>) {
        let Some(Open { bracket, image }) = self.open.pop() else { return self.copy(']') };
        let Some(end) = self.target(close) else { return self.copy(']') };
        if image {
            self.out.truncate(bracket);
            while self.gone.last().is_some_and(|gone| *gone >= bracket) {
                self.gone.pop();
            }
        } else {
            self.gone.push(bracket);
        }
        self.at = end;
    }

    /// Behind `](…)`, `][…]` or `]{…}`, where that stands here.
    fn target(&mut self, close: &mut NextClose<'_>) -> Option<usize> {
        let behind = self.rest().strip_prefix(']')?;
        if behind.starts_with('(') {
            let end = close.behind(self.at)?;
            let inside = self.text.get(self.at + 2..end)?;
            // A long one is none, and need not be looked at.
            return (inside.len() <= 2_048 && !inside.contains("\n\n"))
                .then(|| end + 1 + self.attributes(end + 1).unwrap_or(0));
        }
        if behind.starts_with('{') {
            return Some(self.at + 1 + self.attributes(self.at + 1)?);
        }
        let name = behind.strip_prefix('[')?;
        let length = name.bytes().take(64).position(|byte| byte == b']')?;
        name.get(..length).filter(|name| !name.contains('\n'))?;
        Some(self.at + 2 + length + 1)
    }

    /// Length of pandoc's `{#name .class key="value"}`, if that stands at `from`.
    fn attributes(&mut self, from: usize) -> Option<usize> {
        let inside = self.text.get(from..)?.strip_prefix('{')?;
        // As often as not there is no end: a text made of beginnings must not be searched again and again.
        if self.missed > self.text.len() {
            return None;
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
        let named = inside.bytes().take(MAX_TAG).take_while(is_name).count();
        if !inside.starts_with(['#', '.']) && inside.as_bytes().get(named) != Some(&b'=') {
            self.missed += named;
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in inside.bytes().enumerate().take(MAX_TAG) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b'}' if !quoted => return Some(at + 2),
                _ => {}
            }
        }
        self.missed += inside.len().min(MAX_TAG);
        None
    }

    /// `<span inert="">`, or its end: what stands around a word or a seal.
    fn skip_tag(&mut self) -> bool {
        let Some(inside) = self.rest().strip_prefix('<') else { return false };
        let end = inside.bytes().take(MAX_TAG).position(|byte| matches!(byte, b'<' | b'>'));
        let Some(tag) = end.and_then(|end| inside.get(..end).filter(|_| inside.as_bytes().get(end) == Some(&b'>')))
        else {
            return false;
        };
        let (name, more) = tag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((tag, ""));
        let name = name.trim_matches('/');
        let is_tag =
            INLINE.iter().any(|inline| inline.eq_ignore_ascii_case(name)) && (more.contains('=') || !is_text(more));
        if is_tag {
            self.at += tag.len() + 2;
        }
        is_tag
    }

    /// `<https://…>`
    fn skip_address(&mut self) -> bool {
        let rest = self.rest();
        if !["<http://", "<https://", "<mailto:"].iter().any(|start| rest.starts_with(start)) {
            return false;
        }
        let end = rest.bytes().take(2_048).position(|byte| matches!(byte, b'>' | b' ' | b'\n'));
        match end.filter(|end| rest.as_bytes().get(*end) == Some(&b'>')) {
            Some(end) => {
                self.at += end + 1;
                true
            }
            None => false,
        }
    }

    /// A run of signs goes if it stands at one end of a word.
    fn emphasis(&mut self, sign: char) {
        let rest = self.rest();
        let run = rest.len() - rest.trim_start_matches(sign).len();
        let before = self.out.chars().next_back().filter(|c| !c.is_whitespace());
        let behind = rest.get(run..).and_then(|rest| rest.chars().next()).filter(|c| !c.is_whitespace());
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let opens = behind.is_some() && !is_word(before);
        let closes = before.is_some() && !is_word(behind);
        if run > 3 || !(opens || closes) {
            self.out.push_str(rest.get(..run).unwrap_or_default());
        }
        self.at += run;
    }

    fn finish(mut self) -> String {
        if self.gone.is_empty() {
            return self.out;
        }
        self.gone.sort_unstable();
        let mut out = String::with_capacity(self.out.len());
        let mut from = 0;
        for bracket in self.gone {
            out.push_str(self.out.get(from..bracket).unwrap_or_default());
            from = bracket + 1;
        }
        out.push_str(self.out.get(from..).unwrap_or_default());
        out
    }
}

fn is_text(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_converters_add_is_taken_out() {
        #[rustfmt::skip]
        let table = [
            ("the [committee said](https://news.example/a?k=b) on", "the committee said on"),
            ("the [committee said][12] on", "the committee said on"),
            ("see ![a *picture*](/img/a.jpg) here", "see  here"),
            ("a [![x](/a.jpg) caption](/b) end", "a  caption end"),
            ("the *very* **old** _new_ __bold__ ***all*** man", "the very old new bold all man"),
            ("snake_case 5*3 and 5 * 3 and * item", "snake_case 5*3 and 5 * 3 and * item"),
            ("> the committee\n> said\n>on", "the committee\nsaid\non"),
            ("<https://news.example/a> he <x> said", " he <x> said"),
            ("the <b>committee</b> <SPAN inert=\"\">said</SPAN> on", "the committee said on"),
            ("a <b and c> d <br /> e <b", "a <b and c> d <br /> e <b"),
            ("the [committee]{.smallcaps title=\"a \\\"} b\"} said", "the committee said"),
            ("the [committee](/a){.link rel=\"b\"} said ![](/i.jpg){width=\"40\"}on", "the committee said on"),
            ("said.\"[seal]{inert=\"\"}", "said.\"seal"),
            ("::: {#main .text}\n:::: body\nThe committee\n:::\nsaid", "\n\nThe committee\n\nsaid"),
            ("a [set]{of} things {x=1}, [b]{.c", "a [set]{of} things {x=1}, [b]{.c"),
            (r"it \[sic\] isn\'t \*so\* \... \_x", r"it [sic] isn\'t *so* \... _x"),
            ("he [sic] went (home) [and", "he [sic] went (home) [and"),
            ("f[i](x", "f[i](x"),
            ("", ""),
        ];
        for (text, expect) in table {
            assert_eq!(without_markup(text), expect, "{text}");
        }
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        for part in [
            "](",
            "[",
            "![",
            "[a](",
            "*",
            "_ ",
            "<https://",
            "][",
            "[a](b) ",
            "[]{.",
            "[]{.\"",
            "[]{aaaa",
            "[a]{b=c}",
            "<b",
            "<b ",
            ":::\n",
        ] {
            let text = part.repeat(500_000);
            assert!(without_markup(&text).len() <= text.len());
        }
        let text = format!("{}){{{}", "[](".repeat(100_000), "a".repeat(4_000_000));
        assert!(without_markup(&text).len() <= text.len());
    }
}
