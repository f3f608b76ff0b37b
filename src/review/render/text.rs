//! How numbers and texts are written for people.

use crate::audit::is_hidden;

/// Heights of a sparkline; the lowest is kept for zero.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The same heights without Unicode.
const ASCII_LEVELS: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '#'];

/// Controls and characters that turn text around are shown as escapes.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Columns that a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// At most `width` columns; what is missing at the end is marked.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

/// Bytes, in powers of 1000.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        value /= 1_000.0;
        if value < 9.95 {
            return format!("{value:.1} {unit}");
        }
        if value < 999.5 {
            return format!("{value:.0} {unit}");
        }
    }
    format!("{:.1} EB", value / 1_000.0)
}

/// A number with its thousands apart.
pub(super) fn group(number: u64) -> String {
    crate::unit::grouped(number, ',')
}

/// A share of 0–1 as per cent; what is not quite nothing or everything does not look like it.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value {
        _ if !value.is_finite() => "?".to_owned(),
        _ if value <= 0.0 => "0 %".to_owned(),
        _ if value < 0.1 => "< 0.1 %".to_owned(),
        _ if value < 9.95 => format!("{value:.1} %"),
        _ if (99.5..100.0).contains(&value) => "> 99 %".to_owned(),
        _ => format!("{value:.0} %"),
    }
}

/// A number with at most two decimals.
pub(super) fn decimal(number: f64) -> String {
    if !number.is_finite() {
        return "?".to_owned();
    }
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), group);
    if part.is_empty() { whole } else { format!("{whole}.{part}") }
}

/// A probability that matters where it is small.
pub(super) fn chance(p: f64) -> String {
    if p < 0.000_1 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// RFC 3339 to the minute; anything else as it is.
pub(super) fn moment(time: &str) -> String {
    let is_time = time.is_ascii() && matches!(time.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', ..]);
    let text = clean(time);
    if is_time { text.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect() } else { text }
}

/// A length of time in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", group(seconds / 86_400)),
    }
}

/// Counts as heights; only zero has the lowest.
pub(super) fn sparkline(counts: &[u64], most: u64) -> String {
    let level = |count: u64| {
        let height = (u128::from(count) * 7).div_ceil(u128::from(most.max(1)));
        LEVELS.get(height.min(7) as usize).copied().unwrap_or('█')
    };
    counts.iter().map(|&count| level(count)).collect()
}

/// Our own marks for a terminal without Unicode, each in one column.
pub(super) fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        '…' => '~',
        '–' => '-',
        c => LEVELS.iter().zip(ASCII_LEVELS).find(|(level, _)| **level == c).map_or(c, |(_, plain)| plain),
    };
    text.chars().map(plain).collect()
}

/// Lines of at most `width` columns, broken between words; `first` and `rest` are the indents.
pub(super) fn wrap(text: &str, width: usize, first: usize, rest: usize) -> Vec<String> {
    let width = width.max(first.max(rest) + 4);
    let mut lines = Vec::new();
    let mut line = " ".repeat(first);
    let mut room = width - first;
    let mut is_fresh = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !is_fresh && room <= columns(word) {
            lines.push(std::mem::replace(&mut line, " ".repeat(rest)));
            room = width - rest;
        } else if !is_fresh {
            line.push(' ');
            room -= 1;
        }
        for c in word.chars() {
            if room == 0 {
                lines.push(std::mem::replace(&mut line, " ".repeat(rest)));
                room = width - rest;
            }
            line.push(c);
            room -= 1;
        }
        is_fresh = false;
    }
    if !is_fresh {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(group), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1_000, 9_960, 999_600].map(size), ["0 B", "999 B", "1.0 kB", "10 kB", "1.0 MB"]);
        assert_eq!(size(u64::MAX), "18.4 EB");
        assert_eq!(
            [0.0, 0.0001, 0.034, 0.34, 0.999, 1.0].map(percent),
            ["0 %", "< 0.1 %", "3.4 %", "34 %", "> 99 %", "100 %"]
        );
        assert_eq!([10.0, 0.5, 1234.567].map(decimal), ["10", "0.5", "1,234.57"]);
        assert_eq!((percent(f64::NAN), decimal(f64::INFINITY)), ("?".to_owned(), "?".to_owned()));
        assert_eq!([1.0, 0.002_22, 3e-16].map(chance), ["1.0000", "0.0022", "< 0.0001"]);
        assert_eq!(moment("2026-11-20T10:00:00Z"), "2026-11-20 10:00");
        assert_eq!(moment("\u{1B}[31m"), "\\u{1b}[31m");
    }

    #[test]
    fn a_sparkline_tells_nothing_from_little() {
        assert_eq!(sparkline(&[0, 1, 1_000, u64::MAX], 1_000), "▁▂██");
        assert_eq!(sparkline(&[0, 0], 0), "▁▁");
        assert_eq!(ascii("▁▂█…"), " .#~");
    }

    #[test]
    fn lines_are_broken_between_words_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 9, 0, 2), ["one two", "  three"]);
        assert_eq!(wrap("abcdefghijkl", 8, 0, 2), ["abcdefgh", "  ijkl"]);
        assert!(wrap("  ", 8, 0, 2).is_empty());
        assert_eq!((cut("abc", 3), cut("abcd", 3), cut("abcd", 0)), ("abc".into(), "ab…".into(), String::new()));
    }
}
