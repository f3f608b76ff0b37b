//! Section `[audit.clickhouse]`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ddl::is_name;
use crate::audit::{SinkError, SinkKind};
use crate::unit::Span;

/// Where the sink `clickhouse` sends to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSettings {
    /// `http://[user[:password]@]host[:port]`, or `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The database.
    pub database: String,
    /// The table; `deckle audit ddl` makes it.
    pub table: String,
    /// The longest wait for an answer.
    pub timeout: Span,
}

impl Default for ClickHouseSettings {
    fn default() -> Self {
        Self { url: None, database: "default".to_owned(), table: "deckle_hits".to_owned(), timeout: Span::seconds(30) }
    }
}

/// The address may hold a password.
impl fmt::Debug for ClickHouseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseSettings")
            .field("url", &self.url.as_ref().map(|_| "set"))
            .field("database", &self.database)
            .field("table", &self.table)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl ClickHouseSettings {
    /// Do they hold, with these sinks? Whether somebody answers there shows later.
    pub(in crate::audit) fn check(&self, sinks: Option<&[SinkKind]>) -> Result<(), SinkError> {
        let refuse = |key: &'static str, message: &str| Err(SinkError::Setting { key, message: message.to_owned() });
        for (key, name) in [("audit.clickhouse.database", &self.database), ("audit.clickhouse.table", &self.table)] {
            if !is_name(name) {
                return refuse(key, "1 to 64 letters, digits and `_`, the first one no digit");
            }
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&self.timeout.0) {
            return refuse("audit.clickhouse.timeout", "between 100ms and 10m");
        }
        let Some(sinks) = sinks.filter(|sinks| sinks.contains(&SinkKind::Clickhouse)) else { return Ok(()) };
        if cfg!(not(feature = "clickhouse")) {
            return refuse("audit.sinks", "`clickhouse` needs feature `clickhouse`");
        }
        if !sinks.contains(&SinkKind::File) {
            return refuse("audit.sinks", "`clickhouse` sends what `file` has written: [\"file\", \"clickhouse\"]");
        }
        match &self.url {
            None => refuse("audit.clickhouse.url", "the sink `clickhouse` needs it"),
            #[cfg(feature = "clickhouse")]
            Some(url) => match super::Address::parse(url) {
                Ok(_) => Ok(()),
                Err(error) => refuse("audit.clickhouse.url", &error.to_string()),
            },
            #[cfg(not(feature = "clickhouse"))]
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sinks: &[SinkKind], settings: &ClickHouseSettings) -> String {
        settings.check(Some(sinks)).unwrap_err().to_string()
    }

    #[test]
    fn names_are_names_and_passwords_are_not_shown() {
        let settings = ClickHouseSettings {
            url: Some("http://me:sesame@h:8123".into()),
            table: "x; DROP TABLE y".into(),
            ..ClickHouseSettings::default()
        };
        assert!(refusal(&[], &settings).contains("audit.clickhouse.table"));
        assert!(!format!("{settings:?}").contains("sesame"));
        assert!(ClickHouseSettings::default().check(None).is_ok());
        let hasty = ClickHouseSettings { timeout: Span::seconds(0), ..ClickHouseSettings::default() };
        assert!(refusal(&[], &hasty).contains("audit.clickhouse.timeout"));
    }

    #[cfg(feature = "clickhouse")]
    #[test]
    fn the_sink_needs_files_and_an_address() {
        let of = |url: Option<&str>| ClickHouseSettings { url: url.map(str::to_owned), ..Default::default() };
        let both = [SinkKind::File, SinkKind::Clickhouse];
        assert!(refusal(&[SinkKind::Clickhouse], &of(Some("http://h:8123"))).contains("audit.sinks"));
        assert!(refusal(&both, &of(None)).contains("audit.clickhouse.url"));
        let odd = refusal(&both, &of(Some("redis://me:sesame@h")));
        assert!(odd.contains("audit.clickhouse.url") && !odd.contains("sesame"), "{odd}");
        assert!(of(Some("http://h:8123")).check(Some(&both)).is_ok());
    }

    #[cfg(not(feature = "clickhouse"))]
    #[test]
    fn the_sink_needs_the_feature() {
        let settings = ClickHouseSettings { url: Some("http://h:8123".into()), ..Default::default() };
        assert!(refusal(&[SinkKind::File, SinkKind::Clickhouse], &settings).contains("feature `clickhouse`"));
    }
}
