//! How a client finds its way: people wander, programs work off a list and what they find.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use deckle::rights::robots::Robots;
use fastrand::Rng;

use crate::document::{Document, on_site};
use crate::profile::{Follow, PathPlan, Profile};
use crate::site::{PageKind, Site, kind};

/// Paths in a row that robots.txt forbids, after which a program gives up.
const MOST_SKIPPED: usize = 10_000;
const SEARCH_ENGINE: &str = "https://search.example/";

/// A page to open.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) path: String,
    /// The page that led here: a path of the site, or an address elsewhere.
    pub(crate) from: Option<String>,
    /// Challenges that stood in front of it.
    pub(crate) challenged: u64,
}

impl Visit {
    fn new(path: String, from: Option<String>) -> Self {
        Self { path, from, challenged: 0 }
    }
}

/// The way of one client.
#[derive(Debug)]
pub(crate) struct Walk {
    site: Site,
    /// Pages that were refused, to be asked for again.
    again: Vec<Visit>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Wander { here: Option<String>, links: Vec<String> },
    List(Box<List>),
}

/// What a program works off.
#[derive(Debug)]
struct List {
    entries: Arc<Vec<String>>,
    /// Each client begins at another entry.
    first: usize,
    taken: usize,
    found: VecDeque<Visit>,
    seen: HashSet<String>,
    plan: PathPlan,
    /// The name by which it obeys robots.txt.
    obeys: Option<String>,
    rules: Option<Robots>,
}

/// The list of a profile, which its clients share.
pub(crate) fn entries(profile: &Profile, site: &Site) -> Arc<Vec<String>> {
    let plan = &profile.path.entry;
    if plan.as_slice() == ["{articles}"] && profile.manners.robots.is_none() {
        return site.articles();
    }
    let mut entries = Vec::new();
    if profile.manners.robots.is_some() {
        entries.push("/robots.txt".to_owned());
    }
    for entry in plan {
        match (entry.as_str(), counted(entry)) {
            ("{articles}", _) => entries.extend(site.articles().iter().cloned()),
            (_, Some(counted)) => entries.extend(counted),
            _ => entries.push(entry.clone()),
        }
    }
    Arc::new(entries)
}

/// `/a?page={1..20}` as twenty paths.
fn counted(entry: &str) -> Option<Vec<String>> {
    let (before, rest) = entry.split_once('{')?;
    let (range, after) = rest.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let numbers = first.parse::<u32>().ok()?..=last.parse().ok()?;
    Some(numbers.map(|n| format!("{before}{n}{after}")).collect())
}

impl Walk {
    pub(crate) fn new(profile: &Profile, site: &Site, entries: &Arc<Vec<String>>, client: usize) -> Self {
        let way = if profile.wanders() {
            Way::Wander { here: None, links: Vec::new() }
        } else {
            Way::List(Box::new(List {
                entries: Arc::clone(entries),
                first: client * entries.len() / profile.clients,
                taken: 0,
                found: VecDeque::new(),
                seen: HashSet::new(),
                plan: profile.path.clone(),
                obeys: profile.manners.robots.clone(),
                rules: None,
            }))
        };
        Self { site: site.clone(), again: Vec::new(), way }
    }

    /// The next pages; none: the walk is over.
    pub(crate) fn next(&mut self, count: usize, rng: &mut Rng) -> Vec<Visit> {
        if !self.again.is_empty() {
            let rest = self.again.split_off(count.min(self.again.len()));
            return std::mem::replace(&mut self.again, rest);
        }
        match &mut self.way {
            Way::Wander { here, links } => match here {
                None => vec![arrive(&self.site, rng)],
                Some(here) => wander(here, links, count, &self.site, rng),
            },
            Way::List(list) => (0..count).map_while(|_| list.take(&self.site, rng)).collect(),
        }
    }

    /// To be asked for again.
    pub(crate) fn again(&mut self, visit: Visit) {
        self.again.push(visit);
    }

    /// A page came.
    pub(crate) fn saw(&mut self, visit: &Visit, document: &Document, body: &str) {
        match &mut self.way {
            Way::Wander { here, links } => {
                *here = Some(visit.path.clone());
                links.clear();
                links.extend(document.anchors.iter().filter(|anchor| !anchor.hidden).map(|anchor| anchor.path.clone()));
            }
            Way::List(list) => list.saw(visit, document, body),
        }
    }

    /// The visit to the site is over; the next one begins anew.
    pub(crate) fn leave(&mut self) {
        if let Way::Wander { here, .. } = &mut self.way {
            *here = None;
        }
    }
}

/// People come to the front page, to a section that they like, or to an article that a search engine has shown.
fn arrive(site: &Site, rng: &mut Rng) -> Visit {
    match rng.f64() {
        0.0..0.6 => Visit::new("/".to_owned(), None),
        0.6..0.75 => Visit::new(Site::section(rng), None),
        _ => Visit::new(site.article(rng), Some(SEARCH_ENGINE.to_owned())),
    }
}

fn wander(here: &str, links: &[String], count: usize, site: &Site, rng: &mut Rng) -> Vec<Visit> {
    let chance = rng.f64();
    let wanted = match kind(here) {
        _ if count > 1 => PageKind::Article,
        PageKind::Front | PageKind::Section if chance < 0.75 => PageKind::Article,
        PageKind::Article if chance < 0.45 => PageKind::Article,
        PageKind::Section if chance < 0.9 => PageKind::Section,
        PageKind::Article if chance < 0.75 => PageKind::Section,
        PageKind::Front => PageKind::Section,
        _ => PageKind::Front,
    };
    let fitting: Vec<&String> = links.iter().filter(|link| kind(link) == wanted && *link != here).collect();
    let chosen = rng.choose_multiple(fitting, count);
    if chosen.is_empty() {
        return vec![arrive(site, rng)];
    }
    chosen.into_iter().map(|link| Visit::new(link.clone(), Some(here.to_owned()))).collect()
}

impl List {
    fn take(&mut self, site: &Site, rng: &mut Rng) -> Option<Visit> {
        for _ in 0..MOST_SKIPPED {
            let found = if self.plan.depth_first { self.found.pop_back() } else { self.found.pop_front() };
            let visit = match found {
                Some(visit) => visit,
                None => Visit::new(self.entry(site, rng)?, None),
            };
            let rules = self.obeys.as_deref().zip(self.rules.as_ref());
            if rules.is_none_or(|(name, rules)| rules.allows(name, &visit.path)) {
                return Some(visit);
            }
        }
        None
    }

    fn entry(&mut self, site: &Site, rng: &mut Rng) -> Option<String> {
        if self.taken >= self.entries.len() {
            if !self.plan.repeat {
                return None;
            }
            self.taken = 0;
            self.seen.clear();
        }
        let entry = self.entries.get((self.first + self.taken) % self.entries.len().max(1))?;
        self.taken += 1;
        Some(match entry.as_str() {
            "{article}" => site.article(rng),
            "{section}" => Site::section(rng),
            path => path.to_owned(),
        })
    }

    fn saw(&mut self, visit: &Visit, document: &Document, body: &str) {
        if self.obeys.is_some() && visit.path == "/robots.txt" {
            self.rules = Some(Robots::parse(body.as_bytes()));
        }
        let mut found: Vec<String> = Vec::new();
        for follow in &self.plan.follow {
            match follow {
                Follow::Anchors => found.extend(document.anchors.iter().map(|anchor| anchor.path.clone())),
                Follow::Next => found.extend(document.next.clone()),
                Follow::Locations => found.extend(locations(body)),
                Follow::Disallowed if visit.path == "/robots.txt" => found.extend(disallowed(body)),
                Follow::Disallowed => {}
            }
        }
        // A list of addresses is nothing that sends a referrer.
        let from = (!document.anchors.is_empty()).then(|| visit.path.clone());
        for path in found {
            if self.seen.insert(path.clone()) {
                self.found.push_back(Visit::new(path, from.clone()));
            }
        }
    }
}

/// The addresses of a sitemap.
fn locations(body: &str) -> impl Iterator<Item = String> {
    body.split("<loc>").skip(1).filter_map(|part| on_site(part.split("</loc>").next()?))
}

/// Paths of robots.txt that can be asked for as they stand.
fn disallowed(body: &str) -> impl Iterator<Item = String> {
    let paths = body.lines().filter_map(|line| line.strip_prefix("Disallow:")).map(str::trim);
    paths.filter(|path| path.starts_with('/') && path.len() > 1 && !path.contains(['*', '$'])).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted() {
        assert_eq!(counted("/a?p={1..3}").unwrap(), ["/a?p=1", "/a?p=2", "/a?p=3"]);
        assert_eq!(counted("{article}"), None);
    }

    #[test]
    fn people_wander_from_page_to_page() {
        let (site, mut rng) = (Site::new(), Rng::with_seed(7));
        let links = [site.article(&mut rng), "/world".to_owned(), "/".to_owned()];
        for _ in 0..50 {
            let next = wander("/", &links, 1, &site, &mut rng);
            assert_eq!(next.len(), 1);
        }
        assert_eq!(wander("/", &links, 8, &site, &mut rng).len(), 1, "there is one article only");
    }
}
