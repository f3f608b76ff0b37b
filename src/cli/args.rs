//! Arguments, and nothing that they mean.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::audit::AuditArgs;
use super::bench::BenchArgs;
use super::output::Exit;
use super::review::ReviewArgs;
use super::trace::TraceArgs;
use super::{ranges, reference};
use crate::action::Mode;

/// Protects what a news site publishes: limits scrapers, rewrites pages, marks copies and traces leaks.
#[derive(Parser)]
#[command(
    name = "deckle",
    version,
    after_help = "Examples:
  deckle proxy --upstream http://127.0.0.1:9000
  deckle review deckle-log
  deckle trace stolen.html --log-dir deckle-log"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Stand in front of a site.
    Proxy(ProxyArgs),
    /// What does a page declare, and what would deckle do to it? Why was a request answered as it was?
    Check(CheckArgs),
    /// Who scraped, and what did they take?
    Review(Box<ReviewArgs>),
    /// Which response did this copy come from?
    Trace(Box<TraceArgs>),
    /// What does a page cost on this machine?
    Bench(BenchArgs),
    /// Care of the log: a signing key, what somebody wants to be forgotten, a table of ClickHouse.
    Audit(AuditArgs),
    /// Make the committed tables from upstream snapshots.
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

#[derive(clap::Args, Clone)]
#[command(after_help = "Without --upstream an embedded demo news site is served.
Signals: SIGTERM and SIGINT stop after running responses; SIGHUP reloads the configuration and reopens the log.

Examples:
  deckle proxy --upstream http://127.0.0.1:9000 --listen 0.0.0.0:80
  deckle proxy --config deckle.toml --mode enforce")]
pub(super) struct ProxyArgs {
    /// Address of the site, http:// or https://.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Directory of the audit log.
    #[arg(long, value_name = "DIR")]
    pub(super) log_dir: Option<String>,
    /// observe: log what would be done. enforce: do it.
    #[arg(long, value_name = "MODE")]
    pub(super) mode: Option<Mode>,
}

#[derive(clap::Args)]
#[command(after_help = "Fetches the page, its other forms, robots.txt and tdmrep.json, and changes nothing.
With --images: reads the first 256 KiB of so many images of the page, too, and says where their Data Mining property (XMP)
contradicts what the site declares.
With --learn: reads the style sheets of the page, those of other hosts where watermark.stylesheets names them, and
writes what they say into plans.json in the log directory (audit.dir), where a running proxy finds it.
With --explain: why a request was slowed, limited or blocked, what its score is made of, and what would change that.
Exit codes: 0 nothing to mend, explained, or all style sheets read; 1 something to look at, or a style sheet that could not \
be read; 2 usage, or no such page or request.

Examples:
  deckle check https://news.example/2026/11/a-story
  deckle check --config deckle.toml --json https://news.example/
  deckle check --images 10 https://news.example/2026/11/a-story
  deckle check saved.html
  deckle check --config deckle.toml --learn https://news.example/2026/11/a-story
  deckle check --explain 01a20d60-78a5-7600-95a1-c9088b570c38 --config deckle.toml
  tail -n 1 deckle-log/audit-web-1-20261124T114556Z-1.ndjson | deckle check --explain -")]
pub(super) struct CheckArgs {
    /// Address of a page, or an HTML file.
    #[arg(value_name = "URL|FILE", required_unless_present = "explain", conflicts_with = "explain")]
    pub(super) page: Option<String>,
    /// Configuration file: what would deckle do with it?
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Read so many images that the page names, those of its own host first, 50 at most: do they contradict what the site
    /// declares?
    #[arg(
        long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=50),
        conflicts_with_all = ["explain", "learn"],
    )]
    pub(super) images: u8,
    /// Read the style sheets of the page for a proxy to know: white space is marked only where they are known.
    #[arg(long, requires = "page", conflicts_with_all = ["explain", "json"])]
    pub(super) learn: bool,
    /// Explain this request: its id, as refusals show it, or - for its line of the log on standard input.
    #[arg(long, value_name = "REQUEST-ID")]
    pub(super) explain: Option<String>,
    /// With --explain: directory of the audit log; may be given again. Unset: `audit.dir` of the configuration.
    #[arg(long, value_name = "DIR", requires = "explain")]
    pub(super) log_dir: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(super) struct ReferenceArgs {
    /// agents, operators, clouds or cloudflare.
    kind: String,
    /// Directory of the snapshots.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Day of the lists of operators.
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2026-08-22")]
    made: String,
    /// Clean user agents, one a line.
    #[arg(long, value_name = "FILE", default_value = "tests/vectors/clean_agents.txt")]
    clean: PathBuf,
}

impl ReferenceArgs {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let text = match self.kind.as_str() {
            "agents" => reference::agents(&self.from, &std::fs::read_to_string(&self.clean)?)?,
            "clouds" => ranges::clouds(&self.from)?,
            "operators" => ranges::operators(&self.from, &self.made)?,
            name => ranges::ranges(&self.from, name)?,
        };
        super::output::print(&text)?;
        Ok(Exit::Done)
    }
}
