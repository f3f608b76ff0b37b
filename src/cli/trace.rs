//! `deckle trace`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;

use super::args::TraceArgs;
use super::output::{self, Exit, clean};
use crate::audit::reader::{Format, Line, Reader};
use crate::config::Config;
use crate::page::plain_text;
use crate::review::log_lines;
use crate::secret::Secrets;
use crate::watermark::{Candidates, Channel, Hit, Mark, Note, Trace, Tracer, Verdict};

/// Longest copy that is read.
const MAX_COPY: u64 = 64 << 20;
/// Responses of one mark that are listed.
const MAX_RESPONSES: usize = 50;
/// Chance of an accident from which a name is given.
const LIMIT: f64 = 1e-9;

/// A response that carried a mark.
struct Response {
    request_id: String,
    time: String,
    path: String,
    visitor: String,
    user_agent: String,
    address: String,
}

type Log = BTreeMap<Mark, Vec<Response>>;

pub(super) fn run(args: &TraceArgs) -> anyhow::Result<Exit> {
    let secrets = secrets(args)?;
    let mut log = Log::new();
    let mut unread = false;
    for dir in &args.log_dir {
        if let Err(error) = read_log(dir, &mut log) {
            output::complain(&error);
            unread = true;
        }
    }
    if unread && log.is_empty() {
        return Ok(Exit::Usage);
    }
    let marks: Candidates = log.keys().copied().collect();
    let tracer = Tracer::new(&secrets);
    let mut traces: Vec<(String, Trace)> = Vec::new();
    for copy in &args.copies {
        match read_copy(copy) {
            Ok(text) => traces.push((copy.display().to_string(), tracer.trace(&text, &marks))),
            Err(error) => {
                output::complain(&error);
                unread = true;
            }
        }
    }
    let text = if args.json { render_json(&traces, &log)? } else { render_text(&traces, &log) };
    output::print(&text)?;
    let traced = traces.iter().any(|(_, t)| t.verdict == Verdict::Traced);
    Ok(match (unread, traced) {
        (true, _) => Exit::Partial,
        (false, true) => Exit::Done,
        (false, false) => Exit::NothingFound,
    })
}

/// The secret of the environment, the configuration, or the log directory.
fn secrets(args: &TraceArgs) -> anyhow::Result<Secrets> {
    if let Ok(value) = std::env::var("DECKLE_SECRET") {
        return Ok(Secrets::parse(&value)?);
    }
    let named = std::env::var("DECKLE_SECRET_FILE").ok().map(PathBuf::from);
    let configured = match &args.config {
        Some(path) => Config::from_path(path)?.secret_file.map(PathBuf::from),
        None => None,
    };
    let beside = args.log_dir.iter().map(|dir| dir.join("secret")).find(|path| path.exists());
    match named.or(configured).or(beside) {
        Some(path) => Ok(Secrets::from_file(path)?),
        None => bail!(
            "no secret: none in {} (set DECKLE_SECRET_FILE, or --config)",
            args.log_dir.first().map_or("-".into(), |d| d.join("secret").display().to_string())
        ),
    }
}

fn read_log(dir: &Path, log: &mut Log) -> anyhow::Result<()> {
    let mut reader = Reader::new(Format::Deckle);
    log_lines(dir, |line| {
        let Line::Hit(hit) = reader.read(line) else { return };
        let Some(fields) = hit.deckle else { return };
        let Some(mark) = fields.mark.as_deref().and_then(|m| m.parse().ok()) else { return };
        let time = jiff::Timestamp::from_second(hit.time.as_secs() as i64).map(|t| t.to_string()).unwrap_or_default();
        log.entry(mark).or_default().push(Response {
            request_id: fields.request_id.into_owned(),
            time,
            path: hit.path.into_owned(),
            visitor: fields.visitor.into_owned(),
            user_agent: hit.user_agent.unwrap_or_default().into_owned(),
            address: hit.address.into_owned(),
        });
    })?;
    Ok(())
}

fn read_copy(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_COPY + 1).read_to_end(&mut bytes)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.take(MAX_COPY + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    }
    if bytes.len() as u64 > MAX_COPY {
        bail!("{} is longer than 64 MiB", path.display());
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let html = text.trim_start_matches('\u{FEFF}').trim_start().starts_with('<')
        || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("html") || e.eq_ignore_ascii_case("htm"));
    Ok(if html { plain_text(&text) } else { text })
}

fn matches(hits: &[Hit], log: &Log) -> Vec<serde_json::Value> {
    hits.iter()
        .map(|hit| {
            let responses: &[Response] = log.get(&hit.mark).map_or(&[], Vec::as_slice);
            let first = responses.first();
            let ids: Vec<&str> = responses.iter().take(MAX_RESPONSES).map(|r| r.request_id.as_str()).collect();
            let paths: BTreeSet<&str> = responses.iter().take(MAX_RESPONSES).map(|r| r.path.as_str()).collect();
            let evidence: Vec<serde_json::Value> = hit
                .evidence
                .iter()
                .map(|e| json!({ "channel": e.channel.code(), "live": e.live, "agree": e.agree, "p": e.p }))
                .collect();
            json!({
                "mark": hit.mark.to_string(),
                "p_value": hit.adjusted,
                "responses": responses.len(),
                "request_ids": ids,
                "time": first.map(|r| r.time.as_str()),
                "visitor": first.map(|r| r.visitor.as_str()),
                "user_agent": first.map(|r| r.user_agent.as_str()),
                "address": first.map(|r| r.address.as_str()),
                "paths": paths,
                "evidence": evidence,
            })
        })
        .collect()
}

fn document(trace: &Trace, log: &Log) -> serde_json::Value {
    json!({
        "verdict": trace.verdict.code(),
        "matches": matches(&trace.hits, log),
        "slots_read": trace.slots_read,
        "words": trace.words,
        "candidates": trace.candidates_searched,
        "tests": trace.tests,
        "notes": trace.notes.iter().map(|note| note.code()).collect::<Vec<_>>(),
    })
}

fn render_json(traces: &[(String, Trace)], log: &Log) -> anyhow::Result<String> {
    let rank = |t: &Trace| match t.verdict {
        Verdict::Traced => 0,
        Verdict::Inconclusive => 1,
        Verdict::None => 2,
    };
    let best = traces.iter().min_by_key(|(_, t)| rank(t)).map(|(_, t)| document(t, log));
    let mut out = best.unwrap_or_else(|| json!({ "verdict": "none", "matches": [], "slots_read": 0, "words": 0 }));
    if let Some(object) = out.as_object_mut() {
        object.insert("schema_version".into(), 1.into());
        if traces.len() > 1 {
            let copies: Vec<serde_json::Value> = traces
                .iter()
                .map(|(name, trace)| {
                    let mut copy = document(trace, log);
                    if let Some(copy) = copy.as_object_mut() {
                        copy.insert("name".into(), name.as_str().into());
                    }
                    copy
                })
                .collect();
            object.insert("copies".into(), copies.into());
        }
    }
    Ok(serde_json::to_string_pretty(&out)? + "\n")
}

fn render_text(traces: &[(String, Trace)], log: &Log) -> String {
    let mut out = String::new();
    for (name, trace) in traces {
        out.push_str(&format!("{}: {}\n", clean(name), trace.verdict.code().to_uppercase()));
        for hit in &trace.hits {
            out.push_str(&format!("  mark {}   adjusted p = {:.1e} (limit {LIMIT:.0e})\n", hit.mark, hit.adjusted));
            for e in &hit.evidence {
                out.push_str(&match e.channel {
                    Channel::Seal => format!(
                        "    seal        in {} paragraphs{}\n",
                        e.paragraphs,
                        if hit.in_log { ", in the log" } else { ", not in the log" }
                    ),
                    other => {
                        format!("    {:<11} {} of {} columns agree, p = {:.1e}\n", other.code(), e.agree, e.live, e.p)
                    }
                });
            }
            let responses = log.get(&hit.mark).map_or(&[][..], Vec::as_slice);
            for r in responses.iter().take(5) {
                out.push_str(&format!(
                    "    response    {}  {}  {}  {}  {}\n",
                    r.time,
                    clean(&r.request_id),
                    clean(&r.address),
                    clean(&r.user_agent),
                    clean(&r.path)
                ));
            }
            if responses.len() > 5 {
                out.push_str(&format!("    and {} other responses of the same visit\n", responses.len() - 5));
            }
        }
        out.push_str(&format!(
            "  {} words, {} gaps read, {} marks searched\n",
            trace.words, trace.slots_read, trace.candidates_searched
        ));
        for note in &trace.notes {
            out.push_str(&format!("  note: {}\n", explain(*note)));
        }
        if !trace.hits.is_empty() {
            out.push_str("  note: the text passed through these responses; this does not show who republished it\n");
        }
    }
    out
}

fn explain(note: Note) -> String {
    let text = match note {
        Note::TooShort => "too short to carry a mark that can be read",
        Note::WhitespaceCollapsed => "the white space was collapsed; only seals can be read",
        Note::HardWrapped => "the lines were wrapped anew; only seals can be read",
        Note::NoGaps => "no two words are apart by white space alone",
        Note::QuotesUniform => "quotes and dashes are spelled in one way only",
        Note::AsciiOnly => "there is nothing but ASCII in it; seals may have been taken out",
        Note::ForeignSeal => "it holds a seal of another site, of a key that is not loaded, or a damaged one",
        Note::LogMissing => "a seal is genuine, but its mark is not in this log",
        Note::Conflict => "seal and white space name different marks; a seal may have been transplanted",
        Note::Doubtful => "another mark fits the text better than that of the seal, though it may be an accident",
        Note::Collision => "more than one visitor had this mark",
        Note::Twin => "the text is that of a page of this site, without a mark",
        Note::NotSignificant => "no mark fits better than by accident",
        Note::NeedsWords(words) => return format!("about {words} words more would decide ({})", note.code()),
        Note::KeysMissing(marks) => {
            return format!("{marks} marks of the log are of keys that are not loaded ({})", note.code());
        }
        other => return other.code().to_owned(),
    };
    format!("{text} ({})", note.code())
}
