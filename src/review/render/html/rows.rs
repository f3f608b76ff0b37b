//! How a table is made.

use super::UNFOLDED;
use super::charts::{count, number};
use Cell::{Number, Text};

/// Rows of one table.
pub(super) const ROWS: usize = 30;
/// From so many columns on a table scrolls by itself on a small screen.
const WIDE: usize = 4;

/// What stands in a cell, as HTML.
pub(super) enum Cell {
    Text(String),
    Number(String),
}

/// The first rows; the others up to [`ROWS`] unfold, and of more there is a line. Nothing without rows.
pub(super) fn table<T>(caption: &str, columns: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<Cell>) -> String {
    let shown: Vec<Vec<Cell>> = rows.iter().take(ROWS).map(cells).collect();
    let (first, rest) = shown.split_at_checked(UNFOLDED).unwrap_or((shown.as_slice(), &[]));
    let rest = folded(caption, columns, rest);
    whole_table(caption, columns, first) + &rest + &cut_off(shown.len(), rows.len())
}

/// Rows that unfold without a script, as a table of their own.
fn folded(caption: &str, columns: &[&str], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let from = UNFOLDED + 1;
    let table = whole_table(&format!("{caption}, from {from} on"), columns, rows);
    format!("<details>\n<summary>{}</summary>\n{table}</details>\n", count(rows.len() as u64, "row more", "rows more"))
}

/// A table of all these rows; nothing without rows. The first cell of each names it.
pub(super) fn whole_table(caption: &str, columns: &[&str], rows: &[Vec<Cell>]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let head: String = columns
        .iter()
        .zip(first)
        .map(|(column, cell)| match cell {
            Text(_) => format!("<th scope=\"col\">{column}</th>"),
            Number(_) => format!("<th scope=\"col\" class=\"number\">{column}</th>"),
        })
        .collect();
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells_of(row))).collect();
    let table = format!(
        "<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
    );
    if columns.len() < WIDE { table } else { scrolling(caption, &table) }
}

fn cells_of(row: &[Cell]) -> String {
    let cell = |(index, cell): (usize, &Cell)| match cell {
        Text(html) if index == 0 => format!("<th scope=\"row\">{html}</th>"),
        Number(html) if index == 0 => format!("<th scope=\"row\" class=\"number\">{html}</th>"),
        Text(html) => format!("<td>{html}</td>"),
        Number(html) => format!("<td class=\"number\">{html}</td>"),
    };
    row.iter().enumerate().map(cell).collect()
}

/// Can be scrolled by keyboard, too.
pub(super) fn scrolling(label: &str, table: &str) -> String {
    format!("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\n{table}</div>\n")
}

/// Says how many rows are left out.
pub(super) fn cut_off(shown: usize, all: usize) -> String {
    if shown == all {
        return String::new();
    }
    let (shown, all) = (number(shown as u64), number(all as u64));
    format!("<p class=\"quiet\">The first {shown} of {all}. <code>--json</code> has them all.</p>\n")
}
