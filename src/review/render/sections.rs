//! What each section holds, said once.

use super::cells::Cell::{self, Bytes, Count, Decimal, Share, Shown};
use super::cells::{Section, Table, fact, not_evaluated, warnings};
use super::difference::difference;
use super::simulation::simulation;
use super::suspects::suspects;
use super::text;
use crate::review::report::{
    Actions, AgentRow, Approximate, BandwidthRow, Content, Marks, NewAgents, Quality, ReferrerRow, Report, Robots,
    RobotsRow, SeriesRow, ShapeRow, SourceInfo, StatusTable, Times, Verdict,
};

/// Points of a line that people can still tell apart.
const POINTS: usize = 48;
pub(super) const WEEKDAYS: &[&str] = &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// All sections, in the order of `--json`.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let mut all = vec![verdict(report)];
    all.extend(report.difference.as_ref().map(difference));
    all.extend([
        suspects(&report.suspects),
        agents(&report.agents),
        robots(&report.robots),
        content(&report.content),
        bandwidth(&report.bandwidth),
        times(&report.time),
        shape(&report.shape),
        new_agents(&report.new_agents),
        status(&report.status),
        referrers(&report.referrers),
        marks(&report.marks),
        actions(&report.actions),
    ]);
    all.extend(report.simulation.as_ref().map(simulation));
    all.push(quality(&report.quality, &report.source));
    all
}

pub(super) fn numbers(verdict: &Verdict) -> Vec<(String, Cell)> {
    vec![
        fact("hits", Count(verdict.hits)),
        fact("visitors", Count(verdict.visitors)),
        fact("automated_hits", Count(verdict.automated_hits)),
        fact("automated_share", Share(verdict.automated_share)),
        fact("suspects", Count(verdict.suspects as u64)),
        fact("suspect_share", Share(verdict.suspect_share)),
        fact("articles_taken", Count(verdict.articles_taken as u64)),
        fact("articles_seen", Count(verdict.articles_seen as u64)),
        fact("first", Cell::time(&verdict.first)),
        fact("last", Cell::time(&verdict.last)),
    ]
}

fn verdict(report: &Report) -> Section {
    let verdict = &report.verdict;
    let notes = verdict.sentences.iter().cloned().chain(warnings(&report.source)).collect();
    Section::new("Verdict", "", vec![Table::facts("", "", numbers(verdict)).for_people()]).noting(notes)
}

fn agents(agents: &[AgentRow]) -> Section {
    const COLUMNS: &[&str] =
        &["agent", "category", "verification", "visitors", "hits", "pages", "bytes", "note", "addresses"];
    let rows = agents.iter().map(|row| {
        let agent = row.agent.clone().unwrap_or_default();
        let shown = if agent.is_empty() { format!("({})", row.category) } else { agent.clone() };
        let state = Cell::state(row.verification, row.note.as_deref());
        let note = match (&row.note, &state) {
            (Some(note), Shown(_, shown)) if note == shown => Shown(note.clone(), String::new()),
            (note, _) => Cell::maybe(note.as_deref()),
        };
        vec![
            Shown(agent, shown),
            Cell::text(row.category),
            state,
            Count(row.visitors),
            Count(row.hits),
            Count(row.pages),
            Bytes(row.bytes),
            note,
            Cell::list(&row.addresses),
        ]
    });
    Section::new("Agents by kind and verification", "No requests.", vec![Table::new("agents.csv", "", COLUMNS, rows)])
}

fn robots_row(row: &RobotsRow, evaluated: bool) -> Vec<Cell> {
    // Without a robots.txt to hold it against, a zero would look like a verdict.
    let verdict = |count: u64| if evaluated { Count(count) } else { Cell::None };
    vec![
        Cell::text(&row.title),
        Cell::text(&row.agent),
        Cell::state(row.verification, None),
        Count(row.requests),
        verdict(row.read_then_ignored.saturating_add(row.never_asked)),
        verdict(row.obeyed),
        verdict(row.stale),
        verdict(row.read_then_ignored),
        verdict(row.never_asked),
        verdict(row.unknown),
        verdict(row.user_triggered),
        verdict(row.not_observable),
        Count(row.fetches),
        Cell::decimal(row.crawl_delay.map(f64::from)),
        Cell::list(&row.examples),
    ]
}

fn robots(robots: &Robots) -> Section {
    const COLUMNS: &[&str] = &[
        "title",
        "agent",
        "verification",
        "requests",
        "violations",
        "obeyed",
        "stale",
        "read_then_ignored",
        "never_asked",
        "unknown",
        "user_triggered",
        "not_observable",
        "fetches",
        "crawl_delay",
        "examples",
    ];
    let rows = robots.rows.iter().map(|row| robots_row(row, robots.evaluated));
    let tables = vec![Table::new("robots.csv", "", COLUMNS, rows).without(&["agent", "verification"])];
    let notes = if robots.evaluated { Vec::new() } else { vec![not_evaluated(robots)] };
    Section::new("Who obeyed robots.txt", "No declared robot came.", tables).noting(notes)
}

fn content(content: &Content) -> Section {
    let coverage = content
        .coverage
        .iter()
        .map(|row| vec![Cell::text(&row.name), Cell::text(&row.visitor), Count(row.articles), Share(row.share)]);
    let top = content.top.iter().map(|row| vec![Cell::text(&row.path), Count(row.suspects), Count(row.visitors)]);
    let latency = content.latency.iter().map(|row| {
        let after = Shown(row.seconds.to_string(), text::span(row.seconds));
        vec![Cell::text(&row.path), Cell::time(&row.first), after, Cell::text(&row.agent)]
    });
    let tables = vec![
        Table::new("content.csv", "By suspect", &["name", "visitor", "articles", "share"], coverage),
        Table::new("content_articles.csv", "By article", &["path", "suspects", "visitors"], top),
        Table::new("content_latency.csv", "New articles", &["path", "first", "seconds", "agent"], latency),
    ];
    let note = format!(
        "{} articles were asked for; no suspect took {} of them.",
        text::group(content.articles),
        text::group(content.never_taken)
    );
    let notes = if content.articles == 0 { Vec::new() } else { vec![note] };
    Section::new("What was taken", "No articles were asked for.", tables).noting(notes)
}

fn bandwidth(rows: &[BandwidthRow]) -> Section {
    const COLUMNS: &[&str] = &["category", "visitors", "hits", "bytes", "share", "cost", "upstream_s"];
    let rows = rows.iter().map(|row| {
        vec![
            Cell::text(row.category),
            Count(row.visitors),
            Count(row.hits),
            Bytes(row.bytes),
            Share(row.share),
            Cell::decimal(row.cost),
            Cell::decimal(row.upstream_s),
        ]
    });
    Section::new("Data sent and its cost", "Nothing was sent.", vec![Table::new("bandwidth.csv", "", COLUMNS, rows)])
}

/// One row a weekday, all drawn on the same scale.
fn weekdays(times: &Times) -> impl Iterator<Item = Vec<Cell>> {
    let most = times.heat.iter().flatten().copied().max().unwrap_or(0);
    let none = [0; 24];
    WEEKDAYS.iter().zip(&times.heat).enumerate().map(move |(day, (name, hours))| {
        let automated = times.heat_automated.get(day).unwrap_or(&none);
        let series = |hours: &[u64; 24]| Cell::Series(hours.to_vec(), most);
        let (all, robots) = (hours.iter().sum(), automated.iter().sum());
        vec![Cell::text(name), Count(all), Count(robots), series(hours), series(automated)]
    })
}

/// One row a kind of visitor, with as many points as people can tell apart.
fn kinds(series: &[SeriesRow]) -> impl Iterator<Item = Vec<Cell>> {
    let kinds: [(&str, fn(&SeriesRow) -> u64); 3] =
        [("people", |row| row.people), ("robots", |row| row.robots), ("suspects", |row| row.suspects)];
    let step = series.len().div_ceil(POINTS).max(1);
    kinds.into_iter().filter(move |_| !series.is_empty()).map(move |(name, count)| {
        let points: Vec<u64> = series.chunks(step).map(|part| part.iter().map(count).sum()).collect();
        vec![Cell::text(name), Count(points.iter().sum()), Cell::series(points)]
    })
}

fn times(times: &Times) -> Section {
    let pace = times.pace.iter().map(|row| {
        let [p50, p99, max] = [row.p50, row.p99, row.max].map(|pace| Count(pace.into()));
        vec![Cell::text(&row.name), Cell::text(&row.visitor), p50, p99, max]
    });
    let week = &["day", "hits", "automated", "by_hour", "automated_by_hour"];
    let tables = vec![
        Table::new("", "Weekdays and hours, UTC, midnight at the left", week, weekdays(times)).for_people(),
        Table::new("", "From the first request to the last", &["kind", "hits", "over_time"], kinds(&times.series))
            .for_people(),
        Table::new("time_pace.csv", "Requests a minute", &["name", "visitor", "p50", "p99", "max"], pace),
    ];
    Section::new("When they came", "No times are known.", tables)
}

fn shape(rows: &[ShapeRow]) -> Section {
    const COLUMNS: &[&str] = &["name", "visitor", "pages", "breadth", "sequential", "not_found", "ways"];
    let rows = rows.iter().map(|row| {
        vec![
            Cell::text(&row.name),
            Cell::text(&row.visitor),
            Count(row.pages),
            Decimal(row.breadth),
            Share(row.sequential),
            Share(row.not_found),
            Cell::list(&row.ways),
        ]
    });
    let tables = vec![Table::new("shape.csv", "", COLUMNS, rows)];
    Section::new("How suspects went through the site", "No visitor is suspected.", tables)
}

fn new_agents(new: &NewAgents) -> Section {
    let unknown = new
        .unknown
        .iter()
        .map(|row| vec![Cell::text(&row.user_agent), Count(row.hits), Count(row.visitors), Cell::time(&row.first)]);
    let rotation =
        new.rotation.iter().map(|row| vec![Cell::text(&row.address), Count(row.user_agents), Count(row.hits)]);
    let groups = new
        .groups
        .iter()
        .map(|row| vec![Cell::text(&row.user_agent), Count(row.networks), Count(row.hits), Share(row.similarity)]);
    let names = &["user_agent", "hits", "visitors", "first"];
    let programs = &["user_agent", "networks", "hits", "similarity"];
    let tables = vec![
        Table::new("new_agents.csv", "In no table of agents", names, unknown),
        Table::new(
            "new_agents_rotation.csv",
            "Many names from one address",
            &["address", "user_agents", "hits"],
            rotation,
        ),
        Table::new("new_agents_groups.csv", "One name from many networks, for the same pages", programs, groups),
    ];
    Section::new("New and unknown agents", "None.", tables)
}

fn status(status: &StatusTable) -> Section {
    let codes = status.codes.iter().map(|row| {
        let shown = if row.status == 0 { "no answer".to_owned() } else { row.status.to_string() };
        vec![Shown(row.status.to_string(), shown), Count(row.hits)]
    });
    let probes = status.probes.iter().map(|row| vec![Cell::text(&row.path), Count(row.hits)]);
    let not_found = status.not_found.iter().map(|row| vec![Cell::text(&row.path), Count(row.hits)]);
    let tables = vec![
        Table::new("status.csv", "Answers", &["status", "hits"], codes),
        Table::new("status_probes.csv", "Paths that scanners ask for", &["path", "hits"], probes),
        Table::new("status_not_found.csv", "Not found most often", &["path", "hits"], not_found),
    ];
    Section::new("Answers, errors and probes", "No requests.", tables)
}

fn referrers(rows: &[ReferrerRow]) -> Section {
    let rows = rows.iter().map(|row| vec![Cell::text(&row.referrer), Count(row.hits), Cell::flag(row.spam)]);
    let tables = vec![Table::new("referrers.csv", "", &["referrer", "hits", "spam"], rows)];
    Section::new("Where requests say they come from", "No other site is named.", tables)
}

fn marks(marks: &Marks) -> Section {
    let rows = marks
        .rows
        .iter()
        .map(|row| vec![Cell::text(&row.name), Cell::text(&row.visitor), Count(row.marks), Count(row.articles)]);
    let tables = vec![Table::new("marks.csv", "", &["name", "visitor", "marks", "articles"], rows)];
    let note = format!(
        "{} copies carry a mark; {} visitors got one or more.",
        text::group(marks.issued),
        text::group(marks.visitors)
    );
    let notes = if marks.issued == 0 { Vec::new() } else { vec![note] };
    Section::new("Marks in copies", "No copy carries a mark.", tables).noting(notes)
}

fn actions(actions: &Actions) -> Section {
    let candidates = actions.candidates.iter().map(|row| {
        let evidence = Cell::list(&row.evidence);
        vec![Cell::text(&row.name), Cell::text(&row.visitor), Count(row.hits), Count(row.disturbed), evidence]
    });
    let rows = actions.rows.iter().map(|row| vec![Cell::text(row.action), Count(row.done), Count(row.would)]);
    let people = &["name", "visitor", "hits", "disturbed", "evidence"];
    let tables = vec![
        Table::new("actions_candidates.csv", "Possibly disturbed readers", people, candidates),
        Table::new("actions.csv", "Requests by action", &["action", "done", "would"], rows),
    ];
    Section::new("What deckle did", "The log tells of no action.", tables)
}

fn source(source: &SourceInfo) -> Vec<(String, Cell)> {
    let formats: Vec<String> = source.formats.iter().map(|(name, lines)| format!("{name} {lines}")).collect();
    let lost = |part: fn(Approximate) -> u64| source.approximate.map_or(Cell::None, |a| Count(part(a)));
    vec![
        fact("files", Cell::list(&source.files)),
        fact("formats", Cell::list(&formats)),
        fact("visitor_key", Cell::text(source.visitor_key)),
        fact("session_gap_min", Count(source.session_gap_min)),
        fact("filters", Cell::list(&source.filters)),
        fact("ranges_date", Cell::maybe(source.ranges_date.as_deref())),
        fact("partial", Cell::flag(source.partial)),
        fact("approximate_visitors", lost(|a| a.visitors)),
        fact("approximate_hits", lost(|a| a.hits)),
        fact("approximate_short_by", lost(|a| a.short_by)),
    ]
}

fn quality(quality: &Quality, from: &SourceInfo) -> Section {
    let mut facts = vec![
        fact("lines", Count(quality.lines)),
        fact("bytes", Bytes(quality.bytes)),
        fact("hits", Count(quality.hits)),
        fact("filtered", Count(quality.filtered)),
        fact("other", Count(quality.other)),
        fact("empty", Count(quality.empty)),
    ];
    facts.extend(quality.skipped.iter().map(|(reason, lines)| (format!("skipped_{reason}"), Count(*lines))));
    facts.extend([
        fact("format_switch", Count(quality.format_switch)),
        fact("out_of_order", Count(quality.out_of_order)),
        fact("ambiguous_time", Count(quality.ambiguous_time)),
        fact("dropped", Count(quality.dropped)),
        fact("clock_steps", Count(quality.clock_steps)),
        fact("holes", Count(quality.holes)),
        fact("robots_missing", Count(quality.robots_missing)),
        fact("anchored", Cell::list(&quality.anchored.iter().map(|(to, n)| format!("{to} {n}")).collect::<Vec<_>>())),
        fact("instances", Cell::list(&quality.instances)),
        fact("sampled", Cell::flag(quality.sampled)),
        fact("notes", Cell::list(&quality.notes)),
    ]);
    let read = Table::facts("source.csv", "What was read", source(from));
    Section::new("How good the data is", "", vec![read, Table::facts("quality.csv", "Lines", facts)])
}
