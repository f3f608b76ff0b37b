//! `--evidence`: the copies, the verdict, how it was calculated, and the lines of the log with their proofs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::log::Log;
use super::{Report, derivation, json, named, put};
use crate::review::{EvidenceError, PackSummary, manifest, write_pack};
use crate::watermark::Tracer;

const README: &str = include_str!("readme.txt");

/// It must not be mixed with anything else.
pub(super) fn check_empty(out: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(out).map(|mut entries| entries.next().is_some()) {
        Ok(true) => bail!("`{}` is not empty (--evidence)", out.display()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot use {}", out.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn write(out: &Path, report: &Report<'_>, tracer: &Tracer, log: &Log) -> anyhow::Result<()> {
    let copies = out.join("copy");
    std::fs::create_dir_all(&copies)?;
    let all = report.findings.iter().flat_map(|finding| &finding.copies);
    for (number, copy) in all.enumerate() {
        std::fs::write(copies.join(file_name(number + 1, &copy.name)), &copy.bytes)?;
    }
    put(&out.join("verdict.json"), &json::document(report)?)?;
    put(&out.join("derivation.txt"), &derivation::text(report.findings, tracer))?;
    let lines = lines(out, report, log)?;
    put(&out.join("README.txt"), &readme(report, &lines))?;
    put(&out.join("MANIFEST.sha256"), &manifest(out)?)
}

/// The lines of the log, in one pack for each directory that holds some of them.
fn lines(out: &Path, report: &Report<'_>, log: &Log) -> anyhow::Result<Vec<(String, PackSummary)>> {
    let requests: BTreeSet<String> =
        named(report.findings, report.of_marks).map(|response| response.request_id.clone()).collect();
    let mut packs = Vec::new();
    if requests.is_empty() {
        return Ok(packs);
    }
    for (number, dir) in log.dirs.iter().enumerate() {
        let name = if number == 0 { "log".to_owned() } else { format!("log-{}", number + 1) };
        match write_pack(dir, &requests, &out.join(&name)) {
            Ok(summary) => packs.push((name, summary)),
            Err(EvidenceError::NoRequests) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(packs)
}

/// Letters that need no quotes anywhere.
fn file_name(number: usize, name: &str) -> PathBuf {
    let name = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = name.chars().take(100).map(|c| if is_plain(c) { c } else { '_' }).collect();
    PathBuf::from(format!("{number}-{plain}"))
}

fn readme(report: &Report<'_>, packs: &[(String, PackSummary)]) -> String {
    let verdicts: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("  {}: {}", finding.name.escape_debug(), finding.trace.verdict.code()))
        .collect();
    let lines: Vec<String> = packs
        .iter()
        .map(|(name, pack)| {
            let unread =
                pack.unread.iter().map(|unread| format!("\n    could not be read: {unread}")).collect::<String>();
            format!(
                "  {name}/: {} under signed heads, {} under heads that nobody has signed, {} without proof{unread}",
                pack.signed, pack.unsigned, pack.unproven
            )
        })
        .collect();
    let lines = if lines.is_empty() { "  none was found".to_owned() } else { lines.join("\n") };
    README
        .replace("{verdicts}", &verdicts.join("\n"))
        .replace("{lines}", &lines)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies_are_plain() {
        assert_eq!(file_name(1, "/tmp/a b/päge\n'.html"), PathBuf::from("1-p_ge__.html"));
        assert_eq!(file_name(2, "standard input"), PathBuf::from("2-standard_input"));
        assert_eq!(file_name(3, "../.."), PathBuf::from("3-"));
    }
}
