//! ClickHouse behind the log, for sites whose log one machine cannot review any more (feature `clickhouse`).
//!
//! The files come first. [`FileSink`](super::FileSink) writes them as ever, and a thread of its own reads them again
//! and sends what they say: the engine may lag, fail or be away, and as long as the segments are there, nothing is lost.
//! A row that is sent twice counts once, by its instance and its number.
//!
//! [`ddl()`] is the table, [`COLUMNS`] says which key of a record goes into which column, and how it comes back.
//! `docs/clickhouse.md` is the manual.

#[cfg(feature = "clickhouse")]
mod address;
#[cfg(feature = "clickhouse")]
mod batch;
mod ddl;
#[cfg(feature = "clickhouse")]
mod follow;
#[cfg(feature = "clickhouse")]
mod hits;
#[cfg(feature = "clickhouse")]
mod offset;
#[cfg(feature = "clickhouse")]
mod row;
mod settings;
#[cfg(feature = "clickhouse")]
mod table;
#[cfg(feature = "clickhouse")]
mod tail;

use std::time::Duration;

#[cfg(feature = "clickhouse")]
pub use address::{Address, AddressError};
#[cfg(feature = "clickhouse")]
pub(crate) use batch::Batch;
pub use ddl::{COLUMNS, Column, ddl, is_name};
#[cfg(feature = "clickhouse")]
pub(in crate::audit) use follow::Follower;
#[cfg(feature = "clickhouse")]
pub use hits::Hits;
#[cfg(feature = "clickhouse")]
pub(crate) use row::{Known, Row};
pub use settings::ClickHouseSettings;
#[cfg(feature = "clickhouse")]
pub(crate) use table::{InsertError, Table};

/// How the sink does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Rows that the engine has acknowledged.
    pub rows: u64,
    /// Batches that it did not take; each is tried again.
    pub failures: u64,
    /// Lines that were deleted before they were sent, or whose segment could not be opened.
    pub lost: u64,
    /// Lines that could not be read.
    pub skipped: u64,
    /// How long the oldest record that was read has waited.
    pub lag: Duration,
    /// The table does not fit: nothing is sent any more.
    pub stopped: bool,
}
