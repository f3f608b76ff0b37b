//! The values of fields.

use super::super::combined::present;
use super::super::hit::{Hit, Skipped, Text};
use super::SECOND;

pub(super) fn read_target<'l>(target: Text<'l>, hit: &mut Hit<'l>) {
    let Some(target) = present(target) else { return };
    hit.query = present(cut(target.clone(), |text| text.split_once('?').map_or("", |(_, query)| query)));
    hit.path = cut(target, |text| text.split_once('?').map_or(text, |(path, _)| path));
}

/// A part of a text, still borrowed if the text is.
pub(super) fn cut(text: Text<'_>, part: fn(&str) -> &str) -> Text<'_> {
    match text {
        Text::Borrowed(text) => Text::Borrowed(part(text)),
        Text::Owned(text) => Text::Owned(part(&text).to_owned()),
    }
}

/// nginx writes `000` where nothing was answered.
pub(super) fn status(text: &str) -> Result<Option<u16>, Skipped> {
    if matches!(text, "" | "-" | "0" | "000") {
        return Ok(None);
    }
    let status = text.parse::<u16>().ok().filter(|status| (100..1_000).contains(status));
    status.map(Some).ok_or(Skipped::Malformed)
}

pub(super) fn bytes(text: &str) -> Result<u64, Skipped> {
    if matches!(text, "" | "-") { Ok(0) } else { text.parse().map_err(|_| Skipped::Malformed) }
}

/// All servers that were asked for one answer, `0.004, 0.010 : -`.
pub(super) fn sum(text: &str) -> Option<u64> {
    text.split([',', ':']).filter_map(|time| micros(time.trim(), SECOND)).reduce(u64::saturating_add)
}

/// Exact, which a floating-point number since 1970 is not.
pub(super) fn micros(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = fraction.chars().chain(std::iter::repeat('0')).take(6);
    let millionths = digits.try_fold(0_u64, |sum, digit| Some(sum * 10 + u64::from(digit.to_digit(10)?)))?;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(millionths * unit / SECOND)
}
