//! Data on stdout, everything else on stderr, and what the exit code says.

use std::io::{self, IsTerminal, Write};
use std::process::{ExitCode, Termination};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// Done.
    Done,
    /// Nothing found; for `check`: something to look at.
    NothingFound,
    /// Usage or configuration.
    Usage,
    /// A `--fail-if` holds.
    ConditionMet,
    /// The log is not as it was written.
    Integrity,
    /// Some of the input could not be read.
    Partial,
    /// Interrupted.
    Interrupted,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::NothingFound => 1,
            Self::Usage => 2,
            Self::ConditionMet => 3,
            Self::Integrity => 4,
            Self::Partial => 5,
            Self::Interrupted => 130,
        })
    }
}

/// Prints data. A reader that has seen enough (a closed pipe) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints an error with its causes.
pub(super) fn complain(error: &anyhow::Error) {
    let mut text = format!("deckle: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because {cause}"));
    }
    // A file name may hold anything; line feeds are ours.
    let text: String = text.chars().map(|c| if c != '\n' && crate::audit::is_hidden(c) { '?' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What a stranger wrote, in one line and without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if crate::audit::is_hidden(c) { '?' } else { c }).collect()
}

/// Columns: `COLUMNS`, else 100 on a terminal and 120 in a file.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    columns.unwrap_or(if io::stdout().is_terminal() { 100 } else { 120 })
}

/// Sends log lines to stderr: `RUST_LOG` decides, warnings and deckle's own news by default.
pub(super) fn start_logging() {
    use tracing_subscriber::EnvFilter;
    // Whoever owns an address could fill the log with odd answers about it.
    let usual = "warn,deckle=info,deckle::hit=off,hickory_net=error,hickory_resolver=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).try_init();
}
