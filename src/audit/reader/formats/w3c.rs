//! W3C Extended Log Format, as IIS and others write it.
//!
//! The file itself says which columns it has, and may change its mind on the way; times are UTC, unless a server was told
//! to write those of its own clock.

use std::borrow::Cow;
use std::time::Duration;

use super::super::combined::present;
use super::super::hit::{Hit, Skipped, Text};
use super::super::time::civil;
use super::{billionths, bytes, client, micros, part, status, target};

/// Year, month, day.
pub(super) type Day = (i32, u32, u32);

/// What the directives of a file have said so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    columns: Vec<Column>,
    day: Option<Day>,
}

impl Fields {
    /// Takes in a line that begins with `#`; false for all others.
    pub(crate) fn directive(&mut self, line: &str) -> bool {
        let Some(directive) = line.trim_start_matches('\u{feff}').trim_start().strip_prefix('#') else {
            return false;
        };
        let Some((name, value)) = directive.split_once(':') else { return true };
        if name.eq_ignore_ascii_case("Fields") {
            self.columns = value.split_whitespace().map(Column::named).collect();
        } else if name.eq_ignore_ascii_case("Date") || name.eq_ignore_ascii_case("Start-Date") {
            self.day = value.split_whitespace().next().and_then(day);
        }
        true
    }

    /// Reads one line by the columns that are in force.
    pub(crate) fn parse<'l>(&self, line: &'l str) -> Result<Hit<'l>, Skipped> {
        let mut rest = line.trim_start_matches('\u{feff}');
        let mut values = Values::default();
        for column in self.columns()? {
            values.set(*column, value(&mut rest, *column).ok_or(Skipped::Malformed)?);
        }
        // A value too many: which one is in its column can no longer be told.
        if !rest.trim().is_empty() {
            return Err(Skipped::Malformed);
        }
        values.hit(self.day)
    }

    /// The columns; without any, no line can be read.
    pub(super) fn columns(&self) -> Result<&[Column], Skipped> {
        if self.columns.is_empty() { Err(Skipped::Malformed) } else { Ok(&self.columns) }
    }

    /// The day that the last `#Date` named.
    pub(super) fn day(&self) -> Option<Day> {
        self.day
    }
}

/// A column that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Date,
    Time,
    Address,
    Forwarded,
    Method,
    Uri,
    Query,
    Status,
    Bytes,
    UserAgent,
    Referer,
    Host,
    ViewerHost,
    ContentType,
    TimeTaken,
    Other,
}

impl Column {
    fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "date" => Self::Date,
            "time" => Self::Time,
            "c-ip" => Self::Address,
            "x-forwarded-for" | "cs(x-forwarded-for)" | "s-xff" => Self::Forwarded,
            "cs-method" => Self::Method,
            "cs-uri-stem" | "cs-uri" => Self::Uri,
            "cs-uri-query" => Self::Query,
            "sc-status" => Self::Status,
            "sc-bytes" | "bytes" => Self::Bytes,
            "cs(user-agent)" => Self::UserAgent,
            "cs(referer)" | "cs(referrer)" => Self::Referer,
            "cs-host" | "cs(host)" => Self::Host,
            "x-host-header" => Self::ViewerHost,
            "sc-content-type" | "sc(content-type)" => Self::ContentType,
            "time-taken" => Self::TimeTaken,
            _ => Self::Other,
        }
    }
}

/// The values of one line.
#[derive(Debug, Default)]
pub(super) struct Values<'l> {
    date: Option<Text<'l>>,
    time: Option<Text<'l>>,
    address: Option<Text<'l>>,
    forwarded: Option<Text<'l>>,
    method: Option<Text<'l>>,
    uri: Option<Text<'l>>,
    query: Option<Text<'l>>,
    status: Option<Text<'l>>,
    bytes: Option<Text<'l>>,
    user_agent: Option<Text<'l>>,
    referer: Option<Text<'l>>,
    host: Option<Text<'l>>,
    viewer_host: Option<Text<'l>>,
    content_type: Option<Text<'l>>,
    time_taken: Option<Text<'l>>,
}

impl<'l> Values<'l> {
    /// Keeps the value of a column, unless it is absent.
    pub(super) fn set(&mut self, column: Column, value: Text<'l>) {
        let slot = match column {
            Column::Date => &mut self.date,
            Column::Time => &mut self.time,
            Column::Address => &mut self.address,
            Column::Forwarded => &mut self.forwarded,
            Column::Method => &mut self.method,
            Column::Uri => &mut self.uri,
            Column::Query => &mut self.query,
            Column::Status => &mut self.status,
            Column::Bytes => &mut self.bytes,
            Column::UserAgent => &mut self.user_agent,
            Column::Referer => &mut self.referer,
            Column::Host => &mut self.host,
            Column::ViewerHost => &mut self.viewer_host,
            Column::ContentType => &mut self.content_type,
            Column::TimeTaken => &mut self.time_taken,
            Column::Other => return,
        };
        *slot = present(value);
    }

    /// The hit; `named` is the day where the lines have none.
    pub(super) fn hit(self, named: Option<Day>) -> Result<Hit<'l>, Skipped> {
        let time = self.instant(named);
        let mut hit = Hit {
            // Anybody may send X-Forwarded-For: only where there is nothing else.
            address: self.address.or(self.forwarded).map(|text| part(text, client)).unwrap_or_default(),
            user_agent: self.user_agent,
            host: self.viewer_host.or(self.host).unwrap_or_default(),
            status: self.status.map_or(Ok(None), |text| status(&text))?,
            bytes: self.bytes.map_or(Ok(0), |text| bytes(&text))?,
            referer: self.referer,
            content_type: self.content_type,
            duration_us: self.time_taken.and_then(|text| time_taken(&text)),
            ..Hit::default()
        };
        // FTP services of IIS log their commands in the same way; those are no requests.
        if self.method.as_deref().is_none_or(is_method) {
            hit.method = self.method.unwrap_or_default();
            set_target(self.uri, &mut hit);
            hit.query = hit.query.or(self.query);
        }
        hit.time = time.ok_or(Skipped::BadTime)?;
        hit.local_time = true;
        Ok(hit)
    }

    fn instant(&self, named: Option<Day>) -> Option<Duration> {
        let (year, month, day) = match &self.date {
            Some(date) => day(date)?,
            None => named?,
        };
        let (time, fraction) = self.time.as_deref().map(|time| time.split_once('.').unwrap_or((time, "")))?;
        let mut numbers = time.split(':').map(|number| number.parse::<u32>().ok());
        let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let fraction = Duration::from_nanos(billionths(fraction)?);
        civil(year, month, day, hour, minute, second)?.checked_add(fraction)
    }
}

/// The next value, in quotes or not.
fn value<'l>(rest: &mut &'l str, column: Column) -> Option<Text<'l>> {
    let text = rest.trim_start();
    if let Some(text) = text.strip_prefix('"') {
        let (value, after) = until_quote(text);
        *rest = after;
        return Some(value);
    }
    let (word, after) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
    *rest = after;
    let spaced = matches!(column, Column::UserAgent | Column::Uri);
    (!word.is_empty()).then(|| if spaced { with_spaces(word) } else { Cow::Borrowed(word) })
}

/// Up to the closing quote; two of them stand for one.
fn until_quote(text: &str) -> (Text<'_>, &str) {
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let Some(quote) = rest.find('"') else { break };
        let after = rest.get(quote + 1..).unwrap_or_default();
        if !after.starts_with('"') {
            let value = text.get(..from + quote).unwrap_or_default();
            let doubled = value.contains("\"\"");
            return (if doubled { Cow::Owned(value.replace("\"\"", "\"")) } else { Cow::Borrowed(value) }, after);
        }
        from += quote + 2;
    }
    (Cow::Borrowed(text), "")
}

/// `+` is a space; where robots give their address, `++http` was a space and a plus sign.
fn with_spaces(word: &str) -> Text<'_> {
    if !word.contains('+') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.replace('+', " ").replace("  http", " +http"))
}

fn day(text: &str) -> Option<Day> {
    let mut parts = text.split('-');
    let day = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(day)
}

fn is_method(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'))
}

/// Some write `host/path` without a scheme.
fn set_target<'l>(uri: Option<Text<'l>>, hit: &mut Hit<'l>) {
    let Some(uri) = uri else { return };
    let hosted = uri.split_once('/').is_some_and(|(host, _)| host.contains('.') && !host.ends_with(':'));
    if hosted {
        target(Cow::Owned(format!("http://{uri}")), hit);
    } else {
        target(uri, hit);
    }
}

/// Microseconds: IIS counts milliseconds, the standard has seconds with a fraction.
fn time_taken(text: &str) -> Option<u64> {
    let unit = if text.contains('.') { 1_000_000.0 } else { 1_000.0 };
    micros(text.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IIS: &str = "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-bytes time-taken";

    fn fields(directives: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for directive in directives {
            assert!(fields.directive(directive), "{directive}");
        }
        fields
    }

    #[test]
    fn a_line_of_iis() {
        let fields = fields(&["\u{feff}#Software: Microsoft Internet Information Services 10.0\r", IIS]);
        let line = "2026-11-20 10:14:07 10.0.0.5 GET /a+b.pdf c=1+2 443 ANN\\lee 203.0.113.7 Mozilla/5.0+(compatible;+Googlebot/2.1;++http://x.example/) https://x.example/?q=a+b 200 0 512 15\r";
        let hit = fields.parse(line).unwrap();
        assert_eq!((hit.address.as_ref(), hit.time.as_secs()), ("203.0.113.7", 1_795_169_647));
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.query.as_deref()), ("GET", "/a b.pdf", Some("c=1+2")));
        assert_eq!((hit.status, hit.bytes, hit.duration_us), (Some(200), 512, Some(15_000)));
        assert_eq!(hit.user_agent.as_deref(), Some("Mozilla/5.0 (compatible; Googlebot/2.1; +http://x.example/)"));
        assert_eq!(hit.referer.as_deref(), Some("https://x.example/?q=a+b"));
        assert!(!fields.clone().directive(line));
    }

    #[test]
    fn columns_change_in_the_middle_of_a_file() {
        let mut fields = fields(&["#Fields: date time c-ip cs-method cs-uri-stem sc-status"]);
        let hit = fields.parse("2026-11-20 10:14:07 203.0.113.7 GET /a 200").unwrap();
        assert_eq!((hit.path.as_ref(), hit.status, hit.user_agent), ("/a", Some(200), None));
        assert!(fields.directive("#Fields: c-ip date time cs-uri-stem cs(User-Agent)"));
        let hit = fields.parse("203.0.113.8 2026-11-20 10:14:07 /b curl/8.5.0").unwrap();
        assert_eq!((hit.address.as_ref(), hit.path.as_ref()), ("203.0.113.8", "/b"));
        assert_eq!((hit.status, hit.user_agent.as_deref()), (None, Some("curl/8.5.0")));
    }

    #[test]
    fn lines_with_a_time_only_take_the_day_of_the_file() {
        let mut fields = fields(&["#Date: 2026-11-20 00:00:01", "#Fields: time c-ip cs-method cs-uri-stem sc-status"]);
        assert_eq!(fields.parse("10:14:07.250 203.0.113.7 GET /a 200").unwrap().time.as_millis(), 1_795_169_647_250);
        assert!(fields.directive("#Date: 2026-11-21 00:00:01"));
        assert_eq!(fields.parse("10:14:07 203.0.113.7 GET /a 200").unwrap().time.as_secs(), 1_795_169_647 + 86_400);
        assert!(fields.directive("#Date: 20/Nov/2026 00:00:01"));
        assert_eq!(fields.parse("10:14:07 203.0.113.7 GET /a 200"), Err(Skipped::BadTime));
    }

    #[test]
    fn the_address_is_that_of_the_connection() {
        let two = fields(&["#Fields: date time c-ip cs-uri-stem sc-status X-Forwarded-For"]);
        let hit = two.parse("2026-11-20 10:14:07 fe80::7%4 /a 200 198.51.100.1").unwrap();
        assert_eq!(hit.address, "fe80::7");
        let one = fields(&["#Fields: date time cs-uri-stem sc-status x-forwarded-for"]);
        let hit = one.parse("2026-11-20 10:14:07 /a 200 \"6.6.6.6, 203.0.113.7\"").unwrap();
        assert_eq!(hit.address, "203.0.113.7");
    }

    #[test]
    fn quoted_values_and_runs_of_spaces() {
        let fields = fields(&["#Fields:  date  time  c-ip  cs-uri  sc-status  bytes  cs(Referrer)  cs(User-Agent)"]);
        let line = r#""2026-11-20"   "10:14:07"  203.0.113.7  "www.news.example/a?b=1" "200"  512 "" "a ""b"" c+d""#;
        let hit = fields.parse(line).unwrap();
        assert_eq!(
            (hit.host.as_ref(), hit.path.as_ref(), hit.query.as_deref()),
            ("www.news.example", "/a", Some("b=1"))
        );
        assert_eq!((hit.status, hit.bytes, hit.referer), (Some(200), 512, None));
        assert_eq!((hit.user_agent.as_deref(), hit.time.as_secs()), (Some("a \"b\" c+d"), 1_795_169_647));
    }

    #[test]
    fn commands_of_ftp_are_no_requests() {
        let fields = fields(&["#Date: 2026-11-20 00:00:01", "#Fields: time c-ip cs-method cs-uri-stem sc-status"]);
        let hit = fields.parse("10:14:07 203.0.113.7 [2]USER anonymous 331").unwrap();
        assert_eq!((hit.method.as_ref(), hit.path.as_ref(), hit.status), ("", "", Some(331)));
    }

    #[test]
    fn other_lines() {
        let known = fields(&["#Fields: date time c-ip cs-uri-stem sc-status"]);
        for line in ["", "nonsense", "2026-11-20 10:14:07 203.0.113.7 /a", "2026-11-20 10:14:07 203.0.113.7 /a b 200"] {
            assert_eq!(known.parse(line), Err(Skipped::Malformed), "{line}");
        }
        assert_eq!(known.parse("2026-11-20 noon 203.0.113.7 /a 200"), Err(Skipped::BadTime));
        assert_eq!(Fields::default().parse("2026-11-20 10:14:07 203.0.113.7 /a 200"), Err(Skipped::Malformed));
    }
}
