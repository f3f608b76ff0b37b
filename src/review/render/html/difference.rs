//! What is different from another part of the log.

use super::rows::Cell::{Number, Text};
use super::rows::table;
use super::tables::{of, raw};
use super::{MAX_TEXT, escaped, text};
use crate::review::render::difference::notes;
use crate::review::render::text::{chance, decimal};
use crate::review::report::Report;

/// The section; nothing where nothing was compared.
pub(super) fn difference(report: &Report) -> String {
    let Some(found) = &report.difference else { return String::new() };
    let intro = |note: &String| format!("<p class=\"quiet\">{}</p>\n", escaped(note, 2 * MAX_TEXT));
    let intro: String = notes(found).iter().map(intro).collect();
    let columns =
        ["Name", "Counted", "Change", "Before", "Now", "Before, a day", "Now, a day", "Ratio", "p", "p, corrected"];
    let number = |value: f64| Number(text(&decimal(value)));
    let rows = table("What is new, what is gone, and what has changed", &columns, &found.rows, |row| {
        vec![
            raw(&row.name),
            Text(kind_words(row.kind).to_owned()),
            Text(text(row.change)),
            of(row.old),
            of(row.new),
            number(row.old_per_day),
            number(row.new_per_day),
            row.ratio.map_or_else(|| Number("–".to_owned()), number),
            Number(text(&chance(row.p))),
            Number(text(&chance(row.p_corrected))),
        ]
    });
    intro + &rows
}

fn kind_words(kind: &str) -> &'static str {
    match kind {
        "agent" => "requests of an agent",
        "suspect" => "requests of a suspect",
        "network" => "requests of suspects of a network",
        "article" => "robots that took an article",
        "status" => "requests with this answer",
        "violations" => "requests against robots.txt",
        _ => "requests",
    }
}
