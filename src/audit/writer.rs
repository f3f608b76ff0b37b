//! The writer thread: batches, segments, rotation, retention, and what to do when the disk says no.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use data_encoding::BASE64;

use super::Settings;
use super::json::ObjectWriter;
use super::privacy::Pseudonyms;
use super::record::{AuditRecord, render_time};
use super::robots::{RobotsHistory, Served};
use super::segments::{close_segment, retain, segments};
use super::sink::{SinkError, Stats};
use crate::clock::SharedClock;
use crate::rights::robots::RobotsText;

/// Most records of one write.
const BATCH: usize = 512;
/// How long records gather behind the first one: a write and a wake-up for each would cost more than the records.
const GATHER: Duration = Duration::from_millis(5);
/// Waits after a failed write, from the first to the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the rest of the program tells the thread.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) stop: AtomicBool,
    pub(super) reopen: AtomicBool,
}

pub(super) struct Writer {
    settings: Settings,
    clock: SharedClock,
    stats: Arc<Stats>,
    signals: Arc<Signals>,
    pseudonyms: Pseudonyms,
    robots: RobotsHistory,
    dir: PathBuf,
    /// Held as long as the writer lives.
    _lock: File,
    segment: Option<Segment>,
    seq: u64,
    number: u64,
    /// Losses that the log does not tell of yet: queue full, disk.
    told: (u64, u64),
    retry_at: Option<(Duration, Duration)>,
}

struct Segment {
    file: File,
    path: PathBuf,
    bytes: u64,
    opened: Duration,
}

impl Writer {
    pub(super) fn open(
        settings: &Settings,
        clock: SharedClock,
        stats: Arc<Stats>,
        signals: Arc<Signals>,
    ) -> Result<Self, SinkError> {
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
        let mut writer = Self {
            pseudonyms: Pseudonyms::in_file(&dir.join("audit.keys")),
            robots: RobotsHistory::open(&dir, &instance),
            settings: settings.clone(),
            clock,
            stats,
            signals,
            dir,
            _lock: lock,
            segment: None,
            seq: 0,
            number: 0,
            told: (0, 0),
            retry_at: None,
        };
        let left_open = writer.open_segments();
        writer.start_segment(&left_open).map_err(io(&writer.dir.clone()))?;
        Ok(writer)
    }

    #[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
    pub(super) fn run(mut self, normal: &Receiver<AuditRecord>, priority: &Receiver<AuditRecord>) {
        loop {
            let stopping = self.signals.stop.load(Ordering::Acquire);
            let mut batch: Vec<AuditRecord> = priority.try_iter().take(BATCH).collect();
            batch.extend(normal.try_iter().take(BATCH));
            if batch.is_empty() {
                if stopping {
                    break;
                }
                match normal.recv_timeout(self.settings.flush.0) {
                    Ok(record) => {
                        batch.push(record);
                        std::thread::sleep(GATHER);
                    }
                    Err(_) => {
                        self.housekeeping();
                        continue;
                    }
                }
                batch.extend(normal.try_iter().take(BATCH - 1));
            }
            self.write(&batch);
            self.housekeeping();
        }
        self.tell_losses();
        self.end_segment("shutdown");
    }

    fn housekeeping(&mut self) {
        if self.signals.reopen.swap(false, Ordering::AcqRel) {
            self.rotate("reopen");
        }
        let due = self.segment.as_ref().is_some_and(|s| {
            let age = self.clock.unix().saturating_sub(s.opened);
            s.bytes >= self.settings.rotate_size.0 || age >= self.settings.rotate_every.0
        });
        if due {
            self.rotate("rotate");
        }
        self.tell_losses();
    }

    fn write(&mut self, batch: &[AuditRecord]) {
        let mut lines = Vec::with_capacity(batch.len() * 800);
        let before = self.seq;
        for record in batch {
            self.seq += 1;
            record.write(&mut lines, self.seq, &self.settings, &mut self.pseudonyms);
        }
        if self.append(&lines) {
            self.stats.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
        } else {
            // The numbers are given to the lines that follow: a hole would look like tampering.
            self.seq = before;
            self.stats.dropped_io.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        for (record, robots) in batch.iter().filter_map(|r| Some((r, r.page.as_ref()?.robots.as_ref()?))) {
            match self.robots.served(record.time, &record.host, robots) {
                Served::Known => {}
                Served::Changed => self.tell_robots(&record.host, robots, false),
                Served::New => self.tell_robots(&record.host, robots, true),
            }
        }
    }

    /// A `robots` line: what the site said from now on; the text only once.
    fn tell_robots(&mut self, host: &str, robots: &RobotsText, new: bool) {
        let text = new.then(|| BASE64.encode(&robots.text));
        self.note("robots", |object| {
            object.text("server.address", host);
            object.text("deckle.robots.version", &robots.version);
            object.text_if("text", text.as_deref());
        });
    }

    /// Appends whole lines; on failure nothing of them stays.
    fn append(&mut self, lines: &[u8]) -> bool {
        let now = self.clock.elapsed();
        if self.retry_at.is_some_and(|(at, _)| now < at) {
            return false;
        }
        if self.segment.is_none() && self.start_segment(&[]).is_err() {
            self.back_off(now);
            return false;
        }
        let Some(segment) = &mut self.segment else { return false };
        // Somebody may have cut the file (copytruncate): go on at its end, which O_APPEND does.
        match segment.file.write_all(lines) {
            Ok(()) => {
                segment.bytes += lines.len() as u64;
                self.retry_at = None;
                true
            }
            Err(error) => {
                // Somebody may have cut the file meanwhile: it must not be made longer.
                let length = segment.file.metadata().map_or(0, |m| m.len());
                let _ = segment.file.set_len(segment.bytes.min(length));
                tracing::error!(target: "deckle::audit", %error, path = %segment.path.display(),
                    "The audit log cannot be written; records are dropped and counted.");
                self.back_off(now);
                false
            }
        }
    }

    fn back_off(&mut self, now: Duration) {
        let wait = self.retry_at.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
        self.retry_at = Some((now + wait, wait));
    }

    /// A `gap` line for losses that nobody was told of.
    fn tell_losses(&mut self) {
        let lost = (self.stats.dropped_full(), self.stats.dropped_io());
        if lost == self.told {
            return;
        }
        let (full, io) = (lost.0 - self.told.0, lost.1 - self.told.1);
        let told = self.note("gap", |object| {
            object.number("dropped.channel_full", full);
            object.number("dropped.io", io);
        });
        if told {
            self.told = lost;
            tracing::warn!(target: "deckle::audit", channel_full = full, io, "Audit records were dropped.");
        }
    }

    /// A line that is no hit.
    fn note(&mut self, kind: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> bool {
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        object.number("v", 1);
        object.text("time", &render_time(self.clock.unix()));
        object.text("deckle.kind", kind);
        object.number("deckle.seq", self.seq + 1);
        object.text("deckle.instance", &self.settings.instance());
        object.text("deckle.site", &self.settings.site);
        fill(&mut object);
        object.end();
        let written = self.append(&line);
        if written {
            self.seq += 1;
        }
        written
    }

    fn start_segment(&mut self, left_open: &[LeftOpen]) -> std::io::Result<()> {
        let now = self.clock.unix();
        let stamp = jiff::Timestamp::from_second(now.as_secs() as i64)
            .map(|t| t.strftime("%Y%m%dT%H%M%SZ").to_string())
            .unwrap_or_default();
        let (file, path) = loop {
            self.number += 1;
            let name = format!("audit-{}-{stamp}-{}.ndjson", self.settings.instance(), self.number);
            let path = self.dir.join(name);
            let mut options = OpenOptions::new();
            options.append(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
            match options.open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && self.number < 1_000_000 => {}
                Err(error) => return Err(error),
            }
        };
        self.segment = Some(Segment { file, path, bytes: 0, opened: now });
        self.note("segment", |object| object.text("deckle.version", env!("CARGO_PKG_VERSION")));
        for segment in left_open {
            self.note("recovery", |object| {
                object.text("sealed_segment", &segment.name);
                object.number("torn_bytes", segment.torn);
            });
        }
        Ok(())
    }

    fn end_segment(&mut self, reason: &str) -> Option<PathBuf> {
        self.note("end", |object| object.text("reason", reason));
        let segment = self.segment.take()?;
        let _ = segment.file.sync_all();
        Some(segment.path)
    }

    fn rotate(&mut self, reason: &str) {
        let closed = self.end_segment(reason);
        if self.start_segment(&[]).is_err() {
            self.back_off(self.clock.elapsed());
        }
        self.robots.retain(self.settings.max_age_robots.0, self.clock.unix());
        let (dir, age, total, now) =
            (self.dir.clone(), self.settings.max_age.0, self.settings.max_total.0, self.clock.unix());
        let instance = self.settings.instance().into_owned();
        let current = self.segment.as_ref().map(|s| s.path.clone());
        // Compressing a large segment must not hold up the records behind it.
        let _ = std::thread::Builder::new().name("deckle-audit-close".to_owned()).spawn(move || {
            if let Some(path) = closed {
                close_segment(&path);
            }
            retain(&dir, &instance, current.as_deref(), age, total, now);
        });
    }

    /// Segments of this instance that were not ended, and how many bytes of their last line are torn.
    fn open_segments(&self) -> Vec<LeftOpen> {
        segments(&self.dir, &self.settings.instance())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "ndjson"))
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?.to_owned();
                let tail = read_tail(&path).ok()?;
                let torn = tail.len() - memchr::memrchr(b'\n', &tail).map_or(0, |i| i + 1);
                let whole = tail.get(..tail.len() - torn)?;
                let last = whole.strip_suffix(b"\n").map_or(whole, |w| w);
                let last = last.get(memchr::memrchr(b'\n', last).map_or(0, |i| i + 1)..)?;
                let ended = memchr::memmem::find(last, b"\"deckle.kind\":\"end\"").is_some();
                (!ended).then_some(LeftOpen { name, torn: torn as u64 })
            })
            .collect()
    }
}

struct LeftOpen {
    name: String,
    torn: u64,
}

fn read_tail(path: &Path) -> std::io::Result<Vec<u8>> {
    const TAIL: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail)
}
