//! ASCII-only markup: right in every charset that a page can be in.

/// Text for an attribute value or an element: the five special characters and everything beyond ASCII as references,
/// controls as spaces, NUL dropped.
pub(crate) fn ascii_attribute(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => {}
            c if c.is_ascii_control() => out.push(' '),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

/// Markup as it is, in ASCII.
pub(crate) fn ascii_markup(html: &str) -> String {
    html.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("&#{};", u32::from(c)) }).collect()
}

/// Markup of ours as XML wants it: void elements closed, each attribute with a value. Its own values hold no `>`.
pub(crate) fn xml_form(markup: &[u8]) -> Vec<u8> {
    const VOID: [&str; 5] = ["meta", "link", "br", "hr", "img"];
    let text = String::from_utf8_lossy(markup);
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = &*text;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        out.push_str(before);
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        let (tag, after) = tag.split_at(end);
        if tag.starts_with("</") || tag.starts_with("<!") {
            out.push_str(tag);
        } else {
            let inner = tag.trim_start_matches('<').trim_end_matches('>').trim_end_matches('/');
            let name = inner.split(' ').next().unwrap_or_default();
            out.push('<');
            out.push_str(name);
            valued_attributes(inner.get(name.len()..).unwrap_or_default(), &mut out);
            out.push_str(if VOID.contains(&name) { "/>" } else { ">" });
        }
        rest = after;
    }
    out.push_str(rest);
    out.into_bytes()
}

/// ` a="b" c` with a value for `c`.
fn valued_attributes(attributes: &str, out: &mut String) {
    let mut rest = attributes.trim_start();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let value = after.strip_prefix('=').unwrap_or_default();
        let quote = value.chars().next().filter(|q| matches!(q, '"' | '\''));
        let length = match quote {
            Some(quote) => value.get(1..).and_then(|v| v.find(quote)).map_or(value.len(), |end| end + 2),
            None => value.find(' ').unwrap_or(value.len()),
        };
        let (value, after) = if after.starts_with('=') { value.split_at(length) } else { ("", after) };
        let bare = value.trim_matches(['"', '\'']);
        out.push_str(&format!(" {name}=\"{}\"", if value.is_empty() { name } else { bare }));
        rest = after.trim_start();
    }
}

/// ` name="value"`, or nothing for an empty value.
pub(crate) fn push_attribute(tag: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        tag.push_str(&format!(" {name}=\"{}\"", ascii_attribute(value)));
    }
}

/// Text inside a comment: references are not decoded there, so `(c)` and `?` stand for what ASCII lacks, and nothing can
/// end the comment early.
pub(crate) fn ascii_comment(text: &str) -> String {
    let plain: String = text
        .replace('©', "(c)")
        .chars()
        .filter(|c| *c != '\0')
        .map(|c| {
            if !c.is_ascii() {
                '?'
            } else if c.is_ascii_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    let mut safe = plain.replace("--", "- -").replace("--", "- -");
    if safe.starts_with('>') || safe.starts_with("->") {
        safe.insert(0, ' ');
    }
    if safe.ends_with('-') {
        safe.push(' ');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_ours_becomes_xml() {
        for (html, xml) in [
            (
                "<script src=\"/a\" defer data-x=\"a b\"></script>",
                "<script src=\"/a\" defer=\"defer\" data-x=\"a b\"></script>",
            ),
            (
                "<meta name=\"a\" content=\"\"><link rel=license>",
                "<meta name=\"a\" content=\"\"/><link rel=\"license\"/>",
            ),
            ("<!-- a --><p>x<br>y<br/></p>", "<!-- a --><p>x<br/>y<br/></p>"),
            (
                "<div data-nosnippet lang=\"en\"><small>&#169; 2026</small></div>",
                "<div data-nosnippet=\"data-nosnippet\" lang=\"en\"><small>&#169; 2026</small></div>",
            ),
            ("<img alt='a b' src=/x>", "<img alt=\"a b\" src=\"/x\"/>"),
            ("plain", "plain"),
        ] {
            assert_eq!(String::from_utf8(xml_form(html.as_bytes())).unwrap(), xml);
        }
    }

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(ascii_attribute("\"><script>é\0\n"), "&quot;&gt;&lt;script&gt;&#233; ");
        assert_eq!(ascii_comment("© 2026 --> x"), "(c) 2026 - -> x");
        assert!(!ascii_comment("a---->b-").contains("--"));
        assert_eq!(ascii_comment(">x"), " >x");
    }
}
