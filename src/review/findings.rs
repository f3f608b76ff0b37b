//! Facts to findings: why somebody looks like a scraper, in words with numbers.

use super::sessions::VisitorFacts;
use crate::suspicion::signals::claim;
use crate::visitor::{Category, Verification};

/// A finding and what it weighs.
pub(super) struct Finding {
    pub(super) points: u32,
    pub(super) text: String,
}

/// Pages a minute that no reader reads.
const FAST: f64 = 12.0;
/// Pages without any asset that say something.
const PAGES: u64 = 6;

/// Everything that speaks for a scraper.
pub(super) fn findings(facts: &VisitorFacts) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut add = |points: u32, text: String| out.push(Finding { points, text });
    if facts.pages == 0 {
        return out;
    }
    let articles = facts.articles.len();
    let minutes = (facts.busiest.1.as_secs_f64() / 60.0).max(0.1);
    let verification = match facts.verification.as_str() {
        "verified" => Verification::Verified,
        "failed" => Verification::Failed,
        _ => Verification::Unverifiable,
    };
    if let Some(signal) = claim(facts.category, verification) {
        let lies = if verification == Verification::Failed { ", and is not" } else { "" };
        let name = facts.agent.as_deref().map(|n| format!(" ({n})")).unwrap_or_default();
        add(signal.weight().into(), format!("says that it is {}{name}{lies}", describe(facts.category)));
    }
    if facts.busiest.0 >= 10 && facts.pace() > FAST {
        let (pages, pace) = (facts.busiest.0, facts.pace());
        add(30, format!("asked for {pages} pages in {minutes:.1} min ({pace:.0} pages a minute)"));
    } else if articles >= 100 {
        add(15, format!("took {articles} articles"));
    }
    if facts.pages >= PAGES && facts.assets == 0 {
        add(20, format!("{} pages and no style sheet, script or image", facts.pages));
    }
    if let Some(variation) = facts.regularity().filter(|v| *v < 0.15) {
        add(12, format!("asks like a clock (time between pages varies by {:.0} %)", variation * 100.0));
    }
    if facts.refused > 0 {
        add(10, format!("was refused {} times", facts.refused));
    }
    if facts.category.is_declared_bot() && !facts.read_robots && facts.pages >= 3 {
        add(5, "a declared robot that did not read robots.txt".to_owned());
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
        _ => "a robot",
    }
}
