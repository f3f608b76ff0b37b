//! What the log has to say: once for its marks and pages, and once more for the responses of the marks that were found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::copy::Copy;
use super::pick::{OfMark, Pages};
use crate::cli::output;
use crate::cli::review::ProgressLine;
use crate::review::{
    InputError, LogMarks, MarkFilter, MarkReading, Source, Standing, files, lines_stand, read_marks, responses_of,
};
use crate::watermark::{Mark, Trace};

/// The log directories, and which of their responses count.
pub(super) struct Log {
    pub(super) dirs: Vec<PathBuf>,
    pub(super) filter: MarkFilter,
    pub(super) by_visitor: bool,
    /// Something could not be read.
    pub(super) is_partial: bool,
}

impl Log {
    /// Is there any?
    pub(super) fn is_there(&self) -> bool {
        self.dirs.iter().any(|dir| files(dir).is_ok())
    }

    /// All marks, and for each copy the pages that have most in common with it.
    pub(super) fn marks(&mut self, copies: &mut [Copy], stop: &AtomicBool) -> (LogMarks, Vec<Pages>) {
        let pages: Vec<Mutex<Pages>> = copies.iter().map(|_| Mutex::default()).collect();
        let mut marks = self.with_progress(stop, |log, reading| {
            read_marks(&log.dirs, reading, &|line| {
                for (copy, pages) in copies.iter().zip(&pages) {
                    let overlap = copy.seen.overlap(&line.sketch);
                    if let Ok(mut pages) = pages.lock() {
                        pages.offer(line, overlap);
                    }
                }
            })
        });
        self.complain(std::mem::take(&mut marks.errors));
        let pages: Vec<Pages> = pages.into_iter().map(|pages| pages.into_inner().unwrap_or_default()).collect();
        for (copy, pages) in copies.iter_mut().zip(&pages) {
            if pages.all().iter().any(|page| page.overlap.is_ours()) {
                copy.seen.set_ours();
            }
        }
        (marks, pages)
    }

    /// The responses of all marks that were found, by mark.
    pub(super) fn responses<'t>(
        &mut self,
        traces: impl Iterator<Item = &'t Trace>,
        pages: &[Pages],
        stop: &AtomicBool,
    ) -> BTreeMap<Mark, OfMark> {
        let marks: BTreeSet<Mark> = traces.flat_map(|trace| &trace.hits).map(|hit| hit.mark).collect();
        if marks.is_empty() {
            return BTreeMap::new();
        }
        let found = || pages.iter().flat_map(Pages::found);
        let plans: BTreeSet<&str> = found().map(|page| page.plan.as_str()).collect();
        let paths: BTreeSet<&str> = found().map(|page| page.path.as_str()).collect();
        let all: Mutex<BTreeMap<Mark, OfMark>> = Mutex::default();
        let errors = self.with_progress(stop, |log, reading| {
            responses_of(&log.dirs, &marks, reading, &|mark, response| {
                let near = response.plan.as_deref().is_some_and(|plan| plans.contains(plan))
                    || paths.contains(response.path.as_str());
                if let Ok(mut all) = all.lock() {
                    all.entry(mark).or_default().add(response, near);
                }
            })
        });
        // The first reading has told of everything that is missing; what was there then and is not now is new.
        if !self.is_partial {
            self.complain(errors);
        }
        all.into_inner().unwrap_or_default()
    }

    /// Do the lines of these requests stand in their segments as they were written?
    pub(super) fn stand(&mut self, segments: &BTreeSet<PathBuf>, requests: &BTreeSet<String>) -> Standing {
        let mut sum = Standing::default();
        for segment in segments {
            match lines_stand(&[present(segment)], requests) {
                Ok(one) => {
                    sum.proved += one.proved;
                    sum.unsealed += one.unsealed;
                    sum.changed += one.changed;
                }
                Err(error) => {
                    output::complain(&error.into());
                    self.is_partial = true;
                }
            }
        }
        sum
    }

    fn with_progress<T>(&self, stop: &AtomicBool, read: impl FnOnce(&Self, &MarkReading<'_>) -> T) -> T {
        let sources: Vec<Source> =
            self.dirs.iter().flat_map(|dir| files(dir).unwrap_or_default()).map(Source::Path).collect();
        let line = Mutex::new(ProgressLine::new(&sources));
        let show = |at| {
            // Whoever draws draws for all.
            if let Ok(mut line) = line.try_lock() {
                line.show(at);
            }
        };
        let reading = MarkReading { filter: &self.filter, by_visitor: self.by_visitor, jobs: 0, stop, progress: &show };
        let result = read(self, &reading);
        if let Ok(line) = line.lock() {
            line.clear();
        }
        result
    }

    fn complain(&mut self, errors: Vec<InputError>) {
        for error in errors {
            output::complain(&error.into());
            self.is_partial = true;
        }
    }
}

/// A segment may have been compressed since it was read.
fn present(segment: &Path) -> PathBuf {
    let named = |end: &str| {
        let mut name = segment.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    [".zst", ".gz"].map(named).into_iter().find(|path| !segment.exists() && path.exists()).unwrap_or_else(|| named(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_found_again_under_the_name_that_it_has_now() {
        let dir = std::env::temp_dir().join(format!("deckle-trace-present-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let plain = dir.join("audit-w1-20261120T100000Z-1.ndjson");
        assert_eq!(present(&plain), plain, "nobody knows another name");
        for end in ["gz", "zst"] {
            let compressed = plain.with_extension(format!("ndjson.{end}"));
            std::fs::write(&compressed, "").unwrap();
            assert_eq!(present(&plain), compressed);
            std::fs::write(&plain, "").unwrap();
            assert_eq!(present(&plain), plain, "half compressed");
            std::fs::remove_file(&plain).unwrap();
            std::fs::remove_file(&compressed).unwrap();
        }
        std::fs::remove_dir(dir).unwrap();
    }
}
