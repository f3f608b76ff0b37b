//! Standard logs of Amazon CloudFront: W3C directives, tabs, and values that are percent-encoded.

use std::borrow::Cow;

use super::super::hit::{Hit, Skipped, Text};
use super::w3c::{self, Column, Values};
use super::{hex_byte, hex_decoded};

/// What the directives of a file have said so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(w3c::Fields);

impl Fields {
    /// Takes in a line that begins with `#`; false for all others.
    pub(crate) fn directive(&mut self, line: &str) -> bool {
        self.0.directive(line)
    }

    /// Reads one line by the columns that are in force.
    pub(crate) fn parse<'l>(&self, line: &'l str) -> Result<Hit<'l>, Skipped> {
        let line = line.trim_end_matches(['\r', '\n']);
        let mut cells = line.split('\t');
        let mut values = Values::default();
        for column in self.0.columns()? {
            let cell = cells.next().ok_or(Skipped::Malformed)?;
            values.set(*column, decoded(*column, cell));
        }
        // Always UTC.
        Ok(Hit { local_time: false, ..values.hit(self.0.day())? })
    }
}

/// The value as the client sent it.
fn decoded(column: Column, cell: &str) -> Text<'_> {
    match column {
        // Encoded once in some years and twice in others.
        Column::UserAgent => match percent_decoded(cell) {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(text) => Cow::Owned(percent_decoded(&text).into_owned()),
        },
        Column::ContentType => percent_decoded(cell),
        // These were encoded before CloudFront did it again.
        Column::Uri | Column::Query | Column::Referer => encoded_once(cell),
        _ => Cow::Borrowed(cell),
    }
}

fn percent_decoded(text: &str) -> Text<'_> {
    hex_decoded(text, '%')
}

/// `%2520` becomes `%20`, which stays.
fn encoded_once(text: &str) -> Text<'_> {
    let Some((first, rest)) = text.split_once("%25") else { return Cow::Borrowed(text) };
    let mut out = first.to_owned();
    for part in rest.split("%25") {
        let twice = hex_byte(part).is_some();
        out.push_str(if twice { "%" } else { "%25" });
        out.push_str(part);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for";

    fn fields(directive: &str) -> Fields {
        let mut fields = Fields::default();
        assert!(fields.directive("#Version: 1.0"));
        assert!(fields.directive(directive));
        fields
    }

    fn line(agent: &str) -> String {
        format!(
            "2026-11-20\t10:14:07\tFRA56-P4\t512\t203.0.113.7\tGET\td111.cloudfront.net\t/a%2520b\t200\thttps://x.example/?q=a%2520b\t{agent}\tc=%2525&d\t-\tHit\tabc==\tnews.example\thttps\t23\t0.012\t198.51.100.1"
        )
    }

    #[test]
    fn a_line() {
        let line = line("Mozilla/5.0%2520(X11;%2520%22y%22)");
        let hit = fields(FIELDS).parse(&line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.method.as_ref(), hit.host.as_ref()), ("GET", "news.example"));
        assert_eq!((hit.path.as_ref(), hit.query.as_deref()), ("/a%20b", Some("c=%25&d")));
        assert_eq!((hit.status, hit.bytes, hit.duration_us), (Some(200), 512, Some(12_000)));
        assert_eq!(hit.user_agent.as_deref(), Some("Mozilla/5.0 (X11; \"y\")"));
        assert_eq!(hit.referer.as_deref(), Some("https://x.example/?q=a%20b"));
    }

    #[test]
    fn agents_that_are_encoded_once_or_not_at_all() {
        for (agent, expected) in
            [("a%20b", Some("a b")), ("curl/8.5.0", Some("curl/8.5.0")), ("100%", Some("100%")), ("-", None)]
        {
            let line = line(agent);
            assert_eq!(fields(FIELDS).parse(&line).unwrap().user_agent.as_deref(), expected, "{agent}");
        }
    }

    #[test]
    fn the_header_gives_the_order() {
        let fields = fields("#Fields: c-ip\ttime\tdate\tsc-status\tcs-uri-stem\tcs-uri-query");
        let hit = fields.parse("203.0.113.7\t10:14:07\t2026-11-20\t000\t/a\t-").unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.path.as_ref(), hit.query, hit.status, hit.bytes), ("/a", None, None, 0));
    }

    #[test]
    fn other_lines() {
        let known = fields(FIELDS);
        assert_eq!(known.parse("nonsense"), Err(Skipped::Malformed));
        assert_eq!(known.parse(""), Err(Skipped::Malformed));
        let line = line("-");
        assert_eq!(known.parse(&line.replace("10:14:07", "noon")), Err(Skipped::BadTime));
        assert_eq!(Fields::default().parse(&line), Err(Skipped::Malformed));
    }
}
