//! Evidence: lines out of the log, one visitor's or those of some responses, with all that a third party needs to check
//! them, and nothing about anybody else.
//!
//! A line is proved by the siblings on its way up to the root of its block, the root by the chain, and the chain by a
//! signature; of other lines only digests are shown. `README.txt` in the pack says how to check it with `sha256sum` and
//! `openssl` alone.

mod check;
mod collect;
mod context;
mod proof;
mod subject;
mod summary;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::audit::integrity::Anchored;
use crate::audit::segment_file::{bare_name, segments_once};
use crate::audit::signing::PublicKey;
#[cfg(feature = "cli")]
pub(crate) use check::manifest;
pub use check::verify_evidence;
use collect::Collector;
use context::{Period, cell};
use proof::Proofs;
pub use subject::Wanted;
use subject::{REQUESTS_FILE, Subject};

const MANIFEST: &str = "MANIFEST.sha256";
const README: &str = include_str!("evidence/readme.txt");
/// What README.txt ends with.
const SCRIPT: &str = include_str!("evidence/verify.sh");

/// Why a pack could not be written, or does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The operating system says so.
    #[error("cannot use `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A pack must not be mixed with anything else.
    #[error("`{path}` is not empty")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// Not an id of a visitor.
    #[error("`{visitor}` is no visitor's id (`deckle.visitor.id`: letters and digits)")]
    Visitor {
        /// What was given.
        visitor: String,
    },
    /// The log knows no such visitor.
    #[error("no line of visitor `{visitor}` in the log")]
    NoLines {
        /// The visitor.
        visitor: String,
    },
    /// Not an id of a request.
    #[error("`{id}` is no id of a request (`deckle.request.id`: letters, digits and dashes)")]
    Request {
        /// What was given.
        id: String,
    },
    /// The log has none of these responses.
    #[error("none of these responses is in the log")]
    NoRequests,
    /// A file of a pack is not what it was.
    #[error("`{file}` was changed, added or taken away")]
    Changed {
        /// The first one.
        file: String,
    },
    /// A proof does not hold.
    #[error("not proved: {why}")]
    Unproved {
        /// Which one.
        why: String,
    },
}

impl EvidenceError {
    /// Somebody has changed the pack.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Unproved { .. })
    }

    /// There is nothing to write about.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::NoLines { .. } | Self::NoRequests)
    }
}

/// What a pack holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackSummary {
    /// Whose lines; empty: those of some requests.
    pub visitor: String,
    /// How many requests were asked for.
    pub requests: u64,
    /// Lines under signed heads.
    pub signed: u64,
    /// Lines under heads that nobody has signed.
    pub unsigned: u64,
    /// Lines behind the last checkpoint of a segment, or in a block that was changed.
    pub unproven: u64,
    /// Ids of the keys.
    pub keys: Vec<String>,
    /// Heads above the lines that were sent away: when, where to, which.
    pub anchors: Vec<String>,
    /// Segments that could not be read, or not to their end, each with the cause: lines of theirs may be missing.
    pub unread: Vec<String>,
}

/// What holds of a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackVerified {
    /// Whose lines; empty: those of some requests.
    pub visitor: String,
    /// How many requests were asked for.
    pub requests: u64,
    /// Lines under signed heads.
    pub signed: u64,
    /// Lines under heads that nobody has signed.
    pub unsigned: u64,
    /// The pack's public keys, 64 hexadecimal digits each: to be compared with what the publisher has made known.
    pub keys: Vec<String>,
    /// The keys that were believed are those of the caller, not the pack's own.
    pub are_keys_given: bool,
    /// Heads above the lines that were sent away, says the log: when, where to, which.
    pub anchors: Vec<String>,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> EvidenceError + use<> {
    let path = path.display().to_string();
    move |source| EvidenceError::Io { path, source }
}

/// What the checkpoints of a log say of some of its lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Lines in blocks that are as they were written.
    pub proved: u64,
    /// Lines that no checkpoint covers.
    pub unsealed: u64,
    /// Lines in blocks that were changed.
    pub changed: u64,
}

/// Do the lines of these requests stand in these segments as they were written?
///
/// # Errors
/// [`EvidenceError::Io`]
pub fn lines_stand(segments: &[PathBuf], requests: &BTreeSet<String>) -> Result<Standing, EvidenceError> {
    let subject = Subject::Requests(requests.clone());
    let mut collector = Collector::new(&subject, std::io::sink(), std::io::sink());
    // What goes nowhere always fits.
    collector.read(segments).map_err(io(Path::new("-")))?;
    if let Some((path, error)) = collector.unread.into_iter().next() {
        return Err(io(&path)(error));
    }
    Ok(Standing { proved: collector.proved, unsealed: collector.unsealed, changed: collector.changed })
}

/// Writes evidence of one visitor, or of some responses, into a directory that is empty or not there yet. `log` is a log
/// directory, or one segment. What cannot be read of it is left out, and [told](PackSummary::unread).
///
/// # Errors
/// [`EvidenceError`].
pub fn write_pack<'w>(log: &Path, wanted: impl Into<Wanted<'w>>, out: &Path) -> Result<PackSummary, EvidenceError> {
    let subject = Subject::new(wanted.into())?;
    match std::fs::read_dir(out).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(EvidenceError::NotEmpty { path: out.display().to_string() }),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(out)(error)),
        _ => {}
    }
    let path = out.join("lines.ndjson");
    let lines = |path| Lines { path, file: None };
    let mut collector = Collector::new(&subject, lines(path.clone()), lines(out.join("lines-unproven.ndjson")));
    let is_dir = log.is_dir();
    let segments = if is_dir { segments_once(log).map_err(io(log))? } else { vec![log.to_owned()] };
    collector.read(&segments).map_err(io(&path))?;
    if collector.facts.lines == 0 {
        let unread = collector.unread.into_iter().next();
        return Err(unread.map_or_else(|| subject.is_missing(), |(path, error)| io(&path)(error)));
    }
    let [lines, unproven] = collector.writers();
    lines.open().and_then(Write::flush).and_then(|()| unproven.flush()).map_err(io(&path))?;
    let dir = if is_dir { log } else { log.parent().unwrap_or(log) };
    collector.context.add_history(dir);
    for anchored in Anchored::of_index(dir) {
        collector.add_anchor(anchored);
    }
    Pack { dir: out, subject: &subject }.write(collector)
}

/// A file of lines. Nothing is made before there is a line to write.
struct Lines {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Lines {
    fn open(&mut self) -> std::io::Result<&mut BufWriter<File>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                BufWriter::new(File::create(&self.path)?)
            }
        };
        Ok(self.file.insert(file))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.open()?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// An anchor in words; a configuration may hold anything.
fn said(anchor: &Anchored) -> String {
    let Anchored { to, sent, seq, head, .. } = anchor;
    plain(&format!("{sent} to {to}: number {seq}, head {head}"))
}

/// Without what hides or reorders text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if crate::audit::is_hidden(c) { '?' } else { c }).collect()
}

struct Pack<'p> {
    dir: &'p Path,
    subject: &'p Subject,
}

impl Pack<'_> {
    fn write<W: Write>(&self, found: Collector<'_, W>) -> Result<PackSummary, EvidenceError> {
        let summary = self.summary(&found);
        let keys: BTreeMap<String, String> = found.keys.iter().map(|(id, key)| (id.clone(), key.to_hex())).collect();
        // There are a dozen steps for each line: they are there once, and go out one by one.
        let (subject, anchors, steps) = (self.subject.clone(), found.anchors, found.steps);
        let proofs = Proofs { schema_version: 1, subject, keys, anchors, steps };
        self.stream("proofs.json", |out| {
            serde_json::to_writer_pretty(&mut *out, &proofs)?;
            out.write_all(b"\n")
        })?;
        self.stream("proofs.txt", |out| write!(out, "{proofs}"))?;
        if let Some(list) = self.subject.list() {
            self.file(REQUESTS_FILE, list.as_bytes())?;
        }
        self.keys(&found.keys)?;
        let named = proofs.segments();
        for (file, line) in found.segments.iter().filter(|(file, _)| named.contains(file.as_str())) {
            self.file(file, line)?;
        }
        self.versions("robots", "txt", "host", &found.context.robots(&found.facts))?;
        self.versions("policy", "toml", "instance", &found.context.policy(&found.facts))?;
        self.file("marks.csv", found.facts.marks.as_bytes())?;
        self.file("summary.html", summary::html(&summary, &found.facts).as_bytes())?;
        self.file("README.txt", self.readme(&summary).as_bytes())?;
        let manifest = manifest(self.dir)?;
        self.file(MANIFEST, manifest.as_bytes())?;
        Ok(summary)
    }

    fn summary<W: Write>(&self, found: &Collector<'_, W>) -> PackSummary {
        let (mut signed, mut waiting) = (0, 0);
        for step in &found.steps {
            match step {
                proof::Step::Root => waiting += 1,
                proof::Step::Signed { .. } => signed += std::mem::take(&mut waiting),
                proof::Step::Unsigned => waiting = 0,
                _ => {}
            }
        }
        PackSummary {
            visitor: self.subject.visitor(),
            requests: self.subject.requests(),
            signed,
            unsigned: found.proved - signed,
            unproven: found.facts.lines - found.proved,
            keys: found.keys.keys().cloned().collect(),
            anchors: found.anchors.iter().map(said).collect(),
            unread: found.unread.iter().map(|(path, error)| plain(&format!("{}: {error}", bare_name(path)))).collect(),
        }
    }

    /// A file that may be large.
    fn stream(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), EvidenceError> {
        let path = self.dir.join(name);
        let written = File::create(&path).map(BufWriter::new).and_then(|mut out| {
            write(&mut out)?;
            out.flush()
        });
        written.map_err(io(&path))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io(parent))?;
        }
        std::fs::write(&path, bytes).map_err(io(&path))
    }

    fn keys(&self, keys: &BTreeMap<String, PublicKey>) -> Result<(), EvidenceError> {
        keys.iter().try_for_each(|(id, key)| self.file(&format!("keys/{id}.pem"), key.to_pem().as_bytes()))
    }

    fn versions(&self, dir: &str, end: &str, place: &str, periods: &[Period]) -> Result<(), EvidenceError> {
        let mut csv = format!("version,{place},from,until\r\n");
        for period in periods {
            let cells = [&period.version, &period.place, &period.from, &period.until].map(|value| cell(value));
            csv.push_str(&(cells.join(",") + "\r\n"));
            if let Some(text) = &period.text {
                self.file(&format!("{dir}/{}.{end}", period.version), text)?;
            }
        }
        self.file(&format!("{dir}/validity.csv"), csv.as_bytes())
    }

    fn readme(&self, summary: &PackSummary) -> String {
        let keys = if summary.keys.is_empty() { "none".to_owned() } else { summary.keys.join(", ") };
        let anchors = match summary.anchors.as_slice() {
            [] => "  none that the log knows of".to_owned(),
            anchors => anchors.iter().map(|anchor| format!("  {anchor}")).collect::<Vec<String>>().join("\n"),
        };
        let unread = match summary.unread.as_slice() {
            [] => "no segment of the log".to_owned(),
            unread => format!("{}; lines of theirs may be missing here", unread.join("; ")),
        };
        let mut text = README.replace("{anchors}", &anchors).replace("{unread}", &unread);
        for (place, words) in self.subject.words() {
            text = text.replace(&format!("{{{place}}}"), &words);
        }
        let text = text
            .replace("{signed}", &summary.signed.to_string())
            .replace("{unsigned}", &summary.unsigned.to_string())
            .replace("{unproven}", &summary.unproven.to_string())
            .replace("{keys}", &keys)
            .replace("{version}", env!("CARGO_PKG_VERSION"));
        text + SCRIPT
    }
}
