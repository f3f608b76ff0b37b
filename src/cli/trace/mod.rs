//! `deckle trace`: which responses a copy passed through.
//!
//! The log is read twice: once for its marks, which take eight bytes each, and once more for the responses of those that
//! were found. Nothing is printed that the whole log has not been asked about.

mod args;
mod copy;
mod derivation;
mod evidence;
mod json;
mod log;
mod markdown;
mod pick;
mod shared;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

pub(super) use args::{TraceArgs, joined};

use args::{By, Json};
use copy::Copy;
use log::Log;
use pick::{OfMark, Pages};

use super::output::{self, Exit};
use super::review::interrupt;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::review::{MarkedResponse, Standing};
use crate::secret::Secrets;
use crate::watermark::{
    Alternatives, Candidates, Consistency, Mark, Note, Observation, Scope, Scoring, Trace, Tracer, Verdict,
};

/// Responses of one mark that are named.
const MAX_NAMED: usize = 1_000;

/// A copy, or several taken together, and what came of it.
struct Finding<'c> {
    name: String,
    copies: Vec<&'c Copy>,
    trace: Trace,
    pages: Pages,
}

/// All that is reported.
struct Report<'r> {
    findings: &'r [Finding<'r>],
    of_marks: &'r BTreeMap<Mark, OfMark>,
    /// Who got the traced forms, where forms are shared.
    readers: &'r [shared::Reader],
    standing: Standing,
    verbose: bool,
}

pub(super) fn run(args: &TraceArgs) -> anyhow::Result<Exit> {
    let stop = interrupt()?;
    let config = args.config.as_ref().map(Config::from_path).transpose()?;
    let dirs = args.log_dirs(config.as_ref());
    let secrets = secrets(&dirs, config.as_ref())?;
    let filter = args.filter(SystemClock::new().unix())?;
    if let Some(out) = &args.evidence {
        evidence::check_empty(out)?;
    }
    let forms = config.as_ref().and_then(|config| match config.watermark.scope {
        Scope::Bucket(forms) => Some(forms),
        _ => None,
    });
    let by_visitor = args.by == By::Visitor;
    let mut log = Log { dirs, filter, by_visitor: by_visitor || forms.is_some(), is_partial: false };
    if !log.is_there() {
        let dirs: Vec<String> = log.dirs.iter().map(|dir| dir.display().to_string()).collect();
        bail!("no log in {} (audit-*.ndjson; say where it is by --log-dir)", dirs.join(", "));
    }
    let tracer = Tracer::new(&secrets);
    let one_form = config.is_some_and(|config| config.watermark.typographic.consistency == Consistency::Block);
    let Some((mut copies, mut is_partial)) = read_copies(args, &tracer, one_form, &stop) else {
        return Ok(Exit::Interrupted);
    };
    if copies.is_empty() {
        return Ok(Exit::Partial);
    }
    let (marks, pages) = log.marks(&mut copies, &stop);
    let known = Alternatives::new(&marks.variants);
    for Copy { seen, text, .. } in &mut copies {
        seen.add_variants(text, &known);
    }
    let how = Scoring { by_visitor, stop: Some(&*stop), ..Scoring::default() };
    let mut findings = findings(&tracer, &copies, pages, &marks.candidates, args.joint, &how);
    let pages: Vec<Pages> = findings.iter().map(|finding| finding.pages.clone()).collect();
    let of_marks = log.responses(findings.iter().map(|finding| &finding.trace), &pages, &stop);
    note_collisions(&mut findings, &of_marks);
    let standing = stand(&mut log, &findings, &of_marks);
    // What was not read to its end names nobody.
    if stop.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    is_partial |= log.is_partial;
    let readers = forms.map(|forms| shared::readers(&findings, &of_marks, forms, marks.visitors)).unwrap_or_default();
    let report =
        Report { findings: &findings, of_marks: &of_marks, readers: &readers, standing, verbose: args.verbose };
    write(args, &report, &tracer, &log)?;
    let traced = findings.iter().any(|finding| finding.trace.verdict == Verdict::Traced);
    Ok(match () {
        () if standing.changed > 0 => Exit::Integrity,
        () if is_partial => Exit::Partial,
        () if traced => Exit::Done,
        () => Exit::NothingFound,
    })
}

/// The secret of the environment, the configuration, or the log directory.
pub(super) fn secrets(dirs: &[PathBuf], config: Option<&Config>) -> anyhow::Result<Secrets> {
    if let Ok(value) = std::env::var("DECKLE_SECRET") {
        return Ok(Secrets::parse(&value)?);
    }
    let named = std::env::var("DECKLE_SECRET_FILE").ok().map(PathBuf::from);
    let configured = config.and_then(|config| config.secret_file.clone()).map(PathBuf::from);
    let beside = dirs.iter().map(|dir| dir.join("secret")).find(|path| path.exists());
    match named.or(configured).or(beside) {
        Some(path) => Ok(Secrets::from_file(path)?),
        None => bail!(
            "no secret: none in {} (set DECKLE_SECRET_FILE, or --config)",
            dirs.first().map_or("-".into(), |d| d.join("secret").display().to_string())
        ),
    }
}

/// All copies that can be read, and whether something is missing; `None`: interrupted.
fn read_copies(args: &TraceArgs, tracer: &Tracer, one_form: bool, stop: &AtomicBool) -> Option<(Vec<Copy>, bool)> {
    let (mut copies, mut is_partial) = (Vec::new(), false);
    for path in &args.copies {
        let copy = Copy::read(path, args, tracer, one_form, stop);
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        match copy {
            Ok(copy) => {
                is_partial |= copy.notes.contains(&Note::Truncated);
                copies.push(copy);
            }
            Err(error) => {
                output::complain(&error);
                is_partial = true;
            }
        }
    }
    Some((copies, is_partial))
}

fn findings<'c>(
    tracer: &Tracer,
    copies: &'c [Copy],
    pages: Vec<Pages>,
    marks: &Candidates,
    joint: bool,
    how: &Scoring<'_>,
) -> Vec<Finding<'c>> {
    let finding = |copies: Vec<&'c Copy>, mut trace: Trace, pages: Pages| {
        for note in copies.iter().flat_map(|copy| &copy.notes) {
            if !trace.notes.contains(note) {
                trace.notes.push(*note);
            }
        }
        let name = copies.iter().map(|copy| copy.name.as_str()).collect::<Vec<_>>().join(" + ");
        Finding { name, copies, trace, pages }
    };
    if joint {
        let all: Vec<Observation> = copies.iter().map(|copy| copy.seen.clone()).collect();
        let trace = tracer.score(&all, marks, how);
        return vec![finding(copies.iter().collect(), trace, Pages::join(&pages))];
    }
    let one = |(copy, pages): (&'c Copy, Pages)| {
        let trace = tracer.score(std::slice::from_ref(&copy.seen), marks, how);
        finding(vec![copy], trace, pages)
    };
    copies.iter().zip(pages).map(one).collect()
}

fn note_collisions(findings: &mut [Finding<'_>], of_marks: &BTreeMap<Mark, OfMark>) {
    for Finding { trace, .. } in findings {
        let collides = |mark: Mark| of_marks.get(&mark).is_some_and(OfMark::collides);
        if trace.hits.iter().any(|hit| collides(hit.mark)) && !trace.notes.contains(&Note::Collision) {
            trace.notes.push(Note::Collision);
        }
    }
}

/// The responses that are named, of all findings.
fn named<'r>(
    findings: &'r [Finding<'_>],
    of_marks: &'r BTreeMap<Mark, OfMark>,
) -> impl Iterator<Item = &'r MarkedResponse> {
    findings.iter().flat_map(move |finding| {
        let of = finding.trace.hits.iter().filter_map(move |hit| of_marks.get(&hit.mark));
        of.flat_map(move |of| of.pick(&finding.pages).1.into_iter().take(MAX_NAMED))
    })
}

/// Do the lines that are named stand in the log as they were written?
fn stand(log: &mut Log, findings: &[Finding<'_>], of_marks: &BTreeMap<Mark, OfMark>) -> Standing {
    let (mut segments, mut requests) = (BTreeSet::new(), BTreeSet::new());
    for response in named(findings, of_marks) {
        segments.insert(response.segment.clone());
        requests.insert(response.request_id.clone());
    }
    log.stand(&segments, &requests)
}

/// Every form that was asked for; text, unless JSON goes to standard output.
fn write(args: &TraceArgs, report: &Report<'_>, tracer: &Tracer, log: &Log) -> anyhow::Result<()> {
    if let Some(out) = &args.evidence {
        evidence::write(out, report, tracer, log).with_context(|| format!("cannot write {}", out.display()))?;
    }
    match args.json() {
        Some(Json::Stdout) => return output::print(&json::document(report)?),
        Some(Json::File(path)) => put(path, &json::document(report)?)?,
        None => {}
    }
    output::print(&text::report(report))
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A time as it is shown.
fn shown(time: Duration) -> String {
    jiff::Timestamp::from_second(time.as_secs() as i64).map(|time| time.to_string()).unwrap_or_default()
}
