//! Which pages a copy is from, and which responses of a mark had them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::reader::PlanLine;
use crate::review::MarkedResponse;
use crate::watermark::Overlap;

/// Pages that are kept.
const MOST: usize = 8;
/// Places in common below which two texts may share a phrase and nothing else.
const FEW: u32 = 4;

/// A page that has something in common with a copy.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) plan: String,
    pub(super) path: String,
    pub(super) overlap: Overlap,
}

impl Page {
    /// Is most of the copy from this page, or most of the page in the copy?
    pub(super) fn is_in(&self) -> bool {
        let Overlap { found, of, .. } = self.overlap;
        self.overlap.is_ours() || (found >= FEW && 2 * found >= of)
    }
}

/// The pages that have most in common with a copy, best first.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages(Vec<Page>);

impl Pages {
    pub(super) fn offer(&mut self, line: &PlanLine, overlap: Overlap) {
        // Each segment tells of a page again.
        if overlap.found == 0 || self.0.iter().any(|page| page.plan == line.id && page.path == line.path) {
            return;
        }
        self.0.push(Page { plan: line.id.clone(), path: line.path.clone(), overlap });
        // Segments are read in no order: what is kept must not depend on it.
        self.0.sort_by(|a, b| {
            b.overlap.found.cmp(&a.overlap.found).then_with(|| a.path.cmp(&b.path)).then_with(|| a.plan.cmp(&b.plan))
        });
        self.0.truncate(MOST);
    }

    pub(super) fn all(&self) -> &[Page] {
        &self.0
    }

    /// The pages that it is from.
    pub(super) fn found(&self) -> impl Iterator<Item = &Page> {
        self.0.iter().filter(|page| page.is_in())
    }

    /// Pages of several copies.
    pub(super) fn join<'p>(all: impl IntoIterator<Item = &'p Self>) -> Self {
        let mut joined: Vec<Page> = all.into_iter().flat_map(|pages| pages.0.iter().cloned()).collect();
        joined.sort_by(|a, b| b.overlap.found.cmp(&a.overlap.found).then_with(|| a.plan.cmp(&b.plan)));
        Self(joined)
    }
}

/// By what responses were picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picked {
    /// They had this form of the page.
    Plan,
    /// They had a page at this path.
    Path,
    /// They carried the mark; which page the copy is from is not known.
    Mark,
}

impl Picked {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Path => "path",
            Self::Mark => "mark",
        }
    }

    /// For people.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Plan => "form of the page",
            Self::Path => "path",
            Self::Mark => "mark only",
        }
    }
}

/// All responses of one mark, as far as they are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct OfMark {
    /// Of pages that a copy may be from.
    near: Earliest,
    other: Earliest,
    pub(super) count: u64,
    first: Option<Duration>,
    last: Option<Duration>,
    /// Who had the mark: writer, site and day, and the pseudonym, which is one of theirs.
    holders: BTreeSet<([String; 2], u64, String)>,
    /// The same for longer.
    readers: BTreeSet<Reader>,
}

/// Who had a mark: address and user agent, which may be those of several; writer, site and day; and the pseudonym of that day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reader {
    pub(super) name: (String, String),
    pub(super) day: ([String; 2], u64),
    pub(super) pseudonym: String,
}

/// Responses of one mark that are kept of either kind.
const KEPT: usize = 1_000;
/// More than one is enough to say so.
const MAX_HOLDERS: usize = 100;
/// Readers of one form of a page, where many share one.
const MAX_READERS: usize = 100_000;

/// The earliest of some responses. They come from several threads, in an order that is another one each time.
#[derive(Debug, Clone, Default)]
struct Earliest(Vec<MarkedResponse>);

impl Earliest {
    fn add(&mut self, response: MarkedResponse) {
        self.0.push(response);
        if self.0.len() >= 2 * KEPT {
            self.0.sort_unstable_by(order);
            self.0.truncate(KEPT);
        }
    }

    fn all(&self) -> impl Iterator<Item = &MarkedResponse> {
        let mut all: Vec<&MarkedResponse> = self.0.iter().collect();
        all.sort_unstable_by(|a, b| order(a, b));
        all.truncate(KEPT);
        all.into_iter()
    }
}

/// By time; ids tell apart what is of one time.
fn order(a: &MarkedResponse, b: &MarkedResponse) -> Ordering {
    a.time.cmp(&b.time).then_with(|| a.request_id.cmp(&b.request_id))
}

impl OfMark {
    pub(super) fn add(&mut self, response: MarkedResponse, near: bool) {
        self.count += 1;
        self.first = Some(self.first.map_or(response.time, |first| first.min(response.time)));
        self.last = self.last.max(Some(response.time));
        let day = response.time.as_secs() / 86_400;
        let writer = [response.instance.clone(), response.site.clone()];
        let name = (response.address.clone(), response.user_agent.clone());
        let reader = Reader { name, day: (writer.clone(), day), pseudonym: response.visitor.clone() };
        insert(&mut self.holders, (writer, day, response.visitor.clone()), MAX_HOLDERS);
        insert(&mut self.readers, reader, MAX_READERS);
        let kept = if near { &mut self.near } else { &mut self.other };
        kept.add(response);
    }

    /// Did more than one visitor have it?
    pub(super) fn collides(&self) -> bool {
        let mut days = self.holders.iter().map(|(writer, day, _)| (writer, day));
        let first = days.next();
        // Sorted by writer and day: two of one day stand side by side.
        days.scan(first, |last, next| Some(last.replace(next) == Some(next))).any(|same| same)
    }

    /// All who had it.
    pub(super) fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter()
    }

    /// The responses that a copy from these pages came by, in the order of time.
    pub(super) fn pick(&self, pages: &Pages) -> (Picked, Vec<&MarkedResponse>) {
        let has_plan =
            |one: &&MarkedResponse| one.plan.as_ref().is_some_and(|plan| pages.found().any(|page| page.plan == *plan));
        let has_path = |one: &&MarkedResponse| pages.found().any(|page| page.path == one.path);
        let mut picked = (Picked::Plan, self.near.all().filter(has_plan).collect::<Vec<_>>());
        if picked.1.is_empty() {
            picked = (Picked::Path, self.near.all().filter(has_path).collect());
        }
        if picked.1.is_empty() {
            picked = (Picked::Mark, self.near.all().chain(self.other.all()).collect());
            picked.1.sort_unstable_by(|a, b| order(a, b));
        }
        picked
    }

    /// When the first and the last of all of them were.
    pub(super) fn times(&self) -> Option<(Duration, Duration)> {
        self.first.zip(self.last)
    }
}

/// Keeps the first ones of a set: which these are does not depend on the order in which they come.
fn insert<T: Ord>(set: &mut BTreeSet<T>, one: T, most: usize) {
    set.insert(one);
    if set.len() > most {
        set.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, path: &str) -> PlanLine {
        let mut line = PlanLine::default();
        (line.id, line.path) = (id.to_owned(), path.to_owned());
        line
    }

    fn response(id: &str, plan: &str, path: &str, second: u64) -> MarkedResponse {
        let mut response = MarkedResponse::default();
        (response.request_id, response.path) = (id.to_owned(), path.to_owned());
        (response.plan, response.visitor) = (Some(plan.to_owned()), "ann".to_owned());
        response.time = Duration::from_secs(second);
        response
    }

    fn overlap(found: u32, of: u32, copy: u32) -> Overlap {
        Overlap { found, of, copy }
    }

    #[test]
    fn the_best_pages_are_kept_in_any_order() {
        let offers: Vec<(PlanLine, u32)> =
            (0..20).map(|n| (line(&format!("p{n:02}"), "/a"), if n == 3 { 90 } else { n })).collect();
        let mut pages = [Pages::default(), Pages::default()];
        for (line, found) in offers.iter().chain(&offers) {
            pages[0].offer(line, overlap(*found, 128, 128));
        }
        for (line, found) in offers.iter().rev() {
            pages[1].offer(line, overlap(*found, 128, 128));
        }
        let names = |pages: &Pages| pages.all().iter().map(|page| page.plan.clone()).collect::<Vec<_>>();
        assert_eq!(names(&pages[0]), ["p03", "p19", "p18", "p17", "p16", "p15", "p14", "p13"]);
        assert_eq!(names(&pages[0]), names(&pages[1]));
        assert_eq!(pages[0].found().count(), 1);
    }

    #[test]
    fn responses_are_picked_by_plan_then_path_then_mark() {
        let mut of = OfMark::default();
        of.add(response("r3", "old", "/a", 30), true);
        of.add(response("r2", "new", "/a", 20), true);
        of.add(response("r1", "else", "/b", 10), false);
        assert_eq!(of.times().map(|(first, last)| (first.as_secs(), last.as_secs())), Some((10, 30)));
        let picked = |plan: &str, path: &str| {
            let mut pages = Pages::default();
            pages.offer(&line(plan, path), overlap(100, 128, 128));
            let (by, responses) = of.pick(&pages);
            (by, responses.iter().map(|one| one.request_id.as_str()).collect::<Vec<_>>())
        };
        assert_eq!(picked("new", "/a"), (Picked::Plan, vec!["r2"]));
        assert_eq!(picked("third", "/a"), (Picked::Path, vec!["r2", "r3"]));
        assert_eq!(picked("third", "/c"), (Picked::Mark, vec!["r1", "r2", "r3"]));
        assert_eq!(of.pick(&Pages::default()).0, Picked::Mark);
    }

    #[test]
    fn what_is_kept_does_not_depend_on_the_order_in_which_it_comes() {
        let kept = |seconds: &mut dyn Iterator<Item = u64>| {
            let mut of = OfMark::default();
            for second in seconds {
                let mut one = response(&format!("r{second}"), "p", "/a", second);
                one.visitor = format!("v{second}");
                of.add(one, second % 2 == 0);
            }
            let (by, responses) = of.pick(&Pages::default());
            let seconds: Vec<u64> = responses.iter().map(|one| one.time.as_secs()).collect();
            (by, seconds, of.holders, of.count)
        };
        let most = 5 * KEPT as u64;
        let (by, seconds, holders, count) = kept(&mut (0..most));
        assert_eq!((by, &seconds, count), (Picked::Mark, &(0..2 * KEPT as u64).collect::<Vec<u64>>(), most));
        assert_eq!(kept(&mut (0..most).rev()), (by, seconds, holders, count));
    }

    #[test]
    fn a_mark_of_two_visitors_of_one_day_collides() {
        let mut of = OfMark::default();
        of.add(response("r1", "p", "/a", 10), true);
        let mut next_day = response("r2", "p", "/a", 90_000);
        next_day.visitor = "bob".to_owned();
        of.add(next_day, true);
        assert!(!of.collides(), "pseudonyms last a day");
        let mut same_day = response("r3", "p", "/a", 20);
        same_day.visitor = "bob".to_owned();
        of.add(same_day, true);
        assert!(of.collides());
    }
}
