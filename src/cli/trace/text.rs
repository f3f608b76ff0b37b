//! The answer for people. All of the log may come from strangers.

use super::pick::{Page, Picked};
use super::{Finding, Report, shown};
use crate::cli::output::clean;
use crate::watermark::{Channel, ChannelReport, Evidence, Hit, Note};

/// Chance of an accident from which a name is given.
const LIMIT: f64 = 1e-9;
/// Responses that are shown.
const SHOWN: usize = 5;
/// What they are, if it is known which page the copy is from, and if it is not.
const BY_PAGE: &str = "the text passed through these responses; this does not show who republished it";
const BY_MARK: &str =
    "these responses carried this mark; through which of them the text passed is not known, nor who republished it";

pub(super) fn report(report: &Report<'_>) -> String {
    let mut out = String::new();
    for finding in report.findings {
        one(&mut out, finding, report);
    }
    for reader in report.readers {
        out.push_str(&format!(
            "{} of {} pages had the form of {}  {}  adjusted p = {:.1e} (limit {LIMIT:.0e})\n",
            reader.agree,
            reader.pages,
            clean(&reader.address),
            clean(&reader.user_agent),
            reader.adjusted
        ));
    }
    let standing = report.standing;
    if standing.changed > 0 {
        out.push_str(&format!(
            "log: {} of the lines named here stand in blocks that are not as they were written (deckle review --verify)\n",
            standing.changed
        ));
    }
    out
}

/// A line with its label.
fn line(out: &mut String, label: &str, text: &str) {
    out.push_str(&format!("  {label:<12}{text}\n"));
}

fn one(out: &mut String, finding: &Finding<'_>, report: &Report<'_>) {
    let trace = &finding.trace;
    out.push_str(&format!("{}: {}", clean(&finding.name), trace.verdict.code().to_uppercase()));
    for hit in &trace.hits {
        out.push_str(&format!("  mark {}  adjusted p = {:.1e} (limit {LIMIT:.0e})\n", hit.mark, hit.adjusted));
        hit.evidence.iter().for_each(|evidence| channel(out, hit, evidence));
        responses(out, hit, finding, report);
    }
    if trace.hits.is_empty() {
        out.push('\n');
    }
    if let Some(page) = finding.pages.found().next() {
        line(out, "page", &said(page));
    }
    line(
        out,
        "searched",
        &format!(
            "{} candidates   {} tests   {} words   {} places read",
            grouped(trace.candidates_searched),
            trace.tests,
            grouped(trace.words as u64),
            grouped(trace.slots_read as u64)
        ),
    );
    // With marks beside them, dead channels are worth a word; without, the notes say it.
    if report.verbose || !trace.hits.is_empty() {
        trace.channels.iter().filter(|one| report.verbose || one.dead.is_some()).for_each(|one| dead(out, one));
    }
    if report.verbose {
        finding.pages.all().iter().skip(1).for_each(|page| line(out, "page", &said(page)));
    }
    trace.notes.iter().for_each(|note| line(out, "note", &explain(*note)));
    let picked = trace.hits.iter().filter_map(|hit| report.of_marks.get(&hit.mark)).map(|of| of.pick(&finding.pages).0);
    if let Some(by_mark) = picked.map(|by| by == Picked::Mark).reduce(|one, other| one || other) {
        line(out, "note", if by_mark { BY_MARK } else { BY_PAGE });
    }
}

fn said(page: &Page) -> String {
    format!("{}  (sketch {}/{})", clean(&page.path), page.overlap.found, page.overlap.of)
}

fn channel(out: &mut String, hit: &Hit, evidence: &Evidence) {
    let Evidence { channel, live, agree, p, paragraphs } = *evidence;
    let text = match channel {
        Channel::Seal | Channel::Markup => {
            let places = if channel == Channel::Seal { "seals" } else { "tokens" };
            let log = if hit.in_log { "in the log" } else { "not in the log" };
            format!("{paragraphs} of {live} {places}, key k{} verified, {log}", hit.mark.kid)
        }
        _ => {
            let share = f64::from(agree) * 100.0 / f64::from(live.max(1));
            format!("{agree} of {live} places agree ({share:.1} %), p = {p:.1e}")
        }
    };
    line(out, channel.code(), &text);
}

fn dead(out: &mut String, report: &ChannelReport) {
    let text = match report.dead {
        Some(why) => format!("says nothing ({})", why.code()),
        None => format!("{} places can be compared", grouped(report.live.into())),
    };
    line(out, report.channel.code(), &text);
}

fn responses(out: &mut String, hit: &Hit, finding: &Finding<'_>, report: &Report<'_>) {
    let Some(of) = report.of_marks.get(&hit.mark) else { return };
    let (by, picked) = of.pick(&finding.pages);
    line(out, "picked by", by.said());
    for one in picked.iter().take(SHOWN) {
        let action = if one.action.is_empty() { String::new() } else { format!(" {}", clean(&one.action)) };
        line(
            out,
            "response",
            &format!(
                "{}  req {}  {}  {}  score {}{action}  {}  {}",
                shown(one.time),
                clean(&one.request_id),
                clean(&one.address),
                clean(&one.category),
                one.score,
                clean(&one.user_agent),
                clean(&one.path)
            ),
        );
    }
    if picked.len() > SHOWN {
        line(out, "responses", &format!("{} more like these", grouped((picked.len() - SHOWN) as u64)));
    }
    let others = of.count.saturating_sub(picked.len() as u64);
    if let (Some((first, last)), true) = (of.times(), others > 0) {
        let text = format!("{} other responses, {} to {}", grouped(others), shown(first), shown(last));
        line(out, "same visit", &text);
    }
}

/// 1,000,000
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn explain(note: Note) -> String {
    let text = match note {
        Note::TooShort => "too short to carry a mark that can be read",
        Note::WhitespaceCollapsed => "the white space was collapsed",
        Note::HardWrapped => "the lines were wrapped anew",
        Note::NoGaps => "no two words are apart by white space alone",
        Note::QuotesUniform => "quotes and dashes are spelled in one way only",
        Note::AsciiOnly => "there is nothing but ASCII in it; seals may have been taken out",
        Note::ForeignSeal => "it holds a seal of another site, of a key that is not loaded, or a damaged one",
        Note::LogMissing => "a seal is genuine, but its mark is not among those of the log that were searched",
        Note::Conflict => "seal and white space name different marks; a seal may have been transplanted",
        Note::Doubtful => "another mark fits the text better than that of the seal, though it may be an accident",
        Note::Collision => "more than one visitor had this mark",
        Note::Twin => "the text is that of a page of this site, without a mark",
        Note::NotSignificant => "no mark fits better than by accident",
        Note::Truncated => "the copy is longer than what was read of it (--max-bytes)",
        Note::BadUtf8 => "some of it is not UTF-8",
        Note::NeedsWords(words) => {
            return format!("about {} words more would decide ({})", grouped(words.into()), note.code());
        }
        Note::KeysMissing(marks) => {
            let marks = grouped(marks);
            return format!("{marks} marks of the log are of keys that are not loaded ({})", note.code());
        }
        other => return other.code().to_owned(),
    };
    format!("{text} ({})", note.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
