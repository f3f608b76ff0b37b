//! Files that grow: read on where they ended, also when they are rotated, cut short, or not there yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::feed::{self, Batch, Feed, Problem, Reading};
use crate::audit::reader::{Format, Reader};
use crate::review::input::{Chunk, Chunks, Now, Source, files};

/// Files that are followed at once.
pub(super) const MAX_TAILS: usize = 256;
/// Time between two looks.
const POLL: Duration = Duration::from_millis(250);
/// Looks after which nobody writes any more into a file that has lost its name.
const LEAVES: u32 = 40;
/// Chunks that are taken out of one file before the next one has its turn.
const TURN: usize = 64;

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
    let is_there = |source: &Source| !matches!(source, Source::Path(path) if is_missing(path));
    let (there, missing): (Vec<_>, Vec<_>) = given.sources.iter().cloned().partition(|(_, source)| is_there(source));
    let mut feed = Feed::new(&there, reading, None, &mut tell).follow();
    while let Some(group) = feed.next_group(&mut tell) {
        if emit(Ok(group)).is_none() {
            return;
        }
    }
    let mut tails = Tails::new(feed, given, &missing);
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

/// All files that grow.
struct Tails {
    files: Vec<Tail>,
    given: Given,
    /// What was found in the directories, without the ends that compression adds.
    names: HashSet<PathBuf>,
    /// First lines of what was read.
    marks: HashSet<u64>,
}

impl Tails {
    fn new(feed: Feed, given: Given, missing: &[(usize, Source)]) -> Self {
        let path = |number: usize| match given.sources.iter().find(|(known, _)| *known == number) {
            Some((_, Source::Path(path))) => Some(path.clone()),
            _ => None,
        };
        let tail = |number: usize| Some(Tail::new(number, path(number)?, number < given.named));
        let ended = feed.ended.into_iter().filter_map(|open| {
            let opened = Opened { chunks: open.chunks, reader: Some(open.reader), first: First::Seen };
            Some(Tail { open: Some(opened), ..tail(open.number)? })
        });
        let closed = feed.empty.into_iter().chain(missing.iter().map(|(number, _)| *number));
        let files = ended.chain(closed.filter_map(tail)).collect();
        let names = given.sources.iter().filter_map(|(number, _)| path(*number)).map(|path| bare(&path)).collect();
        Self { files, names, marks: feed.marks, given }
    }

    fn poll(&mut self, reading: &Reading, emit: Emit<'_>) -> Option<()> {
        // Somebody may have named a directory that was not there yet.
        for tail in self.files.extract_if(.., |tail| tail.open.is_none() && tail.path.is_dir()) {
            self.given.dirs.push(tail.path);
        }
        self.look_into_directories(emit)?;
        let mut hands = Hands { marks: &mut self.marks, reading, emit };
        for tail in &mut self.files {
            tail.poll(&mut hands)?;
        }
        for tail in self.files.extract_if(.., |tail| !tail.is_named && tail.is_over()) {
            // There may be a file of this name again.
            if is_missing(&tail.path) {
                self.names.remove(&tail.path);
            }
        }
        if self.files.len() > MAX_TAILS {
            // What has been still for longest.
            self.files.sort_by_key(|tail| (!tail.is_named, tail.still));
            self.files.truncate(MAX_TAILS);
        }
        Some(())
    }

    /// What is compressed was read before somebody closed and compressed it.
    fn look_into_directories(&mut self, emit: Emit<'_>) -> Option<()> {
        for path in self.given.dirs.iter().flat_map(|dir| files(dir).unwrap_or_default()) {
            let name = bare(&path);
            if self.names.insert(name.clone()) && name == path {
                emit(Err(Problem::Found(Source::Path(path.clone()))))?;
                self.files.push(Tail::new(self.given.next, path, false));
                self.given.next += 1;
            }
        }
        Some(())
    }
}

/// A name without what compression adds to it.
fn bare(path: &Path) -> PathBuf {
    let is_compressed = path.extension().is_some_and(|end| end == "gz" || end == "zst");
    if is_compressed { path.with_extension("") } else { path.to_owned() }
}

/// Where lines go, and what is to be known for that.
struct Hands<'h> {
    marks: &'h mut HashSet<u64>,
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
            still: 0,
            is_gone: false,
            is_told: false,
        }
    }

    /// Nothing comes any more under a name that nobody has named.
    fn is_over(&self) -> bool {
        let is_left = self.is_gone && self.still >= LEAVES;
        self.leaving.is_none() && self.open.as_ref().is_none_or(|open| open.first == First::Read || is_left)
    }

    fn poll(&mut self, hands: &mut Hands<'_>) -> Option<()> {
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
    fn open_anew(&mut self, first: First, hands: &mut Hands<'_>) -> Option<()> {
        if is_missing(&self.path) {
            return Some(());
        }
        match Chunks::open(&Source::Path(self.path.clone())) {
            Ok(mut chunks) => {
                chunks.follow();
                (self.is_told, self.is_gone, self.still) = (false, false, 0);
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

/// The first line of a file: by it one knows whether the file was read before, under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It has not come yet.
    Unseen,
    /// The same: the file was cut short, and may begin as it did before.
    Again,
    /// It was new.
    Seen,
    /// It was read before: nothing of this file counts.
    Read,
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
            if self.first == First::Read {
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

    /// Nobody will end the last line.
    fn end(&mut self, of: (usize, &Path), hands: &mut Hands<'_>) -> Option<()> {
        match self.chunks.rest() {
            Some(chunk) if self.first != First::Read => self.hand_on(chunk, of, hands),
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
        if matches!(self.first, First::Unseen | First::Again)
            && let Some(mark) = feed::mark(&chunk, &reader)
        {
            let is_new = hands.marks.insert(mark) || self.first == First::Again;
            self.first = if is_new { First::Seen } else { First::Read };
        }
        if self.first == First::Read {
            return Some(());
        }
        let batch = Batch::new(number, chunk, &mut reader);
        self.reader = Some(reader);
        (hands.emit)(Ok(vec![batch]))
    }
}
