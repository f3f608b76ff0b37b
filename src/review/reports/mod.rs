//! Counts to the report.

mod agents;
mod content;
mod obedience;
mod profile;
mod simulation;
mod survey;
mod suspects;
mod tables;
mod times;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Window;
use super::engine::{Counts, Facts, Requests, both, name};
use super::input::Source;
use super::report::{Approximate, Quality, Report, SourceInfo};
use super::simulate::SimulatedPolicy;
use crate::visitor::Systems;
pub(super) use profile::profile;
use survey::{Program, Survey, surveys};
use suspects::Ranked;

/// Rows of a table; `--json` has them all where that is bounded by itself.
const ROWS: usize = 30;
/// Suspects that are told in full.
const SUSPECTS: usize = 200;

/// What a report is about.
#[derive(Debug, Clone, Default)]
pub(super) struct About<'a> {
    pub(super) sources: &'a [Source],
    pub(super) filters: Vec<String>,
    pub(super) gap: Duration,
    pub(super) cost_per_gb: Option<f64>,
    pub(super) simulated: Option<&'a SimulatedPolicy>,
    pub(super) systems: Systems,
}

/// A report, and what conditions ask for beyond it.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) report: Report,
    pub(super) most_by_one: [u64; 3],
    pub(super) windowed: BTreeMap<Window, u64>,
}

/// The visitors of all shards, and who of them is suspected.
struct Everybody<'c> {
    counts: &'c Counts,
    surveys: Vec<Survey<'c>>,
    /// The worst first.
    ranked: Vec<Ranked<'c>>,
    /// By shard, and by place there.
    suspected: Vec<Vec<bool>>,
}

impl<'c> Everybody<'c> {
    fn of(counts: &'c Counts) -> Self {
        let mut surveys = surveys(counts);
        let mut ranked: Vec<Ranked<'c>> = surveys.iter_mut().flat_map(|survey| survey.ranked.drain(..)).collect();
        suspects::sort(&mut ranked);
        let mut suspected: Vec<Vec<bool>> =
            counts.shards.iter().map(|shard| vec![false; shard.visitors.len()]).collect();
        for one in &ranked {
            let place = suspected.get_mut(one.shard).and_then(|of_shard| of_shard.get_mut(one.number as usize));
            if let Some(is_suspected) = place {
                *is_suspected = true;
            }
        }
        Self { counts, surveys, ranked, suspected }
    }

    fn is_suspect(&self, shard: usize, number: u32) -> bool {
        self.suspected.get(shard).and_then(|of_shard| of_shard.get(number as usize)).copied().unwrap_or(false)
    }

    /// Of all shards; the same one may come more than once.
    fn programs(&self) -> impl Iterator<Item = &Program<'c>> {
        self.surveys.iter().flat_map(|survey| &survey.programs)
    }

    /// Every visitor: its shard, its place there, what it did.
    fn all(&self) -> impl Iterator<Item = (usize, u32, &'c Facts)> {
        self.counts.shards.iter().enumerate().flat_map(|(at, shard)| {
            shard.visitors.iter().enumerate().map(move |(number, facts)| (at, number as u32, facts))
        })
    }

    fn period(&self) -> (Duration, Duration) {
        let first = self.counts.shards.iter().filter_map(|shard| shard.tally.first).min().unwrap_or_default();
        let last = self.counts.shards.iter().map(|shard| shard.tally.last).max().unwrap_or_default();
        (first, last)
    }
}

pub(super) fn report(counts: &Counts, about: &About<'_>) -> Reported {
    let everybody = Everybody::of(counts);
    let robots = obedience::robots(counts);
    // These look at very many addresses and readers.
    let ((agents, new_agents), content) =
        both(|| (agents::agents(&everybody), agents::new_agents(&everybody)), || content::content(&everybody));
    let articles_taken = content.taken;
    let report = Report {
        schema_version: 1,
        source: source(&everybody, about),
        verdict: verdict::verdict(&everybody, &robots, articles_taken, content.section.articles as usize),
        difference: None,
        agents,
        robots,
        content: content.section,
        bandwidth: tables::bandwidth(&everybody, about.cost_per_gb),
        time: times::times(&everybody),
        shape: tables::shape(&everybody),
        new_agents,
        status: tables::status(counts),
        referrers: tables::referrers(&everybody),
        marks: tables::marks(&everybody),
        actions: tables::actions(&everybody),
        simulation: about.simulated.and_then(|policy| simulation::simulation(&everybody, policy)),
        quality: Quality { notes: counts.notes(), ..counts.quality.clone() },
        suspects: suspects::rows(&everybody, &about.systems),
    };
    let mut reported = Reported { report, most_by_one: [0; 3], windowed: BTreeMap::new() };
    for survey in &everybody.surveys {
        let most = reported.most_by_one.iter_mut().zip(survey.most_by_one);
        most.for_each(|(most, count)| *most = count.max(*most));
        for (window, count) in &survey.windowed {
            let most = reported.windowed.entry(*window).or_insert(0);
            *most = (*count).max(*most);
        }
    }
    reported
}

fn source(everybody: &Everybody<'_>, about: &About<'_>) -> SourceInfo {
    let counts = everybody.counts;
    let own = counts.formats.contains_key("deckle");
    let let_go = || counts.shards.iter().map(|shard| &shard.let_go);
    let mut keys = super::engine::Sketch::wide();
    let_go().for_each(|of| keys.merge(&of.keys));
    let hits = let_go().map(|of| of.hits).sum::<Requests>().count();
    let short_by = let_go().map(|of| of.short_by).max().unwrap_or_default().count();
    SourceInfo {
        files: about.sources.iter().map(name).collect(),
        formats: counts.formats.clone(),
        visitor_key: if own { "visitor.id" } else { "address+user_agent" },
        session_gap_min: about.gap.as_secs() / 60,
        filters: about.filters.clone(),
        ranges_date: (!own).then(|| crate::visitor::Ranges::shipped().date()).flatten(),
        partial: counts.partial,
        approximate: (hits > 0).then(|| Approximate { visitors: keys.estimate(), hits, short_by }),
    }
}

/// RFC 3339, to the second.
fn time(unix: Duration) -> String {
    jiff::Timestamp::from_second(unix.as_secs() as i64).map(|t| t.to_string()).unwrap_or_default()
}

/// As the suspects are named everywhere.
fn visitor(facts: &Facts) -> String {
    if !facts.id.is_empty() {
        return facts.id.to_string();
    }
    match facts.agent.user_agent.as_deref() {
        Some(agent) => format!("{} {agent}", facts.address),
        None => facts.address.to_string(),
    }
}

/// A name for people: the robot, or what the program calls itself, and where it is.
fn title(facts: &Facts) -> String {
    let program = match (&facts.agent.agent.name, facts.agent.user_agent.as_deref()) {
        (Some(name), _) => name.to_string(),
        (None, Some(_)) if facts.category == crate::visitor::Category::Browser => "a browser".to_owned(),
        (None, Some(agent)) => agent.split(' ').next().unwrap_or_default().chars().take(40).collect(),
        (None, None) => "no user agent".to_owned(),
    };
    let program =
        if facts.verification == crate::visitor::Verification::Failed { format!("fake {program}") } else { program };
    if facts.address.is_empty() { program } else { format!("{program} at {}", facts.address) }
}
