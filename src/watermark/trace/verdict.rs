//! From all that was found to a verdict. No name is given below the bar.

use std::collections::BTreeSet;

use super::candidates::{Candidates, unpack};
use super::joint::Joint;
use super::notes::Note;
use super::rounds::{Fit, Search, Trials, evidence, first_tests, search};
use super::score::scorer_of;
use super::seals::Whole;
use super::share::Scoring;
use super::tail::chance;
use super::{Channel, Evidence, FEW_WORDS, Hit, INCONCLUSIVE, TRACED, Trace, Verdict};
use crate::slot::Class;
use crate::watermark::code::{Keys, Mark};

/// A sealed mark fits the text if so many of the innocent ones, at most, fit as well.
const FITS: f64 = 0.5;

/// What seal and text say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accord {
    /// Nothing against it.
    Fine,
    /// Another mark is close, but the sealed one fits.
    Doubtful,
    /// Another mark is close, and the sealed one does not fit.
    Unfit,
    /// Another mark is beyond doubt.
    Conflict,
}

/// Searches the candidates and says what came of it.
pub(super) fn conclude(joint: &Joint<'_>, keys: &[Keys], log: &Candidates, how: &Scoring<'_>) -> Trace {
    let known = log.packed().iter().filter(|packed| keys.iter().any(|keys| keys.kid() == unpack(**packed).kid)).count();
    let searched = if how.by_visitor { log.parts().len() } else { known };
    let enough = joint.words() >= FEW_WORDS;
    let scored = enough && !joint.scorers.is_empty();
    let tests = if scored { first_tests(&joint.scorers).len() } else { 0 };
    let tests = tests as u32 + u32::from(joint.seals.any()) + u32::from(joint.tokens.any());
    let trials = Trials { candidates: searched as u64, tests: tests.max(1) };
    let mut trace = Trace {
        verdict: Verdict::None,
        candidates_searched: searched as u64,
        tests: 0,
        hits: Vec::new(),
        channels: joint.channels(),
        notes: Vec::new(),
        slots_read: joint.slots(),
        words: joint.words(),
    };
    let search = if scored && searched > 0 {
        search(&joint.scorers, log, trials, how)
    } else {
        Some(Search { tests: trials.tests, ..Search::default() })
    };
    let Some(search) = search else {
        trace.notes.push(Note::Stopped);
        return trace;
    };
    let trials = Trials { tests: search.tests, ..trials };
    trace.tests = search.tests.min(u32::from(u8::MAX)) as u8;
    let of_seals = Trials { candidates: known as u64, ..trials };
    trace.hits = sealed(joint, log, of_seals, scored);
    let accord = accord(joint, &trace.hits, &search);
    for fit in search.named.iter().chain(&search.close) {
        merge(&mut trace.hits, fit, trials);
    }
    trace.hits.retain(|hit| hit.adjusted <= INCONCLUSIVE);
    trace.hits.sort_by(|a, b| a.p.total_cmp(&b.p).then(b.paragraphs().cmp(&a.paragraphs())).then(a.mark.cmp(&b.mark)));
    trace.verdict = verdict(&trace.hits, accord);
    if trace.verdict == Verdict::Traced {
        trace.hits.retain(|hit| hit.adjusted <= TRACED);
    }
    trace.notes = notes(joint, log, &trace, accord, enough);
    if let Some(close) = search.close.first().filter(|_| trace.verdict == Verdict::Inconclusive) {
        trace.notes.push(Note::NeedsWords(more_words(joint.words(), close.ln_p, trials)));
    }
    if known < log.len() {
        trace.notes.push(Note::KeysMissing((log.len() - known) as u64));
    }
    trace
}

/// The marks that stand in the copy as a whole.
fn sealed(joint: &Joint<'_>, log: &Candidates, trials: Trials, scored: bool) -> Vec<Hit> {
    let marks: BTreeSet<Mark> = joint.seals.found().keys().chain(joint.tokens.found().keys()).copied().collect();
    let channels: [(Channel, &Whole); 2] = [(Channel::Seal, &joint.seals), (Channel::Markup, &joint.tokens)];
    let hit = |mark: Mark| {
        let mut all: Vec<Evidence> = Vec::new();
        let mut ln_p = 0.0f64;
        for (channel, whole) in channels {
            let Some(paragraphs) = whole.found().get(&mark).copied() else { continue };
            ln_p = ln_p.min(whole.ln_p());
            let live = whole.places();
            all.push(Evidence { channel, live, agree: paragraphs, p: chance(whole.ln_p()), paragraphs });
        }
        if scored {
            all.extend(evidence(&joint.scorers, &[mark]));
        }
        let adjusted = chance(trials.ln_adjusted(ln_p));
        Hit { mark, group: None, p: chance(ln_p), adjusted, in_log: log.has(mark), evidence: all }
    };
    marks.into_iter().map(hit).collect()
}

fn accord(joint: &Joint<'_>, sealed: &[Hit], search: &Search) -> Accord {
    let names_sealed = |fit: &Fit| sealed.iter().any(|hit| fit.marks.contains(&hit.mark));
    let fits = |hit: &Hit| {
        let scorer = scorer_of(&joint.scorers, hit.mark);
        scorer.is_some_and(|scorer| scorer.ln_p(hit.mark.id) <= FITS.ln())
    };
    if sealed.is_empty() {
        Accord::Fine
    } else if !search.named.is_empty() {
        if search.named.iter().any(names_sealed) { Accord::Fine } else { Accord::Conflict }
    } else if search.close.first().is_none_or(names_sealed) {
        Accord::Fine
    } else if sealed.iter().any(|hit| hit.in_log && fits(hit)) {
        Accord::Doubtful
    } else {
        Accord::Unfit
    }
}

/// Puts what the text says beside what a seal says.
fn merge(hits: &mut Vec<Hit>, fit: &Fit, trials: Trials) {
    let (p, adjusted) = (chance(fit.ln_p), chance(trials.ln_adjusted(fit.ln_p)));
    if let Some(hit) = hits.iter_mut().find(|hit| fit.marks.contains(&hit.mark)) {
        hit.p = hit.p.min(p);
        hit.adjusted = hit.adjusted.min(adjusted);
        hit.group = fit.group;
        hit.evidence.retain(|one| matches!(one.channel, Channel::Seal | Channel::Markup));
        hit.evidence.extend(fit.evidence.iter().copied());
    } else if let Some(mark) = fit.marks.first().copied() {
        hits.push(Hit { mark, group: fit.group, p, adjusted, in_log: true, evidence: fit.evidence.clone() });
    }
}

fn verdict(hits: &[Hit], accord: Accord) -> Verdict {
    let named = hits.iter().any(|hit| hit.in_log && hit.adjusted <= TRACED);
    match accord {
        Accord::Fine | Accord::Doubtful if named => Verdict::Traced,
        _ if hits.is_empty() => Verdict::None,
        _ => Verdict::Inconclusive,
    }
}

fn notes(joint: &Joint<'_>, log: &Candidates, trace: &Trace, accord: Accord, enough: bool) -> Vec<Note> {
    let mut notes = Vec::new();
    let whole = [&joint.seals, &joint.tokens];
    if whole.iter().any(|whole| whole.any()) && whole.iter().all(|whole| whole.found().is_empty()) {
        notes.push(Note::ForeignSeal);
    }
    let live = joint.live_classes() > 0;
    notes.extend(joint.dead(Class::White).filter(|dead| *dead != Note::NoGaps || (enough && !live)));
    match accord {
        Accord::Fine => {}
        Accord::Doubtful | Accord::Unfit => notes.push(Note::Doubtful),
        Accord::Conflict => notes.push(Note::Conflict),
    }
    if trace.hits.is_empty() {
        if live && enough {
            notes.push(Note::NotSignificant);
        } else if enough {
            notes.extend(joint.dead(Class::Typographic).filter(|dead| *dead == Note::QuotesUniform));
            notes.extend(joint.is_ascii().then_some(Note::AsciiOnly));
        } else if !joint.seals.any() {
            notes.push(Note::TooShort);
        }
        notes.extend(joint.is_ours().then_some(Note::Twin));
    }
    if trace.hits.iter().any(|hit| !hit.in_log) {
        notes.push(Note::LogMissing);
    }
    if log.collide(&trace.hits.iter().map(|hit| hit.mark).collect()) {
        notes.push(Note::Collision);
    }
    notes
}

/// How many words more would decide, if they agree as well as those that are there.
fn more_words(words: usize, ln_p: f64, trials: Trials) -> u32 {
    let (have, need) = (-ln_p, trials.ln_adjusted(0.0) - TRACED.ln());
    (words as f64 * (need / have - 1.0)).ceil().max(1.0) as u32
}
