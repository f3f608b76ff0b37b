//! The report of `deckle check` for people.

use std::fmt::Write as _;

use super::check::{Report, Treatment};
use super::images::Image;

/// What a code of a skip means.
pub(super) fn meaning(code: &str) -> &'static str {
    match code {
        "status" => "this status has no page",
        "type" => "it is not HTML",
        "type_missing" => "it has no Content-Type",
        "xhtml" => "XHTML",
        "attachment" => "it is offered as a download",
        "no_transform" => "the site says no-transform",
        "coding_unknown" | "coding_stacked" => "its coding cannot be read",
        "charset_unsafe" => "its charset is not safe to insert into",
        "not_markup" => "it does not begin with a tag",
        "signed" => "it is signed",
        "already" => "another deckle has rewritten it",
        "route" => "the configuration leaves it alone",
        "ambiguous" => "from a doubtful place on it is left alone",
        "memory" => "it needs more memory than page.max_memory",
        "frameset" => "it is a page of frames",
        "bad_utf8" => "it is not the UTF-8 that it claims: from there on nothing is marked",
        "learning" => "only the second page of a site is marked",
        "hydrated" => "a script compares its text with its own",
        "misnested" => "its tags do not close in order where nothing may be marked: from there on nothing is marked",
        "charset_late" => "it does not declare its charset in its first 1,024 bytes",
        "encoding" => "its charset holds no marks",
        "level_off" => "marks are off",
        "amp" => "AMP",
        "stream_type" => "a stream without an end",
        "handler" => "it could not be read any further",
        "path" => "watermark.paths leaves it out",
        "channels_off" => "all channels of marks are off",
        "policy" => "the site wants no marks in it",
        "too_large" => "behind watermark.max_page nothing is marked",
        _ => "see the log",
    }
}

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\n{} {}\n", report.address, report.status, report.media_type);
    let _ = writeln!(out, "What deckle does to it\n  {}", treatment(&report.page));
    if report.page.rewrite == "done" {
        let _ = writeln!(
            out,
            "  {} bytes become {}; no other byte changes\n  The guard informs readers. It stops no program and no reader who wants the text.",
            report.page.bytes_before, report.page.bytes_after
        );
    }
    if !report.alternates.is_empty() {
        out.push_str("\nOther forms of it\n");
        for other in &report.alternates {
            let how = other.page.as_ref().map_or_else(|| "could not be fetched".to_owned(), treatment);
            let _ = writeln!(out, "  {} ({})\n    {how}", other.address, other.kind);
        }
    }
    if !report.twins.is_empty() {
        out.push_str("\nWhere its words stand without a mark\n");
        for twin in &report.twins {
            let _ = writeln!(out, "  {} words in {}\n    {}", twin.words, twin.kind, twin.address);
        }
    }
    if !report.marks.is_empty() {
        let marks: Vec<&str> = report.marks.iter().map(|mark| mark.as_deref().unwrap_or("none")).collect();
        let _ = writeln!(out, "\nMarks of two visitors\n  {}", marks.join("  "));
    }
    if let Some(images) = &report.images {
        out.push_str("\nWhat its images say of data mining\n");
        for image in images {
            let _ = writeln!(out, "  {}\n    {}", image.address, says(image));
        }
        if images.is_empty() {
            out.push_str("  it names none\n");
        }
    }
    out.push_str("\nWhat it declares\n");
    for (name, value) in &report.declared {
        let _ = writeln!(out, "  {name}: {value}");
    }
    for (name, status) in &report.files {
        let _ = writeln!(
            out,
            "  /{name}: {status}",
            name = if *name == "tdmrep.json" { ".well-known/tdmrep.json" } else { name }
        );
    }
    if report.declared.is_empty() {
        out.push_str("  no field of the page declares anything\n");
    }
    if report.findings.is_empty() {
        out.push_str("\nNothing to mend was found.\n");
    } else {
        let _ = writeln!(out, "\n{} to look at", report.findings.len());
        for finding in &report.findings {
            let line = if finding.line > 0 { format!(":{}", finding.line) } else { String::new() };
            let _ = writeln!(out, "  {}{line} {}\n    {}", finding.place, finding.code, finding.message);
        }
    }
    // All of it may come from strangers.
    out.chars().map(|c| if c != '\n' && crate::audit::is_hidden(c) { '?' } else { c }).collect()
}

fn says(image: &Image) -> String {
    match &image.unread {
        Some(why) => format!("not read: {why}"),
        None if !image.data_mining.is_empty() => image.data_mining.join(", "),
        None if image.is_cut => "nothing in the first 256 KiB".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn treatment(page: &Treatment) -> String {
    let skip = page.skip.map(|code| format!(" ({code}: {})", meaning(code))).unwrap_or_default();
    match page.rewrite {
        "done" | "partial" => {
            let parts = [(page.guard, "guard"), (page.notice, "notice")];
            let mut parts: Vec<String> =
                parts.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect();
            match page.unmarked {
                Some(why) => parts.push(format!("no marks ({why}: {})", meaning(why))),
                None => parts.push(format!("{} seals, {} gaps between words", page.seals, page.gaps)),
            }
            format!("rewritten: {}{skip}", parts.join(", "))
        }
        _ if page.skip == Some("already") => format!("left as it is{skip}"),
        _ => format!("left as it is{skip}: what is taken here carries no mark"),
    }
}
