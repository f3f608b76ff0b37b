//! Arguments of `deckle trace`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::config::Config;
use crate::review::{FilterArgs, Filters, MarkFilter};
use crate::unit::Size;

#[derive(clap::Args)]
#[command(
    after_help = "Copies are text, Markdown or HTML. The log directory holds all that is needed: the marks, and the secret.
A name is given only if the chance that any mark of the log fits so well by accident is at most 1e-9.

Exit codes: 0 traced; 1 not traced; 2 usage, no secret, no log; 4 a block of the log that holds a reported line is not as \
it was written; 5 a copy or a part of the log could not be read to its end, or a copy was cut; 130 interrupted. 4 comes before \
5, and 5 before 0 and 1.

Examples:
  deckle trace stolen.html --log-dir deckle-log
  deckle trace a.txt b.txt c.txt --joint --by visitor
  deckle trace stolen.txt --page /2026/11/23/budget --since 7d
  deckle trace stolen.txt --evidence case-17
  pdftotext -layout report.pdf - | deckle trace - --log-dir deckle-log --json"
)]
pub(in crate::cli) struct TraceArgs {
    /// Copies as text, Markdown or HTML, or - for standard input.
    #[arg(required = true, value_name = "COPY")]
    pub(super) copies: Vec<PathBuf>,
    /// Directory of the audit log; may be given again. Unset: that of --config, else deckle-log.
    #[arg(long, value_name = "DIR")]
    log_dir: Vec<PathBuf>,
    /// Configuration file, for its `secret_file`, `audit.dir` and `watermark`.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Only marks of responses from then on: 2026-11-20, 2026-11-20T10:14, RFC 3339, or 7d (ago).
    #[arg(long, value_name = "TIME", help_heading = "Log")]
    since: Option<String>,
    /// Only marks of responses before then.
    #[arg(long, value_name = "TIME", help_heading = "Log")]
    until: Option<String>,
    /// Only marks of responses with the page at this path.
    #[arg(long, value_name = "PATH", help_heading = "Log")]
    page: Option<String>,
    /// All copies came from one visit: take their places together.
    #[arg(long, help_heading = "Copies")]
    pub(super) joint: bool,
    /// Add up the marks of each visitor, over the days.
    #[arg(long, value_name = "WHAT", default_value = "mark", help_heading = "Copies")]
    pub(super) by: By,
    /// The copies are HTML, whatever they look like.
    #[arg(long, conflicts_with = "text", help_heading = "Copies")]
    pub(super) html: bool,
    /// The copies are text, whatever they look like.
    #[arg(long, help_heading = "Copies")]
    pub(super) text: bool,
    /// Read so much of each copy.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", help_heading = "Copies")]
    pub(super) max_bytes: Size,
    /// Write the copies, the verdict, how it was calculated, and the log's lines with their proofs into DIR.
    #[arg(long, value_name = "DIR", help_heading = "Answer")]
    pub(super) evidence: Option<PathBuf>,
    /// Say what each channel has to say, and which pages came into question.
    #[arg(long, help_heading = "Answer")]
    pub(super) verbose: bool,
    /// Print JSON, or write it to FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, help_heading = "Answer")]
    #[expect(clippy::option_option, reason = "with a value, without one, or not at all")]
    json: Option<Option<PathBuf>>,
}

/// What is compared with the copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    /// Each mark.
    Mark,
    /// Each visitor: an address with a user agent.
    Visitor,
}

/// Where JSON goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Stdout,
    File(&'a Path),
}

impl TraceArgs {
    /// `None`: text is printed.
    pub(super) fn json(&self) -> Option<Json<'_>> {
        match self.json.as_ref()? {
            Some(path) if path.as_os_str() != "-" => Some(Json::File(path)),
            _ => Some(Json::Stdout),
        }
    }

    pub(super) fn log_dirs(&self, config: Option<&Config>) -> Vec<PathBuf> {
        if self.log_dir.is_empty() {
            return vec![config.map_or_else(|| PathBuf::from("deckle-log"), |config| PathBuf::from(&config.audit.dir))];
        }
        self.log_dir.clone()
    }

    pub(super) fn filter(&self, now: Duration) -> anyhow::Result<MarkFilter> {
        let times = FilterArgs { since: self.since.clone(), until: self.until.clone(), ..FilterArgs::default() };
        let (since, until) = Filters::new(&times, now).context("--since, --until")?.bounds();
        Ok(MarkFilter { since, until, page: self.page.as_deref().map(path_of) })
    }
}

/// The path of an address; a path is one already.
fn path_of(page: &str) -> String {
    let behind = ["http://", "https://"].iter().find_map(|scheme| page.strip_prefix(scheme));
    let path = behind.map_or(page, |rest| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// `--json -` is `--json=-`: nothing else behind `--json` is its value.
pub(in crate::cli) fn joined(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let is = |word: Option<&OsString>, text: &str| word.is_some_and(|word| word == OsStr::new(text));
    for word in arguments {
        if word == "-" && is(out.get(1), "trace") && is(out.last(), "--json") {
            out.pop();
            out.push("--json=-".into());
        } else {
            out.push(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_takes_a_dash_or_what_is_joined_to_it() {
        let join = |words: &[&str]| joined(words.iter().map(OsString::from));
        assert_eq!(join(&["deckle", "trace", "a", "--json", "-"]), ["deckle", "trace", "a", "--json=-"]);
        for same in [&["deckle", "trace", "-", "--json", "a"][..], &["deckle", "review", "a", "--json", "-"]] {
            assert_eq!(join(same), same);
        }
    }

    #[test]
    fn an_address_stands_for_its_path() {
        assert_eq!(path_of("https://news.example/2026/a?b#c"), "/2026/a");
        assert_eq!(path_of("https://news.example"), "/");
        assert_eq!(path_of("/2026/a"), "/2026/a");
    }
}
