//! `deckle check --explain`: why a request was answered as it was, and what would have changed that.

use std::fmt::Write as _;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use memchr::memmem::Finder;
use serde_json::Value;
use uuid::Uuid;

use super::args::CheckArgs;
use super::output::{self, Exit, clean};
use crate::action::Action;
use crate::audit::is_hidden;
use crate::audit::reader::MAX_LINE;
use crate::config::Config;
use crate::review::{
    Between, Change, Explanation, GroupPoints, Note, Record, Rules, Score, SignalPoints, explain, is_about, log_lines,
    newest_first,
};

pub(super) fn run(id: &str, args: &CheckArgs, config: &Config) -> anyhow::Result<Exit> {
    let line = match (id, args.log_dir.as_slice()) {
        ("-", _) => standard_input()?,
        (id, []) => find(id, &[PathBuf::from(&config.audit.dir)])?,
        (id, dirs) => find(id, dirs)?,
    };
    let licensed = config.rights.license.url.is_some();
    let rules = Rules { score: &config.suspicion.score, action: &config.action, licensed };
    let explanation = explain(&line, rules)?;
    let out = if args.json { json(&explanation)? } else { text(&explanation, config, output::width()) };
    output::print(&out)?;
    Ok(Exit::Done)
}

/// The first line that is not blank.
fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut input = std::io::stdin().lock().take(MAX_LINE as u64 + 1);
    let mut line = Vec::new();
    while line.iter().all(u8::is_ascii_whitespace) {
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
            bail!("standard input holds no line of the log");
        }
    }
    Ok(line)
}

/// The line about this request, from the newest segments on.
fn find(id: &str, dirs: &[PathBuf]) -> anyhow::Result<Vec<u8>> {
    let no_id = || format!("`{id}` is no request id; refusals show it, and the log has it under `deckle.request.id`");
    let id = id.parse::<Uuid>().with_context(no_id)?.to_string();
    let finder = Finder::new(&id);
    let mut places = Vec::new();
    for dir in dirs {
        let files = match newest_first(dir) {
            Ok(files) => files,
            Err(error) => {
                output::complain(&error.into());
                places.push(format!("{} (nothing could be read)", dir.display()));
                continue;
            }
        };
        let mut unread = 0;
        for file in &files {
            let mut found = None;
            let result = log_lines(file, |line| {
                if found.is_none() && finder.find(line).is_some() && is_about(line, &id) {
                    found = Some(line.to_vec());
                }
            });
            if let Some(line) = found {
                return Ok(line);
            }
            if let Err(error) = result {
                output::complain(&error.into());
                unread += 1;
            }
        }
        places.push(place(dir, &files, unread));
    }
    bail!(
        "no line about request {id}; looked in {}. A line is written when the response has ended, and deleted after \
         `audit.max_age`; --log-dir names another directory",
        places.join(", ")
    )
}

fn place(dir: &Path, files: &[PathBuf], unread: usize) -> String {
    let name = |file: Option<&PathBuf>| {
        file.and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let which = match files {
        [one] => name(Some(one)),
        many => format!("{} files from {} back to {}", many.len(), name(many.first()), name(many.last())),
    };
    let partly = if unread > 0 { format!("; {unread} not to the end") } else { String::new() };
    format!("{} ({which}{partly})", dir.display())
}

/// JSON that is safe to print: what a terminal would obey is escaped.
fn json(explanation: &Explanation) -> anyhow::Result<String> {
    let mut out = String::new();
    for c in serde_json::to_string_pretty(explanation)?.chars() {
        if c != '\n' && is_hidden(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Ok(out + "\n")
}

fn text(of: &Explanation, config: &Config, width: usize) -> String {
    let record = &of.record;
    let mut out = format!("{}\n", clean(record.text("deckle.request.id")));
    let status = record.number("http.response.status_code").map_or_else(|| "no answer".to_owned(), |s| s.to_string());
    let [method, host, path] = ["http.request.method", "server.address", "url.path"].map(|key| clean(record.text(key)));
    let _ = writeln!(out, "{}", cut(&format!("{status}  {method} {host}{path}"), width));
    let _ = writeln!(out, "{}", clean(record.text("time")));
    who(&mut out, record, width);
    if let Some(score) = &of.score {
        made_of(&mut out, score);
    }
    followed(&mut out, of, config);
    would_change(&mut out, of);
    for note in &of.notes {
        let _ = writeln!(out, "\n{}", remark(note));
    }
    // All of it may come from strangers.
    out.chars().map(|c| if c != '\n' && is_hidden(c) { '?' } else { c }).collect()
}

fn row(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {name:<13} {value}");
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn who(out: &mut String, record: &Record, width: usize) {
    out.push_str("\nWho asked\n");
    let text = |key: &str| cut(&clean(record.text(key)), width.saturating_sub(16).max(40));
    row(out, "category", &text("deckle.visitor.category"));
    row(out, "agent", &text("deckle.visitor.agent"));
    let state = record.text("deckle.visitor.verification");
    let method = match record.text("deckle.visitor.verification_method") {
        "" => String::new(),
        "range" => ", by the addresses of its operator".to_owned(),
        "dns" => ", by DNS".to_owned(),
        "signature" => ", by its signature".to_owned(),
        other => format!(", by {}", clean(other)),
    };
    let meaning = match state {
        "" => "",
        "none" => "none: it names no agent that is known",
        "unverifiable" => "unverifiable: its name cannot be checked",
        "verified" => "verified: it is what it says",
        "failed" => "failed: it is not what it says",
        "error" => "error: its name could not be checked now",
        "pending" => "pending: its name is being checked",
        other => other,
    };
    row(out, "verification", &format!("{}{method}", clean(meaning)));
    row(out, "address", &text("client.address"));
    row(out, "user agent", &text("user_agent.original"));
    let navigation = if record.flag("deckle.navigation") { ", shown to a person as a page" } else { "" };
    row(out, "asked for", &format!("{}{navigation}", text("deckle.route")));
}

fn made_of(out: &mut String, score: &Score) {
    let _ = writeln!(out, "\nWhat the score is made of");
    if score.groups.is_empty() {
        out.push_str("  no signal, and nothing left of earlier requests\n");
    } else {
        let _ = writeln!(out, "  {:<10} {:<26} {:>6} {:>7} {:>7}", "group", "signal", "points", "counted", "at most");
    }
    for group in &score.groups {
        group_rows(out, group);
    }
    let mut line = |name: String, points: i32| {
        let _ = writeln!(out, "  {name:<44} {points:>7}");
    };
    if !score.groups.is_empty() {
        line("conduct: claim + rate + behaviour + trap".to_owned(), score.conduct.into());
        let odd = format!("headers + network: {}, at most max(22, {})", score.odd, score.conduct);
        line(odd, score.odd.min(score.odd_most).into());
        line("credit, taken off".to_owned(), -i32::from(score.credit));
    }
    line("score".to_owned(), score.score.into());
}

fn group_rows(out: &mut String, group: &GroupPoints) {
    let mut name = group.group.code();
    let last = group.signals.len().saturating_sub(1);
    let (counted, cap) = (group.counted, group.cap);
    if group.signals.is_empty() {
        let _ = writeln!(out, "  {name:<10} {:<26} {:>6} {counted:>7} {cap:>7}", "(of earlier requests)", "");
    }
    for (index, signal) in group.signals.iter().enumerate() {
        let _ = write!(out, "  {name:<10} {:<26} {:>6}", signal.signal.code(), signal.points);
        let mut remarks: Vec<String> = why(signal).into_iter().collect();
        if index == last {
            let _ = write!(out, " {counted:>7} {cap:>7}");
            remarks.extend(whole(group));
        } else if !remarks.is_empty() {
            let _ = write!(out, " {:>7} {:>7}", "", "");
        }
        if !remarks.is_empty() {
            let _ = write!(out, "   {}", remarks.join("; "));
        }
        out.push('\n');
        name = "";
    }
}

/// Why a signal has not the points that the configuration gives it.
fn why(signal: &SignalPoints) -> Option<String> {
    let weight = signal.weight;
    Some(match signal.counts? {
        "half" => format!("half of {weight}"),
        "twice" => format!("{weight}, twice"),
        "faded" => format!("of {weight}: it fades with the age of the pass"),
        "capped" => format!("of {weight}: what is missing counts no more than that together"),
        _ => format!("the configuration gives it {weight}"),
    })
}

/// Why a group counted something else than the sum of its signals.
fn whole(group: &GroupPoints) -> Option<String> {
    match (group.earlier, group.cut) {
        (0, 0) => None,
        (0, cut) if group.counted == group.cap => Some(format!("capped, {cut} beyond")),
        (0, cut) => Some(format!("{cut} less: shared with others, or protected")),
        (more, _) if group.group.half_life().is_none() => Some(format!("{more} more than its signals")),
        (earlier, _) => Some(format!("{earlier} left of earlier requests, fading")),
    }
}

fn followed(out: &mut String, of: &Explanation, config: &Config) {
    let record = &of.record;
    out.push_str("\nWhat followed\n");
    if let Some(score) = &of.score {
        let (least, most) = (score.range.least, score.range.most);
        row(out, "bucket", &format!("{} of 6, {least} to {most}: {}", score.bucket, score.leads_to.code()));
    }
    row(out, "rule", &rule(of));
    for (index, clamp) in record.list("deckle.clamps").into_iter().enumerate() {
        let name = if index == 0 { "softened by" } else { "" };
        row(out, name, &format!("{}: {}", clean(clamp), softened(clamp, config)));
    }
    row(out, "quota", &quota(of));
    row(out, "challenge", &clean(record.text("deckle.challenge")));
    row(out, "action", &action(of));
    if let Some(delay) = record.number("deckle.delay_ms") {
        row(out, "waited", &format!("{delay} ms"));
    }
}

/// The rule that decided, what it says, and what that means.
fn rule(of: &Explanation) -> String {
    let rule = clean(of.record.text("deckle.rule"));
    let meaning = match rule.as_str() {
        "" => return String::new(),
        "visitor.allow" => "the operator lets this address or path (`visitor.routes.never`) through",
        "visitor.deny" => "the operator blocks this address",
        "suspicion.score.buckets" => "the score decides",
        "action.challenge" => "an address of a challenge, or the return from one",
        other if other.starts_with("action.limits.") => "the quota decides, whatever the score",
        _ => "the policy decides",
    };
    match &of.setting {
        Some(value) => format!("{rule} = {}: {meaning}", said(value)),
        None => format!("{rule}: {meaning}"),
    }
}

/// A value of the configuration, as TOML would have it.
fn said(value: &Value) -> String {
    match value {
        Value::Object(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A clamp in words.
fn softened(clamp: &str, config: &Config) -> String {
    match clamp {
        "route" => "robots.txt and the like, deckle's own paths and the licence are never limited".to_owned(),
        "asset" => "it does not count as a page; tag at most".to_owned(),
        "navigation" => "a challenge is for pages that a person waits for; limit at most".to_owned(),
        "category" => "the cap of the policy of its category or name".to_owned(),
        "verified" => "it is what it says; limit at most".to_owned(),
        "pass" => "it passed a challenge less than ten minutes ago; slow at most".to_owned(),
        "breaker" => "challenges lead nowhere for it; the page without one, within a quota".to_owned(),
        "first_request" => "nothing was remembered about it; tag at most".to_owned(),
        "warm_up" => "within a minute of the start; limit at most".to_owned(),
        "safety_valve" => "too many readers were disturbed; the score leads to nothing for ten minutes".to_owned(),
        "max_action" => format!("action.max_action, now \"{}\"", config.action.max_action.code()),
        "observe" => "mode `observe`, or an unknown proxy in front; nothing is done".to_owned(),
        _ => "not known to this version".to_owned(),
    }
}

fn quota(of: &Explanation) -> String {
    let name = clean(of.record.text("deckle.limit.name"));
    if name.is_empty() {
        return name;
    }
    let wider = if matches!(name.as_str(), "page_hard" | "all_hard") { ", more for a shared address" } else { "" };
    let size = of.quota.map(|quota| format!(" (one each {}, {} at once{wider})", quota.every, quota.burst));
    let left = match of.record.number("deckle.limit.retry_after") {
        Some(seconds) => format!("used up, {seconds} s to wait"),
        None => "not used up".to_owned(),
    };
    format!("{name}{}: {left}", size.unwrap_or_default())
}

fn action(of: &Explanation) -> String {
    let done = clean(of.record.text("deckle.action"));
    let would = of.record.action("deckle.would_action").map(|would| format!(", would have been {}", would.code()));
    let instead = match of.instead {
        _ if done.is_empty() => "none: there was no answer, or no enforce stage",
        Some("too_many_wait") => "; slow, had not `action.slow.max_concurrent` others been waiting",
        Some("no_challenge") => "; no (further) challenge could be issued",
        Some("way_out") => "; limit, but it fetches what browsers fetch: a challenge is its way out",
        _ => "",
    };
    format!("{done}{}{instead}", would.unwrap_or_default())
}

fn would_change(out: &mut String, of: &Explanation) {
    if of.changes.is_empty() {
        return;
    }
    out.push_str("\nWhat would change the outcome\n");
    let rows: Vec<(&Change, String)> = of.changes.iter().map(|change| (change, outcome(change))).collect();
    let first = rows.iter().map(|(change, _)| change.what.chars().count()).max().unwrap_or(0);
    let second = rows.iter().map(|(_, outcome)| outcome.chars().count()).max().unwrap_or(0);
    for (change, outcome) in &rows {
        let setting = change.setting.as_deref().unwrap_or_default();
        let line = format!("  {:<first$}  {outcome:<second$}  {}", clean(&change.what), clean(setting));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("  One thing changes at a time; the past, other quotas and other requests stay as they were.\n");
    if of.changes.iter().any(|c| c.action.least != c.action.most || c.score.is_some_and(|s| s.least != s.most)) {
        out.push_str("  Where a span stands, the log does not say enough for one number.\n");
    }
}

fn outcome(change: &Change) -> String {
    let action = actions(change.action);
    let as_now = if change.decisive { "" } else { ", as now" };
    match change.score {
        Some(Between { least, most }) if least == most => format!("the score would be {least}: {action}{as_now}"),
        Some(Between { least, most }) => format!("the score would be {least} to {most}: {action}{as_now}"),
        None => format!("{action}{as_now}"),
    }
}

fn actions(between: Between<Action>) -> String {
    match (between.least.code(), between.most.code()) {
        (least, most) if least == most => least.to_owned(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn remark(note: &Note) -> String {
    match note {
        Note::Rounded(off) => format!("Note: the log rounds points down; together the groups are off by {off} here."),
        Note::OtherScore(score) => format!("Note: the points of this line make {score}; another version wrote it."),
        Note::UnknownSignals(codes) => {
            format!("Note: not known to this version, and not counted here: {}.", clean(&codes.join(", ")))
        }
        Note::Degraded(parts) => {
            format!("Note: judged without all that is remembered (deckle.degraded: {}).", clean(&parts.join(", ")))
        }
        Note::OtherConfiguration => "Note: this configuration leads to something else than what was done: it was \
            another one then (--config names it), or another version. What stands here could follow from this one."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_the_log_reaches_the_terminal_as_it_is() {
        let line = "{\"v\":1,\"url.path\":\"/a\\u001b[31m\\nforged\\u202e\",\"deckle.rule\":\"x\\u009b\",\"deckle.score\":0,\
            \"deckle.clamps\":[\"\\u0007\"],\"deckle.action\":\"\\u001b\"}";
        let config = Config::default();
        let rules = Rules { score: &config.suspicion.score, action: &config.action, licensed: false };
        let explanation = explain(line.as_bytes(), rules).unwrap();
        let (text, json) = (text(&explanation, &config, 100), json(&explanation).unwrap());
        for out in [&text, &json] {
            assert!(out.chars().all(|c| c == '\n' || !is_hidden(c)), "{out:?}");
        }
        assert!(text.contains("/a?[31m?forged?"), "{text}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["record"]["url.path"], "/a\u{1B}[31m\nforged\u{202E}");
    }
}
