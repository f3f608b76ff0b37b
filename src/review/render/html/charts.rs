//! Quantities: as numbers, and as charts in inline SVG. Colours are in the style sheet; each chart has its numbers
//! beside it.

use super::rows::{Cell, scrolling, whole_table};
use super::{MAX_WORD, escaped, suspect_name};
use crate::review::report::{SeriesRow, Suspect};

/// Columns of the chart over time; more steps than that are added up.
const MAX_COLUMNS: usize = 96;
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;
/// Parts of a sparkline.
const PARTS: usize = 24;
/// Shades of the heat map, nothing not counted.
const SHADES: u64 = 5;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Requests over time: people below, robots above them, suspects on top.
pub(super) fn series(rows: &[SeriesRow], step_s: u64) -> String {
    let steps = rows.len().div_ceil(MAX_COLUMNS).max(1);
    let columns: Vec<SeriesRow> = rows.chunks(steps).filter_map(added_up).collect();
    let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
        return "<p>There were no requests.</p>\n".to_owned();
    };
    let most = columns.iter().map(total).max().unwrap_or(0);
    let top = rounded_up(most);
    let step = duration(step_s.saturating_mul(steps as u64));
    format!(
        "<figure>\n<figcaption>Each column is {step}. From below: <span class=\"key people\"></span> people, \
         <span class=\"key robots\"></span> declared robots (striped), <span class=\"key suspects\"></span> suspects.\
         </figcaption>\n<div class=\"plot\">\n\
         <div class=\"axis\" aria-hidden=\"true\"><span>{}</span><span>{}</span><span>0</span></div>\n{}\
         <div class=\"ends\" aria-hidden=\"true\"><span>{}</span><span>{}</span></div>\n</div>\n\
         <details>\n<summary>The numbers of this chart</summary>\n{}</details>\n</figure>\n",
        number(top),
        number(top / 2),
        stacked(&columns, top, most),
        time(&first.start),
        time(&last.start),
        series_table(&columns)
    )
}

fn stacked(columns: &[SeriesRow], top: u64, most: u64) -> String {
    let pitch = WIDTH / columns.len().max(1) as f64;
    let bars: String = columns.iter().enumerate().map(|(i, row)| column(row, i as f64 * pitch, pitch, top)).collect();
    format!(
        "<svg class=\"series\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\">\n\
         <title>Requests over time</title>\n<desc>Stacked columns of people, declared robots and suspects; the highest \
         has {}.</desc>\n<defs><pattern id=\"stripes\" width=\"8\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
         <rect class=\"ground\" width=\"8\" height=\"6\"/><rect class=\"stripe\" width=\"8\" height=\"3\"/></pattern>\
         </defs>\n<path class=\"grid\" d=\"M0 0H{WIDTH}M0 {}H{WIDTH}M0 {HEIGHT}H{WIDTH}\"/>\n{bars}</svg>\n",
        number(most),
        HEIGHT / 2.0
    )
}

fn column(row: &SeriesRow, x: f64, pitch: f64, top: u64) -> String {
    let width = pitch - (pitch * 0.2).min(4.0);
    let mut bottom = HEIGHT;
    let mut bars = String::new();
    for (class, value) in [("people", row.people), ("robots", row.robots), ("suspects", row.suspects)] {
        let height = value as f64 / top as f64 * HEIGHT;
        bottom -= height;
        if value > 0 {
            bars.push_str(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{bottom:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            ));
        }
    }
    format!(
        "<g><title>{}: people {}, robots {}, suspects {}</title>{bars}</g>\n",
        time(&row.start),
        number(row.people),
        number(row.robots),
        number(row.suspects)
    )
}

fn series_table(columns: &[SeriesRow]) -> String {
    let rows: Vec<Vec<Cell>> = columns
        .iter()
        .map(|row| {
            let numbers = [row.people, row.robots, row.suspects, total(row)].map(|value| Cell::Number(number(value)));
            [Cell::Text(time(&row.start))].into_iter().chain(numbers).collect()
        })
        .collect();
    whole_table("Requests over time", &["From (UTC)", "People", "Robots", "Suspects", "All"], &rows)
}

/// Several steps as one; nothing of none.
fn added_up(steps: &[SeriesRow]) -> Option<SeriesRow> {
    let (first, rest) = steps.split_first()?;
    let mut sum = first.clone();
    for step in rest {
        sum.people = sum.people.saturating_add(step.people);
        sum.robots = sum.robots.saturating_add(step.robots);
        sum.suspects = sum.suspects.saturating_add(step.suspects);
    }
    Some(sum)
}

fn total(row: &SeriesRow) -> u64 {
    row.people.saturating_add(row.robots).saturating_add(row.suspects)
}

/// The next even number that is easy to read: 2, 4, 6, 8, 10, 20, 40 …
fn rounded_up(most: u64) -> u64 {
    let mut step = 1_u64;
    while step.saturating_mul(10) < most {
        step = step.saturating_mul(10);
    }
    [2, 4, 6, 8, 10].into_iter().map(|factor| step.saturating_mul(factor)).find(|top| *top >= most).unwrap_or(most)
}

/// Requests by weekday and hour: a table whose cells are shaded. Nothing if there were none.
pub(super) fn heat(caption: &str, days: &[[u64; 24]]) -> String {
    let most = days.iter().flatten().copied().max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let hours: String = (0..24).map(|hour| format!("<th scope=\"col\">{hour:02}</th>")).collect();
    let rows: String = DAYS
        .iter()
        .zip(days)
        .map(|(day, hours)| {
            let cells: String = hours.iter().map(|value| heat_cell(*value, most)).collect();
            format!("<tr><th scope=\"row\">{day}</th>{cells}</tr>\n")
        })
        .collect();
    let table = format!(
        "<table class=\"heat\">\n<caption>{caption}; the most in an hour is {}</caption>\n<thead><tr>\
         <th scope=\"col\">Day</th>{hours}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        number(most)
    );
    scrolling(caption, &table)
}

fn heat_cell(value: u64, most: u64) -> String {
    let shade = (u128::from(value) * u128::from(SHADES)).div_ceil(u128::from(most.max(1)));
    format!("<td class=\"heat-{shade}\">{}</td>", compact(value))
}

/// At most four characters, so that a day fits into a line.
fn compact(value: u64) -> String {
    match value {
        0..1_000 => value.to_string(),
        1_000..9_950 => format!("{:.1}k", value as f64 / 1e3),
        9_950..999_500 => format!("{:.0}k", value as f64 / 1e3),
        999_500..9_950_000 => format!("{:.1}M", value as f64 / 1e6),
        9_950_000..999_500_000 => format!("{:.0}M", value as f64 / 1e6),
        _ => format!("{:.0}G", value as f64 / 1e9),
    }
}

/// Requests of one suspect over the period.
pub(super) fn sparkline(values: &[u32]) -> String {
    let most = values.iter().take(PARTS).copied().max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let bar = |(index, value): (usize, &u32)| {
        let height = (f64::from(*value) / f64::from(most) * 22.0).max(1.0);
        format!("M{} 24v-{height:.1}h3v{height:.1}z", index * 4)
    };
    let path: String = values.iter().take(PARTS).enumerate().filter(|(_, value)| **value > 0).map(bar).collect();
    let listed: Vec<String> = values.iter().take(PARTS).map(|value| number((*value).into())).collect();
    format!(
        "<svg class=\"sparkline\" viewBox=\"0 0 {} 24\" role=\"img\"><title>Requests over time, at most {}</title>\
         <desc>In {} equal parts of the period: {}.</desc><path class=\"suspects\" d=\"{path}\"/>\
         <path class=\"grid\" d=\"M0 24H{}\"/></svg>\n",
        PARTS * 4,
        number(most.into()),
        listed.len(),
        listed.join(", "),
        PARTS * 4
    )
}

/// The numbers of all sparklines.
pub(super) fn sparkline_table(suspects: &[&Suspect]) -> String {
    let parts = suspects.iter().map(|suspect| suspect.sparkline.len().min(PARTS)).max().unwrap_or(0);
    if parts == 0 {
        return String::new();
    }
    let numbers: Vec<String> = (1..=parts).map(|part| part.to_string()).collect();
    let columns: Vec<&str> = std::iter::once("Suspect").chain(numbers.iter().map(String::as_str)).collect();
    let row = |suspect: &&Suspect| -> Vec<Cell> {
        let values = suspect.sparkline.iter().copied().chain(std::iter::repeat(0)).take(parts);
        let values = values.map(|value| Cell::Number(number(value.into())));
        std::iter::once(Cell::Text(suspect_name(suspect))).chain(values).collect()
    };
    let rows: Vec<Vec<Cell>> = suspects.iter().map(row).collect();
    let caption = format!("Requests of suspects in {parts} equal parts of the period");
    let table = whole_table(&caption, &columns, &rows);
    format!("<details>\n<summary>Requests of suspects over time, in numbers</summary>\n{table}</details>\n")
}

/// A share of 0–1 as a bar; its number must stand beside it.
pub(super) fn share_bar(share: f64) -> String {
    let width = if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" role=\"img\" aria-hidden=\"true\">\
         <title>{}</title><desc>The number beside it as a bar.</desc><rect class=\"track\" width=\"100\" height=\"6\"/>\
         <rect class=\"share\" width=\"{width:.1}\" height=\"6\"/></svg>",
        percent(share)
    )
}

/// RFC 3339 as "23 Nov 2026, 20:45".
pub(super) fn time(raw: &str) -> String {
    match raw.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%-d %b %Y, %H:%M").to_string(),
        Err(_) => escaped(raw, MAX_WORD),
    }
}

pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", number(seconds / 86_400)),
    }
}

/// "1 204 332", with narrow spaces that do not break.
pub(super) fn number(value: u64) -> String {
    crate::unit::grouped(value, '\u{202F}')
}

pub(super) fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// A share of 0–1; below 10 % with one decimal.
pub(super) fn percent(share: f64) -> String {
    let value = if share.is_finite() { share * 100.0 } else { 0.0 };
    if value > 0.0 && value < 0.05 {
        "&lt;0.1\u{202F}%".to_owned()
    } else if value < 9.95 {
        format!("{value:.1}\u{202F}%")
    } else {
        format!("{value:.0}\u{202F}%")
    }
}

/// Bytes in powers of 1000.
pub(super) fn bytes(value: u64) -> String {
    if value < 1_000 {
        return format!("{value}\u{202F}B");
    }
    let mut rest = value as f64 / 1_000.0;
    let mut unit = "kB";
    for next in ["MB", "GB", "TB", "PB"] {
        if rest < 999.5 {
            break;
        }
        rest /= 1_000.0;
        unit = next;
    }
    let decimals = usize::from(rest < 9.95);
    format!("{rest:.decimals$}\u{202F}{unit}")
}
