//! Profiles: who comes, from where, how fast, and what is expected. One file each; adding one is adding a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deckle::unit::Span;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::expect::Bound;
use crate::headers::Kind;
use crate::pace::{Pace, Vary};
use crate::tally::strength;

/// Less is enforced in the first minute after a start, so nobody comes before this is over.
const LEAD: Duration = Duration::from_secs(120);
/// Readers are there before scrapers come, as they are at any site.
const SCRAPERS_COME: Duration = Duration::from_secs(20 * 60);

/// Whose side it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    /// A person: no request may be disturbed.
    Reader,
    /// Takes articles: few may get through.
    Scraper,
    /// A crawler, feed reader, preview or monitor: its own bounds hold.
    Robot,
}

impl Who {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Scraper => "scraper",
            Self::Robot => "robot",
        }
    }
}

/// What runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Driver {
    /// This program.
    #[default]
    Sim,
    /// The program that it is named after.
    Real,
}

/// One file of `profiles/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) who: Who,
    #[serde(default)]
    pub(crate) driver: Driver,
    /// The headers that the program sends stand in for the program.
    #[serde(default)]
    pub(crate) stand_in: bool,
    #[serde(default)]
    pub(crate) note: String,
    #[serde(default = "main_world")]
    pub(crate) world: String,
    /// Parts of the rig.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// Profiles that it is run beside when it is run alone.
    #[serde(default)]
    pub(crate) with: Vec<String>,
    #[serde(default = "one")]
    pub(crate) clients: usize,
    start: Option<Span>,
    /// The clients begin within this time.
    spread: Option<Span>,
    /// How long each of them stays.
    #[serde(default = "an_hour")]
    duration: Span,
    #[serde(default)]
    pub(crate) identity: IdentityPlan,
    #[serde(default)]
    pub(crate) address: AddressPlan,
    #[serde(default)]
    pub(crate) pace: Pace,
    #[serde(default)]
    pub(crate) path: PathPlan,
    #[serde(default)]
    pub(crate) manners: Manners,
    #[serde(default)]
    pub(crate) expect: Expectation,
}

/// What it says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IdentityPlan {
    /// Files of `headers/`; client n takes the n-th, round and round.
    pub(crate) headers: Vec<String>,
    /// All clients are alike to the last byte.
    pub(crate) equal: bool,
    /// Another one with each request.
    pub(crate) rotate: bool,
    /// More fields, with each page.
    pub(crate) extra: BTreeMap<String, String>,
}

/// Where it asks from.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AddressPlan {
    /// Names of `rig.toml`, or prefixes; address n is out of the n-th, round and round.
    pub(crate) net: Vec<String>,
    /// How many it has, taken in turn; 0: a new one with each request.
    pub(crate) pool: usize,
    /// It moves on after this time.
    pub(crate) roam: Option<Span>,
    /// All clients of all profiles with this name have one address.
    pub(crate) nat: Option<String>,
    /// It does not come through the proxy.
    pub(crate) direct: bool,
    /// It makes up a forwarding field of its own.
    pub(crate) spoof: bool,
}

impl Default for AddressPlan {
    fn default() -> Self {
        let net = vec!["residential".to_owned()];
        Self { net, pool: 1, roam: None, nat: None, direct: false, spoof: false }
    }
}

/// How it finds its way.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PathPlan {
    /// Unset: readers wander, others take `entry` and what they `follow` from there.
    pub(crate) wander: Option<bool>,
    /// Paths; `{article}` and `{section}` are one by chance, `{articles}` is all of them, `{1..20}` counts.
    pub(crate) entry: Vec<String>,
    pub(crate) follow: Vec<Follow>,
    /// The link that was found last is taken first.
    pub(crate) depth_first: bool,
    /// From the beginning again when nothing is left.
    pub(crate) repeat: bool,
    pub(crate) spelling: Spelling,
}

/// What it takes out of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Follow {
    /// Every link, hidden ones too.
    Anchors,
    /// The next article.
    Next,
    /// The addresses of a sitemap.
    Locations,
    /// What robots.txt forbids.
    Disallowed,
}

/// How it writes the paths of articles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Spelling {
    #[default]
    Plain,
    /// With a query that nobody has asked for yet.
    Bust,
    /// In forms that a server takes for the same.
    Variants,
}

/// How it behaves. What is left out is as browsers do it for readers, and not done for others.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Manners {
    assets: Option<Vec<Kind>>,
    /// The assets of the site are elsewhere: only deckle's own are asked for here.
    pub(crate) cdn: bool,
    /// Parts of paths that an extension refuses to load.
    pub(crate) block: Vec<String>,
    /// Pages that it follows ahead of any click: the last so many links of each page, hidden ones too.
    pub(crate) prefetch: usize,
    cache: Option<bool>,
    cookies: Option<bool>,
    challenge: Option<Solve>,
    pub(crate) refused: WhenRefused,
    /// Refusals in a row after which it gives up.
    patience: Option<u32>,
    /// Reads robots.txt first, and obeys it under this name.
    pub(crate) robots: Option<String>,
}

/// What it does with a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Solve {
    /// Takes it for a refusal.
    Never,
    /// Waits, or follows the link.
    Wait,
    /// Runs the script.
    Work,
}

/// What it does after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenRefused {
    /// Waits as long as it is told to, and asks again.
    #[default]
    Obey,
    /// Asks again at its own pace.
    Retry,
    /// Goes on to the next page.
    Ignore,
}

/// What is expected of deckle.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expectation {
    /// The strongest action; shown, not judged.
    pub(crate) worst: String,
    /// What is judged; empty: the figures are published.
    pub(crate) bounds: Vec<Bound>,
}

fn main_world() -> String {
    "main".to_owned()
}

fn one() -> usize {
    1
}

fn an_hour() -> Span {
    Span::seconds(3_600)
}

impl Profile {
    pub(crate) fn starts(&self) -> Duration {
        let usual = if self.who == Who::Scraper { SCRAPERS_COME } else { LEAD };
        self.start.map_or(usual, |start| start.0.max(LEAD))
    }

    pub(crate) fn spread(&self) -> Duration {
        self.spread.map_or(Duration::from_secs(600), |spread| spread.0)
    }

    pub(crate) fn duration(&self) -> Duration {
        self.duration.0
    }

    fn reads(&self) -> bool {
        self.who == Who::Reader
    }

    pub(crate) fn wanders(&self) -> bool {
        self.path.wander.unwrap_or(self.reads() && self.path.entry.is_empty())
    }

    pub(crate) fn loads(&self, kind: Kind) -> bool {
        self.manners.assets.as_ref().map_or(self.reads(), |assets| assets.contains(&kind))
    }

    pub(crate) fn caches(&self) -> bool {
        self.manners.cache.unwrap_or(self.reads())
    }

    pub(crate) fn keeps_cookies(&self) -> bool {
        self.manners.cookies.unwrap_or(self.reads())
    }

    pub(crate) fn solves(&self) -> Solve {
        self.manners.challenge.unwrap_or(if self.reads() { Solve::Work } else { Solve::Never })
    }

    pub(crate) fn vary(&self) -> Vary {
        self.pace.vary.unwrap_or(if self.reads() { Vary::Human } else { Vary::Jitter })
    }

    pub(crate) fn patience(&self) -> u32 {
        self.manners.patience.unwrap_or(if self.reads() { 20 } else { 200 })
    }

    fn check(&self) -> Result<()> {
        ensure!(self.clients > 0, "clients: at least one");
        let worst = &self.expect.worst;
        ensure!(worst.is_empty() || strength(worst).is_some(), "expect.worst: `{worst}` is no action");
        if self.driver == Driver::Sim {
            ensure!(!self.identity.headers.is_empty(), "identity.headers: at least one");
            ensure!(self.wanders() || !self.path.entry.is_empty(), "path.entry: at least one");
            ensure!(!self.pace.every.0.is_zero(), "pace.every: longer than 0");
        }
        Ok(())
    }
}

/// All profiles, by the names of their files.
pub(crate) fn load(dir: &Path) -> Result<Vec<Profile>> {
    let mut ids = BTreeSet::new();
    let mut profiles = Vec::new();
    for file in files(dir)? {
        let profile: Profile = read(&file)?;
        profile.check().with_context(|| file.display().to_string())?;
        ensure!(ids.insert(profile.id.clone()), "{}: `{}` is there already", file.display(), profile.id);
        profiles.push(profile);
    }
    Ok(profiles)
}

/// The tables of a folder, sorted by name.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// One table.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    toml::from_str(&text).with_context(|| file.display().to_string())
}
