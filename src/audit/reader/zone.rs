//! [`Zone`]: where the clock of a server stands, for times that lines give without an offset.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::time::offset;

/// A time zone: `Europe/Berlin`, `+02:00`, `UTC`, or a rule of POSIX (`CET-1CEST,M3.5.0,M10.5.0/3`).
///
/// ```
/// use deckle::audit::reader::Zone;
/// assert!("+02:00".parse::<Zone>().is_ok() && "CET-1CEST,M3.5.0,M10.5.0/3".parse::<Zone>().is_ok());
/// assert!("Nowhere/At_All".parse::<Zone>().unwrap_err().to_string().contains("Nowhere/At_All"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// Why a zone was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time zone that is known here, such as Europe/Berlin, +02:00 or CET-1CEST,M3.5.0,M10.5.0/3")]
pub struct ZoneError(String);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Self(TimeZone::UTC));
        }
        if let Some(seconds) = offset(text.as_bytes()) {
            let offset = i32::try_from(seconds).ok().and_then(|seconds| Offset::from_seconds(seconds).ok());
            return offset.map(|offset| Self(TimeZone::fixed(offset))).ok_or_else(|| ZoneError(text.to_owned()));
        }
        // Names are those of the system: its `zoneinfo` is newer than a copy in the program would be.
        let named = TimeZone::get(text).or_else(|_| TimeZone::posix(text));
        named.map(Self).map_err(|_| ZoneError(text.to_owned()))
    }
}

impl Zone {
    /// What the clock showed, as if that were UTC, to the time in UTC; and whether it showed that twice.
    ///
    /// Of the two hours of a clock that was put back the earlier one is taken; what a clock that was put forward never
    /// showed counts by the offset before, as RFC 5545 (3.3.5) says.
    pub(crate) fn utc(&self, shown: Duration) -> Option<(Duration, bool)> {
        let seconds = i64::try_from(shown.as_secs()).ok()?;
        let shown = Timestamp::new(seconds, i32::try_from(shown.subsec_nanos()).ok()?).ok()?;
        let local = self.0.to_ambiguous_timestamp(Offset::UTC.to_datetime(shown));
        let twice = matches!(local.offset(), AmbiguousOffset::Fold { .. });
        let time = local.compatible().ok()?;
        let seconds = u64::try_from(time.as_second()).ok()?;
        Some((Duration::new(seconds, u32::try_from(time.subsec_nanosecond()).ok()?), twice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRAL_EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn utc(zone: &str, shown: &str) -> (String, bool) {
        let shown: Timestamp = format!("{shown}Z").parse().unwrap();
        let zone: Zone = zone.parse().unwrap();
        let (time, twice) = zone.utc(Duration::from_millis(shown.as_millisecond() as u64)).unwrap();
        (Timestamp::from_millisecond(time.as_millis() as i64).unwrap().to_string(), twice)
    }

    #[test]
    fn clocks_that_are_put_back_and_forward() {
        let rows = [
            ("2026-07-01T12:00:00", "2026-07-01T10:00:00Z", false),
            ("2026-12-01T12:00:00.25", "2026-12-01T11:00:00.25Z", false),
            // At three it becomes two again, on the last Sunday of October.
            ("2026-10-25T01:59:59", "2026-10-24T23:59:59Z", false),
            ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z", true),
            ("2026-10-25T02:59:59", "2026-10-25T00:59:59Z", true),
            ("2026-10-25T03:00:00", "2026-10-25T02:00:00Z", false),
            // At two it becomes three, on the last Sunday of March.
            ("2026-03-29T01:59:59", "2026-03-29T00:59:59Z", false),
            ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z", false),
            ("2026-03-29T03:00:00", "2026-03-29T01:00:00Z", false),
        ];
        for (shown, expected, twice) in rows {
            assert_eq!(utc(CENTRAL_EUROPE, shown), (expected.to_owned(), twice), "{shown}");
        }
        assert_eq!(utc("-03:30", "2026-07-01T12:00:00"), ("2026-07-01T15:30:00Z".to_owned(), false));
        assert_eq!(utc("utc", "2026-07-01T12:00:00"), ("2026-07-01T12:00:00Z".to_owned(), false));
    }

    #[test]
    fn names_are_those_of_the_system() {
        let Ok(_) = "Europe/Berlin".parse::<Zone>() else {
            eprintln!("skipped: no zoneinfo on this system");
            return;
        };
        assert_eq!(utc("Europe/Berlin", "2026-10-25T02:30:00"), ("2026-10-25T00:30:00Z".to_owned(), true));
        assert_eq!(utc("America/New_York", "2026-11-01T01:30:00"), ("2026-11-01T05:30:00Z".to_owned(), true));
    }

    #[test]
    fn what_is_no_zone_is_named() {
        for text in ["", "Europe/Atlantis", "+25:00", "2 hours", "../etc/passwd"] {
            let error = text.parse::<Zone>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no time zone")), "{error}");
        }
    }
}
