//! The report as one HTML file: no script, nothing from elsewhere, every value escaped, never more than 2 MiB.

mod charts;
mod difference;
mod rows;
mod simulation;
mod tables;
mod words;

use charts::{bytes, count, number, percent, time};
use words::{action_words, category_words, skip_words, verification_words};

use super::suspects::system;
use crate::audit::is_hidden;
use crate::review::report::{Report, Suspect, Verdict};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// Suspects that are shown.
const SUSPECTS: usize = 50;
/// Suspects, and rows of one table, that are shown at once; the rest unfolds.
const UNFOLDED: usize = 10;
/// Reasons of one suspect, pieces of evidence of one reader.
const ITEMS: usize = 6;
/// Characters of a text; with it the file keeps within its 2 MiB.
const MAX_TEXT: usize = 190;
/// Characters of what is short by nature: states, times.
const MAX_WORD: usize = 40;

/// One section of the page.
struct Section {
    id: &'static str,
    link: &'static str,
    title: &'static str,
    body: fn(&Report) -> String,
    /// Its numbers are those of single visitors, which are too low when memory did not reach.
    by_visitor: bool,
}

const fn section(
    id: &'static str,
    link: &'static str,
    title: &'static str,
    body: fn(&Report) -> String,
    by_visitor: bool,
) -> Section {
    Section { id, link, title, body, by_visitor }
}

static SECTIONS: [Section; 15] = [
    section("difference", "Differences", "What is different", difference::difference, true),
    section("suspects", "Suspects", "Suspected scrapers", suspects, true),
    section("agents", "Agents", "Agents by kind and verification", tables::agents, true),
    section("robots", "robots.txt", "Who obeyed robots.txt", tables::robots, true),
    section("content", "Content", "What was taken", tables::content, true),
    section("bandwidth", "Data sent", "Data sent and its cost", tables::bandwidth, false),
    section("time", "Time", "When they came", tables::times, true),
    section("shape", "Paths", "How suspects went through the site", tables::shape, true),
    section("new-agents", "New agents", "New and unknown agents", tables::new_agents, true),
    section("status", "Answers", "Answers, errors and probes", tables::status, false),
    section("referrers", "Referrers", "Where requests say they come from", tables::referrers, false),
    section("marks", "Marks", "Marks in copies", tables::marks, true),
    section("actions", "Actions", "What deckle did", tables::actions, true),
    section("simulation", "Simulation", "What the policy would have done", simulation::simulation, true),
    section("quality", "Data quality", "How good the data is", tables::quality, false),
];

/// The report as one HTML file.
pub fn html(report: &Report) -> String {
    let verdict = &report.verdict;
    let head = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>deckle review: {}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n",
        period(verdict)
    );
    let is_shown = |section: &&Section| match section.id {
        "difference" => report.difference.is_some(),
        "simulation" => report.simulation.is_some(),
        _ => true,
    };
    let shown: Vec<&Section> = SECTIONS.iter().filter(is_shown).collect();
    let links: String = shown.iter().map(|s| format!("<li><a href=\"#{}\">{}</a></li>\n", s.id, s.link)).collect();
    let sections: String = shown.iter().map(|s| framed(s, report)).collect();
    format!(
        "{head}<body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n{}\
         <nav aria-label=\"Sections\">\n<ul>\n<li><a href=\"#overview\">In short</a></li>\n{links}</ul>\n</nav>\n\
         <main id=\"main\" tabindex=\"-1\">\n{}{}{sections}</main>\n{}</body>\n</html>\n",
        masthead(report),
        banners(report),
        overview(report),
        footer(report)
    )
}

fn framed(section: &Section, report: &Report) -> String {
    let Section { id, title, body, by_visitor, .. } = section;
    let bound = report.source.approximate.filter(|_| *by_visitor).map_or_else(String::new, |approximate| {
        let short_by = number(approximate.short_by);
        format!("<p class=\"quiet\">Approximate: any number of one visitor may be short by up to {short_by}.</p>\n")
    });
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{bound}{}\
         </section>\n",
        body(report)
    )
}

fn masthead(report: &Report) -> String {
    let filters: Vec<String> = report.source.filters.iter().take(rows::ROWS).map(|f| text(f)).collect();
    let only = if filters.is_empty() {
        String::new()
    } else {
        format!("<p class=\"quiet\">Only: {}. All numbers are of these requests.</p>\n", filters.join("; "))
    };
    format!(
        "<header>\n<p class=\"kicker\">deckle review</p>\n<h1>Visitors and scrapers</h1>\n\
         <p class=\"period\">{}</p>\n{only}</header>\n",
        period(&report.verdict)
    )
}

fn banners(report: &Report) -> String {
    let mut out = String::new();
    if report.source.partial {
        out.push_str(
            "<p class=\"banner\"><strong>Partial.</strong> Reading was interrupted. This report covers only what was \
             read until then.</p>\n",
        );
    }
    if let Some(approximate) = report.source.approximate {
        out.push_str(&format!(
            "<p class=\"banner\"><strong>Approximate.</strong> There were more visitors than memory holds. About {} \
             with {} are not told apart. These requests are in all totals; any number of one visitor may be short by \
             up to {}.</p>\n",
            count(approximate.visitors, "visitor", "visitors"),
            count(approximate.hits, "request", "requests"),
            number(approximate.short_by)
        ));
    }
    out
}

fn overview(report: &Report) -> String {
    let sentences: String = report
        .verdict
        .sentences
        .iter()
        .filter(|s| !s.is_empty())
        .map(|s| format!("<p>{}</p>\n", escaped(s, 2 * MAX_TEXT)))
        .collect();
    format!(
        "<section id=\"overview\" aria-labelledby=\"overview-title\">\n<h2 id=\"overview-title\">In short</h2>\n\
         <div class=\"verdict\">\n{sentences}</div>\n{}<h3>Requests over time</h3>\n{}</section>\n",
        figures(report),
        charts::series(&report.time.series, report.time.step_s)
    )
}

/// The four numbers that come first.
fn figures(report: &Report) -> String {
    let verdict = &report.verdict;
    let about = if report.source.approximate.is_some() { "about " } else { "" };
    let taken = verdict.articles_taken as f64 / verdict.articles_seen.max(1) as f64;
    let figure = |name: &str, value: String, note: String| {
        format!("<div><dt>{name}</dt><dd class=\"value\">{value}</dd><dd class=\"quiet\">{note}</dd></div>\n")
    };
    [
        "<dl class=\"figures\">\n".to_owned(),
        figure(
            "Requests",
            number(verdict.hits),
            format!("from {about}{}", count(verdict.visitors, "visitor", "visitors")),
        ),
        figure(
            "Automated",
            percent(verdict.automated_share),
            format!("{} of robots, declared or suspected", count(verdict.automated_hits, "request", "requests")),
        ),
        figure(
            "Suspected scrapers",
            format!("{about}{}", number(verdict.suspects as u64)),
            format!("with {} of all requests", percent(verdict.suspect_share)),
        ),
        figure(
            "Articles taken",
            format!("{about}{}", number(verdict.articles_taken as u64)),
            format!("of {about}{} that were read, or {}", number(verdict.articles_seen as u64), percent(taken)),
        ),
        "</dl>\n".to_owned(),
    ]
    .concat()
}

fn suspects(report: &Report) -> String {
    let all = &report.suspects;
    if all.is_empty() {
        return "<p>Nobody is suspected.</p>\n".to_owned();
    }
    let has_ids = report.source.visitor_key == "visitor.id";
    let card = |(index, suspect): (usize, &Suspect)| suspect_card(index + 1, suspect, has_ids);
    let first: String = all.iter().enumerate().take(UNFOLDED).map(card).collect();
    let shown: Vec<&Suspect> = all.iter().take(SUSPECTS).collect();
    let mut out = format!(
        "<p class=\"quiet\">A suspicion is no proof: read the reasons first.</p>\n\
         <ol class=\"cards\">\n{first}</ol>\n"
    );
    if let Some(more) = shown.len().checked_sub(UNFOLDED).filter(|more| *more > 0) {
        let rest: String = all.iter().enumerate().take(SUSPECTS).skip(UNFOLDED).map(card).collect();
        out.push_str(&format!(
            "<details>\n<summary>{more} more</summary>\n<ol class=\"cards\" start=\"{}\">\n{rest}</ol>\n\
             </details>\n",
            UNFOLDED + 1
        ));
    }
    out.push_str(&rows::cut_off(shown.len(), all.len()));
    out.push_str(&charts::sparkline_table(&shown));
    out
}

fn suspect_card(rank: usize, suspect: &Suspect, has_ids: bool) -> String {
    let mut facts = vec![
        ("Requests", number(suspect.hits)),
        ("Pages", number(suspect.pages)),
        ("Articles", number(suspect.articles)),
        ("Data sent", bytes(suspect.bytes)),
        ("Sessions", number(suspect.sessions.into())),
        ("Marked copies", number(suspect.marks)),
        ("Score", suspect.score.to_string()),
    ];
    facts.extend(suspect.action.as_deref().map(|action| ("Done", action_words(action))));
    facts.extend(suspect.would_action.as_deref().map(|action| ("Would have been", action_words(action))));
    let facts: String =
        facts.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>")).collect();
    format!(
        "<li class=\"card\">\n<h3><span class=\"rank\">{rank}.</span> {}</h3>\n<p class=\"quiet\">{}</p>\n{}\
         <p class=\"quiet\">From {} to {}</p>\n{}<dl class=\"facts\">{facts}</dl>\n</li>\n",
        suspect_name(suspect),
        suspect_origin(suspect, has_ids),
        list(&suspect.reasons, ITEMS),
        time(&suspect.first),
        time(&suspect.last),
        charts::sparkline(&suspect.sparkline)
    )
}

/// The agent's name; without one, what it sent.
fn suspect_name(suspect: &Suspect) -> String {
    let name = suspect.agent.as_deref().or(suspect.user_agent.as_deref()).filter(|name| !name.is_empty());
    let name = name.map_or_else(|| "No user agent".to_owned(), text);
    match suspect.verification.as_str() {
        "failed" => format!("<strong class=\"fake\">fake</strong> <span class=\"raw\">{name}</span>"),
        _ => format!("<span class=\"raw\">{name}</span>"),
    }
}

fn suspect_origin(suspect: &Suspect, has_ids: bool) -> String {
    let mut parts = vec![
        category_words(suspect.category),
        verification_words(&suspect.verification, None),
        format!("address <span class=\"raw\">{}</span>", text(&suspect.address)),
    ];
    if let Some(system) = system(suspect) {
        parts.push(format!("network <span class=\"raw\">{}</span>", text(&system)));
    }
    if has_ids {
        parts.push(format!("visitor <span class=\"raw\">{}</span>", text(&suspect.visitor)));
    }
    if let Some(agent) = suspect.user_agent.as_deref().filter(|_| suspect.agent.is_some()) {
        parts.push(format!("user agent <span class=\"raw\">{}</span>", text(agent)));
    }
    parts.join(" · ")
}

fn footer(report: &Report) -> String {
    format!(
        "<footer>\n<p>Made by deckle {} from {} ({}). All times are UTC. This file loads nothing and runs no \
         program.</p>\n</footer>\n",
        env!("CARGO_PKG_VERSION"),
        count(report.quality.lines, "line", "lines"),
        bytes(report.quality.bytes)
    )
}

/// Texts as a list; nothing of none.
fn list(items: &[String], max: usize) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut out: String = items.iter().take(max).map(|item| format!("<li>{}</li>\n", text(item))).collect();
    if let Some(more) = items.len().checked_sub(max).filter(|more| *more > 0) {
        out.push_str(&format!("<li>and {} more</li>\n", number(more as u64)));
    }
    format!("<ul>\n{out}</ul>\n")
}

/// A text as HTML: escaped, hidden characters shown, cut at [`MAX_TEXT`].
fn text(raw: &str) -> String {
    escaped(raw, MAX_TEXT)
}

fn escaped(raw: &str, max: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    for c in raw.chars() {
        if width >= max {
            out.push('…');
            break;
        }
        width += push_escaped(&mut out, c);
    }
    out
}

/// Says how many characters the reader sees.
fn push_escaped(out: &mut String, c: char) -> usize {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        _ if is_hidden(c) => {
            let shown = c.escape_unicode();
            let width = shown.len();
            out.extend(shown);
            return width;
        }
        _ => out.push(c),
    }
    1
}

fn period(verdict: &Verdict) -> String {
    if verdict.first.is_empty() {
        return "no requests".to_owned();
    }
    format!("{} to {} UTC", time(&verdict.first), time(&verdict.last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::render::sample::{HOSTILE, empty, hostile, sample};
    use crate::review::report::ProbeRow;

    /// Where each of these elements begins.
    fn tags<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
        let open = format!("<{name}");
        html.match_indices(&open)
            .map(|(at, _)| &html[at + open.len()..])
            .filter(|rest| rest.starts_with(['>', ' ', '\n', '/']))
            .collect()
    }

    fn levels(html: &str) -> Vec<u32> {
        let digits = html.match_indices("<h").filter_map(|(at, _)| html[at + 2..].chars().next()?.to_digit(10));
        digits.collect()
    }

    fn assert_well_formed(html: &str) {
        for name in [
            "html",
            "head",
            "body",
            "title",
            "style",
            "header",
            "nav",
            "main",
            "footer",
            "section",
            "h1",
            "h2",
            "h3",
            "p",
            "div",
            "span",
            "strong",
            "code",
            "ul",
            "ol",
            "li",
            "dl",
            "dt",
            "dd",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "figure",
            "figcaption",
            "details",
            "summary",
            "svg",
            "g",
            "defs",
            "pattern",
            "desc",
            "a",
        ] {
            let closed = html.matches(&format!("</{name}>")).count();
            assert_eq!(tags(html, name).len(), closed, "{name}");
        }
        for table in tags(html, "table") {
            assert!(table.split_once(">\n").unwrap().1.starts_with("<caption>"), "{}", &table[..80]);
        }
        for svg in tags(html, "svg") {
            let (attributes, inside) = svg.split_once('>').unwrap();
            assert!(attributes.contains("role=\"img\""), "{attributes}");
            assert!(inside.trim_start().starts_with("<title>") && inside.contains("<desc>"), "{attributes}");
        }
        let levels = levels(html);
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
        assert_eq!(levels.first(), Some(&1));
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        for landmark in ["header", "nav", "main", "footer"] {
            assert_eq!(tags(html, landmark).len(), 1, "{landmark}");
        }
    }

    fn assert_inert(html: &str) {
        for active in ["script", "img", "iframe", "object", "link", "base", "form", "foreignObject", "use"] {
            assert!(tags(html, active).is_empty(), "{active}");
        }
        assert!(html.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\""));
        assert!(!html.contains("http://") && !html.contains("@import") && !html.contains("javascript:"));
        assert_eq!(html.matches("url(").count(), html.matches("url(#").count());
        let hidden: Vec<char> = html.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }

    #[test]
    fn what_visitors_wrote_stays_text() {
        let html = html(&sample());
        assert!(!html.contains(HOSTILE));
        assert_inert(&html);
        assert_well_formed(&html);
        let shown = "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#34;&gt;&lt;img src=x onerror=alert(2)&gt;\
                     &#39;&amp;lt;|`,\\u{d}\\u{a}\\u{1b}[31m\\u{7f}\\u{202e}\\u{2066}";
        for name in ["sentence.1", "suspect.user_agent", "no images", "robots.example", "probe.path", "quality.note"] {
            assert!(html.contains(&format!("={name}{shown}")), "{name}");
        }
    }

    #[test]
    fn every_text_of_a_visitor_is_somewhere() {
        let html = html(&sample());
        for name in [
            "filter",
            "difference.name",
            "suspect.visitor",
            "suspect.address",
            "suspect.action",
            "suspect.last",
            "Googlebot",
            "agent.verified",
            "agent.note",
            "agent.failed",
            "agent.address",
            "robots.title",
            "coverage.name",
            "article.path",
            "latency.path",
            "latency.first",
            "latency.agent",
            "pace.name",
            "shape.name",
            "new.user_agent",
            "new.first",
            "rotation.address",
            "group.user_agent",
            "not_found.path",
            "referrer",
            "mark.name",
            "candidate.name",
            "loads images",
            "affected.name",
            "affected.rule",
            "affected.reason",
            "simulation.note",
            "file",
            "instance",
            "ranges_date",
        ] {
            assert!(html.contains(&format!("={name}")), "{name}");
        }
    }

    #[test]
    fn without_data_each_section_says_so() {
        let html = html(&empty());
        assert_well_formed(&html);
        assert_inert(&html);
        for sentence in ["Nobody is suspected.", "robots.txt was not evaluated: ", "No copy carries a mark."] {
            assert!(html.contains(sentence), "{sentence}");
        }
        assert!(!html.contains("class=\"banner\"") && !html.contains("NaN") && !html.contains("difference"));
        assert!(!html.contains("id=\"simulation\"") && !html.contains("#simulation"), "nobody asked for it");
        assert!(!html.contains("<ul>\n</ul>") && !html.contains("<p></p>"));
    }

    #[test]
    fn what_matters_stands_first() {
        let html = html(&sample());
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text}"));
        let order: Vec<usize> = SECTIONS.iter().map(|s| at(&format!("<section id=\"{}\"", s.id))).collect();
        assert!(order.is_sorted());
        assert!(at("Partial.") < at("Approximate.") && at("Approximate.") < at("sentence.1"));
        assert!(at("=agent.failed") < at("=agent.verified"), "fakes first");
        assert!(at("fake (list of =date") > at("<section id=\"agents\""));
        assert!(at("Possibly disturbed readers") < at("What was done"));
        assert!(html.contains("any number of one visitor may be short by up to 12."));
        assert!(html.contains("<strong class=\"fake\">fake</strong>"));
    }

    /// Many of the first row, changed.
    fn many<T: Clone>(rows: &mut Vec<T>, change: impl Fn(&mut T)) {
        rows.truncate(1);
        change(&mut rows[0]);
        *rows = vec![rows[0].clone(); 200];
    }

    fn simulation_rows(long: &str) -> Vec<crate::review::report::AffectedRow> {
        let row = crate::review::report::AffectedRow {
            visitor: long.to_owned(),
            name: long.to_owned(),
            requests: u64::MAX,
            hits: u64::MAX,
            action: "block",
            rule: long.to_owned(),
            bytes_saved: u64::MAX,
            reasons: vec![long.to_owned(); 9],
        };
        vec![row; 20]
    }

    #[test]
    fn the_file_stays_small_whatever_was_read() {
        let long = "\"".repeat(600);
        let mut report = sample();
        many(&mut report.suspects, |row| {
            for text in [&mut row.visitor, &mut row.address, &mut row.first, &mut row.last, &mut row.verification] {
                text.clone_from(&long);
            }
            (row.agent, row.user_agent, row.action) = (Some(long.clone()), Some(long.clone()), Some(long.clone()));
            (row.reasons, row.sparkline) = (vec![long.clone(); 9], vec![u32::MAX; 48]);
        });
        report.suspects = report.suspects.iter().cycle().take(10_000).cloned().collect();
        if let Some(found) = &mut report.difference {
            many(&mut found.rows, |row| row.name.clone_from(&long));
        }
        many(&mut report.agents, |row| {
            (row.agent, row.note) = (Some(long.clone()), Some(long.clone()));
            row.addresses = vec![long.clone(); 9];
        });
        many(&mut report.robots.rows, |row| {
            (row.title, row.examples) = (long.clone(), vec![long.clone(); 9]);
        });
        many(&mut report.content.coverage, |row| row.name.clone_from(&long));
        many(&mut report.content.top, |row| row.path.clone_from(&long));
        many(&mut report.content.latency, |row| (row.path, row.agent) = (long.clone(), long.clone()));
        many(&mut report.bandwidth, |row| row.cost = Some(f64::MAX));
        report.time.series = vec![report.time.series[168].clone(); 100_000];
        many(&mut report.time.pace, |row| row.name.clone_from(&long));
        many(&mut report.shape, |row| row.name.clone_from(&long));
        many(&mut report.new_agents.unknown, |row| row.user_agent.clone_from(&long));
        many(&mut report.new_agents.rotation, |row| row.address.clone_from(&long));
        many(&mut report.new_agents.groups, |row| row.user_agent.clone_from(&long));
        many(&mut report.status.codes, |row| row.hits = u64::MAX);
        many(&mut report.status.probes, |row| row.path.clone_from(&long));
        many(&mut report.status.not_found, |row| row.path.clone_from(&long));
        many(&mut report.referrers, |row| row.referrer.clone_from(&long));
        many(&mut report.marks.rows, |row| row.name.clone_from(&long));
        many(&mut report.actions.candidates, |row| {
            (row.name, row.evidence) = (long.clone(), vec![long.clone(); 9]);
        });
        let simulation = report.simulation.as_mut().unwrap();
        many(&mut simulation.notes, |text| text.clone_from(&long));
        for class in
            [&mut simulation.affected.human, &mut simulation.affected.verified, &mut simulation.affected.suspected]
        {
            class.rows = simulation_rows(&long);
        }
        for texts in [
            &mut report.quality.notes,
            &mut report.quality.instances,
            &mut report.source.files,
            &mut report.source.filters,
        ] {
            many(texts, |text| text.clone_from(&long));
        }
        let html = html(&report);
        assert!(html.len() < 2 << 20, "{} bytes", html.len());
        assert!(html.contains("The first 50 of 10\u{202F}000."));
        assert_well_formed(&html);
    }

    #[test]
    fn of_long_tables_the_first_rows_are_shown_and_the_others_unfold() {
        let mut report = sample();
        let row = |hits: u64| ProbeRow { path: format!("/probe-{hits}/"), hits };
        let section = |report: &Report| {
            let html = html(report);
            assert_well_formed(&html);
            let (_, rest) = html.split_once("<h3>Probes</h3>").unwrap();
            rest.split_once("<h3>").unwrap().0.to_owned()
        };
        report.status.probes = (1..=10).map(row).collect();
        assert!(!section(&report).contains("<details>"), "ten rows fit");
        report.status.probes = (1..=34).map(row).collect();
        let shown = section(&report);
        let (first, rest) = shown.split_once("<details>\n<summary>20 rows more</summary>\n").unwrap();
        assert!(first.contains("/probe-10/") && !first.contains("/probe-11/"), "{first}");
        let (folded, behind) = rest.split_once("</details>").unwrap();
        assert!(folded.contains("<caption>Paths that scanners ask for, from 11 on</caption>"), "{folded}");
        assert!(folded.contains("/probe-11/") && folded.contains("/probe-30/") && !folded.contains("/probe-31/"));
        assert!(behind.contains("The first 30 of 34."), "{behind}");
        assert_eq!(tags(first, "tr").len(), 11, "ten rows and their head");
        // On paper nothing unfolds by itself.
        let print = STYLE.split_once("@media print").unwrap().1;
        assert!(print.contains("details::details-content { content-visibility: visible; block-size: auto; }"));
    }

    #[test]
    fn texts_are_cut_where_the_reader_would_stop() {
        assert_eq!(text(&"é".repeat(MAX_TEXT)), "é".repeat(MAX_TEXT));
        assert_eq!(text(&"é".repeat(MAX_TEXT + 1)), "é".repeat(MAX_TEXT) + "…");
        assert_eq!(text("a\u{202E}b"), "a\\u{202e}b");
        assert!(text(&"\u{202E}".repeat(5_000)).len() < 220);
        assert!(!text(&hostile("x")).contains(['<', '>', '"', '\'']));
    }

    #[test]
    fn numbers_are_written_for_people() {
        use charts::duration;
        assert_eq!([0, 999, 1_000, 1_204_332].map(number).join(" "), "0 999 1\u{202F}000 1\u{202F}204\u{202F}332");
        assert_eq!(
            [0, 999, 1_000, 9_960, 999_600, 48_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "10 kB", "1.0 MB", "48 MB"].map(|text| text.replace(' ', "\u{202F}"))
        );
        assert_eq!(
            [0.0, 0.0001, 0.0021, 0.0996, 0.332, f64::NAN].map(percent),
            ["0.0 %", "&lt;0.1 %", "0.2 %", "10 %", "33 %", "0.0 %"].map(|text| text.replace(' ', "\u{202F}"))
        );
        assert_eq!([41, 2_280, 7_200, 200_000].map(duration), ["41 s", "38 min", "2 h", "2 days"]);
        assert_eq!(time("2026-11-03T20:45:12Z"), "3 Nov 2026, 20:45");
        assert_eq!(count(1, "line", "lines") + &count(2, "line", "lines"), "1 line2 lines");
    }
}
