//! Lines that tell of something: losses, policies, robots.txt, the clock.

use std::sync::PoisonError;
use std::time::Duration;

use data_encoding::BASE64;

use super::Writer;
use crate::audit::cut::Notes;
use crate::audit::draft::Draft;
use crate::audit::plans::{fill_page, fill_variants, variant_rows};
use crate::audit::record::AuditRecord;
use crate::rights::robots::RobotsText;

/// A wall clock that goes back by more than this is told of.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// One that goes ahead by more than this is not believed when it comes to what is too old.
const JUMP: Duration = Duration::from_secs(86_400);

/// The wall clock went ahead, and what was written before seems older than it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    /// In running time.
    at: Duration,
    /// Wall clock minus running time, before.
    before: Duration,
}

impl Writer {
    /// A `page` line, and `variants` lines, before the first response of a segment that carries a mark in this page.
    pub(super) fn tell_plan(&mut self, draft: &mut Draft, record: &AuditRecord) {
        let marked = record.page.as_ref().filter(|page| page.mark.is_some());
        let Some(note) = marked.and_then(|page| page.plan.as_ref()) else { return };
        let path = || record.path_text(&mut Notes::default(), &self.settings);
        let query = || record.query_text(&mut Notes::default(), &self.settings).unwrap_or_default();
        if !self.plans.is_due(note.id, || format!("{} {} {}", record.host, path(), query())) {
            return;
        }
        let path = path();
        self.add_note(draft, "page", |object| fill_page(object, &path, note));
        for rows in variant_rows(&note.variants) {
            self.add_note(draft, "variants", |object| fill_variants(object, note.id, &rows));
        }
    }

    /// A `robots` line: what the site said from now on; the text only once.
    pub(super) fn tell_robots(&mut self, host: &str, robots: &RobotsText, new: bool) {
        let text = new.then(|| BASE64.encode(&robots.text));
        self.note("robots", |object| {
            object.text("server.address", host);
            object.text("deckle.robots.version", &robots.version);
            object.text_if("text", text.as_deref());
        });
    }

    /// A `policy` line: the configuration that is in force from now on.
    pub(super) fn tell_policy(&mut self) {
        let waiting = self.outside.signals.policy.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(policy) = waiting else { return };
        if self.policy.as_ref().is_some_and(|known| known.digest == policy.digest) {
            return;
        }
        let told = self.note("policy", |object| {
            object.text("policy.digest", &policy.digest);
            object.text("text", &policy.text);
        });
        if told {
            self.policy = Some(policy);
        } else {
            self.outside.signals.policy.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(policy);
        }
    }

    /// An `anchored` line for each head that has left; those that find no room wait.
    pub(super) fn tell_anchored(&mut self) {
        let sent = std::mem::take(&mut *self.anchored.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sent = sent.into_iter();
        while let Some(head) = sent.next() {
            let to = self.settings.anchor.destination();
            let fresh = self.segment.as_ref().is_some_and(|segment| segment.fresh);
            let told = self.note("anchored", |object| {
                object.text("segment", &head.segment);
                head.tell(object, &to);
            });
            if !told {
                let mut waiting = self.anchored.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.splice(..0, std::iter::once(head).chain(sent));
                return;
            }
            // It asks for no checkpoint by itself: that would be sent away as well, and so on.
            if let Some(segment) = &mut self.segment {
                segment.fresh = fresh;
            }
        }
    }

    /// A `gap` line for losses that nobody was told of.
    pub(super) fn tell_losses(&mut self) {
        let now = self.outside.stats.drops();
        if now == self.told {
            return;
        }
        let lost = now.since(&self.told);
        let told = self.note("gap", |object| {
            for (reason, number) in lost.by_reason() {
                object.number_if(reason, (number > 0).then_some(number));
            }
        });
        if told {
            self.told = now;
            tracing::warn!(target: "deckle::audit", ?lost, "Audit records were dropped.");
        }
    }

    /// The order of the log is that of its numbers; times may jump, and then it says so.
    pub(super) fn tell_clock_step(&mut self) {
        let drift = self.outside.clock.unix().saturating_sub(self.outside.clock.elapsed());
        let before = self.drift.replace(drift).unwrap_or(drift);
        let (back, ahead) = (before.saturating_sub(drift), drift.saturating_sub(before));
        if ahead > JUMP {
            self.tell_jump(ahead, before);
        }
        if back > CLOCK_STEP {
            let delta = back.as_millis() as u64;
            self.note("gap", |object| {
                object.text("reason", "clock_step");
                object.number("back_ms", delta);
            });
        }
        // It was set right again.
        self.jump = self.jump.filter(|jump| drift.saturating_sub(jump.before) > JUMP);
    }

    fn tell_jump(&mut self, ahead: Duration, before: Duration) {
        let before = self.jump.map_or(before, |jump| jump.before);
        self.jump = Some(Jump { at: self.outside.clock.elapsed(), before });
        tracing::warn!(target: "deckle::audit", ahead_s = ahead.as_secs(), max_age_s = self.settings.max_age.0.as_secs(),
            "The clock went ahead by more than a day. Nothing is deleted for its age until `audit.max_age` has passed from now on, or \
             the clock is set right.");
        let delta = ahead.as_millis() as u64;
        self.note("gap", |object| {
            object.text("reason", "clock_jump");
            object.number("ahead_ms", delta);
        });
    }

    /// Does the wall clock tell what is older than this? After a jump, once all is that was written before.
    pub(super) fn knows_older_than(&self, age: Duration) -> bool {
        self.jump.is_none_or(|jump| self.outside.clock.elapsed().saturating_sub(jump.at) >= age)
    }

    /// The time by which ages are told: that of the clock as it was looked at last.
    pub(super) fn believed_time(&self) -> Duration {
        self.drift.map_or_else(|| self.outside.clock.unix(), |drift| drift + self.outside.clock.elapsed())
    }
}
