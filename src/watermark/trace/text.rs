//! What tools write for a character, undone.

use std::borrow::Cow;

use crate::watermark::code::char_symbol;

/// Longest reference to a symbol of a seal.
const REFERENCE: usize = 12;

/// What pandoc's `smart` writes, and for what. What stands for itself comes first.
const WRITTEN: [(&str, &str); 6] =
    [("\\'", "'"), ("\\\"", "\""), ("\\...", "..."), ("---", "\u{2014}"), ("--", "\u{2013}"), ("...", "\u{2026}")];

/// The text as its reader sees it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let rules: [fn(&str) -> Option<String>; 2] = [without_references, without_smart];
    let mut plain = Cow::Borrowed(text.strip_prefix('\u{FEFF}').unwrap_or(text));
    for rule in rules {
        if let Some(changed) = rule(&plain) {
            plain = Cow::Owned(changed);
        }
    }
    plain
}

/// Symbols of seals that stand as `&#xFE06;` or `&#65030;`.
fn without_references(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some((before, reference)) = rest.find("&#").and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let (written, behind) = match symbol_reference(reference) {
            Some((symbol, length)) => {
                found = true;
                out.push(symbol);
                ("", reference.get(length..))
            }
            None => ("&#", reference.get(2..)),
        };
        out.push_str(written);
        rest = behind.unwrap_or_default();
    }
    out.push_str(rest);
    found.then_some(out)
}

fn symbol_reference(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(REFERENCE).position(|byte| byte == b';')?;
    let number = text.get(2..end)?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    let symbol = char::from_u32(code)?;
    char_symbol(symbol).map(|_| (symbol, end + 1))
}

/// pandoc's Markdown has straight quotes for curly ones, and a backslash before those that were straight.
fn without_smart(text: &str) -> Option<String> {
    let escaped = text.contains("\\'") || text.contains("\\\"");
    if !escaped || text.contains(['\u{2018}', '\u{2019}', '\u{201C}', '\u{201D}']) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, special)) = rest.find(['\\', '\'', '"', '-', '.']).and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(before);
        let opens = out.chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | '\u{2014}'));
        let first = special.get(..1).unwrap_or_default();
        let (from, to) = match WRITTEN.iter().find(|(from, _)| special.starts_with(from)) {
            Some((from, to)) => (*from, *to),
            None => match (first, opens) {
                ("'", true) => (first, "\u{2018}"),
                ("'", false) => (first, "\u{2019}"),
                ("\"", true) => (first, "\u{201C}"),
                ("\"", false) => (first, "\u{201D}"),
                _ => (first, first),
            },
        };
        out.push_str(to);
        rest = special.get(from.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_symbols_become_symbols() {
        let text = "\u{FEFF}end.&#xFE06;&#xfe0d;&#65031;&#x0000FE07; &#39; &#xFE0F; &#xFE06 &#";
        assert_eq!(
            plain(text),
            "end.\u{FE06}\u{FE0D}\u{FE07}\u{FE07} &#39; &#xFE0F; &#xFE06 &#",
            "no other reference is touched"
        );
        assert!(matches!(plain("nothing &amp; &#8217; here"), Cow::Borrowed(_)));
        assert_eq!(plain("&#é;&#x\u{301};"), "&#é;&#x\u{301};");
    }

    #[test]
    fn what_pandoc_writes_for_quotes_and_dashes_is_undone() {
        let written = "It won't say \\'no\\' to \"this\" ('or that') --- or 1990--1995 ... and \\\"so\\\" on\\...";
        let read = "It won\u{2019}t say 'no' to \u{201C}this\u{201D} (\u{2018}or that\u{2019}) \u{2014} or \
            1990\u{2013}1995 \u{2026} and \"so\" on...";
        assert_eq!(plain(written), read);
        for same in ["It won't say -- \"no\"...", "It won\u{2019}t \\'say\\'"] {
            assert_eq!(plain(same), same);
        }
    }
}
