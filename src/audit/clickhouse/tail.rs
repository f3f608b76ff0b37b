//! Reads the segments of one instance as they are written, closed, compressed and deleted.

use std::io;
use std::path::{Path, PathBuf};

use super::offset::Position;
use super::{Batch, Row};
use crate::audit::reader::{Format, Line, Reader};
use crate::audit::segment_file::{Compression, SegmentLines, SegmentName, bare_name};
use crate::audit::segments::segments;

/// How often one segment is begun anew.
const ODD: usize = 8;
/// Looks after which a segment that cannot be opened is given up, if there is a newer one.
const PATIENCE: u32 = 50;

/// Where the reading is.
pub(super) struct Tail {
    dir: PathBuf,
    instance: String,
    /// The segment that is or was read last; it is over if the flag is set.
    at: Option<(SegmentName, bool)>,
    open: Option<Open>,
    /// Looks in a row at which the segment could not be opened.
    closed: u32,
    /// The last line that was read, or that was sent before.
    last: Option<Position>,
    reader: Reader,
}

struct Open {
    path: PathBuf,
    name: SegmentName,
    lines: SegmentLines,
    /// Bytes of the lines that were read.
    bytes: u64,
    /// Lines up to this one were sent before.
    sent: u64,
    /// Places of lines that do not go on where the one before stops: for each it was begun anew once.
    odd: Vec<u64>,
}

/// What there was beside rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Numbers that are missing: they were deleted before they were read, or nobody could read them.
    pub(super) lost: u64,
    /// Lines that are none.
    pub(super) skipped: u64,
}

/// How far a segment was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The batch can take no more.
    Full,
    /// There is no more for now.
    End,
    /// It cannot be read on.
    Broken,
    /// It is shorter than it was, or does not go on where it stopped: somebody has cut it.
    Cut,
}

impl Tail {
    /// Goes on behind `sent`; `None`: from the oldest segment on.
    pub(super) fn new(dir: &Path, instance: &str, sent: Option<Position>) -> Self {
        let at = sent.as_ref().and_then(|sent| SegmentName::of(Path::new(&sent.segment))).map(|name| (name, false));
        Self {
            dir: dir.to_owned(),
            instance: instance.to_owned(),
            at,
            open: None,
            closed: 0,
            last: sent,
            reader: Reader::new(Format::Deckle),
        }
    }

    /// The last line that was read; `None`: none was.
    pub(super) fn position(&self) -> Option<&Position> {
        self.last.as_ref()
    }

    /// Fills the batch with what is there.
    pub(super) fn read(&mut self, batch: &mut Batch) -> Told {
        let mut told = Told::default();
        // It lives as long as the process, and what it takes for a time that can be has to move on.
        self.reader = self.reader.resumed(Format::Deckle);
        while let Some(mut open) = self.open.take().or_else(|| self.next_segment()) {
            // Asked before the reading: when there is a newer one, this one has all of its lines.
            let is_over = self.names().any(|(name, _)| name > open.name);
            match self.read_lines(&mut open, batch, &mut told) {
                Progress::Full => {
                    self.open = Some(open);
                    break;
                }
                Progress::End if !is_over => {
                    self.open = Some(open);
                    break;
                }
                Progress::End | Progress::Broken => self.at = Some((open.name, true)),
                Progress::Cut => {
                    // All of it counts anew, and is sent again: the engine knows what it has.
                    self.last = None;
                    self.open = begin(&open.path, &open.name, open.odd).ok();
                }
            }
        }
        told
    }

    fn names(&self) -> impl Iterator<Item = (SegmentName, PathBuf)> + use<> {
        segments(&self.dir, &self.instance).into_iter().filter_map(|path| Some((SegmentName::of(&path)?, path)))
    }

    /// The oldest one that is not over. Where one lies there twice, half compressed, the plain one comes first.
    fn next_segment(&mut self) -> Option<Open> {
        let is_next = |name: &SegmentName| match &self.at {
            None => true,
            Some((at, is_over)) => name > at || (name == at && !is_over),
        };
        let (name, path) = self.names().find(|(name, _)| is_next(name))?;
        self.at = Some((name.clone(), false));
        let mut open = match begin(&path, &name, Vec::new()) {
            Ok(open) => open,
            Err(error) => {
                self.wait_or_give_up(&error, &path, name);
                return None;
            }
        };
        self.closed = 0;
        let sent = self.last.as_ref().filter(|last| last.segment == bare_name(&open.path));
        open.sent = sent.map_or(0, |last| last.seq);
        Some(open)
    }

    /// It may have been compressed or deleted since it was looked for; the next look finds what is there.
    fn wait_or_give_up(&mut self, error: &io::Error, path: &Path, name: SegmentName) {
        self.closed += 1;
        if self.closed == 2 {
            tracing::warn!(target: "deckle::audit", %error, path = %path.display(),
                "A segment cannot be opened; nothing goes to ClickHouse until it can, or until a newer one has waited for long.");
        }
        // Its numbers are missing then, and count as lost.
        if self.closed >= PATIENCE && self.names().any(|(other, _)| other > name) {
            (self.at, self.closed) = (Some((name, true)), 0);
        }
    }

    fn read_lines(&mut self, open: &mut Open, batch: &mut Batch, told: &mut Told) -> Progress {
        let segment = bare_name(&open.path);
        while !batch.is_full() {
            let line = match open.lines.next_whole_line() {
                Ok(Some(line)) => line,
                Ok(None) => return if open.is_cut() { Progress::Cut } else { Progress::End },
                Err(error) => {
                    tracing::warn!(target: "deckle::audit", %error, path = %open.path.display(),
                        "A segment cannot be read to its end; what is left of it is not sent to ClickHouse.");
                    return Progress::Broken;
                }
            };
            let at = open.bytes;
            open.bytes += line.len() as u64 + 1;
            let (seq, row) = match self.reader.read(line) {
                Line::Hit(hit) => (hit.deckle.as_ref().map(|fields| fields.seq), Row::own(&hit)),
                Line::Other(note) => (Some(note.seq), None),
                Line::Skipped(_) => (None, None),
                Line::Directive | Line::Empty => continue,
            };
            let last = self.last.as_ref().map(|last| (last.seq, last.segment == segment));
            if seq.is_some_and(|seq| seq <= open.sent) {
                continue;
            }
            let goes_on = match (seq, last) {
                (Some(seq), Some((last, true))) => seq > last,
                (None, Some((_, true))) => false,
                _ => true,
            };
            // A failed write was taken back after it had been read, and others stand in its place.
            if !goes_on && open.odd.len() < ODD && !open.odd.contains(&at) {
                open.odd.push(at);
                return Progress::Cut;
            }
            let Some(seq) = seq.filter(|_| goes_on) else {
                told.skipped += 1;
                continue;
            };
            told.lost += last.map_or(0, |(last, _)| seq.saturating_sub(last + 1));
            match &mut self.last {
                Some(last) if last.segment == segment => last.seq = seq,
                last => *last = Some(Position { instance: self.instance.clone(), seq, segment: segment.clone() }),
            }
            if let Some(row) = row {
                batch.push(row);
            }
        }
        Progress::Full
    }
}

fn begin(path: &Path, name: &SegmentName, odd: Vec<u64>) -> io::Result<Open> {
    let lines = SegmentLines::open(path)?;
    Ok(Open { path: path.to_owned(), name: name.clone(), lines, bytes: 0, sent: 0, odd })
}

impl Open {
    /// Is it shorter than what was read of it?
    fn is_cut(&self) -> bool {
        let length = std::fs::metadata(&self.path).map(|metadata| metadata.len());
        self.lines.compression == Compression::Plain && length.is_ok_and(|length| length < self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("deckle-tail-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn path(&self, number: u64) -> PathBuf {
            self.0.join(format!("audit-w1-20261124T00000{number}Z-{number}.ndjson"))
        }

        fn write(&self, number: u64, text: &str) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path(number)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn tail(&self) -> Tail {
            Tail::new(&self.0, "w1", super::super::offset::load(&self.0, "w1"))
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn hit(seq: u64) -> String {
        format!(
            "{{\"v\":1,\"time\":\"2026-11-24T00:00:01.000Z\",\"deckle.seq\":{seq},\"deckle.instance\":\"w1\",\"url.path\":\"/a\"}}\n"
        )
    }

    fn note(seq: u64) -> String {
        format!("{{\"v\":1,\"time\":\"2026-11-24T00:00:01.000Z\",\"deckle.kind\":\"end\",\"deckle.seq\":{seq}}}\n")
    }

    /// Numbers of the rows that are new.
    fn read(tail: &mut Tail) -> (Vec<u64>, Told) {
        let mut batch = Batch::default();
        let told = tail.read(&mut batch);
        (batch.rows().iter().map(|row| row.seq).collect(), told)
    }

    const NOTHING: Told = Told { lost: 0, skipped: 0 };

    #[test]
    fn it_follows_writing_rotation_and_compression() {
        let log = Log::new("follows");
        let mut tail = log.tail();
        assert_eq!(read(&mut tail), (vec![], NOTHING));
        log.write(1, &(note(1) + &hit(2) + &hit(3)[..20]));
        assert_eq!(read(&mut tail), (vec![2], NOTHING));
        log.write(1, &(hit(3)[20..].to_owned() + &note(4)));
        log.write(2, &(note(5) + &hit(6)));
        assert_eq!(read(&mut tail), (vec![3, 6], NOTHING));
        // The next one is closed, compressed and followed by another before it is looked at.
        let third = note(7) + &hit(8) + &note(9);
        std::fs::write(log.path(3).with_extension("ndjson.zst"), zstd::encode_all(third.as_bytes(), 1).unwrap())
            .unwrap();
        log.write(4, &(note(10) + &hit(11)));
        assert_eq!(read(&mut tail), (vec![8, 11], NOTHING));
        assert_eq!(tail.position().map(|at| at.seq), Some(11));
    }

    #[test]
    fn it_goes_on_where_it_was_and_counts_what_is_gone() {
        let log = Log::new("goes-on");
        log.write(1, &(note(1) + &hit(2) + &hit(3)));
        let mut tail = log.tail();
        assert_eq!(read(&mut tail).0, [2, 3]);
        super::super::offset::save(&log.0, tail.position().unwrap()).unwrap();
        log.write(1, &hit(4));
        log.write(2, &(note(5) + &hit(6)));
        assert_eq!(read(&mut log.tail()), (vec![4, 6], NOTHING));
        // The same after its segment was compressed.
        let first = std::fs::read(log.path(1)).unwrap();
        std::fs::write(log.path(1).with_extension("ndjson.gz"), gz(&first)).unwrap();
        assert_eq!(read(&mut log.tail()), (vec![4, 6], NOTHING), "the plain one comes first");
        std::fs::remove_file(log.path(1)).unwrap();
        assert_eq!(read(&mut log.tail()), (vec![4, 6], NOTHING));
        // And after it was deleted: line 4 is lost.
        std::fs::remove_file(log.path(1).with_extension("ndjson.gz")).unwrap();
        assert_eq!(read(&mut log.tail()), (vec![6], Told { lost: 1, skipped: 0 }));
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_write_that_was_taken_back_is_read_anew() {
        let log = Log::new("taken-back");
        log.write(1, &(note(1) + &hit(2) + &hit(3)));
        let mut tail = log.tail();
        assert_eq!(read(&mut tail).0, [2, 3]);
        // The batch of line 3 failed; its number goes to another line.
        let kept = (note(1) + &hit(2)).len() as u64;
        OpenOptions::new().write(true).open(log.path(1)).unwrap().set_len(kept).unwrap();
        assert_eq!(read(&mut tail), (vec![2], NOTHING));
        log.write(1, &(hit(3) + &hit(4)));
        assert_eq!(read(&mut tail), (vec![3, 4], NOTHING));
        // The same, if it is longer again before anybody looks: then it goes on in mid-line.
        OpenOptions::new().write(true).open(log.path(1)).unwrap().set_len(kept).unwrap();
        log.write(1, &(note(3) + &hit(4) + &hit(5)));
        assert_eq!(read(&mut tail), (vec![2, 4, 5], NOTHING));
    }

    #[test]
    fn torn_and_odd_lines_stop_nobody() {
        let log = Log::new("torn");
        log.write(1, &(note(1) + "nonsense\n" + &hit(2) + &hit(3)[..20]));
        log.write(2, &(note(3) + &hit(4)));
        let (rows, told) = read(&mut log.tail());
        assert_eq!(told, Told { lost: 0, skipped: 1 });
        assert_eq!(rows.iter().filter(|seq| **seq == 4).count(), 1);
        assert!(rows.contains(&2), "{rows:?}");
        // A damaged copy is left where the damage is.
        let whole = zstd::encode_all((note(5) + &hit(6)).as_bytes(), 1).unwrap();
        std::fs::write(log.path(3).with_extension("ndjson.zst"), &whole[..whole.len() / 2]).unwrap();
        log.write(4, &hit(9));
        assert!(read(&mut log.tail()).0.contains(&9));
    }

    #[test]
    fn it_reads_on_after_days() {
        let log = Log::new("days");
        let now = jiff::Timestamp::now();
        let made = std::time::Duration::from_secs(now.as_second().unsigned_abs() - 2 * 86_400);
        let mut tail = log.tail();
        tail.reader = Reader::new(Format::Deckle).made_at(made);
        let at = |seq| hit(seq).replace("2026-11-24T00:00:01.000Z", &format!("{now:.3}"));
        log.write(1, &(at(1) + &at(2)));
        assert_eq!(read(&mut tail), (vec![1, 2], NOTHING));
        assert_eq!(tail.position().map(|at| at.seq), Some(2));
    }

    #[test]
    fn a_segment_that_cannot_be_opened_holds_up_the_others_for_a_while() {
        let log = Log::new("closed");
        log.write(1, &(note(1) + &hit(2) + &hit(3)));
        let mut tail = log.tail();
        assert_eq!(read(&mut tail).0, [2, 3]);
        // A directory can be opened, and not be read.
        std::fs::create_dir(log.path(2)).unwrap();
        for _ in 0..2 * PATIENCE {
            assert_eq!(read(&mut tail), (vec![], NOTHING), "it may get readable while nothing else waits");
        }
        log.write(3, &(note(7) + &hit(8)));
        assert_eq!(read(&mut tail), (vec![], NOTHING));
        assert_eq!(read(&mut tail), (vec![8], Told { lost: 3, skipped: 0 }));
    }

    #[test]
    fn a_segment_that_can_be_opened_again_is_read() {
        let log = Log::new("opened-again");
        std::fs::create_dir(log.path(1)).unwrap();
        log.write(2, &(note(4) + &hit(5)));
        let mut tail = log.tail();
        for _ in 1..PATIENCE {
            assert_eq!(read(&mut tail), (vec![], NOTHING));
        }
        std::fs::remove_dir(log.path(1)).unwrap();
        log.write(1, &(note(1) + &hit(2) + &note(3)));
        assert_eq!(read(&mut tail), (vec![2, 5], NOTHING));
    }
}
