//! All clients of one world, in the order of virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;

use crate::address::mix;
use crate::client::{Client, Scene, Task};
use crate::headers::HeaderSets;
use crate::profile::Profile;
use crate::rig::Rig;
use crate::setup::{Setup, World};
use crate::site::Site;
use crate::store::Store;
use crate::tally::Tally;
use crate::walk;

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Cast<'c> {
    pub(crate) setup: &'c Setup,
    pub(crate) sets: &'c HeaderSets,
    pub(crate) site: &'c Site,
}

/// Tasks by time, and by the order in which they were thought of.
type Events = BTreeMap<(Duration, u64), (usize, Task)>;

/// Runs some profiles against one deckle, to the end of the last.
pub(crate) async fn world(cast: &Cast<'_>, world: &World, profiles: &[&Profile], seed: u64) -> Result<Vec<Tally>> {
    // deckle draws its jitter from this generator.
    fastrand::seed(seed);
    let mut store = if world.store { Some(Store::start()?) } else { None };
    let mut rig = Rig::new(world, cast.site, store.as_ref(), &cast.setup.net("googlebot")?, seed)?;
    let middle = profiles.iter().map(|profile| profile.starts() + profile.duration() / 2).max().unwrap_or_default();
    let mut tallies = vec![Tally::default(); profiles.len()];
    let (mut clients, mut events) = gather(cast, profiles, seed)?;
    let (before, mut number, mut later) = (resident(), events.len() as u64, Vec::new());
    while let Some(((at, _), (index, task))) = events.pop_first() {
        rig.advance_to(at).await;
        if at >= middle {
            // It dies where it stands.
            drop(store.take());
        }
        let Some((place, client)) = clients.get_mut(index) else { continue };
        let (Some(profile), Some(tally)) = (profiles.get(*place).copied(), tallies.get_mut(*place)) else { continue };
        let mut scene = Scene { rig: &mut rig, profile, tally, later: &mut later };
        client.act(task, &mut scene).await.with_context(|| format!("profile {}", profile.id))?;
        for (at, task) in later.drain(..) {
            events.insert((at, number), (index, task));
            number += 1;
        }
    }
    let grown = resident().saturating_sub(before);
    for tally in &mut tallies {
        tally.memory = grown;
    }
    Ok(tallies)
}

/// The clients, each with the place of its profile, and when they come.
fn gather(cast: &Cast<'_>, profiles: &[&Profile], seed: u64) -> Result<(Vec<(usize, Client)>, Events)> {
    let (mut clients, mut events) = (Vec::new(), Events::new());
    for (place, profile) in profiles.iter().enumerate() {
        let entries: Arc<Vec<String>> = walk::entries(profile, cast.site);
        let mut rng = Rng::with_seed(mix(seed, &profile.id, usize::MAX));
        for number in 0..profile.clients {
            let at = profile.starts() + profile.spread().mul_f64(rng.f64());
            events.insert((at, clients.len() as u64), (clients.len(), Task::Step));
            clients.push((place, Client::new(cast, profile, &entries, number, seed)?));
        }
    }
    Ok((clients, events))
}

/// Memory of this process in MiB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1_024
}
