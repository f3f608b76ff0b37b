//! The section on what another policy would have done.

use super::cells::Cell::{self, Bytes, Count};
use super::cells::{Section, Table, fact};
use super::text;
use crate::review::report::{AffectedClass, MatrixCell, Simulation};

/// Actions, from weak to strong: columns of the matrix.
pub(super) const COLUMNS: &[&str] =
    &["current", "allow", "tag", "slow", "card", "limit", "license", "challenge", "decoy", "block"];
const VISITORS: &[&str] = &["name", "visitor", "action", "requests", "hits", "bytes_saved", "rule", "reasons"];

pub(super) fn simulation(of: &Simulation) -> Section {
    let classes = [
        ("simulation_human.csv", "Newly affected, with evidence of a person", &of.affected.human),
        ("simulation_verified.csv", "Newly affected, proven robots", &of.affected.verified),
        ("simulation_suspected.csv", "Newly affected, suspected", &of.affected.suspected),
    ];
    let missing =
        of.unavailable.iter().map(|row| vec![Cell::text(row.signal), Cell::text(row.group), Count(row.points.into())]);
    let mut tables = vec![
        Table::new("simulation.csv", "Requests by what was done, and by what would be", COLUMNS, rows(&of.matrix)),
        Table::facts("simulation_totals.csv", "In all", totals(of)),
    ];
    tables.extend(classes.map(|(file, caption, class)| visitors(file, caption, class)));
    tables.push(Table::new(
        "simulation_unavailable.csv",
        "Signals that the log cannot supply",
        &["signal", "group", "points"],
        missing,
    ));
    let notes = std::iter::once(summary(of)).chain(of.notes.iter().cloned()).collect();
    Section::new("What the policy would have done", "No request was decided.", tables).noting(notes)
}

/// Few words for what the tables say.
pub(super) fn summary(of: &Simulation) -> String {
    let share = (of.requests - of.unchanged.min(of.requests)) as f64 / of.requests.max(1) as f64;
    let classes = [&of.affected.human, &of.affected.verified, &of.affected.suspected];
    let [people, robots, suspected] = classes.map(|class| text::group(class.visitors));
    format!(
        "{} of {} requests would be treated otherwise; {} fewer would be sent. Newly slowed, refused or challenged: \
         {people} visitors with evidence of a person, {robots} proven robots, {suspected} others.",
        text::percent(share),
        text::group(of.requests),
        text::size(of.bytes_saved)
    )
}

fn totals(of: &Simulation) -> Vec<(String, Cell)> {
    let classes =
        [("human", &of.affected.human), ("verified", &of.affected.verified), ("suspected", &of.affected.suspected)];
    let mut facts = vec![
        fact("mode", Cell::text(of.mode)),
        fact("requests", Count(of.requests)),
        fact("unchanged", Count(of.unchanged)),
        fact("undecided", Count(of.undecided)),
        fact("own", Count(of.own)),
        fact("reproduced", Count(of.reproduced)),
        fact("bytes_saved", Bytes(of.bytes_saved)),
    ];
    for (name, class) in classes {
        facts.push((format!("{name}_visitors"), Count(class.visitors)));
        facts.push((format!("{name}_requests"), Count(class.requests)));
    }
    facts
}

/// One row for each action that was done; what would be done, in columns.
fn rows(matrix: &[MatrixCell]) -> impl Iterator<Item = Vec<Cell>> {
    let actions = COLUMNS.get(1..).unwrap_or_default();
    let is_there = move |current: &&&str| matrix.iter().any(|cell| cell.current == **current);
    actions.iter().filter(is_there).map(move |current| {
        let count = |simulated: &&str| {
            let cell = matrix.iter().find(|cell| cell.current == *current && cell.simulated == *simulated);
            Count(cell.map_or(0, |cell| cell.requests))
        };
        std::iter::once(Cell::text(current)).chain(actions.iter().map(count)).collect()
    })
}

fn visitors(file: &'static str, caption: &'static str, class: &AffectedClass) -> Table {
    let rows = class.rows.iter().map(|row| {
        vec![
            Cell::text(&row.name),
            Cell::text(&row.visitor),
            Cell::text(row.action),
            Count(row.requests),
            Count(row.hits),
            Bytes(row.bytes_saved),
            Cell::text(&row.rule),
            Cell::list(&row.reasons),
        ]
    });
    Table::new(file, caption, VISITORS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_a_row_for_each_action_that_was_done() {
        let cell = |current, simulated, requests| MatrixCell { current, simulated, requests };
        let cells = [cell("allow", "allow", 7), cell("allow", "block", 2), cell("limit", "tag", 1)];
        let shown: Vec<Vec<String>> = rows(&cells).map(|row| row.iter().map(Cell::raw).collect()).collect();
        assert_eq!(shown[0], ["allow", "7", "0", "0", "0", "0", "0", "0", "0", "2"]);
        assert_eq!(shown[1], ["limit", "0", "1", "0", "0", "0", "0", "0", "0", "0"]);
        let all: Vec<&str> = crate::action::Action::ALL.iter().map(|action| action.code()).collect();
        assert_eq!(COLUMNS[1..], all, "every action has its column");
    }
}
