//! Pages that are compared with their plans: how they end, or go on to the scanner.

use super::{Pipeline, Stage};
use crate::page::encoding::Coding;
use crate::page::output::{Output, drop_sent};
use crate::page::packed::PackedBody;
use crate::page::pipeline::Work;
use crate::page::plan::{End, Log, PackedAddress, Skip, Study};
use crate::page::rewrite::Rewriter;

impl Pipeline {
    /// It may leave in gzip because it is packed: its address is told whether it was, or could have been.
    pub(crate) fn at(mut self, address: Option<PackedAddress>) -> Self {
        self.address = address;
        self
    }

    /// A known page is over. The answer is its packed form, if it leaves in that, and its length before.
    pub(super) fn finish_known(&mut self, page: &mut Output) -> Option<(PackedBody, u64)> {
        let Stage::Confirm { confirm, work } = &mut self.stage else { return None };
        let end = confirm.finish(work.choose.as_mut(), page);
        if matches!(end, End::Other) {
            self.scan_instead(page);
            return None;
        }
        if let Some(place) = &work.place {
            place.cache.confirm(place.key, confirm.plan());
            place.remember(confirm.plan());
            if self.outgoing == Coding::Gzip || self.address.is_some() {
                self.fits = confirm.offer(place.key, place.reader, work.choose.as_mut());
            }
        }
        confirm.forget_source();
        self.learn_encoded();
        let End::Packed(body, length) = end else { return None };
        Some((body, length))
    }

    /// A page that was held until its end goes on as others do. False: it was not held, or nothing of it is certain yet.
    pub(super) fn release(&mut self, page: &mut Output) -> bool {
        let Stage::Confirm { confirm, work } = &mut self.stage else { return false };
        confirm.release(work.choose.as_mut(), page)
    }

    /// It is not the page that is known, or does not come on: the scanner reads what has come, and goes on.
    pub(super) fn scan_instead(&mut self, page: &mut Output) {
        let stage = std::mem::replace(&mut self.stage, Stage::Copy(Skip::Handler));
        let Stage::Confirm { confirm, work } = stage else {
            self.stage = stage;
            return;
        };
        self.encoded = None;
        let Work { job, mut choose, place } = *work;
        let carriers = confirm.outcome().carriers;
        let unclear = confirm.may_be_volatile();
        let difference = confirm.into_difference();
        if let Some(place) = &place {
            place.cache.miss();
        }
        let log = place.as_ref().map_or(Log::Nothing, |place| Log::Draft(Box::new(place.cache.draft())));
        let studied = place.as_ref().filter(|place| !unclear && place.is_restless()).map(|_| job.clone());
        let mut rewriter = Box::new(Rewriter::new(job).keep(log));
        let mut text = Vec::new();
        for piece in difference.source.pieces() {
            rewriter.push(piece, choose.as_mut(), &mut text);
        }
        let confirmed = match rewriter.log() {
            Log::Draft(draft) => difference.is_confirmed_by(draft.edits()),
            // Too long for a plan: the scan has read all of it.
            _ => rewriter.outcome().ended.is_none(),
        };
        if !confirmed {
            // The edits are a function of the source, but how far a scan comes that breaks off (memory) depends on its
            // pieces. What follows is the site's own.
            let ended = rewriter.outcome().ended;
            debug_assert!(ended.is_some(), "a scan finds other edits than the plan of the same source");
            tracing::warn!(target: "deckle", ?ended, "A page was planned and cannot be read now; its rest is copied.");
            difference.source.pass_from(difference.left, page);
            self.stage = Stage::GivenUp(carriers);
            return;
        }
        let mut sent = self.written as usize + page.len();
        drop_sent(&mut text, &mut sent);
        page.own(text);
        let study = studied.zip(place.as_ref());
        let study = study.and_then(|(job, place)| Study::begin(place, job, difference.source)).map(Box::new);
        self.stage = Stage::Rewrite { rewriter, choose, sent, place: place.filter(|_| !unclear), study };
    }
}
