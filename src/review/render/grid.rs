//! Lines and columns of a terminal.

use super::cells::{Cell, Table, head};
use super::terminal::Look;
use super::text::{clean, columns, cut, wrap};

/// Columns left of what belongs to a heading.
pub(super) const INDENT: usize = 2;
/// Columns between two columns of a table.
pub(super) const GAP: usize = 2;
/// Text that is longer stands below its row.
const SIDE: usize = 28;
/// What the first column of a table keeps, if it needs it.
const FIRST: usize = 20;

#[derive(Debug, Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Red,
}

pub(super) type Line = Vec<(Style, String)>;

pub(super) fn plain(text: impl Into<String>) -> Line {
    vec![(Style::Plain, text.into())]
}

pub(super) fn bold(text: impl Into<String>) -> Line {
    vec![(Style::Bold, text.into())]
}

pub(super) fn dim(text: impl Into<String>) -> Line {
    vec![(Style::Dim, text.into())]
}

/// The word "fake" at the beginning stands out.
pub(super) fn marked(text: &str, style: Style) -> Line {
    match text.strip_prefix("fake") {
        Some(rest) => vec![(Style::Red, "fake".to_owned()), (style, rest.to_owned())],
        None => vec![(style, text.to_owned())],
    }
}

pub(super) fn paragraph(text: &str, look: Look, style: Style) -> Vec<Line> {
    wrap(&clean(text), look.width, 0, 0).into_iter().map(|line| vec![(style, line)]).collect()
}

/// Indented by four, what follows the first line by two more.
pub(super) fn below(text: &str, look: Look) -> Vec<Line> {
    wrap(text, look.width, 4, 6).into_iter().map(dim).collect()
}

pub(super) fn pad(text: &str, width: usize, is_right: bool) -> String {
    let text = cut(text, width);
    let air = " ".repeat(width.saturating_sub(columns(&text)));
    if is_right { air + &text } else { text + &air }
}

/// One line, cut where the terminal ends; escapes take no columns.
pub(super) fn paint(line: &Line, look: Look) -> String {
    let mut room = look.width;
    let mut out = String::new();
    for (style, text) in line {
        let text = cut(text, room);
        room -= columns(&text);
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Plain => "",
        };
        if code.is_empty() || text.is_empty() || !look.colour {
            out.push_str(&text);
        } else {
            out.push_str(&format!("\u{1B}[{code}m{text}\u{1B}[0m"));
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    out
}

/// A table on lines: the first column takes what it needs, the others stand beside it as far as they fit.
pub(super) struct Grid<'t> {
    pub(super) table: &'t Table,
    pub(super) first: usize,
    pub(super) width: usize,
    pub(super) side: Vec<Side>,
    pub(super) below: Vec<usize>,
}

pub(super) struct Side {
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) is_right: bool,
}

impl<'t> Grid<'t> {
    /// With some of the columns, or with all that say anything. Above the first stands a title, or its name.
    pub(super) fn new(table: &'t Table, title: Option<&str>, picked: Option<&[&str]>, look: Look) -> Option<Self> {
        let is_shown = |name: &&str| match picked {
            Some(picked) => picked.contains(name),
            None => !table.quiet.contains(name),
        };
        let mut shown = table.columns.iter().enumerate().filter(|(column, name)| is_shown(name) && table.says(*column));
        let (first, name) = shown.next()?;
        let title = title.map_or(columns(&head(name)), |title| columns(title).saturating_sub(INDENT));
        let (mut side, mut below) = (Vec::new(), Vec::new());
        for (column, name) in shown {
            let natural = table.longest(column).max(columns(&head(name)));
            // What stands below is for the long report alone.
            let width = if picked.is_some() { natural.min(SIDE) } else { natural };
            if table.is_list(column) || (width > SIDE && !table.is_drawn(column)) {
                below.push(column);
            } else {
                let is_right = table.column(column).any(Cell::is_number);
                side.push(Side { column, width, is_right });
            }
        }
        let longest = table.longest(first);
        let room =
            |side: &[Side]| look.width.saturating_sub(INDENT + side.iter().map(|side| side.width + GAP).sum::<usize>());
        while room(&side) < longest.min(FIRST).max(title) {
            let Some(last) = side.pop() else { break };
            below.insert(0, last.column);
        }
        let width = longest.max(title).min(room(&side));
        Some(Self { table, first, width, side, below })
    }

    pub(super) fn head(&self, title: &str, style: Style) -> Line {
        let mut line = vec![(style, pad(title, self.width + INDENT, false))];
        for side in &self.side {
            let name = self.table.columns.get(side.column).copied().unwrap_or_default();
            line.push((Style::Dim, " ".repeat(GAP) + &pad(&head(name), side.width, side.is_right)));
        }
        line
    }

    pub(super) fn row(&self, cells: &[Cell], name: &str) -> Line {
        let mut line = plain(" ".repeat(INDENT));
        line.extend(marked(&pad(name, self.width, false), Style::Plain));
        for side in &self.side {
            line.extend(plain(" ".repeat(GAP)));
            let text = pad(&shown(cells, side.column), side.width, side.is_right);
            let is_violation = self.table.columns.get(side.column) == Some(&"violations") && text.trim() != "0";
            line.extend(if is_violation { vec![(Style::Red, text)] } else { marked(&text, Style::Plain) });
        }
        line
    }

    /// All of a row, on as many lines as it takes.
    pub(super) fn rows(&self, cells: &[Cell], look: Look) -> Vec<Line> {
        let mut names = wrap(&shown(cells, self.first), self.width, 0, 2).into_iter();
        let mut lines = vec![self.row(cells, &names.next().unwrap_or_default())];
        lines.extend(names.map(|name| plain(" ".repeat(INDENT) + &name)));
        let mut short = Vec::new();
        for &column in &self.below {
            let name = head(self.table.columns.get(column).copied().unwrap_or_default());
            match shown(cells, column).as_str() {
                "" | "0" => {}
                text if columns(text) > SIDE => lines.extend(below(&format!("{name}: {text}"), look)),
                text => short.push(format!("{name}: {text}")),
            }
        }
        lines.extend(below(&short.join(", "), look));
        lines
    }
}

pub(super) fn shown(cells: &[Cell], column: usize) -> String {
    cells.get(column).map_or_else(String::new, Cell::shown)
}
