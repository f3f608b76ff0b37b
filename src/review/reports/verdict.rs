//! The answer in three sentences.

use super::{Everybody, time, title};
use crate::review::engine::Requests;
use crate::review::report::{Robots, Verdict};

pub(super) fn verdict(everybody: &Everybody<'_>, robots: &Robots, taken: usize, seen: usize) -> Verdict {
    let tallies = || everybody.counts.shards.iter().map(|shard| &shard.tally);
    let hits = tallies().map(|tally| tally.hits).sum::<Requests>().count();
    let shards = everybody.counts.shards.iter();
    let mut automated: Requests = shards
        .flat_map(|shard| shard.tally.categories())
        .filter(|(category, _)| category.is_declared_bot())
        .map(|(_, counts)| counts.hits)
        .sum();
    let suspect_hits = everybody.ranked.iter().map(|one| one.facts.hits).sum::<Requests>().count();
    let undeclared = everybody.ranked.iter().filter(|one| !one.facts.category.is_declared_bot());
    let undeclared: Requests = undeclared.map(|one| one.facts.hits).sum();
    automated += undeclared;
    let (automated, undeclared) = (automated.count(), undeclared.count());
    let share = |part: u64| if hits == 0 { 0.0 } else { part as f64 / hits as f64 };
    let (first, last) = everybody.period();
    let let_go: u64 = everybody.counts.shards.iter().map(|shard| shard.let_go.keys.estimate()).sum();
    Verdict {
        sentences: [automation(hits, automated, undeclared), worst(everybody, taken, seen), obedience(robots)],
        hits,
        visitors: everybody.counts.shards.iter().map(|shard| shard.visitors.len() as u64).sum::<u64>() + let_go,
        automated_hits: automated,
        automated_share: share(automated),
        suspects: everybody.ranked.len(),
        suspect_share: share(suspect_hits),
        articles_taken: taken,
        articles_seen: seen,
        first: time(first),
        last: time(last),
    }
}

fn automation(hits: u64, automated: u64, undeclared: u64) -> String {
    match hits {
        0 => "There is no request in this log.".to_owned(),
        _ => format!(
            "{} of {} requests were automated: {} from declared robots, {} from suspected scrapers.",
            percent(automated, hits),
            group(hits),
            percent(automated - undeclared, hits),
            percent(undeclared, hits),
        ),
    }
}

fn worst(everybody: &Everybody<'_>, taken: usize, seen: usize) -> String {
    let Some(one) = everybody.ranked.first() else { return "Nobody looks like a scraper.".to_owned() };
    let (facts, others) = (one.facts, everybody.ranked.len() - 1);
    let all = match others {
        0 => String::new(),
        _ => format!(" All {} suspects together took {taken} of {seen}.", others + 1),
    };
    let span = facts.last().saturating_sub(facts.first()).as_secs();
    format!(
        "The worst was {}: {} articles out of {seen} and {} requests {}.{all}",
        title(facts),
        group(facts.articles.count()),
        group(facts.hits.count()),
        within(span),
    )
}

fn obedience(robots: &Robots) -> String {
    if !robots.evaluated {
        return format!(
            "Whether robots obeyed robots.txt is not known: {}.",
            robots.reason.unwrap_or("nothing is known of it")
        );
    }
    let broken = |row: &&crate::review::report::RobotsRow| row.read_then_ignored + row.never_asked > 0;
    let mut violators = robots.rows.iter().filter(broken);
    match violators.next() {
        None if robots.rows.is_empty() => "No declared robot asked for anything.".to_owned(),
        None if robots.rows.len() == 1 => {
            "The one declared robot kept to robots.txt, as far as can be told.".to_owned()
        }
        None => format!("All {} declared robots kept to robots.txt, as far as can be told.", robots.rows.len()),
        Some(first) => {
            let number = first.read_then_ignored + first.never_asked;
            let others = violators.count();
            let more = if others > 0 { format!("; {others} more did, too") } else { String::new() };
            format!("{} asked {} times for what robots.txt forbids{more}.", first.title, group(number))
        }
    }
}

fn within(seconds: u64) -> String {
    match seconds {
        0..120 => format!("within {seconds} s"),
        120..7_200 => format!("within {} min", seconds / 60),
        7_200..172_800 => format!("within {} hours", seconds / 3_600),
        _ => format!("within {} days", seconds / 86_400),
    }
}

fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole as f64 * 100.0;
    if share > 0.0 && share < 10.0 { format!("{share:.1} %") } else { format!("{share:.0} %") }
}

fn group(number: u64) -> String {
    crate::unit::grouped(number, ',')
}
