//! The report as CSV (RFC 4180): one file a table, every value as it was sent.

use super::cells::Cell::{self, Count};
use super::cells::{Table, fact};
use super::difference::totals;
use super::sections::{WEEKDAYS, numbers, sections};
use crate::review::report::{Report, Times};

/// Files by name.
pub fn csv(report: &Report) -> Vec<(&'static str, String)> {
    let shared = sections(report);
    let own = tables(report);
    let tables = shared.iter().flat_map(|section| &section.tables).chain(&own);
    let mut files: Vec<_> = tables.filter_map(|table| Some((table.file?, document(table)))).collect();
    files.sort_by_key(|(name, _)| *name);
    files
}

/// What people read as sentences or see as drawings.
fn tables(report: &Report) -> Vec<Table> {
    let (verdict, robots, content, marks) = (&report.verdict, &report.robots, &report.content, &report.marks);
    let sentences = verdict.sentences.iter().map(|sentence| fact("sentence", Cell::text(sentence)));
    let series = report
        .time
        .series
        .iter()
        .map(|row| vec![Cell::time(&row.start), Count(row.people), Count(row.robots), Count(row.suspects)]);
    let robots = vec![
        fact("evaluated", Cell::flag(robots.evaluated)),
        fact("reason", Cell::maybe(robots.reason)),
        fact("versions", Count(robots.versions as u64)),
    ];
    let content = vec![fact("articles", Count(content.articles)), fact("never_taken", Count(content.never_taken))];
    let marks = vec![fact("issued", Count(marks.issued)), fact("visitors", Count(marks.visitors))];
    let difference = report.difference.as_ref();
    let mut tables = vec![
        Table::facts("verdict.csv", "", sentences.chain(numbers(verdict)).collect()),
        Table::facts("robots_totals.csv", "", robots),
        Table::facts("content_totals.csv", "", content),
        Table::facts("marks_totals.csv", "", marks),
        Table::new("time.csv", "", &["weekday", "hour", "hits", "automated"], hours(&report.time)),
        Table::new("time_series.csv", "", &["start", "people", "robots", "suspects"], series),
    ];
    tables.extend(difference.map(|found| Table::facts("difference_totals.csv", "", totals(found))));
    tables
}

/// One row a weekday and hour.
fn hours(times: &Times) -> impl Iterator<Item = Vec<Cell>> {
    WEEKDAYS.iter().zip(&times.heat).enumerate().flat_map(move |(day, (name, hours))| {
        let automated = times.heat_automated.get(day);
        hours.iter().enumerate().map(move |(hour, hits)| {
            let automated = automated.and_then(|hours| hours.get(hour)).copied().unwrap_or(0);
            vec![Cell::text(name), Count(hour as u64), Count(*hits), Count(automated)]
        })
    })
}

fn document(table: &Table) -> String {
    let head = table.columns.iter().map(|name| (*name).to_owned()).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(Cell::raw).collect());
    std::iter::once(head).chain(rows).map(|row: Vec<String>| record(&row)).collect()
}

fn record(cells: &[String]) -> String {
    let fields: Vec<String> = cells.iter().map(|cell| field(cell)).collect();
    fields.join(",") + "\r\n"
}

/// One field. Spreadsheets would run what begins like a formula, so that it gets a quote in front. Some of them divide
/// rows at semicolons and tabs, which would bring the middle of a text to the beginning of a cell.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', ';', '"', '\t', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    /// The rows of an RFC 4180 text.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
                '\r' if !is_quoted => {
                    assert_eq!(chars.next(), Some('\n'));
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                '\n' if !is_quoted => panic!("a line feed alone"),
                c => cell.push(c),
            }
        }
        assert!(!is_quoted && row.is_empty() && cell.is_empty(), "an end in the middle");
        rows
    }

    #[test]
    fn every_file_reads_back_and_holds_no_formula() {
        let files = csv(&sample());
        for (name, text) in &files {
            let rows = parse(text);
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{name}");
            let formula = rows.iter().flatten().find(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r']));
            assert_eq!(formula, None, "{name}");
        }
        let mut names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        names.dedup();
        assert_eq!(names.len(), files.len(), "one file a name");
        for section in [
            "verdict",
            "difference",
            "suspects",
            "agents",
            "robots",
            "content",
            "bandwidth",
            "time",
            "shape",
            "new_agents",
            "status",
            "referrers",
            "marks",
            "actions",
            "simulation",
            "quality",
        ] {
            assert!(names.contains(&format!("{section}.csv").as_str()), "{section}");
        }
    }

    #[test]
    fn fields_keep_what_was_sent() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(field("=1+1"), "'=1+1");
        assert_eq!(field("\tx"), "\"'\tx\"");
        assert_eq!(field("x;=1+1"), "\"x;=1+1\"");
        assert_eq!(parse(&record(&["a\r\nb".into(), String::new()])), [["a\r\nb", ""]]);
    }

    #[test]
    fn numbers_are_those_of_the_report() {
        let report = sample();
        let files = csv(&report);
        let rows = |name| parse(&files.iter().find(|(file, _)| *file == name).unwrap().1);
        let fact = |name: &str| rows("verdict.csv").into_iter().find(|row| row[0] == name).unwrap()[1].clone();
        assert_eq!(fact("hits"), report.verdict.hits.to_string());
        assert_eq!(fact("suspects"), report.verdict.suspects.to_string());
        assert_eq!(rows("suspects.csv").len(), report.suspects.len() + 1);
        assert_eq!(rows("time.csv").len(), report.time.heat.len() * 24 + 1);
        let robots = rows("robots.csv");
        let place = robots[0].iter().position(|name| name == "violations").unwrap();
        for (row, cells) in report.robots.rows.iter().zip(robots.iter().skip(1)) {
            let violations = (row.read_then_ignored + row.never_asked).to_string();
            assert_eq!(cells[place], if report.robots.evaluated { violations } else { String::new() });
        }
    }
}
