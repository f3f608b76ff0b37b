//! The report for a terminal: one screen, or all of it. No line is wider than the terminal, nothing that was sent can
//! steer it, and colour only repeats what the words say.

use super::cells::{Cell, Section, Table, head, name, not_evaluated, warnings};
use super::difference::notes;
use super::grid::{GAP, Grid, INDENT, Line, Style, bold, dim, marked, pad, paint, paragraph, plain, shown};
use super::sections::sections;
use super::simulation::{COLUMNS, summary};
use super::suspects::system;
use super::text::{ascii, clean, columns, cut, group, moment, size, wrap};
use crate::review::report::{Quality, Report, Suspect};

/// Lines of a screen whose height nobody knows.
const HEIGHT: usize = 40;
/// From this height on there is room for air.
const AIRY: usize = 30;
/// Rows of a table that may come onto the screen.
const ROWS: usize = 8;

/// How the terminal looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Lines, where it is known.
    pub height: Option<usize>,
    /// It shows colour.
    pub colour: bool,
    /// It shows Unicode.
    pub unicode: bool,
    /// All sections, on as many screens as it takes.
    pub full: bool,
}

/// The report as lines of at most `look.width` columns.
pub fn terminal(report: &Report, look: Look) -> String {
    let look = Look { width: look.width.clamp(20, 200), ..look };
    let lines = if look.full { whole(report, look) } else { screen(report, look) };
    let text: String = lines.iter().map(|line| paint(line, look) + "\n").collect();
    if look.unicode { text } else { ascii(&text) }
}

/// A part of the screen of which as much is shown as fits.
struct Block {
    head: Line,
    items: Vec<Vec<Line>>,
    /// Items that come before those of the next block.
    first: usize,
}

fn screen(report: &Report, look: Look) -> Vec<Line> {
    // The last line of the terminal is that of the prompt.
    let height = look.height.unwrap_or(HEIGHT).max(12) - 1;
    let gap = usize::from(height >= AIRY);
    let mut lines = opening(report, look, gap);
    lines.truncate(height - 4);
    let more = dim("More: --full for all sections, --html report.html as a page");
    let closing = [data(&report.quality), more];
    let blocks = blocks(report, look, gap == 1);
    let room = height.saturating_sub(lines.len() + closing.len() + gap);
    for (block, count) in blocks.iter().zip(portions(&blocks, room, gap)) {
        if count > 0 {
            lines.extend(vec![Line::new(); gap]);
            lines.push(block.head.clone());
            lines.extend(block.items.iter().take(count).flatten().cloned());
        }
    }
    lines.extend(vec![Line::new(); gap]);
    lines.extend(closing);
    lines
}

/// How many items of each block fit: the blocks take turns.
fn portions(blocks: &[Block], room: usize, gap: usize) -> Vec<usize> {
    let mut counts = vec![0; blocks.len()];
    let mut left = room;
    loop {
        let before = left;
        for (block, count) in blocks.iter().zip(&mut counts) {
            let turns = if *count == 0 { block.first } else { 1 };
            for _ in 0..turns {
                let Some(item) = block.items.get(*count) else { break };
                let heading = if *count == 0 { 1 + gap } else { 0 };
                let cost = item.len() + heading;
                if cost > left {
                    break;
                }
                left -= cost;
                *count += 1;
            }
        }
        if left == before {
            return counts;
        }
    }
}

fn title(report: &Report, look: Look) -> Line {
    let verdict = &report.verdict;
    let (name, period) = ("deckle review", format!("   {} to {}", moment(&verdict.first), moment(&verdict.last)));
    let hits = format!("   {} requests", group(verdict.hits));
    let mut line = bold(name);
    let fits = columns(name) + columns(&period) + columns(&hits) <= look.width;
    line.extend(plain(period));
    line.extend(fits.then_some((Style::Dim, hits)));
    line
}

fn opening(report: &Report, look: Look, gap: usize) -> Vec<Line> {
    let mut lines = vec![title(report, look)];
    lines.extend(vec![Line::new(); gap]);
    for sentence in &report.verdict.sentences {
        lines.extend(paragraph(sentence, look, Style::Plain).into_iter().take(3));
    }
    for warning in warnings(&report.source) {
        lines.extend(paragraph(&warning, look, Style::Dim).into_iter().take(2));
    }
    lines
}

fn blocks(report: &Report, look: Look, is_airy: bool) -> Vec<Block> {
    let mut sections = sections(report);
    let tables = sections.iter_mut().flat_map(|section| &mut section.tables);
    let totals: Vec<(usize, &Table)> = tables
        .map(|table| {
            let total = table.rows.len();
            table.rows.truncate(ROWS);
            (total, &*table)
        })
        .collect();
    let block = |file: &str, title: &str, picked: &[&str]| {
        let (total, table) = totals.iter().find(|(_, table)| table.file == Some(file))?;
        let title = format!("{title} ({total})");
        let grid = Grid::new(table, Some(&title), Some(picked), look)?;
        let items = table.rows.iter().map(|row| vec![grid.row(row, &shown(row, grid.first))]).collect();
        Some(Block { head: grid.head(&title, Style::Bold), items, first: 1 })
    };
    let suspects = report.suspects.iter().take(ROWS).zip(1..);
    let suspects = suspects.map(|(suspect, rank)| brief(rank, suspect, look, if is_airy { 2 } else { 1 })).collect();
    let head = bold(format!("Suspected scrapers ({})", report.suspects.len()));
    let robots = if report.robots.evaluated {
        block("robots.csv", "robots.txt", &["title", "requests", "violations", "obeyed", "unknown"])
    } else {
        let items = vec![vec![plain(format!("  {}", clean(&not_evaluated(&report.robots))))]];
        Some(Block { head: bold("robots.txt"), items, first: 1 })
    };
    let difference = report.difference.as_ref().and_then(|found| {
        let rows = block("difference.csv", "What is different", &["name", "change", "old", "new", "ratio", "kind"]);
        // That there is nothing is an answer, too.
        rows.or_else(|| {
            let why = notes(found).into_iter().nth(1)?;
            let items = vec![vec![plain(format!("  {}", clean(&why)))]];
            Some(Block { head: bold("What is different"), items, first: 1 })
        })
    });
    let simulated = report.simulation.as_ref().map(|of| {
        let words = wrap(&clean(&summary(of)), look.width, INDENT, INDENT).into_iter().map(plain).collect();
        Block { head: bold("Simulated policy"), items: vec![words], first: 1 }
    });
    let blocks = [
        Some(Block { head, items: suspects, first: if is_airy { 3 } else { 1 } }),
        difference,
        simulated,
        block("simulation.csv", "Was, and would be", COLUMNS),
        block("simulation_human.csv", "Newly affected readers", &["name", "action", "requests", "hits"]),
        block("agents.csv", "Agents", &["agent", "verification", "category", "hits", "bytes"]),
        robots,
        block("content_articles.csv", "Articles taken", &["path", "suspects", "visitors"]),
        block("actions_candidates.csv", "Possibly disturbed readers", &["name", "hits", "disturbed"]),
    ];
    blocks.into_iter().flatten().collect()
}

fn data(quality: &Quality) -> Line {
    let skipped: u64 = quality.skipped.values().fold(0, |sum, lines| sum.saturating_add(*lines));
    let mut text = format!("   {} lines, {} skipped", group(quality.lines), group(skipped));
    for (count, what) in [(quality.filtered, "filtered out"), (quality.dropped, "dropped by the writer")] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", group(count)));
        }
    }
    if quality.sampled {
        text.push_str(", sampled");
    }
    let mut line = bold("Data");
    line.extend(plain(text));
    line
}

/// A suspect on few lines, with as many lines of reasons at most.
fn brief(rank: usize, suspect: &Suspect, look: Look, reasons: usize) -> Vec<Line> {
    let mut lines = vec![who(rank, suspect, look)];
    let width = look.width.saturating_sub(5);
    let mut why = wrap(&clean(&suspect.reasons.join("; ")), width, 0, 0);
    let is_cut = why.len() > reasons;
    why.truncate(reasons);
    if let Some(last) = why.last_mut().filter(|_| is_cut) {
        *last = cut(&format!("{last} …"), width);
    }
    lines.extend(why.into_iter().map(|line| plain(format!("     {line}"))));
    let mut last = plain(format!("     {}", took(suspect)));
    let (taken, drawing) = (5 + columns(&took(suspect)), drawing(suspect));
    let air = look.width.saturating_sub(taken + columns(&drawing));
    if air >= GAP {
        last.extend(dim(" ".repeat(air) + &drawing));
    }
    lines.push(last);
    lines
}

fn drawing(suspect: &Suspect) -> String {
    Cell::series(suspect.sparkline.iter().copied().map(u64::from).collect()).shown()
}

fn who(rank: usize, suspect: &Suspect, look: Look) -> Line {
    let name = clean(&name(suspect));
    let address = cut(&clean(&suspect.address), (look.width / 2).max(18));
    let mut rest = format!("  {address}  score {}", suspect.score);
    let category = format!("  {}", clean(suspect.category));
    if 5 + columns(&name) + columns(&rest) + columns(&category) <= look.width {
        rest.push_str(&category);
    }
    let system = suspect.asn.map(|number| format!("  AS{number}")).unwrap_or_default();
    if 5 + columns(&name) + columns(&rest) + columns(&system) <= look.width {
        rest.push_str(&system);
    }
    let mut line = plain(format!("{rank:>3}. "));
    line.extend(marked(&cut(&name, look.width.saturating_sub(5 + columns(&rest)).max(10)), Style::Bold));
    line.extend(plain(rest));
    line
}

fn took(suspect: &Suspect) -> String {
    let done = match (suspect.action.as_deref(), suspect.would_action.as_deref()) {
        (Some(done), Some(would)) if done != would => format!("; did {done}, would {would}"),
        (Some(done), _) => format!("; did {done}"),
        (None, Some(would)) => format!("; would {would}"),
        (None, None) => String::new(),
    };
    let (articles, hits) = (group(suspect.articles), group(suspect.hits));
    format!("{articles} articles, {} in {hits} requests{}", size(suspect.bytes), clean(&done))
}

/// All that is known of a suspect.
fn portrait(rank: usize, suspect: &Suspect, look: Look) -> Vec<Line> {
    let mut lines = vec![who(rank, suspect, look)];
    let reasons = clean(&suspect.reasons.join("; "));
    for text in [reasons, took(suspect)] {
        lines.extend(wrap(&text, look.width, 5, 5).into_iter().map(plain));
    }
    let period = format!(
        "{} to {}, {} sessions, {} pages, {} marked copies",
        moment(&suspect.first),
        moment(&suspect.last),
        suspect.sessions,
        group(suspect.pages),
        group(suspect.marks)
    );
    let verification = Cell::state(&suspect.verification, None).shown();
    let mut facts = vec![period, format!("{}, {verification}", clean(suspect.category))];
    facts.push(format!("visitor: {}", clean(&suspect.visitor)));
    facts.extend(system(suspect).map(|text| format!("network: {}", clean(&text))));
    facts.extend(suspect.user_agent.as_deref().map(|text| format!("user agent: {}", clean(text))));
    facts.push(format!("over time: {}", drawing(suspect)));
    for fact in facts {
        lines.extend(wrap(&fact, look.width, 5, 7).into_iter().map(dim));
    }
    lines
}

fn whole(report: &Report, look: Look) -> Vec<Line> {
    let mut lines = vec![title(report, look)];
    for section in sections(report) {
        lines.push(Line::new());
        lines.push(bold(section.title));
        lines.extend(body(&section, report, look));
    }
    lines
}

fn body(section: &Section, report: &Report, look: Look) -> Vec<Line> {
    let mut lines = Vec::new();
    for note in &section.notes {
        lines.extend(wrap(&clean(note), look.width, INDENT, INDENT).into_iter().map(plain));
    }
    if section.is_empty() {
        lines.extend(wrap(section.empty, look.width, INDENT, INDENT).into_iter().map(dim));
    }
    for table in section.filled() {
        if !table.caption.is_empty() {
            lines.push(plain(format!("  {}", table.caption)));
        }
        if table.file == Some("suspects.csv") {
            lines.extend(report.suspects.iter().zip(1..).flat_map(|(suspect, rank)| portrait(rank, suspect, look)));
        } else if table.is_facts() {
            lines.extend(facts(table, look));
        } else if let Some(grid) = Grid::new(table, None, None, look) {
            let name = table.columns.get(grid.first).copied().unwrap_or_default();
            lines.push(grid.head(&format!("  {}", head(name)), Style::Dim));
            lines.extend(table.rows.iter().flat_map(|row| grid.rows(row, look)));
        }
    }
    lines
}

/// Names and values, one below the other.
fn facts(table: &Table, look: Look) -> Vec<Line> {
    let width = table.longest(0) + GAP;
    let mut lines = Vec::new();
    for row in &table.rows {
        let values = wrap(&shown(row, 1), look.width.saturating_sub(INDENT + width), 0, 0);
        for (index, value) in values.into_iter().enumerate() {
            let name = if index == 0 { head(&shown(row, 0)) } else { String::new() };
            let mut line = dim(format!("  {}", pad(&name, width, false)));
            line.extend(plain(value));
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::sample::{empty, sample};
    use super::*;

    const LOOK: Look = Look { width: 80, height: None, colour: false, unicode: true, full: false };

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    /// The text without its escapes.
    fn uncoloured(text: &str) -> String {
        let mut parts = text.split('\u{1B}');
        let first = parts.next().unwrap_or_default().to_owned();
        first + &parts.map(|part| part.split_once('m').expect("the end of an escape").1).collect::<String>()
    }

    #[test]
    fn lines_end_where_the_terminal_does_and_nothing_sent_steers_it() {
        for report in [sample(), empty()] {
            for (width, full, unicode) in
                [60, 80, 120].into_iter().flat_map(|w| [(w, false, true), (w, true, true), (w, true, false)])
            {
                let look = Look { width, unicode, full, ..LOOK };
                let text = terminal(&report, look);
                assert!(widest(&text) <= width, "{width} {full}\n{text}");
                assert!(!text.chars().any(|c| c != '\n' && crate::audit::is_hidden(c)), "{text}");
                let coloured = terminal(&report, Look { colour: true, ..look });
                assert!(coloured.contains("\u{1B}[1m"), "{coloured}");
                let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
                assert_eq!(lines(&uncoloured(&coloured)), lines(&text), "colour changes no word");
            }
        }
        assert!(widest(&terminal(&sample(), Look { width: 1, ..LOOK })) <= 20);
    }

    #[test]
    fn without_full_it_is_one_screen() {
        let mut report = sample();
        let suspect = report.suspects[0].clone();
        report.suspects.extend(vec![suspect; 40]);
        for (height, width) in [24, 40].into_iter().flat_map(|height| [60, 80, 120].map(|width| (height, width))) {
            let text = terminal(&report, Look { height: Some(height), width, ..LOOK });
            assert!(text.lines().count() < height, "{text}");
            assert!(text.contains("Suspected scrapers (42)") && text.contains("\n  1. "), "{text}");
            assert!(text.lines().last().is_some_and(|line| line.contains("--full")), "{text}");
        }
        assert!(terminal(&report, LOOK).lines().count() < HEIGHT);
        assert!(terminal(&report, Look { full: true, ..LOOK }).contains("\n 42. "));
    }

    #[test]
    fn readers_that_were_disturbed_stand_above_what_was_done() {
        let text = terminal(&sample(), Look { full: true, ..LOOK });
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}\n{text}"));
        assert!(place("Possibly disturbed readers") < place("Requests by action"));
        let titles: Vec<usize> =
            sections(&sample()).iter().map(|section| place(&format!("\n{}\n", section.title))).collect();
        assert!(titles.len() == 16 && titles.is_sorted(), "{text}");
    }

    #[test]
    fn a_fake_is_marked_by_a_word_and_its_colour() {
        let mut report = sample();
        for row in &mut report.agents {
            row.note = row.note.as_ref().map(|_| "fake (list of 2026-11-01)".to_owned());
        }
        let text = terminal(&report, Look { full: true, colour: true, width: 120, ..LOOK });
        assert!(text.contains("\u{1B}[31mfake\u{1B}[0m (list of 2026-11-01)"), "{text}");
    }

    #[test]
    fn numbers_are_those_of_the_report() {
        let report = sample();
        let text = terminal(&report, Look { full: true, width: 120, ..LOOK });
        let has = |name: &str, number: u64| {
            text.lines()
                .any(|line| line.trim().split_once(' ').is_some_and(|(n, v)| n == name && v.trim() == group(number)))
        };
        assert!(has("requests", report.verdict.hits) && has("suspects", report.verdict.suspects as u64), "{text}");
        for row in &report.robots.rows {
            let numbers = [row.requests, row.read_then_ignored + row.never_asked].map(group);
            let is_row = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.windows(2).any(|pair| pair == numbers)
            };
            assert!(text.lines().any(is_row), "{numbers:?}\n{text}");
        }
    }

    #[test]
    fn a_robots_txt_that_nobody_knows_is_never_obeyed() {
        let mut report = sample();
        report.robots.evaluated = false;
        report.robots.reason = Some("no robots.txt was given");
        // They leave room for little else.
        report.difference = None;
        report.simulation = None;
        for full in [false, true] {
            let text = terminal(&report, Look { full, ..LOOK });
            assert!(text.contains("Not evaluated: no robots.txt was given."), "{text}");
            assert!(!text.contains("  obeyed") && !text.contains("obeyed:"), "{text}");
        }
    }

    #[test]
    fn without_unicode_everything_of_ours_is_ascii() {
        for full in [false, true] {
            let text = terminal(&sample(), Look { unicode: false, full, ..LOOK });
            assert!(text.is_ascii(), "{text}");
        }
    }
}
