//! What several nodes that share a store do to a limit that each of them enforces by itself, in virtual time: does what
//! `[shared]` promises hold?
//!
//! ```text
//! cargo run --release --features redis --example scale_simulation -- [--nodes 8] [--seconds 60] [--readers 400] [--seed 1]
//! ```
//!
//! Whole `DeckleLayer`s stand behind a load balancer; the store is a stand-in on loopback that keeps virtual time
//! (`scale_simulation/store.rs`). For each way to spread requests, and each state of the store, there are two runs:
//!
//! 1. *Limits.* A client asks each node 2.5 times as often as `page_hard` gives a page back, and keeps no cookies. Nothing
//!    else is held against it. *pages* is what it got, *x one* as a multiple of what one node alone gives, *x promise* of N
//!    times the burst and the rate once, *then x rate* how fast it went on, 2 s and a round trip after the burst was used up.
//! 2. *Audience.* Readers, four scripts, and three visitors who ask for `/.env` and then for pages; mode `observe`, ten
//!    times as long. *known after*: most pages that a node gave to one of the three before it knew, and how long it took
//!    until the last node knew. *commands/s*: to the store, of a node on the average and of the busiest; *kB/s*: both
//!    directions, of a node.
//!
//! *cut off* are requests during which a node thought that the store is gone; *waited* is the longest wait of a request.
//! Ends with 0 if all promises hold, with 1 if one does not, with 2 for a mistake.

#![allow(clippy::print_stdout, clippy::print_stderr)] // An example talks to the person who runs it.

#[path = "scale_simulation/crowd.rs"]
mod crowd;
#[path = "scale_simulation/figures.rs"]
mod figures;
#[path = "scale_simulation/node.rs"]
mod node;
#[path = "scale_simulation/store.rs"]
mod store;
#[path = "scale_simulation/world.rs"]
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use deckle::config::Config;

use crowd::Balancer;
use figures::{BURST, EVERY, HEAD, Limit, Row, Site};
use world::{Supply, World};

/// The size of the simulation.
#[derive(Debug, Clone, Copy)]
struct Options {
    nodes: usize,
    /// Of a run about limits.
    seconds: u32,
    readers: usize,
    seed: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { nodes: 8, seconds: 60, readers: 400, seed: 1 };
        while let Some(name) = words.next() {
            let value: u32 = words
                .next()
                .and_then(|word| word.parse().ok())
                .ok_or_else(|| format!("`{name}` needs a number behind it"))?;
            match (name.as_str(), value) {
                ("--nodes", 2..=64) => options.nodes = value as usize,
                ("--seconds", 10..=600) => options.seconds = value,
                ("--readers", 0..=20_000) => options.readers = value as usize,
                ("--seed", _) => options.seed = u64::from(value),
                _ => {
                    return Err(format!("`{name} {value}`: --nodes 2-64, --seconds 10-600, --readers 0-20000, --seed"));
                }
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let all = Options::parse(std::env::args().skip(1)).map_err(Into::into).and_then(simulate);
    match all {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("scale_simulation: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the table. Do all promises hold?
fn simulate(options: Options) -> Result<bool, Box<dyn Error>> {
    let Options { nodes, seconds, readers, seed } = options;
    println!(
        "{nodes} nodes; limits: {seconds} s, {BURST} pages and one each {EVERY:?}; {readers} readers; seed {seed}"
    );
    println!("{HEAD}");
    let mut hold = true;
    for balancer in Balancer::ALL {
        for supply in Supply::SHARED.into_iter().chain([Supply::Alone]) {
            let row = case(options, balancer, supply)?;
            println!("{}", row.line());
            hold &= row.broken().is_empty();
        }
    }
    Ok(hold)
}

/// Both runs of one case, on a runtime of its own: when it ends, so do all nodes.
fn case(options: Options, balancer: Balancer, supply: Supply) -> Result<Row, Box<dyn Error>> {
    // The pauses after trouble with the store vary by this generator.
    fastrand::seed(options.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(both(options, balancer, supply))
}

async fn both(options: Options, balancer: Balancer, supply: Supply) -> Result<Row, Box<dyn Error>> {
    let (limit, unanswered) = limits(options, balancer, supply).await?;
    let row = audience(options, balancer, supply, limit).await?;
    Ok(Row { unanswered: row.unanswered + unanswered, ..row })
}

async fn limits(options: Options, balancer: Balancer, supply: Supply) -> Result<(Limit, usize), Box<dyn Error>> {
    let Options { nodes, seed, .. } = options;
    let until = Duration::from_secs(u64::from(options.seconds));
    let config = Config::from_toml(&format!(
        "mode = \"enforce\"\n[watermark]\nlevel = \"off\"\n\
         [suspicion.score]\n\
         caps = {{ claim = 0, headers = 0, network = 0, rate = 0, behaviour = 0, trap = 0, credit = 0 }}\n\
         [action.limits]\npage_hard = {{ every = \"{}ms\", burst = {BURST} }}\n",
        EVERY.as_millis()
    ))?;
    let crowd = crowd::greedy(balancer, nodes, crowd::pace(nodes), until, seed);
    let mut world = World::start(&config, nodes, supply, seed).await?;
    let mut limit = Limit::new(nodes, until);
    world.run(&crowd.visits, until, dies(supply, until), |now, seen| limit.note(now, seen)).await;
    Ok((limit, world.unanswered()))
}

async fn audience(options: Options, balancer: Balancer, supply: Supply, limit: Limit) -> Result<Row, Box<dyn Error>> {
    let Options { nodes, readers, seed, .. } = options;
    let watched = Duration::from_secs(u64::from(options.seconds)) * crowd::SITE_TIMES;
    let config = Config::from_toml("mode = \"observe\"\n[watermark]\nlevel = \"off\"\n")?;
    let crowd = crowd::audience(balancer, nodes, readers, watched, seed);
    let mut world = World::start(&config, nodes, supply, seed).await?;
    let before = world.traffic();
    let mut site = Site::new(&crowd.offenders);
    world.run(&crowd.visits, watched, dies(supply, watched), |now, seen| site.note(now, seen)).await;
    // Connections and programs are not counted.
    let since = |(after, before): ((u64, u64), (u64, u64))| (after.0 - before.0, after.1 - before.1);
    let traffic = world.traffic().into_iter().zip(before).map(since).collect();
    Ok(Row { balancer, supply, limit, site, watched, traffic, unanswered: world.unanswered() })
}

fn dies(supply: Supply, until: Duration) -> Option<Duration> {
    (supply == Supply::Dies).then_some(until / 4)
}
