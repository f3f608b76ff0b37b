//! One part of the visitors, and everything that is counted of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::articles::Articles;
use super::distinct::{BuildReady, Sketch};
use super::facts::{DeckleFacts, Facts};
use super::parse::Parsed;
use super::robots::Obedience;
use super::row::{Kind, Row, is_refusal};
use super::tally::Tally;
use super::versions::RobotsVersions;
use super::weight::Requests;
use crate::action::Action;
use crate::review::{Fact, Window};
use crate::suspicion::{is_probe, number_in};
use crate::visitor::{Ranges, Verification};

/// Share of the visitors that are let go at once.
const LET_GO: usize = 4;
/// One part in so many of its memory is for articles, at most.
const ARTICLES: usize = 3;
/// One part in so many is for paths that were not found, at most.
const MISSING: usize = 16;
/// Rows that are counted together.
const BLOCK: usize = 32;
/// The number of a visitor that is not known yet.
const UNKNOWN: u32 = u32::MAX;
/// Fewer than this are never let go.
const LEAST: usize = 1_024;
/// Rows between two looks at the memory, at most.
const LOOK: usize = 1 << 14;
/// Bytes by which a row may make its visitor grow: an article, an hour, a signal.
const GROWTH: usize = 128;

/// What is the same for all shards.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Bytes for the visitors and the articles of one shard.
    pub(crate) memory: usize,
    /// Silence after which a session is over.
    pub(crate) gap: Duration,
    /// Addresses are kept as networks.
    pub(crate) redact: bool,
    /// Spans within which each is counted, too.
    pub(crate) windows: Vec<Window>,
}

/// One part.
#[derive(Debug)]
pub(crate) struct Shard {
    bounds: Bounds,
    ranges: std::sync::Arc<Ranges>,
    by_key: HashMap<u64, u32, BuildReady>,
    pub(crate) visitors: Vec<Facts>,
    /// Bytes of `visitors`, as they were when they came; counted anew from time to time.
    bytes: usize,
    looked_at: usize,
    /// Rows since the last look, and since the bytes were counted anew; about.
    rows: (usize, usize),
    pub(crate) articles: Articles,
    pub(crate) tally: Tally,
    pub(crate) obedience: Obedience,
    pub(crate) let_go: LetGo,
}

/// Visitors that memory did not reach for.
#[derive(Debug)]
pub(crate) struct LetGo {
    pub(crate) keys: Sketch,
    pub(crate) hits: Requests,
    /// The most by which a visitor that came back is counted short.
    pub(crate) short_by: Requests,
}

impl Default for LetGo {
    fn default() -> Self {
        Self { keys: Sketch::wide(), hits: Requests::default(), short_by: Requests::default() }
    }
}

impl Shard {
    pub(crate) fn new(bounds: Bounds, ranges: std::sync::Arc<Ranges>, robots: RobotsVersions) -> Self {
        let (articles, tally) = (Articles::new(bounds.memory / ARTICLES), Tally::new(bounds.memory / MISSING));
        Self {
            bounds,
            ranges,
            by_key: HashMap::default(),
            visitors: Vec::new(),
            bytes: 0,
            looked_at: 0,
            rows: (0, 0),
            articles,
            tally,
            obedience: Obedience::new(robots),
            let_go: LetGo::default(),
        }
    }

    /// Are visitors counted within spans, too?
    pub(crate) fn rolls(&self) -> bool {
        !self.bounds.windows.is_empty()
    }

    /// Takes its own out of a chunk.
    pub(super) fn add_all(&mut self, parsed: &Parsed<'_>, at: usize) {
        for note in &parsed.notes {
            self.obedience.versions.add_note(note);
        }
        for told in &parsed.answers {
            self.obedience.versions.add_answer(told);
        }
        let mut rows = parsed.rows(at).peekable();
        while rows.peek().is_some() {
            let numbers = self.reach_for(rows.clone().take(BLOCK));
            for (row, number) in rows.by_ref().take(BLOCK).zip(numbers) {
                self.add(row, number);
            }
            self.rows = (self.rows.0 + BLOCK, self.rows.1 + BLOCK);
            if self.visitors.len() >= self.looked_at + LEAST || self.rows.0 >= LOOK {
                self.mind_memory();
            }
        }
    }

    /// The numbers of these visitors, of whom `UNKNOWN` have not come before. They lie anywhere in memory: the processor
    /// waits for all of them at once, not for one after the other.
    fn reach_for<'r>(&self, rows: impl Iterator<Item = &'r Row<'r>>) -> [u32; BLOCK] {
        let mut numbers = [UNKNOWN; BLOCK];
        for (number, row) in numbers.iter_mut().zip(rows) {
            *number = self.by_key.get(&row.key).copied().unwrap_or(UNKNOWN);
        }
        let facts = numbers.iter().filter_map(|number| self.visitors.get(*number as usize));
        std::hint::black_box(facts.fold(0, |all: u64, facts| all ^ facts.fetch()));
        numbers
    }

    /// `number`: what [`reach_for`](Self::reach_for) has said of the visitor; others may have come since.
    fn add(&mut self, row: &Row<'_>, number: u32) {
        if row.unseen {
            let proof = self.verification(row);
            return self.obedience.add(row, proof);
        }
        let is_it = self.visitors.get(number as usize).is_some_and(|facts| facts.key == row.key);
        let number = if is_it { number } else { self.find_or_insert(row) };
        let Some(facts) = self.visitors.get_mut(number as usize) else { return };
        // A check by DNS ends after the first request; deckle says so in the later ones.
        if let Some(fields) = &row.hit.deckle
            && let Some(proof @ (Verification::Verified | Verification::Failed)) =
                Verification::from_code(&fields.verification)
        {
            facts.verification = proof;
        }
        self.tally.add(row, number);
        add_hit(facts, row, &self.bounds);
        if row.kind == Kind::Article && row.hit.status == Some(200) {
            let hash = twox_hash::XxHash3_64::oneshot(article(row).as_bytes());
            let new = facts.articles.insert(hash);
            if new {
                roll(facts, Fact::ArticlesByOne, row, &self.bounds);
            }
            self.articles.add(hash, row, number, new);
        }
        self.obedience.add(row, facts.verification);
    }

    fn find_or_insert(&mut self, row: &Row<'_>) -> u32 {
        let number = self.visitors.len() as u32;
        match self.by_key.entry(row.key) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(place) => {
                place.insert(number);
            }
        }
        let id = row.hit.deckle.as_ref().map_or("", |fields| fields.visitor.as_ref());
        let address = if self.bounds.redact { network(&row.hit.address) } else { row.hit.address.as_ref().into() };
        let mut facts = Facts::new(row.key, &address, id, std::sync::Arc::clone(&row.agent), row.hit.time);
        facts.category = row.category;
        facts.roll_over(&self.bounds.windows);
        facts.verification = self.verification(row);
        self.visitors.push(facts);
        number
    }

    /// What the log says, else what the lists of addresses say.
    fn verification(&self, row: &Row<'_>) -> Verification {
        if let Some(fields) = &row.hit.deckle {
            return Verification::from_code(&fields.verification).unwrap_or(Verification::None);
        }
        if row.category.is_declared_bot() {
            return self.ranges.look_up(&row.agent.agent, &row.hit.address, row.hit.time);
        }
        Verification::None
    }

    /// Lets the least of the visitors go when they take more than they may.
    fn mind_memory(&mut self) {
        let new = self.visitors.get(self.looked_at..).unwrap_or_default();
        self.bytes += new.iter().map(Facts::size).sum::<usize>();
        (self.looked_at, self.rows.0) = (self.visitors.len(), 0);
        let memory = self.bounds.memory.saturating_sub(self.articles.bytes() + self.tally.path_bytes());
        // Those that were small when they came grow. To count them all costs less than half a look a row.
        let may_have_grown = self.rows.1 >= self.visitors.len() / 2 && self.bytes + self.rows.1 * GROWTH >= memory;
        if self.bytes < memory && !may_have_grown {
            return;
        }
        self.count_bytes();
        while self.bytes >= memory && self.visitors.len() >= LEAST {
            self.let_some_go();
            self.count_bytes();
        }
    }

    fn count_bytes(&mut self) {
        self.bytes = self.visitors.iter().map(Facts::size).sum();
        (self.looked_at, self.rows) = (self.visitors.len(), (0, 0));
    }

    fn let_some_go(&mut self) {
        let mut weights: Vec<u64> = self.visitors.iter().map(weight).collect();
        let at = weights.len() / LET_GO;
        let (_, bound, _) = weights.select_nth_unstable(at);
        let bound = *bound;
        let (mut round, mut goes, mut left) = (Requests::default(), at, 0);
        let mut moved = vec![u32::MAX; self.visitors.len()];
        let mut places = moved.iter_mut();
        let let_go = &mut self.let_go;
        // In place: memory is short.
        self.visitors.retain(|facts| {
            let (weight, place) = (weight(facts), places.next());
            if weight < bound || (weight == bound && goes > 0) {
                goes = goes.saturating_sub(1);
                let_go.keys.insert(facts.key);
                let_go.hits += facts.hits;
                round = round.max(facts.hits);
                return false;
            }
            if let Some(place) = place {
                *place = left;
            }
            left += 1;
            true
        });
        // As they lie in the table: to look for each would be a walk all over memory.
        self.by_key.retain(|_, number| {
            *number = moved.get(*number as usize).copied().unwrap_or(u32::MAX);
            *number != u32::MAX
        });
        self.let_go.short_by += round;
        self.articles.renumber(&moved);
        self.tally.renumber(&moved);
    }
}

/// An address cut to its /24 or /48, to be shown to others.
fn network(address: &str) -> Cow<'_, str> {
    let cut = |ip: IpAddr| IpNet::new(ip, if ip.is_ipv4() { 24 } else { 48 }).map(|net| net.trunc().to_string());
    match address.parse::<IpAddr>().map(|ip| cut(ip.to_canonical())) {
        Ok(Ok(network)) => network.into(),
        // A network already; or a host name, which may be a person's.
        _ if address.parse::<IpNet>().is_ok() => address.into(),
        _ => "[redacted]".into(),
    }
}

/// What is kept longest: who looks most like a scraper and asked most.
fn weight(facts: &Facts) -> u64 {
    let suspicion =
        u64::from(facts.score) + 10 * facts.articles.count().min(100) + u64::from(facts.category.is_declared_bot());
    (1 + suspicion) * facts.hits.count()
}

/// The name of an article: its id where the log has one, else its path.
pub(crate) fn article<'r>(row: &'r Row<'_>) -> &'r str {
    let logged = row.hit.deckle.as_ref().and_then(|fields| fields.article.as_deref());
    logged.unwrap_or(row.hit.path.as_ref())
}

fn roll(facts: &mut Facts, of: Fact, row: &Row<'_>, bounds: &Bounds) {
    // What is counted within spans lies elsewhere in memory.
    if bounds.windows.is_empty() {
        return;
    }
    for rolling in facts.rolling() {
        rolling.add(of, row.hit.time, row.weight);
    }
}

fn add_hit(facts: &mut Facts, row: &Row<'_>, bounds: &Bounds) {
    let hit = &row.hit;
    facts.hits += row.weight;
    roll(facts, Fact::RequestsByOne, row, bounds);
    facts.bytes.note(row.weight, hit.bytes);
    facts.note_time(hit.time, bounds.gap, row.weight);
    match hit.status {
        Some(304) => facts.not_modified += 1,
        Some(404 | 410) => facts.not_found += row.weight,
        status if is_refusal(status) => facts.refused += 1,
        _ => {}
    }
    match row.kind {
        Kind::Article | Kind::Page => add_page(facts, row, bounds),
        Kind::Asset => facts.assets += row.weight,
        Kind::Robots => facts.robots += 1,
        Kind::Sitemap => facts.sitemaps += 1,
        Kind::Feed => facts.feeds += 1,
        Kind::Other => {}
    }
    if let Some(fields) = &hit.deckle {
        facts.score = facts.score.max(fields.score);
        add_deckle(facts.deckle.get_or_insert_default(), fields);
    }
}

fn add_page(facts: &mut Facts, row: &Row<'_>, bounds: &Bounds) {
    let path = row.hit.path.as_ref();
    facts.note_page(row.hit.time, bounds.gap, number_in(path));
    roll(facts, Fact::PagesByOne, row, bounds);
    let directory = path.get(..memchr::memrchr(b'/', path.as_bytes()).unwrap_or(0)).unwrap_or_default();
    facts.note_directory(twox_hash::XxHash3_64::oneshot(directory.as_bytes()));
    if row.hit.query.is_some() {
        facts.queries.0 += 1;
        facts.queries.1 += u32::from(row.kind == Kind::Page);
    }
    if matches!(row.hit.status, Some(404 | 403)) && is_probe(path) {
        facts.probes += 1;
    }
    if comes_from_the_site(row) {
        facts.from_site += 1;
    }
}

/// The page before is one of the same host, as far as the line says.
fn comes_from_the_site(row: &Row<'_>) -> bool {
    if row.hit.host.is_empty() {
        return false;
    }
    let origin = row.hit.referer.as_deref().and_then(origin);
    origin.is_some_and(|(_, host)| host.eq_ignore_ascii_case(&row.hit.host))
}

/// Scheme and host of a referrer.
pub(super) fn origin(referer: &str) -> Option<(&str, &str)> {
    let at = memchr::memchr(b':', referer.as_bytes())?;
    let (scheme, rest) = (referer.get(..at)?, referer.get(at..)?.strip_prefix("://")?);
    let end = memchr::memchr3(b'/', b'?', b'#', rest.as_bytes()).unwrap_or(rest.len());
    Some((scheme, rest.get(..end)?))
}

fn add_deckle(of: &mut DeckleFacts, fields: &crate::audit::reader::DeckleFields<'_>) {
    let place = |code: &str| Action::ALL.iter().position(|action| action.code() == code);
    if let Some(done) = place(&fields.action).and_then(|at| of.done.get_mut(at)) {
        *done += 1;
    }
    if let Some(would) = fields.would_action.as_deref().and_then(place).and_then(|at| of.would.get_mut(at)) {
        *would += 1;
    }
    let disturbs = Action::from_code(&fields.action).is_some_and(|action| action.is_at_least(Action::Slow));
    let was_refused = fields.challenge.as_deref() == Some("issued") || disturbs;
    of.asn = fields.asn.or(of.asn);
    of.disturbed += u32::from(was_refused);
    of.passed += u32::from(fields.challenge.as_deref().is_some_and(|step| step.starts_with("passed")));
    if let Some(mark) = &fields.mark {
        of.marks.insert(twox_hash::XxHash3_64::oneshot(mark.as_bytes()));
    }
    for signal in &fields.signals {
        let name = signal.split_once(':').map_or(signal.as_ref(), |(name, _)| name);
        let room = of.signals.len() < 64;
        match of.signals.iter_mut().find(|(known, _)| known.as_ref() == name) {
            Some((_, times)) => *times += 1,
            None if room => of.signals.push((name.into(), 1)),
            None => {}
        }
    }
}
