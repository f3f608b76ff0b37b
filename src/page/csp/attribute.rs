//! A policy as the value of an attribute.

/// Character references that may stand in a policy; the first of each character is the one that is written.
const REFERENCES: [(&str, char); 7] = [
    ("&amp;", '&'),
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&apos;", '\''),
    ("&#34;", '"'),
    ("&#x27;", '\''),
    ("&#x22;", '"'),
];

/// The value of a `content` attribute. `None`: it holds other references than a policy needs.
pub(crate) fn decode(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, _)) = rest.split_once('&') {
        out.push_str(before);
        rest = rest.get(before.len()..)?;
        let (reference, c) = REFERENCES.iter().find(|(reference, _)| rest.starts_with(reference))?;
        out.push(*c);
        rest = rest.get(reference.len()..)?;
    }
    out.push_str(rest);
    Some(out)
}

/// The policy as the value of an attribute whose value stands behind this byte.
pub(crate) fn encode(policy: &str, before: Option<u8>) -> String {
    let quote = before.map(char::from).filter(|c| matches!(c, '"' | '\''));
    let mut out = String::with_capacity(policy.len() + 2);
    for c in policy.chars() {
        let reference = REFERENCES.iter().find(|(_, known)| *known == c && (c == '&' || c == quote.unwrap_or('"')));
        match reference {
            Some((reference, _)) => out.push_str(reference),
            None => out.push(c),
        }
    }
    // A value without quotes holds no white space.
    if quote.is_none() { format!("\"{out}\"") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_in_attributes_are_read_and_written() {
        assert_eq!(decode("a &amp; &quot;b&#34; &#39;self&apos; &#x27;&#x22;").unwrap(), "a & \"b\" 'self' '\"");
        assert_eq!(decode("script-src &lt;"), None);
        assert_eq!(decode("a & b"), None);
        assert_eq!(encode("script-src 'self' a?b&c\"", Some(b'"')), "script-src 'self' a?b&amp;c&quot;");
        assert_eq!(encode("script-src 'self'", Some(b'\'')), "script-src &#39;self&#39;");
        assert_eq!(encode("script-src U", Some(b'=')), "\"script-src U\"");
    }
}
