//! Ten kinds of tampering at fifty places each: all found, and the first bad block named. A thousand segments that nobody
//! touched: no alarm.

use std::ops::RangeInclusive;

use fastrand::Rng;

use super::{Segment, Verdict, verify};
use crate::audit::chain;
use crate::audit::integrity::{Kind, Tombstone, kind, seq};
use crate::audit::sample_log::SampleLog;

/// Places of each kind.
const PLACES: usize = 50;
const SEGMENTS: u64 = 5;
const VISITORS: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];

/// A closed segment, and one before it.
struct Victim<'l> {
    lines: &'l [Vec<u8>],
    older: &'l [Vec<u8>],
    /// Places of its checkpoints.
    seals: Vec<usize>,
}

impl<'l> Victim<'l> {
    fn of(lines: &'l [Vec<u8>], older: &'l [Vec<u8>]) -> Self {
        let seals = (0..lines.len()).filter(|at| kind(&lines[*at]) == Kind::Checkpoint).collect();
        Self { lines, older, seals }
    }

    /// The block that a line, or what stands in its place, belongs to.
    fn block(&self, at: usize) -> u64 {
        1 + self.seals.iter().filter(|seal| **seal < at).count() as u64
    }

    /// A line that is neither the first nor the last.
    fn inner(&self, rng: &mut Rng) -> usize {
        rng.usize(1..self.lines.len() - 1)
    }

    fn hit(&self, rng: &mut Rng) -> usize {
        let hits: Vec<usize> = (1..self.lines.len()).filter(|at| kind(&self.lines[*at]) == Kind::Hit).collect();
        *rng.choice(&hits).unwrap()
    }

    /// The same with one line changed.
    fn with(&self, at: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<Vec<u8>> {
        let mut lines = self.lines.to_vec();
        change(&mut lines[at]);
        lines
    }
}

/// What has to be said of the segment.
enum Expected {
    /// That one of these is the first bad block.
    Block(Vec<u64>),
    Missing,
    /// It has the place of another: any fault, and its neighbours may have one, too.
    Fault,
}

/// What stands in the segment afterwards (`None`: it is gone), and what has to be said of it.
type Tampered = (Option<Vec<Vec<u8>>>, Expected);

const KINDS: [(&str, fn(&Victim<'_>, &mut Rng) -> Tampered); 10] = [
    ("a flipped bit", flip),
    ("a deleted line", delete),
    ("two swapped lines", swap),
    ("a line twice", insert),
    ("a deleted block", delete_block),
    ("a deleted segment", |_, _| (None, Expected::Missing)),
    ("an old segment again", |victim, _| (Some(victim.older.to_vec()), Expected::Fault)),
    ("a cut tail", cut),
    ("another number in a line", edit_number),
    ("another checkpoint", edit_seal),
];

/// Not in the last line, whose signature may be all that is changed: `no_byte_of_a_closed_segment_can_be_flipped`.
fn flip(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let at = rng.usize(..victim.lines.len() - 1);
    let (byte, bit) = (rng.usize(..victim.lines[at].len()), 1_u8 << rng.u8(..8));
    let block = victim.block(at);
    // A checkpoint closes a block and is the first line of the next one.
    let last = block + u64::from(victim.seals.contains(&at));
    (Some(victim.with(at, |line| line[byte] ^= bit)), Expected::Block((block..=last).collect()))
}

fn delete(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let at = victim.inner(rng);
    let mut lines = victim.lines.to_vec();
    lines.remove(at);
    (Some(lines), Expected::Block(vec![victim.block(at)]))
}

fn swap(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let (one, mut other) = (victim.inner(rng), victim.inner(rng));
    while other == one {
        other = victim.inner(rng);
    }
    let mut lines = victim.lines.to_vec();
    lines.swap(one, other);
    (Some(lines), Expected::Block(vec![victim.block(one.min(other))]))
}

fn insert(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let at = rng.usize(1..victim.lines.len());
    let mut lines = victim.lines.to_vec();
    lines.insert(at, lines[rng.usize(..at)].clone());
    (Some(lines), Expected::Block(vec![victim.block(at)]))
}

fn delete_block(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let block = rng.usize(..victim.seals.len());
    let first = if block == 0 { 1 } else { victim.seals[block - 1] + 1 };
    let mut lines = victim.lines.to_vec();
    lines.drain(first..=victim.seals[block]);
    (Some(lines), Expected::Block(vec![block as u64 + 1]))
}

fn cut(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let left = rng.usize(1..victim.lines.len());
    (Some(victim.lines[..left].to_vec()), Expected::Block(vec![victim.block(left)]))
}

fn edit_number(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let at = victim.hit(rng);
    let line = &victim.lines[at];
    let digits: Vec<usize> = (0..line.len()).filter(|byte| line[*byte].is_ascii_digit()).collect();
    let (byte, add) = (*rng.choice(&digits).unwrap(), rng.u8(1..10));
    let edited = victim.with(at, |line| line[byte] = b'0' + (line[byte] - b'0' + add) % 10);
    (Some(edited), Expected::Block(vec![victim.block(at)]))
}

/// The seal no longer fits its block.
fn edit_seal(victim: &Victim<'_>, rng: &mut Rng) -> Tampered {
    let at = *rng.choice(&victim.seals).unwrap();
    let key = *rng.choice(&["\"root\":\"", "\"head\":\"", "\"n\":", "\"first_seq\":", "\"last_seq\":"]).unwrap();
    let within = if key.ends_with('"') { rng.usize(..64) } else { 0 };
    let edited = victim.with(at, |line| {
        let byte = memchr::memmem::find(line, key.as_bytes()).unwrap() + key.len() + within;
        line[byte] = if line[byte] == b'1' { b'2' } else { b'1' };
    });
    (Some(edited), Expected::Block(vec![victim.block(at)]))
}

fn write_segment(log: &mut SampleLog, rng: &mut Rng, blocks: RangeInclusive<usize>) {
    for _ in 0..rng.usize(blocks) {
        for _ in 0..rng.usize(1..9) {
            log.hit(VISITORS[rng.usize(..VISITORS.len())]);
        }
        log.checkpoint(rng.u8(..) < 80);
    }
}

#[test]
fn ten_kinds_of_tampering_are_found_at_fifty_places_each() {
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut log = SampleLog::new("verify-tampering");
    for _ in 0..SEGMENTS {
        log.open();
        write_segment(&mut log, &mut rng, 4..=8);
        log.end();
    }
    let original: Vec<Vec<Vec<u8>>> = (1..=SEGMENTS).map(|number| log.lines(number)).collect();
    assert_eq!(verify(std::slice::from_ref(&log.dir), &[]).exit_code(), 0);
    for (name, tamper) in KINDS {
        for place in 0..PLACES {
            // Neither the first, which may be gone, nor the last, whose tail nobody vouches for.
            let number = rng.u64(2..SEGMENTS);
            let lines = &original[number as usize - 1];
            let older = &original[rng.usize(..number as usize - 1)];
            let (changed, expected) = tamper(&Victim::of(lines, older), &mut rng);
            match changed {
                Some(changed) => log.write_lines(number, &changed),
                None => std::fs::remove_file(log.path(number)).unwrap(),
            }
            let found = verify(std::slice::from_ref(&log.dir), &[]);
            let what = format!("{name} in segment {number}, place {place}, seed {seed}: {found}");
            assert_eq!(found.exit_code(), 4, "{what}");
            let faults: Vec<&Segment> = found.segments.iter().filter(|s| s.verdict.is_fault()).collect();
            assert_eq!(faults[0].name, log.name(number), "{what}");
            match (expected, &faults[0].verdict) {
                (Expected::Block(blocks), Verdict::Modified { block, .. }) => {
                    assert!(faults.len() == 1 && blocks.contains(block), "{blocks:?}, {what}");
                }
                (Expected::Missing, Verdict::Missing) => assert_eq!(faults.len(), 1, "{what}"),
                (Expected::Fault, _) => {}
                _ => panic!("{what}"),
            }
            log.write_lines(number, lines);
        }
    }
    assert_eq!(verify(std::slice::from_ref(&log.dir), &[]).exit_code(), 0, "as it was");
}

/// Erases a response, or does nothing where there is none.
fn erase(log: &SampleLog, number: u64, rng: &mut Rng) -> u64 {
    let mut lines = log.lines(number);
    let hits: Vec<usize> = (0..lines.len()).filter(|at| kind(&lines[*at]) == Kind::Hit).collect();
    let Some(at) = rng.choice(&hits).copied() else { return 0 };
    let tombstone = Tombstone { seq: seq(&lines[at]).unwrap(), leaf: chain::leaf(&lines[at]) };
    lines[at] = tombstone.render(lines[at].len());
    log.write_lines(number, &lines);
    1
}

/// Of any shape: with and without keys, crashes, torn lines, compression and erased lines.
#[test]
fn a_thousand_segments_that_nobody_touched_raise_no_alarm() {
    const LOGS: u64 = 50;
    const OF_EACH: u64 = 20;
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut segments = 0;
    for round in 0..LOGS {
        let mut log = SampleLog::new(&format!("verify-untouched-{round}"));
        if round % 5 == 0 {
            log = log.unsigned();
        }
        log.seals_ends = round % 3 != 0;
        let (mut crashed, mut erased) = (false, 0);
        for number in 1..=OF_EACH {
            if crashed {
                log.recover();
            } else {
                log.open();
            }
            write_segment(&mut log, &mut rng, 0..=4);
            // The last one may be open still.
            crashed = rng.u8(..) < 60;
            if crashed {
                (0..rng.usize(..3)).for_each(|_| log.hit("eve"));
                log.crash(rng.usize(..20));
                continue;
            }
            log.end();
            if rng.bool() {
                erased += erase(&log, number, &mut rng);
            }
            if rng.bool() {
                log.compress(number);
            }
        }
        let found = verify(std::slice::from_ref(&log.dir), &[]);
        assert_eq!(found.exit_code(), 0, "log {round}, seed {seed}: {found}");
        assert_eq!(found.segments.iter().map(|segment| segment.erased.count).sum::<u64>(), erased, "{found}");
        segments += found.segments.len() as u64;
    }
    assert_eq!(segments, LOGS * OF_EACH);
}
