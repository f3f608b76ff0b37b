//! `deckle audit push`: logs into a table of `ClickHouse`; and the way back, for `deckle review --from-clickhouse`.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::output::{self, Exit};
use super::review::{ProgressLine, interrupt, sources};
use super::table::{NO_NAME, PushArgs, TableArgs};
use crate::audit::clickhouse::{Address, Batch, Hits, InsertError, Row, Table, is_name};
use crate::review::Review;

/// Tries of one batch, and the wait after the first; it doubles.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_secs(1);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The rows of a table, to be read as a log.
pub(super) fn hits(url: &str, of: &TableArgs) -> anyhow::Result<Hits> {
    let address = Address::parse(url).context("--from-clickhouse")?;
    Hits::new(address, &of.database, &of.table).context(NO_NAME)
}

/// Why it ends before the last line.
enum Early {
    Interrupted,
    Refused(InsertError),
}

pub(super) fn run(args: &PushArgs) -> anyhow::Result<Exit> {
    let (database, table) = (&args.of.database, &args.of.table);
    if !is_name(database) || !is_name(table) {
        bail!(NO_NAME);
    }
    let address = Address::parse(&args.clickhouse).context("--clickhouse")?;
    let stop = interrupt()?;
    let mut sending = Sending {
        table: Table::new(&address, database, table, PATIENCE),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        batch: Batch::default(),
        sent: 0,
    };
    let sources = sources(&args.paths);
    let mut line = ProgressLine::new(&sources);
    let reader = args.lines.apply(Review::default())?;
    let read = reader.rows(&sources, &args.site, &mut |row, at| {
        line.show(at);
        sending.take(row, &stop)
    });
    let read = read.and_then(|read| sending.flush().map(|()| read));
    line.clear();
    let read = match read {
        Ok(read) => read,
        Err(Early::Interrupted) => return Ok(Exit::Interrupted),
        Err(Early::Refused(error)) => {
            let Sending { table, sent, .. } = &sending;
            let told = format!("{table} took {sent} rows and then no more; those count once when they are sent again");
            return Err(anyhow::Error::from(error).context(told));
        }
    };
    let errors = read.errors.iter().map(|error| {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    });
    for told in errors.chain(read.notes.iter().cloned()) {
        let _ = writeln!(std::io::stderr().lock(), "deckle: {}", output::clean(&told));
    }
    let bad: u64 = read.skipped.values().sum();
    let reasons: Vec<String> = read.skipped.iter().map(|(reason, lines)| format!("{reason} {lines}")).collect();
    let skipped = if bad == 0 { String::new() } else { format!("; {bad} lines skipped ({})", reasons.join(", ")) };
    output::print(&format!("{} rows of {} files into {}{skipped}\n", sending.sent, read.files, sending.table))?;
    Ok(match () {
        () if read.rows == 0 => Exit::NothingFound,
        () if !read.errors.is_empty() || bad as f64 > args.lines.max_bad * read.lines as f64 => Exit::Partial,
        () => Exit::Done,
    })
}

struct Sending {
    table: Table,
    runtime: tokio::runtime::Runtime,
    batch: Batch,
    sent: u64,
}

impl Sending {
    fn take(&mut self, row: Row, stop: &AtomicBool) -> Result<(), Early> {
        if stop.load(Ordering::Relaxed) {
            return Err(Early::Interrupted);
        }
        self.batch.push(row);
        if self.batch.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Early> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (table, rows) = (&self.table, self.batch.rows());
        let taken = self.runtime.block_on(async {
            let mut wait = WAIT;
            for _ in 1..TRIES {
                match table.insert(rows).await {
                    Err(error) if error.may_pass() => tokio::time::sleep(wait).await,
                    done => return done,
                }
                wait *= 2;
            }
            table.insert(rows).await
        });
        taken.map_err(Early::Refused)?;
        self.sent += self.batch.rows().len() as u64;
        self.batch.clear();
        Ok(())
    }
}
