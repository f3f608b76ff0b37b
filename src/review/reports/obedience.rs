//! Who obeyed robots.txt.

use crate::review::engine::{Counts, RobotsVersions};
use crate::review::report::{Robots, RobotsRow};
use crate::rights::compliance::Verdict;
use crate::visitor::Verification;

pub(super) fn robots(counts: &Counts) -> Robots {
    let of = |count: fn(&RobotsVersions) -> usize| counts.robots().map_or(0, count);
    let (texts, absences, missing) =
        (of(RobotsVersions::count), of(RobotsVersions::absences), of(RobotsVersions::missing));
    let is_answered = counts.robots().is_some_and(RobotsVersions::is_answered);
    let mut rows: Vec<RobotsRow> = Vec::new();
    for facts in counts.shards.iter().flat_map(|shard| shard.obedience.families.values()) {
        let (name, proof) = (&facts.name, facts.proof);
        if facts.requests.count() == 0 {
            continue;
        }
        let of = |verdict| facts.verdicts.get(&verdict).map_or(0, |requests| requests.count());
        rows.push(RobotsRow {
            agent: name.to_string(),
            verification: proof.code(),
            title: match proof {
                Verification::Verified => name.to_string(),
                Verification::Failed => format!("fake {name}"),
                _ => format!("claiming to be {name}"),
            },
            requests: facts.requests.count(),
            obeyed: of(Verdict::Obeyed),
            stale: of(Verdict::Stale),
            read_then_ignored: of(Verdict::ReadThenIgnored),
            never_asked: of(Verdict::NeverAsked),
            unknown: of(Verdict::Unknown),
            user_triggered: of(Verdict::UserTriggered),
            not_observable: of(Verdict::NotObservable),
            fetches: facts.fetches,
            crawl_delay: facts.crawl_delay,
            examples: facts.examples.iter().map(ToString::to_string).collect(),
        });
    }
    let violations = |row: &RobotsRow| row.read_then_ignored + row.never_asked;
    // That there was no file is said of one host, which need not be one that a robot asked.
    let evaluated = texts > 0 || (is_answered && rows.iter().any(|row| row.obeyed + row.stale + violations(row) > 0));
    rows.sort_by(|a, b| {
        (violations(b), b.requests).cmp(&(violations(a), a.requests)).then_with(|| a.title.cmp(&b.title))
    });
    Robots {
        evaluated,
        reason: (!evaluated).then_some(match missing {
            0 => "the log does not hold it; say what it was by --robots FILE",
            _ => "the log names what was in force, and the text is nowhere; say what it was by --robots FILE",
        }),
        versions: if evaluated { texts + absences } else { 0 },
        rows,
    }
}
