//! One client: what it asks for, what it remembers, and what it makes of an answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Request, header};

use crate::address::{Addresses, mix};
use crate::challenge::{Challenge, Work};
use crate::document::Document;
use crate::headers::{Identity, Kind};
use crate::profile::{Profile, Solve, Spelling, WhenRefused, Who};
use crate::rig::{Answer, Rig};
use crate::run::Cast;
use crate::site::{PageKind, kind};
use crate::tally::Tally;
use crate::walk::{Visit, Walk};

/// From a request to its answer, where nothing holds it back.
const LATENCY: Duration = Duration::from_millis(80);
/// The files of a page are asked for between these times after it, in milliseconds.
const FILES_FOLLOW: std::ops::Range<u64> = 50..1_800;
/// How long a browser and a program work on a challenge.
const WORK: (Duration, Duration) = (Duration::from_millis(700), Duration::from_millis(50));
/// The wait where a refusal names none.
const UNTOLD: Duration = Duration::from_secs(30);
/// Where deckle's own paths are.
const MOUNT: &str = "/.deckle/";
const MAX_REDIRECTS: usize = 5;
/// Challenges in a row in front of one page, after which anybody gives up.
const MAX_CHALLENGES: u64 = 20;

/// What a client does next.
#[derive(Debug)]
pub(crate) enum Task {
    /// Opens the next pages.
    Step,
    /// Loads what belongs to a page, or looks ahead.
    Load { kind: Kind, path: String, from: String },
    /// Goes through a challenge.
    Pass { path: String, visit: Visit },
}

/// What a client acts in.
#[derive(Debug)]
pub(crate) struct Scene<'s> {
    pub(crate) rig: &'s mut Rig,
    pub(crate) profile: &'s Profile,
    pub(crate) tally: &'s mut Tally,
    /// What is to be done later.
    pub(crate) later: &'s mut Vec<(Duration, Task)>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    rng: Rng,
    /// Several where it changes them with each request.
    looks: Vec<Identity>,
    addresses: Addresses,
    walk: Walk,
    cookies: BTreeMap<String, String>,
    /// What it holds, with the tags that it was sent.
    cache: HashMap<String, Option<HeaderValue>>,
    began: Option<Duration>,
    /// Pages of the running session.
    session: usize,
    /// Refusals in a row.
    refused: u32,
    gone: bool,
}

impl Client {
    pub(crate) fn new(
        cast: &Cast<'_>,
        profile: &Profile,
        entries: &Arc<Vec<String>>,
        number: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = Rng::with_seed(mix(seed, &profile.id, number));
        let plan = &profile.identity;
        let names = plan.headers.iter().cycle().skip(number);
        let mut looks = Vec::new();
        for name in names.take(if plan.rotate { plan.headers.len() * 4 } else { 1 }) {
            let set = cast.sets.get(name).with_context(|| format!("{}: there are no headers `{name}`", profile.id))?;
            looks.push(set.identity(&plan.extra, plan.equal, &mut rng)?);
        }
        Ok(Self {
            looks,
            addresses: Addresses::new(&profile.address, cast.setup, number, seed, &mut rng)?,
            walk: Walk::new(profile, cast.site, entries, number),
            cookies: BTreeMap::new(),
            cache: HashMap::new(),
            began: None,
            session: 0,
            refused: 0,
            gone: false,
            rng,
        })
    }

    pub(crate) async fn act(&mut self, task: Task, scene: &mut Scene<'_>) -> Result<()> {
        match task {
            Task::Step => self.step(scene).await,
            Task::Load { kind, path, from } => self.get(kind, &path, Some(&from), scene).await.map(drop),
            Task::Pass { path, visit } => {
                let answer = self.open(&path, Some(&visit.path), scene).await?;
                self.received(visit, &answer, scene);
                Ok(())
            }
        }
    }

    async fn step(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        let now = scene.rig.now();
        let began = *self.began.get_or_insert(now);
        let profile = scene.profile;
        let pace = &profile.pace;
        let visits = self.walk.next(pace.tabs, &mut self.rng);
        if self.gone || now >= began + profile.duration() || visits.is_empty() {
            // Thousands of clients would keep all that they have seen.
            self.cache = HashMap::new();
            return Ok(());
        }
        if self.session == 0 {
            scene.tally.sessions += 1;
        }
        let mut free = now;
        for visit in visits {
            self.session += 1;
            let answer = self.open(&visit.path, visit.from.as_deref(), scene).await?;
            free = free.max(self.received(visit, &answer, scene));
        }
        // The pace is from page to page; a wait that is longer is kept to the second.
        free = free.max(now + pace.rest(profile.vary(), now.saturating_sub(began), &mut self.rng));
        if pace.session > 0 && self.session >= pace.session {
            self.session = 0;
            self.walk.leave();
            free += pace.pause.0;
        }
        scene.later.push((free, Task::Step));
        Ok(())
    }

    /// Opens a page, wherever it leads.
    async fn open(&mut self, path: &str, from: Option<&str>, scene: &mut Scene<'_>) -> Result<Answer> {
        let mut answer = self.get(Kind::Page, path, from, scene).await?;
        for _ in 0..MAX_REDIRECTS {
            let Some(target) = answer.redirect() else { break };
            answer = self.get(Kind::Page, &target, from, scene).await?;
        }
        Ok(answer)
    }

    async fn get(&mut self, kind: Kind, path: &str, from: Option<&str>, scene: &mut Scene<'_>) -> Result<Answer> {
        let target = self.spelt(path, scene.profile.path.spelling);
        let mut request = Request::new(());
        *request.uri_mut() = target.parse().with_context(|| format!("`{target}` is no address"))?;
        let look = self.rng.usize(0..self.looks.len().max(1));
        if let Some(look) = self.looks.get(look) {
            *request.version_mut() = look.version;
            *request.headers_mut() = look.headers(kind, from);
        }
        self.remember(path, request.headers_mut());
        self.addresses.address(&mut request, scene.rig.now(), &mut self.rng);
        let answer = scene.rig.send(request).await?;
        scene.tally.count(kind, &answer);
        #[expect(clippy::print_stderr, reason = "asked for by whoever looks for a fault")]
        if std::env::var_os("GAUNTLET_TRACE").is_some() {
            let (id, now) = (&scene.profile.id, scene.rig.now());
            eprintln!("{id} {now:?} {kind:?} {target} {} {} {}", answer.status, answer.action, answer.reason);
        }
        self.learn(path, &answer, scene);
        Ok(answer)
    }

    /// Cookies, and the tag of what it holds already.
    fn remember(&self, path: &str, headers: &mut HeaderMap) {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::try_from(cookies.join("; "))) {
            headers.insert(header::COOKIE, value);
        }
        if let Some(Some(tag)) = self.cache.get(path) {
            headers.insert(header::IF_NONE_MATCH, tag.clone());
        }
    }

    fn learn(&mut self, path: &str, answer: &Answer, scene: &mut Scene<'_>) {
        if scene.profile.keeps_cookies() {
            for line in answer.headers.get_all(header::SET_COOKIE) {
                let pair = line.to_str().ok().and_then(|text| text.split(';').next()?.split_once('='));
                self.cookies.extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            scene.tally.cookies = scene.tally.cookies.max(self.cookies.len() as u64);
        }
        if scene.profile.caches() && answer.status == 200 {
            self.cache.insert(path.to_owned(), answer.headers.get(header::ETAG).cloned());
        }
    }

    /// What it makes of the answer; gives the time from which it is free.
    fn received(&mut self, mut visit: Visit, answer: &Answer, scene: &mut Scene<'_>) -> Duration {
        let done = scene.rig.now() + LATENCY + answer.delay;
        let document = if answer.is_html() { Document::read(answer.text()) } else { Document::default() };
        if answer.is_refusal() {
            let Some(challenge) = document.challenge() else { return self.refusal(visit, answer, done, scene) };
            visit.challenged += 1;
            scene.tally.challenge_run = scene.tally.challenge_run.max(visit.challenged);
            return match self.way_through(&challenge, visit.challenged, scene.profile) {
                Some((time, path)) => {
                    scene.later.push((done + time, Task::Pass { path, visit }));
                    done + time + LATENCY
                }
                None => self.refusal(visit, answer, done, scene),
            };
        }
        self.refused = 0;
        if answer.status == 200 {
            self.walk.saw(&visit, &document, answer.text());
            self.load_files(&document, &visit.path, done, scene);
        }
        done
    }

    /// When and where it goes on; `None`: it does not.
    fn way_through(&mut self, challenge: &Challenge, tries: u64, profile: &Profile) -> Option<(Duration, String)> {
        let solve = profile.solves();
        if solve == Solve::Never || tries > MAX_CHALLENGES {
            return None;
        }
        let work = challenge.work.as_ref().filter(|_| solve == Solve::Work);
        if let Some(answer) = work.and_then(Work::answer) {
            let time = if profile.who == Who::Scraper { WORK.1 } else { WORK.0 };
            return Some((time, answer));
        }
        // Who follows the link instead does not hurry either.
        let late = Duration::from_millis(self.rng.u64(0..1_000));
        challenge.wait.clone().map(|(wait, path)| (wait + late, path))
    }

    fn refusal(&mut self, visit: Visit, answer: &Answer, done: Duration, scene: &mut Scene<'_>) -> Duration {
        self.refused += 1;
        self.gone = self.refused >= scene.profile.patience();
        let told = answer.retry_after();
        match scene.profile.manners.refused {
            WhenRefused::Ignore => done,
            // Without a time, it is not meant to come back for this page.
            _ if told.is_none() && answer.status != 429 => done,
            WhenRefused::Retry => {
                self.walk.again(visit);
                done
            }
            WhenRefused::Obey => {
                self.walk.again(visit);
                done + told.unwrap_or(UNTOLD)
            }
        }
    }

    /// What belongs to the page, and what an extension follows ahead.
    fn load_files(&mut self, document: &Document, from: &str, done: Duration, scene: &mut Scene<'_>) {
        let profile = scene.profile;
        let ahead = document.anchors.iter().rev().take(profile.manners.prefetch);
        let wanted = document.files.iter().filter(|(kind, path)| {
            profile.loads(*kind)
                && (!profile.manners.cdn || path.starts_with(MOUNT))
                && !profile.manners.block.iter().any(|part| path.contains(part.as_str()))
        });
        let wanted = wanted.map(|(kind, path)| (*kind, path)).chain(ahead.map(|anchor| (Kind::Page, &anchor.path)));
        for (kind, path) in wanted {
            if profile.caches() && self.cache.contains_key(path) {
                continue;
            }
            // Another tab need not ask for it again.
            if profile.caches() {
                self.cache.insert(path.clone(), None);
            }
            let at = done + Duration::from_millis(self.rng.u64(FILES_FOLLOW));
            scene.later.push((at, Task::Load { kind, path: path.clone(), from: from.to_owned() }));
        }
    }

    /// The path as this client writes it.
    fn spelt(&mut self, path: &str, spelling: Spelling) -> String {
        if spelling == Spelling::Plain || kind(path) != PageKind::Article {
            return path.to_owned();
        }
        if spelling == Spelling::Bust {
            return format!("{path}?r={:08x}", self.rng.u32(..));
        }
        let (start, last) = path.split_at(path.len() - 1);
        match self.rng.u8(0..7) {
            0 => format!("/{path}"),
            1 => format!("{path}/"),
            2 => format!("{path};x.css"),
            3 => format!("/.{path}"),
            4 => format!("/robots.txt/..{path}"),
            5 => format!("{MOUNT}..{path}"),
            _ => format!("{start}%{:02X}", last.bytes().next().unwrap_or(b'0')),
        }
    }
}
