//! The writer thread: batches, checkpoints, rotation, and what to do when the disk says no.

mod rotation;
mod tell;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::anchor::{Heads, SignedHead};
use super::chain::{Chain, Digest};
use super::draft::Draft;
use super::index::Index;
use super::json::ObjectWriter;
use super::plans::PlansTold;
use super::policy::PolicyText;
use super::privacy::SharedPseudonyms;
use super::queue::{Inbox, Next, Signals};
use super::record::{AuditRecord, render_time};
use super::resume::{LeftOpen, Resume, resume};
use super::robots::{RobotsHistory, Served};
use super::segments::highest_number;
use super::sink::{Drops, SinkError, Stats};
use super::storage::{Output, Storage};
use super::{Anchor, Fsync, Settings};
use crate::clock::SharedClock;
use tell::Jump;

/// Waits after a failed write, from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often a head is signed.
const SIGN_EVERY: Duration = Duration::from_secs(60);
/// Room that is made for a line; most have fewer bytes.
const LINE: usize = 1_536;
/// How often the free space is looked at.
const LOOK_FREE: Duration = Duration::from_secs(1);

/// Signs heads.
#[cfg(feature = "proxy")]
pub(in crate::audit) type Signer = Arc<super::signing::SigningKey>;
/// Without feature `proxy` nothing is signed.
#[cfg(not(feature = "proxy"))]
pub(in crate::audit) type Signer = std::convert::Infallible;

/// All that a writer needs from outside.
pub(in crate::audit) struct Surroundings {
    pub(in crate::audit) clock: SharedClock,
    pub(in crate::audit) storage: Box<dyn Storage>,
    pub(in crate::audit) stats: Arc<Stats>,
    pub(in crate::audit) signals: Arc<Signals>,
    pub(in crate::audit) signer: Option<Signer>,
    pub(in crate::audit) pseudonyms: SharedPseudonyms,
    /// Which secrets are in use.
    pub(in crate::audit) secrets: Vec<String>,
    /// Takes signed heads, where `audit.anchor` is `otlp`.
    pub(in crate::audit) heads: Option<Heads>,
}

pub(in crate::audit) struct Writer {
    settings: Settings,
    outside: Surroundings,
    instance: String,
    robots: RobotsHistory,
    index: Index,
    dir: PathBuf,
    /// Held as long as the writer lives.
    _lock: File,
    segment: Option<Segment>,
    /// The number of the last line.
    seq: u64,
    number: u64,
    previous: Option<(String, Digest)>,
    policy: Option<PolicyText>,
    /// Heads that have left, and of which the log does not tell yet.
    anchored: Arc<Mutex<Vec<SignedHead>>>,
    /// The secrets that are in use.
    secrets: Vec<String>,
    plans: PlansTold,
    /// Losses that the log tells of.
    told: Drops,
    retry_at: Option<(Duration, Duration)>,
    looked_free_at: Option<Duration>,
    /// Wall clock minus running time.
    drift: Option<Duration>,
    /// The last time that the wall clock has jumped ahead: what was written before is not so old as it says.
    jump: Option<Jump>,
    /// Segments that the next one has to seal.
    unsealed: Vec<LeftOpen>,
    cleaned_at: Option<Duration>,
}

struct Segment {
    out: Box<dyn Output>,
    path: PathBuf,
    name: String,
    bytes: u64,
    opened: Duration,
    first_seq: u64,
    chain: Chain,
    fresh: bool,
    checkpoint_at: Duration,
    signed_at: Duration,
}

impl Writer {
    pub(in crate::audit) fn open(settings: &Settings, mut outside: Surroundings) -> Result<Self, SinkError> {
        let dir = PathBuf::from(&settings.dir);
        let io = |path: &Path| {
            let path = path.display().to_string();
            move |source| SinkError::Io { path, source }
        };
        std::fs::create_dir_all(&dir).map_err(io(&dir))?;
        let instance = settings.instance().into_owned();
        let lock_path = dir.join(format!("{instance}.lock"));
        let lock = OpenOptions::new().create(true).append(true).open(&lock_path).map_err(io(&lock_path))?;
        if lock.try_lock().is_err() {
            return Err(SinkError::Locked { dir: settings.dir.clone(), instance });
        }
        let Resume { seq, previous, left_open } = resume(&dir, &instance);
        let number = highest_number(&dir, &instance);
        let mut writer = Self {
            robots: RobotsHistory::open(&dir, &instance),
            index: Index::in_dir(&dir),
            settings: settings.clone(),
            secrets: std::mem::take(&mut outside.secrets),
            plans: PlansTold::default(),
            outside,
            instance,
            dir,
            _lock: lock,
            segment: None,
            seq,
            number,
            previous,
            policy: None,
            anchored: Arc::default(),
            told: Drops::default(),
            retry_at: None,
            looked_free_at: None,
            drift: None,
            jump: None,
            unsealed: Vec::new(),
            cleaned_at: None,
        };
        match writer.start_segment() {
            Ok(()) => writer.seal(left_open),
            // A site must start without a place for its log, too; the log goes on when there is one.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!(target: "deckle::audit", %error, "There is no room for the audit log; records are dropped and counted.");
                writer.unsealed = left_open;
                writer.back_off(writer.outside.clock.elapsed());
            }
            Err(error) => return Err(io(&writer.dir)(error)),
        }
        writer.finish_interrupted();
        Ok(writer)
    }

    /// Until the stop. Whatever is taken from a queue is written or counted.
    pub(in crate::audit) fn run(&mut self, inbox: &mut Inbox) {
        loop {
            match inbox.next_batch(self.settings.flush.0) {
                Next::Over => break,
                Next::Nothing => {}
                Next::Records(batch) => self.write(&batch),
            }
            self.housekeeping();
        }
        self.tell_losses();
        self.end_segment("shutdown");
    }

    fn housekeeping(&mut self) {
        // First, for all that follows goes by it: a rotation deletes what is too old.
        self.tell_clock_step();
        self.take_secrets();
        if self.outside.signals.reopen.swap(false, Ordering::AcqRel) {
            self.rotate("reopen");
        }
        let due = self.segment.as_ref().is_some_and(|s| {
            let steps = |at: Duration| at.as_millis() / self.settings.rotate_every.0.as_millis().max(1);
            s.bytes >= self.settings.rotate_size.0 || steps(self.outside.clock.unix()) != steps(s.opened)
        });
        if due {
            self.rotate("rotate");
        }
        self.make_room();
        self.tell_policy();
        self.tell_losses();
        self.tell_anchored();
        self.checkpoint_if_due();
    }

    fn write(&mut self, batch: &[AuditRecord]) {
        let Some(mut draft) = self.draft() else { return self.lose(batch.len(), None) };
        draft.bytes.reserve(batch.len() * LINE);
        let stats = Arc::clone(&self.outside.stats);
        let shared = Arc::clone(&self.outside.pseudonyms);
        let mut pseudonyms = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut written, mut sampled) = (0, 0);
        self.plans.begin(self.number);
        for record in batch {
            let Some(sample) = record.sample(self.settings.sample_assets) else {
                sampled += 1;
                continue;
            };
            self.tell_plan(&mut draft, record);
            self.add(&mut draft, |out, seq| record.write(out, seq, &self.settings, sample, &mut pseudonyms));
            written += 1;
        }
        // The other sinks need not wait for the disk.
        drop(pseudonyms);
        match self.commit(draft) {
            Ok(()) => {
                self.plans.keep();
                stats.add_written(written, sampled);
            }
            Err(error) => {
                self.plans.forget();
                self.lose(written as usize, error.as_ref());
            }
        }
        for (record, robots) in batch.iter().filter_map(|r| Some((r, r.page.as_ref()?.robots.as_ref()?))) {
            let networks = record.visitor.as_ref().map_or(0, |visitor| visitor.host_networks);
            match self.robots.served(record.time, &record.host, networks, robots) {
                Served::Known => {}
                Served::Changed => self.tell_robots(&record.host, robots, false),
                Served::New => self.tell_robots(&record.host, robots, true),
            }
        }
    }

    fn lose(&mut self, records: usize, error: Option<&std::io::Error>) {
        let full = error.is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
            || self.outside.stats.is_full.load(Ordering::Relaxed);
        self.outside.stats.add_dropped(|drops| {
            *(if full { &mut drops.disk_full } else { &mut drops.io }) += records as u64;
        });
    }

    /// A copy of where the log stands; `None`: there is no segment, and none can be made.
    fn draft(&mut self) -> Option<Draft> {
        let now = self.outside.clock.elapsed();
        if self.retry_at.is_some_and(|(at, _)| now < at) {
            return None;
        }
        self.mind_cut_file();
        if !self.has_room(now) || !self.has_segment() {
            self.back_off(now);
            return None;
        }
        let unsealed = std::mem::take(&mut self.unsealed);
        self.seal(unsealed);
        let segment = self.segment.as_ref()?;
        Some(Draft { bytes: Vec::new(), chain: segment.chain.clone(), seq: self.seq, fresh: segment.fresh })
    }

    /// Is there more than `audit.min_free`?
    fn has_room(&mut self, now: Duration) -> bool {
        if self.looked_free_at.is_some_and(|at| now.saturating_sub(at) < LOOK_FREE) {
            return true;
        }
        let free = self.outside.storage.free(&self.dir);
        let room = free.is_none_or(|free| free >= self.settings.min_free.0);
        self.outside.stats.is_full.store(!room, Ordering::Relaxed);
        if room {
            self.looked_free_at = Some(now);
        } else {
            tracing::error!(target: "deckle::audit", free, "Less is free than `audit.min_free`; records are dropped and counted.");
        }
        room
    }

    /// Writes a draft; on failure nothing of it stays.
    fn commit(&mut self, draft: Draft) -> Result<(), Option<std::io::Error>> {
        let now = self.outside.clock.elapsed();
        let Some(segment) = &mut self.segment else { return Err(None) };
        if draft.bytes.is_empty() {
            return Ok(());
        }
        let line = self.settings.fsync == Fsync::Line;
        let written = segment.out.write_all(&draft.bytes).and_then(|()| if line { segment.out.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                segment.bytes += draft.bytes.len() as u64;
                (segment.chain, segment.fresh) = (draft.chain, draft.fresh);
                self.seq = draft.seq;
                self.retry_at = None;
                self.outside.stats.add_bytes(draft.bytes.len() as u64);
                self.outside.stats.set_degraded(false);
                Ok(())
            }
            Err(error) => {
                // Somebody may have cut the file meanwhile: it must not be made longer.
                let length = segment.out.length();
                let is_cut = length.and_then(|length| segment.out.cut(segment.bytes.min(length)));
                tracing::error!(target: "deckle::audit", %error, path = %segment.path.display(),
                    "The audit log cannot be written; records are dropped and counted.");
                if is_cut.is_err() {
                    self.give_up_segment();
                }
                self.back_off(now);
                Err(Some(error))
            }
        }
    }

    fn back_off(&mut self, now: Duration) {
        let wait = self.retry_at.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
        self.retry_at = Some((now + wait, wait));
        self.outside.stats.set_degraded(true);
    }

    /// What every line about the log begins with.
    fn begin(&self, object: &mut ObjectWriter<'_>, kind: &str, seq: u64) {
        object.number("v", 1);
        object.text("time", &render_time(self.outside.clock.unix()));
        object.text("deckle.kind", kind);
        object.number("deckle.seq", seq);
        object.text("deckle.instance", &self.instance);
        object.text("deckle.site", &self.settings.site);
    }

    /// A line that is no hit.
    fn note(&mut self, kind: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> bool {
        let Some(mut draft) = self.draft() else { return false };
        self.add_note(&mut draft, kind, fill);
        self.commit(draft).is_ok()
    }

    fn write_note(&self, out: &mut Vec<u8>, seq: u64, kind: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let mut object = ObjectWriter::new(out);
        self.begin(&mut object, kind, seq);
        fill(&mut object);
        object.end();
    }

    #[cfg(feature = "proxy")]
    fn sign(&self, head: &Digest) -> Option<(String, String)> {
        self.outside.signer.as_ref().map(|key| (key.public().id(), key.sign(head)))
    }

    #[cfg(not(feature = "proxy"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn sign(&self, _: &Digest) -> Option<(String, String)> {
        None
    }

    /// A line of a block; one that is full is closed behind it.
    fn add(&self, draft: &mut Draft, write: impl FnOnce(&mut Vec<u8>, u64)) {
        draft.line(write);
        if draft.chain.len() >= self.settings.checkpoint_lines {
            self.close_block(draft);
        }
    }

    /// The same, of a line that is no hit.
    fn add_note(&self, draft: &mut Draft, kind: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.add(draft, |out, seq| self.write_note(out, seq, kind, fill));
    }

    fn close_block(&self, draft: &mut Draft) {
        draft.checkpoint(|object, seq| self.begin(object, "checkpoint", seq), None);
    }

    fn checkpoint_if_due(&mut self) {
        let now = self.outside.clock.elapsed();
        let Some(segment) = &self.segment else { return };
        let due = segment.fresh && now.saturating_sub(segment.checkpoint_at) >= self.settings.checkpoint_every.0;
        let signed = self.outside.signer.is_some() && now.saturating_sub(segment.signed_at) >= SIGN_EVERY;
        if !due {
            return;
        }
        let Some(mut draft) = self.draft() else { return };
        let sign = |head: &Digest| self.sign(head);
        draft.checkpoint(|object, seq| self.begin(object, "checkpoint", seq), signed.then_some(&sign));
        let head = draft.chain.head();
        if self.commit(draft).is_err() {
            return;
        }
        if let Some(segment) = &mut self.segment {
            segment.checkpoint_at = now;
            segment.signed_at = if signed { now } else { segment.signed_at };
            if self.settings.fsync == Fsync::Checkpoint
                && let Err(error) = segment.out.sync()
            {
                tracing::warn!(target: "deckle::audit", %error, "A checkpoint may not have reached the disk.");
            }
        }
        if signed {
            self.anchor(head, false);
        }
    }

    fn anchor(&self, head: Digest, is_end: bool) {
        if self.settings.anchor == Anchor::None {
            return;
        }
        if let (Some((key, signature)), Some(segment)) = (self.sign(&head), &self.segment) {
            let head = SignedHead {
                time: render_time(self.outside.clock.unix()),
                instance: self.instance.clone(),
                segment: segment.name.clone(),
                seq: self.seq,
                head,
                key,
                signature,
            };
            let (known, to, told) = (head.clone(), self.settings.anchor.destination(), Arc::clone(&self.anchored));
            // No line can stand behind an end.
            let index = is_end.then(|| self.index.clone());
            self.settings.anchor.send(&head, self.outside.heads.as_ref(), move || match index {
                Some(index) => index.anchored(&known, &to),
                None => told.lock().unwrap_or_else(PoisonError::into_inner).push(known),
            });
        }
    }
}
