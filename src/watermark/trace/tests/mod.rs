use super::testing::{article, bits_of, keys, keys_of, marked, marks, sealed, secrets};
use super::*;
use crate::secret::Secret;
use crate::slot::PlaceKind;

mod copies;
mod innocent;
mod mixtures;
mod rows;

fn tracer() -> Tracer {
    Tracer::new(&secrets())
}

fn observe(text: &str) -> Observation {
    tracer().observe(&Suspect { text, label: "copy.txt" })
}

fn named(trace: &Trace) -> Vec<Mark> {
    trace.hits.iter().map(|hit| hit.mark).collect()
}

/// As if a million marks had been searched.
fn of_a_million(trace: &Trace) -> f64 {
    trace.hits[0].p * 1e6 * f64::from(trace.tests)
}

/// Places as a page of this mark has them, by hand.
fn feed(seen: &mut Observation, kind: PlaceKind, mark: Mark, places: std::ops::Range<u32>) {
    let bits = bits_of(&keys(), kind.class(), mark.id);
    for place in places {
        let context = place.to_be_bytes();
        let column = keys().hash(kind, &context).column(kind.class());
        seen.add(kind, &context, bits[usize::from(column)]);
    }
}

/// Nothing but single spaces: long enough, and says nothing.
fn silent(seed: u64) -> Observation {
    observe(&article(seed, 60))
}
