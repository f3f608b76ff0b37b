//! The marks of a log, for tracing. They are found by their keys in the bytes of the lines; a line is parsed only where
//! more of it is asked for.
//!
//! A quote in a string of JSON is escaped: what looks like a key is one.

mod lines;
mod scan;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{InputError, Progress};
use crate::audit::reader::{Format, Line, PlanLine, Reader, rfc3339};
use crate::watermark::{Candidates, Mark, VariantNote};
use lines::Finders;

/// Authored alternatives that are kept.
const MAX_VARIANTS: usize = 100_000;

/// Which responses count.
#[derive(Debug, Clone, Default)]
pub struct MarkFilter {
    /// Not before this moment.
    pub since: Option<Duration>,
    /// Before this moment.
    pub until: Option<Duration>,
    /// Only of pages at this path.
    pub page: Option<String>,
}

impl MarkFilter {
    /// Does a line count? What does not say its time was not at a time that is asked for.
    fn takes(&self, line: &[u8], finders: &Finders) -> bool {
        if self.since.is_some() || self.until.is_some() {
            let time = finders.time.raw(line).and_then(|text| rfc3339(std::str::from_utf8(text).ok()?));
            let inside = |time: Duration| {
                self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
            };
            if !time.is_some_and(inside) {
                return false;
            }
        }
        self.page.as_deref().is_none_or(|page| finders.path.value(line).is_some_and(|path| path == page))
    }
}

/// How marks are read.
#[derive(Clone, Copy)]
pub struct MarkReading<'r> {
    /// Which responses count.
    pub filter: &'r MarkFilter,
    /// Marks are told apart by who had them, too: the address and the user agent, as the log has them.
    pub by_visitor: bool,
    /// Threads; 16 at most; 0: one for each core, two at least. Several may work on one segment.
    pub jobs: usize,
    /// Ends it early.
    pub stop: &'r AtomicBool,
    /// Hears how far it is; called by any thread.
    pub progress: &'r (dyn Fn(Progress) + Sync),
}

impl fmt::Debug for MarkReading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkReading")
            .field("filter", &self.filter)
            .field("by_visitor", &self.by_visitor)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// The marks of a log, and what it says of its pages.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LogMarks {
    /// Each mark once.
    pub candidates: Candidates,
    /// Alternatives that the pages of the log have, each once.
    pub variants: Vec<VariantNote>,
    /// Responses that carried a mark.
    pub responses: u64,
    /// Visitors, where marks are told apart by them.
    pub visitors: u64,
    /// What could not be read; all else was.
    pub errors: Vec<InputError>,
}

/// A response that carried a mark.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MarkedResponse {
    /// Since 1970.
    pub time: Duration,
    /// Its id.
    pub request_id: String,
    /// The plan of its page.
    pub plan: Option<String>,
    /// Path, as it is logged.
    pub path: String,
    /// The writer of the line.
    pub instance: String,
    /// The site.
    pub site: String,
    /// Pseudonym of the visitor.
    pub visitor: String,
    /// Category of the visitor.
    pub category: String,
    /// 0–100.
    pub score: u8,
    /// What was done.
    pub action: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Address, as it is logged.
    pub address: String,
    /// The segment that its line stands in.
    pub segment: PathBuf,
}

/// What all threads add to.
#[derive(Default)]
struct Sums {
    candidates: Candidates,
    variants: HashSet<(Bytes, [Bytes; 2])>,
}

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the marks of log directories or segments. What it holds of them grows with the marks that are distinct, and not
/// with the lines. `each_page` hears what the log says of each page, from any thread.
pub fn read_marks(dirs: &[PathBuf], reading: &MarkReading<'_>, each_page: &(dyn Fn(&PlanLine) + Sync)) -> LogMarks {
    let finders = Finders::new();
    let pass = First { reading, finders: &finders, each_page, hash: RandomState::new(), sums: Mutex::default() };
    let responses = AtomicU64::new(0);
    let errors = scan::scan(dirs, reading, &|_: &Path, bytes: &[u8]| {
        responses.fetch_add(pass.chunk(bytes), Ordering::Relaxed);
    });
    let Sums { candidates, variants } = pass.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut variants: Vec<VariantNote> =
        variants.into_iter().map(|(context, alternatives)| VariantNote { context, alternatives }).collect();
    variants.sort_by(|a, b| (&a.context, &a.alternatives).cmp(&(&b.context, &b.alternatives)));
    let candidates = candidates.finish();
    LogMarks { visitors: candidates.groups(), candidates, variants, responses: responses.into_inner(), errors }
}

/// Which marks there are.
struct First<'f> {
    reading: &'f MarkReading<'f>,
    finders: &'f Finders,
    each_page: &'f (dyn Fn(&PlanLine) + Sync),
    hash: RandomState,
    sums: Mutex<Sums>,
}

impl First<'_> {
    /// Reads whole lines, and says how many of them carry a mark that counts.
    fn chunk(&self, bytes: &[u8]) -> u64 {
        let filter = self.reading.filter;
        let whole_lines = filter.since.is_some() || filter.until.is_some() || filter.page.is_some();
        let mut found: Vec<(Mark, u64)> = Vec::new();
        for (at, mark) in self.finders.marks(bytes) {
            let mut group = 0;
            if whole_lines || self.reading.by_visitor {
                let line = lines::line_at(bytes, at);
                if whole_lines && !filter.takes(line, self.finders) {
                    continue;
                }
                group = self.group(line);
            }
            found.push((mark, group));
        }
        self.add(&found);
        self.pages(bytes);
        found.len() as u64
    }

    fn add(&self, found: &[(Mark, u64)]) {
        let mut sums = lock(&self.sums);
        for (mark, group) in found.iter().copied() {
            if self.reading.by_visitor {
                sums.candidates.push_of(mark, group);
            } else {
                sums.candidates.push(mark);
            }
        }
    }

    /// Who it was: the pseudonym lasts a day, address and user agent longer.
    fn group(&self, line: &[u8]) -> u64 {
        match self.finders.address.raw(line) {
            Some(address) => self.hash.hash_one((address, self.finders.agent.raw(line))),
            None => self.hash.hash_one(self.finders.visitor.raw(line)),
        }
    }

    fn pages(&self, bytes: &[u8]) {
        let mut reader = None;
        for at in self.finders.pages(bytes) {
            let reader = reader.get_or_insert_with(|| Reader::new(Format::Deckle));
            let Line::Other(note) = reader.read(lines::line_at(bytes, at)) else { continue };
            let Some(plan) = note.plan else { continue };
            if note.kind == "page" && self.reading.filter.page.as_ref().is_none_or(|page| *page == plan.path) {
                (self.each_page)(&plan);
            }
            let mut sums = lock(&self.sums);
            for one in plan.variants {
                if sums.variants.len() < MAX_VARIANTS {
                    sums.variants.insert((one.context, one.alternatives));
                }
            }
        }
    }
}

/// Gives each response that carried one of these marks, from any thread and in no order.
pub fn responses_of(
    dirs: &[PathBuf],
    marks: &BTreeSet<Mark>,
    reading: &MarkReading<'_>,
    each: &(dyn Fn(Mark, MarkedResponse) + Sync),
) -> Vec<InputError> {
    let finders = Finders::new();
    scan::scan(dirs, reading, &|segment: &Path, bytes: &[u8]| {
        let mut reader = None;
        for (at, mark) in finders.marks(bytes).filter(|(_, mark)| marks.contains(mark)) {
            let line = lines::line_at(bytes, at);
            let reader = reader.get_or_insert_with(|| Reader::new(Format::Deckle));
            if let Some(response) =
                reading.filter.takes(line, &finders).then(|| response(reader, line, segment)).flatten()
            {
                each(mark, response);
            }
        }
    })
}

fn response(reader: &mut Reader, line: &[u8], segment: &Path) -> Option<MarkedResponse> {
    let Line::Hit(hit) = reader.read(line) else { return None };
    let fields = *hit.deckle?;
    Some(MarkedResponse {
        time: hit.time,
        request_id: fields.request_id.into_owned(),
        plan: fields.mark_plan.map(std::borrow::Cow::into_owned),
        path: hit.path.into_owned(),
        instance: fields.instance.into_owned(),
        site: fields.site.into_owned(),
        visitor: fields.visitor.into_owned(),
        category: fields.category.into_owned(),
        score: fields.score,
        action: fields.action.into_owned(),
        user_agent: hit.user_agent.unwrap_or_default().into_owned(),
        address: hit.address.into_owned(),
        segment: segment.to_owned(),
    })
}

#[cfg(test)]
mod tests;
