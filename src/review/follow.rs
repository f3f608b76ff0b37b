//! Reviews of what is still being written.

use std::path::Path;

use super::engine::{self, Counts, Followed};
use super::input::{InputError, Source, files};
use super::{Progress, Review, Reviewed};

/// What has been read so far; more may come.
#[derive(Debug)]
pub struct Live<'l> {
    review: &'l Review,
    counts: &'l mut Counts,
    sources: &'l [Source],
    given: &'l [Source],
}

impl Live<'_> {
    /// How much that is.
    pub fn progress(&self) -> Progress {
        Progress { bytes: self.counts.quality.bytes, lines: self.counts.quality.lines }
    }

    /// Everything that was there at the start has been read.
    pub fn has_caught_up(&self) -> bool {
        self.counts.caught_up
    }

    /// Nothing comes after this.
    pub fn is_over(&self) -> bool {
        self.counts.over
    }

    /// What there is to know about the input, in words; none is ever taken away.
    pub fn notes(&self) -> &[String] {
        &self.counts.quality.notes
    }

    /// The report on it. Windows count what lies within the last of each span.
    pub fn reviewed(&mut self) -> Reviewed {
        self.counts.finish();
        let windowed = self.counts.windowed_now();
        Reviewed { windowed, ..self.review.reviewed(self.counts, self.sources, self.given) }
    }
}

impl Review {
    /// Reads files, directories and standard input, and goes on as they grow; until it is [stopped](Self::stop), or until
    /// standard input ends and there is nothing else. Files may be rotated, be cut short, or not be there yet; rows of a
    /// table are read once.
    ///
    /// `each` is called whenever something has come, and otherwise ten times a second. What is counted begins with the
    /// first line that is there.
    pub fn follow(&self, sources: &[Source], each: &mut dyn FnMut(&mut Live<'_>)) -> Reviewed {
        let plan = self.plan_for(sources);
        let (followed, errors) = expand(sources);
        let mut told = errors;
        let (mut counts, found) = engine::follow(followed, &plan, &self.stop, &mut |counts, found| {
            told.drain(..).for_each(|error| counts.note_error(error));
            each(&mut Live { review: self, counts, sources: found, given: sources });
        });
        let bad_lines = super::bad_lines(&mut counts, &found);
        let errors = std::mem::take(&mut counts.errors);
        Reviewed { errors, bad_lines, ..self.reviewed(&counts, &found, sources) }
    }
}

/// What is named, then what is in the directories; a directory may be empty yet.
fn expand(sources: &[Source]) -> (Followed, Vec<InputError>) {
    let (dirs, named): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| matches!(source, Source::Path(path) if Path::is_dir(path)));
    let mut all: Vec<Source> = named.into_iter().cloned().collect();
    let mut followed = Followed { sources: Vec::new(), named: all.len(), dirs: Vec::new() };
    let mut errors = Vec::new();
    for source in dirs {
        let Source::Path(dir) = source else { continue };
        match files(dir) {
            Ok(found) => all.extend(found.into_iter().map(Source::Path)),
            Err(InputError::NoLog { .. }) => {}
            Err(error) => errors.push(error),
        }
        followed.dirs.push(dir.clone());
    }
    followed.sources = all;
    (followed, errors)
}
