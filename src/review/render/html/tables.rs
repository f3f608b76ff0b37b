//! The sections that are tables.

use super::charts::{bytes, count, duration, heat, number, percent, share_bar, time};
use super::rows::Cell::{Number, Text};
use super::rows::{Cell, ROWS, table};
use super::{ITEMS, action_words, category_words, list, skip_words, text, verification_words};
use crate::review::report::{ActionRow, AgentRow, CandidateRow, ProbeRow, Quality, Report, RobotsRow};

/// A table under its heading; without rows a sentence that says so.
pub(super) fn part(heading: &str, table: &str, otherwise: &str) -> String {
    format!("<h3>{heading}</h3>\n{}", or_sentence(table.to_owned(), otherwise))
}

fn or_sentence(table: String, otherwise: &str) -> String {
    if table.is_empty() { format!("<p>{otherwise}</p>\n") } else { table }
}

/// A text as it was sent: it may run from right to left.
pub(super) fn raw(value: &str) -> Cell {
    Text(format!("<span class=\"raw\">{}</span>", text(value)))
}

pub(super) fn of(value: u64) -> Cell {
    Number(number(value))
}

fn share(value: f64) -> Cell {
    Number(format!("{}{}", percent(value), share_bar(value)))
}

pub(super) fn agents(report: &Report) -> String {
    let mut rows: Vec<&AgentRow> = report.agents.iter().collect();
    rows.sort_by_key(|row| row.verification != "failed");
    let columns = ["Agent", "Kind", "Is it what it says?", "Visitors", "Requests", "Pages", "Data sent", "Note"];
    let table = table("Agents by kind and verification, the fakes first", &columns, &rows, |row| {
        let note = row.note.as_deref();
        let shown_before = row.verification == "failed" && note.is_some_and(|note| note.starts_with("fake"));
        let mut notes: Vec<String> = note.filter(|_| !shown_before).map(text).into_iter().collect();
        if !row.addresses.is_empty() {
            let addresses: Vec<String> = row.addresses.iter().take(5).map(|address| text(address)).collect();
            notes.push(format!("from <span class=\"raw\">{}</span>", addresses.join(", ")));
        }
        vec![
            row.agent.as_deref().map_or_else(|| Text("without a name".to_owned()), raw),
            Text(category_words(row.category)),
            Text(verification_words(row.verification, note)),
            of(row.visitors),
            of(row.hits),
            of(row.pages),
            Number(bytes(row.bytes)),
            Text(notes.join("; ")),
        ]
    });
    or_sentence(table, "Nobody came.")
}

pub(super) fn robots(report: &Report) -> String {
    let robots = &report.robots;
    if !robots.evaluated {
        let reason = robots.reason.unwrap_or("nobody knows what it said in this period").trim_end_matches('.');
        return format!("<p>robots.txt was not evaluated: {}.</p>\n", text(reason));
    }
    let columns = [
        "Robot",
        "Requests",
        "Obeyed",
        "Read, then ignored",
        "Never asked",
        "Old copy",
        "For one person",
        "Unknown",
        "Not observable",
        "Times read",
        "Crawl-delay",
        "Paths it should have left alone",
    ];
    let table = table("Requests of declared robots by what robots.txt said", &columns, &robots.rows, robots_cells);
    let intro = format!(
        "<p class=\"quiet\">In force: {} of robots.txt. Only &#34;read, then ignored&#34; and &#34;never asked&#34; \
         are violations. &#34;Old copy&#34; was allowed by a copy that the robot may still have held. Crawl-delay is \
         no standard and is not judged.</p>\n",
        count(robots.versions as u64, "version", "versions")
    );
    if table.is_empty() { "<p>No declared robot came.</p>\n".to_owned() } else { intro + &table }
}

fn robots_cells(row: &RobotsRow) -> Vec<Cell> {
    let examples: Vec<String> =
        row.examples.iter().take(3).map(|path| format!("<span class=\"raw\">{}</span>", text(path))).collect();
    vec![
        raw(&row.title),
        of(row.requests),
        of(row.obeyed),
        of(row.read_then_ignored),
        of(row.never_asked),
        of(row.stale),
        of(row.user_triggered),
        of(row.unknown),
        of(row.not_observable),
        of(row.fetches),
        Number(row.crawl_delay.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds} s"))),
        Text(examples.join("<br>")),
    ]
}

pub(super) fn content(report: &Report) -> String {
    let content = &report.content;
    if content.articles == 0 {
        return "<p>Nobody asked for an article.</p>\n".to_owned();
    }
    let coverage = table("Suspects by what they took", &["Suspect", "Articles", "Of all"], &content.coverage, |row| {
        vec![raw(&row.name), of(row.articles), share(row.share)]
    });
    let top =
        table("Articles by the suspects that took them", &["Article", "Suspects", "Visitors"], &content.top, |row| {
            vec![raw(&row.path), of(row.suspects), of(row.visitors)]
        });
    let columns = ["Article", "First read", "First robot", "After"];
    let latency = table("New articles by the time to their first robot", &columns, &content.latency, |row| {
        vec![raw(&row.path), Text(time(&row.first)), raw(&row.agent), Number(duration(row.seconds))]
    });
    format!(
        "<p>{} were read; no suspect took {} of them.</p>\n{}{}{}",
        count(content.articles, "article", "articles"),
        number(content.never_taken),
        part("How much each suspect took", &coverage, "No suspect took an article."),
        part("Articles that were taken most", &top, "No suspect took an article."),
        part("How soon robots come to a new article", &latency, "No robot came to a new article.")
    )
}

pub(super) fn bandwidth(report: &Report) -> String {
    let rows = &report.bandwidth;
    let has_cost = rows.iter().any(|row| row.cost.is_some());
    let has_upstream = rows.iter().any(|row| row.upstream_s.is_some());
    let mut columns = vec!["Kind", "Visitors", "Requests", "Data sent", "Of all"];
    columns.extend(has_cost.then_some("Cost"));
    columns.extend(has_upstream.then_some("Work of the site"));
    let decimal = |value: Option<f64>, unit: &str| {
        Number(value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}{unit}")))
    };
    let table = table("Data sent by kind of visitor, the most first", &columns, rows, |row| {
        let mut cells = vec![
            Text(category_words(row.category)),
            of(row.visitors),
            of(row.hits),
            Number(bytes(row.bytes)),
            share(row.share),
        ];
        cells.extend(has_cost.then(|| decimal(row.cost, "")));
        cells.extend(has_upstream.then(|| decimal(row.upstream_s, " s")));
        cells
    });
    or_sentence(table, "Nothing was sent.")
}

pub(super) fn times(report: &Report) -> String {
    let times = &report.time;
    let all = heat("All requests by weekday and hour, UTC", &times.heat);
    let automated = heat("Requests of robots and suspects by weekday and hour, UTC", &times.heat_automated);
    let columns = ["Suspect", "Half of the minutes, at most", "99 of 100, at most", "Most"];
    let pace = table("Requests a minute, of the minutes in which there were any", &columns, &times.pace, |row| {
        vec![raw(&row.name), of(row.p50.into()), of(row.p99.into()), of(row.max.into())]
    });
    [
        part("Everybody", &all, "There were no requests."),
        part("Robots and suspects", &automated, "There were no requests of robots or suspects."),
        part("How fast suspects were", &pace, "There are no suspects."),
    ]
    .concat()
}

pub(super) fn shape(report: &Report) -> String {
    let columns = ["Suspect", "Pages", "Breadth", "In order of number", "Not found", "How"];
    let table = table("Ways of suspects", &columns, &report.shape, |row| {
        vec![
            raw(&row.name),
            of(row.pages),
            Number(format!("{:.2}", row.breadth)),
            Number(percent(row.sequential)),
            Number(percent(row.not_found)),
            Text(text(&row.ways.join(", "))),
        ]
    });
    let intro = "<p class=\"quiet\">Breadth near 1: a page here, a page there. Near 0: one part of the site from end \
                 to end.</p>\n";
    if table.is_empty() { "<p>There are no suspects.</p>\n".to_owned() } else { intro.to_owned() + &table }
}

pub(super) fn new_agents(report: &Report) -> String {
    let agents = &report.new_agents;
    let columns = ["User agent", "Requests", "Visitors", "First seen"];
    let unknown = table("User agents that are in no list and are no browser", &columns, &agents.unknown, |row| {
        vec![raw(&row.user_agent), of(row.hits), of(row.visitors), Text(time(&row.first))]
    });
    let columns = ["Address", "User agents", "Requests"];
    let rotation = table("Addresses with many user agents", &columns, &agents.rotation, |row| {
        vec![raw(&row.address), of(row.user_agents), of(row.hits)]
    });
    let columns = ["User agent", "Networks", "Requests", "Same pages"];
    let groups = table("Networks with the same user agent and much the same pages", &columns, &agents.groups, |row| {
        vec![raw(&row.user_agent), of(row.networks), of(row.hits), Number(percent(row.similarity))]
    });
    [
        part("Unknown names", &unknown, "No unknown agent came."),
        part("One address, many names", &rotation, "No address changed its name often."),
        part("Many networks, one program", &groups, "No networks seem to work together."),
    ]
    .concat()
}

pub(super) fn status(report: &Report) -> String {
    let status = &report.status;
    let codes = table("Requests by answer", &["Status", "Meaning", "Requests"], &status.codes, |row| {
        let known = http::StatusCode::from_u16(row.status).ok().and_then(|status| status.canonical_reason());
        let meaning = if row.status == 0 { "no answer" } else { known.unwrap_or("") };
        vec![Number(row.status.to_string()), Text(meaning.to_owned()), of(row.hits)]
    });
    let paths = |caption: &str, rows: &[ProbeRow]| {
        table(caption, &["Path", "Requests"], rows, |row| vec![raw(&row.path), of(row.hits)])
    };
    [
        part("Answers", &codes, "There were no answers."),
        part("Probes", &paths("Paths that scanners ask for", &status.probes), "No scanner came."),
        part("Not found", &paths("Paths that were not found", &status.not_found), "Everything was found."),
    ]
    .concat()
}

pub(super) fn referrers(report: &Report) -> String {
    let table = table("Other sites that requests name", &["Site", "Requests", "Spam"], &report.referrers, |row| {
        let mark = if row.spam { "<strong class=\"fake\">spam</strong>: only robots come from there" } else { "no" };
        vec![raw(&row.referrer), of(row.hits), Text(mark.to_owned())]
    });
    or_sentence(table, "No request names another site.")
}

pub(super) fn marks(report: &Report) -> String {
    let marks = &report.marks;
    if marks.issued == 0 {
        return "<p>No copy carries a mark.</p>\n".to_owned();
    }
    let table = table("Marked copies of suspects", &["Suspect", "Copies", "Articles"], &marks.rows, |row| {
        vec![raw(&row.name), of(row.marks), of(row.articles)]
    });
    format!(
        "<p>{} went to {}. <code>deckle trace</code> finds out whose copy a text is.</p>\n{}",
        count(marks.issued, "marked copy", "marked copies"),
        count(marks.visitors, "visitor", "visitors"),
        or_sentence(table, "No suspect got one.")
    )
}

pub(super) fn actions(report: &Report) -> String {
    let actions = &report.actions;
    let columns = ["Visitor", "Requests", "Disturbed", "What speaks for a reader"];
    let cells =
        |row: &CandidateRow| vec![raw(&row.name), of(row.hits), of(row.disturbed), Text(list(&row.evidence, ITEMS))];
    let candidates =
        table("Visitors that met a challenge or a refusal and look like readers", &columns, &actions.candidates, cells);
    let cells = |row: &ActionRow| vec![Text(action_words(row.action)), of(row.done), of(row.would)];
    let rows = table("Requests by what was done", &["Action", "Done", "Would have been"], &actions.rows, cells);
    [
        part("Possibly disturbed readers", &candidates, "Nobody who looks like a reader was challenged or refused."),
        part("What was done", &rows, "The log does not say what was done."),
    ]
    .concat()
}

pub(super) fn quality(report: &Report) -> String {
    let quality = &report.quality;
    let pair = |(name, value): &(String, u64)| vec![Text(name.clone()), of(*value)];
    let mut out = part(
        "What was read",
        &table("Source", &["What", "Which"], &source(report), |(name, html)| {
            vec![Text((*name).to_owned()), Text(html.clone())]
        }),
        "",
    );
    out += &part("Lines", &table("Lines by what became of them", &["Lines", "Number"], &lines(quality), pair), "");
    let faults = table("Faults of the log", &["Fault", "Number"], &faults(quality), pair);
    out += &part("Faults", &faults, "The log has no gaps and no faults of its clock.");
    if quality.sampled {
        out += "<p>Some records stand for many (sampling). They were weighed accordingly.</p>\n";
    }
    let notes = list(&quality.notes, ROWS);
    if notes.is_empty() { out } else { out + &part("Notes", &notes, "") }
}

fn source(report: &Report) -> Vec<(&'static str, String)> {
    let source = &report.source;
    let formats: Vec<String> = source
        .formats
        .iter()
        .take(ROWS)
        .map(|(name, lines)| format!("{} ({})", text(name), count(*lines, "line", "lines")))
        .collect();
    let key = match source.visitor_key {
        "visitor.id" => "by deckle's pseudonym",
        "address+user_agent" => "by address and user agent",
        "network+user_agent" => "by network and user agent",
        other => other,
    };
    let mut rows = vec![
        ("Files", list(&source.files, ROWS)),
        ("Formats", formats.join(", ")),
        ("Visitors are told apart", text(key)),
        ("A session ends after", count(source.session_gap_min, "minute of silence", "minutes of silence")),
    ];
    rows.extend(source.ranges_date.as_deref().map(|date| ("Addresses of robots, as of", text(date))));
    rows.push(("Writers", list(&report.quality.instances, ROWS)));
    let sent = report.quality.anchored.iter().map(|(to, heads)| format!("{heads} to {to}"));
    rows.push(("Heads of the log that were sent away", list(&sent.collect::<Vec<String>>(), ROWS)));
    rows.retain(|(_, html)| !html.is_empty());
    rows
}

fn lines(quality: &Quality) -> Vec<(String, u64)> {
    let mut rows = vec![
        ("Read".to_owned(), quality.lines),
        ("In this report".to_owned(), quality.hits),
        ("Left out by the filters".to_owned(), quality.filtered),
        ("No requests, but notes of the log itself".to_owned(), quality.other),
        ("Empty lines and comments".to_owned(), quality.empty),
    ];
    rows.extend(quality.skipped.iter().map(|(reason, lines)| (format!("Skipped: {}", skip_words(reason)), *lines)));
    rows
}

fn faults(quality: &Quality) -> Vec<(String, u64)> {
    let all = [
        ("Changes of the format", quality.format_switch),
        ("Lines more than five minutes older than one before them", quality.out_of_order),
        ("Local times that a clock showed twice", quality.ambiguous_time),
        ("Records that the writer dropped", quality.dropped),
        ("Times that the writer's clock went back", quality.clock_steps),
        ("Numbers that are missing in the log", quality.holes),
        ("Versions of robots.txt whose text is nowhere", quality.robots_missing),
    ];
    all.into_iter().filter(|(_, value)| *value > 0).map(|(name, value)| (name.to_owned(), value)).collect()
}
