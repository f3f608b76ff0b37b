//! Suspected scrapers as a table, and what is said of each elsewhere.

use super::cells::Cell::{self, Bytes, Count, Shown};
use super::cells::{Section, Table, name};
use crate::review::report::Suspect;

/// The section.
pub(super) fn suspects(suspects: &[Suspect]) -> Section {
    const COLUMNS: &[&str] = &[
        "rank",
        "name",
        "visitor",
        "agent",
        "category",
        "verification",
        "user_agent",
        "address",
        "asn",
        "organisation",
        "hits",
        "pages",
        "articles",
        "bytes",
        "score",
        "reasons",
        "action",
        "would_action",
        "first",
        "last",
        "sessions",
        "marks",
        "sparkline",
    ];
    let rows = suspects.iter().zip(1..).map(|(suspect, rank)| {
        vec![
            Count(rank),
            Cell::Text(name(suspect)),
            Cell::text(&suspect.visitor),
            Cell::maybe(suspect.agent.as_deref()),
            Cell::text(suspect.category),
            Cell::state(&suspect.verification, None),
            Cell::maybe(suspect.user_agent.as_deref()),
            Cell::text(&suspect.address),
            suspect.asn.map_or(Cell::None, |number| Shown(number.to_string(), format!("AS{number}"))),
            Cell::maybe(suspect.organisation.as_deref()),
            Count(suspect.hits),
            Count(suspect.pages),
            Count(suspect.articles),
            Bytes(suspect.bytes),
            Count(suspect.score.into()),
            Cell::list(&suspect.reasons),
            Cell::maybe(suspect.action.as_deref()),
            Cell::maybe(suspect.would_action.as_deref()),
            Cell::time(&suspect.first),
            Cell::time(&suspect.last),
            Count(suspect.sessions.into()),
            Count(suspect.marks),
            Cell::series(suspect.sparkline.iter().copied().map(u64::from).collect()),
        ]
    });
    let table = Table::new("suspects.csv", "", COLUMNS, rows);
    let quiet = &["agent", "user_agent", "pages", "sessions", "marks"];
    Section::new("Suspected scrapers", "No visitor is suspected.", vec![table.without(quiet)])
}

/// The autonomous system, and who runs it where that is known: "AS64500 Example Hosting".
pub(super) fn system(suspect: &Suspect) -> Option<String> {
    let organisation = suspect.organisation.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    suspect.asn.map(|number| format!("AS{number}{organisation}"))
}

#[cfg(test)]
mod tests {
    use super::super::sample::suspect;
    use super::*;

    #[test]
    fn a_system_is_its_number_and_who_runs_it() {
        let mut of = suspect("none", None);
        of.organisation = Some("Example Hosting".to_owned());
        assert_eq!(system(&of).as_deref(), Some("AS64500 Example Hosting"));
        of.organisation = None;
        assert_eq!(system(&of).as_deref(), Some("AS64500"));
        of.asn = None;
        assert_eq!(system(&of), None);
    }
}
