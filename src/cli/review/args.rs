//! Arguments of `deckle review`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::integrity::IntegrityArgs;

use crate::audit::reader::{Format, Zone};
#[cfg(feature = "clickhouse")]
use crate::cli::push::hits;
use crate::cli::table::TableArgs;
use crate::config::Config;
use crate::review::{Condition, FilterArgs, Filters, Review, SimulatedPolicy, Source};
use crate::unit::{Size, Span};
use crate::visitor::Systems;

#[derive(clap::Args)]
#[command(
    after_help = "Reads deckle's log and the access logs of Apache, nginx, Caddy, Traefik, HAProxy, IIS, AWS, Cloudflare, \
Envoy and Fastly, plain, gzip or zstd; the format is found out.

Exit codes: 0 done; 1 no line of a log was found, none of the time that --diff compares, or none of the visitor of \
--evidence; 2 usage, or the file of an option cannot be read or written; 3 a --fail-if holds; 4 the log, or the evidence, \
is not as it was written; 5 some of the input could not be read or changed meanwhile, or more lines were bad than \
--max-bad allows; 130 interrupted. 130 comes before 3, and 3 before 5; of --verify 4 before 5.

Examples:
  deckle review deckle-log
  deckle review /var/log/nginx/access.log* --html report.html
  deckle review access.log --since 7d --where 'score>=70 && page.kind==\"article\"'
  deckle review access.log --log-format '$remote_addr [$time_local] \"$request\" $status \"$http_user_agent\"'
  deckle review access.log --robots robots.txt --fail-if 'violations>0'
  deckle review deckle-log --simulate stricter.toml --full
  zcat old.gz | deckle review - --json -
  deckle review access.log --diff access.log.1
  deckle review access.log* --since 7d --diff-range 14d..7d
  deckle review -f access.log --fail-if 'articles_by_one>200/1h' --alert-cmd 'echo \"$DECKLE_ALERT\" | mail -s scraper root'
  deckle review deckle-log --verify
  deckle review deckle-log --visitor q7k2mpd5zt4wuxvlc3na --evidence case-17
  deckle review --from-clickhouse http://127.0.0.1:8123 --since 7d --site news"
)]
pub(in crate::cli) struct ReviewArgs {
    /// Files, directories of logs, or - for standard input.
    #[arg(required_unless_present_any = ["verify_evidence", "from_clickhouse"], value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    #[command(flatten)]
    pub(super) only: OnlyArgs,
    #[command(flatten)]
    pub(super) difference: DifferenceArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) integrity: IntegrityArgs,
    /// Condition that ends the program with code 3, such as 'violations>0', 'articles_by_one>500/1h' or
    /// 'automated_share>40%'; may be given again.
    #[arg(long, value_name = "CONDITION", help_heading = "Answer")]
    pub(super) fail_if: Vec<Condition>,
    /// Command that the shell runs once for each --fail-if that begins to hold: DECKLE_ALERT and others in its environment,
    /// JSON on its standard input, 30 seconds at most.
    #[arg(long, value_name = "COMMAND", requires = "fail_if", help_heading = "Answer")]
    pub(super) alert_cmd: Option<String>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Comparison")]
pub(super) struct DifferenceArgs {
    /// Hold PATH against this older log: what is new, gone, more or fewer, and not by chance. A file or directory; may be
    /// given again.
    #[arg(long, value_name = "OLDER")]
    diff: Vec<PathBuf>,
    /// The time of the older log that counts, such as 2026-11-13..2026-11-20 or 14d..7d; without --diff, of PATH itself.
    #[arg(long, value_name = "FROM..TO")]
    diff_range: Option<String>,
}

#[derive(clap::Args)]
#[cfg_attr(not(feature = "clickhouse"), allow(dead_code, reason = "only that feature asks"))]
#[command(next_help_heading = "ClickHouse")]
struct FromArgs {
    /// Read a table of ClickHouse in place of files: http://[USER@]HOST:PORT, or https://. The password may stand in
    /// DECKLE_CLICKHOUSE_PASSWORD.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["paths", "verify", "evidence", "verify_evidence", "simulate"]
    )]
    from_clickhouse: Option<String>,
    #[command(flatten)]
    of: TableArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Reading")]
pub(super) struct ReadingArgs {
    /// Go on as the log grows, until Ctrl-C: on a terminal the report is drawn anew, elsewhere each --fail-if that begins
    /// to hold is a line.
    #[arg(
        long,
        short,
        conflicts_with_all = ["verify", "evidence", "verify_evidence", "diff", "diff_range", "from_clickhouse"]
    )]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) lines: LineArgs,
    /// What robots.txt said, from TIME (RFC 3339) on; may be given again. deckle's log holds it itself.
    #[arg(long, value_name = "FILE[@TIME]")]
    robots: Vec<String>,
    /// Silence after which a session is over.
    #[arg(long, value_name = "TIME", default_value = "30m")]
    session_gap: Span,
    /// Database (MMDB) that says who runs the networks of suspects: GeoLite2 ASN, IPinfo, or another of their form.
    #[arg(long, value_name = "FILE")]
    asn_db: Option<String>,
    /// Memory that it takes, about; beyond, the visitors that matter least are let go, further articles are left out, and
    /// the report says so.
    #[arg(long, value_name = "SIZE", default_value = "384MiB")]
    memory: Size,
    /// Threads; one a core otherwise.
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Write lines that were skipped, with file, number and reason.
    #[arg(long, value_name = "FILE")]
    pub(super) bad_lines: Option<PathBuf>,
}

/// How lines are read.
#[derive(clap::Args)]
#[command(next_help_heading = "Reading")]
pub(in crate::cli) struct LineArgs {
    /// Format of all lines; found out otherwise.
    #[arg(long, value_name = "NAME", value_parser = format)]
    format: Option<Format>,
    /// Format as the server's own configuration has it: the text of nginx `log_format` or Apache `LogFormat`.
    #[arg(long, value_name = "TEXT", conflicts_with = "format")]
    log_format: Option<String>,
    /// Zone of times that lines give without an offset, such as Europe/Berlin or +02:00; UTC otherwise.
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    tz: Option<Zone>,
    /// Of several addresses in a line, the client is at this place from the right; the right-most public one otherwise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    trust_xff: usize,
    /// Share of lines that may be unreadable.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub(in crate::cli) max_bad: f64,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Only")]
pub(super) struct OnlyArgs {
    /// From this time on: RFC 3339, 2026-11-20, or 7d, 24h, 90m ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// One visitor.
    #[arg(long, value_name = "ID")]
    visitor: Option<String>,
    /// One address or network.
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
    /// Part of an agent's name or user agent.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Categories, such as ai-train,search.
    #[arg(long, value_name = "LIST")]
    category: Option<String>,
    /// Paths: * within a segment, ** across.
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Statuses, such as 404, 4xx or 400-499.
    #[arg(long, value_name = "LIST")]
    status: Option<String>,
    /// Site or host.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// What deckle did.
    #[arg(long, value_name = "LIST")]
    action: Option<String>,
    /// Expression, such as 'score>=70 && page.kind=="article"'.
    #[arg(long = "where", value_name = "EXPRESSION")]
    expression: Option<String>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Answer")]
pub(super) struct OutputArgs {
    /// All sections, however long.
    #[arg(long)]
    pub(super) full: bool,
    /// Write a report that a browser shows.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write JSON to FILE, or to standard output with -.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write Markdown to FILE, or to standard output with -.
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
    /// Write one CSV file a section into DIR.
    #[arg(long, value_name = "DIR")]
    pub(super) csv: Option<PathBuf>,
    /// Show networks in place of addresses: a report to be handed on.
    #[arg(long)]
    redact: bool,
    /// What 10⁹ bytes cost.
    #[arg(long, value_name = "PRICE")]
    cost_per_gb: Option<f64>,
    /// Tell what deckle would have done under the policy of this deckle.toml: which requests would be treated otherwise,
    /// and who would be newly slowed, refused or challenged.
    #[arg(long, conflicts_with_all = ["follow", "diff", "diff_range"], value_name = "FILE")]
    simulate: Option<PathBuf>,
}

fn format(name: &str) -> Result<Format, String> {
    Format::from_code(name).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.code()).collect();
        format!("one of {}", names.join(", "))
    })
}

impl LineArgs {
    /// A review that reads them so.
    pub(in crate::cli) fn apply(&self, review: Review) -> anyhow::Result<Review> {
        let mut review = review.trust_xff(self.trust_xff);
        if let Some(format) = self.format {
            review = review.format(format);
        }
        if let Some(text) = &self.log_format {
            review = review.log_format(text).context("--log-format")?;
        }
        if let Some(zone) = &self.tz {
            review = review.zone(zone.clone());
        }
        Ok(review)
    }
}

impl ReviewArgs {
    /// What is to be read.
    pub(super) fn sources(&self, now: Duration) -> anyhow::Result<Vec<Source>> {
        self.sources_within(&Filters::new(&self.only.typed(), now)?)
    }

    /// Files as they are; of a table only what these filters may keep.
    #[cfg(feature = "clickhouse")]
    fn sources_within(&self, filters: &Filters) -> anyhow::Result<Vec<Source>> {
        let Some(url) = &self.from.from_clickhouse else { return Ok(sources(&self.paths)) };
        let (since, until) = filters.bounds();
        let sites = self.only.site.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
        let hits = hits(url, &self.from.of)?.between(since, until).sites(sites.collect());
        Ok(vec![Source::ClickHouse(Box::new(hits))])
    }

    /// Files as they are.
    #[cfg(not(feature = "clickhouse"))]
    fn sources_within(&self, _: &Filters) -> anyhow::Result<Vec<Source>> {
        if self.from.from_clickhouse.is_some() {
            bail!("--from-clickhouse needs feature `clickhouse`");
        }
        Ok(sources(&self.paths))
    }

    /// The review that these ask for.
    pub(super) fn review(&self, now: Duration) -> anyhow::Result<Review> {
        self.review_of(Filters::new(&self.only.typed(), now)?)
    }

    /// What that is held against, if anything: what is about lines holds for both, what is about times is its own.
    pub(super) fn older(&self, now: Duration) -> anyhow::Result<Option<(Review, Vec<Source>)>> {
        let DifferenceArgs { diff, diff_range } = &self.difference;
        if diff.is_empty() && diff_range.is_none() {
            return Ok(None);
        }
        let named = sources(if diff.is_empty() { &self.paths } else { diff });
        if named.contains(&Source::Stdin) && sources(&self.paths).contains(&Source::Stdin) {
            bail!("standard input can be read only once: it cannot be held against itself");
        }
        let (since, until) = diff_range.as_deref().map_or(Ok((None, None)), range)?;
        let typed = FilterArgs { since, until, ..self.only.typed() };
        let filters = Filters::new(&typed, now).context("--diff-range")?;
        let before = if diff.is_empty() { self.sources_within(&filters)? } else { named };
        Ok(Some((self.review_of(filters)?.keep_bad_lines(false), before)))
    }

    fn review_of(&self, filters: Filters) -> anyhow::Result<Review> {
        let ReadingArgs { lines, robots, session_gap, asn_db, memory, jobs, .. } = &self.reading;
        let mut review = lines
            .apply(Review::default())?
            .session_gap(session_gap.0)
            .memory(usize::try_from(memory.0)?)
            .windows(Condition::windows(&self.fail_if))
            .redact(self.output.redact)
            .keep_bad_lines(self.reading.bad_lines.is_some())
            .filters(filters);
        if let Some(jobs) = jobs {
            review = review.jobs(*jobs);
        }
        if let Some(path) = asn_db {
            review = review.systems(Systems::open(path).context("--asn-db")?);
        }
        if let Some(cost) = self.output.cost_per_gb {
            review = review.cost_per_gb(cost);
        }
        if let Some(path) = &self.output.simulate {
            let Config { mode, visitor, suspicion, action, rights, .. } = Config::from_path(path)?;
            let policy = SimulatedPolicy::new(mode, visitor, suspicion, action, rights);
            review = review.simulate(policy).with_context(|| format!("{} does not hold", path.display()))?;
        }
        for given in robots {
            let (file, since) = robots_file(given)?;
            let text = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
            review = review.robots(&text, since);
        }
        Ok(review)
    }
}

/// Files, and standard input for `-`.
pub(in crate::cli) fn sources(paths: &[PathBuf]) -> Vec<Source> {
    let source = |path: &PathBuf| if path == Path::new("-") { Source::Stdin } else { Source::Path(path.clone()) };
    paths.iter().map(source).collect()
}

/// `FROM..TO`; one of them may be missing.
fn range(text: &str) -> anyhow::Result<(Option<String>, Option<String>)> {
    let bound = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let range = text.split_once("..").map(|(from, to)| (bound(from), bound(to)));
    let range = range.filter(|(from, to)| from.is_some() || to.is_some());
    range.ok_or_else(|| anyhow!("--diff-range: `{text}` is no range such as 2026-11-13..2026-11-20 or 14d..7d"))
}

/// `FILE` or `FILE@TIME`; a file may have an `@` in its name.
fn robots_file(given: &str) -> anyhow::Result<(&str, Duration)> {
    let Some((file, time)) = given.rsplit_once('@').filter(|(file, _)| !file.is_empty()) else {
        return Ok((given, Duration::ZERO));
    };
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => Ok((file, Duration::from_secs(u64::try_from(time.as_second())?))),
        Err(_) if Path::new(given).exists() => Ok((given, Duration::ZERO)),
        Err(error) => Err(anyhow!("`{time}` in `--robots {given}` is no time such as 2026-11-20T00:00:00Z: {error}")),
    }
}

impl OnlyArgs {
    pub(super) fn visitor(&self) -> Option<&str> {
        self.visitor.as_deref()
    }

    fn typed(&self) -> FilterArgs {
        FilterArgs {
            since: self.since.clone(),
            until: self.until.clone(),
            visitor: self.visitor.clone(),
            address: self.address.clone(),
            agent: self.agent.clone(),
            category: self.category.clone(),
            path: self.path.clone(),
            status: self.status.clone(),
            site: self.site.clone(),
            action: self.action.clone(),
            expression: self.expression.clone(),
        }
    }
}
