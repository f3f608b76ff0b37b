//! The segments of an instance as one chain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::walk::Walked;
use super::{Index, Segment, Verdict};
use crate::audit::integrity::{Anchored, Opening, parse_digest};
use crate::audit::segment_file::SegmentName;

/// All segments, and those that should be there.
pub(super) fn judge(walked: Vec<Walked>, index: &Index) -> Vec<Segment> {
    let mut instances: BTreeMap<String, Vec<Walked>> = BTreeMap::new();
    for segment in walked {
        instances.entry(segment.instance()).or_default().push(segment);
    }
    instances
        .into_iter()
        .flat_map(|(instance, segments)| Chain::of(&segments, index).into_segments(&instance))
        .collect()
}

/// How a segment stands to the one before.
enum Relation {
    Follows,
    /// Nothing before it is named.
    Starts,
    /// The one before is not what it was when this one began.
    Changed(String),
    /// This one does not name the one before as it is.
    Strange(String),
    /// One or more between them are not here.
    Gap,
    /// It stood somewhere else.
    Replay(String),
    /// The same again, under the same name.
    Twin,
    /// Nothing stands in it.
    Empty,
}

struct Entry<'w> {
    walked: &'w Walked,
    fault: Option<Verdict>,
    /// The next segment goes on where this one stopped.
    is_followed: bool,
    notes: Vec<String>,
}

struct Chain<'w> {
    entries: Vec<Entry<'w>>,
    /// With what is worth knowing about each.
    missing: BTreeMap<String, Vec<String>>,
}

impl<'w> Chain<'w> {
    fn of(segments: &'w [Walked], index: &Index) -> Self {
        let mut chain = Self { entries: Vec::new(), missing: BTreeMap::new() };
        let mut known = BTreeSet::new();
        let mut before: Option<usize> = None;
        for walked in segments {
            let mut entry = Entry { walked, fault: None, is_followed: false, notes: Vec::new() };
            let relation = match before.and_then(|at| chain.entries.get(at)) {
                _ if walked.lines == 0 => Relation::Empty,
                None => chain_start(walked, index, &mut entry.notes),
                Some(before) => relation(before.walked, walked, known.contains(&walked.first_head)),
            };
            let is_misplaced = matches!(relation, Relation::Replay(_) | Relation::Twin | Relation::Empty);
            chain.note(relation, &mut entry, before, index);
            chain.entries.push(entry);
            if !is_misplaced {
                known.insert(walked.first_head);
                before = Some(chain.entries.len() - 1);
            }
        }
        chain.look_for_the_rest(index);
        chain.compare_ends(index);
        chain.compare_anchors(index);
        chain
    }

    fn note(&mut self, relation: Relation, entry: &mut Entry<'w>, before: Option<usize>, index: &Index) {
        let walked = entry.walked;
        let before = before.and_then(|at| self.entries.get_mut(at));
        match (relation, before) {
            (Relation::Follows, Some(before)) => before.is_followed = true,
            (Relation::Starts, Some(_)) => {
                entry.notes.push("a new chain begins: nothing before it is named".to_owned());
            }
            (Relation::Changed(why), Some(before)) => {
                let is_cut = walked.first_seq > before.walked.last_seq.saturating_add(1);
                let (block, first_seq) = if is_cut {
                    (before.walked.blocks + 1, before.walked.last_seq.saturating_add(1))
                } else {
                    (1, before.walked.first_seq)
                };
                let last_seq = walked.first_seq.saturating_sub(1).max(first_seq);
                before.fault = Some(Verdict::Modified { block, first_seq, last_seq, why });
            }
            (Relation::Strange(why) | Relation::Replay(why), _) => {
                let (first_seq, last_seq) = (walked.first_seq, walked.last_seq);
                entry.fault = Some(Verdict::Modified { block: 1, first_seq, last_seq, why });
            }
            (Relation::Gap, before) => {
                let named = walked.opening.as_ref().and_then(|opening| opening.previous_segment.clone());
                let named = named.unwrap_or_else(|| format!("a segment before {}", walked.name));
                if index.deleted.contains(&named) {
                    entry.notes.push(format!("{named} before it was deleted in time, says audit.index"));
                } else {
                    self.missing.insert(named, vec![unexplained(index, before.is_none())]);
                }
            }
            (Relation::Twin, _) => entry.notes.push("it is there twice".to_owned()),
            (Relation::Empty, _) | (Relation::Follows | Relation::Starts | Relation::Changed(_), None) => {}
        }
    }

    /// `audit.index` names segments that were closed: those after the first that is here must be here.
    fn look_for_the_rest(&mut self, index: &Index) {
        let Some(first) = self.entries.first().and_then(|entry| entry.walked.order.clone()) else { return };
        let here: BTreeSet<&str> = self.entries.iter().map(|entry| entry.walked.name.as_str()).collect();
        let lost = index.all.difference(&index.deleted).filter(|name| !here.contains(name.as_str()));
        let lost = lost.filter(|name| {
            SegmentName::of(Path::new(name)).is_some_and(|order| order.instance == first.instance && order > first)
        });
        for name in lost {
            self.missing.entry(name.clone()).or_default();
        }
    }

    /// Nothing follows the last segment, but `audit.index` may know how it ended.
    fn compare_ends(&mut self, index: &Index) {
        for entry in &mut self.entries {
            let Some((last_seq, head)) = index.ends.get(&entry.walked.name) else { continue };
            let is_same = *last_seq == entry.walked.last_seq && parse_digest(head) == Some(entry.walked.head);
            if !is_same && entry.fault.is_none() {
                let first_seq = (entry.walked.last_seq.saturating_add(1)).min(*last_seq);
                let why = format!("audit.index knows another end, number {last_seq}");
                entry.fault =
                    Some(Verdict::Modified { block: entry.walked.blocks + 1, first_seq, last_seq: *last_seq, why });
            }
        }
    }

    /// An end that was sent away cannot be another now.
    fn compare_anchors(&mut self, index: &Index) {
        for entry in &mut self.entries {
            for anchored in index.anchored.iter().filter(|anchored| anchored.segment == entry.walked.name) {
                let Anchored { to, sent, seq, .. } = anchored;
                let is_same = *seq == entry.walked.last_seq && parse_digest(&anchored.head) == Some(entry.walked.head);
                if is_same {
                    entry.notes.push(format!("its end, number {seq}, was sent to {to} at {sent}"));
                } else if entry.fault.is_none() {
                    let (block, last_seq) = (entry.walked.blocks + 1, *seq);
                    let first_seq = entry.walked.last_seq.saturating_add(1).min(last_seq);
                    let why = format!("another end, number {seq}, was sent to {to}, says audit.index");
                    entry.fault = Some(Verdict::Modified { block, first_seq, last_seq, why });
                }
            }
        }
    }

    fn into_segments(self, instance: &str) -> Vec<Segment> {
        let mut out: Vec<Segment> = self.entries.into_iter().map(|entry| segment(entry, instance)).collect();
        for (name, notes) in self.missing {
            let missing = Segment {
                name,
                instance: instance.to_owned(),
                lines: 0,
                blocks: 0,
                verdict: Verdict::Missing,
                erased: super::Erased::default(),
                signatures: super::Signatures::default(),
                notes,
            };
            let order = |segment: &Segment| SegmentName::of(Path::new(&segment.name));
            let at = out.partition_point(|other| order(other) <= order(&missing));
            out.insert(at, missing);
        }
        out
    }
}

/// The first segment that is here.
fn chain_start(walked: &Walked, index: &Index, notes: &mut Vec<String>) -> Relation {
    let named = walked.opening.as_ref().and_then(|opening| opening.previous_segment.as_ref());
    if named == Some(&walked.name) {
        return Relation::Replay("it stands in the place of the segment before it".to_owned());
    }
    match named {
        // Whoever names single files does not ask for the others.
        Some(named) if !index.is_of_all && !index.deleted.contains(named) => {
            notes.push(format!("{named} before it is not here"));
            Relation::Starts
        }
        Some(_) => Relation::Gap,
        None => Relation::Starts,
    }
}

/// Why a segment should be here.
fn unexplained(index: &Index, is_oldest: bool) -> String {
    let why = match (index.is_absent, is_oldest) {
        (true, true) => {
            "the next one names it, and there is no audit.index here that could say that it was deleted in time: copy \
             that file with the log"
        }
        (true, false) => "the next one names it, and there is no audit.index here",
        (false, _) => "the next one names it, and audit.index does not say that it was deleted in time",
    };
    why.to_owned()
}

fn relation(before: &Walked, walked: &Walked, is_known: bool) -> Relation {
    if before.first_head == walked.first_head && before.name == walked.name {
        return Relation::Twin;
    }
    // Whatever is wrong with its first line is told of that segment, not of its neighbours.
    let is_own_fault = walked.broken.as_ref().is_some_and(|broken| broken.block == 1);
    let Some(opening) = walked.opening.as_ref().filter(|_| !is_own_fault) else { return Relation::Follows };
    if is_known {
        return Relation::Replay("the same segment stands elsewhere".to_owned());
    }
    if opening.previous_segment.as_ref() == Some(&walked.name) {
        return Relation::Replay("it stands in the place of the segment before it".to_owned());
    }
    if before.is_chained() && !walked.is_chained() {
        return Relation::Strange("it has no checkpoints, and the segment before it has".to_owned());
    }
    match opening.previous_head.as_deref().and_then(parse_digest) {
        // No checkpoint had been written there: an older version, whose numbers began anew at each start. Whoever takes
        // the checkpoints out of a segment does not get past this: the one behind it names the head of the last of them.
        Some(head) if head == before.head && !before.is_chained() => Relation::Follows,
        Some(head) if head == before.head => by_number(before, opening),
        Some(_) => by_name(before, opening),
        None => without_name(before, opening),
    }
}

/// The heads fit; only lines behind the last checkpoint can have gone.
fn by_number(before: &Walked, opening: &Opening) -> Relation {
    let expected = before.last_seq.saturating_add(1);
    match opening.seq {
        seq if seq == expected || before.broken.is_some() => Relation::Follows,
        seq if seq > expected => Relation::Changed(format!("the next segment goes on with number {seq}")),
        seq => Relation::Replay(format!("it begins with number {seq}, which had been before")),
    }
}

/// The heads do not fit.
fn by_name(before: &Walked, opening: &Opening) -> Relation {
    let is_named = opening.previous_segment.as_ref() == Some(&before.name);
    if is_named && before.broken.is_some() {
        return Relation::Follows;
    }
    if opening.seq <= before.last_seq && before.broken.is_none() {
        return Relation::Replay(format!("it begins with number {}, which had been before", opening.seq));
    }
    match is_named {
        true if before.is_end_signed => Relation::Strange("it names another head of the segment before".to_owned()),
        true => Relation::Changed("the next segment names another head".to_owned()),
        false => Relation::Gap,
    }
}

fn without_name(before: &Walked, opening: &Opening) -> Relation {
    let Some(earlier) = before.opening.as_ref().filter(|_| before.is_chained()) else { return Relation::Follows };
    if opening.time < earlier.time {
        return Relation::Replay("it is older than the segment before it".to_owned());
    }
    Relation::Starts
}

fn segment(entry: Entry<'_>, instance: &str) -> Segment {
    let Entry { walked, mut notes, .. } = entry;
    if walked.torn > 0 {
        notes.push(format!("a last line of {} bytes is torn", walked.torn));
    }
    let sent = walked.anchored.iter().map(|(to, (count, last))| {
        let heads = if *count == 1 { "1 head was".to_owned() } else { format!("{count} heads were") };
        format!("{heads} sent to {to}, the last one at {} with number {}", last.sent, last.seq)
    });
    notes.extend(sent);
    notes.extend(walked.odd.as_ref().map(|odd| format!("nothing proves it, but {odd}")));
    let verdict = verdict(entry.fault.as_ref(), entry.is_followed, walked);
    Segment {
        name: walked.name.clone(),
        instance: instance.to_owned(),
        lines: walked.lines,
        blocks: walked.blocks,
        verdict,
        erased: walked.erased.clone(),
        signatures: walked.signatures.clone(),
        notes,
    }
}

fn verdict(fault: Option<&Verdict>, is_followed: bool, walked: &Walked) -> Verdict {
    if let Some(broken) = &walked.broken {
        let (block, first_seq, last_seq) = (broken.block, broken.first, broken.last);
        return Verdict::Modified { block, first_seq, last_seq, why: broken.why.clone() };
    }
    if let Some(fault) = fault {
        return fault.clone();
    }
    if let Some((seq, why)) = &walked.forged {
        return Verdict::BadSignature { seq: *seq, why: why.clone() };
    }
    match (walked.is_chained(), walked.is_ended, is_followed) {
        (false, ..) if walked.lines > 0 => Verdict::NoCheckpoints,
        (_, true, _) => Verdict::Ok,
        (_, false, true) => Verdict::SealedByNext { lines: walked.tail },
        (_, false, false) if walked.is_compressed => Verdict::Modified {
            block: walked.blocks + 1,
            first_seq: walked.last_seq.saturating_add(1),
            last_seq: walked.last_seq.saturating_add(1),
            why: "it was closed, and its end is missing".to_owned(),
        },
        (_, false, false) => Verdict::Unsealed { lines: walked.tail },
    }
}
