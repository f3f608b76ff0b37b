//! `deckle review`.

mod alerts;
mod args;
mod command;
mod follow;
mod integrity;
mod progress;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use alerts::Alerts;
#[cfg(feature = "clickhouse")]
pub(super) use args::sources;
pub(super) use args::{LineArgs, ReviewArgs};
pub(super) use progress::Line as ProgressLine;

use super::output::{self, Exit};
use crate::clock::{Clock, SystemClock};
use crate::review::{
    BadLine, Condition, Facts, InputError, Look, Report, Review, Reviewed, Source, csv, html, markdown, terminal,
};

pub(super) fn run(args: &ReviewArgs) -> anyhow::Result<Exit> {
    if let Some(exit) = integrity::run(args)? {
        return Ok(exit);
    }
    let stop = interrupt()?;
    let clock = SystemClock::new();
    let now = clock.unix();
    let review = args.review(now)?.stop(Arc::clone(&stop));
    let sources = args.sources(now)?;
    let mut alerts = Alerts::new(&args.fail_if, args.alert_cmd.as_deref());
    let mut is_compared = false;
    let (reviewed, told) = if args.reading.follow {
        let watched = follow::run(&review, &sources, &mut alerts, &stop);
        if watched.is_closed {
            return Ok(Exit::Done);
        }
        (watched.reviewed, watched.told)
    } else {
        let older = args.older(now)?;
        is_compared = older.is_some();
        let older = older.map(|(older, sources)| (older.stop(Arc::clone(&stop)), sources));
        (read(&review, &sources, older), 0)
    };
    let Reviewed { report, errors, bad_lines, windowed, most_by_one, .. } = reviewed;
    if let Some(path) = &args.reading.bad_lines {
        write_bad_lines(path, &bad_lines).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for note in report.quality.notes.iter().skip(told) {
        let _ = writeln!(std::io::stderr().lock(), "deckle: {}", output::clean(note));
    }
    let bad = bad_share(&report);
    if is_nothing(&report) {
        let _ = writeln!(std::io::stderr().lock(), "deckle: no log lines in what was given");
        // Who waits for a log may give up.
        let gave_up = args.reading.follow && stop.load(Ordering::Relaxed);
        return Ok(if gave_up { Exit::Interrupted } else { Exit::NothingFound });
    }
    if is_compared && report.difference.is_none() {
        let _ = writeln!(std::io::stderr().lock(), "deckle: no log lines of one of the times that are compared");
        return Ok(Exit::NothingFound);
    }
    if bad > args.reading.lines.max_bad {
        let reasons: Vec<String> = report.quality.skipped.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let percent = bad * 100.0;
        let reasons = reasons.join(", ");
        let _ = writeln!(
            std::io::stderr().lock(),
            "deckle: warning: {percent:.0} % of the input could not be read ({reasons})"
        );
    }
    write(args, &report)?;
    let facts = Facts { windowed, ..facts(&report, most_by_one) };
    if !args.reading.follow {
        alerts.look(clock.elapsed(), &facts, &report);
    }
    let met = met(&args.fail_if, &facts);
    for (condition, value) in &met {
        let _ = writeln!(std::io::stderr().lock(), "deckle: {condition} holds: {value}");
    }
    alerts.wait();
    Ok(match () {
        () if stop.load(Ordering::Relaxed) => Exit::Interrupted,
        () if !met.is_empty() || alerts.any() => Exit::ConditionMet,
        () if bad > args.reading.lines.max_bad || errors.iter().any(is_lost) => Exit::Partial,
        () => Exit::Done,
    })
}

/// Everything once, or two parts one after the other.
fn read(review: &Review, sources: &[Source], older: Option<(Review, Vec<Source>)>) -> Reviewed {
    let all: Vec<Source> = older.iter().flat_map(|(_, before)| before).chain(sources).cloned().collect();
    let mut progress = progress::Line::new(&all);
    let reviewed = match older {
        Some((older, before)) => review.read_against(sources, (&older, &before), &mut |at| progress.show(at)),
        None => review.read_with(sources, &mut |at| progress.show(at)),
    };
    progress.clear();
    reviewed
}

/// No line told of a response.
fn is_nothing(report: &Report) -> bool {
    report.quality.hits + report.quality.other + report.quality.filtered == 0
}

fn is_lost(_: &InputError) -> bool {
    true
}

/// Set by an interrupt: what was read until then is reported.
pub(super) fn interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let wait = move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                flag.store(true, Ordering::Relaxed);
            }
        });
    };
    // Without a thread an interrupt ends the program at once.
    let _ = std::thread::Builder::new().name("deckle-interrupt".to_owned()).spawn(wait);
    Ok(stop)
}

fn bad_share(report: &Report) -> f64 {
    let quality = &report.quality;
    let skipped: u64 = quality.skipped.values().sum();
    let lines = quality.lines.saturating_sub(quality.empty);
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    share(skipped, lines).max(share(quality.too_long_bytes, quality.bytes))
}

fn write_bad_lines(path: &Path, lines: &[BadLine]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for bad in lines {
        write!(out, "{}:{}: {}: ", bad.file, bad.line, bad.reason.code())?;
        out.write_all(&bad.text)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Every form that was asked for; the terminal's, unless something else goes to standard output.
fn write(args: &ReviewArgs, report: &Report) -> anyhow::Result<()> {
    let output = &args.output;
    let mut printed = false;
    if let Some(path) = &output.json {
        printed |= put(path, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    if let Some(path) = &output.markdown {
        printed |= put(path, &markdown(report))?;
    }
    if let Some(path) = &output.html {
        printed |= put(path, &html(report))?;
    }
    if let Some(dir) = &output.csv {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        for (name, text) in csv(report) {
            put(&dir.join(name), &text)?;
        }
    }
    if printed {
        return Ok(());
    }
    output::print(&terminal(report, look(output.full)))
}

/// True if it went to standard output.
fn put(path: &Path, text: &str) -> anyhow::Result<bool> {
    if path == Path::new("-") {
        output::print(text)?;
        return Ok(true);
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(false)
}

fn look(full: bool) -> Look {
    let terminal = std::io::stdout().is_terminal();
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let language =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let unicode = language.is_none_or(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    });
    let height = std::env::var("LINES").ok().and_then(|lines| lines.parse().ok());
    Look {
        width: output::width(),
        height,
        colour: terminal && !dumb && std::env::var_os("NO_COLOR").is_none(),
        unicode: unicode && !dumb,
        full,
    }
}

/// The conditions that hold, and what was found.
fn met<'c>(conditions: &'c [Condition], facts: &Facts) -> Vec<(&'c Condition, f64)> {
    let met = conditions.iter().filter(|condition| condition.met(facts));
    met.map(|condition| (condition, condition.value(facts).unwrap_or(0.0))).collect()
}

fn facts(report: &Report, [articles_by_one, pages_by_one, requests_by_one]: [u64; 3]) -> Facts {
    let not_found = |row: &&crate::review::report::StatusRow| matches!(row.status, 404 | 410);
    let missing: u64 = report.status.codes.iter().filter(not_found).map(|row| row.hits).sum();
    Facts {
        fake_bots: report.agents.iter().filter(|row| row.verification == "failed").map(|row| row.visitors).sum(),
        violations: report.robots.rows.iter().map(|row| row.read_then_ignored + row.never_asked).sum(),
        suspects: report.verdict.suspects as u64,
        articles_by_one,
        pages_by_one,
        requests_by_one,
        dropped: report.quality.dropped,
        holes: report.quality.holes,
        automated_share: report.verdict.automated_share,
        not_found_share: missing as f64 / report.verdict.hits.max(1) as f64,
        bad_lines: report.quality.skipped.values().sum(),
        ..Facts::default()
    }
}
