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
    fn nothing_breaks_out() {
        assert_eq!(ascii_attribute("\"><script>é\0\n"), "&quot;&gt;&lt;script&gt;&#233; ");
        assert_eq!(ascii_comment("© 2026 --> x"), "(c) 2026 - -> x");
        assert!(!ascii_comment("a---->b-").contains("--"));
        assert_eq!(ascii_comment(">x"), " >x");
    }
}
