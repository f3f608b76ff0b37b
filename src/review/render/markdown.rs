//! The report as Markdown, with the tables of GitHub.

use super::cells::{Cell, Section, Table, head};
use super::sections::sections;
use super::text::{clean, moment};
use crate::review::report::Report;

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut out =
        format!("# deckle review: {} to {}\n", escape(&moment(&verdict.first)), escape(&moment(&verdict.last)));
    for part in &sections(report) {
        out.push_str(&section(part));
    }
    out
}

fn section(section: &Section) -> String {
    let mut out = format!("\n## {}\n", section.title);
    for note in &section.notes {
        out.push_str(&format!("\n{}\n", escape(&clean(note))));
    }
    for part in section.filled() {
        if !part.caption.is_empty() {
            out.push_str(&format!("\n### {}\n", part.caption));
        }
        out.push('\n');
        out.push_str(&table(part));
    }
    if section.is_empty() {
        out.push_str(&format!("\n{}\n", section.empty));
    }
    out
}

fn table(table: &Table) -> String {
    let columns: Vec<(usize, &str)> =
        table.columns.iter().copied().enumerate().filter(|(_, name)| !table.quiet.contains(name)).collect();
    let heads: Vec<String> = columns.iter().map(|(_, name)| head(name)).collect();
    let rules: Vec<String> = columns.iter().map(|(index, _)| rule(table, *index).to_owned()).collect();
    let mut out = line(&heads) + &line(&rules);
    for row in &table.rows {
        let shown = |index: usize| row.get(index).map_or_else(String::new, |cell| value(table, index, cell));
        let cells: Vec<String> = columns.iter().map(|(index, _)| shown(*index)).collect();
        out.push_str(&line(&cells));
    }
    out
}

/// Names of facts are ours, and are written as the heads of columns are.
fn value(table: &Table, index: usize, cell: &Cell) -> String {
    let shown = cell.shown();
    escape(&if table.is_facts() && index == 0 { head(&shown) } else { shown })
}

fn rule(table: &Table, index: usize) -> &'static str {
    let is_right = !table.is_facts() && table.column(index).any(Cell::is_number);
    if is_right { "---:" } else { "---" }
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Text that stays text: no markup, no entities, and no links, which GitHub makes of bare addresses.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.replace("://", "\\://").replace("www.", "www\\.").replace("WWW.", "WWW\\.")
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::super::text::group;
    use super::*;

    fn pipes(line: &str) -> usize {
        let mut is_escaped = false;
        let is_pipe = |c: &char| {
            let counts = *c == '|' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            counts
        };
        line.chars().filter(is_pipe).count()
    }

    #[test]
    fn rows_of_a_table_have_the_same_number_of_cells() {
        let text = markdown(&sample());
        let lines: Vec<&str> = text.lines().collect();
        let mut tables = 0;
        for part in lines.split(|line| !line.starts_with('|')).filter(|part| !part.is_empty()) {
            tables += 1;
            assert!(part.len() > 2, "{part:?}");
            assert!(part.iter().all(|line| pipes(line) == pipes(part[0])), "{part:#?}");
        }
        assert!(tables > 10, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("## ")).count(), 16);
    }

    #[test]
    fn nothing_that_was_sent_is_markup() {
        assert_eq!(escape("a|b`c<d>\\&"), "a\\|b\\`c&lt;d&gt;\\\\&amp;");
        assert_eq!(escape("[x](https://a.example)"), "\\[x\\](https\\://a.example)");
        let text = markdown(&sample());
        assert!(!text.contains('<') && !text.contains('\u{1B}') && !text.contains('\u{202E}'), "{text}");
        assert_eq!(text.matches("://").count(), text.matches("\\://").count(), "{text}");
    }

    #[test]
    fn numbers_are_those_of_the_report() {
        let report = sample();
        let text = markdown(&report);
        let has = |name: &str, number: u64| text.contains(&format!("| {name} | {} |\n", group(number)));
        assert!(has("requests", report.verdict.hits), "{text}");
        assert!(has("suspects", report.verdict.suspects as u64), "{text}");
        for row in report.robots.rows.iter().filter(|_| report.robots.evaluated) {
            let (requests, violations) = (group(row.requests), group(row.read_then_ignored + row.never_asked));
            assert!(text.contains(&format!(" | {requests} | {violations} | ")), "{requests} {violations}\n{text}");
        }
    }
}
