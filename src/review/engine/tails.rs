//! Files that grow: read on where they ended, also when they are rotated, cut short, or not there yet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::feed::{self, Batch, Feed, Problem, Reading};
use super::known::{Before, Beginning, Known, bare};
use crate::audit::reader::{Format, Reader};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::review::input::{Chunk, Chunks, Identity, Now, Source, files, identity};

/// Files that are followed at once.
pub(super) const MAX_TAILS: usize = 256;
/// Time between two looks.
const POLL: Duration = Duration::from_millis(250);
/// Looks after which nobody writes any more into a file that has lost its name.
const LEAVES: u32 = 40;
/// Chunks that are taken out of one file before the next one has its turn.
const TURN: usize = 64;
/// Turns in which what is left of a file is read: 64 GiB.
const LAST_TURNS: usize = 4_096;
/// So long after a look, a file may have been replaced twice.
const LONG: Duration = Duration::from_secs(5);

/// Lines that a thread is to parse at once, or what is to be told.
pub(super) type News = Result<Vec<Batch>, Problem>;
/// `None`: nobody listens any more.
type Emit<'e> = &'e dyn Fn(News) -> Option<()>;

/// What is read on after everything has been read once.
pub(super) struct Given {
    /// With their numbers; the first `named` ones were named by somebody, and are waited for.
    pub(super) sources: Vec<(usize, Source)>,
    pub(super) named: usize,
    /// In these, new files are looked for.
    pub(super) dirs: Vec<PathBuf>,
    /// The number of the next source.
    pub(super) next: usize,
}

/// Reads until nobody listens, or it is over.
pub(super) fn read_on(given: Given, reading: &Reading, over: &AtomicBool, send: &SyncSender<News>) {
    let emit = |news: News| send.send(news).ok();
    let mut tell = |problem| {
        let _ = send.send(Err(problem));
    };
    let clock = SystemClock::shared();
    let is_there = |source: &Source| !matches!(source, Source::Path(path) if is_missing(path));
    let (there, missing): (Vec<_>, Vec<_>) = given.sources.iter().cloned().partition(|(_, source)| is_there(source));
    let mut feed = Feed::followed(&there, reading, &mut tell);
    while let Some(group) = feed.next_group(&mut tell) {
        if emit(Ok(group)).is_none() {
            return;
        }
    }
    let mut tails = Tails::new(feed, given, &missing, clock);
    for (_, source) in &missing {
        tell(Problem::Note(format!("waits for `{}`", feed::name(source))));
    }
    tell(Problem::CaughtUp);
    while !over.load(Ordering::Relaxed) && tails.poll(reading, &emit).is_some() {
        std::thread::park_timeout(POLL);
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn identity_of(path: &Path) -> Identity {
    std::fs::metadata(path).ok().and_then(|metadata| identity(&metadata))
}

/// All files that grow.
struct Tails {
    files: Vec<Tail>,
    given: Given,
    names: HashMap<PathBuf, Named>,
    known: Known,
    /// Since the first file was read.
    clock: SharedClock,
}

/// What is known of a name.
struct Named {
    number: usize,
    /// Of the file that was read under it, or passed over: another one is read. `None`: it is followed.
    was: Identity,
}

impl Tails {
    fn new(feed: Feed, given: Given, missing: &[(usize, Source)], clock: SharedClock) -> Self {
        let path = |number: usize| match given.sources.iter().find(|(known, _)| *known == number) {
            Some((_, Source::Path(path))) => Some(path.clone()),
            _ => None,
        };
        let tail = |number: usize| Some(Tail::new(number, path(number)?, number < given.named));
        let ended = feed.ended.into_iter().filter_map(|open| {
            let opened = Opened { chunks: open.chunks, reader: Some(open.reader), first: First::Seen };
            Some(Tail { open: Some(opened), ..tail(open.number)? })
        });
        let awaited = feed.empty.into_iter().chain(missing.iter().map(|(number, _)| *number));
        let closed = feed.closed.into_iter().filter_map(|number| Some(Tail { is_told: true, ..tail(number)? }));
        let files: Vec<Tail> = ended.chain(awaited.filter_map(tail)).chain(closed).collect();
        let named = given.sources.iter().filter_map(|(number, _)| Some((*number, path(*number)?)));
        let mut names: HashMap<PathBuf, Named> =
            named.map(|(number, path)| (path.clone(), Named { number, was: identity_of(&path) })).collect();
        names.extend(files.iter().map(|tail| (tail.path.clone(), Named { number: tail.number, was: None })));
        Self { files, names, known: feed.known, clock, given }
    }

    fn poll(&mut self, reading: &Reading, emit: Emit<'_>) -> Option<()> {
        // Somebody may have named a directory that was not there yet.
        for tail in self.files.extract_if(.., |tail| tail.open.is_none() && tail.path.is_dir()) {
            self.given.dirs.push(tail.path);
        }
        self.look_into_directories(emit)?;
        let mut hands = Hands { known: &mut self.known, clock: &*self.clock, reading, emit };
        for tail in &mut self.files {
            tail.poll(&mut hands)?;
        }
        let mut over: Vec<Tail> = self.files.extract_if(.., |tail| !tail.is_named && tail.is_over()).collect();
        if self.files.len() > MAX_TAILS {
            // What has been still for longest.
            self.files.sort_by_key(|tail| (!tail.is_named, tail.still));
            over.extend(self.files.drain(MAX_TAILS..));
        }
        for tail in over {
            // There may be another file of this name.
            match tail.open.filter(|_| !is_missing(&tail.path)) {
                Some(open) => {
                    let was = open.chunks.identity();
                    self.names.insert(tail.path, Named { number: tail.number, was })
                }
                None => self.names.remove(&tail.path),
            };
        }
        Some(())
    }

    /// What is compressed was read before somebody closed and compressed it.
    fn look_into_directories(&mut self, emit: Emit<'_>) -> Option<()> {
        let all = self.given.dirs.iter().flat_map(|dir| files(dir).unwrap_or_default());
        for path in all.filter(|path| bare(path) == *path) {
            let number = match self.names.get(&path) {
                Some(named) if named.was.is_none() || named.was == identity_of(&path) => continue,
                Some(named) => named.number,
                None => {
                    emit(Err(Problem::Found(Source::Path(path.clone()))))?;
                    self.given.next += 1;
                    self.given.next - 1
                }
            };
            self.names.insert(path.clone(), Named { number, was: None });
            self.files.push(Tail::new(number, path, false));
        }
        Some(())
    }
}

/// Where lines go, and what is to be known for that.
struct Hands<'h> {
    known: &'h mut Known,
    clock: &'h dyn Clock,
    reading: &'h Reading,
    emit: Emit<'h>,
}

/// A name, and the file under it.
struct Tail {
    number: usize,
    path: PathBuf,
    is_named: bool,
    open: Option<Opened>,
    /// It has lost its name, and somebody may still write into it; looks without anything new.
    leaving: Option<(Opened, u32)>,
    /// How the file before this one was read.
    reader: Option<Reader>,
    /// The last look.
    looked: Duration,
    /// Looks without anything new.
    still: u32,
    is_gone: bool,
    /// That it cannot be opened has been told.
    is_told: bool,
}

impl Tail {
    fn new(number: usize, path: PathBuf, is_named: bool) -> Self {
        Self {
            number,
            path,
            is_named,
            open: None,
            leaving: None,
            reader: None,
            looked: Duration::ZERO,
            still: 0,
            is_gone: false,
            is_told: false,
        }
    }

    /// Nothing comes any more under a name that nobody has named.
    fn is_over(&self) -> bool {
        let is_left = self.is_gone && self.still >= LEAVES;
        let is_over = match &self.open {
            Some(open) => matches!(open.first, First::Read) || is_left,
            // What cannot be opened now may be opened later.
            None => is_missing(&self.path),
        };
        self.leaving.is_none() && is_over
    }

    fn poll(&mut self, hands: &mut Hands<'_>) -> Option<()> {
        let last_look = std::mem::replace(&mut self.looked, hands.clock.elapsed());
        let of = (self.number, self.path.as_path());
        if let Some((leaving, still)) = &mut self.leaving {
            *still = if leaving.read(of, hands)? { 0 } else { *still + 1 };
            if *still >= LEAVES {
                leaving.end(of, hands)?;
                self.leaving = None;
            }
        }
        let Some(open) = &mut self.open else { return self.open_anew(First::Unseen, hands) };
        let now = open.chunks.now().unwrap_or(Now::Same);
        let has_grown = now != Now::Same && open.read(of, hands)?;
        self.still = if has_grown { 0 } else { self.still.saturating_add(1) };
        self.is_gone = now == Now::Gone;
        match now {
            Now::Same | Now::Longer | Now::Gone => Some(()),
            Now::Shorter => {
                open.end(of, hands)?;
                let path = self.path.display();
                let told = format!("input_changed: `{path}` was cut short, and is read from its beginning again");
                (hands.emit)(Err(Problem::Note(told)))?;
                self.reader = self.open.take().and_then(|open| open.reader);
                self.open_anew(First::Again, hands)
            }
            Now::Other => {
                let unseen = self.looked.saturating_sub(last_look);
                if self.is_named && unseen > LONG {
                    let (path, seconds) = (self.path.display(), unseen.as_secs());
                    let told = format!(
                        "input_changed: `{path}` was replaced, and nobody had looked for {seconds} s: if that happened twice, lines are missing"
                    );
                    (hands.emit)(Err(Problem::Note(told)))?;
                }
                if let Some((mut before, _)) = self.leaving.take() {
                    before.end(of, hands)?;
                }
                if let Some(open) = self.open.take() {
                    self.reader.clone_from(&open.reader);
                    self.leaving = Some((open, 0));
                }
                self.open_anew(First::Unseen, hands)
            }
        }
    }

    /// What is under the name now, if anything is.
    fn open_anew(&mut self, first: fn(Beginning) -> First, hands: &mut Hands<'_>) -> Option<()> {
        if is_missing(&self.path) {
            return Some(());
        }
        match Chunks::open(&Source::Path(self.path.clone())) {
            Ok(mut chunks) => {
                chunks.follow();
                (self.is_told, self.is_gone, self.still) = (false, false, 0);
                let first = first(Beginning::new(&self.path, chunks.identity()));
                let mut open = Opened { chunks, reader: self.reader.clone(), first };
                open.read((self.number, self.path.as_path()), hands)?;
                self.open = Some(open);
            }
            Err(error) if !self.is_told => {
                self.is_told = true;
                (hands.emit)(Err(Problem::Unreadable(error)))?;
            }
            Err(_) => {}
        }
        Some(())
    }
}

/// The first lines of a file: by them one knows whether it was read before, under another name.
enum First {
    /// They have not come yet.
    Unseen(Beginning),
    /// The same: the file was cut short, and may begin as it did before.
    Again(Beginning),
    /// They were new.
    Seen,
    /// They were read before: nothing of this file counts.
    Read,
}

impl First {
    /// With these lines.
    fn with(self, chunk: &Chunk, reader: &Reader, hands: &mut Hands<'_>) -> Option<Self> {
        let (mut file, was_cut) = match self {
            Self::Unseen(file) => (file, false),
            Self::Again(file) => (file, true),
            Self::Seen | Self::Read => return Some(self),
        };
        if !file.add(chunk, reader) {
            return Some(if was_cut { Self::Again(file) } else { Self::Unseen(file) });
        }
        match hands.known.find(&file).filter(|_| !was_cut) {
            Some(Before::Same) => Some(Self::Read),
            Some(Before::Copy(of)) => {
                let (path, of) = (file.path.display(), of.display());
                let told = format!("`{path}` begins as `{of}` did: it is taken for a copy, and not read");
                (hands.emit)(Err(Problem::Note(told)))?;
                Some(Self::Read)
            }
            None => {
                hands.known.add(file);
                Some(Self::Seen)
            }
        }
    }
}

/// A file.
struct Opened {
    chunks: Chunks,
    /// None before the first lines.
    reader: Option<Reader>,
    first: First,
}

impl Opened {
    /// Hands on what is new; true: there was something.
    fn read(&mut self, of: (usize, &Path), hands: &mut Hands<'_>) -> Option<bool> {
        let mut has_grown = false;
        for _ in 0..TURN {
            if matches!(self.first, First::Read) {
                break;
            }
            match self.chunks.next_chunk() {
                Some(Ok(chunk)) => self.hand_on(chunk, of, hands)?,
                Some(Err(error)) => (hands.emit)(Err(Problem::Unreadable(error)))?,
                None => break,
            }
            has_grown = true;
        }
        Some(has_grown)
    }

    /// What is left, and the last line, which nobody will end.
    fn end(&mut self, of: (usize, &Path), hands: &mut Hands<'_>) -> Option<()> {
        for _ in 0..LAST_TURNS {
            if !self.read(of, hands)? {
                break;
            }
        }
        match self.chunks.rest() {
            Some(chunk) if !matches!(self.first, First::Read) => self.hand_on(chunk, of, hands),
            _ => Some(()),
        }
    }

    fn hand_on(&mut self, chunk: Chunk, (number, path): (usize, &Path), hands: &mut Hands<'_>) -> Option<()> {
        let known = self.reader.take().map_or_else(
            || feed::reader(&Source::Path(path.to_owned()), &chunk, hands.reading),
            |reader| Ok(Some(reader)),
        );
        let mut reader = match known {
            // The lines of a file may come days apart.
            Ok(Some(found)) => found.resumed(found.format()),
            Ok(None) => hands.reading.reader(Format::Combined),
            Err(error) => {
                self.first = First::Read;
                return (hands.emit)(Err(Problem::Unreadable(error)));
            }
        };
        self.first = std::mem::replace(&mut self.first, First::Seen).with(&chunk, &reader, hands)?;
        if matches!(self.first, First::Read) {
            return Some(());
        }
        let batch = Batch::new(number, chunk, &mut reader);
        self.reader = Some(reader);
        (hands.emit)(Ok(vec![batch]))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{OpenOptions, copy, remove_file, rename};
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    /// A directory that is followed as a whole.
    struct Rig {
        dir: PathBuf,
        tails: Tails,
        reading: Reading,
        clock: Arc<ManualClock>,
    }

    impl Rig {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("deckle-tails-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            let reading = Reading::default();
            let given = Given { sources: Vec::new(), named: 0, dirs: vec![dir.clone()], next: 0 };
            let feed = Feed::followed(&[], &reading, &mut |problem| panic!("{problem:?}"));
            let clock = ManualClock::at(0);
            Self { tails: Tails::new(feed, given, &[], clock.clone()), dir, reading, clock }
        }

        /// One file is followed instead, by its name; with it: how often something was told of it.
        fn name(&mut self, name: &str) -> usize {
            let sources = vec![(0, Source::Path(self.path(name)))];
            let mut told = 0;
            let mut feed = Feed::followed(&sources, &self.reading, &mut |_| told += 1);
            while feed.next_group(&mut |problem| panic!("{problem:?}")).is_some() {}
            let given = Given { sources, named: 1, dirs: Vec::new(), next: 1 };
            self.tails = Tails::new(feed, given, &[], self.clock.clone());
            told
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// The paths that were asked for in the lines that are new, and what is told.
        fn poll(&mut self) -> (Vec<String>, Vec<String>) {
            let (asked, told) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            let emit = |news: News| {
                match news {
                    Ok(group) => asked.borrow_mut().extend(group.iter().flat_map(paths)),
                    Err(Problem::Found(_)) => {}
                    Err(Problem::Note(text)) => told.borrow_mut().push(text),
                    Err(problem) => told.borrow_mut().push(format!("{problem:?}")),
                }
                Some(())
            };
            self.tails.poll(&self.reading, &emit).unwrap();
            (asked.into_inner(), told.into_inner())
        }

        /// The same, where nothing is to be told.
        fn asked(&mut self) -> Vec<String> {
            let (asked, told) = self.poll();
            assert_eq!(told, Vec::<String>::new());
            asked
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn paths(batch: &Batch) -> Vec<String> {
        let text = String::from_utf8_lossy(&batch.chunk.bytes);
        text.lines().map(|line| line.split(' ').nth(6).unwrap_or(line).to_owned()).collect()
    }

    fn line(path: &str) -> String {
        format!("203.0.113.9 - - [20/Nov/2025:10:00:00 +0000] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"curl/8\"\n")
    }

    #[test]
    fn two_logs_that_begin_alike_are_both_read() {
        let mut rig = Rig::new("alike");
        let probe = line("/health");
        rig.append("a.access.log", &(probe.clone() + &line("/a")));
        rig.append("b.access.log", &(probe.clone() + &line("/b")));
        let mut asked = rig.asked();
        asked.sort();
        assert_eq!(asked, ["/a", "/b", "/health", "/health"]);
        // Renamed, it is the same file; what takes its name is another.
        rename(rig.path("b.access.log"), rig.path("b.access.log.1")).unwrap();
        rig.append("b.access.log.1", &line("/b2"));
        rig.append("b.access.log", &(probe + &line("/c")));
        assert_eq!(rig.asked(), ["/b2", "/health", "/c"]);
    }

    #[test]
    fn a_copy_is_told_of_and_its_name_is_not_lost() {
        let mut rig = Rig::new("copy");
        rig.append("access.log", &(line("/1") + &line("/2")));
        assert_eq!(rig.asked(), ["/1", "/2"]);
        copy(rig.path("access.log"), rig.path("access.log.1")).unwrap();
        let (asked, told) = rig.poll();
        assert_eq!(asked, Vec::<String>::new());
        assert!(told.len() == 1 && told[0].contains("access.log.1` begins as `"), "{told:?}");
        assert_eq!(rig.asked(), Vec::<String>::new(), "it is told once");
        // Another file of that name: the number of the copy is still in use, so that it gets another one.
        rename(rig.path("access.log.1"), rig.path("kept")).unwrap();
        rig.append("access.log.1", &line("/3"));
        assert_eq!(rig.asked(), ["/3"]);
        remove_file(rig.path("kept")).unwrap();
    }

    /// It is a file that every system call but reading takes for one.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_opened_at_first_is_read_later() {
        let mut rig = Rig::new("unreadable");
        std::os::unix::fs::symlink("/proc/self/mem", rig.path("access.log")).unwrap();
        let (asked, told) = rig.poll();
        assert!(asked.is_empty() && told.len() == 1 && told[0].contains("access.log"), "{told:?}");
        assert_eq!(rig.asked(), Vec::<String>::new(), "it is told once");
        remove_file(rig.path("access.log")).unwrap();
        rig.append("access.log", &line("/1"));
        assert_eq!(rig.asked(), ["/1"]);
    }

    /// The same, of a file that was there at the start.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_opened_at_the_start_is_read_later() {
        let mut rig = Rig::new("unreadable-start");
        let path = rig.path("access.log");
        std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
        assert_eq!((rig.name("access.log"), rig.asked()), (1, vec![]), "it is told once");
        remove_file(&path).unwrap();
        rig.append("access.log", &line("/1"));
        assert_eq!(rig.asked(), ["/1"]);
    }

    #[test]
    fn a_file_that_is_rotated_twice_is_read_to_its_end() {
        let mut rig = Rig::new("twice");
        rig.append("access.log", &line("/0"));
        assert_eq!(rig.name("access.log"), 0);
        // More than is read in the turns that it has until then.
        let long = line(&format!("/{}", "x".repeat(1_000)));
        let lines = 5 * TURN * (1 << 18) / (2 * long.len());
        rig.append("access.log", &long.repeat(lines));
        let mut asked = 0;
        for name in ["access.log.2", "access.log.1"] {
            rename(rig.path("access.log"), rig.path(name)).unwrap();
            rig.append("access.log", &line(&format!("/behind/{name}")));
            asked += rig.asked().len();
        }
        assert_eq!(asked, lines + 2);
    }

    #[test]
    fn what_may_be_missing_after_a_long_time_is_told() {
        let mut rig = Rig::new("long");
        rig.append("access.log", &line("/0"));
        assert_eq!((rig.name("access.log"), rig.asked()), (0, vec![]));
        for (seconds, number) in [(5, 1), (6, 2)] {
            rename(rig.path("access.log"), rig.path(&format!("access.log.{number}"))).unwrap();
            rig.append("access.log", &line(&format!("/{number}")));
            rig.clock.advance(Duration::from_secs(seconds));
            let (asked, told) = rig.poll();
            assert_eq!(asked, [format!("/{number}")]);
            assert_eq!(told.len(), usize::from(seconds > 5), "{told:?}");
            assert!(told.iter().all(|told| told.contains("nobody had looked for 6 s")), "{told:?}");
        }
    }
}
