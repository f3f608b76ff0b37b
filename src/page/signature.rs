//! Signatures of responses (RFC 9421): which ones a rewritten page makes wrong.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, FieldType, ListEntry, Parser};

use super::headers::joined;

const INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Components that a rewritten page changes: its body, and the fields that describe it.
const CHANGED: [&str; 20] = [
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
    "content-length",
    "content-encoding",
    "etag",
    "last-modified",
    "cache-control",
    "expires",
    "vary",
    "accept-ranges",
    "content-security-policy",
    "content-security-policy-report-only",
    "content-signal",
    "content-usage",
    "tdm-policy",
    "tdm-reservation",
    "x-robots-tag",
    "link",
];

/// Is anything signed that a rewritten page would change? What does not parse counts: nobody knows what it covers.
pub(crate) fn covers_a_page(headers: &HeaderMap) -> bool {
    match read(headers, &INPUT) {
        None => false,
        Some(Err(())) => true,
        Some(Ok(inputs)) => inputs.values().any(covers),
    }
}

/// Takes those signatures out, and leaves the others.
pub(crate) fn remove_broken(headers: &mut HeaderMap) {
    let broken: Vec<String> = match read(headers, &INPUT) {
        None => return,
        Some(Err(())) => {
            headers.remove(&INPUT);
            headers.remove(&SIGNATURE);
            return;
        }
        Some(Ok(inputs)) => {
            inputs.iter().filter(|(_, entry)| covers(entry)).map(|(label, _)| label.as_str().to_owned()).collect()
        }
    };
    for name in [INPUT, SIGNATURE] {
        let Some(Ok(mut all)) = read(headers, &name) else { continue };
        all.retain(|label, _| !broken.iter().any(|b| b == label.as_str()));
        headers.remove(&name);
        if let Some(value) = all.serialize().and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
}

fn read(headers: &HeaderMap, name: &HeaderName) -> Option<Result<Dictionary, ()>> {
    joined(headers, name).map(|list| Parser::new(&*list).parse::<Dictionary>().map_err(drop))
}

fn covers(entry: &ListEntry) -> bool {
    let ListEntry::InnerList(components) = entry else { return true };
    components.items.iter().any(|item| match &item.bare_item {
        BareItem::String(name) => CHANGED.contains(&name.as_str()),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_what_a_page_changes_counts() {
        for (input, counts) in [
            ("a=(\"@status\" \"date\");created=1", false),
            ("a=(\"@status\"), b=(\"Content-Digest\")", false),
            ("a=(\"@status\"), b=(\"content-digest\";req)", true),
            ("a=(\"etag\")", true),
            ("a=1", true),
            ("a=(", true),
        ] {
            assert_eq!(covers_a_page(&map(&[("signature-input", input)])), counts, "{input}");
        }
        assert!(!covers_a_page(&HeaderMap::new()));
    }

    #[test]
    fn broken_signatures_go_and_others_stay() {
        let mut headers = map(&[
            ("signature-input", "a=(\"@status\");created=1, b=(\"etag\")"),
            ("signature-input", "c=(\"content-digest\")"),
            ("signature", "a=:AA==:, b=:AQ==:, c=:Ag==:"),
        ]);
        remove_broken(&mut headers);
        assert_eq!(headers["signature-input"], "a=(\"@status\");created=1");
        assert_eq!(headers["signature"], "a=:AA==:");
        let mut all = map(&[("signature-input", "b=(\"etag\")"), ("signature", "b=:AQ==:")]);
        remove_broken(&mut all);
        assert!(all.is_empty(), "{all:?}");
    }
}
