//! Times as they are typed, and the time that filters leave.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{Expression, Filters, Get, Literal, Operator};
use crate::unit::Span;

/// Times without an offset are UTC.
pub(super) fn time(text: &str, now: Duration) -> Result<Duration, String> {
    if let Ok(Span(ago)) = text.parse() {
        return Ok(now.saturating_sub(ago));
    }
    // A name of a time zone would be read over in silence.
    let is_civil = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'T' | b' '));
    let civil = || text.parse::<DateTime>().ok().filter(|_| is_civil);
    let time = text.parse().ok().or_else(|| TimeZone::UTC.to_timestamp(civil()?).ok());
    let since_1970 = time.and_then(|time: Timestamp| u64::try_from(time.as_microsecond()).ok());
    let wrong =
        || format!("`{text}` is no time, such as 2026-11-20, 2026-11-20T10:14, 2026-11-20T10:14:07Z, or 7d (ago)");
    since_1970.map(Duration::from_micros).ok_or_else(wrong)
}

pub(super) fn rfc3339(time: Duration) -> String {
    Timestamp::from_microsecond(time.as_micros() as i64).map(|time| time.to_string()).unwrap_or_default()
}

impl Filters {
    /// The moments before and from which on nothing is kept, as `--since` and `--until` say.
    pub(crate) fn bounds(&self) -> (Option<Duration>, Option<Duration>) {
        let bound = |wanted: Operator| {
            self.all.iter().filter_map(move |filter| match filter {
                Expression::Compares(Get::Time, operator, Literal::Time(time)) if *operator == wanted => Some(*time),
                _ => None,
            })
        };
        (bound(Operator::AtLeast).max(), bound(Operator::Less).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::FilterArgs;

    #[test]
    fn times_are_bounds_and_nothing_else_is() {
        let bounds_with = |since: Option<&str>, until: Option<&str>, expression: Option<&str>| {
            let [since, until, expression] = [since, until, expression].map(|text| text.map(str::to_owned));
            let args = FilterArgs { since, until, status: Some("404".to_owned()), expression, ..FilterArgs::default() };
            let (since, until) = Filters::new(&args, Duration::from_secs(1_000_000)).unwrap().bounds();
            (since.map(|time| time.as_secs()), until.map(|time| time.as_secs()))
        };
        let bounds = |since, until| bounds_with(since, until, None);
        assert_eq!(bounds(None, None), (None, None));
        assert_eq!(bounds(Some("1970-01-02"), Some("10s")), (Some(86_400), Some(999_990)));
        assert_eq!(bounds(None, Some("1970-01-02")), (None, Some(86_400)));
        // What may hold for either side bounds nothing.
        let either = Some("time<\"1970-01-03\" || status==404");
        assert_eq!(bounds_with(Some("1970-01-02"), None, either), (Some(86_400), None));
    }
}
