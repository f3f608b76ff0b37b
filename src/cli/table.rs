//! A table of `ClickHouse` on the command line: its names, and the statement that makes it.

use std::path::PathBuf;

use anyhow::Context;

use super::output::{self, Exit};
use super::review::LineArgs;
use crate::audit::clickhouse::ddl;

/// What the two names are.
pub(super) const NO_NAME: &str = "--database and --table are 1 to 64 letters, digits and `_`, the first one no digit";

#[derive(clap::Args)]
pub(super) struct TableArgs {
    /// Database of the table.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) database: String,
    /// The table.
    #[arg(long, value_name = "NAME", default_value = "deckle_hits")]
    pub(super) table: String,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  deckle audit ddl | clickhouse-client
  deckle audit ddl --table old_logs --keep 0 | curl --data-binary @- http://127.0.0.1:8123/")]
pub(super) struct DdlArgs {
    #[command(flatten)]
    of: TableArgs,
    /// Days after which rows are deleted; 0: never.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    keep: u32,
}

#[derive(clap::Args)]
#[cfg_attr(not(feature = "clickhouse"), allow(dead_code, reason = "only that feature sends"))]
#[command(after_help = "deckle's own log goes in as it is; other logs are read as `deckle review` reads them. What is
already there counts once, so that this may be said again. The password may stand in DECKLE_CLICKHOUSE_PASSWORD.

Exit codes: 0 done; 1 no line of a log was found; 2 usage, or the table does not take it; 5 some of the input could not be \
read, or more lines were bad than --max-bad allows; 130 interrupted.

Examples:
  deckle audit push --clickhouse http://127.0.0.1:8123 deckle-log
  deckle audit push --clickhouse https://me@db.example:8443 --table old_logs --site news /var/log/nginx/access.log*")]
pub(super) struct PushArgs {
    /// Files, directories of logs, or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// The engine: http://[USER@]HOST:PORT, or https://.
    #[arg(long, value_name = "URL")]
    pub(super) clickhouse: String,
    #[command(flatten)]
    pub(super) of: TableArgs,
    /// Site of the hits of logs that are not deckle's.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) site: String,
    #[command(flatten)]
    pub(super) lines: LineArgs,
}

/// Prints the statement.
pub(super) fn print_ddl(args: &DdlArgs) -> anyhow::Result<Exit> {
    let statement = ddl(&args.of.database, &args.of.table, Some(args.keep));
    output::print(&statement.context(NO_NAME)?)?;
    Ok(Exit::Done)
}
