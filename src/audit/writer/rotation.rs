//! Segments begin and end.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use data_encoding::HEXLOWER;

use super::{Segment, Writer};
use crate::audit::chain::{Chain, Digest};
use crate::audit::draft::Sign;
use crate::audit::json::ObjectWriter;
use crate::audit::resume::{LeftOpen, Resume, bare_name, is_ended, resume};
use crate::audit::segments::{close_segment, highest_stamp, remove_unfinished, retain, segments};
use crate::audit::storage::Output;

/// How often room is made while nothing can be written.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

impl Writer {
    /// After a panic: nobody knows what the segment holds, so that the next one seals it.
    pub(in crate::audit) fn recover(&mut self) {
        self.segment = None;
        let Resume { seq, previous, left_open } = resume(&self.dir, &self.instance);
        (self.seq, self.previous) = (seq, previous);
        if self.start_segment().is_ok() {
            self.seal(left_open);
        } else {
            self.back_off(self.outside.clock.elapsed());
        }
    }

    pub(super) fn start_segment(&mut self) -> std::io::Result<()> {
        let now = self.outside.clock.unix();
        let (out, path, name) = self.create_file(now)?;
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        self.begin(&mut object, "segment", self.seq + 1);
        object.text("deckle.version", env!("CARGO_PKG_VERSION"));
        object.text("address", self.settings.address.code());
        object.list("secret.ids", &self.secrets);
        object.text_if("policy.digest", self.policy.as_ref().map(|policy| policy.digest.as_str()));
        #[cfg(feature = "proxy")]
        if let Some(key) = &self.outside.signer {
            object.text("key.id", &key.public().id());
            object.text("key.public", &key.public().to_hex());
        }
        if let Some((previous, head)) = &self.previous {
            object.text("previous.segment", previous);
            object.text("previous.head", &HEXLOWER.encode(head));
        }
        object.end();
        let elapsed = self.outside.clock.elapsed();
        let mut segment = Segment {
            out,
            path,
            name,
            bytes: 0,
            opened: now,
            first_seq: self.seq + 1,
            chain: Chain::behind(&line),
            fresh: false,
            checkpoint_at: elapsed,
            signed_at: elapsed,
        };
        if let Err(error) = segment.out.write_all(&line) {
            let _ = std::fs::remove_file(&segment.path);
            return Err(error);
        }
        segment.bytes = line.len() as u64;
        self.seq += 1;
        self.segment = Some(segment);
        Ok(())
    }

    /// Is there a segment, or can one be made?
    pub(super) fn has_segment(&mut self) -> bool {
        if self.segment.is_some() {
            return true;
        }
        let made = self.start_segment();
        if let Err(error) = &made {
            tracing::error!(target: "deckle::audit", %error, dir = %self.dir.display(),
                "No segment of the audit log can be made; records are dropped and counted.");
        }
        made.is_ok()
    }

    /// A file that somebody has cut (copytruncate) is no evidence any more, and one that was deleted nobody will find: a new one
    /// begins, and seals it.
    pub(super) fn mind_cut_file(&mut self) {
        let Some(segment) = &self.segment else { return };
        if segment.out.length().is_ok_and(|length| length < segment.bytes) {
            let was = if segment.out.is_deleted() { "deleted" } else { "cut" };
            tracing::warn!(target: "deckle::audit", path = %segment.path.display(),
                "The open segment was {was} by somebody else; a new one begins.");
            self.give_up_segment();
        }
    }

    /// The next one seals it up to its last whole line: half a one may stand behind that.
    pub(super) fn give_up_segment(&mut self) {
        let Some(Segment { path, name, chain, .. }) = self.segment.take() else { return };
        let head = chain.head();
        self.previous = Some((name.clone(), head));
        self.unsealed.push(LeftOpen { path, name, torn: 0, head: Some(head), seq: self.seq });
    }

    fn create_file(&mut self, now: Duration) -> std::io::Result<(Box<dyn Output>, PathBuf, String)> {
        let stamp = jiff::Timestamp::from_second(now.as_secs() as i64)
            .map(|t| t.strftime("%Y%m%dT%H%M%SZ").to_string())
            .unwrap_or_default();
        // Names are in the order of the segments, whatever the clock says.
        let stamp = stamp.max(highest_stamp(&self.dir, &self.instance));
        loop {
            self.number += 1;
            let name = format!("audit-{}-{stamp}-{}.ndjson", self.instance, self.number);
            let path = self.dir.join(&name);
            match self.outside.storage.create(&path) {
                Ok(out) => return Ok((out, path, name)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && self.number < 1_000_000 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says how segments that a crash has left are to be read, and that is that.
    pub(super) fn seal(&mut self, left_open: Vec<LeftOpen>) {
        for segment in left_open {
            if self.index.is_sealed(&segment.name) {
                continue;
            }
            let head = segment.head.map(|head| HEXLOWER.encode(&head));
            let told = self.note("recovery", |object| {
                object.text("sealed_segment", &segment.name);
                object.number("torn_bytes", segment.torn);
                object.number("last_seq", segment.seq);
                object.text_if("head", head.as_deref());
            });
            if told {
                self.index.sealed(&segment, &self.instance);
                let compress = self.settings.compress;
                let _ = std::thread::Builder::new()
                    .name("deckle-audit-close".to_owned())
                    .spawn(move || close_segment(&segment.path, compress));
            }
        }
    }

    pub(super) fn end_segment(&mut self, reason: &str) -> Option<PathBuf> {
        self.tell_anchored();
        if let Some(mut draft) = self.draft() {
            let head = |object: &mut ObjectWriter<'_>, seq| {
                self.begin(object, "end", seq);
                object.text("reason", reason);
                let drops = self.outside.stats.drops();
                object.number_if("dropped.shutdown", (drops.shutdown > 0).then_some(drops.shutdown));
            };
            let sign = |head: &Digest| self.sign(head);
            draft.end(head, self.outside.signer.as_ref().map(|_| &sign as Sign<'_>));
            if self.commit(draft).is_ok() {
                self.anchor(self.segment.as_ref()?.chain.head(), true);
            }
        }
        let mut segment = self.segment.take()?;
        let _ = segment.out.sync();
        if !segment.path.exists() {
            tracing::warn!(target: "deckle::audit", path = %segment.path.display(),
                "The segment that was closed does not stand under its name any more: it is neither compressed nor deleted in time.");
        }
        self.index.closed(&segment.name, &self.instance, (segment.first_seq, self.seq), &segment.chain.head());
        self.previous = Some((segment.name, segment.chain.head()));
        Some(segment.path)
    }

    pub(super) fn rotate(&mut self, reason: &str) {
        let closed = self.end_segment(reason);
        if self.start_segment().is_err() {
            self.back_off(self.outside.clock.elapsed());
        }
        let age = self.settings.max_age_robots.0;
        if self.knows_older_than(age) {
            self.robots.retain(age, self.believed_time());
        }
        self.clean_up(closed);
    }

    /// The first line of a segment names the secrets that are in use.
    pub(super) fn take_secrets(&mut self) {
        let waiting = self.outside.signals.secrets.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ids) = waiting.filter(|ids| *ids != self.secrets) {
            self.secrets = ids;
            self.rotate("reopen");
        }
    }

    /// What is over age and size goes, even while nothing can be written: that may be why.
    pub(super) fn make_room(&mut self) {
        let now = self.outside.clock.elapsed();
        let due = self.cleaned_at.is_none_or(|at| now.saturating_sub(at) >= CLEAN_EVERY);
        if self.segment.is_none() && due {
            self.clean_up(None);
        }
    }

    fn clean_up(&mut self, closed: Option<PathBuf>) {
        self.cleaned_at = Some(self.outside.clock.elapsed());
        let (dir, instance, mut settings) = (self.dir.clone(), self.instance.clone(), self.settings.clone());
        if !self.knows_older_than(settings.max_age.0) {
            settings.max_age.0 = Duration::MAX;
        }
        let (now, index) = (self.believed_time(), self.index.clone());
        let current = self.segment.as_ref().map(|s| s.path.clone());
        // Compressing a large segment must not hold up the records behind it.
        let _ = std::thread::Builder::new().name("deckle-audit-close".to_owned()).spawn(move || {
            if let Some(path) = closed {
                close_segment(&path, settings.compress);
            }
            retain(&dir, &instance, current.as_deref(), &settings, now, &index);
        });
    }

    /// What the process before has left half done: copies that are not whole, and segments that were ended and not
    /// compressed.
    pub(super) fn finish_interrupted(&self) {
        remove_unfinished(&self.dir, &self.instance);
        let sealed = |path: &PathBuf| bare_name(path).is_some_and(|name| self.index.is_sealed(&name));
        let current = self.segment.as_ref().map(|segment| &segment.path);
        let whole: Vec<PathBuf> = segments(&self.dir, &self.instance)
            .into_iter()
            .filter(|path| Some(path) != current && path.extension().is_some_and(|end| end == "ndjson"))
            .filter(|path| sealed(path) || is_ended(path))
            .collect();
        let compress = self.settings.compress;
        let close = move || whole.iter().for_each(|path| close_segment(path, compress));
        let _ = std::thread::Builder::new().name("deckle-audit-close".to_owned()).spawn(close);
    }
}
