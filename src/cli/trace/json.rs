//! The answer as JSON.

use serde_json::{Value, json};

use super::pick::{OfMark, Picked};
use super::shared::Reader;
use super::{Finding, MAX_NAMED, Report, shown};
use crate::watermark::{Evidence, Hit, Note, Verdict};

/// One document: the strongest copy, and all of them where there are several.
pub(super) fn document(report: &Report<'_>) -> anyhow::Result<String> {
    let rank = |finding: &&Finding<'_>| match finding.trace.verdict {
        Verdict::Traced => 0,
        Verdict::Inconclusive => 1,
        Verdict::None => 2,
    };
    let least = |finding: &Finding<'_>| finding.trace.hits.first().map_or(1.0, |hit| hit.p);
    let best = report
        .findings
        .iter()
        .min_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| least(a).total_cmp(&least(b))))
        .map(|finding| one(finding, report));
    let mut out = best.unwrap_or_else(|| json!({ "verdict": "none", "matches": [], "slots_read": 0, "words": 0 }));
    if let Some(object) = out.as_object_mut() {
        object.insert("schema_version".into(), 1.into());
        let standing = report.standing;
        let lines = json!({ "proved": standing.proved, "unsealed": standing.unsealed, "changed": standing.changed });
        object.insert("log_lines".into(), lines);
        if !report.readers.is_empty() {
            object.insert("visitors".into(), report.readers.iter().map(reader).collect());
        }
        if report.findings.len() > 1 {
            let copies = report.findings.iter().map(|finding| {
                let mut copy = one(finding, report);
                if let Some(copy) = copy.as_object_mut() {
                    copy.insert("name".into(), finding.name.as_str().into());
                }
                copy
            });
            object.insert("copies".into(), copies.collect());
        }
    }
    Ok(serde_json::to_string_pretty(&out)? + "\n")
}

fn reader(reader: &Reader) -> Value {
    json!({
        "address": reader.address,
        "user_agent": reader.user_agent,
        "pages": reader.pages,
        "agree": reader.agree,
        "p_value": reader.adjusted,
    })
}

fn one(finding: &Finding<'_>, report: &Report<'_>) -> Value {
    let trace = &finding.trace;
    let channels = trace.channels.iter().map(|channel| {
        json!({ "channel": channel.channel.code(), "live": channel.live, "dead": channel.dead.map(Note::code) })
    });
    let pages = finding.pages.found().map(
        |page| json!({ "path": page.path, "plan": page.plan, "found": page.overlap.found, "of": page.overlap.of }),
    );
    json!({
        "verdict": trace.verdict.code(),
        "matches": trace.hits.iter().map(|hit| a_match(hit, finding, report)).collect::<Vec<_>>(),
        "slots_read": trace.slots_read,
        "words": trace.words,
        "candidates": trace.candidates_searched,
        "tests": trace.tests,
        "channels": channels.collect::<Vec<_>>(),
        "pages": pages.collect::<Vec<_>>(),
        "notes": trace.notes.iter().map(|note| note.code()).collect::<Vec<_>>(),
    })
}

fn a_match(hit: &Hit, finding: &Finding<'_>, report: &Report<'_>) -> Value {
    let of = report.of_marks.get(&hit.mark);
    let (picked, responses) = of.map(|of| of.pick(&finding.pages)).unzip();
    let responses = responses.unwrap_or_default();
    let first = responses.first();
    let ids: Vec<&str> = responses.iter().take(MAX_NAMED).map(|one| one.request_id.as_str()).collect();
    let others = of.map_or(0, |of| of.count).saturating_sub(responses.len() as u64);
    let times = of.and_then(OfMark::times);
    json!({
        "mark": hit.mark.to_string(),
        "p_value": hit.adjusted,
        "p": hit.p,
        "in_log": hit.in_log,
        "request_ids": ids,
        "responses": responses.len(),
        "picked_by": picked.map(Picked::code),
        "time": first.map(|one| shown(one.time)),
        "visitor": first.map(|one| one.visitor.as_str()),
        "user_agent": first.map(|one| one.user_agent.as_str()),
        "address": first.map(|one| one.address.as_str()),
        "path": first.map(|one| one.path.as_str()),
        "category": first.map(|one| one.category.as_str()),
        "score": first.map(|one| one.score),
        "action": first.map(|one| one.action.as_str()),
        "same_visit": json!({
            "responses": others,
            "first": times.map(|(first, _)| shown(first)),
            "last": times.map(|(_, last)| shown(last)),
        }),
        "evidence": hit.evidence.iter().map(evidence).collect::<Vec<_>>(),
    })
}

fn evidence(one: &Evidence) -> Value {
    json!({
        "channel": one.channel.code(),
        "live": one.live,
        "agree": one.agree,
        "p": one.p,
        "paragraphs": one.paragraphs,
    })
}
