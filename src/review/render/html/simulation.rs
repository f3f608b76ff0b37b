//! What another policy would have done.

use super::charts::{bytes, count};
use super::rows::Cell::{Number, Text};
use super::rows::{Cell, cut_off, table, whole_table};
use super::tables::{of, part, raw};
use super::{ITEMS, action_words, escaped, list, text};
use crate::action::Action;
use crate::review::report::{AffectedClass, AffectedRow, MatrixCell, Report, Simulation};

/// Visitors of each class that are shown, and characters of what is said about them: the page stays small.
const ROWS: usize = 10;
const SHORT: usize = 60;
const LONG: usize = 120;

pub(super) fn simulation(report: &Report) -> String {
    let Some(simulation) = &report.simulation else { return String::new() };
    let notes = list(&simulation.notes, ITEMS);
    let classes = [
        ("Readers, as it seems", &simulation.affected.human),
        ("Robots that are what they say", &simulation.affected.verified),
        ("Suspected", &simulation.affected.suspected),
    ];
    let classes: String = classes.iter().map(|(heading, class)| affected(heading, class)).collect();
    let unavailable = table(
        "Signals for which the log has no evidence",
        &["Signal", "Group", "Points"],
        &simulation.unavailable,
        |row| vec![raw(row.signal), Text(text(row.group)), of(row.points.into())],
    );
    [
        format!(
            "<p>{} of {} would be treated otherwise, and {} less would be sent.</p>\n{notes}",
            count(simulation.requests.saturating_sub(simulation.unchanged), "request", "requests"),
            count(simulation.requests, "request", "requests"),
            bytes(simulation.bytes_saved)
        ),
        part("What was done, and what would be", &matrix(simulation), "No request was decided."),
        classes,
        part("What the log cannot show", &unavailable, "All signals can be judged by this log."),
    ]
    .concat()
}

/// Rows: what was done; columns: what would be.
fn matrix(simulation: &Simulation) -> String {
    let cells = &simulation.matrix;
    let shown: Vec<Action> =
        Action::ALL.into_iter().filter(|action| cells.iter().any(|cell| cell.simulated == action.code())).collect();
    let words: Vec<String> = shown.iter().map(|action| action_words(action.code())).collect();
    let mut columns = vec!["Was"];
    columns.extend(words.iter().map(String::as_str));
    let currents = Action::ALL.into_iter().filter(|action| cells.iter().any(|cell| cell.current == action.code()));
    let rows: Vec<Vec<Cell>> = currents
        .map(|current| {
            let requests = |simulated: &Action| {
                let is_meant =
                    |cell: &&MatrixCell| cell.current == current.code() && cell.simulated == simulated.code();
                of(cells.iter().find(is_meant).map_or(0, |cell| cell.requests))
            };
            std::iter::once(Text(action_words(current.code()))).chain(shown.iter().map(requests)).collect()
        })
        .collect();
    whole_table("Requests by what was done and what would be", &columns, &rows)
}

fn affected(heading: &str, class: &AffectedClass) -> String {
    let columns = ["Visitor", "Would be", "Requests", "Of all", "Not sent", "Decided by", "Why"];
    let cells = |row: &AffectedRow| {
        vec![
            Text(format!("<span class=\"raw\">{}</span>", escaped(&row.name, SHORT))),
            Text(action_words(row.action)),
            of(row.requests),
            of(row.hits),
            Number(bytes(row.bytes_saved)),
            Text(format!("<code>{}</code>", escaped(&row.rule, SHORT))),
            Text(escaped(&row.reasons.join("; "), LONG)),
        ]
    };
    let rows: Vec<Vec<Cell>> = class.rows.iter().take(ROWS).map(cells).collect();
    let caption = format!(
        "{} that would be slowed, refused or challenged, and {} not",
        count(class.visitors, "visitor", "visitors"),
        if class.visitors == 1 { "was" } else { "were" }
    );
    let table = whole_table(&caption, &columns, &rows) + &cut_off(rows.len(), class.rows.len());
    part(heading, &table, "Nobody.")
}
