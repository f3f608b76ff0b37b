//! Sections as tables of cells: made once, so that all text renderers show the same numbers.

use super::text::{clean, columns, decimal, group, moment, percent, size, sparkline};
use crate::review::report::{Robots, SourceInfo, Suspect};

/// Columns of what is a name and a value.
const FACTS: &[&str] = &["name", "value"];
/// One section of the report.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// What is said where there is nothing to show.
    pub(super) empty: &'static str,
    /// Sentences above the tables.
    pub(super) notes: Vec<String>,
    pub(super) tables: Vec<Table>,
}

impl Section {
    /// A section without notes.
    pub(super) fn new(title: &'static str, empty: &'static str, tables: Vec<Table>) -> Self {
        Self { title, empty, notes: Vec::new(), tables }
    }

    /// The section with sentences above its tables.
    pub(super) fn noting(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// The tables in which there is something.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.rows.is_empty())
    }

    /// Nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.filled().next().is_none()
    }
}

/// One table of a section.
pub(super) struct Table {
    /// The file that holds it as CSV; none: only people need it.
    pub(super) file: Option<&'static str>,
    /// What it is, where a section has several.
    pub(super) caption: &'static str,
    /// Names as in `--json`.
    pub(super) columns: &'static [&'static str],
    /// Columns that people are spared.
    pub(super) quiet: &'static [&'static str],
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table for everybody.
    pub(super) fn new(
        file: &'static str,
        caption: &'static str,
        columns: &'static [&'static str],
        rows: impl Iterator<Item = Vec<Cell>>,
    ) -> Self {
        Self { file: Some(file), caption, columns, quiet: &[], rows: rows.collect() }
    }

    /// Names and their values.
    pub(super) fn facts(file: &'static str, caption: &'static str, facts: Vec<(String, Cell)>) -> Self {
        Self::new(file, caption, FACTS, facts.into_iter().map(|(name, value)| vec![Cell::Text(name), value]))
    }

    /// The table with columns that people are spared.
    pub(super) fn without(self, quiet: &'static [&'static str]) -> Self {
        Self { quiet, ..self }
    }

    /// The table, in no file.
    pub(super) fn for_people(self) -> Self {
        Self { file: None, ..self }
    }

    /// Made by [`Table::facts`].
    pub(super) fn is_facts(&self) -> bool {
        self.columns == FACTS
    }

    /// The cells of a column, by its place.
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(index))
    }

    /// Columns of a terminal that the longest of these takes.
    pub(super) fn longest(&self, index: usize) -> usize {
        self.column(index).map(|cell| columns(&cell.shown())).max().unwrap_or(0)
    }

    /// Lines are drawn in it.
    pub(super) fn is_drawn(&self, index: usize) -> bool {
        self.column(index).any(|cell| matches!(cell, Cell::Series(..)))
    }

    /// Several texts stand in one cell.
    pub(super) fn is_list(&self, index: usize) -> bool {
        self.column(index).any(|cell| matches!(cell, Cell::List(_)))
    }

    /// Nothing but blanks or zeros says nothing; that there were no violations does.
    pub(super) fn says(&self, index: usize) -> bool {
        let is_telling = matches!(self.columns.get(index), Some(&("requests" | "hits" | "violations")));
        self.column(index).any(|cell| match cell {
            Cell::Count(0) | Cell::Bytes(0) => is_telling,
            cell => !cell.shown().is_empty(),
        })
    }
}

/// One value of a table.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// Nothing is known.
    None,
    /// Text.
    Text(String),
    /// What programs read, and what people read.
    Shown(String, String),
    /// A number of things.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// A part of the whole, 0–1.
    Share(f64),
    /// Any other number.
    Decimal(f64),
    /// RFC 3339.
    Time(String),
    /// Several texts.
    List(Vec<String>),
    /// Counts one after another, and the count that is drawn at full height.
    Series(Vec<u64>, u64),
}

impl Cell {
    /// Text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Text, if there is any.
    pub(super) fn maybe(text: Option<&str>) -> Self {
        text.map_or(Self::None, Self::text)
    }

    /// A number, if there is any.
    pub(super) fn decimal(number: Option<f64>) -> Self {
        number.map_or(Self::None, Self::Decimal)
    }

    /// A time.
    pub(super) fn time(time: &str) -> Self {
        Self::Time(time.to_owned())
    }

    /// Several texts.
    pub(super) fn list<S: AsRef<str>>(items: &[S]) -> Self {
        Self::List(items.iter().map(|item| item.as_ref().to_owned()).collect())
    }

    /// A verification state; nobody is called a fake without the date of the list, where that is in the note.
    pub(super) fn state(verification: &str, note: Option<&str>) -> Self {
        let shown = match (verification, note) {
            ("failed", Some(note)) if note.starts_with("fake") => note,
            ("failed", _) => "fake",
            (other, _) => other,
        };
        Self::Shown(verification.to_owned(), shown.to_owned())
    }

    /// Yes, or nothing at all.
    pub(super) fn flag(set: bool) -> Self {
        Self::Shown(set.to_string(), if set { "yes".to_owned() } else { String::new() })
    }

    /// Counts that are drawn on a scale of their own.
    pub(super) fn series(counts: Vec<u64>) -> Self {
        let most = counts.iter().copied().max().unwrap_or(0);
        Self::Series(counts, most)
    }

    /// Numbers stand at the right.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Bytes(_) | Self::Share(_) | Self::Decimal(_))
    }

    /// For programs: exact, and as it was sent.
    pub(super) fn raw(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) | Self::Time(text) | Self::Shown(text, _) => text.clone(),
            Self::Count(number) | Self::Bytes(number) => number.to_string(),
            Self::Share(number) | Self::Decimal(number) => number.to_string(),
            Self::List(items) => items.join("; "),
            Self::Series(counts, _) => counts.iter().map(u64::to_string).collect::<Vec<_>>().join("; "),
        }
    }

    /// For people: rounded, and with nothing hidden in it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) | Self::Shown(_, text) => clean(text),
            Self::Count(number) => group(*number),
            Self::Bytes(bytes) => size(*bytes),
            Self::Share(share) => percent(*share),
            Self::Decimal(number) => decimal(*number),
            Self::Time(time) => moment(time),
            Self::List(items) => clean(&items.join("; ")),
            Self::Series(counts, most) => sparkline(counts, *most),
        }
    }
}

/// What a reader has to know before the numbers.
pub(super) fn warnings(source: &SourceInfo) -> Vec<String> {
    let mut notes = Vec::new();
    if !source.filters.is_empty() {
        notes.push(format!("Only what the filters let through: {}.", source.filters.join(", ")));
    }
    if source.partial {
        notes.push("Reading was interrupted: the numbers are those of the part that was read.".to_owned());
    }
    if let Some(lost) = source.approximate {
        notes.push(format!(
            "Memory did not reach for about {} visitors. Their {} requests are in every total; a count of one of the \
             other visitors may be too low by up to {}.",
            group(lost.visitors),
            group(lost.hits),
            group(lost.short_by)
        ));
    }
    notes
}

/// The name of a suspect for people.
pub(super) fn name(suspect: &Suspect) -> String {
    let fake = if suspect.verification == "failed" { "fake " } else { "" };
    let name = suspect.agent.as_deref().or(suspect.user_agent.as_deref());
    format!("{fake}{}", name.filter(|name| !name.is_empty()).unwrap_or("(no user agent)"))
}

/// Why nothing is said about obedience.
pub(super) fn not_evaluated(robots: &Robots) -> String {
    format!("Not evaluated: {}.", robots.reason.unwrap_or("the robots.txt of that time is not known"))
}

/// A name and its value.
pub(super) fn fact(name: &str, value: Cell) -> (String, Cell) {
    (name.to_owned(), value)
}

/// A column's name for people.
pub(super) fn head(column: &str) -> String {
    match column {
        "p50" => "median/min".to_owned(),
        "p99" => "p99/min".to_owned(),
        "max" => "max/min".to_owned(),
        "seconds" => "after".to_owned(),
        "sparkline" => "over time".to_owned(),
        "hits" => "requests".to_owned(),
        other => other.replace('_', " "),
    }
}
