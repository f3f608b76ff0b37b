//! Times of logs, to the time since 1970 in UTC.

use std::time::Duration;

use super::hit::Hit;

/// Nothing was served before the web.
const FIRST: u64 = 631_152_000;
/// Seconds that a clock may be ahead of ours.
const AHEAD: u64 = 86_400;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A time as a line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Since 1970 in UTC; of a local time what its clock showed, as if that were UTC.
    pub(crate) time: Duration,
    /// No offset stands with it.
    pub(crate) is_local: bool,
}

impl Stamp {
    pub(crate) fn set(self, hit: &mut Hit<'_>) {
        (hit.time, hit.local_time) = (self.time, self.is_local);
    }
}

/// Can something have been served then?
pub(crate) fn plausible(time: Duration, now: Duration) -> bool {
    (FIRST..=now.as_secs() + AHEAD).contains(&time.as_secs())
}

/// Digits that stand at a place.
fn digits(text: &[u8], from: usize, to: usize) -> Option<u32> {
    text.get(from..to)?.iter().try_fold(0u32, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

/// A date and time of day in UTC.
pub(crate) fn civil(year: i32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<Duration> {
    let in_range = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second <= 60;
    if !in_range || day > days_of(year, month) {
        return None;
    }
    // Days since 1970-03-01 of year 0, by eras of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = i64::from(year) - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second.min(59));
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

fn days_of(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `+0100`, `+01:00` or `Z`, in seconds east.
pub(super) fn offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.split_first()? {
        (b'Z' | b'z', []) => return Some(0),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let minutes = match rest.len() {
        4 => digits(rest, 2, 4)?,
        5 if rest.get(2) == Some(&b':') => digits(rest, 3, 5)?,
        2 => 0,
        _ => return None,
    };
    let hours = digits(rest, 0, 2)?;
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3_600 + minutes * 60))
}

fn shift(local: Duration, offset: i64) -> Option<Duration> {
    let distance = Duration::from_secs(offset.unsigned_abs());
    if offset > 0 { local.checked_sub(distance) } else { local.checked_add(distance) }
}

/// `20/Nov/2026:10:14:07 +0100`.
pub(crate) fn clf(text: &str) -> Option<Stamp> {
    let bytes = text.trim_ascii().as_bytes();
    let name = bytes.get(3..6)?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))? as u32 + 1;
    let separators = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':')];
    if separators.iter().any(|(at, separator)| bytes.get(*at) != Some(separator)) {
        return None;
    }
    let (day, year) = (digits(bytes, 0, 2)?, digits(bytes, 7, 11)?);
    let (hour, minute, second) = (digits(bytes, 12, 14)?, digits(bytes, 15, 17)?, digits(bytes, 18, 20)?);
    let local = civil(year as i32, month, day, hour, minute, second)?;
    let rest = bytes.get(20..)?;
    // Milliseconds may stand behind a point.
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => fraction.trim_ascii_start_digits(),
        _ => rest,
    };
    at(local, rest.trim_ascii())
}

/// A local time and what stands behind it: an offset, or nothing.
fn at(local: Duration, zone: &[u8]) -> Option<Stamp> {
    match zone {
        [] => Some(Stamp { time: local, is_local: true }),
        zone => Some(Stamp { time: shift(local, offset(zone)?)?, is_local: false }),
    }
}

/// The day of the last time that was read: most lines are of the day of the line before them.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Day {
    /// `20/Nov/2026` and ` +0100`.
    date: [u8; 11],
    zone: [u8; 6],
    /// Its midnight.
    start: Duration,
}

#[cfg(feature = "proxy")]
impl Day {
    /// As [`clf`], of `20/Nov/2026:10:14:07 +0100` and nothing longer or shorter.
    pub(crate) fn clf(&mut self, stamp: &[u8]) -> Option<Duration> {
        let (date, rest) = stamp.split_first_chunk::<11>()?;
        let (clock, zone) = rest.split_first_chunk::<9>()?;
        if *date != self.date || *zone != self.zone {
            self.start = Duration::ZERO;
            let text = [&date[..], b":00:00:00", zone].concat();
            let start = clf(std::str::from_utf8(&text).ok()?).filter(|stamp| !stamp.is_local)?.time;
            *self = Self { date: *date, zone: zone.try_into().ok()?, start };
        }
        let [b':', hour, hour_2, b':', minute, minute_2, b':', second, second_2] = *clock else { return None };
        let two = |high: u8, low: u8| {
            let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
            (high < 10 && low < 10).then(|| u64::from(high * 10 + low))
        };
        let (hour, minute, second) = (two(hour, hour_2)?, two(minute, minute_2)?, two(second, second_2)?);
        (hour < 24 && minute < 60 && second <= 60).then_some(())?;
        Some(self.start + Duration::from_secs(hour * 3_600 + minute * 60 + second.min(59)))
    }
}

trait Digits {
    fn trim_ascii_start_digits(&self) -> &[u8];
}

impl Digits for [u8] {
    fn trim_ascii_start_digits(&self) -> &[u8] {
        let end = self.iter().position(|b| !b.is_ascii_digit()).unwrap_or(self.len());
        self.get(end..).unwrap_or_default()
    }
}

/// RFC 3339; without an offset it is UTC.
pub(crate) fn rfc3339(text: &str) -> Option<Duration> {
    iso8601(text).map(|stamp| stamp.time)
}

/// As RFC 3339, with `T` or a space between, fractions, and an offset or none.
pub(crate) fn iso8601(text: &str) -> Option<Stamp> {
    let bytes = text.trim_ascii().as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let between = bytes.get(10)?;
    if !matches!(between, b'T' | b't' | b' ') || separators.iter().any(|(at, s)| bytes.get(*at) != Some(s)) {
        return None;
    }
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 7)?, digits(bytes, 8, 10)?);
    let (hour, minute, second) = (digits(bytes, 11, 13)?, digits(bytes, 14, 16)?, digits(bytes, 17, 19)?);
    let local = civil(year as i32, month, day, hour, minute, second)?;
    let rest = bytes.get(19..)?;
    let (nanos, zone) = match rest.split_first() {
        Some((b'.' | b',', fraction)) => {
            let zone = fraction.trim_ascii_start_digits();
            let digits = fraction.get(..fraction.len() - zone.len())?;
            let nanos = digits.iter().take(9).fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
            (nanos * 10u32.pow(9u32.saturating_sub(digits.len() as u32)), zone)
        }
        _ => (0, rest),
    };
    at(local + Duration::from_nanos(nanos.into()), zone.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_formats_of_logs() {
        let clf = |text| clf(text).map(|stamp| stamp.time);
        let rows: [(Option<Duration>, Option<u64>); 12] = [
            (clf("20/Nov/2026:10:14:07 +0100"), Some(1_795_166_047)),
            (clf("20/Nov/2026:10:14:07 -0530"), Some(1_795_166_047 + 3_600 + 19_800)),
            (clf("29/Feb/2024:00:00:00 +0000"), Some(1_709_164_800)),
            (clf("29/Feb/2023:00:00:00 +0000"), None),
            (clf("20/Foo/2026:10:14:07 +0100"), None),
            (clf("20/Nov/2026:24:14:07 +0100"), None),
            (clf("20/Nov/2026:10:14:07.123 +0100"), Some(1_795_166_047)),
            (rfc3339("2026-11-23T20:45:12Z"), Some(1_795_466_712)),
            (rfc3339("2026-11-23 20:45:12,5+02:00"), Some(1_795_466_712 - 7_200)),
            (rfc3339("2026-11-23T20:45:12"), Some(1_795_466_712)),
            (rfc3339("2026-11-23"), None),
            (rfc3339("2026-13-23T20:45:12Z"), None),
        ];
        for (index, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found.map(|time| time.as_secs()), expected, "row {index}");
        }
        assert_eq!(rfc3339("2026-11-23T20:45:12.345Z"), Some(Duration::from_millis(1_795_466_712_345)));
    }

    #[test]
    fn a_time_without_an_offset_is_known_as_such() {
        for (stamp, is_local) in [
            (clf("20/Nov/2026:10:14:07"), true),
            (clf("20/Nov/2026:10:14:07.250"), true),
            (clf("20/Nov/2026:10:14:07 +0000"), false),
            (iso8601("2026-11-20 10:14:07,5"), true),
            (iso8601("2026-11-20T10:14:07Z"), false),
        ] {
            assert_eq!(stamp.map(|stamp| (stamp.time.as_secs(), stamp.is_local)), Some((1_795_169_647, is_local)));
        }
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_calendar(seconds in 0i64..4_000_000_000) {
            let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(rfc3339(&text), Some(Duration::from_secs(seconds as u64)));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,40}") {
            let _ = (clf(&text), rfc3339(&text));
        }
    }
}
