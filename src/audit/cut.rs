//! Values that are cut to what a line may hold, and what was cut.

/// What was cut or replaced on the way.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) truncated: Vec<String>,
    pub(super) lossy: Vec<&'static str>,
}

impl Notes {
    pub(super) fn text(&mut self, key: &'static str, text: &str, max: usize) -> String {
        let (kept, whole) = cut(text, max);
        if let Some(length) = whole {
            self.truncated.push(format!("{key}:{length}"));
        }
        kept.to_owned()
    }

    pub(super) fn bytes(&mut self, key: &'static str, bytes: &[u8], max: usize) -> String {
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.lossy.push(key);
        }
        self.text(key, &text, max)
    }
}

/// The text up to `max` bytes, and its length if it was longer.
pub(super) fn cut(text: &str, max: usize) -> (&str, Option<usize>) {
    if text.len() <= max {
        return (text, None);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text.get(..end).unwrap_or_default(), Some(text.len()))
}

/// Same site: with its path; another one: its origin only. Never a query.
pub(super) fn cut_referer(referer: &str, host: &str) -> String {
    let bare = referer.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A name and a password may stand before the host.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    if authority.eq_ignore_ascii_case(host) {
        format!("{scheme}://{authority}{path}")
    } else {
        format!("{scheme}://{authority}/")
    }
}

/// Trace and span id of a `traceparent`.
pub(super) fn trace_context(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    (hex(trace, 32) && hex(span, 16)).then_some((trace, span))
}
