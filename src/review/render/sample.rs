//! Reports for the tests of the renderers: an empty one, and one in which visitors have written whatever they could.

use crate::review::report::{
    ActionRow, Actions, AffectedClass, AffectedRow, AffectedVisitors, AgentRow, Approximate, ArticleRow, BandwidthRow,
    CandidateRow, Content, CoverageRow, Difference, DifferenceRow, GroupRow, LatencyRow, MarkRow, Marks, MatrixCell,
    NewAgentRow, NewAgents, PaceRow, ProbeRow, Quality, ReferrerRow, Report, Robots, RobotsRow, RotationRow, SeriesRow,
    ShapeRow, Side, Simulation, SourceInfo, StatusRow, StatusTable, Suspect, Times, UnavailableRow, Verdict,
};

/// Meant to end an element, an attribute, a cell, a line or a terminal's mode.
pub(crate) const HOSTILE: &str =
    "</title><script>alert(1)</script>\"><img src=x onerror=alert(2)>'&lt;|`,\r\n\u{1B}[31m\u{7F}\u{202E}\u{2066}";

/// A hostile text that can be told from others; a formula where spreadsheets look for one.
pub(crate) fn hostile(name: &str) -> String {
    format!("={name}{HOSTILE}")
}

/// A report on nothing.
pub(crate) fn empty() -> Report {
    Report {
        schema_version: 1,
        source: SourceInfo::default(),
        verdict: Verdict {
            sentences: [String::new(), String::new(), String::new()],
            hits: 0,
            visitors: 0,
            automated_hits: 0,
            automated_share: 0.0,
            suspects: 0,
            suspect_share: 0.0,
            articles_taken: 0,
            articles_seen: 0,
            first: String::new(),
            last: String::new(),
        },
        difference: None,
        suspects: Vec::new(),
        agents: Vec::new(),
        robots: Robots::default(),
        content: Content::default(),
        bandwidth: Vec::new(),
        time: Times::default(),
        shape: Vec::new(),
        new_agents: NewAgents::default(),
        status: StatusTable::default(),
        referrers: Vec::new(),
        marks: Marks::default(),
        actions: Actions::default(),
        simulation: None,
        quality: Quality::default(),
    }
}

/// A report with something in every field, and a hostile text in every one that holds a text.
pub(crate) fn sample() -> Report {
    Report {
        schema_version: 1,
        source: source(),
        verdict: verdict(),
        difference: Some(difference()),
        suspects: vec![suspect("unverifiable", None), suspect("failed", Some("Googlebot"))],
        agents: agents(),
        robots: robots(),
        content: content(),
        bandwidth: bandwidth(),
        time: times(),
        shape: vec![ShapeRow {
            visitor: hostile("shape.visitor"),
            name: hostile("shape.name"),
            pages: 1_204,
            breadth: 0.05,
            sequential: 0.96,
            not_found: 0.021,
            ways: vec!["sitemap-driven", "pagination"],
        }],
        new_agents: new_agents(),
        status: status(),
        referrers: vec![
            ReferrerRow { referrer: hostile("referrer"), hits: 31, spam: true },
            ReferrerRow { referrer: "https://search.example".into(), hits: 9_000, spam: false },
        ],
        marks: Marks {
            issued: 1_204,
            visitors: 2,
            rows: vec![MarkRow {
                visitor: hostile("mark.visitor"),
                name: hostile("mark.name"),
                marks: 1_203,
                articles: 1_190,
            }],
        },
        actions: actions(),
        simulation: Some(simulation()),
        quality: quality(),
    }
}

/// One suspect, named or not.
pub(crate) fn suspect(verification: &str, agent: Option<&str>) -> Suspect {
    Suspect {
        visitor: hostile("suspect.visitor"),
        agent: agent.map(hostile),
        category: "library",
        verification: verification.into(),
        user_agent: Some(hostile("suspect.user_agent")),
        address: hostile("suspect.address"),
        asn: Some(64_500),
        organisation: Some(hostile("suspect.organisation")),
        hits: 2_408,
        pages: 1_204,
        articles: 1_190,
        bytes: 48_000_000,
        score: 92,
        reasons: vec![hostile("1,204 articles in 38 min"), hostile("no images")],
        action: Some(hostile("suspect.action")),
        would_action: Some("block".into()),
        first: "2026-11-20T10:00:00Z".into(),
        last: hostile("suspect.last"),
        sessions: 2,
        marks: 1_203,
        sparkline: (0..24).map(|part| part * part).collect(),
    }
}

fn source() -> SourceInfo {
    SourceInfo {
        files: vec![hostile("file")],
        formats: [("combined", 12_000)].into(),
        visitor_key: "visitor.id",
        session_gap_min: 30,
        filters: vec![hostile("filter")],
        ranges_date: Some(hostile("ranges_date")),
        partial: true,
        approximate: Some(Approximate { visitors: 1_200, hits: 4_500, short_by: 12 }),
    }
}

fn verdict() -> Verdict {
    Verdict {
        sentences: [hostile("sentence.1"), hostile("sentence.2"), hostile("sentence.3")],
        hits: 1_204_332,
        visitors: 8_020,
        automated_hits: 400_000,
        automated_share: 0.332,
        suspects: 2,
        suspect_share: 0.0021,
        articles_taken: 1_190,
        articles_seen: 1_400,
        first: "2026-11-20T10:00:00Z".into(),
        last: "2026-11-26T23:59:59Z".into(),
    }
}

fn difference() -> Difference {
    let side = |days: f64, hits| Side {
        files: vec![hostile("difference.file")],
        first: "2026-11-13T10:00:00Z".into(),
        last: "2026-11-20T09:59:59Z".into(),
        days,
        hits,
        visitors: 8_000,
    };
    let row = |name: &str, change, old: u64, new: u64, p| DifferenceRow {
        kind: "agent",
        name: hostile(name),
        change,
        old,
        new,
        old_per_day: old as f64 / 7.0,
        new_per_day: new as f64,
        ratio: (old > 0).then(|| new as f64 * 7.0 / old as f64),
        p,
        p_corrected: 0.4,
    };
    Difference {
        old: side(7.0, 900_000),
        new: side(1.0, 1_204_332),
        compared: 4_000,
        limit: 0.01,
        violations_compared: false,
        left_out: 3,
        rows: vec![
            row("difference.name", "new", 0, 2_408, 1e-300),
            row("difference.gone", "gone", 80, 0, 4.6e-5),
            row("difference.more", "more", 700, 140, 0.003_4),
        ],
    }
}

fn agents() -> Vec<AgentRow> {
    let row = |agent: Option<String>, category, verification, note, addresses| AgentRow {
        agent,
        category,
        verification,
        visitors: 3,
        hits: 2_408,
        pages: 1_204,
        bytes: 48_000_000,
        note,
        addresses,
    };
    vec![
        row(None, "browser", "none", None, Vec::new()),
        row(Some(hostile("agent.verified")), "search", "verified", Some(hostile("agent.note")), Vec::new()),
        row(
            Some(hostile("agent.failed")),
            "search",
            "failed",
            Some(format!("fake (list of {})", hostile("date"))),
            vec![hostile("agent.address")],
        ),
    ]
}

fn robots() -> Robots {
    let row = RobotsRow {
        agent: hostile("robots.agent"),
        verification: "failed",
        title: hostile("robots.title"),
        requests: 100,
        obeyed: 60,
        stale: 1,
        read_then_ignored: 30,
        never_asked: 4,
        unknown: 2,
        user_triggered: 2,
        not_observable: 1,
        fetches: 3,
        crawl_delay: Some(10),
        examples: vec![hostile("robots.example")],
    };
    Robots { evaluated: true, reason: None, versions: 2, rows: vec![row] }
}

fn content() -> Content {
    Content {
        articles: 1_400,
        coverage: vec![CoverageRow {
            visitor: hostile("coverage.visitor"),
            name: hostile("coverage.name"),
            articles: 1_190,
            share: 0.85,
        }],
        top: vec![ArticleRow { path: hostile("article.path"), suspects: 2, visitors: 310 }],
        never_taken: 210,
        latency: vec![LatencyRow {
            path: hostile("latency.path"),
            first: hostile("latency.first"),
            seconds: 41,
            agent: hostile("latency.agent"),
        }],
    }
}

fn bandwidth() -> Vec<BandwidthRow> {
    vec![
        BandwidthRow {
            category: "browser",
            visitors: 8_000,
            hits: 804_332,
            bytes: 90_000_000_000,
            share: 0.97,
            cost: Some(7.2),
            upstream_s: Some(4_100.5),
        },
        BandwidthRow {
            category: "library",
            visitors: 2,
            hits: 2_408,
            bytes: 48_000_000,
            share: 0.0005,
            cost: Some(0.0),
            upstream_s: None,
        },
    ]
}

fn times() -> Times {
    let mut heat = vec![[7; 24]; 7];
    heat[2][9] = 12_345;
    let mut heat_automated = vec![[0; 24]; 7];
    heat_automated[2][9] = 12_000;
    let series = (0..168)
        .map(|step| SeriesRow {
            start: format!("2026-11-{:02}T{:02}:00:00Z", 20 + step / 24, step % 24),
            people: 100 + step,
            robots: 40,
            suspects: if step == 60 { 1_200 } else { 0 },
        })
        .chain([SeriesRow { start: hostile("series.start"), people: 1, robots: 0, suspects: 0 }])
        .collect();
    let pace =
        vec![PaceRow { visitor: hostile("pace.visitor"), name: hostile("pace.name"), p50: 31, p99: 60, max: 61 }];
    Times { heat, heat_automated, step_s: 3_600, series, pace }
}

fn new_agents() -> NewAgents {
    NewAgents {
        unknown: vec![NewAgentRow {
            user_agent: hostile("new.user_agent"),
            hits: 40,
            visitors: 1,
            first: hostile("new.first"),
        }],
        rotation: vec![RotationRow { address: hostile("rotation.address"), user_agents: 40, hits: 400 }],
        groups: vec![GroupRow { user_agent: hostile("group.user_agent"), networks: 31, hits: 3_100, similarity: 0.81 }],
    }
}

fn status() -> StatusTable {
    StatusTable {
        codes: [(0, 3), (200, 1_200_000), (404, 4_000), (799, 1)]
            .map(|(status, hits)| StatusRow { status, hits })
            .into(),
        probes: vec![ProbeRow { path: hostile("probe.path"), hits: 12 }],
        not_found: vec![ProbeRow { path: hostile("not_found.path"), hits: 41 }],
    }
}

fn actions() -> Actions {
    Actions {
        candidates: vec![CandidateRow {
            visitor: hostile("candidate.visitor"),
            name: hostile("candidate.name"),
            hits: 12,
            disturbed: 1,
            evidence: vec![hostile("loads images")],
        }],
        rows: vec![
            ActionRow { action: "allow", done: 1_200_000, would: 1_190_000 },
            ActionRow { action: "block", done: 0, would: 2_408 },
        ],
    }
}

fn simulation() -> Simulation {
    let class = |visitors: u64| AffectedClass {
        visitors,
        requests: 9,
        rows: vec![AffectedRow {
            visitor: hostile("affected.visitor"),
            name: hostile("affected.name"),
            requests: 9,
            hits: 12,
            action: "challenge",
            rule: hostile("affected.rule"),
            bytes_saved: 90_000,
            reasons: vec![hostile("affected.reason")],
        }],
    };
    Simulation {
        mode: "observe",
        requests: 1_204_332,
        unchanged: 1_204_300,
        undecided: 3,
        own: 1_000_000,
        reproduced: 999_999,
        matrix: [("allow", "allow", 1_204_300), ("allow", "challenge", 27), ("block", "limit", 5)]
            .map(|(current, simulated, requests)| MatrixCell { current, simulated, requests })
            .into(),
        affected: AffectedVisitors { verified: class(1), human: class(2), suspected: class(3) },
        bytes_saved: 270_000,
        unavailable: vec![UnavailableRow { signal: "no_accept", group: "headers", points: 8 }],
        notes: vec![hostile("simulation.note")],
    }
}

fn quality() -> Quality {
    Quality {
        too_long_bytes: 9,
        erased: 2,
        lines: 1_204_400,
        bytes: 300_000_000,
        hits: 1_204_332,
        filtered: 0,
        other: 8,
        empty: 10,
        skipped: [("malformed", 49), ("torn", 1)].into(),
        format_switch: 1,
        out_of_order: 3,
        ambiguous_time: 2,
        dropped: 7,
        clock_steps: 1,
        holes: 4,
        anchored: [(hostile("anchor"), 3)].into(),
        robots_missing: 1,
        instances: vec![hostile("instance")],
        sampled: true,
        notes: vec![hostile("quality.note")],
    }
}
