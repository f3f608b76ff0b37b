//! Files of several servers, line by line in the order of time.
//!
//! Where nothing else is due, chunks go on as they are, and no line is looked at. Where another source is, a chunk is given
//! out in parts: each ends before the first line that is later than what the other one has next. So the order is that of
//! the lines, and does not depend on how they fell into chunks.

use std::time::Duration;

use super::{Batch, LOOKED_AT, Open, pass_over, time_of};
use crate::audit::reader::{Format, Hit, Reader};
use crate::review::input::Chunk;

/// A server writes a line when the answer is done: a chunk that ends this much earlier holds no later line.
const DISORDER: Duration = Duration::from_secs(300);

impl Open {
    /// What comes before `border`, the time at which another source goes on; all that there is, if none does.
    pub(super) fn take(&mut self, border: Option<Duration>) -> Option<Batch> {
        let mut chunk = self.pending.take()?;
        let reader = self.reader.resumed(self.reader.format());
        let (source, newest, is_part) = (self.number, self.newest, self.given > 0);
        let batch = |chunk: Chunk, is_part: bool| Batch { source, chunk, reader, newest, is_part };
        if border.is_none_or(|border| self.is_before(&chunk, border)) {
            chunk.bytes.drain(..self.given);
            let batch = batch(chunk, is_part);
            self.pass_over(&batch.chunk);
            return Some(batch);
        }
        let rest = chunk.bytes.get(self.given..).unwrap_or_default();
        let length = run(rest, border.unwrap_or_default(), &mut self.reader, &mut self.time, &mut self.newest);
        if length == rest.len() {
            chunk.bytes.drain(..self.given);
            return Some(batch(chunk, true));
        }
        let part = Chunk {
            bytes: rest.get(..length).unwrap_or_default().to_vec(),
            too_long: std::mem::take(&mut chunk.too_long),
            too_long_bytes: std::mem::take(&mut chunk.too_long_bytes),
            last: false,
        };
        let batch = batch(part, true);
        self.given += length;
        self.pending = Some(chunk);
        Some(batch)
    }

    /// Does it end so early that all of it comes first?
    fn is_before(&mut self, chunk: &Chunk, border: Duration) -> bool {
        let end = *self.end.get_or_insert_with(|| last_time(chunk, &self.reader).unwrap_or(Duration::MAX));
        end.saturating_add(DISORDER) <= border
    }

    /// The lines behind these come next.
    fn pass_over(&mut self, chunk: &Chunk) {
        pass_over(chunk, &mut self.reader);
        if let Some(end) = self.end.filter(|end| *end < Duration::MAX) {
            self.newest = self.newest.max(end);
        }
    }
}

/// The bytes of the lines up to the first that is later than `border`, which gives the time at which to go on. The first line
/// is always one of them.
fn run(rest: &[u8], border: Duration, reader: &mut Reader, next: &mut Duration, newest: &mut Duration) -> usize {
    let (mut end, mut hit) = (0, Hit::default());
    while let Some(left) = rest.get(end..).filter(|left| !left.is_empty()) {
        let length = memchr::memchr(b'\n', left).map_or(left.len(), |at| at + 1);
        let line = left.get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let format = reader.format();
        if let Some(time) = time_of_line(line, reader, &mut hit) {
            if end > 0 && time > border {
                // It is read once more, with those behind it.
                if reader.format() != format {
                    *reader = reader.resumed(format);
                }
                *next = time;
                return end;
            }
            *newest = (*newest).max(time);
        }
        end += length;
    }
    end
}

/// The time of a line, if it has one. Nearly all lines are usual ones, and `hit` takes what is read of those.
fn time_of_line<'l>(line: &'l [u8], reader: &mut Reader, hit: &mut Hit<'l>) -> Option<Duration> {
    let text = if reader.format() == Format::Combined { std::str::from_utf8(line).ok() } else { None };
    if text.is_some_and(|text| reader.read_usual(text, hit)) {
        return Some(hit.time);
    }
    time_of(&reader.read(line))
}

/// The time of the last line that has one.
fn last_time(chunk: &Chunk, reader: &Reader) -> Option<Duration> {
    let (mut reader, mut rest) = (reader.clone(), chunk.bytes.as_slice());
    for _ in 0..LOOKED_AT {
        let line = rest.strip_suffix(b"\n").unwrap_or(rest);
        let start = memchr::memrchr(b'\n', line).map_or(0, |at| at + 1);
        if let Some(time) = time_of(&reader.read(line.get(start..)?)) {
            return Some(time);
        }
        rest = rest.get(..start).filter(|rest| !rest.is_empty())?;
    }
    None
}
