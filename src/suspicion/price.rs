//! What a page costs, and what of it was paid.

use std::num::NonZeroU32;

use super::cells::CellKey;
use super::judge::{Judge, ONCE};
use super::width::{Widened, Width};
use super::{Signal, Signals};

/// Cells that the two soft quotas gave out; none where they refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Paid {
    pub(super) soft: Option<NonZeroU32>,
    pub(super) hour: Option<NonZeroU32>,
}

/// What a page costs whoever had this score.
pub(crate) fn cost_of_page(last_score: u8) -> NonZeroU32 {
    match last_score {
        0..20 => NonZeroU32::MIN,
        20..40 => NonZeroU32::MIN.saturating_add(1),
        _ => NonZeroU32::MIN.saturating_add(2),
    }
}

impl Judge {
    /// The price of a page rises with suspicion; a refusal is a signal.
    pub(super) fn soft_refusals(&self, client: CellKey, last_score: u8, width: Width, fired: &mut Signals) -> Paid {
        let cost = cost_of_page(last_score);
        let mut ask = |limiters: &Widened, signal| {
            let given = matches!(limiters.of(width).check_key_n(&client, cost), Ok(Ok(())));
            if !given {
                self.fire(fired, signal, ONCE);
            }
            given.then_some(cost)
        };
        Paid { soft: ask(&self.page_soft, Signal::PageSoft), hour: ask(&self.page_hour, Signal::PageHour) }
    }
}
