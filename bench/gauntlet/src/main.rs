//! Readers and scrapers against deckle, in one process and in virtual time: how many requests of readers are disturbed,
//! and how many articles each scraper gets.
//!
//! A profile is a file of `profiles/`, the headers of a client are a file of `headers/`, and `rig.toml` says what they
//! run against. The exit code is 0 only if all bounds hold; 1 if one does not; 2 for a mistake in a file or argument.

mod address;
mod challenge;
mod client;
mod document;
mod expect;
mod headers;
mod pace;
mod profile;
mod report;
mod rig;
mod run;
mod setup;
mod site;
mod store;
mod tally;
mod walk;

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail, ensure};

use profile::Profile;
use report::{Outcome, Row};
use run::Cast;
use tokio::runtime::{Builder, Runtime};

const USAGE: &str = "gauntlet [--json FILE] [--markdown FILE] [--seeds N | --seed N] [--profile ID|all]";

/// What was asked for.
#[derive(Debug)]
struct Options {
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    seeds: RangeInclusive<u64>,
    profile: Option<String>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run_all(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "gauntlet: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { json: None, markdown: None, seeds: 1..=5, profile: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{name}` lacks a value\n{USAGE}"))?;
        match name.as_str() {
            "--json" => options.json = Some(value.into()),
            "--markdown" => options.markdown = Some(value.into()),
            "--seeds" => options.seeds = 1..=value.parse().context("--seeds: not a number")?,
            "--seed" => {
                let seed = value.parse().context("--seed: not a number")?;
                options.seeds = seed..=seed;
            }
            "--profile" => options.profile = (value != "all").then_some(value),
            other => bail!("`{other}` is no option\n{USAGE}"),
        }
    }
    ensure!(!options.seeds.is_empty(), "--seeds: at least one");
    Ok(options)
}

fn run_all(options: &Options) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let setup = setup::Setup::load(root)?;
    let sets = headers::load(&root.join("headers"))?;
    let site = site::Site::new();
    let all = profile::load(&root.join("profiles"))?;
    let chosen = choose(&all, options.profile.as_deref())?;
    let cast = Cast { setup: &setup, sets: &sets, site: &site };

    let mut rows: Vec<Row<'_>> = Vec::new();
    for profile in chosen {
        let outcome = setup.missing(profile)?.map_or_else(|| Outcome::Ran(Vec::new()), Outcome::Skipped);
        rows.push(Row { profile, outcome });
    }
    for world in setup.worlds() {
        let mut present: Vec<&mut Row<'_>> = rows.iter_mut().filter(|row| row.runs_in(&world.name)).collect();
        if present.is_empty() {
            continue;
        }
        let profiles: Vec<&Profile> = present.iter().map(|row| row.profile).collect();
        for seed in options.seeds.clone() {
            say(&format!("{} ({}): {} profiles, seed {seed}", world.name, world.note, profiles.len()));
            let runtime = runtime(world)?;
            let tallies = runtime.block_on(run::world(&cast, world, &profiles, seed))?;
            for (row, tally) in present.iter_mut().zip(tallies) {
                row.push(tally);
            }
        }
    }
    publish(options, &rows)
}

/// Time stands still but for what is advanced; not where a store answers in its own time.
fn runtime(world: &setup::World) -> std::io::Result<Runtime> {
    if world.store {
        return Builder::new_multi_thread().worker_threads(1).enable_all().build();
    }
    Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// All profiles, or one with those that it is run beside.
fn choose<'p>(all: &'p [Profile], id: Option<&str>) -> Result<Vec<&'p Profile>> {
    let Some(id) = id else { return Ok(all.iter().collect()) };
    let one = all.iter().find(|p| p.id == id).ok_or_else(|| anyhow!("there is no profile `{id}`"))?;
    Ok(all.iter().filter(|p| p.id == id || one.with.contains(&p.id)).collect())
}

fn publish(options: &Options, rows: &[Row<'_>]) -> Result<bool> {
    std::io::stdout().write_all(report::text(rows).as_bytes())?;
    let write = |file: &Path, text: String| {
        std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
    };
    if let Some(file) = &options.json {
        write(file, serde_json::to_string_pretty(&report::json(rows))?)?;
    }
    if let Some(file) = &options.markdown {
        write(file, report::markdown(rows))?;
    }
    Ok(rows.iter().all(Row::holds))
}

/// Progress; the report alone goes to standard output.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
