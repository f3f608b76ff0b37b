//! What the profiles run against: `rig.toml`, and deckle's own lists of crawlers' addresses.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use deckle::config::Config;
use ipnet::IpNet;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::profile::{Driver, Profile, read};
use crate::store::Store;

/// Young enough for a list to disprove a claim.
const FRESH_DAYS: u64 = 2;
const DAY: u64 = 86_400;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RigFile {
    config: String,
    part: Vec<Part>,
    world: Vec<WorldFile>,
    nets: BTreeMap<String, Vec<IpNet>>,
}

/// Settings that not every deckle has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    config: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldFile {
    name: String,
    note: String,
    #[serde(default)]
    config: String,
    list_age_days: Option<u64>,
    #[serde(default)]
    store: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operators {
    creation_time: String,
    sets: Vec<OperatorSet>,
}

#[derive(Debug, Deserialize)]
struct OperatorSet {
    name: String,
    prefixes: Vec<IpNet>,
}

/// One deckle, and when its time begins.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) config: Config,
    /// Seconds since 1970.
    pub(crate) begins: u64,
    /// Two nodes share a store; real time goes on beside the virtual one.
    pub(crate) store: bool,
}

/// What is there, and why the rest is not.
#[derive(Debug)]
pub(crate) struct Setup {
    worlds: Vec<World>,
    parts: Vec<String>,
    absent: BTreeMap<String, String>,
    nets: BTreeMap<String, Vec<IpNet>>,
}

impl Setup {
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let file: RigFile = read(&root.join("rig.toml"))?;
        let (made, operators) = operators(&root.join("../../assets/ranges/operators.json"))?;
        let (mut absent, mut parts, mut base) = (BTreeMap::new(), Vec::new(), file.config);
        Config::from_toml(&base).context("rig.toml: config")?;
        for part in file.part {
            let more = format!("{base}\n{}", part.config);
            match Config::from_toml(&more) {
                Ok(_) => {
                    base = more;
                    parts.push(part.name);
                }
                Err(error) => {
                    absent.insert(part.name, unknown(&error.to_string()));
                }
            }
        }
        let mut worlds = Vec::new();
        for world in file.world {
            if world.store && !Store::can_be_had() {
                absent.insert(world.name, "redis-server is not installed".to_owned());
                continue;
            }
            match Config::from_toml(&format!("{base}\n{}", world.config)) {
                Ok(config) => {
                    let begins = made + world.list_age_days.unwrap_or(FRESH_DAYS) * DAY;
                    worlds.push(World { name: world.name, note: world.note, config, begins, store: world.store });
                }
                Err(error) => {
                    absent.insert(world.name, unknown(&error.to_string()));
                }
            }
        }
        let nets = file.nets.into_iter().chain(operators).collect();
        Ok(Self { worlds, parts, absent, nets })
    }

    pub(crate) fn worlds(&self) -> &[World] {
        &self.worlds
    }

    /// Why a profile cannot be run; `None`: it can.
    pub(crate) fn missing(&self, profile: &Profile) -> Result<Option<String>> {
        if profile.driver == Driver::Real {
            return Ok(Some("it needs the program itself, over real sockets".to_owned()));
        }
        for need in &profile.needs {
            match self.absent.get(need) {
                Some(why) => return Ok(Some(why.clone())),
                None if self.parts.contains(need) => {}
                None => bail!("profile {} needs `{need}`, of which rig.toml says nothing", profile.id),
            }
        }
        if self.worlds.iter().any(|world| world.name == profile.world) {
            return Ok(None);
        }
        match self.absent.get(&profile.world) {
            Some(why) => Ok(Some(why.clone())),
            None => bail!("profile {} is of the world `{}`, which is not in rig.toml", profile.id, profile.world),
        }
    }

    /// The prefixes of a name, or of the name as it stands.
    pub(crate) fn net(&self, name: &str) -> Result<Vec<IpNet>> {
        if let Some(net) = self.nets.get(name) {
            return Ok(net.clone());
        }
        let net = name.parse().with_context(|| format!("`{name}` is neither a net of rig.toml nor a prefix"))?;
        Ok(vec![net])
    }
}

fn unknown(error: &str) -> String {
    // The other lines show the place in a text that nobody sees.
    let what = error.lines().find(|line| line.contains("unknown")).unwrap_or(error);
    format!("this deckle refuses the settings that it needs: {what}")
}

/// When the lists were made, and what they hold.
fn operators(path: &Path) -> Result<(u64, Vec<(String, Vec<IpNet>)>)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let file: Operators = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let day: Date = file.creation_time.parse().context("creationTime")?;
    let made = TimeZone::UTC.to_timestamp(day.into())?.as_second();
    Ok((u64::try_from(made)?, file.sets.into_iter().map(|set| (set.name, set.prefixes)).collect()))
}
