//! What is to be done with a page, once its charset is known.

use std::sync::Arc;

use super::Stage;
use crate::page::charset::Charset;
use crate::page::encoding::Coding;
use crate::page::plan::{Confirm, Known, Log, Place};
use crate::page::rewrite::{Job, Rewriter};
use crate::slot::Choose;

/// Makes the work once the charset is known.
pub(crate) type Start = Box<dyn FnOnce(Charset, usize) -> Work + Send>;

/// What is to be done with a page.
pub(crate) struct Work {
    pub(crate) job: Job,
    pub(crate) choose: Box<dyn Choose>,
    /// Where its plan is, if it may have one.
    pub(crate) place: Option<Place>,
}

impl Work {
    pub(super) fn begin(mut self, outgoing: Coding) -> Stage {
        let known = self.place.as_ref().map(|place| place.cache.look_up(place.key, place.now));
        let (place, log) = match (&self.place, known) {
            (Some(place), Some(Known::Plans(plans))) => {
                if let Some(mut confirm) = Confirm::new(Arc::clone(&place.cache), plans, self.job.marks.clone()) {
                    if outgoing == Coding::Gzip {
                        confirm.hold(self.choose.as_mut());
                    }
                    return Stage::Confirm { confirm: Box::new(confirm), work: Box::new(self) };
                }
                (None, Log::Nothing)
            }
            (Some(place), Some(Known::New)) => (Some(place.clone()), Log::Draft(Box::new(place.cache.draft()))),
            _ => (None, Log::Nothing),
        };
        self.place.iter().for_each(|place| place.cache.miss());
        let rewriter = Box::new(Rewriter::new(self.job).keep(log));
        Stage::Rewrite { rewriter, choose: self.choose, sent: 0, place, study: None }
    }
}
