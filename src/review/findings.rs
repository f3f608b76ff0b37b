//! Facts to findings: why somebody looks like a scraper, in words with numbers.

use std::fmt::Arguments;

use super::engine::Facts;
use crate::suspicion::signals::claim;
use crate::visitor::{Category, Verification};

/// A finding and what it weighs.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) points: u32,
    pub(super) text: String,
}

/// Pages a minute that no reader reads.
const FAST: f64 = 12.0;
/// Pages without any asset that say something.
const PAGES: u32 = 6;
/// Hours in a row that no person reads.
const SLEEPLESS: u32 = 20;
/// Steps between numbers that say something.
const STEPS: u32 = 12;

/// Everything that speaks for a scraper, the weightiest first.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut out = Vec::new();
    each(facts, |points, text| out.push(Finding { points, text: std::fmt::format(text) }));
    out.sort_by_key(|finding| std::cmp::Reverse(finding.points));
    out
}

/// What all of that weighs together, if there is anything. Most visitors are no suspects, and no sentence is made for them.
pub(super) fn points(facts: &Facts) -> Option<u32> {
    let mut sum = None;
    each(facts, |points, _| *sum.get_or_insert(0) += points);
    sum
}

fn each(facts: &Facts, mut add: impl FnMut(u32, Arguments<'_>)) {
    if facts.pages == 0 && facts.probes == 0 {
        return;
    }
    if let Some(signal) = claim(facts.category, facts.verification) {
        let lies = if facts.verification == Verification::Failed { ", and is not" } else { "" };
        let (weight, what) = (signal.weight().into(), describe(facts.category));
        match facts.agent.agent.name.as_deref() {
            Some(name) => add(weight, format_args!("says that it is {what} ({name}){lies}")),
            None => add(weight, format_args!("says that it is {what}{lies}")),
        }
    }
    let articles = facts.articles.count();
    if facts.busiest.0 >= 10 && facts.pace() > FAST {
        let ((pages, ms), pace) = (facts.busiest, facts.pace());
        if ms < 60_000 {
            add(30, format_args!("asked for {pages} pages in {} s", ms.div_ceil(1_000).max(1)));
        } else {
            let minutes = f64::from(ms) / 60e3;
            add(30, format_args!("asked for {pages} pages in {minutes:.1} min ({pace:.0} pages a minute)"));
        }
    } else if articles >= 100 {
        add(15, format_args!("took {articles} articles"));
    }
    if facts.pages >= PAGES && facts.assets.count() == 0 {
        add(20, format_args!("{} pages and no style sheet, script or image", facts.pages));
    }
    let (sequential, steps) = facts.steps;
    if steps >= STEPS && sequential * 10 >= steps * 6 {
        add(10, format_args!("goes through numbers one by one ({} % of the steps)", sequential * 100 / steps));
    }
    if let Some(variation) = facts.regularity().filter(|v| *v < 0.15) {
        add(12, format_args!("asks like a clock (time between pages varies by {:.0} %)", variation * 100.0));
    }
    if facts.probes >= 3 {
        add(40, format_args!("looked for {} things that scanners look for", facts.probes));
    }
    let not_found = facts.not_found.count();
    if not_found >= 10 && not_found.saturating_mul(2) > facts.hits.count() {
        add(10, format_args!("asked {not_found} times for what is not there"));
    }
    let hours = if facts.pages > SLEEPLESS * 4 { facts.longest_hours() } else { 0 };
    if hours >= SLEEPLESS && facts.pages > hours * 4 {
        add(10, format_args!("never paused for an hour in {hours} hours"));
    }
    if facts.refused > 0 {
        add(10, format_args!("was refused {} times", facts.refused));
    }
    if facts.category.is_declared_bot() && facts.robots == 0 && facts.pages >= 3 {
        add(5, format_args!("a declared robot that did not read robots.txt"));
    }
}

/// What speaks for a person.
pub(super) fn human_evidence(facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    let pages = facts.pages.max(1);
    let assets = facts.assets.count();
    if assets > 0 && assets >= u64::from(pages * 6 / 10) {
        out.push(format!("loads the files of pages ({assets} for {} pages)", facts.pages));
    }
    if facts.from_site * 2 >= pages && facts.from_site > 0 {
        out.push(format!("follows links of the site ({} of {} pages)", facts.from_site, facts.pages));
    }
    if facts.deckle.as_ref().is_some_and(|deckle| deckle.passed > 0) {
        out.push("passed a challenge".to_owned());
    }
    if facts.pace() <= FAST && facts.pages >= 2 {
        out.push(format!("at most {:.1} pages a minute", facts.pace()));
    }
    out
}

fn describe(category: Category) -> &'static str {
    match category {
        Category::Library => "a download tool or HTTP library",
        Category::Headless => "an automated browser",
        Category::Scanner => "a scanner",
        Category::UnknownBot => "a robot that is in no table",
        Category::None => "nobody (no User-Agent)",
        Category::AiTrain => "a crawler that collects text for training",
        Category::AiSearch => "a crawler of an AI search",
        Category::AiUser => "an AI assistant",
        Category::Seo => "a crawler of an SEO tool",
        Category::Search => "a search engine",
        _ => "a robot",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::review::engine::count;
    use crate::review::{Review, Source};

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn points_are_those_of_the_sentences() {
        let line = |address: &str, second: u32, path: u32, agent: &str| {
            format!(
                "{address} - - [20/Nov/2026:10:00:{second:02} +0000] \"GET /a-b-c-{path} HTTP/1.1\" 200 9 \"-\" \"{agent}\"\n"
            )
        };
        let scraper = (0..40).map(|at| line("203.0.113.9", at, at, "curl/8.5.0"));
        let readers = (0..40).map(|at| line(&format!("198.51.100.{at}"), at, 1, FIREFOX));
        let path = std::env::temp_dir().join(format!("deckle-findings-{}.log", std::process::id()));
        std::fs::write(&path, scraper.chain(readers).collect::<String>()).unwrap();
        let sources = [Source::Path(path.clone())];
        let counts = count(&sources, &Review::default().plan, &AtomicBool::new(false), &mut |_| {});
        std::fs::remove_file(path).unwrap();
        let mut suspected = Vec::new();
        for facts in counts.shards.iter().flat_map(|shard| &shard.visitors) {
            let all = findings(facts);
            assert_eq!(points(facts), all.iter().map(|finding| finding.points).reduce(|sum, points| sum + points));
            if !all.is_empty() {
                suspected.push((facts.address.as_str(), all.len()));
            }
        }
        assert!(matches!(suspected[..], [("203.0.113.9", 2..)]), "{suspected:?}");
    }
}
