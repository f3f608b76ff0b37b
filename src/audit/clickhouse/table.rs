//! One table of one engine, and what it says when it does not take rows.

use std::fmt;
use std::time::Duration;

use ::clickhouse::Client;
use ::clickhouse::error::Error;
use tokio::time::timeout;

use super::{Address, Row};
use crate::audit::is_hidden;
use crate::unit::with_causes;

/// Characters of an engine's message that are shown.
const SHOWN: usize = 400;

/// Takes rows.
#[derive(Clone)]
pub(crate) struct Table {
    client: Client,
    name: String,
    shown: String,
    patience: Duration,
}

/// Why rows were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InsertError {
    /// A column is missing or of another type: it will not fit later, either.
    #[error("the table does not fit: {0}")]
    Schema(String),
    /// The engine or the way to it; a second try may help.
    #[error("{0}")]
    Engine(String),
}

impl Table {
    /// `patience` is the longest wait for an answer. Names are those that [`is_name`](super::is_name) lets through.
    pub(crate) fn new(address: &Address, database: &str, table: &str, patience: Duration) -> Self {
        Self {
            client: client(address, database),
            name: table.to_owned(),
            shown: format!("{address} {database}.{table}"),
            patience,
        }
    }

    /// Sends rows, and waits until they are written. Afterwards some may be there even if it failed.
    pub(crate) async fn insert(&self, rows: &[Row]) -> Result<(), InsertError> {
        let inserted = match timeout(self.patience, self.client.insert::<Row>(&self.name)).await {
            Ok(Ok(insert)) => {
                let mut insert = insert.with_timeouts(Some(self.patience), Some(self.patience));
                let write = async {
                    for row in rows {
                        insert.write(row).await?;
                    }
                    insert.end().await
                };
                write.await
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::TimedOut),
        };
        let Err(error) = inserted else { return Ok(()) };
        // The table may have been changed since its columns were asked for.
        self.client.clear_cached_metadata().await;
        Err(InsertError::of(&error))
    }
}

/// Who asks, and where; compressed in both directions.
pub(super) fn client(address: &Address, database: &str) -> Client {
    let mut client = Client::default()
        .with_url(address.base.as_str())
        .with_database(database)
        .with_compression(::clickhouse::Compression::Lz4)
        .with_product_info("deckle", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &address.user {
        client = client.with_user(user.as_str());
    }
    if let Some(password) = &address.password {
        client = client.with_password(password.as_str());
    }
    client
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.shown)
    }
}

impl InsertError {
    /// May the same rows be taken a moment later?
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the program asks"))]
    pub(crate) fn may_pass(&self) -> bool {
        const LASTING: [&str; 5] =
            ["UNKNOWN_TABLE", "UNKNOWN_DATABASE", "AUTHENTICATION_FAILED", "REQUIRED_PASSWORD", "ACCESS_DENIED"];
        matches!(self, Self::Engine(told) if !LASTING.iter().any(|name| told.contains(&format!("({name})"))))
    }

    fn of(error: &Error) -> Self {
        match error {
            // What follows are all columns of both sides.
            Error::SchemaMismatch(text) => {
                let told = text.split("\n####").next().unwrap_or_default();
                Self::Schema(one_line(told.trim_start_matches("While processing struct Row: ")))
            }
            error => Self::Engine(describe(error)),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &Error) -> String {
    one_line(&with_causes(error))
}

/// Short, and without what a terminal would obey.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    words.chars().map(|c| if is_hidden(c) { '?' } else { c }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_does_not_fit_is_told_by_its_column() {
        let text =
            "While processing struct Row: database schema has no column named score.\n#### All struct fields:\n- ts";
        let error = InsertError::of(&Error::SchemaMismatch(text.to_owned()));
        assert_eq!(error.to_string(), "the table does not fit: database schema has no column named score.");
        let missing = "the following non-default columns are missing:\n- mine: String\n#### All";
        let InsertError::Schema(text) = InsertError::of(&Error::SchemaMismatch(missing.to_owned())) else { panic!() };
        assert!(text.ends_with("are missing: - mine: String"), "{text}");
    }

    #[test]
    fn what_an_engine_says_is_short_and_harmless() {
        let error = Error::BadResponse(format!("Code: 60\u{1B}[31m\n{}", "x".repeat(5_000)));
        let InsertError::Engine(text) = InsertError::of(&error) else { panic!() };
        assert!(text.starts_with("bad response: Code: 60?[31m x") && text.len() <= SHOWN, "{text}");
    }

    #[test]
    fn some_refusals_last() {
        let told = |text: &str| InsertError::of(&Error::BadResponse(text.to_owned()));
        assert!(!told("Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE)").may_pass());
        assert!(told("Code: 252. DB::Exception: Too many parts (300). (TOO_MANY_PARTS)").may_pass());
        assert!(InsertError::of(&Error::TimedOut).may_pass());
        assert!(!InsertError::of(&Error::SchemaMismatch("x".to_owned())).may_pass());
    }

    #[test]
    fn a_password_is_not_shown() {
        let address = Address::parse("http://me:word@h:8123").unwrap();
        let table = Table::new(&address, "default", "deckle_hits", Duration::from_secs(1));
        assert_eq!(table.to_string(), "http://h:8123 default.deckle_hits");
        assert_eq!(format!("{table:?}"), "Table(http://h:8123 default.deckle_hits)");
    }
}
