//! Which marks a copy carries, with a bounded chance of naming somebody innocent.
//!
//! A name is given only when the chance that any of the searched marks fits this well by accident is at most 1e-9; from
//! there to 0.01 the verdict is `inconclusive`; above, nobody is named at all.

use std::collections::BTreeSet;

use super::code::{Keys, Mark, WHITE_WORDS};
use super::observe::{Copy, Observation};
use super::tail::ln_tail;
use crate::secret::Secrets;

/// At most this chance of an accident, over all marks searched.
const TRACED: f64 = 1e-9;
const INCONCLUSIVE: f64 = 1e-2;
/// Marks of an inconclusive result.
const SHORTLIST: usize = 10;
const FEW_WORDS: usize = 25;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The copy carries a mark of the log.
    Traced,
    /// Not enough to name anybody.
    Inconclusive,
    /// No mark.
    None,
}

impl Verdict {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Inconclusive => "inconclusive",
            Self::None => "none",
        }
    }
}

/// What one channel says about one mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// `seal` or `whitespace`.
    pub channel: &'static str,
    /// Places that could be compared.
    pub live: u32,
    /// Places that agree.
    pub agree: u32,
    /// The chance of one innocent mark.
    pub p: f64,
}

/// A mark that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The mark.
    pub mark: Mark,
    /// The chance that any mark searched fits this well by accident.
    pub p_value: f64,
    /// The mark is in the log.
    pub in_log: bool,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

/// The result for one copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The answer.
    pub verdict: Verdict,
    /// Marks, best first; empty below the bar.
    pub hits: Vec<Hit>,
    /// Marks that were searched.
    pub candidates: u64,
    /// Comparisons made with each.
    pub tests: u8,
    /// Gaps that were read.
    pub slots_read: usize,
    /// Words of the copy.
    pub words: usize,
    /// Remarks, by stable codes.
    pub notes: Vec<&'static str>,
}

/// Searches copies for marks.
#[derive(Debug)]
pub struct Tracer {
    keys: Vec<Keys>,
}

impl Tracer {
    /// Uses every secret, retired ones included.
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: secrets.iter().map(Keys::new).collect() }
    }

    /// Searches a text for the marks of a log.
    pub fn trace(&self, text: &str, log: &BTreeSet<Mark>) -> Trace {
        let copy = Copy::read(text, &self.keys);
        let mut trace = Trace {
            verdict: Verdict::None,
            hits: Vec::new(),
            candidates: log.len() as u64,
            tests: 1,
            slots_read: copy.slots(),
            words: copy.words,
            notes: Vec::new(),
        };
        self.add_seals(&copy, log, &mut trace);
        let spaces =
            if copy.dead.is_none() && copy.words >= FEW_WORDS { self.best_spaces(&copy, log) } else { Vec::new() };
        trace.notes.extend(copy.dead.filter(|_| copy.slots() > 0));
        merge_spaces(&mut trace, spaces);
        conclude(&mut trace, &copy);
        trace
    }

    fn add_seals(&self, copy: &Copy, log: &BTreeSet<Mark>, trace: &mut Trace) {
        // A random run verifies with 2^-24 and then names one of the logged marks with N·2^-48; a long one is many.
        let p = (copy.windows() as f64 * 2f64.powi(-72)).min(1.0);
        for keys in &self.keys {
            for hit in copy.seals(keys) {
                let evidence = Evidence { channel: "seal", live: hit.paragraphs, agree: hit.paragraphs, p };
                trace.hits.push(Hit {
                    mark: hit.mark,
                    p_value: (p * log.len().max(1) as f64).min(1.0),
                    in_log: log.contains(&hit.mark),
                    evidence: vec![evidence],
                });
            }
        }
        if trace.hits.is_empty() && copy.has_runs() {
            trace.notes.push("foreign_seal");
        }
    }

    /// The marks that fit the white space best.
    fn best_spaces(&self, copy: &Copy, log: &BTreeSet<Mark>) -> Vec<Hit> {
        let mut best: Vec<Hit> = Vec::new();
        for (keys, observation) in self.keys.iter().zip(copy.observations()) {
            let (rare, live) = (observation.rare(), observation.live());
            let mut row = [0; WHITE_WORDS];
            let mut scored: Vec<(u32, u32, Mark)> = log
                .iter()
                .filter(|m| m.kid == keys.kid())
                .map(|mark| {
                    keys.white_row(mark.id, &mut row);
                    let (score, agree) = score(&observation, &row);
                    (score, agree, *mark)
                })
                .collect();
            scored.sort_by_key(|(score, _, mark)| (std::cmp::Reverse(*score), *mark));
            for (score, agree, mark) in scored.into_iter().take(SHORTLIST) {
                let p = ln_tail(rare, live - rare, score).exp();
                let p_value = (p * log.len() as f64).min(1.0);
                let evidence = vec![Evidence { channel: "whitespace", live, agree, p }];
                best.push(Hit { mark, p_value, in_log: true, evidence });
            }
        }
        best.retain(|hit| hit.p_value <= INCONCLUSIVE);
        best.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        best.truncate(SHORTLIST);
        best
    }
}

/// Agreements weigh 4 where an innocent mark agrees with chance 1/4, and 2 where with 3/4.
fn score(observation: &Observation, row: &[u64; WHITE_WORDS]) -> (u32, u32) {
    let words = observation.live.iter().zip(&observation.bits).zip(&observation.rare).zip(row);
    words.fold((0, 0), |(score, agree), (((live, bits), rare), row)| {
        let same = !(bits ^ row) & live;
        let (four, all) = ((same & rare).count_ones(), same.count_ones());
        (score + 4 * four + 2 * (all - four), agree + all)
    })
}

/// Puts what the white space says beside what the seals say.
fn merge_spaces(trace: &mut Trace, spaces: Vec<Hit>) {
    let sealed = !trace.hits.is_empty();
    // Whatever the white space fits best must be what the seals name; else somebody may have moved a seal.
    if let Some(best) = spaces.first().filter(|_| sealed)
        && trace.hits.iter().all(|hit| hit.mark != best.mark)
    {
        trace.notes.push("conflict");
    }
    for (rank, space) in spaces.into_iter().enumerate() {
        match trace.hits.iter_mut().find(|h| h.mark == space.mark) {
            Some(hit) => {
                hit.p_value = hit.p_value.min(space.p_value);
                hit.evidence.extend(space.evidence);
            }
            None => {
                if !sealed || rank == 0 || space.p_value <= TRACED {
                    trace.hits.push(space);
                }
            }
        }
    }
    trace.hits.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
}

fn conclude(trace: &mut Trace, copy: &Copy) {
    if trace.hits.is_empty() {
        if copy.words < FEW_WORDS {
            trace.notes.push("too_short");
        } else if copy.dead.is_none() {
            trace.notes.push("not_significant");
        }
        return;
    }
    let named = trace.hits.iter().any(|h| h.in_log && h.p_value <= TRACED);
    if trace.hits.iter().any(|h| !h.in_log) {
        trace.notes.push("log_missing");
    }
    trace.verdict = if named && !trace.notes.contains(&"conflict") { Verdict::Traced } else { Verdict::Inconclusive };
    if trace.verdict == Verdict::Traced {
        trace.hits.retain(|h| h.p_value <= TRACED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::slot::{Choose, Class, PlaceKind, SEPARATOR, Words, fold};
    use crate::watermark::{Channels, Choices, Marker, SealForm, Settings};

    fn secrets() -> Secrets {
        Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap())
    }

    fn choices(secrets: &Secrets, mark: Mark) -> Choices {
        let channels = Channels { seal: true, white: true, ..Channels::default() };
        Marker::new(secrets, &Settings::default()).choices(mark, channels, SealForm::Characters)
    }

    /// What stands in the gap with this context.
    fn gap(choices: &mut Choices, context: &[u8]) -> u8 {
        let column = choices.hash(PlaceKind::Space, context).unwrap().column(Class::White);
        choices.gap(column).unwrap()
    }

    fn article(seed: u64, words: usize) -> String {
        const WORDS: [&str; 40] = [
            "harbour", "council", "ferry", "market", "winter", "report", "school", "bridge", "island", "letter",
            "number", "public", "garden", "window", "silver", "travel", "orange", "yellow", "second", "minute",
            "people", "mayor", "storm", "choir", "paper", "river", "north", "south", "money", "music", "night",
            "light", "stone", "water", "house", "train", "plane", "table", "chair", "plant",
        ];
        let mut x = seed | 1;
        (0..words)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                WORDS[(x % 40) as usize]
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Marks the gaps of a plain text as the page does.
    fn marked(text: &str, mark: Mark) -> String {
        let mut choices = choices(&secrets(), mark);
        let words: Vec<_> = Words::new(text).collect();
        let folded = |i: usize| {
            let mut out = Vec::new();
            fold(&text[words[i].start..words[i].end], &mut out);
            out
        };
        let mut out = text.as_bytes().to_vec();
        for i in 1..words.len() - 2 {
            let context = [folded(i - 1), folded(i), folded(i + 1), folded(i + 2)].join(&SEPARATOR);
            out[words[i].end] = gap(&mut choices, &context);
        }
        String::from_utf8(out).unwrap()
    }

    fn log(n: u64) -> BTreeSet<Mark> {
        (1..=n).map(|i| Mark { kid: 1, id: i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16 }).collect()
    }

    fn sealed(mark: Mark) -> String {
        let seal = choices(&secrets(), mark).seal().unwrap();
        std::str::from_utf8(&seal).unwrap().replace("<span inert=\"\">", "").replace("</span>", "")
    }

    #[test]
    fn white_space_names_one_of_many() {
        let log = log(5_000);
        let mark = *log.iter().nth(1_234).unwrap();
        let copy = marked(&article(7, 400), mark);
        let trace = Tracer::new(&secrets()).trace(&copy, &log);
        assert_eq!(trace.verdict, Verdict::Traced);
        assert_eq!(trace.hits.iter().map(|h| h.mark).collect::<Vec<_>>(), [mark]);
        assert!(trace.hits[0].p_value < 1e-20, "{trace:?}");
    }

    #[test]
    fn a_few_words_are_not_enough() {
        let log = log(5_000);
        let mark = *log.iter().nth(99).unwrap();
        let copy = marked(&article(8, 36), mark);
        let trace = Tracer::new(&secrets()).trace(&copy, &log);
        assert_ne!(trace.verdict, Verdict::Traced, "{trace:?}");
        let short = Tracer::new(&secrets()).trace("only a few words here", &log);
        assert_eq!(
            (short.verdict, short.notes.as_slice()),
            (Verdict::None, &["whitespace_collapsed", "too_short"][..])
        );
        assert!(Tracer::new(&secrets()).trace("", &log).notes.contains(&"too_short"));
    }

    #[test]
    fn unmarked_texts_name_nobody() {
        let log = log(5_000);
        let tracer = Tracer::new(&secrets());
        for seed in 1..30 {
            let text = article(seed, 500);
            let alternating: String = text
                .split(' ')
                .enumerate()
                .map(|(i, w)| format!("{w}{}", if i % 2 == 0 { ' ' } else { '\n' }))
                .collect();
            let feeds = text.replace(' ', "\n");
            let foreign = {
                let other = Secrets::from(Secret::new(1, &(1..33).collect::<Vec<u8>>()).unwrap());
                let mut choices = choices(&other, Mark { kid: 1, id: 5 });
                let mut i = 0u32;
                text.chars()
                    .map(|c| {
                        i += 1;
                        if c == ' ' { char::from(gap(&mut choices, &i.to_be_bytes())) } else { c }
                    })
                    .collect::<String>()
            };
            for copy in [&text, &alternating, &feeds, &foreign] {
                let trace = tracer.trace(copy, &log);
                assert_ne!(trace.verdict, Verdict::Traced, "{trace:?}");
            }
        }
    }

    #[test]
    fn a_seal_alone_is_enough_when_the_mark_is_in_the_log() {
        let log = log(5_000);
        let mark = *log.iter().next().unwrap();
        let text = format!("{}.{}\n\n{}", article(3, 40), sealed(mark), article(4, 40));
        let trace = Tracer::new(&secrets()).trace(&text, &log);
        assert_eq!(trace.verdict, Verdict::Traced);
        assert_eq!(trace.hits[0].mark, mark);
        let unknown = Mark { kid: 1, id: 42 };
        let trace = Tracer::new(&secrets()).trace(&format!("{}.{}", article(3, 40), sealed(unknown)), &log);
        assert_eq!((trace.verdict, trace.hits[0].in_log), (Verdict::Inconclusive, false));
        assert!(trace.notes.contains(&"log_missing"));
        let broken = format!("{}.{}", article(3, 40), sealed(mark).chars().rev().collect::<String>());
        assert!(Tracer::new(&secrets()).trace(&broken, &log).notes.contains(&"foreign_seal"));
    }

    /// In twenty million symbols one run or another verifies sooner or later.
    #[test]
    fn a_seal_among_many_symbols_proves_less() {
        let log = log(5_000);
        let mark = *log.iter().next().unwrap();
        let evidence = |copy: &str| {
            let trace = Tracer::new(&secrets()).trace(copy, &log);
            let hit = trace.hits.iter().find(|hit| hit.mark == mark).unwrap();
            (hit.evidence[0].p / 2f64.powi(-72), hit.p_value / 2f64.powi(-72) / 5_000.0)
        };
        let seal = sealed(mark);
        for (windows, copy) in [
            (1.0, format!("{}.{seal}", article(3, 40))),
            (2.0, format!("{}.{seal}\n\n{}.{seal}", article(3, 40), article(4, 40))),
            (100_001.0, format!("{}.{seal}{}", article(3, 40), "\u{FE06}".repeat(100_000))),
        ] {
            let (one, all) = evidence(&copy);
            assert!((one / windows - 1.0).abs() < 1e-9 && (all / windows - 1.0).abs() < 1e-9, "{windows}: {one} {all}");
        }
    }

    #[test]
    fn seals_of_two_sources_are_both_reported_and_a_transplant_is_a_conflict() {
        let log = log(2_000);
        let (a, b) = (*log.iter().nth(5).unwrap(), *log.iter().nth(6).unwrap());
        let both = format!("{}.{}\n\n{}.{}", article(3, 40), sealed(a), article(4, 40), sealed(b));
        let trace = Tracer::new(&secrets()).trace(&both, &log);
        assert_eq!(trace.hits.len(), 2);
        for words in [36, 400] {
            let transplant = format!("{}.{}", marked(&article(9, words), a), sealed(b));
            let trace = Tracer::new(&secrets()).trace(&transplant, &log);
            assert_eq!((trace.verdict, trace.notes.as_slice()), (Verdict::Inconclusive, &["conflict"][..]), "{words}");
            assert!(trace.hits.iter().any(|h| h.mark == a) && trace.hits.iter().any(|h| h.mark == b), "{words}");
        }
    }
}
