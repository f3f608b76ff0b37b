//! Sinks of plain lines, with nothing about the log itself in them: standard output, and `access.log`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Settings;
use super::privacy::{Pseudonyms, SharedPseudonyms};
use super::queue::{Inbox, Next, PATIENCE, Queue, keep_going};
use super::record::AuditRecord;
use super::sink::{SinkError, Stats};
use super::sinks::Around;
use super::storage::{Disk, Storage};
use crate::clock::SharedClock;

/// The name of the access log in `audit.dir`.
const ACCESS_LOG: &str = "access.log";
/// How often the free space is looked at.
const LOOK_FREE: Duration = Duration::from_secs(1);
/// Between two tries at a pipe that is full and does not let one wait.
const PAUSE: Duration = Duration::from_millis(5);

/// What a record becomes.
#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Combined { more: bool },
}

/// Where lines go.
trait Output: Write + Send {
    /// The same place anew, after somebody has renamed it.
    fn reopen(&mut self) -> io::Result<()>;
}

/// One JSON object a line on standard output. Its lines are numbered by themselves.
///
/// # Errors
/// [`SinkError`] if standard output cannot be used at all.
pub(super) fn to_stdout(settings: &Settings, around: Around) -> Result<Arc<Queue>, SinkError> {
    let out = stdout().map_err(|source| SinkError::Io { path: "standard output".to_owned(), source })?;
    open("deckle-stdout", settings, around, Form::Json, out)
}

/// `access.log` in the Combined format; with `more`, what deckle thought of the request behind it.
///
/// # Errors
/// [`SinkError`] if the file cannot be made.
pub(super) fn to_access_log(settings: &Settings, more: bool, around: Around) -> Result<Arc<Queue>, SinkError> {
    let path = Path::new(&settings.dir).join(ACCESS_LOG);
    let io = |source| SinkError::Io { path: path.display().to_string(), source };
    std::fs::create_dir_all(&settings.dir).map_err(io)?;
    let file = append_to(&path).map_err(io)?;
    let min_free = settings.min_free.0;
    let log = AccessLog { file, path: path.clone(), min_free, clock: Arc::clone(&around.clock), looked: None };
    open("deckle-access", settings, around, Form::Combined { more }, log)
}

fn open(
    name: &str,
    settings: &Settings,
    around: Around,
    form: Form,
    out: impl Output + 'static,
) -> Result<Arc<Queue>, SinkError> {
    let (queue, mut inbox) = Queue::new(settings, around.clock, around.live, Some(PATIENCE));
    let stats = Arc::clone(queue.stats());
    let mut lines = Lines {
        settings: settings.clone(),
        name: name.to_owned(),
        form,
        pseudonyms: around.pseudonyms,
        stats,
        seq: 0,
        out: Some(out),
        torn: false,
    };
    let io = |source| SinkError::Io { path: name.to_owned(), source };
    queue.start(name, move || keep_going(|| lines.run(&mut inbox))).map_err(io)?;
    Ok(Arc::new(queue))
}

/// Past the buffer and the lock of the standard library: who reads slowly holds up this thread, and nobody else who prints.
#[cfg(unix)]
fn stdout() -> io::Result<Stdout> {
    use std::os::fd::AsFd;
    Ok(Stdout(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn stdout() -> io::Result<Stdout> {
    Ok(Stdout(io::stdout()))
}

#[cfg(unix)]
struct Stdout(File);
#[cfg(not(unix))]
struct Stdout(io::Stdout);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for Stdout {
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that somebody else rotates, and that leaves `audit.min_free` of the disk free.
struct AccessLog {
    file: File,
    path: PathBuf,
    min_free: u64,
    clock: SharedClock,
    looked: Option<Duration>,
}

impl AccessLog {
    fn has_room(&mut self) -> bool {
        let now = self.clock.elapsed();
        if self.looked.is_some_and(|at| now.saturating_sub(at) < LOOK_FREE) {
            return true;
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let has_room = Disk.free(dir).is_none_or(|free| free >= self.min_free);
        self.looked = has_room.then_some(now);
        has_room
    }
}

impl Write for AccessLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_room() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for AccessLog {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

struct Lines<O> {
    settings: Settings,
    name: String,
    form: Form,
    pseudonyms: SharedPseudonyms,
    stats: Arc<Stats>,
    /// The number of the last line.
    seq: u64,
    /// `None`: nobody reads any more.
    out: Option<O>,
    /// The last line lacks its end.
    torn: bool,
}

impl<O: Output> Lines<O> {
    /// Until the stop. Whatever is taken from the queue is written or counted.
    fn run(&mut self, inbox: &mut Inbox) {
        loop {
            match inbox.next_batch(self.settings.flush.0) {
                Next::Over => break,
                Next::Nothing => {}
                Next::Records(batch) => self.write(&batch, || !inbox.is_stopping()),
            }
            if inbox.wants_reopen()
                && let Some(Err(error)) = self.out.as_mut().map(Output::reopen)
            {
                tracing::error!(target: "deckle::audit", %error, sink = self.name,
                    "The file could not be opened anew; the old one is written on.");
            }
        }
    }

    fn write(&mut self, batch: &[AuditRecord], may_wait: impl Fn() -> bool) {
        // Half a line stays one; what follows it is whole.
        let mut bytes = if self.torn { b"\n".to_vec() } else { Vec::new() };
        let mended = bytes.len();
        let sampled = self.render(batch, &mut bytes);
        let lines = batch.len() as u64 - sampled;
        let (done, result) = match &mut self.out {
            Some(out) => write_whole(out, &bytes, may_wait),
            None => (0, Err(ErrorKind::BrokenPipe.into())),
        };
        let left = bytes.get(..done).unwrap_or_default();
        let written = memchr::memchr_iter(b'\n', left.get(mended..).unwrap_or_default()).count() as u64;
        self.torn = left.last().map_or(self.torn, |last| *last != b'\n');
        self.stats.add_bytes(done as u64);
        self.stats.add_written(written, sampled);
        match result {
            Ok(()) => self.stats.set_degraded(false),
            Err(error) => self.lose(lines - written, &error),
        }
    }

    /// Appends the lines; how many records sampling left out.
    fn render(&mut self, batch: &[AuditRecord], bytes: &mut Vec<u8>) -> u64 {
        let mut pseudonyms = self.pseudonyms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sampled = 0;
        bytes.reserve(batch.len() * 800);
        for record in batch {
            let Some(sample) = record.sample(self.settings.sample_assets) else {
                sampled += 1;
                continue;
            };
            self.seq += 1;
            self.form.write(record, bytes, self.seq, &self.settings, sample, &mut pseudonyms);
        }
        sampled
    }

    fn lose(&mut self, lines: u64, error: &io::Error) {
        let is_full = error.kind() == ErrorKind::StorageFull;
        self.stats.add_dropped(|drops| *(if is_full { &mut drops.disk_full } else { &mut drops.io }) += lines);
        // Once for each time that it fails, not for each batch.
        if !self.stats.is_degraded() {
            tracing::error!(target: "deckle::audit", %error, sink = self.name,
                "A sink of the audit log cannot be written; its records are dropped and counted.");
        }
        self.stats.set_degraded(true);
        if error.kind() == ErrorKind::BrokenPipe {
            self.out = None;
        }
    }
}

impl Form {
    fn write(
        self,
        record: &AuditRecord,
        out: &mut Vec<u8>,
        seq: u64,
        settings: &Settings,
        sample: f32,
        pseudonyms: &mut Pseudonyms,
    ) {
        match self {
            Self::Json => record.write(out, seq, settings, sample, pseudonyms),
            Self::Combined { more } => record.write_combined(out, more, settings, pseudonyms),
        }
    }
}

/// All of it if that can be; how much it was, and what ended it.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, that has nothing else to do")]
fn write_whole(out: &mut impl Write, bytes: &[u8], may_wait: impl Fn() -> bool) -> (usize, io::Result<()>) {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(some) => done += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && may_wait() => std::thread::sleep(PAUSE),
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::audit::record::blank;

    /// Takes so many bytes, and then fails in this way.
    #[derive(Clone)]
    struct Failing(Arc<Mutex<(Vec<u8>, usize, ErrorKind)>>);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (taken, room, error) = &mut *self.0.lock().unwrap();
            let some = bytes.len().min(*room);
            if some == 0 {
                return Err((*error).into());
            }
            *room -= some;
            taken.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Failing {
        fn reopen(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(room: usize, error: ErrorKind) -> (Lines<Failing>, Failing) {
        let out = Failing(Arc::new(Mutex::new((Vec::new(), room, error))));
        let lines = Lines {
            settings: Settings::default(),
            name: "test".to_owned(),
            form: Form::Json,
            pseudonyms: Pseudonyms::shared(None),
            stats: Arc::default(),
            seq: 0,
            out: Some(out.clone()),
            torn: false,
        };
        (lines, out)
    }

    fn batch(records: usize) -> Vec<AuditRecord> {
        vec![blank(); records]
    }

    /// Numbers of the whole lines.
    fn numbers(out: &Failing) -> Vec<u64> {
        let taken = out.0.lock().unwrap().0.clone();
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["deckle.seq"].as_u64();
        String::from_utf8(taken).unwrap().lines().filter_map(parse).collect()
    }

    #[test]
    fn half_a_line_stays_alone_and_every_record_is_counted() {
        let (mut lines, out) = lines(1_000, ErrorKind::StorageFull);
        lines.write(&batch(5), || true);
        let (written, lost) = (lines.stats.written(), lines.stats.drops().disk_full);
        assert!(written >= 1 && lost >= 1 && written + lost == 5, "{written} {lost}");
        assert!(lines.stats.is_degraded() && lines.torn);
        out.0.lock().unwrap().1 = 1_000_000;
        lines.write(&batch(2), || true);
        assert!(!lines.stats.is_degraded() && !lines.torn);
        assert_eq!((lines.stats.written(), lines.stats.drops().sum()), (written + 2, lost));
        let expected: Vec<u64> = (1..=written).chain([6, 7]).collect();
        assert_eq!(numbers(&out), expected, "a hole in the numbers is a loss");
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_sink_and_counts_what_it_misses() {
        let (mut lines, out) = lines(0, ErrorKind::BrokenPipe);
        lines.write(&batch(3), || true);
        out.0.lock().unwrap().1 = 1_000_000;
        lines.write(&batch(4), || true);
        assert!(lines.out.is_none() && lines.stats.is_degraded());
        assert_eq!((lines.stats.written(), lines.stats.drops().io), (0, 7));
        assert!(out.0.lock().unwrap().0.is_empty());
    }

    #[test]
    fn a_pipe_that_is_full_is_waited_for_until_the_stop() {
        let (mut lines, out) = lines(10, ErrorKind::WouldBlock);
        let tries = std::cell::Cell::new(0);
        lines.write(&[blank()], || {
            tries.set(tries.get() + 1);
            tries.get() < 3
        });
        assert_eq!((tries.get(), lines.stats.drops().io, lines.torn), (3, 1, true));
        out.0.lock().unwrap().1 = 1_000_000;
        lines.write(&[blank()], || false);
        assert_eq!(numbers(&out), [2]);
    }
}
