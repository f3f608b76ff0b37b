//! How a chance was calculated, for whoever wants to do it again. It shows neither a row nor a key.

use super::joint::Joint;
use super::observe::Observation;
use super::score::scorer_of;
use super::tail::Tail;
use super::{Channel, Tracer};
use crate::watermark::code::Mark;

/// How one class of places agrees with one mark.
///
/// An innocent mark agrees with a column of chance 1/4, 1/2 or 3/4; such an agreement weighs 4, 3 or 2. The chance is that
/// of at least this score: 4·Bin(`rare`, 1/4) + 3·Bin(`even`, 1/2) + 2·Bin(`common`, 3/4).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Working {
    /// Which.
    pub channel: Channel,
    /// Live columns of chance 1/4.
    pub rare: u32,
    /// Of chance 1/2.
    pub even: u32,
    /// Of chance 3/4.
    pub common: u32,
    /// Columns that agree.
    pub agree: u32,
    /// What they weigh.
    pub score: u32,
    /// Natural logarithm of the chance.
    pub ln_p: f64,
    /// Live columns: column n is bit n % 8 of byte n / 8, the lowest bit first.
    pub live: Vec<u8>,
    /// What the copy shows there, in the same order.
    pub bits: Vec<u8>,
}

impl Tracer {
    /// How each live class of places agrees with a mark; nothing if its key is not known.
    pub fn working(&self, all: &[Observation], mark: Mark) -> Vec<Working> {
        let joint = Joint::new(all, &self.keys);
        let Some(scorer) = scorer_of(&joint.scorers, mark) else { return Vec::new() };
        let agreements = scorer.agreements(mark.id);
        let of = |plane: &super::plane::Plane| {
            let one = agreements.get(&plane.class)?;
            let [live, bits] = plane.bitmaps();
            Some(Working {
                channel: plane.class.into(),
                rare: one.mix.rare,
                even: one.mix.even,
                common: one.mix.common,
                agree: one.agree,
                score: one.score,
                ln_p: Tail::new(one.mix).ln(one.score),
                live,
                bits,
            })
        };
        scorer.planes().iter().filter_map(of).collect()
    }
}
