//! Limiters that are as wide as the number of people behind an address asks for.

use std::num::NonZeroU32;

use super::cells::{CellKey, SharedCells};
use super::{Debit, Limiter, Quota, State, limiter};

/// People behind an address from which its quotas are four and sixteen times as wide.
const PEOPLE: (u32, u32) = (3, 11);

/// How many times as much an address may take, by the people behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Width {
    /// One visitor, as far as is known.
    #[default]
    One,
    /// Three people or more.
    Some,
    /// Twelve or more.
    Many,
}

impl Width {
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Some, Self::Many];

    pub(super) fn of(people: u32) -> Self {
        match people {
            n if n >= PEOPLE.1 => Self::Many,
            n if n >= PEOPLE.0 => Self::Some,
            _ => Self::One,
        }
    }
}

/// One limiter for each width.
#[derive(Debug)]
pub(crate) struct Widened {
    limiters: [Limiter; 3],
    quotas: [Quota; 3],
    namespace: u64,
}

impl Widened {
    pub(crate) fn new(state: &State, quota: Quota, widths: [u32; 3], namespace: u64) -> Self {
        let times = |width: Width| NonZeroU32::new(widths[width as usize]).unwrap_or(NonZeroU32::MIN);
        let quotas = Width::ALL.map(|width| quota.times(times(width)));
        let limiters = Width::ALL.map(|width| limiter(state, quotas[width as usize], namespace * 4 + width as u64));
        Self { limiters, quotas, namespace }
    }

    pub(crate) fn of(&self, width: Width) -> &Limiter {
        &self.limiters[width as usize]
    }

    /// Cells that were given out, for the store that processes share.
    pub(crate) fn debit(&self, name: &'static str, width: Width, key: CellKey, cost: NonZeroU32) -> Debit {
        let cell = SharedCells::cell(self.namespace * 4 + width as u64, key);
        Debit::new(name, self.quotas[width as usize], cost, cell).at(width)
    }
}
