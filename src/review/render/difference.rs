//! What is different from another part of the log.

use super::cells::Cell::{self, Count, Decimal, Shown};
use super::cells::{Section, Table, fact};
use super::text::{chance, decimal, group, moment};
use crate::review::report::{Difference, Side};

/// The section.
pub(super) fn difference(found: &Difference) -> Section {
    const COLUMNS: &[&str] =
        &["name", "kind", "change", "old", "new", "old_per_day", "new_per_day", "ratio", "p", "p_corrected"];
    let rows = found.rows.iter().map(|row| {
        vec![
            Cell::text(&row.name),
            Cell::text(row.kind),
            Cell::text(row.change),
            Count(row.old),
            Count(row.new),
            Decimal(row.old_per_day),
            Decimal(row.new_per_day),
            Cell::decimal(row.ratio),
            odds(row.p),
            odds(row.p_corrected),
        ]
    });
    let table = Table::new("difference.csv", "", COLUMNS, rows);
    Section::new("What is different", "", vec![table]).noting(notes(found))
}

fn odds(p: f64) -> Cell {
    Shown(format!("{p:e}"), chance(p))
}

/// What is to be known before the rows.
pub(super) fn notes(found: &Difference) -> Vec<String> {
    let side = |side: &Side| {
        format!(
            "{} to {} ({} days, {} requests, {} visitors)",
            moment(&side.first),
            moment(&side.last),
            decimal(side.days),
            group(side.hits),
            group(side.visitors)
        )
    };
    let mut notes = vec![format!("Before: {}. Now: {}.", side(&found.old), side(&found.new))];
    let compared = group(found.compared);
    notes.push(if found.rows.is_empty() {
        format!("Of {compared} names none differs by more than chance may have done.")
    } else {
        format!(
            "Of {compared} names, those that chance alone would set so far apart less often than once in {} times; \
             of so many, about {} are here by chance. p corrected allows for that.",
            decimal(1.0 / found.limit),
            decimal((found.compared as f64 * found.limit).ceil())
        )
    });
    if !found.violations_compared {
        notes.push("Violations are not compared: what robots.txt said is not known for both.".to_owned());
    }
    if found.left_out > 0 {
        notes.push(format!("{} more names differ.", group(found.left_out)));
    }
    notes
}

/// What people read as sentences.
pub(super) fn totals(found: &Difference) -> Vec<(String, Cell)> {
    let side = |name: &str, side: &Side| {
        let named = |part: &str| format!("{name}_{part}");
        [
            (named("files"), Cell::list(&side.files)),
            (named("first"), Cell::time(&side.first)),
            (named("last"), Cell::time(&side.last)),
            (named("days"), Decimal(side.days)),
            (named("hits"), Count(side.hits)),
            (named("visitors"), Count(side.visitors)),
        ]
    };
    let mut facts: Vec<(String, Cell)> = side("old", &found.old).into_iter().chain(side("new", &found.new)).collect();
    facts.extend([
        fact("compared", Count(found.compared)),
        fact("limit", Decimal(found.limit)),
        fact("violations_compared", Cell::flag(found.violations_compared)),
        fact("left_out", Count(found.left_out)),
    ]);
    facts
}
